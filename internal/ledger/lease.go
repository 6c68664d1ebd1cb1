package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Lease makes holder the one who does the work called name, until ttl from now by the clock of the database, so that replicas need not agree on the
// time. It says whether that is so: it is not as long as another holder's lease runs. To call it again in time is to go on.
//
// A holder that is held up for longer than ttl may still think that it holds the lease when another one does: what is done under a lease must do no
// harm if it is done twice.
func (l *Ledger) Lease(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return false, err // another process would not see it
	}
	res, err := l.db.ExecContext(ctx, l.statements().lease, name, holder, ttl.Milliseconds())
	if err != nil {
		return false, l.explain(ctx, err)
	}
	changed, err := res.RowsAffected()
	return changed == 1, err
}

// EndLease gives a lease up before it is over. One that holder does not hold is no error.
func (l *Ledger) EndLease(ctx context.Context, name, holder string) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	_, err := l.db.ExecContext(ctx, `DELETE FROM leases WHERE name = $1 AND holder = $2`, name, holder)
	return l.explain(ctx, err)
}

// Setting returns what servers remember under a name, nothing if it is nothing.
func (l *Ledger) Setting(ctx context.Context, name string) (value []byte, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	err = l.db.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, name).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return value, l.explain(ctx, err)
}

// SetSetting remembers a value under a name, in the place of what was there.
func (l *Ledger) SetSetting(ctx context.Context, name string, value []byte) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	if value == nil {
		value = []byte{}
	}
	_, err := l.db.ExecContext(ctx, `
		INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, value)
	return l.explain(ctx, err)
}
