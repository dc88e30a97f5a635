//! config.toml and the environment, checked once into a [`Config`] that can no longer be wrong.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::model::{BySide, ProjectGid, RepoName, RouteName, Rules};

/// A secret's text. Its `Debug` and `Display` say nothing; it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

/// Where the database is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// An embedded SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL server.
    Postgres(Box<PostgresUrl>),
}

/// A PostgreSQL server and how to reach it; `Display` leaves the password out.
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
    /// `sslmode=disable`: never.
    Off,
    /// `sslmode=require`, `verify-ca` and `verify-full`: always, chain and host name verified.
    Verified,
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(out, "sqlite:{}", path.display()),
            Self::Postgres(server) => {
                write!(out, "postgres://{}@{}:{}/{}", server.user, server.host, server.port, server.database)
            }
        }
    }
}

/// One route as configured.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name.
    pub name: RouteName,
    /// The Asana project.
    pub project: ProjectGid,
    /// The GitHub repository.
    pub repo: RepoName,
    /// The tokens of both sides.
    pub tokens: BySide<Secret>,
    /// Everything that decides about its items.
    pub rules: Rules,
}

/// How the providers are spoken to.
#[derive(Clone, Debug)]
pub struct Network {
    /// `https://app.asana.com/api/1.0` and `https://api.github.com`, or what replaces them; no slash at the end.
    pub base_urls: BySide<String>,
    /// PEM file with the certificate authority, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// Longest time for one call, connection and body among it.
    pub call_timeout: Duration,
    /// Longest time for connecting.
    pub connect_timeout: Duration,
    /// Largest answer in bytes, unpacked.
    pub answer_bytes_max: u64,
    /// Asana requests a minute (150 on the free plan, 1,500 on a paid one).
    pub asana_per_minute: u32,
    /// GitHub creations a minute and an hour.
    pub github_creations_per_minute: u32,
    /// GitHub creations an hour.
    pub github_creations_per_hour: u32,
    /// GitHub points a minute (a read is 1, a write is 5).
    pub github_points_per_minute: u32,
}

/// When what happens, in six-field cron lines, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Incremental passes.
    pub poll: String,
    /// Full passes.
    pub sweep: String,
    /// Visits to items that wait for another try.
    pub retry: String,
    /// A poll also asks the slower way that misses less, when it last did so longer ago than this.
    pub belt: Duration,
}

/// How many times and how long something is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Visits to one item before it is parked.
    pub attempts_max: u32,
    /// The wait before the second attempt; doubled each time, with full jitter.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// How long an unanswered creation is looked for before it may be made again.
    pub intent_grace: Duration,
    /// Repairs in one pass at most; the rest follows in the next.
    pub repairs_max: usize,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything an operator said, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// At least one.
    pub routes: Vec<Route>,
    /// The database.
    pub database: DatabaseUrl,
    /// How the providers are spoken to.
    pub network: Network,
    /// When what happens.
    pub schedule: Schedule,
    /// How many times and how long.
    pub patience: Patience,
    /// How log lines look.
    pub log: LogFormat,
    /// The secret of GitHub's webhooks.
    pub github_webhook_secret: Option<Secret>,
    /// The token of the admin API.
    pub admin_token: Option<Secret>,
}
