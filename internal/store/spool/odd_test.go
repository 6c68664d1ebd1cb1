package spool

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestForeignEntry has an entry come into the directory by another hand, at each step of an upload.
func TestForeignEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []string{"before", "meanwhile"} {
			r, l := newRemote(), mem.New()
			s := open(t, r, l, Options{Wait: Forever})
			synctest.Wait()
			if at == "before" {
				put(t, l, key, []byte("foreign"))
			}
			draft, err := s.Create(t.Context(), key)
			if at == "meanwhile" {
				if err != nil {
					t.Fatal(err)
				}
				if _, err := draft.Write(body); err != nil {
					t.Fatal(err)
				}
				put(t, l, key, []byte("foreign"))
				err = draft.Commit(t.Context(), storetest.Record(body))
			}
			if !errors.Is(err, cache.ErrExist) {
				t.Errorf("%s: got %v, want ErrExist", at, err)
			}
			synctest.Wait()
			want(t, r, key, []byte("foreign"))
			if len(s.items) != 0 || s.used.Load() != 0 {
				t.Errorf("%s: %d items, %d bytes are left", at, len(s.items), s.used.Load())
			}
		}
	})
}

// bare is a store whose objects have as few abilities as they may.
type bare struct{ cache.Store }

func (b bare) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := b.Store.Open(ctx, key)
	if err == nil {
		obj.SetAside = nil
	}
	return obj, err
}

// bareRemote is the same for a remote store.
type bareRemote struct{ *remote }

func (b bareRemote) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	return bare{b.Store}.Open(ctx, key)
}

// TestSetAsideWithoutAPlace deletes what cannot be kept.
func TestSetAsideWithoutAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, at := range []time.Duration{0, time.Minute} {
			r, l := newRemote(), mem.New()
			r.put = slow(r, time.Second)
			s := open(t, bareRemote{r}, bare{l}, Options{})
			put(t, s, key, body)
			obj, err := s.Open(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			defer obj.Close()
			pass(at)
			if err := obj.SetAside("a reason"); err != nil {
				t.Error(err)
			}
			wantMiss(t, s, key)
			wantMiss(t, r, key)
			wantMiss(t, l, key)
		}
	})
}

// TestSetAsideFails leaves the entry as it was.
func TestSetAsideFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = slow(r, time.Second)
		s := open(t, r, &failingAside{mem.New()}, Options{})
		put(t, s, key, body)
		obj, err := s.Open(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		defer obj.Close()
		if err := obj.SetAside("a reason"); !errors.Is(err, errDisk) {
			t.Errorf("got %v, want the disk's error", err)
		}
		want(t, s, key, body)
		pass(time.Minute)
		want(t, r, key, body)
	})
}

type failingAside struct{ cache.Store }

func (f *failingAside) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := f.Store.Open(ctx, key)
	if err == nil {
		obj.SetAside = func(string) error { return errDisk }
	}
	return obj, err
}

// TestUnfitLocal has bodies that cannot be read at an offset.
func TestUnfitLocal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, newRemote(), &streaming{mem.New()}, Options{Wait: Forever})
		if err := storetest.Put(t.Context(), s, key, body); err == nil || !strings.Contains(err.Error(), "not fit for a spool") {
			t.Errorf("got %v", err)
		}
	})
}

type streaming struct{ cache.Store }

func (l *streaming) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	obj, err := l.Store.Open(ctx, key)
	if err == nil {
		obj.Body = struct{ io.ReadCloser }{obj.Body}
	}
	return obj, err
}

// TestLostBeforeAcknowledged has an entry vanish from the disk while its upload waits: it must not be acknowledged.
func TestLostBeforeAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lost := range []error{cache.ErrDamaged, cache.ErrNotExist} { // neither of which is an answer to an upload
			l := &faulty{Store: mem.New()}
			s := open(t, newRemote(), l, Options{Wait: time.Minute})
			synctest.Wait()
			l.set(func() { l.open = lost })
			if err := storetest.Put(t.Context(), s, key, body); err == nil || errors.Is(err, lost) || !strings.Contains(err.Error(), "did not keep it: ") {
				t.Errorf("got %v, want trouble", err)
			}
			wantMiss(t, s, key)
		}
	})
}

// TestDamagedWhileSent finds the damage while the entry is being sent: the send is ended, and what the remote store has counts.
func TestDamagedWhileSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), &faulty{Store: mem.New()}
		r.put = hang
		s := open(t, r, l, Options{Stall: time.Hour})
		put(t, s, key, body)
		synctest.Wait()
		l.set(func() { l.open = cache.ErrDamaged })
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Errorf("got %v, want ErrDamaged", err)
		}
		l.set(func() { l.open = nil })
		synctest.Wait()
		wantMiss(t, s, key)
		if len(s.items) != 0 || count(t, s, "damaged") != 1 {
			t.Errorf("%d items are left, %v are counted as damaged", len(s.items), count(t, s, "damaged"))
		}
		put(t, s, key, body)
		put(t, r.Store, key, []byte("of another server"))
		l.set(func() { l.open = cache.ErrDamaged })
		want(t, s, key, []byte("of another server"))
	})
}

// TestDamagedLeftover is found by its name, before the directory is listed.
func TestDamagedLeftover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &faulty{Store: mem.New(), list: errDisk, open: cache.ErrDamaged}
		r := newRemote()
		s := open(t, r, l, Options{})
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrDamaged) {
			t.Errorf("open: got %v, want ErrDamaged", err)
		}
		if _, err := s.Open(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("open once more: got %v, want ErrNotExist", err)
		}
		if err := s.Delete(t.Context(), storetest.Key("2")); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("delete: got %v, want ErrNotExist", err)
		}
		draft, err := s.Create(t.Context(), storetest.Key("3"))
		if err != nil {
			t.Fatalf("create: %v", err)
		}
		draft.Abort()
		if got := count(t, s, "damaged"); got != 3 {
			t.Errorf("%v are counted as damaged", got)
		}
		l.set(func() { l.open = errDisk })
		for _, try := range []func(cache.Key) error{
			func(key cache.Key) error { _, err := s.Open(t.Context(), key); return err },
			func(key cache.Key) error { _, err := s.Create(t.Context(), key); return err },
			func(key cache.Key) error { return s.Delete(t.Context(), key) },
		} {
			if err := try(storetest.Key("4")); !errors.Is(err, errDisk) {
				t.Errorf("got %v, want the disk's error", err)
			}
		}
	})
}

// TestZeroTime takes over an entry without a time.
func TestZeroTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = fail
		draft, err := l.Create(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if err := draft.Commit(t.Context(), cache.Record{}); err != nil {
			t.Fatal(err)
		}
		s := open(t, r, l, Options{MaxAge: time.Hour})
		pass(time.Minute)
		if s.pending.Len() != 1 || s.oldest() != time.Minute {
			t.Errorf("%d are pending, the oldest for %s", s.pending.Len(), s.oldest())
		}
	})
}
