//! Those turned away, counted: kept in memory and written down now and then, so that a flood of wrong tokens or
//! signatures costs neither a write nor a line in the log each.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Timestamp, lock};
use crate::store::Refusals;
use crate::workshop::Present;

/// At most one write and one line in this time.
const EVERY: Duration = Duration::from_secs(5);

/// Counts, and the thread that writes the counts down; it starts with the first.
pub struct TurnedAway {
    shared: Arc<Shared>,
    present: Present,
    clerk: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    counts: BTreeMap<(&'static str, &'static str), Refusals>,
    closed: bool,
}

impl TurnedAway {
    /// Writes down into the present database.
    pub fn new(present: Present) -> Self {
        Self { shared: Arc::default(), present, clerk: Mutex::default() }
    }

    /// Counts one that came for `provider` (a service, or `admin`). Never waits.
    pub fn note(&self, provider: &'static str, reason: &'static str, from: Option<IpAddr>, now: Timestamp) {
        let mut state = lock(&self.shared.state);
        let counted = state.counts.entry((provider, reason)).or_insert_with(|| Refusals {
            provider: provider.to_owned(),
            reason: reason.to_owned(),
            count: 0,
            first_at: now,
            last_at: now,
            last_from: None,
        });
        counted.count += 1;
        counted.last_at = now;
        counted.last_from = from.map(|from| from.to_string());
        drop(state);
        self.shared.changed.notify_one();
        let mut clerk = lock(&self.clerk);
        if clerk.is_none() {
            let (shared, present) = (self.shared.clone(), self.present.clone());
            match std::thread::Builder::new().name("refusals".to_owned()).spawn(move || keep(&shared, &present)) {
                Ok(thread) => *clerk = Some(thread),
                Err(error) => log::warn!("counting those turned away: no thread: {error}"),
            }
        }
    }
}

impl Drop for TurnedAway {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
        if let Some(clerk) = lock(&self.clerk).take() {
            // A panic was said where it happened.
            let _ = clerk.join();
        }
    }
}

/// Writes down what was counted, until closed.
fn keep(shared: &Shared, present: &Present) {
    loop {
        let idle = |state: &mut State| state.counts.is_empty() && !state.closed;
        let state = shared.changed.wait_while(lock(&shared.state), idle);
        let mut state = state.unwrap_or_else(PoisonError::into_inner);
        let counts: Vec<Refusals> = std::mem::take(&mut state.counts).into_values().collect();
        let closed = state.closed;
        drop(state);
        for one in &counts {
            let from = one.last_from.as_deref().unwrap_or("an address that is not known");
            log::warn!("{}: turned away {} times: {} (last from {from})", one.provider, one.count, one.reason);
        }
        if !counts.is_empty()
            && let Err(error) = present.get().store.add_refusals(&counts)
        {
            log::warn!("those turned away were not counted: {error}");
        }
        if closed {
            return;
        }
        let pause = shared.changed.wait_timeout_while(lock(&shared.state), EVERY, |state| !state.closed);
        drop(pause.unwrap_or_else(PoisonError::into_inner));
    }
}
