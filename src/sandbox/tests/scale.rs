//! Populations that are computed, not stored.

use super::*;
use Method::{Get, Patch, Put};

/// Follows a listing to its end; answers the field of every item.
fn walked(scene: &Scene, side: Side, first: &str, key: &str) -> Vec<String> {
    let (mut all, mut next) = (Vec::new(), Some(first.to_owned()));
    while let Some(path) = next {
        let got = if side == Side::Tracker { scene.asana(Get, &path, "") } else { scene.github(Get, &path, "") };
        assert_eq!(got.status, 200, "{got:?}");
        all.extend(got.names(key));
        next = got.link("next").or_else(|| got.json["next_page"]["path"].as_str().map(str::to_owned));
    }
    all
}

fn pairs(scene: &Scene, count: u64) -> Population {
    let body: IssueBody =
        Arc::new(|item| format!("{}\n\nfor {}", item.title, item.task.as_ref().map_or("nobody", |gid| gid.as_str())));
    scene.sandbox.populate_pairs(&scene.project.gid, &scene.repo.name, count, body)
}

#[test]
fn pairs_show_the_same_on_both_sides() {
    let scene = Scene::new();
    let population = pairs(&scene, 250);
    let tasks = walked(
        &scene,
        Side::Tracker,
        &format!("/tasks?project={}&limit=100&opt_fields=name", scene.project.gid),
        "name",
    );
    let issues = walked(&scene, Side::Forge, "/repos/acme/app/issues?state=all&direction=asc&per_page=100", "title");
    assert_eq!(tasks.len(), 250);
    assert_eq!(tasks, issues);
    let item = population.item(17);
    assert_eq!(item.title, tasks[17]);
    let (gid, number) = (item.task.expect("a task"), item.issue.expect("an issue"));
    assert!(scene.sandbox.world().issue(&scene.repo.name, number).expect("it").body.ends_with(gid.as_str()));
    let task = scene.sandbox.world().task(&gid).expect("it");
    assert_eq!((task.html_notes, task.completed), (item.html_notes, item.done));
}

#[test]
fn a_touched_item_stays_in_its_place_and_moves_by_its_stamp() {
    let scene = Scene::new();
    let population = pairs(&scene, 30);
    let item = population.item(7);
    let (gid, number) = (item.task.expect("a task"), item.issue.expect("an issue"));
    scene.asana(Put, &format!("/tasks/{gid}"), r#"{"data":{"name":"Touched"}}"#);
    scene.github(Patch, &format!("/repos/acme/app/issues/{number}"), r#"{"title":"Touched"}"#);
    let list = format!("/tasks?project={}&limit=10", scene.project.gid);
    assert_eq!(walked(&scene, Side::Tracker, &list, "name")[7], "Touched");
    let by = |sort: &str| format!("/repos/acme/app/issues?state=all&direction=asc&per_page=10&sort={sort}");
    let created = walked(&scene, Side::Forge, &by("created"), "title");
    assert_eq!((created.len(), created[7].as_str()), (30, "Touched"));
    let updated = walked(&scene, Side::Forge, &by("updated"), "title");
    assert_eq!((updated.len(), updated[29].as_str()), (30, "Touched"));
    let mut reversed = walked(&scene, Side::Forge, &by("updated").replace("asc", "desc"), "title");
    reversed.reverse();
    assert_eq!(reversed, updated);
    let now = scene.clock.now();
    assert_eq!(walked(&scene, Side::Tracker, &format!("{list}&modified_since={now}"), "name"), ["Touched"]);
    assert_eq!(walked(&scene, Side::Forge, &format!("{}&since={now}", by("updated")), "title"), ["Touched"]);
    scene.sandbox.asana().move_to(&gid, &scene.project.gid, "Doing");
    assert_eq!(walked(&scene, Side::Tracker, &list, "name")[29], "Touched", "its place is given up");
    scene.sandbox.asana().delete(&gid);
    scene.sandbox.github().delete(&scene.repo.name, number);
    assert_eq!(walked(&scene, Side::Tracker, &list, "name").len(), 29);
    assert_eq!(walked(&scene, Side::Forge, &by("created"), "title").len(), 29);
}

#[test]
fn since_finds_its_place_in_a_population() {
    let scene = Scene::new();
    let population = pairs(&scene, 50);
    let at = jiff::Timestamp::from_millisecond(population.at(40)).expect("an instant");
    let list = format!("/tasks?project={}&limit=3&modified_since={at}", scene.project.gid);
    let expected: Vec<String> = (40..50).map(|index| population.item(index).title).collect();
    assert_eq!(walked(&scene, Side::Tracker, &list, "name"), expected);
    for sort in ["updated", "created"] {
        let list = format!("/repos/acme/app/issues?state=all&direction=asc&per_page=3&sort={sort}&since={at}");
        assert_eq!(walked(&scene, Side::Forge, &list, "title"), expected, "{sort}");
    }
}

#[test]
fn new_items_come_after_the_computed_ones() {
    let scene = Scene::new();
    pairs(&scene, 5);
    scene.task("New");
    let number = scene.issue("New");
    assert_eq!(number, 6);
    let tasks = walked(&scene, Side::Tracker, &format!("/tasks?project={}&limit=2", scene.project.gid), "name");
    let issues = walked(&scene, Side::Forge, "/repos/acme/app/issues?state=all&direction=asc&per_page=2", "title");
    assert_eq!((tasks.len(), tasks[5].as_str()), (6, "New"));
    assert_eq!(tasks, issues);
    let open = scene.github(Get, "/repos/acme/app", "").json["open_issues_count"].as_u64();
    let listed = walked(&scene, Side::Forge, "/repos/acme/app/issues?per_page=2", "title").len();
    assert_eq!(open, Some(listed as u64));
}
