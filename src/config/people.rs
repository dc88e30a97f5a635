//! The people of the configuration: who has which account on either side, none twice.

use super::faults::quote;
use super::section::{Given, Section, Walk};
use crate::model::{BySide, People, Person, ProjectGid, Side};

/// Everybody, none twice.
pub(super) fn people(walk: &Walk<'_>, root: &Section<'_, '_>) -> People {
    let mut people: Vec<(Person, usize)> = Vec::new();
    let sections = root.list("person");
    if sections.is_empty() {
        person(walk.absent("person"));
    }
    for section in sections {
        let line = section.line.unwrap_or_default();
        let Some((found, section)) = person(section) else { continue };
        for (known, before) in &people {
            if known.name == found.name {
                section.fault(line, "name", format!("the person of line {before} has it too; names are unique"));
            }
            for (side, key) in [(Side::Tracker, "asana"), (Side::Forge, "github")] {
                let same = |one: &Option<String>, two: &Option<String>| match (one, two) {
                    (Some(one), Some(two)) => one.eq_ignore_ascii_case(two),
                    _ => false,
                };
                if same(&known.account[side], &found.account[side]) {
                    section.fault(
                        line,
                        key,
                        format!("the person of line {before} has it too; an account has one person"),
                    );
                }
            }
        }
        section.finish();
        people.push((found, line));
    }
    People::new(people.into_iter().map(|(person, _)| person).collect())
}

/// One person; the section comes back for what can only be said about all of them.
fn person<'a, 't>(mut section: Section<'a, 't>) -> Option<(Person, Section<'a, 't>)> {
    let name = match section.text("name", "Ann") {
        Given::Is(name, line) => {
            if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
                section.fault_value(line, "name", &name, "not a name of 1 to 100 letters on one line");
                None
            } else {
                section.call(format!("person {}: ", quote(&name)));
                Some(name)
            }
        }
        Given::Wrong => None,
        Given::Not => {
            if section.present() {
                section.fault_missing("name", "write name = \"Ann\"");
            }
            None
        }
    };
    let asana = match section.text("asana", "1200000000000001") {
        // A user's gid has the form of every other gid.
        Given::Is(gid, line) if gid.parse::<ProjectGid>().is_err() => {
            section.fault_value(
                line,
                "asana",
                &gid,
                "not a user gid (digits only, in quotes) such as \"1200000000000001\"",
            );
            Given::Wrong
        }
        given => given,
    };
    let github = match section.text("github", "ann") {
        Given::Is(login, line) if !is_login(&login) => {
            section.fault_value(line, "github", &login, "not a login such as \"ann\" (without the @)");
            Given::Wrong
        }
        given => given,
    };
    let mention = section.flag("mention", false);
    if section.present() && asana == Given::Not && github == Given::Not {
        section.fault_missing("asana", "a person needs the Asana user gid, the GitHub login, or better both");
    }
    let account = BySide { tracker: asana.value(), forge: github.value() };
    match name {
        Some(name) => Some((Person { name, account, mention }, section)),
        None => {
            section.finish();
            None
        }
    }
}

/// Letters, digits, hyphens; an underscore where an enterprise manages its users; `[bot]` for apps.
fn is_login(text: &str) -> bool {
    let bare = text.strip_suffix("[bot]").unwrap_or(text);
    (1..=64).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
