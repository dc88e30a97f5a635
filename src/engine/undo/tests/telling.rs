//! What an undo says it did, and did not, is what happened.

use super::*;

#[test]
fn a_write_that_failed_has_nothing_to_undo_and_an_undo_that_failed_can_be_done_again() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    world.forge.trouble(Some(Trouble::Refused));
    let failed = sweep(&world);
    let plan = world.engine.plan_undo(&UndoTarget::Pass(failed)).expect("a plan");
    assert!(plan.message.is_some_and(|message| message.contains("wrote nothing")));

    let parked = world.engine.store.parked(None).expect("the store");
    world.engine.store.unpark(parked[0].id, world.clock.now()).expect("the store");
    let pass = sweep(&world);
    assert_eq!(world.forge.get(&issue).content.title, "Fix everything");
    world.forge.trouble(Some(Trouble::Refused));
    let undone = undo(&world, &UndoTarget::Item(issue.clone()));
    assert!(undone.done.is_empty() && whys(&undone).contains("422"), "{}", whys(&undone));
    // The failed undo does not count as one.
    let again = world.engine.plan_undo(&UndoTarget::Item(issue.clone())).expect("a plan");
    assert_eq!(again.pass, Some(pass));
    undo(&world, &UndoTarget::Item(issue.clone()));
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
    settled(&world);
}

#[test]
fn an_undo_that_lets_go_of_a_pair_and_gets_no_answer_is_not_carried_over_to_the_other_half() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    world.forge.trouble(Some(Trouble::LostAnswer));
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("no usable answer"), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.status, Status::Dropped);
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.status, Status::Open, "the task stays as it was");
    assert_eq!((status_of(&world, &task), world.forge.all().len()), (None, 1));
    // What did not get through at all is done the second time.
    let other = world.tracker.put(2, titled("Another"));
    let pass = sweep(&world);
    let made = world.partner(&other);
    world.forge.trouble(Some(Trouble::Unreachable));
    undo(&world, &UndoTarget::Pass(pass));
    settled(&world);
    assert_eq!(world.forge.get(&made).content.status, Status::Open);
    let again = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((again.done.len(), again.left.len()), (1, 0), "{}", whys(&again));
    assert_eq!(world.forge.get(&made).content.status, Status::Dropped);
    settled(&world);
    assert_eq!(world.tracker.get(&other).content.status, Status::Open);
}

#[test]
fn what_a_service_drops_without_a_word_is_not_said_to_be_put_back_and_can_be_undone_later() {
    let world = world(rules());
    let (task, _) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| {
        item.content.title = "Fix everything".to_owned();
        item.content.status = Status::Done;
    });
    let pass = sweep(&world);
    lock(&world.forge.shelf).dropped.insert(Field::Status);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    let write = undone.done[0].writes.forge.as_ref().expect("the title was written");
    assert_eq!(write.fields.iter().map(|change| change.field).collect::<Vec<_>>(), [Field::Title]);
    assert!(write.change.status.is_none() && write.change.title.is_some(), "{write:?}");
    assert_eq!(undone.left.iter().map(|left| left.field).collect::<Vec<_>>(), [Some(Field::Status)]);
    assert!(whys(&undone).contains("accepted the change but did not make it"), "{}", whys(&undone));
    assert_eq!(undone.report.ended, Ended::Drift);
    lock(&world.forge.shelf).dropped.clear();
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.status, Status::Open);
    assert_eq!(world.tracker.get(&task).content.title, "Fix login");
}

#[test]
fn an_undo_whose_turn_comes_late_reads_again_and_writes() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    world.forge.trouble(Some(Trouble::LateOnce));
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
    settled(&world);

    // An item that a pass made is closed, and what it was read as before is looked at again.
    let other = world.tracker.put(2, titled("Another"));
    let pass = sweep(&world);
    let made = world.partner(&other);
    world.forge.trouble(Some(Trouble::Late));
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("late"), "{}", whys(&undone));
    world.forge.trouble(None);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    assert_eq!(world.forge.get(&made).content.status, Status::Dropped);
    settled(&world);
}

#[test]
fn undoing_what_parted_a_pair_says_how_the_pair_is_made_again() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    let again = undo(&world, &UndoTarget::Pass(undone.report.pass));
    assert_eq!((again.done.len(), again.report.ended), (1, Ended::Drift));
    let told = format!("evenkeel links add {task} {issue}");
    assert!(whys(&again).contains(&told), "{}", whys(&again));
    assert_eq!(world.forge.get(&issue).content.status, Status::Open);
    settled(&world);
    // So does what an operator let go of.
    let pairs = [BySide { tracker: task.clone(), forge: issue }];
    world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    let link = world.engine.store.link_of(&task).expect("the store").expect("a link");
    let parting = world.engine.part(&link, "let go of by ann", &PassOptions::default()).expect("a pass");
    let plan = world.engine.plan_undo(&UndoTarget::Pass(parting.report.pass)).expect("a plan");
    assert!(plan.is_empty() && plan.left().any(|left| left.why.contains(&told)), "{plan:?}");
    settled(&world);
}

#[test]
fn an_undo_on_a_parked_pair_promises_no_write_of_the_next_pass() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| item.content.title = "Fix everything".to_owned());
    let pass = sweep(&world);
    world.tracker.edit(&task, |item| item.content.body = "more to do".to_owned());
    world.forge.trouble(Some(Trouble::Refused));
    sweep(&world);
    let parked = world.engine.store.parked(None).expect("the store");
    assert_eq!(parked.len(), 1);

    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!(undone.done[0].parked, [parked[0].id]);
    assert!(undone.done[0].then.tracker.is_none(), "{:?}", undone.done);
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");
    sweep(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix everything");
    world.engine.store.unpark(parked[0].id, world.clock.now()).expect("the store");
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix login");
}

#[test]
fn of_two_writes_of_which_one_fails_the_other_is_told() {
    let world = world(Rules { creation: Creation::None, ..rules() });
    let task = world.tracker.put(1, Content { labels: labels(&["a"]), ..titled("Fix login") });
    world.clock.advance(Duration::from_secs(5));
    let issue = world.forge.put(7, titled("Login is broken"));
    let pairs = [BySide { tracker: task.clone(), forge: issue.clone() }];
    let joined = world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    assert_eq!(world.tracker.get(&task).content.title, "Login is broken");
    assert_eq!(world.forge.get(&issue).content.labels, labels(&["a"]));

    world.forge.trouble(Some(Trouble::Refused));
    let undone = undo(&world, &UndoTarget::Pass(joined.pass));
    let told = &undone.done[0];
    assert!(told.unlink && told.writes.tracker.is_some() && told.writes.forge.is_none(), "{told:?}");
    assert!(undone.left.iter().all(|left| left.item == issue) && undone.left.len() == 1, "{}", whys(&undone));
    assert_eq!(world.tracker.get(&task).content.title, "Fix login");
    settled(&world);
    undo(&world, &UndoTarget::Pass(joined.pass));
    assert_eq!(world.forge.get(&issue).content.labels, labels(&[]));
}

#[test]
fn what_an_undo_did_not_come_to_is_among_what_is_left() {
    let world = world(rules());
    let tasks: Vec<ItemKey> = (1..=5).map(|number| world.tracker.put(number, titled("Fix login"))).collect();
    let pass = sweep(&world);
    let issues: Vec<ItemKey> = tasks.iter().map(|task| world.partner(task)).collect();
    let plan = world.engine.plan_undo(&UndoTarget::Pass(pass)).expect("a plan");
    assert_eq!(plan.steps.len(), 5);
    lock(&world.forge.shelf).unanswered.extend(issues.iter().skip(1).cloned());
    let undone = world.engine.undo(&plan, &PassOptions::default()).expect("an undo");
    assert_eq!((undone.report.ended, undone.done.len()), (Ended::Failed, 0));
    assert_eq!((undone.left.len(), undone.report.counts.again, undone.report.counts.skipped), (5, 3, 2));
    assert_eq!(whys(&undone).matches("no route").count(), 3, "{}", whys(&undone));
    assert_eq!(whys(&undone).matches("ended before it").count(), 2, "{}", whys(&undone));
    lock(&world.forge.shelf).unanswered.clear();
    assert_eq!(undo(&world, &UndoTarget::Pass(pass)).done.len(), 5);
    settled(&world);
}

#[test]
fn what_was_moved_since_is_not_said_to_be_gone() {
    let world = world(rules());
    let task = world.tracker.put(1, titled("Fix login"));
    let pass = sweep(&world);
    let issue = world.partner(&task);
    let elsewhere: ItemKey = "github:acme/other#5".parse().expect("an item");
    lock(&world.forge.shelf).transferred.insert(issue, elsewhere);
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert!(whys(&undone).contains("moved to github:acme/other#5"), "{}", whys(&undone));
    assert_eq!(status_of(&world, &task), Some(LinkStatus::Active));
}

#[test]
fn of_a_write_that_ended_halfway_the_made_part_is_told_and_can_be_undone() {
    let world = world(rules());
    let (task, issue) = pair(&world, titled("Fix login"));
    world.tracker.edit(&task, |item| {
        item.content.title = "Fix everything".to_owned();
        item.content.labels = labels(&["urgent"]);
    });
    // The pass writes the labels and is late with the title; the second try has the title left.
    world.forge.trouble(Some(Trouble::Halfway));
    let pass = sweep(&world);
    assert_eq!(world.forge.get(&issue).content.title, "Fix everything");

    world.forge.trouble(Some(Trouble::Halfway));
    let undone = undo(&world, &UndoTarget::Pass(pass));
    let write = undone.done[0].writes.forge.as_ref().expect("the labels were written");
    assert_eq!(write.fields.iter().map(|change| change.field).collect::<Vec<_>>(), [Field::Labels]);
    assert!(whys(&undone).contains("late") && undone.left.len() == 1, "{}", whys(&undone));
    assert_eq!(world.forge.get(&issue).content.labels, labels(&[]));
    let undone = undo(&world, &UndoTarget::Pass(pass));
    assert_eq!((undone.done.len(), undone.left.len()), (1, 0), "{}", whys(&undone));
    settled(&world);
    assert_eq!(world.tracker.get(&task).content.title, "Fix login");
    assert_eq!(world.tracker.get(&task).content.labels, labels(&[]));
}
