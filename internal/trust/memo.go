package trust

import (
	"crypto/sha256"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The size of a memo: as many jobs as a busy server sees at a time, and some ten megabytes at the very most.
const (
	memoShards    = 16
	memoShardSize = 256
)

// memoKey stands for a credential. The credential itself is not kept.
type memoKey [sha256.Size]byte

// keyOf hashes a credential of at most [MaxCredential] bytes. The copy on the stack spares each request garbage of a credential's size.
func keyOf(credential string) memoKey {
	var buffer [MaxCredential]byte
	return sha256.Sum256(buffer[:copy(buffer[:], credential)])
}

// memo remembers what verified credentials say, so that a signature is verified once and not at each request. What was not verified
// never gets in, so that no flood of forgeries pushes others out. It holds what a credential says and nothing that can change
// meanwhile: expiry, revocations and policy are looked at on each request. In shards, since each look-up writes.
type memo[V any] struct {
	shards [memoShards]struct {
		mu      sync.Mutex
		entries *simplelru.LRU[memoKey, V]
	}
}

func newMemo[V any]() *memo[V] {
	m := new(memo[V])
	for i := range m.shards {
		entries, err := simplelru.NewLRU[memoKey, V](memoShardSize, nil)
		if err != nil {
			panic(err) // for a size that is not positive, alone
		}
		m.shards[i].entries = entries
	}
	return m
}

func (m *memo[V]) get(k memoKey) (V, bool) {
	shard := &m.shards[k[0]%memoShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	return shard.entries.Get(k)
}

func (m *memo[V]) put(k memoKey, v V) {
	shard := &m.shards[k[0]%memoShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.entries.Add(k, v)
}

func (m *memo[V]) drop(k memoKey) {
	shard := &m.shards[k[0]%memoShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	shard.entries.Remove(k)
}
