//! The head of an answer, as it goes out.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimePrinter;

use super::super::message::{Answer, RequestId};

/// Headers that the gate alone sets.
const OURS: [&str; 7] =
    ["content-length", "transfer-encoding", "connection", "date", "server", "x-request-id", "cache-control"];

/// Status line and headers, the empty line among them. `length` is told to HEAD requests, too; `kept` says that
/// the connection goes on, and whether the client speaks HTTP/1.0 and has to be told so.
pub(super) fn answer_head(answer: &Answer, length: usize, id: &RequestId, kept: Option<bool>) -> String {
    let Answer { status, headers, body: _ } = answer;
    // Beyond what can be a status: a handler's mistake.
    let status = if (200..=599).contains(status) { *status } else { 500 };
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut text = format!("HTTP/1.1 {status} {}\r\n", reason.unwrap_or_default());
    for (name, value) in headers {
        if !OURS.iter().any(|ours| ours.eq_ignore_ascii_case(name)) {
            text.extend([name, ": ", value, "\r\n"]);
        }
    }
    // Writing to a String cannot fail.
    let _ = write!(text, "X-Request-Id: {id}\r\nCache-Control: no-store\r\n");
    if let Ok(date) = DateTimePrinter::new().timestamp_to_rfc9110_string(&Timestamp::now()) {
        let _ = write!(text, "Date: {date}\r\n");
    }
    if !matches!(status, 204 | 304) {
        let _ = write!(text, "Content-Length: {length}\r\n");
    }
    match kept {
        None => text.push_str("Connection: close\r\n"),
        Some(true) => text.push_str("Connection: keep-alive\r\n"),
        Some(false) => {}
    }
    text.push_str("\r\n");
    text
}
