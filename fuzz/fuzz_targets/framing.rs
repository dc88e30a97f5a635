//! Fuzzes the framing of requests as the gate uses it: any bytes end in a verdict, the same one in whatever pieces
//! they come, and what is let through could be read in one way only.
//!
//! To add a target: a file like this one in `fuzz_targets`, a `[[bin]]` for it in `fuzz/Cargo.toml`. `.ci/fuzz` runs
//! all there are for 20 seconds each, `.ci/fuzz 600 NAME` one of them for ten minutes. A finding is kept as
//! `fuzz/artifacts/NAME/crash-…`, and `.ci/fuzz 1 NAME FILE` plays it again. What proves something belongs into a
//! test beside the parser, too: this here looks for what nobody thought of.

#![no_main]

use evenkeel::server::gate::framing::{Chunks, Fault, Framing, HeadScan, parse_head};
use libfuzzer_sys::fuzz_target;

const HEAD_BYTES_MAX: usize = 4_096;
const HEADERS_MAX: usize = 32;
const BODY_BYTES_MAX: usize = 1_024;

fuzz_target!(|input: &[u8]| {
    // The first byte says in which pieces the rest comes.
    let Some((step, bytes)) = input.split_first() else { return };
    assert_eq!(requests(bytes, usize::MAX), requests(bytes, usize::from(*step) + 1));
});

/// Reads requests as the gate does, until the bytes end or are refused: methods and targets with their bodies.
fn requests(bytes: &[u8], step: usize) -> (Vec<(String, String, Vec<u8>)>, Option<Fault>) {
    let mut found = Vec::new();
    let mut rest = bytes;
    loop {
        match request(rest, step) {
            Ok(Some((method, target, body, length))) => {
                found.push((method, target, body));
                rest = &rest[length..];
            }
            Ok(None) => return (found, None),
            Err(fault) => return (found, Some(fault)),
        }
    }
}

type Found = Option<(String, String, Vec<u8>, usize)>;

/// Reads one request; with it the number of its bytes.
fn request(bytes: &[u8], step: usize) -> Result<Found, Fault> {
    let mut scan = HeadScan::default();
    let mut at = 0_usize;
    let length = loop {
        at = bytes.len().min(at.saturating_add(step));
        match scan.find(&bytes[..at], HEAD_BYTES_MAX)? {
            Some(length) => break length,
            None if at == bytes.len() => return Ok(None),
            None => {}
        }
    };
    assert!(length <= HEAD_BYTES_MAX);
    let text = &bytes[..length];
    let head = parse_head(text, HEADERS_MAX)?;
    assert!(head.headers.len() <= HEADERS_MAX);
    assert!(text.iter().zip(&text[1..]).all(|(one, two)| (*one == b'\r') == (*two == b'\n')), "only whole line ends");
    assert!(text.iter().all(|byte| byte.is_ascii() && (!byte.is_ascii_control() || b"\r\n\t".contains(byte))));
    assert!(head.target.starts_with('/') || head.target == "*");
    let said = |name: &str| {
        let lower = text.to_ascii_lowercase();
        lower.windows(name.len()).filter(|window| *window == name.as_bytes()).count()
    };
    match head.framing {
        Framing::None => assert_eq!(said("\r\ntransfer-encoding:"), 0),
        Framing::Length(length) => {
            assert_eq!((said("\r\ncontent-length:"), said("\r\ntransfer-encoding:")), (1, 0));
            assert_ne!(length, 0);
        }
        Framing::Chunked => assert_eq!((said("\r\ncontent-length:"), said("\r\ntransfer-encoding:")), (0, 1)),
    }
    let rest = &bytes[length..];
    match head.framing {
        Framing::None => Ok(Some((head.method, head.target, Vec::new(), length))),
        Framing::Length(body) => {
            let body = usize::try_from(body).ok().filter(|body| *body <= BODY_BYTES_MAX).ok_or(Fault::BodyTooLarge)?;
            Ok(rest.get(..body).map(|bytes| (head.method, head.target, bytes.to_vec(), length + body)))
        }
        Framing::Chunked => {
            let (mut chunks, mut body, mut at) = (Chunks::default(), Vec::new(), 0_usize);
            while !chunks.done() {
                let end = rest.len().min(at.saturating_add(step));
                if at == end {
                    return Ok(None);
                }
                at += chunks.feed(&rest[at..end], &mut body, BODY_BYTES_MAX)?;
                assert!(body.len() <= BODY_BYTES_MAX && (at == end || chunks.done()));
            }
            Ok(Some((head.method, head.target, body, length + at)))
        }
    }
}
