package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestClose has 12 entries wait behind 6 workers while the server stops.
func TestClose(t *testing.T) {
	for _, c := range []struct {
		name string
		put  func(*remote) putFunc
		took time.Duration
		left int
	}{
		// One worker of six is for uploads.
		{"drains", func(r *remote) putFunc { return slow(r, time.Second) }, 3 * time.Second, 0},
		{"is slow", func(r *remote) putFunc { return slow(r, 20*time.Second) }, 30 * time.Second, 7},
		{"hangs", func(*remote) putFunc { return hang }, 30 * time.Second, 12},
		{"is down", func(*remote) putFunc { return fail }, 0, 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				r, l := newRemote(), mem.New()
				r.put = fail
				s := open(t, r, l, Options{Workers: 6, Backoff: time.Hour, MaxBackoff: time.Hour, Logger: slog.New(slog.NewTextHandler(&log, nil))})
				for i := range 12 {
					put(t, s, storetest.Key(fmt.Sprint(i)), body)
				}
				synctest.Wait()
				s.health = health{} // let it forget that it was down
				r.set(c.put(r), nil)
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				start := time.Now()
				if err := s.Close(ctx); err != nil {
					t.Error(err)
				}
				left := keys(t, l.List(t.Context(), ""))
				if took := time.Since(start); took != c.took || len(left) != c.left {
					t.Errorf("it took %s, %d are left; want %s, %d", took, len(left), c.took, c.left)
				}
				if told := fmt.Sprintf("entries=%d bytes=%d", c.left, c.left*len(body)); strings.Contains(log.String(), told) != (c.left > 0) {
					t.Errorf("the log should say %q if some are left: %s", told, &log)
				}
				if err := storetest.Put(t.Context(), s, key, body); !errors.Is(err, ErrClosed) && !errors.Is(err, cache.ErrExist) {
					t.Errorf("an upload afterwards: got %v, want ErrClosed", err)
				}
				for key := range left {
					want(t, s, key, body)
				}
				if err := s.Close(t.Context()); err != nil {
					t.Errorf("once more: %v", err)
				}
			})
		})
	}
}

// TestCloseWhileUploadsWait answers them: what is safe on disk is acknowledged, if that is enough.
func TestCloseWhileUploadsWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{time.Hour, Forever} {
			r, l := newRemote(), mem.New()
			r.put = hang
			s := open(t, r, l, Options{Wait: wait, Workers: 1, Stall: time.Hour})
			errs := make(chan error, 2)
			for i := range 2 { // one is being sent, the other waits for its turn
				go func() { errs <- storetest.Put(t.Context(), s, storetest.Key(fmt.Sprint(i)), body) }()
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.Close(ctx); err != nil {
				t.Error(err)
			}
			for range 2 {
				if err := <-errs; (err == nil) != (wait != Forever) {
					t.Errorf("with a wait of %s: got %v", wait, err)
				}
			}
			synctest.Wait()
			if got := len(keys(t, l.List(t.Context(), ""))); (got == 2) != (wait != Forever) || got == 1 {
				t.Errorf("with a wait of %s: %d are on disk", wait, got)
			}
		}
	})
}

// TestDeafRemote does not keep the server from stopping.
func TestDeafRemote(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRemote()
		r.put = func(context.Context, cache.Entry, io.ReaderAt) error {
			<-time.After(time.Hour)
			return errDown
		}
		s, err := Open(r, mem.New(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		put(t, s, key, body)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Close(ctx); err == nil || time.Since(start) != time.Second+closeGrace {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		pass(time.Hour)
	})
}
