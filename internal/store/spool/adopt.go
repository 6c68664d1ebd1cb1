package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// listAttempts bounds how often a local store that fails is listed.
const listAttempts = 10

// list takes over what a former process left. Until it is through, each call looks into the local store for its key by itself.
func (s *Store) list(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var err error
	for attempt := range listAttempts {
		timer.Reset(s.pause(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		if err = s.listOnce(ctx); err == nil || ctx.Err() != nil {
			break
		}
		s.log.Warn("cannot list all of the spool; trying again", "error", err)
	}
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	s.listed, s.left = true, nil
	s.missing = err
	entries, bytes := s.pending.Len(), s.pendingBytes
	s.rest()
	s.mu.Unlock()
	switch {
	case err != nil:
		s.log.Error("cannot list all of the spool: what could not be listed is not sent before the next start", "error", err)
	case entries > 0:
		s.log.Info("the spool has entries that the bucket lacks", "entries", entries, "bytes", bytes)
	}
}

func (s *Store) listOnce(ctx context.Context) error {
	var trouble error
	for entry, err := range s.local.List(ctx, "") {
		switch {
		case err == nil:
			s.found(entry)
		case errors.Is(err, cache.ErrDamaged):
			s.metrics.sends.WithLabelValues("damaged").Inc()
			s.log.Error("an entry of the spool is damaged and will not be sent", "error", err)
		default:
			trouble = err
		}
	}
	return trouble
}

// found takes over an entry that a listing of the local store told of, and reports whether it is pending.
func (s *Store) found(entry cache.Entry) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it := s.items[entry.Key]; it != nil {
		return it.state == pending || it.state == adopting
	}
	if _, left := s.left[entry.Key]; left || s.listed || s.stopped {
		return false // it was there when it was listed
	}
	s.takeOver(s.seat(entry.Key, held), entry.Record)
	return true
}

// takeOver makes an entry that the local store has pending.
func (s *Store) takeOver(it *item, record cache.Record) {
	it.size = record.Size
	s.count(it.key, it.size)
	now := s.opts.Now()
	it.since = now.UnixNano()
	if created := record.Created; created.Before(now) && created.After(time.Unix(0, 0)) {
		it.since = created.UnixNano()
	}
	s.show(it)
	s.schedule(it, time.Now())
	s.dispatch()
}

// find returns the item of key if it is pending, else nil. Before all is listed, it looks into the local store: [cache.ErrDamaged] if what
// lay there was.
func (s *Store) find(ctx context.Context, key cache.Key) (*item, error) {
	var found, mine *item
	err := s.when(ctx, key, func(it *item) bool {
		found, mine = nil, nil
		switch {
		case it == nil:
			if _, left := s.left[key]; !left && !s.listed {
				mine = s.seat(key, adopting)
			}
		case it.state == adopting:
			return false
		case it.state == pending:
			found = it
		}
		return true
	})
	if err != nil || mine == nil {
		return found, err
	}
	return s.adopt(ctx, mine)
}

// adopt looks for an entry under the key of an item that is in the state adopting, and makes it pending if there is one. Else the item
// is gone afterwards.
func (s *Store) adopt(ctx context.Context, it *item) (*item, error) {
	var record cache.Record
	obj, err := s.local.Open(ctx, it.key)
	if err == nil {
		record = obj.Record
		obj.Close()
	}
	damaged := errors.Is(err, cache.ErrDamaged)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.takeOver(it, record)
		return it, nil
	}
	_, left := s.left[it.key]
	s.unseat(it)
	if !damaged && !left {
		delete(s.left, it.key) // nothing has left: the next call looks again, which is cheaper than to remember
	}
	if errors.Is(err, cache.ErrNotExist) {
		return nil, nil
	}
	if damaged {
		s.metrics.sends.WithLabelValues("damaged").Inc()
		s.log.Error("an acknowledged entry is damaged and will not be sent", "key", it.key.String(), "error", err)
	}
	return nil, err
}

// claim adopts what the local store has under key without being known here.
func (s *Store) claim(ctx context.Context, key cache.Key) error {
	var mine *item
	err := s.when(ctx, key, func(it *item) bool {
		if it == nil {
			mine = s.seat(key, adopting)
		}
		return true
	})
	if err != nil || mine == nil {
		return err
	}
	if _, err := s.adopt(ctx, mine); err != nil && !errors.Is(err, cache.ErrDamaged) {
		return fmt.Errorf("begin the entry %q: %w", key, err)
	}
	return nil
}
