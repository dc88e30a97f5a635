//! A delivery at the front door without a network: the head is judged first, then the body, as the listener does.

use evenkeel::provider::http::{Request, Response};
use evenkeel::server::front::Front;
use evenkeel::server::{Head, RequestId, Service as _};

/// Where the hooks lead to.
pub const PUBLIC_URL: &str = "https://sync.example.test";

/// Hands a request in; `number` tells it from others.
pub fn knock(front: &Front, request: &Request, number: u64) -> Response {
    let head = Head {
        id: RequestId::from_outside(&format!("{number:016}")).expect("well formed"),
        method: request.method.as_str().to_owned(),
        path: request.url.strip_prefix(PUBLIC_URL).expect("an address of ours").to_owned(),
        query: Vec::new(),
        headers: request.headers.clone(),
        peer: Some([127, 0, 0, 1].into()),
    };
    let answer = match front.admit(&head) {
        Err(early) => early,
        Ok(admission) => {
            assert!(request.body.len() <= admission.body_bytes_max);
            front.answer(evenkeel::server::Request { head, body: request.body.clone() })
        }
    };
    let headers = answer.headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
    Response { status: answer.status, headers, body: answer.body }
}
