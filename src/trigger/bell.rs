//! The bell: whatever wakes the worker rings it, and rings that come while it works become one.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::lock;

/// Why the worker is woken. The order is the order in which they are handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ring {
    /// An operator asks for a pass now (SIGUSR1).
    Forced,
    /// A delivery made items due: somebody waits.
    Heard,
    /// The schedule says: look at everything.
    Sweep,
    /// The schedule says: look at what moved. Also rung once at the start and after a reload.
    Poll,
    /// The schedule says: visit what is due again.
    Retry,
    /// The schedule says: look after the hooks. Also rung once at the start and after a reload.
    Hooks,
}

/// Rung from anywhere, heard by one worker. Clones are the same bell.
///
/// It remembers *that* each kind was rung, not how often: a missed or doubled tick costs nothing, and
/// the memory it needs does not grow.
#[derive(Clone, Debug, Default)]
pub struct Bell(Arc<(Mutex<Waiting>, Condvar)>);

#[derive(Debug, Default)]
struct Waiting {
    rings: BTreeSet<Ring>,
    nudged: bool,
}

impl Bell {
    /// Rings; never waits for the worker.
    pub fn ring(&self, ring: Ring) {
        self.ring_all(&[ring]);
    }

    /// Rings for several reasons at once: they are heard together.
    pub fn ring_all(&self, rings: &[Ring]) {
        lock(&self.0.0).rings.extend(rings);
        self.0.1.notify_all();
    }

    /// Ends the present or next [`wait`](Self::wait) without a ring, so that the worker looks around.
    pub fn nudge(&self) {
        lock(&self.0.0).nudged = true;
        self.0.1.notify_all();
    }

    /// Waits until it is rung and takes all rings there are; empty after `timeout` or a nudge.
    pub fn wait(&self, timeout: Duration) -> Vec<Ring> {
        let (mut waiting, _) = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), timeout, |waiting| waiting.rings.is_empty() && !waiting.nudged)
            .unwrap_or_else(PoisonError::into_inner);
        waiting.nudged = false;
        std::mem::take(&mut waiting.rings).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long enough never to end a test that passes.
    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn rings_of_a_kind_become_one_and_none_is_lost() {
        let bell = Bell::default();
        for _ in 0..1_000 {
            bell.ring(Ring::Retry);
            bell.ring(Ring::Poll);
        }
        bell.ring(Ring::Forced);
        assert_eq!(bell.wait(LONG), [Ring::Forced, Ring::Poll, Ring::Retry]);
        assert_eq!(bell.wait(Duration::ZERO), []);
    }

    #[test]
    fn a_ring_before_the_wait_and_one_during_it_are_heard() {
        let bell = Bell::default();
        bell.ring(Ring::Sweep);
        assert_eq!(bell.wait(LONG), [Ring::Sweep]);
        let other = bell.clone();
        let ringer = std::thread::spawn(move || other.ring(Ring::Poll));
        assert_eq!(bell.wait(LONG), [Ring::Poll]);
        ringer.join().expect("the ringer");
    }

    #[test]
    fn a_nudge_ends_the_wait_without_a_ring_and_takes_none_away() {
        let bell = Bell::default();
        bell.nudge();
        assert_eq!(bell.wait(LONG), []);
        bell.ring(Ring::Poll);
        bell.nudge();
        assert_eq!(bell.wait(LONG), [Ring::Poll]);
        assert_eq!(bell.wait(Duration::ZERO), []);
    }
}
