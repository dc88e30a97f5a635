//! A database of yesterday, one that lost its last moments, and none at all: what was made since is found by the
//! markers on both sides.

use std::fs;
use std::path::Path;

use evenkeel::config::DatabaseUrl;
use evenkeel::engine::Wake;
use evenkeel::model::{IssueNumber, TaskGid};
use evenkeel::provider::http::Method;
use evenkeel::sandbox::{IssueSeed, TaskSeed};
use evenkeel::store::Store;

use crate::outside::{Outside, Settings};
use crate::support::Database;
use crate::support::rig::Rig;
use crate::{between, on_both, support};

/// Puts a copy of the database aside. The service is not running.
fn keep(world: &Outside) {
    match &world.database {
        DatabaseUrl::Sqlite(path) => {
            fs::copy(path, path.with_extension("copy")).expect("a copy");
        }
        DatabaseUrl::Postgres(server) => sql(world, &format!("CREATE DATABASE {0}_copy TEMPLATE {0}", server.database)),
    }
}

/// Puts the copy in its place.
fn restore(world: &Outside) {
    lose(world);
    match &world.database {
        DatabaseUrl::Sqlite(path) => {
            fs::copy(path.with_extension("copy"), path).expect("a copy");
        }
        DatabaseUrl::Postgres(server) => {
            sql(world, &format!("DROP DATABASE {}", server.database));
            sql(world, &format!("CREATE DATABASE {0} TEMPLATE {0}_copy", server.database));
        }
    }
}

/// Nothing is left of it; of PostgreSQL's, an empty one.
fn lose(world: &Outside) {
    match &world.database {
        DatabaseUrl::Sqlite(path) => {
            for ending in ["", "-wal", "-shm"] {
                let mut file = path.clone().into_os_string();
                file.push(ending);
                let _ = fs::remove_file(Path::new(&file));
            }
        }
        DatabaseUrl::Postgres(server) => {
            sql(world, &format!("DROP DATABASE {}", server.database));
            sql(world, &format!("CREATE DATABASE {}", server.database));
        }
    }
}

fn sql(world: &Outside, text: &str) {
    let DatabaseUrl::Postgres(server) = &world.database else { panic!("no PostgreSQL") };
    let mut administration = server.clone();
    administration.database = "postgres".to_owned();
    support::postgres::execute(&DatabaseUrl::Postgres(administration), text);
}

/// A world in which both sides went on since a copy was made, first with the service and then without it.
struct Moved {
    world: Outside,
    old: TaskGid,
    new: TaskGid,
    new_issue: IssueNumber,
}

fn moved_on(database: &Database) -> Moved {
    let database = matches!(database.url, DatabaseUrl::Postgres(_)).then(|| database.url.clone());
    let world = Outside::new(&Settings { database, ..Settings::default() });
    let (asana, github) = (world.sandbox.asana(), world.sandbox.github());
    let task = |name: &str| asana.task(&world.project.gid, TaskSeed::named(name));
    for number in 0..5 {
        task(&format!("Old task {number}"));
        github.issue(&world.repo.name, IssueSeed::new(format!("Old issue {number}"), "Words."));
    }
    let old = task("An old one");
    let service = world.service(0);
    world.calms_down();
    service.stop();
    keep(&world);

    let service = world.service(0);
    for number in 0..5 {
        task(&format!("New task {number}"));
        github.issue(&world.repo.name, IssueSeed::new(format!("New issue {number}"), "Words."));
    }
    let new = task("A new one");
    asana.rename(&old, "An old one, edited");
    world.calms_down();
    service.stop();
    let issues = world.sandbox.world().issues(&world.repo.name);
    let new_issue = issues.iter().find(|issue| issue.title == "A new one").expect("its issue").number;
    // Nobody looks any more.
    asana.rename(&old, "An old one, edited twice");
    task("Since then");
    Moved { world, old, new, new_issue }
}

/// Starts over with the database as it is now, and finds everything again.
fn finds_itself(moved: Moved) {
    let Moved { world, old, new, new_issue } = moved;
    let service = world.service(0);
    world.calms_down();
    assert_eq!(world.sandbox.world().task(&old).expect("a task").name, "An old one, edited twice");
    // It is at work as before.
    world.sandbox.asana().rename(&new, "A new one, edited");
    let title = || world.sandbox.world().issue(&world.repo.name, new_issue).expect("an issue").title;
    world.wait("an edit of a pair found again", || title() == "A new one, edited");
    world.calms_down();
    service.stop();
    world.holds();
    // As many creations as there are pairs that people did not make both halves of.
    let made = |side, path: &str| world.sandbox.log().writes(side).get(path).copied().unwrap_or_default();
    let (issues, tasks) =
        (made(evenkeel::model::Side::Forge, "/repos/acme/app/issues"), made(evenkeel::model::Side::Tracker, "/tasks"));
    assert_eq!((issues, tasks), (13, 10), "each partner is made once");
}

on_both! {
    fn a_database_of_yesterday_finds_what_was_made_since(database: &Database) {
        let moved = moved_on(database);
        restore(&moved.world);
        finds_itself(moved);
    }

    fn a_lost_database_is_built_again_from_the_markers(database: &Database) {
        let moved = moved_on(database);
        lose(&moved.world);
        // What drifted meanwhile cannot be told from a conflict without the base: a person edits it into step.
        let issues = moved.world.sandbox.world().issues(&moved.world.repo.name);
        let issue = issues.iter().find(|issue| issue.title == "An old one, edited").expect("its issue").number;
        moved.world.sandbox.github().retitle(&moved.world.repo.name, issue, "An old one, edited twice");
        finds_itself(moved);
    }
}

/// A server that is switched over to a copy of it, or one that says "committed" too early, forgets its last moments.
#[test]
fn a_database_that_lost_its_last_moments_makes_no_second_comment() {
    let mut rig = Rig::new();
    rig.task("Fix the login", "Words.");
    let copy = rig.folder.as_ref().expect("a folder").path().join("copy");
    fs::create_dir(&copy).expect("a folder");
    // Kept when the issue is made and nothing is stored of it yet.
    let between = between::Between::over(rig.sandbox.transport());
    rig.transport = between.clone();
    let (database, target) = (rig.database(), copy.clone());
    let mut moments = 0;
    between.acts(move |_, request| {
        if request.method == Method::Post && request.url.ends_with("/issues") {
            moments += 1;
            if moments == 2 {
                for name in ["evenkeel.db", "evenkeel.db-wal"] {
                    fs::copy(database.with_file_name(name), target.join(name)).expect("a copy");
                }
            }
        }
    });
    rig.pass(&Wake::Poll { belt: false }).expect("a pass");
    between.rests();
    rig.store = Store::open(&DatabaseUrl::Sqlite(copy.join("evenkeel.db"))).expect("a database");
    rig.settles("the last moments are lost");
    let task = &rig.sandbox.world().tasks(&rig.project.gid)[0];
    assert_eq!(task.comments.len(), 1, "{:#?}", task.comments);
    assert_eq!(rig.sandbox.world().issues(&rig.repo.name).len(), 1);
}
