-- Deliveries that became durable before they were answered, the hooks they come from, and who asked for what.

-- 1: a wake-up that no pass has taken up yet. It survives the clearing of the item by a pass that began before it.
ALTER TABLE due ADD COLUMN rung INTEGER NOT NULL DEFAULT 0 CHECK (rung IN (0, 1));
-- The request that woke the item last, for the log.
ALTER TABLE due ADD COLUMN request TEXT;
CREATE INDEX due_rung ON due (route, id) WHERE rung = 1 AND parked_at IS NULL;

CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    provider TEXT NOT NULL CHECK (provider IN ('asana', 'github')),
    -- GitHub: the delivery's GUID. Asana, which names none: the hook and the digest of the body.
    key TEXT NOT NULL,
    hook INTEGER,
    event TEXT NOT NULL,
    -- 'sent' by the provider, or 'fetched' from its own list of failed deliveries.
    origin TEXT NOT NULL CHECK (origin IN ('sent', 'fetched')),
    -- 'due': its items were made due; 'noted': nothing to do; 'garbled': signed, but not understood.
    verdict TEXT NOT NULL CHECK (verdict IN ('due', 'noted', 'garbled')),
    note TEXT,
    request TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    -- How often the same delivery came again, and when an operator last replayed it.
    repeats INTEGER NOT NULL DEFAULT 0,
    replayed_at INTEGER,
    headers TEXT NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX deliveries_once ON deliveries (provider, key);
CREATE INDEX deliveries_by_time ON deliveries (received_at);

CREATE TABLE touched (
    delivery INTEGER NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    route TEXT NOT NULL,
    item TEXT NOT NULL,
    item_key TEXT NOT NULL,
    PRIMARY KEY (delivery, route, item_key)
) STRICT, WITHOUT ROWID;

CREATE INDEX touched_by_item ON touched (item_key, delivery);

-- What was turned away, counted; never its body.
CREATE TABLE refusals (
    provider TEXT NOT NULL,
    reason TEXT NOT NULL,
    count INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    last_from TEXT,
    PRIMARY KEY (provider, reason)
) STRICT;

CREATE TABLE hooks (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    provider TEXT NOT NULL CHECK (provider IN ('asana', 'github')),
    -- The project's gid, or the repository in lower case.
    resource TEXT NOT NULL,
    -- The provider's own id of it, once it is made.
    remote TEXT,
    -- SHA-256 of the token in its address, by which Asana's deliveries are told apart.
    token_hash TEXT NOT NULL,
    target TEXT NOT NULL,
    -- Sealed. The former one is good until `former_until`.
    secret TEXT,
    former_secret TEXT,
    former_until INTEGER,
    -- 'pending': its creation is under way, until `pending_until`. 'live'. 'leaving': another has taken its place.
    state TEXT NOT NULL CHECK (state IN ('pending', 'live', 'leaving')),
    pending_until INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    -- When a verified delivery last came, when the provider was last asked about it, and what was wrong then.
    heard_at INTEGER,
    checked_at INTEGER,
    trouble TEXT
) STRICT;

CREATE UNIQUE INDEX hooks_by_token ON hooks (token_hash);
CREATE INDEX hooks_by_resource ON hooks (provider, resource);
CREATE INDEX hooks_by_remote ON hooks (provider, remote);

-- What a task is told once in a comment: the key names the event.
CREATE TABLE notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    route TEXT NOT NULL,
    key TEXT NOT NULL,
    task TEXT NOT NULL,
    issue TEXT NOT NULL,
    text TEXT NOT NULL,
    cause TEXT NOT NULL,
    -- 'silent': kept as a cause only, because the route wants no such comments.
    state TEXT NOT NULL CHECK (state IN ('open', 'told', 'given up', 'silent')),
    at INTEGER NOT NULL,
    -- When the comment was last about to be sent: from then on it is looked for before it is sent again.
    tried_at INTEGER
) STRICT;

CREATE UNIQUE INDEX notices_once ON notices (route, key);
CREATE INDEX notices_open ON notices (route, id) WHERE state = 'open';

-- Writing calls of the admin interface: who asked, why, and what was answered.
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    -- The caller's Idempotency-Key, if it gave one.
    key TEXT,
    request TEXT NOT NULL,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    reason TEXT NOT NULL,
    -- SHA-256 of the call: the same key with another call is an error.
    digest TEXT NOT NULL,
    status INTEGER,
    answer TEXT
) STRICT;

CREATE UNIQUE INDEX calls_once ON calls (key) WHERE key IS NOT NULL;
CREATE INDEX calls_by_time ON calls (at);
