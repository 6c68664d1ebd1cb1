-- Who did what. Each row's hash is over the one before it and over all that it says (docs/audit.md), so nothing here is ever updated, and rows go at the
-- beginning alone, behind a seal of the kind anchor.
CREATE TABLE audit (
    seq       BIGINT NOT NULL PRIMARY KEY, -- 1, 2, 3, … without a gap
    time      BIGINT NOT NULL,             -- milliseconds since the Unix epoch, in UTC
    action    TEXT   COLLATE "C" NOT NULL,
    actor     TEXT   NOT NULL,             -- JSON, as text: what is hashed are its bytes
    subject   TEXT   COLLATE "C" NOT NULL,
    workspace TEXT   COLLATE "C" NOT NULL,
    scope     TEXT   COLLATE "C" NOT NULL,
    details   TEXT   NOT NULL,             -- JSON
    replica   TEXT   NOT NULL,
    hash      BYTEA  NOT NULL CHECK (octet_length(hash) = 32)
);

CREATE INDEX audit_time ON audit (time);
CREATE INDEX audit_action ON audit (action, seq);
CREATE INDEX audit_workspace ON audit (workspace, seq);

-- Places in the chain that a server signed.
CREATE TABLE audit_seals (
    kind      TEXT   COLLATE "C" NOT NULL,
    seq       BIGINT NOT NULL,
    hash      BYTEA  NOT NULL CHECK (octet_length(hash) = 32),
    time      BIGINT NOT NULL,
    key       TEXT   NOT NULL, -- the id of one of the key file
    signature BYTEA  NOT NULL,
    PRIMARY KEY (seq, kind)
);
