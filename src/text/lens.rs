//! Carries an edit made on a poorer side into the rich text.
//!
//! The lines a side shows know which lines of the rich text they were read from. The edit is found as a change of
//! shown lines; rich lines whose shown form did not change stay as they are, to the byte, and so does everything
//! the side cannot show (comments, table rules, blank lines). In an edited line the words are merged, so that a
//! mention or a picture beside the edited word stays too. Every candidate is checked by reading it back: it must
//! show exactly what the person wrote. If the finer ways fail, coarser ones are tried, and at last the edited
//! text is taken whole: the edit is never lost.

use std::collections::HashSet;
use std::ops::Range;

use super::doc::{Kind, Line, Said, said};
use super::footer::{BODY_CHARS_MAX, MARKER_CHARS};
use super::markdown_out::{Writer, parted};
use super::merge::{difference, merge_slices};
use super::{clean, markdown_in, view};
use crate::model::{People, Side};

/// Stands below a body that the forge cannot hold whole.
pub const CONTINUES: &str = "_(continues in Asana)_";

/// Left free below a body that had to be cut, for the footer with a long title.
const FOOTER_CHARS: usize = 2_048;

/// Changed lines that are compared one with another to find which became which; beyond, line by line in order.
const PAIRING_MAX: usize = 400;

/// What the forge can show: everything that leaves room for a marker, else as [`cut`] leaves it.
pub(super) fn forge_view(markdown: &str) -> String {
    const ROOM: usize = BODY_CHARS_MAX - MARKER_CHARS;
    // Bytes are never fewer than characters.
    if markdown.len() <= ROOM || markdown.chars().nth(ROOM).is_none() {
        return markdown.to_owned();
    }
    cut(markdown, BODY_CHARS_MAX - FOOTER_CHARS)
}

/// A text cut to at most `room` characters, at the end of a line where there is one, with a line that says so below.
///
/// For a first issue body that must leave room for a footer; [`view`] cuts by itself.
pub fn cut(markdown: &str, room: usize) -> String {
    match parts(markdown, room) {
        None => markdown.to_owned(),
        Some(("", _)) => CONTINUES.to_owned(),
        Some((head, _)) => format!("{head}\n\n{CONTINUES}"),
    }
}

/// A text too long for `room` characters, parted into what is shown and what is not.
fn parts(markdown: &str, room: usize) -> Option<(&str, &str)> {
    if markdown.len() <= room || markdown.chars().nth(room).is_none() {
        return None;
    }
    let room = room.saturating_sub(CONTINUES.len() + 2);
    let end = markdown.char_indices().nth(room).map_or(markdown.len(), |(at, _)| at);
    // A line that begins in the first half is too far back: better to cut inside the long line.
    let at = markdown[..end].rfind('\n').filter(|at| *at > end / 2).unwrap_or(end);
    let at = markdown[..at].trim_end().len();
    Some(markdown.split_at(at))
}

/// Carries an edit of the cut text on the forge into the whole one: what was not shown stays, while the line that
/// says there is more still stands, or was all that went from the end.
pub(super) fn forge_put(rich: &str, edited: &str) -> String {
    let shown = forge_view(rich);
    if shown == edited {
        return rich.to_owned();
    }
    if shown == rich {
        return edited.to_owned();
    }
    let Some((head, tail)) = parts(rich, BODY_CHARS_MAX - FOOTER_CHARS) else { return edited.to_owned() };
    let lines: Vec<&str> = edited.split('\n').collect();
    if let Some(at) = lines.iter().rposition(|line| line.trim() == CONTINUES) {
        let (above, below) = (lines[..at].join("\n"), lines[at + 1..].join("\n"));
        let below = below.trim_matches('\n');
        let gap = if below.is_empty() { "" } else { "\n\n" };
        return clean(&format!("{}{tail}{gap}{below}", above.trim_end())).into_owned();
    }
    let last = head.rsplit('\n').next().unwrap_or_default();
    if !last.trim().is_empty() && edited.trim_end().rsplit('\n').next() == Some(last) {
        return format!("{}{tail}", edited.trim_end());
    }
    edited.to_owned()
}

/// How far a candidate goes in keeping rich spelling.
#[derive(Clone, Copy)]
struct Way {
    /// Whether the words of an edited line are merged.
    pairs: bool,
    /// Whether new lines go below what stands unseen at their place.
    below: bool,
    /// Whether what stands unseen between deleted lines goes with them.
    drop_inner: bool,
    /// Whether whole paragraphs and lists are rewritten where a line of them changed.
    coarse: bool,
}

/// From the finest to the coarsest.
const WAYS: [Way; 6] = [
    Way { pairs: true, below: false, drop_inner: false, coarse: false },
    Way { pairs: true, below: true, drop_inner: false, coarse: false },
    Way { pairs: false, below: false, drop_inner: false, coarse: false },
    Way { pairs: false, below: false, drop_inner: true, coarse: false },
    Way { pairs: false, below: false, drop_inner: false, coarse: true },
    Way { pairs: false, below: false, drop_inner: true, coarse: true },
];

/// Carries an edit of what the tracker showed of `rich` into it.
pub(super) fn tracker_put(rich: &str, edited: &str, people: &People) -> String {
    if view(Side::Tracker, rich, people) == edited {
        return rich.to_owned();
    }
    let rich = clean(rich);
    let old = markdown_in::read(&rich, people);
    let new = markdown_in::read(edited, people);
    if old.is_empty() && rich.is_empty() || new.is_empty() {
        return edited.to_owned();
    }
    let wanted = said(&new);
    let source: Vec<&str> = rich.split('\n').collect();
    let mut blocks = vec![None; source.len()];
    for block in old.iter().filter_map(|line| line.block.as_ref()) {
        if blocks.get(block.start).is_some_and(|known| *known != Some(block)) {
            blocks[block.start..block.end.min(source.len())].fill(Some(block));
        }
    }
    let edit = Edit { source, blocks, old: &old, new: &new, people };
    for way in WAYS {
        let candidate = edit.candidate(way);
        let candidate = clean(&candidate);
        if said(&markdown_in::read(&candidate, people)) == wanted {
            return candidate.into_owned();
        }
    }
    edited.to_owned()
}

/// An edit being carried over.
struct Edit<'e> {
    /// The rich text's lines.
    source: Vec<&'e str>,
    /// For each of them the block it belongs to, if that has lines of its own.
    blocks: Vec<Option<&'e Range<usize>>>,
    /// The lines shown of it.
    old: &'e [Line],
    /// The lines as edited.
    new: &'e [Line],
    people: &'e People,
}

/// What becomes of shown lines.
struct Fates {
    /// For each new line the old line it is, unchanged.
    kept: Vec<Option<usize>>,
    /// For each new line the old line it was made of, and its merged spelling.
    merged: Vec<Option<(usize, String)>>,
}

/// A stretch of output.
enum Chunk<'e> {
    /// A new line, by number.
    New(usize),
    /// A rich line that shows nothing, and whether blank lines stood above and below it.
    Unseen(&'e str, bool, bool),
}

impl<'e> Edit<'e> {
    fn candidate(&self, way: Way) -> String {
        let fates = self.fates(way);
        let structure = self.standing_blocks(&fates);
        let mut output: Vec<String> = Vec::with_capacity(self.source.len() + self.new.len());
        let mut writer = Writer::new(self.people);
        // Everything above is settled: old lines, new lines, source lines.
        let (mut old_at, mut new_at, mut source_at) = (0, 0, 0);
        loop {
            let kept = (new_at..self.new.len()).find_map(|new| fates.kept[new].map(|old| (new, old)));
            let (new_end, old_end) = kept.unwrap_or((self.new.len(), self.old.len()));
            // Lines that share a source line are copied with the first of them.
            let source_end = kept.map_or(self.source.len(), |(_, old)| self.old[old].source.start.max(source_at));
            if old_at == old_end && new_at == new_end {
                // Nothing changed between here and there.
                output.extend(self.source[source_at..source_end].iter().map(|line| (*line).to_owned()));
            } else {
                let chunks =
                    self.chunks(way, &fates, &structure, old_at..old_end, new_at..new_end, source_at..source_end);
                self.write(&mut output, &mut writer, &fates, &chunks, new_at..new_end);
            }
            let Some((new, old)) = kept else { break };
            let source = self.old[old].source.clone();
            writer.stands(&self.new[new].said, self.source[source.start]);
            output.extend(self.source[source_end..source.end.max(source_end)].iter().map(|line| (*line).to_owned()));
            (old_at, new_at, source_at) = (old + 1, new + 1, source.end.max(source_end));
        }
        output.join("\n")
    }

    /// Decides which old lines stay, and which are merged with the new line they became.
    fn fates(&self, way: Way) -> Fates {
        let mut kept: Vec<Option<usize>> = vec![None; self.new.len()];
        let mut merged: Vec<Option<(usize, String)>> = vec![None; self.new.len()];
        let (old, new) = (said(self.old), said(self.new));
        let hunks = difference(&old, &new);
        let mut gone = vec![false; self.old.len()];
        for hunk in &hunks {
            gone[hunk.old.clone()].fill(true);
        }
        if way.coarse {
            self.widen(&hunks.iter().map(|hunk| hunk.old.clone()).collect::<Vec<_>>(), &mut gone);
        }
        // Lines that share a source line stay or go together.
        let shared = |at: usize| self.old[at].source.start < self.old[at - 1].source.end;
        for at in 1..self.old.len() {
            if shared(at) && gone[at - 1] {
                gone[at] = true;
            }
        }
        for at in (1..self.old.len()).rev() {
            if shared(at) && gone[at] {
                gone[at - 1] = true;
            }
        }
        let (mut old_at, mut new_at) = (0, 0);
        for hunk in hunks.iter().chain([&super::merge::Hunk { old: old.len()..old.len(), new: new.len()..new.len() }]) {
            while old_at < hunk.old.start {
                kept[new_at] = (!gone[old_at]).then_some(old_at);
                (old_at, new_at) = (old_at + 1, new_at + 1);
            }
            if way.pairs {
                self.pair(hunk.old.clone(), hunk.new.clone(), &mut merged);
            }
            (old_at, new_at) = (hunk.old.end, hunk.new.end);
        }
        Fates { kept, merged }
    }

    /// Marks whole paragraphs, lists, quotes and blocks as gone where a line of them is.
    fn widen(&self, changed: &[Range<usize>], gone: &mut [bool]) {
        let one_flow = |at: usize| {
            if self.old[at].block.is_some() && self.old[at].block == self.old[at - 1].block {
                return true;
            }
            let (before, line) = (&self.old[at - 1].said, &self.old[at].said);
            !parted(before, line) && !(line.kind == Kind::Text && (line.is_blank() || before.is_blank()))
        };
        for range in changed {
            let (mut start, mut end) = (range.start, range.end);
            // What was only added touches the lines on both sides.
            if range.is_empty() {
                start = start.saturating_sub(1);
                end = (end + 1).min(self.old.len());
            }
            while start > 0 && start < self.old.len() && one_flow(start) {
                start -= 1;
            }
            while end > 0 && end < self.old.len() && one_flow(end) {
                end += 1;
            }
            gone[start..end].fill(true);
        }
    }

    /// Finds the old lines that changed lines were made of, and merges their words.
    fn pair(&self, old: Range<usize>, new: Range<usize>, merged: &mut [Option<(usize, String)>]) {
        let in_order = old.len() == new.len() || old.len() * new.len() > PAIRING_MAX;
        let mut from = new.start;
        for at in old.clone() {
            if self.shares_source(at) {
                continue;
            }
            let candidates = if in_order {
                let twin = new.start + (at - old.start);
                twin..(twin + 1).min(new.end)
            } else {
                from..new.end
            };
            for candidate in candidates {
                if let Some(line) = self.merged(at, candidate, in_order) {
                    merged[candidate] = Some((at, line));
                    from = candidate + 1;
                    break;
                }
            }
        }
    }

    /// Whether another line was read from the same source line.
    fn shares_source(&self, at: usize) -> bool {
        let source = &self.old[at].source;
        at > 0 && self.old[at - 1].source.end > source.start
            || self.old.get(at + 1).is_some_and(|next| next.source.start < source.end)
    }

    /// The rich spelling of an old line with the words changed that the edit changed, if both keep apart.
    fn merged(&self, old: usize, new: usize, twins: bool) -> Option<String> {
        let (before, after) = (&self.old[old].said, &self.new[new].said);
        if before.kind != after.kind || before.is_blank() || after.is_blank() {
            return None;
        }
        let words = |line: &Said| {
            let mut writer = Writer::new(self.people);
            writer.words(line);
            writer.markdown
        };
        let (shown, wanted) = (words(before), words(after));
        let rich = self.source[self.old[old].source.clone()].join("\n");
        let (shown, wanted, rich) = (tokens(&shown), tokens(&wanted), tokens(&rich));
        if !twins && !alike(&shown, &wanted) {
            return None;
        }
        // What the rich line has before and after the words (a bullet, a table's bars) is not part of the merge.
        let hunks = difference(&shown, &rich);
        let head = hunks.first().filter(|hunk| hunk.old == (0..0)).map_or(0, |hunk| hunk.new.end);
        let tail = hunks
            .last()
            .filter(|hunk| hunk.old.is_empty() && hunk.old.start == shown.len() && hunk.new.start >= head)
            .map_or(rich.len(), |hunk| hunk.new.start);
        let middle = merge_slices(&shown, &rich[head..tail], &wanted).ok()?;
        Some([&rich[..head], &middle, &rich[tail..]].concat().concat())
    }

    /// The blocks with lines of their own of which at least one line stays: their fences and rules stay too.
    fn standing_blocks(&self, fates: &Fates) -> HashSet<Range<usize>> {
        let kept = fates.kept.iter().flatten();
        let merged = fates.merged.iter().flatten().map(|(old, _)| old);
        kept.chain(merged).filter_map(|old| self.old[*old].block.clone()).collect()
    }

    /// What to write between two kept lines, in order.
    fn chunks(
        &self,
        way: Way,
        fates: &Fates,
        standing: &HashSet<Range<usize>>,
        old: Range<usize>,
        new: Range<usize>,
        source: Range<usize>,
    ) -> Vec<Chunk<'e>> {
        let mut chunks = Vec::new();
        let mut new_at = new.start;
        let mut old_at = old.start;
        let pure_addition = old.is_empty();
        if pure_addition && !way.below {
            chunks.extend(new.clone().map(Chunk::New));
            new_at = new.end;
        }
        let blank = |line: usize| self.source.get(line).is_none_or(|text| text.trim().is_empty());
        let mut line = source.start;
        while line < source.end {
            // New lines go where the old ones stood that they replace.
            if let Some(shown) = self.old[..old.end].get(old_at).filter(|shown| shown.source.start <= line) {
                let twin = (new_at..new.end).find(|new| fates.merged[*new].is_some());
                let until = match twin.and_then(|twin| fates.merged[twin].as_ref().map(|(old, _)| (twin, *old))) {
                    Some((twin, old)) if old == old_at => twin + 1,
                    // The line's own place comes later; those above it go here.
                    Some((twin, _)) => twin,
                    None => new.end,
                };
                chunks.extend((new_at..until).map(Chunk::New));
                new_at = new_at.max(until);
                old_at += 1;
                line = line.max(shown.source.end.min(source.end));
                continue;
            }
            if !blank(line) {
                let gone = self.blocks[line].is_some_and(|block| !standing.contains(block));
                let inner = old_at > old.start && old_at < old.end;
                if !(gone || way.drop_inner && inner) {
                    let (above, below) = (line > 0 && blank(line - 1), blank(line + 1));
                    chunks.push(Chunk::Unseen(self.source[line], above, below));
                }
            }
            line += 1;
        }
        chunks.extend((new_at..new.end).map(Chunk::New));
        chunks
    }

    /// Writes chunks below what stands, with blank lines where lines must stand apart or stood so.
    fn write(
        &self,
        output: &mut Vec<String>,
        writer: &mut Writer<'_>,
        fates: &Fates,
        chunks: &[Chunk<'_>],
        new: Range<usize>,
    ) {
        let said = |at: usize| self.new.get(at).map(|line| &line.said);
        // The line last written: a new one by number, or an unseen one with whether a blank line stood below.
        let mut above: Option<Result<usize, bool>> = new.start.checked_sub(1).map(Ok);
        let apart = |above: Option<Result<usize, bool>>, below: Result<usize, bool>| match (above, below) {
            (None, _) => false,
            (Some(Ok(above)), Ok(below)) => match (said(above), said(below)) {
                (Some(above), Some(below)) => parted(above, below),
                _ => false,
            },
            // A blank line that is shown stands for the one beside what is not.
            (Some(Err(blank)), Ok(at)) | (Some(Ok(at)), Err(blank)) => blank && !said(at).is_some_and(Said::is_blank),
            (Some(Err(above)), Err(below)) => above || below,
        };
        for chunk in chunks {
            match chunk {
                Chunk::Unseen(text, blank_above, blank_below) => {
                    if apart(above, Err(*blank_above)) {
                        output.push(String::new());
                    }
                    output.push((*text).to_owned());
                    above = Some(Err(*blank_below));
                }
                Chunk::New(at) => {
                    if apart(above, Ok(*at)) {
                        output.push(String::new());
                    }
                    let Some(line) = said(*at) else { continue };
                    if let Some((_, text)) = &fates.merged[*at] {
                        writer.stands(line, text);
                        output.push(text.clone());
                    } else {
                        writer.markdown.clear();
                        writer.content(*at, said, line.kind != Kind::Code || !self.in_standing_block(*at, fates));
                        output.push(writer.markdown.clone());
                    }
                    above = Some(Ok(*at));
                }
            }
        }
        if new.end < self.new.len() && apart(above, Ok(new.end)) {
            output.push(String::new());
        }
    }

    /// Whether any line of the code block that a new line belongs to stands in the rich text already.
    fn in_standing_block(&self, at: usize, fates: &Fates) -> bool {
        let code = |at: usize| self.new[at].said.kind == Kind::Code;
        let mut start = at;
        while start > 0 && !self.new[start].said.first && code(start - 1) {
            start -= 1;
        }
        let mut end = at + 1;
        while end < self.new.len() && code(end) && !self.new[end].said.first {
            end += 1;
        }
        (start..end).any(|line| fates.kept[line].is_some() || fates.merged[line].is_some())
    }
}

/// Words, and everything else sign by sign.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() {
            rest.find(|sign: char| !sign.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// Whether at least a third of the longer of two lines is the same at their ends.
fn alike(one: &[&str], other: &[&str]) -> bool {
    let head = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let tail = one[head..].iter().rev().zip(other[head..].iter().rev()).take_while(|(one, other)| one == other).count();
    (head + tail) * 3 >= one.len().max(other.len())
}
