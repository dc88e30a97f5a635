//! What a task is told of a pull request that closes its issue.

use crate::model::RouteName;
use crate::provider::heard::{PullRequestAct, PullRequestHeard};
use crate::store::NewNotice;

/// The notices for the tasks of the issues that a pull request closes; `routes` are those that want them.
pub(super) fn notices(pull: &PullRequestHeard, routes: &[RouteName]) -> Vec<NewNotice> {
    // Reopened is told like opened, under a name of its own; an edit may name an issue for the first time.
    let word = match pull.act {
        PullRequestAct::Opened | PullRequestAct::Edited => "opened",
        PullRequestAct::Reopened => "reopened",
        PullRequestAct::Merged => "merged",
        PullRequestAct::ClosedUnmerged => "closed",
    };
    let notice = |issue: &crate::model::IssueRef| NewNotice {
        key: format!("{word} {}#{}", pull.repo, pull.number),
        issue: issue.clone(),
        text: text(pull, &issue.to_string()),
        cause: cause(pull),
        routes: routes.to_vec(),
    };
    pull.closes.iter().map(notice).collect()
}

/// What the history says: which, what, by whom.
pub(super) fn cause(pull: &PullRequestHeard) -> String {
    let PullRequestHeard { repo, number, by, author, act, .. } = pull;
    match act {
        PullRequestAct::Opened | PullRequestAct::Edited => format!("pull request {repo}#{number} of {author} is open"),
        act => format!("pull request {repo}#{number} of {author} was {act} by {by}"),
    }
}

/// The comment, in canonical Markdown.
fn text(pull: &PullRequestHeard, issue: &str) -> String {
    let PullRequestHeard { repo, number, title, url, author, by, act, .. } = pull;
    let link = format!("[{repo}#{number}]({url})");
    let title = escaped(title);
    let (author, by) = (escaped(author), escaped(by));
    match act {
        PullRequestAct::Opened | PullRequestAct::Edited => {
            format!("{author} opened pull request {link}: {title}. Merging it closes {issue}.")
        }
        PullRequestAct::Reopened => format!("{by} reopened pull request {link}: {title}. Merging it closes {issue}."),
        PullRequestAct::Merged => format!("{by} merged pull request {link}: {title}. It closes {issue}."),
        PullRequestAct::ClosedUnmerged => {
            format!("{by} closed pull request {link} without merging it: {title}. It would have closed {issue}.")
        }
    }
}

/// Somebody's words as plain text in Markdown.
fn escaped(words: &str) -> String {
    words.chars().fold(String::with_capacity(words.len()), |mut text, sign| {
        if "\\`*_{}[]<>()#+-!|~&".contains(sign) {
            text.push('\\');
        }
        text.push(sign);
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pull(act: PullRequestAct) -> PullRequestHeard {
        PullRequestHeard {
            repo: "acme/app".parse().expect("a repository"),
            number: 12,
            title: "Fix [login] *now*".to_owned(),
            url: "https://github.com/acme/app/pull/12".to_owned(),
            author: "mona".to_owned(),
            by: "ann".to_owned(),
            act,
            closes: vec!["acme/app#7".parse().expect("an issue"), "acme/app#8".parse().expect("an issue")],
        }
    }

    #[test]
    fn who_which_and_where_are_said_for_each_issue_and_words_stay_words() {
        let routes = ["app".parse().expect("a route")];
        let told = notices(&pull(PullRequestAct::Merged), &routes);
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].key, "merged acme/app#12");
        assert_eq!(told[1].issue.number, 8);
        assert_eq!(
            told[0].text,
            "ann merged pull request [acme/app#12](https://github.com/acme/app/pull/12): Fix \\[login\\] \\*now\\*. \
             It closes acme/app#7."
        );
        assert_eq!(told[0].cause, "pull request acme/app#12 of mona was merged by ann");
    }

    #[test]
    fn an_edit_that_names_an_issue_is_told_as_an_opening_and_only_once() {
        let key = |act| notices(&pull(act), &[])[0].key.clone();
        assert_eq!(key(PullRequestAct::Opened), key(PullRequestAct::Edited));
        let others = [PullRequestAct::Reopened, PullRequestAct::Merged, PullRequestAct::ClosedUnmerged];
        let keys: std::collections::BTreeSet<String> = others.into_iter().map(key).collect();
        assert_eq!(keys.len(), 3);
        assert!(!keys.contains(&key(PullRequestAct::Opened)));
    }
}
