//! What Asana's webhooks have to tell: events in batches, heartbeats, retries, and the end of a hook that fails
//! for a day (asana-api.md §6).

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::AsanaState;
use super::feed::{Event, Thing};
use super::record::thing_type;
use crate::model::Side;
use crate::sandbox::json::{Object, list};
use crate::sandbox::web::instant_ms;
use crate::sandbox::webhooks::{Attempt, Drawn, Mishaps, Parcel, Ticket, post, sha256_hex};

/// Events in one delivery; more follow in the next. (Not published; as many as the feed answers at once.)
const BATCH_MAX: usize = 100;
/// Events that wait for one hook; older ones are lost first. A day's, with one a second.
const WAITING_MAX: usize = 100_000;
/// Between two heartbeats, in ms.
const HEARTBEAT: i64 = 8 * 3_600_000;
/// A hook that failed this long is deleted, in ms.
const FAILING_MAX: i64 = 24 * 3_600_000;
/// A delivery held back to be overtaken goes after this, in ms.
const HELD_BACK: i64 = 2_000;
/// The start of a failure's text that is kept.
const FAILURE_CHARS_MAX: usize = 200;

/// Which events a hook wants: each key that is given must fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_subtype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<Vec<String>>,
}

impl Filter {
    fn passes(&self, event: &Event, subtype: Option<&str>) -> bool {
        let Self { resource_type, resource_subtype, action, fields } = self;
        resource_type.as_ref().is_none_or(|wanted| wanted == thing_type(event.resource))
            && resource_subtype.as_ref().is_none_or(|wanted| Some(wanted.as_str()) == subtype)
            && action.as_ref().is_none_or(|wanted| wanted == event.action)
            && fields.as_ref().is_none_or(|wanted| {
                event.change.is_some_and(|change| wanted.iter().any(|field| field == change.field))
            })
    }
}

/// A webhook, and what waits for it.
#[derive(Debug)]
pub(super) struct Hook {
    pub gid: u64,
    pub user: u64,
    pub app: Option<String>,
    pub resource: u64,
    pub target: String,
    pub filters: Vec<Filter>,
    pub secret: String,
    pub created_at: i64,
    pub last_success_at: Option<i64>,
    pub last_failure_at: Option<i64>,
    pub last_failure_content: String,
    pub retries: u32,
    /// The first failure since the last success.
    pub failing_since: Option<i64>,
    /// Events not yet in a batch, as JSON, and when they happened.
    waiting: VecDeque<(i64, Vec<u8>)>,
    heartbeat_at: i64,
    /// The batch being delivered, and when next.
    current: Option<Batch>,
    /// Batches held up on the way; they are of no concern to the others.
    late: Vec<Batch>,
    /// One is on its way at this moment.
    busy: bool,
}

/// One delivery's body.
#[derive(Debug, Clone)]
struct Batch {
    body: Vec<u8>,
    events: usize,
    due: i64,
}

impl Hook {
    /// A hook that was just shaken hands with; its first heartbeat is due at once.
    pub fn new(gid: u64, user: u64, app: Option<String>, resource: u64, target: String, now: i64) -> Self {
        Self {
            gid,
            user,
            app,
            resource,
            target,
            filters: Vec::new(),
            secret: String::new(),
            created_at: now,
            last_success_at: None,
            last_failure_at: None,
            last_failure_content: String::new(),
            retries: 0,
            failing_since: None,
            waiting: VecDeque::new(),
            heartbeat_at: now,
            current: None,
            late: Vec::new(),
            busy: false,
        }
    }

    /// When the batch that failed is tried again.
    pub fn next_attempt(&self) -> Option<i64> {
        self.failing_since.and(self.current.as_ref()).map(|batch| batch.due)
    }

    /// When it is deleted unless a delivery succeeds before.
    pub fn deleted_at(&self) -> Option<i64> {
        self.failing_since.map(|since| since.saturating_add(FAILING_MAX))
    }

    fn due(&self) -> Option<i64> {
        if self.busy {
            return None;
        }
        if let Some(current) = &self.current {
            return Some(current.due);
        }
        let waiting = self.waiting.front().map(|(at, _)| *at);
        self.late.iter().map(|batch| batch.due).chain([self.heartbeat_at]).chain(waiting).min()
    }

    /// The next batch that is new, or late and now due.
    fn fresh(&mut self, now: i64) -> Option<(Batch, bool)> {
        if let Some(at) = self.late.iter().position(|batch| batch.due <= now) {
            return Some((self.late.remove(at), false));
        }
        if self.heartbeat_at <= now {
            self.heartbeat_at = now.saturating_add(HEARTBEAT);
            return Some((Batch { body: br#"{"events":[]}"#.to_vec(), events: 0, due: now }, true));
        }
        let count = self.waiting.len().min(BATCH_MAX);
        (count > 0).then(|| (batch(self.waiting.drain(..count).map(|(_, event)| event), now), true))
    }
}

fn batch(events: impl ExactSizeIterator<Item = Vec<u8>>, now: i64) -> Batch {
    let count = events.len();
    let mut body = br#"{"events":"#.to_vec();
    list(&mut body, events, |out, event| out.extend_from_slice(&event));
    body.push(b'}');
    Batch { body, events: count, due: now }
}

impl AsanaState {
    /// Puts an event before every hook that wants it.
    pub(super) fn tell_hooks(&mut self, event: &Event) {
        let hears = |hook: &Hook| event.streams.contains(&hook.resource);
        if !self.hooks.values().any(hears) {
            return;
        }
        let subtype = self.subtype(event.resource);
        let mut json = Vec::with_capacity(400);
        self.write_hook_event(&mut json, event);
        for hook in self.hooks.values_mut().filter(|hook| hears(hook)) {
            let Hook { filters, waiting, .. } = hook;
            if filters.is_empty() || filters.iter().any(|filter| filter.passes(event, subtype.as_deref())) {
                if waiting.len() >= WAITING_MAX {
                    waiting.pop_front();
                }
                waiting.push_back((event.at, json.clone()));
            }
        }
    }

    fn subtype(&self, thing: Thing) -> Option<String> {
        match thing {
            Thing::Task(gid) => self.task(gid).map(|task| task.subtype.clone()),
            Thing::Story(gid) => self.stories.get(&gid).map(|story| story.subtype.clone()),
            _ => None,
        }
    }

    /// An event as hooks tell it: whatever it speaks of is only named.
    fn write_hook_event(&self, out: &mut Vec<u8>, event: &Event) {
        let name = |out: &mut Vec<u8>, thing: Option<Thing>| match thing {
            Some(thing) => self.write_name(out, thing),
            None => out.extend_from_slice(b"null"),
        };
        let Event { user, at, action, resource, parent, change, streams: _ } = event;
        let mut object = Object::open(out);
        name(object.key("user"), user.map(Thing::User));
        object.put("created_at", &instant_ms(*at));
        object.put("action", action);
        name(object.key("resource"), Some(*resource));
        name(object.key("parent"), *parent);
        if let Some(change) = change {
            let mut inner = Object::open(object.key("change"));
            inner.put("field", change.field);
            inner.put("action", change.action);
            if let Some(value) = change.value {
                name(inner.key(change.value_name()), Some(value));
            }
            inner.close();
        }
        object.close();
    }

    fn write_name(&self, out: &mut Vec<u8>, thing: Thing) {
        let mut object = Object::open(out);
        object.plain("gid", &[&thing.gid().to_string()]);
        object.put("resource_type", thing_type(thing));
        if let Some(subtype) = self.subtype(thing) {
            object.put("resource_subtype", &subtype);
        }
        object.close();
    }

    /// Deletes the hooks that failed for a day, with everything that waits for them.
    pub(super) fn expire_hooks(&mut self, now: i64) {
        self.hooks.retain(|_, hook| hook.busy || hook.deleted_at().is_none_or(|at| at > now));
    }

    pub(in crate::sandbox) fn next_due(&self) -> Option<i64> {
        self.hooks.values().filter_map(Hook::due).min()
    }

    /// Takes out the next delivery that is due.
    pub(in crate::sandbox) fn take_parcel(&mut self, now: i64, mishaps: &mut Mishaps) -> Option<Parcel> {
        self.expire_hooks(now);
        loop {
            let due = |hook: &&mut Hook| hook.due().is_some_and(|due| due <= now);
            // The longest due first, so that no hook starves another.
            let hook = self.hooks.values_mut().filter(due).min_by_key(|hook| hook.due())?;
            if let Some(current) = &hook.current {
                let parcel = parcel(hook, current, Ticket::Asana);
                hook.busy = true;
                return Some(parcel);
            }
            let (mut batch, new) = hook.fresh(now)?;
            let drawn = if new { mishaps.draw(Side::Tracker) } else { Drawn::default() };
            if drawn.lost {
                return Some(parcel(hook, &batch, Ticket::Lost));
            }
            if drawn.doubled {
                hook.late.push(batch.clone());
            }
            let mut held = drawn.delay.map(milliseconds);
            if drawn.reordered {
                match turned(&batch) {
                    Some(turned) => batch = turned,
                    None => held = Some(held.unwrap_or_default().saturating_add(HELD_BACK)),
                }
            }
            if let Some(held) = held {
                batch.due = now.saturating_add(held);
                hook.late.push(batch);
                continue;
            }
            let parcel = parcel(hook, &batch, Ticket::Asana);
            hook.current = Some(batch);
            hook.busy = true;
            return Some(parcel);
        }
    }

    /// Hears how the delivery of a hook went.
    pub(in crate::sandbox) fn settle_parcel(&mut self, hook: u64, attempt: &Attempt) {
        let (first, most) = (milliseconds(self.habits.first_retry), milliseconds(self.habits.longest_retry));
        // It may have been deleted meanwhile.
        let Some(hook) = self.hooks.get_mut(&hook) else { return };
        hook.busy = false;
        let failure = match &attempt.answer {
            Ok(response) if matches!(response.status, 200 | 204) => {
                hook.current = None;
                hook.last_success_at = Some(attempt.ended);
                (hook.retries, hook.failing_since) = (0, None);
                return;
            }
            Ok(response) => format!("{} {}", response.status, String::from_utf8_lossy(&response.body)),
            Err(why) => why.clone(),
        };
        hook.last_failure_at = Some(attempt.ended);
        hook.last_failure_content = failure.trim().chars().take(FAILURE_CHARS_MAX).collect();
        hook.failing_since.get_or_insert(attempt.ended);
        let wait = first.saturating_mul(1_i64.checked_shl(hook.retries).unwrap_or(i64::MAX)).min(most);
        hook.retries = hook.retries.saturating_add(1).min(60);
        if let Some(batch) = &mut hook.current {
            batch.due = attempt.ended.saturating_add(wait);
        }
    }
}

/// The events of a batch the other way round; `None` where that makes no difference.
fn turned(batch: &Batch) -> Option<Batch> {
    let body: serde_json::Value = serde_json::from_slice(&batch.body).ok()?;
    let events = body.get("events")?.as_array().filter(|events| events.len() > 1)?;
    let events: Vec<Vec<u8>> = events.iter().rev().map(|event| event.to_string().into_bytes()).collect();
    Some(self::batch(events.into_iter(), batch.due))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn parcel(hook: &Hook, batch: &Batch, ticket: Ticket) -> Parcel {
    let headers = vec![
        ("content-type", "application/json; charset=utf-8".to_owned()),
        ("x-hook-signature", sha256_hex(&hook.secret, &batch.body)),
    ];
    let event = if batch.events == 0 { "heartbeat" } else { "events" };
    Parcel {
        hook: hook.gid,
        event: event.to_owned(),
        guid: None,
        request: post(&hook.target, headers, batch.body.clone()),
        ticket,
    }
}
