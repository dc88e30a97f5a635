//! Stands between a client and a service: a test may act at every request, as the rest of the world does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use evenkeel::provider::http::{Request, Response, Transport, TransportError};

/// What a test does at a request: `at` counts the moments, one before and one after each request.
pub type Act = Box<dyn FnMut(u64, &Request) + Send>;

/// Calls a test before and after each request that goes through.
pub struct Between {
    way: Arc<dyn Transport>,
    /// The act, and how many moments there were.
    act: Mutex<(Option<Act>, u64)>,
}

impl Between {
    pub fn over(way: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self { way, act: Mutex::default() })
    }

    /// Counts anew and calls `act` from here on.
    pub fn acts(&self, act: impl FnMut(u64, &Request) + Send + 'static) {
        *self.act.lock().expect("no act panicked") = (Some(Box::new(act)), 0);
    }

    /// Ends it; answers how many moments there were.
    pub fn rests(&self) -> u64 {
        let mut act = self.act.lock().expect("no act panicked");
        act.0 = None;
        act.1
    }

    fn moment(&self, request: &Request) {
        // Taken out: the act may send requests of its own this way, at which it does not act again.
        let Ok(mut state) = self.act.try_lock() else { return };
        let Some(mut act) = state.0.take() else { return };
        let at = state.1;
        state.1 += 1;
        drop(state);
        act(at, request);
        self.act.lock().expect("no act panicked").0.get_or_insert(act);
    }
}

impl Transport for Between {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        self.moment(request);
        let answer = self.way.send(request, deadline);
        self.moment(request);
        answer
    }
}
