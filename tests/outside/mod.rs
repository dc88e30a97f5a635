//! The real binary as child processes over real HTTP, and around it the world that outlives them: a small Asana and a
//! small GitHub in this process, which send webhooks to it.

#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

pub mod check;
pub mod people;
pub mod service;

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use evenkeel::clock::SystemClock;
use evenkeel::config::{DatabaseUrl, Network};
use evenkeel::provider::http::{Request, Response, Transport, TransportError, UreqTransport};
use evenkeel::sandbox::{Limits, Permission, Project, Pump, Repository, Sandbox, Served};
use serde_json::Value;

use service::Service;

/// The end of waiting for what must come; far longer than it takes.
pub const PATIENCE: Duration = Duration::from_secs(240);

/// The address that hooks are made for where several replicas stand behind it.
const BALANCER: &str = "http://127.0.0.1:9";

/// What differs from one world to the next.
pub struct Settings {
    /// Chance in the sandbox.
    pub seed: u64,
    /// Where the service keeps what must survive; `None` for a SQLite file in the world's folder.
    pub database: Option<DatabaseUrl>,
    /// How long a lease is good for, in seconds.
    pub lease: u32,
    /// Processes that share the database.
    pub replicas: usize,
    /// Whether hooks are made and deliveries sent.
    pub hooks: bool,
    /// More lines of the route.
    pub route: &'static str,
    /// The schedule of polls.
    pub poll: &'static str,
    /// More sections of the configuration.
    pub more: &'static str,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            seed: 1,
            database: None,
            lease: 1,
            replicas: 1,
            hooks: true,
            route: "create = \"both\"\n",
            poll: "* * * * * *",
            more: "",
        }
    }
}

/// One project, one repository, and where the service finds them.
pub struct Outside {
    pub sandbox: Sandbox,
    pub project: Project,
    pub repo: Repository,
    pub folder: tempfile::TempDir,
    pub database: DatabaseUrl,
    env: Vec<(String, String)>,
    served: Served,
    pump: Option<Pump>,
    /// Deliveries that each replica answered with 200.
    delivered: Arc<Vec<AtomicUsize>>,
}

impl Outside {
    /// Furnishes and serves it, and writes the configuration of each replica.
    pub fn new(settings: &Settings) -> Self {
        let sandbox = Sandbox::new(Arc::new(SystemClock), settings.seed);
        sandbox.asana().habits(|habits| {
            habits.loopback_targets = true;
            (habits.first_retry, habits.longest_retry) = (Duration::from_millis(500), Duration::from_secs(2));
        });
        sandbox.github().habits(|habits| {
            habits.loopback_targets = true;
            habits.limits = Limits::off();
        });
        let project = sandbox.asana().project("Website");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        sandbox.github().permit(&repo.name, &sandbox.github().bot(), Permission::Admin);
        let served = sandbox.serve().expect("two ports");
        let folder = tempfile::TempDir::with_prefix("evenkeel-outside-").expect("a folder");
        let database =
            settings.database.clone().unwrap_or_else(|| DatabaseUrl::Sqlite(folder.path().join("data/evenkeel.db")));
        std::fs::create_dir(folder.path().join("data")).expect("a folder");
        let env = vec![
            ("A".to_owned(), project.token.clone()),
            ("G".to_owned(), repo.token.clone()),
            ("K".to_owned(), "0123456789abcdef0123456789abcdef".to_owned()),
            ("PGPASSWORD".to_owned(), crate::support::postgres::PASSWORD.to_owned()),
            ("NO_COLOR".to_owned(), "1".to_owned()),
        ];
        let delivered: Vec<AtomicUsize> = (0..settings.replicas).map(|_| AtomicUsize::default()).collect();
        let delivered = Arc::new(delivered);
        let mut world =
            Self { sandbox, project, repo, folder, database, env, served, pump: None, delivered: delivered.clone() };
        let addresses: Vec<String> = (0..settings.replicas).map(|_| format!("127.0.0.1:{}", free_port())).collect();
        for (number, address) in addresses.iter().enumerate() {
            let text = world.config(settings, address, addresses.len());
            std::fs::write(world.config_path(number), text).expect("written");
        }
        let way = Arc::new(UreqTransport::new(&Network::default()).expect("a transport"));
        world.sandbox.webhooks().send_through(Arc::new(Balancer {
            way,
            addresses,
            delivered,
            next: AtomicUsize::new(0),
        }));
        world.pump = settings.hooks.then(|| world.sandbox.webhooks().pump().expect("a thread"));
        world
    }

    /// The rates are far above what is needed: not the limits are tested here.
    fn config(&self, settings: &Settings, address: &str, replicas: usize) -> String {
        let url = match &self.database {
            DatabaseUrl::Sqlite(path) => format!("sqlite:{}", path.display()),
            DatabaseUrl::Postgres(server) => {
                format!("postgres://{}@127.0.0.1:{}/{}?sslmode=disable", server.user, server.port, server.database)
            }
        };
        let public_url = match (settings.hooks, replicas) {
            (false, _) => String::new(),
            (true, 1) => format!("public_url = \"http://{address}\"\n"),
            (true, _) => format!("public_url = \"{BALANCER}\"\n"),
        };
        let Settings { lease, route, poll, more, .. } = settings;
        format!(
            "[asana]\ntoken = {{ env = \"A\" }}\nbase_url = \"{}\"\nrequests_per_minute = 15000\n\
             [github]\ntoken = {{ env = \"G\" }}\nbase_url = \"{}\"\n\
             creations_per_minute = 800\ncreations_per_hour = 5000\npoints_per_minute = 9000\n\
             [database]\nurl = \"{url}\"\nlease_seconds = {lease}\n\
             [listen]\naddress = \"{address}\"\n[webhooks]\n{public_url}seal_key = {{ env = \"K\" }}\n\
             [patience]\nattempts_max = 100\nbackoff_seconds = 1\nbackoff_seconds_max = 2\nintent_grace_seconds = 60\n\
             [schedule]\npoll = \"{poll}\"\nretry = \"* * * * * *\"\nsweep = \"0 0 0 1 1 *\"\nhooks = \"*/3 * * * * *\"\n\
             starts_free = 1000\n\
             {more}[[route]]\nname = \"app\"\nasana_project = \"{}\"\ngithub_repo = \"acme/app\"\n{route}\
             [route.filter.asana]\ninclude_done = true\n[route.filter.github]\ninclude_done = true\n\
             [route.brakes]\nupdates_max = 1000000\nretirements_max = 1000000\n",
            self.served.base_urls.tracker, self.served.base_urls.forge, self.project.gid
        )
    }

    fn config_path(&self, replica: usize) -> PathBuf {
        self.folder.path().join(format!("config-{replica}.toml"))
    }

    fn log_path(&self, replica: usize) -> PathBuf {
        self.folder.path().join(format!("log-{replica}"))
    }

    /// The binary with a replica's configuration.
    pub fn command(&self, replica: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .arg("--config")
            .arg(self.config_path(replica))
            .env_clear()
            .envs(self.env.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    /// Starts the service.
    pub fn service(&self, replica: usize) -> Service {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_path(replica)).expect("a log");
        Service::start(self.command(replica).arg("run").stdout(Stdio::null()).stderr(log))
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Output {
        self.command(0).args(words).output().expect("the binary")
    }

    /// What a command answers in JSON, whatever its exit code is.
    pub fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{words:?}: {error}: {}", said(&output)))
    }

    /// Deliveries that each replica answered with 200.
    pub fn delivered(&self) -> Vec<usize> {
        self.delivered.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// The end of every replica's log.
    pub fn logs(&self) -> String {
        let mut all = String::new();
        for replica in 0.. {
            let Ok(log) = std::fs::read_to_string(self.log_path(replica)) else { break };
            let lines: Vec<&str> = log.lines().collect();
            let last = lines.len().saturating_sub(60);
            all.push_str(&format!("---- log {replica}\n{}\n", lines.get(last..).unwrap_or_default().join("\n")));
        }
        all
    }

    /// Waits for what must come.
    pub fn wait(&self, what: &str, done: impl Fn() -> bool) {
        self.wait_for(what, || if done() { Ok(()) } else { Err(String::new()) });
    }

    /// Waits for what must come; `done` says what is amiss.
    pub fn wait_for(&self, what: &str, done: impl Fn() -> Result<(), String>) {
        let until = Instant::now() + PATIENCE;
        while let Err(amiss) = done() {
            assert!(Instant::now() < until, "{what} did not come: {amiss}\n{}", self.logs());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// What a command said, for a message.
pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    format!("{}: {} {}", output.status, text(&output.stdout), text(&output.stderr))
}

/// A port that nobody listens at, below those that the system gives to outgoing connections: while a killed service is
/// away nobody takes it by chance.
fn free_port() -> u16 {
    const LOWEST: u16 = 12_000;
    const COUNT: u16 = 18_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let from = u16::try_from(std::process::id() % u32::from(COUNT)).expect("it fits");
    loop {
        let port = LOWEST + (from + NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Stands before the replicas, as a balancer does: each delivery goes to the next one.
struct Balancer {
    way: Arc<UreqTransport>,
    addresses: Vec<String>,
    delivered: Arc<Vec<AtomicUsize>>,
    next: AtomicUsize,
}

impl Transport for Balancer {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        let Some(path) = request.url.strip_prefix(BALANCER) else { return self.way.send(request, deadline) };
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.addresses.len();
        let url = format!("http://{}{path}", self.addresses[turn]);
        let answer = self.way.send(&Request { url, ..request.clone() }, deadline)?;
        if answer.status == 200 {
            self.delivered[turn].fetch_add(1, Ordering::Relaxed);
        }
        Ok(answer)
    }
}
