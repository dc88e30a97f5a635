//! Carries one call to its end: paced, counted, repeated where that is safe, every failure sorted.
//!
//! | what came back | a read | a write |
//! | --- | --- | --- |
//! | not sent | again, then `Unreachable` | again, then `Unreachable` (not done) |
//! | no answer, 5xx | again, then `Unreachable` | `Unreachable` (maybe done), never again |
//! | a limit | waits as told if short, else `Busy` | the same: the service refused it, nothing was done |
//! | (the breaker is open) | `Resting`, not sent | `Resting`, not sent |
//! | its turn came late | | an edit is `Stale`: what it was decided from is to be read again |
//! | 401, 403 | `Denied` | `Denied`; about one Asana task `Refused` |
//! | 404, 410 | `Denied` for a project or repository | `Gone` for an item |
//! | other 4xx | `Refused` | `Refused` |
//! | too large, no JSON | `Garbled` | `Garbled` (maybe done) |

mod complaint;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;

use self::complaint::Complaint;
use super::breaker::{Shown, Trouble};
use super::http::{Method, Request, Response, Transport, TransportError, USER_AGENT};
use super::json;
use super::pace::{Denied, Pace, Ticket, Weight};
use super::{Halt, ProviderError, Requests, Sink};
use crate::clock::{Clock, Stop, Stopwatch, Timestamp, lock, since};
use crate::config::Secret;
use crate::model::Item;

/// How a client reaches its service. Cheap to clone; what is behind the `Arc`s is shared.
#[derive(Clone)]
pub struct Connection {
    /// Carries the requests.
    pub transport: Arc<dyn Transport>,
    /// Where the service is, without a slash at the end: `https://api.github.com`.
    pub base_url: String,
    /// The credential.
    pub token: Secret,
    /// Time and waiting.
    pub clock: Arc<dyn Clock>,
    /// Cuts waits short.
    pub stop: Stop,
    /// The pacing of this credential and its breaker; all routes that use it share one.
    pub pace: Arc<Pace>,
    /// Longest time for one request and its whole answer.
    pub call_timeout: Duration,
    /// The seed of the jitter in waits.
    pub seed: u64,
}

/// How often a read is tried in all.
const TRIES: u32 = 4;
/// The wait before the second try is drawn from up to this; doubled each time.
const BACKOFF: Duration = Duration::from_millis(500);
/// The longest one call waits in all, for its turn, for limits and between tries; longer is `Busy`.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// The wait after a limit that names none (GitHub, rate limits for the REST API: at least a minute, then exponential).
const LIMIT_WAIT: Duration = Duration::from_secs(60);
/// How long an edit may wait between the read that it was decided from and its departure; then it is `Stale`.
const FRESH_MAX: Duration = Duration::from_secs(3);
/// Longest message of a service that is shown, in characters.
const MESSAGE_CHARS_MAX: usize = 300;
/// The longest wait believed of a service.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Whose manners apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    Asana,
    Github,
}

/// What a call is about, which decides what a 403 or 404 means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// One task or issue: its trouble is its own.
    Item,
    /// The project, the repository, the account: trouble there stops the side.
    Whole,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// What is being done to what, in words: `read asana:1201`.
    pub doing: String,
    pub method: Method,
    /// The absolute address.
    pub url: String,
    pub body: Option<serde_json::Value>,
    pub weight: Weight,
    pub about: About,
    /// Statuses besides 2xx and 304 that the caller understands itself.
    pub accept: &'a [u16],
    /// The ETag of what is known already.
    pub etag: Option<&'a str>,
    /// Whether it changes what was read just before: it must not leave much later.
    pub edits: bool,
}

impl<'a> Ask<'a> {
    /// A read of something whole.
    pub fn read(doing: impl Into<String>, url: String) -> Self {
        Self {
            doing: doing.into(),
            method: Method::Get,
            url,
            body: None,
            weight: Weight::Read,
            about: About::Whole,
            accept: &[],
            etag: None,
            edits: false,
        }
    }

    /// A write to, or a creation of, an item.
    pub fn write(doing: impl Into<String>, method: Method, url: String, body: serde_json::Value) -> Self {
        let weight = if method == Method::Post { Weight::Create } else { Weight::Write };
        Self { method, body: Some(body), weight, ..Self::read(doing, url) }
    }

    pub fn about_item(self) -> Self {
        Self { about: About::Item, ..self }
    }

    pub fn accept(self, accept: &'a [u16]) -> Self {
        Self { accept, ..self }
    }

    /// It changes what was read just before.
    pub fn editing(self) -> Self {
        Self { edits: true, ..self }
    }

    pub fn weighing(self, weight: Weight) -> Self {
        Self { weight, ..self }
    }
}

/// Sends the calls of one client.
pub struct Caller {
    service: Service,
    pub connection: Connection,
    chance: Mutex<fastrand::Rng>,
    sent: AtomicU64,
    unchanged: AtomicU64,
    writes: AtomicU64,
}

impl Caller {
    pub fn new(service: Service, connection: Connection) -> Self {
        let chance = Mutex::new(fastrand::Rng::with_seed(connection.seed));
        let (sent, unchanged, writes) = Default::default();
        Self { service, connection, chance, sent, unchanged, writes }
    }

    pub fn requests(&self) -> Requests {
        Requests {
            sent: self.sent.load(Ordering::Relaxed),
            unchanged: self.unchanged.load(Ordering::Relaxed),
            writes: self.writes.load(Ordering::Relaxed),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.connection.clock.now()
    }

    /// Whether a long piece of work should end: between the pages of a listing, never inside a repair.
    pub fn stopped(&self) -> Result<(), ProviderError> {
        if self.connection.stop.raised() { Err(ProviderError::Stopped) } else { Ok(()) }
    }

    /// Times what an edit is decided from.
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch::start(&*self.connection.clock)
    }

    /// Whether an edit that was decided from what was known when `read` began may still leave.
    ///
    /// # Errors
    /// `Stale` when what came between took too long.
    pub fn fresh(&self, read: Stopwatch, doing: &str) -> Result<(), ProviderError> {
        if read.elapsed(&*self.connection.clock) <= FRESH_MAX {
            Ok(())
        } else {
            Err(ProviderError::Stale { doing: doing.to_owned() })
        }
    }

    /// Waits, or answers that the process is shutting down.
    pub fn pause(&self, wait: Duration) -> Result<(), ProviderError> {
        if self.connection.clock.sleep(wait, &self.connection.stop) { Ok(()) } else { Err(ProviderError::Stopped) }
    }

    /// Sends a call and reads its answer as JSON, together with the answer itself.
    pub fn get<T: DeserializeOwned>(&self, ask: &Ask<'_>) -> Result<(T, Response), ProviderError> {
        let response = self.send(ask)?;
        Ok((self.decode(ask, &response)?, response))
    }

    /// Reads an answer as JSON.
    pub fn decode<T: DeserializeOwned>(&self, ask: &Ask<'_>, response: &Response) -> Result<T, ProviderError> {
        json::decode(&response.body).map_err(|why| garbled(ask, why))
    }

    /// Sends a call until it is answered for good: 2xx, 304, or a status the caller accepts.
    pub fn send(&self, ask: &Ask<'_>) -> Result<Response, ProviderError> {
        let request = self.request(ask);
        let Connection { clock, stop, pace, .. } = &self.connection;
        let mut waited = Duration::ZERO;
        let mut limited = 0;
        let mut tries = 0;
        let mut told = false;
        let wait_max = if ask.edits { FRESH_MAX } else { WAIT_MAX };
        let began = Stopwatch::start(&**clock);
        loop {
            if ask.edits {
                // A try that did not get through may have taken long itself.
                self.fresh(began, &ask.doing)?;
            }
            let ticket = match pace.admit(ask.weight, &**clock, stop, wait_max.saturating_sub(waited)) {
                Ok(ticket) => ticket,
                Err(Denied::Stopped) => return Err(ProviderError::Stopped),
                // The wait is the same, but what it was decided from is to be read again after it.
                Err(Denied::Later(after)) if ask.edits && waited.saturating_add(after) <= WAIT_MAX => {
                    self.pause(after)?;
                    return Err(ProviderError::Stale { doing: ask.doing.clone() });
                }
                Err(Denied::Later(after)) => {
                    return Err(ProviderError::Busy { doing: ask.doing.clone(), retry_after: Some(after) });
                }
                Err(Denied::Resting { until, why }) => {
                    return Err(ProviderError::Resting { doing: ask.doing.clone(), why, until });
                }
            };
            waited += ticket.waited;
            let answer = self.connection.transport.send(&request, self.connection.call_timeout);
            self.count(ask.method, &answer);
            tries += 1;
            let limit = answer.as_ref().ok().and_then(|response| self.limit(response, limited));
            self.show(ticket, ask, &answer, limit, &mut told);
            let (why, maybe_done, after) = match answer {
                Ok(response) => {
                    if let Some(quiet) = limit {
                        pace.hold(&**clock, quiet);
                        limited += 1;
                        if waited.saturating_add(quiet) > WAIT_MAX || limited >= TRIES {
                            return Err(ProviderError::Busy { doing: ask.doing.clone(), retry_after: Some(quiet) });
                        }
                        log::warn!(
                            "{}: {} asks to slow down; nothing is sent for {} s",
                            ask.doing,
                            self.service_name(),
                            quiet.as_secs()
                        );
                        continue;
                    }
                    if let Some(quiet) = self.spent(&response) {
                        pace.hold(&**clock, quiet);
                    }
                    match response.status {
                        200..=299 | 304 => return Ok(response),
                        status if ask.accept.contains(&status) => return Ok(response),
                        // 424 stands in Asana's OpenAPI where every other operation has 429.
                        status @ (500..=599 | 408 | 424) => {
                            let after = retry_after(&response, self.now());
                            (format!("status {status} {}", self.message(&response)), true, after)
                        }
                        _ => return Err(self.refusal(ask, &response)),
                    }
                }
                Err(TransportError::Stopped) => return Err(ProviderError::Stopped),
                Err(TransportError::TooLarge(limit)) => {
                    return Err(garbled(ask, format!("it is larger than {limit} bytes")));
                }
                Err(TransportError::NotSent(why)) => (why, false, None),
                Err(TransportError::NoAnswer(why)) => (why, true, None),
            };
            let maybe_done = maybe_done && ask.method.writes();
            let wait = self.backoff(tries).max(after.unwrap_or_default());
            if maybe_done || tries >= TRIES || waited.saturating_add(wait) > WAIT_MAX {
                let why = self.shown(&why);
                return Err(ProviderError::Unreachable { doing: ask.doing.clone(), why, maybe_done });
            }
            log::debug!("{}: {why}; trying again in {} ms", ask.doing, wait.as_millis());
            self.pause(wait)?;
            waited += wait;
        }
    }

    /// Tells the breaker what an answer shows of the service. What is wrong with one item is not the service's failure,
    /// and neither is our own stop.
    ///
    /// A read about one item that reached the service and failed is told once, whatever its tries: the service may be
    /// unable to serve that item, and two such items among others would keep the whole side from being asked. It may
    /// also be down: several items in a row, or one listing, show that soon enough. What never left shows nothing of
    /// the item and is told each time, and so is what a probe met: others wait for that.
    fn show(
        &self,
        ticket: Ticket<'_>,
        ask: &Ask<'_>,
        answer: &Result<Response, TransportError>,
        limit: Option<Duration>,
        told: &mut bool,
    ) {
        let failed = match (answer, limit) {
            (_, Some(quiet)) => Some((Trouble::Limit, format!("told to wait {} s", quiet.as_secs()))),
            (Ok(response), None) if ask.accept.contains(&response.status) => None,
            (Ok(response), None) => match response.status {
                500..=599 | 408 | 424 => Some((Trouble::Outage, format!("status {}", response.status))),
                401 => Some((Trouble::Token, format!("status 401 {}", self.message(response)))),
                _ => None,
            },
            (Err(TransportError::NotSent(why) | TransportError::NoAnswer(why)), None) => {
                Some((Trouble::Outage, self.shown(why)))
            }
            (Err(TransportError::TooLarge(_)), None) => None,
            (Err(TransportError::Stopped), None) => return,
        };
        let of_the_item = ask.about == About::Item
            && !ask.method.writes()
            && matches!(failed, Some((Trouble::Outage, _)))
            && !matches!(answer, Err(TransportError::NotSent(_)));
        if of_the_item && std::mem::replace(told, true) && !ticket.probes() {
            return;
        }
        let chance = lock(&self.chance).f64();
        let shown = failed.as_ref().map_or(Shown::Good, |(trouble, why)| Shown::Failed(*trouble, why));
        ticket.shown(&*self.connection.clock, shown, chance);
    }

    fn request(&self, ask: &Ask<'_>) -> Request {
        let mut headers = vec![
            ("authorization".to_owned(), format!("Bearer {}", self.connection.token.reveal())),
            ("user-agent".to_owned(), USER_AGENT.to_owned()),
        ];
        let accept = match self.service {
            Service::Asana => "application/json",
            Service::Github => {
                headers.push(("x-github-api-version".to_owned(), "2022-11-28".to_owned()));
                "application/vnd.github+json"
            }
        };
        headers.push(("accept".to_owned(), accept.to_owned()));
        if ask.body.is_some() {
            headers.push(("content-type".to_owned(), "application/json; charset=UTF-8".to_owned()));
        }
        if let Some(etag) = ask.etag {
            headers.push(("if-none-match".to_owned(), etag.to_owned()));
        }
        let body = ask.body.as_ref().map(|body| body.to_string().into_bytes()).unwrap_or_default();
        Request { method: ask.method, url: ask.url.clone(), headers, body }
    }

    fn count(&self, method: Method, answer: &Result<Response, TransportError>) {
        if matches!(answer, Err(TransportError::NotSent(_) | TransportError::Stopped)) {
            return;
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        if method.writes() {
            self.writes.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(answer, Ok(response) if response.status == 304) {
            self.unchanged.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long to be quiet, if this answer says that a limit was met. GitHub says so with 403 as well as
    /// with 429, and a 403 is also "no permission": headers and message tell them apart.
    fn limit(&self, response: &Response, limited: u32) -> Option<Duration> {
        let told = || retry_after(response, self.now());
        let unnamed = LIMIT_WAIT.saturating_mul(1 << limited.min(6));
        match (self.service, response.status) {
            (_, 429) => Some(told().or_else(|| self.spent(response)).unwrap_or(unnamed)),
            (Service::Github, 403) => {
                let message = String::from_utf8_lossy(&response.body).to_ascii_lowercase();
                let says_so = ["rate limit", "abuse detection", "temporarily blocked from content creation"]
                    .iter()
                    .any(|words| message.contains(words));
                match (told(), self.spent(response)) {
                    (Some(quiet), _) | (None, Some(quiet)) => Some(quiet),
                    (None, None) => says_so.then_some(unnamed),
                }
            }
            _ => None,
        }
    }

    /// How long until GitHub's hourly budget is new, if this answer used the last of it.
    fn spent(&self, response: &Response) -> Option<Duration> {
        if self.service != Service::Github || response.header("x-ratelimit-remaining")?.trim() != "0" {
            return None;
        }
        let reset = Timestamp::from_second(response.header("x-ratelimit-reset")?.trim().parse().ok()?).ok()?;
        // Measured on the service's own clock, so that ours may be wrong. One second for its rounding.
        let now = server_time(response).unwrap_or_else(|| self.now());
        Some(since(now, reset).saturating_add(Duration::from_secs(1)).min(RETRY_AFTER_MAX))
    }

    /// A wait before try number `tries + 1`, drawn evenly from nothing to the doubled backoff ("full jitter").
    fn backoff(&self, tries: u32) -> Duration {
        let most = BACKOFF.saturating_mul(1 << tries.saturating_sub(1).min(6));
        most.mul_f64(lock(&self.chance).f64())
    }

    /// Sorts an answer that is neither success nor trouble of the service's own.
    fn refusal(&self, ask: &Ask<'_>, response: &Response) -> ProviderError {
        let doing = ask.doing.clone();
        let said = self.message(response);
        let service = self.service_name();
        match (response.status, ask.about) {
            (401, _) => ProviderError::Denied {
                doing,
                why: format!("{service} does not accept the token {said}; give a new one"),
            },
            // Guests and private tasks: about one task it says nothing of the others.
            (403, About::Item) if self.service == Service::Asana || said.contains("locked") => {
                ProviderError::Refused { doing, status: 403, why: said }
            }
            (403, _) => {
                ProviderError::Denied { doing, why: format!("{service} says the token may not do this {said}") }
            }
            (404, About::Whole) => ProviderError::Denied {
                doing,
                why: format!(
                    "{service} shows nothing there to this token {said}; check the name and what the token may see"
                ),
            },
            (410, About::Whole) => ProviderError::Denied { doing, why: format!("{service} answers {said}") },
            (410, About::Item) if said.contains("disabled") => ProviderError::Denied { doing, why: said },
            (404 | 410, About::Item) => ProviderError::Gone { doing },
            (451, _) => ProviderError::Denied { doing, why: format!("{service} is not allowed to answer {said}") },
            (status @ 400..=499, _) => ProviderError::Refused { doing, status, why: said },
            (status, _) => garbled(ask, format!("status {status} is not expected here")),
        }
    }

    /// The service's own words about a failure, cut short, in parentheses; a body that is no such
    /// message says nothing.
    pub fn message(&self, response: &Response) -> String {
        let words = match json::decode::<Complaint>(&response.body) {
            Ok(complaint) => complaint.words(),
            Err(_) if response.body.is_empty() => "no message".to_owned(),
            Err(why) => format!("no message: {why}"),
        };
        format!("({})", self.shown(&words))
    }

    /// Text from outside made fit to be shown: one line, short, never the token.
    fn shown(&self, text: &str) -> String {
        let token = self.connection.token.reveal();
        let text = if token.is_empty() { text.to_owned() } else { text.replace(token, "…") };
        let line = text.split(|symbol: char| symbol.is_control()).filter(|part| !part.is_empty());
        let line = line.collect::<Vec<_>>().join(" ");
        if line.chars().count() <= MESSAGE_CHARS_MAX {
            line
        } else {
            line.chars().take(MESSAGE_CHARS_MAX).chain(['…']).collect()
        }
    }

    const fn service_name(&self) -> &'static str {
        match self.service {
            Service::Asana => "Asana",
            Service::Github => "GitHub",
        }
    }
}

/// Gives items to the engine's sink, page by page.
pub fn pour(sink: Sink<'_>) -> impl FnMut(Vec<Item>) -> Result<(), ProviderError> {
    |items| if items.is_empty() { Ok(()) } else { sink(items).map_err(|Halt| ProviderError::Halted) }
}

/// The answer to a call could not be understood.
pub fn garbled(ask: &Ask<'_>, why: impl Into<String>) -> ProviderError {
    ProviderError::Garbled { doing: ask.doing.clone(), why: why.into() }
}

/// The wait an answer names in seconds or as a date, from its own clock if it shows one.
fn retry_after(response: &Response, now: Timestamp) -> Option<Duration> {
    let text = response.header("retry-after")?.trim();
    let wait = match text.parse::<f64>() {
        Ok(seconds) if seconds.is_finite() && seconds >= 0.0 => {
            Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64()))
        }
        _ => since(server_time(response).unwrap_or(now), http_date(text)?),
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// What the service's clock showed when it answered; whole seconds.
pub fn server_time(response: &Response) -> Option<Timestamp> {
    http_date(response.header("date")?)
}

fn http_date(text: &str) -> Option<Timestamp> {
    jiff::fmt::rfc2822::parse(text.trim()).ok().map(|date| date.timestamp())
}

/// `text` made fit to stand in a query or a path, as RFC 3986 §2.1 has it.
pub fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests;
