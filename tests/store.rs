//! The store's promises, each kept on SQLite and on PostgreSQL.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

#[path = "store/budgets.rs"]
mod budgets;
#[path = "store/finding.rs"]
mod finding;
#[path = "store/inbox.rs"]
mod inbox;
#[path = "store/opening.rs"]
mod opening;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use evenkeel::config::{DatabaseUrl, PostgresTls, PostgresUrl};
use evenkeel::model::{
    Assignees, BySide, Content, Field, FieldChange, Fingerprint, IntentId, IssueRef, ItemKey, LinkId, LinkStatus,
    Marker, PassId, RouteName, Side, Status, TaskGid, Timestamp, Waiting,
};
use evenkeel::provider::Requests;
use evenkeel::store::{
    Begun, DeliveryFilter, EntryFilter, HookState, IntentKind, LEASE, Lease, LinkChange, NewCall, NewDue, NewEntry,
    NewIntent, NewLink, PassEnd, PassStart, Record, Store, StoreError, UNKNOWN_REPO, Verdict, Verified, migrate,
};
use support::{Database, postgres};

/// Seconds after the moment at which all tests begin.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + seconds).expect("a moment of 2026")
}

fn route(name: &str) -> RouteName {
    name.parse().expect("a route")
}

fn task(gid: u64) -> TaskGid {
    gid.to_string().parse().expect("a gid")
}

fn issue(text: &str) -> IssueRef {
    text.parse().expect("an issue")
}

fn key(text: &str) -> ItemKey {
    text.parse().expect("an item")
}

fn lease(store: &Store, name: &str) -> Lease {
    store.acquire(&route(name), "test", at(0)).expect("the database answers").expect("nobody holds it")
}

/// Announces a creation for an item that says nothing yet.
fn announce(
    store: &Store,
    lease: &Lease,
    kind: IntentKind,
    source: &str,
    now: Timestamp,
) -> Result<IntentId, StoreError> {
    let source = key(source);
    let marker = Marker::naming(source.clone());
    store.open_intent(lease, &NewIntent { kind, source: &source, marker: &marker, sent: None }, now)
}

/// Makes an item due as a trigger does, and takes it up as a pass does before it looks.
fn ring_and_take_up(store: &Store, lease: &Lease, item: &str) {
    store.ring(&lease.route, &[due(item, 0)], None, at(0)).expect("rung");
    let rung = store.rung(&lease.route, at(0), 9).expect("answers");
    assert_eq!(store.take_up(lease, rung).expect("taken up").len(), 1);
}

fn pair(gid: u64, number: u64) -> NewLink {
    NewLink {
        task: task(gid),
        project: Some("77".parse().expect("a gid")),
        issue: IssueRef { repo: "Acme/App".parse().expect("a repository"), number },
        repo_id: 501,
        issue_id: 9_000_000 + i64::try_from(number).expect("small"),
        issue_node_id: format!("I_{number}"),
        base: None,
        seen: BySide::default(),
        waiting: BTreeMap::new(),
    }
}

fn due(item: &str, seconds: i64) -> NewDue {
    NewDue {
        item: key(item),
        reason: "webhook".to_owned(),
        not_before: at(seconds),
        attempts: 0,
        last_error: None,
        parked: false,
    }
}

fn entry(item: &str) -> NewEntry {
    NewEntry {
        at: at(1),
        pass: PassId(1),
        link: None,
        kind: "update".to_owned(),
        item: key(item),
        partner: Some(key("github:Acme/App#17")),
        changes: vec![FieldChange {
            field: Field::Title,
            before: "Login".into(),
            after: serde_json::json!({"text": "Fix login \u{0}", "ratio": 0.1, "labels": ["b", "a"]}),
            why: "newest".to_owned(),
        }],
        cause: "the issue was edited".to_owned(),
        actor: "service".to_owned(),
    }
}

/// Everything that `record` can change, to compare what stood before a refusal with what stands after it.
fn everything(store: &Store) -> String {
    let app = route("app");
    format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        store.links(None, LinkId(0), 1000).expect("links"),
        store.tombstones(&app, &[key("asana:1")]).expect("tombstones"),
        store.intents(&app).expect("intents"),
        store.due(&app, at(1_000_000), 1000).expect("dues"),
        store.parked(None).expect("parked"),
        store.history(&EntryFilter::default()).expect("history"),
        store.cursors(&app).expect("cursors"),
        store.note(&app, "last_sweep").expect("note"),
    )
}

on_both! {
    fn a_link_comes_back_as_it_was_made_and_changed(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let waiting = Waiting {
            base: Some("Login".to_owned()),
            said: BySide { tracker: "Log in".to_owned(), forge: "Log-in \u{0} ∑".to_owned() },
            why: "both moved".to_owned(),
            since: at(0),
        };
        let base = Content {
            title: "Fix login".to_owned(),
            body: "Steps:\n\n- one\u{0}\n- \"two\" 'three' \\ 🚢\n".to_owned(),
            status: Status::Dropped,
            assignees: Assignees { known: vec!["ann".to_owned()], unknown: vec!["42".to_owned()] },
            labels: BTreeSet::from(["bug".to_owned(), "Über".to_owned()]),
            due: Some("2026-02-28".parse().expect("a day")),
        };
        let new = NewLink {
            base: Some(base.clone()),
            seen: BySide { tracker: Some(Fingerprint("ab".to_owned())), forge: None },
            waiting: BTreeMap::from([(Field::Title, waiting.clone())]),
            ..pair(1201, 17)
        };
        let made = store.record(&lease, &Record { link: vec![new, pair(1202, 18)], ..Record::default() }, at(5));
        let made = made.expect("it is recorded").links;
        assert_eq!(made.len(), 2);
        let link = store.link(made[0]).expect("the database answers").expect("it is there");
        assert_eq!((link.id, &link.route, &link.task), (made[0], &route("app"), &task(1201)));
        assert_eq!(link.project, Some("77".parse().expect("a gid")));
        assert_eq!(link.issue.to_string(), "Acme/App#17");
        assert_eq!((link.repo_id, link.issue_id, link.issue_node_id.as_str()), (501, 9_000_017, "I_17"));
        assert_eq!((link.status, link.created_at, link.updated_at), (LinkStatus::Active, at(5), at(5)));
        assert_eq!(link.base, Some(base));
        assert_eq!(link.seen, BySide { tracker: Some(Fingerprint("ab".to_owned())), forge: None });
        assert_eq!(link.waiting, BTreeMap::from([(Field::Title, waiting)]));
        assert_eq!(store.waiting_links(None, 10).expect("links"), vec![link.clone()]);

        // What is not named stays; what is emptied is empty.
        let change = LinkChange {
            seen: Some(BySide { tracker: None, forge: Some(Fingerprint("cd".to_owned())) }),
            waiting: Some(BTreeMap::new()),
            issue: Some(issue("acme/renamed#17")),
            ..LinkChange::default()
        };
        store.record(&lease, &Record { change: vec![(made[0], change)], ..Record::default() }, at(9)).expect("recorded");
        let changed = store.link(made[0]).expect("the database answers").expect("it is there");
        assert_eq!(changed.base, link.base);
        assert_eq!(changed.seen, BySide { tracker: None, forge: Some(Fingerprint("cd".to_owned())) });
        assert_eq!((changed.created_at, changed.updated_at), (at(5), at(9)));
        assert_eq!(changed.issue, issue("acme/renamed#17"));
        assert!(changed.waiting.is_empty());
        assert!(store.waiting_links(Some(&route("app")), 10).expect("links").is_empty());
        assert_eq!(store.link_of(&key("github:ACME/Renamed#17")).expect("answers"), Some(changed));
        assert_eq!(store.link_of(&key("github:acme/app#17")).expect("answers"), None);
    }

    fn what_is_known_of_a_repository_follows_its_rename_also_what_knows_it_by_name_alone(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        let nameless = NewLink { repo_id: UNKNOWN_REPO, issue_id: 0, ..pair(1, 1) };
        store.record(&app, &Record { remember: vec![nameless], ..Record::default() }, at(0)).expect("recorded");
        let repo = issue("acme/app#1").repo;
        assert_eq!(store.repo_id(&route("app"), &repo).expect("answers"), None, "that of no repository");
        store.record(&app, &Record { link: vec![pair(2, 2)], ..Record::default() }, at(0)).expect("recorded");
        assert_eq!(store.repo_id(&route("app"), &repo).expect("answers"), Some(501));
        let marker = Marker::naming(key("github:Acme/App#3"));
        announce(&store, &app, IntentKind::Task, "github:Acme/App#3", at(0)).expect("announced");
        let waits = vec![due("github:Acme/App#4", 0), due("github:acme/apple#4", 0)];
        let rename = Some((501, "acme/new".parse().expect("a repository")));
        store.record(&app, &Record { due: waits, ..Record::default() }, at(1)).expect("recorded");
        store.record(&app, &Record { rename, ..Record::default() }, at(1)).expect("recorded");
        let intents = store.intents(&route("app")).expect("answers");
        assert_eq!((&intents[0].source, &intents[0].marker), (&key("github:acme/new#3"), &marker));
        let dues = store.due(&route("app"), at(9), 9).expect("answers");
        let dues: Vec<String> = dues.iter().map(|due| due.item.to_string()).collect();
        assert_eq!(dues, ["github:acme/new#4", "github:acme/apple#4"]);
        for (item, task) in [("github:acme/new#1", 1), ("github:acme/new#2", 2)] {
            let link = store.link_of(&key(item)).expect("answers").expect("it followed");
            assert_eq!((link.task.as_str(), link.repo_id), (task.to_string().as_str(), 501));
        }
    }

    fn what_is_linked_by_a_former_name_gets_the_name_that_the_other_links_have_by_now(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        store.record(&app, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded");
        let rename = Some((501, "acme/new".parse().expect("a repository")));
        store.record(&app, &Record { rename: rename.clone(), ..Record::default() }, at(1)).expect("recorded");
        // A pass that began before the rename knows no better.
        let late = Record { link: vec![pair(2, 2)], remember: vec![pair(3, 3)], rename, ..Record::default() };
        store.record(&app, &late, at(2)).expect("recorded");
        for (item, task) in [("github:acme/new#1", "1"), ("github:acme/new#2", "2"), ("github:acme/new#3", "3")] {
            let link = store.link_of(&key(item)).expect("answers").expect("it has the new name");
            assert_eq!(link.task.as_str(), task);
        }
        // On another route the repository has whatever name it has there.
        let site = lease(&store, "site");
        let other = NewLink { issue_id: 77, ..pair(5_000, 9) };
        store.record(&site, &Record { link: vec![other], ..Record::default() }, at(3)).expect("recorded");
        assert_eq!(store.links(Some(&route("site")), LinkId(0), 3).expect("answers")[0].issue, pair(1, 9).issue);
    }

    fn briefs_find_links_by_any_item_of_the_route_and_no_other(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        let site = lease(&store, "site");
        let many: Vec<NewLink> = (1..=1_200).map(|n| pair(n, n)).collect();
        let ids = store.record(&app, &Record { link: many, ..Record::default() }, at(0)).expect("recorded").links;
        assert_eq!(ids.len(), 1_200);
        assert!(ids.is_sorted() && ids.windows(2).all(|two| two[0] != two[1]));
        let other = NewLink { issue: issue("acme/site#1"), issue_id: 77, ..pair(5_000, 1) };
        store.record(&site, &Record { link: vec![other], ..Record::default() }, at(0)).expect("recorded");
        let retired = LinkChange { status: Some(LinkStatus::Retired), ..LinkChange::default() };
        let left = LinkChange { status: Some(LinkStatus::Left), ..LinkChange::default() };
        let change = vec![(ids[0], retired), (ids[1], left)];
        store.record(&app, &Record { change, ..Record::default() }, at(0)).expect("recorded");

        let asked = ["asana:1", "github:acme/APP#1", "github:Acme/App#2", "asana:3", "asana:3", "asana:5000", "asana:9999"];
        let asked: Vec<ItemKey> = asked.iter().map(|text| key(text)).chain([key("github:acme/app#18446744073709551615")]).collect();
        let found = store.briefs(&route("app"), &asked).expect("the database answers");
        let seen: Vec<(LinkId, LinkStatus)> = found.iter().map(|brief| (brief.id, brief.status)).collect();
        assert_eq!(seen, [(ids[0], LinkStatus::Retired), (ids[1], LinkStatus::Left), (ids[2], LinkStatus::Active)]);
        assert_eq!((&found[2].task, &found[2].issue, found[2].waits), (&task(3), &issue("acme/app#3"), false));
        let all: Vec<ItemKey> =
            (1..=1_200).flat_map(|n| [key(&format!("asana:{n}")), key(&format!("github:acme/app#{n}"))]).collect();
        assert_eq!(store.briefs(&route("app"), &all).expect("the database answers").len(), 1_200);
        assert!(store.briefs(&route("app"), &[]).expect("the database answers").is_empty());

        let counts = store.count_links(&route("app")).expect("the database answers");
        let expected = [(LinkStatus::Active, 1_198), (LinkStatus::Left, 1), (LinkStatus::Retired, 1)];
        assert_eq!(counts, BTreeMap::from(expected));
        assert_eq!(store.link_ids(&route("app"), LinkStatus::Left).expect("answers"), [ids[1]]);
        assert_eq!(store.link_ids(&route("app"), LinkStatus::Active).expect("answers"), ids[2..]);
        let page = store.links(Some(&route("app")), ids[9], 3).expect("answers");
        assert_eq!(page.iter().map(|link| link.id).collect::<Vec<_>>(), ids[10..13]);
        assert_eq!(store.links(Some(&route("site")), LinkId(0), 3).expect("answers").len(), 1);
        assert_eq!(store.links(None, LinkId(0), 5_000).expect("answers").len(), 1_201);
        let some = store.links_by_id(&[ids[7], LinkId(i64::MAX), ids[3], ids[7]]).expect("answers");
        assert_eq!(some.iter().map(|link| link.id).collect::<Vec<_>>(), [ids[3], ids[7]]);
    }

    fn no_task_and_no_issue_is_in_two_links_that_are_not_retired(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        let site = lease(&store, "site");
        let link = |lease: &Lease, link: Vec<NewLink>| store.record(lease, &Record { link, ..Record::default() }, at(1));
        let first = link(&app, vec![pair(1, 1)]).expect("recorded").links[0];
        let before = everything(&store);
        let twins = [
            (&app, vec![pair(7, 7), pair(1, 2)]), // The task again, in company.
            (&app, vec![NewLink { issue: issue("ACME/app#1"), ..pair(2, 1) }]), // The issue in another spelling.
            (&site, vec![NewLink { issue: issue("acme/other#9"), ..pair(3, 1) }]), // Its id, after a rename, elsewhere.
            (&app, vec![pair(8, 8), pair(8, 9)]), // Among themselves.
        ];
        for (lease, pairs) in twins {
            let named = pairs.last().expect("one at least").clone();
            match link(lease, pairs) {
                Err(StoreError::AlreadyLinked { task, issue }) => assert_eq!((task, issue), (named.task, named.issue)),
                other => panic!("{other:?}"),
            }
            assert_eq!(everything(&store), before, "something was written");
        }
        // Left is still linked, retired is free; and then the old one cannot come back.
        let status = |status| {
            let change = vec![(first, LinkChange { status: Some(status), ..LinkChange::default() })];
            store.record(&app, &Record { change, ..Record::default() }, at(2))
        };
        status(LinkStatus::Left).expect("recorded");
        assert!(matches!(link(&app, vec![pair(1, 2)]), Err(StoreError::AlreadyLinked { .. })));
        status(LinkStatus::Retired).expect("recorded");
        let second = link(&app, vec![pair(1, 2)]).expect("recorded").links[0];
        assert_ne!(first, second);
        match status(LinkStatus::Active) {
            Err(StoreError::AlreadyLinked { task: named, .. }) => assert_eq!(named, task(1)),
            other => panic!("{other:?}"),
        }
        assert_eq!(store.link_of(&key("asana:1")).expect("answers").map(|link| link.id), Some(second));
    }

    fn an_unlinked_pair_leaves_a_tombstone_until_a_person_links_it_again(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let made = store.record(&lease, &Record { link: vec![pair(1, 1), pair(2, 2)], ..Record::default() }, at(0));
        let made = made.expect("recorded").links;
        let unlink = |id, reason: &str| {
            store.record(&lease, &Record { unlink: vec![(id, reason.to_owned())], ..Record::default() }, at(3))
        };
        unlink(made[0], "by \u{0} ann").expect("recorded");
        assert_eq!(store.link(made[0]).expect("answers"), None);
        let app = route("app");
        for asked in ["asana:1", "github:acme/app#1"] {
            let found = store.tombstones(&app, &[key(asked), key("asana:2")]).expect("answers");
            assert_eq!(found.len(), 1, "{asked}");
            assert_eq!((&found[0].task, &found[0].issue, found[0].at), (&task(1), &issue("acme/app#1"), at(3)));
            assert_eq!(found[0].reason, "by \u{fffd} ann");
        }
        assert!(store.tombstones(&route("site"), &[key("asana:1")]).expect("answers").is_empty());
        assert!(unlink(made[0], "again").is_err(), "it is gone already");

        // Another partner for the task leaves the tombstone; the pair itself lifts it. No id is given out twice.
        let again = |new| store.record(&lease, &Record { link: vec![new], ..Record::default() }, at(4)).expect("recorded");
        let other = again(pair(1, 3)).links[0];
        assert_eq!(store.tombstones(&app, &[key("asana:1")]).expect("answers").len(), 1);
        unlink(other, "wrong").expect("recorded");
        assert_eq!(store.tombstones(&app, &[key("asana:1")]).expect("answers").len(), 2);
        let back = again(pair(1, 1)).links[0];
        assert_eq!(store.tombstones(&app, &[key("asana:1")]).expect("answers").len(), 1);
        assert!(back > other && other > made[1]);
    }

    fn a_record_is_all_or_nothing(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let intent = announce(&store, &lease, IntentKind::Issue, "asana:1", at(0)).expect("announced");
        ring_and_take_up(&store, &lease, "asana:1");
        let mut record = Record {
            link: vec![pair(1, 1)],
            close_intents: vec![intent],
            clear_due: vec![key("asana:1")],
            due: vec![due("asana:2", 5)],
            history: vec![entry("asana:1"), entry("asana:5")],
            cursors: vec![(Side::Forge, "{\"since\":1}".to_owned())],
            notes: vec![("last_sweep".to_owned(), "today".to_owned())],
            // There is no such link: the last thing to fail takes everything with it.
            change: vec![(LinkId(4711), LinkChange::default())],
            ..Record::default()
        };
        let before = everything(&store);
        let refusal = store.record(&lease, &record, at(1)).expect_err("there is no link 4711");
        assert!(refusal.to_string().contains("link 4711"), "{refusal}");
        assert_eq!(everything(&store), before);

        record.change.clear();
        let made = store.record(&lease, &record, at(1)).expect("recorded").links;
        assert!(store.intents(&route("app")).expect("answers").is_empty());
        let dues = store.due(&route("app"), at(10), 10).expect("answers");
        assert_eq!(dues.iter().map(|due| due.item.to_string()).collect::<Vec<_>>(), ["asana:2"]);
        let history = store.history(&EntryFilter::default()).expect("answers");
        assert_eq!(history.iter().map(|entry| entry.entry.link).collect::<Vec<_>>(), [Some(made[0]), None]);
        let cursors = store.cursors(&route("app")).expect("answers");
        assert_eq!(cursors, BySide { tracker: None, forge: Some("{\"since\":1}".to_owned()) });
        assert_eq!(store.note(&route("app"), "last_sweep").expect("answers").as_deref(), Some("today"));
        assert_eq!(store.note(&route("app"), "other").expect("answers"), None);

        // Cursors and notes are replaced; the same intents and dues may be settled twice.
        record.link.clear();
        record.cursors = vec![(Side::Forge, "2".to_owned()), (Side::Tracker, "3".to_owned())];
        record.notes = vec![("last_sweep".to_owned(), "tomorrow".to_owned())];
        store.record(&lease, &record, at(2)).expect("recorded");
        let cursors = store.cursors(&route("app")).expect("answers");
        assert_eq!(cursors, BySide { tracker: Some("3".to_owned()), forge: Some("2".to_owned()) });
        assert_eq!(store.note(&route("app"), "last_sweep").expect("answers").as_deref(), Some("tomorrow"));
    }

    fn a_record_touches_only_links_of_its_own_route(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        let site = lease(&store, "site");
        let id = store.record(&app, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded").links[0];
        let before = everything(&store);
        let change = Record { change: vec![(id, LinkChange::default())], ..Record::default() };
        assert!(store.record(&site, &change, at(1)).is_err());
        let unlink = Record { unlink: vec![(id, "no".to_owned())], ..Record::default() };
        assert!(store.record(&site, &unlink, at(1)).is_err());
        assert_eq!(everything(&store), before);
    }

    fn a_lease_lasts_as_long_as_the_store_is_told(database: &Database) {
        let store = database.open().leasing(std::time::Duration::from_secs(5));
        let take = |holder: &str, now| store.acquire(&route("app"), holder, now).expect("the database answers");
        let first = take("one", at(0)).expect("it is free");
        assert_eq!(take("two", at(4)).expect_err("one holds it").until, at(5));
        store.renew(&first, at(4)).expect("it is ours");
        assert_eq!(take("two", at(8)).expect_err("one holds it").until, at(9));
        take("two", at(9)).expect("it ran out");
    }

    fn a_lease_given_by_a_clock_that_was_wrong_does_not_keep_the_route(database: &Database) {
        let store = database.open();
        let take = |holder: &str, now| store.acquire(&route("app"), holder, now).expect("the database answers");
        let day = std::time::Duration::from_secs(86_400);
        let first = take("one", at(0) + day).expect("it is free");
        // Its holder may be alive, and its clock set back a moment ago: it has a whole lease to say so.
        assert_eq!(take("two", at(0)).expect_err("one may be alive").until, at(0) + LEASE);
        store.renew(&first, at(1)).expect("it is ours");
        assert_eq!(take("two", at(0) + LEASE).expect_err("one is alive").until, at(1) + LEASE);
        // Whoever is dead says nothing.
        store.renew(&first, at(2) + day).expect("it is ours");
        take("two", at(100)).expect_err("one may be alive");
        take("two", at(159)).expect_err("one may be alive");
        let second = take("two", at(100) + LEASE).expect("it ran out");
        assert!(second.token > first.token);
        assert!(matches!(store.renew(&first, at(161) + day), Err(StoreError::LostLease { .. })));
        // A clock that is a little ahead is believed.
        store.release(&second).expect("it is ours");
        take("three", at(0) + LEASE * 5).expect("it was released");
        take("four", at(0)).expect_err("three holds it");
    }

    fn a_lease_passes_on_when_it_ends_and_its_token_only_grows(database: &Database) {
        let store = database.open();
        let app = route("app");
        let take = |holder: &str, now| store.acquire(&app, holder, now).expect("the database answers");
        let first = take("one", at(0)).expect("it is free");
        let end = at(0) + LEASE;
        let held = take("two", at(30)).expect_err("one holds it");
        assert_eq!((held.holder.as_str(), held.until), ("one", end));
        store.renew(&first, at(50)).expect("it is ours");
        assert_eq!(take("two", end).expect_err("it was renewed").until, at(50) + LEASE);
        let second = take("two", at(50) + LEASE).expect("it ran out");
        assert!(second.token > first.token);
        assert!(matches!(store.renew(&first, at(120)), Err(StoreError::LostLease { .. })));
        store.release(&first).expect("giving back what is lost does nothing");
        assert!(take("one", at(120)).is_err());

        // The same holder again is a new one to the old lease, and release does not reset the token.
        let third = take("two", at(120)).expect("it is the same holder");
        assert!(third.token > second.token);
        assert!(matches!(store.renew(&second, at(121)), Err(StoreError::LostLease { .. })));
        store.release(&third).expect("it is ours");
        assert!(matches!(store.renew(&third, at(121)), Err(StoreError::LostLease { .. })));
        let fourth = take("one", at(122)).expect("it was released");
        assert!(fourth.token > third.token);
        assert!(store.acquire(&route("site"), "three", at(0)).expect("answers").is_ok(), "routes have nothing to do with each other");
    }

    fn a_stale_token_writes_nothing(database: &Database) {
        let store = database.open();
        let app = route("app");
        let stale = lease(&store, "app");
        let fresh = store.acquire(&app, "other", at(0) + LEASE).expect("answers").expect("it ran out");
        let before = everything(&store);
        let record = Record {
            link: vec![pair(1, 1)],
            due: vec![due("asana:1", 0)],
            history: vec![entry("asana:1")],
            cursors: vec![(Side::Forge, "1".to_owned())],
            ..Record::default()
        };
        for lease in [stale.clone(), Lease { holder: fresh.holder.clone(), ..stale.clone() }, Lease { token: fresh.token, ..stale.clone() }] {
            assert!(matches!(store.record(&lease, &record, at(90)), Err(StoreError::LostLease { .. })), "{lease:?}");
            let announced = announce(&store, &lease, IntentKind::Task, "asana:1", at(90));
            assert!(matches!(announced, Err(StoreError::LostLease { .. })), "{lease:?}");
        }
        assert_eq!(everything(&store), before);
        store.record(&fresh, &record, at(90)).expect("this one is ours");
        // Nobody ever took a lease for this one.
        let never = Lease { route: route("site"), ..fresh };
        assert!(matches!(store.record(&never, &Record::default(), at(90)), Err(StoreError::LostLease { .. })));
    }

    fn only_one_of_many_takes_the_lease(database: &Database) {
        let store = database.open();
        for round in 0..5 {
            let now = at(round * 1_000);
            let barrier = Arc::new(Barrier::new(6));
            let takers: Vec<_> = (0..6)
                .map(|taker| {
                    let (store, barrier) = (store.clone(), Arc::clone(&barrier));
                    thread::spawn(move || {
                        barrier.wait();
                        store.acquire(&route("app"), &format!("taker {taker}"), now).expect("the database answers")
                    })
                })
                .collect();
            let taken: Vec<_> = takers.into_iter().map(|taker| taker.join().expect("no panic")).collect();
            let winners: Vec<&Lease> = taken.iter().filter_map(|one| one.as_ref().ok()).collect();
            assert_eq!(winners.len(), 1, "{taken:?}");
            for held in taken.iter().filter_map(|one| one.as_ref().err()) {
                assert_eq!(held.holder, winners[0].holder);
            }
        }
    }

    fn an_open_intent_is_found_again_instead_of_opened_twice(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let open = |kind, source: &str, now| announce(&store, &lease, kind, source, now).expect("announced");
        let first = open(IntentKind::Task, "github:Acme/App#1", at(0));
        assert_eq!(open(IntentKind::Task, "github:acme/app#1", at(60)), first);
        let comment = open(IntentKind::Comment, "asana:1", at(0));
        let issue = open(IntentKind::Issue, "asana:1", at(0));
        assert_ne!(comment, issue);
        let found = store.intents(&route("app")).expect("answers");
        assert_eq!(found.iter().map(|intent| intent.id).collect::<Vec<_>>(), [first, comment, issue]);
        assert_eq!((found[0].kind, &found[0].source), (IntentKind::Task, &key("github:acme/app#1")));
        assert_eq!((found[0].opened_at, found[0].tried_at), (at(0), at(60)));
        assert_eq!(found[0].marker, Marker::naming(key("github:acme/app#1")));
        assert!(store.intents(&route("site")).expect("answers").is_empty());
        store.record(&lease, &Record { close_intents: vec![first, issue], ..Record::default() }, at(61)).expect("recorded");
        assert_eq!(store.intents(&route("app")).expect("answers").len(), 1);
        assert_ne!(open(IntentKind::Issue, "asana:1", at(70)), issue, "a new one is not the old one");
    }

    fn a_creation_for_what_has_a_partner_or_gets_one_on_another_route_is_not_announced(database: &Database) {
        let store = database.open();
        let (app, site) = (lease(&store, "app"), lease(&store, "site"));
        let claimed = |held: Result<_, StoreError>, by: &str| match held {
            Err(StoreError::Claimed { item, route: of }) => assert_eq!((item, of), (key("asana:1"), route(by))),
            other => panic!("{other:?}"),
        };
        announce(&store, &app, IntentKind::Issue, "asana:1", at(0)).expect("announced");
        claimed(announce(&store, &site, IntentKind::Issue, "asana:1", at(1)), "app");
        announce(&store, &app, IntentKind::Issue, "asana:1", at(2)).expect("its own is tried again");
        announce(&store, &site, IntentKind::Comment, "asana:1", at(2)).expect("a comment makes no partner");
        let made = store.intents(&route("app")).expect("answers").iter().map(|intent| intent.id).collect();
        let linked = Record { link: vec![pair(1, 1)], close_intents: made, ..Record::default() };
        let made = store.record(&app, &linked, at(3)).expect("recorded").links;
        claimed(announce(&store, &site, IntentKind::Issue, "asana:1", at(4)), "app");
        claimed(announce(&store, &app, IntentKind::Issue, "asana:1", at(4)), "app");
        let retired = LinkChange { status: Some(LinkStatus::Retired), ..LinkChange::default() };
        store.record(&app, &Record { change: vec![(made[0], retired)], ..Record::default() }, at(5)).expect("recorded");
        announce(&store, &site, IntentKind::Issue, "asana:1", at(6)).expect("what is retired holds nobody");
    }

    fn of_routes_that_announce_the_same_at_once_one_may(database: &Database) {
        let store = database.open();
        let leases = ["app", "back", "site"].map(|name| lease(&store, name));
        if matches!(database.url, DatabaseUrl::Postgres(_)) {
            // Long enough between the look and the announcement for all to have looked.
            database.execute(
                "CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_sleep(0.1); RETURN NEW; END $$; \
                 CREATE TRIGGER dawdle BEFORE INSERT ON intents FOR EACH ROW EXECUTE FUNCTION dawdle()",
            );
        }
        for number in 1..=3_i64 {
            let item = format!("asana:{number}");
            let barrier = Barrier::new(leases.len());
            let announced: Vec<_> = thread::scope(|scope| {
                let (store, item, barrier) = (&store, item.as_str(), &barrier);
                let routes: Vec<_> = leases
                    .iter()
                    .map(|lease| {
                        scope.spawn(move || {
                            barrier.wait();
                            announce(store, lease, IntentKind::Issue, item, at(number))
                        })
                    })
                    .collect();
                routes.into_iter().map(|route| route.join().expect("no panic")).collect()
            });
            let refused = |one: &&Result<_, StoreError>| matches!(one, Err(StoreError::Claimed { .. }));
            assert_eq!(announced.iter().filter(|one| one.is_ok()).count(), 1, "{announced:?}");
            assert_eq!(announced.iter().filter(refused).count(), 2, "{announced:?}");
        }
    }

    fn what_a_record_makes_due_follows_the_rename_it_brings(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        store.record(&app, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded");
        let rung = NewDue { last_error: None, ..due("github:acme/new#5", 4) };
        store.ring(&route("app"), &[rung], None, at(0)).expect("rung");
        let rename = Some((501, "acme/new".parse().expect("a repository")));
        let failed = NewDue { attempts: 2, last_error: Some("no answer".to_owned()), ..due("github:acme/app#5", 3) };
        let parked = NewDue { parked: true, ..due("github:acme/app#4", 3) };
        let record = Record { due: vec![parked, failed], rename, ..Record::default() };
        store.record(&app, &record, at(1)).expect("recorded");
        let parked = store.parked(Some(&route("app"))).expect("answers");
        assert_eq!(parked.iter().map(|due| due.item.to_string()).collect::<Vec<_>>(), ["github:acme/new#4"]);
        let dues = store.due(&route("app"), at(9), 9).expect("answers");
        assert_eq!(dues.len(), 1, "{dues:?}");
        assert_eq!((dues[0].item.to_string().as_str(), dues[0].attempts), ("github:acme/new#5", 2));
        assert_eq!((dues[0].last_error.as_deref(), dues[0].rung), (Some("no answer"), true));
    }

    fn an_open_intent_knows_what_was_sent_last(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let source = key("asana:1");
        let marker = Marker::naming(source.clone());
        let say = |title: &str| Content { title: title.to_owned(), body: "a\0b\n".to_owned(), ..Content::default() };
        for (second, sent) in [(0, Some(say("Fix login"))), (1, Some(say("Fix the login"))), (2, None)] {
            let new = NewIntent { kind: IntentKind::Issue, source: &source, marker: &marker, sent: sent.as_ref() };
            store.open_intent(&lease, &new, at(second)).expect("announced");
            let found = store.intents(&route("app")).expect("answers");
            assert_eq!(found.iter().map(|intent| &intent.sent).collect::<Vec<_>>(), [&sent]);
        }
    }

    fn wake_ups_merge_and_the_earlier_time_and_the_higher_count_win(database: &Database) {
        let store = database.open();
        let app = route("app");
        let lease = lease(&store, "app");
        let make = |dues: &[NewDue], now| {
            store.record(&lease, &Record { due: dues.to_vec(), ..Record::default() }, now).expect("made due");
        };
        make(&[due("github:Acme/App#1", 100), NewDue { attempts: 3, last_error: Some("timed out".to_owned()), ..due("github:acme/app#1", 200) }], at(0));
        make(&[NewDue { reason: "operator".to_owned(), ..due("github:acme/APP#1", 50) }], at(10));
        make(&[NewDue { attempts: 2, last_error: Some("busy \u{0}".to_owned()), ..due("github:acme/app#1", 900) }], at(20));
        let found = store.due(&app, at(50), 10).expect("answers");
        assert_eq!(found.len(), 1);
        let one = &found[0];
        assert_eq!((one.not_before, one.attempts, one.since), (at(50), 3, at(0)));
        assert_eq!((one.reason.as_str(), one.last_error.as_deref()), ("webhook", Some("busy \u{fffd}")));
        assert_eq!(one.item, key("github:acme/app#1"));
        assert!(store.due(&app, at(49), 10).expect("answers").is_empty());
        assert!(store.due(&route("site"), at(99), 10).expect("answers").is_empty());

        make(&[due("asana:1", 30), due("asana:2", 20), due("asana:3", 500)], at(20));
        let order: Vec<String> =
            store.due(&app, at(400), 2).expect("answers").iter().map(|due| due.item.to_string()).collect();
        assert_eq!(order, ["asana:2", "asana:1"]);
        assert_eq!(store.count_due(&app).expect("answers"), 4);
        assert_eq!(store.next_due(at(0)).expect("answers"), Some(at(20)));
        assert_eq!(store.next_due(at(300)).expect("answers"), Some(at(300)), "one is overdue");
        make(&[], at(0));
    }

    fn what_is_rung_for_during_a_visit_stays_due(database: &Database) {
        let store = database.open();
        let app = route("app");
        let lease = lease(&store, "app");
        let ring = |item: &str, request: Option<&str>, now| {
            store.ring(&app, &[due(item, now)], request, at(now)).expect("rung");
        };
        let rung = |now| -> Vec<String> {
            store.rung(&app, at(now), 9).expect("answers").iter().map(|due| due.item.to_string()).collect()
        };
        ring("asana:1", Some("r1"), 0);
        ring("asana:2", None, 0);
        assert_eq!(rung(0), ["asana:1", "asana:2"]);
        let seen = store.rung(&app, at(0), 9).expect("answers");
        assert_eq!(seen[0].request.as_deref(), Some("r1"));
        assert_eq!(store.take_up(&lease, seen.clone()).expect("taken").len(), 2);
        assert_eq!(store.take_up(&lease, seen).expect("taken"), [], "each is taken up once");
        assert_eq!((rung(0).len(), store.count_due(&app).expect("answers")), (0, 2), "they stay due until cleared");
        // Another delivery comes while the visit is at work; the visit then clears both.
        ring("asana:1", Some("r2"), 5);
        let done = Record { clear_due: vec![key("asana:1"), key("asana:2")], ..Record::default() };
        store.record(&lease, &done, at(6)).expect("recorded");
        assert_eq!(rung(6), ["asana:1"]);
        assert_eq!(store.due(&app, at(6), 9).expect("answers")[0].request.as_deref(), Some("r2"));
        // One that failed keeps its wait, however often it is rung for.
        store.take_up(&lease, store.rung(&app, at(6), 9).expect("answers")).expect("taken");
        let failed = NewDue { attempts: 2, ..due("asana:1", 90) };
        let again = Record { clear_due: vec![key("asana:1")], due: vec![failed], ..Record::default() };
        store.record(&lease, &again, at(7)).expect("recorded");
        ring("asana:1", None, 8);
        assert_eq!((rung(8).len(), rung(90).len()), (0, 1));
    }

    fn a_parked_item_waits_for_a_person(database: &Database) {
        let store = database.open();
        let app = route("app");
        let lease = lease(&store, "app");
        ring_and_take_up(&store, &lease, "asana:1");
        let failed = NewDue {
            attempts: 8,
            parked: true,
            reason: "refused".to_owned(),
            last_error: Some("title: too long".to_owned()),
            ..due("asana:1", 40)
        };
        let record = Record { clear_due: vec![key("asana:1")], due: vec![failed], ..Record::default() };
        store.record(&lease, &record, at(40)).expect("recorded");
        store.ring(&app, &[due("asana:1", 10)], None, at(50)).expect("due");
        assert!(store.due(&app, at(99), 10).expect("answers").is_empty());
        assert_eq!((store.count_due(&app).expect("answers"), store.next_due(at(0)).expect("answers")), (0, None));
        let parked = store.parked(Some(&app)).expect("answers");
        assert_eq!(parked, store.parked(None).expect("answers"));
        assert!(store.parked(Some(&route("site"))).expect("answers").is_empty());
        let one = &parked[0];
        assert_eq!((one.reason.as_str(), one.last_error.as_deref()), ("refused", Some("title: too long")));
        assert_eq!((one.attempts, one.parked_at, one.since), (8, Some(at(40)), at(0)));
        assert_eq!(store.due_row(one.id).expect("answers").as_ref(), Some(one));

        assert!(store.unpark(one.id, at(60)).expect("answers"));
        assert!(!store.unpark(one.id, at(61)).expect("answers"), "it is not parked any more");
        let back = store.due(&app, at(60), 10).expect("answers");
        assert_eq!((back[0].id, back[0].attempts, back[0].not_before), (one.id, 0, at(60)));
        assert_eq!(back[0].since, at(0));
        assert!(store.drop_due(one.id).expect("answers"));
        assert!(!store.drop_due(one.id).expect("answers"));
        assert_eq!(store.due_row(one.id).expect("answers"), None);
    }

    fn a_visit_that_failed_is_due_later_and_remembers_since_when(database: &Database) {
        let store = database.open();
        let app = route("app");
        let lease = lease(&store, "app");
        ring_and_take_up(&store, &lease, "asana:1");
        let later = NewDue { attempts: 1, last_error: Some("timed out".to_owned()), ..due("asana:1", 90) };
        let record = Record { clear_due: vec![key("asana:1")], due: vec![later], ..Record::default() };
        store.record(&lease, &record, at(30)).expect("recorded");
        let found = store.due(&app, at(90), 10).expect("answers");
        assert_eq!((found[0].not_before, found[0].attempts, found[0].since), (at(90), 1, at(0)));
        let done = Record { clear_due: vec![key("asana:1"), key("asana:404")], ..Record::default() };
        store.record(&lease, &done, at(91)).expect("recorded");
        assert_eq!(store.count_due(&app).expect("answers"), 0);
    }

    fn passes_are_kept_with_their_outcome(database: &Database) {
        let store = database.open();
        let start = PassStart { kind: "poll".to_owned(), cause: "schedule".to_owned(), actor: "service".to_owned() };
        let first = store.begin_pass(&route("app"), &start, at(0)).expect("begun");
        let second = store.begin_pass(&route("site"), &start, at(1)).expect("begun");
        let third = store.begin_pass(&route("app"), &start, at(2)).expect("begun");
        let end = PassEnd {
            outcome: "settled".to_owned(),
            counts: BTreeMap::from([("updated".to_owned(), 3)]),
            requests: BySide { tracker: Requests { sent: 2, unchanged: 0, writes: 1 }, forge: Requests::default() },
            plan: Some("ab".to_owned()),
            message: Some("a \u{0} message".to_owned()),
        };
        store.end_pass(first, &end, at(9)).expect("ended");
        assert!(store.end_pass(PassId(4711), &end, at(9)).is_err());
        let pass = store.pass(first).expect("answers").expect("it is there");
        assert_eq!((pass.started_at, pass.ended_at, &pass.start), (at(0), Some(at(9)), &start));
        assert_eq!(pass.end, Some(end));
        assert_eq!(store.pass(PassId(4711)).expect("answers"), None);
        let ids = |route: Option<&RouteName>, limit| -> Vec<PassId> {
            store.passes(route, limit).expect("answers").iter().map(|pass| pass.id).collect()
        };
        assert_eq!(ids(None, 10), [third, second, first]);
        assert_eq!(ids(Some(&route("app")), 10), [third, first]);
        assert_eq!(ids(None, 1), [third]);
        assert_eq!(store.passes(None, 1).expect("answers")[0].end, None);
        // Counted through, across what is read at a time, up to the first pass that began before.
        let end = PassEnd { counts: BTreeMap::from([("unheard".to_owned(), 2)]), ..PassEnd::default() };
        for seconds in 10..612 {
            let pass = store.begin_pass(&route("app"), &start, at(seconds)).expect("begun");
            if seconds % 2 == 0 {
                store.end_pass(pass, &end, at(seconds)).expect("ended");
            }
        }
        let sum = |name: &str, count: &str, from| store.sum_of_passes(&route(name), count, at(from)).expect("answers");
        assert_eq!((sum("app", "unheard", 10), sum("app", "unheard", 611), sum("app", "unheard", 610)), (602, 0, 2));
        assert_eq!((sum("app", "updated", 0), sum("app", "updated", 1), sum("site", "unheard", 0)), (3, 0, 0));
    }

    fn the_history_shows_what_was_recorded_through_any_filter(database: &Database) {
        let store = database.open();
        let app = lease(&store, "app");
        let site = lease(&store, "site");
        let append = |lease: &Lease, entries: Vec<NewEntry>| {
            store.record(lease, &Record { history: entries, ..Record::default() }, at(0)).expect("recorded");
        };
        append(&app, vec![entry("asana:1"), NewEntry { pass: PassId(2), partner: None, ..entry("asana:2") }]);
        append(&site, vec![entry("github:Acme/App#17"), entry("asana:3")]);
        append(&app, (0..450).map(|_| entry("asana:4")).collect());
        let seqs = |filter: EntryFilter| -> Vec<i64> {
            store.history(&filter).expect("answers").iter().map(|entry| entry.seq).collect()
        };
        let all = EntryFilter::default();
        assert_eq!(seqs(all.clone()), (1..=454).collect::<Vec<_>>());
        assert_eq!(seqs(EntryFilter { route: Some(route("site")), ..all.clone() }), [3, 4]);
        assert_eq!(seqs(EntryFilter { pass: Some(PassId(2)), ..all.clone() }), [2]);
        let item = Some(key("github:acme/app#17"));
        assert_eq!(seqs(EntryFilter { item, limit: 3, ..all.clone() }), [1, 3, 4]);
        assert_eq!(seqs(EntryFilter { after: Some(452), ..all.clone() }), [453, 454]);
        assert_eq!(seqs(EntryFilter { newest_first: true, limit: 2, ..all.clone() }), [454, 453]);
        assert_eq!(seqs(EntryFilter { newest_first: true, after: Some(3), ..all.clone() }), [2, 1]);
        let kept = &store.history(&EntryFilter { limit: 1, ..all }).expect("answers")[0];
        assert_eq!(kept.entry, entry("asana:1"));
        assert_eq!(kept.previous, "0".repeat(64));
        match store.verify_history().expect("answers") {
            Verified::Whole { entries: 454, head } => assert_eq!(head.len(), 64),
            other => panic!("{other:?}"),
        }
    }

    fn whatever_is_done_to_the_history_is_noticed(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        assert!(matches!(store.verify_history().expect("answers"), Verified::Whole { entries: 0, .. }));
        for _ in 0..3 {
            let history = vec![entry("asana:1"), entry("asana:2")];
            store.record(&lease, &Record { history, ..Record::default() }, at(0)).expect("recorded");
        }
        // The database itself refuses; whoever means it, goes past that.
        let sqlite = matches!(database.url, DatabaseUrl::Sqlite(_));
        database.execute(if sqlite {
            "DROP TRIGGER history_is_not_changed; DROP TRIGGER history_is_not_shortened"
        } else {
            "DROP TRIGGER history_is_not_changed ON history; DROP TRIGGER history_is_not_emptied ON history"
        });
        let broken = |what: &str| match store.verify_history().expect("answers") {
            Verified::Broken { seq, why } => (seq, why),
            whole @ Verified::Whole { .. } => panic!("{what}: {whole:?}"),
        };
        let columns = [
            "route = 'site'", "at = at + 1", "pass = 9", "link = 9", "kind = 'drop'", "item = 'asana:9'",
            "item_key = 'asana:9'", "partner = NULL", "partner_key = NULL", "cause = ''", "actor = 'ann'",
            "previous = hash", "hash = previous", "changes = '[]'",
        ];
        for column in columns {
            database.execute("CREATE TABLE copy AS SELECT * FROM history");
            database.execute(&format!("UPDATE history SET {column} WHERE seq = 4"));
            assert_eq!(broken(column).0, 4, "{column}");
            database.execute("DELETE FROM history; INSERT INTO history SELECT * FROM copy; DROP TABLE copy");
        }
        assert!(matches!(store.verify_history().expect("answers"), Verified::Whole { entries: 6, .. }));
        database.execute("CREATE TABLE copy AS SELECT * FROM history");
        for (missing, said) in [(6, 6), (1, 1), (3, 3)] {
            database.execute(&format!("DELETE FROM history WHERE seq = {missing}"));
            assert_eq!(broken("one is missing").0, said);
            database.execute("DELETE FROM history; INSERT INTO history SELECT * FROM copy");
        }
        database.execute("UPDATE history SET seq = 7 WHERE seq = 6");
        assert_eq!(broken("one was moved").0, 6);
        database.execute("UPDATE history SET seq = 6 WHERE seq = 7");
        database.execute("UPDATE chain SET seq = 5");
        assert_eq!(broken("the end was set back").0, 5);
        let start = "0".repeat(64);
        database.execute(&format!("UPDATE chain SET seq = 0, hash = '{start}'; DELETE FROM history WHERE seq <> 2"));
        assert_eq!(broken("one lies beyond the end").0, 2);
        database.execute("UPDATE history SET seq = 0");
        assert_eq!(broken("one lies before the start").0, 0);
    }

    fn the_database_itself_keeps_the_history_append_only(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let history = vec![entry("asana:1")];
        store.record(&lease, &Record { history, ..Record::default() }, at(0)).expect("recorded");
        for sql in ["UPDATE history SET actor = 'nobody'", "DELETE FROM history"] {
            let sql = sql.to_owned();
            let url = database.url.clone();
            let refused = thread::spawn(move || Database { url, directory: None }.execute(&sql)).join();
            assert!(refused.is_err());
        }
        assert_eq!(database.number("(SELECT count(*) FROM history WHERE actor = 'service')"), 1);
    }

    fn many_that_append_at_once_keep_the_chain_whole(database: &Database) {
        // Stores of their own, as processes have, and threads that share one.
        let stores: Vec<Store> = (0..3).map(|_| database.open()).collect();
        let threads: Vec<_> = (0..6)
            .map(|number| {
                let store = stores[number % stores.len()].clone();
                thread::spawn(move || {
                    let lease = lease(&store, &format!("route-{number}"));
                    for turn in 0..15 {
                        let history = (0..turn % 4).map(|_| entry("asana:1")).collect();
                        let due = vec![due("asana:1", turn), due("asana:2", turn)];
                        store.record(&lease, &Record { history, due, ..Record::default() }, at(1)).expect("recorded");
                        store.ring(&lease.route, &[self::due("asana:2", 1), self::due("asana:1", 1)], None, at(1)).expect("due");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("no panic");
        }
        match stores[0].verify_history().expect("answers") {
            Verified::Whole { entries, .. } => assert_eq!(entries, 6 * 21),
            broken => panic!("{broken:?}"),
        }
    }

    fn many_that_open_at_once_all_find_the_schema(database: &Database) {
        let barrier = Arc::new(Barrier::new(6));
        let openers: Vec<_> = (0..6)
            .map(|_| {
                let (url, barrier) = (database.url.clone(), Arc::clone(&barrier));
                thread::spawn(move || {
                    barrier.wait();
                    Store::open(&url).and_then(|store| store.ping())
                })
            })
            .collect();
        for opener in openers {
            opener.join().expect("no panic").unwrap_or_else(|error| panic!("{error}"));
        }
        assert_eq!(migrate::applied(&database.url).expect("answers"), migrate::known());
    }

    fn all_migrations_go_forth_and_back_and_forth(database: &Database) {
        migrate::go_to(&database.url, migrate::known().last().expect("there is one")).expect("forth");
        let tables = if matches!(database.url, DatabaseUrl::Sqlite(_)) {
            "(SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE '__diesel%')"
        } else {
            "(SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname NOT LIKE '__diesel%') \
              + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace))"
        };
        let made = database.number(tables);
        assert!(made > 20, "{made}");
        migrate::go_to(&database.url, "").expect("back");
        assert_eq!(database.number(tables), 0);
        assert!(migrate::applied(&database.url).expect("answers").is_empty());
        drop(database.open());
        assert_eq!(database.number(tables), made);
    }

    fn rows_of_every_version_before_survive_the_migrations_after(database: &Database) {
        let known = migrate::known();
        let fixtures: BTreeMap<&str, &str> = BTreeMap::from([
            ("0001", include_str!("support/rows/0001.sql")),
            ("0004", include_str!("support/rows/0004.sql")),
            ("0005", include_str!("support/rows/0005.sql")),
        ]);
        let tables =
            ["links", "tombstones", "intents", "due", "passes", "history", "chain", "cursors", "notes", "leases"];
        let count = || tables.map(|table| database.number(&format!("(SELECT count(*) FROM {table})")));
        // Up one step at a time, with the rows of a version put in as soon as it is reached...
        for version in &known {
            migrate::go_to(&database.url, version).unwrap_or_else(|error| panic!("up to {version}: {error}"));
            if let Some(rows) = fixtures.get(version.as_str()) {
                match database.url {
                    DatabaseUrl::Sqlite(_) => database.execute(rows),
                    DatabaseUrl::Postgres(_) => database.execute(&rows.replace(" AS BLOB)", " AS BYTEA)")),
                }
            }
        }
        let counted = count();
        sample_rows_are_understood(&database.open());
        rows_of_webhooks_are_understood(&database.open());
        budgets::rows_are_understood(&database.open());
        // ...down again to the first and up, and nothing is lost on the way.
        for version in known.iter().rev().chain(&known) {
            migrate::go_to(&database.url, version).unwrap_or_else(|error| panic!("to {version}: {error}"));
            assert_eq!(count(), counted, "at {version}");
        }
        sample_rows_are_understood(&database.open());
    }

    fn a_newer_database_is_left_as_it_is(database: &Database) {
        drop(database.open());
        database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('9000')");
        database.execute("DELETE FROM __diesel_schema_migrations WHERE version NOT IN ('0001', '9000')");
        for opened in [Store::open(&database.url), Store::open_for_reading(&database.url)] {
            match opened {
                Err(StoreError::Newer { found, known }) => {
                    assert_eq!((found.as_str(), Some(&known)), ("9000", migrate::known().last()));
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(migrate::applied(&database.url).expect("answers"), ["0001", "9000"]);
        assert!(matches!(migrate::go_to(&database.url, "0001"), Err(StoreError::Newer { .. })));
    }

    fn a_reader_sees_everything_and_writes_nothing(database: &Database) {
        // Nothing there yet reads as empty, and stays not there.
        let fresh = Store::open_for_reading(&database.url).expect("it opens");
        assert_eq!(fresh.links(None, LinkId(0), 9).expect("answers"), []);
        assert!(fresh.acquire(&route("app"), "me", at(0)).is_err());
        if let DatabaseUrl::Sqlite(path) = &database.url {
            assert!(!path.exists());
        } else {
            assert_eq!(database.number("(SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace)"), 0);
        }

        let store = database.open();
        let lease = lease(&store, "app");
        store.record(&lease, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded");
        let reader = Store::open_for_reading(&database.url).expect("it opens");
        assert_eq!(everything(&reader), everything(&store));
        let before = everything(&store);
        for refused in [
            reader.record(&lease, &Record::default(), at(1)).map(|_| ()),
            reader.ring(&route("app"), &[due("asana:1", 0)], None, at(1)),
            reader.release(&lease),
        ] {
            assert!(matches!(refused, Err(StoreError::ReadOnly { .. })), "{refused:?}");
        }
        assert_eq!(everything(&store), before);
        // A reader sees what is written while it is open.
        store.record(&lease, &Record { link: vec![pair(2, 2)], ..Record::default() }, at(0)).expect("recorded");
        assert_eq!(reader.links(None, LinkId(0), 9).expect("answers").len(), 2);
    }

    fn a_reader_does_not_migrate(database: &Database) {
        migrate::go_to(&database.url, "0001").expect("forth");
        database.execute(include_str!("support/rows/0001.sql"));
        match (Store::open_for_reading(&database.url), &database.url) {
            (Ok(copy), DatabaseUrl::Sqlite(_)) => {
                sample_rows_are_understood(&copy);
                assert!(copy.acquire(&route("new"), "me", at(0)).is_err());
            }
            (Err(StoreError::Open { why, .. }), DatabaseUrl::Postgres(_)) => assert!(why.contains("run --once"), "{why}"),
            (other, _) => panic!("{other:?}"),
        }
        assert_eq!(migrate::applied(&database.url).expect("answers"), ["0001"]);
    }

    fn what_was_edited_by_hand_into_nonsense_is_an_error_that_names_the_row(database: &Database) {
        let store = database.open();
        let lease = lease(&store, "app");
        let id = store.record(&lease, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded").links[0];
        for column in ["task = 'x'", "repo = 'x'", "base = '{'", "base = '[]'", "waiting = '1'", "updated_at = 9223372036854775807", "route = 'Ä'"] {
            database.execute("CREATE TABLE copy AS SELECT * FROM links");
            database.execute(&format!("UPDATE links SET {column}"));
            match store.link(id) {
                Err(error @ StoreError::Garbled { .. }) => assert!(error.to_string().contains(&format!("link {id}")), "{error}"),
                other => panic!("{column}: {other:?}"),
            }
            database.execute("UPDATE links SET task = (SELECT task FROM copy), repo = (SELECT repo FROM copy), \
                base = NULL, waiting = NULL, updated_at = 0, route = 'app'; DROP TABLE copy");
        }
        assert!(store.link(id).expect("answers").is_some());
    }
}

/// What `support/rows/0001.sql` put in, as the store of now understands it.
fn sample_rows_are_understood(store: &Store) {
    let app = route("app");
    let links = store.links(None, LinkId(0), 100).expect("links");
    assert_eq!(links.len(), 4);
    let first = &links[0];
    assert_eq!((first.task.as_str(), first.issue.to_string().as_str()), ("1201", "Acme/App#17"));
    assert_eq!((first.repo_id, first.issue_id, first.issue_node_id.as_str()), (501, 9001, "I_9001"));
    assert_eq!(first.base.as_ref().map(|base| base.body.as_str()), Some("Steps:\n\n- open\n"));
    assert_eq!(first.waiting.keys().collect::<Vec<_>>(), [&Field::Title]);
    assert_eq!(first.updated_at, at(60));
    let statuses: Vec<LinkStatus> = links.iter().map(|link| link.status).collect();
    assert_eq!(statuses, [LinkStatus::Active, LinkStatus::Left, LinkStatus::Retired, LinkStatus::Active]);
    assert_eq!(store.tombstones(&app, &[key("asana:1204")]).expect("tombstones").len(), 1);
    let intents = store.intents(&app).expect("intents");
    assert_eq!(intents.iter().map(|intent| &intent.sent).collect::<Vec<_>>(), [&None]);
    assert_eq!(store.due(&app, at(100), 10).expect("dues")[0].attempts, 2);
    assert_eq!(store.parked(None).expect("parked")[0].parked_at, Some(at(50)));
    let passes = store.passes(None, 10).expect("passes");
    assert_eq!(passes[1].end.as_ref().map(|end| end.outcome.as_str()), Some("settled"));
    assert_eq!(passes[0].end, None);
    assert_eq!(store.history(&EntryFilter::default()).expect("history")[0].entry.changes.len(), 1);
    assert!(matches!(store.verify_history().expect("a chain"), Verified::Whole { entries: 1, .. }));
    assert_eq!(store.cursors(&app).expect("cursors").tracker.as_deref(), Some("{\"sync\":\"abc\"}"));
    assert_eq!(store.note(&app, "last_sweep").expect("a note").as_deref(), Some("2026-01-01T00:00:00Z"));
    let held = store.acquire(&app, "another", at(10)).map(|taken| taken.map_err(|held| held.holder));
    // A store that only reads refuses the attempt itself.
    assert!(
        matches!(held, Ok(Err(holder)) if holder == "host 1 run") || store.begin_pass(&app, &start(), at(0)).is_err()
    );
}

/// What `support/rows/0004.sql` put in. Going back behind 0004 takes it away, but for the item that is due.
fn rows_of_webhooks_are_understood(store: &Store) {
    let app = route("app");
    let rung = store.rung(&app, at(1_000), 10).expect("rung");
    assert_eq!(rung.iter().map(|due| due.item.to_string()).collect::<Vec<_>>(), ["github:Acme/App#18"]);
    assert_eq!(rung[0].request.as_deref(), Some("0000000000000abc"));
    let hooks = store.hooks(None).expect("hooks");
    assert_eq!(
        hooks.iter().map(|hook| hook.state).collect::<Vec<_>>(),
        [HookState::Live, HookState::Leaving, HookState::Pending]
    );
    assert_eq!(hooks[1].former_until, Some(at(3_600)));
    let deliveries = store.deliveries(&DeliveryFilter::default()).expect("deliveries");
    assert_eq!(
        deliveries.iter().map(|one| one.verdict).collect::<Vec<_>>(),
        [Verdict::Garbled, Verdict::Noted, Verdict::Due]
    );
    assert_eq!((deliveries[2].touched.len(), deliveries[2].repeats, deliveries[2].replayed_at), (1, 2, Some(at(300))));
    let (_, body) = store.delivery(deliveries[2].id).expect("answers").expect("it is there");
    assert_eq!(body, br#"{"action":"closed"}"#);
    assert_eq!(store.refusals().expect("refusals").iter().map(|one| one.count).collect::<Vec<_>>(), [7, 1]);
    let open = store.open_notices(&app, 9).expect("notices");
    assert_eq!((open.len(), open[0].tried, open[0].text.as_str()), (1, true, "ann opened it"));
    assert_eq!(store.notice_causes(&app, &issue("Acme/App#17"), at(0)).expect("causes").len(), 2);
    let call = NewCall {
        key: Some("k-1".to_owned()),
        request: String::new(),
        actor: String::new(),
        method: String::new(),
        path: String::new(),
        reason: String::new(),
        digest: "d1".to_owned(),
    };
    let begun = store.begin_call(&call, at(10)).expect("calls");
    assert_eq!(begun, Begun::Answered { status: 202, answer: "{\"pass\":1}".to_owned() });
}

fn start() -> PassStart {
    PassStart { kind: "poll".to_owned(), cause: "schedule".to_owned(), actor: "service".to_owned() }
}

/// The variable that tells a child which database it works on, and in which route.
const CHILD: &str = "EVENKEEL_TEST_CHILD";

/// One step of a child: a link, an entry and the count of both, which must always agree.
fn count_up(store: &Store, lease: &Lease, offset: u64) {
    let count: u64 =
        store.note(&lease.route, "count").expect("answers").map_or(0, |note| note.parse().expect("a number"));
    let number = offset + count + 1;
    let record = Record {
        link: vec![pair(number, number)],
        history: vec![entry(&format!("asana:{number}"))],
        notes: vec![("count".to_owned(), (count + 1).to_string())],
        ..Record::default()
    };
    store.record(lease, &record, at(1)).expect("recorded");
}

#[test]
#[ignore = "not a test: the process that `killed_writers_leave_whole_records_and_a_whole_chain` starts and kills"]
fn child_that_counts_up() {
    let Ok(said) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = said.split('|').collect();
    let [kind, place, port, name] = words[..] else { panic!("{said}") };
    let url = match kind {
        "sqlite" => DatabaseUrl::Sqlite(place.into()),
        _ => DatabaseUrl::Postgres(Box::new(PostgresUrl {
            host: place.to_owned(),
            port: port.parse().expect("a port"),
            user: postgres::USER.to_owned(),
            password: None,
            database: number_and_database(name).1.to_owned(),
            tls: PostgresTls::Off,
            ca_file: None,
        })),
    };
    let (number, _) = number_and_database(name);
    let store = Store::open(&url).expect("it opens");
    let lease = lease(&store, &format!("route-{number}"));
    // Ends when it is killed, or when whoever would kill it is gone; at the latest after so many.
    thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    for _ in 0..100_000 {
        count_up(&store, &lease, number * 1_000_000);
    }
}

/// The child's number and the database's name.
fn number_and_database(text: &str) -> (u64, &str) {
    let (number, database) = text.split_once(':').expect("number:database");
    (number.parse().expect("a number"), database)
}

on_both! {
    fn killed_writers_leave_whole_records_and_a_whole_chain(database: &Database) {
        let store = database.open();
        let mut reached = 0;
        for _round in 0..3 {
            let mut children: Vec<std::process::Child> = (0..3)
                .map(|number| {
                    let said = match &database.url {
                        DatabaseUrl::Sqlite(path) => format!("sqlite|{}||{number}:", path.display()),
                        DatabaseUrl::Postgres(server) => {
                            format!("postgres|{}|{}|{number}:{}", server.host, server.port, server.database)
                        }
                    };
                    std::process::Command::new(std::env::current_exe().expect("this test"))
                        .args(["--exact", "child_that_counts_up", "--ignored"])
                        .env(CHILD, said)
                        .stdin(std::process::Stdio::piped())
                        .stdout(std::process::Stdio::null())
                        .spawn()
                        .expect("a child")
                })
                .collect();
            // Let all of them get somewhere, then end them in the middle of whatever they do.
            let count = |number: usize| -> u64 {
                let route = route(&format!("route-{number}"));
                store.note(&route, "count").expect("answers").map_or(0, |note| note.parse().expect("a number"))
            };
            let begun: Vec<u64> = (0..3).map(count).collect();
            for (number, child) in children.iter_mut().enumerate() {
                while count(number) < begun[number] + 25 {
                    assert!(child.try_wait().expect("a child").is_none(), "child {number} ended by itself");
                    thread::sleep(Duration::from_millis(5));
                }
                child.kill().expect("it runs");
            }
            for child in &mut children {
                child.wait().expect("it ended");
            }

            let mut counted = 0;
            for number in 0..3 {
                let route = route(&format!("route-{number}"));
                let links = store.count_links(&route).expect("answers")[&LinkStatus::Active];
                let entries = EntryFilter { route: Some(route), limit: u32::MAX, ..EntryFilter::default() };
                let entries = store.history(&entries).expect("answers").len();
                assert_eq!((links, entries as u64), (count(number), count(number)));
                counted += count(number);
            }
            match store.verify_history().expect("answers") {
                Verified::Whole { entries, .. } => assert_eq!(u64::try_from(entries), Ok(counted)),
                broken => panic!("{broken:?}"),
            }
            assert!(counted >= reached + 75);
            reached = counted;
        }
    }
}
