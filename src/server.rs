//! The listener and what it serves.

pub mod api;
pub mod message;
mod turned_away;
