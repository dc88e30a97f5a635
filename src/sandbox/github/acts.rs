//! What can happen to issues and comments, whoever does it: the value, the stamp, the indexes (github-api.md §8).

use serde_json::json;

use super::{Act, Answer, Comment, GithubState, Gone, Issue, Label, Lagging, Reason, Repo, invalid};

/// Writes kept for replicas that lag; older ones have long arrived.
const WRITTEN_MAX: usize = 100_000;

impl Repo {
    /// Stores an issue that was not stored before.
    pub(super) fn insert(&mut self, issue: Lagging<Issue>) {
        let Issue { number, created, updated, gone, .. } = *issue.get();
        if gone.is_none() {
            self.by_created.insert((created, number));
            self.by_updated.insert((updated, number));
        }
        self.issues.insert(number, issue);
    }

    /// Changes an issue and keeps the indexes true. Answers `None` when there is no such issue.
    pub(super) fn change<T>(&mut self, number: u64, at: i64, change: impl FnOnce(&mut Issue) -> T) -> Option<T> {
        if !self.issues.contains_key(&number) {
            let issue = self.computed(number)?;
            self.insert(Lagging::standing(issue));
        }
        let issue = self.issues.get_mut(&number)?;
        let before = (issue.get().created, issue.get().updated);
        let changed = issue.change(at);
        let result = change(changed);
        let after = (changed.created, changed.updated, changed.gone.is_some());
        self.by_created.remove(&(before.0, number));
        self.by_updated.remove(&(before.1, number));
        if !after.2 {
            self.by_created.insert((after.0, number));
            self.by_updated.insert((after.1, number));
        }
        self.note_write(at, number);
        Some(result)
    }

    fn note_write(&mut self, at: i64, number: u64) {
        if self.written.len() >= WRITTEN_MAX {
            self.written.pop_front();
        }
        self.written.push_back((at, number));
    }

    /// Issues that are open, computed ones among them.
    pub(super) fn open_count(&self) -> usize {
        let stored = self.issues.values().map(|issue| issue.get());
        let stored =
            stored.filter(|issue| issue.closed.is_none() && issue.gone.is_none() && issue.pull.is_none()).count();
        let Some(population) = &self.population else { return stored };
        let open = |index: &u64| !population.is_done(*index);
        let all = *self.open_computed.get_or_init(|| (0..population.count).filter(open).count() as u64);
        let touched = self.issues.keys().filter_map(|number| population.index_of_issue(*number)).filter(open).count();
        stored + usize::try_from(all).unwrap_or(usize::MAX).saturating_sub(touched)
    }

    /// A label by name, whatever the case.
    pub(super) fn label_named(&self, name: &str) -> Option<&Label> {
        self.labels.values().find(|label| label.name.to_lowercase() == name.to_lowercase())
    }
}

impl GithubState {
    /// Opens an issue or, with `pull` set, a pull request.
    pub(super) fn add_issue(&mut self, act: Act, repo: i64, draft: Issue) -> Option<u64> {
        let number = self.store_issue(act, repo, draft)?;
        self.tell_opened(act, repo, number);
        Some(number)
    }

    fn store_issue(&mut self, act: Act, repo: i64, draft: Issue) -> Option<u64> {
        let id = self.id();
        let repo = self.repos.get_mut(&repo)?;
        let number = repo.next_number;
        repo.next_number += 1;
        let issue = Issue { number, id, author: act.who, created: act.now, updated: act.now, ..draft };
        repo.insert(Lagging::born(issue, act.now));
        repo.note_write(act.now, number);
        Some(number)
    }

    /// Changes an issue; the stamp moves when something changed, or when the habit says it always does.
    pub(super) fn edit_issue(&mut self, act: Act, repo: i64, number: u64, edit: impl FnOnce(&mut Issue)) -> bool {
        let always = self.habits.same_value_stamps;
        let Some(known) = self.repos.get_mut(&repo) else { return false };
        let heard = !known.hooks.is_empty();
        let changed = known.change(number, act.now, |issue| {
            let before = issue.clone();
            edit(issue);
            if always || *issue != before {
                issue.updated = act.now;
            }
            (before, heard.then(|| issue.clone()))
        });
        if let Some((before, Some(after))) = &changed {
            self.tell_edited(act, repo, before, after);
        }
        changed.is_some()
    }

    pub(super) fn add_comment(&mut self, act: Act, repo: i64, number: u64, body: String) -> Option<i64> {
        let id = self.id();
        let known = self.repos.get_mut(&repo)?;
        known.change(number, act.now, |issue| {
            issue.comments += 1;
            issue.updated = act.now;
        })?;
        let comment = Comment { id, issue: number, author: act.who, body, created: act.now, updated: act.now };
        known.comments.insert(id, comment.clone());
        known.comments_of.entry(number).or_default().push(id);
        self.tell_comment(act, repo, "created", &comment, None);
        Some(id)
    }

    pub(super) fn edit_comment(&mut self, act: Act, repo: i64, id: i64, body: String) {
        let stamps = self.habits.comment_edit_stamps;
        let Some(known) = self.repos.get_mut(&repo) else { return };
        let Some(comment) = known.comments.get_mut(&id) else { return };
        let before = std::mem::replace(&mut comment.body, body);
        comment.updated = act.now;
        let comment = comment.clone();
        if stamps {
            known.change(comment.issue, act.now, |issue| issue.updated = act.now);
        }
        if before != comment.body {
            self.tell_comment(act, repo, "edited", &comment, Some(&before));
        }
    }

    pub(super) fn remove_comment(&mut self, act: Act, repo: i64, id: i64) {
        let stamps = self.habits.comment_edit_stamps;
        let Some(known) = self.repos.get_mut(&repo) else { return };
        let Some(comment) = known.comments.remove(&id) else { return };
        if let Some(ids) = known.comments_of.get_mut(&comment.issue) {
            ids.retain(|known| *known != id);
        }
        known.change(comment.issue, act.now, |issue| {
            issue.comments = issue.comments.saturating_sub(1);
            if stamps {
                issue.updated = act.now;
            }
        });
        self.tell_comment(act, repo, "deleted", &comment, None);
    }

    /// Makes a label; its name must not be taken.
    pub(super) fn add_label(
        &mut self,
        act: Act,
        repo: i64,
        name: &str,
        color: &str,
        description: Option<String>,
    ) -> Option<i64> {
        let id = self.id();
        let known = self.repos.get_mut(&repo)?;
        let (name, color) = (name.to_owned(), color.to_owned());
        let label = Label { id, name, color, description, default: false };
        known.labels.insert(id, label.clone());
        self.tell_label(act, repo, "created", &label, None);
        Some(id)
    }

    /// The ids of labels by name; unknown ones are made, in the service's grey.
    pub(super) fn labels_named(&mut self, act: Act, repo: i64, names: &[String]) -> Answer<Vec<i64>> {
        if let Some(long) = names.iter().find(|name| name.chars().count() > 50 || name.trim().is_empty()) {
            return invalid(json!({"value": long, "resource": "Label", "field": "name", "code": "invalid"}));
        }
        let mut ids = Vec::new();
        for name in names {
            let known = self.repos.get(&repo).and_then(|repo| repo.label_named(name)).map(|label| label.id);
            let id = match known {
                Some(id) => Some(id),
                None => self.add_label(act, repo, name, "ededed", None),
            };
            ids.extend(id.filter(|id| !ids.contains(id)));
        }
        Ok(ids)
    }

    /// Takes a label away from the repository and so from all issues; their stamps do not move.
    pub(super) fn remove_label(&mut self, act: Act, repo: i64, id: i64) {
        let Some(known) = self.repos.get_mut(&repo) else { return };
        let Some(label) = known.labels.remove(&id) else { return };
        let carrying = known.issues.iter().filter(|(_, issue)| issue.get().labels.contains(&id));
        let carrying: Vec<u64> = carrying.map(|(number, _)| *number).collect();
        for number in &carrying {
            known.change(*number, act.now, |issue| issue.labels.retain(|known| *known != id));
        }
        self.tell_label(act, repo, "deleted", &label, None);
        for number in carrying {
            self.tell_unlabeled_by_deletion(act, repo, number);
        }
    }

    /// Deletes an issue for good.
    pub(super) fn erase(&mut self, act: Act, repo: i64, number: u64) -> bool {
        self.edit_issue(act, repo, number, |issue| issue.gone = Some(Gone::Deleted))
    }

    /// Moves an issue to another repository: another number and id there, a pointer here.
    pub(super) fn transfer(&mut self, act: Act, from: i64, number: u64, to: i64) -> Option<u64> {
        let issue = self.issue(from, number)?.into_owned();
        let source = self.repos.get(&from)?;
        let names: Vec<String> =
            issue.labels.iter().filter_map(|id| source.labels.get(id)).map(|label| label.name.clone()).collect();
        // Labels survive only where the target has one of that name.
        let target = self.repos.get(&to)?;
        let labels = names.iter().filter_map(|name| target.label_named(name)).map(|label| label.id).collect();
        let comments: Vec<Comment> = source.comments.values().filter(|known| known.issue == number).cloned().collect();
        let author = Act { who: issue.author, now: act.now };
        let moved = Issue { labels, milestone: None, gone: None, ..issue.clone() };
        let new = self.store_issue(author, to, moved)?;
        if let Some(repo) = self.repos.get_mut(&to) {
            repo.change(new, act.now, |copy| copy.created = issue.created);
            for comment in comments {
                repo.comments_of.entry(new).or_default().push(comment.id);
                repo.comments.insert(comment.id, Comment { issue: new, ..comment });
            }
        }
        if let Some(repo) = self.repos.get_mut(&from) {
            repo.comments.retain(|_, comment| comment.issue != number);
            repo.comments_of.remove(&number);
        }
        self.edit_issue(act, from, number, |issue| issue.gone = Some(Gone::Transferred { repo: to, number: new }));
        self.tell_transferred(act, (from, &issue), (to, new));
        Some(new)
    }
}

/// Closes or opens an issue; a reason counts only when the state changes (github-api.md §9), and pull requests
/// have none.
pub(super) fn set_state(issue: &mut Issue, act: Act, close: bool, reason: Option<Reason>) {
    let reason = match (close, issue.closed) {
        (true, None) => {
            issue.closed = Some(act.now);
            issue.closed_by = Some(act.who);
            reason.unwrap_or(Reason::Completed)
        }
        (false, Some(_)) => {
            issue.closed = None;
            Reason::Reopened
        }
        _ => return,
    };
    issue.reason = Some(reason).filter(|_| issue.pull.is_none());
}
