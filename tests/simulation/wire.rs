//! The way from a simulated process to the services: it takes time, and what goes over it is watched.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evenkeel::model::{IssueNumber, IssueRef, ItemKey, Side, TaskGid, Timestamp};
use evenkeel::provider::http::{Method, Request, Response, Transport, TransportError};

use evenkeel::store::Store;

use super::life::Life;
use super::operator;
use super::replica::Ground;
use super::turns::Turns;

/// An item as the services' addresses name it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Named {
    Task(TaskGid),
    Issue(IssueNumber),
}

impl From<&ItemKey> for Named {
    fn from(key: &ItemKey) -> Self {
        match key {
            ItemKey::Task(gid) => Self::Task(gid.clone()),
            ItemKey::Issue(issue) => Self::Issue(issue.number),
        }
    }
}

/// One process's way to the services.
pub struct Wire {
    /// Where its process runs, and the how manieth it is there.
    pub place: usize,
    pub start: u64,
    pub life: Arc<Life>,
    pub turns: Turns,
    /// Who it is to the database.
    pub holder: String,
    /// The database itself, past whatever goes wrong with it.
    pub store: Store,
    pub services: Arc<dyn Transport>,
    pub watch: Watch,
    pub ground: Arc<Ground>,
}

impl Transport for Wire {
    fn send(&self, request: &Request, deadline: Duration) -> Result<Response, TransportError> {
        self.life.moment(5..120);
        // What stood still on its way was admitted before.
        let held = (0..HELD).contains(&self.now().saturating_sub(self.life.thawed_at()));
        self.watch.arrives(request, self.now(), held);
        self.watch.minds_the_wait(self, request, self.now());
        if request.method.writes() && self.place == operator::PLACE {
            self.watch.operates(request);
        }
        if request.method.writes() && !request.url.contains("hooks") {
            self.watch.holds_the_lease(self, request);
            self.watch.closes_what_somebody_closed(self, request);
        }
        let on_its_way = OnItsWay::new(&self.watch);
        let answer = self.services.send(request, deadline);
        drop(on_its_way);
        // A slow service has done it at the end of its wait.
        self.watch.done(self, request, &answer);
        if request.method.writes() {
            self.note_what_was_made(request);
            self.ground.written();
        }
        self.life.moment(5..60);
        answer
    }
}

impl Wire {
    /// What a creation made, whatever was answered: titles are words that are written once in a world.
    fn note_what_was_made(&self, request: &Request) {
        if request.method != Method::Post || !request.url.split('?').next().is_some_and(|url| url.ends_with("s")) {
            return;
        }
        let Ok(body) = serde_json::from_slice::<serde_json::Value>(&request.body) else { return };
        let world = self.ground.sandbox.world();
        let route = &self.ground.config.routes[0];
        let (title, made): (_, Vec<Named>) = if let Some(title) = body["title"].as_str() {
            let issues = world.issues(&route.repo).into_iter();
            let bot = self.ground.sandbox.github().bot();
            let ours = issues.filter(|issue| issue.title == title && issue.author == bot);
            (title, ours.map(|issue| Named::Issue(issue.number)).collect())
        } else if let Some(name) = body["data"]["name"].as_str() {
            let tasks = world.tasks(&route.project).into_iter();
            let bot = self.ground.sandbox.asana().bot();
            let ours = tasks.filter(|task| task.name == name && task.created_by == bot);
            (name, ours.map(|task| Named::Task(task.gid)).collect())
        } else {
            return;
        };
        self.watch.seen().made.entry(title.to_owned()).or_default().extend(made);
    }

    /// Who reads and writes: a process's post and its courier each decide from what they read themselves.
    fn hand(&self) -> Hand {
        (self.holder.clone(), Turns::me())
    }

    fn now(&self) -> i64 {
        self.turns.now().as_millisecond()
    }
}

/// A request that a service has and has not carried out yet, whatever becomes of who sent it.
struct OnItsWay<'a>(&'a Watch);

impl<'a> OnItsWay<'a> {
    fn new(watch: &'a Watch) -> Self {
        watch.seen().on_their_way += 1;
        Self(watch)
    }
}

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        self.0.seen().on_their_way -= 1;
    }
}

/// What came back for a request.
type Exchange = Result<Response, TransportError>;

/// The process and its actor.
type Hand = (String, usize);

/// How long after it stood still what is sent was on its way before, in ms.
const HELD: i64 = 1_000;

/// The longest time between a read and the write that was decided from it, in ms: the way of both, a slow answer, the
/// other reads of the pair.
const FRESH: i64 = 45_000;

/// What was seen going over all wires, and what people did meanwhile. Clones are the same.
#[derive(Clone, Default)]
pub struct Watch(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// When a hand of a process last read an item, until it wrote to it.
    read: BTreeMap<(Hand, Named), i64>,
    /// When people edited an item, and the words that they wrote, or to whom they gave it.
    edits: BTreeMap<Named, Vec<(i64, Vec<String>)>>,
    /// Words of edits that fell between a read and the write that followed: nobody can see those.
    unseeable: BTreeSet<String>,
    /// How far behind reads are at present, in ms.
    lag: [i64; 2],
    /// How far they ever were.
    lag_most: i64,
    broken: Vec<String>,
    /// Whether any clock was set.
    jumped: bool,
    /// What people closed or took away at some time, or an operator had closed.
    closed: BTreeSet<Named>,
    /// What an operator's commands wrote to, and by which requests.
    operated: Vec<(Named, String)>,
    /// When people wrote the titles of items.
    titles: Vec<(i64, Named)>,
    /// What the operator's present command lets go of.
    let_go: BTreeSet<Named>,
    /// From when until when a process was asked to send nothing to a side, in ms, and the how manieth that process was.
    quiet: BTreeMap<(usize, usize), (u64, Range<i64>)>,
    /// What was made for whom, as the titles tell.
    made: BTreeMap<String, BTreeSet<Named>>,
    /// Arrivals within the longest window, with their weight: asana, github's points, github's creations.
    arrivals: [VecDeque<(i64, u64)>; 3],
    counts: [u64; 2],
    /// Requests that are not carried out yet.
    on_their_way: u32,
    /// Sums up what went over the wires, in its order.
    trace: DefaultHasher,
    writes: [u64; 2],
}

/// The published limits: what is counted, in how many ms, at most how much.
const LIMITS: [(usize, &str, i64, u64); 4] = [
    (0, "asana's requests in a minute", 60_000, 150),
    (1, "github's points in a minute", 60_000, 900),
    (2, "github's creations in a minute", 60_000, 80),
    (2, "github's creations in an hour", 3_600_000, 500),
];

impl Watch {
    /// A person edited an item and wrote these words.
    pub fn edited(&self, item: Named, words: Vec<String>, now: i64) {
        self.seen().edits.entry(item).or_default().push((now, words));
    }

    /// The clock of a machine was set: what a minute is to it, nobody knows any more, and its limits are not held to.
    pub fn clocks_jump(&self) {
        self.seen().jumped = true;
    }

    /// The database was lost, and with it what was sent before: nobody can count that in any more.
    /// And why something is closed, such as that its partner was deleted.
    pub fn database_lost(&self, closed: impl IntoIterator<Item = Named>) {
        let mut seen = self.seen();
        seen.arrivals = Default::default();
        seen.closed.extend(closed);
    }

    /// How many requests are on their way.
    pub fn on_their_way(&self) -> u32 {
        self.seen().on_their_way
    }

    /// Reads are this far behind from now on.
    pub fn lags(&self, side: Side, lag: Duration) {
        let mut seen = self.seen();
        let lag = i64::try_from(lag.as_millis()).unwrap_or(i64::MAX);
        seen.lag[index(side)] = lag;
        seen.lag_most = seen.lag_most.max(lag);
    }

    pub fn unseeable(&self) -> BTreeSet<String> {
        self.seen().unseeable.clone()
    }

    /// The laws that were broken on the wire.
    pub fn broken(&self) -> Vec<String> {
        self.seen().broken.clone()
    }

    /// Requests, and writes among them, of tracker and forge so far.
    pub fn counts(&self) -> ([u64; 2], [u64; 2]) {
        let seen = self.seen();
        (seen.counts, seen.writes)
    }

    /// A sum over all requests in their order.
    pub fn trace(&self) -> u64 {
        self.seen().trace.finish()
    }

    fn arrives(&self, request: &Request, now: i64, held: bool) {
        let side = side(request);
        let mut seen = self.seen();
        (now, request.method, &request.url, request.body.len()).hash(&mut seen.trace);
        seen.counts[index(side)] += 1;
        seen.writes[index(side)] += u64::from(request.method.writes());
        if !held {
            seen.within_limits(side, request, now);
        }
    }

    /// Whoever was told to wait waits: asked of each process for itself. What was on its way already when the answer came
    /// cannot know it, also when the process stood still there.
    fn minds_the_wait(&self, wire: &Wire, request: &Request, now: i64) {
        let mut seen = self.seen();
        let place = (wire.place, index(side(request)));
        if let Some((asked, quiet)) = seen.quiet.get(&place)
            && *asked == wire.start
            && quiet.contains(&now)
            && now.saturating_sub(wire.life.thawed_at()) > 500
            && !wire.life.jumped()
        {
            let early = quiet.end - now;
            seen.broken.push(format!("{} was told to wait and came {early} ms early: {request:?}", wire.holder));
        }
    }

    /// Whoever writes holds the lease, as far as the database knows at that moment.
    fn holds_the_lease(&self, wire: &Wire, request: &Request) {
        let route = &wire.ground.config.routes[0].name;
        let held = wire.store.lease_holder(route, Timestamp::MIN).expect("a lease");
        let other = held.filter(|held| held.holder != wire.holder);
        // Who stood still between its last look at the lease and this moment cannot know it, nor can who had its clock set
        // ahead there: its lease, renewed a moment ago, seems to have run out to whoever comes.
        if let Some(other) = other
            && wire.now().saturating_sub(wire.life.thawed_at()) > 10_000
            && wire.now().saturating_sub(wire.life.sprang_at()) > 1_000
        {
            let what = format!("{} writes while {} holds the lease: {request:?}", wire.holder, other.holder);
            self.seen().broken.push(what);
        }
    }

    /// A half is closed only if somebody closed or took away one of the two before.
    fn closes_what_somebody_closed(&self, wire: &Wire, request: &Request) {
        let Some(item) = item(request) else { return };
        if !closes(request) {
            return;
        }
        let repo = wire.ground.config.routes[0].repo.clone();
        let key = match &item {
            Named::Task(gid) => ItemKey::Task(gid.clone()),
            Named::Issue(number) => ItemKey::Issue(IssueRef { repo, number: *number }),
        };
        // Looked up by the name of the beginning; under another one the law says nothing.
        let Some(link) = wire.store.link_of(&key).expect("a link") else { return };
        let halves = [Named::Task(link.task), Named::Issue(link.issue.number)];
        let mut seen = self.seen();
        if !halves.iter().any(|half| seen.closed.contains(half)) {
            seen.broken.push(format!("{item:?} is closed, though nobody closed or took away any of {halves:?}"));
        }
    }

    /// An operator has an item written to: from then on it need not show what people wanted of it, nor its partner.
    fn operates(&self, request: &Request) {
        let path = request.url.split('?').next().unwrap_or_default();
        // Labels and the like have addresses below the item's.
        let whole = (0..=2).find_map(|below| {
            let path = path.rsplitn(below + 1, '/').last()?;
            item(&Request { url: path.to_owned(), ..request.clone() })
        });
        if let Some(item) = whole {
            let mut seen = self.seen();
            if closes(request) && !seen.let_go.contains(&item) {
                seen.closed.insert(item.clone());
            }
            let asked = format!("{} {}", request.url, String::from_utf8_lossy(&request.body));
            seen.operated.push((item, asked));
        }
    }

    /// The operator's present command lets go of these: that it closes one is no reason to close another.
    pub fn lets_go(&self, items: impl IntoIterator<Item = Named>) {
        self.seen().let_go = items.into_iter().collect();
    }

    /// What an operator's commands wrote to, by requests that name one of these.
    pub fn operated(&self, naming: &[&str]) -> BTreeSet<Named> {
        let seen = self.seen();
        let named = seen.operated.iter().filter(|(_, asked)| naming.iter().any(|name| asked.contains(name)));
        named.map(|(item, _)| item.clone()).collect()
    }

    /// A person wrote a title.
    pub fn retitled(&self, item: Named, now: i64) {
        self.seen().titles.push((now, item));
    }

    /// An undo of what ended at `ended` and was asked for at `asked` wrote the title of an item: nobody may have written one
    /// in between, as far as that could be read. By the clocks of processes: where one was set, nobody knows.
    pub fn puts_back_a_title(&self, put_back: &Named, ended: i64, asked: i64) {
        let mut seen = self.seen();
        let since = ended..asked - seen.lag_most;
        let written = seen.titles.iter().find(|(at, item)| since.contains(at) && item == put_back);
        if let Some((at, item)) = written.filter(|_| !seen.jumped) {
            let what = format!("an undo at {asked} wrote over the title that somebody wrote to {item:?} at {at}");
            seen.broken.push(what);
        }
    }

    /// A person closed an item, or took it away.
    pub fn closed(&self, item: Named) {
        self.seen().closed.insert(item);
    }

    /// What people closed or took away at some time, or an operator had closed.
    pub fn somebody_closed(&self) -> BTreeSet<Named> {
        self.seen().closed.clone()
    }

    /// Items that were made more than once under one title.
    pub fn made_twice(&self) -> Vec<(String, BTreeSet<Named>)> {
        let made = &self.seen().made;
        made.iter().filter(|(_, items)| items.len() > 1).map(|(title, items)| (title.clone(), items.clone())).collect()
    }

    fn done(&self, wire: &Wire, request: &Request, answer: &Exchange) {
        let now = wire.now();
        let mut seen = self.seen();
        match (request.method, answer) {
            (_, Err(TransportError::NotSent(_))) => {}
            (Method::Get, Ok(answer)) if answer.status == 200 => {
                if let Some(item) = item(request) {
                    let read = now - seen.lag[index(side(request))];
                    seen.read.insert((wire.hand(), item), read);
                }
            }
            // What we just made is known without a read.
            (Method::Post, Ok(answer)) if answer.status == 201 => {
                if let Some(item) = made(request, answer) {
                    seen.read.insert((wire.hand(), item), now);
                }
            }
            // What is under way already still arrives.
            (_, Ok(answer)) if matches!(answer.status, 403 | 429) => {
                let told = answer.header("retry-after").and_then(|told| told.parse::<i64>().ok());
                if let Some(told) = told {
                    let quiet = now + 500..now + told * 1_000 - 1_000;
                    seen.quiet.insert((wire.place, index(side(request))), (wire.start, quiet));
                }
            }
            (Method::Put | Method::Patch, answer) => {
                if let Some(item) = item(request) {
                    seen.wrote((wire.hand(), item), answer, now, wire.life.thawed_at());
                }
            }
            _ => {}
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    /// An item was written to, as far as can be known.
    fn wrote(&mut self, place: (Hand, Named), answer: &Exchange, now: i64, thawed_at: i64) {
        let read = self.read.get(&place).copied();
        // Who was frozen between the two cannot know it.
        let fresh = read.is_some_and(|read| now - read <= FRESH || thawed_at > read);
        if !fresh {
            let ago = read.map(|read| now - read);
            self.broken.push(format!("{:?} was written to from a read {ago:?} ms before", place.1));
        }
        let between = self.edits.get(&place.1).into_iter().flatten().filter(|(at, _)| *at >= read.unwrap_or(i64::MIN));
        self.unseeable.extend(between.flat_map(|(_, words)| words.iter().cloned()));
        if matches!(answer, Ok(answer) if answer.status < 300) {
            self.read.remove(&place);
        }
    }

    fn within_limits(&mut self, side: Side, request: &Request, now: i64) {
        let writes = request.method.writes();
        let creates =
            request.method == Method::Post && (request.url.ends_with("/issues") || request.url.ends_with("/comments"));
        let weights = match side {
            Side::Tracker => [1, 0, 0],
            Side::Forge => [0, if writes { 5 } else { 1 }, u64::from(creates)],
        };
        for (arrivals, weight) in self.arrivals.iter_mut().zip(weights) {
            arrivals.retain(|(at, _)| now - at < 3_600_000);
            if weight > 0 {
                arrivals.push_back((now, weight));
            }
        }
        for (which, what, span, most) in LIMITS {
            let sum: u64 =
                self.arrivals[which].iter().filter(|(at, _)| now - at < span).map(|(_, weight)| weight).sum();
            if sum > most && !self.jumped && self.broken.len() < 20 {
                self.broken.push(format!("{what}: {sum} of {most}"));
            }
        }
    }
}

const fn index(side: Side) -> usize {
    match side {
        Side::Tracker => 0,
        Side::Forge => 1,
    }
}

fn side(request: &Request) -> Side {
    if request.url.contains("//asana") { Side::Tracker } else { Side::Forge }
}

/// The item that an address is, if it is one.
fn item(request: &Request) -> Option<Named> {
    let path = request.url.split('?').next()?;
    let (rest, last) = path.rsplit_once('/')?;
    match side(request) {
        Side::Tracker => rest.ends_with("/tasks").then(|| last.parse().ok().map(Named::Task))?,
        Side::Forge => rest.ends_with("/issues").then(|| last.parse().ok().map(Named::Issue))?,
    }
}

/// Whether a request closes an item.
fn closes(request: &Request) -> bool {
    let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
    body["state"] == "closed" || body["data"]["completed"] == true
}

/// The item that an answer says was made.
fn made(request: &Request, answer: &Response) -> Option<Named> {
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
    match side(request) {
        Side::Tracker if request.url.ends_with("/tasks") => {
            answer["data"]["gid"].as_str()?.parse().ok().map(Named::Task)
        }
        Side::Forge if request.url.ends_with("/issues") => answer["number"].as_u64().map(Named::Issue),
        _ => None,
    }
}
