package ledger

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// PurgedState says where an entry is that a purge took.
type PurgedState string

// The states of an entry in a purge.
const (
	// PurgedFound is where it was, or on its way into quarantine.
	PurgedFound PurgedState = "found"
	// PurgedHeld is in quarantine.
	PurgedHeld PurgedState = "held"
	// PurgedAbsent was not in the store any more.
	PurgedAbsent PurgedState = "absent"
	// PurgedRestored is back.
	PurgedRestored PurgedState = "restored"
	// PurgedOccupied is in quarantine after an undoing, because its key was written anew.
	PurgedOccupied PurgedState = "occupied"
	// PurgedDiscarded is deleted.
	PurgedDiscarded PurgedState = "discarded"
)

// PurgedEntry is an entry that a purge took. The id is that of its seal.
type PurgedEntry struct {
	ID    [16]byte
	State PurgedState
	cache.Entry
}

// PurgedCount counts entries of a purge that are in one state.
type PurgedCount struct {
	Entries, Bytes int64
}

// TakePurged notes that a purge takes entries, and that they are no entries of the store any more. One that it has taken already stays in its state, but for one
// that was brought back, is absent or discarded: that one is there again.
func (l *Ledger) TakePurged(ctx context.Context, purge string, entries []PurgedEntry) error {
	if len(entries) == 0 {
		return nil
	}
	records := make([]string, len(entries))
	for i := range entries {
		text, err := json.Marshal(entries[i].Record)
		if err != nil {
			return fmt.Errorf("encode the record: %w", err)
		}
		records[i] = string(text)
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	return l.explain(ctx, l.transact(ctx, entriesPart, func(tx *sql.Tx) (err error) {
		take, err := tx.PrepareContext(ctx, `
			INSERT INTO purged (purge, id, state, workspace, scope, hash, size, record) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
			ON CONFLICT (purge, id) DO UPDATE SET state = excluded.state WHERE purged.state NOT IN ('found', 'held')`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, take.Close()) }()
		f, err := newForgetter(ctx, tx)
		if err != nil {
			return err
		}
		defer f.close()
		for i := range entries {
			e := &entries[i]
			if _, err := take.ExecContext(ctx, purge, e.ID[:], string(e.State), string(e.Key.Workspace), l.statements().scope(e.Key.Scope), string(e.Key.Hash),
				e.Record.Size, records[i]); err != nil {
				return err
			}
			if err := f.forgetSealed(ctx, l.keyArgs(e.Key), e.Record.Seal); err != nil {
				return err
			}
		}
		return f.dropUnused(ctx)
	}))
}

// forgetSealed deletes the entry with that key and seal, if it is known.
func (f *forgetter) forgetSealed(ctx context.Context, key []any, seal string) error {
	var id int64
	err := f.tx.QueryRowContext(ctx, `
		SELECT id FROM entries WHERE hash = $3 AND scope = (SELECT id FROM scopes WHERE workspace = $1 AND scope = $2) AND seal = $4`, append(key, seal)...).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		_, err = f.forget(ctx, id)
	}
	return err
}

// Purged returns entries of a purge in a state, by id, at most limit of those after one.
func (l *Ledger) Purged(ctx context.Context, purge string, state PurgedState, after [16]byte, limit int) (entries []PurgedEntry, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	rows, err := l.db.QueryContext(ctx, `
		SELECT id, workspace, scope, hash, record FROM purged WHERE purge = $1 AND state = $2 AND id > $3 ORDER BY id LIMIT $4`, purge, string(state), after[:], limit)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		e := PurgedEntry{State: state}
		var id []byte
		var record string
		if err := rows.Scan(&id, &e.Key.Workspace, &e.Key.Scope, &e.Key.Hash, &record); err != nil {
			return nil, err
		}
		e.ID = [16]byte(id) // the table takes no other length
		if err := json.Unmarshal([]byte(record), &e.Record); err != nil {
			return nil, fmt.Errorf("the record of the entry %q: %w", e.Key, err)
		}
		entries = append(entries, e)
	}
	return entries, rows.Err()
}

// MarkPurged notes that entries of a purge are in another state now, as each says. Those that are back are entries of the store again.
func (l *Ledger) MarkPurged(ctx context.Context, purge string, entries []PurgedEntry) error {
	if len(entries) == 0 {
		return nil
	}
	var back []cache.Entry
	for i := range entries {
		if entries[i].State == PurgedRestored {
			back = append(back, entries[i].Entry)
		}
	}
	rows, err := newEntryRows(back)
	if err != nil {
		return err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return err
	}
	return l.explain(ctx, l.transact(ctx, entriesPart, func(tx *sql.Tx) (err error) {
		mark, err := tx.PrepareContext(ctx, `UPDATE purged SET state = $1 WHERE purge = $2 AND id = $3`)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, mark.Close()) }()
		r, err := newRecorder(ctx, tx, l.statements(), l.now())
		if err != nil {
			return err
		}
		defer r.close()
		for i := range entries {
			if _, err := mark.ExecContext(ctx, string(entries[i].State), purge, entries[i].ID[:]); err != nil {
				return err
			}
		}
		for i := range back {
			if err := r.record(ctx, back[i].Key, &rows[i]); err != nil {
				return err
			}
		}
		return r.finish(ctx)
	}))
}

// CountPurged counts what a purge took, by state.
func (l *Ledger) CountPurged(ctx context.Context, purge string) (counts map[PurgedState]PurgedCount, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = l.explain(ctx, err) }()
	rows, err := l.db.QueryContext(ctx, `SELECT state, count(*), CAST(sum(size) AS BIGINT) FROM purged WHERE purge = $1 GROUP BY state`, purge)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	counts = make(map[PurgedState]PurgedCount)
	for rows.Next() {
		var state PurgedState
		var c PurgedCount
		if err := rows.Scan(&state, &c.Entries, &c.Bytes); err != nil {
			return nil, err
		}
		counts[state] = c
	}
	return counts, rows.Err()
}
