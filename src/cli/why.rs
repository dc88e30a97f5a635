//! `why`: explains one task or issue: its pair, who owns which field, what both sides say, what happens next.

use std::fmt::Write as _;

use super::args::WhyArgs;
use super::item::{ago, change_lines, route_of, words};
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint};
use super::{Context, Exit, Failure};
use crate::engine::{Alone, Explained, FieldState, Next, Pair};
use crate::model::{FieldPolicy, ItemKey, Side, Timestamp};
use crate::reconcile::{Action, Repair, Write};

/// Runs the command.
pub(super) fn run(context: &Context, args: &WhyArgs) -> Result<Exit, Failure> {
    let route = route_of(context, &args.item, args.route.as_ref())?;
    let explained = context.engine(route)?.explain(&args.item)?;
    let waits = explained.pair.as_ref().is_some_and(|pair| pair.fields.iter().any(|field| field.waiting.is_some()));
    let exit = match &explained.next {
        _ if waits || explained.due.iter().any(|due| due.parked_at.is_some()) => Exit::Drift,
        Next::Nothing | Next::Leave { .. } => Exit::Settled,
        Next::Repair { .. } | Next::Ask { .. } => Exit::Drift,
    };
    if context.out.json {
        context.out.json(&serde_json::json!({ "route": route.name, "explained": explained }))?;
        return Ok(exit);
    }
    let mut text = String::new();
    render(&mut text, &explained, route.name.as_str(), context.out.width, context.clock.now());
    context.out.text(&text)?;
    Ok(exit)
}

fn render(text: &mut String, explained: &Explained, route: &str, width: usize, now: Timestamp) {
    let plain = anstyle::Style::new();
    match (&explained.pair, &explained.alone) {
        (Some(pair), _) => render_pair(text, pair, route, width, now),
        (None, Some(alone)) => render_alone(text, &explained.item, alone, route, width, now),
        (None, None) => {}
    }
    for due in &explained.due {
        let what = match due.parked_at {
            Some(at) => format!(
                "{} was parked {} as number {}: {}; `evenkeel parked retry {}` has it tried again",
                due.item,
                ago(at, now),
                due.id,
                due.last_error.as_ref().unwrap_or(&due.reason),
                due.id
            ),
            None => format!(
                "{} is due (not before {:.0}, {} attempts so far): {}",
                due.item,
                due.not_before,
                due.attempts,
                due.last_error.as_ref().unwrap_or(&due.reason)
            ),
        };
        output::paragraph(text, YELLOW, 0, width, &what);
    }
    let _ = writeln!(text, "{}", paint(BOLD, "next"));
    match &explained.next {
        Next::Nothing => output::paragraph(text, GREEN, 2, width, "nothing to do: both sides are in step"),
        Next::Repair { repair } => render_repair(text, repair, width),
        Next::Ask { question } => {
            output::paragraph(text, YELLOW, 2, width, &format!("a person must decide: {question}"))
        }
        Next::Leave { why } => output::paragraph(text, plain, 2, width, &format!("it is left alone: {why}")),
    }
}

fn render_pair(text: &mut String, pair: &Pair, route: &str, width: usize, now: Timestamp) {
    let title = pair.link.base.as_ref().map_or("", |base| base.title.as_str());
    let _ = writeln!(text, "{}", paint(BOLD, output::cut(title, width)));
    let names = format!("{} <-> {}", pair.link.key(Side::Tracker), pair.link.key(Side::Forge));
    let _ = writeln!(text, "{}", paint(CYAN, output::cut(&names, width)));
    let about = format!(
        "link {} on route {route}, {}, made {}",
        pair.link.id,
        pair.link.status,
        ago(pair.link.created_at, now)
    );
    output::paragraph(text, DIM, 0, width, &about);
    for (side, found) in pair.found.iter() {
        if found != "there" {
            output::paragraph(text, RED, 0, width, &format!("{}: {found}", pair.link.key(side)));
        }
    }
    text.push('\n');
    for field in &pair.fields {
        render_field(text, field, width, now);
    }
}

fn render_field(text: &mut String, state: &FieldState, width: usize, now: Timestamp) {
    let owner = match state.owner {
        FieldPolicy::Tracker => "asana owns it",
        FieldPolicy::Forge => "github owns it",
        FieldPolicy::Both => "both sides",
        FieldPolicy::Off => "left alone",
    };
    let _ = writeln!(text, "{} {}", paint(BOLD, format_args!("{:<10}", state.field.as_str())), paint(DIM, owner));
    let room = width.saturating_sub(22);
    let mut row = |label: &str, value: &str, style: anstyle::Style, note: &str| {
        let shown = shortened(value, room);
        let _ = writeln!(text, "  {label:<8} {}{}", paint(style, shown), paint(style, note));
    };
    let plain = anstyle::Style::new();
    if let Some(base) = &state.base {
        row("agreed", &words(base), DIM, "");
    }
    for side in Side::BOTH {
        let Some(value) = &state.now[side] else { continue };
        // Where nothing drifts, both show the base as well as they can.
        let style = if state.drifts[side] { YELLOW } else { plain };
        row(side.service(), &words(value), style, if state.drifts[side] { "  (moved)" } else { "" });
    }
    if let Some(waiting) = &state.waiting {
        let said = format!(
            "waits for a person since {}: {}; make both sides say the same, or edit the one that shall stand",
            ago(waiting.since, now),
            waiting.why
        );
        output::paragraph(text, YELLOW, 2, width, &said);
        for side in Side::BOTH {
            let value = shortened(&waiting.said[side], room);
            let _ = writeln!(text, "  {:<8} {value}", format!("{}?", side.service()));
        }
    }
    if let Some(last) = &state.last_write {
        let said = format!(
            "last written {} to {} in pass {} by {}: {}",
            ago(last.at, now),
            last.item,
            last.pass,
            last.actor,
            last.why
        );
        output::paragraph(text, DIM, 2, width, &said);
    }
}

/// The first line that says something, with how many more there are.
fn shortened(value: &str, room: usize) -> String {
    let lines = value.lines().filter(|line| !line.trim().is_empty()).count();
    let first = value.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    if lines <= 1 {
        return output::cut(first, room);
    }
    let more = format!(" (+{} lines)", lines - 1);
    format!("{}{more}", output::cut(first, room.saturating_sub(more.len())))
}

fn render_alone(text: &mut String, item: &ItemKey, alone: &Alone, route: &str, width: usize, now: Timestamp) {
    if let Some(title) = &alone.title {
        let _ = writeln!(text, "{}", paint(BOLD, output::cut(title, width)));
    }
    let _ = writeln!(text, "{}", paint(CYAN, output::cut(&item.to_string(), width)));
    output::paragraph(text, DIM, 0, width, &format!("not linked on route {route}; {}", alone.found));
    if let Some(marker) = &alone.marker {
        output::paragraph(text, DIM, 0, width, &format!("carries the marker of {}", marker.partner));
    }
    for stone in &alone.tombstones {
        let said = format!(
            "was paired with {} and let go of {}: {}",
            match item {
                ItemKey::Task(_) => ItemKey::Issue(stone.issue.clone()),
                ItemKey::Issue(_) => ItemKey::Task(stone.task.clone()),
            },
            ago(stone.at, now),
            stone.reason
        );
        output::paragraph(text, YELLOW, 0, width, &said);
    }
    if let Some(until) = alone.announced {
        let said = format!("a partner was announced and its creation not answered; it is looked for until {until:.0}");
        output::paragraph(text, YELLOW, 0, width, &said);
    }
    text.push('\n');
}

fn render_repair(text: &mut String, repair: &Repair, width: usize) {
    let plain = anstyle::Style::new();
    let said = match &repair.action {
        Action::Create { from, .. } => format!("{} gets a new partner: {}", from.key, repair.cause),
        Action::Join { items, .. } => {
            format!("{} and {} become a pair: {}", items.tracker.key, items.forge.key, repair.cause)
        }
        Action::Update { .. } => format!("brought in step: {}", repair.cause),
        Action::Retire { .. } => format!("closed, not erased: {}", repair.cause),
        Action::Note { .. } => format!("nothing is written to either side: {}", repair.cause),
    };
    output::paragraph(text, plain, 2, width, &said);
    let writes: Vec<&Write> = match &repair.action {
        Action::Join { writes, .. } | Action::Update { writes, .. } => {
            writes.iter().filter_map(|(_, write)| write.as_ref()).collect()
        }
        Action::Retire { write, .. } => write.iter().collect(),
        Action::Create { .. } | Action::Note { .. } => Vec::new(),
    };
    for write in writes {
        output::paragraph(text, plain, 2, width, &format!("write {}", write.item));
        for change in &write.fields {
            change_lines(text, 4, width, change);
        }
    }
}
