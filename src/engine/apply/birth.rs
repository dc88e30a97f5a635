//! New pairs: a partner is made, or two items that exist are joined; the task is told once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Failure, Hands};
use crate::clock::since;
use crate::engine::{Counts, EngineError};
use crate::model::{BySide, Content, FieldChange, IntentId, Item, ItemKey, Link, Marker, Native, Side};
use crate::provider::{Draft, Found, ProviderError, Remedy};
use crate::reconcile::{COMPARED, PairSeen, Repair, Sight, agreed, issue_footer, task_footer};
use crate::store::{IntentKind, NewDue, NewEntry, NewIntent, NewLink, Record, StoreError};

/// How long an issue that cannot be read is waited for before its task is told nothing.
const COMMENT_PATIENCE: Duration = Duration::from_secs(24 * 3_600);

impl Hands<'_, '_> {
    /// Makes a partner: announced, made with a marker, committed.
    pub(super) fn create(&mut self, repair: &Repair, from: &Item, content: &Content) -> Result<(), Failure> {
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
        let new = NewIntent { kind, source: &from.key, marker: &marker, sent: Some(&from.content) };
        let intent = self.engine.store.open_intent(self.watch.lease, &new, self.engine.clock.now())?;
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
    pub(super) fn join(
        &mut self,
        repair: &Repair,
        items: &BySide<Item>,
        intent: Option<IntentId>,
        known: Option<&Content>,
    ) -> Result<(), Failure> {
        let entry = NewEntry {
            partner: Some(items.forge.key.clone()),
            ..self.entry("link", &items.tracker.key, None, Vec::new(), &repair.cause)
        };
        // An answer that was lost has lost its comment too; a rebuilt pair has had one.
        let comment = self.announce_comment(items, intent.is_some())?;
        let link = self.link(items, known.cloned(), intent.into_iter().collect(), comment, entry)?;
        self.report.counts.joined += 1;
        self.comment_once(items, comment)?;
        self.after_linking(link, items.clone())
    }

    /// Commits a pair. It is due, and without digests, until [`Self::after_linking`] has brought it in step.
    pub(super) fn link(
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
                "its partner has no identifiers of an issue: have it tried again, and report it if it stays so"
                    .to_owned(),
            ));
        };
        let now = self.engine.clock.now();
        let new = NewLink {
            task: task.clone(),
            project: Some(self.engine.project.clone()),
            issue: issue.clone(),
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
    pub(super) fn after_linking(&mut self, link: Link, items: BySide<Item>) -> Result<(), Failure> {
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
    pub(super) fn announce_comment(&mut self, items: &BySide<Item>, wanted: bool) -> Result<Option<IntentId>, Failure> {
        if !wanted || !self.engine.rules.comment_on_link {
            return Ok(None);
        }
        let marker = Marker::naming(items.forge.key.clone());
        let new = NewIntent { kind: IntentKind::Comment, source: &items.tracker.key, marker: &marker, sent: None };
        Ok(Some(self.engine.store.open_intent(self.watch.lease, &new, self.engine.clock.now())?))
    }

    /// Makes a comment that was just announced.
    pub(super) fn comment(&mut self, items: &BySide<Item>, intent: Option<IntentId>) -> Result<(), Failure> {
        let Some(intent) = intent else { return Ok(()) };
        // Said at once, while it is fresh; a failure leaves the intent open for the next pass.
        let text = comment_text(&items.forge.key, &items.forge.url);
        match self.engine.providers.tracker.comment(&items.tracker.key, &text) {
            Ok(()) => self.commented(intent, &items.tracker.key, &items.forge.key, &text)?,
            Err(error) => log::warn!("{}: the comment that names its issue: {error}", items.tracker.key),
        }
        Ok(())
    }

    /// The same for a pair that was found: a database that lost its last moments may have forgotten the comment too.
    fn comment_once(&mut self, items: &BySide<Item>, intent: Option<IntentId>) -> Result<(), Failure> {
        let Some(intent) = intent else { return Ok(()) };
        let text = comment_text(&items.forge.key, &items.forge.url);
        match self.engine.providers.tracker.has_comment(&items.tracker.key, &text) {
            Ok(true) => self.commented(intent, &items.tracker.key, &items.forge.key, &text),
            Ok(false) => self.comment(items, Some(intent)),
            Err(error) => {
                log::warn!("{}: looking for the comment that names its issue: {error}", items.tracker.key);
                Ok(())
            }
        }
    }

    pub(super) fn commented(
        &mut self,
        intent: IntentId,
        task: &ItemKey,
        issue: &ItemKey,
        text: &str,
    ) -> Result<(), Failure> {
        let entry = NewEntry { partner: Some(issue.clone()), ..self.entry("comment", task, None, Vec::new(), text) };
        self.record(&Record { close_intents: vec![intent], history: vec![entry], ..Record::default() })
    }

    /// Comments that were announced in an earlier pass and have no answer: looked for, then written once.
    pub(super) fn comments(&mut self) -> Result<(), EngineError> {
        let now = self.engine.clock.now();
        let started = self.engine.store.pass(self.report.pass)?.map(|pass| pass.started_at);
        for intent in self.engine.store.intents(&self.engine.route)? {
            // Those of this very pass were tried a moment ago.
            if intent.kind != IntentKind::Comment || started.is_some_and(|started| intent.tried_at >= started) {
                continue;
            }
            self.watch.renew()?;
            let provider = &self.engine.providers.tracker;
            let done = self.engine.providers.forge.item(&intent.marker.partner).and_then(|found| match found {
                Found::Here(item) => {
                    // The whole text: a part of it, such as a number, could stand in another comment.
                    let text = comment_text(&intent.marker.partner, &item.url);
                    if !provider.has_comment(&intent.source, &text)? {
                        provider.comment(&intent.source, &text)?;
                    }
                    Ok(Some(text))
                }
                Found::Unseen(why) if since(intent.opened_at, now) < COMMENT_PATIENCE => {
                    let doing = format!("reading {}", intent.marker.partner);
                    Err(ProviderError::Unreachable { doing, why, maybe_done: false })
                }
                Found::Unseen(_) | Found::Gone | Found::Moved(_) | Found::NotAnItem => Ok(None),
            });
            let outcome = match done {
                Ok(Some(text)) => self.commented(intent.id, &intent.source, &intent.marker.partner, &text),
                // Nobody is left to be told.
                Ok(None) => self.record(&Record { close_intents: vec![intent.id], ..Record::default() }),
                Err(error) if matches!(error.remedy(), Remedy::RetryLater { .. }) => Ok(()),
                // The credential's trouble, which may pass; the other comments would meet the same.
                Err(error) if error.remedy() == Remedy::StopSide && since(intent.opened_at, now) < COMMENT_PATIENCE => {
                    log::warn!("{}: the comment that names its issue waits: {error}", intent.source);
                    return Ok(());
                }
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
}

/// The one comment that names a task's issue.
fn comment_text(issue: &ItemKey, url: &str) -> String {
    let name = issue.to_string();
    format!("Linked with GitHub issue [{}]({url})", name.trim_start_matches("github:"))
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
