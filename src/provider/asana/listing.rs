//! Listings of tasks and of comments, page by page, within limits.

use std::collections::HashSet;

use serde_json::Value;

use super::wire::{Named, Page, Read, Story, Task};
use super::{AsanaClient, PAGE};
use crate::model::{Item, TaskGid, Timestamp};
use crate::provider::call::{Ask, encoded, garbled};
use crate::provider::http::Response;
use crate::provider::json::Odd;
use crate::provider::{ProviderError, json};

/// Pages of one listing at most: a million tasks. More is a listing that does not end.
const PAGES_MAX: usize = 10_000;

/// What a listing brought besides its items.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) items: u64,
    /// Asana's time when it began.
    pub(super) began: Option<Timestamp>,
    /// Tasks that could not be understood and are named.
    pub(super) odd: Vec<TaskGid>,
    /// All that could not be understood, named or not.
    pub(super) left_out: usize,
}

impl AsanaClient {
    /// Lists tasks, page by page, into `each`; answers Asana's time when the listing began.
    ///
    /// An offset that expired (400, "Your pagination token has expired") starts the listing over, once: items may then come twice.
    pub(super) fn list(
        &self,
        doing: &str,
        scope: &str,
        each: &mut dyn FnMut(Vec<Item>) -> Result<(), ProviderError>,
    ) -> Result<Listed, ProviderError> {
        match self.list_once(doing, scope, each) {
            Err(ProviderError::Refused { why, .. }) if why.contains("pagination token") => {
                log::debug!("{doing}: the page token expired; starting over");
                self.list_once(doing, scope, each)
            }
            other => other,
        }
    }

    fn list_once(
        &self,
        doing: &str,
        scope: &str,
        each: &mut dyn FnMut(Vec<Item>) -> Result<(), ProviderError>,
    ) -> Result<Listed, ProviderError> {
        let first = self.url(&format!("/tasks?{scope}&limit={PAGE}&opt_fields={}", self.fields));
        let mut listed = Listed::default();
        let mut seen = HashSet::new();
        let mut url = first.clone();
        for _ in 0..PAGES_MAX {
            self.caller.stopped()?;
            let ask = Ask::read(doing, url);
            let response = self.caller.send(&ask)?;
            listed.began.get_or_insert_with(|| self.time_of(&response));
            let (items, next) = self.page(&ask, &response, &mut listed)?;
            listed.items += u64::try_from(items.len()).unwrap_or(u64::MAX);
            each(items)?;
            let Some(offset) = next else { return Ok(listed) };
            url = format!("{first}&offset={}", encoded(&offset));
            if !seen.insert(offset) {
                return Err(garbled(&ask, "its pages run in a circle"));
            }
        }
        Err(garbled(&Ask::read(doing, first), format!("it has more than {PAGES_MAX} pages")))
    }

    /// The items of one page and where the list goes on. Tasks that cannot be understood are left out and named.
    fn page(
        &self,
        ask: &Ask<'_>,
        response: &Response,
        listed: &mut Listed,
    ) -> Result<(Vec<Item>, Option<String>), ProviderError> {
        let (page, mut odd) = match json::decode::<Page<Task>>(&response.body) {
            Ok(page) => (page, Vec::new()),
            // The usual page fits as it is; only an odd one is taken apart entry by entry.
            Err(_) => {
                let page: Page<Value> = self.caller.decode(ask, response)?;
                let (data, odd) = json::decode_each::<Task>(page.data);
                (Page { data, next_page: page.next_page }, odd)
            }
        };
        let all = page.data.len() + odd.len();
        let mut items = Vec::with_capacity(page.data.len());
        for task in page.data {
            let id = Some(task.gid.0.clone());
            match task.read(&self.project, &self.rules) {
                Ok(Read::Item(item)) => items.push(*item),
                Ok(Read::Separator) => {}
                Err(why) => odd.push(Odd { id, why }),
            }
        }
        if let Some(first) = odd.first().filter(|_| odd.len() == all) {
            return Err(garbled(ask, format!("none of its {all} tasks can be read: {}", first.why)));
        }
        listed.left_out += odd.len();
        for odd in odd {
            let name = odd.id.as_deref().filter(|id| id.len() <= 40).unwrap_or("without gid");
            log::warn!("{}: task {name} left out: {}", ask.doing, odd.why);
            listed.odd.extend(odd.id.and_then(|gid| gid.parse().ok()));
        }
        Ok((items, page.next_page.map(|next| next.offset)))
    }

    /// What a listing by time asks for.
    pub(super) fn modified_since(&self, from: Timestamp) -> String {
        format!("project={}&modified_since={}", self.project, encoded(&from.to_string()))
    }

    /// The sections of the project; every task of it is in exactly one.
    pub(super) fn sections(&self) -> Result<Vec<String>, ProviderError> {
        let doing = format!("list the sections of asana project {}", self.project);
        let first = self.url(&format!("/projects/{}/sections?limit={PAGE}&opt_fields=name", self.project));
        let mut sections = Vec::new();
        let mut seen = HashSet::new();
        let mut url = first.clone();
        for _ in 0..PAGES_MAX {
            let ask = Ask::read(doing.as_str(), url);
            let (page, _): (Page<Named>, _) = self.caller.get(&ask)?;
            sections.extend(page.data.into_iter().map(|section| section.gid.0));
            let Some(next) = page.next_page else { return Ok(sections) };
            url = format!("{first}&offset={}", encoded(&next.offset));
            if !seen.insert(next.offset) {
                return Err(garbled(&ask, "its pages run in a circle"));
            }
        }
        Err(garbled(&Ask::read(doing, first), format!("it has more than {PAGES_MAX} pages")))
    }

    /// Every comment and record line of a task, until `found` says yes.
    pub(super) fn any_story(&self, gid: &TaskGid, found: impl Fn(&Story) -> bool) -> Result<bool, ProviderError> {
        let first = self.url(&format!("/tasks/{gid}/stories?limit={PAGE}&opt_fields=text,html_text"));
        let doing = format!("read the comments of asana:{gid}");
        let mut url = first.clone();
        let mut seen = HashSet::new();
        for _ in 0..PAGES_MAX {
            let ask = Ask::read(doing.as_str(), url).about_item();
            let (page, _): (Page<Story>, _) = self.caller.get(&ask)?;
            if page.data.iter().any(&found) {
                return Ok(true);
            }
            let Some(next) = page.next_page else { return Ok(false) };
            url = format!("{first}&offset={}", encoded(&next.offset));
            if !seen.insert(next.offset) {
                return Err(garbled(&ask, "its pages run in a circle"));
            }
        }
        Err(garbled(&Ask::read(doing, first), format!("it has more than {PAGES_MAX} pages")))
    }
}
