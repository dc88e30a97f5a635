//! What hooks are told of: one delivery for each change, as the service has it (github-api.md §13).

use serde_json::{Map, Value, json};

use super::record::Writer;
use super::{Act, Comment, GithubState, Gone, Issue, Label, Permission};
use crate::sandbox::json::Object;

impl GithubState {
    /// Tells every hook of a repository that wants to hear of `event`. `fill` writes what is particular to it.
    fn announce(
        &mut self,
        act: Act,
        repo: i64,
        event: &'static str,
        action: &'static str,
        fill: impl Fn(&mut Writer<'_>, &mut Object<'_>),
    ) {
        let Some(known) = self.repos.get(&repo) else { return };
        let wanting = known.hooks.values().filter(|hook| hook.active && hook.hears(event));
        let wanting: Vec<(i64, String)> = wanting.map(|hook| (hook.id, hook.base.clone())).collect();
        if wanting.is_empty() {
            return;
        }
        // All hooks that hear of one event hear of it under one name (github-api.md §13).
        let guid = self.outbox.guid();
        for (hook, base) in wanting {
            let Some(known) = self.repos.get(&repo) else { return };
            let mut payload = Vec::with_capacity(16 << 10);
            let mut writer = Writer::told(self, known, &base);
            let mut object = Object::open(&mut payload);
            object.put("action", action);
            fill(&mut writer, &mut object);
            writer.repository(object.key("repository"), Permission::None);
            writer.put_account(&mut object, "sender", Some(act.who));
            object.close();
            self.outbox.enqueue(act.now, repo, hook, guid.clone(), event, Some(action), payload);
        }
    }

    /// Tells of something that happened to an issue or a pull request.
    fn tell_issue(
        &mut self,
        act: Act,
        repo: i64,
        action: &'static str,
        issue: &Issue,
        more: impl Fn(&mut Writer<'_>, &mut Object<'_>),
    ) {
        match issue.pull {
            None => self.announce(act, repo, "issues", action, |writer, object| {
                writer.issue(object.key("issue"), issue);
                more(writer, object);
            }),
            Some(_) => self.announce(act, repo, "pull_request", action, |writer, object| {
                object.put("number", &issue.number);
                writer.pull(object.key("pull_request"), issue);
                more(writer, object);
            }),
        }
    }

    pub(super) fn tell_opened(&mut self, act: Act, repo: i64, number: u64) {
        if !self.is_heard(repo) {
            return;
        }
        let Some(issue) = self.issue(repo, number).map(|issue| issue.into_owned()) else { return };
        self.tell_issue(act, repo, "opened", &issue, |_, _| {});
        let bare = Issue { labels: Vec::new(), assignees: Vec::new(), milestone: None, ..issue.clone() };
        self.tell_sets(act, repo, &bare, &issue);
    }

    /// Whether a repository has hooks at all.
    fn is_heard(&self, repo: i64) -> bool {
        self.repos.get(&repo).is_some_and(|repo| !repo.hooks.is_empty())
    }

    /// Tells what an edit changed: one delivery for title and body, one for each label and assignee, and so on.
    pub(super) fn tell_edited(&mut self, act: Act, repo: i64, before: &Issue, after: &Issue) {
        match (before.gone, after.gone) {
            (None, Some(Gone::Deleted)) => return self.tell_issue(act, repo, "deleted", before, |_, _| {}),
            // Told of by whoever moves it, once it has arrived.
            (None, Some(Gone::Transferred { .. })) => return,
            _ => {}
        }
        let mut changes = Map::new();
        if before.title != after.title {
            changes.insert("title".to_owned(), json!({"from": before.title}));
        }
        if before.body != after.body {
            changes.insert("body".to_owned(), json!({"from": before.body.as_deref().unwrap_or_default()}));
        }
        if !changes.is_empty() {
            let changes = Value::Object(changes);
            self.tell_issue(act, repo, "edited", after, |_, object| {
                object.put("changes", &changes);
            });
        }
        self.tell_sets(act, repo, before, after);
        for (was, is, action) in [
            (before.closed.is_some(), after.closed.is_some(), ["closed", "reopened"]),
            (before.locked.is_some(), after.locked.is_some(), ["locked", "unlocked"]),
        ] {
            if was != is {
                self.tell_issue(act, repo, if is { action[0] } else { action[1] }, after, |_, _| {});
            }
        }
    }

    /// Tells what came to and went from labels, assignees and milestone.
    fn tell_sets(&mut self, act: Act, repo: i64, before: &Issue, after: &Issue) {
        for (from, to, action) in [(before, after, "labeled"), (after, before, "unlabeled")] {
            for id in to.labels.iter().filter(|id| !from.labels.contains(id)) {
                self.tell_issue(act, repo, action, after, |writer, object| writer.label_by_id(object, *id));
            }
        }
        for (from, to, action) in [(before, after, "assigned"), (after, before, "unassigned")] {
            for id in to.assignees.iter().filter(|id| !from.assignees.contains(id)) {
                self.tell_issue(act, repo, action, after, |writer, object| {
                    writer.put_account(object, "assignee", Some(*id));
                });
            }
        }
        if before.milestone != after.milestone {
            for (number, action) in [(before.milestone, "demilestoned"), (after.milestone, "milestoned")] {
                let Some(number) = number else { continue };
                self.tell_issue(act, repo, action, after, |writer, object| {
                    writer.milestone_by_number(object, number);
                });
            }
        }
    }

    /// The label is gone, so it is not named.
    pub(super) fn tell_unlabeled_by_deletion(&mut self, act: Act, repo: i64, number: u64) {
        if let Some(issue) = self.issue(repo, number).map(|issue| issue.into_owned()) {
            self.tell_issue(act, repo, "unlabeled", &issue, |_, _| {});
        }
    }

    /// Tells the old repository that an issue left, and the new one that it came.
    pub(super) fn tell_transferred(&mut self, act: Act, (from, old): (i64, &Issue), (to, number): (i64, u64)) {
        if !self.is_heard(from) && !self.is_heard(to) {
            return;
        }
        let Some(new) = self.issue(to, number).map(|issue| issue.into_owned()) else { return };
        let there = |writer: &Writer<'_>, object: &mut Object<'_>, repo: i64, issue: &Issue, names: [&str; 2]| {
            let Some(mut there) = writer.elsewhere(repo) else { return };
            let mut changes = Object::open(object.key("changes"));
            there.issue(changes.key(names[0]), issue);
            there.repository(changes.key(names[1]), Permission::None);
            changes.close();
        };
        self.announce(act, from, "issues", "transferred", |writer, object| {
            writer.issue(object.key("issue"), old);
            there(writer, object, to, &new, ["new_issue", "new_repository"]);
        });
        self.announce(act, to, "issues", "opened", |writer, object| {
            there(writer, object, from, old, ["old_issue", "old_repository"]);
            writer.issue(object.key("issue"), &new);
        });
    }

    /// Tells of a comment; `before` is its text before an edit.
    pub(super) fn tell_comment(
        &mut self,
        act: Act,
        repo: i64,
        action: &'static str,
        comment: &Comment,
        before: Option<&str>,
    ) {
        if !self.is_heard(repo) {
            return;
        }
        let Some(issue) = self.issue(repo, comment.issue).map(|issue| issue.into_owned()) else { return };
        self.announce(act, repo, "issue_comment", action, |writer, object| {
            if let Some(before) = before {
                object.put("changes", &json!({"body": {"from": before}}));
            }
            writer.issue(object.key("issue"), &issue);
            writer.comment(object.key("comment"), comment);
        });
    }

    /// Tells of a label; `before` is what it was before an edit.
    pub(super) fn tell_label(
        &mut self,
        act: Act,
        repo: i64,
        action: &'static str,
        label: &Label,
        before: Option<&Label>,
    ) {
        let mut changes = Map::new();
        if let Some(before) = before {
            for (name, old, new) in [
                ("name", Some(&before.name), Some(&label.name)),
                ("color", Some(&before.color), Some(&label.color)),
                ("description", before.description.as_ref(), label.description.as_ref()),
            ] {
                if old != new {
                    changes.insert(name.to_owned(), json!({"from": old.map_or("", String::as_str)}));
                }
            }
            if changes.is_empty() {
                return;
            }
        }
        self.announce(act, repo, "label", action, |writer, object| {
            writer.label(object.key("label"), label);
            if before.is_some() {
                object.put("changes", &changes);
            }
        });
    }

    pub(super) fn tell_milestone(&mut self, act: Act, repo: i64, number: u64) {
        self.announce(act, repo, "milestone", "created", |writer, object| writer.milestone_by_number(object, number));
    }

    pub(super) fn tell_renamed(&mut self, act: Act, repo: i64, from: &str) {
        self.announce(act, repo, "repository", "renamed", |_, object| {
            object.put("changes", &json!({"repository": {"name": {"from": from}}}));
        });
    }

    /// Tells one hook that it is there.
    pub(super) fn ping(&mut self, act: Act, repo: i64, hook: i64) {
        let Some(known) = self.repos.get(&repo) else { return };
        let Some(told) = known.hooks.get(&hook) else { return };
        let mut payload = Vec::with_capacity(8 << 10);
        let mut writer = Writer::told(self, known, &told.base);
        let mut object = Object::open(&mut payload);
        object.put("zen", "Keep an even keel.");
        object.put("hook_id", &hook);
        object.put("hook", &told.shown(writer.api()));
        writer.repository(object.key("repository"), Permission::None);
        writer.put_account(&mut object, "sender", Some(act.who));
        object.close();
        let guid = self.outbox.guid();
        self.outbox.enqueue(act.now, repo, hook, guid, "ping", None, payload);
    }
}
