//! Fields that wait for a person, a page of pairs at a time.

use serde::Serialize;

use super::ask::Query;
use super::fault::Fault;
use super::page::page;
use crate::engine::{Conflict, Overlap};
use crate::model::{Field, ItemKey, Link, LinkId, RouteName, Side, Waiting};
use crate::server::message::{Answer, Head};
use crate::workshop::Workshop;

/// What waits of one pair.
#[derive(Serialize)]
struct Pair {
    #[serde(skip)]
    id: LinkId,
    task: ItemKey,
    issue: ItemKey,
    route: RouteName,
    title: Option<String>,
    fields: Vec<Question>,
}

/// One field that waits.
#[derive(Serialize)]
struct Question {
    field: Field,
    seen: String,
    #[serde(flatten)]
    waiting: Waiting,
    overlaps: Vec<Overlap>,
}

impl Pair {
    fn new(link: &Link) -> Self {
        let question = |conflict| {
            let Conflict { field, seen, waiting, overlaps, .. } = conflict;
            Question { field, seen, waiting, overlaps }
        };
        Self {
            id: link.id,
            task: link.key(Side::Tracker),
            issue: link.key(Side::Forge),
            route: link.route.clone(),
            title: link.base.as_ref().map(|base| base.title.clone()),
            fields: Conflict::all(link).into_iter().map(question).collect(),
        }
    }
}

/// `GET /api/conflicts`
pub(super) fn list(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route", "limit", "cursor"])?;
    let route = query.route()?;
    let after = query.cursor()?.map_or(LinkId(0), LinkId);
    let links = works.store.waiting_links_after(route.as_ref(), after, query.limit()? + 1)?;
    page(&query, "conflicts", links.iter().map(Pair::new).collect(), |pair: &Pair| pair.id.0)
}
