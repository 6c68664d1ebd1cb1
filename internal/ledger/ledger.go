// Package ledger keeps the records in an SQL database: in SQLite inside the data directory, or in PostgreSQL. Any number of processes may work on it at
// the same time: servers and the commands beside them.
package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
)

// DefaultTimeout bounds each call whose context has no deadline of its own.
const DefaultTimeout = 10 * time.Second

// Errors that callers can tell apart. All of them come with a text for people.
var (
	// ErrNewer is for a ledger that a later release has written.
	ErrNewer = errors.New("the ledger is of a newer release")
	// ErrForeign is for a database that is no ledger.
	ErrForeign = errors.New("the database is not a ledger")
	// ErrDamaged is for a file that is no whole SQLite database.
	ErrDamaged = errors.New("the ledger is damaged")
	// ErrLocked is for a ledger that somebody else kept locked for too long.
	ErrLocked = errors.New("the ledger is locked")
	// ErrLost is for a ledger that is gone although its server asked for credentials.
	ErrLost = errors.New("the ledger is lost")
	// ErrWasClosed says that there were tokens or a policy once.
	ErrWasClosed = errors.New("this server had tokens or a policy, and now has none")
	// ErrReplaced is for a ledger whose file was removed or replaced while it was open.
	ErrReplaced = errors.New("the ledger was replaced while it was open")
)

// Ledger is an open ledger. It is safe for concurrent use.
type Ledger struct {
	db *sql.DB
	database
	now         func() time.Time
	divergences divergenceBounds

	// actor and replica are who changes something through this ledger, for the audit log.
	actor   audit.Actor
	replica string
}

// newLedger brings the database up to date. It closes db if it fails.
func newLedger(ctx context.Context, db *sql.DB, d database) (*Ledger, error) {
	l := &Ledger{db: db, database: d, now: time.Now, divergences: defaultDivergenceBounds}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.migrate(ctx); err != nil {
		return nil, errors.Join(l.explain(ctx, err), db.Close())
	}
	return l, nil
}

// Close ends the work with the ledger.
func (l *Ledger) Close() error { return l.db.Close() }

// Place says where the ledger is, for people: the path of its file, or a URL without secrets.
func (l *Ledger) Place() string { return l.place() }

// MarkClosed notes that the servers of this ledger ask for credentials. The mark stays for good.
func (l *Ledger) MarkClosed(ctx context.Context) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return l.markClosed(ctx, l.db)
}

// WasClosed is nil if no server of this ledger ever asked for credentials, and else an error that wraps [ErrWasClosed]. A server that
// would be open asks before it is.
func (l *Ledger) WasClosed(ctx context.Context) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	return l.wasClosed(ctx, l.db)
}

// transact runs do in a transaction that is the only one that writes to a part, from its beginning.
func (l *Ledger) transact(ctx context.Context, p part, do func(*sql.Tx) error) error {
	tx, err := l.db.BeginTx(ctx, l.options())
	if err != nil {
		return err
	}
	err = l.lock(ctx, tx, p)
	if err == nil {
		err = do(tx)
	}
	if err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

// bound sees to it that every call has a deadline.
func bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, DefaultTimeout)
}
