//! `demo`: not there yet.

use super::args::{DemoArgs, Global};
use super::{Exit, Failure};

/// Runs the command.
pub(super) fn run(_global: &Global, _args: &DemoArgs) -> Result<Exit, Failure> {
    Err(Failure::new("this command is not there yet"))
}
