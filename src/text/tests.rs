//! Tables of the text module: what each side shows, what an edit changes, what hostile input comes to.

mod laws;

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
        ("mail &lt;-me@x.io&gt; or &lt;5", "mail \\<-me@x.io> or <5"),
        ("see #12, a/b#3, GH-4", "see #\u{200b}12, a/b#\u{200b}3, GH-\u{200b}4"),
        ("<strong>Note:</strong> <em>x</em>", "**Note:** _x_"),
        ("in<strong>word</strong>s", "in<strong>word</strong>s"),
        ("go (<strong>now</strong>)", "go (**now**)"),
        // Signs inside an address are a part of it.
        ("ahttps://x.io[<strong>b</strong>", "ahttps://x.io\\[<strong>b</strong>"),
        ("<u>under</u> <s>gone</s> <code>a`b</code>", "<ins>under</ins> ~~gone~~ ``a`b``"),
        // Inside `~~` a tilde is no part of a mark, wherever it stands.
        ("<h1><s>- ~</s></h1>", "# ~~- \\~~~"),
        ("<s>a ~b ~ c</s> ~5", "~~a \\~b ~ c~~ ~5"),
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

#[test]
fn the_tracker_shows_the_nearest_thing() {
    let people = people();
    let table = [
        ("# A\n## B\n### C\n###### D", "# A\n\n## B\n\n## C\n\n## D"),
        ("Title\n===\nx", "# Title\n\nx"),
        ("- [ ] a\n- [x] b\n- [X] c", "- [ ] a\n- [x] b\n- [x] c"),
        ("| a | *b* |\n|---|:-:|\n| c \\| d | `e` |", "a | _b_\nc | d | `e`"),
        ("![alt](https://x.io/i.png) ![](https://x.io/j.png)", "[alt](https://x.io/i.png) [image](https://x.io/j.png)"),
        ("[![badge](https://x.io/b.svg)](https://x.io)", "[badge](https://x.io)"),
        ("[rel](docs/a.md) [js](javascript:x)", "rel js"),
        ("[t](https://x.io \"title\") [r]\n\n[r]: https://x.io/r", "[t](https://x.io) [r](https://x.io/r)"),
        ("a <!-- gone --> b\n\n<!--\ngone\n-->\nc", "a &nbsp;b\n\nc"),
        ("<details>\n<summary>Log</summary>\n\nbody\n</details>", "Log\n\nbody"),
        (
            "x<br>y<br/>z <kbd>Ctrl</kbd> <b>bold</b> <img src=\"https://x.io/i.png\" alt=\"pic\">",
            "x\ny\nz `Ctrl` **bold** [pic](https://x.io/i.png)",
        ),
        ("hard  \nbreak\\\nand soft\nbreak", "hard\nbreak\nand soft\nbreak"),
        ("*a\nb*", "_a_\n_b_"),
        ("```rust\nfn a() {}\n```\n\n    indented", "```\nfn a() {}\n```\n\n```\nindented\n```"),
        ("- a\n\n      code\n- > q\n- # h", "- a\n\n  `code`\n- \\> q\n- **h**"),
        ("> a\n>\n> - b\n>   1. c\n>\n> > d", "> a\n>\n> • b\n> 1\\. c\n>\n> \\> d"),
        ("3. c\n4. d", "1. c\n2. d"),
        ("* a\n* * *\n+ b", "- a\n\n---\n\n- b"),
        ("- a\n\n  second\n\n- b\n  - c", "- a\n\n  second\n- b\n  - c"),
        ("&copy; &amp; &lt;x&gt; \\*", "© & \\<x> \\*"),
        ("a&nbsp;&nbsp;b", "a &nbsp;b"),
        ("<https://x.io/a_b> https://x.io/*x*/_y_/z <me@x.io>", "https://x.io/a_b <https://x.io/*x*/_y_/z> me@x.io"),
        ("see https://app.asana.com/0/1/77 now", "see [Asana task](https://app.asana.com/0/0/77/f) now"),
        ("[own](https://app.asana.com/0/1/77)", "[own](https://app.asana.com/0/1/77)"),
        ("", ""),
        ("<!-- only -->", ""),
        ("a\u{0}b\r\nc\u{b}", "ab\nc"),
        ("a&#10;b&#1;c&#xFFFE;d &#13; [x](https://x.io/&#1;y)", "a bcd &nbsp;&nbsp;[x](https://x.io/%01y)"),
    ];
    for (markdown, wanted) in table {
        assert_eq!(view(Side::Tracker, markdown, &people), wanted, "{markdown}");
    }
}

#[test]
fn what_asana_expands_or_renames_reads_the_same() {
    let people = people();
    let expanded = [
        (
            "<a data-asana-gid=\"501\"/>",
            "<a href=\"https://app.asana.com/0/profile/501\" data-asana-accessible=\"true\" data-asana-dynamic=\"true\" data-asana-type=\"user\" data-asana-gid=\"501\">@Alice Renamed</a>",
        ),
        (
            "<a href=\"https://app.asana.com/0/0/77/f\" data-asana-gid=\"77\"/>",
            "<a href=\"https://app.asana.com/1/5/project/9/task/77\" data-asana-accessible=\"false\" data-asana-dynamic=\"true\" data-asana-type=\"task\" data-asana-gid=\"77\">Private Link</a>",
        ),
        (
            "https://app.asana.com/0/9/77",
            "<a href=\"https://app.asana.com/0/9/77\" data-asana-dynamic=\"true\" data-asana-type=\"task\" data-asana-gid=\"77\">New *name*</a>",
        ),
        (
            "<a href=\"https://app.asana.com/0/profile/999\" data-asana-gid=\"999\"/>",
            "<a href=\"https://app.asana.com/0/999/999\" data-asana-dynamic=\"true\" data-asana-type=\"user\" data-asana-gid=\"999\">@Zoe</a>",
        ),
        ("https://x.io/a", "<a href=\"https://x.io/a\">https://x.io/a</a>"),
        ("www.x.io me@x.io", "<a href=\"http://www.x.io\">www.x.io</a> <a href=\"mailto:me@x.io\">me@x.io</a>"),
        (
            "<img data-asana-gid=\"5\"/>",
            "<img src=\"https://s3/x?sig=1\" data-asana-type=\"attachment\" data-asana-gid=\"5\" style=\"w\"/>",
        ),
    ];
    for (sent, read) in expanded {
        let sent = format!("<body>a {sent} b</body>");
        let read = format!("<body>a {read} b</body>");
        assert_eq!(from_asana(&sent, &people), from_asana(&read, &people), "{read}");
    }
}

#[test]
fn a_mention_crosses_only_where_the_people_map_allows_it() {
    let people = people();
    let user = |gid: &str| format!("<body>hi <a data-asana-type=\"user\" data-asana-gid=\"{gid}\">@X</a>, ok</body>");
    assert_eq!(from_asana(&user("501"), &people), "hi @alice, ok");
    assert_eq!(from_asana(&user("502"), &people), "hi [Bob Q](https://app.asana.com/0/profile/502), ok");
    assert_eq!(from_asana(&user("503"), &people), "hi [Asana user](https://app.asana.com/0/profile/503), ok");
    assert_eq!(to_asana("hi @Alice, ok", &people), "<body>hi <a data-asana-gid=\"501\"/>, ok</body>");
    assert_eq!(to_asana("hi @bob-q @carol, `@alice`", &people), "<body>hi @bob-q @carol, <code>@alice</code></body>");
    for gid in ["501", "502", "503"] {
        let markdown = from_asana(&user(gid), &people);
        assert!(to_asana(&markdown, &people).contains(&format!("data-asana-gid=\"{gid}\"")), "{markdown}");
    }
    // Typed, not mentioned; stuck to a word; part of a team's name.
    assert_eq!(from_asana("<body>hi @alice</body>", &people), "hi @\u{200b}alice");
    assert_eq!(to_asana("hi @\u{200b}alice", &people), "<body>hi @alice</body>");
    assert_eq!(
        from_asana("<body>x<a data-asana-gid=\"501\"/>y</body>", &people),
        "x[Alice](https://app.asana.com/0/profile/501)y"
    );
    assert_eq!(to_asana("@alice/team me@alice", &people), "<body>@alice/team me@alice</body>");
    // A person on the forge who mentions somebody keeps the mention, whatever the tracker shows.
    let rich = "ask @carol\nand @alice";
    let edited = view(Side::Tracker, rich, &people).replace("ask", "please ask");
    assert_eq!(put(Side::Tracker, rich, &edited, &people), "please ask @carol\nand @alice");
}

#[test]
fn most_notes_take_the_short_way() {
    for html in ["<body></body>", "<body>Fix the login page, please.\n\nIt’s broken since 3 days (see log).</body>"] {
        assert!(plain_words(html).is_some(), "{html}");
    }
    for html in
        ["<body>a &amp; b</body>", "<body>- a</body>", "<body>a  b</body>", "<body>1. a</body>", "<body>@a</body>", "a"]
    {
        assert!(plain_words(html).is_none(), "{html}");
    }
}

#[test]
fn broken_documents_give_their_words() {
    for (broken, wanted) in [
        ("<body>a <b>bold", "a **bold**"),
        ("no body & <i>x</i> &unknown; &#x41;", "no body & _x_ \\&unknown; A"),
        ("<body>1 < 2 <a href=\"x</body>", "1 < 2 \\<a href=\"x\\</body>"),
        ("", ""),
        ("<body></li></ul>x</h1></body>", "x"),
        ("<body><ul><ul><li>deep</li></ul></ul></body>", "- deep"),
        ("<body><h1>a\nb</h1></body>", "# a b"),
        ("<body>&#0;&#13;x&#x1F;</body>", "x"),
    ] {
        assert_eq!(from_asana(broken, &people()), wanted, "{broken}");
    }
}

#[test]
fn titles_are_one_line_and_keep_their_hidden_tail() {
    let table =
        [("a\n b\t c ", "a b c"), ("", NO_TITLE), (" \u{200b}\n", NO_TITLE), ("x\u{7}y", "xy"), ("\u{a0}é", "é")];
    for (text, wanted) in table {
        assert_eq!(canonical_title(text), wanted);
        assert_eq!(canonical_title(wanted), wanted);
    }
    let long: String = std::iter::repeat_n("é1 ", 200).collect();
    let long = canonical_title(&long);
    let shown = view_title(Side::Forge, &long);
    assert_eq!(shown.chars().count(), TITLE_CHARS_MAX);
    assert!(shown.ends_with('…'));
    assert_eq!(view_title(Side::Forge, &shown), shown);
    assert_eq!(view_title(Side::Tracker, &long), long);
    assert_eq!(put_title(Side::Forge, &long, &shown), long);
    let edited = shown.replacen("é1", "Z", 1);
    let put = put_title(Side::Forge, &long, &edited);
    assert_eq!(put, long.replacen("é1", "Z", 1));
    assert_eq!(put_title(Side::Forge, &long, "new"), "new");
    assert_eq!(put_title(Side::Forge, "short", "short…"), "short…");
    let exact = "x".repeat(TITLE_CHARS_MAX);
    assert_eq!(view_title(Side::Forge, &exact), exact);
}

#[test]
fn a_body_too_long_for_the_forge_is_cut_and_nothing_hidden_is_lost() {
    let people = people();
    let line = "a line of words with é in it\n";
    let fits = canonical(&"x".repeat(BODY_CHARS_MAX - 128));
    assert_eq!(view(Side::Forge, &fits, &people), fits);
    for rich in [canonical(&line.repeat(4_000)), "é".repeat(70_000), format!("{}\nend", "x ".repeat(50_000))] {
        let shown = view(Side::Forge, &rich, &people);
        assert!(shown.chars().count() <= BODY_CHARS_MAX - 2_000 && shown.ends_with(CONTINUES));
        assert_eq!(view(Side::Forge, &shown, &people), shown);
        assert_eq!(put(Side::Forge, &rich, &shown, &people), rich);
        let edited = format!("Q{}", &shown[shown.chars().next().map_or(0, char::len_utf8)..]);
        let put_back = put(Side::Forge, &rich, &edited, &people);
        assert_eq!(put_back.chars().count(), rich.chars().count());
        assert_eq!(view(Side::Forge, &put_back, &people), edited);
        // The notice taken away, words below it, everything replaced.
        let without = shown.trim_end_matches(CONTINUES).trim_end();
        assert_eq!(put(Side::Forge, &rich, without, &people), rich);
        assert_eq!(put(Side::Forge, &rich, &format!("{shown}\n\nmore"), &people), format!("{rich}\n\nmore"));
        assert_eq!(put(Side::Forge, &rich, "obsolete", &people), "obsolete");
    }
}

#[test]
fn nesting_and_length_cost_neither_stack_nor_sense() {
    let people = people();
    let units = [
        "<b>",
        "<",
        "<5",
        "(<b>a</b>",
        "<ul><li>",
        "<blockquote>",
        "<a href=\"https://x.io\">",
        "</ul>",
        "&amp;",
        "> ",
        "- ",
        "[",
        "![",
        "[a](",
        "*",
        "_a ",
        "`",
        "<!--",
        "<a ",
        "|",
        "://",
        "https://x.io ",
        "@a ",
        "\\",
        "<details>\n",
        "- a\n",
        "> a\n",
        "a\n===\n",
        "#1",
        "\t",
        " \n",
        "<li>x</li>",
    ];
    for unit in units {
        let text = unit.repeat(20_000 / unit.len());
        let markdown = from_asana(&format!("<body>{text}</body>"), &people);
        assert_eq!(from_asana(&to_asana(&markdown, &people), &people), markdown, "{unit}");
        let shown = view(Side::Tracker, &text, &people);
        assert_eq!(view(Side::Tracker, &shown, &people), shown, "{unit}");
        let edited = view(Side::Tracker, &format!("first\n{shown}\nlast"), &people);
        let rich = put(Side::Tracker, &text, &edited, &people);
        assert_eq!(view(Side::Tracker, &rich, &people), edited, "{unit}");
        assert!(split_forge(&text).marker.is_none());
    }
}
