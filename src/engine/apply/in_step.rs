//! Brings one linked pair in step: re-read, decide once more, write, record.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Failure, Hands, keys};
use crate::clock::Stopwatch;
use crate::engine::lag::{LAGS, READS_MAX};
use crate::engine::unmade;
use crate::model::{
    BySide, Content, Field, FieldChange, FieldPolicy, Fingerprint, Item, ItemKey, Link, LinkStatus, Rules, Side,
    Waiting,
};
use crate::provider::{Found, ProviderError};
use crate::reconcile::{Action, COMPARED, PairPlan, PairSeen, Repair, Sight, Write, fingerprint, plan_pair, shows};
use crate::store::{LinkChange, NewDue, Record};

/// How often one pair is read anew within a pass because it moved under our hands.
const LOOKS_MAX: u32 = 3;

/// How long a pair is put off whose write came late each time: long enough for a crowded minute to thin out.
const LATE_WAIT: Duration = Duration::from_secs(30);

impl Hands<'_, '_> {
    /// Brings one linked pair in step, reading anew whatever turns out to have moved.
    pub(super) fn in_step(&mut self, mut repair: Repair, mut pair: PairSeen) -> Result<(), Failure> {
        let mut late = None;
        for _ in 0..LOOKS_MAX {
            match repair.action.clone() {
                Action::Note { status, base, waiting } => {
                    return self.note(
                        &repair,
                        &pair.link,
                        LinkChange {
                            base: base.map(|base| *base),
                            status: Some(status),
                            waiting: Some(waiting),
                            seen: Some(merged_seen(&repair.seen, &pair.link.seen)),
                            issue: None,
                        },
                    );
                }
                Action::Retire { gone, write } => {
                    let Some(write) = write else { return self.retired(&repair, &pair, gone, None) };
                    if !self.reread(&write, &mut pair)? {
                        let Some(anew) = self.decide_anew(&mut pair)? else { return Ok(()) };
                        if !matches!(&anew.action, Action::Retire { write: Some(again), .. } if same(again, &write)) {
                            repair = anew;
                            continue;
                        }
                    }
                    match self.write(&repair, &pair, &write) {
                        Err(Failure::Item(_, ProviderError::Stale { doing })) => {
                            late = Some(doing);
                            let Some(anew) = self.after_the_wait(&mut pair)? else { return Ok(()) };
                            repair = anew;
                        }
                        done => return self.retired(&repair, &pair, gone, Some(done?)),
                    }
                }
                Action::Update { writes, base, waiting } => {
                    let anew = match self.update(&repair, &mut pair, &writes, &base, &waiting) {
                        Err(Failure::Item(_, ProviderError::Stale { doing })) => {
                            late = Some(doing);
                            self.after_the_wait(&mut pair)?
                        }
                        done => done?.map(|anew| *anew),
                    };
                    match anew {
                        None => return Ok(()),
                        Some(anew) => repair = anew,
                    }
                }
                Action::Create { .. } | Action::Join { .. } => return Ok(()),
            }
        }
        let subject = repair.subject().cloned().unwrap_or_else(|| pair.link.key(Side::Tracker));
        Err(match late {
            // The limits' doing and not the item's: it is put off, and no attempt is counted.
            Some(doing) => Failure::Item(subject, ProviderError::Busy { doing, retry_after: Some(LATE_WAIT) }),
            None => Failure::Moving(subject),
        })
    }

    /// A write's turn came late: what was read before it may have moved meanwhile, and the half that was written before
    /// it has. Both are read again and decided once more.
    fn after_the_wait(&mut self, pair: &mut PairSeen) -> Result<Option<Repair>, Failure> {
        self.look_at_both(pair)?;
        self.decide_anew(pair)
    }

    fn look_at_both(&mut self, pair: &mut PairSeen) -> Result<(), Failure> {
        for side in Side::BOTH {
            if !matches!(pair.sight[side], Sight::Absent | Sight::Moved(_)) {
                self.look_once_more(side, pair)?;
            }
        }
        Ok(())
    }

    /// Writes what an update plans. Answers another repair when the pair turned out to have moved.
    pub(super) fn update(
        &mut self,
        repair: &Repair,
        pair: &mut PairSeen,
        writes: &BySide<Option<Write>>,
        base: &Content,
        waiting: &BTreeMap<Field, Waiting>,
    ) -> Result<Option<Box<Repair>>, Failure> {
        let mut seen = merged_seen(&repair.seen, &pair.link.seen);
        // Every write needs its re-read, and what is read may change the other side's write as well:
        // read all targets first, decide once more, then write.
        let began = Stopwatch::start(&*self.engine.clock);
        for (_, write) in writes.iter() {
            if let Some(write) = write {
                self.reread(write, pair)?;
            }
        }
        if began.elapsed(&*self.engine.clock) > READS_MAX {
            // The first of them is old by now.
            self.look_at_both(pair)?;
            return Ok(self.decide_anew(pair)?.map(Box::new));
        }
        let mut anew = match self.decide_anew(pair)? {
            None => return Ok(None),
            Some(anew) => anew,
        };
        let Action::Update { writes: fresh, base: fresh_base, waiting: fresh_waiting } = &anew.action else {
            return Ok(Some(Box::new(anew)));
        };
        let unmoved = Side::BOTH.into_iter().all(|side| match (&writes[side], &fresh[side]) {
            (None, None) => true,
            (Some(planned), Some(now)) => same(planned, now),
            _ => false,
        });
        if !unmoved || **fresh_base != *base || !asks_the_same(fresh_waiting, waiting) {
            // It is not what the plan saw. Read what the plan took for unmoved too, then decide again.
            for side in Side::BOTH {
                if pair.sight[side] == Sight::Unmoved {
                    self.look_once_more(side, pair)?;
                }
            }
            return Ok(self.decide_anew(pair)?.map(Box::new));
        }
        let mut items: BySide<Option<Item>> = BySide::default();
        let mut edited: Vec<Side> = Vec::new();
        let fresh = fresh.clone();
        // The plan may know more of the cause than the items show.
        anew.cause.clone_from(&repair.cause);
        for side in Side::BOTH {
            let Some(write) = &fresh[side] else { continue };
            if began.elapsed(&*self.engine.clock) > READS_MAX {
                // The write before took long. What it wrote is seen now as an edit that both sides agree on.
                self.look_at_both(pair)?;
                return Ok(self.decide_anew(pair)?.map(Box::new));
            }
            let item = self.write(&anew, pair, write)?;
            // Somebody's edit of another field may have come between the re-read and the write. Taken for agreed it
            // would never be looked at again; not kept at all, a copy that lags would be believed.
            let print = fingerprint(&item, &self.engine.rules.policy);
            seen[side] = Some(if self.stands(side, &item, base, waiting) {
                print
            } else {
                edited.push(side);
                print.not_agreed()
            });
            items[side] = Some(item);
        }
        for (side, item) in items.iter() {
            if let Some(item) = item {
                self.took(side, item, fresh[side].as_ref(), base)?;
            }
        }
        let due = edited.into_iter().map(|side| NewDue {
            item: pair.link.key(side),
            reason: "it was edited while it was being written".to_owned(),
            not_before: self.engine.clock.now(),
            attempts: 0,
            last_error: None,
            parked: false,
        });
        let due = due.collect();
        let change = LinkChange {
            base: Some(base.clone()),
            seen: Some(seen),
            status: Some(LinkStatus::Active),
            waiting: Some(waiting.clone()),
            issue: None,
        };
        let record =
            Record { change: vec![(pair.link.id, change)], clear_due: keys(&pair.link), due, ..Record::default() };
        self.record(&record)?;
        self.report.counts.updated += 1;
        self.report.counts.waiting += u64::try_from(waiting.len()).unwrap_or(0);
        Ok(None)
    }

    /// Whether an item just written shows what both agree on, in the fields that are kept in step.
    fn stands(&self, side: Side, item: &Item, base: &Content, waiting: &BTreeMap<Field, Waiting>) -> bool {
        let Rules { policy, people, .. } = &self.engine.rules;
        COMPARED.into_iter().all(|field| {
            policy.of(field) == FieldPolicy::Off
                || waiting.contains_key(&field)
                || shows(side, field, base, &item.content, people)
        })
    }

    /// A service may drop what it does not allow without a word: that is found here, not by the next pass.
    pub(super) fn took(&self, side: Side, item: &Item, write: Option<&Write>, base: &Content) -> Result<(), Failure> {
        let Some(write) = write else { return Ok(()) };
        let people = &self.engine.rules.people;
        for field in COMPARED {
            let written = write.fields.iter().any(|change| change.field == field);
            if written && !shows(side, field, base, &item.content, people) {
                return Err(Failure::Ask(
                    item.key.clone(),
                    format!(
                        "{} accepted the change but the {field} is not as asked; the token may lack the right to set it \
                         (`evenkeel check`)",
                        side.service()
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Reads a write's target again; answers whether it is what the plan saw.
    pub(super) fn reread(&mut self, write: &Write, pair: &mut PairSeen) -> Result<bool, Failure> {
        let side = write.item.side();
        let before = match &pair.sight[side] {
            Sight::Shown(item) => Some((item.content.clone(), item.footer.clone())),
            _ => None,
        };
        self.look_once_more(side, pair)?;
        Ok(match (&pair.sight[side], before) {
            (Sight::Shown(item), Some((content, footer))) => item.content == content && item.footer == footer,
            _ => false,
        })
    }

    /// Reads one half of a pair again. A copy that lags is not believed, neither in what it shows nor in what it does not.
    fn look_once_more(&mut self, side: Side, pair: &mut PairSeen) -> Result<(), Failure> {
        let key = pair.link.key(side);
        pair.sight[side] = self.look(&key)?;
        let now = self.engine.clock.now();
        self.engine.doubt(&pair.link, &mut pair.sight[side], now);
        if let Sight::Shown(item) = &pair.sight[side]
            && self.engine.lags(&pair.link, item, now)
        {
            let doing = format!("reading {key} again");
            let error = ProviderError::Unreachable { doing, why: LAGS.to_owned(), maybe_done: false };
            return Err(Failure::Item(key, error));
        }
        Ok(())
    }

    pub(super) fn look(&mut self, key: &ItemKey) -> Result<Sight, Failure> {
        self.watch.renew()?;
        match self.engine.providers[key.side()].item(key) {
            Ok(Found::Here(item)) => Ok(Sight::Shown(item)),
            Ok(Found::Moved(to)) => Ok(Sight::Moved(to)),
            Ok(Found::Gone) => Ok(Sight::Absent),
            Ok(Found::Unseen(why)) => Ok(Sight::Unseen(why)),
            Ok(Found::NotAnItem) => Ok(Sight::Unseen("it is no work item (any more)".to_owned())),
            Err(error) => Err(Failure::Item(key.clone(), error)),
        }
    }

    /// Plans one pair again from what was read now. `None`: there is nothing left to do, and that is kept.
    pub(super) fn decide_anew(&mut self, pair: &mut PairSeen) -> Result<Option<Repair>, Failure> {
        if let Some(skip) = self.engine.sleeps_on(&pair.link)? {
            return Err(Failure::Moving(skip.item));
        }
        match plan_pair(pair, &self.engine.rules, self.engine.clock.now()) {
            PairPlan::Repair(repair) => Ok(Some(*repair)),
            PairPlan::Settled { seen } => {
                let change = LinkChange { seen: Some(merged_seen(&seen, &pair.link.seen)), ..LinkChange::default() };
                self.record(&Record {
                    change: vec![(pair.link.id, change)],
                    clear_due: keys(&pair.link),
                    ..Record::default()
                })?;
                Ok(None)
            }
            PairPlan::Ask(question) => Err(Failure::Ask(question.item, question.what)),
            PairPlan::Skip(skip) => Err(Failure::Item(
                skip.item.clone(),
                ProviderError::Unreachable {
                    doing: format!("reading {}", skip.item),
                    why: skip.why,
                    maybe_done: false,
                },
            )),
        }
    }

    /// One update of one item. What it replaces is in the history before the write leaves.
    pub(super) fn write(&mut self, repair: &Repair, pair: &PairSeen, write: &Write) -> Result<Item, Failure> {
        let side = write.item.side();
        let Sight::Shown(current) = &pair.sight[side] else {
            return Err(Failure::Moving(write.item.clone()));
        };
        self.watch.renew()?;
        let kind = if matches!(repair.action, Action::Retire { .. }) { "retire" } else { "update" };
        let entry = self.entry(kind, &write.item, Some(&pair.link), write.fields.clone(), &repair.cause);
        self.record(&Record { history: vec![entry], ..Record::default() })?;
        match self.engine.providers[side].update(current, &write.change) {
            Ok(item) => Ok(item),
            Err(error) => {
                let what = unmade::kind(&error, &write.change);
                let entry = self.entry(what, &write.item, Some(&pair.link), Vec::new(), &error.to_string());
                self.record(&Record { history: vec![entry], ..Record::default() })?;
                Err(Failure::Item(write.item.clone(), error))
            }
        }
    }

    pub(super) fn retired(
        &mut self,
        repair: &Repair,
        pair: &PairSeen,
        gone: Side,
        item: Option<Item>,
    ) -> Result<(), Failure> {
        let stays = gone.opposite();
        let mut base = pair.link.base.clone().unwrap_or_default();
        let mut seen = pair.link.seen.clone();
        // What is gone shows nothing; if it is restored, it is looked at, however it then reads.
        seen[gone] = None;
        if let Some(item) = &item {
            base.status = item.content.status;
            seen[stays] = Some(fingerprint(item, &self.engine.rules.policy));
        } else if let Sight::Shown(item) = &pair.sight[stays] {
            base.status = item.content.status;
            seen[stays] = Some(fingerprint(item, &self.engine.rules.policy));
        }
        let mut record = Record {
            change: vec![(
                pair.link.id,
                LinkChange {
                    base: Some(base),
                    seen: Some(seen),
                    status: Some(LinkStatus::Retired),
                    waiting: Some(BTreeMap::new()),
                    issue: None,
                },
            )],
            clear_due: keys(&pair.link),
            ..Record::default()
        };
        if item.is_none() {
            let key = pair.link.key(stays);
            record.history.push(self.entry("retire", &key, Some(&pair.link), Vec::new(), &repair.cause));
        }
        self.record(&record)?;
        self.report.counts.retired += 1;
        Ok(())
    }

    pub(super) fn note(&mut self, repair: &Repair, link: &Link, change: LinkChange) -> Result<(), Failure> {
        let mut record = Record { change: vec![(link.id, change.clone())], clear_due: keys(link), ..Record::default() };
        let asks = change.waiting.as_ref().is_some_and(|waiting| *waiting != link.waiting);
        let moves = change.status.is_some_and(|status| status != link.status);
        if asks || moves {
            let kind = if asks { "ask" } else { change.status.map_or("note", LinkStatus::as_str) };
            let changes = change
                .waiting
                .iter()
                .flatten()
                .filter(|(field, waiting)| link.waiting.get(field) != Some(waiting))
                .map(|(field, waiting)| FieldChange {
                    field: *field,
                    before: serde_json::json!(waiting.said.tracker),
                    after: serde_json::json!(waiting.said.forge),
                    why: waiting.why.clone(),
                })
                .collect();
            record.history.push(self.entry(kind, &link.key(Side::Tracker), Some(link), changes, &repair.cause));
        }
        self.record(&record)?;
        self.report.counts.waiting += u64::try_from(change.waiting.map_or(0, |waiting| waiting.len())).unwrap_or(0);
        self.report.counts.noted += 1;
        Ok(())
    }
}

/// New digests where there are some, else those kept.
fn merged_seen(new: &BySide<Option<Fingerprint>>, kept: &BySide<Option<Fingerprint>>) -> BySide<Option<Fingerprint>> {
    BySide::from_fn(|side| new[side].clone().or_else(|| kept[side].clone()))
}

/// Whether the same questions are open; a new one carries the moment of each decision, which is no difference.
fn asks_the_same(one: &BTreeMap<Field, Waiting>, other: &BTreeMap<Field, Waiting>) -> bool {
    let asked = |all: &BTreeMap<Field, Waiting>| -> Vec<(Field, Option<String>, BySide<String>)> {
        all.iter().map(|(field, waiting)| (*field, waiting.base.clone(), waiting.said.clone())).collect()
    };
    asked(one) == asked(other)
}

/// Whether two writes have the same effect on the item's fields; the footer may follow what was re-read.
fn same(one: &Write, other: &Write) -> bool {
    let effect = |write: &Write| -> Vec<(Field, serde_json::Value, serde_json::Value)> {
        write
            .fields
            .iter()
            .filter(|change| !matches!(change.field, Field::Footer | Field::Assignees))
            .map(|change| (change.field, change.before.clone(), change.after.clone()))
            .collect()
    };
    one.item == other.item && effect(one) == effect(other)
}
