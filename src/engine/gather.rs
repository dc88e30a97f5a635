//! Observes: reads what moved, everything, or the items named, and keeps only what needs a decision.
//!
//! Memory does not grow with the number of links: an item whose digest is the one kept with its link
//! is counted and forgotten. Nothing here writes.

mod claims;
mod decide;
mod looks;
mod repository;

use std::collections::{BTreeMap, BTreeSet};

use self::repository::KnownRepo;
use super::{Engine, EngineError, Planned, Wake};
use crate::model::{BySide, Item, ItemKey, LinkId, LinkStatus, Side, Timestamp};
use crate::provider::{Changes, Cursor, Halt};
use crate::reconcile::{Plan, Sight, Skip, Strangers, fingerprint, stays_alone};
use crate::store::{Brief, Due, Record};

/// Linked items missing from a whole listing that are read one by one in a pass; a listing that is
/// short by more is not believed any further, and the rest is looked at by the next sweep.
const MISSING_READS_MAX: usize = 500;

/// Direct reads that may fail one after another before the side is taken to be out of reach.
const READ_FAILURES_MAX: u32 = 3;

/// Due items looked at in one pass; the rest follows in the next.
pub(super) const DUE_MAX: u32 = 1_000;

/// Due items of a side from which on a listing is considered in place of direct reads: a page or more of them.
const LISTED_WHEN_DUE_MIN: usize = 100;

/// Due and parked items read before a partner is made, because they may claim one; more than ever wait so.
const WAITING_READS_MAX: usize = 1_000;

/// Why a parked item is left alone.
const PARKED: &str = "parked (`evenkeel parked`)";

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
    /// Those among them that were rung for and have not failed: they may have moved, and that is all there is to it.
    heard: BTreeSet<ItemKey>,
    parked: BTreeSet<ItemKey>,
    /// Linked items kept as a listing showed them, which may be behind.
    listed: BTreeSet<ItemKey>,
    /// Direct reads of a side that failed one after another.
    read_failures: BySide<u32>,
    /// Whether a side answered anything in this pass.
    answered: BySide<bool>,
    /// What was not even asked for, because its side had stopped answering.
    untried: BTreeSet<ItemKey>,
    /// What turned out to be no work item, such as a pull request that a garbled listing did not mark as one.
    no_items: BTreeSet<ItemKey>,
    more: bool,
    /// The repository, once an issue was seen.
    known_repo: Option<KnownRepo>,
    /// Whether links follow a new name. A visit leaves that to the next pass: the one at work knows them by the old name.
    renames: bool,
    plan: Plan,
    closing: Record,
    messages: Vec<String>,
}

impl Engine {
    /// The first four steps of a pass. `heard` is what was rung for; `alive` is called for every page and every
    /// direct read.
    pub(super) fn observe_and_plan(
        &self,
        wake: &Wake,
        heard: &[Due],
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
            heard: heard.iter().filter(|due| only_heard(due)).map(|due| due.item.clone()).collect(),
            parked: self.parked_keys()?,
            listed: BTreeSet::new(),
            read_failures: BySide::default(),
            answered: BySide::default(),
            untried: BTreeSet::new(),
            no_items: BTreeSet::new(),
            more: false,
            known_repo: None,
            renames: !matches!(wake, Wake::Overtake(_)),
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
        if let Wake::Overtake(dues) = wake {
            for due in dues {
                alive(0)?;
                self.dues.insert(due.item.clone(), due.clone());
                self.visit(&due.item)?;
            }
            return Ok(());
        }
        let far = Timestamp::MAX;
        for due in engine.store.due(&engine.route, far, DUE_MAX)? {
            // Taken back since it was looked up what is parked.
            self.parked.remove(&due.item);
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
            Wake::Retry | Wake::Overtake(_) => {}
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
        self.waiting_claims(alive)?;
        self.earlier_claims()?;
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
        let changes = changes.map_err(|error| EngineError::Provider { side, error })?;
        self.answered[side] = true;
        match changes {
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
        self.answered[side] = true;
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
            self.listed_name(item)?;
        }
        let keys: Vec<ItemKey> = items.iter().map(|item| item.key.clone()).collect();
        let briefs = by_item(side, engine.store.briefs(&engine.route, &keys)?);
        for item in items {
            match briefs.get(&item.key) {
                Some(brief) => {
                    let key = item.key.clone();
                    if self.linked(side, brief, item) {
                        self.listed.insert(key);
                    }
                }
                None => self.stranger(item)?,
            }
        }
        Ok(())
    }

    /// Keeps a linked item unless it shows what it showed when last settled; answers whether it was kept.
    fn linked(&mut self, side: Side, brief: &Brief, item: Item) -> bool {
        self.present[side].set(brief.id);
        let print = fingerprint(&item, &self.engine.rules.policy);
        if brief.seen[side].as_ref() == Some(&print) && !self.insists(&item.key) {
            return false;
        }
        self.pairs.entry(brief.id).or_default()[side] = Some(Sight::Shown(Box::new(item)));
        true
    }

    /// Whether an item is due for more than having perhaps moved, so that its pair is read in full.
    fn insists(&self, key: &ItemKey) -> bool {
        self.dues.contains_key(key) && !self.heard.contains(key)
    }

    /// Keeps an unlinked item if it may get a partner or claims one.
    fn stranger(&mut self, item: Item) -> Result<(), EngineError> {
        let engine = self.engine;
        if self.stranger_keys.contains(&item.key) {
            return Ok(());
        }
        let wanted =
            item.marker.is_some() || self.claimed.contains(&item.key) || self.strangers.intents.contains_key(&item.key);
        if !wanted {
            // What gets no partner anyway must not take up the room of what does.
            let why = match stays_alone(&item, &engine.rules) {
                Some(why) => Some(why),
                None if self.parked.contains(&item.key) => Some(PARKED.to_owned()),
                None => self.linked_already(&item.key)?,
            };
            if let Some(why) = why {
                self.plan.skip(Skip { item: item.key, why });
                return Ok(());
            }
            if self.stranger_keys.len() >= self.engine.patience.repairs_max {
                self.more = true;
                return Ok(());
            }
        } else if item.marker.is_some()
            && let Some(why) = self.linked_already(&item.key)?
        {
            // Its partner is the other route's business and is not even read.
            self.plan.skip(Skip { item: item.key, why });
            return Ok(());
        }
        if let Some(marker) = &item.marker {
            self.claimed.insert(marker.partner.clone());
        }
        self.stranger_keys.insert(item.key.clone());
        self.strangers.items[item.side()].push(item);
        Ok(())
    }

    /// An item has one partner, also where two routes share a repository or a project: asked of the database once more
    /// before any partner is made, however the item came to be taken for a stranger.
    fn linked_already(&self, key: &ItemKey) -> Result<Option<String>, EngineError> {
        let link = self.engine.store.link_of(key)?;
        Ok(link.filter(|link| link.status != LinkStatus::Retired).map(|link| format!("linked on route {}", link.route)))
    }

    /// Before a partner is made for an item named one by one, the other side is observed: an earlier
    /// partner of ours that the database does not know must not be overlooked.
    fn before_creating(
        &mut self,
        cursors: &BySide<Option<Cursor>>,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        // Twice, because what one side's cursor brings up may ask for the other's.
        for side in [Side::Tracker, Side::Forge, Side::Tracker] {
            if !self.strangers.items[side].is_empty() {
                self.follow(side.opposite(), cursors[side.opposite()].as_ref(), false, alive)?;
            }
        }
        Ok(())
    }
}

/// Whether an item is due for nothing else than that it may have moved. One that waited already, and not only to be
/// looked at, may wait for its partner's sake: then a look at the item alone settles nothing.
const fn only_heard(due: &Due) -> bool {
    due.attempts == 0 && due.last_error.is_none()
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
