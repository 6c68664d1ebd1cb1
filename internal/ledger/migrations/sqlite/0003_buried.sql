-- The entries that were deleted, so that nobody who can write to the storage can bring one back.
CREATE TABLE buried (
    number  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, -- never given twice: a server asks for those after the last that it knows
    id      BLOB    NOT NULL CHECK (length(id) = 16),   -- may be there twice, if two servers delete the same at once
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    at      INTEGER NOT NULL                            -- milliseconds since the Unix epoch, in UTC
) STRICT;

-- To forget the oldest of each kind.
CREATE INDEX buried_at ON buried (trusted, at);
