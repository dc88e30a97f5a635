//! Event bodies of both services, as JSON and as forms: never a panic, never more named than is bounded.

#![no_main]

use std::collections::HashSet;

use evenkeel::provider::heard::{Heard, NOTE_CHARS_MAX, TOUCHED_MAX};
use evenkeel::provider::{asana, github};
use libfuzzer_sys::fuzz_target;

const EVENTS: [&str; 9] =
    ["issues", "issue_comment", "pull_request", "label", "milestone", "repository", "ping", "meta", "no such event"];

fn check(heard: &Heard) {
    assert!(heard.touched.len() <= TOUCHED_MAX);
    assert_eq!(heard.touched.iter().collect::<HashSet<_>>().len(), heard.touched.len());
    assert!(heard.event.len() <= 130, "{}", heard.event);
    assert!(heard.note.as_ref().is_none_or(|note| note.chars().count() <= NOTE_CHARS_MAX));
    if let Some(pull) = &heard.pull_request {
        assert!(pull.number > 0 && pull.title.chars().count() <= 300 && pull.url.len() <= 500);
        assert!(!pull.title.contains(char::is_control) && !pull.by.contains(char::is_control));
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let event = EVENTS[usize::from(*first) % EVENTS.len()];
    let heard = [
        asana::delivery::reduce(body),
        github::delivery::reduce(event, body),
        github::delivery::payload_of("application/x-www-form-urlencoded", body)
            .map_err(|fault| fault.to_string())
            .and_then(|payload| github::delivery::reduce(event, &payload)),
    ];
    for heard in heard.iter().flatten() {
        check(heard);
    }
    if let Ok(text) = std::str::from_utf8(body) {
        let _ = github::delivery::payload_of(text, body).map(|payload| payload.len());
        if let Ok(heard) = github::delivery::reduce(text, b"{}") {
            check(&heard);
        }
    }
});
