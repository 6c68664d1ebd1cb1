-- What servers remember for each other, such as how far a long work has come.
CREATE TABLE settings (
    name  TEXT NOT NULL PRIMARY KEY,
    value BYTEA NOT NULL
);

-- Who of several servers does a work that one of them does at a time.
CREATE TABLE leases (
    name   TEXT   NOT NULL PRIMARY KEY,
    holder TEXT   NOT NULL,
    until  BIGINT NOT NULL -- milliseconds since the Unix epoch, in UTC, by the clock of the database
);
