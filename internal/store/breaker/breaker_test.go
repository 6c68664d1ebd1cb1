package breaker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	key      = storetest.Key("1")
	errFault = errors.New("the disk is on fire")
)

// faulty is a store in memory, and a [Remote], whose calls can be made to fail or to hang.
type faulty struct {
	*mem.Store
	mu    sync.Mutex
	fault func(ctx context.Context, op string) error
	calls map[string]int
}

func newFaulty() *faulty { return &faulty{Store: mem.New(), calls: map[string]int{}} }

func (f *faulty) set(fault func(ctx context.Context, op string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *faulty) asked(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *faulty) ask(ctx context.Context, op string) error {
	f.mu.Lock()
	fault := f.fault
	f.calls[op]++
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(ctx, op)
}

func (f *faulty) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := f.ask(ctx, "open"); err != nil {
		return nil, err
	}
	obj, err := f.Store.Open(ctx, key)
	if err == nil {
		obj.Body = &faultyBody{obj.Body, f, ctx}
	}
	return obj, err
}

func (f *faulty) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	if err := f.ask(ctx, "create"); err != nil {
		return nil, err
	}
	d, err := f.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return &faultyDraft{d, f, ctx}, nil
}

func (f *faulty) Delete(ctx context.Context, key cache.Key) error {
	if err := f.ask(ctx, "delete"); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

func (f *faulty) List(ctx context.Context, w cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		if err := f.ask(ctx, "list"); err != nil {
			yield(cache.Entry{}, err)
			return
		}
		f.Store.List(ctx, w)(yield)
	}
}

func (f *faulty) Has(ctx context.Context, key cache.Key) (bool, error) {
	if err := f.ask(ctx, "has"); err != nil {
		return false, err
	}
	obj, err := f.Store.Open(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, obj.Close()
}

func (f *faulty) Put(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
	if err := f.ask(ctx, "put"); err != nil {
		return err
	}
	d, err := f.Store.Create(ctx, entry.Key)
	if err != nil {
		return err
	}
	if _, err := io.Copy(d, io.NewSectionReader(body, 0, entry.Record.Size)); err != nil {
		return err
	}
	return d.Commit(ctx, entry.Record)
}

type faultyBody struct {
	io.ReadCloser
	store *faulty
	ctx   context.Context
}

func (b *faultyBody) Read(p []byte) (int, error) {
	if err := b.store.ask(b.ctx, "read"); err != nil {
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

type faultyDraft struct {
	cache.Draft
	store *faulty
	ctx   context.Context
}

func (d *faultyDraft) Write(p []byte) (int, error) {
	if err := d.store.ask(d.ctx, "write"); err != nil {
		return 0, err
	}
	return d.Draft.Write(p)
}

func (d *faultyDraft) Commit(ctx context.Context, r cache.Record) error {
	if err := d.store.ask(ctx, "commit"); err != nil {
		return err
	}
	return d.Draft.Commit(ctx, r)
}

func failing(ops ...string) func(context.Context, string) error {
	return answering(errFault, ops...)
}

func answering(err error, ops ...string) func(context.Context, string) error {
	return func(_ context.Context, op string) error {
		if slices.Contains(ops, op) {
			return err
		}
		return nil
	}
}

// hang waits for the end of the caller's context.
func hang(ctx context.Context, _ string) error {
	<-ctx.Done()
	return ctx.Err()
}

// pass lets time pass in a bubble.
func pass(d time.Duration) { <-time.After(d) }

// start makes a Breaker; run has it probe until the test ends.
func start(t *testing.T, reg prometheus.Registerer) *Breaker {
	t.Helper()
	b, err := New(Options{Registerer: reg})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func run(t *testing.T, b *Breaker) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

// TestContract makes mistakes on purpose, which no server does, such as a record that does not fit: they must not open a circuit.
func TestContract(t *testing.T) {
	storetest.Run(t, func(t *testing.T) cache.Store {
		b, err := New(Options{Failures: 1 << 20})
		if err != nil {
			t.Fatal(err)
		}
		return b.Over(mem.New())
	}, storetest.Abilities())
}

// TestNoAbilityOfItsOwn: a store without notes has none behind a breaker, either.
func TestNoAbilityOfItsOwn(t *testing.T) {
	if _, ok := start(t, nil).Over(struct{ cache.Store }{mem.New()}).(cache.Marker); ok {
		t.Error("it has notes that its inner store cannot keep")
	}
}

// operation is one of a store's, as a user sees it.
type operation struct {
	name, op string
	inner    []string // what is asked of the inner store for it, the last of which fails
	do       func(context.Context, cache.Store) error
}

var operations = []operation{
	{"open", opOpen, []string{"open"}, func(ctx context.Context, s cache.Store) error {
		obj, err := s.Open(ctx, key)
		if err == nil {
			obj.Close()
		}
		return err
	}},
	{"create", opCreate, []string{"create"}, put},
	{"write", opCreate, []string{"create", "write"}, put},
	{"commit", opCreate, []string{"create", "write", "commit"}, put},
	{"delete", opDelete, []string{"delete"}, func(ctx context.Context, s cache.Store) error { return s.Delete(ctx, key) }},
	{"list", opList, []string{"list"}, func(ctx context.Context, s cache.Store) error {
		for _, err := range s.List(ctx, "") {
			if err != nil {
				return err
			}
		}
		return nil
	}},
}

func put(ctx context.Context, s cache.Store) error {
	body := storetest.Body(1, 1000)
	d, err := s.Create(ctx, key)
	if err != nil {
		return err
	}
	defer d.Abort()
	if _, err := d.Write(body); err != nil {
		return err
	}
	return d.Commit(ctx, storetest.Record(body))
}

// TestACircuitOpensAndCloses: after so many failures in a row nobody waits for the store any more, the others are not touched by that, and a
// probe finds the way back without a caller.
func TestACircuitOpensAndCloses(t *testing.T) {
	for _, o := range operations {
		t.Run(o.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, reg := newFaulty(), prometheus.NewRegistry()
				b := start(t, reg)
				s := b.Over(inner)
				run(t, b)
				last := o.inner[len(o.inner)-1]
				inner.set(failing(last))
				for i := range DefaultFailures {
					if err := o.do(t.Context(), s); !errors.Is(err, errFault) {
						t.Fatalf("failure %d: %v", i, err)
					}
				}
				before := inner.asked(o.inner[0])
				for range 3 {
					err := o.do(t.Context(), s)
					if !errors.Is(err, cache.ErrBreaker) || !errors.Is(err, cache.ErrStore) || errors.Is(err, errFault) || !strings.Contains(err.Error(), errFault.Error()) {
						t.Fatalf("with the circuit open: %v", err)
					}
				}
				if n := inner.asked(o.inner[0]); n != before {
					t.Errorf("the store was asked %d times while the circuit was open", n-before)
				}
				if err := b.Degraded(); !errors.Is(err, errFault) || !strings.Contains(err.Error(), o.op) {
					t.Errorf("Degraded: %v", err)
				}
				if got := gauge(t, reg, "bezoar_breaker_open", o.op); got != 1 {
					t.Errorf("the gauge is %v", got)
				}
				if got := testutil.ToFloat64(b.metrics.refused.WithLabelValues(o.op)); got != 3 {
					t.Errorf("%v refusals are counted, want 3", got)
				}
				for _, other := range operations {
					if other.op != o.op {
						if err := other.do(t.Context(), s); errors.Is(err, cache.ErrBreaker) {
							t.Errorf("%s is refused, too: %v", other.name, err)
						}
					}
				}
				inner.Store.Delete(t.Context(), key)

				pass(time.Minute)
				if last != "commit" { // which no probe tries: the next upload does
					if err := o.do(t.Context(), s); !errors.Is(err, cache.ErrBreaker) {
						t.Fatalf("after a minute of probes that fail: %v", err)
					}
				}
				inner.set(nil)
				pass(2 * DefaultProbe)
				if err := o.do(t.Context(), s); errors.Is(err, cache.ErrBreaker) {
					t.Errorf("after the store came back: %v", err)
				}
				if err := b.Degraded(); err != nil {
					t.Errorf("Degraded: %v", err)
				}
				if got := gauge(t, reg, "bezoar_breaker_open", o.op); got != 0 {
					t.Errorf("the gauge is %v", got)
				}
			})
		})
	}
}

func gauge(t *testing.T, reg *prometheus.Registry, name, op string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == op {
				return m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("no %s of %s", name, op)
	return 0
}

// TestWhatIsNoFailure: a store that answers is well, whatever it answers, and a caller who leaves says nothing of it.
func TestWhatIsNoFailure(t *testing.T) {
	gone := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		context.AfterFunc(ctx, cancel)
		return ctx
	}
	late := func(ctx context.Context) context.Context {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		context.AfterFunc(ctx, cancel)
		return ctx
	}
	slowly := func(ctx context.Context, _ string) error {
		for ctx.Err() == nil {
			pass(time.Second)
			cache.Progress(ctx)
		}
		return ctx.Err()
	}
	for _, c := range []struct {
		name  string
		ctx   func(context.Context) context.Context
		fault func(context.Context, string) error
		trips bool
	}{
		{"nothing there", nil, answering(fmt.Errorf("wrapped: %w", cache.ErrNotExist), "open"), false},
		{"there already", nil, answering(cache.ErrExist, "open"), false},
		{"damaged", nil, answering(cache.ErrDamaged, "open"), false},
		{"a caller who leaves", gone, hang, false},
		{"a caller who waited in vain", late, hang, true},
		{"a caller who leaves a store that gets on", late, slowly, false},
		{"a failure", nil, failing("open"), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, b := newFaulty(), start(t, nil)
				s := b.Over(inner)
				inner.set(c.fault)
				for range 10 * DefaultFailures {
					ctx := t.Context()
					if c.ctx != nil {
						ctx = c.ctx(ctx)
					}
					if _, err := s.Open(ctx, key); err == nil {
						t.Fatal("it went well")
					}
				}
				if open := b.Degraded() != nil; open != c.trips {
					t.Errorf("the circuit is open: %v", open)
				}
				pass(time.Minute) // for contexts to end
			})
		})
	}
}

// TestFailuresThatAreNotInARow open a circuit if there are many, and no more calls went well.
func TestFailuresThatAreNotInARow(t *testing.T) {
	for _, c := range []struct {
		well  int // for each failure
		pause time.Duration
		trips bool
	}{{1, 0, true}, {2, 0, false}, {1, time.Minute, false}} {
		synctest.Test(t, func(t *testing.T) {
			inner, b := newFaulty(), start(t, nil)
			s := b.Over(inner)
			for range often * DefaultFailures {
				inner.set(nil)
				for range c.well {
					_, _ = s.Open(t.Context(), key)
				}
				inner.set(failing("open"))
				_, _ = s.Open(t.Context(), key)
				pass(c.pause)
			}
			if open := b.Degraded() != nil; open != c.trips {
				t.Errorf("%d good calls for each bad one, %s apart: the circuit is open: %v", c.well, c.pause, open)
			}
		})
	}
}

// TestAFullDisk: drafts can be begun, and what is there already is found, but nothing can be written.
func TestAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner, b := newFaulty(), start(t, nil)
		s := b.Over(inner)
		run(t, b)
		there := storetest.Key("2")
		if err := storetest.Put(t.Context(), s, there, storetest.Body(2, 10)); err != nil {
			t.Fatal(err)
		}
		inner.set(failing("write"))
		for range DefaultFailures {
			if err := put(t.Context(), s); !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			if _, err := s.Create(t.Context(), there); !errors.Is(err, cache.ErrExist) && !errors.Is(err, cache.ErrBreaker) {
				t.Fatal(err)
			}
		}
		if err := put(t.Context(), s); !errors.Is(err, cache.ErrBreaker) {
			t.Errorf("no circuit opened: %v", err)
		}
	})
}
