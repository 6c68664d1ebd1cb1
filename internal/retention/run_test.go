package retention_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/retention"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestContract(t *testing.T) {
	storetest.Run(t, func(*testing.T) cache.Store { return retention.New(retention.Options{}).Over(mem.New()) }, storetest.Abilities())
}

// runBench is a Runner that runs, over a world whose clock is that of the bubble.
type runBench struct {
	*world
	*retention.Runner
	reg  *prometheus.Registry
	log  bytes.Buffer
	free atomic.Int64
	stop func()
}

func newRunBench(t *testing.T, limits retention.Limits) *runBench {
	b := &runBench{world: newWorld(), reg: prometheus.NewRegistry()}
	b.free.Store(1000)
	b.Runner = retention.New(retention.Options{
		Ledger: b, Store: b, Limits: func(cache.Workspace) retention.Limits { return limits },
		Disk:   retention.Disk{MinFree: 100, Free: func() (int64, error) { return b.free.Load(), nil }},
		Logger: slog.New(slog.NewTextHandler(&b.log, nil)), Registerer: b.reg, Now: time.Now,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
	return b
}

// put stores an entry as of now.
func (b *runBench) put(k cache.Key, size int64) {
	b.now = time.Now()
	b.world.put(k, size)
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRunBench(t, retention.Limits{Trusted: retention.Ages{MaxUnused: 24 * time.Hour}})
		b.put(key("trusted", "1"), 10)
		b.put(key("pr/1", "1"), 10)
		pass(20 * time.Hour)
		b.put(key("trusted", "2"), 10)
		pass(5*time.Hour + 11*time.Minute)
		b.stop()
		if b.left("trusted") != "2" || b.left("pr/1") != "1" {
			t.Errorf("left %q and %q", b.left("trusted"), b.left("pr/1"))
		}
		if !strings.Contains(b.log.String(), `msg="removed entries" reason=unused entries=1 bytes=10`) || b.Degraded() != nil {
			t.Errorf("%v, log:\n%s", b.Degraded(), &b.log)
		}
		err := testutil.GatherAndCompare(b.reg, strings.NewReader(`
# HELP bezoar_retention_removed_entries_total Entries that were removed to keep the store within its bounds.
# TYPE bezoar_retention_removed_entries_total counter
bezoar_retention_removed_entries_total{reason="age",scope_kind="trusted"} 0
bezoar_retention_removed_entries_total{reason="disk",scope_kind="trusted"} 0
bezoar_retention_removed_entries_total{reason="quota",scope_kind="trusted"} 0
bezoar_retention_removed_entries_total{reason="untrusted",scope_kind="trusted"} 0
bezoar_retention_removed_entries_total{reason="unused",scope_kind="trusted"} 1
`), retention.EntriesName)
		if err != nil {
			t.Error(err)
		}
	})
}

// fullStore has no room, or no luck, at a step.
type fullStore struct {
	cache.Store
	create, write, commit error
}

func (f *fullStore) Create(ctx context.Context, k cache.Key) (cache.Draft, error) {
	d, err := f.Store.Create(ctx, k)
	return &fullDraft{d, f}, errors.Join(f.create, err)
}

type fullDraft struct {
	cache.Draft
	store *fullStore
}

func (d *fullDraft) Write(p []byte) (int, error) {
	if d.store.write != nil {
		return 0, d.store.write
	}
	return d.Draft.Write(p)
}

func (d *fullDraft) Commit(ctx context.Context, r cache.Record) error {
	return errors.Join(d.store.commit, d.Draft.Commit(ctx, r))
}

// TestAFullDisk has a look begin early: when an upload says so, and when there is less room than there has to be.
func TestAFullDisk(t *testing.T) {
	full := fmt.Errorf("write: %w", syscall.ENOSPC)
	for name, befall := range map[string]func(b *runBench){
		"create": func(b *runBench) {
			storetest.Put(context.Background(), b.Over(&fullStore{mem.New(), full, nil, nil}), key("pr/1", "9"), nil)
		},
		"write": func(b *runBench) {
			storetest.Put(context.Background(), b.Over(&fullStore{mem.New(), nil, full, nil}), key("pr/1", "9"), []byte("x"))
		},
		"commit": func(b *runBench) {
			storetest.Put(context.Background(), b.Over(&fullStore{mem.New(), nil, nil, full}), key("pr/1", "9"), nil)
		},
		"min-free": func(b *runBench) { b.free.Store(95) },
		"another": func(b *runBench) {
			storetest.Put(context.Background(), b.Over(&fullStore{mem.New(), errors.New("x"), nil, nil}), key("pr/1", "9"), nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newRunBench(t, retention.Limits{})
				pass(3 * time.Minute) // a look was two minutes ago, the next one is in eight
				befall(b)
				pass(16 * time.Second)
				b.stop()
				switch {
				case name == "another" && strings.Contains(b.log.String(), "the disk is full"):
					t.Errorf("any trouble is taken for a full disk:\n%s", &b.log)
				case name != "another" && !strings.Contains(b.log.String(), "the disk is full"):
					t.Errorf("not noticed:\n%s", &b.log)
				}
			})
		})
	}
}

// TestDegraded tells of a bound that cannot be kept and of a ledger that fails, until both are well.
func TestDegraded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newRunBench(t, retention.Limits{})
		b.put(key("pr/1", "1"), 10)
		b.free.Store(50)
		pass(5 * time.Minute)
		if err := b.Degraded(); err == nil || !strings.Contains(err.Error(), "50 bytes beyond the bound for the disk") {
			t.Error(err)
		}
		b.free.Store(500)
		pass(11 * time.Minute)
		if err := b.Degraded(); err != nil {
			t.Error(err)
		}
		b.fail(errors.New("a ledger that fails"))
		pass(11 * time.Minute)
		if err := b.Degraded(); err == nil || !strings.Contains(err.Error(), "a ledger that fails") {
			t.Error(err)
		}
		b.fail(nil)
		pass(11 * time.Minute)
		if err := b.Degraded(); err != nil {
			t.Error(err)
		}
		b.stop()
	})
}
