//! The front door through the real listener: who is answered what, and a database that fails.

use std::sync::Arc;
use std::time::Duration;

use evenkeel::config::{DatabaseUrl, ListenLimits, Secret};
use evenkeel::model::{ItemKey, Side};
use evenkeel::provider::signature::sign;
use evenkeel::sandbox::Outcome;
use evenkeel::seal::Seal;
use evenkeel::server::Listener;
use evenkeel::store::{DeliveryFilter, Store, Verdict};

use crate::listening::{self, Client, Reply};
use crate::station::Station;
use crate::support::{Database, connect, rig::Rig};

impl Station {
    fn listens(&self) -> Listener {
        Listener::start(&listening::settings(), self.front(), 1).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The secret of a side's hook, and the path it sends to.
    fn hook(&self, side: Side) -> (Secret, String) {
        let came = self.door.came.lock().expect("the lock");
        let prefix = format!("{}/webhooks/{}", crate::station::PUBLIC_URL, side.service());
        let url = &came.iter().find(|request| request.url.starts_with(&prefix)).expect("a delivery").url;
        let path = url.strip_prefix(crate::station::PUBLIC_URL).expect("ours").to_owned();
        let row = self.rig.store.hooks(Some(side)).expect("answers").pop().expect("a hook");
        let key = self.works.config.webhooks.seal_key.as_ref().expect("a key");
        let secret = Seal::new(key).open(&row.secret.expect("a secret"), &row.token_hash).expect("ours");
        (secret, path)
    }

    fn rows(&self) -> usize {
        self.rig.store.deliveries(&DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() }).expect("rows").len()
    }
}

/// Posts a body with these header lines to a path.
fn post(listener: &Listener, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let mut client = Client::to(listener);
    client.send(&format!("POST {path} HTTP/1.1\r\nHost: a\r\n{lines}Content-Length: {}\r\n\r\n{body}", body.len()));
    client.reply()
}

fn ask(listener: &Listener, method: &str, path: &str) -> Reply {
    let mut client = Client::to(listener);
    client.send(&format!("{method} {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    client.reply()
}

/// Everything that is answered but the id of the request.
fn words(reply: &Reply) -> (u16, String, String) {
    let error = reply.json()["error"].clone();
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (reply.status, text("code"), text("message"))
}

const JSON: (&str, &str) = ("Content-Type", "application/json");

fn closed(number: u64, repo_id: i64) -> String {
    format!(
        r#"{{"action":"closed","issue":{{"number":{number}}},"repository":{{"id":{repo_id},"full_name":"acme/app","default_branch":"main"}}}}"#
    )
}

#[test]
fn who_is_not_known_is_answered_in_the_same_words_whatever_is_wrong() {
    let station = Station::in_memory(11);
    let listener = station.listens();
    let (secret, path) = station.hook(Side::Forge);
    let (_, asana) = station.hook(Side::Tracker);
    let before = station.rows();
    let body = closed(1, station.rig.repo.id);
    let good = format!("sha256={}", sign(&secret, body.as_bytes()));
    let wrong = format!("sha256={}", sign(&Secret::new("another".to_owned()), body.as_bytes()));
    let named = [JSON, ("X-GitHub-Event", "issues"), ("X-GitHub-Delivery", "g-1")];
    let with = |more: &[(&'static str, &str)]| -> Reply {
        let headers: Vec<(&str, &str)> = named.iter().copied().chain(more.iter().copied()).collect();
        post(&listener, &path, &headers, &body)
    };
    let expected = words(&with(&[]));
    assert_eq!((expected.0, expected.1.as_str()), (401, "unauthorized"));
    for (what, reply) in [
        ("a wrong signature", with(&[("X-Hub-Signature-256", &wrong)])),
        ("a doubled one", with(&[("X-Hub-Signature-256", &good), ("X-Hub-Signature-256", &good)])),
        ("a wrong and a good one", with(&[("X-Hub-Signature-256", &wrong), ("X-Hub-Signature-256", &good)])),
        ("two in one line", with(&[("X-Hub-Signature-256", &format!("{good}, {good}"))])),
        ("one without its scheme", with(&[("X-Hub-Signature-256", good.trim_start_matches("sha256="))])),
        ("the old header only", with(&[("X-Hub-Signature", &good)])),
        ("another token", post(&listener, "/webhooks/github/another", &[JSON, ("X-Hub-Signature-256", &good)], &body)),
        ("no token", post(&listener, "/webhooks/github", &[JSON, ("X-Hub-Signature-256", &good)], &body)),
        ("no hook of asana", post(&listener, "/webhooks/asana/another", &[JSON, ("X-Hook-Signature", &good)], &body)),
        ("asana without a token", post(&listener, "/webhooks/asana", &[JSON], &body)),
        ("asana unsigned", post(&listener, &asana, &[JSON], &body)),
        ("asana with github's secret", post(&listener, &asana, &[JSON, ("X-Hook-Signature", &good[7..])], &body)),
        ("github at asana's address", post(&listener, &path.replace("github", "asana"), &[JSON], &body)),
        ("a handshake nobody waits for", post(&listener, &asana, &[("X-Hook-Secret", "abc")], "")),
        ("a handshake at no hook", post(&listener, "/webhooks/asana/none", &[("X-Hook-Secret", "abc")], "")),
    ] {
        assert_eq!(words(&reply), expected, "{what}");
        assert_eq!(reply.header("x-hook-secret"), None, "{what}");
    }
    assert_eq!(station.rows(), before, "nothing of it is kept");
    let reply = with(&[("X-Hub-Signature-256", &good)]);
    assert_eq!((reply.status, reply.json()["again"].as_bool()), (200, Some(false)));
    assert_eq!(with(&[("X-Hub-Signature-256", &good)]).json()["again"], true);
    assert_eq!(station.rows(), before + 1);
}

#[test]
fn each_fault_of_a_request_has_its_status() {
    let station = Station::in_memory(11);
    let listener = station.listens();
    let (secret, path) = station.hook(Side::Forge);
    let (asana_secret, asana) = station.hook(Side::Tracker);
    let before = station.rows();
    for method in ["GET", "PUT", "DELETE", "HEAD", "PATCH"] {
        for path in [&path, &asana, "/webhooks/github"] {
            if method == "HEAD" {
                continue;
            }
            let reply = ask(&listener, method, path);
            assert_eq!((reply.status, reply.header("allow").as_deref()), (405, Some("POST")), "{method} {path}");
        }
    }
    for nowhere in ["/", "/webhooks", "/webhooks/", "/webhooks/jira", "/webhooks/asana/", "/webhooks/asana/a/b"] {
        assert_eq!(post(&listener, nowhere, &[JSON], "{}").status, 404, "{nowhere}");
    }
    let signed = |secret: &Secret, body: &str| sign(secret, body.as_bytes());
    for kind in ["text/plain", "application/xml", "", "multipart/form-data", "application/jsonp"] {
        let good = format!("sha256={}", signed(&secret, "{}"));
        let reply = post(&listener, &path, &[("Content-Type", kind), ("X-Hub-Signature-256", &good)], "{}");
        assert_eq!(words(&reply).0, 415, "{kind}");
    }
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(post(&listener, &asana, &[form], "a=b").status, 415, "a form is GitHub's way only");

    let mut client = Client::to(&listener);
    let length = ListenLimits::default().body_bytes_max + 1;
    client.send(&format!(
        "POST {path} HTTP/1.1\r\nHost: a\r\n{}: {}\r\nContent-Length: {length}\r\n\r\n",
        JSON.0, JSON.1
    ));
    assert_eq!(client.reply().status, 413, "before its body is there");
    assert_eq!(station.rows(), before);

    // Signed and not understood: kept for a person.
    let deep = "[".repeat(100_000);
    for body in ["{", "[]", "null", "\u{0}", &deep, "\"closed\"", "{\"action\":\"closed\""] {
        let good = format!("sha256={}", signed(&secret, body));
        let headers = [JSON, ("X-GitHub-Event", "issues"), ("X-Hub-Signature-256", &good)];
        let guid = format!("bad-{}", body.len());
        let headers: Vec<(&str, &str)> = headers.into_iter().chain([("X-GitHub-Delivery", guid.as_str())]).collect();
        let reply = post(&listener, &path, &headers, body);
        assert_eq!(words(&reply).0, 400, "github {:.20}", body);
        let good = signed(&asana_secret, body);
        let reply = post(&listener, &asana, &[JSON, ("X-Hook-Signature", &good)], body);
        assert!([400, 200].contains(&reply.status), "asana {body:.20}: {}", reply.status);
        assert!(body != "{" || reply.status == 400);
    }
    let filter = DeliveryFilter { verdict: Some(Verdict::Garbled), limit: 100, ..DeliveryFilter::default() };
    let kept = station.rig.store.deliveries(&filter).expect("rows");
    assert!(kept.len() >= 7, "{}", kept.len());
    assert!(kept.iter().all(|one| one.touched.is_empty() && one.note.is_some()));
    assert_eq!(station.due(), Vec::<String>::new());
    assert!(station.take_rings().is_empty());
}

/// Acts on both sides while the database takes nothing: 503 to both, nothing kept, and made up for afterwards.
fn refused_and_made_up_for(station: &Station, task: &evenkeel::model::TaskGid, number: u64, sent: usize) {
    let rows = station.rows();
    station.rig.sandbox.webhooks().reset();
    station.rig.sandbox.asana().rename(task, "Renamed meanwhile");
    station.rig.sandbox.github().close(&station.rig.repo.name, number, evenkeel::sandbox::Reason::Completed);
    assert_eq!(station.deliver(), sent);
    let outcomes: Vec<Outcome> = station.rig.sandbox.webhooks().sent().into_iter().map(|sent| sent.outcome).collect();
    assert_eq!(outcomes, vec![Outcome::Answered(503); sent]);
    assert_eq!(station.rows(), rows, "nothing is kept of them");
    assert!(station.take_rings().is_empty());
}

/// GitHub's own log is asked for what it failed to hand over, Asana tries again by itself.
fn made_up_for(station: &Station, task: &evenkeel::model::TaskGid, number: u64) {
    let engine = station.rig.engine();
    station.rig.clock.advance(Duration::from_secs(3_600));
    station.ensure();
    station.bustle(&engine);
    let world = station.rig.sandbox.world();
    let (task, issue) = (world.task(task), world.issue(&station.rig.repo.name, number));
    let (task, issue) = (task.expect("a task"), issue.expect("an issue"));
    assert_eq!((task.name.as_str(), task.completed), ("Renamed meanwhile", true));
    assert_eq!((issue.title.as_str(), issue.closed), ("Renamed meanwhile", true));
    let filter = DeliveryFilter { limit: 1_000, ..DeliveryFilter::default() };
    let kept = station.rig.store.deliveries(&filter).expect("rows");
    assert!(kept.iter().any(|one| one.origin == evenkeel::store::Origin::Fetched), "fetched from GitHub's log");
    station.rig.settles("a database that failed");
}

fn paired(station: &Station) -> (evenkeel::model::TaskGid, u64) {
    let task = station.rig.task("Fix the login", "It fails.");
    station.bustle(&station.rig.engine());
    let link = station.rig.store.link_of(&ItemKey::Task(task.clone())).expect("answers").expect("linked");
    station.rig.clock.advance(Duration::from_secs(300));
    (task, link.issue.number)
}

#[test]
fn a_locked_database_answers_503_keeps_nothing_and_works_again() {
    use diesel::connection::SimpleConnection as _;
    let station = Station::new();
    let (task, number) = paired(&station);
    let mut other = connect(&station.rig.database());
    other.batch_execute("BEGIN IMMEDIATE").expect("the lock");
    refused_and_made_up_for(&station, &task, number, 2);
    other.batch_execute("ROLLBACK").expect("let go");
    made_up_for(&station, &task, number);
}

#[test]
fn a_read_only_database_answers_503_keeps_nothing_and_works_again() {
    let station = Station::new();
    let (task, number) = paired(&station);
    let url = DatabaseUrl::Sqlite(station.rig.database());
    let station = station.restarted(Store::open_for_reading(&url).expect("it opens"));
    refused_and_made_up_for(&station, &task, number, 2);
    let station = station.restarted(Store::open(&url).expect("it opens"));
    made_up_for(&station, &task, number);
}

#[test]
fn a_locked_table_of_postgres_is_answered_503_before_the_providers_give_up() {
    let Some(database) = Database::postgres() else { return };
    let station = Station::on(database.open());
    let (task, number) = paired(&station);
    let holder = {
        let url = database.url.clone();
        std::thread::spawn(move || {
            crate::support::postgres::execute(
                &url,
                "BEGIN; LOCK TABLE deliveries IN EXCLUSIVE MODE; SELECT pg_sleep(18); ROLLBACK",
            );
        })
    };
    while database
        .number("(SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(18)%' AND wait_event = 'PgSleep')")
        == 0
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    // Both answers came while the table was still locked: each within the ten seconds that a provider waits.
    refused_and_made_up_for(&station, &task, number, 2);
    assert!(!holder.is_finished(), "the answers came too late for anybody");
    holder.join().expect("no panic");
    made_up_for(&station, &task, number);
}

#[test]
fn the_whole_way_works_on_postgres() {
    let Some(database) = Database::postgres() else { return };
    let station = Station::on(database.open());
    let (task, number) = paired(&station);
    let engine = station.rig.engine();
    station.rig.sandbox.asana().rename(&task, "Renamed");
    let reports = station.bustle(&engine);
    assert_eq!(reports.iter().map(|report| report.counts.updated).sum::<u64>(), 1);
    let world = station.rig.sandbox.world();
    assert_eq!(world.issue(&station.rig.repo.name, number).expect("an issue").title, "Renamed");
    station.rig.settles("postgres");
}

#[test]
fn one_who_is_not_signed_is_counted_and_its_body_forgotten() {
    let station = Station::in_memory(11);
    let listener = station.listens();
    for _ in 0..5 {
        assert_eq!(post(&listener, "/webhooks/github/none", &[JSON], "{\"secret\":\"body\"}").status, 401);
    }
    // Dropped, the front writes down what it has counted.
    let store = station.rig.store.clone();
    listener.stop(Duration::from_secs(5));
    let Rig { .. } = &station.rig;
    station.rig.sandbox.webhooks().send_through(Arc::new(Nobody));
    drop(station);
    let counted = store.refusals().expect("answers");
    assert_eq!(counted.iter().map(|one| one.count).sum::<u64>(), 5, "{counted:?}");
    assert!(counted.iter().all(|one| one.provider == "github"));
}

/// Lets go of the door that the sandbox holds.
struct Nobody;

impl evenkeel::provider::http::Transport for Nobody {
    fn send(
        &self,
        _: &evenkeel::provider::http::Request,
        _: Duration,
    ) -> Result<evenkeel::provider::http::Response, evenkeel::provider::http::TransportError> {
        Err(evenkeel::provider::http::TransportError::NotSent("nobody is there".to_owned()))
    }
}
