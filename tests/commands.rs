//! The commands for looking and mending: the binary itself over real HTTP, against the sandbox.

#![allow(clippy::panic, reason = "a test ends by panicking")]

#[path = "commands/conflicts.rs"]
mod conflicts;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::sync::Arc;

use evenkeel::clock::{Clock as _, SystemClock};
use evenkeel::config::DatabaseUrl;
use evenkeel::model::{ProjectGid, RepoName, Side, TaskGid};
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{Fault, IssueSeed, Sandbox, Served, TaskSeed, When};
use evenkeel::store::Store;
use serde_json::Value;

/// A project, a repository, a database file, and the binary pointed at them.
struct Town {
    sandbox: Sandbox,
    served: Served,
    project: ProjectGid,
    repo: RepoName,
    tokens: (String, String),
    folder: tempfile::TempDir,
}

/// What the binary answered.
struct Answer {
    code: i32,
    out: String,
    err: String,
}

impl Town {
    fn new() -> Self {
        let sandbox = Sandbox::new(Arc::new(SystemClock), 7);
        let project = sandbox.asana().project("Website");
        let repo: RepoName = "acme/app".parse().expect("a name");
        let repository = sandbox.github().repository(&repo);
        let served = sandbox.serve().expect("loopback");
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = (project.token, repository.token);
        Self { sandbox, served, project: project.gid, repo, tokens, folder }
    }

    /// A town with one pair in step: the task, and its issue's number.
    fn paired() -> (Self, TaskGid, u64) {
        let town = Self::new();
        let task = town.task("Fix the login");
        town.settle();
        let issue = town.sandbox.world().issues(&town.repo)[0].number;
        (town, task, issue)
    }

    fn task(&self, name: &str) -> TaskGid {
        let html_notes = "<body>It fails on <strong>Mondays</strong>.</body>".to_owned();
        self.sandbox.asana().task(&self.project, TaskSeed { html_notes, ..TaskSeed::named(name) })
    }

    fn issue(&self, title: &str, body: &str) -> u64 {
        self.sandbox.github().issue(&self.repo, IssueSeed::new(title, body))
    }

    fn run(&self, line: &str) -> Answer {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.call(&words)
    }

    fn command(&self, words: &[&str]) -> Command {
        let database = self.folder.path().join("evenkeel.db");
        let mut command = Command::new(env!("CARGO_BIN_EXE_evenkeel"));
        command
            .args(words)
            .env_clear()
            .current_dir(self.folder.path())
            .env("ASANA_PAT", &self.tokens.0)
            .env("ASANA_PROJECT_GID", self.project.as_str())
            .env("ASANA_BASE_URL", &self.served.base_urls.tracker)
            .env("GITHUB_TOKEN", &self.tokens.1)
            .env("GITHUB_REPO", self.repo.as_str())
            .env("GITHUB_BASE_URL", &self.served.base_urls.forge)
            .env("DATABASE_URL", format!("sqlite:{}", database.display()))
            .env("USER", "ann")
            .stdin(Stdio::null());
        command
    }

    /// Runs a command that has to wait for its route: `meanwhile` is done after what it looked at before.
    fn overtaken(&self, line: &str, meanwhile: impl FnOnce(&Store)) -> Answer {
        let store = Store::open(&DatabaseUrl::Sqlite(self.folder.path().join("evenkeel.db"))).expect("a database");
        let route = "default".parse().expect("a name");
        let held = store.acquire(&route, "another", SystemClock.now()).expect("a lease").expect("free");
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut running =
            self.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let mut said = BufReader::new(running.stderr.take().expect("piped"));
        let mut err = String::new();
        while !err.contains("waiting up to") {
            assert!(said.read_line(&mut err).expect("text") > 0, "{line} did not wait:\n{err}");
        }
        meanwhile(&store);
        store.release(&held).expect("released");
        said.read_to_string(&mut err).expect("text");
        let done = running.wait_with_output().expect("it ends");
        let out = String::from_utf8(done.stdout).expect("text");
        Answer { code: done.status.code().expect("it ended by itself"), out, err }
    }

    fn call(&self, words: &[&str]) -> Answer {
        let done = self.command(words).output().expect("the binary runs");
        let answer = Answer {
            code: done.status.code().expect("it ended by itself"),
            out: String::from_utf8(done.stdout).expect("text"),
            err: String::from_utf8(done.stderr).expect("text"),
        };
        if !words.contains(&"--json") {
            for line in answer.out.lines() {
                assert!(line.chars().count() <= 80, "{words:?}: wider than 80 columns: {line:?}");
                assert!(!line.contains('\u{1b}'), "{words:?}: colour in a pipe: {line:?}");
            }
        }
        for secret in [&self.tokens.0, &self.tokens.1] {
            assert!(!answer.out.contains(secret.as_str()) && !answer.err.contains(secret.as_str()), "{words:?}");
        }
        answer
    }

    /// Runs a command that must end with this code.
    fn wants(&self, code: i32, line: &str) -> Answer {
        let answer = self.run(line);
        assert_eq!(answer.code, code, "{line}\n{}\n{}", answer.out, answer.err);
        answer
    }

    /// The answer as JSON.
    fn json(&self, code: i32, line: &str) -> Value {
        let answer = self.wants(code, &format!("{line} --json"));
        serde_json::from_str(&answer.out).unwrap_or_else(|error| panic!("{line}: {error}\n{}", answer.out))
    }

    fn settle(&self) {
        self.wants(0, "run --once --full");
        self.wants(0, "run --once --full");
    }

    /// The pass that was made last.
    fn last_pass(&self) -> i64 {
        let status = self.run("status --json");
        let status: Value = serde_json::from_str(&status.out).expect("JSON");
        let passes = status["routes"][0]["passes"].as_array().expect("passes");
        passes.iter().filter_map(|pass| pass["pass"].as_i64()).max().expect("a pass")
    }

    fn task_name(&self, task: &TaskGid) -> String {
        self.sandbox.world().task(task).expect("a task").name
    }

    fn issue_title(&self, number: u64) -> String {
        self.sandbox.world().issue(&self.repo, number).expect("an issue").title
    }

    fn writes(&self) -> u64 {
        let counts = self.sandbox.log().counts();
        counts.tracker.writes + counts.forge.writes
    }
}

/// The text without its line breaks.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_new_route_is_looked_at_checked_and_brought_in_step() {
    let town = Town::new();
    town.task("Fix the login");
    town.issue("Something of our own", "");
    // Looking makes no database.
    let checked = town.wants(0, "check");
    assert!(checked.out.contains("everything is as needed"), "{}", checked.out);
    let status = town.wants(1, "status");
    assert!(status.out.contains("no pass yet"), "{}", status.out);
    assert!(!town.folder.path().join("evenkeel.db").exists(), "looking made a database");
    assert_eq!(town.writes(), 0);

    town.settle();
    let status = town.json(0, "status");
    assert_eq!(status["routes"][0]["state"], "settled");
    assert_eq!(status["routes"][0]["links"]["active"], 1);
    assert!(status["routes"][0]["lease"].is_null(), "{status}");
    town.wants(0, "status");
    assert!(town.wants(0, "check").out.contains("takes writes"));
    let links = town.json(0, "links list");
    assert_eq!(links["links"][0]["title"], "Fix the login");
    assert!(town.wants(0, "links list").out.contains("Fix the login"));
    let shown = town.json(0, "history show");
    assert_eq!(
        shown["entries"].as_array().map(|entries| entries.iter().any(|entry| entry["kind"] == "create")),
        Some(true)
    );
    assert!(town.wants(0, "history show --limit 3").out.contains("create"));
    assert!(town.wants(0, "history verify").out.contains("whole"));
}

#[test]
fn a_pass_is_undone_and_the_next_one_carries_it_over() {
    let (town, task, issue) = Town::paired();
    town.sandbox.asana().rename(&task, "Fix everything");
    town.wants(0, "run --once --full");
    assert_eq!(town.issue_title(issue), "Fix everything");
    let pass = town.last_pass();
    let before = town.writes();

    let dry = town.wants(1, &format!("undo {pass} --dry-run"));
    assert!(dry.out.contains("Fix everything → Fix the login"), "{}", dry.out);
    assert!(dry.out.contains("the next pass then writes title of asana:"), "{}", dry.out);
    let asked = town.wants(2, &format!("undo {pass}"));
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    assert_eq!(town.writes(), before, "nothing is written unasked");

    town.wants(0, &format!("undo {pass} --yes"));
    assert_eq!(town.issue_title(issue), "Fix the login");
    town.wants(0, "run --once");
    assert_eq!(town.task_name(&task), "Fix the login");
    town.settle();
    // There is nothing left of it to undo.
    let again = town.json(0, &format!("undo {pass} --yes"));
    assert_eq!(again["done"], serde_json::json!([]));
    town.wants(2, "undo 4711");
    assert!(town.wants(0, "history show").out.contains("undo"));
    town.wants(0, "history verify");
}

#[test]
fn what_somebody_changed_since_is_named_and_left() {
    let (town, task, issue) = Town::paired();
    town.sandbox.asana().rename(&task, "Fix everything");
    town.wants(0, "run --once --full");
    let pass = town.last_pass();
    town.sandbox.github().retitle(&town.repo, issue, "My own words");
    let undone = town.wants(1, &format!("undo {pass} --yes"));
    assert!(undone.out.contains("My own words"), "{}", undone.out);
    assert_eq!(town.issue_title(issue), "My own words");
}

#[test]
fn an_item_is_explained() {
    let (town, task, issue) = Town::paired();
    let why = town.wants(0, &format!("why asana:{task}"));
    assert!(why.out.contains("nothing to do"), "{}", why.out);
    town.sandbox.github().retitle(&town.repo, issue, "Fix the login page");
    let why = town.wants(1, &format!("why github:acme/app#{issue}"));
    assert!(why.out.contains("Fix the login → Fix the login page"), "{}", why.out);
    let why = town.json(1, &format!("why asana:{task}"));
    assert_eq!(why["explained"]["next"]["what"], "repair");

    let own = town.issue("Something of our own", "");
    let why = town.wants(0, &format!("why github:acme/app#{own}"));
    assert!(why.out.contains("creates nothing for items of github"), "{}", why.out);
    let new = town.task("A new one");
    let why = town.wants(1, &format!("why asana:{new}"));
    assert!(why.out.contains("gets a new partner"), "{}", why.out);
    let why = town.wants(2, "why github:other/place#1");
    assert!(why.err.contains("no route"), "{}", why.err);
    assert_eq!(town.wants(0, "why asana:424242424242").code, 0);
}

#[test]
fn a_pair_is_let_go_of_and_made_again() {
    let (town, task, issue) = Town::paired();
    let key = format!("github:acme/app#{issue}");
    assert_eq!(town.call(&["links", "remove", &key, "--reason", " "]).code, 2);
    let removed = town.call(&["links", "remove", &key, "--reason", "not the same work"]);
    assert_eq!(removed.code, 0, "{}", removed.err);
    let before = town.writes();
    town.settle();
    assert_eq!(town.writes(), before, "the pair is not made again by itself");
    assert_eq!(town.json(0, "links list")["links"], serde_json::json!([]));
    let why = town.wants(0, &format!("why asana:{task}"));
    assert!(why.out.contains("not the same work"), "{}", why.out);

    let asked = town.wants(2, &format!("links add asana:{task} {key}"));
    assert!(asked.err.contains("--yes"), "{}", asked.err);
    town.wants(0, &format!("links add {key} asana:{task} --yes"));
    let twice = town.wants(2, &format!("links add asana:{task} {key} --yes"));
    assert!(twice.err.contains("already"), "{}", twice.err);
    town.settle();
    assert_eq!(town.json(0, "links list")["links"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_exists_on_both_sides_is_proposed_and_linked_only_when_confirmed() {
    let town = Town::new();
    let (one, two) = (town.task("Fix the login"), town.task("Write the docs"));
    let (first, second) =
        (town.issue("Fix the login", "It fails on **Mondays**."), town.issue("Write the docs", "Other words."));
    let listed = town.wants(1, "adopt");
    assert!(listed.out.contains("the titles are equal"), "{}", listed.out);
    assert_eq!(town.writes(), 0, "listing links nothing");
    town.wants(0, &format!("adopt --pair asana:{one}=github:acme/app#{first}"));
    let left = town.json(1, "adopt");
    assert_eq!(left["routes"][0]["proposals"].as_array().map(Vec::len), Some(1));
    // What differs and was never agreed on is not decided by the clock: it waits.
    let linked = town.wants(1, "adopt --yes-above 80");
    assert!(linked.out.contains("linked: 1 pair"), "{}", linked.out);
    assert!(linked.out.contains("the body waits for a person"), "{}", linked.out);
    assert!(!linked.out.contains("kept changing"), "{}", linked.out);
    let waiting = town.json(0, "links list --waiting");
    assert_eq!(waiting["links"][0]["waiting"], serde_json::json!(["body"]));
    assert!(town.wants(1, "status").out.contains("1 field (`evenkeel conflicts`"));
    let why = flat(&town.wants(1, &format!("why asana:{two}")).out);
    assert!(why.contains("asana It fails on **Mondays**. github Other words."), "{why}");
    town.sandbox.github().write_body(&town.repo, second, "It fails on **Mondays**.");
    town.settle();
    assert_eq!(town.sandbox.world().issues(&town.repo).len(), 2, "nothing was created twice");
    let pair = town.json(0, &format!("why asana:{two}"));
    assert_eq!(pair["explained"]["pair"]["link"]["issue"]["number"], second);
}

#[test]
fn a_parked_item_waits_for_a_person() {
    let (town, task, issue) = Town::paired();
    assert!(town.wants(0, "parked list").out.contains("nothing is parked"));
    let park = || {
        town.sandbox.asana().rename(&task, "Fix everything");
        town.sandbox.faults().next(1, When::side(Side::Forge).method(Method::Patch), Fault::Html);
        town.wants(1, "run --once --full");
    };
    park();
    let parked = town.json(1, "parked list");
    let id = parked["parked"][0]["id"].as_i64().expect("a number");
    let listed = town.wants(1, "parked list");
    assert!(listed.out.contains("evenkeel parked retry"), "{}", listed.out);
    assert!(town.wants(1, "status").out.contains("1 item (`evenkeel parked list`)"));
    assert!(flat(&town.wants(1, &format!("why asana:{task}")).out).contains("`evenkeel parked retry"));
    town.wants(0, &format!("parked retry {id}"));
    town.wants(2, &format!("parked retry {id}"));
    town.settle();
    assert_eq!(town.issue_title(issue), "Fix everything");

    town.sandbox.asana().rename(&task, "Fix the login");
    town.wants(0, "run --once --full");
    park();
    let id = town.json(1, "parked list")["parked"][0]["id"].as_i64().expect("a number");
    // Somebody else has it tried again while this one waits for the route.
    let late = town.overtaken(&format!("parked drop {id} --reason test"), |store| {
        assert!(store.unpark(id, SystemClock.now()).expect("the store"));
    });
    assert_eq!(late.code, 2, "{}", late.out);
    assert!(late.err.contains("not parked any more: nothing was dropped"), "{}", late.err);
    let history = town.json(0, "history show").to_string();
    assert!(!history.contains("\"drop\""), "{history}");
    town.settle();

    town.sandbox.asana().rename(&task, "Fix the login");
    town.wants(0, "run --once --full");
    park();
    let id = town.json(1, "parked list")["parked"][0]["id"].as_i64().expect("a number");
    let dropped = town.call(&["parked", "drop", &id.to_string(), "--reason", "a test task"]);
    assert_eq!(dropped.code, 0, "{}", dropped.err);
    let said = flat(&dropped.out);
    assert!(said.contains("tried again when it changes, and by the next whole look"), "{said}");
    assert!(said.contains("evenkeel links remove"), "{said}");
    town.wants(0, "parked list");
    assert!(town.wants(0, "history show").out.contains("a test task"));
    town.settle();
}

#[test]
fn a_revoked_token_is_found_and_the_status_says_that_the_pass_failed() {
    let (town, ..) = Town::paired();
    town.sandbox.github().revoke(&town.tokens.1);
    let checked = town.wants(2, "check");
    assert!(checked.out.contains("BAD") && checked.out.contains("->"), "{}", checked.out);
    let checked = town.json(2, "check");
    assert_eq!(checked["good"], false);
    town.wants(2, "run --once --full");
    let status = town.wants(2, "status");
    assert!(status.out.contains("the last pass failed") && status.out.contains("last error"), "{}", status.out);
    assert!(status.out.contains("requests to github") && status.out.contains("circuit breaker"), "{}", status.out);
    let status = town.json(2, "status");
    let breakers: Vec<&Value> = ["asana", "github"]
        .into_iter()
        .filter_map(|service| status["credentials"].as_array()?.iter().find(|one| one["service"] == service))
        .map(|one| &one["breaker"])
        .collect();
    assert_eq!(breakers, ["closed", "open"], "{status}");
    // Who mended it need not wait for the end of the rest.
    town.sandbox.github().restore_token(&town.tokens.1);
    town.settle();
    town.wants(0, "status");
}

#[test]
fn the_history_is_shown_and_is_whole() {
    let (town, ..) = Town::paired();
    assert_eq!(town.json(0, "history verify")["Whole"]["entries"].as_i64().map(|entries| entries > 0), Some(true));
    town.wants(0, "history show --pass 1");
    assert!(town.wants(0, "history show --item asana:1").out.contains("no entry matches"));
}
