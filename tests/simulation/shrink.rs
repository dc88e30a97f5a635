//! Shortens the acts of a world that breaks a law, as long as it goes on breaking it.

use super::acts::Step;
use super::play;

/// Worlds played at most while shortening one.
const TRIES_MAX: usize = 600;

/// The law a message speaks of: its first word.
pub fn law(broken: &str) -> &str {
    broken.split(':').next().unwrap_or(broken)
}

/// Fewer steps that still break the same law, and how they break it.
pub fn shrink(seed: u64, steps: Vec<Step>, broken: &str) -> (Vec<Step>, String) {
    let (mut best, mut message) = (steps, broken.to_owned());
    let mut tries = 0;
    let mut size = best.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < best.len() && tries < TRIES_MAX {
            let mut steps = best.clone();
            // What is left out still takes its time.
            let gone: u64 = steps.drain(at..(at + size).min(best.len())).map(|step| step.after).sum();
            if let Some(next) = steps.get_mut(at) {
                next.after += gone;
            }
            tries += 1;
            match play(seed, &steps, false).broken {
                Some(again) if law(&again) == law(broken) => {
                    (best, message, shorter) = (steps, again, true);
                }
                _ => at += size,
            }
        }
        if !shorter || size > 1 {
            size /= 2;
        }
    }
    (best, message)
}
