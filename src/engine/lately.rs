//! What visits did to a route in the last moments, for the brakes: a mass edit that comes in a hundred deliveries is to
//! be held like one that a poll sees at once.

use std::time::Duration;

use super::overtake::OVERTAKE;
use super::{Engine, EngineError, Wake};
use crate::clock::earlier;
use crate::reconcile::Lately;

/// As long as the usual time between two polls: what falls between them is seen by one.
const WINDOW: Duration = Duration::from_secs(60);

/// Passes looked through; with a visit at every delivery there may be many.
const PASSES_MAX: u32 = 500;

impl Engine {
    /// What counts along with a plan made for this wake-up: for visits what visits did lately, else nothing.
    pub(super) fn lately(&self, wake: &Wake) -> Result<Lately, EngineError> {
        if !matches!(wake, Wake::Retry | Wake::Overtake(_)) {
            return Ok(Lately::default());
        }
        let from = earlier(self.clock.now(), WINDOW);
        let kinds = [Wake::Retry.as_str(), OVERTAKE];
        let visits = self.store.passes_since(&self.route, &kinds, from, PASSES_MAX)?;
        let changed = self.store.changed_lately(&self.route, &visits, from)?;
        let count = |kind: &str| changed.get(kind).copied().unwrap_or(0);
        Ok(Lately { updates: count("update"), retirements: count("retire") })
    }
}
