//! Hooks against the sandbox: made, lost, mended, and what they send checked and reduced.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel::clock::{Clock as _, Stop, VirtualClock};
use evenkeel::config::{Network, Secret};
use evenkeel::model::{BySide, IssueRef, ItemKey, ProjectGid, RepoName, Side, Timestamp};
use evenkeel::provider::asana::{self, AsanaHooks};
use evenkeel::provider::github::{self, GithubHooks};
use evenkeel::provider::heard::{Heard, PullRequestAct, Whole};
use evenkeel::provider::hooks::{Hook, Hooks};
use evenkeel::provider::http::{Request, Response, Transport, TransportError};
use evenkeel::provider::pace::Pace;
use evenkeel::provider::signature::{ASANA_HEADER, Claim, GITHUB_HEADER, signer};
use evenkeel::provider::{Connection, ProviderError};
use evenkeel::sandbox::{IssueSeed, Mishap, Permission, Reason, Sandbox, TaskSeed};

const ASANA_TARGET: &str = "https://sync.example/webhooks/asana/one-time-token";
const GITHUB_TARGET: &str = "https://sync.example/webhooks/github";

/// Takes what the sandbox sends, echoes handshakes, answers `status` to the rest.
struct Receiver {
    got: Mutex<Vec<Request>>,
    status: Mutex<u16>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn values<'r>(request: &'r Request, name: &str) -> Vec<&'r str> {
    request.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
}

impl Transport for Receiver {
    fn send(&self, request: &Request, _deadline: Duration) -> Result<Response, TransportError> {
        lock(&self.got).push(request.clone());
        let headers = values(request, "x-hook-secret").into_iter().map(|v| ("x-hook-secret".to_owned(), v.to_owned()));
        Ok(Response { status: *lock(&self.status), headers: headers.collect(), body: Vec::new() })
    }
}

struct World {
    clock: Arc<VirtualClock>,
    sandbox: Sandbox,
    receiver: Arc<Receiver>,
    project: ProjectGid,
    repo: RepoName,
    asana: AsanaHooks,
    github: GithubHooks,
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

fn world() -> World {
    let network = Network {
        base_urls: BySide::default(),
        ca_file: None,
        call_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        answer_bytes_max: 16 * 1024 * 1024,
        asana_per_minute: 1_500,
        github_creations_per_minute: 80,
        github_creations_per_hour: 500,
        github_points_per_minute: 900,
    };
    let clock = Arc::new(VirtualClock::starting_at("2026-11-20T12:00:00Z".parse().expect("a moment")));
    let sandbox = Sandbox::new(clock.clone(), 7);
    let receiver = Arc::new(Receiver { got: Mutex::default(), status: Mutex::new(200) });
    sandbox.webhooks().send_through(receiver.clone());
    let project = sandbox.asana().project("Website");
    let repo: RepoName = "acme/app".parse().expect("a name");
    let repository = sandbox.github().repository(&repo);
    sandbox.github().permit(&repo, &sandbox.github().bot(), Permission::Admin);
    let connect = |side: Side, token: &str| Connection {
        transport: sandbox.transport(),
        base_url: sandbox.base_urls()[side].clone(),
        token: secret(token),
        clock: clock.clone(),
        stop: Stop::default(),
        pace: Arc::new(if side == Side::Tracker { Pace::asana(&network) } else { Pace::github(&network) }),
        call_timeout: Duration::from_secs(30),
        seed: 1,
    };
    let asana = AsanaHooks::new(connect(Side::Tracker, &project.token), project.gid.clone());
    let github = GithubHooks::new(connect(Side::Forge, &repository.token), repo.clone());
    World { clock, sandbox, receiver, project: project.gid, repo, asana, github }
}

impl World {
    /// Has everything sent that is due, and answers what came.
    fn delivered(&self) -> Vec<Request> {
        self.clock.advance(Duration::from_secs(60));
        self.sandbox.webhooks().deliver_due();
        std::mem::take(&mut *lock(&self.receiver.got))
    }

    fn answers(&self, status: u16) {
        *lock(&self.receiver.status) = status;
    }

    fn issue(&self, title: &str) -> ItemKey {
        let number = self.sandbox.github().issue(&self.repo, IssueSeed::new(title, ""));
        ItemKey::Issue(IssueRef { repo: self.repo.clone(), number })
    }

    /// What GitHub sends, each checked with `key` and reduced.
    fn heard(&self, key: &Secret) -> Vec<Heard> {
        self.delivered().iter().map(|request| self.reduced(key, request)).collect()
    }

    fn reduced(&self, key: &Secret, request: &Request) -> Heard {
        let claim = Claim::github(values(request, GITHUB_HEADER)).unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(signer([None, Some(key)], &request.body, Some(claim)), Some(1));
        let body = github::delivery::payload_of(values(request, "content-type")[0], &request.body).expect("JSON");
        github::delivery::reduce(values(request, "x-github-event")[0], &body).expect("a delivery")
    }
}

fn only(hooks: &dyn Hooks) -> Hook {
    let [hook] = hooks.list().expect("a list").try_into().expect("one hook");
    hook
}

#[test]
fn an_asana_hook_is_made_by_handshake_and_says_which_tasks_moved() {
    let world = world();
    let made = world.asana.create(ASANA_TARGET, None).expect("made");
    let key = made.secret.expect("a secret");
    let handshake = std::mem::take(&mut *lock(&world.receiver.got));
    assert_eq!(values(&handshake[0], "x-hook-secret"), [key.reveal()], "what shook hands is what was made");
    assert!(made.hook.as_wanted && made.hook.active);
    let listed = only(&world.asana);
    assert_eq!((listed.id, listed.target.as_str(), listed.as_wanted), (made.hook.id, ASANA_TARGET, true));

    let heard = || -> Vec<Heard> {
        let check = |request: &Request| {
            let claim = Claim::asana(values(request, ASANA_HEADER)).unwrap_or_else(|fault| panic!("{fault}"));
            assert_eq!(signer([Some(&key), None], &request.body, Some(claim)), Some(0));
            assert_eq!(signer([Some(&secret("other")), None], &request.body, Some(claim)), None);
            asana::delivery::reduce(&request.body).expect("a delivery")
        };
        world.delivered().iter().map(check).collect()
    };
    assert_eq!(heard().iter().map(|heard| heard.event.as_str()).collect::<Vec<_>>(), ["heartbeat"]);
    let task = world.sandbox.asana().task(&world.project, TaskSeed::named("One"));
    let other = world.sandbox.asana().task(&world.project, TaskSeed::named("Two"));
    let touched = |heard: Vec<Heard>| -> Vec<ItemKey> { heard.into_iter().flat_map(|heard| heard.touched).collect() };
    assert_eq!(touched(heard()), [ItemKey::Task(task.clone()), ItemKey::Task(other.clone())]);
    for act in ["complete", "rename", "comment", "delete", "restore", "leave"] {
        let people = world.sandbox.asana();
        match act {
            "complete" => people.complete(&task),
            "rename" => people.rename(&task, "Another"),
            "comment" => drop(people.comment(&task, "<body>words</body>")),
            "delete" => people.delete(&task),
            "restore" => people.restore(&task),
            _ => people.leave(&task, &world.project),
        }
        assert_eq!(touched(heard()), [ItemKey::Task(task.clone())], "{act}");
    }
    let story = world.sandbox.asana().comment(&other, "<body>words</body>");
    heard();
    world.sandbox.asana().edit_comment(&story, "<body>other words</body>");
    let edited = heard();
    assert!(edited.iter().any(|heard| heard.whole == Some(Whole::Poll)), "an edited comment names no task: {edited:?}");
}

#[test]
fn an_asana_hook_is_refused_twice_and_gone_after_a_day_of_failures() {
    let world = world();
    world.answers(500);
    let refused = world.asana.create(ASANA_TARGET, None).expect_err("no handshake");
    assert!(matches!(refused, ProviderError::Refused { status: 400, .. }), "{refused}");
    world.answers(200);
    let id = world.asana.create(ASANA_TARGET, None).expect("made").hook.id;
    let again = world.asana.create(ASANA_TARGET, None).expect_err("doubled");
    assert!(matches!(again, ProviderError::Refused { status: 403, .. }) && !again.to_string().contains("one-time"));

    world.delivered();
    world.answers(503);
    world.sandbox.asana().task(&world.project, TaskSeed::named("One"));
    world.delivered();
    let failing = only(&world.asana);
    assert!(failing.last_failure.is_some() && failing.last_failure_at.is_some(), "{failing:?}");
    let dies = failing.dies_at.expect("it is said when it is deleted");
    world.clock.advance(Duration::from_secs(25 * 3_600));
    assert!(dies < world.clock.now());
    world.delivered();
    assert_eq!(world.asana.list(), Ok(Vec::new()));
    assert!(matches!(world.asana.set_wanted(&id), Err(ProviderError::Gone { .. })));
    world.asana.remove(&id).expect("gone already");
}

#[test]
fn hooks_of_other_filters_are_seen_and_mended() {
    let world = world();
    let made = world.asana.create(ASANA_TARGET, None).expect("made");
    world.asana.set_wanted(&made.hook.id).expect("mended");
    assert!(only(&world.asana).as_wanted);
    let key = secret("sesame");
    let made = world.github.create(GITHUB_TARGET, Some(&key)).expect("made");
    world.github.set_wanted(&made.hook.id).expect("mended");
    let hook = only(&world.github);
    assert!(hook.as_wanted && hook.signed && hook.active, "{hook:?}");
    world.delivered();
    world.issue("One");
    assert_eq!(world.heard(&key).len(), 1, "still signed with its secret");
    for hooks in [&world.asana as &dyn Hooks, &world.github] {
        hooks.remove(&only(hooks).id).expect("removed");
        assert_eq!(hooks.list(), Ok(Vec::new()));
    }
}

#[test]
fn a_github_hook_says_which_issues_moved() {
    let world = world();
    let key = secret("sesame");
    let made = world.github.create(GITHUB_TARGET, Some(&key)).expect("made");
    let [ping] = world.heard(&key).try_into().expect("a ping");
    assert_eq!((ping.event.as_str(), ping.hook_id.map(|id| id.to_string())), ("ping", Some(made.hook.id.clone())));
    let issue = world.issue("One");
    let ItemKey::Issue(IssueRef { number, .. }) = issue else { panic!("an issue") };
    world.sandbox.github().close(&world.repo, number, Reason::Completed);
    world.sandbox.github().comment(&world.repo, number, "words");
    let heard = world.heard(&key);
    let events: Vec<_> = heard.iter().map(|heard| heard.event.as_str()).collect();
    assert_eq!(events, ["issues.opened", "issues.closed", "issue_comment.created"]);
    assert!(heard.iter().all(|heard| heard.touched == [issue.clone()]), "{heard:?}");

    let other: RepoName = "acme/other".parse().expect("a name");
    world.sandbox.github().repository(&other);
    let there = world.sandbox.github().transfer(&world.repo, number, &other);
    let there = ItemKey::Issue(IssueRef { repo: other, number: there });
    let heard = world.heard(&key);
    let left = heard.iter().find(|heard| heard.event == "issues.transferred").expect("it left");
    assert_eq!(left.touched, [issue, there]);

    world.github.ping(&made.hook.id).expect("pinged");
    assert_eq!(world.heard(&key)[0].event, "ping");
}

#[test]
fn a_pull_request_names_what_it_closes() {
    let world = world();
    let key = secret("sesame");
    world.github.create(GITHUB_TARGET, Some(&key)).expect("made");
    let issue = world.issue("One");
    let ItemKey::Issue(target) = issue.clone() else { panic!("an issue") };
    let body = format!("Fixes #{}\n\n```\nfixes #99\n```", target.number);
    let github = world.sandbox.github();
    let number = github.pull_request(&world.repo, "Mend it", &body);
    let elsewhere = github.pull_request_into(&world.repo, "release-1", "Mend it there", &body);
    world.delivered();
    github.merge(&world.repo, number);
    github.close_unmerged(&world.repo, elsewhere);
    let heard = world.heard(&key);
    let told: Vec<_> = heard
        .iter()
        .filter_map(|heard| heard.pull_request.as_ref())
        .map(|pull| (pull.number, pull.act, pull.closes.clone()))
        .collect();
    let wanted =
        [(number, PullRequestAct::Merged, vec![target]), (elsewhere, PullRequestAct::ClosedUnmerged, Vec::new())];
    assert_eq!(told, wanted);
    assert!(heard.iter().any(|heard| heard.event == "issues.closed" && heard.touched == [issue.clone()]));
}

#[test]
fn a_secret_is_changed_without_a_gap() {
    let world = world();
    let (old, new) = (secret("old sesame"), secret("new sesame"));
    let made = world.github.create(GITHUB_TARGET, Some(&old)).expect("made");
    world.delivered();
    let signed_by = || {
        let [request] = world.delivered().try_into().unwrap_or_else(|all: Vec<_>| panic!("{} deliveries", all.len()));
        signer([Some(&new), Some(&old)], &request.body, Claim::github(values(&request, GITHUB_HEADER)).ok())
    };
    world.issue("One");
    assert_eq!(signed_by(), Some(1));
    world.github.set_secret(&made.hook.id, &new).expect("changed");
    world.issue("Two");
    assert_eq!(signed_by(), Some(0));
    assert!(only(&world.github).as_wanted, "nothing else has changed");
}

#[test]
fn what_github_failed_to_hand_over_is_read_back() {
    let world = world();
    let key = secret("sesame");
    let id = world.github.create(GITHUB_TARGET, Some(&key)).expect("made").hook.id;
    world.delivered();
    let began: Timestamp = world.clock.now();
    let first = world.issue("Refused");
    world.answers(503);
    world.delivered();
    world.answers(200);
    world.issue("Handed over");
    world.delivered();
    let third = world.issue("Out of reach");
    world.sandbox.deliveries().next(1, Side::Forge, Mishap::Refused);
    world.delivered();

    let missed = world.github.undelivered(&id, began).expect("a log");
    assert_eq!(missed.iter().map(|one| one.event.as_str()).collect::<Vec<_>>(), ["issues.opened"; 2]);
    let recovered: Vec<ItemKey> = missed
        .iter()
        .flat_map(|one| {
            let delivery = world.github.delivery(&id, &one.delivery_id).expect("kept");
            assert_eq!(delivery.guid, one.guid);
            github::delivery::reduce(&delivery.event, &delivery.payload).expect("a delivery").touched
        })
        .collect();
    assert_eq!(recovered, [first, third]);
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.github.undelivered(&id, world.clock.now()), Ok(Vec::new()), "nothing since");
    assert!(matches!(world.github.delivery(&id, "1"), Err(ProviderError::Gone { .. })));
    assert_eq!(world.asana.undelivered("1", began), Ok(Vec::new()));
}

#[test]
fn hooks_live_on_when_the_repository_is_renamed() {
    let world = world();
    let key = secret("sesame");
    let id = world.github.create(GITHUB_TARGET, Some(&key)).expect("made").hook.id;
    world.delivered();
    let renamed = world.sandbox.github().rename_repository(&world.repo, "renamed");
    let heard = world.heard(&key);
    let news = heard.iter().find(|heard| heard.event == "repository.renamed").expect("it is told");
    assert_eq!((news.renamed_from.as_ref(), news.repository.as_ref()), (Some(&world.repo), Some(&renamed)));
    assert_eq!(news.whole, Some(Whole::Poll));
    assert_eq!(only(&world.github).id, id);
    world.github.set_wanted(&id).expect("mended under its new name");
    world.github.remove(&id).expect("removed");
}
