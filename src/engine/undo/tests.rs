//! Undo, through whole passes against two sides in memory and a real store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{Clock, Stop, VirtualClock, lock};
use crate::config::Patience;
use crate::engine::{Ended, Engine, PassOptions, Quiet, Report, UndoReport, UndoTarget, Wake};
use crate::model::{
    BySide, Change, Content, Creation, Facts, Field, FieldPolicy, Item, ItemKey, LinkStatus, Native, OnConflict, Place,
    Rules, Side, Status, Timestamp,
};
use crate::provider::{
    Changes, Cursor, Draft, Finding, Found, Observe, ProviderError, Requests, Sink, Write as ProviderWrite,
};
use crate::store::{EntryFilter, Store, Verified};

/// One side in memory: what it is told, it shows.
struct Memory {
    side: Side,
    clock: Arc<VirtualClock>,
    items: Mutex<BTreeMap<ItemKey, Item>>,
    gone: Mutex<Vec<ItemKey>>,
    refusal: Mutex<Option<ProviderError>>,
    requests: Mutex<Requests>,
}

impl Memory {
    fn new(side: Side, clock: Arc<VirtualClock>) -> Arc<Self> {
        Arc::new(Self {
            side,
            clock,
            items: Mutex::default(),
            gone: Mutex::default(),
            refusal: Mutex::default(),
            requests: Mutex::default(),
        })
    }

    fn native(&self, number: i64) -> Native {
        match self.side {
            Side::Tracker => Native::Task { tags: BTreeMap::new() },
            Side::Forge => Native::Issue { repo_id: 1, id: 1_000 + number, node_id: format!("I_{number}") },
        }
    }

    fn key(&self, number: i64) -> ItemKey {
        let text = match self.side {
            Side::Tracker => format!("asana:{number}"),
            Side::Forge => format!("github:acme/app#{number}"),
        };
        text.parse().expect("a key")
    }

    fn add(&self, number: i64, content: Content) -> ItemKey {
        let key = self.key(number);
        let now = self.clock.now();
        let item = Item {
            key: key.clone(),
            content,
            footer: None,
            marker: None,
            created_at: now,
            updated_at: now,
            url: format!("https://{}.test/{number}", self.side.service()),
            place: Place::Here,
            facts: Facts::default(),
            native: self.native(number),
        };
        lock(&self.items).insert(key.clone(), item);
        key
    }

    /// A person edits.
    fn edit(&self, key: &ItemKey, edit: impl FnOnce(&mut Content)) {
        let mut items = lock(&self.items);
        let item = items.get_mut(key).expect("it is there");
        edit(&mut item.content);
        item.updated_at = self.clock.now();
    }

    fn shown(&self, key: &ItemKey) -> Content {
        lock(&self.items).get(key).expect("it is there").content.clone()
    }

    fn delete(&self, key: &ItemKey) -> Item {
        lock(&self.gone).push(key.clone());
        lock(&self.items).remove(key).expect("it is there")
    }

    fn restore(&self, item: Item) {
        lock(&self.gone).retain(|key| *key != item.key);
        lock(&self.items).insert(item.key.clone(), item);
    }

    fn writes(&self) -> u64 {
        lock(&self.requests).writes
    }
}

impl Observe for Memory {
    fn side(&self) -> Side {
        self.side
    }

    fn changes(&self, cursor: Option<&Cursor>, _belt: bool, sink: Sink<'_>) -> Result<Changes, ProviderError> {
        let Some(_) = cursor else { return Ok(Changes::TooOld { next: "1".to_owned() }) };
        self.sweep(sink)?;
        Ok(Changes::Since { next: "1".to_owned(), touched: lock(&self.gone).clone() })
    }

    fn sweep(&self, sink: Sink<'_>) -> Result<u64, ProviderError> {
        let items: Vec<Item> = lock(&self.items).values().cloned().collect();
        let count = items.len() as u64;
        sink(items).map_err(|_| ProviderError::Halted)?;
        Ok(count)
    }

    fn item(&self, key: &ItemKey) -> Result<Found, ProviderError> {
        if lock(&self.gone).contains(key) {
            return Ok(Found::Gone);
        }
        Ok(match lock(&self.items).get(key) {
            Some(item) => Found::Here(Box::new(item.clone())),
            None => Found::Unseen("404".to_owned()),
        })
    }

    fn marked_since(&self, _from: Timestamp) -> Result<Vec<Item>, ProviderError> {
        Ok(lock(&self.items).values().filter(|item| item.marker.is_some()).cloned().collect())
    }

    fn has_comment(&self, _key: &ItemKey, _text: &str) -> Result<bool, ProviderError> {
        Ok(true)
    }

    fn check(&self, _now: Timestamp) -> Vec<Finding> {
        Vec::new()
    }

    fn requests(&self) -> Requests {
        *lock(&self.requests)
    }
}

impl ProviderWrite for Memory {
    fn create(&self, draft: &Draft) -> Result<Item, ProviderError> {
        lock(&self.requests).writes += 1;
        let number = 500 + i64::try_from(lock(&self.items).len()).expect("few");
        let key = self.add(number, Content { status: Status::Open, ..draft.content.clone() });
        let mut items = lock(&self.items);
        let item = items.get_mut(&key).expect("just made");
        item.footer = Some(draft.footer.clone());
        item.marker = Some(draft.marker.clone());
        Ok(item.clone())
    }

    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError> {
        lock(&self.requests).writes += 1;
        if let Some(error) = lock(&self.refusal).take() {
            return Err(error);
        }
        let mut items = lock(&self.items);
        let item = items.get_mut(&current.key).expect("it is there");
        let Change { title, text, status, assignees, labels } = change.clone();
        if let Some(title) = title {
            item.content.title = title;
        }
        if let Some((body, footer)) = text {
            item.content.body = body;
            item.footer = footer;
        }
        item.content.status = status.unwrap_or(item.content.status);
        if let Some(assignees) = assignees {
            item.content.assignees = assignees;
        }
        if let Some(labels) = labels {
            item.content.labels = labels;
        }
        item.updated_at = self.clock.now();
        Ok(item.clone())
    }

    fn comment(&self, _key: &ItemKey, _text: &str) -> Result<(), ProviderError> {
        lock(&self.requests).writes += 1;
        Ok(())
    }
}

/// A route between two sides in memory.
struct World {
    engine: Engine,
    clock: Arc<VirtualClock>,
    asana: Arc<Memory>,
    github: Arc<Memory>,
}

fn world(rules: Rules) -> World {
    let clock = Arc::new(VirtualClock::starting_at("2026-03-01T08:00:00Z".parse().expect("a time")));
    let asana = Memory::new(Side::Tracker, clock.clone());
    let github = Memory::new(Side::Forge, clock.clone());
    let engine = Engine {
        route: "app".parse().expect("a name"),
        rules,
        providers: BySide { tracker: asana.clone(), forge: github.clone() },
        store: Store::in_memory().expect("memory"),
        clock: clock.clone(),
        stop: Stop::default(),
        patience: Patience {
            attempts_max: 5,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(1),
            intent_grace: Duration::from_secs(600),
            repairs_max: 100,
        },
        holder: "test".to_owned(),
        actor: "ann".to_owned(),
        seed: 1,
        progress: Arc::new(Quiet),
    };
    World { engine, clock, asana, github }
}

fn rules() -> Rules {
    let mut rules = Rules { comment_on_link: false, creation: Creation::TrackerToForge, ..Rules::default() };
    rules.policy.labels = FieldPolicy::Both;
    rules
}

fn titled(title: &str) -> Content {
    Content { title: title.to_owned(), body: "what to do".to_owned(), ..Content::default() }
}

impl World {
    fn pass(&self) -> Report {
        self.clock.advance(Duration::from_secs(60));
        let report = self.engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
        assert_ne!(report.ended, Ended::Failed, "{:?}", report.messages);
        report
    }

    /// Every story ends in a pass that plans nothing, and with a whole history.
    fn settled(&self) {
        self.pass();
        let last = self.pass();
        assert!(last.plan.repairs.is_empty(), "{:?}", last.plan.repairs);
        let verified = self.engine.store.verify_history().expect("the history");
        assert!(matches!(verified, Verified::Whole { .. }), "{verified:?}");
    }

    fn undo(&self, target: &UndoTarget) -> UndoReport {
        self.clock.advance(Duration::from_secs(60));
        let plan = self.engine.plan_undo(target).expect("a plan");
        assert_eq!(plan.message, None);
        self.engine.undo(&plan, &PassOptions::default()).expect("an undo")
    }

    /// A pair that is in step, and its two keys.
    fn pair(&self, content: Content) -> (ItemKey, ItemKey) {
        let task = self.asana.add(1, content);
        self.pass();
        let link = self.engine.store.link_of(&task).expect("the store").expect("a link");
        self.pass();
        (task, link.key(Side::Forge))
    }

    fn status_of(&self, key: &ItemKey) -> Option<LinkStatus> {
        self.engine.store.link_of(key).expect("the store").map(|link| link.status)
    }
}

fn labels(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn whys(undone: &UndoReport) -> String {
    undone.left.iter().map(|left| left.why.clone()).collect::<Vec<_>>().join(" | ")
}

#[test]
fn what_a_pass_overwrote_comes_back_and_goes_to_the_other_side_too() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.edit(&task, |content| content.title = "Fix everything".to_owned());
    let pass = world.pass().pass;
    assert_eq!(world.github.shown(&issue).title, "Fix everything");

    let undone = world.undo(&UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.github.shown(&issue).title, "Fix login");
    let then = undone.done[0].then.tracker.as_ref().expect("the next pass carries it over");
    assert_eq!(then.fields[0].field, Field::Title);

    world.pass();
    assert_eq!(world.asana.shown(&task).title, "Fix login");
    assert_eq!(world.github.shown(&issue).title, "Fix login");
    world.settled();
}

#[test]
fn what_somebody_changed_since_is_left_alone() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.edit(&task, |content| {
        content.title = "Fix everything".to_owned();
        content.status = Status::Done;
    });
    let pass = world.pass().pass;
    world.github.edit(&issue, |content| content.title = "Fix the login page".to_owned());
    let undone = world.undo(&UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("Fix the login page"), "{}", whys(&undone));
    // Field by field: the status nobody touched comes back.
    assert_eq!(world.github.shown(&issue).title, "Fix the login page");
    assert_eq!(world.github.shown(&issue).status, Status::Open);
    assert_eq!(undone.report.ended, Ended::Drift);
    world.settled();
    assert_eq!(world.asana.shown(&task).title, "Fix the login page");
    assert_eq!(world.asana.shown(&task).status, Status::Open);
}

#[test]
fn what_the_next_pass_would_only_write_again_is_not_put_back() {
    let mut owned = rules();
    owned.policy.title = FieldPolicy::Tracker;
    let world = world(owned);
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.edit(&task, |content| content.title = "Fix everything".to_owned());
    let pass = world.pass().pass;
    let writes = world.github.writes();
    let undone = world.undo(&UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("asana owns the title"), "{}", whys(&undone));
    assert_eq!(world.github.writes(), writes);
    assert_eq!(world.github.shown(&issue).title, "Fix everything");
    world.settled();
}

#[test]
fn a_merge_is_undone_on_one_side_and_the_other_follows() {
    let world = world(rules());
    let (task, issue) = world.pair(Content { labels: labels(&["a"]), ..titled("Fix login") });
    world.asana.edit(&task, |content| content.labels = labels(&["a", "b"]));
    world.github.edit(&issue, |content| content.labels = labels(&["a", "c"]));
    let pass = world.pass().pass;
    assert_eq!(world.github.shown(&issue).labels, labels(&["a", "b", "c"]));
    // Both at once would leave neither b nor c.
    let undone = world.undo(&UndoTarget::Pass(pass));
    assert!(undone.done.is_empty(), "{:?}", undone.done);
    assert!(whys(&undone).contains("would lose both"), "{}", whys(&undone));
    let undone = world.undo(&UndoTarget::Item(issue.clone()));
    assert_eq!(undone.done.len(), 1, "{}", whys(&undone));
    world.pass();
    assert_eq!(world.asana.shown(&task).labels, labels(&["a", "c"]));
    world.settled();
}

#[test]
fn a_settled_conflict_is_undone_in_favour_of_the_loser() {
    let world = world(Rules { on_conflict: OnConflict::Newest, ..rules() });
    let (task, issue) = world.pair(titled("Fix login"));
    world.github.edit(&issue, |content| content.title = "Login: fix".to_owned());
    world.clock.advance(Duration::from_secs(5));
    world.asana.edit(&task, |content| content.title = "Fix everything".to_owned());
    let pass = world.pass().pass;
    assert_eq!(world.github.shown(&issue).title, "Fix everything");
    world.undo(&UndoTarget::Pass(pass));
    world.pass();
    assert_eq!(world.asana.shown(&task).title, "Login: fix");
    world.settled();
}

#[test]
fn an_item_that_a_pass_made_is_closed_let_go_of_and_not_made_again() {
    let world = world(rules());
    let task = world.asana.add(1, titled("Fix login"));
    let pass = world.pass().pass;
    let issue = world.engine.store.link_of(&task).expect("the store").expect("a link").key(Side::Forge);
    let undone = world.undo(&UndoTarget::Pass(pass));
    assert_eq!(undone.left.len(), 0, "{}", whys(&undone));
    assert_eq!(world.github.shown(&issue).status, Status::Dropped);
    assert_eq!(world.asana.shown(&task).status, Status::Open, "the task stays as it was");
    assert_eq!(world.status_of(&task), None);
    world.settled();
    assert_eq!(lock(&world.github.items).len(), 1, "no second issue was made");
    assert_eq!(world.asana.shown(&task).status, Status::Open);
}

#[test]
fn an_item_that_a_pass_made_and_somebody_worked_on_stays() {
    let world = world(rules());
    let task = world.asana.add(1, titled("Fix login"));
    let pass = world.pass().pass;
    let issue = world.engine.store.link_of(&task).expect("the store").expect("a link").key(Side::Forge);
    world.github.edit(&issue, |content| content.labels = labels(&["urgent"]));
    let undone = world.undo(&UndoTarget::Pass(pass));
    assert!(undone.done.is_empty() && whys(&undone).contains("labels"), "{}", whys(&undone));
    assert_eq!(world.github.shown(&issue).status, Status::Open);
    assert_eq!(world.status_of(&task), Some(LinkStatus::Active));
    world.settled();
}

#[test]
fn a_pair_that_was_made_by_hand_comes_apart_with_what_each_said() {
    let world = world(Rules { creation: Creation::None, ..rules() });
    let task = world.asana.add(1, titled("Fix login"));
    world.clock.advance(Duration::from_secs(5));
    let issue = world.github.add(7, titled("Login is broken"));
    let pairs = [BySide { tracker: task.clone(), forge: issue.clone() }];
    let report = world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    assert_eq!((report.counts.joined, report.ended), (1, Ended::Settled), "{:?}", report.messages);
    assert_eq!(world.asana.shown(&task).title, "Login is broken");
    let undone = world.undo(&UndoTarget::Pass(report.pass));
    assert_eq!(undone.left.len(), 0, "{}", whys(&undone));
    assert_eq!(world.asana.shown(&task).title, "Fix login");
    assert_eq!(world.github.shown(&issue).title, "Login is broken");
    assert_eq!(world.status_of(&task), None);
    world.settled();
    assert_eq!(world.asana.shown(&task).title, "Fix login", "the pair is not made again by the marker");
}

#[test]
fn what_was_closed_for_a_deleted_partner_is_reopened_and_stays_open() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.add(2, titled("Another"));
    world.pass();
    let deleted = world.asana.delete(&task);
    let pass = world.pass().pass;
    assert_eq!(world.github.shown(&issue).status, Status::Dropped);
    let undone = world.undo(&UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.github.shown(&issue).status, Status::Open);
    world.settled();
    assert_eq!(world.github.shown(&issue).status, Status::Open, "it is not closed again");
    assert_eq!(world.status_of(&issue), Some(LinkStatus::Retired));
    // The task comes back from the bin: the pair is kept in step again.
    world.asana.restore(deleted);
    world.settled();
    assert_eq!(world.status_of(&issue), Some(LinkStatus::Active));
    assert_eq!(world.github.shown(&issue).status, Status::Open);
}

#[test]
fn undoing_an_item_twice_goes_two_steps_back_and_undoing_the_undo_goes_forth() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("one"));
    for title in ["two", "three"] {
        world.asana.edit(&task, |content| content.title = title.to_owned());
        world.pass();
    }
    let target = UndoTarget::Item(issue.clone());
    world.undo(&target);
    assert_eq!(world.github.shown(&issue).title, "two");
    let second = world.undo(&target);
    assert_eq!(world.github.shown(&issue).title, "one", "{}", whys(&second));
    world.undo(&UndoTarget::Pass(second.report.pass));
    assert_eq!(world.github.shown(&issue).title, "two");
    world.settled();
    assert_eq!(world.asana.shown(&task).title, "two");
}

#[test]
fn a_write_that_failed_has_nothing_to_undo_and_an_undo_that_failed_can_be_done_again() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.edit(&task, |content| content.title = "Fix everything".to_owned());
    let refused = || ProviderError::Refused { doing: "writing".to_owned(), status: 422, why: "no".to_owned() };
    *lock(&world.github.refusal) = Some(refused());
    let failed = world.pass().pass;
    let plan = world.engine.plan_undo(&UndoTarget::Pass(failed)).expect("a plan");
    assert!(plan.message.is_some_and(|message| message.contains("wrote nothing")));

    let parked = world.engine.store.parked(None).expect("the store");
    world.engine.store.unpark(parked[0].id, world.clock.now()).expect("the store");
    let pass = world.pass().pass;
    assert_eq!(world.github.shown(&issue).title, "Fix everything");
    *lock(&world.github.refusal) = Some(refused());
    let undone = world.undo(&UndoTarget::Item(issue.clone()));
    assert!(undone.done.is_empty() && whys(&undone).contains("422"), "{}", whys(&undone));
    // The failed undo does not count as one.
    let again = world.engine.plan_undo(&UndoTarget::Item(issue.clone())).expect("a plan");
    assert_eq!(again.pass, Some(pass));
    world.undo(&UndoTarget::Item(issue.clone()));
    assert_eq!(world.github.shown(&issue).title, "Fix login");
    world.settled();
}

#[test]
fn an_undo_writes_nothing_that_it_did_not_show() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.edit(&task, |content| content.title = "Fix everything".to_owned());
    let pass = world.pass().pass;
    let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
    world.github.edit(&issue, |content| content.title = "Mine".to_owned());
    let undone = world.engine.undo(&plan, &PassOptions::default()).expect("an undo");
    assert!(undone.done.is_empty() && whys(&undone).contains("changed after"), "{}", whys(&undone));
    assert_eq!(world.github.shown(&issue).title, "Mine");
    world.settled();
}

#[test]
fn what_is_put_back_stands_in_the_history_with_who_did_it() {
    let world = world(rules());
    let (task, issue) = world.pair(titled("Fix login"));
    world.asana.edit(&task, |content| content.title = "Fix everything".to_owned());
    let pass = world.pass().pass;
    let undone = world.undo(&UndoTarget::Pass(pass));
    let filter = EntryFilter { pass: Some(undone.report.pass), ..EntryFilter::default() };
    let entries = world.engine.store.history(&filter).expect("the history");
    assert_eq!(entries.len(), 1);
    let entry = &entries[0].entry;
    assert_eq!((entry.kind.as_str(), &entry.item, entry.actor.as_str()), ("undo", &issue, "ann"));
    assert_eq!(entry.changes[0].before, serde_json::json!("Fix everything"));
    assert_eq!(entry.changes[0].after, serde_json::json!("Fix login"));
    // And the pass is kept with its kind.
    let kept = world.engine.store.pass(undone.report.pass).expect("the store").expect("the pass");
    assert_eq!(kept.start.kind, "undo");
    world.settled();
}

#[test]
fn a_pass_that_is_not_there_or_wrote_nothing_is_said_so() {
    let world = world(rules());
    world.pair(titled("Fix login"));
    let idle = world.pass().pass;
    for (pass, said) in [(idle, "wrote nothing"), (crate::model::PassId(4_711), "no pass 4711")] {
        let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
        assert!(plan.message.as_deref().is_some_and(|message| message.contains(said)), "{:?}", plan.message);
    }
}
