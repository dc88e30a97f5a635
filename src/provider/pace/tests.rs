//! That no window ever holds more than its cap: for one process, and for many that share a credential and die.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::super::breaker::PROBE_MAX;
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

/// An account in memory that counts how often it was opened, and can be out of reach.
#[derive(Default)]
struct Shelf {
    account: Mutex<Account>,
    opened: Mutex<u64>,
    closed: Mutex<bool>,
}

impl Keeper for Shelf {
    fn open(&self, change: &mut dyn FnMut(&mut Account)) -> Result<(), String> {
        if *lock(&self.closed) {
            return Err("out of reach".to_owned());
        }
        *lock(&self.opened) += 1;
        change(&mut lock(&self.account));
        // As the database keeps it.
        let text = serde_json::to_string(&lock(&self.account).book).map_err(|error| error.to_string())?;
        lock(&self.account).book = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        Ok(())
    }
}

/// Small limits: points a minute, creations a minute, creations an hour.
fn tight() -> Network {
    Network {
        github_points_per_minute: 60,
        github_creations_per_minute: 10,
        github_creations_per_hour: 30,
        ..crate::provider::testing::network()
    }
}

/// The published limits of those: cap, length in milliseconds without slack, units of each weight.
const TIGHT: [(u64, i64, [u64; 3]); 3] = [(60, 60_000, [1, 5, 5]), (10, 60_000, [0, 0, 1]), (30, 3_600_000, [0, 0, 1])];

/// Processes that share one credential, on one clock.
struct Many {
    clock: VirtualClock,
    shelf: Arc<Shelf>,
    network: Network,
    /// Ordinary and urgent.
    paces: Vec<(Pace, Pace)>,
    born: u64,
    /// When what left, and whether it was urgent.
    sent: Vec<(i64, Weight, bool)>,
}

impl Many {
    fn new(count: usize, network: Network) -> Self {
        let clock = VirtualClock::starting_at(crate::provider::testing::start());
        let (shelf, paces, sent) = (Arc::new(Shelf::default()), Vec::new(), Vec::new());
        let mut many = Self { clock, shelf, network, paces, born: 0, sent };
        many.paces = (0..count).map(|_| many.born()).collect();
        many
    }

    fn born(&mut self) -> (Pace, Pace) {
        self.born += 1;
        let pace = Pace::github(&self.network).kept(self.shelf.clone(), &format!("process {}", self.born), false);
        let urgent = pace.urgent();
        (pace, urgent)
    }

    /// A process dies with whatever it holds, and another starts in its place.
    fn die(&mut self, which: usize) {
        self.paces[which] = self.born();
    }

    fn tries(&mut self, which: usize, weight: Weight, urgent: bool) -> Result<(), Duration> {
        let (bulk, hasty) = &self.paces[which];
        let pace = if urgent { hasty } else { bulk };
        match pace.admit(weight, &self.clock, &Stop::default(), Duration::ZERO).map(drop) {
            Ok(()) => {
                self.sent.push((millis(self.clock.now()), weight, urgent));
                Ok(())
            }
            Err(Denied::Later(wait)) => Err(wait),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The law: no stretch of a window's length holds more than its cap, and of ordinary work no more than is its.
    fn keeps_to(&self, limits: &[(u64, i64, [u64; 3])]) -> Result<(), String> {
        for (cap, length, units) in limits {
            for (end, ..) in &self.sent {
                let within = |at: i64| end - length < at && at <= *end;
                let sum = |urgent: bool| -> u64 {
                    let some = self.sent.iter().filter(|(at, _, hasty)| within(*at) && (urgent || !hasty));
                    some.map(|(_, weight, _)| units[*weight as usize]).sum()
                };
                let (all, bulk) = (sum(true), sum(false));
                if all > *cap || bulk > cap - cap / 10 {
                    return Err(format!("{all} (ordinary {bulk}) of {cap} in {length} ms up to {end}"));
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #[test]
    fn many_processes_that_die_at_any_moment_never_exceed_a_limit_together(
        steps in proptest::collection::vec(
            (0..4_usize, weight(), any::<bool>(), prop_oneof![Just(0_i64), 0_i64..500, 0_i64..20_000], 0..20_u8),
            1..400,
        ),
    ) {
        let mut many = Many::new(4, tight());
        for (which, weight, urgent, pause, fate) in steps {
            many.clock.advance(Duration::from_millis(pause.unsigned_abs()));
            match fate {
                0 => many.die(which),
                // Whoever waits, waits for all it was told to.
                1 => {
                    if let Err(wait) = many.tries(which, weight, urgent) {
                        many.clock.advance(wait.min(Duration::from_secs(90)));
                    }
                }
                // A burst.
                2 => while many.tries(which, Weight::Read, urgent).is_ok() {},
                _ => drop(many.tries(which, weight, urgent)),
            }
        }
        many.keeps_to(&TIGHT).map_err(TestCaseError::fail)?;
        // What the dead held comes back: after the longest window and a block, all of it.
        for which in 0..4 {
            many.die(which);
        }
        many.clock.advance(Duration::from_secs(3_601) + BLOCK + Duration::from_secs(60));
        let before = many.sent.len();
        let mut tries = 0;
        while many.sent.len() < before + 27 {
            tries += 1;
            prop_assert!(tries < 10_000, "{} of 27 creations left", many.sent.len() - before);
            if let Err(wait) = many.tries(0, Weight::Create, false) {
                prop_assert!(wait < Duration::from_secs(72), "the hour's limit is not free: {wait:?}");
                many.clock.advance(wait);
            }
        }
        many.keeps_to(&TIGHT).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn a_process_that_is_started_over_and_over_takes_no_more_than_one_that_lives(
        lives in proptest::collection::vec((1..20_usize, weight(), 0_i64..3_000), 1..120),
    ) {
        let mut many = Many::new(1, tight());
        for (calls, weight, pause) in lives {
            many.die(0);
            for _ in 0..calls {
                let _ = many.tries(0, weight, false);
            }
            many.clock.advance(Duration::from_millis(pause.unsigned_abs()));
        }
        many.keeps_to(&TIGHT).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn replicas_whose_clocks_differ_by_what_the_slack_allows_share_one_limit(
        steps in proptest::collection::vec((0..2_usize, 0_u64..2_000), 1..300),
    ) {
        let mut many = Many::new(2, tight());
        let ahead = VirtualClock::starting_at(many.clock.now());
        ahead.advance(Duration::from_millis(900));
        for (which, pause) in steps {
            many.clock.advance(Duration::from_millis(pause));
            ahead.advance(Duration::from_millis(pause));
            let clock: &VirtualClock = if which == 0 { &many.clock } else { &ahead };
            let admitted = many.paces[which].0.admit(Weight::Read, clock, &Stop::default(), Duration::ZERO);
            if admitted.map(drop).is_ok() {
                many.sent.push((millis(many.clock.now()), Weight::Read, false));
            }
        }
        many.keeps_to(&TIGHT[..1]).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn what_is_urgent_finds_room_however_many_processes_are_busy() {
    let mut many = Many::new(5, tight());
    for _ in 0..100 {
        for which in 0..5 {
            let _ = many.tries(which, Weight::Read, false);
        }
    }
    assert_eq!(many.sent.len(), 54, "nine in ten of 60");
    for _ in 0..4 {
        assert_eq!(many.tries(4, Weight::Read, true), Ok(()));
    }
    assert!(many.tries(4, Weight::Read, true).is_err(), "one in thirty is left to who cannot open the account");
}

#[test]
fn who_cannot_open_the_account_fits_beside_those_who_use_it_up() {
    for order in [[0, 1], [1, 0]] {
        let mut many = Many::new(2, tight());
        for which in order {
            *lock(&many.shelf.closed) = which == 1;
            while many.tries(which, Weight::Read, true).is_ok() {}
        }
        many.keeps_to(&TIGHT[..1]).expect("the limit");
        assert!(many.sent.len() >= 58, "{}", many.sent.len());
    }
}

#[test]
fn a_steady_stream_opens_the_account_seldom() {
    let mut many = Many::new(1, crate::provider::testing::network());
    for _ in 0..3_000 {
        many.clock.advance(Duration::from_millis(100));
        let _ = many.tries(0, Weight::Read, false);
    }
    let (sent, opened) = (many.sent.len(), *lock(&many.shelf.opened));
    assert!(sent >= 2_990 && opened <= 100, "{opened} openings for {sent} requests");
}

/// Creations in two hours, each the moment it may, as an import makes them.
fn import(pace: &Pace) -> u64 {
    let clock = VirtualClock::starting_at(crate::provider::testing::start());
    let end = crate::clock::later(clock.now(), Duration::from_secs(7_200));
    let mut made = 0;
    while clock.now() < end {
        let weights = [Weight::Create, Weight::Read, Weight::Read];
        for weight in weights {
            let ticket = pace.admit(weight, &clock, &Stop::default(), Duration::from_secs(7_200)).expect("a turn");
            drop(ticket);
            clock.advance(Duration::from_millis(120));
        }
        made += 1;
    }
    made
}

#[test]
fn a_single_process_that_shares_with_nobody_loses_little() {
    let network = crate::provider::testing::network();
    let shelf = Arc::new(Shelf::default());
    let alone = import(&Pace::github(&network));
    let kept = import(&Pace::github(&network).kept(shelf.clone(), "one", false));
    assert!(kept * 100 >= alone * 96, "{kept} with an account, {alone} without");
    let opened = *lock(&shelf.opened);
    assert!(opened * 4 <= kept * 3, "{opened} openings for {} requests", kept * 3);
}

#[test]
fn an_account_out_of_reach_leaves_a_small_share_and_never_everything() {
    let mut many = Many::new(1, tight());
    *lock(&many.shelf.closed) = true;
    while many.tries(0, Weight::Read, true).is_ok() {}
    assert_eq!(many.sent.len(), 2, "one in thirty of 60");
    // It is looked for again after a while, and then all is as before.
    *lock(&many.shelf.closed) = false;
    many.clock.advance(BLOCK);
    while many.tries(0, Weight::Read, false).is_ok() {}
    assert!((48..=54).contains(&many.sent.len()), "{}", many.sent.len());
}

#[test]
fn a_quiet_time_that_one_is_told_is_kept_by_all_and_outlives_who_was_told() {
    let mut many = Many::new(2, tight());
    many.paces[0].0.hold(&many.clock, Duration::from_secs(300));
    many.die(0);
    for which in 0..2 {
        assert_eq!(many.tries(which, Weight::Read, true), Err(Duration::from_secs(300)));
    }
    many.clock.advance(Duration::from_secs(300));
    assert_eq!(many.tries(1, Weight::Read, false), Ok(()));
}

#[test]
fn a_breaker_that_one_process_opened_is_open_for_the_next_and_one_of_all_tries() {
    let many = Many::new(3, tight());
    let admit = |which: usize| many.paces[which].0.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO);
    for _ in 0..6 {
        admit(0).expect("it is closed").shown(&many.clock, Shown::Failed(Trouble::Outage, "status 503"), 1.0);
    }
    for which in [0, 1, 2] {
        assert!(matches!(admit(which).map(drop), Err(Denied::Resting { .. })), "process {which}");
    }
    assert!(many.paces[2].0.resting(many.clock.now()).is_some());
    many.clock.advance(Duration::from_secs(30));
    let probe = admit(2).expect("one tries");
    assert!(matches!(admit(0).map(drop), Err(Denied::Resting { .. })));
    assert!(matches!(admit(1).map(drop), Err(Denied::Resting { .. })));
    probe.shown(&many.clock, Shown::Good, 0.5);
    many.clock.advance(PROBE_MAX);
    for which in [0, 1, 2] {
        admit(which).expect("it is closed for all").shown(&many.clock, Shown::Good, 0.5);
    }
    assert_eq!(lock(&many.shelf.account).standing.state, State::Closed);
}

#[test]
fn who_tried_and_died_is_made_up_for() {
    let mut many = Many::new(2, tight());
    for _ in 0..3 {
        let ticket = many.paces[0].0.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO);
        ticket.expect("it is closed").shown(&many.clock, Shown::Failed(Trouble::Token, "status 401"), 1.0);
    }
    many.clock.advance(Duration::from_secs(300));
    let probe = many.paces[0].0.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO).expect("it tries");
    std::mem::forget(probe);
    many.die(0);
    let tries =
        |many: &Many| many.paces[1].0.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO).is_ok();
    assert!(!tries(&many));
    many.clock.advance(PROBE_MAX);
    assert!(tries(&many));
}

#[test]
fn a_breaker_that_a_person_closed_is_soon_closed_for_all_and_they_try_only_once() {
    let many = Many::new(1, tight());
    let service = &many.paces[0].0;
    let person = Pace::github(&many.network).kept(many.shelf.clone(), "a person", true);
    let admit = |pace: &Pace| match pace.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO) {
        Ok(ticket) => {
            ticket.shown(&many.clock, Shown::Failed(Trouble::Token, "status 401"), 1.0);
            true
        }
        Err(_) => false,
    };
    assert_eq!((0..9).filter(|_| admit(service)).count(), 3);
    assert_eq!((0..9).filter(|_| admit(&person)).count(), 1, "one try, and it failed");
    let person = Pace::github(&many.network).kept(many.shelf.clone(), "a person", true);
    let ticket = person.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO).expect("another command");
    ticket.shown(&many.clock, Shown::Good, 0.5);
    assert!(service.resting(many.clock.now()).is_some(), "it does not know yet");
    many.clock.advance(Duration::from_secs(10));
    assert_eq!(service.resting(many.clock.now()), None);
    assert!(service.admit(Weight::Read, &many.clock, &Stop::default(), Duration::ZERO).is_ok());
}
