//! `check`: whether tokens, permissions, project, repository, clock and database are as needed. Changes nothing.

use std::fmt::Write as _;

use serde::Serialize;

use super::args::CheckArgs;
use super::output::{self, BOLD, DIM, GREEN, RED, paint};
use super::{Context, Exit, Failure};
use crate::config::{DatabaseUrl, Route};
use crate::hooks::{Keeper, right_needed, subjects};
use crate::model::Side;
use crate::provider::{Finding, ProviderError};
use crate::store::{Store, StoreError, migrate};

/// Findings about one thing: the database, or one side of a route.
#[derive(Serialize)]
struct Section {
    about: String,
    findings: Vec<Finding>,
}

/// Runs the command. `trouble`: why the database could not be opened; the rest is looked at all the same.
pub(super) fn run(context: &Context, trouble: Option<&StoreError>, args: &CheckArgs) -> Result<Exit, Failure> {
    let routes = context.routes(args.route.as_ref())?;
    let mut sections =
        vec![Section { about: format!("database {}", context.config.database), findings: database(context, trouble) }];
    for route in &routes {
        let providers = context.providers(route)?;
        for side in Side::BOTH {
            let place = match side {
                Side::Tracker => format!("project {}", route.project),
                Side::Forge => route.repo.to_string(),
            };
            sections.push(Section {
                about: format!("route {}: {} {place}", route.name, side.service()),
                findings: providers[side].check(context.clock.now()),
            });
        }
    }
    if let Some(public_url) = &context.config.webhooks.public_url {
        sections.push(Section { about: format!("hooks to {public_url}"), findings: hooks(context, &routes)? });
    }
    let bad = sections.iter().flat_map(|section| &section.findings).filter(|finding| !finding.good).count();
    if context.out.json {
        context.out.json(&serde_json::json!({ "good": bad == 0, "sections": sections }))?;
    } else {
        let mut text = String::new();
        for section in &sections {
            render(&mut text, section, context.out.width);
        }
        let said = match bad {
            0 => paint(GREEN, "everything is as needed"),
            1 => paint(RED, "1 thing must be mended"),
            several => paint(RED, format_args!("{several} things must be mended")),
        };
        let _ = writeln!(text, "{said}");
        context.out.text(&text)?;
    }
    Ok(if bad == 0 { Exit::Settled } else { Exit::Failed })
}

fn render(text: &mut String, section: &Section, width: usize) {
    let _ = writeln!(text, "{}", paint(BOLD, output::cut(&section.about, width)));
    for finding in &section.findings {
        let (style, sign) = if finding.good { (GREEN, "ok ") } else { (RED, "BAD") };
        let subject = output::cut(&finding.subject, 14);
        for (at, line) in output::wrap(&finding.found, width.saturating_sub(21)).iter().enumerate() {
            if at == 0 {
                let _ = writeln!(text, "  {} {subject:<14} {line}", paint(style, sign));
            } else {
                let _ = writeln!(text, "  {:<18} {line}", "");
            }
        }
        if let Some(remedy) = &finding.remedy {
            output::paragraph(text, DIM, 21, width, &format!("-> {remedy}"));
        }
    }
    text.push('\n');
}

fn good(subject: &str, found: String) -> Finding {
    Finding { subject: subject.to_owned(), good: true, found, remedy: None }
}

fn bad(subject: &str, found: String, remedy: &str) -> Finding {
    Finding { subject: subject.to_owned(), good: false, found, remedy: Some(remedy.to_owned()) }
}

/// Where hooks are wanted: something listens, secrets can be kept, and the tokens may look after them.
fn hooks(context: &Context, routes: &[&Route]) -> Result<Vec<Finding>, Failure> {
    let config = &context.config;
    let mut findings = Vec::new();
    findings.push(match &config.listen {
        Some(_) => good("listener", "configured".to_owned()),
        None => bad(
            "listener",
            "public_url is set, but nothing listens".to_owned(),
            "set address in [listen], or take public_url out of [webhooks]",
        ),
    });
    let chosen = config.github_webhook_secret.is_some();
    findings.push(match (&config.webhooks.seal_key, chosen) {
        (Some(_), _) => good("seal_key", "set: secrets of hooks are kept sealed".to_owned()),
        (None, chosen) => {
            let whom = if chosen { "asana chooses" } else { "asana and evenkeel choose" };
            let remedy = "set seal_key in [webhooks], or EVENKEEL_SEAL_KEY; make one with: openssl rand -hex 32";
            bad("seal_key", format!("not set, but the secrets that {whom} for hooks are kept sealed"), remedy)
        }
    });
    let keeper = Keeper::without_address(context);
    for subject in subjects(config) {
        let of_route = |route: &&&Route| match subject.side {
            Side::Tracker => route.project.as_str() == subject.resource,
            Side::Forge => route.repo.folded() == subject.resource,
        };
        if routes.iter().find(of_route).is_none() {
            continue;
        }
        let service = subject.side.service();
        let on = format!("on {service} {}", subject.resource);
        findings.push(match keeper.look(&subject)? {
            Ok((_, 0)) => good(service, format!("may be looked after {on}; none sends here yet")),
            Ok((_, 1)) => good(service, format!("may be looked after {on}; one sends here")),
            Ok((_, several)) => {
                bad(service, format!("{several} send here {on}"), "`evenkeel webhooks ensure` leaves one of them")
            }
            // GitHub tells those who may not that there is nothing.
            Err(
                error @ (ProviderError::Denied { .. } | ProviderError::Gone { .. } | ProviderError::Refused { .. }),
            ) => bad(service, error.to_string(), right_needed(subject.side)),
            Err(error) => bad(service, error.to_string(), "check the network and the base URL, then try again"),
        });
    }
    Ok(findings)
}

/// The database: it answers, it is of our version, it takes writes. Makes and migrates nothing.
fn database(context: &Context, trouble: Option<&StoreError>) -> Vec<Finding> {
    let url = &context.config.database;
    let mut findings = Vec::new();
    // A file that is not there yet is made by the first pass; what counts is whether it can be.
    if let DatabaseUrl::Sqlite(path) = url
        && !path.exists()
    {
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
        let writable = rustix::fs::access(folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK);
        findings.push(match writable {
            Ok(()) => good("file", "not there yet; the first pass makes it".to_owned()),
            Err(error) => bad(
                "file",
                format!("not there yet, and {} cannot be written to: {error}", folder.display()),
                "create the directory and let the user this runs as write to it",
            ),
        });
        return findings;
    }
    let known = migrate::known();
    let applied = migrate::applied(url);
    // Tables of an older program cannot be read, but the first pass mends that.
    let older = applied.as_ref().is_ok_and(|applied| !applied.is_empty() && applied.len() < known.len());
    let answer = match trouble {
        Some(error) if !older => Err(error.to_string()),
        _ => context.store.ping().map_err(|error| error.to_string()),
    };
    match answer {
        Ok(()) => findings.push(good("answer", "reachable".to_owned())),
        Err(error) => {
            findings.push(bad("answer", error, "see the message; `database.url` names it"));
            return findings;
        }
    }
    let newest = known.last().cloned().unwrap_or_default();
    match applied {
        Ok(applied) if applied.is_empty() => {
            findings.push(good("version", "empty; the first pass makes its tables".to_owned()));
        }
        Ok(applied) if applied.len() < known.len() => {
            let found = applied.last().cloned().unwrap_or_default();
            findings.push(good("version", format!("{found}; the first pass brings it up to {newest}")));
        }
        // Opening it now migrates nothing.
        Ok(_) => {
            findings.push(good("version", format!("{newest}, the newest this program knows")));
            match Store::open(url).and_then(|store| store.try_writing()) {
                Ok(()) => findings.push(good("writing", "takes writes".to_owned())),
                Err(error) => findings.push(bad(
                    "writing",
                    error.to_string(),
                    "let the user this runs as write to it, and see that the disk has room",
                )),
            }
        }
        Err(error) => findings.push(bad("version", error.to_string(), "see the message")),
    }
    findings
}
