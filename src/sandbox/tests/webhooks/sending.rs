//! How deliveries are sent, whichever service sends them: what goes wrong on the way, and the pump.

use std::time::Instant;

use super::*;
use crate::clock::SystemClock;
use crate::config::Network;
use crate::provider::http::UreqTransport;
use Mishap::{AnswerLost, Delayed, Doubled, Lost, Refused, Reordered};

const ISSUES: &str = "/repos/acme/app/issues";

/// A world with a hook for issues, and one for the project.
fn heard() -> (Scene, Arc<Receiver>) {
    let scene = Scene::new();
    let receiver = Receiver::of(&scene);
    scene.github_hook(&receiver, &["issues"]);
    scene.asana_hook(&receiver);
    scene.sandbox.webhooks().reset();
    (scene, receiver)
}

fn titles(requests: &[Request]) -> Vec<String> {
    requests.iter().filter_map(|request| Some(body(request)["issue"]["title"].as_str()?.to_owned())).collect()
}

#[test]
fn what_is_lost_is_not_sent_and_not_missed() {
    let (scene, receiver) = heard();
    for side in Side::BOTH {
        scene.sandbox.deliveries().next(1, side, Lost);
    }
    scene.task("One");
    scene.issue("One");
    assert!(scene.delivered(&receiver).is_empty());
    assert_eq!(scene.outcomes(), [("events".to_owned(), Outcome::Lost), ("issues.opened".to_owned(), Outcome::Lost)]);
    scene.wait(48 * 3_600_000);
    receiver.behaves(|_| answer(200));
    assert_eq!(titles(&scene.delivered(&receiver)), [""; 0], "not later either");
    scene.issue("Two");
    assert_eq!(titles(&scene.delivered(&receiver)), ["Two"]);
    assert_eq!(scene.sandbox.deliveries().hits(), 2);
}

#[test]
fn what_is_doubled_comes_twice_the_same() {
    let (scene, receiver) = heard();
    for side in Side::BOTH {
        scene.sandbox.deliveries().next(1, side, Doubled);
    }
    scene.task("One");
    scene.issue("One");
    let got = scene.delivered(&receiver);
    assert_eq!(got.len(), 4);
    let guid = |at: usize| header(&got[at], "x-github-delivery");
    assert_eq!((&got[0].body, &got[2].body), (&got[1].body, &got[3].body));
    assert_eq!((guid(0), guid(2).is_some()), (None, true));
    assert_eq!(guid(2), guid(3));
}

#[test]
fn what_is_delayed_comes_then_and_others_pass_it() {
    let (scene, receiver) = heard();
    for side in Side::BOTH {
        scene.sandbox.deliveries().next(1, side, Delayed(Duration::from_secs(60)));
    }
    scene.task("One");
    scene.issue("One");
    assert!(scene.delivered(&receiver).is_empty());
    scene.wait(1000);
    scene.task("Two");
    scene.issue("Two");
    assert_eq!(scene.delivered(&receiver).len(), 2);
    scene.wait(58_999);
    assert!(scene.delivered(&receiver).is_empty());
    assert_eq!(
        scene.sandbox.webhooks().next_due().map(|at| at.as_millisecond() - scene.clock.now().as_millisecond()),
        Some(1)
    );
    scene.wait(1);
    let got = scene.delivered(&receiver);
    assert_eq!((got.len(), titles(&got)), (2, vec!["One".to_owned()]));
}

#[test]
fn what_is_reordered_changes_places_with_the_next() {
    let (scene, receiver) = heard();
    for side in Side::BOTH {
        scene.sandbox.deliveries().next(1, side, Reordered);
    }
    for title in ["One", "Two", "Three"] {
        scene.issue(title);
    }
    let task = scene.task("One").to_string();
    let got = scene.delivered(&receiver);
    assert_eq!(titles(&got), ["Two", "One", "Three"]);
    let events = body(&got[0])["events"].clone();
    assert_eq!(events[0]["resource"]["resource_type"], "story", "the last came first");
    assert_eq!(events[2]["resource"]["gid"], task);
    // Alone, it waits for one that passes it.
    scene.sandbox.deliveries().next(1, Side::Forge, Reordered);
    scene.issue("Four");
    assert!(scene.delivered(&receiver).is_empty());
    scene.issue("Five");
    assert_eq!(titles(&scene.delivered(&receiver)), ["Five"]);
    scene.wait(2000);
    assert_eq!(titles(&scene.delivered(&receiver)), ["Four"]);
}

#[test]
fn nothing_is_lost_where_everything_is_reordered() {
    let (scene, receiver) = heard();
    scene.sandbox.deliveries().chance(1.0, Side::Forge, Reordered);
    let titles_sent = ["One", "Two", "Three", "Four", "Five"];
    for title in titles_sent {
        scene.issue(title);
    }
    let mut came = titles(&scene.delivered(&receiver));
    scene.wait(2000);
    came.extend(titles(&scene.delivered(&receiver)));
    came.sort_by_key(|title| titles_sent.iter().position(|known| known == title));
    assert_eq!(came, titles_sent);
}

#[test]
fn a_receiver_that_is_down_or_whose_answer_is_lost_is_a_failure_as_each_service_has_it() {
    let (scene, receiver) = heard();
    for (mishap, came) in [(Refused, 0), (AnswerLost, 2)] {
        for side in Side::BOTH {
            scene.sandbox.deliveries().next(1, side, mishap);
        }
        scene.task("One");
        scene.issue("One");
        assert_eq!(scene.delivered(&receiver).len(), came, "{mishap:?}");
        scene.wait(10_000);
        let again = scene.delivered(&receiver);
        assert_eq!(again.len(), 1, "Asana tries again, GitHub never does");
        assert!(header(&again[0], "x-hook-signature").is_some());
    }
    scene.sandbox.deliveries().down(Side::Forge, true);
    scene.issue("Two");
    assert!(scene.delivered(&receiver).is_empty());
    scene.sandbox.deliveries().clear();
    scene.issue("Three");
    assert_eq!(titles(&scene.delivered(&receiver)), ["Three"]);
}

#[test]
fn chance_strikes_the_same_way_each_time() {
    let run = || {
        let (scene, receiver) = heard();
        scene.sandbox.deliveries().chance(0.3, Side::Forge, Lost);
        scene.sandbox.deliveries().chance(0.3, Side::Forge, Doubled);
        for number in 0..50 {
            scene.issue(&number.to_string());
        }
        titles(&scene.delivered(&receiver))
    };
    let came = run();
    assert_eq!(came, run());
    let once: std::collections::BTreeSet<&String> = came.iter().collect();
    assert!(once.len() < 50, "some are lost: {came:?}");
    assert!(came.len() > once.len(), "some come twice: {came:?}");
}

#[test]
fn a_receiver_may_call_back_and_its_own_writes_are_told_of_too() {
    let (scene, receiver) = heard();
    let sandbox = scene.sandbox.clone();
    let write =
        scene.request(Side::Forge, &scene.repo.token, Method::Patch, &format!("{ISSUES}/1"), r#"{"title":"Two"}"#);
    receiver.behaves(move |_| {
        // The same title again is no news: it comes to rest.
        assert_eq!(sandbox.respond(&write).status, 200);
        answer(200)
    });
    scene.issue("One");
    assert_eq!(told(&scene.delivered(&receiver)), ["issues.opened", "issues.edited"]);
}

#[test]
fn the_record_says_what_was_sent_when_and_how_it_went() {
    let (scene, receiver) = heard();
    let clock = scene.clock.clone();
    receiver.behaves(move |_| {
        clock.advance(Duration::from_millis(30));
        answer(503)
    });
    scene.issue("One");
    let at = scene.clock.now();
    let [got] = scene.delivered(&receiver).try_into().expect("one delivery");
    let [sent] = scene.sandbox.webhooks().sent().try_into().expect("one attempt");
    assert_eq!((sent.side, sent.event.as_str(), sent.at), (Side::Forge, "issues.opened", at));
    assert_eq!((sent.took, &sent.outcome), (Duration::from_millis(30), &Outcome::Answered(503)));
    assert_eq!((sent.request.body, sent.guid.as_deref()), (got.body.clone(), header(&got, "x-github-delivery")));
    assert_eq!(header(&got, "x-github-hook-id"), Some(sent.hook.as_str()));
}

#[test]
fn the_pump_sends_over_real_http_without_being_told() {
    let sandbox = Sandbox::new(Arc::new(SystemClock), 7);
    let scene = Scene {
        clock: Arc::new(VirtualClock::starting_at(jiff::Timestamp::UNIX_EPOCH)),
        project: sandbox.asana().project("Website"),
        repo: sandbox.github().repository(&"acme/app".parse().expect("a name")),
        sandbox,
    };
    scene.sandbox.asana().habits(|habits| habits.loopback_targets = true);
    scene.sandbox.github().habits(|habits| habits.loopback_targets = true);
    scene.sandbox.github().permit(&scene.repo.name, &scene.sandbox.github().bot(), Permission::Admin);
    let transport = UreqTransport::new(&Network::default()).expect("no certificates are asked for");
    scene.sandbox.webhooks().send_through(Arc::new(transport));
    let server = tiny_http::Server::http("127.0.0.1:0").expect("a port");
    let target = format!("http://{}/hook", server.server_addr());
    let pump = scene.sandbox.webhooks().pump().expect("threads");
    let (come, comes) = std::sync::mpsc::channel();
    let receiver = std::thread::spawn(move || {
        // Two hooks say that they are there, one after a handshake, and then there is news of each: five in all.
        for _ in 0..5 {
            let request = server.recv_timeout(Duration::from_secs(20)).expect("a request").expect("in time");
            let secret = request.headers().iter().find(|header| header.field.equiv("x-hook-secret")).cloned();
            let event = request.headers().iter().find(|header| header.field.equiv("x-github-event")).cloned();
            let response = tiny_http::Response::empty(200);
            let response = if let Some(secret) = secret { response.with_header(secret) } else { response };
            request.respond(response).expect("an answer");
            come.send((event.map(|event| event.value.to_string()), Instant::now())).expect("the test listens");
        }
    });
    let body = format!(r#"{{"data":{{"resource":"{}","target":"{target}"}}}}"#, scene.project.gid);
    let got = scene.asana(Method::Post, "/webhooks", &body);
    assert_eq!(got.status, 201, "{}", got.json);
    let body = format!(r#"{{"events":["issues"],"config":{{"url":"{target}"}}}}"#);
    assert_eq!(scene.github(Method::Post, "/repos/acme/app/hooks", &body).status, 201);
    let next = || comes.recv_timeout(Duration::from_secs(20)).expect("it comes");
    let mut first = [next().0, next().0, next().0];
    first.sort();
    assert_eq!(first, [None, None, Some("ping".to_owned())]);
    let acted = Instant::now();
    scene.issue("One");
    let (event, at) = next();
    assert_eq!(event.as_deref(), Some("issues"));
    // Generous: that it is not the next look of a pump that missed the bell is all this can tell.
    assert!(at - acted < Duration::from_secs(5), "{:?}", at - acted);
    scene.task("One");
    assert_eq!(next().0, None);
    receiver.join().expect("the receiver");
    drop(pump);
    scene.issue("Two");
    assert!(comes.recv_timeout(Duration::from_millis(50)).is_err(), "nobody sends any more");
}
