package recorded_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/recorded"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeLedger knows entries, and fails or hangs if told to.
type fakeLedger struct {
	mu      sync.Mutex
	entries map[cache.Key]cache.Record
	calls   []int // how many entries or keys each call brought
	err     error
	hang    bool // until the context ends
}

func (l *fakeLedger) call(ctx context.Context, n int, do func()) error {
	l.mu.Lock()
	hang := l.hang
	l.mu.Unlock()
	if hang {
		<-ctx.Done()
		return ctx.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, n)
	if l.err == nil {
		do()
	}
	return l.err
}

func (l *fakeLedger) RecordEntries(ctx context.Context, entries []cache.Entry) error {
	return l.call(ctx, len(entries), func() {
		if l.entries == nil {
			l.entries = make(map[cache.Key]cache.Record)
		}
		for _, e := range entries {
			l.entries[e.Key] = e.Record
		}
	})
}

func (l *fakeLedger) ForgetEntries(ctx context.Context, keys []cache.Key) error {
	return l.call(ctx, len(keys), func() {
		for _, key := range keys {
			delete(l.entries, key)
		}
	})
}

func (l *fakeLedger) Seals(ctx context.Context, keys []cache.Key, each func(cache.Entry)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if record, ok := l.entries[key]; ok {
			each(cache.Entry{Key: key, Record: cache.Record{Seal: record.Seal, Created: record.Created}})
		}
	}
	return l.err
}

func (l *fakeLedger) set(err error, hang bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err, l.hang = err, hang
}

func (l *fakeLedger) known() map[cache.Key]cache.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.entries)
}

func (l *fakeLedger) batches() []int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]int{}, l.calls...)
}

// bench is a recorder over a store in memory.
type bench struct {
	t        *testing.T
	ledger   *fakeLedger
	inner    *mem.Store
	recorder *recorded.Recorder
	store    cache.Store
	reg      *prometheus.Registry
	log      *bytes.Buffer
}

func newBench(t *testing.T, options recorded.Options) *bench {
	b := &bench{t: t, ledger: new(fakeLedger), inner: mem.New(), reg: prometheus.NewRegistry(), log: new(bytes.Buffer)}
	options.Now = func() time.Time { return time.Now().AddDate(50, 0, 0) } // after what the suite's records say
	options.Registerer, options.Logger = b.reg, slog.New(slog.NewTextHandler(b.log, nil))
	b.recorder = recorded.Start(b.ledger, options)
	b.store = b.recorder.Over(b.inner)
	return b
}

func (b *bench) put(hash string) {
	b.t.Helper()
	if err := storetest.Put(b.t.Context(), b.store, storetest.Key(hash), []byte(hash)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) delete(hash string) {
	b.t.Helper()
	if err := b.store.Delete(b.t.Context(), storetest.Key(hash)); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.recorder.Close(b.t.Context()); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) wantKnown(hashes ...string) {
	b.t.Helper()
	want := make(map[cache.Key]cache.Record)
	for _, hash := range hashes {
		want[storetest.Key(hash)] = storetest.Record([]byte(hash))
	}
	got := b.ledger.known()
	if got == nil {
		got = make(map[cache.Key]cache.Record)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("(-want +got):\n%s", diff)
	}
}

func (b *bench) wantMetrics(want map[string]float64) {
	b.t.Helper()
	families, err := b.reg.Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	got := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := strings.TrimPrefix(family.GetName(), "bezoar_ledger_")
			if len(m.GetLabel()) > 0 {
				name = m.GetLabel()[0].GetValue()
			}
			if value := m.GetCounter().GetValue() + m.GetGauge().GetValue(); value != 0 {
				got[name] = value
			}
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) cache.Store {
		r := recorded.Start(new(fakeLedger), recorded.Options{Interval: time.Millisecond})
		t.Cleanup(func() {
			if err := r.Close(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		return r.Over(mem.New())
	}, storetest.Abilities())
}

func TestNoAbilityOfItsOwn(t *testing.T) {
	r := recorded.Start(new(fakeLedger), recorded.Options{})
	if _, ok := r.Over(struct{ cache.Store }{mem.New()}).(cache.Marker); ok {
		t.Error("it has notes that its inner store cannot keep")
	}
	if err := r.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWhatHappensIsNoted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{})
		for i := range 6 {
			b.put(fmt.Sprint(i))
		}
		b.wantKnown()
		pass(recorded.DefaultInterval)
		b.wantKnown("0", "1", "2", "3", "4", "5")

		// Deleted; deleted and stored anew; set aside; gone without our doing.
		b.delete("0")
		b.delete("1")
		b.put("1")
		object, err := b.store.Open(t.Context(), storetest.Key("2"))
		if err != nil {
			t.Fatal(err)
		}
		defer object.Close()
		if err := object.SetAside("a reason"); err != nil {
			t.Fatal(err)
		}
		if err := b.inner.Delete(t.Context(), storetest.Key("3")); err != nil {
			t.Fatal(err)
		}
		if err := b.store.Delete(t.Context(), storetest.Key("3")); !errors.Is(err, cache.ErrNotExist) {
			t.Fatal(err)
		}
		pass(recorded.DefaultInterval)
		b.wantKnown("1", "4", "5")
		if got := b.ledger.batches(); !cmp.Equal(got, []int{6, 1, 3}) {
			t.Errorf("written in calls of %v", got)
		}

		// What did not happen is not noted.
		if err := storetest.Put(t.Context(), b.store, storetest.Key("4"), []byte("x")); !errors.Is(err, cache.ErrExist) {
			t.Fatal(err)
		}
		draft, err := b.store.Create(t.Context(), storetest.Key("7"))
		if err != nil {
			t.Fatal(err)
		}
		if err := draft.Commit(t.Context(), storetest.Record([]byte("not what was written"))); err == nil {
			t.Fatal("committed")
		}
		if _, err := b.store.Open(t.Context(), storetest.Key("8")); !errors.Is(err, cache.ErrNotExist) {
			t.Fatal(err)
		}
		pass(time.Minute)
		if got := b.ledger.batches(); len(got) != 3 {
			t.Errorf("written in calls of %v", got)
		}
		b.wantMetrics(map[string]float64{"recorded": 7, "forgotten": 3})
		b.close()
	})
}

// damaged finds nothing whole, and cannot set aside what it opens.
type damaged struct {
	cache.Store
	object *cache.Object
}

func (d damaged) Open(context.Context, cache.Key) (*cache.Object, error) {
	if d.object != nil {
		return d.object, nil
	}
	return nil, fmt.Errorf("x: %w", cache.ErrDamaged)
}

func TestDamage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{})
		b.put("1")
		b.put("2")
		pass(time.Second)
		if _, err := b.recorder.Over(damaged{}).Open(t.Context(), storetest.Key("1")); !errors.Is(err, cache.ErrDamaged) {
			t.Fatal(err)
		}
		failed := errors.New("input/output error")
		object := &cache.Object{SetAside: func(string) error { return failed }}
		got, err := b.recorder.Over(damaged{object: object}).Open(t.Context(), storetest.Key("2"))
		if err != nil || got != object {
			t.Fatalf("%v, %v: want the very object of the store", got, err)
		}
		if err := got.SetAside("a reason"); !errors.Is(err, failed) {
			t.Errorf("got %v", err)
		}
		plain := new(cache.Object)
		if got, err := b.recorder.Over(damaged{object: plain}).Open(t.Context(), storetest.Key("2")); err != nil || got.SetAside != nil {
			t.Errorf("%v, %v: a place for what is set aside that is not there", got, err)
		}
		pass(time.Second)
		b.wantKnown("2")
		b.close()
	})
}

// A ledger that fails costs no store anything, and knows all when it is back.
func TestFailingLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{Batch: 10})
		locked := errors.New("the ledger is locked")
		b.ledger.set(locked, false)
		began := time.Now()
		var all []string
		for i := range 25 {
			all = append(all, fmt.Sprint(i))
			b.put(all[i])
		}
		b.delete("0")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		pass(time.Minute)
		if err := b.recorder.Degraded(); !errors.Is(err, locked) {
			t.Errorf("degraded: %v", err)
		}
		b.wantMetrics(map[string]float64{"queue": 16, "write_failures_total": float64(len(b.ledger.batches()))})
		if n := len(b.ledger.batches()); n < 6 || n > 15 {
			t.Errorf("%d attempts in a minute", n)
		}
		b.ledger.set(nil, false)
		pass(10*time.Second + 2*recorded.DefaultInterval)
		b.wantKnown(all[1:]...)
		if err := b.recorder.Degraded(); err != nil {
			t.Errorf("degraded: %v", err)
		}
		if text := b.log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "WARN") || !strings.Contains(text, "noted in the ledger again") {
			t.Errorf("the log says\n%s", text)
		}
		b.close()
	})
}

func TestHangingLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{Queue: 5, Batch: 2})
		b.ledger.set(nil, true)
		began := time.Now()
		for i := range 20 {
			b.put(fmt.Sprint(i))
			synctest.Wait()
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		// Two are on the way, five wait: the latest ones.
		b.wantMetrics(map[string]float64{"queue": 5, "dropped": 13})
		pass(11 * time.Second)
		if b.recorder.Degraded() == nil {
			t.Error("not degraded")
		}
		b.ledger.set(nil, false)
		pass(20 * time.Second)
		b.wantKnown("0", "1", "15", "16", "17", "18", "19")
		b.wantMetrics(map[string]float64{"recorded": 7, "dropped": 13, "write_failures_total": 2})
		b.close()
	})
}

func TestCloseFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{Batch: 4})
		var all []string
		for i := range 11 {
			all = append(all, fmt.Sprint(i))
			b.put(all[i])
		}
		began := time.Now()
		b.close()
		b.wantKnown(all...)
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %s", took)
		}
		b.put("late") // the store goes on
		b.close()
		b.wantKnown(all...)
		b.wantMetrics(map[string]float64{"recorded": 11, "dropped": 1})
	})
}

// One that fails at the end is tried until the time is over, also if it was waiting for its next attempt.
func TestCloseWithFailingLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{Batch: 4})
		locked := errors.New("the ledger is locked")
		b.ledger.set(locked, false)
		for i := range 11 {
			b.put(fmt.Sprint(i))
		}
		pass(time.Minute)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		err := b.recorder.Close(ctx)
		if !errors.Is(err, locked) || !strings.Contains(err.Error(), "11 changes") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("it took %s", took)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{Batch: 4})
		b.ledger.set(nil, true)
		for i := range 11 {
			b.put(fmt.Sprint(i))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if err := b.recorder.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "11 changes") {
			t.Errorf("got %v", err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, recorded.Options{Batch: 4})
		b.ledger.set(errors.New("the ledger is locked"), false)
		var all []string
		for i := range 11 {
			all = append(all, fmt.Sprint(i))
			b.put(all[i])
		}
		pass(time.Minute)
		closed := make(chan error)
		go func() { closed <- b.recorder.Close(t.Context()) }()
		pass(100 * time.Millisecond)
		b.ledger.set(nil, false)
		if err := <-closed; err != nil {
			t.Error(err)
		}
		b.wantKnown(all...)
	})
}

// Many hands at once, with a ledger that fails now and then: in the end it knows what the store has.
func TestManyAtOnce(t *testing.T) {
	b := newBench(t, recorded.Options{Interval: time.Millisecond, Batch: 7})
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 50 {
				hash := fmt.Sprintf("%d-%d", worker, i)
				if err := storetest.Put(t.Context(), b.store, storetest.Key(hash), []byte(hash)); err != nil {
					t.Error(err)
				}
				if i%3 == 0 {
					if err := b.store.Delete(t.Context(), storetest.Key(hash)); err != nil {
						t.Error(err)
					}
				}
				if i%10 == 0 {
					b.ledger.set([]error{nil, errors.New("locked")}[i/10%2], false)
				}
			}
		})
	}
	wg.Wait()
	b.ledger.set(nil, false)
	b.close()
	want := make(map[cache.Key]cache.Record)
	for entry, err := range b.inner.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		want[entry.Key] = entry.Record
	}
	if diff := cmp.Diff(want, b.ledger.known()); diff != "" {
		t.Errorf("(-stored +known):\n%s", diff)
	}
}
