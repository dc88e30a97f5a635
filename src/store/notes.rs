//! Cursors and notes: where the next poll resumes, and small texts of a route by name.

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::{cursors, notes};
use super::verbatim::KeptDsl;
use super::{Store, StoreError, columns};
use crate::model::{BySide, RouteName, Side, Timestamp};
use crate::provider::Cursor;

impl Store {
    /// The cursors of a route.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cursors(&self, route: &RouteName) -> Result<BySide<Option<Cursor>>, StoreError> {
        self.backend.read(format_args!("route {route}: reading the cursors"), |conn| {
            let rows: Vec<(String, String)> = on!(conn, |c| cursors::table
                .select((cursors::side, cursors::value))
                .filter(cursors::route.eq(route.as_str()))
                .load(c))?;
            let mut found = BySide::default();
            for (side, value) in rows {
                found[columns::side(format_args!("a cursor of route {route}"), &side)?] = Some(value);
            }
            Ok(found)
        })
    }

    /// When the cursors of a route last moved.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cursor_times(&self, route: &RouteName) -> Result<BySide<Option<Timestamp>>, StoreError> {
        self.backend.read(format_args!("route {route}: reading the cursors' times"), |conn| {
            let rows: Vec<(String, i64)> = on!(conn, |c| cursors::table
                .select((cursors::side, cursors::at))
                .filter(cursors::route.eq(route.as_str()))
                .load(c))?;
            let mut found = BySide::default();
            for (side, at) in rows {
                let what = format_args!("a cursor of route {route}");
                found[columns::side(what, &side)?] = Some(columns::moment(what, at)?);
            }
            Ok(found)
        })
    }

    /// A note of a route.
    ///
    /// # Errors
    /// When the database fails.
    pub fn note(&self, route: &RouteName, name: &str) -> Result<Option<String>, StoreError> {
        self.backend.read(format_args!("route {route}: reading the note {name}"), |conn| {
            Ok(on!(conn, |c| notes::table
                .select(notes::value)
                .filter(notes::route.eq(route.as_str()))
                .filter(notes::name.eq(name))
                .get_result(c)
                .optional())?)
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = cursors)]
struct CursorInsert<'a> {
    route: &'a str,
    side: &'a str,
    value: String,
    at: i64,
}

/// Stores a cursor in place of the one before.
pub(super) fn set_cursor(
    conn: &mut Conn<'_>,
    route: &RouteName,
    side: Side,
    cursor: &Cursor,
    now: Timestamp,
) -> Result<(), Fault> {
    let row = CursorInsert {
        route: route.as_str(),
        side: side.as_str(),
        value: columns::clean(cursor),
        at: columns::millis(now),
    };
    let _: i64 = on!(conn, |c| diesel::insert_into(cursors::table)
        .values(&row)
        .on_conflict((cursors::route, cursors::side))
        .do_update()
        .set((cursors::value.eq(excluded(cursors::value)), cursors::at.eq(excluded(cursors::at))))
        .returning(cursors::at)
        .kept()
        .get_result(c))?;
    Ok(())
}

#[derive(Insertable)]
#[diesel(table_name = notes)]
struct NoteInsert<'a> {
    route: &'a str,
    name: &'a str,
    value: String,
    at: i64,
}

/// Stores a note in place of the one before.
pub(super) fn set_note(
    conn: &mut Conn<'_>,
    route: &RouteName,
    name: &str,
    value: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let row = NoteInsert { route: route.as_str(), name, value: columns::clean(value), at: columns::millis(now) };
    let _: i64 = on!(conn, |c| diesel::insert_into(notes::table)
        .values(&row)
        .on_conflict((notes::route, notes::name))
        .do_update()
        .set((notes::value.eq(excluded(notes::value)), notes::at.eq(excluded(notes::at))))
        .returning(notes::at)
        .kept()
        .get_result(c))?;
    Ok(())
}
