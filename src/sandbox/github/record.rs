//! How each object shows: issues of about 3 KB, as the service's are (github-api.md §9).

use std::collections::BTreeMap;

use super::{Account, Call, Comment, GithubState, Issue, Label, Milestone, Permission, Repo};
use crate::sandbox::json::{Object, list};
use crate::sandbox::web::{encoded, instant_s};

const WEB: &str = "https://github.com";

/// Writes the objects of one repository for one answer; what repeats is made once.
pub(super) struct Writer<'s> {
    state: &'s GithubState,
    repo: &'s Repo,
    base: &'s str,
    /// `…/repos/owner/name`.
    api: String,
    /// `https://github.com/owner/name`.
    web: String,
    new: bool,
    /// For a webhook: bodies of those lack a few things.
    told: bool,
    accounts: BTreeMap<i64, Vec<u8>>,
}

impl<'s> Writer<'s> {
    pub fn new(state: &'s GithubState, repo: &'s Repo, call: &'s Call<'_>) -> Self {
        Self { new: call.is_new(), told: false, ..Self::told(state, repo, call.ask.base) }
    }

    /// For what a hook is told; `base` is where the API is found.
    pub fn told(state: &'s GithubState, repo: &'s Repo, base: &'s str) -> Self {
        let name = state.full_name(repo);
        let (api, web) = (format!("{base}/repos/{name}"), format!("{WEB}/{name}"));
        Self { state, repo, base, api, web, new: false, told: true, accounts: BTreeMap::new() }
    }

    /// The same, for another repository.
    pub fn elsewhere(&self, repo: i64) -> Option<Writer<'s>> {
        Some(Writer::told(self.state, self.state.repos.get(&repo)?, self.base))
    }

    /// The address of the repository in the API.
    pub fn api(&self) -> &str {
        &self.api
    }

    pub fn account(&mut self, id: i64) -> &[u8] {
        let (state, base) = (self.state, self.base);
        self.accounts.entry(id).or_insert_with(|| {
            let mut out = Vec::with_capacity(1100);
            match state.accounts.get(&id) {
                Some(account) => write_account(&mut out, account, base),
                None => out.extend_from_slice(b"null"),
            }
            out
        })
    }

    pub fn put_account(&mut self, object: &mut Object<'_>, name: &str, id: Option<i64>) {
        match id {
            Some(id) => object.raw(name, self.account(id)),
            None => object.raw(name, b"null"),
        };
    }

    pub fn issue(&mut self, out: &mut Vec<u8>, issue: &Issue) {
        let number = issue.number.to_string();
        let api = self.api.clone();
        let kind = if issue.pull.is_some() { "pull" } else { "issues" };
        let mut object = Object::open(out);
        object.plain("url", &[&api, "/issues/", &number]);
        object.plain("repository_url", &[&api]);
        object.plain("labels_url", &[&api, "/issues/", &number, "/labels{/name}"]);
        object.plain("comments_url", &[&api, "/issues/", &number, "/comments"]);
        object.plain("events_url", &[&api, "/issues/", &number, "/events"]);
        object.plain("html_url", &[&self.web, "/", kind, "/", &number]);
        object.put("id", &issue.id);
        object.put("node_id", &node_id(if issue.pull.is_some() { "PR" } else { "I" }, issue.id));
        object.put("number", &issue.number);
        object.put("title", &issue.title);
        self.put_account(&mut object, "user", Some(issue.author));
        let labels = issue.labels.iter().filter_map(|id| self.repo.labels.get(id));
        list(object.key("labels"), labels, |out, label| write_label(out, label, &api));
        object.put("state", if issue.closed.is_some() { "closed" } else { "open" });
        object.put("locked", &issue.locked.is_some());
        if !self.new {
            self.put_account(&mut object, "assignee", issue.assignees.first().copied());
        }
        list(object.key("assignees"), &issue.assignees, |out, id| out.extend_from_slice(self.account(*id)));
        match issue.milestone.and_then(|number| self.repo.milestones.get(&number)) {
            Some(milestone) => self.milestone(object.key("milestone"), milestone),
            None => object.key("milestone").extend_from_slice(b"null"),
        }
        object.put("comments", &issue.comments);
        object.put("created_at", &instant_s(issue.created));
        object.put("updated_at", &instant_s(issue.updated));
        object.put("closed_at", &issue.closed.map(instant_s));
        object.put("author_association", self.association(issue.author));
        object.raw("type", b"null");
        object.put("active_lock_reason", &issue.locked.clone().flatten());
        if let Some(pull) = &issue.pull {
            object.put("draft", &pull.draft);
            let mut inner = Object::open(object.key("pull_request"));
            inner.plain("url", &[&api, "/pulls/", &number]);
            inner.plain("html_url", &[&self.web, "/pull/", &number]);
            inner.plain("diff_url", &[&self.web, "/pull/", &number, ".diff"]);
            inner.plain("patch_url", &[&self.web, "/pull/", &number, ".patch"]);
            inner.put("merged_at", &pull.merged_at.map(instant_s));
            inner.close();
        } else {
            object.raw("sub_issues_summary", br#"{"total":0,"completed":0,"percent_completed":0}"#);
            object.raw(
                "issue_dependencies_summary",
                br#"{"blocked_by":0,"total_blocked_by":0,"blocking":0,"total_blocking":0}"#,
            );
        }
        object.put("body", &issue.body);
        if !self.told {
            self.put_account(&mut object, "closed_by", issue.closed_by);
        }
        reactions(object.key("reactions"), &[&api, "/issues/", &number]);
        object.plain("timeline_url", &[&api, "/issues/", &number, "/timeline"]);
        object.raw("performed_via_github_app", b"null");
        object.put("state_reason", &issue.reason.map(super::Reason::as_str));
        object.close();
    }

    /// A pull request, for those who ask for one alone and for hooks.
    pub fn pull(&mut self, out: &mut Vec<u8>, issue: &Issue) {
        let Some(pull) = &issue.pull else { return out.extend_from_slice(b"null") };
        let number = issue.number.to_string();
        let (api, web) = (self.api.clone(), self.web.clone());
        let merged = pull.merged_at.is_some();
        let sha = |salt: u64| format!("{:016x}{:024x}", issue.id.cast_unsigned() ^ salt, salt);
        let mut object = Object::open(out);
        object.plain("url", &[&api, "/pulls/", &number]);
        // A pull request has an id of its own beside that of its issue; ids are handed out in steps of seven.
        object.put("id", &(issue.id + 3));
        object.put("node_id", &node_id("PR", issue.id));
        object.plain("html_url", &[&web, "/pull/", &number]);
        object.plain("diff_url", &[&web, "/pull/", &number, ".diff"]);
        object.plain("patch_url", &[&web, "/pull/", &number, ".patch"]);
        object.plain("issue_url", &[&api, "/issues/", &number]);
        object.put("number", &issue.number);
        object.put("state", if issue.closed.is_some() { "closed" } else { "open" });
        object.put("locked", &issue.locked.is_some());
        object.put("title", &issue.title);
        self.put_account(&mut object, "user", Some(issue.author));
        object.put("body", &issue.body);
        object.put("created_at", &instant_s(issue.created));
        object.put("updated_at", &instant_s(issue.updated));
        object.put("closed_at", &issue.closed.map(instant_s));
        object.put("merged_at", &pull.merged_at.map(instant_s));
        if !self.new {
            object.put("merge_commit_sha", &merged.then(|| sha(3)));
            self.put_account(&mut object, "assignee", issue.assignees.first().copied());
        }
        list(object.key("assignees"), &issue.assignees, |out, id| out.extend_from_slice(self.account(*id)));
        object.raw("requested_reviewers", b"[]").raw("requested_teams", b"[]");
        self.labels(object.key("labels"), &issue.labels);
        match issue.milestone.and_then(|number| self.repo.milestones.get(&number)) {
            Some(milestone) => self.milestone(object.key("milestone"), milestone),
            None => object.key("milestone").extend_from_slice(b"null"),
        }
        object.put("draft", &pull.draft);
        object.plain("comments_url", &[&api, "/issues/", &number, "/comments"]);
        for (name, branch, salt) in [("head", &pull.head, 1), ("base", &pull.base, 2)] {
            let owner = self.state.accounts.get(&self.repo.owner).map(|owner| owner.login.as_str()).unwrap_or_default();
            let mut inner = Object::open(object.key(name));
            inner.put("label", &format!("{owner}:{branch}"));
            inner.put("ref", branch);
            inner.put("sha", &sha(salt));
            self.put_account(&mut inner, "user", Some(self.repo.owner));
            self.repository(inner.key("repo"), Permission::Read);
            inner.close();
        }
        object.put("author_association", self.association(issue.author));
        object.raw("auto_merge", b"null").raw("active_lock_reason", b"null");
        object.put("merged", &merged);
        object.put("mergeable", &(!merged && issue.closed.is_none()).then_some(true));
        self.put_account(&mut object, "merged_by", pull.merged_by);
        object.put("comments", &issue.comments);
        object.raw("review_comments", b"0").raw("commits", b"1").raw("changed_files", b"1");
        object.raw("additions", b"1").raw("deletions", b"0");
        object.close();
    }

    pub fn comment(&mut self, out: &mut Vec<u8>, comment: &Comment) {
        let (id, number) = (comment.id.to_string(), comment.issue.to_string());
        let api = self.api.clone();
        let mut object = Object::open(out);
        object.plain("url", &[&api, "/issues/comments/", &id]);
        object.plain("html_url", &[&self.web, "/issues/", &number, "#issuecomment-", &id]);
        object.plain("issue_url", &[&api, "/issues/", &number]);
        object.put("id", &comment.id);
        object.put("node_id", &node_id("IC", comment.id));
        self.put_account(&mut object, "user", Some(comment.author));
        object.put("created_at", &instant_s(comment.created));
        object.put("updated_at", &instant_s(comment.updated));
        object.put("author_association", self.association(comment.author));
        object.put("body", &comment.body);
        reactions(object.key("reactions"), &[&api, "/issues/comments/", &id]);
        object.raw("performed_via_github_app", b"null");
        object.close();
    }

    pub fn label(&self, out: &mut Vec<u8>, label: &Label) {
        write_label(out, label, &self.api);
    }

    /// A label of the repository under the key `label`, unless it is there no more.
    pub fn label_by_id(&self, object: &mut Object<'_>, id: i64) {
        if let Some(label) = self.repo.labels.get(&id) {
            self.label(object.key("label"), label);
        }
    }

    /// A milestone of the repository under the key `milestone`.
    pub fn milestone_by_number(&self, object: &mut Object<'_>, number: u64) {
        if let Some(milestone) = self.repo.milestones.get(&number) {
            self.milestone(object.key("milestone"), milestone);
        }
    }

    pub fn labels(&self, out: &mut Vec<u8>, ids: &[i64]) {
        let labels = ids.iter().filter_map(|id| self.repo.labels.get(id));
        list(out, labels, |out, label| write_label(out, label, &self.api));
    }

    pub fn milestone(&self, out: &mut Vec<u8>, milestone: &Milestone) {
        let number = milestone.number.to_string();
        let mut object = Object::open(out);
        object.plain("url", &[&self.api, "/milestones/", &number]);
        object.plain("html_url", &[&self.web, "/milestone/", &number]);
        object.put("id", &milestone.id);
        object.put("node_id", &node_id("MI", milestone.id));
        object.put("number", &milestone.number);
        object.put("title", &milestone.title);
        object.put("description", &None::<&str>);
        object.put("state", "open");
        object.put("created_at", &instant_s(milestone.created));
        object.put("updated_at", &instant_s(milestone.created));
        object.put("due_on", &None::<&str>);
        object.put("closed_at", &None::<&str>);
        object.close();
    }

    fn association(&self, author: i64) -> &'static str {
        if author == self.repo.owner {
            return "OWNER";
        }
        match self.repo.permissions.get(&author) {
            Some(Permission::None) | None => "NONE",
            Some(_) => "COLLABORATOR",
        }
    }

    /// The repository as `permission` sees it.
    pub fn repository(&mut self, out: &mut Vec<u8>, permission: Permission) {
        let repo = self.repo;
        let open = repo.open_count();
        let mut object = Object::open(out);
        object.put("id", &repo.id);
        object.put("node_id", &node_id("R", repo.id));
        object.put("name", &repo.name);
        object.put("full_name", &self.state.full_name(repo));
        object.put("private", &repo.private);
        self.put_account(&mut object, "owner", Some(repo.owner));
        object.plain("html_url", &[&self.web]);
        object.put("description", &None::<&str>);
        object.put("fork", &false);
        let api = self.api.clone();
        object.plain("url", &[&api]);
        object.plain("issues_url", &[&api, "/issues{/number}"]);
        object.plain("labels_url", &[&api, "/labels{/name}"]);
        object.put("created_at", &instant_s(repo.created));
        object.put("updated_at", &instant_s(repo.created));
        object.put("pushed_at", &instant_s(repo.created));
        object.put("has_issues", &repo.has_issues);
        object.put("has_projects", &true);
        object.put("archived", &repo.archived);
        object.put("disabled", &false);
        object.put("open_issues_count", &open);
        object.put("open_issues", &open);
        object.put("default_branch", &repo.default_branch);
        object.put("visibility", if repo.private { "private" } else { "public" });
        if self.told {
            return object.close();
        }
        let rank = |least| permission >= least;
        let mut inner = Object::open(object.key("permissions"));
        inner.put("admin", &rank(Permission::Admin));
        inner.put("maintain", &rank(Permission::Admin));
        inner.put("push", &rank(Permission::Write));
        inner.put("triage", &rank(Permission::Triage));
        inner.put("pull", &rank(Permission::Read));
        inner.close();
        object.close();
    }
}

pub(super) fn write_account(out: &mut Vec<u8>, account: &Account, base: &str) {
    let login = encoded(&account.login);
    let (id, version) = (account.id.to_string(), account.avatar.to_string());
    let api = format!("{base}/users/{login}");
    let mut object = Object::open(out);
    object.put("login", &account.login);
    object.put("id", &account.id);
    object.put("node_id", &node_id("U", account.id));
    object.plain("avatar_url", &["https://avatars.githubusercontent.com/u/", &id, "?v=", &version]);
    object.put("gravatar_id", "");
    object.plain("url", &[&api]);
    object.plain("html_url", &[WEB, "/", &login]);
    for (name, tail) in [
        ("followers_url", "/followers"),
        ("following_url", "/following{/other_user}"),
        ("gists_url", "/gists{/gist_id}"),
        ("starred_url", "/starred{/owner}{/repo}"),
        ("subscriptions_url", "/subscriptions"),
        ("organizations_url", "/orgs"),
        ("repos_url", "/repos"),
        ("events_url", "/events{/privacy}"),
        ("received_events_url", "/received_events"),
    ] {
        object.plain(name, &[&api, tail]);
    }
    object.put("type", "User");
    object.put("user_view_type", "public");
    object.put("site_admin", &false);
    object.close();
}

fn write_label(out: &mut Vec<u8>, label: &Label, api: &str) {
    let mut object = Object::open(out);
    object.put("id", &label.id);
    object.put("node_id", &node_id("LA", label.id));
    object.plain("url", &[api, "/labels/", &encoded(&label.name)]);
    object.put("name", &label.name);
    object.put("color", &label.color);
    object.put("default", &label.default);
    object.put("description", &label.description);
    object.close();
}

fn reactions(out: &mut Vec<u8>, url: &[&str]) {
    let mut object = Object::open(out);
    let whole: Vec<&str> = url.iter().copied().chain(["/reactions"]).collect();
    object.plain("url", &whole);
    for name in ["total_count", "+1", "-1", "laugh", "hooray", "confused", "heart", "rocket", "eyes"] {
        object.raw(name, b"0");
    }
    object.close();
}

/// Opaque, as the service's is: a prefix for the kind and the id in other digits.
pub(super) fn node_id(kind: &str, id: i64) -> String {
    format!("{kind}_kwDO{:011x}", id ^ 0x5eed_5eed)
}
