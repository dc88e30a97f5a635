-- Rows as migration 0004 keeps them, one of every kind. Both databases read this; where PostgreSQL has another word for
-- BLOB, the test puts it in.
INSERT INTO due (route, item, item_key, reason, not_before, attempts, last_error, parked_at, since, rung, request)
VALUES ('app', 'github:Acme/App#18', 'github:acme/app#18', 'heard of it (issues.closed)', 1767225800000, 0, NULL, NULL,
    1767225800000, 1, '0000000000000abc');
INSERT INTO hooks (provider, resource, remote, token_hash, target, secret, former_secret, former_until, state,
    pending_until, made_at, heard_at, checked_at, trouble)
VALUES
    ('asana', '77', '1201', 'aa01', 'https://sync.example.com/webhooks/asana', 'sealed', NULL, NULL, 'live',
     1767226260000, 1767225600000, 1767225800000, 1767225900000, NULL),
    ('github', 'acme/app', '9', 'aa02', 'https://sync.example.com/webhooks/github', 'sealed', 'before', 1767229200000,
     'leaving', 1767226260000, 1767225600000, NULL, 1767225900000, 'its last delivery failed: 503'),
    ('github', 'acme/site', NULL, 'aa03', 'https://sync.example.com/webhooks/github', NULL, NULL, NULL, 'pending',
     1767226260000, 1767225600000, NULL, NULL, NULL);
INSERT INTO deliveries (provider, key, hook, event, origin, verdict, note, request, received_at, repeats, replayed_at,
    headers, body)
VALUES
    ('github', 'g-1', 2, 'issues.closed', 'sent', 'due', NULL, '0000000000000abc', 1767225800000, 2, 1767225900000,
     '{"x-github-event":"issues"}', CAST('{"action":"closed"}' AS BLOB)),
    ('asana', '1:0123', 1, 'heartbeat', 'sent', 'noted', NULL, '0000000000000abd', 1767225800000, 0, NULL, '{}',
     CAST('{"events":[]}' AS BLOB)),
    ('github', 'g-2', 2, 'unknown', 'fetched', 'garbled', 'it is no JSON', '0000000000000abe', 1767225801000, 0, NULL,
     '{}', CAST('{' AS BLOB));
INSERT INTO touched (delivery, route, item, item_key)
VALUES (1, 'app', 'github:Acme/App#18', 'github:acme/app#18');
INSERT INTO refusals (provider, reason, count, first_at, last_at, last_from)
VALUES ('github', 'not signed', 7, 1767225600000, 1767225700000, '192.0.2.1'),
    ('admin', 'no token', 1, 1767225600000, 1767225600000, NULL);
INSERT INTO notices (route, key, task, issue, text, cause, state, at, tried_at)
VALUES
    ('app', 'opened acme/app#12 github:acme/app#17', '1201', 'Acme/App#17', 'ann opened it', 'pull request open', 'open',
     1767225800000, 1767225801000),
    ('app', 'merged acme/app#12 github:acme/app#17', '1201', 'Acme/App#17', 'ann merged it',
     'pull request acme/app#12 of ann was merged by bob', 'silent', 1767225800000, NULL);
INSERT INTO calls (key, request, at, actor, method, path, reason, digest, status, answer)
VALUES
    ('k-1', '0000000000000abf', 1767225600000, 'admin', 'POST', '/api/reconcile', 'a look', 'd1', 202, '{"pass":1}'),
    (NULL, '0000000000000ac0', 1767225601000, 'admin', 'POST', '/api/tasks/1201/close', 'done', 'd2', NULL, NULL);
