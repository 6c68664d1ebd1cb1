package recorded_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/recorded"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestWhatLeaves: whatever was noted and is no more is told of, with its seal, also if somebody took it away behind the server's back or if
// it came and went within one batch; what is there is not.
func TestWhatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var left []string
		b := newBench(t, recorded.Options{Left: func(_ context.Context, entries []cache.Entry) {
			for _, e := range entries {
				left = append(left, string(e.Key.Hash)+" "+e.Record.Seal)
			}
		}})
		put := func(hash, seal string) {
			t.Helper()
			draft, err := b.store.Create(t.Context(), storetest.Key(hash))
			if err != nil {
				t.Fatal(err)
			}
			if err := draft.Commit(t.Context(), cache.Record{Seal: seal}); err != nil {
				t.Fatal(err)
			}
		}
		want := func(what string, all ...string) {
			t.Helper()
			pass(2 * recorded.DefaultInterval)
			slices.Sort(left)
			if fmt.Sprint(left) != fmt.Sprint(all) {
				t.Errorf("%s: left %q, want %q", what, left, all)
			}
			left = nil
		}
		for _, hash := range []string{"deleted", "taken", "both", "stays"} {
			put(hash, "first")
		}
		want("at first")
		b.delete("deleted")
		if err := b.inner.Delete(t.Context(), storetest.Key("taken")); err != nil { // an attacker
			t.Fatal(err)
		}
		put("taken", "second")
		b.delete("both")
		put("both", "second")
		want("later", "both first", "deleted first", "taken first")

		put("quick", "first")
		b.delete("quick")
		put("quick", "second")
		want("in one batch", "quick first")

		b.ledger.set(errors.New("locked"), false)
		b.delete("stays")
		pass(time.Minute)
		b.ledger.set(nil, false)
		pass(time.Minute)
		if !slices.Contains(left, "stays first") {
			t.Errorf("after trouble: left %q", left)
		}
		b.close()
	})
}

// TestWhatIsSetAsideLate: whoever reads a damaged entry slowly finds out when there is another one under its key. That one stays.
func TestWhatIsSetAsideLate(t *testing.T) {
	for _, batches := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var left []string
			b := newBench(t, recorded.Options{Left: func(_ context.Context, entries []cache.Entry) {
				for _, e := range entries {
					left = append(left, e.Record.Seal)
				}
			}})
			key := storetest.Key("1")
			put := func(seal string) {
				t.Helper()
				draft, err := b.store.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if err := draft.Commit(t.Context(), cache.Record{Seal: seal}); err != nil {
					t.Fatal(err)
				}
			}
			next := func() {
				if batches {
					pass(2 * recorded.DefaultInterval)
				}
			}
			put("damaged")
			object, err := b.recorder.Over(damaged{object: &cache.Object{
				Entry: cache.Entry{Key: key, Record: cache.Record{Seal: "damaged"}}, SetAside: func(string) error { return nil }, // another one did it
			}}).Open(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			next()
			b.delete("1")
			put("fresh")
			next()
			if err := object.SetAside("its bytes do not fit"); err != nil {
				t.Fatal(err)
			}
			pass(2 * recorded.DefaultInterval)
			if fmt.Sprint(left) != "[damaged]" {
				t.Errorf("in batches %t: left %q", batches, left)
			}
			if got := b.ledger.known()[key].Seal; got != "fresh" {
				t.Errorf("in batches %t: the ledger knows %q", batches, got)
			}
			b.close()
		})
	}
}

// behind is a remote of which nothing but Put and Delete is used.
type behind struct {
	recorded.Remote
	put error
}

func (r behind) Put(context.Context, cache.Entry, io.ReaderAt) error { return r.put }

func (r behind) Delete(context.Context, cache.Key) error { return nil }

// TestRemote: what a spool brings is noted when the remote has it, and only if it is good; what the remote refuses never was.
func TestRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 0
		b := newBench(t, recorded.Options{Left: func(_ context.Context, entries []cache.Entry) { left += len(entries) }})
		put := func(hash, seal string, answer error) {
			t.Helper()
			r := b.recorder.OverRemote(behind{put: answer}, func(e cache.Entry) bool { return e.Record.Seal != "copied" })
			if err := r.Put(t.Context(), cache.Entry{Key: storetest.Key(hash), Record: cache.Record{Seal: seal}}, nil); !errors.Is(err, answer) {
				t.Fatal(err)
			}
		}
		put("1", "first", nil)
		put("2", "copied", nil)
		pass(2 * recorded.DefaultInterval)
		put("1", "second", cache.ErrExist)
		put("1", "third", errors.New("the line broke"))
		pass(2 * recorded.DefaultInterval)
		if known := b.ledger.known(); len(known) != 1 || known[storetest.Key("1")].Seal != "first" || left != 0 {
			t.Errorf("the ledger knows %v, %d have left", known, left)
		}
		if err := b.recorder.OverRemote(behind{}, nil).Delete(t.Context(), storetest.Key("1")); err != nil {
			t.Fatal(err)
		}
		pass(2 * recorded.DefaultInterval)
		if len(b.ledger.known()) != 0 || left != 1 {
			t.Errorf("the ledger knows %v, %d have left", b.ledger.known(), left)
		}
		b.close()
	})
}

// TestWhatComesMeanwhileStays: an entry that was uploaded while an earlier one of its key was found damaged, or deleted, is none that left, in
// whatever order the two are noted.
func TestWhatComesMeanwhileStays(t *testing.T) {
	for _, later := range []time.Duration{0, 5 * recorded.DefaultInterval} {
		synctest.Test(t, func(t *testing.T) {
			var left []string
			b := newBench(t, recorded.Options{Left: func(_ context.Context, entries []cache.Entry) {
				for _, e := range entries {
					left = append(left, e.Record.Seal)
				}
			}})
			key := storetest.Key("1")
			slow := &slowDelete{Store: b.inner, after: func() {
				<-time.After(time.Second)
				draft, err := b.store.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				if err := draft.Commit(t.Context(), cache.Record{Seal: "newer", Created: time.Now().AddDate(50, 0, 0)}); err != nil {
					t.Fatal(err)
				}
				<-time.After(later)
			}}
			if err := storetest.Put(t.Context(), b.inner, key, []byte("older")); err != nil {
				t.Fatal(err)
			}
			if err := b.recorder.Over(slow).Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			pass(2 * recorded.DefaultInterval)
			if len(left) > 0 {
				t.Errorf("left %q", left)
			}
			if got := b.ledger.known()[key].Seal; got != "newer" {
				t.Errorf("known is %q", got)
			}
			b.close()
		})
	}
}

// slowDelete is a store in which much happens between a deletion and its answer.
type slowDelete struct {
	cache.Store
	after func()
}

func (s *slowDelete) Delete(ctx context.Context, key cache.Key) error {
	err := s.Store.Delete(ctx, key)
	s.after()
	return err
}
