//! Looks after the hooks: exactly one live hook for each project and repository, made, mended, replaced, removed, and
//! what GitHub failed to hand over fetched.
//!
//! What is to be done is decided by [`decide`]; here it is carried out. A hook is announced in our database before its
//! service is asked for it, so that the handshake can be told from a stranger's and a lost answer is made up for; one
//! that takes another's place stands before the other goes.

mod decide;
mod standing;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use self::decide::{Decision, Known, LEAVING, decide};
pub use self::standing::{Standing, standing};
use crate::clock::{Timestamp, earlier, later};
use crate::config::{Config, Route, Secret};
use crate::inbox::{self, Taken, digest};
use crate::model::{RouteName, Side};
use crate::provider::asana::AsanaHooks;
use crate::provider::github::GithubHooks;
use crate::provider::heard::Whole;
use crate::provider::hooks::{Hook, Hooks};
use crate::provider::{ProviderError, hooks::CreatedHook};
use crate::seal::{NoChance, Seal, nonce, token};
use crate::store::{HookChange, HookRow, HookState, Lease, NewHook, Store, StoreError};
use crate::workshop::{Haste, Unequipped, Workshop};

/// How long a creation may take, the handshake within it: longer than any call.
const PENDING: Duration = Duration::from_secs(660);

/// How far back lost deliveries are looked for before the last time they were: the log of a delivery appears when it
/// has failed, up to ten seconds after it began, and clocks differ.
const OVERLAP: Duration = Duration::from_secs(900);

/// How long both secrets are good when it is not known whether a new one arrived: until the next rotation.
const UNSETTLED: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);

/// GitHub keeps the log of its deliveries for three days.
const LOG_KEPT: Duration = Duration::from_secs(3 * 24 * 3_600);

/// Deliveries fetched for one hook in one go; the rest follows the next time.
const FETCHED_MAX: usize = 200;

/// The lease under which hooks are looked after, so that several replicas never make two. A route of that name would
/// wait its turn, no more.
const LEASE_NAME: &str = "_hooks";

/// Something that hooks are on: a project or a repository, reached with the token of a route that names it.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Which side.
    pub side: Side,
    /// The project's gid, or the repository in lower case.
    pub resource: String,
    route: Route,
}

/// Every project and every repository of the configuration, each once.
pub fn subjects(config: &Config) -> Vec<Subject> {
    let mut found: BTreeMap<(Side, String), Subject> = BTreeMap::new();
    for route in &config.routes {
        for (side, resource) in [(Side::Tracker, route.project.to_string()), (Side::Forge, route.repo.folded())] {
            let subject = || Subject { side, resource: resource.clone(), route: route.clone() };
            found.entry((side, resource.clone())).or_insert_with(subject);
        }
    }
    found.into_values().collect()
}

/// What was found and done about the hooks of one subject.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `asana` or `github`.
    pub provider: &'static str,
    /// The project's gid, or the repository.
    pub resource: String,
    /// What was done, in words; empty when all was well.
    pub done: Vec<String>,
    /// What is wrong still, if something is.
    pub trouble: Option<String>,
    /// Whether something could not be done; else the trouble is the service's with the hook that stands.
    pub failed: bool,
    /// What to do about it, if there is something to say beyond that.
    pub hint: Option<String>,
    /// Deliveries that the service had failed to hand over and that were fetched.
    pub fetched: u64,
    /// Routes that are to be woken because of them.
    #[serde(skip)]
    pub wake: Vec<(RouteName, Option<Whole>)>,
}

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

/// Why hooks could not be looked after at all.
#[derive(Debug)]
pub enum HooksError {
    /// A setting is missing: which, and what to do.
    Unset(&'static str),
    /// Another replica or command is at it.
    Held(String),
    /// The database.
    Store(StoreError),
    /// No connection can be made.
    Unequipped(Unequipped),
}

impl fmt::Display for HooksError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unset(what) => out.write_str(what),
            Self::Held(holder) => write!(out, "{holder} is looking after the hooks; try again when it is done"),
            Self::Store(error) => error.fmt(out),
            Self::Unequipped(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for HooksError {}

impl From<StoreError> for HooksError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Unequipped> for HooksError {
    fn from(error: Unequipped) -> Self {
        Self::Unequipped(error)
    }
}

/// Why one subject's hooks could not be put right; the others go on.
#[derive(Debug)]
enum Trouble {
    Provider(ProviderError),
    /// A hook could not be made.
    Unmade(ProviderError),
    Store(StoreError),
    Said(String),
}

impl Trouble {
    /// What to do about it.
    fn hint(&self, side: Side, public_url: Option<&str>) -> Option<String> {
        match (self, public_url) {
            (Self::Provider(ProviderError::Denied { .. }) | Self::Unmade(ProviderError::Denied { .. }), _) => {
                Some(right_needed(side).to_owned())
            }
            (
                Self::Unmade(
                    ProviderError::Refused { .. } | ProviderError::Unreachable { .. } | ProviderError::Garbled { .. },
                ),
                Some(public_url),
            ) => Some(format!(
                "is `evenkeel run` at work, and does public_url reach it from outside? curl -i {public_url}/health \
                 must answer 200"
            )),
            _ => None,
        }
    }
}

/// The right that a token needs to look after hooks.
pub const fn right_needed(side: Side) -> &'static str {
    match side {
        Side::Tracker => "the token's user must be a member of the project",
        Side::Forge => {
            "a fine-grained token needs the repository permission \"Webhooks: read and write\", a classic one the scope \
             admin:repo_hook, and its user must administrate the repository"
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(error) | Self::Unmade(error) => error.fmt(out),
            Self::Store(error) => error.fmt(out),
            Self::Said(what) => out.write_str(what),
        }
    }
}

impl From<ProviderError> for Trouble {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NoChance> for Trouble {
    fn from(error: NoChance) -> Self {
        Self::Said(error.to_string())
    }
}

/// Who looks after the hooks.
pub struct Keeper<'a> {
    works: &'a Workshop,
    seal: Option<Seal>,
    public_url: Option<&'a str>,
}

/// What is said where there is no public address.
const NO_ADDRESS: &str = "hooks need an address where Asana and GitHub find this service; set public_url in [webhooks]";

impl<'a> Keeper<'a> {
    /// Over the present configuration.
    ///
    /// # Errors
    /// [`HooksError::Unset`] when there is no public address.
    pub fn new(works: &'a Workshop) -> Result<Self, HooksError> {
        let keeper = Self::without_address(works);
        if keeper.public_url.is_some() { Ok(keeper) } else { Err(HooksError::Unset(NO_ADDRESS)) }
    }

    /// The same where there may be no public address (any more): hooks that are known here can be listed and removed.
    pub fn without_address(works: &'a Workshop) -> Self {
        let webhooks = &works.config.webhooks;
        let seal = webhooks.seal_key.as_ref().map(Seal::new);
        Self { works, seal, public_url: webhooks.public_url.as_deref() }
    }

    /// Sees to it that each subject has exactly one live hook, and fetches what GitHub failed to hand over.
    ///
    /// # Errors
    /// What keeps all of it from being done; one subject's trouble is in its report.
    pub fn ensure(&self, subjects: &[Subject]) -> Result<Vec<Report>, HooksError> {
        self.led(subjects, |keeper, lease, subject, report| keeper.put_right(lease, subject, report, false))
    }

    /// Gives each subject's hook a new secret, without a gap: on Asana another hook takes its place, on GitHub the old
    /// secret stays good for an hour.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub fn rotate(&self, subjects: &[Subject]) -> Result<Vec<Report>, HooksError> {
        self.led(subjects, |keeper, lease, subject, report| match subject.side {
            Side::Tracker => keeper.put_right(lease, subject, report, true),
            Side::Forge => {
                keeper.put_right(lease, subject, report, false)?;
                keeper.change_secret(subject, report)
            }
        })
    }

    /// Removes every hook of ours from the subjects.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub fn remove(&self, subjects: &[Subject]) -> Result<Vec<Report>, HooksError> {
        self.led(subjects, |keeper, _, subject, report| {
            let api = keeper.api(subject)?;
            let rows = keeper.rows(subject)?;
            for hook in api.list()? {
                let known = rows.iter().any(|row| row.remote.as_deref() == Some(&hook.id));
                if known || keeper.is_ours(subject.side, &hook) {
                    api.remove(&hook.id)?;
                    report.done.push(format!("removed hook {}", hook.id));
                }
            }
            for row in rows {
                keeper.works.store.forget_hook(row.id)?;
            }
            Ok(())
        })
    }

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

    /// Does `work` for each subject, one replica at a time.
    fn led(
        &self,
        subjects: &[Subject],
        work: impl Fn(&Self, &Lease, &Subject, &mut Report) -> Result<(), Trouble>,
    ) -> Result<Vec<Report>, HooksError> {
        let store = &self.works.store;
        let name: RouteName = LEASE_NAME.parse().expect("the constant is a route's name");
        let holder = format!("{}/hooks", self.works.holder);
        let lease = match store.acquire(&name, &holder, self.works.clock.now())? {
            Ok(lease) => lease,
            Err(held) => return Err(HooksError::Held(held.holder)),
        };
        let reports = self.led_by(&lease, subjects, work);
        if let Err(error) = store.release(&lease) {
            log::warn!("releasing the lease of the hooks: {error}");
        }
        reports
    }

    fn led_by(
        &self,
        lease: &Lease,
        subjects: &[Subject],
        work: impl Fn(&Self, &Lease, &Subject, &mut Report) -> Result<(), Trouble>,
    ) -> Result<Vec<Report>, HooksError> {
        let mut reports = Vec::new();
        for subject in subjects {
            if self.works.stop.raised() {
                break;
            }
            self.works.store.renew(lease, self.works.clock.now())?;
            let mut report = Report {
                provider: subject.side.service(),
                resource: subject.resource.clone(),
                done: Vec::new(),
                trouble: None,
                failed: false,
                hint: None,
                fetched: 0,
                wake: Vec::new(),
            };
            if let Err(trouble) = work(self, lease, subject, &mut report) {
                let said = trouble.to_string();
                report.hint = trouble.hint(subject.side, self.public_url);
                report.failed = true;
                self.remember(subject, &said)?;
                report.trouble = Some(said);
            }
            reports.push(report);
        }
        Ok(reports)
    }

    /// Keeps what is wrong for whoever asks how things are. When the hook was last asked about stays as it was: what
    /// was missed since is still to be fetched.
    fn remember(&self, subject: &Subject, trouble: &str) -> Result<(), StoreError> {
        for row in self.rows(subject)?.into_iter().filter(|row| row.state == HookState::Live) {
            let checked = Some((row.checked_at.unwrap_or(row.made_at), Some(trouble.to_owned())));
            self.works.store.change_hook(row.id, &HookChange { checked, ..HookChange::default() })?;
        }
        Ok(())
    }

    /// Carries out what [`decide`] says; `anew` makes another hook in any case.
    fn put_right(&self, lease: &Lease, subject: &Subject, report: &mut Report, anew: bool) -> Result<(), Trouble> {
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
        if let Some(until) = decision.waits {
            report.failed = true;
            report.trouble = Some(format!(
                "a hook was asked for and there was no answer; another is made if none has come by {until:.0}"
            ));
        }
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
        let Decision { keep: _, waits: _, adopt, set_wanted, resign, make, retire, remove, forget } = decision;
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
    fn change_secret(&self, subject: &Subject, report: &mut Report) -> Result<(), Trouble> {
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

    /// Fetches the deliveries that GitHub failed to hand over, and takes them in as if they had come.
    fn fetch_lost(
        &self,
        lease: &Lease,
        row: i64,
        id: &str,
        api: &dyn Hooks,
        report: &mut Report,
    ) -> Result<(), Trouble> {
        let works = self.works;
        let now = works.clock.now();
        let known = works.store.hooks(Some(Side::Forge))?.into_iter().find(|known| known.id == row);
        let last = known.map(|row| row.checked_at.unwrap_or(row.made_at));
        let from = last.map_or(now, |last| earlier(last, OVERLAP)).max(earlier(now, LOG_KEPT));
        let lost = api.undelivered(id, from)?;
        let guids: Vec<String> = lost.iter().map(|one| one.guid.clone()).collect();
        let taken = works.store.known_deliveries(Side::Forge, &guids)?;
        let missing: Vec<_> = lost.into_iter().filter(|one| !taken.contains(&one.guid)).collect();
        for one in missing.iter().take(FETCHED_MAX) {
            if works.stop.raised() {
                return Err(Trouble::Said("stopped".to_owned()));
            }
            // Many of them take longer than a lease lasts.
            works.store.renew(lease, works.clock.now())?;
            let fetched = match api.delivery(id, &one.delivery_id) {
                Ok(fetched) => fetched,
                // Its log is over; the poll finds what it spoke of.
                Err(ProviderError::Gone { .. }) => continue,
                Err(error) => return Err(error.into()),
            };
            let letter = (fetched.guid.as_str(), fetched.event.as_str(), fetched.payload.as_slice());
            let Taken::In { taken, looks, .. } = inbox::fetched(&works.store, &works.config, row, letter, now)? else {
                continue;
            };
            report.fetched += 1;
            report.wake.extend(taken.routes.into_iter().map(|route| (route, None)));
            report.wake.extend(looks.into_iter().map(|(route, whole)| (route, Some(whole))));
        }
        if report.fetched > 0 {
            let what = if report.fetched == 1 { "delivery" } else { "deliveries" };
            report.done.push(format!("fetched {} {what} that GitHub had failed to hand over", report.fetched));
        }
        match missing.len().checked_sub(FETCHED_MAX).filter(|left| *left > 0) {
            None => Ok(()),
            Some(left) => Err(Trouble::Said(format!("{left} lost deliveries are fetched the next time"))),
        }
    }

    fn rows(&self, subject: &Subject) -> Result<Vec<HookRow>, StoreError> {
        let rows = self.works.store.hooks(Some(subject.side))?;
        Ok(rows.into_iter().filter(|row| row.resource == subject.resource).collect())
    }

    fn known(&self, row: HookRow) -> Known {
        let by_config = row.secret.is_none() && self.config_secret(row.side).is_some();
        // A creation without a handshake so far has no secret that could be opened.
        let usable = by_config || self.opened(&row).is_some();
        Known { row, usable }
    }

    fn opened(&self, row: &HookRow) -> Option<Secret> {
        self.seal.as_ref()?.open(row.secret.as_deref()?, &row.token_hash).ok()
    }

    /// The secret of GitHub's hooks, if the operator chose it.
    fn config_secret(&self, side: Side) -> Option<&Secret> {
        self.works.config.github_webhook_secret.as_ref().filter(|_| side == Side::Forge)
    }

    /// What secrets are sealed with; needed wherever the configuration does not have the secret itself.
    fn seal_for(&self, side: Side) -> Result<Option<&Seal>, Trouble> {
        match (&self.seal, self.config_secret(side)) {
            (Some(seal), _) => Ok(Some(seal)),
            (None, Some(_)) => Ok(None),
            (None, None) => Err(Trouble::Said(
                "a hook's secret is kept sealed; set seal_key in [webhooks] (make one with: openssl rand -hex 32)"
                    .to_owned(),
            )),
        }
    }

    /// Where the hooks of a side send to, before their token.
    fn prefix(&self, side: Side) -> Result<String, Trouble> {
        let public_url = self.public_url.ok_or_else(|| Trouble::Said(NO_ADDRESS.to_owned()))?;
        Ok(format!("{public_url}/webhooks/{}", side.service()))
    }

    fn is_ours(&self, side: Side, hook: &Hook) -> bool {
        let Ok(prefix) = self.prefix(side) else { return false };
        hook.target.strip_prefix(&prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn api(&self, subject: &Subject) -> Result<Box<dyn Hooks>, Unequipped> {
        let connection = self.works.connection(&subject.route, subject.side, Haste::Bulk)?;
        Ok(match subject.side {
            Side::Tracker => Box::new(AsanaHooks::new(connection, subject.route.project.clone())),
            Side::Forge => Box::new(GithubHooks::new(connection, subject.route.repo.clone())),
        })
    }
}

/// What is said of a hook whose last delivery failed: over when another got through.
const FAILED: &str = "its last delivery failed";

/// Whether the last thing that happened to a hook is that a delivery failed, and how.
fn failing(hook: &Hook) -> Option<String> {
    let why = hook.last_failure.as_ref()?;
    // Asana remembers a failure after it is over.
    let over = hook.last_success_at.is_some_and(|success| hook.last_failure_at.is_some_and(|at| at < success));
    (!over).then(|| format!("{FAILED}: {why}"))
}

impl From<Unequipped> for Trouble {
    fn from(error: Unequipped) -> Self {
        Self::Said(error.to_string())
    }
}

/// What old deliveries, calls, and passes that changed nothing leave behind goes: called beside the hooks' care. Answers
/// how many rows went.
///
/// # Errors
/// When the database fails.
pub fn tidy_up(store: &Store, config: &Config, now: Timestamp) -> Result<u64, StoreError> {
    /// How long a caller may repeat a call by its key.
    const KEYS: Duration = Duration::from_secs(24 * 3_600);
    store.forget_call_keys(earlier(now, KEYS))?;
    let until = earlier(now, config.webhooks.keep);
    Ok(store.prune_deliveries(until)? + store.prune_passes(until)?)
}
