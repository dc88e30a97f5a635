//! The service: the trigger rings, one thread per route makes the passes, until a signal ends it.

mod courier;
mod crew;
mod heard;
mod post;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::config::{Config, ConfigErrors};
use crate::server::Listener;
use crate::server::api::Api;
use crate::server::front::Front;
use crate::server::sources::AllowList;
use crate::server::turned_away::TurnedAway;
use crate::server::webhooks::{Sources, Webhooks};
use crate::store::Store;
use crate::trigger::{ExitReason, Ring, serve};
use crate::workshop::{Present, Workshop};

use crew::{Crews, Doorbell};

/// How long requests in hand may take when the service ends: the longest admin call but for those that a provider
/// keeps waiting.
const LISTENER_GRACE: Duration = Duration::from_secs(5);

/// Runs until a signal ends it; `reload` reads the configuration anew when asked to.
pub fn run<R>(config: Config, store: Store, reload: R) -> ExitReason
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    log::info!("evenkeel {} over {}: {}", env!("CARGO_PKG_VERSION"), config.database, routes(&config));
    let doorbell = Doorbell::default();
    let works = Workshop::new(Arc::new(config.clone()), store.clone(), "service".to_owned());
    let present = Present::new(Arc::new(works));
    let ready = Arc::new(AtomicBool::new(false));
    let sources = Sources::from_fn(|_| AllowList::everybody());
    let listener = match listen(&config, &present, &doorbell, &ready, sources.clone()) {
        Ok(listener) => listener,
        Err(why) => return ExitReason::Failed(why),
    };
    let mut crews = Crews::new(store, doorbell, present, sources);
    let reason = serve(config, reload, move |config, rings, stop, heart| {
        crews.ring(config, rings, stop, heart);
        ready.store(true, Ordering::Relaxed);
    });
    if let Some(listener) = listener
        && !listener.stop(LISTENER_GRACE)
    {
        log::warn!("a request did not end within {} s and was left", LISTENER_GRACE.as_secs());
    }
    reason
}

/// Starts the listener, if one is configured.
fn listen(
    config: &Config,
    present: &Present,
    doorbell: &Doorbell,
    ready: &Arc<AtomicBool>,
    sources: Sources,
) -> Result<Option<Listener>, String> {
    let Some(settings) = &config.listen else {
        if config.webhooks.public_url.is_some() || config.admin.on() {
            log::warn!("nothing listens: hooks and the admin interface need an address in [listen]");
        }
        return Ok(None);
    };
    let turned_away = Arc::new(TurnedAway::new(present.clone()));
    let bells = doorbell.clone();
    let ring = Arc::new(move |route: &crate::model::RouteName, ring: Ring| bells.ring(route, ring));
    let webhooks = Arc::new(Webhooks::new(present.clone(), ring, turned_away, sources));
    let bells = doorbell.clone();
    let api = Api::new(present.clone()).ringing(move |route, ring| bells.ring(route, ring));
    let front = Front::new(present.clone(), webhooks, api, ready.clone());
    let listener = Listener::start(settings, Arc::new(front), fastrand::u64(..))?;
    match listener.address() {
        Some(address) => log::info!("listening at {address}"),
        None => log::info!("listening"),
    }
    Ok(Some(listener))
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
