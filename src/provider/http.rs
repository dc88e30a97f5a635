//! One request and one answer, and the transport that carries them: ureq in production, the sandbox
//! itself in tests. The only file that names ureq.

use std::time::Duration;

/// The methods the two services use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// As it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it can change something.
    pub const fn writes(self) -> bool {
        !matches!(self, Self::Get)
    }
}

/// One request. `Debug` hides the value of `Authorization`.
#[derive(Clone)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// The absolute address.
    pub url: String,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The JSON body, or empty.
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Request {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} {}", self.method.as_str(), self.url)
    }
}

/// One answer, its body already unpacked and within the limit.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with their values.
    pub headers: Vec<(String, String)>,
    /// The decoded body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransportError {
    /// No connection: the request certainly had no effect.
    NotSent(String),
    /// Sent, or perhaps sent, but no whole answer: the effect is unknown.
    NoAnswer(String),
    /// The answer's body was larger, unpacked, than the limit in bytes.
    TooLarge(u64),
    /// The transport was shut down.
    Stopped,
}

/// Carries requests. Never follows a redirect: the clients decide about those.
pub trait Transport: Send + Sync {
    /// Sends one request and reads the whole answer; `deadline` bounds the call in all.
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError>;
}
