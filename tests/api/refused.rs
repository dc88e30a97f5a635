//! Who and what is refused: tokens, addresses, paths, bodies, queries.

use evenkeel::sandbox::TaskSeed;
use evenkeel::server::api::WAYS;
use serde_json::json;

use super::bench::{Bench, LOCAL, READ_TOKEN, TOKEN, bearer, sync, why};

/// A path of every way, as somebody would call it.
fn paths() -> Vec<(&'static str, String)> {
    WAYS.iter().map(|(method, way, _)| (*method, way.replace("{gid}", "1201").replace("{id}", "7"))).collect()
}

#[test]
fn without_a_token_nothing_is_there() {
    let bench = Bench::under("", &|_| None);
    let nothing = bench.ask("GET", "/api/nothing", &[], b"", Some(LOCAL));
    assert_eq!((nothing.status, nothing.code()), (404, "not_found"));
    for (method, path) in paths() {
        for token in ["", TOKEN, "x"] {
            let bearer = bearer(token);
            let json = ("content-type", "application/json");
            let answer = bench.ask(method, &path, &[("authorization", &bearer), json], b"", Some(LOCAL));
            assert_eq!((answer.status, answer.message()), (404, nothing.message()), "{method} {path}");
        }
        assert_eq!(bench.ask(method, &path, &[], b"", None).status, 404, "{method} {path}");
    }
}

#[test]
fn who_has_no_token_is_refused_before_anything_else_is_said() {
    let bench = Bench::new();
    let digest = format!("Bearer {TOKEN}x");
    let basic = format!("Basic {TOKEN}");
    let right = bearer(TOKEN);
    let cases: [&[(&str, &str)]; 7] = [
        &[],
        &[("authorization", TOKEN)],
        &[("authorization", "Bearer")],
        &[("authorization", "Bearer ")],
        &[("authorization", &basic)],
        &[("authorization", &digest)],
        // Of doubles none is believed.
        &[("authorization", &right), ("authorization", &right)],
    ];
    let mut refused = 0;
    for headers in cases {
        for (method, path) in
            paths().into_iter().chain([("GET", "/api/nothing".to_owned()), ("PUT", "/api".to_owned())])
        {
            let answer = bench.ask(method, &path, headers, b"", Some(LOCAL));
            assert_eq!((answer.status, answer.code()), (401, "unauthorized"), "{method} {path} {headers:?}");
            assert!(answer.headers["www-authenticate"].starts_with("Bearer realm="), "{method} {path}");
            assert!(!answer.json.to_string().contains("0123456789abcdef\""), "{}", answer.json);
            refused += 1;
        }
    }
    // Each is counted, with few writes: the last of them when the API goes.
    let Bench { api, store, .. } = bench;
    drop(api);
    let counted: u64 = store.refusals().expect("refusals").iter().map(|one| one.count).sum();
    assert_eq!(counted, refused);
    assert!(store.refusals().expect("refusals").iter().all(|one| one.provider == "admin"));
}

#[test]
fn a_read_token_reads_and_does_not_write() {
    let bench = Bench::new();
    let reads = bearer(READ_TOKEN);
    for (method, way, endpoint) in WAYS.iter().copied() {
        let path = way.replace("{gid}", "1201").replace("{id}", "7");
        let headers = [("authorization", reads.as_str()), ("content-type", "application/json")];
        let body: &[u8] = if endpoint.writes() { b"{\"reason\": \"a try\"}" } else { b"" };
        let answer = bench.ask(method, &path, &headers, body, Some(LOCAL));
        assert_eq!(answer.status == 403, endpoint.writes(), "{method} {path}: {}", answer.json);
    }
    assert_eq!(bench.calls("true"), 0);
    // A token for reading alone opens the API for reading alone.
    let bench = Bench::under("", &|name| (name == "ADMIN_API_READ_TOKEN").then(|| READ_TOKEN.to_owned()));
    assert_eq!(bench.get("/api/tasks").status, 200);
    assert_eq!(bench.post("/api/reconcile", &why()).status, 401);
    assert_eq!(bench.ask("GET", "/api/tasks", &[("authorization", "bearer ")], b"", Some(LOCAL)).status, 401);
}

#[test]
fn only_the_addresses_allowed_are_heard() {
    let bench = Bench::with("[admin]\nallow = [\"10.0.0.0/8\", \"2001:db8::/32\", \"192.0.2.7\"]");
    let bearer = bearer(TOKEN);
    for (peer, status) in [
        (Some("10.1.2.3"), 200),
        (Some("::ffff:10.1.2.3"), 200),
        (Some("2001:db8::1"), 200),
        (Some("192.0.2.7"), 200),
        (Some("192.0.2.8"), 403),
        (Some("127.0.0.1"), 403),
        (Some("2001:db9::1"), 403),
        (None, 403),
    ] {
        let from = peer.map(|peer| peer.parse().expect("an address"));
        let answer = bench.ask("GET", "/api/tasks", &[("authorization", &bearer)], b"", from);
        assert_eq!(answer.status, status, "{peer:?}");
    }
}

#[test]
fn a_wrong_method_path_or_type_is_told_what_is_right() {
    let bench = Bench::new();
    let bearer = bearer(TOKEN);
    let auth = ("authorization", bearer.as_str());
    for (method, path, status) in [
        ("PUT", "/api/tasks", 405),
        ("POST", "/api/tasks", 405),
        ("GET", "/api/tasks/sync", 405),
        ("DELETE", "/api/tasks/1201/close", 405),
        ("GET", "/api", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/tasks/", 404),
        ("GET", "/api/Tasks", 404),
        ("POST", "/api/tasks/1201/erase", 404),
        ("GET", "/api/passes/7/8", 404),
        ("GET", "/api/%74asks", 404),
    ] {
        let answer = bench.ask(method, path, &[auth], b"", Some(LOCAL));
        assert_eq!(answer.status, status, "{method} {path}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{method} {path}");
    }
    let head = bench.ask("HEAD", "/api/tasks", &[auth], b"", Some(LOCAL));
    assert_eq!(head.status, 200);
    for (types, status) in [
        (&["application/json"][..], 400),
        (&["Application/JSON; charset=utf-8"], 400),
        (&[], 415),
        (&["text/plain"], 415),
        (&["application/x-www-form-urlencoded"], 415),
        (&["application/jsonp"], 415),
        (&["application/json", "application/json"], 415),
    ] {
        let mut headers = vec![auth];
        headers.extend(types.iter().map(|kind| ("content-type", *kind)));
        let answer = bench.ask("POST", "/api/reconcile", &headers, b"", Some(LOCAL));
        assert_eq!(answer.status, status, "{types:?}");
    }
    let packed = bench.post_as("/api/reconcile", &why(), &[("content-encoding", "gzip")]);
    assert_eq!((packed.status, packed.code()), (415, "unsupported_media_type"));
}

#[test]
fn a_bad_body_is_refused_by_name_and_nothing_is_done() {
    let bench = Bench::new();
    let deep = format!("{}{}", "[".repeat(60_000), "]".repeat(5_000));
    let long = format!("{{\"reason\": \"{}\"}}", "x".repeat(1_001));
    let cases: [(&str, &[u8], &str); 24] = [
        ("/api/reconcile", b"", "empty"),
        ("/api/reconcile", b"{", "EOF"),
        ("/api/reconcile", b"nonsense", "expected"),
        ("/api/reconcile", b"\xff\xfe", "expected"),
        ("/api/reconcile", b"\xef\xbb\xbf{\"reason\": \"x\"}", "expected"),
        ("/api/reconcile", b"{\"reason\": \"\xff\"}", "unicode"),
        ("/api/reconcile", b"{\"reason\": \"a\"} {}", "trailing"),
        ("/api/reconcile", b"[\"x\", null, null, null]", "expected an object"),
        ("/api/reconcile", b"null", "expected an object"),
        ("/api/reconcile", b"{}", "missing field `reason`"),
        ("/api/reconcile", deep.as_bytes(), "expected an object"),
        ("/api/reconcile", b"{\"reason\": \"\"}", "reason: it is empty"),
        ("/api/reconcile", b"{\"reason\": \" \\t \"}", "reason: it is empty"),
        ("/api/reconcile", b"{\"reason\": \"a\\nb\"}", "control characters"),
        ("/api/reconcile", long.as_bytes(), "longer than 1000"),
        ("/api/reconcile", b"{\"reason\": 7}", "invalid type"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"full\": 1e999}", "number out of range"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"full\": \"yes\"}", "invalid type"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"reason\": \"y\"}", "duplicate field `reason`"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"colour\": 1}", "unknown field `colour`"),
        ("/api/reconcile", b"{\"reason\": \"x\", \"route\": \"No Route\"}", "route:"),
        ("/api/tasks/sync", b"{\"reason\": \"x\", \"asana_task_gid\": 1201}", "invalid type"),
        ("/api/tasks/sync", b"{\"reason\": \"x\", \"asana_task_gid\": \"12a\"}", "asana_task_gid:"),
        ("/api/tasks/1201/close", b"{\"reason\": \"x\", \"who\": \"\\u0000\"}", "who:"),
    ];
    for (path, body, said) in cases {
        let answer = bench.post_raw(path, body, &[]);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{path} {shown}");
        assert!(answer.message().contains(said), "{shown}: {}", answer.message());
        assert!(answer.message().len() < 500, "{shown}");
    }
    // Nested beyond what is read, where a nested value is read at all.
    let nested = format!("{{\"reason\": {}1{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(bench.post_raw("/api/reconcile", nested.as_bytes(), &[]).status, 400);
    let large = format!("{{\"reason\": \"{}\"}}", "x".repeat(64 * 1024));
    let answer = bench.post_raw("/api/reconcile", large.as_bytes(), &[]);
    assert_eq!((answer.status, answer.code()), (413, "body_too_large"));
    for key in ["", "two words", "ü", &"k".repeat(256)] {
        let answer = bench.post_as("/api/reconcile", &why(), &[("idempotency-key", key)]);
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{key:?}");
    }
    let twice = [("idempotency-key", "one"), ("idempotency-key", "one")];
    assert_eq!(bench.post_as("/api/reconcile", &why(), &twice).status, 400);
    assert_eq!(bench.post("/api/reconcile?route=app", &why()).status, 400);
    assert_eq!(bench.calls("true"), 0, "what was refused was not begun");
    assert!(bench.store.passes(None, 10).expect("passes").is_empty());
}

#[test]
fn a_bad_query_is_refused_by_name() {
    let bench = Bench::new();
    for (target, said) in [
        ("/api/tasks?colour=red", "\"colour\": unknown parameter"),
        ("/api/tasks?limit=1&limit=2", "limit: it is there twice"),
        ("/api/tasks?limit=0", "limit:"),
        ("/api/tasks?limit=201", "limit:"),
        ("/api/tasks?limit=-1", "limit:"),
        ("/api/tasks?limit=99999999999999999999", "limit:"),
        ("/api/tasks?status=closed", "status: \"closed\" is not one of open, done, dropped"),
        ("/api/tasks?link=gone", "link:"),
        ("/api/tasks?mismatch=yes", "mismatch:"),
        ("/api/tasks?parked=", "parked:"),
        ("/api/tasks?route=No%20Route", "route:"),
        ("/api/tasks?cursor=1", "cursor:"),
        ("/api/tasks?cursor=1-00000000", "cursor:"),
        ("/api/tasks/12a", "the task's gid"),
        ("/api/tasks/%31", "the task's gid"),
        ("/api/tasks/1201?full=true", "unknown parameter"),
        ("/api/passes/0", "the pass's id"),
        ("/api/passes/+7", "the pass's id"),
        ("/api/passes/9223372036854775808", "the pass's id"),
        ("/api/passes/7?x", "unknown parameter"),
        ("/api/plan?full=1", "full:"),
        ("/api/deliveries?provider=gitlab", "provider:"),
        ("/api/deliveries?item=acme/app", "item:"),
        ("/api/deliveries/x", "the delivery's id"),
        ("/api/history?after=1&before=9", "after, before"),
        ("/api/history?pass=x", "pass:"),
        ("/api/openapi.json?x=1", "unknown parameter"),
    ] {
        let answer = bench.get(target);
        assert_eq!((answer.status, answer.code()), (400, "invalid"), "{target}");
        assert!(answer.message().contains(said), "{target}: {}", answer.message());
    }
}

#[test]
fn what_is_not_there_is_said_with_what_to_do() {
    let bench = Bench::new();
    for path in ["/api/passes/7", "/api/deliveries/7", "/api/plan?route=other", "/api/tasks/1"] {
        let answer = bench.get(path);
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{path}: {}", answer.json);
    }
    for path in ["/api/deliveries/7/replay", "/api/parked/7/retry", "/api/parked/7/drop"] {
        assert_eq!(bench.post(path, &why()).status, 404, "{path}");
    }
    let nowhere = json!({ "reason": "x", "route": "other" });
    assert_eq!(bench.post("/api/reconcile", &nowhere).status, 404);
    // On no route: in another project, or gone.
    let elsewhere = bench.sandbox.asana().project("Elsewhere");
    let task = bench.sandbox.asana().task(&elsewhere.gid, TaskSeed { name: "Away".into(), ..TaskSeed::default() });
    let answer = bench.post("/api/tasks/sync", &sync(&task));
    assert_eq!((answer.status, answer.code()), (404, "not_found"), "{}", answer.json);
    let answer = bench.post("/api/tasks/1201/close", &why());
    assert_eq!((answer.status, answer.code()), (409, "not_linked"));
    assert!(answer.message().contains("/api/tasks/sync"), "{}", answer.message());
}
