//! Proposes pairs among items that exist on both sides and are not linked, with the evidence.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Item, ItemKey};

/// Two items that look like the same work.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The task.
    pub task: ItemKey,
    /// The issue.
    pub issue: ItemKey,
    /// Their titles.
    pub titles: (String, String),
    /// 0 to 100; 100 is certain.
    pub score: u32,
    /// What speaks for it.
    pub evidence: Vec<String>,
}

/// Below this a likeness is not worth a person's time.
const SCORE_MIN: u32 = 60;

/// Candidates looked at for each task: those that share its rarest words.
const CANDIDATES_MAX: usize = 50;

/// Proposes at most one issue for a task and one task for an issue, the most certain first.
///
/// Evidence: one names the other's address, equal titles, shared words of the titles, equal status.
/// The work is bounded by looking only at issues that share a word of the title.
pub fn propose(tasks: &[Item], issues: &[Item]) -> Vec<Proposal> {
    let mut by_word: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let issue_words: Vec<BTreeSet<String>> = issues.iter().map(|issue| words(&issue.content.title)).collect();
    for (at, words) in issue_words.iter().enumerate() {
        for word in words {
            by_word.entry(word.clone()).or_default().push(at);
        }
    }
    let by_url: BTreeMap<&str, usize> = issues.iter().enumerate().map(|(at, issue)| (issue.url.as_str(), at)).collect();
    let mut found: Vec<Proposal> = Vec::new();
    for task in tasks {
        let own = words(&task.content.title);
        let mut candidates: BTreeSet<usize> = BTreeSet::new();
        for address in addresses(&task.content.body) {
            candidates.extend(by_url.get(address));
        }
        let ItemKey::Task(gid) = &task.key else { continue };
        let mut rarest: Vec<&Vec<usize>> = own.iter().filter_map(|word| by_word.get(word)).collect();
        rarest.sort_by_key(|list| list.len());
        for list in rarest {
            for at in list {
                if candidates.len() >= CANDIDATES_MAX {
                    break;
                }
                candidates.insert(*at);
            }
        }
        for at in candidates {
            let Some((issue, theirs)) = issues.get(at).zip(issue_words.get(at)) else { continue };
            let (score, evidence) = likeness(task, gid.as_str(), &own, issue, theirs);
            if score >= SCORE_MIN {
                found.push(Proposal {
                    task: task.key.clone(),
                    issue: issue.key.clone(),
                    titles: (task.content.title.clone(), issue.content.title.clone()),
                    score,
                    evidence,
                });
            }
        }
    }
    found.sort_by(|one, other| {
        other.score.cmp(&one.score).then_with(|| (&one.task, &one.issue).cmp(&(&other.task, &other.issue)))
    });
    let mut used: BTreeSet<ItemKey> = BTreeSet::new();
    found.retain(|proposal| {
        let free = !used.contains(&proposal.task) && !used.contains(&proposal.issue);
        if free {
            used.insert(proposal.task.clone());
            used.insert(proposal.issue.clone());
        }
        free
    });
    found
}

fn likeness(
    task: &Item,
    gid: &str,
    own: &BTreeSet<String>,
    issue: &Item,
    theirs: &BTreeSet<String>,
) -> (u32, Vec<String>) {
    let mut evidence = Vec::new();
    let mut score = 0;
    if task.content.body.contains(&issue.url) {
        score = 95;
        evidence.push("the task names the issue's address".to_owned());
    }
    if issue.content.body.contains("app.asana.com/") && issue.content.body.contains(gid) {
        score = score.max(95);
        evidence.push("the issue names the task's address".to_owned());
    }
    let (one, other) = (task.content.title.to_lowercase(), issue.content.title.to_lowercase());
    if one == other {
        score = score.max(90);
        evidence.push("the titles are equal".to_owned());
    } else {
        let shared = own.intersection(theirs).count();
        let all = own.union(theirs).count().max(1);
        let percent = u32::try_from(shared * 100 / all).unwrap_or(0);
        if percent >= 50 && shared >= 2 {
            score = score.max(percent * 85 / 100);
            evidence.push(format!("{shared} of {all} words of the titles are shared"));
        }
    }
    if score > 0 {
        if !task.content.body.is_empty() && task.content.body == issue.content.body {
            score = (score + 10).min(100);
            evidence.push("the texts are equal".to_owned());
        }
        if task.content.status == issue.content.status {
            evidence.push(format!("both are {}", task.content.status));
        } else {
            score = score.saturating_sub(5);
            evidence.push(format!("the task is {}, the issue {}", task.content.status, issue.content.status));
        }
    }
    (score, evidence)
}

/// Web addresses in a text.
fn addresses(text: &str) -> impl Iterator<Item = &str> {
    text.split(|sign: char| sign.is_whitespace() || "()<>[]\"'".contains(sign))
        .filter(|word| word.starts_with("https://") || word.starts_with("http://"))
}

fn words(title: &str) -> BTreeSet<String> {
    title.split(|sign: char| !sign.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}
