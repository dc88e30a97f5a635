//! What tasks are told once in a comment, because a delivery asked for it.

use std::time::Duration;

use super::{Failure, Hands};
use crate::clock::since;
use crate::engine::EngineError;
use crate::model::ItemKey;
use crate::provider::{ProviderError, Remedy};
use crate::store::{NewEntry, Notice};

/// Notices given in one pass; the rest follows in the next.
const NOTICES_MAX: u32 = 50;

/// How long a notice is tried before it is given up: later it is no news.
const NOTICE_PATIENCE: Duration = Duration::from_secs(24 * 3_600);

impl Hands<'_, '_> {
    /// Gives the notices that are open. One that was about to be sent before is looked for first, so that a task is
    /// told once whatever happens in between.
    pub(super) fn notices(&mut self) -> Result<(), EngineError> {
        for notice in self.engine.store.open_notices(&self.engine.route, NOTICES_MAX)? {
            self.watch.renew()?;
            match self.tell(&notice) {
                Ok(()) => {}
                Err(Failure::Pass(error)) => return Err(error),
                Err(Failure::Item(_, ProviderError::Stopped)) => return Err(EngineError::Stopped),
                Err(Failure::Item(key, error)) => {
                    let old = since(notice.at, self.engine.clock.now()) >= NOTICE_PATIENCE;
                    if old || matches!(error.remedy(), Remedy::Park | Remedy::ObserveAgain) {
                        log::warn!("{key}: the comment \"{}\" is given up: {error}", notice.cause);
                        self.engine.store.settle_notice(self.watch.lease, notice.id, None)?;
                    } else {
                        log::warn!("{key}: the comment \"{}\" waits: {error}", notice.cause);
                        // The next pass tries again; the others would meet the same.
                        return Ok(());
                    }
                }
                Err(Failure::Ask(..) | Failure::Moving(_) | Failure::Claimed(..)) => {}
            }
        }
        Ok(())
    }

    fn tell(&mut self, notice: &Notice) -> Result<(), Failure> {
        let engine = self.engine;
        let task = ItemKey::Task(notice.task.clone());
        let failed = |error| Failure::Item(task.clone(), error);
        let tracker = &engine.providers.tracker;
        if !notice.tried || !tracker.has_comment(&task, &notice.text).map_err(failed)? {
            engine.store.try_notice(self.watch.lease, notice.id, engine.clock.now())?;
            tracker.comment(&task, &notice.text).map_err(failed)?;
        }
        let link = engine.store.link_of(&task)?;
        let entry = NewEntry {
            partner: Some(ItemKey::Issue(notice.issue.clone())),
            ..self.entry("comment", &task, link.as_ref(), Vec::new(), &notice.cause)
        };
        engine.store.settle_notice(self.watch.lease, notice.id, Some(entry))?;
        Ok(())
    }
}
