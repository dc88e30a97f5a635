//! The gate: everything between the network and tiny_http. It accepts connections, takes in whole requests under
//! deadlines and bounds, and lets through what can be understood in one way only.
//!
//! It runs on a small tokio runtime of its own: a flood at the port must not slow the schedule and the signals,
//! and a stop can end whatever is left by ending the runtime. Handlers never run on it.
//!
//! What bounds the memory: `buffered_bytes_max` for all connections together; one copy of a request and one
//! of an answer for each worker; and some 3 KiB for each connection.

mod back;
mod connection;
mod counters;
pub mod framing;
mod rate;
mod table;
mod turns;
mod wire;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, watch};
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::message::RequestId;
use super::sockets::{Accepted, Door};
use super::sources::{AllowList, Peer};
use super::{Service, Setup};
use crate::config::Listen;

use back::Back;
use connection::Connection;
use counters::Counters;
use rate::Buckets;
use table::{Source, Table};

pub use counters::{Refusal, Stats};

/// Threads of the runtime. Moving bytes and reading heads takes one core at some ten thousand requests a second; the
/// second keeps a flood on one from stopping the other.
pub(super) const THREADS: usize = 2;
/// Slow calls that may wait.
const SLOW_QUEUE: usize = 32;
/// The pause after a failed accept: descriptors have run out, which takes a moment to change.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often the log tells who was turned away.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// How often a stop looks whether all is done.
const STOP_LOOK: Duration = Duration::from_millis(10);

/// What all connections share.
pub(super) struct Gate {
    settings: Listen,
    service: Arc<dyn Service>,
    allow: AllowList,
    table: Arc<Table>,
    counters: Arc<Counters>,
    rates: Mutex<Buckets>,
    back: Back,
    ids: Ids,
    slow_queue: Semaphore,
    stopping: watch::Receiver<bool>,
}

impl Gate {
    /// Opens the way to the workers; `connections_max` is what descriptors allow.
    pub(super) async fn open(
        setup: Setup,
        connections_max: usize,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, String> {
        let Setup { settings, service, seed } = setup;
        let limits = &settings.limits;
        let counters = Arc::new(Counters::default());
        let table = Table::new(
            connections_max,
            limits.connections_per_address_max,
            limits.buffered_bytes_max,
            Arc::clone(&counters),
        );
        let rates = Buckets::new(limits.requests_per_second_per_address, limits.requests_per_second, Instant::now());
        let allow =
            if settings.allow.is_empty() { AllowList::everybody() } else { AllowList::only(settings.allow.clone()) };
        Ok(Self {
            back: Back::open(Arc::clone(&service)).await?,
            service,
            allow,
            table,
            counters,
            rates: Mutex::new(rates),
            ids: Ids { seed, count: AtomicU64::new(0) },
            slow_queue: Semaphore::new(SLOW_QUEUE),
            stopping,
            settings,
        })
    }

    /// Accepts at all doors until the stop, then waits for what is in hand, at most until the time that is said
    /// with it. Answers whether everything ended by itself.
    pub(super) async fn run(
        self: &Arc<Self>,
        doors: Vec<Door>,
        mut stop: watch::Receiver<Option<Instant>>,
        stopping: &watch::Sender<bool>,
    ) -> bool {
        let mut accepting = tokio::task::JoinSet::new();
        for door in doors {
            accepting.spawn(accept(Arc::clone(self), door));
        }
        accepting.spawn(tell(Arc::clone(&self.counters)));
        // Without the sender nobody could stop it any more, which is a stop too.
        let until = match stop.wait_for(Option::is_some).await {
            Ok(until) => (*until).unwrap_or_else(Instant::now),
            Err(_) => Instant::now(),
        };
        // The doors close, and new connections are refused by the system.
        accepting.shutdown().await;
        stopping.send_replace(true);
        while self.table.load().0 > 0 {
            if Instant::now() >= until {
                return false;
            }
            sleep(STOP_LOOK).await;
        }
        true
    }

    pub(super) fn stats(&self) -> Stats {
        let (connections, buffered_bytes) = self.table.load();
        Stats {
            connections,
            buffered_bytes,
            connections_max: self.table.connections_max(),
            answered: self.counters.answered(),
            refused: self.counters.refused(),
        }
    }

    /// Ends the workers; whether they had ended by then.
    pub(super) fn close(self, until: Instant) -> bool {
        self.back.close(until)
    }

    fn next_id(&self) -> RequestId {
        self.ids.next()
    }
}

/// Accepts at one door for ever. No error ends it.
async fn accept(gate: Arc<Gate>, door: Door) {
    loop {
        match door.accept().await {
            Ok(Accepted { stream, peer }) => {
                let source = match peer {
                    _ if peer.trusted(&gate.settings.proxies) => Source::Proxy,
                    Peer::Address(address) => Source::Address(super::sources::household(address)),
                    Peer::Unix => Source::Nobody,
                };
                match gate.table.admit(source) {
                    Ok(seat) => {
                        tokio::spawn(Connection::new(Arc::clone(&gate), stream, peer, seat).run());
                    }
                    Err(table::Full) => gate.counters.refuse(Refusal::Overloaded),
                }
            }
            // Gone between its arrival and our hello.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => {
                // Said by the minute's line. Others than we may hold the descriptors, so waiting alone might not help.
                gate.counters.refuse(Refusal::AcceptFailed);
                gate.table.make_room();
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Tells the log once a minute who was turned away.
async fn tell(counters: Arc<Counters>) {
    let mut before = Vec::new();
    let mut ticks = interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = counters.refused();
        if let Some(line) = counters::line(&before, &now) {
            log::info!("{line}");
        }
        before = now;
    }
}

/// Names for requests: no two alike in one process, and those of two processes alike only by rare chance.
struct Ids {
    seed: u64,
    count: AtomicU64,
}

impl Ids {
    fn next(&self) -> RequestId {
        // The steps and the mixing of splitmix64, which map different numbers to different numbers.
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        let mut word = self.seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        RequestId::from_number(word ^ (word >> 31))
    }
}
