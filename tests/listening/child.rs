//! This test program once more, in a process of its own with limits or sockets of its own. It is told what to do
//! through its environment and its standard input, and ends when that does.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The variable that says what the process is for.
const ROLE: &str = "LISTENER_TEST_ROLE";

/// What this process is for, if it is such a child.
pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// The command that starts `test` of this program again, through a shell that first runs `before`.
pub fn command(before: &str, test: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("{before}; exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().expect("our own path"))
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .env(ROLE, test);
    command
}

/// A child that is spoken to by lines.
pub struct Spoken {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Spoken {
    pub fn start(before: &str, test: &str) -> Self {
        let mut process =
            command(before, test).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Self { process, input, output }
    }

    /// Sends a line.
    pub fn tell(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it listens");
    }

    /// What it says behind `@word`, once it says it.
    pub fn hear(&mut self, word: &str) -> String {
        let wanted = format!("@{word} ");
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).expect("text") > 0, "it ended before it said {word}");
            if let Some((_, rest)) = line.split_once(&wanted) {
                return rest.trim().to_owned();
            }
        }
    }

    pub fn address(&mut self) -> SocketAddr {
        self.hear("address").parse().expect("an address")
    }
}

impl Drop for Spoken {
    fn drop(&mut self) {
        // Our own child, by its handle; it may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Says something to the parent.
pub fn say(word: &str, rest: impl std::fmt::Display) {
    let mut output = std::io::stdout();
    writeln!(output, "\n@{word} {rest}").and_then(|()| output.flush()).expect("somebody listens");
}
