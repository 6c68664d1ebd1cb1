-- When an entry was last used, to about an hour: when it was read, or recorded here if nobody read it since. Seconds since the Unix epoch, in UTC. 0: it was
-- recorded before uses were, and nobody has read it since; see internal/retention for what that is worth.
ALTER TABLE entries ADD COLUMN used INTEGER NOT NULL DEFAULT 0;

-- The coldest of a scope, and what a scope holds, without a look into the table.
CREATE INDEX entries_used ON entries (scope, used, size);
