//! PostgreSQL without libpq: tokio-postgres and rustls under a diesel connection that stays synchronous.
//!
//! All of it runs on one small runtime of its own with a single thread, so a store must never be called from inside
//! an async task. Every wait has an end: connecting, statements, locks, a peer that fell silent.

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use diesel::connection::{Connection, SimpleConnection, TransactionManager};
use diesel::prelude::*;
use diesel::sql_query;
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use r2d2::{ManageConnection, NopErrorHandler, Pool};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::Runtime;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::backend::{Backend, Conn};
use super::error::{Fault, StoreError};
use super::migrate;
use crate::config::{DatabaseUrl, PostgresTls, PostgresUrl};

/// How long an address may take to answer; a name may have several.
const ADDRESS: Duration = Duration::from_secs(4);

/// How long connecting may take in all: names, addresses, TLS, the password.
const CONNECT: Duration = Duration::from_secs(8);

/// How long a thread waits for a connection of the pool.
const TURN: Duration = Duration::from_secs(15);

/// Connections in use at the same time by one process; the server's usual limit is 100.
const CONNECTIONS: u32 = 8;

/// What every session is told: a statement, a wait for a lock and an abandoned transaction have an end. The isolation is
/// the one that our row locks are made for, whatever the server's default is.
const SESSION: &str = "SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
    SET idle_in_transaction_session_timeout = '60s'; SET client_min_messages = warning; \
    SET default_transaction_isolation = 'read committed';";

/// Sets how long the statements of this transaction wait for locks that others hold.
pub(super) fn wait_for_others(conn: &mut PostgresConnection, limit: Duration) -> QueryResult<()> {
    conn.batch_execute(&format!("SET LOCAL lock_timeout = {}", limit.as_millis()))
}

/// A synchronous diesel connection.
pub(super) type PostgresConnection = AsyncConnectionWrapper<AsyncPgConnection, OwnRuntime>;

/// The runtime that all connections share.
static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// Waits on the shared runtime.
pub(super) struct OwnRuntime(&'static Runtime);

impl BlockOn for OwnRuntime {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.0.block_on(future)
    }

    fn get_runtime() -> Self {
        Self(RUNTIME.get().expect("a connection is made only after the runtime was started"))
    }
}

/// Starts the shared runtime, once.
fn runtime() -> io::Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let fresh = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("evenkeel-postgres")
        .enable_all()
        .build()?;
    Ok(RUNTIME.get_or_init(|| fresh))
}

/// Makes connections for the pool.
pub(super) struct PostgresManager {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// The host as a person knows it.
    host: String,
    user: String,
    database: String,
    /// Refuses every write.
    reads_only: bool,
}

impl fmt::Debug for PostgresManager {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PostgresManager({})", self.host) // The configuration holds the password.
    }
}

impl ManageConnection for PostgresManager {
    type Connection = PostgresConnection;
    type Error = Unreachable;

    fn connect(&self) -> Result<PostgresConnection, Unreachable> {
        let runtime = runtime().map_err(|error| Unreachable(format!("starting its runtime: {error}")))?;
        let made = runtime.block_on(async { tokio::time::timeout(CONNECT, self.reach()).await });
        let conn = match made {
            Ok(made) => made?,
            Err(_) => {
                let seconds = CONNECT.as_secs();
                return Err(Unreachable(format!(
                    "{} gave no answer within {seconds} s; is it a PostgreSQL server, and does a firewall stand between?",
                    self.host
                )));
            }
        };
        let mut conn = PostgresConnection::from(conn);
        let said = conn.batch_execute(SESSION).and_then(|()| {
            if self.reads_only { conn.batch_execute("SET default_transaction_read_only = on;") } else { Ok(()) }
        });
        said.map_err(|error| Unreachable(format!("setting up the session: {error}")))?;
        Ok(conn)
    }

    fn is_valid(&self, conn: &mut PostgresConnection) -> Result<(), Unreachable> {
        sql_query("SELECT 1").execute(conn).map(|_| ()).map_err(|error| Unreachable(error.to_string()))
    }

    fn has_broken(&self, conn: &mut PostgresConnection) -> bool {
        <PostgresConnection as Connection>::TransactionManager::is_broken_transaction_manager(conn)
    }
}

/// Why a connection could not be made, for a person.
#[derive(Debug)]
pub(super) struct Unreachable(String);

impl fmt::Display for Unreachable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unreachable {}

impl PostgresManager {
    fn new(server: &PostgresUrl, reads_only: bool) -> Result<Self, StoreError> {
        let PostgresUrl { host, port, user, password, database, tls, ca_file } = server;
        let mut config = Config::new();
        let local = host.starts_with('/');
        if local {
            config.host_path(host)
        } else {
            config.host(host)
        };
        config
            .port(*port)
            .user(user)
            .dbname(database)
            .application_name("evenkeel")
            .connect_timeout(ADDRESS)
            .keepalives_idle(Duration::from_secs(20))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(40));
        if let Some(password) = password {
            config.password(password.reveal());
        }
        // A Unix socket cannot be listened to on the way, and PostgreSQL offers no TLS there.
        let tls = match tls {
            PostgresTls::Verified if !local => {
                config.ssl_mode(SslMode::Require);
                Some(verified(ca_file.as_deref()).map_err(|why| open_error(server, why))?)
            }
            PostgresTls::Verified | PostgresTls::Off => {
                config.ssl_mode(SslMode::Disable);
                None
            }
        };
        let host = if local { host.clone() } else { format!("{host}:{port}") };
        Ok(Self { config, tls, host, user: user.clone(), database: database.clone(), reads_only })
    }

    async fn reach(&self) -> Result<AsyncPgConnection, Unreachable> {
        let made = match &self.tls {
            None => {
                let (client, connection) = self.config.connect(NoTls).await.map_err(|error| self.why(&error))?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await.map_err(|error| self.why(&error))?;
                AsyncPgConnection::try_from_client_and_connection(client, connection).await
            }
        };
        made.map_err(|error| Unreachable(format!("setting up the session: {error}")))
    }

    /// Why connecting failed and what to do.
    fn why(&self, error: &tokio_postgres::Error) -> Unreachable {
        let Self { host, user, database, .. } = self;
        Unreachable(match error.code() {
            Some(code)
                if [SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION].contains(code) =>
            {
                let said = error.as_db_error().map_or("", |said| said.message());
                format!("{host} refused the role {user}: {said}; look at the password, the role and pg_hba.conf")
            }
            Some(&SqlState::INVALID_CATALOG_NAME) => {
                format!("{host} has no database {database}; create it (createdb -O {user} {database})")
            }
            Some(code) => {
                let said = error.as_db_error().map_or("", |said| said.message());
                format!("{host} answered: {said} (SQLSTATE {})", code.code())
            }
            None => {
                let mut chain = error.to_string();
                let mut cause = error.source();
                let mut hint = "";
                // At most a handful of layers: tokio-postgres, io, rustls.
                for _ in 0..8 {
                    let Some(inner) = cause else { break };
                    let words = inner.to_string();
                    if !chain.contains(&words) {
                        chain = format!("{chain}: {words}");
                    }
                    if let Some(io) = inner.downcast_ref::<io::Error>() {
                        hint = match io.kind() {
                            io::ErrorKind::ConnectionRefused => "; is the server running, and is this its port?",
                            io::ErrorKind::NotFound => "; is the server running, and is this its socket directory?",
                            io::ErrorKind::TimedOut => "; is the host right, and does a firewall stand between?",
                            io::ErrorKind::InvalidData => {
                                "; a private certificate authority must be named by sslrootcert"
                            }
                            _ => "",
                        };
                    }
                    cause = inner.source();
                }
                format!("connecting to {host}: {chain}{hint}")
            }
        })
    }
}

/// TLS that verifies the chain and the host's name against a file of authorities, or the system's.
fn verified(ca_file: Option<&std::path::Path>) -> Result<MakeRustlsConnect, String> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let unreadable = |why: String| format!("reading the certificate authority {}: {why}", path.display());
            let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unreadable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("no certificate in it; it must be in PEM form".to_owned()));
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err("TLS is wanted, but this system has no certificate authorities: install ca-certificates \
                    or name a file (sslrootcert)"
                    .to_owned());
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("setting up TLS: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn open_error(server: &PostgresUrl, why: String) -> StoreError {
    StoreError::Open { url: DatabaseUrl::Postgres(Box::new(server.clone())).to_string(), why }
}

/// One plain connection first, so that a wrong address or password is told at once: a pool would try for its whole wait.
fn first(manager: &PostgresManager, server: &PostgresUrl) -> Result<PostgresConnection, StoreError> {
    manager.connect().map_err(|error| open_error(server, error.to_string()))
}

fn told(fault: Fault, server: &PostgresUrl) -> StoreError {
    match fault.tell(&format_args!("opening {}", DatabaseUrl::Postgres(Box::new(server.clone())))) {
        StoreError::Failed { doing, why } if doing.starts_with("opening ") => open_error(server, why),
        error => error,
    }
}

/// Opens a server's database and brings it up to date.
pub(super) fn open(server: &PostgresUrl) -> Result<Backend, StoreError> {
    let manager = PostgresManager::new(server, false)?;
    let mut conn = first(&manager, server)?;
    migrate::postgres(&mut conn, migrate::Target::Newest).map_err(|fault| told(fault, server))?;
    Ok(Backend::Postgres(pool(manager)))
}

/// Opens a server's database for reading; `None` when our tables were never made.
pub(super) fn open_for_reading(server: &PostgresUrl) -> Result<Option<Backend>, StoreError> {
    let manager = PostgresManager::new(server, true)?;
    let mut conn = first(&manager, server)?;
    let Some(applied) = migrate::state(&mut Conn::Postgres(&mut conn)).map_err(|fault| told(fault, server))? else {
        return Ok(None);
    };
    if migrate::is_older(&applied)? {
        let why = format!(
            "its schema is at {}, this program needs {}, and a command that only reads does not migrate; \
             run `evenkeel run --once` first",
            applied.last().map_or("none", String::as_str),
            migrate::known().last().map_or("none", String::as_str)
        );
        return Err(open_error(server, why));
    }
    Ok(Some(Backend::Postgres(pool(manager))))
}

/// Moves a database's schema to a version, for [`migrate::go_to`].
pub(super) fn migrate_server(server: &PostgresUrl, target: migrate::Target<'_>) -> Result<(), StoreError> {
    let mut conn = first(&PostgresManager::new(server, false)?, server)?;
    migrate::postgres(&mut conn, target).map_err(|fault| told(fault, server))
}

/// The migrations a database has.
pub(super) fn applied(server: &PostgresUrl) -> Result<Vec<String>, StoreError> {
    let mut conn = first(&PostgresManager::new(server, true)?, server)?;
    let state = migrate::state(&mut Conn::Postgres(&mut conn)).map_err(|fault| told(fault, server))?;
    Ok(state.unwrap_or_default())
}

fn pool(manager: PostgresManager) -> Pool<PostgresManager> {
    Pool::builder()
        .max_size(CONNECTIONS)
        .min_idle(Some(1))
        .connection_timeout(TURN)
        .error_handler(Box::new(NopErrorHandler))
        .build_unchecked(manager)
}
