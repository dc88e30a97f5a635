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
