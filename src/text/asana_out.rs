//! Writes Asana's rich text: only tags and attributes it takes, always well-formed, a line end for a line break.

use super::doc::{CODE, EM, Kind, Line, Piece, STRIKE, STRONG, Said, Span, UNDERLINE};
use super::link::{Object, Thing};
use crate::model::People;

/// The document that shows these lines.
pub(super) fn write(lines: &[Line], people: &People) -> String {
    let mut writer = Writer { html: String::from("<body>"), people, lists: Vec::new() };
    let mut before: Option<&Said> = None;
    for line in lines {
        writer.line(before, &line.said);
        before = Some(&line.said);
    }
    if let Some(said) = before {
        writer.close(said);
    }
    writer.html.push_str("</body>");
    writer.html
}

/// Styles and their tags, outermost first; links are around all of them.
const TAGS: [(u8, &str); 5] = [(STRONG, "strong"), (EM, "em"), (STRIKE, "s"), (UNDERLINE, "u"), (CODE, "code")];

struct Writer<'p> {
    html: String,
    people: &'p People,
    /// Whether each open list is numbered.
    lists: Vec<bool>,
}

impl Writer<'_> {
    fn line(&mut self, before: Option<&Said>, said: &Said) {
        let flows = before.is_some_and(|before| match (before.kind, said.kind) {
            (Kind::Text, Kind::Text) => true,
            (Kind::Item { .. }, Kind::Item { .. }) => true,
            (Kind::Quote, Kind::Quote) | (Kind::Code, Kind::Code) => !said.first,
            _ => false,
        });
        if flows {
            if !said.first {
                self.html.push('\n');
            }
        } else if let Some(before) = before {
            self.close(before);
            // A text line ends with a line end. Two blocks of one kind could otherwise become one.
            if before.kind == Kind::Text || before.kind == said.kind {
                self.html.push('\n');
            }
        }
        match said.kind {
            Kind::Text => {}
            Kind::Heading { second } => self.html.push_str(if second { "<h2>" } else { "<h1>" }),
            Kind::Item { depth, ordered } if said.first => self.item(usize::from(depth), ordered),
            Kind::Item { .. } => {}
            Kind::Quote if !flows => self.html.push_str("<blockquote>"),
            Kind::Code if !flows => self.html.push_str("<pre>"),
            Kind::Quote | Kind::Code => {}
            Kind::Rule => self.html.push_str("<hr/>"),
        }
        self.spans(&said.spans);
    }

    /// Ends the block whose last line was `said`.
    fn close(&mut self, said: &Said) {
        match said.kind {
            Kind::Text | Kind::Rule => {}
            Kind::Heading { second } => self.html.push_str(if second { "</h2>" } else { "</h1>" }),
            Kind::Item { .. } => self.close_lists(0),
            Kind::Quote => self.html.push_str("</blockquote>"),
            Kind::Code => self.html.push_str("</pre>"),
        }
    }

    /// Begins an item, in the list open at its depth or in a new one.
    fn item(&mut self, depth: usize, ordered: bool) {
        self.close_lists(depth + 1);
        if self.lists.len() > depth {
            if self.lists.last() == Some(&ordered) {
                self.html.push_str("</li><li>");
                return;
            }
            self.close_lists(depth);
        }
        self.lists.push(ordered);
        self.html.push_str(if ordered { "<ol><li>" } else { "<ul><li>" });
    }

    /// Ends lists until `count` are open.
    fn close_lists(&mut self, count: usize) {
        while self.lists.len() > count {
            let ordered = self.lists.pop() == Some(true);
            self.html.push_str(if ordered { "</li></ol>" } else { "</li></ul>" });
        }
    }

    fn spans(&mut self, spans: &[Span]) {
        let mut open = 0;
        let mut link = None;
        for span in spans {
            if link != span.link.as_deref() {
                self.restyle(open, 0);
                open = 0;
                if link.is_some() {
                    self.html.push_str("</a>");
                }
                link = span.link.as_deref();
                if let Some(url) = link {
                    self.html.push_str("<a href=\"");
                    escape(url, &mut self.html);
                    // Asana would otherwise put its own words in place of these.
                    self.html.push_str(if Object::at(url).is_some() {
                        "\" data-asana-dynamic=\"false\">"
                    } else {
                        "\">"
                    });
                }
            }
            self.restyle(open, span.style);
            open = span.style;
            match &span.piece {
                Piece::Text(text) => escape(text, &mut self.html),
                Piece::Url(url) => {
                    self.html.push_str("<a href=\"");
                    escape(url, &mut self.html);
                    self.html.push_str("\">");
                    escape(url, &mut self.html);
                    self.html.push_str("</a>");
                }
                Piece::Object(object) => self.object(object),
            }
        }
        self.restyle(open, 0);
        if link.is_some() {
            self.html.push_str("</a>");
        }
    }

    /// Closes and opens tags so that exactly the wanted styles are open.
    fn restyle(&mut self, open: u8, wanted: u8) {
        let keep = TAGS.iter().take_while(|(style, _)| open & style == wanted & style).count();
        for (style, name) in TAGS[keep..].iter().rev() {
            if open & style != 0 {
                self.html.push_str("</");
                self.html.push_str(name);
                self.html.push('>');
            }
        }
        for (style, name) in &TAGS[keep..] {
            if wanted & style != 0 {
                self.html.push('<');
                self.html.push_str(name);
                self.html.push('>');
            }
        }
    }

    /// A thing of Asana's by its gid; the service fills in what it shows. The address beside the gid keeps the link
    /// acceptable when the gid is not accessible to the token.
    fn object(&mut self, object: &Object) {
        let gid = &object.gid;
        let tag = match object.thing {
            Thing::Attachment => format!("<img data-asana-gid=\"{gid}\"/>"),
            Thing::User if object.person(self.people).is_some() => format!("<a data-asana-gid=\"{gid}\"/>"),
            _ => format!("<a href=\"{}\" data-asana-gid=\"{gid}\"/>", object.url()),
        };
        self.html.push_str(&tag);
    }
}

/// Adds text with the characters escaped that XML takes for itself. No address in normal form has a quote.
fn escape(text: &str, into: &mut String) {
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped = match byte {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            _ => continue,
        };
        into.push_str(&text[from..at]);
        into.push_str(escaped);
        from = at + 1;
    }
    into.push_str(&text[from..]);
}
