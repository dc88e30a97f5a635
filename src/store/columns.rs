//! Between columns and the words of the model, both ways.
//!
//! Times are whole milliseconds. What is read is checked: a row that somebody edited by hand is an error, not a panic.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::Fault;
use super::{IntentKind, StoreError};
use crate::model::{IssueRef, ItemKey, LinkStatus, Side, Timestamp};

/// A moment as kept.
pub(super) fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

/// A moment as read.
pub(super) fn moment(what: impl fmt::Display, millis: i64) -> Result<Timestamp, Fault> {
    Timestamp::from_millisecond(millis).map_err(|error| Fault::garbled(what, error))
}

/// A moment that may be missing.
pub(super) fn moment_if(what: impl fmt::Display, millis: Option<i64>) -> Result<Option<Timestamp>, Fault> {
    millis.map(|millis| moment(what, millis)).transpose()
}

/// A checked value as read.
pub(super) fn parse<T: FromStr<Err: fmt::Display>>(what: impl fmt::Display, text: &str) -> Result<T, Fault> {
    text.parse().map_err(|error| Fault::garbled(what, error))
}

/// JSON as read.
pub(super) fn from_json<T: DeserializeOwned>(what: impl fmt::Display, text: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::garbled(what, error))
}

/// JSON as kept.
pub(super) fn to_json<T: Serialize>(what: impl fmt::Display, value: &T) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| {
        Fault::Told(StoreError::Failed { doing: format!("writing {what} as JSON"), why: error.to_string() })
    })
}

/// The key to look an item up by: GitHub ignores the case of repositories.
pub(super) fn key(item: &ItemKey) -> String {
    item.to_string().to_ascii_lowercase()
}

/// An issue's number as kept; GitHub's are far below the limit.
pub(super) fn number(issue: &IssueRef) -> Result<i64, Fault> {
    i64::try_from(issue.number).map_err(|_| {
        Fault::Told(StoreError::Failed {
            doing: format!("writing github:{issue}"),
            why: "its number is larger than any column".to_owned(),
        })
    })
}

/// An issue as read.
pub(super) fn issue(what: impl fmt::Display, repo: &str, number: i64) -> Result<IssueRef, Fault> {
    match u64::try_from(number) {
        Ok(number) if number > 0 => Ok(IssueRef { repo: parse(what, repo)?, number }),
        _ => Err(Fault::garbled(what, format_args!("{number} is no issue number"))),
    }
}

/// A count as read.
pub(super) fn count(what: impl fmt::Display, kept: i64) -> Result<u32, Fault> {
    u32::try_from(kept).map_err(|error| Fault::garbled(what, error))
}

/// Text without NUL, which PostgreSQL cannot keep; both databases shall hold the same.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// A link's status as read.
pub(super) fn status(what: impl fmt::Display, text: &str) -> Result<LinkStatus, Fault> {
    one_of(what, LinkStatus::ALL, LinkStatus::as_str, text)
}

/// An intent's kind as read.
pub(super) fn intent_kind(what: impl fmt::Display, text: &str) -> Result<IntentKind, Fault> {
    one_of(what, IntentKind::ALL, IntentKind::as_str, text)
}

/// A side as read.
pub(super) fn side(what: impl fmt::Display, text: &str) -> Result<Side, Fault> {
    one_of(what, Side::BOTH, Side::as_str, text)
}

/// A side by the name of its service, as read.
pub(super) fn service(what: impl fmt::Display, text: &str) -> Result<Side, Fault> {
    one_of(what, Side::BOTH, Side::service, text)
}

/// One of a few words, as read.
pub(super) fn one_of<T: Copy, const N: usize>(
    what: impl fmt::Display,
    all: [T; N],
    word: impl Fn(T) -> &'static str,
    text: &str,
) -> Result<T, Fault> {
    all.into_iter()
        .find(|one| word(*one) == text)
        .ok_or_else(|| Fault::garbled(what, format_args!("{text:?} is not one of {}", all.map(word).join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_column_survives_the_trip() {
        for one in LinkStatus::ALL {
            assert_eq!(status("a status", one.as_str()).expect("a status"), one);
        }
        for one in IntentKind::ALL {
            assert_eq!(intent_kind("a kind", one.as_str()).expect("a kind"), one);
        }
        for one in Side::BOTH {
            assert_eq!(side("a side", one.as_str()).expect("a side"), one);
        }
        assert!(status("a status", "Active").is_err());
    }

    #[test]
    fn keys_ignore_the_case_of_repositories() {
        let upper: ItemKey = "github:Acme/App#7".parse().expect("a key");
        assert_eq!(key(&upper), "github:acme/app#7");
    }
}
