//! What is to be done about the hooks of one project or repository, decided from what both sides know; pure.

use std::time::Duration;

use crate::clock::{Timestamp, earlier};
use crate::model::Side;
use crate::provider::hooks::Hook;
use crate::store::{HookRow, HookState};

/// Asana sends a sign of life every 8 hours; a hook that was not heard for longer has lost its way.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(9 * 3_600);

/// How long what a hook sent before it was replaced may still arrive, and is good.
pub(super) const LEAVING: Duration = Duration::from_secs(3_600);

/// A hook of ours as kept, and whether its secret can be opened (or stands in the configuration).
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) row: HookRow,
    pub(super) usable: bool,
}

/// What is to be done, in the order of its fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// The hook that stands and stays: our row and the service's id.
    pub(super) keep: Option<(i64, String)>,
    /// A creation whose answer was lost: the service's hook belongs to this row.
    pub(super) adopt: Option<(i64, String)>,
    /// A hook that does not send what we want, or is switched off.
    pub(super) set_wanted: Option<String>,
    /// A hook that does not sign, or signs with what we cannot know.
    pub(super) resign: Option<String>,
    /// Make one, and why.
    pub(super) make: Option<&'static str>,
    /// Rows whose hook another takes the place of: still good for a while.
    pub(super) retire: Vec<i64>,
    /// Hooks to be removed at the service, and why.
    pub(super) remove: Vec<(String, &'static str)>,
    /// Rows that mean nothing any more.
    pub(super) forget: Vec<i64>,
}

/// Decides. `prefix` is where our hooks send to, without a token; `by_config`: the configuration has the secret, so
/// a hook whose secret we do not know can be given it (GitHub).
///
/// One at a time looks after the hooks, so a creation that is still announced was broken off: by a crash, or because its
/// answer was lost. One that is not there is made again at once. Should the first come about after all, its handshake
/// finds its row gone and is refused; what needs no handshake is removed by the next look as a stranger or a double.
pub(super) fn decide(
    side: Side,
    known: &[Known],
    remote: &[Hook],
    prefix: &str,
    by_config: bool,
    token_hash: impl Fn(&str) -> Option<String>,
    now: Timestamp,
) -> Decision {
    let mut decision = Decision::default();
    let sends_here =
        |hook: &&Hook| hook.target.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let ours: Vec<&Hook> = remote.iter().filter(sends_here).collect();
    let mut claimed: Vec<&str> = Vec::new();
    let mut good: Vec<(&Known, &Hook)> = Vec::new();
    let mut why = "there is none";
    for one in known {
        let row = &one.row;
        let by_token = || ours.iter().find(|hook| token_hash(&hook.target).as_deref() == Some(&row.token_hash));
        let found = match &row.remote {
            Some(id) => remote.iter().find(|hook| hook.id == *id),
            None => by_token().copied(),
        };
        if let Some(hook) = found {
            claimed.push(&hook.id);
        }
        match (row.state, found) {
            (HookState::Leaving, found) => {
                decision.remove.extend(found.map(|hook| (hook.id.clone(), "another took its place")));
                if row.checked_at.is_none_or(|at| at < earlier(now, LEAVING)) {
                    decision.forget.push(row.id);
                }
            }
            (HookState::Pending, None) => decision.forget.push(row.id),
            (HookState::Live, None) => {
                decision.forget.push(row.id);
                why = "the service removed it";
            }
            (HookState::Pending | HookState::Live, Some(hook)) => match trouble(side, one, hook, &ours, now) {
                None => good.push((one, hook)),
                Some(trouble) => {
                    why = trouble;
                    decision.retire.push(row.id);
                    decision.remove.push((hook.id.clone(), trouble));
                }
            },
        }
    }
    // Of several the one that was heard last stays; the highest row decides, so that all replicas decide alike.
    good.sort_by_key(|(one, _)| (one.row.heard_at, one.row.id));
    if let Some((one, hook)) = good.pop() {
        if one.row.state == HookState::Pending {
            decision.adopt = Some((one.row.id, hook.id.clone()));
        }
        if !hook.as_wanted || !hook.active {
            decision.set_wanted = Some(hook.id.clone());
        }
        if side == Side::Forge && !hook.signed {
            decision.resign = Some(hook.id.clone());
        }
        decision.keep = Some((one.row.id, hook.id.clone()));
    }
    for (one, hook) in good {
        decision.retire.push(one.row.id);
        decision.remove.push((hook.id.clone(), "it is doubled"));
    }
    let strangers: Vec<&Hook> = ours.iter().filter(|hook| !claimed.contains(&hook.id.as_str())).copied().collect();
    for hook in strangers {
        // GitHub's can be given the secret that we know; of Asana's nobody can know it any more.
        let adoptable = side == Side::Forge && by_config && hook.target == prefix;
        if adoptable && decision.keep.is_none() && decision.resign.is_none() {
            decision.resign = Some(hook.id.clone());
            decision.set_wanted = (!hook.as_wanted || !hook.active).then(|| hook.id.clone());
        } else {
            decision.remove.push((hook.id.clone(), "its secret is not known here"));
        }
    }
    if decision.keep.is_none() && decision.resign.is_none() {
        decision.make = Some(why);
    }
    decision
}

/// Why a hook that is there does not do.
fn trouble(side: Side, known: &Known, hook: &Hook, ours: &[&Hook], now: Timestamp) -> Option<&'static str> {
    let since = known.row.heard_at.unwrap_or(known.row.made_at);
    if !known.usable {
        Some("its secret cannot be opened")
    } else if !ours.iter().any(|one| one.id == hook.id) {
        Some("it sends to another address")
    } else if side == Side::Tracker && !hook.active {
        Some("it is dead")
    } else if side == Side::Tracker && since < earlier(now, SILENCE_MAX) {
        Some("its signs of life do not arrive")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at, row};
    use super::*;

    const PREFIX: &str = "https://sync.example/webhooks/asana";

    fn known(id: i64, remote: Option<&str>, state: HookState) -> Known {
        let row = HookRow {
            remote: remote.map(str::to_owned),
            target: PREFIX.to_owned(),
            secret: Some("v1.".to_owned()),
            ..row(id, Side::Tracker, "77", state)
        };
        Known { row, usable: true }
    }

    fn hook(id: &str, token: &str) -> Hook {
        Hook::sample(id, &format!("{PREFIX}/{token}"))
    }

    fn decided(known: &[Known], remote: &[Hook], now: i64) -> Decision {
        let hash = |target: &str| target.strip_prefix(PREFIX)?.strip_prefix('/').map(|token| format!("#{token}"));
        decide(Side::Tracker, known, remote, PREFIX, false, hash, at(now))
    }

    #[test]
    fn one_live_hook_is_left_alone_and_none_is_made_up_for() {
        let decision = decided(&[known(1, Some("a"), HookState::Live)], &[hook("a", "1")], 10);
        assert_eq!(decision, Decision { keep: Some((1, "a".to_owned())), ..Decision::default() });
        assert_eq!(decided(&[], &[], 10), Decision { make: Some("there is none"), ..Decision::default() });
        // Somebody else's hook on the same project is nobody's business here.
        let other = Hook { target: "https://other.example/x".to_owned(), ..hook("z", "1") };
        assert_eq!(decided(&[], &[other], 10).remove, []);
        let alike = Hook { target: format!("{PREFIX}-two/1"), ..hook("z", "1") };
        assert_eq!(decided(&[], &[alike], 10).remove, []);
    }

    #[test]
    fn of_doubles_the_one_that_was_heard_last_stays() {
        let mut heard = known(1, Some("a"), HookState::Live);
        heard.row.heard_at = Some(at(5));
        let decision = decided(&[heard, known(2, Some("b"), HookState::Live)], &[hook("a", "1"), hook("b", "2")], 10);
        assert_eq!(decision.keep, Some((1, "a".to_owned())));
        assert_eq!((decision.retire, decision.remove), (vec![2], vec![("b".to_owned(), "it is doubled")]));
        assert_eq!(decision.make, None);
    }

    #[test]
    fn what_does_not_do_is_replaced_before_it_is_removed() {
        type Spoil = fn(&mut Known, &mut Hook);
        let cases: [(&str, Spoil, i64); 4] = [
            ("its secret cannot be opened", |known, _| known.usable = false, 10),
            ("it is dead", |_, hook| hook.active = false, 10),
            ("it sends to another address", |_, hook| hook.target = "https://old.example/x".to_owned(), 10),
            ("its signs of life do not arrive", |_, _| (), 10 * 3_600),
        ];
        for (why, spoil, now) in cases {
            let (mut one, mut other) = (known(1, Some("a"), HookState::Live), hook("a", "1"));
            spoil(&mut one, &mut other);
            let decision = decided(&[one], &[other], now);
            assert_eq!((decision.make, decision.keep.is_none()), (Some(why), true));
            assert_eq!((decision.retire, decision.remove), (vec![1], vec![("a".to_owned(), why)]), "{why}");
        }
        let decision = decided(&[known(1, Some("a"), HookState::Live)], &[], 10);
        assert_eq!((decision.make, decision.forget), (Some("the service removed it"), vec![1]));
    }

    #[test]
    fn a_creation_that_was_broken_off_is_adopted_where_it_stands_and_made_again_where_it_does_not() {
        let pending = || known(1, None, HookState::Pending);
        let adopted = decided(&[pending()], &[hook("a", "1")], 10);
        assert_eq!((adopted.adopt, adopted.make), (Some((1, "a".to_owned())), None));
        let failed = decided(&[pending()], &[], 10);
        assert_eq!((failed.forget, failed.make), (vec![1], Some("there is none")));
        // Its handshake did not arrive: nobody knows its secret.
        let silent = Known { usable: false, ..pending() };
        let anew = decided(&[silent], &[hook("a", "1")], 10);
        assert_eq!((anew.adopt, anew.make, anew.retire), (None, Some("its secret cannot be opened"), vec![1]));
        // Where the configuration has the secret, the address has no token to know it by: it is given the secret.
        let target = "https://sync.example/webhooks/github";
        let made = Hook { target: target.to_owned(), ..hook("c", "") };
        let decision = decide(Side::Forge, &[pending()], &[made], target, true, |_| None, at(10));
        assert_eq!((decision.resign, decision.forget, decision.make), (Some("c".to_owned()), vec![1], None));
    }

    #[test]
    fn after_a_lost_database_unknown_hooks_of_ours_go() {
        let decision = decided(&[], &[hook("a", "9"), hook("b", "8")], 10);
        assert_eq!(decision.remove.len(), 2);
        assert_eq!(decision.make, Some("there is none"));
        let target = "https://sync.example/webhooks/github";
        let unknown = Hook { target: target.to_owned(), ..hook("c", "") };
        let decision = decide(Side::Forge, &[], std::slice::from_ref(&unknown), target, true, |_| None, at(10));
        assert_eq!((decision.resign, decision.make, decision.remove), (Some("c".to_owned()), None, vec![]));
        let decision = decide(Side::Forge, &[], &[unknown], target, false, |_| None, at(10));
        assert_eq!((decision.make, decision.remove.len()), (Some("there is none"), 1));
    }

    #[test]
    fn a_leaving_hook_is_removed_at_once_and_forgotten_later() {
        let mut leaving = known(1, Some("a"), HookState::Leaving);
        leaving.row.checked_at = Some(at(0));
        let live = known(2, Some("b"), HookState::Live);
        let now = decided(&[leaving.clone(), live.clone()], &[hook("a", "1"), hook("b", "2")], 10);
        assert_eq!((now.remove.len(), now.forget.len(), now.keep.is_some()), (1, 0, true));
        let later = decided(&[leaving, live], &[hook("b", "2")], 3_700);
        assert_eq!((later.forget, later.keep), (vec![1], Some((2, "b".to_owned()))));
    }

    #[test]
    fn what_is_switched_off_or_sends_something_else_on_github_is_put_right() {
        let target = "https://sync.example/webhooks/github";
        let one = Hook { target: target.to_owned(), active: false, signed: false, ..hook("a", "") };
        let decision =
            decide(Side::Forge, &[known(1, Some("a"), HookState::Live)], &[one], target, true, |_| None, at(10));
        assert_eq!(decision.set_wanted, Some("a".to_owned()));
        assert_eq!((decision.resign, decision.keep), (Some("a".to_owned()), Some((1, "a".to_owned()))));
    }
}
