//! github-api.md §17.

use super::*;
use Method::{Delete, Get, Patch, Post, Put};

const ISSUES: &str = "/repos/acme/app/issues";

fn one(number: u64) -> String {
    format!("{ISSUES}/{number}")
}

impl Scene {
    fn view(&self, number: u64) -> IssueView {
        self.sandbox.world().issue(&self.repo.name, number).expect("the issue")
    }
}

#[test]
fn a_request_without_user_agent_is_forbidden_in_plain_text() {
    let scene = Scene::new();
    let mut request = scene.request(Side::Forge, &scene.repo.token, Get, "/user", "");
    request.headers.retain(|(name, _)| name != "user-agent");
    let got = scene.ask(&request);
    assert_eq!((got.status, got.header("content-type")), (403, "text/html; charset=utf-8"));
    assert!(got.json.is_null());
}

#[test]
fn versions_are_chosen_echoed_and_refused() {
    let scene = Scene::new();
    scene.issue("One");
    let with = |version: &str| {
        let mut request = scene.request(Side::Forge, &scene.repo.token, Get, &one(1), "");
        request.headers.push(("x-github-api-version".to_owned(), version.to_owned()));
        scene.ask(&request)
    };
    assert_eq!(scene.github(Get, &one(1), "").header("x-github-api-version-selected"), "2022-11-28");
    let old = with("2022-11-28");
    assert!(old.json.get("assignee").is_some());
    let new = with("2026-03-10");
    assert_eq!(new.header("x-github-api-version-selected"), "2026-03-10");
    assert!(new.json.get("assignee").is_none() && new.json.get("assignees").is_some());
    let bad = with("2020-01-01");
    assert_eq!((bad.status, &bad.json["status"]), (400, &"400".into()));
}

#[test]
fn without_a_good_token_writes_are_refused() {
    let scene = Scene::new();
    scene.sandbox.github().make_private(&scene.repo.name, false);
    let anonymous = |method, path: &str| {
        let mut request = scene.request(Side::Forge, "", method, path, r#"{"title":"x"}"#);
        request.headers.retain(|(name, _)| name != "authorization");
        scene.ask(&request)
    };
    assert_eq!(anonymous(Get, ISSUES).status, 200);
    let got = anonymous(Post, ISSUES);
    assert_eq!((got.status, got.message()), (401, "Requires authentication"));
    assert_eq!(anonymous(Get, "/user").status, 401);
    let got = scene.github_as("ghp_wrong", Get, "/user", "");
    assert_eq!((got.status, got.message()), (401, "Bad credentials"));
    scene.sandbox.github().revoke(&scene.repo.token);
    assert_eq!(scene.github(Get, "/user", "").status, 401);
    scene.sandbox.github().restore_token(&scene.repo.token);
    assert_eq!(scene.github(Get, "/user", "").json["login"], scene.sandbox.github().bot().as_str());
}

#[test]
fn what_is_private_is_hidden_and_what_is_not_permitted_forbidden() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    github.user("eve");
    let stranger = github.token("eve");
    let got = scene.github_as(&stranger, Get, ISSUES, "");
    assert_eq!((got.status, got.message()), (404, "Not Found"));
    let weak = github.fine_grained_token(&github.bot(), &[&scene.repo.name], false);
    assert_eq!(scene.github_as(&weak, Get, ISSUES, "").status, 200);
    let got = scene.github_as(&weak, Post, ISSUES, r#"{"title":"x"}"#);
    assert_eq!((got.status, got.message()), (403, "Resource not accessible by personal access token"));
    assert_eq!(got.header("x-accepted-github-permissions"), "issues=write");
    let strong = github.fine_grained_token(&github.bot(), &[&scene.repo.name], true);
    assert_eq!(scene.github_as(&strong, Post, ISSUES, r#"{"title":"x"}"#).status, 201);
    github.weaken(&strong);
    assert_eq!(scene.github_as(&strong, Post, ISSUES, r#"{"title":"x"}"#).status, 403);
    github.permit(&scene.repo.name, &github.bot(), Permission::None);
    assert_eq!(scene.github(Get, ISSUES, "").status, 404);
}

#[test]
fn odd_requests_get_odd_answers() {
    let scene = Scene::new();
    let got = scene.github(Get, "/repos/acme/app/", "");
    assert_eq!((got.status, &got.json["documentation_url"]), (404, &"https://docs.github.com/rest".into()));
    let got = scene.github(Post, ISSUES, "{");
    assert_eq!((got.status, got.message()), (400, "Problems parsing JSON"));
    let got = scene.github(Post, ISSUES, "[]");
    assert_eq!((got.status, got.message()), (400, "Body should be a JSON object"));
    assert_eq!(scene.github(Get, "/repos/ACME/App", "").status, 200, "names have no case");
}

#[test]
fn what_an_issue_cannot_be_is_refused_in_the_services_words() {
    let scene = Scene::new();
    scene.issue("One");
    let long = "x".repeat(257);
    let huge = "x".repeat(65_537);
    let label = "x".repeat(51);
    for (method, path, body, field, message) in [
        (Post, ISSUES.to_owned(), r#"{"title":""}"#.to_owned(), "title", "title can't be blank"),
        (
            Post,
            ISSUES.to_owned(),
            format!(r#"{{"title":"{long}"}}"#),
            "title",
            "title is too long (maximum is 256 characters)",
        ),
        (Patch, one(1), format!(r#"{{"body":"{huge}"}}"#), "body", "body is too long (maximum is 65536 characters)"),
        (Post, format!("{}/comments", one(1)), r#"{"body":" "}"#.to_owned(), "data", "Body cannot be blank"),
        (
            Post,
            "/repos/acme/app/labels".to_owned(),
            format!(r#"{{"name":"{label}"}}"#),
            "name",
            "name is too long (maximum is 50 characters)",
        ),
    ] {
        let got = scene.github(method, &path, &body);
        assert_eq!((got.status, &got.json["status"]), (422, &"422".into()));
        assert_eq!(got.json["errors"][0]["field"], field);
        assert_eq!(got.json["errors"][0]["message"], message);
    }
    let got = scene.github(Post, ISSUES, "{}");
    assert_eq!((got.status, got.message()), (422, "Invalid request.\n\n\"title\" wasn't supplied."));
    assert!(got.json.get("errors").is_none());
    assert_eq!(scene.github(Post, ISSUES, &format!(r#"{{"title":"{}"}}"#, "ä".repeat(256))).status, 201, "characters");
    assert_eq!(scene.view(1).body, "A body.");
}

#[test]
fn disabled_and_deleted_are_410() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let number = scene.issue("One");
    github.delete(&scene.repo.name, number);
    let got = scene.github(Get, &one(number), "");
    assert_eq!((got.status, got.message()), (410, "This issue was deleted"));
    assert!(scene.github(Get, &format!("{ISSUES}?state=all"), "").names("number").is_empty());
    github.enable_issues(&scene.repo.name, false);
    for (method, body) in [(Get, ""), (Post, r#"{"title":"x"}"#)] {
        let got = scene.github(method, ISSUES, body);
        assert_eq!((got.status, got.message()), (410, "Issues are disabled for this repo"));
    }
    assert_eq!(scene.github(Get, "/repos/acme/app", "").json["has_issues"], false);
}

#[test]
fn a_reader_creates_bare_issues_and_edits_only_its_own() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let theirs = scene.issue("Theirs");
    github.permit(&scene.repo.name, "rita", Permission::Read);
    let reader = github.token("rita");
    let body = r#"{"title":"x","labels":["bug"],"assignees":["ada"]}"#;
    let got = scene.github_as(&reader, Post, ISSUES, body);
    assert_eq!(
        (got.status, got.json["labels"].to_string(), got.json["assignees"].to_string()),
        (201, "[]".into(), "[]".into())
    );
    let own = got.json["number"].as_u64().expect("a number");
    let got = scene.github_as(&reader, Patch, &one(theirs), r#"{"title":"y"}"#);
    assert_eq!((got.status, got.message()), (403, "Must have admin rights to Repository."));
    assert_eq!(scene.github_as(&reader, Patch, &one(own), r#"{"title":"y"}"#).json["title"], "y");
    github.archive(&scene.repo.name, true);
    assert_eq!(scene.github(Patch, &one(own), r#"{"title":"z"}"#).status, 403);
}

#[test]
fn an_unassignable_login_fails_the_whole_write() {
    let scene = Scene::new();
    let got = scene.github(Post, ISSUES, r#"{"title":"x","assignees":["nobody"]}"#);
    assert_eq!(got.status, 422);
    assert_eq!(
        got.json["errors"][0],
        serde_json::json!({"value": "nobody", "resource": "Issue", "field": "assignees", "code": "invalid"})
    );
    assert!(scene.sandbox.world().issues(&scene.repo.name).is_empty());
    let number = scene.issue("One");
    let logins: Vec<String> = (0..11).map(|number| format!("user{number}")).collect();
    for login in &logins {
        scene.sandbox.github().permit(&scene.repo.name, login, Permission::Read);
    }
    let body = serde_json::json!({"assignees": logins}).to_string();
    let got = scene.github(Post, &format!("{}/assignees", one(number)), &body);
    assert_eq!((got.status, got.json["assignees"].as_array().map(Vec::len)), (201, Some(10)));
    assert_eq!(scene.github(Get, "/repos/acme/app/assignees/user3", "").status, 204);
    assert_eq!(scene.github(Get, "/repos/acme/app/assignees/nobody", "").status, 404);
}

#[test]
fn a_renamed_repository_redirects_by_its_id() {
    let scene = Scene::new();
    let number = scene.issue("One");
    let new = scene.sandbox.github().rename_repository(&scene.repo.name, "application");
    let got = scene.github(Get, &format!("{}?x=1", one(number)), "");
    let to = format!("https://github.sandbox/repositories/{}/issues/1?x=1", scene.repo.id);
    assert_eq!((got.status, got.header("location"), &got.json["url"]), (301, to.as_str(), &to.as_str().into()));
    let got = scene.github(Get, &to, "");
    assert_eq!((got.status, &got.json["title"]), (200, &"One".into()));
    assert!(got.json["repository_url"].as_str().is_some_and(|url| url.ends_with("/repos/acme/application")));
    let got = scene.github(Patch, &one(number), r#"{"title":"Two"}"#);
    assert_eq!(got.status, 307);
    assert_eq!(scene.github(Patch, got.header("location"), r#"{"title":"Two"}"#).status, 200);
    assert_eq!(scene.github(Get, "/repos/acme/app", "").status, 301);
    assert_eq!(scene.sandbox.world().issue(&new, number).expect("the issue").title, "Two");
    scene.sandbox.github().repository(&"acme/app".parse().expect("a name"));
    assert_eq!(scene.github(Get, &one(number), "").status, 404, "a new repository has taken the name");
}

#[test]
fn a_transferred_issue_redirects_and_its_comments_do_not() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let other = github.repository(&"acme/other".parse().expect("a name"));
    let number = scene.issue("One");
    github.add_label(&scene.repo.name, number, "bug");
    github.add_label(&scene.repo.name, number, "only-here");
    github.comment(&scene.repo.name, number, "Hello.");
    let before = scene.view(number).id;
    github.issue(&other.name, IssueSeed::new("First", ""));
    let new = github.transfer(&scene.repo.name, number, &other.name);
    assert_eq!(new, 2);
    let got = scene.github(Get, &one(number), "");
    assert_eq!(got.status, 301);
    let got = scene.github(Get, got.header("location"), "");
    assert_eq!(
        (got.status, &got.json["number"], got.json["labels"].as_array().map(Vec::len)),
        (200, &2.into(), Some(1))
    );
    assert_ne!(got.json["id"], before);
    assert_eq!(scene.github(Get, &format!("{}/comments", one(number)), "").status, 404);
    assert_eq!(scene.github(Patch, &one(number), r#"{"title":"x"}"#).status, 404);
    assert!(scene.github(Get, &format!("{ISSUES}?state=all"), "").names("number").is_empty());
    assert_eq!(scene.github(Get, "/repos/acme/other/issues/2/comments", "").names("body"), ["Hello."]);
}

#[test]
fn page_sizes_are_bent_into_range() {
    let scene = Scene::new();
    for number in 0..101 {
        scene.issue(&number.to_string());
    }
    for (asked, given) in [("150", 100), ("0", 30), ("-5", 30), ("100", 100), ("7", 7)] {
        let got = scene.github(Get, &format!("{ISSUES}?per_page={asked}"), "");
        assert_eq!(got.json.as_array().map(Vec::len), Some(given), "{asked}");
    }
    assert!(scene.github(Get, &format!("{ISSUES}?labels=bug"), "").response.header("link").is_none());
}

#[test]
fn the_issues_list_pages_by_cursor_under_the_repositorys_id() {
    let scene = Scene::new();
    for number in 1..=5 {
        scene.wait(1000);
        scene.issue(&number.to_string());
    }
    for (order, expected) in [("asc", ["1", "2", "3", "4", "5"]), ("desc", ["5", "4", "3", "2", "1"])] {
        let first = scene.github(Get, &format!("{ISSUES}?state=all&sort=updated&direction={order}&per_page=2"), "");
        let next = first.link("next").expect("a next page");
        assert!(next.starts_with(&format!("https://github.sandbox/repositories/{}/issues?", scene.repo.id)), "{next}");
        assert!(next.contains("after=") && next.contains("page=2") && next.contains("per_page=2"), "{next}");
        assert!(first.link("last").is_none() && first.link("first").is_none() && first.link("prev").is_none());
        let second = scene.github(Get, &next, "");
        let third = scene.github(Get, &second.link("next").expect("a third page"), "");
        assert!(third.link("next").is_none());
        let titles = [first.names("title"), second.names("title"), third.names("title")].concat();
        assert_eq!(titles, expected);
        let back = scene.github(Get, &third.link("prev").expect("a page before"), "");
        assert_eq!(back.names("title"), second.names("title"));
    }
    assert_eq!(scene.github(Get, &format!("{ISSUES}?per_page=2&page=2"), "").names("title"), ["3", "2"]);
}

#[test]
fn comments_page_by_number_and_name_the_last() {
    let scene = Scene::new();
    let number = scene.issue("One");
    for text in ["a", "b", "c"] {
        scene.sandbox.github().comment(&scene.repo.name, number, text);
    }
    let got = scene.github(Get, &format!("{}/comments?per_page=2", one(number)), "");
    assert!(got.link("last").is_some_and(|last| last.ends_with("page=2")), "{got:?}");
    let got = scene.github(Get, &got.link("next").expect("a next page"), "");
    assert_eq!((got.names("body"), got.link("next")), (vec!["c".to_owned()], None));
}

#[test]
fn too_deep_a_page_is_refused_and_the_cursor_is_not() {
    let scene = Scene::new();
    scene.sandbox.github().populate(&scene.repo.name, 1300, Arc::new(|_| "Body.".to_owned()));
    let got = scene.github(Get, &format!("{ISSUES}?state=all&per_page=100&page=11"), "");
    assert_eq!(got.status, 422);
    assert!(got.message().contains("please use cursor based pagination"));
    let mut next = Some(format!("{ISSUES}?state=all&per_page=100"));
    let mut count = 0;
    while let Some(path) = next {
        let got = scene.github(Get, &path, "");
        count += got.json.as_array().expect("a list").len();
        next = got.link("next");
    }
    assert_eq!(count, 1300);
}

#[test]
fn an_item_updated_between_two_pages_moves() {
    let scene = Scene::new();
    for number in 1..=4 {
        scene.wait(1000);
        scene.issue(&number.to_string());
    }
    let first = scene.github(Get, &format!("{ISSUES}?sort=updated&direction=asc&per_page=2"), "");
    scene.wait(1000);
    scene.sandbox.github().retitle(&scene.repo.name, 1, "1 again");
    let second = scene.github(Get, &first.link("next").expect("a next page"), "");
    let third = scene.github(Get, &second.link("next").expect("a third page"), "");
    assert_eq!([second.names("title"), third.names("title")].concat(), ["3", "4", "1 again"]);
}

#[test]
fn the_hourly_limit_is_told_and_kept() {
    let scene = Scene::new();
    scene.sandbox.github().habits(|habits| habits.limits.requests_per_hour = Some(3));
    let got = scene.github(Get, "/user", "");
    let shown =
        ["limit", "remaining", "used", "resource"].map(|name| got.header(&format!("x-ratelimit-{name}")).to_owned());
    assert_eq!(shown, ["3", "2", "1", "core"]);
    let reset: i64 = got.header("x-ratelimit-reset").parse().expect("seconds");
    assert!(reset > scene.clock.now().as_second());
    scene.github(Get, "/user", "");
    scene.github(Get, "/user", "");
    let got = scene.github(Get, "/user", "");
    assert_eq!((got.status, got.header("x-ratelimit-remaining")), (403, "0"));
    assert!(got.message().starts_with("API rate limit exceeded for user ID"), "{got:?}");
    let got = scene.github(Get, "/rate_limit", "");
    assert_eq!((got.status, &got.json["resources"]["core"]["remaining"]), (200, &0.into()));
    scene.wait(3600 * 1000);
    assert_eq!(scene.github(Get, "/user", "").status, 200);
}

#[test]
fn bursts_meet_the_secondary_limits() {
    let scene = Scene::new();
    scene.issue("One");
    let github = scene.sandbox.github();
    github.habits(|habits| habits.limits = Limits { points_per_minute: Some(12), ..Limits::off() });
    let write = || scene.github(Patch, &one(1), r#"{"title":"x"}"#);
    assert_eq!([write().status, write().status, scene.github(Get, "/user", "").status], [200, 200, 200]);
    let got = write();
    assert_eq!((got.status, got.header("retry-after")), (403, "60"));
    assert!(got.message().contains("secondary rate limit") && got.header("x-ratelimit-remaining") != "0");
    scene.wait(60_000);
    assert_eq!(write().status, 200);

    github.habits(|habits| {
        habits.limits = Limits { creations_per_minute: Some(2), creations_per_hour: Some(3), ..Limits::off() };
        habits.limit_status = 429;
        habits.names_retry_after = false;
    });
    let make = || scene.github(Post, ISSUES, r#"{"title":"x"}"#);
    assert_eq!([make().status, make().status], [201, 201]);
    let got = make();
    assert_eq!((got.status, got.response.header("retry-after")), (429, None));
    scene.wait(60_000);
    assert_eq!([make().status, make().status], [201, 429], "the hour's limit");
    assert_eq!(write().status, 200, "which is about creations only");
}

#[test]
fn an_unchanged_page_is_304_and_free() {
    let scene = Scene::new();
    let number = scene.issue("One");
    let list = format!("{ISSUES}?state=all");
    let got = scene.github(Get, &list, "");
    let etag = got.header("etag").to_owned();
    assert!(etag.starts_with("W/\"") && etag.len() == 68, "{etag}");
    assert!(got.response.header("last-modified").is_none());
    let conditional = |token: &str, accept: &str| {
        let mut request = scene.request(Side::Forge, token, Get, &list, "");
        request.headers.retain(|(name, _)| name != "accept");
        request.headers.push(("accept".to_owned(), accept.to_owned()));
        request.headers.push(("if-none-match".to_owned(), etag.clone()));
        scene.ask(&request)
    };
    let accept = "application/vnd.github+json";
    let used = got.header("x-ratelimit-used").to_owned();
    let got = conditional(&scene.repo.token, accept);
    assert_eq!((got.status, got.response.body.len(), got.header("x-ratelimit-used")), (304, 0, used.as_str()));
    let other = scene.sandbox.github().token(&scene.sandbox.github().bot());
    assert_eq!(conditional(&other, accept).status, 200, "another token");
    assert_eq!(conditional(&scene.repo.token, "application/json").status, 200, "another form");
    scene.sandbox.github().change_profile("ada");
    assert_eq!(conditional(&scene.repo.token, accept).status, 200, "another profile");
    let got = scene.github(Get, &one(number), "");
    assert!(got.response.header("last-modified").is_some());
    scene.wait(5000);
    let updated = scene.view(number).updated_at;
    scene.sandbox.github().change_profile("ada");
    let later = scene.github(Get, &one(number), "");
    assert_ne!(later.header("last-modified"), got.header("last-modified"));
    assert_eq!(scene.view(number).updated_at, updated);
}

#[test]
fn lists_are_filtered_as_asked() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let repo = &scene.repo.name;
    scene.issue("Old");
    scene.wait(1500);
    scene.issue("Edge");
    let at = scene.clock.now().as_second();
    let since = jiff::Timestamp::from_second(at).expect("an instant");
    scene.wait(2000);
    let number = github.issue(repo, IssueSeed { closed: Some(Reason::Completed), ..IssueSeed::new("Done", "") });
    github.add_label(repo, number, "BUG");
    github.pull_request(repo, "A pull", "");
    let titles = |query: &str| scene.github(Get, &format!("{ISSUES}?{query}"), "").names("title");
    assert_eq!(titles(""), ["A pull", "Edge", "Old"]);
    assert_eq!(titles("state=all&direction=asc"), ["Old", "Edge", "Done", "A pull"]);
    assert_eq!(titles("state=closed"), ["Done"]);
    assert_eq!(titles(&format!("state=all&sort=updated&direction=asc&since={since}")), ["Edge", "Done", "A pull"]);
    assert_eq!(titles("state=all&labels=bug"), ["Done"]);
    assert!(titles("state=all&labels=never").is_empty());
    assert_eq!(titles("sort=nonsense&direction=asc"), ["A pull", "Edge", "Old"], "newest first all the same");
    let got = scene.github(Get, &format!("{ISSUES}?state=nonsense"), "");
    assert_eq!((got.status, &got.json["errors"][0]["field"]), (422, &"state".into()));
    let got = scene.github(Get, &format!("{ISSUES}?state=all"), "");
    let pulls: Vec<bool> =
        got.json.as_array().expect("a list").iter().map(|issue| issue.get("pull_request").is_some()).collect();
    assert_eq!(pulls, [true, false, false, false]);
}

#[test]
fn a_lagging_replica_shows_what_was() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let repo = &scene.repo.name;
    let (one_, two) = (scene.issue("One"), scene.issue("Two"));
    scene.wait(60_000);
    github.habits(|habits| habits.lag = Duration::from_secs(30));
    github.retitle(repo, one_, "One again");
    github.delete(repo, two);
    let new = scene.issue("Three");
    let titles = || scene.github(Get, &format!("{ISSUES}?state=all&sort=updated&direction=asc"), "").names("title");
    assert_eq!(titles(), ["One", "Two"]);
    assert_eq!(scene.github(Get, &one(new), "").status, 404);
    assert_eq!(scene.github(Get, &one(two), "").status, 200);
    let got = scene.github(Patch, &one(one_), r#"{"body":"x"}"#);
    assert_eq!(got.json["title"], "One again", "the answer to a write is the truth");
    scene.wait(31_000);
    assert_eq!(titles(), ["One again", "Three"]);
}

#[test]
fn states_and_reasons_follow_the_rules() {
    let scene = Scene::new();
    let number = scene.issue("One");
    let set = |body: &str| {
        let got = scene.github(Patch, &one(number), body);
        (got.status, got.json["state"].clone(), got.json["state_reason"].clone())
    };
    assert_eq!(set(r#"{"state_reason":"completed"}"#), (200, "open".into(), Value::Null));
    assert_eq!(set(r#"{"state":"closed"}"#), (200, "closed".into(), "completed".into()));
    assert_eq!(set(r#"{"state":"closed","state_reason":"not_planned"}"#), (200, "closed".into(), "completed".into()));
    assert_eq!(set(r#"{"state":"open"}"#), (200, "open".into(), "reopened".into()));
    let got = scene.github(Get, &one(number), "");
    assert!(got.json["closed_at"].is_null() && got.json["closed_by"]["login"].is_string());
    assert_eq!(set(r#"{"state":"closed","state_reason":"not_planned"}"#), (200, "closed".into(), "not_planned".into()));
    assert_eq!(set(r#"{"state":"closed","state_reason":"reopened"}"#).0, 422);
    assert_eq!(set(r#"{"state":"ajar"}"#).0, 422);
}

#[test]
fn labels_and_assignees_are_replaced_and_made() {
    let scene = Scene::new();
    let number = scene.issue("One");
    let got = scene.github(Patch, &one(number), r#"{"labels":["BUG","Brand New"],"assignees":["ada"]}"#);
    let labels: Vec<_> = got.json["labels"].as_array().expect("a list").iter().map(|label| &label["name"]).collect();
    assert_eq!(labels, ["bug", "Brand New"]);
    assert_eq!(got.json["labels"][1]["color"], "ededed");
    let got = scene.github(Patch, &one(number), r#"{"labels":[],"assignees":[]}"#);
    assert_eq!((got.json["labels"].to_string(), got.json["assignees"].to_string()), ("[]".into(), "[]".into()));
    assert_eq!(scene.github(Get, "/repos/acme/app/labels/brand%20new", "").json["name"], "Brand New");
    let labels = format!("{}/labels", one(number));
    assert_eq!(scene.github(Post, &labels, r#"{"labels":["bug"]}"#).names("name"), ["bug"]);
    assert_eq!(scene.github(Post, &labels, r#"["question"]"#).names("name"), ["bug", "question"]);
    assert_eq!(scene.github(Put, &labels, r#"{"labels":["wontfix"]}"#).names("name"), ["wontfix"]);
    let got = scene.github(Delete, &format!("{labels}/bug"), "");
    assert_eq!((got.status, got.message()), (404, "Label does not exist"));
    let got = scene.github(Delete, &format!("{labels}/wontfix"), "");
    assert_eq!((got.status, got.json.to_string()), (200, "[]".to_owned()));
}

#[test]
fn a_labels_definition_is_renamed_and_deleted_for_all() {
    let scene = Scene::new();
    let number = scene.issue("One");
    scene.sandbox.github().add_label(&scene.repo.name, number, "bug");
    let stamp = scene.view(number).updated_at;
    scene.wait(2000);
    let before = scene.github(Get, "/repos/acme/app/labels/bug", "").json["id"].clone();
    let got = scene.github(Patch, "/repos/acme/app/labels/bug", r#"{"new_name":"defect"}"#);
    assert_eq!((&got.json["id"], &got.json["name"]), (&before, &"defect".into()));
    assert_eq!(scene.view(number).labels, ["defect"]);
    let got = scene.github(Post, "/repos/acme/app/labels", r#"{"name":"DEFECT","color":"112233"}"#);
    assert_eq!(got.json["errors"][0]["code"], "already_exists");
    assert_eq!(scene.github(Post, "/repos/acme/app/labels", r#"{"name":"x","color":"red"}"#).status, 422);
    assert_eq!(scene.github(Delete, "/repos/acme/app/labels/defect", "").status, 204);
    assert_eq!((scene.view(number).labels.len(), scene.view(number).updated_at), (0, stamp));
    assert_eq!(scene.github(Get, "/repos/acme/app/labels?per_page=100", "").json.as_array().map(Vec::len), Some(8));
}

#[test]
fn numbers_are_shared_and_never_used_again() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let one = scene.issue("One");
    github.delete(&scene.repo.name, one);
    let pull = github.pull_request(&scene.repo.name, "Pull", "");
    let two = scene.issue("Two");
    assert_eq!((one, pull, two), (1, 2, 3));
    assert!(scene.view(two).id > i64::from(u32::MAX));
    let same = r#"{"title":"Two","body":"A body."}"#;
    assert_ne!(scene.github(Post, ISSUES, same).json["number"], scene.github(Post, ISSUES, same).json["number"]);
}

#[test]
fn changes_move_the_stamp_by_whole_seconds() {
    let scene = Scene::new();
    let github = scene.sandbox.github();
    let repo = &scene.repo.name;
    let number = scene.issue("One");
    let comment = github.comment(repo, number, "Hello.");
    let moves = |act: &dyn Fn()| {
        let before = scene.view(number).updated_at;
        scene.wait(1000);
        act();
        scene.view(number).updated_at != before
    };
    assert!(moves(&|| github.retitle(repo, number, "Two")));
    assert!(moves(&|| github.add_label(repo, number, "bug")));
    assert!(moves(&|| assert!(github.comment(repo, number, "More.") > 0)));
    assert!(!moves(&|| github.edit_comment(repo, comment, "Edited.")));
    assert!(moves(&|| github.retitle(repo, number, "Two")), "the same value again");
    github.habits(|habits| (habits.same_value_stamps, habits.comment_edit_stamps) = (false, true));
    assert!(!moves(&|| github.retitle(repo, number, "Two")));
    assert!(moves(&|| github.delete_comment(repo, comment)));
    scene.wait(1000);
    github.retitle(repo, number, "Three");
    let first = scene.view(number).updated_at;
    scene.wait(900);
    github.retitle(repo, number, "Four");
    assert_eq!(scene.view(number).updated_at, first, "two changes within one second share it");
    assert_eq!(first.subsec_nanosecond(), 0);
}

#[test]
fn bodies_are_kept_byte_for_byte_and_the_web_editor_writes_crlf() {
    let scene = Scene::new();
    let number = scene.issue("One");
    for body in ["a\nb\r\nc\n\n", "", " \tx"] {
        let sent = serde_json::json!({"body": body}).to_string();
        assert_eq!(scene.github(Patch, &one(number), &sent).json["body"], body);
    }
    scene.sandbox.github().web_edit_body(&scene.repo.name, number, "a\nb\r\nc");
    assert_eq!(scene.view(number).body, "a\r\nb\r\nc");
    assert!(scene.github(Patch, &one(number), r#"{"body":null}"#).json["body"].is_null());
}

#[test]
fn comments_are_made_edited_and_deleted_once() {
    let scene = Scene::new();
    let number = scene.issue("One");
    let got = scene.github(Post, &format!("{}/comments", one(number)), r#"{"body":"Hello."}"#);
    let path = format!("{ISSUES}/comments/{}", got.json["id"]);
    assert_eq!((got.status, &got.json["user"]["login"]), (201, &scene.sandbox.github().bot().as_str().into()));
    assert_eq!(scene.github(Patch, &path, r#"{"body":"Edited."}"#).json["body"], "Edited.");
    assert_eq!(scene.github(Get, &format!("{ISSUES}/comments?sort=updated"), "").names("body"), ["Edited."]);
    assert_eq!(scene.github(Get, &one(number), "").json["comments"], 1);
    assert_eq!(scene.github(Delete, &path, "").status, 204);
    assert_eq!(scene.github(Delete, &path, "").status, 404);
    assert_eq!(scene.github(Put, &format!("{}/lock", one(number)), r#"{"lock_reason":"spam"}"#).status, 204);
    assert_eq!(scene.github(Get, &one(number), "").json["active_lock_reason"], "spam");
}

#[test]
fn an_issue_shows_about_as_much_as_a_real_one() {
    let scene = Scene::new();
    let number = scene.issue("One");
    scene.sandbox.github().add_label(&scene.repo.name, number, "bug");
    scene.sandbox.github().assign(&scene.repo.name, number, &["ada"]);
    let got = scene.github(Get, &format!("{ISSUES}?state=all"), "");
    assert!((2200..4500).contains(&got.response.body.len()), "{}", got.response.body.len());
    let got = scene.github(Get, "/repos/acme/app", "");
    assert_eq!(got.json["permissions"]["push"], true);
    assert_eq!(got.header("x-oauth-scopes"), "repo");
}
