//! Broken and hostile answers to every kind of call, and databases that fail under a pass, through the real engine.
//!
//! Whatever is answered: never a panic, a duplicate, a closing or a deletion, and nobody's words are wiped. A pass
//! ends with a message or a parked item; once the answers are right again the passes settle on what people wrote.

#![allow(clippy::panic, reason = "a test ends by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel::engine::{Ended, Report, Wake};
use evenkeel::model::{Creation, FieldPolicy, ItemKey, Side, TaskGid};
use evenkeel::provider::http::{Method, Request, Response, Transport, TransportError};
use serde_json::{Value, json};
use support::rig::Rig;

/// One kind of call of the clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    Events,
    TaskList,
    Task,
    MakeTask,
    ChangeTask,
    Comment,
    Repository,
    IssueList,
    Issue,
    MakeIssue,
    ChangeIssue,
}

impl Call {
    const ALL: [Self; 11] = [
        Self::Events,
        Self::TaskList,
        Self::Task,
        Self::MakeTask,
        Self::ChangeTask,
        Self::Comment,
        Self::Repository,
        Self::IssueList,
        Self::Issue,
        Self::MakeIssue,
        Self::ChangeIssue,
    ];

    /// Which call a request is.
    fn of(request: &Request) -> Option<Self> {
        let path = request.url.split_once(".sandbox").map_or(request.url.as_str(), |(_, path)| path);
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        let words: Vec<&str> = path.trim_start_matches("/api/1.0").split('/').skip(1).collect();
        match (request.method, words.as_slice()) {
            (Method::Get, ["events"]) => Some(Self::Events),
            (Method::Get, ["tasks"]) => Some(Self::TaskList),
            (Method::Get, ["tasks", _]) => Some(Self::Task),
            (Method::Post, ["tasks"]) => Some(Self::MakeTask),
            (Method::Put, ["tasks", _]) => Some(Self::ChangeTask),
            (Method::Post, ["tasks", _, "stories"]) => Some(Self::Comment),
            (Method::Get, ["repos", _, _]) => Some(Self::Repository),
            (Method::Get, ["repos", _, _, "issues"]) => Some(Self::IssueList),
            (Method::Get, ["repos", _, _, "issues", _]) => Some(Self::Issue),
            (Method::Post, ["repos", _, _, "issues"]) => Some(Self::MakeIssue),
            (Method::Patch, ["repos", _, _, "issues", _]) => Some(Self::ChangeIssue),
            _ => None,
        }
    }

    const fn side(self) -> Side {
        match self {
            Self::Events | Self::TaskList | Self::Task | Self::MakeTask | Self::ChangeTask | Self::Comment => {
                Side::Tracker
            }
            Self::Repository | Self::IssueList | Self::Issue | Self::MakeIssue | Self::ChangeIssue => Side::Forge,
        }
    }

    /// Whether its answer shows items.
    const fn shows_items(self) -> bool {
        !matches!(self, Self::Events | Self::Comment | Self::Repository)
    }
}

type Bend = Arc<dyn Fn(Response) -> Result<Response, TransportError> + Send + Sync>;

/// A transport that bends the answers to one kind of call, after they took effect.
struct Bent {
    inner: Arc<dyn Transport>,
    rule: Mutex<Option<(Call, Bend)>>,
    on: AtomicBool,
    hits: AtomicU64,
}

impl Bent {
    fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }
}

impl Transport for Bent {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        let response = self.inner.send(request, deadline)?;
        let rule = self.rule.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match rule {
            Some((call, bend)) if self.on.load(Ordering::Relaxed) && Call::of(request) == Some(call) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                bend(response)
            }
            _ => Ok(response),
        }
    }
}

/// Three pairs in step, then drift on both sides, and a new item on each: every kind of call has its reason.
struct Story {
    rig: Rig,
    bent: Arc<Bent>,
    a: TaskGid,
    b: u64,
}

/// Every item says so in its text, and keeps saying so whatever happens.
const WORDS: &str = "words that somebody wrote";
/// The label that A carries on both sides.
const LABEL: &str = "ui";

impl Story {
    fn begin() -> Self {
        let mut rig = Rig::in_memory();
        rig.rules.creation = Creation::Both;
        rig.rules.policy.labels = FieldPolicy::Both;
        let bent = Arc::new(Bent {
            inner: rig.transport.clone(),
            rule: Mutex::new(None),
            on: AtomicBool::new(false),
            hits: AtomicU64::new(0),
        });
        rig.transport = bent.clone();
        let a = rig.task("A", WORDS);
        rig.sandbox.asana().add_tag(&a, LABEL);
        let b = rig.issue("B", WORDS);
        rig.task("C", WORDS);
        let report = rig.pass(&Wake::Poll { belt: false }).expect("a pass");
        assert_eq!((report.ended, report.counts.created), (Ended::Settled, 3), "{:?}", report.messages);
        rig.clock.advance(Duration::from_secs(3_600));
        for _ in 0..2 {
            rig.pass(&Wake::Poll { belt: false }).expect("a pass");
        }
        rig.clock.advance(Duration::from_secs(60));
        rig.sandbox.asana().rename(&a, "A, renamed");
        rig.sandbox.github().retitle(&rig.repo.name, b, "B, renamed");
        rig.task("D", WORDS);
        rig.issue("E", WORDS);
        Self { rig, bent, a, b }
    }

    /// Passes of every kind while the answers are bad.
    fn suffer(&self, what: &str) -> Vec<Report> {
        let issue = self.rig.issue_key(self.b);
        let named = vec![ItemKey::Task(self.a.clone()), issue];
        let wakes = [Wake::Poll { belt: false }, Wake::Visit(named), Wake::Sweep, Wake::Poll { belt: true }];
        let mut reports = Vec::new();
        for wake in wakes {
            let report = self.rig.pass(&wake).unwrap_or_else(|error| panic!("{what}: {wake:?}: {error}"));
            for message in &report.messages {
                assert!(message.len() < 2_000 && !message.contains("fault in Evenkeel"), "{what}: {message}");
                assert!(!message.contains(&self.rig.project.token), "{what}: a token in {message}");
            }
            self.unharmed(&format!("{what}, {wake:?}"));
            reports.push(report);
        }
        reports
    }

    /// Nothing was closed, deleted, doubled or wiped.
    fn unharmed(&self, what: &str) {
        let tasks = self.rig.sandbox.world().tasks(&self.rig.project.gid);
        let issues = self.rig.sandbox.world().issues(&self.rig.repo.name);
        assert!((4..=5).contains(&tasks.len()), "{what}: {} tasks", tasks.len());
        assert!((4..=5).contains(&issues.len()), "{what}: {} issues", issues.len());
        for task in &tasks {
            assert!(!task.completed, "{what}: {} was completed", task.name);
            assert!(task.html_notes.contains(WORDS), "{what}: {} was wiped: {}", task.name, task.html_notes);
            assert!(!task.name.is_empty() && task.name != "(no title)", "{what}: a task lost its name");
        }
        for issue in &issues {
            assert!(!issue.closed, "{what}: {} was closed", issue.title);
            assert!(issue.body.contains(WORDS), "{what}: {} was wiped: {}", issue.title, issue.body);
            assert!(!issue.title.is_empty() && issue.title != "(no title)", "{what}: an issue lost its title");
        }
        let labelled = issues.iter().filter(|issue| issue.labels.iter().any(|label| label == LABEL)).count();
        let tagged = tasks.iter().filter(|task| task.tags.iter().any(|tag| tag == LABEL)).count();
        assert_eq!((tagged, labelled), (1, 1), "{what}: the label");
        self.rig.holds(what);
    }

    /// With good answers again: five of each, in pairs, saying what people wrote.
    fn recovers(&self, what: &str) {
        self.bent.on.store(false, Ordering::Relaxed);
        self.rig.settles(what);
        self.unharmed(what);
        let mut names: Vec<String> =
            self.rig.sandbox.world().tasks(&self.rig.project.gid).into_iter().map(|task| task.name).collect();
        let mut titles: Vec<String> =
            self.rig.sandbox.world().issues(&self.rig.repo.name).into_iter().map(|issue| issue.title).collect();
        names.sort();
        titles.sort();
        assert_eq!(names, ["A, renamed", "B, renamed", "C", "D", "E"], "{what}");
        assert_eq!(titles, names, "{what}");
    }

    fn bend(&self, call: Call, bend: Bend) {
        *self.bent.rule.lock().unwrap_or_else(PoisonError::into_inner) = Some((call, bend));
        self.bent.on.store(true, Ordering::Relaxed);
    }
}

/// A new body in place of what was answered.
fn body(bytes: impl Into<Vec<u8>>) -> Bend {
    let bytes = bytes.into();
    Arc::new(move |response| Ok(Response { body: bytes.clone(), ..response }))
}

/// Another JSON document.
fn json_bend(bend: impl Fn(&mut Value) + Send + Sync + 'static) -> Bend {
    Arc::new(move |mut response| {
        if let Ok(mut document) = serde_json::from_slice::<Value>(&response.body) {
            bend(&mut document);
            response.body = document.to_string().into_bytes();
        }
        Ok(response)
    })
}

/// Every item that an answer of either service shows, bent.
fn items_bend(bend: impl Fn(&mut Value) + Send + Sync + 'static) -> Bend {
    json_bend(move |document| {
        let inner = match document {
            Value::Object(fields) if fields.contains_key("data") => &mut document["data"],
            _ => document,
        };
        match inner {
            Value::Array(items) => items.iter_mut().for_each(&bend),
            item => bend(item),
        }
    })
}

/// One field of every item takes this value, where it has the field.
fn field(name: &'static str, value: Value) -> Bend {
    items_bend(move |item| {
        if let Some(field) = item.get_mut(name) {
            *field = value.clone();
        }
    })
}

/// One field of every item is not there.
fn without(name: &'static str) -> Bend {
    items_bend(move |item| {
        if let Value::Object(fields) = item {
            fields.remove(name);
        }
    })
}

/// Plays one case; answers what it came to, for a message.
fn play(what: &str, prepare: impl FnOnce(&Story), must_say: bool) {
    let story = Story::begin();
    prepare(&story);
    let reports = story.suffer(what);
    let hits = story.bent.hits() + story.rig.sandbox.faults().hits();
    assert!(hits > 0, "{what}: it never happened");
    if must_say {
        let said = reports.iter().any(|report| report.ended != Ended::Settled && !report.messages.is_empty());
        assert!(said, "{what}: nobody was told");
    }
    story.recovers(what);
}

/// Plays many cases on both cores; names all that went wrong.
fn play_all(cases: Vec<(String, Box<dyn FnOnce(&Story) + Send>, bool)>) {
    let count = cases.len();
    let cases = Mutex::new(cases);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = cases.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some((what, prepare, must_say)) = next else { return };
                    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                        play(&what, prepare, must_say);
                    }));
                    if let Err(panic) = outcome {
                        let said = panic.downcast_ref::<String>().cloned();
                        let said = said.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
                        wrong.lock().unwrap_or_else(PoisonError::into_inner).push(said.unwrap_or(what));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert!(wrong.is_empty(), "{} of {count} went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn an_answer_that_is_no_json_harms_nothing_whatever_the_call() {
    let broken: [(&str, Bend); 12] = [
        ("html", body("<!DOCTYPE html><html><body>Please sign in</body></html>")),
        ("bytes that are no text", body(vec![0xff_u8, 0xfe, 0x80, 0x81])),
        ("nothing", body("")),
        ("null", body("null")),
        ("a number", body("-1e999")),
        ("a list of nothing", body("[null,null]")),
        ("an empty object", body("{}")),
        ("data that is a number", body(r#"{"data":7}"#)),
        ("deep nesting", body("[".repeat(100_000))),
        ("deep nesting in a field", body(format!(r#"{{"data":{}{}}}"#, "[".repeat(5_000), "]".repeat(5_000)))),
        (
            "half of it",
            Arc::new(|mut response: Response| {
                response.body.truncate(response.body.len() / 2);
                Ok(response)
            }),
        ),
        ("more than is taken", Arc::new(|_| Err(TransportError::TooLarge(32 << 20)))),
    ];
    let mut cases: Vec<(String, Box<dyn FnOnce(&Story) + Send>, bool)> = Vec::new();
    for call in Call::ALL {
        for (name, bend) in &broken {
            let bend = bend.clone();
            // Of a comment nothing is needed but that it was taken.
            let must_say = call != Call::Comment;
            cases.push((format!("{name} for {call:?}"), Box::new(move |story| story.bend(call, bend)), must_say));
        }
    }
    play_all(cases);
}

#[test]
fn items_with_fields_missing_null_or_absurd_harm_nothing_whatever_the_call() {
    let needed = |side: Side| match side {
        Side::Tracker => ["gid", "name", "html_notes", "completed", "created_at", "modified_at", "tags"].as_slice(),
        Side::Forge => ["number", "id", "title", "body", "state", "created_at", "updated_at", "labels"].as_slice(),
    };
    let mut cases: Vec<(String, Box<dyn FnOnce(&Story) + Send>, bool)> = Vec::new();
    for call in Call::ALL.into_iter().filter(|call| call.shows_items()) {
        for name in needed(call.side()) {
            let bend = without(name);
            cases.push((format!("{call:?} without {name}"), Box::new(move |story| story.bend(call, bend)), true));
            // GitHub shows an empty body as null.
            if *name != "body" {
                let bend = field(name, Value::Null);
                cases.push((format!("{call:?} with {name} null"), Box::new(move |story| story.bend(call, bend)), true));
            }
        }
        let (id, title, labels) = match call.side() {
            Side::Tracker => ("gid", "name", "tags"),
            Side::Forge => ("number", "title", "labels"),
        };
        let many: Vec<Value> =
            (0..1_500).map(|number| json!({"gid": number.to_string(), "name": format!("label {number}")})).collect();
        let absurd = [
            (id, json!("12ab")),
            (id, json!(-5)),
            (id, json!(1e30)),
            (id, json!("9".repeat(5_000))),
            (id, json!("../../users/me")),
            ("created_at", json!("99999-01-01T00:00:00Z")),
            ("created_at", json!(-1)),
            ("modified_at", json!("+99999-12-31T23:59:59Z")),
            ("updated_at", json!("9999-12-30T22:00:00Z")),
            ("updated_at", json!("-9999-01-02T00:00:00Z")),
            ("modified_at", json!("9999-12-30T22:00:00Z")),
            (title, json!(["x"])),
            (labels, json!(many)),
            (labels, json!({"0": null})),
            ("html_notes", json!("<body>".repeat(50_000))),
            ("html_notes", json!(17)),
        ];
        for (name, value) in absurd {
            let what: String = value.to_string().chars().take(40).collect();
            let bend = field(name, value);
            let applies = needed(call.side()).contains(&name);
            // Of a time that can be, nobody can say that it is wrong; nested text reads as text.
            if applies && !(name == "html_notes" && what.contains("body")) {
                cases.push((
                    format!("{call:?} with {name} {what}"),
                    Box::new(move |story| story.bend(call, bend)),
                    false,
                ));
            }
        }
    }
    play_all(cases);
}
