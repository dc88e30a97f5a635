//! Secrets and the references to them: environment variable, file or systemd credential.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::faults::{Report, quote};
use super::section::{Given, Reference, Section};

/// A secret's text. Its `Debug` says nothing, it has no `Display`, and it is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into keeping.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that must send it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

/// A file as read from outside.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its text; wiped when dropped, for it may be a secret.
    pub text: Zeroizing<String>,
    /// Whether every user of the machine may read it.
    pub open_to_all: bool,
}

/// Longest file read, in bytes: a configuration of thousands of routes, a large bundle of certificates.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Reads a regular file of at most 4 MiB of UTF-8.
pub fn read_file(path: &Path) -> io::Result<SourceFile> {
    use io::Read;
    // Looked at before it is opened: opening a pipe without a writer would wait for ever.
    let facts = std::fs::metadata(path)?;
    if !facts.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut text = Zeroizing::new(String::new());
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other("larger than 4 MiB"));
    }
    Ok(SourceFile { text, open_to_all: open_to_all(&facts) })
}

/// Whether the permission bits let every user read.
fn open_to_all(facts: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    facts.permissions().mode() & 0o004 != 0
}

/// Where everything outside the configuration file comes from.
#[derive(Clone, Copy)]
pub(super) struct World<'a> {
    /// Environment variables.
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    /// Files.
    pub(super) read: &'a dyn Fn(&Path) -> io::Result<SourceFile>,
}

impl World<'_> {
    /// A variable that is set and not empty.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        (self.env)(name).filter(|text| !text.trim().is_empty())
    }
}

/// What to write where a secret is wanted; `name` is the usual variable.
pub(super) fn wanted(name: &str) -> String {
    let credential = match name {
        "ASANA_PAT" => "asana",
        "GITHUB_TOKEN" => "github",
        "GITHUB_WEBHOOK_SECRET" => "github-webhook",
        "GITHUB_WEBHOOK_SECRET_FORMER" => "github-webhook-former",
        "EVENKEEL_SEAL_KEY" => "seal-key",
        "ADMIN_API_TOKEN" => "admin",
        "ADMIN_API_READ_TOKEN" => "admin-read",
        _ => "database",
    };
    format!("{{ env = \"{name}\" }}, {{ file = \"/path\" }} or {{ credential = \"{credential}\" }}")
}

/// What a secret is for: which characters it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Goes into a header: visible ASCII only.
    Token,
    /// Any text.
    Text,
}

/// Reads the secret a key refers to. A literal is refused without showing it.
pub(super) fn secret_of(
    section: &Section<'_, '_>,
    key: &'static str,
    usual: &str,
    kind: Kind,
    world: World<'_>,
    report: &Report,
) -> Given<Secret> {
    let (reference, line) = match section.reference(key, &wanted(usual)) {
        Given::Not => return Given::Not,
        Given::Wrong => return Given::Wrong,
        Given::Is(reference, line) => (reference, line),
    };
    let found = match reference {
        Reference::Literal(_) => Err(format!("a secret must not stand in this file; write {} instead", wanted(usual))),
        Reference::Named(how, target) => follow(&how, &target, usual, world, &section.shown(key), report),
    };
    match found.and_then(|text| checked(text, kind)) {
        Ok(secret) => Given::Is(secret, line),
        Err(why) => {
            section.fault(line, key, why);
            Given::Wrong
        }
    }
}

/// Reads the secret in a plain variable, as used without a file. `None` when it is not set.
pub(super) fn secret_in_env(name: &str, kind: Kind, world: World<'_>) -> Option<Result<Secret, String>> {
    let text = (world.env)(name)?;
    Some(checked(Zeroizing::new(text), kind).map_err(|why| format!("{name}: {why}")))
}

/// Fetches what a reference names.
fn follow(
    how: &str,
    target: &str,
    usual: &str,
    world: World<'_>,
    shown: &str,
    report: &Report,
) -> Result<Zeroizing<String>, String> {
    match how {
        "env" => match (world.env)(target) {
            Some(text) => Ok(Zeroizing::new(text)),
            // Somebody may have put the secret itself here.
            None => Err(format!(
                "the environment variable {} is not set; set it, or write another of {}",
                quote(target),
                wanted(usual)
            )),
        },
        "file" => from_file(Path::new(target), world, shown, report),
        "credential" => {
            if target.is_empty() || target.contains('/') || target.starts_with('.') {
                return Err("not the name of a credential; write the name that LoadCredential= gives it".to_owned());
            }
            let Some(folder) = world.text("CREDENTIALS_DIRECTORY") else {
                return Err(format!(
                    "there is no CREDENTIALS_DIRECTORY: credentials exist only under systemd with \
                     LoadCredential={target}:/path in the unit; elsewhere write {{ env = \"{usual}\" }} or \
                     {{ file = \"/path\" }}"
                ));
            };
            let path = PathBuf::from(folder).join(target);
            from_file(&path, world, shown, report)
                .map_err(|why| format!("{why}; is LoadCredential={target}:/path in the unit?"))
        }
        _ => Err(format!("unknown kind of secret reference; write {}", wanted(usual))),
    }
}

fn from_file(path: &Path, world: World<'_>, shown: &str, report: &Report) -> Result<Zeroizing<String>, String> {
    if path.starts_with("~") {
        return Err("~ means nothing here; write the whole path".to_owned());
    }
    let file = (world.read)(path)
        // Somebody may have put the secret itself where its path belongs.
        .map_err(|error| format!("the file {} cannot be read: {error}", quote(&path.to_string_lossy())))?;
    if file.open_to_all {
        let path = path.display();
        report.warn(format!("{shown}: every user may read the secret in {path}; run: chmod 600 {path}"));
    }
    Ok(file.text)
}

/// Cuts line ends behind the secret off; refuses what cannot be one, without showing it.
fn checked(text: Zeroizing<String>, kind: Kind) -> Result<Secret, String> {
    /// Tokens of both services have a few hundred characters at most.
    const SECRET_BYTES_MAX: usize = 8 * 1024;
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        Err("the secret is empty".to_owned())
    } else if text.len() > SECRET_BYTES_MAX {
        Err(format!("the secret is longer than {SECRET_BYTES_MAX} bytes; is it the right file?"))
    } else if kind == Kind::Token && !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("the secret holds spaces, line ends or letters that no token has; store the token alone".to_owned())
    } else {
        Ok(Secret::new(text.to_owned()))
    }
}
