package tier

import (
	"strconv"
	"strings"

	"github.com/bezoar-cache/bezoar/internal/cache"
)

// names keeps the keys of nodes in little room: of each scope there is one copy, and the hashes that Nx makes are numbers. Scopes
// of pull requests come and go; one that no node needs is forgotten.
type names struct {
	spaces []space
	ids    map[place]uint32
	free   []uint32
	long   map[uint32]cache.Hash // of nodes whose hash is no number
}

// place is where hashes live.
type place struct {
	workspace cache.Workspace
	scope     cache.Scope
}

type space struct {
	place
	count int
}

func (s *names) init() {
	s.ids = make(map[place]uint32)
	s.long = make(map[uint32]cache.Hash)
}

// put notes the key of node i. The strings are copied: they may be parts of larger ones, such as a request.
func (s *names) put(n *node, i uint32, key cache.Key) {
	n.scope = s.space(place{key.Workspace, key.Scope})
	number, ok := numberOf(key.Hash)
	n.hash, n.long = number, !ok
	if !ok {
		s.long[i] = cache.Hash(strings.Clone(string(key.Hash)))
	}
}

func (s *names) space(p place) uint32 {
	at, ok := s.ids[p]
	if !ok {
		p = place{cache.Workspace(strings.Clone(string(p.workspace))), cache.Scope(strings.Clone(string(p.scope)))}
		if last := len(s.free) - 1; last >= 0 {
			at, s.free = s.free[last], s.free[:last]
			s.spaces[at] = space{place: p}
		} else {
			at = uint32(len(s.spaces))
			s.spaces = append(s.spaces, space{place: p})
		}
		s.ids[p] = at
	}
	s.spaces[at].count++
	return at
}

func (s *names) drop(n *node, i uint32) {
	if n.long {
		delete(s.long, i)
	}
	sp := &s.spaces[n.scope]
	if sp.count--; sp.count == 0 {
		delete(s.ids, sp.place)
		*sp = space{}
		s.free = append(s.free, n.scope)
	}
}

func (s *names) key(n *node, i uint32) cache.Key {
	p := s.spaces[n.scope].place
	hash := s.long[i]
	if !n.long {
		hash = cache.Hash(strconv.FormatUint(n.hash, 10))
	}
	return cache.Key{Workspace: p.workspace, Scope: p.scope, Hash: hash}
}

// numberOf returns the number of which the hash is the one way to write it in decimal.
func numberOf(hash cache.Hash) (uint64, bool) {
	if hash == "" || hash[0] == '0' && len(hash) > 1 {
		return 0, false
	}
	n, err := strconv.ParseUint(string(hash), 10, 64)
	return n, err == nil
}
