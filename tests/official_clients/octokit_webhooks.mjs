// Has GitHub's own JavaScript client look after a webhook at a sandbox, and checks what that sends with GitHub's own
// verifier.
//
// Reads GITHUB_BASE_URL, GITHUB_TOKEN and GITHUB_REPO from the environment. The receiver stands on loopback.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { Octokit } from "@octokit/rest";
import { verify } from "@octokit/webhooks-methods";

// Longest wait for a delivery, in looks 20 ms apart; it comes within milliseconds.
const LOOKS = 1500;
const secret = "It's a Secret to Everybody";

const received = [];
let status = 200;
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request.setEncoding("utf8")) body += part;
  received.push({ event: request.headers["x-github-event"], headers: request.headers, body });
  response.writeHead(status).end();
}).listen(0, "127.0.0.1");
await new Promise((listening) => server.once("listening", listening));

async function awaited(find) {
  for (let look = 0; look < LOOKS; look += 1) {
    const found = await find();
    if (found) return found;
    await sleep(20);
  }
  assert.fail("nothing came");
}
const delivery = (event) => awaited(() => received.find((one) => one.event === event));

const octokit = new Octokit({
  auth: process.env.GITHUB_TOKEN,
  baseUrl: process.env.GITHUB_BASE_URL,
  log: { debug() {}, info() {}, warn() {}, error() {} },
});
const { repos, issues } = octokit.rest;
const [owner, repo] = process.env.GITHUB_REPO.split("/");
const here = { owner, repo };

// Made, and pinged at once.
const config = { url: `http://127.0.0.1:${server.address().port}/`, content_type: "json", secret };
const made = (await repos.createWebhook({ ...here, config, events: ["issues"] })).data;
const hook = { ...here, hook_id: made.id };
assert.deepEqual([made.active, made.events, made.config.secret], [true, ["issues"], "********"]);
assert.equal((await delivery("ping")).headers["x-github-hook-id"], String(made.id));
await assert.rejects(repos.createWebhook({ ...here, config, events: ["issues"] }), { status: 422 });
assert.deepEqual((await repos.listWebhooks(here)).data.map((one) => one.id), [made.id]);
await repos.updateWebhook({ ...hook, add_events: ["issue_comment"] });
assert.deepEqual((await repos.getWebhook(hook)).data.events, ["issues", "issue_comment"]);

// What it sends passes GitHub's own check, and nothing else does.
await issues.create({ ...here, title: "Told of" });
const opened = await delivery("issues");
assert.ok(await verify(secret, opened.body, opened.headers["x-hub-signature-256"]));
assert.ok(!(await verify("another", opened.body, opened.headers["x-hub-signature-256"])));
assert.equal(JSON.parse(opened.body).issue.title, "Told of");

// What was not taken stands in the log of deliveries and can be asked for once more, under the same name.
status = 503;
const issue = JSON.parse(opened.body).issue.number;
await issues.createComment({ ...here, issue_number: issue, body: "Lost." });
const guid = (await delivery("issue_comment")).headers["x-github-delivery"];
const logged = async () => (await repos.listWebhookDeliveries(hook)).data.filter((one) => one.guid === guid);
const [lost] = await awaited(async () => ((await logged()).length ? logged() : null));
assert.deepEqual([lost.status_code, lost.redelivery, lost.event], [503, false, "issue_comment"]);
const whole = (await repos.getWebhookDelivery({ ...hook, delivery_id: lost.id })).data;
assert.equal(whole.request.payload.comment.body, "Lost.");
status = 200;
await repos.redeliverWebhookDelivery({ ...hook, delivery_id: lost.id });
await awaited(async () => (await logged()).some((one) => one.redelivery && one.status_code === 200));

await repos.deleteWebhook(hook);
assert.deepEqual((await repos.listWebhooks(here)).data, []);
server.close();
console.log("the @octokit/rest client and GitHub's verifier agree with the sandbox's webhooks");
