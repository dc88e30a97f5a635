//! How the hooks stand, from the database alone; asks nobody.

use serde::Serialize;

use super::Subject;
use super::decide::SILENCE_MAX;
use super::list::FAILED;
use crate::clock::{Timestamp, earlier};
use crate::model::Side;
use crate::store::{HookRow, HookState};

/// How the hook of one project or repository stands, as far as the database knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// Which side.
    #[serde(skip)]
    pub side: Side,
    /// The project's gid, or the repository in lower case.
    pub resource: String,
    /// The service's id of it.
    pub id: Option<String>,
    /// `live`, `pending`, or `none`.
    pub state: &'static str,
    /// When a verified delivery of it last came.
    pub heard_at: Option<Timestamp>,
    /// When the service was last asked about it and all was done that was to be done.
    pub checked_at: Option<Timestamp>,
    /// What is wrong, if something is.
    pub trouble: Option<String>,
}

/// How the hook of each subject stands. Where hooks are not `wanted` (there is no public address), one that is not
/// there is not told.
pub fn standing(subjects: &[Subject], rows: &[HookRow], wanted: bool, now: Timestamp) -> Vec<Standing> {
    let of = |subject: &Subject| {
        let own = || rows.iter().filter(|row| row.side == subject.side && row.resource == subject.resource);
        // Those that leave are of no concern any more.
        let row = own().rfind(|row| row.state == HookState::Live);
        let row = row.or_else(|| own().rfind(|row| row.state == HookState::Pending));
        let Some(row) = row else {
            return wanted.then(|| Standing {
                side: subject.side,
                resource: subject.resource.clone(),
                id: None,
                state: "none",
                heard_at: None,
                checked_at: None,
                trouble: Some("there is none; `evenkeel webhooks ensure` makes it, or says why it cannot".to_owned()),
            });
        };
        let pending = row.state == HookState::Pending;
        let broken_off = pending && row.pending_until <= now;
        let silent =
            row.side == Side::Tracker && !pending && row.heard_at.unwrap_or(row.made_at) < earlier(now, SILENCE_MAX);
        let heard_since = row.heard_at.is_some_and(|heard| row.checked_at.is_some_and(|checked| heard > checked));
        let silence = match (silent, broken_off) {
            (true, _) => Some("its signs of life do not arrive; `evenkeel webhooks ensure` replaces it".to_owned()),
            (_, true) => Some("its creation had no answer; `evenkeel webhooks ensure` makes up for it".to_owned()),
            _ => None,
        };
        Some(Standing {
            side: subject.side,
            resource: subject.resource.clone(),
            id: row.remote.clone(),
            state: row.state.as_str(),
            heard_at: row.heard_at,
            checked_at: row.checked_at,
            trouble: row.trouble.clone().filter(|said| !(said.starts_with(FAILED) && heard_since)).or(silence),
        })
    };
    subjects.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::samples::{at, row};
    use super::super::subjects;
    use super::*;
    use crate::config::{Config, SourceFile};

    #[test]
    fn each_project_and_repository_stands_by_its_live_hook() {
        let text = "[asana]\ntoken = { env = \"T\" }\n[github]\ntoken = { env = \"T\" }\n\
                    [[route]]\nname = \"app\"\nasana_project = \"77\"\ngithub_repo = \"Acme/App\"\n";
        let read = |_: &Path| Ok(SourceFile { text: zeroize::Zeroizing::new(text.to_owned()), open_to_all: false });
        let config = Config::load(Some(Path::new("c")), &|name| (name == "T").then(|| "token".to_owned()), &read)
            .expect("it is right");
        let subjects = subjects(&config);
        let told = |rows: &[HookRow], wanted, now| -> Vec<(String, &'static str, bool)> {
            let all = standing(&subjects, rows, wanted, at(now));
            all.into_iter().map(|one| (one.resource, one.state, one.trouble.is_some())).collect()
        };
        let is = |resource: &str, state, trouble| (resource.to_owned(), state, trouble);
        assert_eq!(told(&[], false, 0), []);
        assert_eq!(told(&[], true, 0), [is("77", "none", true), is("acme/app", "none", true)]);
        let rows = [
            row(1, Side::Tracker, "77", HookState::Leaving),
            row(2, Side::Tracker, "77", HookState::Live),
            row(3, Side::Tracker, "77", HookState::Pending),
            row(4, Side::Forge, "acme/app", HookState::Pending),
            // Of a repository that is not configured.
            row(5, Side::Forge, "acme/old", HookState::Live),
        ];
        assert_eq!(told(&rows, true, 10), [is("77", "live", false), is("acme/app", "pending", false)]);
        assert_eq!(told(&rows, true, 61), [is("77", "live", false), is("acme/app", "pending", true)]);
        // A failure is over when another delivery got through; what else is wrong is not.
        for (said, heard, over) in [(FAILED, 20, true), (FAILED, 5, false), ("access denied", 20, false)] {
            let mut failing = row(6, Side::Forge, "acme/app", HookState::Live);
            (failing.checked_at, failing.heard_at, failing.trouble) =
                (Some(at(10)), Some(at(heard)), Some(format!("{said}: 502")));
            assert_eq!(told(&[failing], false, 30), [is("acme/app", "live", !over)], "{said} {heard}");
        }
        let later = told(&rows, true, 10 * 3_600);
        assert_eq!(later[0], is("77", "live", true), "nothing was heard of it for longer than Asana keeps silent");
    }
}
