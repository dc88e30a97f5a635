//! Asana as the tracker of one route: reads and writes the tasks of one project.
//!
//! Facts about the API are those of Asana's OpenAPI description and guides; the few that are not documented
//! (lifetime of offsets, inclusive `modified_since`) are handled so that either answer is right.
//!
//! Known and accepted: renamed sections, tags and people move no task, so filters on their names see the new
//! name at the next sweep; edits of comments are not looked at.

mod wire;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::wire::{Enveloped, Events, Named, Page, Project, Read, Story, Task, touch};
use super::call::{Ask, Caller, Connection, Service, encoded, garbled, server_time};
use super::http::{Method, Response};
use super::pace::Weight;
use super::words as text;
use super::{
    Changes, Cursor, Draft, Finding, Found, Halt, Observe, ProviderError, Requests, Sink, Write, finding, json,
};
use crate::clock::{earlier, lock};
use crate::model::{
    Assignees, Change, FieldPolicy, Item, ItemKey, Native, ProjectGid, Rules, Side, Status, TaskGid, Timestamp,
};

/// Objects on a page; Asana allows 1 to 100.
const PAGE: usize = 100;
/// Pages of one listing at most: a million tasks. More is a listing that does not end.
const PAGES_MAX: usize = 10_000;
/// Answers of `/events` read in a row (at most 100 events each); beyond that a sweep is cheaper.
const EVENT_PAGES_MAX: usize = 200;
/// Touched tasks that are left to be read one by one; above, one listing brings most of them.
const TOUCHED_MAX: usize = 20;
/// Looked back beyond the bound of a listing by time: clocks differ, and listings lag.
const OVERLAP: Duration = Duration::from_secs(60);
/// Looked back when tasks with markers are looked for.
const MARKED_OVERLAP: Duration = Duration::from_secs(300);
/// The wait before a 404 is asked again.
const SECOND_LOOK: Duration = Duration::from_secs(1);
/// Tags remembered by name.
const TAGS_MAX: usize = 10_000;

/// Where the two streams of changes resume. Bound to the project it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    project: ProjectGid,
    /// The token of `/events`.
    sync: String,
    /// The moment, on Asana's clock, up to which `modified_since` was read.
    belt_since: Timestamp,
}

/// The tasks of one Asana project.
pub struct AsanaClient {
    caller: Caller,
    project: ProjectGid,
    rules: Rules,
    /// `opt_fields` of listings and of single reads.
    fields: String,
    workspace: OnceLock<String>,
    /// Tag gids by lower-case name.
    tags: Mutex<HashMap<String, String>>,
}

/// What is asked of a task: no more than the rules need, for wide lists count against a cost limit (facts §2).
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
        Self {
            caller: Caller::new(Service::Asana, connection),
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
    fn item_in(&self, ask: &Ask<'_>, response: &Response) -> Result<Option<Item>, ProviderError> {
        let task: Enveloped<Task> = self.caller.decode(ask, response)?;
        match task.data.read(&self.project, &self.rules.people).map_err(|why| garbled(ask, why))? {
            Read::Item(item) => Ok(Some(*item)),
            Read::Separator => Ok(None),
        }
    }

    /// The item in the answer to a write, which is always one.
    fn written(&self, ask: &Ask<'_>, response: &Response) -> Result<Item, ProviderError> {
        self.item_in(ask, response)?.ok_or_else(|| garbled(ask, "it shows a section where a task was written"))
    }

    /// Lists tasks, page by page, into `each`; answers Asana's time when the listing began.
    ///
    /// An offset that expired (facts §1.5) starts the listing over, once: items may then come twice.
    fn list(
        &self,
        doing: &str,
        query: &str,
        each: &mut dyn FnMut(Vec<Item>) -> Result<(), ProviderError>,
    ) -> Result<Listed, ProviderError> {
        match self.list_once(doing, query, each) {
            Err(ProviderError::Refused { why, .. }) if why.contains("pagination token") => {
                log::debug!("{doing}: the page token expired; starting over");
                self.list_once(doing, query, each)
            }
            other => other,
        }
    }

    fn list_once(
        &self,
        doing: &str,
        query: &str,
        each: &mut dyn FnMut(Vec<Item>) -> Result<(), ProviderError>,
    ) -> Result<Listed, ProviderError> {
        let first =
            self.url(&format!("/tasks?project={}&limit={PAGE}&opt_fields={}{query}", self.project, self.fields));
        let mut listed = Listed::default();
        let mut seen = HashSet::new();
        let mut url = first.clone();
        for _ in 0..PAGES_MAX {
            self.caller.stopped()?;
            let ask = Ask::read(doing, url);
            let response = self.caller.send(&ask)?;
            listed.began.get_or_insert_with(|| self.time_of(&response));
            let (items, next) = self.page(&ask, &response, &mut listed)?;
            listed.items += u64::try_from(items.len()).unwrap_or(u64::MAX);
            each(items)?;
            let Some(offset) = next else { return Ok(listed) };
            url = format!("{first}&offset={}", encoded(&offset));
            if !seen.insert(offset) {
                return Err(garbled(&ask, "its pages run in a circle"));
            }
        }
        Err(garbled(&Ask::read(doing, first), format!("it has more than {PAGES_MAX} pages")))
    }

    /// The items of one page and where the list goes on. Tasks that cannot be understood are left out and named.
    fn page(
        &self,
        ask: &Ask<'_>,
        response: &Response,
        listed: &mut Listed,
    ) -> Result<(Vec<Item>, Option<String>), ProviderError> {
        let page = match json::decode::<Page<Task>>(&response.body) {
            Ok(page) => page,
            // The usual page fits as it is; only an odd one is taken apart entry by entry.
            Err(_) => {
                let page: Page<Value> = self.caller.decode(ask, response)?;
                let all = page.data.len();
                let (data, odd) = json::decode_each::<Task>(page.data);
                if all > 0 && data.is_empty() {
                    let why = odd.first().map(|odd| odd.why.as_str()).unwrap_or_default();
                    return Err(garbled(ask, format!("none of its {all} tasks can be read: {why}")));
                }
                for odd in odd {
                    let name = odd.id.as_deref().unwrap_or("without gid");
                    log::warn!("{}: task {name} left out: {}", ask.doing, odd.why);
                    listed.odd.extend(odd.id.and_then(|gid| gid.parse().ok()));
                }
                Page { data, next_page: page.next_page }
            }
        };
        let mut items = Vec::with_capacity(page.data.len());
        for task in page.data {
            match task.read(&self.project, &self.rules.people) {
                Ok(Read::Item(item)) => items.push(*item),
                Ok(Read::Separator) => {}
                Err(why) => log::warn!("{}: a task was left out: {why}", ask.doing),
            }
        }
        Ok((items, page.next_page.map(|next| next.offset)))
    }

    /// A token of `/events` that starts now (facts §5.1: the first call is always answered 412).
    fn fresh(&self) -> Result<Cursor, ProviderError> {
        let ask = Ask::read(
            format!("start following asana project {}", self.project),
            self.url(&format!("/events?resource={}", self.project)),
        )
        .accept(&[412]);
        let (events, response): (Events, _) = self.caller.get(&ask)?;
        let sync = events.sync.ok_or_else(|| garbled(&ask, "it names no sync token"))?;
        Ok(self.cursor(sync, self.time_of(&response)))
    }

    /// Asana's time at an answer; ours where it shows none.
    fn time_of(&self, response: &Response) -> Timestamp {
        server_time(response).unwrap_or_else(|| self.caller.now())
    }

    fn cursor(&self, sync: String, belt_since: Timestamp) -> Cursor {
        let place = Place { project: self.project.clone(), sync, belt_since };
        serde_json::to_string(&place).expect("three plain fields always serialise")
    }

    /// Reads the events since the place's token.
    fn events(&self, place: &Place) -> Result<Stream, ProviderError> {
        let mut moved = Moved { sync: place.sync.clone(), ..Moved::default() };
        let mut seen = HashSet::from([moved.sync.clone()]);
        for _ in 0..EVENT_PAGES_MAX {
            self.caller.stopped()?;
            let ask = Ask::read(
                format!("read the events of asana project {}", self.project),
                self.url(&format!("/events?resource={}&sync={}", self.project, encoded(&moved.sync))),
            )
            .accept(&[412]);
            let (events, response): (Events, _) = self.caller.get(&ask)?;
            if response.status == 412 {
                return match events.sync {
                    Some(sync) => Ok(Stream::Lost(self.cursor(sync, self.time_of(&response)))),
                    None => Ok(Stream::Lost(self.fresh()?)),
                };
            }
            for touch in events.data.iter().filter_map(touch) {
                let at = touch.at.unwrap_or(place.belt_since);
                moved.oldest = Some(moved.oldest.map_or(at, |oldest| oldest.min(at)));
                moved.tasks.insert(touch.task);
            }
            let next = events.sync.ok_or_else(|| garbled(&ask, "it names no next sync token"))?;
            let new = seen.insert(next.clone());
            moved.sync = next;
            if !events.has_more {
                return Ok(Stream::Moved(moved));
            }
            if !new {
                return Err(garbled(&ask, "its events run in a circle"));
            }
        }
        log::info!("asana project {}: more events than a sweep would cost", self.project);
        Ok(Stream::Lost(self.fresh()?))
    }

    /// The workspace of the project, asked for once.
    fn workspace(&self) -> Result<&str, ProviderError> {
        if let Some(known) = self.workspace.get() {
            return Ok(known);
        }
        let ask = self.project_ask();
        let (project, _): (Enveloped<Project>, _) = self.caller.get(&ask)?;
        let gid = project.data.workspace.ok_or_else(|| garbled(&ask, "the project names no workspace"))?.gid.0;
        Ok(self.workspace.get_or_init(|| gid))
    }

    fn project_ask(&self) -> Ask<'static> {
        Ask::read(
            format!("read asana project {}", self.project),
            self.url(&format!("/projects/{}?opt_fields=name,archived,workspace.name", self.project)),
        )
    }

    /// The gid of the tag of that name, made if there is none.
    ///
    /// Names are compared without case. Typeahead is the only complete look-up (facts §8: a listing shows
    /// only tags that stand on a visible task).
    fn tag(&self, name: &str) -> Result<String, ProviderError> {
        let folded = name.to_lowercase();
        if let Some(gid) = lock(&self.tags).get(&folded) {
            return Ok(gid.clone());
        }
        let workspace = self.workspace()?;
        let ask = Ask::read(
            "look up a tag in asana",
            self.url(&format!(
                "/workspaces/{workspace}/typeahead?resource_type=tag&count={PAGE}&opt_fields=name&query={}",
                encoded(name)
            )),
        );
        let (found, _): (Enveloped<Vec<Named>>, _) = self.caller.get(&ask)?;
        let by = |fits: &dyn Fn(&str) -> bool| {
            found.data.iter().find(|tag| tag.name.as_deref().is_some_and(fits)).map(|tag| tag.gid.0.clone())
        };
        let gid = match by(&|known| known == name).or_else(|| by(&|known| known.to_lowercase() == folded)) {
            Some(gid) => gid,
            None => {
                let body = json!({"data": {"name": name, "workspace": workspace}});
                let ask = Ask::write("make a tag in asana", Method::Post, self.url("/tags?opt_fields=name"), body);
                let (tag, _): (Enveloped<Named>, _) = self.caller.get(&ask)?;
                tag.data.gid.0
            }
        };
        let mut tags = lock(&self.tags);
        if tags.len() >= TAGS_MAX {
            tags.clear();
        }
        tags.insert(folded, gid.clone());
        Ok(gid)
    }

    /// The one account a task can be assigned to: the first person with one, else the first unknown account.
    fn account<'a>(&'a self, assignees: &'a Assignees) -> Option<&'a str> {
        let known = assignees.known.iter().find_map(|name| self.rules.people.account(Side::Tracker, name));
        known.or_else(|| assignees.unknown.first().map(String::as_str))
    }

    /// Adds and removes tags until the task carries `wanted`.
    fn retag(&self, gid: &TaskGid, current: &Item, wanted: &BTreeSet<String>) -> Result<bool, ProviderError> {
        let Native::Task { tags: carried } = &current.native else { return Ok(false) };
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let mut moved = false;
        let mut send = |action: &str, tag: String| {
            moved = true;
            let ask = Ask::write(
                format!("change the tags of asana:{gid}"),
                Method::Post,
                self.url(&format!("/tasks/{gid}/{action}")),
                json!({"data": {"tag": tag}}),
            );
            self.caller.send(&ask.about_item().weighing(Weight::Write))
        };
        for name in wanted.iter().filter(|name| !carried.keys().any(|known| same(known, name))) {
            send("addTag", self.tag(name)?)?;
        }
        for (_, tag) in carried.iter().filter(|(known, _)| !wanted.iter().any(|name| same(known, name))) {
            send("removeTag", tag.clone())?;
        }
        Ok(moved)
    }

    /// Every comment and record line of a task, until `found` says yes.
    fn any_story(&self, gid: &TaskGid, found: impl Fn(&Story) -> bool) -> Result<bool, ProviderError> {
        let first = self.url(&format!("/tasks/{gid}/stories?limit={PAGE}&opt_fields=text,html_text"));
        let doing = format!("read the comments of asana:{gid}");
        let mut url = first.clone();
        let mut seen = HashSet::new();
        for _ in 0..PAGES_MAX {
            let ask = Ask::read(doing.as_str(), url).about_item();
            let (page, _): (Page<Story>, _) = self.caller.get(&ask)?;
            if page.data.iter().any(&found) {
                return Ok(true);
            }
            let Some(next) = page.next_page else { return Ok(false) };
            url = format!("{first}&offset={}", encoded(&next.offset));
            if !seen.insert(next.offset) {
                return Err(garbled(&ask, "its pages run in a circle"));
            }
        }
        Err(garbled(&Ask::read(doing, first), format!("it has more than {PAGES_MAX} pages")))
    }
}

/// What a listing brought besides its items.
#[derive(Debug, Default)]
struct Listed {
    items: u64,
    /// Asana's time when it began.
    began: Option<Timestamp>,
    /// Tasks that could not be understood.
    odd: Vec<TaskGid>,
}

/// How reading the events ended.
enum Stream {
    /// All of them are read.
    Moved(Moved),
    /// The token is no longer good, or there are too many; the cursor that starts now.
    Lost(Cursor),
}

/// What the events say.
#[derive(Debug, Default)]
struct Moved {
    /// The token for the next time.
    sync: String,
    tasks: BTreeSet<TaskGid>,
    /// When the oldest of them was touched.
    oldest: Option<Timestamp>,
}

/// Gives items to the engine's sink.
fn pour(sink: Sink<'_>) -> impl FnMut(Vec<Item>) -> Result<(), ProviderError> {
    |items| if items.is_empty() { Ok(()) } else { sink(items).map_err(|Halt| ProviderError::Halted) }
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
            let query = format!("&modified_since={}", encoded(&earlier(since, OVERLAP).to_string()));
            let doing = format!("list what changed in asana project {}", self.project);
            let mut pour = pour(sink);
            let listed = self.list(&doing, &query, &mut |items| {
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
        Ok(self.list(&doing, "", &mut pour(sink))?.items)
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
            _ => Ok(self.item_in(&ask, &response)?.map_or(Found::NotAnItem, |item| Found::Here(Box::new(item)))),
        }
    }

    fn marked_since(&self, from: Timestamp) -> Result<Vec<Item>, ProviderError> {
        let from = earlier(from, MARKED_OVERLAP);
        let query = format!("&modified_since={}", encoded(&from.to_string()));
        let doing = format!("look for tasks of ours in asana project {}", self.project);
        let mut marked = Vec::new();
        self.list(&doing, &query, &mut |items| {
            marked.extend(items.into_iter().filter(|item| item.marker.is_some() && item.created_at >= from));
            Ok(())
        })?;
        Ok(marked)
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
        self.written(&ask, &response)
    }

    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError> {
        let gid = self.task_of(&current.key, "change")?;
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
            return self.written(&ask, &response);
        }
        let ask = Ask::write(format!("change asana:{gid}"), Method::Put, self.task_url(gid), json!({"data": data}));
        let ask = ask.about_item();
        let response = self.caller.send(&ask)?;
        self.written(&ask, &response)
    }

    fn comment(&self, key: &ItemKey, text: &str) -> Result<(), ProviderError> {
        let gid = self.task_of(key, "comment on")?;
        let body = json!({"data": {"html_text": text::to_asana(text, &self.rules.people)}});
        let url = self.url(&format!("/tasks/{gid}/stories"));
        let ask = Ask::write(format!("comment on asana:{gid}"), Method::Post, url, body);
        self.caller.send(&ask.about_item()).map(drop)
    }
}
