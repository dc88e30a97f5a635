//! What one call does with every kind of answer.

use serde_json::{Value, json};

use super::*;
use crate::clock::VirtualClock;
use crate::model::Side;
use crate::provider::testing::{Script, connection, ok, raw, start, status, with};

fn caller(service: Service, script: &Arc<Script>) -> (Caller, Arc<VirtualClock>) {
    let side = if service == Service::Asana { Side::Tracker } else { Side::Forge };
    let (connection, clock) = connection(side, script.clone());
    (Caller::new(service, connection), clock)
}

fn read() -> Ask<'static> {
    Ask::read("read it", "https://github.test/it".to_owned())
}

fn write() -> Ask<'static> {
    Ask::write("write it", Method::Post, "https://github.test/it".to_owned(), json!({"a": 1})).about_item()
}

fn no_answer() -> Result<Response, TransportError> {
    Err(TransportError::NoAnswer("cut".to_owned()))
}

fn not_sent() -> Result<Response, TransportError> {
    Err(TransportError::NotSent("refused".to_owned()))
}

fn waited(clock: &VirtualClock) -> u64 {
    since(start(), clock.now()).as_secs()
}

#[test]
fn a_read_is_tried_four_times_and_then_given_up() {
    for answer in [status(500, "sad squid"), status(503, ""), status(408, ""), no_answer(), not_sent()] {
        let script = Script::by(move |_, _| answer.clone());
        let (caller, clock) = caller(Service::Github, &script);
        let error = caller.send(&read()).expect_err("no answer is good");
        assert!(matches!(error, ProviderError::Unreachable { maybe_done: false, .. }), "{error:?}");
        assert_eq!(script.asked().len(), 4);
        assert!(waited(&clock) <= 4);
    }
}

#[test]
fn an_edit_that_had_to_wait_does_not_leave_before_what_it_was_decided_from_is_read_again() {
    let edit = Ask { method: Method::Patch, weight: Weight::Write, ..write() }.editing();
    let script = Script::of(vec![with(429, &[("retry-after", "30")], json!({})), ok(json!({}))]);
    let (caller, clock) = caller(Service::Github, &script);
    assert!(matches!(caller.send(&edit), Err(ProviderError::Stale { .. })));
    assert_eq!((script.asked().len(), waited(&clock)), (1, 30), "it waited as told and sent nothing more");
    assert_eq!(caller.send(&edit).map(|response| response.status), Ok(200));
}

#[test]
fn an_edit_whose_first_try_took_long_and_did_not_get_through_is_decided_anew() {
    let edit = Ask { method: Method::Patch, weight: Weight::Write, ..write() }.editing();
    let clock: Arc<Mutex<Option<Arc<VirtualClock>>>> = Arc::default();
    let slow = clock.clone();
    let script = Script::by(move |_, _| {
        if let Some(clock) = &*slow.lock().expect("a clock") {
            clock.advance(Duration::from_secs(20));
        }
        not_sent()
    });
    let (caller, own) = caller(Service::Github, &script);
    *clock.lock().expect("a clock") = Some(own);
    assert!(matches!(caller.send(&edit), Err(ProviderError::Stale { .. })));
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn a_read_that_succeeds_in_the_end_is_a_success() {
    let script = Script::of(vec![no_answer(), status(502, ""), not_sent(), ok(json!({}))]);
    let (caller, _) = caller(Service::Asana, &script);
    assert_eq!(caller.send(&read()).map(|response| response.status), Ok(200));
    // What never left is not counted.
    assert_eq!(caller.requests(), Requests { sent: 3, unchanged: 0, writes: 0 });
}

#[test]
fn a_write_is_never_repeated_once_it_may_have_taken_effect() {
    for answer in [status(500, ""), status(504, ""), no_answer()] {
        let script = Script::by(move |_, _| answer.clone());
        let (caller, _) = caller(Service::Github, &script);
        let error = caller.send(&write()).expect_err("no answer is good");
        assert!(error.maybe_done(), "{error:?}");
        assert_eq!(script.asked().len(), 1);
    }
}

#[test]
fn a_write_that_never_left_is_repeated() {
    let script = Script::of(vec![not_sent(), not_sent(), ok(json!({}))]);
    let (caller, _) = caller(Service::Github, &script);
    assert!(caller.send(&write()).is_ok());
    assert_eq!(caller.requests(), Requests { sent: 1, unchanged: 0, writes: 1 });
    let script = Script::by(|_, _| not_sent());
    let (caller, _) = super::tests::caller(Service::Github, &script);
    let error = caller.send(&write()).expect_err("never left");
    assert!(!error.maybe_done() && matches!(error, ProviderError::Unreachable { .. }), "{error:?}");
}

#[test]
fn a_short_limit_is_waited_out_as_told_even_by_a_write() {
    for (service, code) in [(Service::Asana, 429), (Service::Github, 429), (Service::Github, 403)] {
        for ask in [read(), write()] {
            let script = Script::of(vec![with(code, &[("retry-after", "7")], json!({})), ok(json!({}))]);
            let (caller, clock) = caller(service, &script);
            assert!(caller.send(&ask).is_ok());
            assert_eq!(waited(&clock), 7);
        }
    }
}

#[test]
fn a_long_limit_is_told_and_holds_everybody_with_the_credential() {
    let script = Script::of(vec![with(429, &[("retry-after", "600")], json!({})), ok(json!({}))]);
    let (one, clock) = caller(Service::Asana, &script);
    let other = Caller::new(Service::Asana, one.connection.clone());
    let busy =
        |seconds| ProviderError::Busy { doing: "read it".to_owned(), retry_after: Some(Duration::from_secs(seconds)) };
    assert_eq!(one.send(&read()).map(drop), Err(busy(600)));
    assert_eq!(other.send(&read()).map(drop), Err(busy(600)));
    clock.advance(Duration::from_secs(550));
    // Now the rest is short enough to be waited out.
    assert!(other.send(&read()).is_ok());
    assert_eq!((waited(&clock), script.asked().len()), (600, 2));
}

#[test]
fn a_secondary_limit_without_a_time_waits_a_minute_then_tells() {
    let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
    let script = Script::by(move |_, _| status(403, message));
    let (caller, clock) = caller(Service::Github, &script);
    let error = caller.send(&write()).expect_err("limited");
    assert!(matches!(error, ProviderError::Busy { retry_after: Some(wait), .. } if wait.as_secs() == 120), "{error:?}");
    assert_eq!((waited(&clock), script.asked().len()), (60, 2));
}

#[test]
fn the_hourly_budget_is_waited_for_on_githubs_own_clock() {
    // Our clock says noon; GitHub's is an hour ahead.
    let headers = [
        ("x-ratelimit-remaining", "0"),
        ("x-ratelimit-reset", "1795179630"),
        ("date", "Fri, 20 Nov 2026 13:00:00 GMT"),
    ];
    let reset = Timestamp::from_second(1_795_179_630).expect("a moment");
    let theirs: Timestamp = "2026-11-20T13:00:00Z".parse().expect("a moment");
    let left = since(theirs, reset).as_secs() + 1;
    assert!((1..=60).contains(&left), "{left}");
    for first in [with(403, &headers, json!({"message": "API rate limit exceeded"})), with(200, &headers, json!({}))] {
        let script = Script::of(vec![first, ok(json!({})), ok(json!({}))]);
        let (caller, clock) = caller(Service::Github, &script);
        assert!(caller.send(&read()).is_ok() && caller.send(&read()).is_ok());
        assert_eq!(waited(&clock), left);
    }
}

#[test]
fn absurd_waits_are_not_believed() {
    for value in ["1e300", "99999999999999999999", "Fri, 01 Jan 9999 00:00:00 GMT"] {
        let text = value.to_owned();
        let script = Script::by(move |_, _| with(429, &[("retry-after", text.as_str())], json!({})));
        let (caller, clock) = caller(Service::Asana, &script);
        let error = caller.send(&read()).expect_err("limited");
        let day = Some(Duration::from_secs(86_400));
        assert_eq!(error, ProviderError::Busy { doing: "read it".to_owned(), retry_after: day }, "{value}");
        // The credential itself is free again after an hour.
        clock.advance(super::super::pace::HOLD_MAX);
        assert_eq!(caller.send(&read()).map(drop), Err(error));
    }
    for value in ["-5", "soon", "NaN", "inf", ""] {
        let text = value.to_owned();
        let script = Script::by(move |_, _| with(429, &[("retry-after", text.as_str())], json!({})));
        let (caller, _) = caller(Service::Asana, &script);
        assert!(matches!(caller.send(&read()), Err(ProviderError::Busy { .. })), "{value}");
        assert!(script.asked().len() <= 4);
    }
}

#[test]
fn every_other_refusal_is_sorted_by_its_remedy() {
    use Service::{Asana, Github};
    let item = || read().about_item();
    let table = [
        (Asana, read(), 401, "Not Authorized", "Denied"),
        (Github, item(), 401, "Bad credentials", "Denied"),
        (Asana, read(), 403, "You do not have access to this project.", "Denied"),
        (Asana, item(), 403, "You do not have access to this task.", "Refused"),
        (Github, item(), 403, "Resource not accessible by personal access token", "Denied"),
        (Github, item(), 403, "Must have admin rights to Repository.", "Denied"),
        (Github, item(), 403, "Unable to create comment because issue is locked.", "Refused"),
        (Github, item(), 403, "Repository was archived so is read-only.", "Denied"),
        (Asana, read(), 402, "Payment required", "Refused"),
        (Asana, read(), 404, "project: Unknown object: 5", "Denied"),
        (Asana, item(), 404, "task: Unknown object: 5", "Gone"),
        (Github, item(), 410, "This issue was deleted", "Gone"),
        (Github, item(), 410, "Issues are disabled for this repo", "Denied"),
        (Github, read(), 410, "Issues are disabled for this repo", "Denied"),
        (Github, item(), 422, "Validation Failed", "Refused"),
        (Asana, item(), 400, "name: Missing input", "Refused"),
        (Asana, read(), 451, "", "Denied"),
        (Github, read(), 301, "Moved", "Garbled"),
        (Github, read(), 101, "", "Garbled"),
    ];
    for (service, ask, code, message, wanted) in table {
        let script = Script::by(move |_, _| status(code, message));
        let (caller, _) = caller(service, &script);
        let error = caller.send(&ask).expect_err(message);
        assert!(format!("{error:?}").starts_with(wanted), "{code} {message}: {error:?}");
        assert_eq!(script.asked().len(), 1);
    }
}

#[test]
fn messages_are_short_single_lines_without_the_token_or_bodies() {
    let long = format!("hidden-token-42 said\r\n{}", "x".repeat(10_000));
    let script = Script::by(move |_, _| status(422, &long));
    let (caller, _) = caller(Service::Github, &script);
    let shown = caller.send(&read()).expect_err("refused").to_string();
    assert!(!shown.contains("hidden-token-42") && !shown.contains('\n') && shown.len() < 400, "{shown}");

    let body = json!({"message": "Validation Failed", "errors": [
        {"resource": "Issue", "field": "title", "code": "custom", "message": "title is too long", "value": "private words"},
        {"resource": "Issue", "field": "assignees", "code": "invalid", "value": "someone"}, "plain text"]});
    let script = Script::by(move |_, _| with(422, &[], body.clone()));
    let (caller, _) = super::tests::caller(Service::Github, &script);
    let ProviderError::Refused { why, .. } = caller.send(&read()).expect_err("refused") else {
        panic!("another error");
    };
    assert_eq!(why, "(Validation Failed; title: title is too long; assignees: invalid; plain text)");

    let script = Script::by(|_, _| raw(400, b"<html>private words</html>"));
    let (caller, _) = super::tests::caller(Service::Github, &script);
    let shown = caller.send(&read()).expect_err("refused").to_string();
    assert!(shown.contains("HTML") && !shown.contains("private"), "{shown}");
}

#[test]
fn what_cannot_be_read_is_garbled_and_a_write_may_be_done_all_the_same() {
    for body in [b"<html>hello</html>".as_slice(), b"", b"\xff\xfe", b"{\"data\":", b"[[[[[[[["] {
        let body = body.to_vec();
        let script = Script::by(move |_, _| raw(200, &body));
        let (caller, _) = caller(Service::Asana, &script);
        let error = caller.get::<Value>(&write()).map(drop).expect_err("no JSON");
        assert!(matches!(error, ProviderError::Garbled { .. }) && error.maybe_done(), "{error:?}");
    }
    let script = Script::by(|_, _| Err(TransportError::TooLarge(1_000)));
    let (caller, _) = caller(Service::Asana, &script);
    let error = caller.send(&read()).expect_err("too large");
    assert!(error.to_string().contains("larger than 1000 bytes"), "{error}");
    assert_eq!(script.asked().len(), 1);
}

#[test]
fn a_raised_stop_ends_waits_but_not_the_call_in_hand() {
    let script = Script::of(vec![ok(json!({})), with(429, &[("retry-after", "7")], json!({}))]);
    let (caller, _) = caller(Service::Asana, &script);
    caller.connection.stop.raise();
    assert!(caller.send(&write()).is_ok(), "the repair in hand is finished");
    assert_eq!(caller.send(&read()).map(drop), Err(ProviderError::Stopped));
    assert_eq!(caller.stopped(), Err(ProviderError::Stopped));
}

#[test]
fn a_request_says_who_asks_for_what() {
    let script = Script::by(|_, _| with(304, &[], Value::Null));
    let (caller, _) = caller(Service::Github, &script);
    let mut ask = read();
    ask.etag = Some("W/\"abc\"");
    assert!(caller.send(&ask).is_ok());
    let first = |name: &str| script.headers(name).remove(0).unwrap_or_default();
    assert_eq!(first("authorization"), "Bearer hidden-token-42");
    assert_eq!(first("x-github-api-version"), "2022-11-28");
    assert_eq!(first("if-none-match"), "W/\"abc\"");
    assert!(first("user-agent").starts_with("evenkeel/"));
    assert_eq!(caller.requests(), Requests { sent: 1, unchanged: 1, writes: 0 });
}

#[test]
fn text_in_addresses_is_encoded() {
    assert_eq!(encoded("a b&c=d/é:+"), "a%20b%26c%3Dd%2F%C3%A9%3A%2B");
}

#[test]
fn a_service_that_is_down_is_asked_a_few_times_then_left_in_peace_and_tried_with_one_request() {
    let script = Script::by(|index, _| if index < 7 { status(503, "sad squid") } else { ok(json!({})) });
    let (caller, clock) = caller(Service::Github, &script);
    assert!(matches!(caller.send(&read()), Err(ProviderError::Unreachable { .. })));
    for _ in 0..1_000 {
        let error = caller.send(&read()).expect_err("it is down");
        let ProviderError::Resting { until, why, .. } = &error else { panic!("{error:?}") };
        assert!(*until > clock.now() && why.contains("status 503"), "{error}");
        assert_eq!(error.remedy(), crate::provider::Remedy::StopSide);
    }
    assert_eq!(script.asked().len(), 6);
    // One request tries after the rest; it fails, and the next rest is longer.
    clock.advance(Duration::from_secs(30));
    assert!(matches!(caller.send(&read()), Err(ProviderError::Resting { .. })));
    assert_eq!(script.asked().len(), 7);
    clock.advance(Duration::from_secs(29));
    assert!(matches!(caller.send(&read()), Err(ProviderError::Resting { .. })));
    assert_eq!(script.asked().len(), 7);
    clock.advance(Duration::from_secs(31));
    for _ in 0..10 {
        assert!(caller.send(&read()).is_ok(), "it is back");
    }
    assert_eq!(script.asked().len(), 17);
}

#[test]
fn what_is_wrong_with_one_item_is_not_the_service_s_failure() {
    for answer in [status(404, "no"), status(403, "locked"), status(410, "gone"), status(422, "no"), status(451, "no")]
    {
        let script = Script::by(move |_, _| answer.clone());
        let (caller, _) = caller(Service::Github, &script);
        for _ in 0..50 {
            let error = caller.send(&read().about_item()).expect_err("it is refused");
            assert!(!matches!(error, ProviderError::Resting { .. }), "{error}");
        }
        assert_eq!(script.asked().len(), 50);
    }
}

#[test]
fn items_that_the_service_cannot_serve_among_others_open_nothing() {
    // Five of them in a row, each tried four times; then one is answered.
    for bad in [status(500, ""), no_answer()] {
        let script = Script::by(move |index, _| if index % 21 < 20 { bad.clone() } else { ok(json!({})) });
        let (caller, _) = caller(Service::Asana, &script);
        for call in 0..60 {
            let answer = caller.send(&read().about_item());
            assert_eq!(answer.is_ok(), call % 6 == 5, "{answer:?}");
            assert!(!matches!(answer, Err(ProviderError::Resting { .. })), "{answer:?}");
        }
    }
}

#[test]
fn a_service_that_is_down_is_noticed_by_reads_of_single_items_too() {
    // An answer, or none, may be the item's own trouble, so each read counts once; what never left is not.
    for (bad, requests) in [(status(503, ""), 21), (no_answer(), 21), (not_sent(), 6)] {
        let script = Script::by(move |_, _| bad.clone());
        let (caller, clock) = caller(Service::Github, &script);
        for _ in 0..20 {
            caller.send(&read().about_item()).expect_err("it is down");
        }
        assert_eq!(script.asked().len(), requests);
        // The one request that tries is such a read: it opens again.
        clock.advance(Duration::from_secs(30));
        let error = caller.send(&read().about_item()).expect_err("it is down");
        assert!(matches!(error, ProviderError::Resting { .. }), "{error}");
        assert_eq!(script.asked().len(), requests + 1);
    }
}

#[test]
fn a_token_that_is_not_accepted_any_more_is_shown_three_times_and_then_not_for_minutes() {
    let script = Script::by(|_, _| status(401, "Bad credentials"));
    let (caller, clock) = caller(Service::Github, &script);
    for _ in 0..3 {
        assert!(matches!(caller.send(&read()), Err(ProviderError::Denied { .. })));
    }
    for _ in 0..20 {
        let error = caller.send(&read()).expect_err("it is revoked");
        assert!(matches!(&error, ProviderError::Resting { .. }) && error.to_string().contains("token"), "{error}");
    }
    assert_eq!(script.asked().len(), 3);
    clock.advance(Duration::from_secs(300));
    assert!(caller.send(&read()).is_err());
    assert_eq!(script.asked().len(), 4);
}

#[test]
fn our_own_stop_says_nothing_of_the_service() {
    let script = Script::by(|_, _| Err(TransportError::Stopped));
    let (caller, _) = caller(Service::Github, &script);
    for _ in 0..20 {
        assert_eq!(caller.send(&read()).map(drop), Err(ProviderError::Stopped));
    }
}
