//! `run --once`: the operator's forced reconcile, one pass over every route asked for.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::args::{AllowArgs, RunArgs, Scope};
use super::output::{BOLD, DIM, GREEN, RED, YELLOW, aside, count, paint, paragraph};
use super::progress::Watched;
use super::{Context, Exit, Failure};
use crate::config::Route;
use crate::engine::account::{log_pass, tally};
use crate::engine::{Ended, EngineError, PassOptions, Report, Wake};
use crate::model::{BySide, Fingerprint, Side};
use crate::provider::Requests;
use crate::reconcile::Allowance;
use crate::store::Store;

/// How long to wait for another process at work on the route: as long as the lease of one that died
/// may still stand, and a little more.
pub(super) const fn lease_wait(store: &Store) -> Duration {
    store.lease().saturating_add(Duration::from_secs(5))
}

/// What `--json` answers.
#[derive(Serialize)]
struct Answers {
    passes: Vec<Report>,
    failures: Vec<String>,
}

/// Makes one pass over every route asked for; one route's failure is that route's failure.
pub(super) fn run(context: &Context, args: &RunArgs) -> Result<Exit, Failure> {
    let mut worst = Exit::Settled;
    let mut answers = Answers { passes: Vec::new(), failures: Vec::new() };
    for route in context.routes_for(&args.scope)? {
        let wake = context.wake_for(route, &args.scope)?;
        match pass(context, route, &wake, allowance(&args.allow), None) {
            Ok((report, left)) => {
                worst = worst.max(report.ended.into());
                if context.out.json {
                    answers.passes.push(report);
                } else if context.loudness >= 0 || report.ended != Ended::Settled {
                    // With -q a pass that left nothing says nothing, as a timer that mails its output needs.
                    show(context, &report, left)?;
                }
            }
            Err(failure) => {
                worst = worst.max(failure.exit);
                let failure = failure.on_route(&route.name);
                answers.failures.push(failure.message.clone());
                super::complain(&failure);
            }
        }
        if context.stop.raised() {
            break;
        }
    }
    if context.out.json {
        context.out.json(&answers)?;
    }
    Ok(worst)
}

/// One pass, watched; waits for another process at work on the route and says who that is. Answers the
/// report and how many planned repairs came to no end.
pub(super) fn pass(
    context: &Context,
    route: &Route,
    wake: &Wake,
    allow: Allowance,
    only_plan: Option<Fingerprint>,
) -> Result<(Report, u64), Failure> {
    let watched = Watched::new(context, &route.name);
    let engine = context.engine_heard(route, watched.clone())?;
    let from = Instant::now();
    let options = PassOptions { cause: "operator".to_owned(), allow, only_plan, ..PassOptions::default() };
    let result = match engine.pass(wake, &options) {
        Err(EngineError::Held { holder, .. }) => {
            watched.clear();
            if context.loudness >= 0 {
                let seconds = lease_wait(&context.store).as_secs();
                aside(format_args!(
                    "route {}: {holder} is at work on it; waiting for it to end, up to {seconds} s",
                    route.name
                ));
            }
            engine.pass(wake, &PassOptions { lease_wait: lease_wait(&context.store), ..options })
        }
        other => other,
    };
    watched.clear();
    let report = result?;
    log_pass(&report, from.elapsed(), log::Level::Info);
    Ok((report, watched.left()))
}

/// What the operator allows.
pub(super) fn allowance(args: &AllowArgs) -> Allowance {
    let AllowArgs { allow_updates, allow_retirements, allow_empty } = args;
    Allowance { updates: *allow_updates, retirements: *allow_retirements, empty: *allow_empty }
}

/// What a pass looks at. An operator's poll also asks the slower way that misses less.
pub(super) fn wake(scope: &Scope) -> Wake {
    match scope {
        Scope { only, .. } if !only.is_empty() => Wake::Visit(only.clone()),
        Scope { full: true, .. } => Wake::Sweep,
        _ => Wake::Poll { belt: true },
    }
}

/// What a wake looks at, in words.
pub(super) const fn looked(wake: &Wake) -> &'static str {
    match wake {
        Wake::Poll { .. } => "what moved since the last pass",
        Wake::Sweep => "everything on both sides",
        Wake::Visit(_) => "the items named and what is due",
        Wake::Overtake(_) => "the items named",
        Wake::Retry => "what is due",
    }
}

/// Shows a pass to a person.
pub(super) fn show(context: &Context, report: &Report, left: u64) -> Result<(), Failure> {
    context.out.text(&rendered(report, left, context.out.width))
}

/// A pass as text with styles.
pub(super) fn rendered(report: &Report, left: u64, width: usize) -> String {
    let Report { pass, route, kind, ended, counts, requests, messages, plan } = report;
    let (style, word) = match ended {
        Ended::Settled => (GREEN, "settled"),
        Ended::Drift => (YELLOW, "something is left"),
        Ended::Failed => (RED, "failed"),
        Ended::Refused => (RED, "refused by a brake"),
        Ended::Stopped => (YELLOW, "stopped"),
    };
    let mut text = format!(
        "{} {} {}\n",
        paint(BOLD, format_args!("route {route}:")),
        paint(style, word),
        paint(DIM, format_args!("(pass {pass}, {kind})"))
    );
    paragraph(&mut text, anstyle::Style::new(), 2, width, &tally(counts, *ended));
    paragraph(&mut text, DIM, 2, width, &requested(requests));
    for message in messages {
        paragraph(&mut text, style, 2, width, message);
    }
    for question in &plan.questions {
        paragraph(&mut text, YELLOW, 2, width, &format!("{}: {}", question.item, question.what));
    }
    if *ended == Ended::Stopped {
        let left = match left {
            0 => "the pass did not come to its end".to_owned(),
            left => format!("{} left", count(left, "repair is", "repairs are")),
        };
        paragraph(&mut text, YELLOW, 2, width, &format!("{left}; `evenkeel run --once` takes up the rest"));
    }
    if counts.waiting > 0 {
        let waiting = count(counts.waiting, "field waits", "fields wait");
        paragraph(&mut text, YELLOW, 2, width, &format!("{waiting} for a person; `evenkeel conflicts` shows them"));
    }
    if counts.again > 0 {
        let again = count(counts.again, "item failed and is", "items failed and are");
        paragraph(&mut text, YELLOW, 2, width, &format!("{again} due again; `evenkeel status` shows when"));
    }
    if counts.parked > 0 {
        let parked = count(counts.parked, "item is", "items are");
        paragraph(&mut text, YELLOW, 2, width, &format!("{parked} parked; `evenkeel parked list` shows why"));
    }
    text
}

/// The requests of both sides, in words: `requests: asana 12 (3 writes), github 4 (1 unchanged)`.
pub(super) fn requested(requests: &BySide<Requests>) -> String {
    let sides = Side::BOTH.map(|side| {
        let Requests { sent, unchanged, writes } = requests[side];
        let parts: Vec<String> = [(writes, "write", "writes"), (unchanged, "unchanged", "unchanged")]
            .into_iter()
            .filter(|(number, ..)| *number > 0)
            .map(|(number, one, many)| count(number, one, many))
            .collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        format!("{} {sent}{parts}", side.service())
    });
    format!("requests: {}", sides.join(", "))
}
