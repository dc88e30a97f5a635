//! Opening a database that is not as it should be, and a server that goes away: what a person is told.

use std::thread;
use std::time::Duration;

use evenkeel::config::{DatabaseUrl, PostgresTls, PostgresUrl, Secret};
use evenkeel::model::{LinkId, LinkStatus};
use evenkeel::store::{IntentKind, LinkChange, NewLink, Record, Store, StoreError, Verified};

use super::support::{Database, postgres};
use super::{announce, at, entry, everything, lease, pair};

/// The error of opening, as a person reads it.
fn opening(url: &DatabaseUrl) -> String {
    Store::open(url).expect_err("it cannot be opened").to_string()
}

#[test]
fn a_file_that_cannot_be_opened_says_what_to_do() {
    let database = Database::sqlite();
    let directory = database.directory.as_ref().expect("SQLite has one").path();
    let url = |name: &str| DatabaseUrl::Sqlite(directory.join(name));

    let missing = opening(&url("no/such/evenkeel.db"));
    assert!(missing.contains("no/such does not exist; create it"), "{missing}");
    assert!(opening(&DatabaseUrl::Sqlite(directory.to_owned())).contains("this is a directory"));

    std::fs::write(directory.join("letter.txt"), "Dear Sir or Madam, ".repeat(100)).expect("written");
    for opened in [Store::open(&url("letter.txt")), Store::open_for_reading(&url("letter.txt"))] {
        let said = opened.expect_err("it is no database").to_string();
        assert!(said.contains("letter.txt") && said.contains("file is not a database"), "{said}");
    }
    assert_eq!(std::fs::read(directory.join("letter.txt")).expect("it is there").len(), 1_900, "it was touched");

    let stranger = Database { url: url("stranger.db"), directory: None };
    stranger.execute("CREATE TABLE recipes (name TEXT)");
    let before = std::fs::read(directory.join("stranger.db")).expect("it is there");
    for opened in [Store::open(&stranger.url), Store::open_for_reading(&stranger.url)] {
        let said = opened.expect_err("it is somebody else's").to_string();
        assert!(said.contains("another program's tables"), "{said}");
    }
    assert_eq!(std::fs::read(directory.join("stranger.db")).expect("it is there"), before);
}

#[test]
fn odd_paths_are_only_paths() {
    let database = Database::sqlite();
    let directory = database.directory.as_ref().expect("SQLite has one").path();
    for name in ["a b.db", "q?mode=memory", "h#ash%20", ":memory:", "file:x", "ü'\".db"] {
        let url = DatabaseUrl::Sqlite(directory.join(name));
        let store = Store::open(&url).unwrap_or_else(|error| panic!("{error}"));
        let lease = lease(&store, "app");
        store.record(&lease, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded");
        drop(store);
        assert!(directory.join(name).is_file(), "{name}");
        let reader = Store::open_for_reading(&url).expect("it opens");
        assert_eq!(reader.links(None, LinkId(0), 9).expect("answers").len(), 1, "{name}");
    }
    // No other file was made of an odd name. SQLite's own companions go when its last connection does, which a
    // pool closes in its own time.
    let companion = |name: &str| name.ends_with("-wal") || name.ends_with("-shm");
    let left: Vec<String> = std::fs::read_dir(directory)
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !companion(name))
        .collect();
    assert_eq!(left.len(), 6, "{left:?}");
}

#[cfg(unix)]
#[test]
fn the_file_is_for_our_user_alone() {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::sqlite();
    drop(database.open());
    let DatabaseUrl::Sqlite(path) = &database.url else { panic!("it is SQLite") };
    assert_eq!(std::fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_damaged_page_is_an_error_and_not_the_end() {
    let database = Database::sqlite();
    let store = database.open();
    let lease = lease(&store, "app");
    let link: Vec<NewLink> = (1..=2_000).map(|n| pair(n, n)).collect();
    store.record(&lease, &Record { link, ..Record::default() }, at(0)).expect("recorded");
    drop(store);
    let DatabaseUrl::Sqlite(path) = &database.url else { panic!("it is SQLite") };
    let mut bytes = std::fs::read(path).expect("it is there");
    let length = bytes.len();
    for byte in &mut bytes[8_192..length] {
        *byte = 0xA5;
    }
    std::fs::write(path, bytes).expect("written");
    let said = match Store::open(&database.url) {
        Ok(store) => store.links(None, LinkId(0), 5_000).expect_err("its pages are nonsense").to_string(),
        Err(error) => error.to_string(),
    };
    assert!(said.contains("malformed"), "{said}");
}

#[test]
fn in_memory_is_a_whole_store() {
    let store = Store::in_memory().expect("it opens");
    let lease = lease(&store, "app");
    let ids =
        store.record(&lease, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("recorded").links;
    let other = store.clone();
    let found = thread::spawn(move || other.links(None, LinkId(0), 9)).join().expect("no panic").expect("answers");
    assert_eq!(found.iter().map(|link| link.id).collect::<Vec<_>>(), ids);
    assert!(Store::in_memory().expect("it opens").links(None, LinkId(0), 9).expect("answers").is_empty());
}

#[test]
fn a_server_that_cannot_be_opened_says_what_to_do_and_never_the_password() {
    let Some(server) = postgres::server() else { return };
    let tcp = server.tcp("postgres");
    let refused = |url: PostgresUrl| {
        let said = opening(&DatabaseUrl::Postgres(Box::new(url)));
        assert!(!said.contains("hunter2") && !said.contains(postgres::PASSWORD), "{said}");
        said
    };
    let wrong = Some(Secret::new("hunter2".to_owned()));
    let said = refused(PostgresUrl { password: wrong.clone(), ..tcp.clone() });
    assert!(said.contains("refused the role evenkeel") && said.contains("password"), "{said}");
    let said = refused(PostgresUrl { user: "nobody".to_owned(), password: wrong, ..tcp.clone() });
    assert!(said.contains("refused the role nobody"), "{said}");
    let said = refused(PostgresUrl { password: None, ..tcp.clone() });
    assert!(said.contains("password"), "{said}");
    let said = refused(PostgresUrl { database: "nowhere".to_owned(), ..tcp.clone() });
    assert!(said.contains("has no database nowhere; create it"), "{said}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
    let said = refused(PostgresUrl { port: free, ..tcp.clone() });
    assert!(said.contains("is the server running"), "{said}");
    let said = refused(PostgresUrl { host: "/no/such/directory".to_owned(), ..tcp.clone() });
    assert!(said.contains("/no/such/directory"), "{said}");
    let said = refused(PostgresUrl { host: "evenkeel.invalid".to_owned(), ..tcp.clone() });
    assert!(said.contains("evenkeel.invalid"), "{said}");
    Store::open(&DatabaseUrl::Postgres(Box::new(tcp))).expect("and with all of it right it opens");
}

#[test]
fn a_server_that_says_nothing_is_an_error_within_seconds() {
    // A listener that never accepts: the system does, and then nobody speaks.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = PostgresUrl {
        host: "127.0.0.1".to_owned(),
        port: silent.local_addr().expect("its address").port(),
        user: "evenkeel".to_owned(),
        password: None,
        database: "evenkeel".to_owned(),
        tls: PostgresTls::Off,
        ca_file: None,
    };
    let said = opening(&DatabaseUrl::Postgres(Box::new(url)));
    assert!(said.contains("no answer within 8 s"), "{said}");
}

#[test]
fn a_server_that_restarts_is_found_again() {
    let Some(database) = Database::postgres() else { return };
    let store = database.open();
    store.ping().expect("it answers");
    // What a restart does to us: every connection is cut.
    let gone = database.number(
        "(SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
          WHERE datname = current_database() AND pid <> pg_backend_pid()) AS cut)",
    );
    assert!(gone > 0);
    thread::sleep(Duration::from_millis(50)); // Only makes it likelier that the cut was noticed; either way it answers.
    store.ping().expect("it answers again");
    lease(&store, "app");
}

#[test]
fn a_transaction_that_waits_too_long_is_locked_and_wrote_nothing() {
    let Some(database) = Database::postgres() else { return };
    let store = database.open();
    let lease = lease(&store, "app");
    let before = everything(&store);
    // Somebody holds the chain's row; our wait ends by itself.
    let holder = {
        let url = database.url.clone();
        thread::spawn(move || {
            postgres::execute(&url, "BEGIN; UPDATE chain SET seq = seq; SELECT pg_sleep(13); ROLLBACK")
        })
    };
    while database
        .number("(SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(13)%' AND wait_event = 'PgSleep')")
        == 0
    {
        thread::sleep(Duration::from_millis(20));
    }
    let record = Record { link: vec![pair(1, 1)], history: vec![entry("asana:1")], ..Record::default() };
    let refused = store.record(&lease, &record, at(1));
    assert!(matches!(refused, Err(StoreError::Locked { .. })), "{refused:?}");
    assert_eq!(everything(&store), before);
    holder.join().expect("no panic");
    store.record(&lease, &record, at(1)).expect("and now it is free");
}

#[test]
fn a_creation_is_not_announced_while_another_route_turns_its_own_into_a_link() {
    let Some(database) = Database::postgres() else { return };
    let store = database.open();
    let (app, site) = (lease(&store, "app"), lease(&store, "site"));
    let made =
        store.record(&app, &Record { link: vec![pair(1, 1)], ..Record::default() }, at(0)).expect("linked").links;
    let retired = LinkChange { status: Some(LinkStatus::Retired), ..LinkChange::default() };
    store.record(&app, &Record { change: vec![(made[0], retired)], ..Record::default() }, at(1)).expect("recorded");
    announce(&store, &app, IntentKind::Issue, "asana:1", at(2)).expect("announced");
    // What the record of the creation does, in one transaction that lets nobody read the intents meanwhile.
    let linking = {
        let url = database.url.clone();
        thread::spawn(move || {
            postgres::execute(
                &url,
                "BEGIN; LOCK TABLE intents IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.5); \
                 UPDATE links SET status = 'active'; DELETE FROM intents; COMMIT",
            );
        })
    };
    let sleeps = "pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)%' AND wait_event = 'PgSleep'";
    while database.number(&format!("(SELECT count(*) FROM {sleeps})")) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    let refused = announce(&store, &site, IntentKind::Issue, "asana:1", at(3));
    linking.join().expect("no panic");
    assert!(matches!(refused, Err(StoreError::Claimed { .. })), "{refused:?}");
}

#[test]
fn a_history_that_grows_while_it_is_checked_is_whole() {
    let Some(database) = Database::postgres() else { return };
    let store = database.open();
    // What appends does, in one transaction that lets nobody read the entries meanwhile.
    let growing = {
        let url = database.url.clone();
        thread::spawn(move || {
            postgres::execute(
                &url,
                "BEGIN; LOCK TABLE history IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.4); \
                 INSERT INTO history \
                 (seq, route, at, pass, kind, item, item_key, cause, actor, previous, hash, changes) \
                 VALUES (1, 'app', 0, 1, 'update', 'asana:1', 'asana:1', '', '', '', '', '[]'); \
                 UPDATE chain SET seq = 1; COMMIT",
            );
        })
    };
    let sleeps = "pg_stat_activity WHERE query LIKE '%pg_sleep(1.4)%' AND wait_event = 'PgSleep'";
    while database.number(&format!("(SELECT count(*) FROM {sleeps})")) == 0 {
        thread::sleep(Duration::from_millis(20));
    }
    let verified = store.verify_history().expect("answers");
    growing.join().expect("no panic");
    assert!(matches!(verified, Verified::Whole { entries: 0, .. }), "{verified:?}");
}

#[test]
fn tls_is_used_when_asked_for_and_only_with_a_server_that_proves_its_name() {
    let Some(server) = postgres::server() else { return };
    let Some(ca_file) = &server.ca_file else {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "\nPOSTGRES TLS TEST DID NOT RUN: this PostgreSQL was built without TLS\n");
        return;
    };
    let Some(DatabaseUrl::Postgres(database)) = postgres::database() else { panic!("there is a server") };
    let name = database.database;
    let verified = PostgresUrl {
        host: "localhost".to_owned(),
        tls: PostgresTls::Verified,
        ca_file: Some(ca_file.clone()),
        ..server.tcp(&name)
    };
    let store =
        Store::open(&DatabaseUrl::Postgres(Box::new(verified.clone()))).unwrap_or_else(|error| panic!("{error}"));
    lease(&store, "app");
    let sessions = |ssl: &str| {
        postgres::number(
            &server.url(&name),
            &format!(
                "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                 WHERE application_name = 'evenkeel' AND datname = current_database() AND {ssl}"
            ),
        )
    };
    assert!(sessions("ssl") > 0);
    assert_eq!(sessions("NOT ssl"), 0);

    let refused = |url: PostgresUrl, word: &str| {
        let said = opening(&DatabaseUrl::Postgres(Box::new(url)));
        assert!(said.contains(word) && !said.contains(postgres::PASSWORD), "{said}");
    };
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("written");
        Some(path)
    };
    let (key, _, stranger) = postgres::certificates();
    let ca_file = file("stranger.pem", &stranger);
    refused(PostgresUrl { ca_file, ..verified.clone() }, "certificate");
    refused(PostgresUrl { ca_file: None, ..verified.clone() }, "certificate");
    refused(PostgresUrl { host: "127.0.0.1".to_owned(), ..verified.clone() }, "not valid for name");
    refused(PostgresUrl { ca_file: file("key.pem", &key), ..verified.clone() }, "no certificate in it");
    refused(PostgresUrl { ca_file: Some(directory.path().join("none.pem")), ..verified.clone() }, "none.pem");

    // A server without TLS: it answers the wish for it with N.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = plain.local_addr().expect("its address").port();
    let server = thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut peer, _) = plain.accept().expect("somebody comes");
        peer.read_exact(&mut [0; 8]).expect("the wish");
        peer.write_all(b"N").expect("the answer");
        let mut rest = Vec::new();
        let _ = peer.read_to_end(&mut rest);
        rest
    });
    refused(PostgresUrl { host: "127.0.0.1".to_owned(), port, ..verified }, "server does not support TLS");
    assert!(server.join().expect("no panic").is_empty(), "something was said in clear");
}
