//! Webhooks change when something is done, never what: with all deliveries lost, doubled, late or out of order, one
//! pass leads to the same end as with none lost.

use std::time::Duration;

use evenkeel::engine::{Ended, Engine, PassOptions, Wake};
use evenkeel::model::{Creation, ItemKey, People, Side};
use evenkeel::sandbox::{Mishap, Reason};
use evenkeel::text;
use fastrand::Rng;

use crate::station::Station;
use crate::support::rig::Rig;

/// Scripts that are played.
const SEEDS: u64 = 40;
/// Acts in one.
const ACTS: usize = 14;
/// Pairs in step when it begins.
const PAIRS: usize = 4;

/// What happens to deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Post {
    Prompt,
    Lost,
    Doubled,
    Reordered,
    Delayed,
    Mixed,
}

impl Post {
    const ALL: [Self; 6] = [Self::Prompt, Self::Lost, Self::Doubled, Self::Reordered, Self::Delayed, Self::Mixed];

    fn mishaps(self) -> Vec<(f64, Mishap)> {
        let late = Mishap::Delayed(Duration::from_secs(40));
        match self {
            Self::Prompt => Vec::new(),
            Self::Lost => vec![(1.0, Mishap::Lost)],
            Self::Doubled => vec![(0.6, Mishap::Doubled)],
            Self::Reordered => vec![(0.6, Mishap::Reordered)],
            Self::Delayed => vec![(0.6, late)],
            Self::Mixed => {
                vec![(0.3, Mishap::Lost), (0.3, Mishap::Doubled), (0.3, Mishap::Reordered), (0.3, late)]
            }
        }
    }
}

/// One act of a person, on an item by its place in the script.
#[derive(Debug, Clone)]
enum Act {
    Title(usize, Side, String),
    Line(usize, Side, String),
    Status(usize, Side),
    /// Nobody's business.
    Noise(usize, Side),
    NewTask(String),
    NewIssue(String),
}

/// Acts, each with the seconds that pass before it and whether what is told is visited then.
type Script = Vec<(u64, bool, Act)>;

/// With `apart` each field of an item is edited on one side only: then no conflict makes the order matter.
fn script(rng: &mut Rng, both_create: bool, apart: bool) -> Script {
    // By item: who edits title, text, status. New items are edited where they were made: the other half may not be
    // there yet.
    let mut editors: Vec<[Side; 3]> = Vec::new();
    let side = |rng: &mut Rng| if rng.bool() { Side::Tracker } else { Side::Forge };
    for _ in 0..PAIRS {
        editors.push([side(rng), side(rng), side(rng)]);
    }
    let mut script = Script::new();
    for number in 0..ACTS {
        let item = rng.usize(..editors.len());
        let mut editor = editors[item];
        if !apart && item < PAIRS {
            (editor[0], editor[2]) = (side(rng), side(rng));
        }
        let act = match rng.u8(..10) {
            0..=2 => Act::Title(item, editor[0], format!("Title {number}")),
            3..=4 => Act::Line(item, editor[1], format!("Line {number}.")),
            5..=6 => Act::Status(item, editor[2]),
            7 => Act::Noise(item, editor[0]),
            8 if both_create => {
                editors.push([Side::Forge; 3]);
                Act::NewIssue(format!("New issue {number}"))
            }
            _ => {
                editors.push([Side::Tracker; 3]);
                Act::NewTask(format!("New task {number}"))
            }
        };
        script.push((rng.u64(5..50), rng.bool(), act));
    }
    script
}

/// A world in which a script is played.
struct Play {
    station: Station,
    engine: Engine,
    items: Vec<ItemKey>,
}

impl Play {
    fn new(seed: u64, both_create: bool, post: Post) -> Self {
        let mut rig = Rig::in_memory(seed);
        if both_create {
            rig.rules.creation = Creation::Both;
        }
        // One that is done before anybody looks gets a partner all the same.
        rig.rules.filter.tracker.include_done = true;
        rig.rules.filter.forge.include_done = true;
        let station = Station::over(rig);
        let items = (0..PAIRS)
            .map(|number| ItemKey::Task(station.rig.task(&format!("Task {number}"), "First line.")))
            .collect();
        let engine = station.rig.engine();
        station.bustle(&engine);
        station.rig.clock.advance(Duration::from_secs(600));
        for (probability, mishap) in post.mishaps() {
            for side in Side::BOTH {
                station.rig.sandbox.deliveries().chance(probability, side, mishap);
            }
        }
        Self { station, engine, items }
    }

    /// The half of an item on a side.
    fn half(&self, item: usize, side: Side) -> ItemKey {
        let key = &self.items[item];
        if key.side() == side {
            return key.clone();
        }
        let link = self.station.rig.store.link_of(key).expect("answers");
        link.unwrap_or_else(|| panic!("{key} has no partner: {:?}", self.station.due())).key(side)
    }

    fn act(&mut self, act: &Act) {
        let rig = &self.station.rig;
        let (asana, github, world) = (rig.sandbox.asana(), rig.sandbox.github(), rig.sandbox.world());
        match act {
            Act::Title(item, side, title) => match self.half(*item, *side) {
                ItemKey::Task(task) => asana.rename(&task, title),
                ItemKey::Issue(issue) => github.retitle(&issue.repo, issue.number, title),
            },
            Act::Line(item, side, line) => match self.half(*item, *side) {
                ItemKey::Task(task) => {
                    let notes = world.task(&task).expect("a task").html_notes;
                    asana.write_notes(&task, &notes.replacen("<body>", &format!("<body>{line}\n\n"), 1));
                }
                ItemKey::Issue(issue) => {
                    let body = world.issue(&issue.repo, issue.number).expect("an issue").body;
                    github.write_body(&issue.repo, issue.number, &format!("{line}\n\n{body}"));
                }
            },
            Act::Status(item, side) => match self.half(*item, *side) {
                ItemKey::Task(task) if world.task(&task).expect("a task").completed => asana.reopen(&task),
                ItemKey::Task(task) => asana.complete(&task),
                ItemKey::Issue(issue) if world.issue(&issue.repo, issue.number).expect("an issue").closed => {
                    github.reopen(&issue.repo, issue.number);
                }
                ItemKey::Issue(issue) => github.close(&issue.repo, issue.number, Reason::Completed),
            },
            Act::Noise(item, side) => match self.half(*item, *side) {
                ItemKey::Task(task) => asana.add_tag(&task, "noise"),
                ItemKey::Issue(issue) => {
                    github.comment(&issue.repo, issue.number, "Noise.");
                }
            },
            Act::NewTask(name) => {
                let task = rig.task(name, "Words.");
                self.items.push(ItemKey::Task(task));
            }
            Act::NewIssue(title) => {
                let number = rig.issue(title, "Words.");
                self.items.push(rig.issue_key(number));
            }
        }
    }

    fn play(&mut self, script: &Script) {
        for (wait, visited, act) in script {
            self.station.rig.clock.advance(Duration::from_secs(*wait));
            self.act(act);
            if *visited {
                self.station.bustle(&self.engine);
            }
        }
        // Whatever comes late comes now.
        for _ in 0..3 {
            self.station.rig.clock.advance(Duration::from_secs(200));
            self.station.bustle(&self.engine);
        }
    }

    fn poll(&self, what: &str) -> evenkeel::engine::Report {
        self.station.rig.clock.advance(Duration::from_secs(600));
        let report = self.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default());
        report.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Both halves of every item, as people see them.
    fn shown(&self) -> Vec<String> {
        let world = self.station.rig.sandbox.world();
        let show = |item: usize| {
            let (ItemKey::Task(task), ItemKey::Issue(issue)) =
                (self.half(item, Side::Tracker), self.half(item, Side::Forge))
            else {
                panic!("no pair")
            };
            let task = world.task(&task).expect("a task");
            let issue = world.issue(&issue.repo, issue.number).expect("an issue");
            let notes = text::split_tracker(&task.html_notes, &People::default()).body;
            let body = text::split_forge(&issue.body).body;
            assert_eq!((&task.name, &notes, task.completed), (&issue.title, &body, issue.closed), "out of step");
            format!("{} | {notes:?} | {} | told {}", task.name, task.completed, task.comments.len())
        };
        (0..self.items.len()).map(show).collect()
    }

    fn ends(&self, what: &str) {
        let report = self.poll(what);
        assert!(report.plan.is_empty(), "{what}: the last pass plans {:#?}", report.plan.repairs);
        assert_eq!(report.ended, Ended::Settled, "{what}: {:?} {:?}", report.messages, self.station.due());
        self.station.rig.holds(what);
        let world = self.station.rig.sandbox.world();
        assert_eq!(world.tasks(&self.station.rig.project.gid).len(), self.items.len(), "{what}: tasks");
        assert_eq!(world.issues(&self.station.rig.repo.name).len(), self.items.len(), "{what}: issues");
    }
}

#[test]
fn whatever_happens_to_deliveries_the_next_pass_gives_the_same_end() {
    for seed in 0..SEEDS {
        let both_create = seed % 2 == 1;
        let script = script(&mut Rng::with_seed(seed), both_create, true);
        let mut expected: Option<Vec<String>> = None;
        for post in Post::ALL {
            let what = format!("seed {seed}, {post:?}");
            let mut play = Play::new(seed, both_create, post);
            play.play(&script);
            if post == Post::Prompt {
                // Deliveries alone have done it: the pass finds nothing.
                let shown = play.shown();
                let report = play.poll(&what);
                assert!(report.plan.is_empty(), "{what}: the visits left {:#?}\n{script:#?}", report.plan.repairs);
                assert_eq!(report.counts.unheard, 0, "{what}");
                assert_eq!(play.shown(), shown, "{what}");
            } else {
                play.poll(&what);
            }
            let shown = play.shown();
            match &expected {
                None => expected = Some(shown),
                Some(expected) => assert_eq!(&shown, expected, "{what}:\n{script:#?}"),
            }
            play.ends(&what);
        }
    }
}

/// Where both sides edit the same field the order matters, and still both sides agree in the end.
#[test]
fn edits_of_both_sides_settle_whatever_happens_to_deliveries() {
    for seed in 100..100 + SEEDS {
        let both_create = seed % 2 == 1;
        let script = script(&mut Rng::with_seed(seed), both_create, false);
        let post = Post::ALL[usize::try_from(seed).expect("small") % Post::ALL.len()];
        let what = format!("seed {seed}, {post:?}");
        let mut play = Play::new(seed, both_create, post);
        play.play(&script);
        play.poll(&what);
        play.shown();
        play.ends(&what);
    }
}
