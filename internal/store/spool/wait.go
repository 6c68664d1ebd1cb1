package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// watchInterval is how often those who wait tell that it gets on.
const watchInterval = time.Second

// errStuck is told to whoever wants a key whose former entry the local disk does not let go.
var errStuck = errors.New("the local disk does not let the former entry of this key go; the log says why")

// when calls ready, under the lock, with the item of key, nil if there is none, now and after each of its changes, until it returns true.
func (s *Store) when(ctx context.Context, key cache.Key, ready func(*item) bool) error {
	for {
		s.mu.Lock()
		it := s.items[key]
		done := ready(it)
		var changed <-chan struct{}
		stuck := false
		if !done {
			changed, stuck = it.watch(), it.stuck
		}
		s.mu.Unlock()
		switch {
		case done:
			return nil
		case stuck:
			return fmt.Errorf("wait for the entry %q: %w", key, errStuck)
		}
		if err := s.watch(ctx, it, changed); err != nil {
			return fmt.Errorf("wait for another upload of the entry %q: %w", key, err)
		}
	}
}

// watch returns when the channel is closed, or with the error of ctx. Meanwhile it tells whoever waits under ctx of progress.
func (s *Store) watch(ctx context.Context, it *item, changed <-chan struct{}) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for moved := s.signs(it); ; {
		select {
		case <-changed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			moved = s.report(ctx, it, moved)
		}
	}
}

// signs returns a number that changes with each sign of progress that those who wait for an item see: those of its own sends, and while it waits for
// its turn, those of all sends, and that its turn comes. So an upload at the end of a long queue gives up only if nothing of the queue moves.
func (s *Store) signs(it *item) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if it.inReady > 0 {
		return -1 - s.moved.Load() // negative: no number of signs of its own
	}
	return it.moved.Load()
}

// report tells of progress if there were signs of it since, or if the upload waits no longer than it was told to.
func (s *Store) report(ctx context.Context, it *item, since int64) (moved int64) {
	moved = s.signs(it)
	if moved != since || time.Now().UnixNano() < it.until.Load() {
		cache.Progress(ctx)
	}
	return moved
}
