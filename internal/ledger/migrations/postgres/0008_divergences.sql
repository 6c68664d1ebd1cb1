-- Hashes under which the trusted scope and another one of the workspace hold different content. The records of both entries are kept here, since the entries may
-- go. Their number is bounded for each scope and each workspace.
CREATE TABLE divergences (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    pair       BYTEA  NOT NULL UNIQUE CHECK (octet_length(pair) = 32), -- which two entries it is about
    workspace  TEXT   COLLATE "C" NOT NULL,
    scope      BYTEA  NOT NULL, -- of the other entry
    hash       TEXT   COLLATE "C" NOT NULL,
    trusted    TEXT   NOT NULL, -- JSON: the record
    other      TEXT   NOT NULL,
    run        BYTEA  NOT NULL CHECK (octet_length(run) = 32),   -- SHA-256 of what names the run that made the trusted one
    maker      BYTEA  NOT NULL CHECK (octet_length(maker) = 32), -- SHA-256 of what names who made the other one
    turn       BIGINT NOT NULL, -- how many of its scope came before it: comparisons are done by turns, so that no scope waits for another one's flood
    found      BIGINT NOT NULL, -- milliseconds since the Unix epoch, in UTC
    level      TEXT   COLLATE "C" NOT NULL CHECK (level IN ('pending', 'first', 'recurring')),
    signature  BYTEA  CHECK (octet_length(signature) = 32), -- of the members that differ; NULL: not known
    times      BIGINT NOT NULL, -- hashes with this signature up to this one, also those whose rows are gone by now
    since      BIGINT NOT NULL,
    comparison TEXT   NOT NULL -- JSON
);

CREATE INDEX divergences_scope ON divergences (workspace, scope, level);
CREATE INDEX divergences_pending ON divergences (turn, id) WHERE level = 'pending';
CREATE INDEX divergences_signature ON divergences (workspace, signature) WHERE signature IS NOT NULL;

-- Those that are counted and not kept.
CREATE TABLE divergence_floods (
    workspace TEXT   COLLATE "C" NOT NULL,
    scope     BYTEA  NOT NULL,
    count     BIGINT NOT NULL,
    since     BIGINT NOT NULL,
    last      BIGINT NOT NULL,
    PRIMARY KEY (workspace, scope)
);
