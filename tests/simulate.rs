//! Simulated worlds keep the laws: see `simulation`.

mod simulation;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use simulation::{acts, keep_to_one_core, play};

/// Worlds that are played with every run of the tests, without optimization; `examples/simulate.rs` plays more, and the
/// gate 2,000 of them.
const SEEDS: u64 = 200;
/// Steps of each.
const STEPS: usize = 40;

#[test]
fn in_no_world_is_anything_lost_or_doubled() {
    let next = AtomicU64::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            let next = &next;
            scope.spawn(move || {
                keep_to_one_core(worker);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SEEDS {
                        return;
                    }
                    let broken = play(seed, &acts::draw(seed, STEPS), false).broken;
                    assert_eq!(
                        broken, None,
                        "seed {seed}; `cargo run --release --example simulate -- --seeds {seed}..{} --tell` shortens it \
                         and says what happens",
                        seed + 1
                    );
                }
            });
        }
    });
}

#[test]
fn what_was_once_broken_is_whole() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/simulation/cases");
    let mut played = 0;
    for entry in fs::read_dir(cases).expect("the cases") {
        let path = entry.expect("an entry").path();
        let text = fs::read_to_string(&path).expect("a case");
        let (seed, steps): (u64, Vec<acts::Step>) =
            serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(play(seed, &steps, false).broken, None, "{}", path.display());
        played += 1;
    }
    assert!(played > 0, "there are cases");
}

#[test]
fn a_seed_plays_the_same_world_every_time() {
    for seed in 0..20 {
        let [one, other] = [(); 2].map(|()| play(seed, &acts::draw(seed, STEPS), false));
        assert_eq!((one.trace, one.counts), (other.trace, other.counts), "seed {seed}");
    }
}
