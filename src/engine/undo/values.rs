//! Values of the history, read back and compared with what items show. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{Assignees, Content, Field, FieldChange, Rules, Side};
use crate::reconcile::{shows, value, view};

/// Whether the item shows a value of the history, nobody having changed it since.
pub(super) fn still(side: Side, field: Field, recorded: &Value, shown: &Content, rules: &Rules) -> bool {
    let mut content = shown.clone();
    if set(field, recorded, &mut content).is_none() {
        return false;
    }
    if field == Field::Assignees {
        // Somebody unmapped counts here: whoever changed the people has changed them.
        return everybody(&content.assignees) == everybody(&shown.assignees);
    }
    value(field, &content) == value(field, shown) || shows(side, field, &content, shown, &rules.people)
}

/// Reads a value of the history back into a field; `None` when it is no such value.
pub(super) fn set(field: Field, recorded: &Value, into: &mut Content) -> Option<()> {
    let empty = Content::default();
    // A creation records no value where there was none.
    let recorded = if recorded.is_null() && field != Field::Due { value(field, &empty) } else { recorded.clone() };
    match field {
        Field::Title => into.title = serde_json::from_value(recorded).ok()?,
        Field::Body => into.body = serde_json::from_value(recorded).ok()?,
        Field::Status => into.status = serde_json::from_value(recorded).ok()?,
        Field::Assignees => into.assignees = serde_json::from_value(recorded).ok()?,
        Field::Labels => into.labels = serde_json::from_value(recorded).ok()?,
        Field::Due => into.due = serde_json::from_value(recorded).ok()?,
        Field::Footer => return None,
    }
    Some(())
}

/// Whether an item shows what was written to it. Of a set, what somebody else added or took away meanwhile does not count.
pub(super) fn taken(side: Side, written: &FieldChange, shown: &Content, rules: &Rules) -> bool {
    let FieldChange { field, before, after, .. } = written;
    match (members(*field, before), members(*field, after), members(*field, &value(*field, shown))) {
        (Some(before), Some(after), Some(shown)) => {
            let added = after.difference(&before).all(|one| shown.contains(one));
            let removed = before.difference(&after).all(|one| !shown.contains(one));
            added && removed
        }
        _ => still(side, *field, after, shown, rules),
    }
}

/// Whether two values that the history has of a side each are the same: of one side as they are, of the two as far as
/// one of them can show the other's. Whom one side does not know says nothing of the other.
pub(super) fn same(field: Field, one: (Side, &Value), other: (Side, &Value), rules: &Rules) -> bool {
    if one.0 == other.0 {
        return match (members(field, one.1), members(field, other.1)) {
            (Some(one), Some(other)) => one == other,
            _ => one.1 == other.1,
        };
    }
    let read = |value: &Value| {
        let mut content = Content::default();
        set(field, value, &mut content)?;
        content.assignees.unknown.clear();
        Some(content)
    };
    let (Some(one), Some(other)) = (read(one.1), read(other.1)) else { return one.1 == other.1 };
    let shown = |side, content: &Content| value(field, &view(side, content, &rules.people));
    Side::BOTH.into_iter().any(|side| shown(side, &one) == shown(side, &other))
}

/// The members of a set: labels without regard to case, or everybody, unknown ones too.
fn members(field: Field, recorded: &Value) -> Option<BTreeSet<String>> {
    let mut content = Content::default();
    set(field, recorded, &mut content)?;
    match field {
        Field::Labels => Some(content.labels.iter().map(|label| label.to_lowercase()).collect()),
        Field::Assignees => Some(everybody(&content.assignees)),
        Field::Title | Field::Body | Field::Status | Field::Due | Field::Footer => None,
    }
}

fn everybody(people: &Assignees) -> BTreeSet<String> {
    people.known.iter().chain(&people.unknown).cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::{BySide, People, Person};

    fn rules() -> Rules {
        let person = |name: &str| Person {
            name: name.to_owned(),
            account: BySide { tracker: Some(format!("{name}-1")), forge: Some(format!("{name}-2")) },
            mention: false,
        };
        Rules { people: People::new(vec![person("ann"), person("bob")]), ..Rules::default() }
    }

    fn people(known: &[&str], unknown: &[&str]) -> Value {
        json!(Assignees {
            known: known.iter().map(ToString::to_string).collect(),
            unknown: unknown.iter().map(ToString::to_string).collect(),
        })
    }

    #[test]
    fn values_of_one_side_are_compared_as_they_are_and_of_both_as_one_of_them_shows_them() {
        use Field::{Assignees, Body, Labels, Status, Title};
        use Side::{Forge, Tracker};
        let long = "x".repeat(400);
        for (field, one, other, expected) in [
            (Title, (Forge, json!("a")), (Forge, json!("a")), true),
            (Title, (Forge, json!("a")), (Tracker, json!("b")), false),
            (Title, (Tracker, json!(long)), (Forge, json!(long[..256])), false),
            (Status, (Forge, json!("dropped")), (Tracker, json!("done")), true),
            (Status, (Forge, json!("dropped")), (Forge, json!("done")), false),
            (Status, (Forge, json!("open")), (Tracker, json!("done")), false),
            (Labels, (Forge, json!(["Bug"])), (Forge, json!(["bug"])), true),
            (Labels, (Forge, json!(["bug"])), (Tracker, json!(["bug", "new"])), false),
            (Assignees, (Forge, people(&["ann"], &["zed"])), (Forge, people(&["bob"], &["zed"])), false),
            (Assignees, (Forge, people(&["ann"], &["zed"])), (Forge, people(&["ann"], &["zed"])), true),
            (Assignees, (Forge, people(&["ann"], &["zed"])), (Tracker, people(&["bob"], &[])), false),
            (Assignees, (Forge, people(&["ann", "bob"], &["zed"])), (Tracker, people(&["ann"], &[])), true),
            (Body, (Forge, json!("**a**")), (Tracker, json!("**a**")), true),
            (Body, (Forge, json!("a")), (Tracker, json!("b")), false),
        ] {
            let found = same(field, (one.0, &one.1), (other.0, &other.1), &rules());
            assert_eq!(found, expected, "{field}: {one:?} and {other:?}");
            let found = same(field, (other.0, &other.1), (one.0, &one.1), &rules());
            assert_eq!(found, expected, "{field}: {other:?} and {one:?}");
        }
    }

    #[test]
    fn a_set_shows_what_was_written_whatever_somebody_else_added_or_took_away() {
        let written = |field, before, after| FieldChange { field, before, after, why: String::new() };
        let shows = |change: &FieldChange, shown: Value| {
            let mut content = Content::default();
            set(change.field, &shown, &mut content).expect("a value");
            taken(Side::Forge, change, &content, &rules())
        };
        let labels = written(Field::Labels, json!(["a", "b"]), json!(["b", "c"]));
        for (shown, expected) in [
            (json!(["b", "c"]), true),
            (json!(["b", "c", "new"]), true),
            (json!(["C"]), true),
            (json!(["a", "b", "c"]), false),
            (json!(["b"]), false),
            (json!(["a", "b"]), false),
        ] {
            assert_eq!(shows(&labels, shown.clone()), expected, "{shown}");
        }
        let assignees = written(Field::Assignees, people(&["ann"], &["zed"]), people(&["bob"], &["zed"]));
        assert!(shows(&assignees, people(&["bob"], &["zed", "eve"])));
        assert!(!shows(&assignees, people(&["ann", "bob"], &["zed"])));
        assert!(!shows(&assignees, people(&[], &["zed"])));
        let title = written(Field::Title, json!("a"), json!("b"));
        assert!(shows(&title, json!("b")) && !shows(&title, json!("a")));
    }
}
