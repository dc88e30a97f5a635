//! What the provider's own tests share: a transport that answers from a script, and its settings.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::call::Connection;
use super::http::{Request, Response, Transport, TransportError};
use super::pace::Pace;
use crate::clock::{Stop, Timestamp, VirtualClock, lock};
use crate::config::{Network, Secret};
use crate::model::{BySide, Side};

/// The published limits and some everyday numbers.
pub fn network() -> Network {
    Network {
        base_urls: BySide { tracker: "https://asana.test/api/1.0".into(), forge: "https://github.test".into() },
        ca_file: None,
        call_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        answer_bytes_max: 1_000_000,
        asana_per_minute: 150,
        github_creations_per_minute: 80,
        github_creations_per_hour: 500,
        github_points_per_minute: 900,
    }
}

/// What a transport answers.
pub type Answer = Result<Response, TransportError>;

/// How a script finds its answer.
type Rule = Box<dyn Fn(usize, &Request) -> Answer + Send + Sync>;

/// Answers each request by asking a function, and remembers what was asked.
pub struct Script {
    answer: Rule,
    asked: Mutex<Vec<Request>>,
}

impl Script {
    /// Answers by rule: gets the number of the request, from 0, and the request.
    pub fn by(answer: impl Fn(usize, &Request) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { answer: Box::new(answer), asked: Mutex::default() })
    }

    /// Answers in this order; running out fails the test by an answer nobody can like.
    pub fn of(answers: Vec<Answer>) -> Arc<Self> {
        Self::by(move |index, _| answers.get(index).cloned().unwrap_or_else(|| status(418, "the script is over")))
    }

    /// `METHOD path?query` of all that was asked, in order.
    pub fn asked(&self) -> Vec<String> {
        let asked = lock(&self.asked);
        asked.iter().map(|request| format!("{} {}", request.method.as_str(), path(&request.url))).collect()
    }

    /// The JSON bodies of all that was asked.
    pub fn bodies(&self) -> Vec<serde_json::Value> {
        lock(&self.asked).iter().map(|request| serde_json::from_slice(&request.body).unwrap_or_default()).collect()
    }

    /// The value of a header in each request.
    pub fn headers(&self, name: &str) -> Vec<Option<String>> {
        let find = |request: &Request| request.headers.iter().find(|(known, _)| known == name).map(|(_, v)| v.clone());
        lock(&self.asked).iter().map(find).collect()
    }
}

/// The part of an address behind the host.
pub fn path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.find('/').map_or("/", |at| &rest[at..])
}

impl Transport for Script {
    fn send(&self, request: &Request, _deadline: Duration) -> Answer {
        let index = {
            let mut asked = lock(&self.asked);
            asked.push(request.clone());
            asked.len() - 1
        };
        (self.answer)(index, request)
    }
}

/// 200 with a JSON body.
pub fn ok(body: serde_json::Value) -> Answer {
    with(200, &[], body)
}

/// A status with a message both services' style of errors carry.
pub fn status(status: u16, message: &str) -> Answer {
    with(status, &[], serde_json::json!({"message": message, "errors": [{"message": message}]}))
}

/// A status with headers and a JSON body.
pub fn with(status: u16, headers: &[(&str, &str)], body: serde_json::Value) -> Answer {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Ok(Response { status, headers, body: body.to_string().into_bytes() })
}

/// A status with a body that is no JSON.
pub fn raw(status: u16, body: &[u8]) -> Answer {
    Ok(Response { status, headers: Vec::new(), body: body.to_vec() })
}

/// When every test begins.
pub fn start() -> Timestamp {
    "2026-11-20T12:00:00Z".parse().expect("a moment")
}

/// A connection to a side over `transport`, on a clock that only moves when slept on.
pub fn connection(side: Side, transport: Arc<dyn Transport>) -> (Connection, Arc<VirtualClock>) {
    let clock = Arc::new(VirtualClock::starting_at(start()));
    let network = network();
    let pace = match side {
        Side::Tracker => Pace::asana(&network),
        Side::Forge => Pace::github(&network),
    };
    let connection = Connection {
        transport,
        base_url: network.base_urls[side].clone(),
        token: Secret::new("hidden-token-42".into()),
        clock: clock.clone(),
        stop: Stop::default(),
        pace: Arc::new(pace),
        call_timeout: network.call_timeout,
        seed: 7,
    };
    (connection, clock)
}
