//! Time, waiting and chance as arguments, so that a whole world can run under a virtual clock.

use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use jiff::Timestamp;

/// Tells the time and waits. The system's clock in production, a virtual one in tests.
pub trait Clock: Send + Sync {
    /// The present moment; may jump either way, so never subtract two of them unchecked.
    fn now(&self) -> Timestamp;

    /// Waits for `duration`, or less when `stop` is raised. Answers false when stopped.
    fn sleep(&self, duration: Duration, stop: &Stop) -> bool;

    /// How much time has passed since some moment that stays the same, by what nobody can set.
    fn passed(&self) -> Duration {
        since(Timestamp::UNIX_EPOCH, self.now())
    }

    /// Whether it was set within the last `span`, as far as that was noticed: how long ago something was is then not
    /// known. Nobody sets a clock that does not say so.
    fn was_set(&self, span: Duration) -> bool {
        let _ = span;
        false
    }
}

/// The system's clock.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemClock;

/// A process has one, and it is looked at all the time.
static SYSTEM: LazyLock<(Instant, Mutex<Settings>)> = LazyLock::new(|| (Instant::now(), Mutex::default()));

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        let (began, settings) = &*SYSTEM;
        lock(settings).look(now, began.elapsed());
        now
    }

    fn passed(&self) -> Duration {
        SYSTEM.0.elapsed()
    }

    fn was_set(&self, span: Duration) -> bool {
        self.now();
        let (began, settings) = &*SYSTEM;
        lock(settings).within(span, began.elapsed())
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        !stop.wait(duration)
    }
}

/// Tells how long something took, also when the clock was set meanwhile or the machine slept: of the two ways to tell,
/// the longer one is believed.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch {
    at: Timestamp,
    passed: Duration,
}

impl Stopwatch {
    /// Begins now.
    pub fn start(clock: &dyn Clock) -> Self {
        Self { at: clock.now(), passed: clock.passed() }
    }

    /// How much time has passed since.
    pub fn elapsed(self, clock: &dyn Clock) -> Duration {
        since(self.at, clock.now()).max(clock.passed().saturating_sub(self.passed))
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

/// More than a clock is adjusted by little by little between two looks at it.
const ADJUSTED_MAX: Duration = Duration::from_secs(5);

/// Notices that a clock was set: it has moved otherwise than time has passed.
#[derive(Debug, Default)]
struct Settings {
    /// The last look: what the clock said, and how much time had passed.
    looked: Option<(Timestamp, Duration)>,
    /// How much time had passed when it was last found to have been set.
    set: Option<Duration>,
}

impl Settings {
    /// `passed` is by a clock that nobody can set, since any moment.
    fn look(&mut self, now: Timestamp, passed: Duration) {
        if let Some((then, before)) = self.looked {
            let expected = later(then, passed.saturating_sub(before));
            if since(expected, now).max(since(now, expected)) > ADJUSTED_MAX {
                self.set = Some(passed);
            }
        }
        self.looked = Some((now, passed));
    }

    fn within(&self, span: Duration, passed: Duration) -> bool {
        self.set.is_some_and(|set| passed.saturating_sub(set) < span)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A clock that is set, or a machine that sleeps: the two ways to tell the time apart.
    struct Apart(Mutex<(Timestamp, Duration)>);

    impl Clock for Apart {
        fn now(&self) -> Timestamp {
            lock(&self.0).0
        }

        fn passed(&self) -> Duration {
            lock(&self.0).1
        }

        fn sleep(&self, _duration: Duration, stop: &Stop) -> bool {
            !stop.raised()
        }
    }

    #[test]
    fn how_long_something_took_is_known_although_the_clock_was_set_back_or_the_machine_slept() {
        let start = Timestamp::from_second(1_800_000_000).expect("in range");
        let seconds = Duration::from_secs;
        for (told, passed, took) in [(48, 48, 48), (-6, 48, 48), (2, 48, 48), (3_600, 2, 3_600)] {
            let clock = Apart(Mutex::new((start, seconds(7))));
            let watch = Stopwatch::start(&clock);
            *lock(&clock.0) = (start + jiff::SignedDuration::from_secs(told), seconds(7 + passed));
            assert_eq!(watch.elapsed(&clock), seconds(took), "told {told} s");
        }
    }

    #[test]
    fn a_clock_that_was_set_either_way_is_noticed_and_forgotten_after_a_while() {
        let start = Timestamp::from_second(1_800_000_000).expect("in range");
        let minute = Duration::from_secs(60);
        for (ahead, noticed) in
            [(0, false), (4, false), (-4, false), (6, true), (-6, true), (3_350, true), (-3_350, true)]
        {
            let mut settings = Settings::default();
            let clock = |passed: Duration, ahead: i64| later(start, passed) + jiff::SignedDuration::from_secs(ahead);
            settings.look(clock(Duration::ZERO, 0), Duration::ZERO);
            settings.look(clock(minute * 90, 0), minute * 90);
            assert!(!settings.within(minute, minute * 90), "time has only passed");
            settings.look(clock(minute * 91, ahead), minute * 91);
            settings.look(clock(minute * 91, ahead), minute * 91);
            assert_eq!(settings.within(minute, minute * 91), noticed, "set by {ahead} s");
            settings.look(clock(minute * 92, ahead), minute * 92);
            assert!(!settings.within(minute, minute * 92), "set by {ahead} s, a minute ago");
        }
        assert!(!SystemClock.was_set(minute));
    }
}
