//! Webhooks: a receiver in the process, and what both services promise of what they send to it.

mod asana;
mod github;
mod sending;

use std::sync::Mutex;

use super::*;

/// What the receiver does with one request.
type Manner = Box<dyn Fn(&Request) -> Result<Response, TransportError> + Send + Sync>;

/// A receiver that keeps what it gets. At first it echoes handshakes and answers 200.
struct Receiver {
    got: Mutex<Vec<Request>>,
    manner: Mutex<Arc<Manner>>,
}

fn answer(status: u16) -> Result<Response, TransportError> {
    Ok(Response { status, headers: Vec::new(), body: b"thanks".to_vec() })
}

/// Gives the secret of a handshake back, as it must be.
fn echo(request: &Request) -> Response {
    let secret = request.headers.iter().filter(|(name, _)| name == "x-hook-secret").cloned();
    Response { status: 200, headers: secret.collect(), body: Vec::new() }
}

impl Receiver {
    fn of(scene: &Scene) -> Arc<Self> {
        let manner: Manner = Box::new(|request| Ok(echo(request)));
        let receiver = Arc::new(Self { got: Mutex::default(), manner: Mutex::new(Arc::new(manner)) });
        scene.sandbox.webhooks().send_through(receiver.clone());
        receiver
    }

    /// From now on it does this.
    fn behaves(&self, manner: impl Fn(&Request) -> Result<Response, TransportError> + Send + Sync + 'static) {
        *lock(&self.manner) = Arc::new(Box::new(manner));
    }

    /// What came since it was last asked.
    fn take(&self) -> Vec<Request> {
        std::mem::take(&mut *lock(&self.got))
    }
}

impl Transport for Receiver {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        assert_eq!(deadline, Duration::from_secs(10));
        lock(&self.got).push(request.clone());
        let manner = Arc::clone(&*lock(&self.manner));
        manner(request)
    }
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn body(request: &Request) -> Value {
    serde_json::from_slice(&request.body).expect("the body is JSON")
}

impl Scene {
    /// Sends what is due and answers what came of it.
    fn delivered(&self, receiver: &Receiver) -> Vec<Request> {
        self.sandbox.webhooks().deliver_due();
        receiver.take()
    }

    fn outcomes(&self) -> Vec<(String, Outcome)> {
        self.sandbox.webhooks().sent().into_iter().map(|sent| (sent.event, sent.outcome)).collect()
    }

    /// Makes a hook on the project, past its first heartbeat; answers its path and secret.
    fn asana_hook(&self, receiver: &Receiver) -> (String, String) {
        let body = format!(r#"{{"data":{{"resource":"{}","target":"https://hooks.test/asana"}}}}"#, self.project.gid);
        let got = self.asana(Method::Post, "/webhooks", &body);
        assert_eq!(got.status, 201, "{}", got.json);
        self.delivered(receiver);
        let gid = got.data()["gid"].as_str().expect("a gid");
        (format!("/webhooks/{gid}"), got.json["X-Hook-Secret"].as_str().expect("a secret").to_owned())
    }

    /// Makes a hook on the repository for these events, past its ping; answers its path.
    fn github_hook(&self, receiver: &Receiver, events: &[&str]) -> String {
        self.sandbox.github().permit(&self.repo.name, &self.sandbox.github().bot(), Permission::Admin);
        let body = serde_json::json!({
            "events": events,
            "config": {"url": "https://hooks.test/github", "content_type": "json", "secret": "sesame"},
        });
        let got = self.github(Method::Post, "/repos/acme/app/hooks", &body.to_string());
        assert_eq!(got.status, 201, "{}", got.json);
        self.delivered(receiver);
        format!("/repos/acme/app/hooks/{}", got.json["id"])
    }
}

/// `event.action` of GitHub's deliveries.
fn told(requests: &[Request]) -> Vec<String> {
    let name = |request: &Request| {
        let event = header(request, "x-github-event").expect("an event").to_owned();
        body(request)["action"].as_str().map_or(event.clone(), |action| format!("{event}.{action}"))
    };
    requests.iter().map(name).collect()
}
