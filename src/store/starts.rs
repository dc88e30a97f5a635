//! Starts of the service: whether it comes up over and over without ending in order.

use std::time::Duration;

use diesel::prelude::*;

use super::backend::on;
use super::schema::{credentials, starts};
use super::{Store, StoreError, columns};
use crate::clock::earlier;
use crate::model::Timestamp;

/// How long starts are remembered, and credentials that are not used: longer than anybody asks for them.
const KEPT: Duration = Duration::from_secs(24 * 3_600);

#[derive(Insertable)]
#[diesel(table_name = starts)]
struct StartInsert<'a> {
    holder: &'a str,
    at: i64,
}

impl Store {
    /// Writes down that the service starts. Answers its number, and how many starts of the time `within` before, of
    /// this process or another, have not ended in order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_start(&self, holder: &str, within: Duration, now: Timestamp) -> Result<(i64, u32), StoreError> {
        self.backend.write("writing down the start", |conn| {
            let long_ago = columns::millis(earlier(now, KEPT));
            on!(conn, |c| diesel::delete(starts::table.filter(starts::at.lt(long_ago))).execute(c))?;
            // Tokens that were replaced: nothing of theirs counts any more.
            on!(conn, |c| diesel::delete(credentials::table.filter(credentials::at.lt(long_ago))).execute(c))?;
            let lately = starts::table
                .filter(starts::at.gt(columns::millis(earlier(now, within))))
                // A clock that was wrong for a while must not keep anybody back.
                .filter(starts::at.le(columns::millis(now)))
                .filter(starts::ended_at.is_null());
            let before: i64 = on!(conn, |c| lately.count().get_result(c))?;
            let row = StartInsert { holder, at: columns::millis(now) };
            let id = on!(conn, |c| diesel::insert_into(starts::table)
                .values(&row)
                .returning(starts::id)
                .get_result::<i64>(c))?;
            Ok((id, u32::try_from(before).unwrap_or(u32::MAX)))
        })
    }

    /// Writes down that a start ended in order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_start(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.backend.write("writing down the end", |conn| {
            on!(conn, |c| diesel::update(starts::table.filter(starts::id.eq(id)))
                .set(starts::ended_at.eq(columns::millis(now)))
                .execute(c))?;
            Ok(())
        })
    }
}
