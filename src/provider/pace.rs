//! Keeps the requests of one credential within its service's published limits, quiet when told to be, and away from a
//! service that is down.
//!
//! The limits are counted over sliding windows, so no pattern of calls ever puts more into any window than
//! the service allows; a bucket of tokens would let twice as much through around a refill. The pure parts are
//! the [`Book`] that all processes keep together, one process's ledger, and the [breaker](super::breaker);
//! [`Pace`] adds the lock, the clock, the waiting and the way to the book.

mod book;
mod ledger;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::book::Wish;
use self::ledger::{IN_FLIGHT_WAIT, Ledger, Step, Visit, Window};
use super::breaker::{Leave, Shown, Standing, State, Trouble, span};
use crate::clock::{Clock, Stop, Timestamp, lock};
use crate::config::Network;
use crate::model::Side;

pub use book::{BLOCK, Book};

/// What a request is to its service's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// Reads.
    Read,
    /// Changes something that is there.
    Write,
    /// Makes content that notifies people (issues, tasks, comments).
    Create,
}

impl Weight {
    const fn writes(self) -> bool {
        !matches!(self, Self::Read)
    }
}

/// The longest a credential is held quiet by one answer; a service that means more will say so again.
pub const HOLD_MAX: Duration = Duration::from_secs(3_600);

/// How often one request asks for a block in a row without waiting: once for it, once to probe, and some more for what
/// other threads of the process take away.
const VISITS_MAX: u32 = 8;

/// What all processes that use a credential keep of it together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// What they have taken of its limits.
    pub book: Book,
    /// Where its breaker stands.
    pub standing: Standing,
}

/// How much of one limit is taken.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// Which limit.
    pub limit: &'static str,
    /// What may be taken in any such stretch.
    pub cap: u64,
    /// What was sent in the last one, or is held by a process to be sent.
    pub taken: u64,
}

impl Account {
    /// How much of each limit of a side's credential is taken at `now`.
    pub fn taken(&self, side: Side, network: &Network, now: Timestamp) -> Vec<Taken> {
        let names: &[&'static str] = match side {
            Side::Tracker => &["requests a minute"],
            Side::Forge => &["points a minute", "creations a minute", "creations an hour"],
        };
        let limits = lock(&Pace::of(side, network).shared.ledger).limits();
        let used = limits.into_iter().enumerate().zip(names);
        used.map(|((place, limit), name)| Taken {
            limit: name,
            cap: limit.cap,
            taken: self.book.taken(place, limit, millis(now)),
        })
        .collect()
    }

    /// Until when nothing is sent because the provider said so.
    pub fn quiet_until(&self, now: Timestamp) -> Option<Timestamp> {
        let quiet = self.book.quiet(millis(now));
        (quiet > 0).then(|| crate::clock::later(now, Duration::from_millis(quiet.unsigned_abs())))
    }
}

/// Keeps the account of one credential.
pub trait Keeper: Send + Sync {
    /// Lets one process at a time see the account and change it; what `change` leaves is kept, whole or not at all.
    /// May call it again when it could not be kept the first time.
    ///
    /// # Errors
    /// Why it cannot be opened or kept, for a person.
    fn open(&self, change: &mut dyn FnMut(&mut Account)) -> Result<(), String>;
}

/// Why a request may not leave now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// Its turn comes after so long, which is more than the caller waits.
    Later(Duration),
    /// The breaker is open: the provider is left in peace.
    Resting {
        /// Until then.
        until: Timestamp,
        /// Why, for a person.
        why: String,
    },
    /// The process is shutting down.
    Stopped,
}

/// The pacing of one credential, shared by all that use it.
#[derive(Debug)]
pub struct Pace {
    shared: Arc<Shared>,
    /// Whether the reserved share may be used.
    urgent: bool,
}

/// What the threads of this process share.
struct Shared {
    side: Side,
    ledger: Mutex<Ledger>,
    common: Option<Common>,
}

/// How the account that is shared with other processes is reached.
struct Common {
    keeper: Arc<dyn Keeper>,
    /// Names this process.
    holder: String,
    /// A person asked for what is sent: once they need not wait for the end of a rest.
    insists: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Pace of {}: {:?}", self.side.service(), lock(&self.ledger))
    }
}

/// A place in flight, given back when dropped.
#[derive(Debug)]
#[must_use]
pub struct Ticket<'a> {
    pace: &'a Pace,
    weight: Weight,
    /// It was let out to show whether the provider is back, and did not yet.
    probe: bool,
    /// How long its turn was waited for.
    pub waited: Duration,
}

impl Ticket<'_> {
    /// Whether others wait for what it shows of the provider.
    pub fn probes(&self) -> bool {
        self.probe
    }

    /// Takes in what the request showed of the provider; `chance` is the jitter of a rest, from 0 to 1.
    pub fn shown(mut self, clock: &dyn Clock, shown: Shown<'_>, chance: f64) {
        self.probe = false;
        self.pace.heard(clock, shown, chance);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let mut ledger = lock(&self.pace.shared.ledger);
        ledger.land(self.weight);
        // Nothing was learned (we stopped): the next one may try.
        ledger.claimed |= self.probe;
    }
}

impl Pace {
    fn over(side: Side, ledger: Ledger) -> Self {
        Self { shared: Arc::new(Shared { side, ledger: Mutex::new(ledger), common: None }), urgent: false }
    }

    /// The same pacing for work that somebody waits for: it may use the reserved share too.
    pub fn urgent(&self) -> Self {
        Self { shared: self.shared.clone(), urgent: true }
    }

    /// The pacing of a side's credential, alone in this process.
    pub fn of(side: Side, network: &Network) -> Self {
        match side {
            Side::Tracker => Self::asana(network),
            Side::Forge => Self::github(network),
        }
    }

    /// Asana: requests a minute per token, 50 reads and 15 writes in flight (Asana, rate limits).
    pub fn asana(network: &Network) -> Self {
        let requests = Window::new(network.asana_per_minute, Duration::from_secs(60), [1, 1, 1]);
        Self::over(Side::Tracker, Ledger::new(vec![requests], [50, 15]))
    }

    /// GitHub: points a minute, creations a minute and an hour (GitHub, rate limits for the REST API). At most 100 requests
    /// may be in flight; half of that leaves room for other programs of the same account.
    pub fn github(network: &Network) -> Self {
        let minute = Duration::from_secs(60);
        let windows = vec![
            Window::new(network.github_points_per_minute, minute, [1, 5, 5]),
            Window::new(network.github_creations_per_minute, minute, [0, 0, 1]),
            Window::new(network.github_creations_per_hour, Duration::from_secs(3_600), [0, 0, 1]),
        ];
        Self::over(Side::Forge, Ledger::new(windows, [40, 10]))
    }

    /// Shares the limits, the quiet periods and the breaker with all processes whose `keeper` keeps the same account.
    /// `holder` names this one; who `insists` may try once although the breaker is open.
    #[must_use]
    pub fn kept(self, keeper: Arc<dyn Keeper>, holder: &str, insists: bool) -> Self {
        let mut ledger = std::mem::replace(&mut *lock(&self.shared.ledger), Ledger::new(Vec::new(), [0, 0]));
        ledger.share();
        let common = Some(Common { keeper, holder: holder.to_owned(), insists: AtomicBool::new(insists) });
        let shared = Shared { side: self.shared.side, ledger: Mutex::new(ledger), common };
        Self { shared: Arc::new(shared), urgent: self.urgent }
    }

    /// Waits for a turn and takes it. The wait is at most `wait_max`; a longer one is answered, not waited.
    ///
    /// # Errors
    /// [`Denied::Later`] when the turn is further away, [`Denied::Resting`] when the breaker is open,
    /// [`Denied::Stopped`] when a wait was cut short.
    pub fn admit(
        &self,
        weight: Weight,
        clock: &dyn Clock,
        stop: &Stop,
        wait_max: Duration,
    ) -> Result<Ticket<'_>, Denied> {
        let mut waited = Duration::ZERO;
        let mut visits = 0;
        loop {
            let insists = self.shared.common.as_ref().is_some_and(|common| common.insists.load(Ordering::Relaxed));
            // The time is read under the lock, or two threads could see it run backwards.
            let step = {
                let mut ledger = lock(&self.shared.ledger);
                match ledger.admit(millis(clock.now()), weight, self.urgent, insists) {
                    Step::Go { probe } => return Ok(Ticket { pace: self, weight, probe, waited }),
                    Step::Rest(_) if self.shared.common.is_some() && ledger.is_stale(millis(clock.now())) => {
                        drop(ledger);
                        self.look_again(clock.now());
                        continue;
                    }
                    Step::Rest(until) => {
                        let standing = &ledger.standing;
                        let why = standing.reason(self.shared.side);
                        return Err(Denied::Resting { until: moment(until), why });
                    }
                    step => step,
                }
            };
            let wait = match (step, &self.shared.common) {
                (Step::Visit(visit), Some(common)) => {
                    visits += 1;
                    match self.visit(common, clock, &visit) {
                        Some(wait) => wait,
                        None if visits < VISITS_MAX => continue,
                        // Other threads were quicker each time: from now on it counts as waiting.
                        None => IN_FLIGHT_WAIT,
                    }
                }
                (Step::Wait(wait), _) => wait,
                // Nothing is asked of an account that is not kept.
                (Step::Visit(_) | Step::Go { .. } | Step::Rest(_), _) => continue,
            };
            if waited.saturating_add(wait) > wait_max {
                return Err(Denied::Later(wait));
            }
            if !clock.sleep(wait, stop) {
                return Err(Denied::Stopped);
            }
            waited = waited.saturating_add(wait);
        }
    }

    /// Opens the common account: for a block, for the place to probe, and for what others made of it. Answers how long
    /// to wait, if there is no block now.
    fn visit(&self, common: &Common, clock: &dyn Clock, visit: &Visit) -> Option<Duration> {
        let mut at_the_account = Visiting { ledger: &self.shared.ledger, over: false };
        let limits = lock(&self.shared.ledger).limits();
        let wish = Wish {
            holder: common.holder.clone(),
            units: visit.units.clone(),
            wish: visit.wish.clone(),
            spare: visit.spare.clone(),
        };
        let mut seen = None;
        let opened = common.keeper.open(&mut |account| {
            // Read here: opening may have taken a while.
            let now = millis(clock.now());
            let insists = common.insists.load(Ordering::Relaxed);
            if let Some(closing) = &visit.closing {
                account.book.close(now, &limits, closing);
            }
            let leave = match visit.probe {
                true => account.standing.ask(now, insists),
                false => account.standing.look(now, insists),
            };
            // Who may not leave takes nothing; nor who finds that first the place to probe must be taken.
            let goes = leave == Leave::Go || (visit.probe && leave == Leave::Probe);
            let block = goes.then(|| account.book.take(now, &limits, &wish));
            let sharers = account.book.sharers(&common.holder, now);
            let quiet = account.book.quiet(now);
            seen = Some((now, account.standing.clone(), leave, block, sharers, quiet));
        });
        let mut ledger = lock(&self.shared.ledger);
        at_the_account.over = true;
        ledger.visiting = false;
        let (now, standing, leave, block, sharers, quiet) = match (opened, seen) {
            (Ok(()), Some(seen)) => seen,
            (opened, _) => {
                let why = opened.err().unwrap_or_else(|| "nothing was read".to_owned());
                if !ledger.is_alone() {
                    let service = self.shared.side.service();
                    log::warn!(
                        "{service}: the budget that is shared with other processes cannot be kept ({why}); a small \
                         share of the limits is used until it can"
                    );
                }
                ledger.be_alone(millis(clock.now()));
                return None;
            }
        };
        ledger.be_together();
        ledger.learn(now, standing);
        if visit.probe && leave == Leave::Probe {
            ledger.claimed = true;
            common.insists.store(false, Ordering::Relaxed);
        }
        if quiet > 0 {
            ledger.hold(now, Duration::from_millis(quiet.unsigned_abs()));
        }
        match block {
            Some(Ok(block)) => ledger.hold_block(now, self.urgent, block, sharers),
            Some(Err(wait)) => return Some(Duration::from_millis(wait.unsigned_abs())),
            None => {}
        }
        None
    }

    /// Lets nothing of this credential leave for `quiet`, at most [`HOLD_MAX`]; other processes hear of it when they
    /// next take a block.
    pub fn hold(&self, clock: &dyn Clock, quiet: Duration) {
        let quiet = quiet.min(HOLD_MAX);
        lock(&self.shared.ledger).hold(millis(clock.now()), quiet);
        self.tell_all(|account| account.book.hold(millis(clock.now()), span(quiet)));
    }

    /// Looks what others made of a breaker that is not closed here. That the account cannot be opened changes nothing.
    fn look_again(&self, now: Timestamp) {
        let mut standing = None;
        self.tell_all(|account| standing = Some(account.standing.clone()));
        let mut ledger = lock(&self.shared.ledger);
        let standing = standing.unwrap_or_else(|| ledger.standing.clone());
        ledger.learn(millis(now), standing);
    }

    /// Until when the breaker lets nothing leave, as far as this process knows, and why.
    pub fn resting(&self, now: Timestamp) -> Option<(Timestamp, String)> {
        let stale = {
            let ledger = lock(&self.shared.ledger);
            ledger.standing.state != State::Closed && !ledger.claimed && ledger.is_stale(millis(now))
        };
        if stale && self.shared.common.is_some() {
            self.look_again(now);
        }
        let ledger = lock(&self.shared.ledger);
        let standing = &ledger.standing;
        match standing.look(millis(now), false) {
            Leave::Rest(until) if !ledger.claimed => Some((moment(until), standing.reason(self.shared.side))),
            _ => None,
        }
    }

    /// Takes in what a request showed of the provider; when that is news, all processes hear of it.
    fn heard(&self, clock: &dyn Clock, shown: Shown<'_>, chance: f64) {
        if !lock(&self.shared.ledger).standing.is_news(shown) {
            return;
        }
        let mut change = None;
        self.tell_all(|account| {
            let was = account.standing.clone();
            account.standing.heard(millis(clock.now()), shown, chance);
            change = Some((was, account.standing.clone()));
        });
        let mut ledger = lock(&self.shared.ledger);
        let (was, standing) = change.unwrap_or_else(|| {
            let was = ledger.standing.clone();
            ledger.standing.heard(millis(clock.now()), shown, chance);
            (was, ledger.standing.clone())
        });
        ledger.learn(millis(clock.now()), standing.clone());
        drop(ledger);
        if was.state != standing.state || was.openings != standing.openings {
            say(self.shared.side, was.state, &standing);
        }
    }

    /// Changes the common account. That it cannot be opened is no more than that others do not hear of it.
    fn tell_all(&self, mut change: impl FnMut(&mut Account)) {
        let Some(common) = &self.shared.common else { return };
        if let Err(why) = common.keeper.open(&mut change) {
            log::debug!("{}: other processes are not told: {why}", self.shared.side.service());
        }
    }
}

/// A thread is at the account; the others wait for what it brings, unless it ends in a panic.
struct Visiting<'a> {
    ledger: &'a Mutex<Ledger>,
    over: bool,
}

impl Drop for Visiting<'_> {
    fn drop(&mut self) {
        if !self.over {
            lock(self.ledger).visiting = false;
        }
    }
}

impl Standing {
    /// Why nothing is sent, for a person.
    pub fn reason(&self, side: Side) -> String {
        let until = moment(self.until);
        let service = side.service();
        let what = match self.trouble {
            Some(Trouble::Token) => format!("{service} did not accept the token"),
            Some(Trouble::Limit) => format!("{service} asked again and again to slow down"),
            Some(Trouble::Outage) | None => format!("{service} gave no usable answer"),
        };
        let next = match self.state {
            State::Probing => "one request is on its way to try".to_owned(),
            State::Open | State::Closed => format!("one request tries after {until:.0}"),
        };
        format!("{what} several times in a row and is left in peace: {next} (last: {})", self.why)
    }
}

/// Logs a change, once, where it happens.
fn say(side: Side, was: State, standing: &Standing) {
    let service = side.service();
    if standing.state == State::Closed {
        log::info!(service; "{service}: it answers again; requests leave as before");
        return;
    }
    let until = moment(standing.until);
    let (in_row, why, openings) = (standing.failures(), &standing.why, standing.openings);
    let what = match standing.trouble {
        Some(Trouble::Token) => "did not accept the token",
        Some(Trouble::Limit) => "asked to slow down although it was waited as told",
        Some(Trouble::Outage) | None => "gave no usable answer",
    };
    // A token waits for a person, the others pass; a rest that follows another is no news.
    let level = match (standing.trouble, was) {
        (Some(Trouble::Token), State::Closed) => log::Level::Error,
        (_, State::Closed) => log::Level::Warn,
        _ => log::Level::Info,
    };
    log::log!(
        level, service, openings;
        "{service}: it {what} {in_row} times in a row (last: {why}); nothing is sent before {until:.0}, then one \
         request tries"
    );
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

fn moment(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::MAX)
}
