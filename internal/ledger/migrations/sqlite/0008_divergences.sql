-- Hashes under which the trusted scope and another one of the workspace hold different content. The records of both entries are kept here, since the entries may
-- go. Their number is bounded for each scope and each workspace.
CREATE TABLE divergences (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    pair       BLOB    NOT NULL UNIQUE CHECK (length(pair) = 32), -- which two entries it is about
    workspace  TEXT    NOT NULL,
    scope      TEXT    NOT NULL, -- of the other entry
    hash       TEXT    NOT NULL,
    trusted    TEXT    NOT NULL, -- JSON: the record
    other      TEXT    NOT NULL,
    run        BLOB    NOT NULL CHECK (length(run) = 32),   -- SHA-256 of what names the run that made the trusted one
    maker      BLOB    NOT NULL CHECK (length(maker) = 32), -- SHA-256 of what names who made the other one
    turn       INTEGER NOT NULL, -- how many of its scope came before it: comparisons are done by turns, so that no scope waits for another one's flood
    found      INTEGER NOT NULL, -- milliseconds since the Unix epoch, in UTC
    level      TEXT    NOT NULL CHECK (level IN ('pending', 'first', 'recurring')),
    signature  BLOB    CHECK (length(signature) = 32), -- of the members that differ; NULL: not known
    times      INTEGER NOT NULL, -- hashes with this signature up to this one, also those whose rows are gone by now
    since      INTEGER NOT NULL,
    comparison TEXT    NOT NULL -- JSON
) STRICT;

CREATE INDEX divergences_scope ON divergences (workspace, scope, level);
CREATE INDEX divergences_pending ON divergences (turn, id) WHERE level = 'pending';
CREATE INDEX divergences_signature ON divergences (workspace, signature) WHERE signature IS NOT NULL;

-- Those that are counted and not kept.
CREATE TABLE divergence_floods (
    workspace TEXT    NOT NULL,
    scope     TEXT    NOT NULL,
    count     INTEGER NOT NULL,
    since     INTEGER NOT NULL,
    last      INTEGER NOT NULL,
    PRIMARY KEY (workspace, scope)
) STRICT;
