//! A kept delivery done once more: the one place where the API asks for that.

use crate::store::{StoreError, TakenIn, Touches};
use crate::workshop::Workshop;

/// Makes due once more what a delivery touched, in the name of `request`. `None`: there is no such delivery.
///
/// # Errors
/// When the database fails.
pub(super) fn replay(works: &Workshop, id: i64, request: &str) -> Result<Option<TakenIn>, StoreError> {
    let Some((delivery, _)) = works.store.delivery(id)? else { return Ok(None) };
    let touches = Touches {
        items: delivery.touched.iter().map(|touched| touched.item.clone()).collect(),
        routes: delivery.touched.into_iter().map(|touched| touched.route).collect(),
        reason: format!("{} (replayed)", delivery.event),
        ..Touches::default()
    };
    works.store.replay_delivery(id, &touches, request, works.clock.now()).map(Some)
}
