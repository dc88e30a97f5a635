//! What systemd is told: ready, reloading, stopping, the state in words, and that the work gets on.
//! Without systemd (no `NOTIFY_SOCKET`) nothing is told and nothing fails.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use super::heart::Heart;

/// Tells systemd; a failure is logged once, for the service can do without being heard.
#[derive(Default)]
pub(super) struct Manager {
    deaf: bool,
    silent: bool,
}

impl Manager {
    /// The schedule stands and the signals are heard.
    pub(super) fn ready(&mut self, status: &str) {
        self.tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// The configuration is being read again; must be followed by [`ready`](Self::ready).
    pub(super) fn reloading(&mut self) {
        // The time is part of the protocol since systemd 253.
        match NotifyState::monotonic_usec_now() {
            Ok(now) => self.tell(&[NotifyState::Reloading, now]),
            Err(_) => self.tell(&[NotifyState::Reloading]),
        }
    }

    /// The repair in hand is being finished.
    pub(super) fn stopping(&mut self) {
        self.tell(&[NotifyState::Stopping, NotifyState::Status("finishing the repair in hand")]);
    }

    /// Passes on what the worker said, and feeds the watchdog if the work gets on. Work may be silent
    /// for `patience`, or for as long as systemd bears silence, whichever is longer.
    pub(super) fn pulse(&mut self, heart: &Heart, watchdog: Option<Duration>, patience: Duration) {
        if let Some(status) = heart.take_status() {
            self.tell(&[NotifyState::Status(&status)]);
        }
        let Some(limit) = watchdog else { return };
        let patience = patience.max(limit);
        if heart.beats(Instant::now(), patience) {
            self.silent = false;
            self.tell(&[NotifyState::Watchdog]);
        } else if !std::mem::replace(&mut self.silent, true) {
            let seconds = patience.as_secs();
            log::error!("no progress for {seconds} s: the watchdog is no longer fed and will restart the service");
        }
    }

    fn tell(&mut self, states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states)
            && !std::mem::replace(&mut self.deaf, true)
        {
            log::warn!("systemd cannot be told about the state of the service: {error}");
        }
    }
}

/// How long systemd bears silence, if it watches this process.
pub(super) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero())
}
