//! The real transport against a real socket on loopback.

use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread;

use super::*;
use crate::provider::testing::network;

/// 100,000 zeros, packed by gzip into 133 bytes.
const BOMB: &str = "1f8b0800000000000203edc13101000000c2a04aeb9fce1a1e40010000000000000000000000000000000000000000000000\
    0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000\
    00000000000000000000000000000000000000af0685c24dc5a0860100";
/// `{"a":1}`, packed by gzip.
const PACKED: &str = "1f8b0800000000000203ab564a54b232ac0500afac1b5607000000";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect()
}

/// What a server does with one connection.
enum Act {
    /// Answers every request on it with these bytes.
    Answer(Vec<u8>),
    /// Reads one request and closes.
    Close,
    /// Reads one request and never answers.
    Silence,
}

/// A server on loopback.
struct Server {
    url: String,
    connections: Arc<AtomicUsize>,
    requests: mpsc::Receiver<String>,
}

fn serve(act: Act) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/path", listener.local_addr().expect("an address"));
    let connections = Arc::new(AtomicUsize::new(0));
    let (seen, requests) = mpsc::channel();
    let counted = connections.clone();
    let act = Arc::new(act);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::SeqCst);
            let (seen, act) = (seen.clone(), act.clone());
            thread::spawn(move || attend(stream, &seen, &act));
        }
    });
    Server { url, connections, requests }
}

fn attend(mut stream: TcpStream, seen: &mpsc::Sender<String>, act: &Act) {
    while let Some(request) = read_request(&mut stream) {
        if seen.send(request).is_err() {
            return;
        }
        match act {
            Act::Answer(bytes) => {
                if stream.write_all(bytes).is_err() {
                    return;
                }
            }
            Act::Close => return,
            Act::Silence => {
                let _ = stream.read(&mut [0]);
                return;
            }
        }
    }
}

/// Head and body of one request, by its `content-length`.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    text.extend(body);
    String::from_utf8(text).ok()
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Act {
    let mut bytes = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n", body.len()).into_bytes();
    bytes.extend(body);
    Act::Answer(bytes)
}

fn transport() -> UreqTransport {
    UreqTransport::new(&Network { answer_bytes_max: 10_000, ..network() }).expect("a transport")
}

fn get(url: &str) -> Request {
    Request { method: Method::Get, url: url.to_owned(), headers: Vec::new(), body: Vec::new() }
}

const SOON: Duration = Duration::from_secs(20);

#[test]
fn every_status_is_an_answer_and_no_redirect_is_followed() {
    for status in ["200 OK", "304 Not Modified", "404 Not Found", "500 Oops"] {
        let server = serve(answer(status, "X-Odd: a\u{e9}\r\n", if status.starts_with("304") { b"" } else { b"body" }));
        let response = transport().send(&get(&server.url), SOON).expect(status);
        assert!(status.starts_with(&response.status.to_string()));
        assert!(response.header("x-odd").is_some_and(|value| value.starts_with('a')));
    }
    let server = serve(answer("307 Temporary Redirect", "Location: http://127.0.0.1:1/\r\n", b"{}"));
    let post = Request { method: Method::Post, body: b"{}".to_vec(), ..get(&server.url) };
    for request in [get(&server.url), post] {
        let response = transport().send(&request, SOON).expect("a redirect");
        assert_eq!((response.status, response.header("location")), (307, Some("http://127.0.0.1:1/")));
    }
}

#[test]
fn a_request_arrives_as_it_was_written() {
    let server = serve(answer("201 Created", "", b"{}"));
    let headers = vec![("authorization".to_owned(), "Bearer x".to_owned())];
    let bodies = [(Method::Patch, r#"{"a":"ü"}"#), (Method::Put, ""), (Method::Delete, ""), (Method::Get, "")];
    // GitHub takes people off an issue by a DELETE that names them.
    for (method, body) in bodies.into_iter().chain([(Method::Delete, r#"{"a":1}"#)]) {
        let request = Request { method, headers: headers.clone(), body: body.into(), ..get(&server.url) };
        assert_eq!(transport().send(&request, SOON).map(|response| response.status), Ok(201), "{request:?}");
        let seen = server.requests.recv().expect("a request");
        assert!(seen.starts_with(&format!("{} /path HTTP/1.1\r\n", method.as_str())), "{seen}");
        let lower = seen.to_ascii_lowercase();
        assert!(lower.contains("authorization: bearer x") && lower.contains("accept-encoding: gzip"), "{seen}");
        assert!(lower.contains(&format!("user-agent: {USER_AGENT}")) && seen.ends_with(body), "{seen}");
    }
}

#[test]
fn packed_answers_are_unpacked_and_bombs_are_stopped_at_the_limit() {
    let packed = |hex| answer("200 OK", "Content-Encoding: gzip\r\n", &bytes(hex));
    let response = transport().send(&get(&serve(packed(PACKED)).url), SOON).expect("an answer");
    assert_eq!(response.body, br#"{"a":1}"#);
    let bomb = transport().send(&get(&serve(packed(BOMB)).url), SOON).map(drop);
    assert_eq!(bomb, Err(TransportError::TooLarge(10_000)));
    let large = transport().send(&get(&serve(answer("200 OK", "", &[b' '; 10_001])).url), SOON).map(drop);
    assert_eq!(large, Err(TransportError::TooLarge(10_000)));
    let fits = transport().send(&get(&serve(answer("200 OK", "", &[b' '; 10_000])).url), SOON);
    assert_eq!(fits.map(|response| response.body.len()), Ok(10_000));
    // A length is a claim: nothing is set aside for it.
    let liar = Act::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n".to_vec());
    let server = serve(liar);
    let cut = transport().send(&get(&server.url), Duration::from_millis(300)).map(drop);
    assert!(matches!(cut, Err(TransportError::NoAnswer(_))), "{cut:?}");
}

#[test]
fn what_never_left_is_told_from_what_was_never_answered() {
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let refused = transport().send(&get(&format!("http://{closed}/")), SOON).map(drop);
    assert!(matches!(refused, Err(TransportError::NotSent(_))), "{refused:?}");

    for (act, deadline) in [
        (Act::Close, SOON),
        (Act::Silence, Duration::from_millis(300)),
        (Act::Answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbro".to_vec()), Duration::from_millis(300)),
        (Act::Answer(b"SSH-2.0-OpenSSH_9.9\r\n\r\n".to_vec()), SOON),
        (answer("200 OK", "Content-Encoding: gzip\r\n", b"no gzip at all"), SOON),
    ] {
        let server = serve(act);
        let post = Request { method: Method::Post, body: b"{}".to_vec(), ..get(&server.url) };
        let cut = transport().send(&post, deadline).map(drop);
        assert!(matches!(cut, Err(TransportError::NoAnswer(_))), "{cut:?}");
    }
}

#[test]
fn without_tls_only_this_machine_is_spoken_to() {
    for url in [
        "http://example.test/",
        "http://127.0.0.1.example.test/",
        "http://localhost.example.test/",
        "ftp://127.0.0.1/",
        "127.0.0.1/",
        "",
        "https://",
    ] {
        assert_eq!(Target::of(url), Target::Unfit, "{url}");
        assert!(matches!(transport().send(&get(url), SOON), Err(TransportError::NotSent(_))), "{url}");
    }
    for url in ["http://127.0.0.1:1/", "http://[::1]:8/x", "http://LOCALHOST/x", "https://127.9.9.9/"] {
        assert_eq!(Target::of(url), Target::Loopback, "{url}");
    }
    assert_eq!(Target::of("https://api.github.com/x"), Target::Https);
    assert!(transport().loopback.config().proxy().is_none());
}

#[test]
fn a_connection_is_kept_for_the_next_request() {
    let server = serve(answer("200 OK", "", b"{}"));
    let transport = transport();
    for _ in 0..5 {
        transport.send(&get(&server.url), SOON).expect("an answer");
        transport.send(&get(&server.url), network().call_timeout).expect("an answer");
    }
    assert_eq!(server.connections.load(Ordering::SeqCst), 1);
}

#[test]
fn a_shutdown_ends_calls_in_flight_and_refuses_new_ones() {
    let server = serve(Act::Silence);
    let transport = Arc::new(transport());
    let url = server.url.clone();
    let waiting = {
        let transport = transport.clone();
        thread::spawn(move || transport.send(&get(&url), SOON).map(drop))
    };
    server.requests.recv().expect("the call is in flight");
    transport.shutdown();
    assert_eq!(waiting.join().expect("no panic"), Err(TransportError::Stopped));
    assert_eq!(transport.send(&get(&server.url), SOON).map(drop), Err(TransportError::Stopped));
}

#[test]
fn a_header_that_cannot_be_written_is_no_request() {
    let mut request = get("http://127.0.0.1:1/");
    request.headers.push(("if-none-match".to_owned(), "a\r\nb: c".to_owned()));
    assert!(matches!(transport().send(&request, SOON), Err(TransportError::NotSent(_))));
}

#[test]
fn a_certificate_file_that_is_none_is_named() {
    let with = |path: &Path| {
        let network = Network { ca_file: Some(path.to_owned()), ..network() };
        UreqTransport::new(&network).map(drop).expect_err("no certificate")
    };
    let missing = with(Path::new("/nonexistent/ca.pem"));
    assert!(missing.contains("/nonexistent/ca.pem"), "{missing}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let empty = with(file.path());
    assert!(empty.contains("holds no certificate"), "{empty}");
    std::fs::write(file.path(), "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n").expect("written");
    let broken = with(file.path());
    assert!(broken.contains("must be PEM"), "{broken}");
}

/// Serves one TLS connection after another; answers where, and the authority (PEM, made anew) nobody else trusts.
fn serve_tls() -> (String, String) {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
    let pair = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
    let certificate = certificate.signed_by(&pair, &authority).expect("a certificate").der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(pair.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("a pair");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("https://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = rustls::ServerConnection::new(config.clone()).expect("a connection");
            let mut tls = rustls::StreamOwned::new(connection, stream);
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && tls.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let _ = tls.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}");
        }
    });
    (url, authority.pem())
}

#[test]
fn certificates_are_verified_by_the_authority_configured() {
    let (url, authority) = serve_tls();
    let strange = transport().send(&get(&url), SOON).map(drop);
    let Err(TransportError::NotSent(why)) = &strange else { panic!("{strange:?}") };
    assert!(why.contains("certificate"), "{why}");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority).expect("written");
    let network = Network { ca_file: Some(file.path().to_owned()), ..network() };
    let trusting = UreqTransport::new(&network).expect("a transport");
    assert_eq!(trusting.send(&get(&url), SOON).map(|response| response.status), Ok(200));
    // A name the certificate does not have.
    let other = trusting.send(&get(&url.replace("127.0.0.1", "localhost")), SOON).map(drop);
    assert!(matches!(other, Err(TransportError::NotSent(_))), "{other:?}");
}
