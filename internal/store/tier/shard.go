package tier

import (
	"sync"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// shards is how many parts the index has. A request locks one of them for a few steps at a time, and never while it
// waits for a disk or a storage.
const shards = 16

// shard is what the tier knows of some of the keys.
type shard struct {
	mu      sync.Mutex
	index   index
	flights map[id]*flight  // downloads that may be joined
	deletes map[id]int      // deletes under way
	alone   map[id]struct{} // whose body goes straight to a reader
	closed  bool
}

func (sh *shard) init() {
	sh.index.init()
	sh.flights = make(map[id]*flight)
	sh.deletes = make(map[id]int)
	sh.alone = make(map[id]struct{})
}

func (s *Store) shard(id id) *shard { return &s.shards[id[0]%shards] }

// stamp tells one stay of an entry in the index from another; its zero value is none.
type stamp struct {
	slot  uint32
	used  int64
	state state
}

// look returns what is known of a key. The shard is locked.
func (sh *shard) look(id id) stamp {
	n, i := sh.index.find(id)
	if n == nil {
		return stamp{}
	}
	return stamp{i, n.used, n.state}
}

// touch notes that a key was read from the local store.
func (s *Store) touch(id id, entry cache.Entry) {
	sh := s.shard(id)
	now := s.opts.Now().UnixNano()
	sh.mu.Lock()
	defer sh.mu.Unlock()
	n, i := sh.index.find(id)
	switch {
	case n == nil && !s.scanned.Load():
		s.admit(sh, id, entry, now)
	case n != nil && n.state == held:
		sh.index.use(n, i, now)
	}
}

// admit adds an entry whose file is there already. The shard is locked.
func (s *Store) admit(sh *shard, id id, entry cache.Entry, now int64) {
	blocks, err := blocksOf(entry)
	if err != nil {
		return // its record was read from a file: it fits
	}
	n, i := sh.index.add(id, entry.Key, blocks, held)
	sh.index.use(n, i, now)
	s.grow(blocks)
}

// dropIf removes an entry whose file was found to be missing, if it is still the one that seen describes.
func (s *Store) dropIf(id id, seen stamp) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if seen.state == held && sh.look(id) == seen {
		s.remove(sh, id)
	}
}

// remove takes a key out of the index and gives its room back. The shard is locked.
func (s *Store) remove(sh *shard, id id) {
	n, i := sh.index.find(id)
	blocks, counted := n.blocks, n.state != pending
	sh.index.remove(id, i)
	s.total.Add(-bytesOf(blocks))
	s.metrics.bytes.Sub(float64(bytesOf(blocks)))
	if counted {
		s.metrics.entries.Dec()
	}
}

// grow counts an entry that is on the disk already.
func (s *Store) grow(blocks uint32) {
	s.total.Add(bytesOf(blocks))
	s.metrics.bytes.Add(float64(bytesOf(blocks)))
	s.metrics.entries.Inc()
}
