//! From the configuration to what a command works with: store, providers, one engine per route.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::args::{Global, Scope};
use super::{Failure, Output, run};
use crate::config::{Config, ConfigErrors, Route, read_file};
use crate::engine::Wake;
use crate::logging;
use crate::model::{ItemKey, RouteName, Side};
use crate::store::{Store, StoreError};
use crate::workshop::{Accounts, Workshop};

/// What a command does with the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Looks only; a database that is not there yet is an empty one, and none is made.
    Read,
    /// Changes it; makes and migrates it if need be.
    Write,
}

/// Everything a command works with: a workshop, and a way to answer.
pub struct Context {
    /// Configuration, database, and what engines are made of.
    works: Workshop,
    /// How to answer.
    pub out: Output,
    /// How much to say: -1 quiet, 0 as usual, more with each `-v`.
    pub loudness: i8,
}

impl std::ops::Deref for Context {
    type Target = Workshop;

    fn deref(&self) -> &Workshop {
        &self.works
    }
}

impl std::ops::DerefMut for Context {
    fn deref_mut(&mut self) -> &mut Workshop {
        &mut self.works
    }
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
        let mut context = Self::interruptible(config, store, global);
        context.accounts = Accounts::Beside(OnceLock::new());
        Ok((context, trouble))
    }

    fn open_logging(global: &Global, access: Access, usual: Usual) -> Result<Self, Failure> {
        let config = configured(global, usual)?;
        let store = match access {
            Access::Read => Store::open_for_reading(&config.database)?,
            Access::Write => Store::open(&config.database)?,
        }
        .leasing(config.lease);
        let mut context = Self::interruptible(config, store, global);
        if access == Access::Read {
            context.accounts = Accounts::Beside(OnceLock::new());
        }
        Ok(context)
    }

    fn interruptible(config: Config, store: Store, global: &Global) -> Self {
        let context = Self::with(config, store, global);
        super::interrupt::raise(&context.stop, context.loudness >= 0);
        context
    }

    /// Over a configuration and a database that stand already.
    pub fn with(config: Config, store: Store, global: &Global) -> Self {
        let mut works = Workshop::new(Arc::new(config), store, operator());
        // Who types a command has perhaps just mended what was wrong.
        works.insists = true;
        Self { works, out: Output::new(global.json), loudness: loudness(global) }
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

/// -1 quiet, 0 as usual, more with each `-v`.
fn loudness(global: &Global) -> i8 {
    if global.quiet { -1 } else { i8::try_from(global.verbose).unwrap_or(i8::MAX) }
}
