//! The form between the two spellings: a text as a flat list of lines, holding what Asana can surely hold.
//!
//! Both readers collect it (`build`), which flattens whatever nests deeper, and bring it to a normal form
//! (`settle`); both writers write that. Flat on purpose: no recursion, and a line is what differs,
//! merges and keeps its rich spelling.

use std::ops::Range;
use std::rc::Rc;

use super::link::Object;

/// Bold.
pub(super) const STRONG: u8 = 1;
/// Italic.
pub(super) const EM: u8 = 2;
/// Struck through.
pub(super) const STRIKE: u8 = 4;
/// Underlined.
pub(super) const UNDERLINE: u8 = 8;
/// Literal, in a fixed width.
pub(super) const CODE: u8 = 16;
/// The styles that close around words, outermost first.
pub(super) const AROUND: [u8; 4] = [STRONG, EM, STRIKE, UNDERLINE];

/// What a line belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Running text; without spans a blank line.
    Text,
    /// A heading of the first or the second level.
    Heading {
        /// Whether of the second.
        second: bool,
    },
    /// A line of a list item.
    Item {
        /// Levels above it.
        depth: u8,
        /// Whether its list is numbered.
        ordered: bool,
    },
    /// A quoted line.
    Quote,
    /// A line of a code block.
    Code,
    /// A horizontal rule.
    Rule,
}

/// What a span shows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Piece {
    /// Words.
    Text(String),
    /// A web address that stands for itself.
    Url(Rc<str>),
    /// Something of Asana's, by identity.
    Object(Object),
}

/// A stretch of a line in one style.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Span {
    /// Any of the style bits.
    pub(super) style: u8,
    /// Where it leads, if it is a link with words of its own.
    pub(super) link: Option<Rc<str>>,
    /// What it shows.
    pub(super) piece: Piece,
}

impl Span {
    /// Plain words.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { style: 0, link: None, piece: Piece::Text(text.into()) }
    }

    /// The words, unless they are code.
    pub(super) fn words(&self) -> Option<&str> {
        match &self.piece {
            Piece::Text(text) if self.style & CODE == 0 => Some(text),
            _ => None,
        }
    }

    /// Whether it is nothing but white space in which no style can be seen.
    pub(super) fn is_space(&self) -> bool {
        self.words().is_some_and(|text| text.chars().all(char::is_whitespace))
    }
}

/// What a line says, wherever it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Said {
    /// What it belongs to.
    pub(super) kind: Kind,
    /// Whether an item, a quote or a code block begins here.
    pub(super) first: bool,
    /// The line itself.
    pub(super) spans: Vec<Span>,
}

impl Said {
    /// Whether nothing stands on the line.
    pub(super) fn is_blank(&self) -> bool {
        self.spans.is_empty() && self.kind != Kind::Rule
    }
}

/// A line with its place in the text it was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// What it says.
    pub(super) said: Said,
    /// The source lines it was read from.
    pub(super) source: Range<usize>,
    /// All source lines of the block it belongs to, where the block has lines of its own (fences, table rules).
    pub(super) block: Option<Range<usize>>,
}

/// What the lines of a document say, for comparing.
pub(super) fn said(lines: &[Line]) -> Vec<&Said> {
    lines.iter().map(|line| &line.said).collect()
}

/// Whether two spans were read from one link, not only from links to one address.
pub(super) fn same_link(one: Option<&Rc<str>>, other: Option<&Rc<str>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Rc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// The lines as one code block of their plain words: shows everything, and no character means anything.
pub(super) fn literal(lines: &[Line]) -> Vec<Line> {
    let mut literal: Vec<Line> = Vec::with_capacity(lines.len());
    for line in lines {
        let mut words = String::new();
        for span in &line.said.spans {
            match &span.piece {
                Piece::Text(text) => words.push_str(text),
                Piece::Url(url) => words.push_str(url),
                Piece::Object(object) => words.push_str(&object.url()),
            }
        }
        let spans = if words.is_empty() { Vec::new() } else { vec![Span::text(words)] };
        let said = Said { kind: Kind::Code, first: literal.is_empty(), spans };
        literal.push(Line { said, source: line.source.clone(), block: None });
    }
    literal
}
