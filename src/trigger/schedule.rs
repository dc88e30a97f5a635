//! The schedule: each cron line only rings the bell. No pass runs on the scheduler itself, which would
//! start overlapping runs and wait for none of them.

use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::bell::{Bell, Ring};
use crate::config::Schedule;

/// A running schedule; it must be [stopped](Self::stop), for dropping it leaves its tasks running.
pub(super) struct Ticking(JobScheduler);

impl Ticking {
    /// Starts to ring `bell` as `schedule` says, in UTC.
    pub(super) async fn start(schedule: &Schedule, bell: &Bell) -> Result<Self, JobSchedulerError> {
        let scheduler = JobScheduler::new().await?;
        let Schedule { poll, sweep, retry, hooks, belt: _, starts_free: _ } = schedule;
        let lines = [(poll, Ring::Poll), (sweep, Ring::Sweep), (retry, Ring::Retry), (hooks, Ring::Hooks)];
        for (line, ring) in lines {
            let bell = bell.clone();
            let job = Job::new_async(line, move |_, _| {
                let bell = bell.clone();
                Box::pin(async move { bell.ring(ring) })
            })?;
            scheduler.add(job).await?;
        }
        scheduler.start().await?;
        Ok(Self(scheduler))
    }

    /// Rings no more, save perhaps once that was on its way.
    pub(super) async fn stop(mut self) {
        if let Err(error) = self.0.shutdown().await {
            log::debug!("the schedule did not stop cleanly: {error}");
        }
    }
}
