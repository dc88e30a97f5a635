//! What can only be seen from inside: which index a query takes, and a SQLite file that is locked or full.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use diesel::connection::{InstrumentationEvent, SimpleConnection};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use tempfile::TempDir;

use super::*;
use crate::clock::lock;
use crate::model::BySide;

fn now() -> Timestamp {
    Timestamp::UNIX_EPOCH
}

fn app() -> RouteName {
    "app".parse().expect("a route")
}

fn pair(number: u64) -> NewLink {
    NewLink {
        task: number.to_string().parse().expect("a gid"),
        project: None,
        issue: IssueRef { repo: "acme/app".parse().expect("a repository"), number },
        repo_id: 1,
        issue_id: 0,
        issue_node_id: String::new(),
        base: None,
        seen: BySide::default(),
        waiting: BTreeMap::new(),
    }
}

fn with(backend: backend::Backend) -> Store {
    Store::over(backend, "test".to_owned())
}

fn lease(store: &Store) -> Lease {
    store.acquire(&app(), "test", now()).expect("the database answers").expect("it is free")
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// A delivery that tells of these items.
fn delivery(key: &str, items: &[ItemKey]) -> NewDelivery {
    NewDelivery {
        side: Side::Forge,
        key: key.to_owned(),
        hook: Some(1),
        event: "issues.closed".to_owned(),
        origin: Origin::Sent,
        note: None,
        garbled: false,
        request: key.to_owned(),
        headers: BTreeMap::new(),
        body: Vec::new(),
        touches: Touches {
            items: items.iter().map(|item| (item.clone(), vec![app()])).collect(),
            repository: Some((1, "acme/app".parse().expect("a repository"))),
            ..Touches::default()
        },
    }
}

#[test]
fn each_further_delivery_of_a_transaction_costs_one_statement() {
    let store = Store::in_memory().expect("it opens");
    let statements = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&statements);
    store.backend.writer().set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            lock(&heard).push(query.to_string());
        }
    });
    let cost = |count: u64| {
        let new = |number: u64| {
            let item = format!("github:acme/app#{number}").parse().expect("a key");
            delivery(&format!("{count}-{number}"), &[item])
        };
        let new: Vec<NewDelivery> = (1..=count).map(new).collect();
        store.take_in(&new, now()).expect("taken in");
        let statements = std::mem::take(&mut *lock(&statements));
        assert_eq!(statements.iter().filter(|one| one.starts_with("COMMIT")).count(), 1, "{statements:#?}");
        statements.len()
    };
    let one = cost(1);
    assert_eq!(cost(20), one + 19);
}

#[test]
fn whoever_is_asked_before_every_use_can_refuse_it_before_anything_is_done() {
    struct Refuses(std::sync::atomic::AtomicBool);
    impl Usher for Refuses {
        fn admit(&self, doing: &dyn std::fmt::Display) -> Result<(), StoreError> {
            match self.0.load(std::sync::atomic::Ordering::Relaxed) {
                true => Err(StoreError::Locked { doing: doing.to_string() }),
                false => Ok(()),
            }
        }
    }
    let (store, usher) = (Store::in_memory().expect("it opens"), Arc::new(Refuses(true.into())));
    let ushered = store.ushered(usher.clone());
    assert!(matches!(ushered.acquire(&app(), "test", now()), Err(StoreError::Locked { .. })));
    assert!(matches!(ushered.ping(), Err(StoreError::Locked { .. })));
    usher.0.store(false, std::sync::atomic::Ordering::Relaxed);
    // Nobody holds the lease: the one who was refused did not get it.
    drop(lease(&ushered));
    assert!(matches!(store.acquire(&app(), "other", now()), Ok(Err(_))), "both stand before the same rows");
}

#[test]
fn every_look_up_takes_an_index() {
    let store = Store::in_memory().expect("it opens");
    let statements = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&statements);
    store.backend.writer().set_instrumentation(move |event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            lock(&heard).push(query.to_string());
        }
    });

    // Everything that is asked per item, per page or per pass.
    let app = app();
    let task: ItemKey = "asana:1".parse().expect("a key");
    let issue: ItemKey = "github:acme/app#1".parse().expect("a key");
    let keys = [task.clone(), issue.clone()];
    let lease = lease(&store);
    let record = Record {
        link: vec![pair(1), pair(2)],
        clear_due: vec![task.clone()],
        due: vec![NewDue {
            item: task.clone(),
            reason: String::new(),
            not_before: now(),
            attempts: 0,
            last_error: None,
            parked: false,
        }],
        close_intents: vec![IntentId(1)],
        cursors: vec![(Side::Forge, String::new())],
        notes: vec![(String::new(), String::new())],
        ..Record::default()
    };
    let made = store.record(&lease, &record, now()).expect("recorded").links;
    let record = Record {
        change: vec![(made[0], LinkChange::default())],
        unlink: vec![(made[1], String::new())],
        rename: Some((1, "acme/app".parse().expect("a repository"))),
        ..Record::default()
    };
    store.record(&lease, &record, now()).expect("recorded");
    store.briefs(&app, &keys).expect("answers");
    store.tombstones(&app, &keys).expect("answers");
    store.take_in(&[delivery("1", &keys), delivery("1", &keys)], now()).expect("taken in");
    store.link_of(&task).expect("answers");
    store.link_of(&issue).expect("answers");
    store.links_by_id(&made).expect("answers");
    store.links(Some(&app), LinkId(0), 10).expect("answers");
    store.link_ids(&app, LinkStatus::Active).expect("answers");
    store.count_links(&app).expect("answers");
    store.waiting_links(Some(&app), 10).expect("answers");
    store.waiting_links(None, 10).expect("answers");
    store.intents(&app).expect("answers");
    store.due(&app, now(), 10).expect("answers");
    store.next_due(now()).expect("answers");
    store.count_due(&app).expect("answers");
    store.parked(None).expect("answers");
    store.passes(Some(&app), 10).expect("answers");
    store.cursors(&app).expect("answers");
    store.cursor_times(&app).expect("answers");
    store.lease_holder(&app, now()).expect("answers");
    store.repo_name(&app, 1).expect("answers");
    store.repo_id(&app, &"acme/app".parse().expect("a repository")).expect("answers");
    store.note(&app, "x").expect("answers");
    for filter in [
        EntryFilter { route: Some(app.clone()), ..EntryFilter::default() },
        EntryFilter { pass: Some(PassId(1)), ..EntryFilter::default() },
        EntryFilter { item: Some(issue), ..EntryFilter::default() },
    ] {
        store.history(&filter).expect("answers");
    }

    let mut conn = store.backend.writer();
    let statements = std::mem::take(&mut *lock(&statements));
    let mut asked = 0;
    for statement in &statements {
        let sql = statement.split(" -- binds:").next().unwrap_or_default();
        // SQLite would plan anew each time; whose limit is anybody's, or who is asked seldom, may.
        let anybodys = ["FROM `history`", "FROM `passes`"].iter().any(|part| sql.contains(part));
        assert!(anybodys || !sql.contains("LIMIT ?"), "a bound limit: {sql}");
        if !["SELECT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb)) {
            continue;
        }
        asked += 1;
        let plan: Vec<Step> = sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(&mut conn).expect(sql);
        for Step { detail } in plan {
            // A scan of a partial index reads only the rows that are asked for, and a sort of a page is no scan.
            let scans = detail.starts_with("SCAN") && !detail.contains("links_that_wait") && !detail.contains("due_");
            assert!(!scans && !detail.contains("AUTOMATIC"), "{detail}: {sql}");
            // Intents are few, and the entries of one item come from two indexes.
            let sorts =
                detail.contains("TEMP B-TREE") && !sql.contains("`intents`") && !sql.contains("`partner_key` =");
            assert!(!sorts, "{detail}: {sql}");
        }
    }
    assert!(asked > 30, "only {asked} statements were seen");
}

#[test]
fn a_file_that_others_hold_is_locked_and_nothing_is_written() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("evenkeel.db");
    let open = || sqlite::open_with(&path, Duration::from_millis(50));
    let store = with(open().expect("it opens"));
    let other = with(open().expect("it opens"));
    let lease = lease(&store);
    let mut holder = other.backend.writer();
    holder.batch_execute("BEGIN IMMEDIATE").expect("nobody else writes");
    let record = Record { link: vec![pair(1)], ..Record::default() };
    let refused = store.record(&lease, &record, now()).expect_err("somebody else writes");
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused:?}");
    assert!(refused.to_string().starts_with("route app: recording a step: the database is locked"), "{refused}");
    // Reading goes on, and so does opening: nothing is to be migrated.
    assert!(store.links(None, LinkId(0), 9).expect("answers").is_empty());
    open().expect("it opens");
    holder.batch_execute("ROLLBACK").expect("it ends");
    store.record(&lease, &record, now()).expect("and now it is free");
}

#[test]
fn a_full_disk_refuses_the_record_whole_and_the_next_one_works() {
    let directory = TempDir::new().expect("a directory");
    let store = with(sqlite::open(&directory.path().join("evenkeel.db")).expect("it opens"));
    let lease = lease(&store);
    store.backend.writer().batch_execute("PRAGMA max_page_count = 1").expect("it answers"); // Not one page more.
    let notes = vec![("large".to_owned(), "x".repeat(200_000))];
    let record = Record { link: vec![pair(1)], notes, ..Record::default() };
    let refused = store.record(&lease, &record, now()).expect_err("there is no room");
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused:?}");
    assert!(refused.to_string().contains("make room"), "{refused}");
    assert!(store.links(None, LinkId(0), 9).expect("answers").is_empty());
    store.backend.writer().batch_execute("PRAGMA max_page_count = 1000000").expect("it answers");
    store.record(&lease, &record, now()).expect("now there is room");
    assert_eq!(store.note(&app(), "large").expect("answers").map(|note| note.len()), Some(200_000));
}

#[test]
fn a_full_disk_keeps_nothing_of_a_delivery_and_takes_it_in_later() {
    let directory = TempDir::new().expect("a directory");
    let store = with(sqlite::open(&directory.path().join("evenkeel.db")).expect("it opens"));
    store.backend.writer().batch_execute("PRAGMA max_page_count = 1").expect("it answers"); // Not one page more.
    let new = NewDelivery {
        side: Side::Forge,
        key: "g-1".to_owned(),
        hook: None,
        event: "issues.closed".to_owned(),
        origin: Origin::Sent,
        note: None,
        garbled: false,
        request: "r".to_owned(),
        headers: BTreeMap::new(),
        body: vec![b'x'; 200_000],
        touches: Touches {
            items: vec![("github:acme/app#1".parse().expect("an item"), vec![app()])],
            ..Touches::default()
        },
    };
    let refused = store.take_in(std::slice::from_ref(&new), now()).expect_err("there is no room");
    assert!(matches!(refused, StoreError::ReadOnly { .. }), "{refused:?}");
    assert!(store.deliveries(&DeliveryFilter::default()).expect("answers").is_empty());
    assert!(store.rung(&app(), now(), 9).expect("answers").is_empty(), "due without its delivery");
    store.backend.writer().batch_execute("PRAGMA max_page_count = 1000000").expect("it answers");
    let taken = store.take_in(&[new], now()).expect("now there is room");
    assert!(!taken[0].again);
    assert_eq!(store.rung(&app(), now(), 9).expect("answers").len(), 1);
}

#[test]
fn a_panic_in_a_transaction_takes_back_what_it_wrote() {
    let directory = TempDir::new().expect("a directory");
    let store = with(sqlite::open(&directory.path().join("evenkeel.db")).expect("it opens"));
    let lease = lease(&store);
    let panicking = store.clone();
    let panicked = std::thread::spawn(move || {
        panicking.backend.write("a test", |conn| {
            notes::set_note(conn, &app(), "half", "written", now())?;
            if true {
                unreachable!("a panic on purpose");
            }
            Ok(())
        })
    })
    .join();
    assert!(panicked.is_err());
    assert_eq!(store.note(&app(), "half").expect("answers"), None);
    store.record(&lease, &Record { link: vec![pair(1)], ..Record::default() }, now()).expect("the writer is back");
}

#[test]
fn a_database_in_memory_that_was_emptied_is_as_a_new_one() {
    let fill = |store: &Store| {
        let lease = lease(store);
        let due = NewDue {
            item: "asana:1".parse().expect("a key"),
            reason: String::new(),
            not_before: now(),
            attempts: 0,
            last_error: None,
            parked: false,
        };
        let notes = vec![("a".to_owned(), "b".to_owned())];
        let entry = NewEntry {
            at: now(),
            pass: PassId(1),
            link: None,
            kind: "link".to_owned(),
            item: "asana:1".parse().expect("a key"),
            partner: None,
            changes: Vec::new(),
            cause: String::new(),
            actor: String::new(),
        };
        let record = Record { link: vec![pair(1)], due: vec![due], notes, history: vec![entry], ..Record::default() };
        store.record(&lease, &record, now()).expect("recorded");
        let made = store.links(None, LinkId(0), 9).expect("answers");
        let gone = Record { unlink: vec![(made[0].id, "by hand".to_owned())], ..Record::default() };
        store.record(&lease, &gone, now()).expect("recorded");
        store.take_in(&[delivery("1", &["github:acme/app#1".parse().expect("a key")])], now()).expect("taken in");
        (made, store.history(&EntryFilter::default()).expect("answers"))
    };
    let store = Store::in_memory().expect("it opens");
    let first = fill(&store);
    assert!(!first.1.is_empty(), "the history has an entry");
    let kept = store.clone();
    let refused = store.emptied().expect_err("somebody else has it");
    assert!(refused.to_string().contains("in use"), "{refused}");
    let store = kept.emptied().expect("emptied");
    assert!(store.links(None, LinkId(0), 9).expect("answers").is_empty());
    assert!(store.tombstones(&app(), &["asana:1".parse().expect("a key")]).expect("answers").is_empty());
    assert!(store.due(&app(), now(), 9).expect("answers").is_empty());
    assert!(store.deliveries(&DeliveryFilter::default()).expect("answers").is_empty());
    assert_eq!(store.note(&app(), "a").expect("answers"), None);
    assert!(matches!(store.verify_history(), Ok(Verified::Whole { entries: 0, .. })));
    assert_eq!(fill(&store), first, "the same ids, and the same chain");

    let directory = TempDir::new().expect("a directory");
    let file = with(sqlite::open(&directory.path().join("evenkeel.db")).expect("it opens"));
    let refused = file.emptied().expect_err("it is a file");
    assert!(refused.to_string().contains("stays"), "{refused}");
}
