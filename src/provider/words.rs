//! Stands in for `text` until that module is whole: the same names and meanings, the plainest bodies.

use crate::model::{Marker, People};

/// A text taken apart.
pub struct Split {
    pub body: String,
    pub footer: Option<String>,
    pub marker: Option<Marker>,
}

pub fn canonical(markdown: &str) -> String {
    markdown.replace("\r\n", "\n").trim_end().to_owned()
}

pub fn canonical_title(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
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
