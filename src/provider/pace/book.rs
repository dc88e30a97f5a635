//! The book of one credential: what all processes that use it have taken of its limits lately.
//!
//! A process takes units in blocks, good for a few seconds ([`BLOCK`]), and pays its requests out of its block; so the
//! book is opened once for many requests. A block counts in full from the moment it is given out until a window has
//! passed since its end, unless its holder closes it: then only what was used counts, from when it was last used. What
//! a dead process held therefore comes back by itself, and what it sent before it died is never forgotten.
//!
//! Why no window ever holds more than its cap: take any window and the last block that a request in it was paid from.
//! When that block was given out, every other block with a request in the window still counted in full or as used, so
//! their sum was checked against the cap. Pure; time in milliseconds.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::super::breaker::span;

/// How long a block may be used. Short, because so long a dead process's block counts beyond the window; long enough
/// that many requests share one.
pub const BLOCK: Duration = Duration::from_secs(10);

/// Clocks of replicas that differ by less than this are taken for one clock, that of whoever is ahead; beyond it the
/// clock was set back. As long as a lease lasts: beyond that replicas could not share a route either.
const CLOCKS_APART_MAX: i64 = 60_000;

/// Spent units are kept by so many moments a window, each rounded to the later one, so that a book stays small.
const MOMENTS: i64 = 120;

/// Open blocks told apart; those of processes that died over and over are summed up beyond this.
const OPEN_MAX: usize = 64;

/// One limit as the book needs it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Units that may be taken...
    pub(super) cap: u64,
    /// ...in any stretch of so many milliseconds.
    pub(super) length: i64,
}

/// What all processes have taken. Times in milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Book {
    /// The latest moment anybody opened it at.
    latest: i64,
    /// Nothing is sent before this: a provider said so.
    quiet_until: i64,
    /// The next block's number.
    next: u64,
    /// For each limit: until when so many units count.
    spent: Vec<Vec<(i64, u64)>>,
    /// Blocks that are not closed.
    open: Vec<Open>,
}

/// A block that is not closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Open {
    number: u64,
    holder: String,
    /// Until when it may be used.
    until: i64,
    /// For each limit.
    units: Vec<u64>,
}

/// A block that its holder is done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closing {
    /// Its number.
    pub(super) number: u64,
    /// What was used of it, for each limit.
    pub(super) used: Vec<u64>,
    /// How many milliseconds ago it was last used.
    pub(super) ago: i64,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wish {
    /// Who asks.
    pub(super) holder: String,
    /// What the request in hand takes, for each limit.
    pub(super) units: Vec<u64>,
    /// What would be good to have, never less than `units`.
    pub(super) wish: Vec<u64>,
    /// So many units of each limit are left alone: the share kept for urgent work.
    pub(super) spare: Vec<u64>,
}

/// A block given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) number: u64,
    /// For each limit.
    pub(super) units: Vec<u64>,
}

impl Book {
    /// Nothing is sent for so long, as a provider said.
    pub(super) fn hold(&mut self, now: i64, quiet: i64) {
        let now = self.turn_to(now);
        self.quiet_until = self.quiet_until.max(now.saturating_add(quiet));
    }

    /// How long nothing is sent.
    pub(super) fn quiet(&self, now: i64) -> i64 {
        self.quiet_until.saturating_sub(now).max(0)
    }

    /// Closes a block.
    pub(super) fn close(&mut self, now: i64, limits: &[Limit], closing: &Closing) {
        let now = self.turn_to(now);
        // Not there: closed already, or so old that nothing of it counts any more.
        let Some(at) = self.open.iter().position(|open| open.number == closing.number) else { return };
        self.open.swap_remove(at);
        let last = now.saturating_sub(closing.ago.max(0));
        for (place, limit) in limits.iter().enumerate() {
            let used = closing.used.get(place).copied().unwrap_or(0);
            self.spend(place, *limit, last.saturating_add(limit.length), used);
        }
    }

    /// Gives out a block of at least what is needed, or says for how many milliseconds it cannot.
    pub(super) fn take(&mut self, asked: i64, limits: &[Limit], wish: &Wish) -> Result<Block, i64> {
        let now = self.turn_to(asked);
        self.forget(now, limits);
        let mut turn = now.max(self.quiet_until);
        let mut units = Vec::with_capacity(limits.len());
        for (place, limit) in limits.iter().enumerate() {
            let of = |list: &[u64]| list.get(place).copied().unwrap_or(0);
            let needed = of(&wish.units).min(limit.cap);
            let cap = limit.cap.saturating_sub(of(&wish.spare)).max(needed);
            let mut counted = self.counted(place, limit.length, now);
            let mut sum: u64 = counted.iter().map(|(_, units)| units).sum();
            units.push(cap.saturating_sub(sum).min(of(&wish.wish).max(needed)));
            if sum + needed > cap {
                counted.sort_unstable();
                for (until, units) in counted {
                    sum -= units;
                    if sum + needed <= cap {
                        turn = turn.max(until);
                        break;
                    }
                }
            }
        }
        if turn > now {
            // Measured on the asker's clock, or it would come back too early for ever.
            return Err(turn.saturating_sub(asked).max(1));
        }
        self.next = self.next.saturating_add(1);
        let number = self.next;
        let until = now.saturating_add(span(BLOCK));
        self.open.push(Open { number, holder: wish.holder.clone(), until, units: units.clone() });
        Ok(Block { number, units })
    }

    /// Units of one limit that count now: sent, or held by somebody to be sent.
    pub(super) fn taken(&self, place: usize, limit: Limit, now: i64) -> u64 {
        self.counted(place, limit.length, now).iter().map(|(_, units)| units).sum()
    }

    /// How many processes hold a block that may be used; the asker counts as one.
    pub(super) fn sharers(&self, holder: &str, now: i64) -> usize {
        let living = self.open.iter().filter(|open| open.until > now).map(|open| open.holder.as_str());
        living.chain([holder]).collect::<BTreeSet<_>>().len()
    }

    /// Units of one limit that count, with until when.
    fn counted(&self, place: usize, length: i64, now: i64) -> Vec<(i64, u64)> {
        let spent = self.spent.get(place).into_iter().flatten().copied();
        let open = self
            .open
            .iter()
            .map(|open| (open.until.saturating_add(length), open.units.get(place).copied().unwrap_or(0)));
        spent.chain(open).filter(|(until, units)| *until > now && *units > 0).collect()
    }

    fn spend(&mut self, place: usize, limit: Limit, until: i64, units: u64) {
        if units == 0 {
            return;
        }
        while self.spent.len() <= place {
            self.spent.push(Vec::new());
        }
        let moment = (limit.length / MOMENTS).max(1);
        let until = until.saturating_add(moment - 1).div_euclid(moment).saturating_mul(moment);
        let Some(spent) = self.spent.get_mut(place) else { return };
        match spent.iter_mut().find(|(at, _)| *at == until) {
            Some((_, sum)) => *sum = sum.saturating_add(units),
            None => spent.push((until, units)),
        }
    }

    /// Forgets what counts no more, and sums up what is too much to tell apart.
    fn forget(&mut self, now: i64, limits: &[Limit]) {
        for spent in &mut self.spent {
            spent.retain(|(until, _)| *until > now);
        }
        let longest = limits.iter().map(|limit| limit.length).max().unwrap_or(0);
        self.open.retain(|open| open.until.saturating_add(longest) > now);
        while self.open.len() >= OPEN_MAX {
            let Some(oldest) = (0..self.open.len()).min_by_key(|at| self.open.get(*at).map(|open| open.until)) else {
                return;
            };
            let Open { until, units, .. } = self.open.swap_remove(oldest);
            for (place, limit) in limits.iter().enumerate() {
                let units = units.get(place).copied().unwrap_or(0);
                self.spend(place, *limit, until.saturating_add(limit.length), units);
            }
        }
    }

    /// The book's own time: that of whoever is ahead. When the clock was set back, all moves back with it.
    fn turn_to(&mut self, now: i64) -> i64 {
        let back = self.latest.saturating_sub(now);
        if self.latest != 0 && back > CLOCKS_APART_MAX {
            let moments = self.spent.iter_mut().flatten().map(|(until, _)| until);
            for until in moments.chain(self.open.iter_mut().map(|open| &mut open.until)) {
                *until = until.saturating_sub(back);
            }
            self.quiet_until = self.quiet_until.saturating_sub(back);
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        self.latest
    }
}
