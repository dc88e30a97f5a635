//! How many requests a second are let in: a bucket of tokens for each client address and one for all. The last part
//! of the latter is for addresses that ask for little, so that a few that flood cannot use up what there is for all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Client addresses remembered at once: 64 bytes each, so about a megabyte. When more than these are at it within
/// two seconds, only the bucket for all holds against the newest.
const ADDRESSES_MAX: usize = 16_384;
/// A bucket holds what flows into it in so many seconds, so that a burst after silence passes.
const BURST_SECONDS: f64 = 2.0;
/// The part of the bucket for all that is kept for addresses that ask for little.
const KEPT: f64 = 0.25;
/// An address asks for little while its own bucket is at least so full.
const LITTLE: f64 = 0.75;
/// How often addresses that have been silent are forgotten, at most: it looks at all of them.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Buckets of tokens, one token a request.
#[derive(Debug)]
pub(super) struct Buckets {
    per_address: f64,
    per_second: f64,
    all: Bucket,
    addresses: HashMap<IpAddr, Bucket>,
    forgotten_at: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Takes a token above `floor`, or answers how long until there is one.
    fn take(&mut self, rate: f64, floor: f64, now: Instant) -> Result<(), Duration> {
        let flowed = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.tokens = (self.tokens + flowed).min(rate * BURST_SECONDS);
        self.at = now.max(self.at);
        if self.tokens >= 1.0 + floor {
            self.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64((1.0 + floor - self.tokens) / rate))
    }
}

impl Buckets {
    pub(super) fn new(per_address: u32, per_second: u32, now: Instant) -> Self {
        let (per_address, per_second) = (f64::from(per_address), f64::from(per_second));
        let all = Bucket { tokens: per_second * BURST_SECONDS, at: now };
        Self { per_address, per_second, all, addresses: HashMap::new(), forgotten_at: now }
    }

    /// Lets one request in, or answers how long it should wait. Requests without an address share one bucket.
    pub(super) fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let full = self.per_address * BURST_SECONDS;
        let mut little = false;
        if self.addresses.len() >= ADDRESSES_MAX
            && now.saturating_duration_since(self.forgotten_at) >= FORGET_EVERY
            && !self.addresses.contains_key(&address)
        {
            self.forgotten_at = now;
            // Whose bucket is full again is as good as new.
            let silent = Duration::from_secs_f64(BURST_SECONDS);
            self.addresses.retain(|_, bucket| now.saturating_duration_since(bucket.at) < silent);
        }
        if self.addresses.len() < ADDRESSES_MAX || self.addresses.contains_key(&address) {
            let bucket = self.addresses.entry(address).or_insert(Bucket { tokens: full, at: now });
            bucket.take(self.per_address, 0.0, now)?;
            little = bucket.tokens >= full * LITTLE;
        }
        let floor = if little { 0.0 } else { self.per_second * BURST_SECONDS * KEPT };
        self.all.take(self.per_second, floor, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    #[test]
    fn a_burst_passes_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut buckets = Buckets::new(10, 1_000, start);
        let passed = |buckets: &mut Buckets, now| (0..100).filter(|_| buckets.take(address(1), now).is_ok()).count();
        assert_eq!(passed(&mut buckets, start), 20);
        assert_eq!(passed(&mut buckets, start + Duration::from_secs(1)), 10);
        assert_eq!(passed(&mut buckets, start + Duration::from_secs(100)), 20);
    }

    #[test]
    fn one_address_does_not_use_up_what_others_have() {
        let start = Instant::now();
        let mut buckets = Buckets::new(10, 1_000, start);
        for _ in 0..10_000 {
            let _ = buckets.take(address(1), start);
        }
        assert_eq!(buckets.take(address(2), start), Ok(()));
    }

    #[test]
    fn all_together_are_held_too_and_told_how_long_to_wait() {
        let start = Instant::now();
        let mut buckets = Buckets::new(10, 50, start);
        let passed = (0..1_000).filter(|number| buckets.take(address(*number), start).is_ok()).count();
        assert_eq!(passed, 100);
        assert_eq!(buckets.take(address(2_000), start), Err(Duration::from_millis(20)));
    }

    #[test]
    fn a_few_that_flood_leave_something_for_those_who_ask_for_little() {
        let start = Instant::now();
        let mut buckets = Buckets::new(100, 200, start);
        // Five at a hundred a second and their burst are more than there is for all.
        for number in 0..1_000 {
            let _ = buckets.take(address(number % 5), start);
        }
        for second in 1..60 {
            let now = start + Duration::from_secs(second);
            let flooding = (0..1_000).filter(|number| buckets.take(address(number % 5), now).is_ok()).count();
            assert!(flooding <= 200, "{flooding}");
            for quiet in 10..40 {
                assert_eq!(buckets.take(address(quiet), now), Ok(()), "second {second}");
            }
        }
    }

    #[test]
    fn the_memory_for_addresses_is_bounded_and_silent_ones_make_room() {
        let start = Instant::now();
        let mut buckets = Buckets::new(1, 1_000_000, start);
        for number in 0..40_000 {
            assert_eq!(buckets.take(address(number), start), Ok(()));
        }
        assert_eq!(buckets.addresses.len(), ADDRESSES_MAX);
        assert_eq!(buckets.take(address(40_000), start + Duration::from_secs(5)), Ok(()));
        assert_eq!(buckets.addresses.len(), 1);
    }

    #[test]
    fn a_clock_that_stands_or_goes_back_gives_nothing_away() {
        let start = Instant::now() + Duration::from_secs(10);
        let mut buckets = Buckets::new(1, 100, start);
        assert!(buckets.take(address(1), start).is_ok() && buckets.take(address(1), start).is_ok());
        assert!(buckets.take(address(1), start - Duration::from_secs(5)).is_err());
        assert!(buckets.take(address(1), start).is_err());
    }
}
