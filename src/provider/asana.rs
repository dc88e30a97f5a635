//! (asana)
