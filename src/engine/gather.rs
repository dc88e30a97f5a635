//! Observes: reads what moved, everything, or the items named, and keeps only what needs a decision.
//!
//! Memory does not grow with the number of links: an item whose digest is the one kept with its link
//! is counted and forgotten. Nothing here writes.

use std::collections::{BTreeMap, BTreeSet};

use super::{Engine, EngineError, Planned, Wake};
use crate::model::{BySide, Item, ItemKey, LinkId, LinkStatus, Native, Place, RepoName, Side, Timestamp};
use crate::provider::{Changes, Cursor, Found, Halt, ProviderError, Remedy};
use crate::reconcile::{
    Claim, PairPlan, PairSeen, Plan, Sight, Skip, Strangers, fingerprint, plan_pair, plan_strangers, stays_alone,
};
use crate::store::{Brief, Due, LinkChange, NewDue, Record};

/// Linked items missing from a whole listing that are read one by one in a pass; a listing that is
/// short by more is not believed any further, and the rest is looked at by the next sweep.
const MISSING_READS_MAX: usize = 500;

/// Direct reads that may fail one after another before the side is taken to be out of reach.
const READ_FAILURES_MAX: u32 = 3;

/// Due items looked at in one pass; the rest follows in the next.
const DUE_MAX: u32 = 1_000;

/// Due items of a side from which on a listing is considered in place of direct reads: a page or more of them.
const LISTED_WHEN_DUE_MIN: usize = 100;

/// How a side was observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Not as a whole.
    Named,
    /// All that moved since the cursor.
    Since,
    /// Everything.
    Swept,
}

/// Which links were seen: one bit a link.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, id: LinkId) {
        let Ok(at) = usize::try_from(id.0) else { return };
        if self.0.len() <= at / 64 {
            self.0.resize(at / 64 + 1, 0);
        }
        if let Some(word) = self.0.get_mut(at / 64) {
            *word |= 1 << (at % 64);
        }
    }

    fn has(&self, id: LinkId) -> bool {
        let Ok(at) = usize::try_from(id.0) else { return false };
        self.0.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
    }
}

/// What has been observed so far.
struct Gathering<'a> {
    engine: &'a Engine,
    now: Timestamp,
    pairs: BTreeMap<LinkId, BySide<Option<Sight>>>,
    strangers: Strangers,
    stranger_keys: BTreeSet<ItemKey>,
    claimed: BTreeSet<ItemKey>,
    present: BySide<Bits>,
    mode: BySide<Mode>,
    dues: BTreeMap<ItemKey, Due>,
    parked: BTreeSet<ItemKey>,
    read_failures: u32,
    more: bool,
    /// Once an issue was seen: the name its repository has now and the one our links know, if they differ.
    renamed: Option<Option<(RepoName, RepoName)>>,
    plan: Plan,
    closing: Record,
    messages: Vec<String>,
}

impl Engine {
    /// The first four steps of a pass. `alive` is called for every page and every direct read.
    pub(super) fn observe_and_plan(
        &self,
        wake: &Wake,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<Planned, EngineError> {
        let now = self.clock.now();
        let mut gathering = Gathering {
            engine: self,
            now,
            pairs: BTreeMap::new(),
            strangers: Strangers::default(),
            stranger_keys: BTreeSet::new(),
            claimed: BTreeSet::new(),
            present: BySide::default(),
            mode: BySide { tracker: Mode::Named, forge: Mode::Named },
            dues: BTreeMap::new(),
            parked: self.parked_keys()?,
            read_failures: 0,
            more: false,
            renamed: None,
            plan: Plan::new(self.route.clone()),
            closing: Record::default(),
            messages: Vec::new(),
        };
        gathering.observe(wake, alive)?;
        gathering.decide(alive)
    }
}

impl Gathering<'_> {
    fn observe(
        &mut self,
        wake: &Wake,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let engine = self.engine;
        let far = Timestamp::MAX;
        for due in engine.store.due(&engine.route, far, DUE_MAX)? {
            self.dues.insert(due.item.clone(), due);
        }
        self.open_intents(alive)?;
        let cursors = engine.store.cursors(&engine.route)?;
        match wake {
            // The forge first: what carries our markers is known before a partner is made for anything.
            Wake::Poll { belt } => {
                for side in [Side::Forge, Side::Tracker] {
                    self.follow(side, cursors[side].as_ref(), *belt, alive)?;
                }
            }
            Wake::Sweep => {
                for side in [Side::Forge, Side::Tracker] {
                    self.sweep_afresh(side, alive)?;
                }
            }
            Wake::Visit(keys) => {
                for key in keys {
                    alive(0)?;
                    self.visit(key)?;
                }
                self.before_creating(&cursors, alive)?;
            }
            Wake::Retry => {}
        }
        let ripe: Vec<ItemKey> =
            self.dues.values().filter(|due| due.not_before <= self.now).map(|due| due.item.clone()).collect();
        self.list_if_many(&ripe, alive)?;
        for key in ripe {
            if !self.stranger_keys.contains(&key) {
                alive(0)?;
                self.visit(&key)?;
            }
        }
        if *wake == Wake::Retry {
            self.before_creating(&cursors, alive)?;
        }
        self.missing(alive)?;
        self.follow_claims(alive)
    }

    /// Lists a side whole when so many of its items are due that reading them one by one would cost far more:
    /// after a limit let go, the rest of an import is due at once.
    fn list_if_many(
        &mut self,
        ripe: &[ItemKey],
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for side in Side::BOTH {
            let many = ripe.iter().filter(|key| key.side() == side).count();
            if many < LISTED_WHEN_DUE_MIN || self.mode[side] == Mode::Swept {
                continue;
            }
            let links = self.engine.store.count_links(&self.engine.route)?.values().sum::<u64>();
            let known = usize::try_from(links).unwrap_or(usize::MAX).saturating_add(self.dues.len());
            // Ten for one, because a side may hold many items that are not ours.
            if many > known / 10 {
                self.sweep(side, alive)?;
            }
        }
        Ok(())
    }

    /// Observes what moved on a side since its cursor; everything, when the cursor is no longer good.
    fn follow(
        &mut self,
        side: Side,
        cursor: Option<&Cursor>,
        belt: bool,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        if self.mode[side] != Mode::Named {
            return Ok(());
        }
        let provider = self.engine.providers[side].clone();
        let mut failed = None;
        let changes = provider.changes(cursor, belt, &mut |items| self.page(side, items, alive, &mut failed));
        if let Some(error) = failed {
            return Err(error);
        }
        match changes.map_err(|error| EngineError::Provider { side, error })? {
            Changes::Since { next, touched } => {
                self.mode[side] = Mode::Since;
                for key in touched {
                    alive(0)?;
                    self.read(&key)?;
                }
                if cursor != Some(&next) {
                    self.closing.cursors.push((side, next));
                }
                Ok(())
            }
            Changes::TooOld { next } => {
                // The fresh cursor was taken before the listing: what changes meanwhile is seen next time.
                self.sweep(side, alive)?;
                self.closing.cursors.push((side, next));
                Ok(())
            }
        }
    }

    /// A whole listing that was asked for: it starts a fresh cursor, as the old one may hold gaps.
    fn sweep_afresh(
        &mut self,
        side: Side,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let provider = self.engine.providers[side].clone();
        let fresh =
            provider.changes(None, false, &mut |_| Ok(())).map_err(|error| EngineError::Provider { side, error })?;
        self.sweep(side, alive)?;
        let (Changes::Since { next, .. } | Changes::TooOld { next }) = fresh;
        self.closing.cursors.push((side, next));
        Ok(())
    }

    fn sweep(&mut self, side: Side, alive: &mut dyn FnMut(u64) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let provider = self.engine.providers[side].clone();
        let mut failed = None;
        let swept = provider.sweep(&mut |items| self.page(side, items, alive, &mut failed));
        if let Some(error) = failed {
            return Err(error);
        }
        swept.map_err(|error| EngineError::Provider { side, error })?;
        self.mode[side] = Mode::Swept;
        Ok(())
    }

    /// One page of a listing. A failure of ours halts the listing and comes out through `failed`.
    fn page(
        &mut self,
        side: Side,
        items: Vec<Item>,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
        failed: &mut Option<EngineError>,
    ) -> Result<(), Halt> {
        self.plan.seen[side] += u64::try_from(items.len()).unwrap_or(u64::MAX);
        self.engine.progress.observed(side, self.plan.seen[side]);
        let outcome = alive(self.plan.seen[side]).and_then(|()| self.take(side, items));
        outcome.map_err(|error| {
            *failed = Some(error);
            Halt
        })
    }

    /// Keeps what needs a decision, forgets the rest.
    fn take(&mut self, side: Side, mut items: Vec<Item>) -> Result<(), EngineError> {
        let engine = self.engine;
        for item in &mut items {
            self.known_name(item)?;
        }
        let keys: Vec<ItemKey> = items.iter().map(|item| item.key.clone()).collect();
        let briefs = by_item(side, engine.store.briefs(&engine.route, &keys)?);
        for item in items {
            match briefs.get(&item.key) {
                Some(brief) => self.linked(side, brief, item),
                None => self.stranger(item),
            }
        }
        Ok(())
    }

    /// Speaks of an issue by the name under which our links know its repository; a new name is kept with
    /// the closing record, so that the next pass knows it.
    fn known_name(&mut self, item: &mut Item) -> Result<(), EngineError> {
        let (ItemKey::Issue(issue), Native::Issue { repo_id, .. }) = (&mut item.key, &item.native) else {
            return Ok(());
        };
        if self.renamed.is_none() {
            let known = self.engine.store.repo_name(&self.engine.route, *repo_id)?;
            if known.is_none()
                && let Some(before) = self.engine.store.repo_id(&self.engine.route, &issue.repo)?
                && before != *repo_id
            {
                // A new repository under an old name: its numbers mean other issues.
                return Err(EngineError::Provider {
                    side: Side::Forge,
                    error: ProviderError::Denied {
                        doing: format!("compare {} with its links", issue.repo),
                        why: format!(
                            "this is another repository than the one that was linked (id {repo_id}, was {before}); name \
                             the right one in the configuration, or let go of the old pairs (`evenkeel links remove`)"
                        ),
                    },
                });
            }
            let renamed = known.filter(|known| *known != issue.repo).map(|known| (issue.repo.clone(), known));
            if let Some((now, known)) = &renamed {
                self.messages.push(format!("{known} is now called {now}; its links follow"));
                self.closing.rename = Some((*repo_id, now.clone()));
            }
            self.renamed = Some(renamed);
        }
        if let Some(Some((now, known))) = &self.renamed
            && issue.repo == *now
        {
            issue.repo = known.clone();
        }
        Ok(())
    }

    fn linked(&mut self, side: Side, brief: &Brief, item: Item) {
        self.present[side].set(brief.id);
        let print = fingerprint(&item, &self.engine.rules.policy);
        if brief.seen[side].as_ref() == Some(&print) && !self.dues.contains_key(&item.key) {
            return;
        }
        self.pairs.entry(brief.id).or_default()[side] = Some(Sight::Shown(Box::new(item)));
    }

    fn stranger(&mut self, item: Item) {
        if self.stranger_keys.contains(&item.key) {
            return;
        }
        let wanted =
            item.marker.is_some() || self.claimed.contains(&item.key) || self.strangers.intents.contains_key(&item.key);
        if !wanted {
            if let Some(why) = stays_alone(&item, &self.engine.rules) {
                return self.plan.skip(Skip { item: item.key, why });
            }
            if self.stranger_keys.len() >= self.engine.patience.repairs_max {
                self.more = true;
                return;
            }
        }
        if let Some(marker) = &item.marker {
            self.claimed.insert(marker.partner.clone());
        }
        self.stranger_keys.insert(item.key.clone());
        self.strangers.items[item.side()].push(item);
    }

    /// Reads one item that may have moved.
    fn read(&mut self, key: &ItemKey) -> Result<(), EngineError> {
        let engine = self.engine;
        let side = key.side();
        let brief = by_item(side, engine.store.briefs(&engine.route, std::slice::from_ref(key))?).remove(key);
        let sight = self.look(key)?;
        self.plan.seen[side] += 1;
        match (brief, sight) {
            (Some(brief), Sight::Shown(item)) => self.linked(side, &brief, *item),
            (Some(brief), sight) => {
                self.present[side].set(brief.id);
                self.pairs.entry(brief.id).or_default()[side] = Some(sight);
            }
            (None, Sight::Shown(item)) => self.stranger(*item),
            (None, Sight::Unseen(why)) => {
                self.again(key, &why);
                self.plan.skip(Skip { item: key.clone(), why: format!("it could not be read: {why}") });
            }
            (None, Sight::Absent | Sight::Moved(_) | Sight::Unmoved) => {}
        }
        Ok(())
    }

    /// Reads an item and, when it is linked, its partner too: nothing is inferred from a cursor.
    fn visit(&mut self, key: &ItemKey) -> Result<(), EngineError> {
        let engine = self.engine;
        let due = self.dues.contains_key(key);
        let brief = by_item(key.side(), engine.store.briefs(&engine.route, std::slice::from_ref(key))?).remove(key);
        let Some(brief) = brief else { return self.read(key) };
        let known = self.pairs.entry(brief.id).or_default()[key.side()].is_some();
        if !known {
            let sight = self.look(key)?;
            self.plan.seen[key.side()] += 1;
            // An echo of our own write shows what it showed when last in step: one read and no more.
            if let Sight::Shown(item) = &sight
                && !due
                && !brief.waits
                && brief.seen[key.side()] == Some(fingerprint(item, &engine.rules.policy))
                // Unless its partner was named too, and moved.
                && self.pairs.get(&brief.id).is_none_or(|pair| pair[key.side().opposite()].is_none())
            {
                self.pairs.remove(&brief.id);
                return Ok(());
            }
            self.pairs.entry(brief.id).or_default()[key.side()] = Some(sight);
        }
        Ok(())
    }

    /// Before a partner is made for an item named one by one, the other side is observed: an earlier
    /// partner of ours that the database does not know must not be overlooked.
    fn before_creating(
        &mut self,
        cursors: &BySide<Option<Cursor>>,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for side in Side::BOTH {
            if !self.strangers.items[side].is_empty() {
                self.follow(side.opposite(), cursors[side.opposite()].as_ref(), false, alive)?;
            }
        }
        Ok(())
    }

    /// A direct read. One item's failure is that item's failure; several in a row are the side's.
    fn look(&mut self, key: &ItemKey) -> Result<Sight, EngineError> {
        let side = key.side();
        match self.engine.providers[side].item(key) {
            Ok(found) => {
                self.read_failures = 0;
                Ok(match found {
                    Found::Here(mut item) => {
                        self.known_name(&mut item)?;
                        Sight::Shown(item)
                    }
                    Found::Moved(to) => Sight::Moved(to),
                    Found::Gone => Sight::Absent,
                    Found::Unseen(why) => Sight::Unseen(why),
                    Found::NotAnItem => Sight::Unseen("it is no work item (any more)".to_owned()),
                })
            }
            Err(error @ (ProviderError::Stopped | ProviderError::Denied { .. })) => {
                Err(EngineError::Provider { side, error })
            }
            Err(error) => {
                if let Remedy::RetryLater { .. } = error.remedy() {
                    self.read_failures += 1;
                    if self.read_failures > READ_FAILURES_MAX {
                        return Err(EngineError::Provider { side, error });
                    }
                }
                Ok(Sight::Unseen(error.to_string()))
            }
        }
    }

    /// Linked items that a whole listing did not show: absent from a listing is not gone.
    fn missing(&mut self, alive: &mut dyn FnMut(u64) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let engine = self.engine;
        if !Side::BOTH.into_iter().any(|side| self.mode[side] == Mode::Swept) {
            return Ok(());
        }
        let ids = engine.store.link_ids(&engine.route, LinkStatus::Active)?;
        for side in Side::BOTH {
            // A side that shows nothing at all is the brakes' business.
            if self.mode[side] != Mode::Swept || self.plan.seen[side] == 0 {
                continue;
            }
            let missing: Vec<LinkId> = ids.iter().copied().filter(|id| !self.present[side].has(*id)).collect();
            if missing.len() > MISSING_READS_MAX {
                self.messages.push(format!(
                    "{} did not list {} of {} linked items; {MISSING_READS_MAX} of them are read one by one, the rest by \
                     the next sweep",
                    side.service(),
                    missing.len(),
                    ids.len()
                ));
            }
            let looked: Vec<LinkId> = missing.into_iter().take(MISSING_READS_MAX).collect();
            for link in engine.store.links_by_id(&looked)? {
                alive(0)?;
                let sight = self.look(&link.key(side))?;
                if let Sight::Shown(item) = &sight
                    && link.seen[side] == Some(fingerprint(item, &engine.rules.policy))
                {
                    continue;
                }
                self.pairs.entry(link.id).or_default()[side] = Some(sight);
            }
        }
        Ok(())
    }

    /// Open creations: the items in question, and what carries their markers now.
    fn open_intents(&mut self, alive: &mut dyn FnMut(u64) -> Result<(), EngineError>) -> Result<(), EngineError> {
        for intent in super::intents::open_creations(self.engine)? {
            alive(0)?;
            self.strangers.intents.insert(intent.source.clone(), (intent.id, intent.until));
            match intent.found {
                Some(item) => {
                    self.read(&intent.source)?;
                    let keys = [item.key.clone()];
                    let linked = self.engine.store.briefs(&self.engine.route, &keys)?;
                    if linked.iter().all(|brief| brief.status == LinkStatus::Retired) {
                        self.stranger(item);
                    } else {
                        // Linked by somebody else meanwhile: the creation is settled.
                        self.closing.close_intents.push(intent.id);
                        self.strangers.intents.remove(&intent.source);
                    }
                }
                None if intent.until <= self.now => {
                    self.closing.close_intents.push(intent.id);
                    self.strangers.intents.remove(&intent.source);
                    self.read(&intent.source)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Reads the partners that unlinked items claim, where they were not observed.
    fn follow_claims(&mut self, alive: &mut dyn FnMut(u64) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let engine = self.engine;
        let claims: Vec<(ItemKey, ItemKey)> = self
            .strangers
            .items
            .iter()
            .flat_map(|(_, items)| items)
            .filter_map(|item| Some((item.key.clone(), item.marker.as_ref()?.partner.clone())))
            .filter(|(item, partner)| item.side() != partner.side())
            .collect();
        let keys: Vec<ItemKey> = claims.iter().flat_map(|(item, partner)| [item.clone(), partner.clone()]).collect();
        if keys.is_empty() {
            return Ok(());
        }
        for stone in engine.store.tombstones(&engine.route, &keys)? {
            self.strangers
                .tombstones
                .insert(BySide { tracker: ItemKey::Task(stone.task), forge: ItemKey::Issue(stone.issue) });
        }
        let briefs = engine.store.briefs(&engine.route, &keys)?;
        let mut linked: BTreeMap<ItemKey, ItemKey> = BTreeMap::new();
        for brief in briefs.into_iter().filter(|brief| brief.status != LinkStatus::Retired) {
            let (task, issue) = (ItemKey::Task(brief.task), ItemKey::Issue(brief.issue));
            linked.insert(task.clone(), issue.clone());
            linked.insert(issue, task);
        }
        for (item, partner) in claims {
            alive(0)?;
            if let Some(by) = linked.get(&partner) {
                self.strangers.claims.insert(item, Claim::Taken(by.clone()));
                continue;
            }
            let pair = match item.side() {
                Side::Tracker => BySide { tracker: item.clone(), forge: partner.clone() },
                Side::Forge => BySide { tracker: partner.clone(), forge: item.clone() },
            };
            if self.stranger_keys.contains(&partner) || self.strangers.tombstones.contains(&pair) {
                continue;
            }
            match self.look(&partner)? {
                Sight::Shown(found) if found.place == Place::Left => {
                    let why = format!("{partner} is not in the route");
                    self.strangers.claims.insert(item, Claim::Unreadable(why));
                }
                Sight::Shown(found) => {
                    self.stranger_keys.insert(partner.clone());
                    self.strangers.items[partner.side()].push(*found);
                }
                Sight::Absent | Sight::Moved(_) | Sight::Unmoved => {
                    self.strangers.claims.insert(item, Claim::Gone);
                }
                Sight::Unseen(why) => {
                    self.again(&item, &why);
                    self.strangers.claims.insert(item, Claim::Unreadable(why));
                }
            }
        }
        Ok(())
    }

    /// Makes an item due again after a failed look; parks it after the last attempt.
    fn again(&mut self, key: &ItemKey, why: &str) {
        let attempts = self.dues.get(key).map_or(0, |due| due.attempts) + 1;
        let engine = self.engine;
        // Cleared and set anew, so that the new time counts and not the earlier one.
        self.closing.clear_due.push(key.clone());
        self.closing.due.push(NewDue {
            item: key.clone(),
            reason: "it could not be read".to_owned(),
            not_before: engine.backoff().not_before(key, attempts, None, self.now),
            attempts,
            last_error: Some(why.to_owned()),
            parked: attempts >= engine.patience.attempts_max,
        });
    }

    /// Pairs and plans what was observed.
    fn decide(mut self, alive: &mut dyn FnMut(u64) -> Result<(), EngineError>) -> Result<Planned, EngineError> {
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
                let keys = BySide::from_fn(|side| link.key(side));
                if let Some(side) = Side::BOTH.into_iter().find(|side| self.parked.contains(&keys[*side])) {
                    self.plan.skip(Skip { item: keys[side].clone(), why: "parked (`evenkeel parked`)".to_owned() });
                    continue;
                }
                let due = Side::BOTH.into_iter().any(|side| self.dues.contains_key(&keys[side]));
                let inferable =
                    link.status == LinkStatus::Active && link.base.is_some() && link.waiting.is_empty() && !due;
                for side in Side::BOTH {
                    if sights[side].is_none() {
                        sights[side] = Some(if inferable { Sight::Unmoved } else { self.look(&keys[side])? });
                    }
                }
                let (Some(tracker), Some(forge)) = (sights.tracker, sights.forge) else { continue };
                let pair = PairSeen { link, sight: BySide { tracker, forge } };
                self.pair(pair, &mut pairs, &mut waiting);
            }
        }
        let mut strangers = std::mem::take(&mut self.strangers);
        let unanswered: BTreeSet<ItemKey> = strangers.intents.keys().cloned().collect();
        // A partner may be made only when the other side was observed whole, or since its cursor.
        strangers.may_create = Side::BOTH
            .into_iter()
            .all(|side| self.mode[side] != Mode::Named || strangers.items[side.opposite()].is_empty());
        for side in Side::BOTH {
            let parked = &self.parked;
            let plan = &mut self.plan;
            let mut kept = Vec::with_capacity(strangers.items[side].len());
            for item in std::mem::take(&mut strangers.items[side]) {
                let why = if parked.contains(&item.key) {
                    Some("parked (`evenkeel parked`)".to_owned())
                } else {
                    // Two routes may share a repository or a project: an item has one partner, on one of them.
                    let link = engine.store.link_of(&item.key)?;
                    link.filter(|link| link.status != LinkStatus::Retired && link.route != engine.route)
                        .map(|link| format!("linked on route {}", link.route))
                };
                match why {
                    Some(why) => plan.skip(Skip { item: item.key, why }),
                    None => kept.push(item),
                }
            }
            strangers.items[side] = kept;
        }
        let known: Vec<ItemKey> =
            strangers.items.iter().flat_map(|(_, items)| items).map(|item| item.key.clone()).collect();
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

    fn pair(&mut self, pair: PairSeen, pairs: &mut BTreeMap<LinkId, PairSeen>, waiting: &mut u64) {
        let link = &pair.link;
        match plan_pair(&pair, &self.engine.rules, self.now) {
            PairPlan::Settled { seen } => {
                *waiting += u64::try_from(link.waiting.len()).unwrap_or(0);
                if seen.tracker.is_some() || seen.forge.is_some() {
                    let seen = BySide::from_fn(|side| seen[side].clone().or_else(|| link.seen[side].clone()));
                    self.closing.change.push((link.id, LinkChange { seen: Some(seen), ..LinkChange::default() }));
                }
            }
            PairPlan::Repair(repair) => {
                self.plan.repairs.push(*repair);
                pairs.insert(link.id, pair);
            }
            PairPlan::Ask(question) => self.plan.questions.push(question),
            PairPlan::Skip(skip) => {
                // Both halves wait under the task's name, so that attempts are counted once.
                let unseen = Side::BOTH.into_iter().find_map(|side| match &pair.sight[side] {
                    Sight::Unseen(why) => Some(format!("{}: {why}", pair.link.key(side))),
                    _ => None,
                });
                if let Some(why) = unseen {
                    self.again(&pair.link.key(Side::Tracker), &why);
                }
                self.plan.skip(skip);
            }
        }
    }

    /// Items that were due, were looked at, and need nothing more.
    fn clear_dues(&mut self, unanswered: &BTreeSet<ItemKey>) {
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

/// Briefs by the item of one side; an active pair goes before one that is history.
fn by_item(side: Side, briefs: Vec<Brief>) -> BTreeMap<ItemKey, Brief> {
    let mut map: BTreeMap<ItemKey, Brief> = BTreeMap::new();
    for brief in briefs {
        let key = match side {
            Side::Tracker => ItemKey::Task(brief.task.clone()),
            Side::Forge => ItemKey::Issue(brief.issue.clone()),
        };
        if map.get(&key).is_none_or(|known| known.status == LinkStatus::Retired) {
            map.insert(key, brief);
        }
    }
    map
}
