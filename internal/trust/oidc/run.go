package oidc

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// ErrRunning is what a second Run answers.
var ErrRunning = errors.New("the issuers' keys are already being refreshed, or no longer")

// idle is how long Run waits at most, and at least, before it looks at what is due.
const (
	longestIdle  = time.Hour
	shortestIdle = time.Second
)

// Run fetches key sets ahead of need until ctx ends, and returns nil then. It begins with those that are not here yet; an issuer that does not answer is no
// error, but a matter of [Verifier.Degraded]. When it returns, no fetch is under way, and none begins any more.
func (v *Verifier) Run(ctx context.Context) error {
	if !v.running.CompareAndSwap(false, true) {
		return ErrRunning
	}
	defer v.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-v.wake:
		}
		timer.Reset(v.fetchDue(ctx))
	}
}

// fetchDue begins the fetches that are due and returns how long there is nothing to do.
func (v *Verifier) fetchDue(ctx context.Context) time.Duration {
	now := v.now()
	idle := longestIdle
	for _, s := range v.current.Load().sources {
		if due := s.fetchIfDue(ctx, now); !due.IsZero() {
			idle = min(idle, due.Sub(now))
		}
	}
	return max(idle, shortestIdle)
}

func (v *Verifier) poke() {
	select {
	case v.wake <- struct{}{}:
	default:
	}
}

func (v *Verifier) stop() {
	v.mu.Lock()
	v.stopped = true
	for _, s := range v.current.Load().sources {
		s.close()
	}
	v.mu.Unlock()
	v.flights.Wait()
	v.client.CloseIdleConnections()
}

// Degraded tells why keys cannot be refreshed, for which issuers and since when; nil while they can.
func (v *Verifier) Degraded() error {
	var errs []error
	sources := v.current.Load().sources
	for _, url := range slices.Sorted(maps.Keys(sources)) {
		errs = append(errs, sources[url].degraded())
	}
	return errors.Join(errs...)
}
