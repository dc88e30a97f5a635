//! What a pass left on each item, read back from the history. Pure.
//!
//! A write stands in the history before it is made; `failed` after it says that it had no effect (or which of its fields
//! had none), `unanswered` and `incomplete` that it perhaps had one, which the item itself then shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::values::same;
use crate::model::{BySide, Field, FieldChange, ItemKey, LinkId, PassId, Rules, Side};
use crate::reconcile::COMPARED;
use crate::store::Entry;

/// The kinds of entries that stand for a write to an item.
const WRITES: [&str; 3] = ["update", "retire", "undo"];

/// What one pass wrote to one item: for each field what stood there before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trace {
    /// The item.
    pub(super) item: ItemKey,
    /// Before the first write and after the last, whole, by field.
    pub(super) fields: BTreeMap<Field, (Value, Value)>,
    /// Why the first of them was made.
    pub(super) cause: String,
}

/// What one pass did to one pair, or to one item that has no link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    /// The link under which it was done.
    pub(super) link: Option<LinkId>,
    /// The items concerned, as far as the history names them.
    pub(super) items: BySide<Option<ItemKey>>,
    /// What was written.
    pub(super) traces: BySide<Option<Trace>>,
    /// The side on which the pass made a new item.
    pub(super) made: Option<Side>,
    /// Whether the pass made a pair of two items that existed.
    pub(super) joined: bool,
    /// Whether the pass let go of the pair.
    pub(super) parted: bool,
    /// The side whose item was closed because its partner was deleted.
    pub(super) retired: Option<Side>,
}

/// How an entry of kind `undo` names what it undoes; read back by [`undone_pass`].
pub(super) fn undoing(pass: PassId) -> String {
    format!("undoes pass {pass}")
}

/// The pass that an entry undoes.
pub(super) fn undone_pass(entry: &Entry) -> Option<PassId> {
    if entry.entry.kind != "undo" {
        return None;
    }
    entry.entry.cause.strip_prefix("undoes pass ")?.parse().ok().map(PassId)
}

/// Leaves out every write that the entry after it says had no effect, or of which some fields had none.
/// In and out: oldest first.
pub(in crate::engine) fn effective(entries: Vec<Entry>) -> Vec<Entry> {
    let mut kept: Vec<Option<Entry>> = Vec::with_capacity(entries.len());
    let mut last: BTreeMap<(PassId, ItemKey), usize> = BTreeMap::new();
    for entry in entries {
        let key = (entry.entry.pass, entry.entry.item.clone());
        match entry.entry.kind.as_str() {
            "failed" => {
                if let Some(at) = last.remove(&key) {
                    kept[at] = kept[at].take().and_then(|write| without(write, &entry.entry.changes));
                }
            }
            kind if WRITES.contains(&kind) => {
                last.insert(key, kept.len());
                kept.push(Some(entry));
            }
            _ => kept.push(Some(entry)),
        }
    }
    kept.into_iter().flatten().collect()
}

/// A write without the fields that had no effect; without any named, none had.
fn without(mut write: Entry, failed: &[FieldChange]) -> Option<Entry> {
    write.entry.changes.retain(|change| failed.iter().all(|failed| failed.field != change.field));
    (!failed.is_empty() && !write.entry.changes.is_empty()).then_some(write)
}

/// The fields that had another value since `pass` did what `group` tells, though they may show the same again, and the
/// latest pass that wrote them. Entries: of the group's items, effective, oldest first.
pub(super) fn turned_since(entries: &[Entry], pass: PassId, group: &Group, rules: &Rules) -> BTreeMap<Field, PassId> {
    let after = entries.iter().rposition(|entry| entry.entry.pass == pass).map_or(entries.len(), |last| last + 1);
    let ours = |entry: &&Entry| {
        WRITES.contains(&entry.entry.kind.as_str()) && (group.link.is_none() || entry.entry.link == group.link)
    };
    let since: Vec<&Entry> = entries[after..].iter().filter(ours).collect();
    // What was undone of a pass does not count, unless that was undone too: the latest is known first.
    let mut undone: BTreeSet<(PassId, Field)> = BTreeSet::new();
    for entry in since.iter().rev() {
        let Some(target) = undone_pass(entry) else { continue };
        for change in &entry.entry.changes {
            if !undone.contains(&(entry.entry.pass, change.field)) {
                undone.insert((target, change.field));
            }
        }
    }
    let mut latest = BTreeMap::new();
    let mut turned = BTreeSet::new();
    let mut put_back: BTreeMap<Field, (Side, &Value)> = BTreeMap::new();
    for entry in since {
        let new = &entry.entry;
        let undoes = undone_pass(entry).is_some_and(|target| target >= pass);
        let compared = |change: &&FieldChange| COMPARED.contains(&change.field);
        for change in new.changes.iter().filter(compared) {
            if undone.contains(&(new.pass, change.field)) {
                continue;
            }
            let after = (new.item.side(), &change.after);
            if undoes {
                put_back.insert(change.field, after);
                continue;
            }
            // The next pass carries what was put back to the other half.
            if put_back.get(&change.field).is_some_and(|put_back| same(change.field, *put_back, after, rules)) {
                continue;
            }
            latest.insert(change.field, new.pass);
            let traces = group.traces.iter().filter_map(|(side, trace)| Some((side, trace.as_ref()?)));
            let mut wrote = traces.filter_map(|(side, trace)| Some((side, &trace.fields.get(&change.field)?.1)));
            if wrote.any(|wrote| !same(change.field, wrote, after, rules)) {
                turned.insert(change.field);
            }
        }
    }
    latest.retain(|field, _| turned.contains(field));
    latest
}

/// Gathers what one pass did, pair by pair, newest pair first. Entries: of that pass, oldest first.
///
/// With `only`, the traces of that item alone, unless the pass made the item or the pair.
pub(super) fn groups(entries: &[Entry], only: Option<&ItemKey>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut places: BTreeMap<(Option<LinkId>, Option<ItemKey>), usize> = BTreeMap::new();
    for Entry { entry, .. } in entries {
        let writes = WRITES.contains(&entry.kind.as_str());
        if !writes && !["create", "link", "unlink"].contains(&entry.kind.as_str()) {
            continue;
        }
        let place = (entry.link, entry.link.is_none().then(|| entry.item.clone()));
        let at = *places.entry(place).or_insert_with(|| {
            groups.push(Group {
                link: entry.link,
                items: BySide::default(),
                traces: BySide::default(),
                made: None,
                joined: false,
                parted: false,
                retired: None,
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        let side = entry.item.side();
        group.items[side] = Some(entry.item.clone());
        if let Some(partner) = &entry.partner
            && partner.side() != side
        {
            group.items[partner.side()] = Some(partner.clone());
        }
        match entry.kind.as_str() {
            "create" => group.made = Some(side),
            "link" => group.joined = true,
            "unlink" => group.parted = true,
            "retire" => group.retired = Some(side),
            _ => {}
        }
        if entry.kind == "link" || entry.kind == "unlink" {
            continue;
        }
        let trace = group.traces[side].get_or_insert_with(|| Trace {
            item: entry.item.clone(),
            fields: BTreeMap::new(),
            cause: entry.cause.clone(),
        });
        for change in &entry.changes {
            let known = trace.fields.get(&change.field);
            // Where somebody edited between two writes of the pass, only the last one can be taken back.
            let before = match known {
                Some((before, after)) if *after == change.before => before.clone(),
                _ => change.before.clone(),
            };
            trace.fields.insert(change.field, (before, change.after.clone()));
        }
    }
    if let Some(only) = only {
        for group in &mut groups {
            if group.made.is_none() && !group.joined {
                for side in Side::BOTH {
                    if group.traces[side].as_ref().is_some_and(|trace| trace.item != *only) {
                        group.traces[side] = None;
                    }
                }
            }
        }
        groups.retain(|group| {
            let touched = group.traces.iter().any(|(_, trace)| trace.is_some());
            let names = group.items.iter().any(|(_, item)| item.as_ref() == Some(only));
            names && (touched || group.joined || group.parted)
        });
    }
    groups.reverse();
    groups
}

/// The latest pass that wrote `item` (or made it, or made its pair) and was not undone since.
/// Entries: of that item and its partners, oldest first.
pub(super) fn latest_pass(entries: &[Entry], item: &ItemKey) -> Option<PassId> {
    let undone: Vec<PassId> =
        entries.iter().filter(|entry| entry.entry.item == *item).filter_map(undone_pass).collect();
    entries
        .iter()
        .rev()
        .filter(|entry| match entry.entry.kind.as_str() {
            "create" | "link" => true,
            "update" | "retire" => entry.entry.item == *item,
            _ => false,
        })
        .map(|entry| entry.entry.pass)
        .find(|pass| !undone.contains(pass))
}
