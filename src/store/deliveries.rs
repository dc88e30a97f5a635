//! Deliveries: webhook bodies that became durable before they were answered, and what they made due.

mod counts;
mod take;

use std::collections::BTreeMap;

use diesel::prelude::*;
use serde::Serialize;

use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::{deliveries, touched};
use super::{Store, StoreError, columns};
use crate::model::{ItemKey, RouteName, Side, Timestamp};

pub use counts::DeliveryCounts;
pub use take::{NewDelivery, TakenIn, Touches};

/// How a delivery came to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The provider sent it.
    Sent,
    /// We fetched it from the provider's list of deliveries that failed.
    Fetched,
}

impl Origin {
    const ALL: [Self; 2] = [Self::Sent, Self::Fetched];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Fetched => "fetched",
        }
    }
}

/// What a delivery came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Its items were made due.
    Due,
    /// There was nothing to do.
    Noted,
    /// It is signed, but could not be understood; kept for a person.
    Garbled,
}

impl Verdict {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Due, Self::Noted, Self::Garbled];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Due => "due",
            Self::Noted => "noted",
            Self::Garbled => "garbled",
        }
    }
}

/// A delivery as kept, without its body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// Its row.
    pub id: i64,
    /// Whose it is: `asana`, `github`.
    pub provider: &'static str,
    /// What makes it one and the same delivery.
    pub key: String,
    /// Our row of the hook.
    pub hook: Option<i64>,
    /// What it tells.
    pub event: String,
    /// How it came.
    pub origin: Origin,
    /// What it came to.
    pub verdict: Verdict,
    /// Said for a person.
    pub note: Option<String>,
    /// The request it came with.
    pub request: String,
    /// When it came first.
    pub received_at: Timestamp,
    /// How often it came again.
    pub repeats: u32,
    /// When an operator last replayed it.
    pub replayed_at: Option<Timestamp>,
    /// The headers that matter.
    pub headers: BTreeMap<String, String>,
    /// What it touches, with the route of each.
    pub touched: Vec<Touched>,
}

/// An item that a delivery touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Touched {
    /// On which route it was made due.
    pub route: RouteName,
    /// The item.
    pub item: ItemKey,
}

/// Which deliveries to show; unset fields match all. Newest first.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Of one side.
    pub side: Option<Side>,
    /// That touched this item.
    pub item: Option<ItemKey>,
    /// That came to this.
    pub verdict: Option<Verdict>,
    /// Older than this row.
    pub before: Option<i64>,
    /// At most so many; 0 is 100.
    pub limit: u32,
}

type DeliveryRow =
    (i64, String, String, Option<i64>, String, String, String, Option<String>, String, i64, i64, Option<i64>, String);

fn delivery(row: DeliveryRow, touched: Vec<Touched>) -> Result<Delivery, Fault> {
    let (id, provider, key, hook, event, origin, verdict, note, request, received_at, repeats, replayed_at, headers) =
        row;
    let what = format_args!("delivery {id}");
    Ok(Delivery {
        id,
        provider: columns::service(what, &provider)?.service(),
        key,
        hook,
        event,
        origin: columns::one_of(what, Origin::ALL, Origin::as_str, &origin)?,
        verdict: columns::one_of(what, Verdict::ALL, Verdict::as_str, &verdict)?,
        note,
        request,
        received_at: columns::moment(what, received_at)?,
        repeats: columns::count(what, repeats)?,
        replayed_at: columns::moment_if(what, replayed_at)?,
        headers: columns::from_json(what, &headers)?,
        touched,
    })
}

/// Selects the columns of a [`DeliveryRow`].
macro_rules! shown {
    () => {
        deliveries::table.select((
            deliveries::id,
            deliveries::provider,
            deliveries::key,
            deliveries::hook,
            deliveries::event,
            deliveries::origin,
            deliveries::verdict,
            deliveries::note,
            deliveries::request,
            deliveries::received_at,
            deliveries::repeats,
            deliveries::replayed_at,
            deliveries::headers,
        ))
    };
}

impl Store {
    /// Deliveries, newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, StoreError> {
        let limit = if filter.limit == 0 { 100 } else { filter.limit };
        self.backend.read("reading the deliveries", |conn| {
            let rows: Vec<DeliveryRow> = on!(conn, |c| {
                let mut query = shown!().into_boxed();
                if let Some(side) = filter.side {
                    query = query.filter(deliveries::provider.eq(side.service()));
                }
                if let Some(verdict) = filter.verdict {
                    query = query.filter(deliveries::verdict.eq(verdict.as_str()));
                }
                if let Some(before) = filter.before {
                    query = query.filter(deliveries::id.lt(before));
                }
                if let Some(item) = &filter.item {
                    let of_item =
                        touched::table.select(touched::delivery).filter(touched::item_key.eq(columns::key(item)));
                    query = query.filter(deliveries::id.eq_any(of_item));
                }
                query.order(deliveries::id.desc()).limit(i64::from(limit)).load(c)
            })?;
            let ids: Vec<i64> = rows.iter().map(|row| row.0).collect();
            let mut items = touched_by(conn, &ids)?;
            rows.into_iter()
                .map(|row| {
                    let touched = items.remove(&row.0).unwrap_or_default();
                    delivery(row, touched)
                })
                .collect()
        })
    }

    /// One delivery with its body.
    ///
    /// # Errors
    /// When the database fails.
    pub fn delivery(&self, id: i64) -> Result<Option<(Delivery, Vec<u8>)>, StoreError> {
        self.backend.read(format_args!("reading delivery {id}"), |conn| {
            let row: Option<DeliveryRow> =
                on!(conn, |c| shown!().filter(deliveries::id.eq(id)).get_result(c).optional())?;
            let Some(row) = row else { return Ok(None) };
            let body: Vec<u8> =
                on!(conn, |c| deliveries::table.select(deliveries::body).filter(deliveries::id.eq(id)).get_result(c))?;
            let touched = touched_by(conn, &[id])?.remove(&id).unwrap_or_default();
            Ok(Some((delivery(row, touched)?, body)))
        })
    }
}

fn touched_by(conn: &mut Conn<'_>, ids: &[i64]) -> Result<BTreeMap<i64, Vec<Touched>>, Fault> {
    let mut found: BTreeMap<i64, Vec<Touched>> = BTreeMap::new();
    for ids in ids.chunks(500) {
        let rows: Vec<(i64, String, String)> = on!(conn, |c| touched::table
            .select((touched::delivery, touched::route, touched::item))
            .filter(touched::delivery.eq_any(ids))
            .order((touched::delivery, touched::item_key, touched::route))
            .load(c))?;
        for (id, route, item) in rows {
            let what = format_args!("what delivery {id} touched");
            let touched = Touched { route: columns::parse(what, &route)?, item: columns::parse(what, &item)? };
            found.entry(id).or_default().push(touched);
        }
    }
    Ok(found)
}
