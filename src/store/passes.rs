//! Passes: when each began and ended, who called for it, and what came of it.

use std::collections::BTreeSet;

use diesel::prelude::*;

use super::backend::on;
use super::error::Fault;
use super::schema::{history, passes};
use super::verbatim::{AtMostDsl, KeptDsl};
use super::{Pass, PassEnd, PassStart, Store, StoreError, columns};
use crate::model::{PassId, RouteName, Timestamp};

/// Rows removed in one transaction.
const PRUNED_AT_ONCE: u32 = 1_000;
/// Passes read at a time when they are counted through.
const PAGE: u32 = 500;

#[derive(Queryable, Selectable)]
#[diesel(table_name = passes)]
struct PassRow {
    id: i64,
    route: String,
    kind: String,
    cause: String,
    actor: String,
    started_at: i64,
    ended_at: Option<i64>,
    result: Option<String>,
}

impl PassRow {
    fn pass(self) -> Result<Pass, Fault> {
        let Self { id, route, kind, cause, actor, started_at, ended_at, result } = self;
        let what = format_args!("pass {id}");
        Ok(Pass {
            id: PassId(id),
            route: columns::parse(what, &route)?,
            start: PassStart { kind, cause, actor },
            started_at: columns::moment(what, started_at)?,
            ended_at: columns::moment_if(what, ended_at)?,
            end: result.map(|result| columns::from_json(what, &result)).transpose()?,
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = passes)]
struct PassInsert<'a> {
    route: &'a str,
    kind: String,
    cause: String,
    actor: String,
    started_at: i64,
}

impl Store {
    /// Writes down that a pass begins.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_pass(&self, route: &RouteName, start: &PassStart, now: Timestamp) -> Result<PassId, StoreError> {
        let PassStart { kind, cause, actor } = start;
        let row = PassInsert {
            route: route.as_str(),
            kind: columns::clean(kind),
            cause: columns::clean(cause),
            actor: columns::clean(actor),
            started_at: columns::millis(now),
        };
        self.backend.write(format_args!("route {route}: beginning a pass"), |conn| {
            let id: i64 =
                on!(conn, |c| diesel::insert_into(passes::table).values(&row).returning(passes::id).get_result(c))?;
            Ok(PassId(id))
        })
    }

    /// Writes down how a pass ended.
    ///
    /// # Errors
    /// When there is no such pass, and when the database fails.
    pub fn end_pass(&self, id: PassId, end: &PassEnd, now: Timestamp) -> Result<(), StoreError> {
        self.backend.write(format_args!("ending pass {id}"), |conn| {
            let result = columns::to_json("a pass", end)?;
            let changed: Option<i64> = on!(conn, |c| diesel::update(passes::table.filter(passes::id.eq(id.0)))
                .set((passes::ended_at.eq(columns::millis(now)), passes::result.eq(&result)))
                .returning(passes::id)
                .kept()
                .get_result(c)
                .optional())?;
            if changed.is_some() { Ok(()) } else { Err(Fault::garbled(format_args!("pass {id}"), "it is not there")) }
        })
    }

    /// The last passes, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn passes(&self, route: Option<&RouteName>, limit: u32) -> Result<Vec<Pass>, StoreError> {
        self.backend.read("reading the passes", |conn| {
            let rows: Vec<PassRow> = on!(conn, |c| {
                let mut query = passes::table.select(PassRow::as_select()).into_boxed();
                if let Some(route) = route {
                    query = query.filter(passes::route.eq(route.as_str()));
                }
                query.order(passes::id.desc()).limit(i64::from(limit)).load(c)
            })?;
            rows.into_iter().map(PassRow::pass).collect()
        })
    }

    /// The passes of these kinds that began since `from`, among the newest `limit` of the route.
    ///
    /// # Errors
    /// When the database fails.
    pub fn passes_since(
        &self,
        route: &RouteName,
        kinds: &[&str],
        from: Timestamp,
        limit: u32,
    ) -> Result<BTreeSet<PassId>, StoreError> {
        self.backend.read(format_args!("route {route}: reading the latest passes"), |conn| {
            let rows: Vec<(i64, String, i64)> = on!(conn, |c| passes::table
                .select((passes::id, passes::kind, passes::started_at))
                .filter(passes::route.eq(route.as_str()))
                .order(passes::id.desc())
                .at_most(limit)
                .load(c))?;
            let new = rows.into_iter().take_while(|(.., started)| *started >= columns::millis(from));
            Ok(new.filter(|(_, kind, _)| kinds.contains(&kind.as_str())).map(|(id, ..)| PassId(id)).collect())
        })
    }

    /// Removes passes that ended before `until` and changed nothing, a bounded number in each transaction: with
    /// webhooks there is one for every delivery. Answers how many went.
    ///
    /// # Errors
    /// When the database fails.
    pub fn prune_passes(&self, until: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let removed = self.backend.write("removing old passes", |conn| {
                let ids: Vec<i64> = on!(conn, |c| passes::table
                    .select(passes::id)
                    .filter(passes::ended_at.lt(columns::millis(until)))
                    .filter(diesel::dsl::not(diesel::dsl::exists(history::table.filter(history::pass.eq(passes::id)))))
                    .at_most(PRUNED_AT_ONCE)
                    .load(c))?;
                Ok(on!(conn, |c| diesel::delete(passes::table.filter(passes::id.eq_any(&ids))).execute(c))?)
            })?;
            gone += u64::try_from(removed).unwrap_or(0);
            if u32::try_from(removed).unwrap_or(u32::MAX) < PRUNED_AT_ONCE {
                return Ok(gone);
            }
        }
    }

    /// The sum of one count (as `unheard`) over the passes of a route that began at `from` or later.
    ///
    /// # Errors
    /// When the database fails.
    pub fn sum_of_passes(&self, route: &RouteName, count: &str, from: Timestamp) -> Result<u64, StoreError> {
        self.backend.read(format_args!("route {route}: counting through its passes"), |conn| {
            let (mut sum, mut before) = (0_u64, i64::MAX);
            loop {
                let rows: Vec<PassRow> = on!(conn, |c| passes::table
                    .select(PassRow::as_select())
                    .filter(passes::route.eq(route.as_str()))
                    .filter(passes::id.lt(before))
                    .order(passes::id.desc())
                    .at_most(PAGE)
                    .load(c))?;
                let full = rows.len() == usize::try_from(PAGE).unwrap_or(0);
                for row in rows {
                    before = row.id;
                    let pass = row.pass()?;
                    if pass.started_at < from {
                        return Ok(sum);
                    }
                    sum = sum.saturating_add(pass.end.map_or(0, |end| end.counts.get(count).copied().unwrap_or(0)));
                }
                if !full {
                    return Ok(sum);
                }
            }
        })
    }

    /// One pass.
    ///
    /// # Errors
    /// When the database fails.
    pub fn pass(&self, id: PassId) -> Result<Option<Pass>, StoreError> {
        self.backend.read(format_args!("reading pass {id}"), |conn| {
            let row: Option<PassRow> = on!(conn, |c| passes::table
                .select(PassRow::as_select())
                .filter(passes::id.eq(id.0))
                .get_result(c)
                .optional())?;
            row.map(PassRow::pass).transpose()
        })
    }
}
