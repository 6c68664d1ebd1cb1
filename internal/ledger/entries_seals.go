package ledger

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Seals calls each with what is known of these keys: the key, and of the record the seal and the time.
func (l *Ledger) Seals(ctx context.Context, keys []cache.Key, each func(cache.Entry)) (err error) {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	find, err := l.db.PrepareContext(ctx, `
		SELECT seal, created FROM entries WHERE hash = $3 AND scope = (SELECT id FROM scopes WHERE workspace = $1 AND scope = $2)`)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, find.Close()) }()
	for _, key := range keys {
		known := cache.Entry{Key: key}
		var created int64
		err := find.QueryRowContext(ctx, l.keyArgs(key)...).Scan(&known.Record.Seal, &created)
		switch {
		case errors.Is(err, sql.ErrNoRows):
		case err != nil:
			return err
		default:
			known.Record.Created = time.Unix(0, created).UTC()
			each(known)
		}
	}
	return nil
}
