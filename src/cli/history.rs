//! `history`: what was changed, when, by whom and why; and whether the record is whole.

use std::fmt::Write as _;

use super::args::{HistoryAction, HistoryArgs};
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, paint};
use super::plan::render::changes;
use super::{Context, Exit, Failure};
use crate::model::PassId;
use crate::store::{Entry, EntryFilter, Verified};

/// Runs the command.
pub(super) fn run(context: &Context, args: &HistoryArgs) -> Result<Exit, Failure> {
    match &args.action {
        HistoryAction::Show { route, pass, item, after, limit } => {
            // A route that is configured no longer still has a history: the name is not checked.
            let filter = EntryFilter {
                route: route.clone(),
                pass: pass.map(PassId),
                item: item.clone(),
                after: *after,
                newest_first: after.is_none(),
                limit: (*limit).max(1),
            };
            let entries = context.store.history(&filter)?;
            if context.out.json {
                context.out.json(&serde_json::json!({ "entries": entries }))?;
            } else if entries.is_empty() {
                context.out.line("no entry matches")?;
            } else {
                for entry in &entries {
                    context.out.text(&render(entry, context.out.width))?;
                }
                if entries.len() >= (*limit).max(1) as usize && context.loudness >= 0 {
                    let shown = output::count(entries.len() as u64, "entry is", "entries are");
                    output::aside(format_args!("only {shown} shown; --limit shows more"));
                }
            }
            Ok(Exit::Settled)
        }
        HistoryAction::Verify => verify(context),
    }
}

fn render(entry: &Entry, width: usize) -> String {
    let mut text = String::new();
    let kept = &entry.entry;
    let _ = writeln!(
        text,
        "{} {} {} {}",
        paint(BOLD, format_args!("#{}", entry.seq)),
        format_args!("{:.0}", kept.at),
        paint(BOLD, output::cut(&kept.kind, 12)),
        paint(CYAN, output::cut(&kept.item.to_string(), width.saturating_sub(48))),
    );
    let partner = kept.partner.as_ref().map_or_else(String::new, |partner| format!(" with {partner}"));
    let about = format!("pass {} on {}{partner}, by {}: {}", kept.pass, entry.route, kept.actor, kept.cause);
    output::paragraph(&mut text, DIM, 4, width, &about);
    changes(&mut text, kept.item.side(), &kept.changes, width);
    text
}

fn verify(context: &Context) -> Result<Exit, Failure> {
    let verified = context.store.verify_history()?;
    if context.out.json {
        context.out.json(&verified)?;
    } else {
        match &verified {
            Verified::Whole { entries, head } => {
                let said = output::count(u64::try_from(*entries).unwrap_or(0), "entry", "entries");
                context.out.line(format_args!("{} {said}, none altered or missing", paint(GREEN, "whole:")))?;
                context.out.line(paint(DIM, format_args!("head {head}")))?;
                context.out.line(paint(DIM, "keep the head elsewhere: a later one must still contain it"))?;
            }
            Verified::Broken { seq, why } => {
                context.out.line(format_args!("{} entry #{seq}: {why}", paint(RED, "broken:")))?;
                context.out.line("what comes before it is whole; compare the database with a copy of it")?;
            }
        }
    }
    Ok(match verified {
        Verified::Whole { .. } => Exit::Settled,
        Verified::Broken { .. } => Exit::Failed,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::item::narrow::fits;
    use super::*;
    use crate::model::{Field, FieldChange, LinkId};
    use crate::store::NewEntry;

    proptest! {
        #[test]
        fn no_entry_is_wider_than_asked(
            kind in any::<String>(), cause in any::<String>(), actor in any::<String>(), value in any::<String>(),
            repo in "[a-z]{1,39}/[a-z]{1,100}", width in 60_usize..120,
        ) {
            let change = |field| FieldChange { field, before: json!(value), after: json!([value]), why: cause.clone() };
            let entry = NewEntry {
                at: "2026-03-01T08:00:00Z".parse().expect("a time"),
                pass: PassId(7),
                link: Some(LinkId(1)),
                kind,
                item: format!("github:{repo}#1234567").parse().expect("an item"),
                partner: Some("asana:1204000000000017".parse().expect("an item")),
                changes: Field::ALL.map(change).to_vec(),
                cause: cause.clone(),
                actor,
            };
            let route = "app".parse().expect("a name");
            let entry = Entry { seq: 123_456, route, entry, previous: String::new(), hash: String::new() };
            fits(&render(&entry, width), width);
        }
    }
}
