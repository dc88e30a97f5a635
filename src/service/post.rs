//! One route's post: the thread that makes its passes whenever its bell rings.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::heard::Heard;
use crate::clock::{Timestamp, later, since};
use crate::config::Route;
use crate::engine::account::log_pass;
use crate::engine::{Ended, Engine, EngineError, Overtaking, PassOptions, Wake};
use crate::store::StoreError;
use crate::trigger::{Bell, Heart, Ring};
use crate::workshop::Workshop;

/// The pause after a failure of the database; doubled each time...
const PAUSE: Duration = Duration::from_secs(5);
/// ...up to this, so that a database that is back is noticed soon.
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// How long a route waits for its bell before it looks around; the bell itself wakes it at once.
const WAIT: Duration = Duration::from_secs(3_600);

/// How soon to look again when somebody else holds the lease while deliveries wait.
const AGAIN: Duration = Duration::from_secs(1);

/// One route's post: what its thread remembers between passes.
pub struct Post {
    works: Arc<Workshop>,
    route: Route,
    heart: Heart,
    /// Shared with the courier, who carries urgent visits past a pass...
    overtaking: Overtaking,
    /// ...and looks up when one begins.
    courier: Bell,
    /// Made at the first ring, again after it could not be made.
    engine: Option<Engine>,
    /// When the slower way that misses less was last asked.
    belt_at: Option<Timestamp>,
    /// What was last said about a failure, so that it is said once.
    trouble: Option<String>,
    /// After a failure of the database: no pass before this, and the next pause.
    pause: Option<(Timestamp, Duration)>,
    /// Deliveries wait until somebody else lets go of the lease, or a provider is asked again.
    held: bool,
    /// A provider is left in peace until then...
    rests: Option<Timestamp>,
    /// ...and what was rung meanwhile is made up for after it.
    owed: BTreeSet<Ring>,
}

impl Post {
    /// Of a route, whose courier shares `overtaking` and hears `courier`.
    pub fn new(works: Arc<Workshop>, route: Route, heart: Heart, overtaking: Overtaking, courier: Bell) -> Self {
        Self {
            works,
            route,
            heart,
            overtaking,
            courier,
            engine: None,
            belt_at: None,
            trouble: None,
            pause: None,
            held: false,
            rests: None,
            owed: BTreeSet::new(),
        }
    }

    /// How long to wait for the bell at most; then something is to be looked for even if nobody rang.
    pub fn patience(&self) -> Duration {
        match self.rests {
            Some(until) => since(self.works.clock.now(), until).clamp(AGAIN, WAIT),
            None if self.held => AGAIN,
            None => WAIT,
        }
    }

    /// Makes a pass whenever the bell rings, until told to leave or the service stops.
    pub(super) fn keep(mut self, bell: &Bell, leave: &AtomicBool) {
        let away = || leave.load(Ordering::SeqCst);
        while !away() && !self.works.stop.raised() {
            let rings = bell.wait(self.patience());
            if (rings.is_empty() && !self.held) || away() || self.works.stop.raised() {
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

    /// What somebody waits for comes first; then one pass for all other rings together, if there is something to
    /// look at. Without a ring, what was held up is looked for again.
    pub fn answer(&mut self, rings: &[Ring]) {
        let heard = self.held || rings.contains(&Ring::Heard);
        let now = self.works.clock.now();
        let forced = rings.contains(&Ring::Forced);
        // A pause that ends further ahead than it is long was taken by a clock that was set back since.
        if let Some((until, pause)) = self.pause
            && now < until
            && since(now, until) <= pause
            && !forced
        {
            log::debug!("route {}: waiting for the database until {until:.0}", self.route.name);
            // The next scheduled ring comes by itself; what was heard has none.
            self.held = heard;
            return;
        }
        self.owed.extend(rings.iter().filter(|ring| **ring != Ring::Heard));
        if self.leaves_in_peace(now) {
            if !forced {
                self.held = true;
                return;
            }
            self.rests = None;
        }
        self.held = false;
        let rings: Vec<Ring> = std::mem::take(&mut self.owed).into_iter().collect();
        // Also without a ring: what another replica took in waits as well, and a long pass would take it along.
        match self.works.store.rung(&self.route.name, now, 1) {
            Ok(rung) if rung.is_empty() => {}
            Ok(_) => self.make(&Wake::Retry, "webhook"),
            Err(error) => return self.database_failed(&error, now),
        }
        let wake = match self.wake(&rings, now) {
            Ok(Some(wake)) => wake,
            Ok(None) => return,
            Err(error) => return self.database_failed(&error, now),
        };
        let cause = match (&wake, forced) {
            (_, true) => "signal",
            (Wake::Retry, _) => "retry",
            _ => "schedule",
        };
        self.make(&wake, cause);
    }

    /// Whether a provider is left in peace by its breaker: a pass would end before its first request.
    fn leaves_in_peace(&mut self, now: Timestamp) -> bool {
        self.rests = match self.works.resting(&self.route) {
            Some((until, why)) => {
                log::debug!("route {}: no pass before {until:.0}: {why}", self.route.name);
                Some(until)
            }
            None => None,
        };
        self.rests.is_some_and(|until| now < until)
    }

    /// Makes one pass and says how it went.
    fn make(&mut self, wake: &Wake, cause: &str) {
        let Some(engine) = self.engine() else { return };
        let now = self.works.clock.now();
        let heard = Heard::new(self.works.store.clone(), self.route.name.clone(), self.heart.clone());
        let engine = Engine { progress: heard, ..engine };
        let began = Instant::now();
        let overtaking = Some(self.overtaking.clone());
        let options = PassOptions { cause: cause.to_owned(), overtaking, ..PassOptions::default() };
        self.courier.nudge();
        match engine.pass(wake, &options) {
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
            // Another replica, or an operator, is at work: that is as good as our own pass. What was heard is
            // visited past that pass where it can be, and looked for again where not.
            Err(error @ EngineError::Held { .. }) => {
                log::debug!("{error}");
                self.held = cause == "webhook";
            }
            Err(EngineError::Stopped) => {}
            Err(EngineError::Store(error)) => self.database_failed(&error, self.works.clock.now()),
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
            let every = self.works.config.schedule.belt;
            let belt = self.belt_at.is_none_or(|at| since(at, now) >= every);
            return Ok(Some(Wake::Poll { belt }));
        }
        if !rings.contains(&Ring::Retry) {
            return Ok(None);
        }
        let due = self.works.store.due(&self.route.name, now, 1)?;
        Ok((!due.is_empty()).then_some(Wake::Retry))
    }

    /// The route's engine, made once.
    fn engine(&mut self) -> Option<Engine> {
        if self.engine.is_none() {
            match self.works.engine(&self.route) {
                Ok(engine) => self.engine = Some(engine),
                Err(error) => self.say(format!("route {}: {error}", self.route.name)),
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
