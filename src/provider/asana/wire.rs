//! The shapes of Asana's JSON that we read, and how a task becomes an item. Pure.
//!
//! What is needed is required: a field that was asked for and is missing is no empty field, and read as one it
//! would be wiped on the other side. Everything else may be missing, null or new (Asana OpenAPI, `TaskResponse`).

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::model::{
    Assignees, Content, Date, Facts, Field, FieldPolicy, Item, ItemKey, Native, People, Place, ProjectGid, Rules, Side,
    Status, TaskGid, Timestamp,
};
use crate::provider::json::{LABELS_MAX, present};
use crate::text;

/// `{"data": …}` around every success.
#[derive(Debug, Deserialize)]
pub struct Enveloped<T> {
    pub data: T,
}

/// One page of a list.
#[derive(Debug, Deserialize)]
pub struct Page<T> {
    pub data: Vec<T>,
    #[serde(default)]
    pub next_page: Option<NextPage>,
}

/// Where a list goes on.
#[derive(Debug, Deserialize)]
pub struct NextPage {
    pub offset: String,
}

/// An answer of `GET /events`, the 412 among them.
#[derive(Debug, Deserialize)]
pub struct Events {
    #[serde(default)]
    pub data: Vec<serde_json::Value>,
    #[serde(default)]
    pub sync: Option<String>,
    #[serde(default)]
    pub has_more: bool,
}

/// An identifier (Asana OpenAPI: a text of digits). A number is none: its last digits may be lost, and it would name
/// another task.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Gid(pub String);

/// Any object by its identifier.
#[derive(Debug, Deserialize)]
pub struct Named {
    pub gid: Gid,
    #[serde(default)]
    pub name: Option<String>,
}

/// A task as far as [`super::fields`] asks for it.
#[derive(Debug, Deserialize)]
pub struct Task {
    pub gid: Gid,
    #[serde(default)]
    pub resource_subtype: Option<String>,
    #[serde(default)]
    pub is_rendered_as_separator: Option<bool>,
    pub name: String,
    pub html_notes: String,
    pub completed: bool,
    pub created_at: Timestamp,
    pub modified_at: Timestamp,
    /// The outer `None` is a field that is missing, the inner one is nothing.
    #[serde(default, deserialize_with = "present")]
    pub due_on: Option<Option<Date>>,
    #[serde(default, deserialize_with = "present")]
    pub assignee: Option<Option<Named>>,
    #[serde(default)]
    pub tags: Option<Vec<Named>>,
    #[serde(default)]
    pub memberships: Option<Vec<Membership>>,
    #[serde(default)]
    pub custom_fields: Option<Vec<CustomField>>,
    #[serde(default)]
    pub permalink_url: Option<String>,
}

/// A task's place in one project.
#[derive(Debug, Deserialize)]
pub struct Membership {
    #[serde(default)]
    pub project: Option<Named>,
    #[serde(default)]
    pub section: Option<Named>,
}

/// A custom field's value as people see it.
#[derive(Debug, Deserialize)]
pub struct CustomField {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub display_value: Option<String>,
}

/// A comment or a line of the task's own record.
#[derive(Debug, Deserialize)]
pub struct Story {
    #[serde(default)]
    pub text: Option<String>,
    #[serde(default)]
    pub html_text: Option<String>,
}

/// A project as [`super::AsanaClient`] checks it.
#[derive(Debug, Deserialize)]
pub struct Project {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub archived: Option<bool>,
    #[serde(default)]
    pub workspace: Option<Named>,
}

/// What a task is to us.
#[derive(Debug)]
pub enum Read {
    /// Work.
    Item(Box<Item>),
    /// A separator line: in old data a section shows up as a task.
    Separator,
}

impl Task {
    /// The item this task is.
    ///
    /// # Errors
    /// The gid is not made of digits, something the rules look at is missing, or there is more of it than can
    /// be: says so.
    pub fn read(self, project: &ProjectGid, rules: &Rules) -> Result<Read, String> {
        let people = &rules.people;
        if self.resource_subtype.as_deref() == Some("section") || self.is_rendered_as_separator == Some(true) {
            return Ok(Read::Separator);
        }
        let gid: TaskGid = self.gid.0.parse().map_err(|error| format!("its gid {error}"))?;
        let missing = |field: Field| match field {
            Field::Due => self.due_on.is_none(),
            Field::Assignees => self.assignee.is_none(),
            Field::Labels => self.tags.is_none(),
            Field::Title | Field::Body | Field::Status | Field::Footer => false,
        };
        if let Some(field) = Field::ALL
            .into_iter()
            .find(|field| *field != Field::Footer && rules.policy.of(*field) != FieldPolicy::Off && missing(*field))
        {
            return Err(format!("it does not say its {field}"));
        }
        let tags = self.tags.unwrap_or_default();
        if tags.len() > LABELS_MAX {
            return Err(format!("it carries {} tags, more than {LABELS_MAX}", tags.len()));
        }
        if tags.iter().any(|tag| tag.name.is_none()) {
            return Err("one of its tags has no name".to_owned());
        }
        let split = text::split_tracker(&self.html_notes, people);
        let home = self.memberships.as_ref().and_then(|all| {
            all.iter().find(|one| one.project.as_ref().is_some_and(|home| home.gid.0 == project.as_str()))
        });
        // Memberships that were not asked for prove nothing: a listing of the project holds what is in it.
        let place = if self.memberships.is_some() && home.is_none() { Place::Left } else { Place::Here };
        let section = home.and_then(|home| home.section.as_ref()).and_then(|section| section.name.clone());
        let fields = self.custom_fields.unwrap_or_default().into_iter();
        let tags: BTreeMap<String, String> = tags
            .into_iter()
            .filter_map(|tag| tag.name.filter(|name| !name.is_empty()).map(|name| (tag.gid.0, name)))
            .collect();
        let content = Content {
            title: text::canonical_title(&self.name),
            body: split.body,
            status: if self.completed { Status::Done } else { Status::Open },
            assignees: assignees(self.assignee.flatten().as_ref(), people),
            labels: tags.values().cloned().collect::<BTreeSet<_>>(),
            due: self.due_on.flatten(),
        };
        Ok(Read::Item(Box::new(Item {
            url: self.permalink_url.unwrap_or_else(|| format!("https://app.asana.com/0/0/{gid}/f")),
            key: ItemKey::Task(gid),
            content,
            footer: split.footer,
            marker: split.marker,
            created_at: self.created_at,
            updated_at: self.modified_at,
            place,
            facts: Facts {
                section,
                fields: fields.filter_map(|field| Some((field.name?, field.display_value?))).collect(),
            },
            native: Native::Task { tags },
        })))
    }
}

fn assignees(assignee: Option<&Named>, people: &People) -> Assignees {
    let mut all = Assignees::default();
    if let Some(account) = assignee {
        match people.by_account(Side::Tracker, &account.gid.0) {
            Some(person) => all.known.push(person.name.clone()),
            None => all.unknown.push(account.gid.0.clone()),
        }
    }
    all
}

/// What an event of the project's stream says may have moved.
#[derive(Debug, PartialEq, Eq)]
pub struct Touch {
    pub task: TaskGid,
    /// When the event was made, if it says so.
    pub at: Option<Timestamp>,
}

/// Reduces one event to the task it may have touched; what says nothing about a task of the project, or
/// cannot be understood, is `None` (the sweep makes up for it).
///
/// | event (Asana OpenAPI, tag Events) | touches |
/// | --- | --- |
/// | a task changed, deleted, undeleted | the task |
/// | a task added to or removed from a project or section | the task |
/// | a task added to or removed from a task | nothing: a subtask is not in the project |
/// | a story added to or removed from a task | that task |
/// | a story changed (a comment edited) | nothing: comments are not kept in step |
/// | a section, project, attachment, tag | nothing |
pub fn touch(event: &serde_json::Value) -> Option<Touch> {
    let resource = event.get("resource")?;
    let parent = event.get("parent");
    let task = match (kind(Some(resource))?, kind(parent)) {
        ("task", Some("task")) => return None,
        ("task", _) => resource,
        ("story", Some("task")) => parent?,
        _ => return None,
    };
    let at = event.get("created_at").and_then(serde_json::Value::as_str).and_then(|at| at.parse().ok());
    Some(Touch { task: gid(task)?, at })
}

/// The kind of a resource that an event names.
pub fn kind(resource: Option<&serde_json::Value>) -> Option<&str> {
    resource?.get("resource_type")?.as_str()
}

/// The gid of a task that an event names, if it is one.
pub fn gid(task: &serde_json::Value) -> Option<TaskGid> {
    let gid = match task.get("gid")? {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Number(number) => number.to_string(),
        _ => return None,
    };
    gid.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::BySide;
    use crate::model::Person;
    use crate::provider::json::decode;

    fn rules() -> Rules {
        let mut rules = Rules { people: people(), ..Rules::default() };
        (rules.policy.labels, rules.policy.assignees) = (FieldPolicy::Both, FieldPolicy::Both);
        rules.policy.due = FieldPolicy::Tracker;
        rules
    }

    fn people() -> People {
        let account = BySide { tracker: Some("77".to_owned()), forge: Some("alice-gh".to_owned()) };
        People::new(vec![Person { name: "alice".to_owned(), account, mention: false }])
    }

    fn read(value: &Value) -> Result<Read, String> {
        read_by(value, &rules())
    }

    fn read_by(value: &Value, rules: &Rules) -> Result<Read, String> {
        let task: Task = decode(value.to_string().as_bytes())?;
        task.read(&"55".parse().expect("a gid"), rules)
    }

    fn item(value: &Value) -> Item {
        match read(value) {
            Ok(Read::Item(item)) => *item,
            other => panic!("{other:?}"),
        }
    }

    fn whole() -> Value {
        json!({
            "gid": "1201", "resource_type": "task", "resource_subtype": "default_task", "name": "  Fix login ",
            "html_notes": "<body>It fails</body>", "completed": true,
            "created_at": "2026-11-01T10:00:00.123Z", "modified_at": "2026-11-02T10:00:00.000Z",
            "due_on": "2026-12-24", "assignee": {"gid": "77"},
            "tags": [{"gid": "9", "name": "bug"}, {"gid": "10", "name": ""}],
            "memberships": [{"project": {"gid": "54"}, "section": {"gid": "1", "name": "Other"}},
                            {"project": {"gid": "55"}, "section": {"gid": "2", "name": "Doing"}}],
            "custom_fields": [{"gid": "3", "name": "Team", "display_value": "Web"}, {"gid": "4", "name": "Empty", "display_value": null}],
            "permalink_url": "https://app.asana.com/1/2/task/1201", "something_new": {"x": [1]}
        })
    }

    #[test]
    fn a_whole_task_becomes_an_item() {
        let item = item(&whole());
        assert_eq!(item.key.to_string(), "asana:1201");
        assert_eq!(item.content.title, "Fix login");
        assert_eq!(item.content.status, Status::Done);
        assert_eq!(item.content.assignees.known, ["alice"]);
        assert_eq!(item.content.labels, BTreeSet::from(["bug".to_owned()]));
        assert_eq!(item.content.due, Some("2026-12-24".parse().expect("a day")));
        assert_eq!(item.facts.section.as_deref(), Some("Doing"));
        assert_eq!(item.facts.fields, BTreeMap::from([("Team".to_owned(), "Web".to_owned())]));
        assert_eq!(item.place, Place::Here);
        assert_eq!(item.native, Native::Task { tags: BTreeMap::from([("9".to_owned(), "bug".to_owned())]) });
    }

    #[test]
    fn what_was_not_asked_for_may_be_missing_or_null() {
        let bare = json!({"gid": "1201", "name": "x", "html_notes": "<body></body>", "completed": false,
            "created_at": "2026-11-01T10:00:00Z", "modified_at": "2026-11-01T10:00:00Z"});
        let mut nulls = bare.clone();
        for name in ["assignee", "tags", "memberships", "custom_fields", "due_on", "permalink_url", "resource_subtype"]
        {
            nulls[name] = Value::Null;
        }
        for value in [bare, nulls] {
            let Ok(Read::Item(item)) = read_by(&value, &Rules::default()) else { panic!("{value}") };
            assert_eq!(item.content, Content { title: "x".to_owned(), ..Content::default() });
            assert_eq!(item.place, Place::Here);
        }
    }

    #[test]
    fn what_was_asked_for_and_is_missing_is_not_taken_for_nothing() {
        for name in ["name", "html_notes", "completed", "tags", "assignee", "due_on"] {
            let mut task = whole();
            task.as_object_mut().expect("an object").remove(name);
            assert!(read(&task).is_err(), "{name}");
        }
        for name in ["name", "html_notes", "completed", "tags"] {
            let mut task = whole();
            task[name] = Value::Null;
            assert!(read(&task).is_err(), "{name}");
        }
        let mut task = whole();
        (task["assignee"], task["due_on"]) = (Value::Null, Value::Null);
        let item = item(&task);
        assert_eq!((item.content.assignees, item.content.due), (Assignees::default(), None));
        let tags: Vec<Value> = (0..=LABELS_MAX).map(|number| json!({"gid": "1", "name": number.to_string()})).collect();
        for tags in [json!(tags), json!([{"gid": "1", "name": null}])] {
            let mut task = whole();
            task["tags"] = tags;
            assert!(read(&task).is_err());
        }
    }

    #[test]
    fn somebody_nobody_knows_is_unknown_and_not_nobody() {
        let mut value = whole();
        value["assignee"] = json!({"gid": "78"});
        assert_eq!(item(&value).content.assignees.unknown, ["78"]);
    }

    #[test]
    fn a_task_of_other_projects_has_left() {
        let mut value = whole();
        value["memberships"] = json!([{"project": {"gid": "54"}}]);
        assert_eq!(item(&value).place, Place::Left);
        value["memberships"] = json!([]);
        assert_eq!(item(&value).place, Place::Left);
    }

    #[test]
    fn old_sections_that_look_like_tasks_are_no_items() {
        for (field, value) in [("resource_subtype", json!("section")), ("is_rendered_as_separator", json!(true))] {
            let mut task = whole();
            task[field] = value;
            assert!(matches!(read(&task), Ok(Read::Separator)));
        }
    }

    #[test]
    fn what_is_no_task_is_refused_with_a_reason() {
        let table = [
            ("gid", json!(null), "a string"),
            ("gid", json!("12ab"), "digits only"),
            ("gid", json!("9".repeat(4_000)), "digits only"),
            ("gid", json!(1201), "a string"),
            ("completed", json!("yes"), "boolean"),
            ("created_at", json!("yesterday"), ""),
            ("modified_at", json!(1e300), ""),
            ("due_on", json!("2026-02-31"), ""),
            ("tags", json!({"gid": "1"}), "sequence"),
            ("name", json!(["x"]), "string"),
            ("assignee", json!("alice"), "Named"),
        ];
        for (field, value, wanted) in table {
            let mut task = whole();
            task[field] = value;
            let why = read(&task).expect_err(field);
            assert!(why.contains(wanted), "{field}: {why}");
        }
        let mut task = whole();
        task.as_object_mut().expect("an object").remove("completed");
        assert!(read(&task).expect_err("completed is needed").contains("missing field `completed`"));
    }

    #[test]
    fn events_are_reduced_to_the_tasks_they_may_touch() {
        let task = |gid: &str| json!({"gid": gid, "resource_type": "task"});
        let of = |kind: &str| json!({"gid": "8", "resource_type": kind});
        let table = [
            (json!({"action": "changed", "resource": task("1"), "parent": null}), Some("1")),
            (json!({"action": "deleted", "resource": task("1")}), Some("1")),
            (json!({"action": "undeleted", "resource": task("1"), "parent": null}), Some("1")),
            (json!({"action": "added", "resource": task("1"), "parent": of("project")}), Some("1")),
            (json!({"action": "added", "resource": task("1"), "parent": of("section")}), Some("1")),
            (json!({"action": "removed", "resource": task("1"), "parent": of("project")}), Some("1")),
            (json!({"action": "added", "resource": task("2"), "parent": task("1")}), None),
            (json!({"action": "added", "resource": of("story"), "parent": task("1")}), Some("1")),
            (json!({"action": "removed", "resource": of("story"), "parent": task("1")}), Some("1")),
            (json!({"action": "changed", "resource": of("story"), "parent": null}), None),
            (json!({"action": "changed", "resource": of("section"), "parent": null}), None),
            (json!({"action": "changed", "resource": of("project")}), None),
            (json!({"action": "exploded", "resource": {"gid": 1, "resource_type": "task"}}), Some("1")),
            (json!({"action": "changed", "resource": {"gid": "x", "resource_type": "task"}}), None),
            (json!({"action": "changed", "resource": {"resource_type": "task"}}), None),
            (json!({"resource": "task"}), None),
            (json!([]), None),
            (json!(null), None),
        ];
        for (event, wanted) in table {
            let found = touch(&event).map(|touch| touch.task.to_string());
            assert_eq!(found.as_deref(), wanted, "{event}");
        }
    }
}
