//! The one place that writes to standard output, and the words, widths and colours it uses.
//!
//! Styles are always written; anstream takes them out again where the stream is no terminal or
//! `NO_COLOR` is set. A closed pipe ends the command quietly (see [`Failure`]).

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use serde::Serialize;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Failure;

/// For headlines.
pub const BOLD: Style = Style::new().bold();
/// For what is beside the point: reasons, ids, totals.
pub const DIM: Style = Style::new().dimmed();
/// For what is added, new or good.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// For what is removed, old or bad.
pub const RED: Style = AnsiColor::Red.on_default();
/// For what waits for a person.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// For items: `asana:1201`, `github:acme/app#17`.
pub const CYAN: Style = AnsiColor::Cyan.on_default();

/// The narrowest and widest text laid out, in columns.
const WIDTH: std::ops::RangeInclusive<usize> = 40..=140;

/// How and where a command answers.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// Whether the answer is one JSON value for a program instead of text for a person.
    pub json: bool,
    /// Columns to lay text out in: the terminal's, 80 elsewhere.
    pub width: usize,
    /// Whether a person sits in front of standard output.
    pub terminal: bool,
}

impl Output {
    /// As standard output is.
    pub fn new(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let columns = terminal.then(terminal_size::terminal_size).flatten().map_or(80, |(width, _)| width.0.into());
        Self { json, width: columns.clamp(*WIDTH.start(), *WIDTH.end()), terminal }
    }

    /// Writes a text as it is; it brings its own line ends.
    pub fn text(&self, text: &str) -> Result<(), Failure> {
        let mut out = anstream::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(())
    }

    /// Writes one line.
    pub fn line(&self, line: impl std::fmt::Display) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Writes one JSON value, indented.
    pub fn json<T: Serialize>(&self, value: &T) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::new(format!("writing the answer as JSON: {error}")))?;
        self.line(text)
    }
}

/// Writes one line to standard error, for what is said beside the answer; a closed stream is no matter.
pub fn aside(line: impl std::fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{line}");
}

/// The text in a style.
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The columns a text without styles takes on a terminal.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// The text made harmless for a terminal: one line, control characters shown as `�`.
pub fn harmless(text: &str) -> String {
    text.chars().map(|char| if char == '\t' || char == '\n' { ' ' } else { visible(char) }).collect()
}

/// A control character (an escape could drive the terminal), or one that turns the writing round, as `�`.
const fn visible(char: char) -> char {
    match char {
        '\u{0}'..='\u{1f}'
        | '\u{7f}'..='\u{9f}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        char => char,
    }
}

/// The text, harmless, in at most `width` columns; cut with an ellipsis if it is longer.
pub fn cut(text: &str, width: usize) -> String {
    let text = harmless(text);
    if columns(&text) <= width {
        return text;
    }
    let mut kept = String::new();
    let mut taken = 0;
    for char in text.chars() {
        let wide = char.width().unwrap_or(0);
        if taken + wide + 1 > width {
            break;
        }
        taken += wide;
        kept.push(char);
    }
    if width > 0 {
        kept.push('…');
    }
    kept
}

/// The text, harmless, broken between words into lines of at most `width` columns; longer words are broken.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in harmless(text).split_whitespace() {
        let mut word = word;
        if !line.is_empty() && columns(&line) + 1 + columns(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        while columns(word) > width {
            let mut taken = 0;
            let end = word
                .char_indices()
                .find(|(_, char)| {
                    taken += char.width().unwrap_or(0);
                    taken > width
                })
                .map_or(word.len(), |(at, _)| at);
            let (head, tail) = word.split_at(end);
            lines.push(head.to_owned());
            word = tail;
        }
        if !word.is_empty() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

/// Wrapped lines, each behind `indent` spaces and in a style, ended by a line end.
pub fn paragraph(into: &mut String, style: Style, indent: usize, width: usize, text: &str) {
    for line in wrap(text, width.saturating_sub(indent)) {
        let _ = writeln!(into, "{:indent$}{style}{line}{style:#}", "");
    }
}

/// `1 repair`, `2 repairs`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cut_and_wrapped_text_keeps_to_its_width(text in any::<String>(), width in 8_usize..100) {
            prop_assert!(columns(&cut(&text, width)) <= width);
            for line in wrap(&text, width) {
                prop_assert!(columns(&line) <= width, "{line:?}");
            }
        }

        #[test]
        fn wrapping_loses_no_letter(text in any::<String>(), width in 8_usize..100) {
            let letters = |text: &str| text.chars().filter(|char| !char.is_whitespace()).collect::<String>();
            prop_assert_eq!(letters(&wrap(&text, width).concat()), letters(&harmless(&text)));
        }

        #[test]
        fn nothing_from_outside_can_drive_the_terminal(text in any::<String>()) {
            prop_assert!(!harmless(&text).chars().any(char::is_control));
        }
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(cut("Fix the login", 7), "Fix th…");
        assert_eq!(cut("課題を直す", 5), "課題…");
        assert_eq!(cut("short\nand\u{1b}[31m", 40), "short and\u{fffd}[31m");
    }
}
