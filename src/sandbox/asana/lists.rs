//! Lists and their pages (asana-api.md §1.5, §3.6), the single objects that are only read, and the feed's endpoint.

use fastrand::Rng;

use super::feed::Thing;
use super::fields::Want;
use super::{AsanaState, Call, Refusal, Task, UNPAGED_MAX, answered, data, nothing_found, parse_gid, refuse, resync};
use crate::provider::http::Response;
use crate::sandbox::fault::Loop;
use crate::sandbox::json::{list, value_into};
use crate::sandbox::web::{Ask, encoded, parse_instant};

/// Gids shift by this in a place's number: section above, slot below.
const SLOT_BITS: u32 = 40;

/// Where a page begins.
#[derive(Debug, Clone, Copy, Default)]
struct Start {
    /// Position of the first item: an index, or section and slot for tasks of a project.
    position: u64,
    /// The item before it, to find the place again in a list that moved.
    after: u64,
}

/// What of a project's or section's tasks is wanted.
#[derive(Debug, Clone, Copy, Default)]
struct Filter {
    modified_since: Option<i64>,
    /// Incomplete, or completed at or after this.
    completed_since: Option<i64>,
}

impl Filter {
    fn of(call: &Call<'_>) -> Result<Self, Refusal> {
        let instant = |name: &str| match call.ask.param(name) {
            None => Ok(None),
            Some("now") if name == "completed_since" => Ok(Some(i64::MAX)),
            Some(text) => match parse_instant(text) {
                Some(at) => Ok(Some(at)),
                None => refuse(400, format!("{name}: Date must be in ISO-8601 format, not: {text}")),
            },
        };
        Ok(Self { modified_since: instant("modified_since")?, completed_since: instant("completed_since")? })
    }

    fn passes(&self, task: &Task) -> bool {
        let modified = self.modified_since.is_none_or(|since| task.modified_at >= since);
        let open = self.completed_since.is_none_or(|since| task.completed.is_none_or(|(at, _)| at >= since));
        modified && open && !task.trashed
    }
}

impl AsanaState {
    /// The page size asked for; `None` when the list shall not be paged.
    fn limit(ask: &Ask<'_>) -> Result<Option<usize>, Refusal> {
        match ask.param("limit") {
            None => Ok(None),
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if (1..=100).contains(&limit) => Ok(Some(limit)),
                _ => refuse(400, format!("limit: Must be between 1 and 100, not: {text}")),
            },
        }
    }

    /// What a page token belongs to: everything of the request but the token itself.
    fn query_print(ask: &Ask<'_>) -> u64 {
        let pairs = ask.query.iter().filter(|(name, _)| name != "offset");
        let words =
            std::iter::once(ask.raw_path).chain(pairs.flat_map(|(name, value)| [name.as_str(), value.as_str()]));
        words
            .flat_map(|word| word.bytes().chain([0]))
            .fold(0xcbf2_9ce4_8422_2325, |print, byte| (print ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn start(&self, call: &Call<'_>) -> Result<Start, Refusal> {
        let Some(token) = call.ask.param("offset") else { return Ok(Start::default()) };
        let word = |at: usize| token.get(at * 16..at * 16 + 16).and_then(|word| u64::from_str_radix(word, 16).ok());
        let (Some(position), Some(after), Some(issued), Some(print)) = (word(0), word(1), word(2), word(3)) else {
            return refuse(400, "offset: Your pagination token is invalid.");
        };
        let issued = (issued ^ self.veil).cast_signed();
        if print ^ self.veil.rotate_left(8) != Self::query_print(call.ask) {
            return refuse(400, "offset: Your pagination token is invalid.");
        }
        let age = call.act.now.saturating_sub(issued);
        if age > i64::try_from(self.habits.offset_lifetime.as_millis()).unwrap_or(i64::MAX) {
            return refuse(400, "offset: Your pagination token has expired.");
        }
        Ok(Start { position: position ^ self.veil.rotate_left(16), after: after ^ self.veil.rotate_left(24) })
    }

    fn offset(&self, call: &Call<'_>, next: Start) -> String {
        // The low bits of a fresh token differ although it leads to the same place, where a test asks for that.
        format!(
            "{:016x}{:016x}{:016x}{:016x}",
            next.position ^ self.veil.rotate_left(16),
            next.after ^ self.veil.rotate_left(24),
            call.act.now.cast_unsigned() ^ self.veil,
            Self::query_print(call.ask) ^ self.veil.rotate_left(8),
        )
    }

    /// One page: `items` are those of the page, `next` where the following one begins.
    fn page(
        &self,
        call: &Call<'_>,
        rng: &mut Rng,
        mut items: Vec<u64>,
        start: Start,
        next: Option<Start>,
        each: impl FnMut(&mut Vec<u8>, u64),
    ) -> Result<Response, Refusal> {
        for _ in 0..call.bend.missing.min(items.len()) {
            items.remove(rng.usize(..items.len()));
        }
        let mut body = Vec::with_capacity(items.len() * 512 + 256);
        body.extend_from_slice(b"{\"data\":");
        list(&mut body, items, each);
        if call.ask.param("limit").is_some() {
            let next = match call.bend.page_loop {
                None => next.map(|next| self.offset(call, next)),
                Some(Loop::Same) => {
                    Some(call.ask.param("offset").map_or_else(|| self.offset(call, start), str::to_owned))
                }
                Some(Loop::Fresh) => Some(format!("{}{:08x}", self.offset(call, start), rng.u32(..))),
            };
            body.extend_from_slice(b",\"next_page\":");
            match next {
                None => body.extend_from_slice(b"null"),
                Some(offset) => {
                    let query = call.ask.query.iter().filter(|(name, _)| name != "offset");
                    let query: Vec<String> =
                        query.map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
                    let path = format!("{}?{}&offset={offset}", call.ask.raw_path, query.join("&"));
                    let uri = format!("{}{path}", call.ask.base);
                    value_into(&mut body, &serde_json::json!({"offset": offset, "path": path, "uri": uri}));
                }
            }
        }
        body.push(b'}');
        Ok(answered(200, body))
    }

    /// A page of a list that is small enough to be held whole.
    fn paged(
        &self,
        call: &Call<'_>,
        rng: &mut Rng,
        all: Vec<u64>,
        each: impl FnMut(&mut Vec<u8>, u64),
    ) -> Result<Response, Refusal> {
        let start = self.start(call)?;
        let Some(limit) = Self::limit(call.ask)? else {
            if all.len() > UNPAGED_MAX {
                return refuse(400, super::TOO_LARGE);
            }
            return self.page(call, rng, all, start, None, each);
        };
        let mut from = usize::try_from(start.position).unwrap_or(usize::MAX).min(all.len());
        if start.after > 0 && from.checked_sub(1).and_then(|before| all.get(before)) != Some(&start.after) {
            from = all.iter().position(|gid| *gid == start.after).map_or(from, |at| at + 1);
        }
        let items: Vec<u64> = all.iter().skip(from).take(limit).copied().collect();
        let until = from + items.len();
        let next = (until < all.len())
            .then(|| Start { position: until as u64, after: items.last().copied().unwrap_or_default() });
        self.page(call, rng, items, start, next, each)
    }

    /// A page of things that all show as themselves.
    fn paged_things(&self, call: &Call<'_>, all: Vec<u64>, thing: fn(u64) -> Thing) -> Result<Response, Refusal> {
        // Only lists of tasks go short; these take no chance.
        let mut rng = Rng::with_seed(0);
        self.paged(call, &mut rng, all, |out, gid| self.write_thing(out, thing(gid), call.each()))
    }

    fn view_at(&self, call: &Call<'_>) -> i64 {
        let lag = self.habits.lag.max(call.bend.lag);
        if lag.is_zero() {
            // The present, even when the clock was set back since the last write.
            return i64::MAX;
        }
        call.act.now.saturating_sub(i64::try_from(lag.as_millis()).unwrap_or(i64::MAX))
    }

    // ---- tasks ----

    pub(super) fn list_tasks(&mut self, call: &Call<'_>, rng: &mut Rng) -> Result<Response, Refusal> {
        let ask = call.ask;
        let given = |name: &str| ask.param(name).filter(|value| !value.is_empty());
        let person = given("assignee").zip(given("workspace"));
        let homes = [given("project"), given("tag"), given("section"), person.map(|(who, _)| who)];
        if homes.iter().flatten().count() != 1 {
            return refuse(
                400,
                "Must specify exactly one of project, tag, section, user task list, or assignee + workspace",
            );
        }
        let gone_is_400 =
            |refusal: Refusal| Refusal { status: if refusal.status == 404 { 400 } else { refusal.status }, ..refusal };
        match homes {
            [Some(project), ..] => self.list_project_tasks(project, call, rng).map_err(gone_is_400),
            [_, Some(tag), ..] => self.list_tag_tasks(tag, call, rng).map_err(gone_is_400),
            [_, _, Some(section), _] => self.list_section_tasks(section, call, rng).map_err(gone_is_400),
            [.., Some(who)] => {
                let who = self.user(who, call.act.who)?;
                self.list_where(call, rng, |task| task.assignee == Some(who))
            }
            [None, None, None, None] => refuse(400, "Must specify exactly one of project, tag, section"),
        }
    }

    pub(super) fn list_project_tasks(
        &mut self,
        gid: &str,
        call: &Call<'_>,
        rng: &mut Rng,
    ) -> Result<Response, Refusal> {
        let project = self.readable_project(gid, call.act.who)?;
        let sections = self.projects.get(&project).map(|project| project.sections.clone()).unwrap_or_default();
        self.list_sections_of(&sections, call, rng)
    }

    pub(super) fn list_section_tasks(
        &mut self,
        gid: &str,
        call: &Call<'_>,
        rng: &mut Rng,
    ) -> Result<Response, Refusal> {
        let section = self.readable_section(gid, call.act.who)?;
        self.list_sections_of(&[section], call, rng)
    }

    /// The tasks of some sections, one after the other: costs a page, whatever the number of tasks.
    fn list_sections_of(&self, sections: &[u64], call: &Call<'_>, rng: &mut Rng) -> Result<Response, Refusal> {
        let (filter, start, limit) = (Filter::of(call)?, self.start(call)?, Self::limit(call.ask)?);
        let at = self.view_at(call);
        let most = limit.unwrap_or(UNPAGED_MAX);
        let mut found: Vec<(u64, u64)> = Vec::new();
        let first = usize::try_from(start.position >> SLOT_BITS).unwrap_or(usize::MAX);
        for (index, section) in sections.iter().enumerate().skip(first) {
            let slot = if index == first { start.position & ((1 << SLOT_BITS) - 1) } else { 0 };
            let after = if index == first { start.after } else { 0 };
            // One more than the page holds tells whether there is a next page.
            self.walk(*section, slot, after, filter.modified_since, &mut |slot, gid| {
                let shown = self.task_seen(gid, at).is_some_and(|task| filter.passes(&task));
                if shown {
                    found.push((((index as u64) << SLOT_BITS) | slot, gid));
                }
                found.len() <= most
            });
            if found.len() > most {
                break;
            }
        }
        if limit.is_none() && found.len() > UNPAGED_MAX {
            return refuse(400, super::TOO_LARGE);
        }
        let next = found.get(most).copied().map(|(position, _)| Start {
            position,
            after: found.get(most.saturating_sub(1)).map(|(_, gid)| *gid).unwrap_or_default(),
        });
        let items = found.iter().take(most).map(|(_, gid)| *gid).collect();
        self.page(call, rng, items, start, next, |out, gid| self.write_task_seen(out, gid, at, call))
    }

    fn write_task_seen(&self, out: &mut Vec<u8>, gid: u64, at: i64, call: &Call<'_>) {
        if let Some(task) = self.task_seen(gid, at) {
            self.write_task(out, &task, call.each(), call.app.as_deref());
        }
    }

    /// Walks a section in order from `slot` on: first the computed tasks still in their place, then the others.
    /// `visit` answers whether it wants more.
    pub(super) fn walk(
        &self,
        section: u64,
        slot: u64,
        after: u64,
        since: Option<i64>,
        visit: &mut dyn FnMut(u64, u64) -> bool,
    ) {
        let Some(state) = self.sections.get(&section) else { return };
        let project = self.projects.get(&state.project).filter(|project| project.sections.first() == Some(&section));
        let mut head = 0;
        if let Some(population) = project.and_then(|project| project.population.as_ref()) {
            head = population.count;
            // Those never touched are in order of time: what is older than `since` need not be looked at, unless stored.
            let fresh = since.map_or(0, |since| population.index_at(since));
            let gid = |index: u64| population.first_task + index;
            let stored = self.tasks.range(gid(slot.min(head))..gid(fresh.max(slot).min(head))).map(|(gid, _)| *gid);
            for gid in stored.chain((fresh.max(slot)..head).map(gid)) {
                let in_slot = self.tasks.get(&gid).is_none_or(|task| task.get().in_slot);
                if in_slot && !visit(gid - population.first_task, gid) {
                    return;
                }
            }
        }
        let mut from = usize::try_from(slot.saturating_sub(head)).unwrap_or(usize::MAX).min(state.order.len());
        if after > 0 && from.checked_sub(1).and_then(|before| state.order.get(before)) != Some(&after) {
            from = state.order.iter().position(|gid| *gid == after).map_or(from, |at| at + 1);
        }
        for (at, gid) in state.order.iter().enumerate().skip(from) {
            if !visit(head + at as u64, *gid) {
                return;
            }
        }
    }

    pub(super) fn list_tag_tasks(&mut self, gid: &str, call: &Call<'_>, rng: &mut Rng) -> Result<Response, Refusal> {
        let tag = self.living_tag(gid)?;
        self.list_where(call, rng, |task| task.tags.contains(&tag))
    }

    /// Stored tasks that fulfil a condition; computed ones carry neither tag nor assignee.
    fn list_where(&self, call: &Call<'_>, rng: &mut Rng, wanted: impl Fn(&Task) -> bool) -> Result<Response, Refusal> {
        let (filter, at) = (Filter::of(call)?, self.view_at(call));
        let seen = self.tasks.iter().filter_map(|(gid, task)| Some((*gid, task.seen(at)?)));
        let who = call.act.who;
        let all = seen.filter(|(_, task)| filter.passes(task) && wanted(task) && !self.is_hidden(task, who));
        let all = all.map(|(gid, _)| gid).collect();
        self.paged(call, rng, all, |out, gid| self.write_task_seen(out, gid, at, call))
    }

    pub(super) fn get_task(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_task(gid, call)?;
        let at = self.view_at(call);
        let Some(task) = self.task_seen(gid, at) else { return nothing_found("task", gid) };
        Ok(data(200, |out| self.write_task(out, &task, call.single(), call.app.as_deref())))
    }

    pub(super) fn list_of_task(
        &mut self,
        gid: &str,
        list: &str,
        call: &Call<'_>,
        rng: &mut Rng,
    ) -> Result<Response, Refusal> {
        let gid = self.living_task(gid, call)?;
        let Some(task) = self.task(gid) else { return nothing_found("task", gid) };
        match list {
            "projects" => {
                let all = task.homes.iter().map(|(project, _)| *project).collect();
                self.paged_things(call, all, Thing::Project)
            }
            "tags" => self.paged_things(call, task.tags.clone(), Thing::Tag),
            "subtasks" => {
                let all = self.living_subtasks(gid).collect();
                self.paged_things(call, all, Thing::Task)
            }
            _ => {
                let all = self.stories_of.get(&gid).cloned().unwrap_or_default();
                self.paged(call, rng, all, |out, gid| {
                    if let Some(story) = self.stories.get(&gid) {
                        self.write_story(out, story, call.each(), call.act.who);
                    }
                })
            }
        }
    }

    // ---- everything else that is read ----

    pub(super) fn get_user(&mut self, who: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        match self.user(who, call.act.who) {
            Ok(gid) => Ok(data(200, |out| self.write_thing(out, Thing::User(gid), call.single()))),
            Err(_) => refuse(404, format!("user: Unknown object: {who}")),
        }
    }

    /// A user by gid, e-mail address or `me`.
    pub(super) fn user(&self, who: &str, me: u64) -> Result<u64, Refusal> {
        let found = match who {
            "me" => Some(me),
            _ if who.contains('@') => {
                self.users.values().find(|user| user.email.eq_ignore_ascii_case(who)).map(|user| user.gid)
            }
            _ => who.parse().ok().filter(|gid| self.users.contains_key(gid)),
        };
        found.ok_or_else(|| Refusal {
            status: 400,
            message: match who.contains('@') {
                true => format!("assignee: Not a user in Organization: {who}"),
                false => format!("assignee: Not a user in Workspace: {who}"),
            },
        })
    }

    pub(super) fn list_users(&mut self, call: &Call<'_>) -> Result<Response, Refusal> {
        let all = self.users.keys().copied().collect();
        self.paged_things(call, all, Thing::User)
    }

    pub(super) fn list_workspace_users(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        self.workspace(gid)?;
        let mut all: Vec<_> = self.users.values().map(|user| (user.name.clone(), user.gid)).collect();
        all.sort();
        self.paged_things(call, all.into_iter().map(|(_, gid)| gid).collect(), Thing::User)
    }

    pub(super) fn workspace(&self, gid: &str) -> Result<u64, Refusal> {
        let gid = parse_gid("workspace", gid)?;
        if gid == self.workspace.0 { Ok(gid) } else { nothing_found("workspace", gid) }
    }

    pub(super) fn list_workspaces(&mut self, call: &Call<'_>) -> Result<Response, Refusal> {
        let mut rng = Rng::with_seed(0);
        self.paged(call, &mut rng, vec![self.workspace.0], |out, _| self.write_workspace(out, call.each()))
    }

    pub(super) fn get_workspace(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        self.workspace(gid)?;
        Ok(data(200, |out| self.write_workspace(out, call.single())))
    }

    pub(super) fn list_projects(&mut self, workspace: Option<&str>, call: &Call<'_>) -> Result<Response, Refusal> {
        if let Some(workspace) = workspace.or_else(|| call.ask.param("workspace")) {
            self.workspace(workspace)?;
        }
        let visible = self.projects.values().filter(|project| !project.hidden_from.contains(&call.act.who));
        let all = visible.map(|project| project.gid).collect();
        self.paged_things(call, all, Thing::Project)
    }

    pub(super) fn get_project(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.readable_project(gid, call.act.who)?;
        Ok(data(200, |out| self.write_thing(out, Thing::Project(gid), call.single())))
    }

    /// A project this user may see.
    pub(super) fn readable_project(&self, gid: &str, who: u64) -> Result<u64, Refusal> {
        let gid = parse_gid("project", gid)?;
        match self.projects.get(&gid) {
            None => nothing_found("project", gid),
            Some(project) if project.hidden_from.contains(&who) => {
                refuse(403, "You do not have access to this project.")
            }
            Some(_) => Ok(gid),
        }
    }

    pub(super) fn readable_section(&self, gid: &str, who: u64) -> Result<u64, Refusal> {
        let gid = parse_gid("section", gid)?;
        match self.sections.get(&gid).filter(|section| !section.deleted) {
            Some(section) => self.readable_project(&section.project.to_string(), who).map(|_| gid),
            None => nothing_found("section", gid),
        }
    }

    pub(super) fn list_sections(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.readable_project(gid, call.act.who)?;
        let all = self.projects.get(&gid).map(|project| project.sections.clone()).unwrap_or_default();
        self.paged_things(call, all, Thing::Section)
    }

    pub(super) fn get_section(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.readable_section(gid, call.act.who)?;
        Ok(data(200, |out| self.write_thing(out, Thing::Section(gid), call.single())))
    }

    pub(super) fn list_field_settings(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.readable_project(gid, call.act.who)?;
        let all = self.projects.get(&gid).map(|project| project.custom_fields.clone()).unwrap_or_default();
        let mut rng = Rng::with_seed(0);
        self.paged(call, &mut rng, all, |out, field| self.write_field_setting(out, gid, field, call.each()))
    }

    pub(super) fn list_workspace_fields(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        self.workspace(gid)?;
        let all = self.custom_fields.keys().copied().collect();
        let mut rng = Rng::with_seed(0);
        self.paged(call, &mut rng, all, |out, field| self.write_field(out, field, call.each()))
    }

    pub(super) fn get_field(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = parse_gid("custom_field", gid)?;
        if !self.custom_fields.contains_key(&gid) {
            return nothing_found("custom_field", gid);
        }
        Ok(data(200, |out| self.write_field(out, gid, call.single())))
    }

    pub(super) fn living_tag(&self, gid: &str) -> Result<u64, Refusal> {
        let gid = parse_gid("tag", gid)?;
        if self.tags.get(&gid).is_some_and(|tag| !tag.deleted) { Ok(gid) } else { nothing_found("tag", gid) }
    }

    /// A listing shows only tags that stand on a task the reader can see.
    pub(super) fn list_tags(&mut self, workspace: Option<&str>, call: &Call<'_>) -> Result<Response, Refusal> {
        if let Some(workspace) = workspace.or_else(|| call.ask.param("workspace")) {
            self.workspace(workspace)?;
        }
        let who = call.act.who;
        let living =
            self.tasks.values().map(|task| task.get()).filter(|task| !task.trashed && !self.is_hidden(task, who));
        let mut all: Vec<u64> = living.flat_map(|task| task.tags.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all.retain(|gid| self.tags.get(gid).is_some_and(|tag| !tag.deleted));
        self.paged_things(call, all, Thing::Tag)
    }

    pub(super) fn get_tag(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_tag(gid)?;
        Ok(data(200, |out| self.write_thing(out, Thing::Tag(gid), call.single())))
    }

    /// One page, no order promised; sees every tag, used or not.
    pub(super) fn typeahead(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        self.workspace(gid)?;
        let query = call.ask.param("query").unwrap_or_default().to_lowercase();
        let count = call.ask.param("count").and_then(|count| count.parse().ok()).unwrap_or(20_usize).clamp(1, 100);
        let fits = |name: &str| name.to_lowercase().contains(&query);
        let found: Vec<Thing> = match call.ask.param("resource_type").or_else(|| call.ask.param("type")) {
            Some("tag") => {
                let tags = self.tags.values().filter(|tag| !tag.deleted && fits(&tag.name));
                tags.map(|tag| Thing::Tag(tag.gid)).collect()
            }
            Some("user") => {
                let users = self.users.values().filter(|user| fits(&user.name) || fits(&user.email));
                users.map(|user| Thing::User(user.gid)).collect()
            }
            Some("project") => {
                let projects = self.projects.values().filter(|project| fits(&project.name));
                projects.map(|project| Thing::Project(project.gid)).collect()
            }
            Some("task") => {
                let tasks = self.tasks.values().map(|task| task.get()).filter(|task| !task.trashed && fits(&task.name));
                tasks.map(|task| Thing::Task(task.gid)).collect()
            }
            Some(other) => return refuse(400, format!("resource_type: Not a recognized type: {other}")),
            None => return refuse(400, "resource_type: Missing input"),
        };
        Ok(data(200, |out| {
            list(out, found.into_iter().take(count), |out, thing| self.write_thing(out, thing, call.each()));
        }))
    }

    /// The paid search: not for reconciling, so only its refusal is played.
    pub(super) fn search(&mut self, gid: &str) -> Result<Response, Refusal> {
        self.workspace(gid)?;
        refuse(402, "Search is only available to premium users.")
    }

    pub(super) fn get_story(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_story(gid)?;
        match self.stories.get(&gid) {
            Some(story) => Ok(data(200, |out| self.write_story(out, story, call.single(), call.act.who))),
            None => nothing_found("story", gid),
        }
    }

    pub(super) fn living_story(&self, gid: &str) -> Result<u64, Refusal> {
        let gid = parse_gid("story", gid)?;
        if self.stories.get(&gid).is_some_and(|story| !story.deleted) { Ok(gid) } else { nothing_found("story", gid) }
    }

    /// `GET /events`: 412 with a fresh token, or what happened since.
    pub(super) fn events(
        &mut self,
        resource: Option<&str>,
        call: &Call<'_>,
        rng: &mut Rng,
    ) -> Result<Response, Refusal> {
        let Some(text) = resource.or_else(|| call.ask.param("resource")) else {
            return refuse(400, "resource: Missing input");
        };
        let gid = parse_gid("resource", text)?;
        if self.projects.contains_key(&gid) {
            self.readable_project(text, call.act.who)?;
        } else if self.task(gid).is_none_or(|task| task.trashed) {
            return refuse(400, format!("resource: Unknown object: {text}"));
        }
        let now = call.act.now;
        let lifetime = i64::try_from(self.habits.sync_lifetime.as_millis()).unwrap_or(i64::MAX);
        if call.bend.events_expired {
            self.feed.forget_tokens();
        }
        // The feed answers references into itself while the records are written from the rest.
        let mut feed = std::mem::take(&mut self.feed);
        let page = call.ask.param("sync").and_then(|sync| feed.poll(gid, sync, now, lifetime, rng));
        let response = match page {
            Some(page) => {
                let mut body = Vec::with_capacity(page.events.len() * 400 + 128);
                body.extend_from_slice(b"{\"data\":");
                let want = if call.fields.is_some() { call.each() } else { Want::Compact };
                list(&mut body, page.events, |out, event| self.write_event(out, event, want));
                body.extend_from_slice(b",\"sync\":");
                value_into(&mut body, &page.sync);
                body.extend_from_slice(b",\"has_more\":");
                value_into(&mut body, &page.has_more);
                body.push(b'}');
                answered(200, body)
            }
            None => resync(&feed.fresh(gid, now, rng)),
        };
        self.feed = feed;
        Ok(response)
    }
}
