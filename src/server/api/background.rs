//! Passes that were asked for, carried out behind the answer by a bounded number of threads.
//!
//! A pass is written down when it is asked for, so that its id can be answered and asked about. The same asked for
//! once more while it waits is the same pass. A route at work elsewhere is waited for and tried again.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::fault::Fault;
use super::find;
use super::read::Standing;
use crate::clock::{Timestamp, lock, since};
use crate::engine::account::{Narrator, log_asked_pass};
use crate::engine::{EngineError, PassOptions, Wake};
use crate::model::{PassId, RouteName};
use crate::store::{PassEnd, PassStart};
use crate::workshop::{Present, Workshop};

/// Passes at work at once: each is mostly waiting for a provider, and each route's own pass goes on beside them.
const AT_ONCE_MAX: usize = 2;

/// The pause before a route at work elsewhere is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// How long a pass waits for a route at work elsewhere before it ends as failed: a whole import.
const WAIT_MAX: Duration = Duration::from_secs(6 * 3_600);

/// How often a waiting thread looks whether the process stops.
const LOOK: Duration = Duration::from_secs(1);

/// The queue and its threads.
pub(super) struct Background {
    shared: Arc<Shared>,
    present: Present,
    hands: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// What waits, in the order asked for.
    waiting: BTreeMap<PassId, Job>,
    /// What is at work.
    running: BTreeMap<PassId, RouteName>,
    hands: usize,
    closed: bool,
}

/// A pass asked for.
#[derive(Clone)]
struct Job {
    route: RouteName,
    full: bool,
    request: String,
    actor: String,
    cause: String,
    asked_at: Timestamp,
    not_before: Option<Instant>,
}

impl Background {
    pub(super) fn new(present: Present) -> Self {
        Self { shared: Arc::default(), present, hands: Mutex::default() }
    }

    /// Asks for a pass; answers its id, and whether it had been asked for already. A pass over everything serves
    /// whoever asks for one over what moved, not the other way round.
    pub(super) fn ask(
        &self,
        works: &Workshop,
        route: &RouteName,
        full: bool,
        request: &str,
        actor: &str,
        cause: String,
    ) -> Result<(PassId, bool), Fault> {
        let same = |job: &Job| job.route == *route && (job.full || !full);
        if let Some((pass, _)) = lock(&self.shared.state).waiting.iter().find(|(_, job)| same(job)) {
            return Ok((*pass, true));
        }
        let now = works.clock.now();
        let kind = wake(full).as_str().to_owned();
        let start = PassStart { kind, cause: cause.clone(), actor: actor.to_owned() };
        // Not under the lock: the database may keep us waiting. Two who ask in the same moment get two passes.
        let pass = works.store.begin_pass(route, &start, now)?;
        let job = Job {
            route: route.clone(),
            full,
            request: request.to_owned(),
            actor: actor.to_owned(),
            cause,
            asked_at: now,
            not_before: None,
        };
        let mut state = lock(&self.shared.state);
        state.waiting.insert(pass, job);
        if state.hands < AT_ONCE_MAX && !state.closed {
            let (shared, present) = (self.shared.clone(), self.present.clone());
            match std::thread::Builder::new().name("api pass".to_owned()).spawn(move || keep(&shared, &present)) {
                Ok(thread) => {
                    state.hands += 1;
                    let mut hands = lock(&self.hands);
                    hands.retain(|thread| !thread.is_finished());
                    hands.push(thread);
                }
                Err(error) if state.hands == 0 => {
                    state.waiting.remove(&pass);
                    drop(state);
                    end(works, pass, "failed", "no thread could be started for it");
                    return Err(Fault::unavailable(format!("no thread can be started: {error}")));
                }
                // Those at work take it up when they are done.
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.changed.notify_all();
        Ok((pass, false))
    }

    /// Where a pass stands that waits or is at work here.
    pub(super) fn standing(&self, pass: PassId) -> Option<Standing> {
        let state = lock(&self.shared.state);
        if state.running.contains_key(&pass) {
            Some(Standing::Running)
        } else {
            state.waiting.contains_key(&pass).then_some(Standing::Waiting)
        }
    }
}

impl Drop for Background {
    /// Waits for the passes at work, which hear the process's request to stop; what waits ends as stopped.
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
        for hand in lock(&self.hands).drain(..) {
            // A panic was said where it happened.
            let _ = hand.join();
        }
    }
}

const fn wake(full: bool) -> Wake {
    if full { Wake::Sweep } else { Wake::Poll { belt: true } }
}

/// Carries out what waits, until nothing does.
fn keep(shared: &Shared, present: &Present) {
    while let Some((pass, job)) = next(shared, present) {
        let done = catch_unwind(AssertUnwindSafe(|| carry_out(present, pass, &job)));
        let mut state = lock(&shared.state);
        state.running.remove(&pass);
        match done {
            Ok(true) => {}
            // Held elsewhere.
            Ok(false) => {
                let again = Job { not_before: Some(Instant::now() + AGAIN), ..job };
                state.waiting.insert(pass, again);
            }
            Err(_) => {
                drop(state);
                log::error!("pass {pass} ended in a panic, which is a fault of this program");
                end(&present.get(), pass, "failed", "it stopped on a fault in Evenkeel; please report it");
            }
        }
        shared.changed.notify_all();
    }
}

/// What to carry out next; waits for it. `None`: nothing waits any more, or all is to end, and this thread with it.
fn next(shared: &Shared, present: &Present) -> Option<(PassId, Job)> {
    let mut state = lock(&shared.state);
    loop {
        let works = present.get();
        if state.closed || works.stop.raised() {
            let left = std::mem::take(&mut state.waiting);
            state.hands -= 1;
            drop(state);
            for pass in left.into_keys() {
                end(&works, pass, "stopped", "the process stopped before it began");
            }
            return None;
        }
        if state.waiting.is_empty() {
            state.hands -= 1;
            return None;
        }
        let now = Instant::now();
        let ready = state.waiting.iter().find(|(_, job)| {
            job.not_before.is_none_or(|until| until <= now) && !state.running.values().any(|route| *route == job.route)
        });
        if let Some(pass) = ready.map(|(pass, _)| *pass)
            && let Some(job) = state.waiting.remove(&pass)
        {
            state.running.insert(pass, job.route.clone());
            return Some((pass, job));
        }
        let waited = shared.changed.wait_timeout(state, LOOK);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
}

/// One pass. False when the route is held elsewhere, and it is to be tried again.
fn carry_out(present: &Present, pass: PassId, job: &Job) -> bool {
    let works = present.get();
    let Job { route, full, request, actor, cause, asked_at, not_before: _ } = job;
    let Some(route) = works.config.routes.iter().find(|known| known.name == *route) else {
        end(&works, pass, "failed", "its route is not configured any more");
        return true;
    };
    let narrator = Narrator::new(route.name.clone(), works.store.clone(), true).on_request(request);
    let engine = match works.engine_heard(route, Arc::new(narrator)) {
        Ok(engine) => find::under(engine, &works, request, actor),
        Err(error) => {
            end(&works, pass, "failed", &error.to_string());
            return true;
        }
    };
    log::info!(request = request.as_str(), pass = pass.0; "pass {pass} over route {} begins (request {request})", route.name);
    let options = PassOptions { cause: cause.clone(), begun: Some(pass), ..PassOptions::default() };
    let began = Instant::now();
    match engine.pass(&wake(*full), &options) {
        Ok(report) => log_asked_pass(&report, began.elapsed(), request),
        Err(error @ EngineError::Held { .. }) => {
            if since(*asked_at, works.clock.now()) < WAIT_MAX {
                log::debug!(request = request.as_str(); "pass {pass} waits: {error} (request {request})");
                return false;
            }
            end(&works, pass, "failed", &error.to_string());
        }
        Err(EngineError::Stopped) => end(&works, pass, "stopped", "the process stopped before it began"),
        Err(error) => {
            log::error!(request = request.as_str(), pass = pass.0; "pass {pass}: {error} (request {request})");
            end(&works, pass, "failed", &error.to_string());
        }
    }
    true
}

/// Writes down how a pass ended that the engine did not end.
fn end(works: &Workshop, pass: PassId, outcome: &str, message: &str) {
    let end = PassEnd { outcome: outcome.to_owned(), message: Some(message.to_owned()), ..PassEnd::default() };
    if let Err(error) = works.store.end_pass(pass, &end, works.clock.now()) {
        log::warn!("pass {pass}: that it ended ({outcome}: {message}) was not written down: {error}");
    }
}
