package tier

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
	"github.com/bezoar-cache/bezoar/internal/store/layout"
)

const (
	// block is what file systems give out at least, in bytes.
	block = 4 << 10
	// footer is more than a local store adds to body and record.
	footer = 128
)

// blocksOf returns how much disk an entry's file takes. It is an error if its record is none that a store takes, or its size absurd.
func blocksOf(entry cache.Entry) (uint32, error) {
	text, err := layout.EncodeEntry(entry)
	if err != nil {
		return 0, err
	}
	size := entry.Record.Size
	if size < 0 || size > math.MaxInt64-layout.MaxEntry-footer-block {
		return 0, fmt.Errorf("the size of the body is %d", size)
	}
	blocks := (size + int64(len(text)) + footer + block - 1) / block
	if blocks > math.MaxUint32 {
		return 0, fmt.Errorf("the size of the body is %d", size)
	}
	return uint32(blocks), nil
}

func bytesOf(blocks uint32) int64 { return int64(blocks) * block }

// reserve takes room for an entry that is about to be written, and is the only way to make one in the local store. Else it returns why
// there is none.
func (s *Store) reserve(f *flight, entry cache.Entry) (refused string) {
	if !s.scanned.Load() {
		return scanning
	}
	if !s.writing.worthTrying() {
		return troubled
	}
	blocks, err := blocksOf(entry)
	if err != nil || bytesOf(blocks) > s.opts.Size {
		return tooLarge
	}
	sh := s.shard(f.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _ := sh.index.find(f.id); n != nil || f.forgotten || sh.deletes[f.id] > 0 || sh.closed {
		return deleted
	}
	if !s.take(bytesOf(blocks)) {
		return noRoom
	}
	sh.index.add(f.id, entry.Key, blocks, pending)
	return ""
}

// take adds to the bytes that are used unless they would be too many, and has room made before it is needed.
func (s *Store) take(bytes int64) bool {
	for {
		now := s.total.Load()
		if now > s.opts.Size-bytes {
			s.want(bytes)
			return false
		}
		if s.total.CompareAndSwap(now, now+bytes) {
			s.metrics.bytes.Add(float64(bytes))
			if now+bytes > s.soft {
				s.wake()
			}
			return true
		}
	}
}

// want has room made for a body.
func (s *Store) want(bytes int64) {
	for {
		now := s.wanted.Load()
		if now >= bytes || s.wanted.CompareAndSwap(now, bytes) {
			break
		}
	}
	s.wake()
}

func (s *Store) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

const (
	// cession is the part of what is held that a full disk gets at a time, and leastCession the least, in bytes.
	cession, leastCession = 16, 64 << 20
	// cedeEvery bounds how often, so that what was given up has time to show.
	cedeEvery = time.Second
)

// GiveWay gives up copies, those first that were used least recently, because the disk on which they lie is full: others need it, and a copy can be had
// again. It returns at once, and may be called by anybody who shares the disk. What is removed makes no room for more here; as
// long as the disk stays full, each call gives up more.
func (s *Store) GiveWay() {
	if s.local == nil {
		return
	}
	now, last := s.opts.Now().UnixNano(), s.cededAt.Load()
	if now >= last && now-last < int64(cedeEvery) || !s.cededAt.CompareAndSwap(last, now) {
		return
	}
	s.ceded.Store(max(s.total.Load()/cession, leastCession))
	s.wake()
}

// release gives the room of a download back that is not kept.
func (s *Store) release(f *flight) {
	sh := s.shard(f.id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	s.remove(sh, f.id)
}

// hold makes a reservation an entry. The shard is locked.
func (s *Store) hold(sh *shard, id id) {
	n, i := sh.index.find(id)
	n.state = held
	sh.index.use(n, i, s.opts.Now().UnixNano())
	s.metrics.entries.Inc()
}

// evict makes room when it is woken, until ctx ends.
func (s *Store) evict(ctx context.Context) {
	retry := time.NewTimer(retryAfter)
	defer retry.Stop()
	for {
		retry.Stop()
		if s.makeRoom(ctx) != nil {
			retry.Reset(retryAfter)
		}
		select {
		case <-s.kick:
		case <-retry.C:
		case <-ctx.Done():
			return
		}
	}
}

// makeRoom removes entries until what was asked for is there. What is wrong with the disk, if it cannot, is noted.
func (s *Store) makeRoom(ctx context.Context) error {
	if !s.scanned.Load() {
		return nil // the scan wakes again
	}
	goal := min(s.soft, s.opts.Size-s.wanted.Swap(0))
	if ceded := s.ceded.Swap(0); ceded > 0 {
		goal = min(goal, s.total.Load()-ceded)
		s.log.Warn("the disk of the tier is full: copies make room", "bytes", ceded)
	}
	for ctx.Err() == nil {
		key, ok := s.victim(goal)
		if !ok {
			return nil
		}
		if err := s.evictOne(ctx, key); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// victim picks what is to go next, if anything must: what was deleted and is still there, or the least recently used entry while more than
// goal bytes are used. It is the caller's to remove.
func (s *Store) victim(goal int64) (key cache.Key, ok bool) {
	for {
		over := s.total.Load() > goal
		var best *shard
		oldest := int64(math.MaxInt64)
		for i := range s.shards {
			sh := &s.shards[i]
			sh.mu.Lock()
			n, _ := sh.index.coldest()
			if n != nil && n.used < oldest && (over || n.state == banned) {
				best, oldest = sh, n.used
			}
			sh.mu.Unlock()
		}
		if best == nil {
			return cache.Key{}, false
		}
		if key, ok := best.pick(oldest); ok {
			return key, true
		}
	}
}

// pick seizes the shard's coldest entry, unless it was used or removed since it was looked at.
func (sh *shard) pick(used int64) (cache.Key, bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, i := sh.index.coldest()
	if n == nil || n.used != used {
		return cache.Key{}, false
	}
	sh.index.seize(n)
	return sh.index.key(n, i), true
}

// evictOne removes the file of an entry that was seized, and then its place in the index.
func (s *Store) evictOne(ctx context.Context, key cache.Key) error {
	err := s.local.Delete(ctx, key)
	gone := err == nil || errors.Is(err, cache.ErrNotExist)
	if !gone && ctx.Err() == nil {
		s.writing.failed(err)
	}
	id := idOf(key)
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, i := sh.index.find(id)
	if !gone {
		sh.index.giveBack(n, i)
		return err
	}
	if !n.doomed {
		s.metrics.evictions.Inc()
		s.metrics.evictedBytes.Add(float64(bytesOf(n.blocks)))
	}
	s.remove(sh, id)
	return nil
}
