//! What GitHub failed to hand over, fetched from its own list.

use std::time::Duration;

use super::trouble::Trouble;
use super::{Keeper, Report};
use crate::clock::earlier;
use crate::inbox::{self, Taken};
use crate::model::Side;
use crate::provider::ProviderError;
use crate::provider::hooks::Hooks;
use crate::store::Lease;

/// How far back lost deliveries are looked for before the last time they were: the log of a delivery appears when it
/// has failed, up to ten seconds after it began, and clocks differ.
const OVERLAP: Duration = Duration::from_secs(900);

/// GitHub keeps the log of its deliveries for three days.
const LOG_KEPT: Duration = Duration::from_secs(3 * 24 * 3_600);

/// Deliveries fetched for one hook in one go; the rest follows the next time.
const FETCHED_MAX: usize = 200;

impl Keeper<'_> {
    /// Fetches the deliveries that GitHub failed to hand over, and takes them in as if they had come.
    pub(super) fn fetch_lost(
        &self,
        lease: &Lease,
        row: i64,
        id: &str,
        api: &dyn Hooks,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let works = self.works;
        let now = works.clock.now();
        let known = works.store.hooks(Some(Side::Forge))?.into_iter().find(|known| known.id == row);
        let last = known.map(|row| row.checked_at.unwrap_or(row.made_at));
        let from = last.map_or(now, |last| earlier(last, OVERLAP)).max(earlier(now, LOG_KEPT));
        let lost = api.undelivered(id, from)?;
        let guids: Vec<String> = lost.iter().map(|one| one.guid.clone()).collect();
        let taken = works.store.known_deliveries(Side::Forge, &guids)?;
        let missing: Vec<_> = lost.into_iter().filter(|one| !taken.contains(&one.guid)).collect();
        for one in missing.iter().take(FETCHED_MAX) {
            if works.stop.raised() {
                return Err(Trouble::Said("stopped".to_owned()));
            }
            // Many of them take longer than a lease lasts.
            works.store.renew(lease, works.clock.now())?;
            let fetched = match api.delivery(id, &one.delivery_id) {
                Ok(fetched) => fetched,
                // Its log is over; the poll finds what it spoke of.
                Err(ProviderError::Gone { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let letter = (fetched.guid.as_str(), fetched.event.as_str(), fetched.payload.as_slice());
            let Taken::In { taken, looks, .. } = inbox::fetched(&works.store, &works.config, row, letter, now)? else {
                continue;
            };
            report.fetched += 1;
            report.wake.extend(taken.routes.into_iter().map(|route| (route, None)));
            report.wake.extend(looks.into_iter().map(|(route, whole)| (route, Some(whole))));
        }
        if report.fetched > 0 {
            let what = if report.fetched == 1 { "delivery" } else { "deliveries" };
            report.done.push(format!("fetched {} {what} that GitHub had failed to hand over", report.fetched));
        }
        match missing.len().checked_sub(FETCHED_MAX).filter(|left| *left > 0) {
            None => Ok(()),
            Some(left) => Err(Trouble::Said(format!("{left} lost deliveries are fetched the next time"))),
        }
    }
}
