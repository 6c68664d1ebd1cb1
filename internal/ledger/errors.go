package ledger

import (
	"context"
	"errors"
	"fmt"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// explain turns what SQLite says into what a person can do something about.
func (l *Ledger) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	code := primaryCode(err)
	switch {
	case code == lib.SQLITE_BUSY, code == lib.SQLITE_LOCKED:
		return fmt.Errorf("%w: another process has held %s for too long: find it, or try again (%w)", ErrLocked, l.path, err)
	case ctx.Err() != nil:
		// The driver says "interrupted" for it, and not always with the context's error.
		return fmt.Errorf("ledger %s: no answer in time: %w", l.path, errors.Join(ctx.Err(), err))
	case code == lib.SQLITE_NOTADB, code == lib.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %s: stop the server, restore the file from a backup, or move it aside together with those that end in "+
			"-wal and -shm and create new tokens (%w)", ErrDamaged, l.path, err)
	case code == lib.SQLITE_READONLY, code == lib.SQLITE_CANTOPEN, code == lib.SQLITE_PERM:
		return fmt.Errorf("ledger %s: work as the user that the server runs as, who must be able to write to the file and its directory: %w",
			l.path, err)
	case code == lib.SQLITE_FULL:
		return fmt.Errorf("ledger %s: the disk is full: %w", l.path, err)
	}
	return fmt.Errorf("ledger %s: %w", l.path, err)
}

// primaryCode returns SQLite's result code without its extension, or 0 (SQLITE_OK) for another error.
func primaryCode(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

// isDuplicate says that a unique index refused a row.
func isDuplicate(err error) bool {
	e, ok := errors.AsType[*sqlite.Error](err)
	return ok && (e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE || e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY)
}
