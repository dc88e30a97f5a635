//! The admin API over the sandbox: every call and what it does, each answer held to the contract in openapi.json.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "passes behind an answer are waited for in real time")]

#[path = "api/bench.rs"]
mod bench;
#[path = "api/refused.rs"]
mod refused;
mod support;

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::clock::{Clock as _, Stop, VirtualClock};
use evenkeel::engine::{PassOptions, Wake};
use evenkeel::model::{Field, FieldChange, LinkStatus, PassId, Side, Timestamp};
use evenkeel::sandbox::{Fault, TaskSeed, When};
use evenkeel::server::api::{Api, Code, OPENAPI, WAYS};
use evenkeel::server::message::{Admission, Answer, Head, Request};
use evenkeel::server::{Listener, Service};
use evenkeel::store::{Begun, EntryFilter, NewCall, NewDue, NewEntry, PassEnd, PassStart, Record};
use evenkeel::trigger::Ring;
use evenkeel::workshop::Workshop;
use serde_json::{Value, json};

use bench::{Bench, CLOSED, LINES, Lines, READ_TOKEN, TOKEN, app, key, sync, why};

#[test]
fn every_call_answers_as_the_contract_says() {
    let bench = Bench::new();
    let contract = bench.get("/api/openapi.json");
    assert_eq!(contract.json, bench.contract);

    let (task, issue) = bench.pair("Fix login");
    let again = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((again.status, &again.json["in_step"], &again.json["created"]), (200, &json!(true), &json!(false)));

    bench.sandbox.asana().rename(&task, "Fix the login");
    let planned = bench.get("/api/plan?route=app&full=true");
    assert_eq!(planned.json["plans"][0]["repairs"][0]["do"], "update", "{:#}", planned.json);
    let explained = bench.get(&format!("/api/tasks/{task}"));
    assert_eq!(explained.json["explained"]["next"]["what"], "repair");
    let repaired = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!(repaired.json["done"], json!(["update github title"]), "{:#}", repaired.json);

    let closed = bench.post(&format!("/api/tasks/{task}/close"), &why());
    assert_eq!(closed.json["sides"], json!({ "asana": { "what": "written" }, "github": { "what": "written" } }));
    assert_eq!(bench.statuses(&task, &issue), (true, true));
    bench.settled();
    let reopened = bench.post(&format!("/api/tasks/{task}/reopen"), &why());
    assert_eq!(reopened.json["in_step"], json!(true));
    assert_eq!(bench.statuses(&task, &issue), (false, false));
    bench.settled();

    let stranger = bench.task("Write the manual");
    let explained = bench.get(&format!("/api/tasks/{stranger}"));
    assert_eq!(explained.json["explained"]["next"]["repair"]["do"], "create", "{:#}", explained.json);
    let asked = bench.post("/api/reconcile", &json!({ "route": "app", "full": true, "reason": "a look", "who": null }));
    assert_eq!(asked.status, 202);
    let pass = bench.ended(asked.json["passes"][0]["pass"].as_i64().expect("an id"));
    assert_eq!((&pass["outcome"], &pass["counts"]["created"]), (&json!("settled"), &json!(1)), "{pass:#}");
    assert_eq!((&pass["actor"], &pass["kind"]), (&json!("api"), &json!("sweep")));
    assert_eq!(pass["cause"], json!(format!("api {}: a look", asked.id)));

    let delivery = bench.delivery("one", Some(&issue), false, CLOSED.as_bytes());
    let garbled = bench.delivery("two", None, true, b"{\xff");
    assert_eq!(bench.get("/api/deliveries").json["deliveries"].as_array().map(Vec::len), Some(2));
    let found = bench.get("/api/deliveries?provider=github&verdict=due&item=github:acme/app%231&limit=1");
    assert_eq!(found.json["deliveries"][0]["id"], json!(delivery));
    let whole = bench.get(&format!("/api/deliveries/{delivery}"));
    assert_eq!(whole.json["body"], CLOSED);
    let replayed = bench.post(&format!("/api/deliveries/{delivery}/replay"), &why());
    assert_eq!(replayed.json["routes"], json!(["app"]));
    let rung = bench.store.rung(&app(), bench.clock.now(), 10).expect("rung");
    assert_eq!(rung[0].request.as_deref(), Some(replayed.id.as_str()));
    assert_eq!(*bench.rung.lock().expect("rung"), [(app(), Ring::Heard)]);

    let answer = bench.post(&format!("/api/deliveries/{garbled}/replay"), &why());
    assert_eq!((answer.status, answer.code()), (409, "conflict"), "{}", answer.json);

    let parked = bench.park(&key(&stranger));
    assert_eq!(bench.get("/api/parked?route=app").json["parked"][0]["id"], json!(parked));
    assert_eq!(bench.post(&format!("/api/parked/{parked}/retry"), &why()).json["due"], json!(true));
    assert_eq!(bench.rung.lock().expect("rung").len(), 2);
    let parked = bench.park(&key(&stranger));
    let dropped = bench.post(&format!("/api/parked/{parked}/drop"), &why());
    let pass = dropped.json["pass"].as_i64().expect("a pass");
    let history = bench.get(&format!("/api/history?pass={pass}"));
    assert_eq!(history.json["entries"][0]["actor"], "api:ann");
    assert_eq!(bench.get("/api/tasks?status=open&link=active").json["tasks"].as_array().map(Vec::len), Some(2));

    bench.disagree(&task, &issue, "Ann's title", "Bob's title");
    let waits = bench.get("/api/conflicts?route=app");
    assert_eq!(waits.json["conflicts"][0]["fields"][0]["said"]["forge"], "Bob's title", "{:#}", waits.json);
    let body = json!({ "asana_task_gid": task.to_string(), "take": "forge", "reason": "Bob is right", "who": "ann" });
    let settled = bench.post("/api/conflicts/resolve", &body);
    assert_eq!(settled.json["sides"], json!({ "asana": { "what": "written" }, "github": { "what": "already" } }));
    assert_eq!(settled.json["in_step"], json!(true), "{:#}", settled.json);
    assert_eq!(bench.get("/api/conflicts").json["conflicts"], json!([]));
    bench.settled();

    let held = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
    let queued = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((queued.status, &queued.json["queued"]), (202, &json!(true)), "{:#}", queued.json);
    bench.store.release(&held).expect("released");
    bench.settled();

    // Every success that the contract knows was seen, and held to it.
    let mut wanted = BTreeSet::new();
    for (method, way, _) in WAYS {
        let responses = bench.contract["paths"][way][method.to_lowercase()]["responses"].as_object().expect("some");
        for status in responses.keys().filter(|status| status.starts_with('2')) {
            wanted.insert((method.to_owned(), way.to_owned(), status.clone()));
        }
    }
    let seen = bench.seen.borrow();
    let missing: Vec<_> = wanted.difference(&seen).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_contract_is_whole_and_its_examples_are_true() {
    let bench = Bench::new();
    let mut references = BTreeSet::new();
    let mut walk = vec![&bench.contract];
    while let Some(value) = walk.pop() {
        match value {
            Value::Object(map) => {
                references.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                walk.extend(map.values());
                if let (Some(schema), Some(example)) = (map.get("schema"), map.get("example")) {
                    bench.valid(schema, example, "an example");
                }
            }
            Value::Array(list) => walk.extend(list),
            _ => {}
        }
    }
    for reference in &references {
        assert!(bench.contract.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for (name, parts) in bench.contract["components"].as_object().expect("components") {
        for part in parts.as_object().expect("parts").keys().filter(|_| name != "securitySchemes") {
            assert!(references.contains(&format!("#/components/{name}/{part}")), "{name}/{part} is used nowhere");
        }
    }
    for (method, way, endpoint) in WAYS {
        let operation = &bench.contract["paths"][way][method.to_lowercase()];
        let security = operation["security"].as_array().expect("security").len();
        assert_eq!(security, if endpoint.writes() { 1 } else { 2 }, "{method} {way}");
        assert_eq!(operation["requestBody"].is_object(), endpoint.writes(), "{method} {way}");
    }
}

#[test]
fn a_task_is_found_on_the_route_whose_project_holds_it() {
    let bench = Bench::new();
    let seed = TaskSeed { name: "Index".into(), html_notes: "<body>b</body>".into(), ..TaskSeed::default() };
    let task = bench.sandbox.asana().task(&bench.projects[1].gid, seed);
    let made = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((&made.json["route"], &made.json["created"]), (&json!("back"), &json!(true)), "{:#}", made.json);
    // Its pair says where it belongs; another route is an error.
    let wrong = json!({ "asana_task_gid": task, "reason": "x", "route": "app" });
    let answer = bench.post("/api/tasks/sync", &wrong);
    assert_eq!((answer.status, answer.code()), (409, "conflict"), "{}", answer.json);
    // In the projects of both: one must be named.
    let both = bench.task("Both");
    bench.sandbox.asana().join(&both, &bench.projects[1].gid);
    let answer = bench.post("/api/tasks/sync", &sync(&both));
    assert_eq!((answer.status, answer.code()), (409, "conflict"));
    assert!(answer.message().contains("app, back"), "{}", answer.message());
    let named = json!({ "asana_task_gid": both, "reason": "x", "route": "back" });
    assert_eq!(bench.post("/api/tasks/sync", &named).json["route"], "back");
    // A route that is configured no longer.
    bench.reconfigure(|config| config.routes.truncate(1));
    let answer = bench.post(&format!("/api/tasks/{task}/close"), &why());
    assert_eq!((answer.status, answer.code()), (409, "conflict"), "{}", answer.json);
}

#[test]
fn what_keeps_a_task_from_being_brought_in_step_is_said() {
    let bench = Bench::new();
    let done = bench.task("Long done");
    bench.sandbox.asana().complete(&done);
    let answer = bench.post("/api/tasks/sync", &sync(&done));
    assert_eq!((answer.status, answer.code()), (409, "left_alone"), "{}", answer.json);

    let (task, issue) = bench.pair("Fix login");
    bench.park(&issue);
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, answer.code()), (409, "parked"));
    assert!(answer.message().contains("/retry"), "{}", answer.message());
    let parked = bench.store.parked(None).expect("parked")[0].id;
    assert_eq!(bench.post(&format!("/api/parked/{parked}/retry"), &why()).status, 200);
    let answer = bench.post(&format!("/api/parked/{parked}/retry"), &why());
    assert_eq!((answer.status, answer.code()), (409, "conflict"), "it is due, not parked: {}", answer.json);
    assert_eq!(bench.post("/api/tasks/sync", &sync(&task)).json["in_step"], json!(true));

    bench.sandbox.asana().rename(&task, "Fix the login");
    bench.reconfigure(|config| {
        let brakes = &mut config.routes[0].rules.brakes;
        (brakes.updates_max, brakes.updates_percent) = (0, 0);
    });
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, answer.code()), (409, "braked"), "{}", answer.json);
}

#[test]
fn a_provider_that_fails_is_told_and_the_task_is_due_again() {
    let bench = Bench::new();
    let (task, issue) = bench.pair("Fix login");
    bench.sandbox.asana().rename(&task, "Fix the login");
    let broken = || Fault::Broken { status: 500, done: false };
    bench.sandbox.faults().chance(1.0, When::side(Side::Forge).writes(), broken());
    let answer = bench.post_as("/api/tasks/sync", &sync(&task), &[("idempotency-key", "one")]);
    assert_eq!((answer.status, answer.code()), (502, "provider_failed"), "{}", answer.json);
    let close = format!("/api/tasks/{task}/close");
    let answer = bench.post(&close, &why());
    assert_eq!((answer.status, answer.code()), (502, "provider_failed"), "{}", answer.json);
    assert!(answer.message().contains("was written"), "{}", answer.message());
    bench.sandbox.faults().clear();
    // The key of a call that may succeed a little later is free again.
    let answer = bench.post_as("/api/tasks/sync", &sync(&task), &[("idempotency-key", "one")]);
    assert_eq!(answer.status, 200, "{}", answer.json);
    assert_eq!(bench.post(&close, &why()).status, 200);
    assert_eq!(bench.statuses(&task, &issue), (true, true));

    bench.sandbox.faults().chance(1.0, When::any().reads(), broken());
    for path in [format!("/api/tasks/{task}"), "/api/plan".to_owned()] {
        let answer = bench.get(&path);
        let explained = path.starts_with("/api/tasks") && answer.status == 200;
        assert!(explained || answer.code() == "provider_failed", "{path}: {}", answer.json);
    }
    bench.sandbox.faults().clear();
    bench.clock.advance(Duration::from_secs(7_200));
    let works = bench.present.get();
    let engine = works.engine(&works.config.routes[0]).expect("an engine");
    engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
    bench.settled();
}

#[test]
fn a_half_that_could_not_be_read_is_no_pair_in_step() {
    let bench = Bench::new();
    let (task, issue) = bench.pair("Fix login");
    let broken = Fault::Broken { status: 502, done: false };
    let key = [("idempotency-key", "unread")];
    for (side, fault) in [
        (Side::Forge, Fault::Hidden),
        (Side::Forge, Fault::Forbidden),
        (Side::Forge, broken.clone()),
        (Side::Tracker, broken),
    ] {
        bench.sandbox.faults().chance(1.0, When::side(side).reads(), fault.clone());
        let answer = bench.post_as("/api/tasks/sync", &sync(&task), &key);
        assert_eq!((answer.status, answer.code()), (502, "provider_failed"), "{side:?} {fault:?}: {}", answer.json);
        if fault == Fault::Hidden {
            let message = answer.message();
            assert!(message.contains("the issue could not be read") && message.contains("due again"), "{message}");
        }
        bench.sandbox.faults().clear();
        bench.clock.advance(Duration::from_secs(7_200));
    }
    // The key was not spent on an answer that nobody could know.
    let answer = bench.post_as("/api/tasks/sync", &sync(&task), &key);
    assert_eq!((answer.status, &answer.json["in_step"]), (200, &json!(true)), "{}", answer.json);

    // Both read, and said to be due for a reason of its own until later: nothing is done, and that is not in step.
    let later = NewDue {
        item: issue.clone(),
        reason: "it failed".to_owned(),
        not_before: bench.clock.now() + Duration::from_secs(3_600),
        attempts: 1,
        last_error: Some("it was refused".to_owned()),
        parked: false,
    };
    bench.store.ring(&app(), &[later], None, bench.clock.now()).expect("due");
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, &answer.json["in_step"]), (200, &json!(false)), "{}", answer.json);
    bench.clock.advance(Duration::from_secs(7_200));
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, &answer.json["in_step"]), (200, &json!(true)), "{}", answer.json);
    bench.settled();
}

#[test]
fn a_route_at_work_is_not_disturbed() {
    let bench = Bench::new();
    let (task, _) = bench.pair("Fix login");
    let parked = bench.park(&"asana:77".parse().expect("a key"));
    // The service's own pass, in this very process: whoever has its name would be given its lease.
    let holder = bench.present.get().holder.clone();
    let held = bench.store.acquire(&app(), &holder, bench.clock.now()).expect("a lease").expect("free");
    for path in [format!("/api/tasks/{task}/close"), format!("/api/parked/{parked}/drop")] {
        let answer = bench.post_as(&path, &why(), &[("idempotency-key", "busy")]);
        assert_eq!((answer.status, answer.code()), (409, "busy"), "{path}");
        assert!(answer.headers.contains_key("retry-after"), "{path}");
    }
    let queued = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!(queued.status, 202, "{}", queued.json);
    let rung = bench.store.rung(&app(), bench.clock.now(), 10).expect("rung");
    assert!(rung.iter().any(|due| due.item == key(&task) && due.request.as_ref() == Some(&queued.id)), "{rung:?}");
    bench.store.renew(&held, bench.clock.now()).expect("it still is the service's");
    bench.store.release(&held).expect("released");
    assert_eq!(bench.post(&format!("/api/tasks/{task}/close"), &why()).status, 200);
    bench.settled();
}

/// A clock at which somebody acts while another waits.
struct Meanwhile {
    clock: Arc<VirtualClock>,
    act: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl evenkeel::clock::Clock for Meanwhile {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        let act = self.act.lock().expect("an act").take();
        if let Some(act) = act {
            act();
        }
        self.clock.sleep(duration, stop)
    }
}

#[test]
fn what_was_taken_back_while_its_drop_waited_is_not_said_to_be_dropped() {
    let bench = Bench::new();
    let item = key(&bench.task("Fix login"));
    for dropped_too in [false, true] {
        let parked = bench.park(&item);
        let held = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
        let (store, now) = (bench.store.clone(), bench.clock.now());
        let act = move || {
            if dropped_too {
                assert!(store.drop_due(parked).expect("the store"));
            } else {
                assert!(store.unpark(parked, now).expect("the store"));
            }
            store.release(&held).expect("released");
        };
        let clock = Meanwhile { clock: bench.clock.clone(), act: Mutex::new(Some(Box::new(act))) };
        let mut works = Workshop::new(bench.present.get().config.clone(), bench.store.clone(), "service".to_owned());
        works.clock = Arc::new(clock);
        bench.present.replace(Arc::new(works));
        let answer = bench.post(&format!("/api/parked/{parked}/drop"), &why());
        assert_eq!((answer.status, answer.code()), (409, "conflict"), "{}", answer.json);
        assert!(answer.message().contains("not parked any more"), "{}", answer.message());
        assert_eq!(bench.get("/api/history").json["entries"], json!([]));
        assert_eq!(bench.store.count_due(&app()).expect("the store"), u64::from(!dropped_too));
        // For the next turn.
        for due in bench.store.dues_of(&app(), std::slice::from_ref(&item)).expect("the store") {
            assert!(bench.store.drop_due(due.id).expect("the store"));
        }
    }
}

#[test]
fn a_call_with_a_key_is_done_once_and_answered_the_same() {
    let bench = Bench::new();
    let (task, _) = bench.pair("Fix login");
    let close = format!("/api/tasks/{task}/close");
    let key = [("idempotency-key", "a-key")];
    let first = bench.post_as(&close, &why(), &key);
    let again = bench.post_as(&close, &why(), &key);
    assert_eq!((first.status, &first.json), (again.status, &again.json));
    assert_eq!(first.headers.get("idempotency-replayed"), None);
    assert_eq!(again.headers["idempotency-replayed"], "true");
    // Another path or another body is another call.
    for (path, body) in [(format!("/api/tasks/{task}/reopen"), why()), (close.clone(), json!({ "reason": "other" }))] {
        let answer = bench.post_as(&path, &body, &key);
        assert_eq!((answer.status, answer.code()), (422, "key_reused"), "{path}");
    }
    // What is refused for good is answered so again.
    let refused = bench.post_as("/api/parked/7/drop", &why(), &[("idempotency-key", "b-key")]);
    let again = bench.post_as("/api/parked/7/drop", &why(), &[("idempotency-key", "b-key")]);
    assert_eq!((refused.status, again.status), (404, 404));
    assert_eq!(again.headers["idempotency-replayed"], "true");
    // A day later the key is free.
    bench.clock.advance(Duration::from_secs(25 * 3_600));
    let later = bench.post_as(&format!("/api/tasks/{task}/reopen"), &why(), &key);
    assert_eq!(later.status, 200, "{}", later.json);
    assert_eq!(bench.calls("status IS NULL"), 0);
    let kept = format!("request = '{}' AND actor = 'api:ann' AND reason = 'asked for in the stand-up'", first.id);
    assert_eq!(bench.calls(&kept), 1);
}

#[test]
fn a_call_that_died_is_made_anew_after_its_time() {
    let bench = Bench::new();
    let (task, issue) = bench.pair("Fix login");
    let path = format!("/api/tasks/{task}/close");
    let body = why().to_string();
    let mut digest = sha2::Sha256::default();
    sha2::Digest::update(&mut digest, format!("POST {path}\n{body}"));
    let digest = sha2::Digest::finalize(digest).iter().map(|byte| format!("{byte:02x}")).collect();
    let call = NewCall {
        key: Some("dead".to_owned()),
        request: "0123456789abcdef".to_owned(),
        actor: "api".to_owned(),
        method: "POST".to_owned(),
        path: path.clone(),
        reason: "x".to_owned(),
        digest,
    };
    assert!(matches!(bench.store.begin_call(&call, bench.clock.now()), Ok(Begun::New(_))));
    let dead = [("idempotency-key", "dead")];
    let answer = bench.post_as(&path, &why(), &dead);
    assert_eq!((answer.status, answer.code()), (409, "busy"), "{}", answer.json);
    assert!(answer.headers.contains_key("retry-after"));
    bench.clock.advance(Duration::from_secs(15 * 60));
    let answer = bench.post_as(&path, &why(), &dead);
    assert_eq!(answer.status, 200, "{}", answer.json);
    assert_eq!(bench.statuses(&task, &issue), (true, true));
    assert_eq!(bench.post_as(&path, &why(), &dead).headers["idempotency-replayed"], "true");
}

#[test]
fn passes_asked_for_while_one_waits_are_that_one_and_end_with_the_process() {
    Lines::keep();
    let bench = Bench::new();
    let held = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
    let asked = bench.post("/api/reconcile", &json!({ "route": "app", "full": true, "reason": "a look" }));
    assert_eq!(asked.json["passes"][0]["merged"], json!(false));
    let pass = asked.json["passes"][0]["pass"].as_i64().expect("an id");
    // It was tried once; then it waits for some seconds.
    let waits = || bench.get(&format!("/api/passes/{pass}")).json["state"] == "waiting";
    let tried = || LINES.lock().expect("lines").iter().any(|line| line.contains(&asked.id) && line.contains("waits:"));
    for _ in 0..1_000 {
        if tried() && waits() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(tried() && waits());
    for full in [true, false] {
        let again = bench.post("/api/reconcile", &json!({ "full": full, "reason": "another look" }));
        let passes = again.json["passes"].as_array().expect("passes");
        assert_eq!(passes[0], json!({ "route": "app", "pass": pass, "merged": true }), "{passes:?}");
        assert_eq!(passes[1]["route"], "back");
        bench.ended(passes[1]["pass"].as_i64().expect("an id"));
    }
    bench.store.release(&held).expect("released");
    let Bench { api, store, .. } = bench;
    drop(api);
    let end = store.pass(PassId(pass)).expect("the store").expect("a pass").end.expect("an end");
    assert!(matches!(end.outcome.as_str(), "stopped" | "settled"), "{end:?}");
}

#[test]
fn where_a_pass_stands_that_nobody_ended_is_told() {
    let bench = Bench::new();
    let start = PassStart { kind: "poll".into(), cause: "schedule".into(), actor: "service".into() };
    let dead = bench.store.begin_pass(&app(), &start, bench.clock.now()).expect("begun");
    let state = |pass: PassId| bench.get(&format!("/api/passes/{pass}")).json["state"].clone();
    assert_eq!(state(dead), "unfinished");
    let held = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
    assert_eq!(state(dead), "running");
    let next = bench.store.begin_pass(&app(), &start, bench.clock.now()).expect("begun");
    let end = PassEnd { outcome: "settled".into(), ..Default::default() };
    bench.store.end_pass(next, &end, bench.clock.now()).expect("ended");
    assert_eq!((state(dead), state(next)), (json!("unfinished"), json!("ended")));
    bench.store.release(&held).expect("released");
}

#[test]
fn a_field_that_waits_is_settled_once_as_it_was_shown_and_with_who_and_why() {
    let bench = Bench::new();
    let (task, issue) = bench.pair("Fix login");
    let ask = |take: &str, more: Value| {
        let mut body = json!({ "asana_task_gid": task.to_string(), "take": take, "reason": "as agreed", "who": "ann" });
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let resolve = |take: &str, more: Value| bench.post("/api/conflicts/resolve", &ask(take, more));
    let nothing = resolve("forge", json!({}));
    assert_eq!((nothing.status, nothing.code()), (409, "conflict"), "{}", nothing.json);

    bench.disagree(&task, &issue, "Ann's title", "Bob's title");
    let shown = bench.get("/api/conflicts").json["conflicts"][0]["fields"][0]["seen"].clone();
    for (take, more, status, said) in [
        ("both", json!({}), 409, "one value"),
        ("text", json!({}), 400, "text: it is missing"),
        ("tracker", json!({ "text": "x" }), 400, "text: it is taken only where"),
        ("text", json!({ "text": "one\ntwo" }), 409, "several lines"),
        ("tracker", json!({ "field": "status" }), 409, "does not wait"),
        ("neither", json!({}), 400, "unknown variant"),
        ("tracker", json!({ "field": "colour" }), 400, "unknown variant"),
    ] {
        let refused = resolve(take, more);
        assert_eq!(refused.status, status, "{take}: {}", refused.json);
        assert!(refused.message().contains(said), "{take}: {}", refused.json);
    }
    let strange = json!({ "asana_task_gid": "77", "take": "forge", "reason": "x" });
    assert_eq!(bench.post("/api/conflicts/resolve", &strange).code(), "not_linked");
    let reader = bench.ask(
        "POST",
        "/api/conflicts/resolve",
        &[("authorization", &format!("Bearer {READ_TOKEN}")), ("content-type", "application/json")],
        ask("forge", json!({})).to_string().as_bytes(),
        None,
    );
    assert_eq!(reader.status, 403);

    // Somebody goes on writing: what nobody has seen is not overwritten, and the route is woken to look.
    bench.sandbox.asana().rename(&task, "Ann's other title");
    bench.rung.lock().expect("rung").clear();
    for seen in [json!({}), json!({ "seen": shown })] {
        let moved = resolve("forge", seen);
        assert_eq!((moved.status, moved.code()), (409, "conflict"), "{}", moved.json);
        assert!(moved.message().contains("a side moved"), "{}", moved.json);
    }
    assert_eq!(bench.rung.lock().expect("rung").first(), Some(&(app(), Ring::Heard)));
    bench.look();
    let now = bench.get("/api/conflicts").json["conflicts"][0]["fields"][0].clone();
    assert_eq!(now["said"]["tracker"], "Ann's other title");
    assert_ne!(now["seen"], shown);

    let key = [("idempotency-key", "once")];
    let body = ask("text", json!({ "text": "What both want", "seen": now["seen"] }));
    let settled = bench.post_as("/api/conflicts/resolve", &body, &key);
    assert_eq!((settled.status, &settled.json["in_step"]), (200, &json!(true)), "{:#}", settled.json);
    let again = bench.post_as("/api/conflicts/resolve", &body, &key);
    assert_eq!((again.status, &again.json), (200, &settled.json));
    assert_eq!(again.headers.get("idempotency-replayed").map(String::as_str), Some("true"));
    let history = bench.get(&format!("/api/history?pass={}", settled.json["pass"]));
    let entries = history.json["entries"].as_array().expect("entries").clone();
    let before: BTreeSet<&str> = entries.iter().filter_map(|entry| entry["changes"][0]["before"].as_str()).collect();
    assert_eq!(before, ["Ann's other title", "Bob's title"].into(), "{:#}", history.json);
    assert!(entries.iter().all(|entry| entry["actor"] == "api:ann"), "{:#}", history.json);
    assert_eq!(entries[0]["cause"], "settled by hand, written anew: as agreed");
    bench.settled();
}

#[test]
fn lists_are_paged_without_a_gap_or_a_double() {
    let bench = Bench::new();
    let pairs: Vec<_> = (0..5).map(|number| bench.pair(&format!("Task {number}"))).collect();
    bench.park(&pairs[1].1);
    bench.store.unpark(bench.park(&key(&pairs[3].0)), bench.clock.now()).expect("unparked");
    bench.post(&format!("/api/tasks/{}/close", pairs[4].0), &json!({ "reason": "x", "status": "dropped" }));
    let all = |query: &str, list: &str, field: &str| -> Vec<String> {
        let mut found = Vec::new();
        let mut cursor = String::new();
        for _ in 0..50 {
            let page = bench.get(&format!("{query}{cursor}"));
            assert_eq!(page.status, 200, "{query}{cursor}: {}", page.json);
            found.extend(page.json[list].as_array().expect("a list").iter().map(|one| one[field].to_string()));
            match page.json["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
        panic!("{query} does not end");
    };
    let task = |numbers: &[usize]| -> Vec<String> {
        numbers.iter().map(|number| json!(key(&pairs[*number].0)).to_string()).collect()
    };
    for (query, numbers) in [
        ("limit=2", &[0, 1, 2, 3, 4][..]),
        ("limit=5&route=app", &[0, 1, 2, 3, 4]),
        ("limit=1&route=back", &[]),
        ("limit=1&mismatch=true", &[1, 3]),
        ("limit=2&mismatch=false", &[0, 2, 4]),
        ("limit=1&parked=true", &[1]),
        ("limit=1&parked=false", &[0, 2, 3, 4]),
        ("limit=1&status=open", &[0, 1, 2, 3]),
        ("limit=1&status=dropped", &[4]),
        ("limit=1&status=done", &[]),
        ("limit=3&link=active&mismatch=true&status=open", &[1, 3]),
        ("limit=3&link=retired", &[]),
    ] {
        assert_eq!(all(&format!("/api/tasks?{query}"), "tasks", "task"), task(numbers), "{query}");
    }
    for number in 0..5 {
        bench.delivery(&format!("d{number}"), Some(&pairs[0].1), number % 2 == 1, b"{}");
    }
    assert_eq!(all("/api/deliveries?limit=2", "deliveries", "id"), ["5", "4", "3", "2", "1"]);
    assert_eq!(all("/api/deliveries?limit=1&verdict=garbled", "deliveries", "id"), ["4", "2"]);
    let count = bench.store.history(&EntryFilter::default()).expect("a history").len();
    let seqs: Vec<String> = (1..=count).map(|seq| seq.to_string()).collect();
    let back: Vec<String> = seqs.iter().rev().cloned().collect();
    assert_eq!(all("/api/history?limit=3", "entries", "seq"), back);
    assert_eq!(all("/api/history?limit=3&after=2", "entries", "seq"), seqs[2..]);
    assert_eq!(all("/api/history?limit=3&before=4", "entries", "seq"), ["3", "2", "1"]);
    for number in 0..3 {
        bench.park(&format!("asana:9{number}").parse().expect("a key"));
    }
    assert_eq!(all("/api/parked?limit=2", "parked", "id").len(), 4);
    // A cursor is good for its own query only.
    let next = bench.get("/api/tasks?limit=2").json["next"].as_str().expect("more").to_owned();
    assert_eq!(bench.get(&format!("/api/tasks?limit=2&route=app&cursor={next}")).status, 400);
    assert_eq!(bench.get(&format!("/api/parked?cursor={next}")).status, 400);
}

#[test]
fn a_database_that_fails_is_told_without_its_insides() {
    use diesel::connection::SimpleConnection;

    let bench = Bench::new();
    let (task, _) = bench.pair("Fix login");
    let mut other = support::connect(&bench.folder.path().join("evenkeel.db"));
    other.batch_execute("BEGIN IMMEDIATE").expect("a lock");
    let answer = bench.post(&format!("/api/tasks/{task}/close"), &why());
    assert_eq!((answer.status, answer.code()), (503, "unavailable"), "{}", answer.json);
    assert!(answer.headers.contains_key("retry-after"));
    other.batch_execute("ROLLBACK; UPDATE links SET base = 'nonsense'").expect("damaged");
    let answer = bench.get("/api/tasks");
    assert_eq!((answer.status, answer.code()), (500, "internal"));
    assert!(!answer.message().contains("link") && !answer.message().contains("base"), "{}", answer.message());
}

#[test]
fn a_pair_that_lost_a_half_is_not_closed() {
    let bench = Bench::new();
    let (task, issue) = bench.pair("Fix login");
    bench.pair("Another");
    bench.sandbox.asana().leave(&task, &bench.projects[0].gid);
    let answer = bench.post(&format!("/api/tasks/{task}/close"), &why());
    assert_eq!((answer.status, answer.code()), (409, "conflict"), "{}", answer.json);
    assert_eq!(bench.statuses(&task, &issue), (false, false));
    let works = bench.present.get();
    let engine = works.engine(&works.config.routes[0]).expect("an engine");
    engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
    let link = bench.store.link_of(&key(&task)).expect("the store").expect("a link");
    assert_eq!(link.status, LinkStatus::Left);
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, answer.code()), (409, "left_alone"), "{}", answer.json);
}

#[test]
fn every_line_that_a_call_causes_names_it() {
    Lines::keep();
    let bench = Bench::new();
    let task = bench.task("Fix login");
    let made = bench.post("/api/tasks/sync", &sync(&task));
    let lines = || LINES.lock().expect("lines").clone();
    let about = |id: &str, what: &str| lines().iter().any(|line| line.contains(id) && line.contains(what));
    assert!(about(&made.id, &format!("asana:{task}")), "{:#?}", lines());
    assert!(about(&made.id, "POST /api/tasks/sync: 200"), "{:#?}", lines());
    assert!(about(&made.id, "visit settled: 1 created"), "{:#?}", lines());
    let pass = made.json["pass"].as_i64().expect("a pass");
    let kept = bench.store.pass(PassId(pass)).expect("the store").expect("a pass");
    assert_eq!(kept.start.cause, format!("api {}: to see it on GitHub", made.id));
    assert_eq!(kept.start.actor, "api:ann");
    bench.sandbox.asana().rename(&task, "Fix the login");
    let asked = bench.post("/api/reconcile", &json!({ "route": "app", "reason": "a look" }));
    bench.ended(asked.json["passes"][0]["pass"].as_i64().expect("an id"));
    assert!(about(&asked.id, "update github title"), "{:#?}", lines());
    let closed = bench.post(&format!("/api/tasks/{task}/close"), &why());
    assert!(about(&closed.id, &format!("asana:{task} is done now")), "{:#?}", lines());
    for line in lines() {
        assert!(!line.contains(TOKEN) && !line.contains(READ_TOKEN), "{line}");
    }
}

#[test]
fn the_codes_have_the_statuses_that_the_contract_gives_them() {
    let contract: Value = serde_json::from_str(OPENAPI).expect("JSON");
    for code in Code::ALL {
        let said = format!("`{}`", code.as_str());
        let responses = contract["components"]["responses"].as_object().expect("responses");
        let (name, _) = responses
            .iter()
            .find(|(_, response)| response["description"].as_str().is_some_and(|text| text.contains(&said)))
            .unwrap_or_else(|| panic!("{said} is described nowhere"));
        let reference = json!(format!("#/components/responses/{name}"));
        let status = code.status().to_string();
        let operations = contract["paths"].as_object().expect("paths").values();
        let used = operations
            .flat_map(|methods| methods.as_object().expect("methods").values())
            .any(|operation| operation["responses"][&status]["$ref"] == reference);
        assert!(used, "{said} is not answered with {status}");
    }
}

#[test]
fn a_pair_that_is_retired_is_said_to_be() {
    let bench = Bench::new();
    let (task, _) = bench.pair("Fix login");
    bench.pair("Another");
    // Of a pair just made a copy that lags may not know the task yet: only later is it believed to be gone.
    bench.clock.advance(Duration::from_secs(120));
    bench.sandbox.asana().delete(&task);
    let works = bench.present.get();
    let engine = works.engine(&works.config.routes[0]).expect("an engine");
    engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
    assert_eq!(bench.store.link_of(&key(&task)).expect("the store").expect("a link").status, LinkStatus::Retired);
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, answer.code()), (409, "left_alone"), "{}", answer.json);
    let answer = bench.post(&format!("/api/tasks/{task}/close"), &why());
    assert_eq!((answer.status, answer.code()), (409, "not_linked"), "{}", answer.json);
}

#[test]
fn long_texts_make_shorter_pages_and_none_is_left_out() {
    let bench = Bench::new();
    let (task, issue) = bench.pair("Long");
    // Each change holds the text before and after it.
    let text = |letter: &str| FieldChange {
        field: Field::Body,
        before: json!(letter.repeat(600_000)),
        after: json!(letter.repeat(600_000)),
        why: "edited".to_owned(),
    };
    let entry = |letter: &str| NewEntry {
        at: bench.clock.now(),
        pass: PassId(1),
        link: None,
        kind: "update".to_owned(),
        item: key(&task),
        partner: Some(issue.clone()),
        changes: vec![text(letter)],
        cause: "edited".to_owned(),
        actor: "service".to_owned(),
    };
    let lease = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
    let history: Vec<NewEntry> = "abcdefgh".chars().map(|letter| entry(&letter.to_string())).collect();
    let record = Record { history, ..Record::default() };
    bench.store.record(&lease, &record, bench.clock.now()).expect("recorded");
    let total = bench.store.history(&EntryFilter::default()).expect("a history").len();
    let (mut seqs, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = bench.get(&format!("/api/history?limit=200{cursor}"));
        assert!(page.json.to_string().len() < 6 << 20, "less than the listener lets out");
        seqs.extend(page.json["entries"].as_array().expect("entries").iter().map(|entry| entry["seq"].as_u64()));
        pages += 1;
        match page.json["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    let wanted: Vec<Option<u64>> = (1..=total as u64).rev().map(Some).collect();
    assert_eq!((seqs, pages > 2), (wanted, true));
}

/// The API behind the listener, as the service mounts it.
struct Mounted(Arc<Api>);

impl Service for Mounted {
    fn admit(&self, head: &Head) -> Result<Admission, Answer> {
        self.0.admit(head)
    }

    fn answer(&self, request: Request) -> Answer {
        self.0.answer(&request)
    }
}

#[test]
fn behind_the_real_listener_it_answers_the_same() {
    let bench = Bench::with("[listen]\naddress = \"127.0.0.1:0\"");
    let settings = bench.present.get().config.listen.clone().expect("a listener");
    let listener = Listener::start(&settings, Arc::new(Mounted(bench.api.clone())), 7).expect("it listens");
    let address = listener.address().expect("an address");
    let say = |request: &str| -> (String, Value) {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.to_lowercase().contains("x-request-id: "), "{head}");
        (head.to_owned(), serde_json::from_str(body).unwrap_or_default())
    };
    let post = |token: &str, body: &str| {
        format!(
            "POST /api/tasks/sync HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let task = bench.task("Fix login");
    let (head, json) = say(&post(TOKEN, &sync(&task).to_string()));
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {json}");
    assert_eq!(json["created"], true);
    let (head, json) = say(&post("wrong", &sync(&task).to_string()));
    assert!(head.starts_with("HTTP/1.1 401") && head.to_lowercase().contains("www-authenticate"), "{head}");
    bench.valid(&json!({ "$ref": "#/components/schemas/Error" }), &json, "refused");
    let (head, json) = say(&post(TOKEN, &"x".repeat(64 * 1024 + 1)));
    assert!(head.starts_with("HTTP/1.1 413"), "{head}");
    bench.valid(&json!({ "$ref": "#/components/schemas/Error" }), &json, "too large");
    let read = format!("GET /api/tasks HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {READ_TOKEN}");
    let (head, json) = say(&format!("{read}\r\n\r\n"));
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert_eq!(json["tasks"][0]["task"], json!(key(&task)));
    let (head, _) = say(&format!("{read}\r\nContent-Length: 2\r\n\r\n{{}}"));
    assert!(head.starts_with("HTTP/1.1 413"), "what is read takes no body: {head}");
    assert!(listener.stop(Duration::from_secs(10)));
}
