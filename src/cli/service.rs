//! `run`: the service. The trigger rings, one thread per route makes the passes, and nothing that one
//! route meets holds up another.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::args::{AllowArgs, Global, RunArgs, Scope};
use super::progress::{Watched, log_pass};
use super::{Context, Exit, Failure, setup};
use crate::clock::{Stop, SystemClock, Timestamp, later, since};
use crate::config::{Config, Route};
use crate::engine::{Ended, Engine, EngineError, PassOptions, Wake};
use crate::store::{Store, StoreError};
use crate::trigger::{BeatingClock, Bell, ExitReason, Heart, Ring, serve};

/// The pause after a failure of the database; doubled each time...
const PAUSE: Duration = Duration::from_secs(5);
/// ...up to this, so that a database that is back is noticed soon.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How long a route waits for its bell before it looks around; the bell itself wakes it at once.
const WAIT: Duration = Duration::from_secs(3_600);

/// Runs until a signal ends it.
pub(super) fn run(global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    only_once(global, args)?;
    let config = setup::load(global)?;
    setup::start_log(global, &config, setup::Usual::Passes);
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let store = Store::open(&config.database)?;
    log::info!("evenkeel {} over {}: {}", env!("CARGO_PKG_VERSION"), config.database, routes(&config));
    let reload = || setup::read(global).1;
    let mut crews = Crews { global: global.clone(), store, present: None, dismissed: Vec::new() };
    let reason = serve(config, reload, move |config, rings, stop, heart| crews.ring(config, rings, stop, heart));
    match reason {
        ExitReason::Stopped => {
            log::info!("stopped; what is left is due for the next start");
            Ok(Exit::Settled)
        }
        ExitReason::Interrupted => Err(Failure::new("interrupted; the next start takes up what was left")),
        ExitReason::Overdue => Err(Failure::new("the repair in hand did not end in time; the next start takes it up")),
        ExitReason::Failed(why) => Err(Failure::new(why)),
    }
}

/// Refuses what only makes sense with `--once`: silently doing without it would surprise.
fn only_once(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let RunArgs { once: _, scope: Scope { full, route, only }, allow } = args;
    let AllowArgs { allow_updates, allow_retirements, allow_empty } = allow;
    let given = [
        ("--full", *full),
        ("--route", route.is_some()),
        ("--only", !only.is_empty()),
        ("--allow-updates", allow_updates.is_some()),
        ("--allow-retirements", allow_retirements.is_some()),
        ("--allow-empty", *allow_empty),
        ("--json", global.json),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::new(format!(
            "{option} needs --once: the service runs all routes by its schedule"
        ))
        .hint(match option {
            "--json" => "log lines as JSON are a setting: [log] format = \"json\"".to_owned(),
            _ => format!("evenkeel run --once {option} ..."),
        })),
    }
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

/// One crew per configuration; the last one is at work, those before finish what they have in hand.
struct Crews {
    global: Global,
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
    /// Passes the rings on to every route.
    fn ring(&mut self, config: &Arc<Config>, rings: &[Ring], stop: &Stop, heart: &Heart) {
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
        let mut context = Context::with(Config::clone(config), self.store.clone(), &self.global);
        context.actor = "service".to_owned();
        context.stop = stop.clone();
        // Pacing and backoff have limits of their own; while they wait, nothing hangs.
        context.clock = Arc::new(BeatingClock::new(SystemClock, heart.clone()));
        let context = Arc::new(context);
        let mut crew = Vec::new();
        for route in &config.routes {
            let (bell, leave) = (Bell::default(), Arc::new(AtomicBool::new(false)));
            let post = Post::new(context.clone(), route.clone(), heart.clone());
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

/// One route's post: what its thread remembers between passes.
struct Post {
    context: Arc<Context>,
    route: Route,
    heart: Heart,
    /// Made at the first ring, again after it could not be made.
    engine: Option<Engine>,
    /// When the slower way that misses less was last asked.
    belt_at: Option<Timestamp>,
    /// What was last said about a failure, so that it is said once.
    trouble: Option<String>,
    /// After a failure of the database: no pass before this, and the next pause.
    pause: Option<(Timestamp, Duration)>,
}

impl Post {
    fn new(context: Arc<Context>, route: Route, heart: Heart) -> Self {
        Self { context, route, heart, engine: None, belt_at: None, trouble: None, pause: None }
    }

    /// Makes a pass whenever the bell rings, until told to leave or the service stops.
    fn keep(mut self, bell: &Bell, leave: &AtomicBool) {
        let away = || leave.load(Ordering::SeqCst);
        while !away() && !self.context.stop.raised() {
            let rings = bell.wait(WAIT);
            if rings.is_empty() || away() || self.context.stop.raised() {
                continue;
            }
            let _work = self.heart.help();
            // What a panic could leave half done is mended by the next pass: the truth is in the store.
            if catch_unwind(AssertUnwindSafe(|| self.answer(&rings))).is_err() {
                log::error!(
                    "route {}: a pass ended in a panic, which is a fault of this program; the service goes on",
                    self.route.name
                );
            }
        }
    }

    /// One pass for all rings together, if there is something to look at.
    fn answer(&mut self, rings: &[Ring]) {
        let now = self.context.clock.now();
        let forced = rings.contains(&Ring::Forced);
        if let Some((until, _)) = self.pause
            && now < until
            && !forced
        {
            log::debug!("route {}: waiting for the database until {until:.0}", self.route.name);
            return;
        }
        let wake = match self.wake(rings, now) {
            Ok(Some(wake)) => wake,
            Ok(None) => return,
            Err(error) => return self.database_failed(&error, now),
        };
        let Some(engine) = self.engine() else { return };
        let watched = Watched::quietly(self.context.store.clone(), self.route.name.clone(), self.heart.clone());
        let engine = Engine { progress: watched, ..engine };
        let cause = match (&wake, forced) {
            (_, true) => "signal",
            (Wake::Retry, _) => "retry",
            _ => "schedule",
        };
        let began = Instant::now();
        let options = PassOptions { cause: cause.to_owned(), ..PassOptions::default() };
        match engine.pass(&wake, &options) {
            Ok(report) => {
                self.pause = None;
                if matches!(wake, Wake::Poll { belt: true } | Wake::Sweep)
                    && matches!(report.ended, Ended::Settled | Ended::Drift)
                {
                    self.belt_at = Some(now);
                }
                let trouble = matches!(report.ended, Ended::Failed | Ended::Refused)
                    .then(|| report.messages.first().cloned().unwrap_or_default());
                // An error is for a person to look at, so it is one only when it is news.
                let level =
                    if trouble.is_some() && trouble != self.trouble { log::Level::Error } else { log::Level::Info };
                log_pass(&report, began.elapsed(), level);
                if trouble.is_none() && self.trouble.is_some() && report.ended != Ended::Stopped {
                    log::info!("route {}: it works again", self.route.name);
                }
                if report.ended != Ended::Stopped {
                    self.trouble = trouble;
                }
            }
            // Another replica, or an operator, is at work: that is as good as our own pass.
            Err(error @ EngineError::Held { .. }) => log::debug!("{error}"),
            Err(EngineError::Stopped) => {}
            Err(EngineError::Store(error)) => self.database_failed(&error, self.context.clock.now()),
            Err(error @ EngineError::Provider { .. }) => self.say(format!("route {}: {error}", self.route.name)),
        }
    }

    /// What the rings ask to look at; nothing when only a retry was rung and nothing is due.
    fn wake(&self, rings: &[Ring], now: Timestamp) -> Result<Option<Wake>, StoreError> {
        if rings.contains(&Ring::Sweep) {
            return Ok(Some(Wake::Sweep));
        }
        if rings.contains(&Ring::Forced) {
            return Ok(Some(Wake::Poll { belt: true }));
        }
        if rings.contains(&Ring::Poll) {
            let every = self.context.config.schedule.belt;
            let belt = self.belt_at.is_none_or(|at| since(at, now) >= every);
            return Ok(Some(Wake::Poll { belt }));
        }
        let due = self.context.store.due(&self.route.name, now, 1)?;
        Ok((!due.is_empty()).then_some(Wake::Retry))
    }

    /// The route's engine, made once.
    fn engine(&mut self) -> Option<Engine> {
        if self.engine.is_none() {
            match self.context.engine(&self.route) {
                Ok(engine) => self.engine = Some(engine),
                Err(failure) => self.say(format!("route {}: {}", self.route.name, failure.message)),
            }
        }
        self.engine.clone()
    }

    fn database_failed(&mut self, error: &StoreError, now: Timestamp) {
        self.say(format!("route {}: the pass ended: {error}", self.route.name));
        // A lease that was taken over is no fault of the database.
        if !matches!(error, StoreError::LostLease { .. }) {
            let pause = self.pause.map_or(PAUSE, |(_, pause)| (pause * 2).min(PAUSE_MAX));
            self.pause = Some((later(now, pause), pause));
        }
    }

    /// Says a failure as an error when it is news, else as a detail.
    fn say(&mut self, what: String) {
        if self.trouble.as_ref() == Some(&what) {
            log::debug!("still: {what}");
        } else {
            log::error!("{what}");
            self.trouble = Some(what);
        }
    }
}
