//! What is done by hand: kept with who and why before it is carried out, and done once for each Idempotency-Key.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ask::{self, Body, CloseBody, Plain, ReconcileBody, ResolveBody, Said, SyncBody, Taken, gid, row};
use super::fault::{Code, Fault};
use super::find::{self, Witness, about};
use super::ways::{Endpoint, Found};
use super::{Api, BODY_BYTES_MAX};
use crate::clock::since;
use crate::engine::account::{log_asked_pass, outline};
use crate::engine::{Ended, EngineError, Handling, PassOptions, Report, Resolve, Wake};
use crate::model::{BySide, Field, ItemKey, Link, LinkStatus, RouteName, Side, Status, TaskGid, hex};
use crate::reconcile::{Action, Plan, Take};
use crate::server::message::{Answer, Request};
use crate::store::{Begun, Due, NewCall, NewDue};
use crate::trigger::Ring;
use crate::workshop::Workshop;

/// How long a call waits for somebody at work on the route: a visit takes less, whoever asks waits for it.
const LEASE_WAIT: Duration = Duration::from_secs(5);

/// A call without an end after this time has died with its process, and may be made anew with its key. Longer than
/// the longest call: some requests of a minute each.
const CALL_LIFE: Duration = Duration::from_secs(15 * 60);

/// A call that was understood.
enum Asked {
    Sync { task: TaskGid, route: Option<RouteName> },
    Status { task: TaskGid, status: Status },
    Reconcile { route: Option<RouteName>, full: bool },
    Replay { id: i64 },
    Retry { id: i64 },
    Drop { id: i64 },
    Resolve { task: TaskGid, field: Option<Field>, take: Take, seen: Option<String> },
}

/// One call at work.
struct Call<'a> {
    api: &'a Api,
    works: &'a Workshop,
    request: &'a str,
    said: Said,
}

impl Api {
    /// Carries a writing call out, unless it was carried out before.
    pub(super) fn write(&self, works: &Workshop, found: &Found, request: &Request) -> Result<Answer, Fault> {
        let head = &request.head;
        if request.body.len() > BODY_BYTES_MAX {
            return Err(Fault::new(Code::TooLarge, format!("the body is larger than {BODY_BYTES_MAX} bytes")));
        }
        ask::Query::new(head, &[])?;
        let key = ask::idempotency_key(head)?;
        let (asked, said) = understood(found, &request.body)?;
        self.keys.tidy(works);
        let mut digest = sha2::Sha256::default();
        for part in [head.method.as_bytes(), b" ", head.path.as_bytes(), b"\n", &request.body] {
            sha2::Digest::update(&mut digest, part);
        }
        let new = NewCall {
            key,
            request: head.id.as_str().to_owned(),
            actor: said.actor.clone(),
            method: head.method.clone(),
            path: head.path.clone(),
            reason: said.reason.clone(),
            digest: hex(&sha2::Digest::finalize(digest)),
        };
        let began = works.clock.now();
        let mut begun = works.store.begin_call(&new, began)?;
        if let (Begun::UnderWay { since: at }, Some(key)) = (&begun, &new.key)
            && since(*at, began) >= CALL_LIFE
            && works.store.free_call_key(key, *at)?
        {
            begun = works.store.begin_call(&new, began)?;
        }
        let id = match begun {
            Begun::New(id) => id,
            Begun::Answered { status, answer } => return again(status, &answer),
            Begun::UnderWay { .. } => return Err(Fault::busy("the call with this Idempotency-Key is under way")),
            Begun::Other => {
                let message = "this Idempotency-Key was sent with another call; send a new one with a new call";
                return Err(Fault::new(Code::KeyReused, message));
            }
        };
        let call = Call { api: self, works, request: head.id.as_str(), said };
        let (answer, passes) = match call.carry_out(asked) {
            Ok((status, document)) => (Answer::json(status, &document), false),
            Err(fault) => (fault.answer(&head.id), fault.code.passes()),
        };
        let text = String::from_utf8_lossy(&answer.body);
        let mut kept = works.store.end_call(id, answer.status, &text);
        if let (Ok(()), true, Some(key)) = (&kept, passes, &new.key) {
            // What may succeed a little later is tried again under the same key.
            kept = works.store.free_call_key(key, began).map(|_| ());
        }
        if let Err(error) = kept {
            // It is done all the same; the key stays under way until it is old.
            log::warn!(request = head.id.as_str(); "api: keeping what was answered: {error} (request {})", head.id);
        }
        Ok(answer)
    }
}

/// The answer of before.
fn again(status: u16, answer: &str) -> Result<Answer, Fault> {
    let document: Value = serde_json::from_str(answer)?;
    Ok(Answer::json(status, &document).with("Idempotency-Replayed", "true"))
}

/// Reads path and body of a writing call.
fn understood(found: &Found, bytes: &[u8]) -> Result<(Asked, Said), Fault> {
    fn plain(bytes: &[u8]) -> Result<Said, Fault> {
        Ok(read::<Plain>(bytes)?.1)
    }
    fn read<B: Body>(bytes: &[u8]) -> Result<(B, Said), Fault> {
        ask::body(bytes)
    }
    let name = |text: Option<String>| {
        let name = text.map(|text| text.parse().map_err(|error| Fault::invalid(format!("route: {error}"))));
        name.transpose()
    };
    let task = || gid("the task's gid", &found.name);
    let id = |what: &str| row(what, &found.name);
    match found.endpoint {
        Endpoint::Sync => {
            let (body, said) = read::<SyncBody>(bytes)?;
            let task = gid("asana_task_gid", &body.asana_task_gid)?;
            Ok((Asked::Sync { task, route: name(body.route)? }, said))
        }
        Endpoint::Close => {
            let (body, said) = read::<CloseBody>(bytes)?;
            Ok((Asked::Status { task: task()?, status: body.status.map_or(Status::Done, Status::from) }, said))
        }
        Endpoint::Reopen => {
            let said = plain(bytes)?;
            Ok((Asked::Status { task: task()?, status: Status::Open }, said))
        }
        Endpoint::Reconcile => {
            let (body, said) = read::<ReconcileBody>(bytes)?;
            Ok((Asked::Reconcile { route: name(body.route)?, full: body.full.unwrap_or(false) }, said))
        }
        Endpoint::Replay => Ok((Asked::Replay { id: id("the delivery's id")? }, plain(bytes)?)),
        Endpoint::Retry => Ok((Asked::Retry { id: id("the parked item's id")? }, plain(bytes)?)),
        Endpoint::Drop => Ok((Asked::Drop { id: id("the parked item's id")? }, plain(bytes)?)),
        Endpoint::Resolve => {
            let (body, said) = read::<ResolveBody>(bytes)?;
            let task = gid("asana_task_gid", &body.asana_task_gid)?;
            let take = match (body.take, body.text) {
                (Taken::Tracker, None) => Take::Side(Side::Tracker),
                (Taken::Forge, None) => Take::Side(Side::Forge),
                (Taken::Both, None) => Take::Both,
                (Taken::Text, Some(text)) => Take::Text(text),
                (Taken::Text, None) => return Err(Fault::invalid("text: it is missing; `take` says it is taken")),
                (_, Some(_)) => return Err(Fault::invalid("text: it is taken only where `take` is \"text\"")),
            };
            Ok((Asked::Resolve { task, field: body.field, take, seen: body.seen }, said))
        }
        Endpoint::Openapi
        | Endpoint::Tasks
        | Endpoint::Task
        | Endpoint::Pass
        | Endpoint::Plan
        | Endpoint::Deliveries
        | Endpoint::Delivery
        | Endpoint::Parked
        | Endpoint::Conflicts
        | Endpoint::History => Err(Fault::internal("a reading call came to be written")),
    }
}

/// A status and a document, or why not.
type Outcome = Result<(u16, Value), Fault>;

impl Call<'_> {
    fn carry_out(&self, asked: Asked) -> Outcome {
        match asked {
            Asked::Sync { task, route } => self.sync(&task, route.as_ref()),
            Asked::Status { task, status } => self.set_status(&task, status),
            Asked::Reconcile { route, full } => self.reconcile(route.as_ref(), full),
            Asked::Replay { id } => self.api.replay(self.works, id, self.request),
            Asked::Retry { id } => self.retry(id),
            Asked::Drop { id } => self.drop_parked(id),
            Asked::Resolve { task, field, take, seen } => self.resolve(&task, field, take, seen),
        }
    }

    fn options(&self) -> PassOptions {
        PassOptions { cause: cause(self.request, &self.said.reason), lease_wait: LEASE_WAIT, ..PassOptions::default() }
    }

    fn sync(&self, task: &TaskGid, named: Option<&RouteName>) -> Outcome {
        let Self { works, request, .. } = self;
        let key = ItemKey::Task(task.clone());
        let route = find::route_of(works, task, named)?;
        let mut items = vec![key.clone()];
        items.extend(works.store.link_of(&key)?.map(|link| link.key(Side::Forge)));
        self.not_parked(&route.name, &items)?;
        let witness = Witness::new(works, route, request, key.clone());
        let engine = find::engine(works, route, request, &self.said.actor, witness.clone())?;
        let began = Instant::now();
        let report = match engine.pass(&Wake::Visit(items.clone()), &self.options()) {
            Ok(report) => report,
            Err(EngineError::Held { holder, .. }) => {
                self.ring(&route.name, items)?;
                let document = json!({
                    "task": key, "route": route.name, "queued": true, "in_step": false,
                    "message": format!("{holder} is at work on the route; the task is visited as soon as it can be"),
                });
                return Ok((202, document));
            }
            Err(error) => return Err(error.into()),
        };
        log_asked_pass(&report, began.elapsed(), request);
        if let Some(why) = witness.failed() {
            self.not_parked(&route.name, &items)?;
            return Err(Fault::new(Code::ProviderFailed, format!("{why}; the task is due again")));
        }
        came_to_its_end(&report)?;
        let link = works.store.link_of(&key)?.filter(|link| link.route == route.name);
        if let Some(link) = &link {
            items = Side::BOTH.map(|side| link.key(side)).into();
        }
        let due = self.not_parked(&route.name, &items)?;
        let done: Vec<&crate::reconcile::Repair> = report.plan.repairs.iter().filter(|one| about(one, &key)).collect();
        let Some(link) = link else {
            return Err(Fault::new(Code::LeftAlone, alone(&report.plan, &key)));
        };
        // A half that was not seen is due again. A pair that is not active is left alone for other reasons as well,
        // such as another partner, and then is not.
        let unseen = report.plan.skips.iter().find(|skip| items.contains(&skip.item));
        if let Some(skip) = unseen.filter(|_| link.status == LinkStatus::Active || !due.is_empty()) {
            let message = format!("{}: {}; the task is due again", skip.item, skip.why);
            return Err(Fault::new(Code::ProviderFailed, message));
        }
        if link.status != LinkStatus::Active {
            let message = format!("the pair is {}: nothing is written until both are back in the route", link.status);
            return Err(Fault::new(Code::LeftAlone, message));
        }
        let made = done.iter().any(|one| matches!(one.action, Action::Create { .. } | Action::Join { .. }));
        let done: Vec<String> = done.into_iter().map(outline).collect();
        let document = json!({
            "task": key, "issue": link.key(Side::Forge), "route": route.name, "queued": false, "pass": report.pass,
            "in_step": done.is_empty() && link.waiting.is_empty() && due.is_empty(), "created": made, "done": done,
            "waiting": link.waiting,
        });
        Ok((200, document))
    }

    fn set_status(&self, task: &TaskGid, status: Status) -> Outcome {
        let Self { works, request, .. } = self;
        let key = ItemKey::Task(task.clone());
        let Some(link) = find::link(works, task)? else {
            let message = format!(
                "{key} is linked with no issue, so there are no two sides; POST /api/tasks/sync links it, if it is on a \
                 route"
            );
            return Err(Fault::new(Code::NotLinked, message));
        };
        let route = find::route_of(works, task, None)?;
        let witness = Witness::new(works, route, request, key.clone());
        let engine = find::engine(works, route, request, &self.said.actor, witness)?;
        let began = Instant::now();
        let edited = engine.edit_status(link.id, status, &self.said.reason, &self.options())?;
        let pass = edited.report.pass;
        for (side, _) in edited.sides.iter().filter(|(_, handling)| **handling == Handling::Written) {
            let item = link.key(side);
            log::info!(request = *request, pass = pass.0; "pass {pass}: {item} is {status} now (request {request})");
        }
        log_asked_pass(&edited.report, began.elapsed(), request);
        if let Some(why) = edited.left {
            return Err(Fault::new(Code::Conflict, why));
        }
        all_written(&link, &edited.sides)?;
        came_to_its_end(&edited.report)?;
        let Link { route, .. } = &link;
        let document = json!({
            "task": key, "issue": link.key(Side::Forge), "route": route, "pass": edited.report.pass,
            "status": status, "sides": { "asana": edited.sides.tracker, "github": edited.sides.forge },
            "in_step": edited.report.ended == Ended::Settled,
        });
        Ok((200, document))
    }

    fn resolve(&self, task: &TaskGid, field: Option<Field>, take: Take, seen: Option<String>) -> Outcome {
        let Self { works, request, .. } = self;
        let key = ItemKey::Task(task.clone());
        let Some(link) = find::link(works, task)? else {
            return Err(Fault::new(Code::NotLinked, format!("{key} is linked with no issue, so nothing of it waits")));
        };
        let waits: Vec<&str> = link.waiting.keys().map(|field| field.as_str()).collect();
        let field = match (field, link.waiting.keys().next()) {
            (Some(field), _) => field,
            (None, Some(only)) if waits.len() == 1 => *only,
            (None, None) => return Err(Fault::new(Code::Conflict, format!("nothing of {key} waits for a person"))),
            (None, Some(_)) => {
                let message = format!("several fields of {key} wait; say which with `field`: {}", waits.join(", "));
                return Err(Fault::new(Code::Conflict, message));
            }
        };
        let route = find::route_of(works, task, None)?;
        let witness = Witness::new(works, route, request, key.clone());
        let engine = find::engine(works, route, request, &self.said.actor, witness)?;
        let began = Instant::now();
        let asked = Resolve { link: link.id, field, take, seen, reason: self.said.reason.clone() };
        let resolved = engine.resolve(&asked, &self.options())?;
        let pass = resolved.report.pass;
        for (side, _) in resolved.sides.iter().filter(|(_, handling)| **handling == Handling::Written) {
            let item = link.key(side);
            log::info!(request = *request, pass = pass.0; "pass {pass}: the {field} of {item} is settled (request {request})");
        }
        log_asked_pass(&resolved.report, began.elapsed(), request);
        if let Some(why) = resolved.left {
            return Err(Fault::new(Code::Conflict, why));
        }
        if let Some(now) = resolved.moved {
            self.ring(&link.route, Side::BOTH.map(|side| link.key(side)).into())?;
            let message = format!(
                "a side moved since the {field} of {key} was shown: nothing was written; GET /api/conflicts shows what \
                 both say once the next pass has read them (seen {})",
                now.seen
            );
            return Err(Fault::new(Code::Conflict, message));
        }
        all_written(&link, &resolved.sides)?;
        came_to_its_end(&resolved.report)?;
        let Link { route, .. } = &link;
        let document = json!({
            "task": key, "issue": link.key(Side::Forge), "route": route, "pass": pass, "field": field,
            "sides": { "asana": resolved.sides.tracker, "github": resolved.sides.forge },
            "in_step": resolved.report.ended == Ended::Settled,
        });
        Ok((200, document))
    }

    fn reconcile(&self, named: Option<&RouteName>, full: bool) -> Outcome {
        let mut passes = Vec::new();
        for route in find::routes(self.works, named)? {
            let cause = cause(self.request, &self.said.reason);
            let (pass, merged) =
                self.api.background.ask(self.works, &route.name, full, self.request, &self.said.actor, cause)?;
            passes.push(json!({ "route": route.name, "pass": pass, "merged": merged }));
        }
        Ok((202, json!({ "passes": passes })))
    }

    fn retry(&self, id: i64) -> Outcome {
        let due = self.parked_row(id)?;
        if !self.works.store.unpark(id, self.works.clock.now())? {
            return Err(not_any_more(&due));
        }
        self.ring(&due.route, vec![due.item.clone()])?;
        Ok((200, json!({ "id": id, "route": due.route, "item": due.item, "due": true })))
    }

    fn drop_parked(&self, id: i64) -> Outcome {
        let Self { works, request, .. } = self;
        let due = self.parked_row(id)?;
        let pass = match works.config.routes.iter().find(|route| route.name == due.route) {
            // Nothing works on a route that is not configured, so nobody needs to be kept off it.
            None => {
                if !works.store.drop_due(id)? {
                    return Err(not_any_more(&due));
                }
                None
            }
            Some(route) => {
                let witness = Witness::new(works, route, request, due.item.clone());
                let engine = find::engine(works, route, request, &self.said.actor, witness)?;
                let began = Instant::now();
                let dropping = engine.drop_parked(id, &self.said.reason, &self.options())?;
                log_asked_pass(&dropping.report, began.elapsed(), request);
                came_to_its_end(&dropping.report)?;
                if dropping.due.is_none() {
                    return Err(not_any_more(&due));
                }
                Some(dropping.report.pass)
            }
        };
        Ok((200, json!({ "id": id, "route": due.route, "item": due.item, "dropped": true, "pass": pass })))
    }

    /// A parked item by its row.
    fn parked_row(&self, id: i64) -> Result<Due, Fault> {
        match self.works.store.due_row(id)? {
            Some(due) if due.parked_at.is_some() => Ok(due),
            Some(due) => Err(Fault::new(Code::Conflict, format!("{id} ({}) is due, not parked", due.item))),
            None => Err(Fault::not_found(format!("there is no parked item {id}; GET /api/parked lists them"))),
        }
    }

    /// Refuses what waits for a person: a pass leaves it alone. Answers what of the items is due.
    fn not_parked(&self, route: &RouteName, items: &[ItemKey]) -> Result<Vec<Due>, Fault> {
        let dues = self.works.store.dues_of(route, items)?;
        match dues.iter().find(|due| due.parked_at.is_some()) {
            None => Ok(dues),
            Some(due) => {
                let why = due.last_error.as_ref().unwrap_or(&due.reason);
                let message =
                    format!("{} is parked: {why}; mend that, then POST /api/parked/{}/retry", due.item, due.id);
                Err(Fault::new(Code::Parked, message))
            }
        }
    }

    /// Makes items due in the name of the request.
    fn ring(&self, route: &RouteName, items: Vec<ItemKey>) -> Result<(), Fault> {
        let now = self.works.clock.now();
        let due = |item| NewDue {
            item,
            reason: format!("{} asked: {}", self.said.actor, self.said.reason),
            not_before: now,
            attempts: 0,
            last_error: None,
            parked: false,
        };
        let dues: Vec<NewDue> = items.into_iter().map(due).collect();
        self.works.store.ring(route, &dues, Some(self.request), now)?;
        (self.api.ringing)(route, Ring::Heard);
        Ok(())
    }
}

/// The cause of a pass that a call asked for.
fn cause(request: &str, reason: &str) -> String {
    format!("api {request}: {reason}")
}

/// Somebody was quicker: had it tried again, or dropped it.
fn not_any_more(due: &Due) -> Fault {
    let message = format!("{} ({}) is not parked any more: nothing was done to it", due.id, due.item);
    Fault::new(Code::Conflict, message)
}

/// Refuses what a provider did not do, and says what was done all the same.
fn all_written(link: &Link, sides: &BySide<Handling>) -> Result<(), Fault> {
    for (side, handling) in sides.iter() {
        if let Handling::Failed { why } = handling {
            let rest = match &sides[side.opposite()] {
                Handling::Written => format!("; {} was written", link.key(side.opposite())),
                Handling::Already => format!("; {} stood so already", link.key(side.opposite())),
                Handling::Untried | Handling::Failed { .. } => String::new(),
            };
            return Err(Fault::new(Code::ProviderFailed, format!("{}: {why}{rest}", link.key(side))));
        }
    }
    Ok(())
}

/// Refuses what a pass could not carry through.
fn came_to_its_end(report: &Report) -> Result<(), Fault> {
    let message = || report.messages.first().cloned().unwrap_or_else(|| "it did not come to its end".to_owned());
    match report.ended {
        Ended::Settled | Ended::Drift => Ok(()),
        Ended::Failed => Err(Fault::new(Code::ProviderFailed, message())),
        Ended::Refused => Err(Fault::new(Code::Braked, message())),
        Ended::Stopped => Err(Fault::unavailable("the process is stopping")),
    }
}

/// Why a visited task has no partner.
fn alone(plan: &Plan, key: &ItemKey) -> String {
    let question = plan.questions.iter().find(|question| question.item == *key).map(|question| &question.what);
    let skip = plan.skips.iter().find(|skip| skip.item == *key).map(|skip| &skip.why);
    match question.or(skip) {
        Some(why) => format!("{key} gets no issue: {why}"),
        None => format!("{key} got no issue; GET /api/tasks/{{gid}} says why"),
    }
}
