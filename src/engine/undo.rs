//! Undo: puts back what a pass overwrote, as far as nobody changed it since, and so that it stays.
//!
//! Every item is read directly when the undo is planned and once more just before it is written. What is
//! put back is in the history (kind `undo`) before the write leaves. An update's old values are written,
//! a closed partner is reopened, a new item is closed (never erased) and let go of, a new pair is let go
//! of. The base is not turned back (see `decide`): a value put back is a fresh edit, and both items are
//! made due so that the next pass carries it to the other side. Comments stay: what was said was read.

mod carry_out;
mod decide;
#[cfg(test)]
mod tests;
mod trace;
mod values;

use std::collections::BTreeMap;

use serde::Serialize;

use super::lag::LAGS;
use super::{Engine, EngineError, Report};
use crate::model::{BySide, ItemKey, Link, PassId, Side};
use crate::provider::{Found, ProviderError};
use crate::reconcile::Sight;
use crate::store::{Entry, EntryFilter};

use decide::{Before, decide};
use trace::{Group, groups, latest_pass, turned_since};

pub use decide::{Left, Undo};
pub(super) use trace::effective;

/// Entries read from the history at a time.
const PAGE: u32 = 1_000;

/// Entries of one pass or one item looked at; beyond that an undo is refused, not done by halves.
const ENTRIES_MAX: usize = 200_000;

/// What is to be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UndoTarget {
    /// Everything a pass wrote.
    Pass(PassId),
    /// What the latest pass that wrote this item (and was not undone) did to it.
    Item(ItemKey),
}

/// What an undo would do.
#[derive(Debug, Clone, Serialize)]
pub struct UndoPlan {
    /// The pass it undoes; `None` when nothing was found.
    pub pass: Option<PassId>,
    /// Pair by pair, newest first.
    pub steps: Vec<Undo>,
    /// What was found, when there is nothing to undo at all.
    pub message: Option<String>,
}

impl UndoPlan {
    /// Whether nothing would be done.
    pub fn is_empty(&self) -> bool {
        self.steps.iter().all(Undo::is_empty)
    }

    /// What is not put back, without what is as it was already.
    pub fn left(&self) -> impl Iterator<Item = &Left> {
        self.steps.iter().flat_map(|step| &step.left).filter(|left| !left.already)
    }
}

/// What an undo did.
#[derive(Debug, Clone, Serialize)]
pub struct UndoReport {
    /// The pass in which it was done; its counts: `updated` items written, `noted` pairs let go of,
    /// `skipped` things left alone, `again` writes that failed.
    pub report: Report,
    /// What was done.
    pub done: Vec<Undo>,
    /// What was not, and why.
    pub left: Vec<Left>,
}

impl Engine {
    /// Looks at what could be undone. Writes nothing.
    pub fn plan_undo(&self, target: &UndoTarget) -> Result<UndoPlan, EngineError> {
        let (pass, only) = match target {
            UndoTarget::Pass(pass) => (*pass, None),
            UndoTarget::Item(item) => {
                let filter = EntryFilter { item: Some(item.clone()), ..EntryFilter::default() };
                match latest_pass(&effective(self.entries(filter)?), item) {
                    Some(pass) => (pass, Some(item)),
                    None => return Ok(nothing(None, format!("{item}: the history knows no write to it to undo"))),
                }
            }
        };
        let filter = EntryFilter { pass: Some(pass), item: only.cloned(), ..EntryFilter::default() };
        let groups = groups(&effective(self.entries(filter)?), only);
        if groups.is_empty() {
            let known = self.store.pass(pass)?;
            let message = match known {
                None => format!("there is no pass {pass} (`evenkeel history show` names them)"),
                Some(known) if known.route != self.route => {
                    format!("pass {pass} was made on route {}, not on {}", known.route, self.route)
                }
                Some(_) => format!("pass {pass} wrote nothing that could be undone"),
            };
            return Ok(nothing(Some(pass), message));
        }
        let mut steps = Vec::with_capacity(groups.len());
        for group in groups {
            if self.stop.raised() {
                return Err(EngineError::Stopped);
            }
            steps.push(self.undo_of(&group, pass)?);
        }
        Ok(UndoPlan { pass: Some(pass), steps, message: None })
    }

    /// Reads what a decision about one pair needs, and decides.
    fn undo_of(&self, group: &Group, pass: PassId) -> Result<Undo, EngineError> {
        let now = self.clock.now();
        let link = self.link_now(group)?;
        let mut sight: BySide<Option<Sight>> = BySide::default();
        let mut elsewhere: BySide<Option<ItemKey>> = BySide::default();
        for side in Side::BOTH {
            // Alone, an item's partner does not matter; in a pair both count.
            let wanted = group.traces[side].is_some() || link.is_some();
            if wanted && let Some(key) = &group.items[side] {
                let mut seen = self.sight(key)?;
                if let Some(link) = &link {
                    self.doubt(link, &mut seen, now);
                    if let Sight::Shown(item) = &seen
                        && self.lags(link, item, now)
                    {
                        seen = Sight::Unseen(LAGS.to_owned());
                    }
                }
                sight[side] = Some(seen);
            }
            if let (None, Some(key)) = (&link, &group.items[side]) {
                // The history calls it as it was called then.
                elsewhere[side] = match (self.partner_now(key)?, &sight[side]) {
                    (None, Some(Sight::Shown(item))) => self.partner_now(&item.key)?,
                    (partner, _) => partner,
                };
            }
        }
        let turned = match group.items.iter().find_map(|(_, item)| item.clone()) {
            Some(item) => {
                let filter = EntryFilter { item: Some(item), ..EntryFilter::default() };
                turned_since(&effective(self.entries(filter)?), pass, group, &self.rules)
            }
            None => BTreeMap::new(),
        };
        let name = format!("pass {pass}");
        let before = Before {
            group,
            link: link.as_ref(),
            elsewhere: &elsewhere,
            turned: &turned,
            sight: &sight,
            rules: &self.rules,
            now,
            pass: &name,
        };
        let seen = BySide::from_fn(|side| match &sight[side] {
            Some(Sight::Shown(item)) => Some((item.content.clone(), item.footer.clone())),
            _ => None,
        });
        let unread = sight.iter().find_map(|(side, seen)| match (seen, &group.items[side]) {
            (Some(Sight::Unseen(why)), Some(item)) => Some((item.clone(), why.clone())),
            _ => None,
        });
        let mut undo = Undo { seen, unread, ..decide(&before) };
        if let Some(link) = link.filter(|_| !undo.unlink && !undo.is_empty()) {
            let dues = self.store.dues_of(&self.route, &Side::BOTH.map(|side| link.key(side)))?;
            undo.parked = dues.iter().filter(|due| due.parked_at.is_some()).map(|due| due.id).collect();
            if !undo.parked.is_empty() {
                (undo.then, undo.waits) = (BySide::default(), Vec::new());
            }
        }
        Ok(undo)
    }

    /// The link of the group's items, if they still are a pair (or are one again).
    fn link_now(&self, group: &Group) -> Result<Option<Link>, EngineError> {
        if let Some(id) = group.link
            && let Some(link) = self.store.link(id)?
        {
            return Ok(self.sleeps_on(&link)?.is_none().then_some(link));
        }
        for (_, item) in group.items.iter() {
            if let Some(item) = item
                && let Some(link) = self.store.link_of(item)?
                && link.route == self.route
            {
                // One of them may have another partner by now.
                let same =
                    group.items.iter().all(|(side, item)| item.as_ref().is_none_or(|key| *key == link.key(side)));
                return Ok(same.then_some(link));
            }
        }
        Ok(None)
    }

    /// A direct read; what the provider cannot answer now proves nothing.
    pub(super) fn sight(&self, key: &ItemKey) -> Result<Sight, EngineError> {
        let side = key.side();
        match self.providers[side].item(key) {
            Ok(Found::Here(item)) => Ok(Sight::Shown(item)),
            Ok(Found::Moved(to)) => Ok(Sight::Moved(to)),
            Ok(Found::Gone) => Ok(Sight::Absent),
            Ok(Found::Unseen(why)) => Ok(Sight::Unseen(why)),
            Ok(Found::NotAnItem) => Ok(Sight::Unseen("it is no work item (any more)".to_owned())),
            Err(error @ (ProviderError::Stopped | ProviderError::Denied { .. } | ProviderError::Resting { .. })) => {
                Err(EngineError::Provider { side, error })
            }
            Err(error) => Ok(Sight::Unseen(error.to_string())),
        }
    }

    /// All entries of a filter on this route, oldest first.
    fn entries(&self, filter: EntryFilter) -> Result<Vec<Entry>, EngineError> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut filter = EntryFilter { route: Some(self.route.clone()), limit: PAGE, ..filter };
        loop {
            let page = self.store.history(&filter)?;
            let Some(last) = page.last() else { return Ok(entries) };
            filter.after = Some(last.seq);
            let full = page.len() >= PAGE as usize;
            entries.extend(page);
            if !full {
                return Ok(entries);
            }
            if entries.len() > ENTRIES_MAX {
                return Err(EngineError::Store(crate::store::StoreError::Failed {
                    doing: "reading the history to undo".to_owned(),
                    why: format!("more than {ENTRIES_MAX} entries; undo item by item"),
                }));
            }
        }
    }
}

fn nothing(pass: Option<PassId>, message: String) -> UndoPlan {
    UndoPlan { pass, steps: Vec::new(), message: Some(message) }
}
