-- Purges: what is taken away at once because of who made it. While one is in force, no server serves what fits it; see Ledger.PurgesInForce.
CREATE TABLE purges (
    id         TEXT    NOT NULL PRIMARY KEY,
    state      TEXT    NOT NULL,
    made_by    TEXT    NOT NULL, -- who ordered it, for people
    reason     TEXT    NOT NULL,
    -- What it takes: that to which all apply that are not empty or NULL.
    workspace  TEXT    NOT NULL,
    scope      TEXT    NOT NULL,
    hash       TEXT    NOT NULL,
    run        TEXT    NOT NULL,
    token      TEXT    NOT NULL,
    actor      TEXT    NOT NULL,
    repository TEXT    NOT NULL,
    ref        TEXT    NOT NULL,
    since      INTEGER,          -- nanoseconds since the Unix epoch, as the times of entries
    until      INTEGER NOT NULL,
    created    INTEGER NOT NULL, -- milliseconds since the Unix epoch, in UTC
    changed    INTEGER NOT NULL, -- when the state was last another one
    discard    INTEGER NOT NULL  -- when what is in quarantine is deleted for good
) STRICT;

CREATE INDEX purges_created ON purges (created);

INSERT INTO revisions (name, value) VALUES ('purges', 0);

CREATE TRIGGER purges_inserted AFTER INSERT ON purges
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'purges';
END;

CREATE TRIGGER purges_updated AFTER UPDATE ON purges
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'purges';
END;

CREATE TRIGGER purges_deleted AFTER DELETE ON purges
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'purges';
END;

-- The entries that purges took, each with what it takes to bring it back.
CREATE TABLE purged (
    purge     TEXT    NOT NULL REFERENCES purges (id),
    id        BLOB    NOT NULL CHECK (length(id) = 16), -- of its seal, and its name in quarantine
    state     TEXT    NOT NULL,
    workspace TEXT    NOT NULL,
    scope     TEXT    NOT NULL,
    hash      TEXT    NOT NULL,
    size      INTEGER NOT NULL, -- bytes
    record    TEXT    NOT NULL, -- JSON, as in the store
    PRIMARY KEY (purge, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX purged_state ON purged (purge, state, id);
