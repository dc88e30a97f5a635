//! Whose turn it is: a dead replica's work is taken over, a held-up one stands back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::model::{Side, Timestamp};
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{Fate, Moment, TaskSeed};
use rustix::process::Signal;

use crate::outside::service::Service;
use crate::outside::{Outside, Settings};
use crate::support::postgres;

/// In seconds; long enough that nobody gets it by being quick.
const LEASE: u32 = 3;

/// One world with two replicas, the first of them not started yet.
fn world(name: &str, server: &postgres::Server) -> Outside {
    let database = Some(server.database(name));
    // Without hooks: a replica that stands still would hold up the deliveries of all.
    Outside::new(&Settings { database, replicas: 2, lease: LEASE, hooks: false, ..Settings::default() })
}

/// When the lease of the route ends, if somebody holds it.
fn lease(world: &Outside) -> Option<(String, Timestamp)> {
    let lease = &world.json(&["status"])["routes"][0]["lease"];
    let until = lease["until"].as_str()?.parse().expect("a moment");
    Some((lease["holder"].as_str()?.to_owned(), until))
}

#[test]
fn the_work_of_a_dead_replica_is_taken_over_when_its_lease_ends() {
    let Some(server) = postgres::server() else { return };
    let world = world("takeover", server);
    for number in 0..30 {
        world.sandbox.asana().task(&world.project.gid, TaskSeed::named(format!("Task {number}")));
    }
    // The fifth creation is the end of its process; from then on the first write of another is timed.
    let first: Arc<Mutex<Option<Service>>> = Arc::default();
    let (victim, count) = (first.clone(), AtomicU64::new(0));
    let next: Arc<Mutex<Option<Timestamp>>> = Arc::default();
    let timed = next.clone();
    world.sandbox.watch(move |moment, request| {
        if !request.method.writes() {
            return Fate::GoesOn;
        }
        let creates = request.side == Side::Forge && request.method == Method::Post;
        if moment == Moment::Done && creates && count.fetch_add(1, Ordering::Relaxed) == 4 {
            victim.lock().expect("the lock").take().expect("it is at work").kill();
            return Fate::Cut;
        }
        if moment == Moment::Came && victim.lock().expect("the lock").is_none() {
            timed.lock().expect("the lock").get_or_insert_with(Timestamp::now);
        }
        Fate::GoesOn
    });
    {
        let mut first = first.lock().expect("the lock");
        *first = Some(world.service(0));
    }
    world.wait("the death", || first.lock().expect("the lock").is_none());
    let (holder, until) = lease(&world).expect("the dead one holds it still");
    let other = world.service(1);
    world.calms_down();
    other.stop();
    let next = next.lock().expect("the lock").expect("a write");
    assert!(next >= until, "{holder} held it until {until}, and another wrote at {next}");
    world.holds();
    assert_eq!(world.sandbox.log().counts().forge.created, 30);
}

/// Holds the first replica up at `moment` of the first request that `fits`, until the other one has done its work and
/// people have gone on; then lets it go on. Answers the world, calm.
fn held_up(name: &str, server: &postgres::Server, moment: Moment, fits: fn(Side, Method, &str) -> bool) {
    let world = world(name, server);
    let task = world.sandbox.asana().task(&world.project.gid, TaskSeed::named("Fix the login"));
    let first = world.service(0);
    let title = || world.sandbox.world().issues(&world.repo.name).first().map(|issue| issue.title.clone());
    let is_create = fits(Side::Forge, Method::Post, "/repos/acme/app/issues");
    if !is_create {
        world.calms_down();
    }
    let held = Arc::new(AtomicBool::new(false));
    let (flag, stopped) = (held.clone(), first.clone());
    world.sandbox.watch(move |at, request| {
        let path = request.path.split('?').next().unwrap_or_default();
        if at == moment && fits(request.side, request.method, path) && !flag.swap(true, Ordering::Relaxed) {
            stopped.signal(Signal::STOP);
        }
        Fate::GoesOn
    });
    if !is_create {
        world.sandbox.asana().rename(&task, "Mend the login");
    }
    world.wait("the moment", || held.load(Ordering::Relaxed));

    // The other one takes over and does what there is to do; then the world goes on.
    let other = world.service(1);
    let wanted = if is_create { "Fix the login" } else { "Mend the login" };
    world.wait("the other replica's work", || title().as_deref() == Some(wanted));
    world.calms_down();
    world.sandbox.asana().rename(&task, "Repair the login");
    world.wait("the next edit", || title().as_deref() == Some("Repair the login"));
    world.calms_down();

    // What it was about to write is old by now. It finds that its lease is gone, and writes nothing.
    let before = world.sandbox.log().counts();
    first.signal(Signal::CONT);
    std::thread::sleep(Duration::from_secs(u64::from(LEASE) + 2));
    let after = world.sandbox.log().counts();
    assert_eq!((after.tracker.writes, after.forge.writes), (before.tracker.writes, before.forge.writes));
    assert_eq!(title().as_deref(), Some("Repair the login"));

    // And it is of use again.
    other.stop();
    world.sandbox.asana().rename(&task, "Done with the login");
    world.wait("an edit seen by the first", || title().as_deref() == Some("Done with the login"));
    world.calms_down();
    first.stop();
    world.holds();
    assert_eq!(world.sandbox.world().issues(&world.repo.name).len(), 1);
}

#[test]
fn a_replica_held_up_between_its_re_read_and_its_write_writes_nothing_more() {
    let Some(server) = postgres::server() else { return };
    held_up("held_read", server, Moment::Done, |side, method, path| {
        side == Side::Forge && method == Method::Get && path.contains("/issues/")
    });
}

#[test]
fn a_replica_held_up_while_its_creation_is_under_way_stores_and_makes_nothing_more() {
    let Some(server) = postgres::server() else { return };
    held_up("held_create", server, Moment::Done, |side, method, path| {
        side == Side::Forge && method == Method::Post && path.ends_with("/issues")
    });
}
