//! Undo, through whole passes against two sides in memory and a real store.

mod between;
mod telling;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::{Clock as _, lock};
use crate::engine::tests::{BeforeRead, Trouble, World};
use crate::engine::{Ended, PassOptions, UndoReport, UndoTarget, Wake};
use crate::model::{
    BySide, Content, Creation, Field, FieldPolicy, Item, ItemKey, LinkStatus, OnConflict, PassId, People, Person,
    Place, Rules, Status,
};
use crate::store::EntryFilter;

fn rules() -> Rules {
    let mut rules = Rules { comment_on_link: false, creation: Creation::TrackerToForge, ..Rules::default() };
    rules.policy.labels = FieldPolicy::Both;
    rules
}

/// With Ann and Bob, whoever is given an item on both sides.
fn staffed() -> Rules {
    let person = |name: &str, task: &str| Person {
        name: name.to_owned(),
        account: BySide { tracker: Some(task.to_owned()), forge: Some(format!("{name}-gh")) },
        mention: false,
    };
    let mut rules = Rules { people: People::new(vec![person("ann", "11"), person("bob", "12")]), ..rules() };
    rules.policy.assignees = FieldPolicy::Both;
    rules
}

fn titled(title: &str) -> Content {
    Content { title: title.to_owned(), body: "what to do".to_owned(), ..Content::default() }
}

fn world(rules: Rules) -> World {
    World::new(rules)
}

/// Every story ends so: what was put back goes over, and then nothing is left to do.
fn settled(world: &World) {
    let last = world.pass(&Wake::Sweep);
    assert_ne!(last.ended, Ended::Failed, "{:?}", last.messages);
    world.settles();
}

fn sweep(world: &World) -> PassId {
    let report = world.pass(&Wake::Sweep);
    assert_ne!(report.ended, Ended::Failed, "{:?}", report.messages);
    report.pass
}

fn undo(world: &World, target: &UndoTarget) -> UndoReport {
    world.clock.advance(Duration::from_secs(60));
    let plan = world.engine.plan_undo(target).expect("a plan");
    assert_eq!(plan.message, None);
    world.engine.undo(&plan, &PassOptions::default()).expect("an undo")
}

/// A pair that is in step, and its two keys.
fn pair(world: &World, content: Content) -> (ItemKey, ItemKey) {
    let task = world.tracker.put(1, content);
    sweep(world);
    let issue = world.partner(&task);
    sweep(world);
    (task, issue)
}

fn status_of(world: &World, key: &ItemKey) -> Option<LinkStatus> {
    world.engine.store.link_of(key).expect("the store").map(|link| link.status)
}

fn back_from_the_bin(world: &World, task: &ItemKey, deleted: Item) {
    let mut shelf = lock(&world.tracker.shelf);
    shelf.gone.remove(task);
    shelf.items.insert(task.clone(), deleted);
    shelf.moved.push(task.clone());
}

fn labels(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(ToString::to_string).collect()
}

fn whys(undone: &UndoReport) -> String {
    undone.left.iter().map(|left| left.why.clone()).collect::<Vec<_>>().join(" | ")
}

#[test]
fn what_a_pass_overwrote_comes_back_and_goes_to_the_other_side_too() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    assert_eq!(world.forge.get(&issue).content.title, "Fix everything");

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
    let then = undone.done[0].then.tracker.as_ref().expect("the next pass carries it over");
    assert_eq!(then.fields[0].field, Field::Title);

    sweep(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix login");
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
    settled(&world);
}

#[test]
fn what_the_next_pass_would_only_write_again_is_not_put_back() {
    let mut owned = rules();
    owned.policy.title = FieldPolicy::Tracker;
    let world = world(owned);
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    let writes = lock(&world.forge.shelf).writes;
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("asana owns the title"), "{}", whys(&undone));
    assert_eq!(lock(&world.forge.shelf).writes, writes);
    assert_eq!(world.forge.get(&issue).content.title, "Fix everything");
    settled(&world);
}

#[test]
fn a_merge_is_undone_on_one_side_and_the_other_follows() {
    let world = world(rules());
    let (task, issue) = pair(&world, Content { labels: labels(&["a"]), ..titled("Fix login") });
    world.tracker.edit(&task, |item| item.content.labels = labels(&["a", "b"]));
    world.forge.edit(&issue, |item| item.content.labels = labels(&["a", "c"]));
    let pass = sweep(&world);
    assert_eq!(world.forge.get(&issue).content.labels, labels(&["a", "b", "c"]));
    // Both at once would leave neither b nor c.
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty(), "{:?}", undone.done);
    assert!(whys(&undone).contains("would lose both"), "{}", whys(&undone));
    let undone = undo(&world, &UndoTarget::Item(issue.clone()));
    assert_eq!(undone.done.len(), 1, "{}", whys(&undone));
    sweep(&world);
    assert_eq!(world.tracker.get(&task).content.labels, labels(&["a", "c"]));
    settled(&world);
}

#[test]
fn a_settled_conflict_is_undone_in_favour_of_the_loser() {
    let world = world(Rules { on_conflict: OnConflict::Newest, ..rules() });
    let (task, issue) = pair(&world, titled("Fix login"));
    world.forge.edit(&issue, |item| item.content.title = "Login: fix".to_owned());
    world.clock.advance(Duration::from_secs(5));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    assert_eq!(world.forge.get(&issue).content.title, "Fix everything");
    undo(&world, &UndoTarget::Pass(pass));
    sweep(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Login: fix");
    settled(&world);
}

#[test]
fn an_item_that_a_pass_made_is_closed_let_go_of_and_not_made_again() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!(undone.left.len(), 0, "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped);
    assert_eq!(world.tracker.get(&task).content.status, Status::Open, "the task stays as it was");
    assert_eq!(status_of(&world, &task), None);
    settled(&world);
    assert_eq!(world.forge.all().len(), 1, "no second issue was made");
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
}

#[test]
fn an_item_that_a_pass_made_and_somebody_worked_on_stays() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    world.forge.edit(&issue, |item| item.content.labels = labels(&["urgent"]));
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty() && whys(&undone).contains("labels"), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
    assert_eq!(status_of(&world, &task), Some(LinkStatus::Active));
    settled(&world);
}

#[test]
fn a_pair_that_was_made_by_hand_comes_apart_with_what_each_said() {
    let world = world(Rules { creation: Creation::None, ..rules() });
    let task = world.tracker.put(1, titled("Fix login"));
    world.clock.advance(Duration::from_secs(5));
    let issue = world.forge.put(7, titled("Login is broken"));
    let pairs = [BySide { tracker: task.clone(), forge: issue.clone() }];
    let report = world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    assert_eq!((report.counts.joined, report.ended), (1, Ended::Settled), "{:?}", report.messages);
    assert_eq!(world.tracker.get(&task).content.title, "Login is broken");
    let undone = undo(&world, &UndoTarget::Pass(report.pass));
    assert_eq!(undone.left.len(), 0, "{}", whys(&undone));
    assert_eq!(world.tracker.get(&task).content.title, "Fix login");
    assert_eq!(world.forge.get(&issue).content.title, "Login is broken");
    assert_eq!(status_of(&world, &task), None);
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix login", "the pair is not made again by the marker");
}

#[test]
fn what_was_closed_for_a_deleted_partner_is_reopened_and_stays_open() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.put(2, titled("Another"));
    sweep(&world);
    let deleted = world.tracker.get(&task);
    world.tracker.delete(&task);
    let pass = sweep(&world);
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
    settled(&world);
    assert_eq!(world.forge.get(&issue).content.status, Status::Open, "it is not closed again");
    assert_eq!(status_of(&world, &issue), Some(LinkStatus::Retired));
    // The task comes back from the bin: the pair is kept in step again.
    back_from_the_bin(&world, &task, deleted);
    settled(&world);
    assert_eq!(status_of(&world, &issue), Some(LinkStatus::Active));
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
}

#[test]
fn what_is_linked_with_another_by_now_is_neither_written_nor_let_go_of() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.put(2, titled("Another"));
    sweep(&world);
    let deleted = world.forge.get(&issue);
    world.forge.delete(&issue);
    let pass = sweep(&world);
    assert_eq!(world.tracker.get(&task).content.status, Status::Done);
    let other = world.forge.put(70, Content { status: Status::Dropped, ..titled("Fix login") });
    let pairs = [BySide { tracker: task.clone(), forge: other.clone() }];
    world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    {
        let mut shelf = lock(&world.forge.shelf);
        shelf.gone.remove(&issue);
        shelf.items.insert(issue.clone(), deleted);
    }
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(
        undone.done.is_empty() && whys(&undone).contains("linked with github:acme/app#70 now"),
        "{}",
        whys(&undone)
    );
    assert_eq!(world.tracker.get(&task).content.status, Status::Done);
    assert_eq!((world.partner(&task), status_of(&world, &task)), (other, Some(LinkStatus::Active)));
    settled(&world);
}

#[test]
fn undoing_what_made_an_item_does_not_part_its_source_from_a_later_partner() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    let link = world.engine.store.link_of(&task).expect("the store").expect("a link");
    world.engine.part(&link, "let go of by ann", &PassOptions::default()).expect("a pass");
    let other = world.forge.put(70, titled("Fix login"));
    let pairs = [BySide { tracker: task.clone(), forge: other.clone() }];
    world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.left.iter().all(|left| left.already), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped, "what the pass made is closed");
    assert_eq!((world.partner(&task), status_of(&world, &task)), (other, Some(LinkStatus::Active)));
    settled(&world);
}

#[test]
fn undoing_an_item_twice_goes_two_steps_back_and_undoing_the_undo_goes_forth() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("one"));
    for title in ["two", "three"] {
        world.tracker.edit(&task, |item| item.content.title = title.to_owned());
        sweep(&world);
    }
    let target = UndoTarget::Item(issue.clone());
    undo(&world, &target);
    assert_eq!(world.forge.get(&issue).content.title, "two");
    let second = undo(&world, &target);
    assert_eq!(world.forge.get(&issue).content.title, "one", "{}", whys(&second));
    undo(&world, &UndoTarget::Pass(second.report.pass));
    assert_eq!(world.forge.get(&issue).content.title, "two");
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "two");
}

#[test]
fn what_is_put_back_stands_in_the_history_with_who_did_it() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    let filter = EntryFilter { pass: Some(undone.report.pass), ..EntryFilter::default() };
    let entries = world.engine.store.history(&filter).expect("the history");
    assert_eq!(entries.len(), 1);
    let entry = &entries[0].entry;
    assert_eq!((entry.kind.as_str(), &entry.item, entry.actor.as_str()), ("undo", &issue, "test"));
    assert_eq!(entry.changes[0].before, serde_json::json!("Fix everything"));
    assert_eq!(entry.changes[0].after, serde_json::json!("Fix login"));
    // And the pass is kept with its kind.
    let kept = world.engine.store.pass(undone.report.pass).expect("the store").expect("the pass");
    assert_eq!(kept.start.kind, "undo");
    settled(&world);
}

#[test]
fn a_pass_that_is_not_there_or_wrote_nothing_is_said_so() {
    let world = world(rules());
    pair(&world, titled("Fix login"));
    let idle = sweep(&world);
    for (pass, said) in [(idle, "wrote nothing"), (PassId(4_711), "no pass 4711")] {
        let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
        assert!(plan.message.as_deref().is_some_and(|message| message.contains(said)), "{:?}", plan.message);
    }
}

#[test]
fn what_was_let_go_of_stays_so_when_no_pair_is_left_and_the_repository_is_renamed() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped);

    world.forge.rename("acme/renamed");
    sweep(&world);
    sweep(&world);
    assert_eq!(status_of(&world, &task), None, "the pair is not made again");
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
    settled(&world);
}

#[test]
fn undoing_an_item_goes_back_step_by_step_with_passes_in_between() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("one"));
    for title in ["two", "three", "four"] {
        world.tracker.edit(&task, |item| item.content.title = title.to_owned());
        sweep(&world);
    }
    for title in ["three", "two", "one"] {
        let undone = undo(&world, &UndoTarget::Item(issue.clone()));
        assert_eq!(world.forge.get(&issue).content.title, title, "{}", whys(&undone));
        sweep(&world);
        assert_eq!(world.tracker.get(&task).content.title, title);
    }
    settled(&world);
}

#[test]
fn what_was_closed_for_a_deleted_partner_is_reopened_before_a_pass_has_seen_the_partner_again() {
    let mut rules = rules();
    rules.policy.status = FieldPolicy::Forge;
    let world = world(rules);
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.put(2, titled("Another"));
    sweep(&world);
    let deleted = world.tracker.get(&task);
    world.tracker.delete(&task);
    let pass = sweep(&world);
    assert_ne!(world.forge.get(&issue).content.status, Status::Open);
    back_from_the_bin(&world, &task, deleted);

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!(undone.left.len(), 0, "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
}

#[test]
fn texts_and_people_are_put_back_step_by_step_too_and_an_undo_of_them_is_undone() {
    let world = world(staffed());
    let (task, issue) = pair(&world, titled("Fix login"));
    for (body, people) in [("**one**, ~~struck~~", vec![]), ("# two\n\n- a\n- b", vec!["ann"]), ("three", vec!["bob"])]
    {
        world.tracker.edit(&task, |item| {
            item.content.body = body.to_owned();
            item.content.assignees.known = people.iter().map(ToString::to_string).collect();
        });
        sweep(&world);
    }
    let shows = || (world.forge.get(&issue).content.body, world.forge.get(&issue).content.assignees.known);
    let undone = undo(&world, &UndoTarget::Item(issue.clone()));
    assert_eq!(undone.left.len(), 0, "{}", whys(&undone));
    assert_eq!(shows(), ("# two\n\n- a\n- b".to_owned(), vec!["ann".to_owned()]));
    sweep(&world);
    let again = undo(&world, &UndoTarget::Item(issue.clone()));
    assert_eq!((shows(), again.left.len()), (("**one**, ~~struck~~".to_owned(), vec![]), 0), "{}", whys(&again));
    sweep(&world);
    let forth = undo(&world, &UndoTarget::Pass(again.report.pass));
    assert_eq!(forth.left.len(), 0, "{}", whys(&forth));
    assert_eq!(shows(), ("# two\n\n- a\n- b".to_owned(), vec!["ann".to_owned()]));
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.assignees.known, ["ann"]);
}
