//! The rules of a route: which side owns which field, who may create, what the brakes allow.

use serde::{Deserialize, Serialize};

use super::{BySide, Field, People, Side};

/// Who owns a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldPolicy {
    /// The tracker's value stands; edits on the forge are put back.
    Tracker,
    /// The forge's value stands; edits on the tracker are put back.
    Forge,
    /// Edits of both sides are merged.
    Both,
    /// The field is left alone.
    Off,
}

/// How a conflict under [`FieldPolicy::Both`] is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// The tracker's value stands; the other is in the history.
    Tracker,
    /// The forge's value stands; the other is in the history.
    Forge,
    /// The later edit stands; overlapping text edits ask.
    Newest,
    /// The field waits for a person.
    Ask,
}

/// Policy per field. The footer always belongs to us and has no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Title.
    pub title: FieldPolicy,
    /// Body text.
    pub body: FieldPolicy,
    /// Open, done or dropped.
    pub status: FieldPolicy,
    /// Assignees, through [`People`]; off until people are mapped.
    pub assignees: FieldPolicy,
    /// The tracker's tags and the forge's labels.
    pub labels: FieldPolicy,
    /// Due date: `tracker` shows it in the footer; only `tracker` and `off` are meaningful.
    pub due: FieldPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            title: FieldPolicy::Both,
            body: FieldPolicy::Both,
            status: FieldPolicy::Both,
            assignees: FieldPolicy::Off,
            labels: FieldPolicy::Off,
            due: FieldPolicy::Off,
        }
    }
}

impl Policy {
    /// The policy of a field.
    pub const fn of(&self, field: Field) -> FieldPolicy {
        match field {
            Field::Title => self.title,
            Field::Body => self.body,
            Field::Status => self.status,
            Field::Assignees => self.assignees,
            Field::Labels => self.labels,
            Field::Due => self.due,
            Field::Footer => FieldPolicy::Tracker,
        }
    }
}

/// Which side's unlinked items get a new partner on the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Creation {
    /// New tasks get an issue.
    #[default]
    TrackerToForge,
    /// Both directions.
    Both,
    /// New issues get a task.
    ForgeToTracker,
    /// Nothing is created; only linked items are kept in step.
    None,
}

impl Creation {
    /// Whether an unlinked item of `side` gets a partner.
    pub const fn from_side(self, side: Side) -> bool {
        matches!(
            (self, side),
            (Self::Both, _) | (Self::TrackerToForge, Side::Tracker) | (Self::ForgeToTracker, Side::Forge)
        )
    }
}

/// Which unlinked items of a side take part. Linked items stay linked whatever the filter says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// Any of these sections (tracker); empty is all. Compared without case.
    pub sections: Vec<String>,
    /// Any of these tags or labels; empty is all. Compared without case.
    pub labels: Vec<String>,
    /// Custom field name and wanted display value (tracker); every pair must hold.
    pub fields: Vec<(String, String)>,
    /// Whether items already done when first seen get a partner. Off: only open ones do.
    pub include_done: bool,
}

/// When a pass stops and asks instead of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brakes {
    /// Updates of linked items in one pass, at most this many...
    pub updates_max: u64,
    /// ...and this percentage of the links, whichever is larger.
    pub updates_percent: u64,
    /// Retirements in one pass, at most this many...
    pub retirements_max: u64,
    /// ...and this percentage of the links, whichever is larger.
    pub retirements_percent: u64,
}

impl Default for Brakes {
    fn default() -> Self {
        Self { updates_max: 50, updates_percent: 30, retirements_max: 5, retirements_percent: 5 }
    }
}

/// Everything that decides about a route's items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// Who owns which field.
    pub policy: Policy,
    /// How conflicts are settled.
    pub on_conflict: OnConflict,
    /// Which direction creates.
    pub creation: Creation,
    /// Which unlinked items take part.
    pub filter: BySide<Filter>,
    /// When to stop and ask.
    pub brakes: Brakes,
    /// Who is who.
    pub people: People,
    /// Whether a newly linked task gets one comment naming its issue.
    pub comment_on_link: bool,
    /// Whether a linked task is told in a comment when a pull request that closes its issue is opened, merged or
    /// closed.
    pub comment_on_pull_requests: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            on_conflict: OnConflict::Newest,
            creation: Creation::default(),
            filter: BySide::default(),
            brakes: Brakes::default(),
            people: People::default(),
            comment_on_link: true,
            comment_on_pull_requests: true,
        }
    }
}
