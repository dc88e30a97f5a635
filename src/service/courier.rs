//! The courier of a route: carries urgent visits past a pass that is at work for long.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::heard::Heard;
use crate::config::Route;
use crate::engine::account::log_pass;
use crate::engine::{EngineError, Overtaking};
use crate::trigger::{Bell, Heart};
use crate::workshop::Workshop;

/// How often it looks while a pass is at work: deliveries that another replica took ring no bell here.
const LOOK: Duration = Duration::from_secs(1);

/// How long it waits for the bell when no pass is at work; a pass that begins nudges it.
const WAIT: Duration = Duration::from_secs(3_600);

/// What was heard while nothing was at work is the post's, who begins a pass at once: time for that.
const AFTER_YOU: Duration = Duration::from_millis(100);

/// One route's courier.
pub struct Courier {
    works: Arc<Workshop>,
    route: Route,
    heart: Heart,
    overtaking: Overtaking,
}

impl Courier {
    /// Of a route, whose post shares `overtaking`.
    pub const fn new(works: Arc<Workshop>, route: Route, heart: Heart, overtaking: Overtaking) -> Self {
        Self { works, route, heart, overtaking }
    }

    /// Visits what is rung for while a pass is at work, until told to leave or the service stops.
    pub(super) fn keep(self, bell: &Bell, leave: &AtomicBool) {
        let away = || leave.load(Ordering::SeqCst) || self.works.stop.raised();
        while !away() {
            bell.wait(if self.overtaking.possible() { LOOK } else { WAIT });
            if away() || !self.overtaking.possible() {
                continue;
            }
            if !self.works.clock.sleep(AFTER_YOU, &self.works.stop) {
                return;
            }
            let carried = catch_unwind(AssertUnwindSafe(|| while self.carry() && !away() {}));
            if carried.is_err() {
                log::error!(
                    "route {}: an urgent visit ended in a panic, which is a fault of this program",
                    self.route.name
                );
            }
        }
    }

    /// One visit; answers whether there may be more to carry.
    pub fn carry(&self) -> bool {
        let rung = self.works.store.rung(&self.route.name, self.works.clock.now(), 1);
        if !matches!(&rung, Ok(rung) if !rung.is_empty()) {
            return false;
        }
        let _work = self.heart.help();
        let heard = Heard::new(self.works.store.clone(), self.route.name.clone(), self.heart.clone());
        let began = Instant::now();
        let visit = match self.works.urgent_engine(&self.route, heard) {
            Ok(engine) => engine.overtake(&self.overtaking, "webhook"),
            Err(error) => {
                log::debug!("route {}: {error}", self.route.name);
                return false;
            }
        };
        match visit {
            Ok(Some(report)) => {
                log_pass(&report, began.elapsed(), log::Level::Info);
                // Something was taken up, so this comes to an end; echoes must not keep the edits behind them.
                true
            }
            // What cannot overtake is rung for still, and would be found again and again.
            Ok(None) | Err(EngineError::Stopped) => false,
            // The pass itself meets the same trouble and says it.
            Err(error) => {
                log::debug!("route {}: an urgent visit: {error}", self.route.name);
                false
            }
        }
    }
}
