//! What is asked of a service to have it send webhooks, and to find out what it failed to hand over.
//!
//! Making a hook is repeated by nobody: an [`Unreachable`](ProviderError::Unreachable) that may have been done
//! is looked for with [`Hooks::list`], by its target.

use std::fmt;

use super::ProviderError;
use crate::config::Secret;
use crate::model::{Side, Timestamp};

/// A hook as the service shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Hook {
    /// The service's name for it: digits.
    pub id: String,
    /// Where it sends to. May hold a one-time token: show [`shown_target`](Self::shown_target) instead.
    pub target: String,
    /// Whether it is switched on.
    pub active: bool,
    /// What it sends: GitHub's events, Asana's filters as `task.changed`.
    pub events: Vec<String>,
    /// Whether it sends what we want, in the form we want.
    pub as_wanted: bool,
    /// Whether it signs what it sends (a GitHub hook may have lost its secret).
    pub signed: bool,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When something was last handed over (Asana).
    pub last_success_at: Option<Timestamp>,
    /// When it last failed (Asana).
    pub last_failure_at: Option<Timestamp>,
    /// How it last failed, in the service's words; of GitHub only when that was the last that happened.
    pub last_failure: Option<String>,
    /// When the service deletes it, if it goes on failing (Asana: 24 hours after the first failure).
    pub dies_at: Option<Timestamp>,
}

impl Hook {
    /// The target up to its path, which may hold a token.
    pub fn shown_target(&self) -> String {
        let rest = self.target.find("://").map_or(0, |at| at + 3);
        let path = self.target.get(rest..).and_then(|host| host.find(['/', '?', '#'])).map(|at| rest + at);
        match path.and_then(|path| self.target.get(..path)) {
            Some(origin) => format!("{origin}/…"),
            None => self.target.clone(),
        }
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, target: _, active, events, as_wanted, signed, .. } = self;
        let target = self.shown_target();
        write!(
            out,
            "Hook {{ {id} to {target}, active: {active}, as_wanted: {as_wanted}, signed: {signed}, {events:?} }}"
        )
    }
}

/// A hook just made.
#[derive(Debug, Clone)]
pub struct CreatedHook {
    /// The hook.
    pub hook: Hook,
    /// The secret the service chose (Asana), to be compared with the one of the handshake.
    pub secret: Option<Secret>,
}

/// A delivery that no attempt handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// The delivery's name, the same in every attempt.
    pub guid: String,
    /// The last attempt, for [`Hooks::delivery`].
    pub delivery_id: String,
    /// The event and its action: `issues.closed`.
    pub event: String,
    /// When it was last attempted.
    pub at: Timestamp,
    /// What came of that, in the service's words.
    pub status: String,
    /// Attempts seen.
    pub attempts: u32,
}

/// A delivery read back from the service's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredDelivery {
    /// The delivery's name.
    pub guid: String,
    /// The event, as in the header of the delivery.
    pub event: String,
    /// The body as JSON; written anew, so no signature fits it.
    pub payload: Vec<u8>,
}

/// Looks after the hooks of one project or repository.
pub trait Hooks: Send + Sync {
    /// Which side this is.
    fn side(&self) -> Side;

    /// The hooks on this project or repository: of Asana those made by this token's user, of GitHub everybody's,
    /// to be told apart by their target.
    ///
    /// # Errors
    /// `Denied` when the token may not look after hooks.
    fn list(&self) -> Result<Vec<Hook>, ProviderError>;

    /// Makes a hook that sends what we want to `target`. Asana answers only after it has shaken hands with the
    /// target, chooses the secret itself and so takes none; GitHub needs one.
    ///
    /// # Errors
    /// `Refused` when the target is not liked, does not shake hands, or has a hook already; the target and the
    /// secret are not in the error.
    fn create(&self, target: &str, secret: Option<&Secret>) -> Result<CreatedHook, ProviderError>;

    /// Gives a hook the events and the form we want, and switches it on where that can be; its secret stays.
    ///
    /// # Errors
    /// `Gone` when there is no such hook.
    fn set_wanted(&self, id: &str) -> Result<(), ProviderError>;

    /// Gives a hook another secret.
    ///
    /// # Errors
    /// `Refused` by Asana, where a hook is replaced instead; `Gone` when there is no such hook.
    fn set_secret(&self, id: &str, secret: &Secret) -> Result<(), ProviderError>;

    /// Removes a hook; one that is gone already is removed. A delivery on its way may still arrive.
    fn remove(&self, id: &str) -> Result<(), ProviderError>;

    /// Has the service send a sign of life.
    ///
    /// # Errors
    /// `Refused` by Asana, which sends one every 8 hours and none when asked; `Gone` when there is no such hook.
    fn ping(&self, id: &str) -> Result<(), ProviderError>;

    /// The deliveries since `since` that no attempt handed over, oldest first, pings left out. GitHub keeps its
    /// log for 3 days; Asana keeps none, tries for 24 hours by itself, and answers an empty list here.
    ///
    /// # Errors
    /// `Gone` when there is no such hook.
    fn undelivered(&self, id: &str, since: Timestamp) -> Result<Vec<Undelivered>, ProviderError>;

    /// Reads one delivery back.
    ///
    /// # Errors
    /// `Gone` when it is no longer kept, `Refused` by Asana, which keeps none.
    fn delivery(&self, id: &str, delivery_id: &str) -> Result<RecoveredDelivery, ProviderError>;
}

/// The service has no such thing.
pub(super) fn impossible(doing: impl Into<String>, why: &str) -> ProviderError {
    ProviderError::Refused { doing: doing.into(), status: 0, why: why.to_owned() }
}

/// The beginning of such words that is looked for in a message that was cut, in bytes; shorter ones tell nothing.
const TELLING_BYTES: usize = 12;

/// An error without words that must not be shown, which a service may have repeated, whole or cut short.
pub(super) fn hiding(mut error: ProviderError, words: &[&str]) -> ProviderError {
    if let ProviderError::Unreachable { why, .. }
    | ProviderError::Refused { why, .. }
    | ProviderError::Garbled { why, .. }
    | ProviderError::Denied { why, .. } = &mut error
    {
        for word in words.iter().filter(|word| !word.is_empty()) {
            *why = why.replace(word, "…");
            let parts = (TELLING_BYTES..word.len()).rev().filter_map(|end| word.get(..end));
            if let Some(part) = parts.into_iter().find(|part| why.contains(part)) {
                *why = why.replace(part, "…");
            }
        }
    }
    error
}

#[cfg(test)]
impl Hook {
    /// A hook in good order.
    pub(crate) fn sample(id: &str, target: &str) -> Self {
        Self {
            id: id.to_owned(),
            target: target.to_owned(),
            active: true,
            events: Vec::new(),
            as_wanted: true,
            signed: true,
            created_at: None,
            last_success_at: None,
            last_failure_at: None,
            last_failure: None,
            dies_at: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_to_be_hidden_are_hidden_when_the_message_was_cut_too() {
        let target = "https://sync.example/webhooks/asana/t0k3n-t0k3n-t0k3n";
        for (why, wanted) in [
            (format!("see https://help.example; {target} has one, {target}"), "see https://help.example; … has one, …"),
            ("known: https://sync.example/webhooks/asana/t0k3n-t0…".to_owned(), "known: ……"),
            ("short".to_owned(), "short"),
        ] {
            let error = ProviderError::Refused { doing: "x".to_owned(), status: 403, why };
            let shown = ProviderError::Refused { doing: "x".to_owned(), status: 403, why: wanted.to_owned() };
            assert_eq!(hiding(error, &[target, ""]), shown);
        }
    }

    #[test]
    fn a_hook_is_shown_without_the_token_in_its_target() {
        for (target, shown) in [
            ("https://sync.example/webhooks/asana/s3cret", "https://sync.example/…"),
            ("https://sync.example:8443?t=s3cret", "https://sync.example:8443/…"),
            ("https://sync.example", "https://sync.example"),
            ("s3cret/x", "s3cret/…"),
            ("", ""),
        ] {
            let hook = Hook::sample("7", target);
            assert_eq!(hook.shown_target(), shown);
            assert!(!target.starts_with("https") || !format!("{hook:?}").contains("s3cret"), "{hook:?}");
        }
    }
}
