package used

import (
	"context"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// run writes what waits every interval, until the Recorder is closed, and then once more.
func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	tick := time.NewTicker(r.opts.Interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if !r.write(ctx, r.take()) {
				return
			}
		case <-r.closing:
			r.write(ctx, r.take())
			return
		}
	}
}

// write brings uses into the ledger, batch by batch. One that the ledger does not take is tried again for as long as it takes: while it is, shards fill up and
// then drop. It is false when ctx ended before, or when the Recorder was closed and the ledger fails.
func (r *Recorder) write(ctx context.Context, uses []use) bool {
	for len(uses) > 0 {
		n := min(batch, len(uses))
		if !r.writeBatch(ctx, uses[:n]) {
			return false
		}
		uses = uses[n:]
	}
	return true
}

func (r *Recorder) writeBatch(ctx context.Context, uses []use) bool {
	at := make(map[cache.Key]time.Time, len(uses))
	for _, u := range uses {
		at[u.key] = time.Unix(u.at, 0) // the later one of two comes later
	}
	closing := r.closing
	for wait := r.opts.Interval; ; wait = min(2*wait, maxRetry) {
		err := r.try(ctx, at)
		if err == nil {
			r.report(nil)
			r.waiting.Add(-int64(len(uses)))
			r.metrics.recorded.Add(float64(len(uses)))
			return true
		}
		if ctx.Err() != nil { // else the end was the trouble
			return false
		}
		r.metrics.failures.Inc()
		r.report(err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-closing:
			closing, wait = nil, r.opts.Interval/2 // at once, and from now on more often: there is little time left
		case <-timer.C:
		}
		timer.Stop()
	}
}

func (r *Recorder) try(ctx context.Context, at map[cache.Key]time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	return r.ledger.RecordUses(ctx, at)
}

// report notes how the last attempt went and logs the change.
func (r *Recorder) report(err error) {
	switch was := r.trouble.Load(); {
	case err != nil && was == nil:
		r.log.Warn("uses of entries cannot be noted in the ledger: builds do not feel it, and they are noted later", "error", err)
	case err == nil && was != nil:
		r.log.Info("uses of entries are noted in the ledger again")
	}
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	err = fmt.Errorf("uses of entries cannot be noted in the ledger: %w", err)
	r.trouble.Store(&err)
}
