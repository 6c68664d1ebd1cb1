package spool

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

var errDisk = errors.New("the disk fails")

// faulty is a local store that fails as it is told.
type faulty struct {
	cache.Store

	mu                    sync.Mutex
	open, del, sync, list error
	synced                []cache.Key
	// listing, if it is there, is called after the listing was made and before it is told.
	listing func()
}

// set changes what fails.
func (f *faulty) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *faulty) fault(of *error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return *of
}

func (f *faulty) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	if err := f.fault(&f.open); err != nil {
		return nil, err
	}
	return f.Store.Open(ctx, key)
}

func (f *faulty) Delete(ctx context.Context, key cache.Key) error {
	if err := f.fault(&f.del); err != nil {
		return err
	}
	return f.Store.Delete(ctx, key)
}

func (f *faulty) Sync(_ context.Context, key cache.Key) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.synced = append(f.synced, key)
	return f.sync
}

func (f *faulty) List(ctx context.Context, workspace cache.Workspace) iter.Seq2[cache.Entry, error] {
	return func(yield func(cache.Entry, error) bool) {
		if err := f.fault(&f.list); err != nil {
			yield(cache.Entry{}, err)
			return
		}
		var entries []cache.Entry
		for entry := range f.Store.List(ctx, workspace) {
			entries = append(entries, entry)
		}
		if f.listing != nil {
			f.listing()
		}
		for _, entry := range entries {
			if !yield(entry, nil) {
				return
			}
		}
	}
}

// TestSyncedFirst acknowledges nothing that a loss of power could take.
func TestSyncedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), &faulty{Store: mem.New()}
		r.put = hang
		s := open(t, r, l, Options{})
		put(t, s, key, body)
		if !slices.Contains(l.synced, key) {
			t.Error("it was acknowledged without a sync")
		}
		l.set(func() { l.sync = errDisk })
		if err := storetest.Put(t.Context(), s, storetest.Key("2"), body); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want the error of the sync", err)
		}
		wantMiss(t, s, storetest.Key("2"))
		wantMiss(t, l, storetest.Key("2"))
		if got := s.used.Load(); got != int64(len(body)) {
			t.Errorf("%d bytes are in use", got)
		}
	})
}

// TestLocalTrouble tells it, and does not take it for a miss.
func TestLocalTrouble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), &faulty{Store: mem.New()}
		r.put = hang
		s := open(t, r, l, Options{Stall: time.Second})
		put(t, s, key, body)
		l.set(func() { l.open = errDisk })
		if _, err := s.Open(t.Context(), key); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want the disk's error", err)
		}
		pass(time.Hour)
		l.set(func() { l.open = nil })
		want(t, s, key, body)
	})
}

// TestCannotDrop has a disk that does not let go of what was sent or deleted.
func TestCannotDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), &faulty{Store: mem.New()}
		r.put = slow(r, 10*time.Second)
		s := open(t, r, l, Options{})
		put(t, s, key, body)
		l.set(func() { l.del = errDisk })
		pass(time.Minute)
		want(t, s, key, body)
		if isPending(t, s, key) {
			t.Error("what was sent is said to be pending")
		}
		if got := keys(t, s.List(t.Context(), "")); len(got) != 1 || got[key] != 1 {
			t.Errorf("listed: %v", got)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, errStuck) {
			t.Errorf("delete: got %v, want %v", err, errStuck)
		}

		put(t, s, storetest.Key("2"), body)
		if err := s.Delete(t.Context(), storetest.Key("2")); !errors.Is(err, errDisk) {
			t.Errorf("delete of a pending one: got %v, want the disk's error", err)
		}
		wantMiss(t, s, storetest.Key("2"))
		if err := storetest.Put(t.Context(), s, storetest.Key("2"), body); !errors.Is(err, errStuck) {
			t.Errorf("put: got %v, want %v", err, errStuck)
		}
		l.set(func() { l.del = nil })
		pass(time.Minute)
		if err := s.Delete(t.Context(), key); err != nil {
			t.Errorf("delete: %v", err)
		}
		put(t, s, storetest.Key("2"), []byte("anew"))
		want(t, s, storetest.Key("2"), []byte("anew"))
		pass(time.Minute)
		if len(s.items) != 0 || s.used.Load() != 0 {
			t.Errorf("%d items, %d bytes are left", len(s.items), s.used.Load())
		}
	})
}

// TestDamaged edits a pending entry's file, or removes it.
func TestDamaged(t *testing.T) {
	for name, harm := range map[string]func(path string) error{
		"edited":  func(path string) error { return errors.Join(os.WriteFile(path, []byte("edited"), 0o600)) },
		"removed": os.Remove,
	} {
		for _, by := range []string{"a reader", "its send"} {
			t.Run(name+", found by "+by, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					dir := t.TempDir()
					r := newRemote()
					r.put = fail
					s := open(t, r, local(t, dir), Options{})
					synctest.Wait() // until it has looked at what is there: it would count what it finds damaged, too
					put(t, s, key, body)
					if err := filepath.WalkDir(filepath.Join(dir, "entries"), func(path string, e os.DirEntry, err error) error {
						if err != nil || e.IsDir() {
							return err
						}
						return harm(path)
					}); err != nil {
						t.Fatal(err)
					}
					if by == "a reader" {
						_, err := s.Open(t.Context(), key)
						if name == "edited" && !errors.Is(err, cache.ErrDamaged) || name == "removed" && !errors.Is(err, cache.ErrNotExist) {
							t.Errorf("got %v", err)
						}
					}
					pass(time.Minute)
					if got := count(t, s, "damaged"); got != 1 {
						t.Errorf("%v are counted as damaged", got)
					}
					wantMiss(t, s, key)
					wantMiss(t, r, key)
					put(t, s, key, body)
					want(t, s, key, body)
				})
			})
		}
	}
}
