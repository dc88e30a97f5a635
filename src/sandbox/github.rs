//! A small GitHub: what it holds, who may ask, and which request goes where (github-api.md §17).

mod acts;
mod comments;
mod deliveries;
mod hooks;
mod issues;
mod limits;
mod lists;
mod news;
mod people;
mod pulls;
mod record;
mod repos;
mod view;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use self::deliveries::Outbox;
use self::hooks::Hook;
use self::limits::Windows;
use super::fault::{Bend, Limit};
use super::lagging::Lagging;
use super::population::Population;
use super::web::{Ask, http_date, json_response};
use crate::provider::http::{Method, Response};

pub(super) use self::deliveries::Delivery;
pub use self::limits::Limits;
pub use self::people::{Github, IssueSeed, Permission, Reason, Repository};
pub use self::view::IssueView;

/// What the published facts leave open, or what a test wants otherwise.
#[derive(Debug, Clone)]
pub struct GithubHabits {
    /// Whether writing the values that stand already moves `updated_at` (reported so).
    pub same_value_stamps: bool,
    /// Whether editing or deleting a comment moves the issue's `updated_at` (not certain).
    pub comment_edit_stamps: bool,
    /// `page * per_page` may not exceed this on the issues list (1,000 measured in 2026).
    pub page_bound: u64,
    /// How far behind a replica answers reads of issues and lists; zero for none.
    pub lag: Duration,
    /// The limits that are kept.
    pub limits: Limits,
    /// The status of an answer that tells of a limit: 403 or 429.
    pub limit_status: u16,
    /// Whether such an answer of the secondary limits names the seconds to wait.
    pub names_retry_after: bool,
    /// Whether webhooks may lead to this machine; the service refuses that.
    pub loopback_targets: bool,
    /// Whether the issues that a merge closes are told of before the merge itself; the order is not certain.
    pub merge_told_last: bool,
    /// Where deliveries come from, as `/meta` says: networks in CIDR notation.
    pub hook_networks: Vec<String>,
}

impl Default for GithubHabits {
    fn default() -> Self {
        Self {
            same_value_stamps: true,
            comment_edit_stamps: false,
            page_bound: 1000,
            lag: Duration::ZERO,
            limits: Limits::off(),
            limit_status: 403,
            names_retry_after: true,
            loopback_targets: false,
            merge_told_last: false,
            hook_networks: ["192.0.2.0/24", "198.51.100.0/24", "2001:db8::/32"].map(str::to_owned).into(),
        }
    }
}

const DOCS: &str = "https://docs.github.com/rest";
/// Versions of the API, the default first.
const VERSIONS: [&str; 2] = ["2022-11-28", "2026-03-10"];
/// Ids are handed out from here on: larger than 32 bits hold, as they are today.
const FIRST_ID: i64 = 4_300_000_000;

#[derive(Debug, Clone)]
struct Account {
    id: i64,
    login: String,
    /// Changes with the profile, and with it every body that shows the account.
    avatar: u32,
    /// Last change of the profile, ms since the epoch.
    changed: i64,
}

/// What a token was made for.
#[derive(Debug, Clone)]
enum Kind {
    /// With scopes.
    Classic(Vec<String>),
    /// With permissions for some repositories; `None` for all of them.
    FineGrained { issues: Access, hooks: Access, repos: Option<Vec<i64>> },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Access {
    None,
    Read,
    Write,
}

#[derive(Debug, Clone)]
struct Token {
    user: i64,
    kind: Kind,
    revoked: bool,
}

#[derive(Debug, Clone)]
struct Label {
    id: i64,
    name: String,
    color: String,
    description: Option<String>,
    default: bool,
}

#[derive(Debug, Clone)]
struct Milestone {
    id: i64,
    number: u64,
    title: String,
    created: i64,
}

#[derive(Debug, Clone, PartialEq)]
struct Pull {
    draft: bool,
    merged_at: Option<i64>,
    merged_by: Option<i64>,
    /// The branch it is to be merged into.
    base: String,
    /// The branch it comes from.
    head: String,
}

/// What became of an issue that is no longer there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gone {
    Deleted,
    Transferred { repo: i64, number: u64 },
}

#[derive(Debug, Clone, PartialEq)]
struct Issue {
    number: u64,
    id: i64,
    title: String,
    body: Option<String>,
    /// `None` while open.
    closed: Option<i64>,
    closed_by: Option<i64>,
    reason: Option<Reason>,
    labels: Vec<i64>,
    assignees: Vec<i64>,
    milestone: Option<u64>,
    author: i64,
    comments: u64,
    created: i64,
    updated: i64,
    locked: Option<Option<String>>,
    pull: Option<Pull>,
    gone: Option<Gone>,
}

#[derive(Debug, Clone)]
struct Comment {
    id: i64,
    issue: u64,
    author: i64,
    body: String,
    created: i64,
    updated: i64,
}

#[derive(Debug)]
struct Repo {
    id: i64,
    owner: i64,
    name: String,
    private: bool,
    archived: bool,
    has_issues: bool,
    default_branch: String,
    created: i64,
    next_number: u64,
    /// Stored issues; computed ones are stored once touched.
    issues: BTreeMap<u64, Lagging<Issue>>,
    /// Living stored issues by creation and by last change.
    by_created: BTreeSet<(i64, u64)>,
    by_updated: BTreeSet<(i64, u64)>,
    /// When each was last written, newest last, for replicas that lag.
    written: VecDeque<(i64, u64)>,
    population: Option<Population>,
    /// How many of the computed issues are open while none is touched.
    open_computed: OnceCell<u64>,
    labels: BTreeMap<i64, Label>,
    milestones: BTreeMap<u64, Milestone>,
    comments: BTreeMap<i64, Comment>,
    comments_of: BTreeMap<u64, Vec<i64>>,
    /// What each account may do; others may read what is public.
    permissions: BTreeMap<i64, Permission>,
    hooks: BTreeMap<i64, Hook>,
}

/// Who does something, and when (whole seconds, as ms since the epoch).
#[derive(Debug, Clone, Copy)]
struct Act {
    who: i64,
    now: i64,
}

/// The whole of GitHub.
#[derive(Debug)]
pub(super) struct GithubState {
    pub habits: GithubHabits,
    next_id: i64,
    accounts: BTreeMap<i64, Account>,
    logins: BTreeMap<String, i64>,
    tokens: BTreeMap<String, Token>,
    repos: BTreeMap<i64, Repo>,
    /// `owner/name` in lower case to the repository that has it now.
    names: BTreeMap<String, i64>,
    /// `owner/name` in lower case to the repository that had it.
    former: BTreeMap<String, i64>,
    windows: BTreeMap<i64, Windows>,
    requests: u64,
    /// What hooks are told, and what they were.
    outbox: Outbox,
}

/// A request that is not granted, or answered with something other than a body.
#[derive(Debug)]
struct Refusal {
    status: u16,
    body: Value,
    headers: Vec<(String, String)>,
}

impl Refusal {
    fn new(status: u16, message: &str) -> Self {
        Self { status, body: error_body(status, message), headers: Vec::new() }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

type Answer<T = Response> = Result<T, Refusal>;

fn error_body(status: u16, message: &str) -> Value {
    json!({"message": message, "documentation_url": DOCS, "status": status.to_string()})
}

fn refuse<T>(status: u16, message: &str) -> Answer<T> {
    Err(Refusal::new(status, message))
}

fn not_found<T>() -> Answer<T> {
    refuse(404, "Not Found")
}

/// 422 with one entry in `errors`.
fn invalid<T>(error: Value) -> Answer<T> {
    let mut refusal = Refusal::new(422, "Validation Failed");
    if let Value::Object(body) = &mut refusal.body {
        body.insert("errors".to_owned(), json!([error]));
    }
    Err(refusal)
}

impl GithubState {
    pub fn new(seed: u64) -> Self {
        Self {
            habits: GithubHabits::default(),
            next_id: FIRST_ID,
            accounts: BTreeMap::new(),
            logins: BTreeMap::new(),
            tokens: BTreeMap::new(),
            repos: BTreeMap::new(),
            names: BTreeMap::new(),
            former: BTreeMap::new(),
            windows: BTreeMap::new(),
            requests: 0,
            outbox: Outbox::new(seed),
        }
    }

    fn id(&mut self) -> i64 {
        self.next_id += 7;
        self.next_id
    }

    /// Answers one request.
    pub fn answer(&mut self, ask: &Ask<'_>, bend: &Bend, now: i64, rng: &mut Rng) -> Response {
        self.requests += 1;
        if ask.header("user-agent").is_none_or(str::is_empty) {
            return Response {
                status: 403,
                headers: vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())],
                body: b"\r\nRequest forbidden by administrative rules. Please make sure your request has a User-Agent header (https://docs.github.com/en/rest/overview/resources-in-the-rest-api#user-agent-required). Check https://developer.github.com for other possible causes.\r\n".to_vec(),
            };
        }
        let version = ask.header("x-github-api-version").unwrap_or(VERSIONS[0]);
        if !VERSIONS.contains(&version) {
            let message = format!("\"{version}\" is not a supported version of the GitHub API.");
            return refused(Refusal::new(400, &message));
        }
        let token = ask.token().map(|token| self.tokens.get(token).filter(|token| !token.revoked).cloned());
        let token = match token {
            Some(None) => return refused(Refusal::new(401, "Bad credentials")),
            Some(Some(token)) => Some(token),
            None => None,
        };
        // Accounts are told apart by id; those who do not say who they are share one window.
        let who = token.as_ref().map_or(0, |token| token.user);
        let free = ask.raw_path == "/rate_limit";
        let limits = self.habits.limits.clone();
        let over = self.windows.entry(who).or_default().admit(&limits, ask, now, free);
        let mut response = match over {
            Some(limit) => {
                let retry_after = self.habits.names_retry_after.then_some(60);
                limited(limit, self.habits.limit_status, retry_after, who)
            }
            None => {
                let call = Call { ask, bend, act: Act { who, now: now - now.rem_euclid(1000) }, token, version };
                self.granted(&call, rng).unwrap_or_else(refused)
            }
        };
        if (200..300).contains(&response.status) && ask.method == Method::Get {
            let etag = etag(ask, &response.body);
            // A list of validators, or one; weak or strong is the same to this comparison.
            let known = ask.header("if-none-match").unwrap_or_default();
            let opaque = etag.trim_start_matches("W/");
            if known.split(',').any(|known| known.trim().trim_start_matches("W/") == opaque) {
                response.status = 304;
                response.body = Vec::new();
                response.headers.retain(|(name, _)| name != "content-type");
            }
            response.headers.push(("etag".to_owned(), etag));
        }
        let unchanged_is_free = response.status == 304 && who != 0;
        let windows = self.windows.entry(who).or_default();
        if !free && !unchanged_is_free && over.is_none() {
            windows.spend();
        }
        response.headers.extend(windows.headers(&limits, over == Some(Limit::Primary)));
        for (name, value) in [
            ("cache-control", "private, max-age=60, s-maxage=60"),
            ("vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With"),
            ("x-github-media-type", "github.v3; format=json"),
            ("x-github-api-version-selected", version),
        ] {
            response.headers.push((name.to_owned(), value.to_owned()));
        }
        response.headers.push(("x-github-request-id".to_owned(), format!("EVEN:{:08X}", self.requests)));
        response
    }

    fn granted(&mut self, call: &Call<'_>, rng: &mut Rng) -> Answer {
        use Method::{Delete, Get, Patch, Post, Put};
        let words: Vec<&str> = call.ask.path.iter().map(String::as_str).collect();
        let method = call.ask.method;
        if let (Some(last), true) = (words.last(), words.len() > 1)
            && last.is_empty()
        {
            return not_found();
        }
        let response = match (method, words.as_slice()) {
            (Get, ["user"]) => self.get_me(call),
            (Get, ["users", login]) => self.get_account(login, call),
            (Get, ["rate_limit"]) => Ok(self.rate_limit(call)),
            (Get, ["meta"]) => Ok(self.get_meta()),
            (_, ["repos", owner, name, rest @ ..]) => {
                let tail = call.ask.raw_path.splitn(5, '/').nth(4);
                let repo = self.repo_named(owner, name, tail, call)?;
                self.in_repo(repo, method, rest, call, rng)
            }
            (_, ["repositories", id, rest @ ..]) => {
                let repo = id.parse().ok().filter(|id| self.repos.contains_key(id));
                let Some(repo) = repo else { return not_found() };
                self.in_repo(repo, method, rest, call, rng)
            }
            (Get | Post | Put | Patch | Delete, _) => not_found(),
        };
        let mut response = response?;
        if let Some(Token { kind: Kind::Classic(scopes), .. }) = &call.token {
            response.headers.push(("x-oauth-scopes".to_owned(), scopes.join(", ")));
            response.headers.push(("x-accepted-oauth-scopes".to_owned(), "repo".to_owned()));
        }
        Ok(response)
    }

    fn in_repo(&mut self, id: i64, method: Method, rest: &[&str], call: &Call<'_>, rng: &mut Rng) -> Answer {
        use Method::{Delete, Get, Patch, Post, Put};
        let access = self.access(id, call)?;
        let repo = &access;
        if let ["hooks", rest @ ..] = rest {
            return self.in_hooks(repo, method, rest, call);
        }
        if method.writes() {
            self.may_write(id, call, rest)?;
        }
        match (method, rest) {
            (Get, []) => self.get_repo(repo, call),
            (Get, ["pulls", number]) => self.get_pull(repo, number, call),
            (Get, ["issues"]) => self.list_issues(repo, call, rng),
            (Post, ["issues"]) => self.create_issue(repo, call),
            (Get, ["issues", "comments"]) => self.list_repo_comments(repo, call, rng),
            (Get, ["issues", "comments", comment]) => self.get_comment(repo, comment, call),
            (Patch, ["issues", "comments", comment]) => self.update_comment(repo, comment, call),
            (Delete, ["issues", "comments", comment]) => self.delete_comment(repo, comment, call),
            (Get, ["issues", number]) => self.get_issue(repo, number, call),
            (Patch, ["issues", number]) => self.update_issue(repo, number, call),
            (Put, ["issues", number, "lock"]) => self.lock(repo, number, true, call),
            (Delete, ["issues", number, "lock"]) => self.lock(repo, number, false, call),
            (Get, ["issues", number, "comments"]) => self.list_comments(repo, number, call, rng),
            (Post, ["issues", number, "comments"]) => self.create_comment(repo, number, call),
            (Get, ["issues", number, "labels"]) => self.list_issue_labels(repo, number, call),
            (Post, ["issues", number, "labels"]) => self.set_issue_labels(repo, number, true, call),
            (Put, ["issues", number, "labels"]) => self.set_issue_labels(repo, number, false, call),
            (Delete, ["issues", number, "labels"]) => self.remove_issue_label(repo, number, None, call),
            (Delete, ["issues", number, "labels", name]) => self.remove_issue_label(repo, number, Some(name), call),
            (Post, ["issues", number, "assignees"]) => self.set_issue_assignees(repo, number, true, call),
            (Delete, ["issues", number, "assignees"]) => self.set_issue_assignees(repo, number, false, call),
            (Get, ["labels"]) => self.list_labels(repo, call, rng),
            (Post, ["labels"]) => self.create_label(repo, call),
            (Get, ["labels", name]) => self.get_label(repo, name, call),
            (Patch, ["labels", name]) => self.update_label(repo, name, call),
            (Delete, ["labels", name]) => self.delete_label(repo, name, call),
            (Get, ["milestones"]) => self.list_milestones(repo, call, rng),
            (Get, ["assignees"]) => self.list_assignees(repo, call, rng),
            (Get, ["assignees", login]) => self.is_assignable(repo, login),
            (Get, ["collaborators", login, "permission"]) => self.get_permission(repo, login, call),
            _ => not_found(),
        }
    }

    /// An issue as it is now, stored or computed, gone or not.
    fn issue(&self, repo: i64, number: u64) -> Option<Cow<'_, Issue>> {
        let repo = self.repos.get(&repo)?;
        match repo.issues.get(&number) {
            Some(issue) => Some(Cow::Borrowed(issue.get())),
            None => repo.computed(number).map(Cow::Owned),
        }
    }
}

impl Repo {
    /// An issue as a replica that stands at `at` shows it.
    fn issue_seen(&self, number: u64, at: i64) -> Option<Cow<'_, Issue>> {
        match self.issues.get(&number) {
            Some(issue) => issue.seen(at).map(Cow::Borrowed),
            None => self.computed(number).map(Cow::Owned),
        }
    }

    fn computed(&self, number: u64) -> Option<Issue> {
        let population = self.population.as_ref()?;
        let index = population.index_of_issue(number)?;
        let item = population.item(index);
        let at = population.at(index);
        let at = at - at.rem_euclid(1000);
        let body = (population.body)(&item);
        Some(Issue {
            number,
            id: population.first_id + i64::try_from(index).unwrap_or_default(),
            title: item.title,
            body: (!body.is_empty()).then_some(body),
            closed: item.done.then_some(at),
            closed_by: item.done.then_some(self.owner),
            reason: item.done.then_some(Reason::Completed),
            labels: Vec::new(),
            assignees: Vec::new(),
            milestone: None,
            author: self.owner,
            comments: 0,
            created: at,
            updated: at,
            locked: None,
            pull: None,
            gone: None,
        })
    }
}

/// A request that may be served.
struct Call<'c> {
    ask: &'c Ask<'c>,
    bend: &'c Bend,
    act: Act,
    /// `None` for those who do not say who they are.
    token: Option<Token>,
    version: &'c str,
}

impl Call<'_> {
    /// Whether the answer is in the newer version of the API.
    fn is_new(&self) -> bool {
        self.version == VERSIONS[1]
    }

    /// The body of a write, which must be a JSON object.
    fn body(&self) -> Answer<serde_json::Map<String, Value>> {
        if self.ask.body.is_empty() {
            return Ok(serde_json::Map::new());
        }
        match serde_json::from_slice(self.ask.body) {
            Ok(Value::Object(body)) => Ok(body),
            Ok(_) => refuse(400, "Body should be a JSON object"),
            Err(_) => refuse(400, "Problems parsing JSON"),
        }
    }
}

fn refused(refusal: Refusal) -> Response {
    let mut response = json_response(refusal.status, refusal.body.to_string().into_bytes());
    response.headers.extend(refusal.headers);
    response
}

/// An answer that tells of a limit.
pub(super) fn limited(limit: Limit, status: u16, retry_after: Option<u64>, who: i64) -> Response {
    let message = match limit {
        Limit::Primary => format!("API rate limit exceeded for user ID {who}."),
        Limit::Secondary => {
            "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.".to_owned()
        }
    };
    let mut refusal = Refusal::new(status, &message);
    if let (Limit::Secondary, Some(seconds)) = (limit, retry_after) {
        refusal = refusal.with("retry-after", seconds.to_string());
    }
    refused(refusal)
}

/// A plain refusal, for faults.
pub(super) fn refusal(status: u16, message: &str) -> Response {
    refused(Refusal::new(status, message))
}

/// Covers the body, the token and what was accepted, as the service's does (github-api.md §7).
fn etag(ask: &Ask<'_>, body: &[u8]) -> String {
    let mut text = String::from("W/\"");
    let mut hasher = DefaultHasher::new();
    for part in [ask.header("accept"), ask.header("authorization")] {
        hasher.write(part.unwrap_or_default().as_bytes());
        hasher.write_u8(0);
    }
    hasher.write(body);
    // Stretched to the 64 digits a real one has.
    let mut digits = Rng::with_seed(hasher.finish());
    for _ in 0..4 {
        text.push_str(&format!("{:016x}", digits.u64(..)));
    }
    text.push('"');
    text
}

fn last_modified(at: i64) -> (String, String) {
    ("last-modified".to_owned(), http_date(at))
}
