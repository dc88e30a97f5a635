//! Tasks shown: pairs a page at a time, and one explained as `why` does.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::json;

use super::ask::{Query, gid};
use super::fault::Fault;
use super::find;
use super::page::page;
use crate::model::{Field, ItemKey, Link, LinkId, LinkStatus, RouteName, Side, Status, Timestamp, Waiting};
use crate::server::message::{Answer, Head};
use crate::store::{Due, LinkFilter};
use crate::workshop::Workshop;

/// A pair in a list.
#[derive(Serialize)]
struct Listed {
    #[serde(skip)]
    id: LinkId,
    task: ItemKey,
    issue: ItemKey,
    route: RouteName,
    /// What the pair is good for.
    link: LinkStatus,
    /// What both last agreed on; none before they first did.
    title: Option<String>,
    status: Option<Status>,
    /// Whether something is due, parked, or waits for a person.
    mismatch: bool,
    parked: bool,
    waiting: BTreeMap<Field, Waiting>,
    due: Vec<Due>,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl Listed {
    fn new(link: Link, due: Vec<Due>) -> Self {
        let (task, issue) = (link.key(Side::Tracker), link.key(Side::Forge));
        let Link { id, route, status, base, waiting, created_at, updated_at, .. } = link;
        let agreed = base.map(|base| (base.title, base.status));
        Self {
            id,
            task,
            issue,
            route,
            link: status,
            status: agreed.as_ref().map(|(_, status)| *status),
            title: agreed.map(|(title, _)| title),
            mismatch: !due.is_empty() || !waiting.is_empty(),
            parked: due.iter().any(|due| due.parked_at.is_some()),
            waiting,
            due,
            created_at,
            updated_at,
        }
    }
}

/// `GET /api/tasks`
pub(super) fn list(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route", "status", "link", "mismatch", "parked", "limit", "cursor"])?;
    let route = query.route()?;
    let filter = LinkFilter {
        route: route.as_ref(),
        link: query.word("link", &LinkStatus::ALL.map(|link| (link.as_str(), link)))?,
        status: query.word("status", &[Status::Open, Status::Done, Status::Dropped].map(|one| (one.as_str(), one)))?,
        mismatch: query.flag("mismatch")?,
        parked: query.flag("parked")?,
        after: query.cursor()?.map(LinkId),
        limit: query.limit()? + 1,
    };
    let links = works.store.find_links(&filter)?;
    let mut items: BTreeMap<RouteName, Vec<ItemKey>> = BTreeMap::new();
    for link in &links {
        items.entry(link.route.clone()).or_default().extend(Side::BOTH.map(|side| link.key(side)));
    }
    let mut dues: BTreeMap<(RouteName, ItemKey), Due> = BTreeMap::new();
    for (route, items) in items {
        let found = works.store.dues_of(&route, &items)?;
        dues.extend(found.into_iter().map(|due| ((route.clone(), due.item.clone()), due)));
    }
    let listed: Vec<Listed> = links
        .into_iter()
        .map(|link| {
            let due = Side::BOTH.into_iter().filter_map(|side| dues.remove(&(link.route.clone(), link.key(side))));
            let due = due.collect();
            Listed::new(link, due)
        })
        .collect();
    page(&query, "tasks", listed, |listed| listed.id.0)
}

/// `GET /api/tasks/{gid}`
pub(super) fn explain(works: &Workshop, name: &str, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route"])?;
    let named = query.route()?;
    let task = gid("the task's gid", name)?;
    let route = find::route_of(works, &task, named.as_ref())?;
    let explained = works.urgent_engine(route, std::sync::Arc::new(crate::engine::Quiet))?;
    let explained = explained.explain(&ItemKey::Task(task))?;
    Ok(Answer::json(200, &json!({ "route": route.name, "explained": explained })))
}
