//! A pass's hold on its route's lease: renewed while it is at work, and asked for before each write leaves.
//!
//! The database refuses a record under a lease that is lost, but no service refuses a write: whoever was held up
//! between its last look at the lease and its write (by a wait for its turn, a stopped process, a suspended machine)
//! would write beside the next holder. So the last thing before a write leaves is a look at the clock, and a renewal if
//! a third of the lease has passed. What remains is a process held up after that look, a write under way for longer
//! than two thirds of a lease, and a clock set ahead by more than that while one is, so that the lease seems to have
//! run out; there the re-read, the intent and its grace are what protects.

use std::sync::{Arc, Mutex};

use crate::clock::{Clock, later, lock};
use crate::model::Timestamp;
use crate::provider::Permit;
use crate::store::{Lease, Store, StoreError};

/// How often a lease is renewed before one write, where the renewal itself takes too long.
const RENEWALS_MAX: u32 = 3;

/// A lease, and until when it is known to be ours.
pub(super) struct Hold {
    store: Store,
    clock: Arc<dyn Clock>,
    lease: Lease,
    /// When it was last taken or renewed; `None` when that is not known.
    renewed: Mutex<Option<Timestamp>>,
}

impl Hold {
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>, lease: Lease, taken: Option<Timestamp>) -> Self {
        Self { store, clock, lease, renewed: Mutex::new(taken) }
    }

    /// Renews the lease when a third of it has passed, or when the clock was set back.
    ///
    /// # Errors
    /// `LostLease` when somebody else took it; whatever the database says.
    pub(super) fn keep(&self) -> Result<(), StoreError> {
        let mut renewed = lock(&self.renewed);
        let now = self.clock.now();
        if !self.fresh(*renewed, now) {
            self.store.renew(&self.lease, now)?;
            *renewed = Some(now);
        }
        Ok(())
    }

    fn fresh(&self, renewed: Option<Timestamp>, now: Timestamp) -> bool {
        renewed.is_some_and(|at| now >= at && now < later(at, self.store.lease() / 3))
    }
}

impl Permit for Hold {
    fn granted(&self) -> bool {
        for _ in 0..RENEWALS_MAX {
            if let Err(error) = self.keep() {
                log::warn!("route {}: a write is held back: {error}", self.lease.route);
                return false;
            }
            let renewed = *lock(&self.renewed);
            if self.fresh(renewed, self.clock.now()) {
                return true;
            }
        }
        log::warn!("route {}: a write is held back: renewing the lease takes longer than it lasts", self.lease.route);
        false
    }
}
