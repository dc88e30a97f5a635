//! Fields that wait for a person, a page of pairs at a time.

use serde::Serialize;

use super::ask::Query;
use super::fault::Fault;
use super::find;
use super::page::page;
use crate::engine::Conflict;
use crate::model::LinkId;
use crate::server::message::{Answer, Head};
use crate::workshop::Workshop;

/// What waits of one pair.
#[derive(Serialize)]
struct Pair {
    #[serde(skip)]
    id: LinkId,
    fields: Vec<Conflict>,
}

/// `GET /api/conflicts`
pub(super) fn list(works: &Workshop, head: &Head) -> Result<Answer, Fault> {
    let query = Query::new(head, &["route", "limit", "cursor"])?;
    let route = query.route()?;
    if let Some(route) = &route {
        find::route(works, route)?;
    }
    let after = query.cursor()?.map_or(LinkId(0), LinkId);
    let links = works.store.waiting_links_after(route.as_ref(), after, query.limit()? + 1)?;
    let pairs = links.iter().map(|link| Pair { id: link.id, fields: Conflict::all(link) }).collect();
    page(&query, "conflicts", pairs, |pair: &Pair| pair.id.0)
}
