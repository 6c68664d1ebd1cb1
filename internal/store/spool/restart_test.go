package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/fs"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestRestart finds what a former process acknowledged, and sends it.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newRemote()
		r.put = hang
		first := local(t, dir)
		s := open(t, r, first, Options{})
		for i := range 20 {
			put(t, s, storetest.Key(fmt.Sprint(i)), storetest.Body(uint64(i), 1000*i))
		}
		end(t, s)
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if got := files(t, dir); got != 20 {
			t.Fatalf("%d files are left for the next start, want 20", got)
		}
		s = open(t, r, local(t, dir), Options{})
		synctest.Wait()
		if s.used.Load() != 190_000 || s.pendingBytes != 190_000 || s.pending.Len() != 20 {
			t.Errorf("%d entries of %d bytes are pending", s.pending.Len(), s.pendingBytes)
		}
		if err := s.Close(expired(t)); err != nil {
			t.Fatal(err)
		}
		r.set(nil, nil)
		s = open(t, r, local(t, dir), Options{})
		synctest.Wait()
		for i := range 20 {
			want(t, r, storetest.Key(fmt.Sprint(i)), storetest.Body(uint64(i), 1000*i))
		}
		if got := files(t, dir); got != 0 || len(s.items) != 0 || !s.idle.Load() {
			t.Errorf("%d files, %d items are left", got, len(s.items))
		}
	})
}

func expired(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

// TestBeforeListed uses a spool whose directory takes long to list.
func TestBeforeListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, inner := newRemote(), mem.New()
		hashes := []string{"opened", "deleted", "put again", "listed", "untouched", "set aside"}
		for _, hash := range hashes {
			put(t, inner, storetest.Key(hash), []byte(hash))
		}
		r.put = hang
		r.open = func(context.Context) error { return nil }
		listed := make(chan struct{})
		l := &faulty{Store: inner}
		var listings atomic.Int64
		l.listing = func() {
			if listings.Add(1) == 1 {
				<-listed
			}
		}
		s := open(t, r, l, Options{Stall: time.Hour})
		synctest.Wait()

		want(t, s, storetest.Key("opened"), []byte("opened"))
		if !isPending(t, s, storetest.Key("opened")) {
			t.Error("it is not said to be pending")
		}
		if err := s.Delete(t.Context(), storetest.Key("deleted")); err != nil {
			t.Error(err)
		}
		if err := storetest.Put(t.Context(), s, storetest.Key("put again"), body); !errors.Is(err, cache.ErrExist) {
			t.Errorf("got %v, want ErrExist", err)
		}
		obj, err := s.Open(t.Context(), storetest.Key("set aside"))
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		if err := obj.SetAside("a reason"); err != nil {
			t.Error(err)
		}
		wantMiss(t, s, storetest.Key("nothing"))
		// What comes and goes while the listing, which knows nothing of it, is under way.
		put(t, s, storetest.Key("new"), body)
		if err := s.Delete(t.Context(), storetest.Key("new")); err != nil {
			t.Error(err)
		}
		put(t, s, storetest.Key("deleted"), []byte("anew"))
		if err := s.Delete(t.Context(), storetest.Key("deleted")); err != nil {
			t.Error(err)
		}
		left := []string{"listed", "opened", "put again", "untouched"}
		wantListed(t, s, left)
		close(listed)
		synctest.Wait()
		wantListed(t, s, left)
		if s.left != nil || s.pending.Len() != len(left) {
			t.Errorf("%d are pending", s.pending.Len())
		}
		for _, hash := range []string{"deleted", "set aside", "new"} {
			wantMiss(t, s, storetest.Key(hash))
		}
	})
}

func wantListed(t *testing.T, s *Store, hashes []string) {
	t.Helper()
	var got []string
	for key := range keys(t, s.List(t.Context(), "")) {
		got = append(got, string(key.Hash))
	}
	slices.Sort(got)
	if !slices.Equal(got, hashes) {
		t.Errorf("listed: %v, want %v", got, hashes)
	}
}

// TestListingFails tries again, and says so if it never works.
func TestListingFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), &faulty{Store: mem.New(), list: errDisk}
		put(t, l, key, body)
		s := open(t, r, l, Options{})
		pass(time.Second)
		want(t, s, key, body) // by its name
		put(t, l.Store, storetest.Key("2"), body)
		l.set(func() { l.list = nil })
		pass(time.Minute)
		if got := len(keys(t, r.List(t.Context(), ""))); got != 2 || s.Degraded() != nil {
			t.Errorf("%d were sent, degraded: %v", got, s.Degraded())
		}

		l.set(func() { l.list = errDisk })
		put(t, l, storetest.Key("3"), body)
		r = newRemote()
		s = open(t, r, l, Options{})
		pass(time.Hour)
		if err := s.Degraded(); !errors.Is(err, errDisk) {
			t.Errorf("degraded: %v, want the disk's error", err)
		}
		// It is not known, but stays in the way, until it is.
		if err := storetest.Put(t.Context(), s, storetest.Key("3"), []byte("another body")); !errors.Is(err, cache.ErrExist) {
			t.Errorf("got %v, want ErrExist", err)
		}
		synctest.Wait()
		want(t, r, storetest.Key("3"), body)
	})
}

// TestCrash takes a copy of the directory at an arbitrary time, as a crash leaves it, and starts over it: nothing that was acknowledged before is
// lost, and what is there is whole.
func TestCrash(t *testing.T) {
	for round := range 3 {
		r := newRemote()
		var mu sync.Mutex
		sends := 0
		r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
			mu.Lock()
			sends++
			n := sends
			mu.Unlock()
			switch n % 3 {
			case 0:
				return errDown
			case 1:
				return hang(ctx, entry, body)
			default:
				return r.write(ctx, entry, body)
			}
		}
		dir, copied := t.TempDir(), t.TempDir()
		s := open(t, r, local(t, dir), Options{Wait: time.Millisecond, Stall: 20 * time.Millisecond, Backoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond})
		acknowledged := make(map[cache.Key][]byte)
		var group errgroup.Group
		crash := make(chan struct{})
		for w := range 4 {
			group.Go(func() error {
				for i := range 25 {
					key, body := storetest.Key(fmt.Sprint(w, "-", i)), storetest.Body(uint64(100*w+i), 20_000)
					if err := storetest.Put(context.Background(), s, key, body); err != nil {
						return err
					}
					mu.Lock()
					acknowledged[key] = body
					if len(acknowledged) == 20+20*round {
						close(crash)
					}
					mu.Unlock()
				}
				return nil
			})
		}
		<-crash
		mu.Lock()
		before := maps.Clone(acknowledged)
		mu.Unlock()
		copyTree(t, dir, copied)
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		end(t, s)

		r.set(nil, nil)
		s = open(t, r, local(t, copied), Options{})
		for key, body := range before {
			want(t, s, key, body)
		}
		for !s.idle.Load() {
			<-time.After(time.Millisecond)
		}
		for key, body := range before {
			want(t, r, key, body)
		}
		for key := range keys(t, r.List(t.Context(), "")) {
			want(t, s, key, acknowledged[key])
		}
		if got := files(t, copied); got != 0 {
			t.Errorf("%d files are left", got)
		}
	}
}

// copyTree copies all files of a directory into another, as far as they stay long enough.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	err := filepath.WalkDir(from, func(path string, e os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		target := filepath.Join(to, path[len(from):])
		if e.IsDir() {
			return os.MkdirAll(target, 0o750)
		}
		if e.Name() == "lock" {
			return nil
		}
		text, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil // it was sent meanwhile: the remote store has it
		}
		return errors.Join(err, os.WriteFile(target, text, 0o640))
	})
	if err != nil {
		t.Fatal(err)
	}
}

var _ syncer = (*fs.Store)(nil)
