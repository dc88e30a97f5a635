//! Three processes of the service over one PostgreSQL: every repair is made once, whoever dies and whatever restarts;
//! a dead replica's work is taken over, and one that was held up past its lease writes nothing more.

#![allow(clippy::print_stdout, reason = "the counts are told")]
#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

#[allow(dead_code, reason = "the tests of webhooks use the rest of it")]
#[path = "support/between.rs"]
mod between;
#[path = "replicas/fencing.rs"]
mod fencing;
#[path = "replicas/once.rs"]
mod once;
mod outside;
mod support;
#[path = "replicas/takeover.rs"]
mod takeover;
