//! Tables and laws of the framing: what is one request, what is refused and as what, and that it does not matter
//! in which pieces the bytes come.

use proptest::prelude::*;

use super::*;

const BYTES_MAX: usize = 2_048;
const HEADERS: usize = 16;

/// Reads a head that comes in one piece.
fn head(text: &[u8]) -> Result<Option<ParsedHead>, Fault> {
    match HeadScan::default().find(text, BYTES_MAX)? {
        Some(length) => parse_head(&text[..length], HEADERS).map(Some),
        None => Ok(None),
    }
}

fn good(text: &str) -> ParsedHead {
    head(text.as_bytes()).unwrap_or_else(|fault| panic!("{text:?}: {fault}")).unwrap_or_else(|| panic!("{text:?}"))
}

/// A request with one more header line.
fn with(line: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n")
}

#[test]
fn what_is_one_request_is_read() {
    let found = good("POST /webhooks/github?a=%20b HTTP/1.1\r\nHost: ex.org:8\r\nX-Sig:  a b \t\r\nX-SIG: c\r\n\r\n");
    assert_eq!((found.method.as_str(), found.target.as_str()), ("POST", "/webhooks/github?a=%20b"));
    let wanted = [("host", "ex.org:8"), ("x-sig", "a b"), ("x-sig", "c")];
    assert_eq!(found.headers, wanted.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!(
        (found.framing, found.old, found.keep_alive, found.expects_continue),
        (Framing::None, false, true, false)
    );
    for (line, framing) in [
        ("Content-Length: 0", Framing::None),
        ("content-length: 17", Framing::Length(17)),
        ("Content-Length:17", Framing::Length(17)),
        ("Content-Length: 0017", Framing::Length(17)),
        ("Content-Length: 100000000000", Framing::Length(100_000_000_000)),
        ("Content-Length: 99999999999999999999999999", Framing::Length(u64::MAX)),
        ("Transfer-Encoding: chunked", Framing::Chunked),
        ("transfer-encoding: CHUNKED", Framing::Chunked),
    ] {
        assert_eq!(good(&with(line)).framing, framing, "{line}");
    }
}

#[test]
fn one_line_end_before_a_request_is_forgiven_and_no_more() {
    assert_eq!(good("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").method, "GET");
    assert_eq!(head(b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Err(Fault::BadRequestLine));
}

#[test]
fn who_keeps_the_connection_is_understood() {
    for (version, line, keeps) in [
        ("1.1", "", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Foo, CLOSE\r\n", false),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let found = good(&format!("GET / HTTP/{version}\r\nHost: a\r\n{line}\r\n"));
        assert_eq!(found.keep_alive, keeps, "{version} {line}");
    }
}

#[test]
fn only_who_may_and_has_something_to_wait_for_is_told_to_go_on() {
    assert!(good(&with("Expect: 100-Continue\r\nContent-Length: 1")).expects_continue);
    assert!(!good(&with("Expect: 100-continue")).expects_continue);
    assert!(!good("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n").expects_continue);
}

#[test]
fn whatever_can_be_read_in_two_ways_is_refused() {
    let line = |line: &str| with(line).into_bytes();
    let cases: Vec<(Vec<u8>, Fault)> = vec![
        // Lengths.
        (line("Content-Length: 1\r\nContent-Length: 2"), Fault::TwoLengths),
        (line("Content-Length: 1\r\nContent-Length: 1"), Fault::TwoLengths),
        (line("Content-Length: 1, 1"), Fault::BadLength),
        (line("Content-Length: +1"), Fault::BadLength),
        (line("Content-Length: -1"), Fault::BadLength),
        (line("Content-Length: 0x1"), Fault::BadLength),
        (line("Content-Length: 1 2"), Fault::BadLength),
        (line("Content-Length:"), Fault::BadLength),
        (line("Content-Length: 1.0"), Fault::BadLength),
        // Encodings.
        (line("Content-Length: 1\r\nTransfer-Encoding: chunked"), Fault::LengthAndEncoding),
        (line("Transfer-Encoding: chunked\r\nContent-Length: 0"), Fault::LengthAndEncoding),
        (line("Transfer-Encoding: gzip, chunked"), Fault::BadEncoding),
        (line("Transfer-Encoding: identity"), Fault::BadEncoding),
        (line("Transfer-Encoding: chunked, chunked"), Fault::BadEncoding),
        (line("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Fault::BadEncoding),
        (line("Transfer-Encoding: \"chunked\""), Fault::BadEncoding),
        (line("Transfer-Encoding: xchunked"), Fault::BadEncoding),
        (line("Transfer-Encoding:"), Fault::BadEncoding),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), Fault::BadEncoding),
        // Names and lines.
        (line("Content-Length : 1"), Fault::BadHeader),
        (line("Transfer-Encoding\t: chunked"), Fault::BadHeader),
        (line("X: a\r\n b"), Fault::Folded),
        (line("X: a\r\n\tb"), Fault::Folded),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n".to_vec(), Fault::Folded),
        (line("X: a\nY: b"), Fault::BareLineEnd),
        (line("X: a\rY: b"), Fault::BareLineEnd),
        (line("X: a\r\rY: b"), Fault::BareLineEnd),
        (b"GET / HTTP/1.1\nHost: a\n\n".to_vec(), Fault::BareLineEnd),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\n".to_vec(), Fault::BareLineEnd),
        (b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BareLineEnd),
        (line("X: a\0b"), Fault::BadByte),
        (line("X: a\u{8}b"), Fault::BadByte),
        (line("X: a\u{7f}b"), Fault::BadByte),
        (line("X: caf\u{e9}"), Fault::BadByte),
        (line("X\u{e9}: a"), Fault::BadByte),
        (line("no colon"), Fault::BadHeader),
        (line(": no name"), Fault::BadHeader),
        (line("a b: c"), Fault::BadHeader),
        (line("(x): c"), Fault::BadHeader),
        // Hosts.
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), Fault::NoHost),
        (line("Host: a"), Fault::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".to_vec(), Fault::BadHost),
        (b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n".to_vec(), Fault::BadHost),
        (b"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n".to_vec(), Fault::BadHost),
        // First lines.
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadRequestLine),
        (b"GET /\r\nHost: a\r\n\r\n".to_vec(), Fault::BadRequestLine),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n".to_vec(), Fault::BareLineEnd),
        (b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadRequestLine),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_vec(), Fault::BadVersion),
        (b"PRI * HTTP/2.0\r\n\r\n".to_vec(), Fault::BadVersion),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_vec(), Fault::BadVersion),
        (b"GET / FOO/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadRequestLine),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadTarget),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadTarget),
        (b"GET * HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadTarget),
        (b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), Fault::BadTarget),
        (b"\x16\x03\x01\x02\x00\x01\x00".to_vec(), Fault::BadByte),
        // Others.
        (line("Expect: 200-ok"), Fault::BadExpectation),
        (line(&format!("X: {}", "a".repeat(BYTES_MAX))), Fault::HeadTooLarge),
        (line(&vec!["X: a"; HEADERS].join("\r\n")), Fault::TooManyHeaders),
    ];
    for (text, fault) in cases {
        let shown = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(head(&text), Err(fault), "{shown:?}");
        assert!((400..=505).contains(&fault.status()), "{shown:?}");
    }
}

#[test]
fn a_head_is_refused_at_the_first_byte_that_spoils_it() {
    // Nobody has to send the rest, or to be waited for.
    let mut scan = HeadScan::default();
    assert_eq!(scan.find(b"GET / HTTP/1.1\nHo", BYTES_MAX), Err(Fault::BareLineEnd));
    assert_eq!(HeadScan::default().find(b"\x16", BYTES_MAX), Err(Fault::BadByte));
    assert_eq!(HeadScan::default().find(&[b'a'; BYTES_MAX], BYTES_MAX), Ok(None));
    assert_eq!(HeadScan::default().find(&[b'a'; BYTES_MAX + 1], BYTES_MAX), Err(Fault::HeadTooLarge));
}

/// Takes a chunked body apart, in pieces of `step` bytes. Answers the body and what was not taken.
fn chunked(input: &[u8], step: usize, most: usize) -> Result<(Vec<u8>, usize), Fault> {
    let (mut chunks, mut body, mut at) = (Chunks::default(), Vec::new(), 0);
    while !chunks.done() && at < input.len() {
        let end = input.len().min(at + step);
        let before = body.len();
        let taken = chunks.feed(&input[at..end], &mut body, most)?;
        assert!(taken == end - at || chunks.done(), "all is taken until the end");
        assert!(body.len() - before <= taken, "a body grows by no more than comes in");
        at += taken;
    }
    if chunks.done() { Ok((body, input.len() - at)) } else { Ok((body, usize::MAX)) }
}

#[test]
fn chunks_are_joined_and_what_follows_is_left() {
    for (input, wanted, left) in [
        (&b"0\r\n\r\n"[..], &b""[..], 0),
        (b"5\r\nhello\r\n0\r\n\r\nGET /", b"hello", 5),
        (b"5\r\nhello\r\n1;ext=\"x\"\r\n!\r\n0000\r\n\r\n", b"hello!", 0),
        (b"A\r\n0123456789\r\n00000002\r\n\r\n\r\n0;x\r\n\r\n", b"0123456789\r\n", 0),
    ] {
        for step in 1..=input.len() {
            assert_eq!(chunked(input, step, 100), Ok((wanted.to_vec(), left)), "{step}");
        }
    }
}

#[test]
fn malformed_chunks_are_refused() {
    for (input, fault) in [
        (&b"\r\n"[..], Fault::BadChunk),
        (b"x\r\n", Fault::BadChunk),
        (b"-1\r\n", Fault::BadChunk),
        (b"+1\r\n", Fault::BadChunk),
        (b"0x1\r\n", Fault::BadChunk),
        (b" 1\r\n", Fault::BadChunk),
        (b"1 \r\n", Fault::BadChunk),
        (b";x\r\n", Fault::BadChunk),
        (b"123456789\r\n", Fault::BadChunk),
        (b"000000000\r\n", Fault::BadChunk),
        (b"1\na\r\n", Fault::BadChunk),
        (b"1\r\r\n", Fault::BadChunk),
        (b"1;a\nb\r\n", Fault::BadChunk),
        (b"1;\0\r\n", Fault::BadChunk),
        (b"1\r\nab\r\n", Fault::BadChunk),
        (b"1\r\na\n", Fault::BadChunk),
        (b"1\r\na\r\r\n", Fault::BadChunk),
        (b"0\r\n\n", Fault::Trailers),
        (b"0\r\nX: y\r\n\r\n", Fault::Trailers),
        (b"0\r\n\rx", Fault::BadChunk),
        (b"FFFFFFFF\r\n", Fault::BodyTooLarge),
        (b"65\r\n", Fault::BodyTooLarge),
        (b"64\r\n0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789\r\n1\r\n", Fault::BodyTooLarge),
    ] {
        for step in 1..=input.len() {
            assert_eq!(chunked(input, step, 100), Err(fault), "{:?} by {step}", String::from_utf8_lossy(input));
        }
    }
    let long = format!("1;{}", "x".repeat(CHUNK_LINE_MAX));
    assert_eq!(chunked(long.as_bytes(), 7, 100), Err(Fault::BadChunk));
}

/// Bytes that are nearly HTTP: pieces that matter, in any order.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let known: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /x?y HTTP/1.0\r\n",
        b"Host: a\r\n",
        b"Content-Length: 5\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"X: y\r\n",
        b"5\r\n",
        b"hello",
        b"0\r\n\r\n",
        b"\0",
        b"\xff",
        b"Expect: 100-continue\r\n",
        b";ext",
        b"HTTP/1.1",
        b"*",
    ];
    let piece = prop_oneof![
        8 => prop::sample::select(known).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_verdict_does_not_depend_on_the_pieces(bytes in pieces(), cuts in prop::collection::vec(1_usize..20, 1..40)) {
        let whole = HeadScan::default().find(&bytes, 200);
        let (mut scan, mut at, mut found) = (HeadScan::default(), 0, Ok(None));
        for cut in cuts.iter().cycle() {
            at = bytes.len().min(at + cut);
            found = scan.find(&bytes[..at], 200);
            if at == bytes.len() || found != Ok(None) {
                break;
            }
        }
        prop_assert_eq!(found, whole);
        if let Ok(Some(length)) = whole {
            prop_assert!(bytes[..length].ends_with(b"\r\n\r\n") && length <= 200);
            // Whatever the parser says, it says it.
            let _ = parse_head(&bytes[..length], HEADERS);
        }
    }

    #[test]
    fn what_was_read_can_be_written_and_read_again(bytes in pieces()) {
        if let Ok(Some(found)) = head(&bytes) {
            let mut text = format!("{} {} HTTP/1.1\r\n", found.method, found.target);
            for (name, value) in &found.headers {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
            if !found.headers.iter().any(|(name, _)| name == "host") {
                text.push_str("host: \r\n");
            }
            text.push_str("\r\n");
            let again = good(&text);
            prop_assert_eq!((again.method, again.target), (found.method, found.target));
            prop_assert_eq!(&again.headers[..found.headers.len()], &found.headers[..]);
        }
    }

    #[test]
    fn a_body_in_chunks_comes_out_whole(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..10),
        step in 1_usize..30,
        rest in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let mut input = Vec::new();
        for part in &parts {
            input.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
            input.extend_from_slice(part);
            input.extend_from_slice(b"\r\n");
        }
        input.extend_from_slice(b"0\r\n\r\n");
        input.extend_from_slice(&rest);
        let body = parts.concat();
        let (found, left) = chunked(&input, step, body.len()).expect("good chunks");
        prop_assert_eq!(found, body);
        prop_assert_eq!(left, rest.len());
    }

    #[test]
    fn any_bytes_as_chunks_end_in_a_verdict_that_pieces_do_not_change(bytes in pieces(), step in 1_usize..30) {
        prop_assert_eq!(chunked(&bytes, step, 64), chunked(&bytes, usize::MAX / 2, 64));
    }
}
