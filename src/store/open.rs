//! Opens a store: for writing, for reading alone, in memory.

use std::sync::Arc;
use std::time::Duration;

use diesel::prelude::*;
use diesel::sql_query;

use super::backend::{Backend, Door, Usher, on};
use super::together::Together;
use super::{LEASE, Store, StoreError, postgres, sqlite};
use crate::config::DatabaseUrl;

/// Transactions with deliveries that a server is given at the same time, of the pool's connections.
const SERVER_HANDS: usize = 4;

impl Store {
    /// Opens a database, creating a missing SQLite file, and brings its schema up to date under a lock.
    ///
    /// # Errors
    /// `Open` names the file or the host and what to do, never a password; `Newer`, `Locked` and `ReadOnly` as they say.
    /// An unreachable or silent host is an error within seconds.
    pub fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let backend = match url {
            DatabaseUrl::Sqlite(path) => sqlite::open(path)?,
            DatabaseUrl::Postgres(server) => postgres::open(server)?,
        };
        Ok(Self::over(backend, url.to_string()))
    }

    /// Opens a database and writes nothing anywhere: every write to it is refused.
    ///
    /// What is not there yet (no file, an empty file, a PostgreSQL database without our tables) reads as empty. A
    /// SQLite file of an older version is read through a temporary copy that is brought up to date.
    ///
    /// # Errors
    /// As [`Store::open`]; a PostgreSQL database of an older version is `Open`, because only a writer may migrate it.
    pub fn open_for_reading(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let backend = match url {
            DatabaseUrl::Sqlite(path) => sqlite::open_for_reading(path)?,
            DatabaseUrl::Postgres(server) => match postgres::open_for_reading(server)? {
                Some(backend) => backend,
                None => sqlite::in_memory(true)?,
            },
        };
        Ok(Self::over(backend, url.to_string()))
    }

    /// Opens an empty SQLite database in memory; it lives as long as the last clone of the store.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        Ok(Self::over(sqlite::in_memory(false)?, "sqlite::memory:".to_owned()))
    }

    /// Empties a database in memory that nobody else uses, for whoever needs one after another: what was prepared for the
    /// last is there for the next. From then on nothing keeps its history from being shortened.
    ///
    /// # Errors
    /// Where it is a file or a server, which are never emptied; where somebody else still uses it; and when it fails.
    pub fn emptied(self) -> Result<Self, StoreError> {
        let doing = "emptying a database in memory";
        self.backend.empty(doing)?;
        Ok(Self { intake: Arc::new(Together::new(1)), ..self })
    }

    /// The same database, past somebody who is asked before every use of it.
    #[must_use]
    pub fn ushered(&self, usher: Arc<dyn Usher>) -> Self {
        Self { backend: self.backend.ushered(usher), ..self.clone() }
    }

    /// The same database, with leases that are good for this long.
    #[must_use]
    pub fn leasing(self, lease: Duration) -> Self {
        Self { lease, ..self }
    }

    /// How long a lease is good for without renewal.
    pub const fn lease(&self) -> Duration {
        self.lease
    }

    pub(super) fn over(backend: Backend, url: String) -> Self {
        // SQLite has one writer; a server commits for several at a time, and one that waits for a row keeps nobody else.
        let hands = if matches!(backend, Backend::Sqlite { .. }) { 1 } else { SERVER_HANDS };
        Self { backend: Door::to(backend), intake: Arc::new(Together::new(hands)), url, lease: LEASE }
    }

    /// Asks the database for an answer, for somebody who waits: a few seconds at most for a connection.
    ///
    /// # Errors
    /// When it gives none.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.backend.read_soon(format_args!("asking {} for an answer", self.url), |conn| {
            on!(conn, |c| sql_query("SELECT 1").execute(c))?;
            Ok(())
        })
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Store({})", self.url)
    }
}
