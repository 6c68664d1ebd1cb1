package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestDeleteWhileSent ends the send and removes what it wrote.
func TestDeleteWhileSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
			if err := r.write(ctx, entry, body); err != nil {
				return err
			}
			<-ctx.Done()
			<-time.After(5 * time.Second) // it looks what became of it
			return ctx.Err()
		}
		s := open(t, r, l, Options{Stall: time.Hour})
		put(t, s, key, body)
		synctest.Wait()
		want(t, r, key, body)
		start := time.Now()
		if err := s.Delete(t.Context(), key); err != nil || time.Since(start) != 5*time.Second {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		for _, store := range []interface {
			Open(context.Context, cache.Key) (*cache.Object, error)
		}{s, r, l} {
			wantMiss(t, store, key)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("once more: got %v, want ErrNotExist", err)
		}

		put(t, s, key, body)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Delete(ctx, key); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		pass(5 * time.Second)
		wantMiss(t, l, key)
		if len(s.items) != 0 {
			t.Error("it is still in the queue")
		}
	})
}

// TestDeleteWhileDown removes what is pending, and says that the remote store could not be asked.
func TestDeleteWhileDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = fail
		r.del = func() error { return errDown }
		s := open(t, r, mem.New(), Options{})
		put(t, s, key, body)
		if err := s.Delete(t.Context(), key); !errors.Is(err, errDown) {
			t.Errorf("got %v, want the remote's error", err)
		}
		r.set(nil, nil)
		pass(time.Hour)
		wantMiss(t, s, key)
		wantMiss(t, r, key)
	})
}

// TestSetAsideWhileSent takes a pending entry out of the way wherever it is by then.
func TestSetAsideWhileSent(t *testing.T) {
	for name, at := range map[string]time.Duration{"it has not begun": -1, "it is under way": time.Second, "it is there": 3 * time.Second, "it has ended": 10 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, l := newRemote(), mem.New()
				r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
					if err := slow(r, 2*time.Second)(ctx, entry, body); err != nil {
						return err
					}
					<-time.After(2 * time.Second)
					return nil
				}
				s := open(t, r, l, Options{Workers: 1})
				if at < 0 {
					put(t, s, storetest.Key("before"), body)
				}
				put(t, s, key, body)
				obj, err := s.Open(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				defer obj.Close()
				if at > 0 {
					pass(at)
				}
				if err := obj.SetAside("a reason"); err != nil {
					t.Error(err)
				}
				wantMiss(t, s, key)
				wantMiss(t, r, key)
				wantMiss(t, l, key)
				if got, err := io.ReadAll(obj.Body); err != nil || !bytes.Equal(got, body) {
					t.Errorf("the reader got %d bytes, %v", len(got), err)
				}
				put(t, s, key, []byte("anew"))
				if err := obj.SetAside("a reason"); err != nil {
					t.Error(err)
				}
				want(t, s, key, []byte("anew"))
				pass(time.Minute)
				if err := obj.SetAside("a reason"); err != nil {
					t.Error(err)
				}
				want(t, s, key, []byte("anew"))
			})
		})
	}
}

// TestNoGap reads entries while they are on their way from one store to the other.
func TestNoGap(t *testing.T) {
	r := newRemote()
	s := open(t, r, local(t, t.TempDir()), Options{Workers: 3})
	var group errgroup.Group
	for w := range 4 {
		group.Go(func() error {
			for i := range 40 {
				key := storetest.Key(fmt.Sprint(w, "-", i))
				if err := storetest.Put(t.Context(), s, key, body); err != nil {
					return err
				}
				for range 30 {
					if _, _, err := storetest.Get(t.Context(), s, key); err != nil {
						return fmt.Errorf("read what was acknowledged: %w", err)
					}
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := len(keys(t, r.List(t.Context(), ""))); got != 160 {
		t.Errorf("%d of 160 were sent", got)
	}
}
