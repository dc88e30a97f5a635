//! Reads tags out of anything that looks like HTML: Asana's documents and raw HTML inside Markdown.
//!
//! Total and linear: what is no tag is words, and from a tag that never ends on everything is words.

/// A piece of markup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'t> {
    /// Words, entities not yet decoded.
    Words(&'t str),
    /// A start tag, or an empty element.
    Start {
        /// Its name as written.
        name: &'t str,
        /// What stands after the name.
        attributes: &'t str,
        /// Whether it ends at once.
        empty: bool,
    },
    /// An end tag.
    End(&'t str),
    /// A comment, declaration or instruction.
    Other,
}

/// Calls `found` with each token and where it begins.
pub(super) fn tokens<'t>(text: &'t str, mut found: impl FnMut(usize, Token<'t>)) {
    let mut words_from = 0;
    let mut at = 0;
    while let Some(sign) = text[at..].find('<').map(|sign| at + sign) {
        match tag(&text[sign..]) {
            Found::Tag(length, token) => {
                if words_from < sign {
                    found(words_from, Token::Words(&text[words_from..sign]));
                }
                found(sign, token);
                at = sign + length;
                words_from = at;
            }
            Found::Words => at = sign + 1,
            Found::Unended => break,
        }
    }
    if words_from < text.len() {
        found(words_from, Token::Words(&text[words_from..]));
    }
}

/// What stands at an opening angle bracket.
enum Found<'t> {
    /// A tag of so many bytes.
    Tag(usize, Token<'t>),
    /// No tag.
    Words,
    /// A tag without an end.
    Unended,
}

fn tag(text: &str) -> Found<'_> {
    let bytes = text.as_bytes();
    match bytes.get(1) {
        Some(b'!') if text.starts_with("<!--") => until(text, "-->", 4),
        Some(b'!') if text.starts_with("<![CDATA[") => match text.find("]]>") {
            Some(end) => Found::Tag(end + 3, Token::Words(&text[9..end])),
            None => Found::Unended,
        },
        Some(b'!' | b'?') => until(text, ">", 2),
        Some(b'/') if bytes.get(2).is_some_and(u8::is_ascii_alphabetic) => match text.find('>') {
            Some(end) => {
                let name = &text[2..end];
                let name = &name[..name.find(|sign: char| sign.is_whitespace() || sign == '/').unwrap_or(name.len())];
                Found::Tag(end + 1, Token::End(name))
            }
            None => Found::Unended,
        },
        Some(first) if first.is_ascii_alphabetic() => start_tag(text),
        _ => Found::Words,
    }
}

/// A comment or the like.
fn until<'t>(text: &'t str, end: &str, from: usize) -> Found<'t> {
    text[from..].find(end).map_or(Found::Unended, |at| Found::Tag(from + at + end.len(), Token::Other))
}

/// A start tag; a bracket inside a quoted value does not end it.
fn start_tag(text: &str) -> Found<'_> {
    let bytes = text.as_bytes();
    let name_end =
        1 + bytes[1..].iter().position(|byte| !byte.is_ascii_alphanumeric() && !b"-_:".contains(byte)).unwrap_or(0);
    let mut quote = None;
    let mut after_equals = false;
    for (at, byte) in bytes.iter().enumerate().skip(name_end) {
        match (quote, byte) {
            (Some(open), byte) if open == *byte => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') if after_equals => quote = Some(*byte),
            (None, b'>') => {
                let inner = &text[name_end..at];
                let (inner, empty) = inner.strip_suffix('/').map_or((inner, false), |inner| (inner, true));
                return Found::Tag(at + 1, Token::Start { name: &text[1..name_end], attributes: inner, empty });
            }
            (None, _) => {}
        }
        after_equals = *byte == b'=' || after_equals && byte.is_ascii_whitespace();
    }
    Found::Unended
}

/// The value of an attribute, decoded.
pub(super) fn attribute(attributes: &str, wanted: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|sign: char| sign.is_whitespace() || sign == '/');
        if rest.is_empty() {
            return None;
        }
        let end = rest.find(|sign: char| sign.is_whitespace() || sign == '=').unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else {
            // Without a value; a stray sign is stepped over so that the loop always moves on.
            rest = if end == 0 { &rest[rest.chars().next().map_or(1, char::len_utf8)..] } else { after };
            continue;
        };
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            _ => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        if name.eq_ignore_ascii_case(wanted) {
            let mut decoded = String::with_capacity(value.len());
            decode(value, &mut decoded);
            return Some(decoded);
        }
        rest = after;
    }
}

/// Adds `text` with its entities decoded and what XML cannot hold left out; an unknown entity stays as written.
pub(super) fn decode(text: &str, into: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        into.push_str(&rest[..at]);
        rest = &rest[at..];
        // The longest entity known here has 8 characters.
        let end = rest.bytes().take(12).position(|byte| byte == b';');
        match end.map(|end| (end, entity(&rest[1..end]))) {
            Some((end, Some(character))) => {
                if !super::forbidden(character) {
                    into.push(if character == '\r' { '\n' } else { character });
                }
                rest = &rest[end + 1..];
            }
            _ => {
                into.push('&');
                rest = &rest[1..];
            }
        }
    }
    into.push_str(rest);
}

/// The character an entity stands for: XML's five, numbers, and the few that people write by hand.
fn entity(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => '\u{a0}',
        "copy" => '©',
        "reg" => '®',
        "trade" => '™',
        "hellip" => '…',
        "ndash" => '–',
        "mdash" => '—',
        "rarr" => '→',
        "larr" => '←',
        "times" => '×',
        "middot" => '·',
        "bull" => '•',
        "check" => '✓',
        _ => return None,
    })
}
