//! What Evenkeel keeps below the synced body: a link to the partner and the marker, found again whatever people do
//! around it.
//!
//! On the forge the footer stands between a hidden opening comment and the marker, also a hidden comment. Only
//! what lies between them is ours: words written below a footer are body, and a footer quoted in a fenced code
//! block is a quotation. When several footers stand there, the last one counts. On the tracker nothing can be
//! hidden: a rule, a line with the link, a line with the marker.

use std::ops::Range;

use super::doc::{Kind, Line, Piece, Said, Span};
use super::settle::settle;
use super::{asana_in, asana_out, clean, from_asana, link, markdown_in, markdown_out, render, unbroken};
use crate::model::{Date, Marker, People, Side};

/// GitHub refuses a longer body: 422 "body is too long (maximum is 65536 characters)".
pub const BODY_CHARS_MAX: usize = 65_536;

/// Room for the marker alone and the line break before it: a gid has at most 40 digits.
pub(super) const MARKER_CHARS: usize = 128;

/// Opens a footer on the forge.
const OPENING: &str = "<!-- evenkeel -->";
/// Begins the visible line of a footer.
const KEPT: &str = "Kept in step with ";
/// Begins the line with a title that had to be cut.
const WHOLE_TITLE: &str = "Whole title: ";
/// Where a marker may stand, before anything is parsed.
const MARKER_SIGN: &str = "evenkeel:v1 ";
/// Lines between opening and marker: ours are three; some room for what people add there.
const LINES_MAX: usize = 12;

/// What a footer tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footer {
    /// How the partner is called: `acme/app#17`, or `Asana task`.
    pub partner: String,
    /// Where a person finds the partner.
    pub url: String,
    /// The day it is due, where the side has no field for it (the forge).
    pub due: Option<Date>,
    /// The whole title, where the side could not hold it.
    pub full_title: Option<String>,
    /// Whether the body had to be cut on this side.
    pub body_cut: bool,
}

/// A text as found on a side, parted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// The synced body in canonical Markdown.
    pub body: String,
    /// The footer as text of its side.
    pub footer: Option<String>,
    /// The marker inside it, checked for damage.
    pub marker: Option<Marker>,
}

/// The footer's text for a side, to stand below `body`.
///
/// On the forge it shrinks to the marker alone and then to nothing where body and footer would not fit
/// [`BODY_CHARS_MAX`] characters.
pub fn footer(side: Side, body: &str, footer: &Footer, marker: &Marker) -> Option<String> {
    match side {
        Side::Tracker => Some(tracker_footer(footer, marker)),
        Side::Forge => {
            let comment = format!("<!-- {marker} -->");
            let full = forge_footer(footer, &comment);
            let body_chars = body.chars().count();
            let fits = |text: &String| body_chars + 2 + text.chars().count() <= BODY_CHARS_MAX;
            [full, comment].into_iter().find(fits)
        }
    }
}

fn forge_footer(footer: &Footer, comment: &str) -> String {
    let mut told = vec![Span::text(KEPT)];
    told.push(partner(footer));
    if let Some(due) = footer.due {
        told.push(Span::text(format!(" · due {due}")));
    }
    if footer.body_cut {
        told.push(Span::text(" · the text goes on there"));
    }
    let mut text = format!("{OPENING}\n---\n{}\n", markdown_out::words(&told));
    if let Some(title) = &footer.full_title {
        text.push_str(&markdown_out::words(&[Span::text(format!("{WHOLE_TITLE}{}", super::canonical_title(title)))]));
        text.push('\n');
    }
    text.push_str(comment);
    text
}

fn tracker_footer(footer: &Footer, marker: &Marker) -> String {
    let line = |kind, spans| Line { said: Said { kind, first: false, spans }, source: 0..0, block: None };
    let lines = vec![
        line(Kind::Rule, Vec::new()),
        line(Kind::Text, vec![Span::text(KEPT), partner(footer)]),
        line(Kind::Text, vec![Span::text(marker.to_string())]),
    ];
    render(lines, &People::default())
}

/// The partner's name, leading to it.
fn partner(footer: &Footer) -> Span {
    Span { style: 0, link: link::normal(&footer.url), piece: Piece::Text(super::canonical_title(&footer.partner)) }
}

/// The text of an issue: the body and, below it, the footer.
pub fn join_forge(body: &str, footer: Option<&str>) -> String {
    let body = clean(body);
    match footer {
        None => body.into_owned(),
        Some(footer) if body.is_empty() => footer.to_owned(),
        Some(footer) => format!("{body}\n\n{footer}"),
    }
}

/// Parts the text of an issue, as GitHub gives it, into body and footer.
pub fn split_forge(raw: &str) -> Split {
    let text = clean(raw);
    if !text.contains(MARKER_SIGN) {
        return Split { body: text.into_owned(), footer: None, marker: None };
    }
    let lines: Vec<&str> = text.split('\n').map(str::trim_end).collect();
    let quoted = closed_fences(&lines);
    let found = lines.iter().enumerate().rev().find_map(|(at, line)| {
        let marker = marker_in(line)?;
        let outside = quoted.binary_search_by(|fence| {
            if fence.end <= at {
                std::cmp::Ordering::Less
            } else if fence.start > at {
                std::cmp::Ordering::Greater
            } else {
                std::cmp::Ordering::Equal
            }
        });
        outside.is_err().then_some((at, marker))
    });
    let Some((end, marker)) = found else {
        return Split { body: text.into_owned(), footer: None, marker: None };
    };
    let start = footer_start(&lines, end);
    // The body keeps its own spelling, to the last space at a line's end.
    let raw_lines: Vec<&str> = text.split('\n').collect();
    let mut body = clean(&raw_lines[..start].join("\n")).into_owned();
    let below = raw_lines[end + 1..].join("\n");
    let below = below.trim_start_matches('\n');
    if !below.trim().is_empty() {
        if !body.is_empty() {
            body.push_str("\n\n");
        }
        body.push_str(below);
    }
    Split { body, footer: Some(lines[start..=end].join("\n")), marker: Some(marker) }
}

/// The marker on a line that is nothing but it, naming a task.
fn marker_in(line: &str) -> Option<Marker> {
    let marker: Marker = line.strip_prefix("<!-- ")?.strip_suffix(" -->")?.parse().ok()?;
    (marker.partner.side() == Side::Tracker).then_some(marker)
}

/// The line where the footer that ends at `end` begins: at its opening, or, when somebody took that away, at the
/// first of the lines above that look like ours.
fn footer_start(lines: &[&str], end: usize) -> usize {
    for at in (end.saturating_sub(LINES_MAX)..end).rev() {
        if lines[at] == OPENING {
            return at;
        }
        if marker_in(lines[at]).is_some() {
            break;
        }
    }
    let mut start = end;
    if start > 0 && lines[start - 1].starts_with(WHOLE_TITLE) {
        start -= 1;
    }
    if start > 0 && lines[start - 1].starts_with(KEPT) {
        start -= 1;
        if start > 0 && lines[start - 1] == "---" {
            start -= 1;
        }
    }
    start
}

/// The ranges of lines inside fenced code blocks that are closed, rising. A fence left open to the end quotes nothing.
fn closed_fences(lines: &[&str]) -> Vec<Range<usize>> {
    let mut closed = Vec::new();
    let mut open: Option<(usize, char, usize)> = None;
    for (at, line) in lines.iter().enumerate() {
        let words = line.trim_start_matches(' ');
        let Some(sign) = words.chars().next().filter(|sign| matches!(sign, '`' | '~')) else { continue };
        let rest = words.trim_start_matches(sign);
        let length = words.len() - rest.len();
        if length < 3 || line.len() - words.len() > 3 {
            continue;
        }
        match open {
            None if sign == '~' || !rest.contains('`') => open = Some((at, sign, length)),
            Some((start, opener, least)) if opener == sign && length >= least && rest.trim().is_empty() => {
                closed.push(start..at + 1);
                open = None;
            }
            _ => {}
        }
    }
    closed
}

/// The `html_notes` of a task: the body and, below it, the footer.
pub fn join_tracker(body: &str, footer: Option<&str>, people: &People) -> String {
    let html = |markdown: &str| asana_out::write(&markdown_in::read(&clean(markdown), people), people);
    let body = html(body);
    let Some(footer) = footer.map(html) else { return body };
    let (open, close) = ("<body>", "</body>");
    let above = body.strip_suffix(close).unwrap_or(&body);
    let below = footer.strip_prefix(open).unwrap_or(&footer);
    // Joined as documents, so that nothing left open in the body can swallow the footer.
    if above == open { footer } else { format!("{above}\n{below}") }
}

/// Parts the `html_notes` of a task, as Asana gives them, into body and footer.
pub fn split_tracker(html: &str, people: &People) -> Split {
    let whole = || Split { body: from_asana(html, people), footer: None, marker: None };
    if !html.contains(MARKER_SIGN) {
        return whole();
    }
    let mut lines = asana_in::read(&unbroken(html), people);
    let found = lines.iter().enumerate().rev().find_map(|(at, line)| {
        let words = plain(line).filter(|words| words.starts_with(MARKER_SIGN))?;
        let marker: Marker = words.trim().parse().ok()?;
        (marker.partner.side() == Side::Forge).then_some((at, marker))
    });
    let Some((end, marker)) = found else { return whole() };
    let mut start = end;
    if start > 0 && plain(&lines[start - 1]).is_some_and(|words| words.starts_with(KEPT)) {
        start -= 1;
    }
    if start > 0 && lines[start - 1].said.kind == Kind::Rule {
        start -= 1;
    }
    let below: Vec<Line> = lines.split_off(end + 1).into_iter().skip_while(|line| line.said.is_blank()).collect();
    let footer = lines.split_off(start);
    if !below.is_empty() {
        if !lines.is_empty() {
            lines.push(Line {
                said: Said { kind: Kind::Text, first: false, spans: Vec::new() },
                source: 0..0,
                block: None,
            });
        }
        lines.extend(below);
    }
    let body = settle(lines, people, false, |_, _| 0..0);
    let footer = settle(footer, people, false, |_, _| 0..0);
    Split { body: render(body, people), footer: Some(render(footer, people)), marker: Some(marker) }
}

/// The words of a line of running text, links' words among them.
fn plain(line: &Line) -> Option<String> {
    if line.said.kind != Kind::Text {
        return None;
    }
    let mut words = String::new();
    for span in &line.said.spans {
        match &span.piece {
            Piece::Text(text) => words.push_str(text),
            Piece::Url(url) => words.push_str(url),
            Piece::Object(_) => {}
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::view;

    fn footer_of(title: Option<&str>) -> Footer {
        Footer {
            partner: "Asana task".into(),
            url: "https://app.asana.com/0/0/1201/f".into(),
            due: Some("2026-12-01".parse().expect("a date")),
            full_title: title.map(str::to_owned),
            body_cut: false,
        }
    }

    fn of_task() -> Marker {
        Marker::naming("asana:1201".parse().expect("a key"))
    }

    fn of_issue() -> Marker {
        Marker::naming("github:acme/_app-x#17".parse().expect("a key"))
    }

    fn issue_footer() -> Footer {
        Footer {
            partner: "acme/_app-x#17".into(),
            url: "https://github.com/acme/_app-x/issues/17".into(),
            due: None,
            full_title: None,
            body_cut: false,
        }
    }

    fn forge(body: &str) -> String {
        footer(Side::Forge, body, &footer_of(Some("a @team <!-- title")), &of_task()).expect("room")
    }

    #[test]
    fn the_forge_footer_tells_what_it_should() {
        let marker = of_task();
        let text = footer(Side::Forge, "", &footer_of(Some("Very *long*")), &marker).expect("room");
        let wanted = format!(
            "<!-- evenkeel -->\n---\nKept in step with [Asana task](https://app.asana.com/0/0/1201/f) · due 2026-12-01\n\
             Whole title: Very \\*long\\*\n<!-- {marker} -->"
        );
        assert_eq!(text, wanted);
    }

    #[test]
    fn a_forge_text_parts_as_it_was_joined_whatever_an_editor_does_at_its_ends() {
        let bodies = [
            "",
            "text",
            "a\n\nb  \nc",
            "```\nopen fence",
            "---\n\n---",
            "> quote\n- list",
            "text <!-- open",
            "x\n<!-- evenkeel -->\ny",
        ];
        for body in bodies {
            let text = forge(body);
            let raw = join_forge(body, Some(&text));
            for raw in [raw.clone(), raw.replace('\n', "\r\n"), format!("{raw}  \n\n\t\n"), format!("{raw}\r\n")] {
                let split = split_forge(&raw);
                assert_eq!(split.body, body, "{raw}");
                assert_eq!((split.footer.as_ref(), split.marker), (Some(&text), Some(of_task())), "{raw}");
            }
        }
    }

    #[test]
    fn words_below_a_footer_are_body_and_a_copied_footer_eats_nothing() {
        let text = forge("");
        let split = split_forge(&format!("above\n\n{text}\nbelow"));
        assert_eq!((split.body.as_str(), split.footer), ("above\n\nbelow", Some(text.clone())));
        let split = split_forge(&format!("above\n\n{text}\n\nmiddle\n\n{text}"));
        assert_eq!(split.body, format!("above\n\n{text}\n\nmiddle"));
        let quoted = format!("see\n\n```\n{text}\n```\nand so on");
        assert_eq!(split_forge(&quoted), Split { body: quoted.clone(), footer: None, marker: None });
        let both = split_forge(&join_forge(&quoted, Some(&text)));
        assert_eq!((both.body, both.footer), (quoted, Some(text.clone())));
        let indented = format!("> {}", text.replace('\n', "\n> "));
        assert_eq!(split_forge(&indented).marker, None);
    }

    #[test]
    fn a_footer_is_found_when_its_opening_was_taken_away_and_a_damaged_marker_is_none() {
        let text = forge("");
        let split = split_forge(&format!("body\n\n{}", text.replace("<!-- evenkeel -->\n", "")));
        assert_eq!((split.body.as_str(), split.marker), ("body", Some(of_task())));
        let damaged = format!("body\n\n{}", text.replace("asana:1201", "asana:1202"));
        assert_eq!(split_forge(&damaged).marker, None);
        // A marker that names an issue has no business on an issue.
        let wrong = format!("body\n\n<!-- {} -->", of_issue());
        assert_eq!(split_forge(&wrong).marker, None);
    }

    #[test]
    fn a_footer_shrinks_where_the_body_leaves_little_room() {
        let marker = of_task();
        let told = footer_of(Some(&"long title ".repeat(100)));
        for (room, wanted) in [(5_000, "<!-- evenkeel -->"), (300, "<!-- evenkeel:v1"), (10, "")] {
            let body = "é".repeat(BODY_CHARS_MAX - room);
            let text = footer(Side::Forge, &body, &told, &marker);
            let joined = join_forge(&body, text.as_deref());
            assert!(joined.chars().count() <= BODY_CHARS_MAX);
            match text {
                Some(text) => assert!(!wanted.is_empty() && text.starts_with(wanted), "{room}: {text}"),
                None => assert!(wanted.is_empty(), "{room}"),
            }
            assert_eq!(split_forge(&joined).body, body);
        }
    }

    #[test]
    fn a_task_parts_as_it_was_joined_and_keeps_what_was_written_below() {
        let people = People::default();
        let text = footer(Side::Tracker, "", &issue_footer(), &of_issue()).expect("always");
        let bodies = [
            "",
            "text",
            "a\n\nb",
            "```\nopen fence",
            "- list\n  - deeper",
            "> quote",
            "# head",
            "| a |\n|---|\n| b |",
            "<details>\nx",
        ];
        for body in bodies {
            let html = join_tracker(body, Some(&text), &people);
            let shown = view(Side::Tracker, body, &people);
            for html in [html.clone(), html.replace("</body>", "\n\n </body>"), html.replace("<hr/>", "<hr />")] {
                let split = split_tracker(&html, &people);
                assert_eq!(split.body, shown, "{html}");
                assert_eq!((split.footer.as_ref(), split.marker), (Some(&text), Some(of_issue())), "{html}");
            }
            let below = split_tracker(&html.replace("</body>", "\n\nadded</body>"), &people);
            let wanted = if shown.is_empty() { "added".to_owned() } else { format!("{shown}\n\nadded") };
            assert_eq!((below.body, below.footer.as_ref()), (wanted, Some(&text)), "{html}");
        }
    }
}
