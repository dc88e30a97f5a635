//! What holds once nothing goes wrong any more.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::Text;
use evenkeel::config::DatabaseUrl;
use evenkeel::model::{ItemKey, Timestamp};
use evenkeel::store::{Due, Store};
use evenkeel::text::split_forge;

use super::{Outside, said};

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Text)]
    integrity_check: String,
}

impl Outside {
    /// The task that each living issue belongs to, by its marker; fails where two issues name one task.
    pub fn partners(&self) -> BTreeMap<ItemKey, u64> {
        let mut partners = BTreeMap::new();
        for issue in self.sandbox.world().issues(&self.repo.name) {
            if let Some(marker) = split_forge(&issue.body).marker {
                let before = partners.insert(marker.partner.clone(), issue.number);
                assert_eq!(before, None, "{} has two issues\n{}", marker.partner, self.logs());
            }
        }
        partners
    }

    /// Says where a living task has no issue, an issue no task, or the two do not read alike.
    pub fn in_step(&self) -> Result<(), String> {
        let partners = self.partners();
        let tasks = self.sandbox.world().tasks(&self.project.gid);
        let issues = self.sandbox.world().issues(&self.repo.name);
        for task in &tasks {
            let number = partners.get(&ItemKey::Task(task.gid.clone())).copied();
            let issue = number.and_then(|number| issues.iter().find(|issue| issue.number == number));
            if issue.is_none_or(|issue| issue.title != task.name || issue.closed != task.completed) {
                return Err(format!("{task:#?} has {issue:#?}"));
            }
        }
        let alone = issues.iter().find(|issue| !partners.values().any(|number| *number == issue.number));
        match alone {
            Some(issue) => Err(format!("{issue:#?} has no task")),
            None if issues.len() != tasks.len() => Err(format!("{} tasks, {} issues", tasks.len(), issues.len())),
            None => Ok(()),
        }
    }

    /// Whether the service says that nothing is left to do.
    pub fn settled(&self) -> Result<(), String> {
        let status = self.json(&["status"]);
        let route = &status["routes"][0];
        let calm = matches!(route["state"].as_str(), Some("settled" | "waiting"));
        if calm && route["due"] == 0 && route["parked"] == 0 { Ok(()) } else { Err(format!("{route:#}")) }
    }

    /// Waits until both sides are in step and nothing is left to do. The service runs meanwhile.
    pub fn calms_down(&self) {
        // The longest of it is the time for which an announced creation is looked for.
        self.wait_for("calm", || {
            std::thread::sleep(std::time::Duration::from_millis(500));
            self.in_step()?;
            self.settled()
        });
    }

    /// Waits until there is exactly one hook at each service, and it is live. The service runs meanwhile.
    pub fn hooks_stand(&self) {
        self.wait_for("one hook each", || {
            let listed = self.json(&["webhooks", "list"]);
            let hooks = listed["hooks"].as_array().expect("a list");
            let mut live: Vec<&str> = hooks
                .iter()
                .filter(|hook| hook["state"] == "live")
                .filter_map(|hook| hook["provider"].as_str())
                .collect();
            live.sort_unstable();
            if live == ["asana", "github"] && hooks.len() == 2 { Ok(()) } else { Err(format!("{listed:#}")) }
        });
    }

    /// One issue for each task and one task for each issue, as both services show it and as the database knows it;
    /// nothing is planned or written any more; the history and the database are whole. The service is not running.
    pub fn holds(&self) {
        self.in_step().unwrap_or_else(|amiss| panic!("{amiss}\n{}", self.logs()));
        let partners = self.partners();
        let tasks = self.sandbox.world().tasks(&self.project.gid);
        for task in &tasks {
            let told = task.comments.iter().filter(|comment| comment.contains("Linked with GitHub issue")).count();
            assert!(told <= 1, "asana:{} was told {told} times: {:#?}", task.gid, task.comments);
        }
        let listed = self.json(&["links", "list", "--limit", "1000000"]);
        let mut linked = BTreeMap::new();
        for link in listed["links"].as_array().expect("a list").iter().filter(|link| link["status"] == "active") {
            let item = |name: &str| link[name].as_str().expect("a key").parse::<ItemKey>().expect("a key");
            let ItemKey::Issue(issue) = item("issue") else { panic!("{link}") };
            assert_eq!(linked.insert(item("task"), issue.number), None, "{link}");
        }
        assert_eq!(linked, partners);
        self.plans_nothing();
    }

    /// A pass over everything plans nothing and writes nothing; the history and the database are whole. The service is
    /// not running.
    pub fn plans_nothing(&self) {
        let before = self.sandbox.log().counts();
        let again = self.run(&["run", "--once", "--full", "--json"]);
        let report: serde_json::Value = serde_json::from_slice(&again.stdout).expect("a report");
        let pass = &report["passes"][0];
        // A question to a person is left, and is no repair.
        let waiting = self.json(&["links", "list", "--waiting"]);
        let wanted = if waiting["links"] == serde_json::json!([]) { "settled" } else { "drift" };
        assert_eq!(pass["ended"], wanted, "{}\n{:#?}", said(&again), self.dues());
        assert_eq!(pass["plan"]["repairs"].as_array().map(Vec::len), Some(0), "{}", said(&again));
        let after = self.sandbox.log().counts();
        assert_eq!(
            (after.tracker.writes, after.forge.writes),
            (before.tracker.writes, before.forge.writes),
            "a pass over what is in step writes"
        );

        let verified = self.run(&["history", "verify"]);
        assert!(verified.status.success(), "{}", said(&verified));
        self.database_is_sound();
    }

    /// What is due, ripe or not.
    pub fn dues(&self) -> Vec<Due> {
        let store = Store::open_for_reading(&self.database).expect("a database");
        store.due(&"app".parse().expect("a name"), Timestamp::MAX, 1_000).expect("answers")
    }

    /// The file is as SQLite wants it. PostgreSQL looks after its own.
    pub fn database_is_sound(&self) {
        if let DatabaseUrl::Sqlite(path) = &self.database {
            let mut conn = crate::support::connect(path);
            let answers: Vec<Answer> = diesel::sql_query("PRAGMA integrity_check").load(&mut conn).expect("answers");
            let answers: Vec<String> = answers.into_iter().map(|answer| answer.integrity_check).collect();
            assert_eq!(answers, ["ok"]);
        }
    }
}
