package audit

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// run writes batches until the Recorder is closed and nothing waits any more, or ctx ends.
func (r *Recorder) run(ctx context.Context) {
	defer close(r.done)
	for {
		batch, more := r.collect()
		r.denials.due(r.opts.Now(), !more, func(e Event) { batch = append(batch, e) })
		if !r.write(ctx, batch) {
			return
		}
		if !more {
			return
		}
	}
}

// collect waits for an event, or for the time to look after denials, and then for others for an interval, unless they are enough before. Once the Recorder
// is closed it waits for none; more is false when there are none left.
func (r *Recorder) collect() (batch []Event, more bool) {
	look := time.NewTimer(lookAfterDenials)
	defer look.Stop()
	select {
	case e := <-r.queue:
		batch = append(batch, *e)
	case <-look.C:
		return nil, true
	case <-r.closing:
		return r.drain(nil)
	}
	timer := time.NewTimer(r.opts.Interval)
	defer timer.Stop()
	for len(batch) < r.opts.Batch {
		select {
		case e := <-r.queue:
			batch = append(batch, *e)
		case <-timer.C:
			return batch, true
		case <-r.closing:
			return r.drain(batch)
		}
	}
	return batch, true
}

// drain fills a batch with what is there.
func (r *Recorder) drain(batch []Event) (_ []Event, more bool) {
	for len(batch) < r.opts.Batch {
		select {
		case e := <-r.queue:
			batch = append(batch, *e)
		default:
			return batch, false
		}
	}
	return batch, true
}

// write appends a batch and what was lost before, and returns true, or false when ctx ended before it could. It tries for as long as it takes: meanwhile the
// queue fills, and what comes then is counted.
//
// An attempt whose answer was lost may have appended the batch. It is appended again then: an event that is there twice misleads less than none.
func (r *Recorder) write(ctx context.Context, batch []Event) bool {
	var lost loss
	closing := r.closing
	for wait := r.opts.Interval; ; wait = min(2*wait, maxRetry) {
		lost.add(r.takeLoss())
		all := batch
		if lost.events > 0 {
			all = append(slices.Clip(batch), r.lostEvent(lost))
		}
		if len(all) == 0 {
			return true
		}
		err := r.try(ctx, all)
		if err == nil {
			r.report(nil)
			r.metrics.written.Add(float64(len(all)))
			return true
		}
		if ctx.Err() != nil { // else the end was the trouble
			lost.add(lossOf(batch))
			r.mu.Lock()
			r.lost.add(lost)
			r.mu.Unlock()
			r.metrics.lost.Add(float64(len(batch)))
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

func (r *Recorder) try(ctx context.Context, events []Event) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := r.sink.AppendAudit(ctx, events)
	return err
}

func lossOf(batch []Event) (l loss) {
	for i := range batch {
		l.add(loss{1, batch[i].Time, batch[i].Time})
	}
	return l
}

func (r *Recorder) lostEvent(l loss) Event {
	return Event{
		Time: r.opts.Now(), Action: Lost, Actor: Actor{Kind: KindServer}, Replica: r.opts.Replica,
		Details: Details{"events": l.events, "from": l.from.UTC().Format(timeLayout), "to": l.to.UTC().Format(timeLayout)},
	}
}

// report notes how the last attempt went and logs the change.
func (r *Recorder) report(err error) {
	switch was := r.trouble.Load(); {
	case err != nil && was == nil:
		r.log.Warn("the audit log cannot be written: builds do not feel it, and what happens is written later", "error", err)
	case err == nil && was != nil:
		r.log.Info("the audit log is written again")
	}
	if err == nil {
		r.trouble.Store(nil)
		return
	}
	err = fmt.Errorf("the audit log cannot be written: %w", err)
	r.trouble.Store(&err)
}
