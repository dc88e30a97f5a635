//! Requests about one issue, its comments, labels and assignees (github-api.md §9, §10).

use serde_json::{Map, Value, json};

use super::acts::set_state;
use super::record::Writer;
use super::{
    Answer, Call, GithubState, Gone, Issue, Permission, Reason, Refusal, invalid, last_modified, not_found, refuse,
};
use crate::provider::http::Response;
use crate::sandbox::web::json_response;

pub(super) const TITLE_CHARS_MAX: usize = 256;
pub(super) const BODY_CHARS_MAX: usize = 65_536;
const ASSIGNEES_MAX: usize = 10;

/// A repository as the caller may use it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    pub repo: i64,
    pub permission: Permission,
}

impl Granted {
    pub fn may_push(&self) -> bool {
        self.permission >= Permission::Triage
    }
}

/// What a creation or a change asks for, checked.
#[derive(Debug, Default)]
struct Wanted {
    title: Option<String>,
    body: Option<Option<String>>,
    close: Option<bool>,
    reason: Option<Reason>,
    labels: Option<Vec<String>>,
    assignees: Option<Vec<i64>>,
    milestone: Option<Option<u64>>,
}

impl GithubState {
    /// An issue that is there, or the reason why it is not shown.
    pub(super) fn here(&self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer<Issue> {
        let repo = self.repos.get(&granted.repo);
        let (Some(repo), Some(number)) = (repo, number.parse().ok().filter(|number| *number > 0)) else {
            return not_found();
        };
        if !repo.has_issues {
            return refuse(410, "Issues are disabled for this repo");
        }
        let Some(issue) = repo.issue_seen(number, self.view_at(call)) else { return not_found() };
        match issue.gone {
            None => Ok(issue.into_owned()),
            Some(Gone::Deleted) => refuse(410, "This issue was deleted"),
            Some(Gone::Transferred { .. }) => not_found(),
        }
    }

    /// As it is now: what a write looks at.
    pub(super) fn now(&self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer<Issue> {
        // A write goes to the primary: it sees what a replica may not show yet.
        let seen = self.issue(granted.repo, number.parse().unwrap_or(0)).map(|issue| issue.into_owned());
        match seen {
            Some(issue)
                if issue.gone.is_none() && self.repos.get(&granted.repo).is_some_and(|repo| repo.has_issues) =>
            {
                Ok(issue)
            }
            _ => self.here(granted, number, call),
        }
    }

    fn show_issue(&self, granted: &Granted, number: u64, status: u16, call: &Call<'_>) -> Answer {
        let (Some(repo), Some(issue)) = (self.repos.get(&granted.repo), self.issue(granted.repo, number)) else {
            return not_found();
        };
        self.issue_response(repo, &issue, status, call)
    }

    fn issue_response(&self, repo: &super::Repo, issue: &Issue, status: u16, call: &Call<'_>) -> Answer {
        let mut out = Vec::with_capacity(4096);
        let mut writer = Writer::new(self, repo, call);
        writer.issue(&mut out, issue);
        let mut response = json_response(status, out);
        if status == 201 {
            response.headers.push(("location".to_owned(), format!("{}/issues/{}", writer.api(), issue.number)));
        }
        // The newest of what is embedded: the author's profile too.
        let people = issue.assignees.iter().chain([&issue.author]).filter_map(|id| self.accounts.get(id));
        let newest = people.map(|account| account.changed).fold(issue.updated, i64::max);
        response.headers.push(last_modified(newest));
        Ok(response)
    }

    pub(super) fn get_issue(&mut self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer {
        let found = self.here(granted, number, call);
        let moved = self.issue(granted.repo, number.parse().unwrap_or(0)).and_then(|issue| match issue.gone {
            Some(Gone::Transferred { repo, number }) => Some((repo, number)),
            _ => None,
        });
        match (found, moved) {
            (Ok(issue), _) => match self.repos.get(&granted.repo) {
                Some(repo) => self.issue_response(repo, &issue, 200, call),
                None => not_found(),
            },
            (Err(_), Some((repo, number))) if self.access(repo, call).is_ok() => {
                let location = format!("{}/repositories/{repo}/issues/{number}", call.ask.base);
                Err(moved_to(301, location))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }

    pub(super) fn create_issue(&mut self, granted: &Granted, call: &Call<'_>) -> Answer {
        if self.repos.get(&granted.repo).is_some_and(|repo| !repo.has_issues) {
            return refuse(410, "Issues are disabled for this repo");
        }
        let body = call.body()?;
        if !body.contains_key("title") {
            return refuse(422, "Invalid request.\n\n\"title\" wasn't supplied.");
        }
        let wanted = self.wanted(granted, &body)?;
        // Without push access these are silently left out (github-api.md §3).
        let push = granted.may_push();
        let labels = match wanted.labels.filter(|_| push) {
            Some(names) => self.labels_named(call.act, granted.repo, &names)?,
            None => Vec::new(),
        };
        let mut assignees = wanted.assignees.filter(|_| push).unwrap_or_default();
        assignees.truncate(ASSIGNEES_MAX);
        let draft = Issue {
            title: wanted.title.unwrap_or_default(),
            body: wanted.body.flatten(),
            labels,
            assignees,
            milestone: wanted.milestone.filter(|_| push).flatten(),
            ..Issue::blank()
        };
        match self.add_issue(call.act, granted.repo, draft) {
            Some(number) => self.show_issue(granted, number, 201, call),
            None => not_found(),
        }
    }

    pub(super) fn update_issue(&mut self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer {
        let issue = self.now(granted, number, call)?;
        let push = granted.may_push();
        if !push && issue.author != call.act.who {
            return refuse(403, "Must have admin rights to Repository.");
        }
        let body = call.body()?;
        let wanted = self.wanted(granted, &body)?;
        if wanted.close == Some(true) && wanted.reason == Some(Reason::Reopened) {
            return invalid(json!({
                "resource": "Issue", "field": "state_reason", "code": "custom",
                "message": "state_reason Cannot transition to this state",
            }));
        }
        let labels = match wanted.labels.filter(|_| push) {
            Some(names) => Some(self.labels_named(call.act, granted.repo, &names)?),
            None => None,
        };
        let act = call.act;
        self.edit_issue(act, granted.repo, issue.number, |issue| {
            if let Some(title) = wanted.title {
                issue.title = title;
            }
            if let Some(body) = wanted.body {
                issue.body = body;
            }
            if let Some(close) = wanted.close {
                set_state(issue, act, close, wanted.reason);
            }
            if let Some(labels) = labels {
                issue.labels = labels;
            }
            if let Some(mut assignees) = wanted.assignees.filter(|_| push) {
                assignees.truncate(ASSIGNEES_MAX);
                issue.assignees = assignees;
            }
            if let Some(milestone) = wanted.milestone.filter(|_| push) {
                issue.milestone = milestone;
            }
        });
        self.show_issue(granted, issue.number, 200, call)
    }

    /// Reads and checks what a creation or a change asks for; nothing is changed yet.
    fn wanted(&self, granted: &Granted, body: &Map<String, Value>) -> Answer<Wanted> {
        let mut wanted = Wanted::default();
        let issue_error = |field: &str, message: &str| json!({"resource": "Issue", "field": field, "code": "custom", "message": message});
        match body.get("title") {
            None | Some(Value::Null) => {}
            Some(title) => {
                let title = string("title", title)?;
                if title.trim().is_empty() {
                    return invalid(json!({
                        "resource": "Issue", "field": "title", "code": "invalid",
                        "message": "title can't be blank", "value": null,
                    }));
                }
                if title.chars().count() > TITLE_CHARS_MAX {
                    return invalid(issue_error("title", "title is too long (maximum is 256 characters)"));
                }
                wanted.title = Some(title.to_owned());
            }
        }
        match body.get("body") {
            None => {}
            Some(Value::Null) => wanted.body = Some(None),
            Some(text) => {
                let text = string("body", text)?;
                if text.chars().count() > BODY_CHARS_MAX {
                    return invalid(issue_error("body", "body is too long (maximum is 65536 characters)"));
                }
                wanted.body = Some(Some(text.to_owned()));
            }
        }
        wanted.close = match body.get("state").map(|state| string("state", state)).transpose()? {
            None => None,
            Some("open") => Some(false),
            Some("closed") => Some(true),
            Some(other) => {
                return invalid(json!({"resource": "Issue", "field": "state", "code": "invalid", "value": other}));
            }
        };
        wanted.reason = match body.get("state_reason") {
            None | Some(Value::Null) => None,
            Some(reason) => {
                let text = string("state_reason", reason)?;
                match Reason::parse(text) {
                    Some(reason) => Some(reason),
                    None => {
                        return invalid(json!({
                            "resource": "Issue", "field": "state_reason", "code": "invalid", "value": text,
                        }));
                    }
                }
            }
        };
        if let Some(labels) = body.get("labels").filter(|labels| !labels.is_null()) {
            wanted.labels = Some(label_names(labels)?);
        }
        let singular = body.get("assignee").and_then(Value::as_str).map(|login| json!([login]));
        if let Some(assignees) = body.get("assignees").or(singular.as_ref()).filter(|assignees| !assignees.is_null()) {
            wanted.assignees = Some(self.assignable(granted, &strings("assignees", assignees)?)?);
        }
        wanted.milestone = match body.get("milestone") {
            None => None,
            Some(Value::Null) => Some(None),
            Some(number) => {
                let repo = self.repos.get(&granted.repo);
                let known =
                    number.as_u64().filter(|number| repo.is_some_and(|repo| repo.milestones.contains_key(number)));
                match known {
                    Some(number) => Some(Some(number)),
                    None => {
                        return invalid(json!({
                            "value": number, "resource": "Issue", "field": "milestone", "code": "invalid",
                        }));
                    }
                }
            }
        };
        Ok(wanted)
    }

    /// The accounts of these logins, all of which must be assignable when the caller may assign at all.
    fn assignable(&self, granted: &Granted, logins: &[String]) -> Answer<Vec<i64>> {
        let mut ids = Vec::new();
        for login in logins {
            match self.assignable_id(granted.repo, login) {
                Some(id) if ids.contains(&id) => {}
                Some(id) => ids.push(id),
                None if !granted.may_push() => {}
                None => {
                    return invalid(
                        json!({"value": login, "resource": "Issue", "field": "assignees", "code": "invalid"}),
                    );
                }
            }
        }
        Ok(ids)
    }

    pub(super) fn assignable_id(&self, repo: i64, login: &str) -> Option<i64> {
        let id = *self.logins.get(&login.to_lowercase())?;
        let repo = self.repos.get(&repo)?;
        repo.permissions.get(&id).is_some_and(|permission| *permission >= Permission::Read).then_some(id)
    }

    pub(super) fn lock(&mut self, granted: &Granted, number: &str, on: bool, call: &Call<'_>) -> Answer {
        let issue = self.now(granted, number, call)?;
        if !granted.may_push() {
            return refuse(403, "Must have admin rights to Repository.");
        }
        let reason = call.body()?.get("lock_reason").and_then(Value::as_str).map(str::to_owned);
        self.edit_issue(call.act, granted.repo, issue.number, |issue| issue.locked = on.then_some(reason));
        Ok(no_content())
    }

    // ---- labels and assignees of one issue ----

    fn show_labels(&self, granted: &Granted, number: u64, call: &Call<'_>) -> Answer {
        let (Some(repo), Some(issue)) = (self.repos.get(&granted.repo), self.issue(granted.repo, number)) else {
            return not_found();
        };
        let mut out = Vec::with_capacity(1024);
        Writer::new(self, repo, call).labels(&mut out, &issue.labels);
        Ok(json_response(200, out))
    }

    pub(super) fn list_issue_labels(&mut self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer {
        let issue = self.here(granted, number, call)?;
        self.show_labels(granted, issue.number, call)
    }

    /// Adds (`keep`) or replaces.
    pub(super) fn set_issue_labels(&mut self, granted: &Granted, number: &str, keep: bool, call: &Call<'_>) -> Answer {
        let issue = self.now(granted, number, call)?;
        if !granted.may_push() {
            return refuse(403, "Must have admin rights to Repository.");
        }
        // Both `{"labels": […]}` and a bare list are taken.
        let names = match serde_json::from_slice(call.ask.body) {
            Ok(Value::Array(names)) => label_names(&Value::Array(names))?,
            _ => match call.body()?.get("labels") {
                Some(labels) => label_names(labels)?,
                None => Vec::new(),
            },
        };
        let added = self.labels_named(call.act, granted.repo, &names)?;
        self.edit_issue(call.act, granted.repo, issue.number, |issue| {
            if !keep {
                issue.labels.clear();
            }
            for id in added {
                if !issue.labels.contains(&id) {
                    issue.labels.push(id);
                }
            }
        });
        self.show_labels(granted, issue.number, call)
    }

    /// Removes one label, or all.
    pub(super) fn remove_issue_label(
        &mut self,
        granted: &Granted,
        number: &str,
        name: Option<&str>,
        call: &Call<'_>,
    ) -> Answer {
        let issue = self.now(granted, number, call)?;
        if !granted.may_push() {
            return refuse(403, "Must have admin rights to Repository.");
        }
        let Some(name) = name else {
            self.edit_issue(call.act, granted.repo, issue.number, |issue| issue.labels.clear());
            return Ok(no_content());
        };
        let label = self.repos.get(&granted.repo).and_then(|repo| repo.label_named(name)).map(|label| label.id);
        let Some(label) = label.filter(|label| issue.labels.contains(label)) else {
            return refuse(404, "Label does not exist");
        };
        self.edit_issue(call.act, granted.repo, issue.number, |issue| issue.labels.retain(|known| *known != label));
        self.show_labels(granted, issue.number, call)
    }

    /// Adds or removes; whoever cannot be assigned, and an eleventh, are silently left out.
    pub(super) fn set_issue_assignees(
        &mut self,
        granted: &Granted,
        number: &str,
        add: bool,
        call: &Call<'_>,
    ) -> Answer {
        let issue = self.now(granted, number, call)?;
        let logins = match call.body()?.get("assignees") {
            Some(logins) => strings("assignees", logins)?,
            None => Vec::new(),
        };
        let ids: Vec<i64> = logins.iter().filter_map(|login| self.assignable_id(granted.repo, login)).collect();
        if granted.may_push() {
            self.edit_issue(call.act, granted.repo, issue.number, |issue| {
                for id in ids {
                    let there = issue.assignees.contains(&id);
                    if add && !there && issue.assignees.len() < ASSIGNEES_MAX {
                        issue.assignees.push(id);
                    } else if !add {
                        issue.assignees.retain(|known| *known != id);
                    }
                }
            });
        }
        self.show_issue(granted, issue.number, if add { 201 } else { 200 }, call)
    }
}

impl Issue {
    /// An open issue without anything.
    pub(super) const fn blank() -> Self {
        Self {
            number: 0,
            id: 0,
            title: String::new(),
            body: None,
            closed: None,
            closed_by: None,
            reason: None,
            labels: Vec::new(),
            assignees: Vec::new(),
            milestone: None,
            author: 0,
            comments: 0,
            created: 0,
            updated: 0,
            locked: None,
            pull: None,
            gone: None,
        }
    }
}

/// A redirect as the service words it.
pub(super) fn moved_to(status: u16, location: String) -> Refusal {
    let message = if status == 301 { "Moved Permanently" } else { "Temporary Redirect" };
    let mut refusal = Refusal::new(status, message).with("location", location.clone());
    if let Value::Object(body) = &mut refusal.body {
        body.insert("url".to_owned(), Value::String(location));
        body.remove("status");
    }
    refusal
}

pub(super) fn no_content() -> Response {
    Response { status: 204, headers: Vec::new(), body: Vec::new() }
}

pub(super) fn string<'v>(name: &str, value: &'v Value) -> Answer<&'v str> {
    match value {
        Value::String(text) => Ok(text),
        other => refuse(422, &format!("Invalid request.\n\nFor 'properties/{name}', {other} is not a string.")),
    }
}

fn strings(name: &str, value: &Value) -> Answer<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(|item| string(name, item).map(str::to_owned)).collect(),
        other => refuse(422, &format!("Invalid request.\n\nFor 'properties/{name}', {other} is not an array.")),
    }
}

/// Labels are given as names or as objects with a name.
fn label_names(value: &Value) -> Answer<Vec<String>> {
    match value {
        Value::Array(items) => {
            items.iter().map(|item| string("labels", item.get("name").unwrap_or(item)).map(str::to_owned)).collect()
        }
        other => refuse(422, &format!("Invalid request.\n\nFor 'properties/labels', {other} is not an array.")),
    }
}
