package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// maxGivenUp bounds the log lines about entries that are given up at one time.
const maxGivenUp = 10

// settle notes what a send came to and decides what becomes of its item.
func (s *Store) settle(it *item, err error) {
	s.mu.Lock()
	it.sending, it.cancel = false, nil
	s.running--
	if it.behind {
		s.background--
	}
	before := it.state
	it.outcome, it.err = judge(err), err
	unwanted := before == held || before == doomed // and perhaps ended for that
	if !unwanted {
		s.moved.Add(1) // whatever it came to, the next one's turn comes; but that somebody gave up is no sign that the others need not
	}
	report := func() {}
	if !s.stopped && (!unwanted || it.outcome == sent) {
		report = s.note(it)
	}
	result, drop := s.decide(it, before)
	if drop {
		s.hide(it)
		it.state = doomed
	} else {
		it.wake()
	}
	s.mu.Unlock()

	report()
	if result != "" {
		s.metrics.sends.WithLabelValues(result).Inc()
	}
	s.tell(it, result, err)
	if drop {
		_ = s.drop(it) // it has logged what is wrong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dispatch()
}

func judge(err error) outcome {
	switch {
	case err == nil:
		return sent
	case errors.Is(err, cache.ErrExist):
		return taken
	}
	if _, ok := errors.AsType[lostError](err); ok {
		return lost
	}
	return failed
}

// decide returns what a send counts as, and whether its item leaves the local store.
func (s *Store) decide(it *item, before state) (result string, drop bool) {
	switch it.outcome {
	case sent:
		return "sent", before != held
	case taken:
		if before == pending {
			return "lost_race", true
		}
		return "", before != held
	case lost:
		if before == held || before == doomed {
			return "", before != held
		}
		return "damaged", true
	}
	switch before {
	case held:
		return "", false
	case doomed:
		return "", true
	case waiting:
		if s.opts.Wait == Forever {
			return "failed", true
		}
		return "", false // its commit acknowledges it, or has taken it back
	}
	if s.isTooOld(it) {
		return "given_up", true
	}
	if s.closing { // it had its last try
		return "", false
	}
	s.schedule(it, time.Now().Add(s.pause(int(it.attempts))))
	return "retried", false
}

// tell logs what befell an acknowledged entry.
func (s *Store) tell(it *item, result string, err error) {
	switch result {
	case "lost_race":
		s.log.Info("another server was first with an entry that this one had acknowledged: its entry takes the place of ours", "key", it.key.String())
	case "damaged":
		s.log.Error("an acknowledged entry is not whole on the local disk any more: it is not sent", "key", it.key.String(), "error", err)
	case "given_up":
		s.log.Error("an acknowledged entry could not be sent for too long: it is given up", "key", it.key.String(), "error", err)
	}
}

// drop deletes an item that is in no queue from the local store and frees its key. If that fails, it is tried again in the background, and the
// key stays taken.
func (s *Store) drop(it *item) error {
	err := s.local.Delete(context.Background(), it.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil || errors.Is(err, cache.ErrNotExist) {
		s.unseat(it)
		return nil
	}
	err = fmt.Errorf("remove the entry %q from the local disk: %w", it.key, err)
	it.state, it.stuck = doomed, true
	it.wake()
	s.log.Error("an entry stays in the spool although it should not", "error", err)
	if !s.stopped {
		it.drops++
		after := s.pause(it.drops)
		s.sends.Go(func() { s.dropLater(it, after) })
	}
	return err
}

// dropLater tries once more to drop an item.
func (s *Store) dropLater(it *item, after time.Duration) {
	timer := time.NewTimer(after)
	defer timer.Stop()
	select {
	case <-timer.C:
		_ = s.drop(it) // it has logged what is wrong
	case <-s.ended:
	}
}

// lose drops an item that was found damaged.
func (s *Store) lose(it *item, err error) {
	s.mu.Lock()
	mine := it.state == pending && !it.gone
	if mine {
		s.hide(it)
		it.state = doomed
		if it.sending {
			it.cancel(errTakenBack)
		}
	}
	sending := it.sending
	s.mu.Unlock()
	if !mine {
		return
	}
	s.metrics.sends.WithLabelValues("damaged").Inc()
	s.tell(it, "damaged", err)
	if !sending {
		_ = s.drop(it) // it has logged what is wrong
	}
}

func (s *Store) isTooOld(it *item) bool {
	return s.opts.MaxAge > 0 && s.opts.Now().UnixNano()-it.since >= int64(s.opts.MaxAge)
}

// expire gives up entries that are too old. One that is being sent has its last try.
func (s *Store) expire() {
	var old []*item
	for it := s.pending.first(); it != nil && s.isTooOld(it) && !it.sending; it = s.pending.first() {
		s.hide(it)
		it.state = doomed
		old = append(old, it)
	}
	if old == nil {
		return
	}
	last := s.health.last
	s.sends.Go(func() {
		for i, it := range old {
			s.metrics.sends.WithLabelValues("given_up").Inc()
			if i < maxGivenUp {
				s.tell(it, "given_up", last)
			}
			_ = s.drop(it) // it has logged what is wrong
		}
		if more := len(old) - maxGivenUp; more > 0 {
			s.log.Error("more acknowledged entries could not be sent for too long: they are given up", "entries", more, "error", last)
		}
		s.wake()
	})
}
