//! Where the database is: a SQLite file, or a PostgreSQL server named by URL and `PG*` variables.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tokio_postgres::config::Host;

use super::faults::Report;
use super::secret::{Kind, Secret, World, secret_in_env, secret_of, wanted};
use super::section::{Given, Reference, Section};

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An embedded SQLite file; a relative path starts at the working directory.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresUrl>),
}

/// A PostgreSQL server and how to reach it; nothing shown of it holds the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostgresUrl {
    /// Host name, address, or the absolute directory of its Unix socket.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Role.
    pub user: String,
    /// Password, if one is needed.
    pub password: Option<Secret>,
    /// Database name.
    pub database: String,
    /// How TLS is used.
    pub tls: PostgresTls,
    /// PEM file with the certificate authority, in place of the system's.
    pub ca_file: Option<PathBuf>,
}

/// How TLS is used towards PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostgresTls {
    /// `sslmode=disable`, and a server on this machine unless more is asked for: never.
    Off,
    /// `sslmode=require`, `verify-ca` and `verify-full`, and a server elsewhere by default: always,
    /// chain and host name verified.
    Verified,
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "sqlite:{}", path.display()),
            Self::Postgres(server) => {
                let PostgresUrl { host, port, user, database, password: _, tls: _, ca_file: _ } = server.as_ref();
                write!(out, "postgres://{user}@{host}:{port}/{database}")
            }
        }
    }
}

/// What a URL should look like.
const EXAMPLES: &str = "sqlite:/var/lib/evenkeel/evenkeel.db or postgres://evenkeel@db.example.com/evenkeel";

/// libpq's own default port.
const POSTGRES_PORT: u16 = 5432;

/// Where Debian's PostgreSQL, and most others, put the socket.
const SOCKET_FOLDER: &str = "/var/run/postgresql";

/// How long a lease is good for without renewal: a dead process's work is taken over after that. Far longer than the
/// wait for a usual answer, and than the clocks of replicas are apart.
pub const LEASE: Duration = Duration::from_secs(60);

/// Finds the database. The file says it, else `DATABASE_URL`, else `PGHOST` or `PGDATABASE`, else it
/// is `evenkeel.db` in the state directory or the working directory.
pub(super) fn database(section: &Section<'_, '_>, world: World<'_>, report: &Report) -> Option<DatabaseUrl> {
    let before = report.count();
    let password = secret_of(section, "password", "PGPASSWORD", Kind::Text, world, report);
    let ca_file = section.text("ca_file", "/etc/ssl/our-ca.pem");
    let (url, place) = match written_url(section, world, report) {
        Given::Is(url, line) => (Some(url), Place::File(line)),
        Given::Wrong => return None,
        Given::Not => (world.text("DATABASE_URL"), Place::Environment),
    };
    let fault = |what: String| match place {
        Place::File(line) => section.fault(line, "url", what),
        Place::Environment => report.fault_outside(format!("DATABASE_URL: {what}")),
    };
    let server = match url.as_deref() {
        Some(url) if url.starts_with("sqlite:") => {
            if password != Given::Not || ca_file != Given::Not {
                report.warn(format!("{}: an SQLite database uses no password and no ca_file", section.shown("url")));
            }
            return match sqlite(url) {
                Ok(path) => Some(DatabaseUrl::Sqlite(path)),
                Err(why) => {
                    fault(why);
                    None
                }
            };
        }
        Some(url) if url.starts_with("postgres://") || url.starts_with("postgresql://") => match read_url(url) {
            Ok(server) => server,
            Err(why) => {
                fault(why);
                return None;
            }
        },
        Some(_) => {
            // Not shown: it may hold a password all the same.
            fault(format!("neither a SQLite file nor a PostgreSQL server; write {EXAMPLES}"));
            return None;
        }
        None if world.text("PGHOST").is_some() || world.text("PGDATABASE").is_some() => Parts::default(),
        None => {
            let folder = world.text("STATE_DIRECTORY");
            // systemd separates several with colons; the first is the unit's own.
            let first = folder.as_deref().and_then(|folders| folders.split(':').next()).unwrap_or(".");
            return Some(DatabaseUrl::Sqlite(Path::new(first).join("evenkeel.db")));
        }
    };
    let unused: Vec<&str> = server.unused.iter().map(String::as_str).collect();
    if !unused.is_empty() {
        report.warn(format!("database url: the options {} have no effect here", unused.join(", ")));
    }
    let server = complete(server, password.value(), ca_file.value(), world, report);
    if report.count() > before { None } else { server.map(|server| DatabaseUrl::Postgres(Box::new(server))) }
}

/// Where the URL came from.
enum Place {
    File(usize),
    Environment,
}

/// The URL as the file gives it: a text without a password, or a reference to a secret.
fn written_url(section: &Section<'_, '_>, world: World<'_>, report: &Report) -> Given<String> {
    match section.reference("url", &format!("a text such as {EXAMPLES}, or a reference: {}", wanted("DATABASE_URL"))) {
        Given::Not => Given::Not,
        Given::Wrong => Given::Wrong,
        Given::Is(Reference::Literal(url), line) => {
            if holds_password(&url) {
                section.fault(
                    line,
                    "url",
                    "a password must not stand in this file; leave it out of the URL and write \
                     password = { env = \"PGPASSWORD\" } below, or make the whole url such a reference",
                );
                Given::Wrong
            } else {
                Given::Is(url, line)
            }
        }
        Given::Is(Reference::Named(..), line) => {
            match secret_of(section, "url", "DATABASE_URL", Kind::Text, world, report) {
                Given::Is(secret, _) => Given::Is(secret.reveal().to_owned(), line),
                Given::Wrong | Given::Not => Given::Wrong,
            }
        }
    }
}

/// Whether a URL has something between a colon and an at sign, or a password option.
fn holds_password(url: &str) -> bool {
    let Some((_, rest)) = url.split_once("://") else { return false };
    rest.contains("password=") || rest.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

/// The path of `sqlite:path`, `sqlite://path` or `sqlite:///path`.
fn sqlite(url: &str) -> Result<PathBuf, String> {
    let rest = url.strip_prefix("sqlite:").unwrap_or(url);
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() || path.ends_with('/') {
        return Err("no file is named; write sqlite:evenkeel.db or sqlite:/var/lib/evenkeel/evenkeel.db".to_owned());
    }
    if path == ":memory:" {
        return Err("a database in memory forgets every pair when the program ends; name a file".to_owned());
    }
    if path.contains(['?', '\0']) {
        return Err("options behind ? mean nothing here; name the file alone".to_owned());
    }
    Ok(PathBuf::from(path))
}

/// What a PostgreSQL URL says; the rest comes from the `PG*` variables.
#[derive(Default)]
struct Parts {
    host: Option<String>,
    port: Option<u16>,
    user: Option<String>,
    password: Option<Secret>,
    database: Option<String>,
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    unused: Vec<String>,
}

/// Reads a URL. TLS options are ours, for the client library knows fewer of them; it reads the rest.
/// Messages show nothing of the URL: a password with a stray `?` or `/` may end up in any part.
fn read_url(url: &str) -> Result<Parts, String> {
    /// Options of libpq that decide where to connect; the library applies them.
    const KNOWN: [&str; 5] = ["host", "port", "user", "password", "dbname"];
    let mut parts = Parts::default();
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut kept = Vec::new();
    for option in query.split('&').filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let decoded = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        match name {
            "sslmode" => parts.sslmode = Some(decoded()),
            "sslrootcert" => parts.sslrootcert = Some(decoded()),
            _ if KNOWN.contains(&name) => kept.push(option),
            "application_name"
            | "channel_binding"
            | "connect_timeout"
            | "keepalives"
            | "options"
            | "pgbouncer"
            | "target_session_attrs" => parts.unused.push(name.to_owned()),
            _ => {
                return Err(format!(
                    "an unknown option behind the ?; known are sslmode, sslrootcert, {} (a ? inside a password is \
                     written %3F)",
                    KNOWN.join(", ")
                ));
            }
        }
    }
    let plain = if kept.is_empty() { address.to_owned() } else { format!("{address}?{}", kept.join("&")) };
    let read: tokio_postgres::Config = plain.parse().map_err(|_| {
        "not a PostgreSQL URL; write postgres://user@host:5432/database (@ : / ? # and % inside a password are \
         written %40 %3A %2F %3F %23 and %25)"
            .to_owned()
    })?;
    let (hosts, ports) = (read.get_hosts(), read.get_ports());
    if hosts.len() > 1 || ports.len() > 1 {
        return Err("several hosts; name one (a name that follows the primary serves better)".to_owned());
    }
    parts.host = hosts.first().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.to_string_lossy().into_owned(),
    });
    parts.port = ports.first().copied();
    parts.user = read.get_user().map(str::to_owned);
    parts.database = read.get_dbname().map(str::to_owned).filter(|name| !name.is_empty());
    parts.password = match read.get_password() {
        None => None,
        Some(bytes) => {
            let text = std::str::from_utf8(bytes).map_err(|_| "the password is not UTF-8".to_owned())?;
            Some(Secret::new(text.to_owned()))
        }
    };
    Ok(parts)
}

/// Fills what the URL leaves open from the file and the `PG*` variables, as libpq understands them.
fn complete(
    parts: Parts,
    password: Option<Secret>,
    ca_file: Option<String>,
    world: World<'_>,
    report: &Report,
) -> Option<PostgresUrl> {
    let Parts { host, port, user, password: in_url, database, sslmode, sslrootcert, unused: _ } = parts;
    let host = host.or_else(|| world.text("PGHOST")).unwrap_or_else(|| SOCKET_FOLDER.to_owned());
    let port = port.or_else(|| {
        let text = world.text("PGPORT")?;
        let port = text.parse().ok().filter(|port| *port > 0);
        if port.is_none() {
            report.fault_outside(format!("PGPORT = {}: not a port; write one such as 5432", super::quote(&text)));
        }
        port
    });
    let Some(user) = user.or_else(|| ["PGUSER", "USER", "LOGNAME"].iter().find_map(|name| world.text(name))) else {
        report.fault_outside(
            "no role for PostgreSQL; write it into the URL (postgres://role@host/database) or set PGUSER",
        );
        return None;
    };
    let password = in_url.or(password).or_else(|| match secret_in_env("PGPASSWORD", Kind::Text, world)? {
        Ok(secret) => Some(secret),
        Err(why) => {
            report.fault_outside(why);
            None
        }
    });
    let database = database.or_else(|| world.text("PGDATABASE")).unwrap_or_else(|| user.clone());
    let mode = sslmode.or_else(|| world.text("PGSSLMODE"));
    let tls = match tls(&host, mode.as_deref()) {
        Ok(tls) => tls,
        Err(why) => {
            report.fault_outside(why);
            return None;
        }
    };
    let ca_file = sslrootcert.or(ca_file).or_else(|| world.text("PGSSLROOTCERT"));
    // libpq's word for the roots the system trusts, which are the default here.
    let ca_file = ca_file.filter(|name| name != "system" && tls == PostgresTls::Verified).map(PathBuf::from);
    if let Some(path) = &ca_file
        && let Err(why) = certificates(path, world)
    {
        report.fault_outside(format!("the certificate authority of the database: {why}"));
    }
    Some(PostgresUrl { host, port: port.unwrap_or(POSTGRES_PORT), user, password, database, tls, ca_file })
}

/// What an `sslmode` means for a host. Over a Unix socket there is no TLS, whatever it says.
fn tls(host: &str, mode: Option<&str>) -> Result<PostgresTls, String> {
    if host.starts_with('/') {
        return Ok(PostgresTls::Off);
    }
    match mode {
        Some("disable") => Ok(PostgresTls::Off),
        Some("require" | "verify-ca" | "verify-full") => Ok(PostgresTls::Verified),
        // libpq's own default may go in clear without a word: here only to this machine.
        None | Some("prefer" | "allow") if super::loopback(host) => Ok(PostgresTls::Off),
        None | Some("prefer" | "allow") => Ok(PostgresTls::Verified),
        Some(mode) => {
            Err(format!("sslmode = {}: unknown; write disable, require, verify-ca or verify-full", super::quote(mode)))
        }
    }
}

/// Looks whether a file holds certificates in PEM.
pub(super) fn certificates(path: &Path, world: World<'_>) -> Result<(), String> {
    let shown = super::quote(&path.to_string_lossy());
    match (world.read)(path) {
        Err(error) => Err(format!("the file {shown} cannot be read: {error}")),
        Ok(file) if !file.text.contains("-----BEGIN CERTIFICATE-----") => {
            Err(format!("the file {shown} holds no certificate in PEM (-----BEGIN CERTIFICATE-----)"))
        }
        Ok(_) => Ok(()),
    }
}
