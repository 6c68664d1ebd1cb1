package ledger

import (
	"context"
	"database/sql"
	"errors"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// knownEntry is what is known of a key; its id is 0 if that is nothing.
type knownEntry struct {
	id  int64
	row entryRow // without the producer itself
}

func (k *knownEntry) is(listed *entryRow) bool {
	want := *listed
	want.text, want.made = "", cache.Producer{}
	return k.row == want
}

const knownQuery = `
	SELECT e.id, e.size, e.sha256, e.content, e.inflated, e.members, e.opaque, e.created, e.seal, p.digest
	FROM entries e JOIN producers p ON p.id = e.producer
	WHERE e.hash = $3 AND e.scope = (SELECT id FROM scopes WHERE workspace = $1 AND scope = $2)`

func (l *Ledger) findEntry(ctx context.Context, find *sql.Stmt, key cache.Key) (k knownEntry, err error) {
	var sha256, content, producer []byte
	r := &k.row
	err = find.QueryRowContext(ctx, l.keyArgs(key)...).
		Scan(&k.id, &r.size, &sha256, &content, &r.inflated, &r.members, &r.opaque, &r.created, &r.seal, &producer)
	if errors.Is(err, sql.ErrNoRows) {
		return knownEntry{}, nil
	}
	copy(r.sha256[:], sha256)
	copy(r.content[:], content)
	copy(r.producer[:], producer)
	return k, err
}

// look returns what is known of the keys of entries.
func (r *reconciler) look(ctx context.Context, entries []cache.Entry) (known []knownEntry, err error) {
	ctx, cancel := bound(ctx)
	defer cancel()
	defer func() { err = r.ledger.explain(ctx, err) }()
	find, err := r.ledger.db.PrepareContext(ctx, knownQuery)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, find.Close()) }()
	known = make([]knownEntry, len(entries))
	for i := range entries {
		if known[i], err = r.ledger.findEntry(ctx, find, entries[i].Key); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// dropAllUnused deletes scopes and producers that no entry has any more: those of entries that were recorded again under others.
func dropAllUnused(ctx context.Context, tx *sql.Tx) error {
	for _, text := range []string{
		`DELETE FROM scopes WHERE NOT EXISTS (SELECT 1 FROM entries WHERE scope = scopes.id)`,
		`DELETE FROM producers WHERE NOT EXISTS (SELECT 1 FROM entries WHERE producer = producers.id)`,
	} {
		if _, err := tx.ExecContext(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// bits is a set of positive numbers that mostly follow each other: a bit for each, in blocks.
type bits map[int64]*[bitsBlock / 64]uint64

const bitsBlock = 1 << 15

func (b *bits) set(n int64) {
	if *b == nil {
		*b = make(bits)
	}
	block := (*b)[n/bitsBlock]
	if block == nil {
		block = new([bitsBlock / 64]uint64)
		(*b)[n/bitsBlock] = block
	}
	block[n%bitsBlock/64] |= 1 << (n % 64)
}

func (b bits) has(n int64) bool {
	block := b[n/bitsBlock]
	return block != nil && block[n%bitsBlock/64]&(1<<(n%64)) != 0
}
