//! Decides what can be put back: only what nobody changed since, and only what will stay put back. Pure.
//!
//! | what stands in the way | what becomes of the field |
//! | --- | --- |
//! | the item no longer shows what the pass wrote, or a later pass wrote something else in between | left, with what it shows now |
//! | the partner was edited since, and no pass has seen it | left: the next pass would take the older value for the newer edit |
//! | the item left the project | left |
//! | the next pass would write the same again (the other side owns it, or its edit wins) | left, with that reason |
//! | the partner cannot be read, or is gone | left |
//!
//! The base is not turned back. What both last agreed on is what the pass wrote, so a value put back is a
//! fresh edit against it, and the next pass carries it to the other side like any other edit. With the
//! older base, the edit that caused the pass would count again and the pass would be repeated.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::trace::{Group, Trace};
use super::values::{set, still};
use crate::model::{
    BySide, Change, Content, Field, FieldChange, FieldPolicy, Item, ItemKey, Link, LinkId, LinkStatus, PassId, Place,
    Rules, Side, Status, Timestamp,
};
use crate::reconcile::{Action, COMPARED, PairPlan, PairSeen, Sight, Write, plan_pair, value};

/// What is said of an item that somebody moved elsewhere.
const LEFT_THE_PROJECT: &str = "it left the project; nothing is written to it any more";

/// Something that is not put back, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The item.
    pub item: ItemKey,
    /// The field, when it is about one.
    pub field: Option<Field>,
    /// Why, and what can be done.
    pub why: String,
    /// Whether it is as it was before already, so that nothing is missing.
    pub already: bool,
}

/// What is put back on one pair, or on one item without a link.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Undo {
    /// The link as it is now.
    pub link: Option<LinkId>,
    /// The items concerned.
    pub items: BySide<Option<ItemKey>>,
    /// The title, for a person to recognise it by.
    pub title: String,
    /// At most one write for each side.
    pub writes: BySide<Option<Write>>,
    /// The pair is let go of, with a tombstone.
    pub unlink: bool,
    /// The pair was retired and is kept in step again.
    pub wake: bool,
    /// What the next pass will write because of it.
    pub then: BySide<Option<Write>>,
    /// Fields that will wait for a person.
    pub waits: Vec<Field>,
    /// Numbers of parked items of the pair: no pass looks at it until they are tried again.
    pub parked: Vec<i64>,
    /// What is not put back.
    pub left: Vec<Left>,
    /// What it was made from, to make it again just before writing.
    #[serde(skip)]
    pub(super) group: Option<Group>,
    /// What each item showed: its content and its footer.
    #[serde(skip)]
    pub(super) seen: BySide<Option<(Content, Option<String>)>>,
    /// An item that could not be read, and why.
    #[serde(skip)]
    pub(super) unread: Option<(ItemKey, String)>,
}

impl Undo {
    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.writes.tracker.is_none() && self.writes.forge.is_none() && !self.unlink && !self.wake
    }

    /// Whether both would have the same effect.
    pub(super) fn same(&self, other: &Self) -> bool {
        self.link == other.link
            && self.writes == other.writes
            && self.unlink == other.unlink
            && self.wake == other.wake
            && self.then == other.then
            && self.waits == other.waits
    }

    /// An item by which a person knows it.
    pub(super) fn item(&self) -> Option<ItemKey> {
        self.items.iter().find_map(|(_, item)| item.clone())
    }

    fn leave(&mut self, item: &ItemKey, field: Option<Field>, why: String) {
        self.left.push(Left { item: item.clone(), field, why, already: false });
    }

    fn already(&mut self, item: &ItemKey, field: Option<Field>, why: &str) {
        self.left.push(Left { item: item.clone(), field, why: why.to_owned(), already: true });
    }
}

/// Everything the decision about one pair needs.
pub(super) struct Before<'a> {
    pub(super) group: &'a Group,
    /// The link as it is now, if both items are still a pair.
    pub(super) link: Option<&'a Link>,
    /// Whom the items have for a partner now, if they are no pair any more.
    pub(super) elsewhere: &'a BySide<Option<ItemKey>>,
    /// Fields that had another value in between, and the last pass that wrote them.
    pub(super) turned: &'a BTreeMap<Field, PassId>,
    /// What each side shows; `None` where no item is known.
    pub(super) sight: &'a BySide<Option<Sight>>,
    pub(super) rules: &'a Rules,
    pub(super) now: Timestamp,
    /// Names the pass undone: "pass 12".
    pub(super) pass: &'a str,
}

/// A field that can be put back on one side.
struct Candidate {
    side: Side,
    field: Field,
    before: Value,
    now: Value,
    why: String,
}

/// Decides about one pair, or about one item without a link.
pub(super) fn decide(before: &Before<'_>) -> Undo {
    let Before { group, link, elsewhere, sight, rules, now, pass, .. } = before;
    let mut undo = Undo {
        link: link.map(|link| link.id),
        items: group.items.clone(),
        title: title(link.as_ref().copied(), sight),
        writes: BySide::default(),
        unlink: false,
        wake: false,
        then: BySide::default(),
        waits: Vec::new(),
        parked: Vec::new(),
        left: Vec::new(),
        group: Some((*group).clone()),
        seen: BySide::default(),
        unread: None,
    };
    // What is written to it would be carried over to a partner that the pass had nothing to do with.
    let kept: Vec<(Side, &ItemKey)> = elsewhere
        .iter()
        .filter(|(side, _)| group.traces[*side].is_some())
        .filter_map(|(side, partner)| Some((side, partner.as_ref()?)))
        .collect();
    for (side, partner) in &kept {
        if let Some(item) = &group.items[*side] {
            undo.leave(item, None, format!("it is linked with {partner} now"));
        }
    }
    if !kept.is_empty() {
        return undo;
    }
    let mut candidates: Vec<Candidate> = Vec::new();
    if let Some(side) = group.made
        && !unmake(before, side, &mut candidates, &mut undo)
    {
        return undo;
    }
    for side in Side::BOTH {
        if group.made != Some(side)
            && let Some(trace) = &group.traces[side]
        {
            gather(trace, before, &mut candidates, &mut undo);
        }
    }
    if group.joined || group.made.is_some() {
        undo.unlink = link.is_some();
        if link.is_none()
            && group.joined
            && let Some(item) = group.items.iter().find_map(|(_, item)| item.clone())
        {
            undo.already(&item, None, "the pair was let go of already");
        }
    }
    if let (true, None, BySide { tracker: Some(task), forge: Some(issue) }) = (group.parted, link, &group.items) {
        let why = format!("{pass} let go of the pair; `evenkeel links add {task} {issue}` makes it again");
        undo.leave(task, None, why);
    }
    if let (Some(side), Some(link)) = (group.retired, link) {
        let both = sight.iter().all(|(_, seen)| matches!(seen, Some(Sight::Shown(item)) if item.place == Place::Here));
        undo.wake = link.status == LinkStatus::Retired && both;
        if link.status == LinkStatus::Retired && !both && candidates.is_empty() && undo.left.is_empty() {
            let why = "it was closed already when its partner was deleted; nothing was written to it";
            undo.already(&link.key(side), None, why);
        }
    }
    // A pair that is let go of is looked at by no pass; one that stays must not be turned round again.
    if let Some(link) = link
        && !undo.unlink
    {
        drop_overtaken(link, sight, rules, &mut candidates, &mut undo);
        stands(link, sight, rules, *now, &mut candidates, &mut undo);
    }
    undo.writes = BySide::from_fn(|side| write(side, &candidates, sight));
    undo
}

fn title(link: Option<&Link>, sight: &BySide<Option<Sight>>) -> String {
    let shown = sight.iter().find_map(|(_, seen)| match seen {
        Some(Sight::Shown(item)) => Some(item.content.title.clone()),
        _ => None,
    });
    shown.or_else(|| Some(link?.base.as_ref()?.title.clone())).unwrap_or_default()
}

/// An item that the pass made is closed, never erased; not when somebody has worked on it since.
fn unmake(before: &Before<'_>, side: Side, candidates: &mut Vec<Candidate>, undo: &mut Undo) -> bool {
    let Before { group, link, sight, rules, pass, .. } = before;
    let Some(trace) = &group.traces[side] else { return false };
    match &sight[side] {
        Some(Sight::Shown(item)) if item.place == Place::Left => {
            undo.leave(&item.key, None, LEFT_THE_PROJECT.to_owned());
            false
        }
        Some(Sight::Shown(item)) => {
            for field in COMPARED {
                // A creation records what it set; what it did not set was empty.
                let after = trace.fields.get(&field).map_or(&Value::Null, |(_, after)| after);
                if matches!(field, Field::Due) || rules.policy.of(field) == FieldPolicy::Off {
                    continue;
                }
                if !still(side, field, after, &item.content, rules) {
                    let shown = brief(&value(field, &item.content));
                    let why = format!(
                        "somebody changed the {field} since it was made (now {shown}); close it by hand, or let go of the \
                         pair with `evenkeel links remove {}`",
                        item.key
                    );
                    // A closed item is as closed as undoing would make it.
                    if field == Field::Status && item.content.status != Status::Open {
                        continue;
                    }
                    undo.leave(&item.key, Some(field), why);
                    return false;
                }
            }
            if item.content.status == Status::Open {
                let closed = match side {
                    Side::Tracker => Status::Done,
                    Side::Forge => Status::Dropped,
                };
                candidates.push(Candidate {
                    side,
                    field: Field::Status,
                    before: json!(closed),
                    now: json!(Status::Open),
                    why: format!("{pass} made it; it is closed, not erased"),
                });
            } else if link.is_none() {
                undo.already(&item.key, None, "it is closed and has no partner already");
            }
            true
        }
        Some(Sight::Absent) => {
            undo.already(&trace.item, None, "it is gone already");
            true
        }
        Some(Sight::Moved(to)) => {
            undo.leave(&trace.item, None, format!("it was moved to {to} since; close it there by hand"));
            false
        }
        Some(Sight::Unseen(why)) => {
            undo.leave(&trace.item, None, format!("it could not be read: {why}"));
            false
        }
        Some(Sight::Unmoved) | None => false,
    }
}

/// The fields of one item that still show what the pass wrote.
fn gather(trace: &Trace, before: &Before<'_>, candidates: &mut Vec<Candidate>, undo: &mut Undo) {
    let Before { sight, rules, pass, turned, .. } = before;
    let side = trace.item.side();
    let item = match &sight[side] {
        Some(Sight::Shown(item)) if item.place == Place::Left => {
            return undo.leave(&trace.item, None, LEFT_THE_PROJECT.to_owned());
        }
        Some(Sight::Shown(item)) => item,
        Some(Sight::Absent) => return undo.leave(&trace.item, None, "it was deleted since".to_owned()),
        Some(Sight::Moved(to)) => return undo.leave(&trace.item, None, format!("it was moved to {to} since")),
        Some(Sight::Unseen(why)) => {
            return undo.leave(&trace.item, None, format!("it could not be read: {why}"));
        }
        Some(Sight::Unmoved) | None => return,
    };
    for (field, (before, after)) in &trace.fields {
        // The footer is ours and follows the pair; a due date is never written.
        if matches!(field, Field::Footer | Field::Due) {
            continue;
        }
        let shown = value(*field, &item.content);
        if set(*field, before, &mut Content::default()).is_none() {
            undo.leave(&trace.item, Some(*field), "the history's value of it cannot be read".to_owned());
        } else if still(side, *field, after, &item.content, rules) {
            if let Some(later) = turned.get(field) {
                let why = format!("it had another value in between; pass {later} wrote it last: undo that one");
                undo.leave(&trace.item, Some(*field), why);
                continue;
            }
            candidates.push(Candidate {
                side,
                field: *field,
                before: before.clone(),
                now: shown,
                why: format!("as before {pass} ({})", trace.cause),
            });
        } else if still(side, *field, before, &item.content, rules) {
            undo.already(&trace.item, Some(*field), "it is as it was before");
        } else {
            let why = format!("somebody changed it since; it is now {}", brief(&shown));
            undo.leave(&trace.item, Some(*field), why);
        }
    }
}

/// Drops what would be put back over an edit of the other half that no pass has seen yet: the value put back would be the
/// newer edit of the two. Of sets both edits stand.
fn drop_overtaken(
    link: &Link,
    sight: &BySide<Option<Sight>>,
    rules: &Rules,
    candidates: &mut Vec<Candidate>,
    undo: &mut Undo,
) {
    let Some(base) = &link.base else { return };
    candidates.retain(|candidate| {
        let Candidate { side, field, .. } = candidate;
        let other = side.opposite();
        let Some(Sight::Shown(partner)) = &sight[other] else { return true };
        let shows = |recorded: &Value| still(other, *field, recorded, &partner.content, rules);
        if matches!(field, Field::Labels | Field::Assignees)
            || rules.policy.of(*field) == FieldPolicy::Off
            || shows(&value(*field, base))
            || shows(&candidate.before)
        {
            return true;
        }
        if let Some(item) = &undo.items[*side] {
            let shown = brief(&value(*field, &partner.content));
            let why = format!("{} was edited since, and no pass has seen it (now {shown}); run one first", partner.key);
            undo.left.push(Left { item: item.clone(), field: Some(*field), why, already: false });
        }
        false
    });
}

/// Drops what the next pass would write again, and says what it will do with the rest.
fn stands(
    link: &Link,
    sight: &BySide<Option<Sight>>,
    rules: &Rules,
    now: Timestamp,
    candidates: &mut Vec<Candidate>,
    undo: &mut Undo,
) {
    // Each round drops at least one candidate.
    while !candidates.is_empty() {
        let shown = BySide::from_fn(|side| match &sight[side] {
            Some(Sight::Shown(item)) => Sight::Shown(Box::new(put_back(item, side, candidates, now))),
            Some(other) => other.clone(),
            None => Sight::Unseen("it is not known".to_owned()),
        });
        let mut link = link.clone();
        if undo.wake {
            link.status = LinkStatus::Active;
        }
        let why = match plan_pair(&PairSeen { link, sight: shown }, rules, now) {
            PairPlan::Settled { .. } => return,
            PairPlan::Repair(repair) => match repair.action {
                Action::Update { writes, waiting, .. } | Action::Join { writes, waiting, .. } => {
                    let again = written_again(candidates, &writes);
                    if again.is_empty() {
                        undo.waits = waiting.into_keys().collect();
                        undo.then = writes;
                        return;
                    }
                    drop_again(candidates, &writes, &again, undo);
                    continue;
                }
                Action::Note { waiting, .. } => {
                    undo.waits = waiting.into_keys().collect();
                    return;
                }
                Action::Retire { .. } | Action::Create { .. } => {
                    format!("{}; the next pass closes its partner, so run a pass first", repair.cause)
                }
            },
            PairPlan::Ask(question) => question.what,
            PairPlan::Skip(skip) => skip.why,
        };
        let items: BTreeSet<ItemKey> =
            candidates.iter().filter_map(|candidate| undo.items[candidate.side].clone()).collect();
        for item in items {
            undo.leave(&item, None, why.clone());
        }
        candidates.clear();
    }
}

/// The fields put back that the next pass would overwrite on the same side.
fn written_again(candidates: &[Candidate], writes: &BySide<Option<Write>>) -> BTreeSet<Field> {
    candidates
        .iter()
        .filter(|candidate| {
            let write = writes[candidate.side].as_ref();
            write.is_some_and(|write| write.fields.iter().any(|change| change.field == candidate.field))
        })
        .map(|candidate| candidate.field)
        .collect()
}

fn drop_again(
    candidates: &mut Vec<Candidate>,
    writes: &BySide<Option<Write>>,
    again: &BTreeSet<Field>,
    undo: &mut Undo,
) {
    for field in again {
        let sides: Vec<Side> =
            candidates.iter().filter(|candidate| candidate.field == *field).map(|candidate| candidate.side).collect();
        let reason = writes
            .iter()
            .filter_map(|(_, write)| write.as_ref())
            .flat_map(|write| &write.fields)
            .find(|change| change.field == *field)
            .map_or("", |change| change.why.as_str());
        for side in &sides {
            let Some(item) = undo.items[*side].clone() else { continue };
            let why = if sides.len() > 1 {
                format!(
                    "the pass brought edits of both sides together; putting both back would lose both: undo one of \
                     them (`evenkeel undo {item}`) and the other follows it"
                )
            } else {
                format!("the next pass would write it again ({reason}); change it on the other side")
            };
            undo.leave(&item, Some(*field), why);
        }
    }
    candidates.retain(|candidate| !again.contains(&candidate.field));
}

/// The item as it would be read after the candidates were written.
fn put_back(item: &Item, side: Side, candidates: &[Candidate], now: Timestamp) -> Item {
    let mut item = item.clone();
    for candidate in candidates.iter().filter(|candidate| candidate.side == side) {
        // Candidates were read once already.
        let _ = set(candidate.field, &candidate.before, &mut item.content);
        item.updated_at = now;
    }
    item
}

/// The one update of one side.
fn write(side: Side, candidates: &[Candidate], sight: &BySide<Option<Sight>>) -> Option<Write> {
    let Some(Sight::Shown(item)) = &sight[side] else { return None };
    let mut change = Change::default();
    let mut fields = Vec::new();
    for Candidate { field, before, now, why, .. } in candidates.iter().filter(|candidate| candidate.side == side) {
        let mut content = Content::default();
        if set(*field, before, &mut content).is_none() {
            continue;
        }
        match field {
            Field::Title => change.title = Some(content.title),
            // The footer stays as it is now: it belongs to the pair, not to the pass.
            Field::Body => change.text = Some((content.body, item.footer.clone())),
            Field::Status => change.status = Some(content.status),
            Field::Assignees => change.assignees = Some(content.assignees),
            Field::Labels => change.labels = Some(content.labels),
            Field::Due | Field::Footer => continue,
        }
        fields.push(FieldChange { field: *field, before: now.clone(), after: before.clone(), why: why.clone() });
    }
    fields.sort_by_key(|change| change.field);
    (!change.is_empty()).then(|| Write { item: item.key.clone(), change, fields })
}

/// A value in a few words, for a message.
fn brief(shown: &Value) -> String {
    let text = match shown {
        Value::String(text) => text.clone(),
        Value::Array(list) if list.is_empty() => "empty".to_owned(),
        other => other.to_string(),
    };
    let line = text.lines().next().unwrap_or_default();
    let cut: String = line.chars().take(40).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}
