//! `deliveries`: what Asana and GitHub delivered; list it, look at one and at what came of it, do it once more.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::Value;
use unicode_width::UnicodeWidthChar as _;

use super::args::{DeliveriesAction, DeliveriesArgs};
use super::item::ago;
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, count, paint};
use super::{Access, Context, Exit, Failure};
use crate::inbox;
use crate::model::{ItemKey, RouteName, Side, Timestamp};
use crate::provider::github::delivery::payload_of;
use crate::provider::heard::Whole;
use crate::store::{Delivery, DeliveryFilter, Due, Entry, EntryFilter, Origin, Touched, Verdict};

/// Touched items shown of one delivery in a list; the rest is counted.
const ITEMS_LISTED: usize = 3;

/// Entries of the history looked through for what came of an item: newer ones are nearer to the delivery than that.
const ENTRIES_MAX: u32 = 100;

/// Entries of the history shown for one item, the first that followed.
const ENTRIES_SHOWN: usize = 3;

/// How much of a body is shown to a person, in bytes; `--json` has all of it.
const BODY_SHOWN_MAX: usize = 64 << 10;

/// Only a replay changes anything.
pub(super) const fn access(args: &DeliveriesArgs) -> Access {
    match &args.action {
        DeliveriesAction::Replay { .. } => Access::Write,
        _ => Access::Read,
    }
}

/// Runs the command.
pub(super) fn run(context: &Context, args: &DeliveriesArgs) -> Result<Exit, Failure> {
    match &args.action {
        DeliveriesAction::List { side, item, verdict, before, limit } => {
            let filter =
                DeliveryFilter { side: *side, item: item.clone(), verdict: *verdict, before: *before, limit: *limit };
            list(context, &filter)
        }
        DeliveriesAction::Show { id, body } => show(context, *id, *body),
        DeliveriesAction::Replay { id } => replay(context, *id),
    }
}

fn list(context: &Context, filter: &DeliveryFilter) -> Result<Exit, Failure> {
    let found = context.store.deliveries(filter)?;
    if context.out.json {
        context.out.json(&serde_json::json!({ "deliveries": found }))?;
        return Ok(Exit::Settled);
    }
    if found.is_empty() {
        context.out.line("no delivery matches")?;
        return Ok(Exit::Settled);
    }
    let mut text = String::new();
    for delivery in &found {
        render(&mut text, delivery, context.out.width, context.clock.now());
    }
    context.out.text(&text)?;
    if let Some(last) = found.last().filter(|_| found.len() >= filter.limit as usize)
        && context.loudness >= 0
    {
        let shown = count(u64::try_from(found.len()).unwrap_or(0), "delivery is", "deliveries are");
        output::aside(format_args!("only {shown} shown; --before {} shows older ones", last.id));
    }
    Ok(Exit::Settled)
}

fn verdict_style(verdict: Verdict) -> anstyle::Style {
    match verdict {
        Verdict::Due => GREEN,
        Verdict::Noted => DIM,
        Verdict::Garbled => RED,
    }
}

/// Two or three lines about a delivery.
fn render(text: &mut String, delivery: &Delivery, width: usize, now: Timestamp) {
    let Delivery { verdict, touched, note, .. } = delivery;
    render_head(text, delivery, width, now);
    let about = circumstances(delivery, now);
    if !about.is_empty() {
        output::paragraph(text, DIM, 4, width, &about.join(", "));
    }
    if !touched.is_empty() {
        let mut items: Vec<String> =
            touched.iter().take(ITEMS_LISTED).map(|touched| touched.item.to_string()).collect();
        if touched.len() > ITEMS_LISTED {
            items.push(format!("and {} more", touched.len() - ITEMS_LISTED));
        }
        output::paragraph(text, CYAN, 4, width, &items.join(", "));
    }
    if let Some(note) = note {
        let style = if *verdict == Verdict::Garbled { RED } else { DIM };
        output::paragraph(text, style, 4, width, note);
    }
}

/// What is out of the ordinary about how it came.
fn circumstances(delivery: &Delivery, now: Timestamp) -> Vec<String> {
    let mut about = Vec::new();
    if delivery.origin == Origin::Fetched {
        about.push("fetched, for it was not handed over".to_owned());
    }
    if delivery.repeats > 0 {
        about.push(format!("came again {}", count(u64::from(delivery.repeats), "time", "times")));
    }
    if let Some(at) = delivery.replayed_at {
        about.push(format!("replayed {}", ago(at, now)));
    }
    about
}

/// An item that a delivery touched, and what came of it.
#[derive(Serialize)]
struct Outcome {
    route: RouteName,
    item: ItemKey,
    /// It is due still, or parked.
    due: Option<Due>,
    /// What was written about it since, the first first.
    changes: Vec<Entry>,
}

/// A delivery as shown.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    delivery: Delivery,
    /// The hook it came through, for a person.
    through: Option<String>,
    outcomes: Vec<Outcome>,
    body_bytes: usize,
    /// The body, if asked for: as JSON where it is JSON, else as text, what is no UTF-8 replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<Value>,
}

fn show(context: &Context, id: i64, with_body: bool) -> Result<Exit, Failure> {
    let Some((delivery, body)) = context.store.delivery(id)? else { return Err(unknown(id)) };
    let through = match delivery.hook {
        None => None,
        Some(row) => {
            let hooks = context.store.hooks(None)?;
            Some(hooks.into_iter().find(|hook| hook.id == row).map_or_else(
                || "a hook that is not known any more".to_owned(),
                |hook| {
                    let named = hook.remote.map_or_else(String::new, |remote| format!("hook {remote} "));
                    format!("{named}on {} {}", hook.side.service(), hook.resource)
                },
            ))
        }
    };
    let outcomes = outcomes(context, &delivery)?;
    let parsed = with_body.then(|| readable(&delivery, &body));
    let shown = Shown { delivery, through, outcomes, body_bytes: body.len(), body: parsed };
    if context.out.json {
        context.out.json(&shown)?;
    } else {
        let mut text = String::new();
        render_whole(&mut text, &shown, context.out.width, context.clock.now());
        context.out.text(&text)?;
    }
    Ok(Exit::Settled)
}

fn unknown(id: i64) -> Failure {
    Failure::new(format!("there is no delivery {id}"))
        .hint("`evenkeel deliveries list` shows the numbers; old ones go after [webhooks] keep_days")
}

/// What came of each item that a delivery touched.
fn outcomes(context: &Context, delivery: &Delivery) -> Result<Vec<Outcome>, Failure> {
    let store = &context.store;
    let mut outcomes = Vec::with_capacity(delivery.touched.len());
    let mut due = dues(context, &delivery.touched)?;
    for Touched { route, item } in &delivery.touched {
        let still = due.remove(&(route.clone(), item.clone()));
        let changes = match &still {
            Some(_) => Vec::new(),
            None => {
                let filter = EntryFilter {
                    route: Some(route.clone()),
                    item: Some(item.clone()),
                    newest_first: true,
                    limit: ENTRIES_MAX,
                    ..EntryFilter::default()
                };
                let mut entries = store.history(&filter)?;
                entries.retain(|entry| entry.entry.at >= delivery.received_at);
                entries.reverse();
                entries
            }
        };
        outcomes.push(Outcome { route: route.clone(), item: item.clone(), due: still, changes });
    }
    Ok(outcomes)
}

/// What is due or parked of these items.
fn dues(context: &Context, touched: &[Touched]) -> Result<BTreeMap<(RouteName, ItemKey), Due>, Failure> {
    let mut by_route: BTreeMap<&RouteName, Vec<ItemKey>> = BTreeMap::new();
    for Touched { route, item } in touched {
        by_route.entry(route).or_default().push(item.clone());
    }
    let mut found = BTreeMap::new();
    for (route, items) in by_route {
        for due in context.store.dues_of(route, &items)? {
            found.insert((route.clone(), due.item.clone()), due);
        }
    }
    Ok(found)
}

fn render_whole(text: &mut String, shown: &Shown, width: usize, now: Timestamp) {
    let Shown { delivery, through, outcomes, body_bytes, body } = shown;
    render_head(text, delivery, width, now);
    let mut row = |label: &str, value: &str| {
        for (at, line) in output::wrap(value, width.saturating_sub(13)).iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            let _ = writeln!(text, "  {label:<10} {line}");
        }
    };
    row("came", &format!("{:.0}, with request {}", delivery.received_at, delivery.request));
    row("key", &delivery.key);
    if let Some(through) = through {
        row("through", through);
    }
    for about in circumstances(delivery, now) {
        row("and", &about);
    }
    if let Some(note) = &delivery.note {
        row("note", note);
    }
    for (name, value) in &delivery.headers {
        row("header", &format!("{name}: {value}"));
    }
    row(
        "body",
        &format!(
            "{}{}",
            count(*body_bytes as u64, "byte", "bytes"),
            if body.is_some() { "" } else { " (--body shows it)" }
        ),
    );
    if outcomes.is_empty() {
        row("touched", "nothing that is kept in step");
    }
    for outcome in outcomes {
        let item = output::cut(&outcome.item.to_string(), width.saturating_sub(2));
        let _ = writeln!(text, "  {}", paint(CYAN, item));
        render_outcome(text, outcome, width, now);
    }
    if let Some(body) = body {
        text.push('\n');
        render_body(text, body, width);
    }
}

fn render_head(text: &mut String, delivery: &Delivery, width: usize, now: Timestamp) {
    let Delivery { id, provider, event, verdict, received_at, .. } = delivery;
    let number = format!("#{id}");
    let when = ago(*received_at, now);
    let taken = output::columns(&number) + output::columns(verdict.as_str()) + output::columns(&when) + 3;
    let head = output::cut(&format!("{provider} {event}"), width.saturating_sub(taken));
    let verdict = paint(verdict_style(*verdict), verdict.as_str());
    let _ = writeln!(text, "{} {} {verdict} {when}", paint(BOLD, number), paint(BOLD, head));
}

fn render_outcome(text: &mut String, outcome: &Outcome, width: usize, now: Timestamp) {
    let Outcome { route, item: _, due, changes } = outcome;
    match due {
        Some(due) if due.parked_at.is_some() => {
            let said = format!("parked on route {route} as number {} (`evenkeel parked list`)", due.id);
            output::paragraph(text, YELLOW, 4, width, &said);
        }
        Some(due) => {
            let said = format!("due on route {route} since {}: {}", ago(due.since, now), due.reason);
            output::paragraph(text, YELLOW, 4, width, &said);
        }
        None if changes.is_empty() => {
            output::paragraph(text, DIM, 4, width, &format!("looked at on route {route}, nothing to do"));
        }
        None => {
            for entry in changes.iter().take(ENTRIES_SHOWN) {
                let kept = &entry.entry;
                let what =
                    format!("#{} {} of {} in pass {}: {}", entry.seq, kept.kind, kept.item, kept.pass, kept.cause);
                output::paragraph(text, anstyle::Style::new(), 4, width, &what);
            }
            if changes.len() > ENTRIES_SHOWN {
                let more = changes.len() - ENTRIES_SHOWN;
                let said = format!("and {more} later (`evenkeel history show --item {}`)", outcome.item);
                output::paragraph(text, DIM, 4, width, &said);
            }
        }
    }
}

/// The body as JSON where it is JSON, of a form what is in it; else as text.
fn readable(delivery: &Delivery, body: &[u8]) -> Value {
    let kind = delivery.headers.get("content-type").map_or("application/json", String::as_str);
    let payload = (delivery.provider == Side::Forge.service()).then(|| payload_of(kind, body).ok()).flatten();
    let bytes = payload.as_deref().unwrap_or(body);
    serde_json::from_slice(bytes).unwrap_or_else(|_| Value::String(String::from_utf8_lossy(body).into_owned()))
}

/// The body's beginning, line by line, harmless for a terminal.
fn render_body(text: &mut String, body: &Value, width: usize) {
    let whole = match body {
        Value::String(text) => text.clone(),
        other => serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let mut shown = 0;
    for line in whole.lines() {
        if shown + line.len() > BODY_SHOWN_MAX {
            break;
        }
        shown += line.len() + 1;
        broken(text, line, width);
    }
    if let Some(left) = whole.len().checked_sub(shown).filter(|left| *left > 0) {
        let said = format!("{} more; --json shows all", count(left as u64, "byte", "bytes"));
        output::paragraph(text, DIM, 0, width, &said);
    }
}

/// A line, harmless, its spaces kept, broken where it is too wide.
fn broken(text: &mut String, line: &str, width: usize) {
    let mut taken = 0;
    for char in output::harmless(line).chars() {
        let wide = char.width().unwrap_or(0);
        if taken + wide > width {
            text.push('\n');
            taken = 0;
        }
        text.push(char);
        taken += wide;
    }
    text.push('\n');
}

fn replay(context: &Context, id: i64) -> Result<Exit, Failure> {
    let request = format!("cli-{:016x}", fastrand::u64(..));
    let now = context.clock.now();
    let done = inbox::replay(&context.store, &context.config, id, &request, now)?;
    let (taken, looks) = match done {
        None => return Err(unknown(id)),
        Some(Err(why)) => return Err(Failure::new(format!("delivery {id} cannot be done once more: {why}"))),
        Some(Ok(done)) => done,
    };
    let touched = context.store.delivery(id)?.map_or_else(Vec::new, |(delivery, _)| delivery.touched);
    let due: Vec<Due> =
        dues(context, &touched)?.into_values().filter(|due| taken.routes.contains(&due.route)).collect();
    if context.out.json {
        let looks: Vec<Value> = looks
            .iter()
            .map(|(route, whole)| serde_json::json!({ "route": route, "full": *whole == Whole::Sweep }))
            .collect();
        let answer = serde_json::json!({
            "delivery": id, "verdict": taken.verdict, "request": request, "due": due, "look_at": looks,
        });
        context.out.json(&answer)?;
        return Ok(Exit::Settled);
    }
    let mut text = String::new();
    render_replayed(&mut text, &due, &looks, context.out.width);
    context.out.text(&text)?;
    Ok(Exit::Settled)
}

fn render_replayed(text: &mut String, due: &[Due], looks: &[(RouteName, Whole)], width: usize) {
    let plain = anstyle::Style::new();
    for due in due {
        let said = match due.parked_at {
            Some(_) => format!(
                "{} stays parked on route {} (`evenkeel parked retry {}` has it tried again)",
                due.item, due.route, due.id
            ),
            None => format!("{} is due again on route {}", due.item, due.route),
        };
        output::paragraph(text, plain, 0, width, &said);
    }
    for (route, whole) in looks {
        let full = if *whole == Whole::Sweep { " --full" } else { "" };
        let said = format!(
            "it concerns route {route} as a whole: the next {} looks, `evenkeel run --once{full} --route {route}` does \
             so now",
            if *whole == Whole::Sweep { "sweep" } else { "poll" },
        );
        output::paragraph(text, plain, 0, width, &said);
    }
    if due.is_empty() && looks.is_empty() {
        output::paragraph(text, plain, 0, width, "it touches nothing that is kept in step: nothing to do");
    }
    if due.iter().any(|due| due.parked_at.is_none()) {
        let said = "the service visits what is due soon, `evenkeel run --once` does so now";
        output::paragraph(text, DIM, 0, width, said);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::item::narrow::fits;
    use super::*;
    use crate::model::{LinkId, PassId};
    use crate::store::NewEntry;

    fn delivery(words: &str, item: &ItemKey, at: Timestamp) -> Delivery {
        let touched = Touched { route: "app".parse().expect("a name"), item: item.clone() };
        Delivery {
            id: 1_234_567_890,
            provider: "github",
            key: words.to_owned(),
            hook: Some(3),
            event: words.to_owned(),
            origin: Origin::Fetched,
            verdict: Verdict::Garbled,
            note: Some(words.to_owned()),
            request: words.to_owned(),
            received_at: at,
            repeats: 3,
            replayed_at: Some(at),
            headers: BTreeMap::from([(words.to_owned(), words.to_owned())]),
            touched: vec![touched; 5],
        }
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            words in any::<String>(), repo in "[a-z]{1,39}/[a-z]{1,100}", parked in any::<bool>(),
            width in 60_usize..120,
        ) {
            let at: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
            let item: ItemKey = format!("github:{repo}#1234567").parse().expect("an item");
            let route: RouteName = "app".parse().expect("a name");
            let due = Due {
                id: 7, route: route.clone(), item: item.clone(), reason: words.clone(), not_before: at, attempts: 3,
                last_error: Some(words.clone()), parked_at: parked.then_some(at), since: at, rung: true, request: None,
            };
            let entry = Entry {
                seq: 123_456,
                route: route.clone(),
                entry: NewEntry {
                    at, pass: PassId(7), link: Some(LinkId(1)), kind: words.clone(), item: item.clone(),
                    partner: None, changes: Vec::new(), cause: words.clone(), actor: words.clone(),
                },
                previous: String::new(),
                hash: String::new(),
            };
            let outcome = |due: Option<&Due>, changes: usize| Outcome {
                route: route.clone(), item: item.clone(), due: due.cloned(), changes: vec![entry.clone(); changes],
            };
            let mut text = String::new();
            render(&mut text, &delivery(&words, &item, at), width, at);
            let shown = Shown {
                delivery: delivery(&words, &item, at),
                through: Some(words.clone()),
                outcomes: vec![outcome(Some(&due), 0), outcome(None, 0), outcome(None, 5)],
                body_bytes: 9,
                body: Some(json!({ words.clone(): [words.clone()] })),
            };
            render_whole(&mut text, &shown, width, at);
            render_body(&mut text, &json!(words), width);
            let looks = [(route.clone(), Whole::Sweep), (route, Whole::Poll)];
            render_replayed(&mut text, std::slice::from_ref(&due), &looks, width);
            fits(&text, width);
        }

        #[test]
        fn nothing_in_a_body_can_drive_the_terminal(words in any::<String>(), width in 60_usize..120) {
            let mut text = String::new();
            render_body(&mut text, &json!(words), width);
            render_body(&mut text, &json!({ "text": words }), width);
            let plain = anstream::adapter::strip_str(&text).to_string();
            prop_assert!(!plain.chars().any(|char| char.is_control() && char != '\n'), "{plain:?}");
        }
    }

    #[test]
    fn a_body_is_shown_up_to_its_bound_and_said_to_go_on() {
        let mut text = String::new();
        render_body(&mut text, &json!(vec!["a line of text"; 10_000]), 80);
        assert!(text.len() < BODY_SHOWN_MAX + 1_000, "{}", text.len());
        assert!(text.contains("more; --json shows all"));
        let mut text = String::new();
        render_body(&mut text, &json!({ "action": "closed" }), 80);
        assert_eq!(text, "{\n  \"action\": \"closed\"\n}\n");
    }

    #[test]
    fn the_payload_of_a_form_is_read_and_what_is_no_json_stays_text() {
        let at = Timestamp::UNIX_EPOCH;
        let item: ItemKey = "asana:1".parse().expect("an item");
        let of = |kind: &str, body: &[u8]| {
            let headers = BTreeMap::from([("content-type".to_owned(), kind.to_owned())]);
            readable(&Delivery { headers, ..delivery("", &item, at) }, body)
        };
        assert_eq!(of("application/json", br#"{"a":1}"#), json!({ "a": 1 }));
        assert_eq!(of("application/x-www-form-urlencoded", b"payload=%7B%22a%22%3A1%7D"), json!({ "a": 1 }));
        assert_eq!(of("application/json", b"\xffno"), json!("\u{fffd}no"));
        let deep = "[".repeat(10_000);
        assert_eq!(of("application/json", deep.as_bytes()), json!(deep));
    }
}
