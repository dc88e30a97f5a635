//! The hooks against scripted answers: what is asked, and what is made of what comes back.

use std::sync::Arc;

use super::*;
use crate::provider::testing::{Answer, Script, connection, ok, path, raw, start, status, with};

const TARGET: &str = "https://sync.example/webhooks/github";

fn hooks(script: &Arc<Script>) -> GithubHooks {
    GithubHooks::new(connection(Side::Forge, script.clone()).0, "acme/app".parse().expect("a name"))
}

fn secret() -> Secret {
    Secret::new("wh-s3cret".to_owned())
}

fn shown(id: u64) -> Value {
    json!({"type": "Repository", "id": id, "name": "web", "active": true, "events": WANTED,
        "config": {"url": TARGET, "content_type": "json", "secret": "********", "insecure_ssl": "0"},
        "created_at": "2026-11-20T10:00:00Z", "updated_at": "2026-11-20T10:00:00Z",
        "last_response": {"code": null, "status": "unused", "message": null}})
}

fn hook(change: impl Fn(&mut Value)) -> Hook {
    let mut value = shown(1);
    change(&mut value);
    serde_json::from_value::<Shown>(value).expect("a hook").hook().expect("a webhook")
}

#[test]
fn the_hooks_of_the_repository_are_listed_page_by_page() {
    let mut service = shown(3);
    service["name"] = json!("email");
    let next = r#"<https://github.test/repositories/7/hooks?page=2>; rel="next""#;
    let script = Script::of(vec![
        with(200, &[("link", next)], json!([shown(1), service])),
        ok(json!([{"id": "no hook at all"}, shown(5_000_000_000)])),
    ]);
    let all = hooks(&script).list().expect("a list");
    assert_eq!(all.iter().map(|hook| hook.id.as_str()).collect::<Vec<_>>(), ["1", "5000000000"]);
    assert_eq!(all[0].target, TARGET);
    assert_eq!(script.asked(), ["GET /repos/acme/app/hooks?per_page=100", "GET /repositories/7/hooks?page=2"]);
}

#[test]
fn a_list_that_cannot_be_had_whole_is_none() {
    let script = Script::by(|index, _| {
        let next = format!(r#"<https://github.test/x?page={}>; rel="next""#, index + 2);
        with(200, &[("link", &next)], json!([]))
    });
    assert!(matches!(hooks(&script).list(), Err(ProviderError::Garbled { .. })));
    assert_eq!(script.asked().len(), HOOK_PAGES_MAX);
    let circle = r#"<https://github.test/x>; rel="next""#;
    let script = Script::by(move |_, _| with(200, &[("link", circle)], json!([])));
    assert!(matches!(hooks(&script).list(), Err(ProviderError::Garbled { .. })));
    // A token without the permission for hooks is shown nothing.
    let script = Script::of(vec![status(404, "Not Found")]);
    assert!(matches!(hooks(&script).list(), Err(ProviderError::Denied { .. })));
}

#[test]
fn a_hook_is_as_wanted_only_in_events_and_form() {
    let good = hook(|_| {});
    assert!(good.as_wanted && good.signed && good.active && good.last_failure.is_none());
    assert!(hook(|value| value["events"].as_array_mut().expect("a list").reverse()).as_wanted, "in any order");
    assert!(hook(|value| value["config"]["insecure_ssl"] = json!(0)).as_wanted);
    let spoiled: [fn(&mut Value); 6] = [
        |value| value["events"] = json!(["*"]),
        |value| value["events"] = json!(["issues"]),
        |value| value["events"].as_array_mut().expect("a list").push(json!("push")),
        |value| value["config"]["content_type"] = json!("form"),
        |value| value["config"]["content_type"] = json!(null),
        |value| value["config"]["insecure_ssl"] = json!("1"),
    ];
    for spoil in spoiled {
        assert!(!hook(spoil).as_wanted);
    }
    assert!(!hook(|value| value["config"]["secret"] = json!(null)).signed);
    assert!(!hook(|value| value["active"] = json!(false)).active);
    let failing =
        hook(|value| value["last_response"] = json!({"code": 502, "status": "active", "message": "Bad\ngateway"}));
    assert_eq!(failing.last_failure.as_deref(), Some("502 Bad gateway"));
    assert_eq!(hook(|value| value["last_response"]["code"] = json!(204)).last_failure, None);
}

#[test]
fn one_is_made_signed_and_as_json() {
    let script = Script::of(vec![with(201, &[], shown(12))]);
    let made = hooks(&script).create(TARGET, Some(&secret())).expect("made");
    assert_eq!((made.hook.id.as_str(), made.secret), ("12", None));
    let wanted = json!({"name": "web", "active": true,
        "events": ["issues", "issue_comment", "pull_request", "label", "milestone", "repository"],
        "config": {"url": TARGET, "content_type": "json", "secret": "wh-s3cret", "insecure_ssl": "0"}});
    assert_eq!((script.asked(), script.bodies()), (vec!["POST /repos/acme/app/hooks".to_owned()], vec![wanted]));

    let silent = Script::of(vec![]);
    for none in [None, Some(&Secret::new(String::new()))] {
        assert!(matches!(hooks(&silent).create(TARGET, none), Err(ProviderError::Refused { .. })));
    }
    assert!(silent.asked().is_empty(), "an unsigned hook is not even asked for");
}

#[test]
fn a_hook_that_cannot_be_made_says_why_without_the_secret() {
    let refused = |answer: Answer| {
        let script = Script::of(vec![answer]);
        let error = hooks(&script).create(TARGET, Some(&secret())).expect_err("not made");
        assert_eq!(script.asked().len(), 1, "a creation is not repeated");
        assert!(!error.to_string().contains("s3cret"), "{error}");
        error
    };
    let known = status(422, "Hook already exists on this repository wh-s3cret");
    assert!(matches!(refused(known), ProviderError::Refused { status: 422, .. }));
    assert!(matches!(refused(status(403, "Resource not accessible")), ProviderError::Denied { .. }));
    assert!(matches!(refused(status(404, "Not Found")), ProviderError::Denied { .. }));
    assert!(refused(status(502, "Server Error")).maybe_done());
    assert!(refused(raw(201, b"<html>")).maybe_done());
}

#[test]
fn mending_a_hook_never_drops_its_secret() {
    let script = Script::by(|_, _| ok(shown(12)));
    let client = hooks(&script);
    client.set_wanted("12").expect("mended");
    client.set_secret("12", &secret()).expect("changed");
    assert_eq!(
        script.asked(),
        [
            "PATCH /repos/acme/app/hooks/12",
            "PATCH /repos/acme/app/hooks/12/config",
            "PATCH /repos/acme/app/hooks/12/config"
        ]
    );
    let bodies = script.bodies();
    assert_eq!(bodies[0], json!({"active": true, "events": WANTED}), "no config, for it would replace the whole");
    assert_eq!(bodies[1], json!({"content_type": "json", "insecure_ssl": "0"}));
    assert_eq!(bodies[2], json!({"secret": "wh-s3cret"}));
    assert!(matches!(client.set_secret("12", &Secret::new(String::new())), Err(ProviderError::Refused { .. })));
    assert_eq!(script.asked().len(), 3);
}

#[test]
fn one_that_is_gone_is_removed_and_no_other_is_met() {
    let gone = || status(404, "Not Found");
    let script = Script::of(vec![raw(204, b""), gone(), ok(json!([shown(13)])), raw(204, b""), gone()]);
    let client = hooks(&script);
    client.remove("12").expect("removed");
    client.remove("12").expect("gone already");
    client.ping("13").expect("pinged");
    assert!(matches!(client.set_wanted("../14"), Err(ProviderError::Gone { .. })));
    let wanted = [
        "DELETE /repos/acme/app/hooks/12",
        "DELETE /repos/acme/app/hooks/12",
        "GET /repos/acme/app/hooks?per_page=100",
        "POST /repos/acme/app/hooks/13/pings",
        "PATCH /repos/acme/app/hooks/..%2F14",
    ];
    assert_eq!(script.asked(), wanted);
}

#[test]
fn a_hook_that_a_token_may_not_see_is_not_taken_for_removed() {
    let script = Script::by(|_, _| status(404, "Not Found"));
    assert!(matches!(hooks(&script).remove("12"), Err(ProviderError::Denied { .. })));
    let script = Script::by(|index, _| if index == 0 { status(404, "Not Found") } else { ok(json!([shown(12)])) });
    assert!(matches!(hooks(&script).remove("12"), Err(ProviderError::Gone { .. })));
}

#[test]
fn a_renamed_repository_keeps_its_hooks() {
    let script = Script::by(|_, request| match path(&request.url) {
        "/repos/acme/app/hooks?per_page=100" => {
            with(301, &[("location", "https://github.test/repositories/7/hooks?per_page=100")], json!({}))
        }
        _ => ok(json!([])),
    });
    let client = hooks(&script);
    client.list().expect("followed");
    client.ping("1").expect("pinged");
    assert_eq!(script.asked()[2], "POST /repositories/7/hooks/1/pings");
}

fn attempt(id: u64, guid: &str, minute: u32, status: &str, code: i64) -> Value {
    json!({"id": id, "guid": guid, "delivered_at": format!("2026-11-20T11:{minute:02}:00Z"), "redelivery": false,
        "duration": 0.3, "status": status, "status_code": code, "event": "issues", "action": "closed"})
}

#[test]
fn what_no_attempt_handed_over_is_found_in_the_log() {
    let mut ping = attempt(19, "p", 53, "timed out", 0);
    ping["event"] = json!("ping");
    let next = r#"<https://github.test/repositories/7/hooks/1/deliveries?cursor=v1_9>; rel="next""#;
    let first = json!([
        attempt(20, "again-ok", 55, "OK", 200),
        ping,
        attempt(18, "twice", 52, "failed to connect", 0),
        attempt(17, "fine", 51, "OK", 200),
        attempt(16, "accepted", 50, "Accepted", 202),
        {"guid": "odd"},
        attempt(15, "ok-then-failed", 49, "timed out", 0),
    ]);
    let second = json!([
        attempt(14, "ok-then-failed", 48, "OK", 200),
        attempt(13, "again-ok", 47, "Service Unavailable", 503),
        attempt(12, "twice", 46, "Service Unavailable", 503),
        attempt(9_000_000_000_000, "once", 45, "Invalid HTTP Response: 401", 401),
        attempt(10, "old", 29, "timed out", 0),
        attempt(9, "older", 28, "timed out", 0),
    ]);
    let third = r#"<https://github.test/repositories/7/hooks/1/deliveries?cursor=v1_1>; rel="next""#;
    let script = Script::of(vec![with(200, &[("link", next)], first), with(200, &[("link", third)], second)]);
    let since = "2026-11-20T11:45:00.9Z".parse().expect("a moment");
    let found = hooks(&script).undelivered("1", since).expect("a log");
    let seen: Vec<_> = found.iter().map(|one| (one.guid.as_str(), one.delivery_id.as_str(), one.attempts)).collect();
    assert_eq!(seen, [("once", "9000000000000", 1), ("twice", "18", 2)]);
    assert_eq!((found[1].event.as_str(), found[1].status.as_str()), ("issues.closed", "failed to connect"));
    let wanted =
        ["GET /repos/acme/app/hooks/1/deliveries?per_page=100", "GET /repositories/7/hooks/1/deliveries?cursor=v1_9"];
    assert_eq!(script.asked(), wanted, "no page is read beyond the moment asked for");
}

#[test]
fn a_log_without_end_is_read_for_a_while() {
    let script = Script::by(|index, _| {
        let next = format!(r#"<https://github.test/x?cursor={index}>; rel="next""#);
        with(200, &[("link", &next)], json!([attempt(7, "one", 55, "timed out", 0)]))
    });
    let found = hooks(&script).undelivered("1", crate::clock::earlier(start(), std::time::Duration::from_secs(86_400)));
    assert_eq!(found.expect("what was read")[0].attempts as usize, LOG_PAGES_MAX);
    assert_eq!(script.asked().len(), LOG_PAGES_MAX);
    let script = Script::of(vec![status(404, "Not Found")]);
    assert!(matches!(hooks(&script).undelivered("1", start()), Err(ProviderError::Gone { .. })));
}

#[test]
fn a_delivery_is_read_back_with_what_was_sent() {
    let with_payload = |payload: Value| {
        json!({"id": 18, "guid": "g-1", "event": "issues", "action": "closed", "status": "timed out",
            "request": {"headers": {"X-GitHub-Event": "issues"}, "payload": payload}, "response": {"headers": {}}})
    };
    let body = json!({"action": "closed", "issue": {"number": 17}});
    let script = Script::of(vec![
        ok(with_payload(body.clone())),
        ok(with_payload(json!(body.to_string()))),
        ok(with_payload(json!(null))),
        status(404, "Not Found"),
    ]);
    let client = hooks(&script);
    for _ in 0..2 {
        let delivery = client.delivery("1", "18").expect("kept");
        assert_eq!((delivery.guid.as_str(), delivery.event.as_str()), ("g-1", "issues"));
        assert_eq!(serde_json::from_slice::<Value>(&delivery.payload).expect("JSON"), body);
    }
    assert!(matches!(client.delivery("1", "18"), Err(ProviderError::Garbled { .. })));
    assert!(matches!(client.delivery("1", "18"), Err(ProviderError::Gone { .. })));
    assert_eq!(script.asked()[0], "GET /repos/acme/app/hooks/1/deliveries/18");
}

#[test]
fn the_networks_of_github_are_all_or_none() {
    let ask = |hooks: Value| {
        let script = Script::of(vec![ok(json!({"verifiable_password_authentication": false, "hooks": hooks}))]);
        let (connection, _) = connection(Side::Forge, script.clone());
        let sources = hook_sources(&connection);
        assert_eq!(script.asked(), ["GET /meta"]);
        sources
    };
    let good = json!(["192.30.252.0/22", "2a0a:a440::/29"]);
    assert_eq!(ask(good).expect("networks"), ["192.30.252.0/22", "2a0a:a440::/29"]);
    for bad in [
        json!([]),
        json!(["192.30.252.0/33"]),
        json!(["::/129"]),
        json!(["192.30.252.0"]),
        json!(["x/1"]),
        json!(["1.2.3.4/22", "0.0.0.0/-1"]),
        json!(null),
        json!(vec!["1.2.3.0/24"; SOURCES_MAX + 1]),
    ] {
        assert!(matches!(ask(bad.clone()), Err(ProviderError::Garbled { .. })), "{bad:.60}");
    }
}
