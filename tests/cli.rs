//! The binary itself: help, exit codes, what it prints, against the sandbox over real HTTP.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use evenkeel::clock::SystemClock;
use evenkeel::config::DatabaseUrl;
use evenkeel::model::{BySide, ProjectGid, RepoName, Side, TaskGid};
use evenkeel::sandbox::{Fault, IssueView, Sandbox, Served, TaskSeed, When};
use evenkeel::store::migrate;
use serde_json::Value;

/// Columns of a terminal that tells nothing about itself, and of a pipe.
const WIDTH: usize = 80;

/// The program with a clean environment, in a folder of its own.
fn program(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
    command.env_clear().env("USER", "ann").env("PATH", "/usr/bin:/bin").current_dir(folder);
    command
}

/// What a command answered.
#[derive(Debug)]
struct Answer {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("what is printed is UTF-8");
        let answer = Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
        assert!(!answer.err.contains("panicked"), "{answer:#?}");
        answer
    }

    /// Asserts the exit code, with everything that was said if it is another.
    #[track_caller]
    fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "standard output:\n{}\nstandard error:\n{}", self.out, self.err);
        self
    }

    /// Asserts that standard output says something.
    #[track_caller]
    fn says(self, wanted: &str) -> Self {
        assert!(self.out.contains(wanted), "{wanted:?} is missing in:\n{}", self.out);
        self
    }

    /// Asserts that standard error says something.
    #[track_caller]
    fn complains(self, wanted: &str) -> Self {
        assert!(self.err.contains(wanted), "{wanted:?} is missing in:\n{}", self.err);
        self
    }

    /// Asserts that standard output is plain and fits 80 columns.
    #[track_caller]
    fn stays_plain(self) -> Self {
        assert_plain(&self.out);
        self
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}:\n{}", self.out))
    }
}

#[track_caller]
fn assert_plain(text: &str) {
    assert!(!text.contains('\u{1b}'), "an escape in a pipe:\n{text}");
    for line in text.lines() {
        assert!(evenkeel::cli::output::columns(line) <= WIDTH, "wider than {WIDTH} columns: {line:?}");
    }
}

/// A sandbox with a project and a repository, and a configuration that points at it.
struct World {
    sandbox: Sandbox,
    served: Served,
    folder: tempfile::TempDir,
    project: ProjectGid,
    repo: RepoName,
    tokens: BySide<String>,
}

impl World {
    fn new() -> Self {
        let sandbox = Sandbox::new(Arc::new(SystemClock), 7);
        let project = sandbox.asana().project("App");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        let served = sandbox.serve().expect("loopback can be served");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let tokens = BySide { tracker: project.token, forge: repo.token };
        let world = Self { sandbox, served, folder, project: project.gid, repo: repo.name, tokens };
        world.configure("");
        world
    }

    /// Writes config.toml; `more` follows the route.
    fn configure(&self, more: &str) {
        self.write_config(&self.database(), more);
    }

    /// The same over another database in the folder.
    fn configure_over(&self, database: &str) {
        self.write_config(&self.folder.path().join(database), "");
    }

    fn write_config(&self, database: &Path, more: &str) {
        let text = format!(
            "[database]\nurl = \"sqlite:{database}\"\n\
             [asana]\nbase_url = \"{asana}\"\ntoken = {{ env = \"ASANA_PAT\" }}\n\
             [github]\nbase_url = \"{github}\"\ntoken = {{ env = \"GITHUB_TOKEN\" }}\n\
             [[route]]\nname = \"app\"\nasana_project = \"{project}\"\ngithub_repo = \"{repo}\"\n{more}",
            database = database.display(),
            asana = self.served.base_urls.tracker,
            github = self.served.base_urls.forge,
            project = self.project,
            repo = self.repo,
        );
        std::fs::write(self.folder.path().join("config.toml"), text).expect("written");
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("evenkeel.db")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(self.folder.path());
        command.env("ASANA_PAT", &self.tokens.tracker).env("GITHUB_TOKEN", &self.tokens.forge).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Answer {
        let answer = Answer::of(self.command(args).output().expect("the program starts"));
        for token in [&self.tokens.tracker, &self.tokens.forge] {
            assert!(!answer.out.contains(token) && !answer.err.contains(token), "a token was printed");
        }
        answer
    }

    fn task(&self, name: &str) -> TaskGid {
        self.sandbox.asana().task(&self.project, TaskSeed::named(name))
    }

    fn issues(&self) -> Vec<IssueView> {
        self.sandbox.world().issues(&self.repo)
    }

    /// The issue with this title; there must be exactly one.
    #[track_caller]
    fn issue(&self, title: &str) -> IssueView {
        let mut found: Vec<IssueView> = self.issues().into_iter().filter(|issue| issue.title == title).collect();
        assert_eq!(found.len(), 1, "issues called {title:?}");
        found.remove(0)
    }

    /// Requests that write, on both sides, since the sandbox began.
    fn writes(&self) -> u64 {
        Side::BOTH.into_iter().map(|side| self.sandbox.log().writes(side).values().sum::<u64>()).sum()
    }
}

/// Runs the program where no world is needed.
fn alone(args: &[&str]) -> Answer {
    let folder = tempfile::tempdir().expect("a temporary folder");
    Answer::of(program(folder.path()).args(args).output().expect("the program starts"))
}

#[test]
fn every_command_explains_itself_within_eighty_columns() {
    let commands: [&[&str]; 30] = [
        &[],
        &["run"],
        &["plan"],
        &["apply"],
        &["status"],
        &["links"],
        &["links", "list"],
        &["links", "add"],
        &["links", "remove"],
        &["adopt"],
        &["why"],
        &["undo"],
        &["parked"],
        &["parked", "list"],
        &["parked", "retry"],
        &["parked", "drop"],
        &["history"],
        &["history", "show"],
        &["webhooks"],
        &["webhooks", "ensure"],
        &["webhooks", "list"],
        &["webhooks", "rotate"],
        &["webhooks", "remove"],
        &["deliveries"],
        &["deliveries", "list"],
        &["deliveries", "show"],
        &["deliveries", "replay"],
        &["check"],
        &["demo"],
        &["completions"],
    ];
    for command in commands {
        let args: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
        alone(&args).ends(0).says("Usage: evenkeel").stays_plain();
    }
    alone(&["--help"]).ends(0).says("3  refused by a brake").says("evenkeel demo");
    alone(&["run", "--help"]).ends(0).says("Examples:").says("--allow-retirements");
    alone(&["--version"]).ends(0).says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_command_line_that_makes_no_sense_fails_with_2() {
    alone(&["sync"]).ends(2).complains("unrecognized subcommand");
    alone(&["run", "--full", "--only", "asana:1", "--once"]).ends(2).complains("cannot be used with");
    alone(&["run", "--once", "--only", "1201"]).ends(2).complains("github:acme/app#17");
    for option in ["--full", "--allow-empty", "--json", "--route=app"] {
        alone(&["run", option]).ends(2).complains("needs --once");
    }
}

#[test]
fn completions_are_scripts_of_their_shell() {
    alone(&["completions", "bash"]).ends(0).says("complete -F _evenkeel");
    alone(&["completions", "fish"]).ends(0).says("complete -c evenkeel");
    alone(&["completions", "zsh"]).ends(0).says("#compdef evenkeel");
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for args in [&["completions", "bash"][..], &["--help"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let child = program(folder.path()).args(args).stdout(writer).stderr(Stdio::piped()).spawn();
        let answer = Answer::of(child.expect("the program starts").wait_with_output().expect("it ends")).ends(0);
        assert_eq!(answer.err, "");
    }
}

#[test]
fn without_a_configuration_the_way_to_one_is_told() {
    alone(&["plan"]).ends(2).complains("ASANA_PAT").complains("GITHUB_REPO").complains("evenkeel demo");
}

#[test]
fn a_wrong_configuration_is_told_with_all_its_faults_at_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "[asana]\ntoken = \"0/secret\"\n[github]\ntokken = { env = \"X\" }\n\
                [[route]]\nname = \"App!\"\nasana_project = \"12a\"\ngithub_repo = \"acme/app\"\n";
    std::fs::write(folder.path().join("config.toml"), text).expect("written");
    let answer = Answer::of(program(folder.path()).arg("plan").output().expect("it starts")).ends(2);
    for wanted in ["config.toml:2", "config.toml:4", "config.toml:6", "config.toml:7"] {
        assert!(answer.err.contains(wanted), "{wanted} is missing in:\n{}", answer.err);
    }
    assert!(!answer.err.contains("0/secret"), "{}", answer.err);
    let named = Answer::of(
        program(Path::new("/"))
            .arg("--config")
            .arg(folder.path().join("missing.toml"))
            .arg("plan")
            .output()
            .expect("it starts"),
    );
    named.ends(2).complains("missing.toml");
}

#[test]
fn a_plan_shows_drift_and_writes_nothing_anywhere() {
    let world = World::new();
    world.task("Fix the login");
    let answer =
        world.run(&["plan"]).ends(1).stays_plain().says("Create 1 issue").says("Fix the login").says("1 to create");
    assert!(answer.out.contains("evenkeel run --once"), "{}", answer.out);
    let json = world.run(&["plan", "--json"]).ends(1).json();
    assert_eq!(json["plans"][0]["plan"]["repairs"][0]["do"], "create", "{json:#}");
    assert_eq!(world.writes(), 0);
    assert!(!world.database().exists(), "a plan makes no database");
    world.run(&["plan", "--route", "web"]).ends(2).complains("there is no route web").complains("app");
}

#[test]
fn run_once_brings_both_sides_in_step_and_then_finds_nothing_to_do() {
    let world = World::new();
    let login = world.task("Fix the login");
    world.task("Write the changelog");
    world.run(&["run", "--once"]).ends(0).stays_plain().says("settled").says("2 created");
    world.sandbox.asana().rename(&login, "Fix the login on mobile");
    let number = world.issue("Write the changelog").number;
    world.sandbox.github().close(&world.repo, number, evenkeel::sandbox::Reason::Completed);
    world
        .run(&["plan"])
        .ends(1)
        .stays_plain()
        .says("Update 2 pairs")
        .says("Fix the login → Fix the login on mobile")
        .says("open → done")
        .says("edited on github");
    let json = world.run(&["run", "--once", "--json"]).ends(0).json();
    assert_eq!(json["passes"][0]["counts"]["updated"], 2, "{json:#}");
    world.issue("Fix the login on mobile");
    world.run(&["plan", "--full"]).ends(0).says("Nothing to do");
    world.run(&["run", "--once", "--full"]).ends(0).says("nothing to do");
    assert_eq!(world.issues().len(), 2);
}

#[test]
fn only_the_item_named_is_looked_at() {
    let world = World::new();
    let (one, other) = (world.task("One"), world.task("Other"));
    world.run(&["run", "--once"]).ends(0);
    world.sandbox.asana().rename(&one, "One anew");
    world.sandbox.asana().rename(&other, "Other anew");
    let number = world.issue("One").number;
    world.run(&["run", "--once", "--only", &format!("github:acme/app#{number}")]).ends(0).says("1 updated");
    world.issue("One anew");
    world.issue("Other");
    world.run(&["run", "--once", "--only", "github:acme/other#1"]).ends(2).complains("none of the routes");
}

#[test]
fn a_kept_plan_is_carried_out_only_while_it_holds() {
    let world = World::new();
    let login = world.task("Fix the login");
    world.run(&["plan", "--full", "--out", "p.json"]).ends(1).says("Kept in p.json");
    assert_eq!(world.writes(), 0);
    world.run(&["apply", "p.json"]).ends(0).says("1 created");
    let answer = world.run(&["apply", "p.json"]).ends(1).stays_plain();
    answer.says("no longer holds").says("No longer to be done:").says("Fix the login");

    world.sandbox.asana().rename(&login, "Fix the login on mobile");
    world.run(&["plan", "--out", "p.json"]).ends(1);
    world.task("Write the changelog");
    let before = world.writes();
    let answer = world.run(&["apply", "p.json"]).ends(1).stays_plain();
    answer.says("To be done now:").says("Write the changelog");
    let json = world.run(&["apply", "p.json", "--json"]).ends(1).json();
    assert_eq!((&json["held"], json["new"].as_array().map(Vec::len)), (&Value::Bool(false), Some(1)), "{json:#}");
    assert_eq!(world.writes(), before, "a plan that moved writes nothing");

    world.run(&["plan", "--out", "p.json"]).ends(1);
    world.run(&["apply", "p.json"]).ends(0);
    world.run(&["plan", "--full"]).ends(0);

    // A lost database: the plan of joining what the markers say is kept and carried out like any other.
    world.configure_over("other.db");
    world.run(&["plan", "--out", "p.json"]).ends(1).says("2 to join");
    world.run(&["apply", "p.json"]).ends(0).says("2 joined");

    std::fs::write(world.folder.path().join("p.json"), "[]").expect("written");
    world.run(&["apply", "p.json"]).ends(2).complains("no plan kept by").complains("plan --out");
    world.run(&["apply", "missing.json"]).ends(2).complains("missing.json");
}

#[test]
fn a_brake_refuses_with_both_numbers_and_the_way_out() {
    let world = World::new();
    world.configure("[route.brakes]\nupdates_max = 1\nupdates_percent = 0\n");
    let tasks: Vec<TaskGid> = ["One", "Two", "Three"].into_iter().map(|name| world.task(name)).collect();
    world.run(&["run", "--once"]).ends(0);
    for task in &tasks {
        world.sandbox.asana().complete(task);
    }
    world.run(&["plan"]).ends(3).stays_plain().says("3 of 3 links would be updated").says("--allow-updates 3");
    let before = world.writes();
    world.run(&["run", "--once"]).ends(3).says("refused by a brake").says("the limit is 1").stays_plain();
    assert_eq!(world.writes(), before);
    world.run(&["run", "--once", "--allow-updates", "3"]).ends(0).says("3 updated");
}

#[test]
fn a_database_that_is_not_one_does_not_keep_check_from_the_rest() {
    let world = World::new();
    std::fs::write(world.database(), "these are no tables").expect("written");
    let answer = world.run(&["check"]).ends(2).stays_plain();
    answer.says("BAD answer").says("1 thing must be mended").says("can be read");
    world.run(&["plan"]).ends(2);
}

#[test]
fn a_database_of_an_older_program_is_no_fault_to_mend() {
    let world = World::new();
    world.task("Fix the login");
    world.run(&["run", "--once"]).ends(0);
    let url = DatabaseUrl::Sqlite(world.database());
    let known = migrate::known();
    migrate::go_to(&url, &known[known.len() - 2]).expect("one step back");
    world.run(&["check"]).ends(0).says("the first pass brings it up to").says("everything is as needed");
    world.run(&["run", "--once"]).ends(0);
    world.run(&["check"]).ends(0).says("the newest this program knows");
}

#[test]
fn a_quiet_pass_that_leaves_nothing_says_nothing() {
    let world = World::new();
    world.task("Fix the login");
    let answer = world.run(&["run", "--once", "--quiet"]).ends(0);
    assert_eq!((answer.out.as_str(), answer.err.as_str()), ("", ""));
    world.issue("Fix the login");
}

#[test]
fn one_route_that_fails_does_not_keep_the_others_from_their_pass() {
    let world = World::new();
    let hidden = world.sandbox.asana().project("Hidden");
    world.sandbox.asana().hide(&hidden.gid, &world.sandbox.asana().bot(), true);
    world.configure(&format!(
        "[[route]]\nname = \"hidden\"\nasana_project = \"{}\"\ngithub_repo = \"acme/hidden\"\n",
        hidden.gid
    ));
    world.task("Fix the login");
    world.run(&["run", "--once"]).ends(2).says("route hidden:").says("1 created");
    world.issue("Fix the login");
    let json = world.run(&["plan", "--json"]).ends(2).json();
    assert_eq!((json["plans"].as_array().map(Vec::len), json["failures"].as_array().map(Vec::len)), (Some(1), Some(1)));
}

/// A process that is ended when the test is.
struct Running(Child);

impl Running {
    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until something is so; the limit only ends a test that has failed.
#[track_caller]
fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    use evenkeel::clock::Clock as _;
    for _ in 0..1_200 {
        if so() {
            return;
        }
        SystemClock.sleep(Duration::from_millis(50), &evenkeel::clock::Stop::default());
    }
    panic!("never came: {what}");
}

#[test]
fn ctrl_c_in_an_import_finishes_the_repair_in_hand_and_the_next_run_the_rest() {
    let world = World::new();
    for number in 0..30 {
        world.task(&format!("Task {number}"));
    }
    world.sandbox.faults().chance(1.0, When::side(Side::Forge).writes(), Fault::Delay(Duration::from_millis(60)));
    let child = world.command(&["run", "--once"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Running(child.expect("the program starts"));
    eventually("a third issue", || world.issues().len() >= 3);
    child.signal(rustix::process::Signal::INT);
    let mut out = String::new();
    std::io::Read::read_to_string(&mut child.0.stdout.take().expect("piped"), &mut out).expect("read");
    let code = child.0.wait().expect("it ends").code();
    assert_eq!(code, Some(2), "{out}");
    assert!(out.contains("stopped") && out.contains("left"), "{out}");
    assert!(world.issues().len() < 30, "it stopped before the end");
    world.sandbox.faults().clear();
    world.run(&["run", "--once"]).ends(0);
    assert_eq!(world.issues().len(), 30, "each task has its issue, none has two");
    world.run(&["plan", "--full"]).ends(0).says("Nothing to do");
}

#[test]
fn the_service_repairs_logs_and_ends_on_sigterm() {
    let world = World::new();
    world.configure("[schedule]\npoll = \"* * * * * *\"\n");
    world.task("Fix the login");
    let child = world.command(&["run"]).stderr(Stdio::piped()).spawn();
    let mut child = Running(child.expect("the program starts"));
    let err = child.0.stderr.take().expect("piped");
    let log = std::thread::spawn(move || {
        BufReader::new(err).lines().map_while(Result::ok).collect::<Vec<String>>().join("\n")
    });
    eventually("the first issue", || world.issues().len() == 1);
    // An operator's pass beside the service waits for its turn and finds the work done.
    world.run(&["run", "--once"]).ends(0);
    world.task("Write the changelog");
    child.signal(rustix::process::Signal::USR1);
    eventually("the second issue", || world.issues().len() == 2);
    child.signal(rustix::process::Signal::TERM);
    assert_eq!(child.0.wait().expect("it ends").code(), Some(0));
    let log = log.join().expect("the log was read");
    assert!(!log.contains("panicked"), "{log}");
    let repair = log.lines().find(|line| line.contains("create on github")).unwrap_or_default();
    for wanted in ["route app", "pass ", "asana:", "github:acme/app#1"] {
        assert!(repair.contains(wanted), "{wanted:?} is missing in {repair:?}:\n{log}");
    }
    assert!(log.contains("1 created"), "one line per pass:\n{log}");
    for token in [&world.tokens.tracker, &world.tokens.forge] {
        assert!(!log.contains(token), "a token was logged");
    }
    world.run(&["plan", "--full"]).ends(0);
}

#[test]
fn the_demo_ends_in_step() {
    alone(&["demo"])
        .ends(0)
        .stays_plain()
        .says("Both sides are in step, but for 1 question for a person.")
        .says("an idle pass")
        .says("Plan for route website");
    let json = alone(&["demo", "--json"]).ends(0).json();
    assert_eq!(json["settled"], true);
    assert!(json["plan"]["repairs"].as_array().is_some_and(|repairs| repairs.len() > 20), "{json:#}");
}

#[test]
fn a_demo_that_is_kept_serves_other_commands_until_ctrl_c() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let child = program(folder.path()).args(["demo", "--keep"]).stdout(Stdio::piped()).spawn();
    let mut child = Running(child.expect("the program starts"));
    let mut config = None;
    let mut out = BufReader::new(child.0.stdout.take().expect("piped"));
    let mut line = String::new();
    while out.read_line(&mut line).expect("read") > 0 {
        if let Some(rest) = line.strip_prefix("export EVENKEEL_CONFIG='") {
            config = Some(PathBuf::from(rest.trim_end().trim_end_matches('\'')));
            break;
        }
        line.clear();
    }
    let config = config.expect("the demo says where its configuration is");
    let plan = program(folder.path()).arg("plan").env("EVENKEEL_CONFIG", &config).output().expect("it starts");
    Answer::of(plan).says("Plan for route website");
    child.signal(rustix::process::Signal::INT);
    // Whatever it still says must find somebody who reads.
    std::io::copy(&mut out, &mut std::io::sink()).expect("read");
    assert_eq!(child.0.wait().expect("it ends").code(), Some(0));
    assert!(!config.exists(), "the demo clears up");
    std::io::stderr().flush().expect("flushed");
}
