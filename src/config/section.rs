//! Walks a parsed TOML document key by key, so that every unknown key and wrong type is reported in
//! one run, each with its line; what is wrong counts as not given and the walk goes on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::faults::{Report, quote};

/// What a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Given<T> {
    /// The key is not there.
    Not,
    /// The key is there and was reported as wrong.
    Wrong,
    /// A value and its line.
    Is(T, usize),
}

impl<T> Given<T> {
    /// The value, if there is a good one.
    pub(super) fn value(self) -> Option<T> {
        match self {
            Self::Is(value, _) => Some(value),
            Self::Not | Self::Wrong => None,
        }
    }
}

/// The keys each kind of section was asked for, by its name such as `route.fields`: the schema.
pub(super) type Schema = BTreeMap<String, BTreeSet<&'static str>>;

/// One document on its walk.
pub(super) struct Walk<'a> {
    report: &'a Report,
    schema: RefCell<Schema>,
    strangers: RefCell<Vec<Stranger>>,
}

/// A key nobody asked for.
struct Stranger {
    line: usize,
    shown: String,
    key: String,
    section: String,
}

/// How far, in single edits, a known key may be from what was written to be suggested.
const EDITS_MAX: usize = 3;

impl<'a> Walk<'a> {
    pub(super) fn new(report: &'a Report) -> Self {
        Self { report, schema: RefCell::default(), strangers: RefCell::default() }
    }

    /// The document itself.
    pub(super) fn root<'t>(&'a self, table: &'t DeTable<'t>) -> Section<'a, 't> {
        Section {
            walk: self,
            name: String::new(),
            label: String::new(),
            path: String::new(),
            line: None,
            table: Some(table),
        }
    }

    /// A section that is not in the file: asking it teaches the schema and yields defaults.
    pub(super) fn absent(&'a self, name: &str) -> Section<'a, 'static> {
        Section {
            walk: self,
            name: name.to_owned(),
            label: String::new(),
            path: String::new(),
            line: None,
            table: None,
        }
    }

    /// Reports the unknown keys, now that all known ones have been asked for. Answers the schema.
    pub(super) fn finish(self) -> Schema {
        let schema = self.schema.into_inner();
        for stranger in self.strangers.into_inner() {
            let Stranger { line, shown, key, section } = stranger;
            let here = schema.get(&section);
            let near = here
                .into_iter()
                .flatten()
                .map(|known| (strsim::osa_distance(known, &key), *known))
                .filter(|(edits, known)| *edits <= EDITS_MAX.min(known.len().div_ceil(3)))
                .min();
            let elsewhere = schema.iter().filter(|(_, keys)| keys.contains(key.as_str()));
            let elsewhere: Vec<String> = elsewhere.map(|(name, _)| header(name)).collect();
            let advice = if !elsewhere.is_empty() {
                format!("{key} belongs into {}", elsewhere.join(" or "))
            } else if let Some((_, known)) = near {
                format!("did you mean {known}?")
            } else {
                let known: Vec<&str> = here.into_iter().flatten().copied().collect();
                format!("known here: {}", known.join(", "))
            };
            self.report.fault(Some(line), format!("{shown}: unknown key; {advice}"));
        }
        schema
    }
}

/// How a section's header is written.
fn header(name: &str) -> String {
    match name {
        "" => "the top of the file".to_owned(),
        "route" | "person" => format!("[[{name}]]"),
        _ => format!("[{name}]"),
    }
}

/// One table of the document, or the place where it would be.
pub(super) struct Section<'a, 't> {
    walk: &'a Walk<'a>,
    /// Its name in the schema: `route.fields`.
    name: String,
    /// What stands before the key in messages: `route "app": `.
    label: String,
    /// The part of the key's path that messages show: `fields.`.
    path: String,
    /// Where it begins.
    pub(super) line: Option<usize>,
    table: Option<&'t DeTable<'t>>,
}

impl<'a, 't> Section<'a, 't> {
    /// Whether it is in the file.
    pub(super) fn present(&self) -> bool {
        self.table.is_some()
    }

    /// Names it in the messages that follow, in place of its path.
    pub(super) fn call(&mut self, label: String) {
        self.label = label;
    }

    /// A key of it, as messages show it.
    pub(super) fn shown(&self, key: &str) -> String {
        format!("{}{}{key}", self.label, self.path)
    }

    /// Notes a fault about one of its keys: what was found, and what to write instead.
    pub(super) fn fault(&self, line: usize, key: &str, what: impl std::fmt::Display) {
        self.walk.report.fault(Some(line), format!("{}: {what}", self.shown(key)));
    }

    /// Notes that a value of one of its keys is not good.
    pub(super) fn fault_value(&self, line: usize, key: &str, value: &str, what: impl std::fmt::Display) {
        self.walk.report.fault(Some(line), format!("{} = {}: {what}", self.shown(key), quote(value)));
    }

    /// Notes that a key is missing.
    pub(super) fn fault_missing(&self, key: &str, what: impl std::fmt::Display) {
        self.walk.report.fault_missing(self.line, format!("{}: missing; {what}", self.shown(key)));
    }

    /// A table below it, present or not.
    pub(super) fn section(&self, key: &'static str) -> Section<'a, 't> {
        let (table, line) = match self.get(key) {
            Some((line, DeValue::Table(table))) => (Some(table), Some(line)),
            Some((line, other)) => {
                let name = self.below(key);
                self.misshapen(
                    line,
                    key,
                    other,
                    &format!("a section; write [{name}] on a line of its own and its keys below"),
                );
                (None, None)
            }
            None => (None, None),
        };
        Section {
            walk: self.walk,
            name: self.below(key),
            label: self.label.clone(),
            path: format!("{}{key}.", self.path),
            line,
            table,
        }
    }

    /// The tables of an array of tables; they have no path of their own until they are named.
    pub(super) fn list(&self, key: &'static str) -> Vec<Section<'a, 't>> {
        let wanted = format!("a list of sections; write [[{key}]] on a line of its own for each");
        let entries = match self.get(key) {
            None => return Vec::new(),
            Some((_, DeValue::Array(entries))) => entries,
            Some((line, other)) => {
                self.misshapen(line, key, other, &wanted);
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (at, entry) in entries.iter().enumerate() {
            let line = self.walk.report.line(entry.span().start);
            match entry.get_ref() {
                DeValue::Table(table) => found.push(Section {
                    walk: self.walk,
                    name: self.below(key),
                    label: format!("{key} {}: ", at + 1),
                    path: String::new(),
                    line: Some(line),
                    table: Some(table),
                }),
                other => self.misshapen(line, key, other, &wanted),
            }
        }
        found
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str, example: &str) -> Given<String> {
        match self.get(key) {
            None => Given::Not,
            Some((line, DeValue::String(text))) => Given::Is(text.clone().into_owned(), line),
            Some((line, other)) => {
                self.wrong(line, key, other, &format!("a text such as {example:?}"));
                Given::Wrong
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &'static str, bounds: RangeInclusive<u64>, default: u64) -> u64 {
        let Some((line, value)) = self.get(key) else { return default };
        let (low, high) = (bounds.start(), bounds.end());
        let DeValue::Integer(number) = value else {
            self.wrong(line, key, value, &format!("a whole number from {low} to {high} such as {default}"));
            return default;
        };
        // Beyond 64 bits is beyond every bound.
        let found = i128::from_str_radix(number.as_str(), number.radix()).unwrap_or(i128::MAX);
        match u64::try_from(found) {
            Ok(number) if bounds.contains(&number) => number,
            _ => {
                self.fault(line, key, format!("{found} is out of bounds; write a whole number from {low} to {high}"));
                default
            }
        }
    }

    /// Yes or no.
    pub(super) fn flag(&self, key: &'static str, default: bool) -> bool {
        match self.get(key) {
            None => default,
            Some((_, DeValue::Boolean(flag))) => *flag,
            Some((line, other)) => {
                self.wrong(line, key, other, "true or false, without quotes");
                default
            }
        }
    }

    /// One word of a few; `noun` says what the word is.
    pub(super) fn word<T: Copy>(&self, key: &'static str, noun: &str, words: &[(&str, T)], default: T) -> T {
        let first = words.first().map_or("", |(word, _)| word);
        let Given::Is(text, line) = self.text(key, first) else { return default };
        if let Some((_, meaning)) = words.iter().find(|(word, _)| *word == text) {
            return *meaning;
        }
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        self.fault_value(line, key, &text, format!("unknown {noun}; write one of {}", known.join(", ")));
        default
    }

    /// A list of texts, none of them empty.
    pub(super) fn texts(&self, key: &'static str, example: &str) -> Vec<String> {
        self.texts_with_lines(key, example).into_iter().map(|(text, _)| text).collect()
    }

    /// A list of texts, none of them empty, each with its line.
    pub(super) fn texts_with_lines(&self, key: &'static str, example: &str) -> Vec<(String, usize)> {
        let wanted = format!("a list of texts such as [{example:?}]");
        let entries = match self.get(key) {
            None => return Vec::new(),
            Some((_, DeValue::Array(entries))) => entries,
            Some((line, other)) => {
                self.wrong(line, key, other, &wanted);
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for entry in entries {
            let line = self.walk.report.line(entry.span().start);
            match entry.get_ref() {
                DeValue::String(text) if text.trim().is_empty() => {
                    self.fault(line, key, "an empty text in the list; remove it");
                }
                DeValue::String(text) => found.push((text.clone().into_owned(), line)),
                other => self.wrong(line, key, other, &wanted),
            }
        }
        found
    }

    /// A table of free names, each with a text.
    pub(super) fn pairs(&self, key: &'static str, example: &str) -> Vec<(String, String)> {
        let wanted = format!("names with texts such as {example}");
        let table = match self.get(key) {
            None => return Vec::new(),
            Some((_, DeValue::Table(table))) => table,
            Some((line, other)) => {
                self.wrong(line, key, other, &wanted);
                return Vec::new();
            }
        };
        let mut found = Vec::new();
        for (name, value) in table {
            match value.get_ref() {
                DeValue::String(text) => found.push((name.get_ref().clone().into_owned(), text.clone().into_owned())),
                other => self.wrong(self.walk.report.line(value.span().start), key, other, &wanted),
            }
        }
        found
    }

    /// A small table such as `{ env = "NAME" }`: its only key and text. A plain text is answered as such.
    pub(super) fn reference(&self, key: &'static str, wanted: &str) -> Given<Reference> {
        let (line, value) = match self.get(key) {
            None => return Given::Not,
            Some(found) => found,
        };
        match value {
            DeValue::String(text) => return Given::Is(Reference::Literal(text.clone().into_owned()), line),
            DeValue::Table(table) => {
                let mut entries = table.iter();
                if let (Some((kind, target)), None) = (entries.next(), entries.next())
                    && let DeValue::String(target) = target.get_ref()
                {
                    let kind = kind.get_ref().clone().into_owned();
                    return Given::Is(Reference::Named(kind, target.clone().into_owned()), line);
                }
                self.fault(line, key, format!("not a secret reference; write {wanted}"));
            }
            other => self.fault(line, key, format!("found {}; write {wanted}", kind_of(other))),
        }
        Given::Wrong
    }

    /// Ends the section: the keys nobody asked for are unknown.
    pub(super) fn finish(self) {
        let Some(table) = self.table else { return };
        let schema = self.walk.schema.borrow();
        let known = schema.get(&self.name);
        for (key, _) in table {
            if !known.is_some_and(|known| known.contains(key.get_ref().as_ref())) {
                self.walk.strangers.borrow_mut().push(Stranger {
                    line: self.walk.report.line(key.span().start),
                    shown: self.shown(&key.get_ref().escape_debug().to_string()),
                    key: key.get_ref().clone().into_owned(),
                    section: self.name.clone(),
                });
            }
        }
    }

    /// The line and value of a key; asking for it makes it known.
    fn get(&self, key: &'static str) -> Option<(usize, &'t DeValue<'t>)> {
        self.walk.schema.borrow_mut().entry(self.name.clone()).or_default().insert(key);
        let (name, value): (&Spanned<_>, &'t Spanned<DeValue<'t>>) = self.table?.get_key_value(key)?;
        Some((self.walk.report.line(name.span().start), value.get_ref()))
    }

    fn below(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    /// Notes that a section stands where a list of them belongs, or the reverse. A header that could
    /// not be read looks the same, so it is not said of a document that is a guess.
    fn misshapen(&self, line: usize, key: &str, found: &DeValue<'_>, wanted: &str) {
        let what = format!("{}: found {}, wanted {wanted}", self.shown(key), kind_of(found));
        self.walk.report.fault_missing(Some(line), what);
    }

    fn wrong(&self, line: usize, key: &str, found: &DeValue<'_>, wanted: &str) {
        self.fault(line, key, format!("found {}, wanted {wanted}", kind_of(found)));
    }
}

/// What a secret reference may look like in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A text written out.
    Literal(String),
    /// `{ kind = "target" }`.
    Named(String, String),
}

/// What a value is, in words, with numbers and flags shown.
fn kind_of(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(_) => "a text".to_owned(),
        DeValue::Integer(number) => format!("the number {}", number.as_str().chars().take(40).collect::<String>()),
        DeValue::Float(number) => format!("the number {}", number.as_str().chars().take(40).collect::<String>()),
        DeValue::Boolean(flag) => format!("{flag}"),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}
