//! The pass: the only place where pure decisions and I/O meet.
//!
//! Six steps: wake, observe, pair, plan, apply, record. Everything up to the plan writes nothing
//! anywhere; applying can be stopped between any two steps and run again, because
//!
//! - a creation is announced (intent) before it is made and carries a marker by which it is found again;
//! - what a write replaces is in the history before the write leaves;
//! - a cursor moves only when everything seen under it is settled or durably due.
//!
//! Accepted race: an edit that lands between the re-read and the write of the same item loses those
//! fields; the window is one request long, and the services keep their own history.

pub mod account;
mod apply;
mod edit;
mod explain;
mod gather;
mod hold;
mod identity;
mod intents;
mod lag;
mod lately;
mod overtake;
mod pairs;
mod remedy;
#[cfg(test)]
mod tests;
mod undo;
mod unheard;
mod unmade;
mod waking;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Stop, since};
use crate::config::Patience;
use crate::model::{BySide, ItemKey, LinkId, PassId, ProjectGid, RouteName, Rules, Side, Timestamp};
use crate::provider::{self, ProviderError, Requests};
use crate::reconcile::{Allowance, Lately, PairSeen, Plan, Refusal, Repair};
use crate::store::{Due, Lease, PassEnd, PassStart, Record, Store, StoreError};

use hold::Hold;

pub use edit::{Conflict, Edited, Handling, Overlap, Proposed, Resolve, Resolved};
pub use explain::{Alone, Explained, FieldState, LastWrite, Next, Pair};
pub use overtake::Overtaking;
pub use pairs::{Dropping, Parting, Proposals};
pub use remedy::Backoff;
pub use undo::{Left, Undo, UndoPlan, UndoReport, UndoTarget};

/// The provider of each side of a route.
pub type Providers = BySide<Arc<dyn provider::Write>>;

/// Why a pass is made, which narrows what is observed and never how it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// Look at what moved since the cursors; `belt` also asks the slower way that misses less.
    Poll {
        /// Whether to ask the slower way too.
        belt: bool,
    },
    /// Look at everything.
    Sweep,
    /// Look at these items, and at what is due.
    Visit(Vec<ItemKey>),
    /// Look at what is due.
    Retry,
    /// Look at these due items and at nothing else, past a pass at work. Made by [`Engine::overtake`].
    Overtake(Vec<Due>),
}

impl Wake {
    /// The word for it in the table of passes.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Poll { .. } => "poll",
            Self::Sweep => "sweep",
            Self::Visit(_) => "visit",
            Self::Overtake(_) => overtake::OVERTAKE,
            Self::Retry => "retry",
        }
    }
}

/// How a pass ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// Both sides are in step, as far as this pass looked.
    Settled,
    /// Something is left: a question, a wait, an item that failed and is due again.
    Drift,
    /// The pass could not be carried through.
    Failed,
    /// A brake held it.
    Refused,
    /// The process is shutting down; the rest is left for the next pass.
    Stopped,
}

impl Ended {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Drift => "drift",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
        }
    }
}

/// Numbers of a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub created: u64,
    pub joined: u64,
    pub updated: u64,
    pub retired: u64,
    pub noted: u64,
    /// Fields that wait for a person on the links looked at.
    pub waiting: u64,
    /// Items that failed and are due again.
    pub again: u64,
    /// Items that were parked.
    pub parked: u64,
    /// Seen and left alone.
    pub skipped: u64,
    /// Repairs of what a poll found although a live hook should have told of it.
    pub unheard: u64,
}

impl Counts {
    fn named(self) -> BTreeMap<String, u64> {
        let Self { created, joined, updated, retired, noted, waiting, again, parked, skipped, unheard } = self;
        [
            ("created", created),
            ("joined", joined),
            ("updated", updated),
            ("retired", retired),
            ("noted", noted),
            ("waiting", waiting),
            ("again", again),
            ("parked", parked),
            ("skipped", skipped),
            ("unheard", unheard),
        ]
        .into_iter()
        .map(|(name, count)| (name.to_owned(), count))
        .collect()
    }
}

/// What a pass did, for a person and for `--json`.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The pass.
    pub pass: PassId,
    /// The route.
    pub route: RouteName,
    /// What called for it.
    pub kind: &'static str,
    /// How it ended.
    pub ended: Ended,
    /// Numbers.
    pub counts: Counts,
    /// The requests each side took.
    pub requests: BySide<Requests>,
    /// What a person should read, most important first.
    pub messages: Vec<String>,
    /// The plan it carried out, or would have.
    pub plan: Plan,
}

/// A failure that ends a pass before it has a report.
#[derive(Debug)]
pub enum EngineError {
    /// The database.
    Store(StoreError),
    /// A provider, while observing.
    Provider {
        /// Which side.
        side: Side,
        /// What happened.
        error: ProviderError,
    },
    /// Another process is at work on the route and did not finish in time.
    Held {
        /// The route.
        route: RouteName,
        /// Who.
        holder: String,
        /// Until when its lease is good.
        until: Timestamp,
    },
    /// The process is shutting down.
    Stopped,
}

impl fmt::Display for EngineError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => error.fmt(out),
            Self::Provider { side, error } => write!(out, "{}: {error}", side.service()),
            Self::Held { route, holder, until } => write!(
                out,
                "route {route}: {holder} is at work on it (lease until {until:.0}); try again when it is done"
            ),
            Self::Stopped => out.write_str("stopped"),
        }
    }
}

impl std::error::Error for EngineError {}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Hears how a pass gets on: a progress bar, a log, a watchdog. Called often; must be quick.
pub trait Progress: Send + Sync {
    /// These items were rung for and are visited in this pass.
    fn heard(&self, _dues: &[Due]) {}
    /// A page of a listing was read; `items` so far on that side.
    fn observed(&self, _side: Side, _items: u64) {}
    /// So many repairs are about to be made.
    fn planned(&self, _repairs: usize) {}
    /// One repair was made, or failed with the message.
    fn repaired(&self, _pass: PassId, _repair: &Repair, _done: Result<(), &str>) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Progress for Quiet {}

/// Everything a route's passes need; time, chance and network among the arguments.
#[derive(Clone)]
pub struct Engine {
    /// The route.
    pub route: RouteName,
    /// The tracker's project, kept with each pair.
    pub project: ProjectGid,
    /// What decides about its items.
    pub rules: Rules,
    /// The two sides.
    pub providers: Providers,
    /// The database.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// The request to stop.
    pub stop: Stop,
    /// How many times and how long.
    pub patience: Patience,
    /// Who holds the lease: host, process, command.
    pub holder: String,
    /// Who is named in the history: `service`, or the operator.
    pub actor: String,
    /// Seeds the jitter of waits.
    pub seed: u64,
    /// Hears how it gets on.
    pub progress: Arc<dyn Progress>,
}

/// What may differ from one pass to the next.
#[derive(Debug, Clone)]
pub struct PassOptions {
    /// What called for it: `schedule`, `signal`, `operator`, `retry`.
    pub cause: String,
    /// What the operator allows beyond the brakes.
    pub allow: Allowance,
    /// How long to wait for another process at work on the route; zero does not wait.
    pub lease_wait: Duration,
    /// Only carry out a plan with this hash.
    pub only_plan: Option<crate::model::Fingerprint>,
    /// A pass written down already, when it was asked for; it stays open when the lease cannot be had.
    pub begun: Option<PassId>,
    /// What urgent visits share with the pass that they may overtake.
    pub overtaking: Option<Overtaking>,
}

impl Default for PassOptions {
    fn default() -> Self {
        Self {
            cause: "schedule".to_owned(),
            allow: Allowance::default(),
            lease_wait: Duration::ZERO,
            only_plan: None,
            begun: None,
            overtaking: None,
        }
    }
}

/// A plan with what it was made from.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    /// The linked pairs behind the repairs, to plan them again after a re-read.
    pub(crate) pairs: BTreeMap<LinkId, PairSeen>,
    /// Everything to be made durable when the plan is carried out: digests, cursors, cleared dues.
    pub(crate) closing: Record,
    /// Which sides were listed whole.
    pub(crate) swept: BySide<bool>,
    /// Things seen but not planned for want of room: the cursors must not move.
    pub(crate) more: bool,
    pub(crate) messages: Vec<String>,
    pub(crate) waiting: u64,
}

impl Engine {
    /// Plans and writes nothing anywhere, neither to a provider nor to the database.
    pub fn plan(&self, wake: &Wake) -> Result<Plan, EngineError> {
        let rung = self.store.rung(&self.route, self.clock.now(), gather::DUE_MAX)?;
        Ok(self.observe_and_plan(wake, &rung, &mut |_| Ok(()))?.plan)
    }

    /// Checks a plan against the route's brakes.
    pub fn check(&self, plan: &Plan, allow: Allowance, wake: &Wake) -> Result<(), Refusal> {
        let swept = *wake == Wake::Sweep;
        plan.check(&self.rules.brakes, allow, BySide { tracker: swept, forge: swept }, Lately::default())
    }

    /// One pass under the route's lease.
    pub fn pass(&self, wake: &Wake, options: &PassOptions) -> Result<Report, EngineError> {
        self.led(wake.as_str(), options, &mut |watch, report| self.run(watch, wake, options, report))
    }

    /// Does `work` under the route's lease, kept in the table of passes as one of that kind.
    pub(crate) fn led(
        &self,
        kind: &'static str,
        options: &PassOptions,
        work: &mut dyn FnMut(&mut Watch<'_>, &mut Report) -> Result<Ended, EngineError>,
    ) -> Result<Report, EngineError> {
        let (lease, taken) = self.lease(options.lease_wait)?;
        let result = self.pass_under(&lease, Some(taken), kind, options, work);
        // Not releasing costs the next one a wait, nothing more.
        if let Err(error) = self.store.release(&lease) {
            log::warn!("route {}: releasing the lease: {error}", self.route);
        }
        result
    }

    /// Takes the lease, waiting for another process if that is wanted. Answers from when on it is good.
    pub(crate) fn lease(&self, wait: Duration) -> Result<(Lease, Timestamp), EngineError> {
        let from = self.clock.now();
        loop {
            let now = self.clock.now();
            match self.store.acquire(&self.route, &self.holder, now)? {
                Ok(lease) => return Ok((lease, now)),
                Err(held) if since(from, now) >= wait => {
                    return Err(EngineError::Held {
                        route: self.route.clone(),
                        holder: held.holder,
                        until: held.until,
                    });
                }
                Err(_) => {
                    if !self.clock.sleep(Duration::from_millis(250), &self.stop) {
                        return Err(EngineError::Stopped);
                    }
                }
            }
        }
    }

    fn pass_under(
        &self,
        lease: &Lease,
        taken: Option<Timestamp>,
        kind: &'static str,
        options: &PassOptions,
        work: &mut dyn FnMut(&mut Watch<'_>, &mut Report) -> Result<Ended, EngineError>,
    ) -> Result<Report, EngineError> {
        let now = self.clock.now();
        let pass = match options.begun {
            Some(pass) => pass,
            None => {
                let (kind, cause) = (kind.to_owned(), options.cause.clone());
                let start = PassStart { kind, cause, actor: self.actor.clone() };
                self.store.begin_pass(&self.route, &start, now)?
            }
        };
        let before = self.requests();
        let mut report = Report {
            pass,
            route: self.route.clone(),
            kind,
            ended: Ended::Failed,
            counts: Counts::default(),
            requests: BySide::default(),
            messages: Vec::new(),
            plan: Plan::new(self.route.clone()),
        };
        let overtaking = options.overtaking.clone();
        let hold = Arc::new(Hold::new(self.store.clone(), self.clock.clone(), lease.clone(), taken));
        for (_, provider) in self.providers.iter() {
            provider.permitted_by(Some(hold.clone()));
        }
        let mut watch = Watch { engine: self, lease, hold, overtaking };
        if let Some(overtaking) = &watch.overtaking {
            overtaking.open(lease);
        }
        let ended = work(&mut watch, &mut report);
        if let Some(overtaking) = &watch.overtaking {
            overtaking.close(&*self.clock);
        }
        for (_, provider) in self.providers.iter() {
            provider.permitted_by(None);
        }
        let after = self.requests();
        report.requests = BySide::from_fn(|side| Requests {
            sent: after[side].sent - before[side].sent,
            unchanged: after[side].unchanged - before[side].unchanged,
            writes: after[side].writes - before[side].writes,
        });
        match &ended {
            Ok(ended) => report.ended = *ended,
            Err(EngineError::Stopped | EngineError::Provider { error: ProviderError::Stopped, .. }) => {
                report.ended = Ended::Stopped;
            }
            Err(error) => report.messages.insert(0, error.to_string()),
        }
        let end = PassEnd {
            outcome: report.ended.as_str().to_owned(),
            counts: report.counts.named(),
            requests: report.requests,
            plan: Some(report.plan.hash().0),
            message: report.messages.first().cloned(),
        };
        let kept = self.store.end_pass(pass, &end, self.clock.now());
        match ended {
            // The database's failure ends the pass and is not to be papered over.
            Err(error @ EngineError::Store(_)) => Err(error),
            _ => {
                kept?;
                Ok(report)
            }
        }
    }

    fn run(
        &self,
        watch: &mut Watch<'_>,
        wake: &Wake,
        options: &PassOptions,
        report: &mut Report,
    ) -> Result<Ended, EngineError> {
        let heard = match wake {
            Wake::Overtake(dues) => dues.clone(),
            // Taken up before anything is read: whoever rings from now on is heard by the next pass.
            _ => {
                let rung = self.store.rung(&self.route, self.clock.now(), gather::DUE_MAX)?;
                self.store.take_up(watch.lease, rung)?
            }
        };
        self.progress.heard(&heard);
        let planned = self.observe_and_plan(wake, &heard, &mut |_| watch.renew())?;
        let Planned { plan, pairs, closing, swept, more, messages, waiting } = planned;
        report.messages.extend(messages);
        report.counts.waiting = waiting;
        report.counts.skipped = plan.left_alone.values().sum();
        report.plan = plan;
        if let Some(hash) = &options.only_plan
            && *hash != report.plan.hash()
        {
            report.messages.push("the plan no longer holds; nothing was written".to_owned());
            return Ok(Ended::Drift);
        }
        let lately = if report.plan.is_empty() { Lately::default() } else { self.lately(wake)? };
        if let Err(refusal) = report.plan.check(&self.rules.brakes, options.allow, swept, lately) {
            report.messages.insert(0, format!("route {}: {refusal}", self.route));
            return Ok(Ended::Refused);
        }
        if matches!(wake, Wake::Poll { .. } | Wake::Sweep) {
            report.counts.unheard = self.unheard(&report.plan, &pairs)?;
        }
        self.apply(watch, report, pairs, closing, more)
    }

    pub(crate) fn requests(&self) -> BySide<Requests> {
        BySide::from_fn(|side| self.providers[side].requests())
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.patience, self.seed)
    }

    /// The parked items of the route: a pass leaves them to a person.
    pub(crate) fn parked_keys(&self) -> Result<BTreeSet<ItemKey>, EngineError> {
        Ok(self.store.parked(Some(&self.route))?.into_iter().map(|due| due.item).collect())
    }
}

/// Keeps the lease alive while a pass is at work.
pub(crate) struct Watch<'a> {
    engine: &'a Engine,
    pub(crate) lease: &'a Lease,
    hold: Arc<Hold>,
    /// Shared with the visits that may overtake this pass.
    overtaking: Option<Overtaking>,
}

impl<'a> Watch<'a> {
    /// Renews the lease when a third of it has passed; answers `Stopped` when asked to stop.
    pub(crate) fn renew(&mut self) -> Result<(), EngineError> {
        if self.engine.stop.raised() {
            return Err(EngineError::Stopped);
        }
        self.hold.keep()?;
        Ok(())
    }

    /// Takes a repair's pair in hand. False when an urgent visit has overtaken it: what the plan saw is older.
    pub(crate) fn take_in_hand(&self, link: Option<LinkId>) -> bool {
        match (&self.overtaking, link) {
            (Some(overtaking), Some(link)) => overtaking.take_in_hand(link),
            _ => true,
        }
    }

    /// Lets go of the pair in hand.
    pub(crate) fn let_go(&self) {
        if let Some(overtaking) = &self.overtaking {
            overtaking.let_go();
        }
    }

    /// From now on no visit overtakes this pass. Answers what was overtaken.
    pub(crate) fn overtaken(&self) -> BTreeMap<LinkId, BySide<ItemKey>> {
        self.overtaking.as_ref().map(|overtaking| overtaking.close(&*self.engine.clock)).unwrap_or_default()
    }
}
