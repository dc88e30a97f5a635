//! Who may do what, repositories, accounts, labels (github-api.md §2, §4, §10).

use fastrand::Rng;
use serde_json::{Value, json};

use super::issues::{Granted, moved_to, no_content};
use super::record::{Writer, write_account};
use super::{
    Access, Answer, Call, GithubState, Kind, Permission, Refusal, Repo, invalid, last_modified, not_found, refuse,
};
use crate::provider::http::{Method, Response};
use crate::sandbox::web::json_response;

impl GithubState {
    pub(super) fn full_name(&self, repo: &Repo) -> String {
        let owner = self.accounts.get(&repo.owner).map(|owner| owner.login.as_str()).unwrap_or_default();
        format!("{owner}/{}", repo.name)
    }

    /// The repository of that name, or a redirect to where it moved; `tail` is the path below it.
    pub(super) fn repo_named(&self, owner: &str, name: &str, tail: Option<&str>, call: &Call<'_>) -> Answer<i64> {
        let folded = format!("{owner}/{name}").to_lowercase();
        if let Some(id) = self.names.get(&folded) {
            return Ok(*id);
        }
        let Some(id) = self.former.get(&folded) else { return not_found() };
        // Whoever may not see it is not told where it went.
        self.access(*id, call)?;
        let tail = tail.map(|tail| format!("/{tail}")).unwrap_or_default();
        let query = if call.ask.raw_query.is_empty() { String::new() } else { format!("?{}", call.ask.raw_query) };
        let status = if call.ask.method == Method::Get { 301 } else { 307 };
        Err(moved_to(status, format!("{}/repositories/{id}{tail}{query}", call.ask.base)))
    }

    /// What the caller may do in a repository; 404 where it may not even be seen.
    pub(super) fn access(&self, id: i64, call: &Call<'_>) -> Answer<Granted> {
        let Some(repo) = self.repos.get(&id) else { return not_found() };
        let own = repo.permissions.get(&call.act.who).copied().unwrap_or(Permission::None);
        let own = if call.token.is_some() && !repo.private { own.max(Permission::Read) } else { own };
        let permission = match &call.token {
            None if repo.private => Permission::None,
            None => Permission::Read,
            Some(token) => match &token.kind {
                Kind::Classic(scopes) if scopes.iter().any(|scope| scope == "repo") => own,
                Kind::Classic(scopes) if scopes.iter().any(|scope| scope == "public_repo") && !repo.private => own,
                Kind::Classic(_) if !repo.private => own.min(Permission::Read),
                Kind::Classic(_) => Permission::None,
                Kind::FineGrained { repos: Some(repos), .. } if !repos.contains(&id) && repo.private => {
                    Permission::None
                }
                Kind::FineGrained { repos: Some(repos), .. } if !repos.contains(&id) => own.min(Permission::Read),
                Kind::FineGrained { .. } => own,
            },
        };
        if permission == Permission::None {
            return not_found();
        }
        Ok(Granted { repo: id, permission })
    }

    /// Whether the caller's token may do what the request does to issues.
    pub(super) fn may_write(&self, id: i64, call: &Call<'_>, rest: &[&str]) -> Answer<()> {
        let Some(token) = &call.token else { return refuse(401, "Requires authentication") };
        if self.repos.get(&id).is_some_and(|repo| repo.archived) {
            return refuse(403, "Repository was archived so is read-only.");
        }
        let outside = |repos: &Option<Vec<i64>>| repos.as_ref().is_some_and(|repos| !repos.contains(&id));
        match &token.kind {
            Kind::FineGrained { issues, repos, .. } if *issues < Access::Write || outside(repos) => {
                let wanted =
                    if rest.first() == Some(&"labels") { "issues=write; pull_requests=write" } else { "issues=write" };
                Err(Refusal::new(403, "Resource not accessible by personal access token")
                    .with("x-accepted-github-permissions", wanted))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn get_repo(&mut self, granted: &Granted, call: &Call<'_>) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let mut out = Vec::with_capacity(4096);
        Writer::new(self, repo, call).repository(&mut out, granted.permission);
        let mut response = json_response(200, out);
        response.headers.push(last_modified(repo.created));
        Ok(response)
    }

    pub(super) fn get_me(&mut self, call: &Call<'_>) -> Answer {
        if call.token.is_none() {
            return refuse(401, "Requires authentication");
        }
        self.show_account(call.act.who, call)
    }

    pub(super) fn get_account(&mut self, login: &str, call: &Call<'_>) -> Answer {
        match self.logins.get(&login.to_lowercase()) {
            Some(id) => self.show_account(*id, call),
            None => not_found(),
        }
    }

    fn show_account(&self, id: i64, call: &Call<'_>) -> Answer {
        let Some(account) = self.accounts.get(&id) else { return not_found() };
        let mut out = Vec::with_capacity(1100);
        write_account(&mut out, account, call.ask.base);
        Ok(json_response(200, out))
    }

    pub(super) fn rate_limit(&self, call: &Call<'_>) -> Response {
        let limits = &self.habits.limits;
        let (limit, remaining, used, reset) =
            self.windows.get(&call.act.who).map(|windows| windows.state(limits)).unwrap_or_default();
        let core = json!({"limit": limit, "remaining": remaining, "used": used, "reset": reset, "resource": "core"});
        let mut body = json!({"resources": {"core": core}});
        if !call.is_new() {
            body["rate"] = core;
        }
        json_response(200, body.to_string().into_bytes())
    }

    pub(super) fn list_assignees(&mut self, granted: &Granted, call: &Call<'_>, rng: &mut Rng) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let able = repo.permissions.iter().filter(|(_, permission)| **permission >= Permission::Read);
        let accounts = able.filter_map(|(id, _)| self.accounts.get(id)).collect();
        self.numbered(granted, call, rng, accounts, |out, account| write_account(out, account, call.ask.base))
    }

    pub(super) fn is_assignable(&mut self, granted: &Granted, login: &str) -> Answer {
        match self.assignable_id(granted.repo, login) {
            Some(_) => Ok(no_content()),
            None => not_found(),
        }
    }

    pub(super) fn get_permission(&mut self, granted: &Granted, login: &str, call: &Call<'_>) -> Answer {
        let Some(account) = self.logins.get(&login.to_lowercase()).and_then(|id| self.accounts.get(id)) else {
            return not_found();
        };
        let permission = self.repos.get(&granted.repo).and_then(|repo| repo.permissions.get(&account.id)).copied();
        let (word, role) = match permission.unwrap_or(Permission::None) {
            Permission::None => ("none", "none"),
            Permission::Read => ("read", "read"),
            Permission::Triage => ("read", "triage"),
            Permission::Write => ("write", "write"),
            Permission::Admin => ("admin", "admin"),
        };
        let mut user = Vec::new();
        write_account(&mut user, account, call.ask.base);
        let user: Value = serde_json::from_slice(&user).unwrap_or_default();
        let body = json!({"permission": word, "role_name": role, "user": user});
        Ok(json_response(200, body.to_string().into_bytes()))
    }

    // ---- label definitions ----

    fn show_label(&self, granted: &Granted, id: i64, status: u16, call: &Call<'_>) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let Some(label) = repo.labels.get(&id) else { return not_found() };
        let mut out = Vec::with_capacity(512);
        Writer::new(self, repo, call).label(&mut out, label);
        Ok(json_response(status, out))
    }

    fn label_id(&self, granted: &Granted, name: &str) -> Answer<i64> {
        match self.repos.get(&granted.repo).and_then(|repo| repo.label_named(name)) {
            Some(label) => Ok(label.id),
            None => not_found(),
        }
    }

    pub(super) fn get_label(&mut self, granted: &Granted, name: &str, call: &Call<'_>) -> Answer {
        let id = self.label_id(granted, name)?;
        self.show_label(granted, id, 200, call)
    }

    /// Name, colour and description of a label as a body gives them, checked.
    fn label_parts(
        &self,
        granted: &Granted,
        body: &serde_json::Map<String, Value>,
        name: &str,
        own: Option<i64>,
    ) -> Answer<(Option<String>, Option<String>, Option<String>)> {
        let part = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let error = |field: &str, code: &str, message: Option<&str>| {
            let mut error = json!({"resource": "Label", "field": field, "code": code});
            if let Some(message) = message {
                error["message"] = message.into();
            }
            invalid(error)
        };
        let new = part(name);
        if let Some(new) = &new {
            if new.trim().is_empty() {
                return error("name", "missing_field", None);
            }
            if new.chars().count() > 50 {
                return error("name", "custom", Some("name is too long (maximum is 50 characters)"));
            }
            let taken = self.repos.get(&granted.repo).and_then(|repo| repo.label_named(new)).map(|label| label.id);
            if taken.is_some() && taken != own {
                return error("name", "already_exists", None);
            }
        }
        let color = part("color");
        if color.as_ref().is_some_and(|color| color.len() != 6 || !color.bytes().all(|digit| digit.is_ascii_hexdigit()))
        {
            return error("color", "invalid", None);
        }
        let description = part("description");
        if description.as_ref().is_some_and(|text| text.chars().count() > 100) {
            return error("description", "custom", Some("description is too long (maximum is 100 characters)"));
        }
        Ok((new, color, description))
    }

    pub(super) fn create_label(&mut self, granted: &Granted, call: &Call<'_>) -> Answer {
        if granted.permission < Permission::Write {
            return not_found();
        }
        let body = call.body()?;
        let (name, color, description) = self.label_parts(granted, &body, "name", None)?;
        let Some(name) = name else { return refuse(422, "Invalid request.\n\n\"name\" wasn't supplied.") };
        let color = color.unwrap_or_else(|| "ededed".to_owned());
        match self.add_label(call.act, granted.repo, &name, &color, description) {
            Some(id) => self.show_label(granted, id, 201, call),
            None => not_found(),
        }
    }

    pub(super) fn update_label(&mut self, granted: &Granted, name: &str, call: &Call<'_>) -> Answer {
        let id = self.label_id(granted, name)?;
        if granted.permission < Permission::Write {
            return not_found();
        }
        let body = call.body()?;
        let (name, color, description) = self.label_parts(granted, &body, "new_name", Some(id))?;
        let label = self.repos.get_mut(&granted.repo).and_then(|repo| repo.labels.get_mut(&id));
        if let Some(label) = label {
            let before = label.clone();
            label.name = name.unwrap_or_else(|| label.name.clone());
            label.color = color.unwrap_or_else(|| label.color.clone());
            label.description = description.or_else(|| label.description.clone());
            let after = label.clone();
            self.tell_label(call.act, granted.repo, "edited", &after, Some(&before));
        }
        self.show_label(granted, id, 200, call)
    }

    pub(super) fn delete_label(&mut self, granted: &Granted, name: &str, call: &Call<'_>) -> Answer {
        let id = self.label_id(granted, name)?;
        if granted.permission < Permission::Write {
            return not_found();
        }
        self.remove_label(call.act, granted.repo, id);
        Ok(no_content())
    }
}
