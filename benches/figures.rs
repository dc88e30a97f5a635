//! The figures of speed and size, for anyone to run again: `cargo bench --bench figures`.
//!
//! Each figure is taken in a process of its own (`cargo bench --bench figures -- sweep 100000`), because the
//! peak of resident memory is a process's. Times are CPU seconds of the process, not of the wall: machines are noisy.
//! The sandbox lives in the same process and computes its population on the fly, so its share is counted too.

#![allow(clippy::print_stdout, reason = "the figures are the output")]
#![allow(clippy::panic, reason = "a benchmark ends by panicking")]

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::clock::{Clock, Stop, SystemClock, VirtualClock};
use evenkeel::config::{DatabaseUrl, Network, Patience, Secret};
use evenkeel::engine::{Engine, PassOptions, Quiet, Wake};
use evenkeel::model::{
    BySide, Content, Fingerprint, Item, ItemKey, Native, RouteName, Rules, Side, TaskGid, Timestamp,
};
use evenkeel::provider::asana::AsanaClient;
use evenkeel::provider::github::GithubClient;
use evenkeel::provider::pace::Pace;
use evenkeel::provider::{self, Connection};
use evenkeel::reconcile::{fingerprint, issue_footer};
use evenkeel::sandbox::{Limits, Populated, Sandbox};
use evenkeel::store::{NewLink, Record, Store};
use evenkeel::text;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => all(),
        ["seed", count, path] => seed(count.parse().expect("a count"), Path::new(path)),
        ["sweep", count, path] => sweep(count.parse().expect("a count"), Path::new(path)),
        ["idle", count, path] => idle(count.parse().expect("a count"), Path::new(path)),
        ["import", count] => import(count.parse().expect("a count")),
        ["binary"] => binary(),
        other => panic!("no figure {other:?}; say nothing for all of them"),
    }
}

/// Runs every figure in a process of its own.
fn all() {
    let folder = tempfile::tempdir().expect("a folder");
    let run = |words: &[&str]| {
        let status = Command::new(std::env::current_exe().expect("our own path")).args(words).status();
        assert!(status.is_ok_and(|status| status.success()), "{words:?} failed");
    };
    for count in ["10", "10000", "100000"] {
        let path = folder.path().join(format!("{count}.db")).display().to_string();
        run(&["seed", count, &path]);
        run(&["idle", count, &path]);
        run(&["sweep", count, &path]);
    }
    run(&["import", "1000"]);
    binary();
}

/// The world of a bench: the same for the same count.
struct World {
    sandbox: Sandbox,
    engine: Engine,
    clock: Arc<VirtualClock>,
}

fn world(count: u64, database: Option<&Path>) -> World {
    let clock = Arc::new(VirtualClock::starting_at(Timestamp::from_second(1_795_000_000).expect("in range")));
    let sandbox = Sandbox::new(clock.clone(), 11);
    let project = sandbox.asana().project("Website");
    let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
    if count > 0 {
        sandbox.populate_pairs(&project.gid, &repo.name, count, Arc::new(raw_body));
    }
    let rules = Rules::default();
    let network = Network { base_urls: sandbox.base_urls(), ..Network::default() };
    let stop = Stop::default();
    let time: Arc<dyn Clock> = clock.clone();
    let connection = |token: String, pace: Pace| Connection {
        transport: sandbox.transport(),
        base_url: String::new(),
        token: Secret::new(token),
        clock: time.clone(),
        stop: stop.clone(),
        pace: Arc::new(pace),
        call_timeout: network.call_timeout,
        seed: 1,
    };
    let tracker = Connection {
        base_url: network.base_urls.tracker.clone(),
        ..connection(project.token.clone(), Pace::asana(&network))
    };
    let forge = Connection {
        base_url: network.base_urls.forge.clone(),
        ..connection(repo.token.clone(), Pace::github(&network))
    };
    let asana: Arc<dyn provider::Write> = Arc::new(AsanaClient::new(tracker, project.gid.clone(), &rules));
    let github: Arc<dyn provider::Write> = Arc::new(GithubClient::new(forge, repo.name, &rules));
    let store = match database {
        Some(path) => Store::open(&DatabaseUrl::Sqlite(path.to_owned())).expect("a database"),
        None => Store::in_memory().expect("a database"),
    };
    let engine = Engine {
        route: route(),
        project: project.gid.clone(),
        rules,
        providers: BySide { tracker: asana, forge: github },
        store,
        clock: clock.clone(),
        stop,
        patience: Patience { repairs_max: 10_000, ..Patience::default() },
        holder: "bench".into(),
        actor: "bench".into(),
        seed: 1,
        progress: Arc::new(Quiet),
    };
    World { sandbox, engine, clock }
}

fn route() -> RouteName {
    "app".parse().expect("a name")
}

/// What the issue of a pair holds: the task's words and our footer.
fn raw_body(item: &Populated) -> String {
    let rules = Rules::default();
    let body = text::from_asana(&item.html_notes, &rules.people);
    let Some(task) = &item.task else { return body };
    let content = Content { title: item.title.clone(), body, ..Content::default() };
    text::join_forge(&content.body, issue_footer(task, &content, &content.body, &rules.policy).as_deref())
}

/// Makes a database in which every pair is linked and in step, without a single request counted.
fn seed(count: u64, path: &Path) {
    let world = world(count, Some(path));
    let policy = world.engine.rules.policy;
    let mut seen: Vec<(TaskGid, Fingerprint)> = Vec::new();
    let tracker = &world.engine.providers.tracker;
    tracker
        .sweep(&mut |items: Vec<Item>| {
            for item in items {
                if let ItemKey::Task(task) = &item.key {
                    seen.push((task.clone(), fingerprint(&item, &policy)));
                }
            }
            Ok(())
        })
        .expect("the tasks");
    seen.sort_by(|one, other| one.0.cmp(&other.0));
    let lease = world.engine.store.acquire(&route(), "bench", world.clock.now()).expect("a lease").expect("free");
    let store = world.engine.store.clone();
    let now = world.clock.now();
    let mut links = 0;
    let forge = &world.engine.providers.forge;
    forge
        .sweep(&mut |items: Vec<Item>| {
            let pairs: Vec<NewLink> = items
                .into_iter()
                .filter_map(|item| {
                    let ItemKey::Task(task) = item.marker.clone()?.partner else { return None };
                    let at = seen.binary_search_by(|(known, _)| known.cmp(&task)).ok()?;
                    let (ItemKey::Issue(issue), Native::Issue { repo_id, id, node_id }) = (&item.key, &item.native)
                    else {
                        return None;
                    };
                    Some(NewLink {
                        task,
                        project: Some(world.engine.project.clone()),
                        issue: issue.clone(),
                        repo_id: *repo_id,
                        issue_id: *id,
                        issue_node_id: node_id.clone(),
                        seen: BySide {
                            tracker: seen.get(at).map(|(_, print)| print.clone()),
                            forge: Some(fingerprint(&item, &policy)),
                        },
                        base: Some(item.content),
                        waiting: Default::default(),
                    })
                })
                .collect();
            links += pairs.len();
            store.record(&lease, &Record { link: pairs, ..Record::default() }, now).expect("recorded");
            Ok(())
        })
        .expect("the issues");
    assert_eq!(u64::try_from(links).expect("a count"), count, "every pair is linked");
    store.release(&lease).expect("released");
}

fn sweep(count: u64, path: &Path) {
    let world = world(count, Some(path));
    let before = cpu();
    let report = world.engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
    assert!(report.plan.is_empty() && report.messages.is_empty(), "{report:#?}");
    println!(
        "sweep of {count} linked, unchanged pairs: {:.2} s CPU, peak {} MiB, requests asana {} github {}",
        cpu() - before,
        peak_mib(),
        report.requests.tracker.sent,
        report.requests.forge.sent
    );
}

fn idle(count: u64, path: &Path) {
    let world = world(count, Some(path));
    world.engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
    // The first poll learns the ETag.
    world.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
    world.clock.advance(Duration::from_secs(60));
    let report = world.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
    println!(
        "idle poll of {count} links: requests asana {}, github {} ({} answered 304)",
        report.requests.tracker.sent, report.requests.forge.sent, report.requests.forge.unchanged
    );
}

fn import(count: u64) {
    let world = world(0, None);
    // GitHub with its published limits: an import runs at them and is never told off.
    world.sandbox.github().habits(|habits| habits.limits = Limits::published());
    let project = world.sandbox.asana().project("Import");
    for number in 0..count {
        let seed = evenkeel::sandbox::TaskSeed::named(format!("Task {number}"));
        world.sandbox.asana().task(&project.gid, seed);
    }
    let network = Network { base_urls: world.sandbox.base_urls(), ..Network::default() };
    let connection = Connection {
        transport: world.sandbox.transport(),
        base_url: network.base_urls.tracker.clone(),
        token: Secret::new(project.token.clone()),
        clock: world.clock.clone(),
        stop: Stop::default(),
        pace: Arc::new(Pace::asana(&network)),
        call_timeout: network.call_timeout,
        seed: 1,
    };
    let asana: Arc<dyn provider::Write> =
        Arc::new(AsanaClient::new(connection, project.gid.clone(), &world.engine.rules));
    let mut engine = world.engine.clone();
    engine.providers.tracker = asana;
    let from = world.clock.now();
    let before = cpu();
    let mut created = 0;
    let mut sent = 0;
    let mut passes = 0;
    while created < count && passes < 100 {
        let report = engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
        created += report.counts.created;
        sent += BySide::from_fn(|side: Side| report.requests[side].sent).iter().map(|(_, sent)| sent).sum::<u64>();
        passes += 1;
        world.clock.advance(Duration::from_secs(60));
    }
    let limited = world.sandbox.log().requests().iter().filter(|seen| matches!(seen.status, 403 | 429)).count();
    let minutes = world.clock.now().duration_since(from).as_secs() / 60;
    #[allow(clippy::cast_precision_loss, reason = "small counts")]
    let each = sent as f64 / created as f64;
    println!(
        "import of {count} tasks: {each:.3} requests a task in {passes} passes over {minutes} virtual minutes, told off \
         {limited} times, {:.2} s CPU, peak {} MiB",
        cpu() - before,
        peak_mib()
    );
}

/// The program's size, and how long the service takes from its start until it says that it is ready.
fn binary() {
    let path = env!("CARGO_BIN_EXE_evenkeel");
    let size = std::fs::metadata(path).expect("the binary").len();
    #[allow(clippy::cast_precision_loss, reason = "a size in MiB")]
    let mib = size as f64 / f64::from(1 << 20);
    let sandbox = Sandbox::new(Arc::new(SystemClock), 5);
    let project = sandbox.asana().project("Website");
    let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
    let served = sandbox.serve().expect("a port");
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("notify");
    let notices = UnixDatagram::bind(&socket).expect("a socket");
    notices.set_read_timeout(Some(Duration::from_secs(30))).expect("a time limit");
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let from = Instant::now();
            let mut service = Command::new(path)
                .arg("run")
                .current_dir(folder.path())
                .env_clear()
                .env("ASANA_PAT", &project.token)
                .env("ASANA_PROJECT_GID", project.gid.as_str())
                .env("ASANA_BASE_URL", &served.base_urls.tracker)
                .env("GITHUB_TOKEN", &repo.token)
                .env("GITHUB_REPO", repo.name.as_str())
                .env("GITHUB_BASE_URL", &served.base_urls.forge)
                .env("NOTIFY_SOCKET", &socket)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the service starts");
            let mut notice = [0; 256];
            loop {
                let length = notices.recv(&mut notice).expect("the service is ready within its time");
                if String::from_utf8_lossy(&notice[..length]).contains("READY=1") {
                    break;
                }
            }
            let ready = from.elapsed();
            service.kill().and_then(|()| service.wait()).expect("it ends");
            ready
        })
        .collect();
    times.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    println!("binary: {mib:.2} MiB");
    println!("start to ready: median {:.1} ms, worst {:.1} ms of 20", millis(times[10]), millis(times[19]));
}

/// CPU seconds of this process so far (user and system), as the kernel counts them.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("a Linux kernel");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().expect("ticks")).sum();
    #[allow(clippy::cast_precision_loss, reason = "a hundred ticks a second")]
    let seconds = ticks as f64 / 100.0;
    seconds
}

/// The peak of resident memory of this process.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux kernel");
    let line = status.lines().find(|line| line.starts_with("VmHWM")).expect("a peak");
    line.split_whitespace().nth(1).expect("kB").parse::<u64>().expect("a number") / 1024
}
