//! The demo's story: a project in Asana, a repository on GitHub, and what people did to both since yesterday.

use std::sync::Arc;

use crate::model::{BySide, IssueNumber, ItemKey, ProjectGid, RepoName, TaskGid};
use crate::provider::http::Transport;
use crate::sandbox::{IssueSeed, Permission, Pump, Reason, Sandbox, TaskSeed};

/// What the demo talks about.
pub struct World {
    /// The two services.
    pub sandbox: Sandbox,
    /// The project in Asana.
    pub project: ProjectGid,
    /// The repository on GitHub.
    pub repo: RepoName,
    /// A token for each side.
    pub tokens: BySide<String>,
    /// The tasks that stood in the project from the beginning, by their place in [`PAIRED`].
    tasks: Vec<TaskGid>,
}

/// Tasks that stood in the project yesterday: section, name, notes.
const PAIRED: [(&str, &str, &str); 14] = [
    ("Launch", "Write the privacy page", "<body>Legal needs it <strong>before</strong> the launch.</body>"),
    (
        "Launch",
        "Redirect the old addresses",
        "<body>The list stands in <a href=\"https://example.com/old-addresses\">the sheet</a>.<ul><li>blog</li><li>shop</li><li>help</li></ul></body>",
    ),
    (
        "Launch",
        "Prepare the launch day",
        "<body><h1>Before</h1><ul><li>freeze the content</li><li>lower the DNS TTL</li></ul><h1>After</h1><ul><li>watch the error rate</li></ul></body>",
    ),
    (
        "Shop",
        "Cart forgets its items on reload",
        "<body>Seen with Safari 17; <code>localStorage</code> is empty after a reload.</body>",
    ),
    ("Shop", "Gift cards", "<body>Marketing asks for them every year.</body>"),
    ("Shop", "Checkout button too small", "<body>At least <strong>44 px</strong> high, says the style guide.</body>"),
    (
        "Shop",
        "Show delivery times",
        "<body>Countries first:<ol><li>Germany</li><li>Austria</li><li>Switzerland</li></ol></body>",
    ),
    ("Content", "Old team photos", "<body>They show people who left.</body>"),
    ("Content", "Agree on the price table", "<body>Plan A costs 10 a month.\nPlan B costs 20 a month.</body>"),
    ("Content", "Pick a headline", "<body>Three candidates are in the comments.</body>"),
    ("Content", "Translate the landing page", "<body>French first, then Italian.</body>"),
    ("Platform", "Move images to the CDN", "<body><pre>assets/\n  img/   12 GB\n  video/ 80 GB</pre></body>"),
    ("Platform", "Error page without layout", "<body>Error 500 shows <em>plain</em> text.</body>"),
    ("Platform", "Back up the database nightly", "<body></body>"),
];

/// Tasks that were added today: section, name, notes, whether they came as done.
const ADDED: [(&str, &str, &str, bool); 22] = [
    ("Launch", "Invite the beta customers", "<body>Forty of them; the list is with Ada.</body>", false),
    ("Launch", "Book the photographer", "<body>Done by phone.</body>", true),
    (
        "Launch",
        "Status page",
        "<body><h1>Needs</h1><ul><li>a host of its own</li><li>a login for <strong>support</strong></li></ul></body>",
        false,
    ),
    ("Launch", "Order the banners", "<body></body>", true),
    ("Shop", "Invoice as PDF", "<body>See <a href=\"https://example.com/invoices\">the old layout</a>.</body>", false),
    ("Shop", "Voucher field jumps", "<body>The page moves by <code>8px</code> when it opens.</body>", false),
    ("Shop", "Remember the address", "<body></body>", false),
    ("Shop", "Remove the fax field", "<body></body>", true),
    ("Shop", "Sort by price", "<body>Cheapest first, and say so.</body>", false),
    ("Content", "Glossary", "<body><blockquote>If a customer has to ask, it belongs in.</blockquote></body>", false),
    ("Content", "Proofread the help pages", "<body>All <strong>31</strong> of them.</body>", false),
    ("Content", "Alt texts for images", "<body>See the accessibility report, pages 3 to 5.</body>", false),
    ("Content", "New footer", "<body></body>", false),
    ("Content", "Archive the 2019 campaign", "<body></body>", true),
    (
        "Platform",
        "Upgrade the web server",
        "<body><ol><li>staging</li><li>one node</li><li>the rest</li></ol></body>",
        false,
    ),
    ("Platform", "Rotate the API keys", "<body>Every 90 days; see the runbook.</body>", false),
    (
        "Platform",
        "Slow search with umlauts",
        "<body><code>Größe</code> takes 4 s, <code>Grosse</code> 40 ms.</body>",
        false,
    ),
    ("Platform", "Alert on a full disk", "<body></body>", true),
    ("Platform", "Load test", "<body>2,000 visitors at once, for an hour.</body>", false),
    ("Platform", "Cookie banner blocks the menu", "<body>Only below 360 px.</body>", false),
    ("Platform", "Delete the test accounts", "<body></body>", true),
    ("Platform", "Sign-in with passkeys", "<body>After the launch.</body>", false),
];

impl World {
    /// As it stood yesterday: a project with tasks, a repository with issues of its own.
    pub fn yesterday(sandbox: &Sandbox) -> Self {
        let (asana, github) = (sandbox.asana(), sandbox.github());
        let project = asana.project("Website relaunch");
        let repo = github.repository(&"acme/website".parse().expect("a repository's name"));
        for (title, body) in [
            ("Bump the build image", "Weekly, by the bot."),
            ("Flaky test: checkout_spec", "Fails about once in fifty runs."),
        ] {
            github.issue(
                &repo.name,
                IssueSeed { title: title.to_owned(), body: body.to_owned(), ..IssueSeed::default() },
            );
        }
        github.pull_request(&repo.name, "Use the new image format", "Closes nothing.");
        let mut world = Self {
            sandbox: sandbox.clone(),
            project: project.gid,
            repo: repo.name,
            tokens: BySide { tracker: project.token, forge: repo.token },
            tasks: Vec::new(),
        };
        world.tasks = PAIRED.iter().map(|(section, name, notes)| world.task(section, name, notes, false)).collect();
        world
    }

    fn task(&self, section: &str, name: &str, notes: &str, completed: bool) -> TaskGid {
        self.sandbox.asana().task(
            &self.project,
            TaskSeed {
                name: name.to_owned(),
                html_notes: notes.to_owned(),
                completed,
                section: Some(section.to_owned()),
                ..TaskSeed::default()
            },
        )
    }

    /// Lets both services send their webhooks, to this machine too.
    pub fn send_webhooks(&self, transport: Arc<dyn Transport>) -> std::io::Result<Pump> {
        let (asana, github) = (self.sandbox.asana(), self.sandbox.github());
        asana.habits(|habits| habits.loopback_targets = true);
        github.habits(|habits| habits.loopback_targets = true);
        // Hooks are for who administrates a repository.
        github.permit(&self.repo, &github.bot(), Permission::Admin);
        self.sandbox.webhooks().send_through(transport);
        self.sandbox.webhooks().pump()
    }

    /// The body of an issue as it stands, for somebody to edit.
    fn body(&self, number: IssueNumber) -> String {
        self.sandbox.world().issue(&self.repo, number).expect("the issue was made yesterday").body
    }

    /// What people did since the first pass, on both sides; `issue` answers the partner of a task.
    pub fn today(&self, issue: impl Fn(&TaskGid) -> Option<ItemKey>) {
        let (asana, github) = (self.sandbox.asana(), self.sandbox.github());
        let task = |name: &str| {
            let at = PAIRED.iter().position(|(_, known, _)| *known == name).expect("the story names its own tasks");
            &self.tasks[at]
        };
        let issue = |name: &str| match issue(task(name)) {
            Some(ItemKey::Issue(issue)) => issue.number,
            _ => unreachable!("yesterday's pass gave every open task its issue"),
        };
        // In Asana.
        asana.rename(task("Write the privacy page"), "Write the privacy and cookie page");
        asana.complete(task("Redirect the old addresses"));
        asana.write_notes(
            task("Prepare the launch day"),
            "<body><h1>Before</h1><ul><li>freeze the content</li><li>lower the DNS TTL</li></ul><h1>After</h1>\
             <ul><li>watch the error rate</li><li>thank everybody</li></ul></body>",
        );
        asana.delete(task("Old team photos"));
        // On GitHub.
        let rewrite = |name: &str, from: &str, to: &str| {
            let number = issue(name);
            let body = self.body(number);
            github.web_edit_body(&self.repo, number, &body.replacen(from, to, 1));
        };
        rewrite("Prepare the launch day", "freeze the content", "freeze the content (Thursday)");
        github.close(&self.repo, issue("Cart forgets its items on reload"), Reason::Completed);
        github.close(&self.repo, issue("Gift cards"), Reason::NotPlanned);
        github.retitle(&self.repo, issue("Checkout button too small"), "Checkout button too small on phones");
        rewrite(
            "Show delivery times",
            "Countries first:",
            "| country | days |\n| --- | --- |\n| DE | 2 |\n| AT | 3 |\n\nCountries first:",
        );
        // On both: two people changed the same line, and two renamed the same thing.
        asana.write_notes(
            task("Agree on the price table"),
            "<body>Plan A costs 12 a month.\nPlan B costs 20 a month.</body>",
        );
        rewrite("Agree on the price table", "costs 10", "costs 9");
        asana.rename(task("Pick a headline"), "Pick a headline for the front page");
        github.retitle(&self.repo, issue("Pick a headline"), "Pick a headline for the landing page");
        for (section, name, notes, completed) in ADDED {
            self.task(section, name, notes, completed);
        }
    }
}
