//! The client against scripted answers: what it asks, and what it makes of what comes back.

use std::sync::Arc;

use super::*;
use crate::clock::VirtualClock;
use crate::model::{BySide, Content, Marker, Native, People, Person};
use crate::provider::Halt;
use crate::provider::http::TransportError;
use crate::provider::testing::{Answer, Script, connection, ok, path, status, with};

fn client(script: &Arc<Script>) -> (GithubClient, Arc<VirtualClock>) {
    let (connection, clock) = connection(Side::Forge, script.clone());
    let account = BySide { tracker: None, forge: Some("alice-gh".to_owned()) };
    let people = People::new(vec![Person { name: "alice".into(), account, mention: false }]);
    let rules = Rules { people, ..Rules::default() };
    (GithubClient::new(connection, "acme/app".parse().expect("a name"), &rules), clock)
}

fn issue(number: u64) -> Value {
    issue_in("acme/app", number, "2026-11-20T11:30:00Z")
}

fn issue_in(repo: &str, number: u64, updated: &str) -> Value {
    json!({"number": number, "id": 9_000 + number, "node_id": format!("I_{number}"), "title": format!("Issue {number}"),
        "body": "text", "state": "open", "state_reason": null, "labels": [], "assignees": [],
        "repository_url": format!("https://github.test/repos/{repo}"),
        "created_at": "2026-11-20T11:00:00Z", "updated_at": updated})
}

fn pull_request(number: u64) -> Value {
    let mut pull = issue(number);
    pull["pull_request"] = json!({"url": "x"});
    pull
}

fn repo(name: &str, id: i64) -> Answer {
    ok(json!({"id": id, "full_name": name, "has_issues": true, "permissions": {"push": true}}))
}

/// Answers the repository itself, and everything else by `rest`.
fn beside_repo(rest: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Arc<Script> {
    Script::by(move |_, request| match path(&request.url) {
        "/repos/acme/app" => repo("acme/app", 1027),
        url => rest(url),
    })
}

fn cursor(etag: Option<&str>) -> Cursor {
    json!({"repo": "acme/app", "since": "2026-11-20T11:00:00Z", "etag": etag}).to_string()
}

fn poll(client: &GithubClient, from: &Cursor) -> (Result<Changes, ProviderError>, Vec<String>) {
    let mut keys = Vec::new();
    let changes = client.changes(Some(from), false, &mut |items| {
        keys.extend(items.iter().map(|item| item.key.to_string()));
        Ok(())
    });
    (changes, keys)
}

fn next(changes: Result<Changes, ProviderError>) -> Cursor {
    match changes {
        Ok(Changes::Since { next, .. } | Changes::TooOld { next }) => next,
        other => panic!("{other:?}"),
    }
}

fn read(client: &GithubClient, key: &str) -> Result<Found, ProviderError> {
    client.item(&key.parse().expect("a key"))
}

const LIST: &str =
    "/repos/acme/app/issues?state=all&per_page=100&sort=updated&direction=asc&since=2026-11-20T11%3A00%3A00Z";

#[test]
fn without_a_cursor_the_watermark_is_githubs_time_less_the_overlap() {
    let script = Script::by(|_, _| {
        with(200, &[("date", "Fri, 20 Nov 2026 11:40:00 GMT")], json!({"id": 1027, "full_name": "acme/app"}))
    });
    let (client, _) = client(&script);
    let changes = client.changes(None, false, &mut |_| Err(Halt)).expect("an answer");
    let Changes::TooOld { next } = changes else { panic!("{changes:?}") };
    assert!(next.contains("2026-11-20T11:35:00Z"), "{next}");
    assert_eq!(script.asked(), ["GET /repos/acme/app"]);
    for bad in [cursor(None).replace("acme/app", "acme/other"), "nonsense".to_owned()] {
        assert!(matches!(poll(&client, &bad).0, Ok(Changes::TooOld { .. })), "{bad}");
    }
}

#[test]
fn an_idle_poll_is_one_request_answered_304_and_its_address_stays() {
    let script = Script::by(|_, _| with(304, &[], Value::Null));
    let (client, _) = client(&script);
    let mut from = cursor(Some("W/\"1\""));
    for _ in 0..3 {
        let (changes, keys) = poll(&client, &from);
        assert!(keys.is_empty());
        from = next(changes);
    }
    assert_eq!(script.asked(), vec![format!("GET {LIST}"); 3]);
    assert_eq!(script.headers("if-none-match"), vec![Some("W/\"1\"".to_owned()); 3]);
    assert_eq!(client.requests(), Requests { sent: 3, unchanged: 3, writes: 0 });
}

#[test]
fn after_a_small_change_the_watermark_stays_and_the_new_etag_is_kept() {
    let script = beside_repo(|_| with(200, &[("etag", "W/\"2\"")], json!([issue(1), pull_request(2), issue(3)])));
    let (client, _) = client(&script);
    let (changes, keys) = poll(&client, &cursor(Some("W/\"1\"")));
    assert_eq!(keys, ["github:acme/app#1", "github:acme/app#3"]);
    assert_eq!(next(changes), cursor_text("2026-11-20T11:00:00Z", Some("W/\"2\"")));
    // The listing, and once the repository for its id.
    assert_eq!(script.asked().len(), 2);
}

fn cursor_text(since: &str, etag: Option<&str>) -> Cursor {
    let since = since.parse().expect("a moment");
    let place = Place { repo: "acme/app".parse().expect("a name"), since, etag: etag.map(str::to_owned) };
    serde_json::to_string(&place).expect("a place")
}

/// A first page of `rows` issues, the newest of them touched at `newest`, answered at noon.
fn full(rows: u64, newest: &'static str, link: Option<&'static str>) -> Arc<Script> {
    beside_repo(move |_| {
        let issues: Vec<_> = (1..=rows).map(|number| issue_in("acme/app", number, newest)).collect();
        let mut headers = vec![("etag", "W/\"2\""), ("date", "Fri, 20 Nov 2026 12:00:00 GMT")];
        headers.extend(link.map(|link| ("link", link)));
        with(200, &headers, json!(issues))
    })
}

#[test]
fn a_full_page_moves_the_watermark_but_never_into_the_last_minutes() {
    let table = [
        (60, "2026-11-20T11:50:00Z", "2026-11-20T11:50:01Z", None),
        (60, "2026-11-20T11:59:00Z", "2026-11-20T11:55:00Z", None),
        // Not one of them is left under the next watermark, so that idleness is one empty page.
        (100, "2026-11-20T11:00:00Z", "2026-11-20T11:00:01Z", None),
        (50, "2026-11-20T11:50:00Z", "2026-11-20T11:00:00Z", Some("W/\"2\"")),
    ];
    for (rows, newest, since, etag) in table {
        let script = full(rows, newest, None);
        let (client, _) = client(&script);
        assert_eq!(next(poll(&client, &cursor(None)).0), cursor_text(since, etag), "{rows} {newest}");
    }
}

#[test]
fn pages_are_followed_by_their_links_only_to_the_same_host_and_not_in_circles() {
    let script = beside_repo(|url| match url {
        LIST => with(
            200,
            &[
                ("link", r#"<https://github.test/repositories/1027/issues?after=x&page=2>; rel="next""#),
                ("etag", "W/\"2\""),
            ],
            json!([issue(1)]),
        ),
        "/repositories/1027/issues?after=x&page=2" => ok(json!([issue(2)])),
        _ => status(404, "Not Found"),
    });
    let (two, _) = client(&script);
    let (changes, keys) = poll(&two, &cursor(None));
    assert_eq!(keys, ["github:acme/app#1", "github:acme/app#2"]);
    // The ETag of one page says nothing about two.
    assert!(!next(changes).contains("W/"));

    for link in [
        r#"<https://evil.test/repositories/1027/issues?page=2>; rel="next""#,
        r#"<https://github.test/repositories/1027/issues?page=2>; rel="next""#,
    ] {
        let script = full(1, "2026-11-20T11:50:00Z", Some(link));
        let (client, _) = client(&script);
        assert!(matches!(poll(&client, &cursor(None)).0, Err(ProviderError::Garbled { .. })), "{link}");
        assert!(script.asked().len() <= 4, "{:?}", script.asked());
    }
}

#[test]
fn a_sweep_lists_everything_by_creation_without_pull_requests() {
    let script = beside_repo(|_| ok(json!([issue(1), pull_request(2), issue(3)])));
    let (client, _) = client(&script);
    assert_eq!(client.sweep(&mut |_| Ok(())), Ok(2));
    assert_eq!(script.asked()[0], "GET /repos/acme/app/issues?state=all&per_page=100&sort=created&direction=asc");
    assert_eq!(client.sweep(&mut |_| Err(Halt)), Err(ProviderError::Halted));
}

#[test]
fn one_odd_issue_does_not_hide_the_others_and_is_named() {
    let script = beside_repo(|_| ok(json!([issue(1), {"number": 2, "title": 7}, {"number": -3}, "x", issue(4)])));
    let (client, _) = client(&script);
    let (changes, keys) = poll(&client, &cursor(None));
    assert_eq!(keys, ["github:acme/app#1", "github:acme/app#4"]);
    let Ok(Changes::Since { touched, .. }) = changes else { panic!("{changes:?}") };
    assert_eq!(touched, ["github:acme/app#2".parse().expect("a key")]);
    for body in [json!([{"number": 2}]), json!({"message": "hello"}), json!("x")] {
        let script = beside_repo(move |_| ok(body.clone()));
        let (client, _) = super::tests::client(&script);
        assert!(matches!(client.sweep(&mut |_| Ok(())), Err(ProviderError::Garbled { .. })));
    }
}

#[test]
fn a_direct_read_tells_gone_from_unseen_from_denied() {
    let table = [
        (410, "This issue was deleted", "Ok(Gone)"),
        (410, "Issues are disabled for this repo", "Err(Denied"),
        (404, "Not Found", "Ok(Unseen"),
        (403, "Resource not accessible by integration", "Ok(Unseen"),
        (451, "blocked", "Ok(Unseen"),
        (401, "Bad credentials", "Err(Denied"),
        (301, "Moved", "Ok(Unseen"),
        (500, "", "Err(Unreachable"),
    ];
    for (code, message, wanted) in table {
        let script = beside_repo(move |_| status(code, message));
        let (client, _) = client(&script);
        let found = format!("{:?}", read(&client, "github:acme/app#7"));
        assert!(found.starts_with(wanted), "{code} {message}: {found}");
    }
    let script = beside_repo(|_| ok(pull_request(7)));
    assert_eq!(read(&client(&script).0, "github:acme/app#7"), Ok(Found::NotAnItem));
}

#[test]
fn an_issue_whose_repository_had_to_be_waited_for_is_read_again() {
    let mut edited = issue(7);
    edited["title"] = json!("Ann's title");
    let script = Script::of(vec![
        ok(issue(7)),
        with(429, &[("retry-after", "60")], json!({"message": "You have exceeded a secondary rate limit"})),
        repo("acme/app", 1027),
        ok(edited),
    ]);
    let (client, _) = client(&script);
    let Ok(Found::Here(item)) = read(&client, "github:acme/app#7") else { panic!("{:?}", script.asked()) };
    assert_eq!(item.content.title, "Ann's title", "a minute had gone by since it was read");
    assert_eq!(script.asked().len(), 4, "{:?}", script.asked());
}

fn redirect(code: u16, to: &str) -> Answer {
    with(code, &[("location", to)], json!({"message": "Moved Permanently"}))
}

#[test]
fn a_transferred_issue_has_moved_and_a_renamed_repository_has_not() {
    let script = Script::by(|_, request| match path(&request.url) {
        "/repos/acme/app" => redirect(301, "https://github.test/repositories/1027"),
        "/repositories/1027" | "/repos/acme/renamed" => repo("acme/renamed", 1027),
        "/repos/acme/other" => repo("acme/other", 5),
        "/repos/acme/app/issues/7" => redirect(301, "/repositories/1027/issues/7"),
        "/repos/acme/app/issues/8" => redirect(301, "https://github.test/repositories/5/issues/8"),
        "/repositories/1027/issues/7" => ok(issue_in("acme/renamed", 7, "2026-11-20T11:30:00Z")),
        "/repositories/5/issues/8" => ok(issue_in("acme/other", 8, "2026-11-20T11:30:00Z")),
        _ => status(404, "Not Found"),
    });
    let (moved, _) = client(&script);
    assert_eq!(read(&moved, "github:acme/app#8"), Ok(Found::Moved("github:acme/other#8".parse().expect("a key"))));
    let (renamed, _) = client(&script);
    let Ok(Found::Here(item)) = read(&renamed, "github:acme/app#7") else { panic!("not here") };
    assert_eq!(item.key.to_string(), "github:acme/renamed#7");
    assert!(matches!(item.native, Native::Issue { repo_id: 1027, .. }));
}

#[test]
fn a_renamed_repository_costs_one_redirect_and_not_one_in_every_call() {
    let script = Script::by(|_, request| match path(&request.url) {
        LIST => redirect(301, &LIST.replace("/repos/acme/app", "https://github.test/repositories/1027")),
        url if url.starts_with("/repositories/1027/issues") => with(304, &[], Value::Null),
        _ => status(404, "Not Found"),
    });
    let (client, _) = client(&script);
    for _ in 0..3 {
        assert!(matches!(poll(&client, &cursor(Some("W/\"1\""))).0, Ok(Changes::Since { .. })));
    }
    assert_eq!(client.requests(), Requests { sent: 4, unchanged: 3, writes: 0 });
    // The condition goes along with the redirect.
    assert_eq!(script.headers("if-none-match"), vec![Some("W/\"1\"".to_owned()); 4]);
}

#[test]
fn the_token_never_goes_to_another_host_and_redirects_end() {
    for to in ["https://evil.test/repos/acme/app/issues/7", "http://github.test/x", "https://github.test@evil.test/"] {
        let script = Script::by(move |_, _| redirect(301, to));
        let (client, _) = client(&script);
        assert!(matches!(read(&client, "github:acme/app#7"), Err(ProviderError::Garbled { .. })), "{to}");
        assert_eq!(script.asked().len(), 1);
    }
    let script = Script::by(|_, request| redirect(302, &request.url));
    let (client, _) = client(&script);
    assert!(matches!(read(&client, "github:acme/app#7"), Err(ProviderError::Garbled { .. })));
    assert_eq!(script.asked().len(), HOPS_MAX + 1);
}

fn draft() -> Draft {
    let marker = Marker::naming("asana:1201".parse().expect("a key"));
    let content = Content { title: "Fix".into(), body: "It fails".into(), ..Content::default() };
    Draft { content, footer: format!("---\n<!-- {marker} -->"), marker }
}

/// The bodies of all requests that write.
fn written(script: &Script) -> Vec<(String, Value)> {
    let all = script.asked().into_iter().zip(script.bodies());
    all.filter(|(asked, _)| !asked.starts_with("GET")).collect()
}

#[test]
fn an_issue_is_made_with_everything_it_shall_say() {
    let script = beside_repo(|_| {
        let mut made = issue(8);
        made["labels"] = json!([{"name": "Bug"}]);
        made["assignees"] = json!([{"login": "alice-gh"}, {"login": "stranger"}]);
        with(201, &[], made)
    });
    let (client, _) = client(&script);
    let mut draft = draft();
    draft.content.labels = ["bug".to_owned()].into();
    draft.content.assignees.known = vec!["nobody here".into(), "alice".into()];
    draft.content.assignees.unknown = vec!["stranger".into(), "Alice-GH".into()];
    assert_eq!(client.create(&draft).map(|item| item.key.to_string()), Ok("github:acme/app#8".to_owned()));
    let written = written(&script);
    assert_eq!(written.len(), 1);
    let (asked, body) = &written[0];
    assert_eq!(asked, "POST /repos/acme/app/issues");
    assert_eq!((&body["title"], &body["labels"]), (&json!("Fix"), &json!(["bug"])));
    assert_eq!(body["assignees"], json!(["alice-gh", "stranger"]));
    let text = body["body"].as_str().expect("text");
    assert!(text.starts_with("It fails\n\n---\n") && text.contains(&draft.marker.to_string()), "{text}");
}

#[test]
fn a_login_that_cannot_be_assigned_does_not_stop_the_creation() {
    let answers = std::sync::Mutex::new(vec![
        with(201, &[], issue(8)),
        with(
            422,
            &[],
            json!({"message": "Validation Failed", "errors": [
            {"value": "alice-gh", "resource": "Issue", "field": "assignees", "code": "invalid"}]}),
        ),
    ]);
    let script = beside_repo(move |_| lock(&answers).pop().unwrap_or_else(|| status(418, "over")));
    let (client, _) = client(&script);
    let mut draft = draft();
    draft.content.assignees.known = vec!["alice".into()];
    assert!(client.create(&draft).is_ok());
    let bodies = written(&script);
    assert_eq!(bodies.len(), 2);
    assert!(bodies[0].1.get("assignees").is_some() && bodies[1].1.get("assignees").is_none());
}

#[test]
fn an_issue_made_but_not_closed_is_made_all_the_same() {
    let mut closed = issue(8);
    closed["state"] = json!("closed");
    closed["state_reason"] = json!("not_planned");
    for (close, wanted) in [(ok(closed), Status::Dropped), (status(500, ""), Status::Open)] {
        let script = beside_repo(move |url| match url {
            "/repos/acme/app/issues" => with(201, &[], issue(8)),
            _ => close.clone(),
        });
        let (client, _) = client(&script);
        let mut draft = draft();
        draft.content.status = Status::Dropped;
        assert_eq!(client.create(&draft).map(|item| item.content.status), Ok(wanted));
        let written = written(&script);
        assert_eq!(written[1].0, "PATCH /repos/acme/app/issues/8");
        assert_eq!(written[1].1, json!({"state": "closed", "state_reason": "not_planned"}));
    }
}

#[test]
fn a_write_whose_answer_cannot_be_read_may_be_done() {
    let answers: [Answer; 4] = [
        ok(json!({"number": 8})),
        Err(TransportError::NoAnswer("cut".into())),
        status(502, ""),
        ok(issue_in("acme/unknown", 8, "2026-11-20T11:30:00Z")),
    ];
    for answer in answers {
        let script = beside_repo(move |url| if url.ends_with("/issues") { answer.clone() } else { status(500, "") });
        let (client, _) = client(&script);
        let error = client.create(&draft()).expect_err("no good answer");
        assert!(error.maybe_done(), "{error:?}");
        assert_eq!(written(&script).len(), 1);
    }
}

fn current(client: &GithubClient) -> Item {
    match read(client, "github:acme/app#7") {
        Ok(Found::Here(item)) => *item,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_update_writes_only_what_is_set_in_one_request() {
    let script = beside_repo(|_| {
        let mut changed = issue(7);
        changed["state"] = json!("closed");
        changed["state_reason"] = json!("completed");
        ok(changed)
    });
    let (client, _) = client(&script);
    let current = current(&client);
    let change = Change { status: Some(Status::Done), ..Change::default() };
    assert_eq!(client.update(&current, &change).map(|item| item.content.status), Ok(Status::Done));
    let change = Change { text: Some(("New".into(), Some("---\nfooter".into()))), ..Change::default() };
    client.update(&current, &change).expect("an update");
    assert_eq!(client.update(&current, &Change::default()), Ok(current.clone()));
    let written = written(&script);
    assert_eq!(written[0].1, json!({"state": "closed", "state_reason": "completed"}));
    assert_eq!(written[1].1, json!({"body": "New\n\n---\nfooter"}));
    assert_eq!(written.len(), 2);
}

#[test]
fn labels_and_people_are_added_and_removed_one_by_one_before_the_rest_is_written() {
    let mut shown = issue(7);
    shown["labels"] = json!([{"name": "Bug"}, {"name": "old one"}]);
    shown["assignees"] = json!([{"id": 1, "login": "alice"}, {"id": 2, "login": "bob"}]);
    let script = Script::by(move |_, request| match (request.method, path(&request.url)) {
        (_, "/repos/acme/app") => repo("acme/app", 1027),
        // Somebody was faster: that is what was wanted.
        (Method::Delete, "/repos/acme/app/issues/7/labels/old%20one") => {
            with(404, &[], json!({"message": "Not Found"}))
        }
        _ => ok(shown.clone()),
    });
    let (client, _) = client(&script);
    let current = current(&client);
    let labels = Some(BTreeSet::from(["bug".to_owned(), "new".to_owned()]));
    let assignees = Some(Assignees { known: Vec::new(), unknown: vec!["Bob".into(), "carol".into()] });
    let change = Change { labels, assignees, ..Change::default() };
    let asked = |from: usize| -> Vec<String> { script.asked().into_iter().skip(from).collect() };
    let before = script.asked().len();
    client.update(&current, &change).expect("an update");
    let sets = [
        "POST /repos/acme/app/issues/7/labels",
        "DELETE /repos/acme/app/issues/7/labels/old%20one",
        "DELETE /repos/acme/app/issues/7/assignees",
        "POST /repos/acme/app/issues/7/assignees",
    ];
    let read = "GET /repos/acme/app/issues/7";
    assert_eq!(asked(before), [&sets[..], &[read]].concat());
    let bodies: Vec<Value> =
        written(&script).into_iter().map(|(_, body)| body).filter(|body| !body.is_null()).collect();
    let [new, gone, come] = bodies.as_slice() else { panic!("{bodies:?}") };
    assert_eq!(*new, json!({"labels": ["new"]}));
    assert_eq!((gone, come), (&json!({"assignees": ["alice"]}), &json!({"assignees": ["carol"]})));
    let before = script.asked().len();
    client.update(&current, &Change { title: Some("x".into()), ..change }).expect("an update");
    assert_eq!(asked(before), [&sets[..], &["PATCH /repos/acme/app/issues/7"]].concat());
    assert_eq!(written(&script).last().expect("a write").1, json!({"title": "x"}));
}

#[test]
fn what_github_silently_left_out_is_noticed_and_the_item_shown_as_it_is() {
    let script = beside_repo(|_| ok(issue(7)));
    let (client, _) = client(&script);
    let current = current(&client);
    let labels = Some(BTreeSet::from(["bug".to_owned()]));
    let assignees = Some(Assignees { known: vec!["alice".into()], unknown: Vec::new() });
    let change = Change { labels, assignees, status: Some(Status::Done), ..Change::default() };
    let shown = client.update(&current, &change).expect("an answer");
    assert_eq!(shown, current);
    let dropped = client.dropped(&change, &shown);
    assert_eq!(dropped, ["status done (it shows open)", "1 of 1 labels", "1 of 1 assignees"]);
}

#[test]
fn a_write_follows_a_redirect_only_where_the_method_is_kept() {
    let script = Script::by(|_, request| match path(&request.url) {
        "/repos/acme/app" | "/repositories/1027" | "/repos/acme/renamed" => repo("acme/renamed", 1027),
        "/repos/acme/app/issues/7/comments" => redirect(307, "/repositories/1027/issues/7/comments"),
        "/repositories/1027/issues/7/comments" => with(201, &[], json!({"id": 1})),
        _ => redirect(301, "/repositories/1027/issues/9/comments"),
    });
    let (client, _) = client(&script);
    assert_eq!(client.comment(&"github:acme/app#7".parse().expect("a key"), "hello"), Ok(()));
    assert_eq!(script.bodies()[1], json!({"body": "hello"}));
    let error = client.comment(&"github:acme/app#9".parse().expect("a key"), "hello").expect_err("a 301");
    assert!(matches!(error, ProviderError::Refused { status: 301, .. }), "{error:?}");
}

#[test]
fn comments_are_found_over_all_pages_whatever_the_line_ends() {
    let script = Script::by(|_, request| match path(&request.url) {
        "/repos/acme/app/issues/7/comments?per_page=100" => with(
            200,
            &[("link", r#"<https://github.test/two>; rel="next", <https://github.test/two>; rel="last""#)],
            json!([{"body": "other"}, {"body": null}]),
        ),
        "/two" => ok(json!([{"body": "first line\r\nsecond line\r\n"}])),
        _ => status(404, "Not Found"),
    });
    let (client, _) = client(&script);
    let key = "github:acme/app#7".parse().expect("a key");
    assert_eq!(client.has_comment(&key, "first line\nsecond line"), Ok(true));
    assert_eq!(client.has_comment(&key, "third line"), Ok(false));
    let gone = "github:acme/app#8".parse().expect("a key");
    assert!(matches!(client.has_comment(&gone, "x"), Err(ProviderError::Gone { .. })));
}

#[test]
fn marked_issues_are_found_by_listing() {
    let script = beside_repo(|_| {
        let marked = |number: u64, created: &str| {
            let mut issue = issue(number);
            issue["body"] = json!(format!("x\n\n---\n<!-- {} -->\n", draft().marker));
            issue["created_at"] = json!(created);
            issue
        };
        let (new, old) = (marked(8, "2026-11-20T11:00:00Z"), marked(2, "2026-11-20T10:00:00Z"));
        ok(json!([issue(7), new, old]))
    });
    let (client, _) = client(&script);
    let found = client.marked_since("2026-11-20T11:00:00.750Z".parse().expect("a moment")).expect("a list").items;
    assert_eq!(found.iter().map(|item| item.key.to_string()).collect::<Vec<_>>(), ["github:acme/app#8"]);
    assert!(script.asked()[0].contains("&sort=created&direction=asc&since=2026-11-20T10%3A55%3A00Z"));
}

#[test]
fn a_check_says_what_is_wrong_and_what_to_do() {
    let noon = crate::provider::testing::start();
    let body = json!({"id": 1, "full_name": "acme/app", "has_issues": false, "archived": true,
        "permissions": {"pull": true, "push": false, "triage": false}});
    let headers = [("x-oauth-scopes", "gist, read:org"), ("date", "Fri, 20 Nov 2026 13:00:00 GMT")];
    let script = Script::by(move |_, _| with(200, &headers, body.clone()));
    let found = client(&script).0.check(noon);
    let bad: Vec<_> = found.iter().filter(|finding| !finding.good).map(|finding| finding.subject.as_str()).collect();
    assert_eq!(bad, ["token", "issues", "archived", "permissions", "clock"]);
    assert!(found.iter().all(|finding| finding.good || finding.remedy.is_some()));

    let script = Script::by(|_, _| {
        with(
            200,
            &[("x-oauth-scopes", "repo, gist")],
            json!({"id": 1, "full_name": "acme/app", "permissions": {"push": true}}),
        )
    });
    assert!(client(&script).0.check(noon).iter().all(|finding| finding.good));
    for (code, subject) in [(401, "token"), (404, "repository")] {
        let script = Script::by(move |_, _| status(code, "no"));
        let found = client(&script).0.check(noon);
        assert_eq!((found.len(), found[0].subject.as_str(), found[0].good), (1, subject, false));
    }
}
