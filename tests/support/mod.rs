//! What several test files share.

#![allow(dead_code, reason = "every test file uses another part of it")]
#![allow(clippy::panic, reason = "a test ends by panicking")]

pub mod knock;
pub mod postgres;
pub mod rig;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use evenkeel::config::DatabaseUrl;
use evenkeel::store::Store;
use tempfile::TempDir;

/// A database of one test, of either kind, gone with it.
pub struct Database {
    pub url: DatabaseUrl,
    /// Where the SQLite file lies.
    pub directory: Option<TempDir>,
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

impl Database {
    /// A SQLite file that is not there yet.
    pub fn sqlite() -> Self {
        let directory = TempDir::with_prefix("evenkeel-test-").expect("a temporary directory");
        Self { url: DatabaseUrl::Sqlite(directory.path().join("evenkeel.db")), directory: Some(directory) }
    }

    /// An empty PostgreSQL database; `None` where there is no server, which was said.
    pub fn postgres() -> Option<Self> {
        Some(Self { url: postgres::database()?, directory: None })
    }

    /// Opened, with the schema of now.
    pub fn open(&self) -> Store {
        Store::open(&self.url).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Runs statements past the store.
    pub fn execute(&self, sql: &str) {
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                connect(path).batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            DatabaseUrl::Postgres(_) => postgres::execute(&self.url, sql),
        }
    }

    /// The single number that `SELECT <what> AS number` answers, past the store.
    pub fn number(&self, what: &str) -> i64 {
        let sql = format!("SELECT {what} AS number");
        match &self.url {
            DatabaseUrl::Sqlite(path) => {
                let row: Result<Number, _> = diesel::sql_query(&sql).get_result(&mut connect(path));
                row.unwrap_or_else(|error| panic!("{sql}: {error}")).number
            }
            DatabaseUrl::Postgres(_) => postgres::number(&self.url, &sql),
        }
    }
}

/// A connection past the store.
pub fn connect(path: &std::path::Path) -> diesel::SqliteConnection {
    let mut conn = diesel::SqliteConnection::establish(path.to_str().expect("a plain path")).expect("it opens");
    conn.batch_execute("PRAGMA busy_timeout = 10000").expect("a pragma");
    conn
}

/// Declares tests that run on both databases: `name::sqlite` and `name::postgres`.
#[macro_export]
macro_rules! on_both {
    ($($(#[$doc:meta])* fn $name:ident($database:ident: &Database) $body:block)*) => {
        $(
            mod $name {
                use super::*;

                $(#[$doc])*
                fn check($database: &Database) $body

                #[test]
                fn sqlite() {
                    check(&Database::sqlite());
                }

                #[test]
                fn postgres() {
                    if let Some(database) = Database::postgres() {
                        check(&database);
                    }
                }
            }
        )*
    };
}

/// How the providers are spoken to in tests: everything as by default, at these addresses.
pub fn network(base_urls: evenkeel::model::BySide<String>) -> evenkeel::config::Network {
    evenkeel::config::Network { base_urls, ..evenkeel::config::Network::default() }
}
