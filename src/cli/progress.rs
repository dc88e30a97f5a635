//! How a pass gets on, for whoever watches: a bar with rate and time left on a terminal, log lines elsewhere.

use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::Context;
use crate::clock::lock;
use crate::engine::Progress;
use crate::engine::account::Narrator;
use crate::model::{BySide, PassId, RouteName, Side};
use crate::reconcile::Repair;
use crate::store::Due;

/// The bar on the terminal, if there is one: log lines step around it, whoever writes them.
static PRESENT: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Standard error for the logger.
pub struct AroundBar;

impl Write for AroundBar {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let bar = lock(&PRESENT).clone();
        match bar {
            Some(bar) => bar.suspend(|| std::io::stderr().write(bytes)),
            None => std::io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// Watches one pass: shows it, and logs one line per repair.
pub struct Watched {
    narrator: Narrator,
    bar: Option<ProgressBar>,
}

impl Watched {
    /// For a command that a person waits for: with a bar if standard error is a terminal and no log lines
    /// were asked for, which would tear it.
    pub fn new(context: &Context, route: &RouteName) -> Arc<Self> {
        let bar = std::io::stderr().is_terminal() && context.loudness == 0;
        let narrator = Narrator::new(route.clone(), context.store.clone(), !bar);
        let bar = bar.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                bar.set_style(style);
            }
            bar.set_message("looking at both sides");
            *lock(&PRESENT) = Some(bar.clone());
            bar
        });
        Arc::new(Self { narrator, bar })
    }

    /// Takes the bar away, so that what follows stands alone.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
            *lock(&PRESENT) = None;
        }
    }

    /// Repairs that were planned and came to no end, neither done nor failed.
    pub fn left(&self) -> u64 {
        self.narrator.left()
    }
}

impl Progress for Watched {
    fn heard(&self, dues: &[Due]) {
        self.narrator.heard(dues);
    }

    fn observed(&self, side: Side, items: u64) {
        self.narrator.observed(side, items);
        if let Some(bar) = &self.bar {
            let BySide { tracker: tasks, forge: issues } = self.narrator.seen();
            bar.set_message(format!("looking at both sides: {tasks} tasks, {issues} issues"));
            bar.tick();
        }
    }

    fn planned(&self, repairs: usize) {
        self.narrator.planned(repairs);
        let repairs = u64::try_from(repairs).unwrap_or(u64::MAX);
        if repairs == 0 {
            self.clear();
        } else if let Some(bar) = &self.bar {
            if let Ok(style) =
                ProgressStyle::with_template("{bar:30} {pos}/{len} repairs  {rate}  {eta} left  {wide_msg}")
            {
                bar.set_style(style.with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                    // Four decimals, as the bar's own key shows them, jump about and say nothing.
                    let _ = write!(out, "{:.1}/s", state.per_sec());
                }));
            }
            bar.set_length(repairs);
            bar.set_message("");
            bar.reset();
        }
    }

    fn repaired(&self, pass: PassId, repair: &Repair, done: Result<(), &str>) {
        self.narrator.repaired(pass, repair, done);
        if let Some(bar) = &self.bar {
            bar.set_position(self.narrator.ended());
        }
    }
}
