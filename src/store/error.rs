//! What can go wrong with a database, sorted by what a person does about it.

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error as DieselError};

use crate::model::{IssueRef, ItemKey, RouteName, TaskGid};

/// A failure of the database: it ends the pass.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "the names and the messages say it")]
pub enum StoreError {
    /// The database cannot be opened: what, why and what to do.
    Open { url: String, why: String },
    /// It was written by a newer program.
    Newer { found: String, known: String },
    /// Another process holds it for too long.
    Locked { doing: String },
    /// No room, or read-only.
    ReadOnly { doing: String, why: String },
    /// The lease is no longer ours; nothing was written.
    LostLease { route: RouteName },
    /// The pair, or one of its items, is linked already.
    AlreadyLinked { task: TaskGid, issue: IssueRef },
    /// The item that should get a partner has one, or is about to get one, on another route or by another hand.
    Claimed { item: ItemKey, route: RouteName },
    /// What is kept could not be understood.
    Garbled { what: String, why: String },
    /// Anything else the database said.
    Failed { doing: String, why: String },
}

impl fmt::Display for StoreError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open { url, why } => write!(out, "opening the database {url}: {why}"),
            Self::Newer { found, known } => write!(
                out,
                "the database has migration {found}, this program knows only up to {known}: install the newer program"
            ),
            Self::Locked { doing } => write!(out, "{doing}: the database is locked by another process; try again"),
            Self::ReadOnly { doing, why } => write!(out, "{doing}: the database cannot be written: {why}"),
            Self::LostLease { route } => {
                write!(out, "route {route}: another process took over the lease; nothing was written")
            }
            Self::AlreadyLinked { task, issue } => {
                write!(out, "linking asana:{task} with github:{issue}: one of them is linked already")
            }
            Self::Claimed { item, route } => {
                write!(out, "making a partner for {item}: it has one, or is about to get one, on route {route}")
            }
            Self::Garbled { what, why } => write!(out, "reading {what} from the database: {why}"),
            Self::Failed { doing, why } => write!(out, "{doing}: the database said: {why}"),
        }
    }
}

impl std::error::Error for StoreError {}

/// What a query or a transaction fails with before it is said what was being done.
#[derive(Debug)]
pub(super) enum Fault {
    /// The database spoke.
    Database(DieselError),
    /// It is said already.
    Told(StoreError),
}

impl From<DieselError> for Fault {
    fn from(error: DieselError) -> Self {
        Self::Database(error)
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Self::Told(error)
    }
}

impl Fault {
    /// For what is kept and cannot be understood.
    pub(super) fn garbled(what: impl fmt::Display, why: impl fmt::Display) -> Self {
        Self::Told(StoreError::Garbled { what: what.to_string(), why: why.to_string() })
    }

    /// Whether a row would stand twice.
    pub(super) const fn is_duplicate(&self) -> bool {
        matches!(self, Self::Database(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, _)))
    }

    /// Whether the database was busy with somebody else, so that trying again may do.
    pub(super) fn is_locked(&self) -> bool {
        matches!(self, Self::Database(error) if says(error, LOCKED))
    }

    /// Says what was being done when it happened.
    pub(super) fn tell(self, doing: &dyn fmt::Display) -> StoreError {
        let error = match self {
            Self::Told(error) => return error,
            // Why the commit failed says more than why nothing was left to roll back.
            Self::Database(DieselError::RollbackErrorOnCommit { commit_error, .. }) => *commit_error,
            Self::Database(error) => error,
        };
        if matches!(error, DieselError::DatabaseError(DatabaseErrorKind::ReadOnlyTransaction, _)) {
            return StoreError::ReadOnly { doing: doing.to_string(), why: error.to_string() };
        }
        StoreError::sort(doing.to_string(), error.to_string())
    }
}

impl StoreError {
    /// Sorts what a database said by its words: that is all diesel hands on.
    pub(super) fn sort(doing: String, why: String) -> Self {
        let says = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if says(LOCKED) {
            Self::Locked { doing }
        } else if says(FULL) {
            Self::ReadOnly { doing, why: format!("{why}; make room on the disk and try again") }
        } else if says(READ_ONLY) {
            Self::ReadOnly { doing, why: format!("{why}; see that it can be written and try again") }
        } else if says(DAMAGED) {
            Self::Failed { doing, why: format!("{why}: the file is damaged; restore it from a copy") }
        } else {
            Self::Failed { doing, why }
        }
    }
}

/// SQLite BUSY and LOCKED; PostgreSQL 55P03, 57014, 40P01.
const LOCKED: &[&str] = &[
    "database is locked",
    "database table is locked",
    "database schema is locked",
    "canceling statement due to lock timeout",
    "canceling statement due to statement timeout",
    "deadlock detected",
];

/// SQLite FULL; PostgreSQL 53100 with the words of the operating system.
const FULL: &[&str] = &["database or disk is full", "No space left on device", "Disk quota exceeded"];

/// SQLite READONLY, and an IOERR of a file system that was mounted read-only.
const READ_ONLY: &[&str] = &["attempt to write a readonly database", "Read-only file system"];

/// SQLite NOTADB and CORRUPT.
pub(super) const DAMAGED: &[&str] = &["file is not a database", "database disk image is malformed"];

/// Whether the database's own words hold one of these.
pub(super) fn says(error: &DieselError, words: &[&str]) -> bool {
    match error {
        DieselError::DatabaseError(_, said) => words.iter().any(|word| said.message().contains(word)),
        _ => false,
    }
}
