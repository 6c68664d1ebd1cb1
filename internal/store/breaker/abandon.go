package breaker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

const (
	// grace is for how long a call whose context has ended is waited for, to tell truly what became of it.
	grace = 250 * time.Millisecond
	// maxLeft bounds the calls that were left behind: each holds a thread of the operating system.
	maxLeft = 256
)

var errHangs = errors.New("calls of the store hang, and do not mind that nobody waits for them any more")

// abandon returns what do does, or soon after the end of ctx that it was left behind. What it comes to later, if it works, is for drop.
func abandon[T any](ctx context.Context, b *Breaker, do func() (T, error), drop func(T)) (result T, left bool, err error) {
	if ctx.Done() == nil {
		result, err = do()
		return result, false, err
	}
	if n := b.left.Load(); n >= maxLeft {
		return result, false, fmt.Errorf("%w: %d of them", errHangs, n)
	}
	came := make(chan answer[T], 1)
	b.workers.do(func() { came <- protect(do) })
	select {
	case a := <-came:
		result, err = a.hear()
		return result, false, err
	case <-ctx.Done():
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case a := <-came:
		result, err = a.hear()
		return result, false, err
	case <-timer.C:
	}
	b.left.Add(1)
	go func() {
		defer b.left.Add(-1)
		if a := <-came; a.err == nil && a.panicked == nil {
			drop(a.result)
		}
	}()
	return result, true, fmt.Errorf("the store does not answer: %w", ctx.Err())
}

// answer is what a call in a goroutine came to.
type answer[T any] struct {
	result   T
	err      error
	panicked any
}

// protect keeps a panic for the caller: one that nobody recovers would end the server.
func protect[T any](do func() (T, error)) (a answer[T]) {
	defer func() {
		if p := recover(); p != nil {
			a.panicked = fmt.Sprintf("%v\n\n%s", p, debug.Stack())
		}
	}()
	a.result, a.err = do()
	return a
}

func (a answer[T]) hear() (T, error) {
	if a.panicked != nil {
		panic(a.panicked)
	}
	return a.result, a.err
}
