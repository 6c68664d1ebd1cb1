package spool

import (
	"container/heap"
	"context"
	"sync/atomic"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// item is a key that somebody is at work with. It says little, as there may be many: the record is in the local store. All but the atomics is
// guarded by the store's lock.
type item struct {
	key  cache.Key
	size int64 // of the body; 0 until the local store has it

	state   state
	outcome outcome // of the last send that ended
	sending bool
	behind  bool // the send under way began after the acknowledgement
	gone    bool // not in items any more
	stuck   bool // the local store failed to drop it; that is tried again
	drops   int  // how often

	attempts int32
	since    int64 // when it was taken, by the clock of the options; like all times here in nanoseconds since 1970
	due      int64 // when it may be sent
	err      error // with the outcome

	inPending, inReady, inRetry int // places in the queues, counted from 1

	cancel  context.CancelCauseFunc // ends the send under way
	changed chan struct{}           // nil if nobody waits

	moved atomic.Int64 // counts signs of progress of its sends
	until atomic.Int64 // until when its upload waits at most; 0 if that is unknown
}

// state says who decides about an item. Only a pending one is an entry of the store.
type state uint8

const (
	held     state = iota // a call is at work with it
	adopting              // a call looks whether the local store has it
	waiting               // a commit waits for its send
	pending               // it is acknowledged
	doomed                // its send, or whoever doomed it, drops it
)

// outcome is what a send came to.
type outcome uint8

const (
	undecided outcome = iota
	sent              // the remote store has it
	taken             // the remote store has another one under its key
	failed            // it may be tried again
	lost              // the local store does not have it whole
)

// watch returns a channel that is closed at the item's next change.
func (it *item) watch() <-chan struct{} {
	if it.changed == nil {
		it.changed = make(chan struct{})
	}
	return it.changed
}

func (it *item) wake() {
	if it.changed != nil {
		close(it.changed)
		it.changed = nil
	}
}

// seat begins the work with a key that has no item.
func (s *Store) seat(key cache.Key, as state) *item {
	it := &item{key: key, state: as}
	s.items[key] = it
	s.idle.Store(false)
	return it
}

// unseat ends the work with a key, which the local store does not have.
func (s *Store) unseat(it *item) {
	s.hide(it)
	delete(s.items, it.key)
	s.count(it.key, -it.size)
	if !s.listed {
		s.left[it.key] = struct{}{}
	}
	if d := s.drafts[it.key]; d != nil && (it.outcome == sent || it.outcome == taken) {
		d.late = true
	}
	it.gone = true
	it.wake()
	s.rest()
}

// begun is a key of which there are drafts that are neither committed nor aborted.
type begun struct {
	drafts int
	// late says that the remote store got an entry of the key after the first of them was begun: of those who write through one server, one
	// is told that he was first, even if nobody waits for the remote store.
	late bool
}

// begin notes a draft, and end that it is no more.
func (s *Store) begin(key cache.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := s.drafts[key]
	if d == nil {
		d = new(begun)
		s.drafts[key] = d
	}
	d.drafts++
}

func (s *Store) end(key cache.Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.drafts[key]; d.drafts > 1 {
		d.drafts--
	} else {
		delete(s.drafts, key)
	}
}

// rest notes if there is nothing to do.
func (s *Store) rest() { s.idle.Store(s.listed && len(s.items) == 0) }

// show makes an item an entry of the store.
func (s *Store) show(it *item) {
	it.state = pending
	it.outcome, it.err = undecided, nil
	s.pendingBytes += it.size
	s.pending.add(it)
	it.wake()
}

// hide takes an item out of all queues: it is no entry of the store any more, and no send of it begins.
func (s *Store) hide(it *item) {
	if s.pending.remove(it) {
		s.pendingBytes -= it.size
	}
	s.ready.remove(it)
	s.retry.remove(it)
}

// queue has items in the order of a number, and finds them again.
type queue struct {
	items []*item
	// of returns where an item keeps its place, and its number.
	of func(*item) (place *int, number int64)
}

func newQueue(of func(*item) (*int, int64)) *queue { return &queue{of: of} }

// first returns nil if there is none.
func (q *queue) first() *item {
	if len(q.items) == 0 {
		return nil
	}
	return q.items[0]
}

func (q *queue) add(it *item) { heap.Push(q, it) }

func (q *queue) remove(it *item) bool {
	place, _ := q.of(it)
	if *place == 0 {
		return false
	}
	heap.Remove(q, *place-1)
	return true
}

// Len, Less, Swap, Push and Pop are for [heap].
func (q *queue) Len() int { return len(q.items) }

func (q *queue) Less(i, j int) bool {
	_, a := q.of(q.items[i])
	_, b := q.of(q.items[j])
	return a < b
}

func (q *queue) Swap(i, j int) {
	q.items[i], q.items[j] = q.items[j], q.items[i]
	q.place(i)
	q.place(j)
}

func (q *queue) place(i int) {
	place, _ := q.of(q.items[i])
	*place = i + 1
}

func (q *queue) Push(x any) {
	q.items = append(q.items, x.(*item))
	q.place(len(q.items) - 1)
}

func (q *queue) Pop() any {
	last := len(q.items) - 1
	it := q.items[last]
	q.items[last] = nil
	q.items = q.items[:last]
	place, _ := q.of(it)
	*place = 0
	return it
}
