package purge

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// leaseTime is how long a process that died keeps others from its work.
	leaseTime = 30 * time.Second
	// leaseRenewal is how often a living one says that it is.
	leaseRenewal = leaseTime / 3
	// leasePoll is how often one who waits asks.
	leasePoll = 500 * time.Millisecond
)

// errBusy says that another server or command is at the work.
var errBusy = errors.New("another server or command works on the purge")

// hold does a work on a purge while nobody else does. If somebody does, it waits for its turn, or is errBusy.
func (e *Engine) hold(ctx context.Context, id string, waits bool, do func(context.Context) error) error {
	name := "purge " + id
	for {
		held, err := e.records.Lease(ctx, name, e.holder, leaseTime)
		if err != nil {
			return err
		}
		if held {
			break
		}
		if !waits {
			return errBusy
		}
		if err := wait(ctx, leasePoll); err != nil {
			return err
		}
	}
	work, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { e.renew(work, name, cancel) })
	err := do(work)
	if err != nil && ctx.Err() == nil && work.Err() != nil {
		err = context.Cause(work)
	}
	cancel(nil)
	renewing.Wait()
	if errEnd := e.records.EndLease(context.WithoutCancel(ctx), name, e.holder); err == nil {
		err = errEnd
	}
	return err
}

// renew keeps a lease until ctx ends, and ends the work if it cannot.
func (e *Engine) renew(ctx context.Context, name string, cancel context.CancelCauseFunc) {
	failures := 0
	for wait(ctx, leaseRenewal) == nil {
		held, err := e.records.Lease(ctx, name, e.holder, leaseTime)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures++; failures == 2 { // the third one would be too late
				cancel(err)
				return
			}
		case !held:
			cancel(errBusy)
			return
		default:
			failures = 0
		}
	}
}
