//! Writes the words of a line of Markdown: styles, links and addresses so that they are read back as they are,
//! every other sign escaped where it would mean something, and every call made quiet.

use super::doc::{AROUND, CODE, EM, Piece, STRIKE, STRONG, Span, UNDERLINE};
use super::link::{self, Object};
use super::quiet::{self, HUSH};
use crate::model::People;

/// Adds the spans of a line.
pub(super) fn write(spans: &[Span], people: &People, out: &mut String) {
    Inline { out, people, open: Vec::new(), spans, fresh: true }.line();
}

/// A mark around spans.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Link,
    Style(u8),
}

/// Writes one line.
struct Inline<'a> {
    out: &'a mut String,
    people: &'a People,
    /// The open marks, outermost first, and what closes each.
    open: Vec<(Mark, String)>,
    spans: &'a [Span],
    /// Whether nothing stands on the line yet.
    fresh: bool,
}

impl Inline<'_> {
    fn line(&mut self) {
        let dollars: usize = self
            .spans
            .iter()
            .filter(|span| span.style & CODE == 0)
            .map(|span| {
                if let Piece::Text(text) = &span.piece { text.bytes().filter(|byte| *byte == b'$').count() } else { 0 }
            })
            .sum();
        for at in 0..self.spans.len() {
            self.marks(at);
            let span = &self.spans[at];
            match &span.piece {
                Piece::Text(text) if span.style & CODE != 0 => {
                    // At the beginning of a line it would define where a link leads to.
                    if !(span.link.is_some() && text.contains("]:") && self.open_code(text)) {
                        code(text, self.out);
                    }
                }
                Piece::Text(text) => {
                    let fresh = self.fresh && self.open.is_empty();
                    let next = self.spans.get(at + 1);
                    let bracket =
                        next.is_some_and(|next| next.link.is_some() || matches!(next.piece, Piece::Object(_)));
                    let rules = Rules {
                        fresh,
                        in_link: span.link.is_some(),
                        struck: span.style & STRIKE != 0,
                        bracket,
                        followed: next.is_some(),
                        dollars: dollars > 1,
                    };
                    escape(text, rules, self.out);
                }
                Piece::Url(url) => self.url(url, at),
                Piece::Object(object) => self.object(object, at),
            }
            self.fresh = false;
        }
        self.close(0);
    }

    /// Closes and opens marks so that exactly those of the span `at` are open, in the fixed order.
    fn marks(&mut self, at: usize) {
        let span = &self.spans[at];
        let before = at.checked_sub(1).and_then(|before| self.spans[before].link.as_ref());
        let link = span.link.as_ref().map(|_| Mark::Link);
        let styles = AROUND.iter().filter(|style| span.style & **style != 0).map(|style| Mark::Style(*style));
        let wanted: Vec<Mark> = link.into_iter().chain(styles).collect();
        let keep = self
            .open
            .iter()
            .zip(&wanted)
            .take_while(|((open, _), wanted)| open == *wanted && (*open != Mark::Link || before == span.link.as_ref()))
            .count();
        self.close(keep);
        for (nth, mark) in wanted[keep..].iter().enumerate() {
            self.open_mark(at, *mark, nth > 0);
        }
    }

    /// Opens a mark at the span `at`; `just_opened` when another was opened there.
    fn open_mark(&mut self, at: usize, mark: Mark, just_opened: bool) {
        let Mark::Style(style) = mark else {
            let url = self.spans[at].link.as_deref().unwrap_or_default();
            self.out.push('[');
            // Brackets are written apart where the address has parentheses.
            let close = if url.contains(['(', ')']) { format!("](<{url}>)") } else { format!("]({url})") };
            self.open.push((Mark::Link, close));
            return;
        };
        // The run this mark covers: as long as the marks further out and this one stay.
        let outer = AROUND.iter().take_while(|around| **around != style).fold(0, |outer, around| outer | around);
        let span = &self.spans[at];
        let run = self.spans[at..]
            .iter()
            .take_while(|other| {
                other.link == span.link && other.style & style != 0 && other.style & outer == span.style & outer
            })
            .count();
        let (open, close) = match style {
            STRONG => ("**", "**"),
            EM => ("_", "_"),
            STRIKE => ("~~", "~~"),
            _ => ("<ins>", "</ins>"),
        };
        let (open, close) = if style != UNDERLINE && !self.can_use_signs(at, at + run, just_opened) {
            match style {
                STRONG => ("<strong>", "</strong>"),
                EM => ("<em>", "</em>"),
                _ => ("<del>", "</del>"),
            }
        } else {
            (open, close)
        };
        self.out.push_str(open);
        self.open.push((Mark::Style(style), close.to_owned()));
    }

    /// Whether emphasis signs around the spans of this range are read as such, whatever stands beside them.
    fn can_use_signs(&self, start: usize, end: usize, just_opened: bool) -> bool {
        let before = if self.fresh { None } else { self.out.chars().next_back() };
        let at_edge = before.is_none_or(char::is_whitespace);
        let (first, last) = (edge(&self.spans[start], false), edge(&self.spans[end - 1], true));
        let opens = at_edge && !first.is_whitespace()
            || (just_opened || matches!(before, Some('(' | '[')) && !self.in_address()) && first.is_alphanumeric();
        let closes = match self.spans.get(end) {
            None => !last.is_whitespace() && (last.is_alphanumeric() || self.open.is_empty()),
            Some(next) => {
                let after = edge(next, false);
                let plain = next.style & !CODE == 0 && next.link.is_none() && self.open.is_empty();
                if after.is_whitespace() && plain {
                    !last.is_whitespace()
                } else {
                    last.is_alphanumeric() && (after.is_whitespace() || after.is_ascii_punctuation())
                }
            }
        };
        opens && closes
    }

    /// Whether what is written next may be read as a part of a bare web address.
    fn in_address(&self) -> bool {
        let bytes = self.out.as_bytes();
        let near = &bytes[bytes.len().saturating_sub(link::ADDRESS_BYTES_MAX)..];
        let word = near.rsplit(u8::is_ascii_whitespace).next().unwrap_or_default();
        word.windows(3).any(|sign| sign == b"://") || word.windows(4).any(|sign| sign == b"www.")
    }

    /// Writes code as words between tags. Not if that would change them, or could mean something: then nothing is written.
    fn open_code(&mut self, text: &str) -> bool {
        let mut words = String::new();
        escape(text, Rules { in_link: true, followed: true, ..Rules::default() }, &mut words);
        let same = !words.contains([HUSH, '~', '$']);
        if same {
            self.out.extend(["<code>", words.as_str(), "</code>"]);
        }
        same
    }

    fn close(&mut self, keep: usize) {
        while self.open.len() > keep {
            if let Some((_, close)) = self.open.pop() {
                self.out.push_str(&close);
            }
        }
    }

    /// Writes an address: bare where that is read back as the same, else in angle brackets.
    fn url(&mut self, url: &str, at: usize) {
        let before = if self.fresh { None } else { self.out.chars().next_back() };
        let ahead = match self.spans.get(at + 1) {
            None => Some(""),
            Some(Span { style: 0, link: None, piece: Piece::Text(text) }) => Some(text.as_str()),
            Some(_) => None,
        };
        let ends = ahead.is_some_and(|ahead| {
            let mut ahead = ahead.chars();
            match ahead.next() {
                // What stands before it could be read as an entity.
                Some(';') if url.contains('&') => false,
                Some('.' | ',' | ';' | ':' | '!' | '?' | ')') => ahead.next().is_none_or(char::is_whitespace),
                next => next.is_none_or(char::is_whitespace),
            }
        });
        let bytes = url.as_bytes();
        let plain = bytes.iter().enumerate().all(|(at, byte)| match byte {
            // Between letters or digits it is no emphasis.
            b'_' => {
                let beside = [at.wrapping_sub(1), at + 1];
                beside.iter().all(|at| bytes.get(*at).is_some_and(u8::is_ascii_alphanumeric))
            }
            byte => byte.is_ascii_alphanumeric() || b"/:.?=&#%+,;-@".contains(byte),
        });
        let bare = plain
            && ends
            && self.spans[at].style == 0
            && before.is_none_or(|before| before.is_whitespace() || before == '(')
            && link::address(url) == url.len();
        if bare {
            self.out.push_str(url);
        } else {
            self.out.push('<');
            self.out.push_str(url);
            self.out.push('>');
        }
    }

    /// Writes a thing of Asana's: a mention where the people map allows one and it would be read as one, else a link.
    fn object(&mut self, object: &Object, at: usize) {
        let before = if self.fresh { None } else { self.out.chars().next_back() };
        let after = self.spans.get(at + 1).map(|next| edge(next, false));
        let starts = before.is_none_or(|before| before.is_whitespace() || before == '(');
        let ends =
            after.is_none_or(|after| after.is_whitespace() || matches!(after, '.' | ',' | ';' | ':' | '!' | '?' | ')'));
        if let Some(login) = object.login(self.people).filter(|_| starts && ends) {
            self.out.push('@');
            self.out.push_str(login);
            return;
        }
        self.out.push('[');
        let rules = Rules { fresh: false, in_link: true, struck: true, bracket: false, followed: true, dollars: true };
        escape(&object.label(self.people), rules, self.out);
        self.out.push_str("](");
        self.out.push_str(&object.url());
        self.out.push(')');
    }
}

/// The first or last character that a span shows, with signs of its spelling standing for themselves.
fn edge(span: &Span, last: bool) -> char {
    match &span.piece {
        Piece::Text(_) if span.style & CODE != 0 => '`',
        Piece::Text(text) => if last { text.chars().next_back() } else { text.chars().next() }.unwrap_or(' '),
        Piece::Url(_) if last => '>',
        Piece::Url(_) => '<',
        Piece::Object(_) if last => ')',
        Piece::Object(_) => '[',
    }
}

/// Writes code with more backticks around it than it has in a row.
fn code(text: &str, out: &mut String) {
    let longest = text.split(|sign| sign != '`').map(str::len).max().unwrap_or(0);
    // One space on both sides is taken off by a reader, so one is put on where the edge needs it.
    let padded = text.starts_with('`') || text.ends_with('`') || text.starts_with(' ') && text.ends_with(' ');
    out.extend(std::iter::repeat_n('`', longest + 1));
    if padded {
        out.push(' ');
    }
    out.push_str(text);
    if padded {
        out.push(' ');
    }
    out.extend(std::iter::repeat_n('`', longest + 1));
}

/// Where words stand.
#[derive(Clone, Copy, Default)]
struct Rules {
    /// At the beginning of a line.
    fresh: bool,
    /// Inside a link.
    in_link: bool,
    /// Struck through: GitHub lets a lone tilde that could open keep the marks around it from closing.
    struck: bool,
    /// Before the opening bracket of a link.
    bracket: bool,
    /// Before more of the line.
    followed: bool,
    /// On a line with more than one dollar sign, which GitHub could read as mathematics.
    dollars: bool,
}

/// Writes words so that they are read back as typed and call nobody.
fn escape(text: &str, rules: Rules, out: &mut String) {
    let mut body = text;
    if rules.fresh {
        let indent = text.len() - text.trim_start_matches([' ', '\t']).len();
        for space in text[..indent].chars() {
            out.push_str(if space == '\t' { "&#9;" } else { "&nbsp;" });
        }
        body = &text[indent..];
        if starts_a_block(body) {
            let digits = body.len() - body.trim_start_matches(|sign: char| sign.is_ascii_digit()).len();
            let (number, rest) = body.split_at(digits);
            out.push_str(number);
            let mut rest = rest.chars();
            if let Some(sign) = rest.next() {
                out.push('\\');
                out.push(sign);
            }
            body = rest.as_str();
        }
    }
    let offset = text.len() - body.len();
    let mut before = text[..offset].chars().next_back();
    let mut signs = body.char_indices().peekable();
    while let Some((at, sign)) = signs.next() {
        let next = signs.peek().map(|(_, next)| *next);
        let at = offset + at;
        if sign.is_ascii_alphanumeric() {
            if matches!(before, Some('@' | '#' | '-')) && quiet::calls(&text[..at], sign) {
                out.push(HUSH);
            }
            out.push(sign);
            before = Some(sign);
            continue;
        }
        // As written: a space that became an entity is none to whoever looks for emphasis.
        let spaced = before.is_some_and(char::is_whitespace) && out.ends_with(char::is_whitespace);
        let escaped = match sign {
            '\\' => next.is_none_or(|next| next.is_ascii_punctuation()),
            '`' | '[' => true,
            ']' => rules.in_link,
            '!' => rules.bracket && next.is_none(),
            '*' => !(spaced && next.is_some_and(char::is_whitespace)),
            '_' => !(before.is_some_and(char::is_alphanumeric) && next.is_some_and(char::is_alphanumeric)),
            '~' => !(spaced && (!rules.struck || next.is_some_and(char::is_whitespace))),
            '<' => {
                next.is_none_or(|next| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'))
                    || names_mail(&text[at + 1..], rules.followed)
            }
            '&' => next.is_none_or(|next| next.is_ascii_alphabetic() || next == '#'),
            '$' => rules.dollars,
            _ => false,
        };
        if escaped {
            out.push('\\');
        }
        match sign {
            // A second space would be swallowed when shown. After the end of a sentence nobody means one.
            ' ' if before == Some(' ') => {
                let first_extra = at < 2 || !text[..at - 1].ends_with(' ');
                let sentence = first_extra && next != Some(' ') && text[..at - 1].ends_with(['.', '!', '?', ':', ';']);
                out.push_str(if sentence { " " } else { "&nbsp;" });
            }
            _ => out.push(sign),
        }
        before = Some(sign);
    }
}

/// Whether what follows `<` could be read as an address of mail, which may begin with nearly any sign (CommonMark 6.5).
fn names_mail(rest: &str, followed: bool) -> bool {
    let local = |sign: char| sign.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(sign);
    match rest.find(|sign| !local(sign)) {
        Some(at) => at > 0 && rest[at..].starts_with('@'),
        None => followed,
    }
}

/// Whether a line that begins so would begin a list, a heading, a quote, a rule, a fence or a table's rule.
fn starts_a_block(line: &str) -> bool {
    let mut signs = line.chars();
    let Some(first) = signs.next() else { return false };
    let after = signs.next();
    let spaced = |sign: Option<char>| sign.is_none_or(char::is_whitespace);
    match first {
        '+' => spaced(after),
        '-' | '|' | ':' => {
            first == '-' && spaced(after)
                || line.chars().all(|sign| matches!(sign, '-' | '|' | ':') || sign.is_whitespace())
        }
        '=' => line.chars().all(|sign| sign == '=' || sign.is_whitespace()),
        '>' => true,
        '#' => {
            let rest = line.trim_start_matches('#');
            line.len() - rest.len() <= 6 && spaced(rest.chars().next())
        }
        '~' => line.starts_with("~~~"),
        '0'..='9' => {
            let rest = line.trim_start_matches(|sign: char| sign.is_ascii_digit());
            let mut rest_signs = rest.chars();
            line.len() - rest.len() <= 9 && matches!(rest_signs.next(), Some('.' | ')')) && spaced(rest_signs.next())
        }
        _ => false,
    }
}
