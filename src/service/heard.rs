//! Hears how the service's passes get on: the log is told, and the heart beats with every page and repair.

use std::sync::Arc;

use crate::engine::Progress;
use crate::engine::account::Narrator;
use crate::model::{PassId, RouteName, Side};
use crate::reconcile::Repair;
use crate::store::{Due, Store};
use crate::trigger::Heart;

/// Hears one pass.
pub(super) struct Heard {
    pub(super) narrator: Narrator,
    heart: Heart,
}

impl Heard {
    pub(super) fn new(store: Store, route: RouteName, heart: Heart) -> Arc<Self> {
        Arc::new(Self { narrator: Narrator::new(route, store, true), heart })
    }
}

impl Progress for Heard {
    fn heard(&self, dues: &[Due]) {
        self.narrator.heard(dues);
    }

    fn observed(&self, side: Side, items: u64) {
        self.heart.beat();
        self.narrator.observed(side, items);
    }

    fn planned(&self, repairs: usize) {
        self.narrator.planned(repairs);
    }

    fn repaired(&self, pass: PassId, repair: &Repair, done: Result<(), &str>) {
        self.heart.beat();
        self.narrator.repaired(pass, repair, done);
    }
}
