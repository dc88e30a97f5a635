//! Urgent visits past a pass at work: an import of hours does not delay one closing.
//!
//! A pass and the visits that overtake it write under the same lease. What keeps them apart is one rule each: a visit
//! leaves alone the pair that the pass has in hand, and the pass leaves alone whatever was overtaken, whose repairs it
//! planned from an older look. Only pairs that stand and were in step once are visited so; everything else waits for
//! the pass.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::{Ended, Engine, EngineError, PassOptions, Report, Wake};
use crate::clock::{Clock, Stop, lock};
use crate::model::{BySide, ItemKey, LinkId, LinkStatus, Side};
use crate::store::{Brief, Due, Lease};

/// The word for such a visit in the table of passes.
pub(super) const OVERTAKE: &str = "overtake";

/// Items in one visit; the rest follows in the next.
const OVERTAKE_MAX: usize = 50;

/// Rung items among which those that can overtake are looked for: many that cannot, such as tasks that somebody pasted
/// during an import, must not keep the few behind them. As many as a pass takes up.
const LOOKED_AT_MAX: u32 = super::gather::DUE_MAX;

/// How often the end of a pass looks whether the visit at work has ended.
const VISIT_ENDS: Duration = Duration::from_millis(20);

/// What a route's pass and the visits that overtake it share. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Overtaking(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// The lease of the pass at work, as long as it may be overtaken.
    lease: Option<Lease>,
    /// A visit is at work.
    visiting: bool,
    /// The pair that the pass is repairing.
    in_hand: Option<LinkId>,
    /// Pairs visited since the pass began.
    overtaken: BTreeMap<LinkId, BySide<ItemKey>>,
}

impl Overtaking {
    /// Whether a pass is at work that may be overtaken.
    pub fn possible(&self) -> bool {
        lock(&self.0).lease.is_some()
    }

    /// A pass begins.
    pub(super) fn open(&self, lease: &Lease) {
        let mut state = lock(&self.0);
        *state = State { lease: Some(lease.clone()), visiting: state.visiting, ..State::default() };
    }

    /// No visit begins any more; waits for the one at work. Answers what was overtaken. Closing twice is no harm.
    pub(super) fn close(&self, clock: &dyn Clock) -> BTreeMap<LinkId, BySide<ItemKey>> {
        lock(&self.0).lease = None;
        // A visit ends by itself: each of its calls has a limit, and it hears the request to stop. It is waited for by
        // the clock, as everything is, and also when we are to stop.
        let never = Stop::default();
        while lock(&self.0).visiting {
            clock.sleep(VISIT_ENDS, &never);
        }
        lock(&self.0).overtaken.clone()
    }

    /// The pass takes a pair in hand, unless it was overtaken.
    pub(super) fn take_in_hand(&self, link: LinkId) -> bool {
        let mut state = lock(&self.0);
        let free = !state.overtaken.contains_key(&link);
        if free {
            state.in_hand = Some(link);
        }
        free
    }

    /// The pass lets go of the pair in hand.
    pub(super) fn let_go(&self) {
        lock(&self.0).in_hand = None;
    }

    /// A visit begins, if a pass is at work.
    fn enter(&self) -> Option<Visit<'_>> {
        let mut state = lock(&self.0);
        if state.visiting {
            return None;
        }
        let lease = state.lease.clone()?;
        state.visiting = true;
        Some(Visit { overtaking: self, lease })
    }
}

/// A visit at work, until it is dropped.
struct Visit<'a> {
    overtaking: &'a Overtaking,
    lease: Lease,
}

impl Visit<'_> {
    /// Claims pairs, except the one in hand: from now on the pass leaves them alone.
    fn claim(&self, pairs: Vec<(Due, Brief)>) -> Vec<Due> {
        let mut state = lock(&self.overtaking.0);
        let mut claimed = Vec::new();
        for (due, brief) in pairs {
            if claimed.len() < OVERTAKE_MAX && state.in_hand != Some(brief.id) {
                let keys = BySide { tracker: ItemKey::Task(brief.task), forge: ItemKey::Issue(brief.issue) };
                state.overtaken.insert(brief.id, keys);
                claimed.push(due);
            }
        }
        claimed
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        lock(&self.overtaking.0).visiting = false;
    }
}

impl Engine {
    /// Visits what was rung for while this process's pass over the route is at work, under that pass's lease.
    /// `None` when no pass is at work or nothing can be overtaken: the next pass takes it up then.
    ///
    /// # Errors
    /// As [`Engine::pass`]. What was taken up stays due.
    pub fn overtake(&self, overtaking: &Overtaking, cause: &str) -> Result<Option<Report>, EngineError> {
        let rung = self.store.rung(&self.route, self.clock.now(), LOOKED_AT_MAX)?;
        if rung.is_empty() {
            return Ok(None);
        }
        let Some(visit) = overtaking.enter() else { return Ok(None) };
        let claimed = visit.claim(self.in_step_once(rung)?);
        let dues = self.store.take_up(&visit.lease, claimed)?;
        if dues.is_empty() {
            return Ok(None);
        }
        let wake = Wake::Overtake(dues);
        let options = PassOptions { cause: cause.to_owned(), ..PassOptions::default() };
        let report = self.pass_under(&visit.lease, None, wake.as_str(), &options, &mut |watch, report| {
            self.run(watch, &wake, &options, report)
        })?;
        // What a brake or a failure left is due, but no longer rung for: the next pass takes it up.
        if !matches!(report.ended, Ended::Settled | Ended::Drift) {
            log::debug!("route {}: the visit past the pass ended {}", self.route, report.ended.as_str());
        }
        Ok(Some(report))
    }

    /// Those among rung items whose pair stands and was in step once.
    fn in_step_once(&self, rung: Vec<Due>) -> Result<Vec<(Due, Brief)>, EngineError> {
        let keys: Vec<ItemKey> = rung.iter().map(|due| due.item.clone()).collect();
        let mut briefs: BTreeMap<ItemKey, Brief> = BTreeMap::new();
        for brief in self.store.briefs(&self.route, &keys)? {
            // Without digests it is new, and the pass itself is bringing it in step.
            let known = Side::BOTH.into_iter().all(|side| brief.seen[side].is_some());
            if known && brief.status == LinkStatus::Active {
                briefs.insert(ItemKey::Task(brief.task.clone()), brief.clone());
                briefs.insert(ItemKey::Issue(brief.issue.clone()), brief);
            }
        }
        Ok(rung.into_iter().filter_map(|due| briefs.get(&due.item).cloned().map(|brief| (due, brief))).collect())
    }
}

/// The items of pairs.
pub(super) fn items(pairs: &BTreeMap<LinkId, BySide<ItemKey>>) -> BTreeSet<&ItemKey> {
    pairs.values().flat_map(|keys| [&keys.tracker, &keys.forge]).collect()
}
