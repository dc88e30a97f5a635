//! The heart: the worker beats it as it gets on, and the watchdog is fed only while it beats.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::clock::{Clock, Stop, Timestamp, lock};

/// Signs of life of the worker. Clones are the same heart.
///
/// Beat it wherever real progress was made: a page read, a repair done. A process whose timers still
/// run while its work hangs would feed a watchdog by timer for ever.
#[derive(Clone, Debug)]
pub struct Heart(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Silence is excused until here, and suspect from here on.
    excused: Instant,
    /// The worker waits for the bell, which is no hanging.
    idle: bool,
    /// Helpers at work that the worker does not wait for; while there are any, its own waiting excuses nothing.
    helpers: usize,
    status: Option<String>,
}

impl Default for Heart {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { excused: Instant::now(), idle: false, helpers: 0, status: None })))
    }
}

/// The longest wait that [`Heart::expect`] excuses: longer ones are cut up by who waits.
pub const EXCUSE_MAX: Duration = Duration::from_secs(3_600);

impl Heart {
    /// Something was done.
    pub fn beat(&self) {
        self.note(Duration::ZERO);
    }

    /// Something was done, and the next thing may take as long as `wait` (a pause that a service asked
    /// for, at most [`EXCUSE_MAX`]).
    pub fn expect(&self, wait: Duration) {
        self.note(wait.min(EXCUSE_MAX));
    }

    /// Another thread begins to work on the worker's behalf; it does so until the value is dropped.
    #[must_use]
    pub fn help(&self) -> Helping {
        self.note(Duration::ZERO);
        lock(&self.0).helpers += 1;
        Helping(self.clone())
    }

    /// What the service manager shows as the state of the service, on one line.
    pub fn say(&self, status: &str) {
        let line: String = status.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).take(200).collect();
        lock(&self.0).status = Some(line);
    }

    /// The worker begins to wait for the bell.
    pub(super) fn rest(&self) {
        self.note(Duration::ZERO);
        lock(&self.0).idle = true;
    }

    /// The worker has heard the bell.
    pub(super) fn wake(&self) {
        self.note(Duration::ZERO);
        lock(&self.0).idle = false;
    }

    fn note(&self, wait: Duration) {
        let mut state = lock(&self.0);
        // Kept when longer: another thread's excuse is not ended by this one's beat.
        state.excused = state.excused.max(Instant::now() + wait);
    }

    /// Whether the work gets on: it waits for the bell, or did something within `patience` before `now`.
    pub(super) fn beats(&self, now: Instant, patience: Duration) -> bool {
        let state = lock(&self.0);
        (state.idle && state.helpers == 0) || now.saturating_duration_since(state.excused) <= patience
    }

    /// What was last said and not yet taken.
    pub(super) fn take_status(&self) -> Option<String> {
        lock(&self.0).status.take()
    }
}

/// A helper at work, as long as it lives.
#[derive(Debug)]
pub struct Helping(Heart);

impl Drop for Helping {
    fn drop(&mut self) {
        self.0.beat();
        lock(&self.0.0).helpers -= 1;
    }
}

/// A clock on which waiting counts as getting on: for pacing, whose waits have limits of their own.
pub struct BeatingClock<C> {
    clock: C,
    heart: Heart,
}

impl<C: Clock> BeatingClock<C> {
    /// Waits on `clock` and excuses the wait to `heart`.
    pub const fn new(clock: C, heart: Heart) -> Self {
        Self { clock, heart }
    }
}

impl<C: Clock> Clock for BeatingClock<C> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        self.heart.expect(duration);
        self.clock.sleep(duration, stop)
    }

    fn passed(&self) -> Duration {
        self.clock.passed()
    }

    fn was_set(&self, span: Duration) -> bool {
        self.clock.was_set(span)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::VirtualClock;

    const PATIENCE: Duration = Duration::from_secs(60);
    /// Far more than a slow machine loses between two lines of a test, far less than an excuse.
    const LATER: Duration = Duration::from_secs(600);

    #[test]
    fn silence_is_suspect_only_during_work_and_beyond_patience() {
        let heart = Heart::default();
        heart.beat();
        assert!(heart.beats(Instant::now(), PATIENCE));
        assert!(!heart.beats(Instant::now() + LATER, PATIENCE), "hangs");
        heart.rest();
        assert!(heart.beats(Instant::now() + LATER, PATIENCE), "waits for the bell");
        heart.wake();
        assert!(!heart.beats(Instant::now() + LATER, PATIENCE), "works again, and hangs");
    }

    #[test]
    fn a_worker_that_waits_does_not_excuse_helpers_that_hang() {
        let heart = Heart::default();
        heart.rest();
        let helping = heart.help();
        assert!(heart.beats(Instant::now(), PATIENCE));
        assert!(!heart.beats(Instant::now() + LATER, PATIENCE), "the helper hangs");
        drop(helping);
        assert!(heart.beats(Instant::now() + LATER, PATIENCE), "all wait");
    }

    #[test]
    fn a_wait_that_was_announced_is_excused_and_no_longer_than_the_limit() {
        let heart = Heart::default();
        let clock = BeatingClock::new(VirtualClock::starting_at(Timestamp::UNIX_EPOCH), heart.clone());
        assert!(clock.sleep(2 * LATER, &Stop::default()));
        assert!(heart.beats(Instant::now() + LATER, PATIENCE));
        heart.beat();
        assert!(heart.beats(Instant::now() + LATER, PATIENCE), "another thread's beat ends no excuse");
        assert!(!heart.beats(Instant::now() + 3 * LATER, PATIENCE));
        heart.expect(Duration::MAX);
        assert!(!heart.beats(Instant::now() + EXCUSE_MAX + LATER, PATIENCE));
    }

    #[test]
    fn what_is_said_is_one_line_and_taken_once() {
        let heart = Heart::default();
        heart.say("two routes\nREADY=1");
        assert_eq!(heart.take_status().as_deref(), Some("two routes READY=1"));
        assert_eq!(heart.take_status(), None);
    }
}
