-- The entries that were deleted, so that nobody who can write to the storage can bring one back.
CREATE TABLE buried (
    -- Never given twice: a server asks for those after the last that it knows. Who writes holds a lock until the end of his transaction, so that
    -- numbers become visible in their order.
    number  BIGINT  GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id      BYTEA   NOT NULL CHECK (octet_length(id) = 16), -- may be there twice, if two servers delete the same at once
    trusted INTEGER NOT NULL CHECK (trusted IN (0, 1)),
    at      BIGINT  NOT NULL                                -- milliseconds since the Unix epoch, in UTC
);

-- To forget the oldest of each kind.
CREATE INDEX buried_at ON buried (trusted, at);
