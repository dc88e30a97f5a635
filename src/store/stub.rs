#![allow(unused)]
use super::*;
use crate::config::*;
use crate::model::*;
pub struct Held {
    pub holder: String,
    pub until: Timestamp,
}
impl Store {
    /// Opens (creating if SQLite and missing) and migrates under a lock. Errors name the file/host, never a password.
    pub fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        unimplemented!()
    }
    pub fn open_for_reading(url: &DatabaseUrl) -> Result<Self, StoreError> {
        unimplemented!()
    }
    pub fn in_memory() -> Result<Self, StoreError> {
        unimplemented!()
    }
    pub fn ping(&self) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn briefs(&self, route: &RouteName, keys: &[ItemKey]) -> Result<Vec<Brief>, StoreError> {
        unimplemented!()
    }
    pub fn link(&self, id: LinkId) -> Result<Option<Link>, StoreError> {
        unimplemented!()
    }
    pub fn links_by_id(&self, ids: &[LinkId]) -> Result<Vec<Link>, StoreError> {
        unimplemented!()
    }
    pub fn link_of(&self, key: &ItemKey) -> Result<Option<Link>, StoreError> {
        unimplemented!()
    }
    pub fn links(&self, route: Option<&RouteName>, after: LinkId, limit: u32) -> Result<Vec<Link>, StoreError> {
        unimplemented!()
    }
    pub fn link_ids(&self, route: &RouteName, status: LinkStatus) -> Result<Vec<LinkId>, StoreError> {
        unimplemented!()
    }
    pub fn count_links(&self, route: &RouteName) -> Result<BTreeMap<LinkStatus, u64>, StoreError> {
        unimplemented!()
    }
    pub fn waiting_links(&self, route: Option<&RouteName>, limit: u32) -> Result<Vec<Link>, StoreError> {
        unimplemented!()
    }
    pub fn tombstones(&self, route: &RouteName, keys: &[ItemKey]) -> Result<Vec<Tombstone>, StoreError> {
        unimplemented!()
    }
    pub fn open_intent(
        &self,
        lease: &Lease,
        kind: IntentKind,
        source: &ItemKey,
        marker: &Marker,
        now: Timestamp,
    ) -> Result<IntentId, StoreError> {
        unimplemented!()
    }
    pub fn intents(&self, route: &RouteName) -> Result<Vec<Intent>, StoreError> {
        unimplemented!()
    }
    pub fn due(&self, route: &RouteName, now: Timestamp, limit: u32) -> Result<Vec<Due>, StoreError> {
        unimplemented!()
    }
    pub fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        unimplemented!()
    }
    pub fn make_due(&self, route: &RouteName, dues: &[NewDue], now: Timestamp) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn count_due(&self, route: &RouteName) -> Result<u64, StoreError> {
        unimplemented!()
    }
    pub fn parked(&self, route: Option<&RouteName>) -> Result<Vec<Due>, StoreError> {
        unimplemented!()
    }
    pub fn due_row(&self, id: i64) -> Result<Option<Due>, StoreError> {
        unimplemented!()
    }
    pub fn unpark(&self, id: i64, now: Timestamp) -> Result<bool, StoreError> {
        unimplemented!()
    }
    pub fn drop_due(&self, id: i64) -> Result<bool, StoreError> {
        unimplemented!()
    }
    pub fn begin_pass(&self, route: &RouteName, start: &PassStart, now: Timestamp) -> Result<PassId, StoreError> {
        unimplemented!()
    }
    pub fn end_pass(&self, id: PassId, end: &PassEnd, now: Timestamp) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn passes(&self, route: Option<&RouteName>, limit: u32) -> Result<Vec<Pass>, StoreError> {
        unimplemented!()
    }
    pub fn pass(&self, id: PassId) -> Result<Option<Pass>, StoreError> {
        unimplemented!()
    }
    pub fn history(&self, filter: &EntryFilter) -> Result<Vec<Entry>, StoreError> {
        unimplemented!()
    }
    pub fn verify_history(&self) -> Result<Verified, StoreError> {
        unimplemented!()
    }

    // cursors and notes
    pub fn cursors(&self, route: &RouteName) -> Result<BySide<Option<Cursor>>, StoreError> {
        unimplemented!()
    }
    pub fn note(&self, route: &RouteName, name: &str) -> Result<Option<String>, StoreError> {
        unimplemented!()
    }
    pub fn acquire(&self, route: &RouteName, holder: &str, now: Timestamp) -> Result<Result<Lease, Held>, StoreError> {
        unimplemented!()
    }
    pub fn renew(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        unimplemented!()
    }
    pub fn record(&self, lease: &Lease, record: &Record, now: Timestamp) -> Result<Recorded, StoreError> {
        unimplemented!()
    }
}
