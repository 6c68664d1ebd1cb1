package breaker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/storetest"
)

// TestAStoreThatMindsNoContext: calls that hang in the operating system are left behind, a bounded number of them, and what they come to is dropped.
func TestAStoreThatMindsNoContext(t *testing.T) {
	for _, o := range operations {
		if o.op == opList || o.name == "write" {
			continue // a listing is nobody's build; a write has no context
		}
		t.Run(o.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, b := newFaulty(), start(t, nil)
				s := b.Over(inner)
				run(t, b)
				back := make(chan struct{})
				last := o.inner[len(o.inner)-1]
				inner.set(func(_ context.Context, op string) error {
					if op == last {
						<-back
					}
					return nil
				})
				for range DefaultFailures {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					begun := time.Now()
					if err := o.do(ctx, s); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, cache.ErrBreaker) {
						t.Fatalf("a call that hangs: %v", err)
					}
					if took := time.Since(begun); took > 11*time.Second {
						t.Errorf("it took %s", took)
					}
					cancel()
				}
				if err := o.do(t.Context(), s); !errors.Is(err, cache.ErrBreaker) {
					t.Fatalf("no circuit opened: %v", err)
				}
				pass(24 * time.Hour)
				if n := b.left.Load(); n > maxLeft {
					t.Errorf("%d calls were left behind, at most %d may be", n, maxLeft)
				}
				inner.set(nil)
				close(back)
				pass(2 * DefaultProbe)
				if n := b.left.Load(); n != 0 {
					t.Errorf("%d calls are still left behind", n)
				}
				if err := o.do(t.Context(), s); errors.Is(err, cache.ErrBreaker) {
					t.Errorf("after the store came back: %v", err)
				}
			})
		})
	}
}

// TestAPanicIsTheCallers: it must not end the server.
func TestAPanicIsTheCallers(t *testing.T) {
	inner := newFaulty()
	s := start(t, nil).Over(inner)
	inner.set(func(context.Context, string) error { panic("boom") })
	defer func() {
		if p := recover(); p == nil || !strings.Contains(p.(string), "boom") {
			t.Errorf("recovered %v", p)
		}
	}()
	_, _ = s.Open(t.Context(), key)
}

func entry(body []byte) cache.Entry { return cache.Entry{Key: key, Record: storetest.Record(body)} }

// TestRemote: the circuits of a bucket. Its Put has no probe but whoever sends next.
func TestRemote(t *testing.T) {
	body := storetest.Body(1, 1000)
	synctest.Test(t, func(t *testing.T) {
		inner, b := newFaulty(), start(t, nil)
		r := b.OverRemote(inner)
		run(t, b)
		send := func() error { return r.Put(t.Context(), entry(body), bytes.NewReader(body)) }
		inner.set(failing("put", "has"))
		for range DefaultFailures {
			if err := send(); !errors.Is(err, errFault) {
				t.Fatal(err)
			}
			if _, err := r.Has(t.Context(), key); !errors.Is(err, errFault) {
				t.Fatal(err)
			}
		}
		if err := send(); !errors.Is(err, cache.ErrBreaker) {
			t.Errorf("Put with the circuit open: %v", err)
		}
		if _, err := r.Open(t.Context(), key); !errors.Is(err, cache.ErrBreaker) {
			t.Errorf("Open where looks fail: %v", err)
		}
		pass(time.Hour)
		if n := inner.asked("put"); n != DefaultFailures {
			t.Errorf("Put was asked %d times", n)
		}
		inner.set(nil)
		pass(2 * DefaultProbe)
		if err := send(); err != nil {
			t.Errorf("the next to send: %v", err)
		}
		if obj, err := r.Open(t.Context(), key); err != nil {
			t.Errorf("after the bucket came back: %v", err)
		} else {
			obj.Close()
		}
		if err := b.Degraded(); err != nil {
			t.Errorf("Degraded: %v", err)
		}
	})
}

// TestOneSenderProbes: while it waits for its answer, the others are told at once.
func TestOneSenderProbes(t *testing.T) {
	body := storetest.Body(1, 1000)
	synctest.Test(t, func(t *testing.T) {
		inner, b := newFaulty(), start(t, nil)
		r := b.OverRemote(inner)
		send := func(ctx context.Context) error { return r.Put(ctx, entry(body), bytes.NewReader(body)) }
		inner.set(failing("put"))
		for range DefaultFailures {
			_ = send(t.Context())
		}
		pass(DefaultProbe + time.Second)
		inner.set(hang)
		probe := make(chan error)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { probe <- send(ctx) }()
		synctest.Wait()
		begun := time.Now()
		if err := send(t.Context()); !errors.Is(err, cache.ErrBreaker) || time.Since(begun) != 0 {
			t.Errorf("another sender: %v after %s", err, time.Since(begun))
		}
		if err := <-probe; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the probe: %v", err)
		}
		if err := send(t.Context()); !errors.Is(err, cache.ErrBreaker) {
			t.Errorf("after a probe that failed: %v", err)
		}
	})
}

// TestBodiesThatBreakOff count as failures to open: a bucket that sends headers and no bytes is as good as gone.
func TestBodiesThatBreakOff(t *testing.T) {
	body := storetest.Body(1, 1000)
	for name, c := range map[string]struct {
		fault func(context.Context, string) error
		wait  time.Duration
		trips bool
	}{
		"broken":                   {failing("read"), time.Second, true},
		"damaged":                  {answering(cache.ErrDamaged, "read"), time.Second, false},
		"hanging for long":         {hanging("read"), 10 * time.Second, true},
		"left by its reader early": {hanging("read"), time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner, b := newFaulty(), start(t, nil)
				r := b.OverRemote(inner)
				if err := r.Put(t.Context(), entry(body), bytes.NewReader(body)); err != nil {
					t.Fatal(err)
				}
				inner.set(c.fault)
				for range often * DefaultFailures {
					ctx, cancel := context.WithTimeout(t.Context(), c.wait)
					obj, err := r.Open(ctx, key)
					if err == nil {
						_, _ = io.Copy(io.Discard, obj.Body)
						obj.Close()
					}
					cancel()
				}
				if open := b.Degraded() != nil; open != c.trips {
					t.Errorf("the circuit is open: %v", open)
				}
			})
		})
	}
}

func hanging(op string) func(context.Context, string) error {
	return func(ctx context.Context, asked string) error {
		if asked == op {
			return hang(ctx, op)
		}
		return nil
	}
}
