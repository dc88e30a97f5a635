//! Requests about a repository's webhooks (github-api.md §13).

use serde_json::{Map, Value, json};

use super::issues::{Granted, no_content, string};
use super::{Access, Answer, Call, GithubState, Kind, Permission, Refusal, invalid, not_found, refuse};
use crate::provider::http::{Method, Response};
use crate::sandbox::web::{instant_s, json_response};
use crate::sandbox::webhooks::Target;

/// Hooks that may hear of one event (github-api.md §13).
const HOOKS_MAX: usize = 20;
/// What stands where a secret would be shown.
const MASK: &str = "********";
/// Events that a repository's hook may name, and `*` for all.
const EVENTS: &str = "* branch_protection_configuration branch_protection_rule check_run check_suite code_scanning_alert \
    commit_comment create custom_property_values delete dependabot_alert deploy_key deployment deployment_status \
    discussion discussion_comment fork gollum issue_comment issue_dependencies issues label member merge_group meta \
    milestone package page_build ping project project_card project_column public pull_request pull_request_review \
    pull_request_review_comment pull_request_review_thread push registry_package release repository \
    repository_advisory repository_import repository_ruleset repository_vulnerability_alert \
    secret_scanning_alert secret_scanning_alert_location security_and_analysis star status sub_issues team_add watch \
    workflow_dispatch workflow_job workflow_run";

/// A webhook of a repository.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub id: i64,
    pub active: bool,
    pub events: Vec<String>,
    pub config: Config,
    pub created: i64,
    pub updated: i64,
    /// Code and text of the last delivery.
    pub last: Option<(u16, String)>,
    /// Where the API is found, as whoever made the hook found it.
    pub base: String,
}

/// Where a hook leads, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Config {
    pub url: String,
    /// `json`, or else the payload goes as a form's field.
    pub json: bool,
    pub secret: Option<String>,
    pub insecure_ssl: bool,
}

impl Config {
    /// As it reads back: the secret only shows that it is there.
    fn shown(&self) -> Value {
        let Self { url, json, secret, insecure_ssl } = self;
        let kind = if *json { "json" } else { "form" };
        let mut shown =
            json!({"url": url, "content_type": kind, "insecure_ssl": if *insecure_ssl { "1" } else { "0" }});
        if secret.is_some() {
            shown["secret"] = MASK.into();
        }
        shown
    }

    /// This, with what a body says otherwise.
    fn with(mut self, given: &Map<String, Value>) -> Answer<Self> {
        if let Some(url) = given.get("url") {
            string("url", url)?.clone_into(&mut self.url);
        }
        match given.get("content_type").map(|kind| string("content_type", kind)).transpose()? {
            None => {}
            Some("json") => self.json = true,
            Some("form") => self.json = false,
            Some(other) => {
                return hook_error(&format!("Config content_type is not a valid content type: {other}"));
            }
        }
        match given.get("secret") {
            None => {}
            Some(Value::Null) => self.secret = None,
            Some(secret) => self.secret = Some(string("secret", secret)?.to_owned()).filter(|text| !text.is_empty()),
        }
        if let Some(insecure) = given.get("insecure_ssl") {
            self.insecure_ssl = matches!(insecure.as_str(), Some("1")) || insecure.as_u64() == Some(1);
        }
        Ok(self)
    }

    const fn empty() -> Self {
        Self { url: String::new(), json: false, secret: None, insecure_ssl: false }
    }
}

impl Hook {
    /// Whether it wants to hear of an event.
    pub fn hears(&self, event: &str) -> bool {
        self.events.iter().any(|known| known == "*" || known == event)
    }

    /// As it reads back; `api` is the address of its repository.
    pub fn shown(&self, api: &str) -> Value {
        let Self { id, active, events, config, created, updated, last, base: _ } = self;
        let url = format!("{api}/hooks/{id}");
        let last = match last {
            None => json!({"code": null, "status": "unused", "message": null}),
            Some((code, text)) => {
                let status = if (200..300).contains(code) { "active" } else { "misconfigured" };
                json!({"code": code, "status": status, "message": text})
            }
        };
        json!({
            "type": "Repository",
            "id": id,
            "name": "web",
            "active": active,
            "events": events,
            "config": config.shown(),
            "updated_at": instant_s(*updated),
            "created_at": instant_s(*created),
            "url": url,
            "test_url": format!("{url}/test"),
            "ping_url": format!("{url}/pings"),
            "deliveries_url": format!("{url}/deliveries"),
            "last_response": last,
        })
    }
}

impl GithubState {
    /// Where deliveries come from, and what else says who the service is.
    pub(super) fn get_meta(&self) -> Response {
        let body = json!({"verifiable_password_authentication": false, "hooks": self.habits.hook_networks});
        json_response(200, body.to_string().into_bytes())
    }

    /// Answers a request below `hooks`, if the caller may look after them.
    pub(super) fn in_hooks(&mut self, granted: &Granted, method: Method, rest: &[&str], call: &Call<'_>) -> Answer {
        use Method::{Delete, Get, Patch, Post};
        self.may_hook(granted, call)?;
        let [id, rest @ ..] = rest else {
            return match method {
                Get => self.list_hooks(granted, call),
                Post => self.create_hook(granted, call),
                _ => not_found(),
            };
        };
        let id = id.parse().unwrap_or(0);
        if !self.repos.get(&granted.repo).is_some_and(|repo| repo.hooks.contains_key(&id)) {
            return not_found();
        }
        match (method, rest) {
            (Get, []) => self.show_hook(granted, id, 200, call),
            (Patch, []) => self.update_hook(granted, id, call),
            (Delete, []) => {
                self.repos.get_mut(&granted.repo).map(|repo| repo.hooks.remove(&id));
                Ok(no_content())
            }
            (Get, ["config"]) => self.show_config(granted, id),
            (Patch, ["config"]) => self.update_config(granted, id, call),
            (Post, ["pings"]) => {
                self.ping(call.act, granted.repo, id);
                Ok(no_content())
            }
            (Get, ["deliveries"]) => self.list_deliveries(id, call),
            (Get, ["deliveries", delivery]) => self.get_delivery(id, delivery, call),
            (Post, ["deliveries", delivery, "attempts"]) => self.deliver_again(id, delivery, call),
            _ => not_found(),
        }
    }

    /// Hooks are for those who administrate the repository; others do not even learn that there are any.
    fn may_hook(&self, granted: &Granted, call: &Call<'_>) -> Answer<()> {
        let Some(token) = &call.token else { return refuse(401, "Requires authentication") };
        match &token.kind {
            Kind::FineGrained { hooks, repos, .. } => {
                let wanted = if call.ask.method.writes() { Access::Write } else { Access::Read };
                let inside = repos.as_ref().is_none_or(|repos| repos.contains(&granted.repo));
                if *hooks < wanted || !inside || granted.permission < Permission::Admin {
                    let needed = if wanted == Access::Write { "write" } else { "read" };
                    return Err(Refusal::new(403, "Resource not accessible by personal access token")
                        .with("x-accepted-github-permissions", format!("repository_hooks={needed}")));
                }
                Ok(())
            }
            Kind::Classic(_) if granted.permission < Permission::Admin => not_found(),
            Kind::Classic(_) => Ok(()),
        }
    }

    fn hook(&self, granted: &Granted, id: i64) -> Answer<&Hook> {
        match self.repos.get(&granted.repo).and_then(|repo| repo.hooks.get(&id)) {
            Some(hook) => Ok(hook),
            None => not_found(),
        }
    }

    fn api_of(&self, repo: i64, call: &Call<'_>) -> String {
        let name = self.repos.get(&repo).map(|repo| self.full_name(repo)).unwrap_or_default();
        format!("{}/repos/{name}", call.ask.base)
    }

    fn list_hooks(&mut self, granted: &Granted, call: &Call<'_>) -> Answer {
        let api = self.api_of(granted.repo, call);
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let hooks = repo.hooks.values().map(|hook| hook.shown(&api)).collect();
        // Few enough that no test makes such a page go short; it takes no chance.
        let mut rng = fastrand::Rng::with_seed(0);
        self.numbered(granted, call, &mut rng, hooks, |out, hook: Value| {
            out.extend_from_slice(hook.to_string().as_bytes())
        })
    }

    fn show_hook(&self, granted: &Granted, id: i64, status: u16, call: &Call<'_>) -> Answer {
        let api = self.api_of(granted.repo, call);
        let shown = self.hook(granted, id)?.shown(&api);
        let mut response = json_response(status, shown.to_string().into_bytes());
        if status == 201 {
            response.headers.push(("location".to_owned(), format!("{api}/hooks/{id}")));
        }
        Ok(response)
    }

    fn show_config(&self, granted: &Granted, id: i64) -> Answer {
        Ok(json_response(200, self.hook(granted, id)?.config.shown().to_string().into_bytes()))
    }

    /// Whether a hook may lead to where its config says.
    fn check_config(&self, config: &Config) -> Answer<()> {
        match Target::of(&config.url) {
            None => hook_error("Config url is missing a scheme or is no address"),
            Some(Target::Loopback) if !self.habits.loopback_targets => {
                hook_error("url is not supported because it isn't reachable over the public Internet (localhost)")
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether a hook may stand beside the others of its repository.
    fn check_beside(&self, granted: &Granted, own: i64, config: &Config, events: &[String]) -> Answer<()> {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let others = || repo.hooks.values().filter(|hook| hook.id != own);
        let overlaps = |hook: &Hook| {
            let either = |name: &str| hook.hears(name) || name == "*";
            events.iter().any(|name| either(name))
        };
        let same = |hook: &Hook| hook.config.url == config.url && hook.config.json == config.json;
        if others().any(|hook| same(hook) && overlaps(hook)) {
            return hook_error("Hook already exists on this repository");
        }
        for event in events {
            if others().filter(|hook| hook.hears(event)).count() >= HOOKS_MAX {
                return hook_error(&format!("The \"{event}\" event cannot have more than {HOOKS_MAX} hooks"));
            }
        }
        Ok(())
    }

    fn create_hook(&mut self, granted: &Granted, call: &Call<'_>) -> Answer {
        let body = call.body()?;
        if body.get("name").is_some_and(|name| name.as_str() != Some("web")) {
            return hook_error("name must be web");
        }
        let Some(config) = body.get("config").and_then(Value::as_object) else {
            return refuse(422, "Invalid request.\n\n\"config\" wasn't supplied.");
        };
        let config = Config::empty().with(config)?;
        self.check_config(&config)?;
        let events = match body.get("events") {
            Some(names) => event_names(names)?,
            None => vec!["push".to_owned()],
        };
        self.check_beside(granted, 0, &config, &events)?;
        let id = self.id();
        let hook = Hook {
            id,
            active: body.get("active").and_then(Value::as_bool).unwrap_or(true),
            events,
            config,
            created: call.act.now,
            updated: call.act.now,
            last: None,
            base: call.ask.base.to_owned(),
        };
        self.repos.get_mut(&granted.repo).map(|repo| repo.hooks.insert(id, hook));
        self.ping(call.act, granted.repo, id);
        self.show_hook(granted, id, 201, call)
    }

    fn update_hook(&mut self, granted: &Granted, id: i64, call: &Call<'_>) -> Answer {
        let body = call.body()?;
        let mut hook = self.hook(granted, id)?.clone();
        if let Some(config) = body.get("config") {
            let Some(config) = config.as_object() else {
                return refuse(422, "Invalid request.\n\nFor 'properties/config', it is not an object.");
            };
            // What is not said again is as if never said: above all the secret.
            let url = hook.config.url.clone();
            hook.config = Config { url, ..Config::empty() }.with(config)?;
            self.check_config(&hook.config)?;
        }
        if let Some(names) = body.get("events") {
            hook.events = event_names(names)?;
        }
        if let Some(names) = body.get("add_events") {
            let new = event_names(names)?;
            hook.events.extend(
                new.into_iter().filter(|name| !self.hook(granted, id).is_ok_and(|hook| hook.events.contains(name))),
            );
        }
        if let Some(names) = body.get("remove_events") {
            let old = event_names(names)?;
            hook.events.retain(|name| !old.contains(name));
        }
        hook.active = body.get("active").and_then(Value::as_bool).unwrap_or(hook.active);
        hook.updated = call.act.now;
        self.check_beside(granted, id, &hook.config, &hook.events)?;
        self.repos.get_mut(&granted.repo).map(|repo| repo.hooks.insert(id, hook));
        self.show_hook(granted, id, 200, call)
    }

    /// Unlike with the whole hook, what is not said stays.
    fn update_config(&mut self, granted: &Granted, id: i64, call: &Call<'_>) -> Answer {
        let hook = self.hook(granted, id)?.clone();
        let config = hook.config.with(&call.body()?)?;
        self.check_config(&config)?;
        self.check_beside(granted, id, &config, &hook.events)?;
        let own = self.repos.get_mut(&granted.repo).and_then(|repo| repo.hooks.get_mut(&id));
        if let Some(own) = own {
            own.config = config;
            own.updated = call.act.now;
        }
        self.show_config(granted, id)
    }
}

fn event_names(given: &Value) -> Answer<Vec<String>> {
    let Some(names) = given.as_array() else {
        return refuse(422, &format!("Invalid request.\n\nFor 'properties/events', {given} is not an array."));
    };
    let mut events = Vec::new();
    for name in names {
        let name = string("events", name)?;
        if !EVENTS.split(' ').any(|known| known == name) {
            return hook_error(&format!("These events are not allowed for this hook: {name}"));
        }
        if !events.iter().any(|known| known == name) {
            events.push(name.to_owned());
        }
    }
    Ok(events)
}

fn hook_error<T>(message: &str) -> Answer<T> {
    invalid(json!({"resource": "Hook", "code": "custom", "message": message}))
}
