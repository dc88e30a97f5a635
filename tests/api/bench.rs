//! The API over a served sandbox with two routes; every answer is held to the contract.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::clock::{Clock, VirtualClock};
use evenkeel::config::{Config, DatabaseUrl, read_file};
use evenkeel::engine::{PassOptions, Wake};
use evenkeel::model::{IssueRef, ItemKey, OnConflict, RouteName, Side, TaskGid, Timestamp};
use evenkeel::sandbox::{Project, Sandbox, Served, TaskSeed};
use evenkeel::server::api::{Api, OPENAPI, WAYS};
use evenkeel::server::message::{Head, Request, RequestId};
use evenkeel::store::{NewDelivery, NewDue, Origin, Store, Touches, Verified};
use evenkeel::trigger::Ring;
use evenkeel::workshop::{Present, Workshop};
use serde_json::{Value, json};

pub const TOKEN: &str = "writes-0123456789abcdef";
pub const READ_TOKEN: &str = "reads-0123456789abcdef";

/// Calls made so far, by whichever test: their ids differ.
static ASKED: AtomicU64 = AtomicU64::new(1);

/// What the log said, for the test that looks for requests in it.
pub static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub struct Lines;

impl Lines {
    /// Keeps from now on what is logged.
    pub fn keep() {
        // Another test may have set it.
        let _ = log::set_logger(&Self);
        log::set_max_level(log::LevelFilter::Debug);
    }
}

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
pub struct Bench {
    pub clock: Arc<VirtualClock>,
    pub sandbox: Sandbox,
    pub _served: Served,
    pub projects: [Project; 2],
    pub folder: tempfile::TempDir,
    pub store: Store,
    pub present: Present,
    pub api: Arc<Api>,
    pub rung: Arc<Mutex<Vec<(RouteName, Ring)>>>,
    pub contract: Value,
    /// Which answers were seen: method, way, status.
    pub seen: RefCell<BTreeSet<(String, String, String)>>,
}

/// An answer.
pub struct Answered {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub json: Value,
    pub id: String,
}

impl Answered {
    pub fn code(&self) -> &str {
        self.json["error"]["code"].as_str().unwrap_or_default()
    }

    pub fn message(&self) -> &str {
        self.json["error"]["message"].as_str().unwrap_or_default()
    }
}

impl Bench {
    /// How many calls were written down of which this holds.
    pub fn calls(&self, condition: &str) -> i64 {
        let url = DatabaseUrl::Sqlite(self.folder.path().join("evenkeel.db"));
        let database = crate::support::Database { url, directory: None };
        database.number(&format!("(SELECT count(*) FROM calls WHERE {condition})"))
    }

    pub fn new() -> Self {
        Self::with("")
    }

    /// With more lines in the configuration.
    pub fn with(more: &str) -> Self {
        let tokens = |name: &str| match name {
            "ADMIN_API_TOKEN" => Some(TOKEN.to_owned()),
            "ADMIN_API_READ_TOKEN" => Some(READ_TOKEN.to_owned()),
            _ => None,
        };
        Self::under(more, &tokens)
    }

    pub fn under(more: &str, tokens: &dyn Fn(&str) -> Option<String>) -> Self {
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
            api: Arc::new(api),
            rung,
            contract,
            seen: RefCell::default(),
        }
    }

    pub fn works(config: Config, store: &Store, clock: &Arc<VirtualClock>) -> Arc<Workshop> {
        let mut works = Workshop::new(Arc::new(config), store.clone(), "service".to_owned());
        works.clock = clock.clone();
        Arc::new(works)
    }

    /// Replaces the configuration.
    pub fn reconfigure(&self, change: impl FnOnce(&mut Config)) {
        let mut config = (*self.present.get().config).clone();
        change(&mut config);
        self.present.replace(Self::works(config, &self.store, &self.clock));
    }

    pub fn get(&self, path: &str) -> Answered {
        self.ask("GET", path, &[("authorization", &bearer(READ_TOKEN))], b"", Some(LOCAL))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answered {
        self.post_as(path, body, &[])
    }

    pub fn post_as(&self, path: &str, body: &Value, more: &[(&str, &str)]) -> Answered {
        self.post_raw(path, body.to_string().as_bytes(), more)
    }

    pub fn post_raw(&self, path: &str, body: &[u8], more: &[(&str, &str)]) -> Answered {
        let bearer = bearer(TOKEN);
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(more);
        self.ask("POST", path, &headers, body, Some(LOCAL))
    }

    /// One call as the listener makes it, its answer held to the contract.
    pub fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        peer: Option<IpAddr>,
    ) -> Answered {
        self.clock.advance(Duration::from_secs(1));
        let id = format!("{:016x}", ASKED.fetch_add(1, Ordering::Relaxed));
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
    pub fn holds(&self, method: &str, path: &str, answer: &Answered) {
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

    pub fn valid(&self, schema: &Value, document: &Value, what: &str) {
        let mut root = schema.clone();
        root["components"] = self.contract["components"].clone();
        let validator = jsonschema::validator_for(&root).unwrap_or_else(|error| panic!("{what}: {error}"));
        let faults: Vec<String> =
            validator.iter_errors(document).map(|error| format!("{} at {}", error, error.instance_path())).collect();
        assert!(faults.is_empty(), "{what}: {faults:#?}\n{document:#}");
    }

    pub fn task(&self, name: &str) -> TaskGid {
        let seed = TaskSeed { name: name.into(), html_notes: "<body>what to do</body>".into(), ..TaskSeed::default() };
        self.sandbox.asana().task(&self.projects[0].gid, seed)
    }

    /// A pair in step, made by the API.
    pub fn pair(&self, name: &str) -> (TaskGid, ItemKey) {
        let task = self.task(name);
        let made = self.post("/api/tasks/sync", &sync(&task));
        assert_eq!(made.status, 200, "{}", made.json);
        let issue = made.json["issue"].as_str().expect("an issue").parse().expect("a key");
        (task, issue)
    }

    pub fn statuses(&self, task: &TaskGid, issue: &ItemKey) -> (bool, bool) {
        let ItemKey::Issue(IssueRef { repo, number }) = issue else { panic!("{issue} is an issue") };
        let done = self.sandbox.world().task(task).expect("a task").completed;
        (done, self.sandbox.world().issue(repo, *number).expect("an issue").closed)
    }

    /// Both sides give a pair another title; the route asks, and a pass has found that.
    pub fn disagree(&self, task: &TaskGid, issue: &ItemKey, ann: &str, bob: &str) {
        self.reconfigure(|config| config.routes[0].rules.on_conflict = OnConflict::Ask);
        let ItemKey::Issue(IssueRef { repo, number }) = issue else { panic!("{issue} is an issue") };
        self.sandbox.asana().rename(task, ann);
        self.sandbox.github().retitle(repo, *number, bob);
        self.look();
    }

    /// A pass by the service over the first route.
    pub fn look(&self) {
        let works = self.present.get();
        self.clock.advance(Duration::from_secs(60));
        let engine = works.engine(&works.config.routes[0]).expect("an engine");
        engine.pass(&Wake::Sweep, &PassOptions::default()).expect("a pass");
        self.clock.advance(Duration::from_secs(60));
    }

    /// A pass by the service, which must plan nothing.
    pub fn settled(&self) {
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
    pub fn ended(&self, pass: i64) -> Value {
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
    pub fn park(&self, item: &ItemKey) -> i64 {
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

    pub fn delivery(&self, key: &str, item: Option<&ItemKey>, garbled: bool, body: &[u8]) -> i64 {
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
pub const CLOSED: &str = r#"{"action":"closed","issue":{"number":1},"repository":{"id":501,"full_name":"acme/app"}}"#;

pub const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

pub fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

pub fn app() -> RouteName {
    "app".parse().expect("a name")
}

pub fn key(task: &TaskGid) -> ItemKey {
    ItemKey::Task(task.clone())
}

pub fn sync(task: &TaskGid) -> Value {
    json!({ "asana_task_gid": task, "reason": "to see it on GitHub", "who": "ann" })
}

pub fn why() -> Value {
    json!({ "reason": "asked for in the stand-up", "who": "ann" })
}
