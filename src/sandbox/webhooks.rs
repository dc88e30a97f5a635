//! Sends what the two services tell those who asked for it, and keeps a record of every attempt.
//!
//! What is due lies with each service ([`super::asana`], [`super::github`]); this takes it out under the lock,
//! sends it without the lock, since the receiver may call the sandbox back, and hands the outcome in again.
//! Under simulated time [`Webhooks::deliver_due`] is called whenever deliveries shall go out; in real time a
//! [`Pump`] does it in the background.

mod mishap;
mod pump;
mod sign;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::{Sandbox, State, asana, github};
use crate::model::Side;
use crate::provider::http::{Method, Request, Response, Transport, TransportError};

pub use self::mishap::{Deliveries, Mishap};
pub use self::pump::Pump;

pub(super) use self::mishap::{Drawn, Mishaps};
pub(super) use self::sign::{sha1_hex, sha256_hex};

/// Both services wait this long for an answer.
const ANSWER_WAIT: Duration = Duration::from_secs(10);
/// Deliveries that one call of [`Webhooks::deliver_due`] sends at most: where each calls forth another, it ends.
const AT_ONCE_MAX: usize = 100_000;
/// Attempts kept with their bodies; older ones are forgotten. Some 10 KB each.
const KEPT_MAX: usize = 5_000;

/// How one attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver answered with this status.
    Answered(u16),
    /// No answer came, and why.
    Failed(String),
    /// It was lost on the way and never sent; the service takes it for delivered.
    Lost,
}

/// One attempt to hand something over to a receiver.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Which service sent it.
    pub side: Side,
    /// The hook's gid or id.
    pub hook: String,
    /// `handshake`, `heartbeat` or `events` on Asana's side; `issues.opened`, `ping` … on GitHub's.
    pub event: String,
    /// What GitHub calls the delivery; Asana has no name for it.
    pub guid: Option<String>,
    /// What was sent, its body byte for byte.
    pub request: Request,
    /// When, by the sandbox's clock.
    pub at: Timestamp,
    /// How long the receiver took.
    pub took: Duration,
    /// How it ended.
    pub outcome: Outcome,
}

/// What goes out: the way it goes, what goes wrong with it, and what went.
pub(super) struct Post {
    transport: Option<Arc<dyn Transport>>,
    pub mishaps: Mishaps,
    sent: VecDeque<Sent>,
}

impl Post {
    pub fn new(seed: u64) -> Self {
        Self { transport: None, mishaps: Mishaps::new(seed), sent: VecDeque::new() }
    }

    pub fn note(&mut self, sent: Sent) {
        if self.sent.len() >= KEPT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }
}

/// Something on its way to a receiver.
pub(super) struct Parcel {
    /// The hook's gid or id.
    pub hook: u64,
    pub event: String,
    pub guid: Option<String>,
    pub request: Request,
    pub ticket: Ticket,
}

/// How the service knows what it sent.
pub(super) enum Ticket {
    /// Asana's hook has one delivery out at a time.
    Asana,
    /// What GitHub logs once it went.
    Github(Box<github::Delivery>),
    /// Lost on the way: only the record is to be written.
    Lost,
}

/// What came of sending.
#[derive(Debug)]
pub(super) struct Attempt {
    /// Ms since the epoch.
    pub began: i64,
    pub ended: i64,
    pub answer: Result<Response, String>,
}

impl Attempt {
    pub fn took(&self) -> Duration {
        Duration::from_millis(self.ended.saturating_sub(self.began).try_into().unwrap_or_default())
    }
}

/// The webhooks of both services: how they are sent, and what was sent.
#[derive(Debug, Clone)]
pub struct Webhooks(pub(super) Sandbox);

impl Webhooks {
    /// Sends all deliveries through this from now on. Until one is given no receiver can be reached.
    pub fn send_through(&self, transport: Arc<dyn Transport>) {
        self.0.state().post.transport = Some(transport);
    }

    /// Sends everything that is due at the clock's present time, what that calls forth included, and answers how
    /// many attempts that made (lost ones count). At most 100,000 at a time.
    pub fn deliver_due(&self) -> usize {
        let now = self.0.now();
        let mut count = 0;
        while count < AT_ONCE_MAX && Side::BOTH.into_iter().any(|side| self.0.send_one(side, now)) {
            count += 1;
        }
        count
    }

    /// When the next delivery, retry or heartbeat is due, as far as is known by now; may lie in the past.
    pub fn next_due(&self) -> Option<Timestamp> {
        let state = self.0.state();
        let due = Side::BOTH.into_iter().filter_map(|side| state.next_due(side)).min()?;
        Timestamp::from_millisecond(due).ok()
    }

    /// Sends what is due in the background, in real time, until the value answered is dropped.
    ///
    /// # Errors
    /// Whatever the system says when no thread can be had.
    pub fn pump(&self) -> std::io::Result<Pump> {
        Pump::start(self.0.clone())
    }

    /// The attempts since the last reset, oldest first; the newest 5,000 of them.
    pub fn sent(&self) -> Vec<Sent> {
        self.0.state().post.sent.iter().cloned().collect()
    }

    /// Forgets the attempts so far.
    pub fn reset(&self) {
        self.0.state().post.sent.clear();
    }
}

impl Sandbox {
    /// Sends one delivery of a side that is due at `now`. Answers whether there was one.
    fn send_one(&self, side: Side, now: i64) -> bool {
        let parcel = {
            let state = &mut *self.state();
            match side {
                Side::Tracker => state.asana.take_parcel(now, &mut state.post.mishaps),
                Side::Forge => state.github.take_parcel(now, &mut state.post.mishaps),
            }
        };
        let Some(parcel) = parcel else { return false };
        let Parcel { hook, event, guid, request, ticket, .. } = parcel;
        let (sent, attempt) = match ticket {
            Ticket::Lost => (None, Attempt { began: now, ended: now, answer: Err(String::new()) }),
            ticket => (Some(ticket), self.attempt(side, &request)),
        };
        let state = &mut *self.state();
        let outcome = match (&sent, &attempt.answer) {
            (None, _) => Outcome::Lost,
            (_, Ok(response)) => Outcome::Answered(response.status),
            (_, Err(why)) => Outcome::Failed(why.clone()),
        };
        let (at, took) = (Timestamp::from_millisecond(attempt.began).unwrap_or_default(), attempt.took());
        match sent {
            Some(Ticket::Asana) => state.asana.settle_parcel(hook, &attempt),
            Some(Ticket::Github(delivery)) => state.github.settle_parcel(*delivery, &request, attempt),
            Some(Ticket::Lost) | None => {}
        }
        state.post.note(Sent { side, hook: hook.to_string(), event, guid, request, at, took, outcome });
        true
    }

    /// Sends to a receiver and waits for its answer; no lock is held meanwhile.
    fn attempt(&self, side: Side, request: &Request) -> Attempt {
        let (transport, trouble) = {
            let Post { transport, mishaps, .. } = &mut self.state().post;
            (transport.clone(), mishaps.trouble(side))
        };
        let began = self.now();
        let answer = match (transport, trouble) {
            (None, _) | (_, Some(Mishap::Refused)) => Err("connection refused".to_owned()),
            (Some(transport), trouble) => match transport.send(request, ANSWER_WAIT) {
                Ok(_) if trouble == Some(Mishap::AnswerLost) => Err("connection reset".to_owned()),
                Ok(response) => Ok(response),
                Err(TransportError::NotSent(why) | TransportError::NoAnswer(why)) => Err(why),
                Err(TransportError::TooLarge(_)) => Err("the answer is too large".to_owned()),
                Err(TransportError::Stopped) => Err("connection refused".to_owned()),
            },
        };
        let ended = self.now();
        // Under simulated time a slow receiver moves the clock instead of being cut off by the transport.
        let late = ended.saturating_sub(began) > i64::try_from(ANSWER_WAIT.as_millis()).unwrap_or(i64::MAX);
        Attempt { began, ended, answer: if late { Err("timed out".to_owned()) } else { answer } }
    }

    /// Shakes hands with the target of a hook about to be made.
    pub(super) fn shake(&self, handshake: &asana::Handshake) -> Attempt {
        let request = handshake.request();
        let attempt = self.attempt(Side::Tracker, &request);
        let outcome = match &attempt.answer {
            Ok(response) => Outcome::Answered(response.status),
            Err(why) => Outcome::Failed(why.clone()),
        };
        self.state().post.note(Sent {
            side: Side::Tracker,
            hook: handshake.gid().to_string(),
            event: "handshake".to_owned(),
            guid: None,
            request,
            at: Timestamp::from_millisecond(attempt.began).unwrap_or_default(),
            took: attempt.took(),
            outcome,
        });
        attempt
    }
}

impl State {
    /// When the next delivery of a side is due.
    fn next_due(&self, side: Side) -> Option<i64> {
        match side {
            Side::Tracker => self.asana.next_due(),
            Side::Forge => self.github.next_due(),
        }
    }
}

/// A POST to a receiver.
pub(super) fn post(url: &str, headers: Vec<(&str, String)>, body: Vec<u8>) -> Request {
    let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Request { method: Method::Post, url: url.to_owned(), headers, body }
}

/// What a hook's address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// This machine.
    Loopback,
    /// Elsewhere, by `https` or by `http`.
    Remote { secure: bool },
}

impl Target {
    /// `None` where it is no address of the web at all.
    pub fn of(url: &str) -> Option<Self> {
        let uri: http::Uri = url.parse().ok()?;
        let secure = match uri.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.trim_start_matches('[').trim_end_matches(']');
        let local = host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback() || address.is_unspecified());
        Some(if local { Self::Loopback } else { Self::Remote { secure } })
    }
}
