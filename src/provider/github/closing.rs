//! Which issues a pull request's description says that merging it closes. Pure.
//!
//! A closing keyword in any case, perhaps a colon, white space, then `#N`, `OWNER/REPO#N` or an issue's whole
//! address; each issue needs a keyword of its own (GitHub, "Linking a pull request to an issue"). Read is
//! what shows as words: not code, not raw HTML and its comments, not escaped signs. Accepted: words inside a
//! block of raw HTML are not read, so what a bot folds into `<details>` without blank lines names nothing here.
//!
//! The names are what an author wrote and prove nothing: whether such an issue is linked, and whether the
//! author has any business with it, is for the caller.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use crate::model::{IssueRef, RepoName};

/// The words that close (GitHub, "Linking a pull request to an issue").
const KEYWORDS: [&str; 9] = ["close", "closes", "closed", "fix", "fixes", "fixed", "resolve", "resolves", "resolved"];
/// Issues named by one description at most; the rest is not read.
const CLOSES_MAX: usize = 50;
/// What is read of a description, in characters: GitHub takes no longer one.
const DESCRIPTION_CHARS_MAX: usize = 65_536;
/// Longest number of an issue, in digits.
const NUMBER_DIGITS_MAX: usize = 10;
/// Longest name or address of an issue that is read, in characters; the longest names of owner and repository fit.
const REFERENCE_CHARS_MAX: usize = 512;
/// Between words that do not belong together. Markdown itself knows no such sign.
const BREAK: char = '\0';
/// Where markup begins or ends. It may stand between a keyword and its issue, but not within either.
const EDGE: char = '\u{1}';

/// The issues that `description` closes, each once, in its order. A bare `#N` is of `home`; addresses count
/// only when they lead to `host`, the host of the service's web pages.
pub fn closing(description: &str, home: &RepoName, host: &str) -> Vec<IssueRef> {
    let mut closes: Vec<IssueRef> = Vec::new();
    for words in said(description).split(BREAK) {
        for issue in named(words, home, host) {
            if closes.len() >= CLOSES_MAX {
                return closes;
            }
            if !closes.contains(&issue) {
                closes.push(issue);
            }
        }
    }
    closes
}

/// The words of a Markdown text, with [`BREAK`] where something else stands between them and [`EDGE`] where
/// only signs of markup do.
fn said(description: &str) -> String {
    let source: String = description.chars().take(DESCRIPTION_CHARS_MAX).collect();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut words = String::with_capacity(source.len());
    let mut in_code = false;
    let mut read = 0;
    for (event, place) in Parser::new_ext(&source, options).into_offset_iter() {
        match event {
            Event::Text(_) if in_code => {}
            Event::Text(text) => {
                let escaped = place.start > 0 && source.as_bytes().get(place.start - 1) == Some(&b'\\');
                // Written in another way than it shows, `&#35;` for `#`.
                let meant = source.get(place.clone()) == Some(&*text);
                if escaped || !meant {
                    words.push(BREAK);
                } else if place.start != read {
                    words.push(EDGE);
                }
                read = if meant { place.end } else { usize::MAX };
                words.push_str(if meant { &text } else { "" });
            }
            Event::SoftBreak | Event::HardBreak => words.push('\n'),
            Event::Start(Tag::Emphasis | Tag::Strong | Tag::Strikethrough | Tag::Link { .. })
            | Event::End(TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough | TagEnd::Link) => {}
            Event::Start(tag) => {
                in_code |= matches!(tag, Tag::CodeBlock(_));
                words.push(BREAK);
            }
            Event::End(tag) => {
                in_code &= tag != TagEnd::CodeBlock;
                words.push(BREAK);
            }
            _ => words.push(BREAK),
        }
    }
    words
}

/// The issues that follow a keyword in words that belong together.
fn named<'a>(words: &'a str, home: &'a RepoName, host: &'a str) -> impl Iterator<Item = IssueRef> + 'a {
    let inside = |sign: char| sign.is_alphanumeric() || sign == '_';
    let mut rest = words;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(inside)?;
            rest = rest.get(start..)?;
            let end = rest.find(|sign| !inside(sign)).unwrap_or(rest.len());
            let (word, behind) = rest.split_at_checked(end)?;
            rest = behind;
            if KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word)) {
                let behind = behind.trim_start_matches(EDGE);
                let behind = behind.strip_prefix(':').unwrap_or(behind);
                let target = behind.trim_start_matches(|sign: char| sign.is_whitespace() || sign == EDGE);
                let gap = behind.get(..behind.len() - target.len()).unwrap_or_default();
                let end = target.char_indices().nth(REFERENCE_CHARS_MAX).map_or(target.len(), |(at, _)| at);
                let target = target.get(..end).filter(|_| gap.contains(char::is_whitespace));
                let issue = target.and_then(|target| reference(target, home, host));
                if issue.is_some() {
                    return issue;
                }
            }
        }
    })
}

/// The issue that `text` begins with.
fn reference(text: &str, home: &RepoName, host: &str) -> Option<IssueRef> {
    if let Some(digits) = text.strip_prefix('#') {
        return Some(IssueRef { repo: home.clone(), number: number(digits)? });
    }
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    if let Some(scheme) = scheme {
        let (there, path) = text.get(scheme.len()..)?.split_once('/')?;
        if !there.eq_ignore_ascii_case(host) {
            return None;
        }
        let (owner, rest) = path.split_once('/')?;
        let (name, rest) = rest.split_once('/')?;
        let repo = format!("{owner}/{name}").parse().ok()?;
        return Some(IssueRef { repo, number: number(rest.strip_prefix("issues/")?)? });
    }
    let (repo, digits) = text.split_once('#')?;
    Some(IssueRef { repo: repo.parse().ok()?, number: number(digits)? })
}

/// The number that `text` begins with, not running on into a word.
fn number(text: &str) -> Option<u64> {
    let end = text.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(text.len());
    let (digits, behind) = text.split_at_checked(end)?;
    let ends = !behind.starts_with(|sign: char| sign.is_alphanumeric() || sign == '_');
    if !ends || digits.len() > NUMBER_DIGITS_MAX {
        return None;
    }
    digits.parse().ok().filter(|number| *number > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn closes(description: &str) -> Vec<String> {
        let home = "acme/app".parse().expect("a name");
        closing(description, &home, "github.com").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_keyword_closes_in_any_case_with_or_without_a_colon() {
        for keyword in KEYWORDS {
            for word in [
                keyword.to_owned(),
                keyword.to_uppercase(),
                format!("{}{}", &keyword[..1].to_uppercase(), &keyword[1..]),
            ] {
                for colon in ["", ":"] {
                    assert_eq!(closes(&format!("This {word}{colon} #17.")), ["acme/app#17"], "{word}{colon}");
                }
            }
        }
        for word in ["closing", "fixing", "resolving", "hotfixes", "unresolved", "see", "fix_", "éfix", "refs", ""] {
            assert_eq!(closes(&format!("{word} #17")), [""; 0], "{word}");
        }
    }

    #[test]
    fn an_issue_is_named_by_number_repository_or_address() {
        let table: [(&str, &[&str]); 36] = [
            ("fixes #1", &["acme/app#1"]),
            ("fixes octo/other#2", &["octo/other#2"]),
            ("Fixes a-b.c/d_e.f#2, thanks", &["a-b.c/d_e.f#2"]),
            ("fixes https://github.com/octo/other/issues/3", &["octo/other#3"]),
            ("fixes HTTPS://GitHub.com/octo/other/issues/3#issuecomment-9", &["octo/other#3"]),
            ("fixes <https://github.com/octo/other/issues/3>", &["octo/other#3"]),
            ("fixes [#4](https://elsewhere.example)", &["acme/app#4"]),
            ("**Fixes** *#5*", &["acme/app#5"]),
            ("**Fixes:** [#5](x)", &["acme/app#5"]),
            ("**Fixes**: ~~#5~~", &["acme/app#5"]),
            ("fixes *#7*0", &["acme/app#7"]),
            ("fi*xes* #7", &[]),
            ("fixes oc*to*/lib#7", &[]),
            ("fixes &#35;7", &[]),
            ("fixes\n#6", &["acme/app#6"]),
            ("fixes \t #7", &["acme/app#7"]),
            ("fixes #1, fixes #2 and closes #1", &["acme/app#1", "acme/app#2"]),
            ("fixes #1, #2", &["acme/app#1"]),
            ("fix fixes #1", &["acme/app#1"]),
            ("- [ ] closes #1\n- [x] resolves #2", &["acme/app#1", "acme/app#2"]),
            ("| a | b |\n|---|---|\n| fixes #1 | #2 |", &["acme/app#1"]),
            ("fixes #1\u{2028}closes #2", &["acme/app#1", "acme/app#2"]),
            ("fixes https://github.com/octo/other/pull/3", &[]),
            ("fixes https://github.com.evil.example/octo/other/issues/3", &[]),
            ("fixes https://evil.example/github.com/octo/issues/3", &[]),
            ("fixes https://github.com/octo/other/issues/", &[]),
            ("fixes ftp://github.com/octo/other/issues/3", &[]),
            ("fixes #0", &[]),
            ("fixes #1a", &[]),
            ("fixes #99999999999999999999999", &[]),
            ("fixes #", &[]),
            ("fixes #-1", &[]),
            ("fixes 17", &[]),
            ("fixes:#1 fixes#2", &[]),
            ("fixes a/b/c#1", &[]),
            ("fixes the bug in #1", &[]),
        ];
        for (description, wanted) in table {
            assert_eq!(closes(description), wanted, "{description}");
        }
    }

    #[test]
    fn what_does_not_show_as_words_closes_nothing() {
        let table = [
            "`fixes #1`",
            "fixes `#1`",
            "```\nfixes #1\n```",
            "~~~ fixes #1\nfixes #1\n~~~",
            "    fixes #1",
            "<!-- fixes #1 -->",
            "<!--\nfixes #1\n\nfixes #1\n-->",
            "words <!-- fixes #1 --> words",
            "fixes <!-- not really --> #1",
            "fixes \\#1",
            "fixes\n\n#1",
            "# fixes\n#1",
            "- fixes\n- #1",
            "![fixes](x) #1",
            "fixes\n\n    #1",
        ];
        for description in table {
            assert_eq!(closes(description), [""; 0], "{description}");
        }
        assert_eq!(closes("```\ncode\n```\nfixes #1"), ["acme/app#1"], "what follows code is read");
    }

    #[test]
    fn addresses_are_of_the_service_that_sent_them() {
        let home = "acme/app".parse().expect("a name");
        let there =
            "closes https://git.acme.example:8443/acme/app/issues/1 closes https://github.com/acme/app/issues/2";
        let named: Vec<u64> = closing(there, &home, "git.acme.example:8443").iter().map(|issue| issue.number).collect();
        assert_eq!(named, [1]);
    }

    #[test]
    fn no_description_names_more_than_its_share() {
        let many: String = (1..500).map(|number| format!("fixes #{number}\n")).collect();
        assert_eq!(closes(&many).len(), CLOSES_MAX);
        assert_eq!(closes(&format!("{}fixes #1", "x ".repeat(DESCRIPTION_CHARS_MAX))), [""; 0]);
    }

    proptest! {
        #[test]
        fn no_description_makes_it_panic(
            description in "([a-zA-Z/#:. \\n`<>!_*\\\\0-9é\\x00-]|fixes |closes: |https://github\\.com/|<!--|-->|#1){0,60}",
        ) {
            prop_assert!(closes(&description).len() <= CLOSES_MAX);
        }
    }
}
