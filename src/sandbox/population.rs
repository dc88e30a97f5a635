//! A large population that is computed from its index instead of being stored.
//!
//! Item `i` has gid `first_task + i`, number `first_issue + i` and was created and last changed at
//! `since + i` seconds, so that listing by either needs no sorting and no memory.

use std::fmt;
use std::sync::Arc;

use crate::model::TaskGid;

/// The most items in one population; keeps gids and numbers of neighbours apart.
pub(super) const COUNT_MAX: u64 = 10_000_000;

/// One computed item, as it is before anybody touches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Populated {
    /// Its place in the population, from 0.
    pub index: u64,
    /// The task, where the population has tasks.
    pub task: Option<TaskGid>,
    /// The issue's number, where the population has issues.
    pub issue: Option<u64>,
    /// The title of both.
    pub title: String,
    /// The task's rich text, `<body>…</body>`.
    pub html_notes: String,
    /// Whether it is completed and closed.
    pub done: bool,
}

/// Writes the raw body of an issue of a population.
pub type IssueBody = Arc<dyn Fn(&Populated) -> String + Send + Sync>;

/// Items computed from their index: tasks, issues, or pairs of both.
#[derive(Clone)]
pub struct Population {
    pub(super) seed: u64,
    pub(super) count: u64,
    /// Gid of item 0; 0 where there are no tasks.
    pub(super) first_task: u64,
    /// Number of item 0; 0 where there are no issues.
    pub(super) first_issue: u64,
    /// Global id of item 0's issue.
    pub(super) first_id: i64,
    /// When item 0 was created, ms since the epoch.
    pub(super) since: i64,
    pub(super) body: IssueBody,
}

impl fmt::Debug for Population {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} items from task {} and issue {}", self.count, self.first_task, self.first_issue)
    }
}

impl Population {
    /// How many items there are.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Item `index` as it is before anybody touches it.
    pub fn item(&self, index: u64) -> Populated {
        let words = Words::of(self.seed, index);
        Populated {
            index,
            task: (self.first_task > 0).then(|| (self.first_task + index).to_string().parse().ok()).flatten(),
            issue: (self.first_issue > 0).then_some(self.first_issue + index),
            title: words.title(index),
            html_notes: words.html(),
            done: words.done(),
        }
    }

    /// Whether item `index` is completed and closed; cheaper than making the item.
    pub(super) const fn is_done(&self, index: u64) -> bool {
        Words::of(self.seed, index).done()
    }

    /// When item `index` was created and last changed.
    pub(super) const fn at(&self, index: u64) -> i64 {
        self.since.saturating_add_unsigned(index.saturating_mul(1000))
    }

    /// The first index created at or after `at`; `count` when there is none.
    pub(super) fn index_at(&self, at: i64) -> u64 {
        let ahead = u64::try_from(at.saturating_sub(self.since)).unwrap_or_default();
        ahead.div_ceil(1000).min(self.count)
    }

    pub(super) fn index_of_task(&self, gid: u64) -> Option<u64> {
        (self.first_task > 0).then(|| gid.checked_sub(self.first_task)).flatten().filter(|index| *index < self.count)
    }

    pub(super) fn index_of_issue(&self, number: u64) -> Option<u64> {
        (self.first_issue > 0)
            .then(|| number.checked_sub(self.first_issue))
            .flatten()
            .filter(|index| *index < self.count)
    }
}

/// The choices that make one item; a hash of seed and index, so that any item is made without its neighbours.
struct Words(u64);

const VERBS: [&str; 8] = ["Fix", "Rework", "Document", "Speed up", "Simplify", "Test", "Replace", "Review"];
const THINGS: [&str; 16] = [
    "the invoice export",
    "the login page",
    "password recovery",
    "the nightly backup",
    "search results",
    "the billing summary",
    "image uploads",
    "the onboarding tour",
    "email notifications",
    "the audit trail",
    "report scheduling",
    "the mobile menu",
    "team invitations",
    "currency rounding",
    "the import wizard",
    "session handling",
];
const PLACES: [&str; 8] = [
    "for trial accounts",
    "on slow connections",
    "in the admin area",
    "for large teams",
    "after the migration",
    "on older browsers",
    "for guests",
    "in the new layout",
];
const REASONS: [&str; 8] = [
    "Support hears about this every week.",
    "Two customers asked for it during their renewal.",
    "It blocks the next release.",
    "Nobody has looked at it since spring.",
    "The numbers in the dashboard do not add up.",
    "It works on a laptop and fails in production.",
    "The old approach made sense when we were smaller.",
    "A screenshot is in the shared folder.",
];
const STEPS: [&str; 8] = [
    "reproduce it on the staging system",
    "agree on the wording with support",
    "write down what was tried",
    "measure before and after",
    "cover it with a test",
    "tell the customers who asked",
    "remove the workaround",
    "update the handbook",
];

impl Words {
    /// Splitmix64: neighbouring indexes share nothing.
    const fn of(seed: u64, index: u64) -> Self {
        let mut mixed = seed ^ index.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self(mixed ^ (mixed >> 31))
    }

    fn pick<'w>(&self, from: &[&'w str], shift: u32) -> &'w str {
        let len = u64::try_from(from.len()).unwrap_or(1).max(1);
        let at = usize::try_from((self.0 >> shift) % len).unwrap_or_default();
        from.get(at).copied().unwrap_or_default()
    }

    fn title(&self, index: u64) -> String {
        format!("{} {} {} ({index})", self.pick(&VERBS, 0), self.pick(&THINGS, 3), self.pick(&PLACES, 7))
    }

    /// One in four is done.
    const fn done(&self) -> bool {
        (self.0 >> 60).is_multiple_of(4)
    }

    fn html(&self) -> String {
        let mut html = String::with_capacity(320);
        html.push_str("<body>");
        html.push_str(self.pick(&REASONS, 10));
        html.push('\n');
        match (self.0 >> 40) % 4 {
            0 => {
                html.push_str("<ul>");
                for shift in [13, 16, 19] {
                    html.push_str("<li>");
                    html.push_str(self.pick(&STEPS, shift));
                    html.push_str("</li>");
                }
                html.push_str("</ul>");
            }
            1 => {
                html.push_str("<strong>");
                html.push_str(self.pick(&REASONS, 22));
                html.push_str("</strong>");
            }
            _ => {
                html.push_str(self.pick(&REASONS, 25));
                html.push('\n');
                html.push_str(self.pick(&REASONS, 28));
            }
        }
        html.push_str("</body>");
        html
    }
}
