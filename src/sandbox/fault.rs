//! What can be made to go wrong, when, and how often.

use std::time::Duration;

use fastrand::Rng;
use serde_json::Value;

use super::web::{http_date, json_response};
use super::{Exchange, Sandbox, asana, github};
use crate::model::Side;
use crate::provider::http::{Method, Response};

/// No fault makes a larger body than this in memory.
const BODY_BYTES_MAX: usize = 512 << 20;

/// Which limit of GitHub's an answer speaks of. Asana has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The hourly one: `x-ratelimit-remaining: 0` and a reset time.
    Primary,
    /// The one against bursts: only the message tells, and `retry-after` where it is sent.
    Secondary,
}

/// How a listing never ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loop {
    /// The next page is this page, under the same token.
    Same,
    /// The next page is this page, under another token each time.
    Fresh,
}

/// One thing that goes wrong with one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// A limit is said to be met, with `retry_after` seconds if given; `status` 403 or 429 (Asana: always 429).
    Busy {
        /// Which limit.
        limit: Limit,
        /// GitHub's status code for it.
        status: u16,
        /// Seconds named, or none.
        retry_after: Option<u64>,
    },
    /// A 5xx; with `done`, after the request took effect.
    Broken {
        /// 500, 502, 503 or 504.
        status: u16,
        /// Whether the request took effect.
        done: bool,
    },
    /// No connection: certainly no effect.
    Refused,
    /// The connection is cut before the request takes effect.
    CutBefore,
    /// The connection is cut after the request took effect: the answer is lost.
    CutAfter,
    /// The answer's body ends in the middle.
    Truncated,
    /// The answer's body is bytes that are neither JSON nor UTF-8.
    Garbage,
    /// The answer is a page of HTML with status 200.
    Html,
    /// The answer is JSON whose values are of other types than promised.
    WrongTypes,
    /// The answer nests this deep.
    Deep(usize),
    /// The answer is JSON of this many bytes.
    Huge(u64),
    /// The answer is this many bytes once unpacked, and very few before.
    GzipBomb(u64),
    /// A page of a listing misses this many of its items.
    ShortListing(usize),
    /// A replica that is this far behind answers.
    Stale(Duration),
    /// The events token is said to be too old.
    EventsExpired,
    /// The next page of a listing is the same page again, without end.
    PageLoop(Loop),
    /// Access is said to be lost: Asana 403, GitHub 404.
    Hidden,
    /// Access is said to be lost: 403 on both sides.
    Forbidden,
    /// The token is said to be no good: 401.
    Unauthorized,
    /// The answer takes this long.
    Delay(Duration),
}

/// Which requests a fault is for; everything that is not said fits all.
#[derive(Debug, Clone, Default)]
pub struct When {
    side: Option<Side>,
    method: Option<Method>,
    writes: Option<bool>,
    path: Option<String>,
}

impl When {
    /// Any request to either side.
    pub fn any() -> Self {
        Self::default()
    }

    /// Any request to one side.
    pub fn side(side: Side) -> Self {
        Self { side: Some(side), ..Self::default() }
    }

    /// Only requests of this method.
    #[must_use]
    pub fn method(self, method: Method) -> Self {
        Self { method: Some(method), ..self }
    }

    /// Only requests that write.
    #[must_use]
    pub fn writes(self) -> Self {
        Self { writes: Some(true), ..self }
    }

    /// Only requests that read.
    #[must_use]
    pub fn reads(self) -> Self {
        Self { writes: Some(false), ..self }
    }

    /// Only requests whose path and query contain this text.
    #[must_use]
    pub fn path(self, part: impl Into<String>) -> Self {
        Self { path: Some(part.into()), ..self }
    }

    fn fits(&self, side: Side, method: Method, path: &str) -> bool {
        self.side.is_none_or(|wanted| wanted == side)
            && self.method.is_none_or(|wanted| wanted == method)
            && self.writes.is_none_or(|wanted| wanted == method.writes())
            && self.path.as_ref().is_none_or(|part| path.contains(part.as_str()))
    }
}

/// How often a fault still happens.
#[derive(Debug, Clone, Copy)]
enum Often {
    Next(u64),
    Chance(f64),
}

#[derive(Debug)]
struct Rule {
    when: When,
    often: Often,
    fault: Fault,
}

/// The rules that stand.
#[derive(Debug, Default)]
pub(super) struct FaultState {
    rules: Vec<Rule>,
    hits: u64,
}

impl FaultState {
    /// The faults of one request: all rules that fit it and hit, in the order in which they were made.
    pub fn draw(&mut self, side: Side, method: Method, path: &str, rng: &mut Rng) -> Vec<Fault> {
        let mut drawn = Vec::new();
        for rule in &mut self.rules {
            if !rule.when.fits(side, method, path) || !applies(&rule.fault, method, path) {
                continue;
            }
            let hit = match &mut rule.often {
                Often::Next(left) => {
                    let hit = *left > 0;
                    *left = left.saturating_sub(1);
                    hit
                }
                Often::Chance(probability) => rng.f64() < *probability,
            };
            if hit {
                drawn.push(rule.fault.clone());
            }
        }
        self.rules.retain(|rule| !matches!(rule.often, Often::Next(0)));
        self.hits += drawn.len() as u64;
        drawn
    }
}

/// Whether a fault means anything to such a request: listings are told by their last word.
fn applies(fault: &Fault, method: Method, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    match fault {
        Fault::ShortListing(_) | Fault::PageLoop(_) => {
            let lists = ["tasks", "issues", "stories", "comments", "tags", "labels", "sections", "subtasks", "pulls"];
            method == Method::Get && lists.contains(&last)
        }
        Fault::Stale(_) => method == Method::Get,
        Fault::EventsExpired => last == "events",
        _ => true,
    }
}

/// How the faults of one request bend its answer; the services look at this while they answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Bend {
    /// Items a listing's page misses.
    pub missing: usize,
    pub page_loop: Option<Loop>,
    pub events_expired: bool,
    /// How far behind the replica is that answers.
    pub lag: Duration,
}

impl Bend {
    pub fn of(faults: &[Fault]) -> Self {
        let mut bend = Self::default();
        for fault in faults {
            match fault {
                Fault::ShortListing(missing) => bend.missing += missing,
                Fault::PageLoop(kind) => bend.page_loop = Some(*kind),
                Fault::EventsExpired => bend.events_expired = true,
                Fault::Stale(lag) => bend.lag = bend.lag.max(*lag),
                _ => {}
            }
        }
        bend
    }
}

/// Switches faults on and off.
#[derive(Debug, Clone)]
pub struct Faults(pub(super) Sandbox);

impl Faults {
    /// The next `count` requests that fit go wrong.
    pub fn next(&self, count: u64, when: When, fault: Fault) {
        self.add(Rule { when, often: Often::Next(count), fault });
    }

    /// Each request that fits goes wrong with this probability, 0 to 1, until cleared.
    pub fn chance(&self, probability: f64, when: When, fault: Fault) {
        self.add(Rule { when, often: Often::Chance(probability), fault });
    }

    fn add(&self, rule: Rule) {
        self.0.state().faults.rules.push(rule);
    }

    /// Switches all off.
    pub fn clear(&self) {
        self.0.state().faults.rules.clear();
    }

    /// How many faults have happened.
    pub fn hits(&self) -> u64 {
        self.0.state().faults.hits
    }
}

/// What a fault answers instead of the service, before anything took effect.
pub(super) fn before(side: Side, fault: &Fault, now: i64) -> Option<Exchange> {
    let response = match (fault, side) {
        (Fault::Refused, _) => return Some(Exchange::Refused),
        (Fault::CutBefore, _) => return Some(Exchange::Cut),
        (Fault::Broken { status, done: false }, _) => broken(side, *status),
        (Fault::Busy { retry_after, .. }, Side::Tracker) => asana::throttled(*retry_after),
        (Fault::Busy { limit, status, retry_after }, Side::Forge) => {
            let mut response = github::limited(*limit, *status, *retry_after, 1);
            let (remaining, reset) = match limit {
                Limit::Primary => (0, now / 1000 + retry_after.map_or(60, u64::cast_signed)),
                Limit::Secondary => (4000, now / 1000 + 1800),
            };
            for (name, value) in [
                ("x-ratelimit-limit", 5000),
                ("x-ratelimit-remaining", remaining),
                ("x-ratelimit-used", 5000 - remaining),
                ("x-ratelimit-reset", reset),
            ] {
                response.headers.push((name.to_owned(), value.to_string()));
            }
            response
        }
        (Fault::Hidden | Fault::Forbidden, Side::Tracker) => {
            asana::refusal(403, "You do not have access to this project.")
        }
        (Fault::Hidden, Side::Forge) => github::refusal(404, "Not Found"),
        (Fault::Forbidden, Side::Forge) => github::refusal(403, "Resource not accessible by personal access token"),
        (Fault::Unauthorized, Side::Tracker) => asana::refusal(401, "Not Authorized"),
        (Fault::Unauthorized, Side::Forge) => github::refusal(401, "Bad credentials"),
        _ => return None,
    };
    Some(Exchange::Answer(dated(response, now)))
}

fn dated(mut response: Response, now: i64) -> Response {
    response.headers.push(("date".to_owned(), http_date(now)));
    response
}

/// What faults make of the service's answer, after the request took effect.
pub(super) fn after(side: Side, faults: &[Fault], mut response: Response, rng: &mut Rng) -> Exchange {
    for fault in faults {
        match fault {
            Fault::CutAfter => return Exchange::Cut,
            Fault::Broken { status, done: true } => response = broken(side, *status),
            Fault::GzipBomb(bytes) => return Exchange::Bomb(*bytes),
            Fault::Truncated => response.body.truncate(response.body.len() / 2),
            Fault::Garbage => response.body = (0..200).map(|_| rng.u8(128..)).collect(),
            Fault::Html => {
                response = Response {
                    status: 200,
                    headers: vec![("content-type".to_owned(), "text/html".to_owned())],
                    body: b"<!DOCTYPE html><html><head><title>Please sign in</title></head><body>...</body></html>"
                        .to_vec(),
                };
            }
            Fault::WrongTypes => {
                if let Ok(mut body) = serde_json::from_slice::<Value>(&response.body) {
                    mistype(&mut body, rng);
                    response.body = body.to_string().into_bytes();
                }
            }
            Fault::Deep(levels) => response.body = "[".repeat(*levels).into_bytes(),
            Fault::Huge(bytes) => response = huge(*bytes),
            _ => {}
        }
    }
    Exchange::Answer(response)
}

/// A 5xx as each service has them: JSON for its own, a page for those of the machines before it.
fn broken(side: Side, status: u16) -> Response {
    let (kind, body) = match (side, status) {
        (Side::Tracker, 500) => (
            "application/json; charset=UTF-8",
            r#"{"errors":[{"message":"Server Error","phrase":"6 sad squid snuggle softly"}]}"#.to_owned(),
        ),
        (Side::Forge, 500) => ("application/json; charset=utf-8", r#"{"message":"Server Error"}"#.to_owned()),
        _ => ("text/html", format!("<html><head><title>{status}</title></head><body>upstream trouble</body></html>")),
    };
    Response { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body: body.into_bytes() }
}

/// JSON of about this many bytes.
pub(super) fn huge(bytes: u64) -> Response {
    let size = usize::try_from(bytes).unwrap_or(usize::MAX).min(BODY_BYTES_MAX);
    let mut body = Vec::with_capacity(size + 16);
    body.extend_from_slice(b"{\"data\":\"");
    body.resize(size.max(9), b'x');
    body.extend_from_slice(b"\"}");
    json_response(200, body)
}

/// Gives values other types than they had: every value may be hit, at least one is.
fn mistype(body: &mut Value, rng: &mut Rng) {
    // Bodies here are our own and a few levels deep; a stack of places replaces recursion all the same.
    let mut places: Vec<String> = Vec::new();
    let mut open = vec![(String::new(), &*body)];
    while let Some((path, value)) = open.pop() {
        match value {
            Value::Object(fields) => open.extend(
                fields
                    .iter()
                    .map(|(name, value)| (format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), value)),
            ),
            Value::Array(items) => {
                open.extend(items.iter().enumerate().map(|(at, value)| (format!("{path}/{at}"), value)));
            }
            _ => {}
        }
        if !path.is_empty() {
            places.push(path);
        }
    }
    rng.shuffle(&mut places);
    let hits = (places.len() / 10).max(1);
    for path in places.into_iter().take(hits) {
        if let Some(value) = body.pointer_mut(&path) {
            *value = match value {
                Value::String(_) => Value::from(rng.i64(..)),
                Value::Number(_) => Value::from(vec!["nine"]),
                Value::Bool(_) => Value::from("perhaps"),
                Value::Null => Value::from(-1.5),
                Value::Array(_) => serde_json::json!({"0": null}),
                Value::Object(_) => Value::from("object"),
            };
        }
    }
}
