//! Time, waiting and chance as arguments, so that a whole world can run under a virtual clock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use jiff::Timestamp;

/// Tells the time and waits. The system's clock in production, a virtual one in tests.
pub trait Clock: Send + Sync {
    /// The present moment; may jump either way, so never subtract two of them unchecked.
    fn now(&self) -> Timestamp;

    /// Waits for `duration`, or less when `stop` is raised. Answers false when stopped.
    fn sleep(&self, duration: Duration, stop: &Stop) -> bool;
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        !stop.wait(duration)
    }
}

/// A clock that only moves when told, or when somebody sleeps on it.
#[derive(Debug)]
pub struct VirtualClock(Mutex<Timestamp>);

impl VirtualClock {
    /// Starts at `now`.
    pub fn starting_at(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves the clock forward.
    pub fn advance(&self, duration: Duration) {
        let mut now = lock(&self.0);
        *now = later(*now, duration);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *lock(&self.0)
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        self.advance(duration);
        !stop.raised()
    }
}

/// `at` plus `duration`, held at the end of time instead of failing.
pub fn later(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// `at` minus `duration`, held at the beginning of time instead of failing.
pub fn earlier(at: Timestamp, duration: Duration) -> Timestamp {
    at.checked_sub(duration).unwrap_or(Timestamp::MIN)
}

/// How long ago `then` was at `now`; zero when it lies ahead.
pub fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

/// A request to finish the work in hand and stop, shared by all who must hear it.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<(Mutex<bool>, Condvar)>);

impl Stop {
    /// Raises the request; it cannot be taken back.
    pub fn raise(&self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }

    /// Whether it was raised.
    pub fn raised(&self) -> bool {
        *lock(&self.0.0)
    }

    /// Waits until raised or until `duration` has passed; answers whether it was raised.
    fn wait(&self, duration: Duration) -> bool {
        let (_guard, timeout) = self
            .0
            .1
            .wait_timeout_while(lock(&self.0.0), duration, |raised| !*raised)
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }
}

/// Locks even after another thread panicked: the values guarded here are whole at every moment.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
