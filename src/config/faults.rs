//! What is wrong with a configuration: all of it at once, each fault with its place and its remedy.

use std::cell::RefCell;
use std::fmt;

/// One fault. `Display` is a whole sentence with file, line, key, finding and remedy; never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file's name as the operator gave it, or `environment`.
    pub origin: String,
    /// The line in that file, from 1.
    pub line: Option<usize>,
    /// What was found there and what to write instead.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: {}", self.origin, self.what),
            None => write!(out, "{}: {}", self.origin, self.what),
        }
    }
}

/// Everything that is wrong; never empty. `Display` is one fault a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(super) Vec<Fault>);

impl ConfigErrors {
    /// The faults: the file's by line, then the environment's.
    pub fn faults(&self) -> &[Fault] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, fault) in self.0.iter().enumerate() {
            if at > 0 {
                out.write_str("\n")?;
            }
            fault.fmt(out)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// The origin of faults that lie in no file.
pub(super) const ENVIRONMENT: &str = "environment";

/// Collects faults and warnings while everything is read.
pub(super) struct Report {
    /// How the operator called the file.
    origin: String,
    /// Where each line of the file starts, in bytes.
    starts: Vec<usize>,
    /// Lines the parser could not read, once it has failed: see [`Report::unreadable`].
    unread: RefCell<Vec<usize>>,
    faults: RefCell<Vec<Fault>>,
    warnings: RefCell<Vec<String>>,
}

impl Report {
    /// Over a file of that name and text; without a file both are empty.
    pub(super) fn new(origin: &str, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            origin: origin.to_owned(),
            starts: std::iter::once(0).chain(ends).collect(),
            unread: RefCell::default(),
            faults: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    /// How the operator called the file.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// The line, from 1, in which a byte stands.
    pub(super) fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    /// Notes that the parser could not read the document as TOML.
    ///
    /// From here on the document is a guess at what was meant: that something is missing from it, or
    /// is odd in a line that could not be read, is no longer worth saying; other faults are.
    pub(super) fn unreadable(&self, line: Option<usize>, message: &str) {
        let what = format!("not TOML: {message}");
        self.note(Fault { origin: self.origin.clone(), line, what });
        self.unread.borrow_mut().push(line.unwrap_or_default());
    }

    fn guesses(&self) -> bool {
        !self.unread.borrow().is_empty()
    }

    /// Notes that something is missing from the file.
    pub(super) fn fault_missing(&self, line: Option<usize>, what: impl Into<String>) {
        if !self.guesses() {
            self.fault(line, what);
        }
    }

    /// Notes a fault of the file.
    pub(super) fn fault(&self, line: Option<usize>, what: impl Into<String>) {
        if line.is_some_and(|line| self.unread.borrow().contains(&line)) {
            return;
        }
        self.note(Fault { origin: self.origin.clone(), line, what: what.into() });
    }

    /// Notes a fault of the environment.
    pub(super) fn fault_outside(&self, what: impl Into<String>) {
        if self.guesses() {
            return;
        }
        self.note(Fault { origin: ENVIRONMENT.to_owned(), line: None, what: what.into() });
    }

    fn note(&self, fault: Fault) {
        let mut faults = self.faults.borrow_mut();
        // Two routes with one broken token reference are one fault.
        if !faults.contains(&fault) {
            faults.push(fault);
        }
    }

    /// Notes something that works but should be looked at.
    pub(super) fn warn(&self, text: String) {
        let mut warnings = self.warnings.borrow_mut();
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// How many faults there are so far.
    pub(super) fn count(&self) -> usize {
        self.faults.borrow().len()
    }

    /// The warnings, or every fault in the order of the lines.
    pub(super) fn finish(self) -> Result<Vec<String>, ConfigErrors> {
        let mut faults = self.faults.into_inner();
        if faults.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        faults.sort_by_key(|fault| (fault.origin == ENVIRONMENT, fault.line.unwrap_or(usize::MAX)));
        Err(ConfigErrors(faults))
    }
}

/// Shows a value in a message: quoted, cut, on one line, and not at all when it may be a secret.
pub(super) fn quote(text: &str) -> String {
    /// Enough to recognise a value.
    const SHOWN_MAX: usize = 60;
    if may_be_secret(text) {
        return "(a value that looks like a secret, not shown)".to_owned();
    }
    let cut: String = text.chars().take(SHOWN_MAX).collect();
    let dots = if cut.len() < text.len() { "…" } else { "" };
    format!("\"{}{dots}\"", cut.escape_debug())
}

/// Whether a text looks like a token of either service or holds a password: put into the wrong key
/// by mistake, it must not reach a log.
fn may_be_secret(text: &str) -> bool {
    let github = ["ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_"].iter().any(|sign| text.contains(sign));
    // Asana's personal access tokens: 0/… , 1/123:… and 2/123/456:…
    let asana = text.split_once('/').is_some_and(|(version, rest)| {
        version.len() == 1 && version.bytes().all(|byte| byte.is_ascii_digit()) && rest.len() >= 16
    });
    let with_password = text.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    let opaque = text.len() >= 30
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic());
    github || asana || with_password || opaque
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_in_the_wrong_place_is_not_shown() {
        for token in [
            "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
            "github_pat_11AAAAAAA0_x",
            "2/1201234567890123/1209876543210987:9f86d081884c7d659a2feaa0c55ad015",
            "https://user:pass@example.com",
            "9f86d081884c7d659a2feaa0c55ad015",
        ] {
            assert!(!quote(token).contains(&token[6..12]), "{}", quote(token));
        }
        for plain in ["acme/app", "1201234567890123", "0 * * * * *", "https://api.github.com", "booth"] {
            assert_eq!(quote(plain), format!("{plain:?}"));
        }
    }

    #[test]
    fn bytes_are_found_in_their_lines() {
        let report = Report::new("f", "a\nbc\n\nd");
        assert_eq!([0, 1, 2, 4, 5, 6].map(|at| report.line(at)), [1, 1, 2, 2, 3, 4]);
    }
}
