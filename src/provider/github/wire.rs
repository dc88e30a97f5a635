//! The shapes of GitHub's JSON that we read, and how an issue becomes an item. Pure.
//!
//! What is needed is required: a title, a body or labels that are missing are not empty ones, and read so they
//! would be wiped on the other side. Newer fields and those of other editions may be missing (GitHub OpenAPI,
//! schema `issue`).

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use crate::model::{
    Assignees, Content, Facts, IssueRef, Item, ItemKey, Native, People, Place, RepoName, Side, Status, Timestamp,
};
use crate::provider::json::LABELS_MAX;
use crate::text;

/// An issue, or a pull request in an issue's clothes.
#[derive(Debug, Deserialize)]
pub struct Issue {
    pub number: u64,
    pub id: i64,
    #[serde(default)]
    pub node_id: Option<String>,
    pub title: String,
    /// Null when empty.
    #[serde(deserialize_with = "nullable")]
    pub body: Option<String>,
    pub state: State,
    #[serde(default)]
    pub state_reason: Option<String>,
    pub labels: Vec<Label>,
    #[serde(deserialize_with = "nullable")]
    pub assignees: Option<Vec<Account>>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default)]
    pub html_url: Option<String>,
    #[serde(default)]
    pub repository_url: Option<String>,
    /// Present only on pull requests.
    #[serde(default)]
    pull_request: Option<serde::de::IgnoredAny>,
}

/// A field that may be null but not missing, which a plain `Option` would let pass.
fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(field: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(field)
}

/// Open or closed; nothing else is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Open,
    Closed,
}

/// A label as an object, or just its name as in old answers.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Label {
    Whole { name: String },
    Name(String),
}

impl Label {
    fn name(self) -> String {
        match self {
            Self::Whole { name } | Self::Name(name) => name,
        }
    }
}

/// An account by its login.
#[derive(Debug, Deserialize)]
pub struct Account {
    pub login: String,
}

/// A repository.
#[derive(Debug, Deserialize)]
pub struct Repo {
    pub id: i64,
    pub full_name: String,
    #[serde(default)]
    pub has_issues: Option<bool>,
    #[serde(default)]
    pub archived: Option<bool>,
    #[serde(default)]
    pub permissions: Option<Permissions>,
}

/// What the token's account may do in a repository; apps are not shown any.
#[derive(Debug, Deserialize)]
pub struct Permissions {
    #[serde(default)]
    pub push: bool,
    #[serde(default)]
    pub triage: bool,
}

/// A comment on an issue.
#[derive(Debug, Deserialize)]
pub struct Comment {
    #[serde(default)]
    pub body: Option<String>,
}

impl Issue {
    pub const fn is_pull_request(&self) -> bool {
        self.pull_request.is_some()
    }

    /// The repository the issue says it lives in.
    pub fn home(&self) -> Option<RepoName> {
        let url = self.repository_url.as_deref()?;
        let mut parts = url.rsplitn(3, '/');
        let name = parts.next()?;
        format!("{}/{name}", parts.next()?).parse().ok()
    }

    /// The item this issue is, living in `repo`.
    ///
    /// # Errors
    /// The number is 0, or there are more labels than can be: says so.
    pub fn read(self, repo: RepoName, repo_id: i64, people: &People) -> Result<Item, String> {
        if self.number == 0 {
            return Err("its number is 0".to_owned());
        }
        if self.labels.len() > LABELS_MAX {
            return Err(format!("it carries {} labels, more than {LABELS_MAX}", self.labels.len()));
        }
        let split = text::split_forge(self.body.as_deref().unwrap_or_default());
        let status = match (self.state, self.state_reason.as_deref()) {
            (State::Open, _) => Status::Open,
            (State::Closed, Some("not_planned" | "duplicate")) => Status::Dropped,
            (State::Closed, _) => Status::Done,
        };
        let url = self.html_url.unwrap_or_else(|| format!("https://github.com/{repo}/issues/{}", self.number));
        Ok(Item {
            key: ItemKey::Issue(IssueRef { repo, number: self.number }),
            content: Content {
                title: text::canonical_title(&self.title),
                body: split.body,
                status,
                assignees: assignees(self.assignees.unwrap_or_default(), people),
                labels: self.labels.into_iter().map(Label::name).collect::<BTreeSet<_>>(),
                due: None,
            },
            footer: split.footer,
            marker: split.marker,
            created_at: self.created_at,
            updated_at: self.updated_at,
            url,
            place: Place::Here,
            facts: Facts::default(),
            native: Native::Issue { repo_id, id: self.id, node_id: self.node_id.unwrap_or_default() },
        })
    }
}

fn assignees(accounts: Vec<Account>, people: &People) -> Assignees {
    let mut all = Assignees::default();
    for Account { login } in accounts {
        match people.by_account(Side::Forge, &login) {
            Some(person) if !all.known.contains(&person.name) => all.known.push(person.name.clone()),
            Some(_) => {}
            None => all.unknown.push(login),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::model::{BySide, Person};
    use crate::provider::json::decode;

    fn read(value: &Value) -> Result<Item, String> {
        let account = BySide { tracker: Some("77".to_owned()), forge: Some("alice-gh".to_owned()) };
        let people = People::new(vec![Person { name: "alice".to_owned(), account, mention: false }]);
        let issue: Issue = decode(value.to_string().as_bytes())?;
        let home = issue.home().unwrap_or_else(|| "acme/asked".parse().expect("a name"));
        issue.read(home, 1027, &people)
    }

    fn whole() -> Value {
        json!({
            "url": "https://api.github.com/repos/Acme/App/issues/17", "repository_url": "https://api.github.com/repos/Acme/App",
            "number": 17, "id": 5_000_000_017_i64, "node_id": "I_kw17", "title": " Fix login", "body": "It fails\r\n",
            "state": "open", "state_reason": null, "locked": false, "comments": 0,
            "user": {"login": "octo", "id": 1}, "labels": [{"id": 1, "name": "bug", "color": "d73a4a"}, "old"],
            "assignee": {"login": "ALICE-gh"}, "assignees": [{"login": "ALICE-gh"}, {"login": "stranger"}],
            "created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-02T10:00:00Z",
            "html_url": "https://github.com/Acme/App/issues/17", "reactions": {"total_count": 0}, "type": null
        })
    }

    #[test]
    fn a_whole_issue_becomes_an_item() {
        let item = read(&whole()).expect("an issue");
        assert_eq!(item.key.to_string(), "github:Acme/App#17");
        assert_eq!((item.content.title.as_str(), item.content.body.as_str()), ("Fix login", "It fails"));
        assert_eq!(item.content.labels, BTreeSet::from(["bug".to_owned(), "old".to_owned()]));
        assert_eq!(item.content.assignees.known, ["alice"]);
        assert_eq!(item.content.assignees.unknown, ["stranger"]);
        let native = Native::Issue { repo_id: 1027, id: 5_000_000_017, node_id: "I_kw17".to_owned() };
        assert_eq!(item.native, native);
    }

    #[test]
    fn a_status_follows_state_and_reason() {
        let table = [
            ("open", json!(null), Status::Open),
            ("open", json!("reopened"), Status::Open),
            ("closed", json!(null), Status::Done),
            ("closed", json!("completed"), Status::Done),
            ("closed", json!("not_planned"), Status::Dropped),
            ("closed", json!("duplicate"), Status::Dropped),
            ("closed", json!("a reason of the future"), Status::Done),
        ];
        for (state, reason, wanted) in table {
            let mut value = whole();
            value["state"] = json!(state);
            value["state_reason"] = reason.clone();
            assert_eq!(read(&value).expect(state).content.status, wanted, "{state} {reason}");
        }
    }

    #[test]
    fn what_is_not_needed_may_be_missing_or_null() {
        let item = read(&json!({
            "number": 1, "id": 2, "title": "x", "body": null, "state": "closed", "labels": [], "assignees": null,
            "created_at": "2026-11-01T10:00:00Z", "updated_at": "2026-11-01T10:00:00Z"
        }))
        .expect("an issue");
        assert_eq!(item.key.to_string(), "github:acme/asked#1");
        assert_eq!(item.content.body, "");
        assert_eq!(item.url, "https://github.com/acme/asked/issues/1");
    }

    #[test]
    fn what_is_no_issue_is_refused_with_a_reason() {
        let table = [
            ("number", json!(0), "number is 0"),
            ("number", json!(-1), "integer"),
            ("number", json!("17"), "string"),
            ("number", json!(1e30), "floating point"),
            ("id", json!(u64::MAX), "integer"),
            ("state", json!("ajar"), "unknown variant"),
            ("state", json!(null), ""),
            ("labels", json!([[]]), "untagged"),
            ("labels", json!([{"name": null}]), "untagged"),
            ("labels", json!(null), "null"),
            ("labels", json!(vec!["x"; LABELS_MAX + 1]), "more than"),
            ("title", json!(null), "null"),
            ("assignees", json!([{}]), "login"),
            ("created_at", json!("yesterday"), ""),
            ("body", json!({"html": "x"}), "map"),
        ];
        for (field, value, wanted) in table {
            let mut issue = whole();
            issue[field] = value;
            let why = read(&issue).expect_err(field);
            assert!(why.contains(wanted), "{field}: {why}");
        }
    }

    #[test]
    fn what_is_missing_is_not_taken_for_nothing() {
        for name in ["title", "body", "labels", "assignees", "state"] {
            let mut issue = whole();
            issue.as_object_mut().expect("an object").remove(name);
            assert!(read(&issue).expect_err(name).contains(name), "{name}");
        }
    }

    #[test]
    fn a_pull_request_is_known_by_its_key() {
        let mut value = whole();
        assert!(!decode::<Issue>(value.to_string().as_bytes()).expect("an issue").is_pull_request());
        value["pull_request"] = json!({"url": "https://api.github.com/repos/Acme/App/pulls/17"});
        assert!(decode::<Issue>(value.to_string().as_bytes()).expect("an issue").is_pull_request());
    }
}
