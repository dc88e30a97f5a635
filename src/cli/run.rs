//! `run`: not there yet.

use super::args::RunArgs;
use super::{Context, Exit, Failure};

/// Runs the command.
pub(super) fn run(_context: &Context, _args: &RunArgs) -> Result<Exit, Failure> {
    Err(Failure::new("this command is not there yet"))
}
