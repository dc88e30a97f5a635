//! Edit: an operator's closing or reopening of a pair, on both sides at once.
//!
//! Both items are read before either is written. What a write replaces is in the history before it leaves, as an
//! update that can be undone, and both items are due until it is done: a stop in between heals. A side that stands so
//! already is left alone. The new status becomes what both agree on, so that the next pass plans nothing; whatever
//! else differs on the pair is left to that pass.
//!
//! The route's policy decides what passes do by themselves; here a person asked, so both sides are written also where
//! the status is `off` or one side owns it, and the brakes do not count.

mod settle;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::json;

use super::lag::{LAGS, READS_MAX};
use super::unmade;
use super::{Ended, Engine, EngineError, PassOptions, Report, Watch};
use crate::clock::Stopwatch;
use crate::model::{
    BySide, Change, Content, Field, FieldChange, Item, ItemKey, Link, LinkId, LinkStatus, Place, Side, Status,
};
use crate::provider::ProviderError;
use crate::reconcile::{PairPlan, PairSeen, Sight, Write, fingerprint, plan_pair, view};
use crate::store::{LinkChange, NewDue, NewEntry, Record};

pub use settle::{Conflict, Overlap, Proposed, Resolve, Resolved};

/// How often a pair is read before it is given up because the reads take too long.
const LOOKS_MAX: u32 = 3;

/// What became of one side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "what")]
pub enum Handling {
    /// It was written.
    Written,
    /// It stood so already.
    Already,
    /// It was not tried, because the pair or its partner stood in the way.
    Untried,
    /// The provider did not do it.
    Failed {
        /// What it said.
        why: String,
    },
}

/// What an edit came to.
#[derive(Debug, Clone, Serialize)]
pub struct Edited {
    /// The pass in which it was done.
    pub report: Report,
    /// What became of each side.
    pub sides: BySide<Handling>,
    /// Why nothing was written, when the pair is not one to write to.
    pub left: Option<String>,
}

impl Engine {
    /// Gives both items of a pair this status: `Open` reopens, anything else closes what is open.
    ///
    /// # Errors
    /// As a pass. A provider that fails at a write is told in [`Edited::sides`].
    pub fn edit_status(
        &self,
        link: LinkId,
        status: Status,
        reason: &str,
        options: &PassOptions,
    ) -> Result<Edited, EngineError> {
        let mut sides = BySide { tracker: Handling::Untried, forge: Handling::Untried };
        let mut left = None;
        let kind = if status == Status::Open { "reopen" } else { "close" };
        let report = self.led(kind, options, &mut |watch, report| {
            let (link, items) = match self.both(link)? {
                Ok(both) => both,
                Err(why) => {
                    report.messages.insert(0, why.clone());
                    left = Some(why);
                    return Ok(Ended::Refused);
                }
            };
            self.put_status(watch, report, &link, items, status, reason, &mut sides)
        })?;
        Ok(Edited { report, sides, left })
    }

    /// The pair as it is now, both items read; or what keeps it from being written to.
    #[allow(clippy::type_complexity, reason = "an inner answer and an outer failure, used in one place")]
    fn both(&self, id: LinkId) -> Result<Result<(Link, BySide<Item>), String>, EngineError> {
        let Some(link) = self.store.link(id)?.filter(|link| link.route == self.route) else {
            return Ok(Err(format!("somebody let go of the pair on route {} meanwhile", self.route)));
        };
        if link.status != LinkStatus::Active {
            return Ok(Err(format!("the pair is {}: nothing is written to it", link.status)));
        }
        let mut items: BySide<Option<Item>> = BySide::default();
        for _ in 0..LOOKS_MAX {
            let began = Stopwatch::start(&*self.clock);
            for side in Side::BOTH {
                let key = link.key(side);
                let mut sight = self.sight(&key)?;
                self.doubt(&link, &mut sight, self.clock.now());
                let why = match sight {
                    Sight::Shown(item) if self.lags(&link, &item, self.clock.now()) => {
                        let doing = format!("reading {key}");
                        let error = ProviderError::Unreachable { doing, why: LAGS.to_owned(), maybe_done: false };
                        return Err(EngineError::Provider { side, error });
                    }
                    Sight::Shown(item) if item.place == Place::Here => {
                        items[side] = Some(*item);
                        continue;
                    }
                    Sight::Shown(_) => "is no longer in the route".to_owned(),
                    Sight::Absent => "was deleted; the next pass retires its partner".to_owned(),
                    Sight::Moved(to) => format!("was moved to {to}"),
                    Sight::Unseen(why) => {
                        let doing = format!("reading {key}");
                        let error = ProviderError::Unreachable { doing, why, maybe_done: false };
                        return Err(EngineError::Provider { side, error });
                    }
                    Sight::Unmoved => "was not read".to_owned(),
                };
                return Ok(Err(format!("{key} {why}; nothing was written")));
            }
            if began.elapsed(&*self.clock) <= READS_MAX {
                break;
            }
            // A limit that the second read had to wait for made the first one old.
            items = BySide::default();
        }
        Ok(match items {
            BySide { tracker: Some(tracker), forge: Some(forge) } => Ok((link, BySide { tracker, forge })),
            _ => Err("reading both items takes too long at the moment; nothing was written: try it again".to_owned()),
        })
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one step, used in one place")]
    fn put_status(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        link: &Link,
        mut items: BySide<Item>,
        status: Status,
        reason: &str,
        sides: &mut BySide<Handling>,
    ) -> Result<Ended, EngineError> {
        let known = self.due_before(link)?;
        for side in Side::BOTH {
            let before = items[side].content.status;
            if (before == Status::Open) == (status == Status::Open) {
                sides[side] = Handling::Already;
                continue;
            }
            let after = Content { status, ..items[side].content.clone() };
            let after = view(side, &after, &self.rules.people).status;
            let fields = vec![FieldChange {
                field: Field::Status,
                before: json!(before),
                after: json!(after),
                why: reason.to_owned(),
            }];
            let change = Change { status: Some(after), ..Change::default() };
            let write = Write { item: link.key(side), change, fields };
            let took = |item: &Item| match item.content.status {
                status if status == after => Ok(()),
                status => Err(format!("{} still is {status}", item.key)),
            };
            match self.put(watch, report, link, &items[side], &write, reason, &took)? {
                Ok(item) => {
                    items[side] = item;
                    sides[side] = Handling::Written;
                }
                Err(why) => {
                    sides[side] = Handling::Failed { why };
                    return Ok(Ended::Failed);
                }
            }
        }
        let mut agreed = link.clone();
        if let Some(base) = &mut agreed.base {
            // The forge's word is the richer one: it tells done from dropped.
            base.status = items.forge.content.status;
        }
        agreed.waiting.remove(&Field::Status);
        let settled = self.agree(watch, agreed, &items, &known, reason)?;
        Ok(if settled { Ended::Settled } else { Ended::Drift })
    }

    /// The items of a pair that are due or parked, for a reason of their own.
    fn due_before(&self, link: &Link) -> Result<Vec<ItemKey>, EngineError> {
        let keys = Side::BOTH.map(|side| link.key(side));
        Ok(self.store.dues_of(&self.route, &keys)?.into_iter().map(|due| due.item).collect())
    }

    /// One write. What it replaces is in the history before it leaves, and both items are due. The inner error says
    /// what the provider did not do; it stands in the history and in the report.
    #[allow(clippy::too_many_arguments, reason = "the parts of one step, used in two places")]
    fn put(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        link: &Link,
        item: &Item,
        write: &Write,
        reason: &str,
        took: &dyn Fn(&Item) -> Result<(), String>,
    ) -> Result<Result<Item, String>, EngineError> {
        let side = write.item.side();
        let pass = report.pass;
        let entry = |kind: &str, changes, cause: &str| NewEntry {
            at: self.clock.now(),
            pass,
            link: Some(link.id),
            kind: kind.to_owned(),
            item: write.item.clone(),
            partner: Some(link.key(side.opposite())),
            changes,
            cause: cause.to_owned(),
            actor: self.actor.clone(),
        };
        watch.renew()?;
        let ahead = Record {
            history: vec![entry("update", write.fields.clone(), reason)],
            due: self.looked_at(link, reason),
            ..Record::default()
        };
        self.store.record(watch.lease, &ahead, self.clock.now())?;
        let (kind, why) = match self.providers[side].update(item, &write.change) {
            Ok(item) => match took(&item) {
                Ok(()) => {
                    report.counts.updated += 1;
                    return Ok(Ok(item));
                }
                Err(found) => {
                    let service = side.service();
                    let why =
                        format!("{service} accepted the change but {found}; the token may lack the right to set it");
                    ("failed", why)
                }
            },
            Err(ProviderError::Stale { doing }) => (
                "failed",
                format!("{doing}: its turn came too late after it was read, so it was not sent: try it again"),
            ),
            Err(error) => (unmade::kind(&error, &write.change), error.to_string()),
        };
        // Both stay due: if one half is done, or may be, the next pass brings the other after it.
        let record = Record { history: vec![entry(kind, Vec::new(), &why)], ..Record::default() };
        self.store.record(watch.lease, &record, self.clock.now())?;
        report.messages.insert(0, why.clone());
        report.counts.again += 1;
        Ok(Err(why))
    }

    /// Keeps what both agree on now. Answers whether the pair is in step with that and nothing of it waits. Of the items, `known` were due
    /// before, for a reason of their own.
    fn agree(
        &self,
        watch: &Watch<'_>,
        agreed: Link,
        items: &BySide<Item>,
        known: &[ItemKey],
        reason: &str,
    ) -> Result<bool, EngineError> {
        let sight = BySide::from_fn(|side| Sight::Shown(Box::new(items[side].clone())));
        let plan = plan_pair(&PairSeen { link: agreed.clone(), sight }, &self.rules, self.clock.now());
        let (seen, settled) = match plan {
            PairPlan::Settled { seen } => {
                (BySide::from_fn(|side| seen[side].clone().or_else(|| agreed.seen[side].clone())), true)
            }
            // Something else moved: it must not be taken for agreed.
            PairPlan::Repair(_) | PairPlan::Ask(_) | PairPlan::Skip(_) => {
                (BySide::from_fn(|side| Some(fingerprint(&items[side], &self.rules.policy).not_agreed())), false)
            }
        };
        let mut record = Record::default();
        if settled {
            record.clear_due = Side::BOTH.map(|side| agreed.key(side)).into();
            record.clear_due.retain(|item| !known.contains(item));
        } else {
            record.due = self.looked_at(&agreed, reason);
        }
        let in_step = settled && agreed.waiting.is_empty();
        let (base, waiting) = (agreed.base, Some(agreed.waiting));
        record.change = vec![(agreed.id, LinkChange { base, seen: Some(seen), waiting, ..LinkChange::default() })];
        self.store.record(watch.lease, &record, self.clock.now())?;
        Ok(in_step)
    }

    /// Both items, due at once.
    fn looked_at(&self, link: &Link, reason: &str) -> Vec<NewDue> {
        let due = |side: Side| NewDue {
            item: link.key(side),
            reason: format!("it was edited by hand: {reason}"),
            not_before: self.clock.now(),
            attempts: 0,
            last_error: None,
            parked: false,
        };
        Side::BOTH.map(due).into()
    }
}
