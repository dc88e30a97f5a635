//! asana-api.md §11, 54 to 64.

use serde_json::json;

use super::*;
use crate::sandbox::webhooks::sha256_hex;
use Method::{Delete, Get, Post, Put};

const NOT_ECHOED: &str =
    "The remote server which is intended to receive the webhook did not respond with the handshake secret.";

fn wish(scene: &Scene, target: &str) -> String {
    json!({"data": {"resource": scene.project.gid.as_str(), "target": target}}).to_string()
}

/// Action, kind and subtype of each event of a delivery.
fn events(request: &Request) -> Vec<String> {
    let body = body(request);
    let event = |event: &Value| {
        let word = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        format!("{} {} {}", word("/resource/resource_type"), word("/action"), word("/change/field"))
    };
    body["events"].as_array().expect("a list").iter().map(event).collect()
}

#[test]
fn the_target_is_shaken_hands_with_before_the_answer() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let got = scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a"));
    let handshake = receiver.take();
    assert_eq!((got.status, handshake.len()), (201, 1), "one request, and before the answer");
    let secret = header(&handshake[0], "x-hook-secret").expect("a secret");
    assert_eq!((secret.len(), &got.json["X-Hook-Secret"]), (64, &secret.into()));
    assert!(header(&handshake[0], "x-hook-signature").is_none());
    let data = got.data();
    assert_eq!((&data["active"], &data["target"]), (&true.into(), &"https://hooks.test/a".into()));
    assert_eq!(data["resource"]["gid"], scene.project.gid.as_str());
    assert_eq!(data["last_success_at"], data["created_at"]);
    assert_eq!((&data["filters"], &data["delivery_retry_count"]), (&json!([]), &0.into()));
    for name in ["last_failure_at", "next_attempt_after", "failure_deletion_timestamp"] {
        assert_eq!(data[name], Value::Null, "{name}");
    }
    let path = format!("/webhooks/{}", data["gid"].as_str().expect("a gid"));
    assert!(got.header("location").ends_with(&path));
    assert!(!String::from_utf8_lossy(&scene.asana(Get, &path, "").response.body).contains(secret), "never again");
}

#[test]
fn a_target_that_does_not_echo_gets_no_hook() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let list = format!("/webhooks?workspace={}", "1200000000000001");
    type Wrong = fn(&Request) -> Result<Response, TransportError>;
    let wrong: [Wrong; 4] = [
        |_| answer(200),
        |request| Ok(Response { status: 201, ..echo(request) }),
        |request| Ok(Response { headers: vec![("x-hook-secret".to_owned(), "other".to_owned())], ..echo(request) }),
        |_| Err(TransportError::NotSent("connection refused".to_owned())),
    ];
    for manner in wrong {
        receiver.behaves(manner);
        let got = scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a"));
        assert_eq!((got.status, got.message()), (400, NOT_ECHOED));
        assert!(got.json.get("X-Hook-Secret").is_none());
    }
    let clock = scene.clock.clone();
    receiver.behaves(move |request| {
        clock.advance(Duration::from_secs(11));
        Ok(echo(request))
    });
    assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a")).status, 400, "too late");
    assert_eq!(scene.asana(Get, &list, "").data(), &json!([]));
    scene.task("Nobody hears of it");
    receiver.take();
    assert!(scene.delivered(&receiver).is_empty());
}

#[test]
fn the_target_may_call_back_during_the_handshake() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let sandbox = scene.sandbox.clone();
    let ask = scene.request(Side::Tracker, &scene.project.token, Get, "/users/me", "");
    receiver.behaves(move |request| {
        assert_eq!(sandbox.respond(&ask).status, 200);
        Ok(echo(request))
    });
    assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a")).status, 201);
    assert_eq!(scene.sandbox.log().counts().tracker.requests, 2);
}

#[test]
fn of_two_that_make_the_same_hook_at_once_one_is_refused() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (sandbox, first) = (scene.sandbox.clone(), std::sync::atomic::AtomicBool::new(true));
    let body = wish(&scene, "https://hooks.test/a");
    let same = scene.request(Side::Tracker, &scene.project.token, Post, "/webhooks", &body);
    receiver.behaves(move |request| {
        if first.swap(false, Ordering::Relaxed) {
            assert_eq!(sandbox.respond(&same).status, 201);
        }
        Ok(echo(request))
    });
    let got = scene.asana(Post, "/webhooks", &body);
    assert_eq!((got.status, got.json.get("X-Hook-Secret")), (403, None));
    assert_eq!(scene.asana(Get, "/webhooks?workspace=1200000000000001", "").names("gid").len(), 1);
}

#[test]
fn the_same_hook_again_and_hooks_to_nowhere_are_refused() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a")).status, 201);
    let got = scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a"));
    assert_eq!(got.status, 403);
    assert!(got.message().starts_with("Duplicated webhook."), "{}", got.message());
    assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/b")).status, 201);
    receiver.take();
    for (target, status) in
        [("http://localhost:8080/a", 403), ("https://127.0.0.1/a", 403), ("http://hooks.test/a", 400), ("a", 400)]
    {
        assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, target)).status, status, "{target}");
    }
    for body in [r#"{"data":{}}"#, r#"{"data":{"resource":"1","target":"https://hooks.test/a"}}"#] {
        assert_eq!(scene.asana(Post, "/webhooks", body).status, 400);
    }
    assert!(receiver.take().is_empty(), "nobody was asked");
    scene.sandbox.asana().habits(|habits| habits.loopback_targets = true);
    assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, "http://127.0.0.1:8080/a")).status, 201);
}

#[test]
fn hooks_are_listed_for_their_maker_only() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (path, _) = scene.asana_hook(&receiver);
    let got = scene.asana(Get, "/webhooks", "");
    assert_eq!((got.status, got.message()), (400, "workspace: Missing input"));
    let list = |token: &str, more: &str| {
        let path = format!("/webhooks?workspace=1200000000000001{more}");
        scene.ask(&scene.request(Side::Tracker, token, Get, &path, "")).names("gid").len()
    };
    let own = &scene.project.token;
    assert_eq!(list(own, ""), 1);
    assert_eq!(list(own, &format!("&resource={}", scene.project.gid)), 1);
    assert_eq!(list(own, "&resource=1"), 0);
    let asana = scene.sandbox.asana();
    assert_eq!(list(&asana.token(&asana.person()), ""), 0, "another user");
    assert_eq!(list(&asana.app_token(&asana.bot(), "app"), ""), 0, "another app");
    let stranger = asana.token(&asana.person());
    assert_eq!(scene.ask(&scene.request(Side::Tracker, &stranger, Get, &path, "")).status, 404);
    let got = scene.asana(Get, &format!("{path}?opt_fields=target,delivery_retry_count"), "");
    let keys: Vec<&String> = got.data().as_object().expect("an object").keys().collect();
    assert_eq!(keys, ["delivery_retry_count", "gid", "target"]);
}

#[test]
fn deliveries_are_signed_over_their_exact_bytes() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (_, secret) = scene.asana_hook(&receiver);
    scene.task("Fix login – now");
    let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!(header(&delivery, "x-hook-signature"), Some(sha256_hex(&secret, &delivery.body).as_str()));
    assert_eq!((delivery.method, delivery.url.as_str()), (Post, "https://hooks.test/asana"));
}

#[test]
fn events_come_together_and_only_name_what_they_speak_of() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.asana_hook(&receiver);
    let task = scene.task("Fix login");
    let asana = scene.sandbox.asana();
    asana.assign(&task, Some(&asana.person()));
    let story = asana.comment(&task, "<body>Hello</body>");
    asana.edit_comment(&story, "<body>Good evening</body>");
    asana.delete_comment(&story);
    asana.subtask(&task, "Part");
    asana.delete(&task);
    let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!(
        events(&delivery),
        [
            "task added -",
            "task added -",
            "story added -",
            "task changed assignee",
            "story added -",
            "story added -",
            "story changed text",
            "story removed -",
            "task added -",
            "task deleted -",
        ]
    );
    let body = body(&delivery);
    let added = &body["events"][0];
    assert_eq!(added["resource"]["gid"], task.as_str());
    assert_eq!(added["resource"]["resource_subtype"], "default_task");
    assert_eq!(added["parent"], json!({"gid": scene.project.gid.as_str(), "resource_type": "project"}));
    assert_eq!(added["user"], json!({"gid": asana.person(), "resource_type": "user"}));
    let assigned = &body["events"][3];
    assert_eq!(assigned["change"]["new_value"], json!({"gid": asana.person(), "resource_type": "user"}));
    assert_eq!(body["events"][6]["parent"], Value::Null);
    assert!(!body.to_string().contains("Fix login") && !body.to_string().contains("Good evening"), "no text");
}

#[test]
fn what_is_written_through_the_api_comes_back_too() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.asana_hook(&receiver);
    let task = scene.task("Old");
    scene.delivered(&receiver);
    assert_eq!(scene.asana(Put, &format!("/tasks/{task}"), r#"{"data":{"name":"New"}}"#).status, 200);
    let [delivery] = scene.delivered(&receiver).try_into().expect("one delivery");
    assert_eq!(events(&delivery), ["task changed name", "story added -"]);
    assert_eq!(body(&delivery)["events"][0]["user"]["gid"], scene.sandbox.asana().bot());
}

#[test]
fn other_projects_are_not_told_of() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.asana_hook(&receiver);
    let other = scene.sandbox.asana().project("Other");
    scene.sandbox.asana().task(&other.gid, TaskSeed::named("Elsewhere"));
    assert!(scene.delivered(&receiver).is_empty());
}

#[test]
fn many_events_take_several_deliveries_in_order() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.asana_hook(&receiver);
    let tasks: Vec<String> = (0..70).map(|number| scene.task(&number.to_string()).to_string()).collect();
    let deliveries = scene.delivered(&receiver);
    let counts: Vec<usize> = deliveries.iter().map(|delivery| events(delivery).len()).collect();
    assert_eq!(counts, [100, 100, 10]);
    let all = deliveries.iter().flat_map(|delivery| {
        body(delivery)["events"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|event| event["resource"]["gid"].clone())
            .collect::<Vec<_>>()
    });
    let mut seen: Vec<String> = all.filter_map(|gid| gid.as_str().map(str::to_owned)).collect();
    seen.retain(|gid| tasks.contains(gid));
    seen.dedup();
    assert_eq!(seen, tasks);
}

#[test]
fn heartbeats_come_at_once_and_every_eight_hours() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    assert_eq!(scene.asana(Post, "/webhooks", &wish(&scene, "https://hooks.test/a")).status, 201);
    receiver.take();
    let beats = || scene.delivered(&receiver).iter().map(body).collect::<Vec<_>>();
    assert_eq!(beats(), [json!({"events": []})]);
    assert!(beats().is_empty());
    scene.wait(8 * 3_600_000 - 1);
    assert!(beats().is_empty());
    scene.wait(1);
    assert_eq!(beats(), [json!({"events": []})]);
}

#[test]
fn a_failed_delivery_is_retried_ever_more_slowly_with_the_same_bytes() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (path, _) = scene.asana_hook(&receiver);
    receiver.behaves(|_| answer(201));
    scene.task("One");
    let first = scene.delivered(&receiver);
    let failed_at = scene.clock.now().as_millisecond();
    let state = scene.asana(Get, &path, "").json["data"].clone();
    assert_eq!((&state["delivery_retry_count"], &state["last_failure_content"]), (&1.into(), &"201 thanks".into()));
    assert_eq!(state["last_failure_at"], "2026-11-20T10:00:00.000Z");
    assert_eq!(state["next_attempt_after"], "2026-11-20T10:00:10.000Z");
    assert_eq!(state["failure_deletion_timestamp"], "2026-11-21T10:00:00.000Z");
    scene.task("Two");
    assert!(scene.delivered(&receiver).is_empty(), "nothing overtakes what failed");
    let mut waits = Vec::new();
    let mut before = failed_at;
    while waits.len() < 11 {
        let due = scene.sandbox.webhooks().next_due().expect("a retry").as_millisecond();
        waits.push((due - before) / 1000);
        scene.wait(u64::try_from(due - scene.clock.now().as_millisecond()).expect("it lies ahead"));
        assert_eq!(scene.delivered(&receiver).iter().map(|again| &again.body).collect::<Vec<_>>(), [&first[0].body]);
        before = due;
    }
    assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    receiver.behaves(|_| answer(204));
    scene.wait(3_600_000);
    let rest = scene.delivered(&receiver);
    assert_eq!((rest.len(), &rest[0].body), (2, &first[0].body), "what failed, then what waited behind it");
    let state = scene.asana(Get, &path, "").json["data"].clone();
    assert_eq!((&state["delivery_retry_count"], &state["failure_deletion_timestamp"]), (&0.into(), &Value::Null));
    assert_eq!(state["next_attempt_after"], Value::Null);
    assert!(state["last_failure_at"].is_string(), "kept");
}

#[test]
fn an_answer_after_ten_seconds_is_a_failure() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (path, _) = scene.asana_hook(&receiver);
    let clock = scene.clock.clone();
    receiver.behaves(move |_| {
        clock.advance(Duration::from_millis(10_001));
        answer(200)
    });
    scene.task("One");
    scene.delivered(&receiver);
    let state = scene.asana(Get, &path, "").json["data"].clone();
    assert_eq!((&state["delivery_retry_count"], &state["last_failure_content"]), (&1.into(), &"timed out".into()));
}

#[test]
fn after_a_day_of_failure_the_hook_is_gone_with_what_waited() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (path, _) = scene.asana_hook(&receiver);
    scene.sandbox.deliveries().down(Side::Tracker, true);
    scene.task("One");
    for _ in 0..23 {
        scene.delivered(&receiver);
        scene.wait(3_600_000);
    }
    scene.task("Two");
    scene.wait(3_599_999);
    assert_eq!(scene.asana(Get, &path, "").status, 200);
    scene.wait(1);
    assert_eq!(scene.asana(Get, &path, "").status, 404);
    scene.sandbox.deliveries().clear();
    scene.wait(48 * 3_600_000);
    assert!(scene.delivered(&receiver).is_empty());
    scene.asana_hook(&receiver);
}

#[test]
fn filters_pass_what_fits_any_of_them_and_are_replaced_as_a_whole() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (path, _) = scene.asana_hook(&receiver);
    let filter = |filters: Value| {
        let got = scene.asana(Put, &path, &json!({"data": {"filters": filters}}).to_string());
        assert_eq!((got.status, &got.data()["filters"]), (200, &filters));
        assert!(receiver.take().is_empty(), "no new handshake");
        let task = scene.task("One");
        scene.sandbox.asana().rename(&task, "Two");
        scene.sandbox.asana().complete(&task);
        scene.sandbox.asana().comment(&task, "<body>Three</body>");
        scene.delivered(&receiver).iter().flat_map(events).collect::<Vec<_>>()
    };
    assert_eq!(
        filter(json!([
            {"resource_type": "task", "action": "changed", "fields": ["completed", "assignee"]},
            {"resource_type": "story", "resource_subtype": "comment_added"},
        ])),
        ["task changed completed", "story added -"]
    );
    assert_eq!(filter(json!([{"action": "deleted"}])), [""; 0]);
    assert_eq!(filter(json!([{"resource_type": "task"}])).len(), 4);
    assert_eq!(filter(json!([])).len(), 8);
    for wrong in [json!([{"fields": ["name"]}]), json!([{"kind": "task"}]), json!({})] {
        assert_eq!(scene.asana(Put, &path, &json!({"data": {"filters": wrong}}).to_string()).status, 400, "{wrong}");
    }
}

#[test]
fn after_its_deletion_only_what_is_on_its_way_still_comes() {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    let (path, _) = scene.asana_hook(&receiver);
    let (sandbox, delete) =
        (scene.sandbox.clone(), scene.request(Side::Tracker, &scene.project.token, Delete, &path, ""));
    receiver.behaves(move |_| {
        // The project is told of something else, and then nobody wants to hear more.
        assert_eq!(sandbox.respond(&delete).status, 200);
        answer(500)
    });
    for number in 0..60 {
        scene.task(&number.to_string());
    }
    assert_eq!(scene.delivered(&receiver).len(), 1);
    assert_eq!(scene.asana(Get, &path, "").status, 404);
    scene.wait(3_600_000);
    assert!(scene.delivered(&receiver).is_empty());
    assert_eq!(scene.asana(Delete, &path, "").status, 404);
}
