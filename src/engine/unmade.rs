//! How the history calls a write that did not succeed; read back by `undo`.

use crate::model::Change;
use crate::provider::ProviderError;

/// `failed`: it had no effect. `unanswered`: nobody knows. `incomplete`: it takes several requests, of which the first
/// may have been made (labels and people are added and taken away one by one). What the item shows tells in both.
pub(super) fn kind(error: &ProviderError, change: &Change) -> &'static str {
    if error.maybe_done() {
        "unanswered"
    } else if change.labels.is_some() || change.assignees.is_some() {
        "incomplete"
    } else {
        "failed"
    }
}
