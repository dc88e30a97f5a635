//! Whole passes as short scripts: `tests/scenarios/*.txt`, each a story that ends in passes that plan nothing.
//!
//! A script sets up both sides of the sandbox, lets people act, lets things go wrong, and runs passes of the real
//! engine through the real clients and a real SQLite database. Lines that begin with `=>` are what a pass said;
//! `UPDATE_GOLDEN=1 cargo test --test scenarios` writes them anew. Every script is closed by a poll and a sweep
//! that must plan nothing, by a count of partners (nobody has two) and by a check of the history's chain.
//!
//! ```text
//! task A "Fix login" :: The login page is broken.
//! issue X "Flaky test" :: It fails at night.
//! edit A title "Fix the login"      edit A body "..."      edit X body "..."      (| is a line break, ¦ is |)
//! replace A "word" "other word"     complete A | reopen A | drop X | delete A | restore A | leave A | return A | tag A "ui" | label X "ui" | ...
//! fault forge cut-after POST        fault tracker 503 x3   fault forge short 2     clear-faults
//! wait 10m                          forget-database        keep-database | restore-database
//! rule create both                  rule labels both       rule on_conflict ask    person ann ada
//! pass | pass sweep | pass visit A | pass retry | plan                             (each pass may say `allow 3`)
//! resolve A title forge             resolve A body both    resolve A title text "..."       undo (the last pass)
//! => created 1; issue for A "Fix login"
//! shows A title "Fix login"         shows X body "..."     shows X status done    count issues 1
//! partner A P                       (names the item linked with A)
//! ```

#![allow(clippy::panic, reason = "a test ends by panicking")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use evenkeel::clock::{Clock, Stop, VirtualClock};
use evenkeel::config::{DatabaseUrl, Patience, Secret};
use evenkeel::engine::{Ended, Engine, PassOptions, Quiet, Report, Resolve, UndoTarget, Wake};
use evenkeel::model::{
    BySide, Creation, Field, FieldPolicy, IssueRef, ItemKey, OnConflict, People, Person, RepoName, Rules, Side,
    TaskGid, Timestamp,
};
use evenkeel::provider::asana::AsanaClient;
use evenkeel::provider::github::GithubClient;
use evenkeel::provider::http::Method;
use evenkeel::provider::pace::Pace;
use evenkeel::provider::{self, Connection};
use evenkeel::reconcile::{Action, Allowance, Plan, Repair, Take};
use evenkeel::sandbox::{Fault, IssueSeed, Limit, Project, Reason, Repository, Sandbox, TaskSeed, When};
use evenkeel::store::{Store, Verified};

/// A story being told.
struct Story {
    name: String,
    clock: Arc<VirtualClock>,
    sandbox: Sandbox,
    project: Project,
    repo: Repository,
    rules: Rules,
    folder: tempfile::TempDir,
    store: Option<Store>,
    names: BTreeMap<String, ItemKey>,
    people: Vec<Person>,
    elsewhere: Option<Repository>,
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        let (word, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or_else(|| panic!("an open quote in {line:?}")),
            None => rest.split_once(' ').unwrap_or((rest, "")),
        };
        words.push(word.replace('|', "\n").replace('¦', "|"));
        rest = after.trim_start();
    }
    words
}

/// Plain words as Asana's rich text.
fn html(text: &str) -> String {
    if text.starts_with("<body>") {
        return text.to_owned();
    }
    format!("<body>{}</body>", text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
}

impl Story {
    fn new(name: &str) -> Self {
        let start = Timestamp::from_second(1_795_000_000).expect("in range");
        let clock = Arc::new(VirtualClock::starting_at(start));
        let sandbox = Sandbox::new(clock.clone(), 7);
        let project = sandbox.asana().project("Website");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        Self {
            name: name.to_owned(),
            clock,
            sandbox,
            project,
            repo,
            rules: Rules::default(),
            folder: tempfile::tempdir().expect("a folder"),
            store: None,
            names: BTreeMap::new(),
            people: Vec::new(),
            elsewhere: None,
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("evenkeel.db")
    }

    fn store(&mut self) -> Store {
        let url = DatabaseUrl::Sqlite(self.database());
        self.store.get_or_insert_with(|| Store::open(&url).expect("a database")).clone()
    }

    fn engine(&mut self) -> Engine {
        let stop = Stop::default();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let network = support::network(self.sandbox.base_urls());
        let connection = |side: Side, token: &str| Connection {
            transport: self.sandbox.transport(),
            base_url: self.sandbox.base_urls()[side].clone(),
            token: Secret::new(token.to_owned()),
            clock: clock.clone(),
            stop: stop.clone(),
            pace: Arc::new(match side {
                Side::Tracker => Pace::asana(&network),
                Side::Forge => Pace::github(&network),
            }),
            call_timeout: Duration::from_secs(30),
            seed: 3,
        };
        let rules = Rules { people: People::new(self.people.clone()), ..self.rules.clone() };
        let asana = AsanaClient::new(connection(Side::Tracker, &self.project.token), self.project.gid.clone(), &rules);
        let github = GithubClient::new(connection(Side::Forge, &self.repo.token), self.repo.name.clone(), &rules);
        let tracker: Arc<dyn provider::Write> = Arc::new(asana);
        let forge: Arc<dyn provider::Write> = Arc::new(github);
        Engine {
            route: "app".parse().expect("a name"),
            project: self.project.gid.clone(),
            rules,
            providers: BySide { tracker, forge },
            store: self.store(),
            clock,
            stop,
            patience: Patience {
                attempts_max: 5,
                backoff: Duration::from_secs(30),
                backoff_max: Duration::from_secs(3_600),
                intent_grace: Duration::from_secs(600),
                repairs_max: 2_000,
            },
            holder: "test".into(),
            actor: "test".into(),
            seed: 5,
            progress: Arc::new(Quiet),
        }
    }

    fn pass(&mut self, wake: &Wake) -> Result<Report, String> {
        self.allowed(wake, Allowance::default())
    }

    fn allowed(&mut self, wake: &Wake, allow: Allowance) -> Result<Report, String> {
        self.clock.advance(Duration::from_secs(60));
        let engine = self.engine();
        engine.pass(wake, &PassOptions { allow, ..PassOptions::default() }).map_err(|error| error.to_string())
    }

    /// A person settles a field that waits.
    fn resolve(&mut self, w: &[String]) -> Vec<String> {
        self.clock.advance(Duration::from_secs(60));
        let link = self.store().link_of(self.key(&w[1])).expect("a look-up").expect("a link").id;
        let field = Field::ALL.into_iter().find(|field| field.as_str() == w[2]).expect("a field");
        let take = match w[3].as_str() {
            "tracker" => Take::Side(Side::Tracker),
            "forge" => Take::Side(Side::Forge),
            "both" => Take::Both,
            _ => Take::Text(w[4].clone()),
        };
        let asked = Resolve { link, field, take, seen: None, reason: "as agreed".to_owned() };
        let resolved = self.engine().resolve(&asked, &PassOptions::default()).expect("an answer");
        let mut lines = vec![resolved.report.ended.as_str().to_owned()];
        lines.extend(resolved.sides.iter().map(|(side, handling)| format!("{}: {handling:?}", side.service())));
        lines.extend(resolved.report.messages.iter().map(|message| format!("! {}", self.anonymous(message))));
        lines
    }

    /// Puts back what the last pass did.
    fn undo(&mut self) -> Vec<String> {
        self.clock.advance(Duration::from_secs(60));
        let last = self.store().passes(None, 1).expect("passes")[0].id;
        let engine = self.engine();
        let plan = engine.plan_undo(&UndoTarget::Pass(last)).expect("a plan");
        let undone = engine.undo(&plan, &PassOptions::default()).expect("undone");
        let mut lines = vec![undone.report.ended.as_str().to_owned()];
        for write in plan.steps.iter().flat_map(|step| step.writes.iter()).filter_map(|(_, write)| write.as_ref()) {
            let name = self.called(&write.item);
            lines.extend(
                write
                    .fields
                    .iter()
                    .filter(|change| change.field != Field::Footer)
                    .map(|change| format!("{name} {}: {} -> {}", change.field, change.before, change.after)),
            );
        }
        let left = undone.left.iter().filter(|left| !left.already);
        lines.extend(left.map(|left| format!("left {}: {}", self.called(&left.item), self.anonymous(&left.why))));
        lines
    }

    fn key(&self, name: &str) -> &ItemKey {
        self.names.get(name).unwrap_or_else(|| panic!("{}: nobody is called {name:?}", self.name))
    }

    fn task(&self, name: &str) -> TaskGid {
        match self.key(name) {
            ItemKey::Task(gid) => gid.clone(),
            ItemKey::Issue(_) => panic!("{name} is an issue"),
        }
    }

    fn issue(&self, name: &str) -> (RepoName, u64) {
        match self.key(name) {
            ItemKey::Issue(IssueRef { repo, number }) => (repo.clone(), *number),
            ItemKey::Task(_) => panic!("{name} is a task"),
        }
    }

    /// The name of an item in the story, else its key with what differs from run to run left out.
    fn called(&self, key: &ItemKey) -> String {
        let known = self.names.iter().find(|(_, known)| *known == key);
        known.map_or_else(|| key.to_string(), |(name, _)| name.clone())
    }

    fn spoken(&self, repair: &Repair) -> Vec<String> {
        let called = |side: Side| repair.items[side].as_ref().map_or_else(|| "?".to_owned(), |key| self.called(key));
        let title = &repair.title;
        let mut lines = match &repair.action {
            Action::Create { from, .. } => {
                let what = if from.side() == Side::Tracker { "issue" } else { "task" };
                vec![format!("{what} for {} \"{title}\": {}", self.called(&from.key), repair.cause)]
            }
            Action::Join { .. } => vec![format!("pair {} with {}", called(Side::Tracker), called(Side::Forge))],
            Action::Update { .. } => Vec::new(),
            Action::Retire { gone, .. } => {
                vec![format!("retire {}: its partner is gone", called(gone.opposite()))]
            }
            Action::Note { status, .. } => {
                vec![format!("note {}: {status}: {}", called(Side::Tracker), repair.cause)]
            }
        };
        if let Action::Join { writes, waiting, .. } | Action::Update { writes, waiting, .. } = &repair.action {
            for (_, write) in writes.iter() {
                for change in write.iter().flat_map(|write| write.fields.iter().map(move |field| (write, field))) {
                    let (write, field) = change;
                    if field.field == Field::Footer {
                        continue;
                    }
                    lines.push(format!(
                        "{} {}: {} -> {} ({})",
                        self.called(&write.item),
                        field.field,
                        field.before,
                        field.after,
                        field.why
                    ));
                }
            }
            for field in waiting.keys() {
                lines.push(format!("{} {field} waits", called(Side::Tracker)));
            }
            if lines.is_empty() {
                lines.push(format!("{}: only the footer", called(Side::Forge)));
            }
        }
        lines
    }

    fn planned(&self, plan: &Plan) -> Vec<String> {
        let mut lines: Vec<String> = plan.repairs.iter().flat_map(|repair| self.spoken(repair)).collect();
        lines.extend(plan.questions.iter().map(|question| format!("asks about {}", self.called(&question.item))));
        if lines.is_empty() {
            lines.push("nothing to do".to_owned());
        }
        lines
    }

    fn said(&self, report: &Report) -> Vec<String> {
        let mut lines = vec![report.ended.as_str().to_owned()];
        lines.extend(self.planned(&report.plan));
        lines.extend(report.messages.iter().map(|message| {
            // Gids and numbers of things made in the pass are not the story's business.
            let first = message.lines().next().unwrap_or_default();
            format!("! {}", self.anonymous(first))
        }));
        lines
    }

    fn anonymous(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, key) in &self.names {
            text = text.replace(&key.to_string(), name);
        }
        text.replace(self.project.gid.as_str(), "PROJECT")
    }

    fn reason(word: Option<&String>) -> Reason {
        match word.map(String::as_str) {
            None => Reason::Completed,
            Some("not-planned") => Reason::NotPlanned,
            Some("duplicate") => Reason::Duplicate,
            Some(other) => panic!("no reason {other:?}"),
        }
    }

    fn rule(&mut self, name: &str, value: &str) {
        let policy = || match value {
            "tracker" => FieldPolicy::Tracker,
            "forge" => FieldPolicy::Forge,
            "both" => FieldPolicy::Both,
            "off" => FieldPolicy::Off,
            other => panic!("no policy {other:?}"),
        };
        match name {
            "title" => self.rules.policy.title = policy(),
            "body" => self.rules.policy.body = policy(),
            "status" => self.rules.policy.status = policy(),
            "labels" => self.rules.policy.labels = policy(),
            "assignees" => self.rules.policy.assignees = policy(),
            "due" => self.rules.policy.due = policy(),
            "include_done" => self.rules.filter.tracker.include_done = value == "yes",
            "updates_max" => self.rules.brakes.updates_max = value.parse().expect("a count"),
            "updates_percent" => self.rules.brakes.updates_percent = value.parse().expect("a percentage"),
            "retirements_max" => self.rules.brakes.retirements_max = value.parse().expect("a count"),
            "only_label" => self.rules.filter.forge.labels.push(value.to_owned()),
            "only_tag" => self.rules.filter.tracker.labels.push(value.to_owned()),
            "create" => {
                self.rules.creation = match value {
                    "both" => Creation::Both,
                    "none" => Creation::None,
                    "forge-to-tracker" => Creation::ForgeToTracker,
                    "tracker-to-forge" => Creation::TrackerToForge,
                    other => panic!("no direction {other:?}"),
                }
            }
            "on_conflict" => {
                self.rules.on_conflict = match value {
                    "tracker" => OnConflict::Tracker,
                    "forge" => OnConflict::Forge,
                    "newest" => OnConflict::Newest,
                    "ask" => OnConflict::Ask,
                    other => panic!("no way {other:?}"),
                }
            }
            other => panic!("no rule {other:?}"),
        }
    }

    fn fault(&self, words: &[String]) {
        let side = if words[1] == "tracker" { Side::Tracker } else { Side::Forge };
        let mut when = When::side(side);
        let mut times = 1;
        let mut number = 0;
        for word in &words[3..] {
            if let Some(count) = word.strip_prefix('x') {
                times = count.parse().expect("a count");
            } else if let Ok(value) = word.parse::<u64>() {
                number = value;
            } else if let Some(path) = word.strip_prefix('/') {
                when = when.path(format!("/{path}"));
            } else {
                when = when.method(match word.as_str() {
                    "GET" => Method::Get,
                    "POST" => Method::Post,
                    "PUT" => Method::Put,
                    "PATCH" => Method::Patch,
                    "DELETE" => Method::Delete,
                    other => panic!("no method {other:?}"),
                });
            }
        }
        let fault = match words[2].as_str() {
            "cut-after" => Fault::CutAfter,
            "cut-before" => Fault::CutBefore,
            "refused" => Fault::Refused,
            "busy" => Fault::Busy { limit: Limit::Secondary, status: 403, retry_after: Some(number) },
            "busy-silent" => Fault::Busy { limit: Limit::Secondary, status: 403, retry_after: None },
            "exhausted" => Fault::Busy { limit: Limit::Primary, status: 403, retry_after: None },
            "broken" => Fault::Broken { status: 503, done: false },
            "broken-after" => Fault::Broken { status: 502, done: true },
            "short" => Fault::ShortListing(usize::try_from(number).expect("a count")),
            "stale" => Fault::Stale(Duration::from_secs(number)),
            "events-expired" => Fault::EventsExpired,
            "hidden" => Fault::Hidden,
            "forbidden" => Fault::Forbidden,
            "unauthorized" => Fault::Unauthorized,
            "garbage" => Fault::Garbage,
            "html" => Fault::Html,
            "truncated" => Fault::Truncated,
            "wrong-types" => Fault::WrongTypes,
            "deep" => Fault::Deep(100_000),
            "huge" => Fault::Huge(100 << 20),
            "page-loop" => Fault::PageLoop(evenkeel::sandbox::Loop::Same),
            other => panic!("no fault {other:?}"),
        };
        self.sandbox.faults().next(times, when, fault);
    }

    /// One line of a script. Answers what a pass or plan said.
    fn act(&mut self, line: &str) -> Option<Vec<String>> {
        let (line, text) = line.split_once(" :: ").map_or((line, ""), |(line, text)| (line, text));
        let text = text.replace('|', "\n").replace('¦', "|");
        let w = words(line);
        let asana = self.sandbox.asana();
        let github = self.sandbox.github();
        self.clock.advance(Duration::from_secs(2));
        match w[0].as_str() {
            "task" => {
                let notes = if text.is_empty() { String::new() } else { html(&text) };
                let completed = w.get(3).is_some_and(|word| word == "done");
                let seed = TaskSeed { name: w[2].clone(), html_notes: notes, completed, ..TaskSeed::default() };
                let gid = asana.task(&self.project.gid, seed);
                self.names.insert(w[1].clone(), ItemKey::Task(gid));
            }
            // A task whose text has so many lines of 60 characters: more than GitHub takes.
            "long-task" => {
                let lines: u32 = w[2].parse().expect("a count");
                let text: Vec<String> = (1..=lines).map(|line| format!("{line:06} {}", "words ".repeat(9))).collect();
                let seed = TaskSeed { name: "Long".into(), html_notes: html(&text.join("\n")), ..TaskSeed::default() };
                let gid = asana.task(&self.project.gid, seed);
                self.names.insert(w[1].clone(), ItemKey::Task(gid));
            }
            "issue" => {
                let number = github.issue(&self.repo.name, IssueSeed::new(w[2].clone(), text));
                let key = ItemKey::Issue(IssueRef { repo: self.repo.name.clone(), number });
                self.names.insert(w[1].clone(), key);
            }
            "pull-request" => {
                github.pull_request(&self.repo.name, &w[1], &text);
            }
            "edit" => match (self.key(&w[1]).side(), w[2].as_str()) {
                (Side::Tracker, "title") => asana.rename(&self.task(&w[1]), &w[3]),
                (Side::Tracker, "body") => asana.write_notes(&self.task(&w[1]), &html(&w[3])),
                (Side::Forge, "title") => {
                    let (repo, number) = self.issue(&w[1]);
                    github.retitle(&repo, number, &w[3]);
                }
                (Side::Forge, "body" | "web-body") => {
                    let (repo, number) = self.issue(&w[1]);
                    // People edit above the footer and leave it where it is.
                    let raw = self.sandbox.world().issue(&repo, number).expect("an issue").body;
                    let split = evenkeel::text::split_forge(&raw);
                    let body = evenkeel::text::join_forge(&w[3], split.footer.as_deref());
                    if w[2] == "body" {
                        github.write_body(&repo, number, &body);
                    } else {
                        github.web_edit_body(&repo, number, &body);
                    }
                }
                (_, other) => panic!("no field {other:?}"),
            },
            // What somebody does in the editor: one word of the task's text for another.
            "replace" => {
                let notes = self.sandbox.world().task(&self.task(&w[1])).expect("a task").html_notes;
                assert!(notes.contains(&w[2]), "{}: {:?} is not in {notes}", self.name, w[2]);
                asana.write_notes(&self.task(&w[1]), &notes.replace(&w[2], &w[3]));
            }
            "complete" => match self.key(&w[1]).side() {
                Side::Tracker => asana.complete(&self.task(&w[1])),
                Side::Forge => {
                    let (repo, number) = self.issue(&w[1]);
                    github.close(&repo, number, Self::reason(w.get(2)));
                }
            },
            "reopen" => match self.key(&w[1]).side() {
                Side::Tracker => asana.reopen(&self.task(&w[1])),
                Side::Forge => {
                    let (repo, number) = self.issue(&w[1]);
                    github.reopen(&repo, number);
                }
            },
            "delete" => match self.key(&w[1]).side() {
                Side::Tracker => asana.delete(&self.task(&w[1])),
                Side::Forge => {
                    let (repo, number) = self.issue(&w[1]);
                    github.delete(&repo, number);
                }
            },
            "restore" => asana.restore(&self.task(&w[1])),
            "leave" => asana.leave(&self.task(&w[1]), &self.project.gid),
            "return" => asana.join(&self.task(&w[1]), &self.project.gid),
            "remark" => {
                asana.comment(&self.task(&w[1]), &html(&w[2]));
            }
            "tag" => asana.add_tag(&self.task(&w[1]), &w[2]),
            "untag" => asana.remove_tag(&self.task(&w[1]), &w[2]),
            "label" => {
                let (repo, number) = self.issue(&w[1]);
                github.add_label(&repo, number, &w[2]);
            }
            "unlabel" => {
                let (repo, number) = self.issue(&w[1]);
                github.remove_label(&repo, number, &w[2]);
            }
            "person" => {
                let gid = asana.user(&w[1], &format!("{}@example.com", w[1]));
                github.user(&w[2]);
                github.permit(&self.repo.name, &w[2], evenkeel::sandbox::Permission::Write);
                self.people.push(Person {
                    name: w[1].clone(),
                    account: BySide { tracker: Some(gid), forge: Some(w[2].clone()) },
                    mention: false,
                });
            }
            "stranger" => {
                github.user(&w[1]);
                github.permit(&self.repo.name, &w[1], evenkeel::sandbox::Permission::Write);
            }
            "assign" => match self.key(&w[1]).side() {
                Side::Tracker => {
                    let person = self.people.iter().find(|person| w.get(2) == Some(&person.name));
                    // A name that is nobody's of the people is somebody whom the configuration does not know.
                    let stranger = || w.get(2).map(|_| asana.person());
                    let gid = person.and_then(|person| person.account.tracker.clone()).or_else(stranger);
                    asana.assign(&self.task(&w[1]), gid.as_deref());
                }
                Side::Forge => {
                    let (repo, number) = self.issue(&w[1]);
                    let logins: Vec<&str> = w[2..].iter().map(String::as_str).collect();
                    github.assign(&repo, number, &logins);
                }
            },
            "due" => asana.due(&self.task(&w[1]), Some(w[2].parse().expect("a date"))),
            "transfer" => {
                let to =
                    self.elsewhere.get_or_insert_with(|| github.repository(&"acme/elsewhere".parse().expect("a name")));
                let to = to.name.clone();
                let (repo, number) = self.issue(&w[1]);
                github.transfer(&repo, number, &to);
            }
            "rename-repo" => {
                github.rename_repository(&self.repo.name, &w[1]);
            }
            "copy" => {
                let (repo, number) = self.issue(&w[1]);
                let original = self.sandbox.world().issue(&repo, number).expect("an issue");
                let copy = github.issue(&repo, IssueSeed::new(original.title, original.body));
                self.names.insert(w[2].clone(), ItemKey::Issue(IssueRef { repo, number: copy }));
            }
            "fault" => self.fault(&w),
            "clear-faults" => self.sandbox.faults().clear(),
            "revoke" => match w[1].as_str() {
                "tracker" => asana.revoke(&self.project.token),
                _ => github.revoke(&self.repo.token),
            },
            "unrevoke" => match w[1].as_str() {
                "tracker" => asana.restore_token(&self.project.token),
                _ => github.restore_token(&self.repo.token),
            },
            "wait" => {
                let (number, unit) = w[1].split_at(w[1].len() - 1);
                let unit = match unit {
                    "s" => 1,
                    "m" => 60,
                    "h" => 3_600,
                    other => panic!("no unit {other:?}"),
                };
                self.clock.advance(Duration::from_secs(number.parse::<u64>().expect("a number") * unit));
            }
            "rule" => self.rule(&w[1], &w[2]),
            "forget-database" => {
                self.store = None;
                for ending in ["", "-wal", "-shm"] {
                    let path = format!("{}{ending}", self.database().display());
                    let _ = std::fs::remove_file(path);
                }
            }
            "keep-database" => {
                self.store = None;
                std::fs::copy(self.database(), self.folder.path().join("kept.db")).expect("copied");
            }
            "restore-database" => {
                self.act("forget-database");
                std::fs::copy(self.folder.path().join("kept.db"), self.database()).expect("copied");
            }
            "forget-events" => asana.forget_sync_tokens(),
            "partner" => {
                let link = self.store().link_of(self.key(&w[1])).expect("a look-up").expect("a link");
                let key = link.key(self.key(&w[1]).side().opposite());
                self.names.insert(w[2].clone(), key);
            }
            "shows" => self.shows(&w),
            "count" => {
                let found = match w[1].as_str() {
                    "issues" => {
                        let issues = self.sandbox.world().issues(&self.repo.name);
                        issues.iter().filter(|issue| !issue.pull_request).count()
                    }
                    "tasks" => self.sandbox.world().tasks(&self.project.gid).len(),
                    "parked" => self.store().parked(None).expect("parked").len(),
                    other => panic!("cannot count {other:?}"),
                };
                assert_eq!(found.to_string(), w[2], "{}: {line}", self.name);
            }
            "unpark" => {
                let parked = self.store().parked(None).expect("parked");
                for due in parked {
                    self.store().unpark(due.id, self.clock.now()).expect("unparked");
                }
            }
            "plan" => {
                self.clock.advance(Duration::from_secs(60));
                let plan = self.engine().plan(&Wake::Poll { belt: false });
                return Some(match plan {
                    Ok(plan) => self.planned(&plan),
                    Err(error) => vec![format!("! {}", self.anonymous(&error.to_string()))],
                });
            }
            "resolve" => return Some(self.resolve(&w)),
            "undo" => return Some(self.undo()),
            "pass" => {
                let mut w = w.clone();
                let mut allow = Allowance::default();
                if let Some(at) = w.iter().position(|word| word == "allow") {
                    let count: u64 = w[at + 1].parse().expect("a count");
                    (allow.updates, allow.retirements) = (Some(count), Some(count));
                    w.truncate(at);
                }
                let wake = match w.get(1).map(String::as_str) {
                    None => Wake::Poll { belt: false },
                    Some("belt") => Wake::Poll { belt: true },
                    Some("sweep") => Wake::Sweep,
                    Some("retry") => Wake::Retry,
                    Some("visit") => Wake::Visit(w[2..].iter().map(|name| self.key(name).clone()).collect()),
                    Some(other) => panic!("no pass {other:?}"),
                };
                return Some(match self.allowed(&wake, allow) {
                    Ok(report) => self.said(&report),
                    Err(error) => vec![format!("! {}", self.anonymous(&error))],
                });
            }
            other => panic!("{}: no such line: {other:?} in {line:?}", self.name),
        }
        None
    }

    fn shows(&self, w: &[String]) {
        let world = self.sandbox.world();
        let found = match self.key(&w[1]) {
            ItemKey::Task(gid) => {
                let task = world.task(gid).expect("a task");
                match w[2].as_str() {
                    "title" => task.name,
                    "body" => {
                        let split = evenkeel::text::split_tracker(&task.html_notes, &People::new(self.people.clone()));
                        split.body
                    }
                    "html" => task.html_notes,
                    "status" => if task.completed { "done" } else { "open" }.to_owned(),
                    "tags" => {
                        let mut tags = task.tags;
                        tags.sort();
                        tags.join(",")
                    }
                    "assignee" => {
                        let person = self.people.iter().find(|person| person.account.tracker == task.assignee);
                        person.map_or_else(
                            || task.assignee.clone().unwrap_or_else(|| "nobody".into()),
                            |p| p.name.clone(),
                        )
                    }
                    "comments" => task.comments.len().to_string(),
                    other => panic!("no field {other:?}"),
                }
            }
            ItemKey::Issue(IssueRef { repo, number }) => {
                let issue = world.issue(repo, *number).expect("an issue");
                let body = issue.body;
                match w[2].as_str() {
                    "title" => issue.title,
                    "body" => evenkeel::text::split_forge(&body).body,
                    "raw" => body,
                    "footer" => evenkeel::text::split_forge(&body).footer.unwrap_or_default(),
                    "status" => match (issue.closed, issue.reason) {
                        (false, _) => "open",
                        (true, Some(Reason::NotPlanned | Reason::Duplicate)) => "dropped",
                        (true, _) => "done",
                    }
                    .to_owned(),
                    "labels" => {
                        let mut labels = issue.labels;
                        labels.sort();
                        labels.join(",")
                    }
                    "assignees" => {
                        let mut logins = issue.assignees;
                        logins.sort();
                        logins.join(",")
                    }
                    other => panic!("no field {other:?}"),
                }
            }
        };
        match w[3].strip_prefix("~") {
            Some(part) => assert!(found.contains(part), "{}: {w:?}, found {found:?}", self.name),
            None => assert_eq!(found, w[3], "{}: {w:?}", self.name),
        }
    }

    /// The laws that close every story.
    fn closes(&mut self, unsettled: bool) {
        self.sandbox.faults().clear();
        for wake in [Wake::Poll { belt: false }, Wake::Sweep, Wake::Poll { belt: false }] {
            let report = self.pass(&wake).unwrap_or_else(|error| panic!("{}: closing {wake:?}: {error}", self.name));
            assert!(report.plan.is_empty(), "{}: {wake:?} plans {:#?}", self.name, report.plan.repairs);
            if !unsettled {
                assert_eq!(report.ended, Ended::Settled, "{}: {wake:?}: {report:#?}", self.name);
            }
        }
        let store = self.store();
        assert!(
            store.intents(&"app".parse().expect("a name")).expect("intents").is_empty(),
            "{}: an open intent",
            self.name
        );
        let verified = store.verify_history().expect("a history");
        assert!(matches!(verified, Verified::Whole { .. }), "{}: {verified:?}", self.name);
        // Nobody has two partners: every living marker names another task.
        let mut named = BTreeMap::new();
        for issue in self.sandbox.world().issues(&self.repo.name) {
            let body = issue.body;
            if let Some(marker) = evenkeel::text::split_forge(&body).marker {
                let before = named.insert(marker.partner.clone(), issue.number);
                let copied = self.names.keys().any(|name| name.starts_with("COPY"));
                assert!(before.is_none() || copied, "{}: {} has two issues", self.name, marker.partner);
            }
        }
    }
}

/// Runs one script; answers it with what the passes said.
fn tell(path: &Path) -> (String, String) {
    let script = std::fs::read_to_string(path).expect("a script");
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let mut story = Story::new(&name);
    let mut told = String::new();
    let mut unsettled = false;
    for line in script.lines() {
        if line.starts_with("=>") {
            continue;
        }
        writeln!(told, "{line}").expect("written to a string");
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "ends unsettled" {
            unsettled = true;
            continue;
        }
        for said in story.act(line).unwrap_or_default() {
            writeln!(told, "=> {}", said.replace('\n', "|")).expect("written to a string");
        }
    }
    story.closes(unsettled);
    (script, told)
}

#[test]
fn every_scenario_goes_as_it_is_written_and_ends_with_nothing_to_do() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&folder).expect("scenarios").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(paths.len() >= 20, "the scenarios are missing");
    let only = std::env::var("SCENARIO").ok();
    let mut wrong = Vec::new();
    for path in paths {
        if only.as_ref().is_some_and(|only| !path.display().to_string().contains(only.as_str())) {
            continue;
        }
        let outcome = std::panic::catch_unwind(|| tell(&path));
        match outcome {
            Ok((script, told)) if script == told => {}
            Ok((_, told)) if std::env::var_os("UPDATE_GOLDEN").is_some() => {
                std::fs::write(&path, told).expect("written");
            }
            Ok((script, told)) => wrong.push(format!("{}:\n{}", path.display(), difference(&script, &told))),
            Err(panic) => {
                let said = panic.downcast_ref::<String>().cloned();
                let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                wrong.push(format!("{}: {}", path.display(), said.unwrap_or_default()));
            }
        }
    }
    assert!(wrong.is_empty(), "{} scenarios went otherwise:\n{}", wrong.len(), wrong.join("\n"));
}

fn difference(script: &str, told: &str) -> String {
    let diff = similar::TextDiff::from_lines(script, told);
    diff.unified_diff().header("written", "told").to_string()
}
