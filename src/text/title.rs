//! Titles: one line on both sides, cut on the forge where it is too long.

use crate::model::Side;

/// GitHub refuses a longer title: 422 "title is too long (maximum is 256 characters)".
pub const TITLE_CHARS_MAX: usize = 256;

/// Stands for a title that says nothing: Asana accepts an empty name, GitHub refuses one as blank.
pub const NO_TITLE: &str = "(no title)";

/// Ends a title that was cut.
const ELLIPSIS: char = '…';

/// One line: white space runs become one space, ends are trimmed, control characters go; never empty.
pub fn canonical_title(text: &str) -> String {
    let mut title = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_whitespace() {
            if !title.is_empty() && !title.ends_with(' ') {
                title.push(' ');
            }
        } else if !character.is_control() && !super::forbidden(character) {
            title.push(character);
        }
    }
    title.truncate(title.trim_end().len());
    // GitHub's "can't be blank" does not count what nobody can see.
    if title.chars().all(|character| character == ' ' || invisible(character)) { NO_TITLE.to_owned() } else { title }
}

/// Characters of no width.
const fn invisible(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{ad}')
}

/// What a side can show of a title: the forge at most [`TITLE_CHARS_MAX`] characters, the last an ellipsis if cut.
pub fn view_title(side: Side, title: &str) -> String {
    match (side, hidden_tail(title)) {
        (Side::Forge, Some((head, _))) => format!("{head}{ELLIPSIS}"),
        _ => title.to_owned(),
    }
}

/// Carries an edit made on a side into the whole title: while the edited title still ends in the ellipsis, what
/// was hidden behind it stays.
pub fn put_title(side: Side, rich: &str, edited: &str) -> String {
    match (side, hidden_tail(rich), edited.strip_suffix(ELLIPSIS)) {
        (Side::Forge, Some((_, tail)), Some(head)) => canonical_title(&format!("{head}{tail}")),
        _ => edited.to_owned(),
    }
}

/// A title too long for the forge, parted where it is cut.
fn hidden_tail(title: &str) -> Option<(&str, &str)> {
    // Bytes are never fewer than characters, so most titles are told by their length.
    if title.len() <= TITLE_CHARS_MAX || title.chars().nth(TITLE_CHARS_MAX).is_none() {
        return None;
    }
    let (at, _) = title.char_indices().nth(TITLE_CHARS_MAX - 1)?;
    Some(title.split_at(at))
}
