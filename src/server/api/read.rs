//! What is looked at: passes, plans, deliveries, parked items, the history.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::ask::{Query, row};
use super::background::Background;
use super::fault::Fault;
use super::find;
use super::page::{LIST_BYTES_MAX, fitting, page};
use crate::engine::Wake;
use crate::model::{BySide, PassId, RouteName, Side};
use crate::reconcile::{Allowance, Plan, Question, Skip};
use crate::server::message::{Answer, Head};
use crate::store::{Delivery, DeliveryFilter, EntryFilter, Pass, Verdict};
use crate::workshop::Workshop;

/// Repairs and questions of a plan that are shown; a plan may hold 10,000 repairs, each with several texts.
const SHOWN_MAX: usize = 200;

/// How much of a delivery's body is shown, in bytes: more is never an event that matters.
const BODY_SHOWN_MAX: usize = 256 * 1024;

/// Passes of a route looked at to tell whether one that has no end is at work.
const LATER_PASSES_MAX: u32 = 20;

/// Where a pass stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Standing {
    /// Asked for, not begun.
    Waiting,
    /// At work.
    Running,
    /// At its end.
    Ended,
    /// Without an end, and nobody is at work on it: its process died, or it waits in another one.
    Unfinished,
}

/// `GET /api/passes/{id}`
pub(super) fn pass(works: &Workshop, background: &Background, name: &str, head: &Head) -> Result<Answer, Fault> {
    Query::new(head, &[])?;
    let id = PassId(row("the pass's id", name)?);
    // Asked first: what ends in between is then seen at its end.
    let known = background.standing(id);
    let pass = works.store.pass(id)?.ok_or_else(|| Fault::not_found(format!("there is no pass {id}")))?;
    let state = match (&pass.end, known) {
        (Some(_), _) => Standing::Ended,
        (None, Some(known)) => known,
        (None, None) => elsewhere(works, &pass)?,
    };
    let Pass { id, route, start, started_at, ended_at, end } = pass;
    let (outcome, counts, requests, message) = match end {
        Some(end) => (Some(end.outcome), Some(end.counts), Some(end.requests), end.message),
        None => (None, None, None, None),
    };
    Ok(Answer::json(
        200,
        &json!({
            "id": id, "route": route, "state": state, "kind": start.kind, "cause": start.cause, "actor": start.actor,
            "started_at": started_at, "ended_at": ended_at, "outcome": outcome, "counts": counts,
            "requests": requests, "message": message,
        }),
    ))
}

/// Where a pass without an end stands that this API did not begin.
fn elsewhere(works: &Workshop, pass: &Pass) -> Result<Standing, Fault> {
    if works.store.lease_holder(&pass.route, works.clock.now())?.is_none() {
        return Ok(Standing::Unfinished);
    }
    // Passes over a route follow one another, except for visits that overtake: one that ended after it began...
    let later = works.store.passes(Some(&pass.route), LATER_PASSES_MAX)?;
    let after = later.iter().filter(|later| later.id > pass.id && later.start.kind != "overtake");
    let overtaken = after.clone().any(|later| later.ended_at.is_some());
    // ...or that is not even among the last ones, is over.
    let among = later.iter().any(|later| later.id == pass.id);
    Ok(if among && !overtaken { Standing::Running } else { Standing::Unfinished })
}

/// A plan as shown.
#[derive(Serialize)]
struct Shown {
    hash: String,
    /// How many repairs there are; at most [`SHOWN_MAX`] of them are listed, and only as many as fit.
    repairs_total: usize,
    /// The same of questions.
    questions_total: usize,
    /// What the brakes would say.
    refused: Option<String>,
    repairs: Vec<Value>,
    #[serde(flatten)]
    rest: Rest,
}

/// What a plan says beside its repairs.
#[derive(Serialize)]
struct Rest {
    route: RouteName,
    questions: Vec<Question>,
    skips: Vec<Skip>,
    left_alone: BTreeMap<String, u64>,
    links: u64,
    seen: BySide<u64>,
}

/// `GET /api/plan`
pub(super) fn plan(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route", "full"])?;
    let wake = if query.flag("full")? == Some(true) { Wake::Sweep } else { Wake::Poll { belt: true } };
    let (mut plans, mut room) = (Vec::new(), LIST_BYTES_MAX);
    for route in find::routes(works, query.route()?.as_ref())? {
        let engine = works.engine(route)?;
        let plan = engine.plan(&wake)?;
        let refused = engine.check(&plan, Allowance::default(), &wake).err().map(|refusal| refusal.to_string());
        let hash = plan.hash().0;
        let Plan { route, repairs, mut questions, skips, left_alone, links, seen } = plan;
        let (repairs_total, questions_total) = (repairs.len(), questions.len());
        questions.truncate(SHOWN_MAX);
        let (repairs, bytes) = fitting(repairs.into_iter().take(SHOWN_MAX), room)?;
        room = room.saturating_sub(bytes);
        let rest = Rest { route, questions, skips, left_alone, links, seen };
        plans.push(Shown { hash, repairs_total, questions_total, refused, repairs, rest });
    }
    Ok(Answer::json(200, &json!({ "plans": plans })))
}

/// `GET /api/deliveries`
pub(super) fn deliveries(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["provider", "verdict", "item", "limit", "cursor"])?;
    let filter = DeliveryFilter {
        side: query.word("provider", &Side::BOTH.map(|side| (side.service(), side)))?,
        verdict: query.word("verdict", &Verdict::ALL.map(|verdict| (verdict.as_str(), verdict)))?,
        item: query.item()?,
        before: query.cursor()?,
        limit: query.limit()? + 1,
    };
    page(&query, "deliveries", works.store.deliveries(&filter)?, |delivery| delivery.id)
}

/// A delivery with its body.
#[derive(Serialize)]
struct Whole {
    #[serde(flatten)]
    delivery: Delivery,
    /// As text, what is no UTF-8 replaced.
    body: String,
    body_bytes: usize,
    /// Whether `body` shows only the beginning.
    body_cut: bool,
}

/// `GET /api/deliveries/{id}`
pub(super) fn delivery(works: &Workshop, name: &str, head: &Head) -> Result<Answer, Fault> {
    Query::new(head, &[])?;
    let id = row("the delivery's id", name)?;
    let found = works.store.delivery(id)?;
    let (delivery, body) = found.ok_or_else(|| Fault::not_found(format!("there is no delivery {id}")))?;
    let shown = body.get(..BODY_SHOWN_MAX).unwrap_or(&body);
    let whole = Whole {
        delivery,
        body: String::from_utf8_lossy(shown).into_owned(),
        body_bytes: body.len(),
        body_cut: shown.len() < body.len(),
    };
    Ok(Answer::json(200, &serde_json::to_value(whole)?))
}

/// `GET /api/parked`
pub(super) fn parked(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route", "limit", "cursor"])?;
    let after = query.cursor()?.unwrap_or(0);
    // Every pass reads them all: there are never very many.
    let mut parked = works.store.parked(query.route()?.as_ref())?;
    parked.retain(|due| due.id > after);
    parked.sort_unstable_by_key(|due| due.id);
    page(&query, "parked", parked, |due| due.id)
}

/// `GET /api/history`
pub(super) fn history(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route", "item", "pass", "after", "before", "limit", "cursor"])?;
    if query.has("after") && query.has("before") {
        return Err(Fault::invalid("after, before: give one of them; after is oldest first, before newest first"));
    }
    let start = query.row("after")?.or(query.row("before")?);
    let filter = EntryFilter {
        route: query.route()?,
        pass: query.row("pass")?.map(PassId),
        item: query.item()?,
        after: query.cursor()?.or(start),
        newest_first: !query.has("after"),
        limit: query.limit()? + 1,
    };
    page(&query, "entries", works.store.history(&filter)?, |entry| entry.seq)
}
