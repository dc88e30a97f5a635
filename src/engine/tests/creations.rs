//! New pairs: one partner each, whatever becomes of the answer.

use super::*;
use crate::store::NewDue;

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
fn what_is_edited_at_once_on_an_item_whose_creation_had_no_answer_crosses_over() {
    for direction in [Side::Tracker, Side::Forge] {
        let world = World::new(both());
        let (source, target) = match direction {
            Side::Tracker => (&world.tracker, &world.forge),
            Side::Forge => (&world.forge, &world.tracker),
        };
        let from = source.put(1, task("Fix login"));
        target.trouble(Some(Trouble::LostAnswer));
        world.poll();
        let made = target.all()[0].key.clone();
        assert_eq!(target.get(&made).created_at, world.clock.now(), "it was made this moment");
        target.edit(&made, |item| item.content.title = "Fix the login".into());
        target.edit(&made, |item| item.content.body = "Some words.\n\nMore words, and these.".into());
        source.edit(&from, |item| item.content.body = "Some other words.\n\nMore words.".into());
        let report = world.poll();
        assert_eq!((report.counts.joined, report.counts.waiting), (1, 0), "{report:#?}");
        world.poll();
        for content in [source.get(&from).content, target.get(&made).content] {
            assert_eq!(content.title, "Fix the login", "{direction}");
            assert_eq!(content.body, "Some other words.\n\nMore words, and these.", "{direction}");
        }
        world.settles();
    }
}

#[test]
fn an_issue_whose_creation_had_no_answer_was_born_open_and_closed_by_somebody() {
    let mut rules = both();
    rules.filter.tracker.include_done = true;
    for (before, by, after) in [
        // Born open, for a task that is done: nobody reopened it.
        (Status::Done, None, Status::Done),
        (Status::Open, None, Status::Open),
        // Closed by somebody, the moment it was there.
        (Status::Open, Some(Status::Done), Status::Done),
    ] {
        let world = World::new(rules.clone());
        let from = world.tracker.put(1, Content { status: before, ..task("Fix login") });
        world.forge.trouble(Some(Trouble::LostAnswer));
        world.poll();
        let made = world.forge.all()[0].key.clone();
        if let Some(status) = by {
            world.forge.edit(&made, |item| item.content.status = status);
        }
        world.poll();
        world.poll();
        let shown = (world.tracker.get(&from).content.status, world.forge.get(&made).content.status);
        assert_eq!(shown, (after, after), "{before:?}, then {by:?}");
        world.settles();
    }
}

#[test]
fn a_creation_stays_announced_while_a_copy_may_lag_that_does_not_show_its_source() {
    for reads in 1..=3 {
        let world = World::new(Rules::default());
        let key = world.tracker.put(1, task("Fix login"));
        world.forge.trouble(Some(Trouble::LostAnswer));
        world.poll();
        lock(&world.tracker.shelf).unknown.insert(key, reads);
        // At once: the copy lags by seconds.
        let report = world.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("the pass runs");
        assert_eq!(report.counts.created, 0, "{report:#?}");
        world.poll();
        world.settles();
        assert_eq!(world.forge.all().len(), 1);
        // Only an announced creation tells its task of its issue.
        assert_eq!(lock(&world.tracker.shelf).comments.len(), 1, "{reads} reads: it was taken for settled");
    }
}

/// A task that was parked and taken back, after what carries its marker was seen and left alone.
fn taken_back(copied: bool) -> World {
    let mut world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    if copied {
        let original = world.forge.get(&world.partner(&key));
        let copy = world.forge.put(50, original.content.clone());
        world.forge.edit(&copy, |item| item.marker.clone_from(&original.marker));
    }
    world.engine.store = Store::in_memory().expect("a database in memory");
    let parked = NewDue {
        item: key,
        reason: "it could not be read".into(),
        not_before: world.clock.now(),
        attempts: 3,
        last_error: Some("status 500".into()),
        parked: true,
    };
    world.engine.store.ring(&world.engine.route, &[parked], None, world.clock.now()).expect("the store");
    for _ in 0..2 {
        assert_eq!(world.poll().counts.created, 0);
    }
    take_back(&world);
    world
}

fn take_back(world: &World) {
    let parked = world.engine.store.parked(None).expect("the store");
    assert_eq!(parked.len(), 1, "{parked:#?}");
    world.engine.store.unpark(parked[0].id, world.clock.now()).expect("unparked");
}

#[test]
fn a_parked_item_that_is_taken_back_gets_the_partner_that_was_seen_meanwhile_and_no_second_one() {
    let world = taken_back(false);
    let report = world.pass(&Wake::Retry);
    assert_eq!(report.counts.joined, 1, "{report:#?}");
    world.settles();
    assert_eq!(world.forge.all().len(), 1, "a second partner was made");
}

#[test]
fn a_parked_item_that_is_taken_back_is_a_question_when_several_were_seen_to_claim_it() {
    let world = taken_back(true);
    let report = world.pass(&Wake::Retry);
    assert_eq!((report.plan.questions.len(), report.counts.created), (2, 0), "{report:#?}");
    assert_eq!(world.forge.all().len(), 2, "a third was made");
}

#[test]
fn a_parked_item_that_is_taken_back_is_parked_again_while_what_may_be_its_partner_cannot_be_read() {
    let world = taken_back(false);
    {
        let mut shelf = lock(&world.forge.shelf);
        let made = shelf.items.keys().next().expect("it was made").clone();
        shelf.unlisted.insert(made);
        shelf.unreadable = true;
    }
    let report = world.pass(&Wake::Retry);
    assert_eq!((report.counts.created, world.forge.all().len()), (0, 1), "{report:#?}");
    {
        let mut shelf = lock(&world.forge.shelf);
        shelf.unlisted.clear();
        shelf.unreadable = false;
    }
    world.clock.advance(Duration::from_secs(1_200));
    world.poll();
    take_back(&world);
    world.pass(&Wake::Retry);
    world.settles();
    assert_eq!(world.forge.all().len(), 1, "a second partner was made");
}

#[test]
fn what_an_earlier_try_had_sent_is_not_taken_for_what_the_last_one_did() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    let made = world.forge.all()[0].clone();
    lock(&world.forge.shelf).items.remove(&made.key);
    lock(&world.forge.shelf).moved.clear();
    world.clock.advance(Duration::from_secs(1_200));
    world.tracker.edit(&key, |item| item.content.title = "Fix the login".into());
    // Made again after the grace; that request had no effect.
    world.forge.trouble(Some(Trouble::LostAnswer));
    for _ in 0..2 {
        if world.forge.all().is_empty() {
            world.poll();
        }
    }
    let again = world.forge.all()[0].key.clone();
    {
        let mut shelf = lock(&world.forge.shelf);
        shelf.items.remove(&again);
        shelf.items.insert(made.key.clone(), made.clone());
        shelf.moved.push(made.key.clone());
    }
    world.poll();
    world.poll();
    assert_eq!(world.tracker.get(&key).content.title, "Fix the login", "the older words came back");
    assert_eq!(world.forge.get(&made.key).content.title, "Fix the login");
    world.settles();
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
fn an_issue_that_one_pass_sees_under_two_names_of_its_repository_gets_one_task() {
    let world = World::new(both());
    let key = world.forge.put(1, task("An issue"));
    let before = world.forge.get(&key);
    let due = NewDue {
        item: key.clone(),
        reason: "issues.labeled".to_owned(),
        not_before: world.clock.now(),
        attempts: 0,
        last_error: None,
        parked: false,
    };
    world.engine.store.ring(&world.engine.route, &[due], None, world.clock.now()).expect("due");
    // Renamed between the direct read and the listing, with no link yet that knows the repository.
    world.forge.rename("acme/renamed");
    let now = world.forge.all()[0].key.clone();
    lock(&world.forge.shelf).older.insert(now, before);
    world.poll();
    lock(&world.forge.shelf).older.clear();
    world.poll();
    world.poll();
    world.settles();
    assert_eq!(world.tracker.all().len(), 1, "it got a task under each name");
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
