//! That no window ever holds more than its cap: for one process, and for many that share a credential and die.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::ledger::{Ledger, Step, Window};
use super::*;
use crate::clock::VirtualClock;

fn weight() -> impl Strategy<Value = Weight> {
    prop_oneof![Just(Weight::Read), Just(Weight::Write), Just(Weight::Create)]
}

fn small() -> Vec<Window> {
    vec![
        Window::new(20, Duration::from_secs(9), [1, 5, 5]),
        Window::new(3, Duration::from_secs(9), [0, 0, 1]),
        Window::new(7, Duration::from_secs(59), [0, 0, 1]),
    ]
}

/// The same limits: cap, length in milliseconds, units of each weight.
fn caps() -> [(u64, i64, [u64; 3]); 3] {
    [(20, 10_000, [1, 5, 5]), (3, 10_000, [0, 0, 1]), (7, 60_000, [0, 0, 1])]
}

proptest! {
    #[test]
    fn no_window_ever_holds_more_than_its_cap_and_no_turn_comes_later_than_needed(
        calls in proptest::collection::vec((weight(), 0_i64..4_000), 1..120),
    ) {
        let mut ledger = Ledger::new(small(), [1_000, 1_000]);
        let caps = caps();
        let mut now = 0_i64;
        let mut left: Vec<(i64, Weight)> = Vec::new();
        for (weight, pause) in calls {
            now += pause;
            let asked = now;
            while let Step::Wait(wait) = ledger.admit(now, weight, true, false) {
                prop_assert!(wait > Duration::ZERO);
                now += span(wait);
            }
            left.push((now, weight));
            let fits = |left: &[(i64, Weight)], at: i64| caps.iter().all(|(cap, length, units)| {
                let all: u64 = left.iter().filter(|(sent, _)| at - length < *sent && *sent <= at)
                    .map(|(_, weight)| units[*weight as usize]).sum();
                all <= *cap
            });
            prop_assert!(fits(&left, now));
            // One millisecond earlier it would not have fitted, or it was not yet asked for.
            if now > asked {
                let last = left.len() - 1;
                left[last].0 = now - 1;
                prop_assert!(!fits(&left, now - 1));
                left[last].0 = now;
            }
        }
    }

    #[test]
    fn a_clock_that_jumps_never_makes_a_wait_longer_than_the_longest_window(
        calls in proptest::collection::vec((weight(), -100_000_i64..100_000), 1..200),
    ) {
        let mut ledger = Ledger::new(small(), [1_000, 1_000]);
        let mut now = 0_i64;
        for (weight, jump) in calls {
            now += jump;
            if let Step::Wait(wait) = ledger.admit(now, weight, true, false) {
                prop_assert!(wait <= Duration::from_secs(60));
            }
        }
    }
}

#[test]
fn a_credential_told_to_be_quiet_lets_nothing_out_before_the_time() {
    let mut ledger = Ledger::new(small(), [9, 9]);
    ledger.hold(1_000, Duration::from_secs(5));
    ledger.hold(1_000, Duration::from_secs(2));
    assert_eq!(ledger.admit(1_000, Weight::Read, true, false), Step::Wait(Duration::from_secs(5)));
    assert_eq!(ledger.admit(6_000, Weight::Read, true, false), Step::Go { probe: false });
}

#[test]
fn places_in_flight_are_counted_apart_and_given_back() {
    let pace = Pace::over(Side::Forge, Ledger::new(Vec::new(), [1, 1]));
    let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
    let admit = |weight| pace.admit(weight, &clock, &Stop::default(), Duration::ZERO);
    let read = admit(Weight::Read).expect("a place for a read");
    let write = admit(Weight::Create).expect("a place for a write");
    assert!(admit(Weight::Read).is_err() && admit(Weight::Write).is_err());
    drop((read, write));
    assert!(admit(Weight::Read).is_ok());
}

#[test]
fn a_wait_longer_than_allowed_is_answered_instead_of_waited() {
    let pace = Pace::over(Side::Forge, Ledger::new(small(), [9, 9]));
    let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
    pace.hold(&clock, Duration::from_secs(300));
    let answer = pace.admit(Weight::Read, &clock, &Stop::default(), Duration::from_secs(120)).map(drop);
    assert_eq!(answer, Err(Denied::Later(Duration::from_secs(300))));
    assert_eq!(clock.now(), Timestamp::UNIX_EPOCH);
}

#[test]
fn a_large_piece_of_work_leaves_room_for_what_somebody_waits_for() {
    let bulk = Pace::github(&crate::provider::testing::network());
    let urgent = bulk.urgent();
    let clock = VirtualClock::starting_at(Timestamp::UNIX_EPOCH);
    let admits = |pace: &Pace| pace.admit(Weight::Create, &clock, &Stop::default(), Duration::ZERO).is_ok();
    assert_eq!((0..1_000).filter(|_| admits(&bulk)).count(), 72, "nine in ten of 80 a minute");
    assert_eq!((0..1_000).filter(|_| admits(&urgent)).count(), 8, "both together stay within the limit");
}

#[test]
fn threads_that_share_a_credential_share_its_limit() {
    let network = crate::provider::testing::network();
    let pace = Arc::new(Pace::github(&network));
    let clock = Arc::new(VirtualClock::starting_at(Timestamp::UNIX_EPOCH));
    let sent = Arc::new(Mutex::new(BTreeMap::<i64, u32>::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let ticket = pace.admit(Weight::Create, &*clock, &Stop::default(), Duration::from_secs(7_200));
                    let _ticket = ticket.expect("a turn within two hours");
                    *lock(&sent).entry(clock.now().as_second()).or_default() += 1;
                }
            });
        }
    });
    let sent = lock(&sent);
    assert_eq!(sent.values().sum::<u32>(), 200);
    // Stamped after the turn was taken, so a stamp may be late, never early: count what left by each moment.
    let by = |second: i64| sent.range(..=second).map(|(_, count)| *count).sum::<u32>();
    assert!(by(0) <= 80 && by(60) <= 80, "{sent:?}");
}
