//! Closing and reopening both sides at once, against two sides in memory and a real store.

use std::time::Duration;

use crate::clock::{Clock as _, lock};
use crate::engine::tests::{Trouble, World};
use crate::engine::{Edited, Ended, Handling, PassOptions, UndoTarget, Wake};
use crate::model::{BySide, Content, Field, FieldPolicy, ItemKey, LinkId, LinkStatus, OnConflict, Rules, Status};
use crate::store::{EntryFilter, NewDue};

fn titled(title: &str) -> Content {
    Content { title: title.to_owned(), body: "what to do".to_owned(), ..Content::default() }
}

/// A pair in step: the world, its two keys, its link.
fn pair(rules: Rules) -> (World, ItemKey, ItemKey, LinkId) {
    let world = World::new(Rules { comment_on_link: false, ..rules });
    let task = world.tracker.put(1, titled("Fix login"));
    world.pass(&Wake::Sweep);
    let issue = world.partner(&task);
    world.settles();
    let link = world.engine.store.link_of(&task).expect("the store").expect("linked").id;
    (world, task, issue, link)
}

fn edit(world: &World, link: LinkId, status: Status) -> Edited {
    world.clock.advance(Duration::from_secs(60));
    world.engine.edit_status(link, status, "as agreed by phone", &PassOptions::default()).expect("an edit")
}

fn shown(world: &World, task: &ItemKey, issue: &ItemKey) -> BySide<Status> {
    BySide { tracker: world.tracker.get(task).content.status, forge: world.forge.get(issue).content.status }
}

const fn both(status: Status) -> BySide<Status> {
    BySide { tracker: status, forge: status }
}

#[test]
fn both_sides_are_closed_and_reopened_and_the_next_pass_plans_nothing() {
    let policies = [FieldPolicy::Both, FieldPolicy::Tracker, FieldPolicy::Forge, FieldPolicy::Off];
    for policy in policies {
        let mut rules = Rules::default();
        rules.policy.status = policy;
        let (world, task, issue, link) = pair(rules);
        for status in [Status::Done, Status::Open] {
            let edited = edit(&world, link, status);
            assert_eq!(edited.sides, BySide { tracker: Handling::Written, forge: Handling::Written }, "{policy:?}");
            assert_eq!(edited.report.ended, Ended::Settled, "{policy:?}");
            assert_eq!(shown(&world, &task, &issue), both(status), "{policy:?}");
            for wake in [Wake::Poll { belt: true }, Wake::Sweep] {
                let next = world.pass(&wake);
                assert!(next.plan.is_empty(), "{policy:?} {wake:?}: {:?}", next.plan.repairs);
            }
            assert_eq!(shown(&world, &task, &issue), both(status), "{policy:?}");
        }
        world.settles();
    }
}

#[test]
fn dropped_shows_as_done_on_the_tracker_and_stays_dropped() {
    let (world, task, issue, link) = pair(Rules::default());
    edit(&world, link, Status::Dropped);
    assert_eq!(shown(&world, &task, &issue), BySide { tracker: Status::Done, forge: Status::Dropped });
    world.settles();
    // Closed is closed: the issue stays as it was closed.
    let again = edit(&world, link, Status::Done);
    assert_eq!(again.sides, BySide { tracker: Handling::Already, forge: Handling::Already });
    assert_eq!(shown(&world, &task, &issue), BySide { tracker: Status::Done, forge: Status::Dropped });
    world.settles();
}

#[test]
fn a_side_that_stands_so_already_is_left_alone() {
    let (world, task, issue, link) = pair(Rules::default());
    // A person closed it; no pass has seen that yet.
    world.forge.edit(&issue, |item| item.content.status = Status::Dropped);
    let edited = edit(&world, link, Status::Done);
    assert_eq!(edited.sides, BySide { tracker: Handling::Written, forge: Handling::Already });
    assert_eq!(shown(&world, &task, &issue), BySide { tracker: Status::Done, forge: Status::Dropped });
    let next = world.pass(&Wake::Sweep);
    assert!(next.plan.is_empty(), "{:?}", next.plan.repairs);
    world.settles();
}

#[test]
fn what_else_moved_is_left_to_the_next_pass_and_not_lost() {
    let (world, task, issue, link) = pair(Rules::default());
    world.tracker.edit(&task, |item| item.content.title = "Fix the login page".to_owned());
    let edited = edit(&world, link, Status::Done);
    assert_eq!(edited.report.ended, Ended::Drift);
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
    world.pass(&Wake::Retry);
    assert_eq!(world.forge.get(&issue).content.title, "Fix the login page");
    assert_eq!(shown(&world, &task, &issue), both(Status::Done));
    world.settles();
}

#[test]
fn a_copy_that_lags_is_not_believed_of_a_pair_of_which_something_else_moved() {
    let (world, task, issue, link) = pair(Rules::default());
    let older = world.tracker.get(&task);
    world.forge.edit(&issue, |item| item.content.title = "Fix the login page".to_owned());
    edit(&world, link, Status::Done);
    // At once: both are due, and the task is read from a copy that does not know that it was completed.
    lock(&world.tracker.shelf).older.insert(task.clone(), older);
    world.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
    assert_eq!(shown(&world, &task, &issue), both(Status::Done), "the older status was taken for an edit");
    lock(&world.tracker.shelf).older.clear();
    world.pass(&Wake::Poll { belt: false });
    assert_eq!(world.tracker.get(&task).content.title, "Fix the login page");
    world.settles();
}

#[test]
fn what_is_replaced_is_in_the_history_before_the_write_with_who_and_why() {
    let (world, task, issue, link) = pair(Rules::default());
    world.forge.trouble(Some(Trouble::Refused));
    let edited = edit(&world, link, Status::Done);
    assert_eq!(edited.sides.tracker, Handling::Written);
    assert!(matches!(&edited.sides.forge, Handling::Failed { .. }), "{:?}", edited.sides);
    assert_eq!(edited.report.ended, Ended::Failed);
    let filter = EntryFilter { pass: Some(edited.report.pass), ..EntryFilter::default() };
    let entries = world.engine.store.history(&filter).expect("a history");
    let kinds: Vec<(&str, &ItemKey)> =
        entries.iter().map(|kept| (kept.entry.kind.as_str(), &kept.entry.item)).collect();
    assert_eq!(kinds, [("update", &task), ("update", &issue), ("failed", &issue)]);
    let first = &entries[0].entry;
    assert_eq!((first.cause.as_str(), first.actor.as_str()), ("as agreed by phone", world.engine.actor.as_str()));
    assert_eq!(first.changes[0].before, serde_json::json!("open"));
    // Half of it is done: the next pass brings the other half after it.
    world.forge.trouble(None);
    world.pass(&Wake::Retry);
    assert_eq!(shown(&world, &task, &issue), both(Status::Done));
    world.settles();
}

#[test]
fn a_write_whose_answer_was_lost_is_looked_at_and_not_repeated() {
    let (world, task, issue, link) = pair(Rules::default());
    world.tracker.trouble(Some(Trouble::LostAnswer));
    let edited = edit(&world, link, Status::Done);
    assert!(matches!(&edited.sides.tracker, Handling::Failed { .. }), "{:?}", edited.sides);
    assert_eq!(edited.sides.forge, Handling::Untried);
    world.tracker.trouble(None);
    world.pass(&Wake::Retry);
    assert_eq!(shown(&world, &task, &issue), both(Status::Done));
    world.settles();
}

#[test]
fn an_operators_word_settles_a_status_that_waited() {
    let (world, task, issue, link) = pair(Rules { on_conflict: OnConflict::Ask, ..Rules::default() });
    edit(&world, link, Status::Done);
    world.settles();
    world.tracker.edit(&task, |item| item.content.status = Status::Open);
    world.forge.edit(&issue, |item| item.content.status = Status::Dropped);
    world.pass(&Wake::Sweep);
    let waits = |world: &World| world.engine.store.link(link).expect("the store").expect("a link").waiting;
    assert!(waits(&world).contains_key(&Field::Status));
    edit(&world, link, Status::Open);
    assert!(waits(&world).is_empty());
    assert_eq!(shown(&world, &task, &issue), both(Status::Open));
    world.settles();
}

#[test]
fn a_pair_that_is_not_kept_in_step_is_not_written_to() {
    let (world, task, issue, link) = pair(Rules::default());
    // A side without any item at all would be taken for one that cannot be seen.
    world.forge.put(9, titled("Another"));
    world.forge.delete(&issue);
    let edited = edit(&world, link, Status::Done);
    assert!(edited.left.as_deref().is_some_and(|why| why.contains("was deleted")), "{:?}", edited.left);
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
    world.pass(&Wake::Sweep);
    let status = world.engine.store.link(link).expect("the store").expect("a link").status;
    assert_eq!(status, LinkStatus::Retired);
    let edited = edit(&world, link, Status::Open);
    assert!(edited.left.as_deref().is_some_and(|why| why.contains("retired")), "{:?}", edited.left);
    assert_eq!(edited.report.ended, Ended::Refused);
}

#[test]
fn an_edit_can_be_undone() {
    let (world, task, issue, link) = pair(Rules::default());
    let edited = edit(&world, link, Status::Done);
    let plan = world.engine.plan_undo(&UndoTarget::Item(issue.clone())).expect("a plan");
    assert_eq!((plan.pass, plan.is_empty()), (Some(edited.report.pass), false), "{:?}", plan.message);
    world.clock.advance(Duration::from_secs(60));
    world.engine.undo(&plan, &PassOptions::default()).expect("undone");
    world.pass(&Wake::Retry);
    assert_eq!(shown(&world, &task, &issue), both(Status::Open));
    world.settles();
}

#[test]
fn what_was_due_or_parked_before_stays_so() {
    let (world, task, issue, link) = pair(Rules::default());
    let route = world.engine.route.clone();
    let parked = NewDue {
        item: issue.clone(),
        reason: "refused".to_owned(),
        not_before: world.clock.now(),
        attempts: 8,
        last_error: None,
        parked: true,
    };
    world.engine.store.ring(&route, &[parked], None, world.clock.now()).expect("parked");
    assert_eq!(edit(&world, link, Status::Done).report.ended, Ended::Settled);
    let dues = world.engine.store.dues_of(&route, &[task, issue.clone()]).expect("dues");
    assert_eq!(dues.len(), 1, "{dues:?}");
    assert_eq!((&dues[0].item, dues[0].parked_at.is_some()), (&issue, true));
}

#[test]
fn one_half_done_leaves_both_due() {
    let (world, task, issue, link) = pair(Rules::default());
    let route = world.engine.route.clone();
    world.forge.trouble(Some(Trouble::Denied));
    edit(&world, link, Status::Done);
    let dues = world.engine.store.dues_of(&route, &[task.clone(), issue.clone()]).expect("dues");
    assert_eq!(dues.len(), 2, "{dues:?}");
    world.forge.trouble(None);
    world.pass(&Wake::Retry);
    assert_eq!(shown(&world, &task, &issue), both(Status::Done));
    world.settles();
}

#[test]
fn a_copy_that_lags_is_not_taken_for_a_side_that_stands_so_already() {
    let (world, task, issue, link) = pair(Rules::default());
    edit(&world, link, Status::Done);
    let closed = world.forge.get(&issue);
    edit(&world, link, Status::Open);
    lock(&world.forge.shelf).older.insert(issue.clone(), closed);
    let refused = world.engine.edit_status(link, Status::Done, "", &PassOptions::default()).expect("an answer");
    assert_eq!(refused.report.ended, Ended::Failed, "{refused:?}");
    assert_eq!(refused.sides, BySide { tracker: Handling::Untried, forge: Handling::Untried });
    assert_eq!(shown(&world, &task, &issue), both(Status::Open));
    lock(&world.forge.shelf).older.clear();
    let edited = edit(&world, link, Status::Done);
    assert_eq!(edited.sides, BySide { tracker: Handling::Written, forge: Handling::Written });
    world.settles();
}
