//! What the gate counts: answers, and whom it turned away why. Strangers cause no line in the log each, but a sum
//! once a minute.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why a connection or a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Refusal {
    /// Bytes that are no unambiguous request.
    Malformed,
    /// Head or body beyond their bounds.
    TooLarge,
    /// The request took too long to come.
    SlowRequest,
    /// The answer took too long to be taken.
    SlowReader,
    /// More requests a second than allowed.
    TooMany,
    /// Not among those who may speak.
    NotAllowed,
    /// The service refused it by its head.
    ByService,
    /// Dropped for new connections, from the address with most of them.
    ConnectionsFull,
    /// Dropped or refused because all the bytes there are were held.
    BytesFull,
    /// No worker was free in time.
    Overloaded,
    /// No file descriptor was left, or the system refused otherwise.
    AcceptFailed,
    /// The answer could not be made: a panic, or the way to the workers broke.
    Broken,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Malformed,
        Self::TooLarge,
        Self::SlowRequest,
        Self::SlowReader,
        Self::TooMany,
        Self::NotAllowed,
        Self::ByService,
        Self::ConnectionsFull,
        Self::BytesFull,
        Self::Overloaded,
        Self::AcceptFailed,
        Self::Broken,
    ];

    /// Its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::SlowRequest => "slow_request",
            Self::SlowReader => "slow_reader",
            Self::TooMany => "too_many",
            Self::NotAllowed => "not_allowed",
            Self::ByService => "by_service",
            Self::ConnectionsFull => "connections_full",
            Self::BytesFull => "bytes_full",
            Self::Overloaded => "overloaded",
            Self::AcceptFailed => "accept_failed",
            Self::Broken => "broken",
        }
    }
}

/// What was counted since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections open now.
    pub connections: usize,
    /// Bytes held for them now.
    pub buffered_bytes: usize,
    /// Connections that may be open at most, as file descriptors allow.
    pub connections_max: usize,
    /// Requests that reached the service and were answered.
    pub answered: u64,
    /// Those turned away, by reason; only reasons that occurred.
    pub refused: Vec<(Refusal, u64)>,
}

impl Stats {
    /// How many were turned away for a reason.
    pub fn refused(&self, reason: Refusal) -> u64 {
        self.refused.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| *count)
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    answered: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    pub(super) fn answer(&self) {
        self.answered.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refuse(&self, reason: Refusal) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn refused(&self) -> Vec<(Refusal, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect()
    }
}

/// The line about what was turned away since `before`, if anything was.
pub(super) fn line(before: &[(Refusal, u64)], now: &[(Refusal, u64)]) -> Option<String> {
    let mut line = String::new();
    for (reason, count) in now {
        let known = before.iter().find(|(known, _)| known == reason).map_or(0, |(_, count)| *count);
        let more = count.saturating_sub(known);
        if more > 0 {
            let comma = if line.is_empty() { "" } else { ", " };
            // Writing to a String cannot fail.
            let _ = write!(line, "{comma}{} {more}", reason.as_str());
        }
    }
    (!line.is_empty()).then(|| format!("listener: turned away within a minute: {line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_came_since_the_last_one() {
        let counters = Counters::default();
        assert_eq!(line(&[], &counters.refused()), None);
        counters.refuse(Refusal::Overloaded);
        counters.refuse(Refusal::Overloaded);
        counters.refuse(Refusal::Malformed);
        let before = counters.refused();
        assert_eq!(
            line(&[], &before).as_deref(),
            Some("listener: turned away within a minute: malformed 1, overloaded 2")
        );
        assert_eq!(line(&before, &counters.refused()), None);
        counters.refuse(Refusal::Broken);
        let text = line(&before, &counters.refused());
        assert_eq!(text.as_deref(), Some("listener: turned away within a minute: broken 1"));
    }

    #[test]
    fn every_reason_is_counted_in_its_own_place() {
        let counters = Counters::default();
        for reason in Refusal::ALL {
            counters.refuse(reason);
        }
        assert_eq!(counters.refused(), Refusal::ALL.map(|reason| (reason, 1)).to_vec());
    }
}
