//! The demo's last act: the service itself, with webhooks, while people edit on both sides.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::{Context, Failure};
use super::world::World;
use crate::config::Network;
use crate::hooks::subjects;
use crate::model::{Link, LinkId, LinkStatus, Status};
use crate::provider::http::UreqTransport;
use crate::sandbox::{Pump, Reason};
use crate::service::Staff;
use crate::store::HookState;
use crate::trigger::{Heart, Ring};

/// How long the demo waits for an edit to arrive; a second is what is promised.
const PATIENCE: Duration = Duration::from_secs(10);

/// One edit and how long it took to the other side.
#[derive(Debug, Serialize)]
pub struct Arrival {
    /// What was done where, and what came of it.
    pub what: String,
    /// Milliseconds from the edit to the other side showing it; none when it did not arrive.
    pub took_ms: Option<u64>,
}

/// The service at work, as long as it lives.
pub struct Live {
    pump: Option<Pump>,
    staff: Option<Staff>,
    /// Where it listens.
    pub address: String,
}

impl Live {
    /// Starts the service with a listener on a free port, has both services send their webhooks to it, and waits until
    /// the hooks stand.
    pub fn start(context: &Context, world: &World) -> Result<Self, Failure> {
        let config = &context.config;
        let transport = UreqTransport::new(&Network::default()).map_err(Failure::new)?;
        let sending = world.send_webhooks(Arc::new(transport));
        let pump = sending.map_err(|error| Failure::new(format!("starting the sandbox's webhooks: {error}")))?;
        let mut staff = Staff::hire(config, context.store.clone()).map_err(Failure::new)?;
        let Some(address) = staff.address() else {
            return Err(Failure::new("the demo's listener has no address, which is a fault of this program"));
        };
        let mut config = (**config).clone();
        let address = format!("http://{address}");
        config.webhooks.public_url = Some(address.clone());
        let wanted = subjects(&config).len();
        staff.ring(&Arc::new(config), &[Ring::Poll, Ring::Hooks], &context.stop, &Heart::default());
        let stands = || -> Result<bool, Failure> {
            let hooks = context.store.hooks(None)?;
            Ok(hooks.iter().filter(|hook| hook.state == HookState::Live && hook.heard_at.is_some()).count() >= wanted)
        };
        let live = Self { pump: Some(pump), staff: Some(staff), address };
        match wait(context, stands)? {
            Some(_) => Ok(live),
            None => {
                Err(Failure::new("the webhooks of the demo did not come to stand, which is a fault of this program"))
            }
        }
    }

    /// Closes an issue and renames a task, and measures how soon the other side shows it.
    pub fn edits(&self, context: &Context, world: &World) -> Result<Vec<Arrival>, Failure> {
        let pairs: Vec<Link> = context
            .store
            .links(None, LinkId(0), 100)?
            .into_iter()
            .filter(|link| link.status == LinkStatus::Active && link.waiting.is_empty())
            .filter(|link| link.base.as_ref().is_some_and(|base| base.status == Status::Open))
            .collect();
        let [first, .., last] = pairs.as_slice() else { return Ok(Vec::new()) };
        let (sandbox, repo) = (&world.sandbox, &world.repo);
        let mut arrivals = Vec::new();

        sandbox.github().close(repo, first.issue.number, Reason::Completed);
        let took = wait(context, || Ok(sandbox.world().task(&first.task).is_some_and(|task| task.completed)))?;
        arrivals.push(Arrival {
            what: format!("{} closed on github: its task is completed", first.issue),
            took_ms: took.map(millis),
        });

        let name = "Renamed a moment ago";
        sandbox.asana().rename(&last.task, name);
        let number = last.issue.number;
        let took = wait(context, || Ok(sandbox.world().issue(repo, number).is_some_and(|issue| issue.title == name)))?;
        arrivals.push(Arrival {
            what: format!("the task of {} renamed in asana: the issue has its new title", last.issue),
            took_ms: took.map(millis),
        });
        Ok(arrivals)
    }
}

impl Drop for Live {
    /// First nothing is sent any more, then who would take it in ends.
    fn drop(&mut self) {
        drop(self.pump.take());
        drop(self.staff.take());
    }
}

/// Looks again and again; answers how long it took, or nothing when it did not come.
fn wait(context: &Context, done: impl Fn() -> Result<bool, Failure>) -> Result<Option<Duration>, Failure> {
    let began = Instant::now();
    while !done()? {
        if began.elapsed() > PATIENCE || !context.clock.sleep(Duration::from_millis(1), &context.stop) {
            return Ok(None);
        }
    }
    Ok(Some(began.elapsed()))
}

fn millis(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}
