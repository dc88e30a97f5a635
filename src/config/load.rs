//! Puts the configuration together: each section read, filled from the environment, and checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::database::{certificates, database};
use super::faults::{Report, quote};
use super::schedule::check;
use super::secret::{Kind, Secret, World, secret_in_env, secret_of, wanted};
use super::section::{Given, Schema, Section, Walk};
use super::{Config, ConfigErrors, LogFormat, Network, Patience, Route, Schedule, loopback};
use crate::model::{
    Brakes, BySide, Creation, FieldPolicy, Filter, OnConflict, People, Person, Policy, ProjectGid, RepoName, RouteName,
    Rules, Side,
};

/// The name of the route that plain variables make.
const DEFAULT_ROUTE: &str = "default";

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
    section.finish();

    let tokens = services
        .iter()
        .map(|(side, section)| secret_of(section, "token", usual_token(side), Kind::Token, world, report));
    let mut tokens = tokens.collect::<Vec<_>>().into_iter();
    let tokens = BySide::from_fn(|_| tokens.next().unwrap_or(Given::Not));

    let base_urls = BySide::from_fn(|side| base_url(services[side], side, world, report));
    let network = network(&root, services, base_urls, world, report);
    let webhook_secret = optional_secret(&github, "webhook_secret", "GITHUB_WEBHOOK_SECRET", Kind::Text, world, report);
    asana.finish();
    github.finish();

    let section = root.section("admin");
    let admin_token = optional_secret(&section, "token", "ADMIN_API_TOKEN", Kind::Token, world, report);
    section.finish();

    let schedule = schedule(&root);
    let patience = patience(&root);
    let log = log(&root, world, report);
    let people = people(walk, &root);
    let routes = routes(walk, &root, &people, &tokens, world, report);
    root.finish();

    Some(Config {
        routes: routes?,
        database: database?,
        network,
        schedule,
        patience,
        log,
        github_webhook_secret: webhook_secret,
        admin_token,
        warnings: Vec::new(),
    })
}

/// The plain variable with a side's token.
const fn usual_token(side: Side) -> &'static str {
    match side {
        Side::Tracker => "ASANA_PAT",
        Side::Forge => "GITHUB_TOKEN",
    }
}

/// A secret that may be missing: from the file, else from its variable.
fn optional_secret(
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

/// Reads a base URL with the parser the HTTP client uses, so that both see the same host.
fn checked_base_url(text: &str) -> Result<String, &'static str> {
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
        "http" => return Err("http would send the token in clear; only https is allowed, except to this machine"),
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
        belt: seconds(&section, "belt_seconds", 60, 86_400, default.belt),
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

/// Everybody, none twice.
fn people(walk: &Walk<'_>, root: &Section<'_, '_>) -> People {
    let mut people: Vec<(Person, usize)> = Vec::new();
    let sections = root.list("person");
    if sections.is_empty() {
        person(walk.absent("person"));
    }
    for section in sections {
        let line = section.line.unwrap_or_default();
        let Some((found, section)) = person(section) else { continue };
        for (known, before) in &people {
            if known.name == found.name {
                section.fault(line, "name", format!("the person of line {before} has it too; names are unique"));
            }
            for (side, key) in [(Side::Tracker, "asana"), (Side::Forge, "github")] {
                let same = |one: &Option<String>, two: &Option<String>| match (one, two) {
                    (Some(one), Some(two)) => one.eq_ignore_ascii_case(two),
                    _ => false,
                };
                if same(&known.account[side], &found.account[side]) {
                    section.fault(
                        line,
                        key,
                        format!("the person of line {before} has it too; an account has one person"),
                    );
                }
            }
        }
        section.finish();
        people.push((found, line));
    }
    People::new(people.into_iter().map(|(person, _)| person).collect())
}

/// One person; the section comes back for what can only be said about all of them.
fn person<'a, 't>(mut section: Section<'a, 't>) -> Option<(Person, Section<'a, 't>)> {
    let name = match section.text("name", "Ann") {
        Given::Is(name, line) => {
            if name.trim().is_empty() || name.chars().count() > 100 || name.chars().any(char::is_control) {
                section.fault_value(line, "name", &name, "not a name of 1 to 100 letters on one line");
                None
            } else {
                section.call(format!("person {}: ", quote(&name)));
                Some(name)
            }
        }
        Given::Wrong => None,
        Given::Not => {
            if section.present() {
                section.fault_missing("name", "write name = \"Ann\"");
            }
            None
        }
    };
    let asana = match section.text("asana", "1200000000000001") {
        // A user's gid has the form of every other gid.
        Given::Is(gid, line) if gid.parse::<ProjectGid>().is_err() => {
            section.fault_value(
                line,
                "asana",
                &gid,
                "not a user gid (digits only, in quotes) such as \"1200000000000001\"",
            );
            Given::Wrong
        }
        given => given,
    };
    let github = match section.text("github", "ann") {
        Given::Is(login, line) if !is_login(&login) => {
            section.fault_value(line, "github", &login, "not a login such as \"ann\" (without the @)");
            Given::Wrong
        }
        given => given,
    };
    let mention = section.flag("mention", false);
    if section.present() && asana == Given::Not && github == Given::Not {
        section.fault_missing("asana", "a person needs the Asana user gid, the GitHub login, or better both");
    }
    let account = BySide { tracker: asana.value(), forge: github.value() };
    match name {
        Some(name) => Some((Person { name, account, mention }, section)),
        None => {
            section.finish();
            None
        }
    }
}

/// Letters, digits, hyphens; an underscore where an enterprise manages its users; `[bot]` for apps.
fn is_login(text: &str) -> bool {
    let bare = text.strip_suffix("[bot]").unwrap_or(text);
    (1..=64).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// All routes of the file, or the one the environment makes. `None` when none could be made whole.
fn routes(
    walk: &Walk<'_>,
    root: &Section<'_, '_>,
    people: &People,
    tokens: &BySide<Given<Secret>>,
    world: World<'_>,
    report: &Report,
) -> Option<Vec<Route>> {
    let sections = root.list("route");
    let variables = ["ASANA_PROJECT_GID", "GITHUB_REPO"];
    // A `route` of a wrong type was reported; it is no reason to look at the environment.
    if sections.is_empty() {
        read_route(walk.absent("route"), people, tokens, world, report);
        return route_of_environment(people, tokens, world, report).map(|route| vec![route]);
    }
    for name in variables {
        if world.text(name).is_some() {
            report.warn(format!("{name} has no effect: {} names its routes itself", report.origin()));
        }
    }
    let wanted = sections.len();
    let mut found: Vec<(Route, usize)> = Vec::new();
    for section in sections {
        let line = section.line.unwrap_or_default();
        let Some(route) = read_route(section, people, tokens, world, report) else { continue };
        let name = quote(route.name.as_str());
        for (known, before) in &found {
            if known.name == route.name {
                let what = format!("route {name}: the route of line {before} has that name too; choose another");
                report.fault(Some(line), what);
            }
            if (&known.project, &known.repo) == (&route.project, &route.repo) {
                report.fault(
                    Some(line),
                    format!(
                        "route {name}: joins project {} with {}, as the route of line {before} does; two routes on one \
                         pair would undo each other: remove one",
                        route.project, route.repo
                    ),
                );
            }
        }
        found.push((route, line));
    }
    (found.len() == wanted).then(|| found.into_iter().map(|(route, _)| route).collect())
}

/// The single route of the plain variables.
fn route_of_environment(
    people: &People,
    tokens: &BySide<Given<Secret>>,
    world: World<'_>,
    report: &Report,
) -> Option<Route> {
    let (project, repo) = (world.text("ASANA_PROJECT_GID"), world.text("GITHUB_REPO"));
    if project.is_none() && repo.is_none() {
        let advice = "set ASANA_PROJECT_GID and GITHUB_REPO, or write a [[route]] into config.toml";
        if report.origin().is_empty() {
            report.fault_outside(format!("no route: {advice}"));
        } else {
            report.fault_missing(
                None,
                format!("no route: write a [[route]] with name, asana_project and github_repo, or {advice}"),
            );
        }
    }
    let missing = |name: &str, other: &str, example: &str| {
        report.fault_outside(format!("{name} is not set, though {other} is; set it, for instance to {example}"));
    };
    match (&project, &repo) {
        (None, Some(_)) => missing("ASANA_PROJECT_GID", "GITHUB_REPO", "1201234567890123"),
        (Some(_), None) => missing("GITHUB_REPO", "ASANA_PROJECT_GID", "acme/app"),
        _ => {}
    }
    let project = project.and_then(|text| {
        let project = text.trim().parse::<ProjectGid>().ok();
        if project.is_none() {
            report.fault_outside(format!("ASANA_PROJECT_GID = {}: {}", quote(&text), project_advice(&text)));
        }
        project
    });
    let repo = repo.and_then(|text| {
        let repo = text.trim().parse::<RepoName>().ok();
        if repo.is_none() {
            report.fault_outside(format!("GITHUB_REPO = {}: {}", quote(&text), repo_advice(&text)));
        }
        repo
    });
    // Asked for even if the rest is wrong: all faults at once.
    let tracker = token_of(Side::Tracker, tokens, world, report);
    let forge = token_of(Side::Forge, tokens, world, report);
    Some(Route {
        name: DEFAULT_ROUTE.parse().expect("the constant is a route name"),
        project: project?,
        repo: repo?,
        tokens: BySide { tracker: tracker?, forge: forge? },
        rules: Rules { people: people.clone(), ..Rules::default() },
    })
}

/// The token all routes share, unless they have their own.
fn token_of(side: Side, tokens: &BySide<Given<Secret>>, world: World<'_>, report: &Report) -> Option<Secret> {
    match &tokens[side] {
        Given::Is(secret, _) => return Some(secret.clone()),
        Given::Wrong => return None,
        Given::Not => {}
    }
    let usual = usual_token(side);
    match secret_in_env(usual, Kind::Token, world) {
        Some(Ok(secret)) => Some(secret),
        Some(Err(why)) => {
            report.fault_outside(why);
            None
        }
        None => {
            let service = side.service();
            report.fault_outside(format!(
                "no token for {service}: set {usual}, or write token = {} under [{service}]",
                wanted(usual)
            ));
            None
        }
    }
}

fn project_advice(text: &str) -> String {
    let advice = "not a project gid; write its digits, such as 1201234567890123";
    // https://app.asana.com/0/1201/list and https://app.asana.com/1/9/project/1201/list
    let parts: Vec<&str> = text.split('/').collect();
    let after_project = parts.iter().position(|part| *part == "project").and_then(|at| parts.get(at + 1));
    let guess =
        after_project.or_else(|| parts.iter().find(|part| part.len() > 3 && part.parse::<ProjectGid>().is_ok()));
    match guess.filter(|_| text.contains("app.asana.com")) {
        Some(gid) => format!("an address, not a gid; write {gid:?}"),
        None => advice.to_owned(),
    }
}

fn repo_advice(text: &str) -> String {
    let bare = text.trim_end_matches('/').trim_end_matches(".git");
    let guess =
        ["https://github.com/", "git@github.com:", "github.com/"].iter().find_map(|start| bare.strip_prefix(start));
    match guess.filter(|guess| guess.parse::<RepoName>().is_ok()) {
        Some(repo) => format!("an address, not a name; write {repo:?}"),
        None => "not a repository; write owner, slash and name, such as acme/app".to_owned(),
    }
}

/// One route. Everything in it is read even when a part is wrong.
fn read_route(
    mut section: Section<'_, '_>,
    people: &People,
    tokens: &BySide<Given<Secret>>,
    world: World<'_>,
    report: &Report,
) -> Option<Route> {
    let present = section.present();
    let name = match section.text("name", "app") {
        Given::Is(text, line) => match text.parse::<RouteName>() {
            Ok(name) => {
                section.call(format!("route {}: ", quote(name.as_str())));
                Some(name)
            }
            Err(_) => {
                section.fault_value(line, "name", &text, "not a route name; write 1 to 64 of a-z, 0-9, - and _");
                None
            }
        },
        Given::Wrong => None,
        Given::Not => {
            if present {
                section.fault_missing("name", "write name = \"app\"");
            }
            None
        }
    };
    let project = checked_id::<ProjectGid>(&section, "asana_project", "1201234567890123", project_advice);
    let repo = checked_id::<RepoName>(&section, "github_repo", "acme/app", repo_advice);
    let own = BySide {
        tracker: secret_of(&section, "asana_token", usual_token(Side::Tracker), Kind::Token, world, report),
        forge: secret_of(&section, "github_token", usual_token(Side::Forge), Kind::Token, world, report),
    };
    let rules = rules(&section, people);
    section.finish();
    if !present {
        return None;
    }
    let BySide { tracker, forge } = own;
    let token = |side, own: Given<Secret>| match own {
        Given::Is(secret, _) => Some(secret),
        Given::Wrong => None,
        Given::Not => token_of(side, tokens, world, report),
    };
    let (tracker, forge) = (token(Side::Tracker, tracker), token(Side::Forge, forge));
    Some(Route {
        name: name?,
        project: project?,
        repo: repo?,
        tokens: BySide { tracker: tracker?, forge: forge? },
        rules,
    })
}

/// An identifier that must be there.
fn checked_id<T: std::str::FromStr>(
    section: &Section<'_, '_>,
    key: &'static str,
    example: &str,
    advice: fn(&str) -> String,
) -> Option<T> {
    match section.text(key, example) {
        Given::Is(text, line) => {
            let id = text.parse().ok();
            if id.is_none() {
                section.fault_value(line, key, &text, advice(&text));
            }
            id
        }
        Given::Wrong => None,
        Given::Not => {
            if section.present() {
                section.fault_missing(key, format!("write {key} = {example:?}"));
            }
            None
        }
    }
}

/// Everything that decides about a route's items.
fn rules(route: &Section<'_, '_>, people: &People) -> Rules {
    const CREATIONS: [(&str, Creation); 4] = [
        ("tracker-to-forge", Creation::TrackerToForge),
        ("both", Creation::Both),
        ("forge-to-tracker", Creation::ForgeToTracker),
        ("none", Creation::None),
    ];
    const CONFLICTS: [(&str, OnConflict); 4] = [
        ("newest", OnConflict::Newest),
        ("tracker", OnConflict::Tracker),
        ("forge", OnConflict::Forge),
        ("ask", OnConflict::Ask),
    ];
    let default = Rules::default();
    let creation = route.word("create", "direction", &CREATIONS, default.creation);
    let on_conflict = route.word("on_conflict", "settlement", &CONFLICTS, default.on_conflict);
    let comment_on_link = route.flag("comment_on_link", default.comment_on_link);
    Rules {
        policy: policy(route, people),
        on_conflict,
        creation,
        filter: filter(route),
        brakes: brakes(route),
        people: people.clone(),
        comment_on_link,
    }
}

fn policy(route: &Section<'_, '_>, people: &People) -> Policy {
    const WORDS: [(&str, FieldPolicy); 4] = [
        ("tracker", FieldPolicy::Tracker),
        ("forge", FieldPolicy::Forge),
        ("both", FieldPolicy::Both),
        ("off", FieldPolicy::Off),
    ];
    let section = route.section("fields");
    let default = Policy::default();
    let word = |key: &'static str, default| section.word(key, "policy", &WORDS, default);
    let policy = Policy {
        title: word("title", default.title),
        body: word("body", default.body),
        status: word("status", default.status),
        assignees: word("assignees", default.assignees),
        labels: word("labels", default.labels),
        due: word("due", default.due),
    };
    let line = |key: &'static str| match section.text(key, "off") {
        Given::Is(_, line) => line,
        Given::Not | Given::Wrong => section.line.unwrap_or_default(),
    };
    let mapped = people.iter().any(|person| person.account.tracker.is_some() && person.account.forge.is_some());
    if policy.assignees != FieldPolicy::Off && !mapped {
        section.fault(
            line("assignees"),
            "assignees",
            "nobody is mapped, so nobody could be assigned; write a [[person]] with asana and github, or \"off\"",
        );
    }
    if matches!(policy.due, FieldPolicy::Forge | FieldPolicy::Both) {
        let found = if policy.due == FieldPolicy::Both { "both" } else { "forge" };
        section.fault_value(
            line("due"),
            "due",
            found,
            "an issue has no due date to take over; write \"tracker\" or \"off\"",
        );
    }
    section.finish();
    policy
}

fn filter(route: &Section<'_, '_>) -> BySide<Filter> {
    let section = route.section("filter");
    let asana = section.section("asana");
    let github = section.section("github");
    let found = BySide {
        tracker: Filter {
            sections: asana.texts("sections", "Doing"),
            labels: asana.texts("tags", "public"),
            fields: asana.pairs("fields", "{ Team = \"Core\" }"),
            include_done: asana.flag("include_done", false),
        },
        forge: Filter {
            sections: Vec::new(),
            labels: github.texts("labels", "public"),
            fields: Vec::new(),
            include_done: github.flag("include_done", false),
        },
    };
    asana.finish();
    github.finish();
    section.finish();
    found
}

fn brakes(route: &Section<'_, '_>) -> Brakes {
    let section = route.section("brakes");
    let default = Brakes::default();
    let found = Brakes {
        updates_max: section.number("updates_max", 0..=1_000_000, default.updates_max),
        updates_percent: section.number("updates_percent", 0..=100, default.updates_percent),
        retirements_max: section.number("retirements_max", 0..=1_000_000, default.retirements_max),
        retirements_percent: section.number("retirements_percent", 0..=100, default.retirements_percent),
    };
    section.finish();
    found
}

/// A time in whole seconds.
fn seconds(section: &Section<'_, '_>, key: &'static str, low: u64, high: u64, default: Duration) -> Duration {
    Duration::from_secs(section.number(key, low..=high, default.as_secs()))
}

/// A number that fits 32 bits, as its bounds do.
fn count(section: &Section<'_, '_>, key: &'static str, low: u64, high: u64, default: u32) -> u32 {
    u32::try_from(section.number(key, low..=high, u64::from(default))).unwrap_or(default)
}
