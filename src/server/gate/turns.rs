//! Whose request a worker takes next: one of each address in turn, so that an address with hundreds of them keeps
//! another one's single request waiting for one of its own, not for all.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use super::table::Source;
use crate::clock::lock;

/// The workers' turns.
#[derive(Debug)]
pub(super) struct Turns {
    line: Mutex<Waiting>,
    waiting_max: usize,
}

#[derive(Debug)]
struct Waiting {
    /// Turns that nobody has; none while somebody waits.
    free: usize,
    /// Those who wait, by their source; the first source is next.
    sources: VecDeque<(Source, VecDeque<oneshot::Sender<Turn>>)>,
}

/// One worker's time; passed on to the next who waits when dropped.
#[derive(Debug)]
pub(super) struct Turn(Option<Arc<Turns>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

impl Turns {
    pub(super) fn new(workers: usize, waiting_max: usize) -> Arc<Self> {
        Arc::new(Self { line: Mutex::new(Waiting { free: workers, sources: VecDeque::new() }), waiting_max })
    }

    /// Waits for a turn. None when too many wait, and this source's are most of them.
    pub(super) async fn take(self: &Arc<Self>, source: Source) -> Option<Turn> {
        let turn = {
            let mut line = lock(&self.line);
            if line.free > 0 {
                line.free -= 1;
                return Some(Turn(Some(Arc::clone(self))));
            }
            line.join(source, self.waiting_max)?
        };
        // An error: somebody with fewer came, and this one had to make room.
        turn.await.ok()
    }

    fn pass_on(self: &Arc<Self>) {
        let mut turn = Turn(Some(Arc::clone(self)));
        loop {
            let next = {
                let mut line = lock(&self.line);
                let next = line.next();
                if next.is_none() {
                    line.free += 1;
                }
                next
            };
            let Some(next) = next else {
                turn.0 = None;
                return;
            };
            match next.send(turn) {
                Ok(()) => return,
                // It no longer waits.
                Err(back) => turn = back,
            }
        }
    }
}

impl Waiting {
    /// Lines up, at the cost of the newest of whoever has most if there is no room.
    fn join(&mut self, source: Source, waiting_max: usize) -> Option<oneshot::Receiver<Turn>> {
        if self.count() >= waiting_max {
            // Those whose patience has ended count no more.
            for (_, queue) in &mut self.sources {
                queue.retain(|waiting| !waiting.is_closed());
            }
            self.sources.retain(|(_, queue)| !queue.is_empty());
        }
        if self.count() >= waiting_max {
            let own = self.sources.iter().find(|(known, _)| *known == source).map_or(0, |(_, queue)| queue.len());
            let (_, most) = self.sources.iter_mut().max_by_key(|(_, queue)| queue.len())?;
            if most.len() <= own + 1 {
                return None;
            }
            most.pop_back();
        }
        let (sender, receiver) = oneshot::channel();
        match self.sources.iter_mut().find(|(known, _)| *known == source) {
            Some((_, queue)) => queue.push_back(sender),
            None => self.sources.push_back((source, VecDeque::from([sender]))),
        }
        Some(receiver)
    }

    /// The next one, if anybody waits.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let (source, mut queue) = self.sources.pop_front()?;
        // No queue is empty, as this and `join` leave none so.
        let next = queue.pop_front();
        if !queue.is_empty() {
            self.sources.push_back((source, queue));
        }
        next
    }

    fn count(&self) -> usize {
        self.sources.iter().map(|(_, queue)| queue.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn address(last: u8) -> Source {
        Source::Address(IpAddr::from([192, 0, 2, last]))
    }

    type Asked = Pin<Box<dyn Future<Output = Option<Turn>>>>;

    fn ask(turns: &Arc<Turns>, last: u8) -> Asked {
        let mut asked = request(turns, last);
        // Lines up with the first look.
        assert!(look(&mut asked).is_none());
        asked
    }

    fn request(turns: &Arc<Turns>, last: u8) -> Asked {
        let turns = Arc::clone(turns);
        Box::pin(async move { turns.take(address(last)).await })
    }

    fn look(asked: &mut Asked) -> Option<Option<Turn>> {
        match asked.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    fn free(turns: &Arc<Turns>) -> Turn {
        let turns = Arc::clone(turns);
        let mut asked: Asked = Box::pin(async move { turns.take(Source::Nobody).await });
        look(&mut asked).flatten().expect("a free turn")
    }

    #[test]
    fn addresses_take_turns_however_many_requests_each_has() {
        let turns = Turns::new(1, 100);
        let mut turn = free(&turns);
        let mut asked: Vec<(u8, Asked)> = [1, 1, 1, 2, 1, 3, 2].map(|last| (last, ask(&turns, last))).into();
        let mut order = Vec::new();
        while !asked.is_empty() {
            drop(turn);
            let mut got = None;
            asked.retain_mut(|(last, asked)| match look(asked) {
                Some(found) => {
                    order.push(*last);
                    got = found;
                    false
                }
                None => true,
            });
            turn = got.expect("one turn went on");
        }
        assert_eq!(order, [1, 2, 3, 1, 2, 1, 1]);
    }

    #[test]
    fn who_has_most_waiting_makes_room() {
        let turns = Turns::new(1, 3);
        let turn = free(&turns);
        let mut first = [(); 3].map(|()| ask(&turns, 1));
        assert!(matches!(look(&mut request(&turns, 1)), Some(None)), "no room for its fourth");
        let mut other = ask(&turns, 2);
        assert!(matches!(look(&mut first[2]), Some(None)), "the newest of three");
        assert!(look(&mut first[0]).is_none() && look(&mut other).is_none());
        drop(turn);
        assert!(matches!(look(&mut first[0]), Some(Some(_))));
    }

    #[test]
    fn a_turn_is_never_lost() {
        let turns = Turns::new(2, 10);
        let held = [free(&turns), free(&turns)];
        let gone = [ask(&turns, 1), ask(&turns, 2)];
        let mut stays = ask(&turns, 3);
        drop(gone);
        drop(held);
        assert!(matches!(look(&mut stays), Some(Some(_))));
        // One more: passed to somebody who goes before looking.
        let held = [free(&turns), free(&turns)];
        let unseen = ask(&turns, 1);
        drop(held);
        drop(unseen);
        assert_eq!(lock(&turns.line).free, 2);
        assert!(lock(&turns.line).sources.is_empty());
    }
}
