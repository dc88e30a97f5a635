//! Cron lines, read exactly as the scheduler will read them, and those that never come true.

use croner::Cron;
use croner::parser::{CronParser, Seconds};

/// When what happens, in six-field cron lines, UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Incremental passes.
    pub poll: String,
    /// Full passes.
    pub sweep: String,
    /// Visits to items that wait for another try.
    pub retry: String,
    /// Looks after the hooks, and fetches what GitHub failed to hand over.
    pub hooks: String,
    /// A poll also asks the slower way that misses less, when it last did so longer ago than this.
    pub belt: std::time::Duration,
    /// Starts of the service within half an hour that need not end in order before its passes begin later.
    pub starts_free: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            poll: "0 * * * * *".to_owned(),
            sweep: "0 17 3 * * *".to_owned(),
            retry: "30 * * * * *".to_owned(),
            hooks: "15 */10 * * * *".to_owned(),
            belt: std::time::Duration::from_secs(900),
            starts_free: 3,
        }
    }
}

/// The names of the six fields, in order.
const FIELDS: &str = "second minute hour day month weekday";

/// Checks a cron line; the error says what was found. The scheduler itself gives no reason, and
/// takes a day that never comes without a word.
pub(super) fn check(line: &str) -> Result<(), String> {
    let fields = line.split_whitespace().count();
    // @hourly and its like stand for six fields.
    let nickname = fields == 1 && line.trim_start().starts_with('@');
    if fields != 6 && !nickname {
        return Err(match fields {
            5 => format!("five fields, but the second comes first here ({FIELDS}); put \"0 \" before it"),
            7 => "seven fields; a year has no place here, remove it".to_owned(),
            _ => format!("not a cron line of six fields ({FIELDS})"),
        });
    }
    // As `Job::new_async` of tokio-cron-scheduler 0.15 does it.
    let parser = CronParser::builder().seconds(Seconds::Required).dom_and_dow(true).build();
    let cron = parser.parse(line).map_err(|error| format!("not a cron line: {}", plain(&error.to_string())))?;
    if comes_true(&cron) { Ok(()) } else { Err("no day ever matches it, so it would never run".to_owned()) }
}

/// Whether any day matches: weekdays and leap years repeat after 28 years.
fn comes_true(cron: &Cron) -> bool {
    (2024..2052).any(|year| {
        (1..=12).any(|month| {
            cron.pattern.month_match(month).unwrap_or(false)
                // A day the month does not have is an error, which is no match.
                && (1..=31).any(|day| cron.pattern.day_match(year, month, day).unwrap_or(false))
        })
    })
}

/// The library's message in the form of ours: no capital, no full stop.
fn plain(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_the_scheduler_takes_are_taken() {
        for line in [
            "* * * * * *",
            "0 */5 * * * *",
            "0 0 3 * * MON-FRI",
            "0 0 0 29 2 *",
            "0 0 0 29 2 MON",
            "@hourly",
            "0 0 0 L * *",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn lines_that_are_wrong_or_never_run_are_refused() {
        for (line, why) in [
            ("", "six fields"),
            ("every hour", "six fields"),
            ("* * * * *", "five fields"),
            ("0 0 0 1 1 * 2030", "seven fields"),
            ("61 * * * * *", "not a cron line"),
            ("0 0 25 * * *", "not a cron line"),
            ("0 0 0 30 2 *", "no day ever matches"),
            ("0 0 0 31 4,6,9,11 *", "no day ever matches"),
            ("@never", "not a cron line"),
        ] {
            let error = check(line).expect_err(line);
            assert!(error.contains(why), "{line}: {error}");
        }
    }

    #[test]
    fn the_defaults_are_good() {
        let Schedule { poll, sweep, retry, hooks, belt: _, starts_free: _ } = Schedule::default();
        for line in [poll, sweep, retry, hooks] {
            assert_eq!(check(&line), Ok(()), "{line}");
        }
    }
}
