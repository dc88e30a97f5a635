//! Asana as the tracker of one route: reads and writes the tasks of one project.
//!
//! Facts about the API are those of Asana's OpenAPI description and guides; the few that are not documented
//! (lifetime of offsets, inclusive `modified_since`) are handled so that either answer is right.
//!
//! Known and accepted: renamed sections, tags and people move no task, so filters on their names see the new
//! name at the next sweep; edits of comments are not looked at.

pub mod delivery;
mod feed;
mod hooks;
mod listing;
mod tags;
mod wire;

pub use hooks::AsanaHooks;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use serde_json::{Map, json};

use self::feed::{Place, Stream};
use self::wire::{Enveloped, Named, Project, Read, Task};
use super::call::{Ask, Caller, Connection, Service, encoded, garbled, pour, server_time};
use super::http::{Method, Response};
use super::permit::Barrier;
use super::{
    Changes, Cursor, Draft, Finding, Found, Marked, Observe, Permit, ProviderError, Requests, Sink, Write, finding,
};
use crate::clock::earlier;
use crate::model::{
    Assignees, Change, FieldPolicy, Item, ItemKey, ProjectGid, Rules, Side, Status, TaskGid, Timestamp,
};
use crate::text;

/// Objects on a page; Asana allows 1 to 100.
const PAGE: usize = 100;
/// Touched tasks that are left to be read one by one, which lags least; above, one listing brings most of them
/// for one request a hundred.
const TOUCHED_MAX: usize = 5;
/// Looked back beyond the bound of a listing by time: clocks differ, and listings lag.
const OVERLAP: Duration = Duration::from_secs(60);
/// Looked back when tasks with markers are looked for.
const MARKED_OVERLAP: Duration = Duration::from_secs(300);
/// The wait before a 404 is asked again.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// The tasks of one Asana project.
pub struct AsanaClient {
    caller: Caller,
    barrier: Barrier,
    project: ProjectGid,
    rules: Rules,
    /// `opt_fields` of listings and of single reads.
    fields: String,
    workspace: OnceLock<String>,
    /// Tag gids by lower-case name.
    tags: Mutex<HashMap<String, String>>,
}

/// What is asked of a task: no more than the rules need, for wide lists count against a cost limit (Asana, rate limits).
fn fields(rules: &Rules) -> String {
    let filter = &rules.filter[Side::Tracker];
    let mut fields = vec![
        "name",
        "html_notes",
        "completed",
        "created_at",
        "modified_at",
        "permalink_url",
        "resource_subtype",
        "is_rendered_as_separator",
        "memberships.project.gid",
    ];
    if !filter.sections.is_empty() {
        fields.push("memberships.section.name");
    }
    if rules.policy.due != FieldPolicy::Off {
        fields.push("due_on");
    }
    if rules.policy.assignees != FieldPolicy::Off {
        fields.push("assignee.gid");
    }
    if rules.policy.labels != FieldPolicy::Off || !filter.labels.is_empty() {
        fields.push("tags.name");
    }
    if !filter.fields.is_empty() {
        fields.extend(["custom_fields.name", "custom_fields.display_value"]);
    }
    fields.join(",")
}

impl AsanaClient {
    /// A client for one project; sends nothing yet.
    pub fn new(connection: Connection, project: ProjectGid, rules: &Rules) -> Self {
        let barrier = Barrier::default();
        let transport = barrier.before(connection.transport.clone());
        Self {
            caller: Caller::new(Service::Asana, Connection { transport, ..connection }),
            barrier,
            project,
            fields: fields(rules),
            rules: rules.clone(),
            workspace: OnceLock::new(),
            tags: Mutex::default(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.caller.connection.base_url)
    }

    fn task_url(&self, gid: &TaskGid) -> String {
        self.url(&format!("/tasks/{gid}?opt_fields={}", self.fields))
    }

    fn task_of<'a>(&self, key: &'a ItemKey, doing: &str) -> Result<&'a TaskGid, ProviderError> {
        match key {
            ItemKey::Task(gid) => Ok(gid),
            ItemKey::Issue(_) => Err(ProviderError::Refused {
                doing: format!("{doing} {key}"),
                status: 0,
                why: "Asana holds tasks, not issues".to_owned(),
            }),
        }
    }

    /// The item in an answer that carries one task.
    /// The item in an answer about one task, which is the one that was asked for; `None` for a task just made.
    fn item_in(
        &self,
        ask: &Ask<'_>,
        asked: Option<&TaskGid>,
        response: &Response,
    ) -> Result<Option<Item>, ProviderError> {
        let task: Enveloped<Task> = self.caller.decode(ask, response)?;
        match task.data.read(&self.project, &self.rules).map_err(|why| garbled(ask, why))? {
            Read::Item(item) => match (asked, &item.key) {
                (Some(asked), ItemKey::Task(shown)) if asked != shown => {
                    Err(garbled(ask, format!("it shows another task: {shown}")))
                }
                _ => Ok(Some(*item)),
            },
            Read::Separator => Ok(None),
        }
    }

    /// The item in the answer to a write, which is always one.
    fn written(&self, ask: &Ask<'_>, asked: Option<&TaskGid>, response: &Response) -> Result<Item, ProviderError> {
        let shown = self.item_in(ask, asked, response)?;
        shown.ok_or_else(|| garbled(ask, "it shows a section where a task was written"))
    }

    fn project_ask(&self) -> Ask<'static> {
        Ask::read(
            format!("read asana project {}", self.project),
            self.url(&format!("/projects/{}?opt_fields=name,archived,workspace.name", self.project)),
        )
    }

    /// The one account a task can be assigned to: the first person with one, else the first unknown account.
    fn account<'a>(&'a self, assignees: &'a Assignees) -> Option<&'a str> {
        let known = assignees.known.iter().find_map(|name| self.rules.people.account(Side::Tracker, name));
        known.or_else(|| assignees.unknown.first().map(String::as_str))
    }
}

impl Observe for AsanaClient {
    fn side(&self) -> Side {
        Side::Tracker
    }

    fn changes(&self, cursor: Option<&Cursor>, belt: bool, sink: Sink<'_>) -> Result<Changes, ProviderError> {
        let place: Option<Place> = cursor.and_then(|cursor| serde_json::from_str(cursor).ok());
        let Some(place) = place.filter(|place| place.project == self.project) else {
            return Ok(Changes::TooOld { next: self.fresh()? });
        };
        let mut moved = match self.events(&place)? {
            Stream::Moved(moved) => moved,
            Stream::Lost(next) => return Ok(Changes::TooOld { next }),
        };
        let many = moved.tasks.len() > TOUCHED_MAX;
        let mut belt_since = place.belt_since;
        if belt || many {
            // Events are read first, so the listing shows everything they spoke of.
            let since = match moved.oldest {
                Some(oldest) if !belt => oldest,
                Some(oldest) => oldest.min(place.belt_since),
                None => place.belt_since,
            };
            let scope = self.modified_since(earlier(since, OVERLAP));
            let doing = format!("list what changed in asana project {}", self.project);
            let mut pour = pour(sink);
            let listed = self.list(&doing, &scope, &mut |items| {
                for item in &items {
                    if let ItemKey::Task(gid) = &item.key {
                        moved.tasks.remove(gid);
                    }
                }
                pour(items)
            })?;
            moved.tasks.extend(listed.odd);
            if belt {
                belt_since = listed.began.unwrap_or(belt_since);
            }
        }
        let touched = moved.tasks.into_iter().map(ItemKey::Task).collect();
        Ok(Changes::Since { next: self.cursor(moved.sync, belt_since), touched })
    }

    fn sweep(&self, sink: Sink<'_>) -> Result<u64, ProviderError> {
        let doing = format!("list the tasks of asana project {}", self.project);
        let mut pour = pour(sink);
        match self.list(&doing, &format!("project={}", self.project), &mut pour) {
            // Very large projects end in a 400 that says so, even when paged (Asana, errors).
            Err(ProviderError::Refused { why, .. }) if why.contains("truncated") => {
                log::info!("{doing}: too many for one listing; listing its sections one by one");
                let mut items = 0;
                for section in self.sections()? {
                    items += self.list(&doing, &format!("section={}", encoded(&section)), &mut pour)?.items;
                }
                Ok(items)
            }
            listed => Ok(listed?.items),
        }
    }

    fn item(&self, key: &ItemKey) -> Result<Found, ProviderError> {
        let gid = self.task_of(key, "read")?;
        let ask = Ask::read(format!("read asana:{gid}"), self.task_url(gid)).about_item().accept(&[403, 404]);
        let mut response = self.caller.send(&ask)?;
        if response.status == 404 {
            // One 404 may be a lagging copy; a second one is believed (rule 1).
            self.caller.pause(SECOND_LOOK)?;
            response = self.caller.send(&ask)?;
        }
        match response.status {
            404 => Ok(Found::Gone),
            403 => Ok(Found::Unseen(format!("Asana shows it to others only {}", self.caller.message(&response)))),
            _ => {
                let item = self.item_in(&ask, Some(gid), &response)?;
                Ok(item.map_or(Found::NotAnItem, |item| Found::Here(Box::new(item))))
            }
        }
    }

    fn marked_since(&self, from: Timestamp) -> Result<Marked, ProviderError> {
        let from = earlier(from, MARKED_OVERLAP);
        let doing = format!("look for tasks of ours in asana project {}", self.project);
        let mut marked = Vec::new();
        let listed = self.list(&doing, &self.modified_since(from), &mut |items| {
            marked.extend(items.into_iter().filter(|item| item.marker.is_some() && item.created_at >= from));
            Ok(())
        })?;
        Ok(Marked { items: marked, whole: listed.left_out == 0 })
    }

    fn has_comment(&self, key: &ItemKey, text: &str) -> Result<bool, ProviderError> {
        let people = &self.rules.people;
        // What Asana shows of the text; its answer is the expanded form, so both go the same way back.
        let shown = text::from_asana(&text::to_asana(text, people), people);
        self.any_story(self.task_of(key, "read the comments of")?, |story| {
            story.html_text.as_deref().is_some_and(|html| text::from_asana(html, people).contains(&shown))
                || story.text.as_deref().is_some_and(|plain| plain.contains(text))
        })
    }

    fn check(&self, now: Timestamp) -> Vec<Finding> {
        let mut found = Vec::new();
        let me = Ask::read("ask asana who the token is", self.url("/users/me?opt_fields=name"));
        match self.caller.get::<Enveloped<Named>>(&me) {
            Ok((user, response)) => {
                let name = user.data.name.unwrap_or_else(|| user.data.gid.0.clone());
                found.push(finding::good("token", format!("asana knows it; it acts as {name}")));
                found.extend(server_time(&response).map(|theirs| finding::clock("asana", theirs, now)));
            }
            Err(error) => {
                let remedy = "make a personal access token in Asana (Settings, Apps, Developer apps) and configure it";
                found.push(finding::bad("token", &error, remedy));
                return found;
            }
        }
        match self.caller.get::<Enveloped<Project>>(&self.project_ask()) {
            Ok((Enveloped { data: project }, _)) => {
                let name = project.name.unwrap_or_else(|| self.project.to_string());
                let home = project.workspace.and_then(|workspace| workspace.name).unwrap_or_default();
                if project.archived == Some(true) {
                    found.push(Finding {
                        subject: "project".to_owned(),
                        good: false,
                        found: format!("{name} is archived"),
                        remedy: Some("unarchive it in Asana, or take the route out of the configuration".to_owned()),
                    });
                } else {
                    found.push(finding::good("project", format!("{name} in {home} can be read")));
                }
            }
            Err(error) => {
                let remedy = "check the project's gid, and share the project with the token's user as editor";
                found.push(finding::bad("project", &error, remedy));
            }
        }
        found
    }

    fn requests(&self) -> Requests {
        self.caller.requests()
    }
}

impl Write for AsanaClient {
    fn permitted_by(&self, permit: Option<Arc<dyn Permit>>) {
        self.barrier.set(permit);
    }

    fn create(&self, draft: &Draft) -> Result<Item, ProviderError> {
        let content = &draft.content;
        let people = &self.rules.people;
        let mut data = Map::new();
        data.insert("name".into(), json!(content.title));
        data.insert("html_notes".into(), json!(text::join_tracker(&content.body, Some(&draft.footer), people)));
        data.insert("projects".into(), json!([self.project]));
        if content.status != Status::Open {
            data.insert("completed".into(), json!(true));
        }
        if let Some(account) = self.account(&content.assignees) {
            data.insert("assignee".into(), json!(account));
        }
        if let Some(due) = content.due {
            data.insert("due_on".into(), json!(due));
        }
        if !content.labels.is_empty() {
            // Looked up first, so that the task is made whole in one request or not at all.
            let tags = content.labels.iter().map(|name| self.tag(name)).collect::<Result<Vec<_>, _>>()?;
            data.insert("tags".into(), json!(tags));
        }
        let doing = format!("make a task in asana project {} for {}", self.project, draft.marker.partner);
        let url = self.url(&format!("/tasks?opt_fields={}", self.fields));
        let ask = Ask::write(doing, Method::Post, url, json!({"data": data}));
        let response = self.caller.send(&ask)?;
        self.written(&ask, None, &response)
    }

    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError> {
        let gid = self.task_of(&current.key, "change")?;
        let began = self.caller.stopwatch();
        let Change { title, text, status, assignees, labels } = change;
        let mut data = Map::new();
        if let Some(title) = title {
            data.insert("name".into(), json!(title));
        }
        if let Some((body, footer)) = text {
            let notes = text::join_tracker(body, footer.as_deref(), &self.rules.people);
            data.insert("html_notes".into(), json!(notes));
        }
        if let Some(status) = status {
            data.insert("completed".into(), json!(*status != Status::Open));
        }
        if let Some(assignees) = assignees {
            data.insert("assignee".into(), json!(self.account(assignees)));
        }
        // Tags go first: the answer to what follows then shows the task with all that was asked for.
        let retagged = match labels {
            Some(wanted) => self.retag(gid, current, wanted)?,
            None => false,
        };
        if data.is_empty() {
            if !retagged {
                return Ok(current.clone());
            }
            let ask = Ask::read(format!("read asana:{gid} after changing its tags"), self.task_url(gid)).about_item();
            let response = self.caller.send(&ask)?;
            return self.written(&ask, Some(gid), &response);
        }
        let ask = Ask::write(format!("change asana:{gid}"), Method::Put, self.task_url(gid), json!({"data": data}));
        let ask = ask.about_item().editing();
        self.caller.fresh(began, &ask.doing)?;
        let response = self.caller.send(&ask)?;
        self.written(&ask, Some(gid), &response)
    }

    fn comment(&self, key: &ItemKey, text: &str) -> Result<(), ProviderError> {
        let gid = self.task_of(key, "comment on")?;
        let body = json!({"data": {"html_text": text::to_asana(text, &self.rules.people)}});
        let url = self.url(&format!("/tasks/{gid}/stories"));
        let ask = Ask::write(format!("comment on asana:{gid}"), Method::Post, url, body);
        self.caller.send(&ask.about_item()).map(drop)
    }
}

#[cfg(test)]
mod tests;
