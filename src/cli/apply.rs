//! `apply`: makes a kept plan anew in the same way and carries it out only if it is the same.

use serde::Serialize;

use super::args::ApplyArgs;
use super::output::{BOLD, CYAN, GREEN, RED, cut, paint};
use super::plan::kept::{self, Kept};
use super::{Context, Exit, Failure, run};
use crate::engine::Report;
use crate::engine::account::outline;
use crate::model::Fingerprint;
use crate::reconcile::{Plan, Repair};

/// Moved repairs that are listed on each side.
const MOVED_MAX: usize = 50;

/// What `--json` answers.
#[derive(Serialize)]
struct Answer<'a> {
    /// Whether the plan still held and was carried out.
    held: bool,
    kept: &'a Fingerprint,
    now: Fingerprint,
    /// In the kept plan, no longer to be done.
    gone: Vec<&'a Repair>,
    /// To be done now, not in the kept plan.
    new: Vec<&'a Repair>,
    pass: &'a Report,
}

/// Carries a kept plan out.
pub(super) fn run(context: &Context, args: &ApplyArgs) -> Result<Exit, Failure> {
    let kept = kept::read(&args.file)?;
    let route = context
        .routes(Some(&kept.route))
        .map_err(|failure| Failure { message: format!("{}: {}", args.file.display(), failure.message), ..failure })?
        .remove(0);
    let allow = run::allowance(&args.allow);
    let (report, left) = run::pass(context, route, &kept.wake(), allow, Some(kept.hash.clone()))?;
    let now = report.plan.hash();
    // A pass that failed while looking has no plan to compare with: its own message says why.
    let held = now == kept.hash || Exit::from(report.ended) != Exit::Drift;
    if context.out.json {
        let (gone, new) = if held { (Vec::new(), Vec::new()) } else { moved(&kept.plan, &report.plan) };
        context.out.json(&Answer { held, kept: &kept.hash, now, gone, new, pass: &report })?;
    } else if held {
        run::show(context, &report, left)?;
    } else {
        context.out.text(&no_longer(&kept, &report.plan, context.out.width))?;
    }
    Ok(report.ended.into())
}

/// What only the kept plan has, and what only the new one has.
fn moved<'a>(kept: &'a Plan, now: &'a Plan) -> (Vec<&'a Repair>, Vec<&'a Repair>) {
    (kept.differing(now), now.differing(kept))
}

/// Says which repairs moved.
fn no_longer(kept: &Kept, now: &Plan, width: usize) -> String {
    let (gone, new) = moved(&kept.plan, now);
    let mut text = format!(
        "{}\n",
        paint(BOLD, format_args!("The plan of {:.0} no longer holds; nothing was written.", kept.made_at))
    );
    for (repairs, sign, style, headline) in
        [(gone, "-", RED, "No longer to be done:"), (new, "+", GREEN, "To be done now:")]
    {
        if repairs.is_empty() {
            continue;
        }
        text.push_str(&format!("{}\n", paint(BOLD, headline)));
        for repair in repairs.iter().take(MOVED_MAX) {
            let subject = repair.subject().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!("  {} {}\n", paint(style, sign), paint(CYAN, cut(&subject, width - 4))));
            let what = cut(&format!("{}: {}", outline(repair), repair.title), width - 6);
            text.push_str(&format!("      {what}\n"));
        }
        if let Some(rest) = repairs.len().checked_sub(MOVED_MAX).filter(|rest| *rest > 0) {
            text.push_str(&format!("  ... and {rest} more\n"));
        }
    }
    text.push_str("Make it again with `evenkeel plan --out FILE` and read it.\n");
    text
}
