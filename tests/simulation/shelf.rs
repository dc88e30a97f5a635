//! Databases in memory, kept for the next world, which finds its statements prepared.

use std::sync::{Mutex, PoisonError};

use evenkeel::store::Store;

static SHELF: Mutex<Vec<Store>> = Mutex::new(Vec::new());

/// An empty one.
pub fn take() -> Store {
    let kept = SHELF.lock().unwrap_or_else(PoisonError::into_inner).pop();
    // One that a world left in use is not waited for.
    let emptied = kept.and_then(|store| store.emptied().ok());
    emptied.unwrap_or_else(|| Store::in_memory().expect("a database in memory"))
}

/// Keeps one whose world is over.
pub fn put_back(store: Store) {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner).push(store);
}
