//! What must heal: a process killed between any two steps, claims that wait, reads that fail, shared repositories.

use std::sync::atomic::AtomicI64;

use super::*;
use crate::store::NewDue;

/// A clock that kills the process at its n-th look: from then on nothing can be recorded under the lease.
///
/// Every record asks for the time just before it is made, so each n is a stop between two other steps.
pub(super) struct Killer {
    pub(super) inner: Arc<VirtualClock>,
    pub(super) engine: Engine,
    pub(super) looks_left: AtomicI64,
}

impl Clock for Killer {
    fn now(&self) -> Timestamp {
        let now = self.inner.now();
        if self.looks_left.fetch_sub(1, Ordering::Relaxed) == 1 {
            let taken = self.engine.store.acquire(&self.engine.route, &self.engine.holder, now);
            assert!(matches!(taken, Ok(Ok(_))), "the lease is taken away");
        }
        now
    }

    fn sleep(&self, duration: Duration, stop: &Stop) -> bool {
        self.inner.sleep(duration, stop)
    }
}

impl World {
    /// A pass that is killed at its n-th look at the clock (the first two are before it has the lease). Answers
    /// whether it came to its end before.
    pub(super) fn killed(&self, wake: &Wake, looks: i64) -> bool {
        self.clock.advance(Duration::from_secs(60));
        let killer =
            Killer { inner: self.clock.clone(), engine: self.engine.clone(), looks_left: AtomicI64::new(looks) };
        let engine = Engine { clock: Arc::new(killer), ..self.engine.clone() };
        engine.pass(wake, &PassOptions::default()).is_ok()
    }

    fn due(&self, key: &ItemKey) {
        let due = NewDue {
            item: key.clone(),
            reason: "asked for".into(),
            not_before: self.clock.now(),
            attempts: 0,
            last_error: None,
            parked: false,
        };
        self.engine.store.ring(&self.engine.route, &[due], None, self.clock.now()).expect("the store");
    }
}

#[test]
fn who_let_go_of_a_pair_and_linked_one_half_anew_is_not_asked_about_the_other() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    let issue = world.partner(&key);
    let link = world.engine.store.link_of(&key).expect("the store").expect("a link");
    world.engine.part(&link, "the wrong issue", &PassOptions::default()).expect("a pass");
    let other = world.forge.put(70, task("Fix login"));
    let pairs = [BySide { tracker: key.clone(), forge: other.clone() }];
    world.engine.join(&pairs, "linked by ann", "link", &PassOptions::default()).expect("a pass");
    world.forge.edit(&issue, |item| item.content.title = "On its own now".into());
    let report = world.poll();
    assert_eq!((report.ended, report.plan.questions.len()), (Ended::Settled, 0), "{report:#?}");
    assert_eq!(world.partner(&key), other);
    assert_eq!(world.tracker.get(&key).content.title, "Fix login");
    world.settles();
}

#[test]
fn a_kill_at_any_step_of_a_creation_heals_without_a_second_partner() {
    let mut rules = both();
    rules.filter.tracker.include_done = true;
    for looks in 3..120 {
        let world = World::new(rules.clone());
        let done = world.tracker.put(1, Content { status: Status::Done, ..task("Old thing") });
        world.tracker.put(2, task("New thing"));
        world.forge.put(3, task("An issue"));
        let whole = world.killed(&Wake::Poll { belt: false }, looks);
        for _ in 0..2 {
            world.poll();
        }
        world.settles();
        assert_eq!((world.forge.all().len(), world.tracker.all().len()), (3, 3), "killed at look {looks}");
        assert_eq!(world.forge.get(&world.partner(&done)).content.status, Status::Done, "killed at look {looks}");
        for number in [1, 2] {
            let key = world.tracker.key(number);
            let told = lock(&world.tracker.shelf).comments.iter().filter(|(on, _)| *on == key).count();
            assert_eq!(told, 1, "killed at look {looks}: comments on {key}");
        }
        if whole {
            return;
        }
    }
    panic!("a pass looks at the clock fewer times than this");
}

#[test]
fn a_kill_at_any_step_of_an_update_or_a_retirement_heals() {
    for looks in 3..120 {
        let world = World::new(both());
        let keys: Vec<ItemKey> = (1..=3).map(|number| world.tracker.put(number, task(&format!("T{number}")))).collect();
        world.poll();
        world.settles();
        let issues: Vec<ItemKey> = keys.iter().map(|key| world.partner(key)).collect();
        world.tracker.edit(&keys[0], |item| item.content.title = "Ann's title".into());
        world.forge.edit(&issues[0], |item| item.content.body = "Some words.\n\nBob's words.".into());
        world.forge.edit(&issues[1], |item| item.content.status = Status::Dropped);
        world.tracker.delete(&keys[2]);
        lock(&world.tracker.shelf).moved.push(keys[2].clone());
        let whole = world.killed(&Wake::Poll { belt: false }, looks);
        for _ in 0..2 {
            world.poll();
        }
        world.settles();
        for (fake, key) in [(&world.tracker, &keys[0]), (&world.forge, &issues[0])] {
            let content = fake.get(key).content;
            assert_eq!(content.title, "Ann's title", "killed at look {looks}");
            assert_eq!(content.body, "Some words.\n\nBob's words.", "killed at look {looks}");
        }
        assert_eq!(world.tracker.get(&keys[1]).content.status, Status::Done, "killed at look {looks}");
        assert_eq!(world.forge.get(&issues[2]).content.status, Status::Dropped, "killed at look {looks}");
        if whole {
            return;
        }
    }
    panic!("a pass looks at the clock fewer times than this");
}

#[test]
fn a_creation_made_again_after_the_grace_stays_announced_when_its_answer_is_lost_too() {
    let world = World::new(Rules::default());
    world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    // The first was never made.
    let first = world.forge.all()[0].key.clone();
    lock(&world.forge.shelf).items.remove(&first);
    world.clock.advance(Duration::from_secs(1_200));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    // The second was, but neither the listing nor the feed shows it yet.
    let second = world.forge.all()[0].key.clone();
    lock(&world.forge.shelf).unlisted.insert(second.clone());
    let feed = std::mem::take(&mut lock(&world.forge.shelf).moved);
    world.clock.advance(Duration::from_secs(120));
    world.poll();
    lock(&world.forge.shelf).unlisted.clear();
    lock(&world.forge.shelf).moved = feed;
    world.clock.advance(Duration::from_secs(120));
    world.poll();
    world.poll();
    world.settles();
    assert_eq!(world.forge.all().len(), 1, "it was made twice");
}

#[test]
fn a_creation_broken_off_before_its_repository_was_renamed_is_found_and_not_made_again() {
    let world = World::new(both());
    world.forge.put(1, task("An issue"));
    world.tracker.trouble(Some(Trouble::LostAnswer));
    world.poll();
    world.forge.rename("acme/renamed");
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(300));
        world.poll();
    }
    world.settles();
    assert_eq!(world.tracker.all().len(), 1, "it was made twice");
}

#[test]
fn a_creation_that_listings_do_not_show_yet_waits_for_the_grace_although_its_repository_was_renamed() {
    let world = World::new(both());
    world.forge.put(1, task("An issue"));
    world.tracker.trouble(Some(Trouble::LostAnswer));
    world.poll();
    let made = world.tracker.all()[0].key.clone();
    lock(&world.tracker.shelf).unlisted.insert(made);
    let feed = std::mem::take(&mut lock(&world.tracker.shelf).moved);
    world.forge.rename("acme/renamed");
    for _ in 0..2 {
        world.clock.advance(Duration::from_secs(120));
        world.poll();
        assert_eq!(world.tracker.all().len(), 1, "it was made twice");
    }
    lock(&world.tracker.shelf).unlisted.clear();
    lock(&world.tracker.shelf).moved = feed;
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(300));
        world.poll();
    }
    world.settles();
    assert_eq!(world.tracker.all().len(), 1, "it was made twice");
}

#[test]
fn a_former_name_is_followed_although_the_first_issue_that_was_called_so_is_gone() {
    let world = World::new(both());
    let mut feed = Vec::new();
    for number in [1, 2] {
        world.forge.put(number, task("An issue"));
        world.tracker.trouble(Some(Trouble::LostAnswer));
        world.poll();
        // It was made, but neither the listing nor the feed shows it yet.
        let mut shelf = lock(&world.tracker.shelf);
        feed.append(&mut shelf.moved);
        shelf.unlisted = shelf.items.keys().cloned().collect();
    }
    world.forge.delete(&world.forge.key(1));
    world.forge.rename("acme/renamed");
    world.poll();
    assert_eq!(world.tracker.all().len(), 2, "one was made twice");
    lock(&world.tracker.shelf).unlisted.clear();
    lock(&world.tracker.shelf).moved = feed;
    for _ in 0..3 {
        world.clock.advance(Duration::from_secs(300));
        world.poll();
    }
    world.settles();
    assert_eq!(world.tracker.all().len(), 2, "one was made twice");
    assert_eq!(world.forge.all().len(), 1);
}

#[test]
fn an_announced_creation_is_settled_when_its_task_was_deleted_meanwhile() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    world.tracker.delete(&key);
    world.clock.advance(Duration::from_secs(120));
    world.poll();
    world.clock.advance(Duration::from_secs(120));
    world.poll();
    assert!(world.engine.store.intents(&world.engine.route).expect("intents").is_empty(), "it is listed for ever");
}

#[test]
fn a_claim_that_waits_for_a_person_keeps_its_task_from_a_second_partner() {
    let mut world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    let original = world.forge.get(&world.partner(&key));
    let copy = world.forge.put(50, original.content.clone());
    world.forge.edit(&copy, |item| {
        item.marker.clone_from(&original.marker);
        item.footer.clone_from(&original.footer);
    });
    // Without links nobody can say which of the two is the partner.
    world.engine.store = Store::in_memory().expect("a database in memory");
    let report = world.poll();
    assert_eq!((report.plan.questions.len(), report.counts.created), (2, 0), "{report:#?}");
    for wake in [Wake::Poll { belt: false }, Wake::Sweep, Wake::Visit(vec![key.clone()]), Wake::Poll { belt: false }] {
        world.tracker.edit(&key, |item| item.content.title.push('!'));
        world.pass(&wake);
        assert_eq!(world.forge.all().len(), 2, "{wake:?} made a second partner");
    }
}

#[test]
fn a_claim_whose_task_cannot_be_read_now_keeps_it_from_a_second_partner() {
    let mut world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.engine.store = Store::in_memory().expect("a database in memory");
    lock(&world.tracker.shelf).hidden.insert(key.clone());
    lock(&world.tracker.shelf).unlisted.insert(key.clone());
    world.tracker.put(2, Content { status: Status::Done, ..task("Another") });
    world.poll();
    lock(&world.tracker.shelf).hidden.clear();
    lock(&world.tracker.shelf).unlisted.clear();
    world.tracker.edit(&key, |item| item.content.title.push('!'));
    // At once: the issue's next look is not due yet.
    world.engine.pass(&Wake::Poll { belt: false }, &PassOptions::default()).expect("the pass runs");
    world.clock.advance(Duration::from_secs(1_200));
    world.poll();
    world.settles();
    assert_eq!(world.forge.all().len(), 1, "a second partner was made");
}

#[test]
fn a_visit_that_reads_a_cursor_on_the_way_forgets_nothing_seen_under_it() {
    for due in [false, true] {
        let world = World::new(both());
        world.tracker.put(1, task("Linked"));
        world.poll();
        world.settles();
        let issue = world.forge.put(5, task("A new issue"));
        world.tracker.put(2, task("A new task"));
        if due {
            world.due(&issue);
            world.pass(&Wake::Retry);
        } else {
            world.pass(&Wake::Visit(vec![issue.clone()]));
        }
        world.poll();
        world.poll();
        assert_eq!((world.tracker.all().len(), world.forge.all().len()), (3, 3), "due: {due}");
        world.settles();
    }
}

#[test]
fn a_visit_of_both_halves_of_a_pair_sees_the_one_that_moved() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.poll();
    world.settles();
    let issue = world.partner(&key);
    world.forge.edit(&issue, |item| item.content.title = "Fix the login".into());
    world.pass(&Wake::Visit(vec![issue, key.clone()]));
    assert_eq!(world.tracker.get(&key).content.title, "Fix the login");
}

#[test]
fn items_that_never_answer_are_counted_and_parked_and_the_rest_goes_on() {
    let world = World::new(Rules::default());
    let keys: Vec<ItemKey> = (1..=8).map(|number| world.tracker.put(number, task(&format!("T{number}")))).collect();
    world.poll();
    world.settles();
    for key in &keys[..6] {
        lock(&world.tracker.shelf).unanswered.insert(key.clone());
        world.tracker.edit(key, |item| item.content.title.push('!'));
    }
    world.tracker.edit(&keys[7], |item| item.content.title = "A healthy one".into());
    for _ in 0..12 {
        world.poll();
        world.clock.advance(Duration::from_secs(700));
    }
    assert_eq!(world.forge.get(&world.partner(&keys[7])).content.title, "A healthy one");
    assert_eq!(world.engine.store.parked(None).expect("parked items").len(), 6, "nobody is told of them");
}

#[test]
fn a_repository_shared_with_another_route_costs_no_reads_and_parks_nothing() {
    let world = World::new(Rules::default());
    let keys: Vec<ItemKey> = (1..=4).map(|number| world.tracker.put(number, task(&format!("T{number}")))).collect();
    world.poll();
    world.settles();
    // The other route's project does not hold these tasks and its token cannot read them.
    let fake =
        |side| Arc::new(Fake { side, clock: world.clock.clone(), shelf: Mutex::default(), sent: AtomicU64::new(0) });
    let tracker = fake(Side::Tracker);
    let mine = tracker.put(77, Content { status: Status::Done, ..task("Mine") });
    lock(&tracker.shelf).hidden.extend(keys);
    let other = Engine {
        route: "other".parse().expect("a name"),
        rules: both(),
        patience: Patience { repairs_max: 2, ..world.engine.patience },
        providers: BySide { tracker: tracker.clone(), forge: world.forge.clone() },
        ..world.engine.clone()
    };
    let pass = |wake: &Wake| {
        world.clock.advance(Duration::from_secs(60));
        other.pass(wake, &PassOptions::default()).expect("the pass runs")
    };
    pass(&Wake::Sweep);
    let before = tracker.sent.load(Ordering::Relaxed);
    let report = pass(&Wake::Sweep);
    assert_eq!(report.ended, Ended::Settled, "{report:#?}");
    let asked = tracker.sent.load(Ordering::Relaxed) - before;
    assert!(asked <= 3, "the other route's tasks were read: {asked} requests");
    let _ = mine;
    // An issue of its own gets its turn although more than a pass may make are the other route's.
    let own = world.forge.put(500, task("Its own"));
    pass(&Wake::Poll { belt: false });
    assert!(other.store.link_of(&own).expect("a look-up").is_some());
}

#[test]
fn labels_switched_on_after_an_adoption_unite_and_remove_nothing() {
    let mut world = World::new(Rules::default());
    let labelled = |label: &str| Content { labels: BTreeSet::from([label.to_owned()]), ..task("Fix login") };
    let key = world.tracker.put(1, labelled("urgent"));
    let issue = world.forge.put(2, labelled("bug"));
    let pair = BySide { tracker: key.clone(), forge: issue.clone() };
    world.clock.advance(Duration::from_secs(60));
    world.engine.join(&[pair], "named", "adopt", &PassOptions::default()).expect("joined");
    world.poll();
    world.engine.rules.policy.labels = FieldPolicy::Both;
    world.pass(&Wake::Sweep);
    world.settles();
    let all = BTreeSet::from(["urgent".to_owned(), "bug".to_owned()]);
    assert_eq!(world.tracker.get(&key).content.labels, all);
    assert_eq!(world.forge.get(&issue).content.labels, all);
}

#[test]
fn a_task_deleted_before_its_lost_creation_was_found_gets_no_second_partner_when_it_is_restored() {
    let world = World::new(Rules::default());
    world.tracker.put(7, task("Another"));
    let key = world.tracker.put(1, task("Fix login"));
    lock(&world.tracker.shelf).moved.clear();
    lock(&world.tracker.shelf).moved.push(key.clone());
    world.forge.trouble(Some(Trouble::LostAnswer));
    world.poll();
    let deleted = world.tracker.get(&key);
    world.tracker.delete(&key);
    world.poll();
    world.clock.advance(Duration::from_secs(1_200));
    world.poll();
    {
        let mut shelf = lock(&world.tracker.shelf);
        shelf.gone.clear();
        shelf.moved.push(key.clone());
        shelf.items.insert(key.clone(), deleted);
    }
    world.poll();
    world.settles();
    let named = world.forge.all().iter().filter(|item| item.content.title == "Fix login").count();
    assert_eq!(named, 1, "a second partner was made");
    assert!(world.engine.store.link_of(&key).expect("a look-up").is_some_and(|link| link.status == LinkStatus::Active));
}

#[test]
fn what_is_parked_stays_parked_with_its_reason_when_it_cannot_be_read() {
    let world = World::new(Rules::default());
    let key = world.tracker.put(1, task("Fix login"));
    world.forge.trouble(Some(Trouble::Refused));
    world.poll();
    let parked = world.engine.store.parked(Some(&world.engine.route)).expect("the store");
    assert_eq!(parked.len(), 1);
    world.tracker.edit(&key, |item| item.content.title = "Fix the login".into());
    lock(&world.tracker.shelf).unanswered.insert(key.clone());
    world.poll();
    assert_eq!(world.engine.store.parked(Some(&world.engine.route)).expect("the store"), parked);
}
