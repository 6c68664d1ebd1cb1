package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
)

// ErrNoDivergence is for an id that no divergence has.
var ErrNoDivergence = errors.New("there is no such divergence")

// DivergenceFilter says which divergences are asked for: those to which all applies of what is set. The zero value is all.
type DivergenceFilter struct {
	Workspace cache.Workspace
	Scope     cache.Scope
	Hash      cache.Hash
	Level     divergence.Level
	// Since and Until bound the time at which it was found: not before the one, and before the other.
	Since, Until time.Time
}

// Divergences returns the divergences that a filter finds, newest first, at most limit of those that come after the cursor, and the cursor for those that
// follow; it is empty if these are all. The limit is 1 or more. [ErrCursor].
func (l *Ledger) Divergences(ctx context.Context, filter DivergenceFilter, after Cursor, limit int) ([]divergence.Divergence, Cursor, error) {
	var (
		where []string
		args  []any
	)
	add := func(condition string, value any) { where, args = append(where, condition), append(args, value) }
	if filter.Workspace != "" {
		add(`workspace = ?`, string(filter.Workspace))
	}
	if filter.Scope != "" {
		add(`scope = ?`, l.statements().scope(filter.Scope))
	}
	if filter.Hash != "" {
		add(`hash = ?`, string(filter.Hash))
	}
	if filter.Level != "" {
		add(`level = ?`, string(filter.Level))
	}
	if !filter.Since.IsZero() {
		add(`found >= ?`, filter.Since.UnixMilli())
	}
	if !filter.Until.IsZero() {
		add(`found < ?`, filter.Until.UnixMilli())
	}
	if after != "" {
		_, id, err := after.parse()
		if err != nil {
			return nil, "", err
		}
		add(`id < ?`, id)
	}
	clause := ``
	if len(where) > 0 {
		clause = `WHERE ` + strings.Join(where, ` AND `)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	all, err := queryDivergences(ctx, l.db, numbered(clause+` ORDER BY id DESC LIMIT ?`), append(args, limit+1)...)
	if err != nil {
		return nil, "", l.explain(ctx, err)
	}
	if len(all) <= limit {
		return all, "", nil
	}
	return all[:limit], newCursor(0, all[limit-1].ID), nil
}

// Divergence returns one by its id. [ErrNoDivergence].
func (l *Ledger) Divergence(ctx context.Context, id int64) (divergence.Divergence, error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	d, err := oneDivergence(ctx, l.db, id)
	if errors.Is(err, ErrNoDivergence) {
		return d, err
	}
	return d, l.explain(ctx, err)
}

// DivergenceFloods returns the scopes that had more divergences than are kept, of all workspaces if that is empty, the last one first.
func (l *Ledger) DivergenceFloods(ctx context.Context, workspace cache.Workspace) (floods []divergence.Flood, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	rows, err := l.db.QueryContext(ctx, `
		SELECT workspace, scope, count, since, last FROM divergence_floods WHERE workspace = $1 OR $1 = '' ORDER BY last DESC, workspace, scope`, string(workspace))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var f divergence.Flood
		var since, last int64
		if err := rows.Scan(&f.Workspace, &f.Scope, &f.Count, &since, &last); err != nil {
			return nil, err
		}
		f.Since, f.Last = time.UnixMilli(since).UTC(), time.UnixMilli(last).UTC()
		floods = append(floods, f)
	}
	return floods, rows.Err()
}

func oneDivergence(ctx context.Context, q rowsQuerier, id int64) (divergence.Divergence, error) {
	all, err := queryDivergences(ctx, q, `WHERE id = $1`, id)
	if err != nil {
		return divergence.Divergence{}, err
	}
	if len(all) == 0 {
		return divergence.Divergence{}, fmt.Errorf("%w: %d; they are kept for a time and in a number that are bounded", ErrNoDivergence, id)
	}
	return all[0], nil
}

func queryDivergences(ctx context.Context, q rowsQuerier, clause string, args ...any) (all []divergence.Divergence, err error) {
	rows, err := q.QueryContext(ctx, `
		SELECT id, workspace, scope, hash, trusted, other, found, level, signature, times, since, comparison FROM divergences `+clause, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		d, err := scanDivergence(rows)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, rows.Err()
}

func scanDivergence(rows *sql.Rows) (d divergence.Divergence, err error) {
	var (
		trusted, other, comparison string
		signature                  []byte
		found, since               int64
	)
	if err := rows.Scan(&d.ID, &d.Workspace, &d.Scope, &d.Hash, &trusted, &other, &found, &d.Level, &signature, &d.Times, &since, &comparison); err != nil {
		return d, err
	}
	for _, part := range []struct {
		text string
		into any
	}{{trusted, &d.Trusted}, {other, &d.Other}, {comparison, &d.Comparison}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return d, fmt.Errorf("the divergence %d: %w", d.ID, err)
		}
	}
	copy(d.Comparison.Signature[:], signature)
	d.Found, d.Since = time.UnixMilli(found).UTC(), time.UnixMilli(since).UTC()
	return d, nil
}
