package breaker

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/mem"
)

// TestWorkersAreUsedAgainAndEnd: a bubble that ends finds every goroutine that is left.
func TestWorkersAreUsedAgainAndEnd(t *testing.T) {
	for _, kept := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			var w workers
			if kept {
				w.begin()
			}
			var done atomic.Int64
			hang := make(chan struct{})
			for range 3 * maxIdle {
				w.do(func() { <-hang; done.Add(1) })
			}
			synctest.Wait()
			close(hang)
			synctest.Wait()
			if n := len(w.idle); kept && n != maxIdle || !kept && n != 0 {
				t.Errorf("%d workers wait, are any to? %t", n, kept)
			}
			for range 1000 {
				w.do(func() { done.Add(1) })
				synctest.Wait()
			}
			late := make(chan struct{})
			w.do(func() { <-late })
			w.end()
			if n := done.Load(); n != 3*maxIdle+1000 {
				t.Errorf("%d calls were done", n)
			}
			close(late)
			w.do(func() { done.Add(1) }) // after the end, too
			synctest.Wait()
			if len(w.idle) != 0 || done.Load() != 3*maxIdle+1001 {
				t.Errorf("after the end %d wait, and %d calls were done", len(w.idle), done.Load())
			}
		})
	}
}

// TestACrowdLeavesNoWorkersBehind has many calls at once, and then one now and then.
func TestACrowdLeavesNoWorkersBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var w workers
		w.begin()
		var trimming sync.WaitGroup
		trimming.Go(func() { w.trim(ctx) })
		crowd := make(chan struct{})
		for range maxIdle {
			w.do(func() { <-crowd })
		}
		close(crowd)
		synctest.Wait()
		if len(w.idle) != maxIdle {
			t.Errorf("%d workers wait after a crowd, want %d", len(w.idle), maxIdle)
		}
		for range 25 {
			<-time.After(3 * time.Second)
			done := make(chan struct{})
			w.do(func() { close(done) })
			<-done
		}
		synctest.Wait()
		if len(w.idle) != 1 {
			t.Errorf("%d workers wait, want the one that has something to do", len(w.idle))
		}
		<-time.After(2 * trimEvery)
		synctest.Wait()
		if len(w.idle) != 0 {
			t.Errorf("%d workers wait after a minute without any call", len(w.idle))
		}
		cancel()
		trimming.Wait()
		w.end()
	})
}

// TestNoCallIsLostAtTheEnd is for the race detector as well.
func TestNoCallIsLostAtTheEnd(t *testing.T) {
	for range 200 {
		var w workers
		w.begin()
		var calls, running sync.WaitGroup
		for range 4 {
			running.Go(func() {
				for range 20 {
					calls.Add(1)
					w.do(calls.Done)
				}
			})
		}
		w.end()
		running.Wait()
		calls.Wait()
	}
}

func BenchmarkOpen(b *testing.B) {
	for name, keep := range map[string]bool{"workers": true, "goroutines": false} {
		b.Run(name, func(b *testing.B) {
			breaker, err := New(Options{})
			if err != nil {
				b.Fatal(err)
			}
			if keep {
				breaker.workers.begin()
				defer breaker.workers.end()
			}
			s := breaker.Over(deep{mem.New()})
			b.ReportAllocs()
			for b.Loop() {
				_, _ = s.Open(b.Context(), cache.Key{Workspace: "default", Scope: cache.Trusted, Hash: "1"})
			}
		})
	}
}

// deep is a store that needs some stack, as those do that read files.
type deep struct{ cache.Store }

func (d deep) Open(ctx context.Context, key cache.Key) (*cache.Object, error) {
	var buf [6 << 10]byte
	use(&buf)
	return d.Store.Open(ctx, key)
}

//go:noinline
func use(*[6 << 10]byte) {}
