package spool

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/artifact/artifacttest"
	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

var (
	key  = storetest.Key("1")
	body = storetest.Body(1, 200_000)
)

// pass lets time pass in a bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// slow is a Put that works after a time.
func slow(r *remote, d time.Duration) putFunc {
	return func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
		select {
		case <-time.After(d):
			return r.write(ctx, entry, body)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestSentInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{time.Second, Forever} {
			r, l := newRemote(), mem.New()
			r.put = slow(r, 900*time.Millisecond)
			s := open(t, r, l, Options{Wait: wait})
			put(t, s, key, body)
			want(t, r, key, body)
			wantMiss(t, l, key)
			if isPending(t, s, key) {
				t.Error("what the remote store has is said to be pending")
			}
			if err := storetest.Put(t.Context(), s, key, body); !errors.Is(err, cache.ErrExist) {
				t.Errorf("once more: got %v, want ErrExist", err)
			}
			if got := s.used.Load(); got != 0 {
				t.Errorf("%d bytes are in the queue", got)
			}
		}
	})
}

// TestSentLate acknowledges after the wait, and goes on with the same send.
func TestSentLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, wait := range []time.Duration{0, 2 * time.Second} {
			r, l := newRemote(), mem.New()
			r.put = slow(r, 10*time.Second)
			s := open(t, r, l, Options{Wait: wait})
			other := open(t, r, mem.New(), Options{Wait: Forever})
			start := time.Now()
			put(t, s, key, body)
			if took := time.Since(start); took != wait {
				t.Errorf("it took %s, want %s", took, wait)
			}
			if !isPending(t, s, key) {
				t.Error("it is not said to be pending")
			}
			want(t, s, key, body)
			wantMiss(t, other, key)
			if got := keys(t, s.List(t.Context(), "")); len(got) != 1 || got[key] != 1 {
				t.Errorf("listed: %v", got)
			}
			if err := storetest.Put(t.Context(), s, key, body); !errors.Is(err, cache.ErrExist) {
				t.Errorf("once more: got %v, want ErrExist", err)
			}
			pass(10 * time.Second)
			if isPending(t, s, key) {
				t.Error("it is said to be pending")
			}
			want(t, s, key, body)
			want(t, other, key, body)
			wantMiss(t, l, key)
			if got := keys(t, s.List(t.Context(), "")); len(got) != 1 || got[key] != 1 {
				t.Errorf("listed: %v", got)
			}
			if got := r.tries(key); got != 1 {
				t.Errorf("%d sends, want 1", got)
			}
		}
	})
}

// TestNotSeenBeforeAcknowledged looks at an upload that waits.
func TestNotSeenBeforeAcknowledged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = hang
		s := open(t, r, l, Options{Wait: time.Minute, Stall: time.Hour})
		done := make(chan error, 1)
		go func() { done <- storetest.Put(t.Context(), s, key, body) }()
		synctest.Wait()
		want(t, l, key, body)
		wantMiss(t, s, key)
		if got := keys(t, s.List(t.Context(), "")); len(got) != 0 {
			t.Errorf("listed: %v", got)
		}
		if err := s.Delete(t.Context(), key); !errors.Is(err, cache.ErrNotExist) {
			t.Errorf("delete: got %v, want ErrNotExist", err)
		}
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		want(t, s, key, body)
	})
}

// TestRefusedInTime has the remote store say something definite while the upload waits.
func TestRefusedInTime(t *testing.T) {
	for _, c := range []struct {
		name          string
		wait          time.Duration
		answer, want  error
		acknowledged  bool
		sendsByResult string
	}{
		{"another was first", time.Minute, cache.ErrExist, cache.ErrExist, false, ""},
		{"another was first, for ever", Forever, cache.ErrExist, cache.ErrExist, false, ""},
		{"down", time.Minute, errDown, nil, true, "retried"},
		{"down, for ever", Forever, errDown, errDown, false, "failed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, l := newRemote(), mem.New()
				r.put = func(context.Context, cache.Entry, io.ReaderAt) error { return c.answer }
				s := open(t, r, l, Options{Wait: c.wait})
				start := time.Now()
				err := storetest.Put(t.Context(), s, key, body)
				if !errors.Is(err, c.want) || time.Since(start) != 0 {
					t.Errorf("got %v after %s, want %v at once", err, time.Since(start), c.want)
				}
				if c.acknowledged {
					want(t, s, key, body)
				} else {
					wantMiss(t, s, key)
					wantMiss(t, l, key)
				}
				for _, result := range []string{"sent", "lost_race", "failed", "retried", "given_up", "damaged"} {
					if got := count(t, s, result); (got == 1) != (result == c.sendsByResult) {
						t.Errorf("counted %v of %s", got, result)
					}
				}
			})
		})
	}
}

// TestLostRace has another server be first after the acknowledgement.
func TestLostRace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = slow(r, 10*time.Second)
		s := open(t, r, l, Options{Wait: time.Second})
		put(t, s, key, body)
		winner := []byte("another body")
		put(t, r.Store, key, winner)
		want(t, s, key, body) // not yet known
		if got := keys(t, s.List(t.Context(), "")); len(got) != 1 || got[key] != 1 {
			t.Errorf("listed: %v", got)
		}
		pass(10 * time.Second)
		want(t, s, key, winner)
		wantMiss(t, l, key)
		if got := count(t, s, "lost_race"); got != 1 {
			t.Errorf("%v lost races", got)
		}
	})
}

// TestLostAnswer has the bucket take an entry and the answer get lost: what is there at the next try is no other server's.
func TestLostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, l := newRemote(), mem.New()
		r.put = func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
			if err := r.write(ctx, entry, body); err != nil {
				return err
			}
			return errDown
		}
		s := open(t, r, l, Options{Wait: time.Second, MaxBackoff: time.Second})
		put(t, s, key, body)
		pass(10 * time.Second)
		want(t, s, key, body)
		wantMiss(t, l, key)
		if sent, lost := count(t, s, "sent"), count(t, s, "lost_race"); sent != 1 || lost != 0 {
			t.Errorf("%v sent and %v lost races, want 1 and none", sent, lost)
		}
	})
}

// TestUnderDeadlines runs uploads as [cache.Cache] does: it ends them when there is no progress for 30 seconds.
func TestUnderDeadlines(t *testing.T) {
	grant := cache.Grant{Workspace: key.Workspace, Read: []cache.Scope{cache.Trusted}, Write: cache.Trusted}
	archive := artifacttest.Typical(1)
	moving := func(step time.Duration, steps int) func(*remote) putFunc {
		return func(r *remote) putFunc {
			return func(ctx context.Context, entry cache.Entry, body io.ReaderAt) error {
				for range steps {
					select {
					case <-time.After(step):
						cache.Progress(ctx)
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				return r.write(ctx, entry, body)
			}
		}
	}
	for _, c := range []struct {
		name         string
		options      Options
		put          func(*remote) putFunc
		took         time.Duration
		want         string
		sent, served bool
	}{
		{"it moves", Options{Wait: Forever}, moving(25*time.Second, 20), 500 * time.Second, "", true, true},
		{"it stalls for ever", Options{Wait: Forever, Stall: time.Hour}, moving(time.Hour, 1), 30 * time.Second, "no progress within 30s", false, false},
		{"it stalls", Options{Wait: Forever, Stall: 20 * time.Second}, moving(25*time.Second, 20), 20 * time.Second, errStalled.Error(), false, false},
		{"it stalls, but the wait ends", Options{Wait: 5 * time.Minute, Stall: time.Hour}, moving(50*time.Minute, 1), 5 * time.Minute, "", false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRemote()
				r.put = c.put(r)
				s := open(t, r, mem.New(), c.options)
				heart := cache.New(s, cache.Options{StoreTimeout: 30 * time.Second, Now: time.Now})
				start := time.Now()
				_, err := heart.Put(t.Context(), grant, cache.Upload{Hash: key.Hash, Size: int64(len(archive)), Body: strings.NewReader(string(archive))})
				took := time.Since(start)
				if took < c.took || took > c.took+2*time.Second || (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v after %s, want %q after %s", err, took, c.want, c.took)
				}
				synctest.Wait()
				if _, err := r.Open(t.Context(), key); (err == nil) != c.sent {
					t.Errorf("the remote store: %v", err)
				}
				if _, err := s.Open(t.Context(), key); (err == nil) != c.served {
					t.Errorf("the spool: %v", err)
				}
			})
		})
	}
}

// TestLook bounds the look at a remote store that does not answer, and takes none for a while afterwards.
func TestLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ wait, look time.Duration }{
			{0, minLook}, {time.Millisecond, minLook}, {500 * time.Millisecond, 500 * time.Millisecond}, {time.Hour, maxLook}, {Forever, maxLook},
		} {
			r := newRemote()
			r.open = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
			s := open(t, quick{r}, mem.New(), Options{Wait: c.wait})
			for _, want := range []time.Duration{c.look, 0} {
				start := time.Now()
				draft, err := s.Create(t.Context(), key)
				if err != nil {
					t.Fatal(err)
				}
				draft.Abort()
				if took := time.Since(start); took != want {
					t.Errorf("with a wait of %s: took %s, want %s", c.wait, took, want)
				}
			}
			r.set(nil, nil)
			put(t, r.Store, key, body)
			pass(lookPause)
			if _, err := s.Create(t.Context(), key); !errors.Is(err, cache.ErrExist) {
				t.Errorf("got %v, want ErrExist", err)
			}
		}
	})
}
