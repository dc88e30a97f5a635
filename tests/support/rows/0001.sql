-- Rows as migration 0001 keeps them, one of every kind, for the migrations that come after it. Both databases read this.
INSERT INTO links (route, task, repo, repo_key, number, repo_id, issue_id, issue_node_id, status, seen_tracker,
    seen_forge, created_at, updated_at, waiting, base)
VALUES
    ('app', '1201', 'Acme/App', 'acme/app', 17, 501, 9001, 'I_9001', 'active', '0123456789abcdef0123456789abcdef',
     'fedcba9876543210fedcba9876543210', 1767225600000, 1767225660000,
     '{"title":{"base":"Fix login","said":{"tracker":"Fix the login","forge":"Fix login page"},"why":"both moved","since":"2026-01-01T00:00:00Z"}}',
     '{"title":"Fix login","body":"Steps:\n\n- open\n","status":"open","assignees":{"known":["ann"]},"labels":["bug"],"due":"2026-02-01"}'),
    ('app', '1202', 'Acme/App', 'acme/app', 18, 501, 9002, 'I_9002', 'left', NULL, NULL, 1767225600000, 1767225600000,
     NULL, NULL),
    ('app', '1203', 'Acme/App', 'acme/app', 19, 501, 9003, 'I_9003', 'retired', NULL, NULL, 1767225600000,
     1767225600000, NULL, '{"title":"Old","body":"","status":"dropped"}'),
    ('site', '1301', 'acme/site', 'acme/site', 1, 502, 9100, 'I_9100', 'active', NULL, NULL, 1767225600000,
     1767225600000, NULL, NULL);
INSERT INTO tombstones (route, task, repo, repo_key, number, reason, at)
VALUES ('app', '1204', 'Acme/App', 'acme/app', 20, 'unlinked by ann', 1767225600000);
INSERT INTO intents (route, kind, source, source_key, marker, opened_at, tried_at)
VALUES ('app', 'issue', 'asana:1205', 'asana:1205', 'evenkeel:v1 asana:1205 check:f129360a', 1767225600000, 1767225600000);
INSERT INTO due (route, item, item_key, reason, not_before, attempts, last_error, parked_at, since)
VALUES
    ('app', 'github:Acme/App#21', 'github:acme/app#21', 'the answer was lost', 1767225700000, 2, 'timed out', NULL, 1767225600000),
    ('app', 'asana:1206', 'asana:1206', 'refused', 1767225600000, 8, 'title: too long', 1767225650000, 1767225600000);
INSERT INTO passes (route, kind, cause, actor, started_at, ended_at, result)
VALUES
    ('app', 'poll', 'schedule', 'service', 1767225600000, 1767225601000,
     '{"outcome":"settled","counts":{"updated":1},"requests":{"tracker":{"sent":1,"unchanged":0,"writes":0},"forge":{"sent":2,"unchanged":2,"writes":0}},"plan":null,"message":null}'),
    ('app', 'sweep', 'operator', 'ann', 1767225700000, NULL, NULL);
INSERT INTO history (seq, route, at, pass, link, kind, item, item_key, partner, partner_key, cause, actor, previous,
    hash, changes)
VALUES
    (1, 'app', 1767225600500, 1, 1, 'update', 'asana:1201', 'asana:1201', 'github:Acme/App#17', 'github:acme/app#17',
     'the issue was edited', 'service', '0000000000000000000000000000000000000000000000000000000000000000', '0777b44482078e346d9e8b02f28efe9b525548fe59ceb5b89aee4afb32efd3c1',
     '[{"field":"title","before":"Login","after":"Fix login","why":"newest"}]');
UPDATE chain SET seq = 1, hash = '0777b44482078e346d9e8b02f28efe9b525548fe59ceb5b89aee4afb32efd3c1' WHERE id = 1;
INSERT INTO cursors (route, side, value, at) VALUES ('app', 'tracker', '{"sync":"abc"}', 1767225600000),
    ('app', 'forge', '{"since":"2026-01-01T00:00:00Z"}', 1767225600000);
INSERT INTO notes (route, name, value, at) VALUES ('app', 'last_sweep', '2026-01-01T00:00:00Z', 1767225600000);
INSERT INTO leases (route, holder, token, until) VALUES ('app', 'host 1 run', 7, 1767225660000);
