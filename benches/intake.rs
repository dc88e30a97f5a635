//! Deliveries taken in, and how soon the repair leaves: `cargo bench --bench intake`, with a PostgreSQL beside it
//! `cargo bench --bench intake -- postgres://…`.
//!
//! The real binary serves on loopback, and a small Asana and a small GitHub live in this process; client, binary and
//! sandbox share the machine. Each delivery is signed, is its own, names another issue, and is a row with its items
//! due before it is answered.

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(clippy::panic, reason = "a benchmark ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "a benchmark waits for real time")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use evenkeel::clock::SystemClock;
use evenkeel::config::Secret;
use evenkeel::model::{IssueNumber, RepoName, TaskGid};
use evenkeel::provider::signature::sign;
use evenkeel::sandbox::{Limits, Reason, Sandbox, Served, TaskSeed};

/// Connections that send at the same time.
const CLIENTS: usize = 16;
/// How long deliveries are poured in.
const POURED: Duration = Duration::from_secs(10);
/// The size of a delivery, that of a usual event without its links.
const BODY_BYTES: usize = 3_000;
/// Edits whose way is timed.
const EDITS: usize = 200;
const SECRET: &str = "the benchmark's secret";

fn main() {
    let database = std::env::args().skip(1).find(|word| word.starts_with("postgres"));
    let folder = tempfile::tempdir().expect("a folder");
    let sqlite = format!("sqlite:{}", folder.path().join("evenkeel.db").display());
    let mut databases = vec![("SQLite, synchronous FULL", sqlite)];
    databases.extend(database.map(|url| ("PostgreSQL", url)));
    for (name, url) in databases {
        println!("{name}");
        let world = World::start(folder.path(), &url);
        world.reactions();
        world.pour();
        println!("  peak of resident memory: {} MiB", world.peak_mib());
    }
}

/// The service at work, and what it keeps in step.
struct World {
    sandbox: Sandbox,
    repo: RepoName,
    tasks: Vec<TaskGid>,
    address: SocketAddr,
    child: Child,
    _served: Served,
}

impl World {
    fn start(folder: &Path, database: &str) -> Self {
        let sandbox = Sandbox::new(Arc::new(SystemClock), 5);
        sandbox.asana().habits(|habits| (habits.per_minute, habits.cost_per_minute) = (None, None));
        sandbox.github().habits(|habits| habits.limits = Limits::off());
        let project = sandbox.asana().project("Website");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        let tasks: Vec<TaskGid> = (0..EDITS)
            .map(|number| sandbox.asana().task(&project.gid, TaskSeed::named(format!("Task {number}"))))
            .collect();
        let served = sandbox.serve().expect("a port");
        // Free a moment ago: nobody else is at work on this machine's loopback.
        let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
        let config = folder.join("config.toml");
        let text = format!(
            "[asana]\ntoken = {{ env = \"ASANA_PAT\" }}\nbase_url = \"{}\"\nrequests_per_minute = 15000\n\
             [github]\ntoken = {{ env = \"GITHUB_TOKEN\" }}\nbase_url = \"{}\"\n\
             creations_per_minute = 800\ncreations_per_hour = 5000\npoints_per_minute = 9000\n\
             webhook_secret = {{ env = \"HOOK_SECRET\" }}\n\
             [database]\nurl = \"{database}\"\n[listen]\naddress = \"{address}\"\n\
             requests_per_second = 1000000\nrequests_per_second_per_address = 1000000\n\
             [schedule]\npoll = \"0 0 0 1 1 *\"\nretry = \"0 0 0 1 1 *\"\nsweep = \"0 0 0 1 1 *\"\n\
             [[route]]\nname = \"app\"\nasana_project = \"{}\"\ngithub_repo = \"{}\"\ncomment_on_link = false\n\
             [route.brakes]\nupdates_max = 1000000\n",
            served.base_urls.tracker, served.base_urls.forge, project.gid, repo.name
        );
        std::fs::write(&config, text).expect("a configuration");
        let child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["--quiet", "--config"])
            .arg(&config)
            .arg("run")
            .env("ASANA_PAT", &project.token)
            .env("GITHUB_TOKEN", &repo.token)
            .env("HOOK_SECRET", SECRET)
            .stdout(Stdio::null())
            .spawn()
            .expect("the binary");
        let world = Self { sandbox, repo: repo.name, tasks, address, child, _served: served };
        world.wait("the first pass", || world.sandbox.world().issues(&world.repo).len() >= EDITS);
        // The closing of that pass.
        std::thread::sleep(Duration::from_secs(1));
        world
    }

    fn wait(&self, what: &str, done: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(120);
        while !done() {
            assert!(Instant::now() < until, "{what} did not come");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// One edit after the other: from the signed delivery to the repair that arrived, three requests of the sandbox
    /// among it.
    fn reactions(&self) {
        let mut connection = Connection::open(self.address);
        let mut times: Vec<Duration> = Vec::with_capacity(EDITS);
        for (at, _) in self.tasks.iter().enumerate() {
            let number = IssueNumber::try_from(at + 1).expect("small");
            self.sandbox.github().close(&self.repo, number, Reason::Completed);
            let done = || self.tasks.iter().filter(|task| self.completed(task)).count() > at;
            let from = Instant::now();
            connection.deliver(&format!("r{number}"), number);
            self.wait("the repair", done);
            times.push(from.elapsed());
            // What is left of that pass, so that the next one begins at its beginning.
            std::thread::sleep(Duration::from_millis(20));
        }
        times.sort_unstable();
        println!("  delivery to repair, providers' 3 requests among it: {}", spread(&times));
    }

    fn completed(&self, task: &TaskGid) -> bool {
        self.sandbox.world().task(task).is_some_and(|task| task.completed)
    }

    /// As many as come in, each on one of a few connections that stay open.
    fn pour(&self) {
        let before = self.busy();
        let until = Instant::now() + POURED;
        let sent = AtomicU64::new(0);
        let times: Vec<Vec<Duration>> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let sent = &sent;
                    scope.spawn(move || {
                        let mut connection = Connection::open(self.address);
                        let mut times = Vec::new();
                        while Instant::now() < until {
                            let number = sent.fetch_add(1, Ordering::Relaxed);
                            let from = Instant::now();
                            // Numbers beyond the issues there are: the visits find nothing, and cost little.
                            connection.deliver(&format!("p{client}-{number}"), 1_000_000 + number % 50);
                            times.push(from.elapsed());
                        }
                        times
                    })
                })
                .collect();
            clients.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        let mut times: Vec<Duration> = times.into_iter().flatten().collect();
        times.sort_unstable();
        let rate = times.len() as f64 / POURED.as_secs_f64();
        println!("  durable intake: {rate:.0} deliveries a second over {CLIENTS} connections; {}", spread(&times));
        // The visits that they ring for among it.
        let each = (self.busy() - before) / (times.len() as f64 / 1_000.0);
        println!("  processor time of the service: {each:.2} s for 1,000 of them");
    }

    /// The processor time the service took so far, in seconds, that of the kernel for it included.
    fn busy(&self) -> f64 {
        // The 14th and 15th field; the second is a name in parentheses. In ticks, of which Linux counts 100 a second.
        let status = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let behind = status.rsplit(')').next().unwrap_or_default();
        let ticks = behind.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
        ticks.sum::<f64>() / 100.0
    }

    /// The most memory the service held.
    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
        line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1_024
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Ours, by its handle.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spread(times: &[Duration]) -> String {
    let at = |share: usize| times.get(times.len() * share / 100).or(times.last()).copied().unwrap_or_default();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    format!("p50 {:.1} ms, p99 {:.1} ms, worst {:.1} ms", ms(at(50)), ms(at(99)), ms(at(100)))
}

/// A connection that stays open.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the listener");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
        Self(BufReader::new(stream))
    }

    /// Sends one delivery and reads its answer.
    fn deliver(&mut self, guid: &str, number: u64) {
        let head = format!(
            r#"{{"action":"closed","issue":{{"number":{number}}},"repository":{{"id":1,"full_name":"acme/app"}},"padding":""#
        );
        let body = format!("{head}{}\"}}", "x".repeat(BODY_BYTES - head.len() - 2));
        let signature = sign(&Secret::new(SECRET.to_owned()), body.as_bytes());
        let request = format!(
            "POST /webhooks/github HTTP/1.1\r\nHost: evenkeel\r\nContent-Type: application/json\r\n\
             X-GitHub-Event: issues\r\nX-GitHub-Delivery: {guid}\r\nX-Hub-Signature-256: sha256={signature}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.get_mut().write_all(request.as_bytes()).expect("sent");
        let mut line = String::new();
        self.0.read_line(&mut line).expect("an answer");
        assert!(line.contains(" 200 "), "{line}");
        let mut length = 0;
        loop {
            line.clear();
            self.0.read_line(&mut line).expect("a header");
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut rest = vec![0; length];
        self.0.read_exact(&mut rest).expect("the body");
    }
}
