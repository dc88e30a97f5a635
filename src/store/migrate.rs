//! The schema's versions: applied when a store is opened, under a lock; going back is for an older program.
//!
//! A database that is newer than the program is left as it is.

use diesel::migration::{Migration, MigrationSource};
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::{QueryableByName, SqliteConnection, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::backend::{Conn, on};
use super::error::{Fault, StoreError};
use super::postgres::{self, PostgresConnection};
use super::schema::__diesel_schema_migrations;
use super::sqlite;
use crate::config::DatabaseUrl;

const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// The advisory lock under which PostgreSQL is migrated: the letters of `evenkeel`.
const ADVISORY_LOCK: i64 = 0x6576_656e_6b65_656c;

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Where to take a schema.
#[derive(Clone, Copy, Debug)]
pub(super) enum Target<'a> {
    /// To the newest version this program knows.
    Newest,
    /// To one version, or with an empty text to before the first.
    Version(&'a str),
}

/// The versions this program knows, oldest first: `0001`, `0002`...
pub fn known() -> Vec<String> {
    // Embedded migrations cannot fail to load; one that could would be an empty list and refuse every database.
    sorted::<diesel::sqlite::Sqlite>(SQLITE)
        .map(|all| all.iter().map(|one| version(&**one)).collect())
        .unwrap_or_default()
}

/// The versions a database has, oldest first.
///
/// # Errors
/// When it cannot be opened.
pub fn applied(url: &DatabaseUrl) -> Result<Vec<String>, StoreError> {
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::applied(path),
        DatabaseUrl::Postgres(server) => postgres::applied(server),
    }
}

/// Takes a database to one version, forth or back; an empty text is before the first, which drops everything.
///
/// # Errors
/// When it cannot be opened, is newer than this program, or a step fails; all steps are one transaction.
pub fn go_to(url: &DatabaseUrl, version: &str) -> Result<(), StoreError> {
    let target = Target::Version(version);
    match url {
        DatabaseUrl::Sqlite(path) => sqlite::migrate_file(path, target),
        DatabaseUrl::Postgres(server) => postgres::migrate_server(server, target),
    }
}

/// What was applied, oldest first; `None` when nothing ever was.
pub(super) fn state(conn: &mut Conn<'_>) -> Result<Option<Vec<String>>, Fault> {
    let table = "__diesel_schema_migrations";
    let found: Count = match conn {
        Conn::Sqlite(conn) => sql_query(format!(
            "SELECT count(*) AS count FROM sqlite_master WHERE type = 'table' AND name = '{table}'"
        ))
        .get_result(&mut **conn)?,
        Conn::Postgres(conn) => sql_query(format!(
            "SELECT count(*) AS count FROM pg_tables WHERE tablename = '{table}' AND schemaname = ANY (current_schemas(false))"
        ))
        .get_result(&mut **conn)?,
    };
    if found.count == 0 {
        return Ok(None);
    }
    let versions: Vec<String> = on!(conn, |c| __diesel_schema_migrations::table
        .select(__diesel_schema_migrations::version)
        .order(__diesel_schema_migrations::version)
        .load(c))?;
    Ok(if versions.is_empty() { None } else { Some(versions) })
}

/// Whether something is still to be applied; a newer database is an error.
pub(super) fn is_older(applied: &[String]) -> Result<bool, StoreError> {
    let known = known();
    match applied.iter().find(|version| !known.contains(version)) {
        Some(found) => Err(StoreError::Newer {
            found: found.clone(),
            known: known.last().cloned().unwrap_or_else(|| "none".to_owned()),
        }),
        None => Ok(applied.len() < known.len()),
    }
}

/// Takes a SQLite file to a version, alone.
pub(super) fn sqlite(conn: &mut SqliteConnection, target: Target<'_>) -> Result<(), Fault> {
    if nothing_to_do(&mut Conn::Sqlite(conn), target)? {
        return Ok(());
    }
    conn.exclusive_transaction(|conn| {
        // Looked at again: another process may have been quicker.
        let applied = state(&mut Conn::Sqlite(conn))?.unwrap_or_default();
        is_older(&applied)?;
        walk(conn, SQLITE, &applied, target)
    })
}

/// Takes a PostgreSQL database to a version while all others that want to wait.
pub(super) fn postgres(conn: &mut PostgresConnection, target: Target<'_>) -> Result<(), Fault> {
    if nothing_to_do(&mut Conn::Postgres(conn), target)? {
        return Ok(());
    }
    conn.transaction(|conn| {
        // A migration may take longer than any other statement of ours, and waiting for one too.
        sql_query("SET LOCAL lock_timeout = '10min'").execute(conn)?;
        sql_query("SET LOCAL statement_timeout = '30min'").execute(conn)?;
        sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(ADVISORY_LOCK).execute(conn)?;
        let applied = state(&mut Conn::Postgres(conn))?.unwrap_or_default();
        is_older(&applied)?;
        walk(conn, POSTGRES, &applied, target)
    })
}

/// Whether the schema is where it should be, as on every start but the first: then nobody is locked out.
fn nothing_to_do(conn: &mut Conn<'_>, target: Target<'_>) -> Result<bool, Fault> {
    let applied = state(conn)?.unwrap_or_default();
    let older = is_older(&applied)?;
    Ok(match target {
        Target::Newest => !older,
        Target::Version(version) => applied.last().map_or("", String::as_str) == version,
    })
}

/// Reverts what is too new, newest first, then applies what is missing, oldest first.
fn walk<DB, C>(conn: &mut C, source: EmbeddedMigrations, applied: &[String], target: Target<'_>) -> Result<(), Fault>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
{
    conn.applied_migrations().map_err(|error| fault("looking for migrations", &*error))?; // Makes diesel's list.
    let migrations = sorted::<DB>(source)?;
    let wanted = |version: &str| match target {
        Target::Newest => true,
        Target::Version(last) => version <= last,
    };
    for migration in migrations.iter().rev() {
        let version = version(&**migration);
        if applied.contains(&version) && !wanted(&version) {
            let doing = format!("reverting migration {}", migration.name());
            conn.revert_migration(&**migration).map_err(|error| fault(&doing, &*error))?;
        }
    }
    for migration in &migrations {
        let version = version(&**migration);
        if !applied.contains(&version) && wanted(&version) {
            let doing = format!("applying migration {}", migration.name());
            conn.run_migration(&**migration).map_err(|error| fault(&doing, &*error))?;
        }
    }
    Ok(())
}

fn sorted<DB: diesel::backend::Backend>(source: EmbeddedMigrations) -> Result<Vec<Box<dyn Migration<DB>>>, Fault> {
    let mut migrations = MigrationSource::<DB>::migrations(&source)
        .map_err(|error| fault("reading the embedded migrations", &*error))?;
    migrations.sort_by_key(|migration| version(&**migration));
    Ok(migrations)
}

fn version<DB: diesel::backend::Backend>(migration: &dyn Migration<DB>) -> String {
    migration.name().version().to_string()
}

/// A step's error, with what the database said.
fn fault(doing: &str, error: &(dyn std::error::Error + Send + Sync + 'static)) -> Fault {
    Fault::Told(StoreError::sort(doing.to_owned(), error.to_string()))
}
