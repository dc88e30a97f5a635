//! Leases: the right to write for a route, with an end, and a token that tells an old holder from the present one.

use diesel::prelude::*;
use diesel::query_dsl::methods;
use diesel::upsert::excluded;

use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::leases;
use super::verbatim::KeptDsl;
use super::{Lease, Store, StoreError, columns};
use crate::clock::later;
use crate::model::{RouteName, Timestamp};

/// Somebody else holds the lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who, for a person: host, process, command.
    pub holder: String,
    /// Until when, unless it is renewed.
    pub until: Timestamp,
}

/// The row of a lease while it is still held.
macro_rules! ours {
    ($lease:expr) => {
        leases::table
            .filter(leases::route.eq($lease.route.as_str()))
            .filter(leases::holder.eq(&$lease.holder))
            .filter(leases::token.eq($lease.token))
    };
}
#[derive(Insertable)]
#[diesel(table_name = leases)]
struct LeaseInsert<'a> {
    route: &'a str,
    holder: &'a str,
    token: i64,
    until: i64,
}

/// A lease that ends further ahead than this many of ours was given by a clock that was wrong: whoever held it and died
/// would keep the route from all others for as long as that clock was ahead. Replicas' clocks, and the leases that they
/// are configured with, must be apart by far less.
///
/// Whoever meets it lets it end after one of ours. It is not taken at once: its holder may be alive, its clock set back a
/// moment ago, and a write of its under way; then it renews it, by its token.
const BELIEVED: u32 = 10;

impl Store {
    /// Takes the lease of a route, for as long as [`Store::lease`] says, if it is free, ran out at `now`, or is held by
    /// the same `holder`. One that ends further ahead than can be ends after [`Store::lease`] from now on.
    ///
    /// Every success gives out a higher token, so that whoever held it before (also an earlier run of the same holder)
    /// can write no more.
    ///
    /// # Errors
    /// When the database fails. That somebody else holds it is the inner `Err`.
    pub fn acquire(&self, route: &RouteName, holder: &str, now: Timestamp) -> Result<Result<Lease, Held>, StoreError> {
        let holder = columns::clean(holder);
        let now_millis = columns::millis(now);
        let beyond = columns::millis(later(now, self.lease.saturating_mul(BELIEVED)));
        let row = LeaseInsert {
            route: route.as_str(),
            holder: &holder,
            token: 1,
            until: columns::millis(later(now, self.lease)),
        };
        self.backend.write(format_args!("route {route}: taking the lease"), |conn| {
            let token: Option<i64> = on!(conn, |c| {
                let take =
                    diesel::insert_into(leases::table).values(&row).on_conflict(leases::route).do_update().set((
                        leases::holder.eq(excluded(leases::holder)),
                        leases::token.eq(leases::token + 1),
                        leases::until.eq(excluded(leases::until)),
                    ));
                let free = leases::until.le(now_millis).or(leases::holder.eq(excluded(leases::holder)));
                methods::FilterDsl::filter(take, free).returning(leases::token).kept().get_result(c).optional()
            })?;
            if let Some(token) = token {
                return Ok(Ok(Lease { route: route.clone(), holder: holder.clone(), token }));
            }
            let (holder, mut until): (String, i64) = on!(conn, |c| leases::table
                .select((leases::holder, leases::until))
                .filter(leases::route.eq(route.as_str()))
                .get_result(c))?;
            if until > beyond {
                until = row.until;
                on!(conn, |c| diesel::update(leases::table)
                    .filter(leases::route.eq(route.as_str()))
                    .filter(leases::until.gt(beyond))
                    .set(leases::until.eq(until))
                    .execute(c))?;
            }
            Ok(Err(Held { holder, until: columns::moment("the lease", until)? }))
        })
    }

    /// Who holds the lease of a route at `now`; `None` when it is free.
    ///
    /// # Errors
    /// When the database fails.
    pub fn lease_holder(&self, route: &RouteName, now: Timestamp) -> Result<Option<Held>, StoreError> {
        self.backend.read(format_args!("route {route}: looking who holds the lease"), |conn| {
            let row: Option<(String, i64)> = on!(conn, |c| leases::table
                .select((leases::holder, leases::until))
                .filter(leases::route.eq(route.as_str()))
                .filter(leases::until.gt(columns::millis(now)))
                .get_result(c)
                .optional())?;
            row.map(|(holder, until)| Ok(Held { holder, until: columns::moment("the lease", until)? })).transpose()
        })
    }

    /// Tries a write that changes nothing: whether the database takes writes at all.
    ///
    /// # Errors
    /// `ReadOnly`, `Locked` and whatever else keeps a pass from recording what it does.
    pub fn try_writing(&self) -> Result<(), StoreError> {
        self.backend.write("trying whether the database takes writes", |conn| {
            on!(conn, |c| diesel::update(leases::table.filter(leases::route.eq("")))
                .set(leases::until.eq(leases::until))
                .execute(c))?;
            Ok(())
        })
    }

    /// Extends a lease to [`Store::lease`] after `now`.
    ///
    /// # Errors
    /// `LostLease` when somebody else took it, and when the database fails.
    pub fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        let route = &lease.route;
        self.backend.write(format_args!("route {route}: renewing the lease"), |conn| {
            let held: Option<i64> = on!(conn, |c| diesel::update(ours!(lease))
                .set(leases::until.eq(columns::millis(later(now, self.lease))))
                .returning(leases::token)
                .kept()
                .get_result(c)
                .optional())?;
            if held.is_some() { Ok(()) } else { Err(lost(lease)) }
        })
    }

    /// Gives a lease back; one that somebody else took is left alone. The token stays, so that the next is higher.
    ///
    /// # Errors
    /// When the database fails.
    pub fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let route = &lease.route;
        self.backend.write(format_args!("route {route}: releasing the lease"), |conn| {
            let _: Option<i64> = on!(conn, |c| diesel::update(ours!(lease))
                .set((leases::holder.eq(""), leases::until.eq(0)))
                .returning(leases::token)
                .kept()
                .get_result(c)
                .optional())?;
            Ok(())
        })
    }
}

/// Refuses the transaction unless the lease is still ours, and keeps it so until the transaction ends.
///
/// An update that changes nothing locks the row on both databases; nobody can take the lease in between.
pub(super) fn fence(conn: &mut Conn<'_>, lease: &Lease) -> Result<(), Fault> {
    let held: Option<i64> = on!(conn, |c| diesel::update(ours!(lease))
        .set(leases::until.eq(leases::until))
        .returning(leases::token)
        .kept()
        .get_result(c)
        .optional())?;
    if held.is_some() { Ok(()) } else { Err(lost(lease)) }
}

/// Waits for a transaction that holds the route's lease, if there is one, so that two never lock rows crosswise.
pub(super) fn queue(conn: &mut Conn<'_>, route: &RouteName) -> Result<(), Fault> {
    let _: Option<i64> = on!(conn, |c| diesel::update(leases::table.filter(leases::route.eq(route.as_str())))
        .set(leases::until.eq(leases::until))
        .returning(leases::token)
        .kept()
        .get_result(c)
        .optional())?;
    Ok(())
}

fn lost(lease: &Lease) -> Fault {
    Fault::Told(StoreError::LostLease { route: lease.route.clone() })
}
