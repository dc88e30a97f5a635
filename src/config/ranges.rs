//! Lists of address ranges, some with a word that stands for more of them.

use std::net::IpAddr;

use ipnet::IpNet;

use super::section::Section;

/// The ranges of a list, and whether `word` was among them; what is neither is a fault.
pub(super) fn ranges(
    section: &Section<'_, '_>,
    key: &'static str,
    example: &str,
    word: Option<&str>,
) -> (Vec<IpNet>, bool) {
    let (mut found, mut worded) = (Vec::new(), false);
    for (text, line) in section.texts_with_lines(key, example) {
        match range(&text) {
            _ if word == Some(text.as_str()) => worded = true,
            Some(range) => found.push(range),
            None => {
                let or = word.map(|word| format!(", or \"{word}\"")).unwrap_or_default();
                section.fault_value(
                    line,
                    key,
                    &text,
                    format!("not a range of addresses; write one such as \"{example}\" or \"2001:db8::/32\"{or}"),
                );
            }
        }
    }
    (found, worded)
}

/// A range such as `10.0.0.0/8`, or a single address.
fn range(text: &str) -> Option<IpNet> {
    let range = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    Some(range.trunc())
}
