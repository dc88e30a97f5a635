//! What can be made to go wrong does, and as often as asked.

use super::*;
use Method::{Get, Post};

const ISSUES: &str = "/repos/acme/app/issues";

fn faulty(fault: Fault) -> Scene {
    let scene = Scene::new();
    scene.sandbox.faults().next(1, When::any(), fault);
    scene
}

#[test]
fn an_answer_lost_after_the_effect_is_told_from_one_cut_before() {
    for (fault, made) in [(Fault::CutBefore, 0), (Fault::CutAfter, 1)] {
        let scene = faulty(fault);
        let error = scene.send(Side::Forge, Post, ISSUES, r#"{"title":"x"}"#).expect_err("no answer");
        assert!(matches!(error, TransportError::NoAnswer(_)));
        assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), made);
        scene.send(Side::Forge, Get, ISSUES, "").expect("the next one is answered");
    }
    let scene = faulty(Fault::Refused);
    let error = scene.send(Side::Tracker, Get, "/users/me", "").expect_err("no connection");
    assert!(matches!(error, TransportError::NotSent(_)));
    let scene = faulty(Fault::Broken { status: 502, done: true });
    assert_eq!(scene.send(Side::Forge, Post, ISSUES, r#"{"title":"x"}"#).expect("an answer").status, 502);
    assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), 1);
}

#[test]
fn limits_look_as_each_service_has_them() {
    let busy = |limit, status, retry_after| Fault::Busy { limit, status, retry_after };
    let got = faulty(busy(Limit::Primary, 403, None)).github(Get, "/user", "");
    assert_eq!((got.status, got.header("x-ratelimit-remaining")), (403, "0"));
    let got = faulty(busy(Limit::Secondary, 429, Some(7))).github(Get, "/user", "");
    assert_eq!((got.status, got.header("retry-after")), (429, "7"));
    let got = faulty(busy(Limit::Secondary, 403, None)).github(Get, "/user", "");
    assert_eq!((got.status, got.response.header("retry-after")), (403, None));
    assert!(got.message().contains("secondary rate limit"));
    let got = faulty(busy(Limit::Primary, 429, Some(3))).asana(Get, "/users/me", "");
    assert_eq!((got.status, got.header("retry-after")), (429, "3"));
}

#[test]
fn bodies_come_garbled_in_every_way() {
    let body = |fault: Fault| faulty(fault).asana(Get, "/users/me", "").response.body;
    assert!(serde_json::from_slice::<Value>(&body(Fault::Truncated)).is_err());
    assert!(std::str::from_utf8(&body(Fault::Garbage)).is_err());
    assert!(body(Fault::Html).starts_with(b"<!DOCTYPE"));
    assert!(body(Fault::Deep(5000)).len() == 5000);
    assert!(body(Fault::Huge(1 << 20)).len() >= 1 << 20);
    let right: Value = serde_json::from_slice(&body(Fault::Delay(Duration::ZERO))).expect("JSON");
    let wrong: Value = serde_json::from_slice(&body(Fault::WrongTypes)).expect("still JSON");
    assert_ne!(right, wrong);
    let scene = faulty(Fault::GzipBomb(1 << 40));
    let error = scene.send(Side::Forge, Get, ISSUES, "").expect_err("too large");
    assert!(matches!(error, TransportError::TooLarge(_)));
}

#[test]
fn a_page_goes_short_once() {
    let scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.task(name);
        scene.issue(name);
    }
    scene.sandbox.faults().next(1, When::side(Side::Tracker), Fault::ShortListing(1));
    scene.sandbox.faults().next(1, When::side(Side::Forge), Fault::ShortListing(2));
    scene.asana(Get, "/users/me", "");
    let list = format!("/tasks?project={}&limit=10", scene.project.gid);
    assert_eq!(
        [scene.asana(Get, &list, "").names("gid").len(), scene.asana(Get, &list, "").names("gid").len()],
        [2, 3]
    );
    assert_eq!(
        [scene.github(Get, ISSUES, "").names("id").len(), scene.github(Get, ISSUES, "").names("id").len()],
        [1, 3]
    );
}

#[test]
fn a_listing_can_have_no_end() {
    let scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.task(name);
        scene.issue(name);
    }
    for kind in [Loop::Same, Loop::Fresh] {
        scene.sandbox.faults().clear();
        scene.sandbox.faults().chance(1.0, When::any(), Fault::PageLoop(kind));
        let (mut next, mut addresses) = (format!("/tasks?project={}&limit=2", scene.project.gid), Vec::new());
        for _ in 0..4 {
            let got = scene.asana(Get, &next, "");
            assert_eq!(got.names("name"), ["a", "b"]);
            next = got.json["next_page"]["path"].as_str().expect("always a next page").to_owned();
            addresses.push(next.clone());
        }
        addresses.dedup();
        assert_eq!(addresses.len(), if kind == Loop::Same { 1 } else { 4 });
        let (mut next, mut addresses) = (format!("{ISSUES}?per_page=2&direction=asc"), Vec::new());
        for _ in 0..4 {
            let got = scene.github(Get, &next, "");
            assert_eq!(got.names("title"), ["a", "b"]);
            next = got.link("next").expect("always a next page");
            addresses.push(next.clone());
        }
        addresses.dedup();
        assert_eq!(addresses.len(), if kind == Loop::Same { 1 } else { 4 });
    }
}

#[test]
fn a_stale_answer_is_from_before() {
    let scene = Scene::new();
    let number = scene.issue("Old");
    scene.wait(10_000);
    scene.sandbox.github().retitle(&scene.repo.name, number, "New");
    scene.wait(1000);
    scene.sandbox.faults().next(1, When::any().reads(), Fault::Stale(Duration::from_secs(5)));
    assert_eq!(scene.github(Get, ISSUES, "").names("title"), ["Old"]);
    assert_eq!(scene.github(Get, ISSUES, "").names("title"), ["New"]);
}

#[test]
fn access_is_lost_and_tokens_expire_as_told() {
    assert_eq!(faulty(Fault::Hidden).github(Get, ISSUES, "").status, 404);
    assert_eq!(faulty(Fault::Forbidden).github(Get, ISSUES, "").status, 403);
    assert_eq!(faulty(Fault::Hidden).asana(Get, "/users/me", "").status, 403);
    assert_eq!(faulty(Fault::Unauthorized).asana(Get, "/users/me", "").status, 401);
    let scene = Scene::new();
    let events = format!("/events?resource={}", scene.project.gid);
    let sync = scene.asana(Get, &events, "").json["sync"].as_str().expect("a token").to_owned();
    scene.sandbox.faults().next(1, When::any(), Fault::EventsExpired);
    assert_eq!(scene.asana(Get, &format!("{events}&sync={sync}"), "").status, 412);
}

#[test]
fn faults_hit_only_what_they_are_for() {
    let scene = Scene::new();
    let when = When::side(Side::Forge).writes().path("/issues");
    scene.sandbox.faults().next(2, when, Fault::Broken { status: 503, done: false });
    assert_eq!(scene.asana(Get, "/users/me", "").status, 200);
    assert_eq!(scene.github(Get, ISSUES, "").status, 200);
    let statuses: Vec<u16> = (0..3).map(|_| scene.github(Post, ISSUES, r#"{"title":"x"}"#).status).collect();
    assert_eq!((statuses, scene.sandbox.faults().hits()), (vec![503, 503, 201], 2));
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let run = || {
        let scene = Scene::new();
        scene.sandbox.faults().chance(0.5, When::any(), Fault::Hidden);
        (0..40).map(|_| scene.github(Get, "/user", "").status).collect::<Vec<_>>()
    };
    let statuses = run();
    assert_eq!(statuses, run());
    assert!(statuses.contains(&200) && statuses.contains(&404));
}

#[test]
fn a_delay_longer_than_the_deadline_is_no_answer() {
    let scene = faulty(Fault::Delay(Duration::from_secs(40)));
    let before = scene.clock.now();
    let error = scene.send(Side::Forge, Post, ISSUES, r#"{"title":"x"}"#).expect_err("too late");
    assert!(matches!(error, TransportError::NoAnswer(_)));
    assert_eq!(crate::clock::since(before, scene.clock.now()), Duration::from_secs(30));
    assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), 1);
}

#[test]
fn the_log_counts_what_was_asked() {
    let scene = Scene::new();
    let number = scene.issue("One");
    scene.github(Get, "/user", "");
    scene.github(Method::Patch, &format!("{ISSUES}/{number}"), r#"{"title":"x"}"#);
    scene.github(Post, &format!("{ISSUES}/{number}/comments"), r#"{"body":"x"}"#);
    let log = scene.sandbox.log();
    assert_eq!(log.counts().forge, Counts { requests: 3, reads: 1, writes: 2, unchanged: 0, created: 1 });
    assert_eq!(log.writes(Side::Forge).get("/repos/acme/app/issues/1"), Some(&2));
    let seen: Vec<(u16, String)> = log.requests().into_iter().map(|seen| (seen.status, seen.path)).collect();
    assert_eq!(seen[0], (200, "/user".to_owned()));
    log.reset();
    assert_eq!(log.counts(), BySide::default());
}
