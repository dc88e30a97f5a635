//! What tests of the listener share: a service that says what it saw, and a client that can misbehave.

pub mod child;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use evenkeel::config::{Listen, ListenAddress, ListenLimits, Proxies};
use evenkeel::server::{Admission, Answer, Head, Listener, Pace, Request, Service};
use serde_json::{Value, json};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);
/// The size of `/large`.
const LARGE: usize = 2 << 20;

/// Answers what it saw; some paths do something else.
#[derive(Default)]
pub struct Echo {
    /// Requests answered.
    pub answered: AtomicU64,
    /// Calls of `/slow` that wait.
    pub waiting: AtomicUsize,
    /// The most there were.
    pub waiting_most: AtomicUsize,
    opened: (Mutex<bool>, Condvar),
}

impl Echo {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets the calls of `/slow` end.
    pub fn open(&self) {
        *self.opened.0.lock().expect("the lock") = true;
        self.opened.1.notify_all();
    }
}

impl Service for Echo {
    fn admit(&self, head: &Head) -> Result<Admission, Answer> {
        if !["GET", "HEAD", "POST"].contains(&head.method.as_str()) {
            let answer = Answer::error(405, "method_not_allowed", "another method", &head.id);
            return Err(answer.with("Allow", "GET, HEAD, POST"));
        }
        let path = head.path.as_str();
        match path {
            "/unauthorized" => Err(Answer::error(401, "unauthorized", "who are you", &head.id)),
            "/panic-at-head" => panic!("as asked"),
            "/small" => Ok(Admission { body_bytes_max: 10, pace: Pace::Quick }),
            "/slow" => Ok(Admission { body_bytes_max: 10, pace: Pace::Slow }),
            _ if path.starts_with("/none") => Err(Answer::error(404, "not_found", "nothing here", &head.id)),
            _ => Ok(Admission { body_bytes_max: usize::MAX, pace: Pace::Quick }),
        }
    }

    fn answer(&self, request: Request) -> Answer {
        let Request { head, body } = request;
        match head.path.as_str() {
            "/nothing" => return Answer::empty(204),
            "/large" => return Answer { body: vec![b'x'; LARGE], ..Answer::empty(200) },
            "/split" => {
                return Answer::empty(200)
                    .with("X-Bad", "a\r\nX-Evil: 1")
                    .with("X-Bad\r\nX-Evil", "1")
                    .with("Cache-Control", "public")
                    .with("X-Good", "yes");
            }
            "/slow" => {
                let waiting = self.waiting.fetch_add(1, Ordering::Relaxed) + 1;
                self.waiting_most.fetch_max(waiting, Ordering::Relaxed);
                let opened = self.opened.0.lock().expect("the lock");
                drop(self.opened.1.wait_timeout_while(opened, PATIENCE, |opened| !*opened));
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            path if path.starts_with("/panic") => panic!("as asked"),
            _ => {}
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        let seen = json!({
            "id": head.id.as_str(), "method": head.method, "path": head.path, "query": head.query,
            "headers": head.headers, "body_bytes": body.len(), "peer": head.peer.as_ref().map(ToString::to_string),
        });
        Answer::json(200, &seen)
    }
}

/// A listener on a free port of this machine with the defaults.
pub fn settings() -> Listen {
    Listen {
        address: ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        proxies: Proxies::default(),
        allow: Vec::new(),
        limits: ListenLimits::default(),
    }
}

/// Starts one; `change` changes the defaults.
pub fn start(change: impl FnOnce(&mut Listen)) -> (Listener, Arc<Echo>) {
    let mut settings = settings();
    change(&mut settings);
    let service = Echo::new();
    let listener =
        Listener::start(&settings, Arc::<Echo>::clone(&service), 1).unwrap_or_else(|error| panic!("{error}"));
    (listener, service)
}

/// A client that says what it is told to.
pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Client {
    pub fn to(listener: &Listener) -> Self {
        Self::at(listener.address().expect("an address"))
    }

    pub fn at(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).expect("a connection"))
    }

    /// Comes from another address of this machine.
    pub fn from(listener: &Listener, from: [u8; 4]) -> Self {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddr::from((IpAddr::from(from), 0))).expect("an address of ours");
        connect(&socket, &listener.address().expect("an address")).expect("a connection");
        Self::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let reader = BufReader::new(stream.try_clone().expect("a second handle"));
        Self { stream, reader }
    }

    pub fn send(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).expect("sent");
    }

    /// Sends what can be sent: the other end may close at any time.
    pub fn try_send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// One that has asked for something and not heard the answer.
    pub fn asking(listener: &Listener, text: &str) -> Self {
        let mut client = Self::to(listener);
        client.send(text);
        client
    }

    pub fn get(&mut self, target: &str) -> Reply {
        self.ask(&format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n"))
    }

    pub fn post(&mut self, target: &str, body: &str) -> Reply {
        let length = body.len();
        self.ask(&format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"))
    }

    /// Sends it and hears the answer.
    pub fn ask(&mut self, text: &str) -> Reply {
        self.send(text);
        self.reply()
    }

    pub fn reply(&mut self) -> Reply {
        read_reply(&mut self.reader, true).expect("an answer")
    }

    /// An answer that has no body, whatever its length says.
    pub fn head_reply(&mut self) -> Reply {
        read_reply(&mut self.reader, false).expect("an answer")
    }

    /// Whether the other end closes without another word.
    pub fn ended(&mut self) -> bool {
        match self.reader.read(&mut [0; 1]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    /// Asks and is answered.
    pub fn is_served(&mut self) {
        assert_eq!(self.get("/echo").status, 200);
    }
}

/// An answer as it came.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header, which must not be there twice.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone());
        let first = values.next();
        assert_eq!(values.next(), None, "{name}");
        first
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Reads one answer; none if the connection ends before it.
pub fn read_reply(reader: &mut impl BufRead, body: bool) -> Option<Reply> {
    let line = |reader: &mut dyn BufRead| {
        let mut text = String::new();
        reader.read_line(&mut text).ok().filter(|count| *count > 0)?;
        Some(text.strip_suffix("\r\n").unwrap_or_else(|| panic!("{text:?}")).to_owned())
    };
    let first = line(reader)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
    let mut reply =
        Reply { status: status.unwrap_or_else(|| panic!("{first}")), headers: Vec::new(), body: Vec::new() };
    loop {
        let text = line(reader)?;
        if text.is_empty() {
            break;
        }
        let (name, value) = text.split_once(": ").unwrap_or_else(|| panic!("{text}"));
        reply.headers.push((name.to_ascii_lowercase(), value.to_owned()));
    }
    let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a length"));
    if body {
        reply.body.resize(length, 0);
        reader.read_exact(&mut reply.body).ok()?;
    }
    Some(reply)
}

static LOG: Mutex<String> = Mutex::new(String::new());

/// What is logged by the listener from here on, by every test of this process.
pub fn gather_log() {
    struct Gather;
    impl log::Log for Gather {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            LOG.lock().expect("the log").push_str(&format!("{} {}\n", record.target(), record.args()));
        }

        fn flush(&self) {}
    }
    log::set_logger(&Gather).expect("the first logger");
    log::set_max_level(log::LevelFilter::Trace);
}

pub fn gathered_log() -> String {
    LOG.lock().expect("the log").clone()
}
