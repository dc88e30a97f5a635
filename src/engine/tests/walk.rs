//! A seeded random walk: edits on both sides, lost answers, refusals, lagging listings, deletions, kills.
//!
//! When the troubles are over a few passes settle, no item has two partners, and what a person last wrote
//! stands on a side or in the history. A failure prints its seed; `walk(seed)` plays it again.

use crate::model::Brakes;
use crate::store::{EntryFilter, Verified};

use super::*;

const SEEDS: u64 = 300;
const STEPS: usize = 26;

struct Walk {
    world: World,
    chance: fastrand::Rng,
    /// Words that a person wrote and no person took away.
    words: BTreeSet<String>,
    written: u64,
    deleted: Vec<(Side, Item)>,
    lagging: Vec<(Side, ItemKey)>,
    /// What the histories of lost databases said.
    remembered: String,
    log: Vec<String>,
}

impl Walk {
    fn new(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let on_conflict = [OnConflict::Newest, OnConflict::Tracker, OnConflict::Forge, OnConflict::Ask];
        let creation = [Creation::Both, Creation::TrackerToForge, Creation::ForgeToTracker];
        let wide = Brakes { updates_max: 1_000, retirements_max: 1_000, ..Brakes::default() };
        let mut rules = Rules {
            on_conflict: on_conflict[chance.usize(..4)],
            creation: creation[chance.usize(..3)],
            brakes: wide,
            ..Rules::default()
        };
        for side in Side::BOTH {
            rules.filter[side].include_done = chance.bool();
        }
        let world = World::new(rules);
        let mut walk = Self {
            world,
            chance,
            words: BTreeSet::new(),
            written: 0,
            deleted: Vec::new(),
            lagging: Vec::new(),
            remembered: String::new(),
            log: Vec::new(),
        };
        for side in Side::BOTH {
            walk.make(side);
        }
        walk
    }

    fn fake(&self, side: Side) -> Arc<Fake> {
        match side {
            Side::Tracker => self.world.tracker.clone(),
            Side::Forge => self.world.forge.clone(),
        }
    }

    fn word(&mut self) -> String {
        self.written += 1;
        let word = format!("word{}x", self.written);
        self.words.insert(word.clone());
        word
    }

    fn make(&mut self, side: Side) {
        let body = format!("{}\n\n{}\n\n{}", self.word(), self.word(), self.word());
        let status = if self.chance.u8(..4) == 0 { Status::Done } else { Status::Open };
        let content = Content { title: self.word(), body, status, ..Content::default() };
        let number = self.written;
        let key = self.fake(side).put(number, content);
        self.log.push(format!("made {key}"));
    }

    fn any(&mut self, side: Side) -> Option<ItemKey> {
        let all = self.fake(side).all();
        (!all.is_empty()).then(|| all[self.chance.usize(..all.len())].key.clone())
    }

    /// A person takes words away knowingly.
    fn forget(&mut self, text: &str) {
        self.words.retain(|word| !text.contains(word.as_str()));
    }

    fn edit(&mut self, side: Side) {
        let Some(key) = self.any(side) else { return };
        let fake = self.fake(side);
        let content = fake.get(&key).content;
        match self.chance.u8(..3) {
            0 => {
                self.forget(&content.title);
                let title = self.word();
                self.log.push(format!("{key} title {title}"));
                fake.edit(&key, |item| item.content.title = title);
            }
            1 => {
                let mut lines: Vec<String> = content.body.split("\n\n").map(str::to_owned).collect();
                let at = self.chance.usize(..lines.len());
                self.forget(&lines[at].clone());
                lines[at] = self.word();
                self.log.push(format!("{key} line {at} {}", lines[at]));
                fake.edit(&key, |item| item.content.body = lines.join("\n\n"));
            }
            _ => {
                let status = match (content.status, side) {
                    (Status::Open, Side::Forge) => Status::Dropped,
                    (Status::Open, Side::Tracker) => Status::Done,
                    _ => Status::Open,
                };
                self.log.push(format!("{key} {status}"));
                fake.edit(&key, |item| item.content.status = status);
            }
        }
    }

    fn delete(&mut self, side: Side) {
        let Some(key) = self.any(side) else { return };
        let fake = self.fake(side);
        // A side that shows nothing at all is the brakes' business.
        if fake.all().len() < 2 {
            return;
        }
        let item = fake.get(&key);
        // Made by us, deleted before we could know it, and restored after it was made again: nobody can know that.
        if item.marker.is_some() && self.world.engine.store.link_of(&key).expect("a look-up").is_none() {
            return;
        }
        self.forget(&format!("{} {}", item.content.title, item.content.body));
        fake.delete(&key);
        if side == Side::Tracker {
            lock(&fake.shelf).moved.push(key.clone());
        }
        self.log.push(format!("deleted {key}"));
        self.deleted.push((side, item));
    }

    fn restore(&mut self) {
        if let Some((side, item)) = self.deleted.pop() {
            self.log.push(format!("restored {}", item.key));
            let fake = self.fake(side);
            let mut shelf = lock(&fake.shelf);
            shelf.gone.remove(&item.key);
            shelf.moved.push(item.key.clone());
            shelf.items.insert(item.key.clone(), item);
        }
    }

    fn trouble(&mut self, side: Side) {
        let fake = self.fake(side);
        match self.chance.u8(..6) {
            0 | 1 => {
                let all = [Trouble::LostAnswer, Trouble::Refused, Trouble::Unreachable, Trouble::Denied];
                let trouble = all[self.chance.usize(..4)];
                self.log.push(format!("{side} {trouble:?}"));
                fake.trouble(Some(trouble));
            }
            2 => {
                // The feed and the listings are behind with the latest change.
                let last = lock(&fake.shelf).moved.pop();
                if let Some(key) = last {
                    self.log.push(format!("{key} lags"));
                    lock(&fake.shelf).unlisted.insert(key.clone());
                    self.lagging.push((side, key));
                }
            }
            3 => self.catch_up(),
            4 => {
                if let Some(key) = self.any(side) {
                    self.log.push(format!("{key} has no answer"));
                    lock(&fake.shelf).unanswered.insert(key);
                }
            }
            _ => {
                if let Some(key) = self.any(side) {
                    self.log.push(format!("{key} hidden"));
                    lock(&fake.shelf).hidden.insert(key);
                }
            }
        }
    }

    fn catch_up(&mut self) {
        for (side, key) in std::mem::take(&mut self.lagging) {
            let fake = self.fake(side);
            let mut shelf = lock(&fake.shelf);
            shelf.unlisted.remove(&key);
            shelf.moved.push(key);
        }
    }

    fn calm(&mut self) {
        self.catch_up();
        for side in Side::BOTH {
            let fake = self.fake(side);
            let mut shelf = lock(&fake.shelf);
            shelf.on_write = None;
            shelf.hidden.clear();
            shelf.unanswered.clear();
            shelf.unlisted.clear();
        }
    }

    fn wake(&mut self) -> Wake {
        match self.chance.u8(..8) {
            0 => Wake::Sweep,
            1 => Wake::Retry,
            2 => {
                let keys: Vec<Option<ItemKey>> = Side::BOTH.into_iter().map(|side| self.any(side)).collect();
                Wake::Visit(keys.into_iter().flatten().collect())
            }
            belt => Wake::Poll { belt: belt == 3 },
        }
    }

    fn step(&mut self) {
        let side = if self.chance.bool() { Side::Tracker } else { Side::Forge };
        match self.chance.u8(..40) {
            0..4 => self.make(side),
            4..16 => self.edit(side),
            16..18 => self.delete(side),
            18..20 => self.restore(),
            20..27 => self.trouble(side),
            27..30 => {
                let (wake, looks) = (self.wake(), self.chance.i64(3..60));
                self.log.push(format!("{wake:?} killed at {looks}"));
                self.world.killed(&wake, looks);
            }
            30 => self.lose_database(),
            31..33 => {
                self.log.push("time passes".into());
                self.world.clock.advance(Duration::from_secs(700));
            }
            _ => {
                let wake = self.wake();
                let report = self.world.pass(&wake);
                let did: Vec<&str> = report.plan.repairs.iter().map(|repair| repair.cause.as_str()).collect();
                self.log.push(format!("{wake:?} {} {did:?} {:?}", report.ended.as_str(), report.messages));
            }
        }
    }

    /// Everything can be seen when that happens: what no listing shows and no table knows cannot be known.
    fn lose_database(&mut self) {
        self.log.push("database lost".into());
        self.calm();
        while !self.deleted.is_empty() {
            self.restore();
        }
        self.remembered.push_str(&self.history());
        self.world.engine.store = Store::in_memory().expect("a database in memory");
        self.world.poll();
    }

    fn history(&self) -> String {
        let filter = EntryFilter { limit: 100_000, ..EntryFilter::default() };
        let entries = self.world.engine.store.history(&filter).expect("a history");
        entries.iter().map(|entry| serde_json::to_string(&entry.entry.changes).expect("JSON")).collect()
    }

    /// Persons act: parked items are taken back, a question about a text is answered with the issue's words.
    fn persons(&mut self) {
        let store = self.world.engine.store.clone();
        for due in store.parked(None).expect("parked items") {
            store.unpark(due.id, self.world.clock.now()).expect("unparked");
        }
        for link in store.waiting_links(None, 100).expect("waiting links") {
            let (task, issue) = (link.key(Side::Tracker), link.key(Side::Forge));
            let there = |fake: &Fake, key: &ItemKey| lock(&fake.shelf).items.contains_key(key);
            if !there(&self.world.tracker, &task) || !there(&self.world.forge, &issue) {
                continue;
            }
            let said = self.world.forge.get(&issue).content;
            let old = self.world.tracker.get(&task).content;
            self.forget(&format!("{} {}", old.title, old.body));
            let kept = self.word();
            let said = Content { body: format!("{}\n\n{kept}", said.body), ..said };
            for (fake, key) in [(&self.world.tracker, &task), (&self.world.forge, &issue)] {
                fake.edit(key, |item| item.content = said.clone());
            }
        }
    }

    fn finish(&mut self) -> Result<(), String> {
        self.calm();
        for _ in 0..5 {
            self.persons();
            self.world.clock.advance(Duration::from_secs(1_300));
            self.world.poll();
        }
        self.persons();
        self.world.pass(&Wake::Sweep);
        for wake in [Wake::Poll { belt: false }, Wake::Sweep, Wake::Poll { belt: true }] {
            let report = self.world.pass(&wake);
            if !report.plan.is_empty() {
                return Err(format!("{wake:?} does not settle: {:#?}", report.plan.repairs));
            }
        }
        self.partners()?;
        self.agreement()?;
        self.kept_words()?;
        let store = &self.world.engine.store;
        if !store.intents(&self.world.engine.route).expect("intents").is_empty() {
            return Err("an intent is left open".into());
        }
        match store.verify_history().expect("a history") {
            Verified::Whole { .. } => Ok(()),
            broken => Err(format!("{broken:?}")),
        }
    }

    fn partners(&self) -> Result<(), String> {
        let mut partner: BTreeMap<ItemKey, BTreeSet<ItemKey>> = BTreeMap::new();
        for side in Side::BOTH {
            for item in self.fake(side).all() {
                if let Some(marker) = &item.marker {
                    partner.entry(marker.partner.clone()).or_default().insert(item.key.clone());
                    partner.entry(item.key.clone()).or_default().insert(marker.partner.clone());
                }
            }
        }
        match partner.into_iter().find(|(_, partners)| partners.len() > 1) {
            Some((key, partners)) => Err(format!("{key} has several partners: {partners:?}")),
            None => Ok(()),
        }
    }

    /// Linked items that both are there and wait for nobody say the same.
    fn agreement(&self) -> Result<(), String> {
        let store = &self.world.engine.store;
        let parked: BTreeSet<ItemKey> =
            store.parked(None).expect("parked items").into_iter().map(|due| due.item).collect();
        for link in store.links(None, crate::model::LinkId(0), 1_000).expect("links") {
            let keys = BySide::from_fn(|side| link.key(side));
            let items = BySide::from_fn(|side| lock(&self.fake(side).shelf).items.get(&keys[side]).cloned());
            let (Some(task), Some(issue)) = (items.tracker, items.forge) else { continue };
            if !link.waiting.is_empty() || keys.iter().any(|(_, key)| parked.contains(key)) {
                continue;
            }
            let (one, other) = (&task.content, &issue.content);
            let open = |content: &Content| content.status == Status::Open;
            if one.title != other.title || one.body != other.body || open(one) != open(other) {
                return Err(format!("{} and {} differ: {one:#?} {other:#?}", task.key, issue.key));
            }
        }
        Ok(())
    }

    fn kept_words(&self) -> Result<(), String> {
        let mut all = self.history() + &self.remembered;
        for side in Side::BOTH {
            for item in self.fake(side).all() {
                all.push_str(&format!(" {} {} ", item.content.title, item.content.body));
            }
        }
        match self.words.iter().find(|word| !all.contains(word.as_str())) {
            Some(word) => Err(format!("{word} is lost")),
            None => Ok(()),
        }
    }
}

fn walk(seed: u64) {
    let mut walk = Walk::new(seed);
    for _ in 0..STEPS {
        walk.step();
    }
    let outcome = walk.finish();
    let rules = &walk.world.engine.rules;
    assert!(
        outcome.is_ok(),
        "seed {seed} ({:?}, {:?}): {}\n{}",
        rules.creation,
        rules.on_conflict,
        outcome.expect_err("just looked"),
        walk.log.join("\n")
    );
}

#[test]
fn a_random_walk_settles_without_a_second_partner_and_without_a_lost_word() {
    for seed in 0..SEEDS {
        walk(seed);
    }
}
