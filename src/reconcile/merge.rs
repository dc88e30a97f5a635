//! The three-way merge of one pair's content under the route's policy.

use std::collections::BTreeMap;

use crate::model::{BySide, Content, Field, FieldPolicy, OnConflict, Rules, Side, Timestamp, Waiting};
use crate::text::{self, Merged};

use super::fields::{COMPARED, assign, merge_assignees, merge_labels, put, same, shows, value, view};

/// What a side says, for the merge.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// What it shows; `None` when it shows the base, as far as is known.
    pub content: Option<&'a Content>,
    /// When it was last edited, as its side says.
    pub edited_at: Option<Timestamp>,
}

/// What became of one pair's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The rich content both shall agree on; a waiting field stands as it was in the base.
    pub merged: Content,
    /// Fields that a person must settle.
    pub waiting: BTreeMap<Field, Waiting>,
    /// For each field that moved: why its value is what it is.
    pub why: BTreeMap<Field, String>,
}

/// Merges what both sides say into what they shall agree on.
///
/// Without a base (a pair newly found), sides that show the same agree at once, the richer form
/// standing; sets unite; anything else is settled as a conflict is.
pub fn merge(base: Option<&Content>, said: BySide<Said<'_>>, rules: &Rules, now: Timestamp) -> Outcome {
    let mut outcome =
        Outcome { merged: base.cloned().unwrap_or_default(), waiting: BTreeMap::new(), why: BTreeMap::new() };
    for field in COMPARED {
        if rules.policy.of(field) == FieldPolicy::Off {
            // Kept as last agreed; without a base, as the side says that would own it in a new pair. Sets start
            // empty then: switched on later they unite, where a base of one side would remove its own.
            if base.is_none()
                && !matches!(field, Field::Labels | Field::Assignees)
                && let Some(content) = said.tracker.content.or(said.forge.content)
            {
                assign(field, content, &mut outcome.merged);
            }
            continue;
        }
        match base {
            Some(base) => merge_field(field, base, said, rules, now, &mut outcome),
            None => meet_field(field, said, rules, now, &mut outcome),
        }
    }
    // The base remembers who stands in the one place of a task: once they are gone, whom they hid was not taken away.
    outcome.merged.assignees.unknown = match (said.tracker.content, base) {
        (Some(seen), _) if rules.policy.of(Field::Assignees) != FieldPolicy::Off => seen.assignees.unknown.clone(),
        (_, Some(base)) => base.assignees.unknown.clone(),
        (_, None) => Vec::new(),
    };
    if base.is_some_and(|base| base.assignees.unknown != outcome.merged.assignees.unknown) {
        let why = match outcome.merged.assignees.unknown.is_empty() {
            true => "who is not listed has the task no more",
            false => "somebody who is not listed has the task",
        };
        outcome.why.entry(Field::Assignees).or_insert_with(|| why.to_owned());
    }
    outcome
}

/// One field with a base: the ordinary case.
fn merge_field(
    field: Field,
    base: &Content,
    said: BySide<Said<'_>>,
    rules: &Rules,
    now: Timestamp,
    outcome: &mut Outcome,
) {
    let rich = BySide::from_fn(|side| {
        let mut rich = Content::default();
        match said[side].content {
            Some(seen) => put(side, field, base, seen, &rules.people, &mut rich),
            None => assign(field, base, &mut rich),
        }
        rich
    });
    let moved = BySide::from_fn(|side| !same(field, base, &rich[side]));
    let mut take = |side: Side, why: String| {
        assign(field, &rich[side], &mut outcome.merged);
        outcome.why.insert(field, why);
    };
    // What one side shows may be all that it can show of what the other says: then they agree, and the richer stands.
    // Without this a task that is completed would ask an issue closed as not planned to be closed as done, which GitHub
    // does not do (`state_reason` is ignored unless `state` changes; GitHub, update an issue).
    if matches!(field, Field::Title | Field::Status) {
        let agrees_with = |other: &Side| {
            let side = other.opposite();
            let seen = said[side].content.cloned().unwrap_or_else(|| view(side, base, &rules.people));
            moved[*other] && shows(side, field, &rich[*other], &seen, &rules.people)
        };
        if let Some(richer) = Side::BOTH.into_iter().rev().find(agrees_with) {
            let why = match moved[richer.opposite()] {
                true => "edited on both sides, to the same".to_owned(),
                false => format!("edited on {}", richer.service()),
            };
            return take(richer, why);
        }
    }
    if let Some(owner) = owner(rules.policy.of(field)) {
        if moved[owner] || moved[owner.opposite()] {
            let why = if moved[owner] {
                format!("edited on {}", owner.service())
            } else {
                format!("{} owns the {field}; the edit on {} is put back", owner.service(), owner.opposite().service())
            };
            take(owner, why);
        }
        return;
    }
    match (moved.tracker, moved.forge) {
        (false, false) => {}
        (true, false) => take(Side::Tracker, "edited on asana".to_owned()),
        (false, true) => take(Side::Forge, "edited on github".to_owned()),
        (true, true) if same(field, &rich.tracker, &rich.forge) => {
            take(Side::Forge, "edited on both sides, to the same".to_owned());
        }
        (true, true) => match field {
            Field::Labels => {
                outcome.merged.labels = merge_labels(&base.labels, &rich.tracker.labels, &rich.forge.labels);
                outcome.why.insert(field, "additions and removals of both sides".to_owned());
            }
            Field::Assignees => {
                outcome.merged.assignees =
                    merge_assignees(&base.assignees, &rich.tracker.assignees, &rich.forge.assignees);
                outcome.why.insert(field, "additions and removals of both sides".to_owned());
            }
            Field::Body => match text::merge(&base.body, &rich.tracker.body, &rich.forge.body) {
                Merged::Clean(body) => {
                    outcome.merged.body = body;
                    outcome.why.insert(field, "edits of both sides, merged".to_owned());
                }
                Merged::Conflict(overlaps) => {
                    let why = format!("both sides edited the same {} of the text", places(overlaps.len()));
                    settle(field, Some(base), &rich, said, rules, now, why, outcome);
                }
            },
            Field::Title | Field::Status | Field::Due | Field::Footer => {
                let why = format!("both sides changed the {field}");
                settle(field, Some(base), &rich, said, rules, now, why, outcome);
            }
        },
    }
}

/// One field without a base: two items that have just met.
fn meet_field(field: Field, said: BySide<Said<'_>>, rules: &Rules, now: Timestamp, outcome: &mut Outcome) {
    let (Some(tracker), Some(forge)) = (said.tracker.content, said.forge.content) else {
        // Only one side was read: nothing is known to differ.
        if let Some(content) = said.tracker.content.or(said.forge.content) {
            assign(field, content, &mut outcome.merged);
        }
        return;
    };
    let people = &rules.people;
    if field == Field::Due {
        return assign(field, tracker, &mut outcome.merged);
    }
    if shows(Side::Tracker, field, forge, tracker, people) {
        return assign(field, forge, &mut outcome.merged);
    }
    if shows(Side::Forge, field, tracker, forge, people) {
        return assign(field, tracker, &mut outcome.merged);
    }
    let seen = BySide { tracker: tracker.clone(), forge: forge.clone() };
    if let Some(owner) = owner(rules.policy.of(field)) {
        assign(field, &seen[owner], &mut outcome.merged);
        outcome.why.insert(field, format!("{} owns the {field}", owner.service()));
        return;
    }
    match field {
        Field::Labels => {
            outcome.merged.labels = merge_labels(&Default::default(), &tracker.labels, &forge.labels);
            outcome.why.insert(field, "the labels of both sides".to_owned());
        }
        Field::Assignees => {
            outcome.merged.assignees = merge_assignees(&Default::default(), &tracker.assignees, &forge.assignees);
            outcome.why.insert(field, "the people of both sides".to_owned());
        }
        Field::Body if tracker.body.is_empty() || forge.body.is_empty() => {
            let side = if tracker.body.is_empty() { Side::Forge } else { Side::Tracker };
            assign(field, &seen[side], &mut outcome.merged);
            outcome.why.insert(field, format!("only {} has a text", side.service()));
        }
        _ => {
            let why = format!("the {field} differs and it is not known what both last agreed on");
            settle(field, None, &seen, said, rules, now, why, outcome);
        }
    }
}

/// Settles a conflict as the route says; the losing value ends in the history, whole.
#[allow(clippy::too_many_arguments, reason = "one place, called twice; a struct would only rename the arguments")]
fn settle(
    field: Field,
    base: Option<&Content>,
    rich: &BySide<Content>,
    said: BySide<Said<'_>>,
    rules: &Rules,
    now: Timestamp,
    what: String,
    outcome: &mut Outcome,
) {
    let newest = match (said.tracker.edited_at, said.forge.edited_at) {
        // Overlapping words are never settled by the clock: nobody's are thrown away unasked.
        _ if field == Field::Body => None,
        (Some(tracker), Some(forge)) if tracker > forge => Some(Side::Tracker),
        (Some(tracker), Some(forge)) if forge > tracker => Some(Side::Forge),
        _ => None,
    };
    let (winner, how) = match rules.on_conflict {
        OnConflict::Tracker => (Some(Side::Tracker), "asana wins by on_conflict"),
        OnConflict::Forge => (Some(Side::Forge), "github wins by on_conflict"),
        OnConflict::Newest => (newest, "the newest edit wins"),
        OnConflict::Ask => (None, ""),
    };
    match winner {
        Some(side) => {
            if field == Field::Body
                && let Some(base) = base
            {
                // Only the overlapping lines are lost to the winner; the rest of both edits stands.
                outcome.merged.body = text::merge_taking(&base.body, &rich.tracker.body, &rich.forge.body, side);
            } else {
                assign(field, &rich[side], &mut outcome.merged);
            }
            outcome.why.insert(field, format!("{what}; {how} ({})", side.service()));
        }
        None => {
            let say = |content: &Content| match value(field, content) {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            };
            outcome.waiting.insert(
                field,
                Waiting { base: base.map(say), said: BySide::from_fn(|side| say(&rich[side])), why: what, since: now },
            );
        }
    }
}

const fn owner(policy: FieldPolicy) -> Option<Side> {
    match policy {
        FieldPolicy::Tracker => Some(Side::Tracker),
        FieldPolicy::Forge => Some(Side::Forge),
        FieldPolicy::Both | FieldPolicy::Off => None,
    }
}

fn places(count: usize) -> String {
    if count == 1 { "lines".to_owned() } else { format!("{count} places") }
}
