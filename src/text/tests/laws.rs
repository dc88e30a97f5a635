//! The laws of the text module, over nasty Markdown and nasty Asana documents.
//!
//! `PROPTEST_CASES` sets how many cases each law is tried on, 500 at least.

use proptest::prelude::*;

use super::people;
use crate::text::*;

/// Words and signs that mean something to one of the spellings.
fn nasty_words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-z]{1,5}",
        4 => prop::sample::select(vec![
            " ", " ", "  ", "   ", "\t", "\n", "\n\n", "*", "**", "_", "__", "~", "~~", "`", "``", "```", "[", "]", "(", ")", "!",
            "<", ">", "&", "#", "# ", "## ", "@", "@alice", "@bob-q", "@carol", "@org/team", "#12", "GH-7", "a/b#3", "-", "- ",
            "---", "+ ", "* ", "1. ", "12) ", "=", "===", "|", "|-|", ":-", "$", "\\", "\\*", "&amp;", "&lt;", "&nbsp;", "&copy;", "&#9;", "&#10;", "&#1;", "&#xFFFE;",
            "\u{200b}", "\u{a0}", "é", "日本", "☐ ", "☑ ", "[ ] ", "[x] ", "https://x.io", "https://x.io/a_b*c(d)", "https://x.io/*a*_b_~~c~~", "http://a.b/?q=1&amp;r;",
            "https://app.asana.com/0/0/77/f", "www.x.io", "me@x.io", "://", "<!-- c -->", "evenkeel:v1 ", "&", "\u{2028}", "\"", "'", "0", "}",
            "    ", "> ", "::", ".", "\u{b7}", "\u{3000}", "“q”", "<b>", "</b>", "<br>", "%", "^",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(word, 0..7).prop_map(|words| words.concat())
}

/// Text as XML holds it.
fn xml_text() -> impl Strategy<Value = String> {
    nasty_words().prop_map(|words| {
        words.replace("&amp;", "&").replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace("<!", "!")
    })
}

/// Documents as Asana could give them, and odder ones.
fn asana_html() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        6 => xml_text(),
        1 => prop::sample::select(vec![
            "<hr/>", "<a data-asana-gid=\"501\"/>", "<a data-asana-gid=\"502\" data-asana-type=\"user\">@Bob</a>",
            "<a href=\"https://app.asana.com/0/0/99/f\" data-asana-gid=\"99\" data-asana-type=\"task\" data-asana-dynamic=\"true\">Some *task*</a>",
            "<a href=\"https://app.asana.com/0/9/9\" data-asana-gid=\"9\" data-asana-dynamic=\"false\">own words</a>",
            "<a data-asana-gid=\"999\" data-asana-type=\"user\">@Zoe</a>", "<img data-asana-gid=\"5\" src=\"https://signed\"/>",
            "<img src=\"https://x.io/p.png\"/>", "<br/>", "<a href=\"https://x.io\">https://x.io</a>", "<a href=\"ftp://x\">ftp</a>",
            "<a href=\"https://x.io/(y)\">pa]r[en</a>", "<a href=\"mailto:me@x.io\">me@x.io</a>", "</b>", "</ul>", "<odd>", "\n",
        ]).prop_map(str::to_owned),
    ];
    leaf.prop_recursive(5, 60, 6, |inner| {
        let tag = prop::sample::select(vec![
            "strong",
            "em",
            "u",
            "s",
            "code",
            "a href=\"https://x.io/p\"",
            "ul",
            "ol",
            "li",
            "li",
            "blockquote",
            "h1",
            "h2",
            "h3",
            "pre",
            "b",
            "i",
            "p",
            "table",
            "tr",
            "td",
            "body",
        ]);
        (tag, prop::collection::vec(inner, 0..5)).prop_map(|(tag, inner)| {
            let name = tag.split(' ').next().unwrap_or(tag);
            format!("<{tag}>{}</{name}>", inner.concat())
        })
    })
    .prop_map(|inner| format!("<body>{inner}</body>"))
}

/// Markdown as people write it, and odder.
fn markdown() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        5 => nasty_words(),
        5 => (prop::sample::select(vec![
            "", "", "- ", "* ", "  - ", "    - ", "1. ", "7. ", "   - ", "> ", "> > ", "> - ", "- > ", "# ", "## ", "#### ", "- [ ] ", "- [x] ", "    ",
            "| ", "<b>", "**", "_", "[", "![a](https://x.io/i.png)", "<details>", "<img src=https://x.io/i.png>", "[t](https://x.io \"t\") ", "`",
            "[r]: https://x.io ", "~~", "@alice ", "@carol #5 ", "\\", "- - ",
        ]), nasty_words(), prop::sample::select(vec!["", "", "**", "_", "`", "](https://x.io)", "</b>", " |", "  ", "\\", "<br>z"]))
            .prop_map(|(start, words, end)| format!("{start}{words}{end}")),
        2 => prop::sample::select(vec![
            "", "", "", "```", "```rust", "~~~", "---", "***", "===", "| a | b |", "|---|---|", "| 1 | 2 |", "<!-- hidden", "-->", "<!-- all hidden -->",
            "<details>", "<summary>S</summary>", "</details>", "[ref]: https://x.io/ref", "see [ref]", "<table><tr><td>a</td></tr></table>", "    code",
            "![pic](https://x.io/p.png)", "text with ![pic](https://x.io/p.png) inside", "@alice @carol #5",
        ]).prop_map(str::to_owned),
    ];
    prop::collection::vec(line, 0..9).prop_map(|lines| canonical(&lines.join("\n")))
}

/// An edit: some lines taken out, some put in, some changed in the middle.
fn edit(text: &str, seed: &[(u8, usize, String)]) -> String {
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for (what, at, words) in seed {
        let at = at % (lines.len() + 1);
        match what % 4 {
            0 => lines.insert(at, words.clone()),
            1 if at < lines.len() => drop(lines.remove(at)),
            2 if at < lines.len() => lines[at].push_str(words),
            _ if at < lines.len() => {
                let half = lines[at].char_indices().nth(lines[at].chars().count() / 2).map_or(0, |(half, _)| half);
                lines[at].insert_str(half, words);
            }
            _ => {}
        }
    }
    lines.join("\n")
}

fn edits() -> impl Strategy<Value = Vec<(u8, usize, String)>> {
    prop::collection::vec((any::<u8>(), any::<usize>(), nasty_words()), 1..4)
}

/// Panics unless the document is one XML element with only what Asana takes.
fn accepted_by_asana(html: &str) {
    let mut reader = quick_xml::Reader::from_str(html);
    reader.config_mut().check_end_names = true;
    let mut open: Vec<String> = Vec::new();
    loop {
        let event = reader.read_event().expect(html);
        let (start, empty) = match event {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(start) => (start, false),
            quick_xml::events::Event::Empty(start) => (start, true),
            quick_xml::events::Event::End(_) => {
                open.pop();
                continue;
            }
            _ => {
                assert!(!open.is_empty(), "text outside: {html}");
                continue;
            }
        };
        let name = start.name().as_ref().to_owned();
        let allowed = [
            "body",
            "strong",
            "em",
            "u",
            "s",
            "code",
            "pre",
            "ol",
            "ul",
            "li",
            "a",
            "blockquote",
            "h1",
            "h2",
            "hr",
            "img",
        ];
        assert!(allowed.contains(&name.as_str()), "{name}: {html}");
        for attribute in start.attributes() {
            let key = attribute.expect("an attribute").key;
            let key: &str = key.as_ref();
            let fits = name == "a" && ["href", "data-asana-gid", "data-asana-dynamic"].contains(&key)
                || name == "img" && key == "data-asana-gid";
            assert!(fits, "{key} on {name}: {html}");
        }
        assert!(name != "a" || !open.contains(&name), "nested link: {html}");
        assert!((name == "body") == open.is_empty(), "{name} in {open:?}: {html}");
        if !empty {
            open.push(name);
        }
    }
    assert!(open.is_empty());
}

/// What a document says, and what its Markdown says as it is written at first.
fn read_back(html: &str) -> (Vec<doc::Said>, Vec<doc::Said>) {
    let people = people();
    let lines = asana_in::read(&unbroken(html), &people);
    let markdown = markdown_out::write(&lines, &people);
    let read = markdown_in::read(&markdown, &people);
    (doc::said(&lines).into_iter().cloned().collect(), doc::said(&read).into_iter().cloned().collect())
}

#[test]
fn the_writer_needs_no_plainer_form_for_what_once_needed_one() {
    let table = [
        "<h1><s>- ~</s></h1>",
        "ahttps://x.io[<strong>b</strong>",
        "<strong>@\u{200b}<a href=\"mailto:me@x.io\">me@x.io</a></strong>",
        "<strong>&lt;-me@x.io&gt;</strong>",
        "&lt;-<strong>me</strong>@x.io&gt;",
        "<code><a href=\"https://x.io/p\">]://</a></code>",
        "www.x.io(<strong>b</strong>)",
    ];
    for html in table {
        let html = format!("<body>{html}</body>");
        let (meant, read) = read_back(&html);
        assert_eq!(read, meant, "{html}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_second_trip_from_asana_is_the_identity(html in asana_html()) {
        let people = people();
        let markdown = from_asana(&html, &people);
        prop_assert_eq!(&canonical(&markdown), &markdown);
        let back = to_asana(&markdown, &people);
        accepted_by_asana(&back);
        prop_assert_eq!(from_asana(&back, &people), markdown);
    }

    #[test]
    fn the_writer_never_needs_its_plainer_forms(html in asana_html()) {
        let (meant, read) = read_back(&html);
        prop_assert_eq!(read, meant);
    }

    #[test]
    fn a_view_views_as_itself(markdown in markdown()) {
        let people = people();
        let shown = view(Side::Tracker, &markdown, &people);
        accepted_by_asana(&to_asana(&markdown, &people));
        prop_assert_eq!(&view(Side::Tracker, &shown, &people), &shown);
        prop_assert_eq!(canonical(&canonical(&markdown)), canonical(&markdown));
        let direct = markdown_in::read(&markdown, &people);
        let html = asana_out::write(&direct, &people);
        let read = asana_in::read(&html, &people);
        prop_assert_eq!(doc::said(&read), doc::said(&direct), "{}", html);
    }

    #[test]
    fn nothing_edited_changes_nothing(markdown in markdown()) {
        let people = people();
        for side in Side::BOTH {
            let shown = view(side, &markdown, &people);
            prop_assert_eq!(put(side, &markdown, &shown, &people), markdown.clone());
        }
    }

    #[test]
    fn an_edit_is_shown_as_it_was_made(markdown in markdown(), edits in edits()) {
        let people = people();
        let shown = view(Side::Tracker, &markdown, &people);
        let edited = view(Side::Tracker, &edit(&shown, &edits), &people);
        let rich = put(Side::Tracker, &markdown, &edited, &people);
        prop_assert_eq!(view(Side::Tracker, &rich, &people), edited);
    }
}

/// What GitHub would notify or refer to in a text: calls outside of code.
fn calls(markdown: &str) -> Vec<String> {
    use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut words = String::new();
    let mut silent = 0;
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Start(Tag::CodeBlock(_) | Tag::Link { .. }) => silent += 1,
            Event::End(TagEnd::CodeBlock | TagEnd::Link) => silent -= 1,
            Event::Text(text) if silent == 0 => words.push_str(&text),
            _ => words.push(' '),
        }
    }
    // Addresses are linked whole.
    let words: Vec<&str> = words.split_whitespace().filter(|word| !word.contains("://")).collect();
    let words = words.join(" ");
    let signs: Vec<(usize, char)> = words.char_indices().collect();
    signs
        .windows(2)
        .filter(|pair| quiet::calls(&words[..pair[1].0], pair[1].1))
        .map(|pair| words[pair[0].0..].chars().take(12).collect())
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(500), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_from_the_tracker_calls_anybody(html in asana_html()) {
        let found = calls(&from_asana(&html, &people()));
        prop_assert!(found.iter().all(|call| call.starts_with("@alice")), "{found:?}");
        if !html.contains("501") {
            prop_assert!(found.is_empty(), "{found:?}");
        }
    }

    #[test]
    fn the_short_way_for_plain_words_is_the_long_way(
        words in prop::collection::vec(prop_oneof![
            8 => "[a-zA-Z]{1,4}",
            5 => prop::sample::select(vec![" ", " ", "\n", "\n\n"]).prop_map(str::to_owned),
            2 => "[0-9]{1,2}",
            3 => "[-.,?!()'\";%:/é日…–\u{2028}*_#@&=+]",
        ], 0..14)
    ) {
        let html = format!("<body>{}</body>", words.concat());
        if let Some(plain) = plain_words(&html) {
            prop_assert_eq!(plain, render(asana_in::read(&html, &people()), &people()));
        }
    }

    #[test]
    fn bodies_part_from_their_footers_as_they_were(markdown in markdown(), crlf in any::<bool>()) {
        let people = people();
        let told = Footer {
            partner: "acme/app#17".into(),
            url: "https://github.com/acme/app/issues/17".into(),
            due: None,
            full_title: Some("- *x* @y".into()),
            body_cut: true,
        };
        let task = crate::model::Marker::naming("asana:1".parse().expect("a key"));
        let text = footer(Side::Forge, &markdown, &told, &task).expect("room");
        let raw = join_forge(&markdown, Some(&text));
        let raw = if crlf { raw.replace('\n', "\r\n") } else { raw };
        let split = split_forge(&raw);
        prop_assert_eq!((split.body, split.footer, split.marker), (markdown.clone(), Some(text), Some(task)));
        let issue = crate::model::Marker::naming("github:acme/app#17".parse().expect("a key"));
        let text = footer(Side::Tracker, &markdown, &told, &issue).expect("always");
        let html = join_tracker(&markdown, Some(&text), &people);
        accepted_by_asana(&html);
        let split = split_tracker(&html, &people);
        prop_assert_eq!(split.body, view(Side::Tracker, &markdown, &people));
        prop_assert_eq!((split.footer, split.marker), (Some(text), Some(issue)));
    }
}
