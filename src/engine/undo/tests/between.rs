//! What somebody did after a pass, and before or while it is undone, stays.

use super::*;

#[test]
fn what_somebody_changed_since_is_left_alone() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| {
        item.content.title = "Fix everything".to_owned();
        item.content.status = Status::Done;
    });
    let pass = sweep(&world);
    world.forge.edit(&issue, |item| item.content.title = "Fix the login page".to_owned());
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("Fix the login page"), "{}", whys(&undone));
    // Field by field: the status nobody touched comes back.
    assert_eq!(world.forge.get(&issue).content.title, "Fix the login page");
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
    assert_eq!(undone.report.ended, Ended::Drift);
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix the login page");
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
}

#[test]
fn an_undo_writes_nothing_that_it_did_not_show() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
    world.forge.edit(&issue, |item| item.content.title = "Mine".to_owned());
    let undone = world.engine.undo(&plan, &PassOptions::default()).expect("an undo");
    assert!(undone.done.is_empty() && whys(&undone).contains("changed after"), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.title, "Mine");
    settled(&world);
}

#[test]
fn what_is_edited_between_an_undos_look_and_its_write_is_not_overwritten() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    // It is read when the undo is shown, when it is carried out, and before it is written.
    lock(&world.forge.shelf).before_read =
        Some(BeforeRead { read: 3, item: issue.clone(), edit: |item| item.content.title = "Bob's title".to_owned() });
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty() && whys(&undone).contains("it changed after"), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.title, "Bob's title");
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Bob's title");
}

#[test]
fn an_undo_does_not_believe_a_copy_that_lags() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    let before = world.forge.get(&issue);
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    lock(&world.forge.shelf).older.insert(issue.clone(), before);
    let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
    assert!(plan.left().any(|left| left.why.contains("could not be read")), "{plan:?}");
    lock(&world.forge.shelf).older.clear();
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), world.forge.get(&issue).content.title.as_str()), (1, "Fix login"));
    settled(&world);
}

#[test]
fn a_pair_is_not_let_go_of_nor_counted_so_when_its_item_moved_before_the_write() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    lock(&world.forge.shelf).before_read =
        Some(BeforeRead { read: 3, item: issue.clone(), edit: |item| item.content.title = "Bob's title".to_owned() });
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty() && whys(&undone).contains("it changed after"), "{}", whys(&undone));
    assert_eq!((undone.report.counts.noted, status_of(&world, &task)), (0, Some(LinkStatus::Active)));
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Bob's title");
}

#[test]
fn an_edit_of_the_partner_that_no_pass_has_seen_is_not_overwritten_by_an_undo() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    world.tracker.edit(&task, |item| item.content.title = "Fix the login page".to_owned());

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("Fix the login page"), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.title, "Fix everything");
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix the login page");
    assert_eq!(world.forge.get(&issue).content.title, "Fix the login page");
}

#[test]
fn an_edit_of_the_partner_after_the_undo_was_shown_is_not_overwritten_by_it() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    world.clock.advance(Duration::from_secs(60));
    let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
    world.tracker.edit(&task, |item| item.content.title = "Fix the login page".to_owned());

    let undone = world.engine.undo(&plan, &PassOptions::default()).expect("an undo");
    assert_eq!(undone.done.len(), 0);
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix the login page");
    assert_eq!(world.forge.get(&issue).content.title, "Fix the login page");
}

#[test]
fn what_left_the_project_is_not_written_to_by_an_undo() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.forge.edit(&issue, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    world.tracker.edit(&task, |item| item.place = Place::Left);

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("left the project"), "{}", whys(&undone));
    assert_eq!(world.tracker.get(&task).content.title, "Fix everything");
    settled(&world);
}

#[test]
fn a_task_that_a_pass_made_and_somebody_moved_elsewhere_is_not_closed_by_an_undo() {
    let world = world(Rules { creation: Creation::ForgeToTracker, ..rules() });
    let issue = world.forge.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let task = world.partner(&issue);
    sweep(&world);
    world.tracker.edit(&task, |item| item.place = Place::Left);

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("left the project"), "{}", whys(&undone));
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
    settled(&world);
}

#[test]
fn what_was_written_again_since_is_not_put_back_though_it_shows_the_same() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    let turn = |status: Status| {
        world.clock.advance(Duration::from_secs(60));
        world.forge.edit(&issue, |item| item.content.status = status);
        sweep(&world)
    };
    let pass = turn(Status::Done);
    turn(Status::Open);
    let last = turn(Status::Done);

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains(&format!("pass {last}")), "{}", whys(&undone));
    assert_eq!(world.tracker.get(&task).content.status, Status::Done);
    // The last one can be undone.
    let undone = undo(&world, &UndoTarget::Pass(last));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    settled(&world);
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
}

#[test]
fn of_a_pass_that_was_undone_in_part_the_rest_still_counts_as_written() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    let turn = |status: Status, title: &str| {
        world.clock.advance(Duration::from_secs(60));
        world.forge.edit(&issue, |item| {
            item.content.status = status;
            item.content.title = title.to_owned();
        });
        sweep(&world)
    };
    let first = turn(Status::Done, "Fix login");
    let second = turn(Status::Open, "Fix everything");
    let third = turn(Status::Done, "Fix everything");
    // The status is as before the second already: only its title is put back.
    let undone = undo(&world, &UndoTarget::Pass(second));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    sweep(&world);

    let undone = undo(&world, &UndoTarget::Pass(first));
    assert!(undone.done.is_empty() && whys(&undone).contains(&format!("pass {third}")), "{}", whys(&undone));
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.status, Status::Done, "somebody closed it since");
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
}

#[test]
fn a_text_or_a_person_that_had_another_value_in_between_is_left() {
    let world = world(staffed());
    let (task, issue) = pair(&world, titled("Fix login"));
    let turn = |body: &str, people: &[&str]| {
        world.clock.advance(Duration::from_secs(60));
        world.tracker.edit(&task, |item| {
            item.content.body = body.to_owned();
            item.content.assignees.known = people.iter().map(ToString::to_string).collect();
        });
        sweep(&world)
    };
    let first = turn("one", &["ann"]);
    assert_eq!(world.forge.get(&issue).content.assignees.known, ["ann"]);
    turn("two", &[]);
    let last = turn("one", &["ann"]);
    let undone = undo(&world, &UndoTarget::Pass(first));
    assert!(undone.done.is_empty(), "{:?}", undone.done);
    assert_eq!(whys(&undone).matches(&format!("pass {last}")).count(), 2, "{}", whys(&undone));
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.body, "one");
    assert_eq!(world.tracker.get(&task).content.assignees.known, ["ann"]);
}

#[test]
fn an_edit_of_the_partner_while_an_undo_waits_for_its_turn_is_not_overwritten() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    // The task is read when the undo is shown, when it is carried out, and again because the issue's read took long.
    lock(&world.forge.shelf).slow.insert(issue.clone(), Duration::from_secs(20));
    lock(&world.tracker.shelf).before_read =
        Some(BeforeRead { read: 3, item: task.clone(), edit: |item| item.content.title = "Ann's title".to_owned() });
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty() && whys(&undone).contains("it changed after"), "{}", whys(&undone));
    // Where it goes on taking long, nothing is written.
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty(), "{:?}", undone.done);
    lock(&world.forge.shelf).slow.clear();
    settled(&world);
    assert_eq!(world.forge.get(&issue).content.title, "Ann's title");
}

#[test]
fn people_beside_somebody_unknown_who_turned_in_between_are_left() {
    let world = world(staffed());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.forge.edit(&issue, |item| item.content.assignees.unknown = vec!["zed".to_owned()]);
    sweep(&world);
    let turn = |name: &str| {
        world.clock.advance(Duration::from_secs(60));
        world.tracker.edit(&task, |item| item.content.assignees.known = vec![name.to_owned()]);
        sweep(&world)
    };
    let first = turn("ann");
    assert_eq!(world.forge.get(&issue).content.assignees.known, ["ann"]);
    turn("bob");
    let last = turn("ann");
    let before = world.forge.get(&issue).content.assignees;
    let undone = undo(&world, &UndoTarget::Pass(first));
    assert!(undone.done.is_empty() && whys(&undone).contains(&format!("pass {last}")), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.assignees, before);
    settled(&world);
}

#[test]
fn what_leaves_the_project_while_an_undo_waits_for_its_turn_is_not_written_to() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.forge.edit(&issue, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    // It is read when the undo is shown, when it is carried out, before it is written, and again as its turn came late.
    world.tracker.trouble(Some(Trouble::LateOnce));
    lock(&world.tracker.shelf).before_read =
        Some(BeforeRead { read: 4, item: task.clone(), edit: |item| item.place = Place::Left });
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(undone.done.is_empty() && whys(&undone).contains("it changed after"), "{}", whys(&undone));
    assert_eq!(world.tracker.get(&task).content.title, "Fix everything");
    settled(&world);
}
