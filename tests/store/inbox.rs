//! Deliveries, hooks, notices, calls and refusals on both databases: kept whole, once, and without standing in each
//! other's way.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use evenkeel::model::{ItemKey, RouteName, Side};
use evenkeel::store::{
    Begun, Delivery, DeliveryFilter, Due, HookChange, HookState, NewCall, NewDelivery, NewDue, NewHook, NewLink,
    NewNotice, Notice, Origin, Record, Refusals, Store, StoreError, TakenIn, Touches, Verdict,
};

use super::support::Database;
use super::{at, due, entry, everything, issue, key, lease, pair, route, task};
use crate::on_both;

/// A delivery of GitHub that touches items, each of which may stand on these routes.
fn delivery(name: &str, items: &[(&str, &[&str])]) -> NewDelivery {
    let item = |(item, routes): &(&str, &[&str])| -> (ItemKey, Vec<RouteName>) {
        (key(item), routes.iter().map(|name| route(name)).collect())
    };
    NewDelivery {
        side: Side::Forge,
        key: name.to_owned(),
        hook: None,
        event: "issues.closed".to_owned(),
        origin: Origin::Sent,
        note: Some("a \u{0} note".to_owned()),
        garbled: false,
        request: format!("request of {name}"),
        headers: BTreeMap::from([("x-github-event".to_owned(), "issues \u{0}".to_owned())]),
        body: b"{\"\xff\x00\"}".to_vec(),
        touches: Touches {
            items: items.iter().map(item).collect(),
            reason: "heard of it".to_owned(),
            ..Touches::default()
        },
    }
}

fn take(store: &Store, new: &NewDelivery, seconds: i64) -> TakenIn {
    store.take_in(std::slice::from_ref(new), at(seconds)).expect("taken in").remove(0)
}

fn rows(store: &Store) -> usize {
    store.deliveries(&DeliveryFilter { limit: 10_000, ..DeliveryFilter::default() }).expect("deliveries").len()
}

fn rung(store: &Store, name: &str) -> Vec<String> {
    let rung = store.rung(&route(name), at(1_000_000), 10_000).expect("answers");
    rung.iter().map(|due| due.item.to_string()).collect()
}

fn notice(name: &str, of: &str, routes: &[&str]) -> NewNotice {
    NewNotice {
        key: name.to_owned(),
        issue: issue(of),
        text: format!("{name} \u{0}"),
        cause: format!("cause of {name}"),
        routes: routes.iter().map(|name| route(name)).collect(),
    }
}

/// All that deliveries leave behind, without the numbers of rows: only those tell in which order they were written.
fn outcome(store: &Store) -> Vec<String> {
    let mut rows = Vec::new();
    for one in store.deliveries(&DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() }).expect("answers") {
        let body = store.delivery(one.id).expect("answers").expect("it is there").1;
        rows.push(format!("{:?} {body:?}", Delivery { id: 0, ..one }));
    }
    let dues = ["app", "back", "site"].map(|name| store.due(&route(name), at(100_000_000), 1_000).expect("answers"));
    for one in dues.into_iter().flatten().chain(store.parked(None).expect("answers")) {
        rows.push(format!("{:?}", Due { id: 0, ..one }));
    }
    for name in ["app", "back"] {
        let open = store.open_notices(&route(name), 1_000).expect("answers");
        rows.extend(open.into_iter().map(|one| format!("{:?}", Notice { id: 0, ..one })));
        for of in ["acme/app#100", "acme/app#101", "acme/app#200", "acme/app#201"] {
            let causes = store.notice_causes(&route(name), &issue(of), at(0)).expect("answers");
            rows.extend(causes.into_iter().map(|cause| format!("{name} {of} {cause:?}")));
        }
    }
    rows.extend(store.hooks(None).expect("answers").iter().map(|hook| format!("{hook:?}")));
    rows.sort_unstable();
    rows
}

on_both! {
    fn a_delivery_comes_back_as_it_came_and_its_items_are_due_where_they_belong(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        store.record(&app, &Record { link: vec![pair(1, 17)], ..Record::default() }, at(0)).expect("linked");
        // Linked: due on the link's route, whatever else was asked. Not linked: on each that may hold it.
        let new = delivery("g-1", &[("github:acme/app#17", &["site", "back"]), ("github:acme/app#18", &["app", "site"])]);
        let taken = take(&store, &new, 5);
        assert_eq!((taken.again, taken.verdict, taken.routes.as_slice()), (false, Verdict::Due, &[route("app"), route("site")][..]));
        assert_eq!(rung(&store, "app"), ["github:acme/app#17", "github:acme/app#18"]);
        assert_eq!(rung(&store, "site"), ["github:acme/app#18"]);
        assert!(rung(&store, "back").is_empty());
        let (kept, body) = store.delivery(taken.id).expect("answers").expect("it is there");
        assert_eq!(body, new.body, "byte for byte");
        assert_eq!((kept.provider, kept.key.as_str(), kept.origin, kept.repeats), ("github", "g-1", Origin::Sent, 0));
        assert_eq!((kept.received_at, kept.replayed_at, kept.touched.len()), (at(5), None, 3));
        assert_eq!(kept.note.as_deref(), Some("a \u{fffd} note"));

        let noted = take(&store, &delivery("g-2", &[]), 6);
        let garbled = take(&store, &NewDelivery { garbled: true, ..delivery("g-3", &[]) }, 7);
        assert_eq!((noted.verdict, garbled.verdict), (Verdict::Noted, Verdict::Garbled));
        let find = |filter: DeliveryFilter| -> Vec<i64> {
            store.deliveries(&filter).expect("answers").iter().map(|one| one.id).collect()
        };
        assert_eq!(find(DeliveryFilter::default()), [garbled.id, noted.id, taken.id]);
        assert_eq!(find(DeliveryFilter { verdict: Some(Verdict::Noted), ..DeliveryFilter::default() }), [noted.id]);
        assert_eq!(find(DeliveryFilter { before: Some(garbled.id), limit: 1, ..DeliveryFilter::default() }), [noted.id]);
        let of_item = Some(key("github:ACME/App#18"));
        assert_eq!(find(DeliveryFilter { item: of_item, ..DeliveryFilter::default() }), [taken.id]);
        assert!(find(DeliveryFilter { side: Some(Side::Tracker), ..DeliveryFilter::default() }).is_empty());
        assert!(store.heard_of(&key("github:acme/app#18"), at(5)).expect("answers"));
        assert!(!store.heard_of(&key("github:acme/app#18"), at(6)).expect("answers"));
        let counts = store.count_deliveries(Side::Forge, at(6)).expect("answers");
        assert_eq!((counts.deliveries, counts.garbled, counts.repeated, counts.last_at), (2, 1, 0, Some(at(7))));
    }

    fn deliveries_are_taken_in_all_or_none(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        store.record(&lease, &Record { link: vec![pair(1, 17)], ..Record::default() }, at(0)).expect("linked");
        let before = (everything(&store), rows(&store));
        let mut good = delivery("g-1", &[("github:acme/app#17", &["app"])]);
        good.touches.notices = vec![notice("opened acme/app#12", "acme/app#17", &["app"])];
        // At the second the database itself refuses.
        let bad = NewDelivery { hook: Some(1), ..delivery("g-2", &[("github:acme/app#18", &["app"])]) };
        let trap = match database.url {
            evenkeel::config::DatabaseUrl::Sqlite(_) => {
                "CREATE TRIGGER trap BEFORE INSERT ON touched WHEN NEW.item_key = 'github:acme/app#18' \
                 BEGIN SELECT RAISE(ABORT, 'a trap'); END"
            }
            evenkeel::config::DatabaseUrl::Postgres(_) => {
                "ALTER TABLE touched ADD CONSTRAINT trap CHECK (item_key <> 'github:acme/app#18')"
            }
        };
        database.execute(trap);
        let refused = store.take_in(&[good.clone(), bad.clone()], at(1));
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!((everything(&store), rows(&store)), before, "a part was kept");
        assert!(store.open_notices(&route("app"), 9).expect("answers").is_empty());
        database.execute(match database.url {
            evenkeel::config::DatabaseUrl::Sqlite(_) => "DROP TRIGGER trap",
            evenkeel::config::DatabaseUrl::Postgres(_) => "ALTER TABLE touched DROP CONSTRAINT trap",
        });
        assert_eq!(store.take_in(&[good, bad], at(2)).expect("taken in").len(), 2);
        assert_eq!(store.open_notices(&route("app"), 9).expect("answers").len(), 1);
        assert_eq!(rung(&store, "app").len(), 2);
    }

    /// Whether one by one, all at once, or split anywhere: the same rows, and the same answer to each.
    fn how_deliveries_share_transactions_changes_no_outcome(database: &Database) {
        let store = database.open();
        for (number, name) in (1_u64..).zip(["app", "back"]) {
            let link = vec![pair(number * 100, number * 100), pair(number * 100 + 1, number * 100 + 1)];
            store.record(&lease(&store, name), &Record { link, ..Record::default() }, at(0)).expect("linked");
        }
        let hook = NewHook {
            side: Side::Forge,
            resource: "acme/app".to_owned(),
            token_hash: "t".to_owned(),
            target: "https://sync.example.com/webhooks/github/t".to_owned(),
            secret: None,
            pending_until: at(60),
        };
        let hook = store.announce_hook(&hook, at(0)).expect("announced");
        let mut rng = fastrand::Rng::with_seed(7);
        let items = ["Acme/App#100", "acme/app#101", "acme/app#200", "acme/app#201", "acme/app#7", "acme/APP#7", "acme/app#8"];
        let routes: [&[&str]; 4] = [&["app"], &["site", "app"], &["back"], &[]];
        for round in 0..40_i64 {
            let now = at(1_000 * (round + 1));
            let count = rng.usize(1..9);
            let mut one = |number: usize| {
                let touched: Vec<(String, &[&str])> = (0..rng.usize(0..4))
                    .map(|_| (format!("github:{}", items[rng.usize(..items.len())]), routes[rng.usize(..4)]))
                    .collect();
                let touched: Vec<(&str, &[&str])> = touched.iter().map(|(item, routes)| (item.as_str(), *routes)).collect();
                // A third of the names come twice or more often.
                let mut new = delivery(&format!("g-{round}-{}", rng.usize(..count * 2)), &touched);
                new.request = format!("request {round}-{number}");
                new.touches.reason = format!("reason {number}");
                new.garbled = rng.u8(..8) == 0;
                new.origin = if rng.bool() { Origin::Sent } else { Origin::Fetched };
                new.hook = rng.bool().then_some(hook);
                if rng.u8(..3) == 0 {
                    new.touches.notices = vec![notice(&format!("n {round} {}", rng.u8(..3)), items[rng.usize(..4)], &["app"])];
                }
                new
            };
            let all: Vec<NewDelivery> = (0..count).map(&mut one).collect();
            let cut = rng.usize(..=count);
            let splits: [Vec<&[NewDelivery]>; 3] = [all.chunks(1).collect(), vec![&all[..cut], &all[cut..]], vec![&all]];
            let mut seen: Vec<(Vec<_>, Vec<String>)> = Vec::new();
            let app = lease(&store, "app");
            for split in splits {
                let failed = NewDue { attempts: 2, last_error: Some("503".to_owned()), ..due("github:acme/app#101", 9_000_000) };
                let parked = NewDue { parked: true, last_error: Some("403".to_owned()), ..due("github:acme/app#8", 5) };
                store.record(&app, &Record { due: vec![failed, parked], ..Record::default() }, at(1)).expect("recorded");
                let taken: Vec<TakenIn> =
                    split.iter().flat_map(|part| store.take_in(part, now).expect("taken in")).collect();
                let answers = taken.iter().zip(&all).map(|(taken, new)| {
                    let kept = store.delivery(taken.id).expect("answers").expect("it is there").0;
                    assert_eq!(kept.key, new.key, "its own answer");
                    (taken.again, taken.verdict, taken.routes.clone())
                });
                let answers = answers.collect();
                seen.push((answers, outcome(&store)));
                for table in ["touched", "deliveries", "due", "notices"] {
                    database.execute(&format!("DELETE FROM {table}"));
                }
                database.execute("UPDATE hooks SET heard_at = NULL");
            }
            assert_eq!(seen[0], seen[1], "round {round}, cut at {cut}");
            assert_eq!(seen[0], seen[2], "round {round}, all at once");
        }
    }

    /// Sixteen threads hand in at the same time: each gets the answer to his own, and what the database refuses
    /// concerns only whom it refuses.
    fn who_hands_in_beside_others_gets_his_own_answer(database: &Database) {
        const ROUNDS: u64 = 20;
        let store = database.open();
        drop(lease(&store, "app"));
        database.execute(match database.url {
            evenkeel::config::DatabaseUrl::Sqlite(_) => {
                "CREATE TRIGGER trap BEFORE INSERT ON touched WHEN NEW.item_key = 'github:acme/app#13' \
                 BEGIN SELECT RAISE(ABORT, 'a trap'); END"
            }
            evenkeel::config::DatabaseUrl::Postgres(_) => {
                "ALTER TABLE touched ADD CONSTRAINT trap CHECK (item_key <> 'github:acme/app#13')"
            }
        });
        let barrier = Arc::new(Barrier::new(16));
        let threads: Vec<_> = (0..16_u64).map(|worker| {
            let (store, barrier) = (store.clone(), barrier.clone());
            thread::spawn(move || {
                barrier.wait();
                for round in 0..ROUNDS {
                    let trapped = worker == 0;
                    // Every two workers send the same.
                    let name = format!("g-{}-{round}", worker / 2);
                    let item = if trapped { "github:acme/app#13".to_owned() } else { format!("github:acme/app#{}", 100 + worker / 2) };
                    let name = if trapped { format!("trapped-{round}") } else { name };
                    match store.hand_in(delivery(&name, &[(&item, &["app"])]), at(1)) {
                        Ok(taken) => {
                            assert!(!trapped);
                            let kept = store.delivery(taken.id).expect("answers").expect("it is there").0;
                            assert_eq!((kept.key.as_str(), kept.touched[0].item.to_string()), (name.as_str(), item));
                            assert_eq!(taken.routes.is_empty(), taken.again);
                        }
                        Err(error) => assert!(trapped, "{name}: {error}"),
                    }
                }
            })
        }).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        let kept = store.deliveries(&DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() }).expect("answers");
        assert_eq!(kept.len(), usize::try_from(8 * ROUNDS).expect("small"));
        let repeats: u32 = kept.iter().map(|one| one.repeats).sum();
        assert_eq!(u64::from(repeats), 7 * ROUNDS, "the other of each two, but for the trapped one's");
        assert_eq!(rung(&store, "app").len(), 8);
    }

    fn the_same_delivery_from_eight_threads_is_done_once(database: &Database) {
        let store = database.open();
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (store, barrier) = (store.clone(), barrier.clone());
                thread::spawn(move || {
                    barrier.wait();
                    (0..10).map(|n| take(&store, &delivery(&format!("g-{n}"), &[(&format!("github:acme/app#{}", n + 1), &["app"])]), 1)).collect::<Vec<_>>()
                })
            })
            .collect();
        let taken: Vec<Vec<TakenIn>> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        for n in 0..10 {
            let first = taken.iter().filter(|all| !all[n].again).count();
            assert_eq!(first, 1, "delivery {n}");
            assert!(taken.iter().all(|all| all[n].id == taken[0][n].id && all[n].verdict == Verdict::Due));
            assert!(taken.iter().all(|all| all[n].again == all[n].routes.is_empty()), "only the first wakes somebody");
        }
        let kept = store.deliveries(&DeliveryFilter::default()).expect("answers");
        assert_eq!((kept.len(), rung(&store, "app").len()), (10, 10));
        assert!(kept.iter().all(|one| one.repeats == 7), "each other time is counted");
    }

    /// Deliveries that touch the same items in other orders, against passes that record, ring and take up on the same
    /// routes: nobody waits for each other in a circle, and nothing is lost.
    fn deliveries_and_passes_never_wait_for_each_other_in_a_circle(database: &Database) {
        const ROUNDS: u64 = 25;
        let store = database.open();
        let names = ["app", "back", "site"];
        for (number, name) in (1..).zip(names) {
            let link: Vec<NewLink> = (0..6).map(|n| pair(number * 100 + n, number * 100 + n)).collect();
            let lease = lease(&store, name);
            store.record(&lease, &Record { link, ..Record::default() }, at(0)).expect("linked");
        }
        let mut threads = Vec::new();
        for worker in 0..4_u64 {
            let store = store.clone();
            threads.push(thread::spawn(move || {
                let mut rng = fastrand::Rng::with_seed(worker);
                for round in 0..ROUNDS {
                    let mut items: Vec<String> = (1..4_u64).flat_map(|number| {
                        (0..6).map(move |n| format!("github:acme/app#{}", number * 100 + n))
                    }).collect();
                    rng.shuffle(&mut items);
                    let items: Vec<(&str, &[&str])> = items.iter().take(9).map(|item| (item.as_str(), &[][..])).collect();
                    let mut new = delivery(&format!("{worker}-{round}"), &items);
                    let of = rng.u64(100..106);
                    new.touches.notices = vec![notice(&format!("n {worker} {round}"), &format!("acme/app#{of}"), &["app"])];
                    let other = delivery(&format!("{worker}-{round}-b"), &items[..3]);
                    let pair = if rng.bool() { [new, other] } else { [other, new] };
                    store.take_in(&pair, at(1)).unwrap_or_else(|error| panic!("worker {worker}: {error}"));
                    // What touches nothing waits in no route's line, and comes again to every worker.
                    let mut again: Vec<_> = (0..5).map(|number| delivery(&format!("again-{number}"), &[])).collect();
                    rng.shuffle(&mut again);
                    store.take_in(&again, at(1)).unwrap_or_else(|error| panic!("worker {worker}: {error}"));
                }
            }));
        }
        for (number, name) in (1..4_u64).zip(names) {
            let (store, lease) = (store.clone(), lease(&store, name));
            threads.push(thread::spawn(move || {
                for round in 0..ROUNDS {
                    let rung = store.rung(&lease.route, at(1_000), 100).expect("answers");
                    let items: Vec<ItemKey> = rung.iter().map(|due| due.item.clone()).collect();
                    store.take_up(&lease, rung).unwrap_or_else(|error| panic!("{name}: {error}"));
                    let mut dues: Vec<_> = items.iter().rev().take(2).map(|item| due(&item.to_string(), 9)).collect();
                    dues.push(due(&format!("asana:{}", number * 100), 9));
                    let record = Record { clear_due: items, due: dues, history: vec![entry("asana:1")], ..Record::default() };
                    store.record(&lease, &record, at(2)).unwrap_or_else(|error| panic!("{name}, round {round}: {error}"));
                    for notice in store.open_notices(&lease.route, 5).expect("answers") {
                        store.try_notice(&lease, notice.id, at(2)).expect("tried");
                        store.settle_notice(&lease, notice.id, Some(entry("asana:1"))).expect("told");
                    }
                }
            }));
        }
        for thread in threads {
            thread.join().expect("no panic");
        }
        assert_eq!(rows(&store), usize::try_from(4 * ROUNDS * 2 + 5).expect("small"));
        assert!(matches!(store.verify_history().expect("answers"), evenkeel::store::Verified::Whole { .. }));
    }

    fn a_ring_that_comes_after_the_taking_up_outlives_the_clearing(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let item = [("github:acme/app#1", &["app"][..])];
        take(&store, &delivery("g-1", &item), 1);
        let first = store.rung(&route("app"), at(9), 9).expect("answers");
        assert_eq!(store.take_up(&lease, first.clone()).expect("taken up").len(), 1);
        assert!(store.take_up(&lease, first).expect("taken up").is_empty(), "only once");
        assert!(rung(&store, "app").is_empty());
        take(&store, &delivery("g-2", &item), 2);
        let clear = Record { clear_due: vec![key("github:acme/app#1")], ..Record::default() };
        store.record(&lease, &clear, at(3)).expect("recorded");
        assert_eq!(rung(&store, "app"), ["github:acme/app#1"], "what came meanwhile is still to be visited");
        let again = store.rung(&route("app"), at(9), 9).expect("answers");
        assert_eq!(again[0].request.as_deref(), Some("request of g-2"));
        store.take_up(&lease, again).expect("taken up");
        store.record(&lease, &clear, at(4)).expect("recorded");
        assert_eq!(store.count_due(&route("app")).expect("answers"), 0);
    }

    fn a_replay_makes_the_items_due_again_and_is_written_down(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let new = delivery("g-1", &[("github:acme/app#1", &["app"])]);
        let taken = take(&store, &new, 1);
        let rungs = store.rung(&route("app"), at(9), 9).expect("answers");
        store.take_up(&lease, rungs).expect("taken up");
        let clear = Record { clear_due: vec![key("github:acme/app#1")], ..Record::default() };
        store.record(&lease, &clear, at(2)).expect("recorded");
        let replayed = store.replay_delivery(taken.id, &new.touches, "r-2", at(5)).expect("replayed");
        assert_eq!((replayed.verdict, replayed.routes.as_slice()), (Verdict::Due, &[route("app")][..]));
        assert_eq!(rung(&store, "app"), ["github:acme/app#1"]);
        let (kept, _) = store.delivery(taken.id).expect("answers").expect("it is there");
        assert_eq!((kept.replayed_at, kept.repeats), (Some(at(5)), 0));
    }

    fn old_deliveries_go_with_what_they_touched_and_nothing_else_does(database: &Database) {
        let store = database.open();
        let many: Vec<NewDelivery> =
            (0..2_500).map(|n| delivery(&format!("g-{n}"), &[(&format!("github:acme/app#{}", n % 7 + 1), &["app"])])).collect();
        for (part, seconds) in many.chunks(500).zip(0..) {
            store.take_in(part, at(seconds)).expect("taken in");
        }
        assert_eq!(store.prune_deliveries(at(4)).expect("pruned"), 2_000, "more than goes in one transaction");
        assert_eq!((rows(&store), store.prune_deliveries(at(4)).expect("pruned")), (500, 0));
        assert_eq!(database.number("(SELECT count(*) FROM touched)"), 500);
        assert_eq!(rung(&store, "app").len(), 7, "what is due stays due");
        let known = store.known_deliveries(Side::Forge, &["g-0".to_owned(), "g-2400".to_owned()]).expect("answers");
        assert_eq!(known.into_iter().collect::<Vec<_>>(), ["g-2400"]);
    }

    fn a_hook_goes_from_its_announcement_to_its_end(database: &Database) {
        let store = database.open();
        let new = |token: &str| NewHook {
            side: Side::Tracker,
            resource: "77".to_owned(),
            token_hash: token.to_owned(),
            target: "https://sync.example.com/webhooks/asana".to_owned(),
            secret: None,
            pending_until: at(60),
        };
        let id = store.announce_hook(&new("t-1"), at(0)).expect("announced");
        assert!(store.announce_hook(&new("t-1"), at(0)).is_err(), "no two hooks have one token");
        let row = store.hook_by_token("t-1").expect("answers").expect("it is there");
        assert_eq!((row.id, row.state, row.secret.as_deref(), row.made_at), (id, HookState::Pending, None, at(0)));
        // Whoever comes too late, or a second time, brings no secret.
        assert!(!store.shake_hands(id, "sealed late", at(61)).expect("answers"));
        assert!(store.shake_hands(id, "sealed", at(1)).expect("answers"));
        let live = HookChange { remote: Some("9".to_owned()), state: Some(HookState::Live), ..HookChange::default() };
        assert!(store.change_hook(id, &live).expect("answers"));
        assert!(!store.shake_hands(id, "sealed by a stranger", at(2)).expect("answers"), "it stands");
        let change = HookChange {
            secret: Some("sealed anew".to_owned()),
            former: Some(("sealed".to_owned(), at(3_600))),
            checked: Some((at(5), Some("a trouble \u{0}".to_owned()))),
            ..HookChange::default()
        };
        assert!(store.change_hook(id, &change).expect("answers"));
        let row = store.hook_by_remote(Side::Tracker, "9").expect("answers").expect("it is there");
        assert_eq!((row.state, row.secret.as_deref()), (HookState::Live, Some("sealed anew")));
        assert_eq!((row.former_secret.as_deref(), row.former_until), (Some("sealed"), Some(at(3_600))));
        assert_eq!((row.checked_at, row.trouble.as_deref()), (Some(at(5)), Some("a trouble \u{fffd}")));
        assert_eq!(store.hook_by_remote(Side::Forge, "9").expect("answers"), None);
        // A verified delivery is noticed once a minute at most.
        let heard = |seconds: i64| {
            let name = format!("h-{seconds}");
            take(&store, &NewDelivery { side: Side::Tracker, hook: Some(id), ..delivery(&name, &[]) }, seconds);
            store.hooks(Some(Side::Tracker)).expect("answers")[0].heard_at
        };
        assert_eq!([heard(100), heard(130), heard(161)], [Some(at(100)), Some(at(100)), Some(at(161))]);
        assert!(store.forget_hook(id).expect("answers") && !store.forget_hook(id).expect("answers"));
        assert!(store.hooks(None).expect("answers").is_empty());
    }

    fn a_task_is_told_of_an_event_once_and_only_on_a_route_that_wants_it(database: &Database) {
        let store = database.open();
        let (app, site) = (lease(&store, "app"), lease(&store, "site"));
        store.record(&app, &Record { link: vec![pair(1, 17)], ..Record::default() }, at(0)).expect("linked");
        let other = NewLink { issue: issue("acme/site#1"), issue_id: 77, ..pair(5_000, 1) };
        store.record(&site, &Record { link: vec![other], ..Record::default() }, at(0)).expect("linked");
        let tell = |name: &str, seconds: i64| {
            let mut new = delivery(name, &[]);
            new.touches.notices = ["acme/app#17", "acme/site#1", "acme/app#99"]
                .map(|of| notice("merged acme/app#12", of, &["app"]))
                .into();
            take(&store, &new, seconds);
        };
        tell("g-1", 1);
        tell("g-2", 2);
        let open = store.open_notices(&route("app"), 9).expect("answers");
        assert_eq!(open.len(), 1, "two deliveries tell of one event");
        assert_eq!((&open[0].task, &open[0].issue, open[0].tried, open[0].at), (&task(1), &issue("acme/app#17"), false, at(1)));
        assert!(store.open_notices(&route("site"), 9).expect("answers").is_empty(), "it wants none");
        let causes = |name: &str, of: &str, from: i64| store.notice_causes(&route(name), &issue(of), at(from)).expect("answers").len();
        assert_eq!([causes("app", "Acme/App#17", 0), causes("site", "acme/site#1", 0), causes("site", "acme/site#1", 2)], [1, 1, 0]);
        store.try_notice(&app, open[0].id, at(3)).expect("tried");
        assert!(store.open_notices(&route("app"), 9).expect("answers")[0].tried);
        // One who lost the lease tells nobody.
        let later = at(3 + i64::try_from(evenkeel::store::LEASE.as_secs()).expect("small"));
        let taken = store.acquire(&route("app"), "another", later).expect("answers").expect("free");
        let lost = store.settle_notice(&app, open[0].id, Some(entry("asana:1")));
        assert!(matches!(lost, Err(StoreError::LostLease { .. })), "{lost:?}");
        store.settle_notice(&taken, open[0].id, Some(entry("asana:1"))).expect("told");
        assert!(store.open_notices(&route("app"), 9).expect("answers").is_empty());
        tell("g-3", 4);
        assert!(store.open_notices(&route("app"), 9).expect("answers").is_empty(), "never again");
    }

    fn a_call_with_a_key_is_begun_once_and_answered_the_same_ever_after(database: &Database) {
        let store = database.open();
        let call = |key: Option<&str>, digest: &str| NewCall {
            key: key.map(str::to_owned),
            request: "r".to_owned(),
            actor: "ann \u{0}".to_owned(),
            method: "POST".to_owned(),
            path: "/api/reconcile".to_owned(),
            reason: "why \u{0} not".to_owned(),
            digest: digest.to_owned(),
        };
        let barrier = Arc::new(Barrier::new(8));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let (store, barrier, call) = (store.clone(), barrier.clone(), call(Some("k"), "d"));
                thread::spawn(move || {
                    barrier.wait();
                    store.begin_call(&call, at(1)).expect("answers")
                })
            })
            .collect();
        let begun: Vec<Begun> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let new: Vec<i64> = begun.iter().filter_map(|begun| if let Begun::New(id) = begun { Some(*id) } else { None }).collect();
        assert_eq!(new.len(), 1, "{begun:?}");
        assert!(begun.iter().all(|begun| matches!(begun, Begun::New(_) | Begun::UnderWay { .. })));
        store.end_call(new[0], 202, "{\"pass\": 1}").expect("ended");
        let again = store.begin_call(&call(Some("k"), "d"), at(9)).expect("answers");
        assert_eq!(again, Begun::Answered { status: 202, answer: "{\"pass\": 1}".to_owned() });
        assert_eq!(store.begin_call(&call(Some("k"), "other"), at(9)).expect("answers"), Begun::Other);
        // Without a key each is its own.
        let one = store.begin_call(&call(None, "d"), at(9)).expect("answers");
        let two = store.begin_call(&call(None, "d"), at(9)).expect("answers");
        assert!(matches!((&one, &two), (Begun::New(one), Begun::New(two)) if one != two));
        let kept = "(SELECT count(*) FROM calls WHERE key IS NULL AND status IS NULL AND actor = 'ann \u{fffd}')";
        assert_eq!(database.number(kept), 2);
        store.forget_call_keys(at(2)).expect("forgotten");
        assert!(matches!(store.begin_call(&call(Some("k"), "other"), at(9)).expect("answers"), Begun::New(_)));
    }

    fn refusals_add_up_from_every_replica(database: &Database) {
        let store = database.open();
        let refusal = |reason: &str, count, seconds| Refusals {
            provider: "github".to_owned(),
            reason: reason.to_owned(),
            count,
            first_at: at(seconds),
            last_at: at(seconds),
            last_from: Some("192.0.2.1".to_owned()),
        };
        let threads: Vec<_> = (0..4)
            .map(|_| {
                let (store, new) = (store.clone(), [refusal("not signed", 3, 5), refusal("wrongly signed", 1, 5)]);
                thread::spawn(move || {
                    for _ in 0..5 {
                        store.add_refusals(&new).expect("added");
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
        store.add_refusals(&[refusal("not signed", 1, 50)]).expect("added");
        let told = store.refusals().expect("answers");
        assert_eq!((told[0].reason.as_str(), told[0].count), ("not signed", 61));
        assert_eq!((told[0].first_at, told[0].last_at, told[1].count), (at(5), at(50), 20));
    }

    fn what_a_provider_waits_for_does_not_wait_long_for_a_locked_database(database: &Database) {
        let store = database.open();
        let before = rows(&store);
        let mut other = None;
        let holder = match &database.url {
            evenkeel::config::DatabaseUrl::Sqlite(path) => {
                use diesel::connection::SimpleConnection as _;
                let mut conn = crate::support::connect(path);
                conn.batch_execute("BEGIN IMMEDIATE").expect("the lock");
                other = Some(conn);
                None
            }
            evenkeel::config::DatabaseUrl::Postgres(_) => {
                let url = database.url.clone();
                let holder = thread::spawn(move || {
                    crate::postgres::execute(&url, "BEGIN; LOCK TABLE deliveries IN EXCLUSIVE MODE; SELECT pg_sleep(9); ROLLBACK");
                });
                while database.number("(SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(9)%' AND wait_event = 'PgSleep')") == 0 {
                    thread::sleep(Duration::from_millis(20));
                }
                Some(holder)
            }
        };
        // A wait of the usual ten seconds would outlast the lock.
        let refused = store.take_in(&[delivery("g-1", &[])], at(1));
        assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
        if let Some(mut conn) = other {
            use diesel::connection::SimpleConnection as _;
            conn.batch_execute("ROLLBACK").expect("let go");
        }
        holder.into_iter().for_each(|holder| holder.join().expect("no panic"));
        assert_eq!(rows(&store), before);
        assert!(!take(&store, &delivery("g-1", &[]), 2).again);
    }
}
