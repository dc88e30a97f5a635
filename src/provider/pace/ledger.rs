//! What one process knows of one credential: its own requests lately, its block of the common budget, its breaker.
//!
//! Pure; time in milliseconds. The windows here are exact and hold for this process alone; that all processes together
//! keep to the limits is the business of the [`Book`](super::book::Book), out of which a block is paid for here.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::breaker::{Leave, Standing, span};
use super::Weight;
use super::book::{BLOCK, Block, Closing, Limit};

/// Added to every window: a service counts arrivals, we count departures, and the way takes now more, now less.
const SLACK: Duration = Duration::from_secs(1);

/// How long to look again when all places in flight are taken, or another thread asks for a block.
pub(super) const IN_FLIGHT_WAIT: Duration = Duration::from_millis(20);

/// The share of every limit that is kept for urgent work: one in so many units. A large import leaves it alone, so
/// that a closing need not wait for a window to empty.
const RESERVED: u64 = 10;

/// The share of every limit that is left to processes that cannot open the common book: one in so many units. Nobody who
/// keeps to the book takes it, not even for urgent work, so that all still fits; those who cannot divide it among them.
const ALONE: u64 = 30;

/// An open breaker is looked at again after so many milliseconds: somebody may have mended what was wrong.
const LOOK_AGAIN: i64 = 10_000;

/// A block is at most one in so many units of its limit, so that no process holds much of what others could use...
const BLOCK_SHARE: u64 = 10;

/// ...but not less than this, or the account would be opened for every other request...
const BLOCK_MIN: u64 = 5;

/// ...nor more than this: larger ones save next to no opening, and who dies loses what is left of its block...
const BLOCK_MAX: u64 = 128;

/// ...and at first one in so many of that: who sends little, or dies over and over, takes little...
const FIRST_SHARE: u64 = 16;

/// ...but not less than this: an idle poll sends one request or two.
const FIRST_MIN: u64 = 2;

/// One limit: at most `cap` units in any stretch of `length` milliseconds.
#[derive(Debug)]
pub(super) struct Window {
    cap: u64,
    length: i64,
    /// Units per [`Weight`], in its order.
    units: [u64; 3],
    /// The largest block.
    block: u64,
    /// When units were taken, oldest first, and how many.
    taken: VecDeque<(i64, u64)>,
    sum: u64,
}

impl Window {
    /// A `cap` of 0 would wait for ever; the configuration refuses it, and here it counts as 1.
    pub(super) fn new(cap: u32, length: Duration, units: [u64; 3]) -> Self {
        let cap = u64::from(cap.max(1));
        let length = span(length + SLACK);
        // Of a long window a minute's share: what a process that dies holds of it is lost for the whole window.
        let minutes = u64::try_from(length / 60_000).unwrap_or(1).max(1);
        let block = (cap / BLOCK_SHARE / minutes).clamp(BLOCK_MIN, BLOCK_MAX).min(cap);
        Self { cap, length, units, block, taken: VecDeque::new(), sum: 0 }
    }

    /// What a request takes; never more than there is, or it could never leave.
    fn units(&self, weight: Weight) -> u64 {
        let units = match weight {
            Weight::Read => self.units[0],
            Weight::Write => self.units[1],
            Weight::Create => self.units[2],
        };
        units.min(self.cap)
    }

    /// What is left alone: by what is not urgent, and where the limit is common to several processes.
    const fn spare(&self, urgent: bool, common: bool) -> u64 {
        match (urgent, common) {
            (false, _) => self.cap / RESERVED,
            (true, true) => self.cap / ALONE,
            (true, false) => 0,
        }
    }

    /// The earliest moment from `now` on at which `units` fit below `cap`.
    fn turn(&mut self, now: i64, units: u64, cap: u64) -> i64 {
        let cap = cap.max(units);
        while let Some((at, old)) = self.taken.front().copied().filter(|(at, _)| at + self.length <= now) {
            debug_assert!(at <= now);
            self.sum -= old;
            self.taken.pop_front();
        }
        let mut sum = self.sum;
        for (at, old) in &self.taken {
            if sum + units <= cap {
                break;
            }
            sum -= old;
            if sum + units <= cap {
                return at + self.length;
            }
        }
        now
    }

    fn take(&mut self, now: i64, units: u64) {
        if units > 0 {
            self.taken.push_back((now, units));
            self.sum += units;
        }
    }
}

/// A block in use.
#[derive(Debug)]
struct Held {
    number: u64,
    /// What is left, and what was used, for each window.
    left: Vec<u64>,
    used: Vec<u64>,
    /// Not used at or after this.
    until: i64,
    /// When it was last used.
    last: i64,
}

/// What comes of asking to send.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It was taken: a place in flight and the units. Whether it shows if the provider is back.
    Go { probe: bool },
    /// Not now: ask again after so long.
    Wait(Duration),
    /// The breaker is open until this moment.
    Rest(i64),
    /// The common account has to be asked first, and what is to be asked.
    Visit(Visit),
}

/// What is asked of the common account.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// The block that is done with.
    pub(super) closing: Option<Closing>,
    /// What the request in hand takes, what would be good to have, and what is left alone, for each window.
    pub(super) units: Vec<u64>,
    pub(super) wish: Vec<u64>,
    pub(super) spare: Vec<u64>,
    /// Whether the place to probe is wanted.
    pub(super) probe: bool,
}

/// What one credential has sent lately. Pure; time in milliseconds.
#[derive(Debug)]
pub(super) struct Ledger {
    windows: Vec<Window>,
    /// Places in flight for reads and for writes...
    places: [u32; 2],
    /// ...and how many are taken.
    flying: [u32; 2],
    quiet_until: i64,
    latest: i64,
    /// The breaker, as last known here.
    pub(super) standing: Standing,
    /// When that was read.
    known_at: i64,
    /// The place to probe was taken here and is not used yet.
    pub(super) claimed: bool,
    /// The blocks in use: of ordinary and of urgent work.
    held: [Option<Held>; 2],
    /// What was used of the last block of each kind, from which the next is measured.
    before: [Vec<u64>; 2],
    /// Whether the common account is kept at all.
    common: bool,
    /// It cannot be opened: until then this process is on its own.
    alone_until: i64,
    /// Processes that share the credential, this one among them.
    sharers: u32,
    /// A thread is at the account.
    pub(super) visiting: bool,
}

impl Ledger {
    pub(super) fn new(windows: Vec<Window>, places: [u32; 2]) -> Self {
        Self {
            windows,
            places,
            flying: [0, 0],
            quiet_until: i64::MIN,
            latest: i64::MIN,
            standing: Standing::default(),
            known_at: i64::MIN,
            claimed: false,
            held: [None, None],
            before: [Vec::new(), Vec::new()],
            common: false,
            alone_until: i64::MIN,
            sharers: 1,
            visiting: false,
        }
    }

    /// From now on blocks are asked for.
    pub(super) fn share(&mut self) {
        self.common = true;
    }

    /// The limits as the book needs them.
    pub(super) fn limits(&self) -> Vec<Limit> {
        self.windows.iter().map(|window| Limit { cap: window.cap, length: window.length }).collect()
    }

    /// Takes a turn now, or says what comes first. Who `insists` may try although the breaker is open.
    pub(super) fn admit(&mut self, now: i64, weight: Weight, urgent: bool, insists: bool) -> Step {
        self.mind_the_clock(now);
        let alone = self.common && now < self.alone_until;
        // A claim that lay idle for too long may be somebody else's by now.
        self.claimed &= now < self.standing.until;
        let mut probe = self.claimed;
        if !probe {
            match self.standing.look(now, insists) {
                Leave::Go => {}
                Leave::Rest(until) => return Step::Rest(until),
                Leave::Probe if self.common && !alone => return self.visit(now, weight, urgent, true),
                Leave::Probe => {
                    let _ = self.standing.ask(now, insists);
                    self.claimed = true;
                    probe = true;
                }
            }
        }
        let mut turn = now.max(self.quiet_until);
        for window in &mut self.windows {
            let units = window.units(weight);
            let share = match alone {
                true => (window.cap / ALONE / u64::from(self.sharers)).max(1),
                false => window.cap - window.spare(urgent, self.common),
            };
            turn = turn.max(window.turn(now, units, share));
        }
        if turn > now {
            return Step::Wait(Duration::from_millis(turn.abs_diff(now)));
        }
        let place = usize::from(weight.writes());
        if self.flying[place] >= (self.places[place] / self.sharers).max(1) {
            return Step::Wait(IN_FLIGHT_WAIT);
        }
        if self.common && !alone && !self.pay(now, weight, urgent) {
            return self.visit(now, weight, urgent, false);
        }
        self.flying[place] += 1;
        for window in &mut self.windows {
            let units = window.units(weight);
            window.take(now, units);
        }
        self.claimed = false;
        Step::Go { probe }
    }

    /// Gives a place in flight back.
    pub(super) fn land(&mut self, weight: Weight) {
        let flying = &mut self.flying[usize::from(weight.writes())];
        *flying = flying.saturating_sub(1);
    }

    /// Pays out of a block: what is urgent out of its own, then out of the ordinary one.
    fn pay(&mut self, now: i64, weight: Weight, urgent: bool) -> bool {
        let kinds: &[usize] = if urgent { &[1, 0] } else { &[0] };
        let units: Vec<u64> = self.windows.iter().map(|window| window.units(weight)).collect();
        for kind in kinds {
            let Some(held) = self.held.get_mut(*kind).and_then(Option::as_mut) else { continue };
            let covers = held.left.iter().zip(&units).all(|(left, units)| units <= left);
            if !covers || now >= held.until {
                continue;
            }
            for ((left, used), units) in held.left.iter_mut().zip(&mut held.used).zip(&units) {
                *left -= units;
                *used += units;
            }
            held.last = now;
            return true;
        }
        false
    }

    /// What is asked of the common account: the block in use is closed, the next is measured by it.
    fn visit(&mut self, now: i64, weight: Weight, urgent: bool, probe: bool) -> Step {
        if self.visiting {
            return Step::Wait(IN_FLIGHT_WAIT);
        }
        self.visiting = true;
        let kind = usize::from(urgent);
        let closing = self.held[kind].take().map(|held| {
            self.before[kind].clone_from(&held.used);
            Closing { number: held.number, used: held.used, ago: now.saturating_sub(held.last) }
        });
        let units: Vec<u64> = self.windows.iter().map(|window| window.units(weight)).collect();
        let before = &self.before[kind];
        let wish = self.windows.iter().zip(&units).enumerate().map(|(place, (window, units))| {
            let used = before.get(place).copied().unwrap_or(0);
            let first = if *units > 0 { (window.block / FIRST_SHARE).max(FIRST_MIN) } else { 0 };
            // Twice what was used: a steady stream finds its size in a few blocks.
            used.saturating_mul(2).max(first).min(window.block).max(*units)
        });
        let wish = wish.collect();
        let spare = self.windows.iter().map(|window| window.spare(urgent, self.common)).collect();
        Step::Visit(Visit { closing, units, wish, spare, probe })
    }

    /// Takes a block into use.
    pub(super) fn hold_block(&mut self, now: i64, urgent: bool, block: Block, sharers: usize) {
        self.sharers = u32::try_from(sharers).unwrap_or(u32::MAX).max(1);
        let used = vec![0; block.units.len()];
        let until = now.saturating_add(span(BLOCK));
        self.held[usize::from(urgent)] = Some(Held { number: block.number, left: block.units, used, until, last: now });
    }

    /// The account could not be opened: this process is on its own for a while, with a small share. Blocks in use stay.
    pub(super) fn be_alone(&mut self, now: i64) {
        self.alone_until = now.saturating_add(span(BLOCK));
    }

    /// Whether this process keeps to a small share, because the account could not be opened.
    pub(super) const fn is_alone(&self) -> bool {
        self.alone_until != i64::MIN
    }

    /// The account could be opened.
    pub(super) const fn be_together(&mut self) {
        self.alone_until = i64::MIN;
    }

    /// Takes in where the breaker stands.
    pub(super) fn learn(&mut self, now: i64, standing: Standing) {
        self.standing = standing;
        self.known_at = now;
    }

    /// Whether others may have changed the breaker since it was looked at.
    pub(super) const fn is_stale(&self, now: i64) -> bool {
        now < self.known_at || now.saturating_sub(self.known_at) >= LOOK_AGAIN
    }

    pub(super) fn hold(&mut self, now: i64, quiet: Duration) {
        self.mind_the_clock(now);
        self.quiet_until = self.quiet_until.max(now.saturating_add(span(quiet)));
    }

    /// When the clock was set back, all that is remembered moves back with it: nothing then lies ahead,
    /// no wait becomes longer than its window, and at worst we wait once more than needed.
    fn mind_the_clock(&mut self, now: i64) {
        let back = self.latest.saturating_sub(now);
        if self.latest != i64::MIN && back > 0 {
            for (at, _) in self.windows.iter_mut().flat_map(|window| &mut window.taken) {
                *at = at.saturating_sub(back);
            }
            for held in self.held.iter_mut().flatten() {
                held.until = held.until.saturating_sub(back);
                held.last = held.last.saturating_sub(back);
            }
            self.quiet_until = self.quiet_until.saturating_sub(back);
            self.alone_until = self.alone_until.saturating_sub(back);
        }
        self.latest = now;
    }
}
