//! Who is who on both sides. Somebody who is not listed is *unknown*, never *nobody*.

use serde::{Deserialize, Serialize};

use super::{BySide, Side};

/// One person with their account on either side.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// How the configuration and the history call them; unique.
    pub name: String,
    /// The tracker's user gid (digits) and the forge's login.
    pub account: BySide<Option<String>>,
    /// Whether a mention that crosses over may notify them.
    pub mention: bool,
}

/// The people of a route; look-ups ignore the case of logins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct People(Vec<Person>);

impl People {
    /// From a list whose names and accounts are unique (the configuration checks that).
    pub const fn new(people: Vec<Person>) -> Self {
        Self(people)
    }

    /// Whether nobody is mapped.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everybody, in the order of the configuration.
    pub fn iter(&self) -> impl Iterator<Item = &Person> {
        self.0.iter()
    }

    /// Who an account belongs to; `None` is *unknown*.
    pub fn by_account(&self, side: Side, account: &str) -> Option<&Person> {
        self.0
            .iter()
            .find(|person| person.account[side].as_deref().is_some_and(|known| known.eq_ignore_ascii_case(account)))
    }

    /// The person of that name.
    pub fn by_name(&self, name: &str) -> Option<&Person> {
        self.0.iter().find(|person| person.name == name)
    }

    /// The account a named person has on a side.
    pub fn account(&self, side: Side, name: &str) -> Option<&str> {
        self.by_name(name)?.account[side].as_deref()
    }
}
