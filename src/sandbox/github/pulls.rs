//! Pull requests: one alone, and what a merge does (github-api.md §12).

use super::acts::set_state;
use super::issues::Granted;
use super::record::Writer;
use super::{Act, Answer, Call, GithubState, last_modified, not_found};
use crate::sandbox::web::json_response;

/// The words that, before an issue's number, say that the issue is closed by this.
const KEYWORDS: [&str; 9] = ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];

impl GithubState {
    pub(super) fn get_pull(&mut self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer {
        let issue = self.here(granted, number, call)?;
        let Some(repo) = self.repos.get(&granted.repo).filter(|_| issue.pull.is_some()) else { return not_found() };
        let mut out = Vec::with_capacity(8192);
        Writer::new(self, repo, call).pull(&mut out, &issue);
        let mut response = json_response(200, out);
        response.headers.push(last_modified(issue.updated));
        Ok(response)
    }

    /// Merges a pull request. Answers false where there is none of that number that is open.
    pub(super) fn merge(&mut self, act: Act, repo: i64, number: u64) -> bool {
        let Some(issue) = self.issue(repo, number).map(|issue| issue.into_owned()) else { return false };
        let Some(pull) = issue.pull.as_ref().filter(|_| issue.closed.is_none() && issue.gone.is_none()) else {
            return false;
        };
        let into_default = self.repos.get(&repo).is_some_and(|repo| repo.default_branch == pull.base);
        let named = if into_default { self.named(repo, issue.body.as_deref().unwrap_or_default()) } else { Vec::new() };
        if self.habits.merge_told_last {
            self.close_all(act, &named);
        }
        self.edit_issue(act, repo, number, |issue| {
            if let Some(pull) = &mut issue.pull {
                pull.merged_at = Some(act.now);
                pull.merged_by = Some(act.who);
            }
            set_state(issue, act, true, None);
        });
        if !self.habits.merge_told_last {
            self.close_all(act, &named);
        }
        true
    }

    fn close_all(&mut self, act: Act, issues: &[(i64, u64)]) {
        for (repo, number) in issues {
            let open = self.issue(*repo, *number);
            if open.is_some_and(|issue| issue.pull.is_none() && issue.gone.is_none() && issue.closed.is_none()) {
                self.edit_issue(act, *repo, *number, |issue| set_state(issue, act, true, None));
            }
        }
    }

    /// The issues that a description says it closes: a keyword, perhaps a colon, then `#N` or `OWNER/REPO#N`.
    fn named(&self, repo: i64, text: &str) -> Vec<(i64, u64)> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let pairs = words.windows(2).filter_map(|pair| {
            let [word, target] = pair else { return None };
            let keyword = word.strip_suffix(':').unwrap_or(word).to_lowercase();
            let (name, number) = target.split_once('#')?;
            let number: String = number.chars().take_while(char::is_ascii_digit).collect();
            let repo = if name.is_empty() { repo } else { *self.names.get(&name.to_lowercase())? };
            let number = number.parse().ok()?;
            KEYWORDS.contains(&keyword.as_str()).then_some((repo, number))
        });
        pairs.collect()
    }
}
