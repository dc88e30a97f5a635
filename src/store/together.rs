//! Work of several threads that shares one transaction: a commit waits for the disk, whatever it carries.
//!
//! Who comes while nobody is at it does his own work at once, and that of all who wait. Who comes meanwhile waits to
//! be served with the next ones, or to serve them. So there is no delay to gather more and no thread of its own, and
//! nothing is left over when the last caller has gone.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::StoreError;
use crate::clock::lock;

/// Pieces of work in one transaction: enough that a commit costs each next to nothing, few enough that a statement for
/// all of them stays small.
const TOGETHER_MAX: usize = 64;

/// How much one transaction carries, in bytes: it is in memory as long as it takes. A larger piece goes alone.
const BYTES_MAX: usize = 4 << 20;

/// Callers that may wait; the listener has far fewer threads.
const WAITING_MAX: usize = 256;

/// How long one waits for his turn, and once more for the answer of whoever took his work in hand: with the work
/// itself less than the 10 s after which both providers give up.
const WAIT: Duration = Duration::from_secs(3);

/// The line of those who want work `T` done, each with an answer `A`.
pub(super) struct Together<T, A> {
    line: Mutex<Line<T, A>>,
    /// How many may be at it at the same time.
    hands: usize,
    wait: Duration,
}

struct Line<T, A> {
    /// Those at it. As long as there are fewer than there may be, nobody waits.
    busy: usize,
    waiting: VecDeque<Seat<T, A>>,
    /// The next seat's number.
    next: u64,
}

/// Somebody who waits, and his work.
struct Seat<T, A> {
    number: u64,
    work: T,
    bytes: usize,
    back: SyncSender<Turn<T, A>>,
}

/// How waiting ends.
enum Turn<T, A> {
    /// It is done, or failed for a reason that all have in common.
    Done(Result<A, StoreError>),
    /// Together it failed: each does his own.
    Alone(T),
    /// Nobody is at it any more: whoever waited longest is next.
    Lead(T),
}

/// That somebody is at it: ends with him, also by a panic, and whoever waits longest is next.
struct Hand<'a, T, A>(&'a Together<T, A>);

impl<T, A> Drop for Hand<'_, T, A> {
    fn drop(&mut self) {
        let mut line = lock(&self.0.line);
        while let Some(Seat { work, back, .. }) = line.waiting.pop_front() {
            // Sent under the lock: whoever leaves the line by himself is not in it any more.
            if back.send(Turn::Lead(work)).is_ok() {
                return;
            }
        }
        line.busy -= 1;
    }
}

impl<T, A> Together<T, A> {
    /// With so many at it at the same time.
    pub(super) const fn new(hands: usize) -> Self {
        Self { line: Mutex::new(Line { busy: 0, waiting: VecDeque::new(), next: 0 }), hands, wait: WAIT }
    }

    /// Has a piece of work of so many bytes done by `all`, perhaps with that of others, by this thread or another's.
    /// `all` answers for each piece in its order, or has done nothing; then each is tried alone, unless all would fail
    /// in the same way (`common`).
    ///
    /// # Errors
    /// What `all` said of this piece alone or of all in common; `Locked` when the turn or the answer did not come in
    /// time. The work may be done even so if it was in another's hands.
    pub(super) fn run(
        &self,
        work: T,
        bytes: usize,
        all: impl Fn(&[T]) -> Result<Vec<A>, StoreError>,
        common: impl Fn(&StoreError) -> bool,
    ) -> Result<A, StoreError> {
        let (back, turn) = sync_channel(1);
        let mut line = lock(&self.line);
        if line.busy < self.hands {
            line.busy += 1;
            drop(line);
            return self.lead((work, bytes), all, common);
        }
        if line.waiting.len() >= WAITING_MAX {
            return Err(late());
        }
        let number = line.next;
        line.next += 1;
        line.waiting.push_back(Seat { number, work, bytes, back });
        drop(line);
        match self.wait(number, &turn)? {
            Turn::Done(answer) => answer,
            Turn::Alone(work) => only(all(&[work])?),
            Turn::Lead(work) => self.lead((work, bytes), all, common),
        }
    }

    fn wait(&self, number: u64, turn: &Receiver<Turn<T, A>>) -> Result<Turn<T, A>, StoreError> {
        match turn.recv_timeout(self.wait) {
            Err(RecvTimeoutError::Timeout) => {}
            ended => return ended.map_err(|_| gone()),
        }
        let mut line = lock(&self.line);
        if let Some(at) = line.waiting.iter().position(|seat| seat.number == number) {
            line.waiting.remove(at);
            return Err(late());
        }
        drop(line);
        // In somebody's hands, or handed back this moment.
        turn.recv_timeout(self.wait).map_err(|error| match error {
            RecvTimeoutError::Timeout => late(),
            RecvTimeoutError::Disconnected => gone(),
        })
    }

    /// Does one's own work and that of those who wait.
    fn lead(
        &self,
        (own, mut bytes): (T, usize),
        all: impl Fn(&[T]) -> Result<Vec<A>, StoreError>,
        common: impl Fn(&StoreError) -> bool,
    ) -> Result<A, StoreError> {
        let hand = Hand(self);
        let (mut works, mut backs) = (vec![own], Vec::new());
        let mut line = lock(&self.line);
        while works.len() < TOGETHER_MAX
            && line.waiting.front().is_some_and(|seat| bytes.saturating_add(seat.bytes) <= BYTES_MAX)
            && let Some(seat) = line.waiting.pop_front()
        {
            bytes += seat.bytes;
            works.push(seat.work);
            backs.push(seat.back);
        }
        drop(line);
        let done = all(&works);
        // Who comes next begins while these get their answers.
        drop(hand);
        // One who went away meanwhile gets none.
        match done {
            Ok(answers) => {
                let mut answers = answers.into_iter();
                let own = answers.next();
                for (back, answer) in backs.into_iter().zip(answers) {
                    let _ = back.send(Turn::Done(Ok(answer)));
                }
                own.ok_or_else(gone)
            }
            Err(error) if backs.is_empty() => Err(error),
            Err(error) if common(&error) => {
                for back in backs {
                    let _ = back.send(Turn::Done(Err(error.clone())));
                }
                Err(error)
            }
            Err(_) => {
                let mut works = works.into_iter();
                let own = works.next();
                for (back, work) in backs.into_iter().zip(works) {
                    let _ = back.send(Turn::Alone(work));
                }
                only(all(own.as_slice())?)
            }
        }
    }
}

/// The one answer to one piece of work.
fn only<A>(answers: Vec<A>) -> Result<A, StoreError> {
    answers.into_iter().next().ok_or_else(gone)
}

fn late() -> StoreError {
    StoreError::Locked { doing: "waiting for the turn to write".to_owned() }
}

/// A fault of this program: the work is lost with whoever had it in hand, and nobody was told that it is done.
fn gone() -> StoreError {
    StoreError::Failed {
        doing: "writing together with others".to_owned(),
        why: "whoever had it in hand gave no answer".to_owned(),
    }
}
