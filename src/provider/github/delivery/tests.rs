//! Which issues each event names, and what becomes of bodies that are not as they should be.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn heard(event: &str, body: &Value) -> Heard {
    reduce(event, body.to_string().as_bytes()).expect("a delivery")
}

fn touched(heard: &Heard) -> Vec<String> {
    heard.touched.iter().map(ToString::to_string).collect()
}

fn repository(name: &str) -> Value {
    json!({"id": 1027, "full_name": name, "html_url": format!("https://github.com/{name}"), "default_branch": "main"})
}

fn about_issue(action: &str) -> Value {
    json!({"action": action, "issue": {"number": 17, "id": 9, "title": "x", "body": null},
        "repository": repository("acme/app"), "sender": {"login": "octo"}})
}

fn about_pull(action: &str) -> Value {
    json!({"action": action, "number": 5, "repository": repository("acme/app"), "sender": {"login": "merger"},
        "pull_request": {"number": 5, "title": "Mend\nlogin", "html_url": "https://github.com/acme/app/pull/5",
            "body": "Fixes #17 and closes octo/lib#3", "merged": false, "user": {"login": "author"}, "base": {"ref": "main"}}})
}

#[test]
fn whatever_happens_to_an_issue_names_it() {
    let actions = [
        "opened",
        "edited",
        "closed",
        "reopened",
        "deleted",
        "assigned",
        "labeled",
        "unlabeled",
        "milestoned",
        "of_the_future",
    ];
    for action in actions {
        let heard = heard("issues", &about_issue(action));
        assert_eq!(touched(&heard), ["github:acme/app#17"], "{action}");
        assert_eq!(heard.event, format!("issues.{action}"));
        assert_eq!((heard.whole, heard.repository_id, heard.note), (None, Some(1027), None));
    }
    for action in ["created", "edited", "deleted"] {
        assert_eq!(touched(&heard("issue_comment", &about_issue(action))), ["github:acme/app#17"]);
    }
}

#[test]
fn a_transfer_names_the_issue_before_and_after() {
    let mut left = about_issue("transferred");
    left["changes"] = json!({"new_issue": {"number": 3}, "new_repository": {"full_name": "acme/other", "id": 8}});
    assert_eq!(touched(&heard("issues", &left)), ["github:acme/app#17", "github:acme/other#3"]);
    let mut arrived = about_issue("opened");
    arrived["changes"] = json!({"old_issue": {"number": 4}, "old_repository": {"full_name": "acme/old", "id": 7}});
    assert_eq!(touched(&heard("issues", &arrived)), ["github:acme/app#17", "github:acme/old#4"]);
    // Where it went is not always shown.
    left["changes"] = json!({});
    assert_eq!(touched(&heard("issues", &left)), ["github:acme/app#17"]);
}

#[test]
fn pull_requests_are_no_items() {
    let mut comment = about_issue("created");
    comment["issue"]["pull_request"] = json!({"url": "x"});
    for event in ["issue_comment", "issues"] {
        let heard = heard(event, &comment);
        assert_eq!((touched(&heard), heard.whole, heard.note.is_some()), (vec![], None, true));
    }
    for action in ["synchronize", "labeled", "ready_for_review", ""] {
        let heard = heard("pull_request", &about_pull(action));
        assert_eq!((heard.pull_request, heard.note.as_deref()), (None, Some("not acted upon")), "{action}");
    }
}

#[test]
fn what_happened_to_a_pull_request_is_told_with_the_issues_it_closes() {
    let told = |body: &Value| heard("pull_request", body).pull_request.expect("told");
    let merged = |action: &str, merged: bool| {
        let mut body = about_pull(action);
        body["pull_request"]["merged"] = json!(merged);
        told(&body)
    };
    let one = merged("closed", true);
    assert_eq!((one.act, one.by.as_str(), one.author.as_str()), (PullRequestAct::Merged, "merger", "author"));
    assert_eq!((one.title.as_str(), one.number), ("Mend login", 5));
    assert_eq!(one.closes.iter().map(ToString::to_string).collect::<Vec<_>>(), ["acme/app#17", "octo/lib#3"]);
    assert_eq!(merged("closed", false).act, PullRequestAct::ClosedUnmerged);
    assert_eq!(merged("opened", false).act, PullRequestAct::Opened);
    assert_eq!(merged("reopened", false).act, PullRequestAct::Reopened);
    assert_eq!(merged("edited", false).act, PullRequestAct::Edited);

    let mut elsewhere = about_pull("opened");
    elsewhere["pull_request"]["base"]["ref"] = json!("release-1");
    assert_eq!(told(&elsewhere).closes, []);
    elsewhere["pull_request"]["base"] = json!(null);
    elsewhere["repository"]["default_branch"] = json!(null);
    assert_eq!(told(&elsewhere).closes, [], "two unknown branches are not the same");
}

#[test]
fn a_pull_request_of_an_account_that_is_gone_is_told_all_the_same() {
    let mut body = about_pull("opened");
    body["pull_request"]["user"] = json!(null);
    body["sender"] = json!(null);
    body["pull_request"]["body"] = json!(null);
    body["pull_request"]["html_url"] = json!("javascript:alert(1)");
    let told = heard("pull_request", &body).pull_request.expect("told");
    assert_eq!((told.author.as_str(), told.by.as_str(), told.closes.len()), ("ghost", "ghost", 0));
    assert_eq!(told.url, "https://github.com/acme/app/pull/5");
}

#[test]
fn addresses_in_a_description_are_of_the_server_that_sent_it() {
    let mut body = about_pull("opened");
    body["repository"]["html_url"] = json!("https://git.acme.example/acme/app");
    body["pull_request"]["body"] =
        json!("fixes https://git.acme.example/acme/app/issues/1, fixes https://github.com/acme/app/issues/2");
    let told = heard("pull_request", &body).pull_request.expect("told");
    assert_eq!(told.closes.iter().map(|issue| issue.number).collect::<Vec<_>>(), [1]);
}

#[test]
fn what_moves_no_issue_asks_for_a_look_at_more() {
    let with = |action: &str, more: Value| {
        let mut body = json!({"action": action, "repository": repository("acme/new")});
        body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        body
    };
    let org = json!({"changes": {"owner": {"from": {"organization": {"login": "octo"}}}}});
    let user = json!({"changes": {"owner": {"from": {"user": {"login": "octo"}}}}});
    let table: Vec<(&str, Value, Option<Whole>, Option<&str>)> = vec![
        ("label", with("edited", json!({"changes": {"name": {"from": "bug"}}})), Some(Whole::Sweep), None),
        ("label", with("edited", json!({"changes": {"color": {"from": "ffffff"}}})), None, None),
        ("label", with("edited", json!({})), Some(Whole::Sweep), None),
        ("label", with("deleted", json!({"label": {"name": "bug"}})), Some(Whole::Sweep), None),
        ("label", with("created", json!({})), None, None),
        ("milestone", with("closed", json!({})), None, None),
        (
            "repository",
            with("renamed", json!({"changes": {"repository": {"name": {"from": "app"}}}})),
            Some(Whole::Poll),
            Some("acme/app"),
        ),
        (
            "repository",
            with("renamed", json!({"changes": {"repository": {"name": {"from": "../x"}}}})),
            Some(Whole::Poll),
            None,
        ),
        ("repository", with("transferred", user), Some(Whole::Poll), Some("octo/new")),
        ("repository", with("transferred", org), Some(Whole::Poll), Some("octo/new")),
        ("repository", with("transferred", json!({})), Some(Whole::Poll), None),
        ("repository", with("deleted", json!({})), None, None),
        ("installation", json!({"action": "created", "installation": {"id": 1}}), None, None),
        ("check_suite", with("completed", json!({})), None, None),
        ("sub_issues", with("sub_issue_added", json!({})), None, None),
    ];
    for (event, body, whole, before) in table {
        let heard = heard(event, &body);
        assert_eq!((heard.whole, touched(&heard)), (whole, vec![]), "{event} {body}");
        assert_eq!(heard.renamed_from.as_ref().map(RepoName::as_str), before, "{event} {body}");
        assert_eq!(heard.note.is_some(), whole.is_none(), "what is not acted upon is noted: {event} {body}");
    }
}

#[test]
fn a_ping_names_its_hook() {
    let heard =
        heard("ping", &json!({"zen": "Keep it.", "hook_id": 4_400_000_000_i64, "hook": {"type": "Repository"}}));
    assert_eq!((heard.event.as_str(), heard.hook_id, heard.note), ("ping", Some(4_400_000_000), None));
}

#[test]
fn what_is_missing_or_odd_is_noted_and_never_refused() {
    let odd = [json!(null), json!(0), json!(-1), json!(u64::MAX), json!(1e300), json!("17"), json!([]), json!({})];
    for value in &odd {
        let mut body = about_issue("closed");
        body["issue"]["number"] = value.clone();
        let heard = heard("issues", &body);
        assert_eq!((touched(&heard), heard.whole, heard.note.is_some()), (vec![], Some(Whole::Poll), true), "{value}");
        for key in ["action", "issue", "repository", "changes", "sender", "pull_request", "number", "hook_id", "label"]
        {
            for event in ["issues", "issue_comment", "pull_request", "label", "repository", "ping", "meta"] {
                for mut body in [about_issue("transferred"), about_pull("closed")] {
                    body[key] = value.clone();
                    let _ = self::heard(event, &body);
                }
            }
        }
    }
    let mut body = about_issue("closed");
    body["repository"]["full_name"] = json!("../../etc/passwd");
    body["repository"]["id"] = json!(u64::MAX);
    let heard = heard("issues", &body);
    assert_eq!((touched(&heard), heard.repository, heard.repository_id), (vec![], None, None));
}

#[test]
fn a_name_that_is_none_is_not_passed_on() {
    for event in ["", "iss ues", "<b>", "é", &"a".repeat(1000)] {
        assert_eq!(heard(event, &json!({"action": "<i>"})).event, "unknown");
    }
}

#[test]
fn only_what_is_no_json_object_is_refused() {
    let deep = format!(r#"{{"issue":{}{}}}"#, "[".repeat(200), "]".repeat(200));
    let deeper = r#"{"a":"#.repeat(500_000);
    for body in
        [b"".as_slice(), b"[]", b"null", b"{", b"\"x\"", b"{\"a\":\"\xff\"}", deep.as_bytes(), deeper.as_bytes()]
    {
        assert!(reduce("issues", body).is_err());
    }
    assert!(reduce("issues", format!(r#"{{"a":{}{}}}"#, "[".repeat(100), "]".repeat(100)).as_bytes()).is_ok());
}

#[test]
fn the_json_is_the_body_or_a_form_s_only_payload() {
    let json = br#"{"zen":"a+b & c"}"#;
    let form: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("payload", std::str::from_utf8(json).expect("text"))
        .finish();
    let form_type = "application/x-www-form-urlencoded";
    let same = |content_type: &str, body: &[u8]| payload_of(content_type, body).map(|body| body.to_vec());
    assert_eq!(same("application/json", json), Ok(json.to_vec()));
    assert_eq!(same("Application/JSON ; charset=utf-8", json), Ok(json.to_vec()));
    assert_eq!(same(form_type, form.as_bytes()), Ok(json.to_vec()));
    assert_eq!(same(form_type, format!("a=b&{form}&c").as_bytes()), Ok(json.to_vec()));
    for body in ["", "other=1", "payload", &format!("{form}&{form}"), &format!("{form}&payload=")] {
        let wanted = if body == "payload" { Ok(Vec::new()) } else { Err(PayloadFault::Form) };
        assert_eq!(same(form_type, body.as_bytes()), wanted, "{body}");
    }
    for content_type in
        ["", "text/plain", "application/jsonx", "multipart/form-data; boundary=x", "application/json, text/plain"]
    {
        assert_eq!(same(content_type, json), Err(PayloadFault::Type), "{content_type}");
    }
    // What the percent signs hide need not be text.
    assert!(payload_of(form_type, b"payload=%ff%00%zz").is_ok_and(|body| reduce("ping", &body).is_err()));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(event in "\\PC{0,12}", body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = reduce(&event, &body);
        let _ = payload_of("application/x-www-form-urlencoded", &body).map(|body| reduce("issues", &body));
    }
}
