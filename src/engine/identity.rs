//! Which issue it is: a name is only an address, and may lead to another issue after a repository got another's name.

use crate::model::{Link, Native};
use crate::reconcile::Sight;

/// An issue that a link does not know by its id; see [`another_issue`].
const UNKNOWN: i64 = 0;

/// Takes an issue that has the name of a linked one, and is another, for the linked one not seen: a repository was
/// renamed and a new one has its former name, or two have taken over each other's. Neither is it read for the linked
/// one, nor written to.
pub(super) fn another_issue(link: &Link, sight: &mut Sight) {
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
