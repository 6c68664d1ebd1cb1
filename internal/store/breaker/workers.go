package breaker

import (
	"context"
	"sync"
	"time"
)

// maxIdle bounds the workers that wait for work.
const maxIdle = 64

// trimEvery is after how long without work a worker ends, or after up to twice that: those that a crowd left behind are not for ever.
const trimEvery = 30 * time.Second

// workers run calls that may have to be left behind. A goroutine for each would begin with a small stack each time, which costs more to grow than what is
// done on it takes. They wait for more work from begin until end; before and after, each ends with its call.
type workers struct {
	mu    sync.Mutex
	keep  bool
	idle  []chan func() // each is one's that waits; closed to end it
	least int           // of idle, since the last trim
	group sync.WaitGroup
}

func (w *workers) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.keep = true
}

// end returns when none waits any more. Those that are busy end by themselves.
func (w *workers) end() {
	w.mu.Lock()
	idle := w.idle
	w.keep, w.idle, w.least = false, nil, 0
	w.mu.Unlock()
	for _, c := range idle {
		close(c)
	}
	w.group.Wait()
}

// do runs f in another goroutine.
func (w *workers) do(f func()) {
	if c := w.take(); c != nil {
		c <- f
		return
	}
	go w.work(f)
}

func (w *workers) take() chan func() {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.idle)
	if n == 0 {
		return nil
	}
	c := w.idle[n-1] // whose stack was used last
	w.idle = w.idle[:n-1]
	w.least = min(w.least, n-1)
	w.group.Done()
	return c
}

// trim ends workers that have nothing to do, until ctx ends.
func (w *workers) trim(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		w.mu.Lock()
		for _, c := range w.idle[:w.least] { // the bottom of the stack, which nobody took
			close(c)
		}
		w.idle = append(w.idle[:0], w.idle[w.least:]...)
		w.least = len(w.idle)
		w.mu.Unlock()
	}
}

func (w *workers) work(f func()) {
	c := make(chan func(), 1)
	for {
		f()
		if !w.wait(c) {
			return
		}
		var ok bool
		if f, ok = <-c; !ok {
			w.group.Done()
			return
		}
	}
}

// wait offers a worker for more, unless there are enough.
func (w *workers) wait(c chan func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.keep || len(w.idle) >= maxIdle {
		return false
	}
	w.idle = append(w.idle, c)
	w.group.Add(1)
	return true
}
