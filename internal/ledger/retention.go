package ledger

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
)

var _ retention.Ledger = (*Ledger)(nil)

// aheadOfTime is how far a noted use may lie in the future. One beyond it was noted while a clock went wrong, and gives way to an earlier one.
const aheadOfTime = 24 * time.Hour

// RecordUses notes when entries were last read. An entry's time is written only if what is noted is older by more than [retention.Granularity]. Keys of
// which nothing is known are no error.
func (l *Ledger) RecordUses(ctx context.Context, uses map[cache.Key]time.Time) error {
	if len(uses) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	// In one order everywhere, so that no two servers wait for each other's rows.
	keys := slices.SortedFunc(maps.Keys(uses), compareKeys)
	return l.explain(ctx, l.transact(ctx, entriesPart, func(tx *sql.Tx) (err error) {
		note, err := tx.PrepareContext(ctx, `
			UPDATE entries SET used = $4
			WHERE hash = $3 AND scope = (SELECT id FROM scopes WHERE workspace = $1 AND scope = $2) AND (used < $5 OR used > $6)`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, note.Close()) }()
		for _, key := range keys {
			at := uses[key]
			args := append(l.keyArgs(key), at.Unix(), at.Add(-retention.Granularity).Unix(), at.Add(aheadOfTime).Unix())
			if _, err := note.ExecContext(ctx, args...); err != nil {
				return err
			}
		}
		return nil
	}))
}

func compareKeys(a, b cache.Key) int {
	switch {
	case a == b:
		return 0
	case a.String() < b.String():
		return -1
	}
	return 1
}

const heldQuery = `
	SELECT s.id, s.workspace, s.scope, h.entries, h.bytes, h.used
	FROM (
		SELECT scope, count(*) AS entries, CAST(sum(size) AS BIGINT) AS bytes, max(used) AS used
		FROM entries WHERE scope > $1 GROUP BY scope ORDER BY scope LIMIT $2
	) h JOIN scopes s ON s.id = h.scope ORDER BY s.id`

// Held implements [retention.Ledger].
func (l *Ledger) Held(ctx context.Context, after int64, limit int) (scopes []retention.Scope, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	rows, err := l.db.QueryContext(ctx, heldQuery, after, limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var s retention.Scope
		var used int64
		if err := rows.Scan(&s.ID, &s.Workspace, &s.Scope, &s.Entries, &s.Bytes, &used); err != nil {
			return nil, err
		}
		s.Used = usedTime(used)
		scopes = append(scopes, s)
	}
	return scopes, rows.Err()
}

// HeldBy returns the scope of that name, and [cache.ErrNotExist] if it holds nothing that is known.
func (l *Ledger) HeldBy(ctx context.Context, workspace cache.Workspace, scope cache.Scope) (s retention.Scope, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	s.Workspace, s.Scope = workspace, scope
	var used sql.NullInt64
	err = l.db.QueryRowContext(ctx, `
		SELECT s.id, count(*), CAST(coalesce(sum(e.size), 0) AS BIGINT), max(e.used)
		FROM scopes s JOIN entries e ON e.scope = s.id WHERE s.workspace = $1 AND s.scope = $2 GROUP BY s.id`, string(workspace), l.statements().scope(scope)).
		Scan(&s.ID, &s.Entries, &s.Bytes, &used)
	if errors.Is(err, sql.ErrNoRows) {
		return s, cache.ErrNotExist
	}
	s.Used = usedTime(used.Int64)
	return s, l.explain(ctx, err)
}

// The orders have an index each, whose last column is the id: what is asked for is read from it in order, and nothing is sorted.
const (
	coldestColumns = `SELECT e.id, s.workspace, s.scope, e.hash, e.size, e.created, e.used, e.seal FROM entries e JOIN scopes s ON s.id = e.scope `
	coldestByUse   = coldestColumns + `
		WHERE e.scope = $1 AND e.used < $2 AND (e.used, e.size, e.id) > ($3, $4, $5) ORDER BY e.used, e.size, e.id LIMIT $6`
	coldestByAge = coldestColumns + `
		WHERE e.scope = $1 AND e.created < $2 AND (e.created, e.id) > ($3, $4) ORDER BY e.created, e.id LIMIT $5`
)

// Coldest implements [retention.Ledger].
func (l *Ledger) Coldest(ctx context.Context, q retention.Query) (entries []retention.Entry, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	query, args := coldestQuery(q)
	rows, err := l.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var e retention.Entry
		var made, used int64
		if err := rows.Scan(&e.ID, &e.Key.Workspace, &e.Key.Scope, &e.Key.Hash, &e.Size, &made, &used, &e.Seal); err != nil {
			return nil, err
		}
		e.Created, e.Used = time.Unix(0, made).UTC(), usedTime(used)
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

func coldestQuery(q retention.Query) (query string, args []any) {
	after := retention.Entry{ID: -1, Size: -1}
	if q.After != nil {
		after = *q.After
	}
	if q.Order == retention.ByAge {
		made := int64(-1)
		if q.After != nil {
			made = nanos(after.Created)
		}
		return coldestByAge, []any{q.Scope, nanos(q.Before), made, after.ID, q.Limit}
	}
	return coldestByUse, []any{q.Scope, q.Before.Unix(), usedSeconds(after.Used), after.Size, after.ID, q.Limit}
}

// usedTime and usedSeconds keep apart what nobody knows.
func usedTime(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

func usedSeconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// ForgetByID implements [retention.Ledger].
func (l *Ledger) ForgetByID(ctx context.Context, ids []int64) error {
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	return l.explain(ctx, l.transact(ctx, entriesPart, func(tx *sql.Tx) error {
		f, err := newForgetter(ctx, tx)
		if err != nil {
			return err
		}
		defer f.close()
		for _, id := range ids {
			if _, err := f.forget(ctx, id); err != nil {
				return err
			}
		}
		return f.dropUnused(ctx)
	}))
}
