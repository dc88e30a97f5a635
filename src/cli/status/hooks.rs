//! The hooks and deliveries in `status`: told only where there is something to say.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::item::ago;
use super::super::output::{self, BOLD, DIM, GREEN, RED, YELLOW, count, paint};
use super::super::{Context, Failure};
use super::DAY;
use crate::clock::{Timestamp, earlier};
use crate::config::Route;
use crate::hooks::{Standing, standing, subjects};
use crate::model::{BySide, Side};
use crate::store::{DeliveryCounts, Refusals};

/// Reasons shown for which something was turned away; the rest is counted.
const REASONS_SHOWN: usize = 6;

/// The hooks of both services, and the admin interface's doors.
#[derive(Debug, Serialize)]
pub(super) struct WebhookStatus {
    asana: SideStatus,
    github: SideStatus,
    /// Calls of the admin interface that were turned away.
    admin: Vec<Refusals>,
}

/// How one service reaches us.
#[derive(Debug, Serialize)]
struct SideStatus {
    hooks: Vec<Standing>,
    /// In the last 24 hours.
    last_day: DeliveryCounts,
    /// What was turned away, by reason, the newest first; since the database began.
    turned_away: Vec<Refusals>,
}

impl WebhookStatus {
    /// Whether something is wrong with a hook.
    pub(super) fn troubled(&self) -> bool {
        [&self.asana, &self.github].iter().any(|side| side.hooks.iter().any(|hook| hook.trouble.is_some()))
    }
}

impl SideStatus {
    fn silent(&self) -> bool {
        self.hooks.is_empty() && self.last_day.last_at.is_none() && self.turned_away.is_empty()
    }
}

/// Looks in the database: hooks of these routes, and everything that came.
pub(super) fn look(context: &Context, routes: &[&Route], now: Timestamp) -> Result<WebhookStatus, Failure> {
    let store = &context.store;
    let mut wanted = subjects(&context.config);
    wanted.retain(|subject| {
        routes.iter().any(|route| match subject.side {
            Side::Tracker => route.project.as_str() == subject.resource,
            Side::Forge => route.repo.folded() == subject.resource,
        })
    });
    let all = standing(&wanted, &store.hooks(None)?, context.config.webhooks.public_url.is_some(), now);
    let refusals = store.refusals()?;
    let of = |provider: &str| refusals.iter().filter(|one| one.provider == provider).cloned().collect::<Vec<_>>();
    let side = |side: Side| -> Result<SideStatus, Failure> {
        Ok(SideStatus {
            hooks: all.iter().filter(|hook| hook.side == side).cloned().collect(),
            last_day: store.count_deliveries(side, earlier(now, DAY))?,
            turned_away: of(side.service()),
        })
    };
    Ok(WebhookStatus { asana: side(Side::Tracker)?, github: side(Side::Forge)?, admin: of("admin") })
}

pub(super) fn render(text: &mut String, status: &WebhookStatus, width: usize, now: Timestamp) {
    let sides = BySide { tracker: &status.asana, forge: &status.github };
    for (side, status) in sides.iter() {
        if status.silent() {
            continue;
        }
        let _ = writeln!(text, "\n{}", paint(BOLD, format_args!("webhooks of {}", side.service())));
        for hook in &status.hooks {
            render_hook(text, hook, width, now);
        }
        if status.last_day.last_at.is_some() || !status.hooks.is_empty() {
            output::paragraph(text, anstyle::Style::new(), 2, width, &came(&status.last_day, now));
        }
        turned_away(text, &status.turned_away, width, now);
    }
    if !status.admin.is_empty() {
        let _ = writeln!(text, "\n{}", paint(BOLD, "admin interface"));
        turned_away(text, &status.admin, width, now);
    }
}

fn render_hook(text: &mut String, hook: &Standing, width: usize, now: Timestamp) {
    let style = match (hook.state, &hook.trouble) {
        (_, Some(_)) => RED,
        ("live", None) => GREEN,
        _ => YELLOW,
    };
    let heard = match (hook.heard_at, hook.state) {
        (Some(at), _) => format!(", last heard {}", ago(at, now)),
        (None, "live") => ", not heard yet".to_owned(),
        (None, _) => String::new(),
    };
    let id = hook.id.as_deref().map_or_else(String::new, |id| format!(" hook {id}"));
    let state = hook.state;
    output::paragraph(text, style, 2, width, &format!("{}: {state}{id}{heard}", hook.resource));
    if let Some(trouble) = &hook.trouble {
        output::paragraph(text, RED, 4, width, trouble);
    }
}

/// How many deliveries came in the last day, and when the last did.
fn came(counts: &DeliveryCounts, now: Timestamp) -> String {
    let DeliveryCounts { deliveries, garbled, repeated, fetched, last_at } = counts;
    let mut said = format!("{} in the last 24 h", count(*deliveries, "delivery", "deliveries"));
    let parts: Vec<String> = [(garbled, "garbled"), (repeated, "repeated"), (fetched, "fetched")]
        .into_iter()
        .filter(|(number, _)| **number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if !parts.is_empty() {
        said.push_str(&format!(" ({})", parts.join(", ")));
    }
    match last_at {
        Some(at) => said.push_str(&format!(", the last {}", ago(*at, now))),
        None => said.push_str(", none ever"),
    }
    said
}

fn turned_away(text: &mut String, refusals: &[Refusals], width: usize, now: Timestamp) {
    for refused in refusals.iter().take(REASONS_SHOWN) {
        let Refusals { reason, count: number, last_at, last_from, .. } = refused;
        let from = last_from.as_ref().map_or_else(String::new, |from| format!(" from {from}"));
        let said =
            format!("turned away {}: {reason}; the last {}{from}", count(*number, "time", "times"), ago(*last_at, now));
        output::paragraph(text, DIM, 2, width, &said);
    }
    if let Some(left) = refusals.get(REASONS_SHOWN..).filter(|left| !left.is_empty()) {
        let number = left.iter().map(|refused| refused.count).sum();
        let said = format!("turned away {} for other reasons", count(number, "time", "times"));
        output::paragraph(text, DIM, 2, width, &said);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::item::narrow::fits;
    use super::*;

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            words in any::<String>(), resource in "[a-z]{1,39}/[a-z]{1,100}", well in any::<bool>(),
            width in 60_usize..120,
        ) {
            let at: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
            let hook = |state| Standing {
                side: Side::Forge,
                resource: resource.clone(),
                id: Some(words.clone()),
                state,
                heard_at: well.then_some(at),
                checked_at: None,
                trouble: (!well).then(|| words.clone()),
            };
            let refused = Refusals {
                provider: "github".to_owned(), reason: words.clone(), count: 12, first_at: at, last_at: at,
                last_from: Some(words.clone()),
            };
            let side = || SideStatus {
                hooks: vec![hook("live"), hook("pending"), hook("none")],
                last_day: DeliveryCounts { deliveries: 9, garbled: 1, repeated: 2, fetched: 3, last_at: Some(at) },
                turned_away: vec![refused.clone(); 9],
            };
            let status = WebhookStatus { asana: side(), github: side(), admin: vec![refused.clone()] };
            prop_assert_eq!(status.troubled(), !well);
            let mut text = String::new();
            render(&mut text, &status, width, at);
            fits(&text, width);
        }
    }

    #[test]
    fn where_there_is_nothing_to_say_nothing_is_said() {
        let side = || SideStatus { hooks: Vec::new(), last_day: DeliveryCounts::default(), turned_away: Vec::new() };
        let status = WebhookStatus { asana: side(), github: side(), admin: Vec::new() };
        let mut text = String::new();
        render(&mut text, &status, 80, Timestamp::UNIX_EPOCH);
        assert_eq!(text, "");
        assert!(!status.troubled());
    }
}
