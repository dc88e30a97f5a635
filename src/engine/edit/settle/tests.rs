//! Fields that wait, settled by a person, against two sides in memory and a real store.

use std::time::Duration;

use crate::clock::lock;
use crate::engine::tests::{BeforeRead, Trouble, World};
use crate::engine::{Conflict, Ended, Handling, PassOptions, Resolve, Resolved, UndoTarget, Wake};
use crate::model::{BySide, Content, Field, ItemKey, Link, LinkId, OnConflict, Rules, Side, Status};
use crate::reconcile::Take;
use crate::store::EntryFilter;

const WRITTEN: Handling = Handling::Written;
const ALREADY: Handling = Handling::Already;

/// A pair whose title and body wait, and whose bodies both have an edit of their own beside the overlap.
struct Asked {
    world: World,
    task: ItemKey,
    issue: ItemKey,
    link: LinkId,
}

impl Asked {
    fn new() -> Self {
        let world = World::new(Rules { comment_on_link: false, on_conflict: OnConflict::Ask, ..Rules::default() });
        let body = "one\n\ntwo\n\nthree\n\nfour\n\nfive".to_owned();
        let task = world.tracker.put(1, Content { title: "Fix login".to_owned(), body, ..Content::default() });
        world.pass(&Wake::Sweep);
        let issue = world.partner(&task);
        world.settles();
        let link = world.engine.store.link_of(&task).expect("the store").expect("linked").id;
        world.tracker.edit(&task, |item| {
            item.content.title = "Fix login (Ann)".to_owned();
            item.content.body = "one, Ann\n\ntwo\n\nthree, Ann\n\nfour\n\nfive".to_owned();
        });
        world.forge.edit(&issue, |item| {
            item.content.title = "Fix login (Bob)".to_owned();
            item.content.body = "one\n\ntwo\n\nthree, Bob\n\nfour\n\nfive, Bob".to_owned();
        });
        let asked = Self { world, task, issue, link };
        assert_eq!(asked.world.pass(&Wake::Sweep).ended, Ended::Drift);
        assert_eq!(asked.waits(), [Field::Title, Field::Body]);
        asked
    }

    fn kept(&self) -> Link {
        self.world.engine.store.link(self.link).expect("the store").expect("a link")
    }

    fn waits(&self) -> Vec<Field> {
        self.kept().waiting.into_keys().collect()
    }

    fn conflict(&self, field: Field) -> Conflict {
        Conflict::all(&self.kept()).into_iter().find(|conflict| conflict.field == field).expect("it waits")
    }

    fn ask(&self, field: Field, take: Take) -> Resolve {
        Resolve { link: self.link, field, take, seen: None, reason: "as agreed by phone".to_owned() }
    }

    fn resolve(&self, field: Field, take: Take) -> Resolved {
        self.carry_out(&self.ask(field, take))
    }

    fn carry_out(&self, asked: &Resolve) -> Resolved {
        self.world.clock.advance(Duration::from_secs(90));
        self.world.engine.resolve(asked, &PassOptions::default()).expect("an answer")
    }

    fn shown(&self, of: fn(&Content) -> String) -> BySide<String> {
        BySide {
            tracker: of(&self.world.tracker.get(&self.task).content),
            forge: of(&self.world.forge.get(&self.issue).content),
        }
    }

    fn titles(&self) -> BySide<String> {
        self.shown(|content| content.title.clone())
    }

    fn bodies(&self) -> BySide<String> {
        self.shown(|content| content.body.clone())
    }
}

fn both(text: &str) -> BySide<String> {
    BySide::from_fn(|_| text.to_owned())
}

#[test]
fn a_title_is_taken_from_either_side_and_nothing_but_the_title_is_written() {
    for (side, title) in [(Side::Tracker, "Fix login (Ann)"), (Side::Forge, "Fix login (Bob)")] {
        let asked = Asked::new();
        let bodies = asked.bodies();
        let resolved = asked.resolve(Field::Title, Take::Side(side));
        assert_eq!((&resolved.sides[side], &resolved.sides[side.opposite()]), (&ALREADY, &WRITTEN), "{resolved:?}");
        assert_eq!(asked.titles(), both(title));
        assert_eq!(asked.bodies(), bodies, "the other field that waits is left");
        assert_eq!((asked.waits(), resolved.report.ended), (vec![Field::Body], Ended::Drift));
        // The rest goes on waiting, and nothing else is left to do.
        let next = asked.world.pass(&Wake::Sweep);
        assert!(next.plan.is_empty(), "{:?}", next.plan.repairs);
        assert_eq!((asked.titles(), asked.waits()), (both(title), vec![Field::Body]));
    }
}

#[test]
fn of_a_text_the_overlapping_lines_are_taken_and_what_else_both_wrote_stands() {
    let (ann, bob) = ("three, Ann", "three, Bob");
    for (take, lines) in [
        (Take::Side(Side::Tracker), ann.to_owned()),
        (Take::Side(Side::Forge), bob.to_owned()),
        (Take::Both, format!("{ann}\n{bob}")),
    ] {
        let asked = Asked::new();
        let resolved = asked.resolve(Field::Body, take.clone());
        assert_eq!(resolved.sides, BySide { tracker: WRITTEN, forge: WRITTEN }, "{take:?} {resolved:?}");
        assert_eq!(asked.bodies(), both(&format!("one, Ann\n\ntwo\n\n{lines}\n\nfour\n\nfive, Bob")), "{take:?}");
        assert_eq!(asked.waits(), [Field::Title]);
        asked.resolve(Field::Title, Take::Text("Fix the login page".to_owned()));
        assert_eq!(asked.titles(), both("Fix the login page"));
        asked.world.settles();
    }
}

#[test]
fn a_text_of_ones_own_replaces_both() {
    let asked = Asked::new();
    asked.resolve(Field::Title, Take::Side(Side::Forge));
    let resolved = asked.resolve(Field::Body, Take::Text("one\r\n\r\nand all\n".to_owned()));
    assert_eq!((resolved.report.ended, asked.bodies()), (Ended::Settled, both("one\n\nand all")));
    asked.world.settles();
}

#[test]
fn what_loses_stands_whole_in_the_history_before_the_write_with_who_and_why_and_can_be_undone() {
    let asked = Asked::new();
    let before = asked.bodies();
    asked.world.forge.trouble(Some(Trouble::Refused));
    let failed = asked.resolve(Field::Body, Take::Side(Side::Tracker));
    assert!(matches!(&failed.sides.forge, Handling::Failed { .. }), "{failed:?}");
    assert_eq!((failed.report.ended, asked.bodies().forge), (Ended::Failed, before.forge.clone()));
    let filter = EntryFilter { pass: Some(failed.report.pass), ..EntryFilter::default() };
    let entries = asked.world.engine.store.history(&filter).expect("a history");
    let of_issue = entries.iter().find(|kept| kept.entry.item == asked.issue).expect("an entry");
    assert_eq!(of_issue.entry.changes[0].before, serde_json::json!(before.forge));
    assert_eq!(of_issue.entry.cause, "settled by hand, asana taken: as agreed by phone");
    assert_eq!(of_issue.entry.actor, asked.world.engine.actor);

    // Half of it is done: nothing is lost, and the question stands as it is now.
    asked.world.forge.trouble(None);
    asked.world.pass(&Wake::Retry);
    assert_eq!((asked.bodies().forge, asked.waits()), (before.forge.clone(), vec![Field::Title, Field::Body]));
    let done = asked.resolve(Field::Body, Take::Side(Side::Tracker));
    assert_eq!(done.sides, BySide { tracker: ALREADY, forge: WRITTEN }, "{done:?}");

    let undo = asked.world.engine.plan_undo(&UndoTarget::Pass(done.report.pass)).expect("a plan");
    assert!(!undo.is_empty(), "{:?}", undo.message);
    asked.world.clock.advance(Duration::from_secs(90));
    asked.world.engine.undo(&undo, &PassOptions::default()).expect("undone");
    assert_eq!(asked.bodies().forge, before.forge);
}

#[test]
fn a_write_whose_answer_was_lost_is_looked_at_and_not_repeated() {
    let asked = Asked::new();
    asked.world.tracker.trouble(Some(Trouble::LostAnswer));
    let resolved = asked.resolve(Field::Title, Take::Side(Side::Forge));
    assert!(matches!(&resolved.sides.tracker, Handling::Failed { .. }), "{resolved:?}");
    asked.world.tracker.trouble(None);
    asked.world.pass(&Wake::Retry);
    assert_eq!((asked.titles(), asked.waits()), (both("Fix login (Bob)"), vec![Field::Body]));
}

#[test]
fn nothing_is_written_over_words_that_were_not_seen() {
    let asked = Asked::new();
    let shown = asked.conflict(Field::Title);
    asked.world.clock.advance(Duration::from_secs(5));
    asked.world.forge.edit(&asked.issue, |item| item.content.title = "Fix login (Cleo)".to_owned());
    let before = asked.titles();
    for seen in [None, Some(shown.seen.clone()), Some("000000000000".to_owned())] {
        let ask = Resolve { seen, ..asked.ask(Field::Title, Take::Side(Side::Tracker)) };
        let proposed = asked.world.engine.plan_resolve(&ask).expect("the store").expect("it waits");
        assert!(!proposed.unmoved);
        let resolved = asked.carry_out(&ask);
        let now = resolved.moved.expect("what both say now");
        assert_eq!(now.waiting.said.forge, "Fix login (Cleo)");
        assert_eq!((asked.titles(), resolved.report.ended), (before.clone(), Ended::Refused));
    }
    // A pass keeps the question as it stands; so does who names it.
    asked.world.pass(&Wake::Retry);
    let now = asked.conflict(Field::Title);
    assert_ne!(now.seen, shown.seen);
    let ask = Resolve { seen: Some(now.seen), ..asked.ask(Field::Title, Take::Side(Side::Tracker)) };
    assert!(asked.carry_out(&ask).moved.is_none());
    assert_eq!(asked.titles(), both("Fix login (Ann)"));
}

#[test]
fn an_edit_of_another_field_does_not_stand_in_the_way_and_is_not_lost() {
    let asked = Asked::new();
    asked.world.clock.advance(Duration::from_secs(5));
    asked.world.forge.edit(&asked.issue, |item| item.content.status = Status::Done);
    let resolved = asked.resolve(Field::Title, Take::Side(Side::Tracker));
    assert_eq!((resolved.sides.forge, resolved.report.ended), (WRITTEN, Ended::Drift));
    let status = |asked: &Asked| asked.world.tracker.get(&asked.task).content.status;
    assert_eq!(status(&asked), Status::Open, "only the one field is written");
    asked.world.pass(&Wake::Retry);
    assert_eq!(
        (status(&asked), asked.titles(), asked.waits()),
        (Status::Done, both("Fix login (Ann)"), vec![Field::Body])
    );
}

#[test]
fn what_people_settled_by_hand_is_not_settled_again() {
    let asked = Asked::new();
    asked.world.clock.advance(Duration::from_secs(5));
    asked.world.forge.edit(&asked.issue, |item| item.content.title = "Fix login (Ann)".to_owned());
    let resolved = asked.resolve(Field::Title, Take::Side(Side::Forge));
    assert!(resolved.left.as_deref().is_some_and(|why| why.contains("both sides say the same")), "{resolved:?}");
    asked.world.pass(&Wake::Sweep);
    assert_eq!((asked.titles(), asked.waits()), (both("Fix login (Ann)"), vec![Field::Body]));
    let resolved = asked.resolve(Field::Status, Take::Side(Side::Forge));
    assert!(resolved.left.as_deref().is_some_and(|why| why.contains("does not wait")), "{resolved:?}");
    let resolved = asked.resolve(Field::Title, Take::Both);
    assert!(resolved.left.is_some(), "{resolved:?}");
}

#[test]
fn a_status_is_taken_and_both_of_it_are_refused() {
    let asked = Asked::new();
    asked.resolve(Field::Title, Take::Side(Side::Forge));
    asked.resolve(Field::Body, Take::Both);
    asked.world.settles();
    asked.world.tracker.edit(&asked.task, |item| item.content.status = Status::Done);
    asked.world.pass(&Wake::Sweep);
    asked.world.settles();
    asked.world.tracker.edit(&asked.task, |item| item.content.status = Status::Open);
    asked.world.forge.edit(&asked.issue, |item| item.content.status = Status::Dropped);
    asked.world.pass(&Wake::Sweep);
    assert_eq!(asked.waits(), [Field::Status]);
    let refused = asked.resolve(Field::Status, Take::Both);
    assert!(refused.left.as_deref().is_some_and(|why| why.contains("one value")), "{refused:?}");
    let resolved = asked.resolve(Field::Status, Take::Side(Side::Forge));
    assert_eq!(resolved.sides, BySide { tracker: WRITTEN, forge: ALREADY }, "{resolved:?}");
    assert_eq!(asked.world.tracker.get(&asked.task).content.status, Status::Done);
    assert_eq!(asked.world.forge.get(&asked.issue).content.status, Status::Dropped);
    asked.world.settles();
}

#[test]
fn what_is_edited_while_the_other_side_is_written_is_not_overwritten() {
    let asked = Asked::new();
    // The issue is read for the settlement, and once more after the task was written.
    lock(&asked.world.forge.shelf).before_read = Some(BeforeRead {
        read: 2,
        item: asked.issue.clone(),
        edit: |item| item.content.title = "Fix login (Cleo)".to_owned(),
    });
    let resolved = asked.resolve(Field::Title, Take::Text("Fix login (all)".to_owned()));
    assert_eq!(resolved.sides.tracker, WRITTEN);
    assert!(matches!(&resolved.sides.forge, Handling::Failed { why } if why.contains("edited")), "{resolved:?}");
    assert_eq!(asked.world.forge.get(&asked.issue).content.title, "Fix login (Cleo)");
    asked.world.pass(&Wake::Sweep);
    // Both words are there and wait for a person.
    let waits = asked.conflict(Field::Title).waiting.said;
    assert_eq!(waits, BySide { tracker: "Fix login (all)".to_owned(), forge: "Fix login (Cleo)".to_owned() });
}
