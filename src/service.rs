//! The service: the trigger rings, one thread per route makes the passes, until a signal ends it.

mod courier;
mod crew;
mod heard;
mod post;

use crate::config::{Config, ConfigErrors};
use crate::store::Store;
use crate::trigger::{ExitReason, serve};

use crew::{Crews, Doorbell};

/// Runs until a signal ends it; `reload` reads the configuration anew when asked to.
pub fn run<R>(config: Config, store: Store, reload: R) -> ExitReason
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    log::info!("evenkeel {} over {}: {}", env!("CARGO_PKG_VERSION"), config.database, routes(&config));
    let mut crews = Crews::new(store, Doorbell::default());
    serve(config, reload, move |config, rings, stop, heart| crews.ring(config, rings, stop, heart))
}

/// The routes, for the first line of the log.
fn routes(config: &Config) -> String {
    let routes: Vec<String> = config
        .routes
        .iter()
        .map(|route| format!("{} (asana {} <-> github {})", route.name, route.project, route.repo))
        .collect();
    routes.join(", ")
}
