package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// maxDrainFailures is how many failures in a row end the sending while the store closes: the remote store is down, and waiting is in vain.
const maxDrainFailures = 3

// errStalled ends a send without progress.
var errStalled = errors.New("the bucket takes no more bytes and does not answer")

// lostError is a local store that does not have what it had.
type lostError struct{ error }

func (e lostError) Unwrap() error { return e.error }

// pause returns how long to wait after so many failures.
func (s *Store) pause(failures int) time.Duration {
	if failures <= 0 {
		return 0
	}
	d := s.opts.MaxBackoff
	if shift := failures - 1; shift < 32 && s.opts.Backoff<<shift < d && s.opts.Backoff<<shift > 0 {
		d = s.opts.Backoff << shift
	}
	return d - rand.N(d/2+1)
}

// schedule lets a pending item be sent from a time on.
func (s *Store) schedule(it *item, from time.Time) {
	it.due = from.UnixNano()
	s.retry.add(it)
}

// dispatch begins the sends that may begin, and sets the timer for the next one.
func (s *Store) dispatch() {
	if s.stopped {
		return
	}
	now := time.Now()
	s.expire()
	for s.running < s.opts.Workers {
		it := s.next(now)
		if it == nil {
			break
		}
		s.start(it)
	}
	if s.closing && s.running == 0 && s.ready.Len() == 0 {
		// What is left is waiting for an end of trouble, and stays for the next start.
		select {
		case <-s.drained:
		default:
			close(s.drained)
		}
	}
	s.arm(now)
}

// next takes an item out of its queue. Uploads that somebody waits for come first, and one worker is kept free for them. While the remote store fails,
// acknowledged entries are tried one at a time, with pauses.
func (s *Store) next(now time.Time) *item {
	if it := s.ready.first(); it != nil {
		s.ready.remove(it)
		return it
	}
	it := s.retry.first()
	if it == nil || s.background >= s.workers() {
		return nil
	}
	if s.closing {
		if s.drainFailures >= maxDrainFailures {
			return nil
		}
	} else if now.UnixNano() < s.begins(it) {
		return nil
	}
	s.retry.remove(it)
	return it
}

// workers returns how many acknowledged entries may be sent at once.
func (s *Store) workers() int {
	if s.health.failures > 0 {
		return 1
	}
	return max(1, s.opts.Workers-1)
}

// begins returns when the first of the queue may be sent.
func (s *Store) begins(first *item) int64 {
	if s.health.failures > 0 {
		return max(first.due, s.health.resume.UnixNano())
	}
	return first.due
}

// arm sets the timer for the next thing to do that no end of a send brings about.
func (s *Store) arm(now time.Time) {
	at, set := int64(0), false
	if it := s.retry.first(); it != nil && s.running < s.opts.Workers && s.background < s.workers() {
		at, set = s.begins(it)-now.UnixNano(), true
	}
	if it := s.pending.first(); it != nil && s.opts.MaxAge > 0 && !it.sending {
		left := int64(s.opts.MaxAge) - (s.opts.Now().UnixNano() - it.since)
		if !set || left < at {
			at, set = left, true
		}
	}
	s.timer.Stop()
	if set && !s.closing {
		s.timer.Reset(max(time.Duration(at), time.Millisecond))
	}
}

func (s *Store) start(it *item) {
	ctx, cancel := context.WithCancelCause(context.Background())
	it.sending, it.cancel, it.outcome, it.err = true, cancel, undecided, nil
	it.attempts++
	s.running++
	if it.behind = it.state != waiting; it.behind {
		s.background++
	}
	s.sends.Go(func() {
		defer cancel(nil)
		s.settle(it, s.send(ctx, cancel, it))
	})
}

// send brings an entry to the remote store. Its error says what was done to what.
func (s *Store) send(ctx context.Context, cancel context.CancelCauseFunc, it *item) error {
	stall := time.AfterFunc(s.opts.Stall, func() { cancel(errStalled) })
	defer stall.Stop()
	ctx = cache.WithProgress(ctx, func() {
		it.moved.Add(1)
		s.moved.Add(1)
		if stall.Stop() { // else it is over
			stall.Reset(s.opts.Stall)
		}
	})
	err := s.put(ctx, it)
	if err == nil || errors.Is(err, cache.ErrExist) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		err = fmt.Errorf("%w: %w", cause, err)
	}
	return fmt.Errorf("send the entry %q: %w", it.key, err)
}

func (s *Store) put(ctx context.Context, it *item) error {
	obj, err := s.local.Open(ctx, it.key)
	if errors.Is(err, cache.ErrNotExist) || errors.Is(err, cache.ErrDamaged) {
		return lostError{err}
	}
	if err != nil {
		return err
	}
	defer obj.Close()
	body, ok := obj.Body.(io.ReaderAt)
	if !ok {
		return errors.New("the local store cannot read at an offset: it is not fit for a spool")
	}
	err = s.remote.Put(ctx, obj.Entry, body)
	if errors.Is(err, cache.ErrExist) && it.behind && s.isThere(ctx, obj.Entry) {
		return nil // a former try brought it, and its answer was lost
	}
	return err
}

// isThere reports whether what the remote store has under a key is this very entry.
func (s *Store) isThere(ctx context.Context, entry cache.Entry) bool {
	obj, err := s.remote.Open(ctx, entry.Key)
	if err != nil {
		return false
	}
	defer obj.Close()
	return isSame(obj.Record, entry.Record)
}
