//! Tags: names turned into gids, and a task given the tags it shall carry.

use std::collections::BTreeSet;

use serde_json::json;

use super::wire::{Enveloped, Named, Project};
use super::{AsanaClient, PAGE};
use crate::clock::lock;
use crate::model::{Item, Native, TaskGid};
use crate::provider::ProviderError;
use crate::provider::call::{Ask, encoded, garbled};
use crate::provider::http::Method;
use crate::provider::pace::Weight;

/// Tags remembered by name.
const TAGS_MAX: usize = 10_000;

impl AsanaClient {
    /// The gid of the tag of that name, made if there is none.
    ///
    /// Names are compared without case. Typeahead is the only complete look-up (a listing shows
    /// only tags that stand on a visible task).
    pub(super) fn tag(&self, name: &str) -> Result<String, ProviderError> {
        let folded = name.to_lowercase();
        if let Some(gid) = lock(&self.tags).get(&folded) {
            return Ok(gid.clone());
        }
        let workspace = self.workspace()?;
        let ask = Ask::read(
            "look up a tag in asana",
            self.url(&format!(
                "/workspaces/{workspace}/typeahead?resource_type=tag&count={PAGE}&opt_fields=name&query={}",
                encoded(name)
            )),
        );
        let (found, _): (Enveloped<Vec<Named>>, _) = self.caller.get(&ask)?;
        let by = |fits: &dyn Fn(&str) -> bool| {
            found.data.iter().find(|tag| tag.name.as_deref().is_some_and(fits)).map(|tag| tag.gid.0.clone())
        };
        let gid = match by(&|known| known == name).or_else(|| by(&|known| known.to_lowercase() == folded)) {
            Some(gid) => gid,
            None => {
                let body = json!({"data": {"name": name, "workspace": workspace}});
                let ask = Ask::write("make a tag in asana", Method::Post, self.url("/tags?opt_fields=name"), body);
                let (tag, _): (Enveloped<Named>, _) = self.caller.get(&ask)?;
                tag.data.gid.0
            }
        };
        let mut tags = lock(&self.tags);
        if tags.len() >= TAGS_MAX {
            tags.clear();
        }
        tags.insert(folded, gid.clone());
        Ok(gid)
    }

    /// Adds and removes tags until the task carries `wanted`.
    pub(super) fn retag(
        &self,
        gid: &TaskGid,
        current: &Item,
        wanted: &BTreeSet<String>,
    ) -> Result<bool, ProviderError> {
        let Native::Task { tags: carried } = &current.native else { return Ok(false) };
        let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
        let mut moved = false;
        let mut send = |action: &str, tag: String| {
            moved = true;
            let ask = Ask::write(
                format!("change the tags of asana:{gid}"),
                Method::Post,
                self.url(&format!("/tasks/{gid}/{action}")),
                json!({"data": {"tag": tag}}),
            );
            self.caller.send(&ask.about_item().weighing(Weight::Write).editing())
        };
        for name in wanted.iter().filter(|name| !carried.values().any(|known| same(known, name))) {
            send("addTag", self.tag(name)?)?;
        }
        for (tag, _) in carried.iter().filter(|(_, known)| !wanted.iter().any(|name| same(known, name))) {
            send("removeTag", tag.clone())?;
        }
        Ok(moved)
    }

    /// The workspace of the project, asked for once.
    pub(super) fn workspace(&self) -> Result<&str, ProviderError> {
        if let Some(known) = self.workspace.get() {
            return Ok(known);
        }
        let ask = self.project_ask();
        let (project, _): (Enveloped<Project>, _) = self.caller.get(&ask)?;
        let gid = project.data.workspace.ok_or_else(|| garbled(&ask, "the project names no workspace"))?.gid.0;
        Ok(self.workspace.get_or_init(|| gid))
    }
}
