//! The `[webhooks]` section: where providers find the listener, how their secrets are kept, how long deliveries stay.

use std::time::Duration;

use ipnet::IpNet;

use super::Report;
use super::load::{checked_url, optional_secret};
use super::ranges::ranges;
use super::secret::{Kind, Secret, World};
use super::section::{Given, Section};
use crate::model::BySide;

/// How hooks are kept and deliveries remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhooks {
    /// Where the world finds the listener, without a slash at the end. Without it no hooks are made.
    pub public_url: Option<String>,
    /// What the hooks' secrets are sealed with in the database.
    pub seal_key: Option<Secret>,
    /// How long deliveries are kept.
    pub keep: Duration,
    /// Who may deliver, by service.
    pub senders: BySide<Senders>,
}

/// From where a service's deliveries may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Senders {
    /// These ranges; without any, and without the published ones, everybody.
    pub ranges: Vec<IpNet>,
    /// The ranges that GitHub publishes, asked for anew now and then.
    pub published: bool,
}

/// A day in seconds.
const DAY: u64 = 24 * 3_600;

/// The fewest characters of a key: 32 random bytes in base64 have 44, in hexadecimal 64.
const SEAL_KEY_CHARS_MIN: usize = 32;

impl Default for Webhooks {
    fn default() -> Self {
        Self { public_url: None, seal_key: None, keep: Duration::from_secs(30 * DAY), senders: BySide::default() }
    }
}

/// Reads the section.
pub(super) fn webhooks(root: &Section<'_, '_>, world: World<'_>, report: &Report) -> Webhooks {
    let section = root.section("webhooks");
    let default = Webhooks::default();
    let public_url = match section.text("public_url", "https://sync.example.com") {
        Given::Is(text, line) => match checked_url(&text, "providers deliver to https only") {
            Ok(url) => Some(url),
            Err(why) => {
                let what = format!("{why}; write one such as \"https://sync.example.com\"");
                section.fault_value(line, "public_url", &text, what);
                None
            }
        },
        Given::Not | Given::Wrong => None,
    };
    let seal_key = optional_secret(&section, "seal_key", "EVENKEEL_SEAL_KEY", Kind::Token, world, report);
    if seal_key.as_ref().is_some_and(|key| key.reveal().len() < SEAL_KEY_CHARS_MIN) {
        let what =
            format!("the key has fewer than {SEAL_KEY_CHARS_MIN} characters; make one with: openssl rand -hex 32");
        match section.line {
            Some(line) => section.fault(line, "seal_key", what),
            None => report.fault_outside(format!("EVENKEEL_SEAL_KEY: {what}")),
        }
    }
    // GitHub redelivers for 3 days and Asana retries for one: a delivery must be remembered at least as long, or it
    // would be done twice.
    let days = section.number("keep_days", 4..=3_650, default.keep.as_secs() / DAY);
    let (asana, _) = ranges(&section, "asana_from", "192.0.2.0/24", None);
    let (github, published) = ranges(&section, "github_from", "192.0.2.0/24", Some("published"));
    section.finish();
    let senders =
        BySide { tracker: Senders { ranges: asana, published: false }, forge: Senders { ranges: github, published } };
    Webhooks { public_url, seal_key, keep: Duration::from_secs(days * DAY), senders }
}
