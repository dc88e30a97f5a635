//! A disk that is full: a small file system in memory, where this process may mount one.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use evenkeel::sandbox::{Outcome, TaskSeed};

use crate::outside::{Outside, Settings, said};

/// Room for the database, and for its log, which grows to 4 MiB before it is worked in.
const SIZE: &str = "size=24m";

/// A file system in memory over the world's data folder, gone with it.
pub struct Memory(PathBuf);

impl Memory {
    /// `None` where it may not be mounted, which is said.
    pub fn over(world: &Outside) -> Option<Self> {
        let folder = world.folder.path().join("data");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "none"]).arg(&folder).output();
        if mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(folder));
        }
        let why = mounted.map_or_else(|error| error.to_string(), |output| said(&output));
        // Written past the test harness, which would swallow it.
        let _ = writeln!(std::io::stderr(), "\nA TEST OF A FULL DISK DID NOT RUN: no tmpfs may be mounted ({why})\n");
        None
    }

    /// Takes all the room there is.
    fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).expect("a file");
        for size in [64 << 10, 4 << 10, 1] {
            let block = vec![0; size];
            while filler.write_all(&block).is_ok() {}
        }
    }

    fn make_room(&self) {
        std::fs::remove_file(self.0.join("filler")).expect("it is there");
    }

    /// Lets nobody write, or everybody again.
    pub fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let done = Command::new("mount").args(["-o", &how]).arg(&self.0).output().expect("mount");
        assert!(done.status.success(), "{}", said(&done));
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Lazily: a process that a failed test left behind is ended after this.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).output();
    }
}

#[test]
fn a_full_disk_stops_the_work_and_says_so_until_there_is_room() {
    let world = Outside::new(&Settings::default());
    let Some(memory) = Memory::over(&world) else { return };
    let paste = |count: u32| {
        for number in 0..count {
            world.sandbox.asana().task(&world.project.gid, TaskSeed::named(format!("Task {number}")));
        }
    };
    paste(30);
    let service = world.service(0);
    // In the middle of an import.
    world.wait("the first issues", || world.sandbox.world().issues(&world.repo.name).len() >= 5);
    memory.fill();
    paste(10);
    world.wait("the message", || world.logs().contains("make room on the disk and try again"));
    assert_eq!(service.ended(), None, "the service goes on");
    // What cannot be stored is not taken: the sender hears it, and its own log shows it.
    let refused = || world.sandbox.webhooks().sent().iter().any(|sent| sent.outcome == Outcome::Answered(503));
    world.wait("a delivery that is not taken", || {
        paste(1);
        std::thread::sleep(Duration::from_millis(200));
        refused()
    });
    // Nothing is written to the services that could not be recorded.
    let before = world.sandbox.log().counts();
    let once = world.run(&["run", "--once"]);
    assert_eq!(once.status.code(), Some(2), "{}", said(&once));
    assert!(said(&once).contains("make room on the disk and try again"), "{}", said(&once));
    let after = world.sandbox.log().counts();
    assert_eq!((after.tracker.created, after.forge.created), (before.tracker.created, before.forge.created));

    memory.make_room();
    world.calms_down();
    service.stop();
    world.holds();
    let made = world.sandbox.log().writes(evenkeel::model::Side::Forge);
    let tasks = world.sandbox.world().tasks(&world.project.gid).len();
    assert_eq!(made.get("/repos/acme/app/issues").copied(), u64::try_from(tasks).ok(), "{made:?}");
}
