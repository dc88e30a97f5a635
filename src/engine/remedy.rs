//! When to try again: exponential backoff with full jitter, or the time the provider names. And what a person can do
//! when trying again is not enough.

use std::time::Duration;

use crate::clock::later;
use crate::config::Patience;
use crate::model::{Fingerprint, ItemKey, Timestamp};
use crate::provider::ProviderError;

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

/// What a person can do about an item that is parked for a failure; the reason itself stands before it.
pub const fn advice(error: &ProviderError) -> &'static str {
    match error {
        ProviderError::Refused { status: 402, .. } => {
            "the plan of the account does not include this: leave the field to the other side, or change the plan"
        }
        ProviderError::Refused { status: 401 | 403, .. } => {
            "give the token's user the right to this item, or leave it out with a filter of the route; then have it \
             tried again"
        }
        ProviderError::Refused { .. } => "change what the service objects to, on either side, and have it tried again",
        ProviderError::Garbled { .. } => {
            "have it tried again; if it stays so, look at the item in the browser and report it with the log of \
             RUST_LOG=debug"
        }
        ProviderError::Stale { .. } => MOVING,
        ProviderError::Unreachable { .. }
        | ProviderError::Busy { .. }
        | ProviderError::Resting { .. }
        | ProviderError::Halted
        | ProviderError::Stopped => {
            "it was tried as often as [patience] attempts_max says: see that the service answers (`evenkeel check`), \
             then have it tried again"
        }
        ProviderError::Gone { .. } => {
            "it went away each time it was to be written: look whether it is still there, then have it tried again, or \
             drop it"
        }
        ProviderError::Denied { .. } => "see what the token lacks (`evenkeel check`), then have it tried again",
    }
}

/// The same for one that never held still.
pub const MOVING: &str = "have it tried again when whoever changes it, a person or another program, is done";

/// The same for one that could not be read.
pub const UNREAD: &str =
    "see whether it is still there and whether the token may see it, then have it tried again, or drop it";

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
