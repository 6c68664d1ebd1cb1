-- The numbers and the meaning of these files are those of SQLite's. Times are milliseconds since the Unix epoch, in UTC.
--
-- COLLATE "C" compares bytes: what an index holds does not depend on the machine's locales, which an upgrade of the system may change.

CREATE TABLE tokens (
    id        TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    hash      BYTEA  NOT NULL UNIQUE CHECK (octet_length(hash) = 32), -- SHA-256 of the token's text, which is kept nowhere
    name      TEXT   COLLATE "C" NOT NULL,
    workspace TEXT   COLLATE "C" NOT NULL,
    access    TEXT   NOT NULL,
    created   BIGINT NOT NULL,
    expires   BIGINT,                                                 -- NULL: never
    revoked   BIGINT                                                  -- NULL: not revoked
);

-- A revoked token leaves its name to the next one.
CREATE UNIQUE INDEX tokens_name ON tokens (workspace, name) WHERE revoked IS NULL;

-- One row for each table whose changes are watched. Triggers count, so that no writer can forget it. It is read several times a second
-- and written seldom: a page with room for new versions of its rows stays one page.
CREATE TABLE revisions (
    name  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITH (fillfactor = 50);

INSERT INTO revisions (name, value) VALUES ('tokens', 0);

-- The schema is named, since whoever changes a table by hand may have another search path.
CREATE FUNCTION count_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('UPDATE %I.revisions SET value = value + 1 WHERE name = $1', TG_TABLE_SCHEMA) USING TG_TABLE_NAME;
    RETURN NULL;
END
$$;

CREATE FUNCTION refuse_deletion() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are never deleted: they are %', TG_TABLE_NAME, TG_ARGV[0];
END
$$;

CREATE TRIGGER tokens_changed AFTER INSERT OR UPDATE ON tokens FOR EACH ROW EXECUTE FUNCTION count_revision();

-- Tokens are revoked, never deleted: without them a server would think that there never was one, and open to anyone.
CREATE TRIGGER tokens_kept BEFORE DELETE ON tokens FOR EACH ROW EXECUTE FUNCTION refuse_deletion('revoked');
CREATE TRIGGER tokens_not_emptied BEFORE TRUNCATE ON tokens FOR EACH STATEMENT EXECUTE FUNCTION refuse_deletion('revoked');

-- What is true of the ledger for good. Beside SQLite's file these are files.
CREATE TABLE marks (
    name TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    made BIGINT NOT NULL
);
