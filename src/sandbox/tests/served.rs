//! The sandbox over real HTTP on loopback, asked by the real transport.

use super::*;
use crate::config::Network;
use crate::provider::http::UreqTransport;
use Method::{Get, Post};

const DEADLINE: Duration = Duration::from_secs(20);

fn transport(served: &Served) -> UreqTransport {
    let network = Network {
        base_urls: served.base_urls.clone(),
        ca_file: None,
        call_timeout: DEADLINE,
        connect_timeout: DEADLINE,
        answer_bytes_max: 4 << 20,
        asana_per_minute: 150,
        github_creations_per_minute: 80,
        github_creations_per_hour: 500,
        github_points_per_minute: 900,
    };
    UreqTransport::new(&network).expect("a transport")
}

impl Scene {
    /// A request to a sandbox that is served.
    fn served(&self, served: &Served, side: Side, method: Method, path: &str, body: &str) -> Request {
        let token = if side == Side::Tracker { &self.project.token } else { &self.repo.token };
        let url = format!("{}{path}", served.base_urls[side]);
        Request { url, ..self.request(side, token, method, "", body) }
    }
}

#[test]
fn both_services_answer_on_loopback_under_their_own_address() {
    let scene = Scene::new();
    scene.issue("One");
    scene.issue("Two");
    let served = scene.sandbox.serve().expect("two ports");
    let transport = transport(&served);
    let ask = |side, method, path: &str, body: &str| {
        let response = transport.send(&scene.served(&served, side, method, path, body), DEADLINE).expect("an answer");
        let json: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        Got { status: response.status, json, response }
    };
    assert_eq!(ask(Side::Tracker, Get, "/users/me", "").data()["name"], "Evenkeel Bot");
    let got = ask(Side::Forge, Get, "/repos/acme/app/issues?per_page=1", "");
    assert_eq!(got.json[0]["title"], "Two");
    let next = got.link("next").expect("a next page");
    assert!(next.starts_with(&format!("{}/repositories/", served.base_urls.forge)), "{next}");
    assert_eq!(ask(Side::Forge, Post, "/repos/acme/app/issues", r#"{"title":"Three"}"#).status, 201);
    let last = scene.served(&served, Side::Forge, Get, "/user", "");
    drop(served);
    // The connection kept open from before is not closed, only never answered.
    assert!(transport.send(&last, Duration::from_millis(200)).is_err(), "nobody is there any more");
    assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), 3);
}

#[test]
fn a_cut_connection_and_a_bomb_reach_the_client() {
    let scene = Scene::new();
    let served = scene.sandbox.serve().expect("two ports");
    let transport = transport(&served);
    scene.sandbox.faults().next(1, When::any(), Fault::CutAfter);
    let request = scene.served(&served, Side::Forge, Post, "/repos/acme/app/issues", r#"{"title":"x"}"#);
    let error = transport.send(&request, DEADLINE).expect_err("no answer");
    assert!(matches!(error, TransportError::NoAnswer(_)), "{error:?}");
    assert_eq!(scene.sandbox.world().issues(&scene.repo.name).len(), 1);
    scene.sandbox.faults().next(1, When::any(), Fault::GzipBomb(64 << 20));
    let request = scene.served(&served, Side::Forge, Get, "/repos/acme/app/issues", "");
    let error = transport.send(&request, DEADLINE).expect_err("too large");
    assert!(matches!(error, TransportError::TooLarge(_)), "{error:?}");
    assert_eq!(transport.send(&request, DEADLINE).expect("an answer").status, 200);
}
