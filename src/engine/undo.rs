//! Undo (below).
