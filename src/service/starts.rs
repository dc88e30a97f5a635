//! Starts over and over: a service that dies soon after each start must not ask both sides anew every time.
//!
//! Each start is written down, and so is an end in order. Who finds several starts of the last half hour that did not
//! end in order begins its passes later, the more of them the later; deliveries are taken in at once all the same. The
//! budget of requests survives a start by itself, as do the cursors.

use std::time::Duration;

use crate::clock::{Timestamp, later};
use crate::store::Store;

/// How far back starts count: a machine that is restarted a few times a day is no crash loop.
pub const WITHIN: Duration = Duration::from_secs(1_800);

/// The first rest; doubled with each start more...
const FIRST: Duration = Duration::from_secs(15);

/// ...up to this, so that a service that was mended is at work again soon.
pub const REST_MAX: Duration = Duration::from_secs(300);

/// How long the first pass waits, when `before` starts lately did not end in order and `free` of them are free.
pub fn rest(before: u32, free: u32) -> Duration {
    match before.checked_sub(free) {
        None => Duration::ZERO,
        Some(more) => FIRST.saturating_mul(1 << more.min(10)).min(REST_MAX),
    }
}

/// A start that was written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Its number, if the database took it.
    id: Option<i64>,
    /// No pass begins before this, if there were too many.
    pub not_before: Option<Timestamp>,
}

impl Start {
    /// Writes a start down and says how long the passes wait. A database that does not take it keeps nobody back: the
    /// passes will meet the same.
    pub fn begin(store: &Store, holder: &str, free: u32, now: Timestamp) -> Self {
        let (id, before) = match store.begin_start(holder, WITHIN, now) {
            Ok((id, before)) => (Some(id), before),
            Err(error) => {
                log::warn!("{error}");
                return Self { id: None, not_before: None };
            }
        };
        let rest = rest(before, free);
        if rest.is_zero() {
            return Self { id, not_before: None };
        }
        let until = later(now, rest);
        log::warn!(
            "started {before} times in the last {} min without ending in order; passes begin at {until:.0}, \
             deliveries are taken in meanwhile (SIGUSR1 makes a pass now; the lines before the last ends say why)",
            WITHIN.as_secs() / 60
        );
        Self { id, not_before: Some(until) }
    }

    /// Writes down that it ended in order.
    pub fn end(self, store: &Store, now: Timestamp) {
        if let Some(id) = self.id
            && let Err(error) = store.end_start(id, now)
        {
            log::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_starts_are_free_and_each_one_more_waits_longer() {
        let seconds: Vec<u64> = (0..10).map(|before| rest(before, 3).as_secs()).collect();
        assert_eq!(seconds, [0, 0, 0, 15, 30, 60, 120, 240, 300, 300]);
        assert_eq!(rest(u32::MAX, 3), REST_MAX);
        assert_eq!(rest(500, 1_000), Duration::ZERO);
    }

    #[test]
    fn a_service_that_dies_at_once_and_is_started_at_once_makes_few_starts_an_hour() {
        let store = Store::in_memory().expect("a database");
        let began: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
        let end = later(began, Duration::from_secs(3_600));
        let (mut now, mut passes) = (began, 0);
        while now < end {
            let start = Start::begin(&store, "me", 3, now);
            now = start.not_before.unwrap_or(now).max(later(now, Duration::from_secs(1)));
            passes += 1;
        }
        assert!((10..=24).contains(&passes), "{passes}");
    }

    #[test]
    fn a_service_that_ends_in_order_may_start_as_often_as_it_likes() {
        let store = Store::in_memory().expect("a database");
        let now: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
        for _ in 0..50 {
            let start = Start::begin(&store, "me", 3, now);
            assert_eq!(start.not_before, None);
            start.end(&store, now);
        }
    }
}
