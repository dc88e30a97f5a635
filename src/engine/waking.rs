//! A retired pair wakes when both halves are there again, unless one of them has found another partner meanwhile.

use super::Engine;
use crate::model::{ItemKey, Link, LinkStatus, Side};
use crate::reconcile::Skip;
use crate::store::StoreError;

impl Engine {
    /// Why a retired pair sleeps on whatever its halves show: an item has one partner, and this one's is another by now,
    /// on this route or on one that shares its project or repository. `None` for any other pair.
    pub(super) fn sleeps_on(&self, link: &Link) -> Result<Option<Skip>, StoreError> {
        if link.status != LinkStatus::Retired {
            return Ok(None);
        }
        for side in Side::BOTH {
            if let Some(partner) = self.partner_now(&link.key(side))? {
                let why = format!("its partner was {}, which is linked with {partner} now", link.key(side));
                return Ok(Some(Skip { item: link.key(side.opposite()), why }));
            }
        }
        Ok(None)
    }

    /// The item with which another is linked and not retired, on whatever route.
    pub(super) fn partner_now(&self, key: &ItemKey) -> Result<Option<ItemKey>, StoreError> {
        let link = self.store.link_of(key)?.filter(|link| link.status != LinkStatus::Retired);
        Ok(link.map(|link| link.key(key.side().opposite())))
    }
}
