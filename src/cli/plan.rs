//! `plan`: shows what the next pass would do, writes nothing, and can keep it in a file for `apply`.

pub(super) mod kept;
pub(super) mod render;

use serde::Serialize;

use super::args::PlanArgs;
use super::progress::Watched;
use super::run::looked;
use super::{Context, Exit, Failure};
use crate::config::Route;
use crate::engine::Wake;
use crate::model::{BySide, Fingerprint, Link, Side};
use crate::provider::Requests;
use crate::reconcile::{Allowance, Plan, Refusal};

/// Waiting pairs that are listed; more do not fit a head.
const WAITING_MAX: u32 = 200;

/// One route's plan for `--json`.
#[derive(Serialize)]
pub(super) struct Answer {
    pub hash: Fingerprint,
    /// `poll`, `sweep`, `visit`.
    kind: &'static str,
    /// The brake that would refuse it, with its numbers.
    refused: Option<Refused>,
    requests: BySide<Requests>,
    /// Pairs with fields that have been waiting for a person since earlier.
    waiting: Vec<Link>,
    pub plan: Plan,
}

#[derive(Serialize)]
struct Refused {
    #[serde(flatten)]
    refusal: Refusal,
    message: String,
}

#[derive(Serialize)]
struct Answers {
    plans: Vec<Answer>,
    failures: Vec<String>,
}

/// Shows the plan of every route asked for.
pub(super) fn run(context: &Context, args: &PlanArgs) -> Result<Exit, Failure> {
    let routes = context.routes_for(&args.scope)?;
    if args.out.is_some() && routes.len() > 1 {
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        return Err(Failure::new("--out keeps the plan of one route, and there are several")
            .hint(format!("add --route with one of: {}", names.join(", "))));
    }
    let mut worst = Exit::Settled;
    let mut answers = Answers { plans: Vec::new(), failures: Vec::new() };
    for route in routes {
        let wake = context.wake_for(route, &args.scope)?;
        match one(context, route, &wake) {
            Ok((answer, exit)) => {
                worst = worst.max(exit);
                if let Some(file) = &args.out {
                    kept::write(file, &wake, context.clock.now(), &answer.plan)?;
                }
                if context.out.json {
                    answers.plans.push(answer);
                } else {
                    show_plan(context, route, &wake, &answer)?;
                    if !answer.plan.is_empty() && answer.refused.is_none() && args.out.is_none() {
                        let how = match &wake {
                            Wake::Sweep => "`evenkeel run --once --full` carries it out",
                            Wake::Visit(_) => "`evenkeel run --once` with the same --only carries it out",
                            Wake::Poll { .. } | Wake::Retry | Wake::Overtake(_) => {
                                "`evenkeel run --once` carries it out"
                            }
                        };
                        context.out.line(format_args!("{how}; nothing was written so far."))?;
                    }
                    if let Some(file) = &args.out {
                        context.out.line(format_args!(
                            "Kept in {file}; `evenkeel apply {file}` carries it out if it still holds.",
                            file = file.display()
                        ))?;
                    }
                }
            }
            // A route that cannot be looked at says nothing about the others.
            Err(failure) => {
                worst = worst.max(failure.exit);
                let failure = failure.on_route(&route.name);
                answers.failures.push(failure.message.clone());
                super::complain(&failure);
            }
        }
    }
    if context.out.json {
        context.out.json(&answers)?;
    }
    Ok(worst)
}

pub(super) fn one(context: &Context, route: &Route, wake: &Wake) -> Result<(Answer, Exit), Failure> {
    let watched = Watched::new(context, &route.name);
    let engine = context.engine_heard(route, watched.clone())?;
    let plan = engine.plan(wake);
    watched.clear();
    let plan = plan?;
    let refusal = engine.check(&plan, Allowance::default(), wake).err();
    let waiting = context.store.waiting_links(Some(&route.name), WAITING_MAX)?;
    let exit = if refusal.is_some() {
        Exit::Refused
    } else if plan.is_empty() && plan.questions.is_empty() && waiting.is_empty() {
        Exit::Settled
    } else {
        Exit::Drift
    };
    let answer = Answer {
        hash: plan.hash(),
        kind: wake.as_str(),
        refused: refusal.map(|refusal| Refused { message: refusal.to_string(), refusal }),
        requests: BySide::from_fn(|side| engine.providers[side].requests()),
        waiting,
        plan,
    };
    Ok((answer, exit))
}

/// Shows one plan to a person.
pub(super) fn show_plan(context: &Context, route: &Route, wake: &Wake, answer: &Answer) -> Result<(), Failure> {
    let cursors = context.store.cursor_times(&route.name)?;
    let first = matches!(wake, Wake::Poll { .. }) && Side::BOTH.iter().all(|side| cursors[*side].is_none());
    let beside = render::Beside {
        between: &between(route),
        looked: if first { looked(&Wake::Sweep) } else { looked(wake) },
        waiting: &answer.waiting,
        refusal: answer.refused.as_ref().map(|refused| &refused.refusal),
        verbose: context.loudness > 0,
        width: context.out.width,
    };
    context.out.text(&render::plan(&answer.plan, beside))
}

/// Both ends of a route, for a headline.
pub(super) fn between(route: &Route) -> String {
    format!("asana project {} ↔ github {}", route.project, route.repo)
}
