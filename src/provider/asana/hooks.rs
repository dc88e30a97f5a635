//! Hooks of one Asana project: made, listed, filtered, removed.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{Gid, Named, Page};
use super::{AsanaClient, PAGE};
use crate::config::Secret;
use crate::model::{ProjectGid, Rules, Side, Timestamp};
use crate::provider::ProviderError;
use crate::provider::call::{Ask, Connection, encoded, garbled};
use crate::provider::heard::words;
use crate::provider::hooks::{CreatedHook, Hook, Hooks, RecoveredDelivery, Undelivered, hiding, impossible};
use crate::provider::http::Method;
use crate::provider::pace::Weight;

/// What is sent to us: kinds of resources and what happens to them, and nothing finer. Which names the fields
/// of a change have is not documented (`notes` or `html_notes`), so it is decided here what matters. Stories
/// are a second witness: events come at most once, and each change of a field also makes one.
const WANTED: [(&str, &str); 11] = [
    ("task", "changed"),
    ("task", "added"),
    ("task", "removed"),
    ("task", "deleted"),
    ("task", "undeleted"),
    ("story", "added"),
    ("story", "removed"),
    ("story", "changed"),
    ("section", "changed"),
    ("section", "deleted"),
    ("project", "changed"),
];
/// What is asked of a hook.
const FIELDS: &str = "active,target,resource.name,created_at,last_success_at,last_failure_at,last_failure_content,\
    failure_deletion_timestamp,filters.resource_type,filters.resource_subtype,filters.action,filters.fields";
/// Pages of hooks at most: a resource has 1,000 (Asana, webhooks guide).
const HOOK_PAGES_MAX: usize = 20;

/// The hooks of one Asana project.
pub struct AsanaHooks(AsanaClient);

/// A hook as Asana shows it (Asana OpenAPI, `WebhookResponse`).
#[derive(Deserialize)]
struct Shown {
    gid: Gid,
    target: String,
    active: bool,
    #[serde(default)]
    resource: Option<Named>,
    #[serde(default)]
    filters: Option<Vec<Filter>>,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    last_success_at: Option<String>,
    #[serde(default)]
    last_failure_at: Option<String>,
    #[serde(default)]
    last_failure_content: Option<String>,
    #[serde(default)]
    failure_deletion_timestamp: Option<String>,
}

/// What passes a hook; what is left out matches all.
#[derive(Deserialize)]
struct Filter {
    #[serde(default)]
    resource_type: Option<String>,
    #[serde(default)]
    resource_subtype: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    fields: Option<Vec<String>>,
}

impl Filter {
    /// As it is shown and compared: `task.changed`, with what narrows it behind.
    fn text(&self) -> String {
        let any = |part: &Option<String>| part.clone().unwrap_or_else(|| "*".to_owned());
        let mut text = format!("{}.{}", any(&self.resource_type), any(&self.action));
        if let Some(subtype) = &self.resource_subtype {
            text.push_str(&format!(" of {subtype}"));
        }
        if let Some(fields) = self.fields.as_ref().filter(|fields| !fields.is_empty()) {
            text.push_str(&format!(" in {}", fields.join(" ")));
        }
        words(&text)
    }
}

/// The answer that makes a hook.
#[derive(Deserialize)]
struct Made {
    data: Shown,
    #[serde(rename = "X-Hook-Secret", default)]
    secret: Option<String>,
}

fn wanted() -> Value {
    WANTED.iter().map(|(kind, action)| json!({"resource_type": kind, "action": action})).collect()
}

impl Shown {
    fn hook(self) -> Hook {
        let moment = |text: Option<String>| text.and_then(|text| text.parse::<Timestamp>().ok());
        let events: Vec<String> = self.filters.unwrap_or_default().iter().map(Filter::text).collect();
        let wanted: BTreeSet<String> = WANTED.iter().map(|(kind, action)| format!("{kind}.{action}")).collect();
        Hook {
            id: self.gid.0,
            target: self.target,
            active: self.active,
            as_wanted: events.iter().cloned().collect::<BTreeSet<_>>() == wanted,
            events,
            signed: true,
            created_at: moment(self.created_at),
            last_success_at: moment(self.last_success_at),
            last_failure_at: moment(self.last_failure_at),
            last_failure: self.last_failure_content.map(|text| words(&text)).filter(|text| !text.is_empty()),
            dies_at: moment(self.failure_deletion_timestamp),
        }
    }
}

impl AsanaHooks {
    /// For one project; sends nothing yet.
    pub fn new(connection: Connection, project: ProjectGid) -> Self {
        Self(AsanaClient::new(connection, project, &Rules::default()))
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} of asana project {}", self.0.project)
    }

    fn one(&self, id: &str) -> String {
        self.0.url(&format!("/webhooks/{}", encoded(id)))
    }
}

impl Hooks for AsanaHooks {
    fn side(&self) -> Side {
        Side::Tracker
    }

    fn list(&self) -> Result<Vec<Hook>, ProviderError> {
        let project = &self.0.project;
        let workspace = encoded(self.0.workspace()?);
        let first =
            self.0.url(&format!("/webhooks?workspace={workspace}&resource={project}&limit={PAGE}&opt_fields={FIELDS}"));
        let mut url = first.clone();
        let mut hooks = Vec::new();
        for _ in 0..HOOK_PAGES_MAX {
            let ask = Ask::read(self.doing("list the webhooks"), url);
            let (page, _): (Page<Shown>, _) = self.0.caller.get(&ask)?;
            let of_project =
                |hook: &Shown| hook.resource.as_ref().is_none_or(|resource| resource.gid.0 == project.as_str());
            hooks.extend(page.data.into_iter().filter(of_project).map(Shown::hook));
            match page.next_page {
                Some(next) => url = format!("{first}&offset={}", encoded(&next.offset)),
                None => return Ok(hooks),
            }
        }
        Err(garbled(
            &Ask::read(self.doing("list the webhooks"), first),
            format!("there are more than {HOOK_PAGES_MAX} pages"),
        ))
    }

    fn create(&self, target: &str, secret: Option<&Secret>) -> Result<CreatedHook, ProviderError> {
        let doing = self.doing("make a webhook");
        if secret.is_some() {
            return Err(impossible(doing, "Asana chooses the secret itself"));
        }
        let body = json!({"data": {"resource": self.0.project, "target": target, "filters": wanted()}});
        let url = self.0.url(&format!("/webhooks?opt_fields={FIELDS}"));
        // A 403 is about the target (on this machine, or known already), not about the token.
        let ask = Ask::write(doing, Method::Post, url, body).about_item().weighing(Weight::Write);
        let made: Result<(Made, _), _> = self.0.caller.get(&ask);
        let (made, _) = made.map_err(|error| hiding(error, &[target]))?;
        let secret = made.secret.ok_or_else(|| garbled(&ask, "it names no secret"))?;
        Ok(CreatedHook { hook: made.data.hook(), secret: Some(Secret::new(secret)) })
    }

    fn set_wanted(&self, id: &str) -> Result<(), ProviderError> {
        let body = json!({"data": {"filters": wanted()}});
        let ask = Ask::write(self.doing("set the filters of a webhook"), Method::Put, self.one(id), body);
        self.0.caller.send(&ask.about_item()).map(drop)
    }

    fn set_secret(&self, _id: &str, _secret: &Secret) -> Result<(), ProviderError> {
        let doing = self.doing("change the secret of a webhook");
        Err(impossible(doing, "Asana cannot; make another hook and remove this one"))
    }

    fn remove(&self, id: &str) -> Result<(), ProviderError> {
        let ask = Ask::read(self.doing("remove a webhook"), self.one(id));
        let ask = Ask { method: Method::Delete, ..ask.about_item().weighing(Weight::Write) };
        self.0.caller.send(&ask.accept(&[404, 410])).map(drop)
    }

    fn ping(&self, _id: &str) -> Result<(), ProviderError> {
        Err(impossible(self.doing("ping a webhook"), "Asana sends a sign of life every 8 hours, and none when asked"))
    }

    fn undelivered(&self, _id: &str, _since: Timestamp) -> Result<Vec<Undelivered>, ProviderError> {
        Ok(Vec::new())
    }

    fn delivery(&self, _id: &str, _delivery_id: &str) -> Result<RecoveredDelivery, ProviderError> {
        Err(impossible(self.doing("read back a delivery"), "Asana keeps none"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::provider::testing::{Answer, Script, connection, ok, path, status, with};

    const TARGET: &str = "https://sync.example/webhooks/asana/t0k3n";

    fn hooks(script: &Arc<Script>) -> AsanaHooks {
        AsanaHooks::new(connection(Side::Tracker, script.clone()).0, "55".parse().expect("a gid"))
    }

    fn project() -> Answer {
        ok(json!({"data": {"gid": "55", "workspace": {"gid": "9", "name": "Acme"}}}))
    }

    fn shown(gid: &str) -> Value {
        json!({"gid": gid, "resource_type": "webhook", "target": TARGET, "active": true, "filters": wanted(),
            "resource": {"gid": "55", "resource_type": "project", "name": "App"},
            "created_at": "2026-11-20T10:00:00.000Z", "last_success_at": "2026-11-20T10:00:01.000Z",
            "last_failure_at": null, "last_failure_content": "", "failure_deletion_timestamp": null})
    }

    #[test]
    fn the_hooks_of_the_project_are_listed_page_by_page() {
        let mut failing = shown("2");
        failing["last_failure_at"] = json!("2026-11-20T11:00:00.000Z");
        failing["last_failure_content"] = json!("503\nService Unavailable");
        failing["failure_deletion_timestamp"] = json!("2026-11-21T11:00:00.000Z");
        let mut foreign = shown("3");
        foreign["resource"]["gid"] = json!("56");
        let script = Script::of(vec![
            project(),
            ok(json!({"data": [shown("1")], "next_page": {"offset": "a b", "path": "/x"}})),
            ok(json!({"data": [failing, foreign], "next_page": null})),
            ok(json!({"data": [], "next_page": null})),
        ]);
        let client = hooks(&script);
        let all = client.list().expect("a list");
        assert_eq!(all.iter().map(|hook| hook.id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
        assert!(all[0].as_wanted && all[0].active && all[0].signed && all[0].last_failure.is_none());
        assert_eq!(all[1].last_failure.as_deref(), Some("503 Service Unavailable"));
        assert_eq!(all[1].dies_at, "2026-11-21T11:00:00Z".parse().ok());
        client.list().expect("another list");
        let asked = script.asked();
        assert_eq!(asked.len(), 4, "the workspace is asked for once");
        assert!(
            asked[1].starts_with("GET /api/1.0/webhooks?workspace=9&resource=55&limit=100&opt_fields="),
            "{asked:?}"
        );
        assert!(asked[2].ends_with("&offset=a%20b"), "{asked:?}");
    }

    #[test]
    fn pages_without_end_are_no_list() {
        let script = Script::by(|_, request| match path(&request.url) {
            url if url.contains("/projects/") => project(),
            _ => ok(json!({"data": [shown("1")], "next_page": {"offset": "x"}})),
        });
        assert!(matches!(hooks(&script).list(), Err(ProviderError::Garbled { .. })));
        assert_eq!(script.asked().len(), 1 + HOOK_PAGES_MAX);
    }

    #[test]
    fn filters_are_as_wanted_only_when_they_let_the_same_through() {
        let with = |filters: Value| {
            let mut hook = shown("1");
            hook["filters"] = filters;
            serde_json::from_value::<Shown>(hook).expect("a hook").hook()
        };
        let mut turned: Vec<Value> = wanted().as_array().expect("a list").clone();
        turned.reverse();
        assert!(with(json!(turned)).as_wanted, "in any order");
        let mut narrowed = turned.clone();
        narrowed[0]["fields"] = json!(["name"]);
        let mut subtype = turned.clone();
        subtype[0]["resource_subtype"] = json!("milestone");
        let mut more = turned.clone();
        more.push(json!({"resource_type": "goal"}));
        for filters in [json!(turned[1..]), json!(narrowed), json!(subtype), json!(more), json!([]), json!(null)] {
            assert!(!with(filters.clone()).as_wanted, "{filters}");
        }
        let hook = with(json!([{"resource_type": "task", "action": "changed", "fields": ["name"]}, {}]));
        assert_eq!(hook.events, ["task.changed in name", "*.*"]);
    }

    #[test]
    fn making_one_answers_the_secret_asana_chose() {
        let script = Script::of(vec![with(201, &[], json!({"data": shown("77"), "X-Hook-Secret": "abc"}))]);
        let made = hooks(&script).create(TARGET, None).expect("made");
        assert_eq!((made.hook.id.as_str(), made.secret), ("77", Some(Secret::new("abc".to_owned()))));
        let body = &script.bodies()[0]["data"];
        assert_eq!((&body["resource"], &body["target"]), (&json!("55"), &json!(TARGET)));
        assert_eq!(body["filters"].as_array().map(Vec::len), Some(WANTED.len()));
        assert!(script.asked()[0].starts_with("POST /api/1.0/webhooks?opt_fields="));
    }

    #[test]
    fn a_hook_that_cannot_be_made_says_why_without_its_target() {
        let refused = |answer: Answer| {
            let script = Script::of(vec![answer]);
            let error = hooks(&script).create(TARGET, None).expect_err("not made");
            assert_eq!(script.asked().len(), 1, "a creation is not repeated");
            assert!(!error.to_string().contains("t0k3n"), "{error}");
            error
        };
        let duplicate = status(403, &format!("Duplicated webhook for {TARGET}"));
        assert!(matches!(refused(duplicate), ProviderError::Refused { status: 403, .. }));
        assert!(matches!(refused(status(400, "no handshake")), ProviderError::Refused { status: 400, .. }));
        assert!(matches!(refused(status(401, "Not Authorized")), ProviderError::Denied { .. }));
        assert!(refused(status(504, TARGET)).maybe_done());
        assert!(refused(with(201, &[], json!({"data": shown("1")}))).maybe_done(), "made, but with what secret?");
        let script = Script::of(vec![]);
        let secret = Secret::new("mine".to_owned());
        assert!(matches!(hooks(&script).create(TARGET, Some(&secret)), Err(ProviderError::Refused { .. })));
        assert!(script.asked().is_empty());
    }

    #[test]
    fn a_hook_is_changed_and_removed_by_its_gid() {
        let script = Script::of(vec![
            ok(json!({"data": shown("77")})),
            ok(json!({"data": {}})),
            status(404, "webhook: Unknown object: 77"),
            status(404, "webhook: Unknown object: 77"),
        ]);
        let client = hooks(&script);
        client.set_wanted("77").expect("filters set");
        client.remove("77").expect("removed");
        client.remove("77").expect("gone already");
        assert!(matches!(client.set_wanted("7/../8"), Err(ProviderError::Gone { .. })));
        let base = "/api/1.0/webhooks";
        let wanted = [("PUT", "77"), ("DELETE", "77"), ("DELETE", "77"), ("PUT", "7%2F..%2F8")];
        assert_eq!(script.asked(), wanted.map(|(method, id)| format!("{method} {base}/{id}")));
        assert_eq!(script.bodies()[0], json!({"data": {"filters": super::wanted()}}));
    }

    #[test]
    fn what_asana_cannot_do_is_refused_without_asking() {
        let script = Script::of(vec![]);
        let client = hooks(&script);
        let now = crate::provider::testing::start();
        assert!(matches!(client.set_secret("1", &Secret::new("x".into())), Err(ProviderError::Refused { .. })));
        assert!(matches!(client.ping("1"), Err(ProviderError::Refused { .. })));
        assert!(matches!(client.delivery("1", "2"), Err(ProviderError::Refused { .. })));
        assert_eq!(client.undelivered("1", now), Ok(Vec::new()));
        assert!(script.asked().is_empty());
    }
}
