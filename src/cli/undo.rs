//! `undo`: puts back what a pass changed, as far as nobody changed it since; shows first, then asks.

use std::fmt::Write as _;

use super::args::{UndoArgs, UndoTarget};
use super::item::{by_operator, confirmed, route_of, say_who_holds};
use super::output::{self, BOLD, CYAN, DIM, GREEN, YELLOW, count, paint};
use super::plan::render::changes;
use super::{Context, Exit, Failure};
use crate::config::Route;
use crate::engine::{self, Left, Undo, UndoPlan};
use crate::model::ItemKey;
use crate::store::EntryFilter;

/// Runs the command.
pub(super) fn run(context: &Context, args: &UndoArgs) -> Result<Exit, Failure> {
    let route = route(context, &args.target)?;
    let engine = context.engine(route)?;
    let target = match &args.target {
        UndoTarget::Pass(pass) => engine::UndoTarget::Pass(*pass),
        UndoTarget::Item(item) => engine::UndoTarget::Item(item.clone()),
    };
    let plan = engine.plan_undo(&target)?;
    if let Some(message) = &plan.message {
        return Err(Failure::new(message.clone()).hint("`evenkeel history show` lists what was written, pass by pass"));
    }
    let idle = args.dry_run || plan.is_empty();
    if context.out.json {
        if idle {
            context.out.json(&serde_json::json!({ "plan": plan, "done": [] }))?;
        }
    } else {
        context.out.text(&render(&plan, context.out.width))?;
    }
    if idle {
        let missing = plan.left().next().is_some();
        return Ok(if plan.is_empty() && !missing { Exit::Settled } else { Exit::Drift });
    }
    if !confirmed(args.yes, "Put this back?")? {
        context.out.line("nothing was written")?;
        return Ok(Exit::Drift);
    }
    say_who_holds(context, &route.name)?;
    let undone = engine.undo(&plan, &by_operator(context))?;
    if context.out.json {
        context
            .out
            .json(&serde_json::json!({ "plan": plan, "pass": undone.report.pass, "ended": undone.report.ended,
            "done": undone.done, "left": undone.left, "requests": undone.report.requests }))?;
        return Ok(undone.report.ended.into());
    }
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} {} in pass {}",
        paint(GREEN, "put back:"),
        count(u64::try_from(undone.done.len()).unwrap_or(u64::MAX), "pair or item", "pairs and items"),
        undone.report.pass
    );
    // What the plan did not show already.
    let known: Vec<&Left> = plan.left().collect();
    let news: Vec<&Left> = undone.left.iter().filter(|left| !known.contains(left)).collect();
    let anew = !news.is_empty();
    if anew {
        let _ = writeln!(text, "{}", paint(YELLOW, "not put back after all:"));
        for left in news {
            left_lines(&mut text, left, context.out.width);
        }
    }
    // By the item it would go one pass further back: what got no answer may have been written.
    if let Some(pass) = plan.pass.filter(|_| anew) {
        let _ = writeln!(text, "that can be tried again: evenkeel undo {pass}");
    }
    for message in &undone.report.messages {
        output::paragraph(&mut text, YELLOW, 0, context.out.width, message);
    }
    context.out.text(&text)?;
    Ok(undone.report.ended.into())
}

/// A pass knows its route; an item's is its link's, or that of the last entry about it.
fn route<'a>(context: &'a Context, target: &UndoTarget) -> Result<&'a Route, Failure> {
    let name = match target {
        UndoTarget::Pass(id) => {
            let pass = context.store.pass(*id)?;
            let pass = pass.ok_or_else(|| {
                Failure::new(format!("there is no pass {id}")).hint("`evenkeel status` shows the last passes")
            })?;
            Some(pass.route)
        }
        UndoTarget::Item(item) => {
            let filter =
                EntryFilter { item: Some(item.clone()), newest_first: true, limit: 1, ..EntryFilter::default() };
            context.store.history(&filter)?.pop().map(|entry| entry.route)
        }
    };
    match (name, target) {
        (Some(name), _) => {
            let routes = context.routes(Some(&name))?;
            routes.into_iter().next().ok_or_else(|| Failure::new(format!("there is no route {name}")))
        }
        (None, UndoTarget::Item(item)) => route_of(context, item, None),
        (None, UndoTarget::Pass(id)) => Err(Failure::new(format!("there is no pass {id}"))),
    }
}

fn render(plan: &UndoPlan, width: usize) -> String {
    let mut text = String::new();
    for step in plan.steps.iter().filter(|step| !step.is_empty()) {
        render_step(&mut text, step, width);
    }
    let left: Vec<&Left> = plan.left().collect();
    if !left.is_empty() {
        let _ = writeln!(text, "{}", paint(YELLOW, "not put back:"));
        for left in &left {
            left_lines(&mut text, left, width);
        }
    }
    let already = plan.steps.iter().flat_map(|step| &step.left).filter(|left| left.already).count();
    let steps = plan.steps.iter().filter(|step| !step.is_empty()).count();
    let number = plan.pass.map_or_else(String::new, |pass| format!("undoing pass {pass}: "));
    let mut said = format!(
        "{number}{} to put back",
        count(u64::try_from(steps).unwrap_or(u64::MAX), "pair or item", "pairs and items")
    );
    for (parts, words) in [(left.len(), "left as they are"), (already, "as before already")] {
        if parts > 0 {
            let _ = write!(said, ", {parts} {words}");
        }
    }
    output::paragraph(&mut text, BOLD, 0, width, &said);
    text
}

fn render_step(text: &mut String, step: &Undo, width: usize) {
    let names: Vec<String> = step.items.iter().filter_map(|(_, item)| item.as_ref().map(ItemKey::to_string)).collect();
    let _ = writeln!(text, "{}", paint(BOLD, output::cut(&step.title, width)));
    let _ = writeln!(text, "  {}", paint(CYAN, output::cut(&names.join(" ↔ "), width.saturating_sub(2))));
    for (_, write) in step.writes.iter() {
        let Some(write) = write else { continue };
        changes(text, write.item.side(), &write.fields, width);
    }
    if step.unlink {
        output::paragraph(text, YELLOW, 2, width, "let go of the pair; it is not made again by itself");
    }
    if step.wake {
        output::paragraph(text, GREEN, 2, width, "keep the pair in step again");
    }
    for (_, write) in step.then.iter() {
        if let Some(write) = write {
            let fields: Vec<&str> = write.fields.iter().map(|change| change.field.as_str()).collect();
            let said = format!("the next pass then writes {} of {}", fields.join(", "), write.item);
            output::paragraph(text, DIM, 2, width, &said);
        }
    }
    for number in &step.parked {
        let said = format!(
            "the pair has a parked item: what is put back goes over to the other half after `evenkeel parked retry {number}`"
        );
        output::paragraph(text, YELLOW, 2, width, &said);
    }
    for field in &step.waits {
        let said = format!("the {field} then waits for a person: both sides say something else");
        output::paragraph(text, YELLOW, 2, width, &said);
    }
    text.push('\n');
}

fn left_lines(text: &mut String, left: &Left, width: usize) {
    let field = left.field.map_or_else(String::new, |field| format!(", {field}"));
    output::paragraph(text, anstyle::Style::new(), 2, width, &format!("{}{field}: {}", left.item, left.why));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::item::narrow::fits;
    use super::*;
    use crate::model::{BySide, Change, Field, FieldChange, LinkId, PassId};
    use crate::reconcile::Write;

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            title in any::<String>(), why in any::<String>(), value in any::<String>(),
            repo in "[a-z]{1,39}/[a-z]{1,100}", width in 60_usize..120,
        ) {
            let issue: ItemKey = format!("github:{repo}#1234567").parse().expect("an item");
            let change = |field| FieldChange { field, before: json!(value), after: json!(""), why: why.clone() };
            let write =
                Write { item: issue.clone(), change: Change::default(), fields: Field::ALL.map(change).to_vec() };
            let writes = BySide { tracker: None, forge: Some(write) };
            let left = |already| Left { item: issue.clone(), field: Some(Field::Title), why: why.clone(), already };
            let mut step = Undo::default();
            step.link = Some(LinkId(1));
            step.items =
                BySide { tracker: Some("asana:1".parse().expect("an item")), forge: Some(issue.clone()) };
            step.title = title;
            step.writes = writes.clone();
            (step.unlink, step.wake) = (true, true);
            step.then = writes;
            step.waits = vec![Field::Body];
            step.parked = vec![7];
            step.left = vec![left(false), left(true)];
            let plan = UndoPlan { pass: Some(PassId(42)), steps: vec![step], message: None };
            let text = render(&plan, width);
            fits(&text, width);
            prop_assert!(text.contains("not put back:"), "{text}");
        }
    }
}
