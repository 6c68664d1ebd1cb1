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
		if err := it.await(ctx, changed); err != nil {
			return fmt.Errorf("wait for another upload of the entry %q: %w", key, err)
		}
	}
}

// await returns when the channel is closed, or with the error of ctx. Meanwhile it tells whoever waits under ctx of progress.
func (it *item) await(ctx context.Context, changed <-chan struct{}) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for moved := it.moved.Load(); ; {
		select {
		case <-changed:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			moved = it.report(ctx, moved)
		}
	}
}

// report tells of progress if the send has moved since, or if the upload waits no longer than it was told to.
func (it *item) report(ctx context.Context, since int64) (moved int64) {
	moved = it.moved.Load()
	if moved != since || time.Now().UnixNano() < it.until.Load() {
		cache.Progress(ctx)
	}
	return moved
}
