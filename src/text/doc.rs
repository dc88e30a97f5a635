//! The form between the two spellings: a text as a flat list of lines, holding what Asana can surely hold.
//!
//! Both readers build it through `Builder`, which flattens whatever nests deeper, and `settle` brings it
//! to a normal form; both writers write that. Flat on purpose: no recursion, and a line is what differs,
//! merges and keeps its rich spelling.

use std::ops::Range;
use std::rc::Rc;

use super::link::{self, Object};
use super::quiet;
use crate::model::People;

/// Deeper list items are shown at this depth.
pub(super) const DEPTH_MAX: usize = 20;

/// Deeper quotes inside a quote or a list show this many signs.
const QUOTE_SIGNS_MAX: usize = 8;

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
    fn words(&self) -> Option<&str> {
        match &self.piece {
            Piece::Text(text) if self.style & CODE == 0 => Some(text),
            _ => None,
        }
    }

    /// Whether it is nothing but white space in which no style can be seen.
    fn is_space(&self) -> bool {
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

    /// Words, without line ends.
    pub(super) fn words(&mut self, words: &str) {
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

/// Brings lines to the normal form in which equal content is equal.
///
/// `gap` names the blank source lines between two lines of one flow of text. `mentions` says whether a mapped
/// login after `@` is a mention: so it is in what a person wrote on the forge, never in the tracker's words.
pub(super) fn settle(
    lines: Vec<Line>,
    people: &People,
    mentions: bool,
    gap: impl Fn(&Line, &Line) -> Range<usize>,
) -> Vec<Line> {
    let mut settled: Vec<Line> = Vec::with_capacity(lines.len());
    // Blank lines wait here until it is clear that something of the same flow follows.
    let mut blanks: Vec<Line> = Vec::new();
    // Set when the line that began a block was blank: the next line of its kind begins it.
    let mut begun: Option<Kind> = None;
    // The depths as read of the items above, from which the depth as shown follows.
    let mut depths: Vec<u8> = Vec::new();
    for mut line in lines {
        if line.said.kind != Kind::Code {
            line.said.spans = tidy(std::mem::take(&mut line.said.spans), people, mentions);
        }
        let said = &mut line.said;
        if begun.take().is_some_and(|kind| same_flow(kind, said.kind)) {
            said.first = true;
        }
        if said.is_blank() {
            if said.first {
                begun = Some(said.kind);
                blanks.clear();
            } else if !matches!(said.kind, Kind::Heading { .. }) {
                blanks.push(line);
            }
            continue;
        }
        let last = settled.last().filter(|last| same_flow(last.said.kind, said.kind));
        let goes_on = last.is_some() && (said.kind == Kind::Text || !said.first);
        said.first = !goes_on && matches!(said.kind, Kind::Item { .. } | Kind::Quote | Kind::Code);
        if said.first && matches!(said.kind, Kind::Item { .. }) || matches!(said.kind, Kind::Heading { .. }) {
            flush_left(&mut said.spans);
        }
        if let Kind::Item { depth, ordered } = &mut said.kind {
            match last.map(|last| last.said.kind) {
                Some(Kind::Item { depth: last_depth, ordered: last_ordered }) if goes_on => {
                    (*depth, *ordered) = (last_depth, last_ordered);
                }
                last => {
                    if last.is_none() {
                        depths.clear();
                    }
                    while depths.last().is_some_and(|above| *above >= *depth) {
                        depths.pop();
                    }
                    depths.push(*depth);
                    *depth = u8::try_from(depths.len() - 1).unwrap_or(0);
                }
            }
        }
        if goes_on {
            let kind = said.kind;
            let mut between = blanks.drain(..).filter(|blank| same_flow(blank.said.kind, kind)).collect::<Vec<_>>();
            if between.is_empty()
                && kind != Kind::Code
                && let Some(last) = settled.last()
            {
                between = gap(last, &line)
                    .map(|at| Line {
                        said: Said { kind, first: false, spans: Vec::new() },
                        source: at..at + 1,
                        block: None,
                    })
                    .collect();
            }
            for mut blank in between {
                blank.said.kind = kind;
                settled.push(blank);
            }
        }
        blanks.clear();
        settled.push(line);
    }
    settled
}

/// Takes the white space off the beginning of a line that has something on it.
fn flush_left(spans: &mut Vec<Span>) {
    if let Some(Span { style: 0, link: None, piece: Piece::Text(text) }) = spans.first_mut() {
        *text = text.trim_start().to_owned();
        if text.is_empty() {
            spans.remove(0);
        }
    }
}

/// Whether two lines can belong to one flow, in which blank lines between them count.
fn same_flow(one: Kind, other: Kind) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other) && !matches!(one, Kind::Heading { .. } | Kind::Rule)
}

/// The spans of a line in normal form: links that say only themselves told apart, addresses found, no style or
/// link on white space at its edge, nothing empty, equal neighbours joined.
fn tidy(spans: Vec<Span>, people: &People, mentions: bool) -> Vec<Span> {
    let mut spans: Vec<Span> = spans
        .into_iter()
        .map(|mut span| {
            if matches!(&span.piece, Piece::Text(text) if text.chars().all(char::is_whitespace)) {
                span.style &= !CODE;
            }
            span
        })
        .collect();
    if spans.iter().any(|span| span.link.is_some()) {
        spans = plain_links(spans, people);
    }
    let mut found = Vec::with_capacity(spans.len());
    for span in spans {
        match span.piece {
            Piece::Text(text) if span.style & CODE == 0 => {
                if span.link.is_some() {
                    let text = quiet::loud(&text).into_owned();
                    found.push(Span { piece: Piece::Text(text), ..span });
                } else {
                    link::find(&text, mentions.then_some(people), |piece| {
                        found.push(Span { style: span.style, link: None, piece });
                    });
                }
            }
            piece => found.push(Span { piece, ..span }),
        }
    }
    if found.iter().any(|span| matches!(span.piece, Piece::Url(_))) {
        fuse(&mut found);
    }
    if found.iter().any(|span| span.style != 0 || span.link.is_some()) {
        found = bare_edges(found);
    }
    let mut joined: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        match (joined.last_mut(), &span.piece) {
            (_, Piece::Text(text)) if text.is_empty() => {}
            (Some(Span { style, link, piece: Piece::Text(before) }), Piece::Text(text))
                if *style == span.style && *link == span.link =>
            {
                before.push_str(text);
            }
            _ => joined.push(span),
        }
    }
    if let Some(Span { style: 0, link: None, piece: Piece::Text(text) }) = joined.last_mut() {
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            joined.pop();
        }
    }
    joined
}

/// Whether two spans were read from one link, not only from links to one address.
fn same_link(one: Option<&Rc<str>>, other: Option<&Rc<str>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Rc::ptr_eq(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Turns links that say only their own address, or stand for something of Asana's, into what they are.
fn plain_links(spans: Vec<Span>, people: &People) -> Vec<Span> {
    let mut plain = Vec::with_capacity(spans.len());
    let mut rest = spans.into_iter().peekable();
    while let Some(span) = rest.next() {
        let Some(link) = span.link.clone() else {
            plain.push(span);
            continue;
        };
        let mut group = vec![span];
        while let Some(span) = rest.next_if(|span| same_link(span.link.as_ref(), Some(&link))) {
            group.push(span);
        }
        let mut text = String::new();
        let mut style = u8::MAX;
        for span in &group {
            if let Piece::Text(part) = &span.piece {
                text.push_str(part);
            }
            if !span.is_space() {
                style &= span.style;
            }
        }
        match link::meaning(&link, text.trim(), people) {
            link::Meaning::Piece(piece) => {
                let edge = |edge: &str| (!edge.is_empty()).then(|| Span::text(edge));
                let start = &text[..text.len() - text.trim_start().len()];
                plain.extend(edge(start));
                plain.push(Span { style: style & !CODE, link: None, piece });
                plain.extend(edge(&text[text.trim_end().len().max(start.len())..]));
            }
            link::Meaning::Words => plain.extend(group.into_iter().map(|span| Span { link: None, ..span })),
            link::Meaning::Link => plain.extend(group),
        }
    }
    plain
}

/// Makes addresses that touch a link to the same address part of it: neither spelling tells them apart.
fn fuse(spans: &mut [Span]) {
    let leads_to = |span: &Span| match &span.piece {
        Piece::Url(url) => Some(url.clone()),
        _ => span.link.clone(),
    };
    for at in 1..spans.len() {
        let (before, after) = spans.split_at_mut(at);
        let (before, after) = (&mut before[at - 1], &mut after[0]);
        let Some(url) = leads_to(before).filter(|url| leads_to(after).as_ref() == Some(url)) else { continue };
        for span in [before, after] {
            if matches!(span.piece, Piece::Url(_)) {
                *span = Span { style: span.style, link: Some(url.clone()), piece: Piece::Text(url.as_ref().to_owned()) };
            }
        }
    }
}

/// Takes links and styles off the white space at their edges, where Markdown cannot have them.
fn bare_edges(spans: Vec<Span>) -> Vec<Span> {
    let mut parts = Vec::with_capacity(spans.len() + 4);
    for span in spans {
        let Some(text) = span.words().filter(|text| !text.is_empty()) else {
            parts.push(span);
            continue;
        };
        let start = text.len() - text.trim_start().len();
        let end = text.trim_end().len().max(start);
        if start == 0 && end == text.len() {
            parts.push(span);
            continue;
        }
        for part in [&text[..start], &text[start..end], &text[end..]] {
            if !part.is_empty() {
                parts.push(Span { piece: Piece::Text(part.to_owned()), ..span.clone() });
            }
        }
    }
    strip_edges(&mut parts, |span| span.link.clone(), |span| span.link = None);
    let mut outer = 0;
    for style in AROUND {
        // A style is written inside the link and the styles further out, so it ends where they do.
        strip_edges(
            &mut parts,
            |span| (span.style & style != 0).then(|| (span.link.clone(), span.style & outer)),
            |span| span.style &= !style,
        );
        outer |= style;
    }
    parts
}

/// In every run of neighbours with an equal `mark`, strips it off the white space at both ends.
fn strip_edges<M: PartialEq>(spans: &mut [Span], mark: impl Fn(&Span) -> Option<M>, strip: impl Fn(&mut Span)) {
    let mut start = 0;
    while start < spans.len() {
        let Some(run) = mark(&spans[start]) else {
            start += 1;
            continue;
        };
        let mut end = start + 1;
        while end < spans.len() && mark(&spans[end]).as_ref() == Some(&run) {
            end += 1;
        }
        for at in start..end {
            if !spans[at].is_space() {
                break;
            }
            strip(&mut spans[at]);
        }
        for at in (start..end).rev() {
            if !spans[at].is_space() {
                break;
            }
            strip(&mut spans[at]);
        }
        start = end;
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
