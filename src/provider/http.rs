//! One request and one answer, and the transport that carries them: ureq in production, the sandbox
//! itself in tests. The only file that names ureq.

use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Proxy};

use crate::config::Network;

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

/// Who we say we are; GitHub answers 403 to requests without it.
pub const USER_AGENT: &str = concat!("evenkeel/", env!("CARGO_PKG_VERSION"));

/// Idle connections kept per host: more than the threads that work on one service at a time.
const IDLE_PER_HOST: usize = 16;
/// The longest an idle connection is kept, below the usual 60 s at which servers close theirs.
const IDLE_AGE: Duration = Duration::from_secs(30);
/// Largest header of an answer in bytes.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// An answer's buffer starts at the announced length, but never larger than this: the length is a claim.
const BUFFER_START_MAX: u64 = 256 * 1024;

/// The transport of production: one pool of connections over ureq, shared by all routes.
///
/// Redirects are never followed, a status never is an error, gzip is unpacked, and the proxies named by
/// the environment (`ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`) are used except towards this
/// machine itself. Certificates are verified by the system's roots or by the PEM file configured.
#[derive(Debug)]
pub struct UreqTransport {
    /// For all hosts but this machine.
    agent: Agent,
    /// For this machine: ureq would send even loopback through a proxy.
    loopback: Agent,
    /// The deadline both agents were made with; only another one needs a setting of its own.
    deadline: Duration,
    answer_bytes_max: u64,
    down: AtomicBool,
}

impl UreqTransport {
    /// Makes the transport; nothing is sent yet.
    ///
    /// # Errors
    /// The certificate file cannot be read or holds no certificate: says which file and what to do.
    pub fn new(network: &Network) -> Result<Self, String> {
        let roots = match &network.ca_file {
            None => RootCerts::PlatformVerifier,
            Some(path) => RootCerts::from(certificates(path)?),
        };
        let agent = |proxy| {
            Agent::config_builder()
                .http_status_as_error(false)
                .max_redirects(0)
                .timeout_global(Some(network.call_timeout))
                .timeout_connect(Some(network.connect_timeout))
                .max_response_header_size(HEADER_BYTES_MAX)
                .max_idle_connections(IDLE_PER_HOST * 4)
                .max_idle_connections_per_host(IDLE_PER_HOST)
                .max_idle_age(IDLE_AGE)
                .user_agent(USER_AGENT)
                .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
                .proxy(proxy)
                .build()
                .new_agent()
        };
        Ok(Self {
            agent: agent(Proxy::try_from_env()),
            loopback: agent(None),
            deadline: network.call_timeout,
            answer_bytes_max: network.answer_bytes_max,
            down: AtomicBool::new(false),
        })
    }

    /// Ends calls in flight and refuses new ones.
    pub fn shutdown(&self) {
        self.down.store(true, Ordering::SeqCst);
        self.agent.clone().shutdown();
        self.loopback.clone().shutdown();
    }

    /// Sends and reads, with ureq's own errors.
    fn exchange(&self, agent: &Agent, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        let mut head = ureq::http::Request::builder().method(request.method.as_str()).uri(&request.url);
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let answer = if request.method.writes() {
            head.body(request.body.as_slice()).map(|ready| self.run(agent, ready, deadline))
        } else {
            head.body(()).map(|ready| self.run(agent, ready, deadline))
        };
        let answer =
            answer.map_err(|error| TransportError::NotSent(format!("the request cannot be written: {error}")))?;
        let (parts, mut body) = answer.map_err(|error| self.sorted(&error))?.into_parts();
        let headers = parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        // The reader unpacks: what is counted is what we would hold in memory, not what was on the wire.
        let start = body.content_length().unwrap_or(0).min(BUFFER_START_MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(start).unwrap_or(0));
        body.as_reader()
            .take(self.answer_bytes_max.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| self.cut(error))?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > self.answer_bytes_max {
            return Err(TransportError::TooLarge(self.answer_bytes_max));
        }
        Ok(Response { status: parts.status.as_u16(), headers, body: bytes })
    }

    /// Runs a request. A setting of its own would make ureq build its TLS settings anew for every
    /// connection, so it is given only when it differs.
    fn run(
        &self,
        agent: &Agent,
        ready: ureq::http::Request<impl ureq::AsSendBody>,
        deadline: Duration,
    ) -> Result<ureq::http::Response<ureq::Body>, ureq::Error> {
        if deadline == self.deadline {
            agent.run(ready)
        } else {
            agent.run(agent.configure_request(ready).timeout_global(Some(deadline)).build())
        }
    }

    /// Sorts a failure before the answer's body by whether the request can have left.
    ///
    /// Only what certainly happens before the first byte of the request counts as not sent: names that do
    /// not resolve, refused connections, limits on resolving and connecting, certificates, proxies that
    /// refuse. Everything else, even when it probably failed early, leaves the effect unknown.
    fn sorted(&self, error: &ureq::Error) -> TransportError {
        use ureq::{Error, Timeout};
        if self.down.load(Ordering::SeqCst) {
            return TransportError::Stopped;
        }
        let never_left = match error {
            Error::HostNotFound
            | Error::BadUri(_)
            | Error::Http(_)
            | Error::Tls(_)
            | Error::TlsRequired
            | Error::Pem(_)
            | Error::InvalidProxyUrl
            | Error::ConnectionFailed
            | Error::ConnectProxyFailed(_)
            | Error::RequireHttpsOnly(_)
            | Error::Timeout(Timeout::Resolve | Timeout::Connect) => true,
            Error::Rustls(error) => bad_certificate(error),
            Error::Io(error) => match error.kind() {
                // Both can only come from connecting; "unreachable" can also end a standing connection.
                io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable => true,
                _ => error.get_ref().and_then(|inner| inner.downcast_ref()).is_some_and(bad_certificate),
            },
            _ => false,
        };
        let why = match error {
            Error::HostNotFound => "the host name does not resolve".to_owned(),
            Error::Timeout(limit) => format!("the time limit for {limit} was met"),
            // May quote the address asked for; ours can carry tokens of streams.
            Error::BadUri(_) => "the address is not valid".to_owned(),
            error => error.to_string(),
        };
        if never_left { TransportError::NotSent(why) } else { TransportError::NoAnswer(why) }
    }

    /// Sorts a failure while the body was read.
    fn cut(&self, error: io::Error) -> TransportError {
        match ureq::Error::from(error) {
            _ if self.down.load(Ordering::SeqCst) => TransportError::Stopped,
            ureq::Error::BodyExceedsLimit(_) => TransportError::TooLarge(self.answer_bytes_max),
            error => TransportError::NoAnswer(format!("the answer broke off: {error}")),
        }
    }
}

impl Transport for UreqTransport {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(TransportError::Stopped);
        }
        match Target::of(&request.url) {
            Target::Loopback => self.exchange(&self.loopback, request, deadline),
            Target::Https => self.exchange(&self.agent, request, deadline),
            Target::Unfit => Err(TransportError::NotSent("only https is used, except towards this machine".to_owned())),
        }
    }
}

/// What kind of address a request goes to.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    /// This machine, with or without TLS.
    Loopback,
    /// Elsewhere, with TLS.
    Https,
    /// Elsewhere without TLS, or no address at all.
    Unfit,
}

impl Target {
    fn of(url: &str) -> Self {
        let Ok(uri) = url.parse::<ureq::http::Uri>() else { return Self::Unfit };
        let host = uri.host().unwrap_or_default();
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let loopback =
            name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        match uri.scheme_str() {
            Some("http" | "https") if loopback => Self::Loopback,
            Some("https") if !host.is_empty() => Self::Https,
            _ => Self::Unfit,
        }
    }
}

/// A certificate is judged before anything of ours is sent.
fn bad_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
}

/// The certificates of a PEM file.
fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let shown = path.display();
    let pem = std::fs::read(path).map_err(|error| {
        format!("reading the certificate authority {shown}: {error}; check the path and who may read it")
    })?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(format!("reading the certificate authority {shown}: {error}; it must be PEM")),
        }
    }
    if found.is_empty() {
        return Err(format!(
            "the certificate authority {shown} holds no certificate; it must be PEM with BEGIN CERTIFICATE lines"
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
