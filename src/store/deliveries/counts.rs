//! What became of many deliveries: counted, known, heard of, and removed when old.

use std::collections::BTreeSet;

use diesel::prelude::*;
use serde::Serialize;

use super::{Origin, Verdict};
use crate::model::{ItemKey, Side, Timestamp};
use crate::store::backend::on;
use crate::store::schema::{deliveries, touched};
use crate::store::verbatim::AtMostDsl;
use crate::store::{Store, StoreError, columns};

/// Rows removed in one transaction when old deliveries go.
const PRUNED_AT_ONCE: u32 = 1_000;

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

impl Store {
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
                .at_most(1)
                .get_result(c)
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
                .at_most(1)
                .get_result(c)
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
                    .at_most(PRUNED_AT_ONCE)
                    .load(c))?;
                Ok(on!(conn, |c| diesel::delete(deliveries::table.filter(deliveries::id.eq_any(&ids))).execute(c))?)
            })?;
            gone += u64::try_from(removed).unwrap_or(0);
            if u32::try_from(removed).unwrap_or(u32::MAX) < PRUNED_AT_ONCE {
                return Ok(gone);
            }
        }
    }
}
