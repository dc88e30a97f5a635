//! Whole passes against two sides in memory: exactly-once creation, guarded writes, cursors, parking.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod healing;
mod walk;

use super::*;
use crate::clock::{VirtualClock, earlier, lock};
use crate::model::{
    Assignees, Change, Content, Creation, Facts, FieldPolicy, IssueRef, Item, ItemKey, LinkStatus, Native, OnConflict,
    Place, Policy, Status,
};
use crate::provider::{Changes, Cursor, Draft, Finding, Found, Marked, Observe, ProviderError, Requests, Sink, Write};

/// What goes wrong at the next call of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// The write takes effect, its answer is lost.
    LostAnswer,
    /// The write is refused.
    Refused,
    /// Nothing gets through.
    Unreachable,
    /// The credential is no longer good.
    Denied,
    /// Its turn comes late, each time until it is said otherwise.
    Late,
}

#[derive(Default)]
pub(super) struct Shelf {
    pub(super) items: BTreeMap<ItemKey, Item>,
    pub(super) gone: BTreeSet<ItemKey>,
    pub(super) hidden: BTreeSet<ItemKey>,
    /// Which items moved, in order; a cursor is a place in it.
    pub(super) moved: Vec<ItemKey>,
    pub(super) comments: Vec<(ItemKey, String)>,
    pub(super) creations: u64,
    pub(super) writes: u64,
    pub(super) on_write: Option<Trouble>,
    /// Listings leave these out.
    pub(super) unlisted: BTreeSet<ItemKey>,
    /// Whether an old entry cannot be read.
    pub(super) odd: bool,
    /// How often all there is was looked through for markers.
    pub(super) looked_through: u32,
    /// Direct reads of these get no answer.
    pub(super) unanswered: BTreeSet<ItemKey>,
    /// What items were called before their repository was renamed; direct reads follow.
    pub(super) former: BTreeMap<ItemKey, ItemKey>,
}

const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// One side in memory. Behaves as the services do where the engine could tell the difference.
pub(super) struct Fake {
    pub(super) side: Side,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) shelf: Mutex<Shelf>,
    pub(super) sent: AtomicU64,
}

impl Fake {
    pub(super) fn key(&self, number: u64) -> ItemKey {
        match self.side {
            Side::Tracker => ItemKey::Task(number.to_string().parse().expect("a gid")),
            Side::Forge => ItemKey::Issue(IssueRef { repo: "acme/app".parse().expect("a name"), number }),
        }
    }

    pub(super) fn put(&self, number: u64, content: Content) -> ItemKey {
        let key = self.key(number);
        let now = self.clock.now();
        let item = Item {
            url: format!("https://{}/{number}", self.side.service()),
            key: key.clone(),
            content,
            footer: None,
            marker: None,
            created_at: now,
            updated_at: now,
            place: Place::Here,
            facts: Facts::default(),
            native: match self.side {
                Side::Tracker => Native::Task { tags: BTreeMap::new() },
                Side::Forge => {
                    Native::Issue { repo_id: 7, id: 1_000 + number.cast_signed(), node_id: format!("I_{number}") }
                }
            },
        };
        let mut shelf = lock(&self.shelf);
        shelf.items.insert(key.clone(), item);
        shelf.moved.push(key.clone());
        key
    }

    pub(super) fn edit(&self, key: &ItemKey, edit: impl FnOnce(&mut Item)) {
        self.clock.advance(Duration::from_secs(1));
        let mut shelf = lock(&self.shelf);
        let item = shelf.items.get_mut(key).expect("an item to edit");
        edit(item);
        item.updated_at = self.clock.now();
        shelf.moved.push(key.clone());
    }

    pub(super) fn delete(&self, key: &ItemKey) {
        let mut shelf = lock(&self.shelf);
        shelf.items.remove(key);
        shelf.gone.insert(key.clone());
    }

    /// Its repository gets another name, and each issue with it.
    pub(super) fn rename(&self, name: &str) {
        let mut shelf = lock(&self.shelf);
        for (before, mut item) in std::mem::take(&mut shelf.items) {
            let ItemKey::Issue(issue) = &mut item.key else { panic!("a task has no repository") };
            issue.repo = name.parse().expect("a name");
            shelf.former.insert(before, item.key.clone());
            shelf.moved.push(item.key.clone());
            shelf.items.insert(item.key.clone(), item);
        }
    }

    pub(super) fn get(&self, key: &ItemKey) -> Item {
        lock(&self.shelf).items.get(key).cloned().expect("an item")
    }

    pub(super) fn all(&self) -> Vec<Item> {
        lock(&self.shelf).items.values().cloned().collect()
    }

    pub(super) fn trouble(&self, trouble: Option<Trouble>) {
        lock(&self.shelf).on_write = trouble;
    }

    pub(super) fn fails(&self, trouble: Option<Trouble>, doing: &str) -> Result<(), ProviderError> {
        let doing = doing.to_owned();
        match trouble {
            None => Ok(()),
            Some(Trouble::LostAnswer) => {
                Err(ProviderError::Unreachable { doing, why: "the connection was cut".into(), maybe_done: true })
            }
            Some(Trouble::Unreachable) => {
                Err(ProviderError::Unreachable { doing, why: "no route".into(), maybe_done: false })
            }
            Some(Trouble::Late) => {
                lock(&self.shelf).on_write = trouble;
                Err(ProviderError::Stale { doing })
            }
            Some(Trouble::Refused) => Err(ProviderError::Refused { doing, status: 422, why: "no".into() }),
            Some(Trouble::Denied) => Err(ProviderError::Denied { doing, why: "the token was revoked".into() }),
        }
    }
}

impl Observe for Fake {
    fn side(&self) -> Side {
        self.side
    }

    fn changes(&self, cursor: Option<&Cursor>, _belt: bool, sink: Sink<'_>) -> Result<Changes, ProviderError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let next = lock(&self.shelf).moved.len().to_string();
        let Some(from) = cursor.and_then(|cursor| cursor.parse::<usize>().ok()) else {
            return Ok(Changes::TooOld { next });
        };
        let (touched, items) = {
            let shelf = lock(&self.shelf);
            let keys: BTreeSet<ItemKey> = shelf.moved.iter().skip(from).cloned().collect();
            let items: Vec<Item> = keys.iter().filter_map(|key| shelf.items.get(key)).cloned().collect();
            (keys.into_iter().collect::<Vec<_>>(), items)
        };
        match self.side {
            // Asana names what moved, GitHub delivers it.
            Side::Tracker => Ok(Changes::Since { next, touched }),
            Side::Forge => {
                sink(items).map_err(|_| ProviderError::Halted)?;
                Ok(Changes::Since { next, touched: Vec::new() })
            }
        }
    }

    fn sweep(&self, sink: Sink<'_>) -> Result<u64, ProviderError> {
        let all: Vec<Item> = {
            let shelf = lock(&self.shelf);
            shelf.items.values().filter(|item| !shelf.unlisted.contains(&item.key)).cloned().collect()
        };
        let count = all.len();
        for page in all.chunks(3) {
            self.sent.fetch_add(1, Ordering::Relaxed);
            sink(page.to_vec()).map_err(|_| ProviderError::Halted)?;
        }
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn item(&self, key: &ItemKey) -> Result<Found, ProviderError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let shelf = lock(&self.shelf);
        let key = shelf.former.get(key).unwrap_or(key);
        if shelf.unanswered.contains(key) {
            self.fails(Some(Trouble::Unreachable), "read")?;
        }
        Ok(match shelf.items.get(key) {
            Some(_) if shelf.hidden.contains(key) => Found::Unseen("status 404".into()),
            Some(item) => Found::Here(Box::new(item.clone())),
            None if shelf.gone.contains(key) => Found::Gone,
            None => Found::Unseen("status 404".into()),
        })
    }

    fn marked_since(&self, from: Timestamp) -> Result<Marked, ProviderError> {
        self.sent.fetch_add(1, Ordering::Relaxed);
        let mut shelf = lock(&self.shelf);
        let through = shelf.items.values().all(|item| item.created_at >= from + YEAR);
        shelf.looked_through += u32::from(through);
        let listed = shelf.items.values().filter(|item| !shelf.unlisted.contains(&item.key));
        let items = listed.filter(|item| item.marker.is_some() && item.created_at >= from).cloned().collect();
        Ok(Marked { items, whole: !(through && shelf.odd) })
    }

    fn has_comment(&self, key: &ItemKey, text: &str) -> Result<bool, ProviderError> {
        Ok(lock(&self.shelf).comments.iter().any(|(on, said)| on == key && said.contains(text)))
    }

    fn check(&self, _now: Timestamp) -> Vec<Finding> {
        Vec::new()
    }

    fn requests(&self) -> Requests {
        Requests { sent: self.sent.load(Ordering::Relaxed), unchanged: 0, writes: lock(&self.shelf).writes }
    }
}

impl Write for Fake {
    fn create(&self, draft: &Draft) -> Result<Item, ProviderError> {
        let trouble = lock(&self.shelf).on_write.take();
        if trouble.is_some_and(|trouble| trouble != Trouble::LostAnswer) {
            self.fails(trouble, "create")?;
        }
        let number = {
            let mut shelf = lock(&self.shelf);
            shelf.creations += 1;
            shelf.writes += 1;
            900 + shelf.creations
        };
        // Both services are born open, as GitHub's are.
        let key = self.put(number, Content { status: Status::Open, ..draft.content.clone() });
        let mut shelf = lock(&self.shelf);
        let item = shelf.items.get_mut(&key).expect("just put");
        item.marker = Some(draft.marker.clone());
        item.footer = Some(draft.footer.clone());
        let made = item.clone();
        drop(shelf);
        self.fails(trouble, "create")?;
        Ok(made)
    }

    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError> {
        let trouble = lock(&self.shelf).on_write.take();
        if trouble.is_some_and(|trouble| trouble != Trouble::LostAnswer) {
            self.fails(trouble, "update")?;
        }
        lock(&self.shelf).writes += 1;
        self.edit(&current.key, |item| {
            let Change { title, text, status, assignees, labels } = change.clone();
            if let Some(title) = title {
                item.content.title = title;
            }
            if let Some((body, footer)) = text {
                item.content.body = body;
                item.marker = footer.as_deref().and_then(marker_in);
                item.footer = footer;
            }
            if let Some(status) = status {
                item.content.status = status;
            }
            if let Some(assignees) = assignees {
                item.content.assignees = assignees;
            }
            if let Some(labels) = labels {
                item.content.labels = labels;
            }
        });
        self.fails(trouble, "update")?;
        Ok(self.get(&current.key))
    }

    fn comment(&self, key: &ItemKey, text: &str) -> Result<(), ProviderError> {
        lock(&self.shelf).comments.push((key.clone(), text.to_owned()));
        Ok(())
    }
}

/// The marker in a footer, as the services' clients find it.
fn marker_in(footer: &str) -> Option<crate::model::Marker> {
    let at = footer.find("evenkeel:v1 ")?;
    let words: Vec<&str> = footer[at..].split_whitespace().take(3).collect();
    let text = words.join(" ");
    let end = text.find("check:")? + "check:".len() + 8;
    text.get(..end)?.parse().ok()
}

/// Two sides, a database, an engine.
pub(super) struct World {
    pub(super) clock: Arc<VirtualClock>,
    pub(super) tracker: Arc<Fake>,
    pub(super) forge: Arc<Fake>,
    pub(super) engine: Engine,
}

impl World {
    pub(super) fn new(rules: Rules) -> Self {
        let clock = Arc::new(VirtualClock::starting_at(Timestamp::from_second(1_800_000_000).expect("in range")));
        let fake =
            |side| Arc::new(Fake { side, clock: clock.clone(), shelf: Mutex::default(), sent: AtomicU64::new(0) });
        let (tracker, forge) = (fake(Side::Tracker), fake(Side::Forge));
        let engine = Engine {
            route: "app".parse().expect("a name"),
            project: "77".parse().expect("a gid"),
            rules,
            providers: BySide { tracker: tracker.clone(), forge: forge.clone() },
            store: Store::in_memory().expect("a database in memory"),
            clock: clock.clone(),
            stop: Stop::default(),
            patience: Patience {
                attempts_max: 3,
                backoff: Duration::from_secs(30),
                backoff_max: Duration::from_secs(600),
                intent_grace: Duration::from_secs(600),
                repairs_max: 1_000,
            },
            holder: "test".into(),
            actor: "test".into(),
            seed: 1,
            progress: Arc::new(Quiet),
        };
        Self { clock, tracker, forge, engine }
    }

    pub(super) fn pass(&self, wake: &Wake) -> Report {
        self.clock.advance(Duration::from_secs(60));
        self.engine.pass(wake, &PassOptions::default()).expect("the pass runs")
    }

    pub(super) fn poll(&self) -> Report {
        self.pass(&Wake::Poll { belt: false })
    }

    /// Every story ends so: a poll and a sweep find nothing to do, nothing is left open, the chain is whole.
    pub(super) fn settles(&self) {
        for wake in [Wake::Poll { belt: false }, Wake::Sweep, Wake::Poll { belt: true }] {
            let report = self.pass(&wake);
            assert_eq!(report.ended, Ended::Settled, "{wake:?}: {report:#?}");
            assert!(report.plan.is_empty(), "{wake:?} plans {:#?}", report.plan.repairs);
        }
        assert!(self.engine.store.intents(&self.engine.route).expect("intents").is_empty(), "an intent is left open");
        let verified = self.engine.store.verify_history().expect("a history");
        assert!(matches!(verified, crate::store::Verified::Whole { .. }), "{verified:?}");
    }

    pub(super) fn partner(&self, key: &ItemKey) -> ItemKey {
        let link = self.engine.store.link_of(key).expect("a look-up").expect("a link");
        link.key(key.side().opposite())
    }
}

pub(super) fn task(title: &str) -> Content {
    Content { title: title.into(), body: "Some words.\n\nMore words.".into(), ..Content::default() }
}

pub(super) fn both() -> Rules {
    Rules { creation: Creation::Both, ..Rules::default() }
}

#[test]
fn new_tasks_get_one_issue_each_and_an_edit_crosses_over() {
    let world = World::new(Rules::default());
    let keys: Vec<ItemKey> = (1..=7).map(|number| world.tracker.put(number, task(&format!("Task {number}")))).collect();
    let report = world.poll();
    assert_eq!((report.counts.created, world.forge.all().len()), (7, 7), "{report:#?}");
    assert_eq!(lock(&world.tracker.shelf).comments.len(), 7);
    world.settles();
    world.tracker.edit(&keys[0], |item| item.content.title = "Task one".into());
    let report = world.poll();
    assert_eq!(report.counts.updated, 1, "{report:#?}");
    let issue = world.partner(&keys[0]);
    assert_eq!(world.forge.get(&issue).content.title, "Task one");
    world.forge.edit(&issue, |item| item.content.status = Status::Dropped);
    world.poll();
    assert_eq!(world.tracker.get(&keys[0]).content.status, Status::Done);
    world.settles();
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped, "the poorer side does not impoverish");
}

#[test]
fn a_creation_whose_answer_was_lost_is_found_by_its_marker() {
    for direction in [Side::Tracker, Side::Forge] {
        let world = World::new(both());
        let (source, target) = match direction {
            Side::Tracker => (&world.tracker, &world.forge),
            Side::Forge => (&world.forge, &world.tracker),
        };
        source.put(1, task("Fix login"));
        target.trouble(Some(Trouble::LostAnswer));
        let report = world.poll();
        assert_eq!((report.ended, report.counts.again), (Ended::Drift, 1), "{report:#?}");
        let report = world.poll();
        assert_eq!(report.counts.joined, 1, "{report:#?}");
        world.settles();
        assert_eq!(target.all().len(), 1, "{direction} made it twice");
        assert_eq!(lock(&world.tracker.shelf).comments.len(), 1, "one comment names the issue");
    }
}

#[test]
fn a_creation_that_listings_do_not_show_yet_waits_for_the_grace_and_is_then_found() {
    let world = World::new(Rules::default());
    world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    let made = world.forge.all()[0].key.clone();
    lock(&world.forge.shelf).unlisted.insert(made.clone());
    // The change feed lags as the listing does.
    let hidden = std::mem::take(&mut lock(&world.forge.shelf).moved);
    let report = world.poll();
    assert_eq!(report.counts.created, 0, "{report:#?}");
    lock(&world.forge.shelf).unlisted.clear();
    lock(&world.forge.shelf).moved = hidden;
    world.clock.advance(Duration::from_secs(120));
    world.poll();
    world.settles();
    assert_eq!(world.forge.all().len(), 1);
}

#[test]
fn a_creation_that_had_no_effect_is_made_again_after_the_grace() {
    let world = World::new(Rules::default());
    world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    // The issue was never there.
    let made = world.forge.all()[0].key.clone();
    lock(&world.forge.shelf).items.remove(&made);
    world.clock.advance(Duration::from_secs(1_200));
    for _ in 0..3 {
        world.poll();
    }
    world.settles();
    assert_eq!(world.forge.all().len(), 1);
}

#[test]
fn a_lost_database_is_rebuilt_from_the_markers_without_a_duplicate() {
    let mut world = World::new(Rules::default());
    for number in 1..=5 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    world.poll();
    world.settles();
    world.engine.store = Store::in_memory().expect("a database in memory");
    let report = world.poll();
    assert_eq!((report.counts.joined, report.counts.created), (5, 0), "{report:#?}");
    world.settles();
    assert_eq!(world.forge.all().len(), 5);
    assert_eq!(lock(&world.tracker.shelf).comments.len(), 5, "nobody is told twice");
}

#[test]
fn an_edit_that_comes_between_plan_and_write_is_merged_and_not_overwritten() {
    // The forge's listing is behind: the plan takes the issue for unmoved.
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    let issue = world.partner(&key);
    world.tracker.edit(&key, |item| item.content.status = Status::Done);
    world.forge.edit(&issue, |item| item.content.title = "Fix the login".into());
    let moved = lock(&world.forge.shelf).moved.pop();
    let report = world.poll();
    assert_eq!(report.ended, Ended::Settled, "{report:#?}");
    assert_eq!(world.forge.get(&issue).content.status, Status::Done);
    assert_eq!(world.tracker.get(&key).content.title, "Fix the login");
    lock(&world.forge.shelf).moved.extend(moved);
    world.settles();
}

#[test]
fn a_deleted_task_closes_its_issue_and_a_restored_one_reopens_it() {
    let world = World::new(Rules::default());
    let keys: Vec<ItemKey> = (1..=3).map(|number| world.tracker.put(number, task(&format!("Task {number}")))).collect();
    world.poll();
    let issue = world.partner(&keys[1]);
    let deleted = world.tracker.get(&keys[1]);
    world.tracker.delete(&keys[1]);
    let report = world.pass(&Wake::Sweep);
    assert_eq!(report.counts.retired, 1, "{report:#?}");
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped);
    world.settles();
    {
        let mut shelf = lock(&world.tracker.shelf);
        shelf.gone.clear();
        shelf.moved.push(keys[1].clone());
        shelf.items.insert(keys[1].clone(), deleted);
    }
    world.poll();
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
    world.settles();
    assert_eq!(world.forge.all().len(), 3);
}

#[test]
fn what_cannot_be_read_is_not_retired() {
    let world = World::new(Rules::default());
    let keys: Vec<ItemKey> = (1..=3).map(|number| world.tracker.put(number, task(&format!("Task {number}")))).collect();
    world.poll();
    let issue = world.partner(&keys[1]);
    lock(&world.forge.shelf).hidden.insert(issue.clone());
    lock(&world.forge.shelf).unlisted.insert(issue.clone());
    for _ in 0..4 {
        let report = world.pass(&Wake::Sweep);
        assert_eq!((report.counts.retired, report.ended), (0, Ended::Drift), "{report:#?}");
        world.clock.advance(Duration::from_secs(700));
    }
    assert_eq!(world.tracker.get(&keys[1]).content.status, Status::Open);
    let parked = world.engine.store.parked(None).expect("parked items");
    assert_eq!(parked.len(), 1, "an item that cannot be read for ever ends with a person: {parked:#?}");
}

#[test]
fn a_side_that_suddenly_shows_nothing_is_refused_by_a_brake() {
    let world = World::new(Rules::default());
    for number in 1..=3 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    world.poll();
    let keys: Vec<ItemKey> = world.tracker.all().into_iter().map(|item| item.key).collect();
    lock(&world.tracker.shelf).unlisted.extend(keys);
    let report = world.pass(&Wake::Sweep);
    assert_eq!(report.ended, Ended::Refused, "{report:#?}");
    assert!(report.messages[0].contains("--allow-empty"), "{:?}", report.messages);
}

#[test]
fn too_many_retirements_are_refused_with_both_numbers() {
    let world = World::new(Rules::default());
    for number in 1..=20 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    world.poll();
    for number in 1..=8 {
        world.tracker.delete(&world.tracker.key(number));
    }
    let report = world.pass(&Wake::Sweep);
    assert_eq!((report.ended, report.counts.retired), (Ended::Refused, 0), "{report:#?}");
    assert!(report.messages[0].contains("8 of 20") && report.messages[0].contains("--allow-retirements 8"));
    let allow = Allowance { retirements: Some(8), ..Allowance::default() };
    let options = PassOptions { allow, ..PassOptions::default() };
    let report = world.engine.pass(&Wake::Sweep, &options).expect("the pass runs");
    assert_eq!(report.counts.retired, 8, "{report:#?}");
    world.settles();
}

#[test]
fn one_refused_item_is_parked_and_the_rest_goes_on() {
    let world = World::new(Rules::default());
    for number in 1..=4 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    world.forge.trouble(Some(Trouble::Refused));
    let report = world.poll();
    assert_eq!((report.counts.created, report.counts.parked, report.ended), (3, 1, Ended::Drift), "{report:#?}");
    assert!(world.poll().plan.is_empty(), "a parked item is left to a person");
    let parked = world.engine.store.parked(None).expect("parked items");
    world.engine.store.unpark(parked[0].id, world.clock.now()).expect("unparked");
    let report = world.poll();
    assert_eq!(report.counts.created, 1, "{report:#?}");
    world.settles();
}

#[test]
fn a_failed_write_is_tried_again_although_the_cursor_moved_on() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    world.tracker.edit(&key, |item| item.content.title = "Fix the login".into());
    world.forge.trouble(Some(Trouble::Unreachable));
    let report = world.poll();
    assert_eq!((report.ended, report.counts.again), (Ended::Drift, 1), "{report:#?}");
    world.clock.advance(Duration::from_secs(60));
    let report = world.pass(&Wake::Retry);
    assert_eq!(report.counts.updated, 1, "{report:#?}");
    world.settles();
}

#[test]
fn an_update_whose_turn_comes_late_over_and_over_is_put_off_and_never_parked() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    world.tracker.edit(&key, |item| item.content.title = "Fix the login".into());
    world.forge.trouble(Some(Trouble::Late));
    for _ in 0..10 {
        let report = world.poll();
        assert_eq!((report.ended, report.counts.updated, report.counts.parked), (Ended::Drift, 0, 0), "{report:#?}");
        world.clock.advance(Duration::from_secs(60));
    }
    world.forge.trouble(None);
    assert_eq!(world.poll().counts.updated, 1);
    world.settles();
}

#[test]
fn a_creation_whose_answer_was_lost_is_found_although_our_clock_was_wrong_by_hours() {
    let world = World::new(Rules::default());
    world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    let made = world.forge.all().first().expect("it was made").key.clone();
    {
        // By the service's clock it was made two hours before we announced it, and no feed tells of it again.
        let mut shelf = lock(&world.forge.shelf);
        let item = shelf.items.get_mut(&made).expect("it is there");
        item.created_at = earlier(item.created_at, Duration::from_secs(7_200));
        shelf.moved.clear();
    }
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(700));
        world.poll();
    }
    assert_eq!(world.forge.all().len(), 1, "it was not made again");
    world.settles();
}

#[test]
fn while_an_old_entry_cannot_be_read_all_there_is_is_looked_through_once_in_a_while_and_not_in_each_pass() {
    let world = World::new(Rules::default());
    world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    {
        let mut shelf = lock(&world.forge.shelf);
        let made = shelf.items.keys().next().expect("it was made").clone();
        shelf.unlisted.insert(made);
        shelf.moved.clear();
        shelf.odd = true;
    }
    let began = world.clock.now();
    for _ in 0..60 {
        world.clock.advance(Duration::from_secs(60));
        world.poll();
    }
    let graces = since(began, world.clock.now()).as_secs() / world.engine.patience.intent_grace.as_secs();
    assert_eq!(world.forge.all().len(), 1, "it may be the one that cannot be read");
    let looked_through = u64::from(lock(&world.forge.shelf).looked_through);
    assert!((1..=graces).contains(&looked_through), "{looked_through} times in {graces} graces and 60 passes");
    {
        let mut shelf = lock(&world.forge.shelf);
        shelf.odd = false;
        shelf.unlisted.clear();
    }
    world.clock.advance(Duration::from_secs(700));
    world.poll();
    assert_eq!(world.forge.all().len(), 1, "it is found");
    world.settles();
}

#[test]
fn an_update_whose_answer_was_lost_is_seen_and_not_repeated() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.tracker.edit(&key, |item| item.content.title = "Fix the login".into());
    world.forge.trouble(Some(Trouble::LostAnswer));
    let writes = lock(&world.forge.shelf).writes;
    world.poll();
    world.clock.advance(Duration::from_secs(60));
    world.poll();
    assert_eq!(lock(&world.forge.shelf).writes, writes + 1);
    world.settles();
}

#[test]
fn a_revoked_token_ends_the_pass_and_parks_nothing() {
    let world = World::new(Rules::default());
    for number in 1..=3 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    world.forge.trouble(Some(Trouble::Denied));
    let report = world.poll();
    assert_eq!((report.ended, report.counts.parked), (Ended::Failed, 0), "{report:#?}");
    world.poll();
    world.settles();
    assert_eq!(world.forge.all().len(), 3);
}

#[test]
fn a_done_task_that_is_included_gets_a_closed_issue_and_stays_done() {
    let mut rules = Rules::default();
    rules.filter.tracker.include_done = true;
    let world = World::new(rules);
    let key = world.tracker.put(1, Content { status: Status::Done, ..task("Old thing") });
    let report = world.poll();
    assert_eq!(report.counts.created, 1, "{report:#?}");
    assert_eq!(world.tracker.get(&key).content.status, Status::Done);
    assert_eq!(world.forge.get(&world.partner(&key)).content.status, Status::Done);
    world.settles();
}

#[test]
fn overlapping_text_waits_for_a_person_and_the_rest_of_the_pair_goes_on() {
    let world = World::new(Rules { on_conflict: OnConflict::Newest, ..Rules::default() });
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    let issue = world.partner(&key);
    world.tracker.edit(&key, |item| item.content.body = "Ann's words.\n\nMore words.".into());
    world.forge.edit(&issue, |item| item.content.body = "Bob's words.\n\nMore words.".into());
    let report = world.poll();
    assert_eq!((report.ended, report.counts.waiting), (Ended::Drift, 1), "{report:#?}");
    assert!(world.poll().plan.is_empty(), "it is asked once");
    world.forge.edit(&issue, |item| item.content.title = "Fix the login".into());
    world.poll();
    assert_eq!(world.tracker.get(&key).content.title, "Fix the login");
    assert!(world.tracker.get(&key).content.body.starts_with("Ann"));
    world.forge.edit(&issue, |item| item.content.body = "Ann's words.\n\nMore words.".into());
    world.poll();
    world.settles();
}

#[test]
fn unmapped_people_are_left_alone() {
    let policy = Policy { assignees: FieldPolicy::Both, ..Policy::default() };
    let world = World::new(Rules { policy, people: people(), ..Rules::default() });
    let key = world.tracker.put(
        1,
        Content { assignees: Assignees { known: vec!["ann".into()], unknown: Vec::new() }, ..task("Fix login") },
    );
    world.poll();
    let issue = world.partner(&key);
    world.forge.edit(&issue, |item| {
        item.content.assignees = Assignees { known: Vec::new(), unknown: vec!["stranger".into()] };
    });
    world.poll();
    assert_eq!(world.tracker.get(&key).content.assignees.known, ["ann"]);
    assert_eq!(world.forge.get(&issue).content.assignees.unknown, ["stranger"]);
}

#[test]
fn a_task_that_leaves_the_project_is_left_alone_until_it_returns() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.tracker.put(2, task("Another"));
    world.poll();
    let issue = world.partner(&key);
    world.tracker.edit(&key, |item| item.place = Place::Left);
    world.poll();
    let link = world.engine.store.link_of(&key).expect("a look-up").expect("a link");
    assert_eq!(link.status, LinkStatus::Left);
    world.forge.edit(&issue, |item| item.content.title = "Edited meanwhile".into());
    assert!(!world.poll().plan.repairs.iter().any(Repair::writes));
    world.tracker.edit(&key, |item| item.place = Place::Here);
    world.poll();
    assert_eq!(world.tracker.get(&key).content.title, "Edited meanwhile");
    world.settles();
}

#[test]
fn a_copied_issue_text_is_a_question_and_no_second_partner() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    let original = world.forge.get(&world.partner(&key));
    let copy = world.forge.put(50, original.content.clone());
    world.forge.edit(&copy, |item| item.marker.clone_from(&original.marker));
    let report = world.poll();
    assert_eq!(report.plan.questions.len(), 1, "{report:#?}");
    assert_eq!(world.partner(&key), original.key);
}

#[test]
fn planning_writes_nothing_anywhere() {
    let world = World::new(Rules::default());
    for number in 1..=3 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    let first = world.engine.plan(&Wake::Sweep).expect("a plan");
    let again = world.engine.plan(&Wake::Sweep).expect("a plan");
    assert_eq!((first.repairs.len(), first.hash()), (3, again.hash()));
    assert!(world.forge.all().is_empty());
    assert!(world.engine.store.passes(None, 10).expect("passes").is_empty());
    assert!(world.engine.store.cursors(&world.engine.route).expect("cursors").tracker.is_none());
}

#[test]
fn another_process_at_work_is_named_and_nothing_is_done() {
    let world = World::new(Rules::default());
    let other = Engine { holder: "host:1:service".into(), ..world.engine.clone() };
    let _lease = other.lease(Duration::ZERO).expect("the lease");
    let error = world.engine.pass(&Wake::Sweep, &PassOptions::default()).expect_err("held");
    assert!(error.to_string().contains("host:1:service"), "{error}");
}

#[test]
fn a_stop_between_repairs_leaves_the_rest_for_the_next_pass() {
    struct StopAfter(Stop, AtomicU64);
    impl Progress for StopAfter {
        fn repaired(&self, _: PassId, _: &Repair, _: Result<(), &str>) {
            if self.1.fetch_add(1, Ordering::Relaxed) == 1 {
                self.0.raise();
            }
        }
    }
    let mut world = World::new(Rules::default());
    for number in 1..=6 {
        world.tracker.put(number, task(&format!("Task {number}")));
    }
    world.engine.progress = Arc::new(StopAfter(world.engine.stop.clone(), AtomicU64::new(0)));
    let report = world.poll();
    assert_eq!((report.ended, report.counts.created), (Ended::Stopped, 2), "{report:#?}");
    world.engine.stop = Stop::default();
    world.engine.progress = Arc::new(Quiet);
    world.poll();
    world.settles();
    assert_eq!(world.forge.all().len(), 6);
}

fn people() -> crate::model::People {
    crate::model::People::new(vec![crate::model::Person {
        name: "ann".into(),
        account: BySide { tracker: Some("11".into()), forge: Some("ann-gh".into()) },
        mention: false,
    }])
}
