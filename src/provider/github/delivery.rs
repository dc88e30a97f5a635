//! A GitHub delivery reduced to the issues it may have touched. Pure.
//!
//! | event (GitHub, webhook events and payloads) | what is looked at |
//! | --- | --- |
//! | `issues` | the issue; of a transfer both the old and the new one |
//! | `issue_comment` | the issue; nothing when it is on a pull request |
//! | `pull_request` opened, reopened, edited, closed | nothing; what happened is told, and which issues it closes |
//! | `label` renamed or deleted | everything: no issue's time moves with it |
//! | `repository` renamed or transferred | what moved, by both names and the id |
//! | `ping`, `milestone`, `installation` and whatever else comes | nothing; it is noted |
//!
//! Only what the event is about is read, everything may be missing (a deleted label leaves an `unlabeled`
//! without `label`; users that are gone are null), and what is not understood is noted, not refused.

use std::borrow::Cow;

use serde_json::Value;

use super::closing::closing;
use crate::model::{IssueRef, ItemKey, RepoName};
use crate::provider::heard::{Heard, PullRequestAct, PullRequestHeard, Touches, Whole, plain_name, words};
use crate::provider::json;

/// Whom GitHub shows for an account that is gone.
const GHOST: &str = "ghost";
/// Longest address of a pull request that is passed on, in bytes.
const URL_BYTES_MAX: usize = 500;
/// Where the web pages are when the delivery does not say.
const WEB_HOST: &str = "github.com";

/// Why no JSON was found in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PayloadFault {
    /// It is neither of the two content types GitHub sends.
    Type,
    /// It is a form, but not one with exactly one `payload`.
    Form,
}

impl std::fmt::Display for PayloadFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Type => "its content type is neither application/json nor application/x-www-form-urlencoded",
            Self::Form => "it is a form without exactly one field payload",
        })
    }
}

/// The JSON in a request's body, which is signed as it came: the body itself, or the field `payload` of a form.
///
/// # Errors
/// [`PayloadFault`].
pub fn payload_of<'a>(content_type: &str, body: &'a [u8]) -> Result<Cow<'a, [u8]>, PayloadFault> {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    if kind.eq_ignore_ascii_case("application/json") {
        return Ok(Cow::Borrowed(body));
    }
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        return Err(PayloadFault::Type);
    }
    let mut payloads = form_urlencoded::parse(body).filter(|(name, _)| name == "payload");
    let (_, payload) = payloads.next().ok_or(PayloadFault::Form)?;
    if payloads.next().is_some() {
        return Err(PayloadFault::Form);
    }
    Ok(match payload {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    })
}

/// Reduces a delivery: `event` is its `X-GitHub-Event`, `body` the JSON of [`payload_of`].
///
/// # Errors
/// When the body is no JSON object or is nested deeper than 128; says so without quoting it.
pub fn reduce(event: &str, body: &[u8]) -> Result<Heard, String> {
    let body: Value = json::decode(body)?;
    if !body.is_object() {
        return Err("it is no JSON object".to_owned());
    }
    let event = plain_name(event).unwrap_or("unknown");
    let action = text(&body, "/action").and_then(plain_name).unwrap_or_default();
    let mut heard = Heard::of(if action.is_empty() { event.to_owned() } else { format!("{event}.{action}") });
    heard.repository = repo(&body, "/repository");
    heard.repository_id = body.pointer("/repository/id").and_then(Value::as_i64);
    heard.hook_id = body.pointer("/hook_id").and_then(Value::as_i64);
    match (event, action) {
        ("ping", _) => {}
        ("meta", "deleted") => heard.say("GitHub says that this hook was deleted"),
        ("issues", _) => issues(&body, action, &mut heard),
        ("issue_comment", _) if on_pull_request(&body) => heard.say("a comment on a pull request: not acted upon"),
        ("issue_comment", _) => issues(&body, "", &mut heard),
        ("pull_request", _) => pull_request(&body, action, &mut heard),
        // A new colour or description is nothing to the other side.
        ("label", "edited") if body.get("changes").is_some_and(Value::is_object) => {
            match body.pointer("/changes/name") {
                Some(_) => heard.look(Whole::Sweep),
                None => heard.say("the label's name is as before: not acted upon"),
            }
        }
        ("label", "edited" | "deleted") => heard.look(Whole::Sweep),
        ("repository", "renamed") => {
            let owner = heard.repository.as_ref().map(RepoName::owner);
            heard.renamed_from = before(owner, text(&body, "/changes/repository/name/from"));
            heard.look(Whole::Poll);
        }
        ("repository", "transferred") => {
            let owner = text(&body, "/changes/owner/from/user/login");
            let owner = owner.or_else(|| text(&body, "/changes/owner/from/organization/login"));
            heard.renamed_from = before(owner, heard.repository.as_ref().map(RepoName::name));
            heard.look(Whole::Poll);
        }
        ("repository", "deleted" | "archived" | "unarchived" | "privatized" | "publicized") => {
            heard.say(&format!("the repository was {action}; a check of the route tells what that means for it"));
        }
        _ => heard.say("not acted upon"),
    }
    Ok(heard)
}

/// What happened to an issue, and to the one it was before or is from now on.
fn issues(body: &Value, action: &str, heard: &mut Heard) {
    if on_pull_request(body) {
        heard.say("it is about a pull request: not acted upon");
        return;
    }
    let mut touches = Touches::default();
    let other = match action {
        "transferred" => body.pointer("/changes/new_issue").zip(repo(body, "/changes/new_repository")),
        "opened" => body.pointer("/changes/old_issue").zip(repo(body, "/changes/old_repository")),
        _ => None,
    };
    let here = body.get("issue").zip(heard.repository.clone());
    let mut all = [here, other].into_iter().flatten().filter_map(|(issue, repo)| issue_ref(issue, repo)).peekable();
    if all.peek().is_none() {
        heard.say("it names no issue");
        heard.look(Whole::Poll);
    }
    all.map(ItemKey::Issue).for_each(|issue| touches.add(issue));
    touches.into(heard);
}

/// Pull requests are no items; a person hears of them, and the issues they close are named.
fn pull_request(body: &Value, action: &str, heard: &mut Heard) {
    let act = match action {
        "opened" => PullRequestAct::Opened,
        "reopened" => PullRequestAct::Reopened,
        "edited" => PullRequestAct::Edited,
        "closed" if body.pointer("/pull_request/merged").and_then(Value::as_bool) == Some(true) => {
            PullRequestAct::Merged
        }
        "closed" => PullRequestAct::ClosedUnmerged,
        _ => return heard.say("not acted upon"),
    };
    let number = body.pointer("/pull_request/number").or_else(|| body.get("number"));
    let Some((repo, number)) = heard.repository.clone().zip(number.and_then(positive)) else {
        return heard.say("it names no pull request");
    };
    let default_branch = text(body, "/repository/default_branch");
    let closes = if default_branch.is_some() && text(body, "/pull_request/base/ref") == default_branch {
        let host = text(body, "/repository/html_url").and_then(host).unwrap_or(WEB_HOST);
        closing(text(body, "/pull_request/body").unwrap_or_default(), &repo, host)
    } else {
        Vec::new()
    };
    let login = |at: &str| text(body, at).map(words).filter(|login| !login.is_empty());
    let author = login("/pull_request/user/login").unwrap_or_else(|| GHOST.to_owned());
    let by = login("/sender/login").unwrap_or_else(|| GHOST.to_owned());
    let url = text(body, "/pull_request/html_url")
        .filter(|url| {
            url.len() <= URL_BYTES_MAX && host(url).is_some() && url.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .map_or_else(|| format!("https://{WEB_HOST}/{repo}/pull/{number}"), str::to_owned);
    let title = words(text(body, "/pull_request/title").unwrap_or_default());
    heard.pull_request = Some(PullRequestHeard { repo, number, title, url, author, by, act, closes });
}

fn text<'a>(body: &'a Value, at: &str) -> Option<&'a str> {
    body.pointer(at)?.as_str()
}

fn repo(body: &Value, at: &str) -> Option<RepoName> {
    body.pointer(at)?.get("full_name")?.as_str()?.parse().ok()
}

fn before(owner: Option<&str>, name: Option<&str>) -> Option<RepoName> {
    format!("{}/{}", owner?, name?).parse().ok()
}

fn issue_ref(issue: &Value, repo: RepoName) -> Option<IssueRef> {
    Some(IssueRef { repo, number: positive(issue.get("number")?)? })
}

/// A number as tables and other programs can hold it.
fn positive(value: &Value) -> Option<u64> {
    value.as_i64().and_then(|number| u64::try_from(number).ok()).filter(|number| *number > 0)
}

/// In events about comments a pull request comes in an issue's clothes.
fn on_pull_request(body: &Value) -> bool {
    body.pointer("/issue/pull_request").is_some_and(|mark| !mark.is_null())
}

/// The host of a web address, with its port.
fn host(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    rest.split('/').next().filter(|host| !host.is_empty())
}

#[cfg(test)]
mod tests;
