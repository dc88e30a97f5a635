//! Notices: what a task is told once in a comment, durable from the delivery that asked for it.

use diesel::prelude::*;

use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::notices;
use super::verbatim::{AtMostDsl, Condition};
use super::{Lease, NewEntry, Store, StoreError, columns, history, leases, links as pairs};
use crate::model::{IssueRef, ItemKey, Link, RouteName, TaskGid, Timestamp};

/// What was not given yet. As a part of the text: an index hangs on it, see [`super::verbatim`].
const OPEN: Condition = Condition("state = 'open'");

/// Something a linked task is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNotice {
    /// What happened, once for each task: `pull acme/app#12 merged`.
    pub key: String,
    /// The issue whose task is told.
    pub issue: IssueRef,
    /// The comment, in canonical Markdown.
    pub text: String,
    /// What the history says about it.
    pub cause: String,
    /// The routes that want it; on others it is kept as a cause only.
    pub routes: Vec<RouteName>,
}

/// A notice that was not given yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its row.
    pub id: i64,
    /// The task that is told.
    pub task: TaskGid,
    /// Its issue.
    pub issue: IssueRef,
    /// The comment, in canonical Markdown.
    pub text: String,
    /// What the history says about it.
    pub cause: String,
    /// When it was asked for.
    pub at: Timestamp,
    /// Whether the comment may stand there already, because it was about to be sent before.
    pub tried: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = notices)]
struct NoticeRow {
    id: i64,
    task: String,
    issue: String,
    text: String,
    cause: String,
    at: i64,
    tried_at: Option<i64>,
}

#[derive(Insertable)]
#[diesel(table_name = notices)]
struct NoticeInsert<'a> {
    route: String,
    key: String,
    task: String,
    issue: String,
    text: String,
    cause: String,
    state: &'a str,
    at: i64,
}

impl Store {
    /// The notices of a route that were not given yet, oldest first, at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn open_notices(&self, route: &RouteName, limit: u32) -> Result<Vec<Notice>, StoreError> {
        self.backend.read(format_args!("route {route}: reading open notices"), |conn| {
            let rows: Vec<NoticeRow> = on!(conn, |c| notices::table
                .select(NoticeRow::as_select())
                .filter(notices::route.eq(route.as_str()))
                .filter(OPEN)
                .order(notices::id)
                .at_most(limit)
                .load(c))?;
            rows.into_iter()
                .map(|row| {
                    let NoticeRow { id, task, issue, text, cause, at, tried_at } = row;
                    let what = format_args!("notice {id}");
                    Ok(Notice {
                        id,
                        task: columns::parse(what, &task)?,
                        issue: columns::parse(what, &issue)?,
                        text,
                        cause,
                        at: columns::moment(what, at)?,
                        tried: tried_at.is_some(),
                    })
                })
                .collect()
        })
    }

    /// The causes of notices about an issue that came after `from`, newest first: what its closing may be due to.
    ///
    /// # Errors
    /// When the database fails.
    pub fn notice_causes(
        &self,
        route: &RouteName,
        issue: &IssueRef,
        from: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        self.backend.read(format_args!("route {route}: reading what was told about github:{issue}"), |conn| {
            Ok(on!(conn, |c| notices::table
                .select((notices::key, notices::cause))
                .filter(notices::route.eq(route.as_str()))
                .filter(notices::issue.eq(issue.to_string()))
                .filter(notices::at.ge(columns::millis(from)))
                .order(notices::id.desc())
                .at_most(20)
                .load(c))?)
        })
    }

    /// Writes down that a notice's comment is about to be sent: from now on it is looked for first.
    ///
    /// # Errors
    /// `LostLease` when the lease is no longer ours, and when the database fails.
    pub fn try_notice(&self, lease: &Lease, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.backend.write(format_args!("trying notice {id}"), |conn| {
            leases::fence(conn, lease)?;
            on!(conn, |c| diesel::update(notices::table.filter(notices::id.eq(id)))
                .set(notices::tried_at.eq(columns::millis(now)))
                .execute(c))?;
            Ok(())
        })
    }

    /// Writes down that a notice was given, with its entry in the history, or given up (no entry).
    ///
    /// # Errors
    /// `LostLease` when the lease is no longer ours, and when the database fails.
    pub fn settle_notice(&self, lease: &Lease, id: i64, entry: Option<NewEntry>) -> Result<(), StoreError> {
        let route = &lease.route;
        self.backend.write(format_args!("settling notice {id}"), |conn| {
            leases::fence(conn, lease)?;
            let state = if entry.is_some() { "told" } else { "given up" };
            on!(conn, |c| diesel::update(notices::table.filter(notices::id.eq(id)))
                .set(notices::state.eq(state))
                .execute(c))?;
            let entries: Vec<NewEntry> = entry.into_iter().collect();
            history::append(conn, route, &entries, &|_| None)
        })
    }
}

/// Keeps what linked tasks are to be told; an event that was told already is not told again.
pub(super) fn announce(conn: &mut Conn<'_>, new: &[NewNotice], now: Timestamp) -> Result<(), Fault> {
    for notice in new {
        let Some(link) = pairs::live_link(conn, &ItemKey::Issue(notice.issue.clone()))? else { continue };
        let state = if notice.routes.contains(&link.route) { "open" } else { "silent" };
        let Link { route, task, issue, .. } = link;
        let row = NoticeInsert {
            route: route.to_string(),
            key: columns::clean(&format!("{} {}", notice.key, columns::key(&ItemKey::Issue(issue.clone())))),
            task: task.to_string(),
            issue: issue.to_string(),
            text: columns::clean(&notice.text),
            cause: columns::clean(&notice.cause),
            state,
            at: columns::millis(now),
        };
        on!(conn, |c| diesel::insert_into(notices::table)
            .values(&row)
            .on_conflict((notices::route, notices::key))
            .do_nothing()
            .execute(c))?;
    }
    Ok(())
}
