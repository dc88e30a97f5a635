//! Drift that a poll found although a hook should have told of it: the measure of what webhooks miss.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Engine, EngineError};
use crate::clock::earlier;
use crate::model::{Item, ItemKey, LinkId, Side};
use crate::reconcile::{Action, PairSeen, Plan, Sight, fingerprint};
use crate::store::{HookRow, HookState};

/// A delivery may come this long before the moment that the item shows: clocks differ, and GitHub tells seconds.
const BEFORE: Duration = Duration::from_secs(120);

impl Engine {
    /// How many of the planned repairs are for an edit that happened under a live hook and of which no delivery told.
    pub(super) fn unheard(&self, plan: &Plan, pairs: &BTreeMap<LinkId, PairSeen>) -> Result<u64, EngineError> {
        if plan.repairs.is_empty() {
            return Ok(0);
        }
        let hooks: Vec<HookRow> =
            self.store.hooks(None)?.into_iter().filter(|hook| hook.state == HookState::Live).collect();
        if hooks.is_empty() {
            return Ok(0);
        }
        let mut unheard = 0;
        for repair in plan.repairs.iter().filter(|repair| repair.writes()) {
            let moved: Vec<&Item> = match (&repair.action, repair.link.and_then(|id| pairs.get(&id))) {
                (Action::Create { from, .. }, _) => vec![from.as_ref()],
                (_, Some(pair)) => Side::BOTH.into_iter().filter_map(|side| self.moved(pair, side)).collect(),
                _ => Vec::new(),
            };
            for item in moved {
                let told_by = |hook: &&HookRow| hook.side == item.side() && self.is_on(hook, &item.key);
                let Some(hook) = hooks.iter().find(told_by) else { continue };
                let from = earlier(item.updated_at, BEFORE);
                if item.updated_at > hook.made_at && !self.store.heard_of(&item.key, from)? {
                    unheard += 1;
                    break;
                }
            }
        }
        Ok(unheard)
    }

    /// The item of a side, if it shows something else than when the pair was last settled.
    fn moved<'a>(&self, pair: &'a PairSeen, side: Side) -> Option<&'a Item> {
        match &pair.sight[side] {
            Sight::Shown(item) => {
                let print = fingerprint(item, &self.rules.policy);
                (pair.link.seen[side].as_ref() != Some(&print)).then_some(&**item)
            }
            _ => None,
        }
    }

    /// Whether a hook tells of an item of this route.
    fn is_on(&self, hook: &HookRow, item: &ItemKey) -> bool {
        match item {
            ItemKey::Task(_) => hook.resource == self.project.as_str(),
            ItemKey::Issue(issue) => hook.resource == issue.repo.folded(),
        }
    }
}
