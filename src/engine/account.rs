//! What a pass did, in words and as log lines: for the service and for commands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Counts, Ended, Progress, Report};
use crate::clock::lock;
use crate::model::{BySide, ItemKey, PassId, RouteName, Side};
use crate::reconcile::{Action, Repair, Write};
use crate::store::{Due, Store};

/// What was done, in words.
pub fn tally(counts: &Counts, ended: Ended) -> String {
    let Counts { created, joined, updated, retired, noted, waiting: _, again, parked: _, skipped, unheard: _ } =
        *counts;
    let parts: Vec<String> = [
        (created, "created"),
        (joined, "joined"),
        (updated, "updated"),
        (retired, "retired"),
        (noted, "noted"),
        (again, "to be tried again"),
        (skipped, "left alone"),
    ]
    .into_iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, word)| format!("{number} {word}"))
    .collect();
    match parts.is_empty() {
        false => parts.join(", "),
        // Of a pass that did not come to its end nobody knows what there was to do.
        true if matches!(ended, Ended::Settled | Ended::Drift) => "nothing to do".to_owned(),
        true => "nothing done".to_owned(),
    }
}

/// One line for one repair, with both ids and the pass. A created partner's id is looked up: the plan
/// could not know it.
fn log_repair(
    route: &RouteName,
    store: &Store,
    pass: PassId,
    repair: &Repair,
    request: Option<&str>,
    done: Result<(), &str>,
) {
    let level = if done.is_ok() { log::Level::Info } else { log::Level::Warn };
    let mut items = repair.items.clone().map(|item| item.map(|item| item.to_string()));
    if matches!(repair.action, Action::Create { .. })
        && let Some(subject) = repair.subject()
        // Only for the line: a database that fails here fails the pass by itself. Whoever listens or not, it is asked, so
        // that a simulated world goes the same way with its log as without.
        && let Ok(Some(link)) = store.link_of(subject)
    {
        items = BySide::from_fn(|side| Some(link.key(side).to_string()));
    }
    let [task, issue] = Side::BOTH.map(|side| items[side].as_deref().unwrap_or("-"));
    let what = outline(repair);
    let failed = done.err().map(|why| format!(": failed: {why}")).unwrap_or_default();
    match request {
        Some(request) => log::log!(
            level, route = route.as_str(), pass = pass.0, task, issue, request;
            "route {route} pass {pass}: {task} <-> {issue}: {what}{failed} (request {request})"
        ),
        None => log::log!(
            level, route = route.as_str(), pass = pass.0, task, issue;
            "route {route} pass {pass}: {task} <-> {issue}: {what}{failed}"
        ),
    }
}

/// What a repair does, in a few words and without anybody's text: `github title, status`.
pub fn outline(repair: &Repair) -> String {
    let fields = |write: &Write| {
        let fields: Vec<&str> = write.fields.iter().map(|change| change.field.as_str()).collect();
        format!("{} {}", write.item.side().service(), fields.join(", "))
    };
    match &repair.action {
        Action::Create { from, .. } => format!("create on {}", from.side().opposite().service()),
        Action::Join { writes, .. } | Action::Update { writes, .. } => {
            let word = if matches!(repair.action, Action::Join { .. }) { "join" } else { "update" };
            let sides: Vec<String> = writes.iter().filter_map(|(_, write)| write.as_ref()).map(fields).collect();
            format!("{word} {}", sides.join(" and ")).trim_end().to_owned()
        }
        Action::Retire { gone, .. } => format!("retire on {}: {}", gone.opposite().service(), repair.cause),
        Action::Note { status, .. } => format!("note {status}"),
    }
}

/// One line for one pass.
pub fn log_pass(report: &Report, took: Duration, level: log::Level) {
    log_pass_for(report, took, level, None);
}

/// The same for a pass that a call asked for: the line names it.
pub fn log_asked_pass(report: &Report, took: Duration, request: &str) {
    log_pass_for(report, took, log::Level::Info, Some(request));
}

fn log_pass_for(report: &Report, took: Duration, level: log::Level, request: Option<&str>) {
    let Report { pass, route, kind, ended, counts, requests, messages, plan: _ } = report;
    let ended_word = ended.as_str();
    let said = messages.first().map(|message| format!(": {message}")).unwrap_or_default();
    log::log!(
        level,
        route = route.as_str(), pass = pass.0, kind = *kind, outcome = ended_word,
        created = counts.created, joined = counts.joined, updated = counts.updated, retired = counts.retired,
        waiting = counts.waiting, again = counts.again, parked = counts.parked,
        asana_requests = requests.tracker.sent, github_requests = requests.forge.sent,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX), request;
        "route {route} pass {pass}: {kind} {ended_word}: {}; asana {}, github {} requests{said}{}",
        tally(counts, *ended), requests.tracker.sent, requests.forge.sent, named(request)
    );
}

/// How a line ends that a call caused.
fn named(request: Option<&str>) -> String {
    request.map(|request| format!(" (request {request})")).unwrap_or_default()
}

/// A line this often where nothing else shows how a pass gets on...
const LINE_EVERY: Duration = Duration::from_secs(10);
/// ...or after so many repairs.
const LINE_REPAIRS: u64 = 100;

/// Tells the log how one pass gets on: a line for each repair, and one now and then for how far it is.
pub struct Narrator {
    route: RouteName,
    store: Store,
    /// Whether it says how far the pass is.
    says_how_far: bool,
    seen: BySide<AtomicU64>,
    planned: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    told: Mutex<Told>,
    /// The call that asked for the whole pass.
    request: Option<String>,
    /// In the name of which request an item is visited.
    asked: Mutex<BTreeMap<ItemKey, String>>,
}

/// When and at which repair the last line was written.
struct Told {
    at: Instant,
    repairs: u64,
    began: Option<Instant>,
}

impl Narrator {
    /// For a pass over `route`; `says_how_far` where no bar shows it.
    pub fn new(route: RouteName, store: Store, says_how_far: bool) -> Self {
        Self {
            route,
            store,
            says_how_far,
            seen: BySide::from_fn(|_| AtomicU64::new(0)),
            planned: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            told: Mutex::new(Told { at: Instant::now(), repairs: 0, began: None }),
            request: None,
            asked: Mutex::default(),
        }
    }

    /// For a pass that a call asked for: its lines name it.
    #[must_use]
    pub fn on_request(mut self, request: &str) -> Self {
        self.request = Some(request.to_owned());
        self
    }

    /// The requests in whose name items were visited, each once.
    pub fn requests(&self) -> BTreeSet<String> {
        lock(&self.asked).values().cloned().collect()
    }

    /// Items read so far on each side.
    pub fn seen(&self) -> BySide<u64> {
        BySide::from_fn(|side| self.seen[side].load(Ordering::Relaxed))
    }

    /// Repairs that came to an end, done or failed.
    pub fn ended(&self) -> u64 {
        self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }

    /// Repairs that were planned and came to no end, neither done nor failed.
    pub fn left(&self) -> u64 {
        self.planned.load(Ordering::Relaxed).saturating_sub(self.ended())
    }

    /// A log line now and then; `repairs` is how many came to an end.
    fn tell(&self, repairs: u64) {
        if !self.says_how_far {
            return;
        }
        let now = Instant::now();
        let mut told = lock(&self.told);
        if now.duration_since(told.at) < LINE_EVERY && repairs.saturating_sub(told.repairs) < LINE_REPAIRS {
            return;
        }
        (told.at, told.repairs) = (now, repairs);
        let planned = self.planned.load(Ordering::Relaxed);
        if planned == 0 {
            let BySide { tracker: tasks, forge: issues } = self.seen();
            let (route, asked) = (&self.route, named(self.request.as_deref()));
            log::info!(route = route.as_str(); "route {route}: {tasks} tasks and {issues} issues read so far{asked}");
            return;
        }
        let left = told.began.and_then(|began| time_left(now.duration_since(began), repairs, planned));
        let left = left.map(|left| format!(", about {} left", spoken(left))).unwrap_or_default();
        let (route, asked) = (&self.route, named(self.request.as_deref()));
        log::info!(route = route.as_str(), done = repairs, planned; "route {route}: {repairs} of {planned} repairs{left}{asked}");
    }
}

impl Progress for Narrator {
    fn heard(&self, dues: &[Due]) {
        let asked = dues.iter().filter_map(|due| Some((due.item.clone(), due.request.clone()?)));
        lock(&self.asked).extend(asked);
    }

    fn observed(&self, side: Side, items: u64) {
        self.seen[side].store(items, Ordering::Relaxed);
        self.tell(0);
    }

    fn planned(&self, repairs: usize) {
        self.planned.store(u64::try_from(repairs).unwrap_or(u64::MAX), Ordering::Relaxed);
        lock(&self.told).began = Some(Instant::now());
    }

    fn repaired(&self, pass: PassId, repair: &Repair, done: Result<(), &str>) {
        let counter = if done.is_ok() { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let request = self.request.clone().or_else(|| {
            let asked = lock(&self.asked);
            repair.items.iter().find_map(|(_, item)| asked.get(item.as_ref()?).cloned())
        });
        log_repair(&self.route, &self.store, pass, repair, request.as_deref(), done);
        self.tell(self.ended());
    }
}

/// The time left at the rate so far.
fn time_left(taken: Duration, done: u64, planned: u64) -> Option<Duration> {
    let rest = planned.checked_sub(done)?;
    let each = taken.as_secs_f64() / f64::from(u32::try_from(done).ok().filter(|done| *done > 0)?);
    Duration::try_from_secs_f64(each * f64::from(u32::try_from(rest).ok()?)).ok()
}

/// `40 s`, `12 min`, `3 h 20 min`.
fn spoken(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_the_rate_so_far() {
        assert_eq!(time_left(Duration::from_secs(10), 5, 20), Some(Duration::from_secs(30)));
        assert_eq!(time_left(Duration::from_secs(10), 0, 20), None);
        assert_eq!(time_left(Duration::from_secs(10), 20, 5), None);
        assert_eq!(spoken(Duration::from_secs(12_000)), "3 h 20 min");
    }
}
