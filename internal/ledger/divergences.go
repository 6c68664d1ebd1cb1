package ledger

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"math"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
)

// divergenceBounds keep a flood from filling the table.
type divergenceBounds struct {
	// scope bounds those of a scope that are pending or first: later ones are counted. recurring bounds its others: the oldest go.
	scope, recurring int
	// workspace bounds those of a workspace: the scope that has most gives up its oldest.
	workspace int
	// floods bounds the scopes of which is known that they had more: the oldest go.
	floods int
	// age is how long they are kept.
	age time.Duration
	// step bounds those that are recorded at once.
	step int
}

var defaultDivergenceBounds = divergenceBounds{
	scope: 100, recurring: 100, workspace: 5000, floods: 1000, age: 400 * 24 * time.Hour, step: 100,
}

// placeName is the setting that says how far entries were looked at. It is a [Cursor]: the id of an entry, and the id of the one that it was compared with
// last; all of them if that is [math.MaxInt64].
const placeName = "divergences.place"

var _ divergence.Ledger = (*Ledger)(nil)

// DivergencesDue implements [divergence.Ledger].
func (l *Ledger) DivergencesDue(ctx context.Context) (due bool, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return false, err
	}
	entry, other, err := l.divergencesPlace(ctx, l.db)
	if err != nil || other != math.MaxInt64 {
		return err == nil, l.explain(ctx, err)
	}
	err = l.db.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM entries WHERE id > $1) OR EXISTS (SELECT 1 FROM divergences WHERE level = 'pending')`, entry).Scan(&due)
	return due, l.explain(ctx, err)
}

func (l *Ledger) divergencesPlace(ctx context.Context, q querier) (entry, other int64, err error) {
	var value []byte
	err = q.QueryRowContext(ctx, `SELECT value FROM settings WHERE name = $1`, placeName).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, math.MaxInt64, nil
	}
	if err != nil {
		return 0, 0, err
	}
	return Cursor(value).parse()
}

// FindDivergences implements [divergence.Ledger]. Entries have ids in the order in which they become visible, so that each pair is found when the later one of
// both is looked at, in whatever order they were stored, and nothing that was recorded meanwhile is missed. What is found and how far it came is one
// transaction: to be cut off, or to be done by two servers, does no harm.
func (l *Ledger) FindDivergences(ctx context.Context, entries int) (found divergence.Found, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	if err := l.inPlace(); err != nil {
		return found, err
	}
	err = l.transact(ctx, divergencesPart, func(tx *sql.Tx) error {
		found = divergence.Found{} // of this try
		f := divergenceFinder{l, tx, l.divergences, time.UnixMilli(l.now().UnixMilli()).UTC(), &found}
		return f.step(ctx, entries)
	})
	return found, l.explain(ctx, err)
}

// divergenceFinder takes one step in a transaction.
type divergenceFinder struct {
	*Ledger
	tx     *sql.Tx
	bounds divergenceBounds
	now    time.Time
	found  *divergence.Found
}

// entryPair is two entries that differ, of which one is trusted: the one that was recorded later, and the other.
type entryPair struct {
	entry, other int64
	trusted      bool // the later one is
}

func (f *divergenceFinder) step(ctx context.Context, entries int) error {
	entry, other, err := f.divergencesPlace(ctx, f.tx)
	if err != nil {
		return err
	}
	until := entry
	if other == math.MaxInt64 {
		entry++ // that one is done
		other = 0
	}
	var last sql.NullInt64
	if err := f.tx.QueryRowContext(ctx, `SELECT max(id) FROM (SELECT id FROM entries WHERE id >= $1 ORDER BY id LIMIT $2) AS step`, entry, entries).Scan(&last); err != nil {
		return err
	}
	until = max(until, last.Int64)
	pairs, err := f.pairs(ctx, entry, other, until)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if err := f.record(ctx, p); err != nil {
			return err
		}
	}
	entry, other = until, math.MaxInt64
	if len(pairs) == f.bounds.step {
		entry, other = pairs[len(pairs)-1].entry, pairs[len(pairs)-1].other
		f.found.More = true
	} else if err := f.tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM entries WHERE id > $1)`, until).Scan(&f.found.More); err != nil {
		return err
	}
	if err := f.forgetOld(ctx); err != nil {
		return err
	}
	_, err = f.tx.ExecContext(ctx, `
		INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, placeName, []byte(newCursor(entry, other)))
	return err
}

// differ is [divergence.Differ] of the entries e and x.
const differ = `e.sha256 <> x.sha256 AND (e.opaque OR x.opaque OR e.content <> x.content)`

// ofStep are the entries e that are looked at, in their scopes es, with those under the same hash, x.
const ofStep = `WHERE e.id >= $1 AND e.id <= $3 AND (e.id > $1 OR x.id > $2) AND es.id = e.scope AND x.hash = e.hash AND x.id < e.id AND ` + differ

// pairsQuery has two halves: the later entry is the trusted one, or the other one is.
const pairsQuery = `
	SELECT e.id AS later, x.id AS earlier, 1 AS trusted
	FROM entries e CROSS JOIN scopes es CROSS JOIN entries x CROSS JOIN scopes xs ` + ofStep + `
		AND es.scope = $4 AND xs.id = x.scope AND xs.workspace = es.workspace AND xs.scope <> es.scope
	UNION ALL
	SELECT e.id, x.id, 0
	FROM entries e CROSS JOIN scopes es CROSS JOIN scopes xs CROSS JOIN entries x ` + ofStep + `
		AND es.scope <> $4 AND xs.workspace = es.workspace AND xs.scope = $4 AND x.scope = xs.id
	ORDER BY later, earlier LIMIT $5`

// pairs finds those whose later entry is one of these, in order, beginning after the other one of the first. SQLite takes the tables of a CROSS JOIN in their
// order: from the entries that are looked at, by the index of hashes, to those under the same hash.
func (f *divergenceFinder) pairs(ctx context.Context, first, after, last int64) (pairs []entryPair, err error) {
	trusted := f.statements().scope(cache.Trusted)
	rows, err := f.tx.QueryContext(ctx, pairsQuery, first, after, last, trusted, f.bounds.step)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var p entryPair
		if err := rows.Scan(&p.entry, &p.other, &p.trusted); err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, rows.Err()
}

// record keeps a divergence with the records of both entries, unless it is known, or its scope has too many.
func (f *divergenceFinder) record(ctx context.Context, p entryPair) error {
	var sides [2]cache.Entry
	for i, id := range []int64{p.entry, p.other} {
		entries, _, err := queryEntries(ctx, f.tx, entriesQuery+`WHERE e.id = $1`, 1, id)
		if err != nil {
			return err
		}
		if len(entries) == 0 {
			return nil // deleted in this moment
		}
		sides[i] = entries[0]
	}
	trusted, other := &sides[0], &sides[1]
	if !p.trusted {
		trusted, other = other, trusted
	}
	d := divergence.Divergence{
		Workspace: other.Key.Workspace, Hash: other.Key.Hash, Scope: other.Key.Scope, Trusted: trusted.Record, Other: other.Record, Found: f.now,
	}
	pair := d.Pair()
	var known bool
	var pending, first int
	err := f.tx.QueryRowContext(ctx, `
		SELECT EXISTS (SELECT 1 FROM divergences WHERE pair = $1),
			(SELECT count(*) FROM divergences WHERE workspace = $2 AND scope = $3 AND level = 'pending'),
			(SELECT count(*) FROM divergences WHERE workspace = $2 AND scope = $3 AND level = 'first')`,
		pair[:], string(d.Workspace), f.statements().scope(d.Scope)).Scan(&known, &pending, &first)
	switch {
	case err != nil || known:
		return err
	case pending+first >= f.bounds.scope:
		return f.beyond(ctx, d.Workspace, d.Scope)
	}
	if err := f.makeRoom(ctx, d.Workspace); err != nil {
		return err
	}
	f.found.New++
	return f.insert(ctx, &d, pending)
}

func (f *divergenceFinder) insert(ctx context.Context, d *divergence.Divergence, turn int) error {
	records := [2]string{}
	for i, r := range []*cache.Record{&d.Trusted, &d.Other} {
		text, err := json.Marshal(r)
		if err != nil {
			return err
		}
		records[i] = string(text)
	}
	comparison, err := json.Marshal(divergence.Comparison{Members: []divergence.Member{}})
	if err != nil {
		return err
	}
	pair, run, maker := d.Pair(), sha256.Sum256([]byte(divergence.Run(&d.Trusted))), sha256.Sum256([]byte(divergence.Maker(&d.Other)))
	_, err = f.tx.ExecContext(ctx, `
		INSERT INTO divergences (pair, workspace, scope, hash, trusted, other, run, maker, turn, found, level, times, since, comparison)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'pending', 0, $10, $11)`,
		pair[:], string(d.Workspace), f.statements().scope(d.Scope), string(d.Hash), records[0], records[1], run[:], maker[:], turn, d.Found.UnixMilli(), string(comparison))
	return err
}
