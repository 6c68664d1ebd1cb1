package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// takeBack is how long a commit whose context ended waits for the end of its send, to tell truly what became of it.
const takeBack = time.Second

// bring sends what the local store has committed for a seat, and returns when it is sent, acknowledged, or neither.
func (s *Store) bring(ctx context.Context, it *item, size int64) error {
	wait := s.opts.Wait
	if span := waitSpan(ctx); span != nil {
		defer span.End()
	}
	s.mu.Lock()
	it.size = size
	it.state = waiting
	it.since = s.opts.Now().UnixNano()
	it.due = time.Now().UnixNano()
	if wait > 0 {
		it.until.Store(time.Now().Add(wait).UnixNano())
	}
	it.wake()
	s.ready.add(it)
	s.dispatch()
	s.mu.Unlock()
	if wait == 0 {
		return s.acknowledge(ctx, it)
	}
	var late <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		late = timer.C
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for moved := s.signs(it); ; {
		s.mu.Lock()
		done, verdict := it.verdict()
		again := it.outcome == failed && it.state == waiting
		changed := it.watch()
		s.mu.Unlock()
		switch {
		case done:
			return verdict
		case again:
			return s.acknowledge(ctx, it)
		}
		select {
		case <-changed:
		case <-tick.C:
			moved = s.report(ctx, it, moved)
		case <-late:
			return s.acknowledge(ctx, it)
		case <-ctx.Done():
			return s.takeBack(it, ctx.Err())
		case <-s.ended:
			if wait == Forever {
				return s.takeBack(it, ErrClosed)
			}
			return s.acknowledge(ctx, it)
		}
	}
}

// verdict says what an upload that is not acknowledged came to, once that is certain.
func (it *item) verdict() (done bool, err error) {
	done = it.gone || it.stuck
	switch it.outcome {
	case sent:
		return done, nil
	case taken:
		return done, cache.ErrExist
	}
	return done, cmp.Or(it.err, errTakenBack)
}

// acknowledge makes an upload outlive this process and turns it into an entry.
func (s *Store) acknowledge(ctx context.Context, it *item) error {
	var failure error
	if local, ok := s.local.(syncer); ok {
		cache.Progress(ctx)
		failure = local.Sync(ctx, it.key)
	}
	if failure == nil {
		failure = ctx.Err()
	}
	if failure != nil {
		return s.takeBack(it, failure)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch it.outcome {
	case sent, taken, lost:
		_, err := it.verdict()
		return err
	case failed:
		s.metrics.sends.WithLabelValues("retried").Inc()
	}
	again := time.Now()
	if it.outcome == failed {
		again = again.Add(s.pause(int(it.attempts)))
	}
	s.ready.remove(it)
	s.show(it)
	if !it.sending {
		s.schedule(it, again)
	}
	s.dispatch()
	return nil
}

// takeBack ends an upload that is not acknowledged, and returns the reason, unless it came to something before.
func (s *Store) takeBack(it *item, reason error) error {
	s.mu.Lock()
	if it.gone || it.outcome == sent || it.outcome == taken || it.outcome == lost {
		_, err := it.verdict()
		s.mu.Unlock()
		return err
	}
	mine := it.state == waiting // else it has failed and is being dropped
	s.hide(it)
	it.state = doomed
	if it.sending {
		it.cancel(errTakenBack)
		mine = false // the send drops it
	}
	s.mu.Unlock()
	if mine {
		if err := s.drop(it); err != nil {
			return fmt.Errorf("%w; %w", reason, err)
		}
		return reason
	}
	timer := time.NewTimer(takeBack)
	defer timer.Stop()
	for {
		s.mu.Lock()
		done, verdict := it.verdict()
		changed := it.watch()
		s.mu.Unlock()
		switch {
		case done && (verdict == nil || errors.Is(verdict, cache.ErrExist)):
			return verdict
		case done:
			return reason
		}
		select {
		case <-changed:
		case <-timer.C:
			return reason
		}
	}
}
