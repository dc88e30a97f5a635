//! Idempotency-Keys let go of in time, so that their answers are not kept for ever.

use std::sync::Mutex;
use std::time::Duration;

use crate::clock::{Timestamp, earlier, lock, since};
use crate::workshop::Workshop;

/// How long a key is remembered with its answer.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// How often old ones are looked for.
const EVERY: Duration = Duration::from_secs(3_600);

/// When old keys were last let go of.
#[derive(Default)]
pub(super) struct Keys(Mutex<Option<Timestamp>>);

impl Keys {
    /// Lets go of old keys, once an hour. A failure is the next hour's business.
    pub(super) fn tidy(&self, works: &Workshop) {
        let now = works.clock.now();
        {
            let mut last = lock(&self.0);
            if last.is_some_and(|last| since(last, now) < EVERY) {
                return;
            }
            *last = Some(now);
        }
        if let Err(error) = works.store.forget_call_keys(earlier(now, KEPT)) {
            log::warn!("api: letting go of old idempotency keys: {error}");
        }
    }
}
