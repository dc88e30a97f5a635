//! A write that waited for its turn longer than its lease lasted does not leave. In this process and in simulated time:
//! the moment between the last look at the lease and the write is hit exactly.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::clock::{Clock, Stop, VirtualClock};
use evenkeel::config::{Network, Secret};
use evenkeel::engine::{Engine, EngineError, PassOptions, Wake};
use evenkeel::model::{Side, Timestamp};
use evenkeel::provider::github::GithubClient;
use evenkeel::provider::pace::Pace;
use evenkeel::provider::{self, Connection};
use evenkeel::store::StoreError;

use crate::between::Between;
use crate::support::rig::Rig;

/// A clock on which somebody acts while others sleep.
struct Sleeper {
    clock: Arc<VirtualClock>,
    asleep: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Clock for Sleeper {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        let rested = self.clock.sleep(duration, stop);
        if let Some(act) = self.asleep.lock().expect("the lock").take() {
            act();
        }
        rested
    }
}

/// An engine that may make two issues a minute, on a clock of its own.
fn engine(rig: &Rig, clock: &Arc<Sleeper>) -> Engine {
    let network = Network { github_creations_per_minute: 2, ..Network::default() };
    let clock: Arc<dyn Clock> = clock.clone();
    let connection = Connection {
        transport: rig.transport.clone(),
        base_url: rig.base_urls[Side::Forge].clone(),
        token: Secret::new(rig.repo.token.clone()),
        clock: clock.clone(),
        stop: Stop::default(),
        pace: Arc::new(Pace::github(&network)),
        call_timeout: Duration::from_secs(30),
        seed: 3,
    };
    let forge: Arc<dyn provider::Write> = Arc::new(GithubClient::new(connection, rig.repo.name.clone(), &rig.rules));
    let mut engine = rig.engine();
    engine.providers.forge = forge;
    engine.clock = clock;
    engine
}

#[test]
fn a_write_that_waited_longer_than_its_lease_does_not_leave_once_another_holds_it() {
    let mut rig = Rig::new();
    for number in 0..5 {
        rig.task(&format!("Task {number}"), "Words.");
    }
    let between = Between::over(rig.sandbox.transport());
    rig.transport = between.clone();
    let clock = Arc::new(Sleeper { clock: rig.clock.clone(), asleep: Mutex::default() });
    let engine = engine(&rig, &clock);
    // Its turn is a minute away, its lease is over by then, and somebody else took it.
    let (store, at) = (rig.store.clone(), rig.clock.clone());
    let late: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = late.clone();
    *clock.asleep.lock().expect("the lock") = Some(Box::new(move || {
        store.acquire(&Rig::route(), "another", at.now()).expect("answers").expect("it is over");
        between.acts(move |_, request| {
            if request.method.writes() {
                seen.lock().expect("the lock").push(format!("{request:?}"));
            }
        });
    }));
    let ended = engine.pass(&Wake::Sweep, &PassOptions::default());
    assert!(matches!(ended, Err(EngineError::Store(StoreError::LostLease { .. }))), "{ended:?}");
    assert_eq!(*late.lock().expect("the lock"), Vec::<String>::new());
    let made = rig.sandbox.world().issues(&rig.repo.name).len();
    assert!((1..5).contains(&made), "{made} were made before the wait");
}

#[test]
fn a_write_that_waited_longer_than_its_lease_leaves_while_nobody_else_took_it() {
    let rig = Rig::new();
    for number in 0..5 {
        rig.task(&format!("Task {number}"), "Words.");
    }
    let clock = Arc::new(Sleeper { clock: rig.clock.clone(), asleep: Mutex::default() });
    engine(&rig, &clock).pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
    assert_eq!(rig.sandbox.world().issues(&rig.repo.name).len(), 5);
}
