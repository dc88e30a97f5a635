//! Carries an undo out: each step only if it still is what was shown.

use super::decide::{Left, Undo};
use super::trace::undoing;
use super::{UndoPlan, UndoReport};
use crate::engine::{Ended, Engine, EngineError, PassOptions, Report, Watch};
use crate::model::{ItemKey, LinkStatus, PassId};
use crate::provider::{ProviderError, Remedy};
use crate::reconcile::Sight;
use crate::store::{LinkChange, NewDue, NewEntry, Record};

/// Writes that may fail one after another before the undo ends.
const FAILURES_IN_ROW_MAX: u32 = 3;

/// What is said of an item that moved between the plan and the write.
const MOVED: &str = "it changed after this undo was shown; look again";

/// How one step ended.
enum PutBack {
    Done,
    /// This item is not what it was decided from any more; it was not written.
    Moved(ItemKey),
    /// This item's provider refused it, or could not be reached.
    Failed(ItemKey, ProviderError),
}

impl Engine {
    /// Carries out what was planned, each step only if it still is what was planned.
    pub fn undo(&self, plan: &UndoPlan, options: &PassOptions) -> Result<UndoReport, EngineError> {
        let mut done = Vec::new();
        let mut left: Vec<Left> = plan.steps.iter().flat_map(|step| step.left.clone()).collect();
        let report = self.led("undo", options, &mut |watch, report| {
            let Some(pass) = plan.pass else { return Ok(Ended::Settled) };
            self.put_back(watch, report, pass, &plan.steps, &mut done, &mut left)
        })?;
        left.retain(|left| !left.already);
        Ok(UndoReport { report, done, left })
    }

    fn put_back(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        pass: PassId,
        steps: &[Undo],
        done: &mut Vec<Undo>,
        left: &mut Vec<Left>,
    ) -> Result<Ended, EngineError> {
        let mut in_row = 0;
        let mut ended = None;
        self.progress.planned(steps.iter().filter(|step| !step.is_empty()).count());
        for step in steps.iter().filter(|step| !step.is_empty()) {
            match watch.renew() {
                Ok(()) => {}
                Err(EngineError::Stopped) => {
                    ended = Some(Ended::Stopped);
                    break;
                }
                Err(error) => return Err(error),
            }
            let Some(group) = &step.group else { continue };
            let fresh = self.undo_of(group, pass)?;
            if !fresh.same(step) {
                let item = step.items.iter().find_map(|(_, item)| item.clone());
                if let Some(item) = item {
                    left.push(Left { item, field: None, why: MOVED.to_owned(), already: false });
                }
                continue;
            }
            match self.put_back_one(watch, report, pass, &fresh)? {
                PutBack::Done => {
                    in_row = 0;
                    done.push(fresh);
                }
                PutBack::Moved(item) => {
                    left.push(Left { item, field: None, why: MOVED.to_owned(), already: false });
                }
                PutBack::Failed(item, error) => {
                    report.counts.again += 1;
                    left.push(Left { item, field: None, why: error.to_string(), already: false });
                    let denied = error.remedy() == Remedy::StopSide;
                    in_row += u32::from(matches!(error.remedy(), Remedy::RetryLater { .. }));
                    if error == ProviderError::Stopped {
                        ended = Some(Ended::Stopped);
                    } else if denied || in_row >= FAILURES_IN_ROW_MAX {
                        report.messages.insert(0, format!("the undo was given up: {error}"));
                        ended = Some(Ended::Failed);
                    }
                    if ended.is_some() {
                        break;
                    }
                }
            }
        }
        let missing = left.iter().filter(|left| !left.already).count();
        report.counts.skipped = u64::try_from(missing).unwrap_or(u64::MAX) - report.counts.again;
        Ok(ended.unwrap_or(if missing > 0 { Ended::Drift } else { Ended::Settled }))
    }

    /// One pair: the writes, then what we know of the link. A pair that is let go of is so before anything is written to
    /// it: whatever becomes of the write, no pass takes it for an edit and carries it over to the other half.
    fn put_back_one(
        &self,
        watch: &Watch<'_>,
        report: &mut Report,
        pass: PassId,
        step: &Undo,
    ) -> Result<PutBack, EngineError> {
        let mut record = self.letting_go(report, pass, step);
        for (side, write) in step.writes.iter() {
            let Some(write) = write else { continue };
            let current = match self.sight(&write.item)? {
                Sight::Shown(item) => item,
                _ => {
                    let doing = format!("reading {} before it is written", write.item);
                    return Ok(PutBack::Failed(write.item.clone(), ProviderError::Gone { doing }));
                }
            };
            // The other half was read since, and perhaps written.
            if step.seen[side].as_ref().is_some_and(|seen| *seen != (current.content.clone(), current.footer.clone())) {
                return Ok(PutBack::Moved(write.item.clone()));
            }
            let entry = |kind: &str, changes, cause: String| NewEntry {
                at: self.clock.now(),
                pass: report.pass,
                link: step.link,
                kind: kind.to_owned(),
                item: write.item.clone(),
                partner: step.items[side.opposite()].clone(),
                changes,
                cause,
                actor: self.actor.clone(),
            };
            let mut ahead = std::mem::take(&mut record);
            ahead.history.push(entry("undo", write.fields.clone(), undoing(pass)));
            // Both halves are looked at, also if we are stopped before it is known what became of the write.
            ahead.due = self.looked_at_next(step, pass);
            self.store.record(watch.lease, &ahead, self.clock.now())?;
            report.counts.noted += u64::from(!ahead.unlink.is_empty());
            if let Err(error) = self.providers[side].update(&current, &write.change) {
                let kind = if error.maybe_done() { "unanswered" } else { "failed" };
                let history = vec![entry(kind, Vec::new(), error.to_string())];
                self.store.record(watch.lease, &Record { history, ..Record::default() }, self.clock.now())?;
                return Ok(PutBack::Failed(write.item.clone(), error));
            }
            log::info!("pass {}: {} put back as before pass {pass}", report.pass, write.item);
            report.counts.updated += 1;
        }
        if let Some(link) = step.link.filter(|_| !step.unlink) {
            if step.wake {
                let change = LinkChange { status: Some(LinkStatus::Active), ..LinkChange::default() };
                record.change.push((link, change));
                report.counts.noted += 1;
            }
            record.due = self.looked_at_next(step, pass);
        }
        self.store.record(watch.lease, &record, self.clock.now())?;
        report.counts.noted += u64::from(!record.unlink.is_empty());
        Ok(PutBack::Done)
    }

    /// What lets go of the step's pair, if it does.
    fn letting_go(&self, report: &Report, pass: PassId, step: &Undo) -> Record {
        let mut record = Record::default();
        let Some(link) = step.link.filter(|_| step.unlink) else { return record };
        record.unlink.push((link, undoing(pass)));
        record.clear_due.extend(step.items.iter().filter_map(|(_, item)| item.clone()));
        if let Some(item) = step.items.iter().find_map(|(_, item)| item.clone()) {
            record.history.push(NewEntry {
                at: self.clock.now(),
                pass: report.pass,
                link: Some(link),
                kind: "unlink".to_owned(),
                partner: step.items[item.side().opposite()].clone(),
                item,
                changes: Vec::new(),
                cause: undoing(pass),
                actor: self.actor.clone(),
            });
        }
        record
    }

    /// Both items of a pair, due at once: the next pass carries what was put back to the other side.
    fn looked_at_next(&self, step: &Undo, pass: PassId) -> Vec<NewDue> {
        let items = step.items.iter().filter_map(|(_, item)| item.clone());
        items
            .filter(|_| step.link.is_some() && !step.unlink)
            .map(|item| NewDue {
                item,
                reason: format!("pass {pass} was undone on it"),
                not_before: self.clock.now(),
                attempts: 0,
                last_error: None,
                parked: false,
            })
            .collect()
    }
}
