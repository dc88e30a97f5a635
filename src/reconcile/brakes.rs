//! The brakes: when a plan is too large to be believed, with both numbers and the way out.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Action, Plan};
use crate::model::{Brakes, BySide, Side};

/// What an operator allows for one pass beyond the brakes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowance {
    /// This many updates.
    pub updates: Option<u64>,
    /// This many retirements.
    pub retirements: Option<u64>,
    /// A side that shows nothing although it is linked.
    pub empty: bool,
}

/// What visits did to a route in the last moments. Each visit is small; a hundred of them are not, and the brakes are
/// to hold what would be held if it were seen at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lately {
    /// So many links were updated.
    pub updates: u64,
    /// So many were retired.
    pub retirements: u64,
}

/// Why a plan is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "brake")]
pub enum Refusal {
    /// Too many linked items would be changed.
    Updates {
        /// This many.
        planned: u64,
        /// After so many by visits in the last moments.
        lately: u64,
        /// Of so many links.
        links: u64,
        /// The limit.
        limit: u64,
    },
    /// Too many items would be retired.
    Retirements {
        /// This many.
        planned: u64,
        /// After so many by visits in the last moments.
        lately: u64,
        /// Of so many links.
        links: u64,
        /// The limit.
        limit: u64,
    },
    /// A whole listing came back empty although items of that side are linked.
    Empty {
        /// The side.
        side: Side,
        /// So many links.
        links: u64,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Updates { planned, lately, links, limit } => write!(
                out,
                "refused: {planned} of {links} links would be updated{}, the limit is {limit}; look at `evenkeel plan`, \
                 then run `evenkeel run --once --allow-updates {planned}`",
                after(*lately)
            ),
            Self::Retirements { planned, lately, links, limit } => write!(
                out,
                "refused: {planned} of {links} links would be retired (their partners closed or completed){}, the limit \
                 is {limit}; look at `evenkeel plan --full`, then run `evenkeel run --once --full --allow-retirements \
                 {planned}`",
                after(*lately)
            ),
            Self::Empty { side, links } => write!(
                out,
                "refused: {service} showed no item at all, although {links} are linked; check the token and the \
                 {place} with `evenkeel check`; if it really is empty, run `evenkeel run --once --full --allow-empty`",
                service = side.service(),
                place = match side {
                    Side::Tracker => "project",
                    Side::Forge => "repository",
                }
            ),
        }
    }
}

/// What came before, if something did.
fn after(lately: u64) -> String {
    if lately > 0 { format!(" after {lately} in the last minute") } else { String::new() }
}

impl Plan {
    /// Checks the plan against the brakes; `swept` says which listings were whole, `lately` what counts along.
    ///
    /// The limit is the larger of the number and the percentage, so that small routes are not stopped
    /// by rounding and large ones not by a fixed number.
    pub fn check(
        &self,
        brakes: &Brakes,
        allowed: Allowance,
        swept: BySide<bool>,
        lately: Lately,
    ) -> Result<(), Refusal> {
        let limit = |max: u64, percent: u64| max.max(self.links.saturating_mul(percent) / 100);
        if !allowed.empty && self.links > 0 {
            for (side, seen) in self.seen.iter() {
                if swept[side] && *seen == 0 {
                    return Err(Refusal::Empty { side, links: self.links });
                }
            }
        }
        let count = |wanted: fn(&Action) -> bool| {
            self.writing().filter(|repair| wanted(&repair.action)).count().try_into().unwrap_or(u64::MAX)
        };
        let updates: u64 = count(|action| matches!(action, Action::Update { .. } | Action::Join { .. }));
        let updates_limit = allowed.updates.unwrap_or_else(|| limit(brakes.updates_max, brakes.updates_percent));
        // What an operator allows is meant for this plan alone.
        let lately = Lately {
            updates: if allowed.updates.is_none() { lately.updates } else { 0 },
            retirements: if allowed.retirements.is_none() { lately.retirements } else { 0 },
        };
        if updates > 0 && updates.saturating_add(lately.updates) > updates_limit {
            let (lately, links) = (lately.updates, self.links);
            return Err(Refusal::Updates { planned: updates, lately, links, limit: updates_limit });
        }
        let retirements: u64 = count(|action| matches!(action, Action::Retire { .. }));
        let retirements_limit =
            allowed.retirements.unwrap_or_else(|| limit(brakes.retirements_max, brakes.retirements_percent));
        if retirements > 0 && retirements.saturating_add(lately.retirements) > retirements_limit {
            let (lately, links) = (lately.retirements, self.links);
            return Err(Refusal::Retirements { planned: retirements, lately, links, limit: retirements_limit });
        }
        Ok(())
    }
}
