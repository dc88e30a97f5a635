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
    openings BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    -- JSON: failures in a row by kind: outage, token, limit.
    in_row TEXT NOT NULL,
    -- When it was last used.
    at BIGINT NOT NULL
);

-- One row: makes the digests of this database differ from those of any other.
CREATE TABLE salt (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    value TEXT NOT NULL
);

INSERT INTO salt (id, value) VALUES (1, replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''));

-- Starts of the service; one that ended in order says so.
CREATE TABLE starts (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    holder TEXT NOT NULL,
    at BIGINT NOT NULL,
    ended_at BIGINT
);

CREATE INDEX starts_by_time ON starts (at);
