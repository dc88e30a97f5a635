//! The circuit breaker of one credential: who is down, or does not know the token any more, is left in peace.
//!
//! | state | a request | a good answer | a failure |
//! | --- | --- | --- | --- |
//! | closed | leaves | forgets the failures | counts; so many in a row open it |
//! | open | is refused at once, without leaving | closes it (it was on its way) | says nothing new |
//! | probing (half-open) | one leaves, the others are refused | closes it | opens it again, for longer |
//!
//! Pure: time in milliseconds and chance are arguments. A [`Standing`] is what all processes share, the failures in a row
//! among it, so that one that dies at each failure is counted too. Any answer that shows the service up and the token
//! accepted is good, a 404 about one item as well as a success.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What kind of failure a request met. A failure of one item (403, 404, 422) is none of the provider's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// No connection, no answer in time, 5xx.
    Outage,
    /// 401: the token is not accepted.
    Token,
    /// Told to slow down although it was kept to the limits and waited as told.
    Limit,
}

impl Trouble {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Outage, Self::Token, Self::Limit];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Outage => "outage",
            Self::Token => "token",
            Self::Limit => "limit",
        }
    }

    /// So many failures of the kind in a row open the breaker.
    ///
    /// Outage: more than one call tried to its end (4 requests), and more reads of single items, of which each counts
    /// once, than the engine lets fail in a row (`READ_FAILURES_MAX`): items that the service cannot serve open nothing
    /// among others that it can. Token: services under strain now and then refuse a good one. Limit: each was followed
    /// by the wait the service named.
    const fn in_row_max(self) -> u32 {
        match self {
            Self::Outage => 6,
            Self::Token => 3,
            Self::Limit => 5,
        }
    }

    /// The bound of the first rest. An outage may be over in a moment; a token waits for a person.
    const fn first(self) -> Duration {
        match self {
            Self::Outage => Duration::from_secs(30),
            Self::Limit => Duration::from_secs(60),
            Self::Token => Duration::from_secs(300),
        }
    }

    /// The bound of a rest after so many before it.
    fn rest(self, before: u32) -> Duration {
        self.first().saturating_mul(1 << before.min(10)).min(REST_MAX)
    }

    const fn place(self) -> usize {
        match self {
            Self::Outage => 0,
            Self::Token => 1,
            Self::Limit => 2,
        }
    }
}

/// The longest rest: one request this often shows soon enough that a service is back.
pub const REST_MAX: Duration = Duration::from_secs(900);

/// How long the one request that tries may take, its turn among it, before another may try: who sent it may have died.
pub const PROBE_MAX: Duration = Duration::from_secs(180);

/// Where a breaker stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Requests leave.
    #[default]
    Closed,
    /// None leaves until a moment.
    Open,
    /// Half-open: one is on its way to try.
    Probing,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::Probing];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

/// What every process knows of a breaker. Times in milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Where it stands.
    pub state: State,
    /// What opened it last.
    pub trouble: Option<Trouble>,
    /// The failure that opened it last, for a person.
    pub why: String,
    /// How often it opened without closing in between.
    pub openings: u32,
    /// Since when it is not closed, or when it closed.
    pub since: i64,
    /// Open: nothing leaves before. Probing: nobody else tries before.
    pub until: i64,
    /// Failures in a row, by kind, in the order of [`Trouble::ALL`].
    pub in_row: [u32; 3],
}

/// Whether a request may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may.
    Go,
    /// It may, and shows whether the provider is back.
    Probe,
    /// Not before this moment.
    Rest(i64),
}

impl Standing {
    /// Whether a request may leave at `now`; who may probe has taken the one place for it. Who `insists` (a person who
    /// asked for it) need not wait for the end of the rest.
    pub(super) fn ask(&mut self, now: i64, insists: bool) -> Leave {
        self.mind_the_clock(now);
        match self.state {
            State::Closed => Leave::Go,
            State::Open if now < self.until && !insists => Leave::Rest(self.until),
            State::Probing if now < self.until => Leave::Rest(self.until),
            State::Open | State::Probing => {
                self.state = State::Probing;
                self.until = now.saturating_add(span(PROBE_MAX));
                Leave::Probe
            }
        }
    }

    /// The same without taking the place.
    pub(super) fn look(&self, now: i64, insists: bool) -> Leave {
        self.clone().ask(now, insists)
    }

    /// Opens, or opens again for longer. `chance` from 0 to 1 is the jitter: processes that met the same failure do not
    /// come back together.
    fn open(&mut self, now: i64, trouble: Trouble, why: &str, chance: f64) {
        if self.state == State::Closed {
            self.since = now;
            self.openings = 0;
        }
        let bound = trouble.rest(self.openings);
        // Between half of it and all of it, so that no rest is as good as none.
        let rest = bound.div_f64(2.0).saturating_add(bound.div_f64(2.0).mul_f64(chance.clamp(0.0, 1.0)));
        *self = Self {
            state: State::Open,
            trouble: Some(trouble),
            why: why.to_owned(),
            openings: self.openings.saturating_add(1),
            since: self.since,
            until: now.saturating_add(span(rest)),
            in_row: self.in_row,
        };
    }

    /// Whether a request that shows this changes anything.
    pub(super) fn is_news(&self, shown: Shown<'_>) -> bool {
        match shown {
            Shown::Good => self.state != State::Closed || self.in_row != [0; 3],
            Shown::Failed(..) => self.state != State::Open,
        }
    }

    /// Takes in what a request showed. `chance` from 0 to 1 is the jitter of a rest.
    pub(super) fn heard(&mut self, now: i64, shown: Shown<'_>, chance: f64) {
        if !self.is_news(shown) {
            return;
        }
        match shown {
            Shown::Good if self.state == State::Closed => self.in_row = [0; 3],
            Shown::Good => *self = Self { since: now, ..Self::default() },
            Shown::Failed(trouble, why) => {
                let in_row = &mut self.in_row[trouble.place()];
                *in_row = in_row.saturating_add(1);
                if self.state == State::Probing || *in_row >= trouble.in_row_max() {
                    self.open(now, trouble, why, chance);
                }
            }
        }
    }

    /// Failures in a row of the kind that opened it.
    pub(super) fn failures(&self) -> u32 {
        self.trouble.map_or(0, |trouble| self.in_row[trouble.place()])
    }

    /// A rest that ends twice as far ahead as it can be long was taken by a clock that was set back since: it is over.
    /// Clocks that are a little apart are let be.
    fn mind_the_clock(&mut self, now: i64) {
        let longest = match (self.state, self.trouble) {
            (State::Open, Some(trouble)) => trouble.rest(self.openings.saturating_sub(1)),
            _ => PROBE_MAX,
        };
        if self.until > now.saturating_add(span(longest.saturating_mul(2))) {
            self.until = now;
        }
    }
}

/// What a request showed of the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown<'a> {
    /// It answers, and accepts the token.
    Good,
    /// It failed, and why.
    Failed(Trouble, &'a str),
}

pub(super) fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DOWN: Shown<'static> = Shown::Failed(Trouble::Outage, "status 503");

    /// One that failures have opened at `now`.
    fn open(now: i64) -> Standing {
        let mut breaker = Standing::default();
        for _ in 0..Trouble::Outage.in_row_max() {
            breaker.heard(now, DOWN, 1.0);
        }
        assert_eq!((breaker.state, breaker.failures()), (State::Open, 6));
        breaker
    }

    #[test]
    fn it_opens_at_the_last_of_so_many_failures_in_a_row_and_a_good_answer_starts_the_count_anew() {
        for trouble in Trouble::ALL {
            let mut breaker = Standing::default();
            assert!(!breaker.is_news(Shown::Good), "nobody need know what is as it was");
            let failed = Shown::Failed(trouble, "it failed");
            for _ in 1..trouble.in_row_max() {
                breaker.heard(0, failed, 0.5);
            }
            assert!(breaker.is_news(Shown::Good));
            breaker.heard(0, Shown::Good, 0.5);
            for _ in 1..trouble.in_row_max() {
                breaker.heard(0, failed, 0.5);
            }
            assert_eq!(breaker.state, State::Closed);
            breaker.heard(0, failed, 0.5);
            assert_eq!((breaker.state, breaker.trouble), (State::Open, Some(trouble)));
            let before = breaker.clone();
            breaker.heard(0, failed, 0.5);
            assert_eq!(breaker, before, "what was on its way says nothing new");
        }
    }

    #[test]
    fn while_open_nothing_leaves_then_exactly_one() {
        let mut standing = open(1_000);
        assert_eq!(standing.ask(1_000, false), Leave::Rest(31_000));
        assert_eq!(standing.ask(30_999, false), Leave::Rest(31_000));
        assert_eq!(standing.ask(31_000, false), Leave::Probe);
        let until = 31_000 + span(PROBE_MAX);
        assert_eq!(standing.ask(31_001, false), Leave::Rest(until));
        assert_eq!(standing.ask(31_001, true), Leave::Rest(until), "even a person waits for who tries already");
        assert_eq!(standing.ask(until, false), Leave::Probe, "who tried may have died");
    }

    #[test]
    fn a_person_need_not_wait_for_the_end_of_the_rest() {
        let mut breaker = open(0);
        assert_eq!(breaker.ask(1, true), Leave::Probe);
        breaker.heard(2, Shown::Good, 0.5);
        assert_eq!(breaker.state, State::Closed);
    }

    #[test]
    fn each_rest_is_longer_than_the_one_before_up_to_the_longest() {
        let mut breaker = open(0);
        let mut rests = vec![breaker.until];
        for _ in 0..8 {
            let now = breaker.until;
            assert_eq!(breaker.ask(now, false), Leave::Probe);
            breaker.heard(now, DOWN, 1.0);
            rests.push(breaker.until - now);
        }
        let seconds: Vec<i64> = rests.iter().map(|rest| rest / 1_000).collect();
        assert_eq!(seconds, [30, 60, 120, 240, 480, 900, 900, 900, 900]);
        assert_eq!(breaker.since, 0, "it was never closed since");
        breaker.heard(9_000_000, Shown::Good, 1.0);
        assert_eq!(open(0).until, 30_000, "after it was closed it begins anew");
    }

    #[test]
    fn a_rest_that_was_taken_by_a_clock_which_was_set_back_is_over() {
        let mut standing = Standing::default();
        standing.open(1_200_000, Trouble::Outage, "", 1.0);
        assert_eq!(standing.look(1_190_000, false), Leave::Rest(1_230_000), "clocks are a little apart");
        assert_eq!(standing.look(0, false), Leave::Probe, "not in twenty minutes");
    }

    proptest! {
        #[test]
        fn whatever_happens_and_however_the_clock_jumps_a_rest_ends(
            steps in proptest::collection::vec((0..3_u8, -5_000_000_i64..5_000_000, 0.0..1.0_f64), 1..200),
        ) {
            let mut breaker = Standing::default();
            let mut now = 1_795_000_000_000_i64;
            for (kind, jump, chance) in steps {
                now += jump;
                match kind {
                    0 => breaker.heard(now, DOWN, chance),
                    1 => breaker.heard(now, Shown::Good, chance),
                    _ => drop(breaker.ask(now, false)),
                }
                if let Leave::Rest(until) = breaker.ask(now, false) {
                    prop_assert!(until > now && until - now <= 2 * span(REST_MAX));
                }
                prop_assert_eq!(breaker.state == State::Closed, breaker.openings == 0);
            }
        }

        #[test]
        fn two_that_fail_together_hardly_come_back_together_and_neither_before_half_the_rest(chance in 0.0..1.0_f64) {
            let mut standing = Standing::default();
            standing.open(0, Trouble::Outage, "", chance);
            prop_assert!((15_000..=30_000).contains(&standing.until));
        }
    }
}
