-- The first schema. Times are milliseconds since 1970 (UTC). `*_key` columns hold an item or a repository in lower case,
-- because GitHub ignores the case of names; the column beside it keeps the case given. JSON is text.

CREATE TABLE links (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL,
    task TEXT NOT NULL,
    repo TEXT NOT NULL,
    repo_key TEXT NOT NULL,
    number BIGINT NOT NULL CHECK (number > 0),
    repo_id BIGINT NOT NULL,
    issue_id BIGINT NOT NULL,
    issue_node_id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('active', 'left', 'retired')),
    seen_tracker TEXT,
    seen_forge TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    waiting TEXT,
    base TEXT
);

-- No task and no issue is in two links that are not retired.
CREATE UNIQUE INDEX links_one_per_task ON links (task) WHERE status <> 'retired';
CREATE UNIQUE INDEX links_one_per_issue ON links (repo_key, number) WHERE status <> 'retired';
CREATE UNIQUE INDEX links_one_per_issue_id ON links (issue_id) WHERE status <> 'retired' AND issue_id > 0;
CREATE INDEX links_by_task ON links (task, route);
CREATE INDEX links_by_issue ON links (repo_key, number, route);
CREATE INDEX links_by_repo_id ON links (repo_id, number);
CREATE INDEX links_by_issue_id ON links (issue_id);
CREATE INDEX links_by_status ON links (route, status);
CREATE INDEX links_that_wait ON links (id) WHERE waiting IS NOT NULL;

CREATE TABLE tombstones (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL,
    task TEXT NOT NULL,
    repo TEXT NOT NULL,
    repo_key TEXT NOT NULL,
    number BIGINT NOT NULL,
    reason TEXT NOT NULL,
    at BIGINT NOT NULL
);

CREATE UNIQUE INDEX tombstones_by_task ON tombstones (route, task, repo_key, number);
CREATE INDEX tombstones_by_issue ON tombstones (route, repo_key, number);

CREATE TABLE intents (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('issue', 'task', 'comment')),
    source TEXT NOT NULL,
    source_key TEXT NOT NULL,
    marker TEXT NOT NULL,
    opened_at BIGINT NOT NULL,
    tried_at BIGINT NOT NULL
);

CREATE UNIQUE INDEX intents_one_per_source ON intents (route, kind, source_key);

CREATE TABLE due (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL,
    item TEXT NOT NULL,
    item_key TEXT NOT NULL,
    reason TEXT NOT NULL,
    not_before BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    last_error TEXT,
    parked_at BIGINT,
    since BIGINT NOT NULL
);

CREATE UNIQUE INDEX due_one_per_item ON due (route, item_key);
CREATE INDEX due_next ON due (route, not_before) WHERE parked_at IS NULL;
CREATE INDEX due_first ON due (not_before) WHERE parked_at IS NULL;
CREATE INDEX due_parked ON due (parked_at, id) WHERE parked_at IS NOT NULL;

CREATE TABLE passes (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    route TEXT NOT NULL,
    kind TEXT NOT NULL,
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    result TEXT
);

CREATE INDEX passes_by_route ON passes (route, id);

-- Append-only: the triggers below refuse everything else. `hash` is SHA-256 over `previous` and the entry.
CREATE TABLE history (
    seq BIGINT PRIMARY KEY NOT NULL,
    route TEXT NOT NULL,
    at BIGINT NOT NULL,
    pass BIGINT NOT NULL,
    link BIGINT,
    kind TEXT NOT NULL,
    item TEXT NOT NULL,
    item_key TEXT NOT NULL,
    partner TEXT,
    partner_key TEXT,
    cause TEXT NOT NULL,
    actor TEXT NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL,
    changes TEXT NOT NULL
);

CREATE INDEX history_by_route ON history (route, seq);
CREATE INDEX history_by_pass ON history (pass, seq);
CREATE INDEX history_by_item ON history (item_key, seq);
CREATE INDEX history_by_partner ON history (partner_key, seq);

CREATE FUNCTION history_refuses() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the history is append-only'; END $$;
CREATE TRIGGER history_is_not_changed BEFORE UPDATE OR DELETE ON history
FOR EACH ROW EXECUTE FUNCTION history_refuses();
CREATE TRIGGER history_is_not_emptied BEFORE TRUNCATE ON history
FOR EACH STATEMENT EXECUTE FUNCTION history_refuses();

-- One row: the last entry. Whoever appends locks it first, so the chain has neither gaps nor forks; an entry
-- cut off at the end is missed here.
CREATE TABLE chain (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    seq BIGINT NOT NULL,
    hash TEXT NOT NULL
);

INSERT INTO chain (id, seq, hash) VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000');

CREATE TABLE cursors (
    route TEXT NOT NULL,
    side TEXT NOT NULL CHECK (side IN ('tracker', 'forge')),
    value TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (route, side)
);

CREATE TABLE notes (
    route TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (route, name)
);

-- A row stays after its release: the token only ever grows.
CREATE TABLE leases (
    route TEXT PRIMARY KEY NOT NULL,
    holder TEXT NOT NULL,
    token BIGINT NOT NULL,
    until BIGINT NOT NULL
);
