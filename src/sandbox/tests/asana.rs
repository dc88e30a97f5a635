//! asana-api.md §11.

use super::*;
use Method::{Delete, Get, Post, Put};

#[test]
fn without_a_good_token_nothing_is_authorized() {
    let scene = Scene::new();
    for token in ["", "wrong"] {
        let got = scene.ask(&scene.request(Side::Tracker, token, Get, "/users/me", ""));
        assert_eq!((got.status, got.message()), (401, "Not Authorized"));
        assert!(got.json["errors"][0]["help"].is_string());
        assert_eq!(got.header("content-type"), "application/json; charset=UTF-8");
    }
    scene.sandbox.asana().revoke(&scene.project.token);
    assert_eq!(scene.asana(Get, "/users/me", "").status, 401);
    scene.sandbox.asana().restore_token(&scene.project.token);
    assert_eq!(scene.asana(Get, "/users/me", "").status, 200);
}

#[test]
fn an_unknown_route_is_refused_before_the_token_is_looked_at() {
    let scene = Scene::new();
    for (method, path) in [(Get, "/nothing"), (Method::Patch, "/tasks/1"), (Delete, "/users/me")] {
        let got = scene.ask(&scene.request(Side::Tracker, "wrong", method, path, ""));
        assert_eq!((got.status, got.message()), (404, "No matching route for request"));
    }
}

#[test]
fn the_body_of_a_write_must_be_wrapped() {
    let scene = Scene::new();
    let got = scene.asana(Post, "/tasks", r#"{"name":"x"}"#);
    assert_eq!(got.status, 400);
    assert!(got.message().starts_with("Unrecognized request field name . The only allowed keys"), "{got:?}");
    let got = scene.asana(Post, "/tasks", "{");
    assert_eq!((got.status, got.message()), (400, "Could not parse request data, invalid JSON"));
}

#[test]
fn creating_updating_and_deleting_answer_as_they_should() {
    let scene = Scene::new();
    let project = &scene.project.gid;
    let got = scene.asana(Post, "/tasks", &format!(r#"{{"data":{{"name":"New","projects":["{project}"]}}}}"#));
    let gid = got.data()["gid"].as_str().expect("a gid").to_owned();
    assert_eq!(got.status, 201);
    assert!(got.header("location").ends_with(&format!("/tasks/{gid}")));
    assert_eq!(got.data()["memberships"][0]["section"]["name"], "Untitled section");
    let got = scene.asana(Put, &format!("/tasks/{gid}"), r#"{"data":{"completed":true}}"#);
    assert_eq!((got.status, &got.data()["name"], &got.data()["completed"]), (200, &"New".into(), &true.into()));
    assert!(got.data()["completed_at"].is_string() && got.data()["completed_by"]["gid"].is_string());
    let got = scene.asana(Put, &format!("/tasks/{gid}"), r#"{"data":{"completed":false,"assignee":null}}"#);
    assert!(got.data()["completed_at"].is_null() && got.data()["completed_by"].is_null());
    let got = scene.asana(Delete, &format!("/tasks/{gid}"), "");
    assert_eq!((got.status, got.json.to_string().as_str()), (200, r#"{"data":{}}"#));
    let got = scene.asana(Get, &format!("/tasks/{gid}"), "");
    assert_eq!((got.status, got.message().to_owned()), (404, format!("task: Unknown object: {gid}")));
}

#[test]
fn lists_are_compact_unless_fields_are_named_and_then_exact() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let project = &scene.project.gid;
    let keys = |got: &Got| {
        let item = got.data().get(0).unwrap_or(got.data()).as_object().expect("an object").clone();
        item.keys().cloned().collect::<Vec<_>>()
    };
    let got = scene.asana(Get, &format!("/tasks?project={project}&limit=10"), "");
    assert_eq!(keys(&got), ["gid", "name", "resource_subtype", "resource_type"]);
    let fields = "opt_fields=name,memberships.section.name,this.tags,nonsense";
    let got = scene.asana(Get, &format!("/tasks?project={project}&limit=10&{fields}"), "");
    assert_eq!(keys(&got), ["gid", "memberships", "name", "tags"]);
    assert_eq!(got.data()[0]["memberships"][0].as_object().map(|one| one.len()), Some(1));
    assert_eq!(got.data()[0]["memberships"][0]["section"]["name"], "Untitled section");
    let got = scene.asana(Get, &format!("/tasks/{gid}"), "");
    assert!(got.data()["notes"].is_string() && got.data()["html_notes"].is_null(), "html_notes is opt-in");
    assert!(got.data()["permalink_url"].as_str().is_some_and(|url| url.starts_with("https://app.asana.com/1/")));
    let got = scene.asana(Get, &format!("/tasks/{gid}?opt_fields=html_notes,num_subtasks"), "");
    assert_eq!(keys(&got), ["gid", "html_notes", "num_subtasks"]);
}

#[test]
fn paging_follows_opaque_offsets_that_expire() {
    let scene = Scene::new();
    let names: Vec<String> = (0..5).map(|number| format!("Task {number}")).collect();
    for name in &names {
        scene.task(name);
    }
    let path = format!("/tasks?project={}", scene.project.gid);
    let got = scene.asana(Get, &path, "");
    assert!(got.json.get("next_page").is_none(), "without limit there is no next_page");
    let mut seen = Vec::new();
    let mut next = format!("{path}&limit=2");
    let mut last = String::new();
    for _ in 0..3 {
        let got = scene.asana(Get, &next, "");
        seen.extend(got.names("name"));
        last.clone_from(&next);
        match got.json["next_page"]["path"].as_str() {
            Some(path) => next = path.to_owned(),
            None => assert!(got.json["next_page"].is_null()),
        }
    }
    assert_eq!(seen, names);
    assert_eq!(scene.asana(Get, &path.replace("tasks?", "tasks?limit=3&offset=abc&"), "").status, 400);
    let foreign = last.replace("limit=2", "limit=3");
    assert_eq!(scene.asana(Get, &foreign, "").message(), "offset: Your pagination token is invalid.");
    scene.wait(16 * 60 * 1000);
    let got = scene.asana(Get, &last, "");
    assert_eq!((got.status, got.message()), (400, "offset: Your pagination token has expired."));
}

#[test]
fn a_page_continues_where_it_was_when_the_list_moved() {
    let scene = Scene::new();
    let gids: Vec<_> = (0..6).map(|number| scene.task(&format!("Task {number}"))).collect();
    let got = scene.asana(Get, &format!("/tasks?project={}&limit=3", scene.project.gid), "");
    scene.sandbox.asana().leave(&gids[0], &scene.project.gid);
    let got = scene.asana(Get, got.json["next_page"]["path"].as_str().expect("a path"), "");
    assert_eq!(got.names("name"), ["Task 3", "Task 4", "Task 5"]);
}

#[test]
fn more_than_a_thousand_without_limit_are_refused() {
    let scene = Scene::new();
    scene.sandbox.asana().populate(&scene.project.gid, 1001);
    let got = scene.asana(Get, &format!("/tasks?project={}", scene.project.gid), "");
    assert_eq!(got.status, 400);
    assert!(got.message().starts_with("The result is too large."));
}

#[test]
fn the_minute_limit_counts_refused_requests_too() {
    let scene = Scene::new();
    scene.sandbox.asana().habits(|habits| habits.per_minute = Some(3));
    let statuses: Vec<u16> = (0..5).map(|_| scene.asana(Get, "/users/me", "").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert!(scene.asana(Get, "/users/me", "").header("retry-after").parse::<u64>().is_ok());
    scene.wait(59_000);
    assert_eq!(scene.asana(Get, "/users/me", "").status, 429, "refused ones kept the window full");
    scene.wait(60_001);
    assert_eq!(scene.asana(Get, "/users/me", "").status, 200);
}

#[test]
fn the_cost_limit_goes_negative_once() {
    let scene = Scene::new();
    scene.sandbox.asana().populate(&scene.project.gid, 200);
    scene.sandbox.asana().habits(|habits| habits.cost_per_minute = Some(5));
    let path = format!("/tasks?project={}&limit=100&opt_fields=name,html_notes", scene.project.gid);
    assert_eq!([scene.asana(Get, &path, "").status, scene.asana(Get, &path, "").status], [200, 429]);
}

#[test]
fn unknown_objects_are_404_in_a_path_and_400_in_a_body() {
    let scene = Scene::new();
    let got = scene.asana(Get, "/tasks/999", "");
    assert_eq!((got.status, got.message()), (404, "task: Unknown object: 999"));
    let got = scene.asana(Get, "/tasks/abc", "");
    assert_eq!((got.status, got.message()), (400, "task: Not a recognized ID: abc"));
    let got = scene.asana(Post, "/tasks", r#"{"data":{"projects":["999"]}}"#);
    assert_eq!((got.status, got.message()), (400, "projects: [0]: Unknown object: 999"));
    let got = scene.asana(Get, "/tasks?project=999", "");
    assert_eq!((got.status, got.message()), (400, "project: Unknown object: 999"));
}

#[test]
fn what_a_task_cannot_be_is_refused_in_the_services_words() {
    let scene = Scene::new();
    let gid = scene.task("One");
    for (method, path, body, message) in [
        (Post, "/tasks".to_owned(), r#"{"name":"x"}"#, "You should specify one of workspace, parent, projects"),
        (Put, format!("/tasks/{gid}"), r#"{"tags":[]}"#, "tags: Cannot write this property"),
        (Put, format!("/tasks/{gid}"), r#"{"projects":[]}"#, "projects: Cannot write this property"),
        (
            Put,
            format!("/tasks/{gid}"),
            r#"{"due_on":"2026-01-01","due_at":"2026-01-01T00:00:00Z"}"#,
            "You may only provide one of due_on or due_at!",
        ),
        (
            Put,
            format!("/tasks/{gid}"),
            r#"{"due_on":"soon"}"#,
            "due_on: Date must be in ISO-8601 (yyyy-mm-dd) format, not: soon",
        ),
        (Put, format!("/tasks/{gid}"), r#"{"assignee":"x@y.z"}"#, "assignee: Not a user in Organization: x@y.z"),
        (Put, format!("/tasks/{gid}"), r#"{"custom_fields":{"1":2}}"#, "Custom field with ID 1 is not on given object"),
        (Put, format!("/tasks/{gid}"), r#"{"custom_fields":[]}"#, "custom_fields: Value is not a JSON object: []"),
        (Post, "/tasks".to_owned(), r#"{"memberships":[{}]}"#, "memberships: [0]: project: Missing required field"),
    ] {
        let got = scene.asana(method, &path, &format!(r#"{{"data":{body}}}"#));
        assert_eq!((got.status, got.message()), (400, message), "{body}");
    }
    let got = scene.asana(Get, "/tasks?limit=5", "");
    assert!(got.message().starts_with("Must specify exactly one of project, tag, section"), "{got:?}");
}

#[test]
fn a_due_time_fills_the_due_day() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let got = scene.asana(Put, &format!("/tasks/{gid}"), r#"{"data":{"due_at":"2026-12-24T18:00:00Z"}}"#);
    assert_eq!(
        (&got.data()["due_on"], &got.data()["due_at"]),
        (&"2026-12-24".into(), &"2026-12-24T18:00:00.000Z".into())
    );
    let got = scene.asana(Put, &format!("/tasks/{gid}"), r#"{"data":{"due_on":null}}"#);
    assert!(got.data()["due_on"].is_null() && got.data()["due_at"].is_null());
}

#[test]
fn approvals_keep_their_status_in_step() {
    let scene = Scene::new();
    let body = format!(r#"{{"data":{{"projects":["{}"],"resource_subtype":"approval"}}}}"#, scene.project.gid);
    let gid = scene.asana(Post, "/tasks", &body).data()["gid"].as_str().expect("a gid").to_owned();
    let set = |body: &str| {
        let got = scene.asana(Put, &format!("/tasks/{gid}"), &format!(r#"{{"data":{body}}}"#));
        (got.data()["completed"].clone(), got.data()["approval_status"].clone())
    };
    assert_eq!(set(r#"{"completed":true}"#), (true.into(), "approved".into()));
    assert_eq!(set(r#"{"approval_status":"pending"}"#), (false.into(), "pending".into()));
    assert_eq!(set(r#"{"approval_status":"rejected"}"#), (true.into(), "rejected".into()));
}

#[test]
fn a_trashed_task_can_be_played_as_forbidden_and_comes_back() {
    let scene = Scene::new();
    let gid = scene.task("One");
    scene.sandbox.asana().delete(&gid);
    assert_eq!(scene.asana(Get, &format!("/tasks/{gid}"), "").status, 404);
    scene.sandbox.asana().habits(|habits| habits.trashed_is_forbidden = true);
    assert_eq!(scene.asana(Get, &format!("/tasks/{gid}"), "").status, 403);
    let list = format!("/tasks?project={}&limit=10", scene.project.gid);
    assert!(scene.asana(Get, &list, "").names("gid").is_empty());
    scene.sandbox.asana().restore(&gid);
    assert_eq!(scene.asana(Get, &list, "").names("gid"), [gid.to_string()]);
}

#[test]
fn a_task_removed_from_its_project_lives_on() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let body = format!(r#"{{"data":{{"project":"{}"}}}}"#, scene.project.gid);
    assert_eq!(scene.asana(Post, &format!("/tasks/{gid}/removeProject"), &body).status, 200);
    let got = scene.asana(Get, &format!("/tasks/{gid}"), "");
    assert_eq!((got.status, got.data()["memberships"].to_string()), (200, "[]".to_owned()));
    assert!(scene.asana(Get, &format!("/projects/{}/tasks", scene.project.gid), "").names("gid").is_empty());
}

#[test]
fn a_section_takes_at_the_top_and_a_project_at_the_end() {
    let scene = Scene::new();
    let gids: Vec<_> = (0..3).map(|number| scene.task(&number.to_string())).collect();
    let section = scene.sandbox.asana().section(&scene.project.gid, "Doing");
    for gid in &gids[..2] {
        scene.asana(Post, &format!("/sections/{section}/addTask"), &format!(r#"{{"data":{{"task":"{gid}"}}}}"#));
    }
    let body = format!(r#"{{"data":{{"project":"{}","section":"{section}"}}}}"#, scene.project.gid);
    assert_eq!(scene.asana(Post, &format!("/tasks/{}/addProject", gids[2]), &body).status, 200);
    assert_eq!(scene.asana(Get, &format!("/sections/{section}/tasks"), "").names("name"), ["1", "0", "2"]);
    let got = scene.asana(Get, &format!("/tasks/{}", gids[0]), "");
    assert_eq!(got.data()["memberships"].as_array().map(Vec::len), Some(1), "one section per project");
}

#[test]
fn a_twenty_first_project_is_refused() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let add = |number: u32| {
        let project = scene.sandbox.asana().project(&format!("P{number}"));
        let body = format!(r#"{{"data":{{"project":"{}"}}}}"#, project.gid);
        scene.asana(Post, &format!("/tasks/{gid}/addProject"), &body).status
    };
    let statuses: Vec<u16> = (0..20).map(add).collect();
    assert_eq!((statuses[18], statuses[19]), (200, 400));
}

#[test]
fn subtasks_are_not_in_the_project_listing() {
    let scene = Scene::new();
    let parent = scene.task("Parent");
    let child = scene.sandbox.asana().subtask(&parent, "Child");
    assert_eq!(scene.asana(Get, &format!("/projects/{}/tasks", scene.project.gid), "").names("name"), ["Parent"]);
    assert_eq!(scene.asana(Get, &format!("/tasks/{parent}/subtasks"), "").names("gid"), [child.to_string()]);
    assert_eq!(scene.asana(Get, &format!("/tasks/{parent}?opt_fields=num_subtasks"), "").data()["num_subtasks"], 1);
}

#[test]
fn since_filters_are_inclusive_and_now_means_incomplete() {
    let scene = Scene::new();
    let old = scene.task("Old");
    scene.wait(5000);
    scene.task("Edge");
    let at = scene.clock.now();
    scene.wait(5000);
    scene.sandbox.asana().complete(&old);
    let list = format!("/tasks?project={}&limit=10", scene.project.gid);
    assert_eq!(scene.asana(Get, &format!("{list}&modified_since={at}"), "").names("name"), ["Old", "Edge"]);
    scene.wait(1);
    assert_eq!(scene.asana(Get, &format!("{list}&completed_since=now"), "").names("name"), ["Edge"]);
    assert!(scene.asana(Get, &format!("{list}&modified_since={}", scene.clock.now()), "").names("name").is_empty());
}

#[test]
fn only_what_should_moves_the_stamp() {
    let scene = Scene::new();
    let asana = scene.sandbox.asana();
    let gid = scene.task("One");
    let story = asana.comment(&gid, "<body>hello</body>");
    let stamp = || scene.sandbox.world().task(&gid).expect("the task").modified_at;
    let moves = |act: &dyn Fn()| {
        let before = stamp();
        scene.wait(10);
        act();
        stamp() != before
    };
    assert!(moves(&|| asana.rename(&gid, "Two")));
    assert!(!moves(&|| asana.rename(&gid, "Two")), "the same value again");
    assert!(moves(&|| drop(asana.comment(&gid, "<body>again</body>"))));
    assert!(!moves(&|| asana.edit_comment(&story, "<body>edited</body>")));
    assert!(moves(&|| asana.delete_comment(&story)));
    assert!(!moves(&|| drop(asana.subtask(&gid, "Child"))));
    assert!(!moves(&|| asana.rename_project(&scene.project.gid, "New name")));
    asana.habits(|habits| {
        habits.section_move_stamps = false;
        habits.tag_stamps = false;
        habits.same_value_stamps = true;
    });
    assert!(!moves(&|| asana.move_to(&gid, &scene.project.gid, "Doing")));
    assert!(!moves(&|| asana.add_tag(&gid, "bug")));
    assert!(moves(&|| asana.rename(&gid, "Two")));
}

#[test]
fn rich_text_is_checked_and_reads_back_expanded() {
    let scene = Scene::new();
    let (gid, other) = (scene.task("One"), scene.task("Other"));
    let put = |html: &str| {
        let body = serde_json::json!({"data": {"html_notes": html}}).to_string();
        scene.asana(Put, &format!("/tasks/{gid}?opt_fields=html_notes,notes"), &body)
    };
    assert!(put("no body").message().contains("html_lacks_body"));
    assert!(put("<body><b>x</body>").message().starts_with("html_notes: "));
    let person = scene.sandbox.asana().person();
    let got = put(&format!(
        "<body>Ask <a data-asana-gid=\"{person}\"/> &amp; see <a href=\"https://app.asana.com/0/0/{other}\">it</a></body>"
    ));
    let html = got.data()["html_notes"].as_str().expect("html");
    assert!(html.contains("data-asana-type=\"user\"") && html.contains(">@Ada Marsh</a>"), "{html}");
    assert!(html.contains(&format!("data-asana-gid=\"{other}\">Other</a>")), "{html}");
    assert_eq!(got.data()["notes"], "Ask @Ada Marsh & see Other");
    scene.sandbox.asana().rename_user(&person, "Ada Byron");
    let got = put(html);
    let again = got.data()["html_notes"].as_str().expect("html");
    assert_eq!(again, html.replace("Ada Marsh", "Ada Byron"), "what was read can be written back");
    scene.sandbox.asana().delete(&other);
    let got = scene.asana(Get, &format!("/tasks/{gid}?opt_fields=html_notes"), "");
    assert!(got.data()["html_notes"].as_str().is_some_and(|html| html.contains(">Private Link</a>")));
}

#[test]
fn external_data_belongs_to_an_app() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let body = r#"{"data":{"external":{"gid":"x/1","data":"y"}}}"#;
    assert!(scene.asana(Put, &format!("/tasks/{gid}"), body).data()["external"].is_null(), "not with a personal token");
    let app = |name: &str| scene.sandbox.asana().app_token(&scene.sandbox.asana().bot(), name);
    let (own, other) = (app("one"), app("two"));
    let ask = |token: &str, method, path: &str, body: &str| {
        scene.ask(&scene.request(Side::Tracker, token, method, path, body))
    };
    assert_eq!(ask(&own, Put, &format!("/tasks/{gid}"), body).data()["external"]["gid"], "x/1");
    assert_eq!(ask(&own, Get, "/tasks/external:x%2F1", "").data()["gid"], gid.as_str());
    assert_eq!(ask(&other, Get, "/tasks/external:x%2F1", "").status, 404);
}

#[test]
fn custom_fields_take_what_fits_their_kind() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let field = scene.sandbox.asana().custom_field(&scene.project.gid, "Priority", FieldKind::Enum, &["Low", "High"]);
    let put = |value: &str| {
        let body = format!(r#"{{"data":{{"custom_fields":{{"{}":{value}}}}}}}"#, field.gid);
        scene.asana(Put, &format!("/tasks/{gid}"), &body)
    };
    assert_eq!(put(&format!("\"{}\"", field.options[1])).data()["custom_fields"][0]["display_value"], "High");
    assert_eq!(put("\"1\"").status, 400);
    assert!(put("null").data()["custom_fields"][0]["enum_value"].is_null());
    scene.sandbox.asana().habits(|habits| habits.paid = false);
    assert_eq!(put("null").status, 402);
}

#[test]
fn tags_may_share_a_name_and_show_only_when_used() {
    let scene = Scene::new();
    let workspace = scene.asana(Get, "/workspaces", "").data()[0]["gid"].as_str().expect("a gid").to_owned();
    let make = || {
        let body = format!(r#"{{"data":{{"name":"bug","workspace":"{workspace}"}}}}"#);
        scene.asana(Post, "/tags", &body).data()["gid"].as_str().expect("a gid").to_owned()
    };
    let (one, two) = (make(), make());
    assert_ne!(one, two);
    let listed = || scene.asana(Get, &format!("/workspaces/{workspace}/tags?limit=10"), "").names("gid");
    assert!(listed().is_empty());
    let gid = scene.task("One");
    let act = |action: &str| {
        scene.asana(Post, &format!("/tasks/{gid}/{action}"), &format!(r#"{{"data":{{"tag":"{one}"}}}}"#)).status
    };
    assert_eq!((act("addTag"), listed()), (200, vec![one.clone()]));
    assert_eq!(scene.asana(Get, &format!("/tags/{one}/tasks?limit=5"), "").names("gid"), [gid.to_string()]);
    let found = scene.asana(Get, &format!("/workspaces/{workspace}/typeahead?resource_type=tag&query=BUG"), "");
    assert_eq!(found.names("gid"), [one.clone(), two], "typeahead sees them all");
    assert_eq!((act("removeTag"), listed()), (200, Vec::new()));
}

#[test]
fn sections_go_only_when_empty_and_never_the_last() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let doing = scene.sandbox.asana().section(&scene.project.gid, "Doing");
    let first = scene.asana(Get, &format!("/projects/{}/sections", scene.project.gid), "").names("gid")[0].clone();
    assert_eq!(scene.asana(Delete, &format!("/sections/{first}"), "").status, 400, "it has a task");
    scene.sandbox.asana().move_to(&gid, &scene.project.gid, "Doing");
    assert_eq!(scene.asana(Delete, &format!("/sections/{first}"), "").status, 200);
    scene.sandbox.asana().delete(&gid);
    assert_eq!(scene.asana(Delete, &format!("/sections/{doing}"), "").status, 400, "it is the last");
}

#[test]
fn search_is_refused() {
    let scene = Scene::new();
    let workspace = scene.asana(Get, "/workspaces", "").names("gid")[0].clone();
    assert_eq!(scene.asana(Get, &format!("/workspaces/{workspace}/tasks/search"), "").status, 402);
}

#[test]
fn comments_belong_to_the_tokens_user() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let path = format!("/tasks/{gid}/stories");
    let got = scene.asana(Post, &path, r#"{"data":{"text":"a < b"}}"#);
    let story = got.data()["gid"].as_str().expect("a gid").to_owned();
    assert_eq!((got.status, &got.data()["text"]), (201, &"a < b".into()));
    assert_eq!(got.data()["created_by"]["gid"], scene.sandbox.asana().bot().as_str());
    assert_eq!(scene.asana(Post, &path, r#"{"data":{"text":"a","html_text":"<body>b</body>"}}"#).status, 400);
    let theirs = scene.sandbox.asana().comment(&gid, "<body>mine</body>");
    assert_eq!(scene.asana(Delete, &format!("/stories/{theirs}"), "").status, 403);
    let before = scene.sandbox.world().task(&gid).expect("the task").modified_at;
    scene.wait(10);
    let got = scene.asana(Put, &format!("/stories/{story}"), r#"{"data":{"text":"c"}}"#);
    assert_eq!((&got.data()["is_edited"], &got.data()["text"]), (&true.into(), &"c".into()));
    assert_eq!(scene.sandbox.world().task(&gid).expect("the task").modified_at, before);
    let got = scene.asana(Get, &format!("{path}?opt_fields=resource_subtype,text&limit=100"), "");
    assert_eq!(got.names("resource_subtype"), ["added_to_project", "comment_added", "comment_added"]);
    assert_eq!(scene.asana(Delete, &format!("/stories/{story}"), "").status, 200);
    assert_eq!(scene.asana(Get, &format!("/stories/{story}"), "").status, 404);
}

/// Everything the feed tells from `sync` on, and the token after it.
fn drained(scene: &Scene, sync: &str) -> (Vec<Value>, String) {
    let (mut events, mut sync) = (Vec::new(), sync.to_owned());
    for _ in 0..100 {
        let got = scene.asana(Get, &format!("/events?resource={}&sync={sync}", scene.project.gid), "");
        assert_eq!(got.status, 200, "{got:?}");
        events.extend(got.data().as_array().expect("a list").iter().cloned());
        sync = got.json["sync"].as_str().expect("a token").to_owned();
        if got.json["has_more"] == false {
            return (events, sync);
        }
    }
    panic!("the feed never ends");
}

fn fresh(scene: &Scene) -> String {
    let got = scene.asana(Get, &format!("/events?resource={}", scene.project.gid), "");
    assert_eq!(got.status, 412);
    assert!(got.message().starts_with("Sync token invalid or too old."));
    got.json["sync"].as_str().expect("a token").to_owned()
}

#[test]
fn the_feed_starts_with_412_at_this_instant() {
    let scene = Scene::new();
    scene.task("Before");
    let sync = fresh(&scene);
    assert!(drained(&scene, &sync).0.is_empty());
    let sync = fresh(&scene);
    let gid = scene.task("After");
    let (events, _) = drained(&scene, &sync);
    let told: Vec<String> = events
        .iter()
        .map(|event| {
            format!("{} {} {}", event["type"], event["action"], event["parent"]["resource_type"]).replace('"', "")
        })
        .collect();
    assert_eq!(told, ["task added project", "task added section", "story added task"]);
    assert_eq!(events[0]["resource"]["gid"], gid.as_str());
    assert_eq!(events[0]["resource"]["name"], "After");
}

#[test]
fn a_sync_token_answers_the_same_twice_and_old_ones_not_at_all() {
    let scene = Scene::new();
    let first = fresh(&scene);
    scene.task("One");
    let ask = |sync: &str| scene.asana(Get, &format!("/events?resource={}&sync={sync}", scene.project.gid), "");
    let one = ask(&first);
    scene.task("Two");
    let again = ask(&first);
    assert_eq!(one.json, again.json);
    let second = one.json["sync"].as_str().expect("a token");
    assert_eq!(ask(second).status, 200);
    assert_eq!(ask(&first).status, 412);
    scene.wait(25 * 3600 * 1000);
    assert_eq!(ask(second).status, 412);
    let sync = fresh(&scene);
    scene.sandbox.asana().forget_sync_tokens();
    let got = ask(&sync);
    assert_eq!(got.status, 412);
    assert!(got.json["sync"].is_string());
    assert_eq!(ask("nonsense").status, 412);
}

#[test]
fn the_feed_tells_a_hundred_at_a_time() {
    let scene = Scene::new();
    let sync = fresh(&scene);
    for number in 0..70 {
        scene.task(&number.to_string());
    }
    let got = scene.asana(Get, &format!("/events?resource={}&sync={sync}", scene.project.gid), "");
    assert_eq!((got.data().as_array().map(Vec::len), &got.json["has_more"]), (Some(100), &true.into()));
    assert_eq!(drained(&scene, &sync).0.len(), 210);
}

#[test]
fn events_wait_are_lost_or_come_twice_as_told() {
    let scene = Scene::new();
    let asana = scene.sandbox.asana();
    asana.habits(|habits| habits.event_delay = Duration::from_secs(60));
    let sync = fresh(&scene);
    scene.task("One");
    let (events, sync) = drained(&scene, &sync);
    assert!(events.is_empty());
    scene.wait(60_000);
    let (events, sync) = drained(&scene, &sync);
    assert_eq!(events.len(), 3);
    asana.habits(|habits| (habits.event_delay, habits.event_loss) = (Duration::ZERO, 1.0));
    scene.task("Two");
    let (events, sync) = drained(&scene, &sync);
    assert!(events.is_empty());
    asana.habits(|habits| (habits.event_loss, habits.event_doubling) = (0.0, 1.0));
    scene.task("Three");
    assert_eq!(drained(&scene, &sync).0.len(), 6);
}

#[test]
fn stories_and_subtasks_bubble_up_and_values_are_never_told() {
    let scene = Scene::new();
    let asana = scene.sandbox.asana();
    let gid = scene.task("One");
    let child = asana.subtask(&gid, "Child");
    let sync = fresh(&scene);
    asana.rename(&child, "Renamed child");
    let (events, sync) = drained(&scene, &sync);
    assert_eq!(events[0]["resource"]["gid"], child.as_str());
    assert_eq!(events[0]["change"], serde_json::json!({"field": "name", "action": "changed"}));
    assert!(events[0]["parent"].is_null());
    let story = asana.comment(&child, "<body>hi</body>");
    let (events, sync) = drained(&scene, &sync);
    assert_eq!(
        (&events[0]["type"], &events[0]["resource"]["resource_subtype"]),
        (&"story".into(), &"comment_added".into())
    );
    asana.edit_comment(&story, "<body>ho</body>");
    let got = scene.asana(
        Get,
        &format!("/events?resource={}&sync={sync}&opt_fields=action,parent,resource.target.gid", scene.project.gid),
        "",
    );
    assert_eq!(got.data()[0]["action"], "changed");
    assert!(got.data()[0]["parent"].is_null());
    assert_eq!(got.data()[0]["resource"]["target"]["gid"], child.as_str());
}

#[test]
fn our_own_writes_removals_and_deletions_are_told() {
    let scene = Scene::new();
    let asana = scene.sandbox.asana();
    let (one, two) = (scene.task("One"), scene.task("Two"));
    let sync = fresh(&scene);
    scene.asana(Put, &format!("/tasks/{one}"), r#"{"data":{"assignee":"me"}}"#);
    let (events, sync) = drained(&scene, &sync);
    assert_eq!(events[0]["user"]["gid"], asana.bot().as_str());
    assert_eq!(events[0]["change"]["new_value"]["resource_type"], "user");
    asana.leave(&one, &scene.project.gid);
    asana.delete(&two);
    asana.restore(&two);
    asana.move_to(&two, &scene.project.gid, "Doing");
    asana.add_tag(&two, "bug");
    let told = |events: Vec<Value>| -> Vec<String> {
        let tasks = events.into_iter().filter(|event| event["type"] == "task");
        tasks.map(|event| event["action"].as_str().expect("a word").to_owned()).collect()
    };
    let (events, _) = drained(&scene, &sync);
    assert!(events.iter().any(|event| event["action"] == "deleted" && event["parent"].is_null()));
    assert_eq!(told(events), ["removed", "deleted", "undeleted", "removed", "added", "changed"]);
}

#[test]
fn a_hidden_project_is_forbidden() {
    let scene = Scene::new();
    let gid = scene.task("One");
    let asana = scene.sandbox.asana();
    asana.hide(&scene.project.gid, &asana.bot(), true);
    let got = scene.asana(Get, &format!("/projects/{}", scene.project.gid), "");
    assert_eq!((got.status, got.message()), (403, "You do not have access to this project."));
    assert_eq!(scene.asana(Get, &format!("/tasks/{gid}"), "").status, 403);
    assert_eq!(scene.asana(Get, &format!("/events?resource={}", scene.project.gid), "").status, 403);
    asana.hide(&scene.project.gid, &asana.bot(), false);
    assert_eq!(scene.asana(Get, &format!("/tasks/{gid}"), "").status, 200);
}

#[test]
fn a_lagging_replica_shows_what_was() {
    let scene = Scene::new();
    let asana = scene.sandbox.asana();
    let old = scene.task("Old");
    scene.wait(60_000);
    asana.habits(|habits| habits.lag = Duration::from_secs(30));
    asana.rename(&old, "New name");
    let new = scene.task("New");
    let list = format!("/tasks?project={}&limit=10", scene.project.gid);
    assert_eq!(scene.asana(Get, &list, "").names("name"), ["Old"]);
    assert_eq!(scene.asana(Get, &format!("/tasks/{new}"), "").status, 404);
    let put = scene.asana(Put, &format!("/tasks/{old}"), r#"{"data":{"completed":true}}"#);
    assert_eq!(put.data()["name"], "New name", "the answer to a write is the truth");
    scene.wait(30_000);
    assert_eq!(scene.asana(Get, &list, "").names("name"), ["New name", "New"]);
}
