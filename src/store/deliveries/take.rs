//! Taking deliveries in: kept, with what they make due, in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::{Origin, Verdict};
use crate::clock::earlier;
use crate::model::{IssueRef, ItemKey, RepoName, RouteName, Side, Timestamp};
use crate::store::backend::{Conn, on};
use crate::store::dues::{self, Rung};
use crate::store::error::Fault;
use crate::store::schema::{deliveries, hooks, links, touched};
use crate::store::verbatim::{AtMostDsl, KeptDsl};
use crate::store::{NewDue, NewNotice, Store, StoreError, columns, leases, links as pairs, notices};

/// How often a hook's row says at most that it was heard: it is for watching over it, not for counting.
const HEARD_EVERY: std::time::Duration = std::time::Duration::from_secs(60);

/// What is being done, for errors.
const TAKING_IN: &str = "taking in a delivery";

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

/// A delivery and the moment in which it came.
type Came<'a> = (&'a NewDelivery, Timestamp);

impl Store {
    /// Takes one verified delivery in, as [`Store::take_in`] does, in one transaction with those that other threads
    /// hand in at the same time. One that the database refuses does not keep the others out.
    ///
    /// # Errors
    /// When the database fails, is locked or full. What was kept even so is kept once when it comes again.
    pub fn hand_in(&self, new: NewDelivery, now: Timestamp) -> Result<TakenIn, StoreError> {
        let bytes = new.body.len();
        // Everybody passes the usher for himself: once they are together, one writes for all.
        let inside = Self { backend: self.backend.admitted(&TAKING_IN)?, ..self.clone() };
        let all = |came: &[(NewDelivery, Timestamp)]| {
            let came: Vec<Came<'_>> = came.iter().map(|(new, now)| (new, *now)).collect();
            inside.take_all(&came)
        };
        // Who writes elsewhere locks all of SQLite, but only some rows of a server.
        let common = |error: &StoreError| matches!(error, StoreError::Locked { .. }) && self.backend.has_one_writer();
        self.intake.run((new, now), bytes, all, common)
    }

    /// Takes verified deliveries in, all in one transaction: each is kept, the items it touches become due, the tasks
    /// it tells something get their notice. Waits for the database a few seconds at most, because a provider waits
    /// for the answer. A delivery that is kept already is counted and changes nothing.
    ///
    /// An item is due on the route of its link, whatever else was asked; without one on each of the routes named.
    ///
    /// # Errors
    /// When the database fails, is locked or full. Nothing was kept then.
    pub fn take_in(&self, new: &[NewDelivery], now: Timestamp) -> Result<Vec<TakenIn>, StoreError> {
        let came: Vec<Came<'_>> = new.iter().map(|one| (one, now)).collect();
        self.take_all(&came)
    }

    /// Rows are locked in one order everywhere, so that two transactions never wait for each other in a circle:
    /// leases, deliveries, hooks, dues, each by their keys.
    fn take_all(&self, came: &[Came<'_>]) -> Result<Vec<TakenIn>, StoreError> {
        self.backend.write_soon(TAKING_IN, |conn| {
            let touches: Vec<&Touches> = came.iter().map(|(new, _)| &new.touches).collect();
            let placed = place(conn, &touches)?;
            queue_all(conn, placed.iter().flat_map(Places::keys))?;
            let taken = keep(conn, came, &placed)?;
            hear(conn, came)?;
            let new = came.iter().zip(&placed).zip(&taken).filter(|(_, taken)| !taken.again);
            let spreads = new.map(|(((new, now), places), taken)| Spread {
                id: taken.id,
                touches: &new.touches,
                places,
                request: &new.request,
                now: *now,
            });
            spread(conn, &spreads.collect::<Vec<_>>())?;
            Ok(taken)
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
            let places = place(conn, &[touches])?.pop().unwrap_or_default();
            queue_all(conn, places.keys())?;
            let verdict = if places.is_empty() { Verdict::Noted } else { Verdict::Due };
            on!(conn, |c| diesel::update(deliveries::table.filter(deliveries::id.eq(id)))
                .set((deliveries::replayed_at.eq(columns::millis(now)), deliveries::verdict.eq(verdict.as_str())))
                .execute(c))?;
            spread(conn, &[Spread { id, touches, places: &places, request, now }])?;
            Ok(TakenIn { id, again: false, verdict, routes: places.into_keys().collect() })
        })
    }
}

/// The items of each route that a delivery makes due.
type Places = BTreeMap<RouteName, BTreeSet<ItemKey>>;

/// Finds for each delivery the route of each item: that of its link, else those that may hold it.
fn place(conn: &mut Conn<'_>, touches: &[&Touches]) -> Result<Vec<Places>, Fault> {
    let mut names: BTreeMap<i64, Option<RepoName>> = BTreeMap::new();
    for (repo_id, _) in touches.iter().filter_map(|touches| touches.repository.as_ref()) {
        if !names.contains_key(repo_id) {
            names.insert(*repo_id, known_name(conn, *repo_id)?);
        }
    }
    let ours = |touches: &Touches, item: &ItemKey| match (item, &touches.repository) {
        (ItemKey::Issue(issue), Some((repo_id, name))) if issue.repo == *name => {
            let repo = names.get(repo_id).cloned().flatten().unwrap_or_else(|| name.clone());
            ItemKey::Issue(IssueRef { repo, number: issue.number })
        }
        (other, _) => other.clone(),
    };
    let items = touches.iter().flat_map(|touches| touches.items.iter().map(|(item, _)| ours(touches, item)));
    let items: BTreeSet<ItemKey> = items.collect();
    let linked = pairs::live_routes(conn, &items.into_iter().collect::<Vec<_>>())?;
    let place = |touches: &&Touches| {
        let mut places = Places::new();
        for (item, candidates) in &touches.items {
            let item = ours(touches, item);
            let routes = linked.get(&columns::key(&item)).map_or(candidates.as_slice(), std::slice::from_ref);
            for route in routes {
                places.entry(route.clone()).or_default().insert(item.clone());
            }
        }
        places
    };
    Ok(touches.iter().map(place).collect())
}

/// The name by which our links know a repository.
fn known_name(conn: &mut Conn<'_>, repo_id: i64) -> Result<Option<RepoName>, Fault> {
    let known: Option<String> = on!(conn, |c| links::table
        .select(links::repo)
        .filter(links::repo_id.eq(repo_id))
        .filter(pairs::LIVE)
        .at_most(1)
        .get_result(c)
        .optional())?;
    known.map(|known| columns::parse(format_args!("the name of repository {repo_id}"), &known)).transpose()
}

/// Waits for whoever records on these routes, in one order everywhere, so that two never lock rows crosswise.
fn queue_all<'a>(conn: &mut Conn<'_>, routes: impl Iterator<Item = &'a RouteName>) -> Result<(), Fault> {
    for route in routes.collect::<BTreeSet<_>>() {
        leases::queue(conn, route)?;
    }
    Ok(())
}

/// Keeps the deliveries that are not kept yet, and counts those that are: in the order of their keys, of the same the
/// first that came.
fn keep(conn: &mut Conn<'_>, came: &[Came<'_>], placed: &[Places]) -> Result<Vec<TakenIn>, Fault> {
    let mut sorted: Vec<_> = came.iter().zip(placed).enumerate().collect();
    sorted.sort_by_key(|(_, ((new, _), _))| (new.side.service(), columns::clean(&new.key)));
    let mut taken = Vec::with_capacity(sorted.len());
    for (number, (came, places)) in sorted {
        taken.push((number, keep_one(conn, *came, places)?));
    }
    taken.sort_unstable_by_key(|(number, _)| *number);
    Ok(taken.into_iter().map(|(_, taken)| taken).collect())
}

fn keep_one(conn: &mut Conn<'_>, (new, now): Came<'_>, places: &Places) -> Result<TakenIn, Fault> {
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
        .kept()
        .get_result(c)
        .optional())?;
    if let Some(id) = made {
        return Ok(TakenIn { id, again: false, verdict, routes: places.keys().cloned().collect() });
    }
    let kept = deliveries::table.filter(deliveries::provider.eq(row.provider)).filter(deliveries::key.eq(&row.key));
    let (id, verdict): (i64, String) = on!(conn, |c| diesel::update(kept)
        .set(deliveries::repeats.eq(deliveries::repeats + 1))
        .returning((deliveries::id, deliveries::verdict))
        .kept()
        .get_result(c))?;
    let verdict = columns::one_of(format_args!("delivery {id}"), Verdict::ALL, Verdict::as_str, &verdict)?;
    Ok(TakenIn { id, again: true, verdict, routes: Vec::new() })
}

/// Notes at the hooks that they were heard.
fn hear(conn: &mut Conn<'_>, came: &[Came<'_>]) -> Result<(), Fault> {
    // What we fetched says nothing about whether the hook reaches us.
    let sent = came.iter().filter(|(new, _)| new.origin == Origin::Sent);
    let heard: BTreeMap<i64, Timestamp> = sent.filter_map(|(new, now)| Some((new.hook?, *now))).collect();
    for (hook, now) in heard {
        let stale = columns::millis(earlier(now, HEARD_EVERY));
        let _: Option<i64> = on!(conn, |c| diesel::update(
            hooks::table.filter(hooks::id.eq(hook)).filter(hooks::heard_at.is_null().or(hooks::heard_at.lt(stale)))
        )
        .set(hooks::heard_at.eq(columns::millis(now)))
        .returning(hooks::id)
        .kept()
        .get_result(c)
        .optional())?;
    }
    Ok(())
}

/// A kept delivery and what it makes due.
struct Spread<'a> {
    id: i64,
    touches: &'a Touches,
    places: &'a Places,
    request: &'a str,
    now: Timestamp,
}

/// Makes the items due and keeps which delivery touched them, and what tasks are told.
fn spread(conn: &mut Conn<'_>, all: &[Spread<'_>]) -> Result<(), Fault> {
    let mut rung: BTreeMap<&RouteName, Vec<Rung<'_>>> = BTreeMap::new();
    let mut rows = Vec::new();
    for Spread { id, touches, places, request, now } in all {
        for (route, items) in *places {
            for item in items {
                let due = NewDue {
                    item: item.clone(),
                    reason: touches.reason.clone(),
                    not_before: *now,
                    attempts: 0,
                    last_error: None,
                    parked: false,
                };
                rung.entry(route).or_default().push(Rung { due, request: Some(request), now: *now });
                rows.push(TouchedInsert {
                    delivery: *id,
                    route: route.as_str(),
                    item: item.to_string(),
                    item_key: columns::key(item),
                });
            }
        }
    }
    for (route, rung) in rung {
        dues::make_rung(conn, route, &rung)?;
    }
    for rows in rows.chunks(500) {
        on!(conn, |c| diesel::insert_into(touched::table).values(rows).on_conflict_do_nothing().execute(c))?;
    }
    for Spread { touches, now, .. } in all {
        notices::announce(conn, &touches.notices, *now)?;
    }
    Ok(())
}
