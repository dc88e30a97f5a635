//! The client against scripted answers: what it asks, and what it makes of what comes back.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::feed::EVENT_PAGES_MAX;
use super::*;
use crate::clock::{Clock as _, VirtualClock};
use crate::model::{BySide, Content, FieldPolicy, Marker, People, Person};
use crate::provider::Halt;
use crate::provider::http::{Request, TransportError};
use crate::provider::testing::{Script, connection, ok, path, status, with};

fn client(script: &Arc<Script>, rules: &Rules) -> (AsanaClient, Arc<VirtualClock>) {
    let (connection, clock) = connection(Side::Tracker, script.clone());
    (AsanaClient::new(connection, "55".parse().expect("a gid"), rules), clock)
}

fn task(gid: u64) -> Value {
    json!({"gid": gid.to_string(), "name": format!("Task {gid}"), "html_notes": "<body></body>", "completed": false,
        "created_at": "2026-11-20T11:00:00.000Z", "modified_at": "2026-11-20T11:30:00.000Z",
        "memberships": [{"project": {"gid": "55"}}], "tags": [], "assignee": null, "due_on": null})
}

fn event(gid: u64) -> Value {
    json!({"action": "changed", "created_at": "2026-11-20T11:58:00.000Z",
        "resource": {"gid": gid.to_string(), "resource_type": "task"}, "parent": null})
}

fn cursor(sync: &str) -> Cursor {
    json!({"project": "55", "sync": sync, "belt_since": "2026-11-20T11:00:00Z"}).to_string()
}

/// Polls and collects what was delivered.
fn poll(client: &AsanaClient, from: &str, belt: bool) -> (Result<Changes, ProviderError>, Vec<String>) {
    let mut keys = Vec::new();
    let changes = client.changes(Some(&from.to_owned()), belt, &mut |items| {
        keys.extend(items.iter().map(|item| item.key.to_string()));
        Ok(())
    });
    (changes, keys)
}

fn item(client: &AsanaClient) -> Result<Found, ProviderError> {
    client.item(&"asana:7".parse().expect("a key"))
}

#[test]
fn only_what_the_rules_need_is_asked_for() {
    let plain = fields(&Rules::default());
    for field in ["due_on", "assignee", "tags", "custom_fields", "section"] {
        assert!(!plain.contains(field), "{plain}");
    }
    let mut rules = Rules::default();
    rules.policy.labels = FieldPolicy::Both;
    rules.policy.due = FieldPolicy::Tracker;
    rules.policy.assignees = FieldPolicy::Both;
    rules.filter.tracker.sections.push("Doing".into());
    rules.filter.tracker.fields.push(("Team".into(), "Web".into()));
    let all = fields(&rules);
    for field in ["due_on", "assignee.gid", "tags.name", "custom_fields.display_value", "memberships.section.name"] {
        assert!(all.contains(field), "{all}");
    }
}

#[test]
fn without_a_cursor_the_fresh_token_is_taken_and_nothing_else() {
    let script = Script::of(vec![with(412, &[], json!({"errors": [], "sync": "fresh"}))]);
    let (client, _) = client(&script, &Rules::default());
    let changes = client.changes(None, false, &mut |_| Err(Halt)).expect("an answer");
    let Changes::TooOld { next } = changes else { panic!("{changes:?}") };
    assert!(next.contains("\"sync\":\"fresh\"") && next.contains("2026-11-20T12:00:00Z"), "{next}");
    assert_eq!(script.asked(), ["GET /api/1.0/events?resource=55"]);
}

#[test]
fn an_idle_poll_is_one_request() {
    let script = Script::of(vec![ok(json!({"data": [], "sync": "b", "has_more": false}))]);
    let (client, _) = client(&script, &Rules::default());
    let (changes, keys) = poll(&client, &cursor("a/1"), false);
    let Ok(Changes::Since { next, touched }) = changes else { panic!("{changes:?}") };
    assert!(keys.is_empty() && touched.is_empty() && next.contains("\"sync\":\"b\""));
    assert_eq!(script.asked(), ["GET /api/1.0/events?resource=55&sync=a%2F1"]);
}

#[test]
fn a_cursor_of_another_project_or_of_no_sense_is_too_old() {
    for bad in [cursor("a").replace("55", "56"), "nonsense".into(), "{}".into(), "null".into()] {
        let script = Script::of(vec![with(412, &[], json!({"sync": "fresh"}))]);
        let (client, _) = client(&script, &Rules::default());
        assert!(matches!(poll(&client, &bad, false).0, Ok(Changes::TooOld { .. })), "{bad}");
    }
}

#[test]
fn a_lost_token_is_answered_with_the_fresh_one_that_came_along() {
    let script = Script::of(vec![
        ok(json!({"data": [event(1)], "sync": "b", "has_more": true})),
        with(
            412,
            &[("date", "Fri, 20 Nov 2026 11:59:00 GMT")],
            json!({"errors": [{"message": "too old"}], "sync": "fresh"}),
        ),
    ]);
    let (client, _) = client(&script, &Rules::default());
    let (changes, _) = poll(&client, &cursor("a"), false);
    let Ok(Changes::TooOld { next }) = changes else { panic!("{changes:?}") };
    assert!(next.contains("fresh") && next.contains("2026-11-20T11:59:00Z"), "{next}");
    assert_eq!(script.asked().len(), 2);
}

#[test]
fn touched_tasks_are_named_once_each_over_all_pages_of_events() {
    let script = Script::of(vec![
        ok(json!({"data": [event(1), event(2), event(1), {"odd": true}], "sync": "b", "has_more": true})),
        ok(json!({"data": [event(2), event(3)], "sync": "c", "has_more": false})),
    ]);
    let (client, _) = client(&script, &Rules::default());
    let (changes, keys) = poll(&client, &cursor("a"), false);
    let Ok(Changes::Since { next, touched }) = changes else { panic!("{changes:?}") };
    assert!(keys.is_empty() && next.contains("\"sync\":\"c\""));
    assert_eq!(touched.iter().map(ToString::to_string).collect::<Vec<_>>(), ["asana:1", "asana:2", "asana:3"]);
}

#[test]
fn many_touched_tasks_come_by_one_listing_and_only_the_rest_is_left_to_be_read() {
    let script = Script::by(|_, request| match path(&request.url) {
        url if url.contains("/events") => {
            ok(json!({"data": (1..=30).map(event).collect::<Vec<_>>(), "sync": "b", "has_more": false}))
        }
        _ => ok(json!({"data": (1..=28).map(task).collect::<Vec<_>>(), "next_page": null})),
    });
    let (client, _) = client(&script, &Rules::default());
    let (changes, keys) = poll(&client, &cursor("a"), false);
    let Ok(Changes::Since { next, touched }) = changes else { panic!("{changes:?}") };
    assert_eq!((keys.len(), touched.len()), (28, 2));
    // From a minute before the oldest event; the belt's own place has not moved.
    assert!(script.asked()[1].contains("&modified_since=2026-11-20T11%3A57%3A00Z&"), "{:?}", script.asked());
    assert!(next.contains("2026-11-20T11:00:00Z"), "{next}");
}

#[test]
fn the_belt_is_one_request_more_and_moves_on_by_asanas_clock() {
    let script = Script::of(vec![
        ok(json!({"data": [event(4)], "sync": "b", "has_more": false})),
        with(200, &[("date", "Fri, 20 Nov 2026 11:59:30 GMT")], json!({"data": [task(4), task(5)], "next_page": null})),
    ]);
    let (client, _) = client(&script, &Rules::default());
    let (changes, keys) = poll(&client, &cursor("a"), true);
    let Ok(Changes::Since { next, touched }) = changes else { panic!("{changes:?}") };
    assert_eq!((keys, touched), (vec!["asana:4".to_owned(), "asana:5".to_owned()], Vec::new()));
    assert!(script.asked()[1].contains("&modified_since=2026-11-20T10%3A59%3A00Z&"), "{:?}", script.asked());
    assert!(next.contains("2026-11-20T11:59:30Z"), "{next}");
}

#[test]
fn events_without_end_or_in_a_circle_end() {
    let script = Script::by(|_, _| ok(json!({"data": [event(1)], "sync": "a", "has_more": true})));
    let (circling, _) = client(&script, &Rules::default());
    assert!(matches!(poll(&circling, &cursor("a"), false).0, Err(ProviderError::Garbled { .. })));
    let script = Script::by(|index, request| match path(&request.url) {
        url if url.contains("sync") => ok(json!({"data": [], "sync": format!("s{index}"), "has_more": true})),
        _ => with(412, &[], json!({"sync": "fresh"})),
    });
    let (endless, _) = client(&script, &Rules::default());
    assert!(matches!(poll(&endless, &cursor("a"), false).0, Ok(Changes::TooOld { .. })));
    assert_eq!(script.asked().len(), EVENT_PAGES_MAX + 1);
}

/// Pages of two tasks each: `pages` of them.
fn pages(pages: u64) -> impl Fn(&Request) -> Result<Response, TransportError> {
    move |request| {
        let at = request.url.split("&offset=p").nth(1).map_or(0, |page| page.parse::<u64>().expect("a page"));
        let next = (at + 1 < pages).then(|| json!({"offset": format!("p{}", at + 1), "path": "x", "uri": "y"}));
        ok(json!({"data": [task(at * 2 + 1), task(at * 2 + 2)], "next_page": next}))
    }
}

#[test]
fn a_sweep_reads_every_page() {
    let all = pages(7);
    let script = Script::by(move |_, request| all(request));
    let (client, _) = client(&script, &Rules::default());
    let mut keys = BTreeSet::new();
    let count = client.sweep(&mut |items| {
        keys.extend(items.into_iter().map(|item| item.key));
        Ok(())
    });
    assert_eq!((count, keys.len(), script.asked().len()), (Ok(14), 14, 7));
    assert!(script.asked()[0].starts_with("GET /api/1.0/tasks?project=55&limit=100&opt_fields=name,html_notes,"));
    assert_eq!(client.sweep(&mut |_| Err(Halt)), Err(ProviderError::Halted));
}

#[test]
fn a_project_too_large_for_one_listing_is_listed_by_sections() {
    let script = Script::by(|_, request| match path(&request.url) {
        url if url.contains("/sections?") => ok(json!({"data": [{"gid": "81"}, {"gid": "82"}], "next_page": null})),
        url if url.contains("section=81&") => ok(json!({"data": [task(1), task(2)], "next_page": null})),
        url if url.contains("section=82&") => ok(json!({"data": [task(3)], "next_page": null})),
        url if url.contains("offset") => status(400, "The result set was truncated."),
        _ => ok(json!({"data": [task(1)], "next_page": {"offset": "last"}})),
    });
    let (client, _) = client(&script, &Rules::default());
    let mut keys = BTreeSet::new();
    let count = client.sweep(&mut |items| {
        keys.extend(items.into_iter().map(|item| item.key));
        Ok(())
    });
    assert_eq!((count, keys.len()), (Ok(3), 3));
}

#[test]
fn an_expired_page_token_starts_the_sweep_over_once() {
    let all = pages(4);
    let script = Script::by(move |index, request| match index {
        2 => status(400, "offset: Your pagination token has expired."),
        _ => all(request),
    });
    let (client, _) = client(&script, &Rules::default());
    assert_eq!(client.sweep(&mut |_| Ok(())), Ok(8));
    assert_eq!(script.asked().len(), 3 + 4);
    let script = Script::by(|_, _| status(400, "offset: Your pagination token is invalid."));
    let (client, _) = super::tests::client(&script, &Rules::default());
    assert!(matches!(client.sweep(&mut |_| Ok(())), Err(ProviderError::Refused { .. })));
    assert_eq!(script.asked().len(), 2);
}

#[test]
fn pages_in_a_circle_and_hostile_pages_are_garbled() {
    let bodies = [
        json!({"data": [task(1)], "next_page": {"offset": "same"}}),
        json!({"data": {"gid": "1"}}),
        json!([]),
        json!({"data": [task(1)], "next_page": {"offset": 7}}),
        json!({"data": [{"gid": "1"}, {"name": 3}, 7]}),
    ];
    for body in bodies {
        let shown = body.to_string();
        let script = Script::by(move |_, _| ok(body.clone()));
        let (client, _) = client(&script, &Rules::default());
        let error = client.sweep(&mut |_| Ok(())).expect_err("hostile");
        assert!(matches!(error, ProviderError::Garbled { .. }), "{shown}: {error:?}");
    }
}

#[test]
fn one_odd_task_does_not_hide_the_others_and_is_named_when_it_moved() {
    let page = json!({"data": [task(1), {"gid": "2", "name": ["odd"]}, task(3), {"gid": "x"}], "next_page": null});
    let script = Script::by(move |_, request| match path(&request.url) {
        url if url.contains("/events") => ok(json!({"data": [], "sync": "b", "has_more": false})),
        _ => ok(page.clone()),
    });
    let (client, _) = client(&script, &Rules::default());
    assert_eq!(client.sweep(&mut |_| Ok(())), Ok(2));
    let (changes, keys) = poll(&client, &cursor("a"), true);
    let Ok(Changes::Since { touched, .. }) = changes else { panic!("{changes:?}") };
    assert_eq!(keys, ["asana:1", "asana:3"]);
    assert_eq!(touched, ["asana:2".parse().expect("a key")]);
}

#[test]
fn only_a_404_confirmed_by_a_second_read_is_gone() {
    let script = Script::by(|_, _| status(404, "task: Unknown object: 7"));
    let (gone, clock) = client(&script, &Rules::default());
    assert_eq!(item(&gone), Ok(Found::Gone));
    assert_eq!(script.asked().len(), 2);
    assert!(clock.now() > crate::provider::testing::start());

    let script = Script::of(vec![status(404, ""), ok(json!({"data": task(7)}))]);
    let (lagging, _) = client(&script, &Rules::default());
    assert!(matches!(item(&lagging), Ok(Found::Here(_))));

    let script = Script::of(vec![status(404, ""), status(403, "Forbidden")]);
    let (hidden, _) = client(&script, &Rules::default());
    assert!(matches!(item(&hidden), Ok(Found::Unseen(_))));
}

#[test]
fn what_a_direct_read_finds_is_told_apart() {
    let mut left = task(7);
    left["memberships"] = json!([{"project": {"gid": "56"}}]);
    let mut separator = task(7);
    separator["resource_subtype"] = json!("section");
    let read = |answer: Result<Response, TransportError>| {
        let script = Script::by(move |_, _| answer.clone());
        item(&client(&script, &Rules::default()).0)
    };
    assert!(matches!(read(ok(json!({"data": left}))),
        Ok(Found::Here(item)) if item.place == crate::model::Place::Left));
    assert_eq!(read(ok(json!({"data": separator}))), Ok(Found::NotAnItem));
    assert!(matches!(read(status(403, "no")), Ok(Found::Unseen(_))));
    assert!(matches!(read(status(401, "no")), Err(ProviderError::Denied { .. })));
    assert!(matches!(read(ok(json!({"data": {"gid": "7"}}))), Err(ProviderError::Garbled { .. })));
    assert!(matches!(read(status(500, "")), Err(ProviderError::Unreachable { .. })));
}

fn draft() -> Draft {
    let marker = Marker::naming("github:acme/app#3".parse().expect("a key"));
    let content = Content { title: "Fix".into(), body: "It fails & more".into(), ..Content::default() };
    Draft { content, footer: format!("---\n{marker}"), marker }
}

fn tagging() -> Rules {
    let mut rules = Rules::default();
    rules.policy.labels = FieldPolicy::Both;
    rules.policy.assignees = FieldPolicy::Both;
    let account = BySide { tracker: Some("77".to_owned()), forge: None };
    rules.people = People::new(vec![Person { name: "alice".into(), account, mention: false }]);
    rules
}

#[test]
fn a_task_is_made_in_one_request_with_everything_it_shall_say() {
    let script = Script::by(|_, request| match path(&request.url) {
        url if url.starts_with("/api/1.0/projects/") => ok(json!({"data": {"gid": "55", "workspace": {"gid": "9"}}})),
        url if url.contains("query=Bug") => {
            ok(json!({"data": [{"gid": "1", "name": "Bugs"}, {"gid": "2", "name": "bug"}]}))
        }
        url if url.contains("typeahead") => ok(json!({"data": []})),
        url if url.starts_with("/api/1.0/tags") => with(201, &[], json!({"data": {"gid": "3", "name": "new one"}})),
        _ => with(201, &[], json!({"data": task(8)})),
    });
    let (client, _) = client(&script, &tagging());
    let mut draft = draft();
    draft.content.status = Status::Dropped;
    draft.content.labels = ["Bug".to_owned(), "new one".to_owned()].into();
    draft.content.assignees.known = vec!["nobody here".into(), "alice".into()];
    let made = client.create(&draft).expect("a task");
    assert_eq!(made.key.to_string(), "asana:8");
    let data = script.bodies().pop().expect("a body")["data"].take();
    assert_eq!(data["name"], "Fix");
    assert_eq!(
        (&data["projects"], &data["completed"], &data["assignee"]),
        (&json!(["55"]), &json!(true), &json!("77"))
    );
    assert_eq!(data["tags"], json!(["2", "3"]));
    let notes = data["html_notes"].as_str().expect("text");
    assert!(notes.starts_with("<body>It fails &amp; more") && notes.contains(&draft.marker.to_string()), "{notes}");
    // The second time the tags are known.
    let before = script.asked().len();
    client.create(&draft).expect("a task");
    assert_eq!(script.asked().len(), before + 1);
}

#[test]
fn an_update_writes_only_what_is_set() {
    let script = Script::by(|_, _| ok(json!({"data": task(7)})));
    let (client, _) = client(&script, &Rules::default());
    let Ok(Found::Here(current)) = item(&client) else { panic!("no task") };
    let change = Change { status: Some(Status::Done), ..Change::default() };
    client.update(&current, &change).expect("an update");
    let change = Change { title: Some("New".into()), text: Some(("Body".into(), None)), ..Change::default() };
    client.update(&current, &change).expect("an update");
    assert_eq!(client.update(&current, &Change::default()), Ok(*current));
    let bodies = script.bodies();
    assert_eq!(bodies[1], json!({"data": {"completed": true}}));
    assert_eq!(bodies[2], json!({"data": {"name": "New", "html_notes": "<body>Body</body>"}}));
    assert_eq!(bodies.len(), 3);
    assert!(script.asked()[1].starts_with("PUT /api/1.0/tasks/7?opt_fields="));
}

#[test]
fn tags_are_added_and_removed_before_the_rest_is_written() {
    let mut tagged = task(7);
    tagged["tags"] = json!([{"gid": "1", "name": "Bug"}, {"gid": "2", "name": "old"}]);
    let script = Script::by(move |_, request| match path(&request.url) {
        url if url.starts_with("/api/1.0/projects/") => ok(json!({"data": {"gid": "55", "workspace": {"gid": "9"}}})),
        url if url.contains("typeahead") => ok(json!({"data": [{"gid": "3", "name": "new"}]})),
        _ => ok(json!({"data": tagged.clone()})),
    });
    let (client, _) = client(&script, &tagging());
    let Ok(Found::Here(current)) = item(&client) else { panic!("no task") };
    let labels = Some(BTreeSet::from(["bug".to_owned(), "new".to_owned()]));
    client.update(&current, &Change { labels: labels.clone(), ..Change::default() }).expect("an update");
    let asked = script.asked();
    let writes: Vec<_> = asked.iter().filter(|line| !line.starts_with("GET")).map(String::as_str).collect();
    assert_eq!(writes, ["POST /api/1.0/tasks/7/addTag", "POST /api/1.0/tasks/7/removeTag"]);
    assert!(asked.last().is_some_and(|last| last.starts_with("GET /api/1.0/tasks/7?")), "{asked:?}");
    client.update(&current, &Change { labels, title: Some("x".into()), ..Change::default() }).expect("an update");
    assert!(script.asked().last().is_some_and(|last| last.starts_with("PUT")));
}

#[test]
fn a_label_that_two_tags_of_one_name_carry_is_taken_away_whole() {
    // Asana lets two tags have one name, and two people who add it at once make two.
    let mut tagged = task(7);
    tagged["tags"] = json!([{"gid": "1", "name": "bug"}, {"gid": "2", "name": "bug"}]);
    let script = Script::by(move |_, _| ok(json!({"data": tagged.clone()})));
    let (client, _) = client(&script, &tagging());
    let Ok(Found::Here(current)) = item(&client) else { panic!("no task") };
    assert_eq!(current.content.labels, BTreeSet::from(["bug".to_owned()]));
    client.update(&current, &Change { labels: Some(BTreeSet::new()), ..Change::default() }).expect("an update");
    assert_eq!(script.asked().iter().filter(|line| line.ends_with("/removeTag")).count(), 2);
    let removed: Vec<Value> = script.bodies().iter().filter_map(|body| body.pointer("/data/tag").cloned()).collect();
    assert_eq!(removed, ["1", "2"]);
}

#[test]
fn a_lost_answer_to_a_write_says_that_it_may_be_done() {
    let script = Script::by(|_, _| Err(TransportError::NoAnswer("cut".into())));
    let (client, _) = client(&script, &Rules::default());
    let error = client.create(&draft()).expect_err("cut");
    assert!(error.maybe_done());
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn comments_are_written_as_rich_text_and_found_over_all_pages() {
    let text = "Linked with https://github.com/acme/app/issues/3 & kept in step";
    let script = Script::by(move |_, request| match (request.method, path(&request.url)) {
        (Method::Post, _) => with(201, &[], json!({"data": {"gid": "1"}})),
        (_, url) if url.contains("offset=two") => ok(json!({"data": [{"gid": "2", "html_text":
            "<body>Linked with https://github.com/acme/app/issues/3 &amp; kept in step</body>"}], "next_page": null})),
        _ => ok(json!({"data": [{"gid": "1", "text": "other"}, {"gid": "3"}], "next_page": {"offset": "two"}})),
    });
    let (client, _) = client(&script, &Rules::default());
    let key = "asana:7".parse().expect("a key");
    client.comment(&key, text).expect("a comment");
    assert!(script.bodies()[0]["data"]["html_text"].as_str().is_some_and(|html| html.contains("&amp;")));
    assert_eq!(client.has_comment(&key, text), Ok(true));
    assert_eq!(client.has_comment(&key, "never said"), Ok(false));
}

#[test]
fn marked_tasks_are_found_by_listing() {
    let marker = draft().marker;
    let mut marked = task(8);
    marked["html_notes"] = json!(format!("<body>x\n---\n{marker}</body>"));
    let mut older = marked.clone();
    older["gid"] = json!("6");
    older["created_at"] = json!("2026-11-20T10:54:59.000Z");
    let page = json!({"data": [task(7), marked, older], "next_page": null});
    let script = Script::by(move |_, _| ok(page.clone()));
    let (client, _) = client(&script, &Rules::default());
    let found = client.marked_since("2026-11-20T11:00:00Z".parse().expect("a moment")).expect("a list").items;
    assert_eq!(found.iter().map(|item| item.key.to_string()).collect::<Vec<_>>(), ["asana:8"]);
    assert!(script.asked()[0].contains("&modified_since=2026-11-20T10%3A55%3A00Z&"), "{:?}", script.asked());
}

#[test]
fn a_check_says_what_is_wrong_and_what_to_do() {
    let noon = crate::provider::testing::start();
    let script = Script::by(|_, _| status(401, "Not Authorized"));
    let (denied, _) = client(&script, &Rules::default());
    let found = denied.check(noon);
    assert!(found.len() == 1 && !found[0].good && found[0].remedy.is_some(), "{found:?}");

    let script = Script::by(|_, request| match path(&request.url) {
        url if url.contains("/users/me") => {
            with(200, &[("date", "Fri, 20 Nov 2026 11:50:00 GMT")], json!({"data": {"gid": "1", "name": "Bot"}}))
        }
        _ => ok(
            json!({"data": {"gid": "55", "name": "Web", "archived": true, "workspace": {"gid": "9", "name": "Acme"}}}),
        ),
    });
    let (odd, _) = client(&script, &Rules::default());
    let bad: Vec<_> = odd.check(noon).into_iter().filter(|finding| !finding.good).map(|f| f.subject).collect();
    assert_eq!(bad, ["clock", "project"]);
}
