//! Carries out what was decided about one subject's hooks: made, mended, signed anew, replaced.

use std::time::Duration;

use super::decide::{Decision, Known, LEAVING, decide};
use super::list::failing;
use super::trouble::Trouble;
use super::{Keeper, Report, Subject};
use crate::clock::later;
use crate::inbox::digest;
use crate::model::Side;
use crate::provider::hooks::{CreatedHook, Hooks};
use crate::seal::{nonce, token};
use crate::store::{HookChange, HookState, Lease, NewHook};

/// How long a creation may take, the handshake within it: longer than any call.
const PENDING: Duration = Duration::from_secs(660);

/// How long both secrets are good when it is not known whether a new one arrived: until the next rotation.
const UNSETTLED: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

impl Keeper<'_> {
    /// Carries out what [`decide`] says; `anew` makes another hook in any case.
    pub(super) fn put_right(
        &self,
        lease: &Lease,
        subject: &Subject,
        report: &mut Report,
        anew: bool,
    ) -> Result<(), Trouble> {
        let api = self.api(subject)?;
        let remote = api.list()?;
        let known: Vec<Known> = self.rows(subject)?.into_iter().map(|row| self.known(row)).collect();
        let by_config = self.config_secret(subject.side).is_some();
        let prefix = self.prefix(subject.side)?;
        let now = self.works.clock.now();
        let hash = |target: &str| Some(digest(target.strip_prefix(&prefix)?.strip_prefix('/')?.as_bytes()));
        let mut decision = decide(subject.side, &known, &remote, &prefix, by_config, hash, now);
        if anew && let Some((row, hook)) = decision.keep.take() {
            decision.make = Some("it is replaced");
            decision.retire.push(row);
            decision.remove.push((hook, "another took its place"));
        }
        let kept_hook = decision.keep.as_ref().and_then(|(_, id)| remote.iter().find(|hook| hook.id == *id));
        let trouble = kept_hook.and_then(failing);
        let kept = decision.keep.clone();
        let outcome = self.carry_out(subject, &*api, decision, report);
        let lost = match (&outcome, &kept, subject.side) {
            (Ok(()), Some((row, id)), Side::Forge) => {
                if trouble.is_some()
                    && let Err(error) = api.ping(id)
                {
                    log::debug!("hook {id}: {error}");
                }
                self.fetch_lost(lease, *row, id, &*api, report)
            }
            _ => Ok(()),
        };
        if let Some((row, _)) = &kept {
            // Only then: what was not fetched is looked for again from where it was left.
            if outcome.is_ok() && lost.is_ok() {
                let checked = Some((now, trouble.clone()));
                self.works.store.change_hook(*row, &HookChange { checked, ..HookChange::default() })?;
            }
        }
        report.trouble = trouble.or(report.trouble.take());
        outcome.and(lost)
    }

    fn carry_out(
        &self,
        subject: &Subject,
        api: &dyn Hooks,
        decision: Decision,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let store = &self.works.store;
        let Decision { keep: _, adopt, set_wanted, resign, make, retire, remove, forget } = decision;
        if let Some((row, id)) = adopt {
            let change = HookChange { remote: Some(id.clone()), state: Some(HookState::Live), ..HookChange::default() };
            store.change_hook(row, &change)?;
            report.done.push(format!("hook {id} stands, though its creation had no answer"));
        }
        if let Some(id) = set_wanted {
            api.set_wanted(&id)?;
            report.done.push(format!("hook {id} sends what is wanted again"));
        }
        if let Some(id) = resign {
            self.sign(subject, api, &id)?;
            report.done.push(format!("hook {id} signs with a secret that is known here"));
        }
        if let Some(why) = make {
            let made = self.make(subject, api)?;
            report.done.push(format!("made hook {made} ({why})"));
        }
        for row in retire {
            let checked = Some((self.works.clock.now(), None));
            store
                .change_hook(row, &HookChange { state: Some(HookState::Leaving), checked, ..HookChange::default() })?;
        }
        for (id, why) in remove {
            api.remove(&id)?;
            report.done.push(format!("removed hook {id} ({why})"));
        }
        for row in forget {
            store.forget_hook(row)?;
        }
        Ok(())
    }

    /// Makes a hook: announced, made, and on Asana compared with what the handshake brought.
    fn make(&self, subject: &Subject, api: &dyn Hooks) -> Result<String, Trouble> {
        let store = &self.works.store;
        let now = self.works.clock.now();
        let name = token()?;
        let token_hash = digest(name.reveal().as_bytes());
        let prefix = self.prefix(subject.side)?;
        let config = self.config_secret(subject.side);
        let chosen = match (subject.side, config) {
            (Side::Tracker, _) => None,
            (Side::Forge, Some(secret)) => Some(secret.clone()),
            (Side::Forge, None) => Some(token()?),
        };
        let target = if config.is_some() { prefix.clone() } else { format!("{prefix}/{}", name.reveal()) };
        let seal = self.seal_for(subject.side)?;
        let sealed = match (&chosen, seal) {
            (Some(secret), Some(seal)) if config.is_none() => Some(seal.seal(secret, &token_hash, nonce()?)),
            _ => None,
        };
        let new = NewHook {
            side: subject.side,
            resource: subject.resource.clone(),
            token_hash: token_hash.clone(),
            target: prefix,
            secret: sealed,
            pending_until: later(now, PENDING),
        };
        let row = store.announce_hook(&new, now)?;
        let CreatedHook { hook, secret } = match api.create(&target, chosen.as_ref()) {
            Ok(created) => created,
            Err(error) => {
                if !error.maybe_done() {
                    store.forget_hook(row)?;
                }
                return Err(Trouble::Unmade(error));
            }
        };
        if subject.side == Side::Tracker {
            let kept = store.hook_by_token(&token_hash)?.and_then(|row| row.secret);
            let opened = match (seal, kept) {
                (Some(seal), Some(kept)) => seal.open(&kept, &token_hash).ok(),
                _ => None,
            };
            if secret.is_some() && opened != secret {
                api.remove(&hook.id)?;
                store.forget_hook(row)?;
                return Err(Trouble::Said(
                    "somebody else answered Asana's handshake, or answered it with another secret; the hook was removed. \
                     Does public_url lead to this service, and do all replicas share its database?"
                        .to_owned(),
                ));
            }
        }
        let change =
            HookChange { remote: Some(hook.id.clone()), state: Some(HookState::Live), ..HookChange::default() };
        store.change_hook(row, &change)?;
        Ok(hook.id)
    }

    /// Gives a GitHub hook of ours, known here or not, a secret that is known here.
    fn sign(&self, subject: &Subject, api: &dyn Hooks, id: &str) -> Result<(), Trouble> {
        let store = &self.works.store;
        let row = store.hook_by_remote(subject.side, id)?;
        let secret = match self.config_secret(subject.side) {
            Some(secret) => secret.clone(),
            None => match row.as_ref().and_then(|row| self.opened(row)) {
                Some(secret) => secret,
                None => return Err(Trouble::Said(format!("the secret of hook {id} is not known; rotate it"))),
            },
        };
        // First: a row says that the hook is good.
        api.set_secret(id, &secret)?;
        if row.is_none() {
            let now = self.works.clock.now();
            let new = NewHook {
                side: subject.side,
                resource: subject.resource.clone(),
                token_hash: digest(token()?.reveal().as_bytes()),
                target: self.prefix(subject.side)?,
                secret: None,
                pending_until: now,
            };
            let row = store.announce_hook(&new, now)?;
            let change =
                HookChange { remote: Some(id.to_owned()), state: Some(HookState::Live), ..HookChange::default() };
            store.change_hook(row, &change)?;
        }
        Ok(())
    }

    /// A new secret for a GitHub hook. Both are good before the service knows the new one, and for a while after.
    pub(super) fn change_secret(&self, subject: &Subject, report: &mut Report) -> Result<(), Trouble> {
        let store = &self.works.store;
        let api = self.api(subject)?;
        for row in self.rows(subject)?.into_iter().filter(|row| row.state == HookState::Live) {
            let Some(id) = row.remote.clone() else { continue };
            if let Some(secret) = self.config_secret(subject.side) {
                api.set_secret(&id, secret)?;
                report.done.push(format!("hook {id} signs with the secret of the configuration"));
                continue;
            }
            let Some(seal) = self.seal_for(subject.side)? else { continue };
            let (fresh, now) = (token()?, self.works.clock.now());
            let sealed = seal.seal(&fresh, &row.token_hash, nonce()?);
            let both = |now_good: String, until| HookChange {
                secret: Some(now_good),
                former: row.secret.clone().map(|before| (before, until)),
                ..HookChange::default()
            };
            // Until the service has answered, nobody knows which of them it signs with.
            store.change_hook(row.id, &both(sealed.clone(), later(now, UNSETTLED)))?;
            match api.set_secret(&id, &fresh) {
                Ok(()) => store.change_hook(row.id, &both(sealed, later(now, LEAVING)))?,
                Err(error) if error.maybe_done() => return Err(error.into()),
                Err(error) => {
                    let before = row.secret.clone().unwrap_or(sealed);
                    store.change_hook(row.id, &both(before, now))?;
                    return Err(error.into());
                }
            };
            report.done.push(format!("hook {id} signs with a new secret"));
        }
        Ok(())
    }
}
