//! Behind the gate: tiny_http on a private Unix socket, its workers, and the lines that lead there.
//!
//! tiny_http may not meet a network: one request with a huge Content-Length aborts the process, one failed
//! `accept` ends its listener in silence, and it reads bodies without deadline on its workers. Here it sees only
//! requests that are whole, from one peer that it can trust, in a folder that only this user may enter.
//!
//! The lines are kept: one connection for each worker, made one after the other at the start. So no `accept` can
//! fail later for want of descriptors, the number of threads stands still, and a request costs no connection.
//! One after the other because of a trap: tiny_http hands a new connection to a thread that it takes to be
//! free, and of connections made at once several may wait behind one thread, for as long as another connection
//! lives. If a line breaks it is made anew, and if that fails, the whole house.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::super::Service;
use super::super::message::{Answer, Head, Pace, Request, RequestId};
use super::table::Source;
use super::turns::{self, Turns};
use crate::clock::lock;

/// Threads that answer requests. Most wait for the disk; more would only queue at the database, which takes one
/// writer at a time.
pub(super) const WORKERS: usize = 8;
/// How many of them slow calls may use.
const SLOW_MAX: usize = 3;
/// Whole requests that may wait for a worker: less than a second's work.
const WAITING_MAX: usize = 512;
/// The largest answer, in bytes: some thousand rows of a listing. The API's pages are far below.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// The head of an answer, in bytes: what a handler sets, and some lines of ours.
const ANSWER_HEAD_BYTES_MAX: usize = 64 << 10;
/// Header lines of an answer.
const ANSWER_HEADERS_MAX: usize = 64;
/// How long a new line may take to say that it stands: a thread has to start.
const LINE_TIMEOUT: Duration = Duration::from_secs(5);

/// What the gate tells the workers; of a client's own headers none begins like this.
pub(super) const PRIVATE: &str = "x-gate-";
const ID: &str = "x-gate-id";
const PEER: &str = "x-gate-peer";
const PROBE: &str = "x-gate-probe";

/// The way to the workers.
pub(super) struct Back {
    service: Arc<dyn Service>,
    house: tokio::sync::Mutex<Arc<House>>,
    lines: Mutex<Vec<Line>>,
    turns: Arc<Turns>,
    slow: Arc<Semaphore>,
    /// Every worker holds the sender until it ends.
    ended: Mutex<mpsc::Receiver<()>>,
    alive: Mutex<Option<mpsc::Sender<()>>>,
}

/// One tiny_http with its workers, which end with it.
struct House(Arc<Rooms>);

/// What the workers of a house hold on to.
struct Rooms {
    /// First, as it connects to its own socket to end its listener.
    server: tiny_http::Server,
    /// Removed with the socket in it.
    folder: TempDir,
    ending: AtomicBool,
}

impl Drop for House {
    fn drop(&mut self) {
        self.0.ending.store(true, Ordering::Release);
        for _ in 0..WORKERS {
            self.0.server.unblock();
        }
    }
}

/// One kept connection to a house.
pub(super) struct Line {
    stream: UnixStream,
    #[expect(dead_code, reason = "a house stands while a line leads to it")]
    house: Arc<House>,
}

/// The right to have one request answered.
pub(super) struct Turn {
    _worker: turns::Turn,
    _slow: Option<OwnedSemaphorePermit>,
}

impl Back {
    /// Opens the house and all lines.
    pub(super) async fn open(service: Arc<dyn Service>) -> Result<Self, String> {
        let (sender, ended) = mpsc::channel();
        let fault = |error: io::Error| format!("the listener's workers cannot start: {error}");
        let house = House::open(&service, &sender).map_err(fault)?;
        let mut lines = Vec::with_capacity(WORKERS);
        for _ in 0..WORKERS {
            lines.push(Line::open(&house).await.map_err(fault)?);
        }
        Ok(Self {
            service,
            house: tokio::sync::Mutex::new(house),
            lines: Mutex::new(lines),
            turns: Turns::new(WORKERS, WAITING_MAX),
            slow: Arc::new(Semaphore::new(SLOW_MAX)),
            ended: Mutex::new(ended),
            alive: Mutex::new(Some(sender)),
        })
    }

    /// Waits for a worker. None when too many wait.
    pub(super) async fn turn(&self, source: Source, pace: Pace) -> Option<Turn> {
        // The narrower one first: who waits for it must not keep a worker.
        let slow = match pace {
            Pace::Quick => None,
            Pace::Slow => Some(Arc::clone(&self.slow).acquire_owned().await.ok()?),
        };
        Some(Turn { _worker: self.turns.take(source).await?, _slow: slow })
    }

    /// Sends a request to a worker. The body is gone from memory here when this comes back.
    pub(super) async fn send(&self, head: &Head, target: &str, body: Vec<u8>) -> io::Result<Line> {
        let mut text =
            format!("{} {target} HTTP/1.1\r\nContent-Length: {}\r\n{ID}: {}\r\n", head.method, body.len(), head.id);
        if let Some(peer) = head.peer {
            text.push_str(&format!("{PEER}: {peer}\r\n"));
        }
        for (name, value) in &head.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        text.push_str("\r\n");
        let mut line = self.line().await?;
        line.stream.write_all(text.as_bytes()).await?;
        line.stream.write_all(&body).await?;
        Ok(line)
    }

    /// Waits for the answer, however long it takes: the worker is busy for as long. A line that fails is dropped.
    /// Beside the answer the length of its body, which is not there if it is not asked for.
    pub(super) async fn receive(&self, mut line: Line, body: bool) -> io::Result<(Answer, usize)> {
        let answer = line.answer(body).await?;
        lock(&self.lines).push(line);
        Ok(answer)
    }

    /// A free line. There are as many as turns, so there is one unless it broke.
    async fn line(&self) -> io::Result<Line> {
        if let Some(line) = lock(&self.lines).pop() {
            return Ok(line);
        }
        // One at a time, as the trap above demands.
        let mut house = self.house.lock().await;
        if let Ok(line) = Line::open(&house).await {
            return Ok(line);
        }
        log::warn!("listener: the way to its workers broke and is made anew");
        let sender = lock(&self.alive).clone().ok_or(io::ErrorKind::NotConnected)?;
        *house = House::open(&self.service, &sender)?;
        // Lines to the old house go on until they break.
        Line::open(&house).await
    }

    /// Ends the workers once they have answered what they have in hand; whether they did in time.
    pub(super) fn close(self, until: Instant) -> bool {
        let Self { service, house, lines, turns: _, slow: _, ended, alive } = self;
        drop((lines, alive, service));
        drop(house);
        let ended = ended.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Nobody ever sends: the channel closes when the last worker has ended.
        let left = until.saturating_duration_since(Instant::now());
        matches!(ended.recv_timeout(left), Err(mpsc::RecvTimeoutError::Disconnected))
    }
}

impl House {
    fn open(service: &Arc<dyn Service>, alive: &mpsc::Sender<()>) -> io::Result<Arc<Self>> {
        // Nobody else may speak to the workers, or they could claim to be the gate.
        let only_us = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("evenkeel-").permissions(only_us).tempdir()?;
        let server = tiny_http::Server::http_unix(&folder.path().join("s")).map_err(io::Error::other)?;
        let house = Arc::new(Self(Arc::new(Rooms { server, folder, ending: AtomicBool::new(false) })));
        for number in 0..WORKERS {
            let (rooms, service, alive) = (Arc::clone(&house.0), Arc::clone(service), alive.clone());
            std::thread::Builder::new().name(format!("listener-{number}")).spawn(move || {
                work(&rooms, &*service);
                // The last one closes the house, and only then the channel.
                drop((rooms, service));
                drop(alive);
            })?;
        }
        Ok(house)
    }
}

/// One worker: answers until the house ends.
fn work(rooms: &Rooms, service: &dyn Service) {
    loop {
        match rooms.server.recv() {
            Ok(request) => {
                // The handler's panics are answered further below; this is for the rest of them.
                if catch_unwind(AssertUnwindSafe(|| work_on(request, service))).is_err() {
                    log::error!("listener: a worker panicked outside of a handler, a fault of this program");
                }
            }
            Err(_) if rooms.ending.load(Ordering::Acquire) => return,
            // A failed accept: said once, and no new line will stand. Those that do go on.
            Err(error) => log::error!("listener: the way to its workers takes no new lines: {error}"),
        }
    }
}

/// Has one request answered.
fn work_on(mut incoming: tiny_http::Request, service: &dyn Service) {
    let mut headers = Vec::with_capacity(incoming.headers().len());
    let (mut id, mut peer) = (None, None);
    for header in incoming.headers() {
        let (name, value) = (header.field.as_str().as_str().to_ascii_lowercase(), header.value.as_str());
        match name.as_str() {
            PROBE => {
                // The other end waits for this, and breaks the line if it does not come.
                let _ = incoming.respond(tiny_http::Response::empty(204));
                return;
            }
            ID => id = RequestId::from_outside(value),
            PEER => peer = value.parse().ok(),
            "content-length" => {}
            _ => headers.push((name, value.to_owned())),
        }
    }
    let id = id.unwrap_or_else(|| RequestId::from_number(0));
    let head = Head::new(id.clone(), incoming.method().to_string(), incoming.url(), headers, peer);
    let length = incoming.body_length().unwrap_or_default();
    let mut body = Vec::with_capacity(length);
    if !matches!(incoming.as_reader().read_to_end(&mut body), Ok(read) if read == length) {
        return;
    }
    let request = Request { head, body };
    let answer = catch_unwind(AssertUnwindSafe(|| service.answer(request))).unwrap_or_else(|_| {
        log::error!("request {id}: the handler panicked, a fault of this program; answered 500");
        Answer::error(500, "internal", "an internal error; the log names this request", &id)
    });
    let answer = if answer.body.len() > ANSWER_BYTES_MAX {
        log::error!("request {id}: an answer of {} bytes is too large; answered 500", answer.body.len());
        Answer::error(500, "internal", "the answer is too large", &id)
    } else {
        answer
    };
    let Answer { status, headers, body } = answer;
    let length = body.len();
    let headers = headers.iter().take(ANSWER_HEADERS_MAX / 2).filter(|(name, value)| one_line(name, value));
    let headers =
        headers.filter_map(|(name, value)| tiny_http::Header::from_bytes(name.as_bytes(), value.as_bytes()).ok());
    let response =
        tiny_http::Response::new(status.into(), headers.collect(), io::Cursor::new(body), Some(length), None)
            .with_chunked_threshold(usize::MAX);
    // If the other end is gone there is nobody to tell.
    let _ = incoming.respond(response);
}

/// Whether a header is one line of visible ASCII, so that no handler can be brought to write two.
fn one_line(name: &str, value: &str) -> bool {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !name.is_empty() && name.bytes().all(token) && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

impl Line {
    /// Makes a connection and waits until a thread stands behind it.
    async fn open(house: &Arc<House>) -> io::Result<Self> {
        let open = async {
            let stream = UnixStream::connect(house.0.folder.path().join("s")).await?;
            let mut line = Self { stream, house: Arc::clone(house) };
            line.stream.write_all(format!("GET / HTTP/1.1\r\n{PROBE}: 1\r\n\r\n").as_bytes()).await?;
            match line.answer(true).await?.0.status {
                204 => Ok(line),
                other => Err(io::Error::other(format!("a worker answered {other}"))),
            }
        };
        tokio::time::timeout(LINE_TIMEOUT, open).await?
    }

    /// Reads one answer; `body` says whether one can follow the head.
    async fn answer(&mut self, body: bool) -> io::Result<(Answer, usize)> {
        let mut bytes = Vec::with_capacity(1 << 10);
        let (mut answer, head, told) = loop {
            if self.stream.read_buf(&mut bytes).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(found) = parse_answer(&bytes)? {
                break found;
            }
            if bytes.len() > ANSWER_HEAD_BYTES_MAX {
                return Err(io::ErrorKind::InvalidData.into());
            }
            bytes.reserve(1 << 10);
        };
        let length = if body && !matches!(answer.status, 204 | 304) { told } else { 0 };
        if length > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        answer.body = bytes.split_off(head);
        let begun = answer.body.len();
        answer.body.resize(length.max(begun), 0);
        if begun > length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.stream.read_exact(answer.body.get_mut(begun..).unwrap_or(&mut [])).await?;
        Ok((answer, told))
    }
}

/// Reads the head of an answer once it is whole: the answer without its body, and both lengths.
fn parse_answer(bytes: &[u8]) -> io::Result<Option<(Answer, usize, usize)>> {
    let mut lines = [httparse::EMPTY_HEADER; ANSWER_HEADERS_MAX];
    let mut response = httparse::Response::new(&mut lines);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(io::Error::other)? else {
        return Ok(None);
    };
    let mut answer = Answer::empty(response.code.unwrap_or_default());
    let mut length = 0;
    for line in &*response.headers {
        let value = std::str::from_utf8(line.value).map_err(io::Error::other)?;
        match line.name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().map_err(io::Error::other)?,
            // What serves is nobody's business; about the connection the gate decides.
            "server" | "connection" | "transfer-encoding" => {}
            _ => answer.headers.push((line.name.to_owned(), value.to_owned())),
        }
    }
    Ok(Some((answer, head, length)))
}

#[cfg(test)]
mod tests;
