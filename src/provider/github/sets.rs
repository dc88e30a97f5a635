//! Labels and assignees: added and removed one by one, so that what others do to the set meanwhile stays.
//!
//! A `PATCH` of the issue would replace the whole set, and what somebody added between our read and our write would be
//! gone without a trace. Adding what is there and removing what is not are no errors here (GitHub OpenAPI,
//! `issues/add-labels`, `issues/remove-label`, `issues/add-assignees`, `issues/remove-assignees`).

use std::collections::BTreeSet;

use serde_json::json;

use super::GithubClient;
use crate::model::{Assignees, IssueRef, Item};
use crate::provider::ProviderError;
use crate::provider::call::{Ask, encoded};
use crate::provider::http::Method;
use crate::provider::pace::Weight;

/// What a removal understands itself: a redirect, and that the label is not on the issue any more.
const REMOVALS: &[u16] = &[301, 302, 307, 308, 404];

impl GithubClient {
    /// Adds and removes labels until the issue carries `wanted`. Answers whether anything was asked for.
    pub(super) fn relabel(
        &self,
        issue: &IssueRef,
        current: &Item,
        wanted: &BTreeSet<String>,
    ) -> Result<bool, ProviderError> {
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let carried = &current.content.labels;
        let added: Vec<&String> = wanted.iter().filter(|name| !carried.iter().any(|known| same(known, name))).collect();
        let removed: Vec<&String> =
            carried.iter().filter(|known| !wanted.iter().any(|name| same(known, name))).collect();
        let doing = || format!("change the labels of github:{issue}");
        if !added.is_empty() {
            let url = self.issue_url(issue, "/labels");
            self.send(to_the_set(Ask::write(doing(), Method::Post, url, json!({"labels": added}))))?;
        }
        for name in &removed {
            let url = self.issue_url(issue, &format!("/labels/{}", encoded(name)));
            let ask = Ask { method: Method::Delete, ..Ask::read(doing(), url) };
            self.send(to_the_set(ask).accept(REMOVALS))?;
        }
        Ok(!added.is_empty() || !removed.is_empty())
    }

    /// The same for the people it is assigned to.
    pub(super) fn reassign(&self, issue: &IssueRef, current: &Item, wanted: &Assignees) -> Result<bool, ProviderError> {
        let (carried, wanted) = (self.logins(&current.content.assignees), self.logins(wanted));
        let without = |some: &[String], others: &[String]| -> Vec<String> {
            let known = |login: &&String| !others.iter().any(|other| other.eq_ignore_ascii_case(login));
            some.iter().filter(known).cloned().collect()
        };
        let (added, removed) = (without(&wanted, &carried), without(&carried, &wanted));
        // Those who leave go first: an issue has ten at most.
        let steps = [(Method::Delete, removed), (Method::Post, added)];
        let mut asked = false;
        for (method, logins) in steps.into_iter().filter(|(_, logins)| !logins.is_empty()) {
            asked = true;
            let doing = format!("change the assignees of github:{issue}");
            let url = self.issue_url(issue, "/assignees");
            self.send(to_the_set(Ask::write(doing, method, url, json!({"assignees": logins}))))?;
        }
        Ok(asked)
    }
}

/// No creation, and of one issue; decided from what was read just before.
fn to_the_set(ask: Ask<'_>) -> Ask<'_> {
    ask.about_item().weighing(Weight::Write).editing()
}
