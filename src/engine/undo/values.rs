//! Values of the history, read back and compared with what items show. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::model::{Assignees, Content, Field, Rules, Side};
use crate::reconcile::{shows, value, view};

/// Whether the item shows a value of the history, nobody having changed it since.
pub(super) fn still(side: Side, field: Field, recorded: &Value, shown: &Content, rules: &Rules) -> bool {
    let mut content = shown.clone();
    if set(field, recorded, &mut content).is_none() {
        return false;
    }
    if field == Field::Assignees {
        // Somebody unmapped counts here: whoever changed the people has changed them.
        let all =
            |people: &Assignees| -> BTreeSet<String> { people.known.iter().chain(&people.unknown).cloned().collect() };
        return all(&content.assignees) == all(&shown.assignees);
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

/// Whether two values of the history are the same as far as one of the sides can show them.
pub(super) fn same(field: Field, one: &Value, other: &Value, rules: &Rules) -> bool {
    let read = |value: &Value| {
        let mut content = Content::default();
        set(field, value, &mut content).map(|()| content)
    };
    let (Some(one), Some(other)) = (read(one), read(other)) else { return one == other };
    let shown = |side, content: &Content| value(field, &view(side, content, &rules.people));
    Side::BOTH.into_iter().any(|side| shown(side, &one) == shown(side, &other))
}
