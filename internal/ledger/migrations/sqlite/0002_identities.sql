-- Whose token it is, where it is a person's; empty: nobody's in particular.
ALTER TABLE tokens ADD COLUMN developer TEXT NOT NULL DEFAULT '';

-- What identities of CIs are refused.
CREATE TABLE revocations (
    id        TEXT    NOT NULL PRIMARY KEY,
    kind      TEXT    NOT NULL,
    value     TEXT    NOT NULL,
    workspace TEXT    NOT NULL, -- empty: all
    reason    TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    lifted    INTEGER           -- NULL: in force
) STRICT;

-- The same thing is revoked once at a time.
CREATE UNIQUE INDEX revocations_in_force ON revocations (kind, value, workspace) WHERE lifted IS NULL;

INSERT INTO revisions (name, value) VALUES ('revocations', 0);

CREATE TRIGGER revocations_inserted AFTER INSERT ON revocations
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'revocations';
END;

CREATE TRIGGER revocations_updated AFTER UPDATE ON revocations
BEGIN
    UPDATE revisions SET value = value + 1 WHERE name = 'revocations';
END;

-- What was refused, and when, is part of what happened.
CREATE TRIGGER revocations_kept BEFORE DELETE ON revocations
BEGIN
    SELECT RAISE(ABORT, 'revocations are lifted, never deleted');
END;

-- The identity tokens that were exchanged, so that none is a second time. Rows go when the token is worth nothing any more.
CREATE TABLE used_identities (
    id    BLOB    NOT NULL PRIMARY KEY CHECK (length(id) = 32), -- SHA-256 of the token's id, which may be long
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX used_identities_until ON used_identities (until);
