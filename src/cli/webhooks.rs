//! `webhooks`: looks after the hooks through which both services tell of changes: ensure, list, rotate, remove.

use std::fmt::Write as _;
use std::time::Duration;

use super::args::{HookScope, WebhooksAction, WebhooksArgs};
use super::item::ago;
use super::output::{self, BOLD, CYAN, DIM, GREEN, RED, YELLOW, aside, count, paint};
use super::run::lease_wait;
use super::{Access, Context, Exit, Failure};
use crate::clock::{Timestamp, later};
use crate::hooks::{HooksError, Keeper, Listed, Report, Subject, subjects};
use crate::model::RouteName;

/// How often a lease that somebody else holds is asked for again.
const AGAIN: Duration = Duration::from_millis(500);

/// Listing looks only.
pub(super) const fn access(args: &WebhooksArgs) -> Access {
    match &args.action {
        WebhooksAction::List(_) => Access::Read,
        _ => Access::Write,
    }
}

/// Runs the command.
pub(super) fn run(context: &Context, args: &WebhooksArgs) -> Result<Exit, Failure> {
    let (WebhooksAction::Ensure(scope)
    | WebhooksAction::List(scope)
    | WebhooksAction::Rotate(scope)
    | WebhooksAction::Remove(scope)) = &args.action;
    let wanted = of_routes(context, scope)?;
    let reports = match &args.action {
        WebhooksAction::List(_) => return list(context, &wanted),
        WebhooksAction::Ensure(_) => {
            let keeper = Keeper::new(context)?;
            in_turn(context, || keeper.ensure(&wanted))?
        }
        WebhooksAction::Rotate(_) => {
            let keeper = Keeper::new(context)?;
            in_turn(context, || keeper.rotate(&wanted))?
        }
        WebhooksAction::Remove(_) => {
            let keeper = Keeper::without_address(context);
            in_turn(context, || keeper.remove(&wanted))?
        }
    };
    let made_again = matches!(&args.action, WebhooksAction::Remove(_)) && context.config.webhooks.public_url.is_some();
    let exit = reports.iter().map(exit_of).max().unwrap_or(Exit::Settled);
    if context.out.json {
        context.out.json(&serde_json::json!({ "hooks": reports }))?;
    } else {
        let mut text = String::new();
        for report in &reports {
            render(&mut text, report, &routes_of(context, report.provider, &report.resource), context.out.width);
        }
        if made_again {
            let said = "the service makes them again at its next look, unless public_url is taken out of [webhooks]";
            output::paragraph(&mut text, DIM, 0, context.out.width, said);
        }
        context.out.text(&text)?;
    }
    if reports.len() < wanted.len() {
        let left = u64::try_from(wanted.len() - reports.len()).unwrap_or(u64::MAX);
        let said = count(left, "project or repository was", "projects and repositories were");
        return Err(Failure::new(format!("interrupted: {said} not looked at")));
    }
    Ok(exit)
}

/// What the hooks are on: of all routes, or of the one named.
fn of_routes(context: &Context, scope: &HookScope) -> Result<Vec<Subject>, Failure> {
    let mut wanted = subjects(&context.config);
    if let Some(name) = &scope.route {
        context.routes(Some(name))?;
        wanted.retain(|subject| {
            let routes = routes_of(context, subject.side.service(), &subject.resource);
            routes.contains(&name)
        });
    }
    Ok(wanted)
}

/// The routes of a project or repository.
fn routes_of<'a>(context: &'a Context, provider: &str, resource: &str) -> Vec<&'a RouteName> {
    let routes = context.config.routes.iter().filter(|route| match provider {
        "asana" => route.project.as_str() == resource,
        _ => route.repo.folded() == resource,
    });
    routes.map(|route| &route.name).collect()
}

/// Waits for whoever else is looking after the hooks, as long as one that died may seem to.
fn in_turn<T>(context: &Context, work: impl Fn() -> Result<T, HooksError>) -> Result<T, Failure> {
    let until = later(context.clock.now(), lease_wait(&context.store));
    let mut said = false;
    loop {
        match work() {
            Err(HooksError::Held(holder)) if context.clock.now() < until => {
                if !said && context.loudness >= 0 {
                    let seconds = lease_wait(&context.store).as_secs();
                    aside(format_args!("{holder} is looking after the hooks; waiting up to {seconds} s"));
                }
                said = true;
                if !context.clock.sleep(AGAIN, &context.stop) {
                    return Err(Failure::new("interrupted; nothing was done"));
                }
            }
            other => return Ok(other?),
        }
    }
}

/// A hook that could not be looked after has failed; one that stands but does not get through is left to be mended.
const fn exit_of(report: &Report) -> Exit {
    match (report.failed, &report.trouble) {
        (true, _) => Exit::Failed,
        (false, Some(_)) => Exit::Drift,
        (false, None) => Exit::Settled,
    }
}

fn render(text: &mut String, report: &Report, routes: &[&RouteName], width: usize) {
    headline(text, report.provider, &report.resource, routes, width);
    let plain = anstyle::Style::new();
    for done in &report.done {
        output::paragraph(text, plain, 2, width, done);
    }
    if let Some(trouble) = &report.trouble {
        let style = if report.failed { RED } else { YELLOW };
        output::paragraph(text, style, 2, width, trouble);
    }
    if let Some(hint) = &report.hint {
        output::paragraph(text, DIM, 2, width, &format!("-> {hint}"));
    }
    if report.done.is_empty() && report.trouble.is_none() {
        output::paragraph(text, GREEN, 2, width, "nothing to do");
    }
}

/// The project or repository, with its routes.
fn headline(text: &mut String, provider: &str, resource: &str, routes: &[&RouteName], width: usize) {
    let names: Vec<&str> = routes.iter().map(|route| route.as_str()).collect();
    let of = match names.as_slice() {
        [] => String::new(),
        [one] => format!("route {one}"),
        several => format!("routes {}", several.join(", ")),
    };
    let what = output::cut(&format!("{provider} {resource}"), width);
    let _ = writeln!(text, "{}", paint(BOLD, what));
    output::paragraph(text, DIM, 2, width, &of);
}

fn list(context: &Context, wanted: &[Subject]) -> Result<Exit, Failure> {
    let listed = Keeper::without_address(context).list(wanted)?;
    let well = |hook: &Listed| hook.trouble.is_none() && matches!(hook.state, "live" | "leaving");
    let exit = if listed.iter().all(well) { Exit::Settled } else { Exit::Drift };
    if context.out.json {
        context.out.json(&serde_json::json!({ "hooks": listed }))?;
        return Ok(exit);
    }
    if listed.is_empty() {
        context.out.line("there are no hooks")?;
        let said = "set public_url in [webhooks] to be told of changes at once; polls find them meanwhile";
        let mut text = String::new();
        output::paragraph(&mut text, DIM, 0, context.out.width, said);
        context.out.text(&text)?;
        return Ok(exit);
    }
    let mut text = String::new();
    let mut last = ("", "");
    for hook in &listed {
        if last != (hook.provider, hook.resource.as_str()) {
            last = (hook.provider, &hook.resource);
            let routes = routes_of(context, hook.provider, &hook.resource);
            headline(&mut text, hook.provider, &hook.resource, &routes, context.out.width);
        }
        render_listed(&mut text, hook, context.out.width, context.clock.now());
    }
    context.out.text(&text)?;
    Ok(exit)
}

fn render_listed(text: &mut String, hook: &Listed, width: usize, now: Timestamp) {
    let style = match hook.state {
        "live" if hook.trouble.is_none() => GREEN,
        "gone" | "stranger" | "none" => RED,
        _ => YELLOW,
    };
    let id = hook.id.as_deref().map_or_else(String::new, |id| format!(" hook {id}"));
    let head = output::cut(&id, width.saturating_sub(12));
    let off = if hook.active == Some(false) { " (switched off)" } else { "" };
    let _ = writeln!(text, "  {}{}{off}", paint(style, hook.state), paint(CYAN, head));
    if !hook.target.is_empty() {
        output::paragraph(text, DIM, 4, width, &format!("sends to {}", hook.target));
    }
    match (hook.heard_at, hook.state) {
        (Some(at), _) => output::paragraph(text, DIM, 4, width, &format!("last heard {}", ago(at, now))),
        (None, "live") => output::paragraph(text, DIM, 4, width, "not heard yet"),
        (None, _) => {}
    }
    if let Some(trouble) = &hook.trouble {
        output::paragraph(text, RED, 4, width, trouble);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::item::narrow::fits;
    use super::*;

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            words in any::<String>(), id in "[0-9]{1,20}", resource in "[a-z]{1,39}/[a-z]{1,100}",
            state in prop::sample::select(vec!["live", "pending", "leaving", "stranger", "gone", "none", "unknown"]),
            route in "[a-z0-9]{1,64}", off in any::<bool>(), width in 60_usize..120,
        ) {
            let now: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
            let report = Report {
                provider: "github",
                resource: resource.clone(),
                done: vec![words.clone(), words.clone()],
                trouble: Some(words.clone()),
                failed: off,
                hint: Some(words.clone()),
                fetched: 1,
                wake: Vec::new(),
            };
            let route: RouteName = route.parse().expect("a name");
            let mut text = String::new();
            render(&mut text, &report, &[&route, &route, &route], width);
            let listed = Listed {
                provider: "github",
                resource,
                id: Some(id),
                target: words.clone(),
                state,
                active: Some(!off),
                heard_at: off.then_some(now),
                trouble: Some(words),
            };
            render_listed(&mut text, &listed, width, now);
            fits(&text, width);
        }
    }

    #[test]
    fn what_could_not_be_done_has_failed_and_what_does_not_get_through_is_left() {
        let report = |failed: bool, trouble: Option<&str>| Report {
            provider: "asana",
            resource: "77".to_owned(),
            done: Vec::new(),
            trouble: trouble.map(str::to_owned),
            failed,
            hint: None,
            fetched: 0,
            wake: Vec::new(),
        };
        assert_eq!(exit_of(&report(true, Some("no"))), Exit::Failed);
        assert_eq!(exit_of(&report(false, Some("it failed"))), Exit::Drift);
        assert_eq!(exit_of(&report(false, None)), Exit::Settled);
    }
}
