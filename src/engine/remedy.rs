//! When to try again: exponential backoff with full jitter, or the time the provider names.

use std::time::Duration;

use crate::clock::later;
use crate::config::Patience;
use crate::model::{Fingerprint, ItemKey, Timestamp};

/// Waits before another try, the same for the same seed, item and attempt.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    patience: Patience,
    seed: u64,
}

impl Backoff {
    /// Under the configured patience; `seed` is the chance.
    pub const fn new(patience: Patience, seed: u64) -> Self {
        Self { patience, seed }
    }

    /// The moment before which attempt number `attempts + 1` is not made.
    ///
    /// Full jitter: anything from nothing to the exponential bound, so that many items that failed
    /// together do not come back together. A time named by the provider is a lower bound.
    pub fn not_before(&self, item: &ItemKey, attempts: u32, named: Option<Duration>, now: Timestamp) -> Timestamp {
        let doublings = attempts.saturating_sub(1).min(20);
        let bound = self.patience.backoff.saturating_mul(1 << doublings).min(self.patience.backoff_max);
        let digits = Fingerprint::of(&(self.seed, item, attempts)).0;
        let chance = u64::from_str_radix(digits.get(..12).unwrap_or("0"), 16).unwrap_or(0);
        let millis = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
        let jittered = Duration::from_millis(chance % millis.saturating_add(1));
        later(now, named.unwrap_or_default().saturating_add(jittered))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patience() -> Patience {
        Patience {
            attempts_max: 5,
            backoff: Duration::from_secs(30),
            backoff_max: Duration::from_secs(3_600),
            intent_grace: Duration::from_secs(600),
            repairs_max: 10,
        }
    }

    #[test]
    fn a_wait_stays_within_its_bounds_and_never_undercuts_the_provider() {
        let now = Timestamp::UNIX_EPOCH;
        for attempts in 0..40 {
            for item in 1..50 {
                let key = format!("asana:{item}").parse().expect("a key");
                let at = Backoff::new(patience(), 7).not_before(&key, attempts, None, now);
                assert!(at >= now && at <= later(now, Duration::from_secs(3_600)), "{at}");
                let named = Some(Duration::from_secs(90));
                assert!(
                    Backoff::new(patience(), 7).not_before(&key, attempts, named, now)
                        >= later(now, Duration::from_secs(90))
                );
            }
        }
    }
}
