//! Listings of issues and of comments, page by page along their links, within limits.

use std::collections::HashSet;

use serde_json::Value;

use super::wire::{Comment, Issue};
use super::{GithubClient, PAGE, address};
use crate::model::{IssueRef, Item, Timestamp};
use crate::provider::call::{Ask, garbled, server_time};
use crate::provider::http::Response;
use crate::provider::json::Odd;
use crate::provider::{ProviderError, json};

/// Pages of one listing at most: a million issues. More is a listing that does not end.
const PAGES_MAX: usize = 10_000;

/// What a listing brought besides its items.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) items: u64,
    pub(super) pages: usize,
    /// Everything on the pages, pull requests among it.
    pub(super) rows: usize,
    /// Whether the first page was answered 304.
    pub(super) unchanged: bool,
    /// The ETag of the first page.
    pub(super) etag: Option<String>,
    /// The newest `updated_at` seen.
    pub(super) newest: Option<Timestamp>,
    /// GitHub's time when it began.
    pub(super) now: Option<Timestamp>,
    /// Issues that could not be understood and are named.
    pub(super) odd: Vec<u64>,
    /// All that could not be understood, named or not.
    pub(super) left_out: usize,
}

impl GithubClient {
    /// Lists issues, page by page, into `each`, pull requests left out.
    pub(super) fn list(
        &self,
        doing: &str,
        query: &str,
        etag: Option<&str>,
        each: &mut dyn FnMut(Vec<Item>) -> Result<(), ProviderError>,
    ) -> Result<Listed, ProviderError> {
        let mut url = self.url(&format!("{}/issues?state=all&per_page={PAGE}{query}", self.root_of(&self.repo)));
        let mut listed = Listed::default();
        let mut seen = HashSet::new();
        for page in 0..PAGES_MAX {
            self.caller.stopped()?;
            let mut ask = Ask::read(doing, url);
            ask.etag = etag.filter(|_| page == 0);
            let (ask, response) = self.send(ask)?;
            if page == 0 {
                listed.now = server_time(&response);
                listed.etag = response.header("etag").map(str::to_owned);
                if response.status == 304 {
                    listed.unchanged = true;
                    return Ok(listed);
                }
            }
            let items = self.page(&ask, &response, &mut listed)?;
            listed.pages += 1;
            listed.items += u64::try_from(items.len()).unwrap_or(u64::MAX);
            each(items)?;
            match self.next(&ask, &response, &mut seen)? {
                Some(next) => url = next,
                None => return Ok(listed),
            }
        }
        Err(endless(doing))
    }

    /// The items of one page. Issues that cannot be understood are left out and named.
    fn page(&self, ask: &Ask<'_>, response: &Response, listed: &mut Listed) -> Result<Vec<Item>, ProviderError> {
        let (issues, mut odd) = match json::decode::<Vec<Issue>>(&response.body) {
            Ok(issues) => (issues, Vec::new()),
            // The usual page fits as it is; only an odd one is taken apart entry by entry.
            Err(_) => json::decode_each::<Issue>(self.caller.decode::<Vec<Value>>(ask, response)?),
        };
        let all = issues.len() + odd.len();
        listed.rows += all;
        if !issues.is_empty() {
            // Asked for once: without it no issue of the page can be read, and that is not the issues' fault.
            self.repo_id(&self.repo)?;
        }
        let mut items = Vec::with_capacity(issues.len());
        for issue in issues {
            listed.newest = listed.newest.max(Some(issue.updated_at));
            if issue.is_pull_request() {
                continue;
            }
            let id = Some(issue.number.to_string());
            match self.item_from(ask, &self.repo, issue) {
                Ok(item) => items.push(item),
                Err(ProviderError::Garbled { why, .. }) => odd.push(Odd { id, why }),
                Err(error) => return Err(error),
            }
        }
        if let Some(first) = odd.first().filter(|_| odd.len() == all) {
            return Err(garbled(ask, format!("none of its {all} issues can be read: {}", first.why)));
        }
        listed.left_out += odd.len();
        for odd in odd {
            let name = odd.id.as_deref().unwrap_or("without number");
            log::warn!("{}: issue {name} left out: {}", ask.doing, odd.why);
            listed.odd.extend(odd.id.and_then(|id| id.parse::<u64>().ok()).filter(|number| *number > 0));
        }
        Ok(items)
    }

    /// The body of every comment of an issue, until `found` says yes.
    pub(super) fn any_comment(&self, issue: &IssueRef, found: impl Fn(&str) -> bool) -> Result<bool, ProviderError> {
        let doing = format!("read the comments of github:{issue}");
        let mut url = self.issue_url(issue, &format!("/comments?per_page={PAGE}"));
        let mut seen = HashSet::new();
        for _ in 0..PAGES_MAX {
            let (ask, response) = self.send(Ask::read(doing.as_str(), url).about_item())?;
            let comments: Vec<Comment> = self.caller.decode(&ask, &response)?;
            if comments.iter().any(|comment| found(comment.body.as_deref().unwrap_or_default())) {
                return Ok(true);
            }
            match self.next(&ask, &response, &mut seen)? {
                Some(next) => url = next,
                None => return Ok(false),
            }
        }
        Err(endless(&doing))
    }

    /// Where a list goes on: only on our own host, and never where it was before.
    pub(super) fn next(
        &self,
        ask: &Ask<'_>,
        response: &Response,
        seen: &mut HashSet<String>,
    ) -> Result<Option<String>, ProviderError> {
        let Some(next) = response.header("link").and_then(address::next) else { return Ok(None) };
        let next = address::same_origin(&self.caller.connection.base_url, next)
            .ok_or_else(|| garbled(ask, "its next page is on another host; check the base URL"))?;
        if seen.insert(next.clone()) { Ok(Some(next)) } else { Err(garbled(ask, "its pages run in a circle")) }
    }
}

fn endless(doing: &str) -> ProviderError {
    garbled(&Ask::read(doing, String::new()), format!("it has more than {PAGES_MAX} pages"))
}
