//! `status`: how every route is doing, from the database alone; asks neither Asana nor GitHub.

mod credentials;
mod hooks;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use self::credentials::CredentialStatus;
use super::args::StatusArgs;
use super::item::{ago, span};
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, count, paint};
use super::{Context, Exit, Failure};
use crate::clock::{earlier, since};
use crate::config::Route;
use crate::model::{BySide, Field, ItemKey, LinkStatus, Side, Timestamp};
use crate::provider::Requests;
use crate::store::Pass;

/// How far back deliveries, and what they did not tell, are counted.
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Passes looked through for the last of each kind.
const PASSES_MAX: u32 = 200;

/// Links with waiting fields shown; the rest is counted.
const WAITING_MAX: u32 = 1_000;

/// Of them, so many for a person.
const WAITING_SHOWN: usize = 5;

/// How a route is doing.
#[derive(Serialize)]
struct RouteStatus {
    route: String,
    project: String,
    repo: String,
    state: &'static str,
    links: BTreeMap<&'static str, u64>,
    waiting: Vec<WaitingField>,
    due: u64,
    parked: u64,
    lease: Option<Holder>,
    last_sweep: Option<Timestamp>,
    cursors: BySide<Option<Timestamp>>,
    passes: Vec<LastPass>,
    last_error: Option<LastError>,
    /// What polls found in the last 24 hours although a hook should have told of it.
    unheard: u64,
}

#[derive(Serialize)]
struct WaitingField {
    task: ItemKey,
    issue: ItemKey,
    field: Field,
    why: String,
    since: Timestamp,
}

#[derive(Serialize)]
struct Holder {
    holder: String,
    until: Timestamp,
}

/// The last pass of one kind.
#[derive(Serialize)]
struct LastPass {
    pass: i64,
    kind: String,
    cause: String,
    actor: String,
    started_at: Timestamp,
    ended_at: Option<Timestamp>,
    outcome: Option<String>,
    counts: BTreeMap<String, u64>,
    requests: BySide<Requests>,
    message: Option<String>,
}

#[derive(Serialize)]
struct LastError {
    pass: i64,
    at: Timestamp,
    message: String,
}

/// Runs the command.
pub(super) fn run(context: &Context, args: &StatusArgs) -> Result<Exit, Failure> {
    let now = context.clock.now();
    let mut all = Vec::new();
    let mut exit = Exit::Settled;
    let routes = context.routes(args.route.as_ref())?;
    let webhooks = hooks::look(context, &routes, now)?;
    let credentials = credentials::look(context, &routes, now)?;
    for route in routes {
        let status = look(context, route, now)?;
        exit = exit.max(match status.state {
            "failed" => Exit::Failed,
            "refused" => Exit::Refused,
            "settled" => Exit::Settled,
            _ => Exit::Drift,
        });
        all.push(status);
    }
    if webhooks.troubled() || credentials.iter().any(CredentialStatus::troubled) {
        exit = exit.max(Exit::Drift);
    }
    if context.out.json {
        let database = context.config.database.to_string();
        context.out.json(&serde_json::json!({
            "database": database, "routes": all, "credentials": credentials, "webhooks": webhooks
        }))?;
    } else {
        let mut text = String::new();
        for (at, status) in all.iter().enumerate() {
            if at > 0 {
                text.push('\n');
            }
            render(&mut text, status, context.out.width, now);
        }
        credentials::render(&mut text, &credentials, context.out.width, now);
        hooks::render(&mut text, &webhooks, context.out.width, now);
        context.out.text(&text)?;
    }
    Ok(exit)
}

fn look(context: &Context, route: &Route, now: Timestamp) -> Result<RouteStatus, Failure> {
    let store = &context.store;
    let name = &route.name;
    let links = store.count_links(name)?.into_iter().map(|(status, count)| (status.as_str(), count)).collect();
    let waiting: Vec<WaitingField> = store
        .waiting_links(Some(name), WAITING_MAX)?
        .into_iter()
        .filter(|link| link.status != LinkStatus::Retired)
        .flat_map(|link| {
            let keys = BySide::from_fn(|side| link.key(side));
            link.waiting.into_iter().map(move |(field, waiting)| WaitingField {
                task: keys.tracker.clone(),
                issue: keys.forge.clone(),
                field,
                why: waiting.why,
                since: waiting.since,
            })
        })
        .collect();
    let due = store.count_due(name)?;
    let parked = u64::try_from(store.parked(Some(name))?.len()).unwrap_or(u64::MAX);
    let lease = store.lease_holder(name, now)?.map(|held| Holder { holder: held.holder, until: held.until });
    let known = store.passes(Some(name), PASSES_MAX)?;
    let mut passes: Vec<LastPass> = Vec::new();
    for pass in &known {
        if !passes.iter().any(|last| last.kind == pass.start.kind) {
            passes.push(last(pass));
        }
    }
    let last_error = known.iter().find_map(|pass| {
        let end = pass.end.as_ref()?;
        let bad = matches!(end.outcome.as_str(), "failed" | "refused");
        let message = end.message.clone().filter(|_| bad)?;
        Some(LastError { pass: pass.id.0, at: pass.ended_at.unwrap_or(pass.started_at), message })
    });
    // What an operator did by hand says nothing about whether the route is in step.
    let outcome = known
        .iter()
        .filter(|pass| matches!(pass.start.kind.as_str(), "poll" | "sweep" | "visit" | "retry" | "overtake"))
        .find_map(|pass| pass.end.as_ref())
        .map(|end| end.outcome.as_str());
    let state = match outcome {
        None => "new",
        Some("failed") => "failed",
        Some("refused") => "refused",
        Some(_) if !waiting.is_empty() || parked > 0 => "waiting",
        Some("settled") if due == 0 => "settled",
        Some(_) => "drift",
    };
    Ok(RouteStatus {
        route: name.to_string(),
        project: route.project.to_string(),
        repo: route.repo.to_string(),
        state,
        links,
        waiting,
        due,
        parked,
        lease,
        last_sweep: store.note(name, "last_sweep")?.and_then(|text| text.parse().ok()),
        cursors: store.cursor_times(name)?,
        passes,
        last_error,
        unheard: store.sum_of_passes(name, "unheard", earlier(now, DAY))?,
    })
}

fn last(pass: &Pass) -> LastPass {
    let end = pass.end.clone().unwrap_or_default();
    LastPass {
        pass: pass.id.0,
        kind: pass.start.kind.clone(),
        cause: pass.start.cause.clone(),
        actor: pass.start.actor.clone(),
        started_at: pass.started_at,
        ended_at: pass.ended_at,
        outcome: pass.end.as_ref().map(|end| end.outcome.clone()),
        counts: end.counts.into_iter().filter(|(_, count)| *count > 0).collect(),
        requests: end.requests,
        message: end.message,
    }
}

fn render(text: &mut String, status: &RouteStatus, width: usize, now: Timestamp) {
    let (style, said) = match status.state {
        "settled" => (GREEN, "in step".to_owned()),
        "new" => (YELLOW, "no pass yet".to_owned()),
        "waiting" => (YELLOW, "a person is needed".to_owned()),
        "drift" => (YELLOW, "something is left for the next pass".to_owned()),
        "refused" => (RED, "the last pass was refused by a brake".to_owned()),
        _ => (RED, "the last pass failed".to_owned()),
    };
    let name = output::cut(&status.route, 24);
    let _ = writeln!(text, "{} {}", paint(BOLD, &name), paint(style, output::cut(&said, width.saturating_sub(26))));
    let row = |text: &mut String, label: &str, value: &str| {
        let lines = output::wrap(value, width.saturating_sub(13));
        for (at, line) in lines.iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let _ = writeln!(text, "  {label:<10} {line}");
        }
    };
    row(text, "between", &format!("asana project {} and github {}", status.project, status.repo));
    let links: Vec<String> = status
        .links
        .iter()
        .filter(|(kind, count)| **count > 0 || **kind == "active")
        .map(|(kind, count)| format!("{count} {kind}"))
        .collect();
    row(text, "links", &links.join(", "));
    if status.due > 0 {
        row(
            text,
            "due",
            &format!("{}, visited by the next pass whose time has come", count(status.due, "item", "items")),
        );
    }
    if status.parked > 0 {
        row(text, "parked", &format!("{} (`evenkeel parked list`)", count(status.parked, "item", "items")));
    }
    if !status.waiting.is_empty() {
        let fields = u64::try_from(status.waiting.len()).unwrap_or(u64::MAX);
        row(
            text,
            "waiting",
            &format!("{} (`evenkeel conflicts` shows both values):", count(fields, "field", "fields")),
        );
        for waiting in status.waiting.iter().take(WAITING_SHOWN) {
            let words =
                format!("{} of {}, asked {}: {}", waiting.field, waiting.task, ago(waiting.since, now), waiting.why);
            row(text, "", &words);
        }
        if status.waiting.len() > WAITING_SHOWN {
            row(text, "", &format!("and {} more", status.waiting.len() - WAITING_SHOWN));
        }
    }
    if let Some(lease) = &status.lease {
        row(text, "at work", &format!("{} (lease until {:.0})", lease.holder, lease.until));
    }
    let sweep = status.last_sweep.map_or_else(|| "never".to_owned(), |at| ago(at, now));
    row(text, "last sweep", &sweep);
    let cursors: Vec<String> = Side::BOTH
        .into_iter()
        .map(|side| {
            let age =
                status.cursors[side].map_or_else(|| "none yet".to_owned(), |at| format!("moved {}", ago(at, now)));
            format!("{} {age}", side.service())
        })
        .collect();
    row(text, "cursors", &cursors.join(", "));
    if status.unheard > 0 {
        let edits = count(status.unheard, "edit", "edits");
        row(text, "unheard", &format!("{edits} found by a poll before any delivery told of it, in the last 24 h"));
    }
    if !status.passes.is_empty() {
        let _ = writeln!(text, "  {}", paint(DIM, "last pass of each kind:"));
    }
    for pass in &status.passes {
        let outcome = match (&pass.outcome, pass.ended_at) {
            (Some(outcome), _) => outcome.clone(),
            (None, _) if status.lease.is_some() => "at work".to_owned(),
            (None, _) => "broken off".to_owned(),
        };
        let style = match outcome.as_str() {
            "settled" => GREEN,
            "failed" | "refused" | "broken off" => RED,
            _ => YELLOW,
        };
        let when = ago(pass.started_at, now);
        let took =
            pass.ended_at.map_or_else(String::new, |end| format!(", took {}", span(since(pass.started_at, end))));
        let _ = writeln!(
            text,
            "    {} {} {} {when}{took}",
            paint(CYAN, format_args!("{:>6}", pass.pass)),
            output::cut(&format!("{:<7}", pass.kind), 7),
            paint(style, format_args!("{:<8}", output::cut(&outcome, 10))),
        );
        let counts: Vec<String> = pass.counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let requests = format!(
            "requests: asana {}, github {} ({} unchanged)",
            pass.requests.tracker.sent, pass.requests.forge.sent, pass.requests.forge.unchanged
        );
        let detail = if counts.is_empty() { requests } else { format!("{}; {requests}", counts.join(", ")) };
        output::paragraph(text, DIM, 11, width, &detail);
    }
    if status.state == "new" {
        row(text, "next", "`evenkeel plan` shows what the first pass would do");
    }
    if let Some(error) = &status.last_error {
        row(text, "last error", &format!("pass {}, {}: {}", error.pass, ago(error.at, now), error.message));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::item::narrow::fits;
    use super::*;

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            words in any::<String>(), name in "[a-z0-9_-]{1,64}", repo in "[a-z]{1,39}/[a-z]{1,100}",
            state in prop::sample::select(vec!["settled", "new", "waiting", "drift", "refused", "failed"]),
            width in 60_usize..120,
        ) {
            let at: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
            let item: ItemKey = format!("github:{repo}#1234567").parse().expect("an item");
            let waiting = || WaitingField {
                task: "asana:1204000000000017".parse().expect("an item"),
                issue: item.clone(),
                field: Field::Assignees,
                why: words.clone(),
                since: at,
            };
            let pass = LastPass {
                pass: 1_234_567,
                kind: words.clone(),
                cause: words.clone(),
                actor: words.clone(),
                started_at: at,
                ended_at: Some(at),
                outcome: Some(words.clone()),
                counts: [("updated".to_owned(), 12), (words.clone(), 7)].into(),
                requests: BySide::default(),
                message: Some(words.clone()),
            };
            let status = RouteStatus {
                route: name,
                project: "1204000000000017".to_owned(),
                repo,
                state,
                links: [("active", 12_345), ("left", 1)].into(),
                waiting: (0..8).map(|_| waiting()).collect(),
                due: 3,
                parked: 1,
                lease: Some(Holder { holder: words.clone(), until: at }),
                last_sweep: None,
                cursors: BySide { tracker: Some(at), forge: None },
                passes: vec![pass],
                last_error: Some(LastError { pass: 1, at, message: words }),
                unheard: 7,
            };
            let mut text = String::new();
            render(&mut text, &status, width, at);
            fits(&text, width);
        }
    }
}
