//! Which repository it is that a pass observes, and what it calls it: names change and are used again, ids do not.

use super::Gathering;
use crate::engine::{Engine, EngineError};
use crate::model::{Item, ItemKey, Native, RepoName, Side};
use crate::provider::ProviderError;

/// What a pass calls the repository, whatever it is called by the time: a name for each issue is what pairs are made by.
pub(super) struct KnownRepo {
    id: i64,
    /// As our links know it; if there are none, as it was first seen.
    name: RepoName,
    linked: bool,
}

impl Gathering<'_> {
    /// Speaks of an issue by the name under which our links know its repository, or by the first that this pass saw; a
    /// new name is kept with the closing record, so that the next pass knows it.
    pub(super) fn known_name(&mut self, item: &mut Item) -> Result<(), EngineError> {
        let (ItemKey::Issue(issue), Native::Issue { repo_id, .. }) = (&mut item.key, &item.native) else {
            return Ok(());
        };
        if self.known_repo.is_none() {
            let known = self.engine.store.repo_name(&self.engine.route, *repo_id)?;
            if known.is_none() {
                if let Some(before) = self.engine.store.repo_id(&self.engine.route, &issue.repo)?
                    && before != *repo_id
                {
                    // A new repository under an old name: its numbers mean other issues.
                    return Err(another_repository(&issue.repo, *repo_id, before, &issue.repo));
                }
                if self.elsewhere(*repo_id)?.is_some() {
                    return Ok(());
                }
            }
            let linked = known.is_some();
            let name = known.unwrap_or_else(|| issue.repo.clone());
            self.known_repo = Some(KnownRepo { id: *repo_id, name, linked });
        }
        // Asked of every item: it may be renamed in the middle of a pass.
        if let Some(known) = self.known_repo.as_ref().filter(|known| known.id == *repo_id && known.name != issue.repo) {
            let now = std::mem::replace(&mut issue.repo, known.name.clone());
            if known.linked && self.renames {
                if self.closing.rename.is_none() {
                    self.messages.push(format!("{} is now called {now}; its links follow", known.name));
                }
                self.closing.rename = Some((*repo_id, now));
            }
        }
        Ok(())
    }

    /// Refuses a listing of another repository than the one that this pass knows, or that the route's links are in. A new
    /// one under a former name is another: its numbers mean other issues, and what is made for them would be made in vain.
    pub(super) fn ours(&self, item: &Item) -> Result<(), EngineError> {
        let (ItemKey::Issue(issue), Native::Issue { repo_id, .. }) = (&item.key, &item.native) else { return Ok(()) };
        let linked = match &self.known_repo {
            Some(known) => (known.id != *repo_id).then(|| (known.id, known.name.clone())),
            None => self.elsewhere(*repo_id)?,
        };
        match linked {
            Some((id, known)) => Err(another_repository(&issue.repo, *repo_id, id, &known)),
            None => Ok(()),
        }
    }

    /// Whether an item is an issue of another repository than the route's: what a marker names may lie anywhere.
    pub(super) fn foreign(&self, item: &Item) -> Result<bool, EngineError> {
        let Native::Issue { repo_id, .. } = &item.native else { return Ok(false) };
        Ok(match &self.known_repo {
            Some(known) => known.id != *repo_id,
            None => self.elsewhere(*repo_id)?.is_some(),
        })
    }

    /// The repository that the route's links are in, if none of them is in this one.
    fn elsewhere(&self, repo_id: i64) -> Result<Option<(i64, RepoName)>, EngineError> {
        let Engine { store, route, .. } = self.engine;
        Ok(match store.repo_name(route, repo_id)? {
            Some(_) => None,
            None => store.linked_elsewhere(route, repo_id)?,
        })
    }
}

/// Refuses the whole side: nothing in a repository is compared with links into another.
fn another_repository(name: &RepoName, repo_id: i64, linked: i64, known: &RepoName) -> EngineError {
    EngineError::Provider {
        side: Side::Forge,
        error: ProviderError::Denied {
            doing: format!("compare {name} with its links"),
            why: format!(
                "this is another repository than the one that was linked (id {repo_id}, was {linked}, {known}); name the \
                 right one in the configuration, let go of the old pairs (`evenkeel links remove`), or give the route \
                 another name"
            ),
        },
    }
}
