//! The events feed: what happened, and the sync tokens that read it once (asana-api.md §5).

use std::collections::{BTreeMap, VecDeque};

use fastrand::Rng;

/// Something an event speaks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thing {
    Task(u64),
    Story(u64),
    Project(u64),
    Section(u64),
    Tag(u64),
    User(u64),
}

impl Thing {
    /// Its gid.
    pub const fn gid(self) -> u64 {
        match self {
            Self::Task(gid)
            | Self::Story(gid)
            | Self::Project(gid)
            | Self::Section(gid)
            | Self::Tag(gid)
            | Self::User(gid) => gid,
        }
    }
}

/// Which field changed, and to what, where that is an Asana object: never a text.
#[derive(Debug, Clone, Copy)]
pub(super) struct FieldChange {
    pub field: &'static str,
    /// `changed`, `added` or `removed`.
    pub action: &'static str,
    pub value: Option<Thing>,
}

impl FieldChange {
    /// The name under which the value stands.
    pub fn value_name(&self) -> &'static str {
        match self.action {
            "added" => "added_value",
            "removed" => "removed_value",
            _ => "new_value",
        }
    }
}

/// One event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// Who did it; `None` for the system.
    pub user: Option<u64>,
    pub at: i64,
    /// `changed`, `added`, `removed`, `deleted` or `undeleted`.
    pub action: &'static str,
    pub resource: Thing,
    pub parent: Option<Thing>,
    pub change: Option<FieldChange>,
    /// The resources whose subscribers hear of it.
    pub streams: Vec<u64>,
}

#[derive(Debug)]
struct Placed {
    event: Event,
    visible: i64,
}

#[derive(Debug)]
struct Token {
    resource: u64,
    /// Number of the first event not yet delivered.
    next: u64,
    issued: i64,
    /// The token whose answer gave this one.
    parent: Option<String>,
    /// What it was answered, so that it is answered the same again.
    answered: Option<Answered>,
}

#[derive(Debug, Clone)]
struct Answered {
    until: u64,
    sync: String,
    has_more: bool,
}

/// One answer of the feed.
#[derive(Debug)]
pub(super) struct Page<'e> {
    pub events: Vec<&'e Event>,
    pub sync: String,
    pub has_more: bool,
}

/// The most events in one answer (asana-api.md §5.1).
const PAGE_MAX: usize = 100;
/// Events kept in all; with an answer's worth a second that is more than a day's.
const KEPT_MAX: usize = 400_000;
/// Tokens kept in all; a client needs one for each project.
const TOKENS_MAX: usize = 10_000;

/// All events, in the order in which they are told, and the tokens out there.
#[derive(Debug, Default)]
pub(super) struct Feed {
    events: VecDeque<Placed>,
    /// Number of the oldest event kept.
    first: u64,
    tokens: BTreeMap<String, Token>,
}

impl Feed {
    /// Adds an event that becomes visible at `visible`.
    pub fn push(&mut self, event: Event, visible: i64) {
        if self.events.len() >= KEPT_MAX {
            self.events.pop_front();
            self.first += 1;
        }
        self.events.push_back(Placed { event, visible });
    }

    /// Lets the two newest events change places.
    pub fn swap_newest(&mut self) {
        if let Some(last) = self.events.len().checked_sub(1).filter(|last| *last > 0) {
            self.events.swap(last, last - 1);
        }
    }

    /// A token that starts now.
    pub fn fresh(&mut self, resource: u64, now: i64, rng: &mut Rng) -> String {
        let next = self.first + self.events.len() as u64;
        self.issue(Token { resource, next, issued: now, parent: None, answered: None }, rng)
    }

    fn issue(&mut self, token: Token, rng: &mut Rng) -> String {
        if self.tokens.len() >= TOKENS_MAX {
            let oldest = self.tokens.iter().min_by_key(|(_, token)| token.issued).map(|(name, _)| name.clone());
            oldest.map(|name| self.tokens.remove(&name));
        }
        let name = format!("{:016x}{:016x}:{}", rng.u64(..), rng.u64(..), self.tokens.len() % 10);
        self.tokens.insert(name.clone(), token);
        name
    }

    /// Forgets every token: the next poll of each is answered 412.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// What happened since `sync`; `None` when that token is unknown, too old, of another resource, or
    /// its events are no longer kept.
    pub fn poll(&mut self, resource: u64, sync: &str, now: i64, lifetime_ms: i64, rng: &mut Rng) -> Option<Page<'_>> {
        let token = self.tokens.get(sync)?;
        if token.resource != resource || token.next < self.first || now.saturating_sub(token.issued) > lifetime_ms {
            self.tokens.remove(sync);
            return None;
        }
        let (next, parent) = (token.next, token.parent.clone());
        let answered = match &token.answered {
            Some(answered) => answered.clone(),
            None => {
                let (until, has_more) = self.extent(resource, next, now);
                let following =
                    Token { resource, next: until, issued: now, parent: Some(sync.to_owned()), answered: None };
                let answered = Answered { until, sync: self.issue(following, rng), has_more };
                // Only the token of the call just before stays good; what led to it does not.
                parent.map(|parent| self.tokens.remove(&parent));
                if let Some(token) = self.tokens.get_mut(sync) {
                    token.answered = Some(answered.clone());
                }
                answered
            }
        };
        let events = self.between(next, answered.until).map(|(_, placed)| &placed.event);
        let events = events.filter(|event| event.streams.contains(&resource)).collect();
        Some(Page { events, sync: answered.sync, has_more: answered.has_more })
    }

    /// How far one answer reaches, and whether there is more after it.
    fn extent(&self, resource: u64, from: u64, now: i64) -> (u64, bool) {
        let mut taken = 0;
        for (number, placed) in self.between(from, u64::MAX) {
            if !placed.event.streams.contains(&resource) {
                continue;
            }
            // What is not visible yet holds back all after it, or it would be lost.
            if placed.visible > now {
                return (number, false);
            }
            if taken == PAGE_MAX {
                return (number, true);
            }
            taken += 1;
        }
        (self.first + self.events.len() as u64, false)
    }

    fn between(&self, from: u64, until: u64) -> impl Iterator<Item = (u64, &Placed)> {
        let skip = usize::try_from(from.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.events.len());
        let first = self.first + skip as u64;
        self.events
            .range(skip..)
            .enumerate()
            .map(move |(at, placed)| (first + at as u64, placed))
            .take_while(move |(number, _)| *number < until)
    }
}
