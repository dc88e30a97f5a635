//! One connection from its first byte to its last: requests one at a time, each under its deadline.

use std::mem::MaybeUninit;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::time::{Instant, sleep, timeout};

use super::super::message::{Admission, Answer, Head, Pace, RequestId};
use super::super::sockets::Wire;
use super::super::sources::{self, Peer, household};
use super::back::{PRIVATE, Turn};
use super::counters::Refusal;
use super::framing::{Chunks, Fault, Framing, HeadScan, ParsedHead, parse_head};
use super::table::{Buffer, Full, Seat, Source, State};
use super::{Gate, wire};
use crate::clock::lock;

/// Bytes read at once.
const READ_BYTES: usize = 16 << 10;
/// How long a request waits for a free worker. Both services give up after 10 seconds, and by then the
/// request must be answered too.
const WORKER_WAIT: Duration = Duration::from_secs(5);
/// How long, and for how many bytes, a connection is heard out after an answer that came before the end of the
/// request: closed at once, it would be reset, and the answer lost.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 8 << 20;
/// How long a request that has begun may go on arriving once the listener stops.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// One connection.
pub(super) struct Connection {
    gate: Arc<Gate>,
    stream: Box<dyn Wire>,
    peer: Peer,
    trusted: bool,
    seat: Seat,
    /// Bytes read and not yet used: a head, and what came with it.
    input: Buffer,
}

/// Why there is no request to pass on.
enum End {
    /// Nothing is to be said: the peer is gone, or rests too long.
    Silent,
    /// An answer is due, and the connection ends with it: nobody knows where another request would begin.
    Broken(Box<Refused>),
    /// An answer is due, and as the request had no body the connection may go on.
    Whole(Box<Refused>),
}

/// A request that the gate itself answers.
struct Refused {
    reason: Refusal,
    answer: Answer,
    id: RequestId,
    keep: Keep,
}

/// How the connection goes on after an answer.
#[derive(Clone, Copy, Debug)]
struct Keep {
    alive: bool,
    /// The client speaks HTTP/1.0.
    old: bool,
    /// The request was HEAD: the answer shows no body.
    bare: bool,
}

impl Keep {
    const CLOSE: Self = Self { alive: false, old: false, bare: false };
}

/// A whole request, as the workers get it.
struct Whole {
    head: Head,
    target: String,
    body: Buffer,
    pace: Pace,
    keep: Keep,
}

impl Connection {
    pub(super) fn new(gate: Arc<Gate>, stream: Box<dyn Wire>, peer: Peer, seat: Seat) -> Self {
        let trusted = peer.trusted(&gate.settings.proxies);
        Self { gate, stream, peer, trusted, seat, input: Buffer::default() }
    }

    /// Serves the connection until either side ends it.
    pub(super) async fn run(mut self) {
        let cut = self.seat.cut();
        tokio::select! {
            () = cut.notified() => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        // A connection is made to ask something at once.
        let mut patience = self.gate.settings.limits.request_timeout;
        loop {
            let goes_on = match self.next(patience).await {
                Ok(whole) => self.answer(whole).await,
                Err(End::Silent) => return,
                Err(End::Whole(refused)) => self.refuse(&refused).await,
                Err(End::Broken(mut refused)) => {
                    refused.keep.alive = false;
                    self.refuse(&refused).await;
                    self.linger().await;
                    return;
                }
            };
            if !goes_on {
                if !self.input.bytes.is_empty() {
                    self.linger().await;
                }
                return;
            }
            self.seat.state(State::Resting);
            patience = self.gate.settings.limits.idle_timeout;
        }
    }

    /// Waits for a request and takes it in, within its deadlines.
    async fn next(&mut self, patience: Duration) -> Result<Whole, End> {
        let gate = Arc::clone(&self.gate);
        let mut stopping = gate.stopping.clone();
        // Old clients send a line end behind a body; it begins no request.
        if self.input.bytes == b"\r\n" {
            self.input.give_back(&self.seat);
        }
        if self.input.bytes.is_empty() {
            tokio::select! {
                filled = self.fill() => filled?,
                () = sleep(patience) => return Err(End::Silent),
                _ = stopping.wait_for(|stopping| *stopping) => return Err(End::Silent),
            }
        }
        self.seat.state(State::Moving);
        tokio::select! {
            whole = self.request() => whole,
            () = sleep(gate.settings.limits.request_timeout) => {
                let message = "the request took too long to come";
                Err(gate.broken(Refusal::SlowRequest, 408, "too_slow", message))
            }
            () = async {
                // The sender is there no more if this fails, which is a stop too.
                let _ = stopping.wait_for(|stopping| *stopping).await;
                sleep(STOP_GRACE).await;
            } => Err(End::Silent),
        }
    }

    /// Takes in one request: its head, the judgement on it, its body.
    async fn request(&mut self) -> Result<Whole, End> {
        let gate = Arc::clone(&self.gate);
        let limits = &gate.settings.limits;
        let mut scan = HeadScan::default();
        let length = loop {
            match scan.find(&self.input.bytes, limits.header_bytes_max).map_err(|fault| gate.fault(fault))? {
                Some(length) => break length,
                None => self.fill().await?,
            }
        };
        let text = self.input.bytes.get(..length).unwrap_or_default();
        let parsed = parse_head(text, limits.headers_max).map_err(|fault| gate.fault(fault))?;
        self.input.consume(&self.seat, length);

        let ParsedHead { method, target, mut headers, framing, old, keep_alive, expects_continue } = parsed;
        let client = sources::client(self.peer, &gate.settings.proxies, &headers);
        let named = if self.trusted { own_id(&headers) } else { None };
        let id = named.unwrap_or_else(|| gate.next_id());
        // Ours alone, or a client could pass for another.
        headers.retain(|(name, _)| !name.starts_with(PRIVATE) && name != "x-request-id");
        let head = Head::new(id, method, &target, headers, client);
        let keep = Keep { alive: keep_alive, old, bare: head.method == "HEAD" };
        let admission = self.admit(&head).map_err(|(reason, answer)| {
            let refused = Box::new(Refused { reason, answer, id: head.id.clone(), keep });
            // Who floods has to come anew for each try.
            let goes_on = framing == Framing::None && reason != Refusal::TooMany;
            if goes_on { End::Whole(refused) } else { End::Broken(refused) }
        })?;
        let bytes_max = admission.body_bytes_max.min(limits.body_bytes_max);
        let refuse = |refusal: BodyRefusal| {
            let (reason, answer) = match refusal {
                BodyRefusal::Gone => return End::Silent,
                BodyRefusal::Full => (Refusal::BytesFull, gate.overloaded(&head.id)),
                BodyRefusal::Fault(fault) => (reason(fault), told(fault, &head.id)),
            };
            End::Broken(Box::new(Refused { reason, answer, id: head.id.clone(), keep }))
        };
        if expects_continue && self.input.bytes.is_empty() && framing_fits(framing, bytes_max) {
            self.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| End::Silent)?;
        }
        let body = self.body(framing, bytes_max).await.map_err(refuse)?;
        Ok(Whole { head, target, body, pace: admission.pace, keep })
    }

    /// Whether a request may go on, by its head.
    fn admit(&self, head: &Head) -> Result<Admission, (Refusal, Answer)> {
        let gate = &self.gate;
        self.seat.attribute(source(head.peer));
        if !gate.allow.allows(head.peer) {
            let answer = Answer::error(403, "not_allowed", "this address may not speak here", &head.id);
            return Err((Refusal::NotAllowed, answer));
        }
        if let Err(wait) = gate.take(head.peer) {
            let seconds = wait.as_secs() + 1;
            let answer = Answer::error(429, "too_many_requests", "too many requests a second", &head.id);
            return Err((Refusal::TooMany, answer.with("Retry-After", &seconds.to_string())));
        }
        match catch_unwind(AssertUnwindSafe(|| gate.service.admit(head))) {
            Ok(Ok(admission)) => Ok(admission),
            Ok(Err(answer)) => Err((Refusal::ByService, answer)),
            Err(_) => {
                log::error!("request {}: the service panicked over its head; answered 500", head.id);
                Err((Refusal::Broken, internal(&head.id)))
            }
        }
    }

    /// Takes in the body.
    async fn body(&mut self, framing: Framing, bytes_max: usize) -> Result<Buffer, BodyRefusal> {
        let mut body = Buffer::default();
        match framing {
            Framing::None => {}
            Framing::Length(length) => {
                let length = usize::try_from(length).ok().filter(|length| *length <= bytes_max);
                let length = length.ok_or(BodyRefusal::Fault(Fault::BodyTooLarge))?;
                let begun = self.input.bytes.get(..length).unwrap_or(&self.input.bytes);
                body.extend(&self.seat, begun, length)?;
                self.input.consume(&self.seat, body.bytes.len());
                while body.bytes.len() < length {
                    let (seat, left) = (&self.seat, length - body.bytes.len());
                    read(&mut self.stream, left, |bytes| body.extend(seat, bytes, length)).await?;
                }
            }
            Framing::Chunked => {
                let mut chunks = Chunks::default();
                loop {
                    body.reserve(&self.seat, self.input.bytes.len(), bytes_max)?;
                    let taken = chunks.feed(&self.input.bytes, &mut body.bytes, bytes_max);
                    self.input.consume(&self.seat, taken.map_err(BodyRefusal::Fault)?);
                    if chunks.done() {
                        break;
                    }
                    self.fill().await.map_err(|_| BodyRefusal::Gone)?;
                }
            }
        }
        Ok(body)
    }

    /// Has a request answered; whether the connection goes on.
    async fn answer(&mut self, whole: Whole) -> bool {
        let Whole { head, target, mut body, pace, keep } = whole;
        self.seat.state(State::InHand);
        let begun = Instant::now();
        let gate = Arc::clone(&self.gate);
        let Some(turn) = gate.turn(source(head.peer), pace).await else {
            body.give_back(&self.seat);
            let (reason, answer) = (Refusal::Overloaded, gate.overloaded(&head.id));
            return self.refuse(&Refused { reason, answer, id: head.id, keep }).await;
        };
        let (bytes, charged) = body.take();
        let made = match gate.back.send(&head, &target, bytes).await {
            Ok(line) => {
                // The worker has it now.
                self.seat.release(charged);
                gate.back.receive(line, !keep.bare).await
            }
            Err(error) => {
                self.seat.release(charged);
                Err(error)
            }
        };
        drop(turn);
        match made {
            Ok((answer, length)) => {
                gate.counters.answer();
                let (id, status, took) = (&head.id, answer.status, begun.elapsed().as_millis());
                log::debug!("request {id}: answered {status} in {took} ms");
                self.write(&answer, length, &head.id, keep).await
            }
            Err(error) => {
                log::error!("request {}: no answer came from the workers: {error}; answered 500", head.id);
                let (reason, answer) = (Refusal::Broken, internal(&head.id));
                self.refuse(&Refused { reason, answer, id: head.id, keep }).await
            }
        }
    }

    async fn refuse(&mut self, refused: &Refused) -> bool {
        let Refused { reason, answer, id, keep } = refused;
        // The table counted whom it found to hold most.
        if *reason != Refusal::BytesFull {
            self.gate.counters.refuse(*reason);
        }
        log::debug!("request {id}: refused ({}), answered {}", reason.as_str(), answer.status);
        self.write(answer, answer.body.len(), id, *keep).await
    }

    /// Writes an answer; whether the connection goes on. `length` is that of its body, shown or not.
    async fn write(&mut self, answer: &Answer, length: usize, id: &RequestId, keep: Keep) -> bool {
        self.seat.state(State::Moving);
        let alive = keep.alive && !*self.gate.stopping.borrow();
        let mut text = wire::answer_head(answer, length, id, alive.then_some(keep.old)).into_bytes();
        let body = if keep.bare { &[][..] } else { &answer.body };
        if self.seat.charge(text.len() + body.len()).is_err() {
            return false;
        }
        let writing = async {
            if body.len() <= READ_BYTES {
                // One packet instead of two.
                text.extend_from_slice(body);
                self.stream.write_all(&text).await?;
            } else {
                self.stream.write_all(&text).await?;
                self.stream.write_all(body).await?;
            }
            self.stream.flush().await
        };
        let written = timeout(self.gate.settings.limits.answer_timeout, writing).await;
        self.seat.release(text.len() + body.len());
        match written {
            Ok(Ok(())) if alive => true,
            Ok(Ok(())) => {
                // Nothing to be done if the peer is gone by now.
                let _ = self.stream.shutdown().await;
                false
            }
            Ok(Err(_)) => false,
            Err(_) => {
                self.gate.counters.refuse(Refusal::SlowReader);
                false
            }
        }
    }

    /// Hears out a peer that may still be sending, so that it gets to read its answer.
    async fn linger(&mut self) {
        self.input.give_back(&self.seat);
        let hear = async {
            let mut heard = 0;
            while heard < LINGER_BYTES {
                match read(&mut self.stream, READ_BYTES, |_| Ok(())).await {
                    Ok(count) => heard += count,
                    Err(_) => return,
                }
            }
        };
        // Over the time it is closed like anybody else.
        let _ = timeout(LINGER, hear).await;
    }

    /// Reads what is there to the input.
    async fn fill(&mut self) -> Result<(), End> {
        let most = self.gate.settings.limits.header_bytes_max + READ_BYTES;
        let (seat, input) = (&self.seat, &mut self.input);
        match read(&mut self.stream, READ_BYTES, |bytes| input.extend(seat, bytes, most)).await {
            Ok(_) => Ok(()),
            Err(BodyRefusal::Full) => {
                let id = self.gate.next_id();
                let (reason, answer) = (Refusal::BytesFull, self.gate.overloaded(&id));
                Err(End::Broken(Box::new(Refused { reason, answer, id, keep: Keep::CLOSE })))
            }
            Err(_) => Err(End::Silent),
        }
    }
}

impl Gate {
    /// The end of a connection whose bytes make no request.
    fn fault(&self, fault: Fault) -> End {
        let id = self.next_id();
        let answer = told(fault, &id);
        End::Broken(Box::new(Refused { reason: reason(fault), answer, id, keep: Keep::CLOSE }))
    }

    fn broken(&self, reason: Refusal, status: u16, code: &str, message: &str) -> End {
        let id = self.next_id();
        let answer = Answer::error(status, code, message, &id);
        End::Broken(Box::new(Refused { reason, answer, id, keep: Keep::CLOSE }))
    }

    fn overloaded(&self, id: &RequestId) -> Answer {
        Answer::error(503, "overloaded", "too much to do; try again in a moment", id).with("Retry-After", "2")
    }

    /// Takes a token for a request; the wait if there is none.
    fn take(&self, peer: Option<IpAddr>) -> Result<(), Duration> {
        // Those without an address share the bucket of an address that nobody has.
        let address = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), household);
        lock(&self.rates).take(address, std::time::Instant::now())
    }

    /// A worker, unless too many wait for one or it takes too long.
    async fn turn(&self, source: Source, pace: Pace) -> Option<Turn> {
        let _place = match pace {
            Pace::Quick => None,
            Pace::Slow => Some(self.slow_queue.try_acquire().ok()?),
        };
        timeout(WORKER_WAIT, self.back.turn(source, pace)).await.ok().flatten()
    }
}

/// On whose account a request goes.
fn source(peer: Option<IpAddr>) -> Source {
    peer.map_or(Source::Nobody, |peer| Source::Address(household(peer)))
}

/// Why a body was not taken in.
#[derive(Debug)]
enum BodyRefusal {
    Gone,
    Full,
    Fault(Fault),
}

impl From<Full> for BodyRefusal {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

/// Reads up to `most` bytes and hands them on, through a place on the stack: a connection that waits keeps no
/// memory for what may come.
async fn read(
    stream: &mut Box<dyn Wire>,
    most: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), Full>,
) -> Result<usize, BodyRefusal> {
    std::future::poll_fn(|context| {
        let mut space = [MaybeUninit::<u8>::uninit(); READ_BYTES];
        let mut space = ReadBuf::uninit(space.get_mut(..most.min(READ_BYTES)).unwrap_or_default());
        if ready!(Pin::new(&mut *stream).poll_read(context, &mut space)).is_err() || space.filled().is_empty() {
            return Poll::Ready(Err(BodyRefusal::Gone));
        }
        Poll::Ready(take(space.filled()).map(|()| space.filled().len()).map_err(BodyRefusal::from))
    })
    .await
}

/// The id that a proxy gave a request.
fn own_id(headers: &[(String, String)]) -> Option<RequestId> {
    let mut values = headers.iter().filter(|(name, _)| name == "x-request-id");
    let (_, value) = values.next().filter(|_| values.next().is_none())?;
    RequestId::from_outside(value)
}

fn framing_fits(framing: Framing, bytes_max: usize) -> bool {
    !matches!(framing, Framing::Length(length) if length > bytes_max as u64)
}

fn reason(fault: Fault) -> Refusal {
    if matches!(fault.status(), 413 | 431) { Refusal::TooLarge } else { Refusal::Malformed }
}

fn told(fault: Fault, id: &RequestId) -> Answer {
    Answer::error(fault.status(), fault.code(), fault.message(), id)
}

fn internal(id: &RequestId) -> Answer {
    Answer::error(500, "internal", "an internal error; the log names this request", id)
}
