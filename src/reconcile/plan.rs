//! The plan as a value: what would be done, why, in a stable order, and what was left undone and why.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{
    BySide, Change, Content, Field, FieldChange, Fingerprint, IntentId, Item, ItemKey, LinkId, LinkStatus, RouteName,
    Side, Waiting,
};

/// One update of one item, as planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Write {
    /// The item to change.
    pub item: ItemKey,
    /// What to write.
    pub change: Change,
    /// The same for people and for the history: old and new value of each field with the reason.
    pub fields: Vec<FieldChange>,
}

/// What a repair does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "do")]
pub enum Action {
    /// An unlinked item gets a partner on the other side.
    Create {
        /// The item as observed.
        from: Box<Item>,
        /// What the partner shall say.
        content: Box<Content>,
    },
    /// Two items that exist become a pair; what they say is brought in step.
    Join {
        /// Both as observed; beside the repair's own `items` in JSON, so under another name.
        #[serde(rename = "met")]
        items: Box<BySide<Item>>,
        /// The intent that this settles, if one was open.
        intent: Option<IntentId>,
        /// What both agreed on before, if one was made from the other and its answer was lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        known: Option<Box<Content>>,
        /// At most one update for each side.
        writes: BySide<Option<Write>>,
        /// What both agree on afterwards.
        base: Box<Content>,
        /// Fields that wait for a person.
        waiting: BTreeMap<Field, Waiting>,
    },
    /// A linked pair is brought in step.
    Update {
        /// At most one update for each side.
        writes: BySide<Option<Write>>,
        /// What both agree on afterwards.
        base: Box<Content>,
        /// Fields that wait for a person.
        waiting: BTreeMap<Field, Waiting>,
    },
    /// One side was deleted: the other is closed or completed, never erased.
    Retire {
        /// The side that is gone.
        gone: Side,
        /// The closing write; `None` when the partner is closed already.
        write: Option<Write>,
    },
    /// Nothing is written to a provider: only what we know of the link changes.
    Note {
        /// The link's new status.
        status: LinkStatus,
        /// What both agree on, if that changed.
        base: Option<Box<Content>>,
        /// Fields that wait for a person.
        waiting: BTreeMap<Field, Waiting>,
    },
}

/// One step that removes drift.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repair {
    /// The link, once there is one.
    pub link: Option<LinkId>,
    /// The items concerned.
    pub items: BySide<Option<ItemKey>>,
    /// The title, for a person to recognise it by.
    pub title: String,
    /// Why, in words.
    pub cause: String,
    /// What to do.
    #[serde(flatten)]
    pub action: Action,
    /// The digests of what was observed when this was planned; bookkeeping, not part of the hash.
    #[serde(default)]
    pub seen: BySide<Option<Fingerprint>>,
}

impl Repair {
    /// Whether a provider is written to.
    pub const fn writes(&self) -> bool {
        match &self.action {
            Action::Create { .. } => true,
            Action::Join { writes, .. } | Action::Update { writes, .. } => {
                writes.tracker.is_some() || writes.forge.is_some()
            }
            Action::Retire { write, .. } => write.is_some(),
            Action::Note { .. } => false,
        }
    }

    /// Place in the plan: what exists is paired before anything is created, retirements come last.
    fn rank(&self) -> (u8, &BySide<Option<ItemKey>>) {
        let rank = match self.action {
            Action::Join { .. } => 0,
            Action::Update { .. } => 1,
            Action::Create { .. } => 2,
            Action::Retire { .. } => 3,
            Action::Note { .. } => 4,
        };
        (rank, &self.items)
    }

    /// An item to speak of: the task if there is one.
    pub fn subject(&self) -> Option<&ItemKey> {
        self.items.tracker.as_ref().or(self.items.forge.as_ref())
    }
}

/// Something that only a person can decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Question {
    /// The link, if there is one.
    pub link: Option<LinkId>,
    /// The item it is about.
    pub item: ItemKey,
    /// What was found and what can be done.
    pub what: String,
}

/// Something seen and left alone, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Skip {
    /// The item.
    pub item: ItemKey,
    /// Why.
    pub why: String,
}

/// Everything one pass would do on a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The route.
    pub route: RouteName,
    /// What to do, in order.
    pub repairs: Vec<Repair>,
    /// What a person must decide.
    pub questions: Vec<Question>,
    /// What was left alone, and why; at most [`Plan::SKIPS_MAX`] of them, the rest is only counted.
    pub skips: Vec<Skip>,
    /// How many items were left alone, by reason.
    pub left_alone: BTreeMap<String, u64>,
    /// Linked pairs on the route, which the brakes are measured against.
    pub links: u64,
    /// Items seen on each side.
    pub seen: BySide<u64>,
}

impl Plan {
    /// So many skips are listed one by one, so that a large repository does not fill the memory.
    pub const SKIPS_MAX: usize = 500;

    /// Notes something left alone.
    pub fn skip(&mut self, skip: Skip) {
        *self.left_alone.entry(skip.why.clone()).or_default() += 1;
        if self.skips.len() < Self::SKIPS_MAX {
            self.skips.push(skip);
        }
    }

    /// An empty plan.
    pub fn new(route: RouteName) -> Self {
        Self {
            route,
            repairs: Vec::new(),
            questions: Vec::new(),
            skips: Vec::new(),
            left_alone: BTreeMap::new(),
            links: 0,
            seen: BySide { tracker: 0, forge: 0 },
        }
    }

    /// Puts everything in its stable order.
    pub fn sort(&mut self) {
        self.repairs.sort_by(|one, other| one.rank().cmp(&other.rank()));
        self.questions.sort_by(|one, other| one.item.cmp(&other.item));
        self.skips.sort();
        self.skips.dedup();
    }

    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.repairs.is_empty()
    }

    /// Repairs that write to a provider.
    pub fn writing(&self) -> impl Iterator<Item = &Repair> {
        self.repairs.iter().filter(|repair| repair.writes())
    }

    /// A digest of what would be done: equal plans have equal hashes, whenever they were made.
    pub fn hash(&self) -> Fingerprint {
        let steps: Vec<_> = self
            .repairs
            .iter()
            .map(|repair| {
                let Repair { link, items, title: _, cause: _, action, seen: _ } = repair;
                (link, items, Outline::of(action))
            })
            .collect();
        Fingerprint::of(&(&self.route, steps))
    }

    /// The steps of `self` that `other` does not have, for saying what moved.
    pub fn differing<'a>(&'a self, other: &Self) -> Vec<&'a Repair> {
        let digest = |repair: &Repair| Fingerprint::of(&(&repair.items, Outline::of(&repair.action))).0;
        let known: BTreeSet<String> = other.repairs.iter().map(digest).collect();
        self.repairs.iter().filter(|repair| !known.contains(&digest(repair))).collect()
    }
}

/// What makes two actions the same: the effect on the providers, not the time stamps of what was read.
#[derive(Serialize)]
enum Outline<'a> {
    Create(&'a ItemKey, &'a Content),
    Change(&'static str, BySide<Option<&'a Change>>),
    Note(LinkStatus),
}

impl<'a> Outline<'a> {
    fn of(action: &'a Action) -> Self {
        let changes = |writes: &'a BySide<Option<Write>>| {
            BySide::from_fn(|side| writes[side].as_ref().map(|write| &write.change))
        };
        match action {
            Action::Create { from, content } => Self::Create(&from.key, content),
            Action::Join { writes, .. } => Self::Change("join", changes(writes)),
            Action::Update { writes, .. } => Self::Change("update", changes(writes)),
            Action::Retire { write, gone } => Self::Change(
                "retire",
                BySide::from_fn(|side| write.as_ref().filter(|_| side != *gone).map(|write| &write.change)),
            ),
            Action::Note { status, .. } => Self::Note(*status),
        }
    }
}
