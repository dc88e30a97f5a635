//! An Asana delivery reduced to the tasks it may have touched. Pure.
//!
//! | event (Asana OpenAPI, tag Events; bubbling as integrators saw it) | what is looked at |
//! | --- | --- |
//! | a task changed, added, removed, deleted, undeleted | the task |
//! | the same under a parent task | both: what is moved below another task may leave the project |
//! | a story, tag, attachment under a task | that task |
//! | a story without parent (an edited comment names none) | what moved |
//! | a section changed, deleted, added, removed; a project | what moved |
//! | anything else | nothing; it is noted |
//!
//! An event has no id and promises no order, so nothing is made of them but names. One that cannot be
//! understood hides no other.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::wire::{gid, kind};
use crate::model::{ItemKey, TaskGid};
use crate::provider::heard::{Heard, Touches, Whole, plain_name};
use crate::provider::json;

/// Kinds of events that are named in a note.
const KINDS_SHOWN: usize = 5;

/// A delivery: heartbeats come as `{}` or with an empty list (Asana, webhooks guide).
#[derive(Deserialize)]
struct Delivery {
    #[serde(default)]
    events: Vec<Value>,
}

/// Reduces a delivery's body.
///
/// # Errors
/// When it is no JSON object, is nested deeper than 128, or its `events` are no list; says so without quoting it.
pub fn reduce(body: &[u8]) -> Result<Heard, String> {
    let value: Value = json::decode(body)?;
    if !value.is_object() {
        return Err("it is no JSON object".to_owned());
    }
    let Delivery { events } = serde_json::from_value(value).map_err(|_| "its events are not a list".to_owned())?;
    let mut heard = Heard::of(if events.is_empty() { "heartbeat" } else { "events" });
    let mut touches = Touches::default();
    let mut strange: BTreeMap<&str, usize> = BTreeMap::new();
    for event in &events {
        match sort(event) {
            Means::Tasks(tasks) => tasks.into_iter().flatten().map(ItemKey::Task).for_each(|task| touches.add(task)),
            Means::Poll => heard.look(Whole::Poll),
            Means::Strange(kind) => *strange.entry(kind).or_default() += 1,
        }
    }
    touches.into(&mut heard);
    if !strange.is_empty() {
        let all: usize = strange.values().sum();
        let kinds: Vec<_> = strange.keys().copied().take(KINDS_SHOWN).collect();
        heard.say(&format!("{all} of {} events say nothing of tasks: {}", events.len(), kinds.join(", ")));
    }
    Ok(heard)
}

/// What one event means.
enum Means<'a> {
    Tasks([Option<TaskGid>; 2]),
    Poll,
    Strange(&'a str),
}

fn sort(event: &Value) -> Means<'_> {
    let resource = event.get("resource");
    let parent = event.get("parent").filter(|parent| kind(Some(parent)) == Some("task"));
    let parent = parent.and_then(gid);
    match kind(resource) {
        Some("task") => match (resource.and_then(gid), parent) {
            // A task that cannot be named has moved all the same.
            (None, None) => Means::Poll,
            named => Means::Tasks([named.0, named.1]),
        },
        Some("story") => match parent {
            Some(task) => Means::Tasks([Some(task), None]),
            None => Means::Poll,
        },
        Some("section" | "project") => Means::Poll,
        Some(other) => match parent {
            Some(task) => Means::Tasks([Some(task), None]),
            None => Means::Strange(plain_name(other).unwrap_or("of no known kind")),
        },
        None => Means::Strange("of no known kind"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::provider::heard::TOUCHED_MAX;

    fn heard(body: &Value) -> Heard {
        reduce(body.to_string().as_bytes()).expect("a delivery")
    }

    fn one(kind: &str, gid: &str, action: &str, parent: Value) -> Value {
        json!({"user": {"gid": "7", "resource_type": "user"}, "created_at": "2026-11-20T10:00:00.123Z", "action": action,
            "resource": {"gid": gid, "resource_type": kind}, "parent": parent})
    }

    fn under(kind: &str, gid: &str) -> Value {
        json!({"gid": gid, "resource_type": kind})
    }

    #[test]
    fn each_event_names_the_tasks_it_may_have_touched() {
        let none = Value::Null;
        let poll = Some(Whole::Poll);
        let table: Vec<(Value, &[&str], Option<Whole>, bool)> = vec![
            (one("task", "1", "changed", none.clone()), &["1"], None, false),
            (one("task", "1", "added", under("project", "5")), &["1"], None, false),
            (one("task", "1", "added", under("section", "6")), &["1"], None, false),
            (one("task", "1", "removed", under("project", "5")), &["1"], None, false),
            (one("task", "1", "removed", under("section", "6")), &["1"], None, false),
            (one("task", "1", "deleted", none.clone()), &["1"], None, false),
            (one("task", "1", "undeleted", none.clone()), &["1"], None, false),
            (one("task", "1", "an action of the future", none.clone()), &["1"], None, false),
            (one("task", "3", "added", under("task", "1")), &["3", "1"], None, false),
            (one("story", "9", "added", under("task", "1")), &["1"], None, false),
            (one("story", "9", "removed", under("task", "1")), &["1"], None, false),
            (one("story", "9", "changed", none.clone()), &[], poll, false),
            (one("attachment", "9", "deleted", under("task", "1")), &["1"], None, false),
            (one("tag", "9", "added", under("task", "1")), &["1"], None, false),
            (one("section", "6", "changed", none.clone()), &[], poll, false),
            (one("section", "6", "deleted", none.clone()), &[], poll, false),
            (one("project", "5", "changed", none.clone()), &[], poll, false),
            (one("tag", "9", "changed", none.clone()), &[], None, true),
            (one("attachment", "9", "undeleted", none.clone()), &[], None, true),
            (one("goal", "9", "changed", none.clone()), &[], None, true),
            (one("<script>", "9", "changed", none.clone()), &[], None, true),
            (one("task", "not digits", "changed", none.clone()), &[], poll, false),
            (one("task", "", "changed", none.clone()), &[], poll, false),
            (one("story", "9", "added", under("task", "/../")), &[], poll, false),
            (json!({"resource": {"gid": 1201, "resource_type": "task"}}), &["1201"], None, false),
            (json!({"resource": {"gid": 1e300, "resource_type": "task"}}), &[], poll, false),
            (json!({"resource": {"gid": -1, "resource_type": "task"}}), &[], poll, false),
            (json!({"resource": {"resource_type": ["task"]}}), &[], None, true),
            (json!({"resource": "task"}), &[], None, true),
            (json!({}), &[], None, true),
            (json!(null), &[], None, true),
            (json!(7), &[], None, true),
            (json!([[[]]]), &[], None, true),
        ];
        for (event, touched, whole, noted) in table {
            let heard = heard(&json!({"events": [event]}));
            let keys: Vec<String> = heard.touched.iter().map(ToString::to_string).collect();
            let wanted: Vec<String> = touched.iter().map(|gid| format!("asana:{gid}")).collect();
            assert_eq!(keys, wanted, "{event}");
            assert_eq!((heard.whole, heard.note.is_some()), (whole, noted), "{event}");
            assert_eq!(heard.event, "events");
        }
    }

    #[test]
    fn a_burst_about_one_task_names_it_once() {
        let events = json!([
            one("task", "1", "changed", Value::Null),
            one("story", "8", "added", under("task", "1")),
            one("task", "2", "added", under("project", "5")),
            one("task", "1", "changed", Value::Null),
            one("goal", "4", "changed", Value::Null),
        ]);
        let heard = heard(&json!({"events": events}));
        assert_eq!(heard.touched.iter().map(ToString::to_string).collect::<Vec<_>>(), ["asana:1", "asana:2"]);
        assert_eq!(heard.note.as_deref(), Some("1 of 5 events say nothing of tasks: goal"));
    }

    #[test]
    fn an_empty_delivery_is_a_heartbeat() {
        for body in ["{}", r#"{"events":[]}"#, " {\n} ", r#"{"other":1}"#] {
            assert_eq!(reduce(body.as_bytes()), Ok(Heard::of("heartbeat")), "{body}");
        }
    }

    #[test]
    fn only_what_is_no_delivery_is_refused() {
        let deep = format!(r#"{{"events":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        let deeper = r#"{"events":["#.to_owned() + &r#"{"a":"#.repeat(100_000);
        let bodies: [&[u8]; 13] = [
            b"",
            b"[]",
            b"null",
            b"7",
            b"\"{}\"",
            br#"{"events":{}}"#,
            br#"{"events":null}"#,
            br#"{"events":"x"}"#,
            br#"{"events":["#,
            b"{\"events\":[\"\xff\"]}",
            b"<html>",
            deep.as_bytes(),
            deeper.as_bytes(),
        ];
        for body in bodies {
            let why = reduce(body).expect_err("no delivery");
            assert!(!why.is_empty() && why.len() < 300, "{why}");
        }
        assert!(!reduce(br#"{"events":"private words"}"#).expect_err("no list").contains("private"));
    }

    #[test]
    fn more_tasks_than_can_be_visited_one_by_one_are_a_sweep() {
        let events: Vec<Value> =
            (0..2 * TOUCHED_MAX).map(|gid| one("task", &gid.to_string(), "changed", Value::Null)).collect();
        let heard = heard(&json!({"events": events}));
        assert_eq!((heard.touched.len(), heard.whole), (TOUCHED_MAX, Some(Whole::Sweep)));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = reduce(&body);
        }

        #[test]
        fn whatever_the_events_are_a_list_of_them_is_heard(
            kind in "task|story|section|project|tag|\\PC{0,5}", gid in "[0-9]{0,50}|\\PC{0,5}",
            parent in "task|project|\\PC{0,5}", action in "\\PC{0,9}",
        ) {
            let event = one(&kind, &gid, &action, under(&parent, &gid));
            let heard = reduce(json!({"events": [event, 1]}).to_string().as_bytes()).expect("a list");
            prop_assert!(heard.touched.len() <= 2);
            prop_assert!(heard.note.is_none_or(|note| note.chars().count() <= 200));
        }
    }
}
