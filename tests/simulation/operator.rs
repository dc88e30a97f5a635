//! Who runs commands beside the service: each is a process of its own, which may be ended in the middle of things.

use std::collections::VecDeque;
use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel::engine::{Engine, PassOptions, Resolve, UndoTarget};
use evenkeel::model::{Field, FieldPolicy, LinkId, Side};
use evenkeel::reconcile::Take;
use evenkeel::store::{EntryFilter, Store, StoreError};

use super::life::Life;
use super::replica::{Ground, lock};
use super::wire::Named;

/// The operator's place among the processes of a world, beyond those of the service.
pub const PLACE: usize = 9;

/// One command in so many is ended in the middle.
const ENDED: u32 = 4;

/// What an operator is to do. Numbers choose among what there is when its turn comes.
#[derive(Debug, Clone, Copy)]
pub enum Command {
    /// Undoes a pass, or what was last done to an item.
    Undo(u32),
    /// Settles a field that waits.
    Resolve(u32),
    /// Lets go of a pair.
    Part(u32),
}

/// The operator of a world.
pub struct Operator {
    ground: Arc<Ground>,
    commands: Mutex<VecDeque<Command>>,
    present: Mutex<Option<Arc<Life>>>,
    /// Comes with the first command: who never comes changes nobody's turn.
    actor: Mutex<Option<usize>>,
    starts: AtomicU64,
    /// What the clock is ahead on the machine that commands run on, which is the first process's.
    skew: Mutex<i64>,
    done: AtomicU64,
}

impl Operator {
    /// An operator who waits for commands.
    pub fn new(ground: &Arc<Ground>) -> Arc<Self> {
        Arc::new(Self {
            ground: ground.clone(),
            commands: Mutex::default(),
            present: Mutex::default(),
            actor: Mutex::default(),
            starts: AtomicU64::new(0),
            skew: Mutex::default(),
            done: AtomicU64::new(0),
        })
    }

    /// Has a command run as soon as those before it have ended. Answers the thread to join at the end, the first time.
    pub fn order(self: &Arc<Self>, command: Command) -> Option<JoinHandle<()>> {
        lock(&self.commands).push_back(command);
        let mut present = lock(&self.actor);
        if let Some(actor) = *present {
            self.ground.turns.wake(actor);
            return None;
        }
        let me = self.clone();
        let (actor, thread) = self.ground.turns.add(move || me.work());
        *present = Some(actor);
        Some(thread)
    }

    fn work(&self) {
        loop {
            while let Some(command) = self.next() {
                self.run(command);
            }
            self.ground.turns.rest(Duration::from_secs(3_600));
        }
    }

    /// Sets the clock of this machine.
    pub fn skew(&self, ahead: i64) {
        *lock(&self.skew) = ahead;
        if let Some(life) = &*lock(&self.present) {
            life.skew(ahead);
        }
    }

    /// Ends the present command, and forgets those that wait.
    pub fn stop(&self) {
        lock(&self.commands).clear();
        if let Some(life) = &*lock(&self.present) {
            life.end_after(0);
        }
    }

    pub fn at_work(&self) -> bool {
        lock(&self.present).is_some()
    }

    /// Commands that did what they were to do.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    fn next(&self) -> Option<Command> {
        lock(&self.commands).pop_front()
    }

    fn run(&self, command: Command) {
        let life = Life::begin(&self.ground.turns, *lock(&self.skew));
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let (Command::Undo(pick) | Command::Resolve(pick) | Command::Part(pick)) = command;
        // Other digits choose what is done.
        if (pick / 10).is_multiple_of(ENDED) {
            life.end_after(u64::from(pick / 10 / ENDED % 100));
        }
        *lock(&self.present) = Some(life.clone());
        // However it ends: whoever waits for its end must not wait for ever.
        let _over = Over(self);
        self.ground.live(|| {
            let works = self.ground.workshop("operator", PLACE, start, &life);
            let engine = works.engine(&self.ground.config.routes[0]).expect("an engine");
            match self.carry_out(&engine, &works.store, command) {
                Ok(true) => _ = self.done.fetch_add(1, Ordering::Relaxed),
                Ok(false) => {}
                // Told on the terminal: the operator tries again or does not.
                Err(why) => log::debug!("{command:?}: {why}"),
            }
        });
    }

    /// Does what an operator asks for; answers whether there was anything to do.
    fn carry_out(&self, engine: &Engine, store: &Store, command: Command) -> Result<bool, Box<dyn Error>> {
        let options =
            PassOptions { cause: "operator".to_owned(), lease_wait: Duration::from_secs(45), ..PassOptions::default() };
        match command {
            Command::Undo(pick) => {
                let Some(target) = target(store, pick)? else { return Ok(false) };
                let plan = engine.plan_undo(&target)?;
                log::debug!("undo of {target:?}: {plan:?}");
                if plan.is_empty() {
                    return Ok(false);
                }
                let parted = plan.steps.iter().filter(|step| step.unlink);
                let items = parted.flat_map(|step| step.items.iter().filter_map(|(_, item)| item.as_ref()));
                self.ground.watch.lets_go(items.map(Named::from));
                let operated = self.ground.watch.operated(&[""]);
                let asked = self.ground.turns.now().as_millisecond();
                let ended = plan.pass.and_then(|pass| store.pass(pass).transpose()).transpose()?;
                let undone = engine.undo(&plan, &options)?;
                let ended = ended.and_then(|pass| pass.ended_at).map_or(i64::MAX, |at| at.as_millisecond());
                let free = self.ground.config.routes[0].rules.policy.title == FieldPolicy::Both;
                for step in &undone.done {
                    let mut writes = step.writes.iter().filter_map(|(_, write)| write.as_ref());
                    let titled = writes.find(|write| write.fields.iter().any(|change| change.field == Field::Title));
                    // What another command put back before is nobody's edit any more, nor what one side owns.
                    if let Some(item) = titled.map(|write| Named::from(&write.item)).filter(|_| free)
                        && !operated.contains(&item)
                    {
                        self.ground.watch.puts_back_a_title(&item, ended, asked);
                    }
                }
                log::debug!("undone: {undone:?}");
                Ok(!undone.done.is_empty())
            }
            Command::Resolve(pick) => {
                let waiting = store.waiting_links(None, 100)?;
                let Some(link) = chosen(&waiting, pick) else { return Ok(false) };
                let fields: Vec<_> = link.waiting.keys().collect();
                let Some(field) = chosen(&fields, pick / 7) else { return Ok(false) };
                let takes = [Take::Side(Side::Tracker), Take::Side(Side::Forge), Take::Both];
                let take = takes[pick as usize / 10 % takes.len()].clone();
                let asked = Resolve { link: link.id, field: **field, take, seen: None, reason: String::new() };
                let resolved = engine.resolve(&asked, &options)?;
                log::debug!("resolved: {resolved:?}");
                Ok(resolved.left.is_none() && resolved.moved.is_none())
            }
            Command::Part(pick) => {
                let links = store.links(None, LinkId(0), 1_000)?;
                let Some(link) = chosen(&links, pick) else { return Ok(false) };
                let parted = engine.part(link, "it is no pair", &options)?;
                Ok(parted.items.is_some())
            }
        }
    }
}

/// Takes note that a command has ended.
struct Over<'a>(&'a Operator);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        *lock(&self.0.present) = None;
    }
}

/// A pass that wrote something, or an item that was written.
fn target(store: &Store, pick: u32) -> Result<Option<UndoTarget>, StoreError> {
    let wrote = ["create", "update", "link", "retire", "undo"];
    let filter = EntryFilter { limit: 10_000, ..EntryFilter::default() };
    let mut entries = store.history(&filter)?;
    entries.retain(|entry| wrote.contains(&entry.entry.kind.as_str()));
    Ok(chosen(&entries, pick).map(|entry| match pick / 5 % 2 {
        0 => UndoTarget::Pass(entry.entry.pass),
        _ => UndoTarget::Item(entry.entry.item.clone()),
    }))
}

fn chosen<T>(among: &[T], pick: u32) -> Option<&T> {
    among.get(pick as usize % among.len().max(1))
}
