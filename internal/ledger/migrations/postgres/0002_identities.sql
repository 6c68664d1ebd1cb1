-- Whose token it is, where it is a person's; empty: nobody's in particular.
ALTER TABLE tokens ADD COLUMN developer TEXT NOT NULL DEFAULT '';

-- What identities of CIs are refused.
CREATE TABLE revocations (
    id        TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    kind      TEXT   COLLATE "C" NOT NULL,
    value     TEXT   COLLATE "C" NOT NULL,
    workspace TEXT   COLLATE "C" NOT NULL, -- empty: all
    reason    TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    lifted    BIGINT                       -- NULL: in force
);

-- The same thing is revoked once at a time.
CREATE UNIQUE INDEX revocations_in_force ON revocations (kind, value, workspace) WHERE lifted IS NULL;

INSERT INTO revisions (name, value) VALUES ('revocations', 0);

CREATE TRIGGER revocations_changed AFTER INSERT OR UPDATE ON revocations FOR EACH ROW EXECUTE FUNCTION count_revision();

-- What was refused, and when, is part of what happened.
CREATE TRIGGER revocations_kept BEFORE DELETE ON revocations FOR EACH ROW EXECUTE FUNCTION refuse_deletion('lifted');
CREATE TRIGGER revocations_not_emptied BEFORE TRUNCATE ON revocations FOR EACH STATEMENT EXECUTE FUNCTION refuse_deletion('lifted');

-- The identity tokens that were exchanged, so that none is a second time. Rows go when the token is worth nothing any more.
CREATE TABLE used_identities (
    id    BYTEA  NOT NULL PRIMARY KEY CHECK (octet_length(id) = 32), -- SHA-256 of the token's id, which may be long
    until BIGINT NOT NULL
);

CREATE INDEX used_identities_until ON used_identities (until);
