//! Findings that the checks of both services share.

use std::time::Duration;

use super::{Finding, ProviderError};
use crate::clock::{Timestamp, since};

/// Clocks that differ by more make overlaps too short and tokens seem expired.
const SKEW_MAX: Duration = Duration::from_secs(60);

/// Something is as needed.
pub fn good(subject: &str, found: impl Into<String>) -> Finding {
    Finding { subject: subject.to_owned(), good: true, found: found.into(), remedy: None }
}

/// A call of the check failed.
pub fn bad(subject: &str, error: &ProviderError, remedy: &str) -> Finding {
    let remedy = match error {
        ProviderError::Unreachable { .. } => "check the network, the proxy and the base URL, then try again",
        ProviderError::Busy { .. } => "wait as long as told, then try again",
        _ => remedy,
    };
    wrong(subject, error.to_string(), remedy)
}

/// Something is not as needed.
pub fn wrong(subject: &str, found: impl Into<String>, remedy: &str) -> Finding {
    Finding { subject: subject.to_owned(), good: false, found: found.into(), remedy: Some(remedy.to_owned()) }
}

/// How far our clock is from the service's.
pub fn clock(service: &str, theirs: Timestamp, ours: Timestamp) -> Finding {
    let (ahead, behind) = (since(theirs, ours), since(ours, theirs));
    let skew = ahead.max(behind);
    if skew <= SKEW_MAX {
        return good("clock", format!("within {} s of {service}'s", skew.as_secs()));
    }
    let way = if ahead > behind { "ahead of" } else { "behind" };
    wrong("clock", format!("{} s {way} {service}'s", skew.as_secs()), "set this machine's clock (NTP)")
}
