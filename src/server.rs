//! The listener and what it serves.

pub mod message;
