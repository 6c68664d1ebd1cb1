package ledger

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/audit"
	"github.com/bezoar-cache/bezoar/internal/cache"
)

// AuditFilter says which events are asked for: those to which all apply of what is set. The zero value is all.
type AuditFilter struct {
	Action    audit.Action
	Workspace cache.Workspace
	// Actor is one of the ids or names in the actor, whole.
	Actor string
	// Since and Until bound the time: not before the one, and before the other.
	Since, Until time.Time
}

// AuditEvents returns rows of the audit log, newest first, at most limit of those that come after the cursor, and the cursor for those that follow; it is
// empty if these are all. Rows that are appended meanwhile do not move others. Nothing is verified here. The limit is 1 or more. [ErrCursor].
func (l *Ledger) AuditEvents(ctx context.Context, filter AuditFilter, after Cursor, limit int) ([]audit.Row, Cursor, error) {
	where, args := filter.where(l.statements())
	if after != "" {
		seq, err := strconv.ParseInt(string(after), 10, 64)
		if err != nil {
			return nil, "", fmt.Errorf("%w: %q", ErrCursor, after)
		}
		where, args = append(where, `seq < ?`), append(args, seq)
	}
	clause := ""
	if len(where) > 0 {
		clause = `WHERE ` + strings.Join(where, ` AND `)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	rows, err := queryAudit(ctx, l.db, numbered(clause+` ORDER BY seq DESC LIMIT ?`), append(args, limit+1)...)
	if err != nil {
		return nil, "", l.explain(ctx, err)
	}
	if len(rows) <= limit {
		return rows, "", nil
	}
	rows = rows[:limit]
	return rows, Cursor(strconv.FormatInt(rows[limit-1].Seq, 10)), nil
}

// where makes conditions of the filter, with question marks for the parameters. The end of a time says nothing of how many rows are before it: the index is no
// help, and rows are looked at from the newest on.
func (f *AuditFilter) where(s *statements) (where []string, args []any) {
	add := func(condition string, value any) { where, args = append(where, condition), append(args, value) }
	// Uploads are most of all rows, and of other actions there are fewer than of a workspace.
	action, workspace := `action = ?`, `workspace = ?`
	if f.Action == audit.Uploaded && f.Workspace != "" {
		action = s.unindexed + action
	} else if f.Action != "" {
		workspace = s.unindexed + workspace
	}
	if f.Action != "" {
		add(action, string(f.Action))
	}
	if f.Workspace != "" {
		add(workspace, string(f.Workspace))
	}
	if f.Actor != "" {
		add(s.position+`(actor, ?) > 0`, audit.InActor(f.Actor))
	}
	if !f.Since.IsZero() {
		add(`time >= ?`, f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		add(s.unindexed+`time < ?`, f.Until.UnixMilli())
	}
	return where, args
}
