//! Requests that write: what they must say, and what is refused (asana-api.md §1.7, §3).

use jiff::civil::Date;
use serde_json::{Map, Value};

use super::acts::{Edit, NewTask, Spot};
use super::feed::Thing;
use super::{
    AsanaState, Call, FieldKind, Refusal, SectionState, TagState, Task, data, nothing, nothing_found, parse_gid,
    refuse, rich,
};
use crate::provider::http::Response;
use crate::sandbox::web::parse_instant;

/// Projects on one task (asana-api.md §2).
const HOMES_MAX: usize = 20;
/// Properties that only a creation takes.
const CREATE_ONLY: [&str; 4] = ["projects", "tags", "followers", "memberships"];
const COLORS: [&str; 18] = [
    "dark-pink",
    "dark-green",
    "dark-blue",
    "dark-red",
    "dark-teal",
    "dark-brown",
    "dark-orange",
    "dark-purple",
    "dark-warm-gray",
    "light-pink",
    "light-green",
    "light-blue",
    "light-red",
    "light-teal",
    "light-brown",
    "light-orange",
    "light-purple",
    "light-warm-gray",
];

type Data = Map<String, Value>;

impl AsanaState {
    /// A task that is not in the trash and that the caller may see, by its gid in the path.
    pub(super) fn living_task(&self, gid: &str, call: &Call<'_>) -> Result<u64, Refusal> {
        let gid = match gid.strip_prefix("external:") {
            Some(name) => self.external_task(name, call.app.as_deref())?,
            None => parse_gid("task", gid)?,
        };
        let Some(task) = self.task(gid) else { return nothing_found("task", gid) };
        if self.is_hidden(&task, call.act.who) {
            return refuse(403, "You do not have access to this task.");
        }
        match (task.trashed, self.habits.trashed_is_forbidden) {
            (false, _) => Ok(gid),
            (true, true) => refuse(403, "You do not have access to this task."),
            (true, false) => nothing_found("task", gid),
        }
    }

    fn external_task(&self, name: &str, app: Option<&str>) -> Result<u64, Refusal> {
        let owned = |task: &Task| {
            task.external.as_ref().is_some_and(|(owner, gid, _)| gid == name && Some(owner.as_str()) == app)
        };
        match self.tasks.iter().find(|(_, task)| owned(task.get())) {
            Some((gid, _)) => Ok(*gid),
            None => refuse(404, format!("task: Unknown object: external:{name}")),
        }
    }

    /// Whether all of a task's projects are hidden from this user.
    pub(super) fn is_hidden(&self, task: &Task, who: u64) -> bool {
        let hidden = |gid: &u64| self.projects.get(gid).is_some_and(|project| project.hidden_from.contains(&who));
        !task.homes.is_empty() && task.homes.iter().all(|(project, _)| hidden(project))
    }

    pub(super) fn create_task(&mut self, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let given = call.data()?;
        let homes = self.homes(&given, call.act.who)?;
        let parent = match given.get("parent").filter(|parent| !parent.is_null()) {
            Some(parent) => Some(self.known_task("parent", parent)?),
            None => None,
        };
        match given.get("workspace") {
            Some(workspace) => self.workspace(text("workspace", workspace)?).map_err(in_body)?,
            None if homes.is_empty() && parent.is_none() => {
                return refuse(400, "You should specify one of workspace, parent, projects");
            }
            None => 0,
        };
        let mut followers = Vec::new();
        for who in items("followers", &given)? {
            followers.push(self.user(text("followers", who)?, call.act.who)?);
        }
        let mut tags = Vec::new();
        for tag in items("tags", &given)? {
            tags.push(self.living_tag(text("tags", tag)?).map_err(in_body)?);
        }
        let subtype = match given.get("resource_subtype") {
            Some(subtype) => Some(text("resource_subtype", subtype)?.to_owned()),
            None => None,
        };
        let approval = subtype.as_deref() == Some("approval");
        // Everything is checked before anything is made.
        let shape = Shape { homes: homes.iter().map(|(project, _)| *project).collect(), approval };
        let edits = self.edits(&given, &shape, call)?;
        let mut new = NewTask { subtype, homes, parent, tags, followers, ..NewTask::default() };
        let mut later = Vec::new();
        for edit in edits {
            match edit {
                Edit::Name(name) => new.name = name,
                Edit::Html(html) => new.html = html,
                other => later.push(other),
            }
        }
        let gid = self.add_task(call.act, new);
        for edit in later {
            self.edit(call.act, gid, edit);
        }
        let mut response = self.show_task(gid, 201, call)?;
        response.headers.push(("location".to_owned(), format!("{}/tasks/{gid}", call.ask.base)));
        Ok(response)
    }

    fn show_task(&self, gid: u64, status: u16, call: &Call<'_>) -> Result<Response, Refusal> {
        match self.task(gid) {
            Some(task) => Ok(data(status, |out| self.write_task(out, &task, call.single(), call.app.as_deref()))),
            None => nothing_found("task", gid),
        }
    }

    pub(super) fn update_task(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_task(gid, call)?;
        let given = call.data()?;
        if let Some(name) = CREATE_ONLY.iter().find(|name| given.contains_key(**name)) {
            return refuse(400, format!("{name}: Cannot write this property"));
        }
        let Some(task) = self.task(gid) else { return nothing_found("task", gid) };
        let shape = Shape {
            homes: task.homes.iter().map(|(project, _)| *project).collect(),
            approval: task.approval.is_some(),
        };
        for edit in self.edits(&given, &shape, call)? {
            self.edit(call.act, gid, edit);
        }
        self.show_task(gid, 200, call)
    }

    pub(super) fn delete_task(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_task(gid, call)?;
        self.trash(call.act, gid);
        Ok(nothing())
    }

    /// The edits a body asks for, all checked.
    fn edits(&self, given: &Data, shape: &Shape, call: &Call<'_>) -> Result<Vec<Edit>, Refusal> {
        let mut edits = Vec::new();
        let has = |name: &str| given.get(name).is_some_and(|value| !value.is_null());
        if has("due_on") && has("due_at") {
            return refuse(400, "You may only provide one of due_on or due_at!");
        }
        if has("notes") && has("html_notes") {
            return refuse(400, "You may only provide one of notes or html_notes!");
        }
        for (name, value) in given {
            edits.push(match name.as_str() {
                "name" => Edit::Name(text_or_null("name", value)?.to_owned()),
                "notes" => Edit::Html(rich::from_plain(text_or_null("notes", value)?)),
                "html_notes" => Edit::Html(rich_text("html_notes", value)?),
                "completed" => match value {
                    Value::Bool(done) => Edit::Completed(*done),
                    other => return refuse(400, format!("completed: Value is not a boolean: {other}")),
                },
                "due_on" => Edit::DueOn(day("due_on", value)?),
                "start_on" => Edit::StartOn(day("start_on", value)?),
                "due_at" => match value {
                    Value::Null => Edit::DueAt(None),
                    other => match other.as_str().and_then(parse_instant) {
                        Some(at) => Edit::DueAt(Some(at)),
                        None => return refuse(400, format!("due_at: Date must be in ISO-8601 format, not: {other}")),
                    },
                },
                "assignee" => match value {
                    Value::Null => Edit::Assignee(None),
                    other => Edit::Assignee(Some(self.user(text("assignee", other)?, call.act.who)?)),
                },
                "approval_status" if shape.approval => Edit::Approval(text("approval_status", value)?.to_owned()),
                "custom_fields" => {
                    let Value::Object(fields) = value else {
                        return refuse(400, format!("custom_fields: Value is not a JSON object: {value}"));
                    };
                    for (gid, value) in fields {
                        edits.push(self.field_edit(gid, value, shape)?);
                    }
                    continue;
                }
                "external" => match (&call.app, value) {
                    (None, _) => continue,
                    (Some(_), Value::Null) => Edit::External(None),
                    (Some(app), Value::Object(external)) => {
                        let part =
                            |name: &str| external.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                        Edit::External(Some((app.clone(), part("gid"), part("data"))))
                    }
                    (Some(_), other) => return refuse(400, format!("external: Value is not a JSON object: {other}")),
                },
                _ => continue,
            });
        }
        Ok(edits)
    }

    fn field_edit(&self, gid: &str, value: &Value, shape: &Shape) -> Result<Edit, Refusal> {
        if !self.habits.paid {
            return refuse(402, "Custom Fields are not available for free users or guests.");
        }
        let number = parse_gid("custom_fields", gid)?;
        let fields =
            |project: &u64| self.projects.get(project).is_some_and(|project| project.custom_fields.contains(&number));
        let field = self.custom_fields.get(&number).filter(|_| shape.homes.iter().any(fields));
        let Some(field) = field else {
            return refuse(400, format!("Custom field with ID {gid} is not on given object"));
        };
        let is_option = |gid: &Value| {
            let number: Option<u64> = gid.as_str().and_then(|gid| gid.parse().ok());
            number.is_some_and(|number| field.options.iter().any(|(known, _)| *known == number))
        };
        let fits = match (field.kind, value) {
            (_, Value::Null) => true,
            (FieldKind::Text, Value::String(text)) => text.chars().count() <= 1024,
            (FieldKind::Number, Value::Number(_)) => true,
            (FieldKind::Enum, gid) => is_option(gid),
            (FieldKind::MultiEnum, Value::Array(gids)) => gids.iter().all(is_option),
            (FieldKind::Date, Value::Object(parts)) => {
                parts.get("date").and_then(Value::as_str).is_some_and(|day| day.parse::<Date>().is_ok())
            }
            _ => false,
        };
        if fits {
            Ok(Edit::Field(number, value.clone()))
        } else {
            refuse(400, format!("custom_fields: {gid}: Not a valid value for this field: {value}"))
        }
    }

    /// Projects and sections a new task begins in.
    fn homes(&self, given: &Data, who: u64) -> Result<Vec<(u64, u64)>, Refusal> {
        let mut homes: Vec<(u64, u64)> = Vec::new();
        for (index, project) in items("projects", given)?.enumerate() {
            let project = text("projects", project)?;
            let gid = self.readable_project(project, who).map_err(|refusal| match refusal.status {
                404 => Refusal { status: 400, message: format!("projects: [{index}]: Unknown object: {project}") },
                _ => refusal,
            })?;
            homes.push((gid, self.first_section(gid)));
        }
        for (index, membership) in items("memberships", given)?.enumerate() {
            let Some(project) = membership.get("project") else {
                return refuse(400, format!("memberships: [{index}]: project: Missing required field"));
            };
            let project = self.readable_project(text("project", project)?, who).map_err(in_body)?;
            let section = match membership.get("section").filter(|section| !section.is_null()) {
                Some(section) => self.section_of(project, section, who)?,
                None => self.first_section(project),
            };
            homes.push((project, section));
        }
        let mut seen = Vec::new();
        homes.retain(|(project, _)| {
            let new = !seen.contains(project);
            seen.push(*project);
            new
        });
        if homes.len() > HOMES_MAX {
            return refuse(400, format!("projects: A task may be in at most {HOMES_MAX} projects"));
        }
        Ok(homes)
    }

    fn first_section(&self, project: u64) -> u64 {
        self.projects.get(&project).and_then(|project| project.sections.first()).copied().unwrap_or_default()
    }

    fn section_of(&self, project: u64, value: &Value, who: u64) -> Result<u64, Refusal> {
        let section = self.readable_section(text("section", value)?, who).map_err(in_body)?;
        match self.sections.get(&section).filter(|state| state.project == project) {
            Some(_) => Ok(section),
            None => refuse(400, "section: Section is not in the given project"),
        }
    }

    fn known_task(&self, name: &str, value: &Value) -> Result<u64, Refusal> {
        let gid = parse_gid(name, text(name, value)?)?;
        match self.task(gid).filter(|task| !task.trashed) {
            Some(_) => Ok(gid),
            None => refuse(400, format!("{name}: Unknown object: {gid}")),
        }
    }

    /// `insert_before` or `insert_after`; null means the end or the start.
    fn spot(&self, given: &Data, otherwise: Spot) -> Result<Spot, Refusal> {
        Ok(match (given.get("insert_before"), given.get("insert_after")) {
            (Some(Value::Null), _) => Spot::End,
            (_, Some(Value::Null)) => Spot::Start,
            (Some(task), _) => Spot::Before(self.known_task("insert_before", task)?),
            (_, Some(task)) => Spot::After(self.known_task("insert_after", task)?),
            (None, None) => otherwise,
        })
    }

    pub(super) fn task_action(&mut self, gid: &str, action: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_task(gid, call)?;
        let given = call.data()?;
        let needed = |name: &str| match given.get(name) {
            Some(value) => Ok(value),
            None => refuse(400, format!("{name}: Missing input")),
        };
        let act = call.act;
        match action {
            "addProject" => {
                let project = self.readable_project(text("project", needed("project")?)?, act.who).map_err(in_body)?;
                let homes = self.task(gid).map(|task| task.homes.clone()).unwrap_or_default();
                let old = homes.iter().find(|(known, _)| *known == project).map(|(_, section)| *section);
                if old.is_none() && homes.len() >= HOMES_MAX {
                    return refuse(400, format!("projects: A task may be in at most {HOMES_MAX} projects"));
                }
                let section = match given.get("section").filter(|section| !section.is_null()) {
                    Some(section) => self.section_of(project, section, act.who)?,
                    None => old.unwrap_or_else(|| self.first_section(project)),
                };
                let spot = self.spot(&given, Spot::End)?;
                self.put_in_project(act, gid, project, section, spot);
            }
            "removeProject" => {
                let project = self.readable_project(text("project", needed("project")?)?, act.who).map_err(in_body)?;
                self.take_from_project(act, gid, project);
            }
            "addTag" | "removeTag" => {
                let tag = self.living_tag(text("tag", needed("tag")?)?).map_err(in_body)?;
                self.set_tag(act, gid, tag, action == "addTag");
            }
            "setParent" => {
                let parent = match needed("parent")? {
                    Value::Null => None,
                    parent => Some(self.known_task("parent", parent)?),
                };
                let mut above = parent;
                // A circle of parents would have no end.
                for _ in 0..10 {
                    if above == Some(gid) {
                        return refuse(400, "parent: A task cannot be its own ancestor");
                    }
                    above = above.and_then(|gid| self.task(gid)).and_then(|task| task.parent);
                }
                self.set_parent(act, gid, parent);
                return self.show_task(gid, 200, call);
            }
            _ => {
                let mut followers = Vec::new();
                for who in items("followers", &given)? {
                    followers.push(self.user(text("followers", who)?, act.who)?);
                }
                self.set_followers(act, gid, &followers, action == "addFollowers");
                return self.show_task(gid, 200, call);
            }
        }
        Ok(nothing())
    }

    // ---- stories ----

    pub(super) fn create_story(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let task = self.living_task(gid, call)?;
        let given = call.data()?;
        let html = comment_text(&given)?;
        let pinned = given.get("is_pinned").and_then(Value::as_bool).unwrap_or(false);
        let story = self.comment(call.act, task, html, pinned);
        let mut response = self.show_story(story, 201, call)?;
        response.headers.push(("location".to_owned(), format!("{}/stories/{story}", call.ask.base)));
        Ok(response)
    }

    fn show_story(&self, gid: u64, status: u16, call: &Call<'_>) -> Result<Response, Refusal> {
        match self.stories.get(&gid) {
            Some(story) => Ok(data(status, |out| self.write_story(out, story, call.single(), call.act.who))),
            None => nothing_found("story", gid),
        }
    }

    pub(super) fn update_story(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_story(gid)?;
        let given = call.data()?;
        let Some(story) = self.stories.get_mut(&gid) else { return nothing_found("story", gid) };
        if story.subtype != "comment_added" {
            return refuse(400, "text: Only comment stories can be edited");
        }
        if let Some(pinned) = given.get("is_pinned").and_then(Value::as_bool) {
            story.pinned = pinned;
        }
        if given.contains_key("text") || given.contains_key("html_text") {
            if story.author != call.act.who {
                return refuse(403, "You do not have permission to edit this story.");
            }
            let html = comment_text(&given)?;
            self.edit_comment(call.act, gid, html);
        }
        self.show_story(gid, 200, call)
    }

    pub(super) fn delete_story(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_story(gid)?;
        if self.stories.get(&gid).is_some_and(|story| story.author != call.act.who) {
            return refuse(403, "You do not have permission to delete this story.");
        }
        self.delete_comment(call.act, gid);
        Ok(nothing())
    }

    // ---- sections and tags ----

    pub(super) fn create_section(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let project = self.readable_project(gid, call.act.who)?;
        let given = call.data()?;
        let name = name_of(&given)?;
        let gid = self.add_section(project, name, call.act.now);
        self.tell(call.act, "added", Thing::Section(gid), Some(Thing::Project(project)), None, vec![project]);
        Ok(data(201, |out| self.write_thing(out, Thing::Section(gid), call.single())))
    }

    pub(super) fn add_section(&mut self, project: u64, name: &str, now: i64) -> u64 {
        let gid = self.gid();
        let section =
            SectionState { gid, name: name.to_owned(), project, created_at: now, order: Vec::new(), deleted: false };
        self.sections.insert(gid, section);
        if let Some(project) = self.projects.get_mut(&project) {
            project.sections.push(gid);
        }
        gid
    }

    pub(super) fn update_section(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.readable_section(gid, call.act.who)?;
        let given = call.data()?;
        let name = name_of(&given)?.to_owned();
        self.rename_section(call.act, gid, name);
        Ok(data(200, |out| self.write_thing(out, Thing::Section(gid), call.single())))
    }

    pub(super) fn rename_section(&mut self, act: super::Act, gid: u64, name: String) {
        let Some(section) = self.sections.get_mut(&gid) else { return };
        section.name = name;
        let project = section.project;
        let change = super::feed::FieldChange { field: "name", action: "changed", value: None };
        self.tell(act, "changed", Thing::Section(gid), None, Some(change), vec![project]);
    }

    pub(super) fn delete_section(&mut self, gid: &str) -> Result<Response, Refusal> {
        let gid = parse_gid("section", gid)?;
        let Some(section) = self.sections.get(&gid).filter(|section| !section.deleted) else {
            return nothing_found("section", gid);
        };
        let project = self.projects.get(&section.project);
        let computed =
            project.is_some_and(|project| project.sections.first() == Some(&gid) && project.population.is_some());
        let living = section.order.iter().any(|gid| self.task(*gid).is_some_and(|task| !task.trashed));
        if living || computed {
            return refuse(400, "section: Cannot delete a section that has tasks in it");
        }
        if project.is_some_and(|project| project.sections.len() <= 1) {
            return refuse(400, "section: Cannot delete the last section of a project");
        }
        let project = section.project;
        if let Some(project) = self.projects.get_mut(&project) {
            project.sections.retain(|known| *known != gid);
        }
        if let Some(section) = self.sections.get_mut(&gid) {
            section.deleted = true;
        }
        Ok(nothing())
    }

    pub(super) fn section_add_task(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let section = self.readable_section(gid, call.act.who)?;
        let given = call.data()?;
        let Some(task) = given.get("task") else { return refuse(400, "task: Missing input") };
        let task = self.known_task("task", task)?;
        let spot = self.spot(&given, Spot::Start)?;
        let project = self.sections.get(&section).map(|section| section.project).unwrap_or_default();
        self.put_in_project(call.act, task, project, section, spot);
        Ok(nothing())
    }

    pub(super) fn create_tag(&mut self, workspace: Option<&str>, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let given = call.data()?;
        match (workspace, given.get("workspace")) {
            (Some(workspace), _) => self.workspace(workspace)?,
            (None, Some(workspace)) => self.workspace(text("workspace", workspace)?).map_err(in_body)?,
            (None, None) => return refuse(400, "workspace: Missing input"),
        };
        let name = name_of(&given)?.to_owned();
        let color = color_of(&given)?;
        let gid = self.add_tag(name, color, call.act.now);
        let mut response = data(201, |out| self.write_thing(out, Thing::Tag(gid), call.single()));
        response.headers.push(("location".to_owned(), format!("{}/tags/{gid}", call.ask.base)));
        Ok(response)
    }

    pub(super) fn add_tag(&mut self, name: String, color: Option<String>, now: i64) -> u64 {
        let gid = self.gid();
        self.tags.insert(gid, TagState { gid, name, color, created_at: now, deleted: false });
        gid
    }

    pub(super) fn update_tag(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_tag(gid)?;
        let given = call.data()?;
        let color = color_of(&given)?;
        if let Some(tag) = self.tags.get_mut(&gid) {
            if given.contains_key("name") {
                tag.name = name_of(&given)?.to_owned();
            }
            if given.contains_key("color") {
                tag.color = color;
            }
        }
        Ok(data(200, |out| self.write_thing(out, Thing::Tag(gid), call.single())))
    }

    pub(super) fn delete_tag(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_tag(gid)?;
        self.remove_tag(gid, call.act.now);
        Ok(nothing())
    }

    pub(super) fn remove_tag(&mut self, gid: u64, now: i64) {
        if let Some(tag) = self.tags.get_mut(&gid) {
            tag.deleted = true;
        }
        let carrying: Vec<u64> =
            self.tasks.iter().filter(|(_, task)| task.get().tags.contains(&gid)).map(|(gid, _)| *gid).collect();
        for task in carrying {
            if let Some(task) = self.touch(task, now) {
                task.tags.retain(|known| *known != gid);
            }
        }
    }
}

/// What of a task decides which edits are allowed.
struct Shape {
    homes: Vec<u64>,
    approval: bool,
}

/// An unknown object in a path is 404, the same in a body 400.
fn in_body(refusal: Refusal) -> Refusal {
    Refusal { status: if refusal.status == 404 { 400 } else { refusal.status }, ..refusal }
}

fn text<'v>(name: &str, value: &'v Value) -> Result<&'v str, Refusal> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) => refuse(400, format!("{name}: Not a valid GID type: number")),
        other => refuse(400, format!("{name}: Value is not a string: {other}")),
    }
}

/// A text; null is taken as empty.
fn text_or_null<'v>(name: &str, value: &'v Value) -> Result<&'v str, Refusal> {
    match value {
        Value::Null => Ok(""),
        Value::String(text) => Ok(text),
        other => refuse(400, format!("{name}: Value is not a string: {other}")),
    }
}

fn rich_text(name: &str, value: &Value) -> Result<String, Refusal> {
    rich::accept(text_or_null(name, value)?).or_else(|why| refuse(400, format!("{name}: {why}")))
}

fn day(name: &str, value: &Value) -> Result<Option<Date>, Refusal> {
    match value {
        Value::Null => Ok(None),
        // Exactly ten characters: a date with a time is no day.
        Value::String(text) if text.len() == 10 && text.parse::<Date>().is_ok() => Ok(text.parse().ok()),
        other => {
            let found = other.as_str().map_or_else(|| other.to_string(), str::to_owned);
            refuse(400, format!("{name}: Date must be in ISO-8601 (yyyy-mm-dd) format, not: {found}"))
        }
    }
}

fn items<'d>(name: &str, given: &'d Data) -> Result<std::slice::Iter<'d, Value>, Refusal> {
    match given.get(name) {
        None | Some(Value::Null) => Ok([].iter()),
        Some(Value::Array(items)) => Ok(items.iter()),
        Some(other) => refuse(400, format!("{name}: Value is not an array: {other}")),
    }
}

fn comment_text(given: &Data) -> Result<String, Refusal> {
    match (given.get("text"), given.get("html_text")) {
        (Some(_), Some(_)) => refuse(400, "You may only provide one of text or html_text!"),
        (Some(plain), None) => Ok(rich::from_plain(text_or_null("text", plain)?)),
        (None, Some(html)) => rich_text("html_text", html),
        (None, None) => refuse(400, "text: Missing input"),
    }
}

fn name_of(given: &Data) -> Result<&str, Refusal> {
    match given.get("name") {
        Some(name) => match text_or_null("name", name)?.trim() {
            "" => refuse(400, "name: Must not be empty"),
            _ => text_or_null("name", name),
        },
        None => refuse(400, "name: Missing input"),
    }
}

fn color_of(given: &Data) -> Result<Option<String>, Refusal> {
    match given.get("color") {
        None | Some(Value::Null) => Ok(None),
        Some(color) => match color.as_str().filter(|color| COLORS.contains(color)) {
            Some(color) => Ok(Some(color.to_owned())),
            None => refuse(400, format!("color: Not a recognized color: {color}")),
        },
    }
}
