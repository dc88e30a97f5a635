//! Dues: items waiting to be visited, and the parked ones that wait for a person.

use std::collections::{BTreeMap, BTreeSet};

use diesel::dsl::case_when;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::upsert::excluded;

use super::among::{LONGEST, among};
use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::due;
use super::verbatim::{AtMostDsl, Condition, KeptDsl};
use super::{Due, Lease, NewDue, Store, StoreError, columns, leases};
use crate::model::{ItemKey, RouteName, Timestamp};

/// Rows or keys in one statement.
const CHUNK: usize = 500;

/// What was rung for and not taken up. As a part of the text: an index hangs on it, see [`super::verbatim`].
const RUNG: Condition = Condition("rung = 1");

/// What was not rung for, or was taken up since.
const NOT_RUNG: Condition = Condition("rung = 0");

#[derive(Queryable, Selectable)]
#[diesel(table_name = due)]
struct DueRow {
    id: i64,
    route: String,
    item: String,
    reason: String,
    not_before: i64,
    attempts: i64,
    last_error: Option<String>,
    parked_at: Option<i64>,
    since: i64,
    rung: i64,
    request: Option<String>,
}

impl DueRow {
    fn due(self) -> Result<Due, Fault> {
        let Self { id, route, item, reason, not_before, attempts, last_error, parked_at, since, rung, request } = self;
        let what = format_args!("due item {id}");
        Ok(Due {
            id,
            route: columns::parse(what, &route)?,
            item: columns::parse(what, &item)?,
            reason,
            not_before: columns::moment(what, not_before)?,
            attempts: columns::count(what, attempts)?,
            last_error,
            parked_at: columns::moment_if(what, parked_at)?,
            since: columns::moment(what, since)?,
            rung: rung != 0,
            request,
        })
    }
}

fn into_dues(rows: Vec<DueRow>) -> Result<Vec<Due>, Fault> {
    rows.into_iter().map(DueRow::due).collect()
}

impl Store {
    /// The items of a route that may be visited at `now`: not parked, longest due first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn due(&self, route: &RouteName, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError> {
        self.backend.read(format_args!("route {route}: reading what is due"), |conn| {
            let rows: Vec<DueRow> = on!(conn, |c| due::table
                .select(DueRow::as_select())
                .filter(due::route.eq(route.as_str()))
                .filter(due::parked_at.is_null())
                .filter(due::not_before.le(columns::millis(now)))
                .order((due::not_before, due::id))
                .at_most(limit)
                .load(c))?;
            into_dues(rows)
        })
    }

    /// When the next item of any route may be visited: `now` if one may already, `None` if none is due.
    ///
    /// # Errors
    /// When the database fails.
    pub fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.backend.read("looking when something is due", |conn| {
            let next: Option<i64> = on!(conn, |c| due::table
                .select(due::not_before)
                .filter(due::parked_at.is_null())
                .order(due::not_before)
                .at_most(1)
                .get_result(c)
                .optional())?;
            Ok(columns::moment_if("what is due next", next)?.map(|next| next.max(now)))
        })
    }

    /// Rings for items: makes them due for a trigger or an operator, in the name of `request`. Needs no lease.
    ///
    /// See [`NewDue`] for one that is due already; a parked one stays parked, with what it was parked for, and one that
    /// failed keeps its wait. What is rung stays due until a pass has taken it up ([`Store::take_up`]) and only then
    /// cleared it, so that a wake-up that comes during a visit is not lost with it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn ring(
        &self,
        route: &RouteName,
        dues: &[NewDue],
        request: Option<&str>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.backend.write(format_args!("route {route}: making {} items due", dues.len()), |conn| {
            leases::queue(conn, route)?;
            let rung: Vec<Rung<'_>> = dues.iter().map(|due| Rung { due: due.clone(), request, now }).collect();
            make_rung(conn, route, &rung)
        })
    }

    /// The items of a route that were rung for, may be visited at `now` and were not taken up, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn rung(&self, route: &RouteName, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError> {
        self.backend.read(format_args!("route {route}: reading what was rung for"), |conn| {
            let rows: Vec<DueRow> = on!(conn, |c| due::table
                .select(DueRow::as_select())
                .filter(due::route.eq(route.as_str()))
                .filter(RUNG)
                .filter(due::parked_at.is_null())
                .filter(due::not_before.le(columns::millis(now)))
                .order(due::id)
                .at_most(limit)
                .load(c))?;
            into_dues(rows)
        })
    }

    /// Takes rung items up, before they are read: whoever rings from now on rings anew. Answers those among them
    /// that nobody else took up meanwhile. They stay due until they are cleared.
    ///
    /// # Errors
    /// `LostLease` when the lease is no longer ours, and when the database fails.
    pub fn take_up(&self, lease: &Lease, dues: Vec<Due>) -> Result<Vec<Due>, StoreError> {
        let route = &lease.route;
        if dues.is_empty() {
            return Ok(dues);
        }
        let ids: Vec<i64> = dues.iter().map(|due| due.id).collect();
        let taken: BTreeSet<i64> =
            self.backend.write(format_args!("route {route}: taking up {} items", ids.len()), |conn| {
                leases::fence(conn, lease)?;
                let mut taken = BTreeSet::new();
                for ids in ids.chunks(LONGEST) {
                    let rows: Vec<i64> =
                        on!(conn, |c| diesel::update(due::table.filter(among(due::id, ids)).filter(RUNG))
                            .set(due::rung.eq(0))
                            .returning(due::id)
                            .kept()
                            .get_results(c))?;
                    taken.extend(rows);
                }
                Ok(taken)
            })?;
        Ok(dues.into_iter().filter(|due| taken.contains(&due.id)).collect())
    }

    /// What is due of these items on a route, parked or not, in the order of the rows.
    ///
    /// # Errors
    /// When the database fails.
    pub fn dues_of(&self, route: &RouteName, items: &[ItemKey]) -> Result<Vec<Due>, StoreError> {
        let keys: BTreeSet<String> = items.iter().map(columns::key).collect();
        let keys: Vec<String> = keys.into_iter().collect();
        self.backend.read(format_args!("route {route}: looking which of {} items are due", items.len()), |conn| {
            let mut rows: Vec<DueRow> = Vec::new();
            for keys in keys.chunks(LONGEST) {
                rows.extend::<Vec<DueRow>>(on!(conn, |c| due::table
                    .select(DueRow::as_select())
                    .filter(due::route.eq(route.as_str()))
                    .filter(among(due::item_key, keys))
                    .load(c))?);
            }
            rows.sort_unstable_by_key(|row| row.id);
            into_dues(rows)
        })
    }

    /// How many items of a route are due, parked ones aside.
    ///
    /// # Errors
    /// When the database fails.
    pub fn count_due(&self, route: &RouteName) -> Result<u64, StoreError> {
        self.backend.read(format_args!("route {route}: counting what is due"), |conn| {
            let count: i64 = on!(conn, |c| due::table
                .filter(due::route.eq(route.as_str()))
                .filter(due::parked_at.is_null())
                .count()
                .get_result(c))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
    }

    /// How often an item of a route that is due (not parked) has failed since it fell due; 0 when it is not due.
    ///
    /// # Errors
    /// When the database fails.
    pub fn attempts(&self, route: &RouteName, item: &ItemKey) -> Result<u32, StoreError> {
        self.backend.read(format_args!("route {route}: looking how often {item} failed"), |conn| {
            let attempts: Option<i64> = on!(conn, |c| due::table
                .select(due::attempts)
                .filter(due::route.eq(route.as_str()))
                .filter(due::item_key.eq(columns::key(item)))
                .filter(due::parked_at.is_null())
                .get_result(c)
                .optional())?;
            columns::count(format_args!("due item {item}"), attempts.unwrap_or(0))
        })
    }

    /// The parked items, the first parked first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn parked(&self, route: Option<&RouteName>) -> Result<Vec<Due>, StoreError> {
        self.backend.read("reading the parked items", |conn| {
            let rows: Vec<DueRow> = on!(conn, |c| {
                let mut query =
                    due::table.select(DueRow::as_select()).filter(due::parked_at.is_not_null()).into_boxed();
                if let Some(route) = route {
                    query = query.filter(due::route.eq(route.as_str()));
                }
                query.order((due::parked_at, due::id)).load(c)
            })?;
            into_dues(rows)
        })
    }

    /// One due item, parked or not, by its row.
    ///
    /// # Errors
    /// When the database fails.
    pub fn due_row(&self, id: i64) -> Result<Option<Due>, StoreError> {
        self.backend.read(format_args!("reading due item {id}"), |conn| {
            let row: Option<DueRow> =
                on!(conn, |c| due::table.select(DueRow::as_select()).filter(due::id.eq(id)).get_result(c).optional())?;
            row.map(DueRow::due).transpose()
        })
    }

    /// Takes a parked item back among the due ones, at once and with no attempt counted. False if it is not parked.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unpark(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        self.backend.write(format_args!("taking back due item {id}"), |conn| {
            let changed =
                on!(conn, |c| diesel::update(due::table.filter(due::id.eq(id)).filter(due::parked_at.is_not_null()))
                    .set((
                        due::parked_at.eq(None::<i64>),
                        due::attempts.eq(0),
                        due::not_before.eq(columns::millis(now))
                    ))
                    .execute(c))?;
            Ok(changed == 1)
        })
    }

    /// Drops a due item, parked or not. False if it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn drop_due(&self, id: i64) -> Result<bool, StoreError> {
        self.backend.write(format_args!("dropping due item {id}"), |conn| {
            Ok(on!(conn, |c| diesel::delete(due::table.filter(due::id.eq(id))).execute(c))? == 1)
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = due, treat_none_as_default_value = false)]
struct DueInsert<'a> {
    route: &'a str,
    item: String,
    item_key: String,
    reason: String,
    not_before: i64,
    attempts: i64,
    last_error: Option<String>,
    parked_at: Option<i64>,
    since: i64,
    rung: i64,
    request: Option<String>,
}

/// An item that a trigger or an operator asks for, in the name of which request, and when.
pub(super) struct Rung<'a> {
    pub(super) due: NewDue,
    pub(super) request: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// Clears `cleared`, then makes `dues` due. An item in both is due anew, but keeps the time since when it waits.
/// What was rung for and not taken up is not cleared: it may have moved after it was looked at.
pub(super) fn replace(
    conn: &mut Conn<'_>,
    route: &RouteName,
    cleared: &[ItemKey],
    dues: &[NewDue],
    now: Timestamp,
) -> Result<(), Fault> {
    let keys: BTreeSet<String> = cleared.iter().map(columns::key).collect();
    let again: Vec<String> = dues.iter().map(|one| columns::key(&one.item)).filter(|key| keys.contains(key)).collect();
    let keys: Vec<String> = keys.into_iter().collect();
    let mut since = BTreeMap::new();
    for again in again.chunks(LONGEST) {
        let rows: Vec<(String, i64)> = on!(conn, |c| due::table
            .select((due::item_key, due::since))
            .filter(due::route.eq(route.as_str()))
            .filter(among(due::item_key, again))
            .load(c))?;
        since.extend(rows);
    }
    for keys in keys.chunks(LONGEST) {
        on!(conn, |c| diesel::delete(
            due::table.filter(due::route.eq(route.as_str())).filter(among(due::item_key, keys)).filter(NOT_RUNG)
        )
        .execute(c))?;
    }
    let rows = dues.iter().map(|one| {
        let row = row(route, one, now);
        DueInsert { since: since.get(&row.item_key).copied().unwrap_or(row.since), ..row }
    });
    add(conn, rows)
}

/// Gives due items the name that `renamed` answers for their key. One that is due under its new name already becomes one
/// with it, and neither forgets what it waits for.
pub(super) fn rename(
    conn: &mut Conn<'_>,
    route: &RouteName,
    renamed: &dyn Fn(&str) -> Result<Option<ItemKey>, Fault>,
) -> Result<(), Fault> {
    let keys: Vec<(i64, String)> =
        on!(conn, |c| due::table.select((due::id, due::item_key)).filter(due::route.eq(route.as_str())).load(c))?;
    let taken: BTreeSet<String> = keys.iter().map(|(_, key)| key.clone()).collect();
    for (id, key) in keys {
        let Some(item) = renamed(&key)? else { continue };
        let key = columns::key(&item);
        let one = due::table.filter(due::id.eq(id));
        if taken.contains(&key) {
            let row: DueRow = on!(conn, |c| one.select(DueRow::as_select()).get_result(c))?;
            on!(conn, |c| diesel::delete(one).execute(c))?;
            let DueRow { reason, not_before, attempts, last_error, parked_at, since, rung, request, .. } = row;
            let route = route.as_str();
            let item = item.to_string();
            let row = DueInsert {
                route,
                item,
                item_key: key,
                reason,
                not_before,
                attempts,
                last_error,
                parked_at,
                since,
                rung,
                request,
            };
            add(conn, std::iter::once(row))?;
        } else {
            on!(conn, |c| diesel::update(one)
                .set((due::item.eq(item.to_string()), due::item_key.eq(&key)))
                .execute(c))?;
        }
    }
    Ok(())
}

/// Makes items due that were rung for.
pub(super) fn make_rung(conn: &mut Conn<'_>, route: &RouteName, rung: &[Rung<'_>]) -> Result<(), Fault> {
    let rows = rung.iter().map(|Rung { due, request, now }| {
        let row = row(route, due, *now);
        DueInsert { rung: i64::from(!due.parked), request: request.map(columns::clean), ..row }
    });
    add(conn, rows)
}

/// The row of an item that falls due now.
fn row<'a>(route: &'a RouteName, due: &NewDue, now: Timestamp) -> DueInsert<'a> {
    let NewDue { item, reason, not_before, attempts, last_error, parked } = due;
    DueInsert {
        route: route.as_str(),
        item: item.to_string(),
        item_key: columns::key(item),
        reason: columns::clean(reason),
        not_before: columns::millis(*not_before),
        attempts: i64::from(*attempts),
        last_error: last_error.as_deref().map(columns::clean),
        parked_at: parked.then_some(columns::millis(now)),
        since: columns::millis(now),
        rung: 0,
        request: None,
    }
}

/// Makes items of one route due.
fn add<'a>(conn: &mut Conn<'_>, dues: impl Iterator<Item = DueInsert<'a>>) -> Result<(), Fault> {
    // By key: rows are locked in one order everywhere, and an item named twice becomes one row.
    let mut rows: BTreeMap<String, DueInsert<'_>> = BTreeMap::new();
    for mut row in dues {
        if let Some(before) = rows.remove(&row.item_key) {
            row.item = before.item;
            row.not_before = row.not_before.min(before.not_before);
            row.attempts = row.attempts.max(before.attempts);
            row.last_error = row.last_error.or(before.last_error);
            row.parked_at = row.parked_at.or(before.parked_at);
            row.since = before.since;
            row.request = row.request.or(before.request);
        }
        rows.insert(row.item_key.clone(), row);
    }
    let rows: Vec<DueInsert<'_>> = rows.into_values().collect();
    for rows in rows.chunks(CHUNK) {
        on!(conn, |c| {
            // Parked, and this is not the parking itself: what it was parked for stays.
            macro_rules! unless_parked {
                ($column:path) => {
                    case_when(due::parked_at.is_not_null().and(excluded(due::parked_at).is_null()), $column)
                        .otherwise(excluded($column))
                };
            }
            diesel::insert_into(due::table)
                .values(rows)
                .on_conflict((due::route, due::item_key))
                .do_update()
                .set((
                    due::reason.eq(unless_parked!(due::reason)),
                    // A ring does not cut short the wait of one that failed: its provider may be down or busy.
                    due::not_before.eq(case_when(
                        excluded(due::not_before)
                            .lt(due::not_before)
                            .and(excluded(due::rung).eq(0).or(due::attempts.eq(0))),
                        excluded(due::not_before),
                    )
                    .otherwise(due::not_before)),
                    // A parked one waits for a person, not for a pass.
                    due::rung.eq(case_when(due::parked_at.is_not_null().or(excluded(due::parked_at).is_not_null()), 0_i64.into_sql::<BigInt>())
                        .when(excluded(due::rung).gt(due::rung), excluded(due::rung))
                        .otherwise(due::rung)),
                    due::request
                        .eq(case_when(excluded(due::request).is_null(), due::request).otherwise(excluded(due::request))),
                    due::attempts.eq(case_when(excluded(due::attempts).gt(due::attempts), excluded(due::attempts))
                        .otherwise(due::attempts)),
                    due::last_error.eq(case_when(excluded(due::last_error).is_null(), due::last_error)
                        .otherwise(unless_parked!(due::last_error))),
                    due::parked_at
                        .eq(case_when(due::parked_at.is_null(), excluded(due::parked_at)).otherwise(due::parked_at)),
                ))
                .execute(c)
        })?;
    }
    Ok(())
}
