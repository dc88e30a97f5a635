//! What can go wrong with deliveries, when, and how often.

use std::time::Duration;

use fastrand::Rng;

use crate::model::{BySide, Side};
use crate::sandbox::Sandbox;

/// One thing that goes wrong with one delivery. Heartbeats and pings are deliveries too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// It never leaves, and the service takes it for delivered: no retry, no trace in GitHub's log.
    Lost,
    /// It is sent twice; GitHub's two have the same guid.
    Doubled,
    /// It leaves this much later; others do not wait for it.
    Delayed(Duration),
    /// It changes places with the next one of its hook (for Asana: the events within it are turned round, where
    /// there are several); where there is no next one yet, it waits two seconds for one to overtake it.
    Reordered,
    /// The receiver refuses the connection: a failure as each service has them.
    Refused,
    /// The receiver gets it and answers, but the answer is lost: a failure as each service has them.
    AnswerLost,
}

impl Mishap {
    /// Whether it happens at the receiver's door, at each attempt, and not on the way to it.
    const fn at_the_door(self) -> bool {
        matches!(self, Self::Refused | Self::AnswerLost)
    }
}

/// How often a mishap still happens.
#[derive(Debug, Clone, Copy)]
enum Often {
    Next(u64),
    Chance(f64),
}

#[derive(Debug)]
struct Rule {
    side: Side,
    often: Often,
    mishap: Mishap,
}

/// What happens to one delivery on its way.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::sandbox) struct Drawn {
    pub lost: bool,
    pub doubled: bool,
    pub reordered: bool,
    pub delay: Option<Duration>,
}

/// The rules that stand. Chance runs apart from the world's: deliveries change nothing in it.
#[derive(Debug)]
pub(in crate::sandbox) struct Mishaps {
    rules: Vec<Rule>,
    down: BySide<bool>,
    hits: u64,
    rng: Rng,
}

/// Tells this source of chance from others of the same seed.
const BRANCH: u64 = 0x6d69_7368_6170;

impl Mishaps {
    pub fn new(seed: u64) -> Self {
        Self { rules: Vec::new(), down: BySide::default(), hits: 0, rng: Rng::with_seed(seed ^ BRANCH) }
    }

    fn hit(&mut self, side: Side, at_the_door: bool) -> Vec<Mishap> {
        let mut drawn = Vec::new();
        for rule in &mut self.rules {
            if rule.side != side || rule.mishap.at_the_door() != at_the_door {
                continue;
            }
            let hit = match &mut rule.often {
                Often::Next(left) => {
                    let hit = *left > 0;
                    *left = left.saturating_sub(1);
                    hit
                }
                Often::Chance(probability) => self.rng.f64() < *probability,
            };
            if hit {
                drawn.push(rule.mishap);
            }
        }
        self.rules.retain(|rule| !matches!(rule.often, Often::Next(0)));
        self.hits += drawn.len() as u64;
        drawn
    }

    /// What happens to a delivery on its way; asked once for each.
    pub fn draw(&mut self, side: Side) -> Drawn {
        let mut drawn = Drawn::default();
        for mishap in self.hit(side, false) {
            match mishap {
                Mishap::Lost => drawn.lost = true,
                Mishap::Doubled => drawn.doubled = true,
                Mishap::Reordered => drawn.reordered = true,
                Mishap::Delayed(by) => drawn.delay = Some(drawn.delay.unwrap_or_default() + by),
                Mishap::Refused | Mishap::AnswerLost => {}
            }
        }
        drawn
    }

    /// What happens at the receiver's door; asked at each attempt.
    pub fn trouble(&mut self, side: Side) -> Option<Mishap> {
        if self.down[side] {
            self.hits += 1;
            return Some(Mishap::Refused);
        }
        let drawn = self.hit(side, true);
        drawn.iter().copied().find(|mishap| *mishap == Mishap::Refused).or_else(|| drawn.first().copied())
    }
}

/// Switches what goes wrong with deliveries on and off.
#[derive(Debug, Clone)]
pub struct Deliveries(pub(in crate::sandbox) Sandbox);

impl Deliveries {
    /// The next `count` deliveries of a side go wrong.
    pub fn next(&self, count: u64, side: Side, mishap: Mishap) {
        self.add(Rule { side, often: Often::Next(count), mishap });
    }

    /// Each delivery of a side goes wrong with this probability, 0 to 1, until cleared.
    pub fn chance(&self, probability: f64, side: Side, mishap: Mishap) {
        self.add(Rule { side, often: Often::Chance(probability), mishap });
    }

    fn add(&self, rule: Rule) {
        self.0.state().post.mishaps.rules.push(rule);
    }

    /// Takes down the receivers of a side's deliveries, handshakes included, or brings them up again.
    pub fn down(&self, side: Side, down: bool) {
        self.0.state().post.mishaps.down[side] = down;
    }

    /// Switches all off, and brings receivers up.
    pub fn clear(&self) {
        let mishaps = &mut self.0.state().post.mishaps;
        mishaps.rules.clear();
        mishaps.down = BySide::default();
    }

    /// How many mishaps have happened.
    pub fn hits(&self) -> u64 {
        self.0.state().post.mishaps.hits
    }
}
