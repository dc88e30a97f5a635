//! An item as observed on one side, its content in canonical form, and a change to write.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::{Timestamp, civil::Date};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{InvalidId, ItemKey, Side};

/// The services' clocks and ours may differ by this much: what was made since a moment of ours may be dated before it.
pub const CLOCK_SLACK: Duration = Duration::from_secs(300);

/// A field of [`Content`], or the footer we keep below the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Field {
    Title,
    Body,
    Status,
    Assignees,
    Labels,
    Due,
    /// The lines we keep below the synced body: link, due date, whole title, marker.
    Footer,
}

impl Field {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] =
        [Self::Title, Self::Body, Self::Status, Self::Assignees, Self::Labels, Self::Due, Self::Footer];

    /// The word for it in tables, JSON and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Body => "body",
            Self::Status => "status",
            Self::Assignees => "assignees",
            Self::Labels => "labels",
            Self::Due => "due",
            Self::Footer => "footer",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Whether the work stands open. The tracker has no `Dropped`; there it shows as done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Still to be done.
    #[default]
    Open,
    /// Completed.
    Done,
    /// Closed without being done (GitHub: `not_planned`, `duplicate`).
    Dropped,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Dropped => "dropped",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// Who an item is assigned to, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignees {
    /// Names from the people map, the first first, none twice.
    pub known: Vec<String>,
    /// Accounts of this side that no person is mapped to; they are kept as they are. In a base: those of the tracker.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// What an item says, in the canonical form both sides share.
///
/// As observed it is what that side shows; as a base it is the richer of both.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// One line.
    pub title: String,
    /// Canonical Markdown (see `text`), without the footer.
    pub body: String,
    /// Open, done or dropped.
    pub status: Status,
    /// Who does it.
    #[serde(default)]
    pub assignees: Assignees,
    /// Tags or labels, in the case written.
    #[serde(default)]
    pub labels: BTreeSet<String>,
    /// The day it is due; the forge has none.
    #[serde(default)]
    pub due: Option<Date>,
}

/// A digest that is equal when content is equal; 32 hexadecimal digits, and a `?` if that was not agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(pub String);

impl Fingerprint {
    /// Of anything that serialises the same way every time.
    pub fn of<T: Serialize>(value: &T) -> Self {
        let mut hasher = Sha256::new();
        // Serialising into a digest has no I/O to fail, and our types have no failing parts.
        let _ = serde_json::to_writer(Hashing(&mut hasher), value);
        Self(hex(&hasher.finalize()[..16]))
    }

    /// The same of what was shown but is not agreed on: no item has this digest, so the next look finds it moved.
    pub fn not_agreed(&self) -> Self {
        Self(format!("{}{NOT_AGREED}", self.0))
    }

    /// Whether it was taken of what has the digest `shown`, agreed on or not.
    pub fn is_of(&self, shown: &Self) -> bool {
        self.0.strip_suffix(NOT_AGREED).unwrap_or(&self.0) == shown.0
    }
}

/// Ends a digest of what was shown and not agreed on.
const NOT_AGREED: char = '?';

impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&self.0)
    }
}

/// Feeds a digest as a writer.
struct Hashing<'a>(&'a mut Sha256);

impl std::io::Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
        text
    })
}

/// The sign inside an item that names its partner: a claim, checked, not trusted.
///
/// Written `evenkeel:v1 asana:1201 check:9f3a2c1d`; the check catches a damaged or hand-made one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Marker {
    /// The item this one belongs with.
    pub partner: ItemKey,
}

impl Marker {
    /// The marker that names `partner`.
    pub const fn naming(partner: ItemKey) -> Self {
        Self { partner }
    }

    /// Eight hexadecimal digits over the name.
    pub fn check(&self) -> String {
        hex(&Sha256::digest(format!("evenkeel:v1 {}", self.partner)).as_slice()[..4])
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(&format!("evenkeel:v1 {} check:{}", self.partner, self.check()))
    }
}

impl FromStr for Marker {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let wrong = || InvalidId {
            wanted: "a marker such as evenkeel:v1 asana:1201 check:0123abcd",
            found: text.chars().take(80).collect(),
        };
        let rest = text.strip_prefix("evenkeel:v1 ").ok_or_else(wrong)?;
        let (partner, _check) = rest.split_once(" check:").ok_or_else(wrong)?;
        let marker = Self { partner: partner.parse().map_err(|_| wrong())? };
        // Comparing the whole text also refuses odd spellings of the same partner.
        if marker.to_string() == text { Ok(marker) } else { Err(wrong()) }
    }
}

impl TryFrom<String> for Marker {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<Marker> for String {
    fn from(marker: Marker) -> Self {
        marker.to_string()
    }
}

/// Where an item stands with respect to its route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// In the route's project or repository.
    #[default]
    Here,
    /// Alive, but no longer in the route's project.
    Left,
}

/// What filters look at beyond the content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// The tracker's section.
    #[serde(default)]
    pub section: Option<String>,
    /// The tracker's custom fields by name, as displayed.
    #[serde(default)]
    pub fields: BTreeMap<String, String>,
}

/// Identifiers that only the item's own side gives a meaning to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Native {
    /// A task.
    Task {
        /// Tag gid to tag name, for the tags the task carries; several may have one name.
        tags: BTreeMap<String, String>,
    },
    /// An issue.
    Issue {
        /// The repository's id, which survives a rename.
        repo_id: i64,
        /// The issue's global id.
        id: i64,
        /// The issue's GraphQL id.
        node_id: String,
    },
}

/// An item as one side shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Which item.
    pub key: ItemKey,
    /// What it says.
    pub content: Content,
    /// The footer's text below the body, if there is one.
    #[serde(default)]
    pub footer: Option<String>,
    /// The partner it claims, if it claims one.
    #[serde(default)]
    pub marker: Option<Marker>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed, as its side says; a reason to look, never a proof.
    pub updated_at: Timestamp,
    /// Where a person finds it.
    pub url: String,
    /// Whether it stands in the route.
    #[serde(default)]
    pub place: Place,
    /// What filters look at.
    #[serde(default)]
    pub facts: Facts,
    /// Identifiers of its own side.
    pub native: Native,
}

impl Item {
    /// The side that holds it.
    pub const fn side(&self) -> Side {
        self.key.side()
    }
}

/// One update of one item: only the fields that are set are written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The whole new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The whole new text: canonical body and the footer below it, in the side's spelling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<(String, Option<String>)>,
    /// The new status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    /// All assignees, the unknown ones among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignees: Option<Assignees>,
    /// All labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeSet<String>>,
}

impl Change {
    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        let Self { title, text, status, assignees, labels } = self;
        title.is_none() && text.is_none() && status.is_none() && assignees.is_none() && labels.is_none()
    }
}

/// One field of one item before and after a write, and why; values whole, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Which field.
    pub field: Field,
    /// What stood there.
    pub before: serde_json::Value,
    /// What stands there afterwards.
    pub after: serde_json::Value,
    /// Why this value.
    pub why: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_survives_the_trip_and_a_damaged_one_is_refused() {
        let marker = Marker::naming("asana:1201".parse().expect("a key"));
        assert_eq!(marker.to_string().parse::<Marker>(), Ok(marker.clone()));
        let damaged = marker.to_string().replace("1201", "1202");
        assert!(damaged.parse::<Marker>().is_err());
    }
}
