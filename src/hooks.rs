//! Looks after the hooks: exactly one live hook for each project and repository, made, mended, replaced, removed, and
//! what GitHub failed to hand over fetched.
//!
//! What is to be done is decided in `decide` and carried out in `carry`. A hook is announced in our database before its
//! service is asked for it, so that the handshake can be told from a stranger's and a lost answer is made up for; one
//! that takes another's place stands before the other goes.

mod carry;
mod decide;
mod list;
mod lost;
#[cfg(test)]
mod samples;
mod standing;
mod trouble;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use self::decide::Known;
pub use self::list::Listed;
pub use self::standing::{Standing, standing};
use self::trouble::Trouble;
pub use self::trouble::right_needed;
use crate::clock::{Timestamp, earlier};
use crate::config::{Config, Route, Secret};
use crate::model::{RouteName, Side};
use crate::provider::asana::AsanaHooks;
use crate::provider::github::GithubHooks;
use crate::provider::heard::Whole;
use crate::provider::hooks::{Hook, Hooks};
use crate::seal::Seal;
use crate::store::{HookChange, HookRow, HookState, Lease, Store, StoreError};
use crate::workshop::{Haste, Unequipped, Workshop};

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
