//! Asana's rich text: what is accepted, how it is stored, how it reads back (asana-api.md §4).

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// Tags a task or a comment may hold.
const TAGS: [&str; 18] = [
    "body",
    "strong",
    "b",
    "em",
    "i",
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
const ANCHOR_ATTRIBUTES: [&str; 7] = [
    "href",
    "data-asana-gid",
    "data-asana-dynamic",
    "data-asana-project",
    "data-asana-tag",
    "data-asana-type",
    "data-asana-accessible",
];

/// Checks a rich text and turns it into the form it is stored in: Asana's own spelling, links not expanded.
///
/// # Errors
/// What is wrong, in words that follow the field's name: not XML, no `<body>`, a tag or attribute that is not
/// supported, a link in a link. Only `html_lacks_body` is wording on record; the rest is ours.
pub(super) fn accept(html: &str) -> Result<String, String> {
    let invalid = |why: String| format!("XML is invalid: {why}");
    if let Some(bad) = html
        .chars()
        .find(|c| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}'))
    {
        return Err(invalid(format!("character {:#x} is not allowed", u32::from(bad))));
    }
    let mut reader = Reader::from_str(html);
    reader.config_mut().check_end_names = true;
    let mut out = String::with_capacity(html.len());
    let mut open: Vec<String> = Vec::new();
    let mut closed_body = false;
    loop {
        let event = reader.read_event().map_err(|error| invalid(error.to_string()))?;
        let inside = !open.is_empty();
        match event {
            Event::Start(tag) => {
                let name = tag_name(&tag)?;
                enter(&name, &open, closed_body)?;
                let attributes = attributes(&tag, &name)?;
                if matches!(name.as_str(), "hr" | "img") {
                    return Err(invalid(format!("<{name}> must be empty")));
                }
                out.push_str(&format!("<{}{attributes}>", spelled(&name)));
                open.push(name);
            }
            Event::Empty(tag) => {
                let name = tag_name(&tag)?;
                enter(&name, &open, closed_body)?;
                let attributes = attributes(&tag, &name)?;
                if name == "body" {
                    closed_body = true;
                    out.push_str("<body></body>");
                } else if matches!(name.as_str(), "hr" | "img" | "a") {
                    out.push_str(&format!("<{}{attributes}/>", spelled(&name)));
                }
            }
            Event::End(_) => {
                let Some(name) = open.pop() else {
                    return Err(invalid("a tag is closed that was never opened".to_owned()));
                };
                closed_body |= name == "body";
                out.push_str(&format!("</{}>", spelled(&name)));
            }
            Event::Text(text) => {
                let text: &str = &text;
                if inside {
                    if text.contains('\n') && open.last().is_some_and(|name| name == "h1" || name == "h2") {
                        return Err(invalid("a heading holds no line break".to_owned()));
                    }
                    out.push_str(&escaped(&text));
                } else if !text.trim().is_empty() {
                    return Err("html_lacks_body: the text must be inside <body>".to_owned());
                }
            }
            Event::GeneralRef(name) => {
                let name: &str = &name;
                let text = referenced(name).ok_or_else(|| invalid(format!("&{name}; is not defined")))?;
                if !inside {
                    return Err("html_lacks_body: the text must be inside <body>".to_owned());
                }
                out.push_str(&escaped(&text));
            }
            Event::CData(text) => {
                let text: &str = &text;
                if inside {
                    out.push_str(&escaped(&text));
                }
            }
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::DocType(_) => return Err(invalid("a document type is not allowed".to_owned())),
            Event::Eof => break,
        }
    }
    match open.last() {
        Some(name) => Err(invalid(format!("<{name}> is not closed"))),
        None if closed_body => Ok(out),
        None => Err("html_lacks_body: the text must be inside <body>".to_owned()),
    }
}

/// A plain text as the rich text it shows as.
pub(super) fn from_plain(text: &str) -> String {
    let kept: String =
        text.chars().filter(|c| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}')).collect();
    format!("<body>{}</body>", escaped(&kept.replace("\r\n", "\n")))
}

fn tag_name(tag: &BytesStart<'_>) -> Result<String, String> {
    let name = tag.name().into_inner().to_owned();
    if TAGS.contains(&name.as_str()) { Ok(name) } else { Err(format!("XML is invalid: tag <{name}> is not supported")) }
}

/// Whether a tag may stand where it stands.
fn enter(name: &str, open: &[String], closed_body: bool) -> Result<(), String> {
    let within = |what: &str| open.iter().any(|known| known == what);
    let wrong = |why: &str| Err(format!("XML is invalid: {why}"));
    match (name, open.last()) {
        ("body", None) if !closed_body => Ok(()),
        ("body", _) => wrong("one <body> must hold everything"),
        (_, None) => Err("html_lacks_body: the text must be inside <body>".to_owned()),
        ("a", _) if within("a") => wrong("a link must not hold a link"),
        ("li", Some(list)) if list != "ul" && list != "ol" => wrong("<li> must be in a list"),
        (_, Some(list)) if name != "li" && (list == "ul" || list == "ol") => wrong("a list holds only <li>"),
        ("h1" | "h2" | "ul" | "ol" | "pre" | "blockquote" | "hr", Some(heading))
            if heading == "h1" || heading == "h2" =>
        {
            wrong("a heading holds only inline tags")
        }
        _ => Ok(()),
    }
}

/// The attributes of a tag, checked, each with a space before it.
fn attributes(tag: &BytesStart<'_>, name: &str) -> Result<String, String> {
    let mut text = String::new();
    let (mut leads, mut seen) = (false, Vec::new());
    for attribute in tag.attributes() {
        let attribute = attribute.map_err(|error| format!("XML is invalid: {error}"))?;
        let key = attribute.key.into_inner().to_owned();
        let allowed = match name {
            "a" => ANCHOR_ATTRIBUTES.contains(&key.as_str()),
            "img" => key == "data-asana-gid",
            _ => false,
        };
        if !allowed || seen.contains(&key) {
            return Err(format!("XML is invalid: attribute {key} is not supported on <{name}>"));
        }
        let value =
            quick_xml::escape::unescape(&attribute.value).map_err(|error| format!("XML is invalid: {error}"))?;
        leads |= key == "href" || key == "data-asana-gid";
        // What the server adds itself is not stored.
        if key != "data-asana-type" && key != "data-asana-accessible" {
            text.push_str(&format!(" {key}=\"{}\"", escaped(&value).replace('"', "&quot;")));
        }
        seen.push(key);
    }
    if matches!(name, "a" | "img") && !leads {
        return Err(format!("XML is invalid: <{name}> leads nowhere"));
    }
    Ok(text)
}

/// How Asana spells a tag itself.
fn spelled(name: &str) -> &str {
    match name {
        "b" => "strong",
        "i" => "em",
        other => other,
    }
}

/// The character an XML reference stands for: one of XML's five names, or a number.
fn referenced(name: &str) -> Option<String> {
    let named = match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            let character = char::from_u32(code)?;
            let forbidden = matches!(character, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}');
            return (!forbidden).then(|| character.to_string());
        }
    };
    Some(named.to_owned())
}

fn escaped(text: &str) -> Cow<'_, str> {
    if text.contains(['&', '<', '>']) {
        Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;"))
    } else {
        Cow::Borrowed(text)
    }
}

/// What a link in a stored text leads to, for the reader who asks.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// `user`, `task`, `project`, `tag`.
    pub kind: &'static str,
    pub gid: u64,
    pub url: String,
    /// The text shown; a user's begins with `@`.
    pub shown: String,
    pub readable: bool,
}

/// A stored text as it reads back: links to Asana's own objects carry their address, kind and present name.
///
/// `find` is asked for a gid or, when that is 0, for an address.
pub(super) fn expanded<'t>(stored: &'t str, find: impl Fn(u64, &str) -> Option<Target>) -> Cow<'t, str> {
    if !stored.contains("<a ") {
        return Cow::Borrowed(stored);
    }
    let mut out = String::with_capacity(stored.len() + 200);
    let mut rest = stored;
    while let Some(at) = rest.find("<a ") {
        let (before, link) = rest.split_at(at);
        out.push_str(before);
        // The stored form is ours: attributes are quoted and hold no bare `>`.
        let end = link.find('>').unwrap_or(link.len());
        let (head, tail) = link.split_at(end);
        let head = head.strip_suffix('/').map_or((head, true), |head| (head, false));
        let (attributes, has_content) = head;
        let tail = tail.strip_prefix('>').unwrap_or(tail);
        let (inner, after) = if has_content { tail.split_once("</a>").unwrap_or((tail, "")) } else { ("", tail) };
        rest = after;
        let attribute = |name: &str| {
            let from = attributes.find(&format!(" {name}=\""))? + name.len() + 3;
            attributes.get(from..)?.split('"').next()
        };
        let gid = attribute("data-asana-gid").and_then(|gid| gid.parse().ok()).unwrap_or(0);
        let href = attribute("href").unwrap_or_default();
        let dynamic = attribute("data-asana-dynamic") != Some("false");
        match find(gid, href) {
            None if gid == 0 => out.push_str(&format!("{attributes}>{inner}</a>")),
            None => out.push_str(&format!(
                "<a data-asana-accessible=\"false\" data-asana-dynamic=\"true\" data-asana-gid=\"{gid}\">Private Link</a>"
            )),
            Some(target) => {
                let shown = match (dynamic, target.readable) {
                    (true, true) => escaped(&target.shown).into_owned(),
                    (true, false) => "Private Link".to_owned(),
                    (false, _) => inner.to_owned(),
                };
                let href = if target.readable { format!("href=\"{}\" ", escaped(&target.url)) } else { String::new() };
                out.push_str(&format!(
                    "<a {href}data-asana-accessible=\"{}\" data-asana-dynamic=\"{dynamic}\" data-asana-type=\"{}\" data-asana-gid=\"{}\">{shown}</a>",
                    target.readable, target.kind, target.gid,
                ));
            }
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The plain text of a rich one.
pub(super) fn plain(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        out.push_str(&unescaped(text));
        let end = tag.find('>').unwrap_or(tag.len().saturating_sub(1));
        let name = tag.get(1..end).unwrap_or_default().trim_end_matches('/').trim();
        match name {
            "/li" | "/h1" | "/h2" | "/pre" | "/blockquote" | "hr" if !out.ends_with('\n') => out.push('\n'),
            "ul" | "ol" | "h1" | "h2" | "pre" | "blockquote" if !out.is_empty() && !out.ends_with('\n') => {
                out.push('\n')
            }
            _ => {}
        }
        rest = tag.get(end + 1..).unwrap_or_default();
    }
    out.push_str(&unescaped(rest));
    out
}

fn unescaped(text: &str) -> Cow<'_, str> {
    if text.contains('&') {
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&apos;", "'");
        Cow::Owned(text.replace("&amp;", "&"))
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asana_refuses_is_refused() {
        for (html, why) in [
            ("no body", "html_lacks_body"),
            ("", "html_lacks_body"),
            ("<strong>x</strong>", "html_lacks_body"),
            ("<body><b>x</body>", "XML"),
            ("<body>x", "not closed"),
            ("<body>x & y</body>", "XML"),
            ("<body>a < b</body>", "XML"),
            ("<body>&nbsp;</body>", "not defined"),
            ("<body><table/></body>", "not supported"),
            ("<body><p>x</p></body>", "not supported"),
            ("<body><BR/></body>", "not supported"),
            ("<body><strong class=\"x\">x</strong></body>", "not supported"),
            ("<body class=\"x\">x</body>", "not supported"),
            ("<body><a href=\"x\" title=\"y\">x</a></body>", "not supported"),
            ("<body><a href=\"x\"><a href=\"y\">x</a></a></body>", "link"),
            ("<body><a>x</a></body>", "nowhere"),
            ("<body>\u{1}</body>", "not allowed"),
            ("<body></body><body></body>", "one <body>"),
            ("<body><h1>a\nb</h1></body>", "line break"),
        ] {
            let error = accept(html).expect_err(html);
            assert!(error.contains(why), "{html}: {error}");
        }
    }

    #[test]
    fn what_asana_accepts_is_stored_in_its_own_spelling() {
        for (html, stored) in [
            ("<body>plain &amp; &#60;simple&gt;\nline</body>", "<body>plain &amp; &lt;simple&gt;\nline</body>"),
            ("<body><b>x</b><i>y</i><hr /></body>", "<body><strong>x</strong><em>y</em><hr/></body>"),
            (
                "<body><ul><li>a<ul><li>b</li></ul></li></ul></body>",
                "<body><ul><li>a<ul><li>b</li></ul></li></ul></body>",
            ),
            ("<body/>", "<body></body>"),
        ] {
            assert_eq!(accept(html).as_deref(), Ok(stored), "{html}");
            assert_eq!(accept(stored).as_deref(), Ok(stored), "accepting twice changes nothing");
        }
    }

    #[test]
    fn plain_text_is_what_a_person_would_read() {
        assert_eq!(
            plain("<body>a &lt;b&gt; <strong>c</strong>\nd<ul><li>e</li><li>f</li></ul></body>"),
            "a <b> c\nd\ne\nf\n"
        );
        assert_eq!(plain(&from_plain("1 < 2 & 3\n4")), "1 < 2 & 3\n4");
    }
}
