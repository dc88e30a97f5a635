//! A value as it is and as a replica that lags behind still shows it.

/// The present value, and those it replaced while somebody might still look at a replica.
#[derive(Debug, Clone)]
pub(super) struct Lagging<T> {
    now: T,
    /// When each was replaced (ms since the epoch), oldest first; `None` before it existed.
    past: Vec<(i64, Option<T>)>,
}

/// Past values kept of one item; older ones are forgotten first.
const PAST_MAX: usize = 32;
/// No replica lags further behind than this, in ms.
const PAST_MS_MAX: i64 = 3_600_000;

impl<T: Clone> Lagging<T> {
    /// A value that always stood.
    pub const fn standing(now: T) -> Self {
        Self { now, past: Vec::new() }
    }

    /// A value that came to be at `at`; replicas know nothing of it before.
    pub fn born(now: T, at: i64) -> Self {
        Self { now, past: vec![(at, None)] }
    }

    /// The present value.
    pub const fn get(&self) -> &T {
        &self.now
    }

    /// The present value, about to change at `at`.
    pub fn change(&mut self, at: i64) -> &mut T {
        self.past.retain(|(replaced, _)| at.saturating_sub(*replaced) < PAST_MS_MAX);
        if self.past.len() >= PAST_MAX {
            self.past.remove(0);
        }
        self.past.push((at, Some(self.now.clone())));
        &mut self.now
    }

    /// What a replica that stands at `at` shows.
    pub fn seen(&self, at: i64) -> Option<&T> {
        match self.past.iter().find(|(replaced, _)| *replaced > at) {
            Some((_, old)) => old.as_ref(),
            None => Some(&self.now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_shows_what_stood_at_its_time() {
        let mut value = Lagging::born(1, 100);
        *value.change(200) = 2;
        *value.change(200) = 3;
        assert_eq!([99, 100, 199, 200].map(|at| value.seen(at).copied()), [None, Some(1), Some(1), Some(3)]);
        assert_eq!(*value.get(), 3);
    }
}
