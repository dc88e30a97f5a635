//! The crew: one thread for each route, so that nothing that one route meets holds up another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::post::Post;
use crate::clock::{Stop, SystemClock};
use crate::config::Config;
use crate::store::Store;
use crate::trigger::{BeatingClock, Bell, Heart, Ring};
use crate::workshop::Workshop;

/// One crew per configuration; the last one is at work, those before finish what they have in hand.
pub(super) struct Crews {
    store: Store,
    present: Option<(Arc<Config>, Vec<Hand>)>,
    dismissed: Vec<JoinHandle<()>>,
}

/// The thread of one route, and how it is spoken to.
struct Hand {
    bell: Bell,
    leave: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Crews {
    /// Nobody at work yet.
    pub(super) const fn new(store: Store) -> Self {
        Self { store, present: None, dismissed: Vec::new() }
    }

    /// Passes the rings on to every route.
    pub(super) fn ring(&mut self, config: &Arc<Config>, rings: &[Ring], stop: &Stop, heart: &Heart) {
        if self.present.as_ref().is_none_or(|(known, _)| !Arc::ptr_eq(known, config)) {
            self.dismiss();
            let crew = self.muster(config, stop, heart);
            self.present = Some((config.clone(), crew));
        }
        for hand in self.present.iter().flat_map(|(_, crew)| crew) {
            rings.iter().for_each(|ring| hand.bell.ring(*ring));
        }
    }

    /// Starts a thread for each route. One that cannot start is said and left out; the next ring tries again.
    fn muster(&self, config: &Arc<Config>, stop: &Stop, heart: &Heart) -> Vec<Hand> {
        let mut works = Workshop::new(config.clone(), self.store.clone(), "service".to_owned());
        works.stop = stop.clone();
        // Pacing and backoff have limits of their own; while they wait, nothing hangs.
        works.clock = Arc::new(BeatingClock::new(SystemClock, heart.clone()));
        let works = Arc::new(works);
        let mut crew = Vec::new();
        for route in &config.routes {
            let (bell, leave) = (Bell::default(), Arc::new(AtomicBool::new(false)));
            let post = Post::new(works.clone(), route.clone(), heart.clone());
            let spawned = {
                let (bell, leave) = (bell.clone(), leave.clone());
                std::thread::Builder::new()
                    .name(format!("route {}", route.name))
                    .spawn(move || post.keep(&bell, &leave))
            };
            match spawned {
                Ok(thread) => crew.push(Hand { bell, leave, thread }),
                Err(error) => log::error!("route {}: its thread cannot start: {error}", route.name),
            }
        }
        crew
    }

    /// Lets the present crew go when each has finished the pass in hand.
    fn dismiss(&mut self) {
        self.dismissed.retain(|thread| !thread.is_finished());
        for hand in self.present.take().into_iter().flat_map(|(_, crew)| crew) {
            hand.leave.store(true, Ordering::SeqCst);
            hand.bell.nudge();
            self.dismissed.push(hand.thread);
        }
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
