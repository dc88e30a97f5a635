//! What can happen to tasks and stories, whoever does it and however it came in: the value, the stamp, the
//! event and the system story (asana-api.md §3.7, §5.3).

use jiff::civil::Date;
use serde_json::Value;

use super::feed::{Event, FieldChange, Thing};
use super::{Act, AsanaState, Lagging, Story, Task, rich};

/// One edit of one task.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Edit {
    Name(String),
    /// Stored form, see `rich`.
    Html(String),
    Completed(bool),
    DueOn(Option<Date>),
    DueAt(Option<i64>),
    StartOn(Option<Date>),
    Assignee(Option<u64>),
    Field(u64, Value),
    Approval(String),
    External(Option<(String, String, String)>),
}

/// Where in a section a task is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spot {
    Start,
    End,
    Before(u64),
    After(u64),
}

/// What a new task begins with.
#[derive(Debug, Default)]
pub(super) struct NewTask {
    pub name: String,
    pub html: String,
    pub subtype: Option<String>,
    pub homes: Vec<(u64, u64)>,
    pub parent: Option<u64>,
    pub tags: Vec<u64>,
    pub followers: Vec<u64>,
}

impl AsanaState {
    /// A task about to be written: stored from now on.
    pub(super) fn touch(&mut self, gid: u64, at: i64) -> Option<&mut Task> {
        if !self.tasks.contains_key(&gid) {
            let task = self.computed(gid)?;
            self.tasks.insert(gid, Lagging::standing(task));
        }
        self.tasks.get_mut(&gid).map(|task| task.change(at))
    }

    /// Tells everybody who listens to the task, to its projects, or to those of its parents: webhooks, and the
    /// feed. What goes wrong with the one does not with the other.
    pub(super) fn tell(
        &mut self,
        act: Act,
        action: &'static str,
        resource: Thing,
        parent: Option<Thing>,
        change: Option<FieldChange>,
        streams: Vec<u64>,
    ) {
        let event = Event { user: Some(act.who), at: act.now, action, resource, parent, change, streams };
        self.tell_hooks(&event);
        if self.chance.f64() < self.habits.event_loss {
            return;
        }
        let delay = i64::try_from(self.habits.event_delay.as_millis()).unwrap_or(i64::MAX);
        let visible = act.now.saturating_add(delay);
        if self.chance.f64() < self.habits.event_doubling {
            self.feed.push(event.clone(), visible);
        }
        self.feed.push(event, visible);
        if self.chance.f64() < self.habits.event_swapping {
            self.feed.swap_newest();
        }
    }

    /// The resources whose subscribers hear of a change of this task.
    pub(super) fn streams_of(&self, gid: u64) -> Vec<u64> {
        let mut streams = Vec::new();
        let mut next = Some(gid);
        // Subtasks nest five deep (asana-api.md §2); a few more do no harm, a circle would.
        for _ in 0..10 {
            let Some(task) = next.and_then(|gid| self.task(gid)) else { break };
            streams.push(task.gid);
            streams.extend(task.homes.iter().map(|(project, _)| project));
            next = task.parent;
        }
        streams
    }

    /// A story the system writes about a change.
    fn note(&mut self, act: Act, task: u64, subtype: &str, text: String) {
        self.add_story(act, task, subtype, rich::from_plain(&text));
    }

    fn add_story(&mut self, act: Act, task: u64, subtype: &str, html: String) -> u64 {
        let gid = self.gid();
        let story = Story {
            gid,
            task,
            subtype: subtype.to_owned(),
            author: act.who,
            created_at: act.now,
            html,
            source: act.source,
            edited: false,
            pinned: false,
            deleted: false,
        };
        self.stories.insert(gid, story);
        self.stories_of.entry(task).or_default().push(gid);
        let streams = self.streams_of(task);
        self.tell(act, "added", Thing::Story(gid), Some(Thing::Task(task)), None, streams);
        gid
    }

    pub(super) fn add_task(&mut self, act: Act, new: NewTask) -> u64 {
        let gid = self.gid();
        let NewTask { name, html, subtype, homes, parent, tags, mut followers } = new;
        if !followers.contains(&act.who) {
            followers.insert(0, act.who);
        }
        let subtype = subtype.unwrap_or_else(|| "default_task".to_owned());
        let task = Task {
            gid,
            name,
            html: if html.is_empty() { "<body></body>".to_owned() } else { html },
            approval: (subtype == "approval").then(|| "pending".to_owned()),
            subtype,
            completed: None,
            created_at: act.now,
            created_by: act.who,
            modified_at: act.now,
            due_on: None,
            due_at: None,
            start_on: None,
            assignee: None,
            followers,
            parent,
            homes: Vec::new(),
            in_slot: false,
            tags,
            fields: std::collections::BTreeMap::new(),
            external: None,
            trashed: false,
        };
        self.tasks.insert(gid, Lagging::born(task, act.now));
        if let Some(parent) = parent {
            self.subtasks.entry(parent).or_default().push(gid);
            let streams = self.streams_of(gid);
            self.tell(act, "added", Thing::Task(gid), Some(Thing::Task(parent)), None, streams);
        }
        for (project, section) in homes {
            self.put_in_project(act, gid, project, section, Spot::End);
        }
        gid
    }

    /// Carries out an edit. Answers false when it changed nothing.
    pub(super) fn edit(&mut self, act: Act, gid: u64, edit: Edit) -> bool {
        let Some(before) = self.task(gid).map(|task| task.into_owned()) else { return false };
        let mut after = before.clone();
        let (field, value) = apply(&mut after, &edit, act);
        if before == after && !self.habits.same_value_stamps {
            return false;
        }
        after.modified_at = act.now;
        if let Some(task) = self.touch(gid, act.now) {
            *task = after;
        }
        let streams = self.streams_of(gid);
        let change = FieldChange { field, action: "changed", value };
        self.tell(act, "changed", Thing::Task(gid), None, Some(change), streams);
        let who = self.users.get(&act.who).map(|user| user.name.clone()).unwrap_or_default();
        let (subtype, text) = match edit {
            Edit::Name(name) => ("name_changed", format!("{who} changed the name to \"{name}\"")),
            Edit::Html(_) => ("notes_changed", format!("{who} changed the description")),
            Edit::Completed(true) => ("marked_complete", format!("{who} marked this task complete")),
            Edit::Completed(false) => ("marked_incomplete", format!("{who} marked this task incomplete")),
            Edit::DueOn(_) | Edit::DueAt(_) | Edit::StartOn(_) => {
                ("due_date_changed", format!("{who} changed the due date"))
            }
            Edit::Assignee(Some(to)) => {
                let to = self.users.get(&to).map(|user| user.name.clone()).unwrap_or_default();
                ("assigned", format!("{who} assigned this task to {to}"))
            }
            Edit::Assignee(None) => ("unassigned", format!("{who} unassigned this task")),
            Edit::Field(..) => ("custom_field_changed", format!("{who} changed a field")),
            Edit::Approval(_) => ("approval_changed", format!("{who} changed the approval")),
            Edit::External(_) => return true,
        };
        self.note(act, gid, subtype, text);
        true
    }

    /// To the trash.
    pub(super) fn trash(&mut self, act: Act, gid: u64) {
        let streams = self.streams_of(gid);
        if let Some(task) = self.touch(gid, act.now) {
            task.trashed = true;
            task.modified_at = act.now;
        }
        self.tell(act, "deleted", Thing::Task(gid), None, None, streams);
    }

    /// Out of the trash again, into the place it had.
    pub(super) fn restore(&mut self, act: Act, gid: u64) {
        if let Some(task) = self.touch(gid, act.now) {
            task.trashed = false;
            task.modified_at = act.now;
        }
        let streams = self.streams_of(gid);
        self.tell(act, "undeleted", Thing::Task(gid), None, None, streams);
    }

    /// Into a project, or to another place within it.
    pub(super) fn put_in_project(&mut self, act: Act, gid: u64, project: u64, section: u64, spot: Spot) {
        let Some(before) = self.task(gid).map(|task| task.homes.clone()) else { return };
        let old = before.iter().find(|(known, _)| *known == project).map(|(_, section)| *section);
        let stamps = old.is_none() || (old != Some(section) && self.habits.section_move_stamps);
        if let Some(old) = old.and_then(|old| self.sections.get_mut(&old)) {
            old.order.retain(|known| *known != gid);
        }
        if let Some(task) = self.touch(gid, act.now) {
            task.in_slot = false;
            match task.homes.iter_mut().find(|(known, _)| *known == project) {
                Some(home) => home.1 = section,
                None => task.homes.push((project, section)),
            }
            if stamps {
                task.modified_at = act.now;
            }
        }
        if let Some(section) = self.sections.get_mut(&section) {
            let at = |gid: u64| section.order.iter().position(|known| *known == gid);
            let index = match spot {
                Spot::Start => 0,
                Spot::End => section.order.len(),
                Spot::Before(other) => at(other).unwrap_or(0),
                Spot::After(other) => at(other).map_or(section.order.len(), |at| at + 1),
            };
            section.order.insert(index.min(section.order.len()), gid);
        }
        let streams = self.streams_of(gid);
        if old.is_none() {
            self.tell(act, "added", Thing::Task(gid), Some(Thing::Project(project)), None, streams.clone());
        }
        if old != Some(section) {
            if let Some(old) = old {
                self.tell(act, "removed", Thing::Task(gid), Some(Thing::Section(old)), None, streams.clone());
            }
            self.tell(act, "added", Thing::Task(gid), Some(Thing::Section(section)), None, streams);
            let name = |gids: &std::collections::BTreeMap<u64, super::SectionState>| {
                gids.get(&section).map(|section| section.name.clone()).unwrap_or_default()
            };
            match old {
                Some(_) => self.note(act, gid, "section_changed", format!("moved to {}", name(&self.sections))),
                None => {
                    let project = self.projects.get(&project).map(|project| project.name.clone()).unwrap_or_default();
                    self.note(act, gid, "added_to_project", format!("added to {project}"));
                }
            }
        }
    }

    /// Out of a project; the task lives on.
    pub(super) fn take_from_project(&mut self, act: Act, gid: u64, project: u64) {
        let streams = self.streams_of(gid);
        let Some(task) = self.touch(gid, act.now) else { return };
        let Some((_, section)) = task.homes.iter().find(|(known, _)| *known == project).copied() else { return };
        task.homes.retain(|(known, _)| *known != project);
        task.in_slot = false;
        task.modified_at = act.now;
        if let Some(section) = self.sections.get_mut(&section) {
            section.order.retain(|known| *known != gid);
        }
        self.tell(act, "removed", Thing::Task(gid), Some(Thing::Project(project)), None, streams);
        let name = self.projects.get(&project).map(|project| project.name.clone()).unwrap_or_default();
        self.note(act, gid, "removed_from_project", format!("removed from {name}"));
    }

    pub(super) fn set_tag(&mut self, act: Act, gid: u64, tag: u64, on: bool) {
        let stamps = self.habits.tag_stamps;
        let Some(before) = self.task(gid).map(|task| task.tags.contains(&tag)) else { return };
        if before == on {
            return;
        }
        if let Some(task) = self.touch(gid, act.now) {
            if on {
                task.tags.push(tag);
            } else {
                task.tags.retain(|known| *known != tag);
            }
            if stamps {
                task.modified_at = act.now;
            }
        }
        let streams = self.streams_of(gid);
        let action = if on { "added" } else { "removed" };
        let change = FieldChange { field: "tags", action, value: Some(Thing::Tag(tag)) };
        self.tell(act, "changed", Thing::Task(gid), None, Some(change), streams);
        let name = self.tags.get(&tag).map(|tag| tag.name.clone()).unwrap_or_default();
        let (subtype, text) = match on {
            true => ("added_to_tag", format!("added to {name}")),
            false => ("removed_from_tag", format!("removed from {name}")),
        };
        self.note(act, gid, subtype, text);
    }

    pub(super) fn set_followers(&mut self, act: Act, gid: u64, followers: &[u64], on: bool) {
        if let Some(task) = self.touch(gid, act.now) {
            for who in followers {
                task.followers.retain(|known| known != who);
                if on {
                    task.followers.push(*who);
                }
            }
        }
        let streams = self.streams_of(gid);
        let change = FieldChange { field: "followers", action: if on { "added" } else { "removed" }, value: None };
        self.tell(act, "changed", Thing::Task(gid), None, Some(change), streams);
    }

    pub(super) fn set_parent(&mut self, act: Act, gid: u64, parent: Option<u64>) {
        let Some(old) = self.task(gid).map(|task| task.parent) else { return };
        let streams = self.streams_of(gid);
        if let Some(old) = old {
            self.subtasks.entry(old).or_default().retain(|known| *known != gid);
            self.tell(act, "removed", Thing::Task(gid), Some(Thing::Task(old)), None, streams);
        }
        if let Some(task) = self.touch(gid, act.now) {
            task.parent = parent;
            task.modified_at = act.now;
        }
        if let Some(parent) = parent {
            self.subtasks.entry(parent).or_default().push(gid);
            let streams = self.streams_of(gid);
            self.tell(act, "added", Thing::Task(gid), Some(Thing::Task(parent)), None, streams);
        }
    }

    pub(super) fn comment(&mut self, act: Act, task: u64, html: String, pinned: bool) -> u64 {
        if let Some(task) = self.touch(task, act.now) {
            task.modified_at = act.now;
        }
        let gid = self.add_story(act, task, "comment_added", html);
        if let Some(story) = self.stories.get_mut(&gid) {
            story.pinned = pinned;
        }
        gid
    }

    /// Moves no stamp of the task (asana-api.md §3.7) and tells of the story with no parent.
    pub(super) fn edit_comment(&mut self, act: Act, gid: u64, html: String) {
        let Some(story) = self.stories.get_mut(&gid) else { return };
        story.html = html;
        story.edited = true;
        let task = story.task;
        let streams = self.streams_of(task);
        let change = FieldChange { field: "text", action: "changed", value: None };
        self.tell(act, "changed", Thing::Story(gid), None, Some(change), streams);
    }

    pub(super) fn delete_comment(&mut self, act: Act, gid: u64) {
        let Some(story) = self.stories.get_mut(&gid) else { return };
        story.deleted = true;
        let task = story.task;
        if let Some(stories) = self.stories_of.get_mut(&task) {
            stories.retain(|known| *known != gid);
        }
        if let Some(task) = self.touch(task, act.now) {
            task.modified_at = act.now;
        }
        let streams = self.streams_of(task);
        self.tell(act, "removed", Thing::Story(gid), Some(Thing::Task(task)), None, streams);
    }
}

/// Applies an edit and answers the field's name in events and its value, where that is an object.
fn apply(task: &mut Task, edit: &Edit, act: Act) -> (&'static str, Option<Thing>) {
    let complete = |task: &mut Task, done: bool| match (done, task.completed) {
        (true, None) => task.completed = Some((act.now, act.who)),
        (false, _) => task.completed = None,
        (true, Some(_)) => {}
    };
    match edit {
        Edit::Name(name) => {
            task.name.clone_from(name);
            ("name", None)
        }
        Edit::Html(html) => {
            task.html.clone_from(html);
            ("html_notes", None)
        }
        Edit::Completed(done) => {
            complete(task, *done);
            if task.approval.is_some() {
                task.approval = Some(if *done { "approved" } else { "pending" }.to_owned());
            }
            ("completed", None)
        }
        Edit::Approval(status) => {
            complete(task, status != "pending");
            task.approval = Some(status.clone());
            ("approval_status", None)
        }
        Edit::DueOn(day) => {
            (task.due_on, task.due_at) = (*day, None);
            ("due_on", None)
        }
        Edit::DueAt(at) => {
            // The day is the requester's; ours live in UTC.
            let day = at.and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
            task.due_on = day.map(|at| at.to_zoned(jiff::tz::TimeZone::UTC).date());
            task.due_at = *at;
            ("due_at", None)
        }
        Edit::StartOn(day) => {
            task.start_on = *day;
            ("start_on", None)
        }
        Edit::Assignee(who) => {
            task.assignee = *who;
            if let Some(who) = who.filter(|who| !task.followers.contains(who)) {
                task.followers.push(who);
            }
            ("assignee", who.map(Thing::User))
        }
        Edit::Field(gid, value) => {
            if value.is_null() {
                task.fields.remove(gid);
            } else {
                task.fields.insert(*gid, value.clone());
            }
            ("custom_fields", None)
        }
        Edit::External(external) => {
            task.external.clone_from(external);
            ("external", None)
        }
    }
}
