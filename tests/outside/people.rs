//! People at both services: what they do by chance, and that nothing they wrote is lost.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use evenkeel::model::Side;
use evenkeel::sandbox::{IssueSeed, Moment, Reason, TaskSeed, Watched};
use evenkeel::text::split_forge;
use fastrand::Rng;

use super::Outside;

/// People may write a body on both sides at once only where overlapping lines are settled without asking.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    Tracker,
    Both,
}

/// One value that somebody wrote and nobody replaced.
#[derive(Debug)]
struct Written {
    side: Side,
    /// The item, as its path says it.
    item: String,
    /// The whole title, or the whole line of a body.
    value: String,
    title: bool,
    /// Between these two ticks.
    at: (u64, u64),
}

/// Reads and writes of one item by the service, by tick.
#[derive(Debug, Default)]
struct Touches {
    read: Vec<u64>,
    written: Vec<u64>,
}

/// Counts moments, so that an edit can be told from what the service did around it.
#[derive(Default)]
pub struct Ticks {
    now: AtomicU64,
    touches: Mutex<BTreeMap<(Side, String), Touches>>,
}

impl Ticks {
    fn tick(&self) -> u64 {
        self.now.fetch_add(1, Ordering::Relaxed)
    }

    /// To be told of every request that the sandbox sees.
    pub fn note(&self, moment: Moment, request: Watched<'_>) {
        let Watched { side, method, path, .. } = request;
        let path = path.split('?').next().unwrap_or_default();
        let is_item = match side {
            Side::Tracker => path.starts_with("/tasks/"),
            Side::Forge => path.contains("/issues/"),
        };
        // A read counts from when it came, a write until it was done: wider than they were.
        let wanted = if method.writes() { Moment::Done } else { Moment::Came };
        if !is_item || moment != wanted {
            return;
        }
        let at = self.tick();
        let mut touches = self.touches.lock().expect("the lock");
        let touches = touches.entry((side, path.to_owned())).or_default();
        if method.writes() { touches.written.push(at) } else { touches.read.push(at) }
    }
}

/// What they did so far.
pub struct People {
    rng: Rng,
    bodies: Bodies,
    count: u64,
    written: Vec<Written>,
    ticks: Arc<Ticks>,
    pub edits: u64,
}

impl People {
    pub fn new(seed: u64, bodies: Bodies, ticks: Arc<Ticks>) -> Self {
        Self { rng: Rng::with_seed(seed), bodies, count: 0, written: Vec::new(), ticks, edits: 0 }
    }

    /// Makes `count` tasks, before anybody looks.
    pub fn paste(&mut self, world: &Outside, count: usize) {
        for _ in 0..count {
            let name = self.words("Task");
            let line = self.words("Notes");
            let html_notes = format!("<body>{line}</body>");
            let gid = world
                .sandbox
                .asana()
                .task(&world.project.gid, TaskSeed { name: name.clone(), html_notes, ..TaskSeed::default() });
            let item = format!("/tasks/{gid}");
            self.wrote(Side::Tracker, &item, name, true, 0);
            self.wrote(Side::Tracker, &item, line, false, 0);
        }
    }

    /// Does what the service answers with a request of this kind, if there is such a thing.
    pub fn provoke(&mut self, world: &Outside, kind: &str) {
        match kind {
            "create an issue" | "comment" => self.paste(world, 1),
            "create a task" => self.open(world),
            "change a task" => self.edit_issue(world),
            "change an issue" => self.edit_task(world),
            _ => return,
        }
        self.edits += 1;
    }

    /// One thing that somebody does somewhere.
    pub fn act(&mut self, world: &Outside) {
        self.edits += 1;
        match self.rng.u8(0..20) {
            0 => self.paste(world, 1),
            1 => self.open(world),
            2..=10 => self.edit_task(world),
            _ => self.edit_issue(world),
        }
    }

    fn open(&mut self, world: &Outside) {
        let (title, body) = (self.words("Issue"), self.words("Text"));
        let number = world.sandbox.github().issue(&world.repo.name, IssueSeed::new(&title, &body));
        let item = format!("/repos/acme/app/issues/{number}");
        self.wrote(Side::Forge, &item, title, true, 0);
        self.wrote(Side::Forge, &item, body, false, 0);
    }

    fn edit_task(&mut self, world: &Outside) {
        let tasks = world.sandbox.world().tasks(&world.project.gid);
        let Some(task) = self.rng.choice(&tasks) else { return };
        let item = format!("/tasks/{}", task.gid);
        let asana = world.sandbox.asana();
        let from = self.ticks.tick();
        match self.rng.u8(0..5) {
            0 | 1 => {
                let name = self.words("Task");
                self.replaced(Side::Tracker, &item, &task.name);
                asana.rename(&task.gid, &name);
                self.wrote(Side::Tracker, &item, name, true, from);
            }
            2 | 3 => {
                let line = self.words("Notes");
                let html = if task.html_notes.contains("<body>") { &task.html_notes } else { "<body></body>" };
                asana.write_notes(&task.gid, &html.replacen("<body>", &format!("<body>{line}\n"), 1));
                self.wrote(Side::Tracker, &item, line, false, from);
            }
            _ if task.completed => asana.reopen(&task.gid),
            _ => asana.complete(&task.gid),
        }
    }

    fn edit_issue(&mut self, world: &Outside) {
        let issues = world.sandbox.world().issues(&world.repo.name);
        let Some(issue) = self.rng.choice(&issues) else { return };
        let item = format!("/repos/acme/app/issues/{}", issue.number);
        let (github, repo) = (world.sandbox.github(), &world.repo.name);
        let from = self.ticks.tick();
        match self.rng.u8(0..5) {
            2 | 3 if self.bodies == Bodies::Both => {
                let line = self.words("Text");
                github.write_body(repo, issue.number, &format!("{line}\n\n{}", issue.body));
                self.wrote(Side::Forge, &item, line, false, from);
            }
            0..=3 => {
                let title = self.words("Issue");
                self.replaced(Side::Forge, &item, &issue.title);
                github.retitle(repo, issue.number, &title);
                self.wrote(Side::Forge, &item, title, true, from);
            }
            _ if issue.closed => github.reopen(repo, issue.number),
            _ => github.close(repo, issue.number, Reason::Completed),
        }
    }

    /// Words that stand nowhere else.
    fn words(&mut self, what: &str) -> String {
        self.count += 1;
        format!("{what} w{}w", self.count)
    }

    fn wrote(&mut self, side: Side, item: &str, value: String, title: bool, from: u64) {
        let at = (from, self.ticks.tick());
        self.written.push(Written { side, item: item.to_owned(), value, title, at });
    }

    /// Somebody replaces a title by hand: it is theirs to lose.
    fn replaced(&mut self, side: Side, item: &str, title: &str) {
        self.written.retain(|known| !(known.title && known.side == side && known.item == item && known.value == title));
    }

    /// Every value somebody wrote is on a side, or whole in the history. Answers how many there are, and how many were
    /// lost in the one way that is accepted: written between a re-read of the item and the write that followed.
    pub fn nothing_is_lost(&self, world: &Outside) -> (usize, usize) {
        let mut standing: Vec<String> = Vec::new();
        for task in world.sandbox.world().tasks(&world.project.gid) {
            standing.extend([task.name, task.notes]);
        }
        for issue in world.sandbox.world().issues(&world.repo.name) {
            standing.extend([issue.title, split_forge(&issue.body).body]);
        }
        let standing = standing.join("\n");
        let history = world.json(&["history", "show", "--limit", "1000000"]).to_string();
        let touches = self.ticks.touches.lock().expect("the lock");
        let mut accepted = 0;
        for written in &self.written {
            if standing.contains(&written.value) || history.contains(&written.value) {
                continue;
            }
            let touched = touches.get(&(written.side, written.item.clone()));
            let overwritten = touched.is_some_and(|touched| {
                touched.written.iter().any(|write| {
                    let read = touched.read.iter().rev().find(|read| *read < write);
                    *write >= written.at.0 && read.is_some_and(|read| *read <= written.at.1)
                })
            });
            assert!(overwritten, "{written:?} is lost: {touched:#?}\n{}", world.logs());
            accepted += 1;
        }
        (self.written.len(), accepted)
    }
}
