//! Addresses that GitHub hands out (`Link`, `Location`) and whether they may be followed. Pure.

/// Scheme and authority of an absolute address, or `None` when it is none or hides a user name.
fn origin(url: &str) -> Option<&str> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))?;
    let rest = url.get(scheme.len()..)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = rest.get(..end)?;
    let plain = !authority.is_empty() && !authority.contains('@');
    // Readers of addresses disagree about backslashes; nothing honest needs one.
    let clean = url.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if plain && clean { url.get(..scheme.len() + end) } else { None }
}

/// `to` as an absolute address, if it leads to the origin of `base`; the token goes nowhere else.
pub fn same_origin(base: &str, to: &str) -> Option<String> {
    let home = origin(base)?;
    if to.starts_with('/') && !to.starts_with("//") {
        let whole = format!("{home}{to}");
        return origin(&whole).is_some().then_some(whole);
    }
    origin(to).filter(|there| there.eq_ignore_ascii_case(home)).map(|_| to.to_owned())
}

/// The address under `rel="next"` of a `Link` header (RFC 8288).
pub fn next(link: &str) -> Option<&str> {
    let mut rest = link;
    while let Some(open) = rest.find('<') {
        let close = open + rest.get(open..)?.find('>')?;
        let url = rest.get(open + 1..close)?;
        let after = rest.get(close + 1..)?;
        let end = after.find('<').unwrap_or(after.len());
        let is_next = after.get(..end)?.split([';', ',']).any(|part| {
            part.trim().strip_prefix("rel=").is_some_and(|rel| {
                rel.trim_matches('"').split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("next"))
            })
        });
        if is_next {
            return Some(url);
        }
        rest = after.get(end..)?;
    }
    None
}

/// The path `/repositories/{id}` that stands in `to` where `root` stood in `from`, all else being equal.
///
/// That is how a renamed repository redirects; remembering it saves a redirect in every later call.
pub fn moved_root(base: &str, root: &str, from: &str, to: &str) -> Option<String> {
    let tail = from.strip_prefix(base)?.strip_prefix(root)?;
    let new = to.strip_prefix(base)?.strip_suffix(tail)?;
    let id = new.strip_prefix("/repositories/")?;
    (!id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())).then(|| new.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_origin_is_followed() {
        let base = "https://api.github.test/api/v3";
        let table = [
            ("https://api.github.test/repositories/7/issues", true),
            ("HTTPS://API.github.test/x", true),
            ("/repositories/7", true),
            ("https://api.github.test.evil.example/x", false),
            ("https://evil.example/https://api.github.test/", false),
            ("https://api.github.test@evil.example/x", false),
            ("https://user@api.github.test/x", false),
            ("https://api.github.test:444/x", false),
            ("http://api.github.test/x", false),
            ("//evil.example/x", false),
            ("/\\evil.example/x", false),
            ("https://api.github.test\\@evil.example/x", false),
            ("https:///x", false),
            ("ftp://api.github.test/x", false),
            ("repositories/7", false),
            ("https://api.github.test/x\r\ny: z", false),
            ("", false),
        ];
        for (to, wanted) in table {
            assert_eq!(same_origin(base, to).is_some(), wanted, "{to}");
        }
        assert_eq!(same_origin(base, "/x?y").as_deref(), Some("https://api.github.test/x?y"));
    }

    #[test]
    fn the_next_page_is_found_among_all_links() {
        let table = [
            (r#"<https://a/1?after=x&page=2>; rel="next""#, Some("https://a/1?after=x&page=2")),
            (
                r#"<https://a/0>; rel="prev", <https://a/2,3>; rel="next", <https://a/9>; rel="last""#,
                Some("https://a/2,3"),
            ),
            (r#"<https://a/0>; title="rel=next"; rel="prev""#, None),
            (r#"<https://a/2>; rel=next"#, Some("https://a/2")),
            (r#"<https://a/2>; rel="last next""#, Some("https://a/2")),
            ("<https://a/2", None),
            ("", None),
            ("><", None),
        ];
        for (header, wanted) in table {
            assert_eq!(next(header), wanted, "{header}");
        }
    }

    #[test]
    fn a_renamed_repository_is_told_from_other_redirects() {
        let base = "https://github.test/api/v3";
        let root = "/repos/acme/app";
        let from = "https://github.test/api/v3/repos/acme/app/issues?since=x";
        let table = [
            ("https://github.test/api/v3/repositories/7/issues?since=x", Some("/repositories/7")),
            ("https://github.test/api/v3/repositories/7/issues", None),
            ("https://github.test/api/v3/repositories/7x/issues?since=x", None),
            ("https://github.test/repositories/7/issues?since=x", None),
            ("https://github.test/api/v3/repos/acme/new/issues?since=x", None),
        ];
        for (to, wanted) in table {
            assert_eq!(moved_root(base, root, from, to).as_deref(), wanted, "{to}");
        }
    }
}
