//! Rich text: Asana's HTML, GitHub's Markdown, what one can show of the other, and merging.
//!
//! Pure, total, bounded: odd input gives odd text, never an error, a panic or deep recursion.
//!
//! Markdown is the richer spelling and the canonical one. Both spellings are read into the same flat list of
//! lines (`doc`) and written from it; Asana's words come out escaped, so that they show as typed and notify
//! nobody. Laws, tested as properties:
//!
//! - the second trip is the identity: with `m = from_asana(h)`, `from_asana(to_asana(m)) == m`;
//! - get and put: `put(s, r, view(s, r)) == r`, and `view(s, put(s, r, e)) == e` for every `e` that `s` can show;
//! - an edit made on the poorer side changes the rich text's lines it touches and no others.

mod asana_in;
mod asana_out;
mod build;
mod doc;
mod footer;
mod inline;
mod lens;
mod link;
mod markdown_in;
mod markdown_out;
mod markup;
mod merge;
mod quiet;
mod settle;
mod title;

use std::borrow::Cow;

use doc::Line;

use crate::model::{People, Side};

pub use footer::{BODY_CHARS_MAX, Footer, Split, footer, join_forge, join_tracker, split_forge, split_tracker};
pub use lens::{CONTINUES, cut};
pub use merge::{Merged, Overlap, Stretch, merge, merge_keeping, merge_taking, stretches};
pub use title::{NO_TITLE, TITLE_CHARS_MAX, canonical_title, put_title, view_title};

/// A text in canonical form: LF line ends, no character that XML 1.0 forbids, no white space at the end.
///
/// Otherwise a person's spelling stays untouched.
pub fn canonical(markdown: &str) -> String {
    clean(markdown).into_owned()
}

/// Reads Asana's `html_notes` into canonical Markdown that shows the same and notifies nobody.
///
/// Total: unknown tags give their words, and of broken XML what can be read.
pub fn from_asana(html: &str, people: &People) -> String {
    if let Some(plain) = plain_words(html) {
        return plain;
    }
    let html = unbroken(html);
    render(asana_in::read(&html, people), people)
}

/// Writes canonical Markdown as Asana's `html_notes`: the nearest it can show, always well-formed XML.
pub fn to_asana(markdown: &str, people: &People) -> String {
    asana_out::write(&markdown_in::read(&clean(markdown), people), people)
}

/// What a side can show of a rich text, in canonical Markdown.
pub fn view(side: Side, markdown: &str, people: &People) -> String {
    match side {
        Side::Tracker => from_asana(&to_asana(markdown, people), people),
        Side::Forge => lens::forge_view(markdown),
    }
}

/// Carries an edit made on a side that shows `view(side, rich)` into the rich text, as a change of lines: lines
/// whose shown form did not change keep their rich spelling, and so does what the side cannot show.
///
/// `edited` is canonical text of that side. The result shows `edited` there; the one exception is a body cut for
/// the forge whose length changed, which then shows more or less of what follows.
pub fn put(side: Side, rich: &str, edited: &str, people: &People) -> String {
    match side {
        Side::Tracker => lens::tracker_put(rich, edited, people),
        Side::Forge => lens::forge_put(rich, edited),
    }
}

/// Writes lines as Markdown that is read back as exactly these lines.
///
/// The writer escapes for that; should it ever fail, plainer forms are tried, because a text that changes with
/// every trip would be repaired for ever.
fn render(lines: Vec<Line>, people: &People) -> String {
    let markdown = markdown_out::write(&lines, people);
    let mut read = markdown_in::read(&markdown, people);
    if doc::said(&read) == doc::said(&lines) {
        return markdown;
    }
    for _ in 0..2 {
        let again = markdown_out::write(&read, people);
        let reread = markdown_in::read(&again, people);
        if doc::said(&reread) == doc::said(&read) {
            return again;
        }
        read = reread;
    }
    markdown_out::write(&doc::literal(&lines), people)
}

/// LF line ends, nothing XML forbids, no white space at the end.
fn clean(text: &str) -> Cow<'_, str> {
    match unbroken(text) {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim_end_matches([' ', '\t', '\n'])),
        Cow::Owned(mut text) => {
            text.truncate(text.trim_end_matches([' ', '\t', '\n']).len());
            Cow::Owned(text)
        }
    }
}

/// LF line ends, nothing XML forbids.
fn unbroken(text: &str) -> Cow<'_, str> {
    // All of C0 and the non-characters at the end of the plane, whose first byte is 0xEF.
    let suspect = |byte: u8| byte < 0x20 && byte != b'\n' && byte != b'\t' || byte == 0xEF;
    if !text.bytes().any(suspect) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut signs = text.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '\r' => {
                signs.next_if_eq(&'\n');
                clean.push('\n');
            }
            sign if forbidden(sign) => {}
            sign => clean.push(sign),
        }
    }
    Cow::Owned(clean)
}

/// Whether XML 1.0 has no place for a character (section 2.2 of the recommendation).
const fn forbidden(sign: char) -> bool {
    matches!(sign, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}')
}

/// The words of a document without any markup in which no character means anything to Markdown, which most are.
fn plain_words(html: &str) -> Option<String> {
    let words = html.strip_prefix("<body>")?.strip_suffix("</body>")?;
    let mut before = b'\n';
    let mut rest = words.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'a'..=b'z' | b'A'..=b'Z' => true,
            b' ' => before != b' ' && before != b'\n',
            b'\n' => before != b' ',
            // Punctuation and digits mean something at the beginning of a line, or before certain others.
            b'0'..=b'9' => before != b'\n' && before != b'-',
            b'.' | b',' | b'?' | b'!' | b'(' | b')' | b'\'' | b'"' | b';' | b'%' => before != b'\n',
            b'-' => before.is_ascii_alphanumeric(),
            b':' | b'/' => before != b'\n' && before != b':',
            // Letters of two bytes; of three, Chinese and Japanese ones; dashes, typographic quotes and dots. No
            // space and no control character is among them.
            0xC3..=0xD9 => rest.next().is_some(),
            0xE4..=0xE9 => rest.next().is_some() && rest.next().is_some(),
            0xE2 => rest.next() == Some(0x80) && matches!(rest.next(), Some(0x90..=0xA6)),
            _ => return None,
        };
        if !plain {
            return None;
        }
        before = byte;
    }
    Some(words.trim_matches(['\n', ' ']).to_owned())
}

#[cfg(test)]
mod tests;
