//! Credentials: the account that all processes which use one keep together, its budget and its breaker.

use std::sync::{Arc, OnceLock};

use diesel::prelude::*;

use super::backend::{Conn, on};
use super::error::Fault;
use super::schema::{credentials, salt};
use super::verbatim::KeptDsl;
use super::{Store, StoreError, columns};
use crate::clock::Clock;
use crate::config::Secret;
use crate::model::{Fingerprint, Side, Timestamp};
use crate::provider::breaker::{Standing, State, Trouble};
use crate::provider::pace::{Account, Keeper};

/// What is kept of a credential, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its salted digest.
    pub digest: String,
    /// Whose it is.
    pub side: Side,
    /// Its budget and its breaker.
    pub account: Account,
    /// When it was last used.
    pub at: Timestamp,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = credentials)]
struct Row {
    book: String,
    state: String,
    trouble: Option<String>,
    why: String,
    openings: i64,
    since: i64,
    until: i64,
    in_row: String,
}

#[derive(Insertable, AsChangeset)]
#[diesel(table_name = credentials)]
#[diesel(treat_none_as_null = true)]
struct RowInsert<'a> {
    credential: &'a str,
    service: &'a str,
    book: String,
    state: &'a str,
    trouble: Option<&'a str>,
    why: String,
    openings: i64,
    since: i64,
    until: i64,
    in_row: String,
    at: i64,
}

impl Row {
    fn account(self) -> Result<Account, Fault> {
        let Self { book, state, trouble, why, openings, since, until, in_row } = self;
        let what = "the account of a credential";
        let trouble = trouble.map(|word| columns::one_of(what, Trouble::ALL, Trouble::as_str, &word)).transpose()?;
        let standing = Standing {
            state: columns::one_of(what, State::ALL, State::as_str, &state)?,
            trouble,
            why,
            openings: columns::count(what, openings)?,
            since,
            until,
            in_row: columns::from_json(what, &in_row)?,
        };
        Ok(Account { book: columns::from_json(what, &book)?, standing })
    }
}

impl<'a> RowInsert<'a> {
    fn of(credential: &'a str, side: Side, account: &Account, now: Timestamp) -> Result<Self, Fault> {
        let Account { book, standing } = account;
        let Standing { state, trouble, why, openings, since, until, in_row } = standing;
        Ok(Self {
            credential,
            service: side.service(),
            book: columns::to_json("the account of a credential", book)?,
            state: state.as_str(),
            trouble: trouble.map(Trouble::as_str),
            why: columns::clean(why),
            openings: i64::from(*openings),
            since: *since,
            until: *until,
            in_row: columns::to_json("the account of a credential", in_row)?,
            at: columns::millis(now),
        })
    }
}

impl Store {
    /// Lets one process at a time see the account of a credential and change it. One that was never used is empty.
    ///
    /// # Errors
    /// When the database fails, within a few seconds: somebody waits.
    pub fn open_account(
        &self,
        credential: &str,
        side: Side,
        now: Timestamp,
        change: &mut dyn FnMut(&mut Account),
    ) -> Result<(), StoreError> {
        self.backend.write_soon(format_args!("opening the account of {}'s credential", side.service()), |conn| {
            if !lock_row(conn, credential, now)? {
                let row = RowInsert::of(credential, side, &Account::default(), now)?;
                on!(conn, |c| diesel::insert_into(credentials::table)
                    .values(&row)
                    .on_conflict_do_nothing()
                    .execute(c))?;
                lock_row(conn, credential, now)?;
            }
            let row: Row = on!(conn, |c| credentials::table
                .select(Row::as_select())
                .filter(credentials::credential.eq(credential))
                .get_result(c))?;
            let mut account = row.account()?;
            let before = account.clone();
            change(&mut account);
            if account != before {
                let row = RowInsert::of(credential, side, &account, now)?;
                let _: String =
                    on!(conn, |c| diesel::update(credentials::table.filter(credentials::credential.eq(credential)))
                        .set(&row)
                        .returning(credentials::credential)
                        .kept()
                        .get_result(c))?;
            }
            Ok(())
        })
    }

    /// What is kept of every credential, by service and digest.
    ///
    /// # Errors
    /// When the database fails.
    pub fn credentials(&self) -> Result<Vec<Credential>, StoreError> {
        self.backend.read("reading the accounts of the credentials", |conn| {
            let rows: Vec<(String, String, i64, Row)> = on!(conn, |c| credentials::table
                .select((credentials::credential, credentials::service, credentials::at, Row::as_select()))
                .order((credentials::service, credentials::credential))
                .load(c))?;
            rows.into_iter()
                .map(|(digest, service, at, row)| {
                    let what = "the account of a credential";
                    let (side, at) = (columns::service(what, &service)?, columns::moment(what, at)?);
                    Ok(Credential { digest, side, account: row.account()?, at })
                })
                .collect()
        })
    }

    /// What stands for a credential in this database: a salted digest of service, address and token.
    ///
    /// # Errors
    /// When the database fails.
    pub fn digest_of(&self, side: Side, base_url: &str, token: &Secret) -> Result<String, StoreError> {
        let salt: String = self.backend.read_soon("reading the salt of the credentials", |conn| {
            Ok(on!(conn, |c| salt::table.select(salt::value).get_result(c))?)
        })?;
        Ok(Fingerprint::of(&(salt, side.service(), base_url, token.reveal())).0)
    }
}

/// Locks the row until the transaction ends; answers whether there is one. It was used at `now`.
fn lock_row(conn: &mut Conn<'_>, credential: &str, now: Timestamp) -> Result<bool, Fault> {
    let row = credentials::table.filter(credentials::credential.eq(credential));
    let locked: Option<i64> = on!(conn, |c| diesel::update(row)
        .set(credentials::at.eq(columns::millis(now)))
        .returning(credentials::at)
        .kept()
        .get_result(c)
        .optional())?;
    Ok(locked.is_some())
}

/// Keeps the account of one credential in the database.
pub struct Keeping {
    store: Store,
    side: Side,
    base_url: String,
    token: Secret,
    clock: Arc<dyn Clock>,
    /// Known once the database has answered.
    digest: OnceLock<String>,
}

impl Keeping {
    /// Of the credential that reaches a side at an address.
    pub const fn new(store: Store, side: Side, base_url: String, token: Secret, clock: Arc<dyn Clock>) -> Self {
        Self { store, side, base_url, token, clock, digest: OnceLock::new() }
    }

    fn digest(&self) -> Result<&str, StoreError> {
        if let Some(digest) = self.digest.get() {
            return Ok(digest);
        }
        let digest = self.store.digest_of(self.side, &self.base_url, &self.token)?;
        Ok(self.digest.get_or_init(|| digest))
    }
}

impl Keeper for Keeping {
    fn open(&self, change: &mut dyn FnMut(&mut Account)) -> Result<(), String> {
        let opened =
            self.digest().and_then(|digest| self.store.open_account(digest, self.side, self.clock.now(), change));
        opened.map_err(|error| error.to_string())
    }
}
