//! The `[admin]` section: who may use the admin API.

use ipnet::IpNet;

use super::faults::Report;
use super::load::optional_secret;
use super::ranges::ranges;
use super::secret::{Kind, Secret, World};
use super::section::Section;

/// Shorter tokens can be guessed: 16 random hexadecimal digits are 64 bits.
const TOKEN_CHARS_MIN: usize = 16;

/// Who may use the admin API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The token that reads and writes.
    pub token: Option<Secret>,
    /// The token that only reads.
    pub read_token: Option<Secret>,
    /// From where; empty means from everywhere.
    pub allow: Vec<IpNet>,
}

impl Admin {
    /// Whether anybody may use it at all.
    pub const fn on(&self) -> bool {
        self.token.is_some() || self.read_token.is_some()
    }
}

/// Reads the section.
pub(super) fn admin(root: &Section<'_, '_>, world: World<'_>, report: &Report) -> Admin {
    let section = root.section("admin");
    let token = |key, usual| optional_secret(&section, key, usual, Kind::Token, world, report);
    let found = Admin {
        token: token("token", "ADMIN_API_TOKEN"),
        read_token: token("read_token", "ADMIN_API_READ_TOKEN"),
        allow: ranges(&section, "allow", "10.0.0.0/8", None).0,
    };
    for (key, token) in [("token", &found.token), ("read_token", &found.read_token)] {
        if token.as_ref().is_some_and(|token| token.reveal().chars().count() < TOKEN_CHARS_MIN) {
            report.fault(
                section.line,
                format!(
                    "admin.{key} has fewer than {TOKEN_CHARS_MIN} characters and can be guessed; make a random one, with \
                     `openssl rand -hex 32` for example"
                ),
            );
        }
    }
    if found.token.is_some() && found.token == found.read_token {
        let what = "admin.read_token is the same as admin.token, so that it could write; make another one";
        report.fault(section.line, what);
    }
    section.finish();
    found
}
