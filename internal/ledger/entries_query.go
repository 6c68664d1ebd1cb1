package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// ErrCursor is for a text that is no [Cursor].
var ErrCursor = errors.New("this is no place in a list of entries")

// Filter says which entries are asked for: those to which all apply of what is set. The zero value is all.
type Filter struct {
	Workspace cache.Workspace
	Scope     cache.Scope
	Hash      cache.Hash
	// Run, Token and Actor are ids in the producer.
	Run, Token, Actor string
	// Repository is the id of the repository whose pipeline ran or whose code did.
	Repository string
	// Ref is the full ref, such as refs/heads/main.
	Ref string
	// Since and Until bound the time at which an entry was made: not before the one, and before the other.
	Since, Until time.Time
}

// Cursor is a place in a list of entries; empty: its beginning. Its text means nothing to others.
type Cursor string

// Entries returns what is known of the store's entries, newest first, at most limit of those that come after the cursor, and the cursor for those that
// follow; it is empty if these are all. Entries that are recorded meanwhile do not move those that are not. Records are as they were stored,
// with their seal; nobody has verified it here. The limit is 1 or more. [ErrCursor].
func (l *Ledger) Entries(ctx context.Context, filter Filter, after Cursor, limit int) ([]cache.Entry, Cursor, error) {
	where, args := filter.where(l.statements())
	if after != "" {
		created, id, err := after.parse()
		if err != nil {
			return nil, "", err
		}
		where, args = append(where, `(e.created, e.id) < (?, ?)`), append(args, created, id)
	}
	clause := ""
	if len(where) > 0 {
		clause = `WHERE ` + strings.Join(where, ` AND `)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	entries, next, err := queryEntries(ctx, l.db, numbered(entriesQuery+clause+` ORDER BY e.created DESC, e.id DESC LIMIT ?`), limit, append(args, limit+1)...)
	return entries, next, l.explain(ctx, err)
}

const entriesQuery = `
	SELECT e.id, s.workspace, s.scope, e.hash, e.size, e.sha256, e.content, e.inflated, e.members, e.opaque, e.created, e.seal, p.producer
	FROM entries e JOIN scopes s ON s.id = e.scope JOIN producers p ON p.id = e.producer `

// numbered gives the parameters of a statement, each a question mark in it, their numbers.
func numbered(statement string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		statement = after
	}
}

// where makes conditions of the filter, with question marks for the parameters. Nothing is known to SQLite of how many entries fit each, so it is told
// which index to take. A hash, a run, a token or an actor has few; a scope, a workspace, a repository or a ref may have
// most of them, and these are better looked at from the newest on than all sorted.
func (f *Filter) where(s *statements) (where []string, args []any) {
	add := func(condition string, values ...any) { where, args = append(where, condition), append(args, values...) }
	few := f.Hash != "" || f.Run != "" || f.Token != "" || f.Actor != ""
	switch {
	case f.Workspace != "" && f.Scope != "" && !few:
		add(`e.scope = (SELECT id FROM scopes WHERE workspace = ? AND scope = ?)`, string(f.Workspace), s.scope(f.Scope))
	case f.Workspace != "" && f.Scope != "":
		add(s.unindexed+`e.scope = (SELECT id FROM scopes WHERE workspace = ? AND scope = ?)`, string(f.Workspace), s.scope(f.Scope))
	case f.Scope != "":
		add(s.unindexed+`e.scope IN (SELECT id FROM scopes WHERE scope = ?)`, s.scope(f.Scope))
	case f.Workspace != "":
		add(s.unindexed+`e.scope IN (SELECT id FROM scopes WHERE workspace = ?)`, string(f.Workspace))
	}
	if f.Hash != "" {
		add(`e.hash = ?`, string(f.Hash))
	}
	column := s.unindexed + `e.producer`
	if f.Hash == "" && few {
		column = `e.producer`
	}
	var producer []string
	var values []any
	for name, value := range map[string]string{"run_id": f.Run, "token_id": f.Token, "actor_id": f.Actor, "ref": f.Ref} {
		if value != "" {
			producer, values = append(producer, name+` = ?`), append(values, s.text(value))
		}
	}
	if f.Repository != "" {
		producer, values = append(producer, `(repository_id = ? OR source_id = ?)`), append(values, s.text(f.Repository), s.text(f.Repository))
	}
	if len(producer) > 0 {
		add(column+` IN (SELECT id FROM producers WHERE `+strings.Join(producer, ` AND `)+`)`, values...)
	}
	if !f.Since.IsZero() {
		add(`e.created >= ?`, nanos(f.Since))
	}
	if !f.Until.IsZero() {
		add(`e.created < ?`, nanos(f.Until))
	}
	return where, args
}

func (c Cursor) parse() (created, id int64, err error) {
	first, second, ok := strings.Cut(string(c), ".")
	created, err1 := strconv.ParseInt(first, 36, 64)
	id, err2 := strconv.ParseInt(second, 36, 64)
	if !ok || err1 != nil || err2 != nil {
		return 0, 0, fmt.Errorf("%w: begin anew", ErrCursor)
	}
	return created, id, nil
}

func newCursor(created, id int64) Cursor {
	return Cursor(strconv.FormatInt(created, 36) + "." + strconv.FormatInt(id, 36))
}

func queryEntries(ctx context.Context, q rowsQuerier, query string, limit int, args ...any) (entries []cache.Entry, next Cursor, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if len(entries) == limit {
			return entries, next, nil
		}
		e, created, id, err := scanEntry(rows)
		if err != nil {
			return nil, "", err
		}
		entries, next = append(entries, e), newCursor(created, id)
	}
	return entries, "", rows.Err()
}

func scanEntry(rows *sql.Rows) (e cache.Entry, created, id int64, err error) {
	var sha256, content []byte
	var producer string
	r := &e.Record
	if err := rows.Scan(&id, &e.Key.Workspace, &e.Key.Scope, &e.Key.Hash, &r.Size, &sha256, &content, &r.Inflated, &r.Members, &r.Opaque,
		&created, &r.Seal, &producer); err != nil {
		return e, 0, 0, err
	}
	copy(r.SHA256[:], sha256)
	copy(r.Content[:], content)
	r.Created = time.Unix(0, created).UTC()
	if err := json.Unmarshal([]byte(producer), &r.Producer); err != nil {
		return e, 0, 0, fmt.Errorf("the producer of the entry %q: %w", e.Key, err)
	}
	return e, created, id, nil
}
