package seal_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// purges hides hashes, and clears them out of a store unless it fails.
type purges struct {
	hidden  map[cache.Hash]bool
	from    cache.Store
	failure error
	cleared int
}

func (p *purges) Purged(e *cache.Entry) bool { return p.hidden[e.Key.Hash] }

func (p *purges) Clear(ctx context.Context, e *cache.Entry) error {
	if p.failure != nil {
		return p.failure
	}
	p.cleared++
	delete(p.hidden, e.Key.Hash) // what comes next is another entry
	return p.from.Delete(ctx, e.Key)
}

// copies is a store in front of another one that keeps what it has seen, as a tier does, or calls it pending, as a spool does.
type copies struct {
	cache.Store
	kept      cache.Store
	pending   bool
	forgotten int
	aside     int
}

func (c *copies) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := c.kept.Open(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return c.Store.Open(ctx, key)
	}
	if err == nil {
		obj.Copy, obj.Pending = !c.pending, c.pending
		obj.SetAside = func(string) error { c.aside++; return nil }
	}
	return obj, err
}

func (c *copies) Forget(ctx context.Context, key cache.Key) error {
	c.forgotten++
	return c.kept.Delete(ctx, key)
}

// TestPurgedIsAMiss without an alarm, listed nowhere, deleted by nobody, and its key is free.
func TestPurgedIsAMiss(t *testing.T) {
	inner, reg := mem.New(), prometheus.NewRegistry()
	hide := &purges{hidden: make(map[cache.Hash]bool), from: inner}
	sealed := seal.New(inner, ring(1), seal.Options{Registerer: reg, Purges: hide})
	key, body := storetest.Key("1"), []byte("bad")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(storetest.Put(t.Context(), sealed, key, body))
	must(storetest.Put(t.Context(), sealed, storetest.Key("2"), body))
	hide.hidden["1"] = true
	if _, err := sealed.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) || !errors.Is(err, seal.ErrPurged) {
		t.Errorf("open: %v", err)
	}
	if err := sealed.Delete(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("delete: %v", err)
	}
	for entry, err := range sealed.List(t.Context(), "") {
		if err != nil || entry.Key == key {
			t.Errorf("listed: %q, %v", entry.Key, err)
		}
	}
	if _, err := inner.Open(t.Context(), key); err != nil {
		t.Errorf("it is not where it was: %v", err)
	}
	hide.failure = errors.New("the ledger is locked")
	if err := storetest.Put(t.Context(), sealed, key, []byte("good")); !errors.Is(err, cache.ErrExist) || !errors.Is(err, hide.failure) {
		t.Errorf("while it cannot be moved: %v", err)
	}
	hide.failure = nil
	must(storetest.Put(t.Context(), sealed, key, []byte("good")))
	if _, got, err := storetest.Get(t.Context(), sealed, key); err != nil || string(got) != "good" || hide.cleared != 1 {
		t.Errorf("written anew: %q, %v", got, err)
	}
	if n, err := testutil.GatherAndCount(reg, seal.BrokenSeals); err != nil || n == 0 {
		t.Fatal(n, err)
	}
	families, err := reg.Gather()
	must(err)
	for _, m := range families[0].GetMetric() {
		if m.GetCounter().GetValue() != 0 {
			t.Errorf("an alarm: %v", m)
		}
	}
}

// TestACopyOfWhatIsPurgedGoes, and not what lies behind it, which belongs into quarantine.
func TestACopyOfWhatIsPurgedGoes(t *testing.T) {
	behind, front := mem.New(), mem.New()
	tier := &copies{Store: behind, kept: front}
	hide := &purges{hidden: make(map[cache.Hash]bool), from: behind}
	plain := seal.New(behind, ring(1), seal.Options{})
	kept := seal.New(front, ring(1), seal.Options{})
	sealed := seal.New(tier, ring(1), seal.Options{Purges: hide})
	key := storetest.Key("1")
	for _, store := range []cache.Store{plain, kept} {
		if err := storetest.Put(t.Context(), store, key, []byte("bad")); err != nil {
			t.Fatal(err)
		}
	}
	hide.hidden["1"] = true
	if _, err := sealed.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) || tier.forgotten != 1 || tier.aside != 0 {
		t.Errorf("%v; forgotten %d times, set aside %d times", err, tier.forgotten, tier.aside)
	}
	if _, err := behind.Open(t.Context(), key); err != nil {
		t.Errorf("the entry itself: %v", err)
	}
	// What waits in a spool is not moved before it is sent.
	tier.pending = true
	if err := storetest.Put(t.Context(), kept, key, []byte("bad")); err != nil {
		t.Fatal(err)
	}
	if err := storetest.Put(t.Context(), sealed, key, []byte("good")); !errors.Is(err, cache.ErrExist) || hide.cleared != 0 {
		t.Errorf("over a pending one: %v", err)
	}
}
