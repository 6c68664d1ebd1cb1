package ledger

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

func (f *sqliteFile) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	code := primaryCode(err)
	switch {
	case code == lib.SQLITE_BUSY, code == lib.SQLITE_LOCKED:
		return fmt.Errorf("%w: another process has held %s for too long: find it, or try again (%w)", ErrLocked, f.path, err)
	case ctx.Err() != nil:
		// The driver says "interrupted" for it, and not always with the context's error.
		return fmt.Errorf("ledger %s: no answer in time: %w", f.path, errors.Join(ctx.Err(), err))
	case code == lib.SQLITE_NOTADB, code == lib.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %s: stop the server, restore the file from a backup, or move it aside together with those that end in "+
			"-wal and -shm and create new tokens (%w)", ErrDamaged, f.path, err)
	case code == lib.SQLITE_READONLY, code == lib.SQLITE_CANTOPEN, code == lib.SQLITE_PERM:
		return fmt.Errorf("ledger %s: work as the user that the server runs as, who must be able to write to the file and its directory: %w",
			f.path, err)
	case code == lib.SQLITE_FULL:
		return fmt.Errorf("ledger %s: the disk is full: %w", f.path, err)
	}
	return fmt.Errorf("ledger %s: %w", f.path, err)
}

// primaryCode returns SQLite's result code without its extension, or 0 (SQLITE_OK) for another error.
func primaryCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

func (*sqliteFile) isDuplicate(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE || e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY)
}
