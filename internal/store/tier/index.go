package tier

import (
	"crypto/sha256"
	"math"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// id stands for a key in the index: the beginning of a SHA-256, which nobody can make collide.
type id [16]byte

func idOf(key cache.Key) id {
	var room [cache.MaxWorkspace + cache.MaxScopeName + cache.MaxHash + 2]byte
	text := append(room[:0], key.Workspace...)
	text = append(append(text, 0), key.Scope...) // names have no control characters
	text = append(append(text, 0), key.Hash...)
	sum := sha256.Sum256(text)
	return id(sum[:16])
}

// state is how far an entry of the index is. There is a file under a key in the local store only while the index has the key, save
// before the start's scan has seen it. So what is known of the index bounds what is on the disk.
type state uint8

const (
	absent  state = iota
	pending       // its room is reserved, a download is under way
	held          // its file is there
	leaving       // its file is being removed by somebody, who alone changes this state
	banned        // it was deleted, but its file may still be there: it must not be served
)

// node is an entry of the index. It is kept small: there may be millions.
type node struct {
	prev, next uint32 // in the order of use; 0 is the list's head. A free node uses next.
	blocks     uint32 // of disk
	scope      uint32 // in names
	hash       uint64 // or 0, if the hash is in names
	used       int64  // when, in nanoseconds
	state      state
	linked     bool // it is in the list
	doomed     bool // its file must not be served any more, even if it cannot be removed
	long       bool // the hash is in names
}

// earliest is the use of what is to go before all else.
const earliest = math.MinInt64

const (
	pageShift = 8
	pageSize  = 1 << pageShift
)

// index is a shard's part of the index: nodes by key and in the order of use. It grows by pages, so that no growth copies it.
type index struct {
	slots map[id]uint32
	pages []*[pageSize]node
	count uint32 // nodes that were ever used; the first is the head of the list
	free  uint32 // a list of free nodes
	last  int64  // the latest use
	names names
}

func (x *index) init() {
	x.slots = make(map[id]uint32)
	x.names.init()
	x.pages = []*[pageSize]node{new([pageSize]node)}
	x.count = 1
}

func (x *index) node(i uint32) *node { return &x.pages[i>>pageShift][i&(pageSize-1)] }

// find returns the node of a key and its place, or nil.
func (x *index) find(id id) (*node, uint32) {
	i, ok := x.slots[id]
	if !ok {
		return nil, 0
	}
	return x.node(i), i
}

// add makes a node for a key that has none. It is not in the list.
func (x *index) add(id id, key cache.Key, blocks uint32, st state) (*node, uint32) {
	i := x.free
	if i != 0 {
		x.free = x.node(i).next
	} else {
		i = x.count
		if i&(pageSize-1) == 0 {
			x.pages = append(x.pages, new([pageSize]node))
		}
		x.count++
	}
	n := x.node(i)
	*n = node{blocks: blocks, state: st}
	x.names.put(n, i, key)
	x.slots[id] = i
	return n, i
}

func (x *index) remove(id id, i uint32) {
	n := x.node(i)
	x.unlink(n)
	x.names.drop(n, i)
	delete(x.slots, id)
	*n = node{next: x.free}
	x.free = i
}

// use makes a node the most recently used one. No two uses in a shard have the same time, whatever the clock says.
func (x *index) use(n *node, i uint32, now int64) {
	x.last = max(now, x.last+1)
	n.used = x.last
	head := x.node(0)
	if head.next == i {
		return
	}
	x.unlink(n)
	x.link(n, i, 0, head.next)
}

// age makes a node the least recently used one.
func (x *index) age(n *node, i uint32) {
	x.unlink(n)
	x.link(n, i, x.node(0).prev, 0)
}

// ban makes a node one that is not served and goes first.
func (x *index) ban(n *node, i uint32) {
	n.state, n.used, n.doomed = banned, earliest, true
	x.age(n, i)
}

// seize makes a node that is held or banned one that its caller alone removes or gives back.
func (x *index) seize(n *node) {
	x.unlink(n)
	n.state = leaving
}

// giveBack undoes seize.
func (x *index) giveBack(n *node, i uint32) {
	if n.doomed {
		x.ban(n, i)
		return
	}
	n.state = held
	x.age(n, i)
}

func (x *index) link(n *node, i, prev, next uint32) {
	n.prev, n.next, n.linked = prev, next, true
	x.node(prev).next = i
	x.node(next).prev = i
}

func (x *index) unlink(n *node) {
	if n.linked {
		x.node(n.prev).next = n.next
		x.node(n.next).prev = n.prev
		n.linked = false
	}
}

// coldest returns the least recently used node, or nil.
func (x *index) coldest() (*node, uint32) {
	i := x.node(0).prev
	if i == 0 {
		return nil, 0
	}
	return x.node(i), i
}

func (x *index) key(n *node, i uint32) cache.Key { return x.names.key(n, i) }
