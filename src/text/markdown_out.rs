//! Writes canonical Markdown: what Asana's words would mean in Markdown is escaped, nothing calls anybody.

use super::doc::{Kind, Line, Piece, Said, Span};
use super::inline;
use super::markdown_in::{TICKED, UNTICKED};
use crate::model::People;

/// The Markdown text of these lines.
pub(super) fn write(lines: &[Line], people: &People) -> String {
    let mut writer = Writer::new(people);
    for at in 0..lines.len() {
        writer.line(at, |at| lines.get(at).map(|line| &line.said));
    }
    writer.markdown
}

/// Spans as one line of Markdown.
pub(super) fn words(spans: &[Span]) -> String {
    let nobody = People::default();
    let mut writer = Writer::new(&nobody);
    writer.inline(spans);
    writer.markdown
}

/// Writes lines one after another, with what must stand between them.
pub(super) struct Writer<'p> {
    /// The text so far, without a line end at its end.
    pub(super) markdown: String,
    people: &'p People,
    /// The open lists, outermost first.
    lists: Vec<List>,
    /// The backticks that close the open code block.
    fence: usize,
}

/// An open list as it is spelled.
#[derive(Clone, Debug)]
struct List {
    ordered: bool,
    /// The number of its last item.
    number: u64,
    /// What stands after a number, or the bullet.
    sign: char,
    /// Where its items begin.
    indent: usize,
    /// Where their words begin.
    column: usize,
}

impl<'p> Writer<'p> {
    /// An empty text.
    pub(super) fn new(people: &'p People) -> Self {
        Self { markdown: String::new(), people, lists: Vec::new(), fence: 0 }
    }

    /// Writes the line `at`, apart from the one before; `said` gives that line and its neighbours.
    pub(super) fn line<'s>(&mut self, at: usize, said: impl Fn(usize) -> Option<&'s Said>) {
        let Some(line) = said(at) else { return };
        if let Some(before) = at.checked_sub(1).and_then(&said) {
            self.markdown.push_str(if parted(before, line) { "\n\n" } else { "\n" });
        }
        self.content(at, said, true);
    }

    /// Writes what stands on the line `at`; without `fences` the signs around a code block stand there already.
    pub(super) fn content<'s>(&mut self, at: usize, said: impl Fn(usize) -> Option<&'s Said>, fences: bool) {
        let Some(line) = said(at) else { return };
        if !matches!(line.kind, Kind::Item { .. }) {
            self.lists.clear();
        }
        match line.kind {
            Kind::Text => self.inline(&line.spans),
            Kind::Heading { second } => {
                self.markdown.push_str(if second { "## " } else { "# " });
                let start = self.markdown.len();
                self.inline(&line.spans);
                // A heading's closing signs would go.
                if self.markdown[start..].ends_with('#') && !self.markdown[start..].ends_with("\\#") {
                    self.markdown.pop();
                    self.markdown.push_str("\\#");
                }
            }
            Kind::Item { depth, ordered } => self.item(line, usize::from(depth), ordered),
            Kind::Quote => {
                self.markdown.push_str(if line.is_blank() { ">" } else { "> " });
                self.inline(&line.spans);
            }
            Kind::Code => {
                if line.first && fences {
                    self.fence = fence((at..).map_while(&said).enumerate().map_while(|(below, said)| {
                        (said.kind == Kind::Code && (below == 0 || !said.first)).then(|| literal(said))
                    }));
                    self.markdown.extend(std::iter::repeat_n('`', self.fence));
                    self.markdown.push('\n');
                }
                self.markdown.push_str(literal(line));
                if fences && said(at + 1).is_none_or(|next| next.kind != Kind::Code || next.first) {
                    self.markdown.push('\n');
                    self.markdown.extend(std::iter::repeat_n('`', self.fence));
                }
            }
            Kind::Rule => self.markdown.push_str("---"),
        }
    }

    /// Takes note of a line that stands there already, so that items below it are written under it.
    pub(super) fn stands(&mut self, line: &Said, spelled: &str) {
        let Kind::Item { depth, ordered } = line.kind else {
            self.lists.clear();
            return;
        };
        if !line.first {
            return;
        }
        let words = spelled.trim_start_matches(' ');
        let indent = spelled.len() - words.len();
        let digits = words.len() - words.trim_start_matches(|sign: char| sign.is_ascii_digit()).len();
        let rest = &words[digits..];
        let sign =
            rest.chars().next().filter(|sign| "-+*.)".contains(*sign)).unwrap_or(if ordered { '.' } else { '-' });
        let after = rest.get(1..).unwrap_or_default();
        let spaces = after.len() - after.trim_start_matches(' ').len();
        // Five spaces or more are one and then code.
        let spaces = if (1..=4).contains(&spaces) { spaces } else { 1 };
        let number = words[..digits].parse().unwrap_or(1);
        self.lists.truncate(usize::from(depth));
        self.lists.push(List { ordered, number, sign, indent, column: indent + digits + 1 + spaces });
    }

    /// Writes a line of an item, under the words of the item it belongs to.
    fn item(&mut self, line: &Said, depth: usize, ordered: bool) {
        if !line.first {
            if !line.is_blank() {
                let column = self.lists.last().map_or(2, |list| list.column);
                self.markdown.extend(std::iter::repeat_n(' ', column));
                self.inline(&line.spans);
            }
            return;
        }
        self.lists.truncate(depth + 1);
        if self.lists.len() > depth && self.lists.last().is_some_and(|list| list.ordered != ordered) {
            self.lists.pop();
        }
        if self.lists.len() <= depth {
            let indent = self.lists.last().map_or(0, |parent| parent.column);
            // Spelled as the lists around it are.
            let around = self.lists.iter().rev().find(|list| list.ordered == ordered).map(|list| list.sign);
            let sign = around.unwrap_or(if ordered { '.' } else { '-' });
            self.lists.push(List { ordered, number: 0, sign, indent, column: indent + 2 });
        }
        let start = self.markdown.len();
        if let Some(list) = self.lists.last_mut() {
            list.number = list.number.saturating_add(1);
            self.markdown.extend(std::iter::repeat_n(' ', list.indent));
            if ordered {
                self.markdown.push_str(&list.number.to_string());
            }
            self.markdown.push(list.sign);
            self.markdown.push(' ');
            list.column = self.markdown.len() - start;
        }
        self.task_line(&line.spans);
    }

    /// The words of a line without what marks its kind.
    pub(super) fn words(&mut self, line: &Said) {
        match line.kind {
            Kind::Code => self.markdown.push_str(literal(line)),
            Kind::Item { .. } if line.first => self.task_line(&line.spans),
            _ => self.inline(&line.spans),
        }
    }

    /// Writes the first line of an item, with its tick box if it shows one.
    fn task_line(&mut self, spans: &[Span]) {
        if let Some((Span { style: 0, link: None, piece: Piece::Text(text) }, rest)) = spans.split_first() {
            for (sign, tick) in [(UNTICKED, "[ ] "), (TICKED, "[x] ")] {
                if let Some(words) = text.strip_prefix(sign).filter(|words| !words.is_empty() || !rest.is_empty()) {
                    self.markdown.push_str(tick);
                    let mut spans = Vec::with_capacity(spans.len());
                    if !words.is_empty() {
                        spans.push(Span::text(words));
                    }
                    spans.extend_from_slice(rest);
                    self.inline(&spans);
                    return;
                }
            }
        }
        self.inline(spans);
    }

    /// Writes the spans of a line.
    fn inline(&mut self, spans: &[Span]) {
        inline::write(spans, self.people, &mut self.markdown);
    }
}

/// Whether a blank line must stand between two lines.
pub(super) fn parted(before: &Said, line: &Said) -> bool {
    match (before.kind, line.kind) {
        (Kind::Text, Kind::Text) | (Kind::Item { .. }, Kind::Item { .. }) => false,
        (Kind::Quote, Kind::Quote) | (Kind::Code, Kind::Code) => line.first,
        _ => true,
    }
}

/// The text of a code line.
pub(super) fn literal(said: &Said) -> &str {
    match said.spans.first() {
        Some(Span { piece: Piece::Text(text), .. }) => text,
        _ => "",
    }
}

/// More backticks than any line begins with; at least three.
fn fence<'s>(lines: impl Iterator<Item = &'s str>) -> usize {
    let ticks = |line: &str| {
        let line = line.trim_start();
        line.len() - line.trim_start_matches('`').len()
    };
    lines.map(ticks).max().unwrap_or(0).max(2) + 1
}
