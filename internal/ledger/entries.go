package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// RecordEntries notes entries that the store holds, all of them or none. One that is recorded again takes the place of what was known of
// its key.
func (l *Ledger) RecordEntries(ctx context.Context, entries []cache.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	rows, err := newEntryRows(entries)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err // nobody else would see them
	}
	return l.explain(ctx, l.transact(ctx, entriesPart, func(tx *sql.Tx) error {
		r, err := newRecorder(ctx, tx, l.statements(), l.now())
		if err != nil {
			return err
		}
		defer r.close()
		for i := range entries {
			if err := r.record(ctx, entries[i].Key, &rows[i]); err != nil {
				return err
			}
		}
		return r.finish(ctx)
	}))
}

// ForgetEntries notes that the store holds no entries under these keys any more. Keys of which nothing is known are no error.
func (l *Ledger) ForgetEntries(ctx context.Context, keys []cache.Key) error {
	if len(keys) == 0 {
		return nil
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	return l.explain(ctx, l.transact(ctx, entriesPart, func(tx *sql.Tx) (err error) {
		find, err := tx.PrepareContext(ctx, `
			SELECT id FROM entries WHERE hash = $3 AND scope = (SELECT id FROM scopes WHERE workspace = $1 AND scope = $2)`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, find.Close()) }()
		f, err := newForgetter(ctx, tx)
		if err != nil {
			return err
		}
		defer f.close()
		for _, key := range keys {
			var id int64
			err := find.QueryRowContext(ctx, l.keyArgs(key)...).Scan(&id)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return err
			}
			if _, err := f.forget(ctx, id); err != nil {
				return err
			}
		}
		return f.dropUnused(ctx)
	}))
}

// keyArgs are the parameters of a statement that finds an entry: workspace, scope, hash.
func (l *Ledger) keyArgs(key cache.Key) []any {
	return []any{string(key.Workspace), l.statements().scope(key.Scope), string(key.Hash)}
}

// entryRow is an entry's record in the form in which it is kept, so that two can be compared.
type entryRow struct {
	size, inflated  int64
	members         int
	opaque          bool
	sha256, content [sha256.Size]byte
	created         int64
	seal            string
	producer        [sha256.Size]byte // the digest of its JSON
	text            string            // that JSON
	made            cache.Producer    // that producer, to search by
}

func newEntryRow(r *cache.Record) (entryRow, error) {
	text, err := json.Marshal(r.Producer)
	if err != nil {
		return entryRow{}, fmt.Errorf("encode the producer: %w", err)
	}
	return entryRow{
		size: r.Size, inflated: r.Inflated, members: r.Members, opaque: r.Opaque, sha256: r.SHA256, content: r.Content,
		created: nanos(r.Created), seal: r.Seal, producer: sha256.Sum256(text), text: string(text), made: r.Producer,
	}, nil
}

func newEntryRows(entries []cache.Entry) (rows []entryRow, err error) {
	rows = make([]entryRow, len(entries))
	for i := range entries {
		if rows[i], err = newEntryRow(&entries[i].Record); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// nanos is how an entry's time is kept. One that nanoseconds do not reach, and that no clock of ours has shown, is the first or last that they do.
func nanos(t time.Time) int64 {
	switch {
	case t.Year() < 1970:
		return 0
	case t.Year() >= 2262:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// entriesChunk is how many entries one statement brings.
const entriesChunk = 50

// recorder writes entries in a transaction. What many of them have in common it looks up once. They are there after finish.
type recorder struct {
	tx              *sql.Tx
	statements      *statements
	scope, producer *sql.Stmt
	scopes          map[[2]string]int64 // by workspace and scope
	producers       map[[sha256.Size]byte]int64
	used            int64 // now, in seconds: what nobody has read yet counts as used when it came in

	args   []any // of the entries that wait
	places map[place]struct{}
}

// place is where an entry is. One statement cannot bring two for the same.
type place struct {
	scope int64
	hash  cache.Hash
}

func newRecorder(ctx context.Context, tx *sql.Tx, s *statements, now time.Time) (*recorder, error) {
	r := &recorder{
		tx: tx, statements: s, used: now.Unix(), scopes: make(map[[2]string]int64), producers: make(map[[sha256.Size]byte]int64), places: make(map[place]struct{}),
	}
	// An update that changes nothing makes RETURNING return the id of a row that is there.
	var errs [2]error
	r.scope, errs[0] = tx.PrepareContext(ctx, `
		INSERT INTO scopes (workspace, scope) VALUES ($1, $2) ON CONFLICT (workspace, scope) DO UPDATE SET scope = excluded.scope RETURNING id`)
	r.producer, errs[1] = tx.PrepareContext(ctx, s.producer)
	if err := errors.Join(errs[:]...); err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

// close ends the statements. The end of the transaction would end them too, and tell of what went wrong.
func (r *recorder) close() {
	for _, s := range []*sql.Stmt{r.scope, r.producer} {
		if s != nil {
			_ = s.Close()
		}
	}
}

func (r *recorder) record(ctx context.Context, key cache.Key, row *entryRow) error {
	scope, err := idOf(ctx, r.scopes, [2]string{string(key.Workspace), string(key.Scope)}, r.scope, string(key.Workspace), r.statements.scope(key.Scope))
	if err != nil {
		return err
	}
	producer, err := idOf(ctx, r.producers, row.producer, r.producer, r.statements.producerArgs(row)...)
	if err != nil {
		return err
	}
	at := place{scope, key.Hash}
	if _, twice := r.places[at]; twice || len(r.places) == entriesChunk {
		if err := r.finish(ctx); err != nil {
			return err
		}
	}
	r.places[at] = struct{}{}
	r.args = append(r.args, scope, string(key.Hash), row.size, row.sha256[:], row.content[:], row.inflated, row.members, row.opaque,
		row.created, row.seal, producer, r.used)
	return nil
}

// finish writes the entries that wait.
func (r *recorder) finish(ctx context.Context) error {
	if len(r.places) == 0 {
		return nil
	}
	const row = `(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	statement := r.statements.many(r.statements.entries(row + strings.Repeat(`, `+row, len(r.places)-1)))
	_, err := r.tx.ExecContext(ctx, statement, r.args...)
	clear(r.places)
	r.args = r.args[:0]
	return err
}

// idOf returns the id of a row that the statement finds or makes.
func idOf[K comparable](ctx context.Context, known map[K]int64, key K, statement *sql.Stmt, args ...any) (int64, error) {
	if id, ok := known[key]; ok {
		return id, nil
	}
	var id int64
	if err := statement.QueryRowContext(ctx, args...).Scan(&id); err != nil {
		return 0, err
	}
	known[key] = id
	return id, nil
}

// forgetter deletes entries in a transaction, and at its end what only they had.
type forgetter struct {
	tx                *sql.Tx
	entry             *sql.Stmt
	scopes, producers map[int64]struct{}
}

func newForgetter(ctx context.Context, tx *sql.Tx) (*forgetter, error) {
	entry, err := tx.PrepareContext(ctx, `DELETE FROM entries WHERE id = $1 RETURNING scope, producer`)
	return &forgetter{tx: tx, entry: entry, scopes: make(map[int64]struct{}), producers: make(map[int64]struct{})}, err
}

func (f *forgetter) close() { _ = f.entry.Close() }

// forget deletes the entry with that id, and says whether there was one.
func (f *forgetter) forget(ctx context.Context, id int64) (bool, error) {
	var scope, producer int64
	err := f.entry.QueryRowContext(ctx, id).Scan(&scope, &producer)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	f.scopes[scope], f.producers[producer] = struct{}{}, struct{}{}
	return true, nil
}

func (f *forgetter) dropUnused(ctx context.Context) error {
	for id := range f.scopes {
		if _, err := f.tx.ExecContext(ctx, `DELETE FROM scopes WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM entries WHERE scope = $1)`, id); err != nil {
			return err
		}
	}
	for id := range f.producers {
		if _, err := f.tx.ExecContext(ctx, `DELETE FROM producers WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM entries WHERE producer = $1)`, id); err != nil {
			return err
		}
	}
	return nil
}
