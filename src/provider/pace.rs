//! Keeps the requests of one credential within its service's published limits, and quiet when told to be.
//!
//! The limits are counted over sliding windows, so no pattern of calls ever puts more into any window than
//! the service allows; a bucket of tokens would let twice as much through around a refill. Pure core
//! (`Ledger`) over milliseconds; [`Pace`] adds the lock, the clock and the waiting.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock::{Clock, Stop, Timestamp, lock};
use crate::config::Network;

/// What a request is to its service's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Reads.
    Read,
    /// Changes something that is there.
    Write,
    /// Makes content that notifies people (issues, tasks, comments).
    Create,
}

impl Weight {
    const fn writes(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// Added to every window: a service counts arrivals, we count departures, and the way takes now more, now less.
const SLACK: Duration = Duration::from_secs(1);

/// How long to look again when all places in flight are taken.
const IN_FLIGHT_WAIT: Duration = Duration::from_millis(20);

/// The longest a credential is held quiet by one answer; a service that means more will say so again.
pub const HOLD_MAX: Duration = Duration::from_secs(3_600);

/// Why a request may not leave now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Its turn comes after so long, which is more than the caller waits.
    Later(Duration),
    /// The process is shutting down.
    Stopped,
}

/// The share of every limit that is kept for urgent work: one in so many units. A large import leaves it alone, so
/// that a closing need not wait for a window to empty.
const RESERVED: u64 = 10;

/// The pacing of one credential, shared by all that use it.
#[derive(Debug)]
pub struct Pace {
    ledger: Arc<Mutex<Ledger>>,
    /// Whether the reserved share may be used.
    urgent: bool,
}

/// A place in flight, given back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Ticket<'a> {
    pace: &'a Pace,
    writes: bool,
    /// How long its turn was waited for.
    pub waited: Duration,
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut ledger = lock(&self.pace.ledger);
        let flying = &mut ledger.flying[usize::from(self.writes)];
        *flying = flying.saturating_sub(1);
    }
}

impl Pace {
    fn over(ledger: Ledger) -> Self {
        Self { ledger: Arc::new(Mutex::new(ledger)), urgent: false }
    }

    /// The same pacing for work that somebody waits for: it may use the reserved share too.
    pub fn urgent(&self) -> Self {
        Self { ledger: self.ledger.clone(), urgent: true }
    }

    /// Asana: requests a minute per token, 50 reads and 15 writes in flight (Asana, rate limits).
    pub fn asana(network: &Network) -> Self {
        let requests = Window::new(network.asana_per_minute, Duration::from_secs(60), [1, 1, 1]);
        Self::over(Ledger::new(vec![requests], [50, 15]))
    }

    /// GitHub: points a minute, creations a minute and an hour (GitHub, rate limits for the REST API). At most 100 requests
    /// may be in flight; half of that leaves room for other programs of the same account.
    pub fn github(network: &Network) -> Self {
        let minute = Duration::from_secs(60);
        let windows = vec![
            Window::new(network.github_points_per_minute, minute, [1, 5, 5]),
            Window::new(network.github_creations_per_minute, minute, [0, 0, 1]),
            Window::new(network.github_creations_per_hour, Duration::from_secs(3_600), [0, 0, 1]),
        ];
        Self::over(Ledger::new(windows, [40, 10]))
    }

    /// Waits for a turn and takes it. The wait is at most `wait_max`; a longer one is answered, not waited.
    ///
    /// # Errors
    /// [`Denied::Later`] when the turn is further away, [`Denied::Stopped`] when a wait was cut short.
    pub fn admit(
        &self,
        weight: Weight,
        clock: &dyn Clock,
        stop: &Stop,
        wait_max: Duration,
    ) -> Result<Ticket<'_>, Denied> {
        let mut waited = Duration::ZERO;
        loop {
            // The time is read under the lock, or two threads could see it run backwards.
            let wait = {
                let mut ledger = lock(&self.ledger);
                match ledger.admit(millis(clock.now()), weight, self.urgent) {
                    Ok(()) => return Ok(Ticket { pace: self, writes: weight.writes(), waited }),
                    Err(wait) => wait,
                }
            };
            if waited.saturating_add(wait) > wait_max {
                return Err(Denied::Later(wait));
            }
            if !clock.sleep(wait, stop) {
                return Err(Denied::Stopped);
            }
            waited = waited.saturating_add(wait);
        }
    }

    /// Lets nothing of this credential leave for `quiet`, at most [`HOLD_MAX`].
    pub fn hold(&self, clock: &dyn Clock, quiet: Duration) {
        let mut ledger = lock(&self.ledger);
        ledger.hold(millis(clock.now()), quiet.min(HOLD_MAX));
    }
}

/// One limit: at most `cap` units in any stretch of `length` milliseconds.
#[derive(Debug)]
struct Window {
    cap: u64,
    length: i64,
    /// Units per [`Weight`], in its order.
    units: [u64; 3],
    /// When units were taken, oldest first, and how many.
    taken: VecDeque<(i64, u64)>,
    sum: u64,
}

impl Window {
    /// A `cap` of 0 would wait for ever; the configuration refuses it, and here it counts as 1.
    fn new(cap: u32, length: Duration, units: [u64; 3]) -> Self {
        Self { cap: u64::from(cap.max(1)), length: span(length + SLACK), units, taken: VecDeque::new(), sum: 0 }
    }

    /// What a request takes; never more than there is, or it could never leave.
    fn units(&self, weight: Weight) -> u64 {
        let units = match weight {
            Weight::Read => self.units[0],
            Weight::Write => self.units[1],
            Weight::Create => self.units[2],
        };
        units.min(self.cap)
    }

    /// The earliest moment from `now` on at which `units` fit; what is not urgent leaves the reserved share free.
    fn turn(&mut self, now: i64, units: u64, urgent: bool) -> i64 {
        let reserved = if urgent { 0 } else { self.cap / RESERVED };
        let cap = (self.cap - reserved).max(units);
        while let Some((at, old)) = self.taken.front().copied().filter(|(at, _)| at + self.length <= now) {
            debug_assert!(at <= now);
            self.sum -= old;
            self.taken.pop_front();
        }
        let mut sum = self.sum;
        for (at, old) in &self.taken {
            if sum + units <= cap {
                break;
            }
            sum -= old;
            if sum + units <= cap {
                return at + self.length;
            }
        }
        now
    }

    fn take(&mut self, now: i64, units: u64) {
        if units > 0 {
            self.taken.push_back((now, units));
            self.sum += units;
        }
    }
}

/// What one credential has sent lately. Pure; time in milliseconds.
#[derive(Debug)]
struct Ledger {
    windows: Vec<Window>,
    /// Places in flight for reads and for writes...
    places: [u32; 2],
    /// ...and how many are taken.
    flying: [u32; 2],
    quiet_until: i64,
    latest: i64,
}

impl Ledger {
    fn new(windows: Vec<Window>, places: [u32; 2]) -> Self {
        Self { windows, places, flying: [0, 0], quiet_until: i64::MIN, latest: i64::MIN }
    }

    /// Takes a turn now, or says how long to wait before asking again.
    fn admit(&mut self, now: i64, weight: Weight, urgent: bool) -> Result<(), Duration> {
        self.mind_the_clock(now);
        let mut turn = now.max(self.quiet_until);
        for window in &mut self.windows {
            let units = window.units(weight);
            turn = turn.max(window.turn(now, units, urgent));
        }
        if turn > now {
            return Err(Duration::from_millis(turn.abs_diff(now)));
        }
        let place = usize::from(weight.writes());
        if self.flying[place] >= self.places[place] {
            return Err(IN_FLIGHT_WAIT);
        }
        self.flying[place] += 1;
        for window in &mut self.windows {
            let units = window.units(weight);
            window.take(now, units);
        }
        Ok(())
    }

    fn hold(&mut self, now: i64, quiet: Duration) {
        self.mind_the_clock(now);
        self.quiet_until = self.quiet_until.max(now.saturating_add(span(quiet)));
    }

    /// When the clock was set back, all that is remembered moves back with it: nothing then lies ahead,
    /// no wait becomes longer than its window, and at worst we wait once more than needed.
    fn mind_the_clock(&mut self, now: i64) {
        let back = self.latest.saturating_sub(now);
        if self.latest != i64::MIN && back > 0 {
            for (at, _) in self.windows.iter_mut().flat_map(|window| &mut window.taken) {
                *at = at.saturating_sub(back);
            }
            self.quiet_until = self.quiet_until.saturating_sub(back);
        }
        self.latest = now;
    }
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::VirtualClock;

    fn weight() -> impl Strategy<Value = Weight> {
        prop_oneof![Just(Weight::Read), Just(Weight::Write), Just(Weight::Create)]
    }

    fn small() -> Vec<Window> {
        vec![
            Window::new(20, Duration::from_secs(9), [1, 5, 5]),
            Window::new(3, Duration::from_secs(9), [0, 0, 1]),
            Window::new(7, Duration::from_secs(59), [0, 0, 1]),
        ]
    }

    proptest! {
        #[test]
        fn no_window_ever_holds_more_than_its_cap_and_no_turn_comes_later_than_needed(
            calls in proptest::collection::vec((weight(), 0_i64..4_000), 1..120),
        ) {
            let mut ledger = Ledger::new(small(), [1_000, 1_000]);
            let caps: Vec<_> = small().iter().map(|window| (window.cap, window.length, window.units)).collect();
            let mut now = 0_i64;
            let mut left: Vec<(i64, Weight)> = Vec::new();
            for (weight, pause) in calls {
                now += pause;
                let asked = now;
                while let Err(wait) = ledger.admit(now, weight, true) {
                    prop_assert!(wait > Duration::ZERO);
                    now += span(wait);
                }
                left.push((now, weight));
                let fits = |left: &[(i64, Weight)], at: i64| caps.iter().all(|(cap, length, units)| {
                    let all: u64 = left.iter().filter(|(sent, _)| at - length < *sent && *sent <= at)
                        .map(|(_, weight)| units[*weight as usize]).sum();
                    all <= *cap
                });
                prop_assert!(fits(&left, now));
                // One millisecond earlier it would not have fitted, or it was not yet asked for.
                if now > asked {
                    let last = left.len() - 1;
                    left[last].0 = now - 1;
                    prop_assert!(!fits(&left, now - 1));
                    left[last].0 = now;
                }
            }
        }

        #[test]
        fn a_clock_that_jumps_never_makes_a_wait_longer_than_the_longest_window(
            calls in proptest::collection::vec((weight(), -100_000_i64..100_000), 1..200),
        ) {
            let mut ledger = Ledger::new(small(), [1_000, 1_000]);
            let mut now = 0_i64;
            for (weight, jump) in calls {
                now += jump;
                if let Err(wait) = ledger.admit(now, weight, true) {
                    prop_assert!(wait <= Duration::from_secs(60));
                }
            }
        }
    }

    #[test]
    fn a_credential_told_to_be_quiet_lets_nothing_out_before_the_time() {
        let mut ledger = Ledger::new(small(), [9, 9]);
        ledger.hold(1_000, Duration::from_secs(5));
        ledger.hold(1_000, Duration::from_secs(2));
        assert_eq!(ledger.admit(1_000, Weight::Read, true), Err(Duration::from_secs(5)));
        assert_eq!(ledger.admit(6_000, Weight::Read, true), Ok(()));
    }

    #[test]
    fn places_in_flight_are_counted_apart_and_given_back() {
        let pace = Pace::over(Ledger::new(Vec::new(), [1, 1]));
        let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
        let admit = |weight| pace.admit(weight, &clock, &Stop::default(), Duration::ZERO);
        let read = admit(Weight::Read).expect("a place for a read");
        let write = admit(Weight::Create).expect("a place for a write");
        assert!(admit(Weight::Read).is_err() && admit(Weight::Write).is_err());
        drop((read, write));
        assert!(admit(Weight::Read).is_ok());
    }

    #[test]
    fn a_wait_longer_than_allowed_is_answered_instead_of_waited() {
        let pace = Pace::over(Ledger::new(small(), [9, 9]));
        let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
        pace.hold(&clock, Duration::from_secs(300));
        let answer = pace.admit(Weight::Read, &clock, &Stop::default(), Duration::from_secs(120)).map(drop);
        assert_eq!(answer, Err(Denied::Later(Duration::from_secs(300))));
        assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
    }

    #[test]
    fn a_large_piece_of_work_leaves_room_for_what_somebody_waits_for() {
        let bulk = Pace::github(&crate::provider::testing::network());
        let urgent = bulk.urgent();
        let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
        let admits = |pace: &Pace| pace.admit(Weight::Create, &clock, &Stop::default(), Duration::ZERO).is_ok();
        assert_eq!((0..1_000).filter(|_| admits(&bulk)).count(), 72, "nine in ten of 80 a minute");
        assert_eq!((0..1_000).filter(|_| admits(&urgent)).count(), 8, "both together stay within the limit");
    }

    #[test]
    fn threads_that_share_a_credential_share_its_limit() {
        let network = crate::provider::testing::network();
        let pace = Arc::new(Pace::github(&network));
        let clock = Arc::new(VirtualClock::starting_at(Timestamp::UNIX_EPOCH));
        let sent = Arc::new(Mutex::new(BTreeMap::<i64, u32>::new()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let ticket = pace.admit(Weight::Create, &*clock, &Stop::default(), Duration::from_secs(7_200));
                        let _ticket = ticket.expect("a turn within two hours");
                        *lock(&sent).entry(clock.now().as_second()).or_default() += 1;
                    }
                });
            }
        });
        let sent = lock(&sent);
        assert_eq!(sent.values().sum::<u32>(), 200);
        // Stamped after the turn was taken, so a stamp may be late, never early: count what left by each moment.
        let by = |second: i64| sent.range(..=second).map(|(_, count)| *count).sum::<u32>();
        assert!(by(0) <= 80 && by(60) <= 80, "{sent:?}");
    }
}
