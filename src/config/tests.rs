//! Tables of the configuration: what is read, what is refused, what the example says.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

use super::secret::World;
use super::section::Schema;
use super::*;
use crate::model::{Creation, FieldPolicy, OnConflict};

const EXAMPLE: &str = include_str!("../../config.toml.example");

/// A world of variables and files, `config.toml` among them.
struct Fake {
    env: BTreeMap<&'static str, String>,
    files: BTreeMap<String, (String, bool)>,
}

impl Fake {
    /// A file and both tokens in the environment.
    fn file(text: &str) -> Self {
        Self::env(&[("ASANA_PAT", "asana-hush"), ("GITHUB_TOKEN", "github-hush"), ("USER", "ann")])
            .with("config.toml", text)
    }

    fn env(env: &[(&'static str, &str)]) -> Self {
        Self { env: env.iter().map(|(name, text)| (*name, (*text).to_owned())).collect(), files: BTreeMap::new() }
    }

    fn with(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.to_owned(), (text.to_owned(), false));
        self
    }

    fn set(mut self, name: &'static str, text: &str) -> Self {
        self.env.insert(name, text.to_owned());
        self
    }

    fn read(&self) -> (Result<Config, ConfigErrors>, Schema) {
        let env = |name: &str| self.env.get(name).cloned();
        let read = |path: &Path| match self.files.get(&path.display().to_string()) {
            Some((text, open_to_all)) => {
                Ok(SourceFile { text: Zeroizing::new(text.clone()), open_to_all: *open_to_all })
            }
            None => Err(io::Error::from(io::ErrorKind::NotFound)),
        };
        let file = self.files.contains_key("config.toml").then(|| Path::new("config.toml"));
        load::load(file, World { env: &env, read: &read })
    }

    fn good(&self) -> Config {
        self.read().0.unwrap_or_else(|errors| panic!("{errors}"))
    }

    fn faults(&self) -> Vec<String> {
        let errors = self.read().0.expect_err("faults");
        errors.faults().iter().map(ToString::to_string).collect()
    }
}

const ROUTE: &str = "[[route]]\nname = \"app\"\nasana_project = \"1201\"\ngithub_repo = \"acme/app\"\n";

/// The one fault of a file that ends with `text` behind a good route.
fn fault(text: &str) -> String {
    let faults = Fake::file(&format!("{text}\n{ROUTE}")).faults();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().expect("one")
}

/// The one fault of a route that ends with `text`.
fn fault_in_route(text: &str) -> String {
    let faults = Fake::file(&format!("{ROUTE}{text}\n")).faults();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    faults.into_iter().next().expect("one")
}

/// The example with its defaults, and on demand its keys without a default, taken out of comments.
fn example(all: bool) -> String {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        let active = match line.strip_prefix('#') {
            Some(rest) if rest.starts_with(|sign: char| sign.is_ascii_lowercase()) && !rest.starts_with("e.g.") => rest,
            Some(rest) if all => rest.strip_prefix("e.g. ").unwrap_or(line),
            _ => line,
        };
        text.push_str(active);
        text.push('\n');
    }
    text
}

/// A world in which all that the example refers to is there.
fn example_world(text: &str) -> Fake {
    let pem = "-----BEGIN CERTIFICATE-----";
    Fake::file(text)
        .set("GITHUB_WEBHOOK_SECRET", "hook")
        .set("GITHUB_WEBHOOK_SECRET_FORMER", "hook before")
        .set("EVENKEEL_SEAL_KEY", "0123456789abcdef0123456789abcdef")
        .set("ADMIN_API_TOKEN", "admin-0123456789abcdef")
        .set("ADMIN_API_READ_TOKEN", "reads-0123456789abcdef")
        .set("PGPASSWORD", "pg")
        .with("/etc/ssl/our-ca.pem", pem)
        .with("/etc/evenkeel/credentials/app-asana", "one\n")
        .with("/etc/evenkeel/credentials/app-github", "two\n")
}

#[test]
fn the_defaults_in_the_example_are_the_programs_defaults() {
    assert_ne!(example(false), EXAMPLE, "the example shows defaults");
    assert_eq!(example_world(EXAMPLE).good(), example_world(&example(false)).good());
    // And the example's own route is all that differs from plain defaults.
    let config = example_world(EXAMPLE).good();
    assert_eq!(config.network, Network::default());
    assert_eq!(config.schedule, Schedule::default());
    assert_eq!(config.patience, Patience::default());
    assert_eq!(config.lease, LEASE);
    assert_eq!(config.listen, None);
    assert_eq!(config.routes[0].rules, Rules::default());
}

#[test]
fn the_example_shows_every_key_and_no_other() {
    let text = example(true);
    let (config, schema) = example_world(&text).read();
    let config = config.unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    let document = toml::from_str::<toml::Table>(&text).expect("TOML");
    let mut shown = BTreeMap::new();
    let mut sections = vec![(String::new(), &document)];
    while let Some((name, table)) = sections.pop() {
        shown.insert(name.clone(), table.keys().map(String::as_str).collect::<BTreeSet<&str>>());
        for (key, value) in table {
            let below = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            let table = value.as_table().or_else(|| value.get(0).and_then(toml::Value::as_table));
            // Tables that are values: references, and custom fields of any name.
            if let Some(table) = table.filter(|_| schema.contains_key(&below)) {
                sections.push((below, table));
            }
        }
    }
    assert_eq!(shown, schema.iter().map(|(name, keys)| (name.clone(), keys.clone())).collect());
}

#[test]
fn every_number_in_the_example_is_said_with_its_bounds() {
    let lines: Vec<&str> = EXAMPLE.lines().collect();
    let mut numbers = 0;
    for (at, line) in lines.iter().enumerate() {
        let Some((key, value)) = line.strip_prefix('#').and_then(|line| line.split_once(" = ")) else { continue };
        if value.parse::<u64>().is_err() {
            continue;
        }
        numbers += 1;
        // The program's own bounds, from what it says about a number outside of them.
        let mut wrong: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        wrong[at] = format!("{key} = -1");
        let fault = example_world(&wrong.join("\n")).faults().join("\n");
        let (_, bounds) = fault.split_once("a whole number from ").unwrap_or_else(|| panic!("{key}: {fault}"));
        // What is said about the key, or about its section.
        let section = lines[..at].iter().rposition(|line| line.starts_with('[')).expect("a section");
        let start = lines[..section].iter().rposition(|line| line.is_empty()).expect("an empty line");
        let comments =
            lines[start..at].iter().filter(|line| line.starts_with("# ")).copied().collect::<Vec<_>>().join(" ");
        for bound in bounds.split(" to ").filter(|bound| *bound != "1000000" && *bound != "0") {
            assert!(
                comments.split(|sign: char| !sign.is_ascii_digit()).any(|word| word == bound),
                "{key}: {bound} is not said"
            );
        }
    }
    assert_eq!(numbers, 31);
}

#[test]
fn a_listener_is_read_with_its_bounds() {
    let text = "[listen]\naddress = \"[::1]:0\"\ntrusted_proxies = [\"10.1.2.3/8\", \"192.0.2.7\", \"unix\"]\n\
                forwarded_header = \"forwarded\"\nallow = [\"2001:db8::/32\"]\nidle_seconds = 7\n";
    let listen = Fake::file(&format!("{text}{ROUTE}")).good().listen.expect("a listener");
    let ranges =
        |texts: &[&str]| texts.iter().map(|text| text.parse().expect("a range")).collect::<Vec<ipnet::IpNet>>();
    assert_eq!(listen.address, ListenAddress::Tcp("[::1]:0".parse().expect("an address")));
    let proxies =
        Proxies { ranges: ranges(&["10.0.0.0/8", "192.0.2.7/32"]), unix: true, header: ForwardedHeader::Forwarded };
    assert_eq!(listen.proxies, proxies);
    assert_eq!(listen.allow, ranges(&["2001:db8::/32"]));
    let idle_timeout = std::time::Duration::from_secs(7);
    assert_eq!(listen.limits, ListenLimits { idle_timeout, ..ListenLimits::default() });
    for (address, wanted) in
        [("systemd", ListenAddress::Systemd), ("unix:/run/x/s", ListenAddress::Unix("/run/x/s".into()))]
    {
        let config = Fake::file(&format!("[listen]\naddress = \"{address}\"\n{ROUTE}")).good();
        assert_eq!(config.listen.expect("a listener").address, wanted);
    }
}

#[test]
fn plain_variables_make_one_route() {
    let config = Fake::env(&[
        ("ASANA_PAT", "asana-hush\n"),
        ("GITHUB_TOKEN", "github-hush"),
        ("ASANA_PROJECT_GID", "1201"),
        ("GITHUB_REPO", "acme/app"),
        ("GITHUB_BASE_URL", "http://127.0.0.1:8080/"),
        ("EVENKEEL_LOG_FORMAT", "json"),
        ("STATE_DIRECTORY", "/var/lib/evenkeel"),
    ])
    .good();
    let [route] = &config.routes[..] else { panic!("{:?}", config.routes) };
    assert_eq!((route.name.as_str(), route.repo.as_str(), route.project.as_str()), ("default", "acme/app", "1201"));
    assert_eq!(route.tokens.tracker.reveal(), "asana-hush");
    assert_eq!(config.network.base_urls.forge, "http://127.0.0.1:8080");
    assert_eq!(config.log, LogFormat::Json);
    assert_eq!(config.database, DatabaseUrl::Sqlite("/var/lib/evenkeel/evenkeel.db".into()));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn an_empty_environment_is_told_all_it_needs() {
    let faults = Fake::env(&[]).faults().join("\n");
    for name in ["ASANA_PAT", "GITHUB_TOKEN", "ASANA_PROJECT_GID", "GITHUB_REPO"] {
        assert!(faults.contains(name), "{faults}");
    }
}

#[test]
fn the_file_wins_and_the_environment_fills_what_it_leaves_open() {
    let file = format!("[asana]\ntoken = {{ env = \"OTHER\" }}\n[log]\nformat = \"text\"\n{ROUTE}");
    let config = Fake::file(&file)
        .set("OTHER", "other")
        .set("EVENKEEL_LOG_FORMAT", "json")
        .set("GITHUB_REPO", "acme/other")
        .set("DATABASE_URL", "sqlite:x.db")
        .good();
    assert_eq!(config.routes[0].tokens.tracker.reveal(), "other");
    assert_eq!(config.routes[0].tokens.forge.reveal(), "github-hush");
    assert_eq!(config.routes[0].repo.as_str(), "acme/app");
    assert_eq!(config.log, LogFormat::Text);
    assert_eq!(config.database, DatabaseUrl::Sqlite("x.db".into()));
    assert!(config.warnings[0].starts_with("GITHUB_REPO has no effect"), "{:?}", config.warnings);
}

#[test]
fn a_variable_that_says_what_the_file_says_is_no_matter() {
    let config = Fake::file(ROUTE).set("GITHUB_REPO", "acme/app").good();
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_whole_route_is_read() {
    let config = Fake::file(
        r#"
        [[person]]
        name = "Ann"
        asana = "12"
        github = "ann"
        mention = true
        [[route]]
        name = "app"
        asana_project = "1201"
        github_repo = "acme/app"
        create = "both"
        on_conflict = "ask"
        comment_on_link = false
        asana_token = { file = "/own" }
        fields = { title = "tracker", assignees = "both", due = "tracker" }
        filter.asana = { sections = ["Doing"], tags = ["x"], fields = { Team = "Core" }, include_done = true }
        filter.github.labels = ["public"]
        brakes.retirements_percent = 0
        [[route]]
        name = "web"
        asana_project = "1201"
        github_repo = "acme/web"
        "#,
    )
    .with("/own", "own\r\n")
    .good();
    let [app, web] = &config.routes[..] else { panic!("two") };
    assert_eq!((app.tokens.tracker.reveal(), web.tokens.tracker.reveal()), ("own", "asana-hush"));
    let rules = &app.rules;
    assert_eq!((rules.creation, rules.on_conflict, rules.comment_on_link), (Creation::Both, OnConflict::Ask, false));
    assert_eq!((rules.policy.title, rules.policy.body), (FieldPolicy::Tracker, FieldPolicy::Both));
    assert_eq!(rules.filter.tracker.fields, [("Team".to_owned(), "Core".to_owned())]);
    assert_eq!(rules.filter.forge.labels, ["public"]);
    assert_eq!((rules.brakes.retirements_percent, rules.brakes.retirements_max), (0, 5));
    assert!(rules.people.by_name("Ann").is_some_and(|person| person.mention));
    assert!(web.rules.people.by_name("Ann").is_some());
}

#[test]
fn each_fault_names_its_line_its_key_what_was_found_and_what_to_write() {
    assert_eq!(
        fault_in_route("[route.fields]\ntitle = \"booth\""),
        "config.toml:6: route \"app\": fields.title = \"booth\": unknown policy; write one of tracker, forge, both, off"
    );
    assert_eq!(
        fault("[schedule]\npoll = \"every hour\""),
        "config.toml:2: schedule.poll = \"every hour\": not a cron line of six fields (second minute hour day month \
         weekday); write something like \"0 * * * * *\", in UTC"
    );
    assert_eq!(
        fault("[network]\ncal_timeout_seconds = 3"),
        "config.toml:2: network.cal_timeout_seconds: unknown key; did you mean call_timeout_seconds?"
    );
    assert_eq!(
        fault_in_route("title = \"both\""),
        "config.toml:5: route \"app\": title: unknown key; title belongs into [route.fields]"
    );
    assert_eq!(
        fault("[patience]\nattempts_max = \"8\""),
        "config.toml:2: patience.attempts_max: found a text, wanted a whole number from 1 to 100 such as 8"
    );
    assert_eq!(
        fault("[asana]\nbase_url = \"http://asana.example.com\""),
        "config.toml:2: asana.base_url = \"http://asana.example.com\": http would send the token in clear; only https \
         is allowed, except to this machine; write one such as \"https://app.asana.com/api/1.0\""
    );
    assert_eq!(
        fault("[github]\ntoken = \"hush-hush\""),
        "config.toml:2: github.token: a secret must not stand in this file; write { env = \"GITHUB_TOKEN\" }, \
         { file = \"/path\" } or { credential = \"github\" } instead"
    );
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (text, why) in [
        ("[schedule]\nsweep = \"0 0 0 30 2 *\"", "no day ever matches"),
        ("[network]\ncall_timeout_seconds = 5", "connect_timeout_seconds = 10 is more than"),
        ("[network]\ncall_timeout_seconds = -5", "-5 is out of bounds"),
        ("[network]\nanswer_bytes_max = 99999999999999999999", "is out of bounds"),
        ("[network]\nca_file = \"/none\"", "cannot be read"),
        ("[patience]\nbackoff_seconds = 500\nbackoff_seconds_max = 100", "make it smaller"),
        ("[database]\nlease_seconds = 0", "0 is out of bounds"),
        ("[log]\nformat = \"xml\"", "write one of text, json"),
        ("[webhooks]\nlisten = 1", "unknown key"),
        ("[listen]\naddress = \"8080\"", "not an address with a port; write an address with a port such as"),
        ("[listen]\naddress = \"localhost:8080\"", "not an address with a port"),
        ("[listen]\naddress = \"unix:\"", "the path is missing"),
        ("[listen]\naddress = \"unix:a\\u0000b\"", "not a path"),
        ("[listen]\ntrusted_proxies = [\"nginx\"]", "not a range of addresses"),
        ("[listen]\nallow = [\"10.0.0.0/33\"]", "not a range of addresses"),
        ("[listen]\nallow = [\"unix\"]", "not a range of addresses"),
        ("[listen]\nforwarded_header = \"x-real-ip\"", "write one of x-forwarded-for, forwarded"),
        ("[listen]\nbuffered_bytes_max = 8388608", "write at least 8421376"),
        ("asana = 1", "wanted a section"),
        ("person = 1", "wanted a list of sections"),
        ("[person]\nname = \"Ann\"", "write [[person]]"),
        ("[[person]]\nasana = \"1\"", "person 1: name: missing"),
        ("[[person]]\nname = \"Ann\"", "needs the Asana user gid"),
        ("[[person]]\nname = \"Ann\"\nasana = \"ann\"", "not a user gid"),
        ("[[person]]\nname = \"Ann\"\ngithub = \"@ann\"", "without the @"),
        (
            "[[person]]\nname = \"Ann\"\ngithub = \"ann\"\n[[person]]\nname = \"Ann\"\ngithub = \"bob\"",
            "names are unique",
        ),
        ("[[person]]\nname = \"Ann\"\ngithub = \"ann\"\n[[person]]\nname = \"Bob\"\ngithub = \"ANN\"", "one person"),
        ("[asana]\ntoken = { env = \"NONE\" }", "variable \"NONE\" is not set"),
        ("[asana]\ntoken = { file = \"/none\" }", "\"/none\" cannot be read"),
        ("[asana]\ntoken = { file = \"~/x\" }", "write the whole path"),
        ("[asana]\ntoken = { credential = \"asana\" }", "no CREDENTIALS_DIRECTORY"),
        ("[asana]\ntoken = { credential = \"../x\" }", "not the name of a credential"),
        ("[asana]\ntoken = { vault = \"x\" }", "unknown kind of secret reference"),
        ("[asana]\ntoken = { env = \"A\", file = \"B\" }", "not a secret reference"),
        ("[asana]\ntoken = 5", "found the number 5"),
        ("[asana]\nbase_url = \"https://me:pass@x.org\"", "user and password"),
        ("[asana]\nbase_url = \"http://127.0.0.1@x.org\"", "user and password"),
        ("[asana]\nbase_url = \"http://127.0.0.1.x.org\"", "in clear"),
        ("[asana]\nbase_url = \"app.asana.com\"", "not a whole address"),
        ("[database]\nurl = \"mysql://x\"", "neither a SQLite file nor"),
        ("[database]\nurl = \"sqlite:\"", "no file is named"),
        ("[database]\nurl = \"sqlite::memory:\"", "name a file"),
        ("[database]\nurl = \"postgres://ann:hush@h/d\"", "a password must not stand"),
        ("[database]\nurl = \"postgres://h:port/d\"", "not a PostgreSQL URL"),
        ("[database]\nurl = \"postgres://h/d?sslmode=maybe\"", "sslmode = \"maybe\""),
        ("[database]\nurl = \"postgres://h/d?sslcert=x\"", "unknown option"),
        ("[database]\nurl = \"postgres://h,i/d\"", "several hosts"),
    ] {
        let fault = fault(text);
        assert!(fault.contains(why), "{text}: {fault}");
    }
    for (text, why) in [
        ("[route.fields]\nassignees = \"both\"", "nobody is mapped"),
        ("[route.fields]\ndue = \"forge\"", "no due date"),
        ("[route.brakes]\nupdates_percent = 101", "from 0 to 100"),
        ("comment_on_link = \"yes\"", "true or false"),
        ("create = \"asana-to-github\"", "tracker-to-forge, both"),
        ("[route.filter.asana]\nsections = \"Doing\"", "a list of texts"),
        ("[route.filter.asana]\nsections = [\"\"]", "an empty text"),
        ("[route.filter.asana]\nfields = [\"x\"]", "names with texts"),
        ("[route.filter.github]\nsections = [\"x\"]", "sections belongs into [route.filter.asana]"),
        ("[[route]]\nname = \"app\"\nasana_project = \"1\"\ngithub_repo = \"a/b\"", "line 1 has that name too"),
        ("[[route]]\nname = \"two\"\nasana_project = \"1201\"\ngithub_repo = \"ACME/app\"", "two routes on one pair"),
    ] {
        let fault = fault_in_route(text);
        assert!(fault.contains(why), "{text}: {fault}");
    }
}

#[test]
fn addresses_in_place_of_ids_are_turned_into_advice() {
    let faults = Fake::file(
        "[[route]]\nname = \"App\"\nasana_project = \"https://app.asana.com/1/99/project/1201234567890123/list\"\n\
         github_repo = \"https://github.com/acme/app.git\"",
    )
    .faults();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(faults[0].contains("not a route name"), "{faults:#?}");
    assert!(faults[1].ends_with("write \"1201234567890123\""), "{faults:#?}");
    assert!(faults[2].ends_with("write \"acme/app\""), "{faults:#?}");
}

#[test]
fn all_faults_are_reported_in_one_run_in_the_order_of_lines() {
    let faults = Fake::env(&[("PGPORT", "x"), ("PGHOST", "db"), ("PGUSER", "u"), ("GITHUB_TOKEN", " ")])
        .with(
            "config.toml",
            "[asana]\ntokn = { env = \"A\" }\nbase_url = 3\n[schedule]\npoll = \"x\"\nsweep = \"y\"\nfoo = 1\n\
             [[route]]\nname = \"UP\"\n[[route]]\ngithub_repo = \"x\"\nfields = { title = \"a\", body = \"b\" }\n",
        )
        .faults();
    let lines: Vec<Option<u32>> = faults
        .iter()
        .map(|fault| fault.strip_prefix("config.toml:").and_then(|rest| rest.split(':').next()?.parse().ok()))
        .collect();
    let expected =
        [2, 3, 5, 6, 7, 8, 8, 9, 10, 10, 11, 12, 12].map(Some).into_iter().chain([None; 3]).collect::<Vec<_>>();
    assert_eq!(lines, expected, "{faults:#?}");
}

#[test]
fn broken_lines_do_not_hide_the_other_faults() {
    let faults = Fake::file(&format!("[log]\nformat = text\n[schedule]\npoll = \"x\"\nretry = = 3\n{ROUTE}")).faults();
    let shown = faults.join("\n");
    for start in ["config.toml:2: not TOML", "config.toml:4: schedule.poll", "config.toml:5: not TOML"] {
        assert!(shown.contains(start), "{shown}");
    }
    assert!(!shown.contains("missing"), "{shown}");

    // A lost header makes one section of a list, which is no fault of its own.
    let faults = Fake::file(&format!("[log\nformat = \"xml\"\n{ROUTE}[route.fields]\ntitle = \"both\"\n")).faults();
    assert!(faults.iter().all(|fault| !fault.contains("wanted")), "{faults:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let errors = Config::load(Some(Path::new("/etc/none.toml")), &|_| None, &|_| {
        Err(io::Error::from(io::ErrorKind::PermissionDenied))
    })
    .expect_err("no file");
    let shown = errors.to_string();
    assert!(shown.starts_with("/etc/none.toml: the configuration cannot be read: permission denied"), "{shown}");
}

#[test]
fn no_secret_shows_in_debug_display_errors_or_warnings() {
    const HUSH: [&str; 6] = ["hush-asana", "hush-github", "hush-hook", "hush-admin", "hush%2Fpg", "hush/pg"];
    let file = format!(
        "[asana]\ntoken = {{ file = \"/asana\" }}\n[github]\ntoken = {{ credential = \"github\" }}\n\
         [database]\nurl = {{ env = \"DB\" }}\n{ROUTE}"
    );
    let mut world = Fake::file(&file)
        .with("/asana", "hush-asana\n")
        .with("/cred/github", "hush-github\n")
        .set("CREDENTIALS_DIRECTORY", "/cred")
        .set("DB", "postgres://ann:hush%2Fpg@127.0.0.1/d")
        .set("GITHUB_WEBHOOK_SECRET", "hush-hook")
        .set("ADMIN_API_TOKEN", "hush-admin-0123456789");
    world.files.get_mut("/asana").expect("there").1 = true;
    let config = world.good();
    let DatabaseUrl::Postgres(server) = &config.database else { panic!("PostgreSQL") };
    assert_eq!(server.password.as_ref().map(Secret::reveal), Some("hush/pg"));
    let shown = format!("{config:?} {config:#?} {} {:?}", config.database, config.warnings);
    for secret in HUSH {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].contains("chmod 600 /asana"), "{:?}", config.warnings);

    // The same secrets, each in a place where it is a fault.
    let pat = "ghp_hush0123456789hush0123456789hush01";
    let broken = format!(
        "[asana]\ntoken = \"hush-asana\"\n[github]\ntoken = {{ file = \"{pat}\" }}\nwebhook_secret = \"hush-hook\"\n\
         base_url = \"https://x:hush-github@y.org\"\n[admin]\ntoken = {{ env = \"SPACED\" }}\n\
         [database]\nurl = \"postgres://ann:hush%2Fpg@h/d\"\npassword = [\"hush/pg\"]\n[log]\nformat = \"{pat}\"\n\
         [[route]]\nname = \"{pat}\"\nasana_project = \"{pat}\"\ngithub_repo = \"{pat}\"\n\
         github_token = {{ env = \"{pat}\" }}\nfields = {{ title = \"{pat}\" }}\nx = hush-admin\n"
    );
    let faults = Fake::file(&broken).set("SPACED", "hush-admin hush-admin").faults();
    assert!(faults.len() >= 12, "{faults:#?}");
    let shown = faults.join("\n");
    assert!(!shown.contains("hush"), "{shown}");
    for url in [
        "postgres://ann:hu?sh@h/d",
        "postgres://ann:hu/sh@h/d",
        "postgres://ann:hu#sh@h/d",
        "ann:hush@h",
        "postgres://ann:hush",
    ] {
        let world =
            Fake::env(&[("ASANA_PAT", "a"), ("GITHUB_TOKEN", "g"), ("ASANA_PROJECT_GID", "1"), ("GITHUB_REPO", "a/b")]);
        match world.set("DATABASE_URL", url).read().0 {
            Ok(config) => assert!(!format!("{config:?} {}", config.database).contains("hush"), "{config:?}"),
            Err(errors) => assert!(!errors.to_string().contains("sh@"), "{errors}"),
        }
    }
}

#[test]
fn empty_and_broken_secrets_are_refused() {
    for (text, why) in [("", "empty"), ("\n", "empty"), ("a b", "spaces"), ("a\nb\n", "line ends"), ("ä", "letters")] {
        let faults = Fake::file(&format!("[asana]\ntoken = {{ file = \"/t\" }}\n{ROUTE}")).with("/t", text).faults();
        assert!(faults.len() == 1 && faults[0].contains(why), "{text:?}: {faults:?}");
    }
}

#[test]
fn postgres_is_reached_as_libpq_would_but_never_in_clear_by_accident() {
    let server = |env: &[(&'static str, &str)]| {
        let mut world = Fake::file(ROUTE).with("/ca.pem", "-----BEGIN CERTIFICATE-----");
        for (name, text) in env {
            world = world.set(name, text);
        }
        match world.good().database {
            DatabaseUrl::Postgres(server) => *server,
            DatabaseUrl::Sqlite(path) => panic!("{path:?}"),
        }
    };
    let url = |url: &'static str| server(&[("DATABASE_URL", url)]);

    let found = server(&[("PGHOST", "db"), ("PGPASSWORD", "p"), ("PGSSLROOTCERT", "/ca.pem")]);
    assert_eq!(
        (found.host.as_str(), found.port, found.user.as_str(), found.database.as_str()),
        ("db", 5432, "ann", "ann")
    );
    assert_eq!((found.tls, found.ca_file), (PostgresTls::Verified, Some("/ca.pem".into())));
    assert_eq!(found.password.as_ref().map(Secret::reveal), Some("p"));

    let found = server(&[
        ("DATABASE_URL", "postgresql://bob:b%40b@db.example.com:6543/keel?sslmode=verify-full&sslrootcert=%2Fca.pem"),
        ("PGHOST", "other"),
        ("PGPORT", "1"),
        ("PGUSER", "other"),
        ("PGPASSWORD", "other"),
        ("PGDATABASE", "other"),
        ("PGSSLMODE", "disable"),
    ]);
    assert_eq!(DatabaseUrl::Postgres(Box::new(found.clone())).to_string(), "postgres://bob@db.example.com:6543/keel");
    assert_eq!(found.password.as_ref().map(Secret::reveal), Some("b@b"));
    assert_eq!((found.tls, found.ca_file), (PostgresTls::Verified, Some("/ca.pem".into())));

    assert_eq!(url("postgres:///keel?host=/run/postgresql").host, "/run/postgresql");
    assert_eq!(url("postgres://%2Frun%2Fpostgresql/keel?sslmode=require").tls, PostgresTls::Off);
    assert_eq!(server(&[("PGDATABASE", "keel")]).host, "/var/run/postgresql");
    for (address, tls) in [
        ("postgres://localhost/k", PostgresTls::Off),
        ("postgres://127.0.0.1/k?sslmode=prefer", PostgresTls::Off),
        ("postgres://[::1]/k", PostgresTls::Off),
        ("postgres://localhost/k?sslmode=require", PostgresTls::Verified),
        ("postgres://db/k", PostgresTls::Verified),
        ("postgres://db/k?sslmode=prefer", PostgresTls::Verified),
        ("postgres://db/k?sslmode=disable", PostgresTls::Off),
    ] {
        assert_eq!(url(address).tls, tls, "{address}");
    }
}

#[test]
fn sqlite_paths_are_read_in_every_common_spelling() {
    for (url, path) in [
        ("sqlite:evenkeel.db", "evenkeel.db"),
        ("sqlite:/var/lib/x.db", "/var/lib/x.db"),
        ("sqlite://x.db", "x.db"),
        ("sqlite:///var/lib/x.db", "/var/lib/x.db"),
    ] {
        assert_eq!(Fake::file(ROUTE).set("DATABASE_URL", url).good().database, DatabaseUrl::Sqlite(path.into()));
    }
    assert_eq!(Fake::file(ROUTE).good().database, DatabaseUrl::Sqlite("./evenkeel.db".into()));
}

proptest::proptest! {
    /// Whatever is in the file, the answer is a configuration or faults, and no fault shows the tokens.
    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]a-z_.= \"'#{}0-9,\n]{0,200}", at in 0usize..400, cut in proptest::bool::ANY) {
        let whole = example(true);
        let at = (0..=at.min(whole.len())).rev().find(|at| whole.is_char_boundary(*at)).unwrap_or(0);
        let mixed = if cut { format!("{}{text}{}", &whole[..at], &whole[at..]) } else { text };
        let world = example_world(&mixed);
        if let Err(errors) = world.read().0 {
            proptest::prop_assert!(!errors.faults().is_empty());
            proptest::prop_assert!(!errors.to_string().contains("hush"));
        }
    }
}

#[test]
fn who_may_use_the_admin_api_is_read_and_checked() {
    let good = Fake::file(&format!("[admin]\nallow = [\"10.1.2.3/8\", \"::1\"]\n{ROUTE}"))
        .set("ADMIN_API_TOKEN", "writes-0123456789")
        .set("ADMIN_API_READ_TOKEN", "reads-0123456789")
        .good();
    let allow: Vec<String> = good.admin.allow.iter().map(ToString::to_string).collect();
    assert_eq!((good.admin.on(), allow), (true, vec!["10.0.0.0/8".to_owned(), "::1/128".to_owned()]));
    assert!(!Fake::file(ROUTE).good().admin.on());

    assert!(fault("[admin]\nallow = [\"everywhere\"]").contains("allow = \"everywhere\": not a range"));
    assert!(fault("[admin]\ntoken = \"written-here-0123456789\"").contains("must not stand in this file"));
    for (token, read_token, said) in [
        ("short", "reads-0123456789", "admin.token has fewer than 16 characters"),
        ("writes-0123456789", "short", "admin.read_token has fewer than 16 characters"),
        ("the-same-0123456789", "the-same-0123456789", "admin.read_token is the same as admin.token"),
    ] {
        let world = Fake::file(ROUTE).set("ADMIN_API_TOKEN", token).set("ADMIN_API_READ_TOKEN", read_token);
        let faults = world.faults();
        assert!(faults.len() == 1 && faults[0].contains(said), "{faults:?}");
        assert!(!faults[0].contains(token), "{faults:?}");
    }
}
