//! Reads answers as JSON: tolerant of what is unknown, strict about what is needed, silent about contents.

use std::fmt;

use serde::de::{self, DeserializeOwned, Deserializer, Visitor};

/// Longest explanation of what is wrong with an answer, in characters.
const WHY_CHARS_MAX: usize = 200;

/// Labels or tags of one item at most; GitHub allows 100. More is no answer of either service, and each would be
/// made anew on the other side.
pub const LABELS_MAX: usize = 1_000;

/// Reads a field that may be null: `Some(None)`. With `#[serde(default)]` a missing one is `None`.
///
/// # Errors
/// When it is something else.
pub fn present<'de, T: de::Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    T::deserialize(field).map(Some)
}

/// Reads a body as `T`; unknown fields are ignored, nesting is limited by serde_json to 128.
///
/// The error says where and what kind of thing was found, never what it said.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| describe(body, &error))
}

/// The whole list, or, when some entry does not fit, every entry that does and the count of the others.
///
/// One entry of a page that cannot be understood must not hide the other ninety-nine.
pub fn decode_each<T: DeserializeOwned>(entries: Vec<serde_json::Value>) -> (Vec<T>, Vec<Odd>) {
    let mut fit = Vec::with_capacity(entries.len());
    let mut odd = Vec::new();
    for entry in entries {
        let id = ["gid", "number"].iter().find_map(|name| match entry.get(name) {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(serde_json::Value::Number(number)) => Some(number.to_string()),
            _ => None,
        });
        let id = id.filter(|id| id.len() <= 40 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        match serde_json::from_value(entry) {
            Ok(value) => fit.push(value),
            Err(error) => odd.push(Odd { id, why: hide_quoted(&error.to_string()) }),
        }
    }
    (fit, odd)
}

/// An entry of a list that could not be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its `gid` or `number`, if that much could be read.
    pub id: Option<String>,
    /// What is wrong with it.
    pub why: String,
}

fn describe(body: &[u8], error: &serde_json::Error) -> String {
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    match first {
        None => "it is empty where JSON was expected".to_owned(),
        Some(b'<') => "it is HTML in place of JSON".to_owned(),
        Some(_) if std::str::from_utf8(body).is_err() => "it is not valid UTF-8".to_owned(),
        Some(_) => hide_quoted(&error.to_string()),
    }
}

/// serde's messages quote the value found, which may be anybody's words: only where and what kind is kept.
fn hide_quoted(message: &str) -> String {
    let masked = match (message.find('"'), message.rfind('"')) {
        (Some(first), Some(last)) if first < last => {
            format!("{}…{}", message.get(..=first).unwrap_or_default(), message.get(last..).unwrap_or_default())
        }
        _ => message.to_owned(),
    };
    // The one message that quotes a value in the signs it uses for names of ours.
    let masked = match masked.strip_prefix("unknown variant `").and_then(|rest| rest.split_once("`, ")) {
        Some((_, rest)) => format!("unknown variant, {rest}"),
        None => masked,
    };
    masked.chars().filter(|sign| !sign.is_control()).take(WHY_CHARS_MAX).collect()
}

/// An identifier that may come as text or as a whole number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Id(pub String);

impl<'de> de::Deserialize<'de> for Id {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Id;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("an identifier as text or whole number")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Id, E> {
                Ok(Id(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Id, E> {
                Ok(Id(text))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Id, E> {
                Ok(Id(number.to_string()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Named {
        gid: Id,
        name: String,
    }

    #[test]
    fn what_cannot_be_read_is_named_without_quoting_it() {
        let table: [(&[u8], &str); 7] = [
            (b"", "empty"),
            (b"  <html>nope</html>", "HTML in place of JSON"),
            (b"\"\xff\xfe\"", "not valid UTF-8"),
            (br#"{"gid":"1"}"#, "missing field `name`"),
            (br#"{"gid":"1","name":7}"#, "invalid type: integer `7`"),
            (br#"{"gid":true,"name":"x"}"#, "an identifier as text or whole number"),
            (br#"{"gid":"1","name":"x"#, "EOF"),
        ];
        for (body, wanted) in table {
            let why = decode::<Named>(body).expect_err(wanted);
            assert!(why.contains(wanted), "{why}");
        }
        #[derive(Debug, Deserialize)]
        enum Known {
            A,
        }
        let secret = format!(r#"["my \"secret\" words `, {}"]"#, "x".repeat(100_000));
        for why in [decode::<Vec<i64>>(secret.as_bytes()).map(drop), decode::<Vec<Known>>(secret.as_bytes()).map(drop)]
        {
            let why = why.expect_err("neither a number nor a known word");
            assert!(!why.contains("secret") && why.len() < 300, "{why}");
        }
        assert!(decode::<Known>(br#""A""#).is_ok());
    }

    #[test]
    fn nesting_by_the_thousand_is_an_error_and_no_overflow() {
        let deep = "[".repeat(200_000);
        assert!(decode::<serde_json::Value>(deep.as_bytes()).is_err());
        // Even in a field that nobody asked for.
        let hidden = format!(r#"{{"gid":"1","name":"x","other":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
        let _ = decode::<Named>(hidden.as_bytes());
    }

    #[test]
    fn identifiers_come_as_text_or_number() {
        for body in [br#"{"gid":"17","name":"x"}"#.as_slice(), br#"{"gid":17,"name":"x"}"#] {
            assert_eq!(decode::<Named>(body), Ok(Named { gid: Id("17".to_owned()), name: "x".to_owned() }));
        }
    }

    #[test]
    fn one_odd_entry_does_not_hide_the_others() {
        let page = decode(br#"[{"gid":"1","name":"a"},{"gid":"2","name":[]},7,{"gid":"3","name":"c"}]"#);
        let (fit, odd) = decode_each::<Named>(page.expect("a list"));
        assert_eq!(fit.iter().map(|named| named.gid.0.as_str()).collect::<Vec<_>>(), ["1", "3"]);
        assert_eq!(odd.iter().map(|odd| odd.id.as_deref()).collect::<Vec<_>>(), [Some("2"), None]);
    }
}
