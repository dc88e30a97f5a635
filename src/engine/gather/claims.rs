//! Open creations and markers: which unlinked items claim which partner.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gathering, WAITING_READS_MAX, by_item};
use crate::clock::earlier;
use crate::engine::EngineError;
use crate::engine::lag::NOT_YET;
use crate::model::{BySide, CLOCK_SLACK, IssueRef, Item, ItemKey, LinkStatus, Native, Place, RepoName, Side};
use crate::reconcile::{Claim, Sight, Unanswered, fingerprint, pair_of};
use crate::store::{Brief, NewDue, NewLink, UNKNOWN_REPO};

/// Former names of repositories that one pass asks about; a repository is seldom renamed more often than that.
const FORMER_NAMES_MAX: usize = 5;
/// Issues of one former name that are asked for in vain, besides those whose number an issue of now has.
const FORMER_ISSUES_MAX: usize = 5;

impl Gathering<'_> {
    /// Before a partner is made, what waits unlinked on the other side is read: it lies before the cursor and
    /// may claim the very item that would get another partner.
    pub(super) fn waiting_claims(
        &mut self,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let engine = self.engine;
        for side in Side::BOTH {
            if self.strangers.items[side.opposite()].is_empty() {
                continue;
            }
            let waiting: Vec<ItemKey> = self
                .dues
                .keys()
                .chain(&self.parked)
                .filter(|key| key.side() == side && !self.stranger_keys.contains(key) && !self.untried.contains(key))
                .take(WAITING_READS_MAX)
                .cloned()
                .collect();
            let linked = by_item(side, engine.store.briefs(&engine.route, &waiting)?);
            for key in waiting.iter().filter(|key| !linked.contains_key(key)) {
                alive(0)?;
                if let Sight::Shown(item) = self.look(key)?
                    && item.marker.is_some()
                {
                    self.stranger(*item)?;
                }
            }
        }
        Ok(())
    }

    /// Before a partner is made for what a person took back, the markers of all that was made since it was are read: while
    /// it was parked, a claim on it may have been seen and left alone, and no cursor brings that up
    /// again. One listing for each side concerned.
    pub(super) fn earlier_claims(&mut self) -> Result<(), EngineError> {
        for side in Side::BOTH {
            // Parked for a failure, and not tried since.
            let taken_back =
                |key: &ItemKey| self.dues.get(key).is_some_and(|due| due.attempts == 0 && due.last_error.is_some());
            let again: Vec<&Item> = self.strangers.items[side.opposite()]
                .iter()
                .filter(|item| taken_back(&item.key) && !self.claimed.contains(&item.key))
                .filter(|item| !self.strangers.intents.contains_key(&item.key))
                .collect();
            let Some(first) = again.iter().map(|item| item.created_at).min() else { continue };
            let wanted: BTreeSet<ItemKey> = again.iter().map(|item| item.key.clone()).collect();
            let listed = self.engine.providers[side]
                .marked_since(earlier(first, CLOCK_SLACK))
                .map_err(|error| EngineError::Provider { side, error })?;
            for mut item in listed.items {
                self.listed_name(&mut item)?;
                if item.marker.as_ref().is_some_and(|marker| wanted.contains(&marker.partner))
                    && self.engine.store.briefs(&self.engine.route, std::slice::from_ref(&item.key))?.is_empty()
                {
                    self.stranger(item)?;
                }
            }
            if !listed.whole {
                let why = format!(
                    "an item of {} that may be its partner could not be read; take it back once that can be read, or \
                     link the two with `evenkeel links add`",
                    side.service()
                );
                let unclaimed: Vec<ItemKey> = wanted.difference(&self.claimed).cloned().collect();
                for key in unclaimed {
                    self.closing.clear_due.push(key.clone());
                    self.closing.due.push(NewDue {
                        item: key.clone(),
                        reason: "its partner was looked for".to_owned(),
                        not_before: self.now,
                        attempts: 0,
                        last_error: Some(why.clone()),
                        parked: true,
                    });
                    self.strangers.held.insert(key, why.clone());
                }
            }
        }
        Ok(())
    }

    /// Open creations: the items in question, and what carries their markers now.
    pub(super) fn open_intents(
        &mut self,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        for intent in crate::engine::intents::open_creations(self.engine, &mut self.closing.notes)? {
            alive(0)?;
            let (id, tried_at, until) = (intent.id, intent.tried_at, intent.until);
            let unanswered = Unanswered { id, tried_at, until, sent: intent.sent };
            self.strangers.intents.insert(intent.source.clone(), unanswered);
            match intent.found {
                Some(mut item) => {
                    self.listed_name(&mut item)?;
                    // It carries this creation's very marker, which may name its partner as it was called then.
                    if let Some(marker) = &mut item.marker {
                        marker.partner = intent.source.clone();
                    }
                    let there = self.read(&intent.source)?;
                    let keys = [item.key.clone(), intent.source.clone()];
                    let linked = self.engine.store.briefs(&self.engine.route, &keys)?;
                    let linked: Vec<Brief> =
                        linked.into_iter().filter(|brief| brief.status != LinkStatus::Retired).collect();
                    // It was there when its partner was asked for: a copy that lags may not know it yet.
                    let left = !there && !self.engine.just_now(intent.tried_at, self.now);
                    // On another route, too: an item has one partner.
                    if left || !linked.is_empty() || self.linked_already(&intent.source)?.is_some() {
                        // Linked by somebody else meanwhile, or nobody is left to link: the creation is settled.
                        self.closing.close_intents.push(intent.id);
                        self.strangers.intents.remove(&intent.source);
                    }
                    if !by_item(item.side(), linked).contains_key(&item.key) {
                        self.stranger(item)?;
                    }
                }
                None if intent.until <= self.now => {
                    self.closing.close_intents.push(intent.id);
                    self.strangers.intents.remove(&intent.source);
                    self.read(&intent.source)?;
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Reads the partners that unlinked items claim, where they were not observed.
    pub(super) fn follow_claims(
        &mut self,
        alive: &mut dyn FnMut(u64) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        self.follow_renames()?;
        let engine = self.engine;
        let claims: Vec<(Item, ItemKey)> = self
            .strangers
            .items
            .iter()
            .flat_map(|(_, items)| items)
            .filter_map(|item| Some((item.clone(), item.marker.as_ref()?.partner.clone())))
            .filter(|(item, partner)| item.side() != partner.side())
            .collect();
        let keys: Vec<ItemKey> =
            claims.iter().flat_map(|(item, partner)| [item.key.clone(), partner.clone()]).collect();
        if keys.is_empty() {
            return Ok(());
        }
        for stone in engine.store.tombstones(&engine.route, &keys)? {
            self.strangers
                .tombstones
                .insert(BySide { tracker: ItemKey::Task(stone.task), forge: ItemKey::Issue(stone.issue) });
        }
        let briefs = engine.store.briefs(&engine.route, &keys)?;
        let mut linked: BTreeMap<ItemKey, ItemKey> = BTreeMap::new();
        let mut known: BTreeSet<ItemKey> = BTreeSet::new();
        for brief in briefs {
            let (task, issue) = (ItemKey::Task(brief.task), ItemKey::Issue(brief.issue));
            known.extend([task.clone(), issue.clone()]);
            if brief.status != LinkStatus::Retired {
                linked.insert(task.clone(), issue.clone());
                linked.insert(issue, task);
            }
        }
        for (whole, partner) in claims {
            alive(0)?;
            let item = whole.key.clone();
            if let Some(by) = linked.get(&partner) {
                self.strangers.claims.insert(item, Claim::Taken(by.clone()));
                continue;
            }
            let pair = pair_of(&item, &partner);
            if self.stranger_keys.contains(&partner)
                || self.parked.contains(&item)
                || self.strangers.tombstones.contains(&pair)
            {
                continue;
            }
            // An open creation finds the claim again, and needs no other memory while a copy may lag.
            let open = self.strangers.intents.get(&partner);
            let open = open.is_some_and(|creation| self.engine.just_now(creation.tried_at, self.now));
            let sight = self.look(&partner)?;
            if matches!(&sight, Sight::Shown(found) if self.foreign(found)) {
                // Of another route, or of another installation: not ours to join.
                let why = format!("{partner} is in another repository than this route's");
                self.strangers.claims.insert(item, Claim::Unreadable(why));
                continue;
            }
            match sight {
                Sight::Absent | Sight::Moved(_) if open => {
                    self.strangers.claims.insert(item, Claim::Unreadable(NOT_YET.to_owned()));
                }
                Sight::Shown(found) if found.place == Place::Left => {
                    let why = format!("{partner} is not in the route");
                    if !open && known.insert(partner.clone()) {
                        self.remember(&whole, &partner)?;
                    }
                    self.strangers.claims.insert(item, Claim::Unreadable(why));
                }
                Sight::Shown(found) => {
                    self.stranger_keys.insert(partner.clone());
                    self.strangers.items[partner.side()].push(*found);
                }
                Sight::Absent | Sight::Moved(_) | Sight::Unmoved => {
                    if known.insert(partner.clone()) {
                        self.remember(&whole, &partner)?;
                    }
                    self.strangers.claims.insert(item, Claim::Gone);
                }
                Sight::Unseen(why) => {
                    self.again(&item, &partner, &why)?;
                    self.strangers.claims.insert(item, Claim::Unreadable(why));
                }
            }
        }
        Ok(())
    }

    /// Markers and open creations that name a repository as it was called before: without links that know its id, the
    /// service is asked, and one answer stands for all that name it so. An issue that is gone is none: the next is asked.
    fn follow_renames(&mut self) -> Result<(), EngineError> {
        let issue = |key: &ItemKey| match key {
            ItemKey::Issue(issue) => Some(issue.clone()),
            ItemKey::Task(_) => None,
        };
        let listed: Vec<IssueRef> = self.strangers.items.forge.iter().filter_map(|item| issue(&item.key)).collect();
        let present: BTreeSet<&RepoName> = listed.iter().map(|issue| &issue.repo).collect();
        let numbers: BTreeSet<u64> = listed.iter().map(|issue| issue.number).collect();
        let claimed = self.strangers.items.tracker.iter().filter_map(|item| Some(&item.marker.as_ref()?.partner));
        // Who has no issue that could get a partner need not know whose partner is on its way.
        let sources = self.strangers.intents.keys().filter(|_| !present.is_empty());
        // First those whose number an issue of now has: that one may be the same.
        let mut former: BTreeMap<RepoName, BTreeSet<(bool, ItemKey)>> = BTreeMap::new();
        for key in claimed.chain(sources) {
            if let Some(IssueRef { repo, number }) = issue(key).filter(|issue| !present.contains(&issue.repo)) {
                former.entry(repo).or_default().insert((!numbers.contains(&number), key.clone()));
            }
        }
        for (name, issues) in former.into_iter().take(FORMER_NAMES_MAX) {
            let mut found = None;
            for (tries, (other, key)) in issues.iter().enumerate() {
                if *other && tries >= FORMER_ISSUES_MAX {
                    break;
                }
                if let Sight::Shown(item) = self.look(key)? {
                    found = issue(&item.key);
                    break;
                }
            }
            let Some(now) = found.map(|issue| issue.repo).filter(|now| *now != name) else { continue };
            let renamed = |key: &ItemKey| match key {
                ItemKey::Issue(IssueRef { repo, number }) if *repo == name => {
                    Some(ItemKey::Issue(IssueRef { repo: now.clone(), number: *number }))
                }
                ItemKey::Issue(_) | ItemKey::Task(_) => None,
            };
            for marker in self.strangers.items.tracker.iter_mut().filter_map(|item| item.marker.as_mut()) {
                if let Some(key) = renamed(&marker.partner) {
                    marker.partner = key;
                }
            }
            let intents = &mut self.strangers.intents;
            let open: Vec<_> = intents.iter().filter_map(|(key, open)| Some((renamed(key)?, open.clone()))).collect();
            intents.extend(open);
        }
        Ok(())
    }

    /// Keeps a pair of which one half is gone or away: if it comes back, it must not get another partner.
    pub(super) fn remember(&mut self, item: &Item, partner: &ItemKey) -> Result<(), EngineError> {
        let engine = self.engine;
        let (task, issue) = match (&item.key, partner) {
            (ItemKey::Task(task), ItemKey::Issue(issue)) | (ItemKey::Issue(issue), ItemKey::Task(task)) => {
                (task.clone(), issue.clone())
            }
            _ => return Ok(()),
        };
        let (repo_id, issue_id, issue_node_id) = match &item.native {
            Native::Issue { repo_id, id, node_id } => (*repo_id, *id, node_id.clone()),
            // The issue is gone: only its name is known.
            Native::Task { .. } => {
                let known = engine.store.repo_id(&engine.route, &issue.repo)?;
                (known.unwrap_or(UNKNOWN_REPO), 0, String::new())
            }
        };
        let mut seen = BySide::default();
        seen[item.side()] = Some(fingerprint(item, &engine.rules.policy));
        self.closing.remember.push(NewLink {
            task,
            project: Some(engine.project.clone()),
            issue,
            repo_id,
            issue_id,
            issue_node_id,
            base: None,
            seen,
            waiting: BTreeMap::new(),
        });
        Ok(())
    }
}
