//! Looks after the hooks beside the passes: at the start, on schedule, and after a reload.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ipnet::IpNet;

use super::crew::Doorbell;
use crate::clock::since;
use crate::config::Senders;
use crate::hooks::{HooksError, Keeper, Report, subjects, tidy_up};
use crate::model::Side;
use crate::provider::github::hook_sources;
use crate::provider::heard::Whole;
use crate::server::webhooks::Sources;
use crate::trigger::{Bell, Heart, Ring};
use crate::workshop::{Haste, Workshop};

/// How long it waits for its bell; the bell itself wakes it at once.
const WAIT: Duration = Duration::from_secs(3_600);

/// Who looks after the hooks of one configuration.
pub struct Upkeep {
    works: Arc<Workshop>,
    heart: Heart,
    doorbell: Doorbell,
    sources: Sources,
    /// What was last said to be wrong, so that it is said once.
    said: Option<String>,
}

impl Upkeep {
    /// Over a workshop; rings at the routes of what it fetched, and keeps `sources` true.
    pub fn new(works: Arc<Workshop>, heart: Heart, doorbell: Doorbell, sources: Sources) -> Self {
        // At once, so that nobody delivers who may not; what GitHub publishes is asked for by the first look.
        for side in Side::BOTH {
            let Senders { ranges, published } = &works.config.webhooks.senders[side];
            let open = ranges.is_empty() && !published;
            // Who waits for GitHub's ranges turns nobody away before they are known: signatures do that.
            sources[side].replace((!open && !published).then(|| ranges.clone()));
        }
        Self { works, heart, doorbell, sources, said: None }
    }

    /// Looks after the hooks whenever the bell rings, until told to leave or the service stops.
    pub(super) fn keep(mut self, bell: &Bell, leave: &AtomicBool) {
        let away = || leave.load(Ordering::SeqCst);
        while !away() && !self.works.stop.raised() {
            let rings = bell.wait(WAIT);
            if rings.is_empty() || away() || self.works.stop.raised() {
                continue;
            }
            if let Some(until) = self.works.not_before {
                let clock = &self.works.clock;
                if !clock.sleep(since(clock.now(), until), &self.works.stop) || away() {
                    continue;
                }
            }
            let _work = self.heart.help();
            if catch_unwind(AssertUnwindSafe(|| self.look_after())).is_err() {
                log::error!("looking after the hooks ended in a panic, which is a fault of this program");
            }
        }
    }

    /// Looks once: hooks, ranges, and old rows.
    pub fn look_after(&mut self) {
        let works = &self.works;
        match tidy_up(&works.store, &works.config, works.clock.now()) {
            Ok(0) => {}
            Ok(gone) => log::info!("{gone} old deliveries and passes were removed"),
            Err(error) => log::warn!("removing old deliveries and passes: {error}"),
        }
        self.ask_for_ranges();
        let works = &self.works;
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

    /// Asks GitHub for the ranges that its deliveries come from, where only those may deliver.
    fn ask_for_ranges(&self) {
        let works = &self.works;
        let Senders { ranges, published: true } = &works.config.webhooks.senders.forge else { return };
        let Some(route) = works.config.routes.first() else { return };
        let asked = match works.connection(route, Side::Forge, Haste::Bulk) {
            Ok(connection) => hook_sources(&connection).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match asked {
            Ok(texts) => {
                let published: Vec<IpNet> = texts.iter().filter_map(|text| text.parse().ok()).collect();
                if published.is_empty() {
                    log::warn!("none of the ranges that github publishes could be read; those known before stay");
                } else {
                    self.sources.forge.replace(Some(ranges.iter().copied().chain(published).collect()));
                }
            }
            // Those known before stay.
            Err(why) => log::warn!("the ranges that github's deliveries come from are not known anew: {why}"),
        }
    }

    /// Says what was done, wakes the routes of what was fetched, and answers what is wrong.
    fn tell(&self, reports: Vec<Report>) -> Option<String> {
        let mut trouble = Vec::new();
        for report in reports {
            let Report { provider, resource, done, trouble: wrong, failed: _, hint, fetched: _, wake } = report;
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
            let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            trouble.extend(wrong.map(|wrong| format!("{provider} {resource}: {wrong}{hint}")));
        }
        (!trouble.is_empty()).then(|| trouble.join("; "))
    }
}
