//! Carries an undo out: each step only if it still is what was shown, each write only on what was just read.

use super::decide::{Left, Undo};
use super::trace::undoing;
use super::values::taken;
use super::{UndoPlan, UndoReport};
use crate::clock::Stopwatch;
use crate::engine::lag::READS_MAX;
use crate::engine::unmade;
use crate::engine::{Ended, Engine, EngineError, PassOptions, Report, Watch};
use crate::model::{BySide, Change, Content, Field, FieldChange, Item, ItemKey, LinkStatus, PassId, Place};
use crate::provider::{ProviderError, Remedy};
use crate::reconcile::{Sight, Write};
use crate::store::{LinkChange, NewDue, NewEntry, Record};

/// Writes that may fail one after another before the undo ends.
const FAILURES_IN_ROW_MAX: u32 = 3;

/// How often an item is read before it is written, where its turn comes late each time.
const LOOKS_MAX: u32 = 3;

/// What is said of an item that moved between the plan and the write.
const MOVED: &str = "it changed after this undo was shown; look again";

/// What is said of an item that the undo did not come to.
const NOT_TRIED: &str = "the undo ended before it; nothing was written to it";

/// What is said of an item at which the undo was stopped.
const STOPPED: &str = "the undo was stopped before it was done";

/// How one step ended.
enum PutBack {
    Done,
    /// This item is not what it was decided from any more; it was not written.
    Moved(ItemKey),
    /// This item's provider refused it, or could not be reached.
    Failed(ItemKey, ProviderError),
}

/// What was done, and what was left.
#[derive(Default)]
struct Tally {
    done: Vec<Undo>,
    left: Vec<Left>,
}

impl Tally {
    fn leave(&mut self, item: Option<ItemKey>, why: &str) {
        if let Some(item) = item {
            self.left.push(Left { item, field: None, why: why.to_owned(), already: false });
        }
    }
}

/// What the items of a step showed when they were last read, and when that was.
struct Halves {
    shown: BySide<Option<(Content, Option<String>)>>,
    read: Stopwatch,
}

impl Engine {
    /// Carries out what was planned, each step only if it still is what was planned. Whatever ends it early: each step
    /// that was shown is among what was done or what was left.
    ///
    /// # Errors
    /// As a pass. When the database fails, or the lease is lost, the history alone tells what was put back before.
    pub fn undo(&self, plan: &UndoPlan, options: &PassOptions) -> Result<UndoReport, EngineError> {
        let left = plan.steps.iter().flat_map(|step| step.left.clone()).filter(|left| !left.already);
        let mut tally = Tally { done: Vec::new(), left: left.collect() };
        let report = self.led("undo", options, &mut |watch, report| {
            let Some(pass) = plan.pass else { return Ok(Ended::Settled) };
            let steps: Vec<&Undo> = plan.steps.iter().filter(|step| !step.is_empty()).collect();
            self.progress.planned(steps.len());
            let mut steps = steps.into_iter();
            let ended = self.put_back(watch, report, pass, &mut steps, &mut tally);
            for step in steps {
                tally.leave(step.item(), NOT_TRIED);
            }
            let missing = u64::try_from(tally.left.len()).unwrap_or(u64::MAX);
            report.counts.skipped = missing.saturating_sub(report.counts.again);
            Ok(ended?.unwrap_or(if missing > 0 { Ended::Drift } else { Ended::Settled }))
        })?;
        Ok(UndoReport { report, done: tally.done, left: tally.left })
    }

    /// Step after step. Answers how it ended, if it ended early.
    fn put_back<'a>(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        pass: PassId,
        steps: &mut impl Iterator<Item = &'a Undo>,
        tally: &mut Tally,
    ) -> Result<Option<Ended>, EngineError> {
        let mut in_row = 0;
        for step in steps {
            let put_back = match self.put_back_step(watch, report, pass, step, tally) {
                Ok(put_back) => put_back,
                Err(error) => {
                    let why = error.to_string();
                    let stopped = matches!(
                        error,
                        EngineError::Stopped | EngineError::Provider { error: ProviderError::Stopped, .. }
                    );
                    tally.leave(step.item(), if stopped { STOPPED } else { &why });
                    return Err(error);
                }
            };
            match put_back {
                PutBack::Done => in_row = 0,
                PutBack::Moved(item) => tally.leave(Some(item), MOVED),
                PutBack::Failed(item, error) => {
                    report.counts.again += 1;
                    tally.leave(Some(item), &error.to_string());
                    let denied = error.remedy() == Remedy::StopSide;
                    in_row += u32::from(matches!(error.remedy(), Remedy::RetryLater { .. }));
                    if error == ProviderError::Stopped {
                        return Ok(Some(Ended::Stopped));
                    }
                    if denied || in_row >= FAILURES_IN_ROW_MAX {
                        report.messages.insert(0, format!("the undo was given up: {error}"));
                        return Ok(Some(Ended::Failed));
                    }
                }
            }
        }
        Ok(None)
    }

    /// One step, as far as it comes; what of it was made is among what was done.
    fn put_back_step(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        pass: PassId,
        step: &Undo,
        tally: &mut Tally,
    ) -> Result<PutBack, EngineError> {
        watch.renew()?;
        let Some(group) = &step.group else { return Ok(PutBack::Done) };
        let read = Stopwatch::start(&*self.clock);
        let fresh = self.undo_of(group, pass)?;
        if !fresh.same(step) {
            return Ok(match (fresh.unread, step.item()) {
                (Some((item, why)), _) => PutBack::Failed(item.clone(), unread(&item, why)),
                (None, Some(item)) => PutBack::Moved(item),
                (None, None) => PutBack::Done,
            });
        }
        let mut made = Undo { writes: BySide::default(), unlink: false, wake: false, ..fresh.clone() };
        let put_back = self.write_back(watch, report, pass, &fresh, read, &mut made);
        tally.left.extend_from_slice(&made.left[fresh.left.len()..]);
        if !made.is_empty() {
            tally.done.push(made);
        }
        put_back
    }

    /// One pair: the writes, then what we know of the link. A pair that is let go of is so before anything is written to
    /// it: whatever becomes of the write, no pass takes it for an edit and carries it over to the other half.
    /// Notes in `made` what it did, and among what is left there what a service did not take.
    fn write_back(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        pass: PassId,
        step: &Undo,
        read: Stopwatch,
        made: &mut Undo,
    ) -> Result<PutBack, EngineError> {
        let mut record = self.letting_go(report, pass, step);
        let mut halves = Halves { shown: step.seen.clone(), read };
        let mut whole = true;
        for (side, write) in step.writes.iter() {
            let Some(write) = write else { continue };
            let number = report.pass;
            let entry = |kind: &str, changes, cause: String| NewEntry {
                at: self.clock.now(),
                pass: number,
                link: step.link,
                kind: kind.to_owned(),
                item: write.item.clone(),
                partner: step.items[side.opposite()].clone(),
                changes,
                cause,
                actor: self.actor.clone(),
            };
            let mut looks = 1;
            let answer = loop {
                let current = match self.unmoved(step, write, &mut halves)? {
                    Ok(current) => current,
                    Err(put_back) => return Ok(put_back),
                };
                let mut ahead = std::mem::take(&mut record);
                ahead.history.push(entry("undo", write.fields.clone(), undoing(pass)));
                // Both halves are looked at, also if we are stopped before it is known what became of the write.
                ahead.due = self.looked_at_next(step, pass);
                self.store.record(watch.lease, &ahead, self.clock.now())?;
                made.unlink |= !ahead.unlink.is_empty();
                report.counts.noted += u64::from(!ahead.unlink.is_empty());
                let error = match self.providers[side].update(&current, &write.change) {
                    Ok(answer) => break answer,
                    Err(error) => error,
                };
                let history = vec![entry(unmade::kind(&error, &write.change), Vec::new(), error.to_string())];
                self.store.record(watch.lease, &Record { history, ..Record::default() }, self.clock.now())?;
                let untouched = self.untouched(&error, write, &halves, report, made);
                if !untouched || !matches!(error, ProviderError::Stale { .. }) || looks == LOOKS_MAX {
                    return Ok(PutBack::Failed(write.item.clone(), error));
                }
                looks += 1;
                watch.renew()?;
            };
            // A service may drop what it does not allow without a word.
            let dropped = self.take_note(write, &answer.content, report, made);
            if !dropped.is_empty() {
                whole = false;
                let why = format!(
                    "{} accepted the change but did not make it; the token may lack the right to (`evenkeel check`)",
                    side.service()
                );
                made.left.extend(dropped.iter().map(|change| Left {
                    item: write.item.clone(),
                    field: Some(change.field),
                    why: why.clone(),
                    already: false,
                }));
                let history = vec![entry("failed", dropped, why)];
                self.store.record(watch.lease, &Record { history, ..Record::default() }, self.clock.now())?;
            }
            halves.shown[side] = Some((answer.content, answer.footer));
        }
        if let Some(link) = step.link.filter(|_| !step.unlink) {
            if step.wake && whole {
                let change = LinkChange { status: Some(LinkStatus::Active), ..LinkChange::default() };
                record.change.push((link, change));
                report.counts.noted += 1;
                made.wake = true;
            }
            record.due = self.looked_at_next(step, pass);
        }
        self.store.record(watch.lease, &record, self.clock.now())?;
        made.unlink |= !record.unlink.is_empty();
        report.counts.noted += u64::from(!record.unlink.is_empty());
        Ok(PutBack::Done)
    }

    /// Takes note of the fields that a write put back, as its item shows; answers those that it did not.
    fn take_note(&self, write: &Write, shown: &Content, report: &mut Report, made: &mut Undo) -> Vec<FieldChange> {
        let side = write.item.side();
        let (put_back, dropped): (Vec<FieldChange>, Vec<FieldChange>) =
            write.fields.iter().cloned().partition(|change| taken(side, change, shown, &self.rules));
        if !put_back.is_empty() {
            log::info!("pass {}: {} put back", report.pass, write.item);
            report.counts.updated += 1;
            made.writes[side] = Some(only(write, put_back));
        }
        dropped
    }

    /// Whether a write that did not succeed left its item as it was, as far as can be told; of one that takes several
    /// requests some may have been made, and what they put back is noted.
    fn untouched(
        &self,
        error: &ProviderError,
        write: &Write,
        halves: &Halves,
        report: &mut Report,
        made: &mut Undo,
    ) -> bool {
        if unmade::kind(error, &write.change) == "failed" {
            return true;
        }
        let Ok(Sight::Shown(item)) = self.sight(&write.item) else { return false };
        let shown = (item.content, item.footer);
        let untouched = halves.shown[write.item.side()].as_ref() == Some(&shown);
        if !untouched {
            self.take_note(write, &shown.0, report, made);
        }
        untouched
    }

    /// The item of a write, read just now, if both halves still are what the step was decided from. The other half is
    /// read again where that was long ago: an edit of it that nobody looked at would be older than the value put back,
    /// and lose to it.
    fn unmoved(
        &self,
        step: &Undo,
        write: &Write,
        halves: &mut Halves,
    ) -> Result<Result<Box<Item>, PutBack>, EngineError> {
        let side = write.item.side();
        let other = side.opposite();
        // Of a pair that is let go of, no pass compares the halves.
        let partner = step.items[other].as_ref().filter(|_| step.link.is_some() && !step.unlink);
        let late = |halves: &Halves| partner.is_some() && halves.read.elapsed(&*self.clock) > READS_MAX;
        for _ in 0..LOOKS_MAX {
            if let Some(partner) = partner.filter(|_| late(halves)) {
                halves.read = Stopwatch::start(&*self.clock);
                let shown = match self.sight(partner)? {
                    Sight::Unseen(why) => return Ok(Err(PutBack::Failed(partner.clone(), unread(partner, why)))),
                    Sight::Shown(item) if item.place == Place::Left => {
                        return Ok(Err(PutBack::Moved(partner.clone())));
                    }
                    Sight::Shown(item) => Some((item.content, item.footer)),
                    _ => None,
                };
                if shown != halves.shown[other] {
                    return Ok(Err(PutBack::Moved(partner.clone())));
                }
            }
            let item = match self.sight(&write.item)? {
                Sight::Shown(item) if item.place == Place::Here => item,
                Sight::Shown(_) | Sight::Moved(_) => return Ok(Err(PutBack::Moved(write.item.clone()))),
                Sight::Unseen(why) => return Ok(Err(PutBack::Failed(write.item.clone(), unread(&write.item, why)))),
                _ => {
                    let doing = format!("reading {} before it is written", write.item);
                    return Ok(Err(PutBack::Failed(write.item.clone(), ProviderError::Gone { doing })));
                }
            };
            if halves.shown[side].as_ref() != Some(&(item.content.clone(), item.footer.clone())) {
                return Ok(Err(PutBack::Moved(write.item.clone())));
            }
            if !late(halves) {
                return Ok(Ok(item));
            }
        }
        let doing = format!("reading {} and its partner in time before it is written", write.item);
        Ok(Err(PutBack::Failed(write.item.clone(), ProviderError::Busy { doing, retry_after: None })))
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

/// The part of a write that was taken.
fn only(write: &Write, taken: Vec<FieldChange>) -> Write {
    let has = |field| taken.iter().any(|change| change.field == field);
    let whole = write.change.clone();
    let change = Change {
        title: whole.title.filter(|_| has(Field::Title)),
        text: whole.text.filter(|_| has(Field::Body)),
        status: whole.status.filter(|_| has(Field::Status)),
        assignees: whole.assignees.filter(|_| has(Field::Assignees)),
        labels: whole.labels.filter(|_| has(Field::Labels)),
    };
    Write { item: write.item.clone(), change, fields: taken }
}

fn unread(item: &ItemKey, why: String) -> ProviderError {
    let doing = format!("reading {item} before it is written");
    ProviderError::Unreachable { doing, why, maybe_done: false }
}
