//! Links made, changed, renamed and unmade, inside a record's transaction.

use std::collections::{BTreeMap, BTreeSet};

use diesel::prelude::*;

use super::{CHUNK, LIVE};
use crate::model::{BySide, ItemKey, LinkId, LinkStatus, ProjectGid, RepoName, RouteName, Timestamp};
use crate::store::among::among;
use crate::store::backend::{Conn, on};
use crate::store::error::Fault;
use crate::store::schema::{intents, links, tombstones};
use crate::store::verbatim::KeptDsl;
use crate::store::{LinkChange, NewLink, StoreError, UNKNOWN_REPO, columns, dues};

#[derive(Insertable)]
#[diesel(table_name = links, treat_none_as_default_value = false)]
struct LinkInsert<'a> {
    route: &'a str,
    task: &'a str,
    project: Option<&'a str>,
    repo: &'a str,
    repo_key: String,
    number: i64,
    repo_id: i64,
    issue_id: i64,
    issue_node_id: &'a str,
    status: &'a str,
    seen_tracker: Option<&'a str>,
    seen_forge: Option<&'a str>,
    created_at: i64,
    updated_at: i64,
    waiting: Option<String>,
    base: Option<String>,
}

/// Makes pairs and answers their ids in the order asked. A tombstone of the very same pair is lifted.
///
/// The route's links know a repository by one name, and a new name is given to all of them together. So a pair that is
/// made gets the name that the others have, whatever name it was seen under: another step may have renamed them since.
pub(in crate::store) fn insert(
    conn: &mut Conn<'_>,
    route: &RouteName,
    pairs: &[NewLink],
    now: Timestamp,
) -> Result<Vec<LinkId>, Fault> {
    let mut ids = Vec::with_capacity(pairs.len());
    let names = names(conn, route, pairs)?;
    for pairs in pairs.chunks(CHUNK) {
        let rows = pairs.iter().map(|pair| link_insert(route, pair, &names, now)).collect::<Result<Vec<_>, Fault>>()?;
        on!(conn, |c| diesel::insert_into(links::table).values(&rows).execute(c))?;
        let tasks: Vec<&str> = rows.iter().map(|row| row.task).collect();
        // Neither database promises the order of what a batch returns, so the ids are asked for by task.
        let made: Vec<(String, i64)> = on!(conn, |c| links::table
            .select((links::task, links::id))
            .filter(among(links::task, &tasks))
            .filter(LIVE)
            .load(c))?;
        let made: BTreeMap<String, i64> = made.into_iter().collect();
        for task in &tasks {
            let id =
                made.get(*task).ok_or_else(|| Fault::garbled(format_args!("the link of {task}"), "it is not there"))?;
            ids.push(LinkId(*id));
        }
        lift(conn, route, &rows)?;
    }
    Ok(ids)
}

/// Keeps pairs as retired, with the names that [`insert`] gives.
pub(in crate::store) fn remember(
    conn: &mut Conn<'_>,
    route: &RouteName,
    pairs: &[NewLink],
    now: Timestamp,
) -> Result<(), Fault> {
    let names = names(conn, route, pairs)?;
    for pairs in pairs.chunks(CHUNK) {
        let retired = |pair| {
            link_insert(route, pair, &names, now).map(|row| LinkInsert { status: LinkStatus::Retired.as_str(), ..row })
        };
        let rows = pairs.iter().map(retired).collect::<Result<Vec<_>, Fault>>()?;
        on!(conn, |c| diesel::insert_into(links::table).values(&rows).execute(c))?;
    }
    Ok(())
}

/// The names under which the route's links know the repositories of these pairs, by id.
fn names(conn: &mut Conn<'_>, route: &RouteName, pairs: &[NewLink]) -> Result<BTreeMap<i64, RepoName>, Fault> {
    let mut names = BTreeMap::new();
    let repos: BTreeSet<i64> = pairs.iter().map(|pair| pair.repo_id).filter(|id| *id != UNKNOWN_REPO).collect();
    for repo in repos {
        if let Some(name) = super::repo_name(conn, route, repo)? {
            names.insert(repo, name);
        }
    }
    Ok(names)
}

fn link_insert<'a>(
    route: &'a RouteName,
    pair: &'a NewLink,
    names: &'a BTreeMap<i64, RepoName>,
    now: Timestamp,
) -> Result<LinkInsert<'a>, Fault> {
    let NewLink { task, project, issue, repo_id, issue_id, issue_node_id, base, seen, waiting } = pair;
    let repo = names.get(repo_id).unwrap_or(&issue.repo);
    Ok(LinkInsert {
        route: route.as_str(),
        task: task.as_str(),
        project: project.as_ref().map(ProjectGid::as_str),
        repo: repo.as_str(),
        repo_key: repo.folded(),
        number: columns::number(issue)?,
        repo_id: *repo_id,
        issue_id: *issue_id,
        issue_node_id,
        status: LinkStatus::Active.as_str(),
        seen_tracker: seen.tracker.as_ref().map(|seen| seen.0.as_str()),
        seen_forge: seen.forge.as_ref().map(|seen| seen.0.as_str()),
        created_at: columns::millis(now),
        updated_at: columns::millis(now),
        waiting: waiting_json(waiting)?,
        base: base.as_ref().map(|base| columns::to_json("a base", base)).transpose()?,
    })
}

/// Waiting fields as kept: nothing at all when none waits.
fn waiting_json<T: serde::Serialize, K: Ord + serde::Serialize>(
    waiting: &BTreeMap<K, T>,
) -> Result<Option<String>, Fault> {
    if waiting.is_empty() { Ok(None) } else { columns::to_json("waiting fields", waiting).map(Some) }
}

/// Removes the tombstones of pairs that a person links again.
fn lift(conn: &mut Conn<'_>, route: &RouteName, rows: &[LinkInsert<'_>]) -> Result<(), Fault> {
    let tasks: Vec<&str> = rows.iter().map(|row| row.task).collect();
    let standing: Vec<(i64, String, String, i64)> = on!(conn, |c| tombstones::table
        .select((tombstones::id, tombstones::task, tombstones::repo_key, tombstones::number))
        .filter(tombstones::route.eq(route.as_str()))
        .filter(among(tombstones::task, &tasks))
        .load(c))?;
    let again: Vec<i64> = standing
        .into_iter()
        .filter(|(_, task, repo, number)| {
            rows.iter().any(|row| row.task == task && row.repo_key == *repo && row.number == *number)
        })
        .map(|(id, ..)| id)
        .collect();
    if !again.is_empty() {
        on!(conn, |c| diesel::delete(tombstones::table.filter(tombstones::id.eq_any(&again))).execute(c))?;
    }
    Ok(())
}

/// What of a row changes; `None` leaves a column, `Some(None)` empties it.
#[derive(AsChangeset)]
#[diesel(table_name = links)]
struct LinkUpdate {
    base: Option<String>,
    seen_tracker: Option<Option<String>>,
    seen_forge: Option<Option<String>>,
    status: Option<&'static str>,
    waiting: Option<Option<String>>,
    repo: Option<String>,
    repo_key: Option<String>,
    number: Option<i64>,
    updated_at: i64,
}

/// Changes a row of this route; one that is not there is an error.
pub(in crate::store) fn update(
    conn: &mut Conn<'_>,
    route: &RouteName,
    id: LinkId,
    change: &LinkChange,
    now: Timestamp,
) -> Result<(), Fault> {
    let LinkChange { base, seen, status, waiting, issue } = change;
    let (seen_tracker, seen_forge) = match seen {
        Some(BySide { tracker, forge }) => {
            (Some(tracker.as_ref().map(|seen| seen.0.clone())), Some(forge.as_ref().map(|seen| seen.0.clone())))
        }
        None => (None, None),
    };
    let row = LinkUpdate {
        base: base.as_ref().map(|base| columns::to_json("a base", base)).transpose()?,
        seen_tracker,
        seen_forge,
        status: status.map(LinkStatus::as_str),
        waiting: waiting.as_ref().map(waiting_json).transpose()?,
        repo: issue.as_ref().map(|issue| issue.repo.as_str().to_owned()),
        repo_key: issue.as_ref().map(|issue| issue.repo.folded()),
        number: issue.as_ref().map(columns::number).transpose()?,
        updated_at: columns::millis(now),
    };
    let one = links::table.filter(links::id.eq(id.0)).filter(links::route.eq(route.as_str()));
    let changed: Option<i64> =
        on!(conn, |c| diesel::update(one).set(&row).returning(links::id).kept().get_result(c).optional())?;
    if changed.is_some() { Ok(()) } else { Err(missing(route, id)) }
}

/// Gives everything of a repository on a route its new name: links, those among them that know it by name alone, pairs
/// that must not be made again, open creations and due items. Markers stay, for what was made carries them so.
pub(in crate::store) fn rename(
    conn: &mut Conn<'_>,
    route: &RouteName,
    repo_id: i64,
    name: &RepoName,
    now: Timestamp,
) -> Result<(), Fault> {
    // All of them have one name: they follow every rename together.
    let before = super::repo_name(conn, route, repo_id)?.map(|before| before.folded());
    let Some(before) = before.filter(|before| *before != name.folded()) else { return Ok(()) };
    let by_name = links::repo_id.eq(UNKNOWN_REPO).and(links::repo_key.eq(&before));
    let own = links::table.filter(links::route.eq(route.as_str())).filter(links::repo_id.eq(repo_id).or(by_name));
    on!(conn, |c| diesel::update(own)
        .set((
            links::repo.eq(name.as_str()),
            links::repo_key.eq(name.folded()),
            links::repo_id.eq(repo_id),
            links::updated_at.eq(columns::millis(now))
        ))
        .execute(c))?;
    let stones =
        tombstones::table.filter(tombstones::route.eq(route.as_str())).filter(tombstones::repo_key.eq(&before));
    on!(conn, |c| diesel::update(stones)
        .set((
            tombstones::repo.eq(name.as_str()),
            tombstones::repo_key.eq(name.folded()),
            tombstones::repo_id.eq(repo_id)
        ))
        .execute(c))?;
    let sources: Vec<(i64, String, String)> = on!(conn, |c| intents::table
        .select((intents::id, intents::kind, intents::source_key))
        .filter(intents::route.eq(route.as_str()))
        .load(c))?;
    let taken: BTreeSet<(String, String)> = sources.iter().map(|(_, kind, key)| (kind.clone(), key.clone())).collect();
    for (id, kind, key) in sources {
        let Some(item) = renamed(&key, &before, name)? else { continue };
        let key = columns::key(&item);
        if !taken.contains(&(kind, key.clone())) {
            let one = intents::table.find(id);
            on!(conn, |c| diesel::update(one)
                .set((intents::source.eq(item.to_string()), intents::source_key.eq(&key)))
                .execute(c))?;
        }
    }
    dues::rename(conn, route, &|key| renamed(key, &before, name))
}

/// An issue as it is called after its repository was renamed, if the key is one of that repository.
fn renamed(key: &str, before: &str, name: &RepoName) -> Result<Option<ItemKey>, Fault> {
    let number = key.strip_prefix("github:").and_then(|rest| rest.strip_prefix(before)?.strip_prefix('#'));
    number.map(|number| columns::parse(format_args!("the item {key}"), &format!("github:{name}#{number}"))).transpose()
}

#[derive(Insertable)]
#[diesel(table_name = tombstones)]
struct TombstoneInsert<'a> {
    route: &'a str,
    task: &'a str,
    repo: &'a str,
    repo_key: &'a str,
    number: i64,
    reason: String,
    at: i64,
    repo_id: i64,
}

/// Unmakes a pair of this route and leaves a tombstone; one that is not there is an error.
pub(in crate::store) fn remove(
    conn: &mut Conn<'_>,
    route: &RouteName,
    id: LinkId,
    reason: &str,
    now: Timestamp,
) -> Result<(), Fault> {
    let found: Option<(String, String, String, i64, i64)> = on!(conn, |c| links::table
        .select((links::task, links::repo, links::repo_key, links::number, links::repo_id))
        .filter(links::id.eq(id.0))
        .filter(links::route.eq(route.as_str()))
        .get_result(c)
        .optional())?;
    let (task, repo, repo_key, number, repo_id) = found.ok_or_else(|| missing(route, id))?;
    on!(conn, |c| diesel::delete(links::table.filter(links::id.eq(id.0))).execute(c))?;
    let row = TombstoneInsert {
        route: route.as_str(),
        task: &task,
        repo: &repo,
        repo_key: &repo_key,
        number,
        reason: columns::clean(reason),
        at: columns::millis(now),
        repo_id,
    };
    on!(conn, |c| diesel::insert_into(tombstones::table)
        .values(&row)
        .on_conflict((tombstones::route, tombstones::task, tombstones::repo_key, tombstones::number))
        .do_update()
        .set((tombstones::reason.eq(&row.reason), tombstones::at.eq(row.at), tombstones::repo_id.eq(repo_id)))
        .execute(c))?;
    Ok(())
}

fn missing(route: &RouteName, id: LinkId) -> Fault {
    Fault::Told(StoreError::Failed {
        doing: format!("route {route}: changing link {id}"),
        why: "no such link in this route; look again".to_owned(),
    })
}
