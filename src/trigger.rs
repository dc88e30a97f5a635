//! Everything that turns into a wake-up: the schedule and the signals ring a bell, one worker hears it.
//!
//! The worker is an ordinary thread (the engine, ureq and diesel are synchronous); a small tokio
//! runtime carries the schedule and the signals and does no work of its own. Promised: two runs of the
//! work never overlap; whatever rings during a run becomes one run after it; a panic of the work ends
//! that run, not the service. Not here: what a run does (`engine`), and the exclusion of other replicas
//! (the lease in `store`).

mod bell;
mod heart;
mod schedule;
mod signals;
mod systemd;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::clock::{Stop, lock};
use crate::config::{Config, ConfigErrors};

pub use bell::{Bell, Ring};
pub use heart::{BeatingClock, EXCUSE_MAX, Heart, Helping};

use schedule::Ticking;
use signals::{Asked, Signals};
use systemd::Manager;

/// Why [`serve`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExitReason {
    /// Asked by signal; the repair in hand was finished.
    Stopped,
    /// Asked by a second SIGINT: the work was left where it was, which the next start mends.
    Interrupted,
    /// Asked by signal, but the work did not end within [`GRACE`]: left where it was, as above.
    Overdue,
    /// The service could not start.
    Failed(String),
}

/// How long the repair in hand may take after SIGTERM: longer than one write with its re-read usually
/// takes, shorter than `TimeoutStopSec` in the unit, after which systemd would kill the process.
pub const GRACE: Duration = Duration::from_secs(30);

/// How often what the worker said is passed on, unless the watchdog wants it oftener.
const PULSE: Duration = Duration::from_secs(5);

/// Calls that may pass between two beats, each as long as its time limit: a re-read, a write, a look at
/// what became of it.
const CALLS_PER_BEAT: u32 = 3;

/// How long the worker waits for the bell before it looks around; the bell itself wakes it at once.
const WAIT: Duration = Duration::from_secs(3_600);

/// Runs the service until a signal ends it.
///
/// `work` is called on one thread of its own with the present configuration, why it is woken (never
/// empty, none twice), the request to stop, and the heart to beat as it gets on. It is called with
/// [`Ring::Poll`] and [`Ring::Hooks`] at the start. `reload` reads the configuration anew on SIGHUP; a wrong one is logged,
/// fault by fault, and the old one kept. [`Arc::ptr_eq`] tells `work` whether it was replaced.
///
/// The store must be open before: systemd is told that the service is ready as soon as the schedule stands.
pub fn serve<R, W>(config: Config, reload: R, work: W) -> ExitReason
where
    R: Fn() -> Result<Config, ConfigErrors>,
    W: FnMut(&Arc<Config>, &[Ring], &Stop, &Heart) + Send + 'static,
{
    // One thread is enough to ring; it goes on ringing while `reload` reads.
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(1).thread_name("trigger").enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ExitReason::Failed(format!("the runtime of the schedule cannot start: {error}")),
    };
    let reason = runtime.block_on(supervise(config, &reload, work)).unwrap_or_else(ExitReason::Failed);
    // Nothing of it needs finishing.
    runtime.shutdown_background();
    reason
}

/// Starts everything, then answers signals until the worker has ended.
async fn supervise<R, W>(config: Config, reload: &R, work: W) -> Result<ExitReason, String>
where
    R: Fn() -> Result<Config, ConfigErrors>,
    W: FnMut(&Arc<Config>, &[Ring], &Stop, &Heart) + Send + 'static,
{
    let mut signals = Signals::listen().map_err(|error| format!("signals cannot be heard: {error}"))?;
    let shared = Shared::over(config);
    let schedule = lock(&shared.config).schedule.clone();
    let mut ticking = Some(
        Ticking::start(&schedule, &shared.bell).await.map_err(|error| format!("the schedule cannot start: {error}"))?,
    );
    let mut done = shared.spawn(work).map_err(|error| format!("the worker cannot start: {error}"))?;
    shared.bell.ring_all(&[Ring::Poll, Ring::Hooks]);

    let mut manager = Manager::default();
    manager.ready(&ready_line(&lock(&shared.config)));
    let watchdog = systemd::watchdog();
    // Thrice within the limit, so that one late tick does no harm.
    let mut pulse = interval(watchdog.map_or(PULSE, |limit| PULSE.min(limit / 3)).max(Duration::from_millis(10)));
    pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut deadline: Option<Instant> = None;

    let reason = loop {
        tokio::select! {
            ended = &mut done => {
                break match (ended, deadline) {
                    (Ok(()), Some(_)) => ExitReason::Stopped,
                    _ => ExitReason::Failed("the worker ended though nobody asked it to".to_owned()),
                };
            }
            asked = signals.next() => match asked {
                Asked::Interrupt if deadline.is_some() => break ExitReason::Interrupted,
                Asked::Stop | Asked::Interrupt => {
                    if deadline.is_none() {
                        log::info!("asked to stop: finishing the repair in hand");
                        manager.stopping();
                        shared.stop.raise();
                        shared.bell.nudge();
                        deadline = Some(Instant::now() + GRACE);
                    }
                }
                // On the way out there is nothing to be ready for.
                Asked::Reload | Asked::Force if deadline.is_some() => {}
                Asked::Reload => {
                    manager.reloading();
                    let line = shared.reload(reload(), &mut ticking).await;
                    manager.ready(&line);
                }
                Asked::Force => {
                    log::info!("asked for a pass now");
                    shared.bell.ring(Ring::Forced);
                }
            },
            _ = pulse.tick() => {
                let patience = lock(&shared.config).network.call_timeout * CALLS_PER_BEAT;
                manager.pulse(&shared.heart, watchdog, patience);
            }
            () = until(deadline) => break ExitReason::Overdue,
        }
    };
    if reason == ExitReason::Overdue {
        log::warn!(
            "the work did not end within {} s and is left where it is; the next start mends it",
            GRACE.as_secs()
        );
    }
    if let Some(ticking) = ticking {
        ticking.stop().await;
    }
    Ok(reason)
}

/// Waits for a moment, or for ever.
async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// What the service manager shows.
fn ready_line(config: &Config) -> String {
    match config.routes.len() {
        1 => "1 route kept in step".to_owned(),
        count => format!("{count} routes kept in step"),
    }
}

/// What the supervisor and the worker share.
struct Shared {
    bell: Bell,
    stop: Stop,
    heart: Heart,
    config: Arc<Mutex<Arc<Config>>>,
}

impl Shared {
    fn over(config: Config) -> Self {
        Self {
            bell: Bell::default(),
            stop: Stop::default(),
            heart: Heart::default(),
            config: Arc::new(Mutex::new(Arc::new(config))),
        }
    }

    /// Starts the worker; the receiver hears when it ends.
    fn spawn<W>(&self, mut work: W) -> std::io::Result<oneshot::Receiver<()>>
    where
        W: FnMut(&Arc<Config>, &[Ring], &Stop, &Heart) + Send + 'static,
    {
        let (bell, stop, heart, config) =
            (self.bell.clone(), self.stop.clone(), self.heart.clone(), self.config.clone());
        let (ended, done) = oneshot::channel();
        std::thread::Builder::new().name("worker".to_owned()).spawn(move || {
            while !stop.raised() {
                heart.rest();
                let rings = bell.wait(WAIT);
                if rings.is_empty() || stop.raised() {
                    continue;
                }
                heart.wake();
                let config = lock(&config).clone();
                // The work keeps nothing that a panic could leave half done: the truth is in the store.
                let run = AssertUnwindSafe(|| work(&config, &rings, &stop, &heart));
                if catch_unwind(run).is_err() {
                    log::error!("a pass ended in a panic, which is a fault of this program; the service goes on");
                }
            }
            // It may have helpers to wait for.
            drop(work);
            // Nobody listens any more after an interrupt.
            let _ = ended.send(());
        })?;
        Ok(done)
    }

    /// Takes a new configuration in, or keeps the old one. Answers the line for the service manager.
    async fn reload(&self, read: Result<Config, ConfigErrors>, ticking: &mut Option<Ticking>) -> String {
        let old = lock(&self.config).clone();
        let new = match read {
            Ok(new) => new,
            Err(errors) => {
                for fault in errors.faults() {
                    log::error!("{fault}");
                }
                log::error!("the configuration is wrong: keeping the old one");
                return format!("{}; the new configuration is wrong, keeping the old one", ready_line(&old));
            }
        };
        if new.schedule != old.schedule {
            match Ticking::start(&new.schedule, &self.bell).await {
                Ok(started) => {
                    if let Some(before) = ticking.replace(started) {
                        before.stop().await;
                    }
                }
                Err(error) => {
                    log::error!("the new schedule cannot start: {error}; keeping the old configuration");
                    return ready_line(&old);
                }
            }
        }
        for warning in &new.warnings {
            log::warn!("{warning}");
        }
        let kept = [
            ("database", new.database == old.database),
            ("listen", new.listen == old.listen),
            ("log", new.log == old.log),
        ];
        for (what, same) in kept {
            if !same {
                log::warn!("the new setting of [{what}] takes effect at the next start");
            }
        }
        let line = ready_line(&new);
        log::info!("the configuration was read again: {line}");
        *lock(&self.config) = Arc::new(new);
        // What changed may concern items that do not move by themselves.
        self.bell.ring_all(&[Ring::Poll, Ring::Hooks]);
        line
    }
}
