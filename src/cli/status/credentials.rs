//! The credentials in `status`: their circuit breakers and budgets; told only where something holds them back.

use std::fmt::Write as _;

use serde::Serialize;

use super::super::item::ago;
use super::super::output::{self, BOLD, DIM, RED, YELLOW, paint};
use super::super::{Context, Failure};
use crate::clock::Timestamp;
use crate::config::Route;
use crate::model::{RouteName, Side};
use crate::provider::breaker::State;
use crate::provider::pace::{Account, Taken};

/// How one credential is doing, as all processes that use it know.
#[derive(Debug, Serialize)]
pub(super) struct CredentialStatus {
    service: &'static str,
    /// The routes looked at that use it.
    routes: Vec<RouteName>,
    /// `closed`: requests leave; `open`: none does until then; `probing`: one is on its way to try.
    breaker: State,
    /// Why it is not closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// How often it opened without closing in between.
    openings: u32,
    /// Since when it is not closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
    /// Until when nothing leaves.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// The service said to send nothing until then.
    #[serde(skip_serializing_if = "Option::is_none")]
    quiet_until: Option<Timestamp>,
    /// What all processes together have taken of its limits.
    taken: Vec<Taken>,
}

impl CredentialStatus {
    /// Whether its service is out of reach.
    pub(super) fn troubled(&self) -> bool {
        self.breaker != State::Closed
    }
}

/// Looks in the database at the credentials of these routes.
pub(super) fn look(context: &Context, routes: &[&Route], now: Timestamp) -> Result<Vec<CredentialStatus>, Failure> {
    let network = &context.config.network;
    let known = context.store.credentials()?;
    let mut found: Vec<(String, CredentialStatus)> = Vec::new();
    for side in Side::BOTH {
        for route in routes {
            let digest = context.store.digest_of(side, &network.base_urls[side], &route.tokens[side])?;
            if let Some((_, status)) = found.iter_mut().find(|(other, _)| *other == digest) {
                status.routes.push(route.name.clone());
                continue;
            }
            let account = known.iter().find(|one| one.digest == digest).map(|one| one.account.clone());
            let account = account.unwrap_or_default();
            found.push((digest, status(side, &account, account.taken(side, network, now), &route.name, now)));
        }
    }
    Ok(found.into_iter().map(|(_, status)| status).collect())
}

fn status(side: Side, account: &Account, taken: Vec<Taken>, route: &RouteName, now: Timestamp) -> CredentialStatus {
    let standing = &account.standing;
    let troubled = standing.state != State::Closed;
    let moment = |millis| Timestamp::from_millisecond(millis).ok().filter(|_| troubled);
    CredentialStatus {
        service: side.service(),
        routes: vec![route.clone()],
        breaker: standing.state,
        why: troubled.then(|| standing.reason(side)),
        openings: standing.openings,
        since: moment(standing.since),
        until: moment(standing.until),
        quiet_until: account.quiet_until(now),
        taken,
    }
}

pub(super) fn render(text: &mut String, all: &[CredentialStatus], width: usize, now: Timestamp) {
    for status in all {
        let CredentialStatus { service, routes, why, since, quiet_until, taken, .. } = status;
        if why.is_none() && quiet_until.is_none() {
            continue;
        }
        let _ = writeln!(text, "\n{}", paint(BOLD, format_args!("requests to {service}")));
        if let Some(why) = why {
            let since = since.map_or_else(String::new, |at| format!(" (since {})", ago(at, now)));
            output::paragraph(text, RED, 2, width, &format!("held back by the circuit breaker{since}: {why}"));
            let try_now = "`evenkeel check` tries at once; webhooks are taken in meanwhile";
            output::paragraph(text, DIM, 2, width, try_now);
        }
        if let Some(until) = quiet_until {
            output::paragraph(text, YELLOW, 2, width, &format!("{service} asked for quiet until {until:.0}"));
        }
        let taken: Vec<String> =
            taken.iter().map(|one| format!("{} of {} {}", one.taken, one.cap, one.limit)).collect();
        output::paragraph(text, DIM, 2, width, &format!("taken: {}", taken.join(", ")));
        let routes: Vec<&str> = routes.iter().map(RouteName::as_str).collect();
        output::paragraph(text, DIM, 2, width, &format!("routes: {}", routes.join(", ")));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::super::item::narrow::fits;
    use super::*;
    use crate::provider::breaker::{Standing, Trouble};

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(words in any::<String>(), route in "[a-z0-9_-]{1,64}", width in 60_usize..120) {
            let at: Timestamp = "2026-03-01T08:00:00Z".parse().expect("a time");
            let millis = at.as_millisecond();
            let standing = Standing {
                state: State::Open,
                trouble: Some(Trouble::Token),
                why: words,
                openings: 3,
                since: millis - 90_000,
                until: millis + 90_000,
                in_row: [0, 3, 0],
            };
            let account = Account { standing, ..Account::default() };
            let taken = vec![Taken { limit: "points a minute", cap: 900, taken: 7 }; 9];
            let Ok(route) = route.parse() else { return Ok(()) };
            let status = status(Side::Forge, &account, taken, &route, at);
            prop_assert!(status.troubled());
            let mut text = String::new();
            render(&mut text, &[status], width, at);
            prop_assert!(text.contains("token"));
            fits(&text, width);
        }
    }

    #[test]
    fn where_nothing_is_held_back_nothing_is_said() {
        let at = Timestamp::UNIX_EPOCH;
        let status = status(Side::Tracker, &Account::default(), Vec::new(), &"app".parse().expect("a name"), at);
        let mut text = String::new();
        assert!(!status.troubled());
        render(&mut text, &[status], 80, at);
        assert_eq!(text, "");
    }
}
