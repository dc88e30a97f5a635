//! The service: the trigger rings, one thread per route makes the passes, until a signal ends it.

mod courier;
mod crew;
mod heard;
mod post;
pub mod starts;
mod upkeep;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::clock::{Clock as _, Stop, SystemClock, Timestamp};
use crate::config::{Config, ConfigErrors};
use crate::model::RouteName;
use crate::server::Listener;
use crate::server::api::Api;
use crate::server::front::Front;
use crate::server::sources::AllowList;
use crate::server::turned_away::TurnedAway;
use crate::server::webhooks::{Sources, Webhooks};
use crate::store::Store;
use crate::trigger::{ExitReason, Heart, Ring, serve};
use crate::workshop::{Present, Workshop, holder};

pub use courier::Courier;
use crew::Crews;
pub use crew::Doorbell;
pub use post::Post;
use starts::Start;
pub use upkeep::Upkeep;

/// Runs until a signal ends it; `reload` reads the configuration anew when asked to.
pub fn run<R>(config: Config, store: Store, reload: R) -> ExitReason
where
    R: Fn() -> Result<Config, ConfigErrors>,
{
    log::info!("evenkeel {} over {}: {}", env!("CARGO_PKG_VERSION"), config.database, routes(&config));
    let start = Start::begin(&store, &holder(), config.schedule.starts_free, SystemClock.now());
    let mut staff = match Staff::hire(&config, store.clone()) {
        Ok(staff) => staff,
        Err(why) => return ExitReason::Failed(why),
    };
    staff.hold_back(start.not_before);
    match staff.address() {
        Some(address) => log::info!("listening at {address}"),
        None if config.listen.is_some() => log::info!("listening"),
        None if config.webhooks.public_url.is_some() || config.admin.on() => {
            log::warn!("nothing listens: hooks and the admin interface need an address in [listen]");
        }
        None => {}
    }
    let reason = serve(config, reload, move |config, rings, stop, heart| staff.ring(config, rings, stop, heart));
    match reason {
        // Somebody asked for the end.
        ExitReason::Stopped | ExitReason::Interrupted | ExitReason::Overdue => start.end(&store, SystemClock.now()),
        ExitReason::Failed(_) => {}
    }
    reason
}

/// Everybody at work: the threads of the routes and of the hooks, and the listener. Dropped, the routes finish the
/// repair in hand while deliveries are still taken in; then the listener ends.
pub struct Staff {
    crews: Crews,
    ready: Arc<AtomicBool>,
    listener: Option<Listener>,
}

impl Staff {
    /// Starts the listener, if one is configured; the routes are kept in step from the first ring on.
    ///
    /// # Errors
    /// When the listener cannot be started: why, and what to do.
    pub fn hire(config: &Config, store: Store) -> Result<Self, String> {
        let doorbell = Doorbell::default();
        let works = Workshop::new(Arc::new(config.clone()), store.clone(), "service".to_owned());
        let present = Present::new(Arc::new(works));
        let ready = Arc::new(AtomicBool::new(false));
        let sources = Sources::from_fn(|_| AllowList::everybody());
        let listener = match &config.listen {
            None => None,
            Some(settings) => {
                let front = front(&present, &doorbell, &ready, sources.clone());
                Some(Listener::start(settings, Arc::new(front), fastrand::u64(..))?)
            }
        };
        Ok(Self { crews: Crews::new(store, doorbell, present, sources), ready, listener })
    }

    /// Has no pass begin before a moment, because the service was started over and over.
    pub fn hold_back(&mut self, until: Option<Timestamp>) {
        self.crews.hold_back(until);
    }

    /// Passes rings on, under the present configuration.
    pub fn ring(&mut self, config: &Arc<Config>, rings: &[Ring], stop: &Stop, heart: &Heart) {
        self.crews.ring(config, rings, stop, heart);
        self.ready.store(true, Ordering::Relaxed);
    }

    /// Where the listener is, if it is on TCP.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().and_then(Listener::address)
    }
}

/// What the listener serves.
fn front(present: &Present, doorbell: &Doorbell, ready: &Arc<AtomicBool>, sources: Sources) -> Front {
    let turned_away = Arc::new(TurnedAway::new(present.clone()));
    let bells = doorbell.clone();
    let ring = Arc::new(move |route: &RouteName, ring: Ring| bells.ring(route, ring));
    let webhooks = Arc::new(Webhooks::new(present.clone(), ring, turned_away, sources));
    let bells = doorbell.clone();
    let api = Api::new(present.clone()).ringing(move |route, ring| bells.ring(route, ring));
    Front::new(present.clone(), webhooks, api, ready.clone())
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
