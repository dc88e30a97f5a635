//! What the commands about single items share: which route an item belongs to, asking a person, words for times.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::time::Duration;

use super::run::lease_wait;
use super::{Context, Failure, output};
use crate::clock::since;
use crate::config::Route;
use crate::engine::PassOptions;
use crate::model::{ItemKey, RouteName, Timestamp};

/// The longest answer read from a person, in bytes; more is no answer.
const ANSWER_BYTES_MAX: u64 = 4_096;

/// The route an item belongs to: the one named, its link's, its repository's, or the only one.
pub(super) fn route_of<'a>(
    context: &'a Context,
    item: &ItemKey,
    named: Option<&RouteName>,
) -> Result<&'a Route, Failure> {
    if named.is_some() {
        return first(context.routes(named)?);
    }
    if let Some(link) = context.store.link_of(item)? {
        return first(context.routes(Some(&link.route))?);
    }
    let fit: Vec<&Route> = context
        .config
        .routes
        .iter()
        .filter(|route| match item {
            ItemKey::Issue(issue) => issue.repo == route.repo,
            ItemKey::Task(_) => true,
        })
        .collect();
    match fit.as_slice() {
        [only] => Ok(only),
        [] => Err(Failure::new(format!("{item} belongs to no route that is configured"))
            .hint("the repository must be that of a route (`github_repo`)")),
        several => {
            let names: Vec<&str> = several.iter().map(|route| route.name.as_str()).collect();
            Err(Failure::new(format!("{item} is not linked and could belong to several routes"))
                .hint(format!("say which with --route: {}", names.join(", "))))
        }
    }
}

fn first(routes: Vec<&Route>) -> Result<&Route, Failure> {
    routes.into_iter().next().ok_or_else(|| Failure::new("no route is configured"))
}

/// How an operator's pass is made: waits for the service's own pass to end.
pub(super) fn by_operator(context: &Context) -> PassOptions {
    PassOptions { cause: "operator".to_owned(), lease_wait: lease_wait(&context.store), ..PassOptions::default() }
}

/// Says who is at work on a route, when this command will have to wait for it.
pub(super) fn say_who_holds(context: &Context, route: &RouteName) -> Result<(), Failure> {
    if let Some(held) = context.store.lease_holder(route, context.clock.now())?
        && held.holder != context.holder
        && context.loudness >= 0
    {
        output::aside(format_args!(
            "route {route}: {} is at work on it; waiting up to {} s",
            held.holder,
            lease_wait(&context.store).as_secs()
        ));
    }
    Ok(())
}

/// Whether somebody sits there who can be asked.
pub(super) fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// Asks a person on standard error; answers the first letter, in lower case, `n` when nothing was said.
pub(super) fn ask(question: &str) -> Result<char, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("asking for a confirmation: {error}"));
    let mut err = anstream::stderr().lock();
    write!(err, "{question} ").and_then(|()| err.flush()).map_err(failed)?;
    let mut answer = String::new();
    std::io::Read::take(std::io::stdin().lock(), ANSWER_BYTES_MAX).read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().chars().next().map_or('n', |letter| letter.to_ascii_lowercase()))
}

/// Whether to go on: said on the command line, or answered on a terminal.
pub(super) fn confirmed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    if !can_ask() {
        return Err(Failure::new("nothing was written: nobody is there to be asked")
            .hint("look at what is shown, then say --yes"));
    }
    Ok(ask(&format!("{question} [y/N]"))? == 'y')
}

/// How long ago, in words: `just now`, `4 min ago`, `3 h ago`, `12 days ago`.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    let span = span(since(then, now));
    if span == "0 s" { "just now".to_owned() } else { format!("{span} ago") }
}

/// A length of time in its largest unit.
pub(super) fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ ..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_their_largest_unit() {
        for (seconds, said) in [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_300, "2 h"), (200_000, "2 days")] {
            assert_eq!(span(Duration::from_secs(seconds)), said);
        }
    }
}

/// What the other commands' tests share.
#[cfg(test)]
pub(super) mod narrow {
    use super::output::columns;

    /// Fails unless every line keeps to the width, as a pipe would show it.
    pub fn fits(text: &str, width: usize) {
        for line in anstream::adapter::strip_str(text).to_string().lines() {
            assert!(columns(line) <= width, "{} columns in {width}: {line:?}", columns(line));
        }
    }
}
