//! `adopt`: proposes pairs among what exists on both sides already; links only what a person confirms.

use std::fmt::Write as _;

use super::args::AdoptArgs;
use super::item::{ask, by_operator, can_ask, route_of, say_who_holds};
use super::links::{joins_text, messages, pairs};
use super::output::{self, BOLD, CYAN, DIM, GREEN, paint};
use super::{Context, Exit, Failure};
use crate::config::Route;
use crate::model::{BySide, ItemKey};
use crate::reconcile::Proposal;

/// Runs the command.
pub(super) fn run(context: &Context, args: &AdoptArgs) -> Result<Exit, Failure> {
    if !args.pairs.is_empty() {
        return named(context, args);
    }
    let mut exit = Exit::Settled;
    let mut answers = Vec::new();
    for route in context.routes(args.route.as_ref())? {
        let engine = context.engine(route)?;
        let found = engine.proposals()?;
        let mut chosen: Vec<Proposal> = Vec::new();
        let mut left: Vec<Proposal> = Vec::new();
        let mut quit = false;
        for proposal in found.proposals {
            let sure = args.yes_above.is_some_and(|score| proposal.score >= score);
            let asking = args.yes_above.is_none() && !context.out.json && context.out.terminal && can_ask() && !quit;
            if !context.out.json && !sure {
                context.out.text(&render(&proposal, context.out.width))?;
            }
            let confirmed = sure
                || asking
                    && match ask("  Link them? [y/N/q]")? {
                        'y' => true,
                        'q' => {
                            quit = true;
                            false
                        }
                        _ => false,
                    };
            if confirmed { chosen.push(proposal) } else { left.push(proposal) }
        }
        if found.more && context.loudness >= 0 {
            output::aside(format_args!(
                "route {}: only part of the unlinked items was compared; link some, then adopt again",
                route.name
            ));
        }
        let wanted: Vec<BySide<ItemKey>> = chosen
            .iter()
            .map(|proposal| BySide { tracker: proposal.task.clone(), forge: proposal.issue.clone() })
            .collect();
        let report = if wanted.is_empty() { None } else { Some(link(context, route, &wanted)?) };
        if let Some(report) = &report {
            exit = exit.max(report.ended.into());
        }
        if !left.is_empty() {
            exit = exit.max(Exit::Drift);
        }
        if !context.out.json {
            let text = match (chosen.len(), left.len()) {
                (0, 0) => format!(
                    "route {}: nothing to propose among {} unlinked tasks and {} unlinked issues",
                    route.name, found.unlinked.tracker, found.unlinked.forge
                ),
                (_, 0) => String::new(),
                (_, left) => format!(
                    "route {}: {} proposed and not linked; --yes-above SCORE or --pair TASK=ISSUE links them",
                    route.name,
                    pairs(left)
                ),
            };
            let mut wrapped = String::new();
            output::paragraph(&mut wrapped, anstyle::Style::new(), 0, context.out.width, &text);
            context.out.text(&wrapped)?;
        }
        answers.push(serde_json::json!({
            "route": route.name, "unlinked": found.unlinked, "proposals": left, "linked": chosen, "report": report,
        }));
    }
    if context.out.json {
        context.out.json(&serde_json::json!({ "routes": answers }))?;
    }
    Ok(exit)
}

fn render(proposal: &Proposal, width: usize) -> String {
    let Proposal { task, issue, titles, score, evidence } = proposal;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {}",
        paint(BOLD, format_args!("{score:>3}")),
        paint(CYAN, output::cut(&format!("{task} ↔ {issue}"), width.saturating_sub(4)))
    );
    let _ = writeln!(text, "    asana   {}", output::cut(&titles.0, width.saturating_sub(12)));
    let _ = writeln!(text, "    github  {}", output::cut(&titles.1, width.saturating_sub(12)));
    output::paragraph(&mut text, DIM, 4, width, &evidence.join("; "));
    text
}

/// Links exactly the pairs named on the command line.
fn named(context: &Context, args: &AdoptArgs) -> Result<Exit, Failure> {
    let mut by_route: Vec<(&Route, Vec<BySide<ItemKey>>)> = Vec::new();
    for (task, issue) in &args.pairs {
        let route = route_of(context, issue, args.route.as_ref())?;
        let pair = BySide { tracker: task.clone(), forge: issue.clone() };
        match by_route.iter_mut().find(|(known, _)| known.name == route.name) {
            Some((_, pairs)) => pairs.push(pair),
            None => by_route.push((route, vec![pair])),
        }
    }
    let mut exit = Exit::Settled;
    let mut reports = Vec::new();
    for (route, pairs) in by_route {
        let report = link(context, route, &pairs)?;
        exit = exit.max(report.ended.into());
        if report.counts.skipped > 0 {
            exit = exit.max(Exit::Drift);
        }
        reports.push(report);
    }
    if context.out.json {
        context.out.json(&serde_json::json!({ "reports": reports }))?;
    }
    Ok(exit)
}

/// Makes the pairs and says what was written.
fn link(context: &Context, route: &Route, wanted: &[BySide<ItemKey>]) -> Result<crate::engine::Report, Failure> {
    say_who_holds(context, &route.name)?;
    let cause = format!("adopted by {}", context.actor);
    let report = context.engine(route)?.join(wanted, &cause, "adopt", &by_operator(context))?;
    if !context.out.json {
        let mut text = joins_text(&report.plan, context.out.width);
        text.push_str(&messages(&report.messages, context.out.width));
        let linked = usize::try_from(report.counts.joined).unwrap_or(usize::MAX);
        let _ = writeln!(
            text,
            "{} {} (`evenkeel undo {}` takes it back)",
            paint(GREEN, "linked:"),
            pairs(linked),
            report.pass
        );
        context.out.text(&text)?;
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::item::narrow::fits;
    use super::*;

    proptest! {
        #[test]
        fn no_proposal_is_wider_than_asked(
            words in any::<String>(), repo in "[a-z]{1,39}/[a-z]{1,100}", width in 60_usize..120,
        ) {
            let proposal = Proposal {
                task: "asana:1204000000000017".parse().expect("an item"),
                issue: format!("github:{repo}#1234567").parse().expect("an item"),
                titles: (words.clone(), words.clone()),
                score: 100,
                evidence: vec![words.clone(), words],
            };
            fits(&render(&proposal, width), width);
        }
    }
}
