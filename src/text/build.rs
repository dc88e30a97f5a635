//! Collects the lines of a document from either spelling, and flattens what nests deeper than Asana surely holds.

use std::ops::Range;
use std::rc::Rc;

use super::doc::{CODE, Kind, Line, Piece, STRONG, Said, Span, same_link};
use super::link::Object;
use super::settle::settle;
use crate::model::People;

/// Deeper list items are shown at this depth.
const DEPTH_MAX: usize = 20;

/// Deeper quotes inside a quote or a list show this many signs.
const QUOTE_SIGNS_MAX: usize = 8;

/// An open container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Container {
    /// The outermost quote.
    Quote,
    /// A quote inside something, shown as a sign.
    Sign,
    /// A list whose items are items.
    List,
    /// A list inside a quote, shown as bullets in the text.
    Bullets,
    /// An item of either.
    Item,
}

/// What is being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Words,
    Heading(bool),
    Code,
}

/// Collects lines from either spelling.
pub(super) struct Builder {
    lines: Vec<Line>,
    containers: Vec<Container>,
    /// Open signs.
    signs: usize,
    /// Open items.
    items: usize,
    /// Whether each open list is numbered.
    lists: Vec<bool>,
    /// The next number of each open list of bullets, if numbered.
    bullets: Vec<Option<u64>>,
    mode: Mode,
    /// Whether the next line begins an item, a quote or a code block.
    first: bool,
    /// Whether the next line begins with a bullet.
    bullet: bool,
    /// How many times each style is open, by bit.
    styles: [u32; 5],
    link: Option<Rc<str>>,
    /// The open line.
    open: Option<Line>,
    /// Where in the source the reader stands.
    source: Range<usize>,
    /// The source lines of the block being read.
    block: Option<Range<usize>>,
}

impl Builder {
    /// An empty document.
    pub(super) fn new() -> Self {
        Self {
            lines: Vec::new(),
            containers: Vec::new(),
            signs: 0,
            items: 0,
            lists: Vec::new(),
            bullets: Vec::new(),
            mode: Mode::Words,
            first: false,
            bullet: false,
            styles: [0; 5],
            link: None,
            open: None,
            source: 0..0,
            block: None,
        }
    }

    /// Says which source lines the following calls stand for.
    pub(super) fn at(&mut self, source: Range<usize>) {
        self.source = source;
    }

    /// Says that the following lines belong to a block of these source lines.
    pub(super) fn block(&mut self, block: Option<Range<usize>>) {
        self.block = block;
    }

    /// Whether a line is open.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether the innermost container is a list, so that only items may follow.
    pub(super) fn between_items(&self) -> bool {
        matches!(self.containers.last(), Some(Container::List | Container::Bullets))
    }

    /// Whether literal lines are being read.
    pub(super) fn in_code(&self) -> bool {
        self.mode == Mode::Code
    }

    /// Whether a link is open.
    pub(super) fn in_link(&self) -> bool {
        self.link.is_some()
    }

    /// Opens a quote.
    pub(super) fn open_quote(&mut self) {
        self.flush();
        if self.containers.is_empty() {
            self.containers.push(Container::Quote);
            self.first = true;
        } else {
            self.containers.push(Container::Sign);
            self.signs += 1;
        }
    }

    /// Closes the innermost quote, and what is open inside it.
    pub(super) fn close_quote(&mut self) {
        let open = self.signs + usize::from(self.containers.first() == Some(&Container::Quote));
        self.close(open, |container| matches!(container, Container::Quote | Container::Sign));
    }

    /// Opens a list; numbered ones inside a quote count from `start`.
    pub(super) fn open_list(&mut self, start: Option<u64>) {
        self.flush();
        if self.signs > 0 || self.containers.first() == Some(&Container::Quote) {
            self.containers.push(Container::Bullets);
            self.bullets.push(start);
        } else {
            self.containers.push(Container::List);
            self.lists.push(start.is_some());
        }
    }

    /// Closes the innermost list, and what is open inside it.
    pub(super) fn close_list(&mut self) {
        let open = self.lists.len() + self.bullets.len();
        self.close(open, |container| matches!(container, Container::List | Container::Bullets));
    }

    /// Opens an item of the innermost list; outside any list opens a list for it.
    pub(super) fn open_item(&mut self) {
        self.flush();
        if self.containers.last() == Some(&Container::Item) {
            self.close_item();
        }
        if !self.between_items() {
            self.open_list(None);
        }
        if self.containers.last() == Some(&Container::Bullets) {
            self.bullet = true;
        } else {
            self.first = true;
        }
        self.containers.push(Container::Item);
        self.items += 1;
    }

    /// Closes the innermost item, and what is open inside it.
    pub(super) fn close_item(&mut self) {
        self.close(self.items, |container| container == Container::Item);
        self.bullet = false;
    }

    /// Opens a heading; inside a container it is a bold line.
    pub(super) fn open_heading(&mut self, second: bool) {
        self.flush();
        if self.containers.is_empty() {
            self.mode = Mode::Heading(second);
        } else {
            self.style(STRONG, true);
        }
    }

    /// Closes a heading.
    pub(super) fn close_heading(&mut self) {
        self.flush();
        if matches!(self.mode, Mode::Heading(_)) {
            self.mode = Mode::Words;
        } else {
            self.style(STRONG, false);
        }
    }

    /// Opens a code block; inside a container its lines are code in the text.
    pub(super) fn open_code(&mut self) {
        self.flush();
        self.mode = Mode::Code;
        if self.containers.is_empty() {
            self.first = true;
        }
    }

    /// Closes a code block.
    pub(super) fn close_code(&mut self) {
        self.flush();
        self.mode = Mode::Words;
        if self.containers.is_empty() {
            self.first = false;
        }
    }

    /// A horizontal rule; inside a container it is a line of dashes.
    pub(super) fn rule(&mut self) {
        self.flush();
        if self.containers.is_empty() {
            let said = Said { kind: Kind::Rule, first: false, spans: Vec::new() };
            self.lines.push(Line { said, source: self.source.clone(), block: None });
        } else {
            self.words("———");
            self.flush();
        }
    }

    /// Opens or closes a style.
    pub(super) fn style(&mut self, style: u8, on: bool) {
        let count = &mut self.styles[style.trailing_zeros() as usize % 5];
        *count = if on { count.saturating_add(1) } else { count.saturating_sub(1) };
    }

    /// Opens a link (inside another one nothing happens), or closes it.
    pub(super) fn link(&mut self, link: Option<Rc<str>>) {
        self.link = link;
    }

    /// Words. Line ends in them, which only entities can bring, become spaces; what XML forbids is left out.
    pub(super) fn words(&mut self, words: &str) {
        if words.bytes().any(|byte| byte < 0x20 && byte != b'\t' || byte == 0xEF) {
            let words: String = words
                .chars()
                .map(|sign| if matches!(sign, '\n' | '\r') { ' ' } else { sign })
                .filter(|sign| !super::forbidden(*sign))
                .collect();
            self.clean_words(&words);
        } else {
            self.clean_words(words);
        }
    }

    /// Words without line ends or forbidden characters.
    fn clean_words(&mut self, words: &str) {
        if words.is_empty() {
            return;
        }
        let mut style = self.current_style();
        let code = self.mode == Mode::Code;
        let link = if code { None } else { self.link.clone() };
        let line = self.line();
        if code {
            style = if line.said.kind == Kind::Code { 0 } else { CODE };
        }
        match line.said.spans.last_mut() {
            Some(Span { style: last_style, link: last_link, piece: Piece::Text(text) })
                if *last_style == style && same_link(last_link.as_ref(), link.as_ref()) =>
            {
                text.push_str(words);
            }
            _ => line.said.spans.push(Span { style, link, piece: Piece::Text(words.to_owned()) }),
        }
    }

    /// Words in code style.
    pub(super) fn code(&mut self, words: &str) {
        self.style(CODE, true);
        self.words(words);
        self.style(CODE, false);
    }

    /// Something of Asana's.
    pub(super) fn object(&mut self, object: Object) {
        let style = self.current_style() & !CODE;
        self.line().said.spans.push(Span { style, link: None, piece: Piece::Object(object) });
    }

    /// A line end: ends the open line, or makes a blank one.
    pub(super) fn newline(&mut self) {
        if let Mode::Heading(_) = self.mode {
            self.words(" ");
            return;
        }
        self.line();
        self.flush();
    }

    /// Ends the open line, if there is one.
    pub(super) fn flush(&mut self) {
        self.lines.extend(self.open.take());
    }

    /// The lines in normal form; see `settle`.
    pub(super) fn finish(
        mut self,
        people: &People,
        mentions: bool,
        gap: impl Fn(&Line, &Line) -> Range<usize>,
    ) -> Vec<Line> {
        self.flush();
        settle(self.lines, people, mentions, gap)
    }

    /// The styles open now.
    fn current_style(&self) -> u8 {
        (0..5).filter(|bit| self.styles[*bit as usize] > 0).fold(0, |style, bit| style | 1 << bit)
    }

    /// The open line, opened if need be.
    fn line(&mut self) -> &mut Line {
        if self.open.is_none() {
            self.open = Some(self.new_line(self.source.clone()));
        }
        let line = self.open.as_mut().expect("opened just above");
        line.source.start = line.source.start.min(self.source.start);
        line.source.end = line.source.end.max(self.source.end);
        line
    }

    /// A line as the open containers have it.
    fn new_line(&mut self, source: Range<usize>) -> Line {
        let depth = u8::try_from(self.lists.len().clamp(1, DEPTH_MAX) - 1).unwrap_or(0);
        let kind = match (self.containers.first(), self.mode) {
            (Some(Container::Quote), _) => Kind::Quote,
            (Some(_), _) => Kind::Item { depth, ordered: self.lists.last().copied().unwrap_or(false) },
            (None, Mode::Words) => Kind::Text,
            (None, Mode::Heading(second)) => Kind::Heading { second },
            (None, Mode::Code) => Kind::Code,
        };
        let first = std::mem::take(&mut self.first);
        let mut spans = Vec::new();
        let mut prefix = "> ".repeat(self.signs.min(QUOTE_SIGNS_MAX));
        if std::mem::take(&mut self.bullet) {
            let level = self.bullets.len();
            match self.bullets.last_mut() {
                Some(Some(number)) => {
                    prefix.push_str(&format!("{number}. "));
                    *number = number.saturating_add(1);
                }
                _ => prefix.push_str(["• ", "◦ ", "▪ "][level.clamp(1, 3) - 1]),
            }
        }
        if !prefix.is_empty() {
            spans.push(Span::text(prefix));
        }
        Line { said: Said { kind, first, spans }, source, block: self.block.clone() }
    }

    /// Closes containers up to and with the innermost that fits; nothing when none does.
    fn close(&mut self, open: usize, fits: impl Fn(Container) -> bool) {
        self.flush();
        if open == 0 {
            return;
        }
        while let Some(container) = self.containers.pop() {
            match container {
                Container::Quote => {}
                Container::Sign => self.signs -= 1,
                Container::List => drop(self.lists.pop()),
                Container::Bullets => drop(self.bullets.pop()),
                Container::Item => self.items -= 1,
            }
            if fits(container) {
                break;
            }
        }
        if self.containers.is_empty() {
            self.first = false;
        }
    }
}
