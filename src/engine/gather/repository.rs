//! Which repository it is that a pass observes, and what it calls it: names change and are used again, ids do not.

use super::Gathering;
use crate::engine::{Engine, EngineError};
use crate::model::{IssueRef, Item, ItemKey, Native, RepoName, Side};
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
    /// new name is kept with the closing record, so that the next pass knows it. Answers the route's repository when the
    /// issue is in another: what a marker names may lie anywhere.
    pub(super) fn known_name(&mut self, item: &mut Item) -> Result<Option<(i64, RepoName)>, EngineError> {
        let (ItemKey::Issue(issue), Native::Issue { repo_id, .. }) = (&mut item.key, &item.native) else {
            return Ok(None);
        };
        let known = match &mut self.known_repo {
            Some(known) => known,
            unknown @ None => {
                let Engine { store, route, .. } = self.engine;
                let name = store.repo_name(route, *repo_id)?;
                if name.is_none()
                    && let Some((linked, called)) = store.another_repository(route, *repo_id, &issue.repo)?
                {
                    if called.folded() == issue.repo.folded() {
                        // A new repository under an old name: its numbers mean other issues.
                        return Err(another_repository(issue, *repo_id, linked, &called));
                    }
                    return Ok(Some((linked, called)));
                }
                let linked = name.is_some();
                unknown.insert(KnownRepo { id: *repo_id, name: name.unwrap_or_else(|| issue.repo.clone()), linked })
            }
        };
        if known.id != *repo_id {
            return Ok(Some((known.id, known.name.clone())));
        }
        // Asked of every item: it may be renamed in the middle of a pass.
        if known.name != issue.repo {
            let now = std::mem::replace(&mut issue.repo, known.name.clone());
            if known.linked && self.renames {
                if self.closing.rename.is_none() {
                    self.messages.push(format!("{} is now called {now}; its links follow", known.name));
                }
                self.closing.rename = Some((*repo_id, now));
            }
        }
        Ok(None)
    }

    /// The same for an item of a listing, which is refused when it shows another repository than the route's. A new one
    /// under a former name is another: its numbers mean other issues, and what is made for them would be made in vain.
    pub(super) fn listed_name(&mut self, item: &mut Item) -> Result<(), EngineError> {
        let ours = self.known_name(item)?;
        match (ours, &item.key, &item.native) {
            (Some((id, known)), ItemKey::Issue(issue), Native::Issue { repo_id, .. }) => {
                Err(another_repository(issue, *repo_id, id, &known))
            }
            _ => Ok(()),
        }
    }

    /// Whether an item that was read ([`Self::known_name`]) is an issue of another repository than the route's.
    pub(super) fn foreign(&self, item: &Item) -> bool {
        match &item.native {
            Native::Issue { repo_id, .. } => self.known_repo.as_ref().is_none_or(|known| known.id != *repo_id),
            Native::Task { .. } => false,
        }
    }
}

/// Refuses the whole side: nothing in a repository is compared with links into another.
fn another_repository(issue: &IssueRef, repo_id: i64, linked: i64, known: &RepoName) -> EngineError {
    EngineError::Provider {
        side: Side::Forge,
        error: ProviderError::Denied {
            doing: format!("compare {} with its links", issue.repo),
            why: format!(
                "this is another repository than the one that was linked (id {repo_id}, was {linked}, {known}); name the \
                 right one in the configuration, let go of the old pairs (`evenkeel links remove`), or give the route \
                 another name"
            ),
        },
    }
}
