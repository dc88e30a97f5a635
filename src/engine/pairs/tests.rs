//! Pairs made and unmade by hand, against two sides in memory and a real store.

use crate::clock::Clock as _;
use crate::engine::tests::{World, task};
use crate::engine::{Ended, PassOptions, Report, Wake};
use crate::model::{BySide, Content, Creation, ItemKey, LinkStatus, Place, Rules, Status};
use crate::store::{Due, EntryFilter, NewDue};

fn world() -> World {
    World::new(Rules { creation: Creation::None, comment_on_link: false, ..Rules::default() })
}

fn pair(tracker: &ItemKey, forge: &ItemKey) -> [BySide<ItemKey>; 1] {
    [BySide { tracker: tracker.clone(), forge: forge.clone() }]
}

fn join(world: &World, tracker: &ItemKey, forge: &ItemKey) -> Report {
    world.engine.join(&pair(tracker, forge), "by hand", "link", &PassOptions::default()).expect("a pass")
}

#[test]
fn two_items_become_a_pair_and_stay_in_step() {
    let world = world();
    let (one, other) = (world.tracker.put(1, task("Fix login")), world.forge.put(7, task("Fix login")));
    let report = join(&world, &one, &other);
    assert_eq!((report.ended, report.counts.joined, report.kind), (Ended::Settled, 1, "link"));
    assert_eq!(world.partner(&one), other);
    assert!(world.forge.get(&other).footer.is_some_and(|footer| footer.contains("asana")), "the issue names its task");
    world.pass(&Wake::Sweep);
    world.tracker.edit(&one, |item| item.content.status = Status::Done);
    world.pass(&Wake::Sweep);
    assert_eq!(world.forge.get(&other).content.status, Status::Done);
    world.settles();
}

#[test]
fn what_cannot_be_paired_is_said_and_nothing_is_written() {
    let world = world();
    let (one, other) = (world.tracker.put(1, task("a")), world.forge.put(7, task("a")));
    let (deleted, left) = (world.tracker.put(2, task("b")), world.tracker.put(3, task("c")));
    let free = world.forge.put(8, task("d"));
    world.tracker.delete(&deleted);
    world.tracker.edit(&left, |item| item.place = Place::Left);
    join(&world, &one, &other);
    let unknown = world.forge.key(99);
    for (task, issue, said) in [
        (&one, &free, "linked with github:acme/app#7 already"),
        (&left, &other, "linked with asana:1 already"),
        (&one, &other, "linked with github:acme/app#7 already"),
        (&deleted, &free, "deleted"),
        (&left, &free, "not in the route"),
        (&left, &unknown, "not in the route"),
    ] {
        let plan = world.engine.plan_joins(&pair(task, issue), "by hand").expect("a plan");
        assert!(plan.repairs.is_empty());
        assert!(plan.skips[0].why.contains(said), "{task} {issue}: {}", plan.skips[0].why);
        let report = join(&world, task, issue);
        assert_eq!((report.counts.joined, report.ended), (0, Ended::Drift), "{task} {issue}");
    }
    let plan = world.engine.plan_joins(&pair(&world.tracker.put(4, task("e")), &unknown), "by hand").expect("a plan");
    assert!(plan.skips[0].why.contains("could not be read"), "{}", plan.skips[0].why);
}

#[test]
fn a_pair_is_made_only_as_it_was_shown() {
    let world = world();
    let (one, other) = (world.tracker.put(1, task("Fix login")), world.forge.put(7, task("Login")));
    let shown = world.engine.plan_joins(&pair(&one, &other), "by hand").expect("a plan");
    world.forge.edit(&other, |item| item.content.title = "Log in".to_owned());
    let options = PassOptions { only_plan: Some(shown.hash()), ..PassOptions::default() };
    let report = world.engine.join(&pair(&one, &other), "by hand", "link", &options).expect("a pass");
    assert_eq!((report.ended, report.counts.joined), (Ended::Drift, 0));
    assert!(world.engine.store.link_of(&one).expect("the store").is_none());
}

#[test]
fn a_pair_let_go_of_stays_apart_until_somebody_makes_it_again() {
    let world = world();
    let (one, other) = (world.tracker.put(1, task("Fix login")), world.forge.put(7, task("Fix login")));
    join(&world, &one, &other);
    let link = world.engine.store.link_of(&one).expect("the store").expect("a link");
    let before = (world.tracker.get(&one).content, world.forge.get(&other).content);
    let parting = world.engine.part(&link, "not the same work", &PassOptions::default()).expect("a pass");
    assert!(parting.items.is_some());
    assert_eq!((world.tracker.get(&one).content, world.forge.get(&other).content), before);
    // The issue still carries the marker; the tombstone outweighs it.
    world.settles();
    assert!(world.engine.store.link_of(&one).expect("the store").is_none());
    let entries = world.engine.store.history(&EntryFilter { newest_first: true, ..EntryFilter::default() });
    let entry = entries.expect("the history").remove(0).entry;
    assert_eq!((entry.kind.as_str(), entry.cause.as_str()), ("unlink", "not the same work"));
    // A second time there is nothing left to let go of.
    let again = world.engine.part(&link, "again", &PassOptions::default()).expect("a pass");
    assert!(again.items.is_none());
    join(&world, &one, &other);
    assert_eq!(world.partner(&one), other);
    world.pass(&Wake::Sweep);
    world.settles();
}

#[test]
fn only_what_is_not_linked_and_was_not_let_go_of_is_proposed() {
    let world = world();
    let tasks: Vec<ItemKey> = ["Fix login", "Write docs", "Paint it"]
        .iter()
        .zip(1..)
        .map(|(title, at)| world.tracker.put(at, task(title)))
        .collect();
    let issues: Vec<ItemKey> = ["Fix login", "Write docs", "Other work"]
        .iter()
        .zip(7..)
        .map(|(title, at)| world.forge.put(at, task(title)))
        .collect();
    let found = world.engine.proposals().expect("a sweep");
    assert_eq!((found.proposals.len(), found.unlinked), (2, BySide { tracker: 3, forge: 3 }));
    join(&world, &tasks[0], &issues[0]);
    let found = world.engine.proposals().expect("a sweep");
    assert_eq!(found.proposals.len(), 1);
    assert_eq!((&found.proposals[0].task, &found.proposals[0].issue), (&tasks[1], &issues[1]));
    let link = world.engine.store.link_of(&tasks[0]).expect("the store").expect("a link");
    world.engine.part(&link, "no", &PassOptions::default()).expect("a pass");
    assert_eq!(world.engine.proposals().expect("a sweep").proposals.len(), 1, "what was let go of is not proposed");
    assert!(world.engine.store.link_of(&tasks[1]).expect("the store").is_none(), "proposing links nothing");
}

fn park(world: &World, item: &ItemKey) -> Due {
    let now = world.clock.now();
    let due = NewDue {
        item: item.clone(),
        reason: "a new task".to_owned(),
        not_before: now,
        attempts: 3,
        last_error: Some("refused with status 422".to_owned()),
        parked: true,
    };
    world.engine.store.ring(&world.engine.route, &[due], None, now).expect("the store");
    let parked = world.engine.store.parked(None).expect("the store");
    parked.into_iter().find(|due| due.item == *item).expect("it is parked")
}

#[test]
fn a_dropped_item_is_in_the_history_with_the_reason_and_what_was_wrong() {
    let world = world();
    let one = world.tracker.put(1, Content::default());
    let parked = park(&world, &one);
    let dropping = world.engine.drop_parked(parked.id, "a test task", &PassOptions::default()).expect("a pass");
    assert_eq!(dropping.due, Some(parked));
    assert!(world.engine.store.parked(None).expect("the store").is_empty());
    let entries = world.engine.store.history(&EntryFilter::default()).expect("the history");
    let cause = &entries[0].entry.cause;
    assert!(cause.contains("a test task") && cause.contains("422"), "{cause}");
    assert_eq!(world.engine.store.link_ids(&world.engine.route, LinkStatus::Active).expect("the store"), []);
}

#[test]
fn what_was_taken_back_or_dropped_before_the_lease_was_held_is_not_dropped() {
    let world = world();
    let one = world.tracker.put(1, Content::default());
    let store = &world.engine.store;
    let late = |id: i64| {
        let dropping = world.engine.drop_parked(id, "a test task", &PassOptions::default()).expect("a pass");
        assert_eq!((dropping.due, dropping.report.counts.noted), (None, 0));
        assert!(dropping.report.messages[0].contains("not parked any more"), "{:?}", dropping.report.messages);
        assert_eq!(store.history(&EntryFilter::default()).expect("the history"), []);
    };
    let parked = park(&world, &one);
    assert!(store.unpark(parked.id, world.clock.now()).expect("the store"));
    late(parked.id);
    assert_eq!(store.count_due(&world.engine.route).expect("the store"), 1, "it is due again, as was asked");
    assert!(store.drop_due(parked.id).expect("the store"));
    late(parked.id);
}

#[test]
fn what_is_dropped_is_tried_again_by_a_sweep_unless_it_left_or_its_pair_was_let_go_of() {
    let world = World::new(Rules { comment_on_link: false, ..Rules::default() });
    let drop_it = |item: &ItemKey| {
        let parked = park(&world, item);
        world.engine.drop_parked(parked.id, "a test task", &PassOptions::default()).expect("a pass");
    };
    let (stays, leaves) = (world.tracker.put(1, task("Fix login")), world.tracker.put(2, task("A test")));
    drop_it(&stays);
    drop_it(&leaves);
    world.tracker.edit(&leaves, |item| item.place = Place::Left);
    world.pass(&Wake::Sweep);
    let partner = world.partner(&stays);
    assert!(world.engine.store.link_of(&leaves).expect("the store").is_none(), "what left the project gets no partner");
    world.settles();

    world.tracker.edit(&stays, |item| item.content.title = "Fix the login".to_owned());
    drop_it(&stays);
    world.pass(&Wake::Sweep);
    assert_eq!(world.forge.get(&partner).content.title, "Fix the login");

    let link = world.engine.store.link_of(&stays).expect("the store").expect("a link");
    world.engine.part(&link, "no", &PassOptions::default()).expect("a pass");
    world.tracker.edit(&stays, |item| item.content.title = "Fix it".to_owned());
    drop_it(&stays);
    world.pass(&Wake::Sweep);
    assert_eq!(world.forge.get(&partner).content.title, "Fix the login", "the pair was let go of");
    world.settles();
}

/// Moves on whenever it is looked at, as real clocks do.
struct Ticking(std::sync::Arc<crate::clock::VirtualClock>);

impl crate::clock::Clock for Ticking {
    fn now(&self) -> crate::model::Timestamp {
        self.0.advance(std::time::Duration::from_millis(1));
        self.0.now()
    }

    fn sleep(&self, duration: std::time::Duration, stop: &crate::clock::Stop) -> bool {
        self.0.sleep(duration, stop)
    }
}

#[test]
fn a_question_that_arises_with_a_write_waits_and_is_no_pair_that_keeps_moving() {
    let mut world = world();
    world.engine.clock = std::sync::Arc::new(Ticking(world.clock.clone()));
    let one = world.tracker.put(1, Content { body: "Mine.".to_owned(), ..task("Fix login") });
    let other = world.forge.put(7, Content { body: "Yours.".to_owned(), ..task("Fix login") });
    let report = join(&world, &one, &other);
    assert_eq!((report.counts.joined, report.counts.waiting), (1, 1), "{:?}", report.messages);
    assert_eq!((report.ended, report.counts.again, report.counts.parked), (Ended::Drift, 0, 0));
    let link = world.engine.store.link_of(&one).expect("the store").expect("a link");
    assert_eq!(link.waiting.len(), 1);
}
