//! What the listener serves, by path: deliveries, the admin API, and two questions about the process's health.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::Service;
use super::api::Api;
use super::message::{Admission, Answer, Head, Pace, Request};
use super::webhooks::Webhooks;
use crate::workshop::Present;

/// Everything behind the listener.
pub struct Front {
    present: Present,
    webhooks: Arc<Webhooks>,
    api: Api,
    /// Whether the routes are kept in step: raised when the schedule stands.
    ready: Arc<AtomicBool>,
}

/// Where a path leads.
enum Way<'a> {
    Health,
    Ready,
    Webhook(crate::model::Side, Option<&'a str>),
    Api,
    Nowhere,
}

impl Front {
    /// Puts it together.
    pub const fn new(present: Present, webhooks: Arc<Webhooks>, api: Api, ready: Arc<AtomicBool>) -> Self {
        Self { present, webhooks, api, ready }
    }

    fn way(path: &str) -> Way<'_> {
        match path {
            "/health" => Way::Health,
            "/ready" => Way::Ready,
            _ if path == "/api" || path.starts_with("/api/") => Way::Api,
            _ => Webhooks::finds(path).map_or(Way::Nowhere, |(side, token)| Way::Webhook(side, token)),
        }
    }

    /// Whether the database answers; says nothing of what it holds.
    fn health(&self, request: &Request, ready: bool) -> Answer {
        let works = self.present.get();
        let database = match works.store.ping() {
            Ok(()) => true,
            Err(error) => {
                log::warn!(request = request.head.id.as_str(); "health: {error}");
                false
            }
        };
        let good = database && ready && !works.stop.raised();
        let word = |good| if good { "ok" } else { "unavailable" };
        let status = if good { 200 } else { 503 };
        Answer::json(status, &json!({ "status": word(good), "database": word(database) }))
    }
}

impl Service for Front {
    fn admit(&self, head: &Head) -> Result<Admission, Answer> {
        match Self::way(&head.path) {
            Way::Health | Way::Ready => match head.method.as_str() {
                "GET" | "HEAD" => Ok(Admission { body_bytes_max: 0, pace: Pace::Quick }),
                _ => Err(Answer::error(405, "method_not_allowed", "it is asked with GET", &head.id)
                    .with("Allow", "GET, HEAD")),
            },
            Way::Webhook(side, _) => self.webhooks.admit(side, head),
            Way::Api => self.api.admit(head),
            Way::Nowhere => Err(nothing(head)),
        }
    }

    fn answer(&self, request: Request) -> Answer {
        match Self::way(&request.head.path) {
            Way::Health => self.health(&request, true),
            Way::Ready => self.health(&request, self.ready.load(Ordering::Relaxed)),
            Way::Webhook(side, token) => self.webhooks.answer(side, token, &request),
            Way::Api => self.api.answer(&request),
            Way::Nowhere => nothing(&request.head),
        }
    }
}

fn nothing(head: &Head) -> Answer {
    Answer::error(404, "not_found", "there is nothing at this path", &head.id)
}
