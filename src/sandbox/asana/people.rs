//! The handle by which tests and the demo furnish Asana and act in it as people do in the web application.

use std::sync::Arc;

use jiff::civil::Date;
use serde_json::Value;

use super::acts::{Edit, NewTask, Spot};
use super::feed::{FieldChange, Thing};
use super::{Act, AsanaHabits, AsanaState, BOT, FieldState, PERSON, ProjectState, Token, User, rich};
use crate::model::{ProjectGid, TaskGid};
use crate::sandbox::Sandbox;
use crate::sandbox::population::{COUNT_MAX, IssueBody, Population};

/// A project that was made, and a token that may use it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its gid.
    pub gid: ProjectGid,
    /// A personal access token of the service's own account.
    pub token: String,
}

/// The kind of a custom field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FieldKind {
    Text,
    Number,
    Enum,
    MultiEnum,
    Date,
}

impl FieldKind {
    /// Asana's word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Enum => "enum",
            Self::MultiEnum => "multi_enum",
            Self::Date => "date",
        }
    }
}

/// A custom field that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomField {
    /// Its gid.
    pub gid: String,
    /// Gid of each option, in the order given.
    pub options: Vec<String>,
}

/// What a task begins with; the rest is as for a new task.
#[derive(Debug, Clone, Default)]
pub struct TaskSeed {
    /// Its name.
    pub name: String,
    /// Rich text, `<body>…</body>`; empty for none.
    pub html_notes: String,
    /// Whether it is completed.
    pub completed: bool,
    /// The section's name; made where there is none of it.
    pub section: Option<String>,
    /// Tag names; made where there is none of it.
    pub tags: Vec<String>,
    /// The assignee's gid.
    pub assignee: Option<String>,
    /// The day it is due.
    pub due_on: Option<Date>,
}

impl TaskSeed {
    /// A task with nothing but a name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }
}

/// Furnishes Asana and acts in it. Everything done here comes in as from the web application, as some person.
///
/// # Panics
/// Where a gid is given that names nothing here: the caller made it up.
#[derive(Debug, Clone)]
pub struct Asana {
    sandbox: Sandbox,
    who: u64,
}

impl Asana {
    pub(in crate::sandbox) const fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, who: PERSON.0 }
    }

    /// The same, acting as this user.
    #[must_use]
    pub fn acting_as(&self, user: &str) -> Self {
        Self { sandbox: self.sandbox.clone(), who: number(user) }
    }

    fn with<T>(&self, act: impl FnOnce(&mut AsanaState, Act) -> T) -> T {
        let now = self.sandbox.now();
        let done = act(&mut self.sandbox.state().asana, Act { who: self.who, now, source: "web" });
        self.sandbox.ring();
        done
    }

    /// Changes what the facts leave open.
    pub fn habits(&self, change: impl FnOnce(&mut AsanaHabits)) {
        change(&mut self.sandbox.state().asana.habits);
    }

    // ---- furnishing ----

    /// Makes a project with one section, "Untitled section".
    pub fn project(&self, name: &str) -> Project {
        let gid = self.with(|asana, act| {
            let gid = asana.gid();
            asana.projects.insert(
                gid,
                ProjectState {
                    gid,
                    name: name.to_owned(),
                    html_notes: "<body></body>".to_owned(),
                    sections: Vec::new(),
                    custom_fields: Vec::new(),
                    population: None,
                    created_at: act.now,
                    modified_at: act.now,
                    owner: act.who,
                    archived: false,
                    hidden_from: Vec::new(),
                },
            );
            asana.add_section(gid, "Untitled section", act.now);
            gid
        });
        Project { gid: checked(gid), token: self.token(&BOT.0.to_string()) }
    }

    /// Makes a user and answers the gid.
    pub fn user(&self, name: &str, email: &str) -> String {
        self.with(|asana, _| {
            let gid = asana.gid();
            asana.users.insert(gid, User { gid, name: name.to_owned(), email: email.to_owned() });
            gid.to_string()
        })
    }

    /// The gid of the service's own account, whose tokens [`Self::project`] gives out.
    pub fn bot(&self) -> String {
        BOT.0.to_string()
    }

    /// The gid of the person who acts where nobody else is named.
    pub fn person(&self) -> String {
        PERSON.0.to_string()
    }

    /// Makes a personal access token for a user.
    pub fn token(&self, user: &str) -> String {
        self.issue(user, None)
    }

    /// Makes a token of an OAuth app for a user; only such a token may use `external`.
    pub fn app_token(&self, user: &str, app: &str) -> String {
        self.issue(user, Some(app.to_owned()))
    }

    fn issue(&self, user: &str, app: Option<String>) -> String {
        let user = number(user);
        let state = &mut *self.sandbox.state();
        let token = format!("2/{user}/{}:{:032x}", state.asana.tokens.len() + 1, state.rng.u128(..));
        state.asana.tokens.insert(token.clone(), Token { user, app, revoked: false });
        token
    }

    /// Makes a token good for nothing.
    pub fn revoke(&self, token: &str) {
        self.set_revoked(token, true);
    }

    /// Makes a revoked token good again.
    pub fn restore_token(&self, token: &str) {
        self.set_revoked(token, false);
    }

    fn set_revoked(&self, token: &str, revoked: bool) {
        self.with(|asana, _| asana.tokens.get_mut(token).expect("the token is one of this sandbox").revoked = revoked);
    }

    /// Hides a project from a user, or shows it again.
    pub fn hide(&self, project: &ProjectGid, user: &str, hidden: bool) {
        let user = number(user);
        self.with(|asana, _| {
            let project =
                asana.projects.get_mut(&number(project.as_str())).expect("the project is one of this sandbox");
            project.hidden_from.retain(|known| *known != user);
            if hidden {
                project.hidden_from.push(user);
            }
        });
    }

    /// The gid of a section of that name; made where there is none.
    pub fn section(&self, project: &ProjectGid, name: &str) -> String {
        self.with(|asana, act| section_named(asana, number(project.as_str()), name, act.now).to_string())
    }

    /// The gid of a tag of that name; made where there is none.
    pub fn tag(&self, name: &str) -> String {
        self.with(|asana, act| tag_named(asana, name, act.now).to_string())
    }

    /// Makes a custom field on a project; options are for the two kinds that choose.
    pub fn custom_field(&self, project: &ProjectGid, name: &str, kind: FieldKind, options: &[&str]) -> CustomField {
        self.with(|asana, _| {
            let gid = asana.gid();
            let options: Vec<(u64, String)> = options.iter().map(|name| (asana.gid(), (*name).to_owned())).collect();
            let gids = options.iter().map(|(gid, _)| gid.to_string()).collect();
            asana.custom_fields.insert(gid, FieldState { name: name.to_owned(), kind, options });
            let project =
                asana.projects.get_mut(&number(project.as_str())).expect("the project is one of this sandbox");
            project.custom_fields.push(gid);
            CustomField { gid: gid.to_string(), options: gids }
        })
    }

    /// Makes `count` tasks that are computed from their index and cost no memory until they are touched.
    pub fn populate(&self, project: &ProjectGid, count: u64) -> Population {
        let nobody: IssueBody = Arc::new(|_| String::new());
        let now = self.sandbox.now();
        let state = &mut *self.sandbox.state();
        let population = Population {
            seed: state.rng.u64(..),
            count: count.min(COUNT_MAX),
            first_task: 0,
            first_issue: 0,
            first_id: 0,
            since: now.saturating_sub_unsigned(count.saturating_mul(1000)).saturating_sub(3_600_000),
            body: nobody,
        };
        state.asana.settle(project, population)
    }

    // ---- what people do ----

    /// Makes a task in a project.
    pub fn task(&self, project: &ProjectGid, seed: TaskSeed) -> TaskGid {
        self.with(|asana, act| {
            let TaskSeed { name, html_notes, completed, section, tags, assignee, due_on } = seed;
            let project = number(project.as_str());
            let section = match section {
                Some(name) => section_named(asana, project, &name, act.now),
                None => asana
                    .projects
                    .get(&project)
                    .and_then(|project| project.sections.first())
                    .copied()
                    .unwrap_or_default(),
            };
            let html = match html_notes.as_str() {
                "" => String::new(),
                html => rich::accept(html).expect("the notes are rich text that Asana accepts"),
            };
            let tags = tags.iter().map(|name| tag_named(asana, name, act.now)).collect();
            let gid = asana
                .add_task(act, NewTask { name, html, homes: vec![(project, section)], tags, ..NewTask::default() });
            if let Some(who) = assignee {
                asana.edit(act, gid, Edit::Assignee(Some(number(&who))));
            }
            if due_on.is_some() {
                asana.edit(act, gid, Edit::DueOn(due_on));
            }
            if completed {
                asana.edit(act, gid, Edit::Completed(true));
            }
            checked_task(gid)
        })
    }

    /// Makes a subtask.
    pub fn subtask(&self, parent: &TaskGid, name: &str) -> TaskGid {
        self.with(|asana, act| {
            let parent = Some(number(parent.as_str()));
            checked_task(asana.add_task(act, NewTask { name: name.to_owned(), parent, ..NewTask::default() }))
        })
    }

    fn edit(&self, task: &TaskGid, edit: Edit) {
        self.with(|asana, act| {
            let gid = number(task.as_str());
            assert!(asana.task(gid).is_some(), "task {gid} is not one of this sandbox");
            asana.edit(act, gid, edit);
        });
    }

    /// Changes the name.
    pub fn rename(&self, task: &TaskGid, name: &str) {
        self.edit(task, Edit::Name(name.to_owned()));
    }

    /// Changes the notes; rich text, `<body>…</body>`.
    pub fn write_notes(&self, task: &TaskGid, html: &str) {
        self.edit(task, Edit::Html(rich::accept(html).expect("the notes are rich text that Asana accepts")));
    }

    /// Completes it.
    pub fn complete(&self, task: &TaskGid) {
        self.edit(task, Edit::Completed(true));
    }

    /// Opens it again.
    pub fn reopen(&self, task: &TaskGid) {
        self.edit(task, Edit::Completed(false));
    }

    /// Assigns it to a user, or to nobody.
    pub fn assign(&self, task: &TaskGid, user: Option<&str>) {
        self.edit(task, Edit::Assignee(user.map(number)));
    }

    /// Sets the day it is due, or none.
    pub fn due(&self, task: &TaskGid, day: Option<Date>) {
        self.edit(task, Edit::DueOn(day));
    }

    /// Sets a custom field; the value as the API takes it, null clears.
    pub fn set_field(&self, task: &TaskGid, field: &CustomField, value: Value) {
        self.edit(task, Edit::Field(number(&field.gid), value));
    }

    /// Moves it to the trash.
    pub fn delete(&self, task: &TaskGid) {
        self.with(|asana, act| asana.trash(act, number(task.as_str())));
    }

    /// Takes it out of the trash.
    pub fn restore(&self, task: &TaskGid) {
        self.with(|asana, act| asana.restore(act, number(task.as_str())));
    }

    /// Moves it to a section of its project, made where there is none of that name.
    pub fn move_to(&self, task: &TaskGid, project: &ProjectGid, section: &str) {
        self.with(|asana, act| {
            let project = number(project.as_str());
            let section = section_named(asana, project, section, act.now);
            asana.put_in_project(act, number(task.as_str()), project, section, Spot::End);
        });
    }

    /// Adds it to a project.
    pub fn join(&self, task: &TaskGid, project: &ProjectGid) {
        self.with(|asana, act| {
            let project = number(project.as_str());
            let section = asana.projects.get(&project).and_then(|project| project.sections.first()).copied();
            asana.put_in_project(act, number(task.as_str()), project, section.unwrap_or_default(), Spot::End);
        });
    }

    /// Removes it from a project.
    pub fn leave(&self, task: &TaskGid, project: &ProjectGid) {
        self.with(|asana, act| asana.take_from_project(act, number(task.as_str()), number(project.as_str())));
    }

    /// Adds a tag, made where there is none of that name.
    pub fn add_tag(&self, task: &TaskGid, name: &str) {
        self.set_tag(task, name, true);
    }

    /// Removes a tag.
    pub fn remove_tag(&self, task: &TaskGid, name: &str) {
        self.set_tag(task, name, false);
    }

    fn set_tag(&self, task: &TaskGid, name: &str, on: bool) {
        self.with(|asana, act| {
            let tag = tag_named(asana, name, act.now);
            asana.set_tag(act, number(task.as_str()), tag, on);
        });
    }

    /// Comments; rich text, `<body>…</body>`. Answers the story's gid.
    pub fn comment(&self, task: &TaskGid, html: &str) -> String {
        let html = rich::accept(html).expect("the comment is rich text that Asana accepts");
        self.with(|asana, act| asana.comment(act, number(task.as_str()), html, false).to_string())
    }

    /// Rewrites a comment.
    pub fn edit_comment(&self, story: &str, html: &str) {
        let html = rich::accept(html).expect("the comment is rich text that Asana accepts");
        self.with(|asana, act| asana.edit_comment(act, number(story), html));
    }

    /// Deletes a comment.
    pub fn delete_comment(&self, story: &str) {
        self.with(|asana, act| asana.delete_comment(act, number(story)));
    }

    /// Renames a user: tasks that mention them read differently, none of them changed.
    pub fn rename_user(&self, user: &str, name: &str) {
        self.with(|asana, _| {
            asana.users.get_mut(&number(user)).expect("the user is one of this sandbox").name = name.to_owned();
        });
    }

    /// Renames a project.
    pub fn rename_project(&self, project: &ProjectGid, name: &str) {
        self.with(|asana, act| {
            let gid = number(project.as_str());
            let project = asana.projects.get_mut(&gid).expect("the project is one of this sandbox");
            project.name = name.to_owned();
            project.modified_at = act.now;
            let change = FieldChange { field: "name", action: "changed", value: None };
            asana.tell(act, "changed", Thing::Project(gid), None, Some(change), vec![gid]);
        });
    }

    /// Renames a section.
    pub fn rename_section(&self, section: &str, name: &str) {
        self.with(|asana, act| asana.rename_section(act, number(section), name.to_owned()));
    }

    /// Deletes a tag from the workspace and so from all tasks.
    pub fn delete_tag(&self, name: &str) {
        self.with(|asana, act| {
            let tag = tag_named(asana, name, act.now);
            asana.remove_tag(tag, act.now);
        });
    }

    /// Makes all sync tokens given out so far too old.
    pub fn forget_sync_tokens(&self) {
        self.with(|asana, _| asana.feed.forget_tokens());
    }
}

impl AsanaState {
    /// Gives a population its gids and a project to live in.
    pub(in crate::sandbox) fn settle(&mut self, project: &ProjectGid, mut population: Population) -> Population {
        population.first_task = self.next_gid + 1;
        self.next_gid += population.count;
        let project = self.projects.get_mut(&number(project.as_str())).expect("the project is one of this sandbox");
        assert!(project.population.is_none(), "a project holds one population");
        project.population = Some(population.clone());
        population
    }
}

fn section_named(asana: &mut AsanaState, project: u64, name: &str, now: i64) -> u64 {
    let living = asana.sections.values().find(|known| known.project == project && known.name == name && !known.deleted);
    match living.map(|section| section.gid) {
        Some(gid) => gid,
        None => asana.add_section(project, name, now),
    }
}

fn tag_named(asana: &mut AsanaState, name: &str, now: i64) -> u64 {
    match asana.tags.values().find(|tag| tag.name == name && !tag.deleted).map(|tag| tag.gid) {
        Some(gid) => gid,
        None => asana.add_tag(name.to_owned(), None, now),
    }
}

fn number(gid: &str) -> u64 {
    gid.parse().expect("a gid of this sandbox is digits that fit 64 bits")
}

fn checked(gid: u64) -> ProjectGid {
    gid.to_string().parse().expect("digits are a gid")
}

fn checked_task(gid: u64) -> TaskGid {
    gid.to_string().parse().expect("digits are a gid")
}
