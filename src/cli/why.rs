//! `why`: explains one task or issue: its pair, who owns which field, what both sides say, what happens next.

use std::fmt::Write as _;

use serde_json::Value;

use super::args::WhyArgs;
use super::item::{ago, route_of};
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, paint};
use super::plan::render::{changes, disagreement, shown};
use super::{Context, Exit, Failure};
use crate::engine::{Alone, Explained, FieldState, Next, Pair};
use crate::model::{Field, FieldPolicy, ItemKey, Side, Timestamp};
use crate::reconcile::{Action, Repair, Write};
use crate::store::{Delivery, DeliveryFilter, Origin};

/// Deliveries shown of one item.
const DELIVERIES_SHOWN: usize = 5;

/// Runs the command.
pub(super) fn run(context: &Context, args: &WhyArgs) -> Result<Exit, Failure> {
    let route = route_of(context, &args.item, args.route.as_ref())?;
    let explained = context.engine(route)?.explain(&args.item)?;
    let told = told_of(context, &explained)?;
    let waits = explained.pair.as_ref().is_some_and(|pair| pair.fields.iter().any(|field| field.waiting.is_some()));
    let exit = match &explained.next {
        _ if waits || explained.due.iter().any(|due| due.parked_at.is_some()) => Exit::Drift,
        Next::Nothing | Next::Leave { .. } => Exit::Settled,
        Next::Repair { .. } | Next::Ask { .. } => Exit::Drift,
    };
    if context.out.json {
        let answer = serde_json::json!({ "route": route.name, "explained": explained, "deliveries": told });
        context.out.json(&answer)?;
        return Ok(exit);
    }
    let mut text = String::new();
    render(&mut text, &explained, &told, route.name.as_str(), context.out.width, context.clock.now());
    context.out.text(&text)?;
    Ok(exit)
}

/// The last deliveries that touched the item or its partner, newest first.
fn told_of(context: &Context, explained: &Explained) -> Result<Vec<Delivery>, Failure> {
    let items = match &explained.pair {
        Some(pair) => Side::BOTH.map(|side| pair.link.key(side)).to_vec(),
        None => vec![explained.item.clone()],
    };
    let limit = u32::try_from(DELIVERIES_SHOWN).unwrap_or(u32::MAX);
    let mut told: Vec<Delivery> = Vec::new();
    for item in items {
        let of_item = context.store.deliveries(&DeliveryFilter { item: Some(item), limit, ..Default::default() })?;
        told.extend(of_item.into_iter().filter(|one| !told.iter().any(|known| known.id == one.id)).collect::<Vec<_>>());
    }
    told.sort_unstable_by_key(|delivery| std::cmp::Reverse(delivery.id));
    told.truncate(DELIVERIES_SHOWN);
    Ok(told)
}

fn render_told(text: &mut String, told: &[Delivery], width: usize, now: Timestamp) {
    if told.is_empty() {
        return;
    }
    let _ = writeln!(text, "{}", paint(BOLD, "last deliveries"));
    for delivery in told {
        let fetched = if delivery.origin == Origin::Fetched { ", fetched" } else { "" };
        let Delivery { id, provider, event, received_at, .. } = delivery;
        let said = format!("#{id} {}{fetched}: {provider} {event}", ago(*received_at, now));
        output::paragraph(text, DIM, 2, width, &said);
    }
    text.push('\n');
}

fn render(text: &mut String, explained: &Explained, told: &[Delivery], route: &str, width: usize, now: Timestamp) {
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
    render_told(text, told, width, now);
    let _ = writeln!(text, "{}", paint(BOLD, "next"));
    let waits = explained.pair.as_ref().is_some_and(|pair| pair.fields.iter().any(|field| field.waiting.is_some()));
    match &explained.next {
        Next::Nothing if waits => {
            let said = "nothing, until a person settles what waits; everything else is in step";
            output::paragraph(text, YELLOW, 2, width, said);
        }
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
    let names = format!("{} ↔ {}", pair.link.key(Side::Tracker), pair.link.key(Side::Forge));
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
        render_field(text, field, &pair.link.key(Side::Tracker), width, now);
    }
}

fn render_field(text: &mut String, state: &FieldState, item: &ItemKey, width: usize, now: Timestamp) {
    let owner = match state.owner {
        FieldPolicy::Tracker => "asana owns it",
        FieldPolicy::Forge => "github owns it",
        FieldPolicy::Both => "both sides",
        FieldPolicy::Off => "left alone",
    };
    let _ = writeln!(text, "{} {}", paint(BOLD, format_args!("{:<10}", state.field.as_str())), paint(DIM, owner));
    let room = width.saturating_sub(22);
    let mut row = |label: &str, value: &Value, style: anstyle::Style, note: &str| {
        let shown = match value {
            Value::String(text) if !text.is_empty() => shortened(text, room),
            other => output::cut(&shown(other), room),
        };
        let _ = writeln!(text, "  {label:<8} {}{}", paint(style, shown), paint(style, note));
    };
    let plain = anstyle::Style::new();
    let quiet = Side::BOTH.into_iter().all(|side| state.now[side].is_some() && state.now[side] == state.base);
    match &state.base {
        Some(base) if quiet => row("both", base, plain, ""),
        Some(base) => row("agreed", base, DIM, ""),
        None => {}
    }
    // What a question shows line by line below is not shown twice.
    let asked = state.waiting.as_ref().is_some_and(|waiting| {
        Side::BOTH.into_iter().all(|side| state.now[side].as_ref().and_then(Value::as_str) == Some(&waiting.said[side]))
    });
    for side in Side::BOTH.into_iter().filter(|_| !quiet && !asked) {
        let Some(value) = &state.now[side] else { continue };
        // Where nothing drifts, both show the base as well as they can.
        let style = if state.drifts[side] { YELLOW } else { plain };
        row(side.service(), value, style, if state.drifts[side] { "  (moved)" } else { "" });
    }
    if let Some(waiting) = &state.waiting {
        let field = state.field;
        let takes = match field {
            Field::Body => "tracker|forge|both|FILE",
            Field::Title => "tracker|forge|FILE",
            _ => "tracker|forge",
        };
        let said = format!(
            "waits for a person, asked {}: {}; `evenkeel resolve {item} --field {field} --take {takes}` settles it, and \
             so does making both sides say the same",
            ago(waiting.since, now),
            waiting.why
        );
        output::paragraph(text, YELLOW, 2, width, &said);
        disagreement(text, &waiting.said, width);
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
    let more = format!(" (+{} {})", lines - 1, if lines == 2 { "line" } else { "lines" });
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
        changes(text, write.item.side(), &write.fields, width);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::super::item::narrow::fits;
    use super::*;
    use crate::engine::LastWrite;
    use crate::model::{BySide, Content, Fingerprint, Link, LinkId, LinkStatus, Marker, PassId, Waiting};
    use crate::store::{Due, Tombstone, Verdict};

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            title in any::<String>(), why in any::<String>(), value in any::<String>(),
            repo in "[a-z]{1,39}/[a-z]{1,100}", width in 60_usize..120,
        ) {
            let at: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
            let item: ItemKey = format!("github:{repo}#1234567").parse().expect("an item");
            let ItemKey::Issue(issue) = item.clone() else { unreachable!("it is an issue") };
            let task: crate::model::TaskGid = "1204000000000017".parse().expect("a gid");
            let route: crate::model::RouteName = "app".parse().expect("a name");
            let waiting = Waiting {
                base: None,
                said: BySide { tracker: value.clone(), forge: value.clone() },
                why: why.clone(),
                since: at,
            };
            let last = LastWrite {
                seq: 1, at, pass: PassId(7), item: item.clone(), why: why.clone(), actor: title.clone(),
            };
            let state = |field| FieldState {
                field,
                owner: FieldPolicy::Both,
                base: Some(json!(value)),
                now: BySide { tracker: Some(json!([value])), forge: Some(json!(value)) },
                drifts: BySide { tracker: true, forge: false },
                waiting: Some(waiting.clone()),
                last_write: Some(last.clone()),
            };
            let link = Link {
                id: LinkId(1),
                route: route.clone(),
                task: task.clone(),
                project: None,
                issue: issue.clone(),
                repo_id: 1,
                issue_id: 1,
                issue_node_id: String::new(),
                status: LinkStatus::Active,
                base: Some(Content { title: title.clone(), ..Content::default() }),
                seen: BySide { tracker: None::<Fingerprint>, forge: None },
                waiting: BTreeMap::new(),
                created_at: at,
                updated_at: at,
            };
            let due = Due {
                id: 7, route, item: item.clone(), reason: why.clone(), not_before: at, attempts: 3,
                last_error: Some(value.clone()), parked_at: Some(at), since: at,
                rung: false,
                request: None,
            };
            let found = BySide { tracker: "there".to_owned(), forge: why.clone() };
            let linked = Explained {
                item: item.clone(),
                pair: Some(Pair { link, found, fields: Field::ALL.map(state).to_vec() }),
                alone: None,
                next: Next::Ask { question: why.clone() },
                due: vec![due],
            };
            let mut text = String::new();
            let told = Delivery {
                id: 1_234_567, provider: "github", key: String::new(), hook: None, event: value.clone(),
                origin: Origin::Fetched, verdict: Verdict::Due, note: None, request: String::new(), received_at: at,
                repeats: 0, replayed_at: None, headers: BTreeMap::new(), touched: Vec::new(),
            };
            render(&mut text, &linked, &[told], "app", width, at);
            fits(&text, width);
            let alone = Alone {
                found: why.clone(),
                title: Some(title),
                marker: Some(Marker::naming(item.clone())),
                tombstones: vec![Tombstone { task, issue, reason: why.clone(), at }],
                announced: Some(at),
            };
            let lonely =
                Explained { item, pair: None, alone: Some(alone), next: Next::Leave { why }, due: Vec::new() };
            let mut text = String::new();
            render(&mut text, &lonely, &[], "app", width, at);
            fits(&text, width);
        }
    }

    #[test]
    fn a_long_text_is_shown_by_its_first_line() {
        assert_eq!(shortened("", 40), "");
        assert_eq!(shortened("one", 40), "one");
        assert_eq!(shortened("\n\none\ntwo\n\nthree", 40), "one (+2 lines)");
    }
}
