-- What the store holds, as far as it is known here: to search it, and never to decide what is served. The store's own records count; 'bezoar ledger rebuild'
-- makes these of them.

-- A few scopes hold all entries, and each job makes many: names that repeat are kept once.
CREATE TABLE scopes (
    id        INTEGER PRIMARY KEY,
    workspace TEXT NOT NULL,
    scope     TEXT NOT NULL,
    UNIQUE (workspace, scope)
) STRICT;

CREATE TABLE producers (
    id            INTEGER PRIMARY KEY,
    digest        BLOB NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of producer
    producer      TEXT NOT NULL,                                    -- JSON, as in the record of an entry
    -- What is searched by. It takes no room beside the indexes; NULL where the producer has none.
    token_id      TEXT GENERATED ALWAYS AS (producer ->> '$.token_id') VIRTUAL,
    repository_id TEXT GENERATED ALWAYS AS (producer ->> '$.repository_id') VIRTUAL,
    source_id     TEXT GENERATED ALWAYS AS (producer ->> '$.source_id') VIRTUAL,
    ref           TEXT GENERATED ALWAYS AS (producer ->> '$.ref') VIRTUAL,
    run_id        TEXT GENERATED ALWAYS AS (producer ->> '$.run_id') VIRTUAL,
    actor_id      TEXT GENERATED ALWAYS AS (producer ->> '$.actor_id') VIRTUAL
) STRICT;

CREATE INDEX producers_token ON producers (token_id) WHERE token_id IS NOT NULL;
CREATE INDEX producers_run ON producers (run_id) WHERE run_id IS NOT NULL;
CREATE INDEX producers_actor ON producers (actor_id) WHERE actor_id IS NOT NULL;

CREATE TABLE entries (
    -- In the order of recording. One that is recorded again gets a new id, and none is ever given twice: what has an id beyond one that was
    -- the last at some time was recorded since then.
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    scope    INTEGER NOT NULL REFERENCES scopes (id),
    hash     TEXT    NOT NULL,
    size     INTEGER NOT NULL, -- bytes
    sha256   BLOB    NOT NULL CHECK (length(sha256) = 32),
    content  BLOB    NOT NULL CHECK (length(content) = 32),
    inflated INTEGER NOT NULL, -- bytes
    members  INTEGER NOT NULL,
    opaque   INTEGER NOT NULL,
    created  INTEGER NOT NULL, -- nanoseconds since the Unix epoch, since the seal is over them
    seal     TEXT    NOT NULL,
    producer INTEGER NOT NULL REFERENCES producers (id),
    UNIQUE (hash, scope)
) STRICT;

-- The newest of all, of a scope, of a producer.
CREATE INDEX entries_created ON entries (created);
CREATE INDEX entries_scope ON entries (scope, created);
CREATE INDEX entries_producer ON entries (producer, created);
