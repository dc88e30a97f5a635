//! `conflicts`: the fields that wait for a person, with what both last agreed on and what both sides say.

use std::fmt::Write as _;

use anstyle::Style;
use serde::Serialize;

use super::args::{ConflictsAction, ConflictsArgs};
use super::item::ago;
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, count, paint};
use super::{Context, Exit, Failure};
use crate::engine::Conflict;
use crate::model::{Field, ItemKey, Link, LinkStatus, RouteName, Side, TaskGid, Timestamp};
use crate::reconcile::{MARKS, marked, task_url};
use crate::text::{Stretch, stretches};

/// Lines of one version of a text that a list shows; `show` has them all.
const VERSION_LINES: usize = 6;

/// Lines around an overlap that are shown with it, so that the place is known again.
const AROUND_LINES: usize = 2;

/// Where a value begins.
const VALUE: usize = 16;

/// Runs the command.
pub(super) fn run(context: &Context, args: &ConflictsArgs) -> Result<Exit, Failure> {
    match &args.action {
        None => list(context, args.route.as_ref(), args.limit),
        Some(ConflictsAction::Show { item, field, marked }) => show(context, item, *field, *marked),
    }
}

/// A conflict with where a person finds both items.
#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    conflict: Conflict,
    task_url: Option<String>,
    issue_url: Option<String>,
}

impl Listed {
    /// `web` is where people see what GitHub's API serves, if that is known.
    pub(super) fn new(web: Option<&str>, conflict: Conflict) -> Self {
        let task = match &conflict.task {
            ItemKey::Task(task) => Some(task),
            ItemKey::Issue(_) => None,
        };
        let issue_url = match &conflict.issue {
            ItemKey::Issue(issue) => web.map(|web| format!("{web}/{}/issues/{}", issue.repo, issue.number)),
            ItemKey::Task(_) => None,
        };
        let task_url = task.map(|task: &TaskGid| task_url(task));
        Self { conflict, task_url, issue_url }
    }
}

fn list(context: &Context, route: Option<&RouteName>, limit: u32) -> Result<Exit, Failure> {
    if let Some(route) = route {
        context.routes(Some(route))?;
    }
    let mut links = context.store.waiting_links(route, limit.saturating_add(1))?;
    let shown = usize::try_from(limit).unwrap_or(usize::MAX);
    let more = links.len() > shown;
    links.truncate(shown);
    let conflicts: Vec<Listed> = links
        .iter()
        .flat_map(Conflict::all)
        .map(|conflict| Listed::new(context.config.network.web_of_github(), conflict))
        .collect();
    let exit = if conflicts.is_empty() { Exit::Settled } else { Exit::Drift };
    if context.out.json {
        context.out.json(&serde_json::json!({ "conflicts": conflicts, "more": more }))?;
        return Ok(exit);
    }
    if conflicts.is_empty() {
        context.out.line("nothing waits for a person")?;
        return Ok(exit);
    }
    let (width, now) = (context.out.width, context.clock.now());
    let mut text = String::new();
    for listed in &conflicts {
        render(&mut text, listed, Some(VERSION_LINES), width, now);
        text.push('\n');
    }
    let number = u64::try_from(conflicts.len()).unwrap_or(u64::MAX);
    let _ =
        writeln!(text, "{}", paint(BOLD, format_args!("{} for a person", count(number, "field waits", "fields wait"))));
    how(&mut text, width);
    if more {
        let _ = writeln!(text, "only {limit} pairs are shown; --limit shows more");
    }
    context.out.text(&text)?;
    Ok(exit)
}

fn show(context: &Context, item: &ItemKey, field: Option<Field>, alone: bool) -> Result<Exit, Failure> {
    let link = waiting_link(context, item)?;
    let mut conflicts = Conflict::all(&link);
    conflicts.retain(|conflict| field.is_none_or(|field| conflict.field == field));
    if alone {
        return match conflicts.iter().find(|conflict| conflict.field == Field::Body) {
            // As it is, for a file: what could drive a terminal is in the issue as well.
            Some(conflict) if !context.out.terminal => {
                context.out.line(marked(&conflict.waiting)).map(|()| Exit::Drift)
            }
            Some(conflict) => {
                let text = marked(&conflict.waiting);
                let lines: Vec<String> = text.lines().map(output::harmless).collect();
                context.out.line(lines.join("\n")).map(|()| Exit::Drift)
            }
            None => Err(Failure::new(format!("no text of {item} waits")).hint("--marked is for texts; see it without")),
        };
    }
    let conflicts: Vec<Listed> =
        conflicts.into_iter().map(|conflict| Listed::new(context.config.network.web_of_github(), conflict)).collect();
    let exit = if conflicts.is_empty() { Exit::Settled } else { Exit::Drift };
    if context.out.json {
        context.out.json(&serde_json::json!({ "conflicts": conflicts }))?;
        return Ok(exit);
    }
    let mut text = String::new();
    for listed in &conflicts {
        render(&mut text, listed, None, context.out.width, context.clock.now());
        text.push('\n');
    }
    match (conflicts.is_empty(), field) {
        (false, _) => how(&mut text, context.out.width),
        (true, Some(field)) => {
            let _ = writeln!(text, "the {field} of {item} does not wait for a person");
        }
        (true, None) => {
            let _ = writeln!(text, "nothing of {item} waits for a person");
        }
    }
    context.out.text(&text)?;
    Ok(exit)
}

/// The pair of an item, whether something of it waits or not.
pub(super) fn waiting_link(context: &Context, item: &ItemKey) -> Result<Link, Failure> {
    let link = context.store.link_of(item)?.ok_or_else(|| {
        Failure::new(format!("{item} is not linked")).hint(format!("`evenkeel why {item}` says more"))
    })?;
    match link.status {
        LinkStatus::Active => Ok(link),
        status => {
            Err(Failure::new(format!("the pair of {item} is {status}: nothing is written to it, so nothing waits"))
                .hint(format!("`evenkeel why {item}` says more")))
        }
    }
}

fn how(text: &mut String, width: usize) {
    for line in [
        "to settle one: evenkeel resolve ITEM --take tracker|forge|both|FILE",
        "to see it whole: evenkeel conflicts show ITEM",
        "or by hand: make both sides say the same; the next pass sees it",
    ] {
        output::paragraph(text, Style::new(), 0, width, line);
    }
}

/// One question with all that is said. Of a text at most so many lines of each version.
pub(super) fn render(text: &mut String, listed: &Listed, lines_max: Option<usize>, width: usize, now: Timestamp) {
    let Listed { conflict, task_url, issue_url } = listed;
    let Conflict { route, task, issue, title, field, seen, waiting, .. } = conflict;
    let names = format!("{task} ↔ {issue}");
    output::paragraph(text, CYAN, 0, width, &names);
    if !title.is_empty() {
        let _ = writeln!(text, "  {}", paint(BOLD, output::cut(title, width.saturating_sub(2))));
    }
    let said = format!("the {field} waits: {}", waiting.why);
    output::paragraph(text, YELLOW, 2, width, &said);
    let said = format!("route {route}, asked {}, number {seen}", ago(waiting.since, now));
    output::paragraph(text, DIM, 2, width, &said);
    for url in [task_url, issue_url].into_iter().flatten() {
        output::paragraph(text, DIM, 2, width, url);
    }
    match field {
        Field::Body => versions(text, conflict, lines_max, width),
        _ => {
            // A pair that met with different titles has agreed on none yet.
            let base = waiting.base.as_deref().filter(|base| !base.is_empty());
            value(text, "agreed before", base.unwrap_or("(nothing yet)"), DIM, width);
            for (side, said) in waiting.said.iter() {
                value(text, side.service(), said, style(side), width);
            }
        }
    }
}

const fn style(side: Side) -> Style {
    match side {
        Side::Tracker => RED,
        Side::Forge => GREEN,
    }
}

fn value(text: &mut String, label: &str, said: &str, style: Style, width: usize) {
    let mut label = label;
    for line in output::wrap(said, width.saturating_sub(VALUE + 2)) {
        let _ = writeln!(text, "  {label:<VALUE$}{}", paint(style, line));
        label = "";
    }
}

/// The places of a text that both edited, as git shows them in its style diff3, with some lines around.
fn versions(text: &mut String, conflict: &Conflict, lines_max: Option<usize>, width: usize) {
    let said = &conflict.waiting.said;
    let base = conflict.waiting.base.as_deref().unwrap_or_default();
    let stretches = stretches(base, &said.tracker, &said.forge);
    let mut line = |style: Style, said: &str| {
        let said = output::cut(said, width.saturating_sub(4));
        let _ = writeln!(text, "{}", format!("    {}", paint(style, said)).trim_end());
    };
    for (at, stretch) in stretches.iter().enumerate() {
        match stretch {
            Stretch::Agreed(said) => {
                let lines: Vec<&str> = said.split('\n').collect();
                let (first, last) = (at == 0, at + 1 == stretches.len());
                let head = if first { 0 } else { AROUND_LINES };
                let tail = if last { 0 } else { AROUND_LINES };
                if lines_max.is_none() || lines.len() <= head + tail {
                    lines.iter().for_each(|said| line(DIM, said));
                    continue;
                }
                lines[..head].iter().for_each(|said| line(DIM, said));
                line(DIM, "…");
                lines[lines.len() - tail..].iter().for_each(|said| line(DIM, said));
            }
            Stretch::Overlap(overlap) => {
                let parts = [
                    (&overlap.tracker, style(Side::Tracker)),
                    (&overlap.base, DIM),
                    (&overlap.forge, style(Side::Forge)),
                ];
                for (mark, (part, style)) in MARKS.iter().zip(parts) {
                    line(YELLOW, mark);
                    let lines: Vec<&str> = if part.is_empty() { Vec::new() } else { part.split('\n').collect() };
                    let shown = lines_max.filter(|max| lines.len() > *max).unwrap_or(lines.len());
                    lines[..shown].iter().for_each(|said| line(style, said));
                    if shown < lines.len() {
                        let rest = u64::try_from(lines.len() - shown).unwrap_or(u64::MAX);
                        line(DIM, &format!("… {}", count(rest, "more line", "more lines")));
                    }
                }
                line(YELLOW, MARKS[3]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::item::narrow::fits;
    use super::*;
    use crate::model::{BySide, Waiting};
    use crate::text::Overlap;

    fn listed(field: Field, words: &str, lines: &[String], repo: &str) -> Listed {
        let said = BySide { tracker: lines.join("\n"), forge: words.to_owned() };
        let waiting = Waiting { base: None, said, why: words.to_owned(), since: Timestamp::UNIX_EPOCH };
        let conflict = Conflict {
            route: "app".parse().expect("a name"),
            task: "asana:1204000000000017".parse().expect("an item"),
            issue: format!("github:{repo}#1234567").parse().expect("an item"),
            title: words.to_owned(),
            field,
            seen: "0123456789ab".to_owned(),
            waiting,
            overlaps: Vec::<Overlap>::new(),
        };
        Listed::new(Some("https://github.com"), conflict)
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            words in any::<String>(), lines in prop::collection::vec(any::<String>(), 0..20),
            repo in "[a-z]{1,39}/[a-z]{1,100}", width in 40_usize..120, short in any::<bool>(),
        ) {
            for field in [Field::Title, Field::Body] {
                let mut text = String::new();
                let listed = listed(field, &words, &lines, &repo);
                render(&mut text, &listed, short.then_some(VERSION_LINES), width, Timestamp::UNIX_EPOCH);
                how(&mut text, width);
                fits(&text, width);
            }
        }
    }

    #[test]
    fn of_a_long_text_a_list_shows_the_places_and_counts_the_rest() {
        let lines: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
        let mut text = String::new();
        render(&mut text, &listed(Field::Body, "other", &lines, "acme/app"), Some(3), 80, Timestamp::UNIX_EPOCH);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(
            text.contains("    line 2\n    … 17 more lines\n    ||||||| agreed before\n    =======\n    other\n"),
            "{text}"
        );
    }
}
