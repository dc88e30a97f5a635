//! The configuration as a user meets it: what the documents show is accepted, and real files are read
//! with care.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use evenkeel::config::{Config, ConfigErrors, DatabaseUrl, read_file};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Loads a text as `config.toml` in a folder, with plain variables and the real disk.
fn load(folder: &Path, text: &str) -> Result<Config, ConfigErrors> {
    let file = folder.join("config.toml");
    fs::write(&file, text).expect("the file is written");
    let credentials = folder.display().to_string();
    let env = move |name: &str| match name {
        "ASANA_PAT" | "GITHUB_TOKEN" => Some("token".to_owned()),
        "EVENKEEL_SEAL_KEY" | "ADMIN_API_TOKEN" | "ADMIN_API_READ_TOKEN" => Some(key(name)),
        "CREDENTIALS_DIRECTORY" => Some(credentials.clone()),
        _ => None,
    };
    Config::load(Some(&file), &env, &read_file)
}

/// What the documents tell to make with `openssl rand -hex 32`; another for each name.
fn key(name: &str) -> String {
    format!("{name:x<64}")
}

/// A credential as systemd hands it over.
fn hand_over(folder: &Path, name: &str, secret: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("{secret}\n")).expect("the secret is written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).expect("permissions");
}

/// The credentials of the unit's comments: for webhooks and the admin API.
const FURTHER: [&str; 4] = ["seal", "github-webhook", "admin", "admin-read"];

/// Every block marked as TOML in a document.
fn blocks(document: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(document)).expect(document);
    // Those in a list stand further right.
    let blocks = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.map(|block| block.lines().map(str::trim_start).collect::<Vec<_>>().join("\n")).collect()
}

const ROUTE: &str = "[[route]]\nname = \"app\"\nasana_project = \"1201\"\ngithub_repo = \"acme/app\"\n";

#[test]
fn what_the_documents_show_is_accepted() {
    let folder = tempfile::tempdir().expect("a folder");
    FURTHER.iter().for_each(|name| hand_over(folder.path(), name, &key(name)));
    for document in ["README.md", "docs/service.md", "docs/webhooks.md", "docs/api.md"] {
        let blocks = blocks(document);
        assert!(!blocks.is_empty(), "{document} shows a configuration");
        for block in blocks {
            let whole = if block.contains("[[route]]") { block } else { format!("{block}\n{ROUTE}") };
            let config = load(folder.path(), &whole).unwrap_or_else(|errors| panic!("{document}:\n{errors}"));
            assert_eq!(config.warnings, Vec::<String>::new(), "{document}");
        }
    }
}

#[test]
fn the_example_is_accepted_as_it_is() {
    let text = fs::read_to_string(root().join("config.toml.example")).expect("the example");
    let folder = tempfile::tempdir().expect("a folder");
    let config = load(folder.path(), &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert!(matches!(config.database, DatabaseUrl::Sqlite(_)));
}

#[test]
fn the_unit_provides_the_credentials_that_the_documents_name() {
    let unit = fs::read_to_string(root().join("systemd/evenkeel.service")).expect("the unit");
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["asana", "github"] {
        assert!(unit.contains(&format!("LoadCredential={name}:/etc/evenkeel/credentials/{name}\n")), "{name}");
        hand_over(folder.path(), name, &format!("{name}-secret"));
    }
    for name in FURTHER {
        // Only where somebody wants it: a file that is missing keeps the service from starting.
        assert!(unit.contains(&format!("\n#LoadCredential={name}:/etc/evenkeel/credentials/{name}\n")), "{name}");
    }
    let text = format!(
        "[asana]\ntoken = {{ credential = \"asana\" }}\n[github]\ntoken = {{ credential = \"github\" }}\n{ROUTE}"
    );
    let config = load(folder.path(), &text).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.routes[0].tokens.tracker.reveal(), "asana-secret");
    assert_eq!(config.routes[0].tokens.forge.reveal(), "github-secret");
}

#[test]
fn a_secret_that_everybody_may_read_is_warned_about() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("token");
    fs::write(&path, "secret").expect("the secret is written");
    let text = format!("[asana]\ntoken = {{ file = {path:?} }}\n{ROUTE}");
    for (mode, warnings) in [(0o600, 0), (0o640, 0), (0o644, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
        let config = load(folder.path(), &text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.warnings.len(), warnings, "{mode:o}: {:?}", config.warnings);
    }
}

#[test]
fn files_that_could_hang_or_swell_the_program_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| -> PathBuf { folder.path().join(name) };
    let pipe = Command::new("mkfifo").arg(at("pipe")).status().expect("mkfifo runs");
    assert!(pipe.success());
    let large = fs::File::create(at("large")).expect("a file");
    large.set_len(5 * 1024 * 1024).expect("a sparse file");
    fs::write(at("latin"), b"caf\xe9").expect("a file");
    for name in ["pipe", "large", "latin", "none", "."] {
        assert!(read_file(&at(name)).is_err(), "{name} was read");
    }
    let text = format!("[asana]\ntoken = {{ file = {:?} }}\n{ROUTE}", at("pipe"));
    let errors = load(folder.path(), &text).expect_err("a pipe is no file").to_string();
    assert!(errors.contains("not a regular file"), "{errors}");
}
