//! The HTTP listener: what it serves is a [`Service`], what it bears is in `[listen]`.
//!
//! Three layers, each with what it can be trusted with: the gate (`gate`) faces the network and takes in whole,
//! unambiguous requests under bounds; tiny_http behind it hands them to a few worker threads; the service answers
//! them with plain blocking code and knows nothing of either.
//!
//! Promised, whatever bytes come: no panic, no more memory than the bounds, a whole request of an honest client
//! answered while others dawdle. A stop finishes what is in hand.

pub mod api;
pub mod front;
pub mod gate;
pub mod message;
mod sockets;
pub mod sources;
pub mod turned_away;
pub mod webhooks;

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::Listen;

pub use gate::{Refusal, Stats};
pub use message::{Admission, Answer, Head, Pace, Request, RequestId};

use gate::Gate;
use sockets::Bound;

/// What answers the requests.
pub trait Service: Send + Sync + 'static {
    /// Judges a request by its head, before its body is there: how large that may be and how long the answer will
    /// take, or an early answer (404, 405 with `Allow`, 413, 415, 401), after which the body is not read.
    ///
    /// Called where bytes are moved, so it must not wait for anything: no database, no file, no lock held for long.
    ///
    /// # Errors
    /// The early answer.
    fn admit(&self, head: &Head) -> Result<Admission, Answer>;

    /// Answers a whole request, on a worker's thread. Must come to an end by itself: nothing can take the worker
    /// away from it. A panic is answered 500.
    fn answer(&self, request: Request) -> Answer;
}

/// What a listener is started with.
pub(crate) struct Setup {
    pub(crate) settings: Listen,
    pub(crate) service: Arc<dyn Service>,
    pub(crate) seed: u64,
}

/// A listener at work. Dropping it stops it as [`stop`](Self::stop) does, with [`DROP_GRACE`].
pub struct Listener {
    addresses: Vec<Option<SocketAddr>>,
    gate: std::sync::Weak<Gate>,
    stop: watch::Sender<Option<Instant>>,
    thread: Option<JoinHandle<bool>>,
}

/// How long a listener that is merely dropped waits for requests in hand.
pub const DROP_GRACE: Duration = Duration::from_secs(2);
/// What the runtime gets to end what is left after the grace.
const ABANDON: Duration = Duration::from_millis(200);

impl fmt::Debug for Listener {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Listener at {:?}", self.addresses)
    }
}

impl Listener {
    /// Starts listening. Raises the limit of open files to what the system allows. `seed` makes the ids of requests
    /// differ from those of other processes.
    ///
    /// # Errors
    /// When the address is taken or cannot be used, with what to do; when threads or sockets cannot be made.
    pub fn start(settings: &Listen, service: Arc<dyn Service>, seed: u64) -> Result<Self, String> {
        let bound = sockets::bind(&settings.address)?;
        let connections_max = sockets::room_for(settings.limits.connections_max);
        let setup = Setup { settings: settings.clone(), service, seed };
        let (stop, stopped) = watch::channel(None);
        let (started, start) = mpsc::channel();
        // A thread of its own, so that a listener can be started, stopped and dropped from anywhere: a runtime must
        // not be dropped inside of another.
        let thread = std::thread::Builder::new()
            .name("gate".to_owned())
            .spawn(move || run(setup, connections_max, bound, stopped, &started))
            .map_err(|error| format!("the listener's thread cannot start: {error}"))?;
        match start.recv() {
            Ok(Ok((gate, addresses))) => Ok(Self { addresses, gate, stop, thread: Some(thread) }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err("the listener ended before it began, which is a fault of this program".to_owned()),
        }
    }

    /// Where it listens on TCP: the first such socket, with the port it got. None when there are only Unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.addresses.iter().copied().flatten().next()
    }

    /// What it has counted so far.
    pub fn stats(&self) -> Stats {
        self.gate.upgrade().map(|gate| gate.stats()).unwrap_or_default()
    }

    /// Stops: takes no new connection, ends those that rest, finishes the requests in hand, at most for `grace`.
    /// Blocks for as long. Answers whether all of them were finished; a handler that was not is left behind.
    pub fn stop(mut self, grace: Duration) -> bool {
        self.end(grace)
    }

    fn end(&mut self, grace: Duration) -> bool {
        let Some(thread) = self.thread.take() else { return true };
        self.stop.send_replace(Some(Instant::now() + grace));
        thread.join().unwrap_or(false)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.end(DROP_GRACE);
    }
}

type Started = Result<(std::sync::Weak<Gate>, Vec<Option<SocketAddr>>), String>;

/// The life of the gate, on its own thread; whether it ended with nothing left.
fn run(
    setup: Setup,
    connections_max: usize,
    bound: Vec<Bound>,
    stop: watch::Receiver<Option<Instant>>,
    started: &mpsc::Sender<Started>,
) -> bool {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = match runtime.worker_threads(gate::THREADS).thread_name("gate").enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Who waits for it is in `start`.
            let _ = started.send(Err(format!("the listener's runtime cannot start: {error}")));
            return false;
        }
    };
    let (stopping, stopped) = watch::channel(false);
    let done = runtime.block_on(async {
        let open = async {
            let doors: Result<Vec<_>, _> = bound.into_iter().map(Bound::open).collect();
            let doors = doors.map_err(|error| format!("the listener's sockets cannot be used: {error}"))?;
            Ok((Arc::new(Gate::open(setup, connections_max, stopped).await?), doors))
        };
        let (gate, doors) = match open.await {
            Ok(opened) => opened,
            Err(error) => {
                let _ = started.send(Err(error));
                return None;
            }
        };
        let addresses = doors.iter().map(sockets::Door::address).collect();
        let _ = started.send(Ok((Arc::downgrade(&gate), addresses)));
        let finished = gate.run(doors, stop.clone(), &stopping).await;
        Some((gate, finished))
    });
    let Some((gate, finished)) = done else { return false };
    // Ends every connection that is left, and with it its hold on the gate.
    runtime.shutdown_timeout(ABANDON);
    let until = stop.borrow().unwrap_or_else(Instant::now);
    let workers = Arc::into_inner(gate).is_some_and(|gate| gate.close(until));
    finished && workers
}
