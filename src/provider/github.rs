//! GitHub as the forge of one route: reads and writes the issues of one repository.
//!
//! Facts about the API are those of GitHub's OpenAPI description and guides. A renamed repository is
//! followed through its redirects, and its issues then carry the new name; the repository's id in
//! [`Native::Issue`](crate::model::Native::Issue) is what stays the same.
//!
//! Known and accepted: deleted and transferred issues leave no trace in listings, only a direct read or a
//! webhook tells; comments that are edited are not looked at.

mod address;
mod closing;
pub mod delivery;
mod hooks;
mod listing;
mod sets;
mod wire;

pub use hooks::{GithubHooks, hook_sources};

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use self::wire::{Issue, Repo};
use super::call::{About, Ask, Caller, Connection, Service, encoded, garbled, pour, server_time};
use super::http::{Method, Response};
use super::permit::Barrier;
use super::{
    Changes, Cursor, Draft, Finding, Found, Marked, Observe, Permit, ProviderError, Requests, Sink, Write, finding,
};
use crate::clock::{earlier, later, lock};
use crate::model::{Assignees, Change, IssueRef, Item, ItemKey, RepoName, Rules, Side, Status, Timestamp};
use crate::text;

/// Issues on a page; GitHub caps at 100.
const PAGE: usize = 100;
/// Listings are read from copies that lag, reportedly by minutes on a bad day; the watermark stays that far behind.
const OVERLAP: Duration = Duration::from_secs(300);
/// A first page with more than this many rows moves the watermark. Below, it stays, so that the address
/// and its ETag stay good and the next idle poll is answered 304.
const ROWS_KEPT: usize = PAGE / 2;
/// Redirects followed for one call.
const HOPS_MAX: usize = 5;
/// Repositories remembered by name.
const REPOS_MAX: usize = 1_000;
/// What a renamed repository or a transferred issue is answered with.
const REDIRECTS: &[u16] = &[301, 302, 307, 308];
/// What a read of one issue understands itself.
const READS: &[u16] = &[301, 302, 307, 308, 403, 404, 410, 451];

/// Where the listing by `updated_at` resumes. Bound to the repository it was made for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    repo: RepoName,
    /// The watermark, inclusive, in whole seconds on GitHub's clock.
    since: Timestamp,
    /// The ETag of the only page under it.
    etag: Option<String>,
}

/// The issues of one GitHub repository.
pub struct GithubClient {
    caller: Caller,
    barrier: Barrier,
    repo: RepoName,
    rules: Rules,
    /// `/repos/{owner}/{name}`, or `/repositories/{id}` once a redirect told so.
    root: Mutex<String>,
    /// Repository ids by folded name.
    ids: Mutex<HashMap<String, i64>>,
}

impl GithubClient {
    /// A client for one repository; sends nothing yet.
    pub fn new(connection: Connection, repo: RepoName, rules: &Rules) -> Self {
        let root = Mutex::new(format!("/repos/{repo}"));
        let barrier = Barrier::default();
        let transport = barrier.before(connection.transport.clone());
        let caller = Caller::new(Service::Github, Connection { transport, ..connection });
        Self { caller, barrier, repo, rules: rules.clone(), root, ids: Mutex::default() }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.caller.connection.base_url)
    }

    /// Where a repository's resources are.
    fn root_of(&self, repo: &RepoName) -> String {
        if *repo == self.repo { lock(&self.root).clone() } else { format!("/repos/{repo}") }
    }

    fn issue_url(&self, issue: &IssueRef, rest: &str) -> String {
        self.url(&format!("{}/issues/{}{rest}", self.root_of(&issue.repo), issue.number))
    }

    fn issue_of<'a>(&self, key: &'a ItemKey, doing: &str) -> Result<&'a IssueRef, ProviderError> {
        match key {
            ItemKey::Issue(issue) => Ok(issue),
            ItemKey::Task(_) => Err(ProviderError::Refused {
                doing: format!("{doing} {key}"),
                status: 0,
                why: "GitHub holds issues, not tasks".to_owned(),
            }),
        }
    }

    /// Sends a call and follows its redirects by hand: only within our own origin, for the token goes along;
    /// writes only through 307 and 308, which keep the method.
    fn send<'a>(&self, mut ask: Ask<'a>) -> Result<(Ask<'a>, Response), ProviderError> {
        if ask.accept.is_empty() {
            ask = ask.accept(REDIRECTS);
        }
        let base = &self.caller.connection.base_url;
        let about = ask.about;
        for _ in 0..=HOPS_MAX {
            let response = self.caller.send(&ask)?;
            if !REDIRECTS.contains(&response.status) {
                return Ok((ask, response));
            }
            if ask.method.writes() && !matches!(response.status, 307 | 308) {
                let why = "GitHub redirects it; the repository or issue has moved".to_owned();
                return Err(ProviderError::Refused { doing: ask.doing, status: response.status, why });
            }
            let Some(to) = response.header("location") else {
                // Seen for resources of transferred issues: moved, but not said where.
                return match about {
                    About::Item => Err(ProviderError::Gone { doing: ask.doing }),
                    About::Whole => Err(garbled(&ask, "it redirects without saying where to")),
                };
            };
            let Some(to) = address::same_origin(base, to) else {
                return Err(garbled(&ask, "it redirects to another host; check the base URL"));
            };
            // An issue's own redirect may lead to another repository; only the repository's is remembered.
            if about == About::Whole {
                let mut root = lock(&self.root);
                if let Some(moved) = address::moved_root(base, &root, &ask.url, &to) {
                    log::info!("github {} has moved or was renamed; following to {moved}", self.repo);
                    *root = moved;
                }
            }
            ask.url = to;
        }
        Err(garbled(&ask, format!("it redirects more than {HOPS_MAX} times")))
    }

    /// Reads a repository and remembers its id under the name asked for and the name it has.
    fn repository(&self, name: &RepoName) -> Result<(Repo, Response), ProviderError> {
        let ask = Ask::read(format!("read github {name}"), self.url(&format!("/repos/{name}")));
        let (ask, response) = self.send(ask)?;
        let repo: Repo = self.caller.decode(&ask, &response)?;
        let mut ids = lock(&self.ids);
        if ids.len() >= REPOS_MAX {
            ids.clear();
        }
        ids.insert(name.folded(), repo.id);
        ids.insert(repo.full_name.to_ascii_lowercase(), repo.id);
        drop(ids);
        Ok((repo, response))
    }

    /// The id of a repository, asked for once.
    fn repo_id(&self, name: &RepoName) -> Result<i64, ProviderError> {
        if let Some(id) = lock(&self.ids).get(&name.folded()) {
            return Ok(*id);
        }
        Ok(self.repository(name)?.0.id)
    }

    /// Reads an issue; once more, if `again`, where it was old before all of it was known.
    fn read_item(&self, key: &ItemKey, again: bool) -> Result<Found, ProviderError> {
        let asked = self.issue_of(key, "read")?;
        let ask = Ask::read(format!("read github:{asked}"), self.issue_url(asked, "")).about_item().accept(READS);
        let (ask, response) = match self.send(ask) {
            // Redirected to nowhere: it moved, and we cannot see where.
            Err(ProviderError::Gone { .. }) => return Ok(Found::Unseen("GitHub says it moved, not where".to_owned())),
            other => other?,
        };
        let read = self.caller.stopwatch();
        let said = || self.caller.message(&response);
        match response.status {
            410 if said().contains("disabled") => {
                return Err(ProviderError::Denied { doing: ask.doing, why: "issues are disabled there".to_owned() });
            }
            410 => return Ok(Found::Gone),
            403 | 404 | 451 => {
                return Ok(Found::Unseen(format!("GitHub answers {} {}", response.status, said())));
            }
            _ => {}
        }
        let issue: Issue = self.caller.decode(&ask, &response)?;
        if issue.is_pull_request() {
            return Ok(Found::NotAnItem);
        }
        let item = self.item_from(&ask, &asked.repo, issue)?;
        let ItemKey::Issue(here) = &item.key else { return Ok(Found::NotAnItem) };
        // Another name with the same id is the same repository renamed.
        let same = here.repo == asked.repo || self.repo_id(&here.repo)? == self.repo_id(&asked.repo)?;
        if again && self.caller.fresh(read, &ask.doing).is_err() {
            // Its repository was asked about, for the first time, and that took long: what was read before is old.
            return self.read_item(key, false);
        }
        if same && here.number == asked.number { Ok(Found::Here(Box::new(item))) } else { Ok(Found::Moved(item.key)) }
    }

    /// The item an issue is. One that does not say where it lives lives where it was asked for.
    fn item_from(&self, ask: &Ask<'_>, asked: &RepoName, issue: Issue) -> Result<Item, ProviderError> {
        let home = issue.home().unwrap_or_else(|| asked.clone());
        let id = self.repo_id(&home)?;
        issue.read(home, id, &self.rules.people).map_err(|why| garbled(ask, why))
    }

    fn cursor(&self, since: Timestamp, etag: Option<String>) -> Cursor {
        let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
        let place = Place { repo: self.repo.clone(), since, etag };
        serde_json::to_string(&place).expect("three plain fields always serialise")
    }

    /// The logins of all assignees who have one here; the unknown ones stay.
    fn logins(&self, assignees: &Assignees) -> Vec<String> {
        let known = assignees.known.iter().filter_map(|name| self.rules.people.account(Side::Forge, name));
        let mut logins = Vec::new();
        for login in known.chain(assignees.unknown.iter().map(String::as_str)) {
            if !logins.iter().any(|other: &String| other.eq_ignore_ascii_case(login)) {
                logins.push(login.to_owned());
            }
        }
        logins
    }

    /// Logs what was asked for and does not show in the answer, which the caller gets as it is: GitHub drops
    /// silently what the token may not set, and the eleventh assignee.
    fn say_dropped(&self, change: &Change, shown: &Item) {
        let dropped = self.dropped(change, shown);
        if !dropped.is_empty() {
            log::warn!("{}: GitHub took it but left out {}", shown.key, dropped.join(", "));
        }
    }

    fn dropped(&self, change: &Change, shown: &Item) -> Vec<String> {
        let mut dropped = Vec::new();
        if let Some(status) = change.status.filter(|status| *status != shown.content.status) {
            dropped.push(format!("status {status} (it shows {})", shown.content.status));
        }
        if let Some(labels) = &change.labels {
            let fold = |labels: &BTreeSet<String>| labels.iter().map(|l| l.to_lowercase()).collect::<BTreeSet<_>>();
            let missing = fold(labels).difference(&fold(&shown.content.labels)).count();
            if missing > 0 {
                dropped.push(format!("{missing} of {} labels", labels.len()));
            }
        }
        if let Some(assignees) = &change.assignees {
            let shows = self.logins(&shown.content.assignees);
            let asked = self.logins(assignees);
            let missing = asked.iter().filter(|login| !shows.iter().any(|one| one.eq_ignore_ascii_case(login))).count();
            if missing > 0 {
                dropped.push(format!("{missing} of {} assignees", asked.len()));
            }
        }
        dropped
    }

    /// Writes an issue, or reads one that was just written to, and takes the answer.
    fn write(&self, ask: Ask<'_>) -> Result<Item, ProviderError> {
        // Known before the write, so that nothing but the answer itself is needed after it.
        self.repo_id(&self.repo)?;
        let (ask, response) = self.send(ask)?;
        let issue: Issue = self.caller.decode(&ask, &response)?;
        self.item_from(&ask, &self.repo, issue).map_err(|error| match error {
            ProviderError::Garbled { .. } | ProviderError::Stopped => error,
            // Whatever failed, the write itself had been answered.
            other => ProviderError::Unreachable { doing: ask.doing.clone(), why: other.to_string(), maybe_done: true },
        })
    }

    fn change(&self, issue: &IssueRef, data: Map<String, Value>) -> Ask<'static> {
        let doing = format!("change github:{issue}");
        Ask::write(doing, Method::Patch, self.issue_url(issue, ""), data.into()).about_item()
    }
}

/// A status as GitHub takes it. The reason counts only when the state changes (GitHub OpenAPI, issues/update).
fn set_status(data: &mut Map<String, Value>, status: Status) {
    let (state, reason) = match status {
        Status::Open => ("open", None),
        Status::Done => ("closed", Some("completed")),
        Status::Dropped => ("closed", Some("not_planned")),
    };
    data.insert("state".into(), json!(state));
    if let Some(reason) = reason {
        data.insert("state_reason".into(), json!(reason));
    }
}

impl Observe for GithubClient {
    fn side(&self) -> Side {
        Side::Forge
    }

    fn changes(&self, cursor: Option<&Cursor>, _belt: bool, sink: Sink<'_>) -> Result<Changes, ProviderError> {
        let place: Option<Place> = cursor.and_then(|cursor| serde_json::from_str(cursor).ok());
        let Some(place) = place.filter(|place| place.repo == self.repo) else {
            // One request for GitHub's own time: a watermark by a clock ahead of it would skip changes.
            let (_, response) = self.repository(&self.repo)?;
            let now = server_time(&response).unwrap_or_else(|| self.caller.now());
            return Ok(Changes::TooOld { next: self.cursor(earlier(now, OVERLAP), None) });
        };
        let query = format!("&sort=updated&direction=asc&since={}", encoded(&place.since.to_string()));
        let doing = format!("list what changed in github {}", self.repo);
        let listed = self.list(&doing, &query, place.etag.as_deref(), &mut pour(sink))?;
        if listed.unchanged {
            return Ok(Changes::Since { next: self.cursor(place.since, place.etag), touched: Vec::new() });
        }
        let next = if listed.pages > 1 || listed.rows > ROWS_KEPT {
            let now = listed.now.unwrap_or_else(|| self.caller.now());
            // What came before `now - OVERLAP` is there for all to see: a second later nothing of it is left.
            let past = listed.newest.map_or(place.since, |newest| later(newest, Duration::from_secs(1)));
            let since = past.min(earlier(now, OVERLAP)).max(place.since);
            // Another address, or an only page that is full: what comes next would not show on page one.
            let etag = listed.etag.filter(|_| since == place.since && listed.pages == 1 && listed.rows < PAGE);
            self.cursor(since, etag)
        } else {
            self.cursor(place.since, listed.etag)
        };
        let touched = listed.odd.into_iter().map(|number| IssueRef { repo: self.repo.clone(), number });
        Ok(Changes::Since { next, touched: touched.map(ItemKey::Issue).collect() })
    }

    fn sweep(&self, sink: Sink<'_>) -> Result<u64, ProviderError> {
        let doing = format!("list the issues of github {}", self.repo);
        Ok(self.list(&doing, "&sort=created&direction=asc", None, &mut pour(sink))?.items)
    }

    fn item(&self, key: &ItemKey) -> Result<Found, ProviderError> {
        self.read_item(key, true)
    }

    fn marked_since(&self, from: Timestamp) -> Result<Marked, ProviderError> {
        let from = earlier(from, OVERLAP);
        let since = Timestamp::from_second(from.as_second()).unwrap_or(from);
        let query = format!("&sort=created&direction=asc&since={}", encoded(&since.to_string()));
        let doing = format!("look for issues of ours in github {}", self.repo);
        let mut marked = Vec::new();
        let listed = self.list(&doing, &query, None, &mut |items| {
            marked.extend(items.into_iter().filter(|item| item.marker.is_some() && item.created_at >= since));
            Ok(())
        })?;
        Ok(Marked { items: marked, whole: listed.left_out == 0 })
    }

    fn has_comment(&self, key: &ItemKey, text: &str) -> Result<bool, ProviderError> {
        let wanted = text::canonical(text);
        self.any_comment(self.issue_of(key, "read the comments of")?, |body| text::canonical(body).contains(&wanted))
    }

    fn check(&self, now: Timestamp) -> Vec<Finding> {
        let (repo, response) = match self.repository(&self.repo) {
            Ok(found) => found,
            Err(error) => {
                let (subject, remedy) = match &error {
                    ProviderError::Denied { why, .. } if why.contains("does not accept") => (
                        "token",
                        "make a token with Issues read and write (or the classic scope repo) and configure it",
                    ),
                    _ => ("repository", "check owner and name, and that the token may see the repository"),
                };
                return vec![finding::bad(subject, &error, remedy)];
            }
        };
        let mut found = Vec::new();
        let scopes = response.header("x-oauth-scopes").map(str::trim);
        match scopes {
            Some(scopes) if !scopes.split(',').any(|scope| matches!(scope.trim(), "repo" | "public_repo")) => {
                let seen = format!("a classic token with the scopes [{scopes}]");
                found.push(finding::wrong("token", seen, "give it the scope repo (or public_repo for a public one)"));
            }
            Some(scopes) => found.push(finding::good("token", format!("a classic token with the scopes [{scopes}]"))),
            None => found.push(finding::good("token", "github knows it (fine-grained, or of an app)")),
        }
        if let Some(ends) = response.header("github-authentication-token-expiration") {
            found.push(finding::good("token expiry", format!("the token ends at {ends}")));
        }
        if repo.full_name.eq_ignore_ascii_case(self.repo.as_str()) {
            found.push(finding::good("repository", format!("{} can be read", repo.full_name)));
        } else {
            let remedy = "write the new name into the configuration; until then each start costs a redirect";
            found.push(Finding {
                remedy: Some(remedy.to_owned()),
                ..finding::good("repository", format!("{} is now called {}", self.repo, repo.full_name))
            });
        }
        if repo.has_issues == Some(false) {
            let remedy = "switch issues on in the repository's settings";
            found.push(finding::wrong("issues", "issues are disabled in the repository", remedy));
        }
        if repo.archived == Some(true) {
            let remedy = "unarchive it, or take the route out of the configuration";
            found.push(finding::wrong("archived", "the repository is archived and cannot be written", remedy));
        }
        found.push(match repo.permissions {
            Some(may) if may.push || may.triage => finding::good("permissions", "the account may change issues"),
            Some(_) => finding::wrong(
                "permissions",
                "the account may read but not change other people's issues",
                "give it the role Triage or Write in the repository",
            ),
            None => finding::good("permissions", "github does not say; the first write will tell"),
        });
        found.extend(server_time(&response).map(|theirs| finding::clock("github", theirs, now)));
        found
    }

    fn requests(&self) -> Requests {
        self.caller.requests()
    }
}

impl Write for GithubClient {
    fn permitted_by(&self, permit: Option<Arc<dyn Permit>>) {
        self.barrier.set(permit);
    }

    fn create(&self, draft: &Draft) -> Result<Item, ProviderError> {
        let content = &draft.content;
        let mut data = Map::new();
        data.insert("title".into(), json!(content.title));
        data.insert("body".into(), json!(text::join_forge(&content.body, Some(&draft.footer))));
        if !content.labels.is_empty() {
            data.insert("labels".into(), json!(content.labels));
        }
        let logins = self.logins(&content.assignees);
        if !logins.is_empty() {
            data.insert("assignees".into(), json!(logins));
        }
        let doing = format!("make an issue in github {} for {}", self.repo, draft.marker.partner);
        let url = self.url(&format!("{}/issues", self.root_of(&self.repo)));
        let made = self.write(Ask::write(doing.as_str(), Method::Post, url.clone(), data.clone().into()));
        let item = match made {
            // One login that cannot be assigned fails the whole creation; nothing was made yet.
            Err(ProviderError::Refused { status: 422, why, .. }) if why.contains("assignees") => {
                log::warn!("{doing}: made without assignees: {why}");
                data.remove("assignees");
                self.write(Ask::write(doing.as_str(), Method::Post, url, data.into()))?
            }
            made => made?,
        };
        let asked = Change { labels: Some(content.labels.clone()), ..Change::default() };
        self.say_dropped(&asked, &item);
        if content.status == Status::Open {
            return Ok(item);
        }
        // GitHub makes only open issues. The issue stands from here on, so a failure to close it is no failure
        // to make it: what it shows is answered, and the difference is mended like any other.
        let ItemKey::Issue(issue) = &item.key else { return Ok(item) };
        let mut close = Map::new();
        set_status(&mut close, content.status);
        match self.write(self.change(issue, close).editing()) {
            Ok(closed) => Ok(closed),
            Err(error) => {
                log::warn!("github:{issue} was made and is still open: {error}");
                Ok(item)
            }
        }
    }

    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError> {
        let issue = self.issue_of(&current.key, "change")?;
        let began = self.caller.stopwatch();
        let Change { title, text, status, assignees, labels } = change;
        let mut data = Map::new();
        if let Some(title) = title {
            data.insert("title".into(), json!(title));
        }
        if let Some((body, footer)) = text {
            data.insert("body".into(), json!(text::join_forge(body, footer.as_deref())));
        }
        if let Some(status) = status {
            set_status(&mut data, *status);
        }
        // Sets go first: the answer to what follows then shows the issue with all that was asked for.
        let mut moved = false;
        if let Some(wanted) = labels {
            moved |= self.relabel(issue, current, wanted)?;
        }
        if let Some(wanted) = assignees {
            moved |= self.reassign(issue, current, wanted)?;
        }
        let item = if !data.is_empty() {
            let ask = self.change(issue, data).editing();
            self.caller.fresh(began, &ask.doing)?;
            self.write(ask)?
        } else if moved {
            let doing = format!("read github:{issue} after changing its labels or assignees");
            self.write(Ask::read(doing, self.issue_url(issue, "")).about_item())?
        } else {
            return Ok(current.clone());
        };
        self.say_dropped(change, &item);
        Ok(item)
    }

    fn comment(&self, key: &ItemKey, text: &str) -> Result<(), ProviderError> {
        let issue = self.issue_of(key, "comment on")?;
        let url = self.issue_url(issue, "/comments");
        let ask = Ask::write(format!("comment on github:{issue}"), Method::Post, url, json!({"body": text}));
        self.send(ask.about_item()).map(drop)
    }
}

#[cfg(test)]
mod tests;
