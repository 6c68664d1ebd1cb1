package ledger

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"time"
)

// The files of a folder are applied in the order of their names, one version each. A file that was released never changes. What
// has a number in one folder has it in the other, too.
//
//go:embed migrations/*/*.sql
var migrations embed.FS

// migrate brings the schema up to date. An up-to-date one is only read: it opens although somebody holds the write lock.
func (l *Ledger) migrate(ctx context.Context) error {
	s := l.statements()
	steps, err := fs.Glob(migrations, s.folder+"/*.sql")
	if err != nil {
		return err
	}
	version, err := l.knownVersion(ctx, l.db, len(steps))
	if err != nil || version == len(steps) {
		return err
	}
	return l.transact(ctx, schemaPart, func(tx *sql.Tx) error {
		// Another process may have been faster: what counts is what is there now that nobody else can write.
		version, err := l.knownVersion(ctx, tx, len(steps))
		if err != nil {
			return err
		}
		if version == 0 {
			if err := l.beginSchema(ctx, tx); err != nil {
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
			if _, err := tx.ExecContext(ctx, s.noteVersion,
				version+1, time.Now().UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
}

// knownVersion is schemaVersion that refuses one that is newer than known.
func (l *Ledger) knownVersion(ctx context.Context, q querier, known int) (int, error) {
	version, err := l.schemaVersion(ctx, q)
	if err == nil && version > known {
		return 0, fmt.Errorf("%w: %s has version %d, and this release knows versions up to %d: use the newer release, "+
			"or restore the ledger from before its upgrade", ErrNewer, l.place(), version, known)
	}
	return version, err
}
