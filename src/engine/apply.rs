//! Carries a plan out, one repair at a time: intent, re-read, write, record.
//!
//! One item's failure is that item's failure and is sorted by its remedy; the database's failure ends
//! the pass; several items failing alike in a row are the provider's failure and end it too.

mod birth;
mod in_step;
mod notices;
mod put_off;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::put_off::PutOff;
use super::overtake::{self, OVERTAKE};
use super::remedy::{MOVING, advice};
use super::{Ended, Engine, EngineError, Report, Watch};
use crate::clock::later;
use crate::model::{BySide, FieldChange, IntentId, ItemKey, Link, LinkId, Side, Timestamp};
use crate::provider::{ProviderError, Remedy};
use crate::reconcile::{Action, PairSeen, Repair};
use crate::store::{NewDue, NewEntry, Record, StoreError};

/// Repairs that may fail alike in a row before the pass ends and leaves the rest for the next.
const FAILURES_IN_ROW_MAX: u32 = 3;

/// Why one repair did not come to its end.
enum Failure {
    /// A provider said no, at this item.
    Item(ItemKey, ProviderError),
    /// It needs a person, for this reason.
    Ask(ItemKey, String),
    /// It kept moving under our hands.
    Moving(ItemKey),
    /// It has a partner by now, or another route makes one, as this says.
    Claimed(ItemKey, String),
    /// Ends the pass.
    Pass(EngineError),
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        Self::Pass(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            // A pair that wakes up while one of its items has found another partner: that pair's business.
            StoreError::AlreadyLinked { ref task, .. } => {
                let task = ItemKey::Task(task.clone());
                let what = format!(
                    "{error}; `evenkeel why {task}` shows the pair, `evenkeel links remove {task}` lets go of it"
                );
                Self::Ask(task, what)
            }
            StoreError::Claimed { ref item, .. } => Self::Claimed(item.clone(), error.to_string()),
            error => Self::Pass(EngineError::Store(error)),
        }
    }
}

/// One pass's hands.
struct Hands<'a, 'b> {
    engine: &'a Engine,
    watch: &'a mut Watch<'b>,
    report: &'a mut Report,
    /// Creations announced in this pass.
    announced: Vec<IntentId>,
}

impl Engine {
    /// The last two steps of a pass. Answers how it ended; the cursors move only when all is settled or due.
    pub(super) fn apply(
        &self,
        watch: &mut Watch<'_>,
        report: &mut Report,
        mut pairs: BTreeMap<LinkId, PairSeen>,
        mut closing: Record,
        more: bool,
    ) -> Result<Ended, EngineError> {
        let repairs = std::mem::take(&mut report.plan.repairs);
        let writing = repairs.iter().filter(|repair| repair.writes()).count();
        self.progress.planned(writing);
        let kind = report.kind;
        let mut in_row = 0;
        let mut halted = None;
        let mut put_off = PutOff::default();
        let mut stale = Vec::new();
        let mut hands = Hands { engine: self, watch, report, announced: Vec::new() };
        for repair in &repairs {
            if put_off.takes(repair) {
                continue;
            }
            match hands.watch.renew() {
                Ok(()) => {}
                Err(EngineError::Stopped) => {
                    halted = Some(Ended::Stopped);
                    break;
                }
                Err(error) => return Err(error),
            }
            if !hands.watch.take_in_hand(repair.link) {
                stale.extend(repair.items.iter().filter_map(|(_, item)| item.clone()));
                continue;
            }
            let pair = repair.link.and_then(|id| pairs.remove(&id));
            // A repair that panics is parked like one that the provider refuses; the rest goes on.
            let outcome = catch_unwind(AssertUnwindSafe(|| hands.repair(repair, pair)))
                .unwrap_or_else(|_| Err(hands.panicked(repair)));
            hands.watch.let_go();
            match outcome {
                Ok(()) => {
                    in_row = 0;
                    if repair.writes() {
                        self.progress.repaired(hands.report.pass, repair, Ok(()));
                    }
                }
                Err(Failure::Pass(error)) => {
                    hands.report.plan.repairs = repairs;
                    return Err(error);
                }
                Err(Failure::Item(_, ProviderError::Busy { doing, retry_after: Some(after) })) => {
                    let until = later(self.clock.now(), after);
                    let said = format!("{doing}: the limit allows it in {} s", after.as_secs());
                    self.progress.repaired(hands.report.pass, repair, Err(&said));
                    put_off.told(repair, until, said);
                }
                Err(failure) => {
                    let verdict = hands.failed(repair, failure, &mut in_row)?;
                    if verdict.is_some() {
                        halted = verdict;
                        break;
                    }
                }
            }
        }
        let questions = std::mem::take(&mut hands.report.plan.questions);
        for question in &questions {
            closing.due.push(NewDue {
                item: question.item.clone(),
                reason: question.what.clone(),
                not_before: self.clock.now(),
                attempts: 0,
                last_error: None,
                parked: true,
            });
        }
        hands.report.plan.questions = questions;
        hands.report.plan.repairs = repairs;
        hands.put_off(put_off, &mut closing)?;
        // What a visit past a pass finds unsaid may be what that pass is about to say.
        if halted.is_none() && kind != OVERTAKE {
            hands.comments()?;
            hands.notices()?;
        }
        let overtaken = hands.watch.overtaken();
        leave_out(&mut closing, &overtaken, stale, self.clock.now());
        // One whose grace was over may have been announced anew under its old number; if that had no answer
        // either, it must stay open.
        closing.close_intents.retain(|intent| !hands.announced.contains(intent));
        if halted.is_some() || more {
            // What was seen under the cursors is neither settled nor due: they stay.
            closing.cursors.clear();
        }
        let swept = report.kind == "sweep" && halted.is_none() && !more;
        if swept {
            closing.notes.push(("last_sweep".to_owned(), self.clock.now().to_string()));
        }
        self.store.record(watch.lease, &closing, self.clock.now())?;
        let asked = u64::try_from(report.plan.questions.len()).unwrap_or(u64::MAX);
        let drift = more
            || asked > 0
            || report.counts.again > 0
            || report.counts.parked > 0
            || report.counts.waiting > 0
            || self.store.count_due(&self.route)? > 0
            // What waits for a person is drift too, also when this pass did not look at it.
            || !self.store.parked(Some(&self.route))?.is_empty()
            || !self.store.waiting_links(Some(&self.route), 1)?.is_empty();
        report.counts.parked += asked;
        Ok(match halted {
            Some(ended) => ended,
            None if drift => Ended::Drift,
            None => Ended::Settled,
        })
    }
}

impl Hands<'_, '_> {
    fn repair(&mut self, repair: &Repair, pair: Option<PairSeen>) -> Result<(), Failure> {
        match (&repair.action, pair) {
            (Action::Create { from, content }, _) => self.create(repair, from, content),
            (Action::Join { items, intent, known, .. }, _) => self.join(repair, items, *intent, known.as_deref()),
            (Action::Update { .. } | Action::Retire { .. } | Action::Note { .. }, Some(pair)) => {
                self.in_step(repair.clone(), pair)
            }
            // A linked repair always has its pair; without it there is nothing to hold it against.
            (Action::Update { .. } | Action::Retire { .. } | Action::Note { .. }, None) => Ok(()),
        }
    }

    /// Sorts a failure by its remedy. Answers how the pass ends, when it does.
    fn failed(&mut self, repair: &Repair, failure: Failure, in_row: &mut u32) -> Result<Option<Ended>, EngineError> {
        let engine = self.engine;
        let now = engine.clock.now();
        // What a person can do about it, unless the failure says so itself.
        let (key, message, remedy, advice) = match failure {
            Failure::Pass(error) => return Err(error),
            Failure::Item(_, ProviderError::Stopped) => return Ok(Some(Ended::Stopped)),
            Failure::Item(key, error) => (key, error.to_string(), error.remedy(), Some(advice(&error))),
            Failure::Ask(key, what) => (key, what, Remedy::Park, None),
            Failure::Moving(key) => {
                let what = "it kept changing while it was being repaired".to_owned();
                (key, what, Remedy::ObserveAgain, Some(MOVING))
            }
            Failure::Claimed(key, what) => (key, what, Remedy::ObserveAgain, None),
        };
        engine.progress.repaired(self.report.pass, repair, Err(&message));
        let subject = repair.subject().cloned().unwrap_or(key);
        let attempts = engine.store.attempts(&engine.route, &subject)?.saturating_add(1);
        let mut due = NewDue {
            item: subject.clone(),
            reason: repair.cause.clone(),
            not_before: now,
            attempts,
            last_error: Some(message.clone()),
            parked: attempts >= engine.patience.attempts_max,
        };
        let mut ends = None;
        match remedy {
            Remedy::RetryLater { after } => {
                due.not_before = engine.backoff().not_before(&subject, attempts, after, now);
                *in_row += 1;
                if *in_row >= FAILURES_IN_ROW_MAX {
                    ends = Some(Ended::Failed);
                }
            }
            Remedy::ObserveAgain => due.not_before = engine.backoff().not_before(&subject, attempts, None, now),
            Remedy::Park => due.parked = true,
            Remedy::StopSide => {
                // The credential failed, not the item: its attempts do not count.
                self.report.messages.insert(0, message);
                return Ok(Some(Ended::Failed));
            }
        }
        if due.parked {
            self.report.counts.parked += 1;
            due.last_error = Some(with_advice(&message, advice));
        } else {
            self.report.counts.again += 1;
        }
        self.report.messages.push(format!("{subject}: {message}"));
        // Cleared and set anew, so that the new time counts and not the earlier one.
        let mut record = Record { clear_due: vec![subject.clone()], due: vec![due.clone()], ..Record::default() };
        if due.parked {
            let entry = self.entry("park", &subject, None, Vec::new(), &message);
            record.history.push(NewEntry { link: repair.link, ..entry });
        }
        engine.store.record(self.watch.lease, &record, now)?;
        if ends.is_some() {
            self.report.messages.insert(
                0,
                format!("{FAILURES_IN_ROW_MAX} repairs in a row failed; the rest is left for the next pass"),
            );
        }
        Ok(ends)
    }

    fn panicked(&self, repair: &Repair) -> Failure {
        let key = repair.subject().cloned();
        match key {
            Some(key) => Failure::Ask(key, "the repair stopped on a fault in Evenkeel; please report it".to_owned()),
            None => Failure::Pass(EngineError::Stopped),
        }
    }

    fn entry(
        &self,
        kind: &str,
        item: &ItemKey,
        link: Option<&Link>,
        changes: Vec<FieldChange>,
        cause: &str,
    ) -> NewEntry {
        NewEntry {
            at: self.engine.clock.now(),
            pass: self.report.pass,
            link: link.map(|link| link.id),
            kind: kind.to_owned(),
            item: item.clone(),
            partner: link.map(|link| link.key(item.side().opposite())),
            changes,
            cause: cause.to_owned(),
            actor: self.engine.actor.clone(),
        }
    }

    fn record(&self, record: &Record) -> Result<(), Failure> {
        self.engine.store.record(self.watch.lease, record, self.engine.clock.now())?;
        Ok(())
    }
}

/// Leaves to the visits what they have settled since this pass looked: digests and cleared dues of an older look would
/// hide an edit. What this pass knew of such pairs and did not see to (`stale`, and what it made due) is looked at once
/// more, both halves: a visit may have looked at the other half only, and the cursors show nothing a second time.
fn leave_out(
    closing: &mut Record,
    overtaken: &BTreeMap<LinkId, BySide<ItemKey>>,
    mut stale: Vec<ItemKey>,
    now: Timestamp,
) {
    if overtaken.is_empty() {
        return;
    }
    let items = overtake::items(overtaken);
    closing.change.retain(|(link, _)| !overtaken.contains_key(link));
    closing.clear_due.retain(|item| !items.contains(item));
    let waits = |keys: &&BySide<ItemKey>| {
        let is_half = |due: &NewDue| due.item == keys.tracker || due.item == keys.forge;
        closing.due.iter().any(is_half)
    };
    stale.extend(overtaken.values().filter(waits).flat_map(|keys| [keys.tracker.clone(), keys.forge.clone()]));
    closing.due.retain(|due| !items.contains(&due.item));
    closing.due.extend(stale.into_iter().map(|item| NewDue {
        item,
        reason: "an urgent visit came before its repair".to_owned(),
        not_before: now,
        attempts: 0,
        last_error: None,
        parked: false,
    }));
}

/// A reason with what can be done about it.
fn with_advice(message: &str, advice: Option<&str>) -> String {
    advice.map_or_else(|| message.to_owned(), |advice| format!("{message}; {advice}"))
}

fn keys(link: &Link) -> Vec<ItemKey> {
    Side::BOTH.into_iter().map(|side| link.key(side)).collect()
}
