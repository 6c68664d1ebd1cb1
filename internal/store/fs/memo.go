package fs

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// identity tells one state of one file from every other. A write to the file or a change of its links
// alters at least its change time.
type identity struct {
	device, inode       uint64
	size, mtime, change int64 // times in nanoseconds
}

// memo remembers which files were found whole. It is bounded: what it forgets is checked again.
type memo struct {
	seed   maphash.Seed
	shards [memoShards]memoShard
}

const (
	memoShards = 64
	// memoGeneration bounds each of a shard's two generations: 65,536 files in all, some 5 MB.
	memoGeneration = 512
)

// memoShard keeps two generations of files. When the young one is full, it becomes the old one, and
// what was not asked for since the last change is forgotten.
type memoShard struct {
	mu         sync.Mutex
	young, old map[identity]struct{}
	running    map[identity]*check
}

// check is one verification under way.
type check struct {
	done  chan struct{}
	moved atomic.Int64 // counts its steps
	err   error        // set before done is closed
}

// watchInterval is how often those who wait for another one's check look whether it gets on.
const watchInterval = time.Second

func newMemo() *memo { return &memo{seed: maphash.MakeSeed()} }

func (m *memo) shard(id identity) *memoShard {
	return &m.shards[maphash.Comparable(m.seed, id)%memoShards]
}

// add remembers a file that is known to be whole.
func (m *memo) add(id identity) {
	s := m.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(id)
}

// once runs verify unless the file is known to be whole. Callers that come while it runs share its
// outcome, but not the end of the context of the one that runs it: then one of them goes on.
//
// verify calls moved in the course of its work.
func (m *memo) once(ctx context.Context, id identity, verify func(ctx context.Context, moved func()) error) error {
	s := m.shard(id)
	for {
		s.mu.Lock()
		if s.knows(id) {
			s.mu.Unlock()
			return nil
		}
		c, running := s.running[id]
		if !running {
			c = s.begin(id)
			s.mu.Unlock()
			s.run(ctx, id, c, verify)
			return c.err
		}
		s.mu.Unlock()
		if err := c.wait(ctx); err != nil {
			return err
		}
		if !errors.Is(c.err, context.Canceled) && !errors.Is(c.err, context.DeadlineExceeded) {
			return c.err
		}
	}
}

// wait returns when the check is over, or with the error of the context.
func (c *check) wait(ctx context.Context) error {
	watch := time.NewTicker(watchInterval)
	defer watch.Stop()
	for seen := int64(0); ; {
		select {
		case <-c.done:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-watch.C:
			if now := c.moved.Load(); now != seen {
				seen = now
				cache.Progress(ctx)
			}
		}
	}
}

func (s *memoShard) begin(id identity) *check {
	c := &check{done: make(chan struct{})}
	if s.running == nil {
		s.running = make(map[identity]*check)
	}
	s.running[id] = c
	return c
}

func (s *memoShard) run(ctx context.Context, id identity, c *check, verify func(context.Context, func()) error) {
	c.err = errors.New("the check of the file did not end") // should verify panic
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, id)
		if c.err == nil {
			s.add(id)
		}
		close(c.done)
	}()
	c.err = verify(ctx, func() { c.moved.Add(1) })
}

func (s *memoShard) knows(id identity) bool {
	if _, ok := s.young[id]; ok {
		return true
	}
	_, ok := s.old[id]
	if ok {
		s.add(id)
	}
	return ok
}

func (s *memoShard) add(id identity) {
	if len(s.young) >= memoGeneration {
		s.young, s.old = nil, s.young
	}
	if s.young == nil {
		s.young = make(map[identity]struct{})
	}
	s.young[id] = struct{}{}
}
