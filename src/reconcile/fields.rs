//! What each side can show of a field, and how an edit made there is carried into the richer form.
//!
//! The get/put pair of a lens, field by field: `view` is what a side shows of the rich content, `put`
//! brings what it shows now into the rich form. `put(view(x)) == x`, so what a side cannot hold is
//! neither drift nor lost.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::model::{Assignees, Content, Field, FieldPolicy, Fingerprint, Item, People, Policy, Side, Status};
use crate::text;

/// Longest label GitHub takes, in characters (github-api: label name <= 50).
const LABEL_CHARS_MAX: usize = 50;

/// The fields that are compared; the footer follows from them.
pub const COMPARED: [Field; 6] =
    [Field::Title, Field::Body, Field::Status, Field::Assignees, Field::Labels, Field::Due];

/// What `side` can show of `rich`.
pub fn view(side: Side, rich: &Content, people: &People) -> Content {
    Content {
        title: text::view_title(side, &rich.title),
        body: text::view(side, &rich.body, people),
        status: view_status(side, rich.status),
        assignees: view_assignees(side, &rich.assignees, people),
        labels: rich.labels.iter().map(|label| view_label(label)).collect(),
        due: match side {
            Side::Tracker => rich.due,
            Side::Forge => None,
        },
    }
}

/// Whether a side that shows `seen` shows `rich` as well as it can: no drift, nothing to write.
pub fn shows(side: Side, field: Field, rich: &Content, seen: &Content, people: &People) -> bool {
    match field {
        Field::Title => seen.title == rich.title || seen.title == text::view_title(side, &rich.title),
        Field::Body => seen.body == rich.body || seen.body == text::view(side, &rich.body, people),
        Field::Status => seen.status == view_status(side, rich.status),
        // Somebody unmapped stands there: who that is, is not known, so it is not drift.
        Field::Assignees if side == Side::Tracker && !seen.assignees.unknown.is_empty() => true,
        Field::Assignees => {
            let wanted = view_assignees(side, &rich.assignees, people);
            let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
            sorted(&wanted.known) == sorted(&seen.assignees.known)
        }
        Field::Labels => folded(&seen.labels) == folded(&rich.labels),
        Field::Due => side == Side::Forge || seen.due == rich.due,
        Field::Footer => true,
    }
}

/// Carries what `side` shows now into the rich form of `base`, for one field of `into`.
pub fn put(side: Side, field: Field, base: &Content, seen: &Content, people: &People, into: &mut Content) {
    if shows(side, field, base, seen, people) {
        return assign(field, base, into);
    }
    match field {
        Field::Title => into.title = text::put_title(side, &base.title, &seen.title),
        Field::Body => into.body = text::put(side, &base.body, &seen.body, people),
        Field::Status => into.status = seen.status,
        Field::Assignees => into.assignees = put_assignees(side, &base.assignees, &seen.assignees, people),
        Field::Labels => into.labels = put_labels(&base.labels, &seen.labels),
        Field::Due => into.due = if side == Side::Tracker { seen.due } else { base.due },
        Field::Footer => {}
    }
}

/// What to write to `side` so that it shows `rich`, given that it shows `seen`: nobody unknown is removed.
pub fn desired_assignees(side: Side, rich: &Content, seen: &Content, people: &People) -> Assignees {
    let mut wanted = view_assignees(side, &rich.assignees, people);
    if side == Side::Forge {
        wanted.unknown.clone_from(&seen.assignees.unknown);
    }
    wanted
}

/// The field's value for the history and for people.
pub fn value(field: Field, content: &Content) -> Value {
    match field {
        Field::Title => json!(content.title),
        Field::Body => json!(content.body),
        Field::Status => json!(content.status),
        Field::Assignees => json!(content.assignees),
        Field::Labels => json!(content.labels),
        Field::Due => json!(content.due),
        Field::Footer => Value::Null,
    }
}

/// Copies one field.
pub fn assign(field: Field, from: &Content, into: &mut Content) {
    match field {
        Field::Title => into.title.clone_from(&from.title),
        Field::Body => into.body.clone_from(&from.body),
        Field::Status => into.status = from.status,
        Field::Assignees => into.assignees.clone_from(&from.assignees),
        Field::Labels => into.labels.clone_from(&from.labels),
        Field::Due => into.due = from.due,
        Field::Footer => {}
    }
}

/// Whether two rich contents hold the same value of a field.
pub fn same(field: Field, one: &Content, other: &Content) -> bool {
    match field {
        Field::Title => one.title == other.title,
        Field::Body => one.body == other.body,
        Field::Status => one.status == other.status,
        Field::Assignees => one.assignees.known == other.assignees.known,
        Field::Labels => folded(&one.labels) == folded(&other.labels),
        Field::Due => one.due == other.due,
        Field::Footer => true,
    }
}

/// The version of what goes into [`fingerprint`]: raised when the canonical form changes, so that
/// every pair is then compared once in full instead of being taken for moved.
const FINGERPRINT_VERSION: u32 = 1;

/// A digest of everything of an item that the policy makes us look at.
pub fn fingerprint(item: &Item, policy: &Policy) -> Fingerprint {
    let Content { title, body, status, assignees, labels, due } = &item.content;
    let on = |field| policy.of(field) != FieldPolicy::Off;
    Fingerprint::of(&(
        FINGERPRINT_VERSION,
        on(Field::Title).then_some(title),
        on(Field::Body).then_some(body),
        on(Field::Status).then_some(status),
        on(Field::Assignees).then_some(assignees),
        on(Field::Labels).then_some(labels),
        on(Field::Due).then_some(due),
        &item.footer,
        item.place,
    ))
}

/// The tracker knows no "dropped": there it shows as done.
const fn view_status(side: Side, status: Status) -> Status {
    match (side, status) {
        (Side::Tracker, Status::Dropped) => Status::Done,
        (_, status) => status,
    }
}

/// The tracker shows one person, the first it has an account for, unless somebody unknown has the place; the forge all
/// that it has accounts for.
fn view_assignees(side: Side, rich: &Assignees, people: &People) -> Assignees {
    let mut known = rich.known.iter().filter(|name| people.account(side, name).is_some());
    Assignees {
        known: match side {
            Side::Tracker if !rich.unknown.is_empty() => Vec::new(),
            Side::Tracker => known.next().cloned().into_iter().collect(),
            Side::Forge => known.cloned().collect(),
        },
        unknown: Vec::new(),
    }
}

fn put_assignees(side: Side, base: &Assignees, seen: &Assignees, people: &People) -> Assignees {
    let shown = view_assignees(side, base, people);
    // Beside somebody unmapped, a missing name proves nothing: only additions count.
    let removals_count = seen.unknown.is_empty();
    let mut known: Vec<String> = base
        .known
        .iter()
        .filter(|name| !removals_count || seen.known.contains(name) || !shown.known.contains(name))
        .cloned()
        .collect();
    let mut added = seen.known.iter().filter(|name| !base.known.contains(name)).cloned();
    match side {
        // The tracker's one person becomes the first.
        Side::Tracker => {
            if let Some(first) = seen.known.first() {
                known.retain(|name| name != first);
                known.insert(0, first.clone());
            }
        }
        Side::Forge => known.extend(&mut added),
    }
    Assignees { known, unknown: Vec::new() }
}

/// A label as both sides can show it.
fn view_label(label: &str) -> String {
    label.chars().take(LABEL_CHARS_MAX).collect()
}

/// Labels compare without case (GitHub's rule) and by what both sides can show.
pub fn folded(labels: &BTreeSet<String>) -> BTreeSet<String> {
    labels.iter().map(|label| fold(label)).collect()
}

/// A label as it is compared: as both services can show it, without case.
pub fn fold(label: &str) -> String {
    view_label(label).to_lowercase()
}

/// The labels seen, in the base's spelling where the base has them.
fn put_labels(base: &BTreeSet<String>, seen: &BTreeSet<String>) -> BTreeSet<String> {
    seen.iter().map(|label| base.iter().find(|known| fold(known) == fold(label)).unwrap_or(label).clone()).collect()
}

/// Three-way merge of sets: additions and removals of both sides commute.
pub fn merge_labels(base: &BTreeSet<String>, one: &BTreeSet<String>, other: &BTreeSet<String>) -> BTreeSet<String> {
    let (base_keys, one_keys, other_keys) = (folded(base), folded(one), folded(other));
    let mut merged = BTreeSet::new();
    let mut keys = BTreeSet::new();
    for label in base.iter().chain(one).chain(other) {
        let key = fold(label);
        let stays = if base_keys.contains(&key) {
            one_keys.contains(&key) && other_keys.contains(&key)
        } else {
            one_keys.contains(&key) || other_keys.contains(&key)
        };
        if stays && keys.insert(key) {
            merged.insert(label.clone());
        }
    }
    merged
}

/// Three-way merge of people: as [`merge_labels`], in the order of the base, additions after.
pub fn merge_assignees(base: &Assignees, one: &Assignees, other: &Assignees) -> Assignees {
    // The order says who is first; it follows the side that changed the first one.
    let lead = if one.known.first() == base.known.first() { [other, one] } else { [one, other] };
    let mut known: Vec<String> = Vec::new();
    for name in lead[0].known.iter().chain(&lead[1].known) {
        let stays =
            if base.known.contains(name) { one.known.contains(name) && other.known.contains(name) } else { true };
        if stays && !known.contains(name) {
            known.push(name.clone());
        }
    }
    Assignees { known, unknown: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BySide, Person};

    fn set(labels: &[&str]) -> BTreeSet<String> {
        labels.iter().map(ToString::to_string).collect()
    }

    fn people() -> People {
        let person = |name: &str, tracker: Option<&str>, forge: Option<&str>| Person {
            name: name.into(),
            account: BySide { tracker: tracker.map(Into::into), forge: forge.map(Into::into) },
            mention: false,
        };
        People::new(vec![
            person("ann", Some("1"), Some("ann-gh")),
            person("bob", Some("2"), Some("bob-gh")),
            person("cleo", None, Some("cleo-gh")),
        ])
    }

    fn assigned(known: &[&str], unknown: &[&str]) -> Content {
        Content {
            assignees: Assignees {
                known: known.iter().map(ToString::to_string).collect(),
                unknown: unknown.iter().map(ToString::to_string).collect(),
            },
            ..Content::default()
        }
    }

    fn put_known(side: Side, base: &Content, seen: &Content) -> Vec<String> {
        let mut into = Content::default();
        put(side, Field::Assignees, base, seen, &people(), &mut into);
        into.assignees.known
    }

    #[test]
    fn set_merges_commute_and_lose_no_addition() {
        let base = set(&["a", "b"]);
        let merged = merge_labels(&base, &set(&["A", "c"]), &set(&["a", "b", "d"]));
        assert_eq!(merged, set(&["a", "c", "d"]));
        assert_eq!(merged, merge_labels(&base, &set(&["a", "b", "d"]), &set(&["A", "c"])));
    }

    #[test]
    fn an_unmapped_person_is_unknown_and_removes_nobody() {
        assert_eq!(put_known(Side::Tracker, &assigned(&["ann"], &[]), &assigned(&[], &["99"])), ["ann"]);
        assert_eq!(
            put_known(Side::Forge, &assigned(&["ann"], &[]), &assigned(&["bob"], &["stranger"])),
            ["ann", "bob"]
        );
        assert_eq!(put_known(Side::Forge, &assigned(&["ann"], &[]), &assigned(&[], &[])), [""; 0]);
    }

    #[test]
    fn whom_a_stranger_hid_on_the_task_was_not_taken_away_when_the_stranger_goes() {
        let base = assigned(&["ann"], &["99"]);
        assert!(shows(Side::Tracker, Field::Assignees, &base, &assigned(&[], &[]), &people()), "ann comes back");
        assert_eq!(put_known(Side::Tracker, &base, &assigned(&["bob"], &[])), ["bob", "ann"]);
        assert_eq!(put_known(Side::Tracker, &base, &assigned(&["ann"], &[])), ["ann"]);
    }

    #[test]
    fn the_one_assignee_of_a_task_stands_for_all_of_the_issue() {
        let base = assigned(&["ann", "bob", "cleo"], &[]);
        assert!(shows(Side::Tracker, Field::Assignees, &base, &assigned(&["ann"], &[]), &people()));
        assert_eq!(put_known(Side::Tracker, &base, &assigned(&["bob"], &[])), ["bob", "cleo"]);
    }

    #[test]
    fn dropped_shows_as_done_on_the_tracker_and_stays_dropped() {
        let base = Content { status: Status::Dropped, ..Content::default() };
        let seen = Content { status: Status::Done, ..Content::default() };
        let mut into = Content::default();
        put(Side::Tracker, Field::Status, &base, &seen, &People::default(), &mut into);
        assert_eq!(into.status, Status::Dropped);
    }
}
