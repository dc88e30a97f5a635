//! Reads what both sides hold, past every fault, limit and replica.

use super::Sandbox;
use super::asana::TaskView;
use super::github::IssueView;
use crate::model::{IssueNumber, ProjectGid, RepoName, TaskGid};

/// Reads what both sides hold.
#[derive(Debug, Clone)]
pub struct World(pub(super) Sandbox);

impl World {
    /// A task, in the trash or not.
    pub fn task(&self, gid: &TaskGid) -> Option<TaskView> {
        self.0.state().asana.view(gid)
    }

    /// The living tasks of a project, section by section. Makes every computed one: not for large populations.
    pub fn tasks(&self, project: &ProjectGid) -> Vec<TaskView> {
        self.0.state().asana.view_project(project)
    }

    /// An issue or pull request, gone or not.
    pub fn issue(&self, repo: &RepoName, number: IssueNumber) -> Option<IssueView> {
        self.0.state().github.view(repo, number)
    }

    /// The living issues and pull requests of a repository by number; its former name will do. Makes every
    /// computed one: not for large populations.
    pub fn issues(&self, repo: &RepoName) -> Vec<IssueView> {
        self.0.state().github.view_repo(repo)
    }
}
