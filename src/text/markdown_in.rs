//! Reads Markdown as GitHub shows it in an issue: tables, task lists, strikethrough; a line end is a line break.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, LinkType, Options, Parser, Tag, TagEnd};

use super::build::Builder;
use super::doc::{CODE, EM, Kind, Line, STRIKE, STRONG, UNDERLINE};
use super::link;
use super::markup::{self, Token};
use crate::model::People;

/// Shown for an item of a task list that is still to be done.
pub(super) const UNTICKED: &str = "☐ ";
/// Shown for an item of a task list that is done.
pub(super) const TICKED: &str = "☑ ";

/// Raw tags open at once; more are not followed, so that closing one stays cheap.
const RAW_TAGS_MAX: usize = 100;

/// The lines of a Markdown text that has LF line ends, each with its place in it.
pub(super) fn read(markdown: &str, people: &People) -> Vec<Line> {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let starts: Vec<usize> = std::iter::once(0)
        .chain(markdown.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1))
        .collect();
    let mut reader = Reader {
        markdown,
        starts: &starts,
        builder: Builder::new(),
        html: None,
        code: false,
        cells: 0,
        picture: None,
        tags: Vec::new(),
        literal: Vec::new(),
    };
    for (event, range) in Parser::new_ext(markdown, options).into_offset_iter() {
        reader.event(event, range);
    }
    let mut lines = reader.builder.finish(people, true, |before, after| blank_lines(markdown, &starts, before, after));
    // Places rise, so that whoever follows them moves on.
    let mut last = 0..0;
    for line in &mut lines {
        line.source.start = line.source.start.max(last.start);
        line.source.end = line.source.end.max(last.end);
        last = line.source.clone();
    }
    lines
}

/// The blank source lines between two lines of one flow; one at most when something invisible stands there too.
fn blank_lines(markdown: &str, starts: &[usize], before: &Line, after: &Line) -> Range<usize> {
    let quoted = after.said.kind == Kind::Quote;
    let blank = |line: usize| {
        let start = starts.get(line).copied().unwrap_or(markdown.len());
        let end = starts.get(line + 1).copied().unwrap_or(markdown.len());
        markdown[start..end].chars().all(|sign| sign.is_whitespace() || quoted && sign == '>')
    };
    let between = before.source.end..after.source.start.max(before.source.end);
    let Some(first) = between.clone().find(|line| blank(*line)) else { return 0..0 };
    let all = first == between.start && between.clone().all(blank);
    if all { between } else { first..first + 1 }
}

/// An HTML block being collected: its text, and the source line of each of its lines.
struct Html {
    text: String,
    sources: Vec<usize>,
}

struct Reader<'t> {
    markdown: &'t str,
    /// Where each source line begins.
    starts: &'t [usize],
    builder: Builder,
    html: Option<Html>,
    /// Whether a code block is open.
    code: bool,
    /// Cells so far in the open table row.
    cells: usize,
    /// The open picture: whether it made a link, and whether it has words.
    picture: Option<(bool, bool)>,
    /// Tags opened by raw HTML and not yet closed, which end with the block at the latest.
    tags: Vec<Raw>,
    /// For each open emphasis how many of its signs are words.
    literal: Vec<usize>,
}

/// What a raw tag opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Raw {
    Style(u8),
    Link,
}

impl Reader<'_> {
    /// The source lines of a byte range.
    fn lines(&self, range: &Range<usize>) -> Range<usize> {
        let line = |at: usize| self.starts.partition_point(|start| *start <= at).max(1) - 1;
        let first = line(range.start);
        first..line(range.end.max(range.start + 1) - 1).max(first) + 1
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, &range),
            Event::End(tag) => self.end(tag, &range),
            Event::Text(text) => {
                if self.code {
                    self.code_lines(&text, &range);
                    return;
                }
                let hard_space = &*text == "\u{a0}" && self.markdown.get(range.clone()) == Some("&nbsp;");
                self.builder.at(self.lines(&range));
                self.words(if hard_space { " " } else { &text });
            }
            Event::Code(text) => {
                self.builder.at(self.lines(&range));
                if let Some((_, words)) = &mut self.picture {
                    *words = true;
                }
                self.builder.code(&text);
            }
            Event::Html(text) => match &mut self.html {
                Some(html) => {
                    let line = self.starts.partition_point(|start| *start <= range.start).max(1) - 1;
                    let lines = text.bytes().filter(|byte| *byte == b'\n').count() + usize::from(!text.ends_with('\n'));
                    html.sources.extend(line..line + lines);
                    html.text.push_str(&text);
                    if !text.ends_with('\n') {
                        html.text.push('\n');
                    }
                }
                None => self.raw(&text, &range),
            },
            Event::InlineHtml(text) => self.raw(&text, &range),
            Event::SoftBreak | Event::HardBreak => self.builder.flush(),
            Event::Rule => {
                self.builder.at(self.lines(&range));
                self.builder.rule();
            }
            Event::TaskListMarker(done) => {
                self.builder.at(self.lines(&range));
                self.builder.words(if done { TICKED } else { UNTICKED });
            }
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => self.words(&text),
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: &Range<usize>) {
        match tag {
            Tag::Paragraph => self.block_ended(),
            Tag::Heading { level, .. } => {
                // An underline is a line of its own.
                let lines = self.lines(range);
                self.builder.block((lines.len() > 1).then_some(lines));
                self.builder.open_heading(level != HeadingLevel::H1);
            }
            Tag::BlockQuote(_) => self.builder.open_quote(),
            Tag::CodeBlock(_) => {
                let lines = self.lines(range);
                self.builder.block(Some(lines));
                self.builder.open_code();
                self.code = true;
            }
            Tag::HtmlBlock => self.html = Some(Html { text: String::new(), sources: Vec::new() }),
            Tag::List(start) => self.builder.open_list(start),
            Tag::Item => self.builder.open_item(),
            Tag::Table(_) => {
                self.block_ended();
                let lines = self.lines(range);
                self.builder.block(Some(lines));
            }
            Tag::TableHead | Tag::TableRow => self.cells = 0,
            Tag::TableCell => {
                self.builder.at(self.lines(range));
                if self.cells > 0 {
                    self.builder.words(" | ");
                }
                self.cells += 1;
            }
            Tag::Emphasis => self.emphasis(EM, range),
            Tag::Strong => self.emphasis(STRONG, range),
            Tag::Strikethrough => self.emphasis(STRIKE, range),
            // An e-mail address is linked by both services by itself.
            Tag::Link { link_type: LinkType::Email, .. } => {}
            Tag::Link { dest_url, .. } if !self.builder.in_link() => self.builder.link(link::normal(&dest_url)),
            Tag::Image { dest_url, .. } => {
                let link = link::normal(&dest_url).filter(|_| !self.builder.in_link());
                let linked = link.is_some();
                if linked {
                    self.builder.link(link);
                }
                // A picture cannot stand inside another: its words do.
                if self.picture.is_none() {
                    self.picture = Some((linked, false));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: &Range<usize>) {
        match tag {
            TagEnd::Paragraph => self.block_ended(),
            TagEnd::Heading(_) => {
                self.close_raw();
                self.builder.close_heading();
                self.builder.block(None);
            }
            TagEnd::BlockQuote(_) => self.builder.close_quote(),
            TagEnd::CodeBlock => {
                self.builder.close_code();
                self.builder.block(None);
                self.code = false;
            }
            TagEnd::HtmlBlock => {
                if let Some(html) = self.html.take() {
                    self.html_block(&html);
                }
            }
            TagEnd::List(_) => self.builder.close_list(),
            TagEnd::Item => {
                self.close_raw();
                self.builder.close_item();
            }
            TagEnd::Table => {
                self.block_ended();
                self.builder.block(None);
            }
            TagEnd::TableHead | TagEnd::TableRow => self.block_ended(),
            TagEnd::Emphasis => self.emphasis_ended(EM, range),
            TagEnd::Strong => self.emphasis_ended(STRONG, range),
            TagEnd::Strikethrough => self.emphasis_ended(STRIKE, range),
            // A raw link around it stays open.
            TagEnd::Link if self.tags.contains(&Raw::Link) => {}
            TagEnd::Link => self.builder.link(None),
            TagEnd::Image => {
                if let Some((linked, words)) = self.picture.take() {
                    if !words {
                        self.builder.at(self.lines(range));
                        self.builder.words("image");
                    }
                    if linked {
                        self.builder.link(None);
                    }
                }
            }
            _ => {}
        }
    }

    /// Emphasis begins, unless its signs stand inside an address: there GitHub takes them as they are.
    fn emphasis(&mut self, style: u8, range: &Range<usize>) {
        let signs = match style {
            _ if !self.in_address(range.start) => 0,
            STRONG => 2,
            STRIKE if self.markdown[range.start..].starts_with("~~") => 2,
            _ => 1,
        };
        if signs > 0 {
            self.builder.at(self.lines(&(range.start..range.start + 1)));
            self.words(&self.markdown[range.start..range.start + signs]);
        } else {
            self.builder.style(style, true);
        }
        self.literal.push(signs);
    }

    fn emphasis_ended(&mut self, style: u8, range: &Range<usize>) {
        match self.literal.pop() {
            Some(signs) if signs > 0 => {
                self.builder.at(self.lines(&(range.end - 1..range.end)));
                self.words(&self.markdown[range.end - signs..range.end]);
            }
            _ => self.builder.style(style, false),
        }
    }

    /// Whether a bare web address covers a place; one that a link leads to is none.
    fn in_address(&self, at: usize) -> bool {
        if self.builder.in_link() {
            return false;
        }
        let bytes = self.markdown.as_bytes();
        let from = at.saturating_sub(link::ADDRESS_BYTES_MAX);
        let from = bytes[from..at]
            .iter()
            .rposition(|byte| byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b'"'))
            .map_or(from, |space| from + space + 1);
        let Some(sign) = bytes[from..at].windows(3).position(|sign| sign == b"://") else { return false };
        let before = &bytes[from..from + sign];
        let before = before.strip_suffix(b"https").or_else(|| before.strip_suffix(b"http"));
        before.is_some_and(|before| !before.ends_with(b"](") && !before.ends_with(b"]:"))
            && self.markdown.get(from + sign..).is_some_and(|rest| from + sign + link::address(rest) > at)
    }

    fn words(&mut self, words: &str) {
        if let Some((_, has_words)) = &mut self.picture {
            *has_words |= !words.trim().is_empty();
        }
        self.builder.words(words);
    }

    /// Lines of a code block; the parser may hand over several at once, or parts of one.
    fn code_lines(&mut self, text: &str, range: &Range<usize>) {
        let first = self.lines(range).start;
        for (at, line) in text.split_inclusive('\n').enumerate() {
            self.builder.at(first + at..first + at + 1);
            self.builder.words(line.trim_end_matches('\n'));
            if line.ends_with('\n') {
                self.builder.newline();
            }
        }
    }

    /// The end of a paragraph or row: nothing stays open beyond it.
    fn block_ended(&mut self) {
        self.close_raw();
        self.builder.flush();
    }

    fn close_raw(&mut self) {
        while let Some(raw) = self.tags.pop() {
            self.close_tag(raw);
        }
    }

    fn close_tag(&mut self, raw: Raw) {
        match raw {
            Raw::Style(style) => self.builder.style(style, false),
            Raw::Link => self.builder.link(None),
        }
    }

    /// A raw tag in running text.
    fn raw(&mut self, text: &str, range: &Range<usize>) {
        self.builder.at(self.lines(range));
        let mut found = Vec::new();
        markup::tokens(text, |_, token| found.push(token));
        for token in found {
            self.token(token);
        }
    }

    /// An HTML block: each source line with words in it becomes a line.
    fn html_block(&mut self, html: &Html) {
        let mut found = Vec::new();
        markup::tokens(&html.text, |at, token| found.push((at, token)));
        let mut counted = 0;
        let mut line = 0;
        for (at, token) in found {
            line += html.text[counted..at].bytes().filter(|byte| *byte == b'\n').count();
            counted = at;
            let source = |line: usize| {
                let source = html.sources.get(line).or(html.sources.last()).copied().unwrap_or(0);
                source..source + 1
            };
            self.builder.at(source(line));
            let Token::Words(words) = token else {
                self.token(token);
                continue;
            };
            for (below, part) in words.split('\n').enumerate() {
                if below > 0 {
                    self.builder.flush();
                    self.builder.at(source(line + below));
                }
                let mut decoded = String::with_capacity(part.len());
                markup::decode(if self.builder.is_open() { part } else { part.trim_start() }, &mut decoded);
                self.words(&decoded.replace('\n', " "));
            }
        }
        self.block_ended();
    }

    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Words(words) => {
                let mut decoded = String::with_capacity(words.len());
                markup::decode(words, &mut decoded);
                self.words(&decoded.replace('\n', " "));
            }
            Token::Start { name, attributes, empty } => {
                let name = name.to_ascii_lowercase();
                if let Some(style) = style(&name) {
                    if !empty && self.tags.len() < RAW_TAGS_MAX {
                        self.builder.style(style, true);
                        self.tags.push(Raw::Style(style));
                    }
                    return;
                }
                match name.as_str() {
                    "br" => self.builder.newline(),
                    "a" if !empty && !self.builder.in_link() => {
                        let link = markup::attribute(attributes, "href").and_then(|href| link::normal(&href));
                        if link.is_some() && self.tags.len() < RAW_TAGS_MAX {
                            self.builder.link(link);
                            self.tags.push(Raw::Link);
                        }
                    }
                    "img" => {
                        let words = markup::attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty());
                        let words = words.unwrap_or_else(|| "image".to_owned()).replace('\n', " ");
                        let source = markup::attribute(attributes, "src").and_then(|source| link::normal(&source));
                        let linked = source.is_some() && !self.builder.in_link();
                        if linked {
                            self.builder.link(source);
                        }
                        self.words(&words);
                        if linked {
                            self.builder.link(None);
                        }
                    }
                    "li" => {
                        self.builder.flush();
                        self.builder.words("• ");
                    }
                    "td" | "th" if self.builder.is_open() => self.builder.words(" | "),
                    "tr" => self.builder.flush(),
                    _ => {}
                }
            }
            Token::End(name) => {
                let name = name.to_ascii_lowercase();
                let raw = if name == "a" { Some(Raw::Link) } else { style(&name).map(Raw::Style) };
                if let Some(raw) = raw
                    && let Some(at) = self.tags.iter().rposition(|open| *open == raw)
                {
                    self.tags.remove(at);
                    self.close_tag(raw);
                }
            }
            Token::Other => {}
        }
    }
}

/// The style a tag stands for.
fn style(name: &str) -> Option<u8> {
    Some(match name {
        "b" | "strong" => STRONG,
        "i" | "em" => EM,
        "u" | "ins" => UNDERLINE,
        "s" | "del" | "strike" => STRIKE,
        "code" | "kbd" | "samp" | "tt" => CODE,
        _ => return None,
    })
}
