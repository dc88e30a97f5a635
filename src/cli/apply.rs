//! `apply`: not there yet.

use super::args::ApplyArgs;
use super::{Context, Exit, Failure};

/// Runs the command.
pub(super) fn run(_context: &Context, _args: &ApplyArgs) -> Result<Exit, Failure> {
    Err(Failure::new("this command is not there yet"))
}
