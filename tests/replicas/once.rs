//! Every repair once, counted where it arrives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::model::Side;
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{Fate, Moment, Sandbox, Watched};
use fastrand::Rng;

use crate::outside::people::{Bodies, People, Ticks};
use crate::outside::service::Service;
use crate::outside::{Outside, Settings};
use crate::support::postgres;

const REPLICAS: usize = 3;
/// How long replicas die, where `EVENKEEL_REPLICA_SECONDS` does not say otherwise.
const SECONDS: u64 = 30;
/// A replica dies this often...
const DIES: Duration = Duration::from_secs(2);
/// ...is away this long at most...
const AWAY_MS_MAX: u64 = 1_500;
/// ...and the database restarts after so many of these deaths.
const DEATHS_PER_RESTART: u64 = 4;

/// What a write is about: creations by the list, changes by the item.
type Target = (Side, String);

/// Writes counted where they arrive, those of processes that died before they heard the answer among them.
#[derive(Default)]
struct Counted {
    /// Items made.
    made: BTreeMap<Side, u64>,
    /// Changes of items.
    changes: u64,
    /// Changes that changed nothing: the item showed already what they wrote.
    idle: Vec<(Target, String)>,
    /// What items showed when a change of them came.
    before: BTreeMap<Target, String>,
}

/// What an item shows, without its stamps.
fn shows(sandbox: &Sandbox, target: &Target) -> String {
    let (side, path) = target;
    let last = path.rsplit('/').next().unwrap_or_default();
    match side {
        Side::Tracker => {
            let task = last.parse().ok().and_then(|gid| sandbox.world().task(&gid));
            task.map_or_else(String::new, |task| format!("{} {} {}", task.name, task.html_notes, task.completed))
        }
        Side::Forge => {
            let repo = "acme/app".parse().expect("a name");
            let issue = last.parse().ok().and_then(|number| sandbox.world().issue(&repo, number));
            issue.map_or_else(String::new, |issue| {
                format!("{} {} {} {:?}", issue.title, issue.body, issue.closed, issue.reason)
            })
        }
    }
}

impl Counted {
    fn note(&mut self, sandbox: &Sandbox, moment: Moment, request: Watched<'_>) {
        let Watched { side, method, path, body } = request;
        let path = path.split('?').next().unwrap_or_default();
        let target = (side, path.to_owned());
        let list = if side == Side::Tracker { "/tasks" } else { "/repos/acme/app/issues" };
        match (method, moment) {
            (Method::Post, Moment::Done) if path == list => *self.made.entry(side).or_default() += 1,
            (Method::Put | Method::Patch, Moment::Came) => {
                self.before.insert(target.clone(), shows(sandbox, &target));
            }
            (Method::Put | Method::Patch, Moment::Done) => {
                self.changes += 1;
                if self.before.remove(&target) == Some(shows(sandbox, &target)) {
                    self.idle.push((target, String::from_utf8_lossy(body).into_owned()));
                }
            }
            _ => {}
        }
    }
}

/// Every creation once: there are as many as items that somebody else did not make. Every change once: none wrote what
/// the item showed already. A process that dies before it hears an answer may leave the one after it a change that is
/// done already; that one is read again first, so that it too is not made twice.
#[test]
fn each_repair_is_made_once_by_replicas_that_die_over_a_database_that_restarts() {
    let Some(server) = postgres::own() else { return };
    let seconds = std::env::var("EVENKEEL_REPLICA_SECONDS").map_or(SECONDS, |text| text.parse().expect("seconds"));
    let database = Some(server.database("replicas"));
    let world = Outside::new(&Settings { seed: 21, database, replicas: REPLICAS, lease: 2, ..Settings::default() });
    let ticks: Arc<Ticks> = Arc::default();
    let mut people = People::new(21, Bodies::Tracker, ticks.clone());
    people.paste(&world, 60);
    let counted: Arc<Mutex<Counted>> = Arc::default();
    let (noted, sandbox) = (counted.clone(), world.sandbox.clone());
    world.sandbox.watch(move |moment, request| {
        ticks.note(moment, request);
        noted.lock().expect("the counts").note(&sandbox, moment, request);
        Fate::GoesOn
    });

    let mut rng = Rng::with_seed(21);
    let mut replicas: Vec<Option<Service>> = (0..REPLICAS).map(|number| Some(world.service(number))).collect();
    let (mut deaths, mut restarts) = (0, 0);
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        let turn = Instant::now() + DIES;
        while Instant::now() < turn {
            if rng.f64() < 0.05 {
                people.act(&world);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let chosen = rng.usize(0..REPLICAS);
        replicas[chosen].take().expect("it is at work").kill();
        deaths += 1;
        if deaths % DEATHS_PER_RESTART == 0 {
            server.restart();
            restarts += 1;
        }
        std::thread::sleep(Duration::from_millis(rng.u64(0..AWAY_MS_MAX)));
        replicas[chosen] = Some(world.service(chosen));
    }
    world.calms_down();
    world.hooks_stand();
    for replica in replicas.iter().flatten() {
        replica.stop();
    }
    world.holds();
    let (values, accepted) = people.nothing_is_lost(&world);

    let counted = counted.lock().expect("the counts");
    let tasks = world.sandbox.world().tasks(&world.project.gid).len();
    let delivered = world.delivered();
    println!(
        "{deaths} deaths, {restarts} restarts of the database, {tasks} pairs, {} edits, {} changes, {values} values, \
         {accepted} in the accepted race, deliveries {delivered:?}",
        people.edits, counted.changes
    );
    assert_eq!(counted.made.values().sum::<u64>(), tasks as u64, "{:?}", counted.made);
    assert!(counted.idle.is_empty(), "{:#?}\n{}", counted.idle, world.logs());
    assert!(delivered.iter().all(|count| *count > 0), "{delivered:?}");
}
