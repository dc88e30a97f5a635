//! Three-way merge of texts by lines, and the bounded line difference below it.
//!
//! As git does it: edits that overlap or touch without an unchanged line between them are a conflict
//! unless they are equal; everything else is taken over from the side that made it.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

use serde::Serialize;
use similar::{Algorithm, DiffOp};

use crate::model::Side;

/// Differing lines of both texts together beyond which the exact difference (quadratic at worst) gives
/// way to one anchored on lines that occur once.
const EXACT_LINES_MAX: usize = 6_000;

/// What a three-way merge came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The merged text.
    Clean(String),
    /// Edits that overlap, in the order of the text; never empty.
    Conflict(Vec<Overlap>),
}

/// One place that both sides edited differently: whole lines of the three texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overlap {
    /// What both last agreed on.
    pub base: String,
    /// What the tracker says instead.
    pub tracker: String,
    /// What the forge says instead.
    pub forge: String,
}

/// Merges what the tracker and the forge made of `base`, line by line.
pub fn merge(base: &str, tracker: &str, forge: &str) -> Merged {
    if tracker == forge || forge == base {
        return Merged::Clean(tracker.to_owned());
    }
    if tracker == base {
        return Merged::Clean(forge.to_owned());
    }
    let (base, tracker, forge) = (lines(base), lines(tracker), lines(forge));
    match merge_slices(&base, &tracker, &forge) {
        Ok(merged) => Merged::Clean(merged.join("\n")),
        Err(overlaps) => Merged::Conflict(
            overlaps
                .into_iter()
                .map(|clash| Overlap {
                    base: base[clash.base].join("\n"),
                    tracker: tracker[clash.ours].join("\n"),
                    forge: forge[clash.theirs].join("\n"),
                })
                .collect(),
        ),
    }
}

/// Merges as [`merge`] does and takes the overlapping lines, and only those, from one side.
pub fn merge_taking(base: &str, tracker: &str, forge: &str, side: Side) -> String {
    let (base, tracker, forge) = (lines(base), lines(tracker), lines(forge));
    let (ours, theirs) = match side {
        Side::Tracker => (&tracker, &forge),
        Side::Forge => (&forge, &tracker),
    };
    merge_favouring(&base, ours, theirs).0.join("\n")
}

/// A stretch of two edits of one text, for people: agreed on, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stretch {
    /// Whole lines as merged.
    Agreed(String),
    /// Lines that both sides edited differently.
    Overlap(Overlap),
}

/// The merge as a sequence of stretches, each of at least one line on some side.
pub fn stretches(base: &str, tracker: &str, forge: &str) -> Vec<Stretch> {
    let (base, tracker, forge) = (lines(base), lines(tracker), lines(forge));
    let (merged, clashes) = merge_favouring(&base, &tracker, &forge);
    let mut found = Vec::new();
    let mut at = 0;
    for Clash { base: in_base, ours, theirs, merged: place } in clashes {
        if at < place {
            found.push(Stretch::Agreed(merged[at..place].join("\n")));
        }
        at = place + ours.len();
        found.push(Stretch::Overlap(Overlap {
            base: base[in_base].join("\n"),
            tracker: tracker[ours].join("\n"),
            forge: forge[theirs].join("\n"),
        }));
    }
    if at < merged.len() {
        found.push(Stretch::Agreed(merged[at..].join("\n")));
    }
    found
}

/// Merges as [`merge`] does; of the lines that overlap, the tracker's stand first and the forge's after them.
pub fn merge_keeping(base: &str, tracker: &str, forge: &str) -> String {
    let (in_base, in_tracker, in_forge) = (lines(base), lines(tracker), lines(forge));
    let (merged, clashes) = merge_favouring(&in_base, &in_tracker, &in_forge);
    let mut kept: Vec<&str> = Vec::with_capacity(merged.len());
    let mut at = 0;
    for Clash { ours, theirs, merged: place, .. } in clashes {
        let end = place + ours.len();
        kept.extend_from_slice(&merged[at..end]);
        at = end;
        // Two versions of a whole text are two texts, not one paragraph.
        if in_base.is_empty() && !ours.is_empty() && !theirs.is_empty() {
            kept.push("");
        }
        kept.extend_from_slice(&in_forge[theirs]);
    }
    kept.extend_from_slice(&merged[at..]);
    kept.join("\n")
}

/// One conflict: its ranges in base, ours and theirs, and where ours stands in the merged sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Clash {
    base: Range<usize>,
    ours: Range<usize>,
    theirs: Range<usize>,
    merged: usize,
}

/// Merges two edits of a sequence, or answers where they clash.
pub(super) fn merge_slices<'t, T: Hash + Eq + ?Sized>(
    base: &[&'t T],
    ours: &[&'t T],
    theirs: &[&'t T],
) -> Result<Vec<&'t T>, Vec<Clash>> {
    let (merged, clashes) = merge_favouring(base, ours, theirs);
    if clashes.is_empty() { Ok(merged) } else { Err(clashes) }
}

/// Merges two edits of a sequence; where they clash, ours stands, and the places are answered too.
fn merge_favouring<'t, T: Hash + Eq + ?Sized>(
    base: &[&'t T],
    ours: &[&'t T],
    theirs: &[&'t T],
) -> (Vec<&'t T>, Vec<Clash>) {
    let our_hunks = difference(base, ours);
    let their_hunks = difference(base, theirs);
    let mut merged = Vec::with_capacity(ours.len().max(theirs.len()));
    let mut clashes = Vec::new();
    let (mut our_next, mut their_next) = (0, 0);
    // Where in each sequence everything before is settled.
    let (mut base_at, mut our_at, mut their_at) = (0, 0, 0);
    loop {
        // The region of the next edit, grown while hunks of either side overlap or touch it.
        let start = match (our_hunks.get(our_next), their_hunks.get(their_next)) {
            (None, None) => break,
            (Some(hunk), None) | (None, Some(hunk)) => hunk.old.start,
            (Some(one), Some(other)) => one.old.start.min(other.old.start),
        };
        let (our_first, their_first) = (our_next, their_next);
        let mut end = start;
        loop {
            if let Some(hunk) = our_hunks.get(our_next).filter(|hunk| hunk.old.start <= end) {
                end = end.max(hunk.old.end);
                our_next += 1;
            } else if let Some(hunk) = their_hunks.get(their_next).filter(|hunk| hunk.old.start <= end) {
                end = end.max(hunk.old.end);
                their_next += 1;
            } else {
                break;
            }
        }
        let quiet = start - base_at;
        merged.extend_from_slice(&base[base_at..start]);
        let (our_start, their_start) = (our_at + quiet, their_at + quiet);
        our_at = our_start + grown(&our_hunks[our_first..our_next], end - start);
        their_at = their_start + grown(&their_hunks[their_first..their_next], end - start);
        base_at = end;
        let (our_part, their_part) = (&ours[our_start..our_at], &theirs[their_start..their_at]);
        if their_first == their_next || our_part == their_part {
            merged.extend_from_slice(our_part);
        } else if our_first == our_next {
            merged.extend_from_slice(their_part);
        } else {
            let (ours, theirs) = (our_start..our_at, their_start..their_at);
            clashes.push(Clash { base: start..end, ours, theirs, merged: merged.len() });
            merged.extend_from_slice(our_part);
        }
    }
    merged.extend_from_slice(&base[base_at..]);
    (merged, clashes)
}

/// The length that `length` base elements have after `hunks`.
fn grown(hunks: &[Hunk], length: usize) -> usize {
    let removed: usize = hunks.iter().map(|hunk| hunk.old.len()).sum();
    let added: usize = hunks.iter().map(|hunk| hunk.new.len()).sum();
    length + added - removed
}

/// A run of elements replaced by another; one of the two may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hunk {
    /// Where in the old sequence.
    pub(super) old: Range<usize>,
    /// Where in the new sequence.
    pub(super) new: Range<usize>,
}

/// The edits that make `new` of `old`, in order, with at least one equal element between any two.
pub(super) fn difference<'t, T: Hash + Eq + ?Sized>(old: &[&'t T], new: &[&'t T]) -> Vec<Hunk> {
    let head = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let tail = old[head..].iter().rev().zip(new[head..].iter().rev()).take_while(|(one, other)| one == other).count();
    let (old, new) = (&old[head..old.len() - tail], &new[head..new.len() - tail]);
    let mut hunks = Vec::new();
    if old.is_empty() || new.is_empty() {
        if old.len() + new.len() > 0 {
            push(&mut hunks, head..head + old.len(), head..head + new.len());
        }
        return hunks;
    }
    // Numbers are cheaper to compare than what they stand for.
    let mut numbers = HashMap::new();
    let (old, new) = (numbered(old, &mut numbers), numbered(new, &mut numbers));
    for (old_gap, new_gap) in gaps(&old, &new) {
        exact(&mut hunks, head, &old, old_gap, &new, new_gap);
    }
    hunks
}

/// Equal numbers for equal elements.
fn numbered<'t, T: Hash + Eq + ?Sized>(elements: &[&'t T], numbers: &mut HashMap<&'t T, u32>) -> Vec<u32> {
    let mut numbered = Vec::with_capacity(elements.len());
    for element in elements {
        // Texts have far fewer lines than there are numbers.
        let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
        numbered.push(*numbers.entry(*element).or_insert(next));
    }
    numbered
}

/// Cuts two long sequences at elements that occur once in each, in the same order; short ones stay whole.
fn gaps(old: &[u32], new: &[u32]) -> Vec<(Range<usize>, Range<usize>)> {
    if old.len() + new.len() <= EXACT_LINES_MAX {
        return vec![(0..old.len(), 0..new.len())];
    }
    let once = |elements: &[u32]| -> HashMap<u32, Option<usize>> {
        let mut seen = HashMap::new();
        for (at, element) in elements.iter().enumerate() {
            seen.entry(*element).and_modify(|place| *place = None).or_insert(Some(at));
        }
        seen
    };
    let (in_old, in_new) = (once(old), once(new));
    let pairs: Vec<(usize, usize)> = old
        .iter()
        .enumerate()
        .filter(|(_, element)| in_old.get(element).is_some_and(Option::is_some))
        .filter_map(|(at, element)| Some((at, (*in_new.get(element)?)?)))
        .collect();
    let mut gaps = Vec::new();
    let (mut old_at, mut new_at) = (0, 0);
    for (old_anchor, new_anchor) in rising(&pairs) {
        gaps.push((old_at..old_anchor, new_at..new_anchor));
        (old_at, new_at) = (old_anchor + 1, new_anchor + 1);
    }
    gaps.push((old_at..old.len(), new_at..new.len()));
    gaps
}

/// The longest run of pairs in which the second parts rise as the first do.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // Patience: `piles` holds, per length, the pair that ends a run of that length lowest.
    let mut piles: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; pairs.len()];
    for (at, pair) in pairs.iter().enumerate() {
        let pile = piles.partition_point(|top| pairs[*top].1 < pair.1);
        before[at] = pile.checked_sub(1).map(|lower| piles[lower]);
        if pile == piles.len() {
            piles.push(at);
        } else {
            piles[pile] = at;
        }
    }
    let mut run = Vec::with_capacity(piles.len());
    let mut at = piles.last().copied();
    while let Some(here) = at {
        run.push(pairs[here]);
        at = before[here];
    }
    run.reverse();
    run
}

/// Adds the edits between two gaps; a gap beyond the bound is one edit, which is coarse but right.
fn exact(hunks: &mut Vec<Hunk>, head: usize, old: &[u32], old_gap: Range<usize>, new: &[u32], new_gap: Range<usize>) {
    let place = |range: Range<usize>, offset: usize| range.start + offset..range.end + offset;
    if old_gap.is_empty() && new_gap.is_empty() {
        return;
    }
    if old_gap.is_empty() || new_gap.is_empty() || old_gap.len() + new_gap.len() > EXACT_LINES_MAX {
        push(hunks, place(old_gap, head), place(new_gap, head));
        return;
    }
    // Only what is equal is taken from the library: the positions it gives for the rest can be stale once it has
    // moved edits together (similar 2.7, `Compact`).
    let (mut old_at, mut new_at) = (old_gap.start, new_gap.start);
    let ops = similar::capture_diff_slices(Algorithm::Myers, &old[old_gap.clone()], &new[new_gap.clone()]);
    let equal = ops.into_iter().filter_map(|op| match op {
        DiffOp::Equal { old_index, new_index, len } => {
            Some((old_gap.start + old_index, new_gap.start + new_index, len))
        }
        _ => None,
    });
    for (old_start, new_start, length) in equal.chain([(old_gap.end, new_gap.end, 0)]) {
        if old_at < old_start || new_at < new_start {
            push(hunks, place(old_at..old_start, head), place(new_at..new_start, head));
        }
        (old_at, new_at) = (old_start + length, new_start + length);
    }
}

/// Adds an edit, joined to the one before when nothing equal lies between.
fn push(hunks: &mut Vec<Hunk>, old: Range<usize>, new: Range<usize>) {
    match hunks.last_mut() {
        Some(last) if last.old.end == old.start && last.new.end == new.start => {
            last.old.end = old.end;
            last.new.end = new.end;
        }
        _ => hunks.push(Hunk { old, new }),
    }
}

/// The lines of a text; none of an empty one.
pub(super) fn lines(text: &str) -> Vec<&str> {
    if text.is_empty() { Vec::new() } else { text.split('\n').collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Few different lines, so that texts share many.
    fn text() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "", "dd"]), 0..9)
            .prop_map(|lines| lines.join("\n"))
    }

    fn clean(base: &str, tracker: &str, forge: &str) -> String {
        match merge(base, tracker, forge) {
            Merged::Clean(text) => text,
            Merged::Conflict(overlaps) => format!("conflict {overlaps:?}"),
        }
    }

    #[test]
    fn edits_that_keep_apart_merge_and_touching_ones_conflict_as_in_git() {
        assert_eq!(clean("1\n2\n3", "1a\n2\n3", "1\n2\n3b"), "1a\n2\n3b");
        assert_eq!(clean("1\n2\n3", "0\n1\n2\n3", "1\n2\n3\n4"), "0\n1\n2\n3\n4");
        assert_eq!(clean("1\n2\n3", "1\n3", "1\n2\n3\n4"), "1\n3\n4");
        assert_eq!(clean("1\n2", "1\nx\n2", "1\nx\n2"), "1\nx\n2");
        let overlap = |base: &str, tracker: &str, forge: &str| {
            Merged::Conflict(vec![Overlap { base: base.into(), tracker: tracker.into(), forge: forge.into() }])
        };
        assert_eq!(merge("1\n2\n3", "1\nx\n3", "1\ny\n3"), overlap("2", "x", "y"));
        assert_eq!(merge("1\n2\n3", "1a\n2\n3", "1\n2b\n3"), overlap("1\n2", "1a\n2", "1\n2b"));
        assert_eq!(merge("1", "1\nx", "1\ny"), overlap("", "x", "y"));
    }

    #[test]
    fn both_versions_of_overlapping_lines_are_kept_one_after_the_other() {
        assert_eq!(merge_keeping("1\n2\n3", "1\nx\n3", "1\ny\n3\n4"), "1\nx\ny\n3\n4");
        assert_eq!(merge_keeping("", "ours", "theirs"), "ours\n\ntheirs");
    }

    #[test]
    fn long_texts_merge_within_the_bound() {
        let base: Vec<String> = (0..40_000).map(|line| format!("line {line}")).collect();
        let mut tracker = base.clone();
        tracker.iter_mut().step_by(3).for_each(|line| line.push('t'));
        let mut forge = base.clone();
        forge[1].push('f');
        let merged = clean(&base.join("\n"), &tracker.join("\n"), &forge.join("\n"));
        assert!(merged.starts_with("line 0t\nline 1f\nline 2") || merged.starts_with("conflict"));
        // Nothing in common, and everything the same: the two ends of what a difference costs.
        let other = "x\n".repeat(30_000);
        assert_eq!(merge(&base.join("\n"), &other, &base.join("\n")), Merged::Clean(other.clone()));
        assert!(matches!(merge(&base.join("\n"), &other, &"y\n".repeat(30_000)), Merged::Conflict(_)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2_000), failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_difference_makes_the_new_of_the_old(old in text(), new in text()) {
            let (old, new) = (lines(&old), lines(&new));
            let mut made = Vec::new();
            let (mut old_at, mut new_at) = (0, 0);
            for hunk in difference(&old, &new) {
                prop_assert!(hunk.old.start >= old_at && hunk.new.start >= new_at);
                made.extend_from_slice(&old[old_at..hunk.old.start]);
                prop_assert_eq!(made.len(), hunk.new.start);
                made.extend_from_slice(&new[hunk.new.clone()]);
                (old_at, new_at) = (hunk.old.end, hunk.new.end);
            }
            made.extend_from_slice(&old[old_at..]);
            prop_assert_eq!(made, new);
        }

        #[test]
        fn a_merge_obeys_its_laws(base in text(), one in text(), other in text()) {
            prop_assert_eq!(merge(&base, &one, &base), Merged::Clean(one.clone()));
            prop_assert_eq!(merge(&base, &base, &other), Merged::Clean(other.clone()));
            prop_assert_eq!(merge(&base, &one, &one), Merged::Clean(one.clone()));
            let mirrored = match merge(&base, &other, &one) {
                Merged::Clean(text) => Merged::Clean(text),
                Merged::Conflict(overlaps) => Merged::Conflict(
                    overlaps
                        .into_iter()
                        .map(|Overlap { base, tracker, forge }| Overlap { base, tracker: forge, forge: tracker })
                        .collect(),
                ),
            };
            prop_assert_eq!(merge(&base, &one, &other), mirrored);
        }

        #[test]
        fn the_stretches_are_the_whole_merge_whichever_side_is_taken(base in text(), one in text(), other in text()) {
            let stretches = stretches(&base, &one, &other);
            let overlaps: Vec<Overlap> = stretches
                .iter()
                .filter_map(|stretch| match stretch {
                    Stretch::Overlap(overlap) => Some(overlap.clone()),
                    Stretch::Agreed(_) => None,
                })
                .collect();
            match merge(&base, &one, &other) {
                Merged::Clean(_) => prop_assert_eq!(overlaps, []),
                Merged::Conflict(known) => prop_assert_eq!(overlaps, known),
            }
            for side in Side::BOTH {
                // A stretch of no line and one of an empty line read the same: only what is not empty is compared.
                let said = |text: &str| text.split('\n').filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
                let whole: Vec<&str> = stretches
                    .iter()
                    .map(|stretch| match (stretch, side) {
                        (Stretch::Agreed(text), _) => text.as_str(),
                        (Stretch::Overlap(overlap), Side::Tracker) => &overlap.tracker,
                        (Stretch::Overlap(overlap), Side::Forge) => &overlap.forge,
                    })
                    .collect();
                prop_assert_eq!(said(&whole.join("\n")), said(&merge_taking(&base, &one, &other, side)));
            }
        }

        #[test]
        fn keeping_both_loses_no_line_of_either(base in text(), one in text(), other in text()) {
            let kept = merge_keeping(&base, &one, &other);
            match merge(&base, &one, &other) {
                Merged::Clean(merged) => prop_assert_eq!(kept, merged),
                Merged::Conflict(_) => {
                    let kept = lines(&kept);
                    for side in Side::BOTH {
                        let taken = merge_taking(&base, &one, &other, side);
                        // In order, with the other side's lines between them.
                        let mut at = kept.iter();
                        for line in lines(&taken) {
                            prop_assert!(at.any(|kept| *kept == line), "{:?} lacks {:?} of {:?}", kept, line, taken);
                        }
                    }
                }
            }
        }

        #[test]
        fn a_clean_merge_has_every_line_added_and_every_line_both_kept(base in text(), one in text(), other in text()) {
            if let Merged::Clean(merged) = merge(&base, &one, &other) {
                let (base, one, other) = (lines(&base), lines(&one), lines(&other));
                let merged = lines(&merged);
                for line in ["a", "b", "c", "", "dd"] {
                    let of = |lines: &[&str]| lines.iter().filter(|other| **other == line).count();
                    let edited = |side: &[&str]| {
                        let hunks = difference(&base, side);
                        let added: usize = hunks.iter().map(|hunk| of(&side[hunk.new.clone()])).sum();
                        let removed: usize = hunks.iter().map(|hunk| of(&base[hunk.old.clone()])).sum();
                        (added, removed)
                    };
                    let ((ours, we_removed), (theirs, they_removed)) = (edited(&one), edited(&other));
                    let kept = of(&base).saturating_sub(we_removed + they_removed);
                    prop_assert!(of(&merged) >= kept + ours.max(theirs), "{:?} lost {:?}", merged, line);
                    prop_assert!(of(&merged) <= of(&base) + ours + theirs, "{:?} gained {:?}", merged, line);
                }
            }
        }
    }
}
