//! `resolve`: settles a field that waits; shows what would be written, asks, writes.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Read;

use super::args::ResolveArgs;
use super::conflicts::{Listed, render, waiting_link};
use super::item::{by_operator, confirmed, route_of, say_who_holds};
use super::output::{self, DIM, GREEN, YELLOW, paint};
use super::plan::render::changes;
use super::{Context, Exit, Failure};
use crate::engine::{Conflict, Ended, Handling, Proposed, Resolve, Resolved};
use crate::model::{Field, ItemKey, Link, Side};
use crate::reconcile::Take;

/// The longest text taken from a file, in bytes: several times what either service holds.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Runs the command.
pub(super) fn run(context: &Context, args: &ResolveArgs) -> Result<Exit, Failure> {
    let link = waiting_link(context, &args.item)?;
    let field = match args.field {
        Some(field) => field,
        None => the_one(&link, &args.item)?,
    };
    let reason = args.reason.as_deref().map(str::trim);
    if reason == Some("") {
        return Err(
            Failure::new("--reason is empty").hint("say why, for whoever reads the history later; or leave it out")
        );
    }
    let mut asked = Resolve {
        link: link.id,
        field,
        take: take(&args.take)?,
        seen: args.seen.clone(),
        reason: reason.unwrap_or_default().to_owned(),
    };
    let route = route_of(context, &args.item, Some(&link.route))?;
    let engine = context.engine(route)?;
    let Proposed { conflict, unmoved, writes } = match engine.plan_resolve(&asked)? {
        Ok(proposed) => proposed,
        Err(why) => return Err(Failure::new(why).hint(format!("`evenkeel why {}` says more", args.item))),
    };
    let width = context.out.width;
    if !context.out.json {
        let mut text = String::new();
        shown(context, &mut text, &conflict);
        text.push_str("to be written:\n");
        for (side, write) in writes.iter() {
            match write {
                Some(write) => changes(&mut text, side, &write.fields, width),
                None => output::paragraph(
                    &mut text,
                    DIM,
                    4,
                    width,
                    &format!("nothing to {}: it says so already", side.service()),
                ),
            }
        }
        context.out.text(&text)?;
    }
    if !unmoved {
        if args.yes {
            return moved(context, &conflict);
        }
        let mut text = String::new();
        output::paragraph(
            &mut text,
            YELLOW,
            0,
            width,
            "a side moved since `evenkeel conflicts` showed this; above is what both say now",
        );
        context.out.text(&text)?;
    }
    if !confirmed(args.yes, "Write this?")? {
        context.out.line("nothing was written")?;
        return Ok(Exit::Drift);
    }
    // What was shown a moment ago is what is agreed to.
    asked.seen = Some(conflict.seen);
    say_who_holds(context, &route.name)?;
    let resolved = engine.resolve(&asked, &by_operator(context))?;
    told(context, &link, field, resolved)
}

/// The only field that waits.
fn the_one(link: &Link, item: &ItemKey) -> Result<Field, Failure> {
    let fields: Vec<Field> = link.waiting.keys().copied().collect();
    match fields.as_slice() {
        [only] => Ok(*only),
        [] => {
            Err(Failure::new(format!("nothing of {item} waits for a person"))
                .hint("`evenkeel conflicts` lists what waits"))
        }
        several => {
            let names: Vec<&str> = several.iter().map(|field| field.as_str()).collect();
            Err(Failure::new(format!("several fields of {item} wait"))
                .hint(format!("say which with --field: {}", names.join(", "))))
        }
    }
}

/// What `--take` says; a file or standard input is read.
fn take(said: &str) -> Result<Take, Failure> {
    let text = match said {
        "tracker" | "asana" => return Ok(Take::Side(Side::Tracker)),
        "forge" | "github" => return Ok(Take::Side(Side::Forge)),
        "both" => return Ok(Take::Both),
        "-" => read(std::io::stdin().lock(), "standard input"),
        path => match File::open(path) {
            Ok(file) => read(file, path),
            Err(error) => Err(Failure::new(format!("--take {path}: opening the file: {error}"))
                .hint("say tracker, forge, both, or name a file with the text; - reads standard input")),
        },
    };
    text.map(Take::Text)
}

fn read(from: impl Read, name: &str) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    from.take(TEXT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::new(format!("--take: reading {name}: {error}")))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > TEXT_BYTES_MAX {
        return Err(Failure::new(format!(
            "--take: {name} holds more than {TEXT_BYTES_MAX} bytes; neither service holds so long a text"
        )));
    }
    String::from_utf8(bytes).map_err(|_| Failure::new(format!("--take: {name} is no UTF-8 text")))
}

/// The conflict as `evenkeel conflicts show` has it.
fn shown(context: &Context, text: &mut String, conflict: &Conflict) {
    let listed = Listed::new(context.config.network.web_of_github(), conflict.clone());
    render(text, &listed, None, context.out.width, context.clock.now());
}

/// Refuses to write over what nobody has seen, and shows it.
fn moved(context: &Context, conflict: &Conflict) -> Result<Exit, Failure> {
    let Conflict { task, field, seen, .. } = conflict;
    if context.out.json {
        context.out.json(&serde_json::json!({ "resolved": false, "conflict": conflict }))?;
    }
    Err(Failure::new(format!("nothing was written: a side moved since the {field} of {task} was shown"))
        .hint(format!("to settle it as both say now, repeat it with --yes --seen {seen}")))
}

fn told(context: &Context, link: &Link, field: Field, resolved: Resolved) -> Result<Exit, Failure> {
    let width = context.out.width;
    if let Some(conflict) = &resolved.moved {
        if !context.out.json {
            let mut text = String::new();
            shown(context, &mut text, conflict);
            context.out.text(&text)?;
        }
        return moved(context, conflict);
    }
    if let Some(why) = resolved.left {
        return Err(Failure::new(format!("nothing was written: {why}")));
    }
    let Resolved { report, sides, .. } = &resolved;
    // A read that fails, or a stop, may end it between any two steps, and then no side says so.
    let done = !matches!(report.ended, Ended::Failed | Ended::Stopped)
        && !sides.iter().any(|(_, side)| matches!(side, Handling::Failed { .. } | Handling::Untried));
    if context.out.json {
        context.out.json(&serde_json::json!({ "resolved": done, "field": field, "task": link.key(Side::Tracker),
            "issue": link.key(Side::Forge), "sides": sides, "pass": report.pass, "ended": report.ended,
            "messages": report.messages, "requests": report.requests }))?;
        return Ok(report.ended.into());
    }
    let words: Vec<String> = sides.iter().map(|(side, handling)| became(side, handling)).collect();
    if !done {
        return Err(not_settled(link, field, &resolved, &words));
    }
    let mut text = String::new();
    let _ = writeln!(text, "{} {}", paint(GREEN, format_args!("the {field} is settled:")), words.join(", "));
    let undo = format!("`evenkeel undo {}` puts back what was replaced", resolved.report.pass);
    output::paragraph(&mut text, DIM, 0, width, &undo);
    if resolved.report.ended != Ended::Settled {
        output::paragraph(
            &mut text,
            YELLOW,
            0,
            width,
            "something else of the pair moved or waits; the next pass looks at it",
        );
    }
    context.out.text(&text)?;
    Ok(resolved.report.ended.into())
}

/// What became of a side, in a few words.
fn became(side: Side, handling: &Handling) -> String {
    let service = side.service();
    match handling {
        Handling::Written => format!("{service} was written"),
        Handling::Already => format!("{service} said so already"),
        Handling::Untried => format!("{service} was not tried"),
        Handling::Failed { .. } => format!("{service} was not written"),
    }
}

/// A settlement that did not come to its end: what was written all the same, and why not the rest.
fn not_settled(link: &Link, field: Field, resolved: &Resolved, words: &[String]) -> Failure {
    let Resolved { report, sides, .. } = resolved;
    let failed = sides.iter().find_map(|(side, handling)| match handling {
        Handling::Failed { why } => Some(format!("{}: {why}", link.key(side))),
        Handling::Written | Handling::Already | Handling::Untried => None,
    });
    let said = failed.or_else(|| report.messages.first().cloned());
    let why = said.unwrap_or_else(|| "it was stopped before its end".to_owned());
    let hint = if sides.iter().any(|(_, handling)| *handling == Handling::Written) {
        format!(
            "the next pass looks at both; if the field still waits then, try it again; `evenkeel undo {}` puts back \
             what was replaced",
            report.pass
        )
    } else {
        "it still waits if the sides still differ; try it again".to_owned()
    };
    Failure::new(format!("the {field} is not settled ({}): {why}", words.join(", "))).hint(hint)
}
