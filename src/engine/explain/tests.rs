//! What is said about an item is what a pass would do.

use crate::engine::tests::{World, both, task};
use crate::engine::{Next, PassOptions, Wake};
use crate::model::{Creation, Field, FieldPolicy, ItemKey, Rules, Side, Status};
use crate::reconcile::Action;

#[test]
fn a_pair_in_step_and_one_that_drifts_are_told_apart() {
    let world = World::new(both());
    let one = world.tracker.put(1, task("Fix login"));
    world.pass(&Wake::Sweep);
    world.pass(&Wake::Sweep);
    let issue = world.partner(&one);
    let explained = world.engine.explain(&issue).expect("reads");
    assert!(matches!(explained.next, Next::Nothing), "{:?}", explained.next);

    world.tracker.edit(&one, |item| item.content.title = "Fix everything".to_owned());
    let explained = world.engine.explain(&issue).expect("reads");
    let pair = explained.pair.expect("a pair");
    let title = pair.fields.iter().find(|state| state.field == Field::Title).expect("the title");
    assert_eq!((title.owner, title.drifts.tracker, title.drifts.forge), (FieldPolicy::Both, true, false));
    assert_eq!(title.base, Some(serde_json::json!("Fix login")));
    assert_eq!(title.now.tracker, Some(serde_json::json!("Fix everything")));
    let Next::Repair { repair } = explained.next else { unreachable!("{:?}", explained.next) };
    let Action::Update { writes, .. } = &repair.action else { unreachable!("{repair:?}") };
    assert!(writes.forge.is_some() && writes.tracker.is_none());
    // It said so and did nothing.
    assert_eq!(world.forge.get(&issue).content.title, "Fix login");

    let pass = world.pass(&Wake::Sweep).pass;
    let pair = world.engine.explain(&issue).expect("reads").pair.expect("a pair");
    let title = pair.fields.iter().find(|state| state.field == Field::Title).expect("the title");
    let last = title.last_write.as_ref().expect("it was written");
    assert_eq!((last.pass, &last.item), (pass, &issue));
    world.settles();
}

#[test]
fn a_field_that_waits_shows_both_values() {
    let world = World::new(both());
    let one = world.tracker.put(1, task("Fix login"));
    world.pass(&Wake::Sweep);
    world.pass(&Wake::Sweep);
    let issue = world.partner(&one);
    world.tracker.edit(&one, |item| item.content.body = "Mine.".to_owned());
    world.forge.edit(&issue, |item| item.content.body = "Yours.".to_owned());
    world.pass(&Wake::Sweep);
    let pair = world.engine.explain(&one).expect("reads").pair.expect("a pair");
    let body = pair.fields.iter().find(|state| state.field == Field::Body).expect("the body");
    let waiting = body.waiting.as_ref().expect("a question");
    assert_eq!((waiting.said.tracker.as_str(), waiting.said.forge.as_str()), ("Mine.", "Yours."));
}

#[test]
fn an_item_without_a_partner_is_explained() {
    let world = World::new(Rules { creation: Creation::TrackerToForge, comment_on_link: false, ..Rules::default() });
    let done = world.tracker.put(1, crate::model::Content { status: Status::Done, ..task("Old") });
    let new = world.tracker.put(2, task("New"));
    let issue = world.forge.put(7, task("An issue"));
    let gone = world.tracker.put(3, task("Gone"));
    world.tracker.delete(&gone);
    let why = |key: &ItemKey| match world.engine.explain(key).expect("reads").next {
        Next::Leave { why } => why,
        other => format!("{other:?}"),
    };
    assert!(why(&done).contains("done before it was first seen"), "{}", why(&done));
    assert!(why(&issue).contains("creates nothing for items of github"), "{}", why(&issue));
    assert!(why(&gone).contains("deleted"), "{}", why(&gone));
    assert!(why(&world.tracker.key(99)).contains("could not be read"));
    let Next::Repair { repair } = world.engine.explain(&new).expect("reads").next else {
        unreachable!("a new task gets a partner")
    };
    assert!(matches!(repair.action, Action::Create { .. }));

    world.pass(&Wake::Sweep);
    let link = world.engine.store.link_of(&new).expect("the store").expect("a link");
    world.engine.part(&link, "not wanted", &PassOptions::default()).expect("a pass");
    let explained = world.engine.explain(&new).expect("reads");
    let alone = explained.alone.expect("alone");
    assert_eq!(alone.tombstones.len(), 1);
    assert!(why(&new).contains("let go of"), "{}", why(&new));
    assert_eq!(
        world
            .engine
            .explain(&link.key(Side::Forge))
            .expect("reads")
            .alone
            .and_then(|alone| alone.marker)
            .map(|marker| marker.partner),
        Some(new)
    );
}
