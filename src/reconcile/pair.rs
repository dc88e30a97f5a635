//! One linked pair: what both sides show decides what is done. The whole two-way rule is one table.

use std::collections::BTreeMap;

use super::fields::{COMPARED, desired_assignees, fingerprint, same, shows, value, view};
use super::footer::{issue_footer, task_footer};
use super::merge::{Outcome, Said, merge};
use super::plan::{Action, Question, Repair, Skip, Write};
use crate::model::{
    BySide, Change, Content, Field, FieldChange, FieldPolicy, Fingerprint, IntentId, Item, ItemKey, Link, LinkStatus,
    Place, Rules, Side, Status, Timestamp, Waiting,
};

/// What one side shows of a linked item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// It was read.
    Shown(Box<Item>),
    /// It was in a complete observation that delivers what moved, and did not move: it shows the base.
    Unmoved,
    /// A direct read says it is gone; missing from a listing is not enough.
    Absent,
    /// It lives on as another item, outside the route.
    Moved(ItemKey),
    /// It could not be read this time. Proves nothing.
    Unseen(String),
}

/// A linked pair with something to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairSeen {
    /// The link.
    pub link: Link,
    /// What each side shows.
    pub sight: BySide<Sight>,
}

/// What a pair comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PairPlan {
    /// Both sides show what they shall.
    Settled {
        /// The digests to keep, where they are new.
        seen: BySide<Option<Fingerprint>>,
    },
    /// Something is to be done.
    Repair(Box<Repair>),
    /// A person must decide.
    Ask(Question),
    /// Left alone for a reason.
    Skip(Skip),
}

/// Decides about one linked pair. No `_` arm for a new [`Sight`] to slip through.
pub fn plan_pair(pair: &PairSeen, rules: &Rules, now: Timestamp) -> PairPlan {
    use Sight::{Absent, Moved, Shown, Unmoved, Unseen};
    let PairSeen { link, sight } = pair;
    let skip = |side: Side, why: String| PairPlan::Skip(Skip { item: link.key(side), why });
    let ask = |side: Side, what: String| PairPlan::Ask(Question { link: Some(link.id), item: link.key(side), what });
    match (&sight.tracker, &sight.forge) {
        (Unseen(why), _) => skip(Side::Tracker, format!("the task could not be read: {why}")),
        (_, Unseen(why)) => skip(Side::Forge, format!("the issue could not be read: {why}")),
        (Absent, Absent) if link.status == LinkStatus::Retired => settled(link, sight, rules),
        (Absent, Absent) => note(link, LinkStatus::Retired, None, "both are gone"),
        (Absent, Moved(to)) | (Shown(_) | Unmoved, Moved(to)) => ask(
            Side::Forge,
            format!(
                "the issue was moved to {to}; nothing is written until somebody decides: `evenkeel links remove {item}` \
                 lets go of the pair, `evenkeel links add` makes another on the route of that repository",
                item = link.key(Side::Forge)
            ),
        ),
        (Moved(to), _) => ask(
            Side::Tracker,
            format!(
                "the task was moved to {to}; nothing is written until somebody decides: `evenkeel links remove {item}` lets \
             go of the pair",
                item = link.key(Side::Tracker)
            ),
        ),
        (Absent, Shown(_) | Unmoved) | (Shown(_) | Unmoved, Absent) => {
            let gone = if sight.tracker == Absent { Side::Tracker } else { Side::Forge };
            retire(link, gone, sight, rules)
        }
        (Shown(_) | Unmoved, Shown(_) | Unmoved) => together(link, sight, rules, now),
    }
}

/// Joins two items that exist into a new pair; `known` is what they are known to have agreed on.
pub fn plan_join(
    items: BySide<Item>,
    intent: Option<IntentId>,
    known: Option<Content>,
    cause: String,
    rules: &Rules,
    now: Timestamp,
) -> Repair {
    let said =
        BySide::from_fn(|side| Said { content: Some(&items[side].content), edited_at: Some(items[side].updated_at) });
    let outcome = merge(known.as_ref(), said, rules, now);
    let shown = BySide::from_fn(|side| Some(&items[side]));
    let keys = BySide::from_fn(|side| items[side].key.clone());
    let left = |field| outcome.waiting.contains_key(&field);
    let wanted = Wanted { merged: &outcome.merged, why: &outcome.why, left: &left };
    let writes =
        BySide::from_fn(|side| write_for(side, &keys, shown[side], known.as_ref(), wanted, rules, shown.forge));
    let Outcome { merged, waiting, .. } = outcome;
    Repair {
        link: None,
        items: keys.map(Some),
        title: merged.title.clone(),
        cause,
        seen: BySide::from_fn(|side| Some(fingerprint(&items[side], &rules.policy))),
        action: Action::Join {
            items: Box::new(items),
            intent,
            known: known.map(Box::new),
            writes,
            base: Box::new(merged),
            waiting,
        },
    }
}

/// Nothing to do; what was read is remembered, so that it is not looked at again.
fn settled(link: &Link, sight: &BySide<Sight>, rules: &Rules) -> PairPlan {
    PairPlan::Settled {
        seen: BySide::from_fn(|side| match &sight[side] {
            Sight::Shown(item) => {
                Some(fingerprint(item, &rules.policy)).filter(|print| link.seen[side].as_ref() != Some(print))
            }
            Sight::Unmoved | Sight::Absent | Sight::Moved(_) | Sight::Unseen(_) => None,
        }),
    }
}

fn note(link: &Link, status: LinkStatus, base: Option<Box<Content>>, cause: &str) -> PairPlan {
    PairPlan::Repair(Box::new(Repair {
        link: Some(link.id),
        items: BySide::from_fn(|side| Some(link.key(side))),
        title: title_of(link),
        cause: cause.to_owned(),
        action: Action::Note { status, base, waiting: link.waiting.clone() },
        seen: BySide::default(),
    }))
}

fn title_of(link: &Link) -> String {
    link.base.as_ref().map_or_else(String::new, |base| base.title.clone())
}

/// Both can be read: the ordinary case, and the return of what had left or was retired.
fn together(link: &Link, sight: &BySide<Sight>, rules: &Rules, now: Timestamp) -> PairPlan {
    let item = |side: Side| match &sight[side] {
        Sight::Shown(item) => Some(item.as_ref()),
        _ => None,
    };
    let shown = BySide { tracker: item(Side::Tracker), forge: item(Side::Forge) };
    let left = Side::BOTH.into_iter().find(|side| shown[*side].is_some_and(|item| item.place == Place::Left));
    match (link.status, left) {
        (LinkStatus::Left, Some(_)) => return settled(link, sight, rules),
        (LinkStatus::Active, Some(side)) => {
            let cause = format!(
                "the item left the {} of the route; nothing is written until it returns",
                match side {
                    Side::Tracker => "project",
                    Side::Forge => "repository",
                }
            );
            return note(link, LinkStatus::Left, None, &cause);
        }
        // It did not come back: only a sight of both wakes a retired pair.
        (LinkStatus::Retired, Some(_)) => return settled(link, sight, rules),
        (LinkStatus::Retired | LinkStatus::Left, None) if shown.tracker.is_none() || shown.forge.is_none() => {
            return PairPlan::Skip(Skip {
                item: link.key(if shown.tracker.is_none() { Side::Tracker } else { Side::Forge }),
                why: format!("the pair is {}; its other half was not read", link.status),
            });
        }
        (LinkStatus::Active | LinkStatus::Left | LinkStatus::Retired, None) => {}
    }
    let said = BySide::from_fn(|side| Said {
        content: shown[side].map(|item| &item.content),
        edited_at: shown[side].map(|item| item.updated_at),
    });
    let mut outcome = merge(link.base.as_ref(), said, rules, now);
    for (field, waiting) in &mut outcome.waiting {
        // The same question is not asked anew: it keeps the day on which it arose.
        if let Some(known) = link.waiting.get(field)
            && known.said == waiting.said
        {
            waiting.since = known.since;
        }
    }
    let keys = BySide::from_fn(|side| link.key(side));
    let left = |field| outcome.waiting.contains_key(&field);
    let wanted = Wanted { merged: &outcome.merged, why: &outcome.why, left: &left };
    let writes =
        BySide::from_fn(|side| write_for(side, &keys, shown[side], link.base.as_ref(), wanted, rules, shown.forge));
    let seen = BySide::from_fn(|side| shown[side].map(|item| fingerprint(item, &rules.policy)));
    let returned = link.status != LinkStatus::Active;
    if writes.tracker.is_none() && writes.forge.is_none() {
        let known_base = link.base.as_ref() == Some(&outcome.merged);
        if known_base && outcome.waiting == link.waiting && !returned {
            return settled(link, sight, rules);
        }
        let cause = if returned {
            format!("both are back: the pair was {}", link.status)
        } else if outcome.waiting != link.waiting {
            waiting_cause(&outcome.waiting)
        } else {
            outcome.why.values().next().cloned().unwrap_or_else(|| "both show the same".to_owned())
        };
        return PairPlan::Repair(Box::new(Repair {
            link: Some(link.id),
            items: keys.map(Some),
            title: outcome.merged.title.clone(),
            cause,
            action: Action::Note {
                status: LinkStatus::Active,
                base: Some(Box::new(outcome.merged)),
                waiting: outcome.waiting,
            },
            seen,
        }));
    }
    PairPlan::Repair(Box::new(Repair {
        link: Some(link.id),
        items: keys.map(Some),
        title: outcome.merged.title.clone(),
        cause: causes(&writes),
        action: Action::Update { writes, base: Box::new(outcome.merged), waiting: outcome.waiting },
        seen,
    }))
}

fn waiting_cause(waiting: &BTreeMap<Field, Waiting>) -> String {
    match waiting.iter().next() {
        Some((field, question)) => format!("the {field} waits for a person: {}", question.why),
        None => "the question is settled".to_owned(),
    }
}

fn causes(writes: &BySide<Option<Write>>) -> String {
    let mut reasons: Vec<&str> = Vec::new();
    for (_, write) in writes.iter() {
        for change in write.iter().flat_map(|write| &write.fields) {
            if !reasons.contains(&change.why.as_str()) {
                reasons.push(&change.why);
            }
        }
    }
    reasons.join("; ")
}

/// One side is gone: its partner is closed, unless somebody edited it since both last agreed.
fn retire(link: &Link, gone: Side, sights: &BySide<Sight>, rules: &Rules) -> PairPlan {
    let stays = gone.opposite();
    if link.status == LinkStatus::Retired {
        return settled(link, sights, rules);
    }
    let sight = &sights[stays];
    let base = link.base.clone().unwrap_or_default();
    // Somebody may have closed it for the same reason, or because we asked: there is nothing left to decide then.
    if let Sight::Shown(item) = sight
        && item.content.status == Status::Open
    {
        let edited = COMPARED.into_iter().find(|field| {
            rules.policy.of(*field) != FieldPolicy::Off
                && *field != Field::Status
                && !shows(stays, *field, &base, &item.content, &rules.people)
        });
        if let Some(field) = edited {
            return PairPlan::Ask(Question {
                link: Some(link.id),
                item: link.key(stays),
                what: format!(
                    "{gone_key} was deleted, but the {field} here was edited since both last agreed; to keep this one \
                     and let go of the pair: `evenkeel links remove {key}`; to close it: do so by hand",
                    gone_key = link.key(gone),
                    key = link.key(stays)
                ),
            });
        }
    }
    let status = match stays {
        Side::Tracker => Status::Done,
        Side::Forge => Status::Dropped,
    };
    let shown_status = match sight {
        Sight::Shown(item) => item.content.status,
        _ => view(stays, &base, &rules.people).status,
    };
    let cause = format!("{} was deleted", link.key(gone));
    let write = (shown_status == Status::Open).then(|| Write {
        item: link.key(stays),
        change: Change { status: Some(status), ..Change::default() },
        fields: vec![FieldChange {
            field: Field::Status,
            before: serde_json::json!(shown_status),
            after: serde_json::json!(status),
            why: cause.clone(),
        }],
    });
    PairPlan::Repair(Box::new(Repair {
        link: Some(link.id),
        items: BySide::from_fn(|side| Some(link.key(side))),
        title: base.title,
        cause,
        action: Action::Retire { gone, write },
        seen: BySide::default(),
    }))
}

/// The writes that bring one field of a pair to what `merged` says of it; every other field is left as it is shown.
pub(super) fn writes_of(
    field: Field,
    link: &Link,
    items: &BySide<Item>,
    merged: &Content,
    why: &str,
    rules: &Rules,
) -> BySide<Option<Write>> {
    let keys = BySide::from_fn(|side| link.key(side));
    let why = BTreeMap::from([(field, why.to_owned())]);
    let left = |other: Field| other != field;
    let wanted = Wanted { merged, why: &why, left: &left };
    BySide::from_fn(|side| {
        let (item, issue) = (Some(&items[side]), Some(&items.forge));
        write_for(side, &keys, item, link.base.as_ref(), wanted, rules, issue)
    })
}

/// What a write shall bring about.
#[derive(Clone, Copy)]
struct Wanted<'a> {
    /// What both shall agree on.
    merged: &'a Content,
    /// For each field that moved: why its value is what it is.
    why: &'a BTreeMap<Field, String>,
    /// Whether a field is left as it is shown.
    left: &'a dyn Fn(Field) -> bool,
}

/// The one update that `side` needs to show what is wanted; `None` when it shows it.
fn write_for(
    side: Side,
    keys: &BySide<ItemKey>,
    item: Option<&Item>,
    base: Option<&Content>,
    wanted: Wanted<'_>,
    rules: &Rules,
    issue: Option<&Item>,
) -> Option<Write> {
    let people = &rules.people;
    // A side that was not read shows the base as well as it can.
    let seen = match (item, base) {
        (Some(item), _) => item.content.clone(),
        (None, Some(base)) => view(side, base, people),
        (None, None) => return None,
    };
    let Wanted { merged, why, left } = wanted;
    let wanted = view(side, merged, people);
    let mut change = Change::default();
    let mut fields = Vec::new();
    for field in COMPARED {
        if rules.policy.of(field) == FieldPolicy::Off || left(field) || shows(side, field, merged, &seen, people) {
            continue;
        }
        // Somebody unmapped was put in the place of others: that is left as it is until the tracker's people change.
        if field == Field::Assignees
            && !seen.assignees.unknown.is_empty()
            && base.is_some_and(|base| same(field, base, merged))
        {
            continue;
        }
        let mut after = value(field, &wanted);
        match field {
            Field::Title => change.title = Some(wanted.title.clone()),
            Field::Body => change.text = Some((wanted.body.clone(), None)),
            Field::Status => change.status = Some(wanted.status),
            Field::Assignees => {
                let assignees = desired_assignees(side, merged, &seen, people);
                after = serde_json::json!(assignees);
                change.assignees = Some(assignees);
            }
            Field::Labels => change.labels = Some(wanted.labels.clone()),
            Field::Due | Field::Footer => continue,
        }
        fields.push(FieldChange {
            field,
            before: value(field, &seen),
            after,
            why: why.get(&field).cloned().unwrap_or_else(|| "differs from what both agreed on".to_owned()),
        });
    }
    let footer_now = match item {
        Some(item) => item.footer.clone(),
        None => base.and_then(|base| footer_for(side, keys, base, &seen.body, rules, None, issue)),
    };
    let mut text_wanted = merged.clone();
    if left(Field::Body) {
        text_wanted.body.clone_from(&seen.body);
    }
    if left(Field::Title) {
        text_wanted.title.clone_from(&seen.title);
    }
    let body = change.text.as_ref().map_or(&seen.body, |(body, _)| body);
    let footer = footer_for(side, keys, &text_wanted, body, rules, footer_now.as_deref(), issue);
    if footer != footer_now {
        fields.push(FieldChange {
            field: Field::Footer,
            before: serde_json::json!(footer_now),
            after: serde_json::json!(footer),
            why: match footer_now {
                None => "the linked issue names its task".to_owned(),
                Some(_) => "the footer follows the task".to_owned(),
            },
        });
        change.text.get_or_insert_with(|| (seen.body.clone(), None));
    }
    if let Some((_, below)) = &mut change.text {
        *below = footer;
    }
    (!change.is_empty()).then(|| Write { item: keys[side].clone(), change, fields })
}

/// The footer a side must show: an issue's names its task; a task keeps the one it was made with.
fn footer_for(
    side: Side,
    keys: &BySide<ItemKey>,
    content: &Content,
    body: &str,
    rules: &Rules,
    now: Option<&str>,
    issue: Option<&Item>,
) -> Option<String> {
    match (side, &keys.tracker) {
        (Side::Forge, ItemKey::Task(task)) => issue_footer(task, content, body, &rules.policy),
        (Side::Forge, ItemKey::Issue(_)) => now.map(str::to_owned),
        (Side::Tracker, _) => match (now, issue) {
            // Only tasks that we made carry one; it is put back when its words were damaged.
            (Some(_), Some(issue)) => task_footer(&keys.forge, &issue.url, body),
            _ => now.map(str::to_owned),
        },
    }
}
