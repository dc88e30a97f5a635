//! A small Asana and a small GitHub that behave as the services do, for the demo and the tests.
//!
//! A state machine driven by a [`Clock`] and one seeded source of chance: the same acts in the same order give
//! the same world, byte for byte. Requests reach it in the process ([`Sandbox::transport`]) or over HTTP on
//! loopback ([`Sandbox::serve`]); tests furnish it and act in it as people do ([`Sandbox::asana`],
//! [`Sandbox::github`]), make things go wrong ([`Sandbox::faults`], [`Sandbox::deliveries`]), count requests
//! ([`Sandbox::log`]), watch them ([`Sandbox::watch`]) and read the end state ([`Sandbox::world`]). Both services send webhooks through a transport
//! that is given to them ([`Sandbox::webhooks`]). Large populations are computed from an index instead of being
//! stored ([`Sandbox::populate_pairs`]).
//!
//! What the services do is taken from their published facts; where those leave something open there is a
//! switch ([`AsanaHabits`], [`GithubHabits`]). Not here yet: batches, attachments, GraphQL, search.

mod asana;
mod fault;
mod github;
mod json;
mod lagging;
mod log;
mod population;
mod serve;
#[cfg(test)]
mod tests;
mod transport;
mod watch;
mod web;
mod webhooks;
mod world;

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;

use crate::clock::{Clock, Stop, lock};
use crate::model::{BySide, ProjectGid, RepoName, Side};
use crate::provider::http::{Request, Response, Transport};

pub use self::asana::{Asana, AsanaHabits, CustomField, FieldKind, Project, TaskSeed, TaskView};
pub use self::fault::{Fault, Faults, Limit, Loop, When};
pub use self::github::{Github, GithubHabits, IssueSeed, IssueView, Limits, Permission, Reason, Repository};
pub use self::log::{Counts, Log, Seen};
pub use self::population::{IssueBody, Populated, Population};
pub use self::serve::Served;
pub use self::watch::{Fate, Moment, Watched};
pub use self::webhooks::{Deliveries, Mishap, Outcome, Pump, Sent, Webhooks};
pub use self::world::World;

/// Where the two services are found in the process.
const BASES: BySide<&str> = BySide { tracker: "https://asana.sandbox/api/1.0", forge: "https://github.sandbox" };

/// A small Asana and a small GitHub. Clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox(Arc<Inner>);

struct Inner {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Rung when there may be something to send.
    bell: Condvar,
    in_flight: BySide<InFlight>,
    watch: Mutex<Option<watch::Watch>>,
    stop: Stop,
}

/// Requests being answered at this moment.
#[derive(Debug, Default)]
struct InFlight {
    reads: AtomicU32,
    writes: AtomicU32,
}

/// Everything that changes, under one lock: an answer is worked out in microseconds.
struct State {
    asana: asana::AsanaState,
    github: github::GithubState,
    faults: fault::FaultState,
    log: log::LogState,
    post: webhooks::Post,
    rng: Rng,
    /// Base addresses by which requests come in, and whose they are.
    bases: Vec<(String, Side)>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Sandbox")
    }
}

/// What comes back for one request.
enum Exchange {
    Answer(Response),
    /// An answer of this many bytes once unpacked.
    Bomb(u64),
    /// No connection came about.
    Refused,
    /// The connection was cut.
    Cut,
}

impl Sandbox {
    /// An empty world at `clock`'s time, in which chance runs from `seed`.
    pub fn new(clock: Arc<dyn Clock>, seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let state = State {
            asana: asana::AsanaState::new(&mut rng),
            github: github::GithubState::new(seed),
            faults: fault::FaultState::default(),
            log: log::LogState::default(),
            post: webhooks::Post::new(seed),
            rng,
            bases: Side::BOTH.map(|side| (BASES[side].to_owned(), side)).into(),
        };
        Self(Arc::new(Inner {
            clock,
            state: Mutex::new(state),
            bell: Condvar::new(),
            in_flight: BySide::default(),
            watch: Mutex::default(),
            stop: Stop::default(),
        }))
    }

    /// The base addresses of the two services in the process, without a slash at the end.
    pub fn base_urls(&self) -> BySide<String> {
        BASES.map(str::to_owned)
    }

    /// Furnishes Asana and acts in it.
    pub fn asana(&self) -> Asana {
        Asana::new(self.clone())
    }

    /// Furnishes GitHub and acts in it.
    pub fn github(&self) -> Github {
        Github::new(self.clone())
    }

    /// Makes `count` tasks and as many issues, computed in pairs: item `i` of one belongs to item `i` of the
    /// other. `body` writes the raw body of an issue, its marker among it.
    pub fn populate_pairs(&self, project: &ProjectGid, repo: &RepoName, count: u64, body: IssueBody) -> Population {
        let tasks = self.asana().populate(project, count);
        let state = &mut *self.state();
        state.github.settle(repo, Population { body, ..tasks })
    }

    /// Switches faults on and off.
    pub fn faults(&self) -> Faults {
        Faults(self.clone())
    }

    /// Sends webhooks, and shows what was sent.
    pub fn webhooks(&self) -> Webhooks {
        Webhooks(self.clone())
    }

    /// Switches what goes wrong with webhook deliveries on and off.
    pub fn deliveries(&self) -> Deliveries {
        Deliveries(self.clone())
    }

    /// Looks at the requests seen.
    pub fn log(&self) -> Log {
        Log(self.clone())
    }

    /// Reads what both sides hold.
    pub fn world(&self) -> World {
        World(self.clone())
    }

    /// Answers one request in the process. Where a fault cuts the connection the answer is a 502 that says so;
    /// [`Self::transport`] has it as the error it is.
    pub fn respond(&self, request: &Request) -> Response {
        match self.exchange(request, None).0 {
            Exchange::Answer(response) => response,
            Exchange::Bomb(bytes) => fault::huge(bytes),
            Exchange::Refused | Exchange::Cut => {
                Response { status: 502, headers: Vec::new(), body: b"the connection was cut".to_vec() }
            }
        }
    }

    /// A transport that carries requests to this sandbox without a network.
    pub fn transport(&self) -> Arc<dyn Transport> {
        Arc::new(transport::InProcess::new(self.clone()))
    }

    /// Serves both on loopback, each on a port of its own, until the value answered is dropped.
    ///
    /// # Errors
    /// Whatever the system says when no port can be had.
    pub fn serve(&self) -> std::io::Result<Served> {
        Served::start(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// Tells those who send that there may be something to send.
    fn ring(&self) {
        self.0.bell.notify_all();
    }

    /// The present moment, ms since the epoch.
    fn now(&self) -> i64 {
        self.0.clock.now().as_millisecond()
    }

    /// Answers one request, or fails to. Also answers how long it was held up; `patience` bounds the wait.
    fn exchange(&self, request: &Request, patience: Option<Duration>) -> (Exchange, Duration) {
        let known = {
            let state = self.state();
            let fits = |base: &str| {
                let rest = request.url.strip_prefix(base);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
            };
            state.bases.iter().find(|(base, _)| fits(base)).cloned()
        };
        let Some((base, side)) = known else {
            let body = format!("{} is no address of this sandbox", request.url).into_bytes();
            return (Exchange::Answer(Response { status: 404, headers: Vec::new(), body }), Duration::ZERO);
        };
        let ask = web::Ask::parse(request, &base);
        let path = request.url.get(base.len()..).unwrap_or_default().to_owned();
        let watched = Watched { side, method: request.method, path: &path, body: &request.body };
        if self.is_cut(Moment::Came, watched) {
            return (Exchange::Cut, Duration::ZERO);
        }
        let faults = {
            let State { faults, rng, .. } = &mut *self.state();
            faults.draw(side, request.method, &path, rng)
        };
        let held: Duration =
            faults.iter().map(|fault| if let fault::Fault::Delay(time) = fault { *time } else { Duration::ZERO }).sum();
        let flight = self.take_off(side, request.method.writes());
        if !held.is_zero() {
            self.0.clock.sleep(patience.map_or(held, |patience| held.min(patience)), &self.0.stop);
        }
        let now = self.now();
        let mut state = self.state();
        let exchange = match state.crowded(side, flight) {
            Some(response) => Exchange::Answer(response),
            None => match faults.iter().find_map(|fault| fault::before(side, fault, now)) {
                Some(early) => early,
                None => {
                    let mut response = state.answer(side, &ask, &faults, now);
                    if let Some(handshake) = state.asana.take_handshake() {
                        // The target may call the sandbox while it is shaken hands with.
                        drop(state);
                        let attempt = self.shake(&handshake);
                        state = self.state();
                        state.asana.shaken(handshake, &attempt, &mut response);
                    }
                    state.finish(side, &faults, response, now)
                }
            },
        };
        let status = if let Exchange::Answer(response) = &exchange { response.status } else { 0 };
        state.log.note(Seen { side, method: request.method, path: path.clone(), status });
        drop(state);
        if request.method.writes() {
            self.ring();
        }
        self.land(side, request.method.writes());
        if self.is_cut(Moment::Done, watched) {
            return (Exchange::Cut, held);
        }
        (exchange, held)
    }

    /// Counts a request that begins; answers whether it writes, how many of its kind are on their way now, and
    /// how many in all.
    fn take_off(&self, side: Side, writes: bool) -> (bool, u32, u32) {
        let InFlight { reads, writes: writing } = &self.0.in_flight[side];
        let (own, other) = if writes { (writing, reads) } else { (reads, writing) };
        let count = own.fetch_add(1, Ordering::Relaxed) + 1;
        (writes, count, count + other.load(Ordering::Relaxed))
    }

    fn land(&self, side: Side, writes: bool) {
        let InFlight { reads, writes: writing } = &self.0.in_flight[side];
        if writes { writing } else { reads }.fetch_sub(1, Ordering::Relaxed);
    }
}

impl State {
    /// The answer to one request too many at the same time.
    fn crowded(&self, side: Side, (writes, own, all): (bool, u32, u32)) -> Option<Response> {
        match side {
            Side::Tracker => {
                let habits = &self.asana.habits;
                let most = if writes { habits.writes_in_flight } else { habits.reads_in_flight };
                most.is_some_and(|most| own > most).then(|| asana::throttled(Some(5)))
            }
            Side::Forge => {
                let GithubHabits { limits, limit_status, names_retry_after, .. } = &self.github.habits;
                let retry_after = names_retry_after.then_some(60);
                let over = limits.in_flight.is_some_and(|most| all > most);
                over.then(|| github::limited(Limit::Secondary, *limit_status, retry_after, 0))
            }
        }
    }

    /// The service's own answer to a request.
    fn answer(&mut self, side: Side, ask: &web::Ask<'_>, faults: &[Fault], now: i64) -> Response {
        let bend = fault::Bend::of(faults);
        match side {
            Side::Tracker => self.asana.answer(ask, &bend, now, &mut self.rng),
            Side::Forge => self.github.answer(ask, &bend, now, &mut self.rng),
        }
    }

    /// What the request's faults make of it.
    fn finish(&mut self, side: Side, faults: &[Fault], mut response: Response, now: i64) -> Exchange {
        response.headers.push(("date".to_owned(), web::http_date(now)));
        fault::after(side, faults, response, &mut self.rng)
    }
}
