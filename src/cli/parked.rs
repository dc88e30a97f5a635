//! `parked`: items that wait for a person; look at them, have them tried again, or drop them with a reason.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::args::{ParkedAction, ParkedArgs};
use super::item::{ago, by_operator, say_who_holds};
use super::output::{self, BOLD, CYAN, DIM, RED, count, paint};
use super::{Access, Context, Exit, Failure};
use crate::model::RouteName;
use crate::store::Due;

/// What keeps an item from being tried for good, which dropping does not.
const NEVER: &str = "what must never be made: take it out of the project, or leave it out with a filter of the route; \
                     what must never be written: `evenkeel links remove ITEM` lets go of the pair, `off` in \
                     [route.fields] leaves a field alone";

/// Listing looks only.
pub(super) const fn access(args: &ParkedArgs) -> Access {
    match &args.action {
        ParkedAction::List { .. } => Access::Read,
        _ => Access::Write,
    }
}

/// Runs the command.
pub(super) fn run(context: &Context, args: &ParkedArgs) -> Result<Exit, Failure> {
    match &args.action {
        ParkedAction::List { route } => list(context, route.as_ref()),
        ParkedAction::Retry { ids, all } => retry(context, ids, *all),
        ParkedAction::Drop { id, reason } => give_up(context, *id, reason),
    }
}

fn list(context: &Context, route: Option<&RouteName>) -> Result<Exit, Failure> {
    let parked = context.store.parked(route)?;
    let exit = if parked.is_empty() { Exit::Settled } else { Exit::Drift };
    if context.out.json {
        context.out.json(&serde_json::json!({ "parked": parked }))?;
        return Ok(exit);
    }
    if parked.is_empty() {
        context.out.line("nothing is parked")?;
        return Ok(exit);
    }
    let now = context.clock.now();
    let width = context.out.width;
    let mut text = String::new();
    for due in &parked {
        let Due { id, route, item, reason, attempts, last_error, parked_at, .. } = due;
        let when = parked_at.map_or_else(String::new, |at| format!(", parked {}", ago(at, now)));
        let _ = writeln!(
            text,
            "{} {}",
            paint(BOLD, format_args!("{id:>5}")),
            paint(CYAN, output::cut(&item.to_string(), width.saturating_sub(8))),
        );
        let tries = if *attempts > 0 {
            format!(" after {}", count(u64::from(*attempts), "attempt", "attempts"))
        } else {
            String::new()
        };
        output::paragraph(&mut text, DIM, 6, width, &format!("route {route}{when}{tries}"));
        output::paragraph(&mut text, anstyle::Style::new(), 6, width, reason);
        if let Some(error) = last_error {
            output::paragraph(&mut text, RED, 6, width, error);
        }
    }
    let _ = writeln!(text, "\nwhen the cause is mended: evenkeel parked retry ID… (or --all)");
    let _ = writeln!(text, "to forget one for now:    evenkeel parked drop ID --reason TEXT");
    let _ = writeln!(text, "to understand one:        evenkeel why ITEM");
    context.out.text(&text)?;
    Ok(exit)
}

fn retry(context: &Context, ids: &[i64], all: bool) -> Result<Exit, Failure> {
    let now = context.clock.now();
    let wanted: Vec<i64> =
        if all { context.store.parked(None)?.into_iter().map(|due| due.id).collect() } else { ids.to_vec() };
    let mut taken = Vec::new();
    let mut unknown = Vec::new();
    for id in wanted {
        if context.store.unpark(id, now)? { taken.push(id) } else { unknown.push(id) }
    }
    if context.out.json {
        context.out.json(&serde_json::json!({ "due": taken, "not_parked": unknown }))?;
    } else if !taken.is_empty() || unknown.is_empty() {
        let said = count(u64::try_from(taken.len()).unwrap_or(0), "item is", "items are");
        context.out.line(format_args!("{said} due again"))?;
        context.out.line("the service visits what is due soon, `evenkeel run --once` does so now")?;
    }
    if unknown.is_empty() {
        return Ok(Exit::Settled);
    }
    let numbers: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    Err(Failure::new(format!("not parked: {}", numbers.join(", "))).hint("`evenkeel parked list` shows the numbers"))
}

fn give_up(context: &Context, id: i64, reason: &str) -> Result<Exit, Failure> {
    if reason.trim().is_empty() {
        return Err(Failure::new("--reason is empty").hint("say why, for whoever reads the history later"));
    }
    let due = context.store.due_row(id)?.filter(|due| due.parked_at.is_some());
    let Some(due) = due else {
        return Err(Failure::new(format!("{id} is not parked")).hint("`evenkeel parked list` shows the numbers"));
    };
    let routes: BTreeMap<&RouteName, _> = context.config.routes.iter().map(|route| (&route.name, route)).collect();
    let Some(route) = routes.get(&due.route) else {
        // Nothing works on a route that is not configured, so nobody needs to be kept off it.
        if !context.store.drop_due(id)? {
            return Err(gone_meanwhile(&due));
        }
        context.out.line(format_args!("{} dropped (its route {} is not configured)", due.item, due.route))?;
        return Ok(Exit::Settled);
    };
    say_who_holds(context, &due.route)?;
    let dropping = context.engine(route)?.drop_parked(id, reason.trim(), &by_operator(context))?;
    let Some(due) = dropping.due else { return Err(gone_meanwhile(&due)) };
    if context.out.json {
        context
            .out
            .json(&serde_json::json!({ "dropped": due, "pass": dropping.report.pass, "reason": reason.trim() }))?;
    } else {
        let mut text = String::new();
        let said = format!(
            "{} dropped: it waits for nobody any more; it is tried again when it changes, and by the next whole look",
            due.item
        );
        output::paragraph(&mut text, anstyle::Style::new(), 0, context.out.width, &said);
        output::paragraph(&mut text, DIM, 0, context.out.width, NEVER);
        context.out.text(&text)?;
    }
    Ok(Exit::Settled)
}

/// Somebody was quicker: had it tried again, or dropped it.
fn gone_meanwhile(due: &Due) -> Failure {
    let Due { id, item, .. } = due;
    Failure::new(format!("{id} ({item}) is not parked any more: nothing was dropped")).hint(format!(
        "somebody had it tried again or dropped it meanwhile; `evenkeel why {item}` says where it stands"
    ))
}
