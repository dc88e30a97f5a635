//! From the configuration to what a command works with: store, providers, one engine per route.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use super::args::{Global, Scope};
use super::{Failure, Output, run};
use crate::clock::{Clock, Stop, SystemClock, lock};
use crate::config::{Config, ConfigErrors, Route, Secret, read_file};
use crate::engine::{Engine, Progress, Providers, Quiet, Wake};
use crate::logging;
use crate::model::{BySide, ItemKey, RouteName, Side};
use crate::provider::asana::AsanaClient;
use crate::provider::github::GithubClient;
use crate::provider::http::{Transport, UreqTransport};
use crate::provider::pace::Pace;
use crate::provider::{self, Connection};
use crate::store::{Store, StoreError};

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
    /// Who is named in the history: the operator's user name, or `service`.
    pub actor: String,
    /// Who holds leases: `host:pid:random`.
    pub holder: String,
    /// How much to say: -1 quiet, 0 as usual, more with each `-v`.
    pub loudness: i8,
    /// The one pool of connections, made when first needed.
    transport: OnceLock<Arc<dyn Transport>>,
    /// The pace of each credential, shared by all routes that use it.
    paces: Mutex<Vec<(Side, Secret, Arc<Pace>)>>,
}

impl Context {
    /// Reads the configuration and opens the database.
    pub fn open(global: &Global, access: Access) -> Result<Self, Failure> {
        Self::open_logging(global, access, Usual::Warnings)
    }

    /// The same for work that may be long: where there is no terminal to show a bar on, it is logged.
    pub fn open_for_long_work(global: &Global) -> Result<Self, Failure> {
        let watched = std::io::stderr().is_terminal();
        Self::open_logging(global, Access::Write, if watched { Usual::Warnings } else { Usual::Passes })
    }

    /// The same for looking after what is wrong: a database that cannot be opened is one thing among
    /// others, told beside an empty one in its place.
    pub fn open_to_check(global: &Global) -> Result<(Self, Option<StoreError>), Failure> {
        let config = configured(global, Usual::Warnings)?;
        let (store, trouble) = match Store::open_for_reading(&config.database) {
            Ok(store) => (store, None),
            Err(error) => (Store::in_memory()?, Some(error)),
        };
        Ok((Self::interruptible(config, store, global), trouble))
    }

    fn open_logging(global: &Global, access: Access, usual: Usual) -> Result<Self, Failure> {
        let config = configured(global, usual)?;
        let store = match access {
            Access::Read => Store::open_for_reading(&config.database)?,
            Access::Write => Store::open(&config.database)?,
        };
        Ok(Self::interruptible(config, store, global))
    }

    fn interruptible(config: Config, store: Store, global: &Global) -> Self {
        let context = Self::with(config, store, global);
        super::interrupt::raise(&context.stop, context.loudness >= 0);
        context
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
            transport: OnceLock::new(),
            paces: Mutex::new(Vec::new()),
        }
    }

    /// The routes asked for: the named one, or all.
    pub fn routes(&self, only: Option<&RouteName>) -> Result<Vec<&Route>, Failure> {
        let Some(name) = only else { return Ok(self.config.routes.iter().collect()) };
        match self.config.routes.iter().find(|route| route.name == *name) {
            Some(route) => Ok(vec![route]),
            None => Err(Failure::new(format!("there is no route {name}"))
                .hint(format!("the routes are: {}", self.route_names()))),
        }
    }

    /// The routes of a pass or plan: the named one, or those that may hold the items named, or all.
    pub fn routes_for(&self, scope: &Scope) -> Result<Vec<&Route>, Failure> {
        let mut routes = self.routes(scope.route.as_ref())?;
        if scope.only.is_empty() {
            return Ok(routes);
        }
        let mut kept = Vec::new();
        for item in &scope.only {
            let mut found = false;
            for route in &routes {
                if self.may_hold(route, item)? {
                    found = true;
                    kept.push(route.name.clone());
                }
            }
            if !found {
                return Err(Failure::new(format!("{item} is on none of the routes looked at"))
                    .hint(format!("the routes are: {}", self.route_names())));
            }
        }
        routes.retain(|route| kept.contains(&route.name));
        Ok(routes)
    }

    /// What a pass over one route looks at. An item named brings its partner: an operator means the pair,
    /// and does not know which of the two moved.
    pub fn wake_for(&self, route: &Route, scope: &Scope) -> Result<Wake, Failure> {
        let mut own = scope.clone();
        own.only.clear();
        for item in &scope.only {
            if !self.may_hold(route, item)? {
                continue;
            }
            let pair = match self.store.link_of(item)? {
                Some(link) => Side::BOTH.map(|side| link.key(side)).to_vec(),
                None => vec![item.clone()],
            };
            own.only.extend(pair);
        }
        own.only.sort();
        own.only.dedup();
        Ok(run::wake(&own))
    }

    /// Whether an item may stand on a route: its link says so, or, without one, its repository. A task
    /// that is not linked may stand on any.
    fn may_hold(&self, route: &Route, item: &ItemKey) -> Result<bool, Failure> {
        if let Some(link) = self.store.link_of(item)? {
            return Ok(link.route == route.name);
        }
        Ok(match item {
            ItemKey::Task(_) => true,
            ItemKey::Issue(issue) => issue.repo == route.repo,
        })
    }

    /// All routes by name, for a message.
    fn route_names(&self) -> String {
        let names: Vec<String> = self
            .config
            .routes
            .iter()
            .map(|route| format!("{} (asana project {}, github {})", route.name, route.project, route.repo))
            .collect();
        names.join(", ")
    }

    /// The two clients of a route. Routes that share a credential share its pace; all share one pool of
    /// connections.
    pub fn providers(&self, route: &Route) -> Result<Providers, Failure> {
        let transport = self.transport()?;
        let connection = |side: Side| Connection {
            transport: transport.clone(),
            base_url: self.config.network.base_urls[side].clone(),
            token: route.tokens[side].clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
            pace: self.pace(side, &route.tokens[side]),
            call_timeout: self.config.network.call_timeout,
            seed: fastrand::u64(..),
        };
        let asana = AsanaClient::new(connection(Side::Tracker), route.project.clone(), &route.rules);
        let github = GithubClient::new(connection(Side::Forge), route.repo.clone(), &route.rules);
        let tracker: Arc<dyn provider::Write> = Arc::new(asana);
        let forge: Arc<dyn provider::Write> = Arc::new(github);
        Ok(BySide { tracker, forge })
    }

    fn transport(&self) -> Result<Arc<dyn Transport>, Failure> {
        if let Some(transport) = self.transport.get() {
            return Ok(transport.clone());
        }
        let made: Arc<dyn Transport> = Arc::new(UreqTransport::new(&self.config.network).map_err(Failure::new)?);
        Ok(self.transport.get_or_init(|| made).clone())
    }

    fn pace(&self, side: Side, token: &Secret) -> Arc<Pace> {
        let mut paces = lock(&self.paces);
        if let Some((_, _, pace)) = paces.iter().find(|(known, secret, _)| *known == side && secret == token) {
            return pace.clone();
        }
        let pace = Arc::new(match side {
            Side::Tracker => Pace::asana(&self.config.network),
            Side::Forge => Pace::github(&self.config.network),
        });
        paces.push((side, token.clone(), pace.clone()));
        pace
    }

    /// The engine of a route, heard by nobody.
    pub fn engine(&self, route: &Route) -> Result<Engine, Failure> {
        self.engine_heard(route, Arc::new(Quiet))
    }

    /// The engine of a route, heard by `progress`.
    pub fn engine_heard(&self, route: &Route, progress: Arc<dyn Progress>) -> Result<Engine, Failure> {
        Ok(Engine {
            route: route.name.clone(),
            project: route.project.clone(),
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

/// The configuration, read and spoken of in the log.
fn configured(global: &Global, usual: Usual) -> Result<Config, Failure> {
    let config = load(global)?;
    start_log(global, &config, usual);
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}

/// Where a configuration is looked for when none is named, in this order.
const USUAL_FILES: [&str; 2] = ["config.toml", "/etc/evenkeel/config.toml"];

/// Reads the configuration; all its faults at once.
pub fn load(global: &Global) -> Result<Config, Failure> {
    let (file, config) = read(global);
    config.map_err(|errors| {
        let failure = Failure::new(errors.to_string());
        match file {
            Some(_) => failure.hint("config.toml.example shows every key with its unit and default"),
            None => failure.hint(
                "no configuration file was named or found: set ASANA_PAT, ASANA_PROJECT_GID, GITHUB_TOKEN and \
                 GITHUB_REPO, or write a config.toml after config.toml.example; `evenkeel demo` needs neither",
            ),
        }
    })
}

/// Reads the file named, the first found in a usual place, or the environment alone; says which file.
pub fn read(global: &Global) -> (Option<PathBuf>, Result<Config, ConfigErrors>) {
    let file = global.config.clone().or_else(|| USUAL_FILES.iter().map(PathBuf::from).find(|file| file.exists()));
    let config = Config::load_from_system(file.as_deref());
    (file, config)
}

/// Reads a configuration file with an environment of its own.
pub fn load_file(file: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Failure> {
    Config::load(Some(file), env, &read_file).map_err(|errors| Failure::new(errors.to_string()))
}

/// How much is logged without `-v`, `-q` and `RUST_LOG`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usual {
    /// What went wrong or was mended: for commands whose answer says the rest.
    Warnings,
    /// One line per pass and per repair besides: for the service, and for long work nobody watches.
    Passes,
}

/// Starts logging to standard error, around a progress bar if there is one.
pub fn start_log(global: &Global, config: &Config, usual: Usual) {
    let wanted = std::env::var("RUST_LOG").ok();
    // The logger counts from one line per pass; a command that says less begins one step below.
    let (loudness, least) = match (usual, loudness(global)) {
        (_, ..=-1) => (-1, None),
        (Usual::Passes, loudness) => (loudness, None),
        (Usual::Warnings, 0) => (0, Some("warn".to_owned())),
        (Usual::Warnings, loudness) => (loudness - 1, None),
    };
    let filter = wanted.filter(|wanted| !wanted.trim().is_empty()).or(least);
    logging::init_to(config.log, loudness, filter.as_deref(), Box::new(super::progress::AroundBar));
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
