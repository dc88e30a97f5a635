//! config.toml and the environment, checked once into a [`Config`] that can no longer be wrong.
//!
//! Precedence, the same for every key: what the file says, else the plain environment variable, else
//! the default. So a variable never overrules a file silently; a file that wants the variable says
//! `{ env = "NAME" }`. Without a file, or with a file that names no route, `ASANA_PROJECT_GID` and
//! `GITHUB_REPO` make the one route, called `default`. Relative paths start at the working directory.
//!
//! | variable | stands for |
//! | --- | --- |
//! | `ASANA_PAT`, `GITHUB_TOKEN` | `[asana] token`, `[github] token` |
//! | `ASANA_PROJECT_GID`, `GITHUB_REPO` | one `[[route]]` |
//! | `ASANA_BASE_URL`, `GITHUB_BASE_URL` | `[asana] base_url`, `[github] base_url` |
//! | `DATABASE_URL`, `PGHOST`, `PGPORT`, `PGUSER`, `PGPASSWORD`, `PGDATABASE`, `PGSSLMODE`, `PGSSLROOTCERT` | `[database]`; parts of the URL win over `PG*` |
//! | `GITHUB_WEBHOOK_SECRET`, `GITHUB_WEBHOOK_SECRET_FORMER` | `[github] webhook_secret`, `webhook_secret_former` |
//! | `EVENKEEL_SEAL_KEY` | `[webhooks] seal_key` |
//! | `ADMIN_API_TOKEN`, `ADMIN_API_READ_TOKEN` | `[admin] token`, `[admin] read_token` |
//! | `EVENKEEL_LOG_FORMAT` | `[log] format` |
//!
//! Every fault is reported in one run, with its line and what to write instead, and no message shows
//! a secret. Nothing here reads the process's environment or the disk by itself: both are arguments.

mod admin;
mod database;
mod faults;
mod listen;
mod load;
mod people;
mod ranges;
mod routes;
mod schedule;
mod secret;
mod section;
mod webhooks;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::{BySide, ProjectGid, RepoName, RouteName, Rules};

pub use admin::Admin;
pub use database::{DatabaseUrl, LEASE, PostgresTls, PostgresUrl};
pub use faults::{ConfigErrors, Fault};
pub use listen::{ForwardedHeader, Listen, ListenAddress, ListenLimits, Proxies};
pub use schedule::Schedule;
pub use secret::{Secret, SourceFile, read_file};
pub use webhooks::{Senders, Webhooks};

use faults::{Report, quote};

/// One route as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// GitHub creations a minute.
    pub github_creations_per_minute: u32,
    /// GitHub creations an hour.
    pub github_creations_per_hour: u32,
    /// GitHub points a minute (a read is 1, a write is 5).
    pub github_points_per_minute: u32,
}

impl Network {
    /// Where people see what GitHub's API serves, without a slash at the end; `None` where that is not known.
    pub fn web_of_github(&self) -> Option<&str> {
        match self.base_urls.forge.as_str() {
            "https://api.github.com" => Some("https://github.com"),
            // GitHub Enterprise Server serves both under one name.
            api => api.strip_suffix("/api/v3"),
        }
    }
}

impl Default for Network {
    fn default() -> Self {
        Self {
            base_urls: BySide {
                tracker: "https://app.asana.com/api/1.0".to_owned(),
                forge: "https://api.github.com".to_owned(),
            },
            ca_file: None,
            call_timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(10),
            // A page of 100 items whose texts are at their longest (65,536 characters) is below 30 MiB.
            answer_bytes_max: 32 * 1024 * 1024,
            // The published limits: Asana's free plan, GitHub's secondary limits.
            asana_per_minute: 150,
            github_creations_per_minute: 80,
            github_creations_per_hour: 500,
            github_points_per_minute: 900,
        }
    }
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

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts_max: 8,
            backoff: Duration::from_secs(30),
            backoff_max: Duration::from_secs(3_600),
            intent_grace: Duration::from_secs(600),
            repairs_max: 10_000,
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything an operator said, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// At least one; names are unique, and so are the pairs of project and repository.
    pub routes: Vec<Route>,
    /// The database.
    pub database: DatabaseUrl,
    /// How long a lease is good for without a sign of life of its holder.
    pub lease: Duration,
    /// How the providers are spoken to.
    pub network: Network,
    /// When what happens.
    pub schedule: Schedule,
    /// How many times and how long.
    pub patience: Patience,
    /// How log lines look.
    pub log: LogFormat,
    /// How hooks are kept and deliveries remembered.
    pub webhooks: Webhooks,
    /// The HTTP listener; without it nothing listens.
    pub listen: Option<Listen>,
    /// The secret of GitHub's webhooks.
    pub github_webhook_secret: Option<Secret>,
    /// The one before it, good beside it while it is rotated.
    pub github_webhook_secret_former: Option<Secret>,
    /// Who may use the admin API.
    pub admin: Admin,
    /// What works but should be looked at, such as a secret that every user may read; to be logged.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads the configuration: `file` if there is one, and the environment.
    ///
    /// `env` answers a variable's value, `read` a file's text (the file itself, secrets, certificates).
    ///
    /// # Errors
    /// Every fault there is, not just the first.
    pub fn load(
        file: Option<&Path>,
        env: &dyn Fn(&str) -> Option<String>,
        read: &dyn Fn(&Path) -> io::Result<SourceFile>,
    ) -> Result<Self, ConfigErrors> {
        load::load(file, secret::World { env, read }).0
    }

    /// Reads the configuration from the process's environment and the disk.
    ///
    /// # Errors
    /// Every fault there is, not just the first.
    pub fn load_from_system(file: Option<&Path>) -> Result<Self, ConfigErrors> {
        // A variable that is not UTF-8 counts as not set.
        Self::load(file, &|name| std::env::var(name).ok(), &read_file)
    }
}

/// Whether a host name or address is this machine itself.
fn loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
