//! Direct reads: an item that may have moved, one that is due, one that a listing left out.

use super::{Gathering, MISSING_READS_MAX, Mode, READ_FAILURES_MAX, by_item};
use crate::engine::EngineError;
use crate::engine::remedy::UNREAD;
use crate::model::{ItemKey, LinkId, LinkStatus, Place, Side, Timestamp};
use crate::provider::{Found, ProviderError, Remedy};
use crate::reconcile::{Sight, Skip, fingerprint};
use crate::store::NewDue;

impl Gathering<'_> {
    /// Reads one item that may have moved. Answers false when it is not in the route (any more).
    pub(super) fn read(&mut self, key: &ItemKey) -> Result<bool, EngineError> {
        let engine = self.engine;
        let side = key.side();
        let sight = self.look(key)?;
        // What was asked for by the former name of its repository is linked by the one of now.
        let named = match &sight {
            Sight::Shown(item) => &item.key,
            Sight::Absent | Sight::Moved(_) | Sight::Unmoved | Sight::Unseen(_) => key,
        };
        let brief = by_item(side, engine.store.briefs(&engine.route, std::slice::from_ref(named))?).remove(named);
        let there = match &sight {
            Sight::Shown(item) => item.place == Place::Here,
            Sight::Absent | Sight::Moved(_) => false,
            Sight::Unmoved | Sight::Unseen(_) => true,
        };
        self.plan.seen[side] += 1;
        match (brief, sight) {
            (Some(brief), Sight::Shown(item)) => {
                self.linked(side, &brief, *item);
            }
            (Some(brief), sight) => {
                self.present[side].set(brief.id);
                self.pairs.entry(brief.id).or_default()[side] = Some(sight);
            }
            (None, Sight::Shown(item)) => self.stranger(*item)?,
            // None of ours: there is nothing to come back for.
            (None, Sight::Unseen(_)) if self.no_items.contains(key) => {}
            (None, Sight::Unseen(why)) => {
                self.again(key, key, &why)?;
                self.plan.skip(Skip { item: key.clone(), why: format!("it could not be read: {why}") });
            }
            (None, Sight::Absent | Sight::Moved(_) | Sight::Unmoved) => {}
        }
        Ok(there)
    }

    /// Reads an item and, when it is linked, its partner too: nothing is inferred from a cursor.
    pub(super) fn visit(&mut self, key: &ItemKey) -> Result<(), EngineError> {
        let engine = self.engine;
        let due = self.insists(key);
        let brief = by_item(key.side(), engine.store.briefs(&engine.route, std::slice::from_ref(key))?).remove(key);
        let Some(brief) = brief else { return self.read(key).map(|_| ()) };
        let known = self.pairs.entry(brief.id).or_default()[key.side()].is_some();
        if !known {
            let sight = self.look(key)?;
            self.plan.seen[key.side()] += 1;
            // An echo of our own write shows what it showed when last in step: one read and no more.
            if let Sight::Shown(item) = &sight
                && !due
                && !brief.waits
                && brief.seen[key.side()] == Some(fingerprint(item, &engine.rules.policy))
            {
                // The other half may have been seen to move.
                if self.pairs.get(&brief.id).is_some_and(|sights| sights[key.side().opposite()].is_none()) {
                    self.pairs.remove(&brief.id);
                }
                return Ok(());
            }
            self.pairs.entry(brief.id).or_default()[key.side()] = Some(sight);
        }
        Ok(())
    }

    /// A direct read. One item's failure is that item's failure; several in a row are the side's. If the side
    /// has answered in this pass, the other reads wait for the next and the pass goes on; if not, it ends.
    pub(super) fn look(&mut self, key: &ItemKey) -> Result<Sight, EngineError> {
        let side = key.side();
        if self.read_failures[side] >= READ_FAILURES_MAX && self.answered[side] {
            self.untried.insert(key.clone());
            return Ok(Sight::Unseen(format!("not tried, {} had stopped answering", side.service())));
        }
        match self.engine.providers[side].item(key) {
            Ok(found) => {
                self.read_failures[side] = 0;
                self.answered[side] = true;
                Ok(match found {
                    Found::Here(mut item) => {
                        self.known_name(&mut item)?;
                        Sight::Shown(item)
                    }
                    Found::Moved(to) => Sight::Moved(to),
                    Found::Gone => Sight::Absent,
                    Found::Unseen(why) => Sight::Unseen(why),
                    Found::NotAnItem => {
                        self.no_items.insert(key.clone());
                        Sight::Unseen("it is no work item (any more)".to_owned())
                    }
                })
            }
            Err(error @ (ProviderError::Stopped | ProviderError::Denied { .. } | ProviderError::Resting { .. })) => {
                Err(EngineError::Provider { side, error })
            }
            Err(error) => {
                if let Remedy::RetryLater { .. } = error.remedy() {
                    self.read_failures[side] += 1;
                    if self.read_failures[side] > READ_FAILURES_MAX {
                        return Err(EngineError::Provider { side, error });
                    }
                    if self.read_failures[side] == READ_FAILURES_MAX && self.answered[side] {
                        self.messages.push(format!(
                            "{}: {READ_FAILURES_MAX} reads in a row had no answer; the other single reads wait",
                            side.service()
                        ));
                    }
                }
                Ok(Sight::Unseen(error.to_string()))
            }
        }
    }

    /// Linked items that a whole listing did not show: absent from a listing is not gone.
    pub(super) fn missing(&mut self, alive: &mut dyn FnMut(u64) -> Result<(), EngineError>) -> Result<(), EngineError> {
        let engine = self.engine;
        if !Side::BOTH.into_iter().any(|side| self.mode[side] == Mode::Swept) {
            return Ok(());
        }
        let ids = engine.store.link_ids(&engine.route, LinkStatus::Active)?;
        for side in Side::BOTH {
            // A side that shows nothing at all is the brakes' business.
            if self.mode[side] != Mode::Swept || self.plan.seen[side] == 0 {
                continue;
            }
            let mut missing: Vec<LinkId> = ids.iter().copied().filter(|id| !self.present[side].has(*id)).collect();
            turn(&mut missing, self.now);
            if missing.len() > MISSING_READS_MAX {
                self.messages.push(format!(
                    "{} did not list {} of {} linked items; {MISSING_READS_MAX} of them are read one by one, others \
                     by the next sweep",
                    side.service(),
                    missing.len(),
                    ids.len()
                ));
            }
            let looked: Vec<LinkId> = missing.into_iter().take(MISSING_READS_MAX).collect();
            for link in engine.store.links_by_id(&looked)? {
                alive(0)?;
                let sight = self.look(&link.key(side))?;
                if let Sight::Shown(item) = &sight
                    && link.seen[side] == Some(fingerprint(item, &engine.rules.policy))
                {
                    continue;
                }
                self.pairs.entry(link.id).or_default()[side] = Some(sight);
            }
        }
        Ok(())
    }

    /// Makes an item due again after `looked_at` could not be read; parks it after the last attempt. A look that
    /// was not even tried is no attempt.
    pub(super) fn again(&mut self, key: &ItemKey, looked_at: &ItemKey, why: &str) -> Result<(), EngineError> {
        let engine = self.engine;
        if self.parked.contains(key) {
            // It waits for a person, with what it was parked for.
            return Ok(());
        }
        let tried = u32::from(!self.untried.contains(looked_at));
        let attempts = engine.store.attempts(&engine.route, key)?.saturating_add(tried);
        let parked = attempts >= engine.patience.attempts_max;
        // Cleared and set anew, so that the new time counts and not the earlier one.
        self.closing.clear_due.push(key.clone());
        self.closing.due.push(NewDue {
            item: key.clone(),
            reason: "it could not be read".to_owned(),
            not_before: engine.backoff().not_before(key, attempts, None, self.now),
            attempts,
            last_error: Some(if parked { format!("{why}; {UNREAD}") } else { why.to_owned() }),
            parked,
        });
        Ok(())
    }
}

/// Begins a list at another place at every moment, so that a limit on it does not leave out the same ones each time.
fn turn<T>(list: &mut [T], now: Timestamp) {
    if let Some(places) = u64::try_from(list.len()).ok().filter(|places| *places > 0) {
        let start = now.as_second().unsigned_abs() % places;
        list.rotate_left(usize::try_from(start).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_missing_item_has_its_turn_at_some_sweep_and_none_is_left_out() {
        let mut first = std::collections::BTreeSet::new();
        for second in 0..7 {
            let mut list: Vec<u32> = (0..7).collect();
            turn(&mut list, Timestamp::from_second(1_795_000_000 + second).expect("in range"));
            first.insert(list[0]);
            list.sort_unstable();
            assert_eq!(list, (0..7).collect::<Vec<_>>());
        }
        assert_eq!(first.len(), 7);
        turn::<u32>(&mut [], Timestamp::UNIX_EPOCH);
    }
}
