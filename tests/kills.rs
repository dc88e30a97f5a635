//! The real binary killed over and over, while it imports and while people edit both sides: nothing is made twice,
//! nothing anyone wrote is lost, the database is sound.
//!
//! At least 300 kills over both databases; `EVENKEEL_KILLS=10000 cargo test --test kills -- --nocapture` for more.

#![allow(clippy::print_stdout, reason = "the counts are told")]
#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

mod outside;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use evenkeel::config::DatabaseUrl;
use evenkeel::model::Side;
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{Fate, Moment, Watched};
use fastrand::Rng;

use outside::people::{Bodies, People, Ticks};
use outside::service::Service;
use outside::{Outside, Settings};

/// Kills over both databases, where nothing else is said.
const KILLS: usize = 304;
/// Kills in one world before it is let calm down.
const LIVES: usize = 38;
/// Worlds at the same time, on each database.
const WORLDS: usize = 4;
/// Tasks to import in the first world of each round, and in the others, where the services have less to list and the
/// kills come sooner.
const TASKS: [usize; WORLDS] = [500, 60, 60, 60];
/// A life whose moment to die does not come ends after this...
const LIFE_MAX: Duration = Duration::from_secs(4);
/// ...and one whose moment people bring about, after this: on a busy machine it comes late, but it comes.
const PROVOKED_MAX: Duration = Duration::from_secs(30);
/// The chance that somebody does something in one turn of 10 ms.
const ACTS: f64 = 0.03;

/// Every kind of write that keeps two sides in step; processes must have died at each, before and after it was done.
const WRITES: [(Side, &str); 5] = [
    (Side::Tracker, "change a task"),
    (Side::Tracker, "create a task"),
    (Side::Tracker, "comment"),
    (Side::Forge, "change an issue"),
    (Side::Forge, "create an issue"),
];

/// Where a kill hit: the moment of a request, or between requests.
type Stage = (Side, &'static str, Moment);

/// What is to end the life of a process.
#[derive(Clone, Copy)]
enum Doom {
    /// The request with this number, counted from its start.
    Request(u64, Moment),
    /// The next request of this kind.
    Kind(Stage),
    /// This time after its start.
    Time(Duration),
}

/// The kills so far on one database.
#[derive(Default)]
struct Tally {
    at: BTreeMap<Stage, u64>,
    /// Between requests: before the first one, and after that.
    between: [u64; 2],
    /// Stages that there are.
    seen: BTreeSet<Stage>,
    /// How often each was chosen to die at: some come once in a world only.
    chosen: BTreeMap<Stage, u64>,
}

/// The life in hand, as the watcher of the requests sees it.
struct Life {
    doom: Doom,
    service: Option<Service>,
    requests: u64,
    died_at: Option<Stage>,
}

/// What kind of request it is.
fn kind(request: Watched<'_>) -> &'static str {
    let Watched { side, method, path, .. } = request;
    let path = path.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.split('/').skip(1).collect();
    match (side, method, words.as_slice()) {
        (Side::Tracker, Method::Get, ["tasks"]) => "list tasks",
        (Side::Tracker, Method::Get, ["events"]) => "read events",
        (Side::Tracker, Method::Get, ["projects", _]) => "read the project",
        (Side::Tracker, Method::Get, ["tasks", _]) => "read a task",
        (Side::Tracker, Method::Get, ["tasks", _, "stories"]) => "list comments",
        (Side::Tracker, Method::Post, ["tasks"]) => "create a task",
        (Side::Tracker, Method::Put, ["tasks", _]) => "change a task",
        (Side::Tracker, Method::Post, ["tasks", _, "stories"]) => "comment",
        (Side::Tracker, Method::Get, ["webhooks", ..]) => "list hooks",
        (Side::Tracker, Method::Post, ["webhooks"]) => "create a hook",
        (Side::Forge, Method::Get, ["repos", _, _, "issues"] | ["repositories", _, "issues"]) => "list issues",
        (Side::Forge, Method::Get, ["repos", _, _, "issues", _]) => "read an issue",
        (Side::Forge, Method::Post, ["repos", _, _, "issues"]) => "create an issue",
        (Side::Forge, Method::Patch, ["repos", _, _, "issues", _]) => "change an issue",
        (Side::Forge, Method::Get, ["repos", _, _]) => "read the repository",
        (Side::Forge, Method::Get, ["repos", _, _, "hooks", _, "deliveries", ..]) => "list deliveries",
        (Side::Forge, Method::Get, ["repos", _, _, "hooks", ..]) => "list hooks",
        (Side::Forge, Method::Post, ["repos", _, _, "hooks", _, "pings"]) => "ping a hook",
        (Side::Forge, Method::Post, ["repos", _, _, "hooks"]) => "create a hook",
        (_, Method::Get, _) => "another read",
        _ => "another write",
    }
}

/// Whether people can bring it about.
fn provoked(kind: &str) -> bool {
    WRITES.iter().any(|(_, write)| *write == kind)
}

/// Kills the process in hand when its moment has come.
fn fate(life: &Mutex<Life>, tally: &Mutex<Tally>, stage: Stage) -> Fate {
    tally.lock().expect("the tally").seen.insert(stage);
    let mut life = life.lock().expect("a life");
    if stage.2 == Moment::Came {
        life.requests += 1;
    }
    let hit = match life.doom {
        Doom::Request(number, moment) => life.requests == number && stage.2 == moment,
        Doom::Kind(wanted) => stage == wanted,
        Doom::Time(_) => false,
    };
    if !hit || life.died_at.is_some() {
        // What is still under way when its process is gone reaches the service all the same, as it would.
        return Fate::GoesOn;
    }
    let Some(service) = life.service.take() else { return Fate::GoesOn };
    if service.kill() {
        life.died_at = Some(stage);
        *tally.lock().expect("the tally").at.entry(stage).or_default() += 1;
    }
    Fate::Cut
}

/// Chooses how the next process dies: half of them at the moment of a request, most of all where the fewest died yet.
fn doom(rng: &mut Rng, tally: &Mutex<Tally>, lease: Duration) -> Doom {
    let moment = if rng.bool() { Moment::Came } else { Moment::Done };
    match rng.u8(0..10) {
        0 | 1 => Doom::Time(Duration::from_millis(rng.u64(20..400))),
        2 => Doom::Time(lease + Duration::from_millis(rng.u64(0..800))),
        3..=6 => Doom::Request(rng.u64(1..60), moment),
        _ => {
            let mut tally = tally.lock().expect("the tally");
            let Tally { seen, chosen, .. } = &mut *tally;
            let rarest = seen.iter().min_by_key(|stage| (chosen.get(*stage), !provoked(stage.1))).copied();
            rarest.map_or(Doom::Request(1, moment), |stage| {
                *chosen.entry(stage).or_default() += 1;
                Doom::Kind(stage)
            })
        }
    }
}

/// One world, from an empty database to calm. Answers the edits, the values watched and those lost in the accepted way.
fn world(database: Option<DatabaseUrl>, seed: u64, tasks: usize, lives: usize, tally: &Arc<Mutex<Tally>>) -> String {
    let mut rng = Rng::with_seed(seed);
    // Overlapping lines ask under `newest`, so there people write bodies on one side only.
    let (route, bodies) = match seed % 2 {
        0 => ("create = \"both\"\n", Bodies::Tracker),
        _ => ("create = \"both\"\non_conflict = \"forge\"\n", Bodies::Both),
    };
    let settings = Settings { seed, database, route, ..Settings::default() };
    let lease = Duration::from_secs(settings.lease.into());
    let world = Outside::new(&settings);
    let ticks: Arc<Ticks> = Arc::default();
    let mut people = People::new(seed, bodies, ticks.clone());
    people.paste(&world, tasks);
    let life = Life { doom: Doom::Time(LIFE_MAX), service: None, requests: 0, died_at: None };
    let life = Arc::new(Mutex::new(life));
    let (watched, told) = (life.clone(), tally.clone());
    world.sandbox.watch(move |moment, request| {
        ticks.note(moment, request);
        fate(&watched, &told, (request.side, kind(request), moment))
    });

    for number in 0..lives {
        // The last lives end at each kind of write, before and after it is done: by then there is something to write.
        let last = lives - number;
        let doom = match WRITES.get((last - 1) / 2) {
            Some((side, kind)) if last.is_multiple_of(2) => Doom::Kind((*side, kind, Moment::Came)),
            Some((side, kind)) => Doom::Kind((*side, kind, Moment::Done)),
            None => doom(&mut rng, tally, lease),
        };
        let most = match doom {
            Doom::Time(time) => time,
            Doom::Kind((_, kind, _)) if provoked(kind) => PROVOKED_MAX,
            Doom::Kind(_) | Doom::Request(..) => LIFE_MAX,
        };
        let until = Instant::now() + most;
        let service = {
            // Held until the process is known: it may ask at once.
            let mut life = life.lock().expect("a life");
            let service = world.service(0);
            *life = Life { doom, service: Some(service.clone()), requests: 0, died_at: None };
            service
        };
        if let Doom::Kind((_, kind, _)) = doom {
            people.provoke(&world, kind);
        }
        while Instant::now() < until && life.lock().expect("a life").died_at.is_none() {
            assert_eq!(service.ended(), None, "it ended by itself\n{}", world.logs());
            if rng.f64() < ACTS {
                people.act(&world);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut life = life.lock().expect("a life");
        if life.service.take().is_some() && service.kill() {
            tally.lock().expect("the tally").between[usize::from(life.requests > 0)] += 1;
        }
    }

    let service = world.service(0);
    world.calms_down();
    world.hooks_stand();
    service.stop();
    world.holds();
    let (values, accepted) = people.nothing_is_lost(&world);
    let tasks = world.sandbox.world().tasks(&world.project.gid).len();
    format!(
        "seed {seed}: {tasks} pairs, {} edits, {values} values, {accepted} of them in the accepted race",
        people.edits
    )
}

/// Half of all kills, on one database.
fn killed(name: &str, database: fn() -> Option<DatabaseUrl>) {
    let kills = std::env::var("EVENKEEL_KILLS").map_or(KILLS, |text| text.parse().expect("a number of kills"));
    let count = (kills / 2).div_ceil(LIVES);
    let began = Instant::now();
    let tally: Arc<Mutex<Tally>> = Arc::default();
    let next = AtomicUsize::new(0);
    let stories = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORLDS {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let seed = number as u64 + 1;
                    let story = world(database(), seed, TASKS[number % WORLDS], LIVES, &tally);
                    stories.lock().expect("the stories").push(story);
                }
            });
        }
    });
    let tally = tally.lock().expect("the tally");
    let at: u64 = tally.at.values().sum();
    let all = at + tally.between.iter().sum::<u64>();
    println!(
        "{name}: {all} kills in {} s: {} before the first request, {} between requests, {at} at one:",
        began.elapsed().as_secs(),
        tally.between[0],
        tally.between[1]
    );
    for ((side, kind, moment), count) in &tally.at {
        println!("  {count:4} {} {kind}, {moment:?}", side.service());
    }
    for story in stories.lock().expect("the stories").iter() {
        println!("  {story}");
    }
    assert!(all as usize >= kills / 2, "{all} kills");
    for (side, kind) in WRITES {
        for moment in [Moment::Came, Moment::Done] {
            assert!(tally.at.contains_key(&(side, kind, moment)), "nobody died at: {kind}, {moment:?}");
        }
    }
}

#[test]
fn nothing_is_made_twice_and_nothing_is_lost_on_sqlite() {
    killed("SQLite", || None);
}

#[test]
fn nothing_is_made_twice_and_nothing_is_lost_on_postgres() {
    if support::postgres::server().is_some() {
        killed("PostgreSQL", support::postgres::database);
    }
}
