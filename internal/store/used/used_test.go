package used_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
	"github.com/bezoar-cache/bezoar/internal/store/used"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLedger remembers uses, and fails or hangs if told to.
type fakeLedger struct {
	mu    sync.Mutex
	uses  map[cache.Key]time.Time
	calls int
	err   error
	hang  bool // until the context ends
}

func (l *fakeLedger) RecordUses(ctx context.Context, uses map[cache.Key]time.Time) error {
	l.mu.Lock()
	hang := l.hang
	l.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls++
	if l.err == nil {
		if l.uses == nil {
			l.uses = map[cache.Key]time.Time{}
		}
		maps.Copy(l.uses, uses)
	}
	return l.err
}

func (l *fakeLedger) set(err error, hang bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.hang = err, hang
}

func (l *fakeLedger) seen() (uses, calls int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.uses), l.calls
}

// opener opens everything.
type opener struct{ cache.Store }

func (opener) Open(_ context.Context, key cache.Key) (*cache.Object, error) {
	if key.Hash == "none" {
		return nil, cache.ErrNotExist
	}
	return &cache.Object{Entry: cache.Entry{Key: key}}, nil
}

type bench struct {
	*fakeLedger
	*used.Recorder
	store cache.Store
	reg   *prometheus.Registry
}

func newBench(options used.Options) *bench {
	b := &bench{fakeLedger: &fakeLedger{}, reg: prometheus.NewRegistry()}
	options.Registerer = b.reg
	b.Recorder = used.Start(b.fakeLedger, options)
	b.store = b.Over(opener{})
	return b
}

func (b *bench) open(scope string, hash any) {
	_, _ = b.store.Open(context.Background(), cache.Key{Workspace: "web", Scope: cache.Scope(scope), Hash: cache.Hash(fmt.Sprint(hash))})
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) cache.Store {
		r := used.Start(new(fakeLedger), used.Options{Interval: time.Millisecond})
		t.Cleanup(func() {
			if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return r.Over(mem.New())
	}, storetest.Abilities())
}

// TestAHotEntryIsWrittenOnce for each granularity, and one that is not there never.
func TestAHotEntryIsWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(used.Options{})
		for range 180 { // three hours
			b.open("trusted", "hot")
			b.open("trusted", "none")
			pass(time.Minute)
		}
		if uses, calls := b.seen(); uses != 1 || calls != 3 {
			t.Errorf("%d uses in %d calls", uses, calls)
		}
		b.open("pr/1", "hot")
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if uses, _ := b.seen(); uses != 2 {
			t.Errorf("%d uses after the end", uses)
		}
	})
}

// TestALedgerThatFails or hangs holds nobody up; what it could not take, it gets later.
func TestALedgerThatFails(t *testing.T) {
	for name, hang := range map[string]bool{"fails": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench(used.Options{})
				b.set(errors.New("x"), hang)
				began := time.Now()
				for i := range 3000 {
					b.open("trusted", i)
				}
				if took := time.Since(began); took > 0 {
					t.Errorf("reads waited for %v", took)
				}
				pass(time.Minute)
				if b.Degraded() == nil {
					t.Error("nobody is told")
				}
				b.set(nil, false)
				pass(3 * time.Minute)
				if uses, _ := b.seen(); uses != 3000 || b.Degraded() != nil {
					t.Errorf("%d uses, %v", uses, b.Degraded())
				}
				if err := b.Close(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestTooMany: what is too much is dropped and counted, and those who read much elsewhere drop no trusted use.
func TestTooMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(used.Options{Most: 6400})
		for i := range 100_000 {
			b.open("pr/1", i)
		}
		for i := range 1000 {
			b.open("trusted", i)
		}
		pass(time.Minute)
		recorded, dropped := b.count("recorded"), b.count("dropped")
		if recorded != 6400+1000 || dropped != 100_000-6400 {
			t.Errorf("recorded %v, dropped %v", recorded, dropped)
		}
		trusted := 0
		for key := range b.uses {
			if key.Scope == cache.Trusted {
				trusted++
			}
		}
		if trusted != 1000 {
			t.Errorf("%d trusted uses", trusted)
		}
		// What was dropped is not remembered: the next read tries again.
		b.open("pr/1", 99_999)
		pass(time.Minute)
		if got := b.count("recorded"); got != recorded+1 {
			t.Errorf("recorded %v", got)
		}
		if err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func (b *bench) count(result string) float64 {
	families, _ := b.reg.Gather()
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == used.UsesName && m.GetLabel()[0].GetValue() == result {
				return m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// TestTheEnd does not wait for a ledger for longer than it is told to.
func TestTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(used.Options{})
		b.set(errors.New("x"), true)
		b.open("trusted", 1)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := b.Close(ctx); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if got := testutil.CollectAndCount(b.reg, used.WaitingName); got != 1 {
			t.Errorf("%d gauges", got)
		}
		if err := b.Close(t.Context()); err == nil {
			t.Error("the second time, nothing is lost")
		}
	})
}

// TestNoAllocation: a hot entry costs no memory.
func TestNoAllocation(t *testing.T) {
	r := used.Start(new(fakeLedger), used.Options{})
	object := &cache.Object{}
	store := r.Over(fixed{object: object})
	ctx, key := t.Context(), storetest.Key("1")
	if got := testing.AllocsPerRun(1000, func() { _, _ = store.Open(ctx, key) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

type fixed struct {
	cache.Store
	object *cache.Object
}

func (f fixed) Open(context.Context, cache.Key) (*cache.Object, error) { return f.object, nil }

func TestReadersAtOnce(t *testing.T) {
	b := newBench(used.Options{Interval: time.Millisecond})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				b.open("trusted", i%500)
			}
		})
	}
	all.Wait()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if uses, _ := b.seen(); uses != 500 {
		t.Error(cmp.Diff(500, uses))
	}
}

func BenchmarkOpen(b *testing.B) {
	r := used.Start(new(fakeLedger), used.Options{})
	defer r.Close(context.Background())
	keys := make([]cache.Key, 1024)
	for i := range keys {
		keys[i] = storetest.Key(fmt.Sprint(i))
	}
	store, ctx := r.Over(fixed{object: &cache.Object{}}), context.Background()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			_, _ = store.Open(ctx, keys[i%len(keys)])
		}
	})
}

// memory has an entry at hand.
type memory struct{ opener }

func (memory) Peek(key cache.Key) (*cache.Object, bool) { return &cache.Object{}, key.Hash == "hot" }

// TestWhatComesFromMemory counts, too, and what is not at hand does not before it is opened.
func TestWhatComesFromMemory(t *testing.T) {
	b := newBench(used.Options{})
	peeker, ok := b.Over(memory{}).(cache.Peeker)
	if !ok {
		t.Fatal("nothing is at hand any more")
	}
	if _, ok := b.store.(cache.Peeker); ok {
		t.Error("it has an ability that its inner store has not")
	}
	for _, hash := range []string{"hot", "cold"} {
		if _, ok := peeker.Peek(storetest.Key(hash)); ok != (hash == "hot") {
			t.Error(hash, ok)
		}
	}
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if uses, _ := b.seen(); uses != 1 {
		t.Errorf("%d uses", uses)
	}
}
