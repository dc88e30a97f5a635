//! `column IN (...)` as a statement that is prepared once.
//!
//! diesel's own list (`eq_any`) is prepared anew every time on SQLite, a fifth of the cost of looking up a page of
//! items. This one pads the list to one of few lengths, so that its statements can be kept.

use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::serialize::ToSql;
use diesel::sql_types::{Bool, HasSqlType};

/// The longest list: far below SQLite's 32,766 parameters.
pub(super) const LONGEST: usize = LENGTHS[LENGTHS.len() - 1];

/// A page of either service is up to 100 items; a visit looks up one or two.
const LENGTHS: [usize; 4] = [2, 10, 100, 500];

/// Whether a column holds one of these values.
pub(super) struct Among<'a, C, T> {
    column: C,
    values: &'a [T],
}

/// Whether `column` holds one of `values`: at least one, at most [`LONGEST`].
pub(super) const fn among<C, T>(column: C, values: &[T]) -> Among<'_, C, T> {
    Among { column, values }
}

impl<C, T, DB> QueryFragment<DB> for Among<'_, C, T>
where
    DB: Backend + HasSqlType<C::SqlType>,
    C: Expression + QueryFragment<DB>,
    T: ToSql<C::SqlType, DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        let length = LENGTHS.into_iter().find(|length| *length >= self.values.len()).unwrap_or(self.values.len());
        self.column.walk_ast(out.reborrow())?;
        out.push_sql(" IN (");
        // The last value once more finds nothing more.
        let padding = self.values.last().into_iter().cycle();
        for (place, value) in self.values.iter().chain(padding).take(length).enumerate() {
            if place > 0 {
                out.push_sql(", ");
            }
            out.push_bind_param::<C::SqlType, T>(value)?;
        }
        out.push_sql(")");
        Ok(())
    }
}

impl<C, T> QueryId for Among<'_, C, T> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // The text, which tells the length, is what it is kept under.
}

impl<C: Expression, T> Expression for Among<'_, C, T> {
    type SqlType = Bool;
}

impl<C, T, G> ValidGrouping<G> for Among<'_, C, T> {
    type IsAggregate = is_aggregate::No;
}

impl<C: SelectableExpression<Q>, T, Q> SelectableExpression<Q> for Among<'_, C, T> {}

impl<C: AppearsOnTable<Q>, T, Q> AppearsOnTable<Q> for Among<'_, C, T> {}
