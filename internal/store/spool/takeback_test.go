package spool

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestTakenBack ends the client's request while the upload waits.
func TestTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{time.Minute, Forever} {
			r, l := newRemote(), mem.New()
			r.put = hang
			s := open(t, r, l, Options{Wait: wait, Stall: time.Hour})
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			start := time.Now()
			if err := storetest.Put(ctx, s, key, body); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's error", err)
			}
			if took := time.Since(start); took != 30*time.Second {
				t.Errorf("it took %s", took)
			}
			synctest.Wait()
			wantMiss(t, s, key)
			wantMiss(t, l, key)
			if got := s.used.Load(); got != 0 || len(s.items) != 0 {
				t.Errorf("%d bytes, %d items are left", got, len(s.items))
			}
			r.set(nil, nil)
			put(t, s, key, body)
		}
	})
}

// TestTakenBackTooLate ends the request when the remote store has the entry already: it is committed, and the answer says so.
func TestTakenBackTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
			if err := r.write(ctx, entry, body); err != nil {
				return err
			}
			<-ctx.Done() // its answer is late
			return nil
		}
		s := open(t, r, mem.New(), Options{Wait: Forever, Stall: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if err := storetest.Put(ctx, s, key, body); err != nil {
			t.Errorf("got %v, but it is committed", err)
		}
		want(t, s, key, body)
	})
}

// TestTakenBackFromADeafRemote does not wait for one that ignores the end of its context.
func TestTakenBackFromADeafRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = func(context.Context, cache.Entry, io.ReaderAt) error {
			<-time.After(10 * time.Second)
			return errDown
		}
		s := open(t, r, l, Options{Wait: Forever})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		if err := storetest.Put(ctx, s, key, body); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second+takeBack {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		wantMiss(t, s, key)
		// Whoever comes next waits until that is over.
		r.set(nil, nil)
		put(t, s, key, []byte("another body"))
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("the next one was there after %s", took)
		}
		want(t, s, key, []byte("another body"))
	})
}

// TestNextInLine has a second upload of a key wait for what becomes of the first.
func TestNextInLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			first  error
			second error
		}{{nil, cache.ErrExist}, {cache.ErrExist, cache.ErrExist}, {errDown, nil}} {
			r, l := newRemote(), mem.New()
			r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
				<-time.After(10 * time.Second)
				if c.first != nil {
					return c.first
				}
				return r.write(ctx, entry, body)
			}
			s := open(t, r, l, Options{Wait: Forever})
			first := make(chan error, 1)
			early, err := s.Create(t.Context(), key) // begun before, committed after
			if err != nil {
				t.Fatal(err)
			}
			if _, err := early.Write([]byte("early")); err != nil {
				t.Fatal(err)
			}
			go func() { first <- storetest.Put(t.Context(), s, key, body) }()
			synctest.Wait()
			r.set(nil, nil)
			if errors.Is(c.first, cache.ErrExist) {
				put(t, r.Store, key, []byte("of another server"))
			}
			if err := early.Commit(t.Context(), storetest.Record([]byte("early"))); !errors.Is(err, c.second) {
				t.Errorf("the second, after %v: got %v, want %v", c.first, err, c.second)
			}
			if err := <-first; !errors.Is(err, c.first) {
				t.Errorf("the first: got %v, want %v", err, c.first)
			}
			if err := storetest.Put(t.Context(), s, key, body); !errors.Is(err, cache.ErrExist) {
				t.Errorf("afterwards: got %v, want ErrExist", err)
			}
		}
	})
}
