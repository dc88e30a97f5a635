//! A rig with the service's front door: the sandbox's hooks lead to it, and what they bring is visited when told.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::clock::Clock as _;
use evenkeel::config::{Config, SourceFile};
use evenkeel::engine::{Engine, PassOptions, Report, Wake};
use evenkeel::hooks::{Keeper, subjects};
use evenkeel::model::BySide;
use evenkeel::provider::http::{Request, Response, Transport, TransportError};
use evenkeel::sandbox::Permission;
use evenkeel::server::api::Api;
use evenkeel::server::front::Front;
use evenkeel::server::sources::AllowList;
use evenkeel::server::turned_away::TurnedAway;
use evenkeel::server::webhooks::Webhooks;
use evenkeel::store::Store;
use evenkeel::trigger::Ring;
use evenkeel::workshop::{Present, Workshop};
use zeroize::Zeroizing;

pub use crate::support::knock::PUBLIC_URL;
use crate::support::knock::knock;
use crate::support::rig::Rig;

/// A rig, its hooks, and the front that takes their deliveries.
pub struct Station {
    pub rig: Rig,
    pub works: Arc<Workshop>,
    pub door: Arc<Door>,
    rings: Arc<Mutex<Vec<Ring>>>,
}

/// The way from the sandbox to the front, without a network.
pub struct Door {
    front: Arc<Front>,
    count: AtomicU64,
    /// Every request that came, for replays.
    pub came: Mutex<Vec<Request>>,
}

impl Door {
    /// Hands a request in.
    pub fn knock(&self, request: &Request) -> Response {
        knock(&self.front, request, self.count.fetch_add(1, Ordering::Relaxed))
    }
}

impl Transport for Door {
    fn send(&self, request: &Request, _deadline: Duration) -> Result<Response, TransportError> {
        self.came.lock().expect("the lock").push(request.clone());
        Ok(self.knock(request))
    }
}

/// The configuration that fits a rig.
fn config(rig: &Rig) -> Config {
    let text = format!(
        "[asana]\ntoken = {{ env = \"A\" }}\nbase_url = \"{}\"\n[github]\ntoken = {{ env = \"G\" }}\nbase_url = \"{}\"\n\
         [webhooks]\npublic_url = \"{PUBLIC_URL}\"\nseal_key = {{ env = \"K\" }}\n\
         [[route]]\nname = \"{}\"\nasana_project = \"{}\"\ngithub_repo = \"{}\"\n",
        rig.base_urls.tracker,
        rig.base_urls.forge,
        Rig::route(),
        rig.project.gid,
        rig.repo.name
    );
    let env = |name: &str| match name {
        "A" => Some(rig.project.token.clone()),
        "G" => Some(rig.repo.token.clone()),
        "K" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        _ => None,
    };
    let read = |_: &Path| Ok(SourceFile { text: Zeroizing::new(text.clone()), open_to_all: false });
    let mut config = Config::load(Some(Path::new("config.toml")), &env, &read).unwrap_or_else(|e| panic!("{e}"));
    config.routes[0].rules = rig.rules.clone();
    config.patience = rig.patience;
    config
}

impl Station {
    pub fn new() -> Self {
        Self::over(Rig::new())
    }

    pub fn in_memory(seed: u64) -> Self {
        Self::over(Rig::in_memory(seed))
    }

    pub fn on(store: Store) -> Self {
        Self::over(Rig::on(store, 11))
    }

    /// Opens the door and makes the hooks, past the first heartbeats and pings.
    pub fn over(rig: Rig) -> Self {
        let station = Self::without_hooks(rig);
        station.ensure();
        station.deliver();
        station.take_rings();
        station.rig.sandbox.log().reset();
        station
    }

    pub fn without_hooks(rig: Rig) -> Self {
        let mut works = Workshop::new(Arc::new(config(&rig)), rig.store.clone(), "service".to_owned());
        works.clock = rig.clock.clone();
        works.send_through(rig.sandbox.transport());
        let works = Arc::new(works);
        let present = Present::new(works.clone());
        let rings: Arc<Mutex<Vec<Ring>>> = Arc::default();
        let rung = rings.clone();
        let ring = Arc::new(move |_: &_, ring| rung.lock().expect("the lock").push(ring));
        let turned_away = Arc::new(TurnedAway::new(present.clone()));
        let everybody = BySide::from_fn(|_| AllowList::everybody());
        let webhooks = Arc::new(Webhooks::new(present.clone(), ring, turned_away, everybody));
        let front = Front::new(present.clone(), webhooks, Api::new(present), Arc::new(AtomicBool::new(true)));
        let door = Arc::new(Door { front: Arc::new(front), count: AtomicU64::new(0), came: Mutex::default() });
        rig.sandbox.webhooks().send_through(door.clone());
        rig.sandbox.github().permit(&rig.repo.name, &rig.sandbox.github().bot(), Permission::Admin);
        Self { rig, works, door, rings }
    }

    pub fn front(&self) -> Arc<Front> {
        self.door.front.clone()
    }

    /// Looks after the hooks, and makes them where there are none.
    pub fn ensure(&self) {
        let keeper = Keeper::new(&self.works).expect("a public address");
        let reports = keeper.ensure(&subjects(&self.works.config)).unwrap_or_else(|error| panic!("{error}"));
        for report in reports {
            // That a delivery failed is told for as long as none came through since.
            let trouble = report.trouble.filter(|trouble| !trouble.contains("its last delivery failed"));
            assert_eq!(trouble, None, "{}", report.resource);
            if !report.wake.is_empty() {
                self.rings.lock().expect("the lock").push(Ring::Heard);
            }
        }
    }

    /// Another process over the same database, with the same hooks leading to it.
    pub fn restarted(self, store: Store) -> Self {
        let mut rig = self.rig;
        rig.store = store;
        Self::without_hooks(rig)
    }

    /// A little later everything that is due is delivered; answers how many attempts that made.
    pub fn deliver(&self) -> usize {
        self.rig.clock.advance(Duration::from_secs(3));
        self.rig.sandbox.webhooks().deliver_due()
    }

    pub fn take_rings(&self) -> Vec<Ring> {
        let mut rings = std::mem::take(&mut *self.rings.lock().expect("the lock"));
        rings.sort_unstable();
        rings.dedup();
        rings
    }

    /// Makes the passes that were rung for, as the service does; answers their reports.
    pub fn visit(&self, engine: &Engine) -> Vec<Report> {
        let mut reports = Vec::new();
        for ring in self.take_rings() {
            let wake = match ring {
                Ring::Heard => Wake::Retry,
                Ring::Poll => Wake::Poll { belt: false },
                Ring::Sweep => Wake::Sweep,
                other => panic!("{other:?} is rung by no delivery"),
            };
            let options = PassOptions { cause: "webhook".to_owned(), ..PassOptions::default() };
            reports.push(engine.pass(&wake, &options).unwrap_or_else(|error| panic!("{wake:?}: {error}")));
        }
        reports
    }

    /// Delivers and visits until nothing is told any more: our own echoes end by themselves.
    pub fn bustle(&self, engine: &Engine) -> Vec<Report> {
        let mut reports = Vec::new();
        for _ in 0..20 {
            let sent = self.deliver();
            let visits = self.visit(engine);
            if sent == 0 && visits.is_empty() {
                return reports;
            }
            reports.extend(visits);
        }
        panic!("deliveries call forth deliveries without end: {:#?}", self.rig.sandbox.webhooks().sent());
    }

    /// Reads and writes on both sides since the log was last reset.
    pub fn requests(&self) -> (u64, u64) {
        let counts = self.rig.sandbox.log().counts();
        (counts.tracker.reads + counts.forge.reads, counts.tracker.writes + counts.forge.writes)
    }

    /// What is due on the route, ripe or not, parked or not.
    pub fn due(&self) -> Vec<String> {
        let far = evenkeel::model::Timestamp::MAX;
        let mut dues = self.rig.store.due(&Rig::route(), far, 1_000).expect("answers");
        dues.extend(self.rig.store.parked(None).expect("answers"));
        dues.iter().map(|due| format!("{} ({}, {:?})", due.item, due.reason, due.last_error)).collect()
    }

    pub fn now(&self) -> evenkeel::model::Timestamp {
        self.rig.clock.now()
    }
}
