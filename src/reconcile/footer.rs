//! The footer that belongs below an item's body, derived from its content and its partner.

use crate::model::{Content, FieldPolicy, ItemKey, Marker, Policy, Side, TaskGid};
use crate::text;

/// Where a person finds a task: Asana resolves `/0/0/<gid>` whatever project the task is in.
pub fn task_url(task: &TaskGid) -> String {
    format!("https://app.asana.com/0/0/{task}/f")
}

/// The footer an issue must carry for its task: link, due date, whole title when cut, hidden marker.
///
/// `content` is what both agree on, `body` what stands above the footer; `None` where it leaves no room.
pub fn issue_footer(task: &TaskGid, content: &Content, body: &str, policy: &Policy) -> Option<String> {
    let shown = text::view_title(Side::Forge, &content.title);
    let parts = text::Footer {
        partner: "Asana task".to_owned(),
        url: task_url(task),
        due: content.due.filter(|_| policy.due != FieldPolicy::Off),
        full_title: (shown != content.title).then(|| content.title.clone()),
        body_cut: body.ends_with(text::CONTINUES),
    };
    text::footer(Side::Forge, body, &parts, &Marker::naming(ItemKey::Task(task.clone())))
}

/// The footer a task made for an issue carries: the link back and the marker.
pub fn task_footer(issue: &ItemKey, url: &str, body: &str) -> Option<String> {
    let parts = text::Footer {
        partner: issue.to_string().trim_start_matches("github:").to_owned(),
        url: url.to_owned(),
        due: None,
        full_title: None,
        body_cut: false,
    };
    text::footer(Side::Tracker, body, &parts, &Marker::naming(issue.clone()))
}
