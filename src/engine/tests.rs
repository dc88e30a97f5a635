//! Whole passes against two sides in memory: the world they run in, and the stories by what they are about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod creations;
mod fake;
mod healing;
mod repairs;
mod restraint;
mod walk;

pub(in crate::engine) use fake::{BeforeRead, Fake, Trouble};

use super::*;
use crate::clock::{VirtualClock, earlier, lock};
use crate::model::{
    Assignees, Change, Content, Creation, Facts, FieldPolicy, IssueRef, Item, ItemKey, LinkStatus, Native, OnConflict,
    Place, Policy, Status,
};
use crate::provider::{Changes, Cursor, Draft, Finding, Found, Marked, Observe, ProviderError, Requests, Sink, Write};

/// Two sides, a database, an engine.
pub(in crate::engine) struct World {
    pub(in crate::engine) clock: Arc<VirtualClock>,
    pub(in crate::engine) tracker: Arc<Fake>,
    pub(in crate::engine) forge: Arc<Fake>,
    pub(in crate::engine) engine: Engine,
}

impl World {
    pub(in crate::engine) fn new(rules: Rules) -> Self {
        let clock = Arc::new(VirtualClock::starting_at(Timestamp::from_second(1_800_000_000).expect("in range")));
        let fake =
            |side| Arc::new(Fake { side, clock: clock.clone(), shelf: Mutex::default(), sent: AtomicU64::new(0) });
        let (tracker, forge) = (fake(Side::Tracker), fake(Side::Forge));
        let engine = Engine {
            route: "app".parse().expect("a name"),
            project: "77".parse().expect("a gid"),
            rules,
            providers: BySide { tracker: tracker.clone(), forge: forge.clone() },
            store: Store::in_memory().expect("a database in memory"),
            clock: clock.clone(),
            stop: Stop::default(),
            patience: Patience {
                attempts_max: 3,
                backoff: Duration::from_secs(30),
                backoff_max: Duration::from_secs(600),
                intent_grace: Duration::from_secs(600),
                repairs_max: 1_000,
            },
            holder: "test".into(),
            actor: "test".into(),
            seed: 1,
            progress: Arc::new(Quiet),
        };
        Self { clock, tracker, forge, engine }
    }

    pub(in crate::engine) fn pass(&self, wake: &Wake) -> Report {
        self.clock.advance(Duration::from_secs(60));
        self.engine.pass(wake, &PassOptions::default()).expect("the pass runs")
    }

    pub(in crate::engine) fn poll(&self) -> Report {
        self.pass(&Wake::Poll { belt: false })
    }

    /// Every story ends so: a poll and a sweep find nothing to do, nothing is left open, the chain is whole.
    pub(in crate::engine) fn settles(&self) {
        for wake in [Wake::Poll { belt: false }, Wake::Sweep, Wake::Poll { belt: true }] {
            let report = self.pass(&wake);
            assert_eq!(report.ended, Ended::Settled, "{wake:?}: {report:#?}");
            assert!(report.plan.is_empty(), "{wake:?} plans {:#?}", report.plan.repairs);
        }
        assert!(self.engine.store.intents(&self.engine.route).expect("intents").is_empty(), "an intent is left open");
        let verified = self.engine.store.verify_history().expect("a history");
        assert!(matches!(verified, crate::store::Verified::Whole { .. }), "{verified:?}");
    }

    pub(in crate::engine) fn partner(&self, key: &ItemKey) -> ItemKey {
        let link = self.engine.store.link_of(key).expect("a look-up").expect("a link");
        link.key(key.side().opposite())
    }
}

pub(in crate::engine) fn task(title: &str) -> Content {
    Content { title: title.into(), body: "Some words.\n\nMore words.".into(), ..Content::default() }
}

pub(in crate::engine) fn both() -> Rules {
    Rules { creation: Creation::Both, ..Rules::default() }
}
