//! Everybody gets his own answer, whoever did the work, and nobody's failure is another's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, ScopedJoinHandle};

use super::*;

/// Work is a number, its answer ten times that; 1_313 cannot be done.
type Numbers = Together<u64, u64>;

/// What was done together, in order.
#[derive(Default)]
struct Journal(Mutex<Vec<Vec<u64>>>);

impl Journal {
    fn work(&self, works: &[u64]) -> Result<Vec<u64>, StoreError> {
        lock(&self.0).push(works.to_vec());
        if works.contains(&1_313) { Err(failed("1313")) } else { Ok(works.iter().map(|work| work * 10).collect()) }
    }

    /// Sorted, because who waits first is chance.
    fn done(&self) -> Vec<Vec<u64>> {
        let mut done = lock(&self.0).clone();
        done.iter_mut().for_each(|works| works.sort_unstable());
        done
    }
}

fn failed(why: &str) -> StoreError {
    StoreError::Failed { doing: "counting".to_owned(), why: why.to_owned() }
}

fn run(numbers: &Numbers, journal: &Journal, work: u64) -> Result<u64, String> {
    numbers.run(work, 1, |works| journal.work(works), |_| false).map_err(|error| error.to_string())
}

fn until(what: &str, done: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if done() {
            return;
        }
        thread::yield_now();
    }
    panic!("{what} did not come");
}

/// Somebody at work, and what he answers in the end.
type Answering<'scope> = ScopedJoinHandle<'scope, Result<u64, String>>;

/// Keeps one at work, with number 0, until the sender says how it ends; then it does its work.
fn hold<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    numbers: &'scope Numbers,
    journal: &'scope Journal,
) -> (Sender<Result<(), StoreError>>, Answering<'scope>) {
    let (release, held): (_, Receiver<Result<(), StoreError>>) = channel();
    let held = Mutex::new(held);
    let at_it = scope.spawn(move || {
        let all = |works: &[u64]| {
            lock(&held).recv().expect("somebody releases")?;
            journal.work(works)
        };
        numbers.run(0, 1, all, |_| false).map_err(|error| error.to_string())
    });
    until("the first at work", || lock(&numbers.line).busy == 1);
    (release, at_it)
}

/// Has these wait, all of them at once.
fn queue<'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    numbers: &'scope Numbers,
    journal: &'scope Journal,
    works: &[u64],
) -> Vec<(u64, Answering<'scope>)> {
    let before = lock(&numbers.line).waiting.len();
    let threads: Vec<_> = works.iter().map(|&work| (work, scope.spawn(move || run(numbers, journal, work)))).collect();
    until("their waiting", || lock(&numbers.line).waiting.len() == before + works.len());
    threads
}

fn idle(numbers: &Numbers) -> bool {
    let line = lock(&numbers.line);
    line.busy == 0 && line.waiting.is_empty()
}

#[test]
fn those_who_come_while_one_is_at_it_are_served_together_and_each_gets_his_own_answer() {
    let (numbers, journal) = (Numbers::new(1), Journal::default());
    thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        let others = queue(scope, &numbers, &journal, &[1, 2, 3, 4, 5]);
        release.send(Ok(())).expect("it waits");
        assert_eq!(first.join().expect("no panic"), Ok(0));
        for (work, thread) in others {
            assert_eq!(thread.join().expect("no panic"), Ok(work * 10));
        }
    });
    assert_eq!(journal.done(), [vec![0], vec![1, 2, 3, 4, 5]]);
    assert!(idle(&numbers));
}

#[test]
fn what_cannot_be_done_fails_alone() {
    let (numbers, journal) = (Numbers::new(1), Journal::default());
    thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        let others = queue(scope, &numbers, &journal, &[1, 1_313, 3]);
        release.send(Ok(())).expect("it waits");
        assert_eq!(first.join().expect("no panic"), Ok(0));
        for (work, thread) in others {
            let answer = thread.join().expect("no panic");
            match work {
                1_313 => assert!(answer.is_err_and(|error| error.contains("1313"))),
                good => assert_eq!(answer, Ok(good * 10)),
            }
        }
    });
    let mut done = journal.done();
    done.sort();
    assert_eq!(done, [vec![0], vec![1], vec![1, 3, 1_313], vec![3], vec![1_313]]);
    assert!(idle(&numbers));
}

#[test]
fn what_would_befall_all_is_told_to_all_and_tried_once() {
    let (numbers, journal) = (Numbers::new(1), Journal::default());
    let answers: Vec<Result<u64, StoreError>> = thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        let (numbers, journal) = (&numbers, &journal);
        let others: Vec<_> = [1_313, 1, 2]
            .map(|work| scope.spawn(move || numbers.run(work, 1, |works| journal.work(works), |_| true)))
            .into_iter()
            .collect();
        until("their waiting", || lock(&numbers.line).waiting.len() == 3);
        release.send(Ok(())).expect("it waits");
        assert_eq!(first.join().expect("no panic"), Ok(0));
        others.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(journal.done(), [vec![0], vec![1, 2, 1_313]]);
    assert!(idle(&numbers));
}

#[test]
fn a_panic_is_that_of_one_transaction() {
    let (numbers, journal) = (Numbers::new(1), Journal::default());
    thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        let (numbers, journal) = (&numbers, &journal);
        let clumsy = |work: u64| {
            scope.spawn(move || {
                let all = |_: &[u64]| -> Result<Vec<u64>, StoreError> { panic!("a fault of the test") };
                catch_unwind(AssertUnwindSafe(|| numbers.run(work, 1, all, |_| false)))
            })
        };
        let next = clumsy(1);
        until("its waiting", || lock(&numbers.line).waiting.len() == 1);
        let others = queue(scope, numbers, journal, &[2, 3]);
        release.send(Ok(())).expect("it waits");
        assert_eq!(first.join().expect("no panic"), Ok(0));
        assert!(next.join().expect("caught").is_err());
        for (_, thread) in others {
            let lost = thread.join().expect("no panic");
            assert!(lost.is_err_and(|error| error.contains("gave no answer")));
        }
        assert_eq!(run(numbers, journal, 4), Ok(40), "the next finds everything in order");
    });
    assert!(idle(&numbers));
}

#[test]
fn one_transaction_is_bounded_by_number_and_by_bytes() {
    for (bytes, most) in [(1, TOGETHER_MAX), (BYTES_MAX / 3, 3), (BYTES_MAX + 1, 1)] {
        let (numbers, journal) = (Numbers::new(1), Journal::default());
        thread::scope(|scope| {
            let (release, first) = hold(scope, &numbers, &journal);
            let (numbers, journal) = (&numbers, &journal);
            let count = most as u64 + 2;
            let others: Vec<_> = (1..=count)
                .map(|work| scope.spawn(move || numbers.run(work, bytes, |works| journal.work(works), |_| false)))
                .collect();
            until("their waiting", || lock(&numbers.line).waiting.len() as u64 == count);
            release.send(Ok(())).expect("it waits");
            assert_eq!(first.join().expect("no panic"), Ok(0));
            for (thread, work) in others.into_iter().zip(1..) {
                assert_eq!(thread.join().expect("no panic").expect("done"), work * 10);
            }
        });
        let done = journal.done();
        assert_eq!(done.iter().map(Vec::len).max(), Some(most), "{done:?}");
        assert_eq!(done.concat().len(), most + 3, "each once: {done:?}");
        assert!(idle(&numbers));
    }
}

#[test]
fn several_may_be_at_it_where_the_database_takes_several() {
    let (numbers, journal) = (Numbers::new(2), Journal::default());
    thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        assert_eq!(run(&numbers, &journal, 7), Ok(70), "it waits for nobody");
        release.send(Ok(())).expect("it waits");
        assert_eq!(first.join().expect("no panic"), Ok(0));
    });
    assert!(idle(&numbers));
}

#[test]
fn whoever_waits_too_long_leaves_with_his_work_undone() {
    let numbers = Numbers { wait: Duration::from_millis(20), ..Numbers::new(1) };
    let journal = Journal::default();
    thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        let late = numbers.run(1, 1, |works| journal.work(works), |_| false);
        assert!(matches!(late, Err(StoreError::Locked { .. })), "{late:?}");
        release.send(Ok(())).expect("it waits");
        assert_eq!(first.join().expect("no panic"), Ok(0));
        assert_eq!(run(&numbers, &journal, 2), Ok(20));
    });
    assert_eq!(journal.done(), [vec![0], vec![2]]);
    assert!(idle(&numbers));
}

#[test]
fn more_than_can_be_served_soon_are_refused_at_once() {
    let (numbers, journal) = (Numbers::new(1), Journal::default());
    thread::scope(|scope| {
        let (release, first) = hold(scope, &numbers, &journal);
        let others = queue(scope, &numbers, &journal, &vec![1; WAITING_MAX]);
        assert!(run(&numbers, &journal, 2).is_err(), "nobody is at work who could let it in");
        release.send(Err(failed("the first"))).expect("it waits");
        assert!(first.join().expect("no panic").is_err_and(|error| error.contains("the first")));
        for (_, thread) in others {
            assert_eq!(thread.join().expect("no panic"), Ok(10));
        }
    });
    assert_eq!(journal.done().concat().len(), WAITING_MAX);
    assert!(idle(&numbers));
}
