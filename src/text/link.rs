//! Addresses in texts: their normal form, where they stand in running words, and those that mean something of
//! Asana's or a person.
//!
//! Asana expands an address of its own into a link that shows the thing's name, and the name changes without the
//! task changing: what stands for a thing is therefore its gid, and the words shown with it are ours.

use std::borrow::Cow;
use std::rc::Rc;

use super::doc::Piece;
use super::quiet;
use crate::model::{People, Person, Side};

/// How far back the beginning of an address is looked for; a longer one is read as Markdown.
pub(super) const ADDRESS_BYTES_MAX: usize = 500;

/// What kind of thing of Asana's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Thing {
    /// A user: a mention.
    User,
    /// A task.
    Task,
    /// A project.
    Project,
    /// A picture or file attached to the task.
    Attachment,
    /// Any other.
    Other,
}

/// Something of Asana's, by identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Object {
    /// Its kind.
    pub(super) thing: Thing,
    /// Its gid: digits.
    pub(super) gid: String,
}

/// Where Asana's own addresses begin.
const ASANA: &str = "https://app.asana.com/";

impl Object {
    /// The thing of that gid, if it is one.
    pub(super) fn new(thing: Thing, gid: &str) -> Option<Self> {
        let good = (1..=40).contains(&gid.len()) && gid.bytes().all(|byte| byte.is_ascii_digit());
        good.then(|| Self { thing, gid: gid.to_owned() })
    }

    /// The thing an address leads to. Asana has had several spellings, all still in use.
    pub(super) fn at(url: &str) -> Option<Self> {
        let path = url.strip_prefix(ASANA)?;
        let (path, query) = path.split_at(path.find(['?', '#']).unwrap_or(path.len()));
        let mut parts = [""; 6];
        let mut count = 0;
        for part in path.trim_end_matches('/').split('/') {
            *parts.get_mut(count)? = part;
            count += 1;
        }
        match &parts[..count] {
            ["app", "asana", "-", "get_asset"] => Self::new(Thing::Attachment, query.strip_prefix("?asset_id=")?),
            ["0", "profile", gid] | ["1", _, "profile", gid] => Self::new(Thing::User, gid),
            ["1", _, "task", gid] | ["1", _, "project", _, "task", gid] => Self::new(Thing::Task, gid),
            ["1", _, "project", gid] | ["1", _, "project", gid, _] => Self::new(Thing::Project, gid),
            ["0", gid, "list" | "board" | "timeline" | "calendar" | "overview"] => Self::new(Thing::Project, gid),
            ["0", _, gid] | ["0", _, gid, "f"] => Self::new(Thing::Task, gid),
            ["0", gid] => Self::new(Thing::Other, gid),
            _ => None,
        }
    }

    /// The one address we write for it.
    pub(super) fn url(&self) -> String {
        let gid = &self.gid;
        match self.thing {
            Thing::User => format!("{ASANA}0/profile/{gid}"),
            Thing::Task => format!("{ASANA}0/0/{gid}/f"),
            Thing::Project => format!("{ASANA}0/{gid}/list"),
            Thing::Attachment => format!("{ASANA}app/asana/-/get_asset?asset_id={gid}"),
            Thing::Other => format!("{ASANA}0/{gid}"),
        }
    }

    /// The words we write for it: never its name, which changes without the task changing.
    pub(super) fn label<'p>(&self, people: &'p People) -> Cow<'p, str> {
        match self.thing {
            Thing::User => self.person(people).map_or(Cow::Borrowed("Asana user"), |person| {
                let name = person.name.trim();
                let plain = !name.is_empty() && !name.contains(char::is_control);
                if plain { Cow::Borrowed(name) } else { Cow::Borrowed("Asana user") }
            }),
            Thing::Task => Cow::Borrowed("Asana task"),
            Thing::Project => Cow::Borrowed("Asana project"),
            Thing::Attachment => Cow::Borrowed("Asana attachment"),
            Thing::Other => Cow::Borrowed("Asana link"),
        }
    }

    /// The person it is, if it is a mapped user.
    pub(super) fn person<'p>(&self, people: &'p People) -> Option<&'p Person> {
        if self.thing == Thing::User { people.by_account(Side::Tracker, &self.gid) } else { None }
    }

    /// The login to mention for it, where the people map allows that.
    pub(super) fn login<'p>(&self, people: &'p People) -> Option<&'p str> {
        let person = self.person(people).filter(|person| person.mention)?;
        person.account[Side::Forge].as_deref().filter(|login| is_login(login))
    }
}

/// Whether a login can be mentioned: what else stands there would end the mention early.
fn is_login(login: &str) -> bool {
    login.bytes().all(is_login_byte)
        && login.starts_with(|first: char| first.is_ascii_alphanumeric())
        && login.ends_with(|last: char| last.is_ascii_alphanumeric())
}

/// Letters, digits and hyphens; managed accounts have an underscore before their suffix.
pub(super) const fn is_login_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// An address in normal form, or nothing if neither service should follow it (Asana takes http, https and mailto).
///
/// White space and what would end an address in Markdown or HTML is percent-encoded, and so is the semicolon of
/// what could be read as an entity.
pub(super) fn normal(url: &str) -> Option<Rc<str>> {
    let url = url.trim();
    let colon = url.find(':').filter(|colon| *colon <= 6)?;
    let scheme = url[..colon].to_ascii_lowercase();
    let rest = match scheme.as_str() {
        "http" | "https" => url[colon + 1..].strip_prefix("//")?,
        "mailto" => &url[colon + 1..],
        _ => return None,
    };
    if rest.is_empty() {
        return None;
    }
    let slashes = if scheme == "mailto" { "" } else { "//" };
    let mut normal = format!("{scheme}:{slashes}");
    // Where an ampersand stands with only letters and digits after it.
    let mut entity = None;
    for character in rest.chars() {
        match character {
            '<' | '>' | '"' | '\\' | '`' | '^' | '{' | '}' | '|' => percent(&mut normal, character),
            ';' if entity.is_some() => percent(&mut normal, ';'),
            _ if character.is_whitespace() || character.is_control() || super::forbidden(character) => {
                percent(&mut normal, character)
            }
            _ => normal.push(character),
        }
        entity = match character {
            '&' => Some(()),
            '#' => entity,
            _ if character.is_ascii_alphanumeric() => entity,
            _ => None,
        };
    }
    Some(normal.into())
}

/// Adds the percent-encoded bytes of a character.
fn percent(url: &mut String, character: char) {
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        url.push_str(&format!("%{byte:02X}"));
    }
}

/// What a link with words of its own comes to.
pub(super) enum Meaning {
    /// A link with words of its own, indeed.
    Link,
    /// Words that both services link by themselves, or no words at all.
    Words,
    /// An address, or something of Asana's, that needs no words.
    Piece(Piece),
}

/// What a link to `url` that shows `text` comes to.
pub(super) fn meaning(url: &Rc<str>, text: &str, people: &People) -> Meaning {
    if text.is_empty() {
        return Meaning::Words;
    }
    let object = Object::at(url);
    match &object {
        Some(object) if object.thing == Thing::User || text == object.label(people) => {
            return Meaning::Piece(Piece::Object(object.clone()));
        }
        _ => {}
    }
    if normal(text).as_ref() == Some(url) {
        return match object {
            Some(object) => Meaning::Piece(Piece::Object(object)),
            None if url.starts_with("mailto:") => Meaning::Link,
            None => Meaning::Piece(Piece::Url(url.clone())),
        };
    }
    let rest = ["mailto:", "https://", "http://"].iter().find_map(|scheme| url.strip_prefix(scheme));
    if rest.is_some_and(|rest| rest == text || rest.strip_suffix('/') == Some(text)) && !text.contains("://") {
        return Meaning::Words;
    }
    Meaning::Link
}

/// Parts running words into words, addresses and, given `people`, mentions of those who may be mentioned.
pub(super) fn find(text: &str, mentions: Option<&People>, mut found: impl FnMut(Piece)) {
    let mut rest = text;
    // Where the part of `rest` not yet looked at begins.
    let mut at = 0;
    while let Some(sign) = rest.get(at..).and_then(|ahead| ahead.find("://")).map(|sign| at + sign) {
        let start = ["https", "http"]
            .iter()
            .filter_map(|scheme| Some((sign.checked_sub(scheme.len())?, scheme)))
            .find(|(start, scheme)| {
                rest.get(*start..sign).is_some_and(|found| found.eq_ignore_ascii_case(scheme))
                    && !rest[..*start].ends_with(char::is_alphanumeric)
            })
            .map(|(start, _)| start);
        let Some(start) = start else {
            at = sign + 3;
            continue;
        };
        let length = address(&rest[start..]);
        let Some(url) = normal(&rest[start..start + length]).filter(|_| start + length > sign + 3) else {
            at = sign + 3;
            continue;
        };
        words(&rest[..start], mentions, &mut found);
        found(Object::at(&url).map_or(Piece::Url(url), Piece::Object));
        rest = &rest[start + length..];
        at = 0;
    }
    words(rest, mentions, &mut found);
}

/// How many bytes at the start of `text` are an address: up to white space or an angle bracket, without the
/// punctuation that ends a sentence and closing brackets that were not opened inside (GitHub's autolink rule).
pub(super) fn address(text: &str) -> usize {
    let mut end = text.find(|sign: char| sign.is_whitespace() || matches!(sign, '<' | '>' | '"')).unwrap_or(text.len());
    let opened = text[..end].bytes().filter(|byte| *byte == b'(').count();
    let mut closed = text[..end].bytes().filter(|byte| *byte == b')').count();
    while let Some(last) = text[..end].bytes().next_back() {
        match last {
            b'.' | b',' | b':' | b';' | b'!' | b'?' | b'*' | b'_' | b'~' | b'\'' | b']' | b'}' => end -= 1,
            b')' if closed > opened => {
                closed -= 1;
                end -= 1;
            }
            _ => break,
        }
    }
    end
}

/// Parts words without addresses into words and mentions.
fn words(text: &str, mentions: Option<&People>, found: &mut impl FnMut(Piece)) {
    let mut rest = text;
    if let Some(people) = mentions.filter(|people| !people.is_empty()) {
        let mut from = 0;
        while let Some(at) = rest[from..].find('@').map(|at| from + at) {
            let name = &rest[at + 1..];
            let name = &name[..name.bytes().position(|byte| !is_login_byte(byte)).unwrap_or(name.len())];
            let after = rest[at + 1 + name.len()..].chars().next();
            let object = name.chars().next().filter(|first| quiet::calls(&rest[..=at], *first)).and_then(|_| {
                let person = people.by_account(Side::Forge, name)?;
                let object = Object::new(Thing::User, person.account[Side::Tracker].as_deref()?)?;
                // Only if it is written the same way back.
                object.login(people).filter(|login| login.eq_ignore_ascii_case(name)).is_some().then_some(object)
            });
            match object {
                // `@org/team` is another name.
                Some(object) if after != Some('/') => {
                    plain(&rest[..at], found);
                    found(Piece::Object(object));
                    rest = &rest[at + 1 + name.len()..];
                    from = 0;
                }
                _ => from = at + 1,
            }
        }
    }
    plain(rest, found);
}

/// Hands over words, loud.
fn plain(text: &str, found: &mut impl FnMut(Piece)) {
    if !text.is_empty() {
        found(Piece::Text(quiet::loud(text).into_owned()));
    }
}
