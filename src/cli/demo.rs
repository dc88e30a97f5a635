//! `demo`: the real engine over real HTTP against the sandbox, from a believable project to two sides in step.

mod live;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::args::{DemoArgs, Global};
use super::output::{BOLD, CYAN, DIM, GREEN, RED, YELLOW, columns, count, cut, paint, paragraph};
use super::{Context, Exit, Failure, Output, plan, run, setup};
use crate::clock::{Clock, Stop, SystemClock, lock};
use crate::config::{Config, Route};
use crate::engine::{Report, Wake, account};
use crate::model::{BySide, Item, LinkId, LinkStatus, People, Side, Status};
use crate::provider::Requests;
use crate::reconcile::{Allowance, Plan, view};
use crate::sandbox::{Sandbox, Served};
use crate::store::Store;
use live::{Arrival, Live};
use world::World;

/// The same world every time.
const SEED: u64 = 20_261_120;

/// How long ago the first pass was: within the day for which Asana's sync tokens are good.
const YESTERDAY: SignedDuration = SignedDuration::from_hours(-20);
/// How long ago people changed things.
const LATELY: SignedDuration = SignedDuration::from_mins(-90);

/// The system's clock, set back: the story begins yesterday.
#[derive(Debug, Default)]
struct StoryClock(Mutex<SignedDuration>);

impl StoryClock {
    fn set(&self, offset: SignedDuration) {
        *lock(&self.0) = offset;
    }
}

impl Clock for StoryClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now();
        now.checked_add(*lock(&self.0)).unwrap_or(now)
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        SystemClock.sleep(duration, stop)
    }
}

/// What `--json` answers.
#[derive(Serialize)]
struct Answer {
    plan: Plan,
    passes: Vec<Report>,
    /// Whether the passes after the repair planned nothing.
    settled: bool,
    /// How soon edits arrive with webhooks.
    live: Vec<Arrival>,
}

/// Shows it all.
pub(super) fn run(global: &Global, args: &DemoArgs) -> Result<Exit, Failure> {
    let began = Instant::now();
    let clock = Arc::new(StoryClock::default());
    clock.set(YESTERDAY);
    let sandbox = Sandbox::new(clock.clone(), SEED);
    let world = World::yesterday(&sandbox);
    let served =
        sandbox.serve().map_err(|error| Failure::new(format!("starting the sandbox on this machine: {error}")))?;
    let folder = tempfile::Builder::new()
        .prefix("evenkeel-demo-")
        .tempdir()
        .map_err(|error| Failure::new(format!("making a temporary folder: {error}")))?;
    let config = configure(folder.path(), &world, &served)?;
    setup::start_log(global, &config, setup::Usual::Warnings);
    let store = Store::open(&config.database)?;
    let mut context = Context::with(config, store, global);
    context.clock = clock.clone();
    super::interrupt::raise(&context.stop, false);
    let stage = Stage { out: context.out, context: &context, route: &context.config.routes[0] };

    let mut opening = format!("{}\n", paint(BOLD, "Evenkeel demo"));
    let what = "A small Asana and a small GitHub run on this machine; no account is touched.";
    paragraph(&mut opening, anstyle::Style::new(), 0, context.out.width, what);
    stage.say(&opening)?;
    stage.headline("Yesterday: a first pass over the project")?;
    let first = stage.pass(&Wake::Sweep, None)?;
    stage.say(&format!("  {}\n", account::tally(&first.counts, first.ended)))?;

    clock.set(LATELY);
    let partner = |task: &_| {
        let link = context.store.link_of(&crate::model::ItemKey::Task(Clone::clone(task))).ok().flatten()?;
        Some(link.key(Side::Forge))
    };
    world.today(partner);
    clock.set(SignedDuration::ZERO);

    stage.headline("Since then both sides were edited. What is to be done?")?;
    let wake = Wake::Poll { belt: false };
    let planned = plan::one(&context, stage.route, &wake)?.0;
    stage.say("\n")?;
    if !context.out.json {
        plan::show_plan(&context, stage.route, &wake, &planned)?;
    }

    stage.headline("Carrying the plan out")?;
    let second = stage.pass(&wake, Some(planned.hash.clone()))?;
    stage.say(&run::rendered(&second, 0, context.out.width))?;

    stage.headline("Both sides now")?;
    stage.sides()?;

    stage.headline("Looking again: nothing to do")?;
    let third = stage.pass(&wake, None)?;
    let fourth = stage.pass(&wake, None)?;
    let fifth = stage.pass(&Wake::Sweep, None)?;
    // A pass that gave up on something would find nothing to do afterwards, too.
    let whole = [&first, &second].iter().all(|report| report.counts.again == 0 && report.counts.parked == 0);
    let settled = whole && [&third, &fourth, &fifth].iter().all(|report| report.plan.is_empty());
    stage.costs(&[
        ("the first pass, yesterday", &first),
        ("the repair", &second),
        ("a pass over its own echoes", &third),
        ("an idle pass", &fourth),
        ("a full look at both sides", &fifth),
    ])?;
    stage.headline("With webhooks: an edit arrives on the other side at once")?;
    let live = Live::start(&context, &world)?;
    let arrivals = live.edits(&context, &world)?;
    stage.arrivals(&arrivals)?;
    let settled = settled && !arrivals.is_empty() && arrivals.iter().all(|arrival| arrival.took_ms.is_some());
    let asked: u64 =
        context.store.waiting_links(Some(&stage.route.name), 1_000)?.iter().map(|link| link.waiting.len() as u64).sum();
    let (style, closing) = match (settled, asked) {
        (true, 0) => (GREEN, "Both sides are in step.".to_owned()),
        (true, asked) => {
            let waits = count(asked, "question", "questions");
            (GREEN, format!("Both sides are in step, but for {waits} for a person."))
        }
        (false, _) => {
            (RED, "Something was left or planned again; that should not happen. Please report it.".to_owned())
        }
    };
    let mut last = "\n".to_owned();
    let closing = format!("{closing} ({:.1} s in all)", began.elapsed().as_secs_f64());
    paragraph(&mut last, style, 0, context.out.width, &closing);
    stage.say(&last)?;
    if context.out.json {
        let passes = vec![first, second, third, fourth, fifth];
        context.out.json(&Answer { plan: planned.plan, passes, settled, live: arrivals })?;
    }
    if args.keep && !context.stop.raised() {
        keep(&context, folder.path(), &world, &served, &live)?;
    }
    Ok(if settled { Exit::Settled } else { Exit::Drift })
}

/// Writes a config.toml and the files with the tokens, and reads it as any command would.
fn configure(folder: &Path, world: &World, served: &Served) -> Result<Config, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("writing the demo's configuration: {error}"));
    let secret = |name: &str, text: &str| -> Result<String, Failure> {
        let path = folder.join(name);
        // The folder is its owner's alone; the file is too, or reading it would warn.
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(failed)?;
        std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
        Ok(toml::Value::String(path.display().to_string()).to_string())
    };
    let path = folder.join("config.toml");
    let text = format!(
        "# The demo's configuration; it goes away with the demo.\n\
         [database]\nurl = {database}\n\n\
         [asana]\nbase_url = {asana:?}\ntoken = {{ file = {asana_token} }}\n\n\
         [github]\nbase_url = {github:?}\ntoken = {{ file = {github_token} }}\n\n\
         [listen]\naddress = \"127.0.0.1:0\"\n\n\
         [webhooks]\nseal_key = {{ file = {seal_key} }}\n\n\
         [admin]\ntoken = {{ file = {admin_token} }}\n\n\
         [[route]]\nname = \"website\"\nasana_project = \"{project}\"\ngithub_repo = \"{repo}\"\n",
        database = toml::Value::String(format!("sqlite:{}", folder.join("evenkeel.db").display())),
        asana = served.base_urls.tracker,
        github = served.base_urls.forge,
        asana_token = secret("asana-token", &world.tokens.tracker)?,
        github_token = secret("github-token", &world.tokens.forge)?,
        seal_key = secret("seal-key", &format!("{:032x}", fastrand::u128(..)))?,
        admin_token = secret("admin-token", &format!("{:032x}", fastrand::u128(..)))?,
        project = world.project,
        repo = world.repo,
    );
    fs::write(&path, text).map_err(failed)?;
    // Nothing from the environment: a token that stands there must not be sent anywhere by a demo.
    setup::load_file(&path, &|_| None)
}

/// Where the demo plays.
struct Stage<'a> {
    out: Output,
    context: &'a Context,
    route: &'a Route,
}

impl Stage<'_> {
    /// Says something, unless the answer is for a program.
    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.out.json { Ok(()) } else { self.out.text(text) }
    }

    fn headline(&self, text: &str) -> Result<(), Failure> {
        let text = &cut(text, self.out.width.saturating_sub(3));
        let rule = "─".repeat(self.out.width.saturating_sub(columns(text) + 4));
        self.say(&format!("\n{} {} {}\n", paint(DIM, "──"), paint(BOLD, text), paint(DIM, rule)))
    }

    fn pass(&self, wake: &Wake, only_plan: Option<crate::model::Fingerprint>) -> Result<Report, Failure> {
        Ok(run::pass(self.context, self.route, wake, Allowance::default(), only_plan)?.0)
    }

    /// Both sides as they are, pair by pair, read over HTTP like everything else.
    fn sides(&self) -> Result<(), Failure> {
        let engine = self.context.engine(self.route)?;
        let mut shown: BySide<BTreeMap<String, Item>> = BySide::default();
        for side in Side::BOTH {
            engine.providers[side]
                .sweep(&mut |items| {
                    shown[side].extend(items.into_iter().map(|item| (item.key.to_string(), item)));
                    Ok(())
                })
                .map_err(|error| Failure::new(error.to_string()))?;
        }
        let mut rows: Vec<BySide<Option<Item>>> = Vec::new();
        let links = self.context.store.links(Some(&self.route.name), LinkId(0), 1_000)?;
        let mut asking = BTreeMap::new();
        for link in links {
            let row = BySide::from_fn(|side| shown[side].remove(&link.key(side).to_string()));
            if link.status == LinkStatus::Active && !link.waiting.is_empty() {
                asking.insert(link.key(Side::Forge).to_string(), ());
            }
            rows.push(row);
        }
        for (_, item) in shown.tracker {
            rows.push(BySide { tracker: Some(item), forge: None });
        }
        for (_, item) in shown.forge {
            rows.push(BySide { tracker: None, forge: Some(item) });
        }
        let half = (self.out.width - 3) / 2;
        let mut text = format!(
            "{}   {}\n",
            padded(&paint(BOLD, "asana: Website relaunch"), "asana: Website relaunch", half),
            paint(BOLD, format_args!("github: {}", self.route.repo))
        );
        for row in &rows {
            let asks = row.forge.as_ref().is_some_and(|item| asking.contains_key(&item.key.to_string()));
            let [task, issue] = Side::BOTH.map(|side| half_row(row[side].as_ref(), half));
            let (mark, style) = match row {
                _ if asks => ("?", YELLOW),
                BySide { tracker: Some(task), forge: Some(issue) } if alike(task, issue) => ("=", GREEN),
                BySide { tracker: Some(_), forge: Some(_) } => ("≠", RED),
                _ => (" ", DIM),
            };
            let _ = writeln!(text, "{} {} {}", padded(&task.0, &task.1, half), paint(style, mark), issue.0);
        }
        text.push('\n');
        paragraph(
            &mut text,
            DIM,
            0,
            self.out.width,
            "= a pair in step, ? a pair with a question; alone: done before it was first seen, deleted over there, \
             or made on github (this route makes issues for tasks, not the other way round)",
        );
        self.say(&text)
    }

    /// How soon edits arrived.
    fn arrivals(&self, arrivals: &[Arrival]) -> Result<(), Failure> {
        let mut text = String::new();
        for Arrival { what, took_ms } in arrivals {
            let (style, took) = match took_ms {
                Some(took) => (GREEN, format!("after {took} ms")),
                None => (RED, "did not arrive".to_owned()),
            };
            paragraph(&mut text, style, 2, self.out.width, &format!("{what}, {took}"));
        }
        self.say(&text)
    }

    /// What each pass planned and how many requests it took.
    fn costs(&self, passes: &[(&str, &Report)]) -> Result<(), Failure> {
        // The figures take 34 columns; what is left is for the names.
        let wide = self.out.width.saturating_sub(34).min(37);
        let head =
            format!("{:<wide$}{:>8}{:>13}{:>13}", cut("requests of each pass", wide), "repairs", "asana", "github");
        let mut text = format!("{}\n", paint(DIM, head));
        for (name, report) in passes {
            let requests = Side::BOTH.map(|side| {
                let Requests { sent, unchanged, .. } = report.requests[side];
                if unchanged > 0 { format!("{sent} ({unchanged} × 304)") } else { sent.to_string() }
            });
            let [asana, github] = requests;
            let name = cut(name, wide.saturating_sub(1));
            let repairs = report.plan.repairs.len();
            let _ = writeln!(text, "{name:<wide$}{repairs:>8}{asana:>13}{github:>13}");
        }
        self.say(&text)
    }
}

/// Whether both show the same title and status, as far as a task can: it knows no "dropped".
fn alike(task: &Item, issue: &Item) -> bool {
    let shown = view(Side::Tracker, &issue.content, &People::default());
    (&task.content.title, task.content.status) == (&shown.title, shown.status)
}

/// One item in half a line, styled and plain: `✓ 1204…17 Title`.
fn half_row(item: Option<&Item>, width: usize) -> (String, String) {
    let Some(item) = item else { return (paint(DIM, "-"), "-".to_owned()) };
    let (mark, style) = match item.content.status {
        Status::Open => ("○", DIM),
        Status::Done => ("✓", GREEN),
        Status::Dropped => ("✗", RED),
    };
    let id = match &item.key {
        // The last digits tell the demo's tasks apart and leave room for the title.
        crate::model::ItemKey::Task(gid) => format!("…{}", &gid.as_str()[gid.as_str().len().saturating_sub(4)..]),
        crate::model::ItemKey::Issue(issue) => format!("#{}", issue.number),
    };
    let title = cut(&item.content.title, width.saturating_sub(columns(&id) + 3));
    let plain = format!("{mark} {id} {title}");
    (format!("{} {} {title}", paint(style, mark), paint(CYAN, id)), plain)
}

/// The styled text with blanks behind it up to `width` columns.
fn padded(styled: &str, plain: &str, width: usize) -> String {
    format!("{styled}{}", " ".repeat(width.saturating_sub(columns(plain))))
}

/// Leaves everything running until Ctrl-C, with all that is needed to point other commands at it.
fn keep(context: &Context, folder: &Path, world: &World, served: &Served, live: &Live) -> Result<(), Failure> {
    let config = folder.join("config.toml");
    let BySide { tracker: asana, forge: github } = &served.base_urls;
    let (project, repo) = (&world.project, &world.repo);
    let text = format!(
        "\n{headline}\n\n\
         export EVENKEEL_CONFIG='{config}'\n\
         export ASANA_BASE_URL='{asana}' ASANA_PROJECT_GID='{project}'\n\
         export ASANA_PAT='{asana_token}'\n\
         export GITHUB_BASE_URL='{github}' GITHUB_REPO='{repo}'\n\
         export GITHUB_TOKEN='{github_token}'\n\
         export EVENKEEL_URL='{url}' ADMIN_API_TOKEN=\"$(cat '{folder}/admin-token')\"\n\n\
         {then}\n  \
         evenkeel status\n  \
         evenkeel plan --full\n  \
         curl -H \"Authorization: Bearer $ASANA_PAT\" \\\n    \"$ASANA_BASE_URL/tasks?project=$ASANA_PROJECT_GID\"\n  \
         curl -H \"Authorization: Bearer $GITHUB_TOKEN\" \\\n    \"$GITHUB_BASE_URL/repos/$GITHUB_REPO/issues?state=all\"\n  \
         curl -H \"Authorization: Bearer $ADMIN_API_TOKEN\" \"$EVENKEEL_URL/api/tasks\"\n\n",
        headline = paint(BOLD, "Everything stays up until Ctrl-C. In another terminal:"),
        then = paint(BOLD, "Then, for example:"),
        config = config.display(),
        folder = folder.display(),
        url = live.address,
        asana_token = world.tokens.tracker,
        github_token = world.tokens.forge,
    );
    // With --json the answer stands alone on standard output.
    if context.out.json {
        super::output::aside(text)
    } else {
        context.out.text(&text)?
    }
    while context.clock.sleep(Duration::from_secs(3_600), &context.stop) {}
    Ok(())
}
