//! Who is connected and what is held for whom: the bounds on connections and on bytes, and who has to go
//! when they are reached.
//!
//! Nobody who arrives is refused while somebody sits there and does nothing: at the bound the connection to go is
//! chosen from the address that has most of them, resting ones first, then the one that has been at it longest.
//! Bytes alike: whoever holds most at the address that holds most. A connection whose request is whole and being
//! answered is never chosen; the number of those is bounded by the workers and the queue before them.
//!
//! Connections are chosen from an order that is kept for each address, as a flood of new ones asks for it at each of
//! them. For bytes all connections are looked at, a tenth of a millisecond for some thousands, and only at the bound.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::counters::{Counters, Refusal};
use crate::clock::lock;

/// On whose account a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A client's address, or an IPv6 client's network.
    Address(IpAddr),
    /// Someone without an address: this machine's Unix socket.
    Nobody,
    /// A trusted proxy that has not said yet for whom it speaks.
    Proxy,
}

/// What a connection is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its request is whole: waiting for a worker, or at one.
    InHand,
    /// Sending a request, or taking an answer.
    Moving,
    /// Between two requests.
    Resting,
}

/// The connections, shared by all who serve them.
#[derive(Debug)]
pub(super) struct Table {
    rows: Mutex<Rows>,
    counters: Arc<Counters>,
    connections_max: usize,
    per_address_max: usize,
    bytes_max: usize,
}

#[derive(Debug, Default)]
struct Rows {
    rows: HashMap<u64, Row>,
    shares: HashMap<Source, Share>,
    bytes: usize,
    /// Numbers connections, and each new state of one: a smaller number is older.
    next: u64,
}

#[derive(Debug)]
struct Row {
    source: Source,
    state: State,
    since: u64,
    bytes: usize,
    cut: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Share {
    connections: usize,
    bytes: usize,
    /// Those of the connections that may be dropped, the one to go first in front: whether it is at work, since when,
    /// its number.
    loose: BTreeSet<(bool, u64, u64)>,
}

/// The bytes there are, are held, and the asker is who holds most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Table {
    pub(super) fn new(
        connections_max: usize,
        per_address_max: usize,
        bytes_max: usize,
        counters: Arc<Counters>,
    ) -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), counters, connections_max, per_address_max, bytes_max })
    }

    /// A seat for a new connection, at somebody else's cost if need be.
    ///
    /// # Errors
    /// When every connection there is, is being answered.
    pub(super) fn admit(self: &Arc<Self>, source: Source) -> Result<Seat, Full> {
        let mut rows = lock(&self.rows);
        let own = rows.shares.get(&source).map_or(0, |share| share.connections);
        if matches!(source, Source::Address(_)) && own >= self.per_address_max {
            self.cut_one(&mut rows, Some(source))?;
        } else if rows.rows.len() >= self.connections_max {
            self.cut_one(&mut rows, None)?;
        }
        let id = rows.next;
        rows.next += 1;
        let cut = Arc::new(Notify::new());
        let row = Row { source, state: State::Moving, since: id, bytes: 0, cut: Arc::clone(&cut) };
        rows.enter(id, row);
        Ok(Seat { table: Arc::clone(self), id, cut })
    }

    /// Drops the connection that can best be done without, if there is one: descriptors have run out.
    pub(super) fn make_room(&self) {
        // Nobody to drop: whoever is being answered will be gone soon.
        let _ = self.cut_one(&mut lock(&self.rows), None);
    }

    /// Drops a connection; only of one source if that is said.
    fn cut_one(&self, rows: &mut Rows, only: Option<Source>) -> Result<(), Full> {
        let candidates = rows.shares.iter().filter(|(source, _)| only.is_none_or(|only| **source == only));
        let candidates = candidates.filter_map(|(source, share)| {
            let first = share.loose.first()?;
            // A proxy's connections carry many clients.
            Some(((*source != Source::Proxy, share.connections, Reverse(first)), first.2))
        });
        let (_, id) = candidates.max().ok_or(Full)?;
        self.cut(rows, id, Refusal::ConnectionsFull);
        Ok(())
    }

    /// Ends a connection: what it held counts as free from here on, and is as soon as its task hears of it.
    fn cut(&self, rows: &mut Rows, id: u64, reason: Refusal) {
        if let Some(row) = rows.remove(id) {
            row.cut.notify_one();
            self.counters.refuse(reason);
        }
    }

    /// Connections and bytes now.
    pub(super) fn load(&self) -> (usize, usize) {
        let rows = lock(&self.rows);
        (rows.rows.len(), rows.bytes)
    }

    pub(super) fn connections_max(&self) -> usize {
        self.connections_max
    }
}

impl Rows {
    fn remove(&mut self, id: u64) -> Option<Row> {
        let row = self.rows.remove(&id)?;
        self.bytes -= row.bytes;
        if let Some(share) = self.shares.get_mut(&row.source) {
            share.connections -= 1;
            share.bytes -= row.bytes;
            share.loose.remove(&row.order(id));
            if share.connections == 0 {
                self.shares.remove(&row.source);
            }
        }
        Some(row)
    }

    fn enter(&mut self, id: u64, row: Row) {
        self.bytes += row.bytes;
        let share = self.shares.entry(row.source).or_default();
        share.connections += 1;
        share.bytes += row.bytes;
        if row.state != State::InHand {
            share.loose.insert(row.order(id));
        }
        self.rows.insert(id, row);
    }

    /// Changes where a connection stands, if it is still there.
    fn change(&mut self, id: u64, change: impl FnOnce(&mut Row)) {
        if let Some(mut row) = self.remove(id) {
            change(&mut row);
            self.enter(id, row);
        }
    }

    fn release(&mut self, id: u64, bytes: usize) {
        let Some(row) = self.rows.get_mut(&id) else { return };
        let bytes = bytes.min(row.bytes);
        row.bytes -= bytes;
        self.bytes -= bytes;
        if let Some(share) = self.shares.get_mut(&row.source) {
            share.bytes -= bytes;
        }
    }
}

impl Row {
    fn order(&self, id: u64) -> (bool, u64, u64) {
        (self.state != State::Resting, self.since, id)
    }
}

/// A connection's place in the table, given up when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    table: Arc<Table>,
    id: u64,
    cut: Arc<Notify>,
}

impl Seat {
    /// Hears when the connection has to go.
    pub(super) fn cut(&self) -> Arc<Notify> {
        Arc::clone(&self.cut)
    }

    /// Says what the connection is at.
    pub(super) fn state(&self, state: State) {
        let mut rows = lock(&self.table.rows);
        let since = rows.next;
        rows.next += 1;
        if rows.rows.get(&self.id).is_some_and(|row| row.state != state) {
            rows.change(self.id, |row| (row.state, row.since) = (state, since));
        }
    }

    /// Says on whose account it goes, now that its client is known.
    pub(super) fn attribute(&self, source: Source) {
        let mut rows = lock(&self.table.rows);
        if rows.rows.get(&self.id).is_some_and(|row| row.source != source) {
            rows.change(self.id, |row| row.source = source);
        }
    }

    /// Takes so many more bytes, at the cost of whoever holds most if need be.
    ///
    /// # Errors
    /// When that is this connection itself, or it has been cut.
    pub(super) fn charge(&self, bytes: usize) -> Result<(), Full> {
        let mut rows = lock(&self.table.rows);
        // As it would be with them.
        let row = rows.rows.get_mut(&self.id).ok_or(Full)?;
        row.bytes += bytes;
        let source = row.source;
        rows.bytes += bytes;
        rows.shares.entry(source).or_default().bytes += bytes;
        while rows.bytes > self.table.bytes_max {
            let candidates = rows.rows.iter().filter(|(id, row)| row.state != State::InHand || **id == self.id);
            let worst = candidates.filter(|(_, row)| row.bytes > 0).max_by_key(|(_, row)| {
                (rows.shares.get(&row.source).map_or(0, |share| share.bytes), row.bytes, Reverse(row.since))
            });
            let id = *worst.ok_or(Full)?.0;
            if id == self.id {
                // The one who asks is told, and so can still say why.
                rows.release(self.id, bytes);
                self.table.counters.refuse(Refusal::BytesFull);
                return Err(Full);
            }
            self.table.cut(&mut rows, id, Refusal::BytesFull);
        }
        Ok(())
    }

    /// Gives bytes back.
    pub(super) fn release(&self, bytes: usize) {
        lock(&self.table.rows).release(self.id, bytes);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.table.rows).remove(self.id);
    }
}

/// Bytes that are charged to a connection while they are kept.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    pub(super) bytes: Vec<u8>,
    charged: usize,
}

/// What a buffer takes first: a usual head.
const FIRST: usize = 1 << 10;

impl Buffer {
    /// Makes room for `more` bytes without growing beyond `most`, unless these need it.
    pub(super) fn reserve(&mut self, seat: &Seat, more: usize, most: usize) -> Result<(), Full> {
        let wanted = self.bytes.len() + more;
        let capacity = self.bytes.capacity();
        if wanted > capacity {
            let grown = (capacity * 2).max(FIRST).min(most).max(wanted);
            seat.charge(grown - self.charged)?;
            self.charged = grown;
            self.bytes.reserve_exact(grown - self.bytes.len());
        }
        Ok(())
    }

    pub(super) fn extend(&mut self, seat: &Seat, bytes: &[u8], most: usize) -> Result<(), Full> {
        self.reserve(seat, bytes.len(), most)?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    /// Drops the first bytes, and the memory too when nothing is left.
    pub(super) fn consume(&mut self, seat: &Seat, count: usize) {
        if count >= self.bytes.len() {
            self.give_back(seat);
        } else {
            self.bytes.drain(..count);
        }
    }

    /// Gives the memory back.
    pub(super) fn give_back(&mut self, seat: &Seat) {
        self.bytes = Vec::new();
        seat.release(std::mem::take(&mut self.charged));
    }

    /// The bytes, no longer kept here; what was charged for them is to be [released](Seat::release) by the caller.
    pub(super) fn take(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.bytes), std::mem::take(&mut self.charged))
    }
}

#[cfg(test)]
mod tests;
