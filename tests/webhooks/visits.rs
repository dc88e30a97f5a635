//! What a delivery comes to: one visit for a burst, one read for an echo, nothing lost in between.

use std::time::Duration;

use evenkeel::engine::{Ended, Engine, PassOptions, Wake};
use evenkeel::model::{Creation, IssueRef, ItemKey, Side, TaskGid};
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{Fault, Limit, Mishap, Outcome, Reason, When};
use evenkeel::store::{DeliveryFilter, Store, Verified};

use crate::between::Between;
use crate::station::Station;
use crate::support::rig::Rig;

/// A station with one pair in step, an hour old.
fn paired(rig: Rig) -> (Station, Engine, TaskGid, u64) {
    let station = Station::over(rig);
    let task = station.rig.task("Fix the login", "It fails.");
    let engine = station.rig.engine();
    station.bustle(&engine);
    let link = station.rig.store.link_of(&ItemKey::Task(task.clone())).expect("answers");
    let number = link.expect("a delivery alone made the pair").issue.number;
    station.rig.clock.advance(Duration::from_secs(3_600));
    let report = engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
    assert!(report.plan.is_empty(), "the visits left {:#?}", report.plan.repairs);
    station.bustle(&engine);
    assert_eq!(station.due(), Vec::<String>::new());
    station.rig.sandbox.log().reset();
    (station, engine, task, number)
}

impl Station {
    fn title(&self, number: u64) -> String {
        self.rig.sandbox.world().issue(&self.rig.repo.name, number).expect("an issue").title
    }

    fn name(&self, task: &TaskGid) -> String {
        self.rig.sandbox.world().task(task).expect("a task").name
    }

    fn settled(&self, what: &str) {
        self.rig.settles(what);
        assert!(matches!(self.rig.store.verify_history().expect("answers"), Verified::Whole { .. }));
    }
}

#[test]
fn an_edit_on_either_side_costs_two_reads_and_a_write_and_its_echo_one_read_and_no_write() {
    let (station, engine, task, number) = paired(Rig::in_memory(11));
    for (side, act) in [
        (Side::Tracker, &(|| station.rig.sandbox.asana().rename(&task, "Mend the login")) as &dyn Fn()),
        (Side::Forge, &|| station.rig.sandbox.github().retitle(&station.rig.repo.name, number, "Repair the login")),
    ] {
        station.rig.sandbox.log().reset();
        act();
        assert_eq!(station.deliver(), 1, "{side:?}");
        let reports = station.visit(&engine);
        assert_eq!(reports.len(), 1);
        assert_eq!(reports[0].counts.updated, 1, "{side:?}: {:#?}", reports[0]);
        assert_eq!(station.requests(), (2, 1), "{side:?}: {:#?}", station.rig.sandbox.log().requests());
        assert_eq!(station.name(&task), station.title(number));
        // Our own write comes back.
        station.rig.sandbox.log().reset();
        assert!(station.deliver() >= 1, "{side:?}: an echo is told of");
        let reports = station.visit(&engine);
        assert!(reports.iter().all(|report| report.plan.is_empty()), "{side:?}");
        assert_eq!(station.requests(), (1, 0), "{side:?}: {:#?}", station.rig.sandbox.log().requests());
        assert!(station.bustle(&engine).is_empty(), "an echo has no echo");
    }
    station.settled("edits");
}

#[test]
fn a_burst_on_one_item_is_one_visit() {
    let (station, engine, task, number) = paired(Rig::in_memory(11));
    for round in 0..20 {
        station.rig.sandbox.github().retitle(&station.rig.repo.name, number, &format!("Title {round}"));
        station.rig.sandbox.github().comment(&station.rig.repo.name, number, "A remark.");
    }
    assert_eq!(station.deliver(), 40);
    let reports = station.visit(&engine);
    assert_eq!(reports.len(), 1);
    assert_eq!(station.requests(), (2, 1), "{:#?}", station.rig.sandbox.log().requests());
    assert_eq!(station.name(&task), "Title 19");
    station.settled("a burst");
}

#[test]
fn an_old_delivery_again_is_answered_200_and_not_done_twice() {
    let (station, engine, task, number) = paired(Rig::in_memory(11));
    station.rig.sandbox.github().retitle(&station.rig.repo.name, number, "Once");
    station.rig.sandbox.asana().rename(&task, "Once");
    station.bustle(&engine);
    let rows =
        station.rig.store.deliveries(&DeliveryFilter { limit: 1_000, ..Default::default() }).expect("rows").len();
    station.rig.clock.advance(Duration::from_secs(7_200));
    station.rig.sandbox.log().reset();
    let came = station.door.came.lock().expect("the lock").clone();
    let mut again = 0;
    for letter in &came {
        let answer = station.door.knock(letter);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        // A handshake is over, and a heartbeat is like the other.
        if letter.headers.iter().any(|(name, _)| name == "x-hook-secret") {
            assert_eq!(answer.status, 401, "an old handshake");
            continue;
        }
        assert_eq!(answer.status, 200, "{body}");
        again += usize::from(body["again"] == true);
    }
    assert!(again >= 6, "{again} of {}", came.len());
    assert!(station.visit(&engine).is_empty(), "nothing is rung for");
    assert_eq!(station.requests(), (0, 0));
    let kept = station.rig.store.deliveries(&DeliveryFilter { limit: 1_000, ..Default::default() }).expect("rows");
    let beats = kept.iter().filter(|one| one.event == "heartbeat").count();
    assert!(kept.len() <= rows + beats, "{} of {rows}", kept.len());
    assert_eq!(kept.iter().filter(|one| one.repeats > 0).count(), again);
    assert_eq!(station.due(), Vec::<String>::new());
}

/// The delivery comes when the item was read and its visit not yet recorded: at any moment of it.
#[test]
fn a_delivery_during_a_visit_of_the_same_item_is_visited_afterwards() {
    for moment in 0.. {
        let mut rig = Rig::in_memory(11);
        let between = Between::over(rig.sandbox.transport());
        rig.transport = between.clone();
        let (station, engine, task, number) = paired(rig);
        let (sandbox, clock, repo) =
            (station.rig.sandbox.clone(), station.rig.clock.clone(), station.rig.repo.name.clone());
        station.rig.sandbox.asana().rename(&task, "First");
        station.deliver();
        between.acts(move |at, _| {
            if at == moment {
                clock.advance(Duration::from_secs(2));
                sandbox.github().close(&repo, number, Reason::Completed);
                clock.advance(Duration::from_secs(2));
                sandbox.webhooks().deliver_due();
            }
        });
        station.visit(&engine);
        if between.rests() <= moment {
            assert!(moment >= 6, "a visit has three requests: {moment}");
            break;
        }
        // No later delivery comes to the rescue.
        for side in Side::BOTH {
            station.rig.sandbox.deliveries().chance(1.0, side, Mishap::Lost);
        }
        station.bustle(&engine);
        // An edit between our write and its record cannot be told from a read that lags; for a while.
        for _ in 0..2 {
            station.rig.clock.advance(Duration::from_secs(60));
            engine.pass(&Wake::Retry, &PassOptions::default()).expect("a pass");
        }
        let world = station.rig.sandbox.world();
        let (shown, issue) = (world.task(&task).expect("a task"), world.issue(&station.rig.repo.name, number));
        let issue = issue.expect("an issue");
        assert_eq!((shown.name.as_str(), shown.completed), ("First", true), "moment {moment}: {:?}", station.due());
        assert_eq!((issue.title.as_str(), issue.closed), ("First", true), "moment {moment}");
        assert_eq!(station.due(), Vec::<String>::new(), "moment {moment}");
    }
}

#[test]
fn a_restart_between_the_answer_and_the_visit_loses_nothing() {
    let (station, _, task, number) = paired(Rig::new());
    station.rig.sandbox.github().retitle(&station.rig.repo.name, number, "Told before the restart");
    assert_eq!(station.deliver(), 1);
    let sent = station.rig.sandbox.webhooks().sent();
    assert_eq!(sent.last().expect("one").outcome, Outcome::Answered(200));
    let database = station.rig.database();
    let store = Store::open(&evenkeel::config::DatabaseUrl::Sqlite(database)).expect("it opens");
    let station = station.restarted(store);
    assert!(station.take_rings().is_empty(), "the bell is forgotten");
    // What a process does at its start, or when its bell for retries rings; GitHub is not asked for what moved.
    let report = station.rig.engine().pass(&Wake::Retry, &PassOptions::default()).expect("a pass");
    // The new process asks once what the repository is.
    assert_eq!((report.counts.updated, station.requests()), (1, (3, 1)));
    assert_eq!(station.name(&task), "Told before the restart");
    station.settled("a restart");
}

#[test]
fn a_kill_between_taking_up_and_the_visit_loses_nothing() {
    let (station, _, task, number) = paired(Rig::new());
    station.rig.sandbox.github().retitle(&station.rig.repo.name, number, "Told before the kill");
    assert_eq!(station.deliver(), 1);
    // What a pass does first; then it is gone, with its lease still held.
    let route = Rig::route();
    let lease = station.rig.store.acquire(&route, "killed", station.now()).expect("answers").expect("free");
    let rung = station.rig.store.rung(&route, station.now(), 100).expect("answers");
    assert_eq!(station.rig.store.take_up(&lease, rung).expect("taken up").len(), 1);
    let store = Store::open(&evenkeel::config::DatabaseUrl::Sqlite(station.rig.database())).expect("it opens");
    let station = station.restarted(store);
    station.rig.clock.advance(evenkeel::store::LEASE);
    let report = station.rig.engine().pass(&Wake::Retry, &PassOptions::default()).expect("a pass");
    assert_eq!((report.counts.updated, report.ended), (1, Ended::Settled));
    assert_eq!(station.name(&task), "Told before the kill");
    station.settled("a kill");
}

/// What waits for a limit is due under the task's name; a look at that very task alone must not settle it.
#[test]
fn an_echo_does_not_clear_what_waits_for_another_reason() {
    let (station, _, task, number) = paired(Rig::in_memory(11));
    station.rig.sandbox.deliveries().chance(1.0, Side::Forge, Mishap::Lost);
    station.rig.sandbox.github().retitle(&station.rig.repo.name, number, "Put off");
    station.deliver();
    let limit = Fault::Busy { limit: Limit::Secondary, status: 429, retry_after: Some(3_000) };
    let when = When::side(Side::Tracker).method(Method::Put).path(format!("/tasks/{task}"));
    station.rig.sandbox.faults().chance(1.0, when, limit);
    let report = station.rig.engine().pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
    assert_eq!((report.counts.again, station.due().len()), (1, 1), "{report:#?}");
    // The limit lets go, another process has not heard of it; somebody touches the task in a way that is nobody's
    // business.
    station.rig.sandbox.faults().clear();
    let engine = station.rig.engine();
    station.rig.sandbox.asana().add_tag(&task, "told");
    assert_eq!(station.deliver(), 1);
    station.visit(&engine);
    for _ in 0..2 {
        station.rig.clock.advance(Duration::from_secs(3_600));
        engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
    }
    assert_eq!(station.name(&task), "Put off", "{:?}", station.due());
    station.settled("put off");
}

#[test]
fn a_read_that_lags_behind_our_own_write_undoes_nobodys_edit() {
    let (station, engine, task, number) = paired(Rig::in_memory(11));
    station.rig.sandbox.asana().rename(&task, "Written by a person");
    station.deliver();
    station.visit(&engine);
    assert_eq!(station.title(number), "Written by a person");
    // The echo of our write comes at once, and is read from a copy that does not show the write yet.
    station.rig.sandbox.github().habits(|habits| habits.lag = Duration::from_secs(20));
    station.deliver();
    station.visit(&engine);
    assert_eq!(station.name(&task), "Written by a person", "the older state was taken for an edit");
    assert_eq!(station.title(number), "Written by a person");
    // Meanwhile the person goes on.
    station.rig.sandbox.asana().rename(&task, "Written again");
    station.bustle(&engine);
    assert_eq!(station.name(&task), "Written again");
    station.rig.clock.advance(Duration::from_secs(120));
    engine.pass(&Wake::Retry, &PassOptions::default()).expect("a pass");
    assert_eq!((station.name(&task), station.title(number)), ("Written again".to_owned(), "Written again".to_owned()));
    assert_eq!(station.due(), Vec::<String>::new());
    station.rig.sandbox.github().habits(|habits| habits.lag = Duration::ZERO);
    station.settled("a lag");
}

/// A task of ours is told of within milliseconds of its creation, when a copy of Asana may not know it yet.
#[test]
fn a_task_just_made_that_is_not_shown_yet_is_not_taken_for_deleted() {
    let mut rig = Rig::in_memory(11);
    rig.rules.creation = Creation::Both;
    let station = Station::over(rig);
    let engine = station.rig.engine();
    let number = station.rig.issue("From a person", "Words.");
    station.deliver();
    station.visit(&engine);
    let key = ItemKey::Issue(IssueRef { repo: station.rig.repo.name.clone(), number });
    let task = station.rig.store.link_of(&key).expect("answers").expect("linked").task;
    station.rig.sandbox.asana().habits(|habits| habits.lag = Duration::from_secs(30));
    for _ in 0..3 {
        station.deliver();
        station.visit(&engine);
    }
    let issue = station.rig.sandbox.world().issue(&station.rig.repo.name, number).expect("an issue");
    assert!(!issue.closed, "a task that is too new to be shown closed its issue");
    station.rig.clock.advance(Duration::from_secs(120));
    engine.pass(&Wake::Retry, &PassOptions::default()).expect("a pass");
    assert_eq!(station.due(), Vec::<String>::new());
    assert_eq!(station.name(&task), "From a person");
    station.rig.sandbox.asana().habits(|habits| habits.lag = Duration::ZERO);
    station.settled("a new task");
}

#[test]
fn what_a_poll_finds_counts_as_unheard_only_if_a_live_hook_did_not_tell() {
    let (station, engine, task, _) = paired(Rig::in_memory(11));
    let poll = || {
        let report = engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("a pass");
        (report.counts.updated, report.counts.unheard)
    };
    station.rig.sandbox.deliveries().next(1, Side::Tracker, Mishap::Lost);
    station.rig.sandbox.asana().rename(&task, "Lost on the way");
    station.deliver();
    assert_eq!(poll(), (1, 1), "the delivery was lost");
    station.rig.clock.advance(Duration::from_secs(600));
    station.bustle(&engine);

    station.rig.sandbox.asana().rename(&task, "Told, not yet visited");
    station.deliver();
    station.take_rings();
    assert_eq!(poll(), (1, 0), "the delivery is kept");

    let bare = Rig::in_memory(11);
    let task = bare.task("Fix the login", "");
    for _ in 0..2 {
        bare.pass(&Wake::Poll { belt: false }).expect("a pass");
    }
    bare.clock.advance(Duration::from_secs(600));
    bare.sandbox.asana().rename(&task, "Nobody tells");
    let report = bare.pass(&Wake::Poll { belt: false }).expect("a pass");
    assert_eq!((report.counts.updated, report.counts.unheard), (1, 0), "without hooks nothing is missed");
}
