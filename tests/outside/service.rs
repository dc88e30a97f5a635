//! One process of the service, ended by its own handle only.

use std::process::{Child, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A process at work. Clones are the same; it is killed when the last is gone.
#[derive(Clone)]
pub struct Service(Arc<Running>);

struct Running {
    child: Mutex<Option<Child>>,
    began: Instant,
}

impl Service {
    pub(super) fn start(command: &mut Command) -> Self {
        let began = Instant::now();
        let child = command.spawn().expect("the binary");
        Self(Arc::new(Running { child: Mutex::new(Some(child)), began }))
    }

    /// SIGKILL, and the process is gone. Answers whether it was there.
    pub fn kill(&self) -> bool {
        let Some(mut child) = self.0.child.lock().expect("the lock").take() else { return false };
        let ended = child.try_wait().expect("a child");
        assert_eq!(ended, None, "it had ended by itself");
        child.kill().expect("it runs");
        child.wait().expect("a child");
        true
    }

    /// How it ended by itself, if it did.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.0.child.lock().expect("the lock").as_mut().and_then(|child| child.try_wait().expect("a child"))
    }

    /// How long ago it was started.
    pub fn age(&self) -> Duration {
        self.0.began.elapsed()
    }

    /// Holds it where it is, or lets it go on.
    pub fn signal(&self, signal: Signal) {
        let child = self.0.child.lock().expect("the lock");
        kill_process(Pid::from_child(child.as_ref().expect("it runs")), signal).expect("it runs");
    }

    /// Waits until it ends by itself.
    pub fn end(&self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it as systemd does; it must end well.
    pub fn stop(&self) {
        self.signal(Signal::TERM);
        assert_eq!(self.end().code(), Some(0));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut()
            && let Some(child) = child
        {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
