package ledger

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// Held is what a scope holds, as far as it is known.
type Held struct {
	Workspace cache.Workspace
	Scope     cache.Scope
	Entries   int64
	Bytes     int64
	// Newest is when the newest of the entries was made.
	Newest time.Time
	// Used is when one of them was last read or came in, to [retention.Granularity]; zero: nobody knows.
	Used time.Time
}

// Scopes returns the scopes that hold entries, by workspace and name, at most limit of those that come after the cursor, and the cursor for those that follow; it is
// empty if these are all. An empty workspace is all of them. It counts what the scopes hold: on scopes with many entries it takes its time. The limit is 1 or
// more. [ErrCursor].
func (l *Ledger) Scopes(ctx context.Context, workspace cache.Workspace, after Cursor, limit int) (held []Held, next Cursor, err error) {
	var where []string
	var args []any
	if workspace != "" {
		where, args = append(where, `workspace = ?`), append(args, string(workspace))
	}
	if after != "" {
		w, s, err := after.parseScope()
		if err != nil {
			return nil, "", err
		}
		where, args = append(where, `(workspace, scope) > (?, ?)`), append(args, string(w), l.statements().scope(s))
	}
	clause := ""
	if len(where) > 0 {
		clause = `WHERE ` + strings.Join(where, ` AND `)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	rows, err := l.db.QueryContext(ctx, numbered(`
		SELECT s.workspace, s.scope, count(e.id), CAST(coalesce(sum(e.size), 0) AS BIGINT), coalesce(max(e.created), 0), coalesce(max(e.used), 0)
		FROM (SELECT id, workspace, scope FROM scopes `+clause+` ORDER BY workspace, scope LIMIT ?) s LEFT JOIN entries e ON e.scope = s.id
		GROUP BY s.id, s.workspace, s.scope ORDER BY s.workspace, s.scope`), append(args, limit+1)...)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	seen := 0
	var last Held
	for rows.Next() {
		if seen == limit {
			return held, newScopeCursor(last.Workspace, last.Scope), nil
		}
		seen++
		var h Held
		var newest, used int64
		if err := rows.Scan(&h.Workspace, &h.Scope, &h.Entries, &h.Bytes, &newest, &used); err != nil {
			return nil, "", err
		}
		h.Newest, h.Used = time.Unix(0, newest).UTC(), usedTime(used)
		last = h
		if h.Entries > 0 { // else it is about to go
			held = append(held, h)
		}
	}
	return held, "", rows.Err()
}

func newScopeCursor(workspace cache.Workspace, scope cache.Scope) Cursor {
	return Cursor(base64.RawURLEncoding.EncodeToString([]byte(string(workspace) + " " + string(scope))))
}

func (c Cursor) parseScope() (cache.Workspace, cache.Scope, error) {
	text, err := base64.RawURLEncoding.DecodeString(string(c))
	workspace, scope, ok := strings.Cut(string(text), " ")
	if err != nil || !ok {
		return "", "", fmt.Errorf("%w: begin anew", ErrCursor)
	}
	w, err1 := cache.ParseWorkspace(workspace)
	s, err2 := cache.ParseScope(scope)
	if err1 != nil || err2 != nil {
		return "", "", fmt.Errorf("%w: begin anew", ErrCursor)
	}
	return w, s, nil
}
