//! Why one subject's hooks could not be put right, and what to do about it.

use std::fmt;

use crate::model::Side;
use crate::provider::ProviderError;
use crate::seal::NoChance;
use crate::store::StoreError;
use crate::workshop::Unequipped;

/// Why one subject's hooks could not be put right; the others go on.
#[derive(Debug)]
pub(super) enum Trouble {
    Provider(ProviderError),
    /// A hook could not be made.
    Unmade(ProviderError),
    Store(StoreError),
    Said(String),
}

impl Trouble {
    /// What to do about it.
    pub(super) fn hint(&self, side: Side, public_url: Option<&str>) -> Option<String> {
        match (self, public_url) {
            (Self::Provider(ProviderError::Denied { .. }) | Self::Unmade(ProviderError::Denied { .. }), _) => {
                Some(right_needed(side).to_owned())
            }
            (
                Self::Unmade(
                    ProviderError::Refused { .. } | ProviderError::Unreachable { .. } | ProviderError::Garbled { .. },
                ),
                Some(public_url),
            ) => Some(format!(
                "is `evenkeel run` at work, and does public_url reach it from outside? curl -i {public_url}/health \
                 must answer 200"
            )),
            _ => None,
        }
    }
}

/// The right that a token needs to look after hooks.
pub const fn right_needed(side: Side) -> &'static str {
    match side {
        Side::Tracker => "the token's user must be a member of the project",
        Side::Forge => {
            "a fine-grained token needs the repository permission \"Webhooks: read and write\", a classic one the scope \
             admin:repo_hook, and its user must administrate the repository"
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Provider(error) | Self::Unmade(error) => error.fmt(out),
            Self::Store(error) => error.fmt(out),
            Self::Said(what) => out.write_str(what),
        }
    }
}

impl From<ProviderError> for Trouble {
    fn from(error: ProviderError) -> Self {
        Self::Provider(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<NoChance> for Trouble {
    fn from(error: NoChance) -> Self {
        Self::Said(error.to_string())
    }
}

impl From<Unequipped> for Trouble {
    fn from(error: Unequipped) -> Self {
        Self::Said(error.to_string())
    }
}
