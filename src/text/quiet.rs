//! Words that would notify or refer on the forge, made quiet by a space of no width, and loud again.

use std::borrow::Cow;

/// Put after `@` and `#`: GitHub then sees neither a mention nor a reference, and a reader sees no difference.
pub(super) const HUSH: char = '\u{200b}';

/// Whether a sign that ends `before` would call somebody or something named by `next`.
///
/// `@name` and `@org/team` notify unless a word runs into the sign (an e-mail address does not); `#12`,
/// `owner/repo#12` and `GH-12` make a reference at the other item.
pub(super) fn calls(before: &str, next: char) -> bool {
    let mut back = before.bytes().rev();
    match back.next() {
        Some(b'@') => {
            next.is_ascii_alphanumeric()
                && !back.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        }
        Some(b'#') => next.is_ascii_digit(),
        Some(b'-') => {
            next.is_ascii_digit()
                && back.next().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'h'))
                && back.next().is_some_and(|byte| byte.eq_ignore_ascii_case(&b'g'))
                && !back.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        }
        _ => false,
    }
}

/// The words without the spaces of no width that hush a call.
pub(super) fn loud(text: &str) -> Cow<'_, str> {
    if !text.contains(HUSH) {
        return Cow::Borrowed(text);
    }
    let mut loud = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(HUSH) {
        loud.push_str(&rest[..at]);
        let after = rest[at..].trim_start_matches(HUSH);
        let next = after.chars().next();
        if !next.is_some_and(|next| calls(&loud, next)) {
            loud.push_str(&rest[at..rest.len() - after.len()]);
        }
        rest = after;
    }
    loud.push_str(rest);
    Cow::Owned(loud)
}
