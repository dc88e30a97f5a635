//! The laws of planning, as properties over a pair whose sides are edited at will.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::model::{
    Assignees, BySide, Change, Content, Facts, Field, FieldPolicy, Item, ItemKey, Link, LinkId, LinkStatus, Native,
    OnConflict, People, Person, Place, Policy, Rules, Side, Status, Timestamp,
};

const TASK: &str = "asana:1201";
const ISSUE: &str = "github:acme/app#17";

fn people() -> People {
    let person = |name: &str, gid: &str, login: &str| Person {
        name: name.into(),
        account: BySide { tracker: Some(gid.into()), forge: Some(login.into()) },
        mention: false,
    };
    People::new(vec![person("ann", "1", "ann-gh"), person("bob", "2", "bob-gh"), person("cy", "3", "cy-gh")])
}

fn rules(on_conflict: OnConflict, policies: [FieldPolicy; 5]) -> Rules {
    let [title, body, status, assignees, labels] = policies;
    Rules {
        policy: Policy { title, body, status, assignees, labels, due: FieldPolicy::Off },
        on_conflict,
        people: people(),
        ..Rules::default()
    }
}

fn key(side: Side) -> ItemKey {
    match side {
        Side::Tracker => TASK.parse().expect("a key"),
        Side::Forge => ISSUE.parse().expect("a key"),
    }
}

fn item(side: Side, content: Content, minute: i64, rules: &Rules) -> Item {
    let footer = match (side, key(Side::Tracker)) {
        (Side::Forge, ItemKey::Task(task)) => issue_footer(&task, &content, &content.body, &rules.policy),
        _ => None,
    };
    Item {
        key: key(side),
        footer,
        marker: None,
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::from_second(minute * 60).expect("in range"),
        url: "https://github.com/acme/app/issues/17".into(),
        place: Place::Here,
        facts: Facts::default(),
        native: match side {
            Side::Tracker => Native::Task { tags: BTreeMap::new() },
            Side::Forge => Native::Issue { repo_id: 1, id: 2, node_id: "n".into() },
        },
        content,
    }
}

fn link(base: Content) -> Link {
    Link {
        id: LinkId(1),
        route: "app".parse().expect("a name"),
        task: "1201".parse().expect("a gid"),
        project: None,
        issue: "acme/app#17".parse().expect("an issue"),
        repo_id: 1,
        issue_id: 2,
        issue_node_id: "n".into(),
        status: LinkStatus::Active,
        base: Some(base),
        seen: BySide::default(),
        waiting: BTreeMap::new(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    }
}

/// What a service does with a change.
fn written(item: &Item, change: &Change) -> Item {
    let Change { title, text, status, assignees, labels } = change.clone();
    let mut item = item.clone();
    if let Some(title) = title {
        item.content.title = title;
    }
    if let Some((body, footer)) = text {
        item.content.body = body;
        item.footer = footer;
    }
    if let Some(status) = status {
        item.content.status = status;
    }
    if let Some(assignees) = assignees {
        item.content.assignees = assignees;
    }
    if let Some(labels) = labels {
        item.content.labels = labels;
    }
    item
}

/// Applies what is planned for a pair, as the engine does, and answers the new state.
fn apply(pair: &PairSeen, repair: &Repair) -> PairSeen {
    let mut next = pair.clone();
    match &repair.action {
        Action::Update { writes, base, waiting } => {
            for side in Side::BOTH {
                if let (Some(write), Sight::Shown(item)) = (&writes[side], &pair.sight[side]) {
                    next.sight[side] = Sight::Shown(Box::new(written(item, &write.change)));
                }
            }
            next.link.base = Some(base.as_ref().clone());
            next.link.waiting = waiting.clone();
        }
        Action::Note { status, base, waiting } => {
            if let Some(base) = base {
                next.link.base = Some(base.as_ref().clone());
            }
            next.link.status = *status;
            next.link.waiting = waiting.clone();
        }
        other => panic!("a pair in sight is updated or noted, not {other:?}"),
    }
    next
}

fn shown(pair: &PairSeen, side: Side) -> &Item {
    match &pair.sight[side] {
        Sight::Shown(item) => item,
        other => panic!("{side} is {other:?}"),
    }
}

fn some_content() -> impl Strategy<Value = Content> {
    let line = prop_oneof![Just("alpha"), Just("beta"), Just("- one"), Just("- two"), Just(""), Just("**bold** words")];
    let names = prop::sample::subsequence(vec!["ann".to_owned(), "bob".to_owned(), "cy".to_owned()], 0..=3);
    let labels = prop::sample::subsequence(vec!["bug".to_owned(), "Later".to_owned(), "ui".to_owned()], 0..=3);
    (
        prop_oneof![Just("Fix login"), Just("Fix the login"), Just("Login is broken")],
        prop::collection::vec(line, 0..6),
        prop_oneof![Just(Status::Open), Just(Status::Done), Just(Status::Dropped)],
        names,
        labels,
    )
        .prop_map(|(title, lines, status, known, labels)| Content {
            title: title.to_owned(),
            body: crate::text::canonical(&lines.join("\n\n")),
            status,
            assignees: Assignees { known, unknown: Vec::new() },
            labels: labels.into_iter().collect::<BTreeSet<_>>(),
            due: None,
        })
}

fn some_rules() -> impl Strategy<Value = Rules> {
    let policy = prop_oneof![
        4 => Just(FieldPolicy::Both),
        1 => Just(FieldPolicy::Tracker),
        1 => Just(FieldPolicy::Forge),
        1 => Just(FieldPolicy::Off)
    ];
    let on_conflict = prop_oneof![
        Just(OnConflict::Tracker),
        Just(OnConflict::Forge),
        Just(OnConflict::Newest),
        Just(OnConflict::Ask)
    ];
    (on_conflict, [policy.clone(), policy.clone(), policy.clone(), policy.clone(), policy])
        .prop_map(|(on_conflict, policies)| rules(on_conflict, policies))
}

/// A pair in step on `base`, then edited on the sides for which an edit is given.
fn edited(base: &Content, edits: &BySide<Option<Content>>, minutes: BySide<i64>, rules: &Rules) -> PairSeen {
    let sight = BySide::from_fn(|side| {
        let whole = edits[side].as_ref().unwrap_or(base);
        let content = view(side, whole, &rules.people);
        let mut observed = item(side, content, minutes[side], rules);
        if side == Side::Forge {
            observed.footer = item(side, base.clone(), 0, rules).footer;
        }
        Sight::Shown(Box::new(observed))
    });
    PairSeen { link: link(base.clone()), sight }
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("in range")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Convergence: once a plan is applied in full, nothing is left to plan.
    #[test]
    fn a_plan_applied_in_full_leaves_nothing_to_plan(
        base in some_content(),
        tracker in prop::option::of(some_content()),
        forge in prop::option::of(some_content()),
        minutes in (0_i64..5, 0_i64..5),
        rules in some_rules(),
    ) {
        let minutes = BySide { tracker: minutes.0, forge: minutes.1 };
        let mut pair = edited(&base, &BySide { tracker, forge }, minutes, &rules);
        for step in 0..3 {
            match plan_pair(&pair, &rules, now()) {
                PairPlan::Settled { .. } => return Ok(()),
                PairPlan::Repair(repair) => {
                    prop_assert!(step == 0 || !repair.writes(), "a second write: {repair:#?}");
                    pair = apply(&pair, &repair);
                }
                other => prop_assert!(false, "{other:?}"),
            }
        }
        let settled = matches!(plan_pair(&pair, &rules, now()), PairPlan::Settled { .. });
        prop_assert!(settled);
    }

    /// An edit on one side alone reaches the other and is not written back.
    ///
    /// One exception: a task shows one of the issue's people. Taken off it, the next of them shows, because
    /// nobody said anything about the others.
    #[test]
    fn an_edit_on_one_side_is_never_written_back_to_it(
        base in some_content(),
        edit in some_content(),
        on_tracker in any::<bool>(),
    ) {
        let rules = rules(OnConflict::Newest, [FieldPolicy::Both; 5]);
        let side = if on_tracker { Side::Tracker } else { Side::Forge };
        let mut edits = BySide { tracker: None, forge: None };
        edits[side] = Some(edit);
        let pair = edited(&base, &edits, BySide { tracker: 1, forge: 1 }, &rules);
        if let PairPlan::Repair(repair) = plan_pair(&pair, &rules, now())
            && let Action::Update { writes, .. } = &repair.action
        {
            let fields: Vec<_> = writes[side].iter().flat_map(|write| &write.fields)
                .filter(|change| !matches!(change.field, Field::Footer | Field::Assignees)).collect();
            prop_assert!(fields.is_empty(), "{side} gets its own edit back: {fields:?}");
        }
    }

    /// What is off is never written, whatever the sides say.
    #[test]
    fn a_field_that_is_off_is_never_written(
        base in some_content(), tracker in some_content(), forge in some_content(), rules in some_rules(),
    ) {
        let edits = BySide { tracker: Some(tracker), forge: Some(forge) };
        let pair = edited(&base, &edits, BySide { tracker: 1, forge: 2 }, &rules);
        if let PairPlan::Repair(repair) = plan_pair(&pair, &rules, now())
            && let Action::Update { writes, .. } = &repair.action
        {
            for (_, write) in writes.iter() {
                for change in write.iter().flat_map(|write| &write.fields) {
                    prop_assert!(rules.policy.of(change.field) != FieldPolicy::Off, "{change:?}");
                }
            }
        }
    }

    /// Symmetry where both sides can say everything: which side made an edit does not change the outcome.
    #[test]
    fn swapping_the_sides_swaps_the_merge(
        base in some_content(), one in some_content(), other in some_content(), minutes in (0_i64..5, 0_i64..5),
    ) {
        let plain = |content: Content| Content {
            status: if content.status == Status::Dropped { Status::Done } else { content.status },
            assignees: Assignees::default(),
            body: String::new(),
            ..content
        };
        let (base, one, other) = (plain(base), plain(one), plain(other));
        let rules = rules(OnConflict::Newest, [FieldPolicy::Both; 5]);
        let at = |minute: i64| Some(Timestamp::from_second(minute * 60).expect("in range"));
        let said = BySide {
            tracker: Said { content: Some(&one), edited_at: at(minutes.0) },
            forge: Said { content: Some(&other), edited_at: at(minutes.1) },
        };
        let straight = merge(Some(&base), said, &rules, now());
        let swapped = merge(Some(&base), said.mirrored(), &rules, now());
        prop_assert_eq!(straight.merged, swapped.merged);
        prop_assert_eq!(straight.waiting.len(), swapped.waiting.len());
    }

    /// Two items that meet without a base lose nothing: every label and every line is on both sides, or asked.
    #[test]
    fn a_pair_newly_joined_settles_and_loses_no_label(
        tracker in some_content(), forge in some_content(), on_conflict in prop_oneof![Just(OnConflict::Newest), Just(OnConflict::Ask)],
    ) {
        let rules = rules(on_conflict, [FieldPolicy::Both; 5]);
        let items = BySide {
            tracker: item(Side::Tracker, view(Side::Tracker, &tracker, &rules.people), 1, &rules),
            forge: item(Side::Forge, view(Side::Forge, &forge, &rules.people), 2, &rules),
        };
        let joined = plan_join(items.clone(), None, None, "test".into(), &rules, now());
        let Action::Join { base, waiting, writes, .. } = &joined.action else { panic!("{joined:?}") };
        prop_assert!(tracker.labels.is_subset(&base.labels) && forge.labels.is_subset(&base.labels));
        if items.tracker.content.body != items.forge.content.body
            && !items.tracker.content.body.is_empty() && !items.forge.content.body.is_empty()
        {
            let agreed = base.body == items.forge.content.body || base.body == items.tracker.content.body;
            prop_assert!(waiting.contains_key(&Field::Body) || agreed);
            let untouched = writes.tracker.iter().flat_map(|write| &write.fields).all(|change| change.field != Field::Body);
            prop_assert!(untouched || !waiting.contains_key(&Field::Body));
        }
    }
}

/// Every combination of what two sides can show, against the rules that never bend.
#[test]
fn the_table_of_sights_never_writes_to_what_was_not_read_and_never_retires_on_less_than_gone() {
    let rules = rules(OnConflict::Newest, [FieldPolicy::Both; 5]);
    let base = Content { title: "Fix login".into(), ..Content::default() };
    let moved = Content { title: "Fix the login".into(), ..Content::default() };
    let sights = |side: Side| {
        vec![
            Sight::Unmoved,
            Sight::Shown(Box::new(item(side, base.clone(), 1, &rules))),
            Sight::Shown(Box::new(item(side, moved.clone(), 1, &rules))),
            Sight::Absent,
            Sight::Moved("github:acme/other#3".parse().expect("a key")),
            Sight::Unseen("status 404".into()),
        ]
    };
    for status in LinkStatus::ALL {
        for tracker in sights(Side::Tracker) {
            for forge in sights(Side::Forge) {
                let pair = PairSeen {
                    link: Link { status, ..link(base.clone()) },
                    sight: BySide { tracker: tracker.clone(), forge: forge.clone() },
                };
                let unseen =
                    Side::BOTH.into_iter().any(|side| matches!(pair.sight[side], Sight::Unseen(_) | Sight::Moved(_)));
                let absent = Side::BOTH.into_iter().any(|side| pair.sight[side] == Sight::Absent);
                match plan_pair(&pair, &rules, now()) {
                    PairPlan::Repair(repair) => {
                        assert!(!unseen || !repair.writes(), "{status} {tracker:?} {forge:?} {repair:?}");
                        if let Action::Retire { gone, write } = &repair.action {
                            assert!(absent && pair.sight[*gone] == Sight::Absent);
                            if let Some(write) = write {
                                assert!(write.item.side() != *gone && write.change.title.is_none());
                            }
                        }
                        assert!(!matches!(repair.action, Action::Create { .. }), "a linked pair creates nothing");
                    }
                    PairPlan::Ask(question) => assert!(question.what.len() > 20),
                    PairPlan::Skip(_) | PairPlan::Settled { .. } => {}
                }
            }
        }
    }
}

#[test]
fn a_deleted_task_whose_issue_was_edited_since_is_a_question() {
    let rules = rules(OnConflict::Newest, [FieldPolicy::Both; 5]);
    let base = Content { title: "Fix login".into(), ..Content::default() };
    let edited = Content { title: "Fix login now".into(), ..Content::default() };
    let pair = PairSeen {
        link: link(base),
        sight: BySide { tracker: Sight::Absent, forge: Sight::Shown(Box::new(item(Side::Forge, edited, 1, &rules))) },
    };
    assert!(matches!(plan_pair(&pair, &rules, now()), PairPlan::Ask(_)));
}

#[test]
fn a_question_keeps_the_day_on_which_it_arose_and_is_settled_by_agreement() {
    let rules = rules(OnConflict::Ask, [FieldPolicy::Both; 5]);
    let base = Content { title: "Fix login".into(), ..Content::default() };
    let say = |title: &str| Some(Content { title: title.into(), ..Content::default() });
    let edits = BySide { tracker: say("Fix login (Ann)"), forge: say("Fix login (Bob)") };
    let mut pair = edited(&base, &edits, BySide { tracker: 1, forge: 2 }, &rules);
    let PairPlan::Repair(asked) = plan_pair(&pair, &rules, now()) else { panic!("not asked") };
    pair = apply(&pair, &asked);
    let since = pair.link.waiting[&Field::Title].since;
    let later = Timestamp::from_second(2_000_000).expect("in range");
    assert!(matches!(plan_pair(&pair, &rules, later), PairPlan::Settled { .. }), "asked only once");
    assert_eq!(pair.link.waiting[&Field::Title].since, since);
    // Somebody brings the issue's title to what the task says: the question is gone.
    let agreed = item(Side::Forge, say("Fix login (Ann)").expect("content"), 9, &rules);
    pair.sight.forge = Sight::Shown(Box::new(Item { footer: shown(&pair, Side::Forge).footer.clone(), ..agreed }));
    let PairPlan::Repair(settled) = plan_pair(&pair, &rules, later) else { panic!("not settled") };
    let pair = apply(&pair, &settled);
    assert!(pair.link.waiting.is_empty());
    assert_eq!(pair.link.base.expect("a base").title, "Fix login (Ann)");
}

#[test]
fn what_somebody_added_to_a_partner_just_made_is_no_removal_by_its_source() {
    let rules = rules(OnConflict::Newest, [FieldPolicy::Both; 5]);
    let say = |labels: &[&str], people: &[&str]| {
        let set = labels.iter().map(|label| (*label).to_owned()).collect();
        let known = people.iter().map(|name| (*name).to_owned()).collect();
        Content { labels: set, assignees: Assignees { known, unknown: Vec::new() }, ..Content::default() }
    };
    // A robot was quick; the service left out what may not be set here; nothing happened.
    let cases = [
        (say(&["bug", "triage"], &["ann", "bob"]), say(&["bug", "triage"], &["ann", "bob"])),
        (say(&[], &[]), say(&["bug"], &["ann"])),
        (say(&["Bug"], &["ann"]), say(&["bug"], &["ann"])),
    ];
    for (shown, wanted) in cases {
        let from = item(Side::Tracker, say(&["bug"], &["ann"]), 1, &rules);
        let made = item(Side::Forge, shown, 1, &rules);
        let base = agreed(&from, &made, &rules);
        let (one, other) = (&from.content, &made.content);
        assert_eq!(fields::merge_labels(&base.labels, &one.labels, &other.labels), wanted.labels);
        assert_eq!(fields::merge_assignees(&base.assignees, &one.assignees, &other.assignees), wanted.assignees);
    }
}

#[test]
fn a_restored_task_reopens_its_issue() {
    let rules = rules(OnConflict::Newest, [FieldPolicy::Both; 5]);
    let open = Content { title: "Fix login".into(), ..Content::default() };
    let dropped = Content { status: Status::Dropped, ..open.clone() };
    let pair = PairSeen {
        link: Link { status: LinkStatus::Retired, ..link(dropped.clone()) },
        sight: BySide {
            tracker: Sight::Shown(Box::new(item(Side::Tracker, open, 5, &rules))),
            forge: Sight::Shown(Box::new(item(Side::Forge, dropped, 4, &rules))),
        },
    };
    let PairPlan::Repair(repair) = plan_pair(&pair, &rules, now()) else { panic!("nothing planned") };
    let Action::Update { writes, .. } = &repair.action else { panic!("{repair:?}") };
    assert_eq!(writes.forge.as_ref().and_then(|write| write.change.status), Some(Status::Open));
}
