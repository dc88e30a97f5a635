//! What a call asks, checked: its query, its body, its headers. What is not known is refused by name.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::fault::{Code, Fault};
use crate::model::{Field, Fingerprint, ItemKey, RouteName, Status, TaskGid};
use crate::server::message::Head;

/// The longest reason in characters: a paragraph; it is kept with every entry it causes.
const REASON_CHARS_MAX: usize = 1_000;

/// The longest name of a person or a script in characters.
const WHO_CHARS_MAX: usize = 100;

/// The longest Idempotency-Key in bytes.
const KEY_BYTES_MAX: usize = 255;

/// So many items on a page, unless the call says otherwise...
const LIMIT: u32 = 50;
/// ...and at most; fewer when their texts are long.
const LIMIT_MAX: u32 = 200;

/// How much of what was sent is shown in a message, in characters.
const SHOWN_CHARS_MAX: usize = 200;

/// Refuses a body that is not JSON, or is packed.
pub(super) fn is_json(head: &Head) -> Result<(), Fault> {
    let mut types = head.values("content-type");
    let kind = types.next().map(|text| text.split(';').next().unwrap_or_default().trim());
    if types.next().is_some() || !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        let message = "send the body as `Content-Type: application/json`";
        return Err(Fault::new(Code::UnsupportedMediaType, message).with("Accept-Post", "application/json"));
    }
    if head.values("content-encoding").any(|coding| !coding.trim().eq_ignore_ascii_case("identity")) {
        return Err(Fault::new(Code::UnsupportedMediaType, "send the body as it is, not packed"));
    }
    Ok(())
}

/// The Idempotency-Key, if there is one.
pub(super) fn idempotency_key(head: &Head) -> Result<Option<String>, Fault> {
    let mut keys = head.values("idempotency-key");
    let Some(key) = keys.next() else { return Ok(None) };
    let visible = !key.is_empty() && key.len() <= KEY_BYTES_MAX && key.bytes().all(|byte| byte.is_ascii_graphic());
    if keys.next().is_some() || !visible {
        let message = format!("Idempotency-Key: send one of 1 to {KEY_BYTES_MAX} visible ASCII characters");
        return Err(Fault::invalid(message));
    }
    Ok(Some(key.to_owned()))
}

/// A query whose keys are all known and there once.
pub(super) struct Query<'a> {
    pairs: BTreeMap<&'a str, &'a str>,
    /// Names the query to its cursors: they are good for no other.
    print: String,
}

impl<'a> Query<'a> {
    pub(super) fn new(head: &'a Head, known: &[&str]) -> Result<Self, Fault> {
        let mut pairs = BTreeMap::new();
        for (key, value) in &head.query {
            if !known.contains(&key.as_str()) {
                let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Fault::invalid(format!("{}: unknown parameter; known here: {list}", shown(key))));
            }
            if pairs.insert(key.as_str(), value.as_str()).is_some() {
                return Err(Fault::invalid(format!("{key}: it is there twice")));
            }
        }
        let named: Vec<_> = pairs.iter().filter(|(key, _)| !matches!(**key, "cursor" | "limit")).collect();
        let print = Fingerprint::of(&(&head.path, named)).0.chars().take(8).collect();
        Ok(Self { pairs, print })
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.pairs.contains_key(key)
    }

    /// A value that reads itself from text.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&self, key: &str) -> Result<Option<T>, Fault> {
        let Some(text) = self.pairs.get(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|error| Fault::invalid(format!("{key}: {error}")))
    }

    pub(super) fn route(&self) -> Result<Option<RouteName>, Fault> {
        self.parsed("route")
    }

    pub(super) fn item(&self) -> Result<Option<ItemKey>, Fault> {
        self.parsed("item")
    }

    /// A row number.
    pub(super) fn row(&self, key: &str) -> Result<Option<i64>, Fault> {
        self.pairs.get(key).map(|text| row(key, text)).transpose()
    }

    pub(super) fn flag(&self, key: &str) -> Result<Option<bool>, Fault> {
        self.word(key, &[("true", true), ("false", false)])
    }

    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, Fault> {
        let Some(text) = self.pairs.get(key) else { return Ok(None) };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| word == text) {
            return Ok(Some(*meaning));
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        Err(Fault::invalid(format!("{key}: {} is not one of {}", shown(text), known.join(", "))))
    }

    pub(super) fn limit(&self) -> Result<u32, Fault> {
        let Some(text) = self.pairs.get("limit") else { return Ok(LIMIT) };
        let bounds: RangeInclusive<u32> = 1..=LIMIT_MAX;
        text.parse()
            .ok()
            .filter(|limit| bounds.contains(limit))
            .ok_or_else(|| Fault::invalid(format!("limit: {} is no whole number from 1 to {LIMIT_MAX}", shown(text))))
    }

    /// The row after which the page begins.
    pub(super) fn cursor(&self) -> Result<Option<i64>, Fault> {
        let Some(text) = self.pairs.get("cursor") else { return Ok(None) };
        let row = text.split_once('-').filter(|(_, print)| *print == self.print);
        let row = row.and_then(|(row, _)| i64::from_str_radix(row, 16).ok()).filter(|row| *row > 0);
        row.map(Some).ok_or_else(|| {
            Fault::invalid("cursor: it is not the `next` of a page of this very query; begin without one")
        })
    }

    /// The cursor of the page after `row`.
    pub(super) fn next(&self, row: i64) -> String {
        format!("{row:x}-{}", self.print)
    }
}

/// A row number in a path or a query.
pub(super) fn row(what: &str, text: &str) -> Result<i64, Fault> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|row| digits && *row > 0)
        .ok_or_else(|| Fault::invalid(format!("{what}: {} is no whole number from 1 to {}", shown(text), i64::MAX)))
}

/// The gid of a task in a path or a body.
pub(super) fn gid(what: &str, text: &str) -> Result<TaskGid, Fault> {
    text.parse().map_err(|error| Fault::invalid(format!("{what}: {error}")))
}

/// What every writing call says.
pub(super) struct Said {
    /// Why.
    pub(super) reason: String,
    /// `api`, or `api:WHO`.
    pub(super) actor: String,
}

/// Declares the bodies of calls: what they hold beside reason and who.
macro_rules! bodies {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* })*) => {
        $(
            $(#[$doc])*
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            pub(super) struct $name {
                reason: String,
                who: Option<String>,
                $(pub(super) $field: $kind,)*
            }

            impl Body for $name {
                fn said(&self) -> (&str, Option<&str>) {
                    (&self.reason, self.who.as_deref())
                }
            }
        )*
    };
}

/// The body of a writing call.
pub(super) trait Body: DeserializeOwned {
    fn said(&self) -> (&str, Option<&str>);
}

bodies! {
    /// Of a call that needs nothing more.
    Plain {}
    /// Of `sync`.
    SyncBody { asana_task_gid: String, route: Option<String> }
    /// Of `close`.
    CloseBody { status: Option<Closed> }
    /// Of `resolve`.
    ResolveBody { asana_task_gid: String, field: Option<Field>, take: Taken, text: Option<String>, seen: Option<String> }
    /// Of `reconcile`.
    ReconcileBody { route: Option<String>, full: Option<bool> }
}

/// What is taken of a field that waits.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Taken {
    /// Asana's.
    Tracker,
    /// GitHub's.
    Forge,
    /// Both versions of a text.
    Both,
    /// The text that is sent.
    Text,
}

/// How something is closed.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Closed {
    /// It is done.
    Done,
    /// It will not be done.
    Dropped,
}

impl From<Closed> for Status {
    fn from(closed: Closed) -> Self {
        match closed {
            Closed::Done => Self::Done,
            Closed::Dropped => Self::Dropped,
        }
    }
}

/// Reads a body. The reader bounds how deep it may be nested.
pub(super) fn body<B: Body>(bytes: &[u8]) -> Result<(B, Said), Fault> {
    if bytes.is_empty() {
        return Err(Fault::invalid("the body is empty; send JSON such as {\"reason\": \"why\"}"));
    }
    // The reader would take a list for an object, value by value.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Fault::invalid("the body is not as it must be: expected an object such as {\"reason\": \"why\"}"));
    }
    let body: B = serde_json::from_slice(bytes)
        .map_err(|error| Fault::invalid(format!("the body is not as it must be: {}", cut(&error.to_string()))))?;
    let (reason, who) = body.said();
    let reason = line("reason", reason, REASON_CHARS_MAX)?;
    let who = who.map(|who| line("who", who, WHO_CHARS_MAX)).transpose()?;
    let actor = who.map_or_else(|| "api".to_owned(), |who| format!("api:{who}"));
    Ok((body, Said { reason, actor }))
}

/// A text of one line that says something.
fn line(field: &str, text: &str, chars_max: usize) -> Result<String, Fault> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Fault::invalid(format!("{field}: it is empty; whoever reads the history later needs it")));
    }
    if text.chars().count() > chars_max {
        return Err(Fault::invalid(format!("{field}: it is longer than {chars_max} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Fault::invalid(format!("{field}: it holds control characters; write one line of text")));
    }
    Ok(text.to_owned())
}

/// What was sent, quoted and cut.
fn shown(text: &str) -> String {
    format!("{:?}", cut(text))
}

fn cut(text: &str) -> String {
    let mut cut: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    cut
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server::message::RequestId;

    fn head(query: Vec<(String, String)>, headers: Vec<(String, String)>) -> Head {
        let id = RequestId::from_outside("0123456789abcdef").expect("an id");
        Head { id, method: "GET".to_owned(), path: "/api/tasks".to_owned(), query, headers, peer: None }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic_and_what_is_taken_says_why_in_one_line(
            bytes in prop::collection::vec(any::<u8>(), 0..200), reason in any::<String>(), who in any::<Option<String>>(),
        ) {
            let _ = body::<SyncBody>(&bytes);
            let sent = serde_json::json!({ "reason": reason, "who": who });
            let (one, other) = (body::<Plain>(sent.to_string().as_bytes()), body::<ReconcileBody>(&bytes));
            for said in [one.map(|(_, said)| said), other.map(|(_, said)| said)].into_iter().flatten() {
                prop_assert!(!said.reason.trim().is_empty() && said.reason.chars().count() <= REASON_CHARS_MAX);
                prop_assert!(!said.reason.chars().chain(said.actor.chars()).any(char::is_control));
                prop_assert!(said.actor == "api" || said.actor.starts_with("api:"));
            }
        }

        #[test]
        fn no_query_makes_it_panic_and_a_cursor_is_good_for_its_own_query_only(
            route in any::<String>(), cursor in any::<String>(), limit in any::<String>(), row in 1..i64::MAX,
        ) {
            let pairs = |cursor: &str, route: &str| {
                let pairs = [("cursor", cursor), ("route", route), ("limit", &limit)];
                pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
            };
            let known = ["cursor", "route", "limit"];
            let any = head(pairs(&cursor, &route), Vec::new());
            let query = Query::new(&any, &known).expect("each once");
            let _ = (query.route(), query.limit(), query.cursor(), query.row("route"), query.flag("route"));
            let next = query.next(row);
            let same = head(pairs(&next, &route), Vec::new());
            prop_assert_eq!(Query::new(&same, &known).expect("each once").cursor().ok(), Some(Some(row)));
            let other = head(pairs(&next, &format!("{route}x")), Vec::new());
            prop_assert!(Query::new(&other, &known).expect("each once").cursor().is_err());
        }

        #[test]
        fn no_header_makes_it_panic_and_a_key_is_visible(key in any::<String>(), kind in any::<String>()) {
            let sent = vec![("idempotency-key".to_owned(), key), ("content-type".to_owned(), kind)];
            let head = head(Vec::new(), sent);
            let _ = is_json(&head);
            if let Ok(Some(key)) = idempotency_key(&head) {
                prop_assert!(key.bytes().all(|byte| byte.is_ascii_graphic()) && key.len() <= KEY_BYTES_MAX);
            }
        }
    }
}
