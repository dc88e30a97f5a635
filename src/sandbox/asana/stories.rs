//! Requests that write stories: comments, that is (asana-api.md §7).

use serde_json::Value;

use super::tasks::{Data, rich_text, text_or_null};
use super::{AsanaState, Call, Refusal, data, nothing, nothing_found, refuse, rich};
use crate::provider::http::Response;

impl AsanaState {
    pub(super) fn create_story(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let task = self.living_task(gid, call)?;
        let given = call.data()?;
        let html = comment_text(&given)?;
        let pinned = given.get("is_pinned").and_then(Value::as_bool).unwrap_or(false);
        let story = self.comment(call.act, task, html, pinned);
        let mut response = self.show_story(story, 201, call)?;
        response.headers.push(("location".to_owned(), format!("{}/stories/{story}", call.ask.base)));
        Ok(response)
    }

    fn show_story(&self, gid: u64, status: u16, call: &Call<'_>) -> Result<Response, Refusal> {
        match self.stories.get(&gid) {
            Some(story) => Ok(data(status, |out| self.write_story(out, story, call.single(), call.act.who))),
            None => nothing_found("story", gid),
        }
    }

    pub(super) fn update_story(&mut self, gid: &str, call: &mut Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_story(gid)?;
        let given = call.data()?;
        let Some(story) = self.stories.get_mut(&gid) else { return nothing_found("story", gid) };
        if story.subtype != "comment_added" {
            return refuse(400, "text: Only comment stories can be edited");
        }
        if let Some(pinned) = given.get("is_pinned").and_then(Value::as_bool) {
            story.pinned = pinned;
        }
        if given.contains_key("text") || given.contains_key("html_text") {
            if story.author != call.act.who {
                return refuse(403, "You do not have permission to edit this story.");
            }
            let html = comment_text(&given)?;
            self.edit_comment(call.act, gid, html);
        }
        self.show_story(gid, 200, call)
    }

    pub(super) fn delete_story(&mut self, gid: &str, call: &Call<'_>) -> Result<Response, Refusal> {
        let gid = self.living_story(gid)?;
        if self.stories.get(&gid).is_some_and(|story| story.author != call.act.who) {
            return refuse(403, "You do not have permission to delete this story.");
        }
        self.delete_comment(call.act, gid);
        Ok(nothing())
    }
}

fn comment_text(given: &Data) -> Result<String, Refusal> {
    match (given.get("text"), given.get("html_text")) {
        (Some(_), Some(_)) => refuse(400, "You may only provide one of text or html_text!"),
        (Some(plain), None) => Ok(rich::from_plain(text_or_null("text", plain)?)),
        (None, Some(html)) => rich_text("html_text", html),
        (None, None) => refuse(400, "text: Missing input"),
    }
}
