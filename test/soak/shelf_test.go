//go:build e2e

package soak_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// fate is what became of an upload.
type fate int

const (
	sent   fate = iota // it is not known, or it was refused: nobody need find it, and somebody may
	stored             // it was acknowledged
	cut                // its client broke off: nobody may ever find it
)

// entry is what was uploaded under a hash.
type entry struct {
	hash string

	mu   sync.Mutex
	fate map[[sha256.Size]byte]fate
	acks []ack
}

// ack is when an upload was acknowledged, and after what time.
type ack struct {
	at   time.Time
	took time.Duration
}

// offer notes an upload before its first byte is sent.
func (e *entry) offer(body []byte, as fate) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fate[sha256.Sum256(body)] = as
}

// acknowledge notes that an upload was, and returns what others of the hash were before.
func (e *entry) acknowledge(body []byte, took time.Duration) []ack {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.fate[sha256.Sum256(body)] = stored
	before := slices.Clone(e.acks)
	e.acks = append(e.acks, ack{time.Now(), took})
	return before
}

func (e *entry) isStored() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.acks) > 0
}

// judge says what is wrong with a body that was served. One says that only what was acknowledged is right, if anything was before.
func (e *entry) judge(body []byte, one bool) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch as, known := e.fate[sha256.Sum256(body)]; {
	case !known:
		return fmt.Errorf("%d bytes that nobody uploaded under it", len(body))
	case as == cut:
		return fmt.Errorf("%d bytes of an upload that broke off", len(body))
	case as == sent && one && len(e.acks) > 0:
		return fmt.Errorf("%d bytes of an upload that was not acknowledged, and another one was", len(body))
	}
	return nil
}

// shelf is all that was uploaded to a server.
type shelf struct {
	mu      sync.Mutex
	entries []*entry
}

func newShelf() *shelf { return &shelf{} }

// add makes a hash that nobody had before.
func (s *shelf) add() *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := &entry{hash: fmt.Sprintf("1277728951%09d", len(s.entries)), fate: make(map[[sha256.Size]byte]fate)}
	s.entries = append(s.entries, e)
	return e
}

// recent is how many of the latest entries are asked for more often than older ones.
const recent = 200

// pick returns one that was uploaded, mostly a recent one; nil if there is none.
func (s *shelf) pick(r *rand.Rand) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.entries)
	if n == 0 {
		return nil
	}
	if r.IntN(4) > 0 {
		return s.entries[n-1-r.IntN(min(n, recent))]
	}
	return s.entries[r.IntN(n)]
}

// all returns those that were acknowledged.
func (s *shelf) all() []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var stored []*entry
	for _, e := range s.entries {
		if e.isStored() {
			stored = append(stored, e)
		}
	}
	return stored
}
