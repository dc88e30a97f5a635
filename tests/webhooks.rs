//! Webhooks end to end: what the sandbox sends through the service's front door, and what is done because of it.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

#[path = "support/between.rs"]
mod between;
#[path = "webhooks/intake.rs"]
mod intake;
#[allow(dead_code, reason = "the tests of the listener use the rest of it")]
mod listening;
#[path = "webhooks/overtaking.rs"]
mod overtaking;
#[path = "webhooks/pulls.rs"]
mod pulls;
#[path = "webhooks/same_end.rs"]
mod same_end;
#[path = "webhooks/service.rs"]
mod service;
#[path = "support/station.rs"]
mod station;
mod support;
#[path = "webhooks/visits.rs"]
mod visits;
