//! What an operator does to pairs and parked items by hand: under the route's lease, in the history.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Ended, Engine, EngineError, PassOptions, Report};
use crate::model::{BySide, Item, ItemKey, Link, LinkStatus, Place, Side};
use crate::provider::Halt;
use crate::reconcile::{Plan, Proposal, Sight, Skip, plan_join, propose};
use crate::store::{Due, NewEntry, Record};

/// Unlinked items of one side compared in one go; a larger heap is adopted in several.
const UNLINKED_MAX: usize = 20_000;

/// Pairs that may belong together.
#[derive(Debug, Clone, Serialize)]
pub struct Proposals {
    /// The most certain first.
    pub proposals: Vec<Proposal>,
    /// Unlinked items seen on each side.
    pub unlinked: BySide<u64>,
    /// Whether there were more than could be compared.
    pub more: bool,
}

/// What letting go of a pair came to.
#[derive(Debug, Clone, Serialize)]
pub struct Parting {
    /// The pass in which it was done.
    pub report: Report,
    /// The pair; `None` when it was gone already when the lease was held.
    pub items: Option<BySide<ItemKey>>,
}

/// What dropping a parked item came to.
#[derive(Debug, Clone, Serialize)]
pub struct Dropping {
    /// The pass in which it was done.
    pub report: Report,
    /// The item as it was parked; `None` when it was not parked any more when the lease was held.
    pub due: Option<Due>,
}

impl Engine {
    /// Lists both sides and proposes pairs among what is not linked. Writes nothing.
    ///
    /// Pairs that somebody let go of are not proposed again.
    pub fn proposals(&self) -> Result<Proposals, EngineError> {
        let mut unlinked: BySide<Vec<Item>> = BySide::default();
        let mut count: BySide<u64> = BySide::default();
        let mut more = false;
        for side in Side::BOTH {
            let mut failed = None;
            let mut seen = 0;
            let swept = self.providers[side].sweep(&mut |items| {
                seen += u64::try_from(items.len()).unwrap_or(u64::MAX);
                self.progress.observed(side, seen);
                let kept = self.not_linked(items).map_err(|error| {
                    failed = Some(error);
                    Halt
                })?;
                count[side] += u64::try_from(kept.len()).unwrap_or(u64::MAX);
                let room = UNLINKED_MAX.saturating_sub(unlinked[side].len());
                more |= kept.len() > room;
                unlinked[side].extend(kept.into_iter().take(room));
                Ok(())
            });
            if let Some(error) = failed {
                return Err(error);
            }
            swept.map_err(|error| EngineError::Provider { side, error })?;
        }
        let keys: Vec<ItemKey> = unlinked.tracker.iter().map(|task| task.key.clone()).collect();
        let mut unmade: BTreeSet<(ItemKey, ItemKey)> = BTreeSet::new();
        for keys in keys.chunks(500) {
            let stones = self.store.tombstones(&self.route, keys)?;
            unmade.extend(stones.into_iter().map(|stone| (ItemKey::Task(stone.task), ItemKey::Issue(stone.issue))));
        }
        let mut proposals = Vec::new();
        for proposal in propose(&unlinked.tracker, &unlinked.forge) {
            // Two routes may share a project or a repository: an item has one partner, on one of them.
            let mut taken = false;
            for key in [&proposal.task, &proposal.issue] {
                taken |= self.partner_now(key)?.is_some();
            }
            if !taken && !unmade.contains(&(proposal.task.clone(), proposal.issue.clone())) {
                proposals.push(proposal);
            }
        }
        Ok(Proposals { proposals, unlinked: count, more })
    }

    /// The items of a page that are in the route and not linked on it.
    fn not_linked(&self, items: Vec<Item>) -> Result<Vec<Item>, EngineError> {
        if self.stop.raised() {
            return Err(EngineError::Stopped);
        }
        let keys: Vec<ItemKey> = items.iter().map(|item| item.key.clone()).collect();
        let linked: BTreeSet<ItemKey> = self
            .store
            .briefs(&self.route, &keys)?
            .into_iter()
            .filter(|brief| brief.status != LinkStatus::Retired)
            .flat_map(|brief| [ItemKey::Task(brief.task), ItemKey::Issue(brief.issue)])
            .collect();
        Ok(items.into_iter().filter(|item| item.place == Place::Here && !linked.contains(&item.key)).collect())
    }

    /// Plans pairs of items that exist, after reading each directly. Writes nothing.
    ///
    /// What cannot be paired becomes a skip of the plan with the reason: not there, not in the route, or
    /// linked already. Each pair costs two reads.
    pub fn plan_joins(&self, pairs: &[BySide<ItemKey>], cause: &str) -> Result<Plan, EngineError> {
        let mut plan = Plan::new(self.route.clone());
        plan.links = self.store.count_links(&self.route)?.get(&LinkStatus::Active).copied().unwrap_or(0);
        for pair in pairs {
            if self.stop.raised() {
                return Err(EngineError::Stopped);
            }
            match self.meet(pair)? {
                Ok(items) => {
                    let now = self.clock.now();
                    plan.seen.tracker += 1;
                    plan.seen.forge += 1;
                    plan.repairs.push(plan_join(items, None, None, cause.to_owned(), &self.rules, now));
                }
                Err((item, why)) => plan.skip(Skip { item, why }),
            }
        }
        plan.sort();
        Ok(plan)
    }

    /// Makes the pairs of a plan by [`Engine::plan_joins`], if making it anew gives the same plan.
    ///
    /// The brakes do not apply: every pair was named or confirmed by a person.
    pub fn join(
        &self,
        pairs: &[BySide<ItemKey>],
        cause: &str,
        kind: &'static str,
        options: &PassOptions,
    ) -> Result<Report, EngineError> {
        self.led(kind, options, &mut |watch, report| {
            report.plan = self.plan_joins(pairs, cause)?;
            report.counts.skipped = report.plan.left_alone.values().sum();
            if let Some(hash) = &options.only_plan
                && *hash != report.plan.hash()
            {
                report.messages.push("something moved since the plan was shown; nothing was written".to_owned());
                return Ok(Ended::Drift);
            }
            let ended = self.apply(watch, report, std::collections::BTreeMap::new(), Record::default(), false)?;
            let Report { counts, .. } = report;
            let left = counts.again + counts.parked + counts.waiting + counts.skipped;
            Ok(match ended {
                // Whether other items of the route are due is not this command's business.
                Ended::Settled | Ended::Drift if left == 0 => Ended::Settled,
                Ended::Settled | Ended::Drift => Ended::Drift,
                Ended::Failed | Ended::Refused | Ended::Stopped => ended,
            })
        })
    }

    /// Reads both items; answers them, or what stands in the way.
    #[allow(clippy::type_complexity, reason = "an inner answer and an outer failure, used in one place")]
    fn meet(&self, pair: &BySide<ItemKey>) -> Result<Result<BySide<Item>, (ItemKey, String)>, EngineError> {
        for side in Side::BOTH {
            let key = &pair[side];
            if key.side() != side {
                return Ok(Err((key.clone(), format!("it is no item of {}", side.service()))));
            }
            if let Some(link) = self.store.link_of(key)? {
                let partner = link.key(side.opposite());
                let same = partner == pair[side.opposite()];
                if link.status != LinkStatus::Retired || same {
                    let why = if link.status == LinkStatus::Retired {
                        format!(
                            "it is linked with {partner} already, and retired, for one of them was gone; when both are \
                             there again, `evenkeel run --once --only {key}` keeps them in step"
                        )
                    } else {
                        format!(
                            "it is linked with {partner} already (route {}); `evenkeel links remove {key}` lets go of it",
                            link.route
                        )
                    };
                    return Ok(Err((key.clone(), why)));
                }
            }
        }
        let mut items: BySide<Option<Item>> = BySide::default();
        for side in Side::BOTH {
            let key = &pair[side];
            let why = match self.sight(key)? {
                Sight::Shown(item) if item.key != *key => format!("it is {} now; name it so", item.key),
                Sight::Shown(item) if item.place == Place::Here => {
                    items[side] = Some(*item);
                    continue;
                }
                Sight::Shown(_) => "it is there, but not in the route's project".to_owned(),
                Sight::Absent => "it was deleted".to_owned(),
                Sight::Moved(to) => format!("it was moved to {to}"),
                Sight::Unseen(why) => format!("it could not be read: {why}"),
                Sight::Unmoved => "it could not be read".to_owned(),
            };
            return Ok(Err((key.clone(), why)));
        }
        match (items.tracker, items.forge) {
            (Some(tracker), Some(forge)) => Ok(Ok(BySide { tracker, forge })),
            _ => Ok(Err((pair.tracker.clone(), "it could not be read".to_owned()))),
        }
    }

    /// Lets go of a pair: both items stay as they are, a tombstone keeps the pair from being made again.
    pub fn part(&self, link: &Link, reason: &str, options: &PassOptions) -> Result<Parting, EngineError> {
        let mut items = None;
        let report = self.led("unlink", options, &mut |watch, report| {
            let Some(link) = self.store.link(link.id)? else {
                report.messages.push("somebody else let go of the pair meanwhile".to_owned());
                return Ok(Ended::Settled);
            };
            let keys = BySide::from_fn(|side| link.key(side));
            let entry = NewEntry {
                at: self.clock.now(),
                pass: report.pass,
                link: Some(link.id),
                kind: "unlink".to_owned(),
                item: keys.tracker.clone(),
                partner: Some(keys.forge.clone()),
                changes: Vec::new(),
                cause: reason.to_owned(),
                actor: self.actor.clone(),
            };
            let record = Record {
                unlink: vec![(link.id, reason.to_owned())],
                clear_due: vec![keys.tracker.clone(), keys.forge.clone()],
                history: vec![entry],
                ..Record::default()
            };
            self.store.record(watch.lease, &record, self.clock.now())?;
            items = Some(keys);
            report.counts.noted += 1;
            Ok(Ended::Settled)
        })?;
        Ok(Parting { report, items })
    }

    /// Drops a parked item, by its row: it is not due any more. Nothing else is kept of that, so the next sweep plans
    /// for it again what its filters, its place and the policy ask for, as does a poll that shows it moved.
    ///
    /// What somebody took back while this waited for the lease is due for a reason, and stays so.
    pub fn drop_parked(&self, id: i64, reason: &str, options: &PassOptions) -> Result<Dropping, EngineError> {
        let mut dropped = None;
        let report = self.led("drop", options, &mut |watch, report| {
            let parked = self.store.due_row(id)?.filter(|due| due.route == self.route && due.parked_at.is_some());
            let Some(due) = parked else {
                report.messages.push(format!("{id} is not parked any more; nothing was dropped"));
                return Ok(Ended::Settled);
            };
            let entry = NewEntry {
                at: self.clock.now(),
                pass: report.pass,
                link: None,
                kind: "drop".to_owned(),
                item: due.item.clone(),
                partner: None,
                changes: Vec::new(),
                cause: format!("{reason} (it was parked: {})", due.last_error.as_ref().unwrap_or(&due.reason)),
                actor: self.actor.clone(),
            };
            let record = Record { clear_due: vec![due.item.clone()], history: vec![entry], ..Record::default() };
            self.store.record(watch.lease, &record, self.clock.now())?;
            report.counts.noted += 1;
            dropped = Some(due);
            Ok(Ended::Settled)
        })?;
        Ok(Dropping { report, due: dropped })
    }
}
