//! The real engine through the real clients against the sandbox in this process, over a real SQLite database.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::clock::{Clock, Stop, VirtualClock};
use evenkeel::config::{DatabaseUrl, Patience, Secret};
use evenkeel::engine::{Ended, Engine, EngineError, PassOptions, Quiet, Report, Wake};
use evenkeel::model::{BySide, IssueNumber, Timestamp};
use evenkeel::model::{Content, Field, IssueRef, Item, ItemKey, Native, RouteName, Rules, Side, TaskGid};
use evenkeel::provider::asana::AsanaClient;
use evenkeel::provider::github::GithubClient;
use evenkeel::provider::http::Transport;
use evenkeel::provider::pace::Pace;
use evenkeel::provider::{self, Connection, Observe};
use evenkeel::reconcile::{fingerprint, issue_footer};
use evenkeel::sandbox::{IssueBody, IssueSeed, Population, Project, Repository, Sandbox, TaskSeed};
use evenkeel::store::{NewLink, Record, Store, Verified};
use evenkeel::text;

/// One route: a project, a repository, a database, and a clock that only moves when told or slept on.
pub struct Rig {
    pub clock: Arc<VirtualClock>,
    pub sandbox: Sandbox,
    pub project: Project,
    pub repo: Repository,
    pub rules: Rules,
    pub patience: Patience,
    /// Where the database lies, if it has a file.
    pub folder: Option<tempfile::TempDir>,
    pub store: Store,
    /// What stands between the clients and the sandbox.
    pub transport: Arc<dyn Transport>,
    /// Where the clients look for the services.
    pub base_urls: BySide<String>,
}

impl Rig {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&DatabaseUrl::Sqlite(folder.path().join("evenkeel.db"))).expect("a database");
        Self::over(store, Some(folder), 11)
    }

    /// Over a database in memory, where many rigs are made; chance in the sandbox runs from `seed`.
    pub fn in_memory(seed: u64) -> Self {
        Self::over(Store::in_memory().expect("a database"), None, seed)
    }

    /// Over a database that a test made; it outlives the rig.
    pub fn on(store: Store, seed: u64) -> Self {
        Self::over(store, None, seed)
    }

    fn over(store: Store, folder: Option<tempfile::TempDir>, seed: u64) -> Self {
        let start = Timestamp::from_second(1_795_000_000).expect("in range");
        let clock = Arc::new(VirtualClock::starting_at(start));
        let sandbox = Sandbox::new(clock.clone(), seed);
        let project = sandbox.asana().project("Website");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        let patience = Patience { attempts_max: 5, ..Patience::default() };
        let transport = sandbox.transport();
        let rules = Rules::default();
        let base_urls = sandbox.base_urls();
        Self { clock, sandbox, project, repo, rules, patience, folder, store, transport, base_urls }
    }

    pub fn database(&self) -> PathBuf {
        self.folder.as_ref().expect("it has a file").path().join("evenkeel.db")
    }

    pub fn route() -> RouteName {
        "app".parse().expect("a name")
    }

    /// An engine as a process has it after its start: nothing is known yet of either service.
    pub fn engine(&self) -> Engine {
        self.engine_through(&self.transport)
    }

    /// The same, whose requests go another way.
    pub fn engine_through(&self, transport: &Arc<dyn Transport>) -> Engine {
        let stop = Stop::default();
        let clock: Arc<dyn Clock> = self.clock.clone();
        let network = super::network(self.base_urls.clone());
        let connection = |side: Side, token: &str| Connection {
            transport: transport.clone(),
            base_url: self.base_urls[side].clone(),
            token: Secret::new(token.to_owned()),
            clock: clock.clone(),
            stop: stop.clone(),
            pace: Arc::new(match side {
                Side::Tracker => Pace::asana(&network),
                Side::Forge => Pace::github(&network),
            }),
            call_timeout: Duration::from_secs(30),
            seed: 3,
        };
        let asana =
            AsanaClient::new(connection(Side::Tracker, &self.project.token), self.project.gid.clone(), &self.rules);
        let github = GithubClient::new(connection(Side::Forge, &self.repo.token), self.repo.name.clone(), &self.rules);
        let tracker: Arc<dyn provider::Write> = Arc::new(asana);
        let forge: Arc<dyn provider::Write> = Arc::new(github);
        Engine {
            route: Self::route(),
            project: self.project.gid.clone(),
            rules: self.rules.clone(),
            providers: BySide { tracker, forge },
            store: self.store.clone(),
            clock,
            stop,
            patience: self.patience,
            holder: "test".into(),
            actor: "test".into(),
            seed: 5,
            progress: Arc::new(Quiet),
        }
    }

    /// One pass by a fresh engine, a minute after whatever was before.
    pub fn pass(&self, wake: &Wake) -> Result<Report, EngineError> {
        self.pass_of(&self.engine(), wake)
    }

    /// One pass by an engine that lives on, a minute after whatever was before.
    pub fn pass_of(&self, engine: &Engine, wake: &Wake) -> Result<Report, EngineError> {
        self.clock.advance(Duration::from_secs(60));
        engine.pass(wake, &PassOptions::default())
    }

    pub fn task(&self, name: &str, words: &str) -> TaskGid {
        let seed = TaskSeed { name: name.into(), html_notes: format!("<body>{words}</body>"), ..TaskSeed::default() };
        self.sandbox.asana().task(&self.project.gid, seed)
    }

    pub fn issue(&self, title: &str, words: &str) -> IssueNumber {
        self.sandbox.github().issue(&self.repo.name, IssueSeed::new(title, words))
    }

    pub fn issue_key(&self, number: IssueNumber) -> ItemKey {
        ItemKey::Issue(IssueRef { repo: self.repo.name.clone(), number })
    }

    /// `count` pairs that stand on both sides and are linked in the database, in step and an hour old: the
    /// state after an import, without making it.
    pub fn linked_pairs(&self, count: u64) -> Population {
        let policy = self.rules.policy;
        let body: IssueBody = Arc::new(move |item| {
            let Some(task) = &item.task else { return String::new() };
            let body = text::split_tracker(&item.html_notes, &evenkeel::model::People::default()).body;
            let content = Content { title: item.title.clone(), body: body.clone(), ..Content::default() };
            text::join_forge(&body, issue_footer(task, &content, &content.body, &policy).as_deref())
        });
        let population = self.sandbox.populate_pairs(&self.project.gid, &self.repo.name, count, body);
        let engine = self.engine();
        let tasks = everything(&*engine.providers.tracker);
        let issues = everything(&*engine.providers.forge);
        assert_eq!((tasks.len(), issues.len()), (count_of(count), count_of(count)));
        let lease = self.store.acquire(&Self::route(), "seeding", self.clock.now()).expect("a lease").expect("free");
        let pairs: Vec<(Item, Item)> = tasks.into_iter().zip(issues).collect();
        for some in pairs.chunks(1_000) {
            let link = some.iter().map(|(task, issue)| self.linked(task, issue)).collect();
            let record = Record { link, ..Record::default() };
            self.store.record(&lease, &record, self.clock.now()).expect("recorded");
        }
        self.store.release(&lease).expect("released");
        self.sandbox.log().reset();
        population
    }

    fn linked(&self, task: &Item, issue: &Item) -> NewLink {
        let (ItemKey::Task(gid), ItemKey::Issue(reference)) = (&task.key, &issue.key) else {
            panic!("{} and {} are no pair", task.key, issue.key);
        };
        let Native::Issue { repo_id, id, node_id } = &issue.native else { panic!("{} is no issue", issue.key) };
        let partner = issue.marker.as_ref().map(|marker| &marker.partner);
        assert_eq!(partner, Some(&task.key), "{} belongs to another", issue.key);
        NewLink {
            task: gid.clone(),
            project: Some(self.project.gid.clone()),
            issue: reference.clone(),
            repo_id: *repo_id,
            issue_id: *id,
            issue_node_id: node_id.clone(),
            base: Some(task.content.clone()),
            seen: BySide {
                tracker: Some(fingerprint(task, &self.rules.policy)),
                forge: Some(fingerprint(issue, &self.rules.policy)),
            },
            waiting: BTreeMap::<Field, _>::new(),
        }
    }

    /// The laws that hold after every story: with nothing going wrong any more the passes settle, nobody has two
    /// partners, no intent is open, and the history's chain is whole.
    pub fn settles(&self, what: &str) {
        self.sandbox.faults().clear();
        for due in self.store.parked(None).expect("parked") {
            self.store.unpark(due.id, self.clock.now()).expect("unparked");
        }
        let mut report = None;
        for wake in [Wake::Sweep, Wake::Poll { belt: false }, Wake::Sweep] {
            // Waits after failures and for lost answers end within the hour.
            self.clock.advance(Duration::from_secs(3_600));
            report = Some(self.pass(&wake).unwrap_or_else(|error| panic!("{what}: {wake:?}: {error}")));
        }
        let report = report.expect("three passes");
        assert!(report.plan.is_empty(), "{what}: still plans {:#?}", report.plan.repairs);
        assert_eq!(report.ended, Ended::Settled, "{what}: {:?} {:?}", report.messages, report.counts);
        self.holds(what);
    }

    /// What holds at every moment.
    pub fn holds(&self, what: &str) {
        let verified = self.store.verify_history().expect("a history");
        assert!(matches!(verified, Verified::Whole { .. }), "{what}: {verified:?}");
        let mut partners: BTreeMap<ItemKey, u64> = BTreeMap::new();
        for issue in self.sandbox.world().issues(&self.repo.name) {
            if let Some(marker) = text::split_forge(&issue.body).marker {
                let before = partners.insert(marker.partner.clone(), issue.number);
                assert_eq!(before, None, "{what}: {} has two issues", marker.partner);
            }
        }
        let mut partners: BTreeMap<ItemKey, TaskGid> = BTreeMap::new();
        for task in self.sandbox.world().tasks(&self.project.gid) {
            if let Some(marker) = text::split_tracker(&task.html_notes, &self.rules.people).marker {
                let before = partners.insert(marker.partner.clone(), task.gid.clone());
                assert_eq!(before, None, "{what}: {} has two tasks", marker.partner);
            }
        }
    }
}

/// Everything a side lists, in the order of its listing.
fn everything(client: &(impl Observe + ?Sized)) -> Vec<Item> {
    let mut all = Vec::new();
    let swept = client.sweep(&mut |items| {
        all.extend(items);
        Ok(())
    });
    swept.expect("a listing");
    all
}

fn count_of(count: u64) -> usize {
    usize::try_from(count).expect("it fits")
}
