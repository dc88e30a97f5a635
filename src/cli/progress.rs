//! How a pass gets on, for whoever watches: a bar with rate and time left on a terminal, log lines elsewhere.

use std::io::{IsTerminal as _, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Context;
use crate::clock::lock;
use crate::engine::{Progress, Report};
use crate::model::{BySide, PassId, RouteName, Side};
use crate::reconcile::{Action, Repair, Write as Edit};
use crate::store::Store;
use crate::trigger::Heart;

/// A line this often where there is no bar...
const LINE_EVERY: Duration = Duration::from_secs(10);
/// ...or after so many repairs.
const LINE_REPAIRS: u64 = 100;

/// The bar on the terminal, if there is one: log lines step around it, whoever writes them.
static PRESENT: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Standard error for the logger.
pub struct AroundBar;

impl Write for AroundBar {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let bar = lock(&PRESENT).clone();
        match bar {
            Some(bar) => bar.suspend(|| std::io::stderr().write(bytes)),
            None => std::io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Watches one pass: shows it, and logs one line per repair.
pub struct Watched {
    route: RouteName,
    store: Store,
    bar: Option<ProgressBar>,
    heart: Option<Heart>,
    seen: BySide<AtomicU64>,
    planned: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
    told: Mutex<Told>,
}

/// When and at which repair the last line was written.
struct Told {
    at: Instant,
    repairs: u64,
    began: Option<Instant>,
}

impl Watched {
    /// For a command that a person waits for: with a bar if standard error is a terminal and no log lines
    /// were asked for, which would tear it.
    pub fn new(context: &Context, route: &RouteName) -> Arc<Self> {
        let bar = std::io::stderr().is_terminal() && context.loudness == 0;
        Self::over(context.store.clone(), route.clone(), bar, None)
    }

    /// For the service: log lines only, and a heart that beats with every page and repair.
    pub fn quietly(store: Store, route: RouteName, heart: Heart) -> Arc<Self> {
        Self::over(store, route, false, Some(heart))
    }

    fn over(store: Store, route: RouteName, bar: bool, heart: Option<Heart>) -> Arc<Self> {
        let bar = bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.set_message("looking at both sides");
            *lock(&PRESENT) = Some(bar.clone());
            bar
        });
        Arc::new(Self {
            route,
            store,
            bar,
            heart,
            seen: BySide::from_fn(|_| AtomicU64::new(0)),
            planned: AtomicU64::new(0),
            done: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            told: Mutex::new(Told { at: Instant::now(), repairs: 0, began: None }),
        })
    }

    fn beat(&self) {
        if let Some(heart) = &self.heart {
            heart.beat();
        }
    }

    /// Takes the bar away, so that what follows stands alone.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            *lock(&PRESENT) = None;
        }
    }

    /// Repairs that were planned and came to no end, neither done nor failed.
    pub fn left(&self) -> u64 {
        let ended = self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        self.planned.load(Ordering::Relaxed).saturating_sub(ended)
    }

    /// A log line now and then where there is no bar; `repairs` is how many came to an end.
    fn tell(&self, repairs: u64) {
        let now = Instant::now();
        let mut told = lock(&self.told);
        if now.duration_since(told.at) < LINE_EVERY && repairs.saturating_sub(told.repairs) < LINE_REPAIRS {
            return;
        }
        (told.at, told.repairs) = (now, repairs);
        let planned = self.planned.load(Ordering::Relaxed);
        if planned == 0 {
            let [tasks, issues] = Side::BOTH.map(|side| self.seen[side].load(Ordering::Relaxed));
            log::info!(route = self.route.as_str(); "route {}: {tasks} tasks and {issues} issues read so far", self.route);
            return;
        }
        let left = told.began.and_then(|began| time_left(now.duration_since(began), repairs, planned));
        let left = left.map(|left| format!(", about {} left", spoken(left))).unwrap_or_default();
        log::info!(route = self.route.as_str(), done = repairs, planned; "route {}: {repairs} of {planned} repairs{left}", self.route);
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

impl Progress for Watched {
    fn observed(&self, side: Side, items: u64) {
        self.beat();
        self.seen[side].store(items, Ordering::Relaxed);
        match &self.bar {
            Some(bar) => {
                let [tasks, issues] = Side::BOTH.map(|side| self.seen[side].load(Ordering::Relaxed));
                bar.set_message(format!("looking at both sides: {tasks} tasks, {issues} issues"));
                bar.tick();
            }
            None => self.tell(0),
        }
    }

    fn planned(&self, repairs: usize) {
        let repairs = u64::try_from(repairs).unwrap_or(u64::MAX);
        self.planned.store(repairs, Ordering::Relaxed);
        lock(&self.told).began = Some(Instant::now());
        if repairs == 0 {
            self.clear();
        } else if let Some(bar) = &self.bar {
            if let Ok(style) =
                ProgressStyle::with_template("{bar:30} {pos}/{len} repairs  {rate}  {eta} left  {wide_msg}")
            {
                bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    // Four decimals, as the bar's own key shows them, jump about and say nothing.
                    let _ = write!(out, "{:.1}/s", state.per_sec());
                }));
            }
            bar.set_length(repairs);
            bar.set_message("");
            bar.reset();
        }
    }

    fn repaired(&self, pass: PassId, repair: &Repair, done: Result<(), &str>) {
        self.beat();
        let counter = if done.is_ok() { &self.done } else { &self.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        let ended = self.done.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        if let Some(bar) = &self.bar {
            bar.set_position(ended);
        }
        let level = if done.is_ok() { log::Level::Info } else { log::Level::Warn };
        if log::log_enabled!(level) {
            log_repair(&self.route, &self.store, pass, repair, done);
        }
        if self.bar.is_none() {
            self.tell(ended);
        }
    }
}

/// One line for one repair, with both ids and the pass. A created partner's id is looked up: the plan
/// could not know it.
fn log_repair(route: &RouteName, store: &Store, pass: PassId, repair: &Repair, done: Result<(), &str>) {
    let mut items = repair.items.clone().map(|item| item.map(|item| item.to_string()));
    if matches!(repair.action, Action::Create { .. })
        && let Some(subject) = repair.subject()
        // Only for the log line: a database that fails here fails the pass by itself.
        && let Ok(Some(link)) = store.link_of(subject)
    {
        items = BySide::from_fn(|side| Some(link.key(side).to_string()));
    }
    let [task, issue] = Side::BOTH.map(|side| items[side].as_deref().unwrap_or("-"));
    let what = outline(repair);
    match done {
        Ok(()) => log::info!(
            route = route.as_str(), pass = pass.0, task, issue;
            "route {route} pass {pass}: {task} <-> {issue}: {what}"
        ),
        Err(why) => log::warn!(
            route = route.as_str(), pass = pass.0, task, issue;
            "route {route} pass {pass}: {task} <-> {issue}: {what}: failed: {why}"
        ),
    }
}

/// What a repair does, in a few words and without anybody's text: `github title, status`.
pub fn outline(repair: &Repair) -> String {
    let fields = |write: &Edit| {
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
    let Report { pass, route, kind, ended, counts, requests, messages, plan: _ } = report;
    let ended_word = ended.as_str();
    let said = messages.first().map(|message| format!(": {message}")).unwrap_or_default();
    log::log!(
        level,
        route = route.as_str(), pass = pass.0, kind = *kind, outcome = ended_word,
        created = counts.created, joined = counts.joined, updated = counts.updated, retired = counts.retired,
        waiting = counts.waiting, again = counts.again, parked = counts.parked,
        asana_requests = requests.tracker.sent, github_requests = requests.forge.sent,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        "route {route} pass {pass}: {kind} {ended_word}: {}; asana {}, github {} requests{said}",
        super::run::tally(counts, *ended), requests.tracker.sent, requests.forge.sent
    );
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
