package spool

import (
	"context"
	"errors"
	"time"
)

// closeGrace is how long Close waits for sends whose context ended: a remote store may look once more what became of a write.
const closeGrace = 15 * time.Second

// Close takes no more uploads and sends what is pending, until ctx ends, or until the remote store seems to be down. What is left stays on
// disk for the next start. An upload that waits for the remote store is acknowledged then, or fails with [Forever]. Entries can
// still be opened afterwards. Close may be called more than once. Its error says that the remote store ignores the end of a context.
func (s *Store) Close(ctx context.Context) error {
	s.stopListing()
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	s.dispatch()
	s.mu.Unlock()
	select {
	case <-s.drained:
	case <-s.ended:
	case <-ctx.Done():
	}
	s.stop()
	if err := s.join(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if left := s.pending.Len(); first && left > 0 {
		s.log.Warn("entries that the bucket lacks stay on this server's disk; the next start sends them",
			"entries", left, "bytes", s.pendingBytes, "error", s.health.last)
	}
	return nil
}

// stop ends all sends and lets none begin.
func (s *Store) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	s.stopped = true
	s.timer.Stop()
	for _, it := range s.items {
		if it.cancel != nil {
			it.cancel(ErrClosed)
		}
	}
	close(s.ended)
}

// join waits for the store's goroutines.
func (s *Store) join() error {
	done := make(chan struct{})
	go func() {
		s.sends.Wait()
		close(done)
	}()
	timer := time.NewTimer(closeGrace)
	defer timer.Stop()
	select {
	case <-done:
		return nil
	case <-timer.C:
		return errors.New("the bucket does not let go of entries that were being sent")
	}
}
