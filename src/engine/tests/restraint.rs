//! What is left undone: what could not be read, what looks like an accident, what somebody else is at work on.

use super::*;

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
