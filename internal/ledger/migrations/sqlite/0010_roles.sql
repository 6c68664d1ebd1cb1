-- What a token may do at the API of operators; empty: nothing, it is one of the cache. One that has a role has no access, and may be of no workspace, which
-- stands for all.
ALTER TABLE tokens ADD COLUMN role TEXT NOT NULL DEFAULT '';
