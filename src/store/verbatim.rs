//! Statements whose text says all that the code chooses, and that are kept prepared: to prepare one costs more than to
//! execute it, and on a server a round trip.
//!
//! SQLite plans a statement anew at each execution when its plan may hang on what is bound, and that costs more than most
//! of our statements. So what the code chooses is not bound: a limit (diesel's `limit` and `first` bind it) and whatever
//! the condition of a partial index names (`LIVE`, `RUNG`). Each text is a statement of its own, and all are kept.
//!
//! diesel keeps no `UPDATE` and no upsert, because it cannot tell how many texts there will be. We can: see [`KeptDsl`].

use diesel::RunQueryDsl;
use diesel::backend::Backend;
use diesel::expression::{AppearsOnTable, Expression, SelectableExpression, ValidGrouping, is_aggregate};
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types::Bool;

/// A query with its limit.
pub(super) struct AtMost<Q> {
    query: Q,
    rows: u32,
}

/// Limits any query to so many rows.
pub(super) trait AtMostDsl: Query + Sized {
    /// This query, limited to so many rows.
    fn at_most(self, rows: u32) -> AtMost<Self> {
        AtMost { query: self, rows }
    }
}

impl<Q: Query> AtMostDsl for Q {}

impl<Q, DB> QueryFragment<DB> for AtMost<Q>
where
    DB: Backend,
    Q: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.query.walk_ast(out.reborrow())?;
        out.push_sql(" LIMIT ");
        out.push_sql(&self.rows.to_string());
        Ok(())
    }
}

impl<Q> QueryId for AtMost<Q> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // The text, which tells the limit, is what it is kept under.
}

impl<Q: Query> Query for AtMost<Q> {
    type SqlType = Q::SqlType;
}

impl<Q, C> RunQueryDsl<C> for AtMost<Q> {}

/// A condition on columns whose names are one table's of those that the query is about.
#[derive(Clone, Copy)]
pub(super) struct Condition(pub(super) &'static str);

impl<DB: Backend> QueryFragment<DB> for Condition {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl QueryId for Condition {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // As above.
}

impl Expression for Condition {
    type SqlType = Bool;
}

impl<G> ValidGrouping<G> for Condition {
    type IsAggregate = is_aggregate::No;
}

impl<Q> SelectableExpression<Q> for Condition {}

impl<Q> AppearsOnTable<Q> for Condition {}

/// A statement that is kept whatever diesel thinks of it.
pub(super) struct Kept<S>(S);

/// Has a statement kept prepared: one of few texts, so not one with a row or a key for each of many items. It must return
/// something, for diesel asks about what is only executed behind a reference, where it does not hear us.
pub(super) trait KeptDsl: Query + Sized {
    /// This statement, kept.
    fn kept(self) -> Kept<Self> {
        Kept(self)
    }
}

impl<S: Query> KeptDsl for S {}

impl<S, DB> QueryFragment<DB> for Kept<S>
where
    DB: Backend,
    S: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }

    fn is_safe_to_cache_prepared(&self, _backend: &DB) -> QueryResult<bool> {
        Ok(true)
    }
}

impl<S> QueryId for Kept<S> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false; // As above.
}

impl<S: Query> Query for Kept<S> {
    type SqlType = S::SqlType;
}

impl<S, C> RunQueryDsl<C> for Kept<S> {}
