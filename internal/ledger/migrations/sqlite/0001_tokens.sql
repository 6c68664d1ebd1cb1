-- Times are milliseconds since the Unix epoch, in UTC.

CREATE TABLE tokens (
    id        TEXT    NOT NULL PRIMARY KEY,
    hash      BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the token's text, which is kept nowhere
    name      TEXT    NOT NULL,
    workspace TEXT    NOT NULL,
    access    TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    expires   INTEGER,                                           -- NULL: never
    revoked   INTEGER                                            -- NULL: not revoked
) STRICT;

-- A revoked token leaves its name to the next one.
CREATE UNIQUE INDEX tokens_name ON tokens (workspace, name) WHERE revoked IS NULL;

-- One row for each table whose changes are watched. Triggers count, so that no writer can forget it. PRAGMA data_version
-- would also move with every change of every other table.
CREATE TABLE revisions (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO revisions (name, value) VALUES ('tokens', 0);

CREATE TRIGGER tokens_inserted AFTER INSERT ON tokens
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'tokens';
END;

CREATE TRIGGER tokens_updated AFTER UPDATE ON tokens
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'tokens';
END;

-- Tokens are revoked, never deleted: without them a server would think that there never was one, and open to anyone.
CREATE TRIGGER tokens_kept BEFORE DELETE ON tokens
BEGIN
    SELECT RAISE(ABORT, 'tokens are revoked, never deleted');
END;
