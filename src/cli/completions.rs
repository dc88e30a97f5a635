//! `completions`: the completion script of a shell.

use clap::CommandFactory as _;

use super::args::{Cli, CompletionsArgs};
use super::{Exit, Failure, Output};

/// Prints the script.
pub(super) fn run(out: &Output, args: &CompletionsArgs) -> Result<Exit, Failure> {
    // Into memory first: the generator panics on a closed pipe.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "evenkeel", &mut script);
    out.text(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Settled)
}
