//! Calls: what the admin interface was asked to change, by whom and why, and the answer to give when asked again.

use diesel::prelude::*;

use super::backend::on;
use super::schema::calls;
use super::{Store, StoreError, columns};
use crate::model::Timestamp;

/// A writing call that is about to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCall {
    /// The caller's Idempotency-Key.
    pub key: Option<String>,
    /// The request.
    pub request: String,
    /// Who asks.
    pub actor: String,
    /// `POST`.
    pub method: String,
    /// The path.
    pub path: String,
    /// Why.
    pub reason: String,
    /// SHA-256 of method, path and body.
    pub digest: String,
}

/// What became of the announcement of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is new: carry it out, then end it.
    New(i64),
    /// It was answered before: answer the same.
    Answered {
        /// The status.
        status: u16,
        /// The body.
        answer: String,
    },
    /// The same call is being carried out, or its process died at it.
    UnderWay {
        /// Since when.
        since: Timestamp,
    },
    /// The key belongs to another call.
    Other,
}

#[derive(Insertable)]
#[diesel(table_name = calls)]
struct CallInsert<'a> {
    key: Option<&'a str>,
    request: &'a str,
    at: i64,
    actor: String,
    method: &'a str,
    path: &'a str,
    reason: String,
    digest: &'a str,
}

impl Store {
    /// Writes down that a writing call is about to be carried out, or answers what is known of its key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn begin_call(&self, call: &NewCall, now: Timestamp) -> Result<Begun, StoreError> {
        let row = CallInsert {
            key: call.key.as_deref(),
            request: &call.request,
            at: columns::millis(now),
            actor: columns::clean(&call.actor),
            method: &call.method,
            path: &call.path,
            reason: columns::clean(&call.reason),
            digest: &call.digest,
        };
        self.backend.write_soon(format_args!("beginning {} {}", call.method, call.path), |conn| {
            if let Some(key) = row.key {
                let known: Option<(String, i64, Option<i64>, Option<String>)> = on!(conn, |c| calls::table
                    .select((calls::digest, calls::at, calls::status, calls::answer))
                    .filter(calls::key.eq(key))
                    .get_result(c)
                    .optional())?;
                if let Some((digest, at, status, answer)) = known {
                    return Ok(match status.and_then(|status| u16::try_from(status).ok()) {
                        _ if digest != row.digest => Begun::Other,
                        Some(status) => Begun::Answered { status, answer: answer.unwrap_or_default() },
                        None => Begun::UnderWay { since: columns::moment("a call", at)? },
                    });
                }
            }
            let made: Option<i64> = on!(conn, |c| diesel::insert_into(calls::table)
                .values(&row)
                .on_conflict_do_nothing()
                .returning(calls::id)
                .get_result(c)
                .optional())?;
            // Somebody else began it between the look and the insert (PostgreSQL only).
            Ok(made.map_or(Begun::UnderWay { since: now }, Begun::New))
        })
    }

    /// Writes down what a call was answered.
    ///
    /// # Errors
    /// When the database fails.
    pub fn end_call(&self, id: i64, status: u16, answer: &str) -> Result<(), StoreError> {
        self.backend.write(format_args!("ending call {id}"), |conn| {
            on!(conn, |c| diesel::update(calls::table.filter(calls::id.eq(id)))
                .set((calls::status.eq(i64::from(status)), calls::answer.eq(columns::clean(answer))))
                .execute(c))?;
            Ok(())
        })
    }

    /// Lets go of the key of the call that was begun at `begun_at`, so that the call may be made anew: it died
    /// under way, or it failed for a reason that passes. The call itself stays. False if another has the key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn free_call_key(&self, key: &str, begun_at: Timestamp) -> Result<bool, StoreError> {
        self.backend.write_soon("letting go of an idempotency key", |conn| {
            let freed = on!(conn, |c| diesel::update(
                calls::table.filter(calls::key.eq(key)).filter(calls::at.eq(columns::millis(begun_at)))
            )
            .set((calls::key.eq(None::<String>), calls::answer.eq(None::<String>)))
            .execute(c))?;
            Ok(freed == 1)
        })
    }

    /// Lets go of the keys of calls made before `until`: they may be used anew. The calls themselves stay.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_call_keys(&self, until: Timestamp) -> Result<(), StoreError> {
        self.backend.write("forgetting old idempotency keys", |conn| {
            on!(conn, |c| diesel::update(
                calls::table.filter(calls::at.lt(columns::millis(until))).filter(calls::key.is_not_null())
            )
            .set((calls::key.eq(None::<String>), calls::answer.eq(None::<String>)))
            .execute(c))?;
            Ok(())
        })
    }
}
