//go:build e2e

package storage_test

import (
	"context"
	"iter"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/keyring"
	"github.com/bezoar-cache/bezoar/internal/store/aead"
	"github.com/bezoar-cache/bezoar/internal/store/bucket"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/metrics"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/spool"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
	"github.com/bezoar-cache/bezoar/internal/store/tier"
	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// ring has the one key of all stores here.
var ring = keyring.New([32]byte{31: 1})

// stack is a way to put stores over a bucket's.
type stack struct {
	name string
	aead bool
	// alone says that a second handle does not see at once what the first deletes: whoever joins a download under way is not asked about.
	alone bool
	over  func(t *testing.T, spooled cache.Store) cache.Store
}

var stacks = []stack{
	{"plain", false, false, func(_ *testing.T, s cache.Store) cache.Store { return s }},
	{"encrypted", true, false, func(_ *testing.T, s cache.Store) cache.Store { return s }},
	{"with a tier that keeps nothing", false, true, func(t *testing.T, s cache.Store) cache.Store { return tiered(t, s, nil, 0) }},
	{"sealed and measured", false, false, func(_ *testing.T, s cache.Store) cache.Store {
		return sealed(metrics.New(s, prometheus.NewRegistry()))
	}},
	{"with a tier", false, true, func(t *testing.T, s cache.Store) cache.Store { return tiered(t, s, directory(t), 1<<30) }},
	{"all of it, encrypted", true, true, func(t *testing.T, s cache.Store) cache.Store {
		return sealed(metrics.New(tiered(t, s, directory(t), 1<<30), prometheus.NewRegistry()))
	}},
}

// TestContract runs the contract of stores on each storage server, plain and under decorators. Two handles are two replicas.
func TestContract(t *testing.T) {
	binary := bezoar.Binary{} // no server runs here
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) {
			p := at.start(t, binary)
			for _, s := range stacks {
				t.Run(s.name, func(t *testing.T) {
					buckets := map[cache.Store]bucket.Bucket{}
					open := func(t *testing.T, b bucket.Bucket) cache.Store {
						t.Helper()
						store := s.over(t, spooled(t, b, s.aead))
						buckets[store] = b
						return store
					}
					options := []storetest.Option{storetest.Abilities()}
					if !s.alone {
						options = append(options, storetest.SecondHandle(func(t *testing.T, first cache.Store) cache.Store { return open(t, buckets[first]) }))
					}
					storetest.Run(t, func(t *testing.T) cache.Store { return open(t, p.fresh(t)) }, options...)
				})
			}
		})
	}
}

// spooled is a bucket's store with a spool that waits for it.
func spooled(t *testing.T, b bucket.Bucket, encrypted bool) cache.Store {
	t.Helper()
	options := bucket.Options{TempDir: t.TempDir(), Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if encrypted {
		cipher, err := aead.New(ring.Derive("aead"))
		if err != nil {
			t.Fatal(err)
		}
		options.Cipher = cipher
	}
	remote, err := bucket.Open(t.Context(), b, options)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spool.Open(remote, directory(t), spool.Options{Wait: spool.Forever})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return s
}

func directory(t *testing.T) cache.Store {
	t.Helper()
	s, err := fs.Open(t.TempDir(), fs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func tiered(t *testing.T, inner, local cache.Store, size int64) cache.Store {
	t.Helper()
	s, err := tier.Open(inner, local, tier.Options{Size: size, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Store()
}

// sealed shows the suite's own seal in place of each good one, because the suite wants records back as it gave them.
func sealed(inner cache.Store) cache.Store {
	s := seal.New(inner, ring.Derive("seal"), seal.Options{})
	return asGiven{s, s.(cache.Marker)}
}

type asGiven struct {
	cache.Store
	cache.Marker
}

func (a asGiven) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := a.Store.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	given := *obj // the stores below know theirs by its record
	given.Record.Seal = storetest.Record(nil).Seal
	return &given, nil
}

func (a asGiven) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		for entry, err := range a.Store.List(ctx, workspace) {
			entry.Record.Seal = storetest.Record(nil).Seal
			if !yield(entry, err) {
				return
			}
		}
	}
}
