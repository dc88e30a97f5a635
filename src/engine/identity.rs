//! Whether a read shows the linked item: a name is an address, and may lead to another issue once it is used again.

use super::Engine;
use crate::model::{Link, Native, Timestamp};
use crate::reconcile::Sight;

/// An issue that a link does not know by its id; see `another_issue`.
const UNKNOWN: i64 = 0;

impl Engine {
    /// Takes for not seen what a read of a linked item does not prove: another issue under its name, and that it is gone
    /// while its pair is so new that a copy may not know it.
    pub(super) fn doubt(&self, link: &Link, sight: &mut Sight, now: Timestamp) {
        another_issue(link, sight);
        self.too_new_to_be_gone(link, sight, now);
    }
}

/// Takes an issue that has the name of a linked one, and is another, for the linked one not seen: a repository was
/// renamed and a new one has its former name, or two have taken over each other's. Neither is it read for the linked
/// one, nor written to.
fn another_issue(link: &Link, sight: &mut Sight) {
    let Sight::Shown(item) = &*sight else { return };
    let Native::Issue { id, repo_id, .. } = &item.native else { return };
    if link.issue_id != UNKNOWN && *id != link.issue_id {
        let why = format!(
            "another issue has its name now (id {id} in repository {repo_id}; linked is {} in {}): a repository was \
             renamed and another has its former name; name the right one in the configuration, or let go of the pair \
             (`evenkeel links remove {}`)",
            link.issue_id, link.repo_id, link.task
        );
        *sight = Sight::Unseen(why);
    }
}
