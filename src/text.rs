//! Rich text: Asana's HTML, GitHub's Markdown, what one can show of the other, and merging.
//!
//! Pure, total, bounded: odd input gives odd text, never an error, a panic or deep recursion.
