//! A kept delivery done once more: the one place where the API asks for that.

use crate::inbox;
use crate::store::{StoreError, TakenIn};
use crate::workshop::Workshop;

/// Does once more what a delivery asked for, in the name of `request`. `None`: there is no such delivery; the inner
/// error says why it cannot be understood.
///
/// # Errors
/// When the database fails.
#[allow(clippy::type_complexity, reason = "what became of it, inside whether it is there")]
pub(super) fn replay(works: &Workshop, id: i64, request: &str) -> Result<Option<Result<TakenIn, String>>, StoreError> {
    let done = inbox::replay(&works.store, &works.config, id, request, works.clock.now())?;
    // What concerns a route as a whole is found by its next poll.
    Ok(done.map(|done| done.map(|(taken, _)| taken)))
}
