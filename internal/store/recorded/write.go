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
	entries, gone, left := compact(batch)
	closing := r.closing
	for wait := r.opts.Interval; ; wait = min(2*wait, maxRetry) {
		err := r.try(ctx, &entries, &gone, left)
		if err == nil {
			r.report(nil)
			return true
		}
		if ctx.Err() != nil { // else the end was the trouble
			r.lost += len(entries) + len(gone)
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
func (r *Recorder) try(ctx context.Context, entries *[]cache.Entry, gone *[]*change, left []cache.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	keys, left, err := r.compare(ctx, *entries, *gone, left)
	if err != nil {
		return err
	}
	if r.opts.Left != nil && len(left) > 0 {
		r.opts.Left(ctx, left)
	}
	if len(*entries) > 0 {
		if err := r.ledger.RecordEntries(ctx, *entries); err != nil {
			return err
		}
		r.metrics.recorded.Add(float64(len(*entries)))
		*entries = nil
	}
	if len(keys) > 0 {
		if err := r.ledger.ForgetEntries(ctx, keys); err != nil {
			return err
		}
		r.metrics.forgotten.Add(float64(len(keys)))
	}
	*gone = nil
	return nil
}

// compare returns the keys that are to be forgotten, and adds to what left within the batch what the ledger knows and is no more. What of a key is gone
// may be another entry than the one that the ledger knows: then that stays.
func (r *Recorder) compare(ctx context.Context, entries []cache.Entry, gone []*change, left []cache.Entry) (forget []cache.Key, _ []cache.Entry, err error) {
	now := make(map[cache.Key]string, len(entries))
	only := make(map[cache.Key]string)
	before := make(map[cache.Key]time.Time)
	all := make([]cache.Key, 0, len(entries)+len(gone))
	for _, e := range entries {
		now[e.Key] = e.Record.Seal
		all = append(all, e.Key)
	}
	for _, c := range gone {
		if c.only {
			only[c.entry.Key] = c.entry.Record.Seal
		} else {
			before[c.entry.Key] = c.before
		}
		all = append(all, c.entry.Key)
	}
	if r.opts.Left == nil && len(gone) == 0 {
		return nil, nil, nil
	}
	left = slices.Clone(left)
	err = r.ledger.Seals(ctx, all, func(known cache.Entry) {
		if seal, ok := only[known.Key]; ok {
			if seal != known.Record.Seal {
				return
			}
			forget = append(forget, known.Key)
		}
		if at, ok := before[known.Key]; ok {
			if known.Record.Created.After(at) {
				return
			}
			forget = append(forget, known.Key)
		}
		if known.Record.Seal != "" && known.Record.Seal != now[known.Key] {
			left = append(left, known)
		}
	})
	return forget, left, err
}

// compact keeps the last change of each key. What was stored before it in the same batch has left.
func compact(batch []*change) (entries []cache.Entry, gone []*change, left []cache.Entry) {
	last := make(map[cache.Key]int, len(batch))
	for i, c := range batch {
		at, ok := last[c.entry.Key]
		if ok && c.only && (batch[at].gone || batch[at].entry.Record.Seal != c.entry.Record.Seal) {
			continue // it went before that, or with it
		}
		if ok && c.gone && !c.only && !batch[at].gone && batch[at].entry.Record.Created.After(c.before) {
			continue // what went is another one
		}
		if ok && !batch[at].gone && (c.gone || batch[at].entry.Record.Seal != c.entry.Record.Seal) {
			left = append(left, batch[at].entry)
		}
		last[c.entry.Key] = i
	}
	for i, c := range batch {
		switch {
		case last[c.entry.Key] != i:
		case c.gone:
			gone = append(gone, c)
		default:
			entries = append(entries, c.entry)
		}
	}
	return entries, gone, left
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
