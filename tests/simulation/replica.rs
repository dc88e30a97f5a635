//! One simulated process of the service: its posts and couriers, its keeper of hooks, and its front door.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel::clock::Clock as _;
use evenkeel::config::Config;
use evenkeel::engine::Overtaking;
use evenkeel::model::RouteName;
use evenkeel::provider::http::{Request, Response, TransportError};
use evenkeel::sandbox::Sandbox;
use evenkeel::server::api::Api;
use evenkeel::server::front::Front;
use evenkeel::server::sources::AllowList;
use evenkeel::server::turned_away::TurnedAway;
use evenkeel::server::webhooks::{Sources, Webhooks};
use evenkeel::service::{Courier, Doorbell, Post, Upkeep};
use evenkeel::store::Store;
use evenkeel::trigger::{Bell, Heart, Ring};
use evenkeel::workshop::{Present, Workshop};

use super::knock::knock;
use super::life::{Killed, Life};
use super::turns::{Over, Turns};
use super::wire::{Watch, Wire};

/// Between two polls, two looks for what is due again, two looks after the hooks, and two sweeps.
const EVERY: [(Ring, i64); 4] =
    [(Ring::Poll, 120_000), (Ring::Retry, 60_000), (Ring::Hooks, 600_000), (Ring::Sweep, 4 * 3_600_000)];

/// What a process is made from, and what it leaves behind.
pub struct Ground {
    pub turns: Turns,
    pub sandbox: Sandbox,
    pub config: Arc<Config>,
    /// The database; another one takes its place when it is lost.
    pub store: Mutex<Store>,
    pub watch: Watch,
    pub seed: u64,
    /// Who brings deliveries.
    pub postmen: Mutex<Vec<usize>>,
    /// Panics that were no part of the world.
    pub panics: Mutex<Vec<String>>,
    /// Whether processes that were ended start again by themselves.
    pub restarts: AtomicBool,
}

impl Ground {
    pub fn store(&self) -> Store {
        lock(&self.store).clone()
    }

    /// What a process works with: the `start`th at a place.
    pub fn workshop(self: &Arc<Self>, actor: &str, place: usize, start: u64, life: &Arc<Life>) -> Workshop {
        let store = self.store().ushered(life.clone());
        let mut works = Workshop::new(self.config.clone(), store, actor.to_owned());
        works.clock = life.clone();
        works.holder = format!("{actor} {place} start {start}");
        let seed = self.seed ^ ((place as u64) << 32) ^ (start << 40);
        works.chance = Mutex::new(fastrand::Rng::with_seed(seed));
        works.send_through(Arc::new(Wire {
            place,
            start,
            life: life.clone(),
            turns: self.turns.clone(),
            holder: works.holder.clone(),
            store: self.store(),
            services: self.sandbox.transport(),
            watch: self.watch.clone(),
            ground: self.clone(),
        }));
        works
    }

    /// Does something that its process may die of.
    pub fn live(&self, act: impl FnOnce()) {
        let Err(cause) = catch_unwind(AssertUnwindSafe(act)) else { return };
        if cause.is::<Killed>() {
            return;
        }
        if !cause.is::<Over>() {
            let what = cause.downcast_ref::<String>().cloned();
            let what = what.or_else(|| cause.downcast_ref::<&str>().map(|what| (*what).to_owned()));
            lock(&self.panics).push(what.unwrap_or_else(|| "a panic".to_owned()));
        }
        resume_unwind(cause);
    }

    /// Something was written: there may be something to deliver.
    pub fn written(&self) {
        for postman in lock(&self.postmen).iter() {
            self.turns.wake(*postman);
        }
    }
}

/// A place for one process after another.
pub struct Replica {
    pub number: usize,
    ground: Arc<Ground>,
    present: Mutex<Option<Arc<Process>>>,
    /// How many processes there were.
    starts: AtomicU64,
    skew: Mutex<i64>,
    /// Down for so long after its end.
    down: Mutex<Duration>,
    /// The actors: post, courier, keeper.
    actors: Mutex<[usize; 3]>,
}

/// What one process shares among its actors.
struct Process {
    life: Arc<Life>,
    works: Arc<Workshop>,
    front: Front,
    post: Bell,
    courier: Bell,
    hooks: AtomicBool,
    overtaking: Overtaking,
    count: AtomicU64,
}

impl Replica {
    /// A place whose process starts with its first turn. Answers the threads to join at the end.
    pub fn start(ground: &Arc<Ground>, number: usize) -> (Arc<Self>, Vec<JoinHandle<()>>) {
        let replica = Arc::new(Self {
            number,
            ground: ground.clone(),
            present: Mutex::default(),
            starts: AtomicU64::new(0),
            skew: Mutex::new(0),
            down: Mutex::new(Duration::from_secs(5)),
            actors: Mutex::new([0; 3]),
        });
        let mut threads = Vec::new();
        let roles: [fn(&Arc<Self>); 3] = [Self::be_post, Self::be_courier, Self::be_keeper];
        for (place, role) in roles.into_iter().enumerate() {
            let me = replica.clone();
            let (actor, thread) = ground.turns.add(move || role(&me));
            lock(&replica.actors)[place] = actor;
            threads.push(thread);
        }
        (replica, threads)
    }

    /// Does something to the present process, if there is one.
    pub fn with_life(&self, act: impl FnOnce(&Life)) {
        if let Some(process) = self.process() {
            act(&process.life);
        }
    }

    /// Ends the present process after so many moments, for so long.
    pub fn kill(&self, moments: u64, down: Duration) {
        *lock(&self.down) = down;
        self.with_life(|life| life.end_after(moments));
    }

    /// Sets the clock of this machine.
    pub fn skew(&self, ahead: i64) {
        *lock(&self.skew) = ahead;
        self.with_life(|life| life.skew(ahead));
    }

    /// Rings at the route.
    pub fn ring(&self, ring: Ring) {
        if let Some(process) = self.process() {
            process.post.ring(ring);
            self.wake(0);
        }
    }

    /// Starts a process, if none is there and processes may start again.
    pub fn start_again(&self) {
        self.wake(0);
    }

    pub fn up(&self) -> bool {
        self.process().is_some()
    }

    /// How many processes there were here.
    pub fn starts(&self) -> u64 {
        self.starts.load(Ordering::Relaxed)
    }

    /// A delivery comes to this process.
    pub fn knock(&self, request: &Request) -> Result<Response, TransportError> {
        let Some(process) = self.process() else {
            return Err(TransportError::NotSent("connection refused".to_owned()));
        };
        let answered = catch_unwind(AssertUnwindSafe(|| {
            process.life.moment(1..40);
            let response = knock(&process.front, request, process.count.fetch_add(1, Ordering::Relaxed));
            process.life.moment(1..40);
            response
        }));
        match answered {
            Ok(response) => Ok(response),
            Err(cause) if cause.is::<Killed>() => Err(TransportError::NoAnswer("connection reset".to_owned())),
            Err(cause) => resume_unwind(cause),
        }
    }

    /// Forgets the last process, once no actor is left.
    pub fn clear(&self) {
        *lock(&self.present) = None;
    }

    fn process(&self) -> Option<Arc<Process>> {
        lock(&self.present).clone().filter(|process| !process.life.over())
    }

    fn wake(&self, place: usize) {
        let actor = lock(&self.actors)[place];
        self.ground.turns.wake(actor);
    }

    fn be_post(self: &Arc<Self>) {
        loop {
            if self.ground.restarts.load(Ordering::Relaxed) {
                self.ground.live(|| {
                    let process = Arc::new(self.process_of_now());
                    *lock(&self.present) = Some(process.clone());
                    self.wake(2);
                    self.post(&process);
                });
            }
            let down = lock(&self.down).max(Duration::from_millis(100));
            match self.ground.restarts.load(Ordering::Relaxed) {
                true => self.ground.turns.pause(down),
                false => self.ground.turns.rest(Duration::from_secs(3_600)),
            }
        }
    }

    /// Starts a process, as `Staff::hire` and the first ring do.
    fn process_of_now(self: &Arc<Self>) -> Process {
        let ground = &self.ground;
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let life = Life::begin(&ground.turns, *lock(&self.skew));
        let works = Arc::new(ground.workshop("service", self.number, start, &life));
        let present = Present::new(works.clone());
        let (post, courier) = (Bell::default(), Bell::default());
        let ring = {
            let (me, post, courier) = (self.clone(), post.clone(), courier.clone());
            Arc::new(move |_: &RouteName, ring: Ring| {
                post.ring(ring);
                courier.ring(ring);
                me.wake(0);
                me.wake(1);
            })
        };
        let turned_away = Arc::new(TurnedAway::new(present.clone()));
        let webhooks = Arc::new(Webhooks::new(present.clone(), ring, turned_away, everybody()));
        let front = Front::new(present.clone(), webhooks, Api::new(present), Arc::new(AtomicBool::new(true)));
        Process {
            life,
            works,
            front,
            post,
            courier,
            hooks: AtomicBool::new(false),
            overtaking: Overtaking::default(),
            count: AtomicU64::new(0),
        }
    }

    fn post(&self, process: &Process) {
        let route = process.works.config.routes[0].clone();
        let (overtaking, courier) = (process.overtaking.clone(), process.courier.clone());
        let mut post = Post::new(process.works.clone(), route, Heart::default(), overtaking, courier);
        process.post.ring_all(&[Ring::Poll, Ring::Retry]);
        let started = process.life.now().as_millisecond();
        let mut next = EVERY.map(|(_, every)| started + every);
        loop {
            let now = process.life.now().as_millisecond();
            for ((ring, every), next) in EVERY.iter().zip(&mut next) {
                // A clock that was set back by a lot is not waited for.
                if now >= *next || *next - now > *every {
                    *next = now + every;
                    if *ring == Ring::Hooks {
                        process.hooks.store(true, Ordering::Relaxed);
                        self.wake(2);
                    } else {
                        process.post.ring(*ring);
                    }
                }
            }
            let rings = process.post.wait(Duration::ZERO);
            if rings.is_empty() {
                let scheduled = next.iter().min().map_or(0, |next| next - now).max(1);
                let patience = post.patience().min(Duration::from_millis(scheduled.unsigned_abs()));
                process.life.rest(patience);
                if post.patience() < Duration::from_secs(60) {
                    post.answer(&[]);
                }
            } else {
                self.wake(1);
                post.answer(&rings);
            }
        }
    }

    fn be_courier(self: &Arc<Self>) {
        loop {
            self.ground.live(|| {
                while let Some(process) = self.process() {
                    let route = process.works.config.routes[0].clone();
                    let overtaking = process.overtaking.clone();
                    let courier = Courier::new(process.works.clone(), route, Heart::default(), overtaking.clone());
                    let look = if overtaking.possible() { Duration::from_secs(1) } else { Duration::from_secs(3_600) };
                    process.life.rest(look);
                    if overtaking.possible() {
                        process.life.sleep(Duration::from_millis(100), &process.works.stop);
                        while courier.carry() {}
                    }
                }
            });
            self.ground.turns.rest(Duration::from_secs(3_600));
        }
    }

    fn be_keeper(self: &Arc<Self>) {
        loop {
            self.ground.live(|| {
                while let Some(process) = self.process() {
                    let mut upkeep =
                        Upkeep::new(process.works.clone(), Heart::default(), Doorbell::default(), everybody());
                    upkeep.look_after();
                    // What was fetched is due; the bell of another crew is not heard here.
                    process.post.ring(Ring::Heard);
                    self.wake(0);
                    while !process.hooks.swap(false, Ordering::Relaxed) {
                        process.life.rest(Duration::from_secs(3_600));
                    }
                }
            });
            self.ground.turns.rest(Duration::from_secs(3_600));
        }
    }
}

fn everybody() -> Sources {
    Sources::from_fn(|_| AllowList::everybody())
}

pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
