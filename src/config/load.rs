//! Puts the configuration together: each section read, filled from the environment, and checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::admin::admin;
use super::database::{certificates, database};
use super::faults::{Report, quote};
use super::listen::listen;
use super::people::people;
use super::routes::{routes, usual_token};
use super::schedule::check;
use super::secret::{Kind, Secret, World, secret_in_env, secret_of};
use super::section::{Given, Schema, Section, Walk};
use super::webhooks::webhooks;
use super::{Config, ConfigErrors, LEASE, LogFormat, Network, Patience, Schedule, loopback};
use crate::model::{BySide, Side};

/// Reads everything. The schema is what was asked of the file, for the test that reads the example.
pub(super) fn load(file: Option<&Path>, world: World<'_>) -> (Result<Config, ConfigErrors>, Schema) {
    let origin = file.map_or_else(String::new, |path| path.display().to_string());
    let source = match file.map(world.read).transpose() {
        Ok(source) => source,
        Err(error) => {
            let report = Report::new(&origin, "");
            report.fault(
                None,
                format!(
                    "the configuration cannot be read: {error}; write one after config.toml.example, or name another \
                     with --config"
                ),
            );
            return (Err(report.finish().expect_err("a fault was just noted")), Schema::new());
        }
    };
    let text = source.as_ref().map_or("", |source| source.text.as_str());
    let report = Report::new(&origin, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        // Not the error's own Display, which shows the line and with it what may be a secret.
        let line = error.span().map(|span| report.line(span.start));
        report.unreadable(line, error.message());
    }
    let walk = Walk::new(&report);
    let config = whole(&walk, document.get_ref(), world, &report);
    let schema = walk.finish();
    let config = match (report.finish(), config) {
        (Err(faults), _) => Err(faults),
        (Ok(warnings), Some(config)) => Ok(Config { warnings, ..config }),
        (Ok(_), None) => {
            // Cannot be: whatever is left out was noted. Said rather than believed.
            let report = Report::new(&origin, "");
            report.fault(None, "the configuration is not complete");
            Err(report.finish().expect_err("a fault was just noted"))
        }
    };
    (config, schema)
}

/// Reads the whole document; `None` only when a fault was noted.
fn whole<'t>(walk: &Walk<'_>, document: &'t DeTable<'t>, world: World<'_>, report: &Report) -> Option<Config> {
    let root = walk.root(document);
    let (asana, github) = (root.section("asana"), root.section("github"));
    let services = BySide { tracker: &asana, forge: &github };

    let section = root.section("database");
    let database = database(&section, world, report);
    let lease = seconds(&section, "lease_seconds", 1, 3_600, LEASE);
    section.finish();

    let tokens = services
        .iter()
        .map(|(side, section)| secret_of(section, "token", usual_token(side), Kind::Token, world, report));
    let mut tokens = tokens.collect::<Vec<_>>().into_iter();
    let tokens = BySide::from_fn(|_| tokens.next().unwrap_or(Given::Not));

    let base_urls = BySide::from_fn(|side| base_url(services[side], side, world, report));
    let network = network(&root, services, base_urls, world, report);
    let webhook_secret = optional_secret(&github, "webhook_secret", "GITHUB_WEBHOOK_SECRET", Kind::Text, world, report);
    let (key, usual) = ("webhook_secret_former", "GITHUB_WEBHOOK_SECRET_FORMER");
    let webhook_secret_former = optional_secret(&github, key, usual, Kind::Text, world, report);
    asana.finish();
    github.finish();

    let admin = admin(&root, world, report);

    let schedule = schedule(&root);
    let patience = patience(&root);
    let log = log(&root, world, report);
    let webhooks = webhooks(&root, world, report);
    let listen = listen(&root);
    let people = people(walk, &root);
    let routes = routes(walk, &root, &people, &tokens, world, report);
    root.finish();

    Some(Config {
        routes: routes?,
        database: database?,
        lease,
        network,
        schedule,
        patience,
        log,
        webhooks,
        listen,
        github_webhook_secret: webhook_secret,
        github_webhook_secret_former: webhook_secret_former,
        admin,
        warnings: Vec::new(),
    })
}

/// A secret that may be missing: from the file, else from its variable.
pub(super) fn optional_secret(
    section: &Section<'_, '_>,
    key: &'static str,
    usual: &str,
    kind: Kind,
    world: World<'_>,
    report: &Report,
) -> Option<Secret> {
    match secret_of(section, key, usual, kind, world, report) {
        Given::Is(secret, _) => Some(secret),
        Given::Wrong => None,
        Given::Not => match secret_in_env(usual, kind, world)? {
            Ok(secret) => Some(secret),
            Err(why) => {
                report.fault_outside(why);
                None
            }
        },
    }
}

/// A service's address: https, or http to this machine (the sandbox).
fn base_url(section: &Section<'_, '_>, side: Side, world: World<'_>, report: &Report) -> Option<String> {
    let (example, variable) = match side {
        Side::Tracker => ("https://app.asana.com/api/1.0", "ASANA_BASE_URL"),
        Side::Forge => ("https://api.github.com", "GITHUB_BASE_URL"),
    };
    match section.text("base_url", example) {
        Given::Wrong => None,
        Given::Is(text, line) => match checked_base_url(&text) {
            Ok(url) => Some(url),
            Err(why) => {
                section.fault_value(line, "base_url", &text, format!("{why}; write one such as {example:?}"));
                None
            }
        },
        Given::Not => {
            let text = world.text(variable)?;
            match checked_base_url(&text) {
                Ok(url) => Some(url),
                Err(why) => {
                    report.fault_outside(format!("{variable} = {}: {why}; set one such as {example}", quote(&text)));
                    None
                }
            }
        }
    }
}

/// A service's own address.
fn checked_base_url(text: &str) -> Result<String, &'static str> {
    checked_url(text, "http would send the token in clear; only https is allowed, except to this machine")
}

/// Reads an address with the parser the HTTP client uses, so that both see the same host: https, or http to this
/// machine (the sandbox). `in_clear` says why not http elsewhere.
pub(super) fn checked_url(text: &str, in_clear: &'static str) -> Result<String, &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "not an address")?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err("not a whole address with https:// in front");
    };
    if authority.as_str().contains('@') {
        return Err("user and password have no place in it");
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("it must end with its path, without ? and #");
    }
    match scheme {
        "https" => {}
        "http" if loopback(authority.host()) => {}
        "http" => return Err(in_clear),
        _ => return Err("neither https nor http"),
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn network(
    root: &Section<'_, '_>,
    services: BySide<&Section<'_, '_>>,
    base_urls: BySide<Option<String>>,
    world: World<'_>,
    report: &Report,
) -> Network {
    let section = root.section("network");
    let default = Network::default();
    let ca_file = match section.text("ca_file", "/etc/ssl/our-ca.pem") {
        Given::Is(path, line) => {
            let path = PathBuf::from(path);
            if let Err(why) = certificates(&path, world) {
                section.fault(line, "ca_file", why);
            }
            Some(path)
        }
        Given::Not | Given::Wrong => None,
    };
    let call = seconds(&section, "call_timeout_seconds", 1, 600, default.call_timeout);
    let connect = seconds(&section, "connect_timeout_seconds", 1, 120, default.connect_timeout);
    if connect > call {
        report.fault(
            section.line,
            format!(
                "network.connect_timeout_seconds = {} is more than network.call_timeout_seconds = {}, which includes \
                 it; make it smaller",
                connect.as_secs(),
                call.as_secs()
            ),
        );
    }
    // 64 KiB holds the smallest useful page; 1 GiB is more than any page of 100 items can be.
    let answer_bytes_max = section.number("answer_bytes_max", 65_536..=1_073_741_824, default.answer_bytes_max);
    section.finish();

    let BySide { tracker: asana, forge: github } = services;
    let BySide { tracker: asana_url, forge: github_url } = base_urls;
    Network {
        base_urls: BySide {
            tracker: asana_url.unwrap_or(default.base_urls.tracker),
            forge: github_url.unwrap_or(default.base_urls.forge),
        },
        ca_file,
        call_timeout: call,
        connect_timeout: connect,
        answer_bytes_max,
        // Upper bounds: ten times what the services publish; beyond, a limit limits nothing.
        asana_per_minute: count(asana, "requests_per_minute", 1, 15_000, default.asana_per_minute),
        github_creations_per_minute: count(github, "creations_per_minute", 1, 800, default.github_creations_per_minute),
        github_creations_per_hour: count(github, "creations_per_hour", 1, 5_000, default.github_creations_per_hour),
        github_points_per_minute: count(github, "points_per_minute", 10, 9_000, default.github_points_per_minute),
    }
}

fn schedule(root: &Section<'_, '_>) -> Schedule {
    let section = root.section("schedule");
    let default = Schedule::default();
    let line = |key: &'static str, default: String| match section.text(key, &default) {
        Given::Is(text, at) => match check(&text) {
            Ok(()) => text,
            Err(why) => {
                section.fault_value(at, key, &text, format!("{why}; write something like {default:?}, in UTC"));
                default
            }
        },
        Given::Not | Given::Wrong => default,
    };
    let found = Schedule {
        poll: line("poll", default.poll),
        sweep: line("sweep", default.sweep),
        retry: line("retry", default.retry),
        hooks: line("hooks", default.hooks),
        belt: seconds(&section, "belt_seconds", 60, 86_400, default.belt),
        starts_free: count(&section, "starts_free", 0, 1_000, default.starts_free),
    };
    section.finish();
    found
}

fn patience(root: &Section<'_, '_>) -> Patience {
    let section = root.section("patience");
    let default = Patience::default();
    let found = Patience {
        attempts_max: count(&section, "attempts_max", 1, 100, default.attempts_max),
        backoff: seconds(&section, "backoff_seconds", 1, 3_600, default.backoff),
        backoff_max: seconds(&section, "backoff_seconds_max", 1, 86_400, default.backoff_max),
        intent_grace: seconds(&section, "intent_grace_seconds", 60, 86_400, default.intent_grace),
        repairs_max: usize::try_from(section.number("repairs_max", 1..=1_000_000, default.repairs_max as u64))
            .unwrap_or(default.repairs_max),
    };
    if found.backoff > found.backoff_max
        && let Some(line) = section.line
    {
        section.fault(
            line,
            "backoff_seconds",
            format!(
                "{} is more than backoff_seconds_max = {}; make it smaller",
                found.backoff.as_secs(),
                found.backoff_max.as_secs()
            ),
        );
    }
    section.finish();
    found
}

fn log(root: &Section<'_, '_>, world: World<'_>, report: &Report) -> LogFormat {
    const WORDS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    let section = root.section("log");
    let from_env = world.text("EVENKEEL_LOG_FORMAT").and_then(|text| {
        let known = WORDS.iter().find(|(word, _)| *word == text).map(|(_, format)| *format);
        if known.is_none() {
            report.fault_outside(format!("EVENKEEL_LOG_FORMAT = {}: write text or json", quote(&text)));
        }
        known
    });
    let format = section.word("format", "format", &WORDS, from_env.unwrap_or_default());
    section.finish();
    format
}

/// A time in whole seconds.
pub(super) fn seconds(
    section: &Section<'_, '_>,
    key: &'static str,
    low: u64,
    high: u64,
    default: Duration,
) -> Duration {
    Duration::from_secs(section.number(key, low..=high, default.as_secs()))
}

/// A number that fits 32 bits, as its bounds do.
pub(super) fn count(section: &Section<'_, '_>, key: &'static str, low: u64, high: u64, default: u32) -> u32 {
    u32::try_from(section.number(key, low..=high, u64::from(default))).unwrap_or(default)
}
