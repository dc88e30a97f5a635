//! One step of a pass made durable: all of it or none, and only while the lease is ours.

use std::collections::BTreeMap;

use super::{Lease, Record, Recorded, Store, StoreError, dues, history, intents, leases, links, notes};
use crate::model::{ItemKey, LinkId, Timestamp};

impl Store {
    /// Makes one step of a pass durable: all of it or none of it, in the order of [`Record`]'s fields.
    ///
    /// Every row it touches must be of the lease's route. An item in `clear_due` and in `due` is due anew, and keeps
    /// the time since when it waits.
    ///
    /// # Errors
    /// `LostLease` when the lease is no longer ours, `AlreadyLinked` when a task or an issue would be in two links,
    /// `Failed` when a link to change is not there, and when the database fails. Nothing was written then.
    pub fn record(&self, lease: &Lease, record: &Record, now: Timestamp) -> Result<Recorded, StoreError> {
        let Record {
            link,
            remember,
            change,
            rename,
            unlink,
            close_intents,
            clear_due,
            due,
            history: entries,
            cursors,
            notes: texts,
        } = record;
        let route = &lease.route;
        let mut linked_twice = false;
        let done = self.backend.write(format_args!("route {route}: recording a step"), |conn| {
            leases::fence(conn, lease)?;
            let mut paired = || {
                let made = links::insert(conn, route, link, now)?;
                links::remember(conn, route, remember, now)?;
                for (id, change) in change {
                    links::update(conn, route, *id, change, now)?;
                }
                Ok(made)
            };
            let made: Vec<LinkId> =
                paired().inspect_err(|fault: &super::error::Fault| linked_twice = fault.is_duplicate())?;
            for (id, reason) in unlink {
                links::remove(conn, route, *id, reason, now)?;
            }
            intents::close(conn, route, close_intents)?;
            dues::replace(conn, route, clear_due, due, now)?;
            // After what this step names by the former name.
            if let Some((repo_id, name)) = rename {
                links::rename(conn, route, *repo_id, name, now)?;
            }
            let by_item: BTreeMap<ItemKey, LinkId> = link
                .iter()
                .zip(&made)
                .flat_map(|(pair, id)| {
                    [(ItemKey::Task(pair.task.clone()), *id), (ItemKey::Issue(pair.issue.clone()), *id)]
                })
                .collect();
            history::append(conn, route, entries, &|item| by_item.get(item).copied())?;
            for (side, cursor) in cursors {
                notes::set_cursor(conn, route, *side, cursor, now)?;
            }
            for (name, value) in texts {
                notes::set_note(conn, route, name, value, now)?;
            }
            Ok(Recorded { links: made })
        });
        match done {
            Err(error) if linked_twice => Err(self.refused(&self.claims(link, change)?)?.unwrap_or(error)),
            done => done,
        }
    }
}
