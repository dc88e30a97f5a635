//! Writes leave only by permission, asked for at the last moment: after every wait for a turn, before the bytes go.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::http::{Request, Response, Transport, TransportError};
use crate::clock::lock;

/// Who says whether writes may leave: the holder of the lease under which they are made.
pub trait Permit: Send + Sync {
    /// Whether a write may leave at this moment. Asked for every write.
    fn granted(&self) -> bool;
}

/// What stands between one client and the network. Without a permit every write may leave. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Barrier(Arc<Mutex<Option<Arc<dyn Permit>>>>);

impl Barrier {
    /// The same transport with this barrier before it.
    pub(super) fn before(&self, way: Arc<dyn Transport>) -> Arc<dyn Transport> {
        Arc::new(Guarded { way, barrier: self.clone() })
    }

    /// From now on writes leave by this permit, or freely.
    pub(super) fn set(&self, permit: Option<Arc<dyn Permit>>) {
        *lock(&self.0) = permit;
    }

    fn open(&self) -> bool {
        let permit = lock(&self.0).clone();
        permit.is_none_or(|permit| permit.granted())
    }
}

struct Guarded {
    way: Arc<dyn Transport>,
    barrier: Barrier,
}

impl Transport for Guarded {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        if request.method.writes() && !self.barrier.open() {
            // Nothing was sent, and nothing more is to be tried: the pass that wanted it is over.
            return Err(TransportError::Stopped);
        }
        self.way.send(request, deadline)
    }
}
