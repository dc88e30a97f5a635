-- What all processes that use a credential keep of it together.
CREATE TABLE credentials (
    -- Salted digest of service, address and token; never the token.
    credential TEXT PRIMARY KEY NOT NULL,
    service TEXT NOT NULL CHECK (service IN ('asana', 'github')),
    -- JSON: what was taken of its limits lately, and by whom.
    book TEXT NOT NULL,
    -- Its circuit breaker: where it stands, what opened it, how often without closing, since when and until when.
    state TEXT NOT NULL CHECK (state IN ('closed', 'open', 'probing')),
    trouble TEXT CHECK (trouble IN ('outage', 'token', 'limit')),
    why TEXT NOT NULL,
    openings INTEGER NOT NULL,
    since INTEGER NOT NULL,
    until INTEGER NOT NULL,
    -- JSON: failures in a row by kind: outage, token, limit.
    in_row TEXT NOT NULL,
    -- When it was last used.
    at INTEGER NOT NULL
);

-- One row: makes the digests of this database differ from those of any other.
CREATE TABLE salt (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    value TEXT NOT NULL
);

INSERT INTO salt (id, value) VALUES (1, lower(hex(randomblob(32))));

-- Starts of the service; one that ended in order says so.
CREATE TABLE starts (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    holder TEXT NOT NULL,
    at INTEGER NOT NULL,
    ended_at INTEGER
);

CREATE INDEX starts_by_time ON starts (at);
