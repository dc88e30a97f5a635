//! The routes of the configuration: the file's, or the one that plain variables make.

use super::Route;
use super::faults::{Report, quote};
use super::secret::{Kind, Secret, World, secret_in_env, secret_of, wanted};
use super::section::{Given, Section, Walk};
use crate::model::{
    Brakes, BySide, Creation, FieldPolicy, Filter, OnConflict, People, Policy, ProjectGid, RepoName, RouteName, Rules,
    Side,
};

/// The name of the route that plain variables make.
const DEFAULT_ROUTE: &str = "default";

/// All routes of the file, or the one the environment makes. `None` when none could be made whole.
pub(super) fn routes(
    walk: &Walk<'_>,
    root: &Section<'_, '_>,
    people: &People,
    tokens: &BySide<Given<Secret>>,
    world: World<'_>,
    report: &Report,
) -> Option<Vec<Route>> {
    let sections = root.list("route");
    // A `route` of a wrong type was reported; it is no reason to look at the environment.
    if sections.is_empty() {
        read_route(walk.absent("route"), people, tokens, world, report);
        return route_of_environment(people, tokens, world, report).map(|route| vec![route]);
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
    // A variable that says what the file says misleads nobody.
    let known = |known: &dyn Fn(&Route) -> bool| found.iter().any(|(route, _)| known(route));
    let idle = [
        ("ASANA_PROJECT_GID", world.text("ASANA_PROJECT_GID").map(|gid| known(&|route| route.project.as_str() == gid))),
        ("GITHUB_REPO", world.text("GITHUB_REPO").map(|repo| known(&|route| route.repo.as_str() == repo))),
    ];
    for (name, _) in idle.iter().filter(|(_, said)| *said == Some(false)) {
        report.warn(format!("{name} has no effect: {} names its routes itself, and none has it", report.origin()));
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

/// The plain variable with a side's token.
pub(super) const fn usual_token(side: Side) -> &'static str {
    match side {
        Side::Tracker => "ASANA_PAT",
        Side::Forge => "GITHUB_TOKEN",
    }
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
    let comment_on_pull_requests = route.flag("comment_on_pull_requests", default.comment_on_pull_requests);
    Rules {
        policy: policy(route, people),
        on_conflict,
        creation,
        filter: filter(route),
        brakes: brakes(route),
        people: people.clone(),
        comment_on_link,
        comment_on_pull_requests,
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
