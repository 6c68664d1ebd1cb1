//go:build e2e

package soak_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/bezoar-cache/bezoar/test/bezoar"
)

// world is a server, what is around it, and its clients.
type world struct {
	t       *testing.T
	rand    *rand.Rand // of the faults
	serve   func() *bezoar.Server
	fresh   func() *bezoar.Server // another server over the same entries; nil: there is none
	faults  []fault
	profile string // URL of the profiles
	data    string // directory on the disk that breaks
	// isOne says that of all uploads of one hash one is acknowledged at most, whatever happens. Else another one may be, if the bucket did not say for so long that it has the first,
	// which stays.
	isOne bool
	look  time.Duration

	shelf   *shelf
	weather *weather
	result  *result

	once   sync.Once // stacks
	mu     sync.Mutex
	server *bezoar.Server
}

func (w *world) at() *bezoar.Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.server
}

func (w *world) start() {
	s := w.serve()
	w.t.Cleanup(func() { thaw(w.t, w.data) }) // before the server is ended
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server = s
}

// run is the whole soak.
func (w *world) run(t *testing.T, p plan) *result {
	w.t, w.shelf, w.weather, w.result = t, newShelf(), newWeather(), newResult(p)
	w.start()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var running sync.WaitGroup
	for i := range clients {
		running.Go(func() { w.client(ctx, rand.New(rand.NewPCG(*seed, uint64(1000+i)))) })
	}
	running.Go(func() { w.result.follow(ctx, w, p.sample) })

	for begun, killed := time.Now(), 0; killed < p.kills && time.Since(begun) < p.killing; killed++ {
		w.row(p)
		w.kill()
	}
	w.calm(t, p)
	base := w.settle(t, p)
	for begun := time.Now(); time.Since(begun) < p.weather; {
		w.row(p)
		w.calm(t, p)
	}
	<-time.After(p.end)
	w.result.over(w.degraded(t))
	end := w.settle(t, p)
	cancel()
	running.Wait()
	w.result.compare(base, end)
	w.sweep(t, w.at())
	w.at().Stop(t)
	if w.fresh != nil {
		w.sweep(t, w.fresh())
	}
	w.result.judge(t)
	return w.result
}

// row is some faults one after the other, which are not always those that the server has got over.
func (w *world) row(p plan) {
	w.weather.set(foul)
	for range p.inARow {
		f := w.next()
		mend := f.begin()
		<-time.After(p.least + time.Duration(w.rand.Int64N(int64(p.most-p.least))))
		mend()
		w.result.had(f.name)
		if w.rand.IntN(2) == 0 {
			<-time.After(time.Second)
		}
	}
}

// next draws a fault; each comes before one comes again.
func (w *world) next() fault {
	if w.result.bag == nil {
		w.result.bag = w.rand.Perm(len(w.faults))
	}
	f := w.faults[w.result.bag[0]]
	if w.result.bag = w.result.bag[1:]; len(w.result.bag) == 0 {
		w.result.bag = nil
	}
	return f
}

// kill ends the server as a crash does, and starts it again.
func (w *world) kill() {
	w.weather.set(killing)
	w.at().Kill()
	w.start()
	w.result.had("killed with SIGKILL, and started again")
	w.weather.set(foul)
}

// calm waits until nothing that was may matter any more, and then for some time in which all has to be well.
func (w *world) calm(t *testing.T, p plan) {
	<-time.After(p.grace)
	w.weather.set(calm)
	<-time.After(p.calm)
}

// sky is what may go wrong.
type sky int

const (
	calm    sky = iota // nothing
	foul               // an entry may be a miss, and an upload be refused
	killing            // and connections be dropped
)

// weather is the sky, and how often it has changed.
type weather struct {
	mu      sync.Mutex
	now     sky
	changes int
	pause   chan struct{} // clients wait until it is closed; nil: they do not
	busy    int           // requests under way
}

func newWeather() *weather { return &weather{} }

func (w *weather) set(now sky) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
	w.changes++
}

// begin begins a request; end tells the worst sky since.
func (w *weather) begin() (end func() sky) {
	w.mu.Lock()
	defer w.mu.Unlock()
	before, changes := w.now, w.changes
	w.busy++
	return func() sky {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.busy--
		switch {
		case w.changes == changes:
			return before
		case w.changes-changes == 1:
			return max(before, w.now)
		}
		return killing // it may have been
	}
}

// hold makes clients wait, and returns what lets them go on, when no request is under way.
func (w *weather) hold() (release func()) {
	pause := make(chan struct{})
	w.mu.Lock()
	w.pause = pause
	w.mu.Unlock()
	for busy := 1; busy > 0; {
		<-time.After(50 * time.Millisecond)
		w.mu.Lock()
		busy = w.busy
		w.mu.Unlock()
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.pause = nil
		close(pause)
	}
}

// wait returns when clients may go on.
func (w *weather) wait(ctx context.Context) {
	w.mu.Lock()
	pause := w.pause
	w.mu.Unlock()
	if pause == nil {
		return
	}
	select {
	case <-pause:
	case <-ctx.Done():
	}
}
