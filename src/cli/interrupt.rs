//! Ctrl-C and SIGTERM for commands that run once: the first finishes the work in hand, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};

use super::output::aside;
use crate::clock::Stop;

/// What a shell shows for a command ended by Ctrl-C.
const INTERRUPTED: i32 = 130;

/// Raises `stop` on the first signal; ends the process on the second. Without signals (none can be had)
/// the process ends at the first, as it would anyway.
pub(super) fn raise(stop: &Stop, tell: bool) {
    let stop = stop.clone();
    let listen = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
        runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            for time in 0.. {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if time > 0 {
                    std::process::exit(INTERRUPTED);
                }
                stop.raise();
                if tell {
                    aside("stopping after the repair in hand; once more ends at once");
                }
            }
        });
    };
    // Without the thread signals do what they do by themselves.
    let _ = std::thread::Builder::new().name("signals".to_owned()).spawn(listen);
}
