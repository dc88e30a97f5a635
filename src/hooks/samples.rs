//! Rows of hooks, as the tests of several files here need them.

use crate::clock::Timestamp;
use crate::model::Side;
use crate::store::{HookRow, HookState};

pub(super) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).expect("in range")
}

/// A row without a secret, announced at 0 for a minute.
pub(super) fn row(id: i64, side: Side, resource: &str, state: HookState) -> HookRow {
    HookRow {
        id,
        side,
        resource: resource.to_owned(),
        remote: Some(format!("remote {id}")),
        token_hash: format!("#{id}"),
        target: String::new(),
        secret: None,
        former_secret: None,
        former_until: None,
        state,
        pending_until: at(60),
        made_at: at(0),
        heard_at: None,
        checked_at: None,
        trouble: None,
    }
}
