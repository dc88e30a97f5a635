//! `parked`: not there yet.

use super::args::ParkedArgs;
use super::{Context, Exit, Failure};

/// Runs the command.
pub(super) fn run(_context: &Context, _args: &ParkedArgs) -> Result<Exit, Failure> {
    Err(Failure::new("this command is not there yet"))
}
