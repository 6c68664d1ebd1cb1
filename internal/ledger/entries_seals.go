package ledger

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// sealsChunk is how many entries are looked for by one statement.
const sealsChunk = 50

// Seals calls each with what is known of these keys, in any order: the key, and of the record the seal and the time.
func (l *Ledger) Seals(ctx context.Context, keys []cache.Key, each func(cache.Entry)) (err error) {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	type part struct {
		workspace cache.Workspace
		scope     cache.Scope
	}
	hashes := make(map[part][]cache.Hash)
	for _, key := range keys {
		p := part{key.Workspace, key.Scope}
		hashes[p] = append(hashes[p], key.Hash)
	}
	for p, hashes := range hashes {
		var scope int64
		err := l.db.QueryRowContext(ctx, `SELECT id FROM scopes WHERE workspace = $1 AND scope = $2`, string(p.workspace), l.statements().scope(p.scope)).Scan(&scope)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		for some := range slices.Chunk(hashes, sealsChunk) {
			if err := l.seals(ctx, cache.Key{Workspace: p.workspace, Scope: p.scope}, scope, some, each); err != nil {
				return err
			}
		}
	}
	return nil
}

// sealsQuery looks by the hash: of a scope there may be many entries.
func (l *Ledger) sealsQuery(hashes int) string {
	return l.statements().many(`SELECT hash, seal, created FROM entries
		WHERE hash IN (?` + strings.Repeat(`, ?`, hashes-1) + `) AND ` + l.statements().unindexed + `scope = ?`)
}

func (l *Ledger) seals(ctx context.Context, key cache.Key, scope int64, hashes []cache.Hash, each func(cache.Entry)) (err error) {
	args := make([]any, 0, len(hashes)+1)
	for _, hash := range hashes {
		args = append(args, string(hash))
	}
	rows, err := l.db.QueryContext(ctx, l.sealsQuery(len(hashes)), append(args, scope)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		known := cache.Entry{Key: key}
		var created int64
		if err := rows.Scan(&known.Key.Hash, &known.Record.Seal, &created); err != nil {
			return err
		}
		known.Record.Created = time.Unix(0, created).UTC()
		each(known)
	}
	return rows.Err()
}
