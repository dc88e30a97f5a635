//! Open creations: what was announced and perhaps made, looked up by its marker before anything else.

use std::time::Duration;

use super::{Engine, EngineError};
use crate::clock::{earlier, later};
use crate::model::{IntentId, Item, ItemKey, Side, Timestamp};
use crate::provider::Marked;
use crate::store::{Intent, IntentKind};

/// The services' clocks and ours may differ by this much when a listing starts at an intent's time.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

/// One open creation and what became of it, as far as the listings say.
pub(super) struct OpenCreation {
    pub(super) id: IntentId,
    /// The item that gets a partner.
    pub(super) source: ItemKey,
    /// Until when it is looked for; listings lag, so not found now is not "was not made".
    pub(super) until: Timestamp,
    /// What carries its marker.
    pub(super) found: Option<Item>,
}

/// Looks up every open creation of the route: one listing for each side concerned, none when none is open, and a whole
/// one before a creation is taken for never made.
pub(super) fn open_creations(engine: &Engine) -> Result<Vec<OpenCreation>, EngineError> {
    let intents: Vec<Intent> =
        engine.store.intents(&engine.route)?.into_iter().filter(|intent| intent.kind != IntentKind::Comment).collect();
    let now = engine.clock.now();
    let mut open = Vec::with_capacity(intents.len());
    for side in Side::BOTH {
        let made_here: Vec<&Intent> = intents.iter().filter(|intent| intent.source.side() != side).collect();
        let Some(first) = made_here.iter().map(|intent| intent.opened_at).min() else { continue };
        let look = |from: Timestamp| {
            engine.providers[side].marked_since(from).map_err(|error| EngineError::Provider { side, error })
        };
        let listed = look(earlier(first, CLOCK_SLACK))?;
        let mut everything: Option<Marked> = None;
        for intent in made_here {
            let carries = |listed: &Marked| {
                listed.items.iter().find(|item| item.marker.as_ref() == Some(&intent.marker)).cloned()
            };
            // What could not be read may be the very one: nothing is concluded from its absence.
            let grace_from = |listed: &Marked| if listed.whole { intent.tried_at } else { now };
            let until = |listed: &Marked| later(grace_from(listed), engine.patience.intent_grace);
            let (mut found, mut looked_for) = (carries(&listed), until(&listed));
            if found.is_none() && looked_for <= now {
                // The listing began at a moment of our clock, which may have been wrong by hours when it was announced:
                // before it is made again, all there is is looked through.
                let everything = match &everything {
                    Some(everything) => everything,
                    None => everything.insert(look(Timestamp::UNIX_EPOCH)?),
                };
                (found, looked_for) = (carries(everything), until(everything));
            }
            open.push(OpenCreation { id: intent.id, source: intent.source.clone(), until: looked_for, found });
        }
    }
    Ok(open)
}
