package divergence_test

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/artifact"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/divergence"
	"github.com/bezoar-cache/bezoar/internal/ledger"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 24, 4, 0, 0, 0, time.UTC)

// bench is a server's store and ledger, and what watches them.
type bench struct {
	*testing.T
	store  cache.Store
	ledger *ledger.Ledger
	count  *prometheus.Registry
	log    *syncBuffer
	*divergence.Watcher

	mu  sync.Mutex
	now time.Time
}

func newBench(t *testing.T) *bench {
	t.Helper()
	l, err := ledger.Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &bench{T: t, store: mem.New(), ledger: l, now: start}
	b.watch(l, b.store)
	return b
}

// watch begins anew, over a ledger and a store that may be in trouble.
func (b *bench) watch(l divergence.Ledger, store cache.Store) {
	b.count, b.log = prometheus.NewRegistry(), &syncBuffer{}
	b.Watcher = divergence.New(l, store, divergence.Options{Logger: slog.New(slog.NewTextHandler(b.log, nil)), Registerer: b.count, Now: b.clock})
}

func (b *bench) clock() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

// entry is what a server makes of an upload.
func (b *bench) entry(scope cache.Scope, hash string, body []byte, producer cache.Producer) cache.Entry {
	b.Helper()
	limits := artifact.DefaultLimits()
	limits.AllowUnknown = true
	s, err := artifact.Check(bytes.NewReader(body), limits)
	if err != nil {
		b.Fatal(err)
	}
	return cache.Entry{
		Key: cache.Key{Workspace: "web", Scope: scope, Hash: cache.Hash(hash)},
		Record: cache.Record{
			Size: s.Size, SHA256: s.SHA256, Content: s.Content, Inflated: s.Inflated, Members: s.Members, Opaque: s.Opaque, Created: start, Producer: producer,
		},
	}
}

// keep stores an entry, and record has the ledger know it.
func (b *bench) keep(e cache.Entry, body []byte) {
	b.Helper()
	draft, err := b.store.Create(b.Context(), e.Key)
	if err == nil {
		if _, err = draft.Write(body); err == nil {
			err = draft.Commit(b.Context(), e.Record)
		}
	}
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) record(entries ...cache.Entry) {
	b.Helper()
	if err := b.ledger.RecordEntries(b.Context(), entries); err != nil {
		b.Fatal(err)
	}
}

// pair uploads two bodies under one hash: what a run of main made, and what an actor's pull request did before.
func (b *bench) pair(hash string, trusted, other []byte, run, actor string) {
	b.Helper()
	main := b.entry(cache.Trusted, hash, trusted, cache.Producer{Kind: "ci", RunID: run, ActorID: "main"})
	pull := b.entry(cache.Scope("pr/"+actor), hash, other, cache.Producer{Kind: "ci", RunID: "99", ActorID: actor})
	b.keep(main, trusted)
	b.keep(pull, other)
	b.record(pull, main)
}

// look has the watcher do all that is to do.
func (b *bench) look() {
	b.Helper()
	if err := b.Look(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// all lists what was found, oldest first.
func (b *bench) all() (all []divergence.Divergence) {
	b.Helper()
	for after := ledger.Cursor(""); ; {
		some, next, err := b.ledger.Divergences(b.Context(), ledger.DivergenceFilter{}, after, 1000)
		if err != nil {
			b.Fatal(err)
		}
		if all = append(all, some...); next == "" {
			break
		}
		after = next
	}
	slices.Reverse(all)
	return all
}

// wantCounts fails unless the counter is so.
func (b *bench) wantCounts(first, recurring, beyond string) {
	b.Helper()
	want := "# HELP bezoar_divergences_total Hashes under which the trusted scope and another one hold different content, by level: first, worth a page; " +
		"recurring, a task that is not deterministic, most likely; beyond, of a scope that has too many of them to be kept.\n# TYPE bezoar_divergences_total counter\n" +
		`bezoar_divergences_total{level="beyond"} ` + beyond + "\n" +
		`bezoar_divergences_total{level="first"} ` + first + "\n" +
		`bezoar_divergences_total{level="recurring"} ` + recurring + "\n"
	if err := testutil.GatherAndCompare(b.count, strings.NewReader(want), divergence.Name); err != nil {
		b.Error(err)
	}
}

// syncBuffer is a buffer that a logger and a test may use at once.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// troubled is a store that fails for some keys.
type troubled struct {
	cache.Store
	fail func(cache.Key) error
}

func (s troubled) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := s.fail(key); err != nil {
		return nil, err
	}
	return s.Store.Open(ctx, key)
}
