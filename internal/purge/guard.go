package purge

import (
	"context"
	"io"
	"iter"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
)

// Remote is a bucket to which a spool brings whole entries.
type Remote interface {
	Open(ctx context.Context, key cache.Key) (*cache.Object, error)
	Has(ctx context.Context, key cache.Key) (bool, error)
	Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error
	Delete(ctx context.Context, key cache.Key) error
	List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error]
	cache.Marker
}

// Aside is the bucket's way into quarantine, also for what never came to it.
type Aside interface {
	cache.Quarantiner
	PutAside(ctx context.Context, name string, entry cache.Entry, body io.ReaderAt) error
}

type guard struct {
	Remote
	rules *Rules
	aside Aside
	keys  keyring.Keys
}

// Guard returns a bucket to which no spool brings what is purged: that goes into quarantine in its place, and comes back from there if the purge is undone. The keys
// are those of seals.
func Guard(inner Remote, aside Aside, rules *Rules, keys keyring.Keys) Remote {
	return &guard{inner, rules, aside, keys}
}

// Put implements [Remote].
func (g *guard) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	if seal.Verify(g.keys, entry.Key, entry.Record) != nil {
		return g.Remote.Put(ctx, entry, body)
	}
	taken := purgedEntry(entry, ledger.PurgedHeld)
	purge, found := g.rules.Find(&entry)
	if found {
		if err := g.aside.PutAside(ctx, nameOf(taken.ID), entry, body); err != nil {
			return err
		}
		return g.rules.records.TakePurged(ctx, purge, []ledger.PurgedEntry{taken})
	}
	if err := g.Remote.Put(ctx, entry, body); err != nil {
		return err
	}
	// It may have been purged while it was sent. If it cannot be moved now, it is hidden, and found when the ledger knows of it.
	if purge, found = g.rules.Find(&entry); found && g.aside.Quarantine(ctx, nameOf(taken.ID), entry) == nil {
		_ = g.rules.records.TakePurged(ctx, purge, []ledger.PurgedEntry{taken}) // the next one who works on the purge tries again
	}
	return nil
}

// ReadRecord implements [cache.RecordReader].
func (g *guard) ReadRecord(ctx context.Context, key cache.Key) (cache.Record, error) {
	return cache.ReadRecord(ctx, g.Remote, key)
}
