//! `links`: list the pairs, make one by hand, let go of one.

use std::fmt::Write as _;

use serde::Serialize;

use super::args::{LinksAction, LinksArgs};
use super::item::{by_operator, confirmed, route_of, say_who_holds};
use super::output::{self, BOLD, CYAN, DIM, GREEN, YELLOW, count, paint};
use super::plan::render::changes;
use super::{Access, Context, Exit, Failure};
use crate::model::{BySide, Field, ItemKey, Link, LinkId, LinkStatus, RouteName, Side, Timestamp};
use crate::reconcile::{Action, Plan, Repair};

/// Links read at a time.
const PAGE: u32 = 500;

/// Listing looks only.
pub(super) const fn access(args: &LinksArgs) -> Access {
    match &args.action {
        LinksAction::List { .. } => Access::Read,
        _ => Access::Write,
    }
}

/// Runs the command.
pub(super) fn run(context: &Context, args: &LinksArgs) -> Result<Exit, Failure> {
    match &args.action {
        LinksAction::List { route, waiting, limit } => list(context, route.as_ref(), *waiting, *limit),
        LinksAction::Add { one, other, route, yes } => add(context, one, other, route.as_ref(), *yes),
        LinksAction::Remove { item, reason } => remove(context, item, reason),
    }
}

/// One pair as listed.
#[derive(Serialize)]
struct Listed {
    id: i64,
    route: RouteName,
    status: LinkStatus,
    task: ItemKey,
    issue: ItemKey,
    title: Option<String>,
    waiting: Vec<Field>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Listed {
    fn of(link: Link) -> Self {
        Self {
            id: link.id.0,
            task: link.key(Side::Tracker),
            issue: link.key(Side::Forge),
            route: link.route,
            status: link.status,
            title: link.base.map(|base| base.title),
            waiting: link.waiting.into_keys().collect(),
            created_at: link.created_at,
            updated_at: link.updated_at,
        }
    }
}

fn list(context: &Context, route: Option<&RouteName>, waiting: bool, limit: u32) -> Result<Exit, Failure> {
    if waiting {
        let links = context.store.waiting_links(route, limit)?;
        let listed: Vec<Listed> = links.into_iter().map(Listed::of).collect();
        return show(context, &listed);
    }
    let mut listed: Vec<Listed> = Vec::new();
    let mut after = LinkId(0);
    while listed.len() < limit as usize {
        let room = limit.saturating_sub(u32::try_from(listed.len()).unwrap_or(u32::MAX)).min(PAGE);
        let page = context.store.links(route, after, room)?;
        let Some(last) = page.last() else { break };
        after = last.id;
        listed.extend(page.into_iter().map(Listed::of));
    }
    let more = !context.store.links(route, after, 1)?.is_empty();
    let exit = show(context, &listed)?;
    if more && !context.out.json && context.loudness >= 0 {
        output::aside(format_args!("only {limit} pairs are shown; --limit shows more"));
    }
    Ok(exit)
}

fn show(context: &Context, listed: &[Listed]) -> Result<Exit, Failure> {
    if context.out.json {
        context.out.json(&serde_json::json!({ "links": listed }))?;
        return Ok(Exit::Settled);
    }
    if listed.is_empty() {
        context.out.line("no pair; `evenkeel plan --full` shows what the next pass would link")?;
        return Ok(Exit::Settled);
    }
    let width = context.out.width;
    let widest = |name: fn(&Listed) -> &ItemKey| {
        listed.iter().map(|pair| output::columns(&name(pair).to_string())).max().unwrap_or(0)
    };
    let task_width = widest(|pair| &pair.task).min(24);
    let issue_width = widest(|pair| &pair.issue).min(width.saturating_sub(task_width + 28));
    let title_width = width.saturating_sub(task_width + issue_width + 11);
    let mut text = String::new();
    for pair in listed {
        let mut said = match pair.status {
            LinkStatus::Active => String::new(),
            other => format!("[{other}] "),
        };
        if !pair.waiting.is_empty() {
            let fields: Vec<&str> = pair.waiting.iter().map(|field| field.as_str()).collect();
            let _ = write!(said, "[{} waits] ", fields.join(", "));
        }
        said.push_str(pair.title.as_deref().unwrap_or(""));
        let line = format!(
            "{:<6} {} {} {}",
            pair.id,
            paint(CYAN, pad(&pair.task.to_string(), task_width)),
            paint(CYAN, pad(&pair.issue.to_string(), issue_width)),
            output::cut(&said, title_width)
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    context.out.text(&text)?;
    Ok(Exit::Settled)
}

/// Cut and filled up to exactly `width` columns.
fn pad(text: &str, width: usize) -> String {
    let mut text = output::cut(text, width);
    let missing = width.saturating_sub(output::columns(&text));
    text.extend(std::iter::repeat_n(' ', missing));
    text
}

fn add(
    context: &Context,
    one: &ItemKey,
    other: &ItemKey,
    named: Option<&RouteName>,
    yes: bool,
) -> Result<Exit, Failure> {
    let (task, issue) = match (one, other) {
        (ItemKey::Task(_), ItemKey::Issue(_)) => (one, other),
        (ItemKey::Issue(_), ItemKey::Task(_)) => (other, one),
        _ => {
            return Err(Failure::new(format!("{one} and {other} are on the same side"))
                .hint("a pair is a task and an issue: asana:1201 github:acme/app#17"));
        }
    };
    // The issue's repository says more about the route than the task does.
    let route = route_of(context, issue, named)?;
    if let ItemKey::Issue(issue) = issue
        && issue.repo != route.repo
    {
        return Err(Failure::new(format!("{issue} is not in {}, the repository of route {}", route.repo, route.name)));
    }
    let engine = context.engine(route)?;
    let pairs = [BySide { tracker: task.clone(), forge: issue.clone() }];
    let cause = format!("linked by {}", context.actor);
    let plan = engine.plan_joins(&pairs, &cause)?;
    if let Some(skip) = plan.skips.first() {
        return Err(Failure::new(format!("{}: {}", skip.item, skip.why)));
    }
    if !context.out.json {
        context.out.text(&joins_text(&plan, context.out.width))?;
    }
    if !confirmed(yes, "Make this pair?")? {
        context.out.line("nothing was written")?;
        return Ok(Exit::Drift);
    }
    say_who_holds(context, &route.name)?;
    let mut options = by_operator(context);
    options.only_plan = Some(plan.hash());
    let report = engine.join(&pairs, &cause, "link", &options)?;
    if context.out.json {
        context.out.json(&report)?;
        return Ok(report.ended.into());
    }
    context.out.text(&messages(&report.messages, context.out.width))?;
    if report.counts.joined > 0 {
        let mut text = String::new();
        output::paragraph(&mut text, GREEN, 0, context.out.width, &format!("linked: {task} and {issue}"));
        let _ = writeln!(text, "{}", paint(DIM, format_args!("`evenkeel undo {}` takes it back", report.pass)));
        context.out.text(&text)?;
    }
    Ok(report.ended.into())
}

/// What joining would write, pair by pair.
pub(super) fn joins_text(plan: &Plan, width: usize) -> String {
    let mut text = String::new();
    for repair in &plan.repairs {
        join_text(&mut text, repair, width);
    }
    for skip in &plan.skips {
        output::paragraph(&mut text, YELLOW, 0, width, &format!("{} cannot be linked: {}", skip.item, skip.why));
    }
    text
}

fn join_text(text: &mut String, repair: &Repair, width: usize) {
    let Action::Join { items, writes, waiting, .. } = &repair.action else { return };
    let _ = writeln!(text, "{}", paint(BOLD, output::cut(&repair.title, width)));
    let names = format!("{} ↔ {}", items.tracker.key, items.forge.key);
    let _ = writeln!(text, "  {}", paint(CYAN, output::cut(&names, width.saturating_sub(2))));
    for (side, item) in items.iter() {
        if let Some(marker) = &item.marker
            && marker.partner != items[side.opposite()].key
        {
            let said = format!("{} carries the marker of {}, which is replaced", item.key, marker.partner);
            output::paragraph(text, YELLOW, 2, width, &said);
        }
    }
    let mut idle = true;
    for (_, write) in writes.iter() {
        let Some(write) = write else { continue };
        idle = false;
        changes(text, write.item.side(), &write.fields, width);
    }
    if idle {
        output::paragraph(text, DIM, 2, width, "nothing needs to be written: both say the same");
    }
    for (field, waiting) in waiting {
        let said = format!("the {field} waits for a person: {} (`evenkeel why {}`)", waiting.why, items.tracker.key);
        output::paragraph(text, YELLOW, 2, width, &said);
    }
}

fn remove(context: &Context, item: &ItemKey, reason: &str) -> Result<Exit, Failure> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Failure::new("--reason is empty").hint("say why, for whoever reads the history later"));
    }
    let link = context.store.link_of(item)?;
    let Some(link) = link else {
        return Err(Failure::new(format!("{item} is not linked")).hint(format!("`evenkeel why {item}` says more")));
    };
    let route = route_of(context, item, Some(&link.route))?;
    say_who_holds(context, &route.name)?;
    let parting = context.engine(route)?.part(&link, reason, &by_operator(context))?;
    if context.out.json {
        context.out.json(&parting)?;
    } else {
        let width = context.out.width;
        let mut text = messages(&parting.report.messages, width);
        if let Some(items) = &parting.items {
            let said = format!("let go of: {} and {}", items.tracker, items.forge);
            output::paragraph(&mut text, YELLOW, 0, width, &said);
            let _ = writeln!(text, "both stay as they are; the pair is not made again by itself");
            let again = format!("to make it again: evenkeel links add {} {}", items.tracker, items.forge);
            output::paragraph(&mut text, DIM, 0, width, &again);
        }
        context.out.text(&text)?;
    }
    Ok(parting.report.ended.into())
}

/// What a pass says to a person.
pub(super) fn messages(messages: &[String], width: usize) -> String {
    let mut text = String::new();
    for message in messages {
        output::paragraph(&mut text, YELLOW, 0, width, message);
    }
    text
}

/// How many pairs, in words.
pub(super) fn pairs(number: usize) -> String {
    count(u64::try_from(number).unwrap_or(u64::MAX), "pair", "pairs")
}
