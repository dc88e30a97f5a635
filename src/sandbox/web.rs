//! A request taken apart and an answer put together; what both services share of HTTP.

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::provider::http::{Method, Request, Response};

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Ask<'r> {
    /// What to do.
    pub method: Method,
    /// The base address it came to, without a slash at the end.
    pub base: &'r str,
    /// The path below the base as it stands in the address, with its leading slash.
    pub raw_path: &'r str,
    /// The query as it stands in the address, or empty.
    pub raw_query: &'r str,
    /// The path below the base, decoded, one word for each segment.
    pub path: Vec<String>,
    /// The query, decoded, in the order given.
    pub query: Vec<(String, String)>,
    /// Header names in lower case, with their values.
    pub headers: &'r [(String, String)],
    /// The body.
    pub body: &'r [u8],
}

impl<'r> Ask<'r> {
    /// Takes a request apart; `base` is the part of its address before the path.
    pub fn parse(request: &'r Request, base: &'r str) -> Self {
        let rest = request.url.get(base.len()..).unwrap_or_default();
        let rest = rest.split('#').next().unwrap_or_default();
        let (raw_path, raw_query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = raw_path.split('/').skip(1).map(|part| decoded(part, false)).collect();
        let query = raw_query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (decoded(name, true), decoded(value, true))
            })
            .collect();
        Self {
            method: request.method,
            base,
            raw_path,
            raw_query,
            path,
            query,
            headers: &request.headers,
            body: &request.body,
        }
    }

    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The first query parameter of that name.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The token of `Authorization: Bearer …` (or `token …`, as GitHub has it too).
    pub fn token(&self) -> Option<&str> {
        let (scheme, token) = self.header("authorization")?.split_once(' ')?;
        let known = scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token");
        known.then_some(token.trim())
    }
}

/// Undoes percent-encoding; what is no encoding stands as it is.
fn decoded(text: &str, plus_is_space: bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match (first, tail) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                match (digit(high), digit(low)) {
                    (Some(high), Some(low)) => {
                        // Two hexadecimal digits always fit one byte.
                        bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                        rest = after;
                    }
                    _ => bytes.push(b'%'),
                }
            }
            (b'+', _) if plus_is_space => bytes.push(b' '),
            (byte, _) => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Percent-encodes everything that is not a letter, a digit or one of `-._~`.
pub(super) fn encoded(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
        out
    })
}

/// An answer with a body of JSON.
pub(super) fn json_response(status: u16, body: Vec<u8>) -> Response {
    Response { status, headers: vec![("content-type".to_owned(), "application/json; charset=utf-8".to_owned())], body }
}

/// An instant with milliseconds, as Asana writes it.
pub(super) fn instant_ms(at: i64) -> String {
    printed(at, 3)
}

/// An instant in whole seconds, as GitHub writes it.
pub(super) fn instant_s(at: i64) -> String {
    printed(at, 0)
}

fn printed(at: i64, digits: u8) -> String {
    let at = Timestamp::from_millisecond(at).unwrap_or_default();
    let mut text = String::with_capacity(24);
    // Writing to a string cannot fail.
    let _ = DateTimePrinter::new().precision(Some(digits)).print_timestamp(&at, &mut text);
    text
}

/// An instant as HTTP headers write it.
pub(super) fn http_date(at: i64) -> String {
    Timestamp::from_millisecond(at).unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// Reads an instant (`2026-01-02T03:04:05Z`, with or without fraction, any offset) or a bare day (UTC).
pub(super) fn parse_instant(text: &str) -> Option<i64> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at.as_millisecond());
    }
    let day: jiff::civil::Date = text.parse().ok()?;
    Some(day.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_decodes_to_itself() {
        for text in ["plain", "a b+c/d?e=f&g", "日本 100%", "%zz", "%"] {
            assert_eq!(decoded(&encoded(text), true), text);
        }
        assert_eq!(decoded("%zz%4", false), "%zz%4");
    }

    #[test]
    fn instants_are_written_as_each_service_writes_them() {
        let at = parse_instant("2026-01-02T03:04:05.678Z").expect("an instant");
        assert_eq!(instant_ms(at), "2026-01-02T03:04:05.678Z");
        assert_eq!(instant_s(at), "2026-01-02T03:04:05Z");
        assert_eq!(http_date(at), "Fri, 02 Jan 2026 03:04:05 GMT");
        assert_eq!(parse_instant("2026-01-02"), parse_instant("2026-01-02T00:00:00Z"));
    }
}
