//! A person settles a field that waits: what is taken of what both sides say, and the writes that follow. Pure.

use super::fields::assign;
use super::merge::{Said, merge};
use super::pair::writes_of;
use super::plan::Write;
use crate::model::{BySide, Content, Field, Item, Link, Rules, Side, Status, Timestamp, Waiting};
use crate::text;

/// What a person takes of a field that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// What this side says; of a text only the lines that overlap, everything else of both edits stands.
    Side(Side),
    /// Both versions of the lines that overlap, the tracker's first.
    Both,
    /// These words in place of both.
    Text(String),
}

/// What settling a field comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// What both agree on once it is done: the base with the field as taken.
    pub merged: Content,
    /// The writes; `None` for a side that shows it already.
    pub writes: BySide<Option<Write>>,
}

/// The question about a field as it stands now, if it is one; it keeps the day on which it arose if it is the same.
pub fn question(link: &Link, items: &BySide<Item>, field: Field, rules: &Rules, now: Timestamp) -> Option<Waiting> {
    let said =
        BySide::from_fn(|side| Said { content: Some(&items[side].content), edited_at: Some(items[side].updated_at) });
    let mut waiting = merge(link.base.as_ref(), said, rules, now).waiting.remove(&field)?;
    if let Some(known) = link.waiting.get(&field).filter(|known| known.said == waiting.said) {
        waiting.since = known.since;
    }
    Some(waiting)
}

/// Settles a question about a field; `why` stands beside each value in the history.
///
/// # Errors
/// Why it cannot be settled so, for a person.
pub fn resolve(
    link: &Link,
    items: &BySide<Item>,
    field: Field,
    asked: &Waiting,
    take: &Take,
    why: &str,
    rules: &Rules,
) -> Result<Settlement, String> {
    let mut merged = link.base.clone().unwrap_or_default();
    assign(field, &taken(field, asked, take)?, &mut merged);
    let writes = writes_of(field, link, items, &merged, why, rules);
    Ok(Settlement { merged, writes })
}

/// The value taken, in that field of an otherwise empty content.
fn taken(field: Field, asked: &Waiting, take: &Take) -> Result<Content, String> {
    let mut value = Content::default();
    let Waiting { base, said, .. } = asked;
    let base = base.as_deref().unwrap_or_default();
    match (field, take) {
        (Field::Title, Take::Side(side)) => value.title.clone_from(&said[*side]),
        (Field::Title, Take::Text(text)) => {
            let text = text.trim();
            if text.is_empty() {
                return Err("the title to take is empty".to_owned());
            }
            if text.lines().count() > 1 {
                return Err("the title to take has several lines; a title is one".to_owned());
            }
            value.title = text::canonical_title(text);
        }
        (Field::Body, Take::Side(side)) => {
            value.body = text::merge_taking(base, &said.tracker, &said.forge, *side);
        }
        (Field::Body, Take::Both) => value.body = text::merge_keeping(base, &said.tracker, &said.forge),
        (Field::Body, Take::Text(text)) => {
            // Copied from an issue it may bring the footer along, which is not the person's.
            let text = text::canonical(&text::split_forge(text).body);
            if text.is_empty() {
                return Err("the text to take is empty; to want none, empty it on both sides".to_owned());
            }
            if let Some(line) = text.lines().find(|line| marks_conflict(line)) {
                return Err(format!("the text to take still has the mark {line:?} of a conflict in it"));
            }
            value.body = text;
        }
        (Field::Status, Take::Side(side)) => {
            let words = [Status::Open, Status::Done, Status::Dropped];
            let word = words.into_iter().find(|word| word.as_str() == said[*side]);
            value.status = word.ok_or_else(|| format!("{:?} is no status", said[*side]))?;
        }
        (Field::Title | Field::Status, Take::Both) => {
            return Err(format!("a {field} is one value: take one side's"));
        }
        (Field::Status, Take::Text(_)) => return Err("a status is not written by hand: take one side's".to_owned()),
        (Field::Assignees | Field::Labels | Field::Due | Field::Footer, _) => {
            return Err(format!("the {field} of a pair never waits: what both sides add and remove is united"));
        }
    }
    Ok(value)
}

/// The beginnings of lines with which conflicts are marked in a text given out to be edited.
pub const MARKS: [&str; 4] = ["<<<<<<< asana", "||||||| agreed before", "=======", ">>>>>>> github"];

/// Whether a line is a mark that [`marked`] made. The bare line of equal signs is a heading in Markdown as well.
fn marks_conflict(line: &str) -> bool {
    line == MARKS[0] || line == MARKS[1] || line == MARKS[3]
}

/// A text with both versions of the lines that overlap between marks, as git writes them in its style diff3.
pub fn marked(asked: &Waiting) -> String {
    let Waiting { base, said, .. } = asked;
    let mut lines: Vec<&str> = Vec::new();
    let stretches = text::stretches(base.as_deref().unwrap_or_default(), &said.tracker, &said.forge);
    for stretch in &stretches {
        match stretch {
            text::Stretch::Agreed(text) => lines.push(text),
            text::Stretch::Overlap(overlap) => {
                for (mark, part) in MARKS.iter().zip([&overlap.tracker, &overlap.base, &overlap.forge]) {
                    lines.push(mark);
                    if !part.is_empty() {
                        lines.push(part);
                    }
                }
                lines.push(MARKS[3]);
            }
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(base: &str, tracker: &str, forge: &str) -> Waiting {
        Waiting {
            base: Some(base.to_owned()),
            said: BySide { tracker: tracker.to_owned(), forge: forge.to_owned() },
            why: "both".to_owned(),
            since: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn of_a_text_only_the_overlapping_lines_are_taken_or_kept_twice() {
        let asked = asked("a\nb\nc", "a\nours\nc\nmine", "yours\ntheirs\nc");
        let body = |take: &Take| taken(Field::Body, &asked, take).expect("taken").body;
        assert_eq!(body(&Take::Side(Side::Tracker)), "a\nours\nc\nmine");
        assert_eq!(body(&Take::Side(Side::Forge)), "yours\ntheirs\nc\nmine");
        assert_eq!(body(&Take::Both), "a\nours\nyours\ntheirs\nc\nmine");
        assert_eq!(body(&Take::Text("new\r\n\n".to_owned())), "new");
        assert_eq!(
            marked(&asked),
            "<<<<<<< asana\na\nours\n||||||| agreed before\na\nb\n=======\nyours\ntheirs\n>>>>>>> github\nc\nmine"
        );
    }

    #[test]
    fn what_cannot_be_taken_is_refused_with_its_reason() {
        let text = |text: &str| Take::Text(text.to_owned());
        for (field, take, why) in [
            (Field::Title, Take::Both, "one value"),
            (Field::Status, Take::Both, "one value"),
            (Field::Status, text("done"), "not written by hand"),
            (Field::Title, text(" \n"), "empty"),
            (Field::Title, text("one\ntwo"), "several lines"),
            (Field::Body, text("\n"), "empty"),
            (Field::Body, text("a\n<<<<<<< asana\nb"), "still has the mark"),
            (Field::Labels, Take::Both, "never waits"),
        ] {
            let refused = taken(field, &asked("open", "done", "dropped"), &take).expect_err("refused");
            assert!(refused.contains(why), "{field} {take:?}: {refused}");
        }
        let given = asked("", "ours", "theirs");
        assert!(taken(Field::Body, &given, &text(&marked(&given))).is_err(), "marks are never written");
    }
}
