//! Actors that take turns on one virtual clock: each runs alone until it pauses, and whoever wakes first goes on.
//!
//! Actors are threads because the engine is ordinary blocking code, but only one ever runs, and who is next is decided
//! by the time it asked for and, among equals, by seeded chance. So the same seed gives the same world.

use std::cell::Cell;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, Thread};
use std::time::Duration;

use evenkeel::model::Timestamp;

thread_local! {
    /// Which actor this thread is.
    static ME: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// Keeps the calling thread, and those that it starts from now on, on one of the cores it may use: only one of a world's
/// actors ever runs, and who is woken on another core costs more than all that it does there.
pub fn keep_to_one_core(number: usize) {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
        let Ok(allowed) = sched_getaffinity(None) else { return };
        let cores: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)).collect();
        let Some(core) = cores.get(number % cores.len().max(1)) else { return };
        let mut own = CpuSet::new();
        own.set(*core);
        // Whoever may not is slower.
        let _ = sched_setaffinity(None, &own);
    }
}

/// Unwinds an actor when the world is over.
pub struct Over;

/// Who wakes when. Clones are the same world.
#[derive(Clone)]
pub struct Turns(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    /// Whose turn it is.
    current: AtomicUsize,
}

struct State {
    /// Milliseconds since the epoch.
    now: i64,
    chance: fastrand::Rng,
    actors: Vec<Actor>,
    over: bool,
}

struct Actor {
    /// When it wants to go on, and its place among those of the same moment; none once it has left.
    wakes: Option<(i64, u64)>,
    /// Whether it may be woken earlier.
    rests: bool,
    thread: Thread,
}

impl Turns {
    /// A world whose first actor is the calling thread.
    pub fn begin(now: Timestamp, seed: u64) -> Self {
        let me = Actor { wakes: Some((0, 0)), rests: false, thread: thread::current() };
        ME.set(0);
        let chance = fastrand::Rng::with_seed(seed);
        let state = State { now: now.as_millisecond(), chance, actors: vec![me], over: false };
        Self(Arc::new(Inner { state: Mutex::new(state), current: AtomicUsize::new(0) }))
    }

    /// Whether the calling thread is an actor. A process may have others, such as the one that notes who was turned
    /// away: what they do changes nothing here.
    pub fn inside() -> bool {
        ME.get() != usize::MAX
    }

    /// The number of the calling thread among the actors.
    pub fn me() -> usize {
        ME.get()
    }

    /// Adds an actor, which begins with its first turn. Ends by itself or with the world.
    pub fn add(&self, act: impl FnOnce() + Send + 'static) -> (usize, JoinHandle<()>) {
        let number = self.state().actors.len();
        let turns = self.clone();
        let handle = thread::spawn(move || {
            ME.set(number);
            turns.await_turn(number);
            // However it ends, whoever is next goes on.
            let _leaves = Leaves(turns.clone());
            if !turns.state().over {
                act();
            }
        });
        let mut state = self.state();
        let place = state.chance.u64(..);
        let now = state.now;
        state.actors.push(Actor { wakes: Some((now, place)), rests: false, thread: handle.thread().clone() });
        (number, handle)
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(self.state().now).expect("a moment within time")
    }

    /// Lets others go on for so long.
    pub fn pause(&self, span: Duration) {
        self.stand_by(span, false);
    }

    /// The same, until it is woken at the latest.
    pub fn rest(&self, span: Duration) {
        self.stand_by(span, true);
    }

    fn stand_by(&self, span: Duration, rests: bool) {
        // What is dropped while an actor unwinds is done at this moment.
        if thread::panicking() || !Self::inside() {
            return;
        }
        let me = ME.get();
        let next = {
            let mut state = self.state();
            let wakes = state.now.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
            let place = state.chance.u64(..);
            (state.actors[me].wakes, state.actors[me].rests) = (Some((wakes, place)), rests);
            state.next()
        };
        self.hand_over(me, next);
        if me != 0 && self.state().over {
            resume_unwind(Box::new(Over));
        }
    }

    /// The same, for a span by chance, in milliseconds.
    pub fn pause_within(&self, span: Range<u64>) {
        let span = self.state().chance.u64(span);
        self.pause(Duration::from_millis(span));
    }

    /// Wakes an actor that rests; it goes on at this moment.
    pub fn wake(&self, actor: usize) {
        let mut state = self.state();
        let now = state.now;
        let actor = &mut state.actors[actor];
        if let (true, Some((at, _))) = (actor.rests, &mut actor.wakes) {
            *at = now.min(*at);
        }
    }

    /// A number below `bound`, by the world's chance.
    pub fn chance(&self, bound: usize) -> usize {
        self.state().chance.usize(..bound)
    }

    /// Ends the world: every other actor unwinds at its next turn. Called by the first one, who then joins them.
    pub fn end(&self) {
        self.state().over = true;
        loop {
            let next = {
                let mut state = self.state();
                state.actors[0].wakes = Some((i64::MAX, u64::MAX));
                state.next()
            };
            if next == 0 {
                return;
            }
            self.hand_over(0, next);
        }
    }

    fn hand_over(&self, me: usize, next: usize) {
        if next == me {
            return;
        }
        let thread = self.state().actors[next].thread.clone();
        self.0.current.store(next, Ordering::Release);
        thread.unpark();
        self.await_turn(me);
    }

    fn await_turn(&self, me: usize) {
        while self.0.current.load(Ordering::Acquire) != me {
            thread::park();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Who is next; moves the clock to that moment.
    fn next(&mut self) -> usize {
        let wakes = |(number, actor): (usize, &Actor)| actor.wakes.map(|wakes| (wakes, number));
        let ((at, _), next) = self.actors.iter().enumerate().filter_map(wakes).min().expect("the first actor stays");
        if !self.over {
            self.now = self.now.max(at);
        }
        next
    }
}

/// Passes the turn on when an actor ends.
struct Leaves(Turns);

impl Drop for Leaves {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            state.actors[ME.get()].wakes = None;
            state.next()
        };
        let thread = self.0.state().actors[next].thread.clone();
        self.0.0.current.store(next, Ordering::Release);
        thread.unpark();
    }
}
