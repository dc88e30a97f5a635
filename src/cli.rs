//! The command line: parses it, sets up what the command needs, runs it, and answers with an exit code.
//!
//! Every command is `run(&Context, &ItsArgs) -> Result<Exit, Failure>` in a file of its own. Commands
//! decide nothing about items: they call the engine and the store, and turn what they say into text or JSON.

pub mod args;
pub mod output;

mod adopt;
mod apply;
mod check;
mod completions;
mod conflicts;
mod deliveries;
mod demo;
mod history;
mod interrupt;
mod item;
mod links;
mod parked;
mod plan;
mod progress;
mod resolve;
mod run;
mod service;
mod setup;
mod status;
mod undo;
mod webhooks;
mod why;

use std::process::ExitCode;

use clap::Parser as _;

use crate::engine::{Ended, EngineError};
use crate::hooks::HooksError;
use crate::model::RouteName;
use crate::store::StoreError;
use crate::workshop::Unequipped;

pub use output::Output;
pub use setup::{Access, Context};

/// How a command ended; the help pages show the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Both sides are in step, as far as was looked.
    Settled,
    /// Something is left to do or to decide.
    Drift,
    /// A brake held the plan.
    Refused,
    /// It could not be done. The worst: later variants win where several routes end differently.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Settled => 0,
            Exit::Drift => 1,
            Exit::Failed => 2,
            Exit::Refused => 3,
        })
    }
}

impl From<Ended> for Exit {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Settled => Self::Settled,
            Ended::Drift => Self::Drift,
            Ended::Refused => Self::Refused,
            Ended::Failed | Ended::Stopped => Self::Failed,
        }
    }
}

/// Why a command could not be done, for a person.
#[derive(Debug)]
pub struct Failure {
    /// What was being done, to what, what was found. Several lines where several things are wrong.
    pub message: String,
    /// What to do about it, if there is something to say beyond the message.
    pub hint: Option<String>,
    /// How the command ends.
    pub exit: Exit,
    /// Nobody reads the answer any more (a closed pipe): there is nothing to say and nothing wrong.
    quiet: bool,
}

impl Failure {
    /// With exit code 2.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::Failed, quiet: false }
    }

    /// With a line that says what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With the route named in front, unless the message does so already.
    #[must_use]
    pub fn on_route(mut self, route: &RouteName) -> Self {
        let named = format!("route {route}: ");
        if !self.message.starts_with(&named) {
            self.message.insert_str(0, &named);
        }
        self
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<Unequipped> for Failure {
    fn from(error: Unequipped) -> Self {
        Self::new(error.to_string())
    }
}

impl From<HooksError> for Failure {
    fn from(error: HooksError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let hint = match &error {
            EngineError::Provider { .. } => Some("`evenkeel check` shows what is wrong and what to do"),
            EngineError::Stopped => Some("nothing is lost: the next pass takes up the rest"),
            EngineError::Store(_) | EngineError::Held { .. } => None,
        };
        Self { hint: hint.map(str::to_owned), ..Self::new(error.to_string()) }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let closed = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self {
            exit: if closed { Exit::Settled } else { Exit::Failed },
            quiet: closed,
            ..Self::new(format!("writing the answer: {error}"))
        }
    }
}

/// Runs the command that the process was called with.
pub fn main() -> ExitCode {
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Help and version are told this way too; a closed pipe is no matter.
            let _ = told.print();
            return if told.use_stderr() { Exit::Failed.into() } else { Exit::Settled.into() };
        }
    };
    match dispatch(&cli) {
        Ok(exit) => exit.into(),
        Err(failure) if failure.quiet => failure.exit.into(),
        Err(failure) => {
            complain(&failure);
            failure.exit.into()
        }
    }
}

/// Says what went wrong on standard error.
fn complain(failure: &Failure) {
    use output::{RED, YELLOW, aside, paint};
    for line in failure.message.lines() {
        aside(format_args!("{} {line}", paint(RED.bold(), "error:")));
    }
    if let Some(hint) = &failure.hint {
        aside(format_args!("{} {hint}", paint(YELLOW, "hint:")));
    }
}

fn dispatch(cli: &args::Cli) -> Result<Exit, Failure> {
    use args::Command;
    let global = &cli.global;
    let open = |access| Context::open(global, access);
    match &cli.command {
        Command::Run(args) if args.once => run::run(&Context::open_for_long_work(global)?, args),
        Command::Run(args) => service::run(global, args),
        Command::Plan(args) => plan::run(&open(Access::Read)?, args),
        Command::Apply(args) => apply::run(&Context::open_for_long_work(global)?, args),
        Command::Status(args) => status::run(&open(Access::Read)?, args),
        Command::Links(args) => links::run(&open(links::access(args))?, args),
        Command::Adopt(args) => adopt::run(&open(Access::Write)?, args),
        Command::Why(args) => why::run(&open(Access::Read)?, args),
        Command::Undo(args) if args.dry_run => undo::run(&open(Access::Read)?, args),
        Command::Undo(args) => undo::run(&open(Access::Write)?, args),
        Command::Parked(args) => parked::run(&open(parked::access(args))?, args),
        Command::Conflicts(args) => conflicts::run(&open(Access::Read)?, args),
        Command::Resolve(args) => resolve::run(&open(Access::Write)?, args),
        Command::History(args) => history::run(&open(Access::Read)?, args),
        Command::Webhooks(args) => webhooks::run(&open(webhooks::access(args))?, args),
        Command::Deliveries(args) => deliveries::run(&open(deliveries::access(args))?, args),
        Command::Check(args) => {
            let (context, trouble) = Context::open_to_check(global)?;
            check::run(&context, trouble.as_ref(), args)
        }
        Command::Demo(args) => demo::run(global, args),
        Command::Completions(args) => completions::run(&Output::new(false), args),
    }
}
