//! What the engine asks of a tracker or a forge, and how a failure is sorted by its remedy.
//!
//! Reading and writing are separate traits, so that a plan cannot write even by mistake. Both sides
//! share them: the engine addresses a provider by [`Side`], never by service.

pub mod asana;
pub mod breaker;
mod call;
mod finding;
pub mod github;
pub mod heard;
pub mod hooks;
pub mod http;
mod json;
pub mod pace;
mod permit;
pub mod signature;
#[cfg(test)]
mod testing;

pub use call::Connection;
pub use permit::Permit;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::model::{Change, Content, Item, ItemKey, Marker, Side, Timestamp};

/// Where a stream of changes resumes: opaque to all but the provider that gave it.
///
/// Asana: the events sync token and the instant up to which `modified_since` was read. GitHub: the
/// `since` watermark and the ETag of the first page under it. Kept as JSON text in the store.
pub type Cursor = String;

/// Receives observed items page by page; memory is the receiver's business.
pub type Sink<'a> = &'a mut dyn FnMut(Vec<Item>) -> Result<(), Halt>;

/// The receiver wants no more: the listing stops and answers [`ProviderError::Halted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Halt;

/// How an incremental observation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// Everything that moved since the cursor went into the sink, or is named in `touched`.
    Since {
        /// The cursor for the next time, to be stored only when all seen under this one is settled.
        next: Cursor,
        /// Items that may have moved (or gone) but whose content was not delivered: to be read one by one.
        touched: Vec<ItemKey>,
    },
    /// The cursor is no longer good: a sweep is needed; `next` was taken before any listing.
    TooOld {
        /// The cursor that starts now.
        next: Cursor,
    },
}

/// What a direct read of one item found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// It is there (its [`Place`](crate::model::Place) says whether it still is in the route).
    Here(Box<Item>),
    /// It lives on as another item (GitHub: transferred).
    Moved(ItemKey),
    /// The service says it is gone (GitHub 410; an Asana 404 confirmed by a second read).
    Gone,
    /// Not readable, which proves nothing (GitHub 404, 403).
    Unseen(String),
    /// It is there but is no work item (a pull request).
    NotAnItem,
}

/// A new item to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// What it shall say, in the form this side can hold.
    pub content: Content,
    /// The footer below the body, the marker inside it, as text of this side.
    pub footer: String,
    /// The marker, which must be inside `footer`.
    pub marker: Marker,
}

/// One finding of [`Observe::check`].
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// What was looked at: `token`, `project`, `permissions`, `clock`...
    pub subject: String,
    /// Whether it is good.
    pub good: bool,
    /// What was found.
    pub found: String,
    /// What to do about it, when it is not good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Reads one side of a route.
pub trait Observe: Send + Sync {
    /// Which side this is.
    fn side(&self) -> Side;

    /// Delivers what moved since `cursor`. Without a cursor answers [`Changes::TooOld`] with a fresh one.
    ///
    /// Idle cost: one request. With `belt`, also asks the slower way that misses less (Asana
    /// `modified_since`), one request more.
    fn changes(&self, cursor: Option<&Cursor>, belt: bool, sink: Sink<'_>) -> Result<Changes, ProviderError>;

    /// Delivers every item of the side, page by page, and answers how many there were.
    fn sweep(&self, sink: Sink<'_>) -> Result<u64, ProviderError>;

    /// Reads one item directly.
    fn item(&self, key: &ItemKey) -> Result<Found, ProviderError>;

    /// Every item created since `from` whose marker names a partner, for open intents. Lists, never searches.
    fn marked_since(&self, from: Timestamp) -> Result<Marked, ProviderError>;

    /// Whether a comment with exactly this text in it stands on the item; lists all comments.
    fn has_comment(&self, key: &ItemKey, text: &str) -> Result<bool, ProviderError>;

    /// Looks whether token, project or repository, permissions and clock are as needed.
    fn check(&self, now: Timestamp) -> Vec<Finding>;

    /// Requests sent so far by this client, and how many of them were answered 304.
    fn requests(&self) -> Requests;
}

/// Requests counted by a client since it was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Requests {
    /// All that left, repeats and redirects among them.
    pub sent: u64,
    /// Those answered 304 (unchanged).
    pub unchanged: u64,
    /// Those that write (POST, PUT, PATCH, DELETE).
    pub writes: u64,
}

/// Writes to one side of a route.
pub trait Write: Observe {
    /// Makes a new item and answers it as the service shows it.
    fn create(&self, draft: &Draft) -> Result<Item, ProviderError>;

    /// Changes one item; `current` is what the re-read just before showed. Answers the item as it is now.
    fn update(&self, current: &Item, change: &Change) -> Result<Item, ProviderError>;

    /// Adds a comment in canonical Markdown.
    fn comment(&self, key: &ItemKey, text: &str) -> Result<(), ProviderError>;

    /// From now on writes leave only while this permits it; without one they leave freely. A write that may not leave
    /// is `Stopped`, and was certainly not done.
    fn permitted_by(&self, _permit: Option<Arc<dyn Permit>>) {}
}

/// A failure at a provider, grouped by what to do next.
///
/// `doing` says what was being done to what, in words for a person, without secrets or bodies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the same in every arm")]
pub enum ProviderError {
    /// A limit was met; the service may say how long to wait.
    Busy { doing: String, retry_after: Option<Duration> },
    /// No usable answer: connection, time limit, 5xx. With `maybe_done` a write may have taken effect.
    Unreachable { doing: String, why: String, maybe_done: bool },
    /// What was to be written is gone.
    Gone { doing: String },
    /// Its turn came so late that what it was decided from is to be read again; nothing was sent.
    Stale { doing: String },
    /// The service refused what we sent (4xx of our making).
    Refused { doing: String, status: u16, why: String },
    /// The answer could not be understood, or was larger than allowed.
    Garbled { doing: String, why: String },
    /// The credential is not good for this: a person must act.
    Denied { doing: String, why: String },
    /// The circuit breaker is open: the service is left in peace, nothing was sent.
    Resting { doing: String, why: String, until: Timestamp },
    /// The sink asked to stop.
    Halted,
    /// The process is shutting down.
    Stopped,
}

/// The items of a listing whose marker names a partner.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marked {
    /// The items.
    pub items: Vec<Item>,
    /// Whether nothing was left out because it could not be read: what is not among the items is not there then.
    pub whole: bool,
}

/// What the engine does about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Again later; after the time the service names, else after backoff.
    RetryLater {
        /// The wait the service asked for.
        after: Option<Duration>,
    },
    /// Read again and decide anew.
    ObserveAgain,
    /// Park it for a person.
    Park,
    /// Stop this side and say so loudly: nothing more can be done with the credential in this pass, and no item is to
    /// blame.
    StopSide,
}

impl ProviderError {
    /// What to do about it. Total on purpose: a new error must choose.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Busy { retry_after, .. } => Remedy::RetryLater { after: *retry_after },
            Self::Unreachable { .. } | Self::Halted | Self::Stopped => Remedy::RetryLater { after: None },
            Self::Gone { .. } | Self::Stale { .. } => Remedy::ObserveAgain,
            Self::Refused { .. } | Self::Garbled { .. } => Remedy::Park,
            Self::Denied { .. } | Self::Resting { .. } => Remedy::StopSide,
        }
    }

    /// Whether a write that failed so may have taken effect all the same.
    pub const fn maybe_done(&self) -> bool {
        match self {
            Self::Unreachable { maybe_done, .. } => *maybe_done,
            // A success whose body we could not read is a success.
            Self::Garbled { .. } => true,
            _ => false,
        }
    }
}

impl fmt::Display for ProviderError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { doing, retry_after: Some(after) } => {
                write!(out, "{doing}: told to slow down for {} s", after.as_secs())
            }
            Self::Busy { doing, retry_after: None } => write!(out, "{doing}: told to slow down"),
            Self::Unreachable { doing, why, .. } => write!(out, "{doing}: no usable answer: {why}"),
            Self::Gone { doing } => write!(out, "{doing}: it is gone"),
            Self::Stale { doing } => write!(out, "{doing}: its turn came late; it is read again first"),
            Self::Refused { doing, status, why } => write!(out, "{doing}: refused with status {status}: {why}"),
            Self::Garbled { doing, why } => write!(out, "{doing}: the answer could not be read: {why}"),
            Self::Denied { doing, why } => write!(out, "{doing}: access denied: {why}"),
            Self::Resting { doing, why, .. } => write!(out, "{doing}: not asked: {why}"),
            Self::Halted => out.write_str("the listing was stopped by its reader"),
            Self::Stopped => out.write_str("stopped because the process is shutting down"),
        }
    }
}

impl std::error::Error for ProviderError {}

#[cfg(test)]
mod tests;
