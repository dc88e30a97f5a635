//! Who calls: the bearer token, compared so that the time it takes tells nothing, and the address.

use sha2::{Digest, Sha256};

use super::fault::{Code, Fault};
use crate::config::{Admin, Secret};
use crate::server::message::Head;

/// What a token is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    Read,
    Write,
}

/// What the caller may do.
pub(super) fn right(admin: &Admin, head: &Head) -> Result<Right, Fault> {
    let known = |peer: std::net::IpAddr| admin.allow.iter().any(|range| range.contains(&peer.to_canonical()));
    if !admin.allow.is_empty() && !head.peer.is_some_and(known) {
        let message = "this address may not use the admin API ([admin] allow)";
        return Err(Fault::new(Code::Forbidden, message).counted("address not allowed"));
    }
    let Some(token) = bearer(head) else {
        let message = "send the token of the admin API as `Authorization: Bearer TOKEN`";
        return Err(unauthorized(message, r#"Bearer realm="evenkeel""#, "no token"));
    };
    // Both are always compared, so that not even that tells which one is configured.
    let writes = matches(token, admin.token.as_ref());
    let reads = matches(token, admin.read_token.as_ref());
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

/// Whether a token is the secret. Digests of one length are compared to their end, whatever they hold.
fn matches(token: &str, secret: Option<&Secret>) -> bool {
    let given = Sha256::digest(token.as_bytes());
    let wanted = Sha256::digest(secret.map_or("", Secret::reveal).as_bytes());
    let differs = given.iter().zip(wanted.iter()).fold(0, |differs, (one, other)| differs | (one ^ other));
    std::hint::black_box(differs) == 0 && secret.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_matches() {
        let secret = Secret::new("0123456789abcdef".to_owned());
        for (token, fits) in [
            ("0123456789abcdef", true),
            ("0123456789abcdeF", false),
            ("0123456789abcde", false),
            ("0123456789abcdef0", false),
            ("", false),
        ] {
            assert_eq!(matches(token, Some(&secret)), fits, "{token}");
            assert!(!matches(token, None), "{token}");
        }
    }
}
