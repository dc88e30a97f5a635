//! Identifiers, checked once at the door: a value of one of these types is well formed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Side;

/// Text that is no identifier of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidId {
    /// What was wanted, with an example.
    pub wanted: &'static str,
    /// What was found, cut at 80 characters.
    pub found: String,
}

impl InvalidId {
    fn new(wanted: &'static str, found: &str) -> Self {
        Self { wanted, found: found.chars().take(80).collect() }
    }
}

impl fmt::Display for InvalidId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?} is not {}", self.found, self.wanted)
    }
}

impl std::error::Error for InvalidId {}

/// Declares a checked text identifier with its conversions.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $wanted:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidId::new($wanted, text)) }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.pad(&self.0)
            }
        }
    };
}

/// Asana's gids are strings of digits of no fixed width; 40 is far beyond any seen.
fn is_gid(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

text_id! {
    /// A task of the tracker: digits, kept as text because no width is promised.
    TaskGid, "a task gid such as 1201234567890123 (digits only)", is_gid
}
text_id! {
    /// A project of the tracker: digits, kept as text.
    ProjectGid, "a project gid such as 1201234567890123 (digits only)", is_gid
}
text_id! {
    /// The name of a route: how an operator and the tables call it.
    RouteName, "a route name such as app (1 to 64 of a-z, 0-9, - and _)",
    |text| (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_')
}

/// A repository by owner and name. Equal whatever the case, as GitHub has it; keeps the case given.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName {
    text: String,
    slash: usize,
}

impl RepoName {
    /// `owner/name`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the slash.
    pub fn owner(&self) -> &str {
        self.text.get(..self.slash).unwrap_or_default()
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        self.text.get(self.slash + 1..).unwrap_or_default()
    }

    /// The form to compare and to index by.
    pub fn folded(&self) -> String {
        self.text.to_ascii_lowercase()
    }
}

impl FromStr for RepoName {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let fits = |part: &str| {
            (1..=100).contains(&part.len())
                && part != "."
                && part != ".."
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match text.split_once('/') {
            Some((owner, name)) if fits(owner) && fits(name) => Ok(Self { text: text.to_owned(), slash: owner.len() }),
            _ => Err(InvalidId::new("a repository such as acme/app (owner, slash, name)", text)),
        }
    }
}

impl PartialEq for RepoName {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for RepoName {}

impl PartialOrd for RepoName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RepoName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.folded().cmp(&other.folded())
    }
}

impl std::hash::Hash for RepoName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.folded().hash(state);
    }
}

impl TryFrom<String> for RepoName {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(repo: RepoName) -> Self {
        repo.text
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.text)
    }
}

/// The number of an issue in its repository, from 1; shared with pull requests, never reused.
pub type IssueNumber = u64;

/// An issue by repository and number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IssueRef {
    /// Where it lives.
    pub repo: RepoName,
    /// Its number there.
    pub number: IssueNumber,
}

impl fmt::Display for IssueRef {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("{}#{}", self.repo, self.number))
    }
}

impl FromStr for IssueRef {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId::new("an issue such as acme/app#17", text);
        let (repo, number) = text.split_once('#').ok_or_else(wrong)?;
        let number = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        Ok(Self { repo: repo.parse().map_err(|_| wrong())?, number })
    }
}

/// An item of either side, as an operator writes it: `asana:1201` or `github:acme/app#17`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum ItemKey {
    /// A task of the tracker.
    Task(TaskGid),
    /// An issue of the forge.
    Issue(IssueRef),
}

impl ItemKey {
    /// The side that holds it.
    pub const fn side(&self) -> Side {
        match self {
            Self::Task(_) => Side::Tracker,
            Self::Issue(_) => Side::Forge,
        }
    }
}

impl fmt::Display for ItemKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Task(gid) => out.pad(&format!("asana:{gid}")),
            Self::Issue(issue) => out.pad(&format!("github:{issue}")),
        }
    }
}

impl FromStr for ItemKey {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId::new("an item such as asana:1201 or github:acme/app#17", text);
        match text.split_once(':') {
            Some(("asana", gid)) => gid.parse().map(Self::Task).map_err(|_| wrong()),
            Some(("github", issue)) => issue.parse().map(Self::Issue).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for ItemKey {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<ItemKey> for String {
    fn from(key: ItemKey) -> Self {
        key.to_string()
    }
}

/// Declares a row number given out by the store.
macro_rules! row_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(out)
            }
        }
    };
}

row_id! {
    /// A link's row.
    LinkId
}
row_id! {
    /// A pass's row.
    PassId
}
row_id! {
    /// An intent's row.
    IntentId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_trip_through_text() {
        for text in ["asana:1201", "github:acme/app#17"] {
            assert_eq!(text.parse::<ItemKey>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_identifier_is_refused_with_an_example() {
        for text in ["", "asana:", "asana:12a", "github:acme#1", "github:acme/app#0", "github:../x#1", "1201"] {
            let error = text.parse::<ItemKey>().expect_err(text);
            assert!(error.to_string().contains("github:acme/app#17"), "{error}");
        }
    }

    #[test]
    fn repositories_are_equal_whatever_the_case() {
        let one: RepoName = "Acme/App".parse().expect("a name");
        assert_eq!(one, "acme/app".parse().expect("a name"));
        assert_eq!((one.owner(), one.name(), one.as_str()), ("Acme", "App", "Acme/App"));
    }
}
