//! Simulated worlds keep the laws: see `simulation`.

mod simulation;

use simulation::{acts, play};

/// Steps of each world.
const STEPS: usize = 40;

#[test]
fn in_no_world_is_anything_lost_or_doubled() {
    for seed in 0..200 {
        let outcome = play(seed, &acts::draw(seed, STEPS), false);
        assert_eq!(outcome.broken, None, "seed {seed}");
    }
}
