package tier

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// sighting is an entry that the scan found.
type sighting struct {
	used  int64
	slot  uint32
	shard uint8
}

// linkBatch is how many entries are put in order under one lock.
const linkBatch = 512

// scan fills the index with what the local store has, and then lets the tier keep more.
func (s *Store) scan(ctx context.Context) {
	var seen []sighting
	start := s.opts.Now().UnixNano()
	for entry, err := range s.local.List(ctx, "") {
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			if found, ok := s.see(entry, start); ok {
				seen = append(seen, found)
			}
		case errors.Is(err, cache.ErrDamaged):
			s.metrics.damaged.WithLabelValues("local").Inc()
		default:
			// What cannot be listed is not counted.
			s.reading.failed(err)
		}
	}
	if ctx.Err() != nil {
		return
	}
	s.order(seen)
	s.scanned.Store(true)
	s.wake()
}

// see adds an entry that was there at the start. Its place in the order follows.
func (s *Store) see(entry cache.Entry, start int64) (sighting, bool) {
	blocks, err := blocksOf(entry)
	if err != nil {
		return sighting{}, false // its record was read from a file: it fits
	}
	id := idOf(entry.Key)
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if n, _ := sh.index.find(id); n != nil {
		return sighting{}, false // it was read, or deleted, meanwhile
	}
	n, slot := sh.index.add(id, entry.Key, blocks, held)
	n.used = min(entry.Record.Created.UnixNano(), start-1)
	s.grow(blocks)
	return sighting{n.used, slot, id[0] % shards}, true
}

// order links what was found behind all that was used since the start, the newest first.
func (s *Store) order(seen []sighting) {
	slices.SortFunc(seen, func(a, b sighting) int {
		return cmp.Or(cmp.Compare(a.shard, b.shard), cmp.Compare(b.used, a.used))
	})
	for batch := range slices.Chunk(seen, linkBatch) {
		s.orderBatch(batch)
	}
}

func (s *Store) orderBatch(batch []sighting) {
	for len(batch) > 0 {
		sh := &s.shards[batch[0].shard]
		sh.mu.Lock()
		at := batch[0].shard
		for len(batch) > 0 && batch[0].shard == at {
			n := sh.index.node(batch[0].slot)
			// One that was used is linked already, and so is one that took its place.
			if n.state == held && !n.linked && n.used == batch[0].used {
				sh.index.age(n, batch[0].slot)
			}
			batch = batch[1:]
		}
		sh.mu.Unlock()
	}
}
