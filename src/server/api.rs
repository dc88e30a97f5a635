//! The admin API below `/api/`: what `why`, `plan`, `parked` and `history` show, and what an operator does by hand.
//!
//! A call is checked before its body is read: token, address, path, method, type of the body. Without a configured
//! token every path answers as if nothing were there. Every writing call says why, is kept with who and why before it
//! is carried out, and may carry an `Idempotency-Key`: asked again, it is answered the same and done once.
//!
//! Promised: errors have one form and a code of a closed list ([`Code`]); no answer shows the program's insides; every
//! line in the log that a call causes names its request. `openapi.json` beside this file is the whole contract, and
//! the tests hold the answers to it.

mod ask;
mod auth;
mod background;
mod conflicts;
mod fault;
mod find;
mod keys;
mod page;
mod read;
mod replay;
mod tasks;
mod ways;
mod write;

use std::sync::Arc;
use std::time::Instant;

use crate::model::RouteName;
use crate::server::message::{Admission, Answer, Head, Pace, Request};
use crate::server::turned_away::TurnedAway;
use crate::trigger::Ring;
use crate::workshop::{Present, Workshop};

use background::Background;
pub use fault::Code;
use fault::Fault;
use keys::Keys;
pub use ways::WAYS;
use ways::{Endpoint, Found};

/// The contract, as served at `/api/openapi.json`.
pub const OPENAPI: &str = include_str!("openapi.json");

/// The longest body of a call in bytes: a reason, a name and an id are far below.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// Wakes whoever keeps a route in step.
type Ringing = Arc<dyn Fn(&RouteName, Ring) + Send + Sync>;

/// The admin API.
pub struct Api {
    present: Present,
    ringing: Ringing,
    background: Background,
    turned_away: TurnedAway,
    keys: Keys,
}

impl Api {
    /// Over the present workshop. Nobody is woken until [`Api::ringing`] says whom; what is due is visited by schedule.
    pub fn new(present: Present) -> Self {
        let background = Background::new(present.clone());
        let turned_away = TurnedAway::new(present.clone());
        Self { present, ringing: Arc::new(|_, _| ()), background, turned_away, keys: Keys::default() }
    }

    /// Calls `ringing` whenever a call gives a route something to do: `Heard` for items that became due, `Poll` or
    /// `Sweep` for more.
    #[must_use]
    pub fn ringing(mut self, ringing: impl Fn(&RouteName, Ring) + Send + Sync + 'static) -> Self {
        self.ringing = Arc::new(ringing);
        self
    }

    /// Checks a call whose body is still to come. Neither waits nor asks the database.
    ///
    /// # Errors
    /// The answer to give in place of reading the body.
    pub fn admit(&self, head: &Head) -> Result<Admission, Answer> {
        let works = self.present.get();
        match self.check(&works, head) {
            Ok(found) => Ok(Admission {
                body_bytes_max: if found.endpoint.writes() { BODY_BYTES_MAX } else { 0 },
                pace: if found.endpoint.slow() { Pace::Slow } else { Pace::Quick },
            }),
            Err(fault) => {
                if let Some(reason) = fault.turned_away {
                    self.turned_away.note("admin", reason, head.peer, works.clock.now());
                }
                Err(fault.answer(&head.id))
            }
        }
    }

    /// Answers a call.
    pub fn answer(&self, request: &Request) -> Answer {
        let works = self.present.get();
        let head = &request.head;
        let began = Instant::now();
        // Checked once more: an answer is only for who may have it, whoever calls this.
        let answer = self.check(&works, head).and_then(|found| match found.endpoint.writes() {
            true => self.write(&works, &found, request),
            false => self.read(&works, &found, head),
        });
        let answer = answer.unwrap_or_else(|fault| fault.answer(&head.id));
        let level = if head.method == "POST" { log::Level::Info } else { log::Level::Debug };
        log::log!(
            level,
            request = head.id.as_str(), status = answer.status,
            took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            "api: {} {}: {} (request {})", head.method, head.path, answer.status, head.id
        );
        answer
    }

    /// Who asks, from where, for what, in which form.
    fn check(&self, works: &Workshop, head: &Head) -> Result<Found, Fault> {
        let admin = &works.config.admin;
        if !admin.on() {
            return Err(Fault::nothing_here());
        }
        let right = auth::right(admin, head)?;
        let found = ways::find(&head.method, &head.path)?;
        if found.endpoint.writes() {
            auth::may_write(right)?;
            ask::is_json(head)?;
        }
        Ok(found)
    }

    fn read(&self, works: &Workshop, found: &Found, head: &Head) -> Result<Answer, Fault> {
        match found.endpoint {
            Endpoint::Openapi => {
                ask::Query::new(head, &[])?;
                let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
                Ok(Answer { status: 200, headers, body: OPENAPI.as_bytes().to_vec() })
            }
            Endpoint::Tasks => tasks::list(works, head),
            Endpoint::Task => tasks::explain(works, &found.name, head),
            Endpoint::Pass => read::pass(works, &self.background, &found.name, head),
            Endpoint::Plan => read::plan(works, head),
            Endpoint::Deliveries => read::deliveries(works, head),
            Endpoint::Delivery => read::delivery(works, &found.name, head),
            Endpoint::Parked => read::parked(works, head),
            Endpoint::Conflicts => conflicts::list(works, head),
            Endpoint::History => read::history(works, head),
            Endpoint::Sync
            | Endpoint::Close
            | Endpoint::Reopen
            | Endpoint::Reconcile
            | Endpoint::Replay
            | Endpoint::Retry
            | Endpoint::Drop
            | Endpoint::Resolve => Err(Fault::internal("a writing call came to be read")),
        }
    }
}
