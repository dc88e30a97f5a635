"""Points Asana's own Python client at a sandbox and asserts what comes back.

Reads ASANA_BASE_URL, ASANA_PAT and ASANA_PROJECT_GID from the environment; the project holds at least five tasks.
"""

import json
import os

import asana
from asana.rest import ApiException

configuration = asana.Configuration()
configuration.host = os.environ["ASANA_BASE_URL"]
configuration.access_token = os.environ["ASANA_PAT"]
# A refusal is an answer here, not a reason to try again.
configuration.retry_strategy.total = 0
client = asana.ApiClient(configuration)
project = os.environ["ASANA_PROJECT_GID"]

users = asana.UsersApi(client)
projects = asana.ProjectsApi(client)
sections = asana.SectionsApi(client)
stories = asana.StoriesApi(client)
tags = asana.TagsApi(client)
tasks = asana.TasksApi(client)
typeahead = asana.TypeaheadApi(client)
workspaces = asana.WorkspacesApi(client)


def refused(status, call):
    """Runs a call that must be refused with this status, and answers the refusal's body."""
    try:
        call()
    except ApiException as error:
        assert error.status == status, f"wanted {status}, got {error.status}: {error.body}"
        return json.loads(error.body)
    raise AssertionError(f"wanted {status}, but the call went through")


# Who and where.
me = users.get_user("me", {})
assert me["email"] and me["workspaces"], me
workspace = list(workspaces.get_workspaces({}))[0]["gid"]
assert projects.get_project(project, {"opt_fields": "name,workspace.name"})["workspace"]["name"]
section = list(sections.get_sections_for_project(project, {}))[0]

# Paging: two to a page, all in the end, none twice.
seen = [task["gid"] for task in tasks.get_tasks({"project": project, "limit": 2})]
assert len(seen) == len(set(seen)) >= 5, seen

# Create, read, update.
html = "<body>First <strong>line</strong>\n<ul><li>one</li><li>two</li></ul></body>"
created = tasks.create_task(
    {"data": {"name": "From the client", "html_notes": html, "projects": [project], "assignee": "me"}},
    {"opt_fields": "name,html_notes,notes,completed,assignee.name,memberships.section.name,permalink_url"},
)
gid = created["gid"]
assert created["html_notes"] == html, created
assert created["assignee"]["name"] == me["name"], created
assert created["memberships"][0]["section"]["name"] == section["name"], created
updated = tasks.update_task({"data": {"completed": True, "due_on": "2026-12-24"}}, gid, {})
assert updated["completed"] and str(updated["due_on"]) == "2026-12-24", updated
assert gid in [task["gid"] for task in tasks.get_tasks({"project": project, "modified_since": updated["modified_at"]})]
refused(400, lambda: tasks.update_task({"data": {"html_notes": "no body"}}, gid, {}))
refused(404, lambda: tasks.get_task("999", {}))

# Comments and tags.
story = stories.create_story_for_task({"data": {"html_text": "<body>Hello.</body>"}}, gid, {})
assert story["resource_subtype"] == "comment_added" and story["text"] == "Hello.", story
assert story["gid"] in [story["gid"] for story in stories.get_stories_for_task(gid, {"limit": 1})]
tag = tags.create_tag({"data": {"name": "client", "workspace": workspace}}, {})
tasks.add_tag_for_task({"data": {"tag": tag["gid"]}}, gid)
assert [tag["name"] for tag in tasks.get_task(gid, {"opt_fields": "tags.name"})["tags"]] == ["client"]
found = typeahead.typeahead_for_workspace(workspace, "tag", {"query": "client"})
assert tag["gid"] in [found["gid"] for found in found]

# Events: 412 with a fresh token first, then what happened since.
configuration.return_page_iterator = False
events = asana.EventsApi(asana.ApiClient(configuration))
sync = refused(412, lambda: events.get_events(project, {}))["sync"]
tasks.update_task({"data": {"name": "Renamed by the client"}}, gid, {})
page = events.get_events(project, {"sync": sync, "opt_fields": "action,type,change.field,resource.name,parent"})
assert page["has_more"] is False and page["sync"] != sync, page
changed = [event for event in page["data"] if event["type"] == "task"]
assert changed[0]["change"]["field"] == "name", page
assert changed[0]["resource"]["name"] == "Renamed by the client", page

# Gone.
tasks.delete_task(gid)
refused(404, lambda: tasks.get_task(gid, {}))

print("the asana client agrees with the sandbox")
