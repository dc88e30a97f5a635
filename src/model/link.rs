//! The durable pair task–issue and what both last agreed on.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{BySide, Content, Field, Fingerprint, IssueRef, ItemKey, LinkId, ProjectGid, RouteName, Side, TaskGid};

/// What a link is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkStatus {
    /// Kept in step.
    Active,
    /// One side left the route (moved out of the project, transferred); it waits, nothing is written.
    Left,
    /// One half was gone, deleted or out of reach; kept so that nothing is created anew, and so that it wakes when both
    /// are there again and neither has found another partner.
    Retired,
}

impl LinkStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Left, Self::Retired];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Left => "left",
            Self::Retired => "retired",
        }
    }
}

impl fmt::Display for LinkStatus {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// A field that waits for a person: what both sides said when the question arose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// What both last agreed on, if anything.
    pub base: Option<String>,
    /// What each side says.
    pub said: BySide<String>,
    /// Why it could not be settled.
    pub why: String,
    /// When it was first asked.
    pub since: Timestamp,
}

/// The durable pair.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its row.
    pub id: LinkId,
    /// The route it belongs to.
    pub route: RouteName,
    /// The task.
    pub task: TaskGid,
    /// The project of the route that made the pair, if that was kept.
    pub project: Option<ProjectGid>,
    /// The issue.
    pub issue: IssueRef,
    /// The repository's id, which survives a rename.
    pub repo_id: i64,
    /// The issue's global id.
    pub issue_id: i64,
    /// The issue's GraphQL id.
    pub issue_node_id: String,
    /// What the link is good for.
    pub status: LinkStatus,
    /// The content both last agreed on; `None` until they first agree.
    pub base: Option<Content>,
    /// The digest of what each side showed when the pair was last settled: a cheap "look no further", unless it was
    /// [not agreed on](Fingerprint::not_agreed).
    pub seen: BySide<Option<Fingerprint>>,
    /// Fields that wait for a person.
    pub waiting: BTreeMap<Field, Waiting>,
    /// When the pair was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

impl Link {
    /// The linked item of a side.
    pub fn key(&self, side: Side) -> ItemKey {
        match side {
            Side::Tracker => ItemKey::Task(self.task.clone()),
            Side::Forge => ItemKey::Issue(self.issue.clone()),
        }
    }
}
