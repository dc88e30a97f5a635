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
    Some(format!("---\nAsana task {} {:?} {:?}\n<!-- {} -->", f.url, f.due, f.full_title, m))
}
pub fn merge_taking(_b: &str, t: &str, f: &str, side: Side) -> String {
    if side == Side::Tracker { t.into() } else { f.into() }
}
#[allow(missing_docs)]

/// A text taken apart.
pub struct Split {
    pub body: String,
    pub footer: Option<String>,
    pub marker: Option<Marker>,
}

pub fn to_asana(markdown: &str, _people: &People) -> String {
    let text = markdown.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("<body>{text}</body>")
}

pub fn from_asana(html: &str, _people: &People) -> String {
    let text = html.trim().trim_start_matches("<body>").trim_end_matches("</body>");
    canonical(&text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}

pub fn join_forge(body: &str, footer: Option<&str>) -> String {
    match footer {
        Some(footer) if body.is_empty() => footer.to_owned(),
        Some(footer) => format!("{body}\n\n{footer}"),
        None => body.to_owned(),
    }
}

pub fn split_forge(raw: &str) -> Split {
    let raw = canonical(raw);
    let marker = raw.lines().rev().find_map(|line| {
        let inner = line.trim().trim_start_matches("<!-- ").trim_end_matches(" -->");
        inner.parse::<Marker>().ok()
    });
    let cut = marker.as_ref().and_then(|_| raw.find("---\n"));
    match cut {
        Some(at) => Split {
            body: canonical(raw.get(..at).unwrap_or_default()),
            footer: raw.get(at..).map(str::to_owned),
            marker,
        },
        None => Split { body: raw, footer: None, marker },
    }
}

pub fn join_tracker(body: &str, footer: Option<&str>, people: &People) -> String {
    to_asana(&join_forge(body, footer), people)
}

pub fn split_tracker(html: &str, people: &People) -> Split {
    split_forge(&from_asana(html, people))
}
