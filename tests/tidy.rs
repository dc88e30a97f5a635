//! What the sources must keep to: the layering of ARCHITECTURE.md, where `use` lines point one way, and where breakages go.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file below `src`, with its text up to its unit tests.
fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("src is readable") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).expect("source is readable");
                let body = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.push((path, body));
            }
        }
    }
    found
}

/// The module a file belongs to: `store` for src/store.rs and src/store/*.
fn module(path: &Path) -> String {
    let inside = path.strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("below src");
    let first = inside.components().next().expect("a component").as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_owned()
}

#[test]
fn pure_modules_name_no_module_that_does_io() {
    let may_use = |module: &str| -> Option<&[&str]> {
        match module {
            "model" => Some(&["model"]),
            "text" => Some(&["model", "text"]),
            "reconcile" => Some(&["model", "text", "reconcile"]),
            "provider" => Some(&["model", "text", "provider", "clock", "config"]),
            "store" => Some(&["model", "store", "provider", "config", "clock"]),
            "engine" => Some(&["model", "text", "reconcile", "provider", "store", "engine", "clock", "config"]),
            "workshop" => Some(&["model", "provider", "store", "engine", "clock", "config"]),
            "trigger" => Some(&["trigger", "clock", "config"]),
            "server" => Some(&[
                "server",
                "inbox",
                "seal",
                "engine",
                "workshop",
                "trigger",
                "store",
                "provider",
                "reconcile",
                "model",
                "clock",
                "config",
            ]),
            "seal" => Some(&["config"]),
            "inbox" => Some(&["inbox", "seal", "store", "provider", "model", "clock", "config"]),
            "hooks" => Some(&["hooks", "seal", "inbox", "store", "provider", "workshop", "model", "clock", "config"]),
            "service" => Some(&[
                "service",
                "server",
                "hooks",
                "inbox",
                "trigger",
                "workshop",
                "engine",
                "store",
                "provider",
                "model",
                "clock",
                "config",
                "reconcile",
            ]),
            _ => None,
        }
    };
    for (path, text) in sources() {
        let module = module(&path);
        let Some(allowed) = may_use(&module) else { continue };
        if path.ends_with("laws.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let mut rest = line;
            while let Some(at) = rest.find("crate::") {
                rest = &rest[at + 7..];
                let named: String = rest.chars().take_while(|sign| sign.is_alphanumeric() || *sign == '_').collect();
                assert!(
                    allowed.contains(&named.as_str()),
                    "{}:{}: `{module}` must not know `{named}`",
                    path.display(),
                    number + 1
                );
            }
        }
    }
}

#[test]
fn every_module_has_its_place_in_the_table_of_the_architecture() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let page = fs::read_to_string(page).expect("ARCHITECTURE.md is readable");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `src/")).collect();
    let modules: BTreeSet<String> = sources().iter().map(|(path, _)| module(path)).collect();
    for module in modules.iter().filter(|module| !["lib", "main"].contains(&module.as_str())) {
        let named = [format!("`src/{module}*`"), format!("`src/{module}.rs`")];
        let places = rows.iter().filter(|row| named.iter().any(|name| row.contains(name))).count();
        assert_eq!(places, 1, "ARCHITECTURE.md says in {places} rows what src/{module} is");
    }
}

#[test]
fn each_package_that_does_io_is_named_in_one_place() {
    let homes: [(&str, &[&str]); 9] = [
        ("ureq::", &["provider/http.rs"]),
        ("diesel::", &["store"]),
        ("tiny_http::", &["sandbox", "server/gate/back.rs"]),
        ("httparse::", &["server/gate"]),
        ("listenfd::", &["server/sockets.rs"]),
        ("tokio_cron_scheduler::", &["trigger"]),
        ("sd_notify::", &["trigger"]),
        // The sandbox signs by its own hand, so that one side's mistake is not the other's.
        ("hmac::", &["provider/signature.rs", "sandbox/webhooks/sign.rs"]),
        ("indicatif::", &["cli"]),
    ];
    for (path, text) in sources() {
        let shown = path.display().to_string();
        for (package, places) in homes {
            if text.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(package)) {
                assert!(
                    places.iter().any(|place| shown.contains(&format!("src/{place}"))),
                    "{shown}: names {package}, which belongs in {places:?}"
                );
            }
        }
    }
}

#[test]
fn every_file_says_its_purpose_in_its_first_line() {
    for (path, text) in sources() {
        let first = text.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{}: {first:?}", path.display());
    }
}

#[test]
fn pure_modules_read_no_clock() {
    for (path, text) in sources() {
        if ["model", "text", "reconcile"].contains(&module(&path).as_str()) {
            for needle in ["Timestamp::now", "SystemTime", "Instant::now", "log::"] {
                assert!(!text.contains(needle), "{}: {needle}", path.display());
            }
        }
    }
}

#[test]
fn each_deliberate_breakage_still_finds_its_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("tests/breakages.toml")).expect("the breakages");
    let table: toml::Table = text.parse().expect("TOML");
    let breakages = table["breakage"].as_array().expect("a list");
    assert!(breakages.len() >= 12);
    for breakage in breakages {
        let word = |name: &str| breakage[name].as_str().expect("a text").to_owned();
        let mut places = vec![(word("file"), word("find"))];
        for also in breakage.get("also").and_then(|also| also.as_array()).into_iter().flatten() {
            places.push((also[0].as_str().expect("a file").to_owned(), also[1].as_str().expect("a text").to_owned()));
        }
        for (file, find) in places {
            let source = fs::read_to_string(root.join(&file)).unwrap_or_default();
            assert_eq!(source.matches(&find).count(), 1, "{}: {file} holds {find:?}", word("name"));
        }
    }
}
