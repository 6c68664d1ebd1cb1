package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"time"

	"github.com/bezoar-cache/bezoar/internal/divergence"
)

// PendingDivergences implements [divergence.Ledger].
func (l *Ledger) PendingDivergences(ctx context.Context, limit int) ([]divergence.Divergence, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	all, err := queryDivergences(ctx, l.db, `WHERE level = 'pending' ORDER BY turn, id LIMIT $1`, limit)
	return all, l.explain(ctx, err)
}

// SettleDivergence implements [divergence.Ledger]. [ErrNoDivergence] if it is gone.
func (l *Ledger) SettleDivergence(ctx context.Context, id int64, c divergence.Comparison) (d divergence.Divergence, settled bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return d, false, err
	}
	err = l.transact(ctx, divergencesPart, func(tx *sql.Tx) (err error) {
		settled = false
		if d, err = oneDivergence(ctx, tx, id); err != nil || d.Level != divergence.Pending {
			return err
		}
		d.Comparison, settled = c, true
		if c.State == divergence.Same {
			_, err := tx.ExecContext(ctx, `DELETE FROM divergences WHERE id = $1`, id)
			return err
		}
		return l.settle(ctx, tx, &d)
	})
	return d, settled, l.explain(ctx, err)
}

func (l *Ledger) settle(ctx context.Context, tx *sql.Tx, d *divergence.Divergence) error {
	var signature any // NULL
	d.Level, d.Times, d.Since = divergence.First, 0, d.Found
	if !d.Comparison.Signature.IsZero() {
		signature = d.Comparison.Signature[:]
		if err := judge(ctx, tx, d); err != nil {
			return err
		}
	}
	text, err := json.Marshal(d.Comparison)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `UPDATE divergences SET level = $1, signature = $2, times = $3, since = $4, comparison = $5 WHERE id = $6`,
		string(d.Level), signature, d.Times, d.Since.UnixMilli(), string(text), d.ID); err != nil {
		return err
	}
	if d.Level != divergence.Recurring {
		return nil
	}
	_, err = tx.ExecContext(ctx, `
		DELETE FROM divergences WHERE id IN (
			SELECT id FROM divergences WHERE workspace = $1 AND scope = $2 AND level = 'recurring' ORDER BY id DESC LIMIT 100 OFFSET $3)`,
		string(d.Workspace), l.statements().scope(d.Scope), l.divergences.recurring)
	return err
}

// judge decides whether a divergence recurs, by those of the same signature that were settled before. What its own maker made does not count for the level, nor
// does what is under the same hash.
func judge(ctx context.Context, tx *sql.Tx, d *divergence.Divergence) error {
	var (
		times, here  int
		since        sql.NullInt64
		hashes, runs int
	)
	signature := d.Comparison.Signature[:]
	if err := tx.QueryRowContext(ctx, `
		SELECT coalesce(max(times), 0), min(since), coalesce(sum(CASE WHEN hash = $3 THEN 1 ELSE 0 END), 0)
		FROM divergences WHERE workspace = $1 AND signature = $2`, string(d.Workspace), signature, string(d.Hash)).Scan(&times, &since, &here); err != nil {
		return err
	}
	if err := tx.QueryRowContext(ctx, `
		SELECT count(DISTINCT hash), count(DISTINCT run) FROM divergences
		WHERE workspace = $1 AND signature = $2 AND hash <> $3 AND maker <> (SELECT maker FROM divergences WHERE id = $4)`,
		string(d.Workspace), signature, string(d.Hash), d.ID).Scan(&hashes, &runs); err != nil {
		return err
	}
	d.Times = times
	if here == 0 {
		d.Times++
	}
	if since.Valid {
		d.Since = time.UnixMilli(min(since.Int64, d.Found.UnixMilli())).UTC()
	}
	if hashes >= divergence.RecurringHashes && runs >= divergence.RecurringRuns {
		d.Level = divergence.Recurring
	}
	return nil
}
