//! Pairs and plans what was observed, and says what of the dues is done with.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Gathering, Mode, PARKED};
use crate::clock::earlier;
use crate::engine::lag::LAGS;
use crate::engine::{EngineError, Planned};
use crate::model::{BySide, Field, FieldChange, ItemKey, Link, LinkId, LinkStatus, Side, Status};
use crate::reconcile::{Action, PairPlan, PairSeen, Repair, Sight, Skip, plan_pair, plan_strangers};
use crate::store::LinkChange;

/// How a merge's notice is called by its key.
const MERGED: &str = "merged ";

/// How long before its closing is seen a merge may have closed an issue: deliveries may be minutes late, polls more.
const MERGE_WINDOW: Duration = Duration::from_secs(3_600);

impl Gathering<'_> {
    /// Pairs and plans what was observed.
    pub(super) fn decide(
        mut self,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<Planned, EngineError> {
        let engine = self.engine;
        let counts = engine.store.count_links(&engine.route)?;
        self.plan.links = counts.get(&LinkStatus::Active).copied().unwrap_or(0);
        let mut pairs: BTreeMap<LinkId, PairSeen> = BTreeMap::new();
        let mut waiting = 0;
        let gathered = std::mem::take(&mut self.pairs);
        let ids: Vec<LinkId> = gathered.keys().copied().collect();
        let mut gathered = gathered;
        for chunk in ids.chunks(200) {
            for link in engine.store.links_by_id(chunk)? {
                let Some(mut sights) = gathered.remove(&link.id) else { continue };
                alive(0)?;
                if let Some(skip) = engine.sleeps_on(&link)? {
                    self.plan.skip(skip);
                    continue;
                }
                let keys = BySide::from_fn(|side| link.key(side));
                if let Some(side) = Side::BOTH.into_iter().find(|side| self.parked.contains(&keys[*side])) {
                    self.plan.skip(Skip { item: keys[side].clone(), why: PARKED.to_owned() });
                    continue;
                }
                let due = Side::BOTH.into_iter().any(|side| self.insists(&keys[side]));
                let inferable =
                    link.status == LinkStatus::Active && link.base.is_some() && link.waiting.is_empty() && !due;
                for side in Side::BOTH {
                    if sights[side].is_none() {
                        sights[side] = Some(if inferable { Sight::Unmoved } else { self.look(&keys[side])? });
                    }
                }
                let (Some(tracker), Some(forge)) = (sights.tracker, sights.forge) else { continue };
                let pair = PairSeen { link, sight: BySide { tracker, forge } };
                self.pair(pair, &mut pairs, &mut waiting)?;
            }
        }
        let mut strangers = std::mem::take(&mut self.strangers);
        let unanswered: BTreeSet<ItemKey> = strangers.intents.keys().cloned().collect();
        // A partner may be made only when the other side was observed whole, or since its cursor.
        strangers.may_create = BySide::from_fn(|side| self.mode[side] != Mode::Named);
        let known: Vec<ItemKey> =
            strangers.items.iter().flat_map(|(_, items)| items).map(|item| item.key.clone()).collect();
        for key in &known {
            let why = if self.parked.contains(key) { Some(PARKED.to_owned()) } else { self.linked_already(key)? };
            strangers.held.extend(why.map(|why| (key.clone(), why)));
        }
        for stone in engine.store.tombstones(&engine.route, &known)? {
            strangers
                .tombstones
                .insert(BySide { tracker: ItemKey::Task(stone.task), forge: ItemKey::Issue(stone.issue) });
        }
        plan_strangers(strangers, &engine.rules, self.now, &mut self.plan);
        self.plan.sort();
        self.clear_dues(&unanswered);
        let swept = BySide::from_fn(|side| self.mode[side] == Mode::Swept);
        Ok(Planned {
            plan: self.plan,
            pairs,
            closing: self.closing,
            swept,
            more: self.more,
            messages: self.messages,
            waiting,
        })
    }

    pub(super) fn pair(
        &mut self,
        mut pair: PairSeen,
        pairs: &mut BTreeMap<LinkId, PairSeen>,
        waiting: &mut u64,
    ) -> Result<(), EngineError> {
        for side in Side::BOTH {
            self.engine.doubt(&pair.link, &mut pair.sight[side], self.now);
        }
        let mut planned = plan_pair(&pair, &self.engine.rules, self.now);
        if matches!(&planned, PairPlan::Repair(repair) if repair.writes()) {
            let behind: Vec<Side> = Side::BOTH.into_iter().filter(|side| self.behind(&pair, *side)).collect();
            for side in &behind {
                pair.sight[*side] = self.look(&pair.link.key(*side))?;
                self.engine.doubt(&pair.link, &mut pair.sight[*side], self.now);
            }
            if !behind.is_empty() {
                planned = plan_pair(&pair, &self.engine.rules, self.now);
            }
            let lags = Side::BOTH.into_iter().find(|side| match &pair.sight[*side] {
                Sight::Shown(item) => self.engine.lags(&pair.link, item, self.now),
                _ => false,
            });
            if let (Some(side), PairPlan::Repair(repair)) = (lags, &planned)
                && repair.writes()
            {
                let key = pair.link.key(side);
                self.again(&pair.link.key(Side::Tracker), &key, &format!("{key}: {LAGS}"))?;
                self.plan.skip(Skip { item: key, why: LAGS.to_owned() });
                return Ok(());
            }
        }
        let link = &pair.link;
        match planned {
            PairPlan::Settled { seen } => {
                *waiting += u64::try_from(link.waiting.len()).unwrap_or(0);
                if seen.tracker.is_some() || seen.forge.is_some() {
                    let seen = BySide::from_fn(|side| seen[side].clone().or_else(|| link.seen[side].clone()));
                    self.closing.change.push((link.id, LinkChange { seen: Some(seen), ..LinkChange::default() }));
                }
            }
            PairPlan::Repair(mut repair) => {
                self.name_the_merge(&mut repair, link)?;
                self.plan.repairs.push(*repair);
                pairs.insert(link.id, pair);
            }
            PairPlan::Ask(question) => self.plan.questions.push(question),
            PairPlan::Skip(skip) => {
                // Both halves wait under the task's name, so that attempts are counted once.
                let unseen = Side::BOTH.into_iter().find_map(|side| match &pair.sight[side] {
                    Sight::Unseen(why) => Some((pair.link.key(side), why)),
                    _ => None,
                });
                if let Some((key, why)) = unseen {
                    self.again(&pair.link.key(Side::Tracker), &key, &format!("{key}: {why}"))?;
                }
                self.plan.skip(skip);
            }
        }
        Ok(())
    }

    /// A task that is completed because a merge closed its issue: the history names the pull request.
    fn name_the_merge(&self, repair: &mut Repair, link: &Link) -> Result<(), EngineError> {
        let Action::Update { writes, .. } = &mut repair.action else { return Ok(()) };
        let Some(write) = &mut writes.tracker else { return Ok(()) };
        let done = |change: &&mut FieldChange| {
            change.field == Field::Status && change.after == serde_json::json!(Status::Done)
        };
        let Some(change) = write.fields.iter_mut().find(done) else { return Ok(()) };
        let from = earlier(self.now, MERGE_WINDOW);
        let told = self.engine.store.notice_causes(&self.engine.route, &link.issue, from)?;
        if let Some((_, cause)) = told.into_iter().find(|(key, _)| key.starts_with(MERGED)) {
            repair.cause = format!("{}; {cause}", repair.cause);
            change.why = repair.cause.clone();
        }
        Ok(())
    }

    /// Whether a listing shows an item as it was before the pair was last settled: it may lag behind our own
    /// write, and what it shows is then nobody's edit. A direct read tells, before anything is written for it.
    fn behind(&self, pair: &PairSeen, side: Side) -> bool {
        match &pair.sight[side] {
            Sight::Shown(item) => item.updated_at <= pair.link.updated_at && self.listed.contains(&pair.link.key(side)),
            Sight::Unmoved | Sight::Absent | Sight::Moved(_) | Sight::Unseen(_) => false,
        }
    }

    /// Items that were due, were looked at, and need nothing more.
    pub(super) fn clear_dues(&mut self, unanswered: &BTreeSet<ItemKey>) {
        let busy: BTreeSet<&ItemKey> = self
            .plan
            .repairs
            .iter()
            .flat_map(|repair| [repair.items.tracker.as_ref(), repair.items.forge.as_ref()])
            .flatten()
            .chain(self.closing.due.iter().map(|due| &due.item))
            .chain(unanswered)
            .collect();
        let done: Vec<ItemKey> = self
            .dues
            .values()
            .filter(|due| due.not_before <= self.now && !busy.contains(&due.item))
            .map(|due| due.item.clone())
            .collect();
        self.closing.clear_due.extend(done);
    }
}
