//! One world from a seed: furnished, acted in, settled, judged.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use evenkeel::clock::since;
use evenkeel::config::{Config, SourceFile};
use evenkeel::engine::PassOptions;
use evenkeel::model::{BySide, Creation, FieldPolicy, ItemKey, LinkId, OnConflict, Person, Side, Timestamp};
use evenkeel::provider::http::{Method, Request, Response, Transport, TransportError};
use evenkeel::sandbox::{Deliveries, Fault, Limit, Mishap, Permission, Sandbox, When};
use evenkeel::store::EntryFilter;
use evenkeel::trigger::Ring;
use zeroize::Zeroizing;

use super::acts::{Act, Bell, Post, Step, Trouble};
use super::knock::PUBLIC_URL;
use super::laws;
use super::life::WorldClock;
use super::operator::{Command, Operator};
use super::people::People;
use super::replica::{Ground, Replica, lock};
use super::shelf;
use super::turns::{Over, Turns};
use super::wire::{Named, Watch};

/// Seconds that the clock of one of several replicas is wrong at most: leases and the grace of creations run by each
/// replica's own clock, which is why theirs must be apart by far less than a lease (`docs/service.md`).
const APART_MAX: i32 = 15;

/// Two people bring the post.
const POSTMEN: usize = 2;

/// What came of a world.
#[derive(Debug, Default, Clone)]
pub struct Outcome {
    /// The law that was broken, if one was, and how.
    pub broken: Option<String>,
    /// Counts by name, for the report.
    pub counts: BTreeMap<&'static str, u64>,
    /// A sum over everything that went over the wires.
    #[allow(dead_code, reason = "only the test that a seed plays the same world reads it")]
    pub trace: u64,
}

/// A world at work.
pub struct World {
    pub ground: Arc<Ground>,
    pub people: People,
    pub replicas: Vec<Arc<Replica>>,
    pub operator: Arc<Operator>,
    threads: Vec<JoinHandle<()>>,
    door: Arc<Door>,
    /// What the histories of lost databases said.
    pub remembered: String,
    pub counts: BTreeMap<&'static str, u64>,
    /// Whether something happened that only a sweep can mend: a listing was short, behind or garbled.
    blurred: bool,
    told: bool,
}

/// The way from the services to whichever process answers.
struct Door {
    turns: Turns,
    replicas: Mutex<Vec<Arc<Replica>>>,
}

impl Transport for Door {
    fn send(&self, request: &Request, _deadline: Duration) -> Result<Response, TransportError> {
        let replicas = lock(&self.replicas).clone();
        if replicas.is_empty() {
            return Err(TransportError::NotSent("connection refused".to_owned()));
        }
        replicas[self.turns.chance(replicas.len())].knock(request)
    }
}

/// Plays a world; `told` prints what happens in it.
pub fn play(seed: u64, steps: &[Step], told: bool) -> Outcome {
    let mut world = World::new(seed, told);
    let played = catch_unwind(AssertUnwindSafe(|| {
        for step in steps {
            world.ground.turns.pause(Duration::from_millis(step.after));
            world.act(&step.act);
            world.ground.written();
        }
        world.settle()
    }));
    // The other actors end before anything is judged or thrown: they hold what this one reads.
    let ended = catch_unwind(AssertUnwindSafe(|| world.end()));
    match (played, ended) {
        (Ok(broken), Ok(())) => {
            Outcome { broken, counts: std::mem::take(&mut world.counts), trace: world.ground.watch.trace() }
        }
        (Err(cause), _) | (_, Err(cause)) if cause.is::<Over>() => resume_unwind(cause),
        (Err(cause), _) | (_, Err(cause)) => {
            let what = cause.downcast_ref::<String>().cloned();
            let what = what.or_else(|| cause.downcast_ref::<&str>().map(|what| (*what).to_owned()));
            Outcome { broken: Some(format!("panic: {}", what.unwrap_or_default())), ..Outcome::default() }
        }
    }
}

impl World {
    fn new(seed: u64, told: bool) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed ^ 0x0077_6f72_6c64);
        // A world in which nothing is drawn globally: whatever still is, is drawn from the seed.
        fastrand::seed(seed);
        let start = Timestamp::from_second(1_795_000_000).expect("in range");
        let turns = Turns::begin(start, seed);
        let sandbox = Sandbox::new(Arc::new(WorldClock(turns.clone())), seed);
        let watch = Watch::default();
        let people = People::settle(&sandbox, &turns, &watch);
        sandbox.github().permit(&people.repo.name, &sandbox.github().bot(), Permission::Admin);
        let webhooks = chance.u8(..4) > 0;
        let config = Arc::new(config(&people, &mut chance, webhooks));
        let ground = Arc::new(Ground {
            turns: turns.clone(),
            sandbox: sandbox.clone(),
            config,
            store: Mutex::new(shelf::take()),
            watch,
            seed,
            postmen: Mutex::default(),
            panics: Mutex::default(),
            restarts: AtomicBool::new(true),
        });
        let door = Arc::new(Door { turns: turns.clone(), replicas: Mutex::default() });
        sandbox.webhooks().send_through(door.clone());
        let operator = Operator::new(&ground);
        let mut world = Self {
            ground,
            operator,
            people,
            replicas: Vec::new(),
            threads: Vec::new(),
            door,
            remembered: String::new(),
            counts: BTreeMap::new(),
            blurred: false,
            told,
        };
        let many = [1, 1, 1, 2, 2, 3][chance.usize(..6)];
        for number in 0..many {
            let (replica, threads) = Replica::start(&world.ground, number);
            world.replicas.push(replica);
            world.threads.extend(threads);
        }
        lock(&world.door.replicas).clone_from(&world.replicas);
        if webhooks {
            for _ in 0..POSTMEN {
                let (postman, thread) = postman(&turns, &sandbox);
                lock(&world.ground.postmen).push(postman);
                world.threads.push(thread);
            }
        }
        for side in Side::BOTH {
            for lines in 0..chance.u8(..4) {
                world.people.make(side, lines, false);
            }
        }
        world
    }

    fn replica(&self, number: u8) -> &Arc<Replica> {
        &self.replicas[usize::from(number) % self.replicas.len()]
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    pub fn tell(&self, what: &str) {
        if self.told {
            eprintln!("{} {what}", self.ground.turns.now());
        }
    }

    fn act(&mut self, act: &Act) {
        self.tell(&format!("{act:?}"));
        self.blurred |= match act {
            Act::Fault { fault, .. } | Act::Storm { fault, .. } => {
                matches!(fault, Trouble::ShortListing | Trouble::WrongTypes | Trouble::EventsExpired)
            }
            Act::Lag { .. } | Act::FeedLoses { .. } | Act::LoseDatabase | Act::ForgetTokens => true,
            _ => false,
        };
        let sandbox = self.ground.sandbox.clone();
        match act {
            Act::Make { side, lines, done } => self.people.make(*side, *lines, *done),
            Act::Flood { side, items } => (0..*items).for_each(|_| self.people.make(*side, 0, false)),
            Act::Title { side, pick } => self.to(*side, *pick, People::retitle),
            Act::Line { side, pick, line } => self.to(*side, *pick, |people, item| people.edit_line(item, *line)),
            Act::Status { side, pick } => self.to(*side, *pick, People::turn_status),
            Act::Label { side, pick, label } => self.to(*side, *pick, |people, item| people.turn_label(item, *label)),
            Act::Assignee { side, pick, who } => {
                self.to(*side, *pick, |people, item| people.turn_assignee(item, *who));
            }
            Act::Comment { side, pick } => self.to(*side, *pick, People::comment),
            Act::Delete { side, pick } => self.to(*side, *pick, People::delete),
            Act::Due { pick, day } => self.people.set_due(*pick, *day),
            Act::Both { pick, field, line, apart } => {
                let links = self.ground.store().links(None, LinkId(0), 1_000).expect("links");
                if !links.is_empty() {
                    self.people.edit_both(&links[*pick as usize % links.len()], *field, *line, *apart);
                }
            }
            Act::Restore => self.people.restore(),
            Act::Leave { pick } => self.people.leave(*pick),
            Act::Return => self.people.come_back(),
            Act::Transfer { pick } => self.people.transfer(*pick),
            Act::RenameRepository => self.people.rename_repository(),
            Act::Neighbour { side, .. } => self.people.act_next_door(*side),
            Act::Fault { side, fault, reads, writes, times } => {
                sandbox.faults().next((*times).into(), when(*side, *reads, *writes), fault_of(*fault));
            }
            Act::Storm { side, fault, percent, writes } => {
                sandbox.faults().chance(f64::from(*percent) / 100.0, when(*side, false, *writes), fault_of(*fault));
            }
            Act::Calm => sandbox.faults().clear(),
            Act::Lag { side, seconds } => self.lag(*side, Duration::from_secs((*seconds).into())),
            Act::FeedLoses { percent } => {
                sandbox.asana().habits(|habits| habits.event_loss = f64::from(*percent) / 100.0);
            }
            Act::ForgetTokens => sandbox.asana().forget_sync_tokens(),
            Act::Revoke { side: Side::Tracker } => sandbox.asana().revoke(&self.people.project.token),
            Act::Revoke { side: Side::Forge } => sandbox.github().revoke(&self.people.repo.token),
            Act::Readmit { side: Side::Tracker } => sandbox.asana().restore_token(&self.people.project.token),
            Act::Readmit { side: Side::Forge } => sandbox.github().restore_token(&self.people.repo.token),
            Act::Hide { hidden } => {
                let asana = sandbox.asana();
                asana.hide(&self.people.project.gid, &asana.bot(), *hidden);
            }
            Act::Mishap { side, mishap, times } => {
                sandbox.deliveries().next((*times).into(), *side, mishap_of(*mishap))
            }
            Act::Deaf { side, deaf } => sandbox.deliveries().down(*side, *deaf),
            Act::Forge { side } => self.forge(*side),
            Act::Kill { replica, moments, down } => {
                self.count("kills");
                self.replica(*replica).kill((*moments).into(), Duration::from_secs((*down).into()));
            }
            Act::Freeze { replica, seconds } => {
                let span = Duration::from_secs((*seconds).into());
                self.replica(*replica).with_life(|life| life.freeze(span));
            }
            Act::Busy { replica, after, uses } => {
                self.replica(*replica).with_life(|life| life.busy((*after).into(), (*uses).into()));
            }
            Act::Jump { replica, seconds } => {
                let seconds = match self.replicas.len() {
                    1 => *seconds,
                    _ => (*seconds).clamp(-APART_MAX, APART_MAX),
                };
                self.ground.watch.clocks_jump();
                let ahead = i64::from(seconds) * 1_000;
                self.replica(*replica).skew(ahead);
                if self.replica(*replica).number == 0 {
                    self.operator.skew(ahead);
                }
            }
            Act::Ring { replica, ring } => self.replica(*replica).ring(match ring {
                Bell::Poll => Ring::Poll,
                Bell::Sweep => Ring::Sweep,
                Bell::Forced => Ring::Forced,
            }),
            Act::LoseDatabase => self.lose_database(),
            Act::Undo { pick } => self.threads.extend(self.operator.order(Command::Undo(*pick))),
            Act::Part { pick } => self.threads.extend(self.operator.order(Command::Part(*pick))),
            Act::Resolve { pick } => self.threads.extend(self.operator.order(Command::Resolve(*pick))),
            Act::Wait => self.ground.turns.pause(Duration::from_secs(120)),
        }
    }

    fn to(&mut self, side: Side, pick: u32, act: impl FnOnce(&mut People, &Named)) {
        if let Some(item) = self.people.pick(side, pick) {
            self.tell(&format!("  {item:?}"));
            act(&mut self.people, &item);
        }
    }

    fn lag(&self, side: Side, lag: Duration) {
        self.ground.watch.lags(side, lag);
        match side {
            Side::Tracker => self.ground.sandbox.asana().habits(|habits| habits.lag = lag),
            Side::Forge => self.ground.sandbox.github().habits(|habits| habits.lag = lag),
        }
    }

    /// Somebody sends what is not signed; it must be turned away.
    fn forge(&mut self, side: Side) {
        let path = match side {
            Side::Tracker => "/webhooks/asana/0123",
            Side::Forge => "/webhooks/github",
        };
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let headers = vec![
            header("content-type", "application/json"),
            header("x-hook-signature", "00"),
            header("x-hub-signature-256", "sha256=00"),
            header("x-github-event", "issues"),
            header("x-github-delivery", "1"),
        ];
        let body = br#"{"events": [], "action": "closed"}"#.to_vec();
        let request = Request { method: Method::Post, url: format!("{PUBLIC_URL}{path}"), headers, body };
        if let Ok(response) = self.replica(0).knock(&request) {
            self.count("forged deliveries");
            assert!(!(200..300).contains(&response.status), "a forged delivery was answered {}", response.status);
        }
    }

    /// The database is lost while everything can be seen: what no listing shows and no table knows, nobody can know.
    fn lose_database(&mut self) {
        self.calm();
        self.ground.restarts.store(false, Ordering::Relaxed);
        self.stop_all();
        // What a dead process had sent and nobody has noted cannot be known: who starts with an empty database waits.
        while self.ground.watch.on_their_way() > 0 {
            self.ground.turns.pause(Duration::from_secs(1));
        }
        self.remember();
        let lost = std::mem::replace(&mut *lock(&self.ground.store), shelf::take());
        shelf::put_back(lost);
        self.ground.watch.database_lost(self.people.all_closed());
        self.count("databases lost");
        self.ground.restarts.store(true, Ordering::Relaxed);
        self.replicas.iter().for_each(|replica| replica.start_again());
        self.ground.turns.pause(Duration::from_secs(150));
    }

    fn remember(&mut self) {
        let filter = EntryFilter { limit: 100_000, ..EntryFilter::default() };
        for entry in self.ground.store().history(&filter).expect("a history") {
            self.remembered.push_str(&laws::spoken(&entry.entry.changes));
        }
    }

    /// Ends every process and waits until each has ended.
    pub fn stop_all(&self) {
        for replica in &self.replicas {
            replica.kill(0, Duration::from_secs(1));
        }
        self.operator.stop();
        while self.operator.at_work() || self.replicas.iter().any(|replica| replica.up()) {
            self.ground.turns.pause(Duration::from_secs(1));
        }
    }

    /// Everything works again.
    pub fn calm(&self) {
        let sandbox = &self.ground.sandbox;
        sandbox.faults().clear();
        let deliveries: Deliveries = sandbox.deliveries();
        deliveries.clear();
        for side in Side::BOTH {
            self.lag(side, Duration::ZERO);
            deliveries.down(side, false);
        }
        let asana = sandbox.asana();
        asana.habits(|habits| habits.event_loss = 0.0);
        asana.restore_token(&self.people.project.token);
        asana.hide(&self.people.project.gid, &asana.bot(), false);
        sandbox.github().restore_token(&self.people.repo.token);
        self.operator.skew(0);
        for replica in &self.replicas {
            replica.skew(0);
            replica.with_life(|life| {
                life.busy(0, 0);
                life.end_after(u64::MAX);
            });
        }
    }

    /// Faults off, people answer; then the laws. The law that is broken, if one is.
    fn settle(&mut self) -> Option<String> {
        self.tell("calm");
        self.calm();
        for _ in 0..4 {
            self.ground.turns.pause(Duration::from_secs(240));
            self.answers();
        }
        self.ground.turns.pause(Duration::from_secs(240));
        self.ground.restarts.store(false, Ordering::Relaxed);
        self.stop_all();
        // Polls and deliveries bring in step what was not hidden from them: a sweep is for the rest.
        if !self.blurred
            && let Err(broken) = laws::agreement(self)
        {
            return Some(format!("before a sweep, {broken}"));
        }
        let broken = laws::judge(self);
        if self.told {
            let filter = EntryFilter { limit: 100_000, ..EntryFilter::default() };
            for entry in self.ground.store().history(&filter).expect("a history") {
                let changes = serde_json::to_string(&entry.entry.changes).expect("JSON");
                let (at, item) = (entry.entry.at, &entry.entry.item);
                eprintln!("{at} {} {item}: {changes} ({})", entry.entry.kind, entry.entry.cause);
            }
        }
        broken
    }

    /// People act: parked items are taken back, and a question is answered with the issue's words and one more.
    pub fn answers(&mut self) {
        let store = self.ground.store();
        for due in store.parked(None).expect("parked items") {
            self.count("parked");
            self.tell(&format!("taken back: {} {} {:?}", due.item, due.reason, due.last_error));
            if let Some(pair) = store.link_of(&due.item).expect("a link") {
                if self.people.moved_on(&pair) {
                    let options = PassOptions { lease_wait: Duration::from_secs(300), ..PassOptions::default() };
                    if let Err(error) = laws::engine(self).part(&pair, "it moved on", &options) {
                        self.tell(&format!("not parted: {error}"));
                    }
                    continue;
                }
                // One half is gone and the other was edited since: closing that one is one of the ways out.
                self.people.close_what_is_left(&pair);
            } else if let ItemKey::Task(gid) = &due.item
                && self.counts.contains_key("databases lost")
                && self.people.restored.contains(gid)
            {
                // It was in the trash when the database was lost, and its partner got another: away with it again.
                self.people.delete(&Named::Task(gid.clone()));
            }
            store.unpark(due.id, self.ground.turns.now()).expect("unparked");
        }
        for pair in store.waiting_links(None, 100).expect("waiting links") {
            self.count("questions");
            self.tell(&format!("answered: {} {}", pair.task, pair.issue));
            self.people.answer(&pair);
        }
    }

    /// Ends the world: every actor's thread is joined.
    fn end(&mut self) {
        self.ground.turns.end();
        for thread in self.threads.drain(..) {
            // A panic was noted where it happened.
            let _ = thread.join();
        }
        // What holds one another would stay in memory: the services the door, and it the processes behind it.
        lock(&self.door.replicas).clear();
        self.replicas.iter().for_each(|replica| replica.clear());
        shelf::put_back(self.ground.store());
    }
}

/// Brings what is due to go out.
fn postman(turns: &Turns, sandbox: &Sandbox) -> (usize, JoinHandle<()>) {
    let (own, sandbox) = (turns.clone(), sandbox.clone());
    turns.add(move || {
        loop {
            sandbox.webhooks().deliver_due();
            let next = sandbox.webhooks().next_due().map_or(Duration::MAX, |next| since(own.now(), next));
            own.rest(next.clamp(Duration::from_millis(200), Duration::from_secs(300)));
        }
    })
}

/// The configuration that fits, its policies by chance.
fn config(people: &People, chance: &mut fastrand::Rng, webhooks: bool) -> Config {
    let urls: BySide<String> = people.sandbox.base_urls();
    let hooks = if webhooks {
        format!("[webhooks]\npublic_url = \"{PUBLIC_URL}\"\nseal_key = {{ env = \"K\" }}\n")
    } else {
        String::new()
    };
    let text = format!(
        "[asana]\ntoken = {{ env = \"A\" }}\nbase_url = \"{}\"\n[github]\ntoken = {{ env = \"G\" }}\nbase_url = \"{}\"\n\
         {hooks}[[route]]\nname = \"app\"\nasana_project = \"{}\"\ngithub_repo = \"{}\"\n",
        urls.tracker, urls.forge, people.project.gid, people.repo.name
    );
    let env = |name: &str| match name {
        "A" => Some(people.project.token.clone()),
        "G" => Some(people.repo.token.clone()),
        "K" => Some("0123456789abcdef0123456789abcdef".to_owned()),
        _ => None,
    };
    let read = |_: &Path| Ok(SourceFile { text: Zeroizing::new(text.clone()), open_to_all: false });
    let mut config =
        Config::load(Some(Path::new("config.toml")), &env, &read).unwrap_or_else(|error| panic!("{error}"));
    let rules = &mut config.routes[0].rules;
    let on_conflict = [OnConflict::Newest, OnConflict::Tracker, OnConflict::Forge, OnConflict::Ask];
    rules.on_conflict = on_conflict[chance.usize(..4)];
    rules.creation = [Creation::Both, Creation::TrackerToForge, Creation::ForgeToTracker][chance.usize(..3)];
    let owner = |chance: &mut fastrand::Rng| match chance.u8(..8) {
        0 => FieldPolicy::Tracker,
        1 => FieldPolicy::Forge,
        _ => FieldPolicy::Both,
    };
    rules.policy.title = owner(chance);
    rules.policy.body = owner(chance);
    rules.policy.status = owner(chance);
    rules.policy.labels = if chance.bool() { FieldPolicy::Both } else { FieldPolicy::Off };
    rules.policy.due = if chance.bool() { FieldPolicy::Tracker } else { FieldPolicy::Off };
    for side in Side::BOTH {
        rules.filter[side].include_done = chance.bool();
    }
    rules.comment_on_link = chance.bool();
    if chance.u8(..3) > 0 {
        rules.policy.assignees = FieldPolicy::Both;
        let person = |accounts: &BySide<String>| Person {
            name: accounts.forge.clone(),
            account: accounts.clone().map(Some),
            mention: false,
        };
        let known = people.crew.iter().take(people.crew.len() - 1);
        rules.people = evenkeel::model::People::new(known.map(person).collect());
    }
    // What brakes do is told elsewhere; here they would only keep worlds apart.
    rules.brakes.updates_max = 1_000;
    rules.brakes.retirements_max = 1_000;
    config
}

fn when(side: Side, reads: bool, writes: bool) -> When {
    let when = When::side(side);
    match (reads, writes) {
        (true, false) => when.reads(),
        (false, true) => when.writes(),
        _ => when,
    }
}

fn fault_of(trouble: Trouble) -> Fault {
    match trouble {
        Trouble::Busy => Fault::Busy { limit: Limit::Secondary, status: 429, retry_after: Some(20) },
        Trouble::BusySilent => Fault::Busy { limit: Limit::Secondary, status: 403, retry_after: None },
        Trouble::BusyPrimary => Fault::Busy { limit: Limit::Primary, status: 403, retry_after: Some(90) },
        Trouble::Broken => Fault::Broken { status: 502, done: false },
        Trouble::BrokenDone => Fault::Broken { status: 504, done: true },
        Trouble::Refused => Fault::Refused,
        Trouble::CutBefore => Fault::CutBefore,
        Trouble::CutAfter => Fault::CutAfter,
        Trouble::Truncated => Fault::Truncated,
        Trouble::Garbage => Fault::Garbage,
        Trouble::Html => Fault::Html,
        Trouble::WrongTypes => Fault::WrongTypes,
        Trouble::ShortListing => Fault::ShortListing(2),
        Trouble::EventsExpired => Fault::EventsExpired,
        Trouble::Hidden => Fault::Hidden,
        Trouble::Forbidden => Fault::Forbidden,
        Trouble::Unauthorized => Fault::Unauthorized,
        Trouble::Slow => Fault::Delay(Duration::from_secs(20)),
    }
}

fn mishap_of(post: Post) -> Mishap {
    match post {
        Post::Lost => Mishap::Lost,
        Post::Doubled => Mishap::Doubled,
        Post::Delayed => Mishap::Delayed(Duration::from_secs(75)),
        Post::Reordered => Mishap::Reordered,
        Post::Refused => Mishap::Refused,
        Post::AnswerLost => Mishap::AnswerLost,
    }
}
