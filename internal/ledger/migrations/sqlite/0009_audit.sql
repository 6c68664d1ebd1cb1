-- Who did what. Each row's hash is over the one before it and over all that it says (docs/audit.md), so nothing here is ever updated, and rows go at the
-- beginning alone, behind a seal of the kind anchor.
CREATE TABLE audit (
    seq       INTEGER PRIMARY KEY, -- 1, 2, 3, … without a gap
    time      INTEGER NOT NULL,    -- milliseconds since the Unix epoch, in UTC
    action    TEXT    NOT NULL,
    actor     TEXT    NOT NULL,    -- JSON
    subject   TEXT    NOT NULL,
    workspace TEXT    NOT NULL,
    scope     TEXT    NOT NULL,
    details   TEXT    NOT NULL,    -- JSON
    replica   TEXT    NOT NULL,
    hash      BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_action ON audit (action);
CREATE INDEX audit_workspace ON audit (workspace);

-- Places in the chain that a server signed.
CREATE TABLE audit_seals (
    kind      TEXT    NOT NULL,
    seq       INTEGER NOT NULL,
    hash      BLOB    NOT NULL CHECK (length(hash) = 32),
    time      INTEGER NOT NULL,
    key       TEXT    NOT NULL, -- the id of one of the key file
    signature BLOB    NOT NULL,
    PRIMARY KEY (seq, kind)
) STRICT, WITHOUT ROWID;
