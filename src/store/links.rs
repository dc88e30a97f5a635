//! Links and tombstones looked up: which task belongs with which issue, and which never shall again.

mod change;
mod find;

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::among::{LONGEST, among};
use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::{links, tombstones};
use super::verbatim::{AtMostDsl, Condition};
use super::{Brief, LinkChange, NewLink, Store, StoreError, Tombstone, UNKNOWN_REPO, columns};
use crate::model::{BySide, Fingerprint, IssueRef, ItemKey, Link, LinkId, LinkStatus, RepoName, RouteName, TaskGid};

pub use find::LinkFilter;

pub(super) use change::{insert, remember, remove, rename, update};

/// Keys or rows in one statement: far below SQLite's 32,766 parameters, even with 16 columns a row.
const CHUNK: usize = 500;

/// Links that are not retired. As a part of the text: an index hangs on it, see [`super::verbatim`].
pub(super) const LIVE: Condition = Condition("status <> 'retired'");

/// Links whose halves are kept in step.
const ACTIVE: Condition = Condition("status = 'active'");

#[derive(Queryable, Selectable)]
#[diesel(table_name = links)]
struct LinkRow {
    id: i64,
    route: String,
    task: String,
    project: Option<String>,
    repo: String,
    number: i64,
    repo_id: i64,
    issue_id: i64,
    issue_node_id: String,
    status: String,
    seen_tracker: Option<String>,
    seen_forge: Option<String>,
    created_at: i64,
    updated_at: i64,
    waiting: Option<String>,
    base: Option<String>,
}

impl LinkRow {
    fn link(self) -> Result<Link, Fault> {
        let Self {
            id,
            route,
            task,
            project,
            repo,
            number,
            repo_id,
            issue_id,
            issue_node_id,
            status,
            seen_tracker,
            seen_forge,
            created_at,
            updated_at,
            waiting,
            base,
        } = self;
        let what = format_args!("link {id}");
        Ok(Link {
            id: LinkId(id),
            route: columns::parse(what, &route)?,
            task: columns::parse(what, &task)?,
            project: project.map(|project| columns::parse(what, &project)).transpose()?,
            issue: columns::issue(what, &repo, number)?,
            repo_id,
            issue_id,
            issue_node_id,
            status: columns::status(what, &status)?,
            base: base.map(|base| columns::from_json(what, &base)).transpose()?,
            seen: BySide { tracker: seen_tracker.map(Fingerprint), forge: seen_forge.map(Fingerprint) },
            waiting: waiting.map(|waiting| columns::from_json(what, &waiting)).transpose()?.unwrap_or_default(),
            created_at: columns::moment(what, created_at)?,
            updated_at: columns::moment(what, updated_at)?,
        })
    }
}

fn into_links(rows: Vec<LinkRow>) -> Result<Vec<Link>, Fault> {
    rows.into_iter().map(LinkRow::link).collect()
}

/// The columns of a [`Brief`], none of them large.
type BriefRow = (i64, String, String, i64, String, Option<String>, Option<String>, bool);

fn brief(row: BriefRow) -> Result<Brief, Fault> {
    let (id, task, repo, number, status, seen_tracker, seen_forge, waits) = row;
    let what = format_args!("link {id}");
    Ok(Brief {
        id: LinkId(id),
        task: columns::parse(what, &task)?,
        issue: columns::issue(what, &repo, number)?,
        status: columns::status(what, &status)?,
        seen: BySide { tracker: seen_tracker.map(Fingerprint), forge: seen_forge.map(Fingerprint) },
        waits,
    })
}

/// Selects the columns of a [`Brief`].
macro_rules! briefs {
    () => {
        links::table.select((
            links::id,
            links::task,
            links::repo,
            links::number,
            links::status,
            links::seen_tracker,
            links::seen_forge,
            links::waiting.is_not_null(),
        ))
    };
}

/// Keys by what they are looked up by: tasks by gid, issues by repository and number.
///
/// Numbers that no column can hold are left out: there is no such row.
fn split(keys: &[ItemKey]) -> (Vec<&str>, BTreeMap<String, Vec<i64>>) {
    let mut tasks = Vec::new();
    let mut issues: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    for key in keys {
        match key {
            ItemKey::Task(task) => tasks.push(task.as_str()),
            ItemKey::Issue(issue) => {
                if let Ok(number) = i64::try_from(issue.number) {
                    issues.entry(issue.repo.folded()).or_default().push(number);
                }
            }
        }
    }
    (tasks, issues)
}

impl Store {
    /// The name under which a route's links know a repository, or the pairs that it let go of, by the id that survives a
    /// rename.
    ///
    /// # Errors
    /// When the database fails.
    pub fn repo_name(&self, route: &RouteName, repo_id: i64) -> Result<Option<RepoName>, StoreError> {
        self.backend
            .read(format_args!("route {route}: looking up a repository"), |conn| repo_name(conn, route, repo_id))
    }

    /// The id of the repository that a route's links know under a name.
    ///
    /// # Errors
    /// When the database fails.
    pub fn repo_id(&self, route: &RouteName, name: &RepoName) -> Result<Option<i64>, StoreError> {
        self.backend.read(format_args!("route {route}: looking up repository {name}"), |conn| {
            Ok(on!(conn, |c| links::table
                .select(links::repo_id)
                .filter(links::repo_key.eq(name.folded()))
                .filter(links::route.eq(route.as_str()))
                .filter(links::repo_id.ne(UNKNOWN_REPO))
                .at_most(1)
                .get_result(c)
                .optional())?)
        })
    }

    /// A repository, by id and name, that is not `repo_id` and that a route's links know by this very name, or else one
    /// that they are in and are not retired.
    ///
    /// # Errors
    /// When the database fails.
    pub fn another_repository(
        &self,
        route: &RouteName,
        repo_id: i64,
        name: &RepoName,
    ) -> Result<Option<(i64, RepoName)>, StoreError> {
        self.backend.read(format_args!("route {route}: looking for links into another repository"), |conn| {
            let named = links::repo_key.eq(name.folded());
            let other: Option<(i64, String)> = on!(conn, |c| links::table
                .select((links::repo_id, links::repo))
                .filter(links::route.eq(route.as_str()))
                .filter(links::repo_id.ne(UNKNOWN_REPO))
                .filter(links::repo_id.ne(repo_id))
                .filter(named.clone().or(links::status.ne(LinkStatus::Retired.as_str())))
                .order(named.clone().desc())
                .at_most(1)
                .get_result(c)
                .optional())?;
            other
                .map(|(id, name)| {
                    let name: RepoName = columns::parse(format_args!("repository {id}"), &name)?;
                    Ok((id, name))
                })
                .transpose()
        })
    }

    /// The routes that have links into a repository, by its id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn routes_of_repository(&self, repo_id: i64) -> Result<Vec<RouteName>, StoreError> {
        self.backend.read("looking up the routes of a repository", |conn| {
            let routes: Vec<String> = on!(conn, |c| links::table
                .select(links::route)
                .filter(links::repo_id.eq(repo_id))
                .filter(LIVE)
                .distinct()
                .order(links::route)
                .load(c))?;
            routes.iter().map(|route| columns::parse(format_args!("a route of repository {repo_id}"), route)).collect()
        })
    }

    /// The links of a route that hold any of these items, whatever their status, each once, in the order of their ids.
    ///
    /// One indexed query for up to 500 tasks and one for up to 500 issues of a repository.
    ///
    /// # Errors
    /// When the database fails.
    pub fn briefs(&self, route: &RouteName, keys: &[ItemKey]) -> Result<Vec<Brief>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let (tasks, issues) = split(keys);
        let rows = self.backend.read(format_args!("route {route}: looking up {} items", keys.len()), |conn| {
            let mut rows: Vec<BriefRow> = Vec::with_capacity(keys.len());
            for tasks in tasks.chunks(LONGEST) {
                rows.extend::<Vec<BriefRow>>(on!(conn, |c| briefs!()
                    .filter(links::route.eq(route.as_str()))
                    .filter(among(links::task, tasks))
                    .load(c))?);
            }
            for (repo, numbers) in &issues {
                for numbers in numbers.chunks(LONGEST) {
                    rows.extend::<Vec<BriefRow>>(on!(conn, |c| briefs!()
                        .filter(links::route.eq(route.as_str()))
                        .filter(links::repo_key.eq(repo))
                        .filter(among(links::number, numbers))
                        .load(c))?);
                }
            }
            rows.sort_unstable_by_key(|row| row.0);
            rows.dedup_by_key(|row| row.0);
            rows.into_iter().map(brief).collect()
        })?;
        Ok(rows)
    }

    /// One link.
    ///
    /// # Errors
    /// When the database fails.
    pub fn link(&self, id: LinkId) -> Result<Option<Link>, StoreError> {
        Ok(self.links_by_id(&[id])?.pop())
    }

    /// The links of these ids that exist, in the order of their ids.
    ///
    /// # Errors
    /// When the database fails.
    pub fn links_by_id(&self, ids: &[LinkId]) -> Result<Vec<Link>, StoreError> {
        let wanted: BTreeSet<i64> = ids.iter().map(|id| id.0).collect();
        let wanted: Vec<i64> = wanted.into_iter().collect();
        self.backend.read(format_args!("reading {} links", ids.len()), |conn| {
            let mut found = Vec::with_capacity(wanted.len());
            for ids in wanted.chunks(LONGEST) {
                let rows: Vec<LinkRow> = on!(conn, |c| links::table
                    .select(LinkRow::as_select())
                    .filter(among(links::id, ids))
                    .order(links::id)
                    .load(c))?;
                found.extend(into_links(rows)?);
            }
            Ok(found)
        })
    }

    /// The link that holds an item, of whatever route: the active or left one, else the last that was retired.
    ///
    /// # Errors
    /// When the database fails.
    pub fn link_of(&self, key: &ItemKey) -> Result<Option<Link>, StoreError> {
        self.backend.read(format_args!("looking up the link of {key}"), |conn| {
            let mut found = into_links(links_of(conn, key)?)?;
            found.sort_by_key(|link| (link.status != LinkStatus::Retired, link.id));
            Ok(found.pop())
        })
    }

    /// Links by id, those after `after` (0 is before the first), at most `limit`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn links(&self, route: Option<&RouteName>, after: LinkId, limit: u32) -> Result<Vec<Link>, StoreError> {
        self.backend.read("reading links", |conn| {
            let rows: Vec<LinkRow> = match route {
                Some(route) => on!(conn, |c| links::table
                    .select(LinkRow::as_select())
                    .filter(links::route.eq(route.as_str()))
                    .filter(links::id.gt(after.0))
                    .order(links::id)
                    .at_most(limit)
                    .load(c))?,
                None => on!(conn, |c| links::table
                    .select(LinkRow::as_select())
                    .filter(links::id.gt(after.0))
                    .order(links::id)
                    .at_most(limit)
                    .load(c))?,
            };
            into_links(rows)
        })
    }

    /// The ids of a route's links of one status, in order.
    ///
    /// # Errors
    /// When the database fails.
    pub fn link_ids(&self, route: &RouteName, status: LinkStatus) -> Result<Vec<LinkId>, StoreError> {
        self.backend.read(format_args!("route {route}: reading the ids of {status} links"), |conn| {
            let ids: Vec<i64> = on!(conn, |c| links::table
                .select(links::id)
                .filter(links::route.eq(route.as_str()))
                .filter(links::status.eq(status.as_str()))
                .order(links::id)
                .load(c))?;
            Ok(ids.into_iter().map(LinkId).collect())
        })
    }

    /// How many links of each status a route has; every status is there, if only with 0.
    ///
    /// # Errors
    /// When the database fails.
    pub fn count_links(&self, route: &RouteName) -> Result<BTreeMap<LinkStatus, u64>, StoreError> {
        self.backend.read(format_args!("route {route}: counting links"), |conn| {
            let rows: Vec<(String, i64)> = on!(conn, |c| links::table
                .filter(links::route.eq(route.as_str()))
                .group_by(links::status)
                .select((links::status, diesel::dsl::count_star()))
                .load(c))?;
            let mut counts: BTreeMap<LinkStatus, u64> = LinkStatus::ALL.into_iter().map(|status| (status, 0)).collect();
            for (status, count) in rows {
                counts.insert(columns::status("the count of links", &status)?, u64::try_from(count).unwrap_or(0));
            }
            Ok(counts)
        })
    }

    /// Links that stand and have a field that waits for a person, by id, at most `limit`. A pair of which a half left or
    /// is gone asks nobody.
    ///
    /// # Errors
    /// When the database fails.
    pub fn waiting_links(&self, route: Option<&RouteName>, limit: u32) -> Result<Vec<Link>, StoreError> {
        self.waiting_links_after(route, LinkId(0), limit)
    }

    /// The same from behind a link on.
    ///
    /// # Errors
    /// When the database fails.
    pub fn waiting_links_after(
        &self,
        route: Option<&RouteName>,
        after: LinkId,
        limit: u32,
    ) -> Result<Vec<Link>, StoreError> {
        self.backend.read("reading the links that wait", |conn| {
            let rows: Vec<LinkRow> = match route {
                Some(route) => on!(conn, |c| links::table
                    .select(LinkRow::as_select())
                    .filter(links::waiting.is_not_null())
                    .filter(ACTIVE)
                    .filter(links::route.eq(route.as_str()))
                    .filter(links::id.gt(after.0))
                    .order(links::id)
                    .at_most(limit)
                    .load(c))?,
                None => on!(conn, |c| links::table
                    .select(LinkRow::as_select())
                    .filter(links::waiting.is_not_null())
                    .filter(ACTIVE)
                    .filter(links::id.gt(after.0))
                    .order(links::id)
                    .at_most(limit)
                    .load(c))?,
            };
            into_links(rows)
        })
    }

    /// The pairs of a route with any of these items that must not be made again, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn tombstones(&self, route: &RouteName, keys: &[ItemKey]) -> Result<Vec<Tombstone>, StoreError> {
        let (tasks, issues) = split(keys);
        self.backend.read(format_args!("route {route}: looking up tombstones"), |conn| {
            let mut rows: Vec<TombstoneRow> = Vec::new();
            for tasks in tasks.chunks(LONGEST) {
                rows.extend(on!(conn, |c| tombstones::table
                    .select(TombstoneRow::as_select())
                    .filter(tombstones::route.eq(route.as_str()))
                    .filter(among(tombstones::task, tasks))
                    .load(c))?);
            }
            for (repo, numbers) in &issues {
                for numbers in numbers.chunks(LONGEST) {
                    rows.extend(on!(conn, |c| tombstones::table
                        .select(TombstoneRow::as_select())
                        .filter(tombstones::route.eq(route.as_str()))
                        .filter(tombstones::repo_key.eq(repo))
                        .filter(among(tombstones::number, numbers))
                        .load(c))?);
                }
            }
            rows.sort_unstable_by_key(|row| row.id);
            rows.dedup_by_key(|row| row.id);
            rows.into_iter().map(TombstoneRow::tombstone).collect()
        })
    }

    /// Which of these pairs met a link that is there already; asked after a refusal, to name it.
    pub(super) fn refused(&self, claims: &[Claim]) -> Result<Option<StoreError>, StoreError> {
        let refusal =
            |claim: &Claim| StoreError::AlreadyLinked { task: claim.task.clone(), issue: claim.issue.clone() };
        let mut tasks = BTreeSet::new();
        let mut issues = BTreeSet::new();
        for claim in claims {
            let mut taken = !tasks.insert(&claim.task) | !issues.insert(&claim.issue);
            for key in [ItemKey::Task(claim.task.clone()), ItemKey::Issue(claim.issue.clone())] {
                taken = taken
                    || self
                        .link_of(&key)?
                        .is_some_and(|link| link.status != LinkStatus::Retired && Some(link.id) != claim.link);
            }
            if taken {
                return Ok(Some(refusal(claim)));
            }
        }
        // Neither by task nor by name: then the issue's id is linked under another name of its repository.
        Ok(claims.first().map(refusal))
    }

    /// What a record's links will hold: those it makes, and those it opens again or renames.
    pub(super) fn claims(&self, made: &[NewLink], changed: &[(LinkId, LinkChange)]) -> Result<Vec<Claim>, StoreError> {
        let ids: Vec<LinkId> = changed.iter().map(|(id, _)| *id).collect();
        let mut claims: Vec<Claim> =
            made.iter().map(|pair| Claim { link: None, task: pair.task.clone(), issue: pair.issue.clone() }).collect();
        for link in self.links_by_id(&ids)? {
            for (_, change) in changed.iter().filter(|(id, _)| *id == link.id) {
                let issue = change.issue.clone().unwrap_or_else(|| link.issue.clone());
                claims.push(Claim { link: Some(link.id), task: link.task.clone(), issue });
            }
        }
        Ok(claims)
    }
}

/// A pair that a link holds or wants to hold.
pub(super) struct Claim {
    link: Option<LinkId>,
    task: TaskGid,
    issue: IssueRef,
}

/// The name under which a route's links know a repository; where none is left, those that it let go of.
fn repo_name(conn: &mut Conn<'_>, route: &RouteName, repo_id: i64) -> Result<Option<RepoName>, Fault> {
    let name: Option<String> = on!(conn, |c| links::table
        .select(links::repo)
        .filter(links::repo_id.eq(repo_id))
        .filter(links::route.eq(route.as_str()))
        .at_most(1)
        .get_result(c)
        .optional())?;
    let name = match name {
        None if repo_id != UNKNOWN_REPO => on!(conn, |c| tombstones::table
            .select(tombstones::repo)
            .filter(tombstones::repo_id.eq(repo_id))
            .filter(tombstones::route.eq(route.as_str()))
            .at_most(1)
            .get_result(c)
            .optional())?,
        name => name,
    };
    name.map(|name: String| columns::parse(format_args!("repository {repo_id}"), &name)).transpose()
}

/// The link that holds an item and is not retired, of whatever route.
pub(super) fn live_link(conn: &mut Conn<'_>, key: &ItemKey) -> Result<Option<Link>, Fault> {
    let links = into_links(links_of(conn, key)?)?;
    Ok(links.into_iter().find(|link| link.status != LinkStatus::Retired))
}

/// On which routes these items have a link that is not retired, by the key as [`columns::key`] spells it.
pub(super) fn live_routes(conn: &mut Conn<'_>, keys: &[ItemKey]) -> Result<BTreeMap<String, RouteName>, Fault> {
    let (tasks, issues) = split(keys);
    let mut found: Vec<(String, String)> = Vec::new();
    for tasks in tasks.chunks(LONGEST) {
        let rows: Vec<(String, String)> = on!(conn, |c| links::table
            .select((links::task, links::route))
            .filter(among(links::task, tasks))
            .filter(LIVE)
            .load(c))?;
        found.extend(rows.into_iter().map(|(task, route)| (format!("asana:{task}"), route)));
    }
    for (repo, numbers) in &issues {
        for numbers in numbers.chunks(LONGEST) {
            let rows: Vec<(i64, String)> = on!(conn, |c| links::table
                .select((links::number, links::route))
                .filter(links::repo_key.eq(repo))
                .filter(among(links::number, numbers))
                .filter(LIVE)
                .load(c))?;
            found.extend(rows.into_iter().map(|(number, route)| (format!("github:{repo}#{number}"), route)));
        }
    }
    let route = |(key, route): (String, String)| {
        let route = columns::parse(format_args!("the route of {key}"), &route)?;
        Ok((key, route))
    };
    found.into_iter().map(route).collect()
}

/// All links that hold an item.
fn links_of(conn: &mut Conn<'_>, key: &ItemKey) -> Result<Vec<LinkRow>, Fault> {
    Ok(match key {
        ItemKey::Task(task) => {
            on!(conn, |c| links::table.select(LinkRow::as_select()).filter(links::task.eq(task.as_str())).load(c))?
        }
        ItemKey::Issue(issue) => {
            let Ok(number) = columns::number(issue) else { return Ok(Vec::new()) };
            on!(conn, |c| links::table
                .select(LinkRow::as_select())
                .filter(links::repo_key.eq(issue.repo.folded()))
                .filter(links::number.eq(number))
                .load(c))?
        }
    })
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = tombstones)]
struct TombstoneRow {
    id: i64,
    task: String,
    repo: String,
    number: i64,
    reason: String,
    at: i64,
}

impl TombstoneRow {
    fn tombstone(self) -> Result<Tombstone, Fault> {
        let Self { id, task, repo, number, reason, at } = self;
        let what = format_args!("tombstone {id}");
        Ok(Tombstone {
            task: columns::parse(what, &task)?,
            issue: columns::issue(what, &repo, number)?,
            reason,
            at: columns::moment(what, at)?,
        })
    }
}
