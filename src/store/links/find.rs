//! Links looked for by what became of them, a page at a time.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;

use super::{LinkRow, into_links};
use crate::model::{Link, LinkId, LinkStatus, RouteName, Status};
use crate::store::backend::on;
use crate::store::schema::links;
use crate::store::{Store, StoreError};

/// Which links to find; unset fields match all.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkFilter<'a> {
    /// Of one route.
    pub route: Option<&'a RouteName>,
    /// What the link is good for.
    pub link: Option<LinkStatus>,
    /// The status that both last agreed on.
    pub status: Option<Status>,
    /// Whether one of the items is due or parked, or a field waits for a person.
    pub mismatch: Option<bool>,
    /// Whether one of the items is parked.
    pub parked: Option<bool>,
    /// Those after this row.
    pub after: Option<LinkId>,
    /// At most so many.
    pub limit: u32,
}

/// Whether an item of the link is due: `due` has an index over both columns. The keys are spelled as `columns::key`
/// spells them.
macro_rules! due {
    ($and:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM due WHERE due.route = links.route AND due.item_key IN ('asana:' || links.task, \
             'github:' || links.repo_key || '#' || links.number)",
            $and,
            ")"
        )
    };
}

const PARKED: &str = due!(" AND due.parked_at IS NOT NULL");
const NOT_PARKED: &str = concat!("NOT ", due!(" AND due.parked_at IS NOT NULL"));
const MISMATCH: &str = concat!("(links.waiting IS NOT NULL OR ", due!(""), ")");
const IN_STEP: &str = concat!("(links.waiting IS NULL AND NOT ", due!(""), ")");

impl Store {
    /// Links by id that pass a filter.
    ///
    /// # Errors
    /// When the database fails.
    pub fn find_links(&self, filter: &LinkFilter<'_>) -> Result<Vec<Link>, StoreError> {
        let LinkFilter { route, link, status, mismatch, parked, after, limit } = *filter;
        self.backend.read("looking for links", |conn| {
            let rows: Vec<LinkRow> = on!(conn, |c| {
                let mut query = links::table.select(LinkRow::as_select()).into_boxed();
                if let Some(route) = route {
                    query = query.filter(links::route.eq(route.as_str()));
                }
                if let Some(link) = link {
                    query = query.filter(links::status.eq(link.as_str()));
                }
                if let Some(status) = status {
                    // The base is JSON as we write it: inside a text its quotes would have backslashes before them.
                    query = query.filter(links::base.like(format!("%\"status\":\"{status}\"%")));
                }
                if let Some(mismatch) = mismatch {
                    query = query.filter(sql::<Bool>(if mismatch { MISMATCH } else { IN_STEP }));
                }
                if let Some(parked) = parked {
                    query = query.filter(sql::<Bool>(if parked { PARKED } else { NOT_PARKED }));
                }
                query
                    .filter(links::id.gt(after.map_or(0, |after| after.0)))
                    .order(links::id)
                    .limit(i64::from(limit))
                    .load(c)
            })?;
            into_links(rows)
        })
    }
}
