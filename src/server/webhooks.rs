//! `POST /webhooks/asana/…` and `POST /webhooks/github…`: deliveries handed to the inbox, and the routes woken.
//!
//! Who is not known is answered 401 with the same words whatever is wrong: no hook, no signature, a wrong one.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::message::{Admission, Answer, Head, Pace, Request};
use super::sources::AllowList;
use super::turned_away::TurnedAway;
use crate::clock::lock;
use crate::config::Secret;
use crate::inbox::{self, HANDSHAKE_HEADER, Keys, Letter, Refused, Taken};
use crate::model::{BySide, RouteName, Side};
use crate::provider::heard::Whole;
use crate::seal::Seal;
use crate::store::StoreError;
use crate::trigger::Ring;
use crate::workshop::{Present, Workshop};

/// The paths, before a token.
const PATHS: BySide<&str> = BySide { tracker: "/webhooks/asana", forge: "/webhooks/github" };

/// Who may deliver, by service; replaced when the configuration or GitHub's ranges change. Clones are the same.
pub type Sources = BySide<AllowList>;

/// Rings at a route.
pub type RingAt = Arc<dyn Fn(&RouteName, Ring) + Send + Sync>;

/// Takes deliveries in.
pub struct Webhooks {
    present: Present,
    ring: RingAt,
    turned_away: Arc<TurnedAway>,
    /// Who may deliver, by service.
    sources: Sources,
    /// The seal of the present key, made anew only when that changes: deriving it costs more than using it.
    seal: Mutex<Option<(Secret, Arc<Seal>)>>,
}

impl Webhooks {
    /// Over the present workshop.
    pub fn new(present: Present, ring: RingAt, turned_away: Arc<TurnedAway>, sources: Sources) -> Self {
        Self { present, ring, turned_away, sources, seal: Mutex::default() }
    }

    /// Whether a path is a hook's, of which side, and the token behind it.
    pub fn finds(path: &str) -> Option<(Side, Option<&str>)> {
        Side::BOTH.into_iter().find_map(|side| {
            let rest = path.strip_prefix(PATHS[side])?;
            match rest.strip_prefix('/') {
                None if rest.is_empty() => Some((side, None)),
                Some(token) if !token.is_empty() && !token.contains('/') => Some((side, Some(token))),
                _ => None,
            }
        })
    }

    /// Checks a delivery whose body is still to come.
    ///
    /// # Errors
    /// The answer to give in place of reading the body.
    pub fn admit(&self, side: Side, head: &Head) -> Result<Admission, Answer> {
        if head.method != "POST" {
            let answer = Answer::error(405, "method_not_allowed", "deliveries are posted", &head.id);
            return Err(answer.with("Allow", "POST"));
        }
        if !self.sources[side].allows(head.peer) {
            self.turned_away.note(side.service(), "an address that may not deliver", head.peer, self.now());
            return Err(Answer::error(403, "forbidden", "this address may not deliver", &head.id));
        }
        let handshake = side == Side::Tracker && head.values(HANDSHAKE_HEADER).next().is_some();
        let kind = head.single("content-type").unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let form = side == Side::Forge && kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if !handshake && !form && !kind.eq_ignore_ascii_case("application/json") {
            return Err(content_type(&head.id));
        }
        // What the listener bears is chosen for deliveries.
        Ok(Admission { body_bytes_max: usize::MAX, pace: Pace::Quick })
    }

    /// Takes a delivery in and wakes the routes of what it touches.
    pub fn answer(&self, side: Side, token: Option<&str>, request: &Request) -> Answer {
        let works = self.present.get();
        let Request { head, body } = request;
        let id = &head.id;
        let letter = Letter { headers: &head.headers, body, request: id.as_str() };
        let seal = self.seal(&works);
        let keys = Keys { config: &works.config, seal: seal.as_deref() };
        let now = works.clock.now();
        let taken = match side {
            Side::Tracker => inbox::asana(&works.store, keys, token, &letter, now),
            Side::Forge => inbox::github(&works.store, keys, token, &letter, now),
        };
        match taken {
            Ok(Taken::Handshake(secret)) => {
                log::info!(request = id.as_str(); "asana shook hands over a new hook (request {id})");
                Answer::empty(200).with("X-Hook-Secret", secret.reveal())
            }
            Ok(Taken::In { taken, looks, event }) => {
                for route in &taken.routes {
                    (self.ring)(route, Ring::Heard);
                }
                for (route, whole) in &looks {
                    let ring = match whole {
                        Whole::Poll => Ring::Poll,
                        Whole::Sweep => Ring::Sweep,
                    };
                    (self.ring)(route, ring);
                }
                let (service, delivery, verdict) = (side.service(), taken.id, taken.verdict.as_str());
                let again = if taken.again { ", come again" } else { "" };
                log::debug!(
                    request = id.as_str(), delivery, event = event.as_str(), verdict;
                    "{service}: delivery {delivery} ({event}): {verdict}{again} (request {id})"
                );
                let answer = json!({ "delivery": delivery, "verdict": verdict, "again": taken.again,
                                     "request_id": id.as_str() });
                Answer::json(200, &answer)
            }
            Err(Refused::Unsigned(reason)) => {
                self.turned_away.note(side.service(), reason, head.peer, now);
                let what = "it is not signed with a secret that is known here";
                Answer::error(401, "unauthorized", what, id)
            }
            Err(Refused::ContentType) => content_type(id),
            Err(Refused::Garbled(taken)) => {
                log::warn!(
                    request = id.as_str(), delivery = taken.id;
                    "{}: delivery {} is signed but could not be understood; `evenkeel deliveries show {}` shows it \
                     (request {id})", side.service(), taken.id, taken.id
                );
                Answer::error(400, "garbled", "it is signed, but its body could not be understood; it is kept", id)
            }
            Err(Refused::Database(error)) => database(&error, side.service(), id),
        }
    }

    /// Opens and makes sealed secrets, if a key is configured.
    fn seal(&self, works: &Workshop) -> Option<Arc<Seal>> {
        let key = works.config.webhooks.seal_key.as_ref()?;
        let mut kept = lock(&self.seal);
        if let Some((known, seal)) = kept.as_ref().filter(|(known, _)| known == key) {
            let _ = known;
            return Some(seal.clone());
        }
        let seal = Arc::new(Seal::new(key));
        *kept = Some((key.clone(), seal.clone()));
        Some(seal)
    }

    fn now(&self) -> crate::model::Timestamp {
        self.present.get().clock.now()
    }
}

fn content_type(id: &super::RequestId) -> Answer {
    Answer::error(415, "unsupported_media_type", "send application/json", id)
}

/// The database failed: the sender's own log shows it, and GitHub's is asked for it later.
fn database(error: &StoreError, what: &str, id: &super::RequestId) -> Answer {
    log::error!(request = id.as_str(); "{what}: a delivery could not be kept: {error} (request {id})");
    Answer::error(503, "unavailable", "it could not be kept; send it again", id).with("Retry-After", "30")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_hooks_have_one_token_or_none() {
        for (path, found) in [
            ("/webhooks/asana", Some((Side::Tracker, None))),
            ("/webhooks/github", Some((Side::Forge, None))),
            ("/webhooks/asana/tok-en_1", Some((Side::Tracker, Some("tok-en_1")))),
            ("/webhooks/github/x", Some((Side::Forge, Some("x")))),
            ("/webhooks/asana/", None),
            ("/webhooks/asana/a/b", None),
            ("/webhooks/asanas", None),
            ("/webhooks", None),
            ("/", None),
        ] {
            assert_eq!(Webhooks::finds(path), found, "{path}");
        }
    }
}
