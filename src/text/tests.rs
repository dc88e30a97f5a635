//! Laws and tables of the text module.

use proptest::prelude::*;

use super::*;
use crate::model::{BySide, Person};

fn people() -> People {
    let person = |name: &str, gid: &str, login: &str, mention: bool| Person {
        name: name.to_owned(),
        account: BySide { tracker: Some(gid.to_owned()), forge: Some(login.to_owned()) },
        mention,
    };
    People::new(vec![person("Alice", "501", "alice", true), person("Bob Q", "502", "bob-q", false)])
}

fn html(inner: &str) -> String {
    from_asana(&format!("<body>{inner}</body>"), &people())
}

#[test]
fn asanas_words_show_as_typed() {
    let table = [
        ("plain words", "plain words"),
        ("a\nb\n\n\nc", "a\nb\n\n\nc"),
        ("2 * 3 *x* _y_ snake_case", "2 * 3 \\*x\\* \\_y\\_ snake_case"),
        ("# no heading", "\\# no heading"),
        ("1. no list\n- nor this\n+ nor\n* that", "1\\. no list\n\\- nor this\n\\+ nor\n\\* that"),
        ("a &lt; b &amp;amp; &lt;i&gt;", "a < b \\&amp; \\<i>"),
        ("  indented", "&nbsp;&nbsp;indented"),
        ("a   b. Two.  Next", "a &nbsp;&nbsp;b. Two.  Next"),
        (
            "ask @carol or @org/team, mail me@example.com",
            "ask @\u{200b}carol or @\u{200b}org/team, mail me@example.com",
        ),
        ("see #12, a/b#3, GH-4", "see #\u{200b}12, a/b#\u{200b}3, GH-\u{200b}4"),
        ("<strong>Note:</strong> <em>x</em>", "**Note:** _x_"),
        ("in<strong>word</strong>s", "in<strong>word</strong>s"),
        ("<u>under</u> <s>gone</s> <code>a`b</code>", "<ins>under</ins> ~~gone~~ ``a`b``"),
        ("<h1>Top</h1>text<h2>Sub</h2>", "# Top\n\ntext\n\n## Sub"),
        ("x<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>y", "x\n\n- a\n  - b\n- c\n\ny"),
        ("<ol><li>a</li><li>b<ul><li>c</li></ul></li></ol>", "1. a\n2. b\n   - c"),
        ("<pre>let x = *y;\n  # z</pre>", "```\nlet x = *y;\n  # z\n```"),
        ("<blockquote>a\nb</blockquote>c", "> a\n> b\n\nc"),
        ("a<hr/>b", "a\n\n---\n\nb"),
        ("<a href=\"https://x.io/a_b\">here [1]</a>", "[here \\[1\\]](https://x.io/a_b)"),
        ("https://x.io/a?b=1, and <a href=\"https://x.io\">https://x.io</a>", "https://x.io/a?b=1, and https://x.io"),
        ("<ul><li>☐ todo</li><li>☑ done</li></ul>", "- [ ] todo\n- [x] done"),
        ("costs $5", "costs $5"),
        ("from $5 to $9", "from \\$5 to \\$9"),
    ];
    for (asana, markdown) in table {
        assert_eq!(html(asana), markdown, "{asana}");
    }
}

/// Words and signs that mean something to one of the spellings.
fn nasty_words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-z]{1,5}",
        4 => prop::sample::select(vec![
            " ", " ", "  ", "   ", "\t", "\n", "\n\n", "*", "**", "_", "__", "~", "~~", "`", "``", "```", "[", "]", "(", ")", "!",
            "<", ">", "&", "#", "# ", "## ", "@", "@alice", "@bob-q", "@carol", "@org/team", "#12", "GH-7", "a/b#3", "-", "- ",
            "---", "+ ", "* ", "1. ", "12) ", "=", "===", "|", "|-|", ":-", "$", "\\", "\\*", "&amp;", "&lt;", "&nbsp;", "&copy;", "&#9;",
            "\u{200b}", "\u{a0}", "é", "日本", "☐ ", "☑ ", "[ ] ", "[x] ", "https://x.io", "https://x.io/a_b*c(d)", "http://a.b/?q=1&amp;r;",
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

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1_000), ..ProptestConfig::default() })]

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
        let people = people();
        let lines = asana_in::read(&unbroken(&html), &people);
        let markdown = markdown_out::write(&lines, &people);
        let read = markdown_in::read(&markdown, &people);
        prop_assert_eq!(doc::said(&read), doc::said(&lines), "{}", markdown);
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

/// A body as people on the forge write them, with what Asana cannot hold on nearly every line.
const RICH: &str = "Intro for @alice and @carol, see #12 <!-- aside -->

<!-- a hidden
template hint -->
### Steps to *reproduce*

* [ ] open **the** app ![shot](https://x.io/s.png)
* [x] click, then wait
    * deeper @carol
    * and [ref style][docs]
1) first
2) second

| Browser | Works? |
|:--------|-------:|
| Firefox | yes, @carol |
| Chrome  | no |

Setext title
============

```rust
fn main() {}
  let y = *x;
```

> quoted `code`
> > twice

<details>
<summary>Logs</summary>

hidden words

</details>

last line  \nafter a hard break
_emphasis_ and __more__

[docs]: https://x.io/docs \"Title\"";

#[test]
fn a_one_line_edit_on_the_tracker_changes_that_line_only() {
    let people = people();
    let shown = view(Side::Tracker, RICH, &people);
    let lines: Vec<&str> = shown.split('\n').collect();
    let rich: Vec<&str> = RICH.split('\n').collect();
    let mut edits = 0;
    for at in 0..lines.len() {
        for (what, line) in [
            ("added", format!("{} added", lines[at])),
            ("first", lines[at].replacen(|sign: char| sign.is_ascii_lowercase(), "Q", 1)),
        ] {
            let mut edited = lines.clone();
            edited[at] = &line;
            let edited = view(Side::Tracker, &edited.join("\n"), &people);
            if edited == shown || lines[at].is_empty() || lines[at].starts_with("```") {
                continue;
            }
            let made = put(Side::Tracker, RICH, &edited, &people);
            assert_eq!(view(Side::Tracker, &made, &people), edited, "{what}: {line}");
            let made: Vec<&str> = made.split('\n').collect();
            let hunks = merge::difference(&rich, &made);
            let touched: usize = hunks.iter().map(|hunk| hunk.old.len().max(hunk.new.len())).sum();
            assert_eq!(touched, 1, "{what}: {line}\n{}", made.join("\n"));
            edits += 1;
        }
    }
    assert!(edits > 35, "{edits}\n{shown}");
}

#[test]
fn what_stands_beside_an_edited_word_stays_rich() {
    let people = people();
    let table = [
        ("hi @carol, fix #12 ![a](https://x.io/i.png)", "fix", "mend", "hi @carol, mend #12 ![a](https://x.io/i.png)"),
        ("* [ ] ask **@carol**", "ask", "tell", "* [ ] tell **@carol**"),
        ("* [ ] todo", "[ ]", "[x]", "* [x] todo"),
        ("| a | b |\n|---|---|\n| c | d |", "c", "z", "| a | b |\n|---|---|\n| z | d |"),
        ("#### Deep @carol", "Deep", "Low", "#### Low @carol"),
        ("1. a\n2. b @carol\n3. c", "1. a", "1. a\n2. new", "1. a\n2. new\n2. b @carol\n3. c"),
        ("+ a\n\n  + b", "- a", "- a\n  - x", "+ a\n  + x\n  + b"),
        ("a\n<!-- c -->\nb", "b", "q", "a\n<!-- c -->\nq"),
        ("```rust\nx\n```", "x", "x\ny", "```rust\nx\ny\n```"),
        ("```rust\nx\n```\n\nend @carol", "```\nx\n```\n\n", "", "end @carol"),
    ];
    for (rich, from, to, wanted) in table {
        let shown = view(Side::Tracker, rich, &people);
        assert!(shown.contains(from), "{shown}");
        let edited = view(Side::Tracker, &shown.replacen(from, to, 1), &people);
        assert_eq!(put(Side::Tracker, rich, &edited, &people), wanted, "{shown}");
    }
}
