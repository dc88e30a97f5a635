//! Whether a delivery is signed with a secret that is known, at the same cost whatever is known.

use super::{Keys, Letter, reason};
use crate::clock::Timestamp;
use crate::config::Secret;
use crate::provider::signature::{ASANA_HEADER, Claim, GITHUB_HEADER, signer};
use crate::store::HookRow;

/// Why what is signed with no secret we know is refused: no hook, a wrong secret and a changed body are one thing.
const WRONG: &str = "a wrong signature";

/// Opened in place of a secret that is not there, so that the work is the same: sealed under no key in use.
const NOTHING: &str = "v1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
                       AAAAAAAAAAAAAAAAAAAAAAAAAA";

/// GitHub's signature by the secrets configured or by those of the hook: in both places two may be good at a time.
pub(super) fn github(
    keys: Keys<'_>,
    hook: Option<&HookRow>,
    letter: &Letter<'_>,
    now: Timestamp,
) -> Result<(), &'static str> {
    let claim = Claim::github(letter.all(GITHUB_HEADER));
    let config = [keys.config.github_webhook_secret.as_ref(), keys.config.github_webhook_secret_former.as_ref()];
    let former = hook.filter(|hook| hook.former_until.is_some_and(|until| until > now));
    let own = [
        opened(keys, hook, hook.and_then(|hook| hook.secret.as_deref())),
        opened(keys, former, former.and_then(|hook| hook.former_secret.as_deref())),
    ];
    // Both, whatever the first says.
    let by_config = signer(config, letter.body, claim.ok());
    let by_own = signer([own[0].as_ref(), own[1].as_ref()], letter.body, claim.ok());
    match claim {
        Err(fault) => Err(reason(fault)),
        Ok(_) if by_config.or(by_own).is_some() => Ok(()),
        Ok(_) => Err(WRONG),
    }
}

/// Asana's signature by the secret of the hook whose token stood in the address. Answers the hook.
pub(super) fn asana(keys: Keys<'_>, hook: Option<HookRow>, letter: &Letter<'_>) -> Result<HookRow, &'static str> {
    let claim = Claim::asana(letter.all(ASANA_HEADER));
    let secret = opened(keys, hook.as_ref(), hook.as_ref().and_then(|hook| hook.secret.as_deref()));
    let signed = signer([secret.as_ref(), None], letter.body, claim.ok());
    match (claim, signed, hook) {
        (Err(fault), ..) => Err(reason(fault)),
        (Ok(_), Some(_), Some(hook)) => Ok(hook),
        (Ok(_), ..) => Err(WRONG),
    }
}

/// Opens a secret of a hook; one that is not there costs the same.
fn opened(keys: Keys<'_>, hook: Option<&HookRow>, sealed: Option<&str>) -> Option<Secret> {
    let seal = keys.seal?;
    match (hook, sealed) {
        (Some(hook), Some(sealed)) => match seal.open(sealed, &hook.token_hash) {
            Ok(secret) => Some(secret),
            Err(error) => {
                log::debug!("hook {}: {error}", hook.id);
                None
            }
        },
        _ => seal.open(NOTHING, "").ok(),
    }
}
