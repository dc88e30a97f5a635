//! Urgent visits past a pass: whatever moment of an import they come at, they repair at once, and nothing is lost,
//! doubled or undone.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::clock::Clock as _;
use evenkeel::engine::{Ended, Engine, Overtaking, PassOptions, Report, Wake};
use evenkeel::model::{ItemKey, Side, TaskGid};
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{Fault, Limit, Mishap, Reason, Sandbox, When};
use evenkeel::text;

use crate::between::Between;
use crate::station::Station;
use crate::support::rig::Rig;

/// Tasks that the pass makes issues for.
const IMPORT: usize = 2;

/// One place: a pair in step that the story is about, another one, and an import waiting to be made.
struct Place {
    station: Station,
    between: Arc<Between>,
    task: TaskGid,
    number: u64,
}

/// Who acts at a moment of the pass, from outside of it.
#[derive(Clone)]
struct World {
    sandbox: Sandbox,
    project: evenkeel::model::ProjectGid,
    repo: evenkeel::model::RepoName,
    task: TaskGid,
    number: u64,
}

impl World {
    /// The issue's title as its task must say it, and so on: what a person sees of the pair.
    fn shown(&self) -> ((String, String, bool), (String, String, bool)) {
        let world = self.sandbox.world();
        let task = world.task(&self.task).expect("a task");
        let issue = world.issue(&self.repo, self.number).expect("an issue");
        let notes = text::split_tracker(&task.html_notes, &evenkeel::model::People::default()).body;
        let body = text::split_forge(&issue.body).body;
        ((task.name, notes, task.completed), (issue.title, body, issue.closed))
    }

    fn in_step(&self) -> bool {
        let (task, issue) = self.shown();
        task == issue
    }

    fn append_to_body(&self, line: &str) {
        let issue = self.sandbox.world().issue(&self.repo, self.number).expect("an issue");
        let split = text::split_forge(&issue.body);
        let body = text::join_forge(&format!("{}\n\n{line}", split.body.trim_end()), split.footer.as_deref());
        self.sandbox.github().write_body(&self.repo, self.number, &body);
    }
}

impl Place {
    fn new() -> Self {
        let mut rig = Rig::in_memory(11);
        let between = Between::over(rig.sandbox.transport());
        rig.transport = between.clone();
        let task = rig.task("Fix the login", "It fails.");
        rig.task("Another", "Words.");
        let station = Station::without_hooks(rig);
        let rig = &station.rig;
        for wake in [Wake::Poll { belt: false }, Wake::Poll { belt: false }] {
            rig.pass(&wake).expect("a pass");
        }
        let link = rig.store.link_of(&ItemKey::Task(task.clone())).expect("answers").expect("linked");
        let number = link.issue.number;
        // Later than what lags, so that nothing is disbelieved.
        rig.clock.advance(Duration::from_secs(300));
        station.ensure();
        station.deliver();
        station.take_rings();
        rig.clock.advance(Duration::from_secs(300));
        rig.pass(&Wake::Poll { belt: false }).expect("a pass");
        Self { station, between, task, number }
    }

    fn world(&self) -> World {
        let rig = &self.station.rig;
        World {
            sandbox: rig.sandbox.clone(),
            project: rig.project.gid.clone(),
            repo: rig.repo.name.clone(),
            task: self.task.clone(),
            number: self.number,
        }
    }

    /// What the import makes partners for; nobody tells of it.
    fn import(&self) {
        self.lose(true);
        for number in 0..IMPORT {
            self.station.rig.task(&format!("New {number}"), "Fresh.");
        }
        self.station.deliver();
        self.lose(false);
    }

    /// Whether deliveries get lost from now on.
    fn lose(&self, lost: bool) {
        let deliveries = self.station.rig.sandbox.deliveries();
        deliveries.clear();
        if lost {
            for side in Side::BOTH {
                deliveries.chance(1.0, side, Mishap::Lost);
            }
        }
    }

    /// An edit of which no delivery tells.
    fn unheard(&self, act: impl FnOnce(&World)) {
        self.lose(true);
        act(&self.world());
        self.station.deliver();
        self.lose(false);
        self.station.rig.clock.advance(Duration::from_secs(20));
    }

    /// The pass, with `act` and then a visit past it at its `at`-th moment. Answers the visit's report, if there was
    /// one, what `after` saw right behind it, and how many moments the pass had.
    fn pass<T: Send + 'static>(
        &self,
        at: u64,
        engine: &Engine,
        act: impl Fn(&World) + Send + 'static,
        after: impl Fn(&World, &Option<Report>) -> T + Send + 'static,
    ) -> (Result<Report, evenkeel::engine::EngineError>, Option<T>, u64) {
        let overtaking = Overtaking::default();
        let visitor = Engine { holder: "visitor".into(), ..self.plain_engine() };
        let (world, sandbox, clock) = (self.world(), self.station.rig.sandbox.clone(), self.station.rig.clock.clone());
        let saw: Arc<Mutex<Option<T>>> = Arc::default();
        let (kept, shared) = (saw.clone(), overtaking.clone());
        self.between.acts(move |moment, _| {
            if moment == at {
                clock.advance(Duration::from_secs(2));
                act(&world);
                clock.advance(Duration::from_secs(2));
                sandbox.webhooks().deliver_due();
                let visit = visitor.overtake(&shared, "webhook").unwrap_or_else(|error| panic!("at {at}: {error}"));
                *kept.lock().expect("the lock") = Some(after(&world, &visit));
            }
        });
        self.station.rig.clock.advance(Duration::from_secs(60));
        let options = PassOptions { overtaking: Some(overtaking), ..PassOptions::default() };
        let report = engine.pass(&Wake::Poll { belt: false }, &options);
        let moments = self.between.rests();
        let saw = saw.lock().expect("the lock").take();
        (report, saw, moments)
    }

    /// An engine past the one who acts in between.
    fn plain_engine(&self) -> Engine {
        let rig = &self.station.rig;
        rig.engine_through(&rig.sandbox.transport())
    }

    /// With nothing going wrong any more, and no delivery coming to the rescue: two polls, then nothing is left.
    fn ends(&self, what: &str) {
        let rig = &self.station.rig;
        rig.sandbox.faults().clear();
        self.lose(true);
        for due in rig.store.parked(None).expect("answers") {
            rig.store.unpark(due.id, rig.clock.now()).expect("unparked");
        }
        let engine = self.plain_engine();
        for round in 0..4 {
            // Waits after failures and for lost answers end within the hour.
            rig.clock.advance(Duration::from_secs(3_600));
            self.station.deliver();
            let report = engine.pass(&Wake::Poll { belt: false }, &PassOptions::default());
            let report = report.unwrap_or_else(|error| panic!("{what}: {error}"));
            if round >= 2 {
                assert!(report.plan.is_empty(), "{what}: poll {round} plans {:#?}", report.plan.repairs);
                assert_eq!(report.ended, Ended::Settled, "{what}: {:?} {:?}", report.messages, self.station.due());
            }
        }
        // What the polls overlooked only a sweep would find.
        let report = rig.pass(&Wake::Sweep).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(report.plan.is_empty(), "{what}: the polls overlooked {:#?}", report.plan.repairs);
        rig.holds(what);
        let world = rig.sandbox.world();
        let tasks = world.tasks(&rig.project.gid);
        let issues = world.issues(&rig.repo.name);
        for task in &tasks {
            let link = rig.store.link_of(&ItemKey::Task(task.gid.clone())).expect("answers");
            assert!(link.is_some(), "{what}: {} has no issue", task.name);
            assert_eq!(task.comments.len(), 1, "{what}: {} is told {:?}", task.name, task.comments);
        }
        assert_eq!(issues.len(), IMPORT + 2, "{what}");
    }
}

/// Plays a story at every moment of the pass: `before` it, `at` the moment, and `proven` at the end.
fn at_every_moment(
    name: &str,
    before: impl Fn(&Place),
    at: impl Fn(&World) + Clone + Send + 'static,
    after: impl Fn(&str, &World, &Option<Report>) + Clone + Send + 'static,
    proven: impl Fn(&str, &World),
) -> usize {
    let mut moment = 0;
    let mut visits = 0;
    loop {
        let place = Place::new();
        place.import();
        before(&place);
        let what = format!("{name}, moment {moment}");
        let (told, after) = (what.clone(), after.clone());
        let (_, visited, moments) =
            place.pass(moment, &place.station.rig.engine(), at.clone(), move |world, report| {
                after(&told, world, report);
                report.is_some()
            });
        let Some(visited) = visited else {
            assert!(moments > 15, "{name}: the pass had {moments} moments only");
            return visits;
        };
        visits += usize::from(visited);
        place.ends(&what);
        proven(&what, &place.world());
        moment += 1;
    }
}

/// Whatever was repaired past the pass is repaired now.
fn repaired_at_once(what: &str, world: &World, report: &Option<Report>) {
    if let Some(report) = report {
        assert!(world.in_step(), "{what}: visited and not repaired: {:?} {report:#?}", world.shown());
    }
}

fn in_step_with(title: &'static str) -> impl Fn(&str, &World) {
    move |what, world| {
        assert!(world.in_step(), "{what}: {:?}", world.shown());
        assert_eq!(world.shown().0.0, title, "{what}");
    }
}

#[test]
fn an_edit_told_of_at_any_moment_of_an_import_is_repaired_at_once() {
    let retitle = |world: &World| world.sandbox.github().retitle(&world.repo, world.number, "Mend the login");
    let visits = at_every_moment("retitled", |_| {}, retitle, repaired_at_once, in_step_with("Mend the login"));
    assert!(visits > 15, "only {visits} visits overtook the pass");
}

#[test]
fn an_edit_that_the_pass_planned_from_an_older_look_is_not_undone() {
    let before = |place: &Place| {
        place.unheard(|world| world.sandbox.asana().rename(&world.task, "An older title"));
    };
    let again = |world: &World| world.sandbox.asana().rename(&world.task, "A newer title");
    at_every_moment("renamed twice", before, again, repaired_at_once, in_step_with("A newer title"));
    let other_side = |world: &World| world.sandbox.github().retitle(&world.repo, world.number, "A newer title");
    let lost = std::cell::Cell::new(0);
    at_every_moment("renamed here, then there", before, other_side, repaired_at_once, |what, world| {
        let ((title, ..), _) = world.shown();
        assert!(world.in_step(), "{what}: {:?}", world.shown());
        lost.set(lost.get() + u32::from(title == "An older title"));
    });
    // The accepted race: between the re-read and the write of that very issue. A process that knows nothing yet of the
    // repository asks for it in between, so there are four moments; no other loses the edit.
    assert!(lost.get() <= 4, "{} moments lost the newer edit", lost.get());
}

#[test]
fn both_sides_edited_around_an_import_keep_both_edits() {
    let before = |place: &Place| place.unheard(renamed);
    let proven = |what: &str, world: &World| {
        let (task, _) = world.shown();
        assert!(world.in_step(), "{what}: {:?}", world.shown());
        assert_eq!((task.0.as_str(), task.1.contains("A line more")), ("Renamed", true), "{what}: {task:?}");
    };
    let append = |world: &World| world.append_to_body("A line more.");
    at_every_moment("one before, one during", before, append, repaired_at_once, proven);
    let both = |world: &World| {
        world.sandbox.asana().rename(&world.task, "Renamed");
        world.append_to_body("A line more.");
    };
    at_every_moment("both during", |_| {}, both, repaired_at_once, proven);
}

#[test]
fn a_task_deleted_during_an_import_closes_its_issue_at_once() {
    let mut closed_at_once = 0;
    let mut moment = 0;
    loop {
        let place = Place::new();
        place.import();
        let delete = |world: &World| world.sandbox.asana().delete(&world.task);
        let engine = place.station.rig.engine();
        let (_, closed, _) = place.pass(moment, &engine, delete, |world, report| {
            let issue = world.sandbox.world().issue(&world.repo, world.number).expect("an issue");
            assert!(report.is_none() || issue.closed, "visited and not closed");
            report.is_some()
        });
        let Some(closed) = closed else { break };
        closed_at_once += usize::from(closed);
        place.ends(&format!("deleted, moment {moment}"));
        let world = place.world();
        assert!(world.sandbox.world().issue(&world.repo, world.number).expect("an issue").closed);
        moment += 1;
    }
    assert!(closed_at_once > 10, "{closed_at_once} of {moment}");
}

/// A visit that finds nothing on the side it looks at (a remark, our own echo) must not make the pass forget what it
/// knows of the other side, of which no delivery tells: what followed a cursor is shown no second time.
#[test]
fn an_echo_past_the_pass_does_not_lose_what_the_pass_found_by_itself() {
    at_every_moment("found", |place| place.unheard(renamed), labelled, |_, _, _| {}, in_step_with("Renamed"));
    at_every_moment("found there", |place| place.unheard(retitled), tagged, |_, _, _| {}, in_step_with("Retitled"));
}

#[test]
fn an_echo_past_the_pass_does_not_lose_what_a_limit_put_off() {
    let limit = |place: &Place, when: When| {
        let limit = Fault::Busy { limit: Limit::Secondary, status: 429, retry_after: Some(3_000) };
        place.station.rig.sandbox.faults().chance(1.0, when, limit);
    };
    let forge = |place: &Place| {
        place.unheard(renamed);
        let path = format!("/issues/{}", place.number);
        limit(place, When::side(Side::Forge).method(Method::Patch).path(path));
    };
    at_every_moment("put off", forge, labelled, |_, _, _| {}, in_step_with("Renamed"));
    let tracker = |place: &Place| {
        place.unheard(retitled);
        let path = format!("/tasks/{}", place.task);
        limit(place, When::side(Side::Tracker).method(Method::Put).path(path));
    };
    at_every_moment("put off there", tracker, tagged, |_, _, _| {}, in_step_with("Retitled"));
}

#[test]
fn an_echo_past_the_pass_does_not_lose_what_the_pass_could_not_read() {
    // The visit reads the issue; from then on nobody can read the task.
    let after = |_: &str, world: &World, _: &Option<Report>| {
        let when = When::side(Side::Tracker).reads().path(format!("/tasks/{}", world.task));
        world.sandbox.faults().chance(1.0, when, Fault::Broken { status: 503, done: false });
    };
    at_every_moment("unreadable", |place| place.unheard(renamed), labelled, after, in_step_with("Renamed"));
}

fn renamed(world: &World) {
    world.sandbox.asana().rename(&world.task, "Renamed");
}

fn retitled(world: &World) {
    world.sandbox.github().retitle(&world.repo, world.number, "Retitled");
}

/// Something of which a delivery tells, and which is nobody's business.
fn tagged(world: &World) {
    world.sandbox.asana().add_tag(&world.task, "told");
}

/// The same on the other side.
fn labelled(world: &World) {
    world.sandbox.github().comment(&world.repo, world.number, "A remark.");
}

#[test]
fn a_new_pair_that_is_edited_before_the_pass_has_it_in_step_keeps_the_edit() {
    // Whatever issue the pass made last is closed by a person at once.
    let closing = |world: &World| {
        let issues = world.sandbox.world().issues(&world.repo);
        let newest = issues.iter().max_by_key(|issue| issue.number).expect("an issue");
        if newest.number != world.number {
            world.sandbox.github().close(&world.repo, newest.number, Reason::Completed);
        }
    };
    let proven = |what: &str, world: &World| {
        let issues = world.sandbox.world().issues(&world.repo);
        for task in world.sandbox.world().tasks(&world.project) {
            let issue = issues.iter().find(|issue| issue.title == task.name).expect("its issue");
            assert_eq!(task.completed, issue.closed, "{what}: {}", task.name);
        }
        assert!(issues.iter().filter(|issue| issue.closed).count() == 1, "{what}");
    };
    at_every_moment("new pair", |_| {}, closing, |_, _, _| {}, proven);
}

#[test]
fn a_stop_raised_behind_an_urgent_visit_loses_nothing() {
    for moment in 0.. {
        let place = Place::new();
        place.import();
        place.unheard(|world| world.append_to_body("A line more."));
        let engine = place.station.rig.engine();
        let stop = engine.stop.clone();
        let rename = |world: &World| world.sandbox.asana().rename(&world.task, "Renamed");
        let (_, acted, _) = place.pass(moment, &engine, rename, move |_, _| stop.raise());
        if acted.is_none() {
            assert!(moment > 15, "the pass had {moment} moments only");
            break;
        }
        let what = format!("stopped, moment {moment}");
        place.ends(&what);
        let shown = place.world().shown();
        assert!(place.world().in_step(), "{what}: {shown:?}");
        assert!(shown.0.0 == "Renamed" && shown.0.1.contains("A line more"), "{what}: {shown:?}");
    }
}

#[test]
fn what_a_brake_holds_back_past_the_pass_waits_for_a_person_and_is_not_lost() {
    let mut place = Place::new();
    place.import();
    place.station.rig.rules.brakes.updates_max = 0;
    place.station.rig.rules.brakes.updates_percent = 0;
    let rename = |world: &World| world.sandbox.asana().rename(&world.task, "Renamed");
    let (_, ended, _) =
        place.pass(5, &place.station.rig.engine(), rename, |_, report| report.as_ref().map(|report| report.ended));
    assert_eq!(ended.flatten(), Some(Ended::Refused));
    assert_eq!(place.world().shown().1.0, "Fix the login");
    place.station.rig.rules.brakes = evenkeel::model::Brakes::default();
    place.ends("braked");
    in_step_with("Renamed")("braked", &place.world());
}

#[test]
fn a_parked_pair_is_left_to_a_person_by_urgent_visits_too() {
    let place = Place::new();
    place.import();
    let rig = &place.station.rig;
    let key = ItemKey::Task(place.task.clone());
    let lease = rig.store.acquire(&Rig::route(), "test", rig.clock.now()).expect("answers").expect("free");
    let due = evenkeel::store::NewDue {
        item: key,
        reason: "refused".to_owned(),
        not_before: rig.clock.now(),
        attempts: 5,
        last_error: Some("refused".to_owned()),
        parked: true,
    };
    let record = evenkeel::store::Record { due: vec![due], ..Default::default() };
    rig.store.record(&lease, &record, rig.clock.now()).expect("recorded");
    rig.store.release(&lease).expect("released");
    let retitle = |world: &World| world.sandbox.github().retitle(&world.repo, world.number, "Edited while parked");
    let _ = place.pass(5, &rig.engine(), retitle, |_, _| ());
    assert_eq!(place.world().shown().0.0, "Fix the login", "a person must look first");
    place.ends("parked");
    in_step_with("Edited while parked")("parked", &place.world());
}

/// Somebody pastes a hundred tasks into the project while an import is at work: none of them can overtake it, and one
/// closing behind them must not wait for its end.
#[test]
fn many_new_items_that_must_wait_do_not_keep_an_edit_from_overtaking() {
    let place = Place::new();
    place.import();
    let act = |world: &World| {
        for number in 0..120 {
            let seed = evenkeel::sandbox::TaskSeed::named(format!("Pasted {number}"));
            world.sandbox.asana().task(&world.project, seed);
        }
        world.sandbox.webhooks().deliver_due();
        world.sandbox.github().close(&world.repo, world.number, Reason::Completed);
    };
    let (_, visited, _) =
        place.pass(6, &place.station.rig.engine(), act, |world, report| (report.is_some(), world.shown().0.2));
    assert_eq!(visited, Some((true, true)), "it waits behind what cannot overtake");
}

/// Not one edit but many, at many moments of one pass, each with a visit past it. Every field has one side that edits it,
/// so that the end is known.
#[test]
fn a_storm_of_edits_during_an_import_ends_with_every_one_of_them() {
    for seed in 0..30 {
        let place = Place::new();
        place.import();
        let overtaking = Overtaking::default();
        let visitor = Engine { holder: "visitor".into(), ..place.plain_engine() };
        let (world, clock) = (place.world(), place.station.rig.clock.clone());
        let mut rng = fastrand::Rng::with_seed(seed);
        let (title_here, status_here) = (rng.bool(), rng.bool());
        let said: Arc<Mutex<(String, Vec<String>, bool)>> =
            Arc::new(Mutex::new(("Fix the login".to_owned(), Vec::new(), false)));
        let (kept, shared) = (said.clone(), overtaking.clone());
        place.between.acts(move |moment, _| {
            if rng.u8(..10) < 6 {
                return;
            }
            clock.advance(Duration::from_secs(2));
            let mut said = kept.lock().expect("the lock");
            let (asana, github) = (world.sandbox.asana(), world.sandbox.github());
            match rng.u8(..3) {
                0 => {
                    said.0 = format!("Title {moment}");
                    match title_here {
                        true => asana.rename(&world.task, &said.0),
                        false => github.retitle(&world.repo, world.number, &said.0),
                    }
                }
                1 => {
                    said.1.push(format!("Line {moment}."));
                    world.append_to_body(&format!("Line {moment}."));
                }
                _ => {
                    said.2 = !said.2;
                    match (status_here, said.2) {
                        (true, true) => asana.complete(&world.task),
                        (true, false) => asana.reopen(&world.task),
                        (false, true) => github.close(&world.repo, world.number, Reason::Completed),
                        (false, false) => github.reopen(&world.repo, world.number),
                    }
                }
            }
            clock.advance(Duration::from_secs(2));
            if rng.bool() {
                world.sandbox.webhooks().deliver_due();
            }
            let _ = visitor.overtake(&shared, "webhook").unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        });
        place.station.rig.clock.advance(Duration::from_secs(60));
        let options = PassOptions { overtaking: Some(overtaking), ..PassOptions::default() };
        let report = place.station.rig.engine().pass(&Wake::Poll { belt: false }, &options);
        report.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        place.between.rests();
        place.station.deliver();
        let what = format!("seed {seed}");
        place.ends(&what);
        let world = place.world();
        let ((title, body, done), _) = world.shown();
        let said = said.lock().expect("the lock").clone();
        assert!(world.in_step(), "{what}: {:?}", world.shown());
        assert_eq!((&title, done), (&said.0, said.2), "{what}");
        for line in &said.1 {
            assert!(body.contains(line.as_str()), "{what}: {line} is lost in {body:?}");
        }
    }
}
