//! The hooks looked after, against the sandbox: its API over real HTTP, its deliveries handed to what the service
//! answers deliveries with.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel::clock::VirtualClock;
use evenkeel::config::{Config, DatabaseUrl, Secret, SourceFile};
use evenkeel::hooks::{HooksError, Keeper, Report, subjects};
use evenkeel::inbox::digest;
use evenkeel::model::{BySide, ItemKey, ProjectGid, RepoName, RouteName, Side, Timestamp};
use evenkeel::provider::asana::AsanaHooks;
use evenkeel::provider::github::GithubHooks;
use evenkeel::provider::hooks::{Hook, Hooks};
use evenkeel::provider::http::{Method, Request, Response, Transport, TransportError};
use evenkeel::provider::signature::sign;
use evenkeel::sandbox::{Fault, IssueSeed, Permission, Reason, Sandbox, Served, TaskSeed, When};
use evenkeel::seal::Seal;
use evenkeel::server::message::{self, Head, RequestId};
use evenkeel::server::sources::AllowList;
use evenkeel::server::turned_away::TurnedAway;
use evenkeel::server::webhooks::{Sources, Webhooks};
use evenkeel::store::{HookRow, HookState, Origin, Store};
use evenkeel::workshop::{Haste, Present, Workshop};

const PUBLIC: &str = "https://sync.example";
const KEY: &str = "0123456789abcdef0123456789abcdef";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How the door behaves when Asana shakes hands.
#[derive(Clone, Copy, PartialEq)]
enum Shake {
    /// As the service does.
    Right,
    /// With another secret.
    Wrong,
    /// Somebody else does, and the service never hears of it.
    Elsewhere,
}

/// Where the sandbox's deliveries arrive: what the service answers them with, without its listener.
struct Door {
    webhooks: Webhooks,
    shake: Mutex<Shake>,
    /// The secrets that Asana chose, in order.
    secrets: Mutex<Vec<String>>,
}

impl Door {
    fn hand_in(&self, url: &str, headers: Vec<(String, String)>, body: &[u8]) -> (u16, Vec<(String, String)>) {
        let path = url.strip_prefix(PUBLIC).unwrap_or_else(|| panic!("{url} is not ours"));
        let Some((side, token)) = Webhooks::finds(path) else { return (404, Vec::new()) };
        let headers = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
        let head = Head {
            id: RequestId::from_outside("0123456789abcdef").expect("well formed"),
            method: "POST".to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers,
            peer: None,
        };
        let answer = match self.webhooks.admit(side, &head) {
            Err(answer) => answer,
            Ok(_) => self.webhooks.answer(side, token, &message::Request { head, body: body.to_vec() }),
        };
        let headers = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        (answer.status, headers)
    }
}

impl Transport for Door {
    fn send(&self, request: &Request, _deadline: Duration) -> Result<Response, TransportError> {
        let secret = request.headers.iter().find(|(name, _)| name == "x-hook-secret").map(|(_, value)| value.clone());
        let shake = *lock(&self.shake);
        if let Some(secret) = &secret {
            lock(&self.secrets).push(secret.clone());
            let echoed = match shake {
                Shake::Right => None,
                Shake::Wrong => Some("a".repeat(64)),
                Shake::Elsewhere => Some(secret.clone()),
            };
            if let Some(echoed) = echoed {
                let headers = vec![("x-hook-secret".to_owned(), echoed)];
                return Ok(Response { status: 200, headers, body: Vec::new() });
            }
        }
        let (status, headers) = self.hand_in(&request.url, request.headers.clone(), &request.body);
        Ok(Response { status, headers, body: Vec::new() })
    }
}

struct World {
    clock: Arc<VirtualClock>,
    sandbox: Sandbox,
    served: Served,
    project: ProjectGid,
    tokens: BySide<String>,
    store: Store,
    works: Arc<Workshop>,
    door: Arc<Door>,
    _folder: tempfile::TempDir,
}

/// One project in step with two repositories: three things to have hooks on.
fn world() -> World {
    world_with("seal_key = { env = \"K\" }\n", "")
}

fn world_with(webhooks: &str, github: &str) -> World {
    let clock = Arc::new(VirtualClock::starting_at("2026-11-20T12:00:00Z".parse().expect("a moment")));
    let sandbox = Sandbox::new(clock.clone(), 7);
    let project = sandbox.asana().project("Website");
    let mut token = String::new();
    for name in ["acme/app", "acme/site"] {
        let name: RepoName = name.parse().expect("a name");
        token = sandbox.github().repository(&name).token;
        sandbox.github().permit(&name, &sandbox.github().bot(), Permission::Admin);
    }
    let served = sandbox.serve().expect("loopback");
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&DatabaseUrl::Sqlite(folder.path().join("evenkeel.db"))).expect("a database");
    let tokens = BySide { tracker: project.token, forge: token };
    let config = config(&served, &tokens, &project.gid, &format!("public_url = \"{PUBLIC}\"\n{webhooks}"), github);
    let works = workshop(config, &store, &clock);
    let present = Present::new(works.clone());
    let turned_away = Arc::new(TurnedAway::new(present.clone()));
    let sources = Sources::from_fn(|_| AllowList::everybody());
    let webhooks = Webhooks::new(present, Arc::new(|_: &RouteName, _| ()), turned_away, sources);
    let door = Arc::new(Door { webhooks, shake: Mutex::new(Shake::Right), secrets: Mutex::default() });
    sandbox.webhooks().send_through(door.clone());
    World { clock, sandbox, served, project: project.gid, tokens, store, works, door, _folder: folder }
}

fn config(served: &Served, tokens: &BySide<String>, project: &ProjectGid, webhooks: &str, github: &str) -> Config {
    let text = format!(
        "[asana]\ntoken = {{ env = \"A\" }}\nbase_url = \"{}\"\nrequests_per_minute = 1500\n\
         [github]\ntoken = {{ env = \"G\" }}\nbase_url = \"{}\"\n{github}\n\
         [webhooks]\n{webhooks}\n\
         [[route]]\nname = \"app\"\nasana_project = \"{project}\"\ngithub_repo = \"acme/app\"\n\
         [[route]]\nname = \"site\"\nasana_project = \"{project}\"\ngithub_repo = \"acme/site\"\n",
        served.base_urls.tracker, served.base_urls.forge,
    );
    let env = |name: &str| match name {
        "A" => Some(tokens.tracker.clone()),
        "G" => Some(tokens.forge.clone()),
        "K" => Some(KEY.to_owned()),
        "S" => Some("the secret in the configuration".to_owned()),
        _ => None,
    };
    let read = |_: &Path| Ok(SourceFile { text: zeroize::Zeroizing::new(text.clone()), open_to_all: false });
    Config::load(Some(Path::new("config.toml")), &env, &read).unwrap_or_else(|errors| panic!("{errors}"))
}

fn workshop(config: Config, store: &Store, clock: &Arc<VirtualClock>) -> Arc<Workshop> {
    let mut works = Workshop::new(Arc::new(config), store.clone(), "test".to_owned());
    works.clock = clock.clone();
    Arc::new(works)
}

impl World {
    fn ensure(&self) -> Vec<Report> {
        let keeper = Keeper::new(&self.works).unwrap_or_else(|error| panic!("{error}"));
        keeper.ensure(&subjects(&self.works.config)).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Ensures, and fails if anything is wrong; answers what was done.
    fn ensured(&self) -> Vec<String> {
        done(&self.ensure())
    }

    fn rotated(&self) -> Vec<String> {
        let keeper = Keeper::new(&self.works).unwrap_or_else(|error| panic!("{error}"));
        done(&keeper.rotate(&subjects(&self.works.config)).unwrap_or_else(|error| panic!("{error}")))
    }

    /// Time passes, and whatever the services have to say arrives.
    fn passes(&self, time: Duration) {
        self.clock.advance(time);
        self.sandbox.webhooks().deliver_due();
    }

    fn minute(&self) {
        self.passes(Duration::from_secs(60));
    }

    fn asana(&self) -> AsanaHooks {
        let route = &self.works.config.routes[0];
        let connection = self.works.connection(route, Side::Tracker, Haste::Bulk).expect("a connection");
        AsanaHooks::new(connection, self.project.clone())
    }

    fn github(&self, repo: &str) -> GithubHooks {
        let route = &self.works.config.routes[0];
        let connection = self.works.connection(route, Side::Forge, Haste::Bulk).expect("a connection");
        GithubHooks::new(connection, repo.parse().expect("a name"))
    }

    /// The hooks there are at the services: on the project, on acme/app, on acme/site.
    fn there(&self) -> [Vec<Hook>; 3] {
        let list = |hooks: &dyn Hooks| hooks.list().unwrap_or_else(|error| panic!("{error}"));
        [list(&self.asana()), list(&self.github("acme/app")), list(&self.github("acme/site"))]
    }

    fn counts(&self) -> [usize; 3] {
        self.there().map(|hooks| hooks.len())
    }

    fn live(&self, resource: &str) -> HookRow {
        let rows = self.store.hooks(None).expect("answers");
        let mut live = rows.into_iter().filter(|row| row.resource == resource && row.state == HookState::Live);
        let found = live.next().unwrap_or_else(|| panic!("no live hook on {resource}"));
        assert!(live.next().is_none(), "two live hooks on {resource}");
        found
    }

    fn rung(&self, route: &str) -> Vec<ItemKey> {
        let route: RouteName = route.parse().expect("a name");
        let rung = self.store.rung(&route, Timestamp::MAX, 99).expect("answers");
        rung.into_iter().map(|due| due.item).collect()
    }

    /// Forgets what is due on all routes.
    fn clear(&self) {
        for route in ["app", "site"] {
            for due in self.store.rung(&route.parse().expect("a name"), Timestamp::MAX, 99).expect("answers") {
                self.store.drop_due(due.id).expect("dropped");
            }
        }
    }

    /// Hands in an issue's event, signed; answers the status.
    fn deliver_issue(&self, hook: &Hook, guid: &str, secret: &Secret) -> u16 {
        let body = br#"{"action":"edited","issue":{"number":1,"id":9},"repository":{"id":5,"full_name":"acme/app"}}"#;
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("content-type", "application/json"),
            header("x-github-event", "issues"),
            header("x-github-delivery", guid),
            header("x-github-hook-id", &hook.id),
            header("x-hub-signature-256", &format!("sha256={}", sign(secret, body))),
        ];
        self.door.hand_in(&hook.target, headers, body).0
    }

    /// Hands in a heartbeat of Asana's, signed; answers the status.
    fn beat(&self, target: &str, secret: &str) -> u16 {
        let body = br#"{"events":[]}"#;
        let headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("x-hook-signature".to_owned(), sign(&Secret::new(secret.to_owned()), body)),
        ];
        self.door.hand_in(target, headers, body).0
    }

    /// The secret that a hook of ours has, as kept.
    fn secret_of(&self, row: &HookRow) -> Secret {
        let seal = Seal::new(&Secret::new(KEY.to_owned()));
        seal.open(row.secret.as_deref().expect("a secret"), &row.token_hash).expect("opened")
    }

    fn issue(&self, repo: &str, title: &str) -> ItemKey {
        let number = self.sandbox.github().issue(&repo.parse().expect("a name"), IssueSeed::new(title, ""));
        format!("github:{repo}#{number}").parse().expect("an item")
    }
}

#[track_caller]
fn done(reports: &[Report]) -> Vec<String> {
    for report in reports {
        assert_eq!(report.trouble, None, "{report:?}");
    }
    reports.iter().flat_map(|report| report.done.iter().cloned()).collect()
}

#[test]
fn each_project_and_repository_has_one_hook_however_often_it_is_ensured() {
    let world = world();
    let made = world.ensured();
    assert_eq!(made.len(), 3, "{made:?}");
    assert_eq!(world.counts(), [1, 1, 1]);
    world.minute();
    assert_eq!(world.ensured(), Vec::<String>::new());
    assert_eq!(world.counts(), [1, 1, 1]);
    // What is sent through them is believed, and its items are due on the routes that may hold them.
    world.clear();
    let issue = world.issue("acme/site", "Flaky test");
    let task = world.sandbox.asana().task(&world.project, TaskSeed::named("Fix the login"));
    world.minute();
    assert_eq!(world.rung("app"), [ItemKey::Task(task.clone())]);
    let mut both = world.rung("site");
    both.sort();
    assert_eq!(both, [ItemKey::Task(task), issue]);
    assert!(world.live(world.project.as_str()).heard_at.is_some());
    assert!(world.live("acme/site").heard_at.is_some());
    assert_eq!(world.store.refusals().expect("answers"), []);
}

#[test]
fn two_who_ensure_at_the_same_time_make_no_double() {
    let world = world();
    let other = workshop((*world.works.config).clone(), &world.store, &world.clock);
    std::thread::scope(|scope| {
        let tasks = [&world.works, &other].map(|works| {
            scope.spawn(move || {
                let keeper = Keeper::new(works).expect("a public address");
                match keeper.ensure(&subjects(&works.config)) {
                    Ok(reports) => Some(done(&reports).len()),
                    Err(HooksError::Held(_)) => None,
                    Err(error) => panic!("{error}"),
                }
            })
        });
        let made: Vec<Option<usize>> = tasks.into_iter().map(|task| task.join().expect("no panic")).collect();
        assert_eq!(made.iter().flatten().sum::<usize>(), 3, "{made:?}");
    });
    assert_eq!(world.counts(), [1, 1, 1]);
}

#[test]
fn a_hook_that_somebody_removed_is_made_again_and_others_are_left_alone() {
    let world = world();
    world.ensured();
    let foreign = world.github("acme/app").create("https://ci.example/hook", Some(&Secret::new("theirs".to_owned())));
    let foreign = foreign.expect("made").hook.id;
    let [asana, app, site] = world.there();
    world.asana().remove(&asana[0].id).expect("removed");
    let own = app.iter().find(|hook| hook.id != foreign).expect("ours");
    world.github("acme/app").remove(&own.id).expect("removed");
    let said = world.ensured();
    assert_eq!(said.iter().filter(|said| said.contains("the service removed it")).count(), 2, "{said:?}");
    let [asana_now, app_now, site_now] = world.there();
    assert_eq!((asana_now.len(), app_now.len(), site_now.len()), (1, 2, 1));
    assert_ne!(asana_now[0].id, asana[0].id);
    assert_eq!(site_now[0].id, site[0].id, "what stands is not touched");
    assert!(app_now.iter().any(|hook| hook.id == foreign), "somebody else's hook stays");
    assert_eq!(world.store.hooks(None).expect("answers").len(), 3, "the rows of the removed ones went");
}

#[test]
fn a_hook_that_sends_here_but_is_not_known_is_removed() {
    let world = world();
    let target = format!("{PUBLIC}/webhooks/github/of-a-lost-database");
    world.github("acme/app").create(&target, Some(&Secret::new("forgotten".to_owned()))).expect("made");
    *lock(&world.door.shake) = Shake::Elsewhere;
    world.asana().create(&format!("{PUBLIC}/webhooks/asana/of-a-lost-database"), None).expect("made");
    *lock(&world.door.shake) = Shake::Right;
    let keeper = Keeper::new(&world.works).expect("a public address");
    let listed = keeper.list(&subjects(&world.works.config)).expect("listed");
    assert_eq!(listed.iter().filter(|hook| hook.state == "stranger").count(), 2, "{listed:?}");
    let said = world.ensured();
    assert_eq!(said.iter().filter(|said| said.contains("its secret is not known here")).count(), 2, "{said:?}");
    assert_eq!(world.counts(), [1, 1, 1]);
    let listed = keeper.list(&subjects(&world.works.config)).expect("listed");
    assert!(listed.iter().all(|hook| hook.state == "live" && hook.trouble.is_none()), "{listed:?}");
    assert!(listed.iter().all(|hook| !hook.target.contains("lost") && !hook.target.ends_with('/')), "{listed:?}");
}

#[test]
fn rotating_leaves_no_gap() {
    let world = world();
    world.ensured();
    world.minute();
    let [asana, app, _] = world.there();
    let (old_asana, old_github) = (lock(&world.door.secrets)[0].clone(), world.secret_of(&world.live("acme/app")));
    assert_eq!(world.beat(&asana[0].target, &old_asana), 200);
    let said = world.rotated();
    assert_eq!(said.len(), 4, "one made and one removed on asana, two resigned on github: {said:?}");
    assert_eq!(world.counts(), [1, 1, 1]);
    let fresh = world.secret_of(&world.live("acme/app"));
    assert_ne!(fresh, old_github);
    let [asana_now, app_now, _] = world.there();
    assert_eq!(app_now[0].id, app[0].id);
    assert_ne!(asana_now[0].target, asana[0].target);
    // What was on its way, signed with the old secret, is good still...
    assert_eq!(world.beat(&asana[0].target, &old_asana), 200);
    assert_eq!(world.deliver_issue(&app[0], "late-one", &old_github), 200);
    assert_eq!(world.deliver_issue(&app[0], "new-one", &fresh), 200);
    // ...for an hour; then the old row goes with its secret.
    world.passes(Duration::from_secs(3_700));
    world.ensured();
    assert_eq!(world.beat(&asana[0].target, &old_asana), 401);
    assert_eq!(world.deliver_issue(&app[0], "too-late", &old_github), 401);
    assert_eq!(world.deliver_issue(&app[0], "in-time", &fresh), 200);
    assert_eq!(world.counts(), [1, 1, 1]);
}

#[test]
fn a_rotation_that_does_not_reach_github_leaves_the_hook_good() {
    for fault in [Fault::Refused, Fault::CutBefore, Fault::CutAfter] {
        let world = world();
        world.ensured();
        world.minute();
        world.sandbox.faults().chance(1.0, When::side(Side::Forge).method(Method::Patch), fault.clone());
        let keeper = Keeper::new(&world.works).expect("a public address");
        let reports = keeper.rotate(&subjects(&world.works.config)).expect("done");
        assert_eq!(reports.iter().filter(|report| report.trouble.is_some()).count(), 2, "{fault:?}: {reports:?}");
        world.sandbox.faults().clear();
        // Longer than a former secret is good.
        world.passes(Duration::from_secs(2 * 3_600));
        world.ensure();
        world.clear();
        let issue = world.issue("acme/app", "Flaky test");
        world.minute();
        assert_eq!(world.rung("app"), std::slice::from_ref(&issue), "{fault:?}: signed with a secret that is good");
        // And once more, it comes through.
        world.rotated();
        world.passes(Duration::from_secs(2 * 3_600));
        world.clear();
        let RepoAndNumber(repo, number) = RepoAndNumber::of(&issue);
        world.sandbox.github().close(&repo, number, Reason::Completed);
        world.minute();
        assert_eq!(world.rung("app"), [issue], "{fault:?}");
    }
}

struct RepoAndNumber(RepoName, u64);

impl RepoAndNumber {
    fn of(item: &ItemKey) -> Self {
        let ItemKey::Issue(issue) = item else { panic!("{item} is no issue") };
        Self(issue.repo.clone(), issue.number)
    }
}

#[test]
fn a_handshake_answered_wrongly_or_by_somebody_else_leaves_no_hook() {
    for (shake, said) in [(Shake::Wrong, "handshake"), (Shake::Elsewhere, "somebody else answered")] {
        let world = world();
        *lock(&world.door.shake) = shake;
        let reports = world.ensure();
        let trouble = reports[0].trouble.clone().unwrap_or_default();
        assert!(trouble.contains(said), "{trouble}");
        assert_eq!(world.counts(), [0, 1, 1], "the other subjects are looked after all the same");
        let rows = world.store.hooks(Some(Side::Tracker)).expect("answers");
        assert_eq!(rows.len(), 0, "{rows:?}");
        *lock(&world.door.shake) = Shake::Right;
        world.ensured();
        assert_eq!(world.counts(), [1, 1, 1]);
    }
}

#[test]
fn what_github_failed_to_hand_over_is_fetched_and_due_exactly_once() {
    let world = world();
    world.ensured();
    world.minute();
    let heard = world.live("acme/app").heard_at;
    world.sandbox.deliveries().down(Side::Forge, true);
    let issue = world.issue("acme/app", "Flaky test");
    world.passes(Duration::from_secs(300));
    assert_eq!(world.rung("app"), []);
    world.sandbox.deliveries().down(Side::Forge, false);
    let reports = world.ensure();
    assert_eq!(reports.iter().map(|report| report.fetched).sum::<u64>(), 1, "{reports:?}");
    let woken: Vec<_> = reports.iter().flat_map(|report| &report.wake).map(|(route, _)| route.as_str()).collect();
    assert_eq!(woken, ["app"]);
    assert_eq!(world.rung("app"), std::slice::from_ref(&issue));
    let kept = world.store.deliveries(&Default::default()).expect("answers");
    let fetched: Vec<_> = kept.iter().filter(|delivery| delivery.origin == Origin::Fetched).collect();
    assert_eq!(fetched.len(), 1, "{kept:?}");
    assert_eq!((fetched[0].event.as_str(), fetched[0].touched[0].item.clone()), ("issues.opened", issue));
    assert_eq!(world.live("acme/app").heard_at, heard, "what was fetched was not heard");
    // It is fetched no second time.
    world.clear();
    world.minute();
    let again = world.ensure();
    assert_eq!(again.iter().map(|report| report.fetched).sum::<u64>(), 0, "{again:?}");
    assert_eq!(world.rung("app"), []);
}

#[test]
fn a_hook_that_failed_is_asked_for_a_sign_of_life_so_that_a_quiet_repository_is_well_again() {
    let world = world();
    world.ensured();
    world.minute();
    world.sandbox.deliveries().down(Side::Forge, true);
    world.issue("acme/app", "Flaky test");
    world.minute();
    let failing = world.ensure();
    assert!(failing[1].trouble.as_deref().is_some_and(|said| said.contains("failed")), "{failing:?}");
    assert!(world.live("acme/app").trouble.is_some());
    world.sandbox.deliveries().down(Side::Forge, false);
    world.ensure();
    world.minute();
    done(&world.ensure());
    assert_eq!(world.live("acme/app").trouble, None);
}

#[test]
fn a_hook_whose_signs_of_life_do_not_arrive_is_replaced() {
    let world = world();
    world.ensured();
    world.minute();
    let before = world.there()[0][0].id.clone();
    world.sandbox.deliveries().down(Side::Tracker, true);
    world.passes(Duration::from_secs(8 * 3_600));
    let early = world.ensure();
    assert_eq!((early[0].done.len(), early[0].failed), (0, false), "not yet");
    assert!(early[0].trouble.as_deref().is_some_and(|said| said.contains("failed")), "{early:?}");
    world.sandbox.deliveries().down(Side::Tracker, false);
    world.clock.advance(Duration::from_secs(3_700));
    let said = world.ensured();
    assert!(said.iter().any(|said| said.contains("its signs of life do not arrive")), "{said:?}");
    let now = world.there()[0].clone();
    assert_eq!(now.len(), 1);
    assert_ne!(now[0].id, before);
    world.minute();
    assert!(world.live(world.project.as_str()).heard_at.is_some(), "its heartbeat came");
}

#[test]
fn a_failure_of_asanas_that_is_over_is_no_trouble_any_more() {
    let world = world();
    world.ensured();
    world.minute();
    world.sandbox.deliveries().down(Side::Tracker, true);
    world.sandbox.asana().task(&world.project, TaskSeed::named("Fix the login"));
    world.minute();
    assert!(world.ensure()[0].trouble.is_some());
    world.sandbox.deliveries().down(Side::Tracker, false);
    world.passes(Duration::from_secs(4 * 3_600));
    done(&world.ensure());
    let keeper = Keeper::new(&world.works).expect("a public address");
    assert!(keeper.list(&subjects(&world.works.config)).expect("listed").iter().all(|hook| hook.trouble.is_none()));
}

#[test]
fn remove_removes_all_of_ours_and_nothing_else() {
    let world = world();
    world.ensured();
    let foreign = world.github("acme/app").create("https://ci.example/hook", Some(&Secret::new("theirs".to_owned())));
    foreign.expect("made");
    // The public address is taken away first, so that the service does not make them again.
    let bare = config(&world.served, &world.tokens, &world.project, "", "");
    let works = workshop(bare, &world.store, &world.clock);
    assert!(matches!(Keeper::new(&works), Err(HooksError::Unset(_))));
    let reports = Keeper::without_address(&works).remove(&subjects(&works.config)).expect("done");
    assert_eq!(done(&reports).len(), 3, "{reports:?}");
    assert_eq!(world.counts(), [0, 1, 0]);
    assert_eq!(world.store.hooks(None).expect("answers").len(), 0);
    let reports = Keeper::new(&world.works).expect("an address").remove(&subjects(&works.config)).expect("done");
    assert_eq!(done(&reports), Vec::<String>::new());
}

#[test]
fn a_creation_without_an_answer_is_made_up_for_by_the_next_look() {
    for (fault, words) in [(Fault::CutAfter, "though its creation had no answer"), (Fault::CutBefore, "made hook")] {
        for (side, place) in [(Side::Tracker, 0), (Side::Forge, 1)] {
            let world = world();
            world.sandbox.faults().next(1, When::side(side).method(Method::Post), fault.clone());
            let reports = world.ensure();
            assert!(reports[place].trouble.is_some(), "{reports:?}");
            world.minute();
            let said = world.ensured();
            assert!(said.iter().any(|said| said.contains(words)), "{said:?}");
            assert_eq!(world.counts(), [1, 1, 1]);
        }
    }
}

#[test]
fn with_the_secret_in_the_configuration_a_hook_needs_no_key_and_one_that_is_there_is_adopted() {
    let world = world_with("seal_key = { env = \"K\" }\n", "webhook_secret = { env = \"S\" }");
    let target = format!("{PUBLIC}/webhooks/github");
    world.github("acme/app").create(&target, Some(&Secret::new("forgotten".to_owned()))).expect("made");
    let before = world.there()[1][0].id.clone();
    // The first try does not get through, and must not be taken for done.
    world.sandbox.faults().next(1, When::side(Side::Forge).method(Method::Patch), Fault::Refused);
    world.sandbox.faults().next(9, When::side(Side::Forge).method(Method::Patch), Fault::Refused);
    world.ensure();
    world.sandbox.faults().clear();
    world.ensure();
    world.minute();
    assert_eq!(world.counts(), [1, 1, 1]);
    assert_eq!(world.there()[1][0].id, before);
    assert_eq!(world.live("acme/app").remote.as_deref(), Some(before.as_str()));
    world.clear();
    let issue = world.issue("acme/app", "Flaky test");
    world.minute();
    assert_eq!(world.rung("app"), [issue]);
}

#[test]
fn a_token_that_may_not_look_after_hooks_is_said_on_what_it_concerns() {
    let world = world();
    world.ensured();
    let before = world.live("acme/app").checked_at;
    world.sandbox.github().permit(
        &"acme/app".parse().expect("a name"),
        &world.sandbox.github().bot(),
        Permission::Write,
    );
    let reports = world.ensure();
    assert!(reports[1].trouble.is_some(), "{reports:?}");
    assert!(reports[0].trouble.is_none() && reports[2].trouble.is_none(), "{reports:?}");
    let row = world.live("acme/app");
    assert!(row.trouble.is_some(), "it is kept for `evenkeel status`");
    assert!(row.checked_at <= before.max(Some(row.made_at)), "what was missed is looked for from where it was left");
}

#[test]
fn a_secret_of_a_hook_is_where_only_its_token_leads() {
    let world = world();
    world.ensured();
    let row = world.live("acme/app");
    let target = world.there()[1].iter().map(|hook| hook.target.clone()).next().expect("a target");
    let token = target.rsplit('/').next().expect("a token");
    assert_eq!(digest(token.as_bytes()), row.token_hash);
    assert!(!row.target.contains(token) && !format!("{row:?}").contains(token));
}
