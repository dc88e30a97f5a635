//! A kept delivery done once more: the one place where the API asks the inbox for that.

use serde_json::{Value, json};

use super::Api;
use super::fault::{Code, Fault};
use crate::inbox;
use crate::provider::heard::Whole;
use crate::trigger::Ring;
use crate::workshop::Workshop;

impl Api {
    /// Does once more what a delivery asked for, in the name of `request`.
    pub(super) fn replay(&self, works: &Workshop, id: i64, request: &str) -> Result<(u16, Value), Fault> {
        let replayed = inbox::replay(&works.store, &works.config, id, request, works.clock.now())?;
        let replayed = replayed.ok_or_else(|| Fault::not_found(format!("there is no delivery {id}")))?;
        let (taken, looks) = replayed.map_err(|why| {
            let message = format!("delivery {id} cannot be done once more: {why}");
            Fault::new(Code::Conflict, message)
        })?;
        let mut whole = Vec::new();
        for (route, look) in looks {
            let (ring, word) = match look {
                Whole::Poll => (Ring::Poll, "poll"),
                Whole::Sweep => (Ring::Sweep, "sweep"),
            };
            (self.ringing)(&route, ring);
            whole.push(json!({ "route": route, "look": word }));
        }
        taken.routes.iter().for_each(|route| (self.ringing)(route, Ring::Heard));
        Ok((200, json!({ "id": taken.id, "verdict": taken.verdict, "routes": taken.routes, "whole": whole })))
    }
}
