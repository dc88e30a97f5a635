//! The handle by which tests and the demo furnish GitHub and act in it as people do on the web site.

use std::sync::Arc;

use super::acts::set_state;
use super::{Access, Account, Act, GithubHabits, GithubState, Issue, Kind, Label, Milestone, Pull, Repo, Token};
use crate::model::{IssueNumber, RepoName};
use crate::sandbox::Sandbox;
use crate::sandbox::population::{COUNT_MAX, IssueBody, Population};

/// A repository that was made, and a token that may write to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its name.
    pub name: RepoName,
    /// Its id, which survives a rename.
    pub id: i64,
    /// A classic personal access token of the service's own account, which may write.
    pub token: String,
}

/// What an account may do in a repository, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Permission {
    None,
    Read,
    Triage,
    Write,
    Admin,
}

/// Why an issue stands as it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Reason {
    Completed,
    NotPlanned,
    Duplicate,
    Reopened,
}

impl Reason {
    /// The service's word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::NotPlanned => "not_planned",
            Self::Duplicate => "duplicate",
            Self::Reopened => "reopened",
        }
    }
}

/// What an issue begins with.
#[derive(Debug, Clone, Default)]
pub struct IssueSeed {
    /// Its title.
    pub title: String,
    /// Markdown; empty for none.
    pub body: String,
    /// Label names; made where there is none of it.
    pub labels: Vec<String>,
    /// Logins; they must be assignable.
    pub assignees: Vec<String>,
    /// Closed, and why.
    pub closed: Option<Reason>,
}

impl IssueSeed {
    /// An issue with a title and a body.
    pub fn new(title: impl Into<String>, body: impl Into<String>) -> Self {
        Self { title: title.into(), body: body.into(), ..Self::default() }
    }
}

/// The account whose tokens [`Github::repository`] gives out.
const BOT: &str = "evenkeel-bot";
/// The person who acts where nobody else is named.
const PERSON: &str = "ada";
/// Labels of a new repository (github-api.md §10).
const LABELS: [(&str, &str); 9] = [
    ("bug", "d73a4a"),
    ("documentation", "0075ca"),
    ("duplicate", "cfd3d7"),
    ("enhancement", "a2eeef"),
    ("good first issue", "7057ff"),
    ("help wanted", "008672"),
    ("invalid", "e4e669"),
    ("question", "d876e3"),
    ("wontfix", "ffffff"),
];

/// Furnishes GitHub and acts in it. Everything done here comes in as from the web site, as some person.
///
/// # Panics
/// Where a repository, a login or a number is given that names nothing here: the caller made it up.
#[derive(Debug, Clone)]
pub struct Github {
    sandbox: Sandbox,
    who: String,
}

impl Github {
    pub(in crate::sandbox) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, who: PERSON.to_owned() }
    }

    /// The same, acting as this login.
    #[must_use]
    pub fn acting_as(&self, login: &str) -> Self {
        Self { sandbox: self.sandbox.clone(), who: login.to_owned() }
    }

    fn with<T>(&self, act: impl FnOnce(&mut GithubState, Act) -> T) -> T {
        let now = self.sandbox.now();
        let now = now - now.rem_euclid(1000);
        let done = {
            let github = &mut self.sandbox.state().github;
            let who = account(github, &self.who, now);
            act(github, Act { who, now })
        };
        self.sandbox.ring();
        done
    }

    fn in_repo<T>(&self, repo: &RepoName, act: impl FnOnce(&mut GithubState, Act, i64) -> T) -> T {
        self.with(|github, by| {
            let id = *github.names.get(&repo.folded()).expect("the repository is one of this sandbox");
            act(github, by, id)
        })
    }

    /// Changes what the facts leave open.
    pub fn habits(&self, change: impl FnOnce(&mut GithubHabits)) {
        change(&mut self.sandbox.state().github.habits);
    }

    // ---- furnishing ----

    /// Makes a private repository; its owner administrates it, the service's account and the person who acts
    /// here may write.
    pub fn repository(&self, name: &RepoName) -> Repository {
        let id = self.with(|github, act| {
            assert!(!github.names.contains_key(&name.folded()), "there is a repository {name} already");
            let owner = account(github, name.owner(), act.now);
            let bot = account(github, BOT, act.now);
            let id = github.id();
            let mut labels = std::collections::BTreeMap::new();
            for (name, color) in LABELS {
                let id = github.id();
                let (name, color) = (name.to_owned(), color.to_owned());
                labels.insert(id, Label { id, name, color, description: None, default: true });
            }
            github.former.remove(&name.folded());
            github.names.insert(name.folded(), id);
            github.repos.insert(
                id,
                Repo {
                    id,
                    owner,
                    name: name.name().to_owned(),
                    private: true,
                    archived: false,
                    has_issues: true,
                    default_branch: "main".to_owned(),
                    created: act.now,
                    next_number: 1,
                    issues: std::collections::BTreeMap::new(),
                    by_created: std::collections::BTreeSet::new(),
                    by_updated: std::collections::BTreeSet::new(),
                    written: std::collections::VecDeque::new(),
                    population: None,
                    open_computed: std::cell::OnceCell::new(),
                    labels,
                    milestones: std::collections::BTreeMap::new(),
                    comments: std::collections::BTreeMap::new(),
                    comments_of: std::collections::BTreeMap::new(),
                    permissions: [(act.who, Permission::Write), (bot, Permission::Write), (owner, Permission::Admin)]
                        .into(),
                    hooks: std::collections::BTreeMap::new(),
                },
            );
            id
        });
        Repository { name: name.clone(), id, token: self.token(BOT) }
    }

    /// The login of the service's own account.
    pub fn bot(&self) -> String {
        BOT.to_owned()
    }

    /// The login of the person who acts where nobody else is named.
    pub fn person(&self) -> String {
        PERSON.to_owned()
    }

    /// Makes an account, if there is none of that login; it may do nothing yet.
    pub fn user(&self, login: &str) {
        self.with(|github, act| account(github, login, act.now));
    }

    /// Says what an account may do in a repository.
    pub fn permit(&self, repo: &RepoName, login: &str, permission: Permission) {
        self.in_repo(repo, |github, act, id| {
            let who = account(github, login, act.now);
            if let Some(repo) = github.repos.get_mut(&id) {
                repo.permissions.insert(who, permission);
            }
        });
    }

    /// Makes a classic token with scope `repo`.
    pub fn token(&self, login: &str) -> String {
        self.issue_token(login, "ghp_", Kind::Classic(vec!["repo".to_owned()]))
    }

    /// Makes a classic token with these scopes.
    pub fn token_with_scopes(&self, login: &str, scopes: &[&str]) -> String {
        self.issue_token(login, "ghp_", Kind::Classic(scopes.iter().map(|scope| (*scope).to_owned()).collect()))
    }

    /// Makes a fine-grained token for some repositories that may read issues or, with `write`, write them.
    pub fn fine_grained_token(&self, login: &str, repos: &[&RepoName], write: bool) -> String {
        let repos = {
            let state = self.sandbox.state();
            repos.iter().filter_map(|repo| state.github.names.get(&repo.folded()).copied()).collect()
        };
        let issues = if write { Access::Write } else { Access::Read };
        self.issue_token(login, "github_pat_", Kind::FineGrained { issues, hooks: Access::None, repos: Some(repos) })
    }

    /// Lets a fine-grained token look after webhooks too; its account must administrate the repository.
    pub fn allow_hooks(&self, token: &str) {
        self.with(|github, _| {
            let token = github.tokens.get_mut(token).expect("the token is one of this sandbox");
            if let Kind::FineGrained { hooks, .. } = &mut token.kind {
                *hooks = Access::Write;
            }
        });
    }

    fn issue_token(&self, login: &str, prefix: &str, kind: Kind) -> String {
        let text = format!("{prefix}{:032x}", self.sandbox.state().rng.u128(..));
        self.with(|github, act| {
            let user = account(github, login, act.now);
            github.tokens.insert(text.clone(), Token { user, kind, revoked: false });
        });
        text
    }

    /// Takes the permission to write issues away from a fine-grained token, or all scopes from a classic one.
    pub fn weaken(&self, token: &str) {
        self.with(|github, _| {
            let token = github.tokens.get_mut(token).expect("the token is one of this sandbox");
            match &mut token.kind {
                Kind::Classic(scopes) => scopes.clear(),
                Kind::FineGrained { issues, hooks, .. } => {
                    *issues = (*issues).min(Access::Read);
                    *hooks = Access::None;
                }
            }
        });
    }

    /// Makes a token good for nothing.
    pub fn revoke(&self, token: &str) {
        self.set_revoked(token, true);
    }

    /// Makes a revoked token good again.
    pub fn restore_token(&self, token: &str) {
        self.set_revoked(token, false);
    }

    fn set_revoked(&self, token: &str, revoked: bool) {
        self.with(|github, _| {
            github.tokens.get_mut(token).expect("the token is one of this sandbox").revoked = revoked
        });
    }

    /// Makes a label.
    pub fn label(&self, repo: &RepoName, name: &str) {
        self.in_repo(repo, |github, act, id| {
            github.labels_named(act, id, &[name.to_owned()]).expect("the name is one that a label can have");
        });
    }

    /// Makes a milestone and answers its number.
    pub fn milestone(&self, repo: &RepoName, title: &str) -> u64 {
        self.in_repo(repo, |github, act, repo_id| {
            let id = github.id();
            let repo = github.repos.get_mut(&repo_id).expect("looked up above");
            let number = repo.milestones.len() as u64 + 1;
            repo.milestones.insert(number, Milestone { id, number, title: title.to_owned(), created: act.now });
            github.tell_milestone(act, repo_id, number);
            number
        })
    }

    /// Makes `count` issues that are computed from their index and cost no memory until they are touched; `body`
    /// writes their raw bodies.
    pub fn populate(&self, repo: &RepoName, count: u64, body: IssueBody) -> Population {
        let now = self.sandbox.now();
        let state = &mut *self.sandbox.state();
        let population = Population {
            seed: state.rng.u64(..),
            count: count.min(COUNT_MAX),
            first_task: 0,
            first_issue: 0,
            first_id: 0,
            since: now.saturating_sub_unsigned(count.saturating_mul(1000)).saturating_sub(3_600_000),
            body: Arc::clone(&body),
        };
        state.github.settle(repo, population)
    }

    // ---- what people do ----

    /// Opens an issue.
    pub fn issue(&self, repo: &RepoName, seed: IssueSeed) -> IssueNumber {
        self.in_repo(repo, |github, act, id| {
            let IssueSeed { title, body, labels, assignees, closed } = seed;
            let labels = github.labels_named(act, id, &labels).expect("the names are ones that labels can have");
            let assignees =
                assignees.iter().map(|login| github.assignable_id(id, login).expect("the login is assignable"));
            let draft = Issue {
                title,
                body: (!body.is_empty()).then_some(body),
                labels,
                assignees: assignees.collect(),
                ..Issue::blank()
            };
            let number = github.add_issue(act, id, draft).expect("the repository was looked up above");
            if closed.is_some() {
                github.edit_issue(act, id, number, |issue| set_state(issue, act, true, closed));
            }
            number
        })
    }

    /// Opens a pull request towards the default branch; it shares the issues' numbers.
    pub fn pull_request(&self, repo: &RepoName, title: &str, body: &str) -> IssueNumber {
        let base = self.in_repo(repo, |github, _, id| {
            github.repos.get(&id).map(|repo| repo.default_branch.clone()).unwrap_or_default()
        });
        self.pull_request_into(repo, &base, title, body)
    }

    /// Opens a pull request towards a branch.
    pub fn pull_request_into(&self, repo: &RepoName, base: &str, title: &str, body: &str) -> IssueNumber {
        self.in_repo(repo, |github, act, id| {
            let (base, head) = (base.to_owned(), "work".to_owned());
            let draft = Issue {
                title: title.to_owned(),
                body: Some(body.to_owned()),
                pull: Some(Pull { draft: false, merged_at: None, merged_by: None, base, head }),
                ..Issue::blank()
            };
            github.add_issue(act, id, draft).expect("the repository was looked up above")
        })
    }

    /// Merges a pull request. Into the default branch, that closes the issues its description says it closes.
    pub fn merge(&self, repo: &RepoName, number: IssueNumber) {
        self.in_repo(repo, |github, act, id| {
            assert!(github.merge(act, id, number), "there is no pull request {repo}#{number}");
        });
    }

    /// Closes a pull request without merging it.
    pub fn close_unmerged(&self, repo: &RepoName, number: IssueNumber) {
        self.edit(repo, number, |issue, act| set_state(issue, act, true, None));
    }

    /// Names the default branch; `main` at first.
    pub fn set_default_branch(&self, repo: &RepoName, branch: &str) {
        self.settle_repo(repo, |repo| repo.default_branch = branch.to_owned());
    }

    /// Puts an issue into a milestone, or into none.
    pub fn set_milestone(&self, repo: &RepoName, number: IssueNumber, milestone: Option<u64>) {
        self.edit(repo, number, |issue, _| issue.milestone = milestone);
    }

    fn edit(&self, repo: &RepoName, number: IssueNumber, edit: impl FnOnce(&mut Issue, Act)) {
        self.in_repo(repo, |github, act, id| {
            assert!(github.edit_issue(act, id, number, |issue| edit(issue, act)), "there is no {repo}#{number}");
        });
    }

    /// Changes the title.
    pub fn retitle(&self, repo: &RepoName, number: IssueNumber, title: &str) {
        self.edit(repo, number, |issue, _| issue.title = title.to_owned());
    }

    /// Changes the body, byte for byte, as a client of the API does.
    pub fn write_body(&self, repo: &RepoName, number: IssueNumber, body: &str) {
        self.edit(repo, number, |issue, _| issue.body = Some(body.to_owned()));
    }

    /// Changes the body in the web editor, which stores CRLF.
    pub fn web_edit_body(&self, repo: &RepoName, number: IssueNumber, body: &str) {
        let body = body.replace("\r\n", "\n").replace('\n', "\r\n");
        self.edit(repo, number, |issue, _| issue.body = Some(body));
    }

    /// Closes it.
    pub fn close(&self, repo: &RepoName, number: IssueNumber, reason: Reason) {
        self.edit(repo, number, |issue, act| set_state(issue, act, true, Some(reason)));
    }

    /// Opens it again.
    pub fn reopen(&self, repo: &RepoName, number: IssueNumber) {
        self.edit(repo, number, |issue, act| set_state(issue, act, false, None));
    }

    /// Deletes it for good.
    pub fn delete(&self, repo: &RepoName, number: IssueNumber) {
        self.in_repo(repo, |github, act, id| {
            assert!(github.erase(act, id, number), "there is no {repo}#{number}");
        });
    }

    /// Moves it to another repository and answers its number there.
    pub fn transfer(&self, repo: &RepoName, number: IssueNumber, to: &RepoName) -> IssueNumber {
        self.in_repo(repo, |github, act, from| {
            let to = *github.names.get(&to.folded()).expect("the other repository is one of this sandbox");
            github.transfer(act, from, number, to).expect("the issue is one of this sandbox")
        })
    }

    /// Adds a label, made where there is none of that name.
    pub fn add_label(&self, repo: &RepoName, number: IssueNumber, name: &str) {
        self.in_repo(repo, |github, act, id| {
            let labels =
                github.labels_named(act, id, &[name.to_owned()]).expect("the name is one that a label can have");
            github.edit_issue(act, id, number, |issue| {
                issue.labels.retain(|known| !labels.contains(known));
                issue.labels.extend(labels);
            });
        });
    }

    /// Removes a label.
    pub fn remove_label(&self, repo: &RepoName, number: IssueNumber, name: &str) {
        self.in_repo(repo, |github, act, id| {
            let label = github.repos.get(&id).and_then(|repo| repo.label_named(name)).map(|label| label.id);
            github.edit_issue(act, id, number, |issue| issue.labels.retain(|known| Some(*known) != label));
        });
    }

    /// Deletes a label from the repository and so from all issues.
    pub fn delete_label(&self, repo: &RepoName, name: &str) {
        self.in_repo(repo, |github, act, id| {
            let label = github.repos.get(&id).and_then(|repo| repo.label_named(name)).map(|label| label.id);
            github.remove_label(act, id, label.expect("the label is one of the repository"));
        });
    }

    /// Assigns it to these logins and nobody else.
    pub fn assign(&self, repo: &RepoName, number: IssueNumber, logins: &[&str]) {
        self.in_repo(repo, |github, act, id| {
            let ids = logins.iter().map(|login| github.assignable_id(id, login).expect("the login is assignable"));
            let ids: Vec<i64> = ids.collect();
            github.edit_issue(act, id, number, |issue| issue.assignees = ids);
        });
    }

    /// Comments and answers the comment's id.
    pub fn comment(&self, repo: &RepoName, number: IssueNumber, body: &str) -> i64 {
        self.in_repo(repo, |github, act, id| {
            github.add_comment(act, id, number, body.to_owned()).expect("the issue is one of this sandbox")
        })
    }

    /// Rewrites a comment.
    pub fn edit_comment(&self, repo: &RepoName, comment: i64, body: &str) {
        self.in_repo(repo, |github, act, id| github.edit_comment(act, id, comment, body.to_owned()));
    }

    /// Deletes a comment.
    pub fn delete_comment(&self, repo: &RepoName, comment: i64) {
        self.in_repo(repo, |github, act, id| github.remove_comment(act, id, comment));
    }

    /// Changes an account's profile: bodies that show it read differently, no issue changed.
    pub fn change_profile(&self, login: &str) {
        self.with(|github, act| {
            let id = account(github, login, act.now);
            if let Some(account) = github.accounts.get_mut(&id) {
                account.avatar += 1;
                account.changed = act.now;
            }
        });
    }

    /// Renames a repository within its owner; the old name redirects.
    pub fn rename_repository(&self, repo: &RepoName, name: &str) -> RepoName {
        let new: RepoName =
            format!("{}/{name}", repo.owner()).parse().expect("the new name is one a repository can have");
        self.in_repo(repo, |github, act, id| {
            github.names.remove(&repo.folded());
            github.former.insert(repo.folded(), id);
            github.former.remove(&new.folded());
            github.names.insert(new.folded(), id);
            let old = github.repos.get_mut(&id).map(|repo| std::mem::replace(&mut repo.name, new.name().to_owned()));
            github.tell_renamed(act, id, &old.unwrap_or_default());
        });
        new
    }

    fn settle_repo(&self, repo: &RepoName, change: impl FnOnce(&mut Repo)) {
        self.in_repo(repo, |github, _, id| change(github.repos.get_mut(&id).expect("looked up above")));
    }

    /// Switches issues on or off.
    pub fn enable_issues(&self, repo: &RepoName, on: bool) {
        self.settle_repo(repo, |repo| repo.has_issues = on);
    }

    /// Archives a repository, or takes it back.
    pub fn archive(&self, repo: &RepoName, on: bool) {
        self.settle_repo(repo, |repo| repo.archived = on);
    }

    /// Makes a repository private or public.
    pub fn make_private(&self, repo: &RepoName, private: bool) {
        self.settle_repo(repo, |repo| repo.private = private);
    }
}

impl GithubState {
    /// Gives a population its numbers and a repository to live in.
    pub(in crate::sandbox) fn settle(&mut self, repo: &RepoName, mut population: Population) -> Population {
        let id = *self.names.get(&repo.folded()).expect("the repository is one of this sandbox");
        population.first_id = self.next_id + 1;
        self.next_id += i64::try_from(population.count).unwrap_or_default();
        let repo = self.repos.get_mut(&id).expect("looked up above");
        assert!(repo.population.is_none(), "a repository holds one population");
        population.first_issue = repo.next_number;
        repo.next_number += population.count;
        repo.population = Some(population.clone());
        population
    }
}

/// The id of an account, made where there is none of that login.
fn account(github: &mut GithubState, login: &str, now: i64) -> i64 {
    if let Some(id) = github.logins.get(&login.to_lowercase()) {
        return *id;
    }
    let id = github.id();
    github.logins.insert(login.to_lowercase(), id);
    github.accounts.insert(id, Account { id, login: login.to_owned(), avatar: 4, changed: now });
    id
}
