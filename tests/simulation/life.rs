//! The life of one simulated process: where it may be ended, frozen, or let down by its database and its clock.

use std::fmt;
use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use evenkeel::clock::{Clock, Stop, later, since};
use evenkeel::model::Timestamp;
use evenkeel::store::{StoreError, Usher};

use super::turns::Turns;

/// Unwinds an actor whose process was ended.
pub struct Killed;

/// One process from its start to its end. Every use of the network, the database and the clock is a moment of it.
pub struct Life {
    turns: Turns,
    dead: AtomicBool,
    /// Moments until it is ended; very many for one that is not to be.
    left: AtomicU64,
    /// Ms since the epoch.
    frozen_until: AtomicI64,
    /// What its clock is ahead, in ms.
    skew: AtomicI64,
    /// Whether its clock ever jumped.
    jumped: AtomicBool,
    /// When that happened while it ran, ms since the epoch: of what was before, a process knows nothing.
    set_at: AtomicI64,
    /// When it was last set ahead so.
    sprang_at: AtomicI64,
    /// Uses of the database until it is busy, and how many it is busy for.
    busy_after: AtomicI64,
    busy_for: AtomicI64,
}

impl Life {
    pub fn begin(turns: &Turns, skew: i64) -> Arc<Self> {
        Arc::new(Self {
            turns: turns.clone(),
            dead: AtomicBool::new(false),
            left: AtomicU64::new(u64::MAX),
            frozen_until: AtomicI64::new(i64::MIN),
            skew: AtomicI64::new(skew),
            jumped: AtomicBool::new(skew != 0),
            set_at: AtomicI64::new(i64::MIN),
            sprang_at: AtomicI64::new(i64::MIN),
            busy_after: AtomicI64::new(0),
            busy_for: AtomicI64::new(0),
        })
    }

    /// Ends it so many moments from now.
    pub fn end_after(&self, moments: u64) {
        self.left.store(moments, Ordering::Relaxed);
    }

    /// Stands still for so long, wherever it is; who stands still for longer already stays so.
    pub fn freeze(&self, span: Duration) {
        self.frozen_until.fetch_max(later(self.turns.now(), span).as_millisecond(), Ordering::Relaxed);
    }

    /// When it last stood still until, ms since the epoch.
    pub fn thawed_at(&self) -> i64 {
        self.frozen_until.load(Ordering::Relaxed)
    }

    /// Sets its clock.
    pub fn skew(&self, ahead: i64) {
        let before = self.skew.swap(ahead, Ordering::Relaxed);
        if before != ahead {
            let now = self.turns.now().as_millisecond();
            self.jumped.store(true, Ordering::Relaxed);
            self.set_at.store(now, Ordering::Relaxed);
            if before < ahead {
                self.sprang_at.store(now, Ordering::Relaxed);
            }
        }
    }

    /// When its clock was last set ahead while it ran, ms since the epoch.
    pub fn sprang_at(&self) -> i64 {
        self.sprang_at.load(Ordering::Relaxed)
    }

    /// Whether its clock ever jumped: waits are then as long as that made them.
    pub fn jumped(&self) -> bool {
        self.jumped.load(Ordering::Relaxed)
    }

    /// After so many uses the database is busy for so many.
    pub fn busy(&self, after: u32, uses: u32) {
        self.busy_after.store(after.into(), Ordering::Relaxed);
        self.busy_for.store(uses.into(), Ordering::Relaxed);
    }

    pub fn over(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// A moment at which others may go on, and after which this may be over.
    pub fn moment(&self, span: Range<u64>) {
        self.turns.pause_within(span);
        self.mind();
    }

    /// Waits for so long, or until woken.
    pub fn rest(&self, span: Duration) {
        self.turns.rest(span);
        self.mind();
    }

    fn mind(&self) {
        if std::thread::panicking() || !Turns::inside() {
            return;
        }
        let left = self.left.load(Ordering::Relaxed);
        if left == 0 {
            self.dead.store(true, Ordering::Relaxed);
        }
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        loop {
            let now = self.turns.now().as_millisecond();
            let frozen = self.frozen_until.load(Ordering::Relaxed).saturating_sub(now);
            if frozen <= 0 {
                break;
            }
            self.turns.pause(Duration::from_millis(frozen.unsigned_abs()));
        }
        if self.over() {
            resume_unwind(Box::new(Killed));
        }
    }
}

impl Clock for Life {
    fn now(&self) -> Timestamp {
        let moment = self.turns.now().as_millisecond().saturating_add(self.skew.load(Ordering::Relaxed));
        Timestamp::from_millisecond(moment).expect("a moment within time")
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        self.turns.pause(duration);
        self.mind();
        !stop.raised()
    }

    fn passed(&self) -> Duration {
        since(Timestamp::UNIX_EPOCH, self.turns.now())
    }

    fn was_set(&self, span: Duration) -> bool {
        let ago = self.turns.now().as_millisecond().saturating_sub(self.set_at.load(Ordering::Relaxed));
        u128::from(ago.unsigned_abs()) < span.as_millis()
    }
}

impl Usher for Life {
    fn admit(&self, doing: &dyn fmt::Display) -> Result<(), StoreError> {
        if !Turns::inside() {
            return Ok(());
        }
        self.moment(0..3);
        if self.busy_after.fetch_sub(1, Ordering::Relaxed) <= 0 && self.busy_for.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Err(StoreError::Locked { doing: doing.to_string() });
        }
        Ok(())
    }
}

/// The time of the world itself, which the services live by.
pub struct WorldClock(pub Turns);

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        self.0.pause(duration);
        !stop.raised()
    }
}
