//! What is true of an edit in a world that has come to rest: what it costs, and whose stands when two were made.

use std::time::Duration;

use evenkeel::engine::{Engine, PassOptions, Report, Wake};
use evenkeel::model::{BySide, FieldPolicy, Link, LinkId, LinkStatus, OnConflict, Side};

use super::laws::engine;
use super::wire::Named;
use super::world::World;

/// An edit of a title costs a poll: what shows that something moved, a read of each half, and one write.
///
/// Asana: the events and the task. GitHub: the list, the issue, and before a write to it the same again.
pub fn costs(world: &mut World) -> Result<(), String> {
    for side in Side::BOTH {
        let Some(pair) = quiet_pair(world, side) else { continue };
        let engine = engine(world);
        poll(world, &engine)?;
        let idle = engine_counts(&poll(world, &engine)?);
        world.people.retitle(&half(&pair, side));
        let report = poll(world, &engine)?;
        let titles = titles(world, &pair);
        if titles[0] != titles[1] {
            return Err(format!("costs: an edit on {side:?} did not arrive with the next poll: {titles:?}"));
        }
        // After a rename each engine follows redirects anew, and what names the repository is written again.
        if world.people.name != world.ground.config.routes[0].repo {
            continue;
        }
        let asked = engine_counts(&report);
        let most = match side {
            Side::Tracker => BySide { tracker: (2, 0), forge: (4, 1) },
            Side::Forge => BySide { tracker: (3, 1), forge: (3, 0) },
        };
        for place in Side::BOTH {
            if asked[place].0 > most[place].0 || asked[place].1 > most[place].1 {
                return Err(format!(
                    "costs: an edit on {side:?} took {asked:?} of {most:?}; and an idle poll {idle:?}"
                ));
            }
        }
        let echo = engine_counts(&poll(world, &engine)?);
        if echo.tracker.1 + echo.forge.1 > 0 {
            return Err(format!("costs: the echo of our own write was answered by a write: {echo:?}"));
        }
    }
    Ok(())
}

/// Where the newest edit wins, the one that was made last stands on both sides.
pub fn newest_stands(world: &mut World) -> Result<(), String> {
    let rules = &world.ground.config.routes[0].rules;
    if rules.on_conflict != OnConflict::Newest || rules.policy.title != FieldPolicy::Both {
        return Ok(());
    }
    let Some(pair) = quiet_pair(world, Side::Tracker) else { return Ok(()) };
    let engine = engine(world);
    let last = if world.ground.seed.is_multiple_of(2) { Side::Tracker } else { Side::Forge };
    for side in [last.opposite(), last] {
        // Further apart than a second, which is all that GitHub's times tell.
        world.ground.turns.pause(Duration::from_secs(5));
        world.people.retitle(&half(&pair, side));
    }
    let wanted = titles(world, &pair)[usize::from(last == Side::Forge)].clone();
    poll(world, &engine)?;
    let now = titles(world, &pair);
    if now.iter().any(|title| *title != wanted) {
        return Err(format!("newest: {wanted} was written last, on {last:?}, and they show {now:?}"));
    }
    Ok(())
}

/// A pair that nobody waits for, whose title may cross over from a side.
fn quiet_pair(world: &World, from: Side) -> Option<Link> {
    let allowed = matches!(
        (world.ground.config.routes[0].rules.policy.title, from),
        (FieldPolicy::Both, _) | (FieldPolicy::Tracker, Side::Tracker) | (FieldPolicy::Forge, Side::Forge)
    );
    let store = world.ground.store();
    let waits: Vec<_> = store.parked(None).expect("parked items").into_iter().map(|due| due.item).collect();
    let open = |pair: &Link| {
        let task = world.people.tasks().into_iter().find(|task| task.gid == pair.task);
        let issue = world.people.issues().into_iter().find(|issue| issue.number == pair.issue.number);
        task.is_some_and(|task| !task.completed) && issue.is_some_and(|issue| !issue.closed)
    };
    let mut links = store.links(None, LinkId(0), 1_000).expect("links").into_iter().filter(|_| allowed);
    links.find(|link| {
        link.status == LinkStatus::Active
            && link.waiting.is_empty()
            && !Side::BOTH.iter().any(|side| waits.contains(&link.key(*side)))
            && open(link)
    })
}

fn half(pair: &Link, side: Side) -> Named {
    match side {
        Side::Tracker => Named::Task(pair.task.clone()),
        Side::Forge => Named::Issue(pair.issue.number),
    }
}

fn titles(world: &World, pair: &Link) -> [String; 2] {
    let task = world.people.tasks().into_iter().find(|task| task.gid == pair.task).map(|task| task.name);
    let issue = world.people.issues().into_iter().find(|issue| issue.number == pair.issue.number);
    [task.unwrap_or_default(), issue.map(|issue| issue.title).unwrap_or_default()]
}

fn poll(world: &World, engine: &Engine) -> Result<Report, String> {
    world.ground.turns.pause(Duration::from_secs(60));
    let wake = Wake::Poll { belt: false };
    engine.pass(&wake, &PassOptions::default()).map_err(|error| format!("epilogue: {error}"))
}

/// Requests, and writes among them.
fn engine_counts(report: &Report) -> BySide<(u64, u64)> {
    BySide {
        tracker: (report.requests.tracker.sent, report.requests.tracker.writes),
        forge: (report.requests.forge.sent, report.requests.forge.writes),
    }
}
