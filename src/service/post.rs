//! One route's post: the thread that makes its passes whenever its bell rings.

use std::collections::BTreeMap;
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

/// How soon to look again when a sweep is owed: nobody waits for it, and most often another replica, whose schedule
/// rang at the same moment, is at work on it for long.
const LATER: Duration = Duration::from_secs(30);

/// Passes among which one by somebody else is looked for; among more, one too many is made.
const PASSES_LOOKED_AT: u32 = 200;

/// Whether what somebody rang for is made up for when it cannot be done now. The next poll or retry comes by itself and
/// soon; the next sweep in a day, and a person rings once.
const fn made_up_for(ring: Ring) -> bool {
    matches!(ring, Ring::Sweep | Ring::Forced)
}

/// What became of a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Made {
    /// It was made, however it ended.
    Pass,
    /// Somebody else was at work on the route in its place.
    Held,
    /// The database failed before its end.
    Failed,
}

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
    /// ...and what was rung meanwhile is made up for after it; also the rare rings that met the database's pause or
    /// somebody else at work. With when each was rung last.
    owed: BTreeMap<Ring, Timestamp>,
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
            owed: BTreeMap::new(),
        }
    }

    /// How long to wait for the bell at most; then something is to be looked for even if nobody rang.
    pub fn patience(&self) -> Duration {
        match self.rests {
            Some(until) => since(self.works.clock.now(), until).clamp(AGAIN, WAIT),
            None if self.held || self.owed.contains_key(&Ring::Forced) => AGAIN,
            None if !self.owed.is_empty() => LATER,
            None => WAIT,
        }
    }

    /// Makes a pass whenever the bell rings, until told to leave or the service stops.
    pub(super) fn keep(mut self, bell: &Bell, leave: &AtomicBool) {
        let away = || leave.load(Ordering::SeqCst);
        while !away() && !self.works.stop.raised() {
            let rings = bell.wait(self.patience());
            if (rings.is_empty() && !self.held && self.owed.is_empty()) || away() || self.works.stop.raised() {
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
        let rung: BTreeMap<Ring, Timestamp> =
            rings.iter().filter(|ring| **ring != Ring::Heard).map(|ring| (*ring, now)).collect();
        // A pause that ends further ahead than it is long was taken by a clock that was set back since.
        if let Some((until, pause)) = self.pause
            && now < until
            && since(now, until) <= pause
            && !forced
        {
            log::debug!("route {}: waiting for the database until {until:.0}", self.route.name);
            // What was heard has no next ring.
            self.held = heard;
            self.owe(rung);
            return;
        }
        self.owed.extend(rung);
        if self.leaves_in_peace(now) {
            if !forced {
                self.held = true;
                return;
            }
            self.rests = None;
        }
        self.held = false;
        let owed = std::mem::take(&mut self.owed);
        if let Err(error) = self.make_up_for(&owed, now) {
            self.held |= heard;
            self.owe(owed);
            self.database_failed(&error, now);
        }
    }

    /// Keeps in mind which of these rings are made up for as soon as can be.
    fn owe(&mut self, rings: BTreeMap<Ring, Timestamp>) {
        for (ring, at) in rings.into_iter().filter(|(ring, _)| made_up_for(*ring)) {
            let owed = self.owed.entry(ring).or_insert(at);
            *owed = at.max(*owed);
        }
    }

    /// Makes the passes that `owed` asks for; those that met somebody else at work are owed again. An error comes
    /// before the pass: one that began is not made up for.
    fn make_up_for(&mut self, owed: &BTreeMap<Ring, Timestamp>, now: Timestamp) -> Result<(), StoreError> {
        if owed.keys().any(|ring| made_up_for(*ring)) {
            // Reads may be answered where no pass can begin.
            self.works.store.try_writing()?;
        }
        // Also without a ring: what another replica took in waits as well, and a long pass would take it along.
        if !self.works.store.rung(&self.route.name, now, 1)?.is_empty() {
            // What was heard is visited past the other's pass where it can be, and looked for again where not.
            self.held |= self.make(&Wake::Retry, "webhook") != Made::Pass;
        }
        let mut rings: Vec<Ring> = owed.keys().copied().collect();
        if let Some(at) = owed.get(&Ring::Sweep)
            && *at < now
            && self.swept_since(*at, now)?
        {
            rings.retain(|ring| *ring != Ring::Sweep);
        }
        let Some(wake) = self.wake(&rings, now)? else { return Ok(()) };
        let forced = rings.contains(&Ring::Forced);
        let cause = match (&wake, forced) {
            (_, true) => "signal",
            (Wake::Retry, _) => "retry",
            _ => "schedule",
        };
        if self.make(&wake, cause) == Made::Held {
            // Another replica, or an operator, is at work: that is as good as our own poll or retry.
            self.owe(owed.iter().filter(|(ring, _)| rings.contains(ring)).map(|(ring, at)| (*ring, *at)).collect());
        }
        Ok(())
    }

    /// Whether a sweep that was rung for at `at` and had to wait is paid by one that somebody else has begun and ended
    /// since: replicas are rung by their schedules at once, and need not sweep one after the other. One that had begun
    /// before may have listed already what the ring is about. The note of the last whole sweep tells, so that one that
    /// failed or was cut short pays nothing, and neither does one by a clock that was ahead. What a person asks for is
    /// paid by our own pass alone: nobody else was rung.
    fn swept_since(&self, at: Timestamp, now: Timestamp) -> Result<bool, StoreError> {
        let note = self.works.store.note(&self.route.name, "last_sweep")?;
        let swept = note.and_then(|text| text.parse::<Timestamp>().ok());
        let Some(swept) = swept.filter(|swept| (at..=now).contains(swept)) else { return Ok(false) };
        let passes = self.works.store.passes(Some(&self.route.name), PASSES_LOOKED_AT)?;
        Ok(passes.iter().any(|pass| {
            let until = pass.ended_at.unwrap_or(pass.started_at);
            pass.start.kind == "sweep" && pass.started_at >= at && (pass.started_at..=until).contains(&swept)
        }))
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
    fn make(&mut self, wake: &Wake, cause: &str) -> Made {
        let Some(engine) = self.engine() else { return Made::Pass };
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
            Err(error @ EngineError::Held { .. }) => {
                log::debug!("{error}");
                return Made::Held;
            }
            Err(EngineError::Stopped) => {}
            Err(EngineError::Store(error)) => {
                self.database_failed(&error, self.works.clock.now());
                return Made::Failed;
            }
            Err(error @ EngineError::Provider { .. }) => self.say(format!("route {}: {error}", self.route.name)),
        }
        Made::Pass
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
