//! The binary itself with its hooks: over real HTTP both ways, from its start to its end and once more.

use std::io::Read as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use evenkeel::clock::SystemClock;
use evenkeel::config::Network;
use evenkeel::model::Side;
use evenkeel::provider::http::{Method, UreqTransport};
use evenkeel::sandbox::{Outcome, Permission, Sandbox, TaskSeed};

/// Long enough never to end a test that passes.
const LONG: Duration = Duration::from_secs(120);

/// The binary at work; it is ended with the test.
struct Running(Child);

impl Running {
    fn start(folder: &Path, env: &[(&str, &str)]) -> Self {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(folder.join("log")).expect("a log");
        let child = Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["--config", "config.toml", "run"])
            .env_clear()
            .current_dir(folder)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the binary");
        Self(child)
    }

    /// Ends it as systemd does; it must end by itself and well.
    fn ends(mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let until = Instant::now() + LONG;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                assert_eq!(status.code(), Some(0), "{status}");
                return;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn wait(folder: &Path, what: &str, done: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        if Instant::now() > until {
            let mut log = String::new();
            let _ = std::fs::File::open(folder.join("log")).and_then(|mut file| file.read_to_string(&mut log));
            panic!("{what} did not come; the log:\n{log}");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_binary_makes_its_hooks_and_keeps_both_sides_in_step_by_them() {
    let sandbox = Sandbox::new(Arc::new(SystemClock), 3);
    sandbox.asana().habits(|habits| habits.loopback_targets = true);
    sandbox.github().habits(|habits| habits.loopback_targets = true);
    let project = sandbox.asana().project("Website");
    let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
    sandbox.github().permit(&repo.name, &sandbox.github().bot(), Permission::Admin);
    let task = sandbox.asana().task(&project.gid, TaskSeed::named("Fix the login"));
    let served = sandbox.serve().expect("two ports");
    sandbox.webhooks().send_through(Arc::new(UreqTransport::new(&Network::default()).expect("a transport")));
    let pump = sandbox.webhooks().pump().expect("a thread");

    let folder = tempfile::tempdir().expect("a folder");
    // Free a moment ago; the port that the binary gets cannot be read from outside.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port");
    let text = format!(
        "[asana]\ntoken = {{ env = \"A\" }}\nbase_url = \"{}\"\n[github]\ntoken = {{ env = \"G\" }}\nbase_url = \"{}\"\n\
         [database]\nurl = \"sqlite:evenkeel.db\"\n[listen]\naddress = \"{address}\"\n\
         [webhooks]\npublic_url = \"http://{address}\"\nseal_key = {{ env = \"K\" }}\n\
         [schedule]\npoll = \"0 0 0 1 1 *\"\nsweep = \"0 0 0 1 1 *\"\nretry = \"* * * * * *\"\nhooks = \"0 0 0 1 1 *\"\n\
         [[route]]\nname = \"app\"\nasana_project = \"{}\"\ngithub_repo = \"acme/app\"\n",
        served.base_urls.tracker, served.base_urls.forge, project.gid
    );
    std::fs::write(folder.path().join("config.toml"), text).expect("written");
    let seal_key = "0123456789abcdef0123456789abcdef";
    let env = [("A", project.token.as_str()), ("G", repo.token.as_str()), ("K", seal_key)];
    let folder = folder.path();

    let title = || sandbox.world().issues(&repo.name).first().map(|issue| issue.title.clone());
    let name = || sandbox.world().task(&task).expect("a task").name;
    let hooked = |side: Side| {
        let first = if side == Side::Tracker { "heartbeat" } else { "ping" };
        let answered = Outcome::Answered(200);
        sandbox.webhooks().sent().iter().any(|s| s.side == side && s.event == first && s.outcome == answered)
    };
    let running = Running::start(folder, &env);
    wait(folder, "asana's hook", || hooked(Side::Tracker));
    wait(folder, "github's hook", || hooked(Side::Forge));
    wait(folder, "the first pass", || title().as_deref() == Some("Fix the login"));
    // Until nothing moves any more, our own echoes among it.
    let quiet = || {
        let requests = || sandbox.log().requests().len();
        wait(folder, "rest", || {
            let before = requests();
            std::thread::sleep(Duration::from_millis(1_500));
            requests() == before && sandbox.webhooks().next_due().is_none_or(|due| due > jiff::Timestamp::now())
        });
    };
    quiet();

    sandbox.log().reset();
    sandbox.asana().rename(&task, "Mend the login");
    wait(folder, "the edit on asana", || title().as_deref() == Some("Mend the login"));
    quiet();
    let counts = sandbox.log().counts();
    let reads_writes = (counts.tracker.reads + counts.forge.reads, counts.tracker.writes + counts.forge.writes);
    assert_eq!(reads_writes, (3, 1), "two reads and a write, and a read for the echo: {:#?}", sandbox.log().requests());

    sandbox.log().reset();
    let number = sandbox.world().issues(&repo.name)[0].number;
    sandbox.github().retitle(&repo.name, number, "Repair the login");
    wait(folder, "the edit on github", || name() == "Repair the login");
    quiet();
    assert_eq!(sandbox.log().counts().tracker.writes + sandbox.log().counts().forge.writes, 1);
    running.ends();

    // Deliveries to somebody who is not there: GitHub gives up, Asana tries again.
    sandbox.github().retitle(&repo.name, number, "Edited while it was away");
    sandbox.log().reset();
    let running = Running::start(folder, &env);
    let listed = |path: &str| sandbox.log().requests().iter().any(|seen| seen.path.contains(path));
    wait(folder, "a look at github's hooks", || listed("/repos/acme/app/hooks"));
    wait(folder, "a look at asana's hooks", || listed("/webhooks"));
    wait(folder, "the edit made meanwhile", || name() == "Edited while it was away");
    sandbox.asana().rename(&task, "After the restart");
    wait(folder, "an edit after the restart", || title().as_deref() == Some("After the restart"));
    quiet();
    let made = sandbox.log().requests();
    let made: Vec<_> = made
        .iter()
        // A hook whose last delivery failed is pinged, which makes none.
        .filter(|seen| {
            seen.method == Method::Post && (seen.path.ends_with("/hooks") || seen.path.ends_with("/webhooks"))
        })
        .collect();
    assert!(made.is_empty(), "a second hook was asked for: {made:?}");
    running.ends();
    drop(pump);
}
