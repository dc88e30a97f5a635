//! Pull requests: the linked task is told once of each step, and a merge is named as what completed it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::engine::{Engine, PassOptions, Wake};
use evenkeel::model::{ItemKey, Side, TaskGid};
use evenkeel::sandbox::{Fault, Mishap, When};
use evenkeel::store::EntryFilter;

use crate::between::Between;
use crate::station::Station;
use crate::support::rig::Rig;

/// A station with one pair in step, its task told once of its issue.
fn paired(rig: Rig) -> (Station, TaskGid, u64) {
    let station = Station::over(rig);
    let task = station.rig.task("Fix the login", "It fails.");
    station.bustle(&station.plain());
    let link = station.rig.store.link_of(&ItemKey::Task(task.clone())).expect("answers").expect("linked");
    station.rig.clock.advance(Duration::from_secs(3_600));
    (station, task, link.issue.number)
}

impl Station {
    /// An engine past whoever acts in between.
    fn plain(&self) -> Engine {
        self.rig.engine_through(&self.rig.sandbox.transport())
    }

    fn pull(&self, number: u64) -> u64 {
        self.rig.sandbox.github().pull_request(&self.rig.repo.name, "Mend it", &format!("Fixes #{number}"))
    }

    /// The comments of a task behind the one that names its issue.
    fn told(&self, task: &TaskGid) -> Vec<String> {
        let comments = self.rig.sandbox.world().task(task).expect("a task").comments;
        comments.into_iter().filter(|comment| !comment.contains("Linked with GitHub issue")).collect()
    }

    fn completed(&self, task: &TaskGid) -> bool {
        self.rig.sandbox.world().task(task).expect("a task").completed
    }

    /// The causes of everything written to a task.
    fn causes(&self, task: &TaskGid) -> Vec<String> {
        let filter = EntryFilter { item: Some(ItemKey::Task(task.clone())), ..EntryFilter::default() };
        let entries = self.rig.store.history(&filter).expect("a history");
        let updates = entries.into_iter().filter(|kept| kept.entry.kind == "update");
        updates.map(|kept| kept.entry.cause).collect()
    }

    fn names_the_merge(&self, task: &TaskGid, pull: u64) -> bool {
        self.causes(task).iter().any(|cause| cause.contains(&format!("acme/app#{pull}")) && cause.contains("merged"))
    }
}

#[test]
fn a_task_is_told_once_of_each_step_and_completed_by_the_merge() {
    let (station, task, number) = paired(Rig::in_memory(11));
    let engine = station.rig.engine();
    let (github, repo) = (station.rig.sandbox.github(), station.rig.repo.name.clone());
    let first = station.pull(number);
    station.bustle(&engine);
    let told = station.told(&task);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("acme/app#{first}")) && told[0].contains("opened"), "{told:?}");
    github.close_unmerged(&repo, first);
    station.bustle(&engine);
    assert_eq!(station.told(&task).len(), 2);
    assert!(station.told(&task)[1].contains("without merging it"), "{:?}", station.told(&task));
    assert!(!station.completed(&task));
    let second = station.pull(number);
    station.bustle(&engine);
    github.merge(&repo, second);
    station.bustle(&engine);
    let told = station.told(&task);
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[3].contains(&format!("acme/app#{second}")) && told[3].contains("merged"), "{told:?}");
    assert!(station.completed(&task));
    assert!(station.names_the_merge(&task, second), "{:?}", station.causes(&task));
    station.rig.settles("pull requests");
    assert_eq!(station.told(&task).len(), 4, "nothing is told again");
}

#[test]
fn a_merge_is_named_whichever_delivery_came_first() {
    for told_last in [false, true] {
        let (station, task, number) = paired(Rig::in_memory(11));
        station.rig.sandbox.github().habits(|habits| habits.merge_told_last = told_last);
        let engine = station.rig.engine();
        let pull = station.pull(number);
        station.bustle(&engine);
        station.rig.sandbox.github().merge(&station.rig.repo.name, pull);
        station.bustle(&engine);
        assert!(station.completed(&task), "told last: {told_last}");
        assert!(station.names_the_merge(&task, pull), "told last: {told_last}: {:?}", station.causes(&task));
        assert_eq!(station.told(&task).len(), 2);
        station.rig.settles("a merge");
    }
}

#[test]
fn the_closing_told_and_visited_long_before_the_merge_completes_the_task_and_the_comment_comes_later() {
    let (station, task, number) = paired(Rig::in_memory(11));
    let engine = station.rig.engine();
    let pull = station.pull(number);
    station.bustle(&engine);
    station.rig.sandbox.deliveries().next(1, Side::Forge, Mishap::Delayed(Duration::from_secs(600)));
    station.rig.sandbox.github().merge(&station.rig.repo.name, pull);
    station.bustle(&engine);
    assert!(station.completed(&task) && station.told(&task).len() == 1, "{:?}", station.told(&task));
    station.rig.clock.advance(Duration::from_secs(900));
    station.bustle(&engine);
    assert_eq!(station.told(&task).len(), 2);
    station.rig.settles("a merge told late");
    assert_eq!(station.told(&task).len(), 2);
}

#[test]
fn a_route_that_wants_no_comments_gets_none_and_still_learns_the_cause() {
    let mut rig = Rig::in_memory(11);
    rig.rules.comment_on_pull_requests = false;
    let (station, task, number) = paired(rig);
    let engine = station.rig.engine();
    let pull = station.pull(number);
    station.bustle(&engine);
    station.rig.sandbox.github().merge(&station.rig.repo.name, pull);
    station.bustle(&engine);
    assert_eq!(station.told(&task), Vec::<String>::new());
    assert!(station.completed(&task));
    assert!(station.names_the_merge(&task, pull), "{:?}", station.causes(&task));
    station.rig.settles("no comments");
}

/// What befalls a pass at one of its moments.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    Stopped,
    AnswerLost,
    Refused,
    Broken,
}

#[test]
fn each_step_is_told_once_whatever_moment_a_pass_is_stopped_or_an_answer_lost_at() {
    for trouble in [Trouble::Stopped, Trouble::AnswerLost, Trouble::Refused, Trouble::Broken] {
        for moment in 0.. {
            let mut rig = Rig::in_memory(11);
            let between = Between::over(rig.sandbox.transport());
            rig.transport = between.clone();
            let (station, task, number) = paired(rig);
            let pull = station.pull(number);
            station.bustle(&station.plain());
            station.rig.sandbox.github().merge(&station.rig.repo.name, pull);
            station.deliver();
            let engine = station.rig.engine();
            let (stop, sandbox) = (engine.stop.clone(), station.rig.sandbox.clone());
            let acted: Arc<Mutex<bool>> = Arc::default();
            let done = acted.clone();
            between.acts(move |at, _| {
                if at == moment {
                    *done.lock().expect("the lock") = true;
                    match trouble {
                        Trouble::Stopped => stop.raise(),
                        Trouble::AnswerLost => sandbox.faults().next(1, When::any(), Fault::CutAfter),
                        Trouble::Refused => sandbox.faults().next(1, When::any(), Fault::Refused),
                        Trouble::Broken => {
                            sandbox.faults().next(1, When::any(), Fault::Broken { status: 502, done: true });
                        }
                    }
                }
            });
            station.take_rings();
            let _ = engine.pass(&Wake::Retry, &PassOptions::default());
            between.rests();
            if !*acted.lock().expect("the lock") {
                assert!(moment >= 8, "{trouble:?}: the pass had {moment} moments only");
                break;
            }
            station.rig.sandbox.faults().clear();
            let what = format!("{trouble:?} at moment {moment}");
            station.rig.settles(&what);
            let told = station.told(&task);
            assert_eq!(told.len(), 2, "{what}: {told:#?}");
            assert!(station.completed(&task), "{what}");
            assert!(station.rig.store.open_notices(&Rig::route(), 10).expect("answers").is_empty(), "{what}");
        }
    }
}
