//! What people do in a world, and every word that they wrote and nobody took away.

use std::collections::BTreeSet;
use std::time::Duration;

use evenkeel::model::{BySide, IssueNumber, Link, ProjectGid, RepoName, Side, TaskGid};
use evenkeel::sandbox::{IssueSeed, IssueView, Permission, Project, Reason, Repository, Sandbox, TaskSeed, TaskView};

use super::turns::Turns;
use super::wire::{Named, Watch};

/// The people of a world, and where they work.
pub struct People {
    pub sandbox: Sandbox,
    pub turns: Turns,
    pub watch: Watch,
    pub project: Project,
    pub repo: Repository,
    /// The repository's name at present.
    pub name: RepoName,
    /// Where things are moved to.
    pub elsewhere: (ProjectGid, RepoName),
    /// What is next door and none of ours: a task of the other project, an issue of the other repository, and a pull
    /// request of this one.
    pub neighbours: (TaskGid, IssueNumber, IssueNumber),
    /// Words that a person wrote and no person took away.
    pub words: BTreeSet<String>,
    written: u64,
    /// Labels that a person gave an item and nobody took from it or its partner, by item.
    pub labels: BTreeSet<(Named, String)>,
    /// Labels that a person took from an item.
    pub unlabelled: BTreeSet<(Named, String)>,
    /// Whom work is given to, with the account on each side; the last one is not in the configuration.
    pub crew: Vec<BySide<String>>,
    /// Whom a person gave an item to, by place in the crew.
    pub assigned: BTreeSet<(Named, usize)>,
    /// From whom a person took an item.
    pub unassigned: BTreeSet<(Named, usize)>,
    trash: Vec<TaskGid>,
    /// Tasks that came out of the trash again.
    pub restored: BTreeSet<TaskGid>,
    left: Vec<TaskGid>,
    /// Issues that were moved to another repository.
    transferred: BTreeSet<IssueNumber>,
    /// What the neighbours say, as people wrote it.
    pub said_next_door: BySide<String>,
    renames: u32,
}

/// The words of a text.
pub fn words(text: &str) -> Vec<String> {
    text.split(|sign: char| !sign.is_ascii_alphanumeric())
        .filter(|word| word.strip_prefix("word").is_some_and(|rest| rest.ends_with('x')))
        .map(str::to_owned)
        .collect()
}

/// That somebody of the crew was given an item, as a word.
pub fn gift(item: &Named, who: usize) -> String {
    format!("{item:?} to {who}")
}

impl People {
    /// Furnishes a world: a project and a repository, others next door, and a few items on both sides.
    pub fn settle(sandbox: &Sandbox, turns: &Turns, watch: &Watch) -> Self {
        let project = sandbox.asana().project("Website");
        let repo = sandbox.github().repository(&"acme/app".parse().expect("a name"));
        let other = sandbox.asana().project("Next door");
        let other_repo = sandbox.github().repository(&"acme/next-door".parse().expect("a name"));
        let task = sandbox.asana().task(&other.gid, TaskSeed::named("ours alone"));
        let issue = sandbox.github().issue(&other_repo.name, IssueSeed::new("ours alone", "Nobody links this."));
        let pull = sandbox.github().pull_request(&repo.name, "ours alone", "A change.");
        let hired = |name: &str| {
            sandbox.github().permit(&repo.name, name, Permission::Write);
            BySide { tracker: sandbox.asana().user(name, &format!("{name}@example.com")), forge: name.to_owned() }
        };
        let crew = ["ann", "bob", "cem", "visitor"].map(hired).to_vec();
        Self {
            sandbox: sandbox.clone(),
            turns: turns.clone(),
            watch: watch.clone(),
            name: repo.name.clone(),
            project,
            repo,
            elsewhere: (other.gid, other_repo.name),
            neighbours: (task, issue, pull),
            words: BTreeSet::new(),
            written: 0,
            labels: BTreeSet::new(),
            unlabelled: BTreeSet::new(),
            crew,
            assigned: BTreeSet::new(),
            unassigned: BTreeSet::new(),
            trash: Vec::new(),
            restored: BTreeSet::new(),
            left: Vec::new(),
            transferred: BTreeSet::new(),
            said_next_door: BySide { tracker: "ours alone".to_owned(), forge: "ours alone".to_owned() },
            renames: 0,
        }
    }

    pub fn tasks(&self) -> Vec<TaskView> {
        self.sandbox.world().tasks(&self.project.gid)
    }

    /// The tasks that are in the project no more.
    pub fn away(&self) -> Vec<TaskGid> {
        self.left.clone()
    }

    /// The issues; pull requests are none.
    pub fn issues(&self) -> Vec<IssueView> {
        self.sandbox.world().issues(&self.name).into_iter().filter(|issue| !issue.pull_request).collect()
    }

    /// What is closed at present.
    pub fn all_closed(&self) -> Vec<Named> {
        let tasks = self.tasks().into_iter().filter(|task| task.completed).map(|task| Named::Task(task.gid));
        let issues = self.issues().into_iter().filter(|issue| issue.closed).map(|issue| Named::Issue(issue.number));
        tasks.chain(issues).collect()
    }

    fn word(&mut self) -> String {
        self.written += 1;
        let word = format!("word{}x", self.written);
        self.words.insert(word.clone());
        word
    }

    /// A person takes words away knowingly.
    fn forget(&mut self, text: &str) {
        for word in words(text) {
            self.words.remove(&word);
        }
    }

    /// One of the items of a side.
    pub fn pick(&self, side: Side, pick: u32) -> Option<Named> {
        let all: Vec<Named> = match side {
            Side::Tracker => self.tasks().into_iter().map(|task| Named::Task(task.gid)).collect(),
            Side::Forge => self.issues().into_iter().map(|issue| Named::Issue(issue.number)).collect(),
        };
        (!all.is_empty()).then(|| all[pick as usize % all.len()].clone())
    }

    /// Title and body as a person sees them, whether it is open, and its labels.
    fn look(&self, item: &Named) -> Option<(String, String, bool, Vec<String>)> {
        match item {
            Named::Task(gid) => {
                let task = self.sandbox.world().task(gid).filter(|task| !task.trashed)?;
                Some((task.name, task.html_notes, !task.completed, task.tags))
            }
            Named::Issue(number) => {
                let issue = self.sandbox.world().issue(&self.name, *number).filter(|issue| !issue.gone)?;
                Some((issue.title, issue.body, !issue.closed, issue.labels))
            }
        }
    }

    fn note(&self, item: &Named, words: Vec<String>) {
        self.watch.edited(item.clone(), words, self.turns.now().as_millisecond());
    }

    pub fn make(&mut self, side: Side, lines: u8, done: bool) {
        let title = self.word();
        let lines: Vec<String> = (0..lines).map(|_| self.word()).collect();
        let body = lines.join("\n\n");
        let item = match side {
            Side::Tracker => {
                let html_notes = if body.is_empty() { String::new() } else { format!("<body>{body}</body>") };
                let seed = TaskSeed { name: title, html_notes, completed: done, ..TaskSeed::default() };
                Named::Task(self.sandbox.asana().task(&self.project.gid, seed))
            }
            Side::Forge => {
                let closed = done.then_some(Reason::Completed);
                let seed = IssueSeed { closed, ..IssueSeed::new(title, body) };
                Named::Issue(self.sandbox.github().issue(&self.name, seed))
            }
        };
        if done {
            self.watch.closed(item);
        }
    }

    pub fn retitle(&mut self, item: &Named) {
        let Some((title, ..)) = self.look(item) else { return };
        self.forget(&title);
        let title = self.word();
        self.note(item, vec![title.clone()]);
        self.watch.retitled(item.clone(), self.turns.now().as_millisecond());
        match item {
            Named::Task(gid) => self.sandbox.asana().rename(gid, &title),
            Named::Issue(number) => self.sandbox.github().retitle(&self.name, *number, &title),
        }
    }

    /// Writes another word in place of one of the body, or a new line where there are not so many.
    pub fn edit_line(&mut self, item: &Named, line: u8) {
        let Some((_, body, ..)) = self.look(item) else { return };
        let old = words(&body).get(usize::from(line)).cloned();
        let new = self.word();
        let body = match &old {
            Some(old) => {
                self.forget(old);
                body.replace(old.as_str(), &new)
            }
            None if body.starts_with("<body>") => body.replacen("<body>", &format!("<body>{new}\n\n"), 1),
            None if matches!(item, Named::Task(_)) => format!("<body>{new}</body>"),
            None if body.is_empty() => new.clone(),
            None => format!("{new}\n\n{body}"),
        };
        self.note(item, vec![new]);
        self.write_body(item, &body);
    }

    fn write_body(&self, item: &Named, body: &str) {
        match item {
            Named::Task(gid) => self.sandbox.asana().write_notes(gid, body),
            Named::Issue(number) => self.sandbox.github().write_body(&self.name, *number, body),
        }
    }

    pub fn turn_status(&mut self, item: &Named) {
        let Some((_, _, open, _)) = self.look(item) else { return };
        self.note(item, Vec::new());
        self.set_status(item, !open);
    }

    fn set_status(&mut self, item: &Named, open: bool) {
        if !open {
            self.watch.closed(item.clone());
        }
        match (item, open) {
            (Named::Task(gid), true) => self.sandbox.asana().reopen(gid),
            (Named::Task(gid), false) => self.sandbox.asana().complete(gid),
            (Named::Issue(number), true) => self.sandbox.github().reopen(&self.name, *number),
            (Named::Issue(number), false) => self.sandbox.github().close(&self.name, *number, Reason::Completed),
        }
    }

    pub fn turn_label(&mut self, item: &Named, label: u8) {
        let Some((.., labels)) = self.look(item) else { return };
        let label = format!("label{label}");
        let has = labels.contains(&label);
        if has {
            self.unlabelled.insert((item.clone(), label.clone()));
        } else {
            self.labels.insert((item.clone(), label.clone()));
        }
        match (item, has) {
            (Named::Task(gid), false) => self.sandbox.asana().add_tag(gid, &label),
            (Named::Task(gid), true) => self.sandbox.asana().remove_tag(gid, &label),
            (Named::Issue(number), false) => self.sandbox.github().add_label(&self.name, *number, &label),
            (Named::Issue(number), true) => self.sandbox.github().remove_label(&self.name, *number, &label),
        }
    }

    /// Gives an item to somebody of the crew, or takes it from who has it; a task has one at most.
    pub fn turn_assignee(&mut self, item: &Named, who: u8) {
        let who = usize::from(who) % self.crew.len();
        let had = self.assignees(item);
        let mut has = had.clone();
        match item {
            _ if has.remove(&who) => {}
            Named::Task(_) => has = BTreeSet::from([who]),
            Named::Issue(_) => _ = has.insert(who),
        }
        self.unassigned.extend(had.difference(&has).map(|who| (item.clone(), *who)));
        self.assigned.extend(has.difference(&had).map(|who| (item.clone(), *who)));
        self.note(item, has.iter().map(|who| gift(item, *who)).collect());
        match item {
            Named::Task(gid) => {
                let user = has.first().map(|who| self.crew[*who].tracker.as_str());
                self.sandbox.asana().assign(gid, user);
            }
            Named::Issue(number) => {
                let logins: Vec<&str> = has.iter().map(|who| self.crew[*who].forge.as_str()).collect();
                self.sandbox.github().assign(&self.name, *number, &logins);
            }
        }
    }

    /// Who of the crew has an item.
    pub fn assignees(&self, item: &Named) -> BTreeSet<usize> {
        let world = self.sandbox.world();
        let side = if matches!(item, Named::Task(_)) { Side::Tracker } else { Side::Forge };
        let accounts: Vec<String> = match item {
            Named::Task(gid) => world.task(gid).and_then(|task| task.assignee).into_iter().collect(),
            Named::Issue(number) => world.issue(&self.name, *number).map_or_else(Vec::new, |issue| issue.assignees),
        };
        (0..self.crew.len()).filter(|who| accounts.contains(&self.crew[*who][side])).collect()
    }

    pub fn set_due(&mut self, pick: u32, day: u8) {
        if let Some(Named::Task(gid)) = self.pick(Side::Tracker, pick) {
            let day = format!("2027-01-{day:02}").parse().expect("a day");
            self.sandbox.asana().due(&gid, Some(day));
        }
    }

    /// The same field of both halves of a pair, moments apart.
    pub fn edit_both(&mut self, pair: &Link, field: u8, line: u8, apart: u16) {
        let halves = [Named::Task(pair.task.clone()), Named::Issue(pair.issue.number)];
        for (label, item) in (line..).zip(halves) {
            match field {
                0 => self.retitle(&item),
                1 => self.edit_line(&item, line),
                // Another label on each: sets commute.
                3 => self.turn_label(&item, label % 3),
                4 => self.turn_assignee(&item, label),
                _ => self.turn_status(&item),
            }
            if apart > 0 {
                self.turns.pause(Duration::from_millis(apart.into()));
            }
        }
    }

    /// Whether taking one away leaves something: a side that shows nothing at all is the brakes' business.
    fn may_go(&self, side: Side) -> bool {
        match side {
            Side::Tracker => self.tasks().len() > 1,
            Side::Forge => self.issues().len() > 1,
        }
    }

    pub fn delete(&mut self, item: &Named) {
        if !self.may_go(if matches!(item, Named::Task(_)) { Side::Tracker } else { Side::Forge }) {
            return;
        }
        let Some((title, body, ..)) = self.look(item) else { return };
        self.forget(&title);
        self.forget(&body);
        self.watch.closed(item.clone());
        match item {
            Named::Task(gid) => {
                self.sandbox.asana().delete(gid);
                self.trash.push(gid.clone());
            }
            Named::Issue(number) => self.sandbox.github().delete(&self.name, *number),
        }
    }

    pub fn restore(&mut self) {
        if let Some(gid) = self.trash.pop() {
            self.sandbox.asana().restore(&gid);
            self.restored.insert(gid);
        }
    }

    pub fn leave(&mut self, pick: u32) {
        if self.may_go(Side::Tracker)
            && let Some(Named::Task(gid)) = self.pick(Side::Tracker, pick)
        {
            self.sandbox.asana().join(&gid, &self.elsewhere.0);
            self.sandbox.asana().leave(&gid, &self.project.gid);
            self.left.push(gid);
        }
    }

    pub fn come_back(&mut self) {
        if let Some(gid) = self.left.pop()
            && self.sandbox.world().task(&gid).is_some_and(|task| !task.trashed)
        {
            self.sandbox.asana().join(&gid, &self.project.gid);
        }
    }

    /// Moves an issue to the repository next door, where nobody looks after it any more.
    pub fn transfer(&mut self, pick: u32) {
        if self.may_go(Side::Forge)
            && let Some(item @ Named::Issue(number)) = self.pick(Side::Forge, pick)
        {
            let Some((title, body, ..)) = self.look(&item) else { return };
            self.forget(&title);
            self.forget(&body);
            self.watch.closed(item.clone());
            self.sandbox.github().transfer(&self.name, number, &self.elsewhere.1);
            self.transferred.insert(number);
        }
    }

    pub fn rename_repository(&mut self) {
        self.renames += 1;
        self.name = self.sandbox.github().rename_repository(&self.name, &format!("app{}", self.renames));
    }

    pub fn comment(&mut self, item: &Named) {
        if self.look(item).is_none() {
            return;
        }
        match item {
            Named::Task(gid) => {
                self.sandbox.asana().comment(gid, "<body>A remark.</body>");
            }
            Named::Issue(number) => {
                self.sandbox.github().comment(&self.name, *number, "A remark.");
            }
        }
    }

    pub fn act_next_door(&mut self, side: Side) {
        self.written += 1;
        let name = format!("ours alone {}", self.written);
        match side {
            Side::Tracker => self.sandbox.asana().rename(&self.neighbours.0, &name),
            Side::Forge => {
                self.sandbox.github().retitle(&self.elsewhere.1, self.neighbours.1, &name);
                self.sandbox.github().retitle(&self.name, self.neighbours.2, &name);
            }
        }
        self.said_next_door[side] = name;
    }

    /// Whether the issue of a pair was moved to where nobody looks after it.
    pub fn moved_on(&self, pair: &Link) -> bool {
        self.transferred.contains(&pair.issue.number)
    }

    /// If one half of a pair is gone, closes the other.
    pub fn close_what_is_left(&mut self, pair: &Link) {
        let both = [Named::Task(pair.task.clone()), Named::Issue(pair.issue.number)];
        match both.each_ref().map(|item| self.look(item)) {
            [None, Some((_, _, true, _))] => self.set_status(&both[1], false),
            [Some((_, _, true, _)), None] => self.set_status(&both[0], false),
            _ => {}
        }
    }

    /// A person answers what a pair was asked: both halves say what the issue says, and a word more.
    pub fn answer(&mut self, pair: &Link) {
        let (task, issue) = (Named::Task(pair.task.clone()), Named::Issue(pair.issue.number));
        let (Some(there), Some(here)) = (self.look(&task), self.look(&issue)) else { return };
        self.forget(&format!("{} {}", there.0, there.1));
        let (title, _, open, _) = here;
        for word in words(&title).into_iter().chain(words(&here.1)) {
            self.words.insert(word);
        }
        let mut lines = words(&here.1);
        lines.push(self.word());
        let body = lines.join("\n\n");
        self.sandbox.asana().rename(&pair.task, &title);
        for (item, body) in [(&task, format!("<body>{body}</body>")), (&issue, body)] {
            self.write_body(item, &body);
            if self.look(item).is_some_and(|look| look.2 != open) {
                self.set_status(item, open);
            }
        }
    }
}
