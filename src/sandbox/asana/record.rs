//! How each object shows, field by field (asana-api.md §1.4, §3.1).

use std::borrow::Cow;

use serde_json::Value;

use super::feed::{Event, Thing};
use super::fields::{Level, Record, Want};
use super::rich::{self, Target};
use super::{AsanaState, FieldKind, Story, Task, instant, instant_ms};
use crate::sandbox::json::list;

use Level::{Compact, Full, OptIn};

/// The web application, whose addresses stand in `permalink_url` and in links.
const WEB: &str = "https://app.asana.com";

impl AsanaState {
    /// A task; `app` is the OAuth app that reads it, if one does.
    pub(super) fn write_task(&self, out: &mut Vec<u8>, task: &Task, want: Want<'_>, app: Option<&str>) {
        let mut record = Record::open(out, want, task.gid, "task");
        record.put(Compact, "name", &task.name);
        record.put(Compact, "resource_subtype", &task.subtype);
        if matches!(want, Want::Bare | Want::Compact) {
            return record.close();
        }
        record.with(Full, "notes", || rich::plain(&self.expanded(&task.html)));
        record.with(OptIn, "html_notes", || self.expanded(&task.html));
        record.put(Full, "completed", &task.completed.is_some());
        record.with(Full, "completed_at", || instant(task.completed.map(|(at, _)| at)));
        self.write_user(&mut record, Full, "completed_by", task.completed.map(|(_, who)| who));
        record.with(Full, "created_at", || instant_ms(task.created_at));
        self.write_user(&mut record, OptIn, "created_by", Some(task.created_by));
        record.with(Full, "modified_at", || instant_ms(task.modified_at));
        record.put(Full, "due_on", &task.due_on);
        record.with(Full, "due_at", || instant(task.due_at));
        record.put(Full, "start_on", &task.start_on);
        record.put(Full, "start_at", &None::<&str>);
        self.write_user(&mut record, Full, "assignee", task.assignee);
        if let Some((out, want)) = record.nested(Full, "followers") {
            list(out, &task.followers, |out, who| self.write_thing(out, Thing::User(*who), want));
        }
        if let Some((out, want)) = record.nested(Full, "parent") {
            match task.parent {
                Some(parent) => self.write_thing(out, Thing::Task(parent), want),
                None => out.extend_from_slice(b"null"),
            }
        }
        record.with(OptIn, "num_subtasks", || self.living_subtasks(task.gid).count());
        if let Some((out, want)) = record.nested(Full, "memberships") {
            // Without a sub-field each membership shows both ends, bare.
            let want = if matches!(want, Want::Bare) { Want::Compact } else { want };
            list(out, &task.homes, |out, (project, section)| {
                let mut membership = Record::open_plain(out, want);
                if let Some((out, want)) = membership.nested(Compact, "project") {
                    self.write_thing(out, Thing::Project(*project), want);
                }
                if let Some((out, want)) = membership.nested(Compact, "section") {
                    self.write_thing(out, Thing::Section(*section), want);
                }
                membership.close();
            });
        }
        if let Some((out, want)) = record.nested(Full, "projects") {
            list(out, &task.homes, |out, (project, _)| self.write_thing(out, Thing::Project(*project), want));
        }
        if let Some((out, want)) = record.nested(Full, "tags") {
            list(out, &task.tags, |out, tag| self.write_thing(out, Thing::Tag(*tag), want));
        }
        if let Some((out, want)) = record.nested(Full, "custom_fields") {
            let want = if matches!(want, Want::Only(_)) { want } else { Want::Full };
            list(out, self.fields_of(task), |out, field| self.write_field_value(out, task, field, want));
        }
        record.put(Full, "approval_status", &task.approval);
        record.put(Full, "num_likes", &0);
        record.put(Full, "liked", &false);
        record.put(Full, "likes", &[0u8; 0]);
        if let Some((out, want)) = record.nested(Full, "workspace") {
            self.write_workspace(out, want);
        }
        record.with(Full, "permalink_url", || self.task_url(task));
        record.put(OptIn, "is_rendered_as_separator", &false);
        if let Some((owner, gid, data)) = &task.external
            && app == Some(owner.as_str())
        {
            record.put(Full, "external", &serde_json::json!({"gid": gid, "data": data}));
        }
        record.close();
    }

    fn task_url(&self, task: &Task) -> String {
        match task.homes.first() {
            Some((project, _)) => format!("{WEB}/1/{}/project/{project}/task/{}", self.workspace.0, task.gid),
            None => format!("{WEB}/1/{}/task/{}", self.workspace.0, task.gid),
        }
    }

    fn write_user(&self, record: &mut Record<'_, '_>, level: Level, name: &str, who: Option<u64>) {
        if let Some((out, want)) = record.nested(level, name) {
            match who {
                Some(who) => self.write_thing(out, Thing::User(who), want),
                None => out.extend_from_slice(b"null"),
            }
        }
    }

    pub(super) fn write_workspace(&self, out: &mut Vec<u8>, want: Want<'_>) {
        let mut record = Record::open(out, want, self.workspace.0, "workspace");
        record.put(Compact, "name", &self.workspace.1);
        record.put(Full, "is_organization", &true);
        record.put(Full, "email_domains", &["example.com"]);
        record.close();
    }

    /// Any object by what it is. What was deleted still shows its gid and name.
    pub(super) fn write_thing(&self, out: &mut Vec<u8>, thing: Thing, want: Want<'_>) {
        match thing {
            Thing::Task(gid) => match self.task(gid) {
                Some(task) => self.write_task(out, &task, want, None),
                None => Record::open(out, want, gid, "task").close(),
            },
            Thing::Story(gid) => match self.stories.get(&gid) {
                Some(story) => self.write_story(out, story, want, 0),
                None => Record::open(out, want, gid, "story").close(),
            },
            Thing::Project(gid) => {
                let mut record = Record::open(out, want, gid, "project");
                if let Some(project) = self.projects.get(&gid) {
                    record.put(Compact, "name", &project.name);
                    record.put(Full, "archived", &project.archived);
                    record.with(Full, "created_at", || instant_ms(project.created_at));
                    record.with(Full, "modified_at", || instant_ms(project.modified_at));
                    record.with(Full, "notes", || rich::plain(&project.html_notes));
                    record.put(OptIn, "html_notes", &project.html_notes);
                    record.put(Full, "color", &None::<&str>);
                    record.put(Full, "public", &project.hidden_from.is_empty());
                    record.put(Full, "completed", &false);
                    record.put(Full, "due_on", &None::<&str>);
                    record.put(Full, "default_view", "list");
                    self.write_user(&mut record, Full, "owner", Some(project.owner));
                    if let Some((out, want)) = record.nested(Full, "workspace") {
                        self.write_workspace(out, want);
                    }
                    record.with(Full, "permalink_url", || format!("{WEB}/1/{}/project/{gid}", self.workspace.0));
                    if let Some((out, _)) = record.nested(Full, "custom_field_settings") {
                        out.extend_from_slice(b"[]");
                    }
                }
                record.close();
            }
            Thing::Section(gid) => {
                let mut record = Record::open(out, want, gid, "section");
                if let Some(section) = self.sections.get(&gid) {
                    record.put(Compact, "name", &section.name);
                    record.with(Full, "created_at", || instant_ms(section.created_at));
                    if let Some((out, want)) = record.nested(Full, "project") {
                        self.write_thing(out, Thing::Project(section.project), want);
                    }
                }
                record.close();
            }
            Thing::Tag(gid) => {
                let mut record = Record::open(out, want, gid, "tag");
                if let Some(tag) = self.tags.get(&gid) {
                    record.put(Compact, "name", &tag.name);
                    record.put(Full, "color", &tag.color);
                    record.with(Full, "created_at", || instant_ms(tag.created_at));
                    record.put(Full, "notes", "");
                    record.put(Full, "followers", &[0u8; 0]);
                    if let Some((out, want)) = record.nested(Full, "workspace") {
                        self.write_workspace(out, want);
                    }
                    record.with(Full, "permalink_url", || format!("{WEB}/0/{gid}/list"));
                }
                record.close();
            }
            Thing::User(gid) => {
                let mut record = Record::open(out, want, gid, "user");
                if let Some(user) = self.users.get(&gid) {
                    record.put(Compact, "name", &user.name);
                    record.put(Full, "email", &user.email);
                    record.put(Full, "photo", &None::<&str>);
                    if let Some((out, want)) = record.nested(Full, "workspaces") {
                        list(out, [()], |out, ()| self.write_workspace(out, want));
                    }
                }
                record.close();
            }
        }
    }

    /// A story as `reader` sees it.
    pub(super) fn write_story(&self, out: &mut Vec<u8>, story: &Story, want: Want<'_>, reader: u64) {
        let comment = story.subtype == "comment_added";
        let mut record = Record::open(out, want, story.gid, "story");
        record.put(Compact, "resource_subtype", &story.subtype);
        record.with(Compact, "created_at", || instant_ms(story.created_at));
        self.write_user(&mut record, Compact, "created_by", Some(story.author));
        record.with(Compact, "text", || rich::plain(&self.expanded(&story.html)));
        record.put(Compact, "type", if comment { "comment" } else { "system" });
        record.with(OptIn, "html_text", || self.expanded(&story.html));
        record.put(Full, "is_pinned", &story.pinned);
        record.put(Full, "is_edited", &story.edited);
        record.put(Full, "is_editable", &(comment && story.author == reader));
        record.put(Full, "liked", &false);
        record.put(Full, "num_likes", &0);
        record.put(Full, "source", story.source);
        if let Some((out, want)) = record.nested(Full, "target") {
            self.write_thing(out, Thing::Task(story.task), want);
        }
        record.close();
    }

    pub(super) fn write_event(&self, out: &mut Vec<u8>, event: &Event, want: Want<'_>) {
        let mut record = Record::open_plain(out, want);
        if let Some((out, want)) = record.nested(Compact, "user") {
            match event.user {
                Some(who) => self.write_thing(out, Thing::User(who), want),
                None => out.extend_from_slice(b"null"),
            }
        }
        record.with(Compact, "created_at", || instant_ms(event.at));
        record.put(Compact, "type", thing_type(event.resource));
        record.put(Compact, "action", event.action);
        if let Some((out, want)) = record.nested(Compact, "resource") {
            self.write_thing(out, event.resource, want);
        }
        if let Some((out, want)) = record.nested(Compact, "parent") {
            match event.parent {
                Some(parent) => self.write_thing(out, parent, want),
                None => out.extend_from_slice(b"null"),
            }
        }
        if let Some(change) = event.change
            && let Some((out, want)) = record.nested(Compact, "change")
        {
            let want = if matches!(want, Want::Bare) { Want::Compact } else { want };
            let mut record = Record::open_plain(out, want);
            record.put(Compact, "field", change.field);
            record.put(Compact, "action", change.action);
            if let Some(value) = change.value
                && let Some((out, _)) = record.nested(Compact, change.value_name())
            {
                self.write_thing(out, value, Want::Bare);
            }
            record.close();
        }
        record.close();
    }

    /// The custom fields that stand on a task: those of its projects, each once.
    pub(super) fn fields_of(&self, task: &Task) -> Vec<u64> {
        let mut fields = Vec::new();
        for (project, _) in &task.homes {
            for field in self.projects.get(project).map(|project| project.custom_fields.as_slice()).unwrap_or_default()
            {
                if !fields.contains(field) {
                    fields.push(*field);
                }
            }
        }
        fields
    }

    fn write_field_value(&self, out: &mut Vec<u8>, task: &Task, gid: u64, want: Want<'_>) {
        let mut record = Record::open(out, want, gid, "custom_field");
        if let Some(field) = self.custom_fields.get(&gid) {
            let value = task.fields.get(&gid);
            record.put(Compact, "name", &field.name);
            record.put(Full, "type", field.kind.as_str());
            record.put(Compact, "resource_subtype", field.kind.as_str());
            record.put(Full, "enabled", &true);
            record.with(Compact, "display_value", || value.and_then(|value| self.display(field.kind, value)));
            match field.kind {
                FieldKind::Text => record.put(Full, "text_value", &value),
                FieldKind::Number => record.put(Full, "number_value", &value),
                FieldKind::Date => record.put(Full, "date_value", &value),
                FieldKind::Enum => {
                    if let Some((out, _)) = record.nested(Full, "enum_value") {
                        match value.and_then(Value::as_str).and_then(|gid| gid.parse().ok()) {
                            Some(option) => self.write_option(out, option),
                            None => out.extend_from_slice(b"null"),
                        }
                    }
                    self.write_options(&mut record, &field.options);
                }
                FieldKind::MultiEnum => {
                    if let Some((out, _)) = record.nested(Full, "multi_enum_values") {
                        let chosen = value.and_then(Value::as_array).into_iter().flatten();
                        let chosen = chosen.filter_map(|gid| gid.as_str()?.parse().ok());
                        list(out, chosen, |out, option| self.write_option(out, option));
                    }
                    self.write_options(&mut record, &field.options);
                }
            }
        }
        record.close();
    }

    fn write_options(&self, record: &mut Record<'_, '_>, options: &[(u64, String)]) {
        if let Some((out, _)) = record.nested(Full, "enum_options") {
            list(out, options, |out, (option, _)| self.write_option(out, *option));
        }
    }

    fn write_option(&self, out: &mut Vec<u8>, gid: u64) {
        let mut record = Record::open(out, Want::Full, gid, "enum_option");
        let name = self.option_name(gid);
        record.put(Compact, "name", &name);
        record.put(Full, "enabled", &true);
        record.put(Full, "color", "none");
        record.close();
    }

    fn option_name(&self, gid: u64) -> &str {
        let options = self.custom_fields.values().flat_map(|field| &field.options);
        options.into_iter().find(|(known, _)| *known == gid).map(|(_, name)| name.as_str()).unwrap_or_default()
    }

    /// A custom field's value as a person reads it.
    pub(super) fn display(&self, kind: FieldKind, value: &Value) -> Option<String> {
        let option = |gid: &Value| Some(self.option_name(gid.as_str()?.parse().ok()?).to_owned());
        match (kind, value) {
            (_, Value::Null) => None,
            (FieldKind::Text, Value::String(text)) => Some(text.clone()),
            (FieldKind::Enum, gid) => option(gid),
            (FieldKind::MultiEnum, Value::Array(gids)) => {
                Some(gids.iter().filter_map(option).collect::<Vec<_>>().join(", "))
            }
            (FieldKind::Date, Value::Object(parts)) => Some(parts.get("date")?.as_str()?.to_owned()),
            (_, other) => Some(other.to_string()),
        }
    }

    /// The definition of a custom field.
    pub(super) fn write_field(&self, out: &mut Vec<u8>, gid: u64, want: Want<'_>) {
        let mut record = Record::open(out, want, gid, "custom_field");
        if let Some(field) = self.custom_fields.get(&gid) {
            record.put(Compact, "name", &field.name);
            record.put(Compact, "resource_subtype", field.kind.as_str());
            record.put(Compact, "type", field.kind.as_str());
            record.put(Full, "description", "");
            record.put(Full, "is_global_to_workspace", &true);
            if matches!(field.kind, FieldKind::Enum | FieldKind::MultiEnum) {
                self.write_options(&mut record, &field.options);
            }
        }
        record.close();
    }

    /// A field's place on a project.
    pub(super) fn write_field_setting(&self, out: &mut Vec<u8>, project: u64, field: u64, want: Want<'_>) {
        // A setting is named after both; its own gid is never written to.
        let mut record = Record::open(out, want, project.wrapping_add(field), "custom_field_setting");
        record.put(Compact, "is_important", &true);
        if let Some((out, want)) = record.nested(Compact, "project") {
            self.write_thing(out, Thing::Project(project), want);
        }
        if let Some((out, want)) = record.nested(Compact, "custom_field") {
            let want = if matches!(want, Want::Bare | Want::Compact) { Want::Full } else { want };
            self.write_field(out, field, want);
        }
        record.close();
    }

    /// A stored rich text as it reads back now.
    pub(super) fn expanded<'t>(&self, stored: &'t str) -> Cow<'t, str> {
        rich::expanded(stored, |gid, href| self.target(gid, href))
    }

    /// What a link leads to, by gid or else by an address of Asana's own.
    fn target(&self, gid: u64, href: &str) -> Option<Target> {
        let gid = if gid > 0 { gid } else { linked_gid(href)? };
        let target = |kind, url, shown, readable| Some(Target { kind, gid, url, shown, readable });
        if let Some(user) = self.users.get(&gid) {
            return target("user", format!("{WEB}/0/{gid}/list"), format!("@{}", user.name), true);
        }
        if let Some(project) = self.projects.get(&gid) {
            return target("project", format!("{WEB}/0/{gid}/list"), project.name.clone(), true);
        }
        if let Some(tag) = self.tags.get(&gid).filter(|tag| !tag.deleted) {
            return target("tag", format!("{WEB}/0/{gid}/list"), tag.name.clone(), true);
        }
        let task = self.task(gid)?;
        target("task", format!("{WEB}/0/0/{gid}"), task.name.clone(), !task.trashed)
    }

    /// The subtasks that are not in the trash.
    pub(super) fn living_subtasks(&self, parent: u64) -> impl Iterator<Item = u64> {
        let all = self.subtasks.get(&parent).map(Vec::as_slice).unwrap_or_default();
        all.iter().copied().filter(|gid| self.task(*gid).is_some_and(|task| !task.trashed))
    }
}

/// The last run of digits of an address of the web application: `/0/1201/1202/f`, `/1/…/task/1202`.
fn linked_gid(href: &str) -> Option<u64> {
    let path = href.strip_prefix(WEB)?.split(['?', '#']).next()?;
    path.rsplit('/').find_map(|part| part.parse().ok().filter(|gid| *gid > 1_000_000))
}

/// The word for the kind of a thing in an event.
pub(super) fn thing_type(thing: Thing) -> &'static str {
    match thing {
        Thing::Task(_) => "task",
        Thing::Story(_) => "story",
        Thing::Project(_) => "project",
        Thing::Section(_) => "section",
        Thing::Tag(_) => "tag",
        Thing::User(_) => "user",
    }
}
