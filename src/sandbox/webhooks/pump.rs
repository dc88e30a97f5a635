//! Sends deliveries in the background, in real time.

use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock::{Stop, lock};
use crate::model::Side;
use crate::sandbox::Sandbox;

/// The longest sleep between two looks: acts ring a bell, but a clock can be set.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Deliveries being sent in the background, each side's one after the other. Dropping it ends that; a delivery
/// on its way is waited for, 10 s at most.
#[derive(Debug)]
pub struct Pump {
    sandbox: Sandbox,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Pump {
    pub(super) fn start(sandbox: Sandbox) -> std::io::Result<Self> {
        let mut pump = Self { sandbox, stop: Stop::default(), threads: Vec::new() };
        for side in Side::BOTH {
            let (sandbox, stop) = (pump.sandbox.clone(), pump.stop.clone());
            let name = format!("sandbox-hooks-{}", side.service());
            pump.threads.push(std::thread::Builder::new().name(name).spawn(move || run(&sandbox, side, &stop))?);
        }
        Ok(pump)
    }
}

fn run(sandbox: &Sandbox, side: Side, stop: &Stop) {
    while !stop.raised() {
        if sandbox.send_one(side, sandbox.now()) {
            continue;
        }
        let state = lock(&sandbox.0.state);
        let wait = state.next_due(side).map_or(LOOK_AGAIN, |due| {
            let wait = u64::try_from(due.saturating_sub(sandbox.now())).unwrap_or_default();
            Duration::from_millis(wait).min(LOOK_AGAIN)
        });
        // Looked at under the lock that every act takes and the drop takes: no ring is missed between.
        if !wait.is_zero() && !stop.raised() {
            drop(sandbox.0.bell.wait_timeout(state, wait));
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        {
            let _state = self.sandbox.state();
            self.stop.raise();
        }
        self.sandbox.0.bell.notify_all();
        for thread in self.threads.drain(..) {
            // One that panicked has been heard of on standard error.
            let _ = thread.join();
        }
    }
}
