//! A small Asana: what it holds, who may ask, and which request goes where (asana-api.md §11).

mod acts;
mod feed;
mod fields;
mod hooks;
mod lists;
mod outbox;
mod page;
mod people;
mod record;
mod rich;
mod route;
mod shelves;
mod stories;
mod tasks;
mod view;

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use fastrand::Rng;
use jiff::civil::Date;
use serde_json::{Value, json};

use self::feed::Feed;
use self::fields::{Fields, Want};
use self::outbox::Hook;
use self::route::Route;
use super::fault::Bend;
use super::lagging::Lagging;
use super::population::Population;
use super::web::{Ask, instant_ms};
use crate::provider::http::Response;

pub(super) use self::hooks::Handshake;
pub use self::people::{Asana, CustomField, FieldKind, Project, TaskSeed};
pub use self::view::TaskView;

/// What the published facts leave open, or what a test wants otherwise.
#[derive(Debug, Clone)]
pub struct AsanaHabits {
    /// Whether moving between sections moves `modified_at` (contradictory in the facts).
    pub section_move_stamps: bool,
    /// Whether adding or removing a tag moves `modified_at`.
    pub tag_stamps: bool,
    /// Whether writing the value that stands already moves `modified_at` and gives an event.
    pub same_value_stamps: bool,
    /// Whether a deleted task answers 403 instead of 404.
    pub trashed_is_forbidden: bool,
    /// How long a page token is good.
    pub offset_lifetime: Duration,
    /// How long a sync token is good.
    pub sync_lifetime: Duration,
    /// How long an event takes to become visible in the feed; webhooks have switches of their own.
    pub event_delay: Duration,
    /// The share of events that is never told by the feed, 0 to 1.
    pub event_loss: f64,
    /// The share of events that is told by the feed twice, 0 to 1.
    pub event_doubling: f64,
    /// The share of events that changes places with the one before, 0 to 1.
    pub event_swapping: f64,
    /// How far behind a replica answers reads of tasks and listings; zero for none.
    pub lag: Duration,
    /// Whether the workspace pays: else custom fields are refused with 402.
    pub paid: bool,
    /// Requests a minute and token; refused ones count. `None` for no limit.
    pub per_minute: Option<u32>,
    /// Cost points a minute and token, one for each kilobyte answered; may go negative once. `None` for no limit.
    pub cost_per_minute: Option<u32>,
    /// Reads in flight at once. `None` for no limit.
    pub reads_in_flight: Option<u32>,
    /// Writes in flight at once. `None` for no limit.
    pub writes_in_flight: Option<u32>,
    /// Whether webhooks may lead to this machine, by plain HTTP too; the service refuses both.
    pub loopback_targets: bool,
    /// How long a failed delivery waits for its first retry; each further wait is twice as long.
    pub first_retry: Duration,
    /// The longest wait between two retries.
    pub longest_retry: Duration,
    /// Values of the `Asana-Change` header that every answer carries, one header each.
    pub changes: Vec<String>,
}

impl Default for AsanaHabits {
    fn default() -> Self {
        Self {
            section_move_stamps: true,
            tag_stamps: true,
            same_value_stamps: false,
            trashed_is_forbidden: false,
            offset_lifetime: Duration::from_secs(15 * 60),
            sync_lifetime: Duration::from_secs(24 * 3600),
            event_delay: Duration::ZERO,
            event_loss: 0.0,
            event_doubling: 0.0,
            event_swapping: 0.0,
            lag: Duration::ZERO,
            paid: true,
            per_minute: None,
            cost_per_minute: None,
            reads_in_flight: None,
            writes_in_flight: None,
            loopback_targets: false,
            first_retry: Duration::from_secs(10),
            longest_retry: Duration::from_secs(3600),
            changes: Vec::new(),
        }
    }
}

/// The help text of every error, as the service sends it.
const HELP: &str = "For more information on API status codes and how to handle them, read the docs on errors: https://developers.asana.com/docs/errors";
const RESYNC: &str = "Sync token invalid or too old. If you are attempting to keep resources in sync, you must fetch the full dataset for this query now and use the new sync token for the next sync.";
const THROTTLED: &str =
    "You've made too many requests and hit a rate limit. Please retry after the given amount of time.";
const TOO_LARGE: &str = "The result is too large. You should use pagination (may require specifying a workspace)!";

#[derive(Debug, Clone)]
struct User {
    gid: u64,
    name: String,
    email: String,
}

#[derive(Debug, Clone)]
struct Token {
    user: u64,
    /// The OAuth app it belongs to; `None` for a personal access token.
    app: Option<String>,
    revoked: bool,
}

#[derive(Debug)]
struct ProjectState {
    gid: u64,
    name: String,
    html_notes: String,
    sections: Vec<u64>,
    custom_fields: Vec<u64>,
    /// Computed tasks; they stand at the head of the first section.
    population: Option<Population>,
    created_at: i64,
    modified_at: i64,
    owner: u64,
    archived: bool,
    /// Users who may not see it.
    hidden_from: Vec<u64>,
}

#[derive(Debug)]
struct SectionState {
    gid: u64,
    name: String,
    project: u64,
    created_at: i64,
    /// Stored tasks in order; those that were computed and never moved are not among them.
    order: Vec<u64>,
    deleted: bool,
}

#[derive(Debug)]
struct TagState {
    gid: u64,
    name: String,
    color: Option<String>,
    created_at: i64,
    deleted: bool,
}

#[derive(Debug)]
struct FieldState {
    name: String,
    kind: FieldKind,
    options: Vec<(u64, String)>,
}

#[derive(Debug, Clone, PartialEq)]
struct Task {
    gid: u64,
    name: String,
    /// Stored form, see `rich`.
    html: String,
    subtype: String,
    completed: Option<(i64, u64)>,
    created_at: i64,
    created_by: u64,
    modified_at: i64,
    due_on: Option<Date>,
    due_at: Option<i64>,
    start_on: Option<Date>,
    assignee: Option<u64>,
    followers: Vec<u64>,
    parent: Option<u64>,
    /// Project and section of each home.
    homes: Vec<(u64, u64)>,
    /// Still in its place among the computed ones.
    in_slot: bool,
    tags: Vec<u64>,
    fields: BTreeMap<u64, Value>,
    /// The app it belongs to, gid, data.
    external: Option<(String, String, String)>,
    approval: Option<String>,
    trashed: bool,
}

#[derive(Debug, Clone)]
struct Story {
    gid: u64,
    task: u64,
    subtype: String,
    author: u64,
    created_at: i64,
    /// Stored form, see `rich`.
    html: String,
    source: &'static str,
    edited: bool,
    pinned: bool,
    deleted: bool,
}

/// Who does something, when, and how it came in.
#[derive(Debug, Clone, Copy)]
struct Act {
    who: u64,
    now: i64,
    /// `api` or `web`.
    source: &'static str,
}

/// A request that is not granted.
#[derive(Debug)]
struct Refusal {
    status: u16,
    message: String,
}

/// The object is not there, or no longer.
fn nothing_found<T>(what: &str, gid: u64) -> Result<T, Refusal> {
    refuse(404, format!("{what}: Unknown object: {gid}"))
}

fn refuse<T>(status: u16, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { status, message: message.into() })
}

/// The whole of Asana.
#[derive(Debug)]
pub(super) struct AsanaState {
    pub habits: AsanaHabits,
    next_gid: u64,
    workspace: (u64, String),
    users: BTreeMap<u64, User>,
    tokens: BTreeMap<String, Token>,
    projects: BTreeMap<u64, ProjectState>,
    sections: BTreeMap<u64, SectionState>,
    tags: BTreeMap<u64, TagState>,
    custom_fields: BTreeMap<u64, FieldState>,
    tasks: BTreeMap<u64, Lagging<Task>>,
    subtasks: BTreeMap<u64, Vec<u64>>,
    stories: BTreeMap<u64, Story>,
    stories_of: BTreeMap<u64, Vec<u64>>,
    feed: Feed,
    hooks: BTreeMap<u64, Hook>,
    /// A hook about to be made: its target is shaken hands with once the request is let go of.
    handshake: Option<Handshake>,
    recent: BTreeMap<String, Recent>,
    /// Mixed into page tokens, so that they say nothing.
    veil: u64,
    /// Decides which events are lost, doubled or swapped.
    chance: Rng,
}

/// What one token did lately.
#[derive(Debug, Default)]
struct Recent {
    requests: VecDeque<i64>,
    cost: VecDeque<(i64, i64)>,
}

/// The token's user of everything that is seeded: a service's own account.
const BOT: (u64, &str, &str) = (1_200_000_000_000_010, "Evenkeel Bot", "evenkeel@example.com");
/// The person who acts where nobody is named.
const PERSON: (u64, &str, &str) = (1_200_000_000_000_020, "Ada Marsh", "ada@example.com");
/// Gids are handed out from here on.
const FIRST_GID: u64 = 1_200_000_000_001_000;
/// A list without `limit` is answered whole up to this many (asana-api.md §1.5).
const UNPAGED_MAX: usize = 1000;

impl AsanaState {
    pub fn new(rng: &mut Rng) -> Self {
        let users =
            [BOT, PERSON].map(|(gid, name, email)| (gid, User { gid, name: name.to_owned(), email: email.to_owned() }));
        Self {
            habits: AsanaHabits::default(),
            next_gid: FIRST_GID,
            workspace: (1_200_000_000_000_001, "Acme".to_owned()),
            users: users.into_iter().collect(),
            tokens: BTreeMap::new(),
            projects: BTreeMap::new(),
            sections: BTreeMap::new(),
            tags: BTreeMap::new(),
            custom_fields: BTreeMap::new(),
            tasks: BTreeMap::new(),
            subtasks: BTreeMap::new(),
            stories: BTreeMap::new(),
            stories_of: BTreeMap::new(),
            feed: Feed::default(),
            hooks: BTreeMap::new(),
            handshake: None,
            recent: BTreeMap::new(),
            veil: rng.u64(..),
            chance: rng.fork(),
        }
    }

    fn gid(&mut self) -> u64 {
        self.next_gid += 1;
        self.next_gid
    }

    /// A task as it is now, stored or computed, trashed or not.
    fn task(&self, gid: u64) -> Option<Cow<'_, Task>> {
        match self.tasks.get(&gid) {
            Some(task) => Some(Cow::Borrowed(task.get())),
            None => self.computed(gid).map(Cow::Owned),
        }
    }

    /// A task as a replica that stands at `at` shows it.
    fn task_seen(&self, gid: u64, at: i64) -> Option<Cow<'_, Task>> {
        match self.tasks.get(&gid) {
            Some(task) => task.seen(at).map(Cow::Borrowed),
            None => self.computed(gid).map(Cow::Owned),
        }
    }

    fn computed(&self, gid: u64) -> Option<Task> {
        let (project, population, index) = self.projects.values().find_map(|project| {
            let population = project.population.as_ref()?;
            Some((project, population, population.index_of_task(gid)?))
        })?;
        let item = population.item(index);
        let at = population.at(index);
        Some(Task {
            gid,
            name: item.title,
            html: item.html_notes,
            subtype: "default_task".to_owned(),
            completed: item.done.then_some((at, PERSON.0)),
            created_at: at,
            created_by: PERSON.0,
            modified_at: at,
            due_on: None,
            due_at: None,
            start_on: None,
            assignee: None,
            followers: vec![PERSON.0],
            parent: None,
            homes: vec![(project.gid, project.sections.first().copied().unwrap_or_default())],
            in_slot: true,
            tags: Vec::new(),
            fields: BTreeMap::new(),
            external: None,
            approval: None,
            trashed: false,
        })
    }

    /// Answers one request.
    pub fn answer(&mut self, ask: &Ask<'_>, bend: &Bend, now: i64, rng: &mut Rng) -> Response {
        let mut response = match self.granted(ask, bend, now, rng) {
            Ok(response) => response,
            Err(Refusal { status, message }) => refusal(status, &message),
        };
        if let Some(token) = ask.token().filter(|_| self.habits.cost_per_minute.is_some()) {
            let cost = i64::try_from(response.body.len() / 1024 + 1).unwrap_or(i64::MAX);
            self.recent.entry(token.to_owned()).or_default().cost.push_back((now, cost));
        }
        response.headers.extend(self.habits.changes.iter().map(|change| ("asana-change".to_owned(), change.clone())));
        if response.status == 429 {
            response.headers.push(("retry-after".to_owned(), "30".to_owned()));
        }
        response
    }

    fn granted(&mut self, ask: &Ask<'_>, bend: &Bend, now: i64, rng: &mut Rng) -> Result<Response, Refusal> {
        let words: Vec<&str> = ask.path.iter().map(String::as_str).collect();
        let Some(route) = Route::find(ask.method, &words) else {
            return refuse(404, "No matching route for request");
        };
        let token = ask.token().and_then(|token| self.tokens.get(token)).filter(|token| !token.revoked);
        let Some(token) = token.cloned() else { return refuse(401, "Not Authorized") };
        self.throttle(ask, now)?;
        let wanted = ask.param("opt_fields").map(Fields::parse);
        let call = Call { ask, bend, act: Act { who: token.user, now, source: "api" }, app: token.app, fields: wanted };
        self.serve(route, call, rng)
    }

    /// Counts the request and refuses it when the token asks too much; refused ones count too.
    fn throttle(&mut self, ask: &Ask<'_>, now: i64) -> Result<(), Refusal> {
        let Some(token) = ask.token() else { return Ok(()) };
        let AsanaHabits { per_minute, cost_per_minute, .. } = self.habits;
        if per_minute.is_none() && cost_per_minute.is_none() {
            return Ok(());
        }
        let recent = self.recent.entry(token.to_owned()).or_default();
        let minute_ago = now.saturating_sub(60_000);
        while recent.requests.front().is_some_and(|at| *at <= minute_ago) {
            recent.requests.pop_front();
        }
        while recent.cost.front().is_some_and(|(at, _)| *at <= minute_ago) {
            recent.cost.pop_front();
        }
        recent.requests.push_back(now);
        let over = per_minute.is_some_and(|limit| recent.requests.len() > limit as usize);
        let spent: i64 = recent.cost.iter().map(|(_, cost)| cost).sum();
        if over || cost_per_minute.is_some_and(|limit| spent > i64::from(limit)) {
            return refuse(429, THROTTLED);
        }
        Ok(())
    }

    fn serve(&mut self, route: Route<'_>, mut call: Call<'_>, rng: &mut Rng) -> Result<Response, Refusal> {
        match route {
            Route::User(who) => self.get_user(who, &call),
            Route::Users => self.list_users(&call),
            Route::Workspaces => self.list_workspaces(&call),
            Route::Workspace(gid) => self.get_workspace(gid, &call),
            Route::WorkspaceProjects(gid) => self.list_projects(Some(gid), &call),
            Route::WorkspaceTags(gid) => self.list_tags(Some(gid), &call),
            Route::WorkspaceFields(gid) => self.list_workspace_fields(gid, &call),
            Route::WorkspaceUsers(gid) => self.list_workspace_users(gid, &call),
            Route::Typeahead(gid) => self.typeahead(gid, &call),
            Route::Search(gid) => self.search(gid),
            Route::Projects => self.list_projects(None, &call),
            Route::Project(gid) => self.get_project(gid, &call),
            Route::ProjectTasks(gid) => self.list_project_tasks(gid, &call, rng),
            Route::ProjectSections(gid) => self.list_sections(gid, &call),
            Route::CreateSection(gid) => self.create_section(gid, &mut call),
            Route::ProjectFieldSettings(gid) => self.list_field_settings(gid, &call),
            Route::Events(resource) => self.events(resource, &call, rng),
            Route::Tasks => self.list_tasks(&call, rng),
            Route::CreateTask => self.create_task(&mut call),
            Route::Task(gid) => self.get_task(gid, &call),
            Route::UpdateTask(gid) => self.update_task(gid, &mut call),
            Route::DeleteTask(gid) => self.delete_task(gid, &call),
            Route::TaskList(gid, list) => self.list_of_task(gid, list, &call, rng),
            Route::TaskAction(gid, action) => self.task_action(gid, action, &mut call),
            Route::CreateStory(gid) => self.create_story(gid, &mut call),
            Route::Story(gid) => self.get_story(gid, &call),
            Route::UpdateStory(gid) => self.update_story(gid, &mut call),
            Route::DeleteStory(gid) => self.delete_story(gid, &call),
            Route::Section(gid) => self.get_section(gid, &call),
            Route::UpdateSection(gid) => self.update_section(gid, &mut call),
            Route::DeleteSection(gid) => self.delete_section(gid),
            Route::SectionTasks(gid) => self.list_section_tasks(gid, &call, rng),
            Route::SectionAddTask(gid) => self.section_add_task(gid, &mut call),
            Route::Tags => self.list_tags(None, &call),
            Route::CreateTag(workspace) => self.create_tag(workspace, &mut call),
            Route::Tag(gid) => self.get_tag(gid, &call),
            Route::UpdateTag(gid) => self.update_tag(gid, &mut call),
            Route::DeleteTag(gid) => self.delete_tag(gid, &call),
            Route::TagTasks(gid) => self.list_tag_tasks(gid, &call, rng),
            Route::Field(gid) => self.get_field(gid, &call),
            Route::Hooks => self.list_hooks(&call),
            Route::CreateHook => self.create_hook(&mut call, rng),
            Route::Hook(gid) => self.get_hook(gid, &call),
            Route::UpdateHook(gid) => self.update_hook(gid, &mut call),
            Route::DeleteHook(gid) => self.delete_hook(gid, &call),
        }
    }
}

/// A request that may be served: who asks, and what of the answer is wanted.
struct Call<'c> {
    ask: &'c Ask<'c>,
    bend: &'c Bend,
    act: Act,
    app: Option<String>,
    fields: Option<Fields>,
}

impl Call<'_> {
    /// How much of a single object is wanted.
    const fn single(&self) -> Want<'_> {
        match &self.fields {
            Some(fields) => Want::Only(fields),
            None => Want::Full,
        }
    }

    /// How much of each object of a list is wanted.
    const fn each(&self) -> Want<'_> {
        match &self.fields {
            Some(fields) => Want::Only(fields),
            None => Want::Compact,
        }
    }

    /// The `data` of a write, whose body must be `{"data": {…}, "options": {…}}`.
    fn data(&mut self) -> Result<serde_json::Map<String, Value>, Refusal> {
        let body = match self.ask.body {
            [] => json!({"data": {}}),
            bytes => match serde_json::from_slice(bytes) {
                Ok(body) => body,
                Err(_) => return refuse(400, "Could not parse request data, invalid JSON"),
            },
        };
        let Value::Object(body) = body else { return refuse(400, "Could not parse request data, invalid JSON") };
        let mut data = None;
        for (key, value) in body {
            match (key.as_str(), value) {
                ("data", Value::Object(object)) => data = Some(object),
                ("data", _) => return refuse(400, "data: Value is not a JSON object"),
                ("options", options) => {
                    if let (Some(names), None) = (options.get("fields").and_then(Value::as_array), &self.fields) {
                        let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                        self.fields = Some(Fields::parse(&names.join(",")));
                    }
                }
                (other, _) => {
                    return refuse(
                        400,
                        format!(
                            "Unrecognized request field {other} . The only allowed keys at the top level are: data, options. Is it possible you did not wrap object properties in a data object?"
                        ),
                    );
                }
            }
        }
        match data {
            Some(data) => Ok(data),
            None => refuse(400, "data: Missing input"),
        }
    }
}

/// The answer to a request that is not granted.
pub(super) fn refusal(status: u16, message: &str) -> Response {
    answered(status, json!({"errors": [{"message": message, "help": HELP}]}).to_string().into_bytes())
}

/// The answer to an events request without a good token.
fn resync(sync: &str) -> Response {
    answered(412, json!({"errors": [{"message": RESYNC, "help": HELP}], "sync": sync}).to_string().into_bytes())
}

/// The answer to too many requests.
pub(super) fn throttled(retry_after: Option<u64>) -> Response {
    let mut response = refusal(429, THROTTLED);
    if let Some(seconds) = retry_after {
        response.headers.push(("retry-after".to_owned(), seconds.to_string()));
    }
    response
}

fn answered(status: u16, body: Vec<u8>) -> Response {
    Response { status, headers: vec![("content-type".to_owned(), "application/json; charset=UTF-8".to_owned())], body }
}

/// `{"data": …}` around what `fill` writes.
fn data(status: u16, fill: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut body = Vec::with_capacity(1024);
    body.extend_from_slice(b"{\"data\":");
    fill(&mut body);
    body.push(b'}');
    answered(status, body)
}

/// The answer of deletions and most actions.
fn nothing() -> Response {
    data(200, |out| out.extend_from_slice(b"{}"))
}

/// A gid as it stands in a path or a value; `what` is the kind of object, for the message.
fn parse_gid(what: &str, text: &str) -> Result<u64, Refusal> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse(400, format!("{what}: Not a recognized ID: {text}"));
    }
    // Digits too many for our own gids name nothing we hold.
    Ok(text.parse().unwrap_or(u64::MAX))
}

/// An instant as Asana writes it, or null.
fn instant(at: Option<i64>) -> Option<String> {
    at.map(instant_ms)
}
