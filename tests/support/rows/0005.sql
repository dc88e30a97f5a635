-- Rows as migration 0005 took them.
INSERT INTO credentials (credential, service, book, state, trouble, why, openings, since, until, in_row, at)
VALUES
    ('c0ffee', 'github',
     '{"latest":1767225600000,"quiet_until":0,"next":3,"spent":[[[1767225661000,7]]],"open":[{"number":3,"holder":"me","until":1767225610000,"units":[22,2,2]}]}',
     'open', 'outage', 'status 503', 2, 1767225600000, 1767225660000, '[6,0,0]', 1767225600000),
    ('decade', 'asana', '{}', 'closed', NULL, '', 0, 0, 0, '[0,1,0]', 1767225600000);
INSERT INTO starts (holder, at, ended_at) VALUES ('me', 1767225600000, NULL), ('me', 1767225601000, 1767225602000);
