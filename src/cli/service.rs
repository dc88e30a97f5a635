//! `service`: not there yet.

use super::args::{Global, RunArgs};
use super::{Exit, Failure};

/// Runs the command.
pub(super) fn run(_global: &Global, _args: &RunArgs) -> Result<Exit, Failure> {
    Err(Failure::new("this command is not there yet"))
}
