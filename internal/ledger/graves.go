package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// buryStep is how many graves at most are written in one transaction. Nobody else writes meanwhile.
const buryStep = 1000

// Bury records that sealed entries were deleted at a time, which is cut to milliseconds. An id's first bit says whether the entry was
// a trusted one. With it go a few graves of each kind that are older than its time in forget: [0] is for untrusted ones, [1] for trusted ones.
//
// After an error some of the ids may be recorded. To bury them again does no harm.
func (l *Ledger) Bury(ctx context.Context, ids [][16]byte, at time.Time, forget [2]time.Time) error {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err // another process would not see them
	}
	for len(ids) > 0 {
		step := ids[:min(len(ids), buryStep)]
		ids = ids[len(step):]
		if err := l.transact(ctx, gravesPart, func(tx *sql.Tx) error { return bury(ctx, tx, step, at, forget) }); err != nil {
			return l.explain(ctx, err)
		}
	}
	return nil
}

func bury(ctx context.Context, tx *sql.Tx, ids [][16]byte, at time.Time, forget [2]time.Time) (err error) {
	insert, err := tx.PrepareContext(ctx, `INSERT INTO buried (id, trusted, at) VALUES ($1, $2, $3)`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, insert.Close()) }()
	for _, id := range ids {
		if _, err := insert.ExecContext(ctx, id[:], id[0]>>7, at.UnixMilli()); err != nil {
			return err
		}
	}
	for trusted, before := range forget {
		// More than came, so that those that are over become fewer; few, so that nobody waits for a great cleaning.
		if _, err := tx.ExecContext(ctx, `
			DELETE FROM buried WHERE number IN (SELECT number FROM buried WHERE trusted = $1 AND at < $2 ORDER BY at LIMIT $3)`,
			trusted, before.UnixMilli(), len(ids)+pruneStep); err != nil {
			return err
		}
	}
	return nil
}

// Buried calls each with at most limit graves that were recorded after the one numbered after, in that order, and returns the number of the
// last one, or after itself. The first number is 1. What is recorded later has higher numbers than all that was seen.
func (l *Ledger) Buried(ctx context.Context, after int64, limit int, each func(id [16]byte, at time.Time)) (last int64, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return after, err
	}
	last, err = l.buried(ctx, after, limit, each)
	return last, l.explain(ctx, err)
}

func (l *Ledger) buried(ctx context.Context, last int64, limit int, each func(id [16]byte, at time.Time)) (_ int64, err error) {
	rows, err := l.db.QueryContext(ctx, `SELECT number, id, at FROM buried WHERE number > $1 ORDER BY number LIMIT $2`, last, limit)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var (
		id sql.RawBytes
		at int64
	)
	for rows.Next() {
		if err := rows.Scan(&last, &id, &at); err != nil {
			return last, err
		}
		each([16]byte(id), time.UnixMilli(at)) // the table takes no other length
	}
	return last, rows.Err()
}
