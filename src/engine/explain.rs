//! Explains one item: the pair, who owns which field, what both sides say now, and what happens next.
//!
//! Reads both items directly and asks the ordinary planner, so that what is said is what a pass would do.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Engine, EngineError, Wake};
use crate::model::{BySide, Field, FieldPolicy, ItemKey, Link, Marker, PassId, Place, Side, Timestamp, Waiting};
use crate::reconcile::{COMPARED, PairPlan, PairSeen, Repair, Sight, plan_pair, shows, value};
use crate::store::{Due, EntryFilter, Tombstone};

/// Entries of the history looked through for the last write to each field.
const ENTRIES_MAX: u32 = 1_000;

/// Everything there is to say about one item.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// The item.
    pub item: ItemKey,
    /// Its pair, if it has one.
    pub pair: Option<Pair>,
    /// Why it has no partner, if it has none.
    pub alone: Option<Alone>,
    /// What the next pass would do.
    pub next: Next,
    /// Whether and why it, or its partner, waits to be visited or for a person.
    pub due: Vec<Due>,
}

/// A linked pair.
#[derive(Debug, Clone, Serialize)]
pub struct Pair {
    /// The link as kept.
    pub link: Link,
    /// What was found on each side: `there`, `deleted`...
    pub found: BySide<String>,
    /// Field by field, those switched off aside.
    pub fields: Vec<FieldState>,
}

/// One field of a pair.
#[derive(Debug, Clone, Serialize)]
pub struct FieldState {
    /// The field.
    pub field: Field,
    /// Who owns it.
    pub owner: FieldPolicy,
    /// What both last agreed on.
    pub base: Option<serde_json::Value>,
    /// What each side says now; `None` where it could not be read.
    pub now: BySide<Option<serde_json::Value>>,
    /// Whether each side shows something else than the base.
    pub drifts: BySide<bool>,
    /// The question, if it waits for a person.
    pub waiting: Option<Waiting>,
    /// The last write of ours to it, on either side.
    pub last_write: Option<LastWrite>,
}

/// A write of ours, from the history.
#[derive(Debug, Clone, Serialize)]
pub struct LastWrite {
    /// Its place in the history.
    pub seq: i64,
    /// When.
    pub at: Timestamp,
    /// In which pass, for `evenkeel undo`.
    pub pass: PassId,
    /// To which item.
    pub item: ItemKey,
    /// Why this value.
    pub why: String,
    /// Who.
    pub actor: String,
}

/// An item without a partner.
#[derive(Debug, Clone, Serialize)]
pub struct Alone {
    /// What a direct read found.
    pub found: String,
    /// Its title, if it could be read.
    pub title: Option<String>,
    /// The partner that its marker names.
    pub marker: Option<Marker>,
    /// Pairs with it that somebody let go of.
    pub tombstones: Vec<Tombstone>,
    /// Until when an announced partner of it is looked for.
    pub announced: Option<Timestamp>,
}

/// What the next pass would do.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "lowercase", tag = "what")]
pub enum Next {
    /// Nothing: both sides are in step.
    Nothing,
    /// A repair.
    Repair {
        /// The repair.
        repair: Box<Repair>,
    },
    /// It asks a person.
    Ask {
        /// What.
        question: String,
    },
    /// It leaves it alone.
    Leave {
        /// Why.
        why: String,
    },
}

impl Engine {
    /// Explains one item. Writes nothing. Costs one read for each side, and for an unlinked item what a
    /// visit to it costs.
    pub fn explain(&self, item: &ItemKey) -> Result<Explained, EngineError> {
        let link = self.store.link_of(item)?.filter(|link| link.route == self.route);
        let mut explained = match link {
            Some(link) => self.explain_pair(item, link)?,
            None => self.explain_alone(item)?,
        };
        let mut keys = vec![item.clone()];
        if let Some(pair) = &explained.pair {
            keys = Side::BOTH.into_iter().map(|side| pair.link.key(side)).collect();
        }
        let due = self.store.due(&self.route, Timestamp::MAX, 100_000)?;
        let waiting = due.into_iter().chain(self.store.parked(Some(&self.route))?);
        explained.due = waiting.filter(|due| keys.contains(&due.item)).collect();
        if explained.due.iter().any(|due| due.parked_at.is_some()) {
            let why = "it is parked: a pass leaves it alone until `evenkeel parked retry`".to_owned();
            explained.next = Next::Leave { why };
        }
        Ok(explained)
    }

    fn explain_pair(&self, item: &ItemKey, link: Link) -> Result<Explained, EngineError> {
        let sight =
            BySide { tracker: self.sight(&link.key(Side::Tracker))?, forge: self.sight(&link.key(Side::Forge))? };
        let found = BySide::from_fn(|side| said(&sight[side]));
        let mut last = self.last_writes(item, &link)?;
        let people = &self.rules.people;
        let mut fields = Vec::new();
        for field in COMPARED {
            let owner = self.rules.policy.of(field);
            if owner == FieldPolicy::Off {
                continue;
            }
            let shown = BySide::from_fn(|side| match &sight[side] {
                Sight::Shown(item) => Some(&item.content),
                _ => None,
            });
            fields.push(FieldState {
                field,
                owner,
                base: link.base.as_ref().map(|base| value(field, base)),
                now: BySide::from_fn(|side| shown[side].map(|content| value(field, content))),
                drifts: BySide::from_fn(|side| match (&link.base, shown[side]) {
                    (Some(base), Some(content)) => !shows(side, field, base, content, people),
                    _ => false,
                }),
                waiting: link.waiting.get(&field).cloned(),
                last_write: last.remove(&field),
            });
        }
        let seen = PairSeen { link: link.clone(), sight };
        let planned = match self.sleeps_on(&seen.link)? {
            Some(skip) => PairPlan::Skip(skip),
            None => plan_pair(&seen, &self.rules, self.clock.now()),
        };
        let next = match planned {
            PairPlan::Settled { .. } => Next::Nothing,
            PairPlan::Repair(repair) => Next::Repair { repair },
            PairPlan::Ask(question) => Next::Ask { question: question.what },
            PairPlan::Skip(skip) => Next::Leave { why: skip.why },
        };
        let pair = Pair { link, found, fields };
        Ok(Explained { item: item.clone(), pair: Some(pair), alone: None, next, due: Vec::new() })
    }

    fn explain_alone(&self, item: &ItemKey) -> Result<Explained, EngineError> {
        let sight = self.sight(item)?;
        let mut alone = Alone {
            found: said_alone(&sight),
            title: None,
            marker: None,
            tombstones: self.store.tombstones(&self.route, std::slice::from_ref(item))?,
            announced: None,
        };
        let intent = self.store.intents(&self.route)?.into_iter().find(|intent| intent.source == *item);
        alone.announced = intent.map(|intent| crate::clock::later(intent.tried_at, self.patience.intent_grace));
        let next = match &sight {
            Sight::Shown(shown) => {
                alone.title = Some(shown.content.title.clone());
                alone.marker.clone_from(&shown.marker);
                let plan = self.plan(&Wake::Visit(vec![item.clone()]))?;
                let about = |repair: &&Repair| repair.items.iter().any(|(_, key)| key.as_ref() == Some(item));
                if let Some(repair) = plan.repairs.iter().find(about) {
                    Next::Repair { repair: Box::new(repair.clone()) }
                } else if let Some(question) = plan.questions.into_iter().find(|question| question.item == *item) {
                    Next::Ask { question: question.what }
                } else if let Some(skip) = plan.skips.into_iter().find(|skip| skip.item == *item) {
                    Next::Leave { why: skip.why }
                } else {
                    Next::Nothing
                }
            }
            other => Next::Leave { why: said_alone(other) },
        };
        Ok(Explained { item: item.clone(), pair: None, alone: Some(alone), next, due: Vec::new() })
    }

    /// The last write of ours to each field of a pair.
    fn last_writes(&self, item: &ItemKey, link: &Link) -> Result<BTreeMap<Field, LastWrite>, EngineError> {
        let filter = EntryFilter {
            route: Some(self.route.clone()),
            item: Some(item.clone()),
            newest_first: true,
            limit: ENTRIES_MAX,
            ..EntryFilter::default()
        };
        let mut last = BTreeMap::new();
        // Oldest first, so that a failure takes back the write before it and the newest stays.
        let mut entries = self.store.history(&filter)?;
        entries.reverse();
        for kept in super::undo::effective(entries) {
            let entry = kept.entry;
            if !matches!(entry.kind.as_str(), "update" | "retire" | "undo" | "create")
                || entry.link.is_some_and(|id| id != link.id)
            {
                continue;
            }
            for change in entry.changes {
                let write = LastWrite {
                    seq: kept.seq,
                    at: entry.at,
                    pass: entry.pass,
                    item: entry.item.clone(),
                    why: change.why,
                    actor: entry.actor.clone(),
                };
                last.insert(change.field, write);
            }
        }
        Ok(last)
    }
}

/// The same for an item without a link: Asana answers a gid that never was as it answers a deleted one.
fn said_alone(sight: &Sight) -> String {
    match sight {
        Sight::Absent => "not there: deleted, or it never was".to_owned(),
        other => said(other),
    }
}

/// What a direct read found, in words.
fn said(sight: &Sight) -> String {
    match sight {
        Sight::Shown(item) if item.place == Place::Left => "there, but no longer in the route".to_owned(),
        Sight::Shown(_) | Sight::Unmoved => "there".to_owned(),
        Sight::Absent => "deleted".to_owned(),
        Sight::Moved(to) => format!("moved to {to}"),
        Sight::Unseen(why) => format!("it could not be read: {why}"),
    }
}
