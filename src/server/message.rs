//! What passes between the listener and what it serves: requests that are whole and checked, and answers.

use std::fmt;
use std::net::IpAddr;

/// Names one request, on its answer and on every line it causes in the log: 16 to 64 letters, digits and
/// hyphens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// An id of ours.
    pub(super) fn from_number(number: u64) -> Self {
        Self(format!("{number:016x}"))
    }

    /// An id that somebody else made, if it is well formed.
    pub fn from_outside(text: &str) -> Option<Self> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        ((16..=64).contains(&text.len()) && text.bytes().all(fits)).then(|| Self(text.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A request without its body. `Debug` shows neither the query nor any header's value.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub id: RequestId,
    /// The method, as it came: case matters.
    pub method: String,
    /// The path, its percent-encoding left as it came; begins with a slash, or is `*`.
    pub path: String,
    /// The query, decoded, in order.
    pub query: Vec<(String, String)>,
    /// Names in lower case with their values, in order, ASCII, doubles kept. Without those about the connection
    /// and the framing.
    pub headers: Vec<(String, String)>,
    /// The client's address, as far as it is known: not on a Unix socket without a trusted proxy.
    pub peer: Option<IpAddr>,
}

impl Head {
    /// Splits the target of a request line.
    pub(super) fn new(
        id: RequestId,
        method: String,
        target: &str,
        headers: Vec<(String, String)>,
        peer: Option<IpAddr>,
    ) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { id, method, path: path.to_owned(), query, headers, peer }
    }

    /// Every value of a header, by its name in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a header that is there exactly once. Of doubles none is believed.
    pub fn single(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// The first value of a key of the query.
    pub fn query(&self, key: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, method, path: _, query: _, headers, peer: _ } = self;
        // Not the path either: it may hold a token.
        write!(out, "request {id} ({method}, {} headers)", headers.len())
    }
}

/// A whole request.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Everything but the body.
    pub head: Head,
    /// The body, as it was before it was cut into chunks.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} with {} bytes", self.head, self.body.len())
    }
}

/// What becomes of a request whose head is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// How large the body may be, in bytes; the listener's own bound holds too.
    pub body_bytes_max: usize,
    /// How long the answer will take.
    pub pace: Pace,
}

/// How long an answer takes to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Milliseconds: no call to a provider.
    Quick,
    /// Maybe seconds. Such calls get only a part of the workers, so that they never keep quick ones waiting.
    Slow,
}

/// An answer. The listener adds its length, `X-Request-Id`, `Cache-Control: no-store` and what the connection
/// needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status, 200 to 599.
    pub status: u16,
    /// Further headers; one that is no ASCII text on one line is left out.
    pub headers: Vec<(String, String)>,
    /// The body; to a HEAD request only its length is told.
    pub body: Vec<u8>,
}

impl Answer {
    /// A status and nothing else.
    pub const fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// A JSON document.
    pub fn json(status: u16, document: &serde_json::Value) -> Self {
        let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
        // A Value always has a form as text.
        Self { status, headers, body: document.to_string().into_bytes() }
    }

    /// An error in the one form that all errors have: `{"error": {"code", "message", "request_id"}}`.
    pub fn error(status: u16, code: &str, message: &str, id: &RequestId) -> Self {
        let error = serde_json::json!({ "code": code, "message": message, "request_id": id.as_str() });
        Self::json(status, &serde_json::json!({ "error": error }))
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}
