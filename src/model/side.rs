//! The two roles of a route, and pairs of things addressed by role.

use std::fmt;
use std::ops::{Index, IndexMut};

use serde::{Deserialize, Serialize};

/// A role: who holds an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Holds tasks (Asana).
    Tracker,
    /// Holds issues (GitHub).
    Forge,
}

impl Side {
    /// Both, in the order in which they are always shown.
    pub const BOTH: [Self; 2] = [Self::Tracker, Self::Forge];

    /// The other one.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Tracker => Self::Forge,
            Self::Forge => Self::Tracker,
        }
    }

    /// The word for it in tables, JSON and settings.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tracker => "tracker",
            Self::Forge => "forge",
        }
    }

    /// The service a person knows it by.
    pub const fn service(self) -> &'static str {
        match self {
            Self::Tracker => "asana",
            Self::Forge => "github",
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.as_str())
    }
}

/// One value for each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BySide<T> {
    /// The tracker's.
    pub tracker: T,
    /// The forge's.
    pub forge: T,
}

impl<T> BySide<T> {
    /// Makes both from one rule.
    pub fn from_fn(mut make: impl FnMut(Side) -> T) -> Self {
        Self { tracker: make(Side::Tracker), forge: make(Side::Forge) }
    }

    /// Turns both into something else.
    pub fn map<U>(self, mut turn: impl FnMut(T) -> U) -> BySide<U> {
        BySide { tracker: turn(self.tracker), forge: turn(self.forge) }
    }

    /// The two exchanged.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self { tracker: self.forge, forge: self.tracker }
    }

    /// References to both.
    pub const fn as_ref(&self) -> BySide<&T> {
        BySide { tracker: &self.tracker, forge: &self.forge }
    }

    /// Both with their side, tracker first.
    pub fn iter(&self) -> impl Iterator<Item = (Side, &T)> {
        Side::BOTH.into_iter().map(|side| (side, &self[side]))
    }
}

impl<T> Index<Side> for BySide<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Tracker => &self.tracker,
            Side::Forge => &self.forge,
        }
    }
}

impl<T> IndexMut<Side> for BySide<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Tracker => &mut self.tracker,
            Side::Forge => &mut self.forge,
        }
    }
}
