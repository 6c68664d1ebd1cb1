package seal

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	graveShards = 256
	day         = 24 * 60 * 60
)

// graveSet is a set of ids with times, to the second, in parts that are locked one by one.
type graveSet struct {
	shards [graveShards]graveShard
	count  atomic.Int64
}

type graveShard struct {
	mu sync.RWMutex
	at map[[16]byte]uint32 // seconds since the Unix epoch
}

// kindOf is 1 for a trusted entry's grave, else 0.
func kindOf(id [16]byte) byte { return id[0] >> 7 }

// shard leaves the first byte alone, whose first bit is not evenly random.
func (s *graveSet) shard(id [16]byte) *graveShard { return &s.shards[id[1]] }

func (s *graveSet) find(id [16]byte) (since time.Time, ok bool) {
	shard := s.shard(id)
	shard.mu.RLock()
	at, ok := shard.at[id]
	shard.mu.RUnlock()
	if !ok {
		return time.Time{}, false
	}
	return time.Unix(int64(at), 0), true
}

// add reports whether id was not there. The time of one that was stays.
func (s *graveSet) add(id [16]byte, at time.Time) bool {
	shard := s.shard(id)
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if _, ok := shard.at[id]; ok {
		return false
	}
	if shard.at == nil {
		shard.at = make(map[[16]byte]uint32)
	}
	shard.at[id] = seconds(at)
	s.count.Add(1)
	return true
}

// seconds goes until the year 2106.
func seconds(at time.Time) uint32 { return uint32(min(max(at.Unix(), 0), 1<<32-1)) }

// days counts, for each kind, the graves of each day since the Unix epoch.
func (s *graveSet) days() (count [2]map[uint32]int) {
	count = [2]map[uint32]int{{}, {}}
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.RLock()
		for id, at := range shard.at {
			count[kindOf(id)][at/day]++
		}
		shard.mu.RUnlock()
	}
	return count
}

// cutDay returns the beginning of the first day that can stay so that no more than most are left, and whether any has to go. Those of today and,
// by clocks that differ, of later days stay in any case.
func cutDay(days map[uint32]int, most int, today uint32) (_ time.Time, over bool) {
	newestFirst := slices.Sorted(maps.Keys(days))
	slices.Reverse(newestFirst)
	left := 0
	for _, n := range newestFirst {
		if left += days[n]; left > most && n < today {
			return time.Unix((int64(n)+1)*day, 0), true
		}
	}
	return time.Time{}, false
}

// forget drops what is older than its kind's time, one part after the other.
func (s *graveSet) forget(before [2]time.Time) {
	limits := [2]uint32{seconds(before[0]), seconds(before[1])}
	for i := range s.shards {
		shard := &s.shards[i]
		shard.mu.Lock()
		for id, at := range shard.at {
			if at < limits[kindOf(id)] {
				delete(shard.at, id)
				s.count.Add(-1)
			}
		}
		shard.mu.Unlock()
	}
}
