//! GitHub's limits: the hourly one and those against bursts (github-api.md §6).

use std::collections::VecDeque;

use crate::provider::http::Method;
use crate::sandbox::fault::Limit;
use crate::sandbox::web::Ask;

/// Which limits are kept; `None` keeps none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests an hour and user.
    pub requests_per_hour: Option<u64>,
    /// Points a minute and user: a read is 1, a write is 5.
    pub points_per_minute: Option<u64>,
    /// Issues and comments made in a minute.
    pub creations_per_minute: Option<u64>,
    /// Issues and comments made in an hour.
    pub creations_per_hour: Option<u64>,
}

impl Limits {
    /// None.
    pub const fn off() -> Self {
        Self { requests_per_hour: None, points_per_minute: None, creations_per_minute: None, creations_per_hour: None }
    }

    /// Those the service publishes.
    pub const fn published() -> Self {
        Self {
            requests_per_hour: Some(5000),
            points_per_minute: Some(900),
            creations_per_minute: Some(80),
            creations_per_hour: Some(500),
        }
    }
}

/// What the headers say where no limit is kept.
const UNLIMITED: u64 = 1_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 3_600_000;

/// What one user did lately.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Start of the running hour, ms since the epoch.
    started: i64,
    used: u64,
    points: VecDeque<(i64, u64)>,
    points_sum: u64,
    creations: VecDeque<i64>,
}

impl Windows {
    /// Counts a request against the limits, and answers which one it exceeds.
    pub fn admit(&mut self, limits: &Limits, ask: &Ask<'_>, now: i64, free: bool) -> Option<Limit> {
        if now - self.started >= HOUR || now < self.started {
            (self.started, self.used) = (now, 0);
        }
        while let Some((_, cost)) = self.points.front().copied().filter(|(at, _)| *at <= now - MINUTE) {
            self.points_sum = self.points_sum.saturating_sub(cost);
            self.points.pop_front();
        }
        while self.creations.front().is_some_and(|at| *at <= now - HOUR) {
            self.creations.pop_front();
        }
        let cost = if ask.method.writes() { 5 } else { 1 };
        let creates =
            ask.method == Method::Post && matches!(ask.path.last().map(String::as_str), Some("issues" | "comments"));
        let lately = self.creations.iter().rev().take_while(|at| **at > now - MINUTE).count() as u64;
        let exceeds = |used: u64, limit: Option<u64>| limit.is_some_and(|limit| used > limit);
        let over = if !free && exceeds(self.used + 1, limits.requests_per_hour) {
            Some(Limit::Primary)
        } else if exceeds(self.points_sum + cost, limits.points_per_minute)
            || (creates
                && (exceeds(lately + 1, limits.creations_per_minute)
                    || exceeds(self.creations.len() as u64 + 1, limits.creations_per_hour)))
        {
            Some(Limit::Secondary)
        } else {
            None
        };
        if over.is_none() {
            self.points.push_back((now, cost));
            self.points_sum += cost;
            if creates {
                self.creations.push_back(now);
            }
        }
        over
    }

    /// Takes one from the hourly limit.
    pub const fn spend(&mut self) {
        self.used += 1;
    }

    /// Limit, remaining, used and the second at which the hour ends.
    pub fn state(&self, limits: &Limits) -> (u64, u64, u64, i64) {
        let limit = limits.requests_per_hour.unwrap_or(UNLIMITED);
        let remaining = limit.saturating_sub(self.used);
        // Without a limit it must never look as if one were met.
        let remaining = if limits.requests_per_hour.is_none() { remaining.max(1) } else { remaining };
        (limit, remaining, self.used, (self.started + HOUR) / 1000)
    }

    /// The five headers of every answer.
    pub fn headers(&self, limits: &Limits, _now: i64, exhausted: bool) -> Vec<(String, String)> {
        let (limit, remaining, used, reset) = self.state(limits);
        let remaining = if exhausted { 0 } else { remaining };
        [
            ("x-ratelimit-limit", limit.to_string()),
            ("x-ratelimit-remaining", remaining.to_string()),
            ("x-ratelimit-used", used.to_string()),
            ("x-ratelimit-reset", reset.to_string()),
            ("x-ratelimit-resource", "core".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }
}
