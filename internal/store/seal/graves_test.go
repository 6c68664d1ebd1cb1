package seal_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/seal"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// distinct gives each entry a time of its own, as a clock does. The suite's are all of one time, so that one that is stored again would
// be the very one that was deleted.
type distinct struct {
	cache.Store
	nanoseconds *atomic.Int64
}

func (s distinct) Create(ctx context.Context, key cache.Key) (cache.Draft, error) {
	draft, err := s.Store.Create(ctx, key)
	if err != nil {
		return nil, err
	}
	return distinctDraft{draft, s.nanoseconds}, nil
}

type distinctDraft struct {
	cache.Draft
	nanoseconds *atomic.Int64
}

func (d distinctDraft) Commit(ctx context.Context, record cache.Record) error {
	record.Created = record.Created.Add(time.Duration(d.nanoseconds.Add(1)))
	return d.Draft.Commit(ctx, record)
}

// TestContractWithGraves also has graves that cannot be recorded.
func TestContractWithGraves(t *testing.T) {
	for name, failure := range map[string]error{"recorded": nil, "not recorded": errors.New("the ledger is locked")} {
		t.Run(name, func(t *testing.T) {
			var count atomic.Int64
			storetest.Run(t, func(*testing.T) cache.Store {
				list := &records{}
				graves := yard(t, list, seal.GraveyardOptions{})
				list.fail(failure)
				sealed := seal.New(mem.New(), ring(1), seal.Options{Graves: graves})
				return asGiven{distinct{sealed, &count}, sealed.(cache.Marker), ring(1)}
			}, storetest.Abilities())
		})
	}
}

func yard(t *testing.T, list seal.GraveRecords, options seal.GraveyardOptions) *seal.Graveyard {
	t.Helper()
	graves, err := seal.NewGraveyard(t.Context(), list, options)
	if err != nil {
		t.Fatal(err)
	}
	return graves
}

// watched is a store of which the order of what happens is seen.
type watched struct {
	cache.Store
	does func(what string) error
}

func (w watched) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := w.does("open"); err != nil {
		return nil, err
	}
	obj, err := w.Store.Open(ctx, key)
	if err == nil {
		inner := obj.SetAside
		obj.SetAside = func(reason string) error { return errors.Join(w.does("set aside"), inner(reason)) }
	}
	return obj, err
}

func (w watched) Delete(ctx context.Context, key cache.Key) error {
	if err := w.does("delete"); err != nil {
		return err
	}
	return w.Store.Delete(ctx, key)
}

// TestBuriedFirst: a crash at any point leaves no entry that is deleted and not buried.
func TestBuriedFirst(t *testing.T) {
	for _, c := range []struct {
		name   string
		remove func(store cache.Store) error
		order  string
	}{
		{"delete", func(store cache.Store) error { return store.Delete(t.Context(), storetest.Key("1")) }, "open bury delete"},
		{"set aside", func(store cache.Store) error {
			obj, err := store.Open(t.Context(), storetest.Key("1"))
			if err != nil {
				return err
			}
			defer obj.Close()
			return obj.SetAside("purged")
		}, "open bury set aside"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var order []string
			note := func(what string) error { order = append(order, what); return nil }
			list := &records{buries: func() { _ = note("bury") }}
			sealed := seal.New(watched{mem.New(), note}, ring(1), seal.Options{Graves: yard(t, list, seal.GraveyardOptions{})})
			if err := storetest.Put(t.Context(), sealed, storetest.Key("1"), []byte("body")); err != nil {
				t.Fatal(err)
			}
			if err := c.remove(sealed); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(order, " "); got != c.order {
				t.Errorf("got %q, want %q", got, c.order)
			}
		})
	}
}

// crashed is a store with an entry that is buried and could not be deleted.
func crashed(t *testing.T, options seal.Options) (sealed cache.Store, inner *mem.Store) {
	t.Helper()
	inner = mem.New()
	broken := errors.New("the line broke")
	fails := true
	sealed = seal.New(watched{inner, func(what string) error {
		if what == "delete" && fails {
			fails = false
			return broken
		}
		return nil
	}}, ring(1), options)
	if err := storetest.Put(t.Context(), sealed, storetest.Key("1"), []byte("body")); err != nil {
		t.Fatal(err)
	}
	if err := sealed.Delete(t.Context(), storetest.Key("1")); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
	return sealed, inner
}

// TestBrokenOffDeletion is a miss at once, silent for a while, and can be ended.
func TestBrokenOffDeletion(t *testing.T) {
	key := storetest.Key("1")
	var log bytes.Buffer
	now := time.Unix(1_800_000_000, 0)
	reg := prometheus.NewRegistry()
	clock := func() time.Time { return now }
	options := seal.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Registerer: reg, Now: clock, Graves: yard(t, &records{}, seal.GraveyardOptions{Now: clock})}

	sealed, inner := crashed(t, options)
	for range 2 {
		if _, _, err := storetest.Get(t.Context(), sealed, key); !errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged) {
			t.Fatalf("got %v, want ErrNotExist", err)
		}
		if err := storetest.Put(t.Context(), sealed, key, []byte("body")); !errors.Is(err, cache.ErrExist) {
			t.Fatalf("put: got %v, want ErrExist", err)
		}
		now = now.Add(4 * time.Minute)
		if log.Len() > 0 || len(inner.Aside()) > 0 || counts(t, reg)["rolled_back"] != 0 {
			t.Fatalf("alarmed within the time of a deletion: %s", &log)
		}
		now = now.Add(-4 * time.Minute)
	}
	list := func() (all []error) {
		for entry, err := range sealed.List(t.Context(), "") {
			if all = append(all, err); entry.Key != key {
				t.Errorf("listed as %v, %v", entry, err)
			}
		}
		return all
	}
	if all := list(); len(all) != 0 {
		t.Errorf("listed within the time of a deletion: %v", all)
	}
	now = now.Add(6 * time.Minute)
	if all := list(); len(all) != 1 || !errors.Is(all[0], seal.ErrRolledBack) {
		t.Errorf("after a while %v is listed", all)
	}
	if err := sealed.Delete(t.Context(), key); err != nil {
		t.Fatalf("delete again: %v", err)
	}
	if err := sealed.Delete(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
		t.Errorf("delete once more: got %v", err)
	}

	options.Graves = yard(t, &records{}, seal.GraveyardOptions{Now: clock})
	sealed, inner = crashed(t, options)
	now = now.Add(6 * time.Minute)
	if _, _, err := storetest.Get(t.Context(), sealed, key); !errors.Is(err, cache.ErrDamaged) || !errors.Is(err, seal.ErrRolledBack) {
		t.Errorf("after a while: got %v", err)
	}
	if counts(t, reg)["rolled_back"] != 1 || len(inner.Aside()) != 1 || !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), "2027-01-15T08:06:00Z") {
		t.Errorf("counted %v, %d set aside, the log says %s", counts(t, reg), len(inner.Aside()), &log)
	}
}

// tiered is a store with copies of its own, as a tier has them.
type tiered struct{ cache.Store }

func (s *tiered) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := s.Store.Open(ctx, key)
	if err == nil {
		obj.Copy = true
	}
	return obj, err
}

// tier opens copies first and deletes from both.
type tier struct {
	cache.Store
	copies *tiered
}

func (s *tier) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := s.copies.Open(ctx, key)
	if errors.Is(err, cache.ErrNotExist) {
		return s.Store.Open(ctx, key)
	}
	return obj, err
}

func (s *tier) Delete(ctx context.Context, key cache.Key) error {
	_ = s.copies.Delete(ctx, key)
	return s.Store.Delete(ctx, key)
}

// TestCopiesOfWhatIsDeleted go without an alarm when somebody asks for them, and what came in place of the entry is served, or buried.
func TestCopiesOfWhatIsDeleted(t *testing.T) {
	key := storetest.Key("1")
	var count atomic.Int64
	for _, age := range []time.Duration{time.Second, time.Hour} {
		for _, later := range []bool{false, true} {
			for _, deleted := range []bool{false, true} {
				now := time.Unix(1_800_000_000, 0)
				clock := func() time.Time { return now }
				shared, list := mem.New(), &records{}
				local := mem.New()
				var log bytes.Buffer
				options := func(graves seal.Graves) seal.Options {
					return seal.Options{Now: clock, Graves: graves, Logger: slog.New(slog.NewTextHandler(&log, nil))}
				}
				other := distinct{seal.New(shared, ring(1), options(yard(t, list, seal.GraveyardOptions{Now: clock}))), &count}
				if err := storetest.Put(t.Context(), other, key, []byte("first")); err != nil {
					t.Fatal(err)
				}
				entry, _, err := storetest.Get(t.Context(), shared, key)
				if err != nil {
					t.Fatal(err)
				}
				plant(t, local, key, []byte("first"), func(r *cache.Record) { *r = entry.Record })
				if err := other.Delete(t.Context(), key); err != nil {
					t.Fatal(err)
				}
				if later {
					if err := storetest.Put(t.Context(), other, key, []byte("second")); err != nil {
						t.Fatal(err)
					}
				}
				now = now.Add(age)
				store := seal.New(&tier{shared, &tiered{local}}, ring(1), options(yard(t, list, seal.GraveyardOptions{Now: clock})))
				if deleted {
					err = store.Delete(t.Context(), key)
					if (err == nil) != later || (len(list.rows) == 2) != later {
						t.Errorf("delete: got %v, %d are buried", err, len(list.rows))
					}
				} else if _, body, err := storetest.Get(t.Context(), store, key); later && (err != nil || string(body) != "second") || !later && !errors.Is(err, cache.ErrNotExist) {
					t.Errorf("got %q, %v", body, err)
				}
				if log.Len() > 0 || len(local.Aside()) != 1 {
					t.Errorf("%d copies are set aside, the log says %s", len(local.Aside()), &log)
				}
			}
		}
	}
}

// TestDeletionInAnIncident goes on, whatever fails beside it, and says so.
func TestDeletionInAnIncident(t *testing.T) {
	key := storetest.Key("1")
	for _, c := range []struct {
		name string
		open error // of the inner store
		bury error
		log  string
	}{
		{"no ledger", nil, errors.New("the ledger is gone"), "the ledger is gone"},
		{"unreadable", errors.New("no key to decrypt it"), nil, "without being read"},
		{"damaged", cache.ErrDamaged, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inner, list := mem.New(), &records{}
			var log bytes.Buffer
			graves := yard(t, list, seal.GraveyardOptions{})
			list.fail(c.bury)
			store := seal.New(watched{inner, func(what string) error {
				if what == "open" {
					return c.open
				}
				return nil
			}}, ring(1), seal.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Graves: graves})
			if err := storetest.Put(t.Context(), store, key, []byte("body")); err != nil {
				t.Fatal(err)
			}
			entry, _, err := storetest.Get(t.Context(), inner, key)
			if err != nil {
				t.Fatal(err)
			}
			if err := store.Delete(t.Context(), key); err != nil {
				t.Errorf("delete: %v", err)
			}
			if _, err := inner.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
				t.Errorf("it is there still: %v", err)
			}
			if (c.log == "") != (log.Len() == 0) || !strings.Contains(log.String(), c.log) {
				t.Errorf("the log says %s", &log)
			}
			if c.open != nil {
				return
			}
			plant(t, inner, key, []byte("body"), func(r *cache.Record) { *r = entry.Record })
			if _, err := store.Open(t.Context(), key); !errors.Is(err, seal.ErrRolledBack) {
				t.Errorf("put back: got %v", err)
			}
		})
	}
	// Damage that Open takes away by itself is deleted, too.
	gone := seal.New(watched{mem.New(), func(what string) error {
		if what == "open" {
			return cache.ErrDamaged
		}
		return nil
	}}, ring(1), seal.Options{Graves: yard(t, &records{}, seal.GraveyardOptions{})})
	if err := gone.Delete(t.Context(), key); err != nil {
		t.Errorf("damaged and gone: %v", err)
	}
}

// TestTrustedGravesAreTold apart by one bit of the id that graves are given.
func TestTrustedGravesAreTold(t *testing.T) {
	list := &records{}
	sealed := seal.New(mem.New(), ring(1), seal.Options{Graves: yard(t, list, seal.GraveyardOptions{})})
	for i, scope := range []cache.Scope{cache.Trusted, "pr/17", "branch/trusted"} {
		key := cache.Key{Workspace: "web", Scope: scope, Hash: "1"}
		if err := errors.Join(storetest.Put(t.Context(), sealed, key, []byte("body")), sealed.Delete(t.Context(), key)); err != nil {
			t.Fatal(err)
		}
		if got := list.rows[i].id[0] >> 7; (got == 1) != (scope == cache.Trusted) {
			t.Errorf("%s: got %d", scope, got)
		}
	}
}

// records are [seal.GraveRecords] in memory.
type records struct {
	mu      sync.Mutex
	rows    []row
	forget  [2]time.Time
	failure error
	calls   int
	buries  func()        // nil: nobody
	waits   chan struct{} // nil: nothing is waited for
}

type row struct {
	id [16]byte
	at time.Time
}

func (r *records) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
}

func (r *records) Bury(ctx context.Context, ids [][16]byte, at time.Time, forget [2]time.Time) error {
	if r.buries != nil {
		r.buries()
	}
	if r.waits != nil {
		select {
		case <-r.waits:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	if r.failure != nil {
		return r.failure
	}
	for _, id := range ids {
		r.rows = append(r.rows, row{id, at})
	}
	r.forget = forget
	return ctx.Err()
}

func (r *records) Buried(ctx context.Context, after int64, limit int, each func([16]byte, time.Time)) (int64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure != nil {
		return after, r.failure
	}
	for ; int(after) < len(r.rows) && limit > 0; limit-- {
		each(r.rows[after].id, r.rows[after].at)
		after++
	}
	return after, ctx.Err()
}
