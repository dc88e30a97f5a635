//! What Asana holds, for end-state assertions and for the demo.

use jiff::civil::Date;

use super::{AsanaState, Task, rich};
use crate::model::{ProjectGid, TaskGid, Timestamp};

/// A task as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// Its gid.
    pub gid: TaskGid,
    /// Its name.
    pub name: String,
    /// Its notes as plain text.
    pub notes: String,
    /// Its notes as they read back.
    pub html_notes: String,
    /// Whether it is completed.
    pub completed: bool,
    /// The assignee's gid.
    pub assignee: Option<String>,
    /// The day it is due.
    pub due_on: Option<Date>,
    /// Names of its tags, in the order in which they were added.
    pub tags: Vec<String>,
    /// Gid of each project it is in, and the name of its section there.
    pub homes: Vec<(String, String)>,
    /// Custom fields that are set: name and value as displayed.
    pub fields: Vec<(String, String)>,
    /// Comments as rich text, oldest first.
    pub comments: Vec<String>,
    /// Whether it is in the trash.
    pub trashed: bool,
    /// Gid of whoever made it.
    pub created_by: String,
    /// Its stamp.
    pub modified_at: Timestamp,
}

impl AsanaState {
    pub(in crate::sandbox) fn view(&self, gid: &TaskGid) -> Option<TaskView> {
        let task = self.task(gid.as_str().parse().ok()?)?;
        self.view_of(&task)
    }

    /// The living tasks of a project, section by section.
    pub(in crate::sandbox) fn view_project(&self, project: &ProjectGid) -> Vec<TaskView> {
        let project = project.as_str().parse().ok().and_then(|gid: u64| self.projects.get(&gid));
        let mut found = Vec::new();
        for section in project.map(|project| project.sections.as_slice()).unwrap_or_default() {
            self.walk(*section, 0, 0, None, &mut |_, gid| {
                found.extend(self.task(gid).filter(|task| !task.trashed).and_then(|task| self.view_of(&task)));
                true
            });
        }
        found
    }

    fn view_of(&self, task: &Task) -> Option<TaskView> {
        let html = self.expanded(&task.html).into_owned();
        let tag = |gid: &u64| self.tags.get(gid).map(|tag| tag.name.clone());
        let section = |gid: &u64| self.sections.get(gid).map(|section| section.name.clone()).unwrap_or_default();
        let field = |(gid, value): (&u64, &serde_json::Value)| {
            let field = self.custom_fields.get(gid)?;
            Some((field.name.clone(), self.display(field.kind, value)?))
        };
        let stories = self.stories_of.get(&task.gid).map(Vec::as_slice).unwrap_or_default();
        let comments = stories.iter().filter_map(|gid| self.stories.get(gid));
        let comments = comments.filter(|story| story.subtype == "comment_added");
        Some(TaskView {
            gid: task.gid.to_string().parse().ok()?,
            name: task.name.clone(),
            notes: rich::plain(&html),
            html_notes: html,
            completed: task.completed.is_some(),
            assignee: task.assignee.map(|gid| gid.to_string()),
            due_on: task.due_on,
            tags: task.tags.iter().filter_map(tag).collect(),
            homes: task.homes.iter().map(|(project, gid)| (project.to_string(), section(gid))).collect(),
            fields: task.fields.iter().filter_map(field).collect(),
            comments: comments.map(|story| self.expanded(&story.html).into_owned()).collect(),
            trashed: task.trashed,
            created_by: task.created_by.to_string(),
            modified_at: Timestamp::from_millisecond(task.modified_at).ok()?,
        })
    }
}
