//! github-api.md §17, 39 to 49.

use serde_json::json;

use super::*;
use crate::sandbox::webhooks::{sha1_hex, sha256_hex};
use Method::{Delete, Get, Patch, Post, Put};

const HOOKS: &str = "/repos/acme/app/hooks";
const ISSUES: &str = "/repos/acme/app/issues";

/// A world whose account administrates the repository.
fn ruled() -> (Scene, Arc<Receiver>) {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.sandbox.github().permit(&scene.repo.name, &scene.sandbox.github().bot(), Permission::Admin);
    (scene, receiver)
}

fn heard(events: &[&str]) -> (Scene, Arc<Receiver>, String) {
    let (scene, receiver) = ruled();
    let path = scene.github_hook(&receiver, events);
    (scene, receiver, path)
}

fn make(scene: &Scene, body: Value) -> Got {
    scene.github(Post, HOOKS, &body.to_string())
}

#[test]
fn a_new_hook_pings_and_has_the_published_defaults() {
    let (scene, receiver) = ruled();
    let got = make(&scene, json!({"config": {"url": "https://hooks.test/g", "secret": "sesame"}}));
    assert_eq!(got.status, 201);
    assert_eq!(got.json["events"], json!(["push"]));
    assert_eq!(
        got.json["config"],
        json!({"url": "https://hooks.test/g", "content_type": "form", "insecure_ssl": "0", "secret": "********"})
    );
    let last = json!({"code": null, "status": "unused", "message": null});
    assert_eq!((&got.json["active"], &got.json["last_response"]), (&true.into(), &last));
    let url = format!("https://github.sandbox{HOOKS}/{}", got.json["id"]);
    assert_eq!(got.json["deliveries_url"], format!("{url}/deliveries"));
    assert!(receiver.take().is_empty(), "not before the answer is on its way");
    let [ping] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!(header(&ping, "x-github-event"), Some("ping"));
    let form = std::str::from_utf8(&ping.body).expect("a form").strip_prefix("payload=").expect("one field");
    let query = format!("https://github.sandbox/x?payload={form}");
    let request = scene.request(Side::Forge, "", Get, &query, "");
    let payload = crate::sandbox::web::Ask::parse(&request, "https://github.sandbox");
    let payload: Value = serde_json::from_str(payload.param("payload").expect("the field")).expect("JSON");
    assert_eq!((&payload["hook_id"], &payload["hook"]["id"]), (&got.json["id"], &got.json["id"]));
    assert!(payload["zen"].is_string() && payload.get("action").is_none());
    let one = scene.github(Get, &format!("{HOOKS}/{}", got.json["id"]), "");
    assert_eq!(one.json["last_response"], json!({"code": 200, "status": "active", "message": "OK"}));
    assert_eq!(scene.github(Get, HOOKS, "").names("id"), [got.json["id"].to_string()]);
    assert_eq!(scene.github(Post, &format!("{HOOKS}/{}/pings", got.json["id"]), "").status, 204);
    assert_eq!(
        told(
            &scene
                .delivered(&receiver)
                .iter()
                .map(|ping| Request { body: b"{}".to_vec(), ..ping.clone() })
                .collect::<Vec<_>>()
        ),
        ["ping"]
    );
}

#[test]
fn hooks_are_for_those_who_administrate() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let wish = json!({"config": {"url": "https://hooks.test/g"}}).to_string();
    for (method, body) in [(Get, ""), (Post, wish.as_str())] {
        let got = scene.github(method, HOOKS, body);
        assert_eq!((got.status, got.message()), (404, "Not Found"), "may write, which is not enough");
    }
    github.permit(&scene.repo.name, &github.bot(), Permission::Admin);
    let token = github.fine_grained_token(&github.bot(), &[&scene.repo.name], true);
    let got = scene.github_as(&token, Post, HOOKS, &wish);
    assert_eq!((got.status, got.header("x-accepted-github-permissions")), (403, "repository_hooks=write"));
    github.allow_hooks(&token);
    assert_eq!(scene.github_as(&token, Post, HOOKS, &wish).status, 201);
    github.permit(&scene.repo.name, &github.bot(), Permission::Write);
    assert_eq!(scene.github_as(&token, Get, HOOKS, "").status, 403);
    github.make_private(&scene.repo.name, false);
    let mut nobody = scene.request(Side::Forge, "", Get, HOOKS, "");
    nobody.headers.retain(|(name, _)| name != "authorization");
    assert_eq!(scene.ask(&nobody).status, 401);
}

#[test]
fn what_a_hook_cannot_be_is_refused() {
    let (scene, _receiver) = ruled();
    let with = |url: &str, events: Value| make(&scene, json!({"events": events, "config": {"url": url}}));
    assert_eq!(with("https://hooks.test/g", json!(["issues", "label"])).status, 201);
    let got = with("https://hooks.test/g", json!(["label"]));
    assert_eq!(
        (got.status, &got.json["errors"][0]["message"]),
        (422, &"Hook already exists on this repository".into())
    );
    assert_eq!(with("https://hooks.test/g", json!(["*"])).status, 422);
    assert_eq!(with("https://hooks.test/g", json!(["push"])).status, 201, "other events");
    for (url, events) in [
        ("http://localhost/g", json!(["issues"])),
        ("https://127.0.0.1/g", json!(["issues"])),
        ("nowhere", json!(["issues"])),
        ("https://hooks.test/h", json!(["no_such_event"])),
        ("https://hooks.test/h", json!("issues")),
    ] {
        assert_eq!(with(url, events.clone()).status, 422, "{url} {events}");
    }
    assert_eq!(make(&scene, json!({"events": ["issues"]})).status, 422);
    for number in 1..20 {
        assert_eq!(with(&format!("https://hooks.test/{number}"), json!(["issues"])).status, 201);
    }
    let got = with("https://hooks.test/one-more", json!(["issues"]));
    assert_eq!(got.json["errors"][0]["message"], r#"The "issues" event cannot have more than 20 hooks"#);
    assert_eq!(with("https://hooks.test/one-more", json!(["milestone"])).status, 201);
    scene.sandbox.github().habits(|habits| habits.loopback_targets = true);
    assert_eq!(with("http://127.0.0.1:9/g", json!(["release"])).status, 201);
}

#[test]
fn a_config_without_its_secret_loses_it_and_one_in_parts_does_not() {
    let (scene, receiver, path) = heard(&["issues"]);
    let signed = || {
        scene.issue("One");
        let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
        header(&delivery, "x-hub-signature-256").is_some()
    };
    let config = format!("{path}/config");
    let got = scene.github(Patch, &config, r#"{"url":"https://hooks.test/other"}"#);
    assert_eq!((got.status, &got.json["secret"]), (200, &"********".into()));
    assert_eq!(got.json["url"], "https://hooks.test/other");
    assert!(signed());
    assert_eq!(scene.github(Patch, &path, r#"{"active":true}"#).json["config"]["secret"], "********");
    assert!(signed());
    let got = scene.github(Patch, &path, r#"{"config":{"url":"https://hooks.test/other","content_type":"json"}}"#);
    assert_eq!((got.status, got.json["config"].get("secret")), (200, None));
    assert!(!signed());
    assert_eq!(scene.github(Get, &config, "").json.get("secret"), None);
    scene.github(Patch, &config, r#"{"secret":"again"}"#);
    assert!(signed());
}

#[test]
fn hooks_are_changed_switched_off_and_deleted() {
    let (scene, receiver, path) = heard(&["issues"]);
    let came = || {
        let number = scene.issue("One");
        scene.sandbox.github().comment(&scene.repo.name, number, "Hello.");
        told(&scene.delivered(&receiver))
    };
    assert_eq!(came(), ["issues.opened"]);
    let got = scene.github(Patch, &path, r#"{"add_events":["issue_comment","issues"],"remove_events":["issues"]}"#);
    assert_eq!(got.json["events"], json!(["issue_comment"]));
    assert_eq!(came(), ["issue_comment.created"]);
    scene.github(Patch, &path, r#"{"events":["*"]}"#);
    assert_eq!(came(), ["issues.opened", "issue_comment.created"]);
    scene.github(Patch, &path, r#"{"active":false}"#);
    assert!(came().is_empty());
    scene.github(Patch, &path, r#"{"active":true}"#);
    scene.issue("Two");
    assert_eq!(scene.github(Delete, &path, "").status, 204);
    assert!(scene.delivered(&receiver).is_empty(), "what waited is dropped");
    assert_eq!([Get, Delete, Patch].map(|method| scene.github(method, &path, "{}").status), [404; 3]);
}

#[test]
fn deliveries_carry_the_published_headers_and_are_signed_over_the_raw_body() {
    let (scene, receiver, path) = heard(&["issues"]);
    for kind in ["json", "form"] {
        scene.github(Patch, &format!("{path}/config"), &json!({"content_type": kind}).to_string());
        scene.issue("Schöne Grüße & mehr");
        let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
        let header = |name: &str| header(&delivery, name).unwrap_or_default().to_owned();
        let of_kind = if kind == "json" { "application/json" } else { "application/x-www-form-urlencoded" };
        assert_eq!(header("content-type"), of_kind);
        assert_eq!(header("x-hub-signature-256"), format!("sha256={}", sha256_hex("sesame", &delivery.body)));
        assert_eq!(header("x-hub-signature"), format!("sha1={}", sha1_hex("sesame", &delivery.body)));
        assert_eq!(header("x-github-event"), "issues");
        assert_eq!(path, format!("{HOOKS}/{}", header("x-github-hook-id")));
        assert_eq!(header("x-github-hook-installation-target-id"), scene.repo.id.to_string());
        assert_eq!(header("x-github-hook-installation-target-type"), "repository");
        assert!(header("user-agent").starts_with("GitHub-Hookshot/"));
        let groups: Vec<usize> = header("x-github-delivery").split('-').map(str::len).collect();
        assert_eq!(groups, [8, 4, 4, 4, 12]);
        assert_eq!(delivery.body.starts_with(b"payload=%7B%22action"), kind == "form");
    }
}

#[test]
fn issues_tell_of_each_change_by_itself() {
    let (scene, receiver, _) = heard(&["issues", "label", "milestone"]);
    let github = scene.sandbox.github();
    let repo = &scene.repo.name;
    let person = github.person();
    let number = github.issue(
        repo,
        IssueSeed { labels: vec!["bug".to_owned(), "question".to_owned()], ..IssueSeed::new("One", "Text") },
    );
    assert_eq!(told(&scene.delivered(&receiver)), ["issues.opened", "issues.labeled", "issues.labeled"]);
    let milestone = github.milestone(repo, "Soon");
    github.set_milestone(repo, number, Some(milestone));
    github.set_milestone(repo, number, None);
    assert_eq!(told(&scene.delivered(&receiver)), ["milestone.created", "issues.milestoned", "issues.demilestoned"]);
    let one = |act: &dyn Fn()| {
        act();
        let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
        (told(std::slice::from_ref(&delivery)).remove(0), body(&delivery))
    };
    let (event, got) = one(&|| github.retitle(repo, number, "Two"));
    assert_eq!((event.as_str(), &got["changes"]), ("issues.edited", &json!({"title": {"from": "One"}})));
    assert_eq!((&got["issue"]["title"], &got["sender"]["login"]), (&"Two".into(), &person.as_str().into()));
    assert_eq!(got["repository"]["default_branch"], "main");
    assert_eq!((&got["repository"]["full_name"], got["repository"].get("permissions")), (&"acme/app".into(), None));
    let (event, got) = one(&|| github.write_body(repo, number, "Other"));
    assert_eq!((event.as_str(), &got["changes"]), ("issues.edited", &json!({"body": {"from": "Text"}})));
    let (event, got) = one(&|| github.remove_label(repo, number, "bug"));
    assert_eq!((event.as_str(), &got["label"]["name"]), ("issues.unlabeled", &"bug".into()));
    let (event, got) = one(&|| github.assign(repo, number, &[&person]));
    assert_eq!((event.as_str(), &got["assignee"]["login"]), ("issues.assigned", &person.as_str().into()));
    let (event, _) = one(&|| github.assign(repo, number, &[]));
    assert_eq!(event, "issues.unassigned");
    let (event, got) = one(&|| github.close(repo, number, Reason::NotPlanned));
    assert_eq!((event.as_str(), &got["issue"]["state_reason"]), ("issues.closed", &"not_planned".into()));
    assert!(got["issue"].get("closed_by").is_none() && got["issue"]["closed_at"].is_string());
    let (event, _) = one(&|| github.reopen(repo, number));
    assert_eq!(event, "issues.reopened");
    github.retitle(repo, number, "Two");
    assert!(scene.delivered(&receiver).is_empty(), "the same again is no news");
    let (event, got) = one(&|| github.delete(repo, number));
    assert_eq!((event.as_str(), &got["issue"]["number"]), ("issues.deleted", &number.into()));
}

#[test]
fn what_is_written_through_the_api_comes_back_too() {
    let (scene, receiver, _) = heard(&["*"]);
    let got = scene.github(Post, ISSUES, r#"{"title":"One","labels":["new"]}"#);
    assert_eq!(got.status, 201);
    let deliveries = scene.delivered(&receiver);
    assert_eq!(told(&deliveries), ["label.created", "issues.opened", "issues.labeled"]);
    assert_eq!(body(&deliveries[1])["sender"]["login"], scene.sandbox.github().bot());
    let change = r#"{"title":"Two","body":"x","state":"closed","labels":["bug"]}"#;
    assert_eq!(scene.github(Patch, &format!("{ISSUES}/1"), change).status, 200);
    let deliveries = scene.delivered(&receiver);
    assert_eq!(told(&deliveries), ["issues.edited", "issues.labeled", "issues.unlabeled", "issues.closed"]);
    assert_eq!(body(&deliveries[0])["changes"], json!({"title": {"from": "One"}, "body": {"from": ""}}));
    let path = format!("{ISSUES}/1/comments");
    let comment = scene.github(Post, &path, r#"{"body":"Hello."}"#).json["id"].clone();
    let path = format!("{ISSUES}/comments/{comment}");
    scene.github(Patch, &path, r#"{"body":"Good evening."}"#);
    scene.github(Delete, &path, "");
    let deliveries = scene.delivered(&receiver);
    assert_eq!(told(&deliveries), ["issue_comment.created", "issue_comment.edited", "issue_comment.deleted"]);
    let edited = body(&deliveries[1]);
    assert_eq!(edited["changes"], json!({"body": {"from": "Hello."}}));
    assert_eq!((&edited["comment"]["id"], &edited["issue"]["number"]), (&comment, &1.into()));
    scene.github(Put, &format!("{ISSUES}/1/lock"), "");
    assert_eq!(told(&scene.delivered(&receiver)), ["issues.locked"]);
}

#[test]
fn a_deleted_label_is_not_named_where_it_was_taken_off() {
    let (scene, receiver, _) = heard(&["issues", "label"]);
    let number = scene.issue("One");
    scene.sandbox.github().add_label(&scene.repo.name, number, "bug");
    scene.delivered(&receiver);
    let path = "/repos/acme/app/labels/bug";
    scene.github(Patch, path, r#"{"new_name":"Bug","color":"000000"}"#);
    let [edited] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!(body(&edited)["changes"], json!({"name": {"from": "bug"}, "color": {"from": "d73a4a"}}));
    scene.github(Patch, path, r#"{"new_name":"Bug"}"#);
    scene.github(Delete, path, "");
    let deliveries = scene.delivered(&receiver);
    assert_eq!(told(&deliveries), ["label.deleted", "issues.unlabeled"]);
    assert_eq!(body(&deliveries[0])["label"]["name"], "Bug");
    assert!(body(&deliveries[1]).get("label").is_none());
}

#[test]
fn a_transfer_is_told_of_in_both_repositories() {
    let (scene, receiver, _) = heard(&["issues"]);
    let github = scene.sandbox.github();
    let other = github.repository(&"acme/other".parse().expect("a name"));
    github.permit(&other.name, &github.bot(), Permission::Admin);
    let wish = json!({"events": ["issues"], "config": {"url": "https://hooks.test/other", "content_type": "json"}});
    assert_eq!(scene.github(Post, "/repos/acme/other/hooks", &wish.to_string()).status, 201);
    let number = scene.issue("One");
    github.issue(&other.name, IssueSeed::new("Already there", ""));
    scene.delivered(&receiver);
    let new = github.transfer(&scene.repo.name, number, &other.name);
    let deliveries = scene.delivered(&receiver);
    assert_eq!(told(&deliveries), ["issues.transferred", "issues.opened"]);
    let (left, came) = (body(&deliveries[0]), body(&deliveries[1]));
    assert_eq!((&left["issue"]["number"], &left["repository"]["full_name"]), (&number.into(), &"acme/app".into()));
    assert_eq!(left["changes"]["new_issue"]["number"], new);
    assert_eq!(left["changes"]["new_repository"]["full_name"], "acme/other");
    assert_eq!((&came["issue"]["number"], &came["repository"]["full_name"]), (&new.into(), &"acme/other".into()));
    assert_eq!(came["changes"]["old_issue"]["number"], number);
    assert_eq!(came["changes"]["old_repository"]["full_name"], "acme/app");
}

#[test]
fn a_renamed_repository_says_what_it_was() {
    let (scene, receiver, _) = heard(&["repository"]);
    scene.sandbox.github().rename_repository(&scene.repo.name, "new");
    let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
    let got = body(&delivery);
    assert_eq!(got["changes"], json!({"repository": {"name": {"from": "app"}}}));
    assert_eq!((&got["action"], &got["repository"]["full_name"]), (&"renamed".into(), &"acme/new".into()));
}

#[test]
fn a_merge_closes_the_issues_named_and_tells_of_both_in_either_order() {
    for last in [false, true] {
        let (scene, receiver, _) = heard(&["issues", "pull_request"]);
        let github = scene.sandbox.github();
        let repo = &scene.repo.name;
        github.habits(|habits| habits.merge_told_last = last);
        let one = scene.issue("One");
        let two = scene.issue("Two");
        let pull = github.pull_request(repo, "Pull", "Closes: #1\nSee #2");
        let deliveries = scene.delivered(&receiver);
        assert_eq!(told(&deliveries)[2..], ["pull_request.opened"]);
        let opened = body(&deliveries[2]);
        assert_eq!((&opened["number"], &opened["pull_request"]["merged"]), (&pull.into(), &false.into()));
        assert_eq!(opened["pull_request"]["base"]["ref"], opened["repository"]["default_branch"]);
        assert_eq!(opened["pull_request"]["user"]["login"], github.person());
        assert_eq!(opened["pull_request"]["body"], "Closes: #1\nSee #2");
        github.acting_as("acme").merge(repo, pull);
        let deliveries = scene.delivered(&receiver);
        let mut wanted = vec!["pull_request.closed", "issues.closed"];
        if last {
            wanted.reverse();
        }
        assert_eq!(told(&deliveries), wanted);
        let closed = body(&deliveries[usize::from(last)]);
        assert_eq!(
            (&closed["pull_request"]["merged"], &closed["pull_request"]["state"]),
            (&true.into(), &"closed".into())
        );
        assert_eq!(closed["pull_request"]["merged_by"]["login"], "acme");
        assert!(closed["pull_request"]["merged_at"].is_string());
        let issue = body(&deliveries[usize::from(!last)]);
        assert_eq!((&issue["issue"]["number"], &issue["sender"]["login"]), (&one.into(), &"acme".into()));
        assert!(!scene.sandbox.world().issue(repo, two).expect("the issue").closed);
        let got = scene.github(Get, &format!("/repos/acme/app/pulls/{pull}"), "");
        assert_eq!((got.status, &got.json["merged"], &got.json["state"]), (200, &true.into(), &"closed".into()));
        assert_ne!(got.json["id"], scene.github(Get, &format!("{ISSUES}/{pull}"), "").json["id"], "two ids");
        assert_eq!(scene.github(Get, &format!("/repos/acme/app/pulls/{one}"), "").status, 404, "no pull request");
    }
}

#[test]
fn a_merge_elsewhere_closes_nothing_and_other_repositories_are_named_in_full() {
    let (scene, receiver, _) = heard(&["pull_request", "issues"]);
    let github = scene.sandbox.github();
    let repo = &scene.repo.name;
    let other = github.repository(&"acme/other".parse().expect("a name")).name;
    let there = github.issue(&other, IssueSeed::new("There", ""));
    let one = scene.issue("One");
    let closed = |repo, number| scene.sandbox.world().issue(repo, number).expect("the issue").closed;
    let aside = github.pull_request_into(repo, "release", "Aside", "Fixes #1");
    github.merge(repo, aside);
    assert!(!closed(repo, one));
    github.set_default_branch(repo, "trunk");
    let pull = github.pull_request(repo, "Pull", "fixes #1 and RESOLVES Acme/Other#1, closes #99, fixes nobody/here#1");
    scene.delivered(&receiver);
    github.merge(repo, pull);
    assert!(closed(repo, one) && closed(&other, there));
    let deliveries = scene.delivered(&receiver);
    assert_eq!(told(&deliveries), ["pull_request.closed", "issues.closed"]);
    assert_eq!(body(&deliveries[0])["repository"]["default_branch"], "trunk");
}

#[test]
fn a_pull_request_is_edited_closed_unmerged_and_reopened() {
    let (scene, receiver, _) = heard(&["pull_request", "issues", "issue_comment"]);
    let github = scene.sandbox.github();
    let repo = &scene.repo.name;
    let one = scene.issue("One");
    let pull = github.pull_request(repo, "Pull", "Fixes #1");
    scene.delivered(&receiver);
    github.retitle(repo, pull, "Better");
    github.close_unmerged(repo, pull);
    github.reopen(repo, pull);
    github.comment(repo, pull, "Hello.");
    let deliveries = scene.delivered(&receiver);
    assert_eq!(
        told(&deliveries),
        ["pull_request.edited", "pull_request.closed", "pull_request.reopened", "issue_comment.created"]
    );
    assert_eq!(body(&deliveries[0])["changes"], json!({"title": {"from": "Pull"}}));
    let closed = body(&deliveries[1]);
    assert_eq!(
        (&closed["pull_request"]["merged"], &closed["pull_request"]["merged_at"]),
        (&false.into(), &Value::Null)
    );
    assert!(body(&deliveries[3])["issue"]["pull_request"].is_object());
    assert!(!scene.sandbox.world().issue(repo, one).expect("the issue").closed);
}

#[test]
fn a_failure_is_logged_and_never_repeated() {
    let (scene, receiver, path) = heard(&["issues"]);
    let deliveries = format!("{path}/deliveries");
    receiver.behaves(|_| answer(503));
    scene.issue("One");
    receiver.take();
    assert_eq!(scene.delivered(&receiver).len(), 1);
    scene.wait(3_600_000);
    assert!(scene.delivered(&receiver).is_empty());
    receiver.behaves(|_| Err(TransportError::NotSent("connection refused".to_owned())));
    scene.issue("Two");
    scene.delivered(&receiver);
    let clock = scene.clock.clone();
    receiver.behaves(move |_| {
        clock.advance(Duration::from_secs(12));
        answer(200)
    });
    scene.issue("Three");
    scene.delivered(&receiver);
    receiver.behaves(|_| answer(202));
    scene.issue("Four");
    scene.delivered(&receiver);
    let got = scene.github(Get, &deliveries, "");
    assert_eq!(
        got.names("status"),
        ["OK", "timed out", "failed to connect to host", "Invalid HTTP Response: 503", "OK"],
        "the newest first, the ping last"
    );
    assert_eq!(got.names("status_code"), ["202", "0", "0", "503", "200"]);
    assert_eq!(got.names("event"), ["issues", "issues", "issues", "issues", "ping"]);
    assert_eq!(got.json[1]["duration"], 12.0);
    assert_eq!(got.json[4]["action"], Value::Null);
    assert_eq!(scene.github(Get, &format!("{deliveries}?status=failure"), "").names("status_code"), ["503"]);
    assert_eq!(scene.github(Get, &format!("{deliveries}?status=success"), "").names("status_code"), ["202", "200"]);
    let first = scene.github(Get, &format!("{deliveries}?per_page=3"), "");
    let rest = scene.github(Get, &first.link("next").expect("more"), "");
    assert_eq!((first.names("id").len(), rest.names("id").len(), rest.link("next")), (3, 2, None));
    assert_eq!([first.names("id"), rest.names("id")].concat(), got.names("id"));
}

#[test]
fn a_body_that_was_missed_is_read_back_and_delivered_again_under_its_name() {
    let (scene, receiver, path) = heard(&["issues"]);
    receiver.behaves(|_| answer(500));
    scene.issue("One");
    let [missed] = scene.delivered(&receiver).try_into().expect("one delivery");
    let id = scene.github(Get, &format!("{path}/deliveries"), "").json[0]["id"].clone();
    let one = format!("{path}/deliveries/{id}");
    let got = scene.github(Get, &one, "");
    assert_eq!(got.json["request"]["payload"], body(&missed));
    assert_eq!(got.json["request"]["headers"]["x-github-event"], "issues");
    assert_eq!((&got.json["response"]["payload"], &got.json["url"]), (&"thanks".into(), &missed.url.as_str().into()));
    receiver.behaves(|_| answer(200));
    assert_eq!(scene.github(Post, &format!("{one}/attempts"), "").status, 202);
    let [again] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!(again.body, missed.body);
    assert_eq!(header(&again, "x-github-delivery"), header(&missed, "x-github-delivery"));
    let list = scene.github(Get, &format!("{path}/deliveries?per_page=2"), "");
    assert_eq!(list.names("redelivery"), ["true", "false"]);
    assert_eq!((&list.json[0]["guid"], list.json[0]["id"] == id), (&list.json[1]["guid"], false));
    scene.wait(3 * 24 * 3_600_000);
    assert_eq!(scene.github(Get, &one, "").status, 404, "kept three days");
    assert_eq!(scene.github(Post, &format!("{one}/attempts"), "").status, 404);
    assert!(scene.github(Get, &format!("{path}/deliveries"), "").names("id").is_empty());
}

#[test]
fn two_hooks_hear_of_one_event_under_one_name() {
    let (scene, receiver, _) = heard(&["issues"]);
    let second = make(&scene, json!({"events": ["*"], "config": {"url": "https://hooks.test/second"}}));
    assert_eq!(second.status, 201);
    scene.delivered(&receiver);
    scene.issue("One");
    let [one, two] = scene.delivered(&receiver).try_into().expect("two deliveries");
    assert_eq!(header(&one, "x-github-delivery"), header(&two, "x-github-delivery"));
    assert_ne!(header(&one, "x-github-hook-id"), header(&two, "x-github-hook-id"));
}

#[test]
fn meta_says_where_deliveries_come_from() {
    let scene = Scene::new();
    let mut request = scene.request(Side::Forge, "", Get, "/meta", "");
    request.headers.retain(|(name, _)| name != "authorization");
    let got = scene.ask(&request);
    assert_eq!(got.status, 200);
    assert!(got.json["hooks"].as_array().is_some_and(|networks| networks.len() == 3));
    scene.sandbox.github().habits(|habits| habits.hook_networks = vec!["127.0.0.0/8".to_owned()]);
    assert_eq!(scene.ask(&request).json["hooks"], json!(["127.0.0.0/8"]));
}

#[test]
fn computed_issues_count_among_the_open_ones_told_of() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.sandbox.github().populate(&scene.repo.name, 1_000, Arc::new(|_| String::new()));
    let open =
        |scene: &Scene| scene.github(Get, "/repos/acme/app", "").json["open_issues_count"].as_u64().expect("a number");
    scene.github_hook(&receiver, &["issues"]);
    let before = open(&scene);
    let number =
        (1..=1_000).find(|number| !scene.sandbox.world().issue(&scene.repo.name, *number).expect("the issue").closed);
    scene.sandbox.github().close(&scene.repo.name, number.expect("some are open"), Reason::Completed);
    let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!((open(&scene), &body(&delivery)["repository"]["open_issues_count"]), (before - 1, &(before - 1).into()));
}
