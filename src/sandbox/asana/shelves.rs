//! Requests that write what tasks are sorted by: sections and tags (asana-api.md §8).

use serde_json::Value;

use super::acts::Spot;
use super::feed::Thing;
use super::tasks::{Data, in_body, text, text_or_null};
use super::{AsanaState, Call, Refusal, SectionState, TagState, data, nothing, nothing_found, parse_gid, refuse};
use crate::provider::http::Response;

const COLORS: [&str; 18] = [
    "dark-pink",
    "dark-green",
    "dark-blue",
    "dark-red",
    "dark-teal",
    "dark-brown",
    "dark-orange",
    "dark-purple",
    "dark-warm-gray",
    "light-pink",
    "light-green",
    "light-blue",
    "light-red",
    "light-teal",
    "light-brown",
    "light-orange",
    "light-purple",
    "light-warm-gray",
];

impl AsanaState {
    pub(super) fn create_section(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let project = self.readable_project(gid, call.act.who)?;
        let given = call.data()?;
        let name = name_of(&given)?;
        let gid = self.add_section(project, name, call.act.now);
        self.tell(call.act, "added", Thing::Section(gid), Some(Thing::Project(project)), None, vec![project]);
        Ok(data(201, |out| self.write_thing(out, Thing::Section(gid), call.single())))
    }

    pub(super) fn add_section(&mut self, project: u64, name: &str, now: i64) -> u64 {
        let gid = self.gid();
        let section =
            SectionState { gid, name: name.to_owned(), project, created_at: now, order: Vec::new(), deleted: false };
        self.sections.insert(gid, section);
        if let Some(project) = self.projects.get_mut(&project) {
            project.sections.push(gid);
        }
        gid
    }

    pub(super) fn update_section(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.readable_section(gid, call.act.who)?;
        let given = call.data()?;
        let name = name_of(&given)?.to_owned();
        self.rename_section(call.act, gid, name);
        Ok(data(200, |out| self.write_thing(out, Thing::Section(gid), call.single())))
    }

    pub(super) fn rename_section(&mut self, act: super::Act, gid: u64, name: String) {
        let Some(section) = self.sections.get_mut(&gid) else { return };
        section.name = name;
        let project = section.project;
        let change = super::feed::FieldChange { field: "name", action: "changed", value: None };
        self.tell(act, "changed", Thing::Section(gid), None, Some(change), vec![project]);
    }

    pub(super) fn delete_section(&mut self, gid: &str) -> Result<Response, Refusal> {
        let gid = parse_gid("section", gid)?;
        let Some(section) = self.sections.get(&gid).filter(|section| !section.deleted) else {
            return nothing_found("section", gid);
        };
        let project = self.projects.get(&section.project);
        let computed =
            project.is_some_and(|project| project.sections.first() == Some(&gid) && project.population.is_some());
        let living = section.order.iter().any(|gid| self.task(*gid).is_some_and(|task| !task.trashed));
        if living || computed {
            return refuse(400, "section: Cannot delete a section that has tasks in it");
        }
        if project.is_some_and(|project| project.sections.len() <= 1) {
            return refuse(400, "section: Cannot delete the last section of a project");
        }
        let project = section.project;
        if let Some(project) = self.projects.get_mut(&project) {
            project.sections.retain(|known| *known != gid);
        }
        if let Some(section) = self.sections.get_mut(&gid) {
            section.deleted = true;
        }
        Ok(nothing())
    }

    pub(super) fn section_add_task(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let section = self.readable_section(gid, call.act.who)?;
        let given = call.data()?;
        let Some(task) = given.get("task") else { return refuse(400, "task: Missing input") };
        let task = self.known_task("task", task)?;
        let spot = self.spot(&given, Spot::Start)?;
        let project = self.sections.get(&section).map(|section| section.project).unwrap_or_default();
        self.put_in_project(call.act, task, project, section, spot);
        Ok(nothing())
    }

    pub(super) fn create_tag(&mut self, workspace: Option<&str>, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let given = call.data()?;
        match (workspace, given.get("workspace")) {
            (Some(workspace), _) => self.workspace(workspace)?,
            (None, Some(workspace)) => self.workspace(text("workspace", workspace)?).map_err(in_body)?,
            (None, None) => return refuse(400, "workspace: Missing input"),
        };
        let name = name_of(&given)?.to_owned();
        let color = color_of(&given)?;
        let gid = self.add_tag(name, color, call.act.now);
        let mut response = data(201, |out| self.write_thing(out, Thing::Tag(gid), call.single()));
        response.headers.push(("location".to_owned(), format!("{}/tags/{gid}", call.ask.base)));
        Ok(response)
    }

    pub(super) fn add_tag(&mut self, name: String, color: Option<String>, now: i64) -> u64 {
        let gid = self.gid();
        self.tags.insert(gid, TagState { gid, name, color, created_at: now, deleted: false });
        gid
    }

    pub(super) fn update_tag(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_tag(gid)?;
        let given = call.data()?;
        let color = color_of(&given)?;
        if let Some(tag) = self.tags.get_mut(&gid) {
            if given.contains_key("name") {
                tag.name = name_of(&given)?.to_owned();
            }
            if given.contains_key("color") {
                tag.color = color;
            }
        }
        Ok(data(200, |out| self.write_thing(out, Thing::Tag(gid), call.single())))
    }

    pub(super) fn delete_tag(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_tag(gid)?;
        self.remove_tag(gid, call.act.now);
        Ok(nothing())
    }

    pub(super) fn remove_tag(&mut self, gid: u64, now: i64) {
        if let Some(tag) = self.tags.get_mut(&gid) {
            tag.deleted = true;
        }
        let carrying: Vec<u64> =
            self.tasks.iter().filter(|(_, task)| task.get().tags.contains(&gid)).map(|(gid, _)| *gid).collect();
        for task in carrying {
            if let Some(task) = self.touch(task, now) {
                task.tags.retain(|known| *known != gid);
            }
        }
    }
}

fn name_of(given: &Data) -> Result<&str, Refusal> {
    match given.get("name") {
        Some(name) => match text_or_null("name", name)?.trim() {
            "" => refuse(400, "name: Must not be empty"),
            _ => text_or_null("name", name),
        },
        None => refuse(400, "name: Missing input"),
    }
}

fn color_of(given: &Data) -> Result<Option<String>, Refusal> {
    match given.get("color") {
        None | Some(Value::Null) => Ok(None),
        Some(color) => match color.as_str().filter(|color| COLORS.contains(color)) {
            Some(color) => Ok(Some(color.to_owned())),
            None => refuse(400, format!("color: Not a recognized color: {color}")),
        },
    }
}
