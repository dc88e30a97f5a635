//! The listener under attack: `cargo bench --bench hostile`, or one attack with `-- head 2000`.
//!
//! A server, an attacker and an honest client, each in a process of its own on the same machine. The attacker holds
//! so many connections open at once, from eight addresses, and makes a new one for each that it loses; the honest
//! client comes from another address and sends a signed body of 3 KB on a fresh connection every 200 ms. Printed:
//! what was answered within a second and what was not, the times, and the server's peak of memory and threads.

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(clippy::panic, reason = "a benchmark ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark waits for real time")]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::config::{Listen, ListenAddress, ListenLimits, Proxies};
use evenkeel::server::{Admission, Answer, Head, Listener, Pace, Request, Service};
use hmac::{Hmac, KeyInit, Mac};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sha2::Sha256;

/// The attacks: what a hostile connection does.
const KINDS: [&str; 6] = ["idle", "head", "body", "chunk", "reader", "fat"];
/// How long an attack is watched, once it stands.
const WATCHED: Duration = Duration::from_secs(12);
/// The pause between two requests of the honest client.
const PAUSE: Duration = Duration::from_millis(200);
/// The honest client's patience, and the target.
const IN_TIME: Duration = Duration::from_secs(1);
/// The target for the server's memory.
const RSS_MIB_MAX: u64 = 150;
const KEY: &[u8] = b"the benchmark's secret";
/// The size of the answer that drip readers ask for, and how often on one connection.
const LARGE: usize = 400_000;
const LARGE_TIMES: usize = 12;
/// A byte short of the body of a fat connection.
const FAT: usize = 1_000_000;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve"] => serve(ListenLimits::default()),
        // The throughput is measured from one address.
        ["serve", "unlimited"] => serve(ListenLimits {
            requests_per_second_per_address: 1_000_000,
            requests_per_second: 1_000_000,
            ..ListenLimits::default()
        }),
        ["attack", kind, count, address] => {
            attack(kind, count.parse().expect("a count"), address.parse().expect("an address"));
        }
        ["requests"] => requests(),
        [] => {
            title();
            watch("none", 0);
            for kind in KINDS {
                watch(kind, 2_000);
            }
            // Beyond the cap of connections.
            for kind in ["idle", "head"] {
                watch(kind, 6_000);
            }
            requests();
        }
        [kind, count] => {
            title();
            watch(kind, count.parse().expect("a count"));
        }
        other => panic!("{other:?} is nothing; say nothing for all attacks, or a kind of {KINDS:?} and a count"),
    }
}

/// Verifies a signature, as webhooks do.
struct Signed;

impl Service for Signed {
    fn admit(&self, head: &Head) -> Result<Admission, Answer> {
        match head.path.as_str() {
            "/webhooks/github" | "/large" | "/health" => {
                Ok(Admission { body_bytes_max: usize::MAX, pace: Pace::Quick })
            }
            _ => Err(Answer::error(404, "not_found", "nothing here", &head.id)),
        }
    }

    fn answer(&self, request: Request) -> Answer {
        match request.head.path.as_str() {
            "/large" => return Answer { body: vec![b'x'; LARGE], ..Answer::empty(200) },
            "/health" => return Answer::empty(200),
            _ => {}
        }
        let given = request.head.single("x-hub-signature-256").unwrap_or_default();
        if given == signature(&request.body) { Answer::empty(200) } else { Answer::empty(401) }
    }
}

fn signature(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("any key will do");
    mac.update(body);
    let digits: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

/// The server's process: says where it is, ends with its input, and says what it counted.
fn serve(limits: ListenLimits) {
    let settings = Listen {
        address: ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
        proxies: Proxies::default(),
        allow: Vec::new(),
        limits,
    };
    let listener = Listener::start(&settings, Arc::new(Signed), 1).unwrap_or_else(|error| panic!("{error}"));
    println!("{}", listener.address().expect("an address"));
    for _ in std::io::stdin().lines() {}
    let turned_away: Vec<String> =
        listener.stats().refused.iter().map(|(reason, count)| format!("{} {count}", reason.as_str())).collect();
    println!("{}", turned_away.join(", "));
}

/// A process of this program; ended with the value.
struct Part {
    process: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Part {
    fn start(words: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("our own path"));
        let mut process = command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Self { process, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("text");
        line.trim().to_owned()
    }

    /// Closes its input, which ends it, and reads its last line.
    fn end(mut self) -> String {
        drop(self.process.stdin.take());
        let line = self.line();
        self.process.wait().expect("an end");
        line
    }

    /// A number of its status, such as `VmHWM` in KiB.
    fn status(&self, key: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("its status");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("the key");
        line.trim_matches(|sign: char| !sign.is_ascii_digit()).parse().expect("a number")
    }
}

fn title() {
    println!("attack    count  in time  late  failed      p50      p99      max  RSS peak  threads  turned away");
}

/// One attack, watched.
fn watch(kind: &str, count: usize) {
    let mut server = Part::start(&["serve"]);
    let address = server.line();
    let mut attacker = (count > 0).then(|| Part::start(&["attack", kind, &count.to_string(), &address]));
    if let Some(attacker) = &mut attacker {
        assert_eq!(attacker.line(), "up");
    }
    let address: SocketAddr = address.parse().expect("an address");
    let body = vec![b'b'; 3_000];
    let request = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\r\n",
        signature(&body),
        body.len()
    );
    let request = [request.as_bytes(), &body].concat();
    let (mut times, mut failed, mut threads) = (Vec::new(), 0, 0);
    let until = Instant::now() + WATCHED;
    while Instant::now() < until {
        let begun = Instant::now();
        match ask(address, &request) {
            Some(200) => times.push(begun.elapsed()),
            _ => failed += 1,
        }
        threads = threads.max(server.status("Threads:"));
        std::thread::sleep(PAUSE);
    }
    times.sort();
    let at = |part: usize| times.get((times.len() * part / 100).min(times.len().saturating_sub(1))).copied();
    let millis =
        |time: Option<Duration>| time.map_or("-".to_owned(), |time| format!("{:.1} ms", time.as_secs_f64() * 1e3));
    let late = times.iter().filter(|time| **time > IN_TIME).count();
    let rss = server.status("VmHWM:") / 1024;
    if let Some(attacker) = attacker {
        attacker.end();
    }
    let turned_away = server.end();
    println!(
        "{kind:8} {count:6} {:8} {late:5} {failed:7} {:>8} {:>8} {:>8} {rss:5} MiB {threads:8}  {turned_away}",
        times.len() - late,
        millis(at(50)),
        millis(at(99)),
        millis(times.last().copied()),
    );
    if late + failed > 0 || rss > RSS_MIB_MAX {
        println!("         the target is missed: all in time, below {RSS_MIB_MAX} MiB");
    }
}

/// Asks once on a fresh connection; the status of the answer.
fn ask(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, 5 * IN_TIME).ok()?;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(5 * IN_TIME)).ok()?;
    stream.write_all(request).ok()?;
    let mut start = [0; 12];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(start.strip_prefix(b"HTTP/1.1 ")?).ok()?.parse().ok()
}

/// The attacker's process: holds its connections until its input ends.
fn attack(kind: &str, count: usize, address: SocketAddr) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("descriptors");
    let (sender, ended) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        for _ in std::io::stdin().lines() {}
        drop(sender);
    });
    let (begin, drip): (Vec<u8>, &[u8]) = match kind {
        "idle" => (Vec::new(), b""),
        "head" => (b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), b"a"),
        "body" => (b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n".to_vec(), b"a"),
        "chunk" => {
            (b"POST /webhooks/github HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), b"1\r\na\r\n")
        }
        "reader" => (b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n".repeat(LARGE_TIMES), b""),
        "fat" => {
            let head = format!("POST /webhooks/github HTTP/1.1\r\nHost: a\r\nContent-Length: {FAT}\r\n\r\n");
            ([head.as_bytes(), &vec![b'f'; FAT - 1]].concat(), b"")
        }
        other => panic!("{other} is no attack of {KINDS:?}"),
    };
    let mut held: Vec<Option<(TcpStream, usize)>> = (0..count).map(|_| None).collect();
    let mut up = false;
    loop {
        for (number, slot) in held.iter_mut().enumerate() {
            if slot.is_none() {
                *slot = hostile(number, address).map(|stream| (stream, 0));
            }
            let Some((stream, sent)) = slot else { continue };
            let mut gone = false;
            // What belongs to the beginning goes as fast as it is taken.
            if let Some(rest) = begin.get(*sent..).filter(|rest| !rest.is_empty()) {
                match stream.write(rest) {
                    Ok(count) => *sent += count,
                    Err(error) => {
                        gone = error.kind() != ErrorKind::WouldBlock && error.kind() != ErrorKind::NotConnected
                    }
                }
            } else if !drip.is_empty() {
                gone = stream.write(drip).is_err_and(|error| error.kind() != ErrorKind::WouldBlock);
            }
            // A byte at a time.
            match stream.read(&mut [0; 1]) {
                Ok(0) => gone = true,
                Ok(_) => {}
                Err(error) => {
                    gone |= error.kind() != ErrorKind::WouldBlock && error.kind() != ErrorKind::NotConnected;
                }
            }
            if gone {
                *slot = None;
            }
        }
        if !std::mem::replace(&mut up, true) {
            println!("up");
        }
        // Fat ones push on until all is sent.
        let pause = Duration::from_millis(if kind == "fat" { 20 } else { 300 });
        if ended.recv_timeout(pause) == Err(std::sync::mpsc::RecvTimeoutError::Disconnected) {
            return;
        }
    }
}

/// A connection from one of eight addresses, none of them the honest client's; made without waiting.
fn hostile(number: usize, address: SocketAddr) -> Option<TcpStream> {
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::NONBLOCK, None).ok()?;
    let last = u8::try_from(2 + number % 8).ok()?;
    bind(&socket, &SocketAddr::from((IpAddr::from([127, 0, 0, last]), 0))).ok()?;
    match connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Some(TcpStream::from(socket)),
        Err(_) => None,
    }
}

/// Requests a second on kept connections, without anybody hostile.
fn requests() {
    const CONNECTIONS: usize = 16;
    const LASTING: Duration = Duration::from_secs(4);
    let body = vec![b'b'; 3_000];
    let head = format!(
        "POST /webhooks/github HTTP/1.1\r\nHost: a\r\nX-Hub-Signature-256: {}\r\nContent-Length: {}\r\n\r\n",
        signature(&body),
        body.len()
    );
    let post = [head.as_bytes(), &body].concat();
    for (what, request) in
        [("POST 3 KB, HMAC", post), ("GET /health", b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n".to_vec())]
    {
        let mut server = Part::start(&["serve", "unlimited"]);
        let address: SocketAddr = server.line().parse().expect("an address");
        let until = Instant::now() + LASTING;
        let mut times: Vec<Duration> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| client(address, &request, until))).collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
        });
        times.sort();
        let at = |part: usize| times[times.len() * part / 1_000 - 1].as_secs_f64() * 1e3;
        println!(
            "{what}: {:.0} requests/s on {CONNECTIONS} kept connections, p50 {:.1} ms, p99 {:.1} ms",
            times.len() as f64 / LASTING.as_secs_f64(),
            at(500),
            at(990)
        );
        server.end();
    }
}

/// One client that asks again and again; the time of each answer.
fn client(address: SocketAddr, request: &[u8], until: Instant) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let (mut times, mut answer) = (Vec::new(), [0; 4_096]);
    while Instant::now() < until {
        let begun = Instant::now();
        stream.write_all(request).expect("sent");
        // These answers have no body and come in one packet.
        let count = stream.read(&mut answer).expect("an answer");
        assert!(answer[..count].starts_with(b"HTTP/1.1 200") && answer[..count].ends_with(b"\r\n\r\n"));
        times.push(begun.elapsed());
    }
    times
}
