//! A database that cannot be written, in whatever way: nothing is begun, and it is said what is wrong.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, Output};

use evenkeel::sandbox::TaskSeed;

use super::full::Memory;
use crate::outside::{Outside, Settings, said};

/// Somebody whom permissions bind: nobody, where we are root.
const NOBODY: u32 = 65_534;

/// One pair in step, and an edit that nobody saw yet.
fn world() -> Outside {
    Outside::new(&Settings { hooks: false, ..Settings::default() })
}

fn settle(world: &Outside) {
    let task = world.sandbox.asana().task(&world.project.gid, TaskSeed::named("Fix the login"));
    let once = world.run(&["run", "--once"]);
    assert_eq!(once.status.code(), Some(0), "{}", said(&once));
    world.sandbox.asana().rename(&task, "Mend the login");
}

/// Neither a pass nor the service begins; both say `words`, and nothing reaches the services. Afterwards all is well.
fn refuses(world: &Outside, run: &dyn Fn(&[&str]) -> Output, words: &[&str], mend: impl FnOnce()) {
    let before = world.sandbox.log().counts();
    for command in [&["run", "--once"][..], &["run"]] {
        let output = run(command);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{command:?} does not say {word:?}: {text}");
        }
    }
    let after = world.sandbox.log().counts();
    assert_eq!((after.tracker.writes, after.forge.writes), (before.tracker.writes, before.forge.writes));
    mend();
    let once = run(&["run", "--once"]);
    assert_eq!(once.status.code(), Some(0), "{}", said(&once));
    assert_eq!(world.sandbox.world().issues(&world.repo.name)[0].title, "Mend the login");
    world.holds();
}

#[test]
fn a_file_system_that_is_mounted_read_only_is_named() {
    let world = world();
    let Some(memory) = Memory::over(&world) else { return };
    settle(&world);
    memory.remount("ro");
    let run = |words: &[&str]| world.run(words);
    refuses(&world, &run, &["data/evenkeel.db", "Read-only file system", "mount it so that it can be written"], || {
        memory.remount("rw")
    });
}

/// Runs the binary as somebody whom permissions bind; `None` where that cannot be.
fn bound(world: &Outside, words: &[&str]) -> Option<Output> {
    let mut command = world.command(0);
    command.args(words);
    if !rustix::process::geteuid().is_root() {
        return command.output().ok();
    }
    let mut lesser = Command::new("setpriv");
    lesser.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(command.get_program());
    lesser.args(command.get_args()).env_clear().current_dir(world.folder.path());
    lesser.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    lesser.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    lesser.output().ok().filter(|output| output.status.code() != Some(126) && output.status.code() != Some(127))
}

/// A world whose files belong to whom permissions bind, with one pair in step; `None` where that cannot be.
fn owned() -> Option<Outside> {
    let world = world();
    settle(&world);
    if rustix::process::geteuid().is_root() {
        let folder = world.folder.path();
        let mut all = vec![folder.to_owned(), folder.join("data")];
        for inside in [folder.to_owned(), folder.join("data")] {
            all.extend(fs::read_dir(inside).expect("a folder").map(|entry| entry.expect("an entry").path()));
        }
        for path in all {
            chown(path, Some(NOBODY), Some(NOBODY)).expect("we are root");
        }
    }
    if bound(&world, &["--version"]).is_none_or(|output| !output.status.success()) {
        eprintln!("A TEST OF A READ-ONLY DATABASE DID NOT RUN: the binary cannot be run as another user");
        return None;
    }
    Some(world)
}

fn permit(world: &Outside, path: &str, mode: u32) {
    let path = world.folder.path().join(path);
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

#[test]
fn a_file_that_may_not_be_written_is_named() {
    let Some(world) = owned() else { return };
    permit(&world, "data/evenkeel.db", 0o400);
    let run = |words: &[&str]| bound(&world, words).expect("the binary");
    refuses(
        &world,
        &run,
        &["data/evenkeel.db", "the file cannot be written", "let the user this runs as write to it"],
        || permit(&world, "data/evenkeel.db", 0o600),
    );
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let Some(world) = owned() else { return };
    permit(&world, "data", 0o500);
    let run = |words: &[&str]| bound(&world, words).expect("the binary");
    refuses(
        &world,
        &run,
        &["data/evenkeel.db", "its directory", "cannot be written", "let the user this runs as write to it"],
        || permit(&world, "data", 0o700),
    );
}
