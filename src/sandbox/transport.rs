//! Carries requests to the sandbox without a network, with the failures a network has.

use std::time::Duration;

use super::{Exchange, Sandbox};
use crate::provider::http::{Request, Response, Transport, TransportError};

/// Answers larger than this are not handed on, as the real transport would not.
const ANSWER_BYTES_MAX: u64 = 32 << 20;

/// The sandbox as a transport.
pub(super) struct InProcess(Sandbox);

impl InProcess {
    pub const fn new(sandbox: Sandbox) -> Self {
        Self(sandbox)
    }
}

impl Transport for InProcess {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        let (exchange, held) = self.0.exchange(request, Some(deadline));
        if held >= deadline {
            return Err(TransportError::NoAnswer(format!("no answer within {} ms", deadline.as_millis())));
        }
        match exchange {
            Exchange::Answer(response) if response.body.len() as u64 > ANSWER_BYTES_MAX => {
                Err(TransportError::TooLarge(ANSWER_BYTES_MAX))
            }
            Exchange::Answer(response) => Ok(response),
            Exchange::Bomb(_) => Err(TransportError::TooLarge(ANSWER_BYTES_MAX)),
            Exchange::Refused => Err(TransportError::NotSent("connection refused".to_owned())),
            Exchange::Cut => Err(TransportError::NoAnswer("connection reset by peer".to_owned())),
        }
    }
}
