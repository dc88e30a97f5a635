//! `run`: starts the service and says how it ended.

use super::args::{AllowArgs, Global, RunArgs, Scope};
use super::{Exit, Failure, setup};
use crate::service;
use crate::store::Store;
use crate::trigger::ExitReason;

/// Runs until a signal ends it.
pub(super) fn run(global: &Global, args: &RunArgs) -> Result<Exit, Failure> {
    only_once(global, args)?;
    let config = setup::load(global)?;
    setup::start_log(global, &config, setup::Usual::Passes);
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    let store = Store::open(&config.database)?.leasing(config.lease);
    match service::run(config, store, || setup::read(global).1) {
        ExitReason::Stopped => {
            log::info!("stopped; what is left is due for the next start");
            Ok(Exit::Settled)
        }
        ExitReason::Interrupted => Err(Failure::new("interrupted; the next start takes up what was left")),
        ExitReason::Overdue => Err(Failure::new("the repair in hand did not end in time; the next start takes it up")),
        ExitReason::Failed(why) => Err(Failure::new(why)),
    }
}

/// Refuses what only makes sense with `--once`: silently doing without it would surprise.
fn only_once(global: &Global, args: &RunArgs) -> Result<(), Failure> {
    let RunArgs { once: _, scope: Scope { full, route, only }, allow } = args;
    let AllowArgs { allow_updates, allow_retirements, allow_empty } = allow;
    let given = [
        ("--full", *full),
        ("--route", route.is_some()),
        ("--only", !only.is_empty()),
        ("--allow-updates", allow_updates.is_some()),
        ("--allow-retirements", allow_retirements.is_some()),
        ("--allow-empty", *allow_empty),
        ("--json", global.json),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        None => Ok(()),
        Some((option, _)) => Err(Failure::new(format!(
            "{option} needs --once: the service runs all routes by its schedule"
        ))
        .hint(match option {
            "--json" => "log lines as JSON are a setting: [log] format = \"json\"".to_owned(),
            _ => format!("evenkeel run --once {option} ..."),
        })),
    }
}
