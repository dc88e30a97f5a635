//! Somebody who watches every request: before it takes effect, and after that before it is answered.

use std::sync::Arc;

use super::Sandbox;
use crate::clock::lock;
use crate::model::Side;
use crate::provider::http::Method;

/// When in the life of a request a watcher is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// It came, and has done nothing yet.
    Came,
    /// It has taken its effect, and is not answered yet.
    Done,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes on as it would.
    GoesOn,
    /// Its connection is cut here: before it took effect, or before its answer.
    Cut,
}

/// A request as a watcher sees it.
#[derive(Debug, Clone, Copy)]
pub struct Watched<'a> {
    /// Which service.
    pub side: Side,
    /// What it wants to do.
    pub method: Method,
    /// Path and query below the base address.
    pub path: &'a str,
    /// Its body.
    pub body: &'a [u8],
}

/// Who watches.
pub(super) type Watch = Arc<dyn Fn(Moment, Watched<'_>) -> Fate + Send + Sync>;

impl Sandbox {
    /// Calls `watch` twice for every request from now on, in the thread that answers it and without any lock held:
    /// it may act in the sandbox, or end the process that asks.
    pub fn watch(&self, watch: impl Fn(Moment, Watched<'_>) -> Fate + Send + Sync + 'static) {
        *lock(&self.0.watch) = Some(Arc::new(watch));
    }

    /// Nobody watches any more.
    pub fn unwatch(&self) {
        *lock(&self.0.watch) = None;
    }

    /// Whether a request is cut at this moment.
    pub(super) fn is_cut(&self, moment: Moment, request: Watched<'_>) -> bool {
        let watch = lock(&self.0.watch).clone();
        watch.is_some_and(|watch| watch(moment, request) == Fate::Cut)
    }
}
