//! Everything that must survive: links, intents, dues, deliveries, hooks, passes, history, cursors, leases, calls,
//! and what all processes keep of a credential together.
//!
//! diesel over SQLite (embedded default) or PostgreSQL (several replicas); row types stay in here.
//! Every pass writes through [`Store::record`]: one transaction, fenced by the pass's lease.
//!
//! Promised: a record is written whole or not at all, also when the process is killed or the disk is full; no task and
//! no issue is in two links that are not retired; ids are never given out twice; the history has neither gaps nor forks.
//! Not here: secrets, the clock (every moment is an argument), and retries, which are the caller's.
//!
//! What a whole key names is read with `get_result`, the first of several with `at_most`: `verbatim` says why.
//!
//! A new column or table is a new folder in `migrations/sqlite` and in `migrations/postgres`, the columns in `schema`,
//! and rows of the version before in `tests/support/rows`.

mod among;
mod backend;
mod calls;
mod columns;
mod credentials;
mod deliveries;
mod dues;
mod error;
mod history;
mod hooks;
mod intents;
mod leases;
mod links;
pub mod migrate;
mod notes;
mod notices;
mod open;
mod passes;
mod postgres;
mod record;
mod refusals;
mod schema;
mod sqlite;
mod starts;
#[cfg(test)]
mod tests;
mod together;
mod verbatim;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{
    BySide, Content, Field, FieldChange, Fingerprint, IntentId, IssueRef, ItemKey, LinkId, LinkStatus, Marker, PassId,
    ProjectGid, RepoName, RouteName, Side, TaskGid, Timestamp, Waiting,
};
use crate::provider::{Cursor, Requests};

use backend::Door;
pub use backend::Usher;
pub use calls::{Begun, NewCall};
pub use credentials::{Credential, Keeping};
pub use deliveries::{
    Delivery, DeliveryCounts, DeliveryFilter, NewDelivery, Origin, TakenIn, Touched, Touches, Verdict,
};
pub use error::StoreError;
pub use hooks::{HookChange, HookRow, HookState, NewHook};
pub use leases::Held;
pub use links::LinkFilter;
pub use notices::{NewNotice, Notice};
pub use refusals::Refusals;
use together::Together;

/// The handle to the database; cheap to clone, safe to share between threads.
///
/// Call it from ordinary threads only, never inside an async task.
#[derive(Clone)]
pub struct Store {
    backend: Door,
    /// Deliveries that come at the same time.
    intake: Arc<Together<(NewDelivery, Timestamp), TakenIn>>,
    /// For a person; without a password.
    url: String,
    /// How long the leases it gives out are good for.
    lease: Duration,
}

/// What a sweep needs of a link: small, so that hundreds of thousands cost little.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brief {
    /// The link's row.
    pub id: LinkId,
    /// The task.
    pub task: TaskGid,
    /// The issue.
    pub issue: IssueRef,
    /// What the link is good for.
    pub status: LinkStatus,
    /// The digests of what each side showed when last in step.
    pub seen: BySide<Option<Fingerprint>>,
    /// Whether a field waits for a person.
    pub waits: bool,
}

/// The id of a repository of which only the name is known: that of an issue which was gone when it was first heard of.
pub const UNKNOWN_REPO: i64 = 0;

/// A pair to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// The task.
    pub task: TaskGid,
    /// The project of the route that made the pair.
    pub project: Option<ProjectGid>,
    /// The issue, under any name that its repository had; it is kept under the one that the route's links know.
    pub issue: IssueRef,
    /// The repository's id; [`UNKNOWN_REPO`] where only its name is known.
    pub repo_id: i64,
    /// The issue's global id.
    pub issue_id: i64,
    /// The issue's GraphQL id.
    pub issue_node_id: String,
    /// What both agree on, if it is known.
    pub base: Option<Content>,
    /// The digests of what each side shows.
    pub seen: BySide<Option<Fingerprint>>,
    /// Fields that wait.
    pub waiting: BTreeMap<Field, Waiting>,
}

/// A change of a link's row; `None` leaves a column as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkChange {
    /// The new base.
    pub base: Option<Content>,
    /// The new digests.
    pub seen: Option<BySide<Option<Fingerprint>>>,
    /// The new status.
    pub status: Option<LinkStatus>,
    /// The new set of waiting fields.
    pub waiting: Option<BTreeMap<Field, Waiting>>,
    /// The repository's new name and number, after a rename.
    pub issue: Option<IssueRef>,
}

/// A creation announced before it is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its row.
    pub id: IntentId,
    /// The route.
    pub route: RouteName,
    /// What is to be made, and for which item.
    pub kind: IntentKind,
    /// The item that gets a partner or a comment.
    pub source: ItemKey,
    /// The marker inside what is made.
    pub marker: Marker,
    /// When it was announced.
    pub opened_at: Timestamp,
    /// When it was last tried.
    pub tried_at: Timestamp,
    /// What the item said when its partner was last asked for; `None` of a comment, and of one announced by a version
    /// that did not keep it.
    pub sent: Option<Content>,
}

/// A creation about to be announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewIntent<'a> {
    /// What is to be made.
    pub kind: IntentKind,
    /// The item that gets a partner or a comment.
    pub source: &'a ItemKey,
    /// The marker inside what is made.
    pub marker: &'a Marker,
    /// What the item says of which a partner is made.
    pub sent: Option<&'a Content>,
}

/// What an intent announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntentKind {
    /// An issue for a task.
    Issue,
    /// A task for an issue.
    Task,
    /// The comment on a task that names its issue; `source` is the task, the marker names the issue.
    Comment,
}

impl IntentKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Issue, Self::Task, Self::Comment];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Task => "task",
            Self::Comment => "comment",
        }
    }
}

/// An item waiting to be visited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Due {
    /// Its row, by which an operator calls it.
    pub id: i64,
    /// The route.
    pub route: RouteName,
    /// The item.
    pub item: ItemKey,
    /// Why it waits.
    pub reason: String,
    /// Not before this moment.
    pub not_before: Timestamp,
    /// Visits tried so far.
    pub attempts: u32,
    /// The last error.
    pub last_error: Option<String>,
    /// When it was parked; a parked item waits for a person.
    pub parked_at: Option<Timestamp>,
    /// When it first became due.
    pub since: Timestamp,
    /// Whether a trigger or an operator rang for it and no pass has taken that up yet.
    pub rung: bool,
    /// The request that rang for it last.
    pub request: Option<String>,
}

/// An item to be made due. An item that is due already keeps the earlier time and the higher count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDue {
    /// The item.
    pub item: ItemKey,
    /// Why.
    pub reason: String,
    /// Not before this moment.
    pub not_before: Timestamp,
    /// Visits tried so far.
    pub attempts: u32,
    /// The last error.
    pub last_error: Option<String>,
    /// Whether to park it at once.
    pub parked: bool,
}

/// How a pass was called for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassStart {
    /// `poll`, `sweep`, `visit`, `undo`, `adopt`...
    pub kind: String,
    /// What called for it: `schedule`, `signal`, `operator`, `retry`...
    pub cause: String,
    /// Who: `service`, or the user name of the operator.
    pub actor: String,
}

/// How a pass ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)] // Kept as JSON: what an older program left out is empty.
pub struct PassEnd {
    /// `settled`, `drift`, `failed`, `refused`, `stopped`.
    pub outcome: String,
    /// Numbers by name: `created`, `updated`, `retired`, `linked`, `skipped`, `waiting`, `failed`, `parked`.
    pub counts: BTreeMap<String, u64>,
    /// The requests each side took.
    pub requests: BySide<Requests>,
    /// The plan's hash.
    pub plan: Option<String>,
    /// What went wrong, for a person.
    pub message: Option<String>,
}

/// A pass as kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pass {
    /// Its row.
    pub id: PassId,
    /// The route.
    pub route: RouteName,
    /// How it was called for.
    pub start: PassStart,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended, if it did.
    pub ended_at: Option<Timestamp>,
    /// How it ended, if it did.
    pub end: Option<PassEnd>,
}

/// A history entry to be appended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEntry {
    /// When.
    pub at: Timestamp,
    /// In which pass.
    pub pass: PassId,
    /// On which link, once there is one.
    pub link: Option<LinkId>,
    /// `create`, `update`, `retire`, `link`, `unlink`, `comment`, `ask`, `park`, `drop`, `undo`, `left`...
    pub kind: String,
    /// The item written to (or spoken of).
    pub item: ItemKey,
    /// Its partner, if known.
    pub partner: Option<ItemKey>,
    /// What changed.
    pub changes: Vec<FieldChange>,
    /// What caused it, in words.
    pub cause: String,
    /// Who: `service` or an operator's name.
    pub actor: String,
}

/// A history entry as kept; `hash` covers the entry and the hash before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its place in the chain, from 1, without gaps.
    pub seq: i64,
    /// The route.
    pub route: RouteName,
    /// What was recorded.
    #[serde(flatten)]
    pub entry: NewEntry,
    /// The hash of the entry before, 64 hexadecimal digits (zeros before the first).
    pub previous: String,
    /// The hash of this entry.
    pub hash: String,
}

/// Which history entries to show; unset fields match all.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Of one route.
    pub route: Option<RouteName>,
    /// Of one pass.
    pub pass: Option<PassId>,
    /// Of one item, as item or as partner.
    pub item: Option<ItemKey>,
    /// After this place in the chain (ascending) or, with `newest_first`, before it.
    pub after: Option<i64>,
    /// Newest first.
    pub newest_first: bool,
    /// At most so many; 0 is 1,000.
    pub limit: u32,
}

/// The result of checking the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verified {
    /// All so many entries are whole and in order; the last hash.
    Whole {
        /// How many.
        entries: i64,
        /// The last hash.
        head: String,
    },
    /// The first entry that does not fit.
    Broken {
        /// Its place.
        seq: i64,
        /// What is wrong.
        why: String,
    },
}

/// A pair that must not be made again: unlinked by a person, or retired.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tombstone {
    /// The task.
    pub task: TaskGid,
    /// The issue.
    pub issue: IssueRef,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// The right to write for a route, with an end and a token that only grows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is for: the route.
    pub route: RouteName,
    /// Who holds it, for a person: host, process, command.
    pub holder: String,
    /// Grows with every new holder; a write with an old one is refused.
    pub token: i64,
}

/// Everything one step of a pass makes durable, together or not at all. Applied in field order.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Pairs to make.
    pub link: Vec<NewLink>,
    /// Pairs to remember as retired: one half was gone or away when the other was found to name it. Nothing is
    /// made anew for either, and if it comes back they are looked at together.
    pub remember: Vec<NewLink>,
    /// Rows to change.
    pub change: Vec<(LinkId, LinkChange)>,
    /// Pairs to unmake, with the reason for the tombstone.
    pub unlink: Vec<(LinkId, String)>,
    /// Intents that are settled.
    pub close_intents: Vec<IntentId>,
    /// Items that are no longer due.
    pub clear_due: Vec<ItemKey>,
    /// Items that become due.
    pub due: Vec<NewDue>,
    /// A repository by its id and the name it has now: links made under another name follow it, and so does what this
    /// record makes due.
    pub rename: Option<(i64, RepoName)>,
    /// Entries to append. One with `link: None` whose item is in `link` above gets that link's id.
    pub history: Vec<NewEntry>,
    /// Cursors to store, by side.
    pub cursors: Vec<(Side, Cursor)>,
    /// Other durable notes of the route by name (such as `last_sweep`): small text.
    pub notes: Vec<(String, String)>,
}

/// What a record gave out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The links made, in the order asked.
    pub links: Vec<LinkId>,
}

/// How long a lease is good for without renewal, unless [`Store::leasing`] says otherwise.
pub use crate::config::LEASE;
