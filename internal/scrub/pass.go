package scrub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// What ends a turn.
var (
	errStalled = errors.New("the storage gives no sign of life")
	errLost    = errors.New("another server goes on with it")
)

// turn is one stretch of a pass.
type turn struct {
	*Scrubber
	ctx          context.Context //nolint:containedctx // a turn is a call
	watch        *time.Timer
	saved, asked time.Time
	told         int // damaged entries that the log was told of
	row          int // entries in a row that could not be read
}

// maxTold bounds the log lines about damage in one turn.
const maxTold = 100

// pass goes on with a pass, and moves its position. It is complete when all was looked at; else err says why not.
func (s *Scrubber) pass(ctx context.Context, at *position) (complete bool, err error) {
	watched, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	now := time.Now()
	t := &turn{Scrubber: s, ctx: watched, watch: time.AfterFunc(stall, func() { cancel(errStalled) }), saved: now, asked: now}
	defer t.watch.Stop()
	var failed error // trouble after which nothing came
	for step, err := range s.opts.Walker.Walk(watched, cache.Part{}, at.Position, cache.SetAside) {
		t.alive()
		if err == nil {
			failed = nil
			err = t.step(step)
		}
		switch {
		case watched.Err() != nil:
			return false, context.Cause(watched)
		case errors.Is(err, errLost):
			return false, err
		case err == nil:
			at.Position = step.Position
			if err := t.keep(*at); err != nil {
				return false, err
			}
		case s.failures < patience:
			return false, err
		default:
			failed = err
			s.trouble("the scrub cannot read a part of what is stored and goes past it", err)
		}
	}
	if more := t.told - maxTold; more > 0 {
		s.log.Error("the scrub found more damaged entries and set them aside", "entries", more)
	}
	return failed == nil && watched.Err() == nil, errors.Join(failed, context.Cause(watched))
}

// alive says that the storage answers.
func (t *turn) alive() {
	if t.watch.Stop() { // else it is over
		t.watch.Reset(stall)
	}
}

// wait lets n bytes pass at the rate. The time counts for nobody's patience.
func (t *turn) wait(n int64) error {
	if !t.watch.Stop() {
		return context.Cause(t.ctx)
	}
	defer t.watch.Reset(stall)
	if err := t.pace.wait(t.ctx, n); err != nil {
		return err
	}
	return t.renew()
}

// renew asks for the lease now and then: also in the middle of a large body, which takes long.
func (t *turn) renew() error {
	if t.opts.Lease == nil || time.Since(t.asked) < leaseEvery {
		return nil
	}
	held, err := t.leased(t.ctx)
	if err == nil && !held || err != nil && time.Since(t.asked) >= leaseTime {
		return errLost
	}
	if err == nil {
		t.asked = time.Now()
	}
	return nil
}

// keep saves the position now and then.
func (t *turn) keep(at position) error {
	if time.Since(t.saved) < saveEvery {
		return nil
	}
	if err := t.renew(); err != nil {
		return err
	}
	t.saved = time.Now()
	t.save(t.ctx, at)
	return nil
}

// step looks at one thing. Its error is trouble that is not of this entry alone, or that the lease is lost.
func (t *turn) step(step cache.Step) error {
	if step.Damage != nil {
		t.damaged(step, step.Damage, step.Stuck)
		return nil //nolint:nilerr // damage is found, and no trouble
	}
	if err := t.wait(perEntry); err != nil {
		return err
	}
	err := t.entry(step)
	switch {
	case err == nil, errors.Is(err, errLost):
		t.row = 0
		return err
	case t.ctx.Err() != nil:
		return err
	}
	t.metrics.results.WithLabelValues("error").Inc()
	err = fmt.Errorf("verify %s: %w", step.Place, err)
	if t.row++; t.row >= inRow {
		t.row = 0
		return err
	}
	t.trouble("the scrub cannot read an entry", err)
	return nil
}

func (t *turn) entry(step cache.Step) error {
	obj, err := t.opts.Store.Open(t.ctx, step.Key)
	switch {
	case errors.Is(err, cache.ErrNotExist):
		t.metrics.results.WithLabelValues("gone").Inc()
		return nil
	case errors.Is(err, cache.ErrDamaged):
		t.damaged(step, err, nil)
		return nil
	case err != nil:
		return err
	}
	defer obj.Close()
	err = Verify(obj, func(n int) error {
		t.alive()
		t.metrics.bytes.Add(float64(n))
		return t.wait(int64(n))
	})
	flaw, unfit := errors.AsType[flawError](err)
	switch {
	case unfit && obj.SetAside != nil:
		t.damaged(step, flaw, obj.SetAside(flaw.Error()))
		return nil
	case unfit:
		t.damaged(step, flaw, errors.New("the storage has no place for it"))
		return nil
	case errors.Is(err, cache.ErrDamaged):
		t.damaged(step, err, nil)
		return nil
	case err != nil:
		return err
	}
	t.metrics.results.WithLabelValues("whole").Inc()
	return nil
}

// damaged takes note of an entry that was set aside, unless it is stuck.
func (t *turn) damaged(step cache.Step, why, stuck error) {
	t.metrics.results.WithLabelValues("damaged").Inc()
	t.health.found(step.Place, why)
	if t.told++; t.told > maxTold {
		return
	}
	if stuck != nil {
		t.log.Error("the scrub found a damaged entry that cannot be set aside: whoever asks for it gets a miss", "place", step.Place, "reason", why, "error", stuck)
		return
	}
	t.log.Error("the scrub found a damaged entry and set it aside: the next build makes it anew", "place", step.Place, "reason", why)
}
