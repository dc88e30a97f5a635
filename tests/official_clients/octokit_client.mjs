// Points GitHub's own JavaScript client at a sandbox and asserts what comes back.
//
// Reads GITHUB_BASE_URL, GITHUB_TOKEN and GITHUB_REPO from the environment; the repository holds at least five
// issues.
import assert from "node:assert/strict";
import { Octokit } from "@octokit/rest";

const octokit = new Octokit({
  auth: process.env.GITHUB_TOKEN,
  baseUrl: process.env.GITHUB_BASE_URL,
  log: { debug() {}, info() {}, warn() {}, error() {} },
});
const [owner, repo] = process.env.GITHUB_REPO.split("/");
const here = { owner, repo };

async function refused(status, call) {
  await assert.rejects(call, (error) => {
    assert.equal(error.status, status, error.message);
    return true;
  });
}

// Who and where.
const me = (await octokit.rest.users.getAuthenticated()).data;
assert.ok(me.login && me.id > 0);
const repository = (await octokit.rest.repos.get(here)).data;
assert.equal(repository.full_name, process.env.GITHUB_REPO);
assert.equal(repository.permissions.push, true);

// Paging by cursor: two to a page, all in the end, none twice.
const all = await octokit.paginate(octokit.rest.issues.listForRepo, { ...here, state: "all", per_page: 2 });
assert.ok(all.length >= 5);
assert.equal(new Set(all.map((issue) => issue.number)).size, all.length);

// Create, read, update.
const body = "First line\r\nsecond <!-- hidden -->\n";
const created = (await octokit.rest.issues.create({ ...here, title: "From the client", body, labels: ["bug"] })).data;
assert.equal(created.body, body);
assert.deepEqual(created.labels.map((label) => label.name), ["bug"]);
const issue_number = created.number;
const closed = await octokit.rest.issues.update({ ...here, issue_number, state: "closed", state_reason: "not_planned" });
assert.equal(closed.data.state_reason, "not_planned");
const since = closed.data.updated_at;
const changed = await octokit.rest.issues.listForRepo({ ...here, state: "all", sort: "updated", direction: "asc", since });
assert.ok(changed.data.some((issue) => issue.number === issue_number));
await refused(422, () => octokit.rest.issues.create({ ...here, title: "" }));
await refused(404, () => octokit.rest.issues.get({ ...here, issue_number: 9999 }));

// Comments and labels.
for (const text of ["one", "two", "three"]) {
  await octokit.rest.issues.createComment({ ...here, issue_number, body: text });
}
const comments = await octokit.paginate(octokit.rest.issues.listComments, { ...here, issue_number, per_page: 2 });
assert.deepEqual(comments.map((comment) => comment.body), ["one", "two", "three"]);
await octokit.rest.issues.createLabel({ ...here, name: "client side", color: "112233" });
const labels = await octokit.rest.issues.addLabels({ ...here, issue_number, labels: ["client side"] });
assert.deepEqual(labels.data.map((label) => label.name), ["bug", "client side"]);
assert.equal((await octokit.rest.issues.getLabel({ ...here, name: "client side" })).data.color, "112233");
const left = await octokit.rest.issues.removeLabel({ ...here, issue_number, name: "bug" });
assert.deepEqual(left.data.map((label) => label.name), ["client side"]);
await octokit.rest.issues.checkUserCanBeAssigned({ ...here, assignee: me.login });

// An unchanged page is 304 and free.
const page = await octokit.request("GET /repos/{owner}/{repo}/issues", here);
const used = page.headers["x-ratelimit-used"];
await refused(304, () => octokit.request("GET /repos/{owner}/{repo}/issues", {
  ...here,
  headers: { "if-none-match": page.headers.etag },
}));
const limits = (await octokit.rest.rateLimit.get()).data.resources.core;
assert.equal(String(limits.used), used);

console.log("the @octokit/rest client agrees with the sandbox");
