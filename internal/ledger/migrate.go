package ledger

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"

	lib "modernc.org/sqlite/lib"
)

// The files are applied in the order of their names, one version each. A file that was released never changes.
//
//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the database as a ledger (PRAGMA application_id), so that no other program's database is written to by
// mistake: the bytes "bzrl".
const applicationID = 0x627a726c

// migrate brings the schema up to date. An up-to-date one is only read: it opens although somebody holds the write lock.
func (l *Ledger) migrate(ctx context.Context) error {
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	version, err := l.schemaVersion(ctx, l.db, len(steps))
	if err != nil || version == len(steps) {
		return err
	}
	return l.transact(ctx, func(tx *sql.Tx) error {
		// Another process may have been faster: what counts is what is there now that nobody else can write.
		version, err := l.schemaVersion(ctx, tx, len(steps))
		if err != nil {
			return err
		}
		if version == 0 {
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`
				PRAGMA application_id = %d;
				CREATE TABLE schema_versions (
					version INTEGER NOT NULL PRIMARY KEY,
					applied INTEGER NOT NULL -- milliseconds since the Unix epoch, in UTC
				) STRICT`, applicationID)); err != nil {
				return err
			}
		}
		for ; version < len(steps); version++ {
			step, err := migrations.ReadFile(steps[version])
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, string(step)); err != nil {
				return fmt.Errorf("%s: %w", steps[version], err)
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO schema_versions (version, applied) VALUES (?, ?)`,
				version+1, time.Now().UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
}

type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// schemaVersion returns the version of the schema, 0 for an empty database. It refuses one that is no ledger, or newer than known.
func (l *Ledger) schemaVersion(ctx context.Context, q querier, known int) (int, error) {
	var id, objects int
	// One statement, so that both are of one state of the database.
	err := q.QueryRowContext(ctx, `SELECT (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)`).
		Scan(&id, &objects)
	if err != nil {
		return 0, err
	}
	switch {
	case id == 0 && objects == 0:
		return 0, nil
	case id != applicationID:
		return 0, fmt.Errorf("%w: %s is a database of another program: give another data directory, or move the file away", ErrForeign, l.path)
	}
	var version int
	if err := q.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM schema_versions`).Scan(&version); err != nil {
		return 0, err
	}
	if version > known {
		return 0, fmt.Errorf("%w: %s has version %d, and this release knows versions up to %d: use the newer release, "+
			"or restore the ledger from before its upgrade", ErrNewer, l.path, version, known)
	}
	return version, nil
}

// enterWAL lets readers and a writer work at the same time. The mode stays with the file, so that there is something to do for a new
// one alone, and for one that was restored from a copy. SQLite does not wait for its turn here although it has a busy timeout.
func (l *Ledger) enterWAL(ctx context.Context) error {
	var mode string
	if err := l.db.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil || mode == "wal" {
		return err
	}
	for {
		err := l.db.QueryRowContext(ctx, `PRAGMA journal_mode = wal`).Scan(&mode)
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
