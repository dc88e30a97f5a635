//! Hooks: what we asked a provider to send us, with sealed secrets, from its announcement to its end.

use diesel::prelude::*;
use serde::Serialize;

use super::backend::on;
use super::error::Fault;
use super::schema::hooks;
use super::verbatim::AtMostDsl;
use super::{Store, StoreError, columns};
use crate::model::{Side, Timestamp};

/// Where a hook is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HookState {
    /// Its creation is under way: a handshake is believed until [`HookRow::pending_until`].
    Pending,
    /// It stands.
    Live,
    /// Another has taken its place; what it still sends is good.
    Leaving,
}

impl HookState {
    const ALL: [Self; 3] = [Self::Pending, Self::Live, Self::Leaving];

    /// The word for it in tables and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Live => "live",
            Self::Leaving => "leaving",
        }
    }
}

/// A hook as kept. Its secrets are sealed: only who has the key can use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookRow {
    /// Its row.
    pub id: i64,
    /// Whose it is.
    pub side: Side,
    /// The project's gid, or the repository in lower case.
    pub resource: String,
    /// The provider's own id, once it is made.
    pub remote: Option<String>,
    /// SHA-256 of the token in its address, in hexadecimal.
    pub token_hash: String,
    /// Where it sends to, the token left out.
    pub target: String,
    /// Its secret, sealed.
    pub secret: Option<String>,
    /// The one before, sealed, good until `former_until`.
    pub former_secret: Option<String>,
    /// Until when the one before is good.
    pub former_until: Option<Timestamp>,
    /// Where it is in its life.
    pub state: HookState,
    /// Until when its handshake is believed.
    pub pending_until: Timestamp,
    /// When it was announced.
    pub made_at: Timestamp,
    /// When a verified delivery last came.
    pub heard_at: Option<Timestamp>,
    /// When the provider was last asked about it.
    pub checked_at: Option<Timestamp>,
    /// What was wrong then.
    pub trouble: Option<String>,
}

/// A hook to be announced before its provider is asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHook {
    /// Whose it will be.
    pub side: Side,
    /// The project's gid, or the repository in lower case.
    pub resource: String,
    /// SHA-256 of the token in its address, in hexadecimal.
    pub token_hash: String,
    /// Where it will send to, the token left out.
    pub target: String,
    /// Its secret, sealed, where we choose it.
    pub secret: Option<String>,
    /// Until when its handshake is believed.
    pub pending_until: Timestamp,
}

/// A change of a hook's row; `None` leaves a column as it is.
#[derive(Debug, Clone, Default)]
pub struct HookChange {
    /// The provider's own id.
    pub remote: Option<String>,
    /// Its new secret, sealed.
    pub secret: Option<String>,
    /// The one before, and until when it is good.
    pub former: Option<(String, Timestamp)>,
    /// Where it is in its life.
    pub state: Option<HookState>,
    /// When the provider was asked about it, and what was wrong.
    pub checked: Option<(Timestamp, Option<String>)>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = hooks)]
struct Row {
    id: i64,
    provider: String,
    resource: String,
    remote: Option<String>,
    token_hash: String,
    target: String,
    secret: Option<String>,
    former_secret: Option<String>,
    former_until: Option<i64>,
    state: String,
    pending_until: i64,
    made_at: i64,
    heard_at: Option<i64>,
    checked_at: Option<i64>,
    trouble: Option<String>,
}

impl Row {
    fn hook(self) -> Result<HookRow, Fault> {
        let what = format_args!("hook {}", self.id);
        Ok(HookRow {
            id: self.id,
            side: columns::service(what, &self.provider)?,
            resource: self.resource,
            remote: self.remote,
            token_hash: self.token_hash,
            target: self.target,
            secret: self.secret,
            former_secret: self.former_secret,
            former_until: columns::moment_if(what, self.former_until)?,
            state: columns::one_of(what, HookState::ALL, HookState::as_str, &self.state)?,
            pending_until: columns::moment(what, self.pending_until)?,
            made_at: columns::moment(what, self.made_at)?,
            heard_at: columns::moment_if(what, self.heard_at)?,
            checked_at: columns::moment_if(what, self.checked_at)?,
            trouble: self.trouble,
        })
    }
}

#[derive(Insertable)]
#[diesel(table_name = hooks)]
struct HookInsert<'a> {
    provider: &'a str,
    resource: &'a str,
    token_hash: &'a str,
    target: &'a str,
    secret: Option<&'a str>,
    state: &'a str,
    pending_until: i64,
    made_at: i64,
}

#[derive(AsChangeset, Default)]
#[diesel(table_name = hooks)]
struct HookUpdate {
    remote: Option<String>,
    secret: Option<String>,
    former_secret: Option<String>,
    former_until: Option<i64>,
    state: Option<String>,
    checked_at: Option<i64>,
    trouble: Option<Option<String>>,
}

impl Store {
    /// Announces a hook before its provider is asked for it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn announce_hook(&self, new: &NewHook, now: Timestamp) -> Result<i64, StoreError> {
        let row = HookInsert {
            provider: new.side.service(),
            resource: &new.resource,
            token_hash: &new.token_hash,
            target: &new.target,
            secret: new.secret.as_deref(),
            state: HookState::Pending.as_str(),
            pending_until: columns::millis(new.pending_until),
            made_at: columns::millis(now),
        };
        self.backend.write(format_args!("announcing a hook on {} {}", row.provider, row.resource), |conn| {
            Ok(on!(conn, |c| diesel::insert_into(hooks::table).values(&row).returning(hooks::id).get_result(c))?)
        })
    }

    /// Keeps the secret that a handshake brought, if the hook's creation is still under way at `now` and no handshake
    /// came before. Answers whether it was taken.
    ///
    /// # Errors
    /// When the database fails.
    pub fn shake_hands(&self, id: i64, secret: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.backend.write_soon(format_args!("keeping the secret of hook {id}"), |conn| {
            let pending = hooks::table
                .filter(hooks::id.eq(id))
                .filter(hooks::state.eq(HookState::Pending.as_str()))
                .filter(hooks::pending_until.gt(columns::millis(now)))
                .filter(hooks::secret.is_null());
            Ok(on!(conn, |c| diesel::update(pending).set(hooks::secret.eq(secret)).execute(c))? == 1)
        })
    }

    /// Changes a hook's row. False if it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn change_hook(&self, id: i64, change: &HookChange) -> Result<bool, StoreError> {
        let row = HookUpdate {
            remote: change.remote.clone(),
            secret: change.secret.clone(),
            former_secret: change.former.as_ref().map(|(secret, _)| secret.clone()),
            former_until: change.former.as_ref().map(|(_, until)| columns::millis(*until)),
            state: change.state.map(|state| state.as_str().to_owned()),
            checked_at: change.checked.as_ref().map(|(at, _)| columns::millis(*at)),
            trouble: change.checked.as_ref().map(|(_, trouble)| trouble.as_deref().map(columns::clean)),
        };
        self.backend.write(format_args!("changing hook {id}"), |conn| {
            Ok(on!(conn, |c| diesel::update(hooks::table.filter(hooks::id.eq(id))).set(&row).execute(c))? == 1)
        })
    }

    /// Forgets a hook. False if it is not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_hook(&self, id: i64) -> Result<bool, StoreError> {
        self.backend.write(format_args!("forgetting hook {id}"), |conn| {
            Ok(on!(conn, |c| diesel::delete(hooks::table.filter(hooks::id.eq(id))).execute(c))? == 1)
        })
    }

    /// All hooks, of one side or both, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn hooks(&self, side: Option<Side>) -> Result<Vec<HookRow>, StoreError> {
        self.backend.read("reading the hooks", |conn| {
            let rows: Vec<Row> = on!(conn, |c| {
                let mut query = hooks::table.select(Row::as_select()).into_boxed();
                if let Some(side) = side {
                    query = query.filter(hooks::provider.eq(side.service()));
                }
                query.order(hooks::id).load(c)
            })?;
            rows.into_iter().map(Row::hook).collect()
        })
    }

    /// The hook whose address has the token of this hash.
    ///
    /// # Errors
    /// When the database fails.
    pub fn hook_by_token(&self, token_hash: &str) -> Result<Option<HookRow>, StoreError> {
        self.backend.read_soon("looking up a hook", |conn| {
            let row: Option<Row> = on!(conn, |c| hooks::table
                .select(Row::as_select())
                .filter(hooks::token_hash.eq(token_hash))
                .get_result(c)
                .optional())?;
            row.map(Row::hook).transpose()
        })
    }

    /// The hook that its provider calls by this id.
    ///
    /// # Errors
    /// When the database fails.
    pub fn hook_by_remote(&self, side: Side, remote: &str) -> Result<Option<HookRow>, StoreError> {
        self.backend.read_soon("looking up a hook", |conn| {
            let row: Option<Row> = on!(conn, |c| hooks::table
                .select(Row::as_select())
                .filter(hooks::provider.eq(side.service()))
                .filter(hooks::remote.eq(remote))
                .at_most(1)
                .get_result(c)
                .optional())?;
            row.map(Row::hook).transpose()
        })
    }
}
