//! The vocabulary of Evenkeel, used with one meaning everywhere: code, tables, logs, commands.
//!
//! | word | means |
//! | --- | --- |
//! | tracker, forge | the two roles ([`Side`]): Asana holds *tasks*, GitHub holds *issues* |
//! | route | one tracker project and one forge repository under one set of [`Rules`] |
//! | item | a task or an issue as observed ([`Item`]), its words in canonical form ([`Content`]) |
//! | link, base | the durable pair task–issue; the content both last agreed on |
//! | drift, conflict | a difference from the base; drift on both sides that cannot be merged |
//! | repair, plan, pass | an action that removes drift; the ordered list; one run of the loop |
//! | retire | what a deletion becomes: the partner is closed or completed, never erased |
//! | intent | a creation announced in our database before it is made |
//! | due, parked | an item waiting to be visited; one that a person must look at |
//! | cursor | where the next poll resumes, valid only for the stream it came from |
//! | marker | the sign inside an item that names its partner |
//! | history | the append-only, hash-chained record of every change made, by whom, why |

mod ids;
mod item;
mod link;
mod people;
mod rules;
mod side;

pub use ids::{
    IntentId, InvalidId, IssueNumber, IssueRef, ItemKey, LinkId, PassId, ProjectGid, RepoName, RouteName, TaskGid,
};
pub(crate) use item::hex;
pub use item::{
    Assignees, CLOCK_SLACK, Change, Content, Facts, Field, FieldChange, Fingerprint, Item, Marker, Native, Place,
    Status,
};
pub use link::{Link, LinkStatus, Waiting};
pub use people::{People, Person};
pub use rules::{Brakes, Creation, FieldPolicy, Filter, OnConflict, Policy, Rules};
pub use side::{BySide, Side};

pub use jiff::{Timestamp, civil::Date};
