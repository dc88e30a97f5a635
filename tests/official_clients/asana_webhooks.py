"""Has Asana's own Python client look after a webhook at a sandbox, and receives what that sends.

Reads ASANA_BASE_URL, ASANA_PAT and ASANA_PROJECT_GID from the environment. The receiver stands on loopback.
"""

import hashlib
import hmac
import http.server
import json
import os
import queue
import threading

import asana
from asana.rest import ApiException

# Longest wait for a delivery, in seconds; it comes within milliseconds.
WAIT = 30

received = queue.Queue()


class Receiver(http.server.BaseHTTPRequestHandler):
    """Shakes hands, and keeps whatever else comes."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        secret = self.headers["X-Hook-Secret"]
        if secret is not None and self.path == "/shakes":
            self.send_header("X-Hook-Secret", secret)
        self.send_header("Content-Length", "0")
        self.end_headers()
        received.put((secret, self.headers["X-Hook-Signature"], body))

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
here = f"http://127.0.0.1:{server.server_address[1]}"

configuration = asana.Configuration()
configuration.host = os.environ["ASANA_BASE_URL"]
configuration.access_token = os.environ["ASANA_PAT"]
configuration.retry_strategy.total = 0
client = asana.ApiClient(configuration)
project = os.environ["ASANA_PROJECT_GID"]
hooks = asana.WebhooksApi(client)
tasks = asana.TasksApi(client)
workspace = list(asana.WorkspacesApi(client).get_workspaces({}))[0]["gid"]


def refused(status, call):
    """Runs a call that must be refused with this status."""
    try:
        call()
    except ApiException as error:
        assert error.status == status, f"wanted {status}, got {error.status}: {error.body}"
        return
    raise AssertionError(f"wanted {status}, but the call went through")


def listed():
    return [hook["gid"] for hook in hooks.get_webhooks(workspace, {"resource": project})]


# Made only with a target that gives the secret back, and only once.
wanted = {"resource": project, "target": f"{here}/shakes", "filters": [{"resource_type": "task", "action": "changed"}]}
refused(400, lambda: hooks.create_webhook({"data": {**wanted, "target": f"{here}/does-not"}}, {}))
assert received.get(timeout=WAIT)[0]
made = hooks.create_webhook({"data": wanted}, {})
secret, signature, body = received.get(timeout=WAIT)
assert secret and signature is None and body in (b"", b"{}"), (signature, body)
assert made["active"] and made["target"] == wanted["target"] and made["resource"]["gid"] == project, made
refused(403, lambda: hooks.create_webhook({"data": wanted}, {}))

# Listed, shown, and filtered anew.
assert listed() == [made["gid"]], listed()
shown = hooks.get_webhook(made["gid"], {"opt_fields": "filters.action,filters.resource_type,last_success_at"})
assert [rule["action"] for rule in shown["filters"]] == ["changed"] and shown["last_success_at"], shown
rules = [{"resource_type": "task", "action": "changed"}, {"resource_type": "task", "action": "added"}]
hooks.update_webhook({"data": {"filters": rules}}, made["gid"], {})
shown = hooks.get_webhook(made["gid"], {"opt_fields": "filters.action"})
assert sorted(rule["action"] for rule in shown["filters"]) == ["added", "changed"], shown

# What it sends is signed over the raw body with the secret of the handshake, and names the task.
task = tasks.create_task({"data": {"name": "Told of", "projects": [project]}}, {})["gid"]
touched = set()
while task not in touched:
    secret_again, signature, body = received.get(timeout=WAIT)
    right = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    assert secret_again is None and hmac.compare_digest(signature, right), signature
    touched |= {event["resource"]["gid"] for event in json.loads(body)["events"]}

# Removed, and silent from then on.
hooks.delete_webhook(made["gid"])
assert listed() == []
refused(404, lambda: hooks.get_webhook(made["gid"], {}))
tasks.delete_task(task)

print("the asana client agrees with the sandbox's webhooks")
