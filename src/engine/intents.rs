//! Open creations: what was announced and perhaps made, looked up by its marker before anything else.

use super::{Engine, EngineError};
use crate::clock::{earlier, later};
use crate::model::{CLOCK_SLACK, Content, IntentId, Item, ItemKey, Side, Timestamp};
use crate::provider::Marked;
use crate::store::{Intent, IntentKind};

/// Before anything that either service holds; no farther, for a service may refuse a date that it cannot keep.
const BEGINNING: Timestamp = Timestamp::constant(1_199_145_600, 0);

/// One open creation and what became of it, as far as the listings say.
pub(super) struct OpenCreation {
    pub(super) id: IntentId,
    /// The item that gets a partner.
    pub(super) source: ItemKey,
    /// Until when it is looked for; listings lag, so not found now is not "was not made".
    pub(super) until: Timestamp,
    /// What carries its marker.
    pub(super) found: Option<Item>,
    /// When it was last tried.
    pub(super) tried_at: Timestamp,
    /// What the item said when its partner was asked for.
    pub(super) sent: Option<Content>,
}

/// When all there was of a side was last looked through, and an entry could not be read: a note of the route.
const fn looked_through(side: Side) -> &'static str {
    match side {
        Side::Tracker => "looked_through_tracker",
        Side::Forge => "looked_through_forge",
    }
}

/// Looks up every open creation of the route: one listing for each side concerned, none when none is open, and a whole
/// one before a creation is taken for never made. While an entry of that one cannot be read, which may stay so, it is
/// made once in each grace and not in each pass: `notes` is what the pass is to keep for that.
pub(super) fn open_creations(
    engine: &Engine,
    notes: &mut Vec<(String, String)>,
) -> Result<Vec<OpenCreation>, EngineError> {
    let grace = engine.patience.intent_grace;
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
            let until = |listed: &Marked| later(grace_from(listed), grace);
            let (mut found, mut looked_for) = (carries(&listed), until(&listed));
            if found.is_none() && looked_for <= now {
                // The listing began at a moment of our clock, which may have been wrong by hours when it was announced:
                // before it is made again, all there is is looked through.
                if everything.is_none() {
                    let looked = engine.store.note(&engine.route, looked_through(side))?;
                    let again = looked.and_then(|at| at.parse().ok()).map(|at: Timestamp| later(at, grace));
                    // A moment further ahead than the grace was noted by a clock that was wrong.
                    if again.is_none_or(|again| again <= now || again > later(now, grace)) {
                        let listed = everything.insert(look(BEGINNING)?);
                        if !listed.whole {
                            notes.push((looked_through(side).to_owned(), now.to_string()));
                        }
                    }
                }
                (found, looked_for) = match &everything {
                    Some(everything) => (carries(everything), until(everything)),
                    None => (None, later(now, grace)),
                };
            }
            open.push(OpenCreation {
                id: intent.id,
                source: intent.source.clone(),
                until: looked_for,
                found,
                tried_at: intent.tried_at,
                sent: intent.sent.clone(),
            });
        }
    }
    Ok(open)
}
