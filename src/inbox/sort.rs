//! Which routes a delivery concerns, and what is due there because of it.

use super::pulls;
use crate::config::{Config, Route};
use crate::model::{FieldPolicy, ItemKey, ProjectGid, RepoName, RouteName};
use crate::provider::heard::{Heard, PullRequestAct, Whole};
use crate::store::{HookRow, Store, StoreError, Touches};

/// Finds the routes of what a delivery touches.
pub(super) struct Routes<'a> {
    config: &'a Config,
    from: From<'a>,
}

enum From<'a> {
    /// A hook on one project, which alone says where its tasks are.
    Asana(Option<ProjectGid>),
    /// Every delivery names its repository, perhaps by a name that the configuration does not know yet.
    Github(&'a Store),
}

/// For the deliveries of a hook of Asana.
pub(super) fn of_asana<'a>(config: &'a Config, hook: &HookRow) -> Routes<'a> {
    Routes { config, from: From::Asana(hook.resource.parse().ok()) }
}

/// For what a hook on this project of Asana delivered.
pub(super) fn of_project<'a>(config: &'a Config, project: &ProjectGid) -> Routes<'a> {
    Routes { config, from: From::Asana(Some(project.clone())) }
}

/// For the deliveries of GitHub.
pub(super) const fn of_github<'a>(config: &'a Config, store: &'a Store) -> Routes<'a> {
    Routes { config, from: From::Github(store) }
}

impl Routes<'_> {
    /// What is due because of a delivery.
    pub(super) fn touches(&self, heard: &Heard) -> Result<Touches, StoreError> {
        let mut items = Vec::with_capacity(heard.touched.len());
        for item in &heard.touched {
            items.push((item.clone(), self.of_item(item, heard)?));
        }
        let mut touches = Touches {
            items,
            repository: heard.repository_id.zip(heard.repository.clone()),
            reason: format!("heard of it ({})", heard.event),
            ..Touches::default()
        };
        if let Some(pull) = &heard.pull_request {
            let wants = |route: &&Route| route.rules.comment_on_pull_requests;
            let wanting: Vec<RouteName> =
                self.config.routes.iter().filter(wants).map(|route| route.name.clone()).collect();
            touches.notices = pulls::notices(pull, &wanting);
            // Their closing may come with it, and the notice is given when the issue is visited.
            for issue in &pull.closes {
                let item = ItemKey::Issue(issue.clone());
                let routes = self.of_item(&item, heard)?;
                touches.items.push((item, routes));
            }
            if pull.act == PullRequestAct::Merged {
                touches.reason = pulls::cause(pull);
            }
        }
        Ok(touches)
    }

    /// The routes that are to be looked at as a whole.
    pub(super) fn looks(&self, heard: &Heard) -> Result<Vec<(RouteName, Whole)>, StoreError> {
        let Some(whole) = heard.whole else { return Ok(Vec::new()) };
        let concerned = match &self.from {
            From::Asana(_) => self.of_project(),
            From::Github(_) => self.of_repository(heard, heard.repository.as_ref())?,
        };
        let narrowed = |name: RouteName| {
            let route = self.config.routes.iter().find(|route| route.name == name)?;
            // A label's new name moves nobody who does not keep labels in step.
            let labels = route.rules.policy.labels != FieldPolicy::Off;
            let filters = !route.rules.filter.forge.labels.is_empty();
            let only_labels = heard.event.starts_with("label.");
            (!only_labels || labels || filters).then_some((name, whole))
        };
        Ok(concerned.into_iter().filter_map(narrowed).collect())
    }

    /// The routes on which an item without a link may stand.
    fn of_item(&self, item: &ItemKey, heard: &Heard) -> Result<Vec<RouteName>, StoreError> {
        match (item, &self.from) {
            (ItemKey::Task(_), From::Asana(_)) => Ok(self.of_project()),
            (ItemKey::Issue(issue), From::Github(_)) => self.of_repository(heard, Some(&issue.repo)),
            _ => Ok(Vec::new()),
        }
    }

    fn of_project(&self) -> Vec<RouteName> {
        let From::Asana(Some(project)) = &self.from else { return Vec::new() };
        let routes = self.config.routes.iter().filter(|route| route.project == *project);
        routes.map(|route| route.name.clone()).collect()
    }

    /// By the name it has or had, else by the id that our links know.
    fn of_repository(&self, heard: &Heard, named: Option<&RepoName>) -> Result<Vec<RouteName>, StoreError> {
        let own = named == heard.repository.as_ref();
        let former = heard.renamed_from.as_ref().filter(|_| own);
        let names = |route: &&Route| Some(&route.repo) == named || Some(&route.repo) == former;
        let routes: Vec<RouteName> = self.config.routes.iter().filter(names).map(|route| route.name.clone()).collect();
        let (true, Some(id), From::Github(store)) = (routes.is_empty() && own, heard.repository_id, &self.from) else {
            return Ok(routes);
        };
        let known = store.routes_of_repository(id)?;
        Ok(known.into_iter().filter(|name| self.config.routes.iter().any(|route| route.name == *name)).collect())
    }
}
