//! Reads Asana's rich text: one XML document, a line end is a line break, attributes only where things are named.
//!
//! The set of tags is declared open-ended by Asana: what is not known here gives its words.

use super::build::Builder;
use super::doc::{CODE, EM, Line, STRIKE, STRONG, UNDERLINE};
use super::link::{self, Object, Thing};
use super::markup::{self, Token};
use crate::model::{People, Side};

/// The lines of an `html_notes` document.
pub(super) fn read(html: &str, people: &People) -> Vec<Line> {
    let mut reader = Reader { builder: Builder::new(), people, named: 0, decoded: String::new() };
    markup::tokens(html, |_, token| reader.token(token));
    reader.builder.finish(people, false, |_, _| 0..0)
}

struct Reader<'p> {
    builder: Builder,
    people: &'p People,
    /// Open links that stand for a thing by identity: the name shown inside is not content.
    named: usize,
    /// Reused for decoding.
    decoded: String,
}

impl Reader<'_> {
    fn token(&mut self, token: Token<'_>) {
        match token {
            Token::Words(words) => self.words(words),
            Token::Start { name, attributes, empty } => {
                self.start(&lower(name), attributes);
                if empty {
                    self.end(&lower(name));
                }
            }
            Token::End(name) => self.end(&lower(name)),
            Token::Other => {}
        }
    }

    fn words(&mut self, words: &str) {
        if self.named > 0 {
            return;
        }
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        markup::decode(words, &mut decoded);
        // Between the items of a list only its layout stands.
        if !(self.builder.between_items() && decoded.chars().all(char::is_whitespace)) {
            if self.builder.between_items() {
                self.builder.open_item();
            }
            let mut lines = decoded.split('\n');
            self.builder.words(lines.next().unwrap_or_default());
            for line in lines {
                self.builder.newline();
                self.builder.words(line);
            }
        }
        self.decoded = decoded;
    }

    fn start(&mut self, name: &str, attributes: &str) {
        if self.named > 0 {
            self.named += usize::from(name == "a");
            return;
        }
        let builder = &mut self.builder;
        if builder.in_code() {
            if name == "br" {
                builder.newline();
            }
            return;
        }
        match name {
            "strong" | "b" => builder.style(STRONG, true),
            "em" | "i" => builder.style(EM, true),
            "u" | "ins" => builder.style(UNDERLINE, true),
            "s" | "del" | "strike" => builder.style(STRIKE, true),
            "code" => builder.style(CODE, true),
            "a" => self.link(attributes),
            "ul" => builder.open_list(None),
            "ol" => builder.open_list(Some(1)),
            "li" => builder.open_item(),
            "blockquote" => builder.open_quote(),
            "h1" => builder.open_heading(false),
            "h2" | "h3" | "h4" | "h5" | "h6" => builder.open_heading(true),
            "pre" => builder.open_code(),
            "hr" => builder.rule(),
            "br" => builder.newline(),
            "img" => self.picture(attributes),
            "p" | "div" | "tr" | "table" => builder.flush(),
            "td" | "th" if builder.is_open() => builder.words(" | "),
            _ => {}
        }
    }

    fn end(&mut self, name: &str) {
        if self.named > 0 {
            self.named -= usize::from(name == "a");
            return;
        }
        let builder = &mut self.builder;
        if builder.in_code() {
            if name == "pre" {
                builder.close_code();
            }
            return;
        }
        match name {
            "strong" | "b" => builder.style(STRONG, false),
            "em" | "i" => builder.style(EM, false),
            "u" | "ins" => builder.style(UNDERLINE, false),
            "s" | "del" | "strike" => builder.style(STRIKE, false),
            "code" => builder.style(CODE, false),
            "a" => builder.link(None),
            "ul" | "ol" => builder.close_list(),
            "li" => builder.close_item(),
            "blockquote" => builder.close_quote(),
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => builder.close_heading(),
            "p" | "div" | "tr" | "table" => builder.flush(),
            _ => {}
        }
    }

    /// A link: to a thing of Asana's when it has a gid and follows the thing's name, else to its address.
    fn link(&mut self, attributes: &str) {
        let href = markup::attribute(attributes, "href").and_then(|href| link::normal(&href));
        let at = href.as_deref().and_then(Object::at);
        let own_words = markup::attribute(attributes, "data-asana-dynamic").is_some_and(|dynamic| dynamic == "false");
        let gid = markup::attribute(attributes, "data-asana-gid");
        if let Some(gid) = gid.filter(|_| !own_words) {
            let thing = match markup::attribute(attributes, "data-asana-type").as_deref() {
                Some("user") => Thing::User,
                Some("task") => Thing::Task,
                Some("project") => Thing::Project,
                Some("attachment") => Thing::Attachment,
                Some(_) => Thing::Other,
                None if self.people.by_account(Side::Tracker, &gid).is_some() => Thing::User,
                None => at.map_or(Thing::Other, |object| object.thing),
            };
            if let Some(object) = Object::new(thing, &gid) {
                self.builder.object(object);
                // An empty element is ended like any other.
                self.named = 1;
                return;
            }
        }
        self.builder.link(href);
    }

    /// A picture: an attachment by its gid, because its address is signed anew on every read; else a link.
    fn picture(&mut self, attributes: &str) {
        let gid = markup::attribute(attributes, "data-asana-gid");
        if let Some(object) = gid.and_then(|gid| Object::new(Thing::Attachment, &gid)) {
            self.builder.object(object);
            return;
        }
        let words = markup::attribute(attributes, "alt").filter(|alt| !alt.trim().is_empty());
        let words = words.unwrap_or_else(|| "image".to_owned()).replace('\n', " ");
        let outside = !self.builder.in_link();
        if outside {
            self.builder.link(markup::attribute(attributes, "src").and_then(|src| link::normal(&src)));
        }
        self.builder.words(&words);
        if outside {
            self.builder.link(None);
        }
    }
}

/// Names of tags are case-sensitive in Asana; others are read all the same.
fn lower(name: &str) -> std::borrow::Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) { name.to_ascii_lowercase().into() } else { name.into() }
}
