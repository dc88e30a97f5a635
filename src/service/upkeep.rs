//! Looks after the hooks beside the passes: at the start, on schedule, and after a reload.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::crew::Doorbell;
use crate::hooks::{HooksError, Keeper, Report, subjects, tidy_up};
use crate::provider::heard::Whole;
use crate::trigger::{Bell, Heart, Ring};
use crate::workshop::Workshop;

/// How long it waits for its bell; the bell itself wakes it at once.
const WAIT: Duration = Duration::from_secs(3_600);

/// Who looks after the hooks of one configuration.
pub(super) struct Upkeep {
    works: Arc<Workshop>,
    heart: Heart,
    doorbell: Doorbell,
    /// What was last said to be wrong, so that it is said once.
    said: Option<String>,
}

impl Upkeep {
    pub(super) const fn new(works: Arc<Workshop>, heart: Heart, doorbell: Doorbell) -> Self {
        Self { works, heart, doorbell, said: None }
    }

    /// Looks after the hooks whenever the bell rings, until told to leave or the service stops.
    pub(super) fn keep(mut self, bell: &Bell, leave: &AtomicBool) {
        let away = || leave.load(Ordering::SeqCst);
        while !away() && !self.works.stop.raised() {
            let rings = bell.wait(WAIT);
            if rings.is_empty() || away() || self.works.stop.raised() {
                continue;
            }
            let _work = self.heart.help();
            if catch_unwind(AssertUnwindSafe(|| self.look_after())).is_err() {
                log::error!("looking after the hooks ended in a panic, which is a fault of this program");
            }
        }
    }

    fn look_after(&mut self) {
        let works = &self.works;
        match tidy_up(&works.store, &works.config, works.clock.now()) {
            Ok(0) => {}
            Ok(gone) => log::info!("{gone} old deliveries were removed"),
            Err(error) => log::warn!("removing old deliveries: {error}"),
        }
        if works.config.webhooks.public_url.is_none() {
            return;
        }
        let looked = Keeper::new(works).and_then(|keeper| keeper.ensure(&subjects(&works.config)));
        let trouble = match looked {
            Ok(reports) => self.tell(reports),
            // Another replica is at it: that is as good as our own look.
            Err(HooksError::Held(_)) => return,
            Err(error) => Some(error.to_string()),
        };
        if let Some(trouble) = &trouble
            && self.said.as_ref() != Some(trouble)
        {
            log::error!("hooks: {trouble}; polls find everything meanwhile");
        }
        if trouble.is_none() && self.said.is_some() {
            log::info!("hooks: all is well again");
        }
        self.said = trouble;
    }

    /// Says what was done, wakes the routes of what was fetched, and answers what is wrong.
    fn tell(&self, reports: Vec<Report>) -> Option<String> {
        let mut trouble = Vec::new();
        for report in reports {
            let Report { provider, resource, done, trouble: wrong, fetched: _, wake } = report;
            for done in done {
                log::info!(provider, resource = resource.as_str(); "hooks: {provider} {resource}: {done}");
            }
            for (route, whole) in wake {
                let ring = match whole {
                    None => Ring::Heard,
                    Some(Whole::Poll) => Ring::Poll,
                    Some(Whole::Sweep) => Ring::Sweep,
                };
                self.doorbell.ring(&route, ring);
            }
            trouble.extend(wrong.map(|wrong| format!("{provider} {resource}: {wrong}")));
        }
        (!trouble.is_empty()).then(|| trouble.join("; "))
    }
}
