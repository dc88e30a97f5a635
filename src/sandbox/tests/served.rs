//! The sandbox over real HTTP on loopback.

use std::io::Read;

use super::*;

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0).proxy(None);
    config.timeout_global(Some(Duration::from_secs(20))).user_agent("test").build().into()
}

#[test]
fn both_services_answer_on_loopback_under_their_own_address() {
    let scene = Scene::new();
    scene.issue("One");
    scene.issue("Two");
    let served = scene.sandbox.serve().expect("two ports");
    let agent = agent();
    let url = format!("{}/users/me", served.base_urls.tracker);
    let bearer = format!("Bearer {}", scene.project.token);
    let mut response = agent.get(&url).header("authorization", &bearer).call().expect("an answer");
    let json: Value = response.body_mut().read_json().expect("JSON");
    assert_eq!(json["data"]["name"], "Evenkeel Bot");
    let url = format!("{}/repos/acme/app/issues?per_page=1", served.base_urls.forge);
    let bearer = format!("Bearer {}", scene.repo.token);
    let mut response = agent.get(&url).header("authorization", &bearer).call().expect("an answer");
    let link = response.headers().get("link").expect("a link").to_str().expect("text").to_owned();
    assert!(link.contains(&format!("<{}/repositories/", served.base_urls.forge)), "{link}");
    let json: Value = response.body_mut().read_json().expect("JSON, unpacked");
    assert_eq!(json[0]["title"], "Two");
    let response =
        agent.post(format!("{}/repos/acme/app/issues", served.base_urls.forge)).header("authorization", &bearer);
    let response = response.send(r#"{"title":"Three"}"#).expect("an answer");
    assert_eq!(response.status(), 201);
    drop(served);
    assert!(agent.get(&url).call().is_err(), "nobody is there any more");
    assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), 3);
}

#[test]
fn a_cut_connection_and_a_bomb_reach_the_client() {
    let scene = Scene::new();
    let served = scene.sandbox.serve().expect("two ports");
    let agent = agent();
    let url = format!("{}/repos/acme/app/issues", served.base_urls.forge);
    let bearer = format!("Bearer {}", scene.repo.token);
    scene.sandbox.faults().next(1, When::any(), Fault::CutAfter);
    let sent = agent.post(&url).header("authorization", &bearer).send(r#"{"title":"x"}"#);
    assert!(sent.and_then(|mut response| response.body_mut().read_to_string()).is_err());
    assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), 1);
    scene.sandbox.faults().next(1, When::any(), Fault::GzipBomb(5 << 20));
    let mut response = agent.get(&url).header("authorization", &bearer).call().expect("an answer");
    let mut unpacked = Vec::new();
    response.body_mut().as_reader().take(10 << 20).read_to_end(&mut unpacked).expect("readable");
    assert_eq!(unpacked.len(), (5 << 20) + 2);
}
