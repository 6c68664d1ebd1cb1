package recorded

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// run writes batches until the Recorder is closed and nothing waits any more, or ctx ends. A batch that the ledger does not take is tried again
// for as long as it takes: while it is, the queue drops what is too much.
func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	for {
		batch, more := r.collect()
		if len(batch) > 0 && !r.write(ctx, batch) {
			return
		}
		if !more {
			return
		}
	}
}

// collect waits for a first change, and then for others for an interval, unless they are enough before. Once the Recorder is closed it waits for
// none; more is false when there are none left.
func (r *Recorder) collect() (batch []*change, more bool) {
	select {
	case c := <-r.queue:
		batch = append(batch, c)
	case <-r.closing:
		return r.drain(nil)
	}
	timer := time.NewTimer(r.opts.Interval)
	defer timer.Stop()
	for len(batch) < r.opts.Batch {
		select {
		case c := <-r.queue:
			batch = append(batch, c)
		case <-timer.C:
			return batch, true
		case <-r.closing:
			return r.drain(batch)
		}
	}
	return batch, true
}

// drain fills a batch with what is there.
func (r *Recorder) drain(batch []*change) (_ []*change, more bool) {
	for len(batch) < r.opts.Batch {
		select {
		case c := <-r.queue:
			batch = append(batch, c)
		default:
			return batch, false
		}
	}
	return batch, true
}

// write brings a batch into the ledger and returns true, or false when ctx ended before it could.
func (r *Recorder) write(ctx context.Context, batch []*change) bool {
	entries, keys, left := compact(batch)
	closing := r.closing
	for wait := r.opts.Interval; ; wait = min(2*wait, maxRetry) {
		err := r.try(ctx, &entries, &keys, left)
		if err == nil {
			r.report(nil)
			return true
		}
		if ctx.Err() != nil { // else the end was the trouble
			r.lost += len(entries) + len(keys)
			return false
		}
		r.metrics.failures.Inc()
		r.report(err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-closing:
			closing, wait = nil, r.opts.Interval // at once, and from now on more often: there is little time left
		case <-timer.C:
		}
		timer.Stop()
	}
}

// try writes what is left of a batch.
func (r *Recorder) try(ctx context.Context, entries *[]cache.Entry, keys *[]cache.Key, left []cache.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if r.opts.Left != nil {
		if err := r.tellLeft(ctx, *entries, *keys, left); err != nil {
			return err
		}
	}
	if len(*entries) > 0 {
		if err := r.ledger.RecordEntries(ctx, *entries); err != nil {
			return err
		}
		r.metrics.recorded.Add(float64(len(*entries)))
		*entries = nil
	}
	if len(*keys) > 0 {
		if err := r.ledger.ForgetEntries(ctx, *keys); err != nil {
			return err
		}
		r.metrics.forgotten.Add(float64(len(*keys)))
		*keys = nil
	}
	return nil
}

// tellLeft tells of what the ledger knows of these keys and is no more, beside what left within the batch.
func (r *Recorder) tellLeft(ctx context.Context, entries []cache.Entry, keys []cache.Key, left []cache.Entry) error {
	now := make(map[cache.Key]string, len(entries)+len(keys))
	all := slices.Clone(keys)
	for _, e := range entries {
		now[e.Key] = e.Record.Seal
		all = append(all, e.Key)
	}
	left = slices.Clone(left)
	err := r.ledger.Seals(ctx, all, func(known cache.Entry) {
		if known.Record.Seal != "" && known.Record.Seal != now[known.Key] {
			left = append(left, known)
		}
	})
	if err == nil && len(left) > 0 {
		r.opts.Left(ctx, left)
	}
	return err
}

// compact keeps the last change of each key. What was stored before it in the same batch has left.
func compact(batch []*change) (entries []cache.Entry, keys []cache.Key, left []cache.Entry) {
	last := make(map[cache.Key]int, len(batch))
	for i, c := range batch {
		last[c.entry.Key] = i
	}
	for i, c := range batch {
		switch {
		case last[c.entry.Key] != i:
			if !c.gone && c.entry.Record.Seal != batch[last[c.entry.Key]].entry.Record.Seal {
				left = append(left, c.entry)
			}
		case c.gone:
			keys = append(keys, c.entry.Key)
		default:
			entries = append(entries, c.entry)
		}
	}
	return entries, keys, left
}

// report notes how the last attempt went and logs the change.
func (r *Recorder) report(err error) {
	switch was := r.trouble.Load(); {
	case err != nil && was == nil:
		r.log.Warn("what is stored cannot be noted in the ledger: builds do not feel it, and it is noted later", "error", err)
	case err == nil && was != nil:
		r.log.Info("what is stored is noted in the ledger again")
	}
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	err = fmt.Errorf("what is stored cannot be noted in the ledger: %w", err)
	r.trouble.Store(&err)
}
