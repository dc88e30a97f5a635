//! Six faults that whatever keeps two services in step trips over, against the real binary.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

mod outside;
mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::model::{IssueNumber, Side, TaskGid, Timestamp};
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{
    Fate, Fault, IssueSeed, IssueView, Mishap, Moment, Outcome, Reason, TaskSeed, TaskView, Watched, When,
};
use evenkeel::text::split_forge;

use outside::service::Service;
use outside::{Outside, Settings};

/// What the footer of an issue begins with.
const FOOTER: &str = "\n\n<!-- evenkeel -->";

/// A task and its issue, brought in step by the service, which is at work.
struct Pair {
    world: Outside,
    service: Service,
    task: TaskGid,
    issue: IssueNumber,
}

impl Pair {
    fn new(settings: &Settings) -> Self {
        let world = Outside::new(settings);
        let html_notes = "<body>First line.\n\nBetween.\n\nSecond line.</body>".to_owned();
        let seed = TaskSeed { name: "Fix the login".to_owned(), html_notes, ..TaskSeed::default() };
        let task = world.sandbox.asana().task(&world.project.gid, seed);
        let service = world.service(0);
        world.calms_down();
        let issue = world.sandbox.world().issues(&world.repo.name)[0].number;
        Self { world, service, task, issue }
    }

    fn task(&self) -> TaskView {
        self.world.sandbox.world().task(&self.task).expect("a task")
    }

    fn issue(&self) -> IssueView {
        self.world.sandbox.world().issue(&self.world.repo.name, self.issue).expect("an issue")
    }

    /// The issue's text without the footer.
    fn body(&self) -> String {
        split_forge(&self.issue().body).body
    }

    /// Somebody rewrites the issue's text in the web editor, above the footer.
    fn rewrite(&self, body: &str) {
        let raw = self.issue().body;
        let (_, footer) = raw.split_once(FOOTER).unwrap_or_else(|| panic!("{raw}"));
        let github = self.world.sandbox.github();
        github.web_edit_body(&self.world.repo.name, self.issue, &format!("{body}{FOOTER}{footer}"));
    }

    fn waits_for_title(&self, title: &str) {
        self.world.wait_for("the title on both sides", || {
            let (task, issue) = (self.task().name, self.issue().title);
            if task == title && issue == title { Ok(()) } else { Err(format!("{task:?}, {issue:?}")) }
        });
    }

    /// Requests of one kind about one item that the sandbox saw.
    fn requests(&self, method: Method, path: &str) -> usize {
        let seen = self.world.sandbox.log().requests();
        seen.iter().filter(|seen| seen.method == method && seen.path.split('?').next() == Some(path)).count()
    }

    fn history(&self) -> String {
        self.world.json(&["history", "show", "--limit", "10000"]).to_string()
    }

    /// Both in step, nothing left to do, nothing planned.
    fn ends_well(self) {
        self.world.calms_down();
        self.service.stop();
        self.world.holds();
    }
}

#[test]
fn a_hand_edit_on_the_receiving_side_is_merged_or_put_back_with_its_words_in_the_history() {
    let route = "create = \"both\"\n[route.fields]\ntitle = \"tracker\"\n";
    let pair = Pair::new(&Settings { route, ..Settings::default() });
    // The text is everybody's: what is written by hand on the issue comes to the task.
    pair.rewrite("First line.\n\nBetween.\n\nSecond line, as Bob saw it.");
    pair.world.wait("the edit made by hand", || pair.task().notes.contains("as Bob saw it"));
    // The title is the task's: what is written by hand on the issue is put back.
    pair.world.sandbox.github().retitle(&pair.world.repo.name, pair.issue, "A title by hand");
    pair.waits_for_title("Fix the login");
    assert!(pair.history().contains("A title by hand"));
    // And the task's next edit does not undo what was merged.
    pair.world.sandbox.asana().rename(&pair.task, "Mend the login");
    pair.waits_for_title("Mend the login");
    assert!(pair.body().contains("as Bob saw it"), "{}", pair.body());
    pair.ends_well();
}

#[test]
fn a_deleted_partner_is_retired_and_not_made_again() {
    let pair = Pair::new(&Settings::default());
    let Pair { world, .. } = &pair;
    let other = world.sandbox.github().issue(&world.repo.name, IssueSeed::new("Write the handbook", "All of it."));
    world.calms_down();
    let tasks = world.sandbox.world().tasks(&world.project.gid);
    let others = tasks.iter().find(|task| task.name == "Write the handbook").expect("its task").gid.clone();

    world.sandbox.asana().delete(&pair.task);
    world.wait("the issue of a deleted task is closed", || pair.issue().closed);
    assert_eq!(pair.issue().reason, Some(Reason::NotPlanned));
    world.sandbox.github().delete(&world.repo.name, other);
    world.wait("the task of a deleted issue is completed", || {
        world.sandbox.world().task(&others).is_some_and(|task| task.completed)
    });

    // A look at everything makes nothing anew.
    world.wait_for("rest", || world.settled());
    pair.service.stop();
    let created = world.sandbox.log().counts();
    world.plans_nothing();
    let after = world.sandbox.log().counts();
    assert_eq!((after.tracker.created, after.forge.created), (created.tracker.created, created.forge.created));
    assert_eq!(world.sandbox.world().issues(&world.repo.name).len(), 1);
    assert_eq!(world.sandbox.world().tasks(&world.project.gid).len(), 1);

    // And what comes back is the old pair again.
    let service = world.service(0);
    world.sandbox.asana().restore(&pair.task);
    world.wait("the issue of a restored task is opened", || {
        !world.sandbox.world().issue(&world.repo.name, pair.issue).expect("an issue").closed
    });
    service.stop();
    world.plans_nothing();
    assert_eq!(world.sandbox.world().issues(&world.repo.name).len(), 1);
}

#[test]
fn a_lost_webhook_is_made_up_for_by_the_next_poll() {
    let pair = Pair::new(&Settings { poll: "*/2 * * * * *", ..Settings::default() });
    let Pair { world, .. } = &pair;
    let hooked = |side: Side| {
        let first = if side == Side::Tracker { "heartbeat" } else { "ping" };
        let sent = world.sandbox.webhooks().sent();
        sent.iter().any(|sent| sent.side == side && sent.event == first && sent.outcome == Outcome::Answered(200))
    };
    world.wait("both hooks", || Side::BOTH.into_iter().all(hooked));
    for side in Side::BOTH {
        world.sandbox.deliveries().chance(1.0, side, Mishap::Lost);
    }
    // What was on its way has arrived by now.
    std::thread::sleep(Duration::from_secs(1));
    let since = Timestamp::now();
    world.sandbox.asana().rename(&pair.task, "Told by nobody");
    pair.waits_for_title("Told by nobody");
    world.sandbox.github().close(&world.repo.name, pair.issue, Reason::Completed);
    world.wait("the closing that nobody told", || pair.task().completed);
    world.sandbox.asana().task(&world.project.gid, TaskSeed::named("Made while nobody tells"));
    world.wait("the new one's partner", || world.sandbox.world().issues(&world.repo.name).len() == 2);
    let sent = world.sandbox.webhooks().sent();
    let came = sent.iter().find(|sent| sent.at >= since && sent.event != "heartbeat" && sent.outcome != Outcome::Lost);
    assert!(came.is_none(), "a delivery came through: {came:?}");
    // It is counted, so that a hook that loses what it should tell is noticed. Of what was told a moment ago it cannot be
    // known whether that told of the edit as well; of the new one nothing was ever told.
    world
        .wait("the count of what was not told", || world.json(&["status"])["routes"][0]["unheard"].as_u64() >= Some(1));
    pair.ends_well();
}

#[test]
fn a_write_that_failed_is_made_again_and_one_that_only_seemed_to_fail_is_not() {
    let pair = Pair::new(&Settings::default());
    let Pair { world, .. } = &pair;
    let path = format!("/repos/acme/app/issues/{}", pair.issue);
    let writes = || When::side(Side::Forge).method(Method::Patch).path(&path);

    // Three times it is refused before it does anything.
    let before = pair.requests(Method::Patch, &path);
    world.sandbox.faults().next(3, writes(), Fault::Broken { status: 502, done: false });
    world.sandbox.asana().rename(&pair.task, "Fails thrice");
    pair.waits_for_title("Fails thrice");
    assert_eq!(pair.requests(Method::Patch, &path), before + 4);
    world.calms_down();

    // Once it is done and the answer says that it failed: it is read again, not written again.
    let before = pair.requests(Method::Patch, &path);
    world.sandbox.faults().next(1, writes(), Fault::Broken { status: 500, done: true });
    world.sandbox.asana().rename(&pair.task, "Seems to fail");
    pair.waits_for_title("Seems to fail");
    world.calms_down();
    assert_eq!(pair.requests(Method::Patch, &path), before + 1);

    // And the same where the connection is cut instead, on the other side.
    let path = format!("/tasks/{}", pair.task);
    let before = pair.requests(Method::Put, &path);
    world.sandbox.faults().next(1, When::side(Side::Tracker).method(Method::Put).path(&path), Fault::CutAfter);
    world.sandbox.github().retitle(&world.repo.name, pair.issue, "Cut off");
    pair.waits_for_title("Cut off");
    world.calms_down();
    assert_eq!(pair.requests(Method::Put, &path), before + 1);
    pair.ends_well();
}

#[test]
fn a_crash_between_create_and_store_makes_no_second_partner() {
    let world = Outside::new(&Settings::default());
    world.sandbox.asana().task(&world.project.gid, TaskSeed::named("Fix the login"));
    world.sandbox.github().issue(&world.repo.name, IssueSeed::new("Write the handbook", "All of it."));
    // Each creation is the end of the process that made it: the item is there, and nothing of it is stored.
    let present: Arc<Mutex<Option<Service>>> = Arc::default();
    let killer = present.clone();
    world.sandbox.watch(move |moment, request| {
        let Watched { side, method, path, .. } = request;
        let path = path.split('?').next().unwrap_or_default();
        let creates = match side {
            Side::Tracker => path == "/tasks",
            Side::Forge => path == "/repos/acme/app/issues",
        };
        if method == Method::Post && creates && moment == Moment::Done {
            killer.lock().expect("the lock").take().expect("a process made it").kill();
            return Fate::Cut;
        }
        Fate::GoesOn
    });
    for side in ["one side", "the other side"] {
        *present.lock().expect("the lock") = Some(world.service(0));
        world.wait(side, || present.lock().expect("the lock").is_none());
    }
    let service = world.service(0);
    world.calms_down();
    service.stop();
    let counts = world.sandbox.log().writes(Side::Forge);
    assert_eq!(counts.get("/repos/acme/app/issues"), Some(&1), "{counts:?}");
    let counts = world.sandbox.log().writes(Side::Tracker);
    assert_eq!(counts.get("/tasks"), Some(&1), "{counts:?}");
    assert_eq!(world.sandbox.world().issues(&world.repo.name).len(), 2);
    assert_eq!(world.sandbox.world().tasks(&world.project.gid).len(), 2);
    world.holds();
}

#[test]
fn both_sides_edited_at_once_settle_and_lose_nothing() {
    let mut pair = Pair::new(&Settings::default());
    let away = |pair: &mut Pair, edits: &dyn Fn(&Pair)| {
        // Nobody looks while both are edited.
        pair.service.stop();
        edits(pair);
        pair.service = pair.world.service(0);
    };

    // Different fields, and different lines of one text: all of it stands on both sides.
    away(&mut pair, &|pair| {
        pair.world.sandbox.asana().rename(&pair.task, "Mend the login");
        pair.rewrite("First line.\n\nBetween.\n\nSecond line, by Bob.");
        let html = pair.task().html_notes.replacen("First line.", "First line, by Ann.", 1);
        pair.world.sandbox.asana().write_notes(&pair.task, &html);
        pair.world.sandbox.github().close(&pair.world.repo.name, pair.issue, Reason::Completed);
    });
    pair.waits_for_title("Mend the login");
    pair.world.calms_down();
    assert!(pair.task().completed);
    for text in [pair.task().notes, pair.body()] {
        assert!(text.contains("First line, by Ann.") && text.contains("Second line, by Bob."), "{text}");
    }

    // The same field: the later edit stands, the other is in the history.
    away(&mut pair, &|pair| {
        pair.world.sandbox.asana().rename(&pair.task, "Ann's title");
        std::thread::sleep(Duration::from_millis(1_100));
        pair.world.sandbox.github().retitle(&pair.world.repo.name, pair.issue, "Bob's title");
    });
    pair.waits_for_title("Bob's title");
    assert!(pair.history().contains("Ann's title"));

    // The same line: nobody's is overwritten, somebody is asked, and the rest goes on meanwhile.
    away(&mut pair, &|pair| {
        pair.rewrite("First line, as Bob has it.\n\nBetween.\n\nSecond line, by Bob.");
        let html = pair.task().html_notes.replacen("First line, by Ann.", "First line, as Ann has it.", 1);
        pair.world.sandbox.asana().write_notes(&pair.task, &html);
    });
    pair.world.wait("the question", || {
        let listed = pair.world.json(&["links", "list", "--waiting"]);
        listed["links"].as_array().is_some_and(|links| links.len() == 1)
    });
    pair.world.sandbox.asana().rename(&pair.task, "A title meanwhile");
    pair.waits_for_title("A title meanwhile");
    assert!(pair.task().notes.contains("as Ann has it") && pair.body().contains("as Bob has it"));
    let why = pair.world.run(&["why", &format!("asana:{}", pair.task)]);
    let why = String::from_utf8_lossy(&why.stdout).into_owned();
    assert!(why.contains("as Ann has it") && why.contains("as Bob has it"), "{why}");
    // Once they agree, the question is settled.
    let html = pair.task().html_notes.replacen("First line, as Ann has it.", "First line, as Bob has it.", 1);
    pair.world.sandbox.asana().write_notes(&pair.task, &html);
    pair.world.wait("no question", || {
        pair.world.json(&["links", "list", "--waiting"])["links"].as_array().is_some_and(Vec::is_empty)
    });
    pair.ends_well();
}
