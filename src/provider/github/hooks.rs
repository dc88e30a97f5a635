//! Hooks of one GitHub repository: made, listed, mended, removed, and what they failed to hand over.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{GithubClient, PAGE};
use crate::config::Secret;
use crate::model::{RepoName, Rules, Side, Timestamp};
use crate::provider::ProviderError;
use crate::provider::call::{Ask, Caller, Connection, Service, encoded, garbled};
use crate::provider::heard::{plain_name, words};
use crate::provider::hooks::{CreatedHook, Hook, Hooks, RecoveredDelivery, Undelivered, hiding, impossible};
use crate::provider::http::Method;
use crate::provider::json::{self, Id};
use crate::provider::pace::Weight;

/// What is sent to us: what moves an issue, what is told of pull requests, and what moves issues without
/// moving their time (labels, milestones, the repository's own name).
const WANTED: [&str; 6] = ["issues", "issue_comment", "pull_request", "label", "milestone", "repository"];
/// Pages of hooks at most: GitHub allows 20 hooks an event, GHES 250.
const HOOK_PAGES_MAX: usize = 20;
/// Pages of the log of deliveries read at most: 10,000 attempts. What lies further back is left to the poll.
const LOG_PAGES_MAX: usize = 100;
/// Networks believed of `GET /meta`.
const SOURCES_MAX: usize = 1_000;

/// The hooks of one GitHub repository.
pub struct GithubHooks(GithubClient);

/// A hook as GitHub shows it (GitHub OpenAPI, schema `hook`).
#[derive(Deserialize)]
struct Shown {
    id: Id,
    /// `web` for a webhook.
    #[serde(default)]
    name: Option<String>,
    active: bool,
    events: Vec<String>,
    config: Config,
    #[serde(default)]
    created_at: Option<String>,
    #[serde(default)]
    last_response: Option<LastResponse>,
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    url: Option<String>,
    #[serde(default)]
    content_type: Option<String>,
    /// Shown as asterisks, if there is one.
    #[serde(default)]
    secret: Option<String>,
    /// `"0"`, in old hooks the number.
    #[serde(default)]
    insecure_ssl: Option<Id>,
}

#[derive(Deserialize)]
struct LastResponse {
    #[serde(default)]
    code: Option<i64>,
    #[serde(default)]
    message: Option<String>,
}

/// One attempt to hand something over, in the log.
#[derive(Deserialize)]
struct Attempt {
    id: Id,
    guid: String,
    delivered_at: Timestamp,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    status_code: Option<i64>,
    event: String,
    #[serde(default)]
    action: Option<String>,
}

impl Attempt {
    /// The log can be asked for failures, but by code: a connection that failed has none, so all are read.
    fn arrived(&self) -> bool {
        self.status.as_deref() == Some("OK") || self.status_code.is_some_and(|code| (200..300).contains(&code))
    }
}

/// One attempt with what was sent.
#[derive(Deserialize)]
struct Whole {
    guid: String,
    event: String,
    request: Sent,
}

#[derive(Deserialize)]
struct Sent {
    payload: Value,
}

#[derive(Deserialize)]
struct Meta {
    hooks: Vec<String>,
}

impl Shown {
    /// `None` for what is no webhook.
    fn hook(self) -> Option<Hook> {
        if self.name.as_deref().is_some_and(|name| name != "web") {
            return None;
        }
        let events: BTreeSet<&str> = self.events.iter().map(String::as_str).collect();
        let Config { url, content_type, secret, insecure_ssl } = self.config;
        let as_wanted = events == BTreeSet::from(WANTED)
            && content_type.as_deref() == Some("json")
            && insecure_ssl.is_none_or(|insecure| insecure.0 == "0");
        let last_failure = self.last_response.and_then(|last| match last.code {
            Some(code) if !(200..300).contains(&code) => {
                Some(words(&format!("{code} {}", last.message.unwrap_or_default())))
            }
            _ => None,
        });
        Some(Hook {
            id: self.id.0,
            target: url?,
            active: self.active,
            events: self.events,
            as_wanted,
            signed: secret.is_some_and(|secret| !secret.is_empty()),
            created_at: self.created_at.and_then(|at| at.parse().ok()),
            last_success_at: None,
            last_failure_at: None,
            last_failure,
            dies_at: None,
        })
    }
}

impl GithubHooks {
    /// For one repository; sends nothing yet.
    pub fn new(connection: Connection, repo: RepoName) -> Self {
        Self(GithubClient::new(connection, repo, &Rules::default()))
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} of github {}", self.0.repo)
    }

    fn url(&self, rest: &str) -> String {
        self.0.url(&format!("{}/hooks{rest}", self.0.root_of(&self.0.repo)))
    }

    /// Changes something of one hook.
    fn write(&self, doing: &str, method: Method, rest: &str, body: Value) -> Result<(), ProviderError> {
        let ask = Ask::write(self.doing(doing), method, self.url(rest), body);
        self.0.send(ask.about_item().weighing(Weight::Write)).map(drop)
    }

    /// Reads a list that names its next page, at most `pages_max` of it, until `each` has seen enough.
    /// Answers whether it was read as far as was wanted.
    fn pages(
        &self,
        first: Ask<'_>,
        pages_max: usize,
        each: &mut dyn FnMut(Vec<Value>, &str) -> bool,
    ) -> Result<bool, ProviderError> {
        let mut ask = first;
        let mut seen = HashSet::new();
        for _ in 0..pages_max {
            self.0.caller.stopped()?;
            let about = ask.clone();
            let (answered, response) = self.0.send(ask)?;
            if !each(self.0.caller.decode(&answered, &response)?, &answered.doing) {
                return Ok(true);
            }
            match self.0.next(&answered, &response, &mut seen)? {
                Some(url) => ask = Ask { url, ..about },
                None => return Ok(true),
            }
        }
        Ok(false)
    }
}

/// The entries that can be understood; the others are said to be left out.
fn understood<T: serde::de::DeserializeOwned>(page: Vec<Value>, doing: &str) -> Vec<T> {
    let (fit, odd) = json::decode_each(page);
    if let Some(first) = odd.first() {
        log::warn!("{doing}: {} entries left out: {}", odd.len(), first.why);
    }
    fit
}

impl Hooks for GithubHooks {
    fn side(&self) -> Side {
        Side::Forge
    }

    fn list(&self) -> Result<Vec<Hook>, ProviderError> {
        let ask = Ask::read(self.doing("list the webhooks"), self.url(&format!("?per_page={PAGE}")));
        let mut hooks = Vec::new();
        let whole = self.pages(ask.clone(), HOOK_PAGES_MAX, &mut |page, doing| {
            hooks.extend(understood(page, doing).into_iter().filter_map(Shown::hook));
            true
        })?;
        if whole { Ok(hooks) } else { Err(garbled(&ask, format!("there are more than {HOOK_PAGES_MAX} pages"))) }
    }

    fn create(&self, target: &str, secret: Option<&Secret>) -> Result<CreatedHook, ProviderError> {
        let doing = self.doing("make a webhook");
        let Some(secret) = secret.filter(|secret| !secret.reveal().is_empty()) else {
            return Err(impossible(doing, "without a secret nothing it sends could be believed; configure one"));
        };
        let config = json!({"url": target, "content_type": "json", "secret": secret.reveal(), "insecure_ssl": "0"});
        let body = json!({"name": "web", "active": true, "events": WANTED, "config": config});
        let ask = Ask::write(doing, Method::Post, self.url(""), body).weighing(Weight::Write);
        let made = self.0.send(ask).and_then(|(ask, response)| {
            let shown: Shown = self.0.caller.decode(&ask, &response)?;
            shown.hook().ok_or_else(|| garbled(&ask, "what was made is no webhook"))
        });
        let hook = made.map_err(|error| hiding(error, &[target, secret.reveal()]))?;
        Ok(CreatedHook { hook, secret: None })
    }

    fn set_wanted(&self, id: &str) -> Result<(), ProviderError> {
        let id = encoded(id);
        let doing = "set the events of a webhook";
        self.write(doing, Method::Patch, &format!("/{id}"), json!({"active": true, "events": WANTED}))?;
        // A `config` in the change above would take the secret away (GitHub, update a repository webhook).
        let form = json!({"content_type": "json", "insecure_ssl": "0"});
        self.write(doing, Method::Patch, &format!("/{id}/config"), form)
    }

    fn set_secret(&self, id: &str, secret: &Secret) -> Result<(), ProviderError> {
        let doing = "change the secret of a webhook";
        if secret.reveal().is_empty() {
            return Err(impossible(self.doing(doing), "an empty one would leave what it sends unsigned"));
        }
        let body = json!({"secret": secret.reveal()});
        let changed = self.write(doing, Method::Patch, &format!("/{}/config", encoded(id)), body);
        changed.map_err(|error| hiding(error, &[secret.reveal()]))
    }

    fn remove(&self, id: &str) -> Result<(), ProviderError> {
        let ask = Ask::read(self.doing("remove a webhook"), self.url(&format!("/{}", encoded(id))));
        let ask = Ask { method: Method::Delete, ..ask.about_item().weighing(Weight::Write) };
        match self.0.send(ask) {
            Ok(_) => Ok(()),
            // GitHub answers 404 to a token that may not, too; one that may is shown that the hook is not there.
            Err(gone @ ProviderError::Gone { .. }) => {
                if self.list()?.iter().any(|hook| hook.id == id) {
                    Err(gone)
                } else {
                    Ok(())
                }
            }
            Err(error) => Err(error),
        }
    }

    fn ping(&self, id: &str) -> Result<(), ProviderError> {
        let ask = Ask::read(self.doing("ping a webhook"), self.url(&format!("/{}/pings", encoded(id))));
        let ask = Ask { method: Method::Post, ..ask.about_item().weighing(Weight::Write) };
        self.0.send(ask).map(drop)
    }

    fn undelivered(&self, id: &str, since: Timestamp) -> Result<Vec<Undelivered>, ProviderError> {
        let url = self.url(&format!("/{}/deliveries?per_page={PAGE}", encoded(id)));
        let ask = Ask::read(self.doing("read the log of a webhook"), url).about_item();
        // The log's times are whole seconds.
        let since = Timestamp::from_second(since.as_second()).unwrap_or(since);
        let mut arrived: HashSet<String> = HashSet::new();
        let mut failed: HashMap<String, Undelivered> = HashMap::new();
        let whole = self.pages(ask, LOG_PAGES_MAX, &mut |page, doing| {
            // Newest first.
            for attempt in understood::<Attempt>(page, doing) {
                if attempt.delivered_at < since {
                    return false;
                }
                if attempt.arrived() {
                    failed.remove(&attempt.guid);
                    arrived.insert(attempt.guid);
                } else if attempt.event != "ping" && !arrived.contains(&attempt.guid) {
                    failed.entry(attempt.guid.clone()).or_insert_with(|| attempt.undelivered()).attempts += 1;
                }
            }
            true
        })?;
        if !whole {
            log::warn!(
                "github {}: the log of the webhook is longer than {LOG_PAGES_MAX} pages; the rest is left to the poll",
                self.0.repo
            );
        }
        let mut failed: Vec<Undelivered> = failed.into_values().collect();
        failed.sort_by(|one, other| (one.at, &one.guid).cmp(&(other.at, &other.guid)));
        Ok(failed)
    }

    fn delivery(&self, id: &str, delivery_id: &str) -> Result<RecoveredDelivery, ProviderError> {
        let url = self.url(&format!("/{}/deliveries/{}", encoded(id), encoded(delivery_id)));
        let ask = Ask::read(self.doing("read back a delivery"), url).about_item();
        let (ask, response) = self.0.send(ask)?;
        let Whole { guid, event, request } = self.0.caller.decode(&ask, &response)?;
        let payload = match request.payload {
            Value::Object(_) => request.payload.to_string().into_bytes(),
            Value::String(text) => text.into_bytes(),
            _ => return Err(garbled(&ask, "it does not say what was sent")),
        };
        Ok(RecoveredDelivery { guid, event, payload })
    }
}

impl Attempt {
    fn undelivered(&self) -> Undelivered {
        let action = self.action.as_deref().and_then(plain_name);
        let event = plain_name(&self.event).unwrap_or("unknown");
        Undelivered {
            guid: words(&self.guid),
            delivery_id: self.id.0.clone(),
            event: action.map_or_else(|| event.to_owned(), |action| format!("{event}.{action}")),
            at: self.delivered_at,
            status: words(self.status.as_deref().unwrap_or("unknown")),
            attempts: 0,
        }
    }
}

/// The networks GitHub sends webhooks from, as `address/length`: `hooks` of `GET /meta`. They change; ask again.
///
/// # Errors
/// `Garbled` when there are none, too many, or one is no network: half a list would turn deliveries away.
pub fn hook_sources(connection: &Connection) -> Result<Vec<String>, ProviderError> {
    let caller = Caller::new(Service::Github, connection.clone());
    let ask = Ask::read("ask github where its webhooks come from", format!("{}/meta", connection.base_url));
    let (meta, _): (Meta, _) = caller.get(&ask)?;
    if !(1..=SOURCES_MAX).contains(&meta.hooks.len()) {
        return Err(garbled(&ask, format!("it names {} networks", meta.hooks.len())));
    }
    if !meta.hooks.iter().all(|network| is_network(network)) {
        return Err(garbled(&ask, "one of its networks is none"));
    }
    Ok(meta.hooks)
}

fn is_network(text: &str) -> bool {
    let parts = text.split_once('/').map(|(address, bits)| (address.parse::<IpAddr>(), bits.parse::<u8>()));
    match parts {
        Some((Ok(IpAddr::V4(_)), Ok(bits))) => bits <= 32,
        Some((Ok(IpAddr::V6(_)), Ok(bits))) => bits <= 128,
        _ => false,
    }
}

#[cfg(test)]
mod tests;
