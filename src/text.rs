//! Rich text: Asana's HTML, GitHub's Markdown, what one can show of the other, and merging.
//!
//! Pure, total, bounded: odd input gives odd text, never an error, a panic or deep recursion.

use crate::model::{Date, Marker, People, Side};
pub fn canonical(m: &str) -> String {
    m.replace("\r\n", "\n").trim_end().to_owned()
}
pub fn view(_s: Side, m: &str, _p: &People) -> String {
    m.to_owned()
}
pub fn put(_s: Side, _r: &str, e: &str, _p: &People) -> String {
    e.to_owned()
}
pub enum Merged {
    Clean(String),
    Conflict(Vec<Overlap>),
}
pub struct Overlap {
    pub base: String,
    pub tracker: String,
    pub forge: String,
}
pub fn merge(b: &str, t: &str, f: &str) -> Merged {
    if b == t || t == f {
        Merged::Clean(f.into())
    } else if b == f {
        Merged::Clean(t.into())
    } else {
        Merged::Conflict(vec![Overlap { base: b.into(), tracker: t.into(), forge: f.into() }])
    }
}
pub fn canonical_title(t: &str) -> String {
    t.trim().to_owned()
}
pub fn view_title(_s: Side, t: &str) -> String {
    t.to_owned()
}
pub fn put_title(_s: Side, _r: &str, e: &str) -> String {
    e.to_owned()
}
pub struct Footer {
    pub partner: String,
    pub url: String,
    pub due: Option<Date>,
    pub full_title: Option<String>,
    pub body_cut: bool,
}
pub fn footer(_s: Side, _b: &str, f: &Footer, m: &Marker) -> Option<String> {
    Some(format!("{} {:?} {}", f.url, f.due, m))
}
pub fn merge_taking(_b: &str, t: &str, f: &str, side: Side) -> String {
    if side == Side::Tracker { t.into() } else { f.into() }
}
