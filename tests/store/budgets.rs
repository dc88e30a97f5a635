//! What all processes keep of a credential together, and the starts of the service, on both databases.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use evenkeel::clock::{Clock as _, Stop, VirtualClock};
use evenkeel::config::{Network, Secret};
use evenkeel::model::Side;
use evenkeel::provider::breaker::{PROBE_MAX, Shown, State, Trouble};
use evenkeel::provider::pace::{BLOCK, Denied, Pace, Weight};
use evenkeel::store::{Keeping, Store};

use super::at;
use super::support::Database;
use crate::on_both;

/// What `support/rows/0005.sql` put in, as the store of now understands it.
pub(super) fn rows_are_understood(store: &Store) {
    let credentials = store.credentials().expect("credentials");
    let shown: Vec<_> = credentials.iter().map(|one| (one.side, one.account.standing.state)).collect();
    assert_eq!(shown, [(Side::Tracker, State::Closed), (Side::Forge, State::Open)]);
    let taken = credentials[1].account.taken(Side::Forge, &Network::default(), at(1));
    assert_eq!(taken.iter().map(|one| one.taken).collect::<Vec<_>>(), [29, 2, 2]);
    let (_, before) = store.begin_start("you", Duration::from_secs(60), at(10)).expect("begun");
    assert_eq!(before, 1);
}

fn keeping(store: &Store, token: &str, clock: &Arc<VirtualClock>) -> Arc<Keeping> {
    let address = "https://api.github.test".to_owned();
    Arc::new(Keeping::new(store.clone(), Side::Forge, address, Secret::new(token.to_owned()), clock.clone()))
}

/// The pace of a process.
fn pace(store: &Store, name: &str, clock: &Arc<VirtualClock>) -> Pace {
    Pace::github(&Network::default()).kept(keeping(store, "the token", clock), name, false)
}

fn admit<'a>(
    pace: &'a Pace,
    weight: Weight,
    clock: &VirtualClock,
) -> Result<evenkeel::provider::pace::Ticket<'a>, Denied> {
    pace.admit(weight, clock, &Stop::default(), Duration::ZERO)
}

on_both! {
    fn an_account_comes_back_as_it_was_changed_and_each_credential_has_its_own(database: &Database) {
        let store = database.open();
        store.open_account("one", Side::Forge, at(0), &mut |account| {
            account.standing.state = State::Open;
            account.standing.trouble = Some(Trouble::Limit);
            account.standing.why = "told\u{0} to wait".to_owned();
            account.standing.until = 7;
        }).expect("opened");
        store.open_account("two", Side::Tracker, at(1), &mut |account| {
            assert_eq!(*account, evenkeel::provider::pace::Account::default());
        }).expect("opened");
        let other = database.open();
        let all = other.credentials().expect("answers");
        let shown: Vec<_> = all.iter().map(|one| (one.digest.as_str(), one.side, one.at)).collect();
        assert_eq!(shown, [("two", Side::Tracker, at(1)), ("one", Side::Forge, at(0))]);
        let standing = &all[1].account.standing;
        assert_eq!((standing.state, standing.until, standing.why.as_str()), (State::Open, 7, "told\u{fffd} to wait"));
        let begin = |seconds: i64| other.begin_start("me", Duration::from_secs(60), at(seconds)).expect("begun");
        begin(24 * 3_600);
        assert_eq!(other.credentials().expect("answers").len(), 2);
        begin(24 * 3_600 + 1);
        assert_eq!(other.credentials().expect("answers").len(), 1, "a token that is not used any more is forgotten");
    }

    fn a_digest_tells_credentials_apart_and_never_shows_one(database: &Database) {
        let store = database.open();
        let digest = |side, address: &str, token: &str| {
            store.digest_of(side, address, &Secret::new(token.to_owned())).expect("a digest")
        };
        let one = digest(Side::Forge, "https://a.test", "token-1");
        assert_eq!(one, digest(Side::Forge, "https://a.test", "token-1"));
        for other in [
            digest(Side::Tracker, "https://a.test", "token-1"),
            digest(Side::Forge, "https://b.test", "token-1"),
            digest(Side::Forge, "https://a.test", "token-2"),
        ] {
            assert_ne!(one, other);
        }
        // A copy of this database cannot be held against another one.
        let elsewhere = Store::in_memory().expect("a database");
        let same = elsewhere.digest_of(Side::Forge, "https://a.test", &Secret::new("token-1".to_owned()));
        assert_ne!(same.expect("a digest"), one);
        assert!(!one.contains("token"));
    }

    /// Each with its own store, as processes have, and all at once.
    fn processes_at_work_at_once_keep_to_one_limit(database: &Database) {
        let clock = Arc::new(VirtualClock::starting_at(at(0)));
        let sent = Mutex::new(BTreeMap::<i64, u32>::new());
        let born = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let store = database.open();
                    // Each dies once, with what it holds.
                    for life in 0..2 {
                        let name = born.fetch_add(1, Ordering::Relaxed);
                        let pace = pace(&store, &format!("{name} {life}"), &clock);
                        for _ in 0..12 {
                            let wait = Duration::from_secs(7_200);
                            let ticket = pace.admit(Weight::Create, &*clock, &Stop::default(), wait);
                            drop(ticket.expect("a turn within two hours"));
                            // Stamped after the turn was taken, so a stamp may be late, never early.
                            *sent.lock().expect("the lock").entry(clock.now().as_second()).or_default() += 1;
                        }
                    }
                });
            }
        });
        let sent = sent.into_inner().expect("the lock");
        assert_eq!(sent.values().sum::<u32>(), 96);
        let begin = at(0).as_second();
        let by = |second: i64| sent.range(..=begin + second).map(|(_, count)| *count).sum::<u32>();
        assert!(by(0) <= 72 && by(60) <= 72, "{sent:?}");
        assert!(*sent.keys().last().expect("the last") >= begin + 61, "the last had to wait: {sent:?}");
    }

    fn what_was_taken_and_what_was_said_outlive_the_process(database: &Database) {
        let clock = Arc::new(VirtualClock::starting_at(at(0)));
        let mut sent = 0;
        // A crash loop: each life sends what it may, without waiting.
        for life in 0..40 {
            let store = database.open();
            let pace = pace(&store, &format!("life {life}"), &clock);
            for _ in 0..5 {
                sent += u32::from(admit(&pace, Weight::Create, &clock).is_ok());
            }
        }
        assert!((40..=72).contains(&sent), "{sent} creations in a moment");
        let last = pace(&database.open(), "the last", &clock);
        clock.advance(Duration::from_secs(61) + BLOCK);
        assert!(admit(&last, Weight::Create, &clock).is_ok(), "what the dead held comes back");
        last.hold(&*clock, Duration::from_secs(600));
        let next = pace(&database.open(), "the next", &clock);
        assert_eq!(
            admit(&next, Weight::Read, &clock).map(drop),
            Err(Denied::Later(Duration::from_secs(600)))
        );
    }

    fn a_breaker_that_is_open_is_open_for_whoever_starts_and_one_of_all_tries(database: &Database) {
        let clock = Arc::new(VirtualClock::starting_at(at(0)));
        let store = database.open();
        let first = pace(&store, "the first", &clock);
        for _ in 0..6 {
            let ticket = admit(&first, Weight::Read, &clock).expect("it is closed");
            ticket.shown(&*clock, Shown::Failed(Trouble::Outage, "connection refused"), 1.0);
        }
        drop(first);
        let (second, third) = (pace(&database.open(), "the second", &clock), pace(&database.open(), "the third", &clock));
        for pace in [&second, &third] {
            let Err(Denied::Resting { until, why }) = admit(pace, Weight::Read, &clock).map(drop) else {
                panic!("it is open")
            };
            assert!(until == at(30) && why.contains("connection refused"), "{why}");
        }
        clock.advance(Duration::from_secs(30));
        let probe = admit(&third, Weight::Read, &clock).expect("one tries");
        assert!(matches!(admit(&second, Weight::Read, &clock).map(drop), Err(Denied::Resting { .. })));
        probe.shown(&*clock, Shown::Good, 0.5);
        clock.advance(PROBE_MAX);
        assert!(admit(&second, Weight::Read, &clock).is_ok());
        let standing = &store.credentials().expect("answers")[0].account.standing;
        assert_eq!((standing.state, standing.openings), (State::Closed, 0));
    }

    fn starts_that_did_not_end_in_order_are_counted(database: &Database) {
        let store = database.open();
        let begin = |seconds: i64| store.begin_start("me", Duration::from_secs(60), at(seconds)).expect("begun");
        let (first, before) = begin(0);
        assert_eq!(before, 0);
        assert_eq!(begin(10).1, 1);
        store.end_start(first, at(11)).expect("ended");
        assert_eq!(begin(20).1, 1, "one ended in order");
        assert_eq!(begin(75).1, 1, "one is long ago");
        assert_eq!(begin(-1_000).1, 0, "the clock was wrong for a while");
        assert_eq!(begin(2 * 24 * 3_600).1, 0);
        assert_eq!(database.number("(SELECT count(*) FROM starts)"), 1, "old ones are forgotten");
    }
}
