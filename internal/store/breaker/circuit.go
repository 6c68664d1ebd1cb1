package breaker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

const (
	// window is for how long failures are remembered that are not in a row; steps is in how many steps they are forgotten.
	window = 5 * time.Minute
	steps  = 20
	// often is how many times as many failures as in a row open a circuit within the window, if no more calls went well.
	often = 4
)

// circuit is one operation's.
type circuit struct {
	op string
	cb *gobreaker.TwoStepCircuitBreaker[struct{}]
	// probe asks the store for nothing that matters. Nil: there is no such question, and a caller's own is the probe.
	probe func(context.Context) error

	mu    sync.Mutex // never held while cb is called, which calls changed under a lock of its own
	open  bool       // it is not closed: open, or being tried
	since time.Time
	last  error // the failure that counts
}

func newCircuit(op string, o Options) *circuit {
	c := &circuit{op: op}
	remembered := max(window, 20*o.Patience)
	c.cb = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name: op, MaxRequests: 1, Interval: remembered, BucketPeriod: remembered / steps, Timeout: o.Probe,
		ReadyToTrip: func(n gobreaker.Counts) bool {
			return int(n.ConsecutiveFailures) >= o.Failures || int(n.TotalFailures) >= often*o.Failures && n.TotalFailures >= n.TotalSuccesses
		},
		IsExcluded:    func(err error) bool { return errors.Is(err, errGivenUp) },
		OnStateChange: func(_ string, _, to gobreaker.State) { c.changed(to) },
	})
	return c
}

func (c *circuit) changed(to gobreaker.State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case to == gobreaker.StateClosed:
		c.open, c.last = false, nil
	case !c.open:
		c.open, c.since = true, time.Now()
	}
}

func (c *circuit) isOpen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// trouble says since when the circuit is open and why; nil if it is not.
func (c *circuit) trouble() (time.Time, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return time.Time{}, nil
	}
	return c.since, c.last
}

// allow lets a call through, which is over when done is called with its [verdict]; or it is [cache.ErrBreaker]. Where there are probes, no caller
// has to be one and to wait in vain.
func (c *circuit) allow() (done func(error), err error) {
	open := c.probe != nil && c.isOpen()
	if !open {
		if done, err = c.cb.Allow(); err == nil {
			return c.noting(done), nil
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// Not wrapped: whatever that failure was, this is none of its kind.
	return nil, fmt.Errorf("%w: %s failed before, and is tried again soon; the last failure: %v", cache.ErrBreaker, c.op, c.last) //nolint:errorlint // see above
}

// noting keeps the failure for whoever asks why, before the circuit opens for it.
func (c *circuit) noting(done func(error)) func(error) {
	return func(err error) {
		if err != nil && !errors.Is(err, errGivenUp) {
			c.mu.Lock()
			c.last = err
			c.mu.Unlock()
		}
		done(err)
	}
}

// state is what the gauge shows: 0 if the circuit is closed, 1 if not.
func (c *circuit) state() float64 {
	if c.isOpen() {
		return 1
	}
	return 0
}
