//! What GitHub holds, for end-state assertions and for the demo.

use super::{GithubState, Gone, Issue, Reason, Repo};
use crate::model::{IssueNumber, RepoName, Timestamp};

/// An issue as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssueView {
    /// Its number.
    pub number: IssueNumber,
    /// Its global id.
    pub id: i64,
    /// Its title.
    pub title: String,
    /// Its body, byte for byte; empty where there is none.
    pub body: String,
    /// Whether it is closed.
    pub closed: bool,
    /// Why it stands as it does.
    pub reason: Option<Reason>,
    /// Label names in the order in which they were added.
    pub labels: Vec<String>,
    /// Logins in the order in which they were assigned.
    pub assignees: Vec<String>,
    /// Bodies of its comments, oldest first.
    pub comments: Vec<String>,
    /// Login of whoever opened it.
    pub author: String,
    /// Whether it is a pull request.
    pub pull_request: bool,
    /// Whether it was deleted or transferred away.
    pub gone: bool,
    /// Its stamp.
    pub updated_at: Timestamp,
}

impl GithubState {
    fn repo_of(&self, repo: &RepoName) -> Option<&Repo> {
        let folded = repo.folded();
        self.repos.get(self.names.get(&folded).or_else(|| self.former.get(&folded))?)
    }

    pub(in crate::sandbox) fn view(&self, repo: &RepoName, number: IssueNumber) -> Option<IssueView> {
        let repo = self.repo_of(repo)?;
        self.view_of(repo, &*self.issue(repo.id, number)?)
    }

    /// The living issues and pull requests of a repository by number.
    pub(in crate::sandbox) fn view_repo(&self, repo: &RepoName) -> Vec<IssueView> {
        let Some(repo) = self.repo_of(repo) else { return Vec::new() };
        let all = (1..repo.next_number).filter_map(|number| self.issue(repo.id, number));
        all.filter(|issue| issue.gone.is_none()).filter_map(|issue| self.view_of(repo, &issue)).collect()
    }

    fn view_of(&self, repo: &Repo, issue: &Issue) -> Option<IssueView> {
        let login = |id: &i64| self.accounts.get(id).map(|account| account.login.clone());
        let label = |id: &i64| repo.labels.get(id).map(|label| label.name.clone());
        let comments = repo.comments_of.get(&issue.number).map(Vec::as_slice).unwrap_or_default();
        let comment = |id: &i64| repo.comments.get(id).map(|comment| comment.body.clone());
        Some(IssueView {
            number: issue.number,
            id: issue.id,
            title: issue.title.clone(),
            body: issue.body.clone().unwrap_or_default(),
            closed: issue.closed.is_some(),
            reason: issue.reason,
            labels: issue.labels.iter().filter_map(label).collect(),
            assignees: issue.assignees.iter().filter_map(login).collect(),
            comments: comments.iter().filter_map(comment).collect(),
            author: login(&issue.author).unwrap_or_default(),
            pull_request: issue.pull.is_some(),
            gone: matches!(issue.gone, Some(Gone::Deleted | Gone::Transferred { .. })),
            updated_at: Timestamp::from_millisecond(issue.updated).ok()?,
        })
    }
}
