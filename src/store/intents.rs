//! Intents: what is about to be created on a side, announced before the request leaves.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use diesel::upsert::excluded;

use super::among::{LONGEST, among};
use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::intents;
use super::verbatim::{AtMostDsl, KeptDsl};
use super::{Intent, IntentKind, Lease, NewIntent, Store, StoreError, columns, leases, links};
use crate::model::{IntentId, ItemKey, RouteName, Timestamp};

#[derive(Queryable, Selectable)]
#[diesel(table_name = intents)]
struct IntentRow {
    id: i64,
    route: String,
    kind: String,
    source: String,
    marker: String,
    opened_at: i64,
    tried_at: i64,
    sent: Option<String>,
}

impl IntentRow {
    fn intent(self) -> Result<Intent, Fault> {
        let Self { id, route, kind, source, marker, opened_at, tried_at, sent } = self;
        let what = format_args!("intent {id}");
        Ok(Intent {
            id: IntentId(id),
            route: columns::parse(what, &route)?,
            kind: columns::intent_kind(what, &kind)?,
            source: columns::parse(what, &source)?,
            marker: columns::parse(what, &marker)?,
            opened_at: columns::moment(what, opened_at)?,
            tried_at: columns::moment(what, tried_at)?,
            sent: sent.map(|sent| columns::from_json(what, &sent)).transpose()?,
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = intents)]
struct IntentInsert<'a> {
    route: &'a str,
    kind: &'a str,
    source: String,
    source_key: String,
    marker: String,
    opened_at: i64,
    tried_at: i64,
    sent: Option<String>,
}

impl Store {
    /// Announces a creation, durably, before its request leaves. One that is open for the same kind and source is
    /// tried again: its id, with a new `tried_at` and what is sent now.
    ///
    /// # Errors
    /// `LostLease` when the lease is no longer ours, `Claimed` when the item that should get a partner was linked since
    /// it was looked at, on whatever route, or when another route announced the same; and when the database fails.
    pub fn open_intent(&self, lease: &Lease, intent: &NewIntent<'_>, now: Timestamp) -> Result<IntentId, StoreError> {
        let route = &lease.route;
        let NewIntent { kind, source, marker, sent } = intent;
        self.backend.write(format_args!("route {route}: announcing a creation for {source}"), |conn| {
            leases::fence(conn, lease)?;
            if *kind != IntentKind::Comment {
                queue(conn, *kind, source)?;
                unclaimed(conn, route, *kind, source)?;
            }
            let row = IntentInsert {
                route: route.as_str(),
                kind: kind.as_str(),
                source: source.to_string(),
                source_key: columns::key(source),
                marker: marker.to_string(),
                opened_at: columns::millis(now),
                tried_at: columns::millis(now),
                sent: sent.map(|sent| columns::to_json("what is sent", sent)).transpose()?,
            };
            let id: i64 = on!(conn, |c| diesel::insert_into(intents::table)
                .values(&row)
                .on_conflict((intents::route, intents::kind, intents::source_key))
                .do_update()
                .set((
                    intents::tried_at.eq(excluded(intents::tried_at)),
                    intents::marker.eq(excluded(intents::marker)),
                    intents::sent.eq(excluded(intents::sent))
                ))
                .returning(intents::id)
                .kept()
                .get_result(c))?;
            Ok(IntentId(id))
        })
    }

    /// The open intents of a route, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn intents(&self, route: &RouteName) -> Result<Vec<Intent>, StoreError> {
        self.backend.read(format_args!("route {route}: reading open intents"), |conn| {
            let rows: Vec<IntentRow> = on!(conn, |c| intents::table
                .select(IntentRow::as_select())
                .filter(intents::route.eq(route.as_str()))
                .order(intents::id)
                .load(c))?;
            rows.into_iter().map(IntentRow::intent).collect()
        })
    }
}

/// Waits for whoever announces the same on another route, so that the later one sees what the earlier one wrote. SQLite
/// has one writer, and needs no more.
///
/// Nobody waits in a circle: who waits here holds the row of their own route's lease, and who has this lock takes no
/// other.
fn queue(conn: &mut Conn<'_>, kind: IntentKind, source: &ItemKey) -> Result<(), Fault> {
    if let Conn::Postgres(conn) = conn {
        let creation = format!("{} {}", kind.as_str(), columns::key(source));
        sql_query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))").bind::<Text, _>(creation).execute(*conn)?;
    }
    Ok(())
}

/// Refuses a creation for an item that has a partner by now, or for which another route has announced one. Two routes may
/// share a project or a repository, and a person may have linked it by hand; each has a lease of its own.
///
/// The intents first: one that is closed by now was so by the transaction that made the link, which is then seen. The
/// other way round, both could go unseen.
fn unclaimed(conn: &mut Conn<'_>, route: &RouteName, kind: IntentKind, source: &ItemKey) -> Result<(), Fault> {
    let claimed = |route: RouteName| Fault::Told(StoreError::Claimed { item: source.clone(), route });
    let elsewhere: Option<String> = on!(conn, |c| intents::table
        .select(intents::route)
        .filter(intents::source_key.eq(columns::key(source)))
        .filter(intents::kind.eq(kind.as_str()))
        .filter(intents::route.ne(route.as_str()))
        .at_most(1)
        .get_result(c)
        .optional())?;
    if let Some(route) = elsewhere {
        return Err(claimed(columns::parse(format_args!("the route of an intent for {source}"), &route)?));
    }
    match links::live_link(conn, source)? {
        Some(link) => Err(claimed(link.route)),
        None => Ok(()),
    }
}

/// Settles intents; one that is settled already is left at that.
pub(super) fn close(conn: &mut Conn<'_>, route: &RouteName, ids: &[IntentId]) -> Result<(), Fault> {
    let ids: Vec<i64> = ids.iter().map(|id| id.0).collect();
    for ids in ids.chunks(LONGEST) {
        on!(conn, |c| diesel::delete(
            intents::table.filter(intents::route.eq(route.as_str())).filter(among(intents::id, ids))
        )
        .execute(c))?;
    }
    Ok(())
}
