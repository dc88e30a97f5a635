//! Hostile and broken services: whatever they answer, a client answers too, soon and without a panic.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::asana::AsanaClient;
use super::github::GithubClient;
use super::testing::{Script, connection, raw, start, with};
use super::{Draft, ProviderError, Remedy, Write};
use crate::model::{
    Change, Content, Facts, FieldPolicy, Item, ItemKey, Marker, Native, Place, Rules, Side, Status, Timestamp,
};

/// Names and words that lead the clients deep into their code.
const WORDS: &[&str] = &[
    "gid",
    "data",
    "name",
    "next_page",
    "offset",
    "sync",
    "has_more",
    "resource",
    "resource_type",
    "task",
    "story",
    "parent",
    "html_notes",
    "completed",
    "created_at",
    "modified_at",
    "updated_at",
    "number",
    "id",
    "title",
    "body",
    "state",
    "open",
    "closed",
    "labels",
    "assignees",
    "login",
    "repository_url",
    "pull_request",
    "full_name",
    "2026-11-20T11:00:00Z",
    "https://github.test/repos/acme/app",
    "1201",
    "message",
    "errors",
    "workspace",
    "tags",
    "memberships",
    "project",
    "<body>x</body>",
    "\u{0}\u{7}\u{202e}",
    "",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![4 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => ".{0,12}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (0_u64..50).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        word().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map(word(), inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

/// A good task and a good issue in one, with one field replaced.
fn bent() -> impl Strategy<Value = Value> {
    let good = json!({
        "gid": "1201", "name": "x", "html_notes": "<body>x</body>", "completed": false, "resource_subtype": "default_task",
        "created_at": "2026-11-20T11:00:00Z", "modified_at": "2026-11-20T11:00:00Z", "memberships": [],
        "number": 7, "id": 9, "title": "x", "body": "x", "state": "open", "labels": [], "assignees": [], "node_id": "I",
        "updated_at": "2026-11-20T11:00:00Z", "repository_url": "https://github.test/repos/acme/app",
        "full_name": "acme/app", "sync": "s", "data": []
    });
    (word(), value(), 0..4).prop_map(move |(field, value, shape)| {
        let mut bent = good.clone();
        bent[field.as_str()] = value;
        match shape {
            0 => bent,
            1 => json!({"data": bent}),
            2 => json!({"data": [bent], "sync": "s", "has_more": true, "next_page": {"offset": "o"}}),
            _ => json!([bent]),
        }
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => bent().prop_map(|value| value.to_string().into_bytes()),
        2 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..64),
        1 => Just(b"<!DOCTYPE html><html>Sign in</html>".to_vec()),
        1 => Just(vec![b'['; 100_000]),
        1 => Just(Vec::new()),
    ]
}

fn status() -> impl Strategy<Value = u16> {
    let known = [200, 200, 200, 200, 201, 204, 301, 304, 307, 400, 401, 403, 404, 410, 412, 422, 429, 451, 500, 503];
    prop_oneof![9 => proptest::sample::select(known.to_vec()), 1 => any::<u16>()]
}

fn headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = proptest::sample::select(vec![
        "link",
        "location",
        "etag",
        "date",
        "retry-after",
        "x-ratelimit-remaining",
        "x-ratelimit-reset",
        "x-oauth-scopes",
    ]);
    let value = prop_oneof![
        Just("0".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("<https://github.test/x>; rel=\"next\"".to_owned()),
        Just("https://github.test/repositories/7/issues/7".to_owned()),
        Just("Fri, 20 Nov 2026 11:00:00 GMT".to_owned()),
        ".{0,40}",
    ];
    proptest::collection::vec((name.prop_map(str::to_owned), value), 0..4)
}

/// Requests one call of a client may take when every answer is the same.
const REQUESTS_MAX: usize = 24;

fn item(key: &ItemKey) -> Item {
    let native = match key {
        ItemKey::Task(_) => Native::Task { tags: [("5".to_owned(), "old".to_owned())].into() },
        ItemKey::Issue(_) => Native::Issue { repo_id: 1, id: 1, node_id: String::new() },
    };
    Item {
        key: key.clone(),
        content: Content::default(),
        footer: None,
        marker: None,
        created_at: start(),
        updated_at: start(),
        url: String::new(),
        place: Place::Here,
        facts: Facts::default(),
        native,
    }
}

/// Calls everything a client can do; each call by itself must end soon, and every failure have a remedy.
fn everything(client: &dyn Write, script: &Script, key: &ItemKey) {
    let marker = Marker::naming("asana:1".parse().expect("a key"));
    let labels = Some(["new".to_owned()].into());
    let content = Content { title: "x".into(), labels: ["new".to_owned()].into(), ..Content::default() };
    let draft = Draft { content, footer: marker.to_string(), marker };
    let change = Change { title: Some("y".into()), status: Some(Status::Done), labels, ..Change::default() };
    let cursors = [
        json!({"project": "55", "sync": "a", "belt_since": "2026-11-20T11:00:00Z"}).to_string(),
        json!({"repo": "acme/app", "since": "2026-11-20T11:00:00Z", "etag": "W/\"1\""}).to_string(),
    ];
    let mut calls: Vec<Box<dyn FnMut() -> Result<(), ProviderError>>> = vec![
        Box::new(|| client.changes(None, true, &mut |_| Ok(())).map(drop)),
        Box::new(|| client.changes(Some(&cursors[0]), true, &mut |_| Ok(())).map(drop)),
        Box::new(|| client.changes(Some(&cursors[1]), true, &mut |_| Ok(())).map(drop)),
        Box::new(|| client.sweep(&mut |_| Ok(())).map(drop)),
        Box::new(|| client.item(key).map(drop)),
        Box::new(|| client.marked_since(Timestamp::MIN).map(drop)),
        Box::new(|| client.has_comment(key, "x").map(drop)),
        Box::new(|| client.create(&draft).map(drop)),
        Box::new(|| client.update(&item(key), &change).map(drop)),
        Box::new(|| client.comment(key, "x")),
        Box::new(|| {
            assert!(!client.check(start()).is_empty());
            Ok(())
        }),
    ];
    for (number, call) in calls.iter_mut().enumerate() {
        let before = script.asked().len();
        if let Err(error) = call() {
            assert!(!error.to_string().contains("hidden-token-42"), "{error}");
            assert!(error.to_string().len() < 1_000, "{error}");
            let _: Remedy = error.remedy();
        }
        let took = script.asked().len() - before;
        assert!(took <= REQUESTS_MAX, "call {number} took {took} requests");
    }
}

fn rules() -> Rules {
    let mut rules = Rules::default();
    rules.policy.labels = FieldPolicy::Both;
    rules.policy.assignees = FieldPolicy::Both;
    rules.policy.due = FieldPolicy::Tracker;
    rules
}

fn clients(script: &Arc<Script>) -> [(Box<dyn Write>, ItemKey); 2] {
    let (asana, _) = connection(Side::Tracker, script.clone());
    let (github, _) = connection(Side::Forge, script.clone());
    let asana = AsanaClient::new(asana, "55".parse().expect("a gid"), &rules());
    let github = GithubClient::new(github, "acme/app".parse().expect("a name"), &rules());
    [
        (Box::new(asana), "asana:1201".parse().expect("a key")),
        (Box::new(github), "github:acme/app#7".parse().expect("a key")),
    ]
}

proptest! {
    #[test]
    fn no_answer_makes_a_client_panic_or_ask_without_end(
        answers in proptest::collection::vec((status(), headers(), body()), 1..4),
    ) {
        let script = Script::by(move |index, _| {
            let (status, headers, body) = &answers[index % answers.len()];
            let mut answer = raw(*status, body)?;
            answer.headers = headers.clone();
            Ok(answer)
        });
        for (client, key) in clients(&script) {
            everything(&*client, &script, &key);
        }
    }
}

#[test]
fn a_client_asked_about_the_other_side_refuses() {
    let script = Script::by(|_, _| with(200, &[], json!({})));
    let [(asana, task), (github, issue)] = clients(&script);
    for (client, key) in [(asana, issue), (github, task)] {
        assert!(matches!(client.item(&key), Err(ProviderError::Refused { .. })));
        assert!(matches!(client.comment(&key, "x"), Err(ProviderError::Refused { .. })));
    }
    assert_eq!(script.asked().len(), 0);
}
