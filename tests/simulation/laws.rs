//! The laws: what must be true of every world once its troubles are over.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use evenkeel::engine::{Ended, Engine, PassOptions, Wake};
use evenkeel::model::{BySide, FieldChange, FieldPolicy, ItemKey, LinkId, LinkStatus, Side, Timestamp};
use evenkeel::store::{DeliveryFilter, EntryFilter, Origin, Store, Verified};
use evenkeel::text;
use evenkeel::workshop::Workshop;

use super::epilogue;
use super::life::WorldClock;
use super::people::{People, gift, words};
use super::replica::lock;
use super::wire::Named;
use super::world::World;

/// Judges a world in which no process is left; the first law that is broken, and how.
pub fn judge(world: &mut World) -> Option<String> {
    type Law = fn(&mut World) -> Result<(), String>;
    let laws: [Law; 16] = [
        no_panic,
        settles,
        idles,
        partners,
        made_once,
        agreement,
        kept_words,
        kept_labels,
        kept_assignees,
        closed_by_somebody,
        deliveries,
        history,
        due,
        epilogue::costs,
        epilogue::newest_stands,
        the_wire,
    ];
    laws.into_iter().find_map(|law| law(world).err())
}

/// An engine of a process that has just started, which nothing happens to.
pub fn engine(world: &World) -> Engine {
    let ground = &world.ground;
    let mut works = Workshop::new(ground.config.clone(), ground.store(), "judge".to_owned());
    works.clock = Arc::new(WorldClock(ground.turns.clone()));
    works.chance = std::sync::Mutex::new(fastrand::Rng::with_seed(ground.seed));
    works.send_through(ground.sandbox.transport());
    works.engine(&ground.config.routes[0]).expect("an engine")
}

fn no_panic(world: &mut World) -> Result<(), String> {
    match lock(&world.ground.panics).first() {
        Some(what) => Err(format!("panic: {what}")),
        None => Ok(()),
    }
}

/// Two sweeps bring everything in step, the third plans nothing.
fn settles(world: &mut World) -> Result<(), String> {
    for number in 0..4 {
        world.ground.turns.pause(Duration::from_secs(3_700));
        let report = engine(world)
            .pass(&Wake::Sweep, &PassOptions::default())
            .map_err(|error| format!("unsettled: a sweep failed: {error}"))?;
        world.tell(&format!(
            "sweep: {:?} {:?} {:?} {:?}",
            report.ended, report.counts, report.plan.left_alone, report.messages
        ));
        for repair in &report.plan.repairs {
            world.tell(&format!("  {} {:?}", repair.cause, repair.action));
        }
        world.answers();
        if number == 3 && (!report.plan.is_empty() || report.ended != Ended::Settled) {
            let first = report.plan.repairs.first().map(|repair| format!("{} {:?}", repair.cause, repair.action));
            return Err(format!("unsettled {:?}: {:?} still plans {first:?}", report.ended, report.messages));
        }
    }
    Ok(())
}

/// A poll of a route in which nothing moved asks each list once and writes nothing.
fn idles(world: &mut World) -> Result<(), String> {
    world.ground.turns.pause(Duration::from_secs(60));
    let engine = engine(world);
    let mut reports = (0..3).map(|_| engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()));
    let report = reports.next_back().expect("three").map_err(|error| format!("idle: {error}"))?;
    let BySide { tracker, forge } = report.requests;
    if !report.plan.is_empty() || tracker.sent > 1 || forge.sent > 2 || tracker.writes + forge.writes > 0 {
        return Err(format!("idle: a poll of what is in step took {:?}", report.requests));
    }
    Ok(())
}

/// No task and no issue has two partners.
fn partners(world: &mut World) -> Result<(), String> {
    let mut partners: BTreeMap<ItemKey, BTreeSet<String>> = BTreeMap::new();
    for issue in world.people.issues() {
        if let Some(marker) = text::split_forge(&issue.body).marker {
            partners.entry(marker.partner).or_default().insert(format!("issue {}", issue.number));
        }
    }
    for task in world.people.tasks() {
        let people = &world.ground.config.routes[0].rules.people;
        if let Some(marker) = text::split_tracker(&task.html_notes, people).marker {
            partners.entry(marker.partner).or_default().insert(format!("task {}", task.gid));
        }
    }
    match partners.into_iter().find(|(_, partners)| partners.len() > 1) {
        Some((key, partners)) => Err(format!("partners: {key} has several: {partners:?}")),
        None => Ok(()),
    }
}

/// Nothing was made twice for the same item: of what carries the same first title, one is there at most.
fn made_once(world: &mut World) -> Result<(), String> {
    let there: BTreeSet<Named> = world
        .people
        .tasks()
        .into_iter()
        .map(|task| Named::Task(task.gid))
        .chain(world.people.issues().into_iter().map(|issue| Named::Issue(issue.number)))
        .collect();
    for (title, items) in world.ground.watch.made_twice() {
        if items.iter().filter(|item| there.contains(item)).count() > 1 {
            return Err(format!("made twice: {title}: {items:?}"));
        }
    }
    Ok(())
}

/// The two halves of every pair there is.
fn pairs(world: &World) -> Vec<[Named; 2]> {
    let links = world.ground.store().links(None, LinkId(0), 1_000).expect("links");
    links.into_iter().map(|link| [Named::Task(link.task), Named::Issue(link.issue.number)]).collect()
}

/// A label that a person gave, and nobody took away, stands on both halves. What is deleted took its labels along.
fn kept_labels(world: &mut World) -> Result<(), String> {
    if world.ground.config.routes[0].rules.policy.labels != FieldPolicy::Both {
        return Ok(());
    }
    let tasks: BTreeMap<Named, Vec<String>> =
        world.people.tasks().into_iter().map(|task| (Named::Task(task.gid), task.tags)).collect();
    let issues: BTreeSet<Named> = world.people.issues().iter().map(|issue| Named::Issue(issue.number)).collect();
    let people = &world.people;
    let operated = world.ground.watch.operated(&["label", "Tag"]);
    let untaken = |pair: &[Named; 2]| !pair.iter().any(|half| operated.contains(half));
    for pair in pairs(world).into_iter().filter(|pair| issues.contains(&pair[1]) && untaken(pair)) {
        for (item, label) in people.labels.iter().filter(|(item, _)| pair.contains(item)) {
            let taken = pair.iter().any(|half| people.unlabelled.contains(&(half.clone(), label.clone())));
            if !taken && tasks.get(&pair[0]).is_some_and(|tags| !tags.contains(label)) {
                return Err(format!("labels: {label} that somebody gave {item:?} is not on {:?}", pair[0]));
            }
        }
    }
    Ok(())
}

/// Whom a person gave an item to, and nobody took it from, has it: by the issue, which can be several people's. Who is
/// unknown stays where they were put.
fn kept_assignees(world: &mut World) -> Result<(), String> {
    let rules = &world.ground.config.routes[0].rules;
    let people = &world.people;
    let unseeable = world.ground.watch.unseeable();
    let operated = world.ground.watch.operated(&["assignee"]);
    let untaken = |pair: &[Named; 2]| !pair.iter().any(|half| operated.contains(half));
    for pair in pairs(world).into_iter().filter(|pair| there(people, pair) && untaken(pair)) {
        for (item, who) in people.assigned.iter().filter(|(item, _)| pair.contains(item)) {
            let known = rules.people.by_name(&people.crew[*who].forge).is_some();
            let (halves, has) = match known {
                true => (&pair[..], &pair[1]),
                false => (std::slice::from_ref(item), item),
            };
            let taken = halves.iter().any(|half| people.unassigned.contains(&(half.clone(), *who)));
            if !taken && !unseeable.contains(&gift(item, *who)) && !people.assignees(has).contains(who) {
                return Err(format!("assignees: {who} whom somebody gave {item:?} has not {has:?}"));
            }
        }
    }
    Ok(())
}

/// Whether both halves of a pair are where they belong.
fn there(people: &People, pair: &[Named; 2]) -> bool {
    let tasks = people.tasks().into_iter().map(|task| Named::Task(task.gid));
    let issues = people.issues().into_iter().map(|issue| Named::Issue(issue.number));
    let all: BTreeSet<Named> = tasks.chain(issues).collect();
    pair.iter().all(|half| all.contains(half))
}

/// Nothing is closed of which nobody closed or took away a half. After a lost database what was closed counts as closed by
/// somebody: a task that was completed because its issue was deleted may get another, closed as well.
fn closed_by_somebody(world: &mut World) -> Result<(), String> {
    let issues: BTreeMap<Named, bool> =
        world.people.issues().into_iter().map(|issue| (Named::Issue(issue.number), issue.closed)).collect();
    let closed = world.ground.watch.somebody_closed();
    for pair in pairs(world) {
        let somebody = pair.iter().any(|half| closed.contains(half));
        if !somebody && issues.get(&pair[1]) == Some(&true) {
            return Err(format!("closed: {:?}, though nobody closed or took away {:?}", pair[1], pair[0]));
        }
    }
    Ok(())
}

/// Each delivery of GitHub's is kept under the one name it was sent with, and so at most once.
fn deliveries(world: &mut World) -> Result<(), String> {
    let sent: BTreeSet<String> =
        world.ground.sandbox.webhooks().sent().into_iter().filter_map(|sent| sent.guid).collect();
    let filter = DeliveryFilter { side: Some(Side::Forge), limit: 10_000, ..DeliveryFilter::default() };
    let kept = world.ground.store().deliveries(&filter).expect("deliveries");
    match kept.iter().find(|kept| kept.origin == Origin::Sent && !sent.contains(&kept.key)) {
        Some(kept) => Err(format!("deliveries: {} was kept and never sent under that name", kept.key)),
        None => Ok(()),
    }
}

/// Both halves of a pair say the same, as far as policy keeps them in step and nobody is asked.
pub fn agreement(world: &mut World) -> Result<(), String> {
    let store: Store = world.ground.store();
    let policy = world.ground.config.routes[0].rules.policy;
    let mut waits: BTreeSet<ItemKey> =
        store.parked(None).expect("parked items").into_iter().map(|due| due.item).collect();
    let route = &world.ground.config.routes[0].name;
    waits.extend(store.due(route, Timestamp::MAX, 1_000).expect("due items").into_iter().map(|due| due.item));
    let tasks: BTreeMap<String, _> =
        world.people.tasks().into_iter().map(|task| (task.gid.to_string(), task)).collect();
    let issues: BTreeMap<u64, _> = world.people.issues().into_iter().map(|issue| (issue.number, issue)).collect();
    for link in store.links(None, LinkId(0), 1_000).expect("links") {
        let waiting = !link.waiting.is_empty() || Side::BOTH.iter().any(|side| waits.contains(&link.key(*side)));
        if waiting || link.status != LinkStatus::Active {
            continue;
        }
        let (Some(task), Some(issue)) = (tasks.get(link.task.as_str()), issues.get(&link.issue.number)) else {
            continue;
        };
        // Two who make a tag at the same moment make two of one name.
        let [here, there] = [&task.tags, &issue.labels].map(|names| names.iter().collect::<BTreeSet<_>>());
        // A task has one of those who have the issue; beside a stranger nobody can tell who was taken away.
        let [one, several] =
            [Named::Task(task.gid.clone()), Named::Issue(issue.number)].map(|item| world.people.assignees(&item));
        let stranger = world.people.crew.len() - 1;
        let strangers = one.contains(&stranger) || several.contains(&stranger);
        for (field, differs) in [
            ("title", policy.title != FieldPolicy::Off && task.name != issue.title),
            ("body", policy.body != FieldPolicy::Off && words(&task.html_notes) != words(&issue.body)),
            ("status", policy.status != FieldPolicy::Off && task.completed != issue.closed),
            ("labels", policy.labels != FieldPolicy::Off && here != there),
            (
                "assignees",
                policy.assignees == FieldPolicy::Both
                    && !strangers
                    && (one.is_empty() != several.is_empty() || !one.is_subset(&several)),
            ),
        ] {
            if differs {
                return Err(format!(
                    "agreement: {} and {} differ in {field}: {task:?} {issue:?}",
                    link.task, link.issue
                ));
            }
        }
    }
    Ok(())
}

/// What a person wrote, and no person took away, is on a side or whole in the history.
fn kept_words(world: &mut World) -> Result<(), String> {
    let filter = EntryFilter { limit: 100_000, ..EntryFilter::default() };
    let mut all = world.remembered.clone();
    for entry in world.ground.store().history(&filter).expect("a history") {
        all.push_str(&spoken(&entry.entry.changes));
    }
    for task in world.people.tasks() {
        all.push_str(&format!(" {} {} ", task.name, task.html_notes));
    }
    for gid in world.people.away() {
        if let Some(task) = world.ground.sandbox.world().task(&gid) {
            all.push_str(&format!(" {} {} ", task.name, task.html_notes));
        }
    }
    for issue in world.people.issues() {
        all.push_str(&format!(" {} {} ", issue.title, issue.body));
    }
    let said: BTreeSet<String> = words(&all).into_iter().collect();
    let unseeable = world.ground.watch.unseeable();
    for _ in world.people.words.iter().filter(|word| !said.contains(*word) && unseeable.contains(*word)) {
        *world.counts.entry("words nobody could see").or_default() += 1;
    }
    match world.people.words.iter().find(|word| !said.contains(*word) && !unseeable.contains(*word)) {
        Some(word) => Err(format!("words: {word} is lost")),
        None => Ok(()),
    }
}

/// The values of changes, as text whose words can be told apart.
pub fn spoken(changes: &[FieldChange]) -> String {
    serde_json::to_string(changes).expect("JSON").replace("\\n", " ")
}

fn history(world: &mut World) -> Result<(), String> {
    match world.ground.store().verify_history().expect("a history") {
        Verified::Whole { .. } => Ok(()),
        broken @ Verified::Broken { .. } => Err(format!("history: {broken:?}")),
    }
}

/// No due item is forgotten and no intent left open.
fn due(world: &mut World) -> Result<(), String> {
    let (store, route) = (world.ground.store(), &world.ground.config.routes[0].name);
    let due = store.due(route, world.ground.turns.now(), 100).expect("due items");
    if let Some(due) = due.first() {
        return Err(format!("due: {} is forgotten: {} {:?}", due.item, due.reason, due.last_error));
    }
    match store.intents(route).expect("intents").first() {
        Some(intent) => Err(format!("due: an intent is left open: {intent:?}")),
        None => Ok(()),
    }
}

/// What was seen on the wire, and the neighbours.
fn the_wire(world: &mut World) -> Result<(), String> {
    if let Some(what) = world.ground.watch.broken().first() {
        return Err(format!("wire: {what}"));
    }
    let people = &world.people;
    let (task, issue, pull) = &people.neighbours;
    let sandbox = world.ground.sandbox.world();
    let task = sandbox.task(task).expect("the task next door");
    let issue = sandbox.issue(&people.elsewhere.1, *issue).expect("the issue next door");
    let pull = sandbox.issue(&people.name, *pull).expect("the pull request");
    let said = &people.said_next_door;
    let untouched = task.name == said.tracker
        && !task.completed
        && task.comments.is_empty()
        && task.html_notes == "<body></body>"
        && [&issue, &pull].iter().all(|issue| issue.title == said.forge && !issue.closed && issue.comments.is_empty())
        && issue.body == "Nobody links this."
        && pull.body == "A change.";
    if !untouched {
        return Err(format!("neighbours: something of theirs was touched: {task:?} {issue:?} {pull:?}"));
    }
    let (requests, writes) = world.ground.watch.counts();
    *world.counts.entry("requests").or_default() += requests.iter().sum::<u64>();
    *world.counts.entry("writes").or_default() += writes.iter().sum::<u64>();
    *world.counts.entry("commands").or_default() += world.operator.done();
    *world.counts.entry("starts").or_default() += world.replicas.iter().map(|replica| replica.starts()).sum::<u64>();
    Ok(())
}
