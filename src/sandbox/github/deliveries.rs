//! What waits to be delivered to hooks, the log of what was, and the requests about it (github-api.md §13).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::hooks::{Config, Hook};
use super::{Answer, Call, GithubState, not_found};
use crate::model::Side;
use crate::provider::http::{Request, Response};
use crate::sandbox::web::{encoded, instant_ms, json_response};
use crate::sandbox::webhooks::{Attempt, Mishaps, Parcel, Ticket, post, sha1_hex, sha256_hex};

/// Larger payloads are not sent at all, in bytes (github-api.md §13).
const PAYLOAD_BYTES_MAX: usize = 25 << 20;
/// Deliveries are kept in the log this long, in ms (github-api.md §13).
const LOGGED: i64 = 3 * 24 * 3_600_000;
/// Deliveries kept in the log at all; some 10 KB each.
const LOGGED_MAX: usize = 10_000;
/// Deliveries that wait; with more, the oldest are lost.
const WAITING_MAX: usize = 100_000;
/// A delivery held back to be overtaken goes after this, in ms.
const HELD_BACK: i64 = 2_000;
/// The start of a receiver's answer that is logged, in bytes.
const ANSWER_BYTES_MAX: usize = 4096;
/// Tells this source of chance from others of the same seed.
const BRANCH: u64 = 0x6775_6964;

/// One delivery: waiting, on its way, or logged.
#[derive(Debug, Clone)]
pub(in crate::sandbox) struct Delivery {
    guid: String,
    repo: i64,
    hook: i64,
    event: &'static str,
    action: Option<&'static str>,
    payload: Arc<Vec<u8>>,
    again: bool,
    /// What happens to it on its way is settled.
    drawn: bool,
}

/// A delivery that was made, well or not.
#[derive(Debug)]
struct Logged {
    id: i64,
    delivery: Delivery,
    at: i64,
    took_ms: i64,
    /// 0 where there was no answer.
    code: u16,
    status: String,
    url: String,
    sent: Vec<(String, String)>,
    /// What the receiver answered, the start of its body.
    got: Option<Response>,
}

/// Where a waiting delivery stands: when it is due, and the order among those due together.
type Place = (i64, u64);

/// What waits, and the log.
#[derive(Debug)]
pub(super) struct Outbox {
    waiting: BTreeMap<Place, Delivery>,
    next: u64,
    log: VecDeque<Logged>,
    next_id: i64,
    rng: Rng,
}

impl Outbox {
    pub fn new(seed: u64) -> Self {
        let rng = Rng::with_seed(seed ^ BRANCH);
        Self { waiting: BTreeMap::new(), next: 0, log: VecDeque::new(), next_id: 12_000_000_000, rng }
    }

    /// A new name for a delivery.
    pub fn guid(&mut self) -> String {
        let mut word = || self.rng.u64(..);
        let (a, b) = (word(), word());
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xffff,
            b >> 48,
            b & 0xffff_ffff_ffff
        )
    }

    #[expect(clippy::too_many_arguments, reason = "each names one part of a delivery, and there are two callers")]
    pub fn enqueue(
        &mut self,
        now: i64,
        repo: i64,
        hook: i64,
        guid: String,
        event: &'static str,
        action: Option<&'static str>,
        payload: Vec<u8>,
    ) {
        if payload.len() <= PAYLOAD_BYTES_MAX {
            let payload = Arc::new(payload);
            self.put(now, Delivery { guid, repo, hook, event, action, payload, again: false, drawn: false });
        }
    }

    fn put(&mut self, due: i64, delivery: Delivery) {
        if self.waiting.len() >= WAITING_MAX {
            self.waiting.pop_first();
        }
        self.next += 1;
        self.waiting.insert((due, self.next), delivery);
    }

    fn prune(&mut self, now: i64) {
        while self.log.front().is_some_and(|logged| now.saturating_sub(logged.at) >= LOGGED) {
            self.log.pop_front();
        }
    }

    /// The next delivery due that is to be sent, or was lost.
    fn take(&mut self, now: i64, mishaps: &mut Mishaps) -> Option<(Delivery, bool)> {
        loop {
            let (place, mut delivery) = self.waiting.pop_first()?;
            if place.0 > now {
                self.waiting.insert(place, delivery);
                return None;
            }
            if std::mem::replace(&mut delivery.drawn, true) {
                return Some((delivery, false));
            }
            let drawn = mishaps.draw(Side::Forge);
            if drawn.lost {
                return Some((delivery, true));
            }
            if drawn.doubled {
                self.put(now, delivery.clone());
            }
            if let Some(delay) = drawn.delay {
                let delay = i64::try_from(delay.as_millis()).unwrap_or(i64::MAX);
                self.put(now.saturating_add(delay), delivery);
                continue;
            }
            if drawn.reordered {
                let next = self.waiting.iter().find(|((due, _), next)| *due <= now && next.hook == delivery.hook);
                let next = next.map(|(place, _)| *place).and_then(|place| self.waiting.remove_entry(&place));
                match next {
                    Some((later, next)) => {
                        self.waiting.insert(place, next);
                        self.waiting.insert(later, delivery);
                    }
                    None => self.put(now.saturating_add(HELD_BACK), delivery),
                }
                continue;
            }
            return Some((delivery, false));
        }
    }
}

impl GithubState {
    pub(in crate::sandbox) fn next_due(&self) -> Option<i64> {
        self.outbox.waiting.keys().next().map(|(due, _)| *due)
    }

    /// Takes out the next delivery that is due.
    pub(in crate::sandbox) fn take_parcel(&mut self, now: i64, mishaps: &mut Mishaps) -> Option<Parcel> {
        loop {
            let (delivery, lost) = self.outbox.take(now, mishaps)?;
            // Those of hooks that are there no more are dropped.
            let hook = self.repos.get(&delivery.repo).and_then(|repo| repo.hooks.get(&delivery.hook));
            let Some(hook) = hook else { continue };
            let request = request(hook, &delivery);
            return Some(Parcel {
                hook: hook.id.cast_unsigned(),
                event: match delivery.action {
                    Some(action) => format!("{}.{action}", delivery.event),
                    None => delivery.event.to_owned(),
                },
                guid: Some(delivery.guid.clone()),
                request,
                ticket: if lost { Ticket::Lost } else { Ticket::Github(Box::new(delivery)) },
            });
        }
    }

    /// Logs how a delivery went. That it failed changes nothing: nothing is sent again by itself.
    pub(in crate::sandbox) fn settle_parcel(&mut self, delivery: Delivery, request: &Request, attempt: Attempt) {
        let took_ms = attempt.ended.saturating_sub(attempt.began);
        let (code, status, got) = match attempt.answer {
            Ok(mut response) => {
                let code = response.status;
                response.body.truncate(ANSWER_BYTES_MAX);
                let fine = (200..300).contains(&code);
                let status = if fine { "OK".to_owned() } else { format!("Invalid HTTP Response: {code}") };
                (code, status, Some(response))
            }
            Err(why) if why == "timed out" => (0, why, None),
            Err(_) => (0, "failed to connect to host".to_owned(), None),
        };
        let hook = self.repos.get_mut(&delivery.repo).and_then(|repo| repo.hooks.get_mut(&delivery.hook));
        if let Some(hook) = hook {
            hook.last = Some((code, status.clone()));
        }
        let (url, sent) = (request.url.clone(), request.headers.clone());
        let outbox = &mut self.outbox;
        outbox.next_id += 1;
        let id = outbox.next_id;
        outbox.prune(attempt.ended);
        if outbox.log.len() >= LOGGED_MAX {
            outbox.log.pop_front();
        }
        outbox.log.push_back(Logged { id, delivery, at: attempt.ended, took_ms, code, status, url, sent, got });
    }

    // ---- requests ----

    pub(super) fn list_deliveries(&mut self, hook: i64, call: &Call<'_>) -> Answer {
        // Whole seconds are exact enough for three days.
        self.outbox.prune(call.act.now);
        let size = call.ask.param("per_page").and_then(|text| text.parse::<usize>().ok()).filter(|size| *size > 0);
        let size = size.unwrap_or(30).min(100);
        let before = call.ask.param("cursor").and_then(|text| text.strip_prefix("v1_")?.parse::<i64>().ok());
        let codes = match call.ask.param("status") {
            Some("success") => 200..400,
            Some("failure") => 400..600,
            _ => 0..u16::MAX,
        };
        let of_hook = self.outbox.log.iter().rev().filter(|logged| logged.delivery.hook == hook);
        let mut older = of_hook
            .filter(|logged| before.is_none_or(|before| logged.id < before))
            .filter(|logged| codes.contains(&logged.code))
            .peekable();
        let mut page = Vec::new();
        let mut last = 0;
        while let Some(logged) = older.next_if(|_| page.len() < size) {
            last = logged.id;
            page.push(logged.summary());
        }
        let more = older.peek().is_some();
        let mut response = json_response(200, Value::Array(page).to_string().into_bytes());
        if more {
            let kept = call.ask.query.iter().filter(|(name, _)| name != "cursor");
            let kept: String = kept.map(|(name, value)| format!("{}={}&", encoded(name), encoded(value))).collect();
            let link = format!("<{}{}?{kept}cursor=v1_{last}>; rel=\"next\"", call.ask.base, call.ask.raw_path);
            response.headers.push(("link".to_owned(), link));
        }
        Ok(response)
    }

    fn logged(&mut self, hook: i64, id: &str, call: &Call<'_>) -> Answer<&Logged> {
        // Whole seconds are exact enough for three days.
        self.outbox.prune(call.act.now);
        let id = id.parse().unwrap_or(0);
        let found = self.outbox.log.iter().find(|logged| logged.id == id && logged.delivery.hook == hook);
        match found {
            Some(logged) => Ok(logged),
            None => not_found(),
        }
    }

    pub(super) fn get_delivery(&mut self, hook: i64, id: &str, call: &Call<'_>) -> Answer {
        let logged = self.logged(hook, id, call)?;
        let mut shown = logged.summary();
        let payload: Value = serde_json::from_slice(&logged.delivery.payload).unwrap_or_default();
        shown["url"] = logged.url.as_str().into();
        shown["request"] = json!({"headers": headers(&logged.sent), "payload": payload});
        shown["response"] = match &logged.got {
            Some(got) => json!({"headers": headers(&got.headers), "payload": String::from_utf8_lossy(&got.body)}),
            None => json!({"headers": null, "payload": null}),
        };
        Ok(json_response(200, shown.to_string().into_bytes()))
    }

    /// Delivers once more, under the same name.
    pub(super) fn deliver_again(&mut self, hook: i64, id: &str, call: &Call<'_>) -> Answer {
        let delivery = self.logged(hook, id, call)?.delivery.clone();
        self.outbox.put(call.act.now, Delivery { again: true, drawn: false, ..delivery });
        Ok(json_response(202, b"{}".to_vec()))
    }
}

impl Logged {
    fn summary(&self) -> Value {
        let Delivery { guid, repo, event, action, again, .. } = &self.delivery;
        json!({
            "id": self.id,
            "guid": guid,
            "delivered_at": instant_ms(self.at),
            "redelivery": again,
            // Seconds, with two digits after the point.
            "duration": f64::from(u32::try_from(self.took_ms / 10).unwrap_or(u32::MAX)) / 100.0,
            "status": self.status,
            "status_code": self.code,
            "event": event,
            "action": action,
            "installation_id": null,
            "repository_id": repo,
            "throttled_at": null,
        })
    }
}

fn headers(all: &[(String, String)]) -> Value {
    Value::Object(all.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect::<Map<_, _>>())
}

/// The request that delivers something to a hook, signed over its exact body.
fn request(hook: &Hook, delivery: &Delivery) -> Request {
    let Config { url, json, secret, .. } = &hook.config;
    let (kind, body) = if *json {
        ("application/json", delivery.payload.to_vec())
    } else {
        let payload = encoded(&String::from_utf8_lossy(&delivery.payload));
        ("application/x-www-form-urlencoded", format!("payload={payload}").into_bytes())
    };
    let mut headers = vec![
        ("accept", "*/*".to_owned()),
        ("content-type", kind.to_owned()),
        ("user-agent", "GitHub-Hookshot/5eed5ee".to_owned()),
        ("x-github-delivery", delivery.guid.clone()),
        ("x-github-event", delivery.event.to_owned()),
        ("x-github-hook-id", hook.id.to_string()),
        ("x-github-hook-installation-target-id", delivery.repo.to_string()),
        ("x-github-hook-installation-target-type", "repository".to_owned()),
    ];
    if let Some(secret) = secret {
        headers.push(("x-hub-signature", format!("sha1={}", sha1_hex(secret, &body))));
        headers.push(("x-hub-signature-256", format!("sha256={}", sha256_hex(secret, &body))));
    }
    post(url, headers, body)
}
