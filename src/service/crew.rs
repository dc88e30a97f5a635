//! The crew: one thread for each route, so that nothing that one route meets holds up another.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use super::courier::Courier;
use super::post::Post;
use crate::clock::{Stop, SystemClock, lock};
use crate::config::{Config, Route};
use crate::engine::Overtaking;
use crate::model::RouteName;
use crate::store::Store;
use crate::trigger::{BeatingClock, Bell, Heart, Ring};
use crate::workshop::Workshop;

/// One crew per configuration; the last one is at work, those before finish what they have in hand.
pub(super) struct Crews {
    store: Store,
    doorbell: Doorbell,
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

/// The threads of one route, and how they are spoken to.
struct Hand {
    bell: Bell,
    courier: Bell,
    leave: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Crews {
    /// Nobody at work yet.
    pub(super) const fn new(store: Store, doorbell: Doorbell) -> Self {
        Self { store, doorbell, present: None, dismissed: Vec::new() }
    }

    /// Passes the rings on to every route.
    pub(super) fn ring(&mut self, config: &Arc<Config>, rings: &[Ring], stop: &Stop, heart: &Heart) {
        if self.present.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, config)) {
            self.dismiss();
            let crew = self.muster(config, stop, heart);
            let bells = crew.iter().map(|(route, hand)| (route.clone(), vec![hand.bell.clone(), hand.courier.clone()]));
            *lock(&self.doorbell.0) = bells.collect();
            self.present = Some((config.clone(), crew.into_iter().map(|(_, hand)| hand).collect()));
        }
        for hand in self.present.iter().flat_map(|(_, crew)| crew) {
            rings.iter().for_each(|ring| hand.bell.ring(*ring));
        }
    }

    /// Starts the threads of each route. One that cannot start is said and left out; the next ring tries again.
    fn muster(&self, config: &Arc<Config>, stop: &Stop, heart: &Heart) -> Vec<(RouteName, Hand)> {
        let mut works = Workshop::new(config.clone(), self.store.clone(), "service".to_owned());
        works.stop = stop.clone();
        // Pacing and backoff have limits of their own; while they wait, nothing hangs.
        works.clock = Arc::new(BeatingClock::new(SystemClock, heart.clone()));
        let works = Arc::new(works);
        config.routes.iter().map(|route| (route.name.clone(), hand(&works, route, heart))).collect()
    }

    /// Lets the present crew go when each has finished the pass in hand.
    fn dismiss(&mut self) {
        self.dismissed.retain(|thread| !thread.is_finished());
        for hand in self.present.take().into_iter().flat_map(|(_, crew)| crew) {
            hand.leave.store(true, Ordering::SeqCst);
            hand.bell.nudge();
            hand.courier.nudge();
            self.dismissed.extend(hand.threads);
        }
    }
}

/// Starts the post and the courier of a route.
fn hand(works: &Arc<Workshop>, route: &Route, heart: &Heart) -> Hand {
    let (bell, courier_bell, leave) = (Bell::default(), Bell::default(), Arc::new(AtomicBool::new(false)));
    let overtaking = Overtaking::default();
    let post = Post::new(works.clone(), route.clone(), heart.clone(), overtaking.clone(), courier_bell.clone());
    let courier = Courier::new(works.clone(), route.clone(), heart.clone(), overtaking);
    let mut threads = Vec::new();
    {
        let (bell, leave) = (bell.clone(), leave.clone());
        start(&mut threads, format!("route {}", route.name), move || post.keep(&bell, &leave));
    }
    {
        let (bell, leave) = (courier_bell.clone(), leave.clone());
        start(&mut threads, format!("courier {}", route.name), move || courier.keep(&bell, &leave));
    }
    Hand { bell, courier: courier_bell, leave, threads }
}

fn start(threads: &mut Vec<JoinHandle<()>>, name: String, work: impl FnOnce() + Send + 'static) {
    match std::thread::Builder::new().name(name.clone()).spawn(work) {
        Ok(thread) => threads.push(thread),
        Err(error) => log::error!("{name}: its thread cannot start: {error}"),
    }
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
