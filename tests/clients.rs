//! Both clients against the sandbox: what they say of a world that behaves as the services do.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use evenkeel::clock::{Clock as _, Stop, VirtualClock};
use evenkeel::config::{Network, Secret};
use evenkeel::model::{
    BySide, Change, Content, FieldPolicy, IssueRef, Item, ItemKey, Marker, People, Person, Place, ProjectGid, RepoName,
    Rules, Side, Status, TaskGid, Timestamp,
};
use evenkeel::provider::asana::AsanaClient;
use evenkeel::provider::github::GithubClient;
use evenkeel::provider::pace::Pace;
use evenkeel::provider::{Changes, Connection, Cursor, Draft, Found, Observe, ProviderError, Write};
use evenkeel::sandbox::{Fault, IssueSeed, Limit, Loop, Permission, Reason, Sandbox, TaskSeed, When};
use evenkeel::text::{self, Footer};

/// A sandbox with one project and one repository, and a client of each.
struct World {
    clock: Arc<VirtualClock>,
    sandbox: Sandbox,
    project: ProjectGid,
    repo: RepoName,
    tokens: BySide<String>,
    asana: AsanaClient,
    github: GithubClient,
}

fn network() -> Network {
    Network {
        base_urls: BySide::default(),
        ca_file: None,
        call_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        answer_bytes_max: 16 * 1024 * 1024,
        asana_per_minute: 1_500,
        github_creations_per_minute: 80,
        github_creations_per_hour: 500,
        github_points_per_minute: 900,
    }
}

fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.policy.labels = FieldPolicy::Both;
    rules.policy.assignees = FieldPolicy::Both;
    rules.policy.due = FieldPolicy::Tracker;
    rules.filter.tracker.sections.push("Doing".into());
    rules
}

fn world() -> World {
    let clock = Arc::new(VirtualClock::starting_at("2026-11-20T12:00:00Z".parse().expect("a moment")));
    let sandbox = Sandbox::new(clock.clone(), 7);
    let project = sandbox.asana().project("Website");
    let repo: RepoName = "acme/app".parse().expect("a name");
    let repository = sandbox.github().repository(&repo);
    let urls = sandbox.base_urls();
    let connect = |side: Side, token: &str| Connection {
        transport: sandbox.transport(),
        base_url: urls[side].clone(),
        token: Secret::new(token.to_owned()),
        clock: clock.clone(),
        stop: Stop::default(),
        pace: Arc::new(if side == Side::Tracker { Pace::asana(&network()) } else { Pace::github(&network()) }),
        call_timeout: Duration::from_secs(30),
        seed: 1,
    };
    let asana = AsanaClient::new(connect(Side::Tracker, &project.token), project.gid.clone(), &rules());
    let mut people = rules();
    let ada = BySide { tracker: Some(sandbox.asana().person()), forge: Some(sandbox.github().person()) };
    people.people = People::new(vec![Person { name: "ada".into(), account: ada, mention: false }]);
    let github = GithubClient::new(connect(Side::Forge, &repository.token), repo.clone(), &people);
    let tokens = BySide { tracker: project.token, forge: repository.token };
    World { clock, project: project.gid, repo, tokens, asana, github, sandbox }
}

impl World {
    fn later(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn task(&self, name: &str) -> TaskGid {
        self.sandbox.asana().task(&self.project, TaskSeed::named(name))
    }

    fn issue(&self, title: &str) -> ItemKey {
        self.key(self.sandbox.github().issue(&self.repo, IssueSeed::new(title, "text")))
    }

    fn key(&self, number: u64) -> ItemKey {
        ItemKey::Issue(IssueRef { repo: self.repo.clone(), number })
    }
}

/// The first cursor of a side, the sweep that belongs to it left out.
fn begin(client: &dyn Observe) -> Cursor {
    match client.changes(None, false, &mut |_| Ok(())) {
        Ok(Changes::TooOld { next }) => next,
        other => panic!("{other:?}"),
    }
}

/// Polls; answers what was delivered, what is to be read, and moves the cursor.
fn poll(client: &dyn Observe, cursor: &mut Cursor, belt: bool) -> (Vec<String>, Vec<String>) {
    let mut titles = Vec::new();
    let changes = client.changes(Some(cursor), belt, &mut |items| {
        titles.extend(items.into_iter().map(|item| item.content.title));
        Ok(())
    });
    match changes {
        Ok(Changes::Since { next, touched }) => {
            *cursor = next;
            (titles, touched.iter().map(ToString::to_string).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn sweep(client: &dyn Observe) -> Vec<Item> {
    let mut all = Vec::new();
    let count = client.sweep(&mut |items| {
        all.extend(items);
        Ok(())
    });
    assert_eq!(count, Ok(u64::try_from(all.len()).expect("a count")));
    all
}

fn here(client: &dyn Observe, key: &ItemKey) -> Item {
    match client.item(key) {
        Ok(Found::Here(item)) => *item,
        other => panic!("{other:?}"),
    }
}

/// What `make` asks of a side.
fn requests(client: &dyn Observe, make: impl FnOnce()) -> (u64, u64) {
    let before = client.requests();
    make();
    let after = client.requests();
    (after.sent - before.sent, after.unchanged - before.unchanged)
}

fn draft(side: Side, title: &str) -> Draft {
    let partner = match side {
        Side::Tracker => "github:acme/app#3",
        Side::Forge => "asana:1201",
    };
    let marker = Marker::naming(partner.parse().expect("a key"));
    let content = Content { title: title.into(), body: "Some text & more".into(), ..Content::default() };
    let words = Footer {
        partner: "the partner".into(),
        url: "https://example.test/partner".into(),
        due: None,
        full_title: None,
        body_cut: false,
    };
    let footer = text::footer(side, &content.body, &words, &marker).expect("there is room");
    Draft { content, footer, marker }
}

#[test]
fn an_idle_poll_is_one_request_on_each_side_whatever_the_size() {
    let world = world();
    for number in 0..230 {
        world.task(&format!("Task {number}"));
        world.issue(&format!("Issue {number}"));
    }
    world.later(3_600);
    let (mut asana, mut github) = (begin(&world.asana), begin(&world.github));
    assert_eq!((sweep(&world.asana).len(), sweep(&world.github).len()), (230, 230));
    // The first poll after the start has no ETag yet.
    poll(&world.github, &mut github, false);
    for _ in 0..5 {
        world.later(60);
        let took = requests(&world.asana, || assert_eq!(poll(&world.asana, &mut asana, false), (vec![], vec![])));
        assert_eq!(took, (1, 0));
        let took = requests(&world.github, || assert_eq!(poll(&world.github, &mut github, false), (vec![], vec![])));
        assert_eq!(took, (1, 1));
    }
}

#[test]
fn what_people_do_in_asana_is_told_by_the_next_poll() {
    let world = world();
    let people = world.sandbox.asana();
    let tasks: Vec<TaskGid> = (0..4).map(|number| world.task(&format!("Task {number}"))).collect();
    world.later(3_600);
    let mut cursor = begin(&world.asana);
    world.later(10);
    people.rename(&tasks[0], "Renamed");
    people.delete(&tasks[1]);
    people.leave(&tasks[2], &world.project);
    people.subtask(&tasks[3], "A part of it");
    world.later(900);
    let (titles, mut touched) = poll(&world.asana, &mut cursor, false);
    assert!(titles.is_empty());
    touched.retain(|key| *key != format!("asana:{}", tasks[3]));
    let wanted: BTreeSet<String> = tasks[..3].iter().map(|gid| format!("asana:{gid}")).collect();
    assert_eq!(touched.into_iter().collect::<BTreeSet<_>>(), wanted);
    let key = |number: usize| ItemKey::Task(tasks[number].clone());
    assert_eq!(here(&world.asana, &key(0)).content.title, "Renamed");
    assert_eq!(world.asana.item(&key(1)), Ok(Found::Gone));
    assert_eq!(here(&world.asana, &key(2)).place, Place::Left);
}

#[test]
fn many_changes_in_asana_come_by_one_listing_and_the_belt_finds_what_events_lost() {
    let world = world();
    let tasks: Vec<TaskGid> = (0..120).map(|number| world.task(&format!("Task {number}"))).collect();
    world.later(3_600);
    let mut cursor = begin(&world.asana);
    world.later(10);
    for task in &tasks {
        world.sandbox.asana().complete(task);
    }
    world.sandbox.asana().delete(&tasks[0]);
    world.later(900);
    let mut found = (Vec::new(), Vec::new());
    let took = requests(&world.asana, || found = poll(&world.asana, &mut cursor, false));
    assert_eq!((found.0.len(), found.1), (119, vec![format!("asana:{}", tasks[0])]));
    // A hundred events and a hundred tasks at a time.
    assert!(took.0 <= 8, "{took:?}");
    world.later(3_600);
    poll(&world.asana, &mut cursor, true);
    assert_eq!(poll(&world.asana, &mut cursor, true).0, Vec::<String>::new(), "the belt has moved on");
}

#[test]
fn a_lost_token_of_the_events_calls_for_a_sweep_with_a_fresh_one() {
    let world = world();
    let mut cursor = begin(&world.asana);
    world.sandbox.asana().forget_sync_tokens();
    let changes = world.asana.changes(Some(&cursor), false, &mut |_| Ok(()));
    let Ok(Changes::TooOld { next }) = changes else { panic!("{changes:?}") };
    cursor = next;
    let task = world.task("After all");
    world.later(900);
    assert_eq!(poll(&world.asana, &mut cursor, false).1, [format!("asana:{task}")]);
}

#[test]
fn what_people_do_in_github_is_told_by_the_next_poll() {
    let world = world();
    let people = world.sandbox.github();
    let keys: Vec<ItemKey> = (0..3).map(|number| world.issue(&format!("Issue {number}"))).collect();
    world.later(3_600);
    let mut cursor = begin(&world.github);
    poll(&world.github, &mut cursor, false);
    people.retitle(&world.repo, 2, "Renamed");
    people.pull_request(&world.repo, "A pull request", "Fixes #1");
    people.close(&world.repo, 3, Reason::NotPlanned);
    world.later(60);
    let (mut titles, _) = poll(&world.github, &mut cursor, false);
    titles.sort();
    assert_eq!(titles, ["Issue 2", "Renamed"]);
    assert_eq!(here(&world.github, &keys[2]).content.status, Status::Dropped);
    world.later(60);
    assert_eq!(requests(&world.github, || assert!(poll(&world.github, &mut cursor, false).0.is_empty())), (1, 1));
}

#[test]
fn a_burst_in_github_is_read_over_all_pages_and_idleness_is_cheap_again_soon() {
    let world = world();
    let mut cursor = begin(&world.github);
    for number in 0..250 {
        world.issue(&format!("Issue {number}"));
    }
    world.later(30);
    assert_eq!(poll(&world.github, &mut cursor, false).0.len(), 250);
    // While copies may lag the watermark waits; then it moves, and the address stays.
    for _ in 0..8 {
        world.later(60);
        poll(&world.github, &mut cursor, false);
    }
    world.later(60);
    assert_eq!(requests(&world.github, || drop(poll(&world.github, &mut cursor, false))), (1, 1));
    world.issue("One more");
    world.later(60);
    assert!(poll(&world.github, &mut cursor, false).0.contains(&"One more".to_owned()));
}

#[test]
fn a_listing_from_a_copy_that_lags_loses_nothing() {
    let world = world();
    world.later(3_600);
    let mut cursor = begin(&world.github);
    poll(&world.github, &mut cursor, false);
    world.sandbox.github().habits(|habits| habits.lag = Duration::from_secs(120));
    world.issue("Seen late");
    for _ in 0..2 {
        world.later(30);
        assert!(poll(&world.github, &mut cursor, false).0.is_empty());
    }
    // Many more appear, so that the watermark would move if it were not for the lag.
    world.sandbox.github().habits(|habits| habits.lag = Duration::ZERO);
    for number in 0..60 {
        world.issue(&format!("Issue {number}"));
    }
    world.sandbox.github().habits(|habits| habits.lag = Duration::from_secs(120));
    world.later(10);
    poll(&world.github, &mut cursor, false);
    world.later(120);
    assert!(poll(&world.github, &mut cursor, false).0.contains(&"Seen late".to_owned()));
}

#[test]
fn what_a_direct_read_of_an_issue_finds_is_told_apart() {
    let world = world();
    let people = world.sandbox.github();
    let keys: Vec<ItemKey> = (0..4).map(|number| world.issue(&format!("Issue {number}"))).collect();
    let other: RepoName = "acme/other".parse().expect("a name");
    people.repository(&other);
    people.permit(&other, &people.bot(), Permission::Write);
    people.delete(&world.repo, 1);
    let there = people.transfer(&world.repo, 2, &other);
    let pull = people.pull_request(&world.repo, "A pull request", "");
    assert_eq!(world.github.item(&keys[0]), Ok(Found::Gone));
    let moved = ItemKey::Issue(IssueRef { repo: other, number: there });
    assert_eq!(world.github.item(&keys[1]), Ok(Found::Moved(moved)));
    assert_eq!(world.github.item(&world.key(pull)), Ok(Found::NotAnItem));
    assert!(matches!(world.github.item(&world.key(999)), Ok(Found::Unseen(_))));
    people.enable_issues(&world.repo, false);
    assert!(matches!(world.github.item(&keys[2]), Err(ProviderError::Denied { .. })));
    assert!(matches!(world.github.sweep(&mut |_| Ok(())), Err(ProviderError::Denied { .. })));
    people.revoke(&world.tokens.forge);
    assert!(matches!(world.github.item(&keys[3]), Err(ProviderError::Denied { .. })));
}

#[test]
fn a_renamed_repository_goes_on_under_its_new_name() {
    let world = world();
    let key = world.issue("Issue");
    world.later(3_600);
    let mut cursor = begin(&world.github);
    poll(&world.github, &mut cursor, false);
    world.sandbox.github().rename_repository(&world.repo, "renamed");
    assert_eq!(here(&world.github, &key).key.to_string(), "github:acme/renamed#1");
    poll(&world.github, &mut cursor, false);
    world.later(60);
    assert_eq!(requests(&world.github, || drop(poll(&world.github, &mut cursor, false))).0, 1);
    let made = world.github.create(&draft(Side::Forge, "Made after it")).expect("an issue");
    assert_eq!(made.key.to_string(), "github:acme/renamed#2");
    let current = here(&world.github, &key);
    let change = Change { status: Some(Status::Done), ..Change::default() };
    assert_eq!(world.github.update(&current, &change).map(|item| item.content.status), Ok(Status::Done));
    world.github.comment(&key, "hello").expect("a comment");
    assert_eq!(world.github.has_comment(&key, "hello"), Ok(true));
}

#[test]
fn what_is_written_reads_back_on_both_sides() {
    let world = world();
    let clients: [(&dyn Write, Side); 2] = [(&world.asana, Side::Tracker), (&world.github, Side::Forge)];
    for (client, side) in clients {
        let began = world.clock.now();
        let mut draft = draft(side, "Made by us");
        draft.content.labels = ["one".to_owned(), "two".to_owned()].into();
        draft.content.status = Status::Done;
        let made = client.create(&draft).expect("made");
        assert_eq!(made.marker.as_ref(), Some(&draft.marker));
        assert_eq!(made, here(client, &made.key), "{side}");
        let (mut found, mut wanted) = (made.content.clone(), draft.content.clone());
        // Words are the text module's business.
        (found.body, wanted.body) = Default::default();
        assert_eq!(found, wanted, "{side}");

        let marked = client.marked_since(began).expect("a list").items;
        assert_eq!(marked, std::slice::from_ref(&made), "{side}");
        assert_eq!(client.marked_since(Timestamp::MAX).expect("a list").items, []);

        let change = Change {
            title: Some("Renamed".into()),
            status: Some(Status::Open),
            labels: Some(["two".to_owned(), "three".to_owned()].into()),
            text: Some(("Other words".into(), made.footer.clone())),
            ..Change::default()
        };
        let changed = client.update(&made, &change).expect("changed");
        assert_eq!(changed, here(client, &made.key), "{side}");
        assert_eq!((changed.content.title.as_str(), changed.content.status), ("Renamed", Status::Open));
        assert_eq!(Some(changed.content.labels), change.labels);
        assert_eq!(changed.marker, made.marker);

        assert_eq!(client.has_comment(&made.key, "We were here"), Ok(false));
        client.comment(&made.key, "We were here").expect("a comment");
        assert_eq!(client.has_comment(&made.key, "We were here"), Ok(true));
        assert!(
            client.check(world.clock.now()).iter().all(|finding| finding.good),
            "{:?}",
            client.check(world.clock.now())
        );
    }
}

#[test]
fn a_tag_is_made_once_however_many_tasks_carry_it() {
    let world = world();
    let mut draft = draft(Side::Tracker, "Tagged");
    draft.content.labels = ["Fresh".to_owned()].into();
    let first = world.asana.create(&draft).expect("a task");
    draft.content.labels = ["fresh".to_owned()].into();
    let second = world.asana.create(&draft).expect("a task");
    assert_eq!(first.native, second.native);
}

#[test]
fn people_are_known_by_their_accounts_and_the_others_are_unknown() {
    let world = world();
    let people = world.sandbox.github();
    people.permit(&world.repo, &people.person(), Permission::Write);
    people.permit(&world.repo, "stranger", Permission::Write);
    let key = world.issue("Assigned");
    people.assign(&world.repo, 1, &[people.person().as_str(), "stranger"]);
    let item = here(&world.github, &key);
    assert_eq!(
        (item.content.assignees.known.as_slice(), item.content.assignees.unknown.as_slice()),
        (["ada".to_owned()].as_slice(), ["stranger".to_owned()].as_slice())
    );
    let task = world.task("Assigned");
    world.sandbox.asana().assign(&task, Some(&world.sandbox.asana().person()));
    let item = here(&world.asana, &ItemKey::Task(task));
    assert_eq!(item.content.assignees.unknown, [world.sandbox.asana().person()]);
}

#[test]
fn a_create_whose_answer_is_lost_may_be_done_and_is_found_by_its_marker() {
    let world = world();
    // The repository's id is asked for before the first write.
    world.issue("Something");
    sweep(&world.github);
    let clients: [(&dyn Write, Side); 2] = [(&world.asana, Side::Tracker), (&world.github, Side::Forge)];
    for (client, side) in clients {
        for (fault, done) in [(Fault::CutAfter, true), (Fault::CutBefore, false)] {
            let before = sweep(client).len();
            let began = world.clock.now();
            world.sandbox.faults().next(1, When::side(side).writes(), fault);
            let error = client.create(&draft(side, "Lost")).expect_err("cut");
            assert!(error.maybe_done(), "{side}: {error:?}");
            assert_eq!(client.marked_since(began).map(|found| found.items.len() >= usize::from(done)), Ok(true));
            assert_eq!(sweep(client).len(), before + usize::from(done), "{side}");
        }
    }
}

#[test]
fn faults_of_a_listing_are_sorted_and_never_deliver_half_truths_as_whole() {
    let world = world();
    for number in 0..3 {
        world.task(&format!("Task {number}"));
        world.issue(&format!("Issue {number}"));
    }
    let clients: [(&dyn Write, Side); 2] = [(&world.asana, Side::Tracker), (&world.github, Side::Forge)];
    for (client, side) in clients {
        sweep(client);
        let faults = [
            (Fault::Html, "Garbled"),
            (Fault::Garbage, "Garbled"),
            (Fault::Deep(5_000), "Garbled"),
            (Fault::PageLoop(Loop::Same), "Garbled"),
            (Fault::Unauthorized, "Denied"),
            (Fault::Broken { status: 503, done: false }, "Unreachable"),
            (Fault::CutAfter, "Unreachable"),
        ];
        for (fault, wanted) in faults {
            let shown = format!("{side} {fault:?}");
            world.sandbox.faults().chance(1.0, When::side(side), fault);
            let error = client.sweep(&mut |_| Ok(())).expect_err(&shown);
            assert!(format!("{error:?}").starts_with(wanted), "{shown}: {error:?}");
            world.sandbox.faults().clear();
            assert_eq!(sweep(client).len(), 3, "{shown}");
        }
        // Once is nothing: a read is tried again.
        for fault in [Fault::CutBefore, Fault::CutAfter, Fault::Broken { status: 500, done: false }] {
            world.sandbox.faults().next(2, When::side(side), fault);
            assert_eq!(sweep(client).len(), 3);
        }
        let limited = Fault::Busy { limit: Limit::Secondary, status: 403, retry_after: Some(30) };
        world.sandbox.faults().next(1, When::side(side), limited);
        let before = world.clock.now();
        assert_eq!(sweep(client).len(), 3);
        assert!(world.clock.now() >= before + Duration::from_secs(30));
    }
}

#[test]
fn an_import_runs_within_githubs_limits_and_is_never_told_off() {
    let world = world();
    let began = world.clock.now();
    for number in 0..300 {
        let made = world.github.create(&draft(Side::Forge, &format!("Issue {number}")));
        assert!(made.is_ok(), "{number}: {made:?}");
    }
    let took = evenkeel::clock::since(began, world.clock.now());
    // 72 a minute, a tenth of the 80 kept for what somebody waits for: the 300th leaves in the fifth minute.
    assert!((240..=260).contains(&took.as_secs()), "{took:?}");
    let counts = world.sandbox.log().counts().forge;
    assert_eq!((counts.created, counts.requests), (300, 301));
}
