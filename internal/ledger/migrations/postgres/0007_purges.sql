-- Purges: what is taken away at once because of who made it. While one is in force, no server serves what fits it; see Ledger.PurgesInForce.
CREATE TABLE purges (
    id         TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    state      TEXT   COLLATE "C" NOT NULL,
    made_by    TEXT   NOT NULL, -- who ordered it, for people
    reason     TEXT   NOT NULL,
    -- What it takes: that to which all apply that are not empty or NULL.
    workspace  TEXT   COLLATE "C" NOT NULL,
    scope      BYTEA  NOT NULL,
    hash       TEXT   COLLATE "C" NOT NULL,
    run        TEXT   COLLATE "C" NOT NULL,
    token      TEXT   COLLATE "C" NOT NULL,
    actor      TEXT   COLLATE "C" NOT NULL,
    repository TEXT   COLLATE "C" NOT NULL,
    ref        TEXT   COLLATE "C" NOT NULL,
    since      BIGINT,          -- nanoseconds since the Unix epoch, as the times of entries
    until      BIGINT NOT NULL,
    created    BIGINT NOT NULL, -- milliseconds since the Unix epoch, in UTC
    changed    BIGINT NOT NULL, -- when the state was last another one
    discard    BIGINT NOT NULL  -- when what is in quarantine is deleted for good
);

CREATE INDEX purges_created ON purges (created);

INSERT INTO revisions (name, value) VALUES ('purges', 0);

CREATE TRIGGER purges_changed AFTER INSERT OR UPDATE OR DELETE ON purges FOR EACH ROW EXECUTE FUNCTION count_revision();

-- The entries that purges took, each with what it takes to bring it back.
CREATE TABLE purged (
    purge     TEXT   COLLATE "C" NOT NULL REFERENCES purges (id),
    id        BYTEA  NOT NULL CHECK (octet_length(id) = 16), -- of its seal, and its name in quarantine
    state     TEXT   COLLATE "C" NOT NULL,
    workspace TEXT   COLLATE "C" NOT NULL,
    scope     BYTEA  NOT NULL,
    hash      TEXT   COLLATE "C" NOT NULL,
    size      BIGINT NOT NULL, -- bytes
    record    TEXT   NOT NULL, -- JSON, as in the store
    PRIMARY KEY (purge, id)
);

CREATE INDEX purged_state ON purged (purge, state, id);
