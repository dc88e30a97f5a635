//! Trouble with the database under the real binary: a full disk, files and folders that cannot be written, a copy of
//! yesterday put back, nothing left at all. A person is told what to do, nothing is lost and nothing is made twice.

#![allow(clippy::panic, reason = "a test ends by panicking")]
#![allow(clippy::disallowed_methods, reason = "what is waited for are other processes, which heed no clock of ours")]

#[path = "support/between.rs"]
mod between;
#[path = "disk/copies.rs"]
mod copies;
#[path = "disk/full.rs"]
mod full;
mod outside;
#[path = "disk/read_only.rs"]
mod read_only;
mod support;
