//! SQLite: opening a file well, and connections to it.
//!
//! Write-ahead log, `synchronous=FULL` (a commit survives a power cut), a bounded wait for other processes.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use diesel::{ConnectionError, QueryableByName, SqliteConnection, sql_query};
use r2d2::{ManageConnection, NopErrorHandler, Pool};
use tempfile::TempDir;

use super::backend::{Backend, Conn};
use super::error::{DAMAGED, Fault, StoreError, says};
use super::{history, migrate};

/// How long a statement waits for another process's transaction. Ours last milliseconds, so this is a hang.
pub(super) const BUSY: Duration = Duration::from_secs(10);

/// How long a thread waits for the one writer, or for a reader, of its own process.
const TURN: Duration = Duration::from_secs(30);

/// Connections that read at the same time; more threads than that wait their turn.
const READERS: u32 = 4;

/// Tries to switch a fresh file to the write-ahead log while others do the same: SQLite does not wait there.
const WAL_TRIES: u32 = 100;

/// The pause between two of them.
const WAL_PAUSE: Duration = Duration::from_millis(20);

/// Makes connections for the pools.
#[derive(Debug)]
pub(super) struct SqliteManager {
    /// `file:...?mode=rw` or `:memory:`.
    uri: String,
    /// How long a statement waits for other processes.
    busy: Duration,
    /// Refuses every write.
    reads_only: bool,
}

impl ManageConnection for SqliteManager {
    type Connection = SqliteConnection;
    type Error = Unusable;

    fn connect(&self) -> Result<SqliteConnection, Unusable> {
        connect(&self.uri, self.busy, self.reads_only)
    }

    fn is_valid(&self, _conn: &mut SqliteConnection) -> Result<(), Unusable> {
        Ok(()) // A file does not hang up.
    }

    fn has_broken(&self, conn: &mut SqliteConnection) -> bool {
        <SqliteConnection as Connection>::TransactionManager::is_broken_transaction_manager(conn)
    }
}

/// Why a connection could not be made.
#[derive(Debug)]
pub(super) enum Unusable {
    Connection(ConnectionError),
    Query(diesel::result::Error),
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connection(error) => error.fmt(out),
            Self::Query(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for Unusable {}

impl From<diesel::result::Error> for Unusable {
    fn from(error: diesel::result::Error) -> Self {
        Self::Query(error)
    }
}

impl Unusable {
    /// The same in words for the operator.
    fn tell(self, path: &Path) -> StoreError {
        let open = |why: String| StoreError::Open { url: url(path), why };
        match self {
            Self::Query(error) if says(&error, DAMAGED) => {
                open(format!("{error}; if this path is right, restore the file from a copy"))
            }
            Self::Query(error) => match Fault::Database(error).tell(&format_args!("opening {}", url(path))) {
                StoreError::Failed { why, .. } => open(why),
                told => told,
            },
            Self::Connection(error) => open(match fs::metadata(path) {
                Ok(found) if found.is_dir() => "this is a directory; name a file inside it".to_owned(),
                Ok(_) => match fs::File::open(path) {
                    Ok(_) => format!("{error}; the directory must be writable too, for the -wal and -shm files"),
                    Err(refused) => format!("{refused}; give the user this runs as read and write access to it"),
                },
                Err(missing) => format!("{error} ({missing})"),
            }),
        }
    }
}

/// How a person calls the file.
fn url(path: &Path) -> String {
    format!("sqlite:{}", path.display())
}

/// The file as SQLite's URI, which can name any path, also one that looks like an option.
///
/// `mode` is `rw` (never creates) or `ro`, with more parameters after it at will.
fn uri(path: &Path, mode: &str) -> String {
    // "file://" and an absolute path: a path that begins with two slashes would be read as a host otherwise.
    let mut uri = String::from(if path.is_absolute() { "file://" } else { "file:" });
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            other => {
                let _ = write!(uri, "%{other:02X}"); // Writing to a String cannot fail.
            }
        }
    }
    uri.push_str("?mode=");
    uri.push_str(mode);
    uri
}

/// One connection, set up.
fn connect(uri: &str, busy: Duration, reads_only: bool) -> Result<SqliteConnection, Unusable> {
    let mut conn = SqliteConnection::establish(uri).map_err(Unusable::Connection)?;
    wait_for_others(&mut conn, busy)?;
    conn.batch_execute("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;")?;
    if reads_only {
        conn.batch_execute("PRAGMA query_only = ON;")?;
    }
    Ok(conn)
}

/// Sets how long the statements that follow wait for other processes. Costs no input or output.
pub(super) fn wait_for_others(conn: &mut SqliteConnection, limit: Duration) -> QueryResult<()> {
    conn.batch_execute(&format!("PRAGMA busy_timeout = {};", limit.as_millis()))
}

#[derive(QueryableByName)]
struct JournalMode {
    #[diesel(sql_type = Text)]
    journal_mode: String,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

/// Switches the file to the write-ahead log, for good; the first process does it for all.
#[allow(clippy::disallowed_methods, reason = "two seconds at most, at start-up, and no clock is at hand")]
fn use_wal(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let doing = format!("opening {}", url(path));
    for _ in 0..WAL_TRIES {
        match sql_query("PRAGMA journal_mode = WAL").get_result::<JournalMode>(conn).map_err(Fault::from) {
            Ok(now) if now.journal_mode == "wal" => return Ok(()),
            Ok(now) => {
                return Err(StoreError::Open {
                    url: url(path),
                    why: format!(
                        "its file system allows no write-ahead log (journal mode stays {}); use a local disk",
                        now.journal_mode
                    ),
                });
            }
            Err(fault) if fault.is_locked() => std::thread::sleep(WAL_PAUSE),
            Err(Fault::Database(error)) => return Err(Unusable::Query(error).tell(path)),
            Err(fault @ Fault::Told(_)) => return Err(fault.tell(&doing)),
        }
    }
    Err(StoreError::Locked { doing })
}

/// Makes the file if it is missing, for our user alone: what it will hold is nobody else's business.
fn create(path: &Path) -> Result<(), StoreError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let why = match error.kind() {
                io::ErrorKind::NotFound => {
                    format!("the directory {} does not exist; create it or name another path", parent.display())
                }
                io::ErrorKind::PermissionDenied => {
                    let folder = match parent.to_str() {
                        Some(".") => "the current folder".to_owned(),
                        _ => parent.display().to_string(),
                    };
                    format!("creating it: {error}; let the user this runs as write to {folder}")
                }
                _ => format!("creating it: {error}"),
            };
            Err(StoreError::Open { url: url(path), why })
        }
    }
}

/// Refuses a file or a folder that may not be written: SQLite would open the file for reading, and say at the first
/// write neither which nor why. Asked, not tried: a second handle on the file, closed, would end SQLite's locks on it.
#[cfg(unix)]
fn writable(path: &Path) -> Result<(), StoreError> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    use rustix::io::Errno;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let may = |path: &Path, access: Access| accessat(CWD, path, access, AtFlags::EACCESS);
    let refuse = |what: String, errno: Errno| {
        let remedy = match errno {
            Errno::ROFS => "mount it so that it can be written, or name another path",
            _ => "let the user this runs as write to it, or name another path",
        };
        let why = format!("{what} cannot be written ({}); {remedy}", io::Error::from(errno));
        Err(StoreError::Open { url: url(path), why })
    };
    if let Err(errno) = may(path, Access::READ_OK | Access::WRITE_OK) {
        return refuse("the file".to_owned(), errno);
    }
    match may(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Err(errno) => refuse(format!("its directory {}, where its log is kept,", folder.display()), errno),
        Ok(()) => Ok(()),
    }
}

/// Opens a file for reading and writing, creating it if it is missing, and brings it up to date.
pub(super) fn open(path: &Path) -> Result<Backend, StoreError> {
    open_with(path, BUSY)
}

pub(super) fn open_with(path: &Path, busy: Duration) -> Result<Backend, StoreError> {
    create(path)?;
    #[cfg(unix)]
    writable(path)?;
    let mut first = connect(&uri(path, "rw"), busy, false).map_err(|error| error.tell(path))?;
    // Looked at before anything is touched, so that another program's file stays as it is.
    let state = migrate::state(&mut Conn::Sqlite(&mut first)).map_err(|fault| told(fault, path))?;
    if state.is_none() {
        unclaimed(&mut first, path)?;
    }
    use_wal(&mut first, path)?;
    migrate::sqlite(&mut first, migrate::Target::Newest).map_err(|fault| told(fault, path))?;
    // Closed only when the pool holds the file: the last connection to close throws the log away.
    let backend = pools(&uri(path, "rw"), busy, false, None);
    drop(first);
    Ok(backend)
}

/// Opens a file for reading alone; an older one is read through a copy that is brought up to date, a missing one is empty.
pub(super) fn open_for_reading(path: &Path) -> Result<Backend, StoreError> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return in_memory(true),
        Ok(found) if found.is_file() && found.len() == 0 => return in_memory(true),
        Ok(_) | Err(_) => {}
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // The log's side files come and go with whoever opens the file for writing, so that is tried first, with all writes
    // refused. Where we may not write, a reader shares them if somebody holds the file, and does without if nobody does.
    let unheld = fs::metadata(log).map_or(true, |log| log.len() == 0);
    let ways = if unheld { &["rw", "ro", "ro&immutable=1"][..] } else { &["rw", "ro"] };
    let mut failure = None;
    for way in ways {
        match read_as(path, &uri(path, way)) {
            Ok(backend) => return Ok(backend),
            Err(error @ (StoreError::Newer { .. } | StoreError::Locked { .. })) => return Err(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| StoreError::Open { url: url(path), why: "it cannot be read".to_owned() }))
}

/// One way to read a file.
fn read_as(path: &Path, uri: &str) -> Result<Backend, StoreError> {
    let mut conn = connect(uri, BUSY, true).map_err(|error| error.tell(path))?;
    match migrate::state(&mut Conn::Sqlite(&mut conn)).map_err(|fault| told(fault, path))? {
        Some(applied) if migrate::is_older(&applied)? => copy(path, &mut conn),
        Some(_) => Ok(pools(uri, BUSY, true, None)),
        None => {
            unclaimed(&mut conn, path)?;
            in_memory(true)
        }
    }
}

/// Copies an older file into a directory that goes when the store goes, and brings the copy up to date.
fn copy(path: &Path, conn: &mut SqliteConnection) -> Result<Backend, StoreError> {
    let doing = format!("copying {} to read it", url(path));
    let failed = |why: String| StoreError::Failed { doing: doing.clone(), why };
    let directory = TempDir::with_prefix("evenkeel-").map_err(|error| failed(error.to_string()))?;
    let target = directory.path().join("copy.db");
    let target_text = target.to_str().ok_or_else(|| failed("the temporary directory's name is no UTF-8".to_owned()))?;
    conn.batch_execute("PRAGMA query_only = OFF;")
        .and_then(|()| sql_query("VACUUM INTO ?").bind::<Text, _>(target_text).execute(conn))
        .map_err(|error| Fault::Database(error).tell(&doing))?;
    let mut copied = connect(&uri(&target, "rw"), BUSY, false).map_err(|error| error.tell(&target))?;
    migrate::sqlite(&mut copied, migrate::Target::Newest).map_err(|fault| told(fault, path))?;
    drop(copied);
    Ok(pools(&uri(&target, "rw"), BUSY, true, Some(directory)))
}

/// An empty, up-to-date database in memory.
pub(super) fn in_memory(reads_only: bool) -> Result<Backend, StoreError> {
    let doing = "opening a database in memory";
    let manager = SqliteManager { uri: ":memory:".to_owned(), busy: BUSY, reads_only: false };
    // The connection is the database: there is only ever one, and it is kept.
    let write = Pool::builder()
        .max_size(1)
        .min_idle(Some(1))
        .max_lifetime(None)
        .idle_timeout(None)
        .connection_timeout(TURN)
        .test_on_check_out(false)
        .error_handler(Box::new(NopErrorHandler))
        .build(manager)
        .map_err(|error| StoreError::Failed { doing: doing.to_owned(), why: error.to_string() })?;
    {
        let mut conn =
            write.get().map_err(|error| StoreError::Failed { doing: doing.to_owned(), why: error.to_string() })?;
        migrate::sqlite(&mut conn, migrate::Target::Newest).map_err(|fault| fault.tell(&doing))?;
        if reads_only {
            conn.batch_execute("PRAGMA query_only = ON;").map_err(|error| Fault::from(error).tell(&doing))?;
        }
    }
    Ok(Backend::Sqlite { write, read: None, _copy: None })
}

/// Empties a database: as if it were new, but for its salt, for the triggers that keep its history whole, and for what is
/// prepared for it, which stays prepared.
pub(super) fn empty(conn: &mut SqliteConnection) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Table {
        #[diesel(sql_type = Text)]
        name: String,
    }
    // Not the tables that are not empty when they are new; what refers to a table comes after it.
    let filled = "SELECT name FROM sqlite_master WHERE type = 'table' \
        AND name NOT IN ('__diesel_schema_migrations', 'chain', 'salt') ORDER BY rowid DESC";
    conn.batch_execute(
        "DROP TRIGGER IF EXISTS history_is_not_changed; DROP TRIGGER IF EXISTS history_is_not_shortened;",
    )?;
    conn.immediate_transaction(|conn| {
        let mut all = String::new();
        for Table { name } in sql_query(filled).load::<Table>(conn)? {
            let _ = write!(all, "DELETE FROM \"{name}\";"); // Writing to a String cannot fail.
        }
        conn.batch_execute(&all)?;
        let start = "UPDATE chain SET seq = 0, hash = ?";
        sql_query(start).bind::<Text, _>(history::start()).execute(conn).map(|_| ())
    })
}

/// Moves a file's schema to a version, for [`migrate::go_to`].
pub(super) fn migrate_file(path: &Path, target: migrate::Target<'_>) -> Result<(), StoreError> {
    create(path)?;
    let mut conn = connect(&uri(path, "rw"), BUSY, false).map_err(|error| error.tell(path))?;
    use_wal(&mut conn, path)?;
    migrate::sqlite(&mut conn, target).map_err(|fault| told(fault, path))
}

/// The migrations a file has.
pub(super) fn applied(path: &Path) -> Result<Vec<String>, StoreError> {
    let mut conn = connect(&uri(path, "rw"), BUSY, true).map_err(|error| error.tell(path))?;
    let state = migrate::state(&mut Conn::Sqlite(&mut conn)).map_err(|fault| told(fault, path))?;
    Ok(state.unwrap_or_default())
}

/// The pools over a file that is known to be good; they connect when first asked.
fn pools(uri: &str, busy: Duration, reads_only: bool, copy: Option<TempDir>) -> Backend {
    let pool = |size: u32, reads_only: bool| {
        Pool::builder()
            .max_size(size)
            .min_idle(Some(u32::from(!reads_only)))
            .max_lifetime(None)
            .connection_timeout(TURN)
            .test_on_check_out(false)
            .error_handler(Box::new(NopErrorHandler))
            .build_unchecked(SqliteManager { uri: uri.to_owned(), busy, reads_only })
    };
    Backend::Sqlite { write: pool(1, reads_only), read: Some(pool(READERS, true)), _copy: copy }
}

/// Refuses a file that was never ours and is not empty either, but for a list of migrations.
fn unclaimed(conn: &mut SqliteConnection, path: &Path) -> Result<(), StoreError> {
    let tables = "SELECT count(*) AS count FROM sqlite_master WHERE tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
        AND tbl_name <> '__diesel_schema_migrations'";
    let found: Count = sql_query(tables).get_result(conn).map_err(|error| told(error.into(), path))?;
    if found.count == 0 {
        return Ok(());
    }
    let why = "it holds another program's tables; name a file of its own".to_owned();
    Err(StoreError::Open { url: url(path), why })
}

/// An error while opening, with the file's name.
fn told(fault: Fault, path: &Path) -> StoreError {
    match fault {
        Fault::Database(error) => Unusable::Query(error).tell(path),
        Fault::Told(error) => error,
    }
}
