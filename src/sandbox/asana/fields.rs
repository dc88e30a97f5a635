//! `opt_fields`, and records that show exactly what was asked for (asana-api.md §1.4).

use serde::Serialize;

use crate::sandbox::json::{Object, value_into};

/// The fields asked for, as a tree of dotted paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fields(Vec<(String, Fields)>);

/// Names looked at in one `opt_fields`; the rest is ignored.
const NAMES_MAX: usize = 400;
/// Levels of a dotted path that are looked at.
const DEPTH_MAX: usize = 8;

impl Fields {
    /// Reads `name,assignee.email,(followers|assignee).name,this.notes`.
    pub fn parse(text: &str) -> Self {
        let mut fields = Self::default();
        for path in text.split(',').map(str::trim).filter(|path| !path.is_empty()).take(NAMES_MAX) {
            let path = path.strip_prefix("this.").unwrap_or(path);
            let mut nodes: Vec<Vec<String>> = vec![Vec::new()];
            for term in path.split('.').take(DEPTH_MAX) {
                let names: Vec<&str> = term.trim_start_matches('(').trim_end_matches(')').split('|').collect();
                nodes = nodes
                    .iter()
                    .flat_map(|stem| {
                        names.iter().map(move |name| stem.iter().cloned().chain([(*name).to_owned()]).collect())
                    })
                    .take(NAMES_MAX)
                    .collect();
            }
            for node in nodes {
                fields.insert(&node);
            }
        }
        fields
    }

    fn insert(&mut self, path: &[String]) {
        let mut here = self;
        for name in path {
            let at = here.0.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                here.0.push((name.clone(), Self::default()));
                here.0.len() - 1
            });
            let Some((_, next)) = here.0.get_mut(at) else { return };
            here = next;
        }
    }

    fn get(&self, name: &str) -> Option<&Self> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, below)| below)
    }
}

/// How much of a record is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) enum Want<'f> {
    /// `gid` and `resource_type`: a nested object named without a sub-field.
    Bare,
    /// What a list shows when nothing is asked for.
    Compact,
    /// What a single object shows when nothing is asked for.
    Full,
    /// Exactly these, and `gid`.
    Only(&'f Fields),
}

/// From when on a field shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Always, even bare.
    Bare,
    /// In compact and full records.
    Compact,
    /// In full records.
    Full,
    /// Only when named.
    OptIn,
}

/// A record being written, field by field as wanted.
pub(super) struct Record<'o, 'f> {
    object: Object<'o>,
    want: Want<'f>,
}

impl<'o, 'f> Record<'o, 'f> {
    /// Opens a record with its gid.
    pub fn open(out: &'o mut Vec<u8>, want: Want<'f>, gid: u64, resource_type: &str) -> Self {
        let mut object = Object::open(out);
        object.key("gid").extend_from_slice(format!("\"{gid}\"").as_bytes());
        let mut record = Self { object, want };
        record.put(Level::Bare, "resource_type", resource_type);
        record
    }

    /// Opens something that has no gid (an event, a membership).
    pub fn open_plain(out: &'o mut Vec<u8>, want: Want<'f>) -> Self {
        Self { object: Object::open(out), want }
    }

    /// How much of the nested object `name` is wanted; `None` when it is not. Writes no key yet.
    pub fn wants(&self, level: Level, name: &str) -> Option<Want<'f>> {
        match self.want {
            Want::Bare => (level == Level::Bare).then_some(Want::Bare),
            Want::Compact => (level <= Level::Compact).then_some(Want::Compact),
            Want::Full => (level <= Level::Full).then_some(Want::Compact),
            Want::Only(fields) => {
                let below = fields.get(name)?;
                Some(if below.0.is_empty() { Want::Bare } else { Want::Only(below) })
            }
        }
    }

    /// Writes the key if it is wanted, and answers where the value goes and how much of it is wanted.
    pub fn nested(&mut self, level: Level, name: &str) -> Option<(&mut Vec<u8>, Want<'f>)> {
        let want = self.wants(level, name)?;
        Some((self.object.key(name), want))
    }

    /// A plain value.
    pub fn put<T: Serialize + ?Sized>(&mut self, level: Level, name: &str, value: &T) {
        self.with(level, name, || value);
    }

    /// A plain value that costs something to make.
    pub fn with<T: Serialize>(&mut self, level: Level, name: &str, make: impl FnOnce() -> T) {
        if let Some((out, _)) = self.nested(level, name) {
            value_into(out, &make());
        }
    }

    /// Closes the record.
    pub fn close(self) {
        self.object.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_a_tree_and_groups_are_spread() {
        let fields = Fields::parse("name, this.notes,(followers|assignee).name,assignee.email");
        assert_eq!(fields, Fields::parse("name,notes,followers.name,assignee.name,assignee.email"));
        assert!(fields.get("assignee").and_then(|below| below.get("email")).is_some());
        assert!(fields.get("email").is_none());
    }
}
