//! Serves a sandbox with one project and one repository, prints how to reach it as `KEY=value` lines, and runs
//! until standard input ends. Webhooks made in it are delivered to this machine, over plain HTTP too. For trying
//! out clients; `evenkeel demo --keep` is the one with content.

use std::io::{Read, Write};
use std::sync::Arc;

use evenkeel::clock::SystemClock;
use evenkeel::config::Network;
use evenkeel::provider::http::UreqTransport;
use evenkeel::sandbox::{IssueSeed, Permission, Sandbox, TaskSeed};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sandbox = Sandbox::new(Arc::new(SystemClock), 1);
    let project = sandbox.asana().project("Website");
    let repo = sandbox.github().repository(&"acme/app".parse()?);
    for number in 1..=5 {
        sandbox.asana().task(&project.gid, TaskSeed::named(format!("Task {number}")));
        sandbox.github().issue(&repo.name, IssueSeed::new(format!("Issue {number}"), "A body."));
    }
    let served = sandbox.serve()?;
    sandbox.asana().habits(|habits| habits.loopback_targets = true);
    sandbox.github().habits(|habits| {
        habits.loopback_targets = true;
        habits.hook_networks = vec!["127.0.0.0/8".to_owned()];
    });
    // Webhooks of a repository are for those who administrate it.
    sandbox.github().permit(&repo.name, &sandbox.github().bot(), Permission::Admin);
    sandbox.webhooks().send_through(Arc::new(UreqTransport::new(&Network::default())?));
    let _pump = sandbox.webhooks().pump()?;
    let mut out = std::io::stdout().lock();
    for (name, value) in [
        ("ASANA_BASE_URL", served.base_urls.tracker.as_str()),
        ("ASANA_PAT", &project.token),
        ("ASANA_PROJECT_GID", project.gid.as_str()),
        ("GITHUB_BASE_URL", &served.base_urls.forge),
        ("GITHUB_TOKEN", &repo.token),
        ("GITHUB_REPO", repo.name.as_str()),
    ] {
        writeln!(out, "{name}={value}")?;
    }
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
