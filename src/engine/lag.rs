//! Reads that lag behind: a copy of the service that does not show yet what was settled a moment ago.
//!
//! A webhook brings us back to an item within milliseconds of our own write, when a read may still be answered from a
//! copy that lags (GitHub, reportedly by seconds, on a bad day more). Taken for an edit, the older state would be
//! carried over to the other side and undo what a person had just written there.

use std::time::Duration;

use super::Engine;
use crate::clock::since;
use crate::model::{Item, Link, Side, Timestamp};
use crate::reconcile::{Sight, fingerprint};

/// How long after a settlement an older state is not believed of a direct read. Later it is what it says: the
/// services' clocks and ours may differ, and an edit must not be disbelieved for ever.
const LAG_MAX: Duration = Duration::from_secs(60);

/// How long the reads before a write may take together; a limit that one of them had to wait for makes the others old.
pub(super) const READS_MAX: Duration = Duration::from_secs(5);

impl Engine {
    /// Whether an item shows something else than when its pair was last settled, yet was not edited since.
    pub(super) fn lags(&self, link: &Link, item: &Item, now: Timestamp) -> bool {
        let side: Side = item.side();
        // GitHub tells whole seconds: within the second of the settlement nothing can be said.
        let settled = Timestamp::from_second(link.updated_at.as_second()).unwrap_or(link.updated_at);
        self.just_now(link.updated_at, now)
            && item.updated_at < settled
            && link.seen[side].as_ref().is_some_and(|seen| !seen.is_of(&fingerprint(item, &self.rules.policy)))
    }

    /// Takes an item that is said to be gone for one that was not seen, if its pair is so new that a copy which lags
    /// may not know it yet: the partner of something just made must not be closed for that.
    pub(super) fn too_new_to_be_gone(&self, link: &Link, sight: &mut Sight, now: Timestamp) {
        if *sight == Sight::Absent && self.just_now(link.created_at, now) {
            *sight = Sight::Unseen(NOT_YET.to_owned());
        }
    }

    /// Whether it was so short a time ago that a copy may lag. What lies far ahead was noted by a clock that was wrong,
    /// and says nothing. While ours has just been set, anything may have been a moment ago.
    pub(super) fn just_now(&self, then: Timestamp, now: Timestamp) -> bool {
        (since(then, now) < LAG_MAX && since(now, then) < LAG_MAX) || self.clock.was_set(LAG_MAX)
    }
}

/// What is said of an item that a copy may not know yet.
pub(super) const NOT_YET: &str = "it was made a moment ago and is not shown yet";

/// What is said of an item that lags.
pub(super) const LAGS: &str = "it is shown as it was before it was last brought in step";
