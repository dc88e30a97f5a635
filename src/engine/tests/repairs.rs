//! Pairs that moved: edits cross over, deletions retire, and what was written by people stays.

use super::*;

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
fn a_restored_task_writes_nothing_to_an_issue_that_has_another_partner_by_now() {
    let world = World::new(Rules::default());
    let keys: Vec<ItemKey> = (1..=3).map(|number| world.tracker.put(number, task(&format!("Task {number}")))).collect();
    world.poll();
    let issue = world.partner(&keys[1]);
    let deleted = world.tracker.get(&keys[1]);
    world.tracker.delete(&keys[1]);
    world.pass(&Wake::Sweep);
    // Ann plans the work again, and links the new task by hand.
    let again = world.tracker.put(4, Content { status: Status::Done, ..task("Task 2") });
    let pairs = [BySide { tracker: again.clone(), forge: issue.clone() }];
    world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    assert_eq!(world.partner(&issue), again);
    world.settles();
    {
        let mut shelf = lock(&world.tracker.shelf);
        shelf.gone.clear();
        shelf.items.insert(keys[1].clone(), deleted);
    }
    world.tracker.edit(&keys[1], |item| item.content.title = "The old plan".into());
    let before = world.forge.get(&issue);
    for wake in [Wake::Poll { belt: false }, Wake::Sweep, Wake::Visit(vec![keys[1].clone()])] {
        let report = world.pass(&wake);
        assert_eq!(report.ended, Ended::Settled, "{wake:?}: {report:#?}");
        assert_eq!(world.forge.get(&issue), before, "{wake:?}");
    }
    let told: Vec<String> = world.pass(&Wake::Sweep).plan.left_alone.into_keys().collect();
    assert!(told.iter().any(|why| why.contains("linked with asana:4 now")), "{told:?}");
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
fn a_copy_that_lags_is_not_believed_of_what_was_edited_while_it_was_being_written() {
    let policy = Policy { labels: FieldPolicy::Both, ..Policy::default() };
    let world = World::new(Rules { policy, ..Rules::default() });
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    let issue = world.partner(&key);
    world.settles();
    let older = world.tracker.get(&key);
    world.forge.edit(&issue, |item| item.content.title = "Fix the login".into());
    lock(&world.tracker.shelf).meanwhile = Some(|item| {
        item.content.labels.insert("urgent".into());
    });
    world.poll();
    assert_eq!(world.tracker.get(&key).content.title, "Fix the login");
    // At once: what was edited meanwhile is due, and read from a copy that knows of neither.
    lock(&world.tracker.shelf).older.insert(key.clone(), older);
    world.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("the pass runs");
    assert_eq!(world.forge.get(&issue).content.title, "Fix the login", "older words were taken for an edit");
    lock(&world.tracker.shelf).older.clear();
    world.poll();
    assert!(world.forge.get(&issue).content.labels.contains("urgent"));
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

fn people() -> crate::model::People {
    crate::model::People::new(vec![crate::model::Person {
        name: "ann".into(),
        account: BySide { tracker: Some("11".into()), forge: Some("ann-gh".into()) },
        mention: false,
    }])
}

#[test]
fn another_issue_under_a_linked_ones_name_is_neither_read_for_it_nor_written_to() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    let issue = world.partner(&key);
    // The repository is renamed, and a new one gets its former name; who knew the name takes it for the old one still.
    let linked = world.forge.get(&issue);
    let mut stranger = Item { content: task("Somebody else's"), footer: None, marker: None, ..linked.clone() };
    stranger.native = Native::Issue { repo_id: 7, id: 77, node_id: "I_77".into() };
    world.clock.advance(Duration::from_secs(60));
    stranger.updated_at = world.clock.now();
    {
        let mut shelf = lock(&world.forge.shelf);
        shelf.items.insert(issue.clone(), stranger.clone());
        shelf.moved.push(issue.clone());
    }
    world.tracker.edit(&key, |item| item.content.body = "Ann's words.".into());
    for wake in [Wake::Poll { belt: false }, Wake::Sweep] {
        let report = world.pass(&wake);
        assert_eq!(report.ended, Ended::Drift, "{report:#?}");
        assert!(report.plan.skips.iter().any(|skip| skip.why.contains("another issue")), "{report:#?}");
    }
    assert_eq!(world.forge.get(&issue), stranger);
    let content = world.tracker.get(&key).content;
    assert_eq!((content.title.as_str(), content.body.as_str()), ("Fix login", "Ann's words."));
    // The right repository is named, and all goes on.
    let mut shelf = lock(&world.forge.shelf);
    shelf.items.insert(issue.clone(), linked);
    drop(shelf);
    world.clock.advance(Duration::from_secs(600));
    world.pass(&Wake::Sweep);
    world.settles();
    assert_eq!(world.forge.get(&issue).content.body, "Ann's words.");
}

#[test]
fn a_task_that_another_route_or_a_person_linked_since_it_was_looked_at_gets_no_second_partner() {
    let world = World::new(Rules::default());
    world.poll();
    let site = Engine { route: "site".parse().expect("a name"), holder: "site".into(), ..world.engine.clone() };
    world.tracker.put(1, task("Fix login"));
    // Both look before either writes.
    let lease = site.store.acquire(&site.route, "site", world.clock.now()).expect("the store").expect("it is free");
    let source = world.tracker.key(1);
    let marker = crate::model::Marker::naming(source.clone());
    let new =
        crate::store::NewIntent { kind: crate::store::IntentKind::Issue, source: &source, marker: &marker, sent: None };
    let intent = site.store.open_intent(&lease, &new, world.clock.now()).expect("announced");
    let report = world.poll();
    assert_eq!((report.ended, report.counts.created), (Ended::Drift, 0), "{report:#?}");
    assert!(report.messages.iter().any(|line| line.contains("on route site")), "{:?}", report.messages);
    assert!(world.forge.all().is_empty());
    // The other one gave up: nothing is lost.
    let closed = crate::store::Record { close_intents: vec![intent], ..Default::default() };
    site.store.record(&lease, &closed, world.clock.now()).expect("recorded");
    world.clock.advance(Duration::from_secs(600));
    world.poll();
    world.settles();
    assert_eq!(world.forge.all().len(), 1);
}

#[test]
fn a_new_repository_under_the_configured_name_is_refused_also_after_the_links_have_followed_the_old_one() {
    let world = World::new(both());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    world.forge.rename("acme/web");
    world.poll();
    world.settles();
    assert_eq!(world.partner(&key).to_string(), "github:acme/web#901");
    // Somebody makes a new one by the former name, which a process that was just started asks for.
    let alien = world.forge.put(1, task("Somebody else's"));
    world.forge.edit(&alien, |item| item.native = Native::Issue { repo_id: 8, id: 77, node_id: "I_77".into() });
    lock(&world.forge.shelf).items.retain(|key, _| *key == alien);
    world.tracker.put(2, task("New thing"));
    world.clock.advance(Duration::from_secs(60));
    let report = world.pass(&Wake::Sweep);
    assert_eq!(report.ended, Ended::Failed, "{report:#?}");
    assert!(report.messages.iter().any(|line| line.contains("acme/web") && line.contains("another repository")));
    assert_eq!((world.tracker.all().len(), world.forge.all().len()), (2, 1));
}

#[test]
fn a_task_whose_marker_names_an_issue_of_another_repository_is_not_joined_with_it_and_stops_nothing() {
    let world = World::new(both());
    let linked = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    // A task comes over from a project that is kept in step with another repository.
    let other = world.forge.put(5, task("Theirs"));
    let ItemKey::Issue(mut named) = other.clone() else { panic!("an issue") };
    named.repo = "acme/other".parse().expect("a name");
    let foreign = ItemKey::Issue(named);
    {
        let mut shelf = lock(&world.forge.shelf);
        shelf.moved.retain(|key| *key != other);
        let theirs = shelf.items.remove(&other).expect("it is there");
        let native = Native::Issue { repo_id: 8, id: 77, node_id: "I_77".into() };
        shelf.items.insert(foreign.clone(), Item { key: foreign.clone(), native, ..theirs });
        shelf.unlisted.insert(foreign.clone());
    }
    let theirs = world.forge.get(&foreign);
    let moved = world.tracker.put(2, task("Theirs"));
    let marker = Some(crate::model::Marker::naming(foreign.clone()));
    world.tracker.edit(&moved, |item| item.marker = marker);
    let report = world.poll();
    assert_eq!((report.ended, report.counts.joined, report.counts.created), (Ended::Settled, 0, 0), "{report:#?}");
    assert!(report.plan.skips.iter().any(|skip| skip.why.contains("another repository")), "{report:#?}");
    world.settles();
    assert_eq!(world.forge.get(&foreign), theirs);
    // The others go on.
    world.tracker.edit(&linked, |item| item.content.title = "Fix the login".into());
    world.poll();
    assert_eq!(world.forge.get(&world.partner(&linked)).content.title, "Fix the login");
    world.settles();
}
