//! The binary as a service that hooks lead to, and the commands about hooks and deliveries beside it; over real HTTP,
//! against the sandbox.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evenkeel::clock::{Clock as _, Stop, SystemClock};
use evenkeel::config::Network;
use evenkeel::model::{BySide, ProjectGid, RepoName, Side, TaskGid};
use evenkeel::provider::http::{Method, Request, Transport as _, UreqTransport};
use evenkeel::sandbox::{IssueSeed, Mishap, Permission, Pump, Sandbox, Served, TaskSeed};
use serde_json::Value;

const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A project, a repository, and where their hooks shall lead.
struct Town {
    sandbox: Sandbox,
    _served: Served,
    _pump: Pump,
    folder: tempfile::TempDir,
    project: ProjectGid,
    repo: RepoName,
    tokens: BySide<String>,
    outside: UreqTransport,
    public_url: String,
}

struct Answer {
    code: i32,
    out: String,
    err: String,
}

/// A process that is ended when the test is.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so; the limit only ends a test that has failed.
#[track_caller]
fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if so() {
            return;
        }
        SystemClock.sleep(Duration::from_millis(100), &Stop::default());
    }
    panic!("never came: {what}");
}

impl Town {
    fn new() -> Self {
        let sandbox = Sandbox::new(Arc::new(SystemClock), 7);
        sandbox.asana().habits(|habits| habits.loopback_targets = true);
        sandbox.github().habits(|habits| habits.loopback_targets = true);
        let project = sandbox.asana().project("Website");
        let repo: RepoName = "acme/app".parse().expect("a name");
        let repository = sandbox.github().repository(&repo);
        sandbox.github().permit(&repo, &sandbox.github().bot(), Permission::Admin);
        let transport = || UreqTransport::new(&Network::default()).expect("a transport");
        sandbox.webhooks().send_through(Arc::new(transport()));
        let pump = sandbox.webhooks().pump().expect("threads");
        let served = sandbox.serve().expect("loopback");
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "[database]\nurl = \"sqlite:{}\"\n\
             [asana]\nbase_url = \"{}\"\ntoken = {{ env = \"ASANA_PAT\" }}\nrequests_per_minute = 1500\n\
             [github]\nbase_url = \"{}\"\ntoken = {{ env = \"GITHUB_TOKEN\" }}\n\
             [listen]\naddress = \"127.0.0.1:{port}\"\n\
             [webhooks]\npublic_url = \"http://127.0.0.1:{port}\"\nseal_key = {{ env = \"KEY\" }}\n\
             # Whatever happens within this test is told by a delivery, or never.\n\
             [schedule]\npoll = \"0 0 4 1 1 *\"\nsweep = \"0 0 5 1 1 *\"\n\
             [[route]]\nname = \"app\"\nasana_project = \"{}\"\ngithub_repo = \"{repo}\"\n",
            folder.path().join("evenkeel.db").display(),
            served.base_urls.tracker,
            served.base_urls.forge,
            project.gid,
        );
        std::fs::write(folder.path().join("config.toml"), text).expect("written");
        Self {
            sandbox,
            _served: served,
            _pump: pump,
            folder,
            project: project.gid,
            repo,
            tokens: BySide { tracker: project.token, forge: repository.token },
            outside: transport(),
            public_url: format!("http://127.0.0.1:{port}"),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(words)
            .env_clear()
            .current_dir(self.folder.path())
            .env("ASANA_PAT", &self.tokens.tracker)
            .env("GITHUB_TOKEN", &self.tokens.forge)
            .env("KEY", KEY)
            .env("USER", "ann")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, line: &str) -> Answer {
        let words: Vec<&str> = line.split_whitespace().collect();
        let done = self.command(&words).output().expect("the binary runs");
        let answer = Answer {
            code: done.status.code().expect("it ended by itself"),
            out: String::from_utf8(done.stdout).expect("text"),
            err: String::from_utf8(done.stderr).expect("text"),
        };
        assert!(!answer.err.contains("panicked"), "{line}: {}", answer.err);
        if !line.contains("--json") {
            for line in answer.out.lines() {
                assert!(evenkeel::cli::output::columns(line) <= 80, "{words:?}: wider than 80 columns: {line:?}");
                assert!(!line.contains('\u{1b}'), "{words:?}: colour in a pipe: {line:?}");
            }
        }
        for secret in [&self.tokens.tracker, &self.tokens.forge, KEY] {
            assert!(!answer.out.contains(secret) && !answer.err.contains(secret), "{words:?}: a secret was printed");
        }
        answer
    }

    /// Runs a command that must end with this code.
    #[track_caller]
    fn wants(&self, code: i32, line: &str) -> Answer {
        let answer = self.run(line);
        assert_eq!(answer.code, code, "{line}\n{}\n{}", answer.out, answer.err);
        answer
    }

    #[track_caller]
    fn json(&self, code: i32, line: &str) -> Value {
        let answer = self.wants(code, &format!("{line} --json"));
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{line}: {error}\n{}", answer.out))
    }

    fn task(&self, name: &str) -> TaskGid {
        self.sandbox.asana().task(&self.project, TaskSeed::named(name))
    }

    fn titles(&self) -> Vec<String> {
        self.sandbox.world().issues(&self.repo).into_iter().map(|issue| issue.title).collect()
    }
}

/// The text without its line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn is_live(hooks: &Value) -> bool {
    let hooks = hooks["hooks"].as_array().expect("a list");
    hooks.len() == 2 && hooks.iter().all(|hook| hook["state"] == "live" && hook["trouble"].is_null())
}

#[test]
fn hooks_are_made_watched_rotated_and_removed_beside_the_service_they_lead_to() {
    let town = Town::new();
    // Nobody is there to be shaken hands with: said, with what to look at; the other side is looked after.
    let failed = town.wants(2, "webhooks ensure");
    let said = flat(&failed.out);
    assert!(said.contains("handshake") && said.contains("is `evenkeel run` at work"), "{}", failed.out);
    assert!(said.contains(&format!("curl -i {}/health", town.public_url)), "{}", failed.out);
    let listed = town.wants(1, "webhooks list");
    assert!(flat(&listed.out).contains("there is none; `evenkeel webhooks ensure`"), "{}", listed.out);
    let status = town.json(1, "status");
    assert_eq!(status["webhooks"]["asana"]["hooks"][0]["state"], "none");
    assert_eq!(status["webhooks"]["github"]["hooks"][0]["state"], "live");
    let checked = flat(&town.wants(0, "check").out);
    assert!(checked.contains("none sends here yet") && checked.contains("one sends here"), "{checked}");

    let service = town.command(&["run", "--quiet"]).stderr(Stdio::null()).spawn().expect("it starts");
    let mut service = Running(service);
    // The ping of a hook that was made while nobody was there has failed; another is sent, and gets through.
    eventually("both hooks", || is_live(&serde_json::from_str(&town.run("webhooks list --json").out).expect("JSON")));
    let ensured = town.wants(0, "webhooks ensure");
    assert_eq!(ensured.out.matches("nothing to do").count(), 2, "{}", ensured.out);
    assert!(ensured.out.contains("github acme/app") && ensured.out.contains("route app"), "{}", ensured.out);

    let task = town.task("Fix the login");
    eventually("the issue", || town.titles() == ["Fix the login"]);
    town.sandbox.asana().rename(&task, "Fix the login page");
    eventually("the new name", || town.titles() == ["Fix the login page"]);

    let listed = town.json(0, &format!("deliveries list --side asana --verdict due --item asana:{task}"));
    let newest = listed["deliveries"][0]["id"].as_i64().expect("a number");
    let pages = town.json(0, &format!("deliveries list --before {newest} --limit 1"));
    assert!(pages["deliveries"].as_array().is_some_and(|all| all.len() == 1 && all[0]["id"].as_i64() < Some(newest)));
    assert!(town.wants(0, "deliveries list --limit 1").err.contains("--before"));
    assert!(town.wants(0, "deliveries list").out.contains(&format!("asana:{task}")));
    assert!(town.wants(0, "deliveries list --verdict garbled").out.contains("no delivery matches"));
    let oldest = listed["deliveries"].as_array().and_then(|all| all.last()).expect("one")["id"].clone();
    eventually("that the first delivery was worked off", || {
        let shown = town.json(0, &format!("deliveries show {oldest}"));
        shown["outcomes"][0]["changes"].as_array().is_some_and(|changes| changes[0]["kind"] == "create")
    });
    let shown = town.wants(0, &format!("deliveries show {oldest} --body"));
    for wanted in ["through", "header", "create of github:acme/app#1 in pass", "\"events\": ["] {
        assert!(shown.out.contains(wanted), "{wanted:?} is missing in:\n{}", shown.out);
    }
    town.wants(2, "deliveries show 4711");
    town.wants(2, "deliveries replay 4711");
    let why = flat(&town.wants(0, &format!("why asana:{task}")).out);
    assert!(why.contains("last deliveries") && why.contains(&format!("#{newest} ")), "{why}");

    // What no delivery told of, and a pass found.
    town.sandbox.deliveries().chance(1.0, Side::Tracker, Mishap::Lost);
    town.task("Water the plants");
    // The new issue is told of while the pass is still at work, so that something may be left.
    let passed = town.run("run --once");
    assert!(passed.code <= 1, "{}\n{}", passed.out, passed.err);
    town.sandbox.deliveries().clear();
    assert!(town.titles().contains(&"Water the plants".to_owned()));
    eventually("that all is in step", || town.run("status").code == 0);
    assert_eq!(town.json(0, "status")["routes"][0]["unheard"], 1);
    assert!(flat(&town.run("status").out).contains("1 edit found by a poll before any delivery told of it"));

    // Turned away: counted, and told.
    let unsigned = Request {
        method: Method::Post,
        url: format!("{}/webhooks/github", town.public_url),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: b"{}".to_vec(),
    };
    let answered = town.outside.send(&unsigned, Duration::from_secs(10)).expect("an answer");
    assert_eq!(answered.status, 401);
    eventually("that it was counted", || flat(&town.run("status").out).contains("turned away 1 time: not signed"));
    let status = town.run("status");
    assert!(status.out.contains("webhooks of asana") && status.out.contains("in the last 24 h"), "{}", status.out);

    let rotated = town.wants(0, "webhooks rotate --route app");
    assert!(rotated.out.contains("signs with a new secret"), "{}", rotated.out);
    town.sandbox.asana().rename(&task, "Fix the sign-in page");
    eventually("the newest name", || town.titles().contains(&"Fix the sign-in page".to_owned()));

    let removed = town.wants(0, "webhooks remove");
    assert!(flat(&removed.out).contains("the service makes them again"), "{}", removed.out);
    let listed = town.json(1, "webhooks list");
    assert!(listed["hooks"].as_array().is_some_and(|all| all.iter().all(|hook| hook["state"] == "none")), "{listed}");
    town.wants(2, "webhooks list --route nowhere");

    let pid = rustix::process::Pid::from_child(&service.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it is there");
    assert_eq!(service.0.wait().expect("it ends").code(), Some(0));

    // With nobody at work, what a replay makes due waits, and is said to.
    let replayed = town.json(0, &format!("deliveries replay {newest}"));
    assert_eq!(replayed["due"][0]["item"], format!("asana:{task}"));
    let shown = town.wants(0, &format!("deliveries show {newest}"));
    assert!(shown.out.contains("replayed") && flat(&shown.out).contains("due on route app"), "{}", shown.out);
    town.wants(0, "run --once");
    let replayed = town.wants(0, &format!("deliveries replay {newest}"));
    assert!(flat(&replayed.out).contains(&format!("asana:{task} is due again on route app")), "{}", replayed.out);
}

#[test]
fn check_says_what_hooks_lack() {
    let town = Town::new();
    let file = town.folder.path().join("config.toml");
    let text = std::fs::read_to_string(&file).expect("read");
    let kept = text.lines().filter(|line| !["seal_key", "[listen]", "address"].iter().any(|key| line.starts_with(key)));
    std::fs::write(&file, kept.collect::<Vec<_>>().join("\n")).expect("written");
    let weak = town.sandbox.github().fine_grained_token(&town.sandbox.github().bot(), &[&town.repo], true);
    let done = town.command(&["check"]).env("GITHUB_TOKEN", &weak).output().expect("the binary runs");
    let out = flat(&String::from_utf8(done.stdout).expect("text"));
    assert_eq!(done.status.code(), Some(2), "{out}");
    for wanted in ["nothing listens", "openssl rand -hex 32", "\"Webhooks: read and write\"", "on asana"] {
        assert!(out.contains(wanted), "{wanted:?} is missing in:\n{out}");
    }
    town.sandbox.github().allow_hooks(&weak);
    let done = town.command(&["check"]).env("GITHUB_TOKEN", &weak).output().expect("the binary runs");
    let out = flat(&String::from_utf8(done.stdout).expect("text"));
    assert!(out.contains("may be looked after on github acme/app"), "{out}");
    let none = town.wants(1, "webhooks list");
    assert!(none.out.contains("none"), "{}", none.out);
    town.sandbox.github().issue(&town.repo, IssueSeed::new("unheard", ""));
    let failed = town.wants(2, "webhooks ensure");
    assert!(flat(&failed.out).contains("set seal_key in [webhooks]"), "{}", failed.out);
    assert_eq!(town.sandbox.log().counts()[Side::Tracker].writes, 0, "nothing was asked of asana");
}
