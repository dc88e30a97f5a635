//! Taking deliveries in: kept, with what they make due, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::{Origin, Verdict};
use crate::clock::earlier;
use crate::model::{IssueRef, ItemKey, LinkStatus, RepoName, RouteName, Side, Timestamp};
use crate::store::backend::{Conn, on};
use crate::store::dues::{self, Rung};
use crate::store::error::Fault;
use crate::store::schema::{deliveries, hooks, links, touched};
use crate::store::{NewDue, NewNotice, Store, StoreError, columns, leases, links as pairs, notices};

/// How often a hook's row says at most that it was heard: it is for watching over it, not for counting.
const HEARD_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// A verified delivery, reduced to what it touches, to be kept.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Whose it is.
    pub side: Side,
    /// What makes it one and the same delivery when it comes again.
    pub key: String,
    /// Our row of the hook that it came through, if we know it.
    pub hook: Option<i64>,
    /// What it tells, as `issues.closed`.
    pub event: String,
    /// How it came.
    pub origin: Origin,
    /// Said for a person.
    pub note: Option<String>,
    /// Whether it could not be understood.
    pub garbled: bool,
    /// The request it came with.
    pub request: String,
    /// The headers that matter, by name in lower case.
    pub headers: BTreeMap<String, String>,
    /// As it came.
    pub body: Vec<u8>,
    /// What it touches.
    pub touches: Touches,
}

/// What a delivery touches and tells.
#[derive(Debug, Clone, Default)]
pub struct Touches {
    /// Items that may have moved, with the routes that one without a link may stand on.
    pub items: Vec<(ItemKey, Vec<RouteName>)>,
    /// The repository it speaks of, by its id and the name it has now: our links may know it by an older one.
    pub repository: Option<(i64, RepoName)>,
    /// Why the items are due, in words.
    pub reason: String,
    /// What linked tasks are told once.
    pub notices: Vec<NewNotice>,
}

/// What became of a delivery that was taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenIn {
    /// Its row.
    pub id: i64,
    /// Whether it had come before, so that nothing was done.
    pub again: bool,
    /// What it came to.
    pub verdict: Verdict,
    /// The routes whose items are due now.
    pub routes: Vec<RouteName>,
}

#[derive(Insertable)]
#[diesel(table_name = deliveries)]
struct DeliveryInsert<'a> {
    provider: &'a str,
    key: String,
    hook: Option<i64>,
    event: String,
    origin: &'a str,
    verdict: &'a str,
    note: Option<String>,
    request: String,
    received_at: i64,
    headers: String,
    body: &'a [u8],
}

#[derive(Insertable)]
#[diesel(table_name = touched, treat_none_as_default_value = false)]
struct TouchedInsert<'a> {
    delivery: i64,
    route: &'a str,
    item: String,
    item_key: String,
}

impl Store {
    /// Takes verified deliveries in, all in one transaction: each is kept, the items it touches become due, the tasks
    /// it tells something get their notice. Waits for the database a few seconds at most, because a provider waits
    /// for the answer. A delivery that is kept already is counted and changes nothing.
    ///
    /// An item is due on the route of its link, whatever else was asked; without one on each of the routes named.
    ///
    /// # Errors
    /// When the database fails, is locked or full. Nothing was kept then.
    pub fn take_in(&self, new: &[NewDelivery], now: Timestamp) -> Result<Vec<TakenIn>, StoreError> {
        self.backend.write_soon("taking in a delivery", |conn| {
            let mut placed = Vec::with_capacity(new.len());
            for one in new {
                placed.push(place(conn, &one.touches)?);
            }
            queue_all(conn, placed.iter().flat_map(|places| places.keys()))?;
            new.iter().zip(placed).map(|(one, places)| keep(conn, one, &places, now)).collect()
        })
    }

    /// Does once more what a kept delivery asked for, with what is now understood of it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn replay_delivery(
        &self,
        id: i64,
        touches: &Touches,
        request: &str,
        now: Timestamp,
    ) -> Result<TakenIn, StoreError> {
        self.backend.write(format_args!("replaying delivery {id}"), |conn| {
            let places = place(conn, touches)?;
            queue_all(conn, places.keys())?;
            let verdict = if places.is_empty() { Verdict::Noted } else { Verdict::Due };
            on!(conn, |c| diesel::update(deliveries::table.filter(deliveries::id.eq(id)))
                .set((deliveries::replayed_at.eq(columns::millis(now)), deliveries::verdict.eq(verdict.as_str())))
                .execute(c))?;
            spread(conn, id, touches, &places, request, now)?;
            Ok(TakenIn { id, again: false, verdict, routes: places.into_keys().collect() })
        })
    }
}

/// The items of each route that a delivery makes due.
type Places = BTreeMap<RouteName, BTreeSet<ItemKey>>;

/// Finds the route of each item: that of its link, else those that may hold it.
fn place(conn: &mut Conn<'_>, touches: &Touches) -> Result<Places, Fault> {
    let known = our_name(conn, touches)?;
    let mut places = Places::new();
    for (item, candidates) in &touches.items {
        let item = match (item, &known) {
            (ItemKey::Issue(issue), Some((name, ours))) if issue.repo == *name => {
                ItemKey::Issue(IssueRef { repo: ours.clone(), number: issue.number })
            }
            (other, _) => other.clone(),
        };
        let linked = pairs::live_link(conn, &item)?.map(|link| link.route);
        let routes = linked.as_ref().map_or(candidates.as_slice(), std::slice::from_ref);
        for route in routes {
            places.entry(route.clone()).or_default().insert(item.clone());
        }
    }
    Ok(places)
}

/// The name a repository has now and the one our links know, if they differ.
fn our_name(conn: &mut Conn<'_>, touches: &Touches) -> Result<Option<(RepoName, RepoName)>, Fault> {
    let Some((repo_id, name)) = &touches.repository else { return Ok(None) };
    let known: Option<String> = on!(conn, |c| links::table
        .select(links::repo)
        .filter(links::repo_id.eq(*repo_id))
        .filter(links::status.ne(LinkStatus::Retired.as_str()))
        .first(c)
        .optional())?;
    let known: Option<RepoName> =
        known.map(|known| columns::parse(format_args!("the name of repository {repo_id}"), &known)).transpose()?;
    Ok(known.filter(|known| known != name).map(|known| (name.clone(), known)))
}

/// Waits for whoever records on these routes, in one order everywhere, so that two never lock rows crosswise.
fn queue_all<'a>(conn: &mut Conn<'_>, routes: impl Iterator<Item = &'a RouteName>) -> Result<(), Fault> {
    for route in routes.collect::<BTreeSet<_>>() {
        leases::queue(conn, route)?;
    }
    Ok(())
}

fn keep(conn: &mut Conn<'_>, new: &NewDelivery, places: &Places, now: Timestamp) -> Result<TakenIn, Fault> {
    let verdict = match (new.garbled, places.is_empty()) {
        (true, _) => Verdict::Garbled,
        (false, true) => Verdict::Noted,
        (false, false) => Verdict::Due,
    };
    let row = DeliveryInsert {
        provider: new.side.service(),
        key: columns::clean(&new.key),
        hook: new.hook,
        event: columns::clean(&new.event),
        origin: new.origin.as_str(),
        verdict: verdict.as_str(),
        note: new.note.as_deref().map(columns::clean),
        request: columns::clean(&new.request),
        received_at: columns::millis(now),
        headers: columns::to_json("headers", &new.headers)?,
        body: &new.body,
    };
    let made: Option<i64> = on!(conn, |c| diesel::insert_into(deliveries::table)
        .values(&row)
        .on_conflict((deliveries::provider, deliveries::key))
        .do_nothing()
        .returning(deliveries::id)
        .get_result(c)
        .optional())?;
    // What we fetched says nothing about whether the hook reaches us.
    if let Some(hook) = new.hook.filter(|_| new.origin == Origin::Sent) {
        let stale = columns::millis(earlier(now, HEARD_EVERY));
        on!(conn, |c| diesel::update(
            hooks::table.filter(hooks::id.eq(hook)).filter(hooks::heard_at.is_null().or(hooks::heard_at.lt(stale)))
        )
        .set(hooks::heard_at.eq(columns::millis(now)))
        .execute(c))?;
    }
    let Some(id) = made else {
        let kept = deliveries::table.filter(deliveries::provider.eq(row.provider)).filter(deliveries::key.eq(&row.key));
        let (id, verdict): (i64, String) = on!(conn, |c| diesel::update(kept)
            .set(deliveries::repeats.eq(deliveries::repeats + 1))
            .returning((deliveries::id, deliveries::verdict))
            .get_result(c))?;
        let verdict = columns::one_of(format_args!("delivery {id}"), Verdict::ALL, Verdict::as_str, &verdict)?;
        return Ok(TakenIn { id, again: true, verdict, routes: Vec::new() });
    };
    spread(conn, id, &new.touches, places, &new.request, now)?;
    Ok(TakenIn { id, again: false, verdict, routes: places.keys().cloned().collect() })
}

/// Makes the items due and keeps that this delivery touched them, and what tasks are told.
fn spread(
    conn: &mut Conn<'_>,
    id: i64,
    touches: &Touches,
    places: &Places,
    request: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    for (route, items) in places {
        let due = |item: &ItemKey| NewDue {
            item: item.clone(),
            reason: touches.reason.clone(),
            not_before: now,
            attempts: 0,
            last_error: None,
            parked: false,
        };
        let due: Vec<NewDue> = items.iter().map(due).collect();
        dues::add(conn, route, &due, &BTreeMap::new(), Some(Rung { request: Some(request) }), now)?;
        let rows: Vec<TouchedInsert<'_>> = items
            .iter()
            .map(|item| TouchedInsert {
                delivery: id,
                route: route.as_str(),
                item: item.to_string(),
                item_key: columns::key(item),
            })
            .collect();
        for rows in rows.chunks(500) {
            on!(conn, |c| diesel::insert_into(touched::table).values(rows).on_conflict_do_nothing().execute(c))?;
        }
    }
    notices::announce(conn, &touches.notices, now)
}
