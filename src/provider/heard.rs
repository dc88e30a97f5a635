//! What a delivery says, whichever service sent it: which items may have moved. A hint, never a message.

use std::collections::HashSet;

use crate::model::{IssueRef, ItemKey, RepoName};

/// Items named by one delivery at most; one that names more asks for a sweep, which is cheaper than as many visits.
pub const TOUCHED_MAX: usize = 500;
/// Longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 200;
/// Longest title, login and address taken from a pull request, in characters; longer ones are cut.
const WORDS_CHARS_MAX: usize = 300;

/// A delivery reduced to what is done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Heard {
    /// What happened, in the service's words: `issues.closed`, `ping`; of Asana `events` or `heartbeat`.
    pub event: String,
    /// The items that may have moved, each once, in the order named; at most [`TOUCHED_MAX`].
    pub touched: Vec<ItemKey>,
    /// Whether more than these is to be looked at.
    pub whole: Option<Whole>,
    /// The repository it is about, by the name it has now.
    pub repository: Option<RepoName>,
    /// The repository's id, which no renaming changes.
    pub repository_id: Option<i64>,
    /// The name the repository had until now.
    pub renamed_from: Option<RepoName>,
    /// The hook it speaks of itself (GitHub: `ping`, `meta`).
    pub hook_id: Option<i64>,
    /// The pull request it is about, when something happened to it that a person wants to know.
    pub pull_request: Option<PullRequestHeard>,
    /// For a person: what was not understood or not acted upon. At most [`NOTE_CHARS_MAX`] characters, never a body.
    pub note: Option<String>,
}

/// How much more than the touched items is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whole {
    /// What moved since the last poll.
    Poll,
    /// Everything: something changed that moves no item's time, such as a label's name.
    Sweep,
}

/// A pull request, and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequestHeard {
    /// Where it stands: the repository it is to be merged into.
    pub repo: RepoName,
    /// Its number there.
    pub number: u64,
    /// Its title, on one line.
    pub title: String,
    /// Its address for a browser.
    pub url: String,
    /// The login of who opened it.
    pub author: String,
    /// The login of who did this to it.
    pub by: String,
    /// What happened.
    pub act: PullRequestAct,
    /// The issues that its description says merging it closes, each once; empty when it is to be merged
    /// into another branch than the default one, for then nothing is closed.
    pub closes: Vec<IssueRef>,
}

/// What happened to a pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullRequestAct {
    /// It is new.
    Opened,
    /// It was closed unmerged and is open again.
    Reopened,
    /// It was merged.
    Merged,
    /// It was closed without being merged.
    ClosedUnmerged,
    /// Its title, description or base branch changed.
    Edited,
}

impl PullRequestAct {
    /// As it stands in a sentence: `opened`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Opened => "opened",
            Self::Reopened => "reopened",
            Self::Merged => "merged",
            Self::ClosedUnmerged => "closed without merging",
            Self::Edited => "edited",
        }
    }
}

impl std::fmt::Display for PullRequestAct {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.pad(self.as_str())
    }
}

impl Heard {
    /// Nothing yet but what happened.
    pub(super) fn of(event: impl Into<String>) -> Self {
        Self { event: event.into(), ..Self::default() }
    }

    /// Asks for at least so much to be looked at.
    pub(super) fn look(&mut self, whole: Whole) {
        self.whole = self.whole.max(Some(whole));
    }

    /// Says something to a person; several things stand one after the other.
    pub(super) fn say(&mut self, words: &str) {
        let note = match self.note.take() {
            Some(before) => format!("{before}; {words}"),
            None => words.to_owned(),
        };
        self.note = Some(one_line(&note, NOTE_CHARS_MAX));
    }
}

/// Gathers touched items, each once, up to [`TOUCHED_MAX`].
#[derive(Debug, Default)]
pub(super) struct Touches {
    list: Vec<ItemKey>,
    seen: HashSet<ItemKey>,
    over: bool,
}

impl Touches {
    pub(super) fn add(&mut self, key: ItemKey) {
        if self.seen.contains(&key) {
            return;
        }
        if self.list.len() >= TOUCHED_MAX {
            self.over = true;
            return;
        }
        self.seen.insert(key.clone());
        self.list.push(key);
    }

    /// Hands the items over.
    pub(super) fn into(self, heard: &mut Heard) {
        heard.touched = self.list;
        if self.over {
            heard.look(Whole::Sweep);
            heard.say(&format!("it names more than {TOUCHED_MAX} items; everything is looked at"));
        }
    }
}

/// Words from outside on one line, cut to the usual length.
pub(super) fn words(text: &str) -> String {
    one_line(text, WORDS_CHARS_MAX)
}

/// `text` on one line, without control signs, cut to `chars_max` characters.
fn one_line(text: &str, chars_max: usize) -> String {
    // Twice the length is read at most: what lies beyond is cut anyway.
    let line: String =
        text.chars().take(2 * chars_max).map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    let line = line.trim();
    if line.chars().count() <= chars_max && text.chars().nth(2 * chars_max).is_none() {
        return line.to_owned();
    }
    line.chars().take(chars_max - 1).chain(['…']).collect()
}

/// A name from outside as it may stand in a table or a log: `a-z`, digits and `_`, at most 60 bytes.
pub(super) fn plain_name(text: &str) -> Option<&str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    ((1..=60).contains(&text.len()) && text.bytes().all(fits)).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(number: usize) -> ItemKey {
        ItemKey::Task(number.to_string().parse().expect("a gid"))
    }

    #[test]
    fn items_are_kept_once_in_order_and_too_many_are_a_sweep() {
        let gather = |all: &mut dyn Iterator<Item = usize>| {
            let (mut heard, mut touches) = (Heard::of("events"), Touches::default());
            all.for_each(|number| touches.add(task(number)));
            touches.into(&mut heard);
            heard
        };
        let heard = gather(&mut [3, 1, 3, 2, 1].into_iter());
        assert_eq!(heard.touched, [task(3), task(1), task(2)]);
        assert_eq!((heard.whole, heard.note), (None, None));
        let heard = gather(&mut (0..TOUCHED_MAX).chain(0..TOUCHED_MAX));
        assert_eq!((heard.touched.len(), heard.whole), (TOUCHED_MAX, None));
        let heard = gather(&mut (0..=TOUCHED_MAX));
        assert_eq!((heard.touched.len(), heard.whole), (TOUCHED_MAX, Some(Whole::Sweep)));
        assert!(heard.note.is_some());
    }

    #[test]
    fn looking_at_more_is_never_taken_back() {
        let mut heard = Heard::of("x");
        for (asked, wanted) in [(Whole::Poll, Whole::Poll), (Whole::Sweep, Whole::Sweep), (Whole::Poll, Whole::Sweep)] {
            heard.look(asked);
            assert_eq!(heard.whole, Some(wanted));
        }
    }

    #[test]
    fn words_stand_on_one_line_of_bounded_length() {
        assert_eq!(words("a\r\nb\u{1b}[31m"), "a  b [31m");
        assert_eq!(words(&"é".repeat(WORDS_CHARS_MAX)).chars().count(), WORDS_CHARS_MAX);
        let cut = words(&"é".repeat(1_000_000));
        assert_eq!((cut.chars().count(), cut.ends_with('…')), (WORDS_CHARS_MAX, true));
        assert!(words(&format!("a{}b", " ".repeat(10 * WORDS_CHARS_MAX))).ends_with('…'));
        let mut heard = Heard::of("x");
        (0..100).for_each(|_| heard.say("something to say"));
        assert!(heard.note.is_some_and(|note| note.chars().count() <= NOTE_CHARS_MAX));
    }

    #[test]
    fn names_are_plain_or_no_names() {
        for (text, fits) in
            [("issues", true), ("sub_issues", true), ("v2", true), ("", false), ("a b", false), ("é", false)]
        {
            assert_eq!(plain_name(text).is_some(), fits, "{text}");
        }
        assert_eq!(plain_name(&"a".repeat(61)), None);
    }
}
