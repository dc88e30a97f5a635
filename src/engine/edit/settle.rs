//! A field that waits, settled by a person: what was taken is written where it does not stand yet.
//!
//! The guard against words that nobody has seen: a question carries a short digest of what it shows (`seen`), and is
//! settled only as it was shown. Both items are read anew first; if a side says something else by then, nothing is
//! written and the question as it stands now is answered. Only the one field is written; whatever else moved on the
//! pair is left to the next pass, for which both are due.

use serde::Serialize;

use super::Handling;
use crate::engine::{Ended, Engine, EngineError, PassOptions, Report, Watch};
use crate::model::{BySide, Field, Fingerprint, Item, ItemKey, Link, LinkId, RouteName, Side, Waiting};
use crate::reconcile::{Settlement, Sight, Take, Write, question, resolve, shows};
use crate::store::Record;
pub use crate::text::Overlap;
use crate::text::{Stretch, stretches};

/// Digits of a question's digest: enough that no two of one field are alike, few enough to be typed.
const SEEN_DIGITS: usize = 12;

/// A field of a pair that waits for a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conflict {
    /// Its route.
    pub route: RouteName,
    /// The task.
    pub task: ItemKey,
    /// The issue.
    pub issue: ItemKey,
    /// The title both last agreed on; empty before they first did.
    pub title: String,
    /// Which field.
    pub field: Field,
    /// A digest of what is shown here: a question is settled only as it was shown.
    pub seen: String,
    /// The question: base, both values whole, why and since when.
    #[serde(flatten)]
    pub waiting: Waiting,
    /// Of a text, the places that both sides edited.
    pub overlaps: Vec<Overlap>,
}

impl Conflict {
    /// What a pair asks, field by field.
    pub fn all(link: &Link) -> Vec<Self> {
        link.waiting.iter().map(|(field, waiting)| Self::new(link, *field, waiting.clone())).collect()
    }

    fn new(link: &Link, field: Field, waiting: Waiting) -> Self {
        let mut overlaps = Vec::new();
        if field == Field::Body {
            let base = waiting.base.as_deref().unwrap_or_default();
            overlaps.extend(stretches(base, &waiting.said.tracker, &waiting.said.forge).into_iter().filter_map(
                |stretch| match stretch {
                    Stretch::Overlap(overlap) => Some(overlap),
                    Stretch::Agreed(_) => None,
                },
            ));
        }
        let mut seen = Fingerprint::of(&(link.id, field, &waiting.said)).0;
        seen.truncate(SEEN_DIGITS);
        Self {
            route: link.route.clone(),
            task: link.key(Side::Tracker),
            issue: link.key(Side::Forge),
            title: link.base.as_ref().map_or_else(String::new, |base| base.title.clone()),
            field,
            seen,
            waiting,
            overlaps,
        }
    }
}

/// What a person decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// The pair.
    pub link: LinkId,
    /// The field that waits.
    pub field: Field,
    /// What is taken.
    pub take: Take,
    /// The digest of the question as the person saw it; `None` for the one that the database shows.
    pub seen: Option<String>,
    /// Why, for the history; may be empty.
    pub reason: String,
}

/// What settling would write.
#[derive(Debug, Clone, Serialize)]
pub struct Proposed {
    /// The question as both sides ask it now.
    pub conflict: Conflict,
    /// Whether it still is the question that was seen.
    pub unmoved: bool,
    /// The writes.
    pub writes: BySide<Option<Write>>,
}

/// What settling came to.
#[derive(Debug, Clone, Serialize)]
pub struct Resolved {
    /// The pass in which it was done.
    pub report: Report,
    /// What became of each side.
    pub sides: BySide<Handling>,
    /// Why nothing was written, when there is nothing to settle (any more) or not so.
    pub left: Option<String>,
    /// The question as it stands now, when it is not the one that was seen; nothing was written then.
    pub moved: Option<Conflict>,
}

/// A question read anew, and what settling it takes.
struct Anew {
    link: Link,
    items: BySide<Item>,
    conflict: Conflict,
    unmoved: bool,
    settlement: Settlement,
}

impl Engine {
    /// What settling a field would write, by what both sides say now. Writes nothing; the inner error says why it
    /// cannot be.
    ///
    /// # Errors
    /// As a pass.
    pub fn plan_resolve(&self, asked: &Resolve) -> Result<Result<Proposed, String>, EngineError> {
        Ok(self.anew(asked)?.map(|anew| {
            let Anew { conflict, unmoved, settlement, .. } = anew;
            Proposed { conflict, unmoved, writes: settlement.writes }
        }))
    }

    /// Settles a field that waits.
    ///
    /// # Errors
    /// As a pass. A provider that fails at a write is told in [`Resolved::sides`].
    pub fn resolve(&self, asked: &Resolve, options: &PassOptions) -> Result<Resolved, EngineError> {
        let mut sides = BySide { tracker: Handling::Untried, forge: Handling::Untried };
        let (mut left, mut moved) = (None, None);
        let report = self.led("resolve", options, &mut |watch, report| match self.anew(asked)? {
            Err(why) => {
                report.messages.insert(0, why.clone());
                left = Some(why);
                Ok(Ended::Refused)
            }
            Ok(anew) if !anew.unmoved => {
                // The next pass keeps the question as it stands now.
                let due = self.looked_at(&anew.link, MOVED);
                self.store.record(watch.lease, &Record { due, ..Record::default() }, self.clock.now())?;
                report.messages.insert(0, MOVED.to_owned());
                moved = Some(anew.conflict);
                Ok(Ended::Refused)
            }
            Ok(anew) => self.settle(watch, report, asked, anew, &mut sides),
        })?;
        Ok(Resolved { report, sides, left, moved })
    }

    /// Reads both sides and asks the question once more; or says why there is none to settle.
    fn anew(&self, asked: &Resolve) -> Result<Result<Anew, String>, EngineError> {
        let (link, items) = match self.both(asked.link)? {
            Ok(both) => both,
            Err(why) => return Ok(Err(why)),
        };
        let now = self.clock.now();
        let Resolve { field, take, seen, .. } = asked;
        let Some(waiting) = question(&link, &items, *field, &self.rules, now) else {
            let why = match link.waiting.contains_key(field) {
                true => {
                    "both sides say the same by now, or one of them says what was agreed before; the next pass keeps that"
                }
                false => "it is in step, or the next pass settles it by itself",
            };
            return Ok(Err(format!("the {field} does not wait for a person: {why}")));
        };
        let conflict = Conflict::new(&link, *field, waiting);
        let known = link.waiting.get(field).map(|known| Conflict::new(&link, *field, known.clone()).seen);
        let unmoved = seen.as_ref().or(known.as_ref()) == Some(&conflict.seen);
        let why = cause(take, &asked.reason);
        Ok(resolve(&link, &items, *field, &conflict.waiting, take, &why, &self.rules).map(|settlement| Anew {
            link,
            items,
            conflict,
            unmoved,
            settlement,
        }))
    }

    /// Whether an item does not show any more what it showed a moment ago; one that cannot be read may have moved.
    fn edited_since(&self, link: &Link, before: &Item) -> Result<bool, EngineError> {
        let mut sight = self.sight(&before.key)?;
        self.doubt(link, &mut sight, self.clock.now());
        Ok(!matches!(sight, Sight::Shown(item) if item.content == before.content && item.footer == before.footer))
    }

    fn settle(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        asked: &Resolve,
        anew: Anew,
        sides: &mut BySide<Handling>,
    ) -> Result<Ended, EngineError> {
        let Anew { link, mut items, settlement, .. } = anew;
        let Settlement { merged, writes } = settlement;
        let Resolve { field, take, reason, .. } = asked;
        let cause = cause(take, reason);
        let known = self.due_before(&link)?;
        for side in Side::BOTH {
            let Some(write) = &writes[side] else {
                sides[side] = Handling::Already;
                continue;
            };
            let took = |item: &Item| match shows(side, *field, &merged, &item.content, &self.rules.people) {
                true => Ok(()),
                false => Err(format!("the {field} of {} is not as asked", item.key)),
            };
            // The half that was written before may have taken long.
            if sides.iter().any(|(_, other)| *other == Handling::Written) && self.edited_since(&link, &items[side])? {
                report.messages.insert(0, MOVED_MEANWHILE.to_owned());
                sides[side] = Handling::Failed { why: MOVED_MEANWHILE.to_owned() };
                return Ok(Ended::Drift);
            }
            match self.put(watch, report, &link, &items[side], write, &cause, &took)? {
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
        let mut agreed = link;
        agreed.waiting.remove(field);
        if agreed.base.is_some() {
            agreed.base = Some(merged);
        }
        let settled = self.agree(watch, agreed, &items, &known, &cause)?;
        Ok(if settled { Ended::Settled } else { Ended::Drift })
    }
}

/// What stands in the history beside the values: what was taken, and why, if that was said.
fn cause(take: &Take, reason: &str) -> String {
    let taken = match take {
        Take::Side(side) => format!("{} taken", side.service()),
        Take::Both => "both taken".to_owned(),
        Take::Text(_) => "written anew".to_owned(),
    };
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    format!("settled by hand, {taken}{why}")
}

/// What is said of a side that was edited during the settlement.
const MOVED_MEANWHILE: &str =
    "it was edited while the other side was being written, so it was not: the next pass takes both into account";

/// What is said of a question that is not the one seen.
const MOVED: &str = "a side moved since the question was shown: nothing was written";

#[cfg(test)]
mod tests;
