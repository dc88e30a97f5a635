//! The service as a process of its own, with real signals: no overlap, coalescing, reload, shutdown,
//! and what systemd is told. The work is a fake; each child writes what happens to its standard output.

#![allow(clippy::panic, reason = "a test ends by panicking")]

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use evenkeel::clock::{Clock, SystemClock};
use evenkeel::config::{Config, ConfigErrors, read_file};
use evenkeel::trigger::{ExitReason, serve};

/// What the child is told to play.
const PART: &str = "EVENKEEL_TEST_PART";
/// The configuration file of the child.
const FILE: &str = "EVENKEEL_TEST_FILE";
/// Long enough never to end a test that passes.
const LONG: Duration = Duration::from_secs(60);

/// Polls once a year, unless a test wants more.
const QUIET: &str = "[schedule]\npoll = \"0 0 0 1 1 *\"\nsweep = \"0 0 0 1 1 *\"\nretry = \"0 0 0 1 1 *\"\n";
const EVERY_SECOND: &str = "[schedule]\npoll = \"* * * * * *\"\nsweep = \"0 0 0 1 1 *\"\nretry = \"* * * * * *\"\n";

fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let env = |name: &str| {
        let text = match name {
            "ASANA_PAT" | "GITHUB_TOKEN" => "token",
            "ASANA_PROJECT_GID" => "1201",
            "GITHUB_REPO" => "acme/app",
            _ => return None,
        };
        Some(text.to_owned())
    };
    Config::load(Some(file), &env, &read_file)
}

/// Not a test: the child's side of the tests below.
#[test]
#[ignore = "started by the other tests as a process of its own"]
fn child() {
    let Ok(part) = std::env::var(PART) else { return };
    let file = std::path::PathBuf::from(std::env::var_os(FILE).expect("a file"));
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "> {line}").and_then(|()| out.flush()).expect("the parent reads");
    };
    static RUNNING: AtomicBool = AtomicBool::new(false);
    static RUNS: AtomicU32 = AtomicU32::new(0);
    let reload_file = file.clone();
    let reason = serve(
        load(&file).expect("the first configuration is good"),
        move || load(&reload_file),
        move |config, rings, stop, heart| {
            assert!(!RUNNING.swap(true, Ordering::SeqCst), "two runs overlap");
            let run = RUNS.fetch_add(1, Ordering::SeqCst) + 1;
            let mut rings = rings.to_vec();
            let given = rings.len();
            rings.dedup();
            assert!(!rings.is_empty() && rings.len() == given, "{rings:?}");
            say(format!("run {run} {rings:?} {}", config.patience.attempts_max));
            heart.say(&format!("run {run}"));
            match part.as_str() {
                // Waits for the end, which comes by the stop alone, and then finishes what it has in hand.
                "works on" => {
                    let stopped = !SystemClock.sleep(LONG, stop);
                    say(format!("finished, stopped: {stopped}"));
                }
                "hangs" => loop {
                    std::thread::park();
                },
                "panics" => {
                    RUNNING.store(false, Ordering::SeqCst);
                    panic!("planned");
                }
                // Longer than a tick of the schedule.
                "is slow" => {
                    SystemClock.sleep(Duration::from_millis(1_500), stop);
                    say(format!("end {run}"));
                }
                _ => {}
            }
            RUNNING.store(false, Ordering::SeqCst);
        },
    );
    let reason = match reason {
        ExitReason::Failed(why) => why,
        other => format!("{other:?}"),
    };
    writeln!(std::io::stdout(), "> {reason}").expect("the parent reads");
    // As main would: whatever still runs is left.
    std::process::exit(0);
}

/// A running child; killed when the test fails.
struct Served {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    folder: tempfile::TempDir,
    socket: UnixDatagram,
}

impl Served {
    fn start(part: &str, config: &str, watchdog: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config.toml");
        std::fs::write(&file, config).expect("the file is written");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(LONG)).expect("a time limit");
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["child", "--exact", "--ignored", "--nocapture"]).env(PART, part).env(FILE, &file);
        command.env("NOTIFY_SOCKET", folder.path().join("notify")).env_remove("WATCHDOG_PID");
        match watchdog {
            Some(limit) => command.env("WATCHDOG_USEC", limit.as_micros().to_string()),
            None => command.env_remove("WATCHDOG_USEC"),
        };
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the child starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines, folder, socket }
    }

    /// The next line the child says.
    fn hear(&mut self) -> String {
        loop {
            let line = self.lines.next().expect("the child goes on").expect("text");
            // The test harness of the child writes too, also in front of a line.
            if let Some((_, said)) = line.split_once("> ") {
                return said.to_owned();
            }
        }
    }

    /// The next thing systemd is told that is not a heartbeat.
    fn told(&self) -> String {
        loop {
            let mut text = [0; 1_024];
            let length = self.socket.recv(&mut text).expect("systemd is told something");
            let text = String::from_utf8_lossy(&text[..length]).into_owned();
            if text.trim() != "WATCHDOG=1" {
                return text;
            }
        }
    }

    fn signal(&self, name: &str) {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(done.expect("kill runs").success());
    }

    fn write(&self, config: &str) {
        std::fs::write(self.folder.path().join("config.toml"), config).expect("the file is written");
    }

    fn ends(mut self, reason: &str) {
        assert_eq!(self.hear(), reason);
        assert!(self.child.wait().expect("the child ends").success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Nothing to kill if it has ended, which is the rule.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_to_stop_lets_the_work_in_hand_finish() {
    let mut served = Served::start("works on", QUIET, None);
    assert_eq!(served.hear(), "run 1 [Poll, Hooks] 8");
    assert!(served.told().starts_with("READY=1"));
    served.signal("TERM");
    assert_eq!(served.hear(), "finished, stopped: true");
    let mut told = served.told();
    while !told.contains("STOPPING=1") {
        told = served.told();
    }
    served.ends("Stopped");
}

#[test]
fn a_second_interrupt_ends_work_that_hangs() {
    let mut served = Served::start("hangs", QUIET, None);
    assert_eq!(served.hear(), "run 1 [Poll, Hooks] 8");
    served.signal("INT");
    while !served.told().contains("STOPPING=1") {}
    served.signal("INT");
    served.ends("Interrupted");
}

#[test]
fn an_idle_service_stops_at_once() {
    let mut served = Served::start("is quick", QUIET, None);
    assert_eq!(served.hear(), "run 1 [Poll, Hooks] 8");
    served.signal("INT");
    served.ends("Stopped");
}

#[test]
fn an_operator_forces_a_pass_and_a_panic_ends_only_its_run() {
    let mut served = Served::start("panics", QUIET, None);
    assert_eq!(served.hear(), "run 1 [Poll, Hooks] 8");
    served.signal("USR1");
    assert_eq!(served.hear(), "run 2 [Forced] 8");
    served.signal("TERM");
    served.ends("Stopped");
}

#[test]
fn a_new_configuration_is_taken_in_and_a_wrong_one_is_not() {
    let mut served = Served::start("is quick", QUIET, None);
    assert_eq!(served.hear(), "run 1 [Poll, Hooks] 8");
    assert!(served.told().starts_with("READY=1\nSTATUS=1 route kept in step"));

    served.write(&format!("{QUIET}[patience]\nattempts_max = 3\n"));
    served.signal("HUP");
    assert_eq!(served.hear(), "run 2 [Poll, Hooks] 3");

    served.write("[patience]\nattempts_max = 0\nfoo = 1\n");
    served.signal("HUP");
    let mut told = served.told();
    while !told.contains("the new configuration is wrong, keeping the old one") {
        told = served.told();
    }
    served.signal("USR1");
    assert_eq!(served.hear(), "run 3 [Forced] 3");

    // And the schedule is one of the things that can change.
    served.write(EVERY_SECOND);
    served.signal("HUP");
    assert!(served.hear().starts_with("run 4 [Poll"));
    assert!(served.hear().starts_with("run 5 ["));
    served.signal("TERM");
    while served.hear() != "Stopped" {}
}

#[test]
fn ticks_during_a_run_become_one_run_after_it() {
    // The child itself asserts that no two runs overlap and that no ring is handed over twice.
    let mut served = Served::start("is slow", EVERY_SECOND, None);
    for number in 1..=3 {
        assert!(served.hear().starts_with(&format!("run {number} [")));
        assert_eq!(served.hear(), format!("end {number}"));
    }
    served.signal("TERM");
    while served.hear() != "Stopped" {}
}

#[test]
fn the_watchdog_is_fed_while_the_work_rests_and_not_while_it_hangs() {
    let beats = |served: &Served, silence: Duration| {
        let mut text = [0; 1_024];
        let mut beats = 0;
        served.socket.set_read_timeout(Some(silence)).expect("a time limit");
        while beats < 40 {
            match served.socket.recv(&mut text) {
                Ok(length) if &text[..length] == b"WATCHDOG=1\n" => beats += 1,
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        Some(beats)
    };
    let limit = Some(Duration::from_millis(300));
    let mut rests = Served::start("is quick", QUIET, limit);
    assert_eq!(rests.hear(), "run 1 [Poll, Hooks] 8");
    assert_eq!(beats(&rests, LONG), Some(40), "an idle service is alive");
    rests.signal("TERM");
    rests.ends("Stopped");

    let impatient = format!("{QUIET}[network]\ncall_timeout_seconds = 1\nconnect_timeout_seconds = 1\n");
    let mut hangs = Served::start("hangs", &impatient, limit);
    assert_eq!(hangs.hear(), "run 1 [Poll, Hooks] 8");
    // Silence of ten watchdog periods is the sign looked for.
    assert_eq!(beats(&hangs, Duration::from_secs(3)), None, "a service that hangs is not");
}
