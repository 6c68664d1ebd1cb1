package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	lib "modernc.org/sqlite/lib"
)

func (*sqliteFile) beginSchema(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, fmt.Sprintf(`
		PRAGMA application_id = %d;
		CREATE TABLE schema_versions (
			version INTEGER NOT NULL PRIMARY KEY,
			applied INTEGER NOT NULL -- milliseconds since the Unix epoch, in UTC
		) STRICT`, applicationID))
	return err
}

func (f *sqliteFile) schemaVersion(ctx context.Context, q querier) (version int, err error) {
	var id, objects int
	// One statement, so that both are of one state of the database.
	err = q.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`).
		Scan(&id, &objects)
	switch {
	case err != nil:
		return 0, err
	case id == 0 && objects == 0:
		return 0, nil
	case id != applicationID:
		return 0, fmt.Errorf("%w: %s is a database of another program: give another data directory, or move the file away", ErrForeign, f.path)
	}
	err = q.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_versions`).Scan(&version)
	return version, err
}

// enterWAL lets readers and a writer work at the same time. The mode stays with the file, so that there is something to do for a new
// one alone, and for one that was restored from a copy. SQLite does not wait for its turn here although it has a busy timeout.
func (*sqliteFile) enterWAL(ctx context.Context, db *sql.DB) error {
	var mode string
	if err := db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil || mode == "wal" {
		return err
	}
	for {
		err := db.QueryRowContext(ctx, `PRAGMA journal_mode = wal`).Scan(&mode)
		switch {
		case err == nil && mode == "wal":
			return nil
		case err == nil:
			return fmt.Errorf("no write-ahead logging on its file system (journal mode %q): put the data directory on a local disk", mode)
		case primaryCode(err) != lib.SQLITE_BUSY:
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
}
