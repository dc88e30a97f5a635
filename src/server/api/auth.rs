//! Who calls, and what they may do: by address and by bearer token.

use super::fault::{Code, Fault};
use crate::config::{Admin, Secret};
use crate::provider::signature::tokens_equal;
use crate::server::message::Head;
use crate::server::sources::among;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
}

/// What the caller may do.
pub(super) fn right(admin: &Admin, head: &Head) -> Result<Right, Fault> {
    if !admin.allow.is_empty() && !head.peer.is_some_and(|peer| among(&admin.allow, peer)) {
        let message = "this address may not use the admin API ([admin] allow)";
        return Err(Fault::new(Code::Forbidden, message).counted("address not allowed"));
    }
    let Some(token) = bearer(head) else {
        let message = "send the token of the admin API as `Authorization: Bearer TOKEN`";
        return Err(unauthorized(message, r#"Bearer realm="evenkeel""#, "no token"));
    };
    // Both are compared, whichever fits: the time tells nothing of either.
    let fits = |kept: &Option<Secret>| kept.as_ref().is_some_and(|kept| tokens_equal(kept, token));
    let (writes, reads) = (fits(&admin.token), fits(&admin.read_token));
    match (writes, reads) {
        (true, _) => Ok(Right::Write),
        (false, true) => Ok(Right::Read),
        (false, false) => {
            let challenge = r#"Bearer realm="evenkeel", error="invalid_token""#;
            Err(unauthorized("the token is not that of the admin API", challenge, "wrong token"))
        }
    }
}

/// Refuses a token that only reads.
pub(super) fn may_write(right: Right) -> Result<(), Fault> {
    match right {
        Right::Write => Ok(()),
        Right::Read => {
            let message = "this token may only read; use the one of [admin] token";
            Err(Fault::new(Code::Forbidden, message).counted("a read token that wanted to write"))
        }
    }
}

fn unauthorized(message: &str, challenge: &str, reason: &'static str) -> Fault {
    Fault::new(Code::Unauthorized, message).with("WWW-Authenticate", challenge).counted(reason)
}

/// The token of the one Authorization header. The scheme's case does not matter (RFC 9110).
fn bearer(head: &Head) -> Option<&str> {
    let (scheme, token) = head.single("authorization")?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
