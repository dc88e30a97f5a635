//! Broken and hostile answers to every kind of call, and databases that fail under a pass, through the real engine.
//!
//! Whatever is answered: never a panic, a duplicate, a closing or a deletion, and nobody's words are wiped. A pass
//! ends with a message or a parked item; once the answers are right again the passes settle on what people wrote.

#![allow(clippy::panic, reason = "a test ends by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use evenkeel::config::DatabaseUrl;
use evenkeel::engine::{Ended, EngineError, Report, Wake};
use evenkeel::model::{Creation, FieldPolicy, ItemKey, Side, TaskGid};
use evenkeel::provider::http::{Method, Request, Response, Transport, TransportError, UreqTransport};
use evenkeel::sandbox::{Fault, Loop, When};
use evenkeel::store::{Store, StoreError};
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

/// What is tried, what is switched on for it, and whether somebody must be told of it.
type Case = (String, Box<dyn FnOnce(&Story) + Send>, bool);

/// Plays one case.
fn play(what: &str, prepare: impl FnOnce(&Story), must_say: bool) {
    let story = Story::begin();
    prepare(&story);
    let reports = story.suffer(what);
    // A fault of the sandbox's own counts there.
    let hits = story.bent.hits() + story.rig.sandbox.faults().hits();
    assert!(hits > 0, "{what}: it never happened");
    if must_say {
        let said = reports.iter().any(|report| report.ended != Ended::Settled && !report.messages.is_empty());
        assert!(said, "{what}: nobody was told");
    }
    story.recovers(what);
}

/// Plays many cases on both cores; names all that went wrong.
fn play_all(cases: Vec<Case>) {
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
    let mut cases: Vec<Case> = Vec::new();
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
    let mut cases: Vec<Case> = Vec::new();
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

fn header(name: &'static str, value: impl Into<String>) -> Bend {
    let value = value.into();
    Arc::new(move |mut response| {
        response.headers.retain(|(known, _)| known != name);
        response.headers.push((name.to_owned(), value.clone()));
        Ok(response)
    })
}

#[test]
fn odd_statuses_headers_and_listings_without_end_harm_nothing() {
    let mut cases: Vec<Case> = Vec::new();
    let mut case = |what: String, must_say: bool, prepare: Box<dyn FnOnce(&Story) + Send>| {
        cases.push((what, prepare, must_say));
    };
    for call in Call::ALL {
        for status in [100, 204, 302, 304, 418, 799] {
            let bend: Bend = Arc::new(move |response| Ok(Response { status, body: Vec::new(), ..response }));
            case(format!("status {status} for {call:?}"), false, Box::new(move |story| story.bend(call, bend)));
        }
        let headers = [
            ("date", "the day before yesterday".to_owned()),
            ("date", "Fri, 31 Dec 9999 23:59:59 GMT".to_owned()),
            ("retry-after", "1e308".to_owned()),
            ("x-ratelimit-reset", i64::MAX.to_string()),
            ("etag", "\"".repeat(60_000)),
            ("location", "https://elsewhere.example/".to_owned()),
            ("link", "<https://elsewhere.example/repos/acme/app/issues?page=2>; rel=\"next\"".to_owned()),
            ("link", "<".repeat(60_000)),
        ];
        for (name, value) in headers {
            let what = format!("{name} {} for {call:?}", value.chars().take(40).collect::<String>());
            let bend = header(name, value);
            case(what, false, Box::new(move |story| story.bend(call, bend)));
        }
    }
    let loops = [
        (Call::Events, json_bend(|document| document["sync"] = json!(17))),
        (Call::Events, json_bend(|document| document["sync"] = Value::Null)),
        (Call::Events, json_bend(|document| document["data"] = json!({"0": null}))),
        (Call::TaskList, json_bend(|document| document["next_page"] = json!({"offset": "again"}))),
        (Call::TaskList, json_bend(|document| document["next_page"] = json!({"offset": 7}))),
        (Call::TaskList, json_bend(|document| document["next_page"] = json!([]))),
    ];
    // Events without end: too many to follow, a sweep is cheaper.
    let endless = json_bend(|document| document["has_more"] = json!(true));
    case("endless events".to_owned(), false, Box::new(move |story| story.bend(Call::Events, endless)));
    for (number, (call, bend)) in loops.into_iter().enumerate() {
        case(format!("loop {number} of {call:?}"), true, Box::new(move |story| story.bend(call, bend)));
    }
    for side in Side::BOTH {
        let list = if side == Side::Tracker { "/tasks?" } else { "/issues?" };
        let listed = move || When::side(side).method(Method::Get).path(list);
        let faults = [
            ("the same page again", Fault::PageLoop(Loop::Same), 1.0, true),
            ("40 MB", Fault::Huge(40 << 20), 1.0, true),
            ("two items short", Fault::ShortListing(2), 1.0, false),
            ("every item short", Fault::ShortListing(100), 1.0, false),
            ("other types", Fault::WrongTypes, 0.7, false),
            ("a stale copy", Fault::Stale(Duration::from_secs(7_200)), 0.7, false),
        ];
        for (name, fault, chance, must_say) in faults {
            case(
                format!("{name} from {side}"),
                must_say,
                Box::new(move |story| story.rig.sandbox.faults().chance(chance, listed(), fault)),
            );
        }
        case(
            format!("other types in everything from {side}"),
            false,
            Box::new(move |story| story.rig.sandbox.faults().chance(0.5, When::side(side), Fault::WrongTypes)),
        );
    }
    play_all(cases);
}

#[test]
fn a_listing_with_ever_new_pages_comes_to_an_end() {
    for side in Side::BOTH {
        let list = if side == Side::Tracker { "/tasks?" } else { "/issues?" };
        let story = Story::begin();
        let when = When::side(side).method(Method::Get).path(list);
        story.rig.sandbox.faults().chance(1.0, when, Fault::PageLoop(Loop::Fresh));
        let report = story.rig.pass(&Wake::Sweep).expect("a pass");
        assert_eq!(report.ended, Ended::Failed, "{side}: {:?}", report.messages);
        assert!(report.messages[0].contains("more than 10000 pages"), "{side}: {:?}", report.messages);
        assert!(report.requests[side].sent <= 10_010, "{side}: {:?}", report.requests);
        story.unharmed("ever new pages");
        story.recovers("ever new pages");
    }
}

#[test]
fn a_gzip_bomb_over_http_is_a_failed_pass_that_says_so() {
    let mut story = Story::begin();
    let served = story.rig.sandbox.serve().expect("loopback can be served");
    let network = support::network(served.base_urls.clone());
    story.rig.transport = Arc::new(UreqTransport::new(&network).expect("a transport"));
    story.rig.base_urls = served.base_urls.clone();
    for (side, call) in [(Side::Tracker, "/events"), (Side::Forge, "/issues?"), (Side::Tracker, "/tasks?")] {
        // A thousand times what is on the wire.
        story.rig.sandbox.faults().next(1, When::side(side).path(call), Fault::GzipBomb(48 << 20));
        let report = story.rig.pass(&Wake::Sweep).expect("a pass");
        assert_eq!(report.ended, Ended::Failed, "{call}: {:?}", report.messages);
        assert!(report.messages[0].contains("larger than 33554432 bytes"), "{call}: {:?}", report.messages);
        story.unharmed(call);
    }
    story.recovers("the bombs");
}

#[test]
fn an_empty_project_or_repository_is_held_by_a_brake() {
    for side in Side::BOTH {
        let story = Story::begin();
        let list = if side == Side::Tracker { "/tasks?" } else { "/issues?" };
        let when = When::side(side).method(Method::Get).path(list);
        story.rig.sandbox.faults().chance(1.0, when, Fault::ShortListing(100));
        let report = story.rig.pass(&Wake::Sweep).expect("a pass");
        assert_eq!(report.ended, Ended::Refused, "{side}: {:?}", report.messages);
        assert!(report.messages[0].contains("showed no item at all, although 3 are linked"), "{:?}", report.messages);
        assert_eq!((report.requests.tracker.writes, report.requests.forge.writes), (0, 0));
        story.recovers("an empty side");
    }
}

#[test]
fn absurd_words_that_can_be_believed_are_put_right_by_the_next_answer() {
    let huge = "x".repeat(1 << 20);
    let words = [
        (Call::Task, "name", json!(huge)),
        (Call::TaskList, "name", json!(huge)),
        (Call::Task, "html_notes", json!(format!("<body>{WORDS} {huge}</body>"))),
        (Call::Task, "html_notes", json!(format!("{WORDS}{}", "<ul><li>".repeat(20_000)))),
        (Call::Task, "html_notes", json!(format!("<body>{WORDS} &#x110000; &bogus; <a href=\"javascript:x\">y</a>"))),
        (Call::Issue, "title", json!(huge)),
        (Call::IssueList, "title", json!(huge)),
        (Call::Issue, "body", json!(format!("{WORDS}\n{}", "> ".repeat(20_000)))),
        (Call::IssueList, "body", json!(format!("{WORDS}\n{huge}"))),
        (Call::IssueList, "body", json!(format!("{WORDS}\n{}", "[".repeat(20_000)))),
        (Call::IssueList, "updated_at", json!("9999-12-30T22:00:00Z")),
        (Call::TaskList, "modified_at", json!("9999-12-30T22:00:00Z")),
        (Call::IssueList, "updated_at", json!("-9999-01-02T01:59:59Z")),
        (Call::IssueList, "created_at", json!("-9999-01-02T01:59:59Z")),
    ];
    let mut cases: Vec<Case> = Vec::new();
    for (call, name, value) in words {
        let what: String = value.to_string().chars().take(60).collect();
        let bend = field(name, value);
        cases.push((format!("{call:?} with {name} {what}"), Box::new(move |story| story.bend(call, bend)), false));
    }
    play_all(cases);
}

/// Something to be done once, at the moment it is asked for.
type Deed = Arc<Mutex<Option<Box<dyn FnMut() + Send>>>>;

/// A database that fails while a pass is at work on it.
struct Failing {
    rig: Rig,
    requests: Deed,
}

/// Does something to the database just before the first write leaves.
struct Before {
    inner: Arc<dyn Transport>,
    act: Deed,
}

impl Transport for Before {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        if request.method.writes()
            && let Some(mut act) = self.act.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            act();
        }
        self.inner.send(request, deadline)
    }
}

impl Failing {
    /// Two pairs in step and two new tasks: a pass that has something to write down.
    fn begin() -> Self {
        let mut rig = Rig::new();
        rig.task("A", WORDS);
        rig.task("B", WORDS);
        let report = rig.pass(&Wake::Poll { belt: false }).expect("a pass");
        assert_eq!((report.ended, report.counts.created), (Ended::Settled, 2));
        rig.task("C", WORDS);
        rig.task("D", WORDS);
        let requests: Deed = Arc::default();
        rig.transport = Arc::new(Before { inner: rig.transport.clone(), act: requests.clone() });
        Self { rig, requests }
    }

    /// What happens in the middle of the next pass.
    fn meanwhile(&self, act: impl FnMut() + Send + 'static) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(act));
    }

    fn other(&self) -> support::Database {
        support::Database { url: DatabaseUrl::Sqlite(self.rig.database()), directory: None }
    }

    /// The pass ends with the database's error, which a person can read.
    fn fails(&self, wanted: &str) -> StoreError {
        match self.rig.pass(&Wake::Poll { belt: false }) {
            Err(EngineError::Store(error)) => {
                assert!(error.to_string().contains(wanted), "{error}");
                error
            }
            other => panic!("{wanted}: {other:?}"),
        }
    }

    /// With a good database again each task has one issue.
    fn recovers(&self, what: &str) {
        self.rig.settles(what);
        let mut titles: Vec<String> =
            self.rig.sandbox.world().issues(&self.rig.repo.name).into_iter().map(|issue| issue.title).collect();
        titles.sort();
        assert_eq!(titles, ["A", "B", "C", "D"], "{what}");
    }
}

#[test]
fn a_database_that_refuses_in_the_middle_of_a_pass_ends_it_and_nothing_is_made_twice() {
    let trigger = |table: &str, words: &str| {
        format!(
            "CREATE TRIGGER refuse_{table} BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, '{words}'); END;
             CREATE TRIGGER refuse_{table}_change BEFORE UPDATE ON {table} BEGIN SELECT RAISE(ABORT, '{words}'); END;"
        )
    };
    // The words are SQLite's own for these states, which the owner of every file cannot be put into.
    for (table, words) in [
        ("links", "attempt to write a readonly database"),
        ("history", "database or disk is full"),
        ("links", "disk I/O error"),
        ("cursors", "database or disk is full"),
    ] {
        let failing = Failing::begin();
        let (other, sql) = (failing.other(), trigger(table, words));
        failing.meanwhile(move || other.execute(&sql));
        let error = failing.fails(words);
        assert_eq!(matches!(error, StoreError::ReadOnly { .. }), !words.contains("I/O"), "{error:?}");
        failing.rig.holds(words);
        // Again and again: the pass that cannot write down what it does makes nothing new.
        let made = failing.rig.sandbox.log().counts().forge.created;
        for _ in 0..3 {
            let _ = failing.rig.pass(&Wake::Sweep);
        }
        let more = failing.rig.sandbox.log().counts().forge.created - made;
        assert!(more <= 1, "{table}, {words}: {more} issues more");
        failing.rig.holds(words);
        failing.other().execute(&format!("DROP TRIGGER refuse_{table}; DROP TRIGGER refuse_{table}_change;"));
        failing.recovers(words);
    }
}

#[test]
fn a_database_locked_by_another_program_is_an_error_and_the_next_pass_goes_on() {
    let failing = Failing::begin();
    let other = failing.other();
    let (let_go, wait) = std::sync::mpsc::channel::<()>();
    let holder = Arc::new(Mutex::new(None));
    let held = holder.clone();
    let wait = Mutex::new(Some(wait));
    failing.meanwhile(move || {
        let (locked, ready) = std::sync::mpsc::channel();
        let DatabaseUrl::Sqlite(path) = other.url.clone() else { panic!("it is SQLite") };
        let wait = wait.lock().unwrap_or_else(PoisonError::into_inner).take().expect("once");
        let thread = std::thread::spawn(move || {
            let mut conn = support::connect(&path);
            diesel::connection::SimpleConnection::batch_execute(&mut conn, "BEGIN IMMEDIATE").expect("a lock");
            locked.send(()).expect("somebody waits");
            // An error is the end of the test.
            let _ = wait.recv();
        });
        ready.recv().expect("locked");
        *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    });
    let error = failing.fails("the database is locked by another process; try again");
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    let_go.send(()).expect("it waits");
    let thread = holder.lock().unwrap_or_else(PoisonError::into_inner).take().expect("a holder");
    thread.join().expect("no panic");
    failing.recovers("the lock");
}

#[test]
fn a_database_damaged_in_the_middle_of_a_pass_is_an_error_and_is_rebuilt_from_the_markers() {
    let mut failing = Failing::begin();
    let path = failing.rig.database();
    failing.meanwhile(move || {
        let checkpoint = support::Database { url: DatabaseUrl::Sqlite(path.clone()), directory: None };
        checkpoint.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        let mut bytes = std::fs::read(&path).expect("it is there");
        bytes[4_096..].fill(0xA5);
        std::fs::write(&path, bytes).expect("written");
    });
    let error = failing.fails("malformed");
    assert!(error.to_string().contains("restore it from a copy"), "{error}");
    for _ in 0..2 {
        failing.rig.pass(&Wake::Sweep).expect_err("it is still damaged");
    }
    // A new database knows nothing: what stands on both sides is found again by its markers.
    let fresh = failing.rig.folder.as_ref().expect("a folder").path().join("fresh.db");
    failing.rig.store = Store::open(&DatabaseUrl::Sqlite(fresh)).expect("a database");
    failing.recovers("the damage");
}

#[test]
fn run_once_over_a_database_that_cannot_be_used_says_why_and_asks_nobody() {
    let rig = Rig::new();
    rig.task("A", WORDS);
    let served = rig.sandbox.serve().expect("loopback can be served");
    let folder = rig.folder.as_ref().expect("a folder").path();
    let newer = folder.join("newer.db");
    let database = support::Database { url: DatabaseUrl::Sqlite(newer), directory: None };
    drop(database.open());
    database
        .execute("INSERT INTO __diesel_schema_migrations (version, run_on) VALUES ('29990101000000', '2999-01-01')");
    std::fs::write(folder.join("letter.db"), "Dear Sir or Madam, ".repeat(500)).expect("written");
    let mut damaged = std::fs::read(rig.database()).expect("it is there");
    damaged.resize(200_000, 0);
    damaged[100..].fill(0xA5);
    std::fs::write(folder.join("damaged.db"), damaged).expect("written");
    let run = |name: &str| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_evenkeel"))
            .args(["run", "--once"])
            .env_clear()
            .env("ASANA_PAT", &rig.project.token)
            .env("ASANA_PROJECT_GID", rig.project.gid.as_str())
            .env("GITHUB_TOKEN", &rig.repo.token)
            .env("GITHUB_REPO", rig.repo.name.as_str())
            .env("ASANA_BASE_URL", &served.base_urls.tracker)
            .env("GITHUB_BASE_URL", &served.base_urls.forge)
            .env("DATABASE_URL", format!("sqlite:{}", folder.join(name).display()))
            .current_dir(folder)
            .output()
            .expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!said.contains("panicked") && !said.contains(&rig.project.token), "{said}");
        (output.status.code(), said)
    };
    let cases = [
        ("newer.db", "install the newer program"),
        ("letter.db", "file is not a database"),
        ("damaged.db", "malformed"),
        ("no/such/folder.db", "does not exist; create it"),
    ];
    for (name, wanted) in cases {
        let (code, said) = run(name);
        assert_eq!(code, Some(2), "{name}: {said}");
        assert!(said.contains(wanted), "{name}: {said}");
        assert_eq!(rig.sandbox.log().counts().forge.requests, 0, "{name}");
        assert_eq!(rig.sandbox.log().counts().tracker.requests, 0, "{name}");
    }
    assert_eq!(run("good.db").0, Some(0), "and with a good one it runs");
    assert_eq!(rig.sandbox.world().issues(&rig.repo.name).len(), 1);
}

#[test]
fn an_edit_of_another_field_between_the_re_read_and_the_write_is_not_lost() {
    let mut rig = Rig::in_memory();
    let task = rig.task("A", WORDS);
    assert_eq!(rig.pass(&Wake::Poll { belt: false }).expect("a pass").ended, Ended::Settled);
    let act: Deed = Arc::default();
    rig.transport = Arc::new(Before { inner: rig.transport.clone(), act: act.clone() });
    rig.sandbox.asana().rename(&task, "A, renamed");
    let (sandbox, repo) = (rig.sandbox.clone(), rig.repo.name.clone());
    *act.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(move || {
        let body = evenkeel::text::split_forge(&sandbox.world().issue(&repo, 1).expect("it").body);
        sandbox.github().write_body(&repo, 1, &evenkeel::text::join_forge("Said in between.", body.footer.as_deref()));
    }));
    for _ in 0..3 {
        rig.pass(&Wake::Poll { belt: false }).expect("a pass");
    }
    rig.settles("the edit in between");
    let shown = rig.sandbox.world().task(&task).expect("it");
    assert!(shown.html_notes.contains("Said in between."), "{}", shown.html_notes);
    assert_eq!(rig.sandbox.world().issue(&rig.repo.name, 1).expect("it").title, "A, renamed");
}
