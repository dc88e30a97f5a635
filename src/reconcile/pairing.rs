//! Unlinked items: which belongs with which by marker or open intent, which gets a new partner, which
//! is left alone and why.
//!
//! A marker is a claim, checked and not trusted: two items that claim one partner, or a claim on what
//! is linked elsewhere, is a question and never a repair.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::fields::{COMPARED, assign, fold, folded, shows, view};
use super::pair::plan_join;
use super::plan::{Action, Plan, Question, Repair, Skip};
use crate::model::{
    BySide, CLOCK_SLACK, Content, Field, FieldPolicy, Filter, IntentId, Item, ItemKey, Marker, Place, Rules, Side,
    Status, Timestamp,
};

/// What is known of an unlinked item's claim on a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// The partner it names is linked with another item.
    Taken(ItemKey),
    /// The partner it names cannot be read now.
    Unreadable(String),
    /// The partner it names is gone for good.
    Gone,
}

/// A creation whose answer is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unanswered {
    /// Its intent.
    pub id: IntentId,
    /// When it was last tried.
    pub tried_at: Timestamp,
    /// Until when what was made is looked for.
    pub until: Timestamp,
    /// What the item said of which a partner was to be made, if that was kept.
    pub sent: Option<Content>,
}

/// Everything the decision about unlinked items needs.
#[derive(Debug, Clone, Default)]
pub struct Strangers {
    /// Unlinked items, each side's as observed; partners named by a claim among them.
    pub items: BySide<Vec<Item>>,
    /// Claims that cannot be followed, by claiming item.
    pub claims: BTreeMap<ItemKey, Claim>,
    /// Open creations, by the item that gets a partner.
    pub intents: BTreeMap<ItemKey, Unanswered>,
    /// Pairs that a person unmade.
    pub tombstones: BTreeSet<BySide<ItemKey>>,
    /// Items that this pass must leave alone, and why (parked, linked on another route). Their claims count all
    /// the same: what they name gets no other partner.
    pub held: BTreeMap<ItemKey, String>,
    /// On which side new partners may be made now: it was observed completely in this pass, so an earlier
    /// partner of ours cannot have been overlooked.
    pub may_create: BySide<bool>,
}

/// Pairs what belongs together and plans new partners for the rest.
pub fn plan_strangers(strangers: Strangers, rules: &Rules, now: Timestamp, plan: &mut Plan) {
    let Strangers { items, claims, intents, tombstones, held, may_create } = strangers;
    let mut claimants: BTreeMap<ItemKey, Vec<ItemKey>> = BTreeMap::new();
    let mut unmade: BTreeSet<ItemKey> = BTreeSet::new();
    for item in items.tracker.iter().chain(&items.forge) {
        if let Some(Marker { partner }) = &item.marker
            && partner.side() != item.side()
        {
            if tombstones.contains(&pair_of(&item.key, partner)) {
                unmade.insert(item.key.clone());
            } else if !claims.contains_key(&item.key) {
                claimants.entry(partner.clone()).or_default().push(item.key.clone());
            }
        }
    }
    for keys in claimants.values_mut() {
        keys.sort();
        keys.dedup();
    }
    let mut by_key: BTreeMap<ItemKey, Item> = BTreeMap::new();
    for item in items.tracker.into_iter().chain(items.forge) {
        by_key.insert(item.key.clone(), item);
    }
    let mut taken: BTreeSet<ItemKey> = BTreeSet::new();
    for (partner, keys) in &claimants {
        if let Some(waits) = keys.iter().chain([partner]).find(|key| held.contains_key(*key)) {
            for key in keys.iter().chain([partner]) {
                if by_key.contains_key(key) && !held.contains_key(key) && taken.insert(key.clone()) {
                    plan.skip(Skip { item: key.clone(), why: format!("it belongs with {waits}, which is left alone") });
                }
            }
            continue;
        }
        match keys.as_slice() {
            [only] => {
                // Both may claim each other, or have been joined from the other end already.
                if taken.contains(only) || taken.contains(partner) {
                    continue;
                }
                let (Some(one), Some(other)) = (by_key.get(only), by_key.get(partner)) else {
                    plan.skip(Skip {
                        item: only.clone(),
                        why: format!("it names {partner} as its partner, which was not read in this pass"),
                    });
                    taken.insert(only.clone());
                    continue;
                };
                // The marker must not be contradicted by the partner's own claim.
                if let Some(back) = &other.marker
                    && back.partner != *only
                    && back.partner.side() == only.side()
                {
                    plan.questions.push(Question {
                        link: None,
                        item: only.clone(),
                        what: format!(
                            "it names {partner} as its partner, which itself names {}; link the two that belong \
                             together with `evenkeel links add` and take the marker out of the third",
                            back.partner
                        ),
                    });
                    taken.insert(only.clone());
                    taken.insert(partner.clone());
                    continue;
                }
                taken.insert(only.clone());
                taken.insert(partner.clone());
                let unanswered = intents.get(partner);
                let cause = if unanswered.is_some() {
                    "an earlier creation had succeeded although its answer was lost".to_owned()
                } else {
                    format!("{only} carries the marker of {partner}")
                };
                let known = unanswered.and_then(|creation| known(creation, other, one, rules, now));
                let items = match only.side() {
                    Side::Tracker => BySide { tracker: one.clone(), forge: other.clone() },
                    Side::Forge => BySide { tracker: other.clone(), forge: one.clone() },
                };
                let intent = unanswered.map(|creation| creation.id);
                plan.repairs.push(plan_join(items, intent, known, cause, rules, now));
            }
            several => {
                for key in several {
                    taken.insert(key.clone());
                    plan.questions.push(Question {
                        link: None,
                        item: key.clone(),
                        what: format!(
                            "{} items carry the marker of {partner} ({}): a copied text; link the right one with \
                             `evenkeel links add` and take the marker out of the others",
                            several.len(),
                            several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
                        ),
                    });
                }
                taken.insert(partner.clone());
            }
        }
    }
    for (key, item) in by_key {
        if taken.contains(&key) {
            continue;
        }
        let skip = |why: String| Skip { item: key.clone(), why };
        let side = key.side();
        if let Some(why) = held.get(&key) {
            plan.skip(skip(why.clone()));
        // Who let go of the very pair it claims has answered already, whoever the partner was given to.
        } else if let Some(claim) = claims.get(&key).filter(|_| !unmade.contains(&key)) {
            match claim {
                // What is elsewhere is nobody's business here, whatever it carries.
                Claim::Taken(_) if item.place != Place::Here => plan.skip(skip("it is not in the route".to_owned())),
                Claim::Taken(by) => plan.questions.push(Question {
                    link: None,
                    item: key.clone(),
                    what: format!(
                        "it carries the marker of an item that is linked with {by}: a copied text; take the marker out, \
                         or link it with `evenkeel links add`"
                    ),
                }),
                Claim::Unreadable(why) => plan.skip(skip(format!("the partner it names could not be read: {why}"))),
                Claim::Gone => plan.skip(skip("the partner it names was deleted".to_owned())),
            }
        } else if unmade.contains(&key) || tombstones.iter().any(|pair| pair[side] == key) {
            plan.skip(skip("somebody let go of this pair (`evenkeel links add` makes it again)".to_owned()));
        } else if let Some(Unanswered { until, .. }) = intents.get(&key) {
            plan.skip(skip(format!(
                "an earlier creation of its partner is still unanswered; it is looked for until {until:.0}"
            )));
        } else if let Some(why) = stays_alone(&item, rules) {
            plan.skip(skip(why));
        } else if !may_create[side.opposite()] {
            plan.skip(skip("nothing is created until the other side was read completely".to_owned()));
        } else {
            plan.repairs.push(create(item, rules));
        }
    }
}

/// Two keys, one of each side, as a pair.
pub fn pair_of(one: &ItemKey, other: &ItemKey) -> BySide<ItemKey> {
    match one.side() {
        Side::Tracker => BySide { tracker: one.clone(), forge: other.clone() },
        Side::Forge => BySide { tracker: other.clone(), forge: one.clone() },
    }
}

/// Why an unlinked item gets no partner; `None` when it does.
pub fn stays_alone(item: &Item, rules: &Rules) -> Option<String> {
    let side = item.side();
    if !rules.creation.from_side(side) {
        return Some(format!("the route creates nothing for items of {} (`create`)", side.service()));
    }
    if item.place == Place::Left {
        return Some("it is not in the route".to_owned());
    }
    unfit(item, &rules.filter[side])
}

/// Why a filter leaves an item out.
fn unfit(item: &Item, filter: &Filter) -> Option<String> {
    let Filter { sections, labels, fields, include_done } = filter;
    let among = |wanted: &[String], found: Option<&str>| {
        wanted.is_empty()
            || found.is_some_and(|found| wanted.iter().any(|name| name.to_lowercase() == found.to_lowercase()))
    };
    if !among(sections, item.facts.section.as_deref()) {
        return Some(format!(
            "its section {:?} is not one of {sections:?}",
            item.facts.section.as_deref().unwrap_or("")
        ));
    }
    if !labels.is_empty() {
        let wanted = folded(&labels.iter().cloned().collect());
        if wanted.is_disjoint(&folded(&item.content.labels)) {
            return Some(format!("it has none of the labels {labels:?}"));
        }
    }
    for (name, value) in fields {
        let found = item.facts.fields.iter().find(|(known, _)| known.to_lowercase() == name.to_lowercase());
        if found.is_none_or(|(_, shown)| shown.to_lowercase() != value.to_lowercase()) {
            return Some(format!("its field {name:?} is not {value:?}"));
        }
    }
    if !include_done && item.content.status != Status::Open {
        return Some("it was done before it was first seen (`include_done`)".to_owned());
    }
    None
}

/// What a new partner of an item shall say: what the item says, as far as the policy goes.
fn drafted(item: &Item, rules: &Rules) -> Content {
    let mut content = view(item.side().opposite(), &item.content, &rules.people);
    let empty = Content::default();
    for field in [Field::Assignees, Field::Labels, Field::Due] {
        if rules.policy.of(field) == FieldPolicy::Off {
            assign(field, &empty, &mut content);
        }
    }
    content
}

/// What both agree on after a creation: what the source says, which the partner shows as well as it can.
///
/// Where it does not (a done task's issue is born open, a label was dropped), what it shows is the base, so
/// that the source's value counts as the edit and is written, never the other way round. Of sets it is what both show:
/// a label that a robot gave to what was just made is an addition there, and not a removal here; so is whoever was given
/// a task.
pub fn agreed(from: &Item, made: &Item, rules: &Rules) -> Content {
    let Content { assignees, labels, .. } = drafted(from, rules);
    let mut base = Content { assignees, labels, ..from.content.clone() };
    for field in COMPARED {
        if shows(made.side(), field, &base, &made.content, &rules.people) {
            continue;
        }
        match (field, made.side()) {
            (Field::Labels, _) => {
                let there = folded(&made.content.labels);
                base.labels.retain(|label| there.contains(&fold(label)));
            }
            (Field::Assignees, Side::Forge) => {
                base.assignees.known.retain(|name| made.content.assignees.known.contains(name));
            }
            // A task shows one of several, and is no set: who was not asked for was put there by somebody.
            (Field::Assignees, Side::Tracker)
                if made.content.assignees.known.iter().any(|name| !base.assignees.known.contains(name)) => {}
            _ => assign(field, &made.content, &mut base),
        }
    }
    if rules.policy.of(Field::Assignees) != FieldPolicy::Off {
        let task = if made.side() == Side::Tracker { made } else { from };
        base.assignees.unknown.clone_from(&task.content.assignees.unknown);
    }
    base
}

/// A service may stamp an item a little later than it says that it created it, without anybody's edit.
const STAMP_SLACK_SECONDS: i64 = 5;

/// How long what was sent is believed to be what both last agreed on. An intent in a database that was restored from a
/// copy may be as old as the copy, and the pair may have been made, and edited, since.
const SENT_HOLDS_SECONDS: i64 = 3_600;

/// What both agreed on when a creation is found again whose answer was lost.
///
/// What was sent, if it is known that this is what was made of it. Else what the source says, as long as nobody has
/// touched what was made: so that an issue born open does not reopen its done task.
fn known(creation: &Unanswered, from: &Item, made: &Item, rules: &Rules, now: Timestamp) -> Option<Content> {
    // An earlier try may have sent something else.
    let tried_later = Duration::try_from(creation.tried_at.duration_since(made.created_at)).unwrap_or_default();
    let of_this_try = tried_later <= CLOCK_SLACK;
    let lately = now.duration_since(creation.tried_at).as_secs() <= SENT_HOLDS_SECONDS;
    let sent = creation.sent.as_ref().filter(|_| of_this_try && lately);
    match sent {
        Some(sent) => Some(as_sent(sent.clone(), from, made, rules)),
        None => {
            let as_made = made.updated_at.duration_since(made.created_at).as_secs() <= STAMP_SLACK_SECONDS;
            as_made.then(|| agreed(from, made, rules))
        }
    }
}

/// What both agreed on: what was sent. Whoever has edited either item since has edited it as they would have edited a
/// pair.
///
/// Two things a new partner shows are nobody's edit: it may be born open, whatever was sent, and the service may have
/// left out labels and people. Who reopened it or took one of those away at once is not heard: it is given once more.
fn as_sent(content: Content, from: &Item, made: &Item, rules: &Rules) -> Content {
    let then = Item { content, ..from.clone() };
    let Content { assignees, labels, status, .. } = agreed(&then, made, rules);
    let sent = then.content;
    let status = if sent.status == Status::Open { sent.status } else { status };
    Content { assignees, labels, status, ..sent }
}

/// A new partner that says what the item says, as far as the policy goes.
fn create(item: Item, rules: &Rules) -> Repair {
    let content = drafted(&item, rules);
    let cause = match item.side() {
        Side::Tracker => "a new task".to_owned(),
        Side::Forge => "a new issue".to_owned(),
    };
    let mut items = BySide { tracker: None, forge: None };
    items[item.side()] = Some(item.key.clone());
    let mut seen = BySide { tracker: None, forge: None };
    seen[item.side()] = Some(super::fields::fingerprint(&item, &rules.policy));
    Repair {
        link: None,
        items,
        title: item.content.title.clone(),
        cause,
        action: Action::Create { from: Box::new(item), content: Box::new(content) },
        seen,
    }
}
