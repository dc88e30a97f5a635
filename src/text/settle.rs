//! Brings lines to the normal form in which equal content is equal, whichever spelling they were read from.

use std::ops::Range;

use super::doc::{AROUND, CODE, Kind, Line, Piece, Said, Span, same_link};
use super::{link, quiet};
use crate::model::People;

/// Brings lines to the normal form in which equal content is equal.
///
/// `gap` names the blank source lines between two lines of one flow of text. `mentions` says whether a mapped
/// login after `@` is a mention: so it is in what a person wrote on the forge, never in the tracker's words.
pub(super) fn settle(
    lines: Vec<Line>,
    people: &People,
    mentions: bool,
    gap: impl Fn(&Line, &Line) -> Range<usize>,
) -> Vec<Line> {
    let mut settled: Vec<Line> = Vec::with_capacity(lines.len());
    // Blank lines wait here until it is clear that something of the same flow follows.
    let mut blanks: Vec<Line> = Vec::new();
    // Set when the line that began a block was blank: the next line of its kind begins it.
    let mut begun: Option<Kind> = None;
    // The depths as read of the items above, from which the depth as shown follows.
    let mut depths: Vec<u8> = Vec::new();
    for mut line in lines {
        if line.said.kind != Kind::Code {
            line.said.spans = tidy(std::mem::take(&mut line.said.spans), people, mentions);
        }
        let said = &mut line.said;
        if begun.take().is_some_and(|kind| same_flow(kind, said.kind)) {
            said.first = true;
        }
        if said.is_blank() {
            if said.first {
                begun = Some(said.kind);
                blanks.clear();
            } else if !matches!(said.kind, Kind::Heading { .. }) {
                blanks.push(line);
            }
            continue;
        }
        let last = settled.last().filter(|last| same_flow(last.said.kind, said.kind));
        let goes_on = last.is_some() && (said.kind == Kind::Text || !said.first);
        said.first = !goes_on && matches!(said.kind, Kind::Item { .. } | Kind::Quote | Kind::Code);
        if said.first && matches!(said.kind, Kind::Item { .. }) || matches!(said.kind, Kind::Heading { .. }) {
            flush_left(&mut said.spans);
        }
        if let Kind::Item { depth, ordered } = &mut said.kind {
            match last.map(|last| last.said.kind) {
                Some(Kind::Item { depth: last_depth, ordered: last_ordered }) if goes_on => {
                    (*depth, *ordered) = (last_depth, last_ordered);
                }
                last => {
                    if last.is_none() {
                        depths.clear();
                    }
                    while depths.last().is_some_and(|above| *above >= *depth) {
                        depths.pop();
                    }
                    depths.push(*depth);
                    *depth = u8::try_from(depths.len() - 1).unwrap_or(0);
                }
            }
        }
        if goes_on {
            let kind = said.kind;
            let mut between = blanks.drain(..).filter(|blank| same_flow(blank.said.kind, kind)).collect::<Vec<_>>();
            if between.is_empty()
                && kind != Kind::Code
                && let Some(last) = settled.last()
            {
                between = gap(last, &line)
                    .map(|at| Line {
                        said: Said { kind, first: false, spans: Vec::new() },
                        source: at..at + 1,
                        block: None,
                    })
                    .collect();
            }
            for mut blank in between {
                blank.said.kind = kind;
                settled.push(blank);
            }
        }
        blanks.clear();
        settled.push(line);
    }
    settled
}

/// Takes the white space off the beginning of a line that has something on it.
fn flush_left(spans: &mut Vec<Span>) {
    if let Some(Span { style: 0, link: None, piece: Piece::Text(text) }) = spans.first_mut() {
        *text = text.trim_start().to_owned();
        if text.is_empty() {
            spans.remove(0);
        }
    }
}

/// Whether two lines can belong to one flow, in which blank lines between them count.
fn same_flow(one: Kind, other: Kind) -> bool {
    std::mem::discriminant(&one) == std::mem::discriminant(&other) && !matches!(one, Kind::Heading { .. } | Kind::Rule)
}

/// With which the one character begins that `quiet` puts into words.
const HUSH_FIRST_BYTE: u8 = 0xE2;

/// The spans of a line in normal form: links that say only themselves told apart, addresses found, no style or
/// link on white space at its edge, nothing empty, equal neighbours joined.
fn tidy(mut spans: Vec<Span>, people: &People, mentions: bool) -> Vec<Span> {
    // Most lines are nothing but words.
    if let [Span { style: 0, link: None, piece: Piece::Text(text) }] = spans.as_mut_slice()
        && !text.bytes().any(|byte| matches!(byte, b'/' | b'@') || byte == HUSH_FIRST_BYTE)
    {
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            spans.clear();
        }
        return spans;
    }
    for span in &mut spans {
        if matches!(&span.piece, Piece::Text(text) if text.chars().all(char::is_whitespace)) {
            span.style &= !CODE;
        }
    }
    if spans.iter().any(|span| span.link.is_some()) {
        // What calls somebody shows only in the words as a whole.
        spans = joined(plain_links(spans, people));
    }
    let mut found = Vec::with_capacity(spans.len());
    for span in spans {
        match span.piece {
            Piece::Text(text) if span.style & CODE == 0 => {
                if span.link.is_some() {
                    let text = quiet::loud(&text).into_owned();
                    found.push(Span { piece: Piece::Text(text), ..span });
                } else {
                    link::find(&text, mentions.then_some(people), |piece| {
                        found.push(Span { style: span.style, link: None, piece });
                    });
                }
            }
            piece => found.push(Span { piece, ..span }),
        }
    }
    if found.iter().any(|span| matches!(span.piece, Piece::Url(_))) {
        fuse(&mut found);
    }
    if found.iter().any(|span| span.style != 0 || span.link.is_some()) {
        found = bare_edges(found);
    }
    let mut joined = joined(found);
    if let Some(Span { style: 0, link: None, piece: Piece::Text(text) }) = joined.last_mut() {
        text.truncate(text.trim_end().len());
        if text.is_empty() {
            joined.pop();
        }
    }
    joined
}

/// The spans without empty ones, neighbours that look the same joined.
fn joined(spans: Vec<Span>) -> Vec<Span> {
    let mut joined: Vec<Span> = Vec::with_capacity(spans.len());
    for span in spans {
        match (joined.last_mut(), &span.piece) {
            (_, Piece::Text(text)) if text.is_empty() => {}
            (Some(Span { style, link, piece: Piece::Text(before) }), Piece::Text(text))
                if *style == span.style && *link == span.link =>
            {
                before.push_str(text);
            }
            _ => joined.push(span),
        }
    }
    joined
}

/// Turns links that say only their own address, or stand for something of Asana's, into what they are.
fn plain_links(spans: Vec<Span>, people: &People) -> Vec<Span> {
    let mut plain = Vec::with_capacity(spans.len());
    let mut rest = spans.into_iter().peekable();
    while let Some(span) = rest.next() {
        let Some(link) = span.link.clone() else {
            plain.push(span);
            continue;
        };
        let mut group = vec![span];
        while let Some(span) = rest.next_if(|span| same_link(span.link.as_ref(), Some(&link))) {
            group.push(span);
        }
        let mut text = String::new();
        let mut style = u8::MAX;
        for span in &group {
            if let Piece::Text(part) = &span.piece {
                text.push_str(part);
            }
            if !span.is_space() {
                style &= span.style;
            }
        }
        match link::meaning(&link, text.trim(), people) {
            link::Meaning::Piece(piece) => {
                let edge = |edge: &str| (!edge.is_empty()).then(|| Span::text(edge));
                let start = &text[..text.len() - text.trim_start().len()];
                plain.extend(edge(start));
                plain.push(Span { style: style & !CODE, link: None, piece });
                plain.extend(edge(&text[text.trim_end().len().max(start.len())..]));
            }
            link::Meaning::Words => plain.extend(group.into_iter().map(|span| Span { link: None, ..span })),
            link::Meaning::Link => plain.extend(group),
        }
    }
    plain
}

/// Makes addresses that touch a link to the same address part of it: neither spelling tells them apart.
fn fuse(spans: &mut [Span]) {
    let leads_to = |span: &Span| match &span.piece {
        Piece::Url(url) => Some(url.clone()),
        _ => span.link.clone(),
    };
    for at in 1..spans.len() {
        let (before, after) = spans.split_at_mut(at);
        let (before, after) = (&mut before[at - 1], &mut after[0]);
        let Some(url) = leads_to(before).filter(|url| leads_to(after).as_ref() == Some(url)) else { continue };
        for span in [before, after] {
            if matches!(span.piece, Piece::Url(_)) {
                *span =
                    Span { style: span.style, link: Some(url.clone()), piece: Piece::Text(url.as_ref().to_owned()) };
            }
        }
    }
}

/// Takes links and styles off the white space at their edges, where Markdown cannot have them.
fn bare_edges(spans: Vec<Span>) -> Vec<Span> {
    let mut parts = Vec::with_capacity(spans.len() + 4);
    for span in spans {
        let Some(text) = span.words().filter(|text| !text.is_empty()) else {
            parts.push(span);
            continue;
        };
        let start = text.len() - text.trim_start().len();
        let end = text.trim_end().len().max(start);
        if start == 0 && end == text.len() {
            parts.push(span);
            continue;
        }
        for part in [&text[..start], &text[start..end], &text[end..]] {
            if !part.is_empty() {
                parts.push(Span { piece: Piece::Text(part.to_owned()), ..span.clone() });
            }
        }
    }
    strip_edges(&mut parts, |span| span.link.clone(), |span| span.link = None);
    let mut outer = 0;
    for style in AROUND {
        // A style is written inside the link and the styles further out, so it ends where they do.
        strip_edges(
            &mut parts,
            |span| (span.style & style != 0).then(|| (span.link.clone(), span.style & outer)),
            |span| span.style &= !style,
        );
        outer |= style;
    }
    parts
}

/// In every run of neighbours with an equal `mark`, strips it off the white space at both ends.
fn strip_edges<M: PartialEq>(spans: &mut [Span], mark: impl Fn(&Span) -> Option<M>, strip: impl Fn(&mut Span)) {
    let mut start = 0;
    while start < spans.len() {
        let Some(run) = mark(&spans[start]) else {
            start += 1;
            continue;
        };
        let mut end = start + 1;
        while end < spans.len() && mark(&spans[end]).as_ref() == Some(&run) {
            end += 1;
        }
        let run = &mut spans[start..end];
        run.iter_mut().take_while(|span| span.is_space()).for_each(&strip);
        run.iter_mut().rev().take_while(|span| span.is_space()).for_each(&strip);
        start = end;
    }
}
