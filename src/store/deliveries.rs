//! Deliveries: webhook bodies that became durable before they were answered, and what they made due.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use serde::Serialize;

use super::backend::{Conn, on};
use super::dues::{self, Rung};
use super::error::Fault;
use super::schema::{deliveries, hooks, links, touched};
use super::{NewDue, NewNotice, Store, StoreError, columns, leases, links as pairs, notices};
use crate::clock::earlier;
use crate::model::{IssueRef, ItemKey, LinkStatus, RepoName, RouteName, Side, Timestamp};

/// How often a hook's row says at most that it was heard: it is for watching over it, not for counting.
const HEARD_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// Rows removed in one transaction when old deliveries go.
const PRUNED_AT_ONCE: i64 = 1_000;

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

/// Deliveries counted since some moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DeliveryCounts {
    /// All of them.
    pub deliveries: u64,
    /// Those that could not be understood.
    pub garbled: u64,
    /// Those that came more than once.
    pub repeated: u64,
    /// Those that we fetched ourselves.
    pub fetched: u64,
    /// When the last came.
    pub last_at: Option<Timestamp>,
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
            let row: Option<DeliveryRow> = on!(conn, |c| shown!().filter(deliveries::id.eq(id)).first(c).optional())?;
            let Some(row) = row else { return Ok(None) };
            let body: Vec<u8> =
                on!(conn, |c| deliveries::table.select(deliveries::body).filter(deliveries::id.eq(id)).first(c))?;
            let touched = touched_by(conn, &[id])?.remove(&id).unwrap_or_default();
            Ok(Some((delivery(row, touched)?, body)))
        })
    }

    /// The routes that have links into a repository, by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn routes_of_repository(&self, repo_id: i64) -> Result<Vec<RouteName>, StoreError> {
        self.backend.read("looking up the routes of a repository", |conn| {
            let routes: Vec<String> = on!(conn, |c| links::table
                .select(links::route)
                .filter(links::repo_id.eq(repo_id))
                .filter(links::status.ne(LinkStatus::Retired.as_str()))
                .distinct()
                .order(links::route)
                .load(c))?;
            routes.iter().map(|route| columns::parse(format_args!("a route of repository {repo_id}"), route)).collect()
        })
    }

    /// Which of these keys are kept already.
    ///
    /// # Errors
    /// When the database fails.
    pub fn known_deliveries(&self, side: Side, keys: &[String]) -> Result<BTreeSet<String>, StoreError> {
        self.backend.read("looking which deliveries are known", |conn| {
            let mut known = BTreeSet::new();
            for keys in keys.chunks(500) {
                let found: Vec<String> = on!(conn, |c| deliveries::table
                    .select(deliveries::key)
                    .filter(deliveries::provider.eq(side.service()))
                    .filter(deliveries::key.eq_any(keys))
                    .load(c))?;
                known.extend(found);
            }
            Ok(known)
        })
    }

    /// Whether a delivery that touches an item came after `from`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn heard_of(&self, item: &ItemKey, from: Timestamp) -> Result<bool, StoreError> {
        self.backend.read(format_args!("looking whether a delivery touched {item}"), |conn| {
            let found: Option<i64> = on!(conn, |c| touched::table
                .inner_join(deliveries::table.on(deliveries::id.eq(touched::delivery)))
                .select(deliveries::id)
                .filter(touched::item_key.eq(columns::key(item)))
                .filter(deliveries::received_at.ge(columns::millis(from)))
                .first(c)
                .optional())?;
            Ok(found.is_some())
        })
    }

    /// Counts the deliveries of a side since `from`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn count_deliveries(&self, side: Side, from: Timestamp) -> Result<DeliveryCounts, StoreError> {
        self.backend.read("counting the deliveries", |conn| {
            macro_rules! counted {
                ($($filter:expr)?) => {{
                    let count: i64 = on!(conn, |c| deliveries::table
                        .filter(deliveries::provider.eq(side.service()))
                        .filter(deliveries::received_at.ge(columns::millis(from)))
                        $(.filter($filter))?
                        .count()
                        .get_result(c))?;
                    u64::try_from(count).unwrap_or(0)
                }};
            }
            let last: Option<i64> = on!(conn, |c| deliveries::table
                .select(deliveries::received_at)
                .filter(deliveries::provider.eq(side.service()))
                .order(deliveries::id.desc())
                .first(c)
                .optional())?;
            Ok(DeliveryCounts {
                deliveries: counted!(),
                garbled: counted!(deliveries::verdict.eq(Verdict::Garbled.as_str())),
                repeated: counted!(deliveries::repeats.gt(0)),
                fetched: counted!(deliveries::origin.eq(Origin::Fetched.as_str())),
                last_at: columns::moment_if("the last delivery", last)?,
            })
        })
    }

    /// Removes deliveries that came before `until`, oldest first, a bounded number in each transaction. Answers how
    /// many went.
    ///
    /// # Errors
    /// When the database fails.
    pub fn prune_deliveries(&self, until: Timestamp) -> Result<u64, StoreError> {
        let mut gone = 0;
        loop {
            let removed = self.backend.write("removing old deliveries", |conn| {
                let ids: Vec<i64> = on!(conn, |c| deliveries::table
                    .select(deliveries::id)
                    .filter(deliveries::received_at.lt(columns::millis(until)))
                    .order(deliveries::id)
                    .limit(PRUNED_AT_ONCE)
                    .load(c))?;
                Ok(on!(conn, |c| diesel::delete(deliveries::table.filter(deliveries::id.eq_any(&ids))).execute(c))?)
            })?;
            gone += u64::try_from(removed).unwrap_or(0);
            if i64::try_from(removed).unwrap_or(0) < PRUNED_AT_ONCE {
                return Ok(gone);
            }
        }
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

fn touched_by(conn: &mut Conn<'_>, ids: &[i64]) -> Result<BTreeMap<i64, Vec<Touched>>, Fault> {
    let mut found: BTreeMap<i64, Vec<Touched>> = BTreeMap::new();
    for ids in ids.chunks(500) {
        let rows: Vec<(i64, String, String)> = on!(conn, |c| touched::table
            .select((touched::delivery, touched::route, touched::item))
            .filter(touched::delivery.eq_any(ids))
            .order((touched::delivery, touched::item_key))
            .load(c))?;
        for (id, route, item) in rows {
            let what = format_args!("what delivery {id} touched");
            let touched = Touched { route: columns::parse(what, &route)?, item: columns::parse(what, &item)? };
            found.entry(id).or_default().push(touched);
        }
    }
    Ok(found)
}
