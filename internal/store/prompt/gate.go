package prompt

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

const (
	// again is after how long one more call is tried while others hang, in case that they never return.
	again = time.Minute
	// maxHanging bounds the calls that hang: each holds a thread of the operating system.
	maxHanging = 64
)

// ErrHangs says that the directory's disk does not answer.
var ErrHangs = errors.New("the disk hangs")

// Gate lets calls of the operating system through as long as they return in time. While one hangs, nothing more is tried, and whoever asks is told at once; it
// opens when the call returns. Its zero value is no gate: use [NewGate]. It is safe for concurrent use.
type Gate struct {
	wait time.Duration

	mu      sync.Mutex
	hanging int
	since   time.Time // the first of those that hang was left
	next    time.Time // when another call is tried all the same
}

// NewGate makes a gate that is open. A call that shows no sign of progress for as long as wait hangs. Wait must be positive.
func NewGate(wait time.Duration) *Gate { return &Gate{wait: wait} }

// enter returns an error while nothing is to be tried.
func (g *Gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hanging == 0 {
		return nil
	}
	now := time.Now()
	if g.hanging < maxHanging && !now.Before(g.next) {
		g.next = now.Add(again)
		return nil
	}
	return fmt.Errorf("%w since %s: %d calls have not returned", ErrHangs, g.since.UTC().Format(time.RFC3339), g.hanging)
}

// left notes a call that nobody waits for any more, and returns what is to be called when it returns.
func (g *Gate) left() (back func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.hanging == 0 {
		g.since = time.Now()
	}
	g.hanging++
	g.next = time.Now().Add(again)
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.hanging--
		g.next = time.Now() // it answers again, it seems: one may see
	}
}

// Do returns what do does, or [ErrHangs]: at once while another call hangs, else when do shows no progress for as long as the gate waits. Then do goes on by itself,
// and what it comes to, if it works, is for drop, which may be nil. It must not use what its caller uses afterwards. Do may call alive to show progress.
func Do[T any](g *Gate, do func(alive func()) (T, error), drop func(T)) (result T, err error) {
	result, _, err = within(g, g.wait, do, drop)
	return result, err
}

// Release does what gives something back, and waits for it as Do does, but not at all while another call hangs: it is done in any case.
func (g *Gate) Release(do func()) {
	wait := g.wait
	if g.enter() != nil {
		wait = 0
	}
	_, _, _ = start(g, wait, func(func()) (struct{}, error) { do(); return struct{}{}, nil }, nil)
}

// within is Do with another wait; left says that do is still at it.
func within[T any](g *Gate, wait time.Duration, do func(alive func()) (T, error), drop func(T)) (result T, left bool, err error) {
	if err := g.enter(); err != nil {
		return result, false, err
	}
	return start(g, wait, do, drop)
}

func start[T any](g *Gate, wait time.Duration, do func(alive func()) (T, error), drop func(T)) (result T, left bool, err error) {
	came, progress := make(chan answer[T], 1), make(chan struct{}, 1)
	go func() {
		came <- protect(do, func() {
			select {
			case progress <- struct{}{}:
			default:
			}
		})
	}()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for hangs := false; !hangs; {
		select {
		case a := <-came:
			result, err = a.hear()
			return result, false, err
		case <-progress:
			timer.Reset(wait)
		case <-timer.C:
			hangs = true
		}
	}
	back := g.left()
	go func() {
		a := <-came
		if a.err == nil && a.panicked == nil && drop != nil {
			drop(a.result)
		}
		back()
	}()
	return result, true, fmt.Errorf("%w: no answer within %s", ErrHangs, wait)
}

// answer is what a call in a goroutine came to.
type answer[T any] struct {
	result   T
	err      error
	panicked any
}

// protect keeps a panic for the caller: one that nobody recovers would end the server.
func protect[T any](do func(func()) (T, error), alive func()) (a answer[T]) {
	defer func() {
		if p := recover(); p != nil {
			a.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		}
	}()
	a.result, a.err = do(alive)
	return a
}

func (a answer[T]) hear() (T, error) {
	if a.panicked != nil {
		panic(a.panicked)
	}
	return a.result, a.err
}
