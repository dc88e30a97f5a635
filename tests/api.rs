//! The admin API over the sandbox: every call and every refusal, each answer held to the contract in openapi.json.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "passes behind an answer are waited for in real time")]

mod support;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::clock::{Clock, VirtualClock};
use evenkeel::config::{Config, DatabaseUrl, read_file};
use evenkeel::engine::{PassOptions, Wake};
use evenkeel::model::{IssueRef, ItemKey, LinkStatus, PassId, RouteName, Side, TaskGid, Timestamp};
use evenkeel::sandbox::{Fault, Project, Repository, Sandbox, Served, TaskSeed, When};
use evenkeel::server::api::{Api, Code, OPENAPI, WAYS};
use evenkeel::server::message::{Head, Request, RequestId};
use evenkeel::store::{Begun, EntryFilter, NewCall, NewDelivery, NewDue, Origin, Store, Touches, Verified};
use evenkeel::trigger::Ring;
use evenkeel::workshop::{Present, Workshop};
use serde_json::{Value, json};

const TOKEN: &str = "writes-0123456789abcdef";
const READ_TOKEN: &str = "reads-0123456789abcdef";

/// What the log said, for the test that looks for requests in it.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().starts_with("evenkeel") {
            LINES.lock().expect("lines").push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

/// A served sandbox with two routes, a database, and the API over both.
struct Bench {
    clock: Arc<VirtualClock>,
    sandbox: Sandbox,
    _served: Served,
    projects: [Project; 2],
    folder: tempfile::TempDir,
    store: Store,
    present: Present,
    api: Api,
    rung: Arc<Mutex<Vec<(RouteName, Ring)>>>,
    contract: Value,
    /// Which answers were seen: method, way, status.
    seen: RefCell<BTreeSet<(String, String, String)>>,
    asked: RefCell<u64>,
}

/// An answer.
struct Answered {
    status: u16,
    headers: BTreeMap<String, String>,
    json: Value,
    id: String,
}

impl Answered {
    fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }
}

impl Bench {
    fn new() -> Self {
        Self::with("")
    }

    /// With more lines in the configuration.
    fn with(more: &str) -> Self {
        let tokens = |name: &str| match name {
            "ADMIN_API_TOKEN" => Some(TOKEN.to_owned()),
            "ADMIN_API_READ_TOKEN" => Some(READ_TOKEN.to_owned()),
            _ => None,
        };
        Self::under(more, &tokens)
    }

    fn under(more: &str, tokens: &dyn Fn(&str) -> Option<String>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let start = Timestamp::from_second(1_795_000_000).expect("in range");
        let clock = Arc::new(VirtualClock::starting_at(start));
        let sandbox = Sandbox::new(clock.clone(), 11);
        let projects = [sandbox.asana().project("Website"), sandbox.asana().project("Backend")];
        let name = |name: &str| name.parse().expect("a name");
        let repos = [sandbox.github().repository(&name("acme/app")), sandbox.github().repository(&name("acme/back"))];
        let served = sandbox.serve().expect("served");
        let database = folder.path().join("evenkeel.db");
        let store = Store::open(&DatabaseUrl::Sqlite(database.clone())).expect("a database");
        let routes: String = ["app", "back"]
            .iter()
            .zip(&projects)
            .zip(&repos)
            .map(|((name, project), repo)| {
                format!(
                    "[[route]]\nname = {name:?}\nasana_project = \"{}\"\ngithub_repo = \"{}\"\n\
                     asana_token = {{ env = \"ASANA_{name}\" }}\ngithub_token = {{ env = \"GITHUB_{name}\" }}\n\
                     comment_on_link = false\n",
                    project.gid, repo.name
                )
            })
            .collect();
        let text = format!(
            "[asana]\nbase_url = {:?}\n[github]\nbase_url = {:?}\n[database]\nurl = \"sqlite:{}\"\n{more}\n{routes}",
            served.base_urls.tracker,
            served.base_urls.forge,
            database.display()
        );
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).expect("written");
        let env = |name: &str| match name {
            "ASANA_app" | "ASANA_PAT" => Some(projects[0].token.clone()),
            "ASANA_back" => Some(projects[1].token.clone()),
            "GITHUB_app" | "GITHUB_TOKEN" => Some(repos[0].token.clone()),
            "GITHUB_back" => Some(repos[1].token.clone()),
            other => tokens(other),
        };
        let config = Config::load(Some(&path), &env, &read_file).unwrap_or_else(|errors| panic!("{errors}"));
        let present = Present::new(Self::works(config, &store, &clock));
        let rung: Arc<Mutex<Vec<(RouteName, Ring)>>> = Arc::default();
        let api = {
            let rung = rung.clone();
            Api::new(present.clone()).ringing(move |route, ring| rung.lock().expect("rung").push((route.clone(), ring)))
        };
        let contract = serde_json::from_str(OPENAPI).expect("JSON");
        Self {
            clock,
            sandbox,
            _served: served,
            projects,
            folder,
            store,
            present,
            api,
            rung,
            contract,
            seen: RefCell::default(),
            asked: RefCell::default(),
        }
    }

    fn works(config: Config, store: &Store, clock: &Arc<VirtualClock>) -> Arc<Workshop> {
        let mut works = Workshop::new(Arc::new(config), store.clone(), "service".to_owned());
        works.clock = clock.clone();
        Arc::new(works)
    }

    /// Replaces the configuration.
    fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.present.get().config).clone();
        change(&mut config);
        self.present.replace(Self::works(config, &self.store, &self.clock));
    }

    fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[("authorization", &bearer(READ_TOKEN))], b"", Some(LOCAL))
    }

    fn post(&self, path: &str, body: &Value) -> Answered {
        self.post_as(path, body, &[])
    }

    fn post_as(&self, path: &str, body: &Value, more: &[(&str, &str)]) -> Answered {
        self.post_raw(path, body.to_string().as_bytes(), more)
    }

    fn post_raw(&self, path: &str, body: &[u8], more: &[(&str, &str)]) -> Answered {
        let bearer = bearer(TOKEN);
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(more);
        self.ask("POST", path, &headers, body, Some(LOCAL))
    }

    /// One call as the listener makes it, its answer held to the contract.
    fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8], peer: Option<IpAddr>) -> Answered {
        self.clock.advance(Duration::from_secs(1));
        *self.asked.borrow_mut() += 1;
        let id = format!("{:016x}", *self.asked.borrow() + (u64::from(std::process::id()) << 32));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let head = Head {
            id: RequestId::from_outside(&id).expect("an id"),
            method: method.to_owned(),
            path: path.to_owned(),
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            peer,
        };
        let answer = match self.api.admit(&head) {
            Err(answer) => answer,
            Ok(admission) => {
                assert!(body.is_empty() || admission.body_bytes_max > 0, "{method} {target} takes no body");
                self.api.answer(&Request { head, body: body.to_vec() })
            }
        };
        let headers = answer.headers.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect();
        let json = serde_json::from_slice(&answer.body).expect("JSON throughout");
        let answered = Answered { status: answer.status, headers, json, id };
        self.holds(method, path, &answered);
        answered
    }

    /// An answer must be one that the contract knows, in the form that it says.
    fn holds(&self, method: &str, path: &str, answer: &Answered) {
        assert_eq!(answer.headers.get("content-type").map(String::as_str), Some("application/json"));
        // What was answered before names the call that was carried out.
        if answer.status >= 400 && !answer.headers.contains_key("idempotency-replayed") {
            assert_eq!(answer.json["error"]["request_id"], json!(answer.id), "{method} {path}");
        }
        let fits = |way: &str| {
            let (way, path): (Vec<&str>, Vec<&str>) = (way.split('/').collect(), path.split('/').collect());
            way.len() == path.len() && way.iter().zip(&path).all(|(way, part)| way.starts_with('{') || way == part)
        };
        let known = |wanted: &str| WAYS.iter().find(|(method, way, _)| *method == wanted && fits(way));
        let literal = WAYS.iter().find(|(known, way, _)| *known == method && *way == path);
        let Some((_, way, _)) = literal.or_else(|| known(if method == "HEAD" { "GET" } else { method })) else {
            assert!(matches!(answer.status, 401 | 403 | 404 | 405), "{method} {path}: {}", answer.status);
            return self.valid(&json!({ "$ref": "#/components/schemas/Error" }), &answer.json, path);
        };
        let verb = if method == "HEAD" { "get".to_owned() } else { method.to_lowercase() };
        let status = answer.status.to_string();
        let responses = &self.contract["paths"][*way][verb]["responses"];
        let mut response = &responses[&status];
        assert!(!response.is_null(), "{method} {way} answers {status}: {}", answer.json);
        if let Some(reference) = response["$ref"].as_str() {
            response = self.contract.pointer(reference.trim_start_matches('#')).expect("it is there");
        }
        for name in response["headers"].as_object().expect("headers").keys() {
            let name = name.to_lowercase();
            // The listener's, or only sometimes there.
            if !matches!(name.as_str(), "x-request-id" | "retry-after" | "idempotency-replayed") {
                assert!(answer.headers.contains_key(&name), "{method} {way} {status}: no {name}");
            }
        }
        self.valid(&response["content"]["application/json"]["schema"], &answer.json, way);
        self.seen.borrow_mut().insert((method.to_owned(), (*way).to_owned(), status));
    }

    fn valid(&self, schema: &Value, document: &Value, what: &str) {
        let mut root = schema.clone();
        root["components"] = self.contract["components"].clone();
        let validator = jsonschema::validator_for(&root).unwrap_or_else(|error| panic!("{what}: {error}"));
        let faults: Vec<String> =
            validator.iter_errors(document).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{document:#}");
    }

    fn task(&self, name: &str) -> TaskGid {
        let seed = TaskSeed { name: name.into(), html_notes: "<body>what to do</body>".into(), ..TaskSeed::default() };
        self.sandbox.asana().task(&self.projects[0].gid, seed)
    }

    /// A pair in step, made by the API.
    fn pair(&self, name: &str) -> (TaskGid, ItemKey) {
        let task = self.task(name);
        let made = self.post("/api/tasks/sync", &sync(&task));
        assert_eq!(made.status, 200, "{}", made.json);
        let issue = made.json["issue"].as_str().expect("an issue").parse().expect("a key");
        (task, issue)
    }

    fn statuses(&self, task: &TaskGid, issue: &ItemKey) -> (bool, bool) {
        let ItemKey::Issue(IssueRef { repo, number }) = issue else { panic!("{issue} is an issue") };
        let done = self.sandbox.world().task(task).expect("a task").completed;
        (done, self.sandbox.world().issue(repo, *number).expect("an issue").closed)
    }

    /// A pass by the service, which must plan nothing.
    fn settled(&self) {
        let works = self.present.get();
        for route in &works.config.routes {
            self.clock.advance(Duration::from_secs(60));
            let engine = works.engine(route).expect("an engine");
            let report = engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
            assert!(report.plan.is_empty(), "route {}: {:#?}", route.name, report.plan.repairs);
        }
        assert!(matches!(self.store.verify_history().expect("a history"), Verified::Whole { .. }));
    }

    /// Asks about a pass until it is at its end.
    fn ended(&self, pass: i64) -> Value {
        for _ in 0..600 {
            let answer = self.get(&format!("/api/passes/{pass}"));
            assert_eq!(answer.status, 200, "{}", answer.json);
            if answer.json["state"] == "ended" {
                return answer.json;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("pass {pass} does not end");
    }

    /// Makes an item parked.
    fn park(&self, item: &ItemKey) -> i64 {
        let due = NewDue {
            item: item.clone(),
            reason: "edited".to_owned(),
            not_before: self.clock.now(),
            attempts: 8,
            last_error: Some("it was refused".to_owned()),
            parked: true,
        };
        self.store.ring(&app(), &[due], None, self.clock.now()).expect("parked");
        let parked = self.store.parked(None).expect("parked");
        parked.iter().find(|due| due.item == *item).expect("it is there").id
    }

    fn delivery(&self, key: &str, item: Option<&ItemKey>, garbled: bool, body: &[u8]) -> i64 {
        let new = NewDelivery {
            side: Side::Forge,
            key: key.to_owned(),
            hook: None,
            event: "issues.closed".to_owned(),
            origin: Origin::Sent,
            note: garbled.then(|| "it is no JSON".to_owned()),
            garbled,
            request: "0123456789abcdef".to_owned(),
            headers: [("x-github-event".to_owned(), "issues".to_owned())].into(),
            body: body.to_vec(),
            touches: Touches {
                items: item.map(|item| (item.clone(), vec![app()])).into_iter().collect(),
                reason: "issues.closed".to_owned(),
                ..Touches::default()
            },
        };
        self.store.take_in(&[new], self.clock.now()).expect("kept")[0].id
    }
}

/// What GitHub tells when an issue is closed, as far as it matters.
const CLOSED: &str = r#"{"action":"closed","issue":{"number":1},"repository":{"id":501,"full_name":"acme/app"}}"#;

const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn app() -> RouteName {
    "app".parse().expect("a name")
}

fn key(task: &TaskGid) -> ItemKey {
    ItemKey::Task(task.clone())
}

fn sync(task: &TaskGid) -> Value {
    json!({ "asana_task_gid": task, "reason": "to see it on GitHub", "who": "ann" })
}

fn why() -> Value {
    json!({ "reason": "asked for in the stand-up", "who": "ann" })
}

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

/// A path of every way, as somebody would call it.
fn paths() -> Vec<(&'static str, String)> {
    WAYS.iter().map(|(method, way, _)| (*method, way.replace("{gid}", "1201").replace("{id}", "7"))).collect()
}

#[test]
fn without_a_token_nothing_is_there() {
    let bench = Bench::under("", &|_| None);
    let nothing = bench.ask("GET", "/api/nothing", &[], b"", Some(LOCAL));
    assert_eq!((nothing.status, nothing.code()), (404, "not_found"));
    for (method, path) in paths() {
        for token in ["", TOKEN, "x"] {
            let bearer = bearer(token);
            let json = ("content-type", "application/json");
            let answer = bench.ask(method, &path, &[("authorization", &bearer), json], b"", Some(LOCAL));
            assert_eq!((answer.status, answer.message()), (404, nothing.message()), "{method} {path}");
        }
        assert_eq!(bench.ask(method, &path, &[], b"", None).status, 404, "{method} {path}");
    }
}

#[test]
fn who_has_no_token_is_refused_before_anything_else_is_said() {
    let bench = Bench::new();
    let digest = format!("Bearer {TOKEN}x");
    let basic = format!("Basic {TOKEN}");
    let right = bearer(TOKEN);
    let cases: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", TOKEN)],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", &basic)],
        &[("authorization", &digest)],
        // Of doubles none is believed.
        &[("authorization", &right), ("authorization", &right)],
    ];
    let mut refused = 0;
    for headers in cases {
        for (method, path) in
            paths().into_iter().chain([("GET", "/api/nothing".to_owned()), ("PUT", "/api".to_owned())])
        {
            let answer = bench.ask(method, &path, headers, b"", Some(LOCAL));
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{method} {path} {headers:?}");
            assert!(answer.headers["www-authenticate"].starts_with("Bearer realm="), "{method} {path}");
            assert!(!answer.json.to_string().contains("0123456789abcdef\""), "{}", answer.json);
            refused += 1;
        }
    }
    // Each is counted, with few writes: the last of them when the API goes.
    let Bench { api, store, .. } = bench;
    drop(api);
    let counted: u64 = store.refusals().expect("refusals").iter().map(|one| one.count).sum();
    assert_eq!(counted, refused);
    assert!(store.refusals().expect("refusals").iter().all(|one| one.provider == "admin"));
}

#[test]
fn a_read_token_reads_and_does_not_write() {
    let bench = Bench::new();
    let reads = bearer(READ_TOKEN);
    for (method, way, endpoint) in WAYS.iter().copied() {
        let path = way.replace("{gid}", "1201").replace("{id}", "7");
        let headers = [("authorization", reads.as_str()), ("content-type", "application/json")];
        let body: &[u8] = if endpoint.writes() { b"{\"reason\": \"a try\"}" } else { b"" };
        let answer = bench.ask(method, &path, &headers, body, Some(LOCAL));
        assert_eq!(answer.status == 403, endpoint.writes(), "{method} {path}: {}", answer.json);
    }
    assert!(bench.store.calls(10).expect("calls").is_empty());
    // A token for reading alone opens the API for reading alone.
    let bench = Bench::under("", &|name| (name == "ADMIN_API_READ_TOKEN").then(|| READ_TOKEN.to_owned()));
    assert_eq!(bench.get("/api/tasks").status, 200);
    assert_eq!(bench.post("/api/reconcile", &why()).status, 401);
    assert_eq!(bench.ask("GET", "/api/tasks", &[("authorization", "bearer ")], b"", Some(LOCAL)).status, 401);
}

#[test]
fn only_the_addresses_allowed_are_heard() {
    let bench = Bench::with("[admin]\nallow = [\"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.7\"]");
    let bearer = bearer(TOKEN);
    for (peer, status) in [
        (Some("10.1.2.3"), 200),
        (Some("::ffff:10.1.2.3"), 200),
        (Some("2001:db8::1"), 200),
        (Some("192.0.2.7"), 200),
        (Some("192.0.2.8"), 403),
        (Some("127.0.0.1"), 403),
        (Some("2001:db9::1"), 403),
        (None, 403),
    ] {
        let from = peer.map(|peer| peer.parse().expect("an address"));
        let answer = bench.ask("GET", "/api/tasks", &[("authorization", &bearer)], b"", from);
        assert_eq!(answer.status, status, "{peer:?}");
    }
}

#[test]
fn a_wrong_method_path_or_type_is_told_what_is_right() {
    let bench = Bench::new();
    let bearer = bearer(TOKEN);
    let auth = ("authorization", bearer.as_str());
    for (method, path, status) in [
        ("PUT", "/api/tasks", 405),
        ("POST", "/api/tasks", 405),
        ("GET", "/api/tasks/sync", 405),
        ("DELETE", "/api/tasks/1201/close", 405),
        ("GET", "/api", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/tasks/", 404),
        ("GET", "/api/Tasks", 404),
        ("POST", "/api/tasks/1201/erase", 404),
        ("GET", "/api/passes/7/8", 404),
        ("GET", "/api/%74asks", 404),
    ] {
        let answer = bench.ask(method, path, &[auth], b"", Some(LOCAL));
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
    let head = bench.ask("HEAD", "/api/tasks", &[auth], b"", Some(LOCAL));
    assert_eq!(head.status, 200);
    for (types, status) in [
        (&["application/json"][..], 400),
        (&["Application/JSON; charset=utf-8"], 400),
        (&[], 415),
        (&["text/plain"], 415),
        (&["application/x-www-form-urlencoded"], 415),
        (&["application/jsonp"], 415),
        (&["application/json", "application/json"], 415),
    ] {
        let mut headers = vec![auth];
        headers.extend(types.iter().map(|kind| ("content-type", *kind)));
        let answer = bench.ask("POST", "/api/reconcile", &headers, b"", Some(LOCAL));
        assert_eq!(answer.status, status, "{types:?}");
    }
    let packed = bench.post_as("/api/reconcile", &why(), &[("content-encoding", "gzip")]);
    assert_eq!((packed.status, packed.code()), (415, "unsupported_media_type"));
}

#[test]
fn a_bad_body_is_refused_by_name_and_nothing_is_done() {
    let bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(5_000));
    let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(1_001));
    let cases: [(&str, &[u8], &str); 24] = [
        ("/api/reconcile", b"", "empty"),
        ("/api/reconcile", b"{", "EOF"),
        ("/api/reconcile", b"nonsense", "expected"),
        ("/api/reconcile", b"\xff\xfe", "expected"),
        ("/api/reconcile", b"\xef\xbb\xbf{\"reason\": \"x\"}", "expected"),
        ("/api/reconcile", b"{\"reason\": \"\xff\"}", "unicode"),
        ("/api/reconcile", b"{\"reason\": \"a\"} {}", "trailing"),
        ("/api/reconcile", b"[\"x\", null, null, null]", "expected an object"),
        ("/api/reconcile", b"null", "expected an object"),
        ("/api/reconcile", b"{}", "missing field `reason`"),
        ("/api/reconcile", deep.as_bytes(), "expected an object"),
        ("/api/reconcile", b"{\"reason\": \"\"}", "reason: it is empty"),
        ("/api/reconcile", b"{\"reason\": \" \\t \"}", "reason: it is empty"),
        ("/api/reconcile", b"{\"reason\": \"a\\nb\"}", "control characters"),
        ("/api/reconcile", long.as_bytes(), "longer than 1000"),
        ("/api/reconcile", b"{\"reason\": 7}", "invalid type"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"full\": 1e999}", "number out of range"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"full\": \"yes\"}", "invalid type"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"reason\": \"y\"}", "duplicate field `reason`"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"colour\": 1}", "unknown field `colour`"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"route\": \"No Route\"}", "route:"),
        ("/api/tasks/sync", b"{\"reason\": \"x\", \"asana_task_gid\": 1201}", "invalid type"),
        ("/api/tasks/sync", b"{\"reason\": \"x\", \"asana_task_gid\": \"12a\"}", "asana_task_gid:"),
        ("/api/tasks/1201/close", b"{\"reason\": \"x\", \"who\": \"\\u0000\"}", "who:"),
    ];
    for (path, body, said) in cases {
        let answer = bench.post_raw(path, body, &[]);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{path} {shown}");
        assert!(answer.message().contains(said), "{shown}: {}", answer.message());
        assert!(answer.message().len() < 500, "{shown}");
    }
    // Nested beyond what is read, where a nested value is read at all.
    let nested = format!("{{\"reason\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(bench.post_raw("/api/reconcile", nested.as_bytes(), &[]).status, 400);
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(64 * 1024));
    let answer = bench.post_raw("/api/reconcile", large.as_bytes(), &[]);
    assert_eq!((answer.status, answer.code()), (413, "too_large"));
    for key in ["", "two words", "ü", &"k".repeat(256)] {
        let answer = bench.post_as("/api/reconcile", &why(), &[("idempotency-key", key)]);
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{key:?}");
    }
    let twice = [("idempotency-key", "one"), ("idempotency-key", "one")];
    assert_eq!(bench.post_as("/api/reconcile", &why(), &twice).status, 400);
    assert_eq!(bench.post("/api/reconcile?route=app", &why()).status, 400);
    assert!(bench.store.calls(10).expect("calls").is_empty(), "what was refused was not begun");
    assert!(bench.store.passes(None, 10).expect("passes").is_empty());
}

#[test]
fn a_bad_query_is_refused_by_name() {
    let bench = Bench::new();
    for (target, said) in [
        ("/api/tasks?colour=red", "\"colour\": unknown parameter"),
        ("/api/tasks?limit=1&limit=2", "limit: it is there twice"),
        ("/api/tasks?limit=0", "limit:"),
        ("/api/tasks?limit=201", "limit:"),
        ("/api/tasks?limit=-1", "limit:"),
        ("/api/tasks?limit=99999999999999999999", "limit:"),
        ("/api/tasks?status=closed", "status: \"closed\" is not one of open, done, dropped"),
        ("/api/tasks?link=gone", "link:"),
        ("/api/tasks?mismatch=yes", "mismatch:"),
        ("/api/tasks?parked=", "parked:"),
        ("/api/tasks?route=No%20Route", "route:"),
        ("/api/tasks?cursor=1", "cursor:"),
        ("/api/tasks?cursor=1-00000000", "cursor:"),
        ("/api/tasks/12a", "the task's gid"),
        ("/api/tasks/%31", "the task's gid"),
        ("/api/tasks/1201?full=true", "unknown parameter"),
        ("/api/passes/0", "the pass's id"),
        ("/api/passes/+7", "the pass's id"),
        ("/api/passes/9223372036854775808", "the pass's id"),
        ("/api/passes/7?x", "unknown parameter"),
        ("/api/plan?full=1", "full:"),
        ("/api/deliveries?provider=gitlab", "provider:"),
        ("/api/deliveries?item=acme/app", "item:"),
        ("/api/deliveries/x", "the delivery's id"),
        ("/api/history?after=1&before=9", "after, before"),
        ("/api/history?pass=x", "pass:"),
        ("/api/openapi.json?x=1", "unknown parameter"),
    ] {
        let answer = bench.get(target);
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{target}");
        assert!(answer.message().contains(said), "{target}: {}", answer.message());
    }
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let bench = Bench::new();
    for path in ["/api/passes/7", "/api/deliveries/7", "/api/plan?route=other", "/api/tasks/1"] {
        let answer = bench.get(path);
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{path}: {}", answer.json);
    }
    for path in ["/api/deliveries/7/replay", "/api/parked/7/retry", "/api/parked/7/drop"] {
        assert_eq!(bench.post(path, &why()).status, 404, "{path}");
    }
    let nowhere = json!({ "reason": "x", "route": "other" });
    assert_eq!(bench.post("/api/reconcile", &nowhere).status, 404);
    // On no route: in another project, or gone.
    let elsewhere = bench.sandbox.asana().project("Elsewhere");
    let task = bench.sandbox.asana().task(&elsewhere.gid, TaskSeed { name: "Away".into(), ..TaskSeed::default() });
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, answer.code()), (404, "not_found"), "{}", answer.json);
    let answer = bench.post("/api/tasks/1201/close", &why());
    assert_eq!((answer.status, answer.code()), (409, "not_linked"));
    assert!(answer.message().contains("/api/tasks/sync"), "{}", answer.message());
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
    let calls = bench.store.calls(100).expect("calls");
    assert!(calls.iter().all(|call| call.status.is_some()), "{calls:#?}");
    let call = calls.iter().find(|call| call.request == first.id).expect("it is kept");
    assert_eq!((call.actor.as_str(), call.reason.as_str()), ("api:ann", "asked for in the stand-up"));
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
    let bench = Bench::new();
    let held = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
    let asked = bench.post("/api/reconcile", &json!({ "route": "app", "full": true, "reason": "a look" }));
    assert_eq!(asked.json["passes"][0]["merged"], json!(false));
    let pass = asked.json["passes"][0]["pass"].as_i64().expect("an id");
    // It was tried once; then it waits for a while.
    let waits = |bench: &Bench| bench.get(&format!("/api/passes/{pass}")).json["state"] == "waiting";
    let tried = || LINES.lock().expect("lines").iter().any(|line| line.contains(&asked.id) && line.contains("waits:"));
    let _ = log::set_logger(&Lines).map(|()| log::set_max_level(log::LevelFilter::Debug));
    for _ in 0..500 {
        if waits(&bench) && (tried() || bench.asked.borrow().is_multiple_of(50)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(waits(&bench));
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
    let start = evenkeel::store::PassStart { kind: "poll".into(), cause: "schedule".into(), actor: "service".into() };
    let dead = bench.store.begin_pass(&app(), &start, bench.clock.now()).expect("begun");
    let state = |pass: PassId| bench.get(&format!("/api/passes/{pass}")).json["state"].clone();
    assert_eq!(state(dead), "unfinished");
    let held = bench.store.acquire(&app(), "another", bench.clock.now()).expect("a lease").expect("free");
    assert_eq!(state(dead), "running");
    let next = bench.store.begin_pass(&app(), &start, bench.clock.now()).expect("begun");
    let end = evenkeel::store::PassEnd { outcome: "settled".into(), ..Default::default() };
    bench.store.end_pass(next, &end, bench.clock.now()).expect("ended");
    assert_eq!((state(dead), state(next)), (json!("unfinished"), json!("ended")));
    bench.store.release(&held).expect("released");
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
    let _ = log::set_logger(&Lines).map(|()| log::set_max_level(log::LevelFilter::Debug));
    log::set_max_level(log::LevelFilter::Debug);
    let bench = Bench::new();
    let task = bench.task("Fix login");
    let made = bench.post("/api/tasks/sync", &sync(&task));
    let lines = || LINES.lock().expect("lines").clone();
    let about = |id: &str, what: &str| lines().iter().any(|line| line.contains(id) && line.contains(what));
    assert!(about(&made.id, &format!("asana:{task}")), "{:#?}", lines());
    assert!(about(&made.id, "POST /api/tasks/sync: 200"), "{:#?}", lines());
    let pass = made.json["pass"].as_i64().expect("a pass");
    let kept = bench.store.pass(PassId(pass)).expect("the store").expect("a pass");
    assert_eq!(kept.start.cause, format!("api {}: to see it on GitHub", made.id));
    assert_eq!(kept.start.actor, "api:ann");
    bench.sandbox.asana().rename(&task, "Fix the login");
    let asked = bench.post("/api/reconcile", &json!({ "route": "app", "reason": "a look" }));
    bench.ended(asked.json["passes"][0]["pass"].as_i64().expect("an id"));
    assert!(about(&asked.id, "update github title"), "{:#?}", lines());
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
