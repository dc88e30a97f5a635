//! Log lines on standard error: text for people, or one JSON object a line.
//!
//! A line is one line whatever a message holds: titles and answers of services end up in messages, and
//! must forge neither another line nor an escape sequence of the terminal. Passwords, tokens, bodies
//! and e-mail addresses are not hidden here: they are not logged in the first place.

use std::fmt::Write as _;
use std::io::Write;

use env_logger::{Builder, Target};
use jiff::Timestamp;
use log::kv::{Key, Value, VisitSource};
use log::{Level, LevelFilter, Record};

use crate::config::LogFormat;

/// Starts logging to standard error; a second call in one process has no effect.
///
/// `loudness` is the count of `-v` (or minus that of `-q`): -2 none, -1 errors, 0 info, 1 debug,
/// 2 trace and the libraries' debug. `rust_log` is the value of `RUST_LOG`, which wins.
pub fn init(format: LogFormat, loudness: i8, rust_log: Option<&str>) {
    start(builder(format, loudness, rust_log), Target::Stderr);
}

/// Starts logging to a writer, such as one that steps around a progress bar.
pub fn init_to(format: LogFormat, loudness: i8, rust_log: Option<&str>, out: Box<dyn Write + Send>) {
    start(builder(format, loudness, rust_log), Target::Pipe(out));
}

fn start(mut builder: Builder, target: Target) {
    // The only error is that a logger is there already.
    let _ = builder.target(target).try_init();
}

/// The logger's settings, all but where it writes.
fn builder(format: LogFormat, loudness: i8, rust_log: Option<&str>) -> Builder {
    let mut builder = Builder::new();
    match rust_log.filter(|filters| !filters.trim().is_empty()) {
        Some(filters) => {
            builder.parse_filters(filters);
        }
        None => {
            let (own, others) = levels(loudness);
            builder.filter_level(others).filter_module("evenkeel", own);
        }
    }
    // What is not printed as it stands is escaped below, so colours would have to be added there.
    builder.format(move |out, record| {
        let now = Timestamp::now();
        let line = match format {
            LogFormat::Text => text(now, record),
            LogFormat::Json => json(now, record),
        };
        writeln!(out, "{line}")
    });
    builder
}

/// The levels of this program and of the libraries.
const fn levels(loudness: i8) -> (LevelFilter, LevelFilter) {
    match loudness {
        i8::MIN..=-2 => (LevelFilter::Off, LevelFilter::Off),
        -1 => (LevelFilter::Error, LevelFilter::Error),
        0 => (LevelFilter::Info, LevelFilter::Warn),
        1 => (LevelFilter::Debug, LevelFilter::Warn),
        2..=i8::MAX => (LevelFilter::Trace, LevelFilter::Debug),
    }
}

/// `2026-11-20T11:54:06Z info  message`. Keys and values are left out: a message reads alone.
fn text(now: Timestamp, record: &Record<'_>) -> String {
    let mut line = format!("{now:.0} {:<5} ", level(record.level()));
    // Formatting into a String fails only if a value's own Display does; what was written then stays.
    let _ = write!(Harmless(&mut line), "{}", record.args());
    line
}

/// One JSON object: `time`, `level`, `target`, `message`, then the record's keys and values.
fn json(now: Timestamp, record: &Record<'_>) -> String {
    let mut object = serde_json::Map::new();
    object.insert("time".to_owned(), format!("{now:.3}").into());
    object.insert("level".to_owned(), level(record.level()).into());
    object.insert("target".to_owned(), record.target().into());
    object.insert("message".to_owned(), record.args().to_string().into());
    // Collecting cannot fail; a source that does has given what it could.
    let _ = record.key_values().visit(&mut Fields(&mut object));
    serde_json::Value::Object(object).to_string()
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    }
}

/// Collects keys and values; a key that is taken already gets a `_` behind it, so that a record cannot
/// pretend another level or time.
struct Fields<'a>(&'a mut serde_json::Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), log::kv::Error> {
        let mut name = key.as_str().to_owned();
        while self.0.contains_key(&name) {
            name.push('_');
        }
        self.0.insert(name, plain(&value));
        Ok(())
    }
}

/// Numbers and flags as such, all else as text.
fn plain(value: &Value<'_>) -> serde_json::Value {
    if let Some(flag) = value.to_bool() {
        flag.into()
    } else if let Some(number) = value.to_u64() {
        number.into()
    } else if let Some(number) = value.to_i64() {
        number.into()
    } else if let Some(number) = value.to_f64() {
        // Not a number and infinity have no JSON.
        serde_json::Number::from_f64(number).map_or_else(|| number.to_string().into(), Into::into)
    } else {
        value.to_string().into()
    }
}

/// Passes text on with everything escaped that could end the line or move the terminal's hand.
struct Harmless<'a>(&'a mut String);

impl std::fmt::Write for Harmless<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for sign in text.chars() {
            if is_harmful(sign) {
                self.0.extend(sign.escape_default());
            } else {
                self.0.push(sign);
            }
        }
        Ok(())
    }
}

/// Control characters, and the ones of Unicode that break lines or turn the direction of what follows.
fn is_harmful(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use log::Log;

    use super::*;
    use crate::clock::lock;

    /// Lines kept in memory; clones share them.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        fn text(&self) -> String {
            String::from_utf8(lock(&self.0).clone()).expect("UTF-8")
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn now() -> Timestamp {
        "2026-11-20T11:54:06.789Z".parse().expect("a time")
    }

    /// The lines a logger writes for a record.
    fn logged(format: LogFormat, loudness: i8, rust_log: Option<&str>, record: &Record<'_>) -> String {
        let kept = Kept::default();
        let logger = builder(format, loudness, rust_log).target(Target::Pipe(Box::new(kept.clone()))).build();
        logger.log(record);
        logger.flush();
        kept.text()
    }

    #[test]
    fn text_is_one_harmless_line() {
        let hostile = "title\n2026 error all lost\r\u{1b}[2J\u{202e}kcab\u{2028}end — ä 好 \u{7}";
        let line = text(now(), &Record::builder().level(Level::Warn).args(format_args!("{hostile}")).build());
        assert_eq!(
            line,
            "2026-11-20T11:54:06Z warn  title\\n2026 error all lost\\r\\u{1b}[2J\\u{202e}kcab\\u{2028}end — ä 好 \\u{7}"
        );
    }

    #[test]
    fn json_is_one_object_a_line_with_its_keys_and_values() {
        let values: [(&str, Value<'_>); 7] = [
            ("pass", 42.into()),
            ("ms", 1.5.into()),
            ("left", (-3).into()),
            ("full", true.into()),
            ("task", "1201\n".into()),
            ("level", "forged".into()),
            ("odd", f64::NAN.into()),
        ];
        let args = format_args!("a \"title\"\nand more");
        let record =
            Record::builder().level(Level::Info).target("evenkeel::engine").args(args).key_values(&values).build();
        let line = json(now(), &record);
        assert_eq!(line.lines().count(), 1);
        let found: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        let expected = serde_json::json!({
            "time": "2026-11-20T11:54:06.789Z", "level": "info", "target": "evenkeel::engine",
            "message": "a \"title\"\nand more", "pass": 42, "ms": 1.5, "left": -3, "full": true, "task": "1201\n",
            "level_": "forged", "odd": "NaN",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn loudness_chooses_the_levels_and_rust_log_wins() {
        let says = |loudness, rust_log, target, level| {
            let args = format_args!("x");
            let record = Record::builder().level(level).target(target).args(args).build();
            !logged(LogFormat::Text, loudness, rust_log, &record).is_empty()
        };
        for (loudness, own, other) in [
            (-2, None, None),
            (-1, Some(Level::Error), Some(Level::Error)),
            (0, Some(Level::Info), Some(Level::Warn)),
            (1, Some(Level::Debug), Some(Level::Warn)),
            (5, Some(Level::Trace), Some(Level::Debug)),
        ] {
            for level in Level::iter() {
                assert_eq!(says(loudness, None, "evenkeel::engine", level), Some(level) <= own && own.is_some());
                assert_eq!(says(loudness, Some(" "), "ureq", level), Some(level) <= other && other.is_some());
            }
        }
        assert!(says(-2, Some("debug"), "ureq", Level::Debug));
        assert!(!says(2, Some("error"), "evenkeel", Level::Warn));
    }

    #[test]
    fn json_lines_leave_the_logger_whole() {
        let record = Record::builder().level(Level::Error).target("evenkeel").args(format_args!("one\ntwo")).build();
        let lines = logged(LogFormat::Json, 0, None, &record);
        assert!(lines.ends_with("}\n") && lines.lines().count() == 1, "{lines}");
        assert!(serde_json::from_str::<serde_json::Value>(&lines).is_ok());
    }
}
