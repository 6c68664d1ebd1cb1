package spool

import (
	"fmt"
	"time"
)

const (
	// patience is for how long entries may be pending, or a failure ago, before it counts as trouble.
	patience = time.Minute
	// tellEvery bounds log lines about a remote store that fails.
	tellEvery = time.Minute
)

// health is what is known of the remote store from sends.
type health struct {
	failures    int       // in a row, those at one time counted once
	last        error     // of them
	since, late time.Time // of the first and the last of them
	resume      time.Time // when the next acknowledged entry is tried
	told        time.Time
}

// note takes the outcome of a send into account and returns what logs it. An answer that there is an entry already is a good one.
func (s *Store) note(it *item) (report func()) {
	h, now := &s.health, time.Now()
	switch it.outcome {
	case lost:
		return func() {}
	case failed:
	default:
		s.drainFailures = 0
		if h.failures == 0 {
			return func() {}
		}
		took := now.Sub(h.since)
		*h = health{}
		return func() { s.log.Info("the bucket takes entries again", "failed_for", took.Round(time.Second)) }
	}
	if s.closing {
		s.drainFailures++
	}
	if h.failures == 0 {
		h.since = now
	}
	h.last, h.late = it.err, now
	if h.failures == 0 || !now.Before(h.resume) {
		h.failures++
		h.resume = now.Add(s.pause(h.failures))
	}
	if !h.told.IsZero() && now.Sub(h.told) < tellEvery {
		return func() {}
	}
	h.told = now
	entries, bytes, err := s.pending.Len(), s.pendingBytes, it.err
	return func() {
		s.log.Warn("the bucket does not take entries", "error", err, "pending_entries", entries, "pending_bytes", bytes)
	}
}

// Degraded returns why entries cannot be brought to the remote store, or not in time; nil if all is well.
func (s *Store) Degraded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, h := s.pending.Len(), &s.health
	switch {
	case h.failures > 0 && (entries > 0 || time.Since(h.late) < patience):
		return fmt.Errorf("the bucket does not take entries since %s; %d entries (%d bytes) wait on this server's disk: %w",
			h.since.UTC().Format(time.RFC3339), entries, s.pendingBytes, h.last)
	case s.missing != nil:
		return fmt.Errorf("a part of what waits on this server's disk cannot be listed, and is not sent before a restart: %w", s.missing)
	case s.oldest() > patience:
		return fmt.Errorf("the bucket does not take entries fast enough: %d entries (%d bytes) wait on this server's disk, the oldest for %s",
			entries, s.pendingBytes, s.oldest().Round(time.Second))
	}
	return nil
}

// oldest returns the age of the oldest pending entry.
func (s *Store) oldest() time.Duration {
	it := s.pending.first()
	if it == nil {
		return 0
	}
	return max(0, time.Duration(s.opts.Now().UnixNano()-it.since))
}
