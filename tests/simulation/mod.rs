//! Simulated worlds: the real engine, clients, service and SQLite against both services in one process, from one seed.
//!
//! Several processes of the service, the people on both sides, and those who bring the deliveries take turns on one
//! virtual clock ([`turns`]). A process can be ended or frozen before each of its requests and uses of the database
//! ([`life`]). What happens is a list of acts drawn from the seed ([`acts`]), which a failure shortens ([`shrink`]).
//! What must be true is in [`laws`]. Used by `tests/simulate.rs` and, for many worlds, `examples/simulate.rs`.

#![allow(clippy::panic, reason = "a broken law ends a world")]

pub mod acts;
mod epilogue;
#[path = "../support/knock.rs"]
mod knock;
mod laws;
mod life;
mod operator;
mod people;
mod replica;
mod shelf;
#[allow(dead_code, reason = "what fails in the tests is shortened by the command")]
pub mod shrink;
mod turns;
mod wire;
mod world;

pub use turns::keep_to_one_core;
#[allow(unused_imports, reason = "each user uses another part of it")]
pub use world::{Outcome, play};
