//! What a lasting limit keeps from being done now, made due again for when it lets go.

use std::collections::BTreeMap;

use super::Hands;
use crate::engine::EngineError;
use crate::model::{BySide, ItemKey, Side, Timestamp};
use crate::reconcile::{Action, Repair};
use crate::store::{NewDue, Record};

/// Repairs that a limit keeps from being made now. It is the credential's trouble, not theirs: they are due again
/// when it lets go, with no attempt counted.
#[derive(Default)]
pub(super) struct PutOff {
    /// A side that takes no more creations, and until when. Only limits on creations last, so only they are not
    /// even tried; anything else is told at once, and without a request, whether it may leave.
    creations: BySide<Option<Timestamp>>,
    /// What was said first.
    said: Option<String>,
    items: Vec<(ItemKey, String, Timestamp)>,
}

impl PutOff {
    /// Takes a repair that need not be tried; answers whether it did.
    pub(super) fn takes(&mut self, repair: &Repair) -> bool {
        let until = creates_on(repair).and_then(|side| self.creations[side]);
        until.is_some_and(|until| self.add(repair, until))
    }

    /// Takes a repair that was told to wait.
    pub(super) fn told(&mut self, repair: &Repair, until: Timestamp, said: String) {
        if let Some(side) = creates_on(repair) {
            self.creations[side] = Some(until);
        }
        self.said.get_or_insert(said);
        self.add(repair, until);
    }

    pub(super) fn add(&mut self, repair: &Repair, until: Timestamp) -> bool {
        let Some(item) = repair.subject() else { return false };
        self.items.push((item.clone(), repair.cause.clone(), until));
        true
    }
}

/// The side a repair makes something new on.
fn creates_on(repair: &Repair) -> Option<Side> {
    match &repair.action {
        Action::Create { from, .. } => Some(from.side().opposite()),
        Action::Join { .. } | Action::Update { .. } | Action::Retire { .. } | Action::Note { .. } => None,
    }
}

impl Hands<'_, '_> {
    /// Makes what a limit kept from being done due again, in one go with the closing record.
    pub(super) fn put_off(&mut self, put_off: PutOff, closing: &mut Record) -> Result<(), EngineError> {
        let Some(said) = put_off.said else { return Ok(()) };
        let engine = self.engine;
        let known = engine.store.due(&engine.route, Timestamp::MAX, 1_000)?;
        let attempts: BTreeMap<ItemKey, u32> = known.into_iter().map(|due| (due.item, due.attempts)).collect();
        let count = put_off.items.len();
        self.report.counts.again += u64::try_from(count).unwrap_or(u64::MAX);
        self.report.messages.push(format!("{said}; {count} of the repairs wait for that"));
        for (item, reason, not_before) in put_off.items {
            // Cleared and set anew, so that the new time counts and not the earlier one.
            closing.clear_due.push(item.clone());
            let attempts = attempts.get(&item).copied().unwrap_or(0);
            let last_error = Some(said.clone());
            closing.due.push(NewDue { item, reason, not_before, attempts, last_error, parked: false });
        }
        Ok(())
    }
}
