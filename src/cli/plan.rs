//! `plan`: not there yet.

use super::args::PlanArgs;
use super::{Context, Exit, Failure};

/// Runs the command.
pub(super) fn run(_context: &Context, _args: &PlanArgs) -> Result<Exit, Failure> {
    Err(Failure::new("this command is not there yet"))
}
