//! Lists: issues by cursor, everything else by page number (github-api.md §5, §8).

use std::borrow::Cow;
use std::ops::Bound;

use fastrand::Rng;
use serde_json::json;

use super::issues::Granted;
use super::record::Writer;
use super::{Answer, Call, GithubState, Issue, Reason, Repo, invalid, not_found, refuse};
use crate::provider::http::Response;
use crate::sandbox::fault::Loop;
use crate::sandbox::json::list;
use crate::sandbox::web::{encoded, json_response, parse_instant};

/// A place in a sorted list: sort key in ms, and the issue's number.
type Key = (i64, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Created,
    Updated,
    Comments,
}

/// What of a repository's issues is wanted.
struct Query {
    sort: Sort,
    ascending: bool,
    /// Open ones, closed ones, or both.
    open: Option<bool>,
    since: Option<i64>,
    /// Ids of labels all of which must be there; `None` when one does not exist at all.
    labels: Option<Vec<i64>>,
    assignee: Option<Option<i64>>,
    creator: Option<i64>,
    /// Where replicas stand.
    at: i64,
}

impl Query {
    fn passes(&self, issue: &Issue) -> bool {
        let Some(labels) = &self.labels else { return false };
        issue.gone.is_none()
            && self.open.is_none_or(|open| open == issue.closed.is_none())
            && self.since.is_none_or(|since| issue.updated >= since)
            && labels.iter().all(|label| issue.labels.contains(label))
            && self.creator.is_none_or(|creator| issue.author == creator)
            && match self.assignee {
                None => true,
                Some(None) => issue.assignees.is_empty(),
                Some(Some(id)) => issue.assignees.contains(&id),
            }
    }

    const fn key(&self, issue: &Issue) -> Key {
        match self.sort {
            Sort::Created => (issue.created, issue.number),
            Sort::Updated => (issue.updated, issue.number),
            Sort::Comments => (issue.comments.cast_signed(), issue.number),
        }
    }
}

impl Repo {
    /// The first `most` issues that pass, beginning after `from`, in the order asked for. Costs a page, whatever
    /// the number of issues, unless sorted by comments.
    fn walk(&self, query: &Query, from: Option<Key>, ascending: bool, most: usize) -> Vec<Cow<'_, Issue>> {
        let after = |key: Key| match (from, ascending) {
            (None, _) => true,
            (Some(from), true) => key > from,
            (Some(from), false) => key < from,
        };
        // Written since the replica's time: shown as they were, under the key they had.
        let recent: Vec<u64> = {
            let newest = self.written.iter().rev().take_while(|(at, _)| *at > query.at);
            let mut recent: Vec<u64> = newest.map(|(_, number)| *number).collect();
            recent.sort_unstable();
            recent.dedup();
            recent
        };
        let stale = recent.iter().filter_map(|number| self.issue_seen(*number, query.at));
        let mut stale: Vec<(Key, Cow<'_, Issue>)> = stale.map(|issue| (query.key(&issue), issue)).collect();
        stale.retain(|(key, _)| after(*key));
        let present = |number: u64| recent.binary_search(&number).is_err();

        if query.sort == Sort::Comments {
            let mut all: Vec<(Key, Cow<'_, Issue>)> = stale;
            let stored = self.issues.values().map(|issue| issue.get()).filter(|issue| present(issue.number));
            all.extend(stored.map(|issue| (query.key(issue), Cow::Borrowed(issue))));
            let computed = self.population.iter().flat_map(|population| {
                (0..population.count).filter_map(|index| self.computed_untouched(population.first_issue + index))
            });
            all.extend(computed.map(|issue| (query.key(&issue), Cow::Owned(issue))));
            all.retain(|(key, issue)| after(*key) && query.passes(issue));
            all.sort_by_key(|(key, _)| *key);
            if !ascending {
                all.reverse();
            }
            return all.into_iter().take(most).map(|(_, issue)| issue).collect();
        }

        stale.sort_by_key(|(key, _)| *key);
        if !ascending {
            stale.reverse();
        }
        let index = if query.sort == Sort::Updated { &self.by_updated } else { &self.by_created };
        let floor = match (query.since, query.sort) {
            (Some(since), Sort::Updated) => Bound::Included((since, 0)),
            _ => Bound::Unbounded,
        };
        let (low, high) = match (from, ascending) {
            (None, _) => (floor, Bound::Unbounded),
            (Some(from), true) => match floor {
                Bound::Included(floor) if floor > from => (Bound::Included(floor), Bound::Unbounded),
                _ => (Bound::Excluded(from), Bound::Unbounded),
            },
            (Some(from), false) => match floor {
                Bound::Included(floor) if floor >= from => return Vec::new(),
                floor => (floor, Bound::Excluded(from)),
            },
        };
        let range = index.range((low, high)).filter(|(_, number)| present(*number));
        let mut stored: Box<dyn Iterator<Item = &Key>> =
            if ascending { Box::new(range) } else { Box::new(range.rev()) };
        let mut computed = self.computed_keys(query, from, ascending);
        let mut stale = stale.into_iter();
        let (mut next_stored, mut next_computed, mut next_stale) = (stored.next(), computed.next(), stale.next());
        let mut found = Vec::new();
        let comes_first = |one: Key, other: Option<Key>| match (other, ascending) {
            (None, _) => true,
            (Some(other), true) => one <= other,
            (Some(other), false) => one >= other,
        };
        while found.len() < most {
            let keys = (next_stored.copied(), next_computed, next_stale.as_ref().map(|(key, _)| *key));
            let issue = match keys {
                (Some(key), computed, stale) if comes_first(key, computed) && comes_first(key, stale) => {
                    next_stored = stored.next();
                    self.issues.get(&key.1).map(|issue| Cow::Borrowed(issue.get()))
                }
                (_, Some(key), stale) if comes_first(key, stale) => {
                    next_computed = computed.next();
                    // What only its texts would decide is not made for an answer that leaves it out.
                    let wanted = query.open.is_none_or(|open| open != self.is_done(key.1));
                    if wanted { self.computed_untouched(key.1).map(Cow::Owned) } else { None }
                }
                (_, _, Some(_)) => {
                    let issue = next_stale.take().map(|(_, issue)| issue);
                    next_stale = stale.next();
                    issue
                }
                _ => break,
            };
            found.extend(issue.filter(|issue| query.passes(issue)));
        }
        found
    }

    fn is_done(&self, number: u64) -> bool {
        self.population
            .as_ref()
            .is_some_and(|population| population.index_of_issue(number).is_some_and(|index| population.is_done(index)))
    }

    fn computed_untouched(&self, number: u64) -> Option<Issue> {
        if self.issues.contains_key(&number) { None } else { self.computed(number) }
    }

    /// Keys of computed issues that were never touched: creation and last change are the same for them.
    fn computed_keys<'r>(
        &'r self,
        query: &Query,
        from: Option<Key>,
        ascending: bool,
    ) -> Box<dyn Iterator<Item = Key> + 'r> {
        let Some(population) = self.population.as_ref().filter(|population| population.first_issue > 0) else {
            return Box::new(std::iter::empty());
        };
        let key = move |index: u64| {
            let at = population.at(index);
            (at - at.rem_euclid(1000), population.first_issue + index)
        };
        let mut low = query.since.map_or(0, |since| population.index_at(since));
        let mut high = population.count;
        // Times are a second apart, so the index of a key is known within one.
        if let Some(from) = from {
            let near = population.index_at(from.0);
            let before = near.saturating_sub(1);
            let first_after = (before..=near + 1).find(|index| key(*index) > from).unwrap_or(near + 2);
            if ascending {
                low = low.max(first_after);
            } else {
                let same = first_after.checked_sub(1).filter(|index| key(*index) == from);
                high = high.min(same.unwrap_or(first_after));
            }
        }
        let untouched = move |key: &Key| !self.issues.contains_key(&key.1);
        let keys = (low..high.max(low)).map(key);
        if ascending { Box::new(keys.filter(untouched)) } else { Box::new(keys.rev().filter(untouched)) }
    }
}

/// The page size: 30 where none is given or none makes sense, at most 100.
fn per_page(call: &Call<'_>) -> usize {
    match call.ask.param("per_page").and_then(|text| text.parse::<i64>().ok()) {
        Some(size) if size > 0 => usize::try_from(size).unwrap_or(100).min(100),
        _ => 30,
    }
}

fn page_number(call: &Call<'_>) -> u64 {
    call.ask.param("page").and_then(|text| text.parse().ok()).unwrap_or(1).max(1)
}

/// A cursor says nothing to its reader, but holds its place.
fn cursor((at, number): Key) -> String {
    let veil = 0x5eed_0f0f_5eed_0f0f_u64;
    format!("Y3Vyc29yOnYyOp{:016x}{:016x}", at.cast_unsigned() ^ veil, number ^ veil.rotate_left(7))
}

fn parse_cursor(text: &str) -> Option<Key> {
    let veil = 0x5eed_0f0f_5eed_0f0f_u64;
    let digits = text.strip_prefix("Y3Vyc29yOnYyOp")?;
    let word = |at: usize| u64::from_str_radix(digits.get(at..at + 16)?, 16).ok();
    Some(((word(0)? ^ veil).cast_signed(), word(16)? ^ veil.rotate_left(7)))
}

impl GithubState {
    pub(super) fn view_at(&self, call: &Call<'_>) -> i64 {
        let lag = self.habits.lag.max(call.bend.lag);
        if lag.is_zero() {
            // The present, even when the clock was set back since the last write.
            return i64::MAX;
        }
        call.act.now.saturating_sub(i64::try_from(lag.as_millis()).unwrap_or(i64::MAX))
    }

    fn query(&self, granted: &Granted, call: &Call<'_>) -> Answer<Query> {
        let ask = call.ask;
        let open = match ask.param("state") {
            None | Some("open") => Some(true),
            Some("closed") => Some(false),
            Some("all") => None,
            Some(other) => {
                return invalid(json!({"resource": "Issue", "field": "state", "code": "invalid", "value": other}));
            }
        };
        let (sort, known) = match ask.param("sort") {
            None | Some("created") => (Sort::Created, true),
            Some("updated") => (Sort::Updated, true),
            Some("comments") => (Sort::Comments, true),
            // Answered all the same, newest first, whatever the direction (github-api.md §3).
            Some(_) => (Sort::Created, false),
        };
        let since = match ask.param("since") {
            None | Some("") => None,
            Some(text) => match parse_instant(text) {
                Some(at) => Some(at),
                None => {
                    return invalid(json!({"resource": "Issue", "field": "since", "code": "invalid", "value": text}));
                }
            },
        };
        let repo = self.repos.get(&granted.repo);
        let names = ask.param("labels").unwrap_or_default().split(',').filter(|name| !name.is_empty());
        let labels = names.map(|name| repo?.label_named(name).map(|label| label.id)).collect();
        let account = |login: &str| self.logins.get(&login.to_lowercase()).copied().unwrap_or(-1);
        let assignee = match ask.param("assignee") {
            None | Some("*") => None,
            Some("none") => Some(None),
            Some(login) => Some(Some(account(login))),
        };
        Ok(Query {
            sort,
            ascending: known && ask.param("direction") == Some("asc"),
            open,
            since,
            labels,
            assignee,
            creator: ask.param("creator").map(account),
            at: self.view_at(call),
        })
    }

    pub(super) fn list_issues(&mut self, granted: &Granted, call: &Call<'_>, rng: &mut Rng) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        if !repo.has_issues {
            return refuse(410, "Issues are disabled for this repo");
        }
        let query = self.query(granted, call)?;
        let (size, page) = (per_page(call), page_number(call));
        let place = |name: &str| match call.ask.param(name) {
            None => Ok(None),
            Some(text) => match parse_cursor(text) {
                Some(key) => Ok(Some(key)),
                None => refuse(422, "The cursor is invalid."),
            },
        };
        let (after, before) = (place("after")?, place("before")?);
        let by_number = after.is_none() && before.is_none();
        if by_number && page * size as u64 > self.habits.page_bound && page > 1 {
            return refuse(
                422,
                "Pagination with the page parameter is not supported for large datasets, please use cursor based pagination (after/before)",
            );
        }
        let (mut issues, more_before, more_after) = match before {
            Some(before) => {
                let mut issues = repo.walk(&query, Some(before), !query.ascending, size + 1);
                let more = issues.len() > size;
                issues.truncate(size);
                issues.reverse();
                (issues, more, true)
            }
            None => {
                let skip = if by_number { usize::try_from(page - 1).unwrap_or(0) * size } else { 0 };
                let mut issues = repo.walk(&query, after, query.ascending, skip + size + 1);
                issues.drain(..skip.min(issues.len()));
                let more = issues.len() > size;
                issues.truncate(size);
                (issues, after.is_some() || page > 1, more)
            }
        };
        let (first, last) = (issues.first().map(|issue| query.key(issue)), issues.last().map(|issue| query.key(issue)));
        for _ in 0..call.bend.missing.min(issues.len()) {
            issues.remove(rng.usize(..issues.len()));
        }
        let mut body = Vec::with_capacity(issues.len() * 3500 + 16);
        let mut writer = Writer::new(self, repo, call);
        list(&mut body, &issues, |out, issue| writer.issue(out, issue));
        let mut response = json_response(200, body);
        let link = |name: &str, key: Key, page: u64| {
            let extra = [(name.to_owned(), cursor(key)), ("page".to_owned(), page.to_string())];
            self.link(granted, call, &["after", "before", "page"], &extra)
        };
        let mut links = Vec::new();
        match (call.bend.page_loop, last) {
            (Some(Loop::Same), _) => links.push((self.same_page(granted, call, page), "next")),
            (Some(Loop::Fresh), _) => {
                // The place where this page began; only the page number tells one such address from the next.
                let start = if query.ascending { (i64::MIN, 0) } else { (i64::MAX, u64::MAX) };
                links.push((link("after", after.unwrap_or(start), page + 1), "next"));
            }
            (None, Some(last)) if more_after => links.push((link("after", last, page + 1), "next")),
            _ => {}
        }
        if let (Some(first), true) = (first, more_before) {
            links.push((link("before", first, page.saturating_sub(1).max(1)), "prev"));
        }
        put_links(&mut response, &links);
        Ok(response)
    }

    fn same_page(&self, granted: &Granted, call: &Call<'_>, number: u64) -> String {
        self.link(granted, call, &["page"], &[("page".to_owned(), number.to_string())])
    }

    /// The address of another page: by the repository's id, with all other parameters as they were.
    fn link(&self, granted: &Granted, call: &Call<'_>, drop: &[&str], extra: &[(String, String)]) -> String {
        let ask = call.ask;
        // The path below the repository, whichever way the repository was named.
        let skip = if ask.path.first().is_some_and(|word| word == "repos") { 3 } else { 2 };
        let tail: String = ask.path.iter().skip(skip).map(|word| format!("/{}", encoded(word))).collect();
        let given = ask.query.iter().filter(|(name, _)| !drop.contains(&name.as_str()) && name != "per_page");
        let size = [("per_page".to_owned(), per_page(call).to_string())];
        let query = given.chain(&size).chain(extra);
        let query: Vec<String> = query.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
        format!("{}/repositories/{}{tail}?{}", ask.base, granted.repo, query.join("&"))
    }

    /// A list by page number, with `last`.
    pub(super) fn numbered<T>(
        &self,
        granted: &Granted,
        call: &Call<'_>,
        rng: &mut Rng,
        all: Vec<T>,
        write: impl FnMut(&mut Vec<u8>, T),
    ) -> Answer {
        let (size, page) = (per_page(call), page_number(call));
        let pages = (all.len() as u64).div_ceil(size as u64).max(1);
        let skip = usize::try_from(page - 1).unwrap_or(usize::MAX).saturating_mul(size);
        let mut items: Vec<T> = all.into_iter().skip(skip).take(size).collect();
        for _ in 0..call.bend.missing.min(items.len()) {
            items.remove(rng.usize(..items.len()));
        }
        let mut body = Vec::with_capacity(items.len() * 1024 + 16);
        list(&mut body, items, write);
        let mut response = json_response(200, body);
        let mut links = Vec::new();
        let mut to = |page: u64, rel| links.push((self.same_page(granted, call, page), rel));
        match call.bend.page_loop {
            Some(Loop::Same) => to(page, "next"),
            Some(Loop::Fresh) => to(page + 1, "next"),
            None => {
                if page > 1 {
                    to(page - 1, "prev");
                }
                if page < pages {
                    to(page + 1, "next");
                    to(pages, "last");
                }
                if page > 1 {
                    to(1, "first");
                }
            }
        }
        put_links(&mut response, &links);
        Ok(response)
    }

    pub(super) fn list_comments(&mut self, granted: &Granted, number: &str, call: &Call<'_>, rng: &mut Rng) -> Answer {
        let issue = self.here(granted, number, call)?;
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let since = call.ask.param("since").and_then(parse_instant);
        let ids = repo.comments_of.get(&issue.number).map(Vec::as_slice).unwrap_or_default();
        let comments = ids.iter().filter_map(|id| repo.comments.get(id));
        let comments = comments.filter(|comment| since.is_none_or(|since| comment.updated >= since)).collect();
        let mut writer = Writer::new(self, repo, call);
        self.numbered(granted, call, rng, comments, |out, comment| writer.comment(out, comment))
    }

    pub(super) fn list_repo_comments(&mut self, granted: &Granted, call: &Call<'_>, rng: &mut Rng) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let since = call.ask.param("since").and_then(parse_instant);
        let mut comments: Vec<_> =
            repo.comments.values().filter(|comment| since.is_none_or(|since| comment.updated >= since)).collect();
        match call.ask.param("sort") {
            Some("updated") => comments.sort_by_key(|comment| (comment.updated, comment.id)),
            _ => comments.sort_by_key(|comment| comment.id),
        }
        // The direction is ignored without a sort (github-api.md §10).
        if call.ask.param("sort").is_some() && call.ask.param("direction") != Some("asc") {
            comments.reverse();
        }
        let mut writer = Writer::new(self, repo, call);
        self.numbered(granted, call, rng, comments, |out, comment| writer.comment(out, comment))
    }

    pub(super) fn list_labels(&mut self, granted: &Granted, call: &Call<'_>, rng: &mut Rng) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let mut labels: Vec<_> = repo.labels.values().collect();
        labels.sort_by_key(|label| label.name.to_lowercase());
        let writer = Writer::new(self, repo, call);
        self.numbered(granted, call, rng, labels, |out, label| writer.label(out, label))
    }

    pub(super) fn list_milestones(&mut self, granted: &Granted, call: &Call<'_>, rng: &mut Rng) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let writer = Writer::new(self, repo, call);
        let all = repo.milestones.values().collect();
        self.numbered(granted, call, rng, all, |out, milestone| writer.milestone(out, milestone))
    }
}

fn put_links(response: &mut Response, links: &[(String, &str)]) {
    if !links.is_empty() {
        let links: Vec<String> = links.iter().map(|(url, rel)| format!("<{url}>; rel=\"{rel}\"")).collect();
        response.headers.push(("link".to_owned(), links.join(", ")));
    }
}

impl Reason {
    /// Reads the service's word.
    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Completed, Self::NotPlanned, Self::Duplicate, Self::Reopened]
            .into_iter()
            .find(|known| known.as_str() == text)
    }
}
