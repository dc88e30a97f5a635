//! Descriptions of pull requests, which anybody may write: what they close is bounded and well named.

#![no_main]

use evenkeel::provider::github::delivery::reduce;
use libfuzzer_sys::fuzz_target;
use serde_json::json;

fuzz_target!(|description: &str| {
    let body = json!({"action": "opened",
        "repository": {"id": 1, "full_name": "acme/app", "default_branch": "main", "html_url": "https://github.com/acme/app"},
        "pull_request": {"number": 1, "title": description, "body": description, "base": {"ref": "main"}}});
    let heard = reduce("pull_request", body.to_string().as_bytes()).expect("a delivery");
    let pull = heard.pull_request.expect("a pull request");
    assert!(pull.closes.len() <= 50);
    for issue in &pull.closes {
        assert!(issue.number > 0 && description.contains(&issue.number.to_string()));
        assert_eq!(issue.to_string().parse().as_ref(), Ok(issue));
    }
});
