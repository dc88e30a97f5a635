//! The crew: one thread for each route, so that nothing that one route meets holds up another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::courier::Courier;
use super::post::Post;
use super::upkeep::Upkeep;
use crate::clock::{Stop, SystemClock, Timestamp, lock};
use crate::config::{Config, Route};
use crate::engine::Overtaking;
use crate::model::RouteName;
use crate::server::webhooks::Sources;
use crate::store::Store;
use crate::trigger::{BeatingClock, Bell, Heart, Ring};
use crate::workshop::{Present, Workshop};

/// One crew per configuration; the last one is at work, those before finish what they have in hand.
pub(super) struct Crews {
    store: Store,
    doorbell: Doorbell,
    /// The workshop that the listener works with: that of the present crew.
    works: Present,
    sources: Sources,
    /// No pass begins before this.
    not_before: Option<Timestamp>,
    present: Option<(Arc<Config>, Vec<Hand>)>,
    dismissed: Vec<JoinHandle<()>>,
}

/// Rings at the routes of the present crew, from wherever deliveries come in. Clones are the same.
#[derive(Clone, Default)]
pub struct Doorbell(Arc<Mutex<BTreeMap<RouteName, Vec<Bell>>>>);

impl Doorbell {
    /// Rings at one route; one that is not kept in step hears nothing, its items stay due.
    pub fn ring(&self, route: &RouteName, ring: Ring) {
        for bell in lock(&self.0).get(route).into_iter().flatten() {
            bell.ring(ring);
        }
    }
}

/// Threads that belong together, and how they are spoken to.
struct Hand {
    /// One for each thread; of a route the post's first, the courier's second.
    bells: Vec<Bell>,
    /// Whether it looks after the hooks, and after no route.
    hooks: bool,
    leave: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hand {
    fn new(bells: usize, hooks: bool) -> Self {
        let bells = (0..bells).map(|_| Bell::default()).collect();
        Self { bells, hooks, leave: Arc::new(AtomicBool::new(false)), threads: Vec::new() }
    }

    /// Starts the next thread; it hears the bell of its place.
    fn start(&mut self, name: String, work: impl FnOnce(&Bell, &AtomicBool) + Send + 'static) {
        let Some(bell) = self.bells.get(self.threads.len()).cloned() else { return };
        let leave = self.leave.clone();
        match std::thread::Builder::new().name(name.clone()).spawn(move || work(&bell, &leave)) {
            Ok(thread) => self.threads.push(thread),
            Err(error) => log::error!("{name}: its thread cannot start: {error}"),
        }
    }
}

impl Crews {
    /// Nobody at work yet.
    pub(super) const fn new(store: Store, doorbell: Doorbell, works: Present, sources: Sources) -> Self {
        Self { store, doorbell, works, sources, not_before: None, present: None, dismissed: Vec::new() }
    }

    /// Has no pass begin before a moment.
    pub(super) fn hold_back(&mut self, until: Option<Timestamp>) {
        self.not_before = until;
    }

    /// Passes the rings on to every route, and that for the hooks to who looks after them.
    pub(super) fn ring(&mut self, config: &Arc<Config>, rings: &[Ring], stop: &Stop, heart: &Heart) {
        if self.present.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, config)) {
            self.dismiss();
            let crew = self.muster(config, stop, heart);
            self.present = Some((config.clone(), crew));
        }
        for hand in self.present.iter().flat_map(|(_, crew)| crew) {
            for ring in rings.iter().filter(|ring| (**ring == Ring::Hooks) == hand.hooks) {
                hand.bells.iter().take(1).for_each(|bell| bell.ring(*ring));
            }
        }
    }

    /// Starts the threads of each route, and the one that looks after the hooks. One that cannot start is said and
    /// left out; the next reload tries again.
    fn muster(&self, config: &Arc<Config>, stop: &Stop, heart: &Heart) -> Vec<Hand> {
        let mut works = Workshop::new(config.clone(), self.store.clone(), "service".to_owned());
        works.stop = stop.clone();
        works.not_before = self.not_before;
        // Pacing and backoff have limits of their own; while they wait, nothing hangs.
        works.clock = Arc::new(BeatingClock::new(SystemClock, heart.clone()));
        let works = Arc::new(works);
        self.works.replace(works.clone());
        let mut crew: Vec<Hand> = config.routes.iter().map(|route| hand(&works, route, heart)).collect();
        let bells = config.routes.iter().zip(&crew).map(|(route, hand)| (route.name.clone(), hand.bells.clone()));
        *lock(&self.doorbell.0) = bells.collect();
        let mut upkeep = Hand::new(1, true);
        let keeper = Upkeep::new(works, heart.clone(), self.doorbell.clone(), self.sources.clone());
        upkeep.start("hooks".to_owned(), move |bell, leave| keeper.keep(bell, leave));
        crew.push(upkeep);
        crew
    }

    /// Lets the present crew go when each has finished the pass in hand.
    fn dismiss(&mut self) {
        self.dismissed.retain(|thread| !thread.is_finished());
        for hand in self.present.take().into_iter().flat_map(|(_, crew)| crew) {
            hand.leave.store(true, Ordering::SeqCst);
            hand.bells.iter().for_each(Bell::nudge);
            self.dismissed.extend(hand.threads);
        }
    }
}

/// Starts the post and the courier of a route.
fn hand(works: &Arc<Workshop>, route: &Route, heart: &Heart) -> Hand {
    let mut hand = Hand::new(2, false);
    let overtaking = Overtaking::default();
    let courier_bell = hand.bells.last().cloned().unwrap_or_default();
    let post = Post::new(works.clone(), route.clone(), heart.clone(), overtaking.clone(), courier_bell);
    let courier = Courier::new(works.clone(), route.clone(), heart.clone(), overtaking);
    hand.start(format!("route {}", route.name), move |bell, leave| post.keep(bell, leave));
    hand.start(format!("courier {}", route.name), move |bell, leave| courier.keep(bell, leave));
    hand
}

impl Drop for Crews {
    /// Waits for the repairs in hand; the trigger bounds how long.
    fn drop(&mut self) {
        self.dismiss();
        for thread in self.dismissed.drain(..) {
            // A panic was said where it happened.
            let _ = thread.join();
        }
    }
}
