//! The real listener on port 0, and what the world can do to it.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "a real listener takes real time")]

mod listening;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use evenkeel::config::{ForwardedHeader, ListenAddress, ListenLimits, Proxies};
use evenkeel::server::{Listener, Refusal};

use listening::child::{self, Spoken};
use listening::{Client, Echo, Reply, settings, start};

/// What every well-behaved request in these tests says first.
const GET: &str = "GET /echo HTTP/1.1\r\nHost: a\r\n\r\n";
/// A request that is answered when the service opens.
const SLOW: &str = "GET /slow HTTP/1.1\r\nHost: a\r\n\r\n";

fn error_code(reply: &Reply) -> String {
    let id = reply.header("x-request-id").expect("an id");
    let document = reply.json();
    assert_eq!(document["error"]["request_id"], id, "{document}");
    assert!(document["error"]["message"].is_string(), "{document}");
    document["error"]["code"].as_str().expect("a code").to_owned()
}

#[test]
fn a_request_comes_through_whole_and_its_answer_comes_back() {
    let (listener, _) = start(|_| {});
    let mut client = Client::to(&listener);
    let body = "x".repeat(100_000);
    for number in 0..3 {
        let reply = client.ask(&format!(
            "POST /echo/%41?a=b%20c&a=d HTTP/1.1\r\nHost: a\r\nX-Two: 1\r\nx-two: 2\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ));
        assert_eq!(reply.status, 200, "{number}");
        let seen = reply.json();
        assert_eq!(seen["method"], "POST");
        assert_eq!(seen["path"], "/echo/%41");
        assert_eq!(seen["query"], serde_json::json!([["a", "b c"], ["a", "d"]]));
        assert_eq!(seen["headers"], serde_json::json!([["host", "a"], ["x-two", "1"], ["x-two", "2"]]));
        assert_eq!(seen["body_bytes"], body.len());
        assert_eq!(seen["peer"], "127.0.0.1");
        let id = reply.header("x-request-id").expect("an id");
        assert_eq!(seen["id"], id);
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        assert_eq!(reply.header("cache-control").as_deref(), Some("no-store"));
        assert_eq!(reply.header("server"), None);
        assert_eq!(reply.header("content-type").as_deref(), Some("application/json"));
    }
    assert_eq!(listener.stats().answered, 3);
}

#[test]
fn chunks_are_joined_before_anybody_sees_them() {
    let (listener, _) = start(|_| {});
    let mut client =
        Client::asking(&listener, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
    client.send("lo\r\n6;x=y\r\n world\r\n0\r\n\r\n");
    assert_eq!(client.reply().json()["body_bytes"], 11);
    assert_eq!(client.get("/echo").status, 200, "the connection goes on behind the chunks");
}

#[test]
fn head_and_old_versions_and_empty_answers_are_served() {
    let (listener, _) = start(|_| {});
    let mut client = Client::asking(&listener, "HEAD /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.head_reply();
    assert_eq!((reply.status, reply.body.len()), (200, 0));
    assert!(reply.header("content-length").is_some_and(|length| length != "0"));
    client.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.head_reply();
    assert_eq!((reply.status, reply.header("content-length")), (204, None));
    assert_eq!(client.get("/echo").status, 200);

    let mut old = Client::asking(&listener, "GET /echo HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    assert_eq!(old.reply().header("connection").as_deref(), Some("keep-alive"));
    assert_eq!(old.ask("GET /echo HTTP/1.0\r\n\r\n").header("connection").as_deref(), Some("close"));
    assert!(old.ended());

    let mut last = Client::asking(&listener, "GET /echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_eq!(last.reply().status, 200);
    assert!(last.ended());
}

#[test]
fn who_asks_first_is_told_to_go_on_or_not() {
    let (listener, _) = start(|_| {});
    let mut client = Client::asking(
        &listener,
        "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert_eq!(client.head_reply().status, 100);
    assert_eq!(client.ask("hello").json()["body_bytes"], 5);

    for (target, length, status) in [("/echo", "99999999", 413), ("/unauthorized", "5", 401), ("/none", "5", 404)] {
        let mut client = Client::asking(
            &listener,
            &format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"),
        );
        assert_eq!(client.reply().status, status, "{target}: no 100 before it");
        assert!(client.ended());
    }
}

#[test]
fn the_service_refuses_by_the_head_and_the_connection_goes_on_if_it_can() {
    let (listener, service) = start(|_| {});
    let mut client = Client::asking(&listener, "DELETE /echo HTTP/1.1\r\nHost: a\r\n\r\n");
    let reply = client.reply();
    assert_eq!((reply.status, reply.header("allow").as_deref()), (405, Some("GET, HEAD, POST")));
    assert_eq!(error_code(&reply), "method_not_allowed");
    assert_eq!(client.get("/none").status, 404);
    let reply = client.post("/small", "hello world");
    assert_eq!((reply.status, error_code(&reply).as_str()), (413, "body_too_large"));
    assert!(client.ended());
    assert_eq!(service.answered.load(Ordering::Relaxed), 0);
    assert_eq!((listener.stats().refused(Refusal::ByService), listener.stats().refused(Refusal::TooLarge)), (2, 1));
}

#[test]
fn a_panic_is_answered_500_and_the_listener_lives() {
    let (listener, _) = start(|_| {});
    let mut client = Client::to(&listener);
    for target in ["/panic", "/panic", "/panic-at-head", "/panic"] {
        let reply = client.get(target);
        assert_eq!((reply.status, error_code(&reply).as_str()), (500, "internal"), "{target}");
    }
    for _ in 0..20 {
        assert_eq!(client.get("/echo").status, 200);
    }
}

#[test]
fn a_handler_cannot_be_brought_to_write_two_headers() {
    let (listener, _) = start(|_| {});
    let reply = Client::to(&listener).get("/split");
    assert_eq!((reply.status, reply.header("x-evil"), reply.header("x-good")), (200, None, Some("yes".to_owned())));
    assert_eq!(reply.header("cache-control").as_deref(), Some("no-store"), "the listener's word stands");
}

#[test]
fn whatever_is_ambiguous_or_malformed_is_refused_and_the_connection_closed() {
    let (listener, service) = start(|_| {});
    let post = |lines: &str, body: &str| format!("POST /echo HTTP/1.1\r\nHost: a\r\n{lines}\r\n{body}");
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
    let cases: Vec<(String, u16)> = vec![
        (post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400),
        (post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400),
        (post("Content-Length: 5, 5\r\n", "hello"), 400),
        (post("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", smuggled), 400),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", smuggled), 400),
        (post("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: identity\r\n", smuggled), 400),
        (post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400),
        (post("Transfer-Encoding: \u{b}chunked\r\n", "0\r\n\r\n"), 400),
        (post("Content-Length: abc\r\n", smuggled), 400),
        (post("Content-Length: -1\r\n", smuggled), 400),
        (post("Content-Length: +5\r\n", "hello"), 400),
        (post("Content-Length : 5\r\n", "hello"), 400),
        (post("Content-Length:\r\n 5\r\n", "hello"), 400),
        (post("X-Hub-Signature-256: sha256=a\r\n\tb\r\n", ""), 400),
        (post("X: a\nContent-Length: 5\r\n", "hello"), 400),
        (post("X: a\rContent-Length: 5\r\n", "hello"), 400),
        (post("X: \0\r\n", ""), 400),
        (post("X: \u{1b}[31m\r\n", ""), 400),
        (post("Host: b\r\n", ""), 400),
        (post("Transfer-Encoding: chunked\r\n", "5\nhello\n0\n\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "xyz\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "5\r\nhelloX"), 400),
        (post("Transfer-Encoding: chunked\r\n", "0\r\nX: y\r\n\r\n"), 400),
        (post("Transfer-Encoding: chunked\r\n", "FFFFFFFF\r\n"), 413),
        (post("Content-Length: 100000000000\r\n", ""), 413),
        (post("Content-Length: 99999999999999999999999999\r\n", ""), 413),
        (post("Expect: a-miracle\r\nContent-Length: 5\r\n", "hello"), 417),
        ("GET /echo HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET /echo HTTP/1.1\nHost: a\n\n".to_owned(), 400),
        ("GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("GET /echo HTTP/9.9\r\nHost: a\r\n\r\n".to_owned(), 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 505),
        ("GET http://a/echo HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned(), 400),
        ("\0".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(20_000)), 431),
        (post(&"X: y\r\n".repeat(100), ""), 431),
    ];
    let count = cases.len() as u64;
    for (text, status) in cases {
        let mut client = Client::asking(&listener, &text);
        let reply = client.reply();
        let shown = text.get(..text.len().min(120)).unwrap_or_default();
        assert_eq!(reply.status, status, "{shown:?}");
        assert_eq!(reply.header("connection").as_deref(), Some("close"), "{shown:?}");
        error_code(&reply);
        assert!(client.ended(), "{shown:?}");
    }
    assert_eq!(service.answered.load(Ordering::Relaxed), 0, "nothing came through");
    let stats = listener.stats();
    assert_eq!(stats.refused(Refusal::Malformed) + stats.refused(Refusal::TooLarge), count);
    Client::to(&listener).is_served();
}

#[test]
fn any_bytes_at_all_get_no_2xx_and_do_no_harm() {
    let (listener, service) = start(|settings| settings.limits.requests_per_second_per_address = 100_000);
    let mut random = fastrand::Rng::with_seed(17);
    for _ in 0..500 {
        let mut bytes: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
        if random.bool() {
            bytes.splice(0..0, b"POST /echo HTTP/1.1\r\nHost: a\r\n".iter().copied());
        }
        let mut client = Client::to(&listener);
        client.try_send(&bytes);
        client.stream.shutdown(Shutdown::Write).ok();
        let mut answer = Vec::new();
        // A reset is an answer too.
        let _ = client.stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{bytes:?}");
    }
    assert_eq!(service.answered.load(Ordering::Relaxed), 0);
    Client::to(&listener).is_served();
}

#[test]
fn three_hundred_megabytes_of_head_are_cut_off_at_once() {
    let (listener, _) = start(|_| {});
    let mut client = Client::asking(&listener, "GET /echo HTTP/1.1\r\nHost: a\r\nX: ");
    let block = [b'a'; 64 << 10];
    let mut sent = 0;
    while sent < 300 << 20 && client.stream.write_all(&block).is_ok() {
        sent += block.len();
        assert!(listener.stats().buffered_bytes < 1 << 20);
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    assert_eq!(listener.stats().refused(Refusal::TooLarge), 1);
    Client::to(&listener).is_served();
}

#[test]
fn a_million_pipelined_requests_are_answered_one_by_one_until_it_is_too_many() {
    let (listener, service) = start(|_| {});
    let client = Client::to(&listener);
    let mut writing = client.stream.try_clone().expect("a second handle");
    let writer = std::thread::spawn(move || {
        let block = GET.repeat(1_000);
        (0..1_000).take_while(|_| writing.write_all(block.as_bytes()).is_ok()).count()
    });
    let mut reading = std::io::BufReader::new(client.stream);
    let (mut answers, mut last) = (0, 0);
    while let Some(reply) = listening::read_reply(&mut reading, true) {
        answers += 1;
        last = reply.status;
        assert!(listener.stats().buffered_bytes < 1 << 20);
    }
    drop(reading);
    assert_eq!(last, 429);
    assert!(writer.join().expect("the writer") < 1_000, "the connection was closed in between");
    // A burst of two seconds' requests, and what flowed in meanwhile.
    assert!((1_000..100_000).contains(&answers), "{answers}");
    assert_eq!(service.answered.load(Ordering::Relaxed), answers - 1);
}

#[test]
fn too_many_requests_are_told_to_wait() {
    let (listener, _) = start(|settings| settings.limits.requests_per_second_per_address = 5);
    let mut client = Client::to(&listener);
    let refused = (0..40).find_map(|_| Some(client.get("/echo")).filter(|reply| reply.status != 200));
    let reply = refused.expect("a refusal");
    assert_eq!((reply.status, error_code(&reply).as_str()), (429, "too_many_requests"));
    assert_eq!(reply.header("retry-after").as_deref(), Some("1"));
    assert!(client.ended());
    let mut other = Client::from(&listener, [127, 0, 0, 2]);
    assert_eq!(other.get("/echo").status, 200, "another address is not concerned");
}

#[test]
fn whoever_is_slow_is_let_go_and_told_so_where_it_helps() {
    let (listener, _) = start(|settings| {
        settings.limits.request_timeout = Duration::from_secs(1);
        settings.limits.idle_timeout = Duration::from_secs(1);
        settings.limits.answer_timeout = Duration::from_secs(1);
    });
    // Silent from the start, slow head, slow body, slow chunk: the last three still drip.
    for (begin, drip) in [
        ("", ""),
        ("GET /echo HTTP/1.1\r\nHost: a\r\nX: ", "a"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n", "a"),
        ("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"),
    ] {
        let mut client = Client::asking(&listener, begin);
        let mut dripping = client.stream.try_clone().expect("a second handle");
        std::thread::spawn(move || {
            while !drip.is_empty() && dripping.write_all(drip.as_bytes()).is_ok() {
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        if begin.is_empty() {
            assert!(client.ended());
        } else {
            let reply = client.reply();
            assert_eq!((reply.status, error_code(&reply).as_str()), (408, "too_slow"), "{begin:?}");
            assert!(client.ended(), "{begin:?}");
        }
    }
    // Between two requests.
    let mut client = Client::to(&listener);
    client.is_served();
    assert!(client.ended());
    // A reader that takes nothing: its buffers and ours fill up.
    let _greedy = Client::asking(&listener, &"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(20));
    wait_for(|| listener.stats().refused(Refusal::SlowReader) == 1);
    wait_for(|| listener.stats().connections == 0);
    assert_eq!(listener.stats().buffered_bytes, 0);
    assert_eq!(listener.stats().refused(Refusal::SlowRequest), 3);
}

/// Waits until something is so; a test's patience is a minute.
fn wait_for(mut so: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < until, "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn new_connections_get_in_at_the_cost_of_those_that_dawdle() {
    let (listener, _) = start(|settings| {
        settings.limits.connections_max = 50;
        settings.limits.connections_per_address_max = 40;
    });
    let mut held = Vec::new();
    for number in 0..200 {
        let mut client = Client::from(&listener, [127, 0, 0, 2 + (number % 3) as u8]);
        client.try_send(b"GET /echo HTTP/1.1\r\nHost: a\r\n");
        held.push(client);
        if number % 20 == 0 {
            Client::to(&listener).is_served();
        }
    }
    wait_for(|| listener.stats().refused(Refusal::ConnectionsFull) >= 150);
    assert!(listener.stats().connections <= 50);
    Client::to(&listener).is_served();
    assert!(held.last_mut().expect("one").stream.write_all(b"\r\n").is_ok());
    assert_eq!(held.last_mut().expect("one").reply().status, 200, "the newest is still there");
}

#[test]
fn whoever_holds_most_bytes_pays_for_the_others() {
    let (listener, _) = start(|settings| {
        settings.limits.body_bytes_max = 1 << 20;
        settings.limits.buffered_bytes_max = 4 << 20;
    });
    let mut fat = Vec::new();
    for _ in 0..20 {
        let mut client = Client::from(&listener, [127, 0, 0, 2]);
        client.try_send(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n");
        client.try_send(&vec![b'x'; 999_999]);
        fat.push(client);
        assert!(listener.stats().buffered_bytes <= 4 << 20);
    }
    wait_for(|| listener.stats().refused(Refusal::BytesFull) >= 10);
    assert_eq!(Client::to(&listener).post("/echo", &"y".repeat(500_000)).json()["body_bytes"], 500_000);
}

#[test]
fn slow_calls_never_take_the_last_workers() {
    let (listener, service) = start(|_| {});
    let mut slow: Vec<Client> = (0..12).map(|_| Client::asking(&listener, SLOW)).collect();
    wait_for(|| service.waiting.load(Ordering::Relaxed) == 3);
    for _ in 0..10 {
        Client::to(&listener).is_served();
    }
    service.open();
    for client in &mut slow {
        assert_eq!(client.reply().status, 200);
    }
    assert_eq!(service.waiting_most.load(Ordering::Relaxed), 3);
}

#[test]
fn when_no_worker_is_free_in_time_the_answer_is_503() {
    let (listener, service) = start(|_| {});
    let mut slow: Vec<Client> = (0..40).map(|_| Client::asking(&listener, SLOW)).collect();
    wait_for(|| service.waiting.load(Ordering::Relaxed) == 3);
    // Three are at work, 32 wait for their time, the rest is told at once.
    wait_for(|| listener.stats().refused(Refusal::Overloaded) >= 5);
    wait_for(|| listener.stats().refused(Refusal::Overloaded) == 37);
    service.open();
    let statuses: Vec<u16> = slow.iter_mut().map(|client| client.reply().status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 3);
    assert_eq!(statuses.iter().filter(|status| **status == 503).count(), 37);
}

#[test]
fn only_a_trusted_proxy_says_who_the_client_is() {
    let forwarded = "GET /echo HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 10.9.9.9, 198.51.100.7\r\n\
                     X-Request-Id: 0123456789abcdef-from-proxy\r\nX-Gate-Peer: 1.1.1.1\r\nX-Gate-Id: 00000000000000000\r\n\r\n";
    let (listener, _) = start(|settings| {
        settings.proxies = Proxies {
            ranges: vec!["127.0.0.9/32".parse().expect("a range")],
            unix: false,
            header: ForwardedHeader::XForwardedFor,
        };
    });
    for (from, peer, id) in
        [([127, 0, 0, 9], "198.51.100.7", Some("0123456789abcdef-from-proxy")), ([127, 0, 0, 1], "127.0.0.1", None)]
    {
        let mut client = Client::from(&listener, from);
        let reply = client.ask(forwarded);
        assert_eq!(reply.json()["peer"], peer);
        let own = reply.header("x-request-id").expect("an id");
        assert_eq!(own == "0123456789abcdef-from-proxy", id.is_some());
        assert_eq!(reply.json()["id"], own);
        assert!(!reply.json()["headers"].to_string().contains("x-gate"), "{}", reply.json());
    }
}

#[test]
fn only_those_on_the_list_may_speak() {
    let (listener, service) = start(|settings| {
        settings.allow = vec!["127.0.0.2/32".parse().expect("a range"), "198.51.100.0/24".parse().expect("a range")];
        settings.proxies.ranges = vec!["127.0.0.9/32".parse().expect("a range")];
    });
    let through = |client: &str| format!("GET /echo HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: {client}\r\n\r\n");
    for (from, text, status) in [
        ([127, 0, 0, 2], GET.to_owned(), 200),
        ([127, 0, 0, 1], GET.to_owned(), 403),
        ([127, 0, 0, 1], through("198.51.100.7"), 403),
        ([127, 0, 0, 9], through("198.51.100.7"), 200),
        ([127, 0, 0, 9], through("192.0.2.7"), 403),
    ] {
        let mut client = Client::from(&listener, from);
        assert_eq!(client.ask(&text).status, status, "{from:?} {text}");
    }
    assert_eq!(service.answered.load(Ordering::Relaxed), 2);
    assert_eq!(listener.stats().refused(Refusal::NotAllowed), 3);
}

#[test]
fn a_unix_socket_is_served_guarded_and_removed() {
    use std::os::unix::fs::PermissionsExt;

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("listen");
    let on = |unix| {
        let mut settings = settings();
        settings.address = ListenAddress::Unix(path.clone());
        settings.proxies.unix = unix;
        Listener::start(&settings, Echo::new(), 1)
    };
    let ask = || {
        let mut stream = UnixStream::connect(&path).expect("a connection");
        let text = "GET /echo HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 198.51.100.7\r\n\r\n";
        stream.write_all(text.as_bytes()).expect("sent");
        listening::read_reply(&mut std::io::BufReader::new(stream), true).expect("an answer").json()["peer"].clone()
    };
    let listener = on(false).expect("a listener");
    assert_eq!(listener.address(), None);
    assert_eq!(std::fs::metadata(&path).expect("the socket").permissions().mode() & 0o777, 0o660);
    assert_eq!(ask(), serde_json::Value::Null);
    let error = on(false).expect_err("somebody listens");
    assert!(error.contains("another process does"), "{error}");
    assert!(listener.stop(Duration::from_secs(5)));
    assert!(!path.exists(), "it is gone with the listener");

    // What a killed process leaves.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let listener = on(true).expect("a listener");
    assert_eq!(ask(), "198.51.100.7");
    drop(listener);

    // What is no socket is not touched.
    std::fs::write(&path, "precious").expect("a file");
    let error = on(false).expect_err("a file");
    assert!(error.contains("no socket"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("the file"), "precious");
}

#[test]
fn a_taken_port_is_said() {
    let (listener, _) = start(|_| {});
    let mut settings = settings();
    settings.address = ListenAddress::Tcp(listener.address().expect("an address"));
    let error = Listener::start(&settings, Echo::new(), 1).expect_err("taken");
    assert!(error.contains("choose another [listen] address"), "{error}");
}

#[test]
fn a_stop_finishes_what_is_in_hand_and_takes_nothing_new() {
    let (listener, service) = start(|_| {});
    let address = listener.address().expect("an address");
    let mut resting = Client::to(&listener);
    resting.is_served();
    let mut busy = Client::asking(&listener, SLOW);
    let mut half = Client::asking(&listener, "GET /echo HTTP/1.1\r\n");
    let mut stuck = Client::asking(&listener, "GET /echo HTTP/1.1\r\n");
    wait_for(|| service.waiting.load(Ordering::Relaxed) == 1);
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || done.send(listener.stop(Duration::from_secs(60))));
    assert!(resting.ended(), "who rests is let go");
    let reply = half.ask("Host: a\r\n\r\n");
    assert_eq!((reply.status, reply.header("connection").as_deref()), (200, Some("close")));
    assert!(stuck.ended(), "who does not come to an end within a second is let go");
    wait_for(|| TcpStream::connect(address).is_err());
    assert!(ended.try_recv().is_err(), "one request is still in hand");
    service.open();
    let reply = busy.reply();
    assert_eq!((reply.status, reply.header("connection").as_deref()), (200, Some("close")));
    assert!(ended.recv_timeout(Duration::from_secs(60)).expect("an end"));
}

#[test]
fn a_stop_is_bounded_and_leaves_behind_what_hangs() {
    let (listener, service) = start(|_| {});
    let mut busy = Client::asking(&listener, SLOW);
    wait_for(|| service.waiting.load(Ordering::Relaxed) == 1);
    let begun = Instant::now();
    assert!(!listener.stop(Duration::from_millis(300)));
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(busy.ended());
    service.open();
}

#[test]
fn nothing_secret_is_in_the_log_or_shown_for_debugging() {
    listening::gather_log();
    let (listener, _) = start(|_| {});
    for target in ["/echo/hush?token=hush", "/panic/hush", "/none/hush"] {
        let text = format!(
            "POST {target} HTTP/1.1\r\nHost: hush\r\nAuthorization: Bearer hush\r\nContent-Length: 4\r\n\r\nhush"
        );
        let mut client = Client::asking(&listener, &text);
        client.reply();
    }
    let mut client = Client::asking(&listener, "POST /hush HTTP/1.1\r\nhush hush\r\n\r\n");
    client.reply();
    drop(listener);
    let log = listening::gathered_log();
    assert!(log.contains("answered 200"), "{log}");
    assert!(!log.contains("hush"), "{log}");
}

#[test]
fn many_requests_at_once_are_all_answered_each_with_its_own() {
    let (listener, _) = start(|settings| {
        settings.limits = ListenLimits {
            requests_per_second_per_address: 100_000,
            requests_per_second: 100_000,
            ..settings.limits.clone()
        };
    });
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let listener = &listener;
            scope.spawn(move || {
                let mut client = Client::to(listener);
                for number in 0..100 {
                    let length = (thread * 7_919 + number * 104_729) % 40_000;
                    let seen = client.post(&format!("/echo/{thread}-{number}"), &"z".repeat(length)).json();
                    assert_eq!(seen["path"], format!("/echo/{thread}-{number}"));
                    assert_eq!(seen["body_bytes"], length);
                }
            });
        }
    });
    assert_eq!(listener.stats().answered, 1_600);
}

#[test]
fn it_goes_on_after_descriptors_ran_out() {
    let mut child = Spoken::start("ulimit -n 96", "child_with_few_descriptors");
    let address = child.address();
    // Half of them is kept for the rest of the process.
    assert_eq!(child.hear("connections_max"), "48");
    let idle: Vec<Client> = (0..200).map(|_| Client::at(address)).collect();
    Client::at(address).is_served();
    child.tell("fill");
    child.hear("filled");
    // Nothing is left: accepting fails, over and over, and goes on once there are some again.
    let mut waiting = Client::at(address);
    waiting.send(GET);
    child.tell("look");
    child.hear("failing");
    child.tell("free");
    assert_eq!(waiting.reply().status, 200);
    Client::at(address).is_served();
    drop(idle);
    Client::at(address).is_served();
}

#[test]
#[ignore = "a child of another test"]
fn child_with_few_descriptors() {
    if child::role().is_none() {
        return;
    }
    let (listener, _) = start(|_| {});
    child::say("address", listener.address().expect("an address"));
    child::say("connections_max", listener.stats().connections_max);
    let mut held = Vec::new();
    for line in std::io::stdin().lines() {
        match line.expect("text").as_str() {
            // For long enough that whatever the listener lets go of is taken, too.
            "fill" => {
                let until = Instant::now() + Duration::from_secs(1);
                while Instant::now() < until {
                    match std::fs::File::open("/dev/null") {
                        Ok(file) => held.push(file),
                        Err(_) => std::thread::sleep(Duration::from_millis(1)),
                    }
                }
                child::say("filled", held.len());
            }
            "look" => {
                wait_for(|| {
                    held.extend(std::fs::File::open("/dev/null"));
                    listener.stats().refused(Refusal::AcceptFailed) > 2
                });
                child::say("failing", "");
            }
            _ => held.clear(),
        }
    }
}

#[test]
fn sockets_of_systemd_are_taken_over_whether_they_block_or_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("listen");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let address = tcp.local_addr().expect("an address");
    tcp.set_nonblocking(true).expect("not blocking");
    let unix = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    // As systemd does it: descriptors 3 and 4, and the process they are for.
    let before = "exec 3<&0 4<&1 0</dev/null 1>&2; export LISTEN_FDS=2 LISTEN_PID=$$";
    let mut process = child::command(before, "child_with_sockets")
        .stdin(std::os::fd::OwnedFd::from(tcp))
        .stdout(std::os::fd::OwnedFd::from(unix))
        .spawn()
        .expect("a process");
    let mut client = Client::at(address);
    client.is_served();
    let mut stream = UnixStream::connect(&path).expect("a connection");
    stream.write_all(GET.as_bytes()).expect("sent");
    assert_eq!(listening::read_reply(&mut std::io::BufReader::new(stream), true).expect("an answer").status, 200);
    // It ends by itself after these two.
    assert!(process.wait().expect("an end").success());
    assert!(path.exists(), "the socket is systemd's");
}

#[test]
#[ignore = "a child of another test"]
fn child_with_sockets() {
    if child::role().is_none() {
        return;
    }
    let mut settings = settings();
    settings.address = ListenAddress::Systemd;
    let listener = Listener::start(&settings, Echo::new(), 1).unwrap_or_else(|error| panic!("{error}"));
    let error = Listener::start(&settings, Echo::new(), 1).expect_err("taken");
    assert!(error.contains("in use already"), "{error}");
    wait_for(|| listener.stats().answered == 2);
}

#[test]
fn a_stopped_listener_leaves_neither_threads_nor_descriptors() {
    Spoken::start(":", "child_that_starts_and_stops").hear("good");
}

#[test]
#[ignore = "a child of another test"]
fn child_that_starts_and_stops() {
    if child::role().is_none() {
        return;
    }
    let count = |what: &str| std::fs::read_dir(format!("/proc/self/{what}")).expect(what).count();
    let before = (count("task"), count("fd"));
    for _ in 0..5 {
        let (listener, _) = start(|_| {});
        let mut client = Client::to(&listener);
        client.is_served();
        assert!(count("task") > before.0);
        assert!(listener.stop(Duration::from_secs(10)));
        assert!(client.ended());
    }
    // tiny_http's idle threads end by themselves after five seconds. Two descriptors are tokio's, for the signals of
    // the process, which the first runtime makes.
    wait_for(|| count("task") <= before.0 && count("fd") <= before.1 + 2);
    child::say("good", "");
}

#[test]
fn systemd_without_a_socket_is_said() {
    let mut settings = settings();
    settings.address = ListenAddress::Systemd;
    let error = Listener::start(&settings, Echo::new(), 1).expect_err("no socket");
    assert!(error.contains("start evenkeel.socket"), "{error}");
}

#[test]
fn an_ipv6_client_is_known_by_its_address() {
    let mut settings = settings();
    settings.address = ListenAddress::Tcp("[::1]:0".parse().expect("an address"));
    let Ok(listener) = Listener::start(&settings, Echo::new(), 1) else {
        return; // A machine without IPv6.
    };
    assert_eq!(
        Client::to(&listener).get("/echo").json()["peer"].as_str().map(str::parse::<IpAddr>),
        Some(Ok(IpAddr::from([0_u16, 0, 0, 0, 0, 0, 0, 1])))
    );
}
