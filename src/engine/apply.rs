//! Carries a plan out, one repair at a time: intent, re-read, write, record.
//!
//! One item's failure is that item's failure and is sorted by its remedy; the database's failure ends
//! the pass; several items failing alike in a row are the provider's failure and end it too.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Counts, Ended, Engine, EngineError, Report, Watch};
use crate::clock::later;
use crate::model::{
    BySide, Content, Field, FieldChange, Fingerprint, IntentId, IssueRef, Item, ItemKey, Link, LinkId, LinkStatus,
    Marker, Native, Side, Timestamp, Waiting,
};
use crate::provider::{Draft, Found, ProviderError, Remedy};
use crate::reconcile::{
    Action, COMPARED, PairPlan, PairSeen, Repair, Sight, Write, agreed, fingerprint, issue_footer, plan_pair, shows,
    task_footer, untouched,
};
use crate::store::{IntentKind, LinkChange, NewDue, NewEntry, NewLink, Record, StoreError};

/// How often one pair is read anew within a pass because it moved under our hands.
const LOOKS_MAX: u32 = 3;

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
            StoreError::AlreadyLinked { ref task, .. } => Self::Ask(ItemKey::Task(task.clone()), error.to_string()),
            error => Self::Pass(EngineError::Store(error)),
        }
    }
}

/// Repairs that a limit keeps from being made now. It is the credential's trouble, not theirs: they are due again
/// when it lets go, with no attempt counted.
#[derive(Default)]
struct PutOff {
    /// A side that takes no more creations, and until when. Only limits on creations last, so only they are not
    /// even tried; anything else is told at once, and without a request, whether it may leave.
    creations: BySide<Option<Timestamp>>,
    /// What was said first.
    said: Option<String>,
    items: Vec<(ItemKey, String, Timestamp)>,
}

impl PutOff {
    /// Takes a repair that need not be tried; answers whether it did.
    fn takes(&mut self, repair: &Repair) -> bool {
        let until = creates_on(repair).and_then(|side| self.creations[side]);
        until.is_some_and(|until| self.add(repair, until))
    }

    /// Takes a repair that was told to wait.
    fn told(&mut self, repair: &Repair, until: Timestamp, said: String) {
        if let Some(side) = creates_on(repair) {
            self.creations[side] = Some(until);
        }
        self.said.get_or_insert(said);
        self.add(repair, until);
    }

    fn add(&mut self, repair: &Repair, until: Timestamp) -> bool {
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
        let mut in_row = 0;
        let mut halted = None;
        let mut put_off = PutOff::default();
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
            let pair = repair.link.and_then(|id| pairs.remove(&id));
            // A repair that panics is parked like one that the provider refuses; the rest goes on.
            let outcome = catch_unwind(AssertUnwindSafe(|| hands.repair(repair, pair)))
                .unwrap_or_else(|_| Err(hands.panicked(repair)));
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
        if halted.is_none() {
            hands.comments()?;
        }
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
            (Action::Join { items, intent, .. }, _) => self.join(repair, items, *intent),
            (Action::Update { .. } | Action::Retire { .. } | Action::Note { .. }, Some(pair)) => {
                self.in_step(repair.clone(), pair)
            }
            // A linked repair always has its pair; without it there is nothing to hold it against.
            (Action::Update { .. } | Action::Retire { .. } | Action::Note { .. }, None) => Ok(()),
        }
    }

    /// Brings one linked pair in step, reading anew whatever turns out to have moved.
    fn in_step(&mut self, mut repair: Repair, mut pair: PairSeen) -> Result<(), Failure> {
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
                    let item = self.write(&repair, &pair, &write)?;
                    return self.retired(&repair, &pair, gone, Some(item));
                }
                Action::Update { writes, base, waiting } => {
                    match self.update(&repair, &mut pair, &writes, &base, &waiting)? {
                        None => return Ok(()),
                        Some(anew) => repair = *anew,
                    }
                }
                Action::Create { .. } | Action::Join { .. } => return Ok(()),
            }
        }
        Err(Failure::Moving(repair.subject().cloned().unwrap_or_else(|| pair.link.key(Side::Tracker))))
    }

    /// Writes what an update plans. Answers another repair when the pair turned out to have moved.
    fn update(
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
        for (_, write) in writes.iter() {
            if let Some(write) = write {
                self.reread(write, pair)?;
            }
        }
        let anew = match self.decide_anew(pair)? {
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
                    pair.sight[side] = self.look(&pair.link.key(side))?;
                }
            }
            return Ok(self.decide_anew(pair)?.map(Box::new));
        }
        let mut items: BySide<Option<Item>> = BySide::default();
        for side in Side::BOTH {
            let Some(write) = &fresh[side] else { continue };
            let item = self.write(&anew, pair, write)?;
            seen[side] = Some(fingerprint(&item, &self.engine.rules.policy));
            items[side] = Some(item);
        }
        for (side, item) in items.iter() {
            if let Some(item) = item {
                self.took(side, item, fresh[side].as_ref(), base)?;
            }
        }
        let change = LinkChange {
            base: Some(base.clone()),
            seen: Some(seen),
            status: Some(LinkStatus::Active),
            waiting: Some(waiting.clone()),
            issue: None,
        };
        let record = Record { change: vec![(pair.link.id, change)], clear_due: keys(&pair.link), ..Record::default() };
        self.record(&record)?;
        self.report.counts.updated += 1;
        self.report.counts.waiting += u64::try_from(waiting.len()).unwrap_or(0);
        Ok(None)
    }

    /// A service may drop what it does not allow without a word: that is found here, not by the next pass.
    fn took(&self, side: Side, item: &Item, write: Option<&Write>, base: &Content) -> Result<(), Failure> {
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
    fn reread(&mut self, write: &Write, pair: &mut PairSeen) -> Result<bool, Failure> {
        let side = write.item.side();
        let before = match &pair.sight[side] {
            Sight::Shown(item) => Some((item.content.clone(), item.footer.clone())),
            _ => None,
        };
        pair.sight[side] = self.look(&write.item)?;
        Ok(match (&pair.sight[side], before) {
            (Sight::Shown(item), Some((content, footer))) => item.content == content && item.footer == footer,
            _ => false,
        })
    }

    fn look(&mut self, key: &ItemKey) -> Result<Sight, Failure> {
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
    fn decide_anew(&mut self, pair: &mut PairSeen) -> Result<Option<Repair>, Failure> {
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
    fn write(&mut self, repair: &Repair, pair: &PairSeen, write: &Write) -> Result<Item, Failure> {
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
                let what = if error.maybe_done() { "unanswered" } else { "failed" };
                let entry = self.entry(what, &write.item, Some(&pair.link), Vec::new(), &error.to_string());
                self.record(&Record { history: vec![entry], ..Record::default() })?;
                Err(Failure::Item(write.item.clone(), error))
            }
        }
    }

    fn retired(&mut self, repair: &Repair, pair: &PairSeen, gone: Side, item: Option<Item>) -> Result<(), Failure> {
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

    fn note(&mut self, repair: &Repair, link: &Link, change: LinkChange) -> Result<(), Failure> {
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

    /// Makes a partner: announced, made with a marker, committed.
    fn create(&mut self, repair: &Repair, from: &Item, content: &Content) -> Result<(), Failure> {
        let target = from.side().opposite();
        let marker = Marker::naming(from.key.clone());
        let footer = match &from.key {
            ItemKey::Task(task) => {
                let whole = Content { title: from.content.title.clone(), due: from.content.due, ..content.clone() };
                issue_footer(task, &whole, &content.body, &self.engine.rules.policy)
            }
            ItemKey::Issue(_) => task_footer(&from.key, &from.url, &content.body),
        };
        let Some(footer) = footer else {
            return Err(Failure::Ask(
                from.key.clone(),
                "its text leaves no room for the marker that keeps a partner from being made twice; shorten it"
                    .to_owned(),
            ));
        };
        let kind = match target {
            Side::Forge => IntentKind::Issue,
            Side::Tracker => IntentKind::Task,
        };
        let intent =
            self.engine.store.open_intent(self.watch.lease, kind, &from.key, &marker, self.engine.clock.now())?;
        self.announced.push(intent);
        let draft = Draft { content: content.clone(), footer, marker };
        let made = match self.engine.providers[target].create(&draft) {
            Ok(made) => made,
            Err(error) => {
                if !error.maybe_done() {
                    self.record(&Record { close_intents: vec![intent], ..Record::default() })?;
                }
                return Err(Failure::Item(from.key.clone(), error));
            }
        };
        let items = match target {
            Side::Forge => BySide { tracker: from.clone(), forge: made },
            Side::Tracker => BySide { tracker: made, forge: from.clone() },
        };
        let changes = COMPARED
            .into_iter()
            .map(|field| FieldChange {
                field,
                before: serde_json::Value::Null,
                after: crate::reconcile::value(field, content),
                why: repair.cause.clone(),
            })
            .filter(|change| !is_nothing(&change.after))
            .collect();
        let entry = NewEntry {
            partner: Some(from.key.clone()),
            ..self.entry("create", &items[target].key, None, changes, &repair.cause)
        };
        let base = agreed(from, &items[target], &self.engine.rules);
        let comment = self.announce_comment(&items, target == Side::Forge)?;
        let link = self.link(&items, Some(base), vec![intent], comment, entry)?;
        self.report.counts.created += 1;
        self.comment(&items, comment)?;
        self.after_linking(link, items)
    }

    /// Makes two items that exist a pair.
    fn join(&mut self, repair: &Repair, items: &BySide<Item>, intent: Option<IntentId>) -> Result<(), Failure> {
        let entry = NewEntry {
            partner: Some(items.forge.key.clone()),
            ..self.entry("link", &items.tracker.key, None, Vec::new(), &repair.cause)
        };
        // An answer that was lost has lost its comment too; a rebuilt pair has had one.
        let comment = self.announce_comment(items, intent.is_some())?;
        let base = intent.and_then(|_| untouched(items, &self.engine.rules));
        let link = self.link(items, base, intent.into_iter().collect(), comment, entry)?;
        self.report.counts.joined += 1;
        self.comment(items, comment)?;
        self.after_linking(link, items.clone())
    }

    /// Commits a pair. It is due, and without digests, until [`Self::after_linking`] has brought it in step.
    fn link(
        &mut self,
        items: &BySide<Item>,
        base: Option<Content>,
        close_intents: Vec<IntentId>,
        comment: Option<IntentId>,
        entry: NewEntry,
    ) -> Result<Link, Failure> {
        let (ItemKey::Task(task), ItemKey::Issue(issue), Native::Issue { repo_id, id, node_id }) =
            (&items.tracker.key, &items.forge.key, &items.forge.native)
        else {
            return Err(Failure::Ask(
                items.tracker.key.clone(),
                "its partner has no identifiers of an issue".to_owned(),
            ));
        };
        // All links of a repository know it by one name; a new name is given to all of them together.
        let known = self.engine.store.repo_name(&self.engine.route, *repo_id)?;
        let issue = IssueRef { repo: known.unwrap_or_else(|| issue.repo.clone()), number: issue.number };
        let now = self.engine.clock.now();
        let new = NewLink {
            task: task.clone(),
            project: Some(self.engine.project.clone()),
            issue,
            repo_id: *repo_id,
            issue_id: *id,
            issue_node_id: node_id.clone(),
            base,
            seen: BySide::default(),
            waiting: BTreeMap::new(),
        };
        let due = NewDue {
            item: items.tracker.key.clone(),
            reason: "newly linked, not yet brought in step".to_owned(),
            not_before: now,
            attempts: self.engine.store.attempts(&self.engine.route, &items.tracker.key)?,
            last_error: None,
            parked: false,
        };
        let record = Record {
            link: vec![new],
            close_intents,
            clear_due: vec![items.tracker.key.clone(), items.forge.key.clone()],
            due: vec![due],
            history: vec![entry],
            ..Record::default()
        };
        let made = match self.engine.store.record(self.watch.lease, &record, now) {
            Err(error @ StoreError::AlreadyLinked { .. }) => {
                // Nothing was linked, so nobody is told.
                self.record(&Record { close_intents: comment.into_iter().collect(), ..Record::default() })?;
                return Err(Failure::Ask(items.tracker.key.clone(), error.to_string()));
            }
            made => made?,
        };
        let id = made.links.first().copied();
        let link = match id {
            Some(id) => self.engine.store.link(id)?,
            None => None,
        };
        link.ok_or_else(|| {
            Failure::Pass(EngineError::Store(StoreError::Garbled {
                what: "the link just made".to_owned(),
                why: "it is not there".to_owned(),
            }))
        })
    }

    /// A new pair may still differ (a done task's issue is born open; an issue learns its footer).
    fn after_linking(&mut self, link: Link, items: BySide<Item>) -> Result<(), Failure> {
        let mut pair = PairSeen { link, sight: items.map(|item| Sight::Shown(Box::new(item))) };
        match self.decide_anew(&mut pair)? {
            None => Ok(()),
            Some(repair) => {
                let Counts { updated, noted, .. } = self.report.counts;
                let done = self.in_step(repair, pair);
                // It belongs to the creation or the joining, and is not counted once more.
                (self.report.counts.updated, self.report.counts.noted) = (updated, noted);
                done?;
                Ok(())
            }
        }
    }

    /// Announces the one comment that names a task's issue, before the pair is committed: whatever happens
    /// then, [`Self::comments`] makes up for it.
    fn announce_comment(&mut self, items: &BySide<Item>, wanted: bool) -> Result<Option<IntentId>, Failure> {
        if !wanted || !self.engine.rules.comment_on_link {
            return Ok(None);
        }
        let marker = Marker::naming(items.forge.key.clone());
        let now = self.engine.clock.now();
        let store = &self.engine.store;
        Ok(Some(store.open_intent(self.watch.lease, IntentKind::Comment, &items.tracker.key, &marker, now)?))
    }

    /// Makes a comment that was just announced.
    fn comment(&mut self, items: &BySide<Item>, intent: Option<IntentId>) -> Result<(), Failure> {
        let Some(intent) = intent else { return Ok(()) };
        // Said at once, while it is fresh; a failure leaves the intent open for the next pass.
        let text = comment_text(&items.forge.key, &items.forge.url);
        match self.engine.providers.tracker.comment(&items.tracker.key, &text) {
            Ok(()) => self.commented(intent, &items.tracker.key, &items.forge.key, &text)?,
            Err(error) => log::warn!("{}: the comment that names its issue: {error}", items.tracker.key),
        }
        Ok(())
    }

    fn commented(&mut self, intent: IntentId, task: &ItemKey, issue: &ItemKey, text: &str) -> Result<(), Failure> {
        let entry = NewEntry { partner: Some(issue.clone()), ..self.entry("comment", task, None, Vec::new(), text) };
        self.record(&Record { close_intents: vec![intent], history: vec![entry], ..Record::default() })
    }

    /// Comments that were announced in an earlier pass and have no answer: looked for, then written once.
    fn comments(&mut self) -> Result<(), EngineError> {
        let started = self.engine.store.pass(self.report.pass)?.map(|pass| pass.started_at);
        for intent in self.engine.store.intents(&self.engine.route)? {
            // Those of this very pass were tried a moment ago.
            if intent.kind != IntentKind::Comment || started.is_some_and(|started| intent.tried_at >= started) {
                continue;
            }
            self.watch.renew()?;
            let ItemKey::Issue(issue) = &intent.marker.partner else { continue };
            let provider = &self.engine.providers.tracker;
            let done = provider.has_comment(&intent.source, &issue.to_string()).and_then(|there| {
                let Found::Here(item) = self.engine.providers.forge.item(&intent.marker.partner)? else {
                    return Ok(None);
                };
                let text = comment_text(&intent.marker.partner, &item.url);
                if !there {
                    provider.comment(&intent.source, &text)?;
                }
                Ok(Some(text))
            });
            let outcome = match done {
                Ok(Some(text)) => self.commented(intent.id, &intent.source, &intent.marker.partner, &text),
                // Nobody is left to be told.
                Ok(None) => self.record(&Record { close_intents: vec![intent.id], ..Record::default() }),
                Err(error) if matches!(error.remedy(), Remedy::RetryLater { .. }) => Ok(()),
                Err(error) => {
                    log::warn!("{}: the comment that names its issue is given up: {error}", intent.source);
                    self.record(&Record { close_intents: vec![intent.id], ..Record::default() })
                }
            };
            if let Err(Failure::Pass(error)) = outcome {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Makes what a limit kept from being done due again, in one go with the closing record.
    fn put_off(&mut self, put_off: PutOff, closing: &mut Record) -> Result<(), EngineError> {
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

    /// Sorts a failure by its remedy. Answers how the pass ends, when it does.
    fn failed(&mut self, repair: &Repair, failure: Failure, in_row: &mut u32) -> Result<Option<Ended>, EngineError> {
        let engine = self.engine;
        let now = engine.clock.now();
        let (key, message, remedy) = match failure {
            Failure::Pass(error) => return Err(error),
            Failure::Item(_, ProviderError::Stopped) => return Ok(Some(Ended::Stopped)),
            Failure::Item(key, error) => (key, error.to_string(), error.remedy()),
            Failure::Ask(key, what) => (key, what, Remedy::Park),
            Failure::Moving(key) => {
                (key, "it kept changing while it was being repaired".to_owned(), Remedy::ObserveAgain)
            }
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

/// The one comment that names a task's issue.
fn comment_text(issue: &ItemKey, url: &str) -> String {
    let name = issue.to_string();
    format!("Linked with GitHub issue [{}]({url})", name.trim_start_matches("github:"))
}

fn keys(link: &Link) -> Vec<ItemKey> {
    Side::BOTH.into_iter().map(|side| link.key(side)).collect()
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

fn is_nothing(value: &serde_json::Value) -> bool {
    use serde_json::Value::{Array, Null, Object, String};
    match value {
        Null => true,
        String(text) => text.is_empty(),
        Array(list) => list.is_empty(),
        Object(map) => map.values().all(is_nothing),
        _ => false,
    }
}
