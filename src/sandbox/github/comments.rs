//! Requests about comments (github-api.md §10).

use serde_json::{Map, Value, json};

use super::issues::{BODY_CHARS_MAX, Granted, no_content, string};
use super::record::Writer;
use super::{Answer, Call, GithubState, Permission, invalid, last_modified, not_found, refuse};
use crate::sandbox::web::json_response;

impl GithubState {
    pub(super) fn create_comment(&mut self, granted: &Granted, number: &str, call: &Call<'_>) -> Answer {
        let issue = self.now(granted, number, call)?;
        if issue.locked.is_some() && !granted.may_push() {
            return refuse(403, "Unable to create comment because issue is locked.");
        }
        let text = comment_body(&call.body()?)?;
        let Some(id) = self.add_comment(call.act, granted.repo, issue.number, text) else { return not_found() };
        let mut response = self.show_comment(granted, id, 201, call)?;
        let location = format!("{}/repositories/{}/issues/comments/{id}", call.ask.base, granted.repo);
        response.headers.push(("location".to_owned(), location));
        Ok(response)
    }

    fn show_comment(&self, granted: &Granted, id: i64, status: u16, call: &Call<'_>) -> Answer {
        let Some(repo) = self.repos.get(&granted.repo) else { return not_found() };
        let Some(comment) = repo.comments.get(&id) else { return not_found() };
        let mut out = Vec::with_capacity(2048);
        Writer::new(self, repo, call).comment(&mut out, comment);
        let mut response = json_response(status, out);
        response.headers.push(last_modified(comment.updated));
        Ok(response)
    }

    pub(super) fn get_comment(&mut self, granted: &Granted, id: &str, call: &Call<'_>) -> Answer {
        self.show_comment(granted, id.parse().unwrap_or(0), 200, call)
    }

    fn own_comment(&self, granted: &Granted, id: &str, call: &Call<'_>) -> Answer<i64> {
        let id = id.parse().unwrap_or(0);
        let author =
            self.repos.get(&granted.repo).and_then(|repo| repo.comments.get(&id)).map(|comment| comment.author);
        match author {
            None => not_found(),
            Some(author) if author == call.act.who || granted.permission >= Permission::Write => Ok(id),
            Some(_) => refuse(403, "Must have admin rights to Repository."),
        }
    }

    pub(super) fn update_comment(&mut self, granted: &Granted, id: &str, call: &Call<'_>) -> Answer {
        let id = self.own_comment(granted, id, call)?;
        let text = comment_body(&call.body()?)?;
        self.edit_comment(call.act, granted.repo, id, text);
        self.show_comment(granted, id, 200, call)
    }

    pub(super) fn delete_comment(&mut self, granted: &Granted, id: &str, call: &Call<'_>) -> Answer {
        let id = self.own_comment(granted, id, call)?;
        self.remove_comment(call.act, granted.repo, id);
        Ok(no_content())
    }
}

fn comment_body(body: &Map<String, Value>) -> Answer<String> {
    let Some(text) = body.get("body") else { return refuse(422, "Invalid request.\n\n\"body\" wasn't supplied.") };
    let text = string("body", text)?;
    let error = |message: &str| {
        invalid(json!({"resource": "IssueComment", "field": "data", "code": "unprocessable", "message": message}))
    };
    if text.trim().is_empty() {
        return error("Body cannot be blank");
    }
    if text.chars().count() > BODY_CHARS_MAX {
        return error("Body is too long (maximum is 65536 characters)");
    }
    Ok(text.to_owned())
}
