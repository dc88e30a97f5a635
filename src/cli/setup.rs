//! From the configuration to what a command works with: store, providers, one engine per route.

use std::sync::Arc;

use super::args::Global;
use super::{Failure, Output};
use crate::clock::{Clock, Stop, SystemClock};
use crate::config::{Config, Route};
use crate::engine::{Engine, Progress, Providers, Quiet};
use crate::model::RouteName;
use crate::store::Store;

/// What a command does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looks only; a database that is not there yet is an empty one, and none is made.
    Read,
    /// Changes it; makes and migrates it if need be.
    Write,
}

/// Everything a command works with.
pub struct Context {
    /// What the operator configured.
    pub config: Config,
    /// The database.
    pub store: Store,
    /// How to answer.
    pub out: Output,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Raised by Ctrl-C and SIGTERM.
    pub stop: Stop,
    /// Who is named in the history: the operator's user name.
    pub actor: String,
    /// Who holds leases: `host:pid:random`.
    pub holder: String,
    /// How much to say: -1 quiet, 0 as usual, more with each `-v`.
    pub loudness: i8,
}

impl Context {
    /// Reads the configuration and opens the database.
    pub fn open(global: &Global, access: Access) -> Result<Self, Failure> {
        let config = load(global)?;
        let store = match access {
            Access::Read => Store::open_for_reading(&config.database)?,
            Access::Write => Store::open(&config.database)?,
        };
        Ok(Self::with(config, store, global))
    }

    /// Over a configuration and a database that stand already.
    pub fn with(config: Config, store: Store, global: &Global) -> Self {
        Self {
            config,
            store,
            out: Output::new(global.json),
            clock: Arc::new(SystemClock),
            stop: Stop::default(),
            actor: operator(),
            holder: holder(),
            loudness: loudness(global),
        }
    }

    /// The routes asked for: the named one, or all.
    pub fn routes(&self, only: Option<&RouteName>) -> Result<Vec<&Route>, Failure> {
        let Some(name) = only else { return Ok(self.config.routes.iter().collect()) };
        match self.config.routes.iter().find(|route| route.name == *name) {
            Some(route) => Ok(vec![route]),
            None => {
                let names: Vec<&str> = self.config.routes.iter().map(|route| route.name.as_str()).collect();
                Err(Failure::new(format!("there is no route {name}"))
                    .hint(format!("the routes are: {}", names.join(", "))))
            }
        }
    }

    /// The two clients of a route. Routes that share a credential share its pace.
    pub fn providers(&self, _route: &Route) -> Result<Providers, Failure> {
        Err(Failure::new("no providers yet"))
    }

    /// The engine of a route, heard by nobody.
    pub fn engine(&self, route: &Route) -> Result<Engine, Failure> {
        self.engine_heard(route, Arc::new(Quiet))
    }

    /// The engine of a route, heard by `progress`.
    pub fn engine_heard(&self, route: &Route, progress: Arc<dyn Progress>) -> Result<Engine, Failure> {
        Ok(Engine {
            route: route.name.clone(),
            rules: route.rules.clone(),
            providers: self.providers(route)?,
            store: self.store.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            patience: self.config.patience,
            holder: self.holder.clone(),
            actor: self.actor.clone(),
            seed: fastrand::u64(..),
            progress,
        })
    }
}

/// Reads the configuration; all its faults at once.
pub fn load(_global: &Global) -> Result<Config, Failure> {
    Err(Failure::new("no configuration yet"))
}

/// The operator's user name, for the history.
fn operator() -> String {
    let named = |name: &str| std::env::var(name).ok().filter(|user| !user.is_empty());
    // sudo's own variable first: "root" says nothing about who it was.
    let user = named("SUDO_USER").or_else(|| named("USER")).or_else(|| named("LOGNAME"));
    user.map_or_else(
        || format!("uid {}", rustix::process::getuid().as_raw()),
        |user| user.chars().filter(|char| !char.is_control()).take(64).collect(),
    )
}

/// Names this process among all that share the database.
fn holder() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}:{:08x}", std::process::id(), fastrand::u32(..))
}

/// -1 quiet, 0 as usual, more with each `-v`.
fn loudness(global: &Global) -> i8 {
    if global.quiet { -1 } else { i8::try_from(global.verbose).unwrap_or(i8::MAX) }
}
