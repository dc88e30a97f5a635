//! The behaviours promised, one short test each: asana-api.md §11 and github-api.md §17 as far as they are played.
#![allow(clippy::indexing_slicing, clippy::panic, reason = "a test that looks where nothing is fails, as it should")]

mod asana;
mod faults;
mod github;
mod scale;
mod served;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::clock::VirtualClock;
use crate::provider::http::{Method, Response, TransportError};

/// A world with one project and one repository, under a clock that the test moves.
struct Scene {
    clock: Arc<VirtualClock>,
    sandbox: Sandbox,
    project: Project,
    repo: Repository,
}

/// An answer, its body read.
#[derive(Debug)]
struct Got {
    status: u16,
    json: Value,
    response: Response,
}

impl Got {
    fn message(&self) -> &str {
        self.json["errors"][0]["message"].as_str().or(self.json["message"].as_str()).unwrap_or_default()
    }

    fn data(&self) -> &Value {
        &self.json["data"]
    }

    fn header(&self, name: &str) -> &str {
        self.response.header(name).unwrap_or_default()
    }

    /// The address of that relation in the `Link` header.
    fn link(&self, rel: &str) -> Option<String> {
        let wanted = format!("rel=\"{rel}\"");
        let part = self.header("link").split(", ").find(|part| part.ends_with(&wanted))?.to_owned();
        Some(part.trim_start_matches('<').split('>').next()?.to_owned())
    }

    fn names(&self, key: &str) -> Vec<String> {
        let items = self.json.as_array().or(self.json["data"].as_array()).expect("a list");
        items.iter().map(|item| item[key].as_str().map_or_else(|| item[key].to_string(), str::to_owned)).collect()
    }
}

impl Scene {
    fn new() -> Self {
        let clock = Arc::new(VirtualClock::starting_at("2026-11-20T10:00:00Z".parse().expect("an instant")));
        let sandbox = Sandbox::new(clock.clone(), 7);
        let project = sandbox.asana().project("Website");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        Self { clock, sandbox, project, repo }
    }

    fn wait(&self, milliseconds: u64) {
        self.clock.advance(Duration::from_millis(milliseconds));
    }

    fn request(&self, side: Side, token: &str, method: Method, path: &str, body: &str) -> Request {
        let url = if path.starts_with("https://") { path.to_owned() } else { format!("{}{path}", BASES[side]) };
        let headers = [
            ("authorization", format!("Bearer {token}")),
            ("user-agent", "test".to_owned()),
            ("accept", "application/vnd.github+json".to_owned()),
        ];
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Request { method, url, headers, body: body.as_bytes().to_vec() }
    }

    fn ask(&self, request: &Request) -> Got {
        let response = self.sandbox.respond(request);
        let json = serde_json::from_slice(&response.body).unwrap_or_default();
        Got { status: response.status, json, response }
    }

    /// Asks Asana with the project's token.
    fn asana(&self, method: Method, path: &str, body: &str) -> Got {
        self.ask(&self.request(Side::Tracker, &self.project.token, method, path, body))
    }

    /// Asks GitHub with the repository's token.
    fn github(&self, method: Method, path: &str, body: &str) -> Got {
        self.github_as(&self.repo.token, method, path, body)
    }

    fn github_as(&self, token: &str, method: Method, path: &str, body: &str) -> Got {
        self.ask(&self.request(Side::Forge, token, method, path, body))
    }

    fn send(&self, side: Side, method: Method, path: &str, body: &str) -> Result<Response, TransportError> {
        let token = if side == Side::Tracker { &self.project.token } else { &self.repo.token };
        let request = self.request(side, token, method, path, body);
        self.sandbox.transport().send(&request, Duration::from_secs(30))
    }

    fn task(&self, name: &str) -> crate::model::TaskGid {
        self.sandbox.asana().task(&self.project.gid, TaskSeed::named(name))
    }

    fn issue(&self, title: &str) -> u64 {
        self.sandbox.github().issue(&self.repo.name, IssueSeed::new(title, "A body."))
    }
}
