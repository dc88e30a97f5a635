//! The history: every change made, by whom and why, each entry sealed with the hash of the one before.
//!
//! `hash` = SHA-256, in hexadecimal, over the text `previous` and, right after it, one JSON array without spaces:
//! `[seq, route, at, pass, link, kind, item, partner, changes, cause, actor]`, where `at` is in milliseconds, `link`
//! and `partner` may be null, and `changes` is the text of a JSON array exactly as kept. One row of `chain` holds the
//! last place and hash: who appends locks it first, so there are no gaps and no forks, and a cut-off end is noticed.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;
use sha2::{Digest, Sha256};

use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::{chain, history};
use super::verbatim::{AtMostDsl, KeptDsl};
use super::{Entry, EntryFilter, NewEntry, Store, StoreError, Verified, columns};
use crate::model::{ItemKey, LinkId, PassId, RouteName, Timestamp, hex};

/// Entries in one batch: of up to 15 columns each, and with bodies inside.
const CHUNK: usize = 200;

/// Entries read at a time when the chain is checked; with two bodies of 64 KiB in each that is 13 MB.
const PAGE: u32 = 100;

/// Entries shown when no limit is said.
const LIMIT: u32 = 1_000;

#[derive(Queryable, Selectable, Insertable)]
#[diesel(table_name = history, treat_none_as_default_value = false)]
struct EntryRow {
    seq: i64,
    route: String,
    at: i64,
    pass: i64,
    link: Option<i64>,
    kind: String,
    item: String,
    item_key: String,
    partner: Option<String>,
    partner_key: Option<String>,
    cause: String,
    actor: String,
    previous: String,
    hash: String,
    changes: String,
}

impl EntryRow {
    /// The hash this entry must have after the one before.
    fn seal(&self) -> Result<String, Fault> {
        let Self {
            seq,
            route,
            at,
            pass,
            link,
            kind,
            item,
            item_key: _, // Follows from the item; checked on its own.
            partner,
            partner_key: _,
            cause,
            actor,
            previous,
            hash: _,
            changes,
        } = self;
        let entry = columns::to_json(
            "a history entry",
            &(seq, route, at, pass, link, kind, item, partner, changes, cause, actor),
        )?;
        let mut hasher = Sha256::new();
        hasher.update(previous);
        hasher.update(entry);
        Ok(hex(&hasher.finalize()))
    }

    fn entry(self) -> Result<Entry, Fault> {
        let Self {
            seq,
            route,
            at,
            pass,
            link,
            kind,
            item,
            item_key: _,
            partner,
            partner_key: _,
            cause,
            actor,
            previous,
            hash,
            changes,
        } = self;
        let what = format_args!("history entry {seq}");
        Ok(Entry {
            seq,
            route: columns::parse(what, &route)?,
            entry: NewEntry {
                at: columns::moment(what, at)?,
                pass: PassId(pass),
                link: link.map(LinkId),
                kind,
                item: columns::parse(what, &item)?,
                partner: partner.map(|partner| columns::parse(what, &partner)).transpose()?,
                changes: columns::from_json(what, &changes)?,
                cause,
                actor,
            },
            previous,
            hash,
        })
    }
}

impl Store {
    /// The entries that pass a filter, oldest first unless it says otherwise.
    ///
    /// # Errors
    /// When the database fails.
    pub fn history(&self, filter: &EntryFilter) -> Result<Vec<Entry>, StoreError> {
        let EntryFilter { route, pass, item, after, newest_first, limit } = filter;
        let limit = i64::from(if *limit == 0 { LIMIT } else { *limit });
        self.backend.read("reading the history", |conn| {
            let rows: Vec<EntryRow> = on!(conn, |c| {
                let mut query = history::table.select(EntryRow::as_select()).into_boxed();
                if let Some(route) = route {
                    query = query.filter(history::route.eq(route.as_str()));
                }
                if let Some(pass) = pass {
                    query = query.filter(history::pass.eq(pass.0));
                }
                if let Some(item) = item {
                    let key = columns::key(item);
                    query = query.filter(history::item_key.eq(key.clone()).or(history::partner_key.eq(key)));
                }
                query = match (*newest_first, *after) {
                    (false, after) => query.filter(history::seq.gt(after.unwrap_or(0))).order(history::seq.asc()),
                    (true, Some(before)) => query.filter(history::seq.lt(before)).order(history::seq.desc()),
                    (true, None) => query.order(history::seq.desc()),
                };
                query.limit(limit).load(c)
            })?;
            rows.into_iter().map(EntryRow::entry).collect()
        })
    }

    /// How many links these passes changed since `from`, by the kind of the entry. Looks through the newest 1,000
    /// entries of the route, far more than a brake lets through.
    ///
    /// # Errors
    /// When the database fails.
    pub fn changed_lately(
        &self,
        route: &RouteName,
        passes: &BTreeSet<PassId>,
        from: Timestamp,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        if passes.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.backend.read(format_args!("route {route}: counting what was changed lately"), |conn| {
            let rows: Vec<(i64, i64, Option<i64>, String)> = on!(conn, |c| history::table
                .select((history::at, history::pass, history::link, history::kind))
                .filter(history::route.eq(route.as_str()))
                .order(history::seq.desc())
                .limit(i64::from(LIMIT))
                .load(c))?;
            let new = rows.into_iter().take_while(|(at, ..)| *at >= columns::millis(from));
            let theirs = new.filter(|(_, pass, ..)| passes.contains(&PassId(*pass)));
            let changed: BTreeSet<(String, Option<i64>)> = theirs.map(|(.., link, kind)| (kind, link)).collect();
            let mut counts = BTreeMap::new();
            for (kind, _) in changed {
                *counts.entry(kind).or_default() += 1;
            }
            Ok(counts)
        })
    }

    /// Checks the whole chain as it stands now, page by page: places, hashes, and that nothing is missing at the end.
    ///
    /// # Errors
    /// When the database fails; a chain that does not fit is a result, not an error.
    pub fn verify_history(&self) -> Result<Verified, StoreError> {
        let doing = "checking the history";
        let (entries, last) = self.backend.read(doing, head)?;
        let mut previous = start();
        let mut seq = 0;
        // Ends: every page moves on, and what is appended meanwhile is left for the next time.
        while seq < entries {
            let rows: Vec<EntryRow> = self.backend.read(doing, |conn| {
                Ok(on!(conn, |c| history::table
                    .select(EntryRow::as_select())
                    .filter(history::seq.gt(seq))
                    .filter(history::seq.le(entries))
                    .order(history::seq)
                    .at_most(PAGE)
                    .load(c))?)
            })?;
            if rows.is_empty() {
                let why = format!("it is missing; the chain has {entries} entries");
                return Ok(Verified::Broken { seq: seq + 1, why });
            }
            for row in rows {
                seq += 1;
                if let Some(why) = fault(&row, seq, &previous).map_err(|fault| fault.tell(&doing))? {
                    return Ok(Verified::Broken { seq, why });
                }
                previous = row.hash;
            }
        }
        if previous != last {
            let why = "its hash is not the one that the chain ends with".to_owned();
            return Ok(Verified::Broken { seq: entries, why });
        }
        // The places before the end of the chain: what is appended between the two looks only moves the end. The other
        // way round, it would seem to lie outside.
        let beyond = self.backend.read(doing, |conn| {
            let places = || history::table.select(history::seq);
            let first: Option<i64> =
                on!(conn, |c| places().order(history::seq.asc()).at_most(1).get_result(c).optional())?;
            let last: Option<i64> =
                on!(conn, |c| places().order(history::seq.desc()).at_most(1).get_result(c).optional())?;
            let (end, _) = head(conn)?;
            Ok(first.filter(|seq| *seq < 1).or(last.filter(|seq| *seq > end)))
        })?;
        Ok(match beyond {
            Some(seq) => Verified::Broken { seq, why: "it lies outside the chain".to_owned() },
            None => Verified::Whole { entries, head: last },
        })
    }
}

/// The last place and hash.
fn head(conn: &mut Conn<'_>) -> Result<(i64, String), Fault> {
    Ok(on!(conn, |c| chain::table.select((chain::seq, chain::hash)).filter(chain::id.eq(1)).get_result(c))?)
}

/// The hash before the first entry.
pub(super) fn start() -> String {
    "0".repeat(64)
}

/// What is wrong with an entry at this place after that hash, if anything.
fn fault(row: &EntryRow, seq: i64, previous: &str) -> Result<Option<String>, Fault> {
    if row.seq != seq {
        return Ok(Some(format!("it is missing; the next one is {}", row.seq)));
    }
    if row.previous != previous {
        return Ok(Some("it does not follow the entry before".to_owned()));
    }
    if row.hash != row.seal()? {
        return Ok(Some("it was changed after it was written".to_owned()));
    }
    if row.item_key != row.item.to_ascii_lowercase()
        || row.partner_key != row.partner.as_ref().map(|partner| partner.to_ascii_lowercase())
    {
        return Ok(Some("the key it is looked up by is not its item's".to_owned()));
    }
    Ok(None)
}

/// Appends entries; `made` names the links that were made in the same transaction, by their items.
pub(super) fn append(
    conn: &mut Conn<'_>,
    route: &RouteName,
    entries: &[NewEntry],
    made: &dyn Fn(&ItemKey) -> Option<LinkId>,
) -> Result<(), Fault> {
    let Ok(count) = i64::try_from(entries.len()) else { return Ok(()) };
    if count == 0 {
        return Ok(());
    }
    // The update locks the row until the transaction ends: others that append wait here.
    let (last, mut previous): (i64, String) = on!(conn, |c| diesel::update(chain::table.filter(chain::id.eq(1)))
        .set(chain::seq.eq(chain::seq + count))
        .returning((chain::seq, chain::hash))
        .kept()
        .get_result(c))?;
    let mut seq = last - count;
    for entries in entries.chunks(CHUNK) {
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            seq += 1;
            let NewEntry { at, pass, link, kind, item, partner, changes, cause, actor } = entry;
            let mut row = EntryRow {
                seq,
                route: route.as_str().to_owned(),
                at: columns::millis(*at),
                pass: pass.0,
                link: link.or_else(|| made(item)).map(|link| link.0),
                kind: columns::clean(kind),
                item: item.to_string(),
                item_key: columns::key(item),
                partner: partner.as_ref().map(ToString::to_string),
                partner_key: partner.as_ref().map(columns::key),
                cause: columns::clean(cause),
                actor: columns::clean(actor),
                previous,
                hash: String::new(),
                changes: columns::to_json("changes", changes)?,
            };
            row.hash = row.seal()?;
            previous = row.hash.clone();
            rows.push(row);
        }
        on!(conn, |c| diesel::insert_into(history::table).values(&rows).execute(c))?;
    }
    let _: i64 = on!(conn, |c| diesel::update(chain::table.filter(chain::id.eq(1)))
        .set(chain::hash.eq(&previous))
        .returning(chain::seq)
        .kept()
        .get_result(c))?;
    Ok(())
}
