//! Requests about webhooks, and the handshake that makes one (asana-api.md §6.1, §6.2).

use fastrand::Rng;
use serde_json::Value;

use super::feed::Thing;
use super::fields::{Fields, Level, Record, Want};
use super::outbox::{Filter, Hook};
use super::tasks::text;
use super::{AsanaState, Call, Refusal, data, instant, instant_ms, nothing, nothing_found, parse_gid, refusal, refuse};
use crate::provider::http::{Request, Response};
use crate::sandbox::json::value_into;
use crate::sandbox::webhooks::{Attempt, Target, post};

use Level::{Compact, Full};

/// Hooks on one resource (asana-api.md §6.1).
const HOOKS_MAX: usize = 1_000;
const NOT_ECHOED: &str =
    "The remote server which is intended to receive the webhook did not respond with the handshake secret.";
const DUPLICATED: &str = "Duplicated webhook. You already have an existing webhook for the given resource and target. Delete the old one before creating another.";

/// A hook about to be made.
#[derive(Debug)]
pub(in crate::sandbox) struct Handshake {
    hook: Hook,
    fields: Option<Fields>,
    base: String,
}

impl Handshake {
    pub fn gid(&self) -> u64 {
        self.hook.gid
    }

    /// What is sent to the target: the secret, and nothing.
    pub fn request(&self) -> Request {
        let headers = vec![
            ("content-type", "application/json; charset=utf-8".to_owned()),
            ("x-hook-secret", self.hook.secret.clone()),
        ];
        post(&self.hook.target, headers, b"{}".to_vec())
    }
}

impl AsanaState {
    /// Checks what is asked for; what is made of it is seen once the target was shaken hands with.
    pub(super) fn create_hook(&mut self, call: &mut Call<'_>, rng: &mut Rng) -> Result<Response, Refusal> {
        self.expire_hooks(call.act.now);
        let given = call.data()?;
        let wanted = |name: &str| match given.get(name) {
            Some(value) => text(name, value).map(str::to_owned),
            None => refuse(400, format!("{name}: Missing input")),
        };
        let resource = wanted("resource")?;
        let gid = parse_gid("resource", &resource)?;
        if self.projects.contains_key(&gid) {
            self.readable_project(&resource, call.act.who)?;
        } else if gid == self.workspace.0 {
            return refuse(400, "resource: Webhooks on workspaces are not played here");
        } else if self.task(gid).is_none() {
            return refuse(400, format!("resource: Unknown object: {resource}"));
        } else {
            self.living_task(&resource, call)?;
        }
        let target = wanted("target")?;
        match Target::of(&target) {
            None => return refuse(400, format!("target: Not a valid URL: {target}")),
            Some(Target::Loopback) if !self.habits.loopback_targets => {
                return refuse(403, "target: The host is not reachable");
            }
            Some(Target::Remote { secure: false }) => return refuse(400, "target: Must be an https URL"),
            Some(Target::Loopback | Target::Remote { secure: true }) => {}
        }
        let filters = given.get("filters").map(filters).transpose()?.unwrap_or_default();
        let gid_of_hook = self.gid();
        let mut hook = Hook::new(gid_of_hook, call.act.who, call.app.clone(), gid, target, call.act.now);
        self.may_be_made(&hook)?;
        hook.filters = filters;
        hook.secret = format!("{:032x}{:032x}", rng.u128(..), rng.u128(..));
        self.handshake = Some(Handshake { hook, fields: call.fields.clone(), base: call.ask.base.to_owned() });
        Ok(nothing())
    }

    fn may_be_made(&self, new: &Hook) -> Result<(), Refusal> {
        let same = |hook: &Hook| (hook.user, &hook.app, &hook.target) == (new.user, &new.app, &new.target);
        let on_it = || self.hooks.values().filter(|hook| hook.resource == new.resource);
        if on_it().any(same) {
            return refuse(403, DUPLICATED);
        }
        if on_it().count() >= HOOKS_MAX {
            return refuse(403, "You have reached the maximum number of webhooks for this resource.");
        }
        Ok(())
    }

    /// The hook that the request just answered wants to make.
    pub(in crate::sandbox) fn take_handshake(&mut self) -> Option<Handshake> {
        self.handshake.take()
    }

    /// Makes the hook if its target gave the secret back, and puts the answer to the request that waits.
    pub(in crate::sandbox) fn shaken(&mut self, handshake: Handshake, attempt: &Attempt, response: &mut Response) {
        let Handshake { mut hook, fields, base } = handshake;
        let echoed = attempt.answer.as_ref().is_ok_and(|answer| {
            matches!(answer.status, 200 | 204) && answer.header("x-hook-secret") == Some(hook.secret.as_str())
        });
        // Another request may have made the same one while this one was shaking hands.
        let made = match echoed {
            true => self.may_be_made(&hook),
            false => refuse(400, NOT_ECHOED),
        };
        let Response { status, body, headers } = response;
        if let Err(Refusal { status: code, message }) = made {
            (*status, *body) = (code, refusal(code, &message).body);
            return;
        }
        hook.created_at = attempt.ended;
        hook.last_success_at = Some(attempt.ended);
        let want = fields.as_ref().map_or(Want::Full, Want::Only);
        let mut text = b"{\"data\":".to_vec();
        self.write_hook(&mut text, &hook, want);
        text.extend_from_slice(b",\"X-Hook-Secret\":");
        value_into(&mut text, &hook.secret);
        text.push(b'}');
        (*status, *body) = (201, text);
        headers.push(("location".to_owned(), format!("{base}/webhooks/{}", hook.gid)));
        self.hooks.insert(hook.gid, hook);
    }

    pub(super) fn list_hooks(&mut self, call: &Call<'_>) -> Result<Response, Refusal> {
        self.expire_hooks(call.act.now);
        let Some(workspace) = call.ask.param("workspace") else { return refuse(400, "workspace: Missing input") };
        self.workspace(workspace)?;
        let resource = call.ask.param("resource").map(|gid| parse_gid("resource", gid)).transpose()?;
        let own = self.hooks.values().filter(|hook| is_own(hook, call));
        let own = own.filter(|hook| resource.is_none_or(|resource| resource == hook.resource));
        let own = own.map(|hook| hook.gid).collect();
        // Only lists of tasks go short; this one takes no chance.
        let mut rng = Rng::with_seed(0);
        self.paged(call, &mut rng, own, |out, gid| {
            if let Some(hook) = self.hooks.get(&gid) {
                self.write_hook(out, hook, call.each());
            }
        })
    }

    /// A hook of the caller's.
    fn own_hook(&mut self, gid: &str, call: &Call<'_>) -> Result<&mut Hook, Refusal> {
        self.expire_hooks(call.act.now);
        let gid = parse_gid("webhook", gid)?;
        match self.hooks.get_mut(&gid).filter(|hook| is_own(hook, call)) {
            Some(hook) => Ok(hook),
            None => nothing_found("webhook", gid),
        }
    }

    pub(super) fn get_hook(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.own_hook(gid, call)?.gid;
        match self.hooks.get(&gid) {
            Some(hook) => Ok(data(200, |out| self.write_hook(out, hook, call.single()))),
            None => nothing_found("webhook", gid),
        }
    }

    pub(super) fn update_hook(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        self.own_hook(gid, call)?;
        let given = call.data()?;
        let Some(wanted) = given.get("filters") else { return refuse(400, "filters: Missing input") };
        let wanted = filters(wanted)?;
        self.own_hook(gid, call)?.filters = wanted;
        self.get_hook(gid, call)
    }

    /// What is on its way may still arrive; what waits does not.
    pub(super) fn delete_hook(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.own_hook(gid, call)?.gid;
        self.hooks.remove(&gid);
        Ok(nothing())
    }

    fn write_hook(&self, out: &mut Vec<u8>, hook: &Hook, want: Want<'_>) {
        let mut record = Record::open(out, want, hook.gid, "webhook");
        // A hook that is deleted instead of switched off is never anything else.
        record.put(Compact, "active", &true);
        if let Some((out, want)) = record.nested(Compact, "resource") {
            let thing = if self.projects.contains_key(&hook.resource) {
                Thing::Project(hook.resource)
            } else {
                Thing::Task(hook.resource)
            };
            self.write_thing(out, thing, want);
        }
        record.put(Compact, "target", &hook.target);
        record.with(Full, "created_at", || instant_ms(hook.created_at));
        record.with(Full, "last_success_at", || instant(hook.last_success_at));
        record.with(Full, "last_failure_at", || instant(hook.last_failure_at));
        record.put(Full, "last_failure_content", &hook.last_failure_content);
        record.put(Full, "delivery_retry_count", &hook.retries);
        record.with(Full, "next_attempt_after", || instant(hook.next_attempt()));
        record.with(Full, "failure_deletion_timestamp", || instant(hook.deleted_at()));
        record.put(Full, "filters", &hook.filters);
        record.put(Full, "is_workspace_webhook", &false);
        record.close();
    }
}

fn is_own(hook: &Hook, call: &Call<'_>) -> bool {
    hook.user == call.act.who && hook.app == call.app
}

fn filters(given: &Value) -> Result<Vec<Filter>, Refusal> {
    let filters: Vec<Filter> = match serde_json::from_value(given.clone()) {
        Ok(filters) => filters,
        Err(error) => return refuse(400, format!("filters: {error}")),
    };
    if filters.iter().any(|filter| filter.fields.is_some() && filter.action.as_deref() != Some("changed")) {
        return refuse(400, "filters: fields can only be given with action changed");
    }
    Ok(filters)
}
