//! Every request seen, and counts of them, for tests that assert how many there were.

use std::collections::{BTreeMap, VecDeque};

use crate::model::{BySide, Side};
use crate::provider::http::Method;

use super::Sandbox;

/// One request and how it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Which service.
    pub side: Side,
    /// What it wanted to do.
    pub method: Method,
    /// Path and query below the base address.
    pub path: String,
    /// The status answered; 0 where none was (the connection was cut).
    pub status: u16,
}

/// Requests counted on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub requests: u64,
    /// Those that read.
    pub reads: u64,
    /// Those that write, refused ones among them.
    pub writes: u64,
    /// Those answered 304.
    pub unchanged: u64,
    /// Tasks, issues, comments and whatever else was made: answers of 201.
    pub created: u64,
}

/// Requests kept with their paths; older ones are only counted.
const KEPT_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct LogState {
    seen: VecDeque<Seen>,
    counts: BySide<Counts>,
    writes: BTreeMap<(Side, String), u64>,
}

impl LogState {
    pub fn note(&mut self, seen: Seen) {
        let counts = &mut self.counts[seen.side];
        counts.requests += 1;
        if seen.method.writes() {
            counts.writes += 1;
        } else {
            counts.reads += 1;
        }
        counts.unchanged += u64::from(seen.status == 304);
        counts.created += u64::from(seen.status == 201);
        if seen.method.writes() {
            let item = item_of(seen.path.split('?').next().unwrap_or_default());
            *self.writes.entry((seen.side, item)).or_default() += 1;
        }
        if self.seen.len() >= KEPT_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(seen);
    }
}

/// The item a write is about: its path up to and with the item's own number.
fn item_of(path: &str) -> String {
    let words: Vec<&str> = path.split('/').skip(1).collect();
    let kept = match words.as_slice() {
        ["tasks" | "stories" | "sections" | "tags", _, ..] => 2,
        ["repos", _, _, "issues", "comments", _, ..] => 6,
        ["repos", _, _, "issues", _, ..] => 5,
        ["repositories", _, "issues", _, ..] => 4,
        other => other.len(),
    };
    words.into_iter().take(kept).fold(String::new(), |path, word| path + "/" + word)
}

/// Looks at what was asked.
#[derive(Debug, Clone)]
pub struct Log(pub(super) Sandbox);

impl Log {
    /// The requests since the last reset, oldest first; the newest 10,000 of them.
    pub fn requests(&self) -> Vec<Seen> {
        self.0.state().log.seen.iter().cloned().collect()
    }

    /// The counts since the last reset.
    pub fn counts(&self) -> BySide<Counts> {
        self.0.state().log.counts
    }

    /// Writes since the last reset by the item written, named by its path (`/tasks/1201`,
    /// `/repos/acme/app/issues/17`); creations stand under the path of the list.
    pub fn writes(&self, side: Side) -> BTreeMap<String, u64> {
        let state = self.0.state();
        let of_side = state.log.writes.iter().filter(|((known, _), _)| *known == side);
        of_side.map(|((_, item), count)| (item.clone(), *count)).collect()
    }

    /// Starts again from nothing.
    pub fn reset(&self) {
        self.0.state().log = LogState::default();
    }
}
