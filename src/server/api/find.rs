//! Which route a task stands on, and an engine for one call.

use std::sync::{Arc, Mutex};

use super::fault::{Code, Fault};
use crate::clock::lock;
use crate::config::Route;
use crate::engine::account::Narrator;
use crate::engine::{Engine, Progress};
use crate::model::{ItemKey, Link, LinkStatus, PassId, Place, RouteName, Side, TaskGid};
use crate::provider::Found;
use crate::reconcile::Repair;
use crate::store::Due;
use crate::workshop::Workshop;

/// A route by its name.
pub(super) fn route<'a>(works: &'a Workshop, name: &RouteName) -> Result<&'a Route, Fault> {
    works.config.routes.iter().find(|route| route.name == *name).ok_or_else(|| {
        let names: Vec<&str> = works.config.routes.iter().map(|route| route.name.as_str()).collect();
        Fault::not_found(format!("no route {name} is configured; there are: {}", names.join(", ")))
    })
}

/// The routes asked for: the one named, or all.
pub(super) fn routes<'a>(works: &'a Workshop, named: Option<&RouteName>) -> Result<Vec<&'a Route>, Fault> {
    match named {
        Some(name) => Ok(vec![route(works, name)?]),
        None => Ok(works.config.routes.iter().collect()),
    }
}

/// The pair of a task, unless it is retired.
pub(super) fn link(works: &Workshop, task: &TaskGid) -> Result<Option<Link>, Fault> {
    let link = works.store.link_of(&ItemKey::Task(task.clone()))?;
    Ok(link.filter(|link| link.status != LinkStatus::Retired))
}

/// The route a task stands on: that of its pair, else the one whose project holds it, which Asana is asked.
pub(super) fn route_of<'a>(works: &'a Workshop, task: &TaskGid, named: Option<&RouteName>) -> Result<&'a Route, Fault> {
    let key = ItemKey::Task(task.clone());
    if let Some(link) = works.store.link_of(&key)? {
        if named.is_some_and(|named| *named != link.route) {
            let message = format!("{key} is linked on route {}; name that one, or none", link.route);
            return Err(Fault::new(Code::Conflict, message));
        }
        return works.config.routes.iter().find(|route| route.name == link.route).ok_or_else(|| {
            let message = format!("{key} is linked on route {}, which is not configured (any more)", link.route);
            Fault::new(Code::Conflict, message)
        });
    }
    let (mut holds, mut elsewhere, mut failed) = (Vec::new(), false, None);
    for route in routes(works, named)? {
        let tracker = works.urgent_engine(route, Arc::new(crate::engine::Quiet))?.providers.tracker;
        match tracker.item(&key) {
            Ok(Found::Here(item)) if item.place == Place::Here => holds.push(route),
            Ok(Found::Here(_)) => elsewhere = true,
            Ok(Found::Moved(_) | Found::Gone | Found::NotAnItem) => {}
            Ok(Found::Unseen(why)) => failed = Some(format!("{key} could not be read: {why}")),
            Err(error) => failed = Some(format!("{}: {error}", Side::Tracker.service())),
        }
    }
    match (holds.as_slice(), failed) {
        ([only], _) => Ok(only),
        ([_, ..], _) => {
            let names: Vec<&str> = holds.iter().map(|route| route.name.as_str()).collect();
            let message = format!("{key} stands on several routes; say which with `route`: {}", names.join(", "));
            Err(Fault::new(Code::Conflict, message))
        }
        ([], Some(why)) => Err(Fault::new(Code::ProviderFailed, why)),
        ([], None) if elsewhere => {
            let projects = works.config.routes.iter().map(|route| format!("{} (route {})", route.project, route.name));
            let projects: Vec<String> = projects.collect();
            Err(Fault::not_found(format!(
                "{key} is in no project of a route; add it to one of these in Asana and ask again: {}",
                projects.join(", ")
            )))
        }
        ([], None) => Err(Fault::not_found(format!("{key} is not there: deleted, or it never was"))),
    }
}

/// An engine for one call: with a name of its own among those who hold leases, because a lease is handed over to
/// whoever has the name of its holder, and a pass of the service may be at work under the process's.
pub(super) fn engine(
    works: &Workshop,
    route: &Route,
    request: &str,
    actor: &str,
    progress: Arc<dyn Progress>,
) -> Result<Engine, Fault> {
    Ok(under(works.urgent_engine(route, progress)?, works, request, actor))
}

/// The same engine for a call, in its name.
pub(super) fn under(engine: Engine, works: &Workshop, request: &str, actor: &str) -> Engine {
    Engine { holder: format!("{}/api-{request}", works.holder), actor: actor.to_owned(), ..engine }
}

/// Hears what becomes of one item in a pass that may visit others too.
pub(super) struct Witness {
    narrator: Narrator,
    item: ItemKey,
    failed: Mutex<Option<String>>,
}

impl Witness {
    pub(super) fn new(works: &Workshop, route: &Route, request: &str, item: ItemKey) -> Arc<Self> {
        let narrator = Narrator::new(route.name.clone(), works.store.clone(), false).on_request(request);
        Arc::new(Self { narrator, item, failed: Mutex::default() })
    }

    /// What went wrong with the item, if anything did.
    pub(super) fn failed(&self) -> Option<String> {
        lock(&self.failed).clone()
    }
}

impl Progress for Witness {
    fn heard(&self, dues: &[Due]) {
        self.narrator.heard(dues);
    }

    fn observed(&self, side: Side, items: u64) {
        self.narrator.observed(side, items);
    }

    fn planned(&self, repairs: usize) {
        self.narrator.planned(repairs);
    }

    fn repaired(&self, pass: PassId, repair: &Repair, done: Result<(), &str>) {
        if about(repair, &self.item) {
            *lock(&self.failed) = done.err().map(str::to_owned);
        }
        self.narrator.repaired(pass, repair, done);
    }
}

/// Whether a repair is about an item.
pub(super) fn about(repair: &Repair, item: &ItemKey) -> bool {
    repair.items.iter().any(|(_, key)| key.as_ref() == Some(item))
}
