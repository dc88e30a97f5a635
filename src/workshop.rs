//! The workshop: what a process needs to make engines, one pool of connections and one pace for each credential.
//!
//! The pace of a credential is paid out of an account in the database, which all processes that use it share.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use fastrand::Rng;

use crate::clock::{Clock, Stop, SystemClock, Timestamp, lock};
use crate::config::{Config, Route, Secret};
use crate::engine::{Engine, Progress, Providers, Quiet};
use crate::model::{BySide, Side};
use crate::provider::asana::AsanaClient;
use crate::provider::github::GithubClient;
use crate::provider::http::{Transport, UreqTransport};
use crate::provider::pace::Pace;
use crate::provider::{self, Connection};
use crate::store::{Keeping, Store, migrate};

/// Configuration, database, time, network: what engines are made of.
pub struct Workshop {
    /// What the operator configured.
    pub config: Arc<Config>,
    /// The database.
    pub store: Store,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Raised when the process is to end.
    pub stop: Stop,
    /// Who is named in the history: the operator's user name, or `service`.
    pub actor: String,
    /// Who holds leases: `host:pid:random`.
    pub holder: String,
    /// Chance: the jitter of waits.
    pub chance: Mutex<Rng>,
    /// Where the accounts are kept that all processes share.
    pub accounts: Accounts,
    /// A person asked for what is sent: it may try although a breaker is open.
    pub insists: bool,
    /// The service keeps quiet until then: it was started over and over.
    pub not_before: Option<Timestamp>,
    /// The one pool of connections, made when first needed.
    transport: OnceLock<Arc<dyn Transport>>,
    /// The pace of each credential, shared by all routes that use it.
    paces: Mutex<Vec<(Side, Secret, Arc<Pace>)>>,
}

/// The workshop of the present configuration: read anew, it is replaced. Clones are the same place.
#[derive(Clone)]
pub struct Present(Arc<Mutex<Arc<Workshop>>>);

impl Present {
    /// Begins with `works`.
    pub fn new(works: Arc<Workshop>) -> Self {
        Self(Arc::new(Mutex::new(works)))
    }

    /// The present one; who has it may go on using it after a newer one took its place.
    pub fn get(&self) -> Arc<Workshop> {
        lock(&self.0).clone()
    }

    /// Puts another in its place.
    pub fn replace(&self, works: Arc<Workshop>) {
        *lock(&self.0) = works;
    }
}

/// How much of a provider's limits work may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Haste {
    /// All but the share that is kept for urgent work.
    Bulk,
    /// All.
    Urgent,
}

/// Where the accounts of the credentials are kept.
#[derive(Debug)]
pub enum Accounts {
    /// In the database that is worked with.
    Here,
    /// In the same database, which is otherwise only looked at: opened for this when first needed.
    Beside(OnceLock<Option<Store>>),
}

/// Why no connection can be made at all: the certificates configured are no good. For a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unequipped(pub String);

impl fmt::Display for Unequipped {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unequipped {}

impl Workshop {
    /// Over a configuration and a database, in the system's time.
    pub fn new(config: Arc<Config>, store: Store, actor: String) -> Self {
        Self {
            config,
            store,
            clock: Arc::new(SystemClock),
            stop: Stop::default(),
            actor,
            holder: holder(),
            chance: Mutex::new(Rng::new()),
            accounts: Accounts::Here,
            insists: false,
            not_before: None,
            transport: OnceLock::new(),
            paces: Mutex::new(Vec::new()),
        }
    }

    /// Sends every request this way; has no effect once something was sent another way.
    pub fn send_through(&self, transport: Arc<dyn Transport>) {
        let _ = self.transport.set(transport);
    }

    /// The two clients of a route. Routes that share a credential share its pace; all share one pool of
    /// connections.
    pub fn providers(&self, route: &Route) -> Result<Providers, Unequipped> {
        self.providers_at(route, Haste::Bulk)
    }

    fn providers_at(&self, route: &Route, haste: Haste) -> Result<Providers, Unequipped> {
        let asana = self.connection(route, Side::Tracker, haste)?;
        let github = self.connection(route, Side::Forge, haste)?;
        let asana = AsanaClient::new(asana, route.project.clone(), &route.rules);
        let github = GithubClient::new(github, route.repo.clone(), &route.rules);
        let tracker: Arc<dyn provider::Write> = Arc::new(asana);
        let forge: Arc<dyn provider::Write> = Arc::new(github);
        Ok(BySide { tracker, forge })
    }

    /// How one side of a route is reached.
    pub fn connection(&self, route: &Route, side: Side, haste: Haste) -> Result<Connection, Unequipped> {
        let pace = self.pace(side, &route.tokens[side]);
        Ok(Connection {
            transport: self.transport()?,
            base_url: self.config.network.base_urls[side].clone(),
            token: route.tokens[side].clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            pace: match haste {
                Haste::Bulk => pace,
                Haste::Urgent => Arc::new(pace.urgent()),
            },
            call_timeout: self.config.network.call_timeout,
            seed: lock(&self.chance).u64(..),
        })
    }

    fn transport(&self) -> Result<Arc<dyn Transport>, Unequipped> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport.clone());
        }
        let made: Arc<dyn Transport> = Arc::new(UreqTransport::new(&self.config.network).map_err(Unequipped)?);
        Ok(self.transport.get_or_init(|| made).clone())
    }

    fn pace(&self, side: Side, token: &Secret) -> Arc<Pace> {
        let mut paces = lock(&self.paces);
        if let Some((_, _, pace)) = paces.iter().find(|(known, secret, _)| *known == side && secret == token) {
            return pace.clone();
        }
        let mut pace = Pace::of(side, &self.config.network);
        if let Some(store) = self.account_store() {
            let base_url = self.config.network.base_urls[side].clone();
            let keeping = Keeping::new(store, side, base_url, token.clone(), self.clock.clone());
            pace = pace.kept(Arc::new(keeping), &self.holder, self.insists);
        }
        let pace = Arc::new(pace);
        paces.push((side, token.clone(), pace.clone()));
        pace
    }

    /// Where the accounts are kept; nowhere, where no other process can be using this database.
    fn account_store(&self) -> Option<Store> {
        match &self.accounts {
            Accounts::Here => Some(self.store.clone()),
            Accounts::Beside(opened) => opened
                .get_or_init(|| {
                    let url = &self.config.database;
                    // One that is not there yet, or of another version, is made or brought up to date by who writes.
                    let current = migrate::applied(url).is_ok_and(|applied| applied == migrate::known());
                    // Where it may not be written, asking for a share fails, and a small one is taken.
                    current.then(|| Store::open(url).unwrap_or_else(|_| self.store.clone()))
                })
                .clone(),
        }
    }

    /// Until when nothing is to be sent for the route, as far as this process knows, and why: a side is left in peace
    /// by its breaker, or the service was started over and over.
    pub fn resting(&self, route: &Route) -> Option<(Timestamp, String)> {
        let now = self.clock.now();
        let held = self.not_before.filter(|until| now < *until);
        let held = held.map(|until| (until, "the service was started over and over".to_owned()));
        let sides = Side::BOTH.into_iter().filter_map(|side| self.pace(side, &route.tokens[side]).resting(now));
        sides.chain(held).max()
    }

    /// The engine of a route, heard by nobody.
    pub fn engine(&self, route: &Route) -> Result<Engine, Unequipped> {
        self.engine_heard(route, Arc::new(Quiet))
    }

    /// The engine of a route, heard by `progress`.
    pub fn engine_heard(&self, route: &Route, progress: Arc<dyn Progress>) -> Result<Engine, Unequipped> {
        self.engine_at(route, progress, Haste::Bulk)
    }

    /// The engine of a route for what somebody waits for: it may use the reserved share of the limits.
    pub fn urgent_engine(&self, route: &Route, progress: Arc<dyn Progress>) -> Result<Engine, Unequipped> {
        self.engine_at(route, progress, Haste::Urgent)
    }

    fn engine_at(&self, route: &Route, progress: Arc<dyn Progress>, haste: Haste) -> Result<Engine, Unequipped> {
        Ok(Engine {
            route: route.name.clone(),
            project: route.project.clone(),
            rules: route.rules.clone(),
            providers: self.providers_at(route, haste)?,
            store: self.store.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            patience: self.config.patience,
            holder: self.holder.clone(),
            actor: self.actor.clone(),
            seed: lock(&self.chance).u64(..),
            progress,
        })
    }
}

/// Names this process among all that share the database.
pub fn holder() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}:{:08x}", std::process::id(), fastrand::u32(..))
}
