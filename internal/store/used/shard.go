package used

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// shards is in how many parts entries are remembered, each with its own lock, which is held for a look into a map.
const shards = 64

// shard remembers when entries were last noted, so that a hot one costs a look and nothing else.
type shard struct {
	mu      sync.Mutex
	most    int
	noted   map[cache.Key]int64 // seconds since the Unix epoch
	waiting []use
	_       [64]byte // its lock lies in a cache line of its own
}

type use struct {
	key cache.Key
	at  int64 // seconds since the Unix epoch
}

// note remembers that an entry was read now.
func (r *Recorder) note(key cache.Key) {
	now := r.opts.Now().Unix()
	kind := 1
	if key.Scope == cache.Trusted {
		kind = 0
	}
	s := &r.shards[kind][maphash.String(r.seed, string(key.Hash))%shards]
	s.mu.Lock()
	at, known := s.noted[key]
	if known && at <= now && now-at < int64(r.opts.Granularity/time.Second) {
		s.mu.Unlock()
		return
	}
	kept := s.keep(key, now, known)
	s.mu.Unlock()
	if kept {
		r.waiting.Add(1)
	} else {
		r.metrics.dropped.Inc()
	}
}

// keep has a use written. It is false if too many wait: then the entry is not remembered either, and its next read tries again.
func (s *shard) keep(key cache.Key, now int64, known bool) bool {
	if len(s.waiting) >= s.most {
		return false
	}
	if s.noted == nil {
		s.noted = make(map[cache.Key]int64)
	}
	if !known && len(s.noted) >= s.most {
		for other := range s.noted { // any one: at worst it is written once more
			delete(s.noted, other)
			break
		}
	}
	s.noted[key] = now
	s.waiting = append(s.waiting, use{key, now})
	return true
}

// take returns what waits, trusted uses first: these are written first.
func (r *Recorder) take() (all []use) {
	for kind := range r.shards {
		for i := range r.shards[kind] {
			s := &r.shards[kind][i]
			s.mu.Lock()
			all = append(all, s.waiting...)
			s.waiting = nil
			s.mu.Unlock()
		}
	}
	return all
}
