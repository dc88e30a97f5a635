//! The two databases behind one door: a query is written once and pasted into both arms.
//!
//! Each arm is compiled against its own back end, so that all of diesel works on both (upserts, batches, `RETURNING`),
//! which its `MultiConnection` does not allow.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use diesel::SqliteConnection;
use diesel::prelude::*;
use r2d2::{ManageConnection, Pool, PooledConnection};
use tempfile::TempDir;

use super::error::{Fault, StoreError};
use super::postgres::{self, PostgresConnection, PostgresManager};
use super::sqlite::{self, SqliteManager};

/// How long the database may keep somebody waiting who waits for our answer: both providers give up on a delivery
/// after 10 s, and a refusal must still reach them.
const SOON: Duration = Duration::from_secs(3);

/// Where the rows are.
pub(super) enum Backend {
    /// One file (or one piece of memory): a single writer, so that waiting is fair, and readers beside it.
    Sqlite {
        /// The only connection that writes.
        write: Pool<SqliteManager>,
        /// Readers; without any (in memory) the writer reads too.
        read: Option<Pool<SqliteManager>>,
        /// The copy that is being read in place of the file, until it is dropped.
        _copy: Option<TempDir>,
    },
    /// A server.
    Postgres(Pool<PostgresManager>),
}

/// Asked before every use of a database, and by that able to let others go first, to end what uses it, or to have it
/// fail: how a simulated world stops a process between any two steps.
pub trait Usher: Send + Sync {
    /// Lets somebody in who wants to do `doing`; the error is what the use fails with.
    ///
    /// # Errors
    /// Whatever the database is to fail with, before anything was done.
    fn admit(&self, doing: &dyn fmt::Display) -> Result<(), StoreError>;
}

/// The way to the rows: past the usher, if there is one.
#[derive(Clone)]
pub(super) struct Door {
    backend: Arc<Backend>,
    usher: Option<Arc<dyn Usher>>,
}

impl Door {
    /// An open one.
    pub(super) fn to(backend: Backend) -> Self {
        Self { backend: Arc::new(backend), usher: None }
    }

    /// The same rows, past an usher.
    pub(super) fn ushered(&self, usher: Arc<dyn Usher>) -> Self {
        Self { backend: self.backend.clone(), usher: Some(usher) }
    }

    /// The way that is open to whoever the usher let in now.
    pub(super) fn admitted(&self, doing: &dyn fmt::Display) -> Result<Self, StoreError> {
        self.admit(doing)?;
        Ok(Self { backend: self.backend.clone(), usher: None })
    }

    /// Whether all who write wait for each other.
    pub(super) fn has_one_writer(&self) -> bool {
        matches!(*self.backend, Backend::Sqlite { .. })
    }

    /// Empties it, where it is memory that nobody else has.
    pub(super) fn empty(&self, doing: &str) -> Result<(), StoreError> {
        let refuse = |why: &str| StoreError::Failed { doing: doing.to_owned(), why: why.to_owned() };
        match &*self.backend {
            _ if Arc::strong_count(&self.backend) > 1 => Err(refuse("it is in use")),
            Backend::Sqlite { write, read: None, .. } => {
                let mut conn = take_within(write, None, &doing)?;
                sqlite::empty(&mut conn).map_err(|error| Fault::from(error).tell(&doing))
            }
            Backend::Sqlite { .. } | Backend::Postgres(_) => Err(refuse("what is in a file or on a server stays")),
        }
    }

    fn admit(&self, doing: &dyn fmt::Display) -> Result<&Backend, StoreError> {
        if let Some(usher) = &self.usher {
            usher.admit(doing)?;
        }
        Ok(&self.backend)
    }

    /// Runs queries that only read.
    pub(super) fn read<T>(
        &self,
        doing: impl fmt::Display,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.admit(&doing)?.read(None, doing, body)
    }

    /// The same for whom somebody waits: that no connection is free is an error after [`SOON`].
    pub(super) fn read_soon<T>(
        &self,
        doing: impl fmt::Display,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.admit(&doing)?.read(Some(SOON), doing, body)
    }

    /// Runs queries in one transaction: all of it or, on any error, nothing.
    ///
    /// SQLite's transaction takes the write lock at once: a deferred one that reads before it writes fails with
    /// "database is locked", whatever the time-out says, when somebody else wrote in between.
    pub(super) fn write<T>(
        &self,
        doing: impl fmt::Display,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.admit(&doing)?.write(None, doing, body)
    }

    /// The same for whom somebody waits: a database that is locked is an error after [`SOON`].
    pub(super) fn write_soon<T>(
        &self,
        doing: impl fmt::Display,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        self.admit(&doing)?.write(Some(SOON), doing, body)
    }
}

/// A connection to either.
pub(super) enum Conn<'a> {
    Sqlite(&'a mut SqliteConnection),
    Postgres(&'a mut PostgresConnection),
}

/// Pastes a query into both arms; `$c` is the concrete connection.
macro_rules! on {
    ($conn:expr, |$c:ident| $query:expr) => {
        match $conn {
            $crate::store::backend::Conn::Sqlite(inner) => {
                let $c: &mut diesel::SqliteConnection = inner;
                $query
            }
            $crate::store::backend::Conn::Postgres(inner) => {
                let $c: &mut $crate::store::postgres::PostgresConnection = inner;
                $query
            }
        }
    };
}
pub(super) use on;

impl Backend {
    /// Waits for a connection at most as long as the pool was told, or `limit`.
    fn read<T>(
        &self,
        limit: Option<Duration>,
        doing: impl fmt::Display,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        match self {
            Self::Sqlite { write, read, .. } => {
                let mut conn = take_within(read.as_ref().unwrap_or(write), limit, &doing)?;
                body(&mut Conn::Sqlite(&mut conn))
            }
            Self::Postgres(pool) => body(&mut Conn::Postgres(&mut *take_within(pool, limit, &doing)?)),
        }
        .map_err(|fault| fault.tell(&doing))
    }

    /// Waits for a connection, and for others that write, at most as long as the pool was told, or `limit`.
    fn write<T>(
        &self,
        limit: Option<Duration>,
        doing: impl fmt::Display,
        body: impl FnOnce(&mut Conn<'_>) -> Result<T, Fault>,
    ) -> Result<T, StoreError> {
        // Kept aside: on a full disk SQLite rolls back by itself, and diesel then speaks only of its own roll-back
        // that found nothing to do.
        let mut cause = None;
        let mut keep = |fault: Fault| {
            cause = Some(fault);
            Fault::Database(diesel::result::Error::RollbackTransaction)
        };
        let done = match self {
            Self::Sqlite { write, .. } => {
                let mut guard = take_within(write, limit, &doing)?;
                let conn: &mut SqliteConnection = &mut guard;
                if let Some(limit) = limit {
                    sqlite::wait_for_others(conn, limit).map_err(|error| Fault::from(error).tell(&doing))?;
                }
                let done = conn.immediate_transaction(|conn| body(&mut Conn::Sqlite(conn)).map_err(&mut keep));
                if limit.is_some() {
                    sqlite::wait_for_others(conn, sqlite::BUSY).map_err(|error| Fault::from(error).tell(&doing))?;
                }
                done
            }
            Self::Postgres(pool) => {
                let mut guard = take_within(pool, limit, &doing)?;
                let conn: &mut PostgresConnection = &mut guard;
                conn.transaction(|conn| {
                    let within =
                        limit.map_or(Ok(()), |limit| postgres::wait_for_others(conn, limit).map_err(Fault::from));
                    within.and_then(|()| body(&mut Conn::Postgres(conn))).map_err(&mut keep)
                })
            }
        };
        done.map_err(|fault| cause.unwrap_or(fault).tell(&doing))
    }
}

/// Takes a connection from a pool, waiting at most as long as the pool was told, or `limit`.
fn take_within<M: ManageConnection>(
    pool: &Pool<M>,
    limit: Option<Duration>,
    doing: &dyn fmt::Display,
) -> Result<PooledConnection<M>, StoreError> {
    let taken = limit.map_or_else(|| pool.get(), |limit| pool.get_timeout(limit));
    taken.map_err(|error| {
        let (doing, why) = (doing.to_string(), error.to_string());
        // r2d2 appends the last error of connecting, if there was one; otherwise all connections were in use.
        if why == "timed out waiting for connection" {
            StoreError::Locked { doing }
        } else {
            StoreError::Failed { doing, why: format!("no connection: {why}") }
        }
    })
}

#[cfg(test)]
impl Door {
    /// The writing connection of SQLite, for tests that look under the floor.
    pub(super) fn writer(&self) -> PooledConnection<SqliteManager> {
        match &*self.backend {
            Backend::Sqlite { write, .. } => write.get().expect("a connection"),
            Backend::Postgres(_) => unreachable!("only asked of SQLite"),
        }
    }
}
