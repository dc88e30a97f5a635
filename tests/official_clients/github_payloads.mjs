// Sends every example payload that GitHub's own package has to a running listener, signed by GitHub's own signer:
// each is taken in, each altered one is refused.
//
// Reads EVENKEEL_URL, GITHUB_WEBHOOK_SECRET and GITHUB_REPO from the environment; the listener has that secret and
// that repository.
import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { sign } from "@octokit/webhooks-methods";

const url = `${process.env.EVENKEEL_URL}/webhooks/github`;
const secret = process.env.GITHUB_WEBHOOK_SECRET;
const path = createRequire(import.meta.url).resolve("@octokit/webhooks-examples");
const examples = JSON.parse(readFileSync(path, "utf8"))
  .flatMap(({ name, examples }) => examples.map((payload) => ({ event: name, payload })));
assert.ok(examples.length > 300, `only ${examples.length} examples`);

let sent = 0;
async function deliver(event, body, { signature, guid, type = "application/json" }) {
  const headers = { "content-type": type, "x-github-event": event, "x-github-delivery": guid };
  if (signature) headers["x-hub-signature-256"] = signature;
  const answer = await fetch(url, { method: "POST", headers, body });
  sent += 1;
  return { status: answer.status, said: await answer.json() };
}
const named = (number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;

for (const [number, { event, payload }] of examples.entries()) {
  const guid = named(number);
  const body = JSON.stringify(payload);
  const signature = await sign(secret, body);
  const what = `${event}.${payload.action ?? ""} (example ${number})`;

  const altered = body.replace(/[0-9](?=[^0-9]*$)/, (digit) => String((Number(digit) + 1) % 10));
  assert.notEqual(altered, body);
  const another = await sign(`${secret}.`, body);
  for (const [wrong, mark] of [[altered, signature], [body, another], [body, undefined], [`${body} `, signature]]) {
    const refused = await deliver(event, wrong, { signature: mark, guid });
    assert.equal(refused.status, 401, what);
    assert.equal(refused.said.error.code, "unauthorized", what);
  }

  const first = await deliver(event, body, { signature, guid });
  assert.equal(first.status, 200, `${what}: ${JSON.stringify(first.said)}`);
  assert.deepEqual([first.said.verdict, first.said.again], ["noted", false], what);
  const again = await deliver(event, body, { signature, guid });
  assert.deepEqual([again.status, again.said.again, again.said.delivery], [200, true, first.said.delivery], what);
}

// About a repository of ours: what is told of an issue makes it due, as JSON and as a form.
let due = 0;
const issues = examples.filter(({ event, payload }) =>
  ["issues", "issue_comment"].includes(event) && !payload.issue.pull_request);
for (const [number, { event, payload }] of issues.entries()) {
  const repository = { ...payload.repository, full_name: process.env.GITHUB_REPO };
  const json = JSON.stringify({ ...payload, repository });
  const [type, body] = number % 2
    ? ["application/json", json]
    : ["application/x-www-form-urlencoded", new URLSearchParams({ payload: json }).toString()];
  const taken = await deliver(event, body, { signature: await sign(secret, body), guid: named(1000 + number), type });
  assert.deepEqual([taken.status, taken.said.verdict], [200, "due"], `${event}.${payload.action}`);
  due += 1;
}
assert.ok(due > 20, `only ${due} examples about issues`);

console.log(`${examples.length} example payloads signed by GitHub's own package are taken in (${sent} requests)`);
