//! (github)
