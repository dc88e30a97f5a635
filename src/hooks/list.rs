//! The hooks as an operator sees them: what we know beside what the services say. Writes nothing.

use serde::Serialize;

use super::{HooksError, Keeper, Subject};
use crate::clock::Timestamp;
use crate::provider::ProviderError;
use crate::provider::hooks::Hook;
use crate::store::HookState;
use crate::workshop::Unequipped;

/// A hook as an operator sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// `asana` or `github`.
    pub provider: &'static str,
    /// The project's gid, or the repository.
    pub resource: String,
    /// The service's id.
    pub id: Option<String>,
    /// Where it sends to, without its token.
    pub target: String,
    /// `live`, `pending`, `leaving`; `stranger`: it sends here, but is not known here; `gone`: known, but not there;
    /// `none`: there is none; `unknown`: the service did not say.
    pub state: &'static str,
    /// Whether the service has it switched on.
    pub active: Option<bool>,
    /// When a verified delivery of it last came.
    pub heard_at: Option<Timestamp>,
    /// What is wrong, if something is.
    pub trouble: Option<String>,
}

/// What is said of a hook whose last delivery failed: over when another got through.
pub(super) const FAILED: &str = "its last delivery failed";

impl Keeper<'_> {
    /// The hooks of the subjects, as both sides know them. Writes nothing.
    ///
    /// # Errors
    /// When the database fails; a service that does not answer is told in the list.
    pub fn list(&self, subjects: &[Subject]) -> Result<Vec<Listed>, HooksError> {
        let mut listed = Vec::new();
        for subject in subjects {
            let rows = self.rows(subject)?;
            let api = self.api(subject)?;
            let (remote, unknown) = match api.list() {
                Ok(remote) => (remote, None),
                Err(error) => (Vec::new(), Some(error.to_string())),
            };
            for row in &rows {
                let hook = remote.iter().find(|hook| row.remote.as_deref() == Some(&hook.id));
                let state = match (hook, &unknown, row.state) {
                    (None, None, HookState::Live) => "gone",
                    (.., state) => state.as_str(),
                };
                listed.push(Listed {
                    provider: subject.side.service(),
                    resource: subject.resource.clone(),
                    id: row.remote.clone(),
                    target: row.target.clone(),
                    state,
                    active: hook.map(|hook| hook.active),
                    heard_at: row.heard_at,
                    trouble: unknown.clone().or_else(|| {
                        // What the service says now is newer than what was found when it was last asked.
                        let kept = row.trouble.clone().filter(|said| hook.is_none() || !said.starts_with(FAILED));
                        kept.or(hook.and_then(failing))
                    }),
                });
            }
            let strangers = remote.iter().filter(|hook| {
                self.is_ours(subject.side, hook) && !rows.iter().any(|row| row.remote.as_deref() == Some(&hook.id))
            });
            for hook in strangers {
                listed.push(Listed {
                    provider: subject.side.service(),
                    resource: subject.resource.clone(),
                    id: Some(hook.id.clone()),
                    target: hook.shown_target(),
                    state: "stranger",
                    active: Some(hook.active),
                    heard_at: None,
                    trouble: Some("it sends here, but its secret is not known; `evenkeel webhooks ensure`".to_owned()),
                });
            }
            let none =
                !listed.iter().any(|one| one.resource == subject.resource && one.provider == subject.side.service());
            let none = none && (unknown.is_some() || self.public_url.is_some());
            if none {
                listed.push(Listed {
                    provider: subject.side.service(),
                    resource: subject.resource.clone(),
                    id: None,
                    target: String::new(),
                    state: if unknown.is_some() { "unknown" } else { "none" },
                    active: None,
                    heard_at: None,
                    trouble: Some(unknown.unwrap_or_else(|| "there is none; `evenkeel webhooks ensure`".to_owned())),
                });
            }
        }
        Ok(listed)
    }

    /// Whether the token may look after the hooks of a subject: how many are there, and how many of them send here.
    ///
    /// # Errors
    /// [`Unequipped`] when no connection can be made, inside it why the service did not show them.
    pub fn look(&self, subject: &Subject) -> Result<Result<(usize, usize), ProviderError>, Unequipped> {
        let found = self.api(subject)?.list();
        Ok(found.map(|hooks| (hooks.len(), hooks.iter().filter(|hook| self.is_ours(subject.side, hook)).count())))
    }
}

/// Whether the last thing that happened to a hook is that a delivery failed, and how.
pub(super) fn failing(hook: &Hook) -> Option<String> {
    let why = hook.last_failure.as_ref()?;
    // Asana remembers a failure after it is over.
    let over = hook.last_success_at.is_some_and(|success| hook.last_failure_at.is_some_and(|at| at < success));
    (!over).then(|| format!("{FAILED}: {why}"))
}
