//! Refusals: deliveries and calls that were turned away, counted by reason; never what they held.

use diesel::prelude::*;
use diesel::upsert::excluded;
use serde::Serialize;

use super::backend::on;
use super::schema::refusals;
use super::{Store, StoreError, columns};
use crate::model::Timestamp;

/// So many of one kind were turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusals {
    /// `asana`, `github`, `admin`.
    pub provider: String,
    /// Why, in a few words.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// The first.
    pub first_at: Timestamp,
    /// The last.
    pub last_at: Timestamp,
    /// From which address the last came, if that is known.
    pub last_from: Option<String>,
}

#[derive(Insertable)]
#[diesel(table_name = refusals)]
struct RefusalInsert<'a> {
    provider: &'a str,
    reason: &'a str,
    count: i64,
    first_at: i64,
    last_at: i64,
    last_from: Option<&'a str>,
}

impl Store {
    /// Adds what was turned away since the last time.
    ///
    /// # Errors
    /// When the database fails.
    pub fn add_refusals(&self, new: &[Refusals]) -> Result<(), StoreError> {
        self.backend.write_soon("counting what was turned away", |conn| {
            for one in new {
                let row = RefusalInsert {
                    provider: &one.provider,
                    reason: &one.reason,
                    count: i64::try_from(one.count).unwrap_or(i64::MAX),
                    first_at: columns::millis(one.first_at),
                    last_at: columns::millis(one.last_at),
                    last_from: one.last_from.as_deref(),
                };
                on!(conn, |c| diesel::insert_into(refusals::table)
                    .values(&row)
                    .on_conflict((refusals::provider, refusals::reason))
                    .do_update()
                    .set((
                        refusals::count.eq(refusals::count + excluded(refusals::count)),
                        refusals::last_at.eq(excluded(refusals::last_at)),
                        refusals::last_from.eq(excluded(refusals::last_from)),
                    ))
                    .execute(c))?;
            }
            Ok(())
        })
    }

    /// What was turned away so far, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn refusals(&self) -> Result<Vec<Refusals>, StoreError> {
        self.backend.read("reading what was turned away", |conn| {
            let rows: Vec<(String, String, i64, i64, i64, Option<String>)> = on!(conn, |c| refusals::table
                .select((
                    refusals::provider,
                    refusals::reason,
                    refusals::count,
                    refusals::first_at,
                    refusals::last_at,
                    refusals::last_from
                ))
                .order((refusals::last_at.desc(), refusals::provider, refusals::reason))
                .load(c))?;
            rows.into_iter()
                .map(|(provider, reason, count, first_at, last_at, last_from)| {
                    Ok(Refusals {
                        provider,
                        reason,
                        count: u64::try_from(count).unwrap_or(0),
                        first_at: columns::moment("a refusal", first_at)?,
                        last_at: columns::moment("a refusal", last_at)?,
                        last_from,
                    })
                })
                .collect()
        })
    }
}
