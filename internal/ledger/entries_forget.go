package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// forgetOthers forgets what was known when the listing began and was not in it. What was recorded since, under whatever key, has another id.
func (r *reconciler) forgetOthers(ctx context.Context) error {
	for after := int64(0); after < r.last; {
		ids, err := r.ids(ctx, after)
		if err != nil || len(ids) == 0 {
			return err
		}
		after = ids[len(ids)-1]
		var gone []int64
		for _, id := range ids {
			if !r.there.has(id) {
				gone = append(gone, id)
			}
		}
		if r.options.DryRun {
			r.counts.Forgotten += int64(len(gone))
			continue
		}
		if len(gone) == 0 {
			continue
		}
		if err := r.write(ctx, func(ctx context.Context, tx *sql.Tx) error { return r.forget(ctx, tx, gone) }); err != nil {
			return err
		}
	}
	if r.options.DryRun {
		return nil
	}
	return r.write(ctx, dropAllUnused)
}

func (r *reconciler) ids(ctx context.Context, after int64) (ids []int64, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	rows, err := r.ledger.db.QueryContext(ctx, `SELECT id FROM entries WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3`, after, r.last, reconcileBatch)
	if err != nil {
		return nil, r.ledger.explain(ctx, err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var id int64
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, r.ledger.explain(ctx, rows.Err())
}

func (r *reconciler) forget(ctx context.Context, tx *sql.Tx, ids []int64) error {
	f, err := newForgetter(ctx, tx)
	if err != nil {
		return err
	}
	defer f.close()
	for _, id := range ids {
		found, err := f.forget(ctx, id)
		if err != nil {
			return err
		}
		if found {
			r.counts.Forgotten++
		}
	}
	return f.dropUnused(ctx)
}

// write runs one step, and then lets others have their turn.
func (r *reconciler) write(ctx context.Context, do func(context.Context, *sql.Tx) error) error {
	began := time.Now()
	before := r.counts
	step, cancel := bound(ctx)
	err := r.ledger.transact(step, entriesPart, func(tx *sql.Tx) error { return do(step, tx) })
	err = r.ledger.explain(step, err)
	cancel()
	if err != nil {
		r.counts = before // nothing of it is done
		return err
	}
	pause := time.NewTimer(min(time.Since(began), reconcilePause))
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
		return nil
	}
}
